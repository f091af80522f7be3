//! The replica of one device: the log and its projections, in one encrypted SQLite file.
//!
//! [`Replica`] is the one door to the file. It sets what durability depends on, migrates, and hands the connection to the
//! modules below, whose functions take `&Connection` and run inside the caller's transaction:
//!
//! | module | holds |
//! |---|---|
//! | [`log`] | entries, chains, runs, cursors, acknowledgements: the truth |
//! | [`project`] | an entry turned into rows; [`sums`] those rows that are written now and then; [`rebuild`] all of them anew |
//! | [`counts`] | stock counts: which stands, and what still applies to it |
//! | [`documents`] | changes taken into documents, and what those say turned into rows |
//! | [`catalogue`], [`people`], [`orders`], [`open_orders`], [`shifts`] | reading and writing the rows of one subject |
//! | [`paper`] | print jobs, attempts and drawer kicks |
//! | [`retention`] | what has gone because it is old, and what can go |
//! | [`audit`] | whether the log is still what was signed; [`damaged`] a file that is not, and what can still be read of it; [`suspicion`] one that may not be |
//!
//! There is one connection, so nothing waits for a lock; whoever owns the [`Replica`] is the only writer and reader.

pub mod ahead;
pub mod audit;
pub mod catalogue;
pub mod counts;
pub mod damaged;
pub mod documents;
pub mod lines;
pub mod log;
pub mod open_orders;
pub mod orders;
pub mod paper;
pub mod people;
pub mod project;
pub mod rebuild;
pub mod retention;
pub mod shifts;
pub mod sums;
pub mod suspicion;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use operations::damaged::{Files, MachineFiles};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

/// Commits after which an idle owner should copy the write-ahead log back into the file.
pub const COMMITS_PER_CHECKPOINT: u32 = 200;

/// Commits after which even a busy owner should: it bounds the write-ahead log.
pub const COMMITS_BEFORE_CHECKPOINT_MAX: u32 = 5_000;

const REPLICA_MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/node/0001_replica.sql"),
    include_str!("../../migrations/node/0002_catalogue.sql"),
    include_str!("../../migrations/node/0003_lines.sql"),
    include_str!("../../migrations/node/0004_open_orders.sql"),
    include_str!("../../migrations/node/0005_documents.sql"),
    include_str!("../../migrations/node/0006_ahead.sql"),
    include_str!("../../migrations/node/0007_exceptions.sql"),
    include_str!("../../migrations/node/0008_retention.sql"),
    include_str!("../../migrations/node/0009_shifts.sql"),
];

/// A raw key of SQLCipher.
pub type StoreKey = [u8; 32];

/// How many schemas of the replica this program knows.
pub const SCHEMAS: usize = REPLICA_MIGRATIONS.len();

/// How the files are opened. The default is what a device uses.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// A registered SQLite VFS instead of the system's own; a simulator puts its power cuts there.
    pub vfs: Option<String>,
    /// Take the file for this connection alone, which needs no shared memory.
    pub exclusive: bool,
    /// The files beneath that VFS.
    pub files: Arc<dyn Files>,
    /// Know only so many of the replica's schemas, as an earlier program does; all when none. A simulator puts a program back.
    pub schemas_known: Option<usize>,
    /// Up to how many pages a file is looked at as a whole after a failure, while whoever stands at the till waits. A larger one is looked at beside the
    /// counter ([`suspicion`]).
    pub pages_at_once: u64,
}

/// Eight megabytes, some hundredths of a second.
pub const PAGES_AT_ONCE: u64 = 2_048;

