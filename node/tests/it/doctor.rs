//! The doctor at tills that are sick in one way each. No server is there; the till is not to blame for that.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use node::config::Overrides;
use node::doctor::{check_config, examine};
use node::env::SystemEnv;
use operations::check::{Level, Report};

use crate::shop::*;

async fn doctor(data: &Path) -> Report {
    // An address that nobody can connect to, which is found out at once.
    let over = Overrides { server: Some("[::]:1".to_owned()), ..Overrides::default() };
    examine(data, None, over, &SystemEnv).await
}

fn level(report: &Report, subject: &str) -> (Level, String) {
    let found = report.findings.iter().filter(|f| f.subject == subject).max_by_key(|f| f.level);
    found.map(|f| (f.level, f.found.clone())).unwrap_or_else(|| panic!("nothing about {subject} in\n{report}"))
}

/// A till that has sold, and was stopped.
fn sold() -> Shop {
    let (mut shop, till) = Shop::new();
    drop(till);
    shop.options.machine = node::identity::machine_id();
    let mut till = shop.reopen();
    shop.stock(&mut till);
    till.sign_in(LEAD);
    till.open();
    till.scan("22423", 2);
    till.pay();
    drop(till);
    certify(&shop);
    shop
}

/// Certificates as a server grants them.
fn certify(shop: &Shop) {
    let authority = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let params = rcgen::CertificateParams::default();
    let certificate = params.self_signed(&authority).expect("a certificate");
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), authority);
    let key = fs::read_to_string(shop.folder("device/device.key")).expect("read");
    let key = rcgen::KeyPair::from_pem(&key).expect("a key");
    let device = rcgen::CertificateParams::default().signed_by(&key, &issuer).expect("a certificate");
    fs::write(shop.folder("device/authority.crt"), certificate.pem()).expect("written");
    fs::write(shop.folder("device/device.crt"), device.pem()).expect("written");
}

fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON");
    change(&mut json);
    fs::write(path, serde_json::to_vec(&json).expect("JSON")).expect("written");
}

#[tokio::test]
async fn a_till_that_is_stopped_and_offline_is_not_broken() {
    let shop = sold();
    let before = fs::read(shop.folder("replica/replica.db")).expect("read");
    let report = doctor(shop.folder.path()).await;
    assert_eq!(report.worst(), Level::Warning, "{report}");
    for (subject, expected) in [
        ("configuration", Level::Ok),
        ("data folder", Level::Ok),
        ("secrets", Level::Ok),
        ("program", Level::Warning),
        ("identity", Level::Ok),
        ("replica", Level::Ok),
        ("incarnation", Level::Ok),
        ("sync server", Level::Warning),
        ("printer", Level::Ok),
    ] {
        assert_eq!(level(&report, subject).0, expected, "{subject}\n{report}");
    }
    // The shop's clock stands in the past: what is unsent has been so for long.
    let (unsent, found) = level(&report, "unsent");
    assert!(unsent == Level::Warning && found.contains("commits, the oldest of"), "{found}");
    assert_eq!(fs::read(shop.folder("replica/replica.db")).expect("read"), before, "the doctor wrote into the replica");
    shop.reopen();
}

#[tokio::test]
async fn each_sickness_is_found_and_says_what_to_do() {
    type Sicken = fn(&Shop);
    let cases: [(&str, Level, &str, Sicken); 11] = [
        ("certificate", Level::Error, "TLS does not take this device's certificate", |shop| {
            fs::copy(shop.folder("device/authority.crt"), shop.folder("device/device.crt")).expect("copied");
        }),
        ("identity", Level::Error, "is not enrolled yet", |shop| {
            fs::remove_file(shop.folder("device/identity.json")).expect("removed");
        }),
        ("identity", Level::Warning, "written on another machine", |shop| {
            edit(&shop.folder("device/identity.json"), |json| json["machine"] = "another".into());
        }),
        ("secrets", Level::Error, "others may read", |shop| {
            let key = shop.folder("device/replica.key");
            fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
        }),
        ("secrets", Level::Error, "device.key cannot be read", |shop| {
            fs::remove_file(shop.folder("device/device.key")).expect("removed");
        }),
        ("replica", Level::Error, "cannot be read with the key of this device", |shop| {
            let key = shop.folder("device/replica.key");
            fs::write(key, "00".repeat(32)).expect("written");
        }),
        ("replica", Level::Error, "is gone", |shop| fs::remove_file(shop.folder("replica/replica.db")).expect("removed")),
        ("replica", Level::Error, "malformed", |shop| {
            let path = shop.folder("replica/replica.db");
            let mut bytes = fs::read(&path).expect("read");
            let middle = bytes.len() / 2;
            bytes[middle..middle + 4_096].fill(0x55);
            fs::write(path, bytes).expect("written");
        }),
        ("replica", Level::Error, "has schema 999", |shop| {
            let key = fs::read_to_string(shop.folder("device/replica.key")).expect("read");
            let db = rusqlite::Connection::open(shop.folder("replica/replica.db")).expect("opens");
            db.execute_batch(&format!("PRAGMA key = \"x'{}'\"; PRAGMA user_version = 999;", key.trim())).expect("written");
        }),
        ("incarnation", Level::Warning, "another one than this till wrote", |shop| {
            edit(&shop.folder("device/identity.json"), |json| json["db_uuid"] = "11".repeat(16).into());
        }),
        ("configuration", Level::Error, "did you mean `listen`?", |shop| {
            fs::write(shop.folder("node.toml"), "lisen = '127.0.0.1:1'").expect("written");
        }),
    ];
    for (subject, expected, sentence, sicken) in cases {
        let shop = sold();
        sicken(&shop);
        let report = doctor(shop.folder.path()).await;
        let (found_level, found) = level(&report, subject);
        assert!(found_level == expected && found.contains(sentence), "{subject}: {sentence} is not in\n{report}");
        assert!(report.findings.iter().all(|f| f.level == Level::Ok || f.todo.is_some()), "{report}");
        assert_eq!(report.worst(), expected.max(Level::Warning), "{report}");
    }
}

#[tokio::test]
async fn a_replica_from_a_backup_is_noticed_while_it_is_only_looked_at() {
    let shop = sold();
    let kept = fs::read(shop.folder("replica/replica.db")).expect("read");
    let mut till = shop.reopen();
    till.sign_in(LEAD);
    till.scan("22423", 1);
    till.pay();
    drop(till);
    fs::write(shop.folder("replica/replica.db"), kept).expect("written");
    let report = doctor(shop.folder.path()).await;
    let (found_level, found) = level(&report, "incarnation");
    assert!(found_level == Level::Warning && found.contains("it is from a backup"), "{report}");
}

#[tokio::test]
async fn check_config_looks_at_what_the_configuration_names() {
    let shop = sold();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    fs::write(shop.folder("node.toml"), format!("listen = '{address}'\nserver = 'no-such-host.invalid:1'\n")).expect("written");
    let report = check_config(shop.folder.path(), None, Overrides::default()).await;
    assert_eq!(level(&report, "configuration").0, Level::Ok, "{report}");
    assert_eq!(level(&report, "listen"), (Level::Error, format!("another program listens on {address}")));
    assert_eq!(level(&report, "sync server").0, Level::Warning, "{report}");
    fs::write(shop.folder("node.toml"), "listen = '127.0.0.1:0'\n").expect("written");
    let report = check_config(shop.folder.path(), None, Overrides::default()).await;
    assert_eq!(report.worst(), Level::Ok, "{report}");
}
