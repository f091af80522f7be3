//! A receipt printer whose faults come from dice, and which shows the observer what came out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hardware::error::IoFault;
use hardware::printer::AckKind;
use hardware::profile::{self, Profile};
use hardware::{Fault, KickOutcome, Outcome, ReceiptPrinter, RenderedJob, Status};

use super::oracle::{Oracle, Paper};
use crate::Dice;

/// How long a receipt takes.
const PRINTS_FOR: Duration = Duration::from_millis(700);

/// What happened to receipts, over all printers of a world.
#[derive(Debug, Default)]
pub struct PrinterCounts {
    /// Whole receipts.
    pub whole: AtomicU64,
    /// Receipts that broke off, or whose confirmation got lost.
    pub broken: AtomicU64,
    /// Attempts at a printer that was off.
    pub unreachable: AtomicU64,
}

/// The printer beside a till. It stands there whatever happens to the till.
#[derive(Debug, Clone)]
pub struct Printer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    machine: usize,
    oracle: Oracle,
    counts: Arc<PrinterCounts>,
    dice: Mutex<Dice>,
    /// Of 1,000 receipts, how many go wrong in one way or another.
    faults: u64,
}

impl Printer {
    /// The printer of a machine. Of 1,000 receipts so many go wrong.
    pub fn new(machine: usize, oracle: Oracle, counts: Arc<PrinterCounts>, faults: u64, seed: u64) -> Self {
        Self { shared: Arc::new(Shared { machine, oracle, counts, dice: Mutex::new(Dice::new(seed)), faults }) }
    }

    fn throw(&self, bound: u64) -> u64 {
        self.shared.dice.lock().unwrap_or_else(PoisonError::into_inner).below(bound)
    }

    fn came_out(&self, job: &RenderedJob, whole: bool) {
        let count = if whole { &self.shared.counts.whole } else { &self.shared.counts.broken };
        count.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&job.bytes);
        let receipt = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).find(|word| is_receipt_number(word));
        self.shared.oracle.printed(Paper {
            machine: self.shared.machine,
            job: *job.job.as_bytes(),
            whole,
            says_copy: text.contains("COPY"),
            receipt: receipt.unwrap_or_default().to_owned(),
            at: date_and_time(&text).unwrap_or_default(),
        });
    }
}

/// The first `YYYY-MM-DD HH:MM` of a receipt.
fn date_and_time(text: &str) -> Option<String> {
    const LIKE: &[u8] = b"dddd-dd-dd dd:dd";
    let fits = |found: &&[u8]| found.iter().zip(LIKE).all(|(c, like)| if *like == b'd' { c.is_ascii_digit() } else { c == like });
    let found = text.as_bytes().windows(LIKE.len()).find(fits)?;
    String::from_utf8(found.to_vec()).ok()
}

fn is_receipt_number(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').collect();
    parts.len() == 3 && parts[0].starts_with('S') && parts[1].starts_with('T') && parts[2].len() >= 6
}

impl ReceiptPrinter for Printer {
    fn profile(&self) -> &'static Profile {
        profile::find("epson-80").expect("a profile that is built in")
    }

    async fn status(&mut self) -> Status {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Status::Online
    }

    async fn deliver(&mut self, job: &RenderedJob) -> Outcome {
        let goes_wrong = self.throw(1_000) < self.shared.faults;
        let how = if goes_wrong { self.throw(3) } else { 3 };
        if how == 0 {
            self.shared.counts.unreachable.fetch_add(1, Ordering::Relaxed);
            return Outcome::NotSent { cause: IoFault::timed_out("connect to", "the printer").into() };
        }
        // The power of the till may go in between: then the printer has a part, or all of it, and the till does not know.
        tokio::time::sleep(PRINTS_FOR / 2).await;
        if how == 1 {
            self.came_out(job, false);
            return Outcome::Uncertain { accepted: job.bytes.len() / 2, cause: Fault::PaperOut };
        }
        self.came_out(job, true);
        tokio::time::sleep(PRINTS_FOR / 2).await;
        if how == 2 {
            let cause = Fault::NoAnswer { question: "whether it printed", waited_ms: 700 };
            return Outcome::Uncertain { accepted: job.bytes.len(), cause };
        }
        Outcome::Confirmed(AckKind::ProcessId)
    }

    async fn kick_drawer(&mut self, _: Duration) -> KickOutcome {
        self.shared.oracle.kicked();
        KickOutcome::Sent
    }
}
