//! How often one may try to sign in.
//!
//! Wrong passwords are counted by name and by address, and each count makes the next try wait: a name as a PIN does at the till, an
//! address with a longer leash, since a shop may sit behind one. An attempt counts as wrong until it is known to be right, so that
//! many at once gain nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use domain::staff::pin_wait_ms;

/// Most names and addresses that are remembered; the ones that were quiet longest are forgotten first.
const REMEMBERED_MAX: usize = 10_000;
/// After so long without an attempt, a count starts again.
const FORGET_AFTER_MS: u64 = 3_600_000;
/// How many wrong passwords of an address count as one of a name.
const ADDRESS_LEASH: u32 = 4;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Name(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    wrong: u32,
    last_ms: u64,
}

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    counts: Mutex<BTreeMap<Who, Count>>,
}

impl Attempts {
    /// Takes an attempt, which counts as wrong until [`Attempts::right`] says otherwise.
    ///
    /// # Errors
    /// How many milliseconds to wait; the attempt is then not to be made.
    pub(crate) fn begin(&self, name: &str, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(name, address);
        let wait = keys.iter().map(|who| wait(who, counts.get(who), now_ms)).max().unwrap_or(0);
        if wait > 0 {
            return Err(wait);
        }
        for who in keys {
            make_room(&mut counts);
            let count = counts.entry(who).or_default();
            if now_ms.saturating_sub(count.last_ms) > FORGET_AFTER_MS {
                count.wrong = 0;
            }
            *count = Count { wrong: count.wrong.saturating_add(1), last_ms: now_ms };
        }
        Ok(())
    }

    /// The attempt came to nothing, right or wrong: it does not count.
    pub(crate) fn withdraw(&self, name: &str, address: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for who in keys(name, address) {
            if let Some(count) = counts.get_mut(&who) {
                count.wrong = count.wrong.saturating_sub(1);
            }
        }
    }

    /// The attempt was right.
    pub(crate) fn right(&self, name: &str, address: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let [name, address] = keys(name, address);
        counts.remove(&name);
        // The others behind the address are not forgiven.
        if let Some(count) = counts.get_mut(&address) {
            count.wrong = count.wrong.saturating_sub(1);
        }
    }
}

fn keys(name: &str, address: IpAddr) -> [Who; 2] {
    // No account has a longer name; the rest of it need not be kept.
    let name: String = name.chars().take(super::accounts::NAME_BYTES_MAX).flat_map(char::to_lowercase).collect();
    // One household or office has a whole /64 of IPv6 addresses.
    let address = match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    };
    [Who::Name(name), Who::Address(address)]
}

fn wait(who: &Who, count: Option<&Count>, now_ms: u64) -> u64 {
    let Some(count) = count else { return 0 };
    let wrong = match who {
        Who::Name(_) => count.wrong,
        Who::Address(_) => count.wrong / ADDRESS_LEASH,
    };
    let since = now_ms.saturating_sub(count.last_ms);
    if since > FORGET_AFTER_MS { 0 } else { pin_wait_ms(wrong).saturating_sub(since) }
}

fn make_room(counts: &mut BTreeMap<Who, Count>) {
    if counts.len() < REMEMBERED_MAX {
        return;
    }
    let mut times: Vec<u64> = counts.values().map(|c| c.last_ms).collect();
    times.sort_unstable();
    // A tenth at once, so that it is not done for every attempt of a flood.
    let before = times[REMEMBERED_MAX / 10];
    counts.retain(|_, c| c.last_ms > before);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_sixth_wrong_password_waits() {
        let attempts = Attempts::default();
        for _ in 0..5 {
            assert_eq!(attempts.begin("Ada", HOME, 1_000), Ok(()));
        }
        assert_eq!(attempts.begin("ADA", HOME, 1_000), Err(30_000));
        assert_eq!(attempts.begin("ada", HOME, 31_000), Ok(()));
        assert_eq!(attempts.begin("ada", HOME, 31_001), Err(59_999));
        assert_eq!(attempts.begin("ada", HOME, 31_000 + FORGET_AFTER_MS + 1), Ok(()));
        assert_eq!(attempts.begin("ada", HOME, 31_000 + FORGET_AFTER_MS + 2), Ok(()), "the count began again");
    }

    #[test]
    fn a_right_password_forgives_the_name() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            assert_eq!(attempts.begin("ada", HOME, 1_000), Ok(()));
            attempts.right("ada", HOME);
        }
    }

    #[test]
    fn many_names_from_one_address_wait_too() {
        let attempts = Attempts::default();
        let refused = (0..100).find(|n| attempts.begin(&format!("name {n}"), HOME, 1_000).is_err());
        assert_eq!(refused, Some(20));
        assert_eq!(attempts.begin("another", IpAddr::V4([10, 0, 0, 1].into()), 1_000), Ok(()));
    }

    #[test]
    fn a_flood_is_forgotten_and_not_kept() {
        let attempts = Attempts::default();
        for n in 0..30_000u32 {
            let _ = attempts.begin(&format!("name {n}"), IpAddr::V4(n.into()), u64::from(n));
        }
        assert!(attempts.counts.lock().expect("lock").len() <= REMEMBERED_MAX + 2);
    }
}
