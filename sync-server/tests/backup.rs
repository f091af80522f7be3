//! A backup is made of a log that is open, brings back all of it, and is refused when a byte of it is another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::document::Store;
use domain::ids::{DeviceId, StoreId};
use domain::money::Currency;
use domain::record::DeviceKind;
use domain::tax::TaxMode;
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use sync_proto::env::Env;
use sync_server::backup::{self, BackupError};
use sync_server::daemon::{self, Opened};
use sync_server::import;

#[derive(Debug)]
struct Still;

impl Env for Still {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }
    fn fill_random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("random");
    }
}

struct World {
    folder: tempfile::TempDir,
    server: Option<Opened>,
}

impl World {
    /// A server with a store, products, a till and a pending code, its log open.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = daemon::open(&folder.path().join("data"), &Still, true).expect("a region");
        let region = &mut server.region;
        let store = Store {
            id: StoreId(uuid::Uuid::from_bytes([50; 16])),
            code: "S01".into(),
            name: "Shop".into(),
            address: vec![],
            currency: Currency::new("GBP").expect("GBP"),
            tax_mode: TaxMode::Inclusive,
            receipt_footer: String::new(),
            receipt_header: vec![],
            languages: vec!["en".into()],
            time_zone: "UTC".into(),
        };
        region.add_store(store, 1).expect("a store");
        let rows: String = (0..600).map(|n| format!("P{n},Product {n},{}.00,2000\n", 1 + n)).collect();
        let file = format!("code,name,price,tax_rate_bp\n{rows}");
        let env: Arc<dyn Env> = Arc::new(Still);
        import::whole(region, &folder.path().join("data/imports"), "products.csv", file.as_bytes(), &env).expect("imported");
        region.issue_code("S01", "Till 1", "AAAAAAAAAA", 1).expect("a code");
        let key = journal::SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes();
        region.redeem("AAAAAAAAAA", DeviceId(uuid::Uuid::from_bytes([9; 16])), key, 1).expect("admitted");
        region.issue_code("S01", "Till 2", "BBBBBBBBBB", Still.unix_ms()).expect("a code");
        Self { folder, server: Some(server) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn back_up(&self) -> PathBuf {
        let to = self.path("backup");
        backup::create(&self.path("data"), &to, &Still).expect("a backup");
        to
    }

    fn restore(&self) -> Result<backup::Manifest, String> {
        let restored = backup::restore(&self.path("backup"), &self.path("again"), &Still);
        restored.map_err(|error| error.to_string().replace(self.folder.path().to_str().expect("text"), "DIR"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|f| f.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes the manifest anew, as someone would who alters a backup and knows how it is made.
fn forge_manifest(backup: &Path) {
    let path = backup.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    for file in manifest["files"].as_array_mut().expect("files") {
        let bytes = fs::read(backup.join(file["name"].as_str().expect("a name"))).expect("read");
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        file["bytes"] = bytes.len().into();
        file["sha256"] = hash.iter().map(|b| format!("{b:02x}")).collect::<String>().into();
    }
    fs::write(path, serde_json::to_vec(&manifest).expect("JSON")).expect("written");
}

#[test]
fn a_backup_of_an_open_log_brings_everything_back_under_a_fresh_incarnation() {
    let mut world = World::new();
    let server = world.server.as_ref().expect("it runs");
    let (before, old, fingerprint) = (server.region.last_seq(), server.region.own(), server.authority.fingerprint());
    let made = backup::create(&world.path("data"), &world.path("backup"), &Still).expect("a backup");
    assert_eq!((made.entries, made.last_region_seq, made.devices), (before, before, 1));
    assert_eq!(made.region.as_bytes(), &old.incarnation);
    assert_eq!(made.made_at, "2023-11-14T22:13:20Z");
    let expected = ["authority.crt", "authority.key", "manifest.json", "region.db", "server.crt", "server.key"];
    assert_eq!(names(&world.path("backup")), expected);
    for path in expected.map(|name| world.path("backup").join(name)) {
        assert_eq!(fs::metadata(&path).expect("facts").permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(fs::metadata(world.path("backup")).expect("facts").permissions().mode() & 0o777, 0o700);
    assert_eq!(names(world.folder.path()), ["backup", "data"], "something temporary was left");
    world.server = None;

    assert_eq!(world.restore().expect("restored"), made);
    let Opened { mut region, authority, _lock } = daemon::open(&world.path("again"), &Still, false).expect("opens");
    assert_eq!(authority.fingerprint(), fingerprint);
    assert_eq!(region.own().device, old.device);
    assert_ne!(region.own().incarnation, old.incarnation, "devices would think that they had sent everything");
    assert_eq!((region.last_seq(), region.verify().expect("verifies")), (before, before));
    assert!(region.devices().any(|device| device.kind == DeviceKind::Till));
    assert_eq!(region.store_by_code("S01").expect("reads").expect("a store").name, "Shop");
    let key = journal::SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes();
    let code = region.redeem("BBBBBBBBBB", DeviceId(uuid::Uuid::from_bytes([8; 16])), key, Still.unix_ms());
    assert!(code.is_err(), "a code of the backup is still good");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let world = World::new();
    let data = world.path("data");
    fs::create_dir(world.path("empty")).expect("a folder");
    for taken in ["data", "empty"] {
        let refused = backup::create(&data, &world.path(taken), &Still);
        assert!(matches!(refused, Err(BackupError::Exists(_))), "{taken}: {refused:?}");
    }
    assert!(names(&world.path("empty")).is_empty());
    let nowhere = backup::create(&data, &world.path("no/such/folder"), &Still).expect_err("no folder").to_string();
    assert!(nowhere.contains("cannot make") && nowhere.contains("no/such"), "{nowhere}");
    let none = backup::create(&world.path("empty"), &world.path("backup"), &Still).expect_err("no region").to_string();
    assert!(none.contains("holds no region"), "{none}");

    let backup = world.back_up();
    let refused = backup::restore(&backup, &data, &Still).expect_err("it is in use").to_string();
    assert!(refused.contains("is not empty: a backup is restored into an empty folder"), "{refused}");
    assert!(data.join("region.db").exists());
}

#[test]
fn an_altered_backup_is_refused_in_a_sentence_and_leaves_the_folder_empty() {
    type Alter = fn(&Path);
    type Case = (&'static str, Box<dyn Fn(&Path)>);
    let log = |sql: &'static str| {
        move |backup: &Path| Connection::open(backup.join("region.db")).and_then(|db| db.execute_batch(sql)).expect("altered")
    };
    let cases: [Case; 10] = [
        ("region.db is not as it was when the backup was made (its length is another)", {
            let cut: Alter = |backup| {
                let file = fs::File::options().write(true).open(backup.join("region.db")).expect("opens");
                file.set_len(file.metadata().expect("facts").len() - 4_096).expect("cut");
            };
            Box::new(cut)
        }),
        ("region.db is not as it was when the backup was made (its SHA-256 is another)", {
            let flip: Alter = |backup| {
                let mut bytes = fs::read(backup.join("region.db")).expect("read");
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                fs::write(backup.join("region.db"), bytes).expect("written");
            };
            Box::new(flip)
        }),
        ("server.key is not as it was", Box::new(|b| fs::write(b.join("server.key"), "another").expect("written"))),
        ("cannot read DIR/backup/authority.crt", Box::new(|b| fs::remove_file(b.join("authority.crt")).expect("removed"))),
        (
            "is no whole backup: its manifest.json cannot be read",
            Box::new(|b| fs::remove_file(b.join("manifest.json")).expect("removed")),
        ),
        (
            "is no whole backup: its manifest.json makes no sense",
            Box::new(|b| fs::write(b.join("manifest.json"), "{").expect("written")),
        ),
        ("it lists the files", {
            let lead_away: Alter = |backup| {
                let path = backup.join("manifest.json");
                let text = fs::read_to_string(&path).expect("read").replace("server.crt", "../../server.crt");
                fs::write(path, text).expect("written");
            };
            Box::new(lead_away)
        }),
        // Those who know how a manifest is made still cannot sign.
        ("the log in the backup does not verify (the chain of device", {
            let alter = log("UPDATE entry SET bytes = (SELECT bytes FROM entry WHERE region_seq = 5) WHERE region_seq = 6");
            Box::new(move |b| {
                alter(b);
                forge_manifest(b)
            })
        }),
        ("the log in the backup does not verify (the chain of device", {
            let alter = log("DELETE FROM entry WHERE region_seq = 7");
            Box::new(move |b| {
                alter(b);
                forge_manifest(b)
            })
        }),
        ("it is not the log that the manifest describes", {
            let alter = log("DELETE FROM entry WHERE commit_no = (SELECT max(commit_no) FROM entry)");
            Box::new(move |b| {
                alter(b);
                forge_manifest(b)
            })
        }),
    ];
    for (sentence, alter) in cases {
        let world = World::new();
        alter(&world.back_up());
        let refused = world.restore().expect_err(sentence);
        assert!(refused.contains(sentence), "{refused} lacks {sentence}");
        let left = if world.path("again").exists() { names(&world.path("again")) } else { Vec::new() };
        assert!(left.is_empty(), "{sentence}: {left:?}");
    }
}