impl Default for StoreOptions {
    fn default() -> Self {
        Self { vfs: None, exclusive: false, files: Arc::new(MachineFiles), schemas_known: None, pages_at_once: PAGES_AT_ONCE }
    }
}

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("the database failed")]
    Sql(#[from] rusqlite::Error),
    /// The key does not fit, or this is no database.
    #[error("{0} cannot be read with the key of this device: it belongs to another device, or it is damaged")]
    WrongKey(PathBuf),
    /// Written by newer software.
    #[error("{path} has schema {found}, and this program knows schemas up to {known}: install the newer program again")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// The newest schema of this build.
        known: usize,
    },
    /// What durability depends on could not be set.
    #[error("{path} cannot be made durable: {what}")]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// The file holds something that was never written by this program.
    #[error("the replica holds {0} that makes no sense")]
    Damaged(&'static str),
    /// The file was damaged, and is put aside.
    #[error("the replica was damaged and has been put aside: the till begins a new one, with what can still be read")]
    PutAside,
    /// After a failure the file could not be opened again yet.
    #[error("the replica is closed after a failure and could not be opened again yet")]
    Closed,
    /// A commit failed, and the disk does not answer whether it is there.
    #[error("it is not known whether a commit is on the disk")]
    InDoubt,
    /// More than one entry can hold.
    #[error("a record of {0} bytes is too large")]
    TooLarge(usize),
    /// A change of this device's own that would not count.
    #[error("the change would not count: {0}")]
    Refused(String),
    /// The identity could not be kept.
    #[error("the identity of this device could not be kept")]
    Identity(#[from] Box<crate::identity::IdentityError>),
    /// A file could not be read or written.
    #[error("{path} could not be {done}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, such as "created".
        done: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether this is what a damaged file looks like, among others; [`damaged::find`] finds out.
    pub fn may_be_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
        match self {
            Self::WrongKey(_) | Self::Damaged(_) => true,
            Self::Sql(error) => match error.sqlite_error_code() {
                Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | Unknown),
                // A row with something else in it than was written.
                None => !matches!(error, rusqlite::Error::QueryReturnedNoRows),
            },
            _ => false,
        }
    }
}

/// The open replica.
#[derive(Debug)]
pub struct Replica {
    db: Connection,
    commits_since_checkpoint: u32,
    synchronous: Cell<Synchronous>,
    /// Whether something was committed that the disk may not have.
    is_behind: Cell<bool>,
}

impl Replica {
    /// Opens or creates the replica at `path`.
    ///
    /// # Errors
    /// A wrong key, a newer schema, a disk that cannot be made durable, or any failure of SQLite.
    pub fn open(path: &Path, key: &StoreKey, options: &StoreOptions) -> Result<Self, StoreError> {
        let known = options.schemas_known.map_or(REPLICA_MIGRATIONS, |known| &REPLICA_MIGRATIONS[..known.min(SCHEMAS)]);
        let db = open_file(path, key, options, Synchronous::Full, Some(known))?;
        let replica = Self::of(db);
        replica.project_again()?;
        Ok(replica)
    }

    fn of(db: Connection) -> Self {
        Self { db, commits_since_checkpoint: 0, synchronous: Cell::new(Synchronous::Full), is_behind: Cell::new(true) }
    }

    /// Projects everything anew when a migration, or a server that took documents back, asked for it. Done again when it was interrupted.
    pub(crate) fn project_again(&self) -> Result<(), StoreError> {
        let asked = self.db.query_row("SELECT 1 FROM meta WHERE key = 'project_again'", [], |_| Ok(())).optional()?;
        if asked.is_some() {
            let entries = rebuild::rebuild(self)?;
            self.db.execute("DELETE FROM meta WHERE key = 'project_again'", [])?;
            if entries > 0 {
                tracing::info!(entries, "everything has been projected anew from the log");
            }
        }
        Ok(())
    }

    /// Opens the file named `db_uuid` again after a failure. Another file, or none, in its place is not taken for it.
    ///
    /// # Errors
    /// What [`Self::open`] refuses, or another file.
    pub fn reopen(path: &Path, key: &StoreKey, options: &StoreOptions, db_uuid: [u8; 16]) -> Result<Self, StoreError> {
        let db = open_file(path, key, options, Synchronous::Full, None)?;
        let replica = Self::of(db);
        if replica.db_uuid()? != Some(db_uuid) {
            return Err(StoreError::Damaged("another replica in its place, which"));
        }
        Ok(replica)
    }

