//! A region's rows into `entries`, each once.
//!
//! Only one writer appends at a time, under an advisory lock. Where every row of a batch follows what is there of its chain, as nearly always, nothing can be
//! in its place: the batch goes in with COPY, under numbers that were set aside for it. Where a row may be there already, as after a region
//! was put back from a backup or when a device was cloned, each is looked up as it goes in, and another entry at its place is kept as a fork.

use std::collections::BTreeMap;

use futures_util::pin_mut;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::migrate::locks;
use super::{APPEND_BYTES_MAX, APPEND_ROWS_MAX, Appended, CentralError, FeedRow, Fork};

/// Rows of an append, column by column.
pub(super) struct Batch<'a> {
    region: Uuid,
    after: i64,
    upto: i64,
    region_seq: Vec<i64>,
    device: Vec<Uuid>,
    incarnation: Vec<Uuid>,
    scope: Vec<&'a str>,
    seq: Vec<i64>,
    commit: Vec<i64>,
    hash: Vec<&'a [u8]>,
    bytes: Vec<&'a [u8]>,
    at_ms: Vec<i64>,
    seal: Vec<Option<&'a [u8]>>,
}

impl<'a> Batch<'a> {
    /// A batch that can be appended.
    pub(super) fn new(region: [u8; 16], after: u64, rows: &'a [FeedRow]) -> Result<Self, CentralError> {
        let bytes: usize = rows.iter().map(|r| r.bytes.len()).sum();
        if rows.len() > APPEND_ROWS_MAX || (bytes > APPEND_BYTES_MAX && rows.len() > 1) {
            return Err(CentralError::Row("the number of rows or bytes"));
        }
        let ascending = rows.windows(2).all(|pair| pair[0].region_seq < pair[1].region_seq);
        if !ascending || rows.first().is_some_and(|r| r.region_seq <= after) {
            return Err(CentralError::Row("its number in the region"));
        }
        let ints = |what, of: fn(&FeedRow) -> u64| -> Result<Vec<i64>, CentralError> {
            rows.iter().map(|r| to_i64(of(r), what)).collect()
        };
        let region_seq = ints("its number in the region", |r| r.region_seq)?;
        let after = to_i64(after, "a position")?;
        Ok(Self {
            region: Uuid::from_bytes(region),
            after,
            upto: region_seq.last().copied().unwrap_or(after),
            region_seq,
            device: rows.iter().map(|r| Uuid::from_bytes(r.device)).collect(),
            incarnation: rows.iter().map(|r| Uuid::from_bytes(r.incarnation)).collect(),
            scope: rows.iter().map(|r| r.scope.as_str()).collect(),
            seq: ints("its place in the chain", |r| r.seq)?,
            commit: ints("its commit", |r| r.commit)?,
            hash: rows.iter().map(|r| r.hash.as_slice()).collect(),
            bytes: rows.iter().map(|r| r.bytes.as_slice()).collect(),
            at_ms: ints("its time", |r| r.at_ms)?,
            seal: rows.iter().map(|r| r.seal.as_ref().map(|seal| &seal[..])).collect(),
        })
    }
}

/// A number as PostgreSQL holds it.
pub(super) fn to_i64(value: u64, what: &'static str) -> Result<i64, CentralError> {
    i64::try_from(value).map_err(|_| CentralError::Row(what))
}

const ROWS: &str =
    "unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bigint[],
    $10::bigint[], $11::bytea[]) WITH ORDINALITY
    AS r (device, incarnation, scope, seq, commit_no, hash, bytes, at_ms, region_seq, seal, place)";

