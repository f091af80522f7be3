//! A log that is damaged: finding that out, putting the file aside, and taking over what can be read of it.
//!
//! SQLite keeps no code of its pages, so a flipped bit is another value, and only the chains tell. What is found broken is never sent on
//! ([`Region::rows_after`]); the whole log is audited entry by entry ([`Region::audit_step`]). A damaged file goes aside, never away, and the log begins anew
//! under a fresh incarnation, as it does where its disk was lost: what holds of the old file is taken over, and the rest comes back from the central
//! database and from devices.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Known;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::chain::{genesis, link};
use journal::{Entry, Hash, Origin, OriginChain, Scope, VerifyingKey, seal};
use operations::care::Care;
use operations::damaged::{self, Around, Files};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::{Refill, Region, RegionError, SCHEMAS, Writer};
use crate::central::{CentralRow, FeedRow};

/// Entries of one step of an audit: a few milliseconds.
const STEP_ENTRIES: u32 = 64;
/// Entries after which the place of an audit is noted, to go on from there after a stop.
const NOTED_EVERY: u64 = 4_096;
/// How often the log is audited, in milliseconds.
const AUDIT_EVERY_MS: u64 = 24 * 3_600_000;
/// Entries of a damaged file that are taken over together.
const ROWS_TOGETHER: usize = 1_000;
/// Commits that may wait for what could not be read before the rest is left for another time.
const WAITING_MAX: usize = 50_000;

/// Notes in the log: the last place that an audit has seen, when one ended, and that the program has not ended.
const AUDIT_AT: &str = "audit_at";
const AUDITED_MS: &str = "audited_ms";
const IN_USE: &str = "in_use";
/// How far a file is taken over when nothing of it waits.
const ALL: u64 = i64::MAX as u64;

/// Where the log lies.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) path: PathBuf,
    pub(super) vfs: Option<String>,
    pub(super) files: Arc<dyn Files>,
    /// How many schemas the program knows.
    pub(super) schemas_known: usize,
}

/// A look through the log, from entry to entry.
#[derive(Debug, Default)]
pub(super) struct Audit {
    at: u64,
    entries: u64,
    /// Where each history stood there, by its row, and whose key its seals are checked with.
    lines: BTreeMap<i64, (OriginChain, Option<VerifyingKey>)>,
}

impl RegionError {
    /// Whether this is what a damaged file looks like.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(code) => matches!(code, DatabaseCorrupt | NotADatabase),
                // A row with something else in it than was written.
                None => !matches!(error, rusqlite::Error::QueryReturnedNoRows),
            },
            Self::Damaged(_) => true,
            Self::Newer { .. } | Self::PutAside(_) | Self::Files(_) => false,
        }
    }
}

impl Home {
    pub(super) fn connect(&self) -> Result<Connection, RegionError> {
        let Some(vfs) = &self.vfs else { return Ok(Connection::open(&self.path)?) };
        let db = Connection::open_with_flags_and_vfs(&self.path, rusqlite::OpenFlags::default(), vfs.as_str())?;
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        Ok(db)
    }

    fn put_aside(&self, found: &str) -> Result<PathBuf, RegionError> {
        let to = damaged::set_aside(&*self.files, &self.path).map_err(RegionError::Files)?;
        tracing::error!(
            event = "log_damaged",
            file = %to.display(),
            found,
            "the log is damaged and was put aside: it begins anew with what can still be read, and is filled again"
        );
        Ok(to)
    }
}

impl Region {
    /// Opens the log as [`Self::open`] does. One that is damaged is put aside, and begun anew with what can still be read of it.
    ///
    /// # Errors
    /// A disk that refuses, or a newer schema.
    pub fn open_or_begin_anew(
        path: &Path,
        vfs: Option<&str>,
        files: Arc<dyn Files>,
        writer: Writer,
    ) -> Result<Self, RegionError> {
        Self::open_knowing(SCHEMAS, path, vfs, files, writer)
    }

    /// The same as a program that knows only so many of the log's schemas: a simulator puts an earlier one in its place.
    ///
    /// # Errors
    /// As [`Self::open_or_begin_anew`].
    pub fn open_knowing(
        schemas_known: usize,
        path: &Path,
        vfs: Option<&str>,
        files: Arc<dyn Files>,
        writer: Writer,
    ) -> Result<Self, RegionError> {
        let schemas_known = schemas_known.min(SCHEMAS);
        let home = Home { path: path.to_owned(), vfs: vfs.map(str::to_owned), files, schemas_known };
        damaged::finish_setting_aside(&*home.files, path).map_err(RegionError::Files)?;
        let opened = Self::of(home.clone(), writer.clone()).and_then(|region| region.check_ends().map(|()| region));
        let mut region = match opened {
            Err(error) if error.is_damage() => {
                home.put_aside(&error.to_string())?;
                Self::of(home, writer)?
            }
            opened => opened?,
        };
        while region.salvage_step()? == Care::More {}
        if region.meta(IN_USE)?.is_some() {
            // Whatever ended it may have taken something along.
            region.forget(AUDITED_MS)?;
        }
        region.set_meta(IN_USE, 1)?;
        Ok(region)
    }

