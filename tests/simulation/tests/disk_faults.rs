//! A disk that is full or fails, at each call of each kind of action.
//!
//! "Not recorded" must mean that it is not there; "in doubt" must be settled by asking again; "done" must outlast a power cut, whatever
//! the disk said in between; and asking again never does a thing twice. `EVERTILL_CASE="Settle 3 ReadError"` replays one case: the
//! kind of action, the call, the kind of fault.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use node::api::{ApiError, ApiErrorCode};
use simulation::crash_vfs::{Disk, Fault, FaultKind};
use simulation::day::{Fact, Note, Step, Witness, selling_day};
use simulation::judge::{Log, judge, judge_log};
use simulation::rig::{Device, Folder, OpenTill};
use simulation::shop::{MORNING_MS, Shop};

/// More than any action makes.
const CALLS_MAX: u64 = 1_000;
const LATER_MS: u64 = MORNING_MS + 3_600_000;

const KINDS: [FaultKind; 7] = [
    FaultKind::DiskFull { calls: 1 },
    FaultKind::DiskFull { calls: 25 },
    FaultKind::Error { calls: 1 },
    FaultKind::Error { calls: 8 },
    FaultKind::SyncError { forgets: false },
    FaultKind::SyncError { forgets: true },
    FaultKind::ReadError,
];

/// The whole sentences, as docs/bad-input.md has them.
const NOT_RECORDED: &str = "the disk of this till is full or broken and nothing was recorded: make room or call for help";
const IN_DOUBT: &str = "the disk failed and it is not known yet whether this was recorded: try again, and the till looks it up";

/// A till just before an action.
struct Start {
    step: Step,
    disk: Disk,
    device: Device,
    facts: Vec<Fact>,
}

/// One start for each kind of action of a day.
fn starts(shop: &Shop) -> Result<Vec<Start>> {
    let (folder, disk, witness) = (Folder::enrolled(shop, 1)?, Disk::new(), Witness::default());
    let mut open = OpenTill::open(1, &folder, &disk, MORNING_MS, 1)?;
    open.receive_founding(shop)?;
    let (mut starts, mut seen) = (Vec::new(), BTreeMap::<String, usize>::new());
    for step in selling_day(10) {
        let times = seen.entry(word(step)).or_default();
        *times += 1;
        // The second time there is something to go wrong with; what a day does once, is taken the first time.
        if *times == 2 || (*times == 1 && selling_day(10).iter().filter(|other| word(**other) == word(step)).count() == 1) {
            let facts = witness.now().facts;
            starts.push(Start { step, disk: disk.copy(), device: folder.device(&Device::default()), facts });
        }
        step.perform(shop, &mut open, &witness).with_context(|| format!("{step:?}"))?;
    }
    Ok(starts)
}

fn word(step: Step) -> String {
    format!("{step:?}").split_whitespace().next().unwrap_or_default().to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Done,
    NotRecorded,
    InDoubt,
}

