//! `--check-config`: each thing that a configuration names, sick in one way at a time.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use operations::check::{Level, Report};
use sync_server::check::check;
use sync_server::config::Config;
use sync_server::{daemon, env::Machine};

/// 2023-11-14.
const NOW_MS: u64 = 1_700_000_000_000;

struct World {
    folder: tempfile::TempDir,
    sync: String,
    web: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("made");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("set");
        drop(daemon::open(&data, &Machine, true).expect("a region"));
        Self { folder, sync: "listen = '127.0.0.1:0'".into(), web: "listen = '127.0.0.1:0'".into() }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    async fn check(&self) -> Report {
        let path = self.folder.path().join("server.toml");
        let text = format!(
            "data = '{}'\n[sync]\n{}\n[web]\n{}\n[central]\nurl = 'postgres://nobody@127.0.0.1:1/nothing'\n[metrics]\nlisten = '127.0.0.1:0'\n",
            self.data().display(),
            self.sync,
            self.web
        );
        fs::write(&path, text).expect("written");
        check(&path, &Config::read(&path, None).expect("a configuration"), NOW_MS).await
    }

    /// A certificate and key for the web page, valid in a year.
    fn certificate(&mut self, from: i32, to: i32) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 11, 20);
        let certificate = params.self_signed(&key).expect("a certificate");
        let files = [("web.crt", certificate.pem()), ("web.key", key.serialize_pem())];
        let [certificate, key] = files.map(|(name, text)| {
            let path = self.folder.path().join(name);
            fs::write(&path, text).expect("written");
            path.display().to_string()
        });
        self.web = format!("listen = '127.0.0.1:0'\ntls_certificate = '{certificate}'\ntls_key = '{key}'");
    }
}

fn worst(report: &Report, subject: &str) -> (Level, String) {
    let found = report.findings.iter().filter(|f| f.subject == subject).max_by_key(|f| f.level);
    found.map(|f| (f.level, f.found.clone())).unwrap_or_else(|| panic!("nothing about {subject} in\n{report}"))
}

#[tokio::test]
async fn a_sound_server_whose_database_is_away_may_start() {
    let report = World::new().check().await;
    assert_eq!(report.worst(), Level::Warning, "{report}");
    assert_eq!(worst(&report, "central database").0, Level::Warning, "{report}");
    for subject in [
        "configuration",
        "data folder",
        "keys",
        "web certificate",
        "sync.listen",
        "web.listen",
        "metrics.listen",
        "sync.public",
        "disk",
    ] {
        assert_eq!(worst(&report, subject).0, Level::Ok, "{subject}\n{report}");
    }
}

#[tokio::test]
async fn each_sickness_is_found_and_says_what_to_do() {
    type Sicken = fn(&mut World);
    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }
    let cases: [(&str, Level, &str, Sicken); 12] = [
        ("data folder", Level::Warning, "is not there yet", |w| fs::remove_dir_all(w.data()).expect("removed")),
        ("data folder", Level::Error, "is no folder", |w| {
            fs::remove_dir_all(w.data()).expect("removed");
            fs::write(w.data(), "").expect("written");
        }),
        ("data folder", Level::Warning, "is open to other users", |w| mode(&w.data(), 0o755)),
        ("region", Level::Warning, "holds no region yet", |w| fs::remove_file(w.data().join("region.db")).expect("removed")),
        ("keys", Level::Error, "others may read", |w| mode(&w.data().join("authority.key"), 0o640)),
        ("keys", Level::Error, "cannot be read", |w| fs::remove_file(w.data().join("server.key")).expect("removed")),
        ("web certificate", Level::Ok, "fits its key and holds for", |w| w.certificate(2020, 2030)),
        ("web certificate", Level::Error, "has expired", |w| w.certificate(2020, 2022)),
        ("web certificate", Level::Warning, "ends in 5 days", |w| w.certificate(2020, 2023)),
        ("web certificate", Level::Error, "cannot use the certificate and key", |w| {
            w.certificate(2020, 2030);
            let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
            fs::write(w.folder.path().join("web.key"), other).expect("written");
        }),
        ("sync.public", Level::Warning, "would send tills to 0.0.0.0:0", |w| w.sync = "listen = '0.0.0.0:0'".into()),
        ("sync.listen", Level::Error, "192.0.2.1 is no address of this machine", |w| w.sync = "listen = '192.0.2.1:4433'".into()),
    ];
    for (subject, expected, sentence, sicken) in cases {
        let mut world = World::new();
        sicken(&mut world);
        let report = world.check().await;
        let (level, found) = worst(&report, subject);
        assert!(level == expected && found.contains(sentence), "{subject}: {sentence} is not in\n{report}");
        assert!(report.findings.iter().all(|f| f.level == Level::Ok || f.todo.is_some()), "{report}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_unless_the_server_itself_has_it() {
    let mut world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    world.web = format!("listen = '{address}'");
    let report = world.check().await;
    assert_eq!(worst(&report, "web.listen"), (Level::Error, format!("another program listens on {address}")));
    let running = daemon::open(&world.data(), &Machine, false).expect("it starts");
    let report = world.check().await;
    assert_eq!(worst(&report, "web.listen"), (Level::Ok, format!("{address} is in use while the server runs")));
    drop(running);
}
