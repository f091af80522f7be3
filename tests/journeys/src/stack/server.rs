//! The regional sync server.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{Process, run};

const READY: Duration = Duration::from_secs(60);
const NAME: &str = "the sync server";

/// One regional server with its data folder.
pub struct Server {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    sync: SocketAddr,
    web: SocketAddr,
    metrics: String,
    process: Option<Process>,
}

impl Server {
    /// Writes the configuration of a server into a folder. Nothing runs yet.
    pub fn prepare(
        program: &Path,
        folder: &Path,
        log: &Path,
        sync: SocketAddr,
        web: SocketAddr,
        central_url: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        let config = folder.join("server.toml");
        // A JSON string without control characters is a TOML string too.
        let quoted = |text: &str| serde_json::to_string(text).context("a path that is no text");
        let text = format!(
            "data = {}\n\n[sync]\nlisten = \"{sync}\"\npublic = \"{sync}\"\n\n[web]\nlisten = \"{web}\"\n\n[central]\nurl = {}\n\n[metrics]\nlisten = \"127.0.0.1:0\"\n",
            quoted(&folder.join("data").to_string_lossy())?,
            quoted(central_url)?,
        );
        // The address may hold a password.
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&config)
            .with_context(|| format!("could not write {}", config.display()))?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        Ok(Self { program: program.to_owned(), config, log: log.to_owned(), sync, web, metrics: String::new(), process: None })
    }

    /// Runs one of the commands that work on the data folder, and gives what it printed. `input` is a PIN or password.
    pub fn command(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut all = self.arguments();
        all.extend(arguments.iter().map(ToString::to_string));
        let name = format!("evertill-sync-server {}", arguments.join(" "));
        run(&name, &self.program, &all, input, &self.log)
    }

    /// Starts the daemon and waits until it listens.
    pub fn start(&mut self) -> Result<()> {
        let mut arguments = self.arguments();
        arguments.push("run".to_owned());
        let mut process = Process::start(NAME, &self.program, &arguments, &self.log)?;
        process.wait_for_line("sync ready at ", READY)?;
        self.metrics = process.wait_for_line("metrics at ", READY)?;
        process.wait_for_line("manager page at ", READY)?;
        process.forget_lines();
        self.process = Some(process);
        Ok(())
    }

    /// Ends the daemon as an operator would.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Ends the daemon as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Whether it was started and neither stopped nor killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Where tills connect.
    pub fn sync_address(&self) -> SocketAddr {
        self.sync
    }

    /// Where the manager page is, without a slash at the end.
    pub fn web_url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// Where Prometheus would look, once it runs.
    pub fn metrics_url(&self) -> &str {
        &self.metrics
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The daemon while it runs, to send it signals.
    pub fn running(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    fn arguments(&self) -> Vec<String> {
        vec!["--config".to_owned(), self.config.display().to_string()]
    }
}
