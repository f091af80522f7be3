//! How a till is configured: a TOML file, environment variables, command-line arguments, the later over the earlier.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hardware::Profile;
use operations::config::{File, Key, Kind, LOG_KEYS, is_host_and_port};
use operations::logging::LogConfig;
use serde::Deserialize;

use crate::till::KEEP_DAYS_DEFAULT;

/// Where the face listens when nothing is said.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8421";
/// Where the other tills of the store find this one when nothing is said.
pub const LAN_LISTEN_DEFAULT: &str = "0.0.0.0:8422";
/// The fewest days for which entries are kept whole: for so long both the server and the central database may be put back from a backup.
pub const KEEP_DAYS_MIN: u64 = 7;
/// The most days; 0 stands for ever.
pub const KEEP_DAYS_MAX: u64 = 36_500;
/// The printer profile when nothing is said.
const PROFILE_DEFAULT: &str = "epson-80";

/// Every key that the file may hold.
pub const KEYS: [Key; 11] = [
    Key { name: "listen", kind: Kind::Listen("127.0.0.1:8421"), required: false },
    Key { name: "server", kind: Kind::HostAndPort("sync.example.com:4433"), required: false },
    Key { name: "server_tcp", kind: Kind::HostAndPort("sync.example.com:443"), required: false },
    Key { name: "printer.address", kind: Kind::Text("an address such as \"tcp://192.168.1.50:9100\""), required: false },
    Key { name: "printer.profile", kind: Kind::Text("a profile such as \"epson-80\""), required: false },
    Key { name: "lan.listen", kind: Kind::Listen("0.0.0.0:8422"), required: false },
    Key { name: "lan.peers", kind: Kind::Text("addresses such as \"192.168.1.21:8422, till2:8422\""), required: false },
    Key { name: "lan.discover", kind: Kind::Choice(&["on", "off"]), required: false },
    Key { name: "keep_days", kind: Kind::Count(0, KEEP_DAYS_MAX as i64), required: false },
    LOG_KEYS[0],
    LOG_KEYS[1],
];

/// What the node runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the loopback face listens.
    pub listen: SocketAddr,
    /// Another regional server than the one that admitted the device, `host:port`.
    pub server: Option<String>,
    /// Where the regional server is found over TCP, when that is elsewhere than over UDP, `host:port`.
    pub server_tcp: Option<String>,
    /// The receipt printer.
    pub printer: Option<Printer>,
    /// The other tills of the store.
    pub lan: Lan,
    /// For how many days entries that the central database has are kept whole; none for ever.
    pub keep_days: Option<u64>,
    /// The log on standard error.
    pub log: LogConfig,
}

/// How the tills of a store find one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lan {
    /// Where this one listens.
    pub listen: SocketAddr,
    /// Others, `host:port`, beside those that are found.
    pub peers: BTreeSet<String>,
    /// Whether they are looked for by multicast DNS, and this one announced.
    pub discover: bool,
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
    /// The regional server over TCP.
    pub server_tcp: Option<String>,
    /// The printer, `tcp://host:port`.
    pub printer: Option<String>,
    /// The printer's profile.
    pub printer_profile: Option<String>,
    /// Where the other tills find this one.
    pub lan_listen: Option<String>,
    /// The other tills.
    pub lan_peers: Option<String>,
    /// Whether they are looked for.
    pub lan_discover: Option<String>,
    /// How many days are kept.
    pub keep_days: Option<String>,
}

impl Overrides {
    /// Only what was said: an empty variable of the environment says nothing.
    pub fn said(self) -> Self {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let Self { listen, server, server_tcp, printer, printer_profile, lan_listen, lan_peers, lan_discover, keep_days } = self;
        Self {
            listen: said(listen),
            server: said(server),
            server_tcp: said(server_tcp),
            printer: said(printer),
            printer_profile: said(printer_profile),
            lan_listen: said(lan_listen),
            lan_peers: said(lan_peers),
            lan_discover: said(lan_discover),
            keep_days: said(keep_days),
        }
    }
}

