//! What can be said on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use node::config::Overrides;

/// A till of Evertill in a window: it sells, prints and replicates, and needs no network for the first two.
///
/// The first time it asks for the enrolment link that a manager makes under Devices on the manager page.
#[derive(Debug, Clone, Parser)]
#[command(name = "evertill", version)]
pub struct Arguments {
    /// The folder that holds this device: its identity, its keys and its files [default: evertill in the user's data folder].
    #[arg(long, env = "EVERTILL_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Fill the whole screen, without a title bar.
    #[arg(long, env = "EVERTILL_KIOSK")]
    pub kiosk: bool,
    /// A configuration file; `node.toml` in the data folder when absent.
    #[arg(long, env = "EVERTILL_NODE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The receipt printer.
    #[arg(long, env = "EVERTILL_NODE_PRINTER", value_name = "tcp://HOST:PORT")]
    pub printer: Option<String>,
    /// What kind of printer it is, such as epson-80 or generic-58.
    #[arg(long, env = "EVERTILL_NODE_PRINTER_PROFILE", value_name = "PROFILE")]
    pub printer_profile: Option<String>,
    /// Another address of the sync server than the one in the enrolment link.
    #[arg(long, env = "EVERTILL_NODE_SERVER", value_name = "HOST:PORT")]
    pub server: Option<String>,
}

/// Why the program ends before there is a window.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgumentsError {
    /// Nobody said where the data is, and the user has no home.
    #[error("where should the till keep its data? This user has no home folder: say --data DIR")]
    NoDataFolder,
    /// There is no screen to show a window on.
    #[error(
        "there is no screen to show the window on (neither WAYLAND_DISPLAY nor DISPLAY is set); evertill-node is a till without a window"
    )]
    NoDisplay,
}

impl Arguments {
    /// The data folder.
    ///
    /// # Errors
    /// When nobody said where it is and the user has no home.
    pub fn data_folder(&self) -> Result<PathBuf, ArgumentsError> {
        data_folder(self.data.clone(), std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME"))
    }

    /// What goes before the configuration file. The window has no face, so it listens nowhere.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            server: self.server.clone(),
            printer: self.printer.clone(),
            printer_profile: self.printer_profile.clone(),
            ..Overrides::default()
        }
        .said()
    }
}

fn data_folder(said: Option<PathBuf>, xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, ArgumentsError> {
    let absolute = |folder: Option<OsString>| folder.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let of_user = || Some(absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".local/share")))?.join("evertill"));
    said.or_else(of_user).ok_or(ArgumentsError::NoDataFolder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_data_folder_is_the_one_that_was_said_or_the_users() {
        let of = |said: Option<&str>, xdg: Option<&str>, home: Option<&str>| {
            data_folder(said.map(PathBuf::from), xdg.map(OsString::from), home.map(OsString::from))
        };
        assert_eq!(of(Some("here"), Some("/x"), Some("/h")), Ok("here".into()));
        assert_eq!(of(None, Some("/x"), Some("/h")), Ok("/x/evertill".into()));
        assert_eq!(of(None, Some("relative"), Some("/h")), Ok("/h/.local/share/evertill".into()));
        assert_eq!(of(None, None, Some("/h")), Ok("/h/.local/share/evertill".into()));
        assert_eq!(of(None, None, None), Err(ArgumentsError::NoDataFolder));
    }
}
