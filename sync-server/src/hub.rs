//! The one owner of the region's log, and the way to it.
//!
//! One task owns [`Region`], on a thread of its own. Connections hand it runs; everything that is waiting is admitted with one sync (group commit), and
//! nobody is answered before that. Whoever follows the log watches [`Hub::grown`]; how far the central database has it is in
//! [`Hub::central`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::DeviceId;
use journal::Origin;
use sync_proto::batch::Run;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::live::{Live, SaleTeller};
use crate::metrics::Metrics;
use crate::posted::{Post, Posted};
use crate::region::{AdmitError, Admitted, AuthorError, Region, RegionError, Sender};

/// How many jobs may wait for the owner; more wait in their connections.
const JOBS_MAX: usize = 1_024;
/// How many runs are admitted with one sync.
const GROUP_MAX: usize = 256;

/// Why the hub did not answer.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The owner has stopped.
    #[error("the server is stopping")]
    Stopped,
    /// The log refuses; nothing was kept.
    #[error("the region's log refuses: {0}")]
    Log(Arc<RegionError>),
    /// The log does not go on under a new incarnation.
    #[error("the region's log does not begin anew: {0}")]
    Renew(Arc<AuthorError>),
    /// The run was refused.
    #[error(transparent)]
    Admit(#[from] AdmitError),
}

type Work = Box<dyn FnOnce(&mut Region) + Send>;
type Done = oneshot::Sender<Result<Admitted, HubError>>;

enum Job {
    Admit { sender: Sender, run: Run, done: Done },
    With(Work),
}

/// When a device was heard last, and which commit it is known to have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The incarnation it wrote under.
    pub incarnation: [u8; 16],
    /// Its last known commit.
    pub commit: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Its clock less the server's when it last greeted; none when it did not say.
    pub clock_drift_ms: Option<i64>,
}

/// The way to the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    jobs: mpsc::Sender<Job>,
    grown: Posted<u64>,
    central: Arc<Post<Arc<BTreeMap<Origin, u64>>>>,
    fed: Arc<Post<u64>>,
    heard: Arc<Mutex<BTreeMap<DeviceId, Heard>>>,
    metrics: Metrics,
    region: Arc<Post<[u8; 16]>>,
    regressed: Arc<Regressed>,
    damage: Arc<Damage>,
    live: Live,
}

/// What speaks of damage.
#[derive(Debug, Default)]
struct Damage {
    is_suspected: AtomicBool,
    suspected: Notify,
    /// Whether the log was put aside.
    is_put_aside: AtomicBool,
}

/// How often it was noticed that the log was put back from a backup, and how often it has gone on under a new incarnation since.
#[derive(Debug)]
struct Regressed {
    noticed: Post<u64>,
    renewed: AtomicU64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Admit { .. } => "Admit",
            Self::With(_) => "With",
        })
    }
}

impl Hub {
    /// Gives the log a thread of its own.
    ///
    /// # Panics
    /// When the system refuses a thread.
    pub fn spawn(region: Region) -> Self {
        Self::spawn_live(region, Live::default(), || 0)
    }

    /// The same, telling whoever watches of every sale that was accepted, with the time that `now_ms` says.
    ///
    /// # Panics
    /// When the system refuses a thread, or what a runtime needs.
    pub fn spawn_live(region: Region, live: Live, now_ms: impl Fn() -> u64 + Send + 'static) -> Self {
        let (hub, owner) = Self::with_owner(region, live, now_ms);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O needs nothing");
        std::thread::Builder::new()
            .name("region-log".to_owned())
            .spawn(move || runtime.block_on(owner))
            .expect("the system gives a thread");
        hub
    }

