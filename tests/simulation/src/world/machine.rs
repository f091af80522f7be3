//! Tills as machines, and what they have in common with servers: a disk that survives, a process that does not, and the switch between the two.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use domain::ids::{DeviceId, StoreId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use node::care;
use node::handle::Node;
use node::identity::Identity;
use node::peers;
use node::print_queue;
use node::replication::{self, Link, net::Net, tcp::Dial};
use node::store::{self, PAGES_AT_ONCE, StoreOptions};
use node::till::{Till, TillOptions};
use sync_proto::env::{Env, random};
use sync_proto::session::{VERSIONS, Versions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::MachineEnv;
use super::founding::Founding;
use super::held;
use super::net::{Network, ProcessRuntime, Socket};
use super::plan::Home;
use super::printer::Printer;
use super::server::ServerMachine;
use super::trace::Trace;
use super::{LAN_PORT, server_address};
use crate::crash_vfs::{Disk, Fault, FaultKind};
use crate::rig::{Device, Folder};

/// How often a till that is connected over TCP tries whether QUIC passes again: a shop's day is short.
const QUIC_AGAIN: Duration = Duration::from_secs(4);
/// The first version of the protocol whose programs know TCP.
const TCP_SINCE: u16 = 3;
/// What a program says of a file that a newer one has written.
const TOO_OLD: &str = "install the newer program again";
/// How long a program that does not start waits before it is started again.
const START_AGAIN: Duration = Duration::from_secs(2);

/// How a process ends that is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The power goes: what was not synced is there or not, as the seed decides.
    Power(u64),
    /// The process is killed; the system writes what it was told.
    Killed,
}

/// What a machine has on it that survives its programs, and may be copied or put back.
#[derive(Debug)]
pub struct Image {
    /// What is on its disk.
    pub disk: Disk,
    /// What is in its device folder.
    pub device: Device,
}

/// Everything quinn and the driver have running, and where they listen.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) tasks: JoinSet<()>,
    pub(super) runtime: Arc<ProcessRuntime>,
    pub(super) sockets: Vec<Arc<Socket>>,
    /// Nobody is told to stop, but whoever listens has to be able to.
    pub(super) _stop: watch::Sender<bool>,
}

impl Process {
    async fn end(mut self) {
        self.sockets.iter().for_each(|socket| socket.close());
        self.runtime.abort();
        self.tasks.shutdown().await;
    }
}

/// What the two kinds of machine share.
#[derive(Debug)]
pub struct Chassis {
    /// Its clock and dice.
    pub env: Arc<MachineEnv>,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Whether there is TCP besides UDP.
    has_tcp: bool,
    pub(super) network: Network,
    pub(super) trace: Trace,
    pub(super) name: String,
    /// The newest version of the protocol that its program speaks.
    version: AtomicU16,
    /// How long a till keeps what is central, in milliseconds; none for ever.
    keep_ms: Option<u64>,
    /// Goes up whenever it starts, so that what a former life planned does not hit the next.
    pub(super) lives: AtomicU64,
}

impl Chassis {
    /// A machine that is off.
    pub fn new(name: String, ip: Ipv4Addr, env: Arc<MachineEnv>, network: Network, trace: Trace, has_tcp: bool) -> Self {
        Self {
            env,
            ip,
            has_tcp,
            network,
            trace,
            name,
            version: AtomicU16::new(VERSIONS.1),
            keep_ms: None,
            lives: AtomicU64::new(0),
        }
    }

    /// The same as one that lets go what is older and central.
    pub fn keeping(self, keep_ms: Option<u64>) -> Self {
        Self { keep_ms, ..self }
    }

    /// Gives it a program that speaks no newer version of the protocol than this, for when it starts next. Answers which it had.
    pub fn set_version(&self, newest: u16) -> u16 {
        self.version.swap(newest, Ordering::Relaxed)
    }

    pub(super) fn versions(&self) -> Versions {
        (VERSIONS.0, self.version.load(Ordering::Relaxed))
    }

    pub(super) fn knows_tcp(&self) -> bool {
        self.has_tcp && self.versions().1 >= TCP_SINCE
    }

    /// The end of what ran on it. Without power it says goodbye to nobody.
    pub(super) async fn end(&self, process: Process, how: End) {
        if let End::Power(_) = how {
            self.network.unplug(self.ip);
        }
        process.end().await;
    }
}

/// A machine of either kind.
#[derive(Debug, Clone)]
pub enum Machine {
    /// A till.
    Till(Arc<TillMachine>),
    /// A regional server.
    Server(Arc<ServerMachine>),
}

impl Machine {
    /// What every machine has.
    pub fn chassis(&self) -> &Chassis {
        match self {
            Self::Till(till) => &till.chassis,
            Self::Server(server) => &server.chassis,
        }
    }

