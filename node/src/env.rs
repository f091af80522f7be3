//! The outside world of a real device: the machine's clock and random numbers.

use std::time::{SystemTime, UNIX_EPOCH};

use sync_proto::env::Env;

/// Reads the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnv;

impl Env for SystemEnv {
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn fill_random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("a machine without random numbers cannot make keys or ids");
    }
}
