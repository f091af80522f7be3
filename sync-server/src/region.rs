//! The region's log: every accepted entry in order of acceptance, in one SQLite file with one owner.
//!
//! [`Region`] is synchronous and owns the connection; [`crate::hub`] gives it a thread and groups what many connections bring into one
//! commit. Nothing is acknowledged before SQLite has synced it.

use std::collections::BTreeMap;
use std::path::Path;

use domain::ids::{DeviceId, StoreId};
use domain::record::{DeviceEnrolment, DeviceKind, Record};
use journal::{
    Body, ChainError, ChainedEntry, Entry, EntryError, Head, Origin, OriginChain, ReceivedCommit, Scope, VerifyingKey, View,
};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::batch::Run;
use sync_proto::scopes;

mod author;
mod desk;
mod imports;
mod outgoing;
mod verify;
mod watched;

pub use author::{AuthorError, DocumentState, Editor, ProductPatch, StorePatch, TaxClassPatch, TaxPatch, staff_member};
pub use desk::{DeskError, Pending};
pub use outgoing::{LogRow, Outgoing};
pub use verify::VerifyError;
pub use watched::{AdmittedSale, SALES_KEPT_MAX};

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/region/0001_log.sql"),
    include_str!("../../migrations/region/0002_catalogue.sql"),
    include_str!("../../migrations/region/0003_imports.sql"),
];

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
    /// A document change from a device that may not make one.
    #[error("a device of its kind may not change documents")]
    Change,
    /// The run begins after what is here.
    #[error("the run begins after commit {has}: what is between is missing")]
    Gap {
        /// The last commit that is here.
        has: u64,
    },
    /// Something is here already at the same place, and it differs.
    #[error("scope {scope} already has another entry {seq}")]
    Forked {
        /// The scope.
        scope: Scope,
        /// The place.
        seq: u64,
    },
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

/// The region's log and what it needs beside it.
#[derive(Debug)]
pub struct Region {
    db: Connection,
    /// This server as a writer.
    own: Origin,
    own_key: journal::SigningKey,
    actor: [u8; 16],
    clock: journal::Hlc,
    chains: BTreeMap<Origin, OriginChain>,
    origin_ids: BTreeMap<Origin, i64>,
    scope_ids: BTreeMap<Scope, i64>,
    devices: BTreeMap<DeviceId, Device>,
    last_seq: u64,
    commits_written: u64,
    /// Sales and refunds admitted since they were asked for; none while nobody asks.
    sales: Option<Vec<AdmittedSale>>,
    /// Goes up with every change of a document.
    document_changes: u64,
}

/// Who this server is, when its log is opened.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The server's device id, used when the log is new.
    pub device: DeviceId,
    /// A fresh incarnation, used when the log is new.
    pub incarnation: [u8; 16],
    /// A fresh Automerge actor for this process.
    pub actor: [u8; 16],
    /// The key that seals.
    pub key: journal::SigningKey,
}

impl Region {
    /// Opens the log, making it when it is not there.
    ///
    /// # Errors
    /// A file that SQLite refuses, a newer schema, or damage.
    pub fn open(path: &Path, writer: Writer) -> Result<Self, RegionError> {
        Self::of(Connection::open(path)?, writer)
    }

