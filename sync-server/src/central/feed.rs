//! From a region's log to the central store, every entry exactly once.
//!
//! The position lives in the store and moves in the transaction that takes the rows. The feed holds it in memory only between two
//! appends that succeed one another; after any error it asks again. So nothing is skipped and nothing is counted twice, whether
//! a commit's answer was lost, the database was restored from a backup, or another server took over the region.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use super::backoff::Backoff;
use super::{APPEND_BYTES_MAX, APPEND_ROWS_MAX, CentralError, CentralStore, FeedRow, Position};

/// How long the feed has nothing to bring before it looks where the store stands.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// A region's log, as the feed reads it.
pub trait FeedSource: Send {
    /// The region's id, minted together with its log: a log that was lost and begins again at 1 is another region, and so is one that was put back
    /// from a backup, from when that was noticed.
    fn region(&self) -> [u8; 16];

    /// The rows after a position, ascending: at most `max_rows`, and of at most `max_bytes` together unless the first alone is larger.
    /// Waits until there is at least one. An empty answer means that the log cannot be read just now: the feed asks again after a pause.
    ///
    /// The future may be dropped at any time; the next call begins again.
    fn next(&mut self, after: u64, max_rows: usize, max_bytes: usize) -> impl Future<Output = Vec<FeedRow>> + Send;

    /// Whether the log is the one that the store has up to a position. When not, it goes on under another region soon.
    fn is_the_log_of(&mut self, position: Position) -> impl Future<Output = bool> + Send;

    /// Everything up to `region_seq` is durable in the central store. Called after every append and every time the position was
    /// read; it can be lower than before when the central database was restored from a backup.
    fn fed(&self, region_seq: u64);
}

/// Feeds until told to stop (`shutdown` becomes true or its sender is gone).
///
/// The store may be away for any time: the feed tries again, with growing pauses, and goes on where the store stands.
pub async fn run<S: FeedSource, C: CentralStore>(mut source: S, store: C, mut shutdown: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(&source.region());
    let mut position = None;
    let mut of = source.region();
    while !*shutdown.borrow_and_update() {
        let region = source.region();
        if std::mem::replace(&mut of, region) != region {
            // The log begins anew.
            position = None;
        }
        let step = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            step = step(&mut source, &store, region, position) => step,
        };
        match step {
            Ok(now) if now != position => {
                // A position that can be read is no progress yet.
                if position.is_some() && now.is_some() {
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
        if !source.is_the_log_of(position).await {
            return Ok(None);
        }
        source.fed(position.region_seq);
        return Ok(Some(position.region_seq));
    };
    let rows = tokio::select! {
        biased;
        rows = source.next(after, APPEND_ROWS_MAX, APPEND_BYTES_MAX) => rows,
        // Nothing to bring: the store may have gone back to a backup meanwhile, which otherwise only the next entry would show.
        () = tokio::time::sleep(LOOK_AGAIN) => return Ok(None),
    };
    if rows.is_empty() {
        return Ok(position);
    }
    if source.region() != region {
        // The log began anew while the feed waited: these rows are of another numbering.
        return Ok(None);
    }
    let appended = store.append(region, after, &rows).await?;
    if source.region() != region {
        return Ok(None);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use journal::Scope;

    use crate::central::{Appended, Brought, Contact, ServerCard};

    /// What goes wrong with one append.
    #[derive(Debug, Clone, Copy)]
    enum Mishap {
        /// Nothing.
        None,
        /// Nothing was taken.
        Away,
        /// Everything was taken, and the answer was lost.
        AnswerLost,
        /// The store is restored to an earlier position.
        Restored { to: u64 },
    }

    #[derive(Debug, Default)]
    struct Model {
        taken: Vec<u64>,
        mishaps: Vec<Mishap>,
    }

    #[derive(Clone)]
    struct ModelStore(Arc<Mutex<Model>>);

    fn away() -> CentralError {
        CentralError::TimedOut { what: "append", after_ms: 1 }
    }

    impl CentralStore for ModelStore {
        async fn append(&self, _: [u8; 16], after: u64, rows: &[FeedRow]) -> Result<Appended, CentralError> {
            let mut model = self.0.lock().expect("the model");
            let mishap = model.mishaps.pop().unwrap_or(Mishap::None);
            if let Mishap::Restored { to } = mishap {
                model.taken.truncate(to as usize);
            }
            let found = model.taken.len() as u64;
            if found != after {
                return Err(CentralError::Moved { expected: after, found });
            }
            if matches!(mishap, Mishap::Away) {
                return Err(away());
            }
            model.taken.extend(rows.iter().map(|r| r.region_seq));
            match mishap {
                Mishap::AnswerLost => Err(away()),
                _ => Ok(Appended { region_seq: model.taken.len() as u64, forks: Vec::new() }),
            }
        }

        async fn position(&self, _: [u8; 16]) -> Result<Position, CentralError> {
            Ok(Position { region_seq: self.0.lock().expect("the model").taken.len() as u64, hash: None })
        }

        async fn brought_by_others(&self, _: [u8; 16], _: &[Scope], _: u64, _: usize) -> Result<Brought, CentralError> {
            Ok(Brought::default())
        }

        async fn leave_card(&self, own: &ServerCard) -> Result<Vec<ServerCard>, CentralError> {
            Ok(vec![own.clone()])
        }

        async fn seen(&self, _: &[Contact]) -> Result<(), CentralError> {
            Ok(())
        }
    }

    struct Numbers {
        last: u64,
        fed: watch::Sender<u64>,
        silences: u32,
    }

    impl FeedSource for Numbers {
        fn region(&self) -> [u8; 16] {
            [1; 16]
        }

        async fn next(&mut self, after: u64, _: usize, _: usize) -> Vec<FeedRow> {
            if self.silences > 0 {
                self.silences -= 1;
                return Vec::new();
            }
            let row = |region_seq| FeedRow {
                region_seq,
                device: [1; 16],
                incarnation: [1; 16],
                scope: "directory".into(),
                seq: region_seq,
                commit: region_seq,
                hash: [0; 32],
                bytes: Vec::new(),
                at_ms: 0,
                seal: None,
            };
            let rows: Vec<_> = (after + 1..=self.last).take(3).map(row).collect();
            if rows.is_empty() {
                std::future::pending::<()>().await;
            }
            rows
        }

        async fn is_the_log_of(&mut self, _: Position) -> bool {
            true
        }

        fn fed(&self, region_seq: u64) {
            self.fed.send_replace(region_seq);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_row_is_taken_once_whatever_goes_wrong() {
        use Mishap::{AnswerLost, Away, None, Restored};
        for mishaps in [
            vec![],
            vec![Away, Away, None, Away],
            vec![AnswerLost, None, AnswerLost, AnswerLost],
            vec![None, None, None, Restored { to: 4 }, None, Restored { to: 0 }],
            vec![None, AnswerLost, Away, Restored { to: 1 }, None, AnswerLost],
        ] {
            let store = ModelStore(Arc::default());
            store.0.lock().expect("the model").mishaps = mishaps.into_iter().rev().collect();
            let (fed, mut watch) = watch::channel(0);
            let (stop, stopping) = watch::channel(false);
            let feed = tokio::spawn(run(Numbers { last: 20, fed, silences: 2 }, store.clone(), stopping));
            watch.wait_for(|fed| *fed == 20).await.expect("the feed lives");
            stop.send(true).expect("the feed lives");
            feed.await.expect("the feed stops");
            assert_eq!(store.0.lock().expect("the model").taken, (1..=20).collect::<Vec<_>>());
        }
    }
}
