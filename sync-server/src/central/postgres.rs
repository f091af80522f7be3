//! The central store in PostgreSQL.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use journal::Scope;
use tokio::sync::{Notify, watch};
use tokio_postgres::{Client, IsolationLevel};
use uuid::Uuid;

use super::migrate;
use super::pool::{Loan, Pool, in_time};
use super::{
    Appended, Brought, CentralError, CentralRow, CentralStore, Contact, FeedRow, Position, SERVERS_MAX, ServerCard, append,
};

/// How long an append, or any other short question, may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How many numbers of the central store one answer of [`CentralStore::brought_by_others`] goes through.
const BROUGHT_WITHIN: i64 = 100_000;
/// How long bringing the schema up to date may take.
const MIGRATE_WAIT: Duration = Duration::from_secs(3_600);

/// A central database. Cheap to clone; all clones share their connections.
///
/// Nothing connects before it is asked something, and every question has a limit in time.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: Arc<Pool>,
    appended: Arc<Notify>,
    projected: watch::Sender<i64>,
}

impl Postgres {
    /// The database of a URL such as `postgresql://evertill@localhost/evertill`. The connection is not encrypted: the database is on this
    /// machine or in a network of its own.
    ///
    /// # Errors
    /// A URL that makes no sense.
    pub fn new(url: &str) -> Result<Self, CentralError> {
        Ok(Self { pool: Arc::new(Pool::new(url)?), appended: Arc::new(Notify::new()), projected: watch::Sender::default() })
    }

    /// Brings the schema up to date and answers how many migrations that took. Several servers may do it at once.
    ///
    /// # Errors
    /// When the database does not answer, refuses, or has an applied migration that is not this program's.
    pub async fn migrate(&self) -> Result<usize, CentralError> {
        let mut loan = self.get().await?;
        let applied = in_time("migrate", MIGRATE_WAIT, migrate::migrate(&mut loan)).await?;
        self.give_back(loan);
        Ok(applied)
    }

    /// The cards of all servers, at most [`SERVERS_MAX`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn servers(&self) -> Result<Vec<ServerCard>, CentralError> {
        let limit = i64::try_from(SERVERS_MAX).unwrap_or(i64::MAX);
        let all = "SELECT device, certificate, name, address FROM servers ORDER BY started_at, device LIMIT $1";
        let loan = self.get().await?;
        let rows = in_time("say which servers there are", ANSWER_WAIT, async { Ok(loan.query(all, &[&limit]).await?) }).await?;
        self.give_back(loan);
        let card = |row: &tokio_postgres::Row| ServerCard {
            device: row.get::<_, Uuid>(0).into_bytes(),
            certificate: row.get(1),
            name: row.get(2),
            address: row.get(3),
        };
        Ok(rows.iter().map(card).collect())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), CentralError> {
        let loan = self.get().await?;
        in_time("answer", Duration::from_secs(5), async { Ok(loan.batch_execute("SELECT 1").await?) }).await?;
        self.give_back(loan);
        Ok(())
    }

    pub(crate) async fn get(&self) -> Result<Loan, CentralError> {
        self.pool.get().await
    }

    pub(crate) fn give_back(&self, loan: Loan) {
        self.pool.give_back(loan);
    }

    /// Waits until this process appends something.
    pub(crate) fn appended(&self) -> impl Future<Output = ()> + '_ {
        self.appended.notified()
    }

    /// Notes that this process projected entries up to here.
    pub(crate) fn note_projected(&self, central_seq: i64) {
        self.projected.send_replace(central_seq);
    }

    /// How far this process projected, as it goes on.
    pub(crate) fn projected(&self) -> watch::Receiver<i64> {
        self.projected.subscribe()
    }
}

impl CentralStore for Postgres {
    async fn append(&self, region: [u8; 16], after: u64, rows: &[FeedRow]) -> Result<Appended, CentralError> {
        let batch = append::Batch::new(region, after, rows)?;
        let mut loan = self.get().await?;
        let done = in_time("append entries", ANSWER_WAIT, append::append(&mut loan, &batch)).await?;
        self.give_back(loan);
        self.appended.notify_waiters();
        Ok(done)
    }

    async fn position(&self, region: [u8; 16]) -> Result<Position, CentralError> {
        let loan = self.get().await?;
        let position = in_time("say a region's position", ANSWER_WAIT, async {
            let row = loan
                .query_opt("SELECT region_seq, last_hash FROM feed_cursor WHERE region = $1", &[&Uuid::from_bytes(region)])
                .await?;
            let Some(row) = row else { return Ok(Position::default()) };
            let hash: Option<Vec<u8>> = row.get(1);
            let hash = hash.map(TryInto::try_into).transpose().map_err(|_| CentralError::Row("a hash"))?;
            Ok(Position { region_seq: row.get::<_, i64>(0).unsigned_abs(), hash })
        })
        .await?;
        self.give_back(loan);
        Ok(position)
    }

    async fn brought_by_others(
        &self,
        region: [u8; 16],
        stores: &[Scope],
        after: u64,
        rows_max: usize,
    ) -> Result<Brought, CentralError> {
        let stores: Vec<&str> = stores.iter().map(Scope::as_str).collect();
        let (region, after) = (Uuid::from_bytes(region), append::to_i64(after, "a place in the central database")?);
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let mut loan = self.get().await?;
        let brought =
            in_time("give entries back", ANSWER_WAIT, brought_by_others(&mut loan, region, &stores, after, limit)).await?;
        self.give_back(loan);
        Ok(brought)
    }

