//! The log: entries of all origins, in the order in which they arrived here.
//!
//! Chains are read back from it at start-up. Own entries all go to one scope, so that their sequence numbers and their commits ascend
//! together; that is what lets [`own_run`] find a commit without an index of its own, which every sale would have to write.

use std::collections::{BTreeMap, BTreeSet};

use journal::{ChainedEntry, Hash, Head, Origin, OriginChain, ReceivedCommit, Scope, Seal, SealedCommit};
use minicbor::{Decoder, Encoder};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::batch::{RUN_COMMITS_MAX, Run};
use sync_proto::frame::Mark;

use super::lines::{self, Line};
use super::{StoreError, fixed, retention};

/// The row of an origin, made when it is not there yet.
///
/// # Errors
/// A failure of SQLite.
pub fn origin_row(db: &Connection, origin: Origin) -> Result<i64, StoreError> {
    if let Some(row) = find_origin(db, origin)? {
        return Ok(row);
    }
    db.prepare_cached("INSERT INTO origin (device, incarnation) VALUES (?, ?)")?
        .execute(params![origin.device, origin.incarnation])?;
    Ok(db.last_insert_rowid())
}

/// The row of an origin, if anything of it is here.
///
/// # Errors
/// A failure of SQLite.
pub fn find_origin(db: &Connection, origin: Origin) -> Result<Option<i64>, StoreError> {
    let found = db
        .prepare_cached("SELECT id FROM origin WHERE device = ? AND incarnation = ?")?
        .query_row(params![origin.device, origin.incarnation], |r| r.get(0))
        .optional()?;
    Ok(found)
}

/// The origin of a row, whichever of its lines the row is.
///
/// # Errors
/// A failure of SQLite, or no such row.
pub fn origin_of(db: &Connection, row: i64) -> Result<Origin, StoreError> {
    let origin = db
        .prepare_cached("SELECT device, incarnation FROM origin WHERE id = ?")?
        .query_row([lines::root(db, row)?], |r| Ok(Origin { device: r.get(0)?, incarnation: r.get(1)? }))?;
    Ok(origin)
}

/// Every origin of a device, with the row of its own line, oldest first.
///
/// # Errors
/// A failure of SQLite.
pub fn origins_of_device(db: &Connection, device: [u8; 16]) -> Result<Vec<(i64, Origin)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, incarnation FROM origin WHERE device = ? AND id NOT IN (SELECT origin FROM line) ORDER BY id",
    )?;
    let rows = statement.query_map([device], |r| Ok((r.get(0)?, Origin { device, incarnation: r.get(1)? })))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The row of a scope, made when it is not there yet.
///
/// # Errors
/// A failure of SQLite.
pub fn scope_row(db: &Connection, scope: &Scope) -> Result<i64, StoreError> {
    let found = db.prepare_cached("SELECT id FROM scope WHERE name = ?")?.query_row([scope.as_str()], |r| r.get(0)).optional()?;
    if let Some(row) = found {
        return Ok(row);
    }
    db.prepare_cached("INSERT INTO scope (name) VALUES (?)")?.execute([scope.as_str()])?;
    Ok(db.last_insert_rowid())
}

