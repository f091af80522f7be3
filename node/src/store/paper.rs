//! Print jobs, their attempts, and drawer kicks: what has been sent to a printer, as far as anyone can know.

use domain::ids::{OrderId, RecordId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, fixed};
use crate::api::{DrawerState, PrintState};

/// A print job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintJob {
    /// Its row: jobs print in this order.
    pub n: i64,
    /// Its id.
    pub id: RecordId,
    /// The order it prints; of another paper, what its words come to.
    pub order: OrderId,
    /// 0 for the original; the number of the copy otherwise.
    pub copy_no: u32,
    /// The receipt number, or what the paper is called.
    pub title: String,
    /// How it is doing.
    pub state: PrintState,
    /// What the printer said last.
    pub problem: Option<String>,
}

/// A print job to be.
#[derive(Debug, Clone, Copy)]
pub struct NewPrintJob<'a> {
    /// Its id.
    pub id: RecordId,
    /// The order it prints.
    pub order: OrderId,
    /// 0 for the original; the number of the copy otherwise.
    pub copy_no: u32,
    /// The receipt number.
    pub title: &'a str,
    /// The document as JSON.
    pub document: &'a str,
    /// When, in Unix milliseconds.
    pub created_ms: u64,
}

const STATES: [(PrintState, &str); 7] = [
    (PrintState::Queued, "queued"),
    (PrintState::Sending, "sending"),
    (PrintState::Confirmed, "confirmed"),
    (PrintState::SentUnconfirmed, "sent_unconfirmed"),
    (PrintState::Uncertain, "uncertain"),
    (PrintState::Reprinted, "reprinted"),
    (PrintState::Accepted, "accepted"),
];

fn word(state: PrintState) -> &'static str {
    STATES.iter().find(|(s, _)| *s == state).expect("every state has a word").1
}

/// Whether someone or something has still to act on a job.
pub fn is_open(state: PrintState) -> bool {
    matches!(state, PrintState::Queued | PrintState::Sending | PrintState::Uncertain)
}

/// Queues a job.
///
/// # Errors
/// A failure of SQLite, among them a second job of one order and copy number.
pub fn insert_job(db: &Connection, job: NewPrintJob<'_>) -> Result<i64, StoreError> {
    db.prepare_cached(
        "INSERT INTO print_job (id, order_id, copy_no, title, document, state, created_ms) VALUES (?, ?, ?, ?, ?, 'queued', ?)",
    )?
    .execute(params![job.id.as_bytes(), job.order.as_bytes(), job.copy_no, job.title, job.document, job.created_ms])?;
    Ok(db.last_insert_rowid())
}

const JOB_COLUMNS: &str = "n, id, order_id, copy_no, title, state, problem FROM print_job";

/// The open jobs, first come first.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn open_jobs(db: &Connection) -> Result<Vec<PrintJob>, StoreError> {
    open_jobs_after(db, done_upto(db)?)
}

/// The open jobs after one, first come first. Every job after it is looked at.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn open_jobs_after(db: &Connection, n: i64) -> Result<Vec<PrintJob>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {JOB_COLUMNS} WHERE n > ? AND state IN ('queued', 'sending', 'uncertain') ORDER BY n"
    ))?;
    let rows = select.query_map([n], job_row)?;
    rows.map(|r| r.map_err(StoreError::from).flatten()).collect()
}

fn done_upto(db: &Connection) -> Result<i64, StoreError> {
    let done = db.prepare_cached("SELECT value FROM meta WHERE key = 'print_done'")?.query_row([], |r| r.get(0)).optional()?;
    Ok(done.unwrap_or(0))
}

/// Notes that every job up to `n` is done, so that [`open_jobs`] need not look at them again.
///
/// # Errors
/// A failure of SQLite.
pub fn set_done_upto(db: &Connection, n: i64) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('print_done', ?)")?.execute([n])?;
    Ok(())
}

/// Whether a receipt of an order waits for the printer or for a person's word.
///
/// # Errors
/// A failure of SQLite.
pub fn is_open_of(db: &Connection, order: OrderId) -> Result<bool, StoreError> {
    let mut select =
        db.prepare_cached("SELECT 1 FROM print_job WHERE order_id = ? AND state IN ('queued', 'sending', 'uncertain')")?;
    Ok(select.exists([order.as_bytes()])?)
}

