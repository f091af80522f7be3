//! From entries to the read model.
//!
//! Batches are read after a cursor in order of `central_seq`, folded with `domain`, and written together with the cursor in one
//! transaction: whatever happens, an entry is in the tables once. An advisory lock lets one server project at a time; when it dies,
//! another goes on. A commit is projected when all its parts have arrived, wherever batches were cut, so the rows depend
//! on the entries and their order alone, and a rebuild yields the same ones.
//!
//! While one batch is written, the next one is read and decoded on another connection: see [`Projector`].
//!
//! * `commits`: entries read, and their parts gathered into whole commits.
//! * `facts`: what records and changes mean, as rows; no I/O.
//! * `documents`: changes taken into documents.
//! * `open_orders`: the documents that tills write: what passes, what waits, and what does not fit together.
//! * `stock`: levels where goods are counted or taken in, and what was sold of nothing.
//! * `refunds`: what was given back twice.
//! * `claim`: which records are the first of their ids.
//! * `write`: rows into tables; `orders`: those of sales and refunds.

use std::cmp::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Transaction;

use commits::CentralEntry;

use super::backoff::Backoff;
use super::exceptions::ExceptionKind;
use super::feed::stopped;
use super::migrate::locks;
use super::pool::in_time;
use super::{CentralError, Postgres};

mod claim;
mod commits;
mod documents;
mod facts;
mod open_orders;
mod orders;
mod rebuild;
mod refunds;
mod stock;
mod write;

pub use rebuild::{Rebuilt, reproject};

/// Which shape of the read model this program writes. It becomes one more with every change after which the same entries give other
/// rows: the first projector that knows it builds the rows again, and older programs then leave them alone.
pub const READ_MODEL: i32 = 5;

/// Most entries of one batch.
const BATCH_ROWS_MAX: usize = 4_000;
/// About as many bytes of entries as one batch holds.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long one batch may take.
const BATCH_WAIT: Duration = Duration::from_secs(120);
/// What a fold asks of its transaction: its batch in memory, and not in files beside the database.
const FOR_FOLDING: &str = "SET LOCAL work_mem = '64MB'";
/// How often to look for entries that another server appended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What one batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Projected {
    /// How many entries were read.
    pub entries: usize,
    /// The cursor now.
    pub cursor: i64,
    /// Whether another server is projecting; nothing was done here.
    pub elsewhere: bool,
}