/// Writes the entries of one commit. Answers their rows.
///
/// # Errors
/// A failure of SQLite; an entry that is there already is one.
pub fn append(db: &Connection, origin: i64, entries: &[ChainedEntry], seal: Option<&Seal>) -> Result<Vec<i64>, StoreError> {
    let mut insert =
        db.prepare_cached("INSERT INTO entry (origin, scope, seq, commit_no, hash, bytes, seal) VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    let mut rows = Vec::with_capacity(entries.len());
    let seal = seal.map(encode_seal);
    for (at, e) in entries.iter().enumerate() {
        let seal = seal.as_ref().filter(|_| at + 1 == entries.len());
        let scope = scope_row(db, &e.scope)?;
        insert.execute(params![origin, scope, e.seq, e.entry.commit, e.hash, e.bytes, seal])?;
        rows.push(db.last_insert_rowid());
    }
    Ok(rows)
}

/// The seal of an own commit: its receivers follow every scope that this device writes.
pub fn own_seal(commit: &SealedCommit) -> Seal {
    Seal { signature: commit.signature, foreign: Vec::new() }
}

/// The hash of an entry, if it is here.
///
/// # Errors
/// A failure of SQLite.
pub fn hash_at(db: &Connection, origin: i64, scope: &Scope, seq: u64) -> Result<Option<[u8; 32]>, StoreError> {
    let scope = scope_row(db, scope)?;
    let found = db
        .prepare_cached("SELECT hash FROM entry WHERE origin = ? AND scope = ? AND seq = ?")?
        .query_row(params![origin, scope, seq], |r| r.get(0))
        .optional()?;
    Ok(found)
}

/// Where the chains of an origin stand on this disk.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn load_chain(db: &Connection, row: i64) -> Result<OriginChain, StoreError> {
    let mut chain = match lines::parent(db, row)? {
        None => OriginChain::new(origin_of(db, row)?),
        Some((parent, after)) => {
            let parent = Line { row: parent, parent: None, chain: load_chain(db, parent)? };
            lines::chain_after(db, &parent, after)?
        }
    };
    let mut heads = db.prepare_cached(
        "SELECT s.name, e.seq, e.hash, e.commit_no, e.seal FROM scope s, entry e
         WHERE e.origin = ?1 AND e.scope = s.id AND e.seq = (SELECT max(seq) FROM entry WHERE origin = ?1 AND scope = s.id)",
    )?;
    let mut rows = heads.query([row])?;
    // What is received ends with a seal, and the entry that carries it is the head of its scope.
    let mut seal: Option<(u64, Vec<u8>)> = None;
    while let Some(r) = rows.next()? {
        let scope = Scope::new(r.get::<_, String>(0)?).map_err(|_| StoreError::Damaged("a scope name"))?;
        let commit: u64 = r.get(3)?;
        chain.heads.insert(scope, Head { seq: r.get(1)?, hash: r.get(2)? });
        chain.commit = chain.commit.max(commit);
        if let Some(bytes) = r.get(4)?
            && seal.as_ref().is_none_or(|(of, _)| *of < commit)
        {
            seal = Some((commit, bytes));
        }
    }
    if let Some((_, seal)) = seal {
        for (scope, head) in decode_seal(&seal)?.foreign {
            chain.heads.entry(scope).or_insert(head);
        }
    }
    Ok(chain)
}

/// Commits of an own origin after `after`, as many as fit: at most `bytes_max` bytes and `commits_max` commits, but at least up to the first seal. None when
/// there are no more, or when some of them have gone.
/// All of them are in `scope`, the one that this device writes to.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn own_run(
    db: &Connection,
    chain: &OriginChain,
    row: i64,
    scope: &Scope,
    after: u64,
    bytes_max: usize,
    commits_max: usize,
) -> Result<Option<Run>, StoreError> {
    if after >= chain.commit || after < retention::floor(db, row)? {
        return Ok(None);
    }
    let scope_row = scope_row(db, scope)?;
    let last_seq = chain.head(scope).seq;
    let first_seq = first_seq_after(db, row, scope_row, after, last_seq)?;
    let before = match first_seq {
        1 => OriginChain::new(chain.origin).head(scope),
        seq => Head { seq: seq - 1, hash: hash_at(db, row, scope, seq - 1)?.ok_or(StoreError::Damaged("a gap in a chain"))? },
    };
    let mut select =
        db.prepare_cached("SELECT commit_no, bytes, seal FROM entry WHERE origin = ? AND scope = ? AND seq >= ? ORDER BY seq")?;
    let mut rows = select.query(params![row, scope_row, first_seq])?;
    let mut run = Run { origin: chain.origin, before: BTreeMap::from([(scope.clone(), before)]), commits: Vec::new() };
    let (mut bytes, mut open, mut sealed) = (0, None, 0);
    let commits_max = commits_max.clamp(1, RUN_COMMITS_MAX);
    while let Some(r) = rows.next()? {
        let number: u64 = r.get(0)?;
        let entry: Vec<u8> = r.get(1)?;
        if open != Some(number) {
            let full = run.commits.len() >= commits_max || bytes + entry.len() > bytes_max;
            if (full && sealed > 0) || run.commits.len() >= RUN_COMMITS_MAX {
                break;
            }
            run.commits.push(ReceivedCommit { entries: Vec::new(), seal: None });
            open = Some(number);
        }
        bytes += entry.len();
        let commit = run.commits.last_mut().expect("one was pushed for the first row");
        commit.entries.push((scope.clone(), entry));
        commit.seal = r.get::<_, Option<Vec<u8>>>(2)?.map(|seal| decode_seal(&seal)).transpose()?;
        if commit.seal.is_some() {
            sealed = run.commits.len();
        }
    }
    // What came back from a server may be sealed now and then only: a run ends where it is.
    run.commits.truncate(sealed);
    // The chain carries the last seal back over the commits before it.
    let last = run.commits.len().saturating_sub(1);
    for commit in &mut run.commits[..last] {
        commit.seal = None;
    }
    if run.commits.is_empty() {
        return Err(StoreError::Damaged("own commits without a seal"));
    }
    Ok(Some(run))
}

