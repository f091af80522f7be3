//! Replays a file of real invoices through two tills while the world falls apart around them, and compares what everyone holds
//! in the end with the file, to the last digit.
//!
//! [`read_plan`] turns the file into what each till will do, [`replay`] does it with the real programs, and the [`Outcome`]
//! says whether all agree. `docs/reconcile.md` explains how real life maps to records, and why.
//!
//! | module | holds |
//! |---|---|
//! | [`invoices`] | the file, row by row |
//! | [`catalogue`] | the products that it implies |
//! | [`plan`] | which row becomes which record, at which till |
//! | [`script`] | shifts, invoices and misfortunes, in order |
//! | [`clerk`] | someone at a till who enters a script and looks at every answer |
//! | [`world`] | the running programs, and the misfortunes |
//! | [`settle`] | waiting until nobody has anything left to say |
//! | [`central`] | what the central database holds |
//! | [`sums`], [`table`] | what is compared, and the printed table |
//! | [`meter`] | progress, and where the time goes |
//!
//! The file's sums are computed here, with nothing of the code under test.

pub mod catalogue;
pub mod central;
pub mod clerk;
pub mod invoices;
pub mod meter;
pub mod plan;
pub mod script;
pub mod settle;
pub mod sums;
pub mod table;
pub mod world;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use central::Central;
use meter::Meter;
use plan::{Plan, Share};
use script::Fault;
use table::Table;
use world::{TillMeter, World};

/// How a replay is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// A new folder for all data and logs, which stays; a temporary one otherwise.
    pub keep: Option<PathBuf>,
    /// How long nothing at all may move while everyone catches up, before that is called a failure.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep: None, patience: Duration::from_secs(120) }
    }
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// Who holds what.
    pub table: Table,
    /// What is wrong beside the figures of the table, in sentences.
    pub flaws: Vec<String>,
    /// Where the time went, in lines.
    pub timing: Vec<String>,
}

impl Outcome {
    /// Whether everyone holds what the file holds, and nothing else is wrong.
    pub fn agrees(&self) -> bool {
        self.table.agrees() && self.flaws.is_empty()
    }
}

/// Reads a file and plans its replay.
///
/// # Errors
/// When the file is not of the expected shape; the error names the row.
pub fn read_plan(file: &Path) -> Result<Plan> {
    let invoices = invoices::read_file(file).with_context(|| format!("cannot take {}", file.display()))?;
    Ok(plan::plan(&invoices))
}

/// Replays a plan with the real programs. `tell` gets a sentence now and then.
///
/// # Errors
/// When a program does not start, a till refuses or shows a wrong figure, or nothing moves for too long.
/// Figures that merely differ in the end are no error but an outcome.
pub fn replay(plan: &Plan, options: &Options, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome> {
    let mut meter = Meter::start(plan);
    let world = World::start(plan, options.keep.as_deref(), tell)?;
    meter.phase("setting up");
    let world = enter(plan, world, &meter, tell)?;
    meter.phase("entering");
    tell("All invoices are entered. Waiting until everyone has seen everything.");
    settle::wait(plan, &world, options.patience, tell)?;
    meter.phase("catching up");
    compare(plan, &world, &mut meter)
}

/// Both tills work their scripts at the same time.
fn enter(plan: &Plan, world: World, meter: &Meter, tell: &(dyn Fn(&str) + Sync)) -> Result<World> {
    let clients = world.clients();
    let world = Mutex::new(world);
    let failed = AtomicBool::new(false);
    let finished = AtomicBool::new(false);
    let work = |till: usize| -> Result<()> {
        let steps = script::script(plan, till);
        let mut counter = TillMeter::new(&clients[till], meter);
        let misfortune = |fault: Fault| {
            let mut world = world.lock().map_err(|_| anyhow!(OTHER_FAILED))?;
            tell(&world.meet(fault, meter.invoices(till))?);
            Ok(())
        };
        let done = |lines: u64| {
            ensure!(!failed.load(Ordering::SeqCst), OTHER_FAILED);
            meter.entered(till, lines);
            crate::stack::interrupt::check()
        };
        let result = clerk::work(&mut counter, &plan.catalogue, &steps, misfortune, done);
        if result.is_err() {
            failed.store(true, Ordering::SeqCst);
        }
        result.with_context(|| format!("at till {}", till + 1))
    };
    let results = std::thread::scope(|scope| {
        scope.spawn(|| meter.report_until(&finished, tell));
        let work = &work;
        let clerks: Vec<_> = (0..plan::TILLS).map(|till| scope.spawn(move || work(till))).collect();
        let joined = |clerk: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            clerk.join().unwrap_or_else(|_| Err(anyhow!("a clerk panicked")))
        };
        let results = clerks.into_iter().map(joined).collect();
        finished.store(true, Ordering::SeqCst);
        results
    });
    first_cause(results)?;
    world.into_inner().map_err(|_| anyhow!("a clerk panicked"))
}

/// Why a clerk stopped whose own till did nothing wrong.
const OTHER_FAILED: &str = "the other till failed";

/// Of two failures, the one that made the other till stop.
fn first_cause(results: Vec<Result<()>>) -> Result<()> {
    let mut errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(|e| e.root_cause().to_string() == OTHER_FAILED);
    errors.into_iter().next().map_or(Ok(()), Err)
}

fn compare(plan: &Plan, world: &World, meter: &mut Meter) -> Result<Outcome> {
    let whole = plan.whole();
    let mut table = Table::default();
    table.push("file", whole.sums, Some(whole.orders), whole);
    let ledgers = world.ledgers()?;
    for (till, ledger) in ledgers.iter().enumerate() {
        table.push(format!("till {}", till + 1), ledger.of(&world::till_name(till))?, None, plan.shares[till]);
    }
    for (till, ledger) in ledgers.iter().enumerate() {
        table.push(format!("whole store, at till {}", till + 1), ledger.whole()?, Some(ledger.orders), whole);
    }
    let central = Central::connect(&world.central_url())?;
    let shares = central.shares()?;
    let mut all = Share::default();
    for share in shares.values() {
        all.sums += share.sums;
        all.orders += share.orders;
    }
    table.push("central", all.sums, Some(all.orders), whole);
    for (till, expected) in plan.shares.into_iter().enumerate() {
        let share = shares.get(&world::till_name(till)).copied().unwrap_or_default();
        table.push(format!("central, of till {}", till + 1), share.sums, Some(share.orders), expected);
    }

    let mut flaws = central.flaws()?;
    flaws.extend(world.days_that_differ(plan)?);
    meter.phase("comparing");
    Ok(Outcome { table, flaws, timing: meter.lines() })
}

/// A folder that is to be kept must be new, or the tills would sell the same invoices a second time into the same store.
fn refuse_used(folder: &Path) -> Result<()> {
    let is_used = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        bail!("{} is not empty: give --keep a new folder", folder.display());
    }
    Ok(())
}
