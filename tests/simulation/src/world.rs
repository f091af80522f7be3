//! Tills, one or two regional servers and a central store in one thread and virtual time, under everything that goes wrong.
//!
//! What runs is what ships: the node, its replication driver and print queue, the server's faces, log and feed, quinn, rustls, tokio, SQLite and
//! SQLCipher. Four things are not the machine's: clocks and dice ([`clock`]), UDP and TCP ([`net`], [`tcp`]), disks ([`crate::crash_vfs`]), and the two ends
//! that stand for other people's programs, the central store ([`central`]) and the printers ([`printer`]).
//!
//! A [`plan::Plan`] follows from a seed: how many tills, what weather, which accidents and when. The shop is open for a while, then everything
//! is mended, and within [`CONVERGE_MS`] every entry must be everywhere. Then [`verdict`] compares what people saw ([`oracle`]) with what
//! there is. The same seed gives the same [`trace`], to the microsecond and byte count.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use domain::document::DocumentKind;
use domain::record::Record;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use journal::{Body, Entry};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Dice;

mod accidents;
pub mod cashier;
pub mod central;
pub mod clock;
mod closing;
pub mod founding;
pub mod held;
pub mod machine;
pub mod net;
pub mod oracle;
pub mod plan;
pub mod printer;
pub mod server;
pub mod tcp;
pub mod trace;
pub mod verdict;

use cashier::Cashier;
use central::Central;
use clock::MachineEnv;
use founding::Founding;
use machine::{Chassis, End, Machine, TillMachine};
use net::Network;
use oracle::Oracle;
use plan::{Event, Place, Plan, Trouble};
use printer::{Printer, PrinterCounts};
use server::ServerMachine;
use trace::Trace;

/// Where servers listen.
pub const SERVER_PORT: u16 = 4_710;
/// Where tills listen for one another.
pub const LAN_PORT: u16 = 8_422;
/// Within how long everything must be everywhere once everything is mended, in milliseconds of the world's time.
pub const CONVERGE_MS: u64 = 120_000;
/// How many damaged files the judge may find.
const FOUND_BY_THE_JUDGE_MAX: u32 = 6;
/// How long the system takes to start a program again that has ended, in milliseconds.
const STARTED_AFTER_MS: u64 = 1_000;
/// How often it is looked whether everything is everywhere.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What came of a world.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The trace's digest.
    pub digest: String,
    /// How many lines the trace has.
    pub lines: u64,
    /// What went wrong, by name, and how often.
    pub seen: BTreeMap<&'static str, u64>,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// How long it took until everything was everywhere, in milliseconds of the world's time.
    pub converged_ms: Option<u64>,
    /// How long the world lasted, in milliseconds of its time.
    pub lasted_ms: u64,
    /// The trace, where it was kept.
    pub trace: Vec<String>,
}

/// Runs the world of a plan. With `keep_trace`, its trace can be read afterwards.
///
/// # Panics
/// When there is no runtime to be had.
pub fn run(plan: &Plan, keep_trace: bool) -> Outcome {
    // Made before time stands still.
    Founding::of_process();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let outcome = runtime.block_on(World::live(plan, keep_trace));
    // Whatever is still running ends here, and with it every hold on a disk.
    drop(runtime);
    outcome
}

struct World {
    plan: Plan,
    began: Instant,
    trace: Trace,
    network: Network,
    oracle: Oracle,
    central: Central,
    servers: Vec<Arc<ServerMachine>>,
    tills: Vec<Arc<TillMachine>>,
    printers: Arc<PrinterCounts>,
    zone: TimeZone,
    seen: BTreeMap<&'static str, u64>,
    /// Tills that were connected over TCP when everything was mended.
    over_tcp: u64,
    /// What is under way beside the plan: repairs, restarts.
    tasks: JoinSet<()>,
    dice: Dice,
}

impl World {
    async fn live(plan: &Plan, keep_trace: bool) -> Outcome {
        let mut world = Self::new(plan.clone(), keep_trace);
        let broken = world.day().await.err();
        let (mut broken, mut converged_ms) = (broken, None);
        // Who judges reads every page, and so finds what nobody has read: then that is mended first.
        for _ in 0..FOUND_BY_THE_JUDGE_MAX {
            if broken.is_some() && !world.machines().any(|machine| machine.has_put_aside()) {
                break;
            }
            (broken, converged_ms) = match world.converge().await {
                Err(error) => (Some(error), None),
                Ok(after_ms) => {
                    *world.seen.entry("over TCP, then QUIC again").or_default() += std::mem::take(&mut world.over_tcp);
                    (world.judge().await.err(), Some(after_ms))
                }
            };
            if broken.is_none() {
                break;
            }
        }
        world.count_network();
        let (digest, lines) = (world.trace.digest(), world.trace.len());
        // In order: a file that outlives its disk is never given back.
        world.tasks.shutdown().await;
        for machine in world.machines() {
            machine.end(End::Killed).await;
        }
        Outcome {
            digest,
            lines,
            seen: world.seen.clone(),
            broken: broken.map(|error| format!("{error:#}")),
            converged_ms,
            lasted_ms: world.began.elapsed().as_millis() as u64,
            trace: world.trace.lines(),
        }
    }