    /// Its disk.
    pub fn disk(&self) -> Arc<Disk> {
        match self {
            Self::Till(till) => till.disk(),
            Self::Server(server) => server.disk(),
        }
    }

    /// Whether it is lost for ever.
    pub fn has_perished(&self) -> bool {
        matches!(self, Self::Server(server) if server.has_perished())
    }

    /// Whether its program has put a damaged file aside, and does nothing any more.
    pub fn has_put_aside(&self) -> bool {
        match self {
            Self::Till(till) => till.inner().running.as_ref().is_some_and(|(node, _)| node.is_over()),
            Self::Server(server) => server.has_put_aside(),
        }
    }

    /// What it says, without the name of its folder, which is another one each time.
    fn named(&self, text: &str) -> String {
        match self {
            Self::Till(till) => text.replace(&till.folder.path().display().to_string(), "folder"),
            Self::Server(_) => text.to_owned(),
        }
    }

    /// Starts it, and keeps trying while its disk refuses.
    pub async fn start(&self) {
        let Chassis { lives, trace, name, .. } = self.chassis();
        let life = lives.fetch_add(1, Ordering::Relaxed) + 1;
        if self.has_perished() {
            return;
        }
        while lives.load(Ordering::Relaxed) == life {
            self.chassis().network.plug(self.chassis().ip);
            let started = match self {
                Self::Till(till) => till.try_start(),
                Self::Server(server) => server.try_start(),
            };
            match started {
                Ok(()) => return,
                Err(error) => trace.note(format_args!("{name} does not start: {}", self.named(&format!("{error:#}")))),
            }
            tokio::time::sleep(START_AGAIN).await;
        }
    }

    /// Ends it, and leaves the disk that is found afterwards.
    pub async fn end(&self, how: End) {
        match self {
            Self::Till(till) => till.end(how).await,
            Self::Server(server) => server.end(how).await,
        }
    }

    /// Starts it again after a while.
    pub async fn start_after(&self, off_ms: u64) {
        tokio::time::sleep(Duration::from_millis(off_ms)).await;
        self.start().await;
    }

    /// Ends it, and starts the program before this one on what is there: it has to refuse, to say why, and to leave everything as it is. Answers whether
    /// there was a file of this program. A file that `may_be_damaged` is another matter.
    ///
    /// # Errors
    /// An earlier program that takes the file, says something else, or changes it.
    pub async fn try_older(&self, may_be_damaged: bool) -> Result<bool> {
        let is_on = match self {
            Self::Till(till) => till.is_on(),
            Self::Server(server) => server.hub().is_some(),
        };
        self.end(End::Killed).await;
        if !is_on {
            return Ok(false);
        }
        let before = self.contents();
        let said = match self {
            Self::Till(till) => till.try_older(),
            Self::Server(server) => server.try_older(),
        };
        let name = &self.chassis().name;
        self.chassis().trace.note(format_args!("{name} with an earlier program: {}", self.named(&said)));
        if !may_be_damaged {
            ensure!(said.contains(TOO_OLD), "an earlier program at {name} says of a newer file: {said}");
            ensure!(before == self.contents(), "an earlier program at {name} has changed a newer file");
        }
        Ok(true)
    }

    /// What can be read of it, as an outsider reads it, and what lies beside.
    fn contents(&self) -> (BTreeSet<journal::Hash>, Device) {
        match self {
            Self::Till(till) => {
                let image = till.image();
                (held::hashes(&held::of_till(&image)), image.device)
            }
            Self::Server(server) => (held::hashes(&held::of_server(&server.disk().copy())), Device::default()),
        }
    }

    /// Plans what goes wrong with its disk, after so many more calls.
    pub fn plan_fault(&self, after: u64, kind: FaultKind) {
        let disk = self.disk();
        let at = if kind == FaultKind::ReadError { disk.reads() } else { disk.calls() } + after;
        disk.plan(Fault { at, kind });
    }
}

/// A till.
#[derive(Debug)]
pub struct TillMachine {
    /// What every machine has.
    pub chassis: Chassis,
    /// The number that it was enrolled under.
    pub number: u32,
    /// Its place among the machines of the world.
    pub index: usize,
    /// Its store.
    pub store: usize,
    /// The region whose server it is given when it starts next.
    region: AtomicUsize,
    zone: TimeZone,
    folder: Folder,
    printer: Printer,
    machine_id: String,
    /// Where the other tills are found; nowhere when the shop's own network carries nothing between tills.
    neighbours: BTreeSet<String>,
    inner: Mutex<TillInner>,
}

#[derive(Debug)]
struct TillInner {
    // What runs goes before the disk that it has open.
    running: Option<(Node, Process)>,
    disk: Arc<Disk>,
    /// Whether a page of the file that the running program has open is another one than was written.
    has_broken_page: bool,
    backup: Option<Image>,
}

