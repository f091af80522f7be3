//! One entry turned into the rows it means.
//!
//! What this build cannot read, because it is of a newer kind or broken, stays in the log and is noted in `unread`: one bad
//! entry never holds up the rest, and a later build's rebuild takes it in.

use domain::document::DocumentKind;
use domain::fold;
use domain::record::Record;
use journal::{Body, Entry};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::scopes;

use super::documents::{self, Change};
use super::sums::Sums;
use super::{StoreError, counts, orders, people, shifts};

/// What changed for whoever looks at a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Products or prices.
    pub catalogue: bool,
    /// Store, staff, shifts or orders.
    pub till: bool,
}

impl Effects {
    /// Adds what another entry changed.
    pub fn add(&mut self, other: Self) {
        self.catalogue |= other.catalogue;
        self.till |= other.till;
    }
}

/// Projects the entry in row `id` of the log. The caller ends its transaction with [`counts::settle`].
///
/// # Errors
/// A failure of SQLite.
pub fn entry(db: &Connection, id: i64, origin: i64, entry: &Entry, sums: &mut Sums) -> Result<Effects, StoreError> {
    match &entry.body {
        Body::Record { kind, version, bytes } => match Record::decode(*kind, *version, bytes) {
            Ok(Some(r)) => record(db, id, origin, entry.at.unix_ms(), &r, sums),
            Ok(None) => unread(db, id, &format!("a record of kind {kind}, version {version}"), None),
            Err(why) => unread(db, id, &why.to_string(), None),
        },
        Body::Change { document, kind, bytes } => match DocumentKind::from_number(*kind) {
            Some(kind) => documents::change(db, &Change { id, origin, entry, kind, document: *document, bytes }),
            None => unread(db, id, &format!("a document of kind {kind}"), None),
        },
    }
}

/// Projects a record that is in row `id` of the log. The caller ends its transaction with [`counts::settle`].
///
/// # Errors
/// A failure of SQLite.
pub fn record(
    db: &Connection,
    id: i64,
    origin: i64,
    at_ms: u64,
    record: &Record,
    sums: &mut Sums,
) -> Result<Effects, StoreError> {
    match record {
        Record::SaleCompleted(order) | Record::RefundGiven(order) => {
            let is_refund = matches!(record, Record::RefundGiven(_));
            if !orders::put_order(db, origin, id, at_ms, is_refund, order)? {
                return Ok(Effects::default());
            }
            for (sale, line, quantity) in fold::refunded_lines(record) {
                orders::add_refunded(db, sale, line, quantity)?;
            }
            if let (true, Some(sale)) = (is_refund, order.original) {
                orders::put_refund(db, sale, order.id)?;
            }
        }
        Record::ShiftOpened(s) => shifts::put_opened(db, origin, at_ms, s)?,
        Record::ShiftClosed(s) => shifts::put_closed(db, at_ms, s)?,
        Record::DeviceStarted(s) => {
            db.prepare_cached("INSERT OR REPLACE INTO series (origin, series) VALUES (?, ?)")?
                .execute(params![origin, s.series])?;
            if let Some(seed) = s.actor_seed {
                documents::announce(db, origin, seed)?;
            }
        }
        Record::DeviceEnrolled(d) if is_of_directory(db, id)? => people::put_device(db, d)?,
        Record::DeviceEnrolled(_) => return unread(db, id, "a device's enrolment that no server wrote", None),
        Record::StockCounted(count) => counts::put(db, id, count, sums)?,
        Record::StockAdjusted(_) | Record::AccountAdjusted(_) | Record::DrawerOpened(_) | Record::SignedIn(_) => {}
    }
    sums.fold(origin, id, record, &counts::covered(db, id, record)?);
    Ok(Effects { catalogue: false, till: true })
}

/// Whether an entry is in the scope that only servers write to.
fn is_of_directory(db: &Connection, id: i64) -> Result<bool, StoreError> {
    let name: String = db
        .prepare_cached("SELECT s.name FROM entry e JOIN scope s ON s.id = e.scope WHERE e.id = ?")?
        .query_row([id], |r| r.get(0))?;
    Ok(name == scopes::directory().as_str())
}

/// Notes an entry that is not in the projections. Where it is a change that may pass once more has arrived, `waits_for` is its document.
pub(super) fn unread(db: &Connection, id: i64, why: &str, waits_for: Option<[u8; 16]>) -> Result<Effects, StoreError> {
    tracing::warn!(entry = id, why, "an entry is kept but not shown");
    db.prepare_cached("INSERT OR REPLACE INTO unread (entry, why, waits_for) VALUES (?, ?, ?)")?
        .execute(params![id, why, waits_for])?;
    Ok(Effects::default())
}

/// Why an entry is not in the projections; nothing when it is.
///
/// # Errors
/// A failure of SQLite.
pub fn why_unread(db: &Connection, id: i64) -> Result<Option<String>, StoreError> {
    Ok(db.prepare_cached("SELECT why FROM unread WHERE entry = ?")?.query_row([id], |r| r.get(0)).optional()?)
}
