//! Levels of stock where somebody counts or takes goods in, and what does not add up there.
//!
//! A level is the sum of its movements until a product is counted; then it is what the standing count found and every movement that it had not heard of
//! ([`domain::count`]). Levels of products that nobody ever counted or took in are sums and nothing else: where a shop does not track its stock, a
//! level below zero says nothing, and none of this is asked.
//!
//! The records of a batch are walked in order, so that what is flagged, and at which entry, does not depend on where a batch was cut.

use std::collections::{BTreeMap, BTreeSet};

use domain::count::{Counted, Place, standing};
use domain::fold::{self, MovementReason};
use domain::ids::ProductId;
use domain::receipt::format_quantity;
use domain::record::{Record, StockCount};
use journal::{Body, Entry};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::facts::{RecordFact, Rows, Settled, Subject};
use crate::central::CentralError;
use crate::central::exceptions::ExceptionKind;

/// A store and a product.
type Pair = (Uuid, Uuid);

/// A level that is more than a sum, as it stands in the walk.
#[derive(Debug, Default)]
struct Level {
    /// In the table.
    before_milli: i64,
    now_milli: i64,
    /// Whether goods were ever counted or taken in.
    is_tracked: bool,
    /// The count that it begins with.
    standing: Option<Counted>,
    /// All counts, where this batch has one.
    counts: Vec<Counted>,
    /// What this batch moved so far, where it has a count.
    moved: Vec<(Place, i64)>,
    is_oversold: bool,
    is_counted_at_once: bool,
}

/// Puts levels right that are more than sums, and flags those that went below zero and products that were counted at once.
pub(super) async fn take(tx: &Transaction<'_>, facts: &[RecordFact], rows: &mut Rows) -> Result<(), CentralError> {
    let mut levels = load(tx, facts).await?;
    if levels.is_empty() {
        return Ok(());
    }
    for fact in facts {
        let Some(store) = fact.store else { continue };
        let touched = match &fact.record {
            Record::StockCounted(count) => take_count(tx, fact, store, count, &mut levels, rows).await?,
            _ => take_movements(fact, store, &mut levels),
        };
        for product in touched {
            flag_oversold(fact, (store, product), &mut levels, rows);
        }
    }
    for (pair, level) in levels {
        // Of one that is not in the batch's sums nothing changed.
        if let Some(added) = rows.levels.get_mut(&pair) {
            added.milli = level.now_milli - level.before_milli;
        }
        if level.is_tracked {
            rows.tracked.insert(pair);
        }
        if let (Some(standing), false) = (level.standing, level.counts.is_empty()) {
            rows.standing.insert(pair, standing.id.0);
        }
    }
    Ok(())
}

