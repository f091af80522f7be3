//! What the media of a world hold, read as an outsider reads them: every entry that some disk or the central store can still give back, that follows what is
//! before it, and that a seal vouches for. What was held before an accident and is not afterwards, nobody can have.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use journal::chain::{genesis, link};
use journal::{Hash, Origin, Scope};
use rusqlite::{Connection, OpenFlags};
use sync_server::central::FeedRow;

use super::machine::Image;
use super::order_of;
use crate::crash_vfs::Disk;

/// Rows in a row that may be unreadable before it is taken that nothing comes after them.
const UNREADABLE_MAX: i64 = 400;

/// An entry on some medium.
#[derive(Debug, Clone)]
pub struct HeldRow {
    origin: Origin,
    scope: String,
    seq: u64,
    hash: Hash,
    bytes: Vec<u8>,
    is_sealed: bool,
}

impl From<FeedRow> for HeldRow {
    fn from(row: FeedRow) -> Self {
        let FeedRow { device, incarnation, scope, seq, hash, bytes, seal, .. } = row;
        Self { origin: Origin { device, incarnation }, scope, seq, hash, bytes, is_sealed: seal.is_some() }
    }
}

/// What can be read of a till, with the files that it has put aside.
pub fn of_till(image: &Image) -> Vec<HeldRow> {
    let key = image.device.text("replica.key").unwrap_or_default();
    let names = image.disk.names().into_iter().filter(|name| name.ends_with(".db") && !name.starts_with("draft"));
    names.flat_map(|name| rows_of(&image.disk, &name, "id", &format!("PRAGMA key = \"x'{}'\";", key.trim()))).collect()
}

/// What can be read of the server, with the logs that it has put aside.
pub fn of_server(disk: &Disk) -> Vec<HeldRow> {
    let names = disk.names().into_iter().filter(|name| name.ends_with(".db"));
    names.flat_map(|name| rows_of(disk, &name, "region_seq", "")).collect()
}

/// The hashes of what can be read.
pub fn hashes(rows: &[HeldRow]) -> BTreeSet<Hash> {
    rows.iter().map(|row| row.hash).collect()
}

/// The orders and open orders among entries that hold.
///
/// # Errors
/// Bytes that are no entry.
pub fn orders(rows: &[HeldRow]) -> Result<BTreeSet<[u8; 16]>> {
    let mut chains = BTreeMap::<([u8; 16], &str), BTreeMap<u64, BTreeMap<Hash, &HeldRow>>>::new();
    let mut origins = BTreeMap::<[u8; 16], BTreeSet<Origin>>::new();
    for row in rows {
        origins.entry(row.origin.device).or_default().insert(row.origin);
        let places = chains.entry((row.origin.device, row.scope.as_str())).or_default().entry(row.seq).or_default();
        let known = places.entry(row.hash).or_insert(row);
        if row.is_sealed || known.bytes.is_empty() {
            *known = row;
        }
    }
    let mut orders = BTreeSet::new();
    for ((device, scope), places) in chains {
        let scope = Scope::new(scope)?;
        // Each that holds, with what is before it.
        let mut before = BTreeMap::<Hash, Hash>::new();
        let mut held: BTreeMap<u64, Vec<&HeldRow>> = BTreeMap::new();
        for (seq, entries) in &places {
            let prevs: Vec<Hash> = match seq {
                1 => origins[&device].iter().map(|origin| genesis(*origin, &scope)).collect(),
                seq => held.get(&(seq - 1)).into_iter().flatten().map(|row| row.hash).collect(),
            };
            for (hash, row) in entries {
                // Of what a till has let go there is the place alone: what follows it still does.
                let is_prev = |prev: &&Hash| row.bytes.is_empty() || link(prev, &row.bytes) == *hash;
                if let Some(prev) = prevs.iter().find(is_prev) {
                    before.insert(*hash, *prev);
                    held.entry(*seq).or_default().push(row);
                }
            }
        }
        let mut vouched = BTreeSet::new();
        for row in held.values().rev().flatten() {
            if row.is_sealed || vouched.contains(&row.hash) {
                vouched.insert(row.hash);
                vouched.extend(before.get(&row.hash));
                if !row.bytes.is_empty() {
                    orders.extend(order_of(&row.bytes)?);
                }
            }
        }
    }
    Ok(orders)
}

/// The columns of a row as they are there.
type Columns = (i64, i64, i64, u64, Hash, Vec<u8>, bool);

fn rows_of(disk: &Disk, name: &str, number: &str, key: &str) -> Vec<HeldRow> {
    let connect = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(name, flags, disk.vfs())?;
        db.execute_batch(&format!("PRAGMA cipher_log_level = NONE; {key} PRAGMA locking_mode = EXCLUSIVE;"))?;
        Ok(db)
    };
    let names = || -> rusqlite::Result<_> {
        let db = connect()?;
        let mut select = db.prepare("SELECT id, device, incarnation FROM origin")?;
        let origin = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(0)?, Origin { device: r.get(1)?, incarnation: r.get(2)? }));
        let origins = select.query_map([], origin)?.collect::<Result<BTreeMap<_, _>, _>>()?;
        let mut select = db.prepare("SELECT id, name FROM scope")?;
        let scopes = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<BTreeMap<i64, String>, _>>()?;
        Ok((origins, scopes))
    };
    let Ok((origins, scopes)) = names() else { return Vec::new() };
    let sql = |filter: &str| {
        format!(
            "SELECT {number}, origin, scope, seq, hash, bytes, seal IS NOT NULL FROM entry NOT INDEXED WHERE {filter} ORDER BY {number}"
        )
    };
    let read = |r: &rusqlite::Row<'_>| -> rusqlite::Result<Columns> {
        Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?))
    };
    let (mut found, mut last): (Vec<Columns>, i64) = (Vec::new(), 0);
    'stretches: loop {
        let many = || -> rusqlite::Result<(Vec<Columns>, bool)> {
            let db = connect()?;
            let mut select = db.prepare(&sql(&format!("{number} > ?1")))?;
            let (mut rows, mut some) = (select.query_map([last], read)?, Vec::new());
            loop {
                match rows.next() {
                    None => return Ok((some, true)),
                    Some(Ok(row)) => some.push(row),
                    Some(Err(_)) => return Ok((some, false)),
                }
            }
        };
        let (some, to_the_end) = many().unwrap_or_default();
        last = some.last().map_or(last, |row| row.0);
        found.extend(some);
        if to_the_end {
            break;
        }
        for _ in 0..UNREADABLE_MAX {
            last += 1;
            let one = || connect()?.query_row(&sql(&format!("{number} = ?1")), [last], read);
            if let Ok(row) = one() {
                found.push(row);
                continue 'stretches;
            }
        }
        break;
    }
    let row = |(_, origin, scope, seq, hash, bytes, is_sealed): Columns| {
        Some(HeldRow { origin: *origins.get(&origin)?, scope: scopes.get(&scope)?.clone(), seq, hash, bytes, is_sealed })
    };
    found.into_iter().filter_map(row).filter(|row| row.bytes.is_empty() || journal::Entry::decode(&row.bytes).is_ok()).collect()
}