    /// Notes that the program ends because it was told to.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn end_use(&self) -> Result<(), RegionError> {
        self.forget(IN_USE)
    }

    /// Whether the log was put aside: it takes nothing any more, and has to be opened anew.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn forget(&self, key: &str) -> Result<(), RegionError> {
        self.db.execute("DELETE FROM meta WHERE key = ?1", [key])?;
        Ok(())
    }

    /// Whether the last entry of every chain is what was signed: what is written next builds on it.
    fn check_ends(&self) -> Result<(), RegionError> {
        for (origin, lines) in &self.lines {
            for line in lines {
                for (scope, head) in &line.chain.heads {
                    let Some(&id) = self.scope_ids.get(scope) else { continue };
                    let mut select =
                        self.db.prepare_cached("SELECT bytes FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?;
                    let last: Option<Vec<u8>> = select.query_row(params![line.row, id, head.seq], |row| row.get(0)).optional()?;
                    let Some(bytes) = last else { continue };
                    if link(&self.hash_before(line.row, *origin, scope, head.seq)?, &bytes) != head.hash {
                        return Err(RegionError::Damaged("the last entry of a chain is not what was signed"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The hash of what is before a place of a line.
    pub(super) fn hash_before(&self, row: i64, origin: Origin, scope: &Scope, seq: u64) -> Result<Hash, RegionError> {
        match seq {
            0 | 1 => Ok(genesis(origin, scope)),
            seq => self.hash_on(self.line(row)?, scope, seq - 1)?.ok_or(RegionError::Damaged("a chain with a hole")),
        }
    }

    /// Looks at a few more entries of the log, if it is time for that, and at its pages first when something speaks of damage. What is found broken is put
    /// aside.
    ///
    /// # Errors
    /// When SQLite refuses, or the log was put aside.
    pub fn audit_step(&mut self, now_ms: u64, is_suspected: bool) -> Result<Care, RegionError> {
        if self.is_over {
            return Ok(Care::Done);
        }
        let step = self.try_audit_step(now_ms, is_suspected);
        match step {
            Err(error) if error.is_damage() => Err(self.put_aside(&error.to_string())),
            step => step,
        }
    }

    fn try_audit_step(&mut self, now_ms: u64, is_suspected: bool) -> Result<Care, RegionError> {
        if is_suspected {
            let said: String = self.db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if said != "ok" {
                tracing::warn!(said, "the pages of the log do not fit together");
                return Err(RegionError::Damaged("its pages do not fit together"));
            }
            self.audit = Some(Audit::default());
        }
        if self.audit.is_none() {
            let due = self.meta(AUDITED_MS)?.is_none_or(|at_ms| now_ms.abs_diff(at_ms) >= AUDIT_EVERY_MS);
            let at = self.meta(AUDIT_AT)?;
            if !due && at.is_none() {
                return Ok(Care::Done);
            }
            self.audit = Some(Audit { at: at.unwrap_or(0), ..Audit::default() });
        }
        let Some(mut audit) = self.audit.take() else { return Ok(Care::Done) };
        let looked_at = self.audit_some(&mut audit)?;
        if looked_at < STEP_ENTRIES {
            self.forget(AUDIT_AT)?;
            self.set_meta(AUDITED_MS, now_ms)?;
            tracing::info!(event = "log_audited", entries = audit.entries, "the log is what was signed");
            return Ok(Care::Done);
        }
        if audit.entries.is_multiple_of(NOTED_EVERY) {
            self.set_meta(AUDIT_AT, audit.at)?;
        }
        self.audit = Some(audit);
        Ok(Care::More)
    }

    fn audit_some(&self, audit: &mut Audit) -> Result<u32, RegionError> {
        let scopes: BTreeMap<i64, &Scope> = self.scope_ids.iter().map(|(scope, id)| (*id, scope)).collect();
        let mut select = self.db.prepare_cached(
            "SELECT region_seq, origin, scope, seq, commit_no, hash, bytes, seal FROM entry WHERE region_seq > ?1 ORDER BY region_seq LIMIT ?2",
        )?;
        let mut place = self.db.prepare_cached("SELECT region_seq FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?;
        let mut by_commit = self.db.prepare_cached(
            "SELECT 1 FROM entry INDEXED BY entry_commit WHERE origin = ?1 AND commit_no = ?2 AND region_seq = ?3",
        )?;
        let mut rows = select.query(params![audit.at, STEP_ENTRIES])?;
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            let (at, line, scope_id, seq, commit): (u64, i64, i64, u64, u64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            let scope = *scopes.get(&scope_id).ok_or(RegionError::Damaged("a scope"))?;
            let (hash, bytes): (Hash, Vec<u8>) = (row.get(5)?, row.get(6)?);
            let (chain, key) = match audit.lines.entry(line) {
                Known::Occupied(known) => known.into_mut(),
                Known::Vacant(new) => {
                    let chain = self.chain_after(self.line(line)?, commit.saturating_sub(1))?;
                    let key = self.writer_of(chain.origin)?.map(|(key, _, _)| key);
                    new.insert((chain, key))
                }
            };
            let before = chain.head(scope);
            let follows = seq == before.seq + 1
                && link(&before.hash, &bytes) == hash
                && Entry::decode(&bytes).is_ok_and(|entry| entry.commit == commit);
            if !follows {
                tracing::warn!(region_seq = at, device = %uuid::Uuid::from_bytes(chain.origin.device), "an entry is not what was signed");
                return Err(RegionError::Damaged("an entry is not what was signed"));
            }
            // And is it found where it is looked for?
            let found: Option<u64> = place.query_row(params![line, scope_id, seq], |row| row.get(0)).optional()?;
            if found != Some(at) || !by_commit.exists(params![line, commit, at])? {
                return Err(RegionError::Damaged("an entry is not where it is looked for"));
            }
            chain.heads.insert(scope.clone(), journal::Head { seq, hash });
            chain.commit = commit;
            if let Some(signature) = row.get::<_, Option<[u8; 64]>>(7)? {
                let holds = |key: &VerifyingKey| seal::verify(key, chain.origin, commit, &chain.heads, &signature);
                if !key.as_ref().is_none_or(holds) {
                    tracing::warn!(region_seq = at, device = %uuid::Uuid::from_bytes(chain.origin.device), "a seal does not hold");
                    return Err(RegionError::Damaged("a seal does not hold"));
                }
            }
            audit.at = at;
            looked_at += 1;
        }
        audit.entries += u64::from(looked_at);
        Ok(looked_at)
    }

    /// Puts the log aside. This one is over then.
    fn put_aside(&mut self, found: &str) -> RegionError {
        // What is open goes first.
        match Connection::open_in_memory() {
            Ok(nothing) => self.db = nothing,
            Err(error) => return error.into(),
        }
        match self.home.put_aside(found) {
            Ok(to) => {
                self.is_over = true;
                RegionError::PutAside(to)
            }
            Err(error) => error,
        }
    }

    /// Takes over some more of what can be read of the logs that were put aside. What follows something that could not be read waits until that has come
    /// from elsewhere.
    ///
    /// # Errors
    /// When SQLite refuses; the log is then as it was.
    pub fn salvage_step(&mut self) -> Result<Care, RegionError> {
        if self.is_over {
            return Ok(Care::Done);
        }
        for number in damaged::all_aside(&*self.home.files, &self.home.path).map_err(RegionError::Files)? {
            let from = self.meta(&salvaged(number))?;
            if from == Some(ALL) {
                continue;
            }
            return self.salvage(number, from);
        }
        Ok(Care::Done)
    }

    fn salvage(&mut self, number: u32, from: Option<u64>) -> Result<Care, RegionError> {
        let file = damaged::aside(&self.home.path, number);
        let mut aside = Aside::new(Home { path: file.clone(), ..self.home.clone() }, from.unwrap_or(0));
        if from.is_none() {
            aside.take_over_own_rows(&self.db)?;
        }
        let mut refill = Refill::default();
        let (mut taken, mut ended) = (0, false);
        while !ended && refill.held() < WAITING_MAX {
            let rows: Vec<CentralRow> = std::iter::from_fn(|| aside.next_row()).take(ROWS_TOGETHER).collect();
            ended = rows.len() < ROWS_TOGETHER;
            refill.add(rows)?;
            taken += self.take_from(&mut refill)?;
            self.drop_contradicted(&mut refill)?;
        }
        let waits_from = refill.waits_from();
        let waits = waits_from.is_some();
        if taken > 0 || !waits {
            let unreadable = aside.walk.skipped();
            tracing::warn!(
                event = "log_taken_over",
                file = %file.display(),
                commits = taken,
                unreadable,
                waits,
                "what can be read of the damaged log is in the new one"
            );
        }
        self.set_meta(&salvaged(number), waits_from.unwrap_or(ALL))?;
        Ok(if waits { Care::Waits } else { Care::More })
    }
}

/// The note of how far a file that was put aside is taken over.
fn salvaged(number: u32) -> String {
    format!("salvaged_{number}")
}

/// A log that was put aside, as far as it can be read.
struct Aside {
    home: Home,
    db: Option<Connection>,
    walk: Around,
    origins: BTreeMap<i64, Option<Origin>>,
    scopes: BTreeMap<i64, Option<String>>,
}

/// The columns of a row as they are there.
type Columns = (i64, i64, u64, u64, Hash, Vec<u8>, Option<[u8; 64]>);

impl Aside {
    fn new(home: Home, after: u64) -> Self {
        let walk = Around::after(after.cast_signed());
        Self { home, db: None, walk, origins: BTreeMap::new(), scopes: BTreeMap::new() }
    }

    /// The next entry that can be read; none at the end. Its place in the central store is the one that it had in the log.
    fn next_row(&mut self) -> Option<CentralRow> {
        loop {
            let mut walk = self.walk;
            let found = walk.next(|from| self.read(|db| entry_from(db, from)));
            self.walk = walk;
            let (place, (line, scope, seq, commit, hash, bytes, seal)) = found?;
            let Ok(entry) = Entry::decode(&bytes) else { continue };
            let (Some(Origin { device, incarnation }), Some(scope)) = (self.origin(line), self.scope(scope)) else { continue };
            if entry.commit != commit || seq == 0 || Scope::new(scope.clone()).is_err() {
                continue;
            }
            let (region_seq, at_ms) = (place.cast_unsigned(), entry.at.unix_ms());
            let row = FeedRow { region_seq, device, incarnation, scope, seq, commit, hash, bytes, at_ms, seal };
            return Some(CentralRow { central_seq: region_seq, row });
        }
    }

    /// Whose history a row is, whichever of its lines.
    fn origin(&mut self, line: i64) -> Option<Origin> {
        if let Some(known) = self.origins.get(&line) {
            return *known;
        }
        let found = self.read(|db| {
            let mut row = line;
            // Parents are older, so this ends.
            while let Some(parent) = db
                .query_row("SELECT parent FROM line WHERE origin = ?1", [row], |r| r.get::<_, i64>(0))
                .optional()?
                .filter(|p| *p < row)
            {
                row = parent;
            }
            let read = |r: &rusqlite::Row<'_>| Ok(Origin { device: r.get(0)?, incarnation: r.get(1)? });
            Ok(db.query_row("SELECT device, incarnation FROM origin WHERE id = ?1", [row], read)?)
        });
        let found = found.ok();
        self.origins.insert(line, found);
        found
    }

    fn scope(&mut self, row: i64) -> Option<String> {
        if let Some(known) = self.scopes.get(&row) {
            return known.clone();
        }
        let found = self.read(|db| Ok(db.query_row("SELECT name FROM scope WHERE id = ?1", [row], |r| r.get(0))?)).ok();
        self.scopes.insert(row, found.clone());
        found
    }

    fn read<T>(&mut self, look: impl Fn(&Connection) -> Result<T, RegionError>) -> Result<T, RegionError> {
        if self.db.is_none() {
            self.db = Some(self.home.connect()?);
        }
        let Some(db) = &self.db else { return Err(RegionError::Damaged("a log that was put aside")) };
        let found = look(db);
        if found.is_err() {
            self.db = None;
        }
        found
    }

    /// Copies what no entry says: names of authors, and imports. What cannot be read is left out.
    fn take_over_own_rows(&mut self, into: &Connection) -> Result<(), RegionError> {
        for table in OWN_TABLES {
            let Ok((columns, rows)) = self.read(|db| all_values(db, table)) else { continue };
            let places = vec!["?"; columns.len()].join(", ");
            let insert = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({places})", columns.join(", "));
            for values in rows {
                into.prepare_cached(&insert)?.execute(params_from_iter(values))?;
            }
        }
        Ok(())
    }
}

/// Tables that cannot be computed from entries.
const OWN_TABLES: [&str; 4] = ["author", "import", "import_write", "taken_back"];

fn entry_from(db: &Connection, from: i64) -> Result<Option<(i64, Columns)>, RegionError> {
    let found = db
        .prepare_cached(
            "SELECT region_seq, origin, scope, seq, commit_no, hash, bytes, seal FROM entry NOT INDEXED WHERE region_seq >= ?1
             ORDER BY region_seq LIMIT 1",
        )?
        .query_row([from], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?, r.get(7)?))))
        .optional()?;
    Ok(found)
}

fn all_values(db: &Connection, table: &str) -> Result<(Vec<String>, Vec<Vec<Value>>), RegionError> {
    let mut select = db.prepare(&format!("SELECT * FROM {table}"))?;
    let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
    let rows = select.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>())?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok((columns, rows))
}
