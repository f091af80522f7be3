//! What Prometheus is told of a till: counters that the face moves, gauges that a scrape reads. `docs/operations.md` lists them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use operations::machine::{disk_free_bytes, file_bytes};
use operations::metrics::{self as exposition, latency_buckets};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::{ApiErrorCode, LinkState, LinkWay};
use crate::store::retention::Reach;
use crate::till::Till;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// The metrics of one till. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    commands: Family<Outcome, Counter>,
    command_seconds: Histogram,
    link_up: Gauge,
    link_over_tcp: Gauge,
    commits: Counter,
    unsent: Gauge,
    not_central: Gauge,
    print_jobs: Gauge,
    replica_bytes: Gauge,
    damaged_files: Gauge,
    audited: Gauge,
    gone: Counter,
    gone_until: Gauge,
    disk_free: Gauge,
    clock_ahead: Gauge<f64, AtomicU64>,
}

/// How a till stands, as a scrape finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    link: LinkState,
    way: Option<LinkWay>,
    commits: u64,
    unsent: u64,
    not_central: u64,
    print_jobs: usize,
    clock_ahead_ms: i64,
    damaged_files: usize,
    audited_ms: u64,
    reach: Reach,
    folder: std::path::PathBuf,
}

impl Standing {
    /// How a till stands now.
    pub fn of(till: &Till) -> Self {
        let link = till.link_view();
        Self {
            link: link.state,
            way: link.way,
            commits: till.own_chain().commit,
            unsent: link.unsent,
            not_central: link.not_central,
            print_jobs: till.open_print_jobs(),
            clock_ahead_ms: till.clock_ahead_ms().unwrap_or(0),
            damaged_files: till.damaged_files().unwrap_or(0),
            audited_ms: till.audited_ms().unwrap_or(0),
            reach: till.reach().unwrap_or_default(),
            folder: till.identity().folder().to_owned(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = exposition::registry("evertill-node", env!("CARGO_PKG_VERSION"));
        let mut shared = Shared {
            registry: Registry::default(),
            commands: Family::default(),
            command_seconds: Histogram::new(latency_buckets()),
            link_up: Gauge::default(),
            link_over_tcp: Gauge::default(),
            commits: Counter::default(),
            unsent: Gauge::default(),
            not_central: Gauge::default(),
            print_jobs: Gauge::default(),
            replica_bytes: Gauge::default(),
            damaged_files: Gauge::default(),
            audited: Gauge::default(),
            gone: Counter::default(),
            gone_until: Gauge::default(),
            disk_free: Gauge::default(),
            clock_ahead: Gauge::default(),
        };
        let r = &mut registry;
        r.register("commands", "What the screen asked for: done, refused, or failed", shared.commands.clone());
        r.register("command_seconds", "From a command to its answer, on disk", shared.command_seconds.clone());
        r.register("link_up", "Whether the sync server is connected: 1 or 0", shared.link_up.clone());
        r.register(
            "link_over_tcp",
            "Whether it is connected over TCP, because UDP did not pass: 1 or 0",
            shared.link_over_tcp.clone(),
        );
        r.register("commits", "Commits of this till under its present incarnation", shared.commits.clone());
        r.register("unsent_commits", "Commits that only this till has", shared.unsent.clone());
        r.register("not_central_commits", "Commits that the central database does not have yet", shared.not_central.clone());
        r.register("print_jobs_open", "Receipts that wait for the printer or for a person's word", shared.print_jobs.clone());
        r.register("replica_bytes", "Size of the till's database with its write-ahead log", shared.replica_bytes.clone());
        r.register("damaged_files", "Damaged files that are kept beside the till's database", shared.damaged_files.clone());
        r.register(
            "log_audited_timestamp_seconds",
            "When the log was found to be what was signed, to its end; 0 before the first time",
            shared.audited.clone(),
        );
        r.register("gone_entries", "Old entries whose content is not kept on this till any more", shared.gone.clone());
        r.register(
            "gone_until_timestamp_seconds",
            "When the newest entry was written whose content is not kept any more; 0 while everything is",
            shared.gone_until.clone(),
        );
        r.register("disk_free_bytes", "Free space on the disk of the data folder", shared.disk_free.clone());
        r.register(
            "clock_ahead_of_server_seconds",
            "How far this till's clock was ahead of the sync server's when it connected last; negative when behind",
            shared.clock_ahead.clone(),
        );
        shared.registry = registry;
        Self { shared: Arc::new(shared) }
    }
}

impl Metrics {
    /// The screen asked for something, and was answered after so long.
    pub fn command(&self, result: Result<(), ApiErrorCode>, after: Duration) {
        let result = match result {
            Ok(()) => "done",
            Err(ApiErrorCode::Storage | ApiErrorCode::InDoubt) => "failed",
            Err(_) => "refused",
        };
        self.shared.commands.get_or_create(&Outcome { result }).inc();
        self.shared.command_seconds.observe(after.as_secs_f64());
    }

    /// The text of a scrape.
    pub fn text(&self, now: &Standing) -> String {
        let shared = &self.shared;
        shared.link_up.set(i64::from(now.link == LinkState::Online));
        shared.link_over_tcp.set(i64::from(now.way == Some(LinkWay::Tcp)));
        shared.commits.inner().store(now.commits, Ordering::Relaxed);
        shared.unsent.set(now.unsent.cast_signed());
        shared.not_central.set(now.not_central.cast_signed());
        shared.print_jobs.set(i64::try_from(now.print_jobs).unwrap_or(i64::MAX));
        let replica = now.folder.join("replica");
        let bytes = file_bytes(&replica.join("replica.db")) + file_bytes(&replica.join("replica.db-wal"));
        shared.replica_bytes.set(bytes.cast_signed());
        shared.damaged_files.set(i64::try_from(now.damaged_files).unwrap_or(i64::MAX));
        shared.audited.set((now.audited_ms / 1_000).cast_signed());
        shared.gone.inner().store(now.reach.gone, Ordering::Relaxed);
        shared.gone_until.set((now.reach.gone_until_ms.unwrap_or(0) / 1_000).cast_signed());
        shared.disk_free.set(disk_free_bytes(&now.folder).unwrap_or(0).cast_signed());
        #[expect(clippy::cast_precision_loss, reason = "a difference of clocks needs no more digits")]
        shared.clock_ahead.set(now.clock_ahead_ms as f64 / 1_000.0);
        exposition::text(&shared.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(folder: &std::path::Path) -> Standing {
        Standing {
            link: LinkState::Online,
            way: Some(LinkWay::Tcp),
            commits: 12,
            unsent: 3,
            not_central: 5,
            print_jobs: 1,
            clock_ahead_ms: -1_500,
            damaged_files: 1,
            audited_ms: 1_700_000_000_123,
            reach: Reach { gone_until_ms: Some(1_690_000_000_500), gone: 7 },
            folder: folder.to_owned(),
        }
    }

    #[test]
    fn how_a_till_stands_is_in_the_text() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("replica")).expect("made");
        std::fs::write(folder.path().join("replica/replica.db"), "12345").expect("written");
        let metrics = Metrics::default();
        for result in [Ok(()), Err(ApiErrorCode::CartEmpty), Err(ApiErrorCode::Storage)] {
            metrics.command(result, Duration::from_millis(3));
        }
        let text = metrics.text(&standing(folder.path()));
        for line in [
            "evertill_commands_total{result=\"done\"} 1",
            "evertill_commands_total{result=\"refused\"} 1",
            "evertill_commands_total{result=\"failed\"} 1",
            "evertill_command_seconds_bucket{le=\"0.005\"} 3",
            "evertill_link_up 1",
            "evertill_link_over_tcp 1",
            "evertill_commits_total 12",
            "evertill_unsent_commits 3",
            "evertill_not_central_commits 5",
            "evertill_print_jobs_open 1",
            "evertill_replica_bytes 5",
            "evertill_damaged_files 1",
            "evertill_log_audited_timestamp_seconds 1700000000",
            "evertill_gone_entries_total 7",
            "evertill_gone_until_timestamp_seconds 1690000000",
            "evertill_clock_ahead_of_server_seconds -1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_documented() {
        let docs = include_str!("../../docs/operations.md");
        let text = Metrics::default().text(&standing(std::path::Path::new(".")));
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split(' ').next()) {
            assert!(docs.contains(&format!("`{name}")), "docs/operations.md does not list {name}");
        }
    }
}