/// The levels that a batch touches and that are more than sums: those that are tracked, and those that it begins to track.
async fn load(tx: &Transaction<'_>, facts: &[RecordFact]) -> Result<BTreeMap<Pair, Level>, CentralError> {
    let (mut touched, mut begun, mut counted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for fact in facts {
        let Some(store) = fact.store else { continue };
        for movement in fold::stock_movements(&fact.record) {
            touched.insert((store, movement.product.0));
            if comes_in(&movement) {
                begun.insert((store, movement.product.0));
            }
        }
        if let Record::StockCounted(count) = &fact.record {
            counted.extend(count.lines.iter().map(|line| (store, line.product.0)));
        }
    }
    begun.extend(counted.iter().copied());
    let mut levels: BTreeMap<Pair, Level> = begun.iter().map(|pair| (*pair, Level::default())).collect();
    for (pairs, which) in [(touched, "l.tracked"), (begun, "true")] {
        if pairs.is_empty() {
            continue;
        }
        let (stores, products): (Vec<Uuid>, Vec<Uuid>) = pairs.into_iter().unzip();
        let sql = format!(
            "SELECT l.store_id, l.product_id, l.quantity_milli, l.tracked FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, product_id)
             JOIN stock_levels AS l USING (store_id, product_id) WHERE {which}"
        );
        for row in &tx.query(&sql, &[&stores, &products]).await? {
            let (quantity, is_tracked): (i64, bool) = (row.get(2), row.get(3));
            let is_oversold = is_tracked && quantity < 0;
            let level = Level { before_milli: quantity, now_milli: quantity, is_tracked, is_oversold, ..Level::default() };
            levels.insert((row.get(0), row.get(1)), level);
        }
    }
    load_counts(tx, &counted, &mut levels).await?;
    Ok(levels)
}

/// The counts that stand, and all of the products that the batch counts.
async fn load_counts(
    tx: &Transaction<'_>,
    counted: &BTreeSet<Pair>,
    levels: &mut BTreeMap<Pair, Level>,
) -> Result<(), CentralError> {
    let (stores, products): (Vec<Uuid>, Vec<Uuid>) = levels.keys().copied().unzip();
    let all: Vec<bool> = levels.keys().map(|pair| counted.contains(pair)).collect();
    let rows = tx
        .query(
            "SELECT c.store_id, c.product_id, c.stands, e.device, e.incarnation, e.seq, e.bytes
             FROM unnest($1::uuid[], $2::uuid[], $3::boolean[]) AS w (store_id, product_id, every)
             JOIN stock_counts AS c USING (store_id, product_id) JOIN all_entries AS e USING (central_seq)
             WHERE c.stands OR w.every ORDER BY c.store_id, c.product_id, c.record_id",
            &[&stores, &products, &all],
        )
        .await?;
    for row in &rows {
        let pair: Pair = (row.get(0), row.get(1));
        let Some(level) = levels.get_mut(&pair) else { continue };
        let place = place(row.get(3), row.get(4), row.get(5));
        let Some(one) = read_count(row.get(6), place, pair.1) else { continue };
        if row.get(2) {
            level.standing = Some(one.clone());
        }
        if counted.contains(&pair) {
            level.counts.push(one);
        }
    }
    for level in levels.values_mut() {
        level.is_counted_at_once = standing(&level.counts).is_some_and(|found| !found.beside.is_empty());
    }
    Ok(())
}

/// What a count in an entry says of a product.
fn read_count(bytes: &[u8], place: Place, product: Uuid) -> Option<Counted> {
    let entry = Entry::decode(bytes).ok()?;
    let Body::Record { kind, version, bytes } = &entry.body else { return None };
    let Record::StockCounted(count) = Record::decode(*kind, *version, bytes).ok()?? else { return None };
    let all = Counted::all(&count, entry.at.0, place);
    all.into_iter().find(|(of, _)| of.0 == product).map(|(_, counted)| counted)
}

fn place(device: Uuid, incarnation: Uuid, seq: i64) -> Place {
    Place { device: device.into_bytes(), incarnation: incarnation.into_bytes(), seq: seq.unsigned_abs() }
}

fn place_of(fact: &RecordFact) -> Place {
    place(fact.device, fact.incarnation, fact.seq)
}

/// Whether somebody took goods in: a shop that does so tracks its stock of them.
fn comes_in(movement: &fold::StockMovement) -> bool {
    movement.reason == MovementReason::Adjustment && movement.quantity.0 > 0
}

/// Adds what a record moves and the standing counts had not heard of. Answers the products.
fn take_movements(fact: &RecordFact, store: Uuid, levels: &mut BTreeMap<Pair, Level>) -> BTreeSet<Uuid> {
    let mut touched = BTreeSet::new();
    let place = place_of(fact);
    for movement in fold::stock_movements(&fact.record) {
        let Some(level) = levels.get_mut(&(store, movement.product.0)) else { continue };
        if level.standing.as_ref().is_none_or(|count| !count.cut.covers(place)) {
            level.now_milli += movement.quantity.0;
        }
        level.moved.push((place, movement.quantity.0));
        level.is_tracked |= comes_in(&movement);
        touched.insert(movement.product.0);
    }
    touched
}

/// Takes a count: where it, or by it another one, comes to stand, the level begins anew. Answers the products.
async fn take_count(
    tx: &Transaction<'_>,
    fact: &RecordFact,
    store: Uuid,
    count: &StockCount,
    levels: &mut BTreeMap<Pair, Level>,
    rows: &mut Rows,
) -> Result<BTreeSet<Uuid>, CentralError> {
    let mut touched = BTreeSet::new();
    // By the count that stands: as a rule this one, for all its products.
    let mut again = BTreeMap::<Uuid, (Counted, Vec<Uuid>)>::new();
    for (ProductId(product), counted) in Counted::all(count, fact.at.0, place_of(fact)) {
        let Some(level) = levels.get_mut(&(store, product)) else { continue };
        touched.insert(product);
        level.is_tracked = true;
        level.counts.push(counted);
        let Some(found) = standing(&level.counts) else { continue };
        let subject = Subject { kind: ExceptionKind::CountedAtOnce.as_str(), store: Some(store), id: product };
        match (found.beside.is_empty(), level.is_counted_at_once) {
            (false, false) => {
                let said: Vec<String> = found.beside.iter().map(|other| format_quantity(other.quantity)).collect();
                let stands = format_quantity(found.count.quantity);
                let detail = format!(
                    "it was counted by people who had not heard of one another: {} and {stands}; {stands} stands as the later one",
                    said.join(", ")
                );
                rows.flag_subject(fact.central_seq, subject, None, detail);
            }
            (true, true) => rows.settle(subject, Settled { central_seq: fact.central_seq, order: None }),
            _ => {}
        }
        level.is_counted_at_once = !found.beside.is_empty();
        let stands = found.count.clone();
        if level.standing.as_ref().is_none_or(|before| before.id != stands.id) {
            again.entry(stands.id.0).or_insert_with(|| (stands.clone(), Vec::new())).1.push(product);
            level.standing = Some(stands);
        }
    }
    for (stands, products) in again.values() {
        let unheard = unheard(tx, store, stands, products).await?;
        for product in products {
            let Some(level) = levels.get_mut(&(store, *product)) else { continue };
            // A record of several products says another quantity of each.
            let quantity = level.standing.as_ref().map_or(0, |count| count.quantity.0);
            let moved: i64 = level.moved.iter().filter(|(place, _)| !stands.cut.covers(*place)).map(|(_, milli)| milli).sum();
            level.now_milli = quantity + unheard.get(product).copied().unwrap_or(0) + moved;
        }
    }
    Ok(touched)
}

/// What earlier batches moved of products and a count had not heard of.
async fn unheard(
    tx: &Transaction<'_>,
    store: Uuid,
    count: &Counted,
    products: &[Uuid],
) -> Result<BTreeMap<Uuid, i64>, CentralError> {
    let (mut devices, mut incarnations, mut upto) = (Vec::new(), Vec::new(), Vec::new());
    for seen in count.cut.histories() {
        devices.push(Uuid::from_bytes(seen.device));
        incarnations.push(Uuid::from_bytes(seen.incarnation));
        upto.push(i64::try_from(seen.seq).unwrap_or(i64::MAX));
    }
    // Each movement's entry by its number: there are many more entries than movements of a product.
    let rows = tx
        .query(
            "SELECT m.product_id, sum(m.quantity_milli)::bigint
             FROM unnest($2::uuid[]) AS w (product_id) CROSS JOIN LATERAL stock_movements_of($1, w.product_id) AS m
             CROSS JOIN LATERAL (
                 SELECT device, incarnation, seq FROM entries WHERE central_seq = m.central_seq
                 UNION ALL SELECT device, incarnation, seq FROM forked_entries WHERE central_seq = m.central_seq) AS e
             LEFT JOIN unnest($3::uuid[], $4::uuid[], $5::bigint[]) AS c (device, incarnation, upto)
                 ON c.device = e.device AND c.incarnation = e.incarnation
             WHERE e.seq > COALESCE(c.upto, 0) GROUP BY m.product_id",
            &[&store, &products, &devices, &incarnations, &upto],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Flags a level that went below zero, and settles one that is there no longer.
fn flag_oversold(fact: &RecordFact, pair: Pair, levels: &mut BTreeMap<Pair, Level>, rows: &mut Rows) {
    let Some(level) = levels.get_mut(&pair) else { return };
    let is_oversold = level.is_tracked && level.now_milli < 0;
    let subject = Subject { kind: ExceptionKind::Oversold.as_str(), store: Some(pair.0), id: pair.1 };
    let order = match &fact.record {
        Record::SaleCompleted(order) | Record::RefundGiven(order) => Some(order.id.0),
        _ => None,
    };
    match (level.is_oversold, is_oversold) {
        (false, true) => {
            let level = format_quantity(domain::money::Quantity(level.now_milli));
            rows.flag_subject(fact.central_seq, subject, order, format!("by the records there are {level} of it at this store"));
        }
        (true, false) => rows.settle(subject, Settled { central_seq: fact.central_seq, order }),
        _ => {}
    }
    level.is_oversold = is_oversold;
}
