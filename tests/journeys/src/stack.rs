//! A whole Evertill of real programs on one machine: Postgres, a sync server, tills, printers.
//!
//! [`Plan`] says what it is made of, [`Plan::start`] makes and starts it, and dropping the [`Stack`] stops everything that was
//! started and nothing else: each program is stopped in its order, and the kernel ends whatever is left should this process be
//! killed. A kept folder is started again from what it holds.
//!
//! | module | holds |
//! |---|---|
//! | [`process`] | a child that cannot outlive its parent, and its log |
//! | [`central`] | a private cluster, or a database of its own on a given server |
//! | [`server`], [`till`], [`printer`] | one program each, with what can happen to it |
//! | [`client`], [`manager`] | someone at a till, and someone at the manager's page |
//! | [`link`] | a cable that can be cut, and a network without UDP |
//! | [`interrupt`] | Ctrl-C |

pub mod binaries;
pub mod central;
pub mod client;
pub mod interrupt;
pub mod link;
pub mod manager;
pub mod ports;
pub mod printer;
pub mod process;
pub mod server;
pub mod till;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use binaries::Binaries;
use central::{Central, CentralChoice};
use manager::ManagerClient;
use ports::{Ports, Protocol};
use printer::Printer;
use process::Process;
use server::Server;
use till::Till;

/// The store that every stack has.
pub const STORE: &str = "S01";
const STORE_FACTS: [(&str, &str); 7] = [
    ("--code", STORE),
    ("--name", "Evertill Gifts"),
    ("--address", "12 High Street"),
    ("--address", "London"),
    ("--currency", "GBP"),
    ("--tax", "inclusive"),
    ("--footer", "Thank you for your visit"),
];
/// The manager of the page and the password, of stacks that hold nothing worth protecting.
pub const MANAGER: (&str, &str) = ("chris", "shopkeeper-demo");
/// Who may sign in at the tills: name, role, PIN.
pub const STAFF: [(&str, &str, &str); 3] =
    [("Ana", "cashier", "1234"), ("Ben", "shift_lead", "2345"), ("Chris", "manager", "3456")];

const SYNC_PORT: u16 = 4710;
const WEB_PORT: u16 = 4711;
const TILL_PORT: u16 = 7001;
const PRINTER_PORT: u16 = 9101;
const PAPER_PORT: u16 = 9181;
const LAN_PORT: u16 = 8431;

/// The folder in a stack's folder that belongs to [`central`].
const CENTRAL_FOLDER: &str = "central";
/// The file that is there from the first moment of a folder on.
const BEGUN_FILE: &str = "evertill-stack";
/// The file that is there once everything is set up.
const READY_FILE: &str = "set-up";

/// What a stack is made of.
pub struct Plan {
    /// Where everything lives; a temporary folder that is removed at the end when absent.
    pub folder: Option<PathBuf>,
    /// Which Postgres.
    pub central: CentralChoice,
    /// Which ports.
    pub ports: Ports,
    /// How many tills.
    pub tills: usize,
    /// Whether each till has a virtual printer.
    pub printers: bool,
    /// Whether each till's cable to the server can be cut.
    pub links: bool,
    /// Whether the tills reach one another without the server.
    pub neighbours: bool,
    /// The products to load: `code,name,price,tax_rate_bp`.
    pub catalogue: Option<PathBuf>,
    /// Where the built programs are.
    pub binaries: Binaries,
}

/// A running stack. The fields are dropped in this order.
pub struct Stack {
    /// The tills: the first is `tills[0]`, called "Till 1".
    pub tills: Vec<Till>,
    /// The sync server.
    pub server: Server,
    /// One printer a till, or none.
    pub printers: Vec<Printer>,
    /// Postgres.
    pub central: Central,
    folder: Folder,
}

/// One program of a stack; tills and printers by their place, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The sync server.
    Server,
    /// A till.
    Till(usize),
    /// A printer.
    Printer(usize),
}