    fn new(plan: Plan, keep_trace: bool) -> Self {
        let began = Instant::now();
        let trace = Trace::new(keep_trace);
        let mut tasks = JoinSet::new();
        let (network, carrier) = Network::new(plan.weather, plan.seed ^ 0x11, trace.clone());
        tasks.spawn(carrier);
        let (oracle, central, printers) = (Oracle::default(), Central::default(), Arc::<PrinterCounts>::default());
        let server = |region: usize| {
            let env = Arc::new(MachineEnv::new(began, plan.opens_ms(), plan.seed ^ 0x5E ^ ((region as u64) << 40)));
            let name = if region == 0 { "the server".to_owned() } else { "the other server".to_owned() };
            let chassis = Chassis::new(name, server_ip(region), env, network.clone(), trace.clone(), plan.tcp);
            Arc::new(ServerMachine::new(chassis, region, central.clone()))
        };
        let servers = (0..plan.regions).map(server).collect();
        let zone = TimeZoneDatabase::bundled().get(plan.zone()).expect("a zone of the table");
        let dice = Dice::new(plan.seed ^ 0xD1CE);
        let mut world = Self {
            plan,
            began,
            trace,
            network,
            oracle,
            central,
            servers,
            tills: Vec::new(),
            printers,
            zone,
            over_tcp: 0,
            seen: BTreeMap::new(),
            tasks,
            dice,
        };
        for (index, home) in world.plan.homes.clone().into_iter().enumerate() {
            // Numbered within its store.
            let before = world.tills.iter().filter(|till| till.store == home.store).count();
            let number = Founding::of_process().shops[home.store].tills[before];
            let (parts, zone, neighbours) = (world.parts(index), world.zone.clone(), world.neighbours(home.store));
            let till = TillMachine::enrolled(index, (home, number), zone, parts, neighbours).expect("room for a folder");
            world.add(Arc::new(till));
        }
        for server in world.servers.clone() {
            world.watch(Machine::Server(server));
        }
        world
    }

    fn add(&mut self, till: Arc<TillMachine>) {
        self.watch(Machine::Till(till.clone()));
        self.tills.push(till);
    }

    /// Where the tills of a store are found by one another, if its network carries anything between them.
    fn neighbours(&self, store: usize) -> BTreeSet<String> {
        let tills = self.plan.homes.iter().enumerate().filter(|(_, home)| self.plan.lan && home.store == store);
        tills.map(|(till, _)| SocketAddr::from((till_ip(till), LAN_PORT)).to_string()).collect()
    }

    fn parts(&self, index: usize) -> (Chassis, Printer) {
        let seed = self.plan.seed ^ ((index as u64 + 1) << 32);
        let env = Arc::new(MachineEnv::new(self.began, self.plan.opens_ms(), seed));
        let (network, trace) = (self.network.clone(), self.trace.clone());
        let chassis = Chassis::new(format!("till {index}"), till_ip(index), env, network, trace, self.plan.tcp);
        let chassis = chassis.keeping(self.plan.keep_ms);
        let printer = Printer::new(index, self.oracle.clone(), self.printers.clone(), self.plan.printer_faults, seed ^ 0xFA);
        (chassis, printer)
    }

    /// The shop is open, and things go wrong.
    async fn day(&mut self) -> Result<()> {
        for (place, version) in self.plan.behind.clone() {
            self.machine(place).chassis().set_version(version);
        }
        for server in self.servers.clone() {
            Machine::Server(server).start().await;
        }
        for till in self.tills.clone() {
            Machine::Till(till).start().await;
        }
        let closes = self.began + Duration::from_millis(self.plan.open_ms);
        for till in self.tills.clone() {
            self.hire(&till, closes);
        }
        for Event { at_ms, trouble } in self.plan.events.clone() {
            tokio::time::sleep_until(self.began + Duration::from_millis(at_ms)).await;
            self.bring(trouble).await?;
        }
        tokio::time::sleep_until(closes).await;
        self.mend().await;
        Ok(())
    }

