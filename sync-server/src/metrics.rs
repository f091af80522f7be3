//! What Prometheus is told: counters and histograms that the rest of the server moves, gauges that a scrape reads, and the port that
//! answers with them. `docs/operations.md` lists them.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use domain::ids::DeviceId;
use operations::damaged::{MachineFiles, all_aside};
use operations::machine::{disk_free_bytes, file_bytes};
use operations::metrics::{self as exposition, latency_buckets};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::region::AdmitError;

/// Devices whose clock is remembered; beyond that new ones are left out.
const CLOCKS_MAX: usize = 20_000;

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Device {
    device: String,
}

/// The metrics of one server. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    entries_admitted: Counter,
    commits_admitted: Counter,
    entries_refused: Family<Reason, Counter>,
    batch_runs: Histogram,
    ack_seconds: Histogram,
    enrolments: Family<Outcome, Counter>,
    web_requests: Family<Status, Counter>,
    devices_connected: Gauge,
    log_entries: Gauge,
    log_bytes: Gauge,
    damaged_files: Gauge,
    feed_behind: Gauge,
    central_up: Gauge,
    central_known_up: AtomicBool,
    projector_behind: Gauge,
    disk_free: Gauge,
    connections_tcp: Gauge,
    busy: Counter,
    catch_ups: Gauge,
    catch_ups_waiting: Gauge,
    slowed_seconds: Counter<f64, AtomicU64>,
    clock_ahead: Family<Device, Seconds>,
    clocks: Mutex<BTreeSet<DeviceId>>,
}

/// What only a scrape looks at.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// How many devices are connected.
    pub devices_connected: usize,
    /// How many connections go over TCP.
    pub connections_tcp: usize,
    /// The region sequence of the newest entry.
    pub log_entries: u64,
    /// The region sequence up to which the central database has everything, as far as this process knows.
    pub fed: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = exposition::registry("evertill-sync-server", env!("CARGO_PKG_VERSION"));
        let mut shared = Shared {
            entries_admitted: Counter::default(),
            commits_admitted: Counter::default(),
            entries_refused: Family::default(),
            batch_runs: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
            ack_seconds: Histogram::new(latency_buckets()),
            enrolments: Family::default(),
            web_requests: Family::default(),
            devices_connected: Gauge::default(),
            log_entries: Gauge::default(),
            log_bytes: Gauge::default(),
            damaged_files: Gauge::default(),
            feed_behind: Gauge::default(),
            central_up: Gauge::default(),
            central_known_up: AtomicBool::new(false),
            projector_behind: Gauge::default(),
            disk_free: Gauge::default(),
            connections_tcp: Gauge::default(),
            busy: Counter::default(),
            catch_ups: Gauge::default(),
            catch_ups_waiting: Gauge::default(),
            slowed_seconds: Counter::default(),
            clock_ahead: Family::default(),
            clocks: Mutex::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        r.register("devices_connected", "Devices that are connected now", shared.devices_connected.clone());
        r.register("entries_admitted", "Entries of devices that were taken into the log", shared.entries_admitted.clone());
        r.register("commits_admitted", "Commits of devices that were taken into the log", shared.commits_admitted.clone());
        r.register("entries_refused", "Entries of devices that were refused, by reason", shared.entries_refused.clone());
        r.register("admission_batch_runs", "Runs of commits that were synced to disk together", shared.batch_runs.clone());
        r.register("ack_seconds", "From a run's arrival to its acknowledgement, synced to disk", shared.ack_seconds.clone());
        r.register("enrolments", "Devices that asked to be enrolled, by outcome", shared.enrolments.clone());
        r.register("log_entries", "Entries in the region's log", shared.log_entries.clone());
        r.register("log_bytes", "Size of the region's log with its write-ahead log", shared.log_bytes.clone());
        r.register("damaged_files", "Damaged files that are kept beside the region's log", shared.damaged_files.clone());
        r.register("feed_behind_entries", "Entries that the central database does not have yet", shared.feed_behind.clone());
        r.register("central_up", "Whether the central database answers: 1 or 0", shared.central_up.clone());
        r.register(
            "projector_behind_entries",
            "Entries in the central database that the read model does not show yet, about",
            shared.projector_behind.clone(),
        );
        r.register("web_requests", "Answers of the manager page and its API, by status", shared.web_requests.clone());
        r.register("disk_free_bytes", "Free space on the disk of the data folder", shared.disk_free.clone());
        r.register("connections_tcp", "Connections of devices that go over TCP now", shared.connections_tcp.clone());
        r.register("devices_told_busy", "Devices that found no place and were asked to come back", shared.busy.clone());
        r.register("catch_ups", "Devices that catch up with much now", shared.catch_ups.clone());
        r.register(
            "catch_ups_waiting",
            "Devices that wait for their turn to catch up with much",
            shared.catch_ups_waiting.clone(),
        );
        r.register(
            "devices_slowed_seconds",
            "How long devices beyond their quota were not read from",
            shared.slowed_seconds.clone(),
        );
        r.register(
            "device_clock_ahead_seconds",
            "How far a device's clock was ahead of the server's when it connected last; negative when behind",
            shared.clock_ahead.clone(),
        );
        shared.registry = registry;
        Self { shared: Arc::new(shared) }
    }
}

