//! What happens now, for those who watch.
//!
//! [`Live`] carries [`LiveEvent`]s from wherever they happen to every watcher, and knows which devices are connected. It never
//! waits for a watcher: what one has not taken after [`EVENTS_MAX`] more is lost to it, and it is told so.
//!
//! * `sales`: accepted sales, from the hub's own memory and not through the central database.
//! * `figures`: news of the read model.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::DeviceId;
use tokio::sync::broadcast;

use crate::web_api::LiveEvent;

mod figures;
mod sales;

pub use figures::follow_figures;
pub(crate) use sales::SaleTeller;

/// How many events may wait for the slowest watcher.
pub const EVENTS_MAX: usize = 4_096;

/// Where events go, and where watchers get them. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Live {
    events: broadcast::Sender<Arc<LiveEvent>>,
    /// How many connections each device has: an old one may end after its successor began.
    connected: Arc<Mutex<BTreeMap<DeviceId, u32>>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { events: broadcast::Sender::new(EVENTS_MAX), connected: Arc::default() }
    }
}

impl Live {
    /// Tells every watcher. Without any, nothing happens.
    pub fn send(&self, event: LiveEvent) {
        // An error means that nobody watches.
        let _ = self.events.send(Arc::new(event));
    }

    /// Everything that is sent from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.events.subscribe()
    }

    /// Whether anybody watches; what only watchers need is not worked out without one.
    pub fn is_watched(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Notes a connection of a device, for as long as the answer is kept.
    #[must_use = "the device counts as connected until this is dropped"]
    pub fn connect(&self, device: DeviceId) -> Connected {
        let connections = {
            let mut connected = self.connected();
            let connections = connected.entry(device).or_default();
            *connections += 1;
            *connections
        };
        if connections == 1 {
            self.tell_device(device, true);
        }
        Connected { live: self.clone(), device }
    }

    /// Says that there is news of a device.
    pub fn device_news(&self, device: DeviceId) {
        self.tell_device(device, self.is_connected(device));
    }

    /// Whether a device is connected to this server now.
    pub fn is_connected(&self, device: DeviceId) -> bool {
        self.connected().contains_key(&device)
    }

    fn tell_device(&self, device: DeviceId, connected: bool) {
        self.send(LiveEvent::Device { device: device.to_string(), connected });
    }

    fn connected(&self) -> MutexGuard<'_, BTreeMap<DeviceId, u32>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of a device.
#[derive(Debug)]
pub struct Connected {
    live: Live,
    device: DeviceId,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let gone = {
            let mut connected = self.live.connected();
            let left = connected.get_mut(&self.device).map(|n| {
                *n -= 1;
                *n
            });
            if left == Some(0) {
                connected.remove(&self.device);
            }
            left == Some(0)
        };
        if gone {
            self.live.tell_device(self.device, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_connected_until_its_last_connection_ends() {
        let (live, device) = (Live::default(), DeviceId::new(1, [1; 10]));
        let mut events = live.subscribe();
        let mut next = move || events.try_recv().ok().map(|event| (*event).clone());
        let told = |connected| Some(LiveEvent::Device { device: device.to_string(), connected });
        let first = live.connect(device);
        assert_eq!(next(), told(true));
        let second = live.connect(device);
        drop(first);
        assert!(live.is_connected(device));
        live.device_news(device);
        assert_eq!(next(), told(true), "its news, and nothing of the second connection");
        drop(second);
        assert!(!live.is_connected(device));
        assert_eq!((next(), next()), (told(false), None));
    }

    #[test]
    fn a_slow_watcher_misses_the_oldest_and_holds_nobody_up() {
        let live = Live::default();
        assert!(!live.is_watched());
        live.send(LiveEvent::Missed {});
        let mut events = live.subscribe();
        assert!(live.is_watched());
        for open in 0..=EVENTS_MAX as i64 {
            live.send(LiveEvent::Exceptions { open });
        }
        assert!(matches!(events.try_recv(), Err(broadcast::error::TryRecvError::Lagged(1))));
        assert_eq!(*events.try_recv().expect("the next"), LiveEvent::Exceptions { open: 1 });
    }
}
