//! The way back: what the central store has and this region's log has not.
//!
//! A log that was lost is filled again, one that was put back from a backup catches up, and what other servers write, and the tills of stores that are
//! served here write elsewhere, reaches this one's devices.
//! That a log was put back is noticed in two places: the central store has more of it than there is, or a device has read on in it to an entry that
//! is not there. The log then goes on under a fresh incarnation, and its devices greet anew.

use std::sync::Arc;
use std::time::Duration;

use sync_proto::env::{Env, random};
use tokio::sync::watch;

use crate::central::{CentralError, CentralStore};
use crate::hub::{Hub, HubError};
use crate::region::{AuthorError, CentralReading, Refill, RegionError};

/// How often the central store is asked: an edit at one server is at another one's tills within about a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Most entries of one answer: they are verified and taken in at the owner of the log, where devices wait meanwhile.
const ROWS_MAX: usize = 250;
/// How far the place that was read may be ahead of the one that is written down, when nothing was taken in between.
const UNWRITTEN_MAX: u64 = 50_000;

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Central(#[from] CentralError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Author(#[from] AuthorError),
}

/// Lets a log that was put back from a backup go on under a fresh incarnation as soon as that is noticed, whether the central store is there or not.
pub async fn watch(hub: Hub, env: Arc<dyn Env>, mut stop: watch::Receiver<bool>) {
    let mut regressed = hub.regressions();
    loop {
        if regressed.get() > hub.renewals()
            && let Err(error) = renew(&hub, &*env).await
        {
            tracing::error!(%error, "the log does not go on under a new incarnation; this is tried again");
        }
        let waits = regressed.get() > hub.renewals();
        tokio::select! {
            biased;
            () = async { let _ = stop.wait_for(|stop| *stop).await; } => return,
            changed = regressed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK_EVERY), if waits => {}
        }
    }
}

/// Keeps the log as full as the central store, until told to stop.
pub async fn run<C: CentralStore>(hub: Hub, store: C, mut stop: watch::Receiver<bool>) {
    let mut regions = hub.regions();
    let mut reading = None;
    loop {
        let again = tokio::select! {
            biased;
            () = async { let _ = stop.wait_for(|stop| *stop).await; } => return,
            looked = look(&hub, &store, &mut reading) => looked,
        };
        match again {
            Ok(true) => continue,
            Ok(false) => {}
            Err(Failed::Central(error)) => {
                tracing::debug!(%error, "the central store cannot be read");
                reading = None;
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be filled from the central store; this is tried again");
                reading = None;
            }
        }
        tokio::select! {
            biased;
            () = async { let _ = stop.wait_for(|stop| *stop).await; } => return,
            changed = regions.changed() => {
                if changed.is_err() {
                    return;
                }
                // The log began anew, and with it what was read.
                reading = None;
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Where a reading of the central store is.
#[derive(Debug)]
struct Reading {
    refill: Refill,
    read_to: u64,
    written: u64,
    /// Whether its end was reached once: what comes now was just written elsewhere.
    is_level: bool,
}

impl Reading {
    fn begins(at: &CentralReading) -> Self {
        Self { refill: Refill::of(at), read_to: at.read_to, written: at.read_to, is_level: false }
    }
}

/// Reads on, and answers whether there may be more.
async fn look<C: CentralStore>(hub: &Hub, store: &C, reading: &mut Option<Reading>) -> Result<bool, Failed> {
    let wanted = hub.with(|region| region.central_reading()).await??;
    let mut at = match reading.take() {
        Some(at) if at.refill.is_of(&wanted) => at,
        _ => Reading::begins(&wanted),
    };
    let brought = store.brought_by_others(hub.region(), &wanted.stores, at.read_to, ROWS_MAX).await?;
    if brought.read_to < at.read_to {
        // The central store was put back from a backup: what it takes from now on has numbers that were read before.
        *reading = Some(Reading { read_to: 0, written: at.written, ..Reading::begins(&wanted) });
        return Ok(true);
    }
    let (read_to, more) = (brought.read_to, brought.more);
    if !brought.rows.is_empty() || read_to > at.written + UNWRITTEN_MAX {
        let mut refill = std::mem::take(&mut at.refill);
        let taken = hub
            .with(move |region| {
                refill.add(brought.rows)?;
                let taken = region.refill(&mut refill, read_to)?;
                Ok::<_, RegionError>((refill, taken))
            })
            .await??;
        let (refill, taken) = taken;
        match taken {
            0 => {}
            _ if at.is_level => tracing::debug!(commits = taken, "commits came from the central store"),
            _ => tracing::info!(event = "refilled", commits = taken, "commits came from the central store"),
        }
        at.written = refill.waits_from().unwrap_or(read_to);
        at.refill = refill;
    }
    at.read_to = read_to;
    at.is_level |= !more;
    *reading = Some(at);
    Ok(more)
}

async fn renew(hub: &Hub, env: &dyn Env) -> Result<(), Failed> {
    let (incarnation, now_ms) = (random(env), env.unix_ms());
    hub.renew(incarnation, now_ms).await?;
    tracing::warn!(
        event = "log_regressed",
        "the log was put back from a backup: it goes on under a new incarnation, and is filled again"
    );
    Ok(())
}