/// Forgets what was printed and kicked for something that has gone. The last job stays, and that of the last attempt: later ones are numbered after them.
///
/// # Errors
/// A failure of SQLite.
pub fn forget(db: &Connection, id: [u8; 16]) -> Result<(), StoreError> {
    const JOBS: &str = "SELECT n FROM print_job WHERE order_id = ?1 AND n < (SELECT max(n) FROM print_job)
        AND n NOT IN (SELECT job FROM print_attempt WHERE n = (SELECT max(n) FROM print_attempt))";
    db.prepare_cached(&format!("DELETE FROM print_attempt WHERE job IN ({JOBS})"))?.execute([id])?;
    db.prepare_cached(&format!("DELETE FROM print_job WHERE n IN ({JOBS})"))?.execute([id])?;
    db.prepare_cached("DELETE FROM drawer_kick WHERE id = ?")?.execute([id])?;
    Ok(())
}

/// The last job's row; 0 when there is none.
///
/// # Errors
/// A failure of SQLite.
pub fn last_job(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.prepare_cached("SELECT coalesce(max(n), 0) FROM print_job")?.query_row([], |r| r.get(0))?)
}

/// The newest job of an order: its last copy, or the original.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn newest_job_of(db: &Connection, order: OrderId) -> Result<Option<PrintJob>, StoreError> {
    db.prepare_cached(&format!("SELECT {JOB_COLUMNS} WHERE order_id = ? ORDER BY copy_no DESC LIMIT 1"))?
        .query_row([order.as_bytes()], job_row)
        .optional()?
        .transpose()
}

/// The job of one copy of an order; the original is 0.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn job_of(db: &Connection, order: OrderId, copy_no: u32) -> Result<Option<PrintJob>, StoreError> {
    db.prepare_cached(&format!("SELECT {JOB_COLUMNS} WHERE order_id = ? AND copy_no = ?"))?
        .query_row(params![order.as_bytes(), copy_no], job_row)
        .optional()?
        .transpose()
}

/// The document of a job, as JSON.
///
/// # Errors
/// A failure of SQLite, or no such job.
pub fn document(db: &Connection, n: i64) -> Result<String, StoreError> {
    Ok(db.prepare_cached("SELECT document FROM print_job WHERE n = ?")?.query_row([n], |r| r.get(0))?)
}

/// Sets how a job is doing.
///
/// # Errors
/// A failure of SQLite.
pub fn set_state(db: &Connection, n: i64, state: PrintState, problem: Option<&str>) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE print_job SET state = ?, problem = ? WHERE n = ?")?.execute(params![word(state), problem, n])?;
    Ok(())
}

/// Notes an attempt before its first byte is sent. Answers its row.
///
/// # Errors
/// A failure of SQLite.
pub fn begin_attempt(db: &Connection, job: i64, profile: &str, sha256: [u8; 32], now_ms: u64) -> Result<i64, StoreError> {
    db.prepare_cached("INSERT INTO print_attempt (job, profile, bytes_sha256, started_ms) VALUES (?, ?, ?, ?)")?
        .execute(params![job, profile, sha256, now_ms])?;
    Ok(db.last_insert_rowid())
}

/// Notes how an attempt ended.
///
/// # Errors
/// A failure of SQLite.
pub fn end_attempt(db: &Connection, attempt: i64, accepted: Option<usize>, outcome: &str, now_ms: u64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE print_attempt SET ended_ms = ?, accepted_bytes = ?, outcome = ? WHERE n = ?")?
        .execute(params![now_ms, accepted, outcome, attempt])?;
    Ok(())
}

/// After a start: what was being sent when the program ended is uncertain, and no drawer kick of then is sent any more.
///
/// # Errors
/// A failure of SQLite.
pub fn interrupt(db: &Connection, now_ms: u64) -> Result<(), StoreError> {
    let why = "the till stopped while this was printing";
    db.execute("UPDATE print_attempt SET ended_ms = ?, outcome = 'interrupted' WHERE outcome IS NULL", params![now_ms])?;
    db.execute(
        "UPDATE print_job SET state = 'uncertain', problem = ? WHERE state = 'sending' AND n > ?",
        params![why, done_upto(db)?],
    )?;
    db.execute("UPDATE drawer_kick SET state = 'open_by_key' WHERE state IN ('asked', 'begun')", [])?;
    Ok(())
}