/// The first sequence number whose commit is above `after`. Commits ascend with sequence numbers, and there are no more commits
/// than entries, so the search begins where it usually ends.
fn first_seq_after(db: &Connection, origin: i64, scope: i64, after: u64, last_seq: u64) -> Result<u64, StoreError> {
    let mut commit_at = db.prepare_cached("SELECT commit_no FROM entry WHERE origin = ? AND scope = ? AND seq = ?")?;
    let (mut low, mut high) = (after + 1, last_seq);
    if low > high {
        return Err(StoreError::Damaged("a commit without an entry"));
    }
    let mut probe = low;
    while low < high {
        let commit: u64 = commit_at.query_row(params![origin, scope, probe], |r| r.get(0))?;
        if commit > after {
            high = probe;
        } else {
            low = probe + 1;
        }
        probe = low + (high - low) / 2;
    }
    Ok(low)
}

/// The hash of an entry.
///
/// # Errors
/// A failure of SQLite, or no such entry.
pub fn hash_of(db: &Connection, id: i64) -> Result<Hash, StoreError> {
    Ok(db.prepare_cached("SELECT hash FROM entry WHERE id = ?")?.query_row([id], |r| r.get(0))?)
}

/// Whether the content of an entry is here, and has not gone.
///
/// # Errors
/// A failure of SQLite, or no such entry.
pub fn is_here(db: &Connection, id: i64) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("SELECT length(bytes) > 0 FROM entry WHERE id = ?")?.query_row([id], |r| r.get(0))?)
}

/// The commit of an entry.
///
/// # Errors
/// A failure of SQLite, or no such entry.
pub fn commit_of(db: &Connection, id: i64) -> Result<u64, StoreError> {
    Ok(db.prepare_cached("SELECT commit_no FROM entry WHERE id = ?")?.query_row([id], |r| r.get(0))?)
}

/// The stored bytes of an entry; none at all when its content has gone ([`retention`]).
///
/// # Errors
/// A failure of SQLite, or no such entry.
pub fn entry_bytes(db: &Connection, id: i64) -> Result<Vec<u8>, StoreError> {
    Ok(db.prepare_cached("SELECT bytes FROM entry WHERE id = ?")?.query_row([id], |r| r.get(0))?)
}

/// The entry of an origin at a place of a scope, with its row.
///
/// # Errors
/// A failure of SQLite.
pub fn bytes_at(db: &Connection, origin: i64, scope: &Scope, seq: u64) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let scope = scope_row(db, scope)?;
    let found = db
        .prepare_cached("SELECT id, bytes FROM entry WHERE origin = ? AND scope = ? AND seq = ?")?
        .query_row(params![origin, scope, seq], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    Ok(found)
}

/// The id of the last entry; 0 when there is none.
///
/// # Errors
/// A failure of SQLite.
pub fn last_id(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.prepare_cached("SELECT coalesce(max(id), 0) FROM entry")?.query_row([], |r| r.get(0))?)
}

/// How far each of `followed` has been received; 0 for one that is new.
///
/// # Errors
/// A failure of SQLite.
pub fn cursors(db: &Connection, followed: &BTreeSet<Scope>) -> Result<BTreeMap<Scope, u64>, StoreError> {
    let mut all = BTreeMap::new();
    let mut select = db.prepare_cached("SELECT c.region_seq FROM cursor c JOIN scope s ON s.id = c.scope WHERE s.name = ?")?;
    for scope in followed {
        let at: Option<u64> = select.query_row([scope.as_str()], |r| r.get(0)).optional()?;
        all.insert(scope.clone(), at.unwrap_or(0));
    }
    Ok(all)
}

/// Moves the cursor of a scope forward, never back.
///
/// # Errors
/// A failure of SQLite.
pub fn move_cursor(db: &Connection, scope: &Scope, region_seq: u64) -> Result<(), StoreError> {
    let scope = scope_row(db, scope)?;
    db.prepare_cached(
        "INSERT INTO cursor (scope, region_seq) VALUES (?, ?)
         ON CONFLICT (scope) DO UPDATE SET region_seq = max(region_seq, excluded.region_seq)",
    )?
    .execute(params![scope, region_seq])?;
    Ok(())
}

