//! What is there and what is wrong, for whoever looks after a till.
//!
//! [`examine`] looks at everything and works beside a running till: it takes no lock, writes nothing, opens the replica to read only, and
//! asks the server over a connection of its own kind. [`check_config`] looks only at what a configuration names.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use hardware::{NetworkPrinter, ReceiptPrinter, Status, Timeouts};
use operations::check::Report;
use operations::machine::{DISK_FREE_LOW_BYTES, disk_free_bytes, human_bytes, may_write, others_may_use, owner_and_self};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sync_proto::env::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::LinkWay;
use crate::config::{Config, Overrides, Printer};
use crate::errors::chain_of;
use crate::identity::{Look, is_in_use};
use crate::replication::net::{Net, NetError};
use crate::replication::probe::{ProbeError, Reached, probe};
use crate::replication::tls;

mod replica;

/// A clock that differs by more from the server's is worth a warning, in milliseconds.
const CLOCK_APART_MS: u64 = 10_000;
/// How long a till on this machine may take to answer.
const FACE_WAIT: Duration = Duration::from_secs(5);

/// Looks at everything about the till of a data folder.
pub async fn examine(data: &Path, file: Option<&Path>, over: Overrides, env: &dyn Env) -> Report {
    let mut report = Report::default();
    let running = is_in_use(data);
    let config = configuration(&mut report, data, file, over);
    folder(&mut report, data);
    match &config {
        Some(config) if running => face(&mut report, config.listen).await,
        _ if running => report.ok("program", "a till runs on this folder"),
        _ => report.warning("program", "no till runs on this folder", "start it with `evertill-node run`"),
    }
    match Look::at(data) {
        Ok(mut look) => {
            if let Some(server) = config.as_ref().and_then(|config| config.server.clone()) {
                look.link.address = server;
            }
            look.link.tcp_address = config.as_ref().and_then(|config| config.server_tcp.clone());
            replica::identity(&mut report, &look);
            replica::replica(&mut report, data, &look, env);
            certificate(&mut report, &look, env);
            server(&mut report, &look, env).await;
        }
        Err(error) => report.error("identity", chain_of(&error), "mend that first: without its identity the till cannot start"),
    }
    if let Some(config) = &config {
        printer(&mut report, config.printer.as_ref()).await;
    }
    disk(&mut report, data);
    report
}

/// Looks at a configuration and at what it names.
pub async fn check_config(data: &Path, file: Option<&Path>, over: Overrides) -> Report {
    let mut report = Report::default();
    let running = is_in_use(data);
    let Some(config) = configuration(&mut report, data, file, over) else { return report };
    folder(&mut report, data);
    listen(&mut report, config.listen, running);
    if let Some(server) = &config.server {
        match server.to_socket_addrs().ok().and_then(|mut all| all.next()) {
            Some(found) => report.ok("sync server", format!("{server} leads to {found}")),
            None => report.warning("sync server", format!("{server} has no address here"), "check `server`, or the network"),
        }
    }
    printer(&mut report, config.printer.as_ref()).await;
    report
}

fn configuration(report: &mut Report, data: &Path, file: Option<&Path>, over: Overrides) -> Option<Config> {
    const SUBJECT: &str = "configuration";
    match Config::load(data, file, over) {
        Ok(config) => {
            let path = Config::path(data, file);
            let what = path.map_or("no file, so everything is as it is by itself".to_owned(), |p| {
                format!("{} has no mistakes", p.display())
            });
            report.ok(SUBJECT, what);
            Some(config)
        }
        Err(error) => {
            report.error(SUBJECT, chain_of(&error), "correct it, and check again");
            None
        }
    }
}

