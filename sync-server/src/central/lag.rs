//! How far the read model is behind the entries.

use std::time::Duration;

use super::pool::in_time;
use super::{CentralError, Postgres};

/// How long the question may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// About how many entries the read model does not show yet. Numbers that a rolled back writer left unused count too.
///
/// # Errors
/// When the database does not answer, or is not migrated yet.
pub async fn projector_behind(central: &Postgres) -> Result<u64, CentralError> {
    let loan = central.get().await?;
    let behind = in_time("say how far the read model is", ANSWER_WAIT, async {
        let row = loan
            .query_one(
                "SELECT GREATEST(0,
                     GREATEST((SELECT COALESCE(max(central_seq), 0) FROM entries), (SELECT COALESCE(max(central_seq), 0) FROM forked_entries))
                     - central_seq)::bigint
                 FROM projector_cursor WHERE name = 'read_model'",
                &[],
            )
            .await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    })
    .await?;
    central.give_back(loan);
    Ok(behind)
}
