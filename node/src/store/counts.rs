//! Stock counts on this disk: which of them stands, and what of the log still applies to it ([`domain::count`]).
//!
//! A level is kept as a sum that every movement adds to. A count breaks that in two ways: it says the level itself, and movements that it had heard of may
//! arrive after it and then add nothing. The first is done once for all counts of a transaction, by [`settle`]; the second is asked of every record
//! that moves stock, by [`covered`], and costs one look into a small table as long as nothing comes late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::count::{Counted, Cut, Place, standing};
use domain::fold;
use domain::ids::{OrderId, ProductId};
use domain::record::{Record, SeenUpTo, StockCount};
use journal::{Body, Entry, Scope};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::sums::Sums;
use super::{StoreError, log, orders, retention};

/// Everything that this replica has heard of a scope: what a count made now covers.
///
/// # Errors
/// A failure of SQLite.
pub fn cut_of(db: &Connection, scope: &Scope) -> Result<Vec<SeenUpTo>, StoreError> {
    let scope = log::scope_row(db, scope)?;
    let mut select = db.prepare_cached(
        "SELECT r.device, r.incarnation, max((SELECT max(seq) FROM entry e WHERE e.origin = o.id AND e.scope = ?1)) AS upto
         FROM origin o LEFT JOIN line l ON l.origin = o.id JOIN origin r ON r.id = coalesce(l.root, o.id)
         GROUP BY r.id HAVING upto IS NOT NULL ORDER BY r.device, r.incarnation",
    )?;
    let rows = select.query_map([scope], |r| {
        let device: [u8; 16] = r.get(0)?;
        Ok(SeenUpTo { device: domain::ids::DeviceId(Uuid::from_bytes(device)), incarnation: r.get(1)?, seq: r.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes in a count that is in row `entry` of the log. The levels of its products are for [`settle`].
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn put(db: &Connection, entry: i64, count: &StockCount, sums: &mut Sums) -> Result<(), StoreError> {
    for seen in Cut::of(count).histories() {
        db.prepare_cached(
            "INSERT INTO counted_upto (device, incarnation, seq) VALUES (?, ?, ?)
             ON CONFLICT (device, incarnation) DO UPDATE SET seq = max(seq, excluded.seq)",
        )?
        .execute(params![seen.device, seen.incarnation, seen.seq.min(i64::MAX as u64)])?;
    }
    for line in &count.lines {
        db.prepare_cached("INSERT OR IGNORE INTO stock_count (product, id, entry, stands) VALUES (?, ?, ?, 0)")?
            .execute(params![line.product.as_bytes(), count.id.as_bytes(), entry])?;
        let counts = counts_of(db, line.product)?;
        if let Some(standing) = standing(&counts) {
            db.prepare_cached("UPDATE stock_count SET stands = (id = ?) WHERE product = ?")?
                .execute(params![standing.count.id.as_bytes(), line.product.as_bytes()])?;
        }
        sums.count_again(line.product);
    }
    Ok(())
}

/// Every count of a product.
fn counts_of(db: &Connection, product: ProductId) -> Result<Vec<Counted>, StoreError> {
    let mut select = db.prepare_cached("SELECT entry FROM stock_count WHERE product = ? ORDER BY id")?;
    let entries = select.query_map([product.as_bytes()], |r| r.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    entries.into_iter().map(|entry| counted(db, entry, product)).collect()
}

/// What the count in a row of the log says of a product.
fn counted(db: &Connection, row: i64, product: ProductId) -> Result<Counted, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("the entry of a count");
    let entry = Entry::decode(&log::entry_bytes(db, row)?).map_err(|_| DAMAGED)?;
    let Body::Record { kind, version, bytes } = &entry.body else { return Err(DAMAGED) };
    let Ok(Some(Record::StockCounted(count))) = Record::decode(*kind, *version, bytes) else { return Err(DAMAGED) };
    let all = Counted::all(&count, entry.at.0, place_of(db, row)?);
    all.into_iter().find(|(of, _)| *of == product).map(|(_, counted)| counted).ok_or(DAMAGED)
}

fn place_of(db: &Connection, row: i64) -> Result<Place, StoreError> {
    let place = db
        .prepare_cached(
            "SELECT o.device, o.incarnation, e.seq FROM entry e
             JOIN origin o ON o.id = coalesce((SELECT root FROM line WHERE origin = e.origin), e.origin) WHERE e.id = ?",
        )?
        .query_row([row], |r| Ok(Place { device: r.get(0)?, incarnation: r.get(1)?, seq: r.get(2)? }))?;
    Ok(place)
}

/// Whether the record in a row of the log came so late that a count may have heard of it.
fn may_be_covered(db: &Connection, row: i64) -> Result<bool, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT e.seq <= c.seq FROM entry e
         JOIN origin o ON o.id = coalesce((SELECT root FROM line WHERE origin = e.origin), e.origin)
         JOIN counted_upto c ON c.device = o.device AND c.incarnation = o.incarnation WHERE e.id = ?",
    )?;
    Ok(select.query_row([row], |r| r.get(0)).optional()?.unwrap_or(false))
}

/// The products of a record in a row of the log to whose stock it adds nothing, because the count that stands had heard of it.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn covered(db: &Connection, row: i64, record: &Record) -> Result<BTreeSet<ProductId>, StoreError> {
    let products: BTreeSet<ProductId> = fold::stock_movements(record).iter().map(|movement| movement.product).collect();
    let mut covered = BTreeSet::new();
    if products.is_empty() || !may_be_covered(db, row)? {
        return Ok(covered);
    }
    let place = place_of(db, row)?;
    for product in products {
        if stands(db, product)?.is_some_and(|count| count.cut.covers(place)) {
            covered.insert(product);
        }
    }
    Ok(covered)
}

/// The id of the count of a product that stands.
///
/// # Errors
/// A failure of SQLite.
pub fn standing_id(db: &Connection, product: ProductId) -> Result<Option<[u8; 16]>, StoreError> {
    let mut select = db.prepare_cached("SELECT id FROM stock_count WHERE product = ? AND stands")?;
    Ok(select.query_row([product.as_bytes()], |r| r.get(0)).optional()?)
}

/// The count of a product that stands.
fn stands(db: &Connection, product: ProductId) -> Result<Option<Counted>, StoreError> {
    let mut select = db.prepare_cached("SELECT entry FROM stock_count WHERE product = ? AND stands")?;
    let entry: Option<i64> = select.query_row([product.as_bytes()], |r| r.get(0)).optional()?;
    entry.map(|entry| counted(db, entry, product)).transpose()
}

/// Ends a transaction that took in counts: their products have the levels that they and the rest of the log come to. One walk over what some of
/// them have not heard of.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn settle(db: &Connection, sums: &mut Sums) -> Result<(), StoreError> {
    let mut levels = BTreeMap::new();
    for product in sums.take_counted_again() {
        if let Some(counted) = stands(db, product)? {
            let gone = retention::unheard_of(db, product, counted.id)?;
            levels.insert(product, (counted.quantity.0.saturating_add(gone), counted.cut));
        }
    }
    if levels.is_empty() {
        return Ok(());
    }
    let mut select = db.prepare_cached(
        "SELECT o.id, r.device, r.incarnation FROM origin o LEFT JOIN line l ON l.origin = o.id
         JOIN origin r ON r.id = coalesce(l.root, o.id) ORDER BY o.id",
    )?;
    let histories = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    for history in histories.collect::<Result<Vec<(i64, [u8; 16], [u8; 16])>, _>>()? {
        add_unheard(db, history, &mut levels)?;
    }
    for (product, (level, _)) in levels {
        sums.set_level(product, level);
    }
    Ok(())
}

/// Adds what one history moved after the cuts of the counts.
fn add_unheard(
    db: &Connection,
    (origin, device, incarnation): (i64, [u8; 16], [u8; 16]),
    levels: &mut BTreeMap<ProductId, (i64, Arc<Cut>)>,
) -> Result<(), StoreError> {
    let heard_by_all = levels.values().map(|(_, cut)| cut.upto(device, incarnation)).min().unwrap_or(0);
    let mut select = db.prepare_cached(
        "SELECT id, seq, bytes FROM entry WHERE origin = ? AND scope = ? AND seq > ? AND length(bytes) > 0 ORDER BY seq",
    )?;
    for scope in store_scopes(db)? {
        let mut rows = select.query(params![origin, scope, heard_by_all.min(i64::MAX as u64)])?;
        while let Some(r) = rows.next()? {
            let (row, seq): (i64, u64) = (r.get(0)?, r.get(1)?);
            let entry = Entry::decode(r.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
                .map_err(|_| StoreError::Damaged("an entry"))?;
            let Body::Record { kind, version, bytes } = &entry.body else { continue };
            let Ok(Some(record)) = Record::decode(*kind, *version, bytes) else { continue };
            if !counts_here(db, row, &record)? {
                continue;
            }
            for movement in fold::stock_movements(&record) {
                let Some((level, cut)) = levels.get_mut(&movement.product) else { continue };
                if !cut.covers(Place { device, incarnation, seq }) {
                    *level = level.saturating_add(movement.quantity.0);
                }
            }
        }
    }
    Ok(())
}

/// The scopes that stock moves in; a till has one.
fn store_scopes(db: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut select = db.prepare_cached("SELECT id FROM scope WHERE name LIKE 'store/%' ORDER BY id")?;
    Ok(select.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?)
}

/// Whether a record counts by this entry: an order that came twice counts once, by the entry that its row names.
///
/// # Errors
/// A failure of SQLite.
pub fn counts_here(db: &Connection, row: i64, record: &Record) -> Result<bool, StoreError> {
    let id: OrderId = match record {
        Record::SaleCompleted(order) | Record::RefundGiven(order) => order.id,
        _ => return Ok(true),
    };
    Ok(orders::order(db, id)?.is_some_and(|first| first.entry == row))
}
