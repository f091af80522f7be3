//! Many worlds: each twice, to see that it is the same both times; and what is left of one that fails when everything that does not matter is taken out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::net::Weather;
use crate::world::plan::{Plan, Trouble};
use crate::world::{self, Outcome};

/// Runs that shrinking may take.
const SHRINK_RUNS_MAX: u32 = 300;

/// Worlds of seeds in a row.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// How long it may take; no new world begins after that.
    pub at_most: Option<Duration>,
}

/// What came of a sweep.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Worlds that kept every promise.
    pub passed: u64,
    /// Worlds that did not.
    pub failed: u64,
    /// Worlds that were the same in two runs.
    pub same: u64,
    /// What happened, by name.
    pub seen: BTreeMap<&'static str, u64>,
    /// The failures, in words.
    pub failures: Vec<String>,
    /// How long all worlds lasted, in milliseconds of their time.
    pub virtual_ms: u64,
    /// How long that took.
    pub took: Duration,
}

impl Sweep {
    /// Runs every world twice, as many at once as there are processors. `failed` hears of each failure as it comes.
    pub fn run(self, failed: impl Fn(&str) + Sync) -> Found {
        let (began, next) = (Instant::now(), AtomicU64::new(self.from));
        let found = Mutex::new(Found::default());
        let work = || {
            while self.at_most.is_none_or(|most| began.elapsed() < most) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.from + self.seeds {
                    return;
                }
                let plan = Plan::of(seed);
                let (outcome, again) = (world::run(&plan, false), world::run(&plan, false));
                let mut found = found.lock().expect("counting does not panic");
                if let Some(failure) = found.add(&plan, &outcome, &again) {
                    failed(&failure);
                    found.failures.push(failure);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
                scope.spawn(work);
            }
        });
        let mut found = found.into_inner().expect("counting does not panic");
        found.took = began.elapsed();
        found
    }
}

impl Found {
    fn add(&mut self, plan: &Plan, outcome: &Outcome, again: &Outcome) -> Option<String> {
        for (what, count) in &outcome.seen {
            *self.seen.entry(what).or_default() += count;
        }
        self.virtual_ms += outcome.lasted_ms;
        let same = (&outcome.digest, outcome.lines) == (&again.digest, again.lines);
        self.same += u64::from(same);
        let replay = format!("replay with `make sim SEED={}`", plan.seed);
        let failure = match &outcome.broken {
            Some(why) => Some(format!("seed {} failed: {why}\n  {replay}", plan.seed)),
            None if !same => Some(format!("seed {} was another world the second time\n  {replay}", plan.seed)),
            None => None,
        };
        if failure.is_some() {
            self.failed += 1
        } else {
            self.passed += 1
        }
        failure
    }

    /// What a plan can bring, and never brought in any of these worlds.
    pub fn never_fired(&self) -> Vec<&'static str> {
        let network = ["lost", "duplicated", "reordered", "cut off", "held back", "too long", "no UDP", "refused by central"];
        let streams = ["connections over TCP", "parts sent again", "parts held back", "TCP broken off", "TCP half open"];
        let kinds = ["two servers", "two stores", "a day ended", "clocks changed", "over TCP, then QUIC again"];
        let paper = ["receipts whole", "receipts broken", "printer off", "program behind, brought up to date"];
        let all = Trouble::NAMES.iter().chain(&network).chain(&streams).chain(&kinds).chain(&paper);
        all.copied().filter(|name| self.seen.get(name).is_none_or(|count| *count == 0)).collect()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, same, virtual_ms, took, .. } = self;
        let hours = *virtual_ms as f64 / 3_600_000.0;
        write!(
            f,
            "{passed} passed, {failed} failed; the same twice: {same} of {}; {hours:.1} hours of their time in {:.0} s",
            passed + failed,
            took.as_secs_f64()
        )
    }
}

/// Takes out of a plan what it fails without, and answers what is left and how it fails.
pub fn shrink(plan: Plan, why: String) -> (Plan, String) {
    let (mut least, mut why, mut runs) = (plan, why, 0);
    let mut still_fails = |plan: &Plan, why: &mut String| {
        runs += 1;
        let broken = if runs > SHRINK_RUNS_MAX { None } else { world::run(plan, false).broken };
        let fails = broken.is_some();
        if let Some(broken) = broken {
            *why = broken;
        }
        fails
    };
    let simpler = |change: fn(&mut Plan)| {
        move |plan: &Plan| {
            let mut plan = plan.clone();
            change(&mut plan);
            plan
        }
    };
    let calm = simpler(|plan| plan.weather = Weather::FAIR);
    let paper = simpler(|plan| plan.printer_faults = 0);
    let day = simpler(|plan| plan.night = None);
    let datagrams = simpler(|plan| plan.tcp = false);
    let up_to_date = simpler(|plan| plan.behind.clear());
    for simpler in [calm, paper, day, datagrams, up_to_date] {
        let candidate = simpler(&least);
        if candidate != least && still_fails(&candidate, &mut why) {
            least = candidate;
        }
    }
    // Halves first, then ever smaller pieces.
    let mut piece = least.events.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < least.events.len() {
            let mut candidate = least.clone();
            candidate.events.drain(at..(at + piece).min(least.events.len()));
            if still_fails(&candidate, &mut why) {
                least = candidate;
            } else {
                at += piece;
            }
        }
        if piece == 1 {
            return (least, why);
        }
        piece = piece.div_ceil(2);
    }
}

/// Prints what happened and how often.
pub fn print_seen(seen: &BTreeMap<&'static str, u64>) {
    for (what, count) in seen {
        println!("  {what:<28} {count}");
    }
}
