//! The histories of an origin ([`sync_proto::lines`]) on this disk: each under a row of its own.

use std::collections::BTreeMap;

use journal::chain::genesis;
use journal::{Hash, Head, Origin, OriginChain, ReceivedCommit, Scope};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::batch::{RUN_COMMITS_MAX, Run};
use sync_proto::lines::Lines;

use super::{StoreError, log, retention};

/// One history of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The row that its entries name.
    pub row: i64,
    /// The row of the line that it leaves, and the last commit that both have; none for the origin's own.
    pub parent: Option<(i64, u64)>,
    /// Where it stands.
    pub chain: OriginChain,
}

/// The lines of an origin, its own first; none when nothing of it is here.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn of(db: &Connection, origin: Origin) -> Result<Vec<Line>, StoreError> {
    let Some(root) = log::find_origin(db, origin)? else { return Ok(Vec::new()) };
    let mut lines = vec![Line { row: root, parent: None, chain: log::load_chain(db, root)? }];
    let mut select = db.prepare_cached("SELECT origin, parent, after_commit FROM line WHERE root = ? ORDER BY origin")?;
    let mut rows = select.query([root])?;
    while let Some(r) = rows.next()? {
        let row = r.get(0)?;
        lines.push(Line { row, parent: Some((r.get(1)?, r.get(2)?)), chain: log::load_chain(db, row)? });
    }
    Ok(lines)
}

/// Every line of every origin, in the order in which they came.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn all(db: &Connection) -> Result<Vec<Line>, StoreError> {
    let mut select = db.prepare_cached("SELECT id FROM origin ORDER BY id")?;
    let rows = select.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    of_rows(db, rows)
}

/// The lines that entries after one belong to.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn of_entries_after(db: &Connection, entry: i64) -> Result<Vec<Line>, StoreError> {
    let mut select = db.prepare_cached("SELECT DISTINCT origin FROM entry WHERE id > ? ORDER BY origin")?;
    let rows = select.query_map([entry], |r| r.get(0))?.collect::<Result<_, _>>()?;
    of_rows(db, rows)
}

fn of_rows(db: &Connection, rows: Vec<i64>) -> Result<Vec<Line>, StoreError> {
    rows.into_iter().map(|row| Ok(Line { row, parent: parent(db, row)?, chain: log::load_chain(db, row)? })).collect()
}

