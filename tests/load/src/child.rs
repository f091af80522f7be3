//! What this program does when it starts itself: a process that has done nothing else, whose start and memory can be measured.
//!
//! A child says on its standard output, one JSON object a line, what its parent waits for.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use node::api::Query;
use node::env::SystemEnv;
use node::face::Face;
use node::handle::Node;
use node::identity::Identity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sync_server::daemon;
use sync_server::env::Machine;

use crate::central::Daemon;
use crate::figures::micros;
use crate::shop::{Server, open_till, refused, runtime};

/// What a till says when its screen could be drawn.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TillReady {
    /// From the key in hand to the answer to the first query, in microseconds.
    pub unlocked_us: f64,
    /// Resident memory in bytes.
    pub resident_bytes: f64,
}

/// Opens the till of a folder as `evertill-node run` does, screen included, says so, and looks through what a cashier looks through;
/// then says what memory that left. Ends with its standard input.
///
/// # Errors
/// A till that does not open.
pub fn open_a_till(folder: &Path) -> Result<()> {
    let runtime = runtime()?;
    let identity = Identity::load(folder)?;
    let face = runtime.block_on(Face::open((std::net::Ipv4Addr::LOCALHOST, 0).into(), folder, &SystemEnv))?;
    drop(identity);
    let begun = Instant::now();
    let till = open_till(folder, false)?;
    let (node, thread) = Node::start(till)?;
    runtime.block_on(node.query(Query::Till {})).map_err(refused)?;
    let unlocked_us = micros(begun.elapsed());
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let serving = runtime.spawn(face.serve(node.clone(), stopping));
    say(&TillReady { unlocked_us, resident_bytes: resident_bytes()? })?;
    for query in
        [Query::Orders { text: String::new(), limit: 200 }, Query::Ledger {}, Query::Search { text: "a".to_owned(), limit: 20 }]
    {
        runtime.block_on(node.query(query)).map_err(refused)?;
    }
    say(&TillReady { unlocked_us, resident_bytes: resident_bytes()? })?;
    until_input_ends()?;
    stop.send_replace(true);
    runtime.block_on(serving)??;
    drop(node);
    let _ = thread.join();
    Ok(())
}

/// What a server says when it listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerReady {
    /// Where.
    pub address: std::net::SocketAddr,
    /// The last place of its log.
    pub last_seq: u64,
}

/// Runs the server of a data folder, without a central database. Answers every line of its input with its resident memory in bytes.
///
/// # Errors
/// A server that does not start.
pub fn serve_a_region(folder: &Path) -> Result<()> {
    let opened = daemon::open(folder, &Machine, false)?;
    let last_seq = opened.region.last_seq();
    let server = Server::start(opened)?;
    say(&ServerReady { address: server.address, last_seq })?;
    for line in std::io::stdin().lines() {
        line?;
        say(&resident_bytes()?)?;
    }
    Ok(())
}

/// Runs the server of a data folder beside a central database, as its program does. Answers every line of its input with its resident memory in bytes.
///
/// # Errors
/// A server that does not start.
pub fn serve_whole(folder: &Path, central: &str) -> Result<()> {
    let server = Daemon::start(folder, central)?;
    say(&ServerReady { address: server.listening.sync, last_seq: 0 })?;
    for line in std::io::stdin().lines() {
        line?;
        say(&resident_bytes()?)?;
    }
    Ok(())
}

fn say(what: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn until_input_ends() -> Result<()> {
    for line in std::io::stdin().lines() {
        line?;
    }
    Ok(())
}

/// What of this process is in memory.
fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("this system does not say how large a process is")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
    Ok(kib * 1024.0)
}

/// This program, started again. It ends with its owner.
#[derive(Debug)]
pub struct Started {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Started {
    /// Starts it as one of those above: `till`, or `region` with or without the URL of a central database.
    ///
    /// # Errors
    /// A system that does not start it.
    pub fn new(role: &str, folder: &Path, central: Option<&str>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child").arg(role).arg(folder).args(central).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("this program does not start again")?;
        let ask = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, ask, answers })
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The next thing it says.
    ///
    /// # Errors
    /// When it ended instead.
    pub fn said<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the process that was started ended early");
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Asks for its memory.
    ///
    /// # Errors
    /// When it ended instead.
    pub fn resident_bytes(&mut self) -> Result<f64> {
        self.ask.as_mut().context("it was told to end")?.write_all(b"\n")?;
        self.said()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.ask.take());
        let _ = self.child.wait();
    }
}
