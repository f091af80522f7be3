//! Orders, what came back of them, and shifts.

use domain::ids::{OrderId, ShiftId};
use domain::money::Quantity;
use domain::record::{BusinessDay, Order, Record, ShiftClosing, ShiftOpening};
use journal::{Body, Entry};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, fixed, log};

/// Most rows of a list of orders.
pub const ORDERS_MAX: usize = 200;

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub id: OrderId,
    /// The row of the origin that wrote it.
    pub origin: i64,
    /// The device that wrote it.
    pub device: [u8; 16],
    /// The receipt series of that origin; empty while it is unknown.
    pub series: String,
    /// Its number in the series.
    pub number: u64,
    /// Whether money went back.
    pub is_refund: bool,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What was owed, in minor units; negative in a refund.
    pub total_minor: i64,
    /// How many lines.
    pub lines: u64,
    /// The row of its entry.
    pub entry: i64,
}

impl OrderRow {
    /// The receipt number as it is printed.
    pub fn receipt(&self) -> String {
        domain::receipt::receipt_number(&self.series, self.number)
    }
}

/// Writes an order of an entry, unless one with its id is there already. Answers whether it was new.
///
/// # Errors
/// A failure of SQLite.
pub fn put_order(db: &Connection, origin: i64, entry: i64, at_ms: u64, is_refund: bool, o: &Order) -> Result<bool, StoreError> {
    let written = db
        .prepare_cached(
            "INSERT OR IGNORE INTO orders (id, origin, number, is_refund, at_ms, total, lines, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            o.id.as_bytes(),
            origin,
            o.receipt_number,
            is_refund,
            at_ms,
            o.total_minor,
            o.lines.len(),
            entry
        ])?;
    Ok(written == 1)
}

const ORDER_COLUMNS: &str =
    "o.id, o.origin, g.device, coalesce(s.series, ''), o.number, o.is_refund, o.at_ms, o.total, o.lines, o.entry
     FROM orders o JOIN origin g ON g.id = o.origin LEFT JOIN line l ON l.origin = o.origin
     LEFT JOIN series s ON s.origin = coalesce(l.root, o.origin)";

/// The receipt series of an origin's own row; empty while it is unknown.
///
/// # Errors
/// A failure of SQLite.
pub fn series(db: &Connection, origin: i64) -> Result<String, StoreError> {
    let mut select = db.prepare_cached("SELECT series FROM series WHERE origin = ?")?;
    Ok(select.query_row([origin], |r| r.get(0)).optional()?.unwrap_or_default())
}

/// An order.
///
/// # Errors
/// A failure of SQLite.
pub fn order(db: &Connection, id: OrderId) -> Result<Option<OrderRow>, StoreError> {
    let found =
        db.prepare_cached(&format!("SELECT {ORDER_COLUMNS} WHERE o.id = ?"))?.query_row([id.as_bytes()], order_row).optional()?;
    Ok(found)
}

/// The newest orders whose receipt number has `text` in it.
///
/// # Errors
/// A failure of SQLite.
pub fn newest(db: &Connection, text: &str, limit: usize) -> Result<Vec<OrderRow>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {ORDER_COLUMNS}
         WHERE ?1 = '' OR instr(upper(coalesce(s.series, '')) || '-' || printf('%06d', o.number), ?1) > 0
         ORDER BY o.id DESC LIMIT ?2"
    ))?;
    let rows = select.query_map(params![text.trim().to_uppercase(), limit.min(ORDERS_MAX)], order_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn order_row(r: &Row<'_>) -> rusqlite::Result<OrderRow> {
    let id: [u8; 16] = r.get(0)?;
    Ok(OrderRow {
        id: OrderId(uuid::Uuid::from_bytes(id)),
        origin: r.get(1)?,
        device: r.get(2)?,
        series: r.get(3)?,
        number: r.get(4)?,
        is_refund: r.get(5)?,
        at_ms: r.get(6)?,
        total_minor: r.get(7)?,
        lines: r.get(8)?,
        entry: r.get(9)?,
    })
}

/// The entry of an order, and the order that it holds; none when its content has gone.
///
/// # Errors
/// A failure of SQLite, or an entry that holds no order.
pub fn read_order(db: &Connection, entry: i64) -> Result<Option<(Entry, Order)>, StoreError> {
    let bytes = log::entry_bytes(db, entry)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let entry = Entry::decode(&bytes).ok().and_then(|entry| Some((order_of(&entry)?, entry)));
    entry.map(|(order, entry)| Some((entry, order))).ok_or(StoreError::Damaged("the entry of an order"))
}

/// The order that an entry holds, if it holds one.
pub fn order_of(entry: &Entry) -> Option<Order> {
    let Body::Record { kind, version, bytes } = &entry.body else { return None };
    match Record::decode(*kind, *version, bytes) {
        Ok(Some(Record::SaleCompleted(order) | Record::RefundGiven(order))) => Some(order),
        _ => None,
    }
}

/// Adds to what came back of a line.
///
/// # Errors
/// A failure of SQLite.
pub fn add_refunded(db: &Connection, order: OrderId, line: u32, quantity: Quantity) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO refunded (order_id, line, quantity) VALUES (?, ?, ?)
         ON CONFLICT (order_id, line) DO UPDATE SET quantity = quantity + excluded.quantity",
    )?
    .execute(params![order.as_bytes(), line, quantity.0])?;
    Ok(())
}