/// Looks at who may do what in the folder.
fn folder(report: &mut Report, data: &Path) {
    const SUBJECT: &str = "data folder";
    let shown = data.display();
    let facts = match fs::metadata(data) {
        Ok(facts) if facts.is_dir() => facts,
        Ok(_) => return report.error(SUBJECT, format!("{shown} is no folder"), "give the till's folder with --data"),
        Err(error) => {
            return report.error(SUBJECT, format!("{shown} cannot be read: {error}"), "give the till's folder with --data");
        }
    };
    let (owner, own) = owner_and_self(&facts);
    if owner != own {
        let todo = "run this as the user that runs the till";
        report.warning(SUBJECT, format!("{shown} belongs to user {owner}, and this is user {own}"), todo);
    } else if !may_write(data) {
        report.error(
            SUBJECT,
            format!("user {own} may not write in {shown}"),
            "check its permissions, and whether the disk is read-only",
        );
    } else {
        report.ok(SUBJECT, format!("{shown} can be written"));
    }
    let mut open = Vec::new();
    for name in ["device/device.key", "device/replica.key", "device/face.token"] {
        let path = data.join(name);
        match fs::metadata(&path) {
            Ok(facts) if others_may_use(&facts) => open.push(path.display().to_string()),
            // The token comes with the first start.
            Err(error) if error.kind() == ErrorKind::NotFound && name.ends_with("token") => {}
            Err(error) if data.join("device/identity.json").exists() => {
                let todo = "enrol this till anew in another folder; what it has sent is on the server";
                report.error("secrets", format!("{} cannot be read: {error}", path.display()), todo);
            }
            _ => {}
        }
    }
    if open.is_empty() {
        report.ok("secrets", "no other user of this machine may read them");
    } else {
        let open = open.join(" ");
        report.error("secrets", format!("others may read {open}"), format!("chmod 600 {open}, and consider them known"));
    }
}

/// Asks the running till itself.
async fn face(report: &mut Report, listen: SocketAddr) {
    const SUBJECT: &str = "program";
    if listen.port() == 0 {
        return report.ok(SUBJECT, "a till runs on this folder, on a port that it chose itself");
    }
    let todo = "look at its log; restart it when it stays so";
    match tokio::time::timeout(FACE_WAIT, is_ready(listen)).await {
        Ok(Ok(true)) => report.ok(SUBJECT, format!("a till runs on this folder and is ready at {listen}")),
        Ok(Ok(false)) => report.error(SUBJECT, format!("the till at {listen} says that it is not ready"), todo),
        Ok(Err(error)) => {
            let found = format!("a till runs on this folder but not at {listen} ({error})");
            report.warning(SUBJECT, found, "give the same --listen or --config as it was started with; the window listens nowhere, and then this is as it should be");
        }
        Err(_) => report.error(SUBJECT, format!("the till at {listen} did not answer in {} s", FACE_WAIT.as_secs()), todo),
    }
}

