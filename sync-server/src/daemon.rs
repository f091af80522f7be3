//! All of the server together: opened once, run until told to stop.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use operations::damaged::{MachineFiles, aside};
use sync_proto::enrolment::{CODE_LETTERS, Link, code};
use sync_proto::env::{Env, random};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authority::{Authority, AuthorityError};
use crate::care;
use crate::central::feed;
use crate::central::{CentralError, CentralStore, Contact, Postgres, lag, projector};
use crate::config::Config;
use crate::hub::Hub;
use crate::import::Importer;
use crate::live::{self, Live};
use crate::log_source::LogSource;
use crate::metrics::{Metrics, MetricsServer, Now};
use crate::quic::{Quic, QuicError, TcpDoor};
use crate::region::{AuthorError, Region, RegionError, Writer};
use crate::web::{EnrolmentDesk, IssueError, WebError, WebServer, WebState, accounts};
use crate::web_api::EnrolmentCode;
use crate::{refill, servers};

/// How often the central database is told which devices were heard.
const CONTACTS_EVERY: Duration = Duration::from_millis(500);
/// How often the central database is asked what managers are called.
const NAMES_EVERY: Duration = Duration::from_secs(5);
/// How often the central database is asked whether it is there.
const LOOK_AT_CENTRAL_EVERY: Duration = Duration::from_secs(2);
/// How long the feed may take, once devices are gone, to bring the last entries to the central database.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// How long what is left may take once everything was told to end.
const END_MAX: Duration = Duration::from_secs(1);
/// How long to wait before trying again to reach a central database that is away at the start.
const MIGRATE_AGAIN: Duration = Duration::from_secs(2);

/// The folder in the data folder that holds the files of imports until they are written.
pub const IMPORTS_FOLDER: &str = "imports";

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another process has the data folder.
    #[error("another evertill-sync-server uses {}: stop it first", .0.display())]
    Locked(PathBuf),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data folder has not been prepared.
    #[error("{} holds no region: run `evertill-sync-server init` first", .0.display())]
    NotInitialised(PathBuf),
    /// Keys or certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The log.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The server's own first words.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The QUIC face.
    #[error("cannot listen for devices on {address}")]
    Quic {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: QuicError,
    },
    /// The metrics.
    #[error("cannot listen on {address} (metrics.listen): choose another port, or stop the program that has it")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The manager page.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The central database's address.
    #[error(transparent)]
    Central(#[from] CentralError),
    /// The log was damaged.
    #[error("the region's log was damaged and is put aside: start the server again, and it goes on with what can still be read")]
    PutAside,
    /// The owner of the region's log broke. Nothing that it acknowledged is lost; a fresh process reads the log anew.
    #[error("the owner of the region's log has ended: start the server again, and report what it said before")]
    LogEnded,
}

/// The data folder, locked, with the log and the authority open.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub region: Region,
    /// The authority.
    pub authority: Arc<Authority>,
    /// Held for as long as the folder is used.
    pub _lock: File,
}

/// Opens a data folder. With `create`, makes it when it is not there.
///
/// # Errors
/// A folder that another process has, that holds no region, or that cannot be used.
pub fn open(data: &Path, env: &dyn Env, create: bool) -> Result<Opened, DaemonError> {
    let folder_error = |source| DaemonError::Folder { path: data.to_owned(), source };
    let log = data.join("region.db");
    if create {
        std::fs::create_dir_all(data).map_err(folder_error)?;
    } else if !log.exists() && !aside(&log, 1).exists() {
        return Err(DaemonError::NotInitialised(data.to_owned()));
    }
    let lock = File::options().create(true).append(true).open(data.join("lock")).map_err(folder_error)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DaemonError::Locked(data.to_owned())),
        Err(TryLockError::Error(source)) => return Err(folder_error(source)),
    }
    if log.exists() || aside(&log, 1).exists() {
        Authority::check_keys(data)?;
    }
    let authority = Arc::new(Authority::open(data)?);
    let writer = Writer {
        device: authority.server_device(),
        incarnation: random(env),
        actor_seed: random(env),
        key: authority.seal_key().clone(),
    };
    let mut region = Region::open_or_begin_anew(&log, None, Arc::new(MachineFiles), writer)?;
    region.start(env.unix_ms(), env!("CARGO_PKG_VERSION"))?;
    Ok(Opened { region, authority, _lock: lock })
}

