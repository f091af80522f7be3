//! A selling day whose power goes at every single call to the disk.
//!
//! One day is recorded; each of its calls is a cut, each cut is found again under several seeds, and every time the judge looks at what is
//! there and one more sale is made. `EVERTILL_CUT=812 EVERTILL_SEED=3` in the environment replays one cut of the one sweep that is run.

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use journal::Hash;
use node::api::ApiErrorCode;
use simulation::crash_vfs::{Call, Disk, Moment, Tear};
use simulation::day::{Fact, Step, Testimony, Witness, selling_day};
use simulation::judge::{Log, UnderWay, Verdict, judge_log, judge_screen};
use simulation::rig::{Device, Folder, OpenTill};
use simulation::shop::{MORNING_MS, Shop};

const SALES: usize = 30;
const SEEDS: u64 = 4;
const EVENING_MS: u64 = MORNING_MS + 12 * 3_600_000;

/// A moment at which the power may go.
struct Cut {
    moment: Moment,
    /// What lay in the device's folder then.
    device: Device,
    /// How much the witness had noted.
    notes: usize,
}

/// A day, watched.
struct Day {
    shop: Shop,
    /// The device's folder before the day.
    morning: Device,
    cuts: Vec<Cut>,
    witness: Witness,
}

/// Whether the day or the hour before it is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watched {
    SettingUp,
    Selling,
}

fn record(watched: Watched, steps: &[Step], before: impl FnOnce(&OpenTill)) -> Result<Day> {
    let shop = Shop::new(1);
    let folder = Arc::new(Folder::enrolled(&shop, 1)?);
    let (disk, witness) = (Disk::new(), Witness::default());
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let watch = || {
        let (folder, witness, cuts) = (Arc::clone(&folder), witness.clone(), Arc::clone(&cuts));
        let mut last = Device::default();
        disk.watch(move |moment| {
            last = folder.device(&last);
            let cut = Cut { moment, device: last.clone(), notes: witness.len() };
            cuts.lock().expect("recording does not panic").push(cut);
        });
    };
    if watched == Watched::SettingUp {
        watch();
    }
    let mut open = OpenTill::open(1, &folder, &disk, MORNING_MS, 1)?;
    open.receive_founding(&shop)?;
    before(&open);
    let morning = folder.device(&Device::default());
    if watched == Watched::Selling {
        watch();
    }
    for &step in steps {
        step.perform(&shop, &mut open, &witness).with_context(|| format!("{step:?}"))?;
    }
    drop(open);
    disk.unwatch();
    let cuts = std::mem::take(&mut *cuts.lock().expect("recording does not panic"));
    Ok(Day { shop, morning, cuts, witness })
}

/// What the sweep counts.
#[derive(Default, Debug)]
struct Counts {
    by_tear: BTreeMap<Tear, u64>,
    by_call: BTreeMap<Call, u64>,
    under_way: BTreeMap<UnderWay, u64>,
    carts_kept: u64,
    carts_lost: u64,
}

/// Projections that were computed anew, by the log they were computed from: it need be done once a log.
type Rebuilt = Mutex<BTreeMap<Hash, String>>;