enum Folder {
    Kept { path: PathBuf, _lock: std::fs::File },
    Temporary(tempfile::TempDir),
}

impl Plan {
    /// What most tests want: two tills with printers and cables, the sample catalogue, a temporary folder.
    pub fn for_test() -> Result<Self> {
        Ok(Self {
            folder: None,
            central: CentralChoice::Environment,
            ports: Ports::Free,
            tills: 2,
            printers: true,
            links: true,
            neighbours: false,
            catalogue: Some(sample_catalogue()),
            binaries: Binaries::find()?,
        })
    }

    /// Sets up what is not set up yet and starts everything. `tell` gets a sentence before each step that takes a while.
    pub fn start(self, tell: &mut dyn FnMut(&str)) -> Result<Stack> {
        let folder = Folder::open(self.folder.as_deref())?;
        let is_new = folder.begin()?;
        let logs = folder.path().join("logs");

        tell(if is_new { "Setting up PostgreSQL" } else { "Starting PostgreSQL" });
        let is_kept = matches!(folder, Folder::Kept { .. });
        let central = Central::open(self.central, &folder.path().join(CENTRAL_FOLDER), is_kept, is_new)?;

        let sync = self.ports.choose("the sync server", Protocol::Both, SYNC_PORT, tell)?;
        let web = self.ports.choose("the manager page", Protocol::Tcp, WEB_PORT, tell)?;
        let mut server = Server::prepare(
            &self.binaries.sync_server(),
            &folder.path().join("server"),
            &logs.join("sync-server.log"),
            sync,
            web,
            &central.url(),
        )?;
        let enrolment = if is_new {
            tell("Setting up the sync server, the store and the catalogue");
            self.set_up(&server)?
        } else {
            Vec::new()
        };
        tell("Starting the sync server");
        server.start()?;

        let printers = if self.printers { self.start_printers(folder.path(), &logs, tell)? } else { Vec::new() };
        let mut stack = Stack { tills: Vec::new(), server, printers, central, folder };
        let lan = match self.neighbours {
            true => self.lan_addresses(tell)?,
            false => Vec::new(),
        };
        for number in 1..=self.tills {
            tell(&format!("Starting {}", till_name(number)));
            let till = self.start_till(&stack, number, enrolment.get(number - 1).map(String::as_str), &lan, tell)?;
            stack.tills.push(till);
        }
        stack.folder.finish()?;
        Ok(stack)
    }

    /// Makes region, store, staff, manager and catalogue, and gives each till's enrolment link.
    fn set_up(&self, server: &Server) -> Result<Vec<String>> {
        server.command(&["init"], None)?;
        let store: Vec<&str> =
            ["store", "add"].into_iter().chain(STORE_FACTS.iter().flat_map(|(flag, value)| [*flag, *value])).collect();
        server.command(&store, None)?;
        for (name, role, pin) in STAFF {
            server.command(&["staff", "add", "--store", STORE, "--name", name, "--role", role], Some(pin))?;
        }
        server.command(&["manager", "add", MANAGER.0], Some(MANAGER.1))?;
        if let Some(catalogue) = &self.catalogue {
            server.command(&["products", "import", &catalogue.to_string_lossy()], None)?;
        }
        (1..=self.tills).map(|number| enrolment_link(server, &till_name(number))).collect()
    }

    fn start_printers(&self, folder: &Path, logs: &Path, tell: &mut dyn FnMut(&str)) -> Result<Vec<Printer>> {
        let mut printers = Vec::new();
        for number in 1..=self.tills {
            let (name, offset) = (format!("Printer {number}"), offset(number)?);
            let tcp = self.ports.choose(&name, Protocol::Tcp, PRINTER_PORT + offset, tell)?;
            let http = self.ports.choose(&format!("the paper of {name}"), Protocol::Tcp, PAPER_PORT + offset, tell)?;
            let paper = folder.join(format!("paper-{number}"));
            let log = logs.join(format!("printer-{number}.log"));
            printers.push(Printer::start(&name, &self.binaries.vprinter(), &paper, &log, tcp, http)?);
        }
        Ok(printers)
    }