/// The last attempt to print anything; 0 for none.
///
/// # Errors
/// A failure of SQLite.
pub fn last_attempt(db: &Connection) -> Result<u64, StoreError> {
    Ok(db.query_row("SELECT coalesce(max(n), 0) FROM print_attempt", [], |r| r.get(0))?)
}

/// After the replica was put back from a backup, or copied: what waits for the printer here may have come out in the life that was lost, so a
/// person looks before anything says a second time that it is an original.
///
/// # Errors
/// A failure of SQLite.
pub fn doubt(db: &Connection) -> Result<(), StoreError> {
    let why = "this till goes on from a copy of its data: look whether this receipt came out before";
    db.execute(
        "UPDATE print_job SET state = 'uncertain', problem = ? WHERE state IN ('queued', 'sending') AND copy_no = 0 AND n > ?",
        params![why, done_upto(db)?],
    )?;
    Ok(())
}

/// Notes that a drawer is to be opened, once, for an order or a drawer opening.
///
/// # Errors
/// A failure of SQLite, among them a second kick of one id.
pub fn ask_kick(db: &Connection, id: [u8; 16], now_ms: u64) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO drawer_kick (id, state, created_ms) VALUES (?, 'asked', ?)")?.execute(params![id, now_ms])?;
    Ok(())
}

/// The kicks that nobody has taken up yet.
///
/// # Errors
/// A failure of SQLite.
pub fn asked_kicks(db: &Connection) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut select = db.prepare_cached("SELECT id FROM drawer_kick WHERE state = 'asked'")?;
    let rows = select.query_map([], |r| r.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes a kick up, at most once. Answers when it was asked for, in Unix milliseconds, or nothing when someone took it up before.
///
/// # Errors
/// A failure of SQLite.
pub fn begin_kick(db: &Connection, id: [u8; 16]) -> Result<Option<u64>, StoreError> {
    let asked = db
        .prepare_cached("UPDATE drawer_kick SET state = 'begun' WHERE id = ? AND state = 'asked' RETURNING created_ms")?
        .query_row([id], |r| r.get(0))
        .optional()?;
    Ok(asked)
}

/// Notes what became of a kick.
///
/// # Errors
/// A failure of SQLite.
pub fn end_kick(db: &Connection, id: [u8; 16], state: DrawerState) -> Result<(), StoreError> {
    let word = match state {
        DrawerState::Kicked => "kicked",
        DrawerState::OpenByKey => "open_by_key",
    };
    db.prepare_cached("UPDATE drawer_kick SET state = ? WHERE id = ?")?.execute(params![word, id])?;
    Ok(())
}

/// What became of a kick, once it is known.
///
/// # Errors
/// A failure of SQLite.
pub fn kick_state(db: &Connection, id: [u8; 16]) -> Result<Option<DrawerState>, StoreError> {
    let state: Option<String> =
        db.prepare_cached("SELECT state FROM drawer_kick WHERE id = ?")?.query_row([id], |r| r.get(0)).optional()?;
    Ok(match state.as_deref() {
        Some("kicked") => Some(DrawerState::Kicked),
        Some("open_by_key") => Some(DrawerState::OpenByKey),
        _ => None,
    })
}

fn job_row(r: &Row<'_>) -> rusqlite::Result<Result<PrintJob, StoreError>> {
    let state: String = r.get(5)?;
    let (id, order) = (r.get::<_, Vec<u8>>(1)?, r.get::<_, Vec<u8>>(2)?);
    let (n, copy_no, title, problem) = (r.get(0)?, r.get(3)?, r.get(4)?, r.get(6)?);
    let read = || {
        let (state, _) = STATES.into_iter().find(|(_, w)| *w == state).ok_or(StoreError::Damaged("a print state"))?;
        let (id, order) = (fixed(id)?, fixed(order)?);
        Ok(PrintJob {
            n,
            id: RecordId(uuid::Uuid::from_bytes(id)),
            order: OrderId(uuid::Uuid::from_bytes(order)),
            copy_no,
            title,
            state,
            problem,
        })
    };
    Ok(read())
}
