//! The read model built again from nothing.
//!
//! One transaction empties the tables and projects every entry again. Rows are deleted and not truncated, so that readers go on
//! seeing the old figures until the moment it commits; the price is that the tables take about twice their space until Postgres has
//! cleaned up. Other projectors wait. `device_contact` is what servers heard and not a fold of entries: it stays.

use tokio_postgres::Transaction;

use super::{advance, lock};
use crate::central::dump::{self, TABLES, TableDigest};
use crate::central::{CentralError, Postgres};

/// Tables that are rebuilt and not part of a dump.
const WORKING: &[&str] = &["documents", "pending_parts", "record_keys"];

/// What a rebuild came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many entries were projected.
    pub entries: u64,
    /// Tables whose rows came out otherwise than they were. None is what should be; after an upgrade that taught the projector
    /// something there may be some.
    pub differing: Vec<String>,
}

/// Rebuilds the read model. With `only_check`, everything is undone afterwards and only the answer remains.
///
/// It takes as long as it takes: there is no limit but that of the connection.
///
/// # Errors
/// When Postgres does not answer or cannot do it; the read model is then as it was.
pub async fn reproject(central: &Postgres, only_check: bool) -> Result<Rebuilt, CentralError> {
    let mut loan = central.get().await?;
    let mut tx = loan.transaction().await?;
    tx.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    let Some(upto) = lock(&tx, true).await? else { return Ok(Rebuilt { entries: 0, differing: Vec::new() }) };
    let before = dump::digests(&tx).await?;
    empty(&tx).await?;
    let (mut cursor, mut entries) = (0, 0);
    loop {
        let projected = advance(&mut tx, cursor, upto).await?;
        if projected.entries == 0 {
            break;
        }
        cursor = projected.cursor;
        entries += projected.entries as u64;
        tracing::info!(entries, cursor, upto, "rebuilding the read model");
    }
    let after = dump::digests(&tx).await?;
    if only_check {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    central.give_back(loan);
    let differs = |(a, b): (&TableDigest, &TableDigest)| (a != b).then(|| b.table.to_owned());
    Ok(Rebuilt { entries, differing: before.iter().zip(&after).filter_map(differs).collect() })
}

async fn empty(tx: &Transaction<'_>) -> Result<(), CentralError> {
    for table in TABLES.iter().chain(WORKING) {
        tx.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    tx.execute("UPDATE projector_cursor SET central_seq = 0 WHERE name = 'read_model'", &[]).await?;
    Ok(())
}
