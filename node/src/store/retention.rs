//! What a till no longer keeps: the contents of old entries of its store that the central database has.
//!
//! An entry that goes leaves its row: place, commit and hash; and where it was a sale the line in the list of orders. So chains are checked,
//! forks found and histories offered as before, an order that comes twice is still the same one, and only what is read of the entry itself is missing: its
//! lines, which the server is asked for when somebody wants them. What it added to stock, shifts and ledger is folded into tables of their own, with
//! which a rebuild begins; what is still here is projected upon them.
//!
//! Sales, corrections, openings of the drawer and sign-ins go, and whole open orders that are closed. Whatever there is little of stays: refunds, shifts,
//! counts, starts, and everything that this program does not read. A history is walked from its beginning, commit by commit, and stands still at the first
//! that may not go yet.

use std::collections::BTreeMap;

use domain::document::DocumentKind;
use domain::ids::{OpenOrderId, OrderId, ProductId, ShiftId};
use domain::open_order::OpenOrderStatus;
use domain::record::Record;
use journal::{Body, Entry, Scope};
use rusqlite::{Connection, OptionalExtension, params};

use super::sums::{Sums, Tables};
use super::{StoreError, counts, documents, lines, log, orders, paper, project, shifts, sums};

/// Entries of one step, up to the end of a commit: a few milliseconds.
pub const STEP_ENTRIES: usize = 16;
/// Bytes of one step, up to the end of a commit.
const STEP_BYTES: usize = 256 * 1024;

/// The orders that a rebuild finds in the log.
pub(super) const NOT_OF_GONE: &str = "WHERE (SELECT length(bytes) FROM entry WHERE id = orders.entry) > 0";

/// Why a change does not show that came after its open order had gone.
pub const OF_GONE: &str = "a change of an open order that was closed and is not kept any more";

/// What may go.
#[derive(Debug, Clone, Copy)]
pub struct Horizon<'a> {
    /// The scope of the store.
    pub scope: &'a Scope,
    /// What was written before this, in Unix milliseconds.
    pub before_ms: u64,
    /// The open order that the cart was made of, which stays.
    pub in_cart: Option<OpenOrderId>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was looked at, and there may be more.
    More,
    /// The sums have to be written first.
    Unsummed,
    /// Nothing can go now.
    Done,
}

/// How far back a replica goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// When the newest of what has gone was written, in Unix milliseconds: what came after is all here. None while nothing has gone.
    pub gone_until_ms: Option<u64>,
    /// How many entries have gone.
    pub gone: u64,
}

/// What becomes of an entry that is old enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Goes,
    /// Once all of an open order goes.
    GoesWith(OpenOrderId),
    Stays,
    /// And so does everything after it, for now.
    Waits,
}

/// An entry in its place.
struct Placed {
    id: i64,
    seq: u64,
    commit: u64,
    entry: Entry,
}

/// Lets some more of what is old go, in the caller's transaction.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn step(db: &Connection, horizon: Horizon<'_>) -> Result<Step, StoreError> {
    let upto = sums::upto(db)?;
    let mut ended = Step::Done;
    for row in rows(db, horizon.scope)? {
        match walk(db, row, horizon, upto)? {
            Step::Done => {}
            Step::More => return Ok(Step::More),
            Step::Unsummed => ended = Step::Unsummed,
        }
    }
    Ok(ended)
}

/// The rows of the histories that have written in a scope.
fn rows(db: &Connection, scope: &Scope) -> Result<Vec<i64>, StoreError> {
    let scope = log::scope_row(db, scope)?;
    let mut select = db.prepare_cached(
        "SELECT id FROM origin o WHERE EXISTS (SELECT 1 FROM entry e WHERE e.origin = o.id AND e.scope = ?) ORDER BY id",
    )?;
    Ok(select.query_map([scope], |r| r.get(0))?.collect::<Result<_, _>>()?)
}