/// Does the action with a fault, and everything that must hold after it. Nothing when the action was over before the fault.
fn suffer(shop: &Shop, start: &Start, kind: FaultKind, call: u64, folders: &[Folder; 2]) -> Result<Option<Outcome>> {
    let [folder, found] = folders;
    let disk = start.disk.copy();
    folder.restore(&start.device)?;
    let mut open = OpenTill::open(1, folder, &disk, LATER_MS, call)?;
    let witness = Witness::told(start.facts.clone());
    if start.step != Step::SignIn {
        Step::SignIn.perform(shop, &mut open, &witness)?;
    }
    let before = open.view().cart;
    let request = start.step.request(shop, &open, &witness)?;
    let counted = if kind == FaultKind::ReadError { disk.reads() } else { disk.calls() };
    disk.plan(Fault { at: counted + call, kind });
    let answer = request.make(&mut open, &witness);
    disk.heal();
    if disk.fired() == 0 {
        answer.context("without a fault")?;
        return Ok(None);
    }
    let outcome = outcome_of(&answer)?;
    if outcome == Outcome::NotRecorded {
        witness.note(Note::Refused);
        let view = open.till.view().context("the screen stays blank")?;
        ensure!(view.cart.lines == before.lines, "what was not recorded changed the cart");
    }
    let known = witness.now();
    for seed in 0..2 {
        let cut = disk.after_power_cut(seed);
        found.restore(&folder.device(&Device::default()))?;
        let after = OpenTill::open(1, found, &cut, LATER_MS, call).context("after a power cut")?;
        judge_log(shop, &after, &known).with_context(|| format!("answered {outcome:?}, then the power went (seed {seed})"))?;
    }
    match outcome {
        Outcome::Done => {}
        Outcome::NotRecorded => start.step.perform(shop, &mut open, &witness).context("asking again")?,
        Outcome::InDoubt => ask_again(shop, &mut open, &witness)?,
    }
    judge(shop, &open, &witness.now()).with_context(|| format!("answered {outcome:?}, then asked again"))?;
    sell_one_more(shop, &mut open, &witness)?;
    let cut = disk.after_power_cut(0);
    found.restore(&folder.device(&Device::default()))?;
    let after = OpenTill::open(1, found, &cut, LATER_MS, call).context("in the end")?;
    judge(shop, &after, &witness.now()).context("in the end")?;
    Ok(Some(outcome))
}

fn outcome_of(answer: &Result<(), ApiError>) -> Result<Outcome> {
    match answer {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if error.code == ApiErrorCode::Storage && error.message == NOT_RECORDED => Ok(Outcome::NotRecorded),
        Err(error) if error.code == ApiErrorCode::InDoubt && error.message == IN_DOUBT => Ok(Outcome::InDoubt),
        Err(error) => bail!("a failing disk was answered with {error:?}"),
    }
}

/// The same command once more, as the answer says: the till looks up whether it was done.
fn ask_again(shop: &Shop, open: &mut OpenTill, witness: &Witness) -> Result<()> {
    let (command, asked) = witness.now().under_way.context("something was asked for")?;
    let known = witness.now().facts.len();
    let answer = open.till.command(command);
    let facts = Log::read(shop, open)?.facts();
    // Who signed in twice did just that.
    let most = if asked == Some(Fact::SignedIn) { 2 } else { 1 };
    ensure!(facts.len() <= known + most, "asking again did it twice: {:?}", &facts[known..]);
    ensure!(facts.len() > known || answer.is_err() || asked.is_none(), "asking again was answered, and nothing is there");
    witness.note(Note::Refused);
    for fact in &facts[known..] {
        witness.note(Note::Done(Some(fact.clone())));
    }
    Ok(())
}

fn sell_one_more(shop: &Shop, open: &mut OpenTill, witness: &Witness) -> Result<()> {
    if open.view().signed_in.is_none() {
        Step::SignIn.perform(shop, open, witness).context("signing in")?;
    }
    if open.view().shift.is_none() {
        Step::OpenShift { float_minor: 5_000 }.perform(shop, open, witness).context("opening a shift")?;
    }
    Step::Scan { product: 4, milli: None }.perform(shop, open, witness).context("scanning")?;
    Step::Settle { over_minor: 0 }.perform(shop, open, witness).context("selling on")?;
    judge_log(shop, open, &witness.now()).context("after selling on")?;
    Ok(())
}

/// Answers by fault, and what went wrong.
#[derive(Default)]
struct Found {
    counts: BTreeMap<String, BTreeMap<Outcome, u64>>,
    failures: Vec<String>,
}

