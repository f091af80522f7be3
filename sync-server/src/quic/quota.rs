//! How much one device may ask of the server in a minute. One that asks for more is read from more slowly, and everybody else notices nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ids::DeviceId;
use tokio::time::Instant;

/// The time that quotas are said for, and what may be used of it at once.
const MINUTE: Duration = Duration::from_secs(60);
/// From how many devices on it is looked whose quota is whole again and need not be remembered.
const REMEMBERED: usize = 1_024;

/// The quotas of every device: all of its connections share one.
#[derive(Debug, Clone)]
pub(super) struct Quotas {
    bytes_per_minute: u64,
    entries_per_minute: u64,
    used: Arc<Mutex<BTreeMap<DeviceId, Used>>>,
}

/// Until when a device has used its quotas up: every byte and every entry is worth some time.
#[derive(Debug, Clone, Copy)]
struct Used {
    bytes_until: Instant,
    entries_until: Instant,
}

impl Quotas {
    pub(super) fn new(bytes_per_minute: u64, entries_per_minute: u64) -> Self {
        Self { bytes_per_minute: bytes_per_minute.max(1), entries_per_minute: entries_per_minute.max(1), used: Arc::default() }
    }

    /// Counts what came from a device. Answers when it is read from again, if that is not now.
    pub(super) fn take(&self, device: DeviceId, bytes: usize, entries: usize, now: Instant) -> Option<Instant> {
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&device) {
            all.retain(|_, used| used.bytes_until.max(used.entries_until) > now);
        }
        let used = all.entry(device).or_insert(Used { bytes_until: now, entries_until: now });
        used.bytes_until = used.bytes_until.max(now) + worth(bytes, self.bytes_per_minute);
        used.entries_until = used.entries_until.max(now) + worth(entries, self.entries_per_minute);
        let again = used.bytes_until.max(used.entries_until).checked_sub(MINUTE)?;
        (again > now).then_some(again)
    }
}

fn worth(count: usize, per_minute: u64) -> Duration {
    let nanos = count as u128 * MINUTE.as_nanos() / u128::from(per_minute);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).min(MINUTE.as_nanos() as u64 * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId(uuid::Uuid::from_bytes([n; 16]))
    }

    #[test]
    fn a_minute_s_worth_passes_at_once_and_what_is_beyond_waits_as_long_as_it_is_worth() {
        let (quotas, now) = (Quotas::new(6_000, 600), Instant::now());
        assert_eq!(quotas.take(device(1), 5_999, 1, now), None);
        assert_eq!(quotas.take(device(1), 101, 1, now), Some(now + Duration::from_secs(1)));
        assert_eq!(quotas.take(device(2), 10, 600, now), None, "another device has its own");
        assert_eq!(quotas.take(device(2), 10, 20, now), Some(now + Duration::from_secs(2)), "and entries count as bytes do");
        let later = now + Duration::from_secs(61);
        assert_eq!(quotas.take(device(1), 6_000, 0, later), None, "a minute later it is whole again");
    }

    #[test]
    fn what_is_whole_again_is_forgotten() {
        let (quotas, now) = (Quotas::new(6_000, 600), Instant::now());
        for n in 0..REMEMBERED as u32 {
            quotas.take(DeviceId(uuid::Uuid::from_u128(n.into())), 1, 1, now);
        }
        quotas.take(DeviceId(uuid::Uuid::from_u128(u128::MAX)), 1, 1, now + MINUTE * 2);
        assert_eq!(quotas.used.lock().expect("no panic").len(), 1);
    }
}