/// Looks at the next commits of one history.
fn walk(db: &Connection, row: i64, horizon: Horizon<'_>, upto: i64) -> Result<Step, StoreError> {
    let (_, central) = log::acks(db, row)?;
    let mut unsummed = false;
    let may_go = |one: &Placed| one.commit <= central && one.entry.at.unix_ms() < horizon.before_ms;
    let commits = next_commits(db, row, horizon.scope, |one| {
        unsummed = may_go(one) && one.id > upto;
        may_go(one) && one.id <= upto
    })?;
    let (mut passed, mut receipt) = (None, 0);
    let (mut going, mut with) = (Vec::new(), BTreeMap::<OpenOrderId, Vec<(i64, bool)>>::new());
    'commits: for commit in commits.chunk_by(|a, b| a.commit == b.commit) {
        let mut fates = Vec::with_capacity(commit.len());
        for one in commit {
            match fate(db, one)? {
                Fate::Waits => break 'commits,
                fate => fates.push(fate),
            }
        }
        for (one, fate) in commit.iter().zip(fates) {
            match fate {
                Fate::Goes => going.push(one.id),
                Fate::GoesWith(order) => {
                    with.entry(order).or_default().push((one.id, matches!(one.entry.body, Body::Change { .. })));
                }
                Fate::Stays | Fate::Waits => {}
            }
            receipt = receipt.max(orders::order_of(&one.entry).map_or(0, |order| order.receipt_number));
            passed = Some(one.seq);
        }
    }
    let Some(seq) = passed else { return Ok(if unsummed { Step::Unsummed } else { Step::Done }) };
    db.prepare_cached(
        "INSERT INTO floor (origin, seq, commit_no, at_ms, receipt) VALUES (?, ?, 0, 0, ?)
         ON CONFLICT (origin) DO UPDATE SET seq = excluded.seq, receipt = max(receipt, excluded.receipt)",
    )?
    .execute(params![row, seq, receipt])?;
    for (order, entries) in &with {
        let mut insert = db.prepare_cached("INSERT INTO goes_with (document, entry, is_change) VALUES (?, ?, ?)")?;
        for (entry, is_change) in entries {
            insert.execute(params![order.as_bytes(), entry, is_change])?;
        }
        if horizon.in_cart != Some(*order) && is_done_with(db, *order)? {
            going.extend(take_away(db, *order)?);
        }
    }
    let_go(db, &going)?;
    Ok(Step::More)
}

/// The next entries of a history, up to the end of a commit, as long as they `may_go`. The last commit is not among them: a chain ends with it.
fn next_commits(
    db: &Connection,
    row: i64,
    scope: &Scope,
    mut may_go: impl FnMut(&Placed) -> bool,
) -> Result<Vec<Placed>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT id, seq, commit_no, bytes FROM entry WHERE origin = ?1 AND scope = ?2
             AND seq > coalesce((SELECT seq FROM floor WHERE origin = ?1), 0) ORDER BY seq",
    )?;
    let mut found = select.query(params![row, log::scope_row(db, scope)?])?;
    let (mut commits, mut bytes, mut whole): (Vec<Placed>, usize, usize) = (Vec::new(), 0, 0);
    while let Some(r) = found.next()? {
        let (id, seq, commit) = (r.get(0)?, r.get(1)?, r.get(2)?);
        if commits.last().is_some_and(|last| last.commit != commit) {
            whole = commits.len();
            if whole >= STEP_ENTRIES || bytes >= STEP_BYTES {
                break;
            }
        }
        let content = r.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let entry = Entry::decode(content).map_err(|_| StoreError::Damaged("an entry"))?;
        let one = Placed { id, seq, commit, entry };
        if !may_go(&one) {
            break;
        }
        bytes += content.len();
        commits.push(one);
    }
    commits.truncate(whole);
    Ok(commits)
}

fn fate(db: &Connection, one: &Placed) -> Result<Fate, StoreError> {
    if project::why_unread(db, one.id)?.is_some() {
        return Ok(Fate::Stays);
    }
    let (kind, version, bytes) = match &one.entry.body {
        Body::Change { document, kind, .. } if *kind == DocumentKind::OpenOrder as u16 => {
            return Ok(Fate::GoesWith(OpenOrderId(uuid::Uuid::from_bytes(*document))));
        }
        Body::Change { .. } => return Ok(Fate::Stays),
        Body::Record { kind, version, bytes } => (*kind, *version, bytes),
    };
    let Ok(Some(record)) = Record::decode(kind, version, bytes) else { return Ok(Fate::Stays) };
    let unless_open = |shift: ShiftId| Ok(if is_closed(db, shift)? { Fate::Goes } else { Fate::Waits });
    match &record {
        Record::SaleCompleted(_) if !counts::counts_here(db, one.id, &record)? => Ok(Fate::Stays),
        Record::SaleCompleted(order) if paper::is_open_of(db, order.id)? => Ok(Fate::Waits),
        // What was paid twice is found out, and given back, with the sales of an open order.
        Record::SaleCompleted(order) => match (unless_open(order.shift)?, paid_by(db, order.id)?) {
            (Fate::Goes, Some(open_order)) => Ok(Fate::GoesWith(open_order)),
            (fate, _) => Ok(fate),
        },
        Record::StockAdjusted(adjustment) => unless_open(adjustment.shift),
        Record::AccountAdjusted(adjustment) => unless_open(adjustment.shift),
        Record::DrawerOpened(opening) => opening.shift.map_or(Ok(Fate::Goes), unless_open),
        Record::SignedIn(_) => Ok(Fate::Goes),
        // Money that came back is asked for by whoever sees the receipt again; of the others there are few.
        Record::RefundGiven(_)
        | Record::ShiftOpened(_)
        | Record::ShiftClosed(_)
        | Record::DeviceStarted(_)
        | Record::DeviceEnrolled(_)
        | Record::StockCounted(_) => Ok(Fate::Stays),
    }
}

