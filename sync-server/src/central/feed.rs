//! From a region's log to the central store, every entry exactly once.
//!
//! The position lives in the store and moves in the transaction that takes the rows. The feed holds it in memory only between two
//! appends that succeed one another; after any error it asks again. So nothing is skipped and nothing is counted twice, whether
//! a commit's answer was lost, the database was restored from a backup, or another server took over the region.

use std::future::Future;

use tokio::sync::watch;

use super::backoff::Backoff;
use super::{APPEND_BYTES_MAX, APPEND_ROWS_MAX, CentralError, CentralStore, FeedRow};

/// A region's log, as the feed reads it.
pub trait FeedSource: Send {
    /// The region's id, minted together with its log: a log that was lost and begins again at 1 is another region.
    fn region(&self) -> [u8; 16];

    /// The rows after a position, ascending: at most `max_rows`, and of at most `max_bytes` together unless the first alone is larger.
    /// Waits until there is at least one. An empty answer means that the log cannot be read just now: the feed asks again after a pause.
    ///
    /// The future may be dropped at any time; the next call begins again.
    fn next(&mut self, after: u64, max_rows: usize, max_bytes: usize) -> impl Future<Output = Vec<FeedRow>> + Send;

    /// Everything up to `region_seq` is durable in the central store. Called after every append and every time the position was
    /// read; it can be lower than before when the central database was restored from a backup.
    fn fed(&self, region_seq: u64);
}

/// Feeds until told to stop (`shutdown` becomes true or its sender is gone).
///
/// The store may be away for any time: the feed tries again, with growing pauses, and goes on where the store stands.
pub async fn run<S: FeedSource, C: CentralStore>(mut source: S, store: C, mut shutdown: watch::Receiver<bool>) {
    let region = source.region();
    let mut backoff = Backoff::new(&region);
    let mut position = None;
    while !*shutdown.borrow_and_update() {
        let step = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            step = step(&mut source, &store, region, position) => step,
        };
        match step {
            Ok(now) if now != position => {
                // A position that can be read is no progress yet.
                if position.is_some() {
                    backoff.reset();
                }
                position = now;
                continue;
            }
            Ok(_) => tracing::warn!("the region's log gives nothing; the feed asks again"),
            Err(error) => {
                position = None;
                report(&error);
            }
        }
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// Reads the position when it is not known, or else moves one batch; answers the position after it.
async fn step<S: FeedSource, C: CentralStore>(
    source: &mut S,
    store: &C,
    region: [u8; 16],
    position: Option<u64>,
) -> Result<Option<u64>, CentralError> {
    let Some(after) = position else {
        let position = store.position(region).await?;
        source.fed(position);
        return Ok(Some(position));
    };
    let rows = source.next(after, APPEND_ROWS_MAX, APPEND_BYTES_MAX).await;
    if rows.is_empty() {
        return Ok(position);
    }
    let appended = store.append(region, after, &rows).await?;
    for fork in &appended.forks {
        tracing::error!(
            device = %uuid::Uuid::from_bytes(fork.device),
            incarnation = %uuid::Uuid::from_bytes(fork.incarnation),
            scope = fork.scope,
            seq = fork.seq,
            "two entries at one place of a chain: the device was cloned or restored; both are kept, see the exceptions"
        );
    }
    source.fed(appended.region_seq);
    Ok(Some(appended.region_seq))
}

fn report(error: &CentralError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error {
        CentralError::Moved { .. } => tracing::info!(%error, "the feed goes back to where the central database stands"),
        e if e.is_away() => tracing::warn!(%error, cause, "the feed waits"),
        _ => tracing::error!(%error, cause, "the feed cannot go on and tries again"),
    }
}

/// Waits for the order to stop.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask to stop: stop.
    let _ = shutdown.wait_for(|&stop| stop).await;
}
