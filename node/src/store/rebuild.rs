//! All projections computed anew from the log and from what is folded of that which has gone, and a text of them that two replicas can be compared by.

use std::fmt::Write;

use journal::Entry;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::sums::Sums;
use super::{Replica, StoreError, ahead, counts, documents, log, project, retention};

/// The projections, each with the columns that say what it holds (places in the search index depend on history).
const PROJECTIONS: &[(&str, &str)] = &[
    ("unread", "*"),
    ("series", "*"),
    ("actor", "*"),
    ("device", "*"),
    ("document", "*"),
    ("store", "*"),
    ("staff", "*"),
    ("product", "id, code, name, price, tax_rate_bp, active, category, tax_class, picture"),
    ("product_code", "*"),
    ("tax_class", "*"),
    ("open_order", "*"),
    ("orders", "*"),
    ("refunded", "*"),
    ("refund", "*"),
    ("paid_order", "*"),
    ("stock_count", "*"),
    ("counted_upto", "*"),
    ("shift", "*"),
    ("stock_level", "*"),
    ("shift_part", "*"),
    ("ledger", "*"),
];

/// Throws all projections away and computes them from the log, in one transaction. Answers how many entries were read.
///
/// # Errors
/// A failure of SQLite, or an entry that does not decode; everything is then as it was.
pub fn rebuild(replica: &Replica) -> Result<u64, StoreError> {
    let tx = replica.begin()?;
    // What is here ahead of the log is no projection yet.
    let ahead = ahead::unproven(&tx)?;
    for (table, _) in PROJECTIONS {
        let gone = if *table == "orders" { retention::NOT_OF_GONE } else { "" };
        tx.execute_batch(&format!("DELETE FROM {table} {gone}"))?;
    }
    retention::begin_with_floor(&tx)?;
    tx.execute_batch("INSERT INTO product_search (product_search) VALUES ('delete-all')")?;
    for document in ahead {
        documents::put(&tx, &document, None)?;
    }
    let mut sums = Sums::default();
    let read = for_each_after(&tx, 0, |id, origin, entry| project::entry(&tx, id, origin, entry, &mut sums).map(|_| ()))?;
    counts::settle(&tx, &mut sums)?;
    sums.flush(&tx, log::last_id(&tx)?)?;
    tx.commit()?;
    Ok(read)
}

/// Folds the entries after the last flush into sums, as they were before the program ended.
///
/// # Errors
/// A failure of SQLite, or an entry that does not decode.
pub fn fold_since(db: &Connection, upto: i64) -> Result<Sums, StoreError> {
    let mut sums = Sums::default();
    for_each_after(db, upto, |id, origin, entry| {
        let journal::Body::Record { kind, version, bytes } = &entry.body else { return Ok(()) };
        let Ok(Some(record)) = domain::record::Record::decode(*kind, *version, bytes) else { return Ok(()) };
        if !counts::counts_here(db, id, &record)? {
            return Ok(());
        }
        if let domain::record::Record::StockCounted(count) = &record {
            count.lines.iter().for_each(|line| sums.count_again(line.product));
        }
        sums.fold(origin, id, &record, &counts::covered(db, id, &record)?);
        Ok(())
    })?;
    counts::settle(db, &mut sums)?;
    Ok(sums)
}

fn for_each_after(
    db: &Connection,
    upto: i64,
    mut each: impl FnMut(i64, i64, &Entry) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let mut select = db.prepare_cached("SELECT id, origin, bytes FROM entry WHERE id > ? AND length(bytes) > 0 ORDER BY id")?;
    let mut rows = select.query([upto])?;
    let mut read = 0;
    while let Some(r) = rows.next()? {
        let entry = Entry::decode(r.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
            .map_err(|_| StoreError::Damaged("an entry"))?;
        each(r.get(0)?, r.get(1)?, &entry)?;
        read += 1;
    }
    Ok(read)
}

/// Every row of every projection as text, in an order that depends on nothing but what is in them. The sums must be flushed.
///
/// # Errors
/// A failure of SQLite.
pub fn dump(db: &Connection) -> Result<String, StoreError> {
    let mut out = String::new();
    for (table, columns) in PROJECTIONS {
        let mut select = db.prepare(&format!("SELECT {columns} FROM {table}"))?;
        let width = select.column_count();
        let mut rows = select.query([])?;
        let mut lines = Vec::new();
        while let Some(r) = rows.next()? {
            let mut line = (*table).to_owned();
            for at in 0..width {
                line.push('|');
                line.push_str(&cell(r.get_ref(at)?));
            }
            lines.push(line);
        }
        lines.sort();
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
    }
    Ok(out)
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(r) => r.to_string(),
        ValueRef::Text(t) => String::from_utf8_lossy(t).replace(['\\', '|', '\n'], "\\"),
        ValueRef::Blob(b) => b.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
