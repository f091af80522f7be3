//! Tills and the server as machines: a disk that survives, a process that does not, and the switch between the two.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::ids::{DeviceId, StoreId};
use jiff::tz::TimeZone;
use node::care;
use node::handle::Node;
use node::identity::Identity;
use node::peers;
use node::print_queue;
use node::replication::{self, Link, net::Net};
use node::store::{PAGES_AT_ONCE, StoreOptions};
use node::till::{Till, TillOptions};
use sync_proto::env::{Env, random};
use sync_proto::session::{VERSIONS, Versions};
use sync_server::central::feed;
use sync_server::hub::Hub;
use sync_server::live::Live;
use sync_server::log_source::LogSource;
use sync_server::quic::{Limits, Quic};
use sync_server::refill;
use sync_server::region::Region;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::central::Central;
use super::clock::MachineEnv;
use super::founding::{Founding, REGION_LOG};
use super::net::{Network, ProcessRuntime, Socket};
use super::printer::Printer;
use super::trace::Trace;
use super::{LAN_PORT, SERVER, SERVER_IP};
use crate::crash_vfs::{Disk, Fault, FaultKind};
use crate::rig::{Device, Folder};

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
struct Process {
    tasks: JoinSet<()>,
    runtime: Arc<ProcessRuntime>,
    sockets: Vec<Arc<Socket>>,
    _stop: watch::Sender<bool>,
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
    network: Network,
    trace: Trace,
    name: String,
    /// The newest version of the protocol that its program speaks.
    version: AtomicU16,
    /// Goes up whenever it starts, so that what a former life planned does not hit the next.
    lives: AtomicU64,
}

impl Chassis {
    /// A machine that is off.
    pub fn new(name: String, ip: Ipv4Addr, env: Arc<MachineEnv>, network: Network, trace: Trace) -> Self {
        Self { env, ip, network, trace, name, version: AtomicU16::new(VERSIONS.1), lives: AtomicU64::new(0) }
    }

    /// Gives it a program that speaks no newer version of the protocol than this, for when it starts next. Answers which it had.
    pub fn set_version(&self, newest: u16) -> u16 {
        self.version.swap(newest, Ordering::Relaxed)
    }

    fn versions(&self) -> Versions {
        (VERSIONS.0, self.version.load(Ordering::Relaxed))
    }
}

/// A machine of either kind.
#[derive(Debug, Clone)]
pub enum Machine {
    /// A till.
    Till(Arc<TillMachine>),
    /// The regional server.
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