    fn hire(&mut self, till: &Arc<TillMachine>, until: Instant) {
        let cashier = Cashier {
            till: till.clone(),
            shop: Founding::of_process().shops[till.store].clone(),
            oracle: self.oracle.clone(),
            dice: Dice::new(self.plan.seed ^ 0xCA5 ^ ((till.index as u64) << 20)),
            think_ms: self.plan.think_ms,
        };
        self.tasks.spawn(cashier.work(until));
    }

    async fn bring(&mut self, trouble: Trouble) -> Result<()> {
        self.trace.note(format_args!("{trouble:?}"));
        let happened = self.try_bring(trouble).await?;
        *self.seen.entry(trouble.name()).or_default() += u64::from(happened);
        Ok(())
    }

    fn machine(&self, of: Place) -> Machine {
        match of {
            Place::Till(till) => Machine::Till(self.tills[till].clone()),
            Place::Server(region) => Machine::Server(self.servers[region].clone()),
        }
    }

    /// Every machine, tills first.
    fn machines(&self) -> impl Iterator<Item = Machine> {
        let tills = self.tills.iter().cloned().map(Machine::Till);
        tills.chain(self.servers.iter().cloned().map(Machine::Server))
    }

    fn later(&mut self, after_ms: u64, what: impl FnOnce() + Send + 'static) {
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            what();
        });
    }

    /// Starts a machine again whenever its program has put a damaged file aside and ended.
    fn watch(&mut self, machine: Machine) {
        self.tasks.spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if machine.has_put_aside() {
                    machine.end(End::Killed).await;
                    machine.start_after(STARTED_AFTER_MS).await;
                }
            }
        });
    }

    /// How many days have ended while the shop was open, and how often clocks changed, by the clock on its wall.
    fn what_the_clocks_did(&self) -> (u64, u64) {
        let Some(night) = self.plan.night else { return (0, 0) };
        let at = |ms: u64| Timestamp::from_millisecond(ms.cast_signed()).map(|at| at.to_zoned(self.zone.clone()));
        let (Ok(before), Ok(after)) = (at(night.at_ms - 1), at(night.at_ms)) else { return (0, 0) };
        (u64::from(before.date() != after.date()), u64::from(before.offset() != after.offset()))
    }

    fn count_network(&mut self) {
        let counts = self.network.counts();
        let (midnights, changes) = self.what_the_clocks_did();
        let (appended, refused) = self.central.counts();
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        for (name, count) in [
            ("datagrams", counts.sent),
            ("lost", counts.lost),
            ("duplicated", counts.duplicated),
            ("reordered", counts.reordered),
            ("cut off", counts.cut),
            ("held back", counts.clogged),
            ("too long", counts.too_long),
            ("no UDP", counts.no_udp),
            ("connections over TCP", counts.connected),
            ("parts of streams", counts.segments),
            ("parts sent again", counts.sent_again),
            ("parts held back", counts.held),
            ("TCP broken off", counts.reset),
            ("TCP half open", counts.half_open),
            ("two servers", u64::from(self.servers.len() > 1)),
            ("two stores", u64::from(self.plan.homes.iter().any(|home| home.store > 0))),
            ("a day ended", midnights),
            ("clocks changed", changes),
            ("appended to central", appended),
            ("refused by central", refused),
            ("receipts whole", load(&self.printers.whole)),
            ("receipts broken", load(&self.printers.broken)),
            ("printer off", load(&self.printers.unreachable)),
            ("orders shown", self.oracle.orders().values().filter(|seen| seen.fate == oracle::Fate::Shown).count() as u64),
            ("orders unknown", self.oracle.orders().values().filter(|seen| seen.fate == oracle::Fate::Unknown).count() as u64),
            ("carts parked", self.oracle.open_order_counts().0),
            ("open orders taken up", self.oracle.open_order_counts().1),
            ("sales told of by the server", self.oracle.told_of()),
            ("orders gone with a disk", self.oracle.orders().values().filter(|seen| seen.is_gone).count() as u64),
        ] {
            *self.seen.entry(name).or_default() += count;
        }
    }
}

/// Where a region's server listens.
pub fn server_address(region: usize) -> SocketAddr {
    SocketAddr::from((server_ip(region), SERVER_PORT))
}

fn server_ip(region: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, region as u8 + 1)
}

/// The address of a till.
fn till_ip(till: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, till as u8 + 1)
}

/// The order, or the open order, that an entry is of.
fn order_of(bytes: &[u8]) -> Result<Option<[u8; 16]>> {
    Ok(match Entry::decode(bytes)?.body {
        Body::Record { kind, version, bytes } => match Record::decode(kind, version, &bytes)? {
            Some(Record::SaleCompleted(order) | Record::RefundGiven(order)) => Some(*order.id.as_bytes()),
            _ => None,
        },
        Body::Change { document, kind, .. } => (kind == DocumentKind::OpenOrder as u16).then_some(document),
    })
}