/// Why a configuration is refused. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be taken.
    #[error(transparent)]
    File(#[from] operations::config::ConfigError),
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
    server_tcp: Option<String>,
    printer: Option<FilePrinter>,
    keep_days: Option<u64>,
    #[serde(default)]
    lan: FileLan,
    #[serde(default)]
    log: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLan {
    listen: Option<String>,
    peers: Option<String>,
    discover: Option<String>,
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
        let base = match Self::path(data, file) {
            Some(path) => File::read(&path)?.parse(&KEYS)?,
            None => FileConfig::default(),
        };
        Self::of(base, over)
    }

    /// The file that is read: the one that was asked for, or `node.toml` in the data folder if it is there.
    pub fn path(data: &Path, file: Option<&Path>) -> Option<PathBuf> {
        let beside_data = data.join("node.toml");
        file.map(Path::to_owned).or_else(|| beside_data.exists().then_some(beside_data))
    }

    fn of(base: FileConfig, over: Overrides) -> Result<Self, ConfigError> {
        let listen = over.listen.or(base.listen).unwrap_or_else(|| LISTEN_DEFAULT.to_owned());
        let listen = SocketAddr::from_str(&listen)
            .ok()
            .filter(|a| a.ip().is_loopback())
            .ok_or_else(|| wrong("listen", &listen, "a loopback address and port such as 127.0.0.1:8421"))?;
        let (server, server_tcp) = (over.server.or(base.server), over.server_tcp.or(base.server_tcp));
        for (key, said) in [("server", &server), ("server_tcp", &server_tcp)] {
            if let Some(said) = said.as_ref().filter(|said| !is_host_and_port(said)) {
                return Err(wrong(key, said, "a host and port such as sync.example.com:4433"));
            }
        }
        let (address, profile) = match base.printer {
            Some(printer) => (Some(printer.address), printer.profile),
            None => (None, None),
        };
        let profile = over.printer_profile.or(profile);
        let printer = over.printer.or(address).map(|address| Printer::of(&address, profile.as_deref())).transpose()?;
        let lan = Lan::of(
            over.lan_listen.or(base.lan.listen),
            over.lan_peers.or(base.lan.peers),
            over.lan_discover.or(base.lan.discover).as_deref(),
        )?;
        let keep_days = keep_days(over.keep_days.or(base.keep_days.map(|days| days.to_string())))?;
        Ok(Self { listen, server, server_tcp, printer, lan, keep_days, log: base.log })
    }
}

impl Lan {
    fn of(listen: Option<String>, peers: Option<String>, discover: Option<&str>) -> Result<Self, ConfigError> {
        let listen = listen.unwrap_or_else(|| LAN_LISTEN_DEFAULT.to_owned());
        let listen = SocketAddr::from_str(&listen)
            .map_err(|_| wrong("lan.listen", &listen, "an IP address and port such as 0.0.0.0:8422"))?;
        let peers = peers.unwrap_or_default();
        let peers: BTreeSet<String> =
            peers.split(',').map(str::trim).filter(|peer| !peer.is_empty()).map(str::to_owned).collect();
        if let Some(peer) = peers.iter().find(|peer| !is_host_and_port(peer)) {
            return Err(wrong("lan.peers", peer, "hosts and ports such as 192.168.1.21:8422, till2:8422"));
        }
        let discover = match discover.unwrap_or("on") {
            "on" => true,
            "off" => false,
            other => return Err(wrong("lan.discover", other, "on or off")),
        };
        Ok(Self { listen, peers, discover })
    }
}

impl Printer {
    fn of(address: &str, profile: Option<&str>) -> Result<Self, ConfigError> {
        let host = address.strip_prefix("tcp://").filter(|host| is_host_and_port(host));
        let host = host.ok_or_else(|| wrong("printer", address, "an address such as tcp://192.168.1.50:9100"))?;
        let profile = profile.unwrap_or(PROFILE_DEFAULT);
        let known = || hardware::profile::all().iter().map(|p| p.id).collect::<Vec<_>>().join(", ");
        let profile =
            hardware::profile::find(profile).ok_or_else(|| wrong("printer profile", profile, &format!("one of {}", known())))?;
        Ok(Self { address: host.to_owned(), profile })
    }
}

fn keep_days(said: Option<String>) -> Result<Option<u64>, ConfigError> {
    let Some(said) = said else { return Ok(Some(KEEP_DAYS_DEFAULT)) };
    match said.trim().parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(days @ KEEP_DAYS_MIN..=KEEP_DAYS_MAX) => Ok(Some(days)),
        _ => Err(wrong("keep_days", &said, &format!("{KEEP_DAYS_MIN} days or more, or 0 to keep everything"))),
    }
}

