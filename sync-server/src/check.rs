//! `--check-config`: what can safely be found out about a configuration without running it.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::Path;

use operations::check::Report;
use operations::damaged::{MachineFiles, all_aside, aside};
use operations::machine::{DISK_FREE_LOW_BYTES, disk_free_bytes, human_bytes, may_write, others_may_use, owner_and_self};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::central::Postgres;
use crate::config::{Config, WebConfig};
use crate::web;

/// A certificate that ends within so many days is worth a warning.
const CERTIFICATE_DAYS_LOW: i64 = 14;
const DAY_S: i64 = 24 * 3_600;

/// Looks at everything that a configuration names. `now_ms` is the time that certificates are held against.
pub async fn check(path: &Path, config: &Config, now_ms: u64) -> Report {
    let mut report = Report::default();
    report.ok("configuration", format!("{} has no mistakes", path.display()));
    let running = data_folder(&mut report, &config.data);
    certificate(&mut report, &config.web, i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX));
    let udp = UdpSocket::bind(config.sync.listen).map(drop);
    address(&mut report, "sync.listen", config.sync.listen, udp, running);
    let tcp = config.sync.listen_tcp.unwrap_or(config.sync.listen);
    match (TcpListener::bind(tcp).map(drop), config.sync.listen_tcp) {
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse && !running => report.warning(
            "sync.listen_tcp",
            format!("another program listens on TCP {tcp}, so tills whose network lets no UDP through cannot connect"),
            "stop it, or set `sync.listen_tcp` to another port",
        ),
        (bound, _) => address(&mut report, "sync.listen_tcp", tcp, bound, running),
    }
    for (key, listen) in [("web.listen", config.web.listen), ("metrics.listen", config.metrics.listen)] {
        address(&mut report, key, listen, TcpListener::bind(listen).map(drop), running);
    }
    if !config.metrics.listen.ip().is_loopback() {
        report.warning(
            "metrics.listen",
            format!("{} is beyond loopback, and metrics ask for no password", config.metrics.listen),
            "make sure that only the monitoring reaches it",
        );
    }
    public_address(&mut report, config);
    central(&mut report, &config.central.url).await;
    report
}

/// Looks at the data folder, and answers whether a server runs on it.
fn data_folder(report: &mut Report, data: &Path) -> bool {
    const SUBJECT: &str = "data folder";
    let shown = data.display();
    let facts = match fs::metadata(data) {
        Ok(facts) => facts,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            report.warning(SUBJECT, format!("{shown} is not there yet"), "run `evertill-sync-server init`");
            return false;
        }
        Err(error) => {
            report.error(SUBJECT, format!("{shown} cannot be read: {error}"), "give it to the user that runs the server");
            return false;
        }
    };
    if !facts.is_dir() {
        report.error(SUBJECT, format!("{shown} is no folder"), "set `data` to a folder");
        return false;
    }
    let (owner, own) = owner_and_self(&facts);
    if !may_write(data) {
        report.error(
            SUBJECT,
            format!("{shown} belongs to user {owner} and user {own} may not write there"),
            "run as its owner, or chown it",
        );
    } else if owner != own {
        report.warning(
            SUBJECT,
            format!("{shown} belongs to user {owner}, and this is user {own}"),
            "check as the user that runs the server",
        );
    } else if others_may_use(&facts) {
        report.warning(SUBJECT, format!("{shown} is open to other users of this machine"), format!("chmod 700 {shown}"));
    } else {
        report.ok(SUBJECT, format!("{shown} is private and can be written"));
    }
    secrets(report, data);
    damaged_files(report, data);
    match disk_free_bytes(data) {
        Ok(free) if free < DISK_FREE_LOW_BYTES => {
            report.warning(
                "disk",
                format!("{} are free at {shown}", human_bytes(free)),
                "make room: a full disk stops the server from taking entries",
            );
        }
        Ok(free) => report.ok("disk", format!("{} are free at {shown}", human_bytes(free))),
        Err(error) => report.warning("disk", format!("{shown} does not say how much is free: {error}"), "check the disk"),
    }
    is_locked(data)
}

/// Logs that were put aside, which are kept for as long as somebody may need them.
fn damaged_files(report: &mut Report, data: &Path) {
    let files = all_aside(&MachineFiles, &data.join("region.db")).unwrap_or_default();
    if let Some(newest) = files.last() {
        report.warning(
            "damaged files",
            format!("{} logs were put aside, the newest is {}", files.len(), aside(&data.join("region.db"), *newest).display()),
            "look at this disk, and replace it when it happens again. Remove the files once no sale is missed",
        );
    }
}

