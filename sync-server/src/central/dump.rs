//! The read model as text: two databases, or two ways of filling one, are the same when their dumps are.

use futures_util::{StreamExt, pin_mut};
use sha2::{Digest, Sha256};
use tokio_postgres::Transaction;

use super::{CentralError, Postgres};

/// The tables of the read model, in the order in which they are written out.
pub const TABLES: &[&str] = &[
    "account_adjustments",
    "device_progress",
    "devices",
    "exceptions",
    "incarnations",
    "open_order_payments",
    "open_orders",
    "orders",
    "products",
    "refunds",
    "shifts",
    "skipped_kinds",
    "staff",
    "stock_adjustments",
    "stock_counts",
    "stock_levels",
    "stores",
    "tax_classes",
];

/// A table's rows in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// Its name.
    pub table: &'static str,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 of its lines in a dump.
    pub sha256: [u8; 32],
}

/// Every row of the read model, a line each, sorted, behind a line with the table's name. For tests and for looking at a difference: the text is
/// as large as the tables.
///
/// # Errors
/// When Postgres does not answer or cannot do it.
pub async fn dump(central: &Postgres) -> Result<String, CentralError> {
    let mut loan = central.get().await?;
    let tx = snapshot(&mut loan).await?;
    let mut text = String::new();
    for table in TABLES {
        text.push_str(&format!("== {table}\n"));
        lines(&tx, table, |line| {
            text.push_str(line);
            text.push('\n');
        })
        .await?;
    }
    tx.rollback().await?;
    central.give_back(loan);
    Ok(text)
}

/// The digests of all tables, in order, as the transaction sees them.
pub(super) async fn digests(tx: &Transaction<'_>) -> Result<Vec<TableDigest>, CentralError> {
    let mut digests = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let (mut rows, mut hasher) = (0, Sha256::new());
        lines(tx, table, |line| {
            rows += 1;
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        })
        .await?;
        digests.push(TableDigest { table, rows, sha256: hasher.finalize().into() });
    }
    Ok(digests)
}

/// A transaction that sees one state of all tables.
pub(super) async fn snapshot(client: &mut tokio_postgres::Client) -> Result<Transaction<'_>, CentralError> {
    Ok(client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).read_only(true).start().await?)
}

async fn lines(tx: &Transaction<'_>, table: &str, mut each: impl FnMut(&str)) -> Result<(), CentralError> {
    let sql = format!("SELECT t::text AS line FROM {table} AS t ORDER BY t::text COLLATE \"C\"");
    let stream = tx.query_raw(&sql, std::iter::empty::<i32>()).await?;
    pin_mut!(stream);
    while let Some(row) = stream.next().await.transpose()? {
        each(row.get(0));
    }
    Ok(())
}