    /// The way to a log and its owner, who works wherever the caller lets it run and blocks there while SQLite does: a simulation, whose
    /// time must not pass while a thread works, runs everything in one.
    pub fn with_owner(
        region: Region,
        live: Live,
        now_ms: impl Fn() -> u64 + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let growing = Post::new(region.last_seq());
        let grown = growing.reader();
        let regressed = Arc::new(Regressed { noticed: Post::new(0), renewed: AtomicU64::new(0) });
        let id = Arc::new(Post::new(region.own().incarnation));
        let metrics = Metrics::default();
        let counted = metrics.clone();
        let sales = SaleTeller::new(live.clone(), now_ms);
        let damage = Arc::<Damage>::default();
        let owner = own(region, inbox, growing, counted, sales, damage.clone());
        (
            Self {
                jobs,
                grown,
                central: Arc::new(Post::new(Arc::default())),
                fed: Arc::new(Post::new(0)),
                heard: Arc::default(),
                metrics,
                region: id,
                regressed,
                damage,
                live,
            },
            owner,
        )
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The region's incarnation.
    pub fn region(&self) -> [u8; 16] {
        self.region.reader().get()
    }

    /// The region's incarnation, as it changes.
    pub fn regions(&self) -> Posted<[u8; 16]> {
        self.region.reader()
    }

    /// Notes that the log of a region was put back from a backup. [`crate::refill`] sees to it. Of one that has gone on anew since it is no news.
    pub fn regressed(&self, region: [u8; 16]) {
        if region != self.region() {
            return;
        }
        let renewed = self.renewals();
        // Once is enough, until it was seen to.
        self.regressed.noticed.modify(|noticed| std::mem::replace(noticed, renewed + 1) <= renewed);
    }

    /// How often that was noticed.
    pub fn regressions(&self) -> Posted<u64> {
        self.regressed.noticed.reader()
    }

    /// How often the log has gone on under a new incarnation since this process began.
    pub fn renewals(&self) -> u64 {
        self.regressed.renewed.load(Ordering::Relaxed)
    }

    /// Lets the log go on under a new incarnation. Connected devices greet anew.
    ///
    /// # Errors
    /// A log that refuses, or a server that stops.
    pub async fn renew(&self, incarnation: [u8; 16], now_ms: u64) -> Result<(), HubError> {
        let renewed = self.with(move |region| region.renew(incarnation, now_ms)).await?;
        renewed.map_err(|error| HubError::Renew(Arc::new(error)))?;
        self.region.modify(|region| std::mem::replace(region, incarnation) != incarnation);
        self.regressed.renewed.fetch_add(1, Ordering::Relaxed);
        self.note_fed(0);
        Ok(())
    }

    /// Notes that something speaks of damage in the log. [`crate::care`] sees to it.
    pub fn suspect(&self) {
        self.damage.is_suspected.store(true, Ordering::Relaxed);
        self.damage.suspected.notify_one();
    }

    /// Whether something has spoken of damage since this was last asked.
    pub fn is_suspected(&self) -> bool {
        self.damage.is_suspected.swap(false, Ordering::Relaxed)
    }

    /// Returns when something speaks of damage.
    pub async fn suspected(&self) {
        while !self.is_suspected() {
            self.damage.suspected.notified().await;
        }
    }

    /// Whether the log was damaged and is put aside: it has to be opened anew.
    pub fn is_put_aside(&self) -> bool {
        self.damage.is_put_aside.load(Ordering::Relaxed)
    }

    /// What happens in this server, for those who watch.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Admits a run; what the answer says is synced to disk.
    ///
    /// # Errors
    /// A run that is refused, a log that refuses, or a server that stops.
    pub async fn admit(&self, sender: Sender, run: Run) -> Result<Admitted, HubError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Admit { sender, run, done }).await.map_err(|_| HubError::Stopped)?;
        answer.await.map_err(|_| HubError::Stopped)?
    }

    /// Runs `work` at the owner.
    ///
    /// # Errors
    /// A server that stops.
    pub async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T, HubError> {
        let (done, answer) = oneshot::channel();
        let job = Job::With(Box::new(move |region| {
            let _ = done.send(work(region));
        }));
        self.jobs.send(job).await.map_err(|_| HubError::Stopped)?;
        answer.await.map_err(|_| HubError::Stopped)
    }

    /// Runs `work` at the owner and waits for it; for threads that may block.
    ///
    /// # Errors
    /// A server that stops.
    pub fn with_blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T, HubError> {
        let (done, answer) = oneshot::channel();
        let job = Job::With(Box::new(move |region| {
            let _ = done.send(work(region));
        }));
        self.jobs.blocking_send(job).map_err(|_| HubError::Stopped)?;
        answer.blocking_recv().map_err(|_| HubError::Stopped)
    }

    /// The region sequence of the newest entry, as it grows.
    pub fn grown(&self) -> Posted<u64> {
        self.grown.clone()
    }

    /// The last commit of every origin that the central database has, as it grows.
    pub fn central(&self) -> Posted<Arc<BTreeMap<Origin, u64>>> {
        self.central.reader()
    }

    /// The region sequence up to which the central database has this log. Lower than before when that was put back from a backup.
    pub fn fed(&self) -> Posted<u64> {
        self.fed.reader()
    }

    /// Notes up to which region sequence the central database has this log.
    pub fn note_fed(&self, region_seq: u64) {
        self.fed.modify(|fed| std::mem::replace(fed, region_seq) != region_seq);
    }

    /// Resolves when the owner has ended, which it does on its own only when it broke.
    pub async fn ended(&self) {
        self.jobs.closed().await;
    }

    /// Whether the owner takes no more jobs.
    pub fn is_ended(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Notes that the central database has commits.
    pub fn note_central(&self, commits: impl IntoIterator<Item = (Origin, u64)>) {
        self.central.modify(|known| {
            let (known, mut news) = (Arc::make_mut(known), false);
            for (origin, commit) in commits {
                let last = known.entry(origin).or_default();
                news |= commit > *last;
                *last = commit.max(*last);
            }
            news
        });
    }

    /// Notes that a device was heard.
    pub fn note_heard(&self, device: DeviceId, heard: Heard) {
        let mut all = self.heard();
        let last = all.entry(device).or_insert(heard);
        let commit = if last.incarnation == heard.incarnation { last.commit.max(heard.commit) } else { heard.commit };
        let clock_drift_ms = heard.clock_drift_ms.or(last.clock_drift_ms);
        *last = Heard { commit, clock_drift_ms, ..heard };
    }

    /// When every device was heard last.
    pub fn all_heard(&self) -> BTreeMap<DeviceId, Heard> {
        self.heard().clone()
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owner's loop: takes what waits, admits it together, answers.
async fn own<F: Fn() -> u64>(
    mut region: Region,
    mut inbox: mpsc::Receiver<Job>,
    growing: Post<u64>,
    metrics: Metrics,
    mut sales: SaleTeller<F>,
    damage: Arc<Damage>,
) {
    let mut waiting = Vec::with_capacity(GROUP_MAX);
    while let Some(first) = inbox.recv().await {
        let mut job = Some(first);
        while let Some(next) = job.take() {
            match next {
                Job::Admit { sender, run, done } => waiting.push((sender, run, done)),
                Job::With(work) => {
                    admit(&mut region, &mut waiting, &metrics, &mut sales, &damage);
                    work(&mut region);
                    if region.is_over() {
                        damage.is_put_aside.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
            if waiting.len() < GROUP_MAX {
                job = inbox.try_recv().ok();
            }
        }
        admit(&mut region, &mut waiting, &metrics, &mut sales, &damage);
        growing.modify(|seq| std::mem::replace(seq, region.last_seq()) != region.last_seq());
    }
}

fn admit<F: Fn() -> u64>(
    region: &mut Region,
    waiting: &mut Vec<(Sender, Run, Done)>,
    metrics: &Metrics,
    sales: &mut SaleTeller<F>,
    damage: &Damage,
) {
    if waiting.is_empty() {
        return;
    }
    sales.before(region);
    let entries = |run: &Run| run.commits.iter().map(|commit| commit.entries.len() as u64).sum::<u64>();
    let (runs, answers): (Vec<_>, Vec<_>) = waiting
        .drain(..)
        .map(|(sender, run, done)| {
            let count = entries(&run);
            ((sender, run), (sender, count, done))
        })
        .unzip();
    let (before, count) = ((region.last_seq(), region.commits_written()), runs.len());
    match region.admit_all(runs) {
        Ok(results) => {
            metrics.admitted(count, region.last_seq() - before.0, region.commits_written() - before.1);
            for (result, (sender, entries, done)) in results.into_iter().zip(answers) {
                if let Err(error) = &result {
                    metrics.refused(error, entries);
                    tracing::warn!(event = "entries_refused", device = %sender.device(), entries, %error, "entries of a device are refused");
                }
                let _ = done.send(result.map_err(HubError::from));
            }
            // Whoever sells has the answer; whoever watches comes after.
            sales.after(region);
        }
        Err(error) => {
            if error.is_damage() {
                damage.is_suspected.store(true, Ordering::Relaxed);
                damage.suspected.notify_one();
            }
            let error = Arc::new(error);
            for (_, _, done) in answers {
                let _ = done.send(Err(HubError::Log(error.clone())));
            }
        }
    }
}
