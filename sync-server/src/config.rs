//! The one configuration file of the daemon. `deploy/sync-server.example.toml` shows every key.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use operations::config::{ConfigError, File, Key, Kind, LOG_KEYS, Mistake};
use operations::logging::LogConfig;
use serde::Deserialize;

use crate::quic::Limits;

/// The port of the metrics when nothing is said.
const METRICS_PORT: u16 = 9464;

/// Every key that the file may hold.
pub const KEYS: [Key; 15] = [
    Key { name: "data", kind: Kind::Text("the folder of the region's log, authority and keys"), required: true },
    Key { name: "sync.listen", kind: Kind::Listen("0.0.0.0:4433"), required: true },
    Key { name: "sync.listen_tcp", kind: Kind::Listen("0.0.0.0:443"), required: false },
    Key { name: "sync.public", kind: Kind::HostAndPort("sync.example.com:4433"), required: false },
    Key { name: "web.listen", kind: Kind::Listen("127.0.0.1:8443"), required: true },
    Key { name: "web.tls_certificate", kind: Kind::Text("the path of a PEM file with the certificate chain"), required: false },
    Key { name: "web.tls_key", kind: Kind::Text("the path of a PEM file with the certificate's key"), required: false },
    Key { name: "central.url", kind: Kind::Text("a postgres:// address"), required: false },
    Key { name: "metrics.listen", kind: Kind::Listen("127.0.0.1:9464"), required: false },
    Key { name: "limits.connections", kind: Kind::Count(1, 100_000), required: false },
    Key { name: "limits.catch_ups", kind: Kind::Count(1, 1_000), required: false },
    Key { name: "limits.device_mib_per_minute", kind: Kind::Count(1, 100_000), required: false },
    Key { name: "limits.device_entries_per_minute", kind: Kind::Count(1_000, 100_000_000), required: false },
    LOG_KEYS[0],
    LOG_KEYS[1],
];

/// What the daemon is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of the region's log, authority and keys.
    pub data: PathBuf,
    /// Replication with devices.
    pub sync: SyncConfig,
    /// The manager page and API.
    pub web: WebConfig,
    /// The central Postgres.
    #[serde(default)]
    pub central: CentralConfig,
    /// Prometheus metrics.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// What the server takes upon itself at most.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The log on standard error.
    #[serde(default)]
    pub log: LogConfig,
}

/// Replication with devices.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncConfig {
    /// The UDP address to listen on.
    pub listen: SocketAddr,
    /// The TCP address to listen on, for devices whose network lets no UDP through; the same as for UDP when absent.
    pub listen_tcp: Option<SocketAddr>,
    /// The host and port that devices reach it by; it goes into enrolment links. The listening address when absent.
    pub public: Option<String>,
}

/// What the server takes upon itself at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Replicating devices at once.
    pub connections: usize,
    /// Devices that catch up with much at once.
    pub catch_ups: usize,
    /// Mebibytes that are taken from one device in a minute.
    pub device_mib_per_minute: u64,
    /// Entries that are taken from one device in a minute.
    pub device_entries_per_minute: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let Limits { connections, catch_ups, device_bytes_per_minute, device_entries_per_minute, .. } = Limits::default();
        Self { connections, catch_ups, device_mib_per_minute: device_bytes_per_minute >> 20, device_entries_per_minute }
    }
}

impl From<LimitsConfig> for Limits {
    fn from(config: LimitsConfig) -> Self {
        let LimitsConfig { connections, catch_ups, device_mib_per_minute, device_entries_per_minute } = config;
        let device_bytes_per_minute = device_mib_per_minute << 20;
        Self { connections, catch_ups, device_bytes_per_minute, device_entries_per_minute, ..Self::default() }
    }
}

/// The manager page and API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    /// The TCP address to listen on. Beyond loopback a certificate is needed.
    pub listen: SocketAddr,
    /// PEM file of the certificate chain.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub tls_key: Option<PathBuf>,
}

/// The central Postgres.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentralConfig {
    /// A `postgres://` address. The environment variable `EVERTILL_CENTRAL_URL` goes before it.
    #[serde(default)]
    pub url: String,
}

/// Prometheus metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// The TCP address to listen on; not the manager page's, so that the page does not show them to the world.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, METRICS_PORT).into() }
    }
}

/// The address may hold a password, and a configuration may be logged.
impl std::fmt::Debug for CentralConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CentralConfig").finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Anything that is missing, unknown or unsafe, in sentences that say what to do.
    pub fn read(path: &Path, central_url: Option<String>) -> Result<Self, ConfigError> {
        let file = File::read(path)?;
        let mut config: Self = file.parse(&KEYS)?;
        if holds_password(&config.central.url) {
            file.refuse_readers()?;
        }
        if let Some(url) = central_url {
            config.central.url = url;
        }
        match config.unsafe_or_incomplete() {
            Some(sentence) => Err(file.mistake(Mistake { line: None, sentence })),
            None => Ok(config),
        }
    }

    /// What no single key shows.
    fn unsafe_or_incomplete(&self) -> Option<String> {
        let web = &self.web;
        match (&web.tls_certificate, &web.tls_key) {
            (Some(_), None) => Some("`web.tls_certificate` is there but `web.tls_key` is missing: they go together".to_owned()),
            (None, Some(_)) => Some("`web.tls_key` is there but `web.tls_certificate` is missing: they go together".to_owned()),
            (None, None) if !web.listen.ip().is_loopback() => Some(format!(
                "`web.listen` is {}, beyond loopback: give `web.tls_certificate` and `web.tls_key`, or listen on 127.0.0.1",
                web.listen
            )),
            _ if self.central.url.is_empty() => {
                Some("`central.url` is missing: add it, a postgres:// address in quotes, or set EVERTILL_CENTRAL_URL".to_owned())
            }
            _ => None,
        }
    }
}