fn wrong(key: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError::Value { key, value: value.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use operations::config::{not_shown, uncommented};

    use super::*;

    fn of(toml: &str) -> Result<Config, String> {
        let data = tempfile::tempdir().expect("a folder");
        std::fs::write(data.path().join("node.toml"), toml).expect("written");
        let loaded = Config::load(data.path(), None, Overrides::default());
        loaded.map_err(|e| e.to_string().replace(data.path().to_str().expect("text"), "DIR"))
    }

    #[test]
    fn nothing_said_is_a_till_without_a_printer() {
        let config = of("").expect("a configuration");
        assert_eq!((config.listen.to_string().as_str(), config.server, config.printer), (LISTEN_DEFAULT, None, None));
        assert_eq!((config.lan.listen.to_string().as_str(), config.lan.discover), (LAN_LISTEN_DEFAULT, true));
        assert_eq!(config.keep_days, Some(KEEP_DAYS_DEFAULT));
    }

    #[test]
    fn nothing_goes_where_everything_is_to_be_kept() {
        assert_eq!(of("keep_days = 0").expect("a configuration").keep_days, None);
        assert_eq!(of("keep_days = 7").expect("a configuration").keep_days, Some(7));
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

    /// What any file may get wrong is told apart in `operations::config`.
    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        let wrong = "the configuration file DIR/node.toml is wrong:\n  ";
        let host = "should be a host and port in quotes, such as \"sync.example.com:4433\"";
        let listen = "should be an IP address and port in quotes, such as \"127.0.0.1:8421\"";
        for (toml, expected) in [
            (
                "listen = '0.0.0.0:80'",
                "listen is \"0.0.0.0:80\", but should be a loopback address and port such as 127.0.0.1:8421".into(),
            ),
            ("listen = '127.0.0.1:65536'", format!("{wrong}line 1: `listen` is \"127.0.0.1:65536\", but {listen}")),
            ("listen = 8421", format!("{wrong}line 1: `listen` is a number, but {listen}")),
            ("lisen = '127.0.0.1:1'", format!("{wrong}line 1: there is no key `lisen`: did you mean `listen`?")),
            ("server = 'two words:1'", format!("{wrong}line 1: `server` is \"two words:1\", but {host}")),
            ("server = 'host:0'", format!("{wrong}line 1: `server` is \"host:0\", but {host}")),
            ("server = 'host'", format!("{wrong}line 1: `server` is \"host\", but {host}")),
            (
                "[printer]\naddress = 'usb:1'",
                "printer is \"usb:1\", but should be an address such as tcp://192.168.1.50:9100".into(),
            ),
            (
                "[lan]\npeers = 'till2:8422, till3'",
                "lan.peers is \"till3\", but should be hosts and ports such as 192.168.1.21:8422, till2:8422".into(),
            ),
            ("keep_days = 6", "keep_days is \"6\", but should be 7 days or more, or 0 to keep everything".into()),
            ("[printer]\nprofile = 'epson-80'", format!("{wrong}line 1: missing field `address`")),
            (
                "[printer]\nadress = 'tcp://a:1'",
                format!("{wrong}line 2: there is no key `printer.adress`: did you mean `printer.address`?"),
            ),
        ] {
            assert_eq!(of(toml).expect_err(toml), expected);
        }
        let profile = of("[printer]\naddress = 'tcp://a:9100'\nprofile = 'lp'").expect_err("no such profile");
        assert!(profile.starts_with("printer profile is \"lp\", but should be one of epson-80"), "{profile}");
    }

    const EXAMPLE: &str = include_str!("../../deploy/node.toml");

    #[test]
    fn the_example_parses_and_shows_every_key() {
        let nothing = of(EXAMPLE).expect("the example as it is");
        assert_eq!(nothing.printer, None);
        assert_eq!(not_shown(EXAMPLE, &KEYS), [""; 0]);
        let config = of(&uncommented(EXAMPLE)).expect("the example with every key");
        assert_eq!(config.listen.to_string(), LISTEN_DEFAULT);
        assert_eq!(config.log.level.as_deref(), Some(operations::logging::LEVEL_DEFAULT));
    }

    #[test]
    fn the_keys_are_the_ones_that_exist_and_the_documentation_lists_them() {
        let docs = include_str!("../../docs/till-node.md");
        for Key { name, .. } in KEYS {
            assert!(docs.contains(&format!("`{name}`")), "docs/till-node.md does not list {name}");
        }
        // serde names the fields that it knows, and complains about the one that it does not.
        for section in ["", "printer", "lan", "log"] {
            let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let complaint = toml::from_str::<FileConfig>(&format!("{head}zzz = 1")).expect_err("unknown").message().to_owned();
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
