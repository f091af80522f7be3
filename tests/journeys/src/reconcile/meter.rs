//! How far a replay is, and where its time goes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Plan, TILLS};
use super::sums::readable;

/// How often progress is told.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How soon the end of the entering is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// Counts what both clerks do.
pub struct Meter {
    started: Instant,
    phase_started: Instant,
    phases: Vec<(&'static str, Duration)>,
    lines_planned: u64,
    lines: AtomicU64,
    invoices: [AtomicU64; TILLS],
    invoices_planned: [u64; TILLS],
    commands: Mutex<BTreeMap<String, Spent>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    count: u32,
    time: Duration,
    longest: Duration,
}

impl Meter {
    /// Begins with the first phase.
    pub fn start(plan: &Plan) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            phase_started: now,
            phases: Vec::new(),
            lines_planned: plan.whole().sums.lines,
            lines: AtomicU64::new(0),
            invoices: Default::default(),
            invoices_planned: [0, 1].map(|till: usize| plan.tills[till].len() as u64),
            commands: Mutex::default(),
        }
    }

    /// The phase up to now ends, and had this name.
    pub fn phase(&mut self, name: &'static str) {
        self.phases.push((name, self.phase_started.elapsed()));
        self.phase_started = Instant::now();
    }

    /// A till has entered an invoice with so many lines.
    pub fn entered(&self, till: usize, lines: u64) {
        self.invoices[till].fetch_add(1, Ordering::Relaxed);
        self.lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// How many invoices a till has entered.
    pub fn invoices(&self, till: usize) -> u64 {
        self.invoices[till].load(Ordering::Relaxed)
    }

    /// A command was answered after so long.
    pub fn command(&self, kind: &str, took: Duration) {
        let Ok(mut commands) = self.commands.lock() else { return };
        if !commands.contains_key(kind) {
            commands.insert(kind.to_owned(), Spent::default());
        }
        if let Some(spent) = commands.get_mut(kind) {
            spent.count += 1;
            spent.time += took;
            spent.longest = spent.longest.max(took);
        }
    }

    /// Tells the progress now and then until everything is entered.
    pub fn report_until(&self, finished: &AtomicBool, tell: &(dyn Fn(&str) + Sync)) {
        let mut next = Instant::now() + REPORT_EVERY;
        while !finished.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK);
            if Instant::now() >= next {
                tell(&self.progress(self.phase_started.elapsed()));
                next += REPORT_EVERY;
            }
        }
    }

    fn progress(&self, entering: Duration) -> String {
        let lines = self.lines.load(Ordering::Relaxed);
        let invoices: Vec<u64> = self.invoices.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        let per_second = |n: u64| n * 1000 / u64::try_from(entering.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = per_second(lines).max(1);
        let left = Duration::from_secs(self.lines_planned.saturating_sub(lines) / rate);
        format!(
            "{} % entered: invoices {} of {} at till 1, {} of {} at till 2; {} lines/s, {} invoices/s, about {} left",
            lines * 100 / self.lines_planned.max(1),
            invoices[0],
            self.invoices_planned[0],
            invoices[1],
            self.invoices_planned[1],
            per_second(lines),
            per_second(invoices.iter().sum()),
            clock(left),
        )
    }

    /// The phases, and the commands with their count, mean and longest time, both tills together.
    pub fn lines(&self) -> Vec<String> {
        let phases: Vec<_> = self.phases.iter().map(|(name, took)| format!("{name} {}", clock(*took))).collect();
        let mut lines = vec![format!("{}: {}", clock(self.started.elapsed()), phases.join(", "))];
        let Ok(commands) = self.commands.lock() else { return lines };
        let all = commands.values().fold(Duration::ZERO, |sum, spent| sum + spent.time);
        for (kind, spent) in commands.iter() {
            lines.push(format!(
                "{kind}: {} commands, {} µs each, the longest {} ms, {} % of the clerks' time",
                readable(spent.count.into(), 0),
                spent.time.as_micros() / u128::from(spent.count.max(1)),
                spent.longest.as_millis(),
                spent.time.as_micros() * 100 / all.as_micros().max(1),
            ));
        }
        lines
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{}.{} s", seconds, time.subsec_millis() / 100)
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{invoices, plan};

    #[test]
    fn progress_is_told_in_lines_invoices_and_time_left() {
        let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
            1,A,,1,2011-01-01 09:00:00,1.0,,UK\n1,A,,1,2011-01-01 09:00:00,1.0,,UK\n2,A,,1,2011-01-01 09:00:00,1.0,,UK\n\
            3,A,,1,2011-01-01 09:00:00,1.0,,UK\n";
        let plan = plan::plan(&invoices::read(text.as_bytes()).expect("rows"));
        let mut meter = Meter::start(&plan);
        meter.entered(0, 2);
        meter.command("add_line", Duration::from_micros(300));
        meter.command("add_line", Duration::from_micros(100));
        let told = meter.progress(Duration::from_secs(1));
        let expected = "50 % entered: invoices 1 of 2 at till 1, 0 of 1 at till 2; 2 lines/s, 1 invoices/s, about 1.0 s left";
        assert_eq!(told, expected);
        meter.phase("entering");
        let lines = meter.lines();
        assert_eq!(lines[1], "add_line: 2 commands, 200 µs each, the longest 0 ms, 100 % of the clerks' time");
    }

    #[test]
    fn time_is_read_as_people_say_it() {
        assert_eq!(clock(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(clock(Duration::from_secs(125)), "2 min 05 s");
    }
}
