//! One till.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::client::TillClient;
use super::link::UdpLink;
use super::process::{Process, run};

const READY: Duration = Duration::from_secs(60);

/// A till with its data folder.
pub struct Till {
    /// What people call it.
    pub name: String,
    /// Its cable to the server, when the stack was built with cables that can be cut.
    pub link: Option<UdpLink>,
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    listen: SocketAddr,
    server: SocketAddr,
    printer: Option<String>,
    lan: SocketAddr,
    neighbours: Vec<SocketAddr>,
    running: Option<(Process, TillClient)>,
}

impl Till {
    /// A till that listens and connects so once it is started.
    pub fn prepare(name: &str, program: &Path, data: &Path, log: &Path, listen: SocketAddr, server: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            link: None,
            program: program.to_owned(),
            data: data.to_owned(),
            log: log.to_owned(),
            listen,
            server,
            printer: None,
            lan: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            neighbours: Vec::new(),
            running: None,
        }
    }

    /// From its next start on it prints there; `tcp://HOST:PORT`.
    pub fn set_printer(&mut self, address: &str) {
        self.printer = Some(address.to_owned());
    }

    /// From its next start on it listens there for the others of `all`, and connects to them.
    pub fn set_neighbours(&mut self, listen: SocketAddr, all: &[SocketAddr]) {
        self.lan = listen;
        self.neighbours = all.iter().copied().filter(|other| *other != listen).collect();
    }

    /// From its next start on it connects to another server; what is cut then is the cable to that one.
    pub fn set_server(&mut self, server: SocketAddr) {
        self.server = server;
        if let Some(link) = &self.link {
            link.set_target(server);
        }
    }

    /// Puts a cable between it and the server that can be cut. It counts from the till's next start on.
    pub fn put_link(&mut self) -> Result<()> {
        self.link = Some(UdpLink::to(self.server).context("could not lay a cable")?);
        Ok(())
    }

    /// Makes it one of the region's devices.
    pub fn enrol(&self, link: &str) -> Result<()> {
        self.command(&["enrol", link]).map(drop)
    }

    /// Runs a command that works on its data folder while it is stopped, such as `rebuild`, and gives what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut all = self.arguments();
        all.extend(arguments.iter().map(ToString::to_string));
        let name = format!("evertill-node {} for {}", arguments.first().unwrap_or(&""), self.name);
        run(&name, &self.program, &all, None, &self.log)
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        let server = self.link.as_ref().map_or(self.server, UdpLink::address);
        let mut arguments = self.arguments();
        arguments.extend(["run", "--listen", &self.listen.to_string(), "--server", &server.to_string()].map(str::to_owned));
        // Stacks that run beside one another do not find each other's tills.
        let peers: Vec<String> = self.neighbours.iter().map(ToString::to_string).collect();
        arguments.extend(["--lan-listen", &self.lan.to_string(), "--lan-discover", "off"].map(str::to_owned));
        arguments.extend(["--lan-peers".to_owned(), peers.join(",")]);
        if let Some(printer) = &self.printer {
            arguments.extend(["--printer".to_owned(), printer.clone()]);
        }
        let mut process = Process::start(&self.name, &self.program, &arguments, &self.log)?;
        let page = process.wait_for_line("till ready at ", READY)?;
        process.forget_lines();
        let client = TillClient::of_page(&page)?;
        self.running = Some((process, client));
        Ok(())
    }

    /// Ends it as a person would.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some((mut process, _)) = self.running.take() {
            process.kill();
        }
    }

    /// Takes its network away. Panics without a cable that can be cut.
    pub fn cut(&self) {
        self.link.as_ref().expect("the stack was built with cables").cut();
    }

    /// Gives it its network back. Panics without a cable that can be cut.
    pub fn heal(&self) {
        self.link.as_ref().expect("the stack was built with cables").restore();
    }

    /// Its API. Panics while it is stopped.
    pub fn client(&self) -> &TillClient {
        &self.running.as_ref().expect("the till runs").1
    }

    /// The page to open in a browser, with the token that lets in. Panics while it is stopped.
    pub fn page(&self) -> String {
        self.client().page()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.running.as_mut().map(|(process, _)| process)
    }

    fn arguments(&self) -> Vec<String> {
        vec!["--data".to_owned(), self.data.display().to_string()]
    }
}