    /// Where each till listens for the others.
    fn lan_addresses(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<SocketAddr>> {
        let address = |number| self.ports.choose(&till_name(number), Protocol::Udp, LAN_PORT + offset(number)?, tell);
        (1..=self.tills).map(address).collect()
    }

    fn start_till(
        &self,
        stack: &Stack,
        number: usize,
        enrolment: Option<&str>,
        lan: &[SocketAddr],
        tell: &mut dyn FnMut(&str),
    ) -> Result<Till> {
        let name = till_name(number);
        let listen = self.ports.choose(&name, Protocol::Tcp, TILL_PORT + offset(number)?, tell)?;
        let mut till = Till::prepare(
            &name,
            &self.binaries.node(),
            &stack.folder().join(format!("till-{number}")),
            &stack.folder().join("logs").join(format!("till-{number}.log")),
            listen,
            stack.server.sync_address(),
        );
        if let Some(printer) = stack.printers.get(number - 1) {
            till.set_printer(&printer.address());
        }
        if self.links {
            till.put_link()?;
        }
        if let Some(own) = lan.get(number - 1) {
            till.set_neighbours(*own, lan);
        }
        if let Some(link) = enrolment {
            till.enrol(link)?;
        } else if !till.data().exists() {
            // One till more than the last time.
            till.enrol(&stack.manager()?.enrolment_code(STORE, &name)?.link)?;
        }
        till.start()?;
        Ok(till)
    }
}

impl Stack {
    /// The data folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A manager's session.
    pub fn manager(&self) -> Result<ManagerClient> {
        Ok(ManagerClient::sign_in(&self.server.web_url(), MANAGER.0, MANAGER.1)?)
    }

    /// The first program that ended although nobody stopped it, as a sentence and the end of its log.
    pub fn someone_ended(&mut self) -> Option<String> {
        self.programs().into_iter().find_map(|program| sentence_of_end(self.process(program)?))
    }

    /// Lets go of the programs that ended although nobody stopped them, each with a sentence and the end of its log.
    pub fn take_ended(&mut self) -> Vec<(Program, String)> {
        let ended = |stack: &mut Self, program| Some((program, sentence_of_end(stack.process(program)?)?));
        let ended: Vec<_> = self.programs().into_iter().filter_map(|program| ended(self, program)).collect();
        for (program, _) in &ended {
            self.stop(*program);
        }
        ended
    }

    /// Stops a program; nothing when it does not run.
    pub fn stop(&mut self, program: Program) {
        match program {
            Program::Server => self.server.stop(),
            Program::Till(at) => self.tills[at].stop(),
            Program::Printer(at) => self.printers[at].switch_off(),
        }
    }

    /// Starts a program that is stopped.
    pub fn start(&mut self, program: Program) -> Result<()> {
        match program {
            Program::Server => self.server.start(),
            Program::Till(at) => self.tills[at].start(),
            Program::Printer(at) => self.printers[at].switch_on(),
        }
    }

    fn programs(&self) -> Vec<Program> {
        let tills = (0..self.tills.len()).map(Program::Till);
        tills.chain([Program::Server]).chain((0..self.printers.len()).map(Program::Printer)).collect()
    }

    fn process(&mut self, program: Program) -> Option<&mut Process> {
        match program {
            Program::Server => self.server.process(),
            Program::Till(at) => self.tills[at].process(),
            Program::Printer(at) => self.printers[at].process(),
        }
    }
}

fn sentence_of_end(process: &mut Process) -> Option<String> {
    let status = process.ended()?;
    Some(format!("{} stopped by itself ({status}).\n{}", process.name(), process.tail()))
}

/// Asks again and again until there is an answer, for at most a while. `what` is what is waited for.
pub fn until<T>(what: &str, at_most: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + at_most;
    loop {
        interrupt::check()?;
        let answer = ask();
        match answer {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) if Instant::now() > deadline => bail!("waited {} s in vain for {what}", at_most.as_secs()),
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("waited in vain for {what}"))),
            // Something that is just being started may refuse at first.
            Ok(None) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// The sample catalogue of the repository.
pub fn sample_catalogue() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/online-retail/products.csv")
}