fn is_closed(db: &Connection, shift: ShiftId) -> Result<bool, StoreError> {
    let mut select = db.prepare_cached("SELECT 1 FROM shift WHERE id = ? AND opened_ms IS NOT NULL AND closed_ms IS NOT NULL")?;
    Ok(select.exists([shift.as_bytes()])?)
}

fn paid_by(db: &Connection, sale: OrderId) -> Result<Option<OpenOrderId>, StoreError> {
    let mut select = db.prepare_cached("SELECT open_order FROM paid_order WHERE sale = ? ORDER BY open_order LIMIT 1")?;
    let found = select.query_row([sale.as_bytes()], |r| r.get(0)).optional()?;
    Ok(found.map(|id| OpenOrderId(uuid::Uuid::from_bytes(id))))
}

/// Whether an open order is closed, nobody has to put anything about it right, and all of its changes may go.
fn is_done_with(db: &Connection, order: OpenOrderId) -> Result<bool, StoreError> {
    let document = documents::load(db, DocumentKind::OpenOrder, *order.as_bytes())?;
    let Ok(said) = document.open_order() else { return Ok(false) };
    let changes: usize = db
        .prepare_cached("SELECT count(*) FROM goes_with WHERE document = ? AND is_change")?
        .query_row([order.as_bytes()], |r| r.get(0))?;
    let waits = db.prepare_cached("SELECT 1 FROM unread WHERE waits_for = ?")?.exists([order.as_bytes()])?;
    let is_closed = said.status() != OpenOrderStatus::Open && said.exceptions().is_empty();
    Ok(is_closed && !waits && changes == document.changes().len())
}

/// Takes the document of an open order away. Answers the entries that go with it.
fn take_away(db: &Connection, order: OpenOrderId) -> Result<Vec<i64>, StoreError> {
    let id = order.as_bytes();
    let mut select = db.prepare_cached("SELECT entry FROM goes_with WHERE document = ? ORDER BY entry")?;
    let entries = select.query_map([id], |r| r.get(0))?.collect::<Result<_, _>>()?;
    db.prepare_cached("INSERT INTO gone_order (id) VALUES (?)")?.execute([id])?;
    db.prepare_cached("DELETE FROM goes_with WHERE document = ?")?.execute([id])?;
    db.prepare_cached("DELETE FROM paid_order WHERE open_order = ?")?.execute([id])?;
    db.prepare_cached("DELETE FROM document WHERE kind = ? AND id = ?")?.execute(params![DocumentKind::OpenOrder as u16, id])?;
    Ok(entries)
}

/// Folds entries into the floor, and takes their contents away.
fn let_go(db: &Connection, entries: &[i64]) -> Result<(), StoreError> {
    let mut gone = Sums::default();
    for id in entries {
        let (origin, commit, bytes): (i64, u64, Vec<u8>) = db
            .prepare_cached("SELECT origin, commit_no, bytes FROM entry WHERE id = ?")?
            .query_row([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        let entry = Entry::decode(&bytes).map_err(|_| StoreError::Damaged("an entry"))?;
        if let Body::Record { kind, version, bytes } = &entry.body
            && let Ok(Some(record)) = Record::decode(*kind, *version, bytes)
        {
            gone.fold(origin, *id, &record, &counts::covered(db, *id, &record)?);
            match &record {
                Record::SaleCompleted(order) => {
                    paper::forget(db, *order.id.as_bytes())?;
                    shifts::note_gone(db, *id, entry.at.unix_ms(), order, &record)?;
                }
                Record::DrawerOpened(opening) => paper::forget(db, *opening.id.as_bytes())?,
                _ => {}
            }
        }
        db.prepare_cached("UPDATE entry SET bytes = x'', seal = NULL WHERE id = ?")?.execute([id])?;
        db.prepare_cached("UPDATE floor SET commit_no = max(commit_no, ?), at_ms = max(at_ms, ?) WHERE origin = ?")?
            .execute(params![commit, entry.at.unix_ms(), origin])?;
    }
    for product in gone.products() {
        let stands = counts::standing_id(db, product)?;
        db.prepare_cached(
            "INSERT INTO floor_stock_level (product, quantity, sold, count) VALUES (?, 0, 0, ?) ON CONFLICT (product) DO UPDATE
             SET quantity = CASE WHEN count IS excluded.count THEN quantity ELSE 0 END, count = excluded.count",
        )?
        .execute(params![product.as_bytes(), stands])?;
    }
    gone.add_to(db, Tables::Floor)?;
    note_gone(db, entries.len() as u64)
}

const GONE: &str = "gone_entries";

fn note_gone(db: &Connection, more: u64) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
    )?
    .execute(params![GONE, more])?;
    Ok(())
}

