//! The one configuration file of the daemon.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Largest configuration file in bytes.
const CONFIG_BYTES_MAX: u64 = 256 * 1024;

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
    pub central: CentralConfig,
}

/// Replication with devices.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncConfig {
    /// The UDP address to listen on.
    pub listen: SocketAddr,
    /// The host and port that devices reach it by; it goes into enrolment links. The listening address when absent.
    pub public: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentralConfig {
    /// A `postgres://` address. The environment variable `EVERTILL_CENTRAL_URL` goes before it.
    pub url: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: give its path with --config", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is absurdly large.
    #[error("the configuration file {} is larger than {CONFIG_BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// The file holds the password of the central database and anyone may read it.
    #[error("the configuration file {} holds a password and others may read it: chmod 600 it", .0.display())]
    WorldReadable(PathBuf),
    /// The text is not what is expected; the source says where.
    #[error("the configuration file {} does not parse", .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The manager page would be open to the network without encryption.
    #[error("web.listen is {0}, beyond loopback: give web.tls_certificate and web.tls_key, or listen on 127.0.0.1")]
    OpenWeb(SocketAddr),
    /// One of certificate and key is missing.
    #[error("web.tls_certificate and web.tls_key go together")]
    HalfTls,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Anything that is missing, unknown or unsafe, in a sentence that says what to do.
    pub fn read(path: &Path, central_url: Option<String>) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        let facts = std::fs::metadata(path).map_err(read_error)?;
        if facts.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        let mut config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        if holds_password(&config.central.url) && others_may_read(&facts) {
            return Err(ConfigError::WorldReadable(path.to_owned()));
        }
        if let Some(url) = central_url {
            config.central.url = url;
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        match (&self.web.tls_certificate, &self.web.tls_key) {
            (Some(_), None) | (None, Some(_)) => Err(ConfigError::HalfTls),
            (None, None) if !self.web.listen.ip().is_loopback() => Err(ConfigError::OpenWeb(self.web.listen)),
            _ => Ok(()),
        }
    }
}

fn holds_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.split(['/', '?']).next().and_then(|a| a.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
        || url.contains("password=")
}

fn others_may_read(facts: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    facts.permissions().mode() & 0o077 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn read(text: &str, mode: u32) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("server.toml");
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        Config::read(&path, None).map_err(|e| {
            let source = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
            format!("{e}: {source}")
        })
    }

    const GOOD: &str =
        "data = 'd'\n[sync]\nlisten = '127.0.0.1:4710'\n[web]\nlisten = '127.0.0.1:4711'\n[central]\nurl = 'postgres://h/db'\n";

    #[test]
    fn bad_files_are_explained() {
        assert!(read(GOOD, 0o644).is_ok());
        for (text, mode, expected) in [
            (GOOD.replace("127.0.0.1:4711", "0.0.0.0:4711"), 0o600, "beyond loopback"),
            (GOOD.replace("[web]", "[web]\ntls_key = 'k'"), 0o600, "go together"),
            (GOOD.replace("h/db", "u:p@h/db"), 0o644, "chmod 600"),
            (GOOD.replace("[web]\nlisten", "[web]\nlissten"), 0o600, "unknown field `lissten`"),
            (GOOD.replace("4710", "65536"), 0o600, "does not parse"),
            ("data = 3".into(), 0o600, "does not parse"),
        ] {
            let error = read(&text, mode).expect_err(&text);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        assert!(Config::read(Path::new("/nowhere.toml"), None).expect_err("no file").to_string().contains("--config"));
    }
}
