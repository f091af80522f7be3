//! Documents that came ahead of the log.
//!
//! A new till is sent the store, its staff and its products as the server has them, so that it sells before the history that they follow from is
//! here. That comes afterwards like everything else, and each change of such a document that it brings is ticked off. When the log has been read up
//! to where the server's was as it sent the last of them, nothing may be left: what is, no log has, and all documents are made from the log alone.

use domain::document::DocumentKind;
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::documents::{ChangeHash, Document, change_hash};
use sync_proto::frame::{DocumentPlace, SavedDocument};

use super::project::Effects;
use super::{StoreError, documents};

const AFTER: &str = "documents_after";
const UNTIL: &str = "documents_until";

/// After which document this replica asks for more; none when it has all that it asked for.
///
/// # Errors
/// A failure of SQLite.
pub fn after(db: &Connection) -> Result<Option<DocumentPlace>, StoreError> {
    let Some(place) = meta::<Vec<u8>>(db, AFTER)? else { return Ok(None) };
    let (kind, id) = place.split_first_chunk().ok_or(StoreError::Damaged("where the documents stand"))?;
    let id = id.try_into().map_err(|_| StoreError::Damaged("where the documents stand"))?;
    Ok(Some(DocumentPlace { kind: u16::from_be_bytes(*kind), id }))
}

/// Documents that are here, or asked for, and that the log has not brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Up to which region sequence the server's log has to be read before they are proven; none until the last of them is here.
    pub until: Option<u64>,
}

impl Ahead {
    /// Whether there are such documents.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn read(db: &Connection) -> Result<Option<Self>, StoreError> {
        let until = meta(db, UNTIL)?;
        Ok((until.is_some() || meta::<Vec<u8>>(db, AFTER)?.is_some()).then_some(Self { until }))
    }

    /// How much of the log that proves them has been read, in percent: at most 99.
    pub fn percent_read(self, region_seq: u64) -> u8 {
        let until = u128::from(self.until.unwrap_or(0));
        (u128::from(region_seq) * 100).checked_div(until).map_or(0, |percent| u8::try_from(percent.min(99)).expect("at most 99"))
    }
}

/// Asks for all of them again where the log has not brought all yet: another log is read now.
///
/// # Errors
/// A failure of SQLite.
pub fn begin_again(db: &Connection) -> Result<(), StoreError> {
    if Ahead::read(db)?.is_some() {
        set_after(db, DocumentPlace::START)?;
        forget(db, UNTIL)?;
    }
    Ok(())
}

/// Takes documents in that are not here yet. `until` comes with the last of them: how far the log has to be read before they are proven.
///
/// # Errors
/// A failure of SQLite. A document that does not read is left to the log.
pub fn take(db: &Connection, all: &[SavedDocument], until: Option<u64>) -> Result<Effects, StoreError> {
    let mut effects = Effects::default();
    for sent in all {
        let Some(kind) = DocumentKind::from_number(sent.kind).filter(|kind| *kind != DocumentKind::OpenOrder) else { continue };
        if documents::saved(db, kind, sent.id)?.is_some() {
            continue;
        }
        let read = Document::load(kind, sent.id, &sent.saved).and_then(|document| Ok((document.value()?, document)));
        let (value, document) = match read {
            Ok(read) => read,
            Err(why) => {
                tracing::warn!(kind = sent.kind, %why, "a document that the server sent does not read");
                continue;
            }
        };
        db.prepare_cached("INSERT INTO document (kind, id, saved) VALUES (?, ?, ?)")?.execute(params![
            kind as u16,
            sent.id,
            sent.saved
        ])?;
        db.prepare_cached("INSERT OR REPLACE INTO ahead (kind, id, changes) VALUES (?, ?, ?)")?.execute(params![
            kind as u16,
            sent.id,
            document.changes().as_flattened()
        ])?;
        effects.add(documents::put_value(db, &document, &value)?);
    }
    if let Some(last) = all.last() {
        set_after(db, DocumentPlace { kind: last.kind, id: last.id })?;
    }
    if let Some(until) = until {
        forget(db, AFTER)?;
        db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")?.execute(params![UNTIL, until])?;
    }
    Ok(effects)
}

