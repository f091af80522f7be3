//! The demo keeps what it sold, and leaves no program behind, whether it is interrupted or killed.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack;
use journeys::stack::central::CENTRAL_URL_VARIABLE;
use journeys::stack::client::TillClient;
use rustix::process::{Pid, Signal, kill_process};

struct Demo {
    child: Child,
    till: TillClient,
}

impl Demo {
    /// Starts it and waits until it has told all its addresses.
    fn start(folder: &Path) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evertill-demo"))
            .args(["--tills", "1", "--free-ports", "--data"])
            .arg(folder)
            .env_remove(CENTRAL_URL_VARIABLE)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut till = None;
        for line in BufReader::new(child.stdout.take().context("a pipe")?).lines() {
            let line = line?;
            eprintln!("{line}");
            if let Some(page) = line.trim().strip_prefix("Till 1").filter(|page| page.contains("#token=")) {
                till = Some(TillClient::of_page(page.trim())?);
            }
            if line.contains("Ctrl-C") {
                break;
            }
        }
        match till {
            Some(till) => Ok(Self { child, till }),
            None => bail!("the demo ended: {}", child.wait()?),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The programs whose command line names the folder.
fn programs_of(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&*folder.to_string_lossy()) {
            found.push(line);
        }
    }
    Ok(found)
}

#[test]
fn it_keeps_its_sales_and_leaves_nothing_running() -> Result<()> {
    let outer = tempfile::tempdir()?;
    // As a clone's folder usually is: the user that PostgreSQL runs as may pass.
    std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o755))?;
    let folder = outer.path().join("demo");

    let mut demo = Demo::start(&folder)?;
    cashier::begin(&demo.till)?;
    let sold = cashier::sell(&demo.till, 0)?;
    ensure!(programs_of(&folder)?.len() >= 5, "Postgres, server, till, printer and the demo itself should run");
    demo.signal(Signal::INT)?;
    ensure!(demo.child.wait()?.success(), "Ctrl-C is the ordinary way to end it");
    assert_eq!(programs_of(&folder)?, Vec::<String>::new());

    let mut demo = Demo::start(&folder)?;
    let orders = demo.till.orders(10)?;
    assert_eq!(orders.iter().map(|order| order.order).collect::<Vec<_>>(), [sold.order]);
    demo.signal(Signal::KILL)?;
    demo.child.wait()?;
    let all_gone = || Ok(programs_of(&folder)?.is_empty().then_some(()));
    stack::until("every program to end", PATIENCE, all_gone)
}