/// What a running server listens on.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// The UDP address for devices.
    pub sync: std::net::SocketAddr,
    /// The TCP address for devices; none when it was not asked for and is taken.
    pub sync_tcp: Option<std::net::SocketAddr>,
    /// The TCP address of the manager page.
    pub web: std::net::SocketAddr,
    /// The TCP address of the metrics.
    pub metrics: std::net::SocketAddr,
}

/// Runs the server until told to stop. `ready` is called once, when it listens.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    config: &Config,
    env: Arc<dyn Env>,
    stop: watch::Receiver<bool>,
    ready: impl FnOnce(Listening),
) -> Result<(), DaemonError> {
    let Opened { region, authority, _lock } = open(&config.data, &*env, false)?;
    let central = Postgres::new(&config.central.url)?;
    let web = WebServer::bind(&config.web)?;
    let address = config.metrics.listen;
    let metrics_server = MetricsServer::bind(address).map_err(|source| DaemonError::Metrics { address, source })?;
    let live = Live::default();
    let clock = env.clone();
    // The server is a device of the list as well, and as much at work as this process.
    let _at_work = live.connect(domain::ids::DeviceId(uuid::Uuid::from_bytes(region.own().device)));
    let hub = Hub::spawn_live(region, live.clone(), move || clock.unix_ms());
    let web = web.counted_by(hub.metrics().clone());
    let quic = Quic::with_limits(hub.clone(), authority.clone(), env.clone(), config.limits.into());
    let address = config.sync.listen;
    let endpoint = quic.bind(address).map_err(|source| DaemonError::Quic { address, source })?;
    let sync = endpoint.local_addr().unwrap_or(address);
    let door = tcp_door(&quic, config.sync.listen_tcp, sync)?;
    let listening = Listening {
        sync,
        sync_tcp: door.as_ref().and_then(|door| door.local_addr().ok()),
        web: web.local_addr().unwrap_or(config.web.listen),
        metrics: metrics_server.local_addr().unwrap_or(config.metrics.listen),
    };
    let public = config.sync.public.clone().unwrap_or_else(|| listening.sync.to_string());
    let meeting = servers::run(hub.clone(), authority.clone(), public.clone(), central.clone(), env.clone(), stop.clone());
    let desk = Desk { hub: hub.clone(), authority, env: env.clone(), public };
    let importer = Importer::new(hub.clone(), config.data.join(IMPORTS_FOLDER), env.clone(), live.clone(), stop.clone());
    if let Err(error) = importer.resume().await {
        tracing::error!(%error, "imports that were interrupted do not go on");
    }
    let (draining, owner) = (stop.clone(), hub.clone());
    let (filling, caring) = (env.clone(), env.clone());
    let state = WebState::with_readiness(central.clone(), desk, env, move || !*draining.borrow() && !owner.is_ended())
        .with_live(live.clone())
        .with_catalogue(hub.clone(), importer.clone());

    // The order of stopping: `/readyz` says no, devices hear goodbye, the feed brings the last entries away, and only then do the rest
    // and the web page end, which until then say that the server is stopping.
    let (end, ending) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let connected = quic.clone();
    let (grown, fed) = (hub.grown(), hub.fed());
    let now = move || Now {
        devices_connected: connected.connected().len(),
        connections_tcp: connected.connected_over_tcp(),
        log_entries: grown.get(),
        fed: fed.get(),
    };
    tasks.spawn(metrics_server.run(hub.metrics().clone(), config.data.clone(), now, ending.clone()));
    tasks.spawn(live::follow_figures(live, central.clone(), ending.clone()));
    tasks.spawn(refill::watch(hub.clone(), filling, ending.clone()));
    tasks.spawn(follow_central(hub.clone(), central, ending.clone()));
    tasks.spawn(meeting);
    tasks.spawn(care::run(hub.clone(), caring, ending.clone()));
    let over_tcp = door.map(|door| quic.clone().run_tcp(door, stop.clone()));
    let over_quic = quic.run(endpoint, stop.clone());
    let devices = tokio::spawn(async {
        match over_tcp {
            Some(over_tcp) => drop(tokio::join!(over_quic, over_tcp)),
            None => over_quic.await,
        }
    });
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        sync = %listening.sync,
        sync_tcp = listening.sync_tcp.map(tracing::field::display),
        web = %listening.web,
        metrics = %listening.metrics,
        entries = hub.grown().get(),
        "the server takes entries"
    );
    ready(listening);
    let mut serving = tokio::spawn(web.run(state, ending));
    let stopping = async {
        let mut stop = stop;
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let early = tokio::select! {
        biased;
        served = &mut serving => Some(served),
        // Without it no sale would be taken again, and the devices would never learn why.
        () = hub.ended() => return Err(if hub.is_put_aside() { DaemonError::PutAside } else { DaemonError::LogEnded }),
        () = stopping => None,
    };
    tracing::info!(event = "stopping", "devices are told goodbye");
    if early.is_none() {
        let _ = devices.await;
        flush(&hub).await;
    }
    end.send_replace(true);
    let served = match early {
        Some(served) => served,
        None => serving.await,
    };
    let ended = async { while tasks.join_next().await.is_some() {} };
    // Somebody who never ends a scrape does not keep the server.
    let _ = tokio::time::timeout(END_MAX, ended).await;
    // The folder is given back when nobody writes in it any more.
    importer.ended().await;
    if let Ok(Err(error)) = hub.with(|region| region.end_use()).await {
        tracing::warn!(%error, "the log could not note that the server ends");
    }
    tracing::info!(event = "stopped", "the server ended");
    // A panic of the page was printed where it happened.
    Ok(served.unwrap_or(Ok(()))?)
}

