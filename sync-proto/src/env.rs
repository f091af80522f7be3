//! What the outside world supplies. Production reads the machine's clock and random numbers; the simulator hands in its own.

use std::fmt::Debug;

/// Time and randomness. Nothing else in the product reads a clock or draws a random number.
pub trait Env: Debug + Send + Sync + 'static {
    /// The wall clock in Unix milliseconds. It may jump; nothing but display and the hybrid clock looks at it.
    fn unix_ms(&self) -> u64;

    /// Fills `out` with random bytes fit for keys.
    fn fill_random(&self, out: &mut [u8]);
}

/// So many random bytes.
pub fn random<const N: usize>(env: &(impl Env + ?Sized)) -> [u8; N] {
    let mut out = [0; N];
    env.fill_random(&mut out);
    out
}