/// One kind of fault at one call after the other of an action, until the action is over before it.
fn suffer_at_every_call(shop: &Shop, start: &Start, kind: FaultKind, only: Option<&str>, found: &Mutex<Found>) {
    let folders = [Folder::new().expect("room"), Folder::new().expect("room")];
    // A sync is hit by a fault planned for any call before it, so a few will do.
    let stride = if matches!(kind, FaultKind::SyncError { .. }) { 4 } else { 1 };
    for call in (0..CALLS_MAX).step_by(stride) {
        let case = format!("{} {call} {kind:?}", word(start.step));
        if only.is_some_and(|only| only != case) {
            continue;
        }
        let suffered = panic::catch_unwind(AssertUnwindSafe(|| suffer(shop, start, kind, call, &folders)));
        let mut found = found.lock().expect("noting does not panic");
        match suffered.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
            Ok(None) => return,
            Ok(Some(outcome)) => *found.counts.entry(format!("{kind:?}")).or_default().entry(outcome).or_default() += 1,
            Err(why) => found.failures.push(format!("{case}: {why:?}\n  replay with EVERTILL_CASE=\"{case}\"")),
        }
    }
}

#[test]
fn a_failing_disk_never_lies() {
    let shop = Shop::new(1);
    let only = env::var("EVERTILL_CASE").ok();
    let starts = starts(&shop).expect("a day without accidents");
    let work: Vec<_> = starts.iter().flat_map(|start| KINDS.map(|kind| (start, kind))).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                while let Some((start, kind)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    suffer_at_every_call(&shop, start, *kind, only.as_deref(), &found);
                }
            });
        }
    });
    let Found { counts, failures } = found.into_inner().expect("noting does not panic");
    println!("{} kinds of action: {counts:#?}", starts.len());
    assert!(failures.is_empty(), "{} cases broke a promise:\n{}", failures.len(), failures.join("\n\n"));
    if only.is_none() {
        assert_eq!(counts.len(), KINDS.len(), "every kind of fault fired");
        let outcomes: BTreeSet<_> = counts.values().flat_map(|by_outcome| by_outcome.keys()).collect();
        assert_eq!(outcomes.len(), 3, "a failing disk was answered with {outcomes:?} only");
    }
}

/// What can be read may never have reached the disk: however often it is asked for, it counts as done only once it has.
#[test]
fn a_disk_that_no_longer_syncs_is_not_believed() {
    let shop = Shop::new(1);
    let (folder, found) = (Folder::new().expect("room"), Folder::new().expect("room"));
    let mut doubted = 0;
    for start in starts(&shop).expect("a day without accidents") {
        let word = word(start.step);
        doubted += u64::from(doubt(&shop, &start, &folder, &found).with_context(|| word).expect("a promise"));
    }
    assert!(doubted >= 5, "only {doubted} kinds of action met the fault");
}

fn doubt(shop: &Shop, start: &Start, folder: &Folder, found: &Folder) -> Result<bool> {
    let disk = start.disk.copy();
    folder.restore(&start.device)?;
    let mut open = OpenTill::open(1, folder, &disk, LATER_MS, 1)?;
    let witness = Witness::told(start.facts.clone());
    if start.step != Step::SignIn {
        Step::SignIn.perform(shop, &mut open, &witness)?;
    }
    let request = start.step.request(shop, &open, &witness)?;
    disk.plan(Fault { at: disk.calls(), kind: FaultKind::NoSync });
    let answer = request.make(&mut open, &witness);
    if disk.fired() == 0 {
        answer.context("without a fault")?;
        return Ok(false);
    }
    // What nobody asked for is tried again by itself.
    let Some((command, _)) = witness.now().under_way else { return Ok(false) };
    if outcome_of(&answer)? == Outcome::NotRecorded {
        // A sign-in notes the try first.
        ensure!(start.step == Step::SignIn, "answered {answer:?}");
        return Ok(false);
    }
    ensure!(outcome_of(&answer)? == Outcome::InDoubt, "answered {answer:?}");
    for _ in 0..3 {
        let answer = open.till.command(command.clone()).map(drop);
        ensure!(outcome_of(&answer)? == Outcome::InDoubt, "asked again, answered {answer:?}");
    }
    disk.heal();
    ask_again(shop, &mut open, &witness)?;
    let cut = disk.after_power_cut(0);
    found.restore(&folder.device(&Device::default()))?;
    let after = OpenTill::open(1, found, &cut, LATER_MS, 1).context("after a power cut")?;
    judge(shop, &after, &witness.now()).context("once the disk syncs again")?;
    Ok(true)
}
