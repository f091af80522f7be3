//! Child processes that cannot outlive their parent.
//!
//! Every child has a process group of its own, so that Ctrl-C in a terminal reaches the parent alone, which then stops its
//! children in order. A child gets SIGKILL from the kernel when its parent dies, however it dies. What a child prints goes
//! to a log file; the end of that file is part of every error about the child.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::central::CENTRAL_URL_VARIABLE;
use super::interrupt;

/// How long a child may take to end after SIGTERM before it gets SIGKILL.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// How long a program that ends by itself may take.
const RUN_MAX: Duration = Duration::from_secs(300);
/// How often a wait looks at its child and at Ctrl-C.
const LOOK: Duration = Duration::from_millis(20);
/// How much of a log an error shows.
const TAIL_LINES: usize = 30;
const TAIL_BYTES: u64 = 16 * 1024;

/// A running child. Dropping it stops it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    lines: Option<Receiver<String>>,
}

impl Process {
    /// Starts a program in the background; what it prints is appended to the log.
    pub fn start(name: &str, program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let mut log_file = open_log(log)?;
        let mut command = guarded(program, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file.try_clone()?);
        let mut child = spawn(command).with_context(|| format!("could not start {name} ({})", program.display()))?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A full disk must not stop the child: it writes into a pipe that has to be read.
                let _ = writeln!(log_file, "{line}");
                let _ = sender.send(line);
            }
        });
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), lines: Some(lines) })
    }

    /// Waits until the child prints a line that begins so, and gives the rest of that line.
    pub fn wait_for_line(&mut self, beginning: &str, at_most: Duration) -> Result<String> {
        let deadline = Instant::now() + at_most;
        loop {
            interrupt::check()?;
            let lines = self.lines.as_ref().context("the child's lines are no longer kept")?;
            match lines.recv_timeout(LOOK) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say \"{beginning}\" within {} s\n{}", self.name, at_most.as_secs(), self.tail());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("{} ended ({status}) before it said \"{beginning}\"\n{}", self.name, self.tail());
                }
            }
        }
    }

    /// Stops keeping printed lines for [`Process::wait_for_line`]; they still reach the log.
    pub fn forget_lines(&mut self) {
        self.lines = None;
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and does not wait.
    pub fn ask_to_end(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self, at_most: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + at_most;
        loop {
            interrupt::check()?;
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {} s\n{}", self.name, at_most.as_secs(), self.tail());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks it to end, and makes it end when it does not. Returns whether it ended by itself.
    pub fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_WAIT;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                self.kill();
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// The end of its log, for a message.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }

    fn signal(&mut self, signal: Signal) {
        // A child that was waited for has given its id back: it may be another's by now.
        if self.ended().is_none() {
            let _ = kill_process_group(group(&self.child), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        self.stop();
    }
}

/// Runs a program to its end and gives what it printed. `input` is what it reads, line by line.
pub fn run(name: &str, program: &Path, arguments: &[String], input: Option<&str>, log: &Path) -> Result<String> {
    let log_file = open_log(log)?;
    let mut command = guarded(program, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file);
    let mut child = spawn(command).with_context(|| format!("could not start {name} ({})", program.display()))?;
    let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe");
    if let Some(input) = input {
        // A child that ends without reading says why by itself.
        let _ = writeln!(stdin, "{input}");
    }
    drop(stdin);
    let mut stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let reader = std::thread::spawn(move || {
        let mut printed = String::new();
        stdout.read_to_string(&mut printed).map(|_| printed)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > RUN_MAX {
            let _ = kill_process_group(group(&child), Signal::KILL);
            let _ = child.wait();
            bail!("{name} did not end in {} s{}", RUN_MAX.as_secs(), tail(log));
        }
        if let Err(interrupted) = interrupt::check() {
            let _ = kill_process_group(group(&child), Signal::KILL);
            let _ = child.wait();
            return Err(interrupted);
        }
        std::thread::sleep(LOOK);
    };
    let printed = reader.join().expect("the reader does not panic").with_context(|| format!("{name} printed no UTF-8"))?;
    if !status.success() {
        bail!("{name} failed ({status})\n{printed}{}", tail(log));
    }
    Ok(printed)
}

/// A command in a process group of its own that dies with this process.
fn guarded(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments).process_group(0);
    // It would go before the configuration that the stack writes, which names a database of the stack's own.
    command.env_remove(CENTRAL_URL_VARIABLE);
    // Logs are files.
    command.env("NO_COLOR", "1");
    command
}

/// Spawns from a thread that lives as long as the process: the kernel's "parent died" means the thread that forked.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a process that may start children may start a thread");
        orders
    });
    let (answer, child) = channel();
    spawner.send((command, answer)).expect("the spawner never ends");
    child.recv().expect("the spawner answers every order")
}

fn group(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    // A till prints the token that lets people in.
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("could not open {}", path.display()))
}

/// The last lines of a log under a heading, for a message.
pub fn tail(log: &Path) -> String {
    let text = read_end(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    if last.is_empty() {
        return format!("(its log {} is empty)", log.display());
    }
    format!("--- the end of {}\n{}\n---", log.display(), last.join("\n"))
}

fn read_end(log: &Path) -> std::io::Result<String> {
    use std::io::Seek;
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(std::io::SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let process =
            Process::start("a shell", Path::new("sh"), &["-c".into(), script.into()], &folder.path().join("log")).unwrap();
        (folder, process)
    }

    #[test]
    fn a_line_is_awaited_and_logged() {
        let (folder, mut process) = shell("echo hello; echo ready at here; exec sleep 600");
        assert_eq!(process.wait_for_line("ready at ", Duration::from_secs(20)).unwrap(), "here");
        assert!(process.stop());
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "hello\nready at here\n");
    }

    #[test]
    fn an_early_end_shows_the_log() {
        let (_folder, mut process) = shell("echo out of paper >&2; exit 3");
        let error = process.wait_for_line("ready", Duration::from_secs(20)).unwrap_err().to_string();
        assert!(error.contains("out of paper") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_whole_group_is_stopped() {
        let (_folder, mut process) = shell("sleep 600 & echo child $!; wait");
        let grandchild: i32 = process.wait_for_line("child ", Duration::from_secs(20)).unwrap().parse().unwrap();
        process.stop();
        let pid = Pid::from_raw(grandchild).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_running(pid) {
            assert!(Instant::now() < deadline, "the grandchild lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let (_folder, mut process) =
            std::thread::spawn(|| shell("read -r line < /dev/null; echo up; exec sleep 600")).join().unwrap();
        process.wait_for_line("up", Duration::from_secs(20)).unwrap();
        assert!(process.ended().is_none());
    }

    #[test]
    fn run_gives_the_output_and_passes_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let cat = run("cat", Path::new("cat"), &[], Some("1234"), &log).unwrap();
        assert_eq!(cat, "1234\n");
        let error = run("sh", Path::new("sh"), &["-c".into(), "echo why >&2; exit 1".into()], None, &log).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }

    /// Whether a process is there and not only waiting to be reaped by whoever adopted it.
    fn is_running(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    }
}
