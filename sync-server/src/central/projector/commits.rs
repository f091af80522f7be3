//! Entries read in order, and their parts gathered into whole commits.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use domain::record::{Record, RecordError};
use futures_util::{StreamExt, pin_mut};
use journal::{Body, Entry, EntryError};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::central::CentralError;

/// Rows fetched at once while reading a batch.
const FETCH_ROWS: i32 = 256;

/// An entry as it lies in the central database.
#[derive(Debug)]
pub(super) struct CentralEntry {
    pub(super) central_seq: i64,
    pub(super) device: Uuid,
    pub(super) incarnation: Uuid,
    pub(super) scope: String,
    pub(super) seq: i64,
    pub(super) commit: i64,
    /// Whether it is of the later branch of a fork.
    pub(super) forked: bool,
    /// The bytes, read.
    pub(super) entry: Result<Entry, EntryError>,
    /// What the record in it says, when there is one; none of a kind that this build does not know. Taken out once.
    pub(super) record: Option<Result<Option<Record>, RecordError>>,
}

impl CentralEntry {
    /// From (central_seq, device, incarnation, scope, commit_no, forked, bytes, seq).
    pub(super) fn of(row: &Row) -> Self {
        let entry = Entry::decode(row.get(6));
        let record = match &entry {
            Ok(Entry { body: Body::Record { kind, version, bytes }, .. }) => Some(Record::decode(*kind, *version, bytes)),
            _ => None,
        };
        Self {
            central_seq: row.get(0),
            device: row.get(1),
            incarnation: row.get(2),
            scope: row.get(3),
            commit: row.get(4),
            forked: row.get(5),
            seq: row.get(7),
            entry,
            record,
        }
    }

    /// The part and number of parts, when there are several to wait for.
    ///
    /// The branches of a fork share commit numbers, so those of the later one are taken singly: each record stands for itself.
    fn part(&self) -> Option<(u32, u32)> {
        let entry = self.entry.as_ref().ok()?;
        (entry.parts > 1 && !self.forked).then_some((entry.part, entry.parts))
    }

    fn key(&self) -> CommitKey {
        (self.device, self.incarnation, self.commit)
    }
}

type CommitKey = (Uuid, Uuid, i64);
type Parts = BTreeMap<u32, CentralEntry>;

/// Reads entries after `cursor` up to `upto`, in order.
pub(super) async fn read_batch(
    tx: &Transaction<'_>,
    cursor: i64,
    upto: i64,
    rows_max: usize,
    bytes_max: usize,
) -> Result<Vec<CentralEntry>, CentralError> {
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    // Along the index. Where Postgres knows nothing of the table yet, it would rather sort the whole backlog for every batch.
    tx.batch_execute("SET LOCAL enable_sort = off").await?;
    let statement = tx
        .prepare(
            "SELECT central_seq, device, incarnation, scope, commit_no, forked, bytes, seq FROM all_entries
             WHERE central_seq > $1 AND central_seq <= $2 ORDER BY central_seq LIMIT $3",
        )
        .await?;
    // A portal, so that no more than a few rows beyond the bound are ever in memory.
    let portal = tx.bind(&statement, &[&cursor, &upto, &limit]).await?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while bytes < bytes_max {
        let stream = tx.query_portal_raw(&portal, FETCH_ROWS).await?;
        pin_mut!(stream);
        let before = entries.len();
        while let Some(row) = stream.next().await.transpose()? {
            bytes += row.get::<_, &[u8]>(6).len();
            entries.push(CentralEntry::of(&row));
        }
        if entries.len() - before < FETCH_ROWS as usize {
            break;
        }
    }
    tx.batch_execute("SET LOCAL enable_sort = on").await?;
    Ok(entries)
}