/// Notes a refund of a sale.
///
/// # Errors
/// A failure of SQLite.
pub fn put_refund(db: &Connection, sale: OrderId, refund: OrderId) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR IGNORE INTO refund (sale, refund) VALUES (?, ?)")?
        .execute(params![sale.as_bytes(), refund.as_bytes()])?;
    Ok(())
}

/// The refunds of a sale, in the order in which they were begun, at most [`ORDERS_MAX`].
///
/// # Errors
/// A failure of SQLite.
pub fn refunds_of(db: &Connection, sale: OrderId) -> Result<Vec<OrderRow>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {ORDER_COLUMNS} JOIN refund r ON r.refund = o.id WHERE r.sale = ? ORDER BY o.id LIMIT ?"
    ))?;
    let rows = select.query_map(params![sale.as_bytes(), ORDERS_MAX], order_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How much of each of `lines` lines came back, as far as this replica knows.
///
/// # Errors
/// A failure of SQLite.
pub fn refunded(db: &Connection, order: OrderId, lines: usize) -> Result<Vec<Quantity>, StoreError> {
    let mut all = vec![Quantity(0); lines];
    let mut select = db.prepare_cached("SELECT line, quantity FROM refunded WHERE order_id = ?")?;
    let mut rows = select.query([order.as_bytes()])?;
    while let Some(r) = rows.next()? {
        if let Some(quantity) = all.get_mut(r.get::<_, usize>(0)?) {
            *quantity = Quantity(r.get(1)?);
        }
    }
    Ok(all)
}

/// A shift as it was opened and, perhaps, closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShiftRow {
    /// Its id.
    pub id: ShiftId,
    /// The day it counts for.
    pub business_day: BusinessDay,
    /// When it was opened, in Unix milliseconds.
    pub opened_ms: u64,
    /// The cash put into the drawer, in minor units.
    pub float_minor: i64,
    /// What was counted at its end, and what was expected then, in minor units.
    pub closed: Option<(i64, i64)>,
}

/// Writes the beginning of a shift.
///
/// # Errors
/// A failure of SQLite.
pub fn put_shift_opened(db: &Connection, origin: i64, at_ms: u64, s: &ShiftOpening) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO shift (id, origin, business_day, opened_ms, float_minor) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
         SET origin = excluded.origin, business_day = excluded.business_day, opened_ms = excluded.opened_ms,
             float_minor = excluded.float_minor",
    )?
    .execute(params![s.shift.as_bytes(), origin, s.business_day.0, at_ms, s.float_minor])?;
    Ok(())
}

/// Writes the end of a shift, which may arrive before its beginning when it was written by a later incarnation.
///
/// # Errors
/// A failure of SQLite.
pub fn put_shift_closed(db: &Connection, at_ms: u64, s: &ShiftClosing) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO shift (id, closed_ms, counted, expected) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
         SET closed_ms = excluded.closed_ms, counted = excluded.counted, expected = excluded.expected
         WHERE closed_ms IS NULL OR (excluded.closed_ms, excluded.counted, excluded.expected) > (closed_ms, counted, expected)",
    )?
    .execute(params![s.shift.as_bytes(), at_ms, s.counted_minor, s.expected_minor])?;
    Ok(())
}

/// The newest shift of a device that is open, and the newest that is closed.
///
/// # Errors
/// A failure of SQLite.
pub fn shifts_of(db: &Connection, device: [u8; 16]) -> Result<(Option<ShiftRow>, Option<ShiftRow>), StoreError> {
    let newest = |condition: &str| {
        db.prepare_cached(&format!(
            "SELECT s.id, s.business_day, s.opened_ms, s.float_minor, s.counted, s.expected
             FROM shift s JOIN origin g ON g.id = s.origin
             WHERE g.device = ? AND s.closed_ms IS {condition} ORDER BY s.id DESC LIMIT 1"
        ))?
        .query_row([device], shift_row)
        .optional()?
        .transpose()
    };
    Ok((newest("NULL")?, newest("NOT NULL")?))
}

fn shift_row(r: &Row<'_>) -> rusqlite::Result<Result<ShiftRow, StoreError>> {
    let closed = match (r.get(4)?, r.get(5)?) {
        (Some(counted), Some(expected)) => Some((counted, expected)),
        _ => None,
    };
    let (business_day, opened_ms, float_minor) = (BusinessDay(r.get(1)?), r.get(2)?, r.get(3)?);
    let id = r.get::<_, Vec<u8>>(0)?;
    Ok(fixed(id).map(|id| ShiftRow { id: ShiftId(uuid::Uuid::from_bytes(id)), business_day, opened_ms, float_minor, closed }))
}
