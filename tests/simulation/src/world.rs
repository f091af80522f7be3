//! Tills, a regional server and a central store in one thread and virtual time, under everything that goes wrong.
//!
//! What runs is what ships: the node, its replication driver and print queue, the server's QUIC face, log and feed, quinn, rustls, tokio, SQLite and
//! SQLCipher. Four things are not the machine's: clocks and dice ([`clock`]), UDP ([`net`]), disks ([`crate::crash_vfs`]), and the two ends
//! that stand for other people's programs, the central store ([`central`]) and the printers ([`printer`]).
//!
//! A [`plan::Plan`] follows from a seed: how many tills, what weather, which accidents and when. The shop is open for a while, then everything
//! is mended, and within [`CONVERGE_MS`] every entry must be everywhere. Then [`verdict`] compares what people saw ([`oracle`]) with what
//! there is. The same seed gives the same [`trace`], to the microsecond and byte count.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::document::DocumentKind;
use domain::money::UnitPrice;
use domain::record::Record;
use jiff::tz::TimeZone;
use journal::{Body, Entry};
use node::api::Query;
use node::identity::Identity;
use node::store::StoreOptions;
use node::till::{Till, TillOptions};
use sync_proto::env::Env;
use sync_proto::session::VERSIONS;
use sync_server::region::{ProductPatch, Region};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Dice;
use crate::crash_vfs::FaultKind;
use crate::rig::{self, Folder};

pub mod cashier;
pub mod central;
pub mod clock;
pub mod founding;
pub mod held;
pub mod machine;
pub mod net;
pub mod oracle;
pub mod plan;
pub mod printer;
pub mod trace;
pub mod verdict;

use cashier::Cashier;
use central::Central;
use clock::MachineEnv;
use founding::Founding;
use machine::{Chassis, End, Image, Machine, ServerMachine, TillMachine};
use net::{Cut, Network, Weather};
use oracle::Oracle;
use plan::{Event, Place, Plan, Trouble};
use printer::{Printer, PrinterCounts};
use trace::Trace;

