//! Orders, and what came back of them.

use domain::ids::OrderId;
use domain::money::Quantity;
use domain::record::{Order, Record};
use journal::{Body, Entry};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, log};

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