fn sweep(day: &Day, check: impl Fn(&Folder, &Cut, u64, &Mutex<Counts>) -> Result<()> + Sync) -> Counts {
    let asked = |name: &str| env::var(name).ok().map(|number| number.parse::<u64>().expect("a number"));
    let (only_cut, only_seed) = (asked("EVERTILL_CUT"), asked("EVERTILL_SEED"));
    let all: Vec<(&Cut, u64)> = day
        .cuts
        .iter()
        .filter(|cut| only_cut.is_none_or(|only| cut.moment.number == only))
        .flat_map(|cut| (0..SEEDS).map(move |seed| (cut, seed)))
        .filter(|(_, seed)| only_seed.is_none_or(|only| *seed == only))
        .collect();
    let (next, counts, failures) = (AtomicUsize::new(0), Mutex::new(Counts::default()), Mutex::new(Vec::new()));
    let work = || {
        let folder = Folder::new().expect("room for a folder");
        while let Some((cut, seed)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tear = Tear::of(*seed);
            match check(&folder, cut, *seed, &counts) {
                Ok(()) => {
                    let mut counts = counts.lock().expect("counting does not panic");
                    *counts.by_tear.entry(tear).or_default() += 1;
                    *counts.by_call.entry(cut.moment.call).or_default() += 1;
                }
                Err(why) => {
                    let replay = format!("EVERTILL_CUT={} EVERTILL_SEED={seed}", cut.moment.number);
                    let failure = format!("{}, seed {seed} ({tear:?}): {why:?}\n  replay with {replay}", cut.moment);
                    failures.lock().expect("noting does not panic").push(failure);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("noting does not panic");
    let first = failures.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(failures.is_empty(), "{} of {} cuts broke a promise:\n{first}", failures.len(), all.len());
    counts.into_inner().expect("counting does not panic")
}

/// The device's folder as a power cut may leave it: the high-water mark is not pushed to the disk each time.
fn device_after(day: &Day, cut: &Cut, seed: u64) -> Device {
    match Tear::of(seed) {
        Tear::Nothing => cut.device.with_high_water(&day.morning, <[u8]>::to_vec),
        Tear::Everything => cut.device.clone(),
        Tear::Writes => cut.device.with_high_water(&cut.device, |_| Vec::new()),
        Tear::Sectors => cut.device.with_high_water(&cut.device, |mark| mark[..mark.len() / 2].to_vec()),
    }
}

#[test]
fn power_goes_at_every_call_of_a_selling_day() {
    let began = Instant::now();
    let day = record(Watched::Selling, &selling_day(SALES), |_| {}).expect("a day without accidents");
    let recorded = began.elapsed();
    let rebuilt = Rebuilt::default();
    let counts = sweep(&day, |folder, cut, seed, counts| {
        let disk = cut.moment.after_power_cut(seed);
        folder.restore(&device_after(&day, cut, seed))?;
        let known = day.witness.testimony(cut.notes);
        let mut open = OpenTill::open(1, folder, &disk, EVENING_MS, cut.moment.number * SEEDS + seed)?;
        let series = open.view().till.series;
        ensure!(series == "S01-T01a", "a power cut made a new incarnation, {series}");
        let Verdict { log, under_way } = judge_log(&day.shop, &open, &known)?;
        let cart_kept = the_cart_was_shown_before(&open, &known, seed)?;
        // Of two seeds in a row, one looks back and one goes on, and the other way round with the next cut.
        if (cut.moment.number + seed).is_multiple_of(2) {
            projections_equal_a_rebuild(&day.shop, &mut open, &log, &rebuilt)?;
        } else {
            selling_goes_on(&day.shop, &mut open, &known, under_way, log.facts())?;
        }
        let mut counts = counts.lock().expect("counting does not panic");
        *counts.under_way.entry(under_way).or_default() += 1;
        counts.carts_kept += u64::from(cart_kept);
        counts.carts_lost += u64::from(!cart_kept);
        Ok(())
    });
    let facts = day.witness.now().facts.len();
    println!(
        "{} calls of {SALES} sales and {facts} facts (recorded in {recorded:.1?}), {SEEDS} seeds each, {:.1?} in all\n{counts:?}",
        day.cuts.len(),
        began.elapsed()
    );
    if env::var_os("EVERTILL_CUT").is_none() {
        assert!(counts.by_tear.len() == 4 && counts.by_call.contains_key(&Call::Sync) && counts.under_way.len() == 3);
        assert!(counts.carts_lost > 0, "no cut lost a line of a cart: the disk is too kind");
    }
}

/// The cart comes back as it was at some time, and without tearing as it was last.
fn the_cart_was_shown_before(open: &OpenTill, known: &Testimony, seed: u64) -> Result<bool> {
    let cart = open.view().cart;
    ensure!(known.paid().all(|paid| paid.order != cart.order), "a settled order is back in the cart");
    let last = known.carts.last().map_or(&[][..], |cart| &cart.lines);
    let is_last = cart.lines == last;
    if known.under_way.is_none() {
        let before = cart.lines.is_empty() || known.carts.iter().any(|shown| shown.lines == cart.lines);
        ensure!(before, "a cart that was never shown: {:?}", cart.lines);
        ensure!(is_last || Tear::of(seed) != Tear::Everything, "the cart was {last:?} and is {:?}", cart.lines);
    }
    Ok(is_last)
}

fn projections_equal_a_rebuild(shop: &Shop, open: &mut OpenTill, log: &Log, rebuilt: &Rebuilt) -> Result<()> {
    let digest = open.till.own_chain().digest();
    let known = rebuilt.lock().expect("comparing does not panic").get(&digest).cloned();
    if known.is_none() {
        judge_screen(shop, open, log)?;
    }
    let found = open.projections()?;
    let anew = match known {
        Some(anew) => anew,
        None => {
            let anew = open.rebuilt_projections()?;
            judge_screen(shop, open, log).context("after a rebuild")?;
            rebuilt.lock().expect("comparing does not panic").insert(digest, anew.clone());
            anew
        }
    };
    ensure!(found == anew, "projections differ from a rebuild:\n{}", first_difference(&found, &anew));
    Ok(())
}

fn first_difference(found: &str, anew: &str) -> String {
    let pair = found.lines().zip(anew.lines()).find(|(a, b)| a != b);
    pair.map_or_else(|| "one is longer".to_owned(), |(a, b)| format!("found   {a}\nrebuilt {b}"))
}

/// What was under way is asked for again, then one more sale is made. Nothing happens twice, and nothing is left out.
fn selling_goes_on(shop: &Shop, open: &mut OpenTill, known: &Testimony, under_way: UnderWay, facts: Vec<Fact>) -> Result<()> {
    let witness = Witness::told(facts);
    Step::SignIn.perform(shop, open, &witness).context("signing in again")?;
    let asked = known.under_way.as_ref().and_then(|(command, fact)| Some((command, fact.as_ref()?)));
    if let Some((command, Fact::Settled(paid))) = asked {
        let answer = open.till.command(command.clone());
        let settled =
            Log::read(shop, open)?.facts().into_iter().filter(|f| matches!(f, Fact::Settled(p) if p.order == paid.order));
        let settled: Vec<_> = settled.collect();
        ensure!(settled.len() <= 1, "asking again settled it again");
        match (under_way, answer) {
            (UnderWay::Happened, Ok(_)) => {}
            (UnderWay::Lost, Ok(_)) => witness.note(simulation::day::Note::Done(settled.into_iter().next())),
            // A cart whose last lines were lost cannot be paid for as it was.
            (UnderWay::Lost, Err(error)) if refuses_an_older_cart(error.code) => {}
            (_, answer) => anyhow::bail!("asking again for what {under_way:?}: {answer:?}"),
        }
    }
    let view = open.view();
    if view.shift.is_none() {
        let left = view.cart.lines.len();
        for _ in 0..left {
            Step::Remove { line: 0 }.perform(shop, open, &witness)?;
        }
        Step::OpenShift { float_minor: 5_000 }.perform(shop, open, &witness).context("opening a shift")?;
    }
    Step::Scan { product: 4, milli: None }.perform(shop, open, &witness).context("scanning")?;
    Step::Settle { over_minor: 1 }.perform(shop, open, &witness).context("selling")?;
    judge_log(shop, open, &witness.now()).context("after selling on")?;
    Ok(())
}

fn refuses_an_older_cart(code: ApiErrorCode) -> bool {
    matches!(code, ApiErrorCode::StaleOrder | ApiErrorCode::CartEmpty | ApiErrorCode::TenderShort)
}

#[test]
fn power_goes_at_every_call_of_setting_up() {
    let steps = [Step::SignIn, Step::OpenShift { float_minor: 1 }];
    let day = record(Watched::SettingUp, &[], |_| {}).expect("a day without accidents");
    let counts = sweep(&day, |folder, cut, seed, _| {
        let disk = cut.moment.after_power_cut(seed);
        folder.restore(&device_after(&day, cut, seed))?;
        let mut open = OpenTill::open(1, folder, &disk, EVENING_MS, seed)?;
        open.receive_founding(&day.shop)?;
        let witness = Witness::default();
        for step in steps {
            step.perform(&day.shop, &mut open, &witness)?;
        }
        selling_goes_on(&day.shop, &mut open, &Testimony::default(), UnderWay::Nothing, witness.now().facts)
    });
    println!("{} calls of setting up, {SEEDS} seeds each: {counts:?}", day.cuts.len());
    assert!(day.cuts.len() > 20);
}

/// The judge must be able to find something.
#[test]
fn a_till_that_does_not_sync_is_found_out() {
    let weaken = |open: &OpenTill| {
        open.till.db().and_then(|db| Ok(db.execute_batch("PRAGMA synchronous = NORMAL")?)).expect("a pragma");
    };
    // Noting an acknowledgement sets how hard later commits are pushed.
    let steps: Vec<Step> = selling_day(3).into_iter().filter(|step| *step != Step::Acknowledge).collect();
    let day = record(Watched::Selling, &steps, weaken).expect("a day without accidents");
    let folder = Folder::new().expect("room for a folder");
    let is_found_out = |cut: &&Cut| {
        let disk = cut.moment.after_power_cut(0);
        folder.restore(&device_after(&day, cut, 0)).expect("a folder is restored");
        let found = OpenTill::open(1, &folder, &disk, EVENING_MS, 0);
        found.and_then(|open| judge_log(&day.shop, &open, &day.witness.testimony(cut.notes))).is_err()
    };
    let found_out = day.cuts.iter().filter(is_found_out).count();
    println!("{found_out} of {} cuts lost something that was shown", day.cuts.len());
    assert!(found_out > day.cuts.len() / 2);
}

/// Promise 2: a till restored from a backup neither continues a chain that others know further, nor prints a number twice.
#[test]
fn an_old_copy_of_the_disk_goes_on_under_a_new_incarnation() {
    let shop = Shop::new(1);
    let (folder, disk, witness) = (Folder::enrolled(&shop, 1).expect("room"), Disk::new(), Witness::default());
    let sell = |open: &mut OpenTill, witness: &Witness| -> Result<String> {
        Step::Scan { product: 1, milli: None }.perform(&shop, open, witness)?;
        Step::Settle { over_minor: 0 }.perform(&shop, open, witness)?;
        Ok(open.view().last_order.context("a settled order is shown")?.receipt)
    };
    let mut open = OpenTill::open(1, &folder, &disk, MORNING_MS, 1).expect("it opens");
    open.receive_founding(&shop).expect("the founding run");
    for step in [Step::SignIn, Step::OpenShift { float_minor: 0 }] {
        step.perform(&shop, &mut open, &witness).expect("a sound disk");
    }
    let before = sell(&mut open, &witness).expect("a sound disk");
    let backup = disk.copy();
    let after = sell(&mut open, &witness).expect("a sound disk");
    drop(open);

    let mut open = OpenTill::open(1, &folder, &backup, EVENING_MS, 2).expect("an old copy opens");
    let witness = Witness::default();
    Step::SignIn.perform(&shop, &mut open, &witness).expect("a sound disk");
    let restored = sell(&mut open, &witness).expect("a sound disk");
    judge_log_of_incarnation(&shop, &open, &witness.now()).expect("the new incarnation's own log");
    assert_eq!([before, after, restored], ["S01-T01a-000001", "S01-T01a-000002", "S01-T01b-000001"]);
    let listed: Vec<_> = open.orders().expect("orders").into_iter().map(|order| order.receipt).collect();
    assert_eq!(listed, ["S01-T01b-000001", "S01-T01a-000001"]);
}

/// The log alone: the papers of the incarnation before it are there too.
fn judge_log_of_incarnation(shop: &Shop, open: &OpenTill, known: &Testimony) -> Result<()> {
    let facts = Log::read(shop, open)?.facts();
    ensure!(facts == known.facts, "recorded {facts:?}, shown {:?}", known.facts);
    Ok(())
}