/// The server's address.
pub const SERVER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where the server listens.
pub const SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(SERVER_IP, 4_710));
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
    server: Arc<ServerMachine>,
    tills: Vec<Arc<TillMachine>>,
    printers: Arc<PrinterCounts>,
    seen: BTreeMap<&'static str, u64>,
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
                Ok(after_ms) => (world.judge().await.err(), Some(after_ms)),
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
        let chassis = Chassis::new(
            "the server".to_owned(),
            SERVER_IP,
            Arc::new(MachineEnv::new(began, plan.seed ^ 0x5E)),
            network.clone(),
            trace.clone(),
        );
        let server = Arc::new(ServerMachine::new(chassis, central.clone()));
        let dice = Dice::new(plan.seed ^ 0xD1CE);
        let mut world = Self {
            plan,
            began,
            trace,
            network,
            oracle,
            central,
            server,
            tills: Vec::new(),
            printers,
            seen: BTreeMap::new(),
            tasks,
            dice,
        };
        for number in 1..=world.plan.tills as u32 {
            let index = world.tills.len();
            let (chassis, printer) = world.parts(index);
            let till = TillMachine::enrolled(index, number, chassis, printer, world.neighbours()).expect("room for a folder");
            world.add(Arc::new(till));
        }
        world.watch(Machine::Server(world.server.clone()));
        world
    }

    fn add(&mut self, till: Arc<TillMachine>) {
        self.watch(Machine::Till(till.clone()));
        self.tills.push(till);
    }

    /// Where the tills of the shop are found by one another, if its network carries anything between them.
    fn neighbours(&self) -> BTreeSet<String> {
        let tills = if self.plan.lan { self.plan.tills } else { 0 };
        (0..tills).map(|till| SocketAddr::from((till_ip(till), LAN_PORT)).to_string()).collect()
    }

    fn parts(&self, index: usize) -> (Chassis, Printer) {
        let seed = self.plan.seed ^ ((index as u64 + 1) << 32);
        let env = Arc::new(MachineEnv::new(self.began, seed));
        let chassis = Chassis::new(format!("till {index}"), till_ip(index), env, self.network.clone(), self.trace.clone());
        let printer = Printer::new(index, self.oracle.clone(), self.printers.clone(), self.plan.printer_faults, seed ^ 0xFA);
        (chassis, printer)
    }

    /// The shop is open, and things go wrong.
    async fn day(&mut self) -> Result<()> {
        for (place, version) in self.plan.behind.clone() {
            self.machine(place).chassis().set_version(version);
        }
        self.machine(Place::Server).start().await;
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
            shop: Founding::of_process().shop.clone(),
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

    /// Answers whether there was anything to go wrong.
    async fn try_bring(&mut self, trouble: Trouble) -> Result<bool> {
        match trouble {
            Trouble::Partition { till, up_open, down_open, for_ms } => {
                let ip = till_ip(till);
                let ways = [(up_open, (ip, SERVER_IP)), (down_open, (SERVER_IP, ip))];
                let closed = ways.into_iter().filter(|(open, _)| !open).map(|(_, way)| way).collect();
                self.cut(closed, Cut::Closed, for_ms);
            }
            Trouble::Clog { till, for_ms } => {
                let ip = till_ip(till);
                self.cut(vec![(ip, SERVER_IP), (SERVER_IP, ip)], Cut::Clogged, for_ms);
            }
            Trouble::Narrow { till, for_ms } => {
                let ip = till_ip(till);
                self.cut(vec![(ip, SERVER_IP), (SERVER_IP, ip)], Cut::Narrow(1_280), for_ms);
            }
            Trouble::Apart { till, other, for_ms } => {
                let (one, two) = (till_ip(till), till_ip(other));
                self.cut(vec![(one, two), (two, one)], Cut::Closed, for_ms);
                return Ok(self.plan.lan && till != other);
            }
            Trouble::Rebind { till } => self.network.rebind(till_ip(till)),
            Trouble::Power { of, after_calls: 0, off_ms, seed } => {
                let machine = self.machine(of);
                machine.end(End::Power(seed)).await;
                self.start_later(machine, off_ms);
            }
            Trouble::Power { of, after_calls, off_ms, seed } => self.cut_power(self.machine(of), after_calls, off_ms, seed),
            Trouble::Kill { of, off_ms } => {
                let machine = self.machine(of);
                machine.end(End::Killed).await;
                self.start_later(machine, off_ms);
            }
            Trouble::Disk { of, kind, after_calls, for_ms } => self.fail_disk(&self.machine(of), kind, after_calls, for_ms),
            Trouble::BackUp { of: Place::Till(till) } => self.tills[till].back_up(),
            Trouble::BackUp { of: Place::Server } => self.server.back_up(),
            Trouble::Restore { of, whole_folder, off_ms } => return self.restore(of, whole_folder, off_ms).await,
            Trouble::Wipe { off_ms } => {
                self.server.end(End::Killed).await;
                let had = self.held()?;
                self.server.wipe();
                self.note_destroyed(had)?;
                self.start_later(self.machine(Place::Server), off_ms);
            }
            Trouble::Clone { till, for_ms } => return self.clone_till(till, for_ms),
            Trouble::CentralAway { for_ms } => {
                self.central.set_away(true);
                let central = self.central.clone();
                self.later(for_ms, move || central.set_away(false));
            }
            Trouble::CentralAnswerLost => self.central.lose_next_answer(),
            Trouble::CentralBackUp => self.central.back_up(),
            Trouble::CentralRestore => {
                let had = self.held()?;
                if !self.central.restore() {
                    return Ok(false);
                }
                self.note_destroyed(had)?;
            }
            Trouble::Clock { of, by_ms } => self.machine(of).chassis().env.jump(by_ms),
            Trouble::Flip { of, chance, off_ms } => return self.flip(of, chance, off_ms).await,
            Trouble::Drift { of, ppm } => self.machine(of).chassis().env.drift(ppm),
            Trouble::Reprice { product } => return self.reprice(product).await,
        }
        Ok(true)
    }

    fn machine(&self, of: Place) -> Machine {
        match of {
            Place::Till(till) => Machine::Till(self.tills[till].clone()),
            Place::Server => Machine::Server(self.server.clone()),
        }
    }

    /// Every machine, tills first.
    fn machines(&self) -> impl Iterator<Item = Machine> {
        let tills = self.tills.iter().cloned().map(Machine::Till);
        tills.chain([Machine::Server(self.server.clone())])
    }

    fn later(&mut self, after_ms: u64, what: impl FnOnce() + Send + 'static) {
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            what();
        });
    }

    fn cut(&mut self, ways: Vec<(Ipv4Addr, Ipv4Addr)>, cut: Cut, for_ms: u64) {
        for (from, to) in &ways {
            self.network.cut(*from, *to, cut);
        }
        let network = self.network.clone();
        self.later(for_ms, move || ways.iter().for_each(|(from, to)| network.mend(*from, *to)));
    }

    fn start_later(&mut self, machine: Machine, after_ms: u64) {
        self.tasks.spawn(async move { machine.start_after(after_ms).await });
    }

    /// The power goes at a call of the disk, whenever that comes, and some time after everything else of the machine is gone too.
    fn cut_power(&mut self, machine: Machine, after_calls: u64, off_ms: u64, seed: u64) {
        machine.plan_fault(after_calls, FaultKind::PowerCut);
        let death = machine.disk().death();
        self.tasks.spawn(async move {
            death.notified().await;
            machine.end(End::Power(seed)).await;
            machine.start_after(off_ms).await;
        });
    }

    fn fail_disk(&mut self, machine: &Machine, kind: FaultKind, after_calls: u64, for_ms: u64) {
        machine.plan_fault(after_calls, kind);
        let disk = machine.disk();
        self.later(for_ms, move || disk.heal());
    }

    async fn restore(&mut self, of: Place, whole_folder: bool, off_ms: u64) -> Result<bool> {
        let machine = self.machine(of);
        machine.end(End::Killed).await;
        let had = self.held()?;
        let restored = match of {
            Place::Till(till) => {
                let till = self.tills[till].clone();
                let restored = till.restore(whole_folder);
                if restored {
                    self.note_destroyed(had)?;
                    if whole_folder {
                        self.oracle.doubled(read_image(till.image(), QUEUED));
                    }
                }
                restored
            }
            Place::Server => {
                let restored = self.server.restore();
                if restored {
                    self.note_destroyed(had)?;
                }
                restored
            }
        };
        self.start_later(machine, off_ms);
        Ok(restored)
    }

    /// The copy has its own cashier for a while.
    fn clone_till(&mut self, till: usize, for_ms: u64) -> Result<bool> {
        let original = self.tills[till].clone();
        let index = self.tills.len();
        let (chassis, printer) = self.parts(index);
        let image = original.image();
        self.oracle.doubled(read_image(original.image(), QUEUED));
        let of = format!("machine {till}");
        let copy = TillMachine::of_image(index, original.number, of, chassis, printer, image, self.neighbours())?;
        let copy = Arc::new(copy);
        self.add(copy.clone());
        self.hire(&copy, Instant::now() + Duration::from_millis(for_ms));
        self.start_later(Machine::Till(copy), 0);
        Ok(true)
    }

    async fn reprice(&mut self, product: usize) -> Result<bool> {
        let Some(hub) = self.server.hub() else { return Ok(false) };
        let env = self.server.chassis.env.clone();
        let id = Founding::of_process().shop.products[product].code.clone();
        let price = UnitPrice(1_000 + self.dice.below(50_000) as i64);
        let edit = move |region: &mut Region| {
            let products = region.all_of(domain::document::DocumentKind::Product).ok()?;
            let product = products.into_iter().find_map(|state| match state.value {
                sync_proto::documents::DocumentValue::Product(product) if product.code == id => Some(product.id),
                _ => None,
            })?;
            let patch = ProductPatch { price: Some(price), ..ProductPatch::default() };
            region.edit_product(product, None, patch, None, &*env).ok()
        };
        Ok(hub.with(edit).await.ok().flatten().is_some())
    }

    /// Everything works again: the shop has closed, whoever looks after it has come.
    async fn mend(&mut self) {
        self.trace.note(format_args!("everything is mended"));
        self.network.set_weather(Weather::FAIR);
        // Ways are mended by their own repairs; those that are still cut are now.
        for till in &self.tills {
            self.network.mend(till.chassis.ip, SERVER_IP);
            self.network.mend(SERVER_IP, till.chassis.ip);
            for other in self.tills.iter() {
                self.network.mend(till.chassis.ip, other.chassis.ip);
            }
        }
        self.central.set_away(false);
        for machine in self.machines().collect::<Vec<_>>() {
            machine.chassis().env.set_right();
            machine.disk().heal();
            if self.plan.is_caught_up && machine.chassis().set_version(VERSIONS.1) < VERSIONS.1 {
                *self.seen.entry("program behind, brought up to date").or_default() += 1;
                machine.end(End::Killed).await;
                machine.start().await;
            }
        }
    }

    /// Waits until every entry is everywhere.
    async fn converge(&mut self) -> Result<u64> {
        let mended = Instant::now();
        let mut why = String::new();
        while mended.elapsed() < Duration::from_millis(CONVERGE_MS) {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.missing().await {
                None => return Ok(mended.elapsed().as_millis() as u64),
                Some(missing) => why = missing,
            }
        }
        let lacking = self.lacking().await.unwrap_or_default();
        anyhow::bail!("not everything is everywhere after {CONVERGE_MS} ms: {why}{lacking}")
    }

    /// Which entries only central has, and which only a till has, for whoever looks into a failure.
    async fn lacking(&self) -> Option<String> {
        let rows = self.central.rows();
        let at_central: BTreeSet<_> = rows.iter().map(|row| row.hash).collect();
        let mut out = String::new();
        for till in self.tills.iter() {
            let Some(node) = till.node() else { continue };
            let look = |till: &mut Till| -> Option<BTreeMap<[u8; 32], String>> {
                let sql = "SELECT e.hash, hex(o.device) || ' ' || hex(o.incarnation) || ', commit ' || e.commit_no
                           FROM entry e JOIN origin o ON o.id = e.origin";
                let mut select = till.db().ok()?.prepare(sql).ok()?;
                let entries = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
                entries.collect::<Result<_, _>>().ok()
            };
            let here = node.with(look).await.ok()??;
            let commit = node.with(|till| till.own_chain().commit).await.ok()?;
            out += &format!("\n  till {} at commit {commit}", till.index);
            let look = |till: &mut Till| -> Option<Vec<String>> {
                let sql = "SELECT hex(o.incarnation) || ' is line ' || coalesce(l.parent || ' after ' || l.after_commit, 'first') || ', row ' || o.id
                               || ', up to ' || max(e.commit_no) || ', acks ' || coalesce(a.regional || ' ' || a.central, 'none')
                           FROM origin o JOIN entry e ON e.origin = o.id LEFT JOIN line l ON l.origin = o.id LEFT JOIN ack a ON a.origin = o.id
                           WHERE o.device = ? GROUP BY o.id";
                let own = *till.identity().device().as_bytes();
                let mut select = till.db().ok()?.prepare(sql).ok()?;
                let lines = select.query_map([own], |row| row.get(0)).ok()?;
                lines.collect::<Result<_, _>>().ok()
            };
            out += &format!("\n    {}", node.with(look).await.ok()??.join("\n    "));
            for row in rows.iter().filter(|row| !here.contains_key(&row.hash)).take(8) {
                let (device, incarnation) = (uuid::Uuid::from_bytes(row.device), uuid::Uuid::from_bytes(row.incarnation));
                let (at, commit) = (row.region_seq, row.commit);
                out += &format!("\n  till {} lacks {device} {incarnation}, commit {commit}, place {at}", till.index);
            }
            for (_, of) in here.iter().filter(|(hash, _)| !at_central.contains(*hash)).take(8) {
                out += &format!("\n  only till {} has {of}", till.index);
            }
        }
        Some(out)
    }

    /// What is not everywhere yet, in a sentence.
    async fn missing(&self) -> Option<String> {
        let Some(hub) = self.server.hub() else { return Some("the server does not run".to_owned()) };
        let in_region = hub.grown().get();
        drop(hub);
        let in_central = self.central.rows().len() as u64;
        if in_central != in_region {
            return Some(format!("central has {in_central} entries, the region {in_region}"));
        }
        for till in self.tills.iter() {
            let Some(node) = till.node() else { return Some(format!("till {} does not run", till.index)) };
            // Somebody looks at the screen.
            let shown = node.query(Query::Till {}).await;
            let look = |till: &mut Till| {
                let link = till.view().map(|view| view.link);
                let entries = till.db().ok().and_then(|db| db.query_row("SELECT count(*) FROM entry", [], |r| r.get(0)).ok());
                (link, entries)
            };
            let (Ok(link), Some(entries)) = node.with(look).await.ok()? else {
                return Some(format!("till {} does not answer: {:?}", till.index, shown.err()));
            };
            let entries: u64 = entries;
            if entries != in_central || link.unsent > 0 || link.not_central > 0 {
                let at = till.index;
                return Some(format!("till {at} has {entries} entries of {in_central}, its link is {link:?}"));
            }
        }
        None
    }

    async fn judge(&mut self) -> Result<()> {
        let shop = &Founding::of_process().shop;
        let log = verdict::CentralLog::read(self.central.rows())?;
        verdict::nothing_shown_is_lost(&log, &self.oracle.orders()).context("I1")?;
        verdict::nothing_parked_is_lost(&log, &self.oracle.parked_orders()).context("I1")?;
        verdict::chains_hold(&log).context("I3")?;
        verdict::nobody_wrote_elsewhere(shop, &log).context("I8")?;
        verdict::paper_is_honest(&self.oracle.papers()).context("I10")?;
        let mut agreed: Option<String> = None;
        for till in self.tills.iter() {
            let node = till.node().with_context(|| format!("till {} does not run", till.index))?;
            let look = |till: &mut Till| {
                let looked = (|| {
                    let found = rig::agreed(till)?;
                    till.rebuild()?;
                    Ok::<_, anyhow::Error>((found, rig::agreed(till)?))
                })();
                if looked.is_err() {
                    let _ = till.examine();
                }
                looked
            };
            let (found, rebuilt) = node.with(look).await??;
            ensure!(
                found == rebuilt,
                "I5: till {} shows something else after a rebuild: {}",
                till.index,
                difference(&found, &rebuilt)
            );
            let first = agreed.get_or_insert_with(|| found.clone());
            ensure!(*first == found, "I5: tills do not agree: {}", difference(first, &found));
            let stock = {
                let (shop, log) = (shop.clone(), verdict::CentralLog::read(self.central.rows())?);
                node.with(move |till| verdict::stock_is_a_fold(&shop, &log, till)).await?
            };
            stock.context("I6")?;
            let unread = node.with(verdict::everything_is_read).await?;
            unread.with_context(|| format!("till {}", till.index))?;
        }
        Ok(())
    }

    /// Flips a bit of a machine's disk. Answers whether there was one.
    async fn flip(&mut self, of: Place, chance: u64, off_ms: Option<u64>) -> Result<bool> {
        let machine = self.machine(of);
        if off_ms.is_some() {
            machine.end(End::Killed).await;
        }
        let had = self.held()?;
        // What a program that runs has in its write-ahead log it would have to lose with all that it writes after it.
        let flipped = machine.disk().flip(chance, off_ms.is_some());
        self.trace.note(format_args!("a bit is flipped: {flipped:?}"));
        self.note_destroyed(had)?;
        if let (Place::Till(till), Some(_), None) = (of, &flipped, off_ms) {
            self.tills[till].break_page();
        }
        if let (Place::Till(till), Some((file, _))) = (of, &flipped)
            && file.ends_with("-wal")
        {
            // What is behind the bit is gone, and with it what the printer has been sent.
            self.oracle.doubled(read_image(self.tills[till].image(), QUEUED));
        }
        if let Some(off_ms) = off_ms {
            self.start_later(machine, off_ms);
        }
        Ok(flipped.is_some())
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

    /// Orders that were on a medium and are now on none.
    fn note_destroyed(&mut self, had: BTreeSet<[u8; 16]>) -> Result<()> {
        let held = self.held()?;
        let gone: Vec<[u8; 16]> = had.difference(&held).copied().collect();
        self.trace.note(format_args!("{} orders are gone with a disk", gone.len()));
        self.oracle.destroyed(gone);
        Ok(())
    }

    /// The orders that some medium still has.
    fn held(&self) -> Result<BTreeSet<[u8; 16]>> {
        let mut rows: Vec<held::HeldRow> = self.central.rows().into_iter().map(held::HeldRow::from).collect();
        // What the server has synced: a commit that failed may still be readable, and was never acknowledged.
        rows.extend(held::of_server(&self.server.disk().after_power_cut(0)));
        rows.extend(self.tills.iter().flat_map(|till| held::of_till(&till.image())));
        held::orders(&rows)
    }

    fn count_network(&mut self) {
        let counts = self.network.counts();
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
            ("appended to central", appended),
            ("refused by central", refused),
            ("receipts whole", load(&self.printers.whole)),
            ("receipts broken", load(&self.printers.broken)),
            ("printer off", load(&self.printers.unreachable)),
            ("orders shown", self.oracle.orders().values().filter(|seen| seen.fate == oracle::Fate::Shown).count() as u64),
            ("orders unknown", self.oracle.orders().values().filter(|seen| seen.fate == oracle::Fate::Unknown).count() as u64),
            ("carts parked", self.oracle.open_order_counts().0),
            ("open orders taken up", self.oracle.open_order_counts().1),
            ("orders gone with a disk", self.oracle.orders().values().filter(|seen| seen.is_gone).count() as u64),
        ] {
            *self.seen.entry(name).or_default() += count;
        }
    }
}