/// The line that a row's leaves, and after which commit; none for an origin's own.
///
/// # Errors
/// A failure of SQLite.
pub fn parent(db: &Connection, row: i64) -> Result<Option<(i64, u64)>, StoreError> {
    let found = db
        .prepare_cached("SELECT parent, after_commit FROM line WHERE origin = ?")?
        .query_row([row], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    Ok(found)
}

/// The row of the origin's own line.
///
/// # Errors
/// A failure of SQLite.
pub fn root(db: &Connection, row: i64) -> Result<i64, StoreError> {
    let found = db.prepare_cached("SELECT root FROM line WHERE origin = ?")?.query_row([row], |r| r.get(0)).optional()?;
    Ok(found.unwrap_or(row))
}

/// Begins a line that leaves another after a commit; `first` is the hash of its first entry. Answers its row.
///
/// # Errors
/// A failure of SQLite.
pub fn begin(db: &Connection, leaves: &Line, after: u64, first: &Hash) -> Result<i64, StoreError> {
    let device = leaves.chain.origin.device;
    db.prepare_cached("INSERT INTO origin (device, incarnation) VALUES (?, ?)")?.execute(params![device, &first[..16]])?;
    let row = db.last_insert_rowid();
    db.prepare_cached("INSERT INTO line (origin, root, parent, after_commit) VALUES (?, ?, ?, ?)")?.execute(params![
        row,
        root(db, leaves.row)?,
        leaves.row,
        after
    ])?;
    Ok(row)
}

/// Where a line stood after a commit.
///
/// # Errors
/// A failure of SQLite.
pub fn chain_after(db: &Connection, line: &Line, commit: u64) -> Result<OriginChain, StoreError> {
    let mut chain = OriginChain::new(line.chain.origin);
    chain.commit = commit;
    for (scope, head) in &line.chain.heads {
        if let Some(head) = head_after(db, line.row, scope, head.seq, commit)? {
            chain.heads.insert(scope.clone(), head);
        }
    }
    Ok(chain)
}

/// The head of a scope after a commit, at or before a place.
fn head_after(db: &Connection, row: i64, scope: &Scope, up_to: u64, commit: u64) -> Result<Option<Head>, StoreError> {
    let mut at = db.prepare_cached(
        "SELECT seq, hash, commit_no FROM entry WHERE origin = ?1 AND scope = (SELECT id FROM scope WHERE name = ?2)
             AND seq <= ?3 ORDER BY seq DESC LIMIT 1",
    )?;
    let mut newest = |seq: u64| {
        at.query_row(params![row, scope.as_str(), seq], |r| Ok((Head { seq: r.get(0)?, hash: r.get(1)? }, r.get::<_, u64>(2)?)))
            .optional()
    };
    // Commits ascend with sequence numbers, so it is found by halves.
    let (mut found, mut low, mut high) = (None, 1, up_to);
    let mut probe = high;
    while low <= high {
        match newest(probe)? {
            // Nothing of this row is there any more: what is before it is its parent's.
            None => low = probe + 1,
            Some((head, of)) if of <= commit => {
                found = Some(head);
                low = probe + 1;
            }
            Some((head, _)) => high = head.seq - 1,
        }
        probe = low + high.saturating_sub(low) / 2;
    }
    match (found, parent(db, row)?) {
        (None, Some((parent, after))) => head_after(db, parent, scope, up_to, commit.min(after)),
        (found, _) => Ok(found),
    }
}

/// The rows of a line with the last commit of each that is of it: its own, and those of the lines that it leaves, back to the origin's own.
fn rows_of(db: &Connection, line: &Line) -> Result<Vec<(i64, u64)>, StoreError> {
    let mut rows = vec![(line.row, line.chain.commit)];
    let mut least = u64::MAX;
    let mut row = line.row;
    while let Some((above, after)) = parent(db, row)? {
        least = least.min(after);
        rows.push((above, least));
        row = above;
    }
    Ok(rows)
}

/// Commits of a line after `after`, as many as fit but at least up to the first seal; none when there are no more, or when some of them have gone.
///
/// It looks through all that is here of the origin: for the rare moments in which others ask for it.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn run_after(db: &Connection, line: &Line, after: u64, bytes_max: usize) -> Result<Option<Run>, StoreError> {
    for (row, last) in rows_of(db, line)?.into_iter().filter(|(_, last)| *last > after) {
        if after < retention::floor(db, row)?.min(last) {
            // Some of it has gone: whoever lacks it gets it elsewhere.
            return Ok(None);
        }
    }
    let lines = LinesOf { db, lines: std::slice::from_ref(line) };
    let mut run = Run { origin: line.chain.origin, before: BTreeMap::new(), commits: Vec::new() };
    let (mut bytes, mut sealed, mut open) = (0, 0, None);
    'rows: for (row, last) in rows_of(db, line)?.into_iter().rev().filter(|(_, last)| *last > after) {
        let mut select = db.prepare_cached(
            "SELECT s.name, e.seq, e.commit_no, e.bytes, e.seal FROM entry e JOIN scope s ON s.id = e.scope
             WHERE e.origin = ?1 AND e.commit_no > ?2 AND e.commit_no <= ?3 ORDER BY e.commit_no, e.id",
        )?;
        let mut found = select.query(params![row, after, last])?;
        while let Some(r) = found.next()? {
            let scope = Scope::new(r.get::<_, String>(0)?).map_err(|_| StoreError::Damaged("a scope name"))?;
            let (seq, number, entry): (u64, u64, Vec<u8>) = (r.get(1)?, r.get(2)?, r.get(3)?);
            if open != Some(number) {
                let full = bytes + entry.len() > bytes_max || run.commits.len() >= RUN_COMMITS_MAX;
                if sealed > 0 && full {
                    break 'rows;
                }
                run.commits.push(ReceivedCommit { entries: Vec::new(), seal: None });
                open = Some(number);
            }
            if !run.before.contains_key(&scope) {
                let hash = match seq {
                    1 => genesis(run.origin, &scope),
                    seq => lines.hash_on(0, &scope, seq - 1)?.ok_or(StoreError::Damaged("a gap in a chain"))?,
                };
                run.before.insert(scope.clone(), Head { seq: seq - 1, hash });
            }
            bytes += entry.len();
            let Some(commit) = run.commits.last_mut() else { continue };
            commit.entries.push((scope, entry));
            commit.seal = r.get::<_, Option<Vec<u8>>>(4)?.map(|seal| log::decode_seal(&seal)).transpose()?;
            if commit.seal.is_some() {
                sealed = run.commits.len();
            }
        }
    }
    run.commits.truncate(sealed);
    // The chain carries the last seal back over the commits before it.
    if let Some((_, before)) = run.commits.split_last_mut() {
        before.iter_mut().for_each(|commit| commit.seal = None);
    }
    Ok((!run.commits.is_empty()).then_some(run))
}

/// The lines of one origin as a look into them needs them.
#[derive(Debug, Clone, Copy)]
pub struct LinesOf<'a> {
    /// Where they are.
    pub db: &'a Connection,
    /// The lines, the origin's own first.
    pub lines: &'a [Line],
}

impl Lines for LinesOf<'_> {
    type Error = StoreError;

    fn chains(&self) -> Vec<&OriginChain> {
        self.lines.iter().map(|line| &line.chain).collect()
    }

    fn hash_on(&self, line: usize, scope: &Scope, seq: u64) -> Result<Option<Hash>, StoreError> {
        // The line that it leaves may go on further than itself.
        if seq > self.lines[line].chain.head(scope).seq {
            return Ok(None);
        }
        let mut row = self.lines[line].row;
        loop {
            if let Some(hash) = log::hash_at(self.db, row, scope, seq)? {
                return Ok(Some(hash));
            }
            match parent(self.db, row)? {
                Some((parent, _)) => row = parent,
                None => return Ok(None),
            }
        }
    }
}
