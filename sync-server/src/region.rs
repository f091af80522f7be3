//! The region's log: every accepted entry in order of acceptance, in one SQLite file with one owner.
//!
//! [`Region`] is synchronous and owns the connection; [`crate::hub`] gives it a thread and groups what many connections bring into one
//! commit. Nothing is acknowledged before SQLite has synced it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ids::{DeviceId, StoreId};
use domain::record::{DeviceEnrolment, DeviceKind, DeviceStart, Record};
use journal::{
    Body, ChainError, ChainedEntry, Entry, EntryError, Hash, Origin, OriginChain, ReceivedCommit, Scope, VerifyingKey, View,
};
use operations::damaged::MachineFiles;
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::batch::Run;
use sync_proto::documents;
use sync_proto::frame::{Checkpoint, Mark, Offered, ProvenHash};
use sync_proto::lines::Agreement;
use sync_proto::scopes;

mod ahead;
mod asked;
mod author;
mod damaged;
mod desk;
mod imports;
mod lines;
mod outgoing;
mod refill;
mod servers;
mod verify;
mod watched;

pub use author::{AuthorError, DocumentState, Editor, ProductPatch, StorePatch, TaxClassPatch, TaxPatch, staff_member};
use damaged::{Audit, Home};
pub use desk::{DeskError, Pending};
use lines::Line;
pub use operations::care::Care;
pub use outgoing::{LogRow, Outgoing};
pub use refill::{CentralReading, Refill};
pub use servers::{MeetError, Met};
pub use verify::VerifyError;
pub use watched::{AdmittedSale, SALES_KEPT_MAX};

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/region/0001_log.sql"),
    include_str!("../../migrations/region/0002_catalogue.sql"),
    include_str!("../../migrations/region/0003_imports.sql"),
    include_str!("../../migrations/region/0004_lines.sql"),
    include_str!("../../migrations/region/0005_waiting.sql"),
    include_str!("../../migrations/region/0006_documents_by_kind.sql"),
    include_str!("../../migrations/region/0007_servers.sql"),
    include_str!("../../migrations/region/0008_scope_rows.sql"),
    include_str!("../../migrations/region/0009_refunds.sql"),
];

/// How many schemas of the log this program knows.
pub const SCHEMAS: usize = MIGRATIONS.len();

/// Why the region's log did not do something. Nothing was half done.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// SQLite refuses or is broken.
    #[error("the region's log refuses")]
    Sqlite(#[from] rusqlite::Error),
    /// The log was written by a newer program.
    #[error("the region's log has schema {found}, this program knows up to {known}: install the newer program again")]
    Newer {
        /// The schema of the file.
        found: usize,
        /// The newest this build knows.
        known: usize,
    },
    /// A row that this program cannot have written.
    #[error("the region's log is damaged: {0}")]
    Damaged(&'static str),
    /// The log was damaged, and its file was put aside.
    #[error("the region's log was damaged and is put aside as {}", .0.display())]
    PutAside(PathBuf),
    /// A damaged file could not be put aside, or not be looked for.
    #[error("the files of the region's log cannot be renamed")]
    Files(#[source] std::io::Error),
}

/// Why a run of commits was not admitted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The device is not enrolled (any more).
    #[error("device {0} is not enrolled here")]
    UnknownDevice(DeviceId),
    /// The run is of another device than the one that sent it.
    #[error("the run is of device {0}, not of its sender")]
    NotTheSender(DeviceId),
    /// A scope that the device may not write into.
    #[error("a device of its kind and store may not write into scope {0}")]
    Scope(Scope),
    /// The run begins after what is here.
    #[error("the run begins after commit {has}: what is between is missing")]
    Gap {
        /// The last commit that is here.
        has: u64,
    },
    /// It is of this log itself, and beyond its end: the log was put back from a backup.
    #[error("this server's log has forgotten what it wrote: it goes on anew")]
    Regressed,
    /// More histories of one origin than accidents make.
    #[error("this device has signed more histories than are kept")]
    TooManyHistories,
    /// Bytes that are no entry.
    #[error("the run holds bytes that are no entry")]
    Entry(#[from] EntryError),
    /// Chain or seal do not hold.
    #[error("the run does not verify")]
    Chain(#[from] ChainError),
    /// The log refuses.
    #[error(transparent)]
    Region(#[from] RegionError),
}

impl From<rusqlite::Error> for AdmitError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Region(e.into())
    }
}

/// A device that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub device: DeviceId,
    /// Its store; none for a server.
    pub store: Option<StoreId>,
    /// What it is.
    pub kind: DeviceKind,
    /// What people call it.
    pub name: String,
    /// Its number in the store.
    pub number: u32,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
}

/// Who sends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The device that wrote it.
    Writer(DeviceId),
    /// Another of its store, which was asked for it.
    Bearer(DeviceId),
}