    /// The same on another file system than the machine's, by the name of its VFS; the file is then for this connection alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(vfs: &str, path: &Path, writer: Writer) -> Result<Self, RegionError> {
        let db = Connection::open_with_flags_and_vfs(path, rusqlite::OpenFlags::default(), vfs)?;
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        Self::of(db, writer)
    }

    fn of(mut db: Connection, writer: Writer) -> Result<Self, RegionError> {
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536;",
        )?;
        migrate(&mut db)?;
        let own = own_origin(&db, &writer)?;
        let mut region = Self {
            db,
            own,
            own_key: writer.key,
            actor: writer.actor,
            clock: journal::Hlc::default(),
            chains: BTreeMap::new(),
            origin_ids: BTreeMap::new(),
            scope_ids: BTreeMap::new(),
            devices: BTreeMap::new(),
            last_seq: 0,
            commits_written: 0,
            sales: None,
            document_changes: 0,
        };
        region.reload()?;
        region.fill_barcodes()?;
        Ok(region)
    }

    /// The server's own origin; its incarnation is the region's.
    pub fn own(&self) -> Origin {
        self.own
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

    /// Where an origin's chains stand here.
    pub fn chain(&self, origin: Origin) -> OriginChain {
        self.chains.get(&origin).cloned().unwrap_or_else(|| OriginChain::new(origin))
    }

    /// Admits many runs with one sync. Each is admitted or refused on its own; the outer error means that none was kept.
    ///
    /// # Errors
    /// When SQLite refuses; the log in memory is then read again from disk.
    pub fn admit_all(&mut self, runs: Vec<(DeviceId, Run)>) -> Result<Vec<Result<u64, AdmitError>>, RegionError> {
        // What is wrong with a run concerns its sender alone, and is found before the first row. A log that refuses a row leaves nothing.
        self.in_transaction(|region| {
            let admit = |(sender, run)| match region.admit(sender, run) {
                Err(AdmitError::Region(error @ RegionError::Sqlite(_))) => Err(error),
                answer => Ok(answer),
            };
            runs.into_iter().map(admit).collect()
        })
    }

    /// Runs `work` in one transaction and commits it. When anything fails, disk and memory are as before.
    fn in_transaction<T, E: From<RegionError>>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let sqlite = |e: rusqlite::Error| E::from(RegionError::from(e));
        let commits_written = self.commits_written;
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(sqlite)?;
        let done = work(self).and_then(|value| self.db.execute_batch("COMMIT").map(|()| value).map_err(sqlite));
        if done.is_err() {
            self.commits_written = commits_written;
            if !self.db.is_autocommit() {
                self.db.execute_batch("ROLLBACK").map_err(sqlite)?;
            }
            self.sales = None;
            self.reload().map_err(E::from)?;
        }
        done
    }

    /// Admits one run inside the open transaction, and answers the origin's last commit here.
    fn admit(&mut self, sender: DeviceId, run: Run) -> Result<u64, AdmitError> {
        let device = self.devices.get(&sender).ok_or(AdmitError::UnknownDevice(sender))?;
        if run.origin.device != *sender.as_bytes() {
            return Err(AdmitError::NotTheSender(DeviceId(uuid::Uuid::from_bytes(run.origin.device))));
        }
        let key = VerifyingKey::from_bytes(&device.public_key).map_err(|_| RegionError::Damaged("a device's key"))?;
        let (kind, store) = (device.kind, device.store);
        for (scope, _) in run.commits.iter().flat_map(|c| &c.entries) {
            if !scopes::may_write(kind, store, scope) {
                return Err(AdmitError::Scope(scope.clone()));
            }
        }
        let mut chain = self.chain(run.origin);
        let seals: Vec<_> = run.commits.iter().map(|c| c.seal.as_ref().map(|s| s.signature)).collect();
        let (skipped, rest) = self.skip_known(&chain, run)?;
        if rest.is_empty() {
            return Ok(chain.commit);
        }
        let commits = chain.verify(&key, View::Whole, rest)?;
        if commits.iter().flatten().any(|e| matches!(e.entry.body, Body::Change { .. })) {
            return Err(AdmitError::Change);
        }
        for (entries, seal) in commits.iter().zip(&seals[skipped..]) {
            self.insert(chain.origin, entries, seal.as_ref())?;
        }
        let commit = chain.commit;
        self.chains.insert(chain.origin, chain);
        Ok(commit)
    }

    /// Leaves out the commits that are here already, once their bytes are seen to be the same, and answers how many those were.
    fn skip_known(&self, chain: &OriginChain, run: Run) -> Result<(usize, Vec<ReceivedCommit>), AdmitError> {
        let mut heads = run.before;
        let mut known = 0;
        for commit in &run.commits {
            let Some((_, first)) = commit.entries.first() else { break };
            let number = Entry::decode(first)?.commit;
            if number > chain.commit {
                if number != chain.commit + 1 {
                    return Err(AdmitError::Gap { has: chain.commit });
                }
                // The next one, but of another history: the device's replica was copied or put back, and wrote on since.
                if known == 0
                    && let Some((scope, head)) = heads.iter().find(|(scope, head)| chain.head(scope) != **head)
                {
                    return Err(AdmitError::Forked { scope: scope.clone(), seq: head.seq });
                }
                break;
            }
            for (scope, bytes) in &commit.entries {
                let Some(head) = heads.get_mut(scope) else { continue };
                *head = Head { seq: head.seq + 1, hash: journal::chain::link(&head.hash, bytes) };
            }
            known += 1;
        }
        if known > 0 {
            for (scope, head) in &heads {
                if self.hash_at(chain.origin, scope, head.seq)?.is_some_and(|hash| hash != head.hash) {
                    return Err(AdmitError::Forked { scope: scope.clone(), seq: head.seq });
                }
            }
        }
        Ok((known, run.commits.into_iter().skip(known).collect()))
    }

    fn hash_at(&self, origin: Origin, scope: &Scope, seq: u64) -> Result<Option<journal::Hash>, RegionError> {
        let (Some(origin), Some(scope)) = (self.origin_ids.get(&origin), self.scope_ids.get(scope)) else { return Ok(None) };
        let hash = self
            .db
            .prepare_cached("SELECT hash FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?
            .query_row(params![origin, scope, seq], |row| row.get(0))
            .optional()?;
        Ok(hash)
    }

    fn insert(&mut self, origin: Origin, entries: &[ChainedEntry], seal: Option<&[u8; 64]>) -> Result<(), RegionError> {
        let origin_id = self.origin_id(origin)?;
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
                    origin_id,
                    scope_id,
                    entry.seq,
                    entry.entry.commit,
                    entry.hash,
                    entry.bytes,
                    seal.map(|s| &s[..]),
                ])?;
            if origin.device == self.own.device {
                self.note_device(entry)?;
            }
            self.note_for_watchers(origin, entry);
        }
        Ok(())
    }

    /// Keeps the device table, which the server's own DeviceEnrolled records fill. From anyone else they are kept, and say nothing.
    fn note_device(&mut self, entry: &ChainedEntry) -> Result<(), RegionError> {
        let Body::Record { kind: 20, version, bytes } = &entry.entry.body else { return Ok(()) };
        let Ok(Some(Record::DeviceEnrolled(enrolled))) = Record::decode(20, *version, bytes) else { return Ok(()) };
        let DeviceEnrolment { device, store, kind, name, number, public_key } = enrolled;
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO device (device, store, kind, name, number, public_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![device.as_bytes(), store.map(|s| s.as_bytes().to_vec()), kind as u8, name, number, public_key])?;
        self.devices.insert(device, Device { device, store, kind, name, number, public_key });
        Ok(())
    }

    fn origin_id(&mut self, origin: Origin) -> Result<i64, RegionError> {
        if let Some(id) = self.origin_ids.get(&origin) {
            return Ok(*id);
        }
        self.db
            .execute("INSERT INTO origin (device, incarnation) VALUES (?1, ?2)", params![origin.device, origin.incarnation])?;
        let id = self.db.last_insert_rowid();
        self.origin_ids.insert(origin, id);
        Ok(id)
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
        self.origin_ids = rows(&self.db, "SELECT device, incarnation, id FROM origin", |row| {
            Ok((Origin { device: row.get(0)?, incarnation: row.get(1)? }, row.get(2)?))
        })?;
        let names: BTreeMap<String, i64> = rows(&self.db, "SELECT name, id FROM scope", |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.scope_ids = names
            .into_iter()
            .map(|(name, id)| Ok((Scope::new(name).map_err(|_| RegionError::Damaged("a scope's name"))?, id)))
            .collect::<Result<_, RegionError>>()?;
        self.chains = self.read_chains()?;
        self.last_seq = self.db.query_row("SELECT coalesce(max(region_seq), 0) FROM entry", [], |row| row.get(0))?;
        self.devices = self.read_devices()?;
        self.clock = self.clock.max(self.last_own_clock()?);
        Ok(())
    }

    fn read_chains(&self) -> Result<BTreeMap<Origin, OriginChain>, RegionError> {
        let mut chains = BTreeMap::new();
        for (&origin, &origin_id) in &self.origin_ids {
            let mut chain = OriginChain::new(origin);
            for (scope, &scope_id) in &self.scope_ids {
                let head = self
                    .db
                    .prepare_cached(
                        "SELECT seq, hash, commit_no FROM entry WHERE origin = ?1 AND scope = ?2 ORDER BY seq DESC LIMIT 1",
                    )?
                    .query_row(params![origin_id, scope_id], |row| {
                        Ok((Head { seq: row.get(0)?, hash: row.get(1)? }, row.get::<_, u64>(2)?))
                    })
                    .optional()?;
                if let Some((head, commit)) = head {
                    chain.heads.insert(scope.clone(), head);
                    chain.commit = chain.commit.max(commit);
                }
            }
            chains.insert(origin, chain);
        }
        Ok(chains)
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

    fn last_own_clock(&self) -> Result<journal::Hlc, RegionError> {
        // A log from a backup goes on under a fresh incarnation; its clock goes on from the one before.
        let mut last = journal::Hlc::default();
        for (_, id) in self.origin_ids.iter().filter(|(origin, _)| origin.device == self.own.device) {
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
fn migrate(db: &mut Connection) -> Result<(), RegionError> {
    let found: usize = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len();
    if found > known {
        return Err(RegionError::Newer { found, known });
    }
    for (at, sql) in MIGRATIONS.iter().enumerate().skip(found) {
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
