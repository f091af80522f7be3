//! The read model built again from nothing.
//!
//! One transaction empties the tables and projects every entry again. Rows are deleted and not truncated, so that readers go on
//! seeing the old figures until the moment it commits; the price is that the tables take about twice their space until Postgres has
//! cleaned up. Other projectors wait. `device_contact` is what servers heard and not a fold of entries: it stays.
//!
//! A program that writes another shape of the read model than the one it finds does this by itself ([`renew`]) before it projects
//! on. Whoever asks meanwhile reads the old rows, and the coverage of the answer says so. A server that stops in the middle leaves
//! everything as it was; the next one begins again.

use tokio_postgres::Transaction;

use super::{FOR_FOLDING, Position, Projected, READ_MODEL, advance, lock};
use crate::central::dump::{self, TABLES, TableDigest};
use crate::central::{CentralError, Postgres};

/// Tables that are rebuilt and not part of a dump.
const WORKING: &[&str] =
    &["announced_actors", "documents", "open_order_documents", "pending_parts", "record_keys", "waiting_changes"];

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
    let Some(position) = lock(&tx, true).await? else { return Ok(Rebuilt { entries: 0, differing: Vec::new() }) };
    if position.version > READ_MODEL {
        return Err(CentralError::NewerReadModel { found: position.version, known: READ_MODEL });
    }
    let before = dump::digests(&tx).await?;
    let entries = refold(&mut tx, position.cursor).await?;
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

/// Rebuilds the read model when it has an older shape than this program's.
pub(super) async fn renew(central: &Postgres) -> Result<Projected, CentralError> {
    let mut loan = central.get().await?;
    let mut tx = loan.transaction().await?;
    tx.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    let mut done = Projected { entries: 0, cursor: 0, elsewhere: false };
    if let Some(Position { cursor, version }) = lock(&tx, true).await?
        && version < READ_MODEL
    {
        tracing::info!(from = version, to = READ_MODEL, "the figures are built again from the entries after an update");
        let entries = refold(&mut tx, cursor).await?;
        tracing::info!(entries, "the figures are built");
        done = Projected { entries: usize::try_from(entries).unwrap_or(usize::MAX), cursor, elsewhere: false };
    }
    tx.commit().await?;
    central.give_back(loan);
    Ok(done)
}

/// Empties the read model, projects the entries up to `upto` again, and notes the shape.
async fn refold(tx: &mut Transaction<'_>, upto: i64) -> Result<u64, CentralError> {
    tx.batch_execute(FOR_FOLDING).await?;
    empty(tx).await?;
    let (mut cursor, mut entries) = (0, 0);
    loop {
        let projected = advance(tx, cursor, upto, None).await?;
        if projected.entries == 0 {
            break;
        }
        cursor = projected.cursor;
        entries += projected.entries as u64;
        tracing::info!(entries, cursor, upto, "rebuilding the read model");
    }
    tx.execute("UPDATE projector_cursor SET version = $1 WHERE name = 'read_model'", &[&READ_MODEL]).await?;
    Ok(entries)
}

async fn empty(tx: &Transaction<'_>) -> Result<(), CentralError> {
    for table in TABLES.iter().chain(WORKING) {
        tx.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    tx.execute("UPDATE projector_cursor SET central_seq = 0 WHERE name = 'read_model'", &[]).await?;
    Ok(())
}