/// Projects until told to stop, waiting for more when there is none and for Postgres when it is away.
pub async fn run(central: Postgres, mut shutdown: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(b"projector");
    let mut projector = Projector::new(central.clone());
    while !*shutdown.borrow_and_update() {
        // Asked for before looking, so that nothing appended in between goes unnoticed.
        let appended = central.appended();
        let projected = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            projected = projector.step() => projected,
        };
        let wait = match projected {
            Ok(p) if p.entries > 0 => {
                backoff.reset();
                continue;
            }
            Ok(_) => {
                backoff.reset();
                LOOK_EVERY
            }
            Err(error) => {
                let wait = backoff.next_wait();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                if error.is_away() {
                    tracing::warn!(%error, cause, wait_ms = wait.as_millis(), "the projector waits");
                } else {
                    tracing::error!(%error, cause, wait_ms = wait.as_millis(), "the projector cannot go on and tries again");
                }
                wait
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = appended, if wait == LOOK_EVERY => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Projects one batch, if there is one and nobody else is at it: [`Projector::step`] of a projector that has read nothing yet.
///
/// # Errors
/// When Postgres does not answer or cannot do it; nothing has changed then.
pub async fn project_once(central: &Postgres) -> Result<Projected, CentralError> {
    Projector::new(central.clone()).step().await
}

/// Projects batch after batch.
#[derive(Debug)]
pub struct Projector {
    central: Postgres,
    ahead: Option<Ahead>,
}

/// The batch after a place, as it is read while the one before is written. Entries are never changed, and none appears behind one that was read, so it is
/// right whenever the cursor is at that place.
#[derive(Debug)]
struct Ahead {
    after: i64,
    reading: JoinHandle<Result<Vec<CentralEntry>, CentralError>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Projector {
    /// A projector that has done nothing yet.
    pub fn new(central: Postgres) -> Self {
        Self { central, ahead: None }
    }

    /// Projects one batch, if there is one and nobody else is at it.
    ///
    /// An entry that Postgres refuses, for whatever reason, is flagged and passed: one poisoned record never holds up the rest.
    ///
    /// # Errors
    /// When Postgres does not answer or cannot do it; nothing has changed then.
    pub async fn step(&mut self) -> Result<Projected, CentralError> {
        // Gone after any error: then nothing is known of what the database has.
        let ahead = self.ahead.take();
        let mut loan = self.central.get().await?;
        let projected = in_time("project a batch", BATCH_WAIT, async {
            let mut tx = loan.transaction().await?;
            // Rows that a crash takes away are made again: the cursor goes with them, and what they are made of was waited for.
            tx.batch_execute(&format!("SET LOCAL synchronous_commit = off; {FOR_FOLDING}")).await?;
            let elsewhere = Some(Projected { entries: 0, cursor: 0, elsewhere: true });
            let Some(position) = lock(&tx, false).await? else { return Ok(elsewhere) };
            match position.version.cmp(&READ_MODEL) {
                Ordering::Less => return Ok(None),
                Ordering::Equal => {}
                Ordering::Greater => {
                    tracing::warn!("a newer server builds the figures now; bring this one up to date");
                    return Ok(elsewhere);
                }
            }
            let ahead = match ahead.filter(|ahead| ahead.after == position.cursor) {
                Some(mut ahead) => (&mut ahead.reading).await.ok(),
                None => None,
            };
            let read = match ahead {
                Some(Ok(read)) if !read.is_empty() => read,
                // Nothing was there then, and by now there may be; or it could not be read beside.
                _ => commits::read_batch(&tx, position.cursor, i64::MAX, BATCH_ROWS_MAX, BATCH_BYTES_MAX).await?,
            };
            if let Some(last) = read.last().filter(|_| read.len() == BATCH_ROWS_MAX) {
                self.ahead = Some(read_ahead(self.central.clone(), last.central_seq));
            }
            let projected = advance(&mut tx, position.cursor, i64::MAX, Some(read)).await?;
            tx.commit().await?;
            Ok(Some(projected))
        })
        .await;
        let projected = projected.inspect_err(|_| self.ahead = None)?;
        self.central.give_back(loan);
        let projected = match projected {
            Some(projected) => projected,
            None => rebuild::renew(&self.central).await?,
        };
        if projected.entries > 0 {
            self.central.note_projected(projected.cursor);
        }
        Ok(projected)
    }
}

/// Begins to read the batch after a place.
fn read_ahead(central: Postgres, after: i64) -> Ahead {
    let reading = tokio::spawn(async move {
        let mut loan = central.get().await?;
        let read = in_time("read a batch", BATCH_WAIT, async {
            let tx = loan.build_transaction().read_only(true).start().await?;
            let read = commits::read_batch(&tx, after, i64::MAX, BATCH_ROWS_MAX, BATCH_BYTES_MAX).await?;
            tx.rollback().await?;
            Ok(read)
        })
        .await?;
        central.give_back(loan);
        Ok(read)
    });
    Ahead { after, reading }
}

/// Projects a batch after `cursor`, entries up to `upto`; smaller and smaller ones when Postgres refuses a value in it, until the one
/// entry is found that it will not take.
///
/// `read` are the entries of the batch where somebody read them already.
async fn advance(
    tx: &mut Transaction<'_>,
    cursor: i64,
    upto: i64,
    mut read: Option<Vec<CentralEntry>>,
) -> Result<Projected, CentralError> {
    let mut rows_max = BATCH_ROWS_MAX;
    loop {
        let attempt = tx.transaction().await?;
        let read = match read.take() {
            Some(read) => read,
            None => commits::read_batch(&attempt, cursor, upto, rows_max, BATCH_BYTES_MAX).await?,
        };
        match project_batch(&attempt, cursor, read).await {
            Ok(projected) => {
                attempt.commit().await?;
                return Ok(projected);
            }
            Err(CentralError::Value(error)) => {
                attempt.rollback().await?;
                if rows_max == 1 {
                    let detail = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
                    return pass_over(tx, cursor, &detail).await;
                }
                rows_max = (rows_max / 8).max(1);
                tracing::warn!(%error, rows_max, "a batch is refused; trying a smaller one");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Moves the cursor over one entry that cannot be projected, and flags it.
async fn pass_over(tx: &Transaction<'_>, cursor: i64, detail: &str) -> Result<Projected, CentralError> {
    let next = "SELECT min(central_seq) FROM all_entries WHERE central_seq > $1";
    let entry: i64 = tx.query_one(next, &[&cursor]).await?.get(0);
    tracing::error!(central_seq = entry, detail, "an entry cannot be projected; it is kept and flagged");
    tx.execute(
        "INSERT INTO exceptions (central_seq, place, kind, detail, device_id, at_ms)
         SELECT central_seq, 1, $2, $3, device, at_ms
         FROM (SELECT central_seq, device, at_ms FROM entries UNION ALL SELECT central_seq, device, at_ms FROM forked_entries) AS e
         WHERE central_seq = $1",
        &[&entry, &ExceptionKind::NotProjected.as_str(), &detail],
    )
    .await?;
    move_cursor(tx, entry).await?;
    Ok(Projected { entries: 1, cursor: entry, elsewhere: false })
}

/// Takes the projector's lock until the end of the transaction and reads the cursor; nothing when another server has it and
/// `wait` is not wished.
async fn lock(tx: &Transaction<'_>, wait: bool) -> Result<Option<Position>, CentralError> {
    if wait {
        tx.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&locks::CLASS, &locks::PROJECT]).await?;
    } else {
        let got = tx.query_one("SELECT pg_try_advisory_xact_lock($1, $2)", &[&locks::CLASS, &locks::PROJECT]).await?;
        if !got.get::<_, bool>(0) {
            return Ok(None);
        }
    }
    let row = tx.query_one("SELECT central_seq, version FROM projector_cursor WHERE name = 'read_model'", &[]).await?;
    Ok(Some(Position { cursor: row.get(0), version: row.get(1) }))
}

/// How far the read model is, and in which shape.
#[derive(Debug, Clone, Copy)]
struct Position {
    cursor: i64,
    version: i32,
}

async fn move_cursor(tx: &Transaction<'_>, to: i64) -> Result<(), CentralError> {
    tx.execute("UPDATE projector_cursor SET central_seq = $1 WHERE name = 'read_model'", &[&to]).await?;
    Ok(())
}

/// Projects the entries that were read after `cursor`, and moves the cursor.
async fn project_batch(tx: &Transaction<'_>, cursor: i64, read: Vec<CentralEntry>) -> Result<Projected, CentralError> {
    let Some(last) = read.last().map(|r| r.central_seq) else {
        return Ok(Projected { entries: 0, cursor, elsewhere: false });
    };
    let entries = read.len();
    let gathered = commits::gather(tx, read).await?;
    let mut rows = facts::Rows::default();
    let (mut commits, mut records) = (Vec::with_capacity(gathered.len()), Vec::with_capacity(entries));
    for mut commit in gathered {
        rows.count_commit(&commit);
        let mut facts = facts::Facts::default();
        for entry in &mut commit {
            facts::read(entry, &mut facts, &mut rows);
        }
        records.append(&mut facts.records);
        commits.push(facts);
    }
    let records = claim::claim(tx, records, &mut rows).await?;
    for fact in &records {
        facts::fold(fact, &mut rows);
    }
    stock::take(tx, &records, &mut rows).await?;
    let returned = refunds::take(tx, &records, &mut rows).await?;
    documents::take(tx, commits, &returned, &mut rows).await?;
    write::write(tx, &rows).await?;
    move_cursor(tx, last).await?;
    Ok(Projected { entries, cursor: last, elsewhere: false })
}
