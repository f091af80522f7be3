//! Waiting until nobody has anything left to say.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::central::Central;
use super::plan::Plan;
use super::world::World;
use crate::stack::interrupt;

/// How often everyone is asked.
const LOOK: Duration = Duration::from_millis(500);
/// How often progress is told, where there is some.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What is watched. When none of it moves any more, nothing will.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Commits that the server lacks and that central lacks, by till.
    waiting: Vec<(u64, u64)>,
    /// Lines that each till holds, of the whole store.
    held: Vec<u64>,
    /// Lines in central.
    central: u64,
}

impl Seen {
    fn look(world: &World, central: &Central) -> Result<Self> {
        let held = world.ledgers()?.iter().map(|ledger| ledger.devices.iter().map(|row| row.lines).sum()).collect();
        Ok(Self { waiting: world.waiting()?, held, central: central.lines()? })
    }

    /// Whether nobody lacks a line that the file has. Wrong sums are found afterwards.
    fn is_settled(&self, lines: u64) -> bool {
        self.waiting.iter().all(|w| *w == (0, 0)) && self.held.iter().all(|h| *h >= lines) && self.central >= lines
    }

    fn sentence(&self, lines: u64) -> String {
        format!(
            "of {lines} lines, the tills hold {} and {}, central {}; unsent {} and {}, not in central {} and {}",
            self.held[0], self.held[1], self.central, self.waiting[0].0, self.waiting[1].0, self.waiting[0].1, self.waiting[1].1,
        )
    }
}

/// Waits until everyone has everything, or until nothing has moved for `patience`: what is missing then shows in the table.
///
/// # Errors
/// When a till or the central database does not answer.
pub fn wait(plan: &Plan, world: &World, patience: Duration, tell: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let lines = plan.whole().sums.lines;
    let central = Central::connect(&world.central_url())?;
    let mut seen = Seen::look(world, &central)?;
    let mut moved = Instant::now();
    let mut told = (Instant::now(), String::new());
    while !seen.is_settled(lines) {
        interrupt::check()?;
        std::thread::sleep(LOOK);
        let now = Seen::look(world, &central)?;
        if now != seen {
            seen = now;
            moved = Instant::now();
        } else if moved.elapsed() > patience {
            tell(&format!("Nothing has moved for {} s: {}", patience.as_secs(), seen.sentence(lines)));
            return Ok(());
        }
        let sentence = seen.sentence(lines);
        if told.0.elapsed() > TELL_EVERY && told.1 != sentence {
            tell(&sentence);
            told = (Instant::now(), sentence);
        }
    }
    Ok(())
}