/// Begins the sums of a rebuild with what has gone.
pub(super) fn begin_with_floor(db: &Connection) -> Result<(), StoreError> {
    db.execute_batch(
        "INSERT INTO stock_level (product, quantity, sold) SELECT product, quantity, sold FROM floor_stock_level;
         INSERT INTO shift_part SELECT * FROM floor_shift_part;
         INSERT INTO ledger SELECT * FROM floor_ledger;",
    )?;
    Ok(())
}

/// What the count that stands for a product had not heard of, of that which has gone. A count that came after it had gone has heard of all of it.
pub(super) fn unheard_of(db: &Connection, product: ProductId, stands: domain::ids::RecordId) -> Result<i64, StoreError> {
    let mut select = db.prepare_cached("SELECT quantity FROM floor_stock_level WHERE product = ? AND count = ?")?;
    Ok(select.query_row([product.as_bytes(), stands.as_bytes()], |r| r.get(0)).optional()?.unwrap_or(0))
}

/// The last commit of a history of which something has gone; 0 for none. What is up to there is brought to nobody.
///
/// # Errors
/// A failure of SQLite.
pub fn floor(db: &Connection, row: i64) -> Result<u64, StoreError> {
    let mut select = db.prepare_cached("SELECT commit_no FROM floor WHERE origin = ?")?;
    Ok(select.query_row([row], |r| r.get(0)).optional()?.unwrap_or(0))
}

/// The highest receipt number up to where a history has been looked at; 0 for none.
///
/// # Errors
/// A failure of SQLite.
pub fn receipt(db: &Connection, row: i64) -> Result<u64, StoreError> {
    let mut select = db.prepare_cached("SELECT receipt FROM floor WHERE origin = ?")?;
    Ok(select.query_row([row], |r| r.get(0)).optional()?.unwrap_or(0))
}

/// Whether an open order was closed and has gone.
///
/// # Errors
/// A failure of SQLite.
pub fn is_gone(db: &Connection, order: [u8; 16]) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("SELECT 1 FROM gone_order WHERE id = ?")?.exists([order])?)
}

/// How far back this replica goes.
///
/// # Errors
/// A failure of SQLite.
pub fn reach(db: &Connection) -> Result<Reach, StoreError> {
    let until: Option<u64> =
        db.prepare_cached("SELECT max(at_ms) FROM floor WHERE commit_no > 0")?.query_row([], |r| r.get(0))?;
    let gone = db.prepare_cached("SELECT value FROM meta WHERE key = ?")?.query_row([GONE], |r| r.get(0)).optional()?;
    Ok(Reach { gone_until_ms: until, gone: gone.unwrap_or(0) })
}

/// Histories that are old enough to go further than the central database is known to have them, each up to its last commit that is: whether it
/// has them is to be asked.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn to_ask_for(db: &Connection, scope: &Scope, before_ms: u64) -> Result<Vec<lines::Line>, StoreError> {
    let mut all = Vec::new();
    for row in rows(db, scope)? {
        let (_, central) = log::acks(db, row)?;
        let chain = log::load_chain(db, row)?;
        if central >= chain.commit {
            continue;
        }
        let looked_at = db.prepare_cached("SELECT seq FROM floor WHERE origin = ?")?.query_row([row], |r| r.get(0)).optional()?;
        let (mut low, mut high): (u64, u64) = (looked_at.unwrap_or(0), chain.head(scope).seq);
        let mut last_old = None;
        // Clocks of a history ascend, so it is found by halves.
        while low < high {
            let probe = low + (high - low).div_ceil(2);
            // What is not in this row is from before its line left its parent.
            let bytes = log::bytes_at(db, row, scope, probe)?;
            let entry = bytes.map(|(_, bytes)| Entry::decode(&bytes)).transpose().map_err(|_| StoreError::Damaged("an entry"))?;
            match entry {
                Some(entry) if entry.at.unix_ms() >= before_ms => high = probe - 1,
                entry => {
                    last_old = entry.map(|entry| entry.commit);
                    low = probe;
                }
            }
        }
        if let Some(commit) = last_old.filter(|commit| *commit > central) {
            let line = lines::Line { row, parent: lines::parent(db, row)?, chain };
            let chain = lines::chain_after(db, &line, commit)?;
            all.push(lines::Line { chain, ..line });
        }
    }
    Ok(all)
}