/// The server incarnation that the cursors count for.
///
/// # Errors
/// A failure of SQLite.
pub fn region(db: &Connection) -> Result<Option<[u8; 16]>, StoreError> {
    Ok(db.query_row("SELECT value FROM meta WHERE key = 'region'", [], |r| r.get(0)).optional()?)
}

/// What was read last of the server's log.
///
/// # Errors
/// A failure of SQLite.
pub fn mark(db: &Connection) -> Result<Option<Mark>, StoreError> {
    let bytes: Option<Vec<u8>> = db.query_row("SELECT value FROM meta WHERE key = 'region_mark'", [], |r| r.get(0)).optional()?;
    Ok(bytes.and_then(|bytes| minicbor::decode(&bytes).ok()))
}

/// The server incarnation that was told what this device has of others.
///
/// # Errors
/// A failure of SQLite.
pub fn offered(db: &Connection) -> Result<Option<[u8; 16]>, StoreError> {
    Ok(db.query_row("SELECT value FROM meta WHERE key = 'offered'", [], |r| r.get(0)).optional()?)
}

/// Notes that a server incarnation has what this device has of others.
///
/// # Errors
/// A failure of SQLite.
pub fn set_offered(db: &Connection, region: [u8; 16]) -> Result<(), StoreError> {
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('offered', ?)", params![region])?;
    Ok(())
}

/// Notes what was read last of the server's log.
///
/// # Errors
/// A failure of SQLite.
pub fn set_mark(db: &Connection, mark: Option<&Mark>) -> Result<(), StoreError> {
    match mark {
        Some(mark) => {
            let bytes = minicbor::to_vec(mark).expect("writing to a Vec cannot fail");
            db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('region_mark', ?)")?.execute([bytes])?;
        }
        None => {
            db.prepare_cached("DELETE FROM meta WHERE key = 'region_mark'")?.execute([])?;
        }
    }
    Ok(())
}

/// Begins to count for another server incarnation: cursors start anew, and a commit that is not central is on no server's disk.
///
/// # Errors
/// A failure of SQLite.
pub fn set_region(db: &Connection, region: [u8; 16]) -> Result<(), StoreError> {
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('region', ?)", params![region])?;
    db.execute("DELETE FROM cursor", [])?;
    set_mark(db, None)?;
    db.execute("UPDATE ack SET regional = central", [])?;
    Ok(())
}

/// How far a history is on the regional server's disk and in the central database, as far as is known.
///
/// # Errors
/// A failure of SQLite.
pub fn acks(db: &Connection, origin: i64) -> Result<(u64, u64), StoreError> {
    let found = db
        .prepare_cached("SELECT regional, central FROM ack WHERE origin = ?")?
        .query_row([origin], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or((0, 0)))
}

/// Notes how far a history is on the regional server's disk and in the central database.
///
/// # Errors
/// A failure of SQLite.
pub fn set_acks(db: &Connection, origin: i64, regional: u64, central: u64) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO ack (origin, regional, central) VALUES (?, ?, ?) ON CONFLICT (origin) DO UPDATE
         SET regional = excluded.regional, central = excluded.central",
    )?
    .execute(params![origin, regional, central])?;
    Ok(())
}

fn encode_seal(seal: &Seal) -> Vec<u8> {
    let mut out = seal.signature.to_vec();
    if seal.foreign.is_empty() {
        return out;
    }
    let mut e = Encoder::new(&mut out);
    let written = (|| {
        e.array(seal.foreign.len() as u64)?;
        for (scope, head) in &seal.foreign {
            e.array(3)?.str(scope.as_str())?.u64(head.seq)?.bytes(&head.hash)?;
        }
        Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
    })();
    written.expect("writing to a Vec cannot fail");
    out
}

pub(super) fn decode_seal(bytes: &[u8]) -> Result<Seal, StoreError> {
    let damaged = StoreError::Damaged("a seal");
    let Some((signature, foreign)) = bytes.split_first_chunk::<64>() else { return Err(damaged) };
    if foreign.is_empty() {
        return Ok(Seal { signature: *signature, foreign: Vec::new() });
    }
    let read = || {
        let mut d = Decoder::new(foreign);
        let n = d.array().ok()??;
        let one = |d: &mut Decoder<'_>| {
            d.array().ok()?;
            let scope = Scope::new(d.str().ok()?).ok()?;
            Some((scope, Head { seq: d.u64().ok()?, hash: fixed(d.bytes().ok()?.to_vec()).ok()? }))
        };
        (0..n).map(|_| one(&mut d)).collect::<Option<Vec<_>>>()
    };
    Ok(Seal { signature: *signature, foreign: read().ok_or(damaged)? })
}