impl TillMachine {
    /// A till that has just been enrolled, off.
    ///
    /// # Errors
    /// When there is no room for its folder.
    pub fn enrolled(
        index: usize,
        (home, number): (Home, u32),
        zone: TimeZone,
        (chassis, printer): (Chassis, Printer),
        neighbours: BTreeSet<String>,
    ) -> Result<Self> {
        let image = Image { disk: Disk::new(), device: Founding::of_process().device(number).clone() };
        Self::of_image(index, (home, number), format!("machine {index}"), zone, (chassis, printer), image, neighbours)
    }

    /// A till on what was copied from another.
    ///
    /// # Errors
    /// When there is no room for its folder.
    pub fn of_image(
        index: usize,
        (home, number): (Home, u32),
        machine_id: String,
        zone: TimeZone,
        (chassis, printer): (Chassis, Printer),
        image: Image,
        neighbours: BTreeSet<String>,
    ) -> Result<Self> {
        let folder = Folder::new()?;
        folder.restore(&image.device)?;
        let inner = TillInner { disk: Arc::new(image.disk), running: None, has_broken_page: false, backup: None };
        let (store, region) = (home.store, AtomicUsize::new(home.region));
        Ok(Self {
            chassis,
            number,
            index,
            store,
            region,
            zone,
            folder,
            printer,
            machine_id,
            neighbours,
            inner: Mutex::new(inner),
        })
    }

    /// The region whose server it speaks to, or will when it starts.
    pub fn region(&self) -> usize {
        self.region.load(Ordering::Relaxed)
    }

    /// Where it stands.
    pub fn home(&self) -> Home {
        Home { store: self.store, region: self.region() }
    }

    /// Gives it another region's server, for when it starts next.
    pub fn set_region(&self, region: usize) {
        self.region.store(region, Ordering::Relaxed);
    }

    /// The day by its clock, as people there write it.
    pub fn local_day(&self) -> String {
        let shown = Timestamp::from_millisecond(self.chassis.env.unix_ms().cast_signed()).unwrap_or(Timestamp::MAX);
        shown.to_zoned(self.zone.clone()).date().to_string()
    }

    /// The running till, if it runs.
    pub fn node(&self) -> Option<Node> {
        let inner = self.inner();
        let (node, _) = inner.running.as_ref()?;
        (!inner.disk.is_dead()).then(|| node.clone())
    }

    /// Whether its screen shows anything.
    pub fn is_on(&self) -> bool {
        self.node().is_some()
    }

    /// Its disk.
    pub fn disk(&self) -> Arc<Disk> {
        self.inner().disk.clone()
    }

    /// A page of its file is broken from now on. What the program writes until it ends may hang on that page, and go with it.
    pub fn break_page(&self) {
        self.inner().has_broken_page = true;
    }

    /// Whether what it writes now may be unreadable once the program has ended.
    pub fn has_broken_page(&self) -> bool {
        self.inner().has_broken_page
    }

    fn try_start(&self) -> Result<()> {
        let mut inner = self.inner();
        if inner.running.is_some() {
            return Ok(());
        }
        let identity = Identity::load(self.folder.path()).context("the identity")?;
        let link = link(&identity, self.region(), self.chassis.versions())?;
        let options = self.options(&inner.disk);
        let env: Arc<dyn Env> = self.chassis.env.clone();
        let own = (identity.device(), identity.store());
        let till = Till::open(identity, env.clone(), options)?;
        let node = Node::inline(till);
        let runtime = Arc::new(ProcessRuntime::default());
        let socket = self.chassis.network.socket(self.chassis.ip, 0);
        let tcp = self.chassis.knows_tcp().then(|| Arc::new(self.chassis.network.dialler(self.chassis.ip)) as Arc<dyn Dial>);
        let net = Net { tcp, quic_again: QUIC_AGAIN, ..Net::on(socket.clone(), runtime.clone(), Some(random(&*env)))? };
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let replicating = replication::run(node.clone(), net, link.clone(), env, stopping.clone());
        tasks.spawn(async move {
            replicating.await.expect("the certificates are sound");
        });
        tasks.spawn(care::run(node.clone(), stopping.clone()));
        tasks.spawn(print_queue::run(node.clone(), self.printer.clone(), stopping));
        let sockets = match self.begin_with_neighbours(&node, (own, link.clone()), &runtime, &mut tasks, stop.subscribe())? {
            Some(lan) => vec![socket, lan],
            None => vec![socket],
        };
        inner.running = Some((node, Process { tasks, runtime, sockets, _stop: stop }));
        self.chassis.trace.note(format_args!("{} starts", self.chassis.name));
        Ok(())
    }