/// Where devices come over TCP: at the address that was asked for, or where they come over UDP. There another program may have the port, which is
/// no reason not to serve over UDP.
fn tcp_door(quic: &Quic, asked: Option<SocketAddr>, udp: SocketAddr) -> Result<Option<TcpDoor>, DaemonError> {
    match (quic.bind_tcp(asked.unwrap_or(udp)), asked) {
        (Ok(door), _) => Ok(Some(door)),
        (Err(source), Some(address)) => Err(DaemonError::Quic { address, source }),
        (Err(error), None) => {
            let problem = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(
                address = %udp,
                problem,
                "devices whose network lets no UDP through cannot connect: free this TCP port, or set sync.listen_tcp"
            );
            Ok(None)
        }
    }
}

/// Gives the feed a moment to bring the last entries to the central database. What it does not bring it brings after the next start.
async fn flush(hub: &Hub) {
    if !hub.metrics().central_is_up() {
        return;
    }
    let last = hub.grown().get();
    if tokio::time::timeout(FLUSH_MAX, hub.fed().wait_for(|fed| *fed >= last)).await.is_err() {
        tracing::warn!("the central database has not taken the last entries yet: they follow after the next start");
    }
}

/// Asks the central database now and then whether it is there, and says when that changed.
async fn watch_central(central: &Postgres, metrics: &Metrics) {
    let mut asked = false;
    loop {
        let answer = central.ping().await;
        let changed = metrics.central(answer.is_ok());
        match answer {
            Ok(()) if changed => tracing::info!(event = "central_back", "the central database answers"),
            Err(error) if changed || !asked => {
                tracing::warn!(event = "central_away", %error, "the central database is away; tills go on");
            }
            _ => {}
        }
        asked = true;
        if let Ok(behind) = lag::projector_behind(central).await {
            metrics.projector_behind(behind);
        }
        tokio::time::sleep(LOOK_AT_CENTRAL_EVERY).await;
    }
}

