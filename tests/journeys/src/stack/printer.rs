//! A virtual receipt printer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::Process;

const READY: Duration = Duration::from_secs(20);

/// A receipt printer whose paper is files.
pub struct Printer {
    /// What people call it.
    pub name: String,
    program: PathBuf,
    log: PathBuf,
    paper: PathBuf,
    tcp: SocketAddr,
    http: SocketAddr,
    process: Option<Process>,
}

impl Printer {
    /// Starts a printer that keeps its paper in a folder.
    pub fn start(name: &str, program: &Path, paper: &Path, log: &Path, tcp: SocketAddr, http: SocketAddr) -> Result<Self> {
        let mut printer = Self {
            name: name.to_owned(),
            program: program.to_owned(),
            log: log.to_owned(),
            paper: paper.to_owned(),
            tcp,
            http,
            process: None,
        };
        printer.switch_on()?;
        Ok(printer)
    }

    /// Starts it again, at the same address.
    pub fn switch_on(&mut self) -> Result<()> {
        let arguments = [
            "listen".to_owned(),
            "--tcp".to_owned(),
            self.tcp.to_string(),
            "--http".to_owned(),
            self.http.to_string(),
            "--out".to_owned(),
            self.paper.display().to_string(),
        ];
        let mut process = Process::start(&self.name, &self.program, &arguments, &self.log)?;
        self.tcp = process.wait_for_line("printer ", READY)?.parse().context("the printer told no address")?;
        process.wait_for_line("paper ", READY)?;
        process.forget_lines();
        self.process = Some(process);
        Ok(())
    }

    /// Takes its power away.
    pub fn switch_off(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// What `evertill-node run --printer` takes.
    pub fn address(&self) -> String {
        format!("tcp://{}", self.tcp)
    }

    /// The page that shows the paper.
    pub fn page(&self) -> String {
        format!("http://{}/", self.http)
    }

    /// The pictures of the receipts, oldest first.
    pub fn receipts(&self) -> Result<Vec<PathBuf>> {
        let mut numbered = Vec::new();
        for file in std::fs::read_dir(&self.paper).with_context(|| format!("could not read {}", self.paper.display()))? {
            let path = file?.path();
            let number = path.file_name().and_then(|name| name.to_str()).and_then(receipt_number);
            numbered.extend(number.map(|number| (number, path)));
        }
        numbered.sort();
        Ok(numbered.into_iter().map(|(_, path)| path).collect())
    }

    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }
}

fn receipt_number(name: &str) -> Option<u64> {
    name.strip_prefix("receipt-")?.strip_suffix(".png")?.parse().ok()
}