    /// Whether its program has put a damaged file aside, and does nothing any more.
    pub fn has_put_aside(&self) -> bool {
        match self {
            Self::Till(till) => till.inner().running.as_ref().is_some_and(|(node, _)| node.is_over()),
            Self::Server(server) => server.inner().running.as_ref().is_some_and(|(hub, _)| hub.is_put_aside()),
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
        while lives.load(Ordering::Relaxed) == life {
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
    pub fn enrolled(index: usize, number: u32, chassis: Chassis, printer: Printer, neighbours: BTreeSet<String>) -> Result<Self> {
        let image = Image { disk: Disk::new(), device: Founding::of_process().device(number).clone() };
        Self::of_image(index, number, format!("machine {index}"), chassis, printer, image, neighbours)
    }

    /// A till on what was copied from another.
    ///
    /// # Errors
    /// When there is no room for its folder.
    pub fn of_image(
        index: usize,
        number: u32,
        machine_id: String,
        chassis: Chassis,
        printer: Printer,
        image: Image,
        neighbours: BTreeSet<String>,
    ) -> Result<Self> {
        let folder = Folder::new()?;
        folder.restore(&image.device)?;
        let inner = TillInner { disk: Arc::new(image.disk), running: None, has_broken_page: false, backup: None };
        Ok(Self { chassis, number, index, folder, printer, machine_id, neighbours, inner: Mutex::new(inner) })
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
        let link = link(&identity, self.chassis.versions())?;
        // Half of the tills look at their file as if it were a large one: beside the counter.
        let pages_at_once = if identity.device().as_bytes()[15].is_multiple_of(2) { PAGES_AT_ONCE } else { 0 };
        let options = TillOptions {
            store: StoreOptions {
                vfs: Some(inner.disk.vfs().to_owned()),
                exclusive: true,
                files: inner.disk.files(),
                pages_at_once,
            },
            printing: true,
            time_zone: TimeZone::UTC,
            machine: Some(self.machine_id.clone()),
        };
        let env: Arc<dyn Env> = self.chassis.env.clone();
        let own = (identity.device(), identity.store());
        let till = Till::open(identity, env.clone(), options)?;
        let node = Node::inline(till);
        let runtime = Arc::new(ProcessRuntime::default());
        let socket = self.chassis.network.socket(self.chassis.ip, 0);
        let net = Net::on(socket.clone(), runtime.clone(), Some(random(&*env)))?;
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
            process.end().await;
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

fn link(identity: &Identity, versions: Versions) -> Result<Link> {
    Ok(Link {
        address: SERVER.to_string(),
        tcp_address: None,
        server_name: identity.server_name().to_owned(),
        authority_pem: identity.authority_cert_pem()?,
        certificate_pem: identity.device_cert_pem()?,
        key_pem: identity.key_pem()?,
        versions,
    })
}

/// The regional server.
#[derive(Debug)]
pub struct ServerMachine {
    /// What every machine has.
    pub chassis: Chassis,
    central: Central,
    inner: Mutex<ServerInner>,
}

#[derive(Debug)]
struct ServerInner {
    // What runs goes before the disk that it has open.
    running: Option<(Hub, Process)>,
    disk: Arc<Disk>,
    backup: Option<Disk>,
}

impl ServerMachine {
    /// The server of the founding, off.
    pub fn new(chassis: Chassis, central: Central) -> Self {
        let inner = ServerInner { disk: Arc::new(Founding::of_process().region_disk()), running: None, backup: None };
        Self { chassis, central, inner: Mutex::new(inner) }
    }

    /// The way to its log, if it runs.
    pub fn hub(&self) -> Option<Hub> {
        let inner = self.inner();
        let (hub, _) = inner.running.as_ref()?;
        (!inner.disk.is_dead()).then(|| hub.clone())
    }

    /// Its disk.
    pub fn disk(&self) -> Arc<Disk> {
        self.inner().disk.clone()
    }

    /// Opens the log that is on its disk, as a process that starts does.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open_log(&self) -> Result<Region> {
        let (founding, env) = (Founding::of_process(), &*self.chassis.env);
        let writer = founding.writer(random(env), random(env));
        let disk = self.disk();
        let mut region = Region::open_or_begin_anew(REGION_LOG.as_ref(), Some(disk.vfs()), disk.files(), writer)?;
        region.start(env.unix_ms(), "simulation")?;
        Ok(region)
    }

    fn try_start(&self) -> Result<()> {
        if self.inner().running.is_some() {
            return Ok(());
        }
        let founding = Founding::of_process();
        let region = self.open_log()?;
        let env: Arc<dyn Env> = self.chassis.env.clone();
        let clock = env.clone();
        let (hub, owner) = Hub::with_owner(region, Live::default(), move || clock.unix_ms());
        // A shop's day is short: here little is much.
        let limits = Limits { catch_ups: 1, catch_up_rows: 12, ..Limits::default() };
        let quic =
            Quic::with_limits(hub.clone(), founding.authority.clone(), env.clone(), limits).speaking(self.chassis.versions());
        let runtime = Arc::new(ProcessRuntime::default());
        let socket = self.chassis.network.socket(SERVER_IP, SERVER.port());
        let endpoint = quic.endpoint(socket.clone(), runtime.clone())?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(owner);
        tasks.spawn(quic.run(endpoint, stopping.clone()));
        tasks.spawn(feed::run(LogSource::new(hub.clone()), self.central.clone(), stopping.clone()));
        tasks.spawn(sync_server::care::run(hub.clone(), env.clone(), stopping.clone()));
        tasks.spawn(refill::watch(hub.clone(), env, stopping.clone()));
        tasks.spawn(refill::run(hub.clone(), self.central.clone(), stopping));
        self.inner().running = Some((hub, Process { tasks, runtime, sockets: vec![socket], _stop: stop }));
        self.chassis.trace.note(format_args!("the server starts"));
        Ok(())
    }

    /// Ends it, and leaves the disk that is found afterwards.
    pub async fn end(&self, how: End) {
        self.chassis.lives.fetch_add(1, Ordering::Relaxed);
        let running = self.inner().running.take();
        if let Some((hub, process)) = running {
            drop(hub);
            process.end().await;
        }
        let mut inner = self.inner();
        inner.disk = Arc::new(match how {
            End::Power(seed) => inner.disk.after_power_cut(seed),
            End::Killed => inner.disk.after_kill(),
        });
        self.chassis.trace.note(format_args!("the server ends: {how:?}"));
    }

    /// Keeps a copy of its log.
    pub fn back_up(&self) {
        let mut inner = self.inner();
        inner.backup = Some(inner.disk.copy());
    }

    /// Puts the copy back, if there is one. The server must be off.
    pub fn restore(&self) -> bool {
        let mut inner = self.inner();
        let Some(backup) = &inner.backup else { return false };
        inner.disk = Arc::new(backup.copy());
        self.chassis.trace.note(format_args!("the server is put back"));
        true
    }

    /// Gives it an empty disk; its keys are kept elsewhere. The server must be off.
    pub fn wipe(&self) {
        self.inner().disk = Arc::new(Disk::new());
        self.chassis.trace.note(format_args!("the server has an empty disk"));
    }

    fn inner(&self) -> MutexGuard<'_, ServerInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