/// Appends a batch and moves the region's position, in one transaction.
pub(super) async fn append(client: &mut Client, batch: &Batch<'_>) -> Result<Appended, CentralError> {
    let tx = client.transaction().await?;
    // Before the first number is drawn, and until the commit: see `central_seq` in the migration.
    tx.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&locks::CLASS, &locks::APPEND]).await?;
    let found = tx.query_opt("SELECT region_seq FROM feed_cursor WHERE region = $1", &[&batch.region]).await?;
    let found = found.map_or(0, |row| row.get::<_, i64>(0));
    if found != batch.after {
        let [expected, found] = [batch.after, found].map(i64::unsigned_abs);
        return Err(CentralError::Moved { expected, found });
    }
    let forks = match batch.chains() {
        Some(chains) if chains.all_new(&tx).await? => copy(&tx, batch).await.map(|()| Vec::new())?,
        _ if insert(&tx, batch, "entries", "").await? == batch.seq.len() as u64 => Vec::new(),
        _ => keep_forks(&tx, batch).await?,
    };
    tx.execute(
        "INSERT INTO feed_cursor (region, region_seq, last_hash) VALUES ($1, $2, $3)
         ON CONFLICT (region) DO UPDATE
         SET region_seq = excluded.region_seq, last_hash = COALESCE(excluded.last_hash, feed_cursor.last_hash), updated_at = now()",
        &[&batch.region, &batch.upto, &batch.hash.last()],
    )
    .await?;
    let mut known = BTreeMap::<(Uuid, Uuid), i64>::new();
    for ((device, incarnation), commit) in batch.device.iter().zip(&batch.incarnation).zip(&batch.commit) {
        let commits = known.entry((*device, *incarnation)).or_insert(*commit);
        *commits = (*commits).max(*commit);
    }
    let (origins, commits): (Vec<_>, Vec<_>) = known.into_iter().unzip();
    let (devices, incarnations): (Vec<_>, Vec<_>) = origins.into_iter().unzip();
    tx.execute(
        "INSERT INTO device_contact AS c (device_id, incarnation, known_commit)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])
         ON CONFLICT (device_id, incarnation) DO UPDATE SET known_commit = excluded.known_commit
         WHERE c.known_commit < excluded.known_commit",
        &[&devices, &incarnations, &commits],
    )
    .await?;
    tx.commit().await?;
    Ok(Appended { region_seq: batch.upto.unsigned_abs(), forks })
}

/// Where the rows of a batch begin in their chains.
struct Chains<'a>(BTreeMap<(Uuid, Uuid, &'a str), i64>);

impl<'a> Batch<'a> {
    /// Its chains; nothing where a chain does not ascend in it.
    fn chains(&self) -> Option<Chains<'a>> {
        let (mut firsts, mut lasts) = (BTreeMap::new(), BTreeMap::new());
        for at in 0..self.seq.len() {
            let (chain, seq) = ((self.device[at], self.incarnation[at], self.scope[at]), self.seq[at]);
            firsts.entry(chain).or_insert(seq);
            if lasts.insert(chain, seq).is_some_and(|last| seq <= last) {
                return None;
            }
        }
        Some(Chains(firsts))
    }
}

impl Chains<'_> {
    /// Whether every row is beyond what is there of its chain.
    async fn all_new(&self, tx: &Transaction<'_>) -> Result<bool, CentralError> {
        let (mut devices, mut incarnations, mut scopes) = (Vec::new(), Vec::new(), Vec::new());
        for (device, incarnation, scope) in self.0.keys() {
            devices.push(device);
            incarnations.push(incarnation);
            scopes.push(scope);
        }
        let firsts: Vec<i64> = self.0.values().copied().collect();
        // The last of a chain is one step in the index.
        let row = tx
            .query_one(
                "SELECT COALESCE(bool_and(r.seq > COALESCE((
                     SELECT max(e.seq) FROM entries AS e
                     WHERE e.device = r.device AND e.incarnation = r.incarnation AND e.scope = r.scope), 0)), true)
                 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS r (device, incarnation, scope, seq)",
                &[&devices, &incarnations, &scopes, &firsts],
            )
            .await?;
        Ok(row.get(0))
    }
}

