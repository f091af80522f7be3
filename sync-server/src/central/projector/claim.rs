//! Which records are the first of their ids. A record's id counts once, whichever entry brings it: the same record may lie in two branches of a fork.
//!
//! A sale's or refund's id is that of its row in `orders`, whose key keeps it; the ids of all other records are in `record_keys`. Only one
//! projector runs at a time, so what is not there when it is looked for is not there when it is written.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use domain::record::Record;
use journal::Entry;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::facts::{Key, RecordFact, Rows};
use crate::central::CentralError;
use crate::central::exceptions::ExceptionKind;

/// Takes the ids of records, and answers those records that are the first of theirs. The same record twice is one record; another
/// one under the same id is flagged.
pub(super) async fn claim(
    tx: &Transaction<'_>,
    facts: Vec<RecordFact>,
    rows: &mut Rows,
) -> Result<Vec<RecordFact>, CentralError> {
    let mut first = BTreeMap::<Key, i64>::new();
    let mut of_orders = BTreeSet::new();
    for fact in &facts {
        let Some(key) = fact.key() else { continue };
        if let Slot::Vacant(slot) = first.entry(key) {
            slot.insert(fact.central_seq);
            if is_order(fact) {
                of_orders.insert(key);
            }
        }
    }
    let there = taken(tx, first.keys()).await?;
    let new: Vec<(&Key, &i64)> = first.iter().filter(|(key, _)| !of_orders.contains(key) && !there.contains_key(key)).collect();
    if !new.is_empty() {
        let ((stores, classes, ids), entries) = (columns(new.iter().map(|(key, _)| *key)), new.iter().map(|(_, e)| **e));
        let entries: Vec<i64> = entries.collect();
        tx.execute(
            "INSERT INTO record_keys (store_id, class, id, central_seq)
             SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bigint[])",
            &[&stores, &classes, &ids, &entries],
        )
        .await?;
    }
    first.extend(there);
    let is_first = |fact: &RecordFact| fact.key().is_none_or(|key| first.get(&key) == Some(&fact.central_seq));
    let (mut fresh, repeated): (Vec<_>, Vec<_>) = facts.into_iter().partition(is_first);
    flag_unlike(tx, &repeated, &first, rows).await?;
    // Two lives of a till may both close a shift. Which of the two is shown must not depend on which came first: tills choose by the same rule.
    fresh.extend(repeated.into_iter().filter(|fact| matches!(fact.record, Record::ShiftClosed(_))));
    Ok(fresh)
}

fn is_order(fact: &RecordFact) -> bool {
    matches!(fact.record, Record::SaleCompleted(_) | Record::RefundGiven(_))
}

/// By which entries ids were taken in earlier batches.
async fn taken(tx: &Transaction<'_>, keys: impl Iterator<Item = &Key> + Clone) -> Result<BTreeMap<Key, i64>, CentralError> {
    let (stores, classes, ids) = columns(keys);
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    // LIMIT, so that each id is looked up by itself: nobody reads a whole table for them.
    let rows = tx
        .query(
            "SELECT c.store_id, c.class, c.id, k.central_seq
             FROM unnest($1::uuid[], $2::smallint[], $3::uuid[]) AS c (store_id, class, id)
             CROSS JOIN LATERAL (
                 (SELECT o.central_seq FROM orders AS o WHERE c.class = 0 AND o.store_id = c.store_id AND o.order_id = c.id LIMIT 1)
                 UNION ALL
                 (SELECT r.central_seq FROM record_keys AS r
                  WHERE r.store_id = c.store_id AND r.class = c.class AND r.id = c.id LIMIT 1)) AS k",
            &[&stores, &classes, &ids],
        )
        .await?;
    Ok(rows.iter().map(|row| (Key { store: row.get(0), class: row.get(1), id: row.get(2) }, row.get(3))).collect())
}

fn columns<'a>(keys: impl Iterator<Item = &'a Key>) -> (Vec<Uuid>, Vec<i16>, Vec<Uuid>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        columns.0.push(key.store);
        columns.1.push(key.class);
        columns.2.push(key.id);
    }
    columns
}

const CLOSED_TWICE: &str = "two lives of a till closed one shift, each with what it had of it; the later closing stands";

async fn flag_unlike(
    tx: &Transaction<'_>,
    repeated: &[RecordFact],
    first: &BTreeMap<Key, i64>,
    rows: &mut Rows,
) -> Result<(), CentralError> {
    let pairs: Vec<(&RecordFact, i64)> = repeated.iter().filter_map(|fact| Some((fact, *first.get(&fact.key()?)?))).collect();
    if pairs.is_empty() {
        return Ok(());
    }
    let wanted: BTreeSet<i64> = pairs.iter().flat_map(|(fact, first)| [fact.central_seq, *first]).collect();
    let wanted: Vec<i64> = wanted.into_iter().collect();
    let found = tx.query("SELECT central_seq, bytes FROM all_entries WHERE central_seq = ANY($1)", &[&wanted]).await?;
    let body = |row: &tokio_postgres::Row| (row.get::<_, i64>(0), Entry::decode(row.get(1)).ok().map(|e| e.body));
    let bodies: BTreeMap<_, _> = found.iter().map(body).collect();
    for (fact, first) in pairs {
        if bodies.get(&fact.central_seq) != bodies.get(&first) {
            match &fact.record {
                Record::ShiftClosed(_) => rows.flag_record(fact, ExceptionKind::ClosedTwice, CLOSED_TWICE),
                _ => {
                    let detail = format!("its id was used before, by entry {first}, for something else; only that one counts");
                    rows.flag_record(fact, ExceptionKind::DuplicateId, detail);
                }
            }
        }
    }
    Ok(())
}
