//! One entry turned into the rows it means.
//!
//! What this build cannot read, because it is of a newer kind or broken, stays in the log and is noted in `unread`: one bad
//! entry never holds up the rest, and a later build's rebuild takes it in.

use domain::document::DocumentKind;
use domain::fold;
use domain::record::Record;
use journal::{Body, Entry};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::documents::{Document, DocumentValue};
use sync_proto::scopes;

use super::sums::Sums;
use super::{StoreError, catalogue, orders, people};

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

/// Projects the entry in row `id` of the log.
///
/// # Errors
/// A failure of SQLite.
pub fn entry(db: &Connection, id: i64, origin: i64, entry: &Entry, sums: &mut Sums) -> Result<Effects, StoreError> {
    match &entry.body {
        Body::Record { kind, version, bytes } => match Record::decode(*kind, *version, bytes) {
            Ok(Some(r)) => record(db, id, origin, entry.at.unix_ms(), &r, sums),
            Ok(None) => unread(db, id, &format!("a record of kind {kind}, version {version}")),
            Err(why) => unread(db, id, &why.to_string()),
        },
        Body::Change { document, kind, bytes } => match DocumentKind::from_number(*kind) {
            Some(kind) => change(db, id, kind, *document, bytes),
            None => unread(db, id, &format!("a document of kind {kind}")),
        },
    }
}

/// Projects a record that is in row `id` of the log.
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
        }
        Record::ShiftOpened(s) => orders::put_shift_opened(db, origin, at_ms, s)?,
        Record::ShiftClosed(s) => orders::put_shift_closed(db, at_ms, s)?,
        Record::DeviceStarted(s) => {
            db.prepare_cached("INSERT OR REPLACE INTO series (origin, series) VALUES (?, ?)")?
                .execute(params![origin, s.series])?;
        }
        Record::DeviceEnrolled(d) if is_of_directory(db, id)? => people::put_device(db, d)?,
        Record::DeviceEnrolled(_) => return unread(db, id, "a device's enrolment that no server wrote"),
        Record::StockAdjusted(_) | Record::AccountAdjusted(_) | Record::DrawerOpened(_) | Record::SignedIn(_) => {}
    }
    sums.fold(origin, record);
    Ok(Effects { catalogue: false, till: true })
}

/// Whether an entry is in the scope that only servers write to.
fn is_of_directory(db: &Connection, id: i64) -> Result<bool, StoreError> {
    let name: String = db
        .prepare_cached("SELECT s.name FROM entry e JOIN scope s ON s.id = e.scope WHERE e.id = ?")?
        .query_row([id], |r| r.get(0))?;
    Ok(name == scopes::directory().as_str())
}

fn change(db: &Connection, id: i64, kind: DocumentKind, document: [u8; 16], bytes: &[u8]) -> Result<Effects, StoreError> {
    let saved: Option<Vec<u8>> = db
        .prepare_cached("SELECT saved FROM document WHERE id = ? AND kind = ?")?
        .query_row(params![document, kind as u16], |r| r.get(0))
        .optional()?;
    let loaded = match saved {
        Some(saved) => Document::load(kind, document, &saved),
        None => Ok(Document::new(kind, document)),
    };
    let applied = loaded.and_then(|mut doc| doc.apply(bytes).map(|_| doc));
    let doc = match applied {
        Ok(doc) => doc,
        Err(why) => return unread(db, id, &why.to_string()),
    };
    db.prepare_cached(
        "INSERT INTO document (id, kind, saved) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET saved = excluded.saved",
    )?
    .execute(params![document, kind as u16, doc.save()])?;
    match doc.value() {
        Ok(value) => put_value(db, &value),
        // Some of its changes may be still to come.
        Err(why) => unread(db, id, &why.to_string()),
    }
}

fn put_value(db: &Connection, value: &DocumentValue) -> Result<Effects, StoreError> {
    match value {
        DocumentValue::Product(p) => {
            catalogue::put_product(db, p)?;
            return Ok(Effects { catalogue: true, till: false });
        }
        DocumentValue::TaxClass(c) => {
            catalogue::put_tax_class(db, c)?;
            return Ok(Effects { catalogue: true, till: false });
        }
        // It is read from its document.
        DocumentValue::Picture(_) => return Ok(Effects { catalogue: true, till: false }),
        DocumentValue::OpenOrder(_) => {}
        DocumentValue::Store(s) => people::put_store(db, s)?,
        DocumentValue::StaffMember(m) => people::put_staff(db, m)?,
    }
    Ok(Effects { catalogue: false, till: true })
}

fn unread(db: &Connection, id: i64, why: &str) -> Result<Effects, StoreError> {
    tracing::warn!(entry = id, why, "an entry is kept but not shown");
    db.prepare_cached("INSERT OR REPLACE INTO unread (entry, why) VALUES (?, ?)")?.execute(params![id, why])?;
    Ok(Effects::default())
}
