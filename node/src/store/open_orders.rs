//! Parked orders and tables that nobody has paid or given up.

use domain::document::DocumentKind;
use domain::ids::{OpenOrderId, OrderId, StaffId};
use domain::open_order::{OpenOrder, OpenOrderStatus, Stamp};
use domain::tax::TaxMode;
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::documents::Document;
use sync_proto::documents::open_order::rest_id;
use uuid::Uuid;

use super::{StoreError, documents};

/// Most open orders of a list.
pub const OPEN_ORDERS_MAX: usize = 200;

/// An open order in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrderRow {
    /// Its id.
    pub id: OpenOrderId,
    /// What it is called by; may be empty.
    pub label: String,
    /// What else is to be known; may be empty.
    pub note: String,
    /// How many lines are left in it.
    pub lines: u64,
    /// What they come to, in minor units.
    pub total_minor: i64,
    /// Who parked it, and when.
    pub opened: Stamp,
    /// Who did something to it last, and when.
    pub changed: Stamp,
}

/// Writes the row of an open order, or takes it away when that is paid or given up. What is left of a paid one, because its payment did not see it,
/// is shown as an order of its own ([`rest_id`]).
///
/// # Errors
/// A failure of SQLite.
pub fn put(db: &Connection, document: &Document, order: &OpenOrder) -> Result<(), StoreError> {
    let Some(stamps) = document.open_order_stamps() else { return Ok(()) };
    let mut paid = db.prepare_cached("INSERT OR IGNORE INTO paid_order (sale, open_order) VALUES (?, ?)")?;
    for payment in &order.payments {
        paid.execute(params![payment.sale.as_bytes(), order.id.as_bytes()])?;
    }
    match order.status() {
        OpenOrderStatus::Open => put_row(db, order, None, stamps),
        OpenOrderStatus::Paid { .. } | OpenOrderStatus::Cancelled => {
            take_away(db, order.id)?;
            let rest = rest_id(order.id);
            // Once somebody has taken it up it has a document, and that says where it stands.
            let has_document = documents::saved(db, DocumentKind::OpenOrder, *rest.as_bytes())?.is_some();
            match order.remainder(rest).filter(|_| !has_document) {
                Some(rest) => put_row(db, &rest, Some(order.id), stamps),
                None if has_document => Ok(()),
                None => take_away(db, rest),
            }
        }
    }
}

/// The paid order that a row is the rest of, while that has no document of its own.
///
/// # Errors
/// A failure of SQLite.
pub fn rest_of(db: &Connection, id: OpenOrderId) -> Result<Option<OpenOrderId>, StoreError> {
    let mut select = db.prepare_cached("SELECT rest_of FROM open_order WHERE id = ? AND rest_of IS NOT NULL")?;
    let found: Option<[u8; 16]> = select.query_row([id.as_bytes()], |r| r.get(0)).optional()?;
    Ok(found.map(|id| OpenOrderId(Uuid::from_bytes(id))))
}

fn take_away(db: &Connection, id: OpenOrderId) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM open_order WHERE id = ?")?.execute([id.as_bytes()])?;
    Ok(())
}

fn put_row(
    db: &Connection,
    order: &OpenOrder,
    rest_of: Option<OpenOrderId>,
    (opened, changed): (Stamp, Stamp),
) -> Result<(), StoreError> {
    let cart = order.to_cart(OrderId(Uuid::nil()));
    // Many people together may bring it beyond what an order can come to: it is shown as that, and cannot be paid at once.
    let total = cart.totals(order.tax_mode.unwrap_or(TaxMode::Inclusive)).map_or(i64::MAX, |totals| totals.total_minor);
    db.prepare_cached(
        "INSERT OR REPLACE INTO open_order
             (id, rest_of, label, note, lines, total_minor, opened_ms, opened_by, changed_ms, changed_by)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        order.id.as_bytes(),
        rest_of.map(|id| id.as_bytes().to_vec()),
        order.label,
        order.note,
        cart.lines.len(),
        total,
        opened.at_unix_ms,
        opened.by.as_bytes(),
        changed.at_unix_ms,
        changed.by.as_bytes(),
    ])?;
    Ok(())
}

/// The open orders whose label contains a text, the one that was touched last first, at most so many.
///
/// # Errors
/// A failure of SQLite.
pub fn newest(db: &Connection, text: &str, limit: usize) -> Result<Vec<OpenOrderRow>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT id, label, note, lines, total_minor, opened_ms, opened_by, changed_ms, changed_by FROM open_order
         ORDER BY changed_ms DESC, id",
    )?;
    let stamp = |at_unix_ms: u64, by: [u8; 16]| Stamp { by: StaffId(Uuid::from_bytes(by)), at_unix_ms };
    let rows = select.query_map([], |r| {
        Ok(OpenOrderRow {
            id: OpenOrderId(Uuid::from_bytes(r.get(0)?)),
            label: r.get(1)?,
            note: r.get(2)?,
            lines: r.get(3)?,
            total_minor: r.get(4)?,
            opened: stamp(r.get(5)?, r.get(6)?),
            changed: stamp(r.get(7)?, r.get(8)?),
        })
    })?;
    // SQLite knows small and capital letters of English alone.
    let text = text.to_lowercase();
    let is_meant = |row: &rusqlite::Result<OpenOrderRow>| {
        text.is_empty() || row.as_ref().map_or(true, |row| row.label.to_lowercase().contains(&text))
    };
    Ok(rows.filter(is_meant).take(limit.min(OPEN_ORDERS_MAX)).collect::<Result<_, _>>()?)
}

/// The open orders that a sale paid and that other sales paid too; none as a rule.
///
/// # Errors
/// A failure of SQLite.
pub fn paid_beside_others(db: &Connection, sale: OrderId) -> Result<Vec<OpenOrderId>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT open_order FROM paid_order p WHERE sale = ?1
             AND EXISTS (SELECT 1 FROM paid_order o WHERE o.open_order = p.open_order AND o.sale <> ?1)
         ORDER BY open_order LIMIT ?2",
    )?;
    let rows = select.query_map(params![sale.as_bytes(), OPEN_ORDERS_MAX], |r| r.get(0))?;
    Ok(rows.map(|id| Ok(OpenOrderId(Uuid::from_bytes(id?)))).collect::<rusqlite::Result<_>>()?)
}

/// What an open order is called by, and what else is to be known of it; none when it is paid, given up or not here.
///
/// # Errors
/// A failure of SQLite.
pub fn words_of(db: &Connection, id: OpenOrderId) -> Result<Option<(String, String)>, StoreError> {
    let mut select = db.prepare_cached("SELECT label, note FROM open_order WHERE id = ?")?;
    Ok(select.query_row([id.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
}

/// How many there are.
///
/// # Errors
/// A failure of SQLite.
pub fn count(db: &Connection) -> Result<u64, StoreError> {
    Ok(db.prepare_cached("SELECT count(*) FROM open_order")?.query_row([], |r| r.get(0))?)
}