async fn is_ready(listen: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(listen).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", listen.port());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

fn listen(report: &mut Report, listen: SocketAddr, running: bool) {
    match TcpListener::bind(listen) {
        Ok(_) => report.ok("listen", format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
            report.ok("listen", format!("{listen} is in use while the till runs"));
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            report.error("listen", format!("another program listens on {listen}"), "stop it, or choose another port");
        }
        Err(error) => report.error("listen", format!("{listen} cannot be listened on: {error}"), "choose another port"),
    }
}

fn certificate(report: &mut Report, look: &Look, env: &dyn Env) {
    const SUBJECT: &str = "certificate";
    let link = &look.link;
    let anew = "enrol this till anew in another folder; what it has sent is on the server";
    if let Err(error) = tls::mutual(&link.authority_pem, &link.certificate_pem, &link.key_pem) {
        return report.error(SUBJECT, chain_of(&error), anew);
    }
    let now_s = i64::try_from(env.unix_ms() / 1_000).unwrap_or(i64::MAX);
    match validity(&link.certificate_pem) {
        Some((from, _)) if now_s < from => {
            report.error(SUBJECT, "it does not hold yet: this machine's clock is far behind", "set the clock");
        }
        Some((_, to)) if now_s > to => report.error(SUBJECT, "it has ended, or this machine's clock is far ahead", anew),
        Some((_, to)) => report.ok(SUBJECT, format!("it fits the key and holds for {} days", (to - now_s) / 86_400)),
        None => report.error(SUBJECT, "it does not say how long it holds", anew),
    }
}

/// From when to when a certificate holds, Unix seconds.
fn validity(pem: &str) -> Option<(i64, i64)> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    Some((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
}

/// Asks the server who it is, what time it is, and whether it knows this till.
async fn server(report: &mut Report, look: &Look, env: &dyn Env) {
    const SUBJECT: &str = "sync server";
    let address = &look.link.address;
    let reached = match Net::machine() {
        Ok(net) => probe(&net, &look.link, env).await,
        Err(error) => Err(error.into()),
    };
    let Reached { round_trip, way, clock_ahead_ms, enrolled, software } = match reached {
        Ok(reached) => reached,
        Err(error) => return report.warning(SUBJECT, format!("{address}: {}", chain_of(&error)), server_todo(&error)),
    };
    let over = match way {
        LinkWay::Quic => "",
        LinkWay::Tcp => " over TCP, because UDP does not pass",
    };
    let found = format!("{address} answers{over} in {:.1} ms, version {software}", round_trip.as_secs_f64() * 1_000.0);
    if enrolled {
        report.ok(SUBJECT, found);
    } else {
        let todo = "enrol it anew in another folder, and keep this one: it holds what was not sent";
        report.error(SUBJECT, format!("{found}, but it does not know this till"), todo);
    }
    let apart = clock_ahead_ms.unsigned_abs();
    let side = if clock_ahead_ms < 0 { "behind" } else { "ahead of" };
    let found = format!("{}.{:03} s {side} the server's", apart / 1_000, apart % 1_000);
    if apart > CLOCK_APART_MS {
        report.warning("clock", found, "set it, best by NTP: receipts carry this machine's time");
    } else {
        report.ok("clock", found);
    }
}

fn server_todo(error: &ProbeError) -> &'static str {
    match error {
        ProbeError::Tls(_) => "mend the certificate first",
        ProbeError::Net(NetError::Name(_)) => "check the name and the network; the till sells on",
        ProbeError::Net(NetError::NoAnswer(_)) => "check that the server runs and that UDP or TCP passes; the till sells on",
        ProbeError::Net(NetError::Lost(_)) => {
            "something else answers there, or another region's server; check the address. The till sells on"
        }
        ProbeError::Net(_) | ProbeError::NoAnswer => "try again; the till sells on",
    }
}

async fn printer(report: &mut Report, printer: Option<&Printer>) {
    const SUBJECT: &str = "printer";
    let Some(Printer { address, profile }) = printer else { return report.ok(SUBJECT, "none is set up") };
    let status = NetworkPrinter::new(address.clone(), profile, Timeouts::default()).status().await;
    let waits = "receipts wait and print by themselves when it is back";
    let (found, todo) = match status {
        Status::Online => return report.ok(SUBJECT, format!("{address} is ready")),
        Status::NotAsked => return report.ok(SUBJECT, format!("{address} is one that is never asked ({})", profile.id)),
        Status::PaperNearEnd => ("its paper is nearly used up".to_owned(), "have a roll ready".to_owned()),
        Status::PaperOut => ("it is out of paper".to_owned(), format!("put a roll in; {waits}")),
        Status::CoverOpen => ("its cover is open".to_owned(), format!("close it; {waits}")),
        Status::DeviceError(error) => (format!("it reports {error}"), format!("see its manual; {waits}")),
        Status::Offline => ("it is offline and does not say why".to_owned(), format!("look at it; {waits}")),
        Status::Mute => ("it is connected but does not answer".to_owned(), "check `printer.profile`".to_owned()),
        Status::Unreachable(cause) => (chain_of(&cause), format!("check its power, its cable and `printer.address`; {waits}")),
    };
    report.warning(SUBJECT, format!("{address}: {found}"), todo);
}

fn disk(report: &mut Report, data: &Path) {
    match disk_free_bytes(data) {
        Ok(free) if free < DISK_FREE_LOW_BYTES => {
            let todo = "make room: with a full disk the till cannot sell";
            report.warning("disk", format!("{} are free", human_bytes(free)), todo);
        }
        Ok(free) => report.ok("disk", format!("{} are free", human_bytes(free))),
        Err(error) => report.warning("disk", format!("it does not say how much is free: {error}"), "check the disk"),
    }
}