/// Feeds and projects, from when the central database is there and migrated.
async fn follow_central(hub: Hub, central: Postgres, stop: watch::Receiver<bool>) {
    let work = async {
        while let Err(error) = central.migrate().await {
            tracing::warn!(%error, "the central database cannot be prepared; tills go on, this is tried again");
            tokio::time::sleep(MIGRATE_AGAIN).await;
        }
        let source = LogSource::new(hub.clone());
        tokio::join!(
            feed::run(source, central.clone(), stop.clone()),
            projector::run(central.clone(), stop.clone()),
            refill::run(hub.clone(), central.clone(), stop.clone()),
            tell_contacts(&hub, &central),
            learn_names(&hub, &central),
        )
    };
    let mut stopping = stop.clone();
    tokio::select! {
        biased;
        () = async { let _ = stopping.wait_for(|stop| *stop).await; } => {}
        () = watch_central(&central, hub.metrics()) => {}
        _ = work => {}
    }
}

/// Tells the central database which devices were heard, so that figures can say what they cover.
async fn tell_contacts(hub: &Hub, central: &Postgres) {
    let mut told = BTreeMap::new();
    let mut interval = tokio::time::interval(CONTACTS_EVERY);
    loop {
        interval.tick().await;
        let heard = hub.all_heard();
        let news: Vec<Contact> = heard
            .iter()
            .filter(|(device, heard)| told.get(*device) != Some(*heard))
            .map(|(device, heard)| Contact {
                device: *device.as_bytes(),
                incarnation: heard.incarnation,
                commit: heard.commit,
                seen_at_ms: heard.at_ms,
                clock_drift_ms: heard.clock_drift_ms,
            })
            .collect();
        if !news.is_empty() && central.seen(&news).await.is_ok() {
            told = heard;
        }
    }
}

/// Learns what managers are called who write at other servers, or wrote before this log was lost.
async fn learn_names(hub: &Hub, central: &Postgres) {
    let mut known = BTreeMap::new();
    let mut interval = tokio::time::interval(NAMES_EVERY);
    loop {
        interval.tick().await;
        let Ok(names) = accounts::names(central).await else { continue };
        if names == known {
            continue;
        }
        let learnt = names.clone();
        match hub.with(move |region| region.know_authors(&learnt)).await {
            Ok(Ok(())) => known = names,
            Ok(Err(error)) => tracing::error!(%error, "the names of managers cannot be written down"),
            Err(_) => return,
        }
    }
}

/// Gives out enrolment codes.
struct Desk {
    hub: Hub,
    authority: Arc<Authority>,
    env: Arc<dyn Env>,
    public: String,
}

impl EnrolmentDesk for Desk {
    fn issue(&self, store_code: &str, name: &str) -> Result<EnrolmentCode, IssueError> {
        let (store, name, env, authority, public) =
            (store_code.to_owned(), name.to_owned(), self.env.clone(), self.authority.clone(), self.public.clone());
        let issued = self.hub.with_blocking(move |region| issue(region, &authority, &public, &store, &name, &*env));
        match issued {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(AuthorError::NoSuchStore(code))) => Err(IssueError::UnknownStore(code)),
            Ok(Err(error @ AuthorError::DeviceName)) => Err(IssueError::Name(error.to_string())),
            Ok(Err(error)) => Err(IssueError::Failed(error.to_string())),
            Err(error) => Err(IssueError::Failed(error.to_string())),
        }
    }
}

/// Makes a code for a new till, notes it, and puts it into a link.
///
/// # Errors
/// No such store, or a log that refuses.
pub fn issue(
    region: &mut Region,
    authority: &Authority,
    public: &str,
    store_code: &str,
    name: &str,
    env: &dyn Env,
) -> Result<EnrolmentCode, AuthorError> {
    let code = code(random::<CODE_LETTERS>(env));
    let pending = region.issue_code(store_code, name, &code, env.unix_ms())?;
    let link = Link { address: public.to_owned(), code, authority: authority.fingerprint() };
    Ok(EnrolmentCode { link: link.to_string(), expires_at_ms: pending.expires_at_ms })
}