    /// Opens the replica beside the program that uses it, to read and nothing else. Answers its schema too.
    ///
    /// # Errors
    /// A file that is not there, a wrong key, a newer schema, or any failure of SQLite.
    pub fn look(path: &Path, key: &StoreKey) -> Result<(Self, usize), StoreError> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        unlock(&db, path, key, None)?;
        let found = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        let known = REPLICA_MIGRATIONS.len();
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        Ok((Self::of(db), found))
    }

    /// The connection, for the functions of the modules below.
    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// Begins a transaction. Dropped without a commit, it leaves nothing behind.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        self.set_synchronous(Synchronous::Full)?;
        Ok(self.db.unchecked_transaction()?)
    }

    /// Runs `work` in a transaction whose commit does not wait for the disk: for what the server tells again when it is asked. A power cut takes
    /// such a commit whole, or leaves it; what [`Self::begin`] commits afterwards reaches the disk together with everything before it.
    ///
    /// # Errors
    /// What `work` answers, or a failure of SQLite. Nothing is left of it, unless the very commit failed.
    pub fn unsynced<T, E: From<StoreError>>(&self, work: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        self.set_synchronous(Synchronous::Normal)?;
        self.is_behind.set(true);
        let done = self.db.unchecked_transaction().map_err(StoreError::from).map_err(E::from).and_then(|tx| {
            let value = work(&tx)?;
            tx.commit().map_err(StoreError::from)?;
            Ok(value)
        });
        // Also for what commits on its own. If it cannot be set now, `begin` tries again and refuses.
        self.set_synchronous(Synchronous::Full)?;
        done
    }

    fn set_synchronous(&self, wanted: Synchronous) -> Result<(), StoreError> {
        if self.synchronous.get() != wanted {
            self.db.execute_batch(wanted.pragma())?;
            self.synchronous.set(wanted);
        }
        Ok(())
    }

    /// Counts a commit of so many entries towards the next checkpoint.
    pub fn committed(&mut self, entries: usize) {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX).max(1);
        self.commits_since_checkpoint = self.commits_since_checkpoint.saturating_add(entries);
    }

    /// Whether enough was committed that an idle owner should call [`Self::checkpoint`].
    pub fn wants_checkpoint(&self) -> bool {
        self.commits_since_checkpoint >= COMMITS_PER_CHECKPOINT
    }

    /// Whether so much was committed that even a busy owner should.
    pub fn needs_checkpoint(&self) -> bool {
        self.commits_since_checkpoint >= COMMITS_BEFORE_CHECKPOINT_MAX
    }

    /// Copies the write-ahead log back into the file, without truncating it: overwriting an existing log costs half of growing one.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        self.commits_since_checkpoint = 0;
        Ok(())
    }

    /// Makes certain, after a failed commit, that a power cut leaves what can be read now. What the log holds goes into the file, because a
    /// failed sync may have left pages that are readable and never reach the disk; and a commit that succeeds puts the folder's entries on
    /// the disk, because closing the file deletes its log, and a deletion that is not synced can be undone.
    ///
    /// # Errors
    /// A failure of SQLite: nothing is certain.
    pub fn make_certain(&self) -> Result<(), StoreError> {
        let busy: i64 = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0))?;
        if busy != 0 {
            return Err(StoreError::InDoubt);
        }
        self.sync()
    }

    /// Waits until everything that was committed is on the disk.
    ///
    /// # Errors
    /// A failure of SQLite: it is not known what is there.
    pub fn sync(&self) -> Result<(), StoreError> {
        let tx = self.begin()?;
        tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('made_certain', random())", [])?;
        tx.commit()?;
        self.is_behind.set(false);
        Ok(())
    }

    /// What [`Self::sync`] does, unless everything is on the disk.
    ///
    /// # Errors
    /// A failure of SQLite: it is not known what is there.
    pub fn sync_if_behind(&self) -> Result<(), StoreError> {
        if self.is_behind.get() { self.sync() } else { Ok(()) }
    }

    /// A note about this file, if there is one.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn note(&self, key: &str) -> Result<Option<i64>, StoreError> {
        let found = self.db.prepare_cached("SELECT value FROM meta WHERE key = ?")?.query_row([key], |r| r.get(0));
        Ok(found.optional()?)
    }

    /// Writes a note about this file, or takes it away. A power cut may take it back.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn set_note(&self, key: &str, value: Option<i64>) -> Result<(), StoreError> {
        self.unsynced(|db| {
            match value {
                Some(value) => db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", params![key, value])?,
                None => db.execute("DELETE FROM meta WHERE key = ?", [key])?,
            };
            Ok::<_, StoreError>(())
        })
    }

    /// The name of this file, if it has one yet.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn db_uuid(&self) -> Result<Option<[u8; 16]>, StoreError> {
        let found = self.db.query_row("SELECT value FROM meta WHERE key = 'db_uuid'", [], |r| r.get(0));
        Ok(found.optional()?)
    }

    /// Names this file.
    ///
    /// # Errors
    /// A failure of SQLite, among them a name that is there already.
    pub fn set_db_uuid(&self, uuid: [u8; 16]) -> Result<(), StoreError> {
        self.db.execute("INSERT INTO meta (key, value) VALUES ('db_uuid', ?)", params![uuid])?;
        Ok(())
    }
}