    async fn leave_card(&self, own: &ServerCard) -> Result<Vec<ServerCard>, CentralError> {
        let ServerCard { device, certificate, name, address } = own;
        let loan = self.get().await?;
        in_time("take a server's card", ANSWER_WAIT, async {
            loan.execute(
                "INSERT INTO servers AS s (device, certificate, name, address) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (device) DO UPDATE
                 SET certificate = excluded.certificate, name = excluded.name, address = excluded.address
                 WHERE (s.certificate, s.name, s.address) IS DISTINCT FROM (excluded.certificate, excluded.name, excluded.address)",
                &[&Uuid::from_bytes(*device), certificate, name, address],
            )
            .await?;
            Ok(())
        })
        .await?;
        self.give_back(loan);
        self.servers().await
    }

    async fn seen(&self, contacts: &[Contact]) -> Result<(), CentralError> {
        // One row may be updated once per statement: the latest news of each incarnation.
        let mut latest = BTreeMap::<(Uuid, Uuid), (i64, i64, Option<i64>)>::new();
        for contact in contacts {
            let key = (Uuid::from_bytes(contact.device), Uuid::from_bytes(contact.incarnation));
            let (commit, seen) = (append::to_i64(contact.commit, "a commit")?, append::to_i64(contact.seen_at_ms, "a time")?);
            let known = latest.entry(key).or_insert((commit, seen, None));
            *known = (known.0.max(commit), known.1.max(seen), contact.clock_drift_ms.or(known.2));
        }
        let (keys, values): (Vec<_>, Vec<_>) = latest.into_iter().unzip();
        let (devices, incarnations): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let commits: Vec<_> = values.iter().map(|v| v.0).collect();
        let seen: Vec<_> = values.iter().map(|v| v.1).collect();
        let drifts: Vec<_> = values.iter().map(|v| v.2).collect();
        let loan = self.get().await?;
        in_time("note which devices were heard", ANSWER_WAIT, async {
            loan.execute(
                "INSERT INTO device_contact AS c (device_id, incarnation, known_commit, seen_at_ms, clock_drift_ms)
                 SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[])
                 ON CONFLICT (device_id, incarnation) DO UPDATE SET
                     known_commit = GREATEST(c.known_commit, excluded.known_commit),
                     seen_at_ms = GREATEST(c.seen_at_ms, excluded.seen_at_ms),
                     clock_drift_ms = CASE WHEN c.seen_at_ms > excluded.seen_at_ms THEN c.clock_drift_ms
                         ELSE COALESCE(excluded.clock_drift_ms, c.clock_drift_ms) END",
                &[&devices, &incarnations, &commits, &seen, &drifts],
            )
            .await?;
            Ok(())
        })
        .await?;
        self.give_back(loan);
        Ok(())
    }
}

/// Reads at one moment of the database, so that no number below `read_to` is passed over. Of many rows that nobody here wants at most
/// [`BROUGHT_WITHIN`] are gone through at once.
async fn brought_by_others(
    client: &mut Client,
    region: Uuid,
    stores: &[&str],
    after: i64,
    limit: i64,
) -> Result<Brought, CentralError> {
    let tx = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let others = tx.query_one("SELECT EXISTS (SELECT FROM feed_cursor WHERE region <> $1)", &[&region]).await?;
    let newest = "SELECT GREATEST((SELECT max(central_seq) FROM entries), (SELECT max(central_seq) FROM forked_entries), 0)";
    let newest: i64 = tx.query_one(newest, &[]).await?.get(0);
    if !others.get::<_, bool>(0) {
        return Ok(Brought { rows: Vec::new(), read_to: newest.unsigned_abs(), more: false });
    }
    let end = newest.min(after.saturating_add(BROUGHT_WITHIN));
    let columns = "central_seq, device, incarnation, scope, seq, commit_no, hash, bytes, at_ms, seal, region_seq";
    let wanted = "central_seq > $1 AND central_seq <= $5 AND region <> $2 AND (scope NOT LIKE 'store/%' OR scope = ANY ($4))";
    let sql = format!(
        "SELECT {columns} FROM (
             (SELECT {columns} FROM entries WHERE {wanted} ORDER BY central_seq LIMIT $3)
             UNION ALL
             (SELECT {columns} FROM forked_entries WHERE {wanted} ORDER BY central_seq LIMIT $3)
         ) AS rows ORDER BY central_seq LIMIT $3"
    );
    let found = tx.query(&sql, &[&after, &region, &limit, &stores, &end]).await?;
    let rows: Vec<CentralRow> = found.iter().map(central_row).collect::<Result<_, _>>()?;
    let is_full = rows.len() as i64 >= limit;
    let read_to = if is_full { rows.last().map_or(0, |row| row.central_seq) } else { end.unsigned_abs() };
    Ok(Brought { rows, read_to, more: is_full || end < newest })
}

fn central_row(row: &tokio_postgres::Row) -> Result<CentralRow, CentralError> {
    let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
    let id = |at: usize| row.get::<_, Uuid>(at).into_bytes();
    let hash: Vec<u8> = row.get(6);
    let seal: Option<Vec<u8>> = row.get(9);
    let seal = seal.map(TryInto::try_into).transpose().map_err(|_| CentralError::Row("a seal"))?;
    Ok(CentralRow {
        central_seq: number(0),
        row: FeedRow {
            region_seq: number(10),
            device: id(1),
            incarnation: id(2),
            scope: row.get(3),
            seq: number(4),
            commit: number(5),
            hash: hash.try_into().map_err(|_| CentralError::Row("a hash"))?,
            bytes: row.get(7),
            at_ms: number(8),
            seal,
        },
    })
}
