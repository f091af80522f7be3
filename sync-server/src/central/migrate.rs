//! The schema, brought up to date.
//!
//! Migrations are numbered, embedded, and applied once each in one transaction under an advisory lock, so that servers which start
//! together do not meet. One that was applied and then edited is refused. Numbers that this program does not know were
//! applied by a newer one and are left alone: the schema only ever widens between neighbouring versions.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::CentralError;

/// Number, name and text of each, in order.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "entries", include_str!("../../../migrations/central/0001_entries.sql")),
    (2, "read_model", include_str!("../../../migrations/central/0002_read_model.sql")),
    (3, "manager_accounts", include_str!("../../../migrations/central/0003_manager_accounts.sql")),
    (4, "catalogue", include_str!("../../../migrations/central/0004_catalogue.sql")),
    (5, "reports", include_str!("../../../migrations/central/0005_reports.sql")),
    (6, "seals", include_str!("../../../migrations/central/0006_seals.sql")),
    (7, "open_orders", include_str!("../../../migrations/central/0007_open_orders.sql")),
    (8, "servers", include_str!("../../../migrations/central/0008_servers.sql")),
    (9, "exceptions", include_str!("../../../migrations/central/0009_exceptions.sql")),
    (10, "orders_whole", include_str!("../../../migrations/central/0010_orders_whole.sql")),
    (11, "shift_cuts", include_str!("../../../migrations/central/0011_shift_cuts.sql")),
];

/// Advisory locks of this program: `pg_advisory_xact_lock(CLASS, which)`.
pub(super) mod locks {
    /// The letters "EVTL".
    pub(in crate::central) const CLASS: i32 = 0x4556_544c;
    /// Held while migrating.
    pub(in crate::central) const MIGRATE: i32 = 1;
    /// Held while appending entries.
    pub(in crate::central) const APPEND: i32 = 2;
    /// Held while projecting.
    pub(in crate::central) const PROJECT: i32 = 3;
}

/// Applies what is missing, and answers how many that were.
pub(super) async fn migrate(client: &mut Client) -> Result<usize, CentralError> {
    apply(client, MIGRATIONS).await
}

async fn apply(client: &mut Client, migrations: &[(i32, &str, &str)]) -> Result<usize, CentralError> {
    let tx = client.transaction().await?;
    // A migration may wait for another server's and may take long on a large table.
    tx.batch_execute("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0").await?;
    tx.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&locks::CLASS, &locks::MIGRATE]).await?;
    tx.batch_execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
            version     int PRIMARY KEY,
            name        text NOT NULL,
            -- SHA-256 of the migration's text
            checksum    bytea NOT NULL,
            applied_at  timestamptz NOT NULL DEFAULT now()
        )",
    )
    .await?;
    let mut applied = 0;
    for (version, name, sql) in migrations {
        let checksum = Sha256::digest(sql.as_bytes()).to_vec();
        let there = tx.query_opt("SELECT checksum FROM schema_migrations WHERE version = $1", &[version]).await?;
        match there.map(|row| row.get::<_, Vec<u8>>(0)) {
            Some(was) if was == checksum => {}
            Some(_) => return Err(CentralError::EditedMigration { version: *version }),
            None => {
                tx.batch_execute(sql).await?;
                tx.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                    &[version, name, &checksum],
                )
                .await?;
                applied += 1;
            }
        }
    }
    tx.commit().await?;
    Ok(applied)
}
