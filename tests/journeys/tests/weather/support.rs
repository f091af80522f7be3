//! What the tests share: programs that are expected to refuse, and stacks of a till or two.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use domain::ids::DeviceId;
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::binaries::Binaries;
use journeys::stack::central::CentralChoice;
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::process::Process;
use journeys::stack::till::Till;
use journeys::stack::{self, Plan, Stack};
use sync_server::region::{Region, Writer};

/// A stack with a private Postgres and so many tills, each at work.
pub fn at_work(tills: usize, printers: bool) -> Result<Stack> {
    let plan = Plan { tills, printers, central: CentralChoice::Private, ..Plan::for_test()? };
    let stack = plan.start(&mut |text| eprintln!("{text}"))?;
    for till in &stack.tills {
        cashier::begin(till.client())?;
    }
    Ok(stack)
}

/// A till on a data folder of its own choosing, not started.
pub fn till_on(stack: &Stack, name: &str, data: &Path) -> Result<Till> {
    till_at(stack, name, data, stack.server.sync_address())
}

/// The same, with another server.
pub fn till_at(stack: &Stack, name: &str, data: &Path, server: SocketAddr) -> Result<Till> {
    let listen = Ports::Free.choose(name, Protocol::Tcp, 0, &mut |_| {})?;
    let log = stack.folder().join("logs").join(format!("{name}.log"));
    Ok(Till::prepare(name, &Binaries::find()?.node(), data, &log, listen, server))
}

/// What a program says that must end by itself, without success.
pub fn complaint(stack: &Stack, program: &Path, arguments: &[&str]) -> Result<String> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let log = tempfile::Builder::new().prefix("refused-").tempfile_in(stack.folder().join("logs"))?;
    let mut process = Process::start("a program that must refuse", program, &arguments, log.path())?;
    let status = stack::until("the program to refuse", PATIENCE, || Ok(process.ended()))?;
    let said = std::fs::read_to_string(log.path())?;
    ensure!(!status.success(), "{} {arguments:?} did not refuse but said: {said}", program.display());
    Ok(said)
}

/// What `evertill-node run` says on a folder that it must not use.
pub fn till_complaint(stack: &Stack, data: &Path) -> Result<String> {
    let data = data.to_string_lossy();
    complaint(stack, &Binaries::find()?.node(), &["--data", &data, "run", "--listen", "127.0.0.1:0"])
}

/// What `evertill-sync-server` says to a command that it must not carry out.
pub fn server_complaint(stack: &Stack, command: &[&str]) -> Result<String> {
    let config = stack.server.config().display().to_string();
    let arguments: Vec<&str> = ["--config", &config].into_iter().chain(command.iter().copied()).collect();
    complaint(stack, &Binaries::find()?.sync_server(), &arguments)
}

/// Whether a sentence of the table was said, wherever in a log or complaint; `…` stands for what differs.
pub fn says(text: &str, sentence: &str) -> Result<()> {
    let mut rest = text;
    for part in sentence.split('…').map(str::trim).filter(|part| !part.is_empty()) {
        let Some(at) = rest.find(part) else { bail!("{sentence:?} was due, this was said:\n{text}") };
        rest = &rest[at + part.len()..];
    }
    Ok(())
}

/// Opens and closes a region's log, so that everything is in the file itself.
pub fn settle(file: &Path) -> Result<()> {
    let key = journal::SigningKey::from_bytes(&[1; 32]);
    let writer = Writer { device: DeviceId(uuid::Uuid::nil()), incarnation: [0; 16], actor_seed: [0; 16], key };
    drop(Region::open(file, writer)?);
    Ok(())
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &target)?;
        } else {
            std::fs::copy(file.path(), target)?;
        }
    }
    Ok(())
}

/// Waits until central has so many orders, and checks that everything is there once and adds up.
pub fn agree(central_url: &str, orders: u64) -> Result<()> {
    let central = stack::until("central to answer", PATIENCE, || Central::connect(central_url).map(Some))?;
    let count = || {
        let shares = central.shares()?;
        Ok((shares.values().map(|share| share.orders).sum::<u64>() == orders).then_some(()))
    };
    stack::until(&format!("{orders} orders in central"), PATIENCE, count)?;
    let flaws = central.flaws()?;
    ensure!(flaws.is_empty(), "{flaws:#?}");
    Ok(())
}