impl Sender {
    /// The device at the other end.
    pub fn device(self) -> DeviceId {
        match self {
            Self::Writer(device) | Self::Bearer(device) => device,
        }
    }
}

/// What became of a run that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The last commit here of the history that the run is of.
    pub commit: u64,
    /// Whether that is not the history of the origin that came first: the device was copied, or put back from a backup.
    pub is_fork: bool,
    /// Whether anything of the run was new.
    pub is_new: bool,
}

/// How far this log has a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last commit here of the history that has all of it; or else the last one that both are known to have.
    pub commit: u64,
    /// Whether all of it is here.
    pub is_whole: bool,
    /// Whether that history is the one that came first.
    pub is_first: bool,
}

/// What this log has of a history that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// All of it.
    Whole {
        /// The region sequence of its last entry.
        ends_at: u64,
    },
    /// Not all of it.
    UpTo {
        /// The last commit that is known to be here; 0 for none.
        commit: u64,
    },
}

/// The region's log and what it needs beside it.
#[derive(Debug)]
pub struct Region {
    db: Connection,
    /// This server as a writer.
    own: Origin,
    own_key: journal::SigningKey,
    actor_seed: [u8; 16],
    clock: journal::Hlc,
    /// The histories of every origin, its own first.
    lines: BTreeMap<Origin, Vec<Line>>,
    /// Whose history a row is.
    origins: BTreeMap<i64, Origin>,
    scope_ids: BTreeMap<Scope, i64>,
    devices: BTreeMap<DeviceId, Device>,
    /// The stores whose entries are kept here.
    served: BTreeSet<StoreId>,
    /// How often what was read of the central store has to be read again since the log was opened.
    rewinds: u64,
    /// The place of every device's enrolment in the log.
    enrolled_at: BTreeMap<DeviceId, u64>,
    last_seq: u64,
    commits_written: u64,
    /// Sales and refunds admitted since they were asked for; none while nobody asks.
    sales: Option<Vec<AdmittedSale>>,
    /// Goes up with every change of a document.
    document_changes: u64,
    /// What this process says of itself with its first own words.
    starting: Option<DeviceStart>,
    software: String,
    home: Home,
    /// The look through the log that is under way.
    audit: Option<Audit>,
    /// Whether the log was put aside.
    is_over: bool,
}

/// Who this server is, when its log is opened.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The server's device id, used when the log is new.
    pub device: DeviceId,
    /// A fresh incarnation, used when the log is new.
    pub incarnation: [u8; 16],
    /// Fresh random bytes, from which the Automerge actor of this process follows.
    pub actor_seed: [u8; 16],
    /// The key that seals.
    pub key: journal::SigningKey,
}

impl Region {
    /// Opens the log, making it when it is not there. One that is damaged is left as it is: see [`Self::open_or_begin_anew`].
    ///
    /// # Errors
    /// A file that SQLite refuses, a newer schema, or damage.
    pub fn open(path: &Path, writer: Writer) -> Result<Self, RegionError> {
        Self::of(Home { path: path.to_owned(), vfs: None, files: Arc::new(MachineFiles), schemas_known: SCHEMAS }, writer)
    }