    fn options(&self, disk: &Disk) -> TillOptions {
        // Half of the tills look at their file as if it were a large one: beside the counter.
        let pages_at_once = if self.index.is_multiple_of(2) { PAGES_AT_ONCE } else { 0 };
        TillOptions {
            store: StoreOptions {
                vfs: Some(disk.vfs().to_owned()),
                exclusive: true,
                files: disk.files(),
                pages_at_once,
                ..StoreOptions::default()
            },
            printing: true,
            time_zone: self.zone.clone(),
            machine: Some(self.machine_id.clone()),
            keep_ms: self.chassis.keep_ms,
        }
    }

    /// What the program before this one says when it is started on what is there.
    fn try_older(&self) -> String {
        let open = || -> Result<()> {
            let mut options = self.options(&self.disk());
            options.store.schemas_known = Some(store::SCHEMAS - 1);
            let identity = Identity::load(self.folder.path()).context("the identity")?;
            Till::open(identity, self.chassis.env.clone(), options)?;
            bail!("nothing, and takes it")
        };
        open().map_or_else(|error| format!("{error:#}"), |()| String::new())
    }

    /// Lets it replicate with the other tills, where the shop's own network carries that. Answers the socket for it.
    fn begin_with_neighbours(
        &self,
        node: &Node,
        (own, link): ((DeviceId, StoreId), Link),
        runtime: &Arc<ProcessRuntime>,
        tasks: &mut JoinSet<()>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Option<Arc<Socket>>> {
        // Programs of the first version knew no neighbours.
        if self.neighbours.is_empty() || link.versions.1 < 2 {
            return Ok(None);
        }
        let env: Arc<dyn Env> = self.chassis.env.clone();
        let socket = self.chassis.network.socket(self.chassis.ip, LAN_PORT);
        let net = Net::on(socket.clone(), runtime.clone(), Some(random(&*env)))?;
        let (node, neighbours) = (node.clone(), self.neighbours.clone());
        tasks.spawn(async move {
            let (_kept, known) = watch::channel(neighbours);
            peers::run(node, net, &link, own, known, env, stopping).await.expect("the certificates are sound");
        });
        Ok(Some(socket))
    }

    /// Ends it, and leaves the disk that is found afterwards.
    pub async fn end(&self, how: End) {
        self.chassis.lives.fetch_add(1, Ordering::Relaxed);
        let running = self.inner().running.take();
        if let Some((node, process)) = running {
            self.chassis.end(process, how).await;
            drop(node);
        }
        let mut inner = self.inner();
        inner.has_broken_page = false;
        inner.disk = Arc::new(match how {
            End::Power(seed) => {
                self.tear_high_water(seed);
                inner.disk.after_power_cut(seed)
            }
            End::Killed => inner.disk.after_kill(),
        });
        self.chassis.trace.note(format_args!("{} ends: {how:?}", self.chassis.name));
    }

    /// The one file of the device folder that is not pushed to the disk each time.
    fn tear_high_water(&self, seed: u64) {
        let now = self.folder.device(&Device::default());
        let torn = match seed % 3 {
            0 => return,
            1 => now.with_high_water(&now, |_| Vec::new()),
            _ => now.with_high_water(&now, |mark| mark[..mark.len() / 2].to_vec()),
        };
        self.folder.restore(&torn).expect("a folder in memory can be written");
    }

    /// Copies what is on it, as a backup program does while the till is off or between two of its writes.
    pub fn image(&self) -> Image {
        Image { disk: self.inner().disk.copy(), device: self.folder.device(&Device::default()) }
    }

    /// Keeps a copy of what is on it.
    pub fn back_up(&self) {
        let image = self.image();
        self.inner().backup = Some(image);
    }

    /// Puts the copy back, if there is one: the replica alone, or the whole folder with the identity. The till must be off.
    pub fn restore(&self, whole_folder: bool) -> bool {
        let mut inner = self.inner();
        let Some(backup) = &inner.backup else { return false };
        let disk = Arc::new(backup.disk.copy());
        if whole_folder {
            self.folder.restore(&backup.device).expect("a folder in memory can be written");
        }
        inner.disk = disk;
        self.chassis.trace.note(format_args!("{} is put back", self.chassis.name));
        true
    }

    fn inner(&self) -> MutexGuard<'_, TillInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn link(identity: &Identity, region: usize, versions: Versions) -> Result<Link> {
    Ok(Link {
        address: server_address(region).to_string(),
        tcp_address: None,
        server_name: identity.server_name().to_owned(),
        authority_pem: identity.authority_cert_pem()?,
        certificate_pem: identity.device_cert_pem()?,
        key_pem: identity.key_pem()?,
        versions,
    })
}