/// The address of a till.
fn till_ip(till: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, till as u8 + 1)
}

/// One column of 16 bytes, from a copy of what is on a till; nothing where that cannot be read.
fn read_image(image: Image, sql: &str) -> Vec<[u8; 16]> {
    try_read_image(image, sql).unwrap_or_default()
}

fn try_read_image(image: Image, sql: &str) -> Result<Vec<[u8; 16]>> {
    let Image { disk, device } = image;
    let folder = Folder::new()?;
    folder.restore(&device)?;
    let options = TillOptions {
        store: StoreOptions { vfs: Some(disk.vfs().to_owned()), exclusive: true, files: disk.files(), ..StoreOptions::default() },
        printing: false,
        time_zone: TimeZone::UTC,
        machine: None,
    };
    let env: Arc<dyn Env> = Arc::new(crate::shop::SimEnv::new(crate::shop::MORNING_MS, 1));
    let till = Till::open(Identity::load(folder.path())?, env, options)?;
    let mut select = till.db()?.prepare(sql)?;
    let ids = select.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Print jobs that may still come out. What was being printed when the copy was made is uncertain in it, and not printed by itself.
const QUEUED: &str = "SELECT id FROM print_job WHERE state = 'queued'";

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

fn difference(a: &str, b: &str) -> String {
    let (of_a, of_b): (BTreeSet<_>, BTreeSet<_>) = (a.lines().collect(), b.lines().collect());
    let only =
        |one: &BTreeSet<&str>, other: &BTreeSet<&str>| one.difference(other).take(3).map(|s| (*s).to_owned()).collect::<Vec<_>>();
    format!("only in the first {:#?}, only in the second {:#?}", only(&of_a, &of_b), only(&of_b, &of_a))
}
