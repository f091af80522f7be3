//! How `evertill-node run` is configured: a TOML file, environment variables, command-line arguments, the later over the earlier.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hardware::Profile;
use serde::Deserialize;

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Where the face listens when nothing is said.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8421";
/// The printer profile when nothing is said.
const PROFILE_DEFAULT: &str = "epson-80";

/// What the node runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the loopback face listens.
    pub listen: SocketAddr,
    /// Another regional server than the one that admitted the device, `host:port`.
    pub server: Option<String>,
    /// The receipt printer.
    pub printer: Option<Printer>,
}

/// A receipt printer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printer {
    /// Its `host:port`.
    pub address: String,
    /// What kind it is.
    pub profile: &'static Profile,
}

/// What was said on the command line or in the environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Where the face listens.
    pub listen: Option<String>,
    /// The regional server.
    pub server: Option<String>,
    /// The printer, `tcp://host:port`.
    pub printer: Option<String>,
    /// The printer's profile.
    pub printer_profile: Option<String>,
}

/// Why a configuration is refused. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("the configuration file {0} is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// The file is no TOML, or has an unknown or misspelt key.
    #[error("the configuration file {path} is wrong")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{key} is {value:?}, but should be {expected}")]
    Value {
        /// Which.
        key: &'static str,
        /// What was said.
        value: String,
        /// What could be said.
        expected: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    listen: Option<String>,
    server: Option<String>,
    printer: Option<FilePrinter>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePrinter {
    address: String,
    profile: Option<String>,
}

impl Config {
    /// Reads the configuration. `file` is what was asked for; without it, `node.toml` in the data folder is read if it is there.
    ///
    /// # Errors
    /// A file that cannot be read, or a value that makes no sense.
    pub fn load(data: &Path, file: Option<&Path>, over: Overrides) -> Result<Self, ConfigError> {
        let beside_data = data.join("node.toml");
        let path = file.or_else(|| beside_data.exists().then_some(&*beside_data));
        let base = path.map(read).transpose()?.unwrap_or_default();
        Self::of(base, over)
    }

    fn of(base: FileConfig, over: Overrides) -> Result<Self, ConfigError> {
        let listen = over.listen.or(base.listen).unwrap_or_else(|| LISTEN_DEFAULT.to_owned());
        let listen = SocketAddr::from_str(&listen)
            .ok()
            .filter(|a| a.ip().is_loopback())
            .ok_or_else(|| wrong("listen", &listen, "a loopback address and port such as 127.0.0.1:8421"))?;
        let server = over.server.or(base.server);
        if let Some(server) = &server {
            host_and_port(server).ok_or_else(|| wrong("server", server, "a host and port such as sync.example.com:4433"))?;
        }
        let (address, profile) = match base.printer {
            Some(printer) => (Some(printer.address), printer.profile),
            None => (None, None),
        };
        let profile = over.printer_profile.or(profile);
        let printer = over.printer.or(address).map(|address| Printer::of(&address, profile.as_deref())).transpose()?;
        Ok(Self { listen, server, printer })
    }
}

impl Printer {
    fn of(address: &str, profile: Option<&str>) -> Result<Self, ConfigError> {
        let host = address.strip_prefix("tcp://").and_then(host_and_port);
        let host = host.ok_or_else(|| wrong("printer", address, "an address such as tcp://192.168.1.50:9100"))?;
        let profile = profile.unwrap_or(PROFILE_DEFAULT);
        let known = || hardware::profile::all().iter().map(|p| p.id).collect::<Vec<_>>().join(", ");
        let profile =
            hardware::profile::find(profile).ok_or_else(|| wrong("printer profile", profile, &format!("one of {}", known())))?;
        Ok(Self { address: host.to_owned(), profile })
    }
}

fn read(path: &Path) -> Result<FileConfig, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(fail)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    toml::from_str(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}

fn wrong(key: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError::Value { key, value: value.to_owned(), expected: expected.to_owned() }
}

/// The text itself, when it is a host without spaces and a port from 1.
fn host_and_port(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').map_or(host, |h| h.strip_suffix(']').unwrap_or(""));
    let fits = !bare.is_empty() && bare.len() <= 253 && !bare.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
    let port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    (fits && port).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(toml: &str) -> Result<Config, String> {
        let base = toml::from_str(toml).map_err(|e| e.to_string())?;
        Config::of(base, Overrides::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_said_is_a_till_without_a_printer() {
        let config = of("").expect("a configuration");
        assert_eq!((config.listen.to_string().as_str(), config.server, config.printer), (LISTEN_DEFAULT, None, None));
    }

    #[test]
    fn what_is_said_later_wins() {
        let base = toml::from_str("listen = '127.0.0.1:1'\n[printer]\naddress = 'tcp://a:9100'").expect("TOML");
        let over = Overrides {
            listen: Some("[::1]:0".to_owned()),
            printer: Some("tcp://b:9100".to_owned()),
            printer_profile: Some("generic-58".to_owned()),
            ..Overrides::default()
        };
        let config = Config::of(base, over).expect("a configuration");
        let printer = config.printer.expect("a printer");
        assert_eq!((config.listen.port(), printer.address.as_str(), printer.profile.id), (0, "b:9100", "generic-58"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        for (toml, part) in [
            ("listen = '0.0.0.0:80'", "loopback"),
            ("listen = '127.0.0.1:65536'", "loopback"),
            ("listen = 8421", "invalid type"),
            ("lisen = '127.0.0.1:1'", "unknown field `lisen`"),
            ("server = 'two words:1'", "host and port"),
            ("server = 'host:0'", "host and port"),
            ("server = 'host'", "host and port"),
            ("[printer]\naddress = 'usb:1'", "tcp://"),
            ("[printer]\nprofile = 'epson-80'", "missing field `address`"),
            ("[printer]\naddress = 'tcp://a:9100'\nprofile = 'lp'", "one of epson-80"),
        ] {
            let error = of(toml).expect_err(toml);
            assert!(error.contains(part), "{toml}: {error}");
        }
    }
}
