//! Documents for devices that are new, ahead of the log that they follow from.

use std::collections::BTreeSet;

use journal::Scope;
use rusqlite::params;
use sync_proto::documents::AHEAD;
use sync_proto::frame::{AHEAD_BYTES_MAX, DOCUMENTS_MAX, DocumentPlace, Documents, SavedDocument};

use super::{Region, RegionError};

impl Region {
    /// The documents in followed scopes that come after one, in the order of [`AHEAD`]: about as many bytes as told, and at least one if there is any.
    /// With the last of them comes where the log is. A place of no kind that is sent is before the first.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn documents_after(
        &self,
        followed: &BTreeSet<Scope>,
        after: DocumentPlace,
        bytes_max: usize,
    ) -> Result<Documents, RegionError> {
        let mut select =
            self.db.prepare_cached("SELECT id, scope, saved FROM document WHERE kind = ?1 AND id > ?2 ORDER BY id")?;
        let first = AHEAD.iter().position(|kind| *kind as u16 == after.kind);
        let (mut documents, mut bytes) = (Vec::new(), 0);
        for (n, kind) in AHEAD.into_iter().enumerate().skip(first.unwrap_or(0)) {
            // Nothing comes before the least id but the empty one.
            let beyond = if first == Some(n) { &after.id[..] } else { &[] };
            let mut rows = select.query(params![kind as u16, beyond])?;
            while let Some(row) = rows.next()? {
                let (scope, saved): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
                if saved.len() > AHEAD_BYTES_MAX || !followed.iter().any(|followed| followed.as_str() == scope) {
                    continue;
                }
                if documents.len() == DOCUMENTS_MAX || bytes > 0 && bytes + saved.len() > bytes_max {
                    return Ok(Documents { documents, until: None });
                }
                bytes += saved.len();
                documents.push(SavedDocument { kind: kind as u16, id: row.get(0)?, saved });
            }
        }
        Ok(Documents { documents, until: Some(self.last_seq) })
    }
}
