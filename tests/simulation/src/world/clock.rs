//! The clock and the dice of one machine: time is the world's, as wrong as this machine shows it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sync_proto::env::Env;
use tokio::time::Instant;

use crate::Dice;

/// A machine's [`Env`]. Its clock survives restarts of its programs, as a battery sees to.
#[derive(Debug)]
pub struct MachineEnv {
    began: Instant,
    /// What a right clock shows then, Unix milliseconds.
    opens_ms: u64,
    wrong: Mutex<Wrong>,
    dice: Mutex<Dice>,
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    ahead_ms: i64,
    /// Gained, in millionths.
    drift_ppm: i64,
}

impl MachineEnv {
    /// A right clock that shows `opens_ms` when `began` was, and dice of a seed.
    pub fn new(began: Instant, opens_ms: u64, seed: u64) -> Self {
        let wrong = Mutex::new(Wrong { ahead_ms: 0, drift_ppm: 0 });
        Self { began, opens_ms, wrong, dice: Mutex::new(Dice::new(seed)) }
    }

    /// Moves the clock.
    pub fn jump(&self, by_ms: i64) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).ahead_ms += by_ms;
    }

    /// Lets the clock go wrong by so many millionths from now on.
    pub fn drift(&self, ppm: i64) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).drift_ppm = ppm;
    }

    /// Sets the clock right.
    pub fn set_right(&self) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Wrong { ahead_ms: 0, drift_ppm: 0 };
    }

    fn since_morning(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Env for MachineEnv {
    fn unix_ms(&self) -> u64 {
        let wrong = *self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ms = i64::try_from(self.since_morning().as_millis()).unwrap_or(i64::MAX);
        let shown = elapsed_ms + elapsed_ms * wrong.drift_ppm / 1_000_000 + wrong.ahead_ms;
        self.opens_ms.saturating_add_signed(shown)
    }

    fn fill_random(&self, out: &mut [u8]) {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).fill(out);
    }
}
