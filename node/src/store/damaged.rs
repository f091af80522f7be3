//! A replica that is damaged: finding that out, and reading what can be read of one that was put aside.
//!
//! SQLCipher keeps a code of every page, so a flipped bit is an error of whoever reads that page, and never another value. Which errors mean damage and which a
//! disk that failed for a moment is found out by [`find`], which looks at all pages of the file anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use journal::{Hash, Origin, Scope, Seal};
use operations::damaged::Around;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Replica, StoreError, StoreKey, StoreOptions, Synchronous, connect, give_key, log, open_file};

/// The size of a page.
pub const PAGE_BYTES: u64 = 4_096;

/// Looks at a whole file that nobody has open. Answers what is wrong with it, in a few words; none when it holds together.
///
/// # Errors
/// A disk that fails, or a key that fits no page: then it is not known whether the file is damaged or another's.
pub fn find(path: &Path, key: &StoreKey, options: &StoreOptions) -> Result<Option<String>, StoreError> {
    // What its log holds may never have reached the file, so that goes there first.
    let db = match open_file(path, key, options, Synchronous::Full, None) {
        Ok(db) => {
            let copied = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0)).map_err(StoreError::from);
            match copied {
                Ok(0) => Some(db),
                Ok(_) => return Err(StoreError::Closed),
                Err(error) if error.may_be_damage() => None,
                Err(error) => return Err(error),
            }
        }
        Err(error) if error.may_be_damage() => None,
        Err(error) => return Err(error),
    };
    let could_open = db.is_some();
    drop(db);
    let broken = broken_pages(path, key, options)?;
    if broken.is_empty() && could_open {
        return misfit(path, key, options);
    }
    let pages = options.files.len(path).map_err(|source| StoreError::Io { path: path.to_owned(), done: "measured", source })?;
    if broken.len() as u64 >= pages.unwrap_or(0) / PAGE_BYTES {
        return Err(StoreError::WrongKey(path.to_owned()));
    }
    Ok(Some(match broken.as_slice() {
        [] => "it does not open".to_owned(),
        [one] => format!("page {one} is not what was written"),
        [first, rest @ ..] => format!("page {first} and {} more are not what was written", rest.len()),
    }))
}

/// The pages whose code does not hold.
fn broken_pages(path: &Path, key: &StoreKey, options: &StoreOptions) -> Result<Vec<u64>, StoreError> {
    let db = connect(path, options, false)?;
    give_key(&db, path, key, options.exclusive.then_some("locking_mode = EXCLUSIVE"))?;
    let mut check = db.prepare("PRAGMA cipher_integrity_check")?;
    let said = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(said.iter().filter_map(|line| line.strip_prefix("HMAC verification failed for page ")?.parse().ok()).collect())
}

/// What does not fit together although every page is one that was written: an older page in the place of a newer one.
fn misfit(path: &Path, key: &StoreKey, options: &StoreOptions) -> Result<Option<String>, StoreError> {
    let db = open_file(path, key, options, Synchronous::Full, None)?;
    let said: Result<String, _> = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match said.map_err(StoreError::from) {
        Ok(said) if said == "ok" => Ok(None),
        Ok(said) => Ok(Some(format!("its pages do not fit together: {said}"))),
        Err(error) if error.may_be_damage() => Ok(Some(format!("its pages do not fit together: {error}"))),
        Err(error) => Err(error),
    }
}

/// A replica that was put aside, as far as it can be read.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    key: StoreKey,
    options: StoreOptions,
    /// Opened again after each row that cannot be read: SQLCipher then refuses everything.
    db: Option<Connection>,
    walk: Around,
    origins: BTreeMap<i64, Option<Origin>>,
    scopes: BTreeMap<i64, Option<Scope>>,
}

/// An entry of a replica that was put aside.
#[derive(Debug, Clone)]
pub struct AsideRow {
    /// Its row.
    pub id: i64,
    /// The row of its history.
    pub line: i64,
    /// Whose history that is.
    pub origin: Origin,
    /// Its scope.
    pub scope: Scope,
    /// Its number in the chain.
    pub seq: u64,
    /// Its commit.
    pub commit: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The seal, on the last entry of a commit that has one.
    pub seal: Option<Seal>,
}

/// The columns of a row as they are there.
type Columns = (i64, i64, u64, u64, Hash, Vec<u8>, Option<Vec<u8>>);

impl Aside {
    /// Reads a file from after an entry on.
    pub fn new(path: PathBuf, key: StoreKey, options: StoreOptions, after: i64) -> Self {
        let walk = Around::after(after);
        Self { path, key, options, db: None, walk, origins: BTreeMap::new(), scopes: BTreeMap::new() }
    }

    /// How many stretches of it could not be read so far.
    pub fn unreadable(&self) -> u64 {
        self.walk.skipped()
    }

