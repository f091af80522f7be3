//! The hybrid logical clock.
//!
//! After Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014): 48 bits of Unix milliseconds and a 16-bit counter in
//! one number, so that comparing numbers compares (time, counter). It follows the wall clock while that moves forward and
//! never goes back when it does not.

use std::fmt;

/// A reading: Unix milliseconds in the upper 48 bits, a counter in the lower 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    /// A reading of a time and a counter.
    pub fn new(unix_ms: u64, counter: u16) -> Self {
        Self((unix_ms << 16) | u64::from(counter))
    }

    /// Its Unix milliseconds.
    pub fn unix_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next reading of a clock that stands at `self` when the wall clock says `now_ms`: later than `self`, whatever the wall clock says.
    #[must_use]
    pub fn tick(self, now_ms: u64) -> Self {
        Self::new(now_ms, 0).max(Self(self.0 + 1))
    }

    /// The clock after seeing another device's reading, which may pull it ahead of the wall clock by at most `lead_max_ms`.
    #[must_use]
    pub fn observe(self, seen: Self, now_ms: u64, lead_max_ms: u64) -> Self {
        self.max(seen.min(Self::new(now_ms + lead_max_ms, 0)))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hlc({}ms+{})", self.unix_ms(), self.0 & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let a = Hlc::default().tick(1_000);
        let b = a.tick(900);
        let c = b.tick(1_001);
        assert!(a < b && b < c);
        assert_eq!((a.unix_ms(), b.unix_ms(), c), (1_000, 1_000, Hlc::new(1_001, 0)));
    }

    #[test]
    fn a_wild_clock_pulls_only_so_far() {
        let wild = Hlc::new(10_000_000, 7);
        assert_eq!(Hlc::new(1_000, 0).observe(wild, 1_000, 60_000), Hlc::new(61_000, 0));
        assert_eq!(Hlc::new(1_000, 0).observe(Hlc::new(5, 0), 1_000, 60_000), Hlc::new(1_000, 0));
    }
}