impl Metrics {
    /// A group of runs was synced together; so many new entries and commits came of it.
    pub fn admitted(&self, runs: usize, entries: u64, commits: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a group has few runs")]
        self.shared.batch_runs.observe(runs as f64);
        self.shared.entries_admitted.inc_by(entries);
        self.shared.commits_admitted.inc_by(commits);
    }

    /// So many entries were refused.
    pub fn refused(&self, error: &AdmitError, entries: u64) {
        self.shared.entries_refused.get_or_create(&Reason { reason: reason(error) }).inc_by(entries);
    }

    /// A run was acknowledged so long after it arrived.
    pub fn acknowledged(&self, after: std::time::Duration) {
        self.shared.ack_seconds.observe(after.as_secs_f64());
    }

    /// A device found no place.
    pub fn told_busy(&self) {
        self.shared.busy.inc();
    }

    /// A device catches up with much, for as long as the answer is kept.
    pub fn catches_up(&self) -> Counted {
        Counted::in_gauge(&self.shared.catch_ups)
    }

    /// A device waits for its turn to catch up, for as long as the answer is kept.
    pub fn catch_up_waits(&self) -> Counted {
        Counted::in_gauge(&self.shared.catch_ups_waiting)
    }

    /// A device is not read from for so long.
    pub fn slowed(&self, for_long: std::time::Duration) {
        self.shared.slowed_seconds.inc_by(for_long.as_secs_f64());
    }

    /// How long devices were not read from so far, in seconds.
    pub fn slowed_seconds(&self) -> f64 {
        self.shared.slowed_seconds.get()
    }

    /// A device asked to be enrolled.
    pub fn enrolment(&self, granted: bool) {
        let outcome = if granted { "granted" } else { "denied" };
        self.shared.enrolments.get_or_create(&Outcome { outcome }).inc();
    }

    /// A request of the manager page was answered.
    pub fn web_request(&self, status: u16) {
        self.shared.web_requests.get_or_create(&Status { status }).inc();
    }

    /// A device greeted with its own clock.
    pub fn clock(&self, device: DeviceId, device_ms: u64, server_ms: u64) {
        let mut clocks = self.shared.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        if clocks.len() >= CLOCKS_MAX && !clocks.contains(&device) {
            return;
        }
        clocks.insert(device);
        drop(clocks);
        let ahead_ms = i128::from(device_ms) - i128::from(server_ms);
        #[expect(clippy::cast_precision_loss, reason = "a difference of clocks needs no more digits")]
        self.shared.clock_ahead.get_or_create(&Device { device: device.to_string() }).set(ahead_ms as f64 / 1_000.0);
    }

    /// Whether the central database answers. Answers whether that is news.
    pub fn central(&self, up: bool) -> bool {
        self.shared.central_up.set(i64::from(up));
        self.shared.central_known_up.swap(up, Ordering::Relaxed) != up
    }

    /// Whether the central database answered when it was last asked.
    pub fn central_is_up(&self) -> bool {
        self.shared.central_known_up.load(Ordering::Relaxed)
    }

    /// How many entries the read model lacks, about.
    pub fn projector_behind(&self, entries: u64) {
        self.shared.projector_behind.set(entries.cast_signed());
    }

    /// The text of a scrape.
    fn text(&self, data: &std::path::Path, now: Now) -> String {
        let shared = &self.shared;
        shared.devices_connected.set(i64::try_from(now.devices_connected).unwrap_or(i64::MAX));
        shared.connections_tcp.set(i64::try_from(now.connections_tcp).unwrap_or(i64::MAX));
        shared.log_entries.set(now.log_entries.cast_signed());
        shared.feed_behind.set(now.log_entries.saturating_sub(now.fed).cast_signed());
        let log = data.join("region.db");
        shared.log_bytes.set((file_bytes(&log) + file_bytes(&data.join("region.db-wal"))).cast_signed());
        let damaged = all_aside(&MachineFiles, &log).map_or(0, |files| files.len());
        shared.damaged_files.set(i64::try_from(damaged).unwrap_or(i64::MAX));
        shared.disk_free.set(disk_free_bytes(data).unwrap_or(0).cast_signed());
        exposition::text(&shared.registry)
    }
}

