//! The histories of an origin ([`sync_proto::lines`]) on this disk: each under a row of its own.

use journal::{Hash, Head, Origin, OriginChain, Scope};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::lines::Lines;

use super::{StoreError, log};

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
    let found =
        db.prepare_cached("SELECT root FROM line WHERE origin = ?")?.query_row([row], |r| r.get(0)).optional()?;
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
    db.prepare_cached("INSERT INTO line (origin, root, parent, after_commit) VALUES (?, ?, ?, ?)")?
        .execute(params![row, root(db, leaves.row)?, leaves.row, after])?;
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
    let found = db
        .prepare_cached(
            "SELECT seq, hash FROM entry WHERE origin = ?1 AND scope = (SELECT id FROM scope WHERE name = ?2)
                 AND seq <= ?3 AND commit_no <= ?4 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![row, scope.as_str(), up_to, commit], |r| Ok(Head { seq: r.get(0)?, hash: r.get(1)? }))
        .optional()?;
    match (found, parent(db, row)?) {
        (None, Some((parent, after))) => head_after(db, parent, scope, up_to, commit.min(after)),
        (found, _) => Ok(found),
    }
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