/// Copies rows in that are all new.
async fn copy(tx: &Transaction<'_>, batch: &Batch<'_>) -> Result<(), CentralError> {
    const TYPES: [Type; 12] = [
        Type::INT8,
        Type::UUID,
        Type::UUID,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT8,
        Type::UUID,
        Type::INT8,
        Type::BYTEA,
    ];
    let rows = i64::try_from(batch.seq.len()).unwrap_or(i64::MAX);
    if rows == 0 {
        return Ok(());
    }
    // Nobody else draws numbers meanwhile.
    let last: i64 = tx.query_one("SELECT setval('central_seq', nextval('central_seq') + $1 - 1)", &[&rows]).await?.get(0);
    let sink = tx
        .copy_in(
            "COPY entries (central_seq, device, incarnation, scope, seq, commit_no, hash, bytes, at_ms, region, region_seq, seal)
             FROM STDIN (FORMAT binary)",
        )
        .await?;
    let writer = BinaryCopyInWriter::new(sink, &TYPES);
    pin_mut!(writer);
    let b = batch;
    for (at, central_seq) in (last - rows + 1..=last).enumerate() {
        let row: [&(dyn ToSql + Sync); 12] = [
            &central_seq,
            &b.device[at],
            &b.incarnation[at],
            &b.scope[at],
            &b.seq[at],
            &b.commit[at],
            &b.hash[at],
            &b.bytes[at],
            &b.at_ms[at],
            &b.region,
            &b.region_seq[at],
            &b.seal[at],
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Inserts those rows that are not there and pass `only`, and answers how many that were.
async fn insert(tx: &Transaction<'_>, batch: &Batch<'_>, table: &str, only: &str) -> Result<u64, CentralError> {
    let sql = format!(
        "INSERT INTO {table} (central_seq, device, incarnation, scope, seq, commit_no, hash, bytes, at_ms, region, region_seq, seal)
         SELECT nextval('central_seq'), device, incarnation, scope, seq, commit_no, hash, bytes, at_ms, $1::uuid, region_seq, seal
         FROM (SELECT * FROM {ROWS} {only} ORDER BY place) AS rows
         ON CONFLICT DO NOTHING"
    );
    let b = batch;
    Ok(tx
        .execute(
            &sql,
            &[
                &b.region,
                &b.device,
                &b.incarnation,
                &b.scope,
                &b.seq,
                &b.commit,
                &b.hash,
                &b.bytes,
                &b.at_ms,
                &b.region_seq,
                &b.seal,
            ],
        )
        .await?)
}

/// Keeps rows whose place is taken by another hash beside it. Some rows were not inserted: most often because they came before.
async fn keep_forks(tx: &Transaction<'_>, batch: &Batch<'_>) -> Result<Vec<Fork>, CentralError> {
    let b = batch;
    let forks = tx
        .query(
            "SELECT device, incarnation, scope, seq, e.hash, r.hash
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bytea[]) AS r (device, incarnation, scope, seq, hash)
             JOIN entries AS e USING (device, incarnation, scope, seq)
             WHERE e.hash <> r.hash",
            &[&b.device, &b.incarnation, &b.scope, &b.seq, &b.hash],
        )
        .await?;
    if forks.is_empty() {
        return Ok(Vec::new());
    }
    let only = "WHERE EXISTS (
        SELECT FROM entries AS e
        WHERE e.device = r.device AND e.incarnation = r.incarnation AND e.scope = r.scope AND e.seq = r.seq AND e.hash <> r.hash)";
    insert(tx, batch, "forked_entries", only).await?;
    let fork = |row: &tokio_postgres::Row| -> Option<Fork> {
        Some(Fork {
            device: row.get::<_, Uuid>(0).into_bytes(),
            incarnation: row.get::<_, Uuid>(1).into_bytes(),
            scope: row.get(2),
            seq: row.get::<_, i64>(3).unsigned_abs(),
            first: row.get::<_, Vec<u8>>(4).try_into().ok()?,
            later: row.get::<_, Vec<u8>>(5).try_into().ok()?,
        })
    };
    Ok(forks.iter().filter_map(fork).collect())
}