/// Something that a gauge counts until this is dropped.
#[derive(Debug)]
pub struct Counted {
    gauge: Gauge,
}

impl Counted {
    fn in_gauge(gauge: &Gauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A word for every way to be refused.
fn reason(error: &AdmitError) -> &'static str {
    match error {
        AdmitError::UnknownDevice(_) => "unknown_device",
        AdmitError::NotTheSender(_) => "not_the_sender",
        AdmitError::Scope(_) => "scope",
        AdmitError::Gap { .. } => "gap",
        AdmitError::TooManyHistories => "too_many_histories",
        AdmitError::Regressed => "regressed",
        AdmitError::Entry(_) => "entry",
        AdmitError::Chain(_) => "chain",
        AdmitError::Region(_) => "log",
    }
}

/// The port that answers with the metrics.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
}

impl MetricsServer {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken or not this machine's.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until told to stop.
    pub async fn run(
        self,
        metrics: Metrics,
        data: PathBuf,
        now: impl Fn() -> Now + Clone + Send + Sync + 'static,
        mut stop: watch::Receiver<bool>,
    ) {
        let scrape = async move || ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], metrics.text(&data, now()));
        let router = Router::new().route("/metrics", get(scrape));
        let served = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => {
                let stopped = async move {
                    let _ = stop.wait_for(|stop| *stop).await;
                };
                axum::serve(listener, router).with_graceful_shutdown(stopped).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the metrics are no longer served");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_in_the_text() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("region.db"), "12345").expect("written");
        let metrics = Metrics::default();
        metrics.admitted(3, 7, 5);
        metrics.refused(&AdmitError::TooManyHistories, 2);
        metrics.acknowledged(std::time::Duration::from_millis(3));
        metrics.enrolment(true);
        metrics.enrolment(false);
        metrics.web_request(404);
        let device = DeviceId(uuid::Uuid::from_bytes([7; 16]));
        metrics.clock(device, 1_500, 4_000);
        assert!(metrics.central(true) && !metrics.central(true) && metrics.central_is_up());
        metrics.projector_behind(4);
        metrics.told_busy();
        metrics.slowed(std::time::Duration::from_millis(1_500));
        let _one = metrics.catches_up();
        drop(metrics.catches_up());
        let _two = [metrics.catch_up_waits(), metrics.catch_up_waits()];
        let text = metrics.text(folder.path(), Now { devices_connected: 2, connections_tcp: 1, log_entries: 9, fed: 6 });
        for line in [
            "evertill_entries_admitted_total 7",
            "evertill_commits_admitted_total 5",
            "evertill_entries_refused_total{reason=\"too_many_histories\"} 2",
            "evertill_admission_batch_runs_bucket{le=\"4.0\"} 1",
            "evertill_ack_seconds_bucket{le=\"0.005\"} 1",
            "evertill_enrolments_total{outcome=\"denied\"} 1",
            "evertill_web_requests_total{status=\"404\"} 1",
            "evertill_device_clock_ahead_seconds{device=\"07070707-0707-0707-0707-070707070707\"} -2.5",
            "evertill_devices_connected 2",
            "evertill_connections_tcp 1",
            "evertill_devices_told_busy_total 1",
            "evertill_devices_slowed_seconds_total 1.5",
            "evertill_catch_ups 1",
            "evertill_catch_ups_waiting 2",
            "evertill_log_entries 9",
            "evertill_log_bytes 5",
            "evertill_feed_behind_entries 3",
            "evertill_central_up 1",
            "evertill_projector_behind_entries 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn alerts_name_metrics_that_exist() {
        let docs = include_str!("../../docs/operations.md");
        let alerts = include_str!("../../deploy/prometheus-alerts.yml");
        let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
        let names: Vec<&str> = alerts.split(|c| !is_part(c)).filter(|word| word.starts_with("evertill_")).collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            let name = name.trim_end_matches("_bucket");
            assert!(docs.contains(&format!("`{name}")), "{name} is no metric of docs/operations.md");
        }
    }

    #[test]
    fn every_metric_is_documented() {
        let docs = include_str!("../../docs/operations.md");
        let metrics = Metrics::default();
        let text =
            metrics.text(std::path::Path::new("."), Now { devices_connected: 0, connections_tcp: 0, log_entries: 0, fed: 0 });
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split(' ').next()) {
            assert!(docs.contains(&format!("`{name}")), "docs/operations.md does not list {name}");
        }
    }
}
