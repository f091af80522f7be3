//! The region's log, as the feed to the central store reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{Entry, Origin};

use crate::central::feed::FeedSource;
use crate::central::{FeedRow, Position};
use crate::hub::Hub;
use crate::posted::Posted;
use crate::region::{LogRow, Region, RegionError};

/// The region's log as the feed reads it.
#[derive(Debug)]
pub struct LogSource {
    hub: Hub,
    grown: Posted<u64>,
    /// Up to where devices were told that the central database has their commits.
    told_to: Arc<AtomicU64>,
}

impl LogSource {
    /// The log of a hub.
    pub fn new(hub: Hub) -> Self {
        Self { grown: hub.grown(), hub, told_to: Arc::default() }
    }
}

/// The first rows that an append takes: as many as fit, and always one.
fn fitting(rows: Vec<LogRow>, max_rows: usize, max_bytes: usize) -> impl Iterator<Item = LogRow> {
    let mut bytes = 0;
    rows.into_iter()
        .enumerate()
        .take(max_rows)
        .take_while(move |(at, row)| {
            bytes += row.bytes.len();
            *at == 0 || bytes <= max_bytes
        })
        .map(|(_, row)| row)
}

impl FeedSource for LogSource {
    fn region(&self) -> [u8; 16] {
        self.hub.region()
    }

    async fn next(&mut self, after: u64, max_rows: usize, max_bytes: usize) -> Vec<FeedRow> {
        if self.grown.wait_for(|seq| *seq > after).await.is_err() {
            return Vec::new();
        }
        let read = self.hub.with(move |region| region.rows_after(after, max_rows, max_bytes)).await;
        match read {
            Ok(Ok(rows)) => fitting(rows, max_rows, max_bytes).map(feed_row).collect(),
            Ok(Err(error)) => {
                tracing::error!(%error, "the region's log cannot be read");
                self.hub.suspect();
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    async fn is_the_log_of(&mut self, position: Position) -> bool {
        let Position { region_seq, hash } = position;
        let region = self.hub.region();
        let here = self.hub.with(move |log| Ok::<_, RegionError>((log.last_seq(), log.hash_of_place(region_seq)?))).await;
        let is_it = match here {
            Ok(Ok((last, here))) => region_seq <= last && (hash.is_none() || region_seq == 0 || here == hash),
            // What cannot be read now says nothing.
            Ok(Err(_)) | Err(_) => return false,
        };
        if !is_it {
            self.hub.regressed(region);
        }
        is_it
    }

    fn fed(&self, region_seq: u64) {
        self.hub.note_fed(region_seq);
        let (hub, told_to) = (self.hub.clone(), self.told_to.clone());
        tokio::spawn(async move {
            let news = move |region: &mut Region| {
                let before = told_to.load(Ordering::Relaxed);
                // At first, and when the central database was put back from a backup.
                let commits = match before == 0 || region_seq < before {
                    true => region.commits_up_to(region_seq),
                    false => region.commits_between(before, region_seq),
                }?;
                told_to.store(region_seq, Ordering::Relaxed);
                Ok::<_, RegionError>(commits)
            };
            match hub.with(news).await {
                Ok(Ok(commits)) => hub.note_central(commits),
                Ok(Err(error)) => tracing::error!(%error, "the region's log cannot be read"),
                Err(_) => {}
            }
        });
    }
}

fn feed_row(row: LogRow) -> FeedRow {
    let at_ms = Entry::decode(&row.bytes).map_or(0, |entry| entry.at.unix_ms());
    let Origin { device, incarnation } = row.origin;
    FeedRow {
        region_seq: row.region_seq,
        device,
        incarnation,
        scope: row.scope.as_str().to_owned(),
        seq: row.seq,
        commit: row.commit,
        hash: row.hash,
        bytes: row.bytes,
        at_ms,
        seal: row.seal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_as_large_as_it_may_be_and_never_empty() {
        let origin = Origin { device: [1; 16], incarnation: [2; 16] };
        let row = |size| LogRow {
            region_seq: 1,
            origin,
            scope: sync_proto::scopes::catalogue(),
            line: 1,
            seq: 1,
            commit: 1,
            hash: [0; 32],
            bytes: vec![0; size],
            seal: None,
        };
        for (sizes, max_rows, fits) in [
            (&[40, 40, 40][..], 9, 2),
            (&[100, 1], 9, 1),
            (&[101, 1], 9, 1),
            (&[1, 101, 1], 9, 1),
            (&[1, 1, 1], 2, 2),
            (&[50, 50], 9, 2),
        ] {
            let rows = sizes.iter().map(|size| row(*size)).collect();
            assert_eq!(fitting(rows, max_rows, 100).count(), fits, "{sizes:?}");
        }
    }
}