/// Ticks a change off that the log has brought. Answers whether its document has it already.
///
/// # Errors
/// A failure of SQLite.
pub fn tick_off(db: &Connection, kind: DocumentKind, id: [u8; 16], change: &[u8]) -> Result<bool, StoreError> {
    let found: Option<Vec<u8>> = db
        .prepare_cached("SELECT changes FROM ahead WHERE kind = ? AND id = ?")?
        .query_row(params![kind as u16, id], |r| r.get(0))
        .optional()?;
    let (Some(found), Some(hash)) = (found, change_hash(change)) else { return Ok(false) };
    let (changes, _) = found.as_chunks::<32>();
    let left: Vec<ChangeHash> = changes.iter().filter(|change| **change != hash).copied().collect();
    if left.len() == changes.len() {
        return Ok(false);
    }
    if left.is_empty() {
        db.prepare_cached("DELETE FROM ahead WHERE kind = ? AND id = ?")?.execute(params![kind as u16, id])?;
    } else {
        db.prepare_cached("UPDATE ahead SET changes = ? WHERE kind = ? AND id = ?")?.execute(params![
            left.as_flattened(),
            kind as u16,
            id
        ])?;
    }
    Ok(true)
}

/// Looks whether the log, which was read up to a region sequence, has brought what came ahead of it. Answers none while it has not been read far
/// enough, and otherwise how many documents are of changes that it does not have: those are to be made anew.
///
/// # Errors
/// A failure of SQLite.
pub fn settle(db: &Connection, region_seq: u64) -> Result<Option<u64>, StoreError> {
    // A server that sends its log has sent its documents, or knows nothing of that.
    forget(db, AFTER)?;
    if meta::<u64>(db, UNTIL)?.is_some_and(|until| region_seq < until) {
        return Ok(None);
    }
    forget(db, UNTIL)?;
    let left: u64 = db.query_row("SELECT count(*) FROM ahead", [], |r| r.get(0))?;
    if left > 0 {
        db.execute("DELETE FROM ahead", [])?;
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('project_again', 1)", [])?;
    }
    Ok(Some(left))
}

/// The documents that the log has not brought all changes of.
///
/// # Errors
/// A failure of SQLite.
pub fn unproven(db: &Connection) -> Result<Vec<Document>, StoreError> {
    let mut select = db.prepare("SELECT kind, id, saved FROM document JOIN ahead USING (kind, id) ORDER BY kind, id")?;
    let rows = select.query_map([], |r| Ok((r.get::<_, u16>(0)?, r.get(1)?, r.get::<_, Vec<u8>>(2)?)))?;
    let mut all = Vec::new();
    for row in rows {
        let (kind, id, saved) = row?;
        let kind = DocumentKind::from_number(kind).ok_or(StoreError::Damaged("the kind of a document"))?;
        all.push(Document::load(kind, id, &saved).map_err(|_| StoreError::Damaged("a document"))?);
    }
    Ok(all)
}

fn meta<T: rusqlite::types::FromSql>(db: &Connection, key: &str) -> Result<Option<T>, StoreError> {
    Ok(db.prepare_cached("SELECT value FROM meta WHERE key = ?")?.query_row([key], |r| r.get(0)).optional()?)
}

fn set_after(db: &Connection, DocumentPlace { kind, id }: DocumentPlace) -> Result<(), StoreError> {
    let place = [&kind.to_be_bytes()[..], &id].concat();
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")?.execute(params![AFTER, place])?;
    Ok(())
}

fn forget(db: &Connection, key: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM meta WHERE key = ?")?.execute([key])?;
    Ok(())
}