    /// The next entry that can be read; none at the end.
    pub fn next_row(&mut self) -> Option<AsideRow> {
        loop {
            let mut walk = self.walk;
            let found = walk.next(|from| self.read(|db| entry_from(db, from)));
            self.walk = walk;
            let (id, (line, scope, seq, commit, hash, bytes, seal)) = found?;
            if bytes.is_empty() {
                // Its content went while the file was sound: the server has it.
                continue;
            }
            let (Some(origin), Some(scope)) = (self.origin(line), self.scope(scope)) else { continue };
            let Ok(seal) = seal.map(|seal| log::decode_seal(&seal)).transpose() else { continue };
            return Some(AsideRow { id, line, origin, scope, seq, commit, hash, bytes, seal });
        }
    }

    /// The hash at a place of a history's own row, if it can be read.
    pub fn hash_at(&mut self, line: i64, scope: &Scope, seq: u64) -> Option<Hash> {
        let place = "SELECT hash FROM entry WHERE origin = ?1 AND scope = (SELECT id FROM scope WHERE name = ?2) AND seq = ?3";
        let found = self
            .read(|db| Ok(db.prepare_cached(place)?.query_row(params![line, scope.as_str(), seq], |r| r.get(0)).optional()?));
        found.ok().flatten()
    }

    fn origin(&mut self, line: i64) -> Option<Origin> {
        if let Some(known) = self.origins.get(&line) {
            return *known;
        }
        let found = self.read(|db| log::origin_of(db, line)).ok();
        self.origins.insert(line, found);
        found
    }

    fn scope(&mut self, row: i64) -> Option<Scope> {
        if let Some(known) = self.scopes.get(&row) {
            return known.clone();
        }
        let name =
            self.read(|db| Ok(db.query_row("SELECT name FROM scope WHERE id = ?", [row], |r| r.get::<_, String>(0))?)).ok();
        let found = name.and_then(|name| Scope::new(name).ok());
        self.scopes.insert(row, found.clone());
        found
    }

    fn read<T>(&mut self, look: impl Fn(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.db.is_none() {
            self.db = Some(open_file(&self.path, &self.key, &self.options, Synchronous::Full, None)?);
        }
        let Some(db) = &self.db else { return Err(StoreError::Closed) };
        let found = look(db);
        if found.is_err() {
            self.db = None;
        }
        found
    }

    /// Copies what only this device knows into a new replica: print jobs, attempts, kicks of the drawer, wrong PINs. What cannot be read is left out.
    ///
    /// # Errors
    /// A failure of the new replica.
    pub fn take_over_own_rows(&mut self, into: &Replica) -> Result<(), StoreError> {
        let tx = into.begin()?;
        for (table, columns, number) in OWN_ROWS {
            let places = vec!["?"; columns.split(',').count()].join(", ");
            let insert = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
            let select = format!("SELECT {number}, {columns} FROM {table} WHERE {number} >= ? ORDER BY {number} LIMIT 1");
            let mut walk = Around::after(0);
            while let Some((_, values)) = walk.next(|from| self.read(|db| values_from(db, &select, from))) {
                insert_if_it_fits(&tx, &insert, values)?;
            }
        }
        for (table, columns) in KEYED_ROWS {
            let places = vec!["?"; columns.split(',').count()].join(", ");
            let insert = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
            let rows = self.read(|db| all_values(db, &format!("SELECT {columns} FROM {table}")));
            for values in rows.unwrap_or_default() {
                insert_if_it_fits(&tx, &insert, values)?;
            }
        }
        tx.commit()?;
        Ok(())
    }
}

/// Tables with a number to walk by.
const OWN_ROWS: [(&str, &str, &str); 2] = [
    ("print_job", "n, id, order_id, copy_no, title, document, state, problem, created_ms", "n"),
    ("print_attempt", "n, job, profile, bytes_sha256, started_ms, ended_ms, accepted_bytes, outcome", "n"),
];

/// Small tables without one.
const KEYED_ROWS: [(&str, &str); 2] = [("drawer_kick", "id, state, created_ms"), ("pin_attempt", "staff, wrong, last_ms")];

type Values = Vec<rusqlite::types::Value>;

/// An attempt whose print job could not be read is left out.
fn insert_if_it_fits(db: &Connection, insert: &str, values: Values) -> Result<(), StoreError> {
    match db.prepare_cached(insert)?.execute(rusqlite::params_from_iter(values)) {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => Ok(()),
        done => Ok(done.map(drop)?),
    }
}

fn values_from(db: &Connection, select: &str, from: i64) -> Result<Option<(i64, Values)>, StoreError> {
    let mut select = db.prepare_cached(select)?;
    let width = select.column_count();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (1..width).map(|at| row.get(at)).collect::<Result<Values, _>>()?));
    Ok(select.query_row([from], read).optional()?)
}

fn all_values(db: &Connection, select: &str) -> Result<Vec<Values>, StoreError> {
    let mut select = db.prepare(select)?;
    let width = select.column_count();
    let rows = select.query_map([], |row| (0..width).map(|at| row.get(at)).collect::<Result<Values, _>>())?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn entry_from(db: &Connection, from: i64) -> Result<Option<(i64, Columns)>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT id, origin, scope, seq, commit_no, hash, bytes, seal FROM entry NOT INDEXED WHERE id >= ? ORDER BY id LIMIT 1",
        )?
        .query_row([from], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?, r.get(7)?))))
        .optional()?;
    Ok(found)
}