fn till_name(number: usize) -> String {
    format!("Till {number}")
}

fn offset(number: usize) -> Result<u16> {
    u16::try_from(number - 1).context("so many tills have no ports")
}

fn enrolment_link(server: &Server, name: &str) -> Result<String> {
    let printed = server.command(&["enrolment-code", "--store", STORE, "--name", name], None)?;
    let link = printed.split_whitespace().find(|word| word.starts_with("evertill://"));
    link.map(str::to_owned).with_context(|| format!("the server gave no enrolment link but: {printed}"))
}

impl Folder {
    fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            let prefix = tempfile::Builder::new().prefix("evertill-").tempdir().context("could not make a temporary folder")?;
            return Ok(Self::Temporary(prefix));
        };
        std::fs::create_dir_all(path).with_context(|| format!("could not make {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("could not find {}", path.display()))?;
        let lock = std::fs::File::create(path.join("lock")).with_context(|| format!("could not write to {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "another Evertill is running from {}: stop it first, or choose another folder with EVERTILL_DEMO_DATA",
                path.display()
            );
        }
        Ok(Self::Kept { path, _lock: lock })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept { path, .. } => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// Says whether everything is to be set up, and clears away a setting-up that was broken off: nothing was sold there.
    fn begin(&self) -> Result<bool> {
        if self.path().join(READY_FILE).exists() {
            return Ok(false);
        }
        let begun = self.path().join(BEGUN_FILE);
        if begun.exists() {
            central::forget(&self.path().join(CENTRAL_FOLDER))?;
        }
        let others = std::fs::read_dir(self.path())?.filter_map(|entry| entry.ok()).filter(|entry| entry.file_name() != "lock");
        for entry in others {
            if !begun.exists() {
                bail!("{} holds something else already; choose another folder with EVERTILL_DEMO_DATA", self.path().display());
            }
            let path = entry.path();
            if path != begun {
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }
                    .with_context(|| format!("could not clear away {}", path.display()))?;
            }
        }
        std::fs::write(begun, "The data of an Evertill demo. `make clean-demo` removes it.\n")?;
        Ok(true)
    }

    fn finish(&self) -> Result<()> {
        std::fs::write(self.path().join(READY_FILE), "").context("could not note that the setting-up is complete")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_off_set_up_starts_over_and_foreign_folders_are_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("demo");
        let folder = Folder::open(Some(&path)).unwrap();
        assert!(folder.begin().unwrap());
        std::fs::create_dir(path.join("server")).unwrap();
        assert!(folder.begin().unwrap(), "it was not finished");
        assert!(!path.join("server").exists());
        folder.finish().unwrap();
        assert!(!folder.begin().unwrap());

        let foreign = Folder::open(Some(outer.path())).unwrap();
        assert!(foreign.begin().unwrap_err().to_string().contains("something else"));
        assert!(path.join(READY_FILE).exists());
    }

    #[test]
    fn one_stack_a_folder() {
        let outer = tempfile::tempdir().unwrap();
        let _first = Folder::open(Some(outer.path())).unwrap();
        let second = Folder::open(Some(outer.path())).err().unwrap().to_string();
        assert!(second.contains("another Evertill is running"), "{second}");
    }

    #[test]
    fn the_sample_catalogue_is_there() {
        let text = std::fs::read_to_string(sample_catalogue()).unwrap();
        assert!(text.starts_with("code,name,price,tax_rate_bp\n"));
        assert!(text.contains('£') && text.lines().count() > 500);
    }
}