/// The commits that are whole now, in the order in which they became so, each with its parts in order. Parts that still wait are noted.
pub(super) async fn gather(tx: &Transaction<'_>, read: Vec<CentralEntry>) -> Result<Vec<Vec<CentralEntry>>, CentralError> {
    let wanted: BTreeSet<CommitKey> = read.iter().filter(|e| e.part().is_some()).map(CentralEntry::key).collect();
    let mut waiting = pending(tx, &wanted).await?;
    let waited: BTreeSet<i64> = waiting.values().flat_map(BTreeMap::values).map(|e| e.central_seq).collect();
    let mut whole = Vec::with_capacity(read.len());
    for entry in read {
        let Some((part, parts)) = entry.part() else {
            whole.push(vec![entry]);
            continue;
        };
        let key = entry.key();
        let gathered = waiting.entry(key).or_default();
        match gathered.entry(part) {
            // Another branch of a fork has this part already.
            Slot::Occupied(_) => whole.push(vec![entry]),
            Slot::Vacant(slot) => {
                slot.insert(entry);
            }
        }
        if gathered.len() >= parts as usize {
            whole.extend(waiting.remove(&key).map(|parts| parts.into_values().collect()));
        }
    }
    note_waiting(tx, &wanted, &waiting, &waited).await?;
    Ok(whole)
}

async fn pending(tx: &Transaction<'_>, wanted: &BTreeSet<CommitKey>) -> Result<BTreeMap<CommitKey, Parts>, CentralError> {
    let mut waiting = BTreeMap::<CommitKey, Parts>::new();
    if wanted.is_empty() {
        return Ok(waiting);
    }
    let (devices, incarnations, commits) = columns(wanted.iter());
    let rows = tx
        .query(
            "SELECT e.central_seq, e.device, e.incarnation, e.scope, e.commit_no, false, e.bytes, e.seq
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS w (device, incarnation, commit_no)
             JOIN pending_parts AS p USING (device, incarnation, commit_no)
             JOIN entries AS e ON e.central_seq = p.central_seq",
            &[&devices, &incarnations, &commits],
        )
        .await?;
    for row in &rows {
        let entry = CentralEntry::of(row);
        if let Some((part, _)) = entry.part() {
            waiting.entry(entry.key()).or_default().insert(part, entry);
        }
    }
    Ok(waiting)
}

/// Forgets the parts of commits that are whole now, and notes the new ones of those that are not.
async fn note_waiting(
    tx: &Transaction<'_>,
    wanted: &BTreeSet<CommitKey>,
    waiting: &BTreeMap<CommitKey, Parts>,
    waited: &BTreeSet<i64>,
) -> Result<(), CentralError> {
    if !waited.is_empty() {
        let (devices, incarnations, commits) = columns(wanted.iter().filter(|key| !waiting.contains_key(key)));
        tx.execute(
            "DELETE FROM pending_parts AS p USING unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS w (device, incarnation, commit_no)
             WHERE p.device = w.device AND p.incarnation = w.incarnation AND p.commit_no = w.commit_no",
            &[&devices, &incarnations, &commits],
        )
        .await?;
    }
    let new: Vec<(CommitKey, i32, i64)> = waiting
        .iter()
        .flat_map(|(key, parts)| parts.iter().map(move |(part, entry)| (*key, part.cast_signed(), entry.central_seq)))
        .filter(|(_, _, central_seq)| !waited.contains(central_seq))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let (devices, incarnations, commits) = columns(new.iter().map(|(key, _, _)| key));
    let parts: Vec<i32> = new.iter().map(|(_, part, _)| *part).collect();
    let entries: Vec<i64> = new.iter().map(|(_, _, entry)| *entry).collect();
    tx.execute(
        "INSERT INTO pending_parts (device, incarnation, commit_no, part, central_seq)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::int[], $5::bigint[])",
        &[&devices, &incarnations, &commits, &parts, &entries],
    )
    .await?;
    Ok(())
}

fn columns<'a>(keys: impl Iterator<Item = &'a CommitKey>) -> (Vec<Uuid>, Vec<Uuid>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for (device, incarnation, commit) in keys {
        columns.0.push(*device);
        columns.1.push(*incarnation);
        columns.2.push(*commit);
    }
    columns
}