/// How hard a commit is pushed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synchronous {
    /// A commit may be lost in a power cut, but not half of it.
    Normal = 1,
    /// A commit is on the disk when it returns.
    Full = 2,
}

impl Synchronous {
    fn pragma(self) -> &'static str {
        match self {
            Self::Normal => "PRAGMA synchronous = NORMAL",
            Self::Full => "PRAGMA synchronous = FULL",
        }
    }
}

/// Opens an encrypted file and sets its durability; makes it and migrates it where there are `migrations`. The order of the pragmas matters: logging before anything can
/// fail, the key before the first page is read, the locking mode before the journal mode.
pub(crate) fn open_file(
    path: &Path,
    key: &StoreKey,
    options: &StoreOptions,
    synchronous: Synchronous,
    migrations: Option<&[&str]>,
) -> Result<Connection, StoreError> {
    let db = connect(path, options, migrations.is_some())?;
    db.set_prepared_statement_cache_capacity(128);
    unlock(&db, path, key, options.exclusive.then_some("locking_mode = EXCLUSIVE"))?;
    pragma_answers(&db, path, "journal_mode = WAL", "wal")?;
    db.execute_batch(synchronous.pragma())?;
    db.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;",
    )?;
    let set: u8 = db.query_row("PRAGMA synchronous", [], |r| r.get(0))?;
    if set != synchronous as u8 {
        return Err(StoreError::NotDurable { path: path.to_owned(), what: format!("synchronous is {set}") });
    }
    if let Some(migrations) = migrations {
        migrate(&db, path, migrations)?;
    }
    Ok(db)
}

/// Connects to a file, or makes it with `create`. Nothing is read yet.
fn connect(path: &Path, options: &StoreOptions, create: bool) -> Result<Connection, StoreError> {
    let create = if create { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    Ok(match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
        None => Connection::open_with_flags(path, flags)?,
    })
}

/// Gives a connection its key. Nothing is read with it yet.
fn give_key(db: &Connection, path: &Path, key: &StoreKey, locking: Option<&str>) -> Result<(), StoreError> {
    let _ = db.execute_batch("PRAGMA cipher_log = off; PRAGMA cipher_log_level = NONE;");
    let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
    db.execute_batch(&format!("PRAGMA key = \"x'{hex}'\";"))?;
    match locking {
        Some(locking) => pragma_answers(db, path, locking, "exclusive"),
        None => Ok(()),
    }
}

/// Gives a connection its key, and reads the first page with it.
fn unlock(db: &Connection, path: &Path, key: &StoreKey, locking: Option<&str>) -> Result<(), StoreError> {
    give_key(db, path, key, locking)?;
    let readable = db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    readable.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::WrongKey(path.to_owned()),
        _ => StoreError::Sql(error),
    })
}

fn pragma_answers(db: &Connection, path: &Path, pragma: &str, expected: &str) -> Result<(), StoreError> {
    let answer: String = db.query_row(&format!("PRAGMA {pragma}"), [], |r| r.get(0))?;
    if !answer.eq_ignore_ascii_case(expected) {
        return Err(StoreError::NotDurable { path: path.to_owned(), what: format!("{pragma} was answered with {answer}") });
    }
    Ok(())
}

fn migrate(db: &Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    let found: usize = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    if found > migrations.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: migrations.len() });
    }
    for (at, sql) in migrations.iter().enumerate().skip(found) {
        let tx = db.unchecked_transaction()?;
        tx.execute_batch(sql)?;
        tx.execute_batch(&format!("PRAGMA user_version = {}", at + 1))?;
        tx.commit()?;
    }
    Ok(())
}

/// An id or hash of exactly `N` bytes, as rows hold it.
pub(crate) fn fixed<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged("an id or hash of the wrong length"))
}