fn secrets(report: &mut Report, data: &Path) {
    let log = data.join("region.db");
    if !log.exists() && !aside(&log, 1).exists() {
        report.warning(
            "region",
            format!("{} holds no region yet", data.display()),
            "run `evertill-sync-server init`, or `restore` a backup",
        );
        return;
    }
    for name in ["authority.key", "server.key"] {
        let path = data.join(name);
        match fs::metadata(&path) {
            Ok(facts) if others_may_use(&facts) => {
                report.error(
                    "keys",
                    format!("others may read {}", path.display()),
                    format!("chmod 600 {}, and consider the key known to them", path.display()),
                );
            }
            Ok(_) => report.ok("keys", format!("{} is private", path.display())),
            Err(error) => report.error(
                "keys",
                format!("{} cannot be read: {error}", path.display()),
                "restore it from a backup: without it every device must enrol again",
            ),
        }
    }
}

/// Whether another process has the folder. Nothing is created.
fn is_locked(data: &Path) -> bool {
    let Ok(lock) = fs::File::options().append(true).open(data.join("lock")) else { return false };
    matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock))
}

fn certificate(report: &mut Report, web: &WebConfig, now_s: i64) {
    const SUBJECT: &str = "web certificate";
    let (Some(certificate), Some(_)) = (&web.tls_certificate, &web.tls_key) else {
        report.ok(SUBJECT, "none, and none is needed on loopback");
        return;
    };
    if let Err(error) = web::check_tls(web) {
        report.error(SUBJECT, error.to_string(), "give a PEM certificate and the key that belongs to it, readable by this user");
        return;
    }
    let renew = "renew it, then restart the server";
    match not_after(certificate) {
        Some(end) if end < now_s => report.error(SUBJECT, format!("{} has expired", certificate.display()), renew),
        Some(end) if end - now_s < CERTIFICATE_DAYS_LOW * DAY_S => {
            report.warning(SUBJECT, format!("{} ends in {} days", certificate.display(), (end - now_s) / DAY_S), renew);
        }
        Some(end) => {
            report.ok(SUBJECT, format!("{} fits its key and holds for {} days", certificate.display(), (end - now_s) / DAY_S))
        }
        None => report.warning(SUBJECT, format!("{} does not say how long it holds", certificate.display()), renew),
    }
}

/// When the first certificate of a file ends, Unix seconds.
fn not_after(path: &Path) -> Option<i64> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let certificate = CertificateDer::pem_file_iter(path).ok()?.next()?.ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

fn address(report: &mut Report, key: &'static str, listen: SocketAddr, bound: std::io::Result<()>, running: bool) {
    let Err(error) = bound else { return report.ok(key, format!("{listen} is free")) };
    match error.kind() {
        ErrorKind::AddrInUse if running => report.ok(key, format!("{listen} is in use while the server runs")),
        ErrorKind::AddrInUse => {
            report.error(key, format!("another program listens on {listen}"), "stop it, or choose another port");
        }
        ErrorKind::AddrNotAvailable => {
            report.error(
                key,
                format!("{} is no address of this machine", listen.ip()),
                "choose one of its own, or 0.0.0.0 for all",
            );
        }
        ErrorKind::PermissionDenied => {
            report.error(
                key,
                format!("this user may not listen on port {}", listen.port()),
                "choose a port from 1024, or grant CAP_NET_BIND_SERVICE",
            );
        }
        _ => report.error(key, format!("{listen} cannot be listened on: {error}"), "choose another address"),
    }
}

/// What enrolment links will say.
fn public_address(report: &mut Report, config: &Config) {
    const SUBJECT: &str = "sync.public";
    match &config.sync.public {
        Some(public) => match public.to_socket_addrs().ok().and_then(|mut all| all.next()) {
            Some(found) => report.ok(SUBJECT, format!("{public} leads to {found}")),
            None => {
                report.warning(SUBJECT, format!("{public} has no address here"), "check the name; tills must be able to find it")
            }
        },
        None if config.sync.listen.ip().is_unspecified() => report.warning(
            SUBJECT,
            format!("it is missing, so enrolment links would send tills to {}", config.sync.listen),
            "set it to the host and port that tills reach this server by",
        ),
        None => report.ok(SUBJECT, format!("enrolment links send tills to {}", config.sync.listen)),
    }
}

async fn central(report: &mut Report, url: &str) {
    const SUBJECT: &str = "central database";
    let central = match Postgres::new(url) {
        Ok(central) => central,
        Err(error) => return report.error(SUBJECT, error.to_string(), "correct `central.url` or EVERTILL_CENTRAL_URL"),
    };
    match central.ping().await {
        Ok(()) => report.ok(SUBJECT, "it answers"),
        Err(error) => {
            report.warning(SUBJECT, error.to_string(), "tills go on meanwhile; managers see nothing new until it answers")
        }
    }
}
