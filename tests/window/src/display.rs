//! A screen of its own, which nobody sees.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use journeys::stack::process::Process;

const READY: Duration = Duration::from_secs(30);

/// A running Xvfb. Dropping it takes the screen away.
pub struct Display {
    name: String,
    _process: Process,
}

impl Display {
    /// Starts one with a free number; what it says goes into a log in the folder.
    ///
    /// # Errors
    /// When Xvfb is missing or does not start.
    pub fn start(folder: &Path) -> Result<Self> {
        let arguments = "-displayfd 1 -screen 0 1280x900x24 -nolisten tcp -noreset";
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let mut process = Process::start("Xvfb", Path::new("Xvfb"), &arguments, &folder.join("xvfb.log"))?;
        // It says the number of its screen once it is there.
        let number = process.wait_for_line("", READY)?;
        process.forget_lines();
        Ok(Self { name: format!(":{number}"), _process: process })
    }

    /// What a program on this screen finds in its environment, as `NAME=VALUE`: the screen, and a home folder of its own.
    pub fn environment(&self, home: &Path) -> Vec<String> {
        let home = home.display();
        vec![
            format!("DISPLAY={}", self.name),
            format!("HOME={home}"),
            format!("XDG_DATA_HOME={home}/data"),
            format!("XDG_CACHE_HOME={home}/cache"),
            format!("XDG_CONFIG_HOME={home}/config"),
            format!("XDG_RUNTIME_DIR={home}"),
            // There is no desktop to talk to.
            "NO_AT_BRIDGE=1".to_owned(),
            "GDK_BACKEND=x11".to_owned(),
        ]
    }
}