    /// The same on another file system than the machine's, by the name of its VFS; the file is then for this connection alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(vfs: &str, path: &Path, writer: Writer) -> Result<Self, RegionError> {
        let (path, vfs) = (path.to_owned(), Some(vfs.to_owned()));
        Self::of(Home { path, vfs, files: Arc::new(MachineFiles), schemas_known: SCHEMAS }, writer)
    }

    fn of(home: Home, writer: Writer) -> Result<Self, RegionError> {
        let mut db = home.connect()?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536;",
        )?;
        migrate(&mut db, home.schemas_known)?;
        let own = own_origin(&db, &writer)?;
        let mut region = Self {
            db,
            own,
            own_key: writer.key,
            actor_seed: writer.actor_seed,
            clock: journal::Hlc::default(),
            lines: BTreeMap::new(),
            origins: BTreeMap::new(),
            scope_ids: BTreeMap::new(),
            devices: BTreeMap::new(),
            served: BTreeSet::new(),
            rewinds: 0,
            enrolled_at: BTreeMap::new(),
            last_seq: 0,
            commits_written: 0,
            sales: None,
            document_changes: 0,
            starting: None,
            software: String::new(),
            home,
            audit: None,
            is_over: false,
        };
        region.reload()?;
        region.fill_barcodes()?;
        region.fill_refunds()?;
        Ok(region)
    }

    /// The server's own origin; its incarnation is the region's.
    pub fn own(&self) -> Origin {
        self.own
    }

    /// The Automerge actor that this process writes documents under.
    fn actor(&self) -> [u8; 16] {
        documents::actor(&self.own, self.actor_seed)
    }

    /// Goes on under a fresh incarnation: the log was put back from a backup, and what devices know of its order means nothing any more. What the central
    /// store has is read anew.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn renew(&mut self, incarnation: [u8; 16], now_ms: u64) -> Result<(), AuthorError> {
        self.in_transaction(|region| {
            region
                .db
                .execute("UPDATE meta SET value = ?1 WHERE key = 'incarnation'", [incarnation])
                .map_err(RegionError::from)?;
            region.read_central_again_from(0)?;
            region.own.incarnation = incarnation;
            region.starting = Some(region.start_record());
            region.write_start(now_ms)
        })
    }

    fn meta(&self, key: &str) -> Result<Option<u64>, RegionError> {
        Ok(self.db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
    }

    fn set_meta(&self, key: &str, value: u64) -> Result<(), RegionError> {
        self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", params![key, value])?;
        Ok(())
    }

    /// The hash of the entry at a place of the log.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn hash_of_place(&self, region_seq: u64) -> Result<Option<Hash>, RegionError> {
        let mut select = self.db.prepare_cached("SELECT hash FROM entry WHERE region_seq = ?1")?;
        Ok(select.query_row([region_seq], |row| row.get(0)).optional()?)
    }

    /// What a device is told of a place of this log, and gives back when it greets.
    pub fn proven(&self, region_seq: u64, hash: &Hash) -> ProvenHash {
        let mut proven = [0; 64];
        let (said, proof) = proven.split_at_mut(32);
        said.copy_from_slice(hash);
        proof.copy_from_slice(self.proof(region_seq, hash).as_ref());
        proven
    }

    /// Whether a device has read this log as it is. A mark that this server did not make says nothing.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn has_been_read(&self, mark: &Mark) -> Result<bool, RegionError> {
        let Some((hash, proof)) = mark.proven.split_first_chunk::<32>() else { return Ok(true) };
        let said = self.proof_of(mark.region_seq, hash);
        if ring::hmac::verify(&self.mark_key(), &said, proof).is_err() {
            tracing::warn!("a device greets with a mark that this server did not make");
            return Ok(true);
        }
        Ok(self.hash_of_place(mark.region_seq)? == Some(*hash))
    }

    fn proof(&self, region_seq: u64, hash: &Hash) -> ring::hmac::Tag {
        ring::hmac::sign(&self.mark_key(), &self.proof_of(region_seq, hash))
    }

    fn proof_of(&self, region_seq: u64, hash: &Hash) -> Vec<u8> {
        [&self.own.incarnation[..], &region_seq.to_be_bytes(), hash].concat()
    }

    fn mark_key(&self) -> ring::hmac::Key {
        let secret = [b"evertill/mark/1", &self.own_key.to_bytes()[..]].concat();
        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret)
    }

    /// The region sequence of the newest entry.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// How many commits were written since the log was opened.
    pub fn commits_written(&self) -> u64 {
        self.commits_written
    }

    /// A device that was admitted.
    pub fn device(&self, device: DeviceId) -> Option<&Device> {
        self.devices.get(&device)
    }

    /// All devices, by id.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// Where an origin's chains stand here, on the history of it that came first.
    pub fn chain(&self, origin: Origin) -> OriginChain {
        self.lines_of(origin).first().map_or_else(|| OriginChain::new(origin), |line| line.chain.clone())
    }

    /// How far this log has a history of which `checkpoints` say where it has been, newest first.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn position(&self, origin: Origin, checkpoints: &[Checkpoint]) -> Result<Position, RegionError> {
        let Some((known, line)) = self.newest_known(origin, checkpoints)? else {
            return Ok(Position { commit: 0, is_whole: checkpoints.is_empty(), is_first: true });
        };
        let commit = if known == 0 { line.chain.commit } else { checkpoints[known].commit };
        Ok(Position { commit, is_whole: known == 0, is_first: line.parent.is_none() })
    }

    /// The newest of the places where a history has been that is here, with the line that has it.
    fn newest_known(&self, origin: Origin, checkpoints: &[Checkpoint]) -> Result<Option<(usize, &Line)>, RegionError> {
        for (n, Checkpoint { commit, digest }) in checkpoints.iter().enumerate() {
            for line in self.lines_of(origin).iter().filter(|line| *commit <= line.chain.commit) {
                if self.chain_after(line, *commit)?.digest() == *digest {
                    return Ok(Some((n, line)));
                }
            }
        }
        Ok(None)
    }

    /// Admits many runs with one sync. Each is admitted or refused on its own; the outer error means that none was kept.
    ///
    /// # Errors
    /// When SQLite refuses; the log in memory is then read again from disk.
    pub fn admit_all(&mut self, runs: Vec<(Sender, Run)>) -> Result<Vec<Result<Admitted, AdmitError>>, RegionError> {
        // What is wrong with a run concerns its sender alone, and is found before the first row. A log that refuses a row leaves nothing.
        self.in_transaction(|region| {
            let admit = |(sender, run)| match region.admit_from(sender, run) {
                Err(AdmitError::Region(error @ RegionError::Sqlite(_))) => Err(error),
                answer => Ok(answer),
            };
            runs.into_iter().map(admit).collect()
        })
    }

    /// Runs `work` in one transaction and commits it. When anything fails, disk and memory are as before.
    fn in_transaction<T, E: From<RegionError>>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let sqlite = |e: rusqlite::Error| E::from(RegionError::from(e));
        let (commits_written, own, starting) = (self.commits_written, self.own, self.starting.clone());
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(sqlite)?;
        let done = work(self).and_then(|value| self.db.execute_batch("COMMIT").map(|()| value).map_err(sqlite));
        if done.is_err() {
            (self.commits_written, self.own, self.starting) = (commits_written, own, starting);
            if !self.db.is_autocommit() {
                self.db.execute_batch("ROLLBACK").map_err(sqlite)?;
            }
            self.sales = None;
            self.reload().map_err(E::from)?;
        }
        done
    }

    fn admit_from(&mut self, sender: Sender, run: Run) -> Result<Admitted, AdmitError> {
        match sender {
            Sender::Writer(device) => self.admit(device, run),
            Sender::Bearer(device) => self.admit_brought(device, run),
        }
    }

    /// Admits one run inside the open transaction.
    fn admit(&mut self, sender: DeviceId, run: Run) -> Result<Admitted, AdmitError> {
        let device = self.devices.get(&sender).ok_or(AdmitError::UnknownDevice(sender))?;
        if run.origin.device != *sender.as_bytes() {
            return Err(AdmitError::NotTheSender(DeviceId(uuid::Uuid::from_bytes(run.origin.device))));
        }
        let key = VerifyingKey::from_bytes(&device.public_key).map_err(|_| RegionError::Damaged("a device's key"))?;
        let (kind, store) = (device.kind, device.store);
        self.take_run(&key, kind, store, run)
    }

    /// Admits what a device brings of others of its store, or of servers, inside the open transaction.
    fn admit_brought(&mut self, bearer: DeviceId, run: Run) -> Result<Admitted, AdmitError> {
        let store = self.devices.get(&bearer).ok_or(AdmitError::UnknownDevice(bearer))?.store;
        let writer = DeviceId(uuid::Uuid::from_bytes(run.origin.device));
        let (key, kind, of) = self.writer_of(run.origin)?.ok_or(AdmitError::UnknownDevice(writer))?;
        if kind != DeviceKind::Server && of != store {
            return Err(AdmitError::NotTheSender(writer));
        }
        let is_own = run.origin == self.own;
        let admitted = self.take_run(&key, kind, of, run)?;
        if is_own && admitted.is_new {
            // What this log wrote itself comes back from outside: it was put back from a backup, and says so no more.
            return Err(AdmitError::Regressed);
        }
        Ok(admitted)
    }

    /// What this log has of the histories that a device offers; none for what that device may not bring.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn holds(&self, bearer: DeviceId, offered: &[Offered]) -> Result<Vec<Option<Held>>, RegionError> {
        let store = self.devices.get(&bearer).and_then(|device| device.store);
        let look = |Offered { device, incarnation, checkpoints }: &Offered| {
            let origin = Origin { device: *device, incarnation: *incarnation };
            let may_bring = match self.writer_of(origin)? {
                Some((_, DeviceKind::Server, _)) => true,
                Some((_, _, of)) => of == store,
                None => false,
            };
            if !may_bring {
                return Ok(None);
            }
            Ok(Some(match self.newest_known(origin, checkpoints)? {
                Some((0, line)) => Held::Whole { ends_at: self.end_of(line, checkpoints[0].commit)? },
                Some((known, _)) => Held::UpTo { commit: checkpoints[known].commit },
                None => Held::UpTo { commit: 0 },
            }))
        };
        offered.iter().map(look).collect()
    }

    /// Verifies a run of a writer and keeps what is new of it.
    fn take_run(
        &mut self,
        key: &VerifyingKey,
        kind: DeviceKind,
        store: Option<StoreId>,
        run: Run,
    ) -> Result<Admitted, AdmitError> {
        for (scope, _) in run.commits.iter().flat_map(|c| &c.entries) {
            if !scopes::may_write(kind, store, scope) {
                return Err(AdmitError::Scope(scope.clone()));
            }
        }
        let origin = run.origin;
        let agreed = self.agree(&run)?;
        let known = agreed.first().map_or(0, |found| found.known);
        let rest: Vec<_> = run.commits.into_iter().skip(known).collect();
        let seals: Vec<_> = rest.iter().map(|c| c.seal.as_ref().map(|s| s.signature)).collect();
        let mut candidates: Vec<Option<Agreement>> = agreed.into_iter().map(Some).collect();
        if candidates.is_empty() {
            candidates.push(None);
        }
        let (agreement, chain, commits) = self.first_that_verifies(origin, key, &candidates, rest)?;
        let is_fork = agreement.is_some_and(|found| found.line > 0 || found.leaves_after.is_some());
        if commits.is_empty() {
            return Ok(Admitted { commit: chain.commit, is_fork, is_new: false });
        }
        let row = self.row_for(origin, agreement, &commits[0][0].hash)?;
        for (entries, seal) in commits.iter().zip(&seals) {
            self.insert(origin, row, entries, seal.as_ref())?;
        }
        let admitted = Admitted { commit: chain.commit, is_fork, is_new: true };
        self.moved_on(row, chain);
        Ok(admitted)
    }

    /// The first of several lines on which commits verify, with where it then stands.
    #[expect(clippy::type_complexity, reason = "what one step finds and the next one keeps")]
    fn first_that_verifies(
        &self,
        origin: Origin,
        key: &VerifyingKey,
        candidates: &[Option<Agreement>],
        commits: Vec<ReceivedCommit>,
    ) -> Result<(Option<Agreement>, OriginChain, Vec<Vec<ChainedEntry>>), AdmitError> {
        let mut refused = AdmitError::Gap { has: self.chain(origin).commit };
        for &agreement in candidates {
            let mut chain = self.goes_on_from(origin, agreement)?;
            if commits.is_empty() {
                return Ok((agreement, chain, Vec::new()));
            }
            match chain.verify(key, View::Whole, commits.clone()) {
                Ok(verified) => return Ok((agreement, chain, verified)),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    fn insert(&mut self, origin: Origin, row: i64, entries: &[ChainedEntry], seal: Option<&[u8; 64]>) -> Result<(), RegionError> {
        self.commits_written += 1;
        for (at, entry) in entries.iter().enumerate() {
            let scope_id = self.scope_id(&entry.scope)?;
            let seal = seal.filter(|_| at + 1 == entries.len());
            self.last_seq += 1;
            self.db
                .prepare_cached(
                    "INSERT INTO entry (region_seq, origin, scope, seq, commit_no, hash, bytes, seal)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    self.last_seq,
                    row,
                    scope_id,
                    entry.seq,
                    entry.entry.commit,
                    entry.hash,
                    entry.bytes,
                    seal.map(|s| &s[..]),
                ])?;
            if self.is_server(origin.device) {
                self.note_device(origin, entry)?;
                if origin != self.own {
                    self.note_document(entry, self.last_seq)?;
                }
            }
            self.note_refund(entry, self.last_seq)?;
            self.note_for_watchers(origin, entry);
        }
        Ok(())
    }

    /// Keeps the device table, which the DeviceEnrolled records of servers fill. From anyone else they are kept, and say nothing.
    fn note_device(&mut self, origin: Origin, entry: &ChainedEntry) -> Result<(), RegionError> {
        let Some(enrolled) = enrolment_of(&entry.entry) else { return Ok(()) };
        self.enrolled_at.insert(enrolled.device, self.last_seq);
        let DeviceEnrolment { device, store, kind, name, number, public_key } = enrolled;
        let is_ours = origin.device == self.own.device;
        if !is_ours && *device.as_bytes() == self.own.device {
            // Who this server is it says itself.
            return Ok(());
        }
        self.note_named(device)?;
        if let (true, Some(store)) = (is_ours, store) {
            let is_first = origin == self.own && !self.devices.values().any(|known| known.store == Some(store));
            self.keep_served(store, !is_first)?;
        }
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO device (device, store, kind, name, number, public_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![device.as_bytes(), store.map(|s| s.as_bytes().to_vec()), kind as u8, name, number, public_key])?;
        self.devices.insert(device, Device { device, store, kind, name, number, public_key });
        Ok(())
    }

    fn scope_id(&mut self, scope: &Scope) -> Result<i64, RegionError> {
        if let Some(id) = self.scope_ids.get(scope) {
            return Ok(*id);
        }
        self.db.execute("INSERT INTO scope (name) VALUES (?1)", [scope.as_str()])?;
        let id = self.db.last_insert_rowid();
        self.scope_ids.insert(scope.clone(), id);
        Ok(id)
    }

    /// Reads from disk what is kept in memory.
    fn reload(&mut self) -> Result<(), RegionError> {
        let names: BTreeMap<String, i64> = rows(&self.db, "SELECT name, id FROM scope", |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.scope_ids = names
            .into_iter()
            .map(|(name, id)| Ok((Scope::new(name).map_err(|_| RegionError::Damaged("a scope's name"))?, id)))
            .collect::<Result<_, RegionError>>()?;
        self.read_lines()?;
        self.last_seq = self.db.query_row("SELECT coalesce(max(region_seq), 0) FROM entry", [], |row| row.get(0))?;
        self.devices = self.read_devices()?;
        self.served = self.read_served()?;
        self.enrolled_at = self.read_enrolments()?;
        self.clock = self.clock.max(self.last_own_clock()?);
        Ok(())
    }

    fn read_devices(&self) -> Result<BTreeMap<DeviceId, Device>, RegionError> {
        let kinds = [DeviceKind::Server, DeviceKind::Till, DeviceKind::Handheld];
        rows(&self.db, "SELECT device, store, kind, name, number, public_key FROM device", |row| {
            let device = DeviceId(uuid::Uuid::from_bytes(row.get(0)?));
            let store = row.get::<_, Option<[u8; 16]>>(1)?.map(|s| StoreId(uuid::Uuid::from_bytes(s)));
            let kind = row.get::<_, u8>(2)?;
            let kind = kinds.into_iter().find(|k| *k as u8 == kind).unwrap_or(DeviceKind::Handheld);
            let device_row = Device { device, store, kind, name: row.get(3)?, number: row.get(4)?, public_key: row.get(5)? };
            Ok((device, device_row))
        })
    }

    fn read_enrolments(&self) -> Result<BTreeMap<DeviceId, u64>, RegionError> {
        let Some(directory) = self.scope_ids.get(&scopes::directory()) else { return Ok(BTreeMap::new()) };
        let mut statement = self.db.prepare_cached("SELECT region_seq, bytes FROM entry WHERE scope = ?1 ORDER BY region_seq")?;
        let mut found = statement.query([directory])?;
        let mut enrolled_at = BTreeMap::new();
        while let Some(row) = found.next()? {
            let entry = Entry::decode(&row.get::<_, Vec<u8>>(1)?).map_err(|_| RegionError::Damaged("an entry"))?;
            if let Some(enrolled) = enrolment_of(&entry) {
                enrolled_at.insert(enrolled.device, row.get(0)?);
            }
        }
        Ok(enrolled_at)
    }

    fn last_own_clock(&self) -> Result<journal::Hlc, RegionError> {
        // A log from a backup goes on under a fresh incarnation; its clock goes on from the one before.
        let mut last = journal::Hlc::default();
        for (id, _) in self.origins.iter().filter(|(_, origin)| origin.device == self.own.device) {
            let bytes: Option<Vec<u8>> = self
                .db
                .query_row("SELECT bytes FROM entry WHERE origin = ?1 ORDER BY commit_no DESC LIMIT 1", [id], |row| row.get(0))
                .optional()?;
            if let Some(bytes) = bytes {
                last = last.max(Entry::decode(&bytes).map_err(|_| RegionError::Damaged("an entry"))?.at);
            }
        }
        Ok(last)
    }
}

/// The enrolment that an entry of the directory is, if it is one.
fn enrolment_of(entry: &Entry) -> Option<DeviceEnrolment> {
    let Body::Record { kind: 20, version, bytes } = &entry.body else { return None };
    match Record::decode(20, *version, bytes) {
        Ok(Some(Record::DeviceEnrolled(enrolled))) => Some(enrolled),
        _ => None,
    }
}

fn rows<K: Ord, V>(
    db: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<(K, V)>,
) -> Result<BTreeMap<K, V>, RegionError> {
    let mut statement = db.prepare(sql)?;
    let all = statement.query_map([], read)?.collect::<Result<_, _>>()?;
    Ok(all)
}

/// Brings the schema up to date.
fn migrate(db: &mut Connection, known: usize) -> Result<(), RegionError> {
    let found: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(RegionError::Newer { found, known });
    }
    for (at, sql) in MIGRATIONS[..known].iter().enumerate().skip(found) {
        let tx = db.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", at + 1)?;
        tx.commit()?;
    }
    Ok(())
}

/// The origin that this log was begun under, or the writer's when it is new.
fn own_origin(db: &Connection, writer: &Writer) -> Result<Origin, RegionError> {
    let get =
        |key: &str| db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get::<_, [u8; 16]>(0)).optional();
    if let (Some(device), Some(incarnation)) = (get("device")?, get("incarnation")?) {
        return Ok(Origin { device, incarnation });
    }
    let own = Origin { device: *writer.device.as_bytes(), incarnation: writer.incarnation };
    db.execute("INSERT INTO meta (key, value) VALUES ('device', ?1), ('incarnation', ?2)", params![own.device, own.incarnation])?;
    Ok(own)
}