fn holds_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.split(['/', '?']).next().and_then(|a| a.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
        || url.contains("password=")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use operations::config::{not_shown, uncommented};

    use super::*;

    fn read_with(text: &str, mode: u32, central_url: Option<&str>) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("server.toml");
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let said = Config::read(&path, central_url.map(str::to_owned)).map_err(|e| e.to_string());
        said.map_err(|error| error.replace(dir.path().to_str().expect("text"), "DIR"))
    }

    fn read(text: &str, mode: u32) -> Result<Config, String> {
        read_with(text, mode, None)
    }

    const GOOD: &str =
        "data = 'd'\n[sync]\nlisten = '127.0.0.1:4710'\n[web]\nlisten = '127.0.0.1:4711'\n[central]\nurl = 'postgres://h/db'\n";

    /// What is refused, and the sentence. What any file may get wrong is told apart in `operations::config`.
    #[test]
    fn bad_files_are_explained() {
        assert!(read(GOOD, 0o644).is_ok());
        let wrong = "the configuration file DIR/server.toml is wrong:\n  ";
        for (text, mode, expected) in [
            (
                GOOD.replace("127.0.0.1:4711", "0.0.0.0:4711"),
                0o600,
                format!(
                    "{wrong}`web.listen` is 0.0.0.0:4711, beyond loopback: give `web.tls_certificate` and `web.tls_key`, or listen on 127.0.0.1"
                ),
            ),
            (
                GOOD.replace("[web]", "[web]\ntls_key = 'k'"),
                0o600,
                format!("{wrong}`web.tls_key` is there but `web.tls_certificate` is missing: they go together"),
            ),
            (
                GOOD.replace("[web]", "[web]\ntls_certificate = 'c'"),
                0o600,
                format!("{wrong}`web.tls_certificate` is there but `web.tls_key` is missing: they go together"),
            ),
            (
                GOOD.replace("h/db", "u:p@h/db"),
                0o644,
                "the configuration file DIR/server.toml holds a password and others may read it: run `chmod 600` on it, and consider the password known".to_owned(),
            ),
            (
                GOOD.replace("[web]\nlisten", "[web]\nlissten"),
                0o600,
                format!(
                    "{wrong}line 5: there is no key `web.lissten`: did you mean `web.listen`?\n  `web.listen` is missing: add it, an IP address and port in quotes, such as \"127.0.0.1:8443\""
                ),
            ),
            (
                GOOD.replace("4710", "65536"),
                0o600,
                format!(
                    "{wrong}line 3: `sync.listen` is \"127.0.0.1:65536\", but should be an IP address and port in quotes, such as \"0.0.0.0:4433\""
                ),
            ),
            (
                format!("{GOOD}[limits]\nconnections = 0\ncatch_ups = '8'\n"),
                0o600,
                format!(
                    "{wrong}line 9: `limits.connections` is 0, but should be a whole number from 1 to 100000, without quotes\n  line 10: `limits.catch_ups` is \"8\", but should be a whole number from 1 to 1000, without quotes"
                ),
            ),
            (
                GOOD.replace("url = 'postgres://h/db'", ""),
                0o600,
                format!("{wrong}`central.url` is missing: add it, a postgres:// address in quotes, or set EVERTILL_CENTRAL_URL"),
            ),
        ] {
            assert_eq!(read(&text, mode).expect_err(&text), expected);
        }
    }

    #[test]
    fn the_environment_stands_in_for_the_address_of_the_central_database() {
        let without = GOOD.replace("[central]\nurl = 'postgres://h/db'", "");
        let config = read_with(&without, 0o644, Some("postgres://u:p@h/db")).expect("a configuration");
        assert_eq!(config.central.url, "postgres://u:p@h/db");
        assert!(!format!("{config:?}").contains("u:p"), "a configuration shows its password");
    }

    const EXAMPLE: &str = include_str!("../../deploy/sync-server.example.toml");

    #[test]
    fn the_example_parses_and_shows_every_key_with_its_default() {
        read(EXAMPLE, 0o644).expect("the example as it is");
        assert_eq!(not_shown(EXAMPLE, &KEYS), [""; 0]);
        let config = read(&uncommented(EXAMPLE), 0o600).expect("the example with every key");
        assert_eq!(config.metrics, MetricsConfig::default());
        assert_eq!(config.limits, LimitsConfig::default());
        assert_eq!(config.log.level.as_deref(), Some(operations::logging::LEVEL_DEFAULT));
    }

    #[test]
    fn the_keys_are_the_ones_that_exist_and_the_documentation_lists_them() {
        let docs = include_str!("../../docs/sync-server.md");
        for Key { name, .. } in KEYS {
            assert!(docs.contains(&format!("`{name}`")), "docs/sync-server.md does not list {name}");
        }
        // serde names the fields that it knows, and complains about the one that it does not.
        for section in ["", "sync", "web", "central", "metrics", "limits", "log"] {
            let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let complaint = toml::from_str::<Config>(&format!("{head}zzz = 1")).expect_err("unknown").message().to_owned();
            let known: Vec<&str> = complaint.split('`').skip(3).step_by(2).collect();
            assert!(!known.is_empty(), "{complaint}");
            for field in known {
                let name = if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") };
                let is_listed = KEYS.iter().any(|key| key.name == name || key.name.starts_with(&format!("{name}.")));
                assert!(is_listed, "{name} is read but not in KEYS");
            }
        }
    }
}
