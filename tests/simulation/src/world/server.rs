//! A regional server as a machine: its log on a disk that survives, and everything that a daemon runs beside it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use sync_proto::env::{Env, random};
use sync_server::central::feed;
use sync_server::hub::Hub;
use sync_server::live::Live;
use sync_server::log_source::LogSource;
use sync_server::quic::{Limits, Quic, TcpDoor};
use sync_server::region::{self, Region};
use sync_server::{refill, servers};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::central::Central;
use super::founding::{Founding, REGION_LOG};
use super::machine::{Chassis, End, Process};
use super::net::ProcessRuntime;
use super::server_address;
use crate::crash_vfs::Disk;

/// A regional server.
#[derive(Debug)]
pub struct ServerMachine {
    /// What every machine has.
    pub chassis: Chassis,
    /// Its region.
    pub region: usize,
    central: Central,
    inner: Mutex<ServerInner>,
}

#[derive(Debug)]
struct ServerInner {
    // What runs goes before the disk that it has open.
    running: Option<(Hub, Process)>,
    disk: Arc<Disk>,
    backup: Option<Disk>,
    /// Whether it is lost for ever.
    has_perished: bool,
}

impl ServerMachine {
    /// The server of a region as it was founded, off.
    pub fn new(chassis: Chassis, region: usize, central: Central) -> Self {
        let disk = Arc::new(Founding::of_process().region_disk(region));
        let inner = ServerInner { disk, running: None, backup: None, has_perished: false };
        Self { chassis, region, central: central.seen_from(region), inner: Mutex::new(inner) }
    }

    /// The central store, as this server has the way to it.
    pub fn central(&self) -> &Central {
        &self.central
    }

    /// Whether its program has put a damaged log aside, and does nothing any more.
    pub(super) fn has_put_aside(&self) -> bool {
        self.inner().running.as_ref().is_some_and(|(hub, _)| hub.is_put_aside())
    }

    /// Whether it is lost for ever.
    pub fn has_perished(&self) -> bool {
        self.inner().has_perished
    }

    /// It is lost for ever, with its disk. It must be off.
    pub fn perish(&self) {
        self.wipe();
        self.inner().has_perished = true;
    }

    /// The way to its log, if it runs.
    pub fn hub(&self) -> Option<Hub> {
        let inner = self.inner();
        let (hub, _) = inner.running.as_ref()?;
        (!inner.disk.is_dead()).then(|| hub.clone())
    }

    /// Its disk.
    pub fn disk(&self) -> Arc<Disk> {
        self.inner().disk.clone()
    }

    /// Opens the log that is on its disk, as a process that starts does.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open_log(&self) -> Result<Region> {
        let writer = self.writer();
        let (env, disk) = (&self.chassis.env, self.disk());
        let mut region = Region::open_or_begin_anew(REGION_LOG.as_ref(), Some(disk.vfs()), disk.files(), writer)?;
        region.start(env.unix_ms(), "simulation")?;
        Ok(region)
    }

    fn writer(&self) -> region::Writer {
        let env = &*self.chassis.env;
        Founding::of_process().writer(self.region, random(env), random(env))
    }

    /// What the program before this one says when it is started on what is there.
    pub(super) fn try_older(&self) -> String {
        let disk = self.disk();
        let known = region::SCHEMAS - 1;
        match Region::open_knowing(known, REGION_LOG.as_ref(), Some(disk.vfs()), disk.files(), self.writer()) {
            Ok(_) => "nothing, and takes it".to_owned(),
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        }
    }

    pub(super) fn try_start(&self) -> Result<()> {
        if self.inner().running.is_some() {
            return Ok(());
        }
        let founding = Founding::of_process();
        let region = self.open_log()?;
        let env: Arc<dyn Env> = self.chassis.env.clone();
        let clock = env.clone();
        let (hub, owner) = Hub::with_owner(region, Live::default(), move || clock.unix_ms());
        // A shop's day is short: here little is much.
        let limits = Limits { catch_ups: 1, catch_up_rows: 12, ..Limits::default() };
        let (authority, address) = (founding.authorities[self.region].clone(), server_address(self.region));
        let quic = Quic::with_limits(hub.clone(), authority.clone(), env.clone(), limits).speaking(self.chassis.versions());
        let runtime = Arc::new(ProcessRuntime::default());
        let socket = self.chassis.network.socket(self.chassis.ip, address.port());
        let endpoint = quic.endpoint(socket.clone(), runtime.clone())?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(owner);
        if self.chassis.knows_tcp() {
            let door = TcpDoor::on(self.chassis.network.listen(address));
            tasks.spawn(quic.clone().run_tcp(door, stopping.clone()));
        }
        tasks.spawn(quic.run(endpoint, stopping.clone()));
        tasks.spawn(feed::run(LogSource::new(hub.clone()), self.central.clone(), stopping.clone()));
        tasks.spawn(sync_server::care::run(hub.clone(), env.clone(), stopping.clone()));
        let (central, meets) = (self.central.clone(), env.clone());
        tasks.spawn(servers::run(hub.clone(), authority, address.to_string(), central, meets, stopping.clone()));
        tasks.spawn(refill::watch(hub.clone(), env, stopping.clone()));
        tasks.spawn(refill::run(hub.clone(), self.central.clone(), stopping));
        self.inner().running = Some((hub, Process { tasks, runtime, sockets: vec![socket], _stop: stop }));
        self.chassis.trace.note(format_args!("{} starts", self.chassis.name));
        Ok(())
    }

    /// Ends it, and leaves the disk that is found afterwards.
    pub async fn end(&self, how: End) {
        self.chassis.lives.fetch_add(1, Ordering::Relaxed);
        let running = self.inner().running.take();
        if let Some((hub, process)) = running {
            drop(hub);
            self.chassis.end(process, how).await;
        }
        let mut inner = self.inner();
        inner.disk = Arc::new(match how {
            End::Power(seed) => inner.disk.after_power_cut(seed),
            End::Killed => inner.disk.after_kill(),
        });
        self.chassis.trace.note(format_args!("{} ends: {how:?}", self.chassis.name));
    }

    /// Keeps a copy of its log.
    pub fn back_up(&self) {
        let mut inner = self.inner();
        inner.backup = Some(inner.disk.copy());
    }

    /// Puts the copy back, if there is one. The server must be off.
    pub fn restore(&self) -> bool {
        let mut inner = self.inner();
        let Some(backup) = &inner.backup else { return false };
        inner.disk = Arc::new(backup.copy());
        self.chassis.trace.note(format_args!("{} is put back", self.chassis.name));
        true
    }

    /// Gives it an empty disk; its keys are kept elsewhere. The server must be off.
    pub fn wipe(&self) {
        self.inner().disk = Arc::new(Disk::new());
        self.chassis.trace.note(format_args!("{} has an empty disk", self.chassis.name));
    }

    fn inner(&self) -> MutexGuard<'_, ServerInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
