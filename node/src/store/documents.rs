//! Changes taken into documents, and what those then say turned into rows.
//!
//! The log has every change that was signed. A document has those that [pass](sync_proto::documents::gate): each replica finds the same ones, in
//! whatever order they arrive. One that does not pass is noted in `unread` with the reason and holds up nothing; one that only came too early
//! is looked at again when its document goes on.

use std::collections::BTreeSet;

use domain::document::DocumentKind;
use journal::{Body, Entry, Scope};
use rusqlite::{Connection, OptionalExtension, params};
use sync_proto::documents::gate::{Refusal, Writer};
use sync_proto::documents::{self, Document, DocumentValue};
use sync_proto::scopes;

use super::project::{Effects, unread};
use super::{StoreError, ahead, catalogue, lines, log, open_orders, people, retention};

/// Changes of one document that may wait for others; honest tills have a few on their way.
const WAITING_MAX: u64 = 256;

/// A change, with the entry that it came in.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The entry's row.
    pub id: i64,
    /// The row of its origin, or of a line of that.
    pub origin: i64,
    /// The entry.
    pub entry: &'a Entry,
    /// What kind of document it is of.
    pub kind: DocumentKind,
    /// Which document.
    pub document: [u8; 16],
    /// The change itself.
    pub bytes: &'a [u8],
}

/// A document as it is here; an empty one when nobody has written it yet.
///
/// # Errors
/// A failure of SQLite, or a document that does not load.
pub fn load(db: &Connection, kind: DocumentKind, id: [u8; 16]) -> Result<Document, StoreError> {
    match saved(db, kind, id)? {
        Some(saved) => Document::load(kind, id, &saved).map_err(|_| StoreError::Damaged("a document")),
        None => Ok(Document::new(kind, id)),
    }
}

/// The bytes of a document, if somebody has written it.
///
/// # Errors
/// A failure of SQLite.
pub fn saved(db: &Connection, kind: DocumentKind, id: [u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
    let mut select = db.prepare_cached("SELECT saved FROM document WHERE kind = ? AND id = ?")?;
    Ok(select.query_row(params![kind as u16, id], |r| r.get(0)).optional()?)
}

/// Takes a change into its document, and those that waited for it.
///
/// # Errors
/// A failure of SQLite.
pub fn change(db: &Connection, change: &Change<'_>) -> Result<Effects, StoreError> {
    let Change { id, kind, document, bytes, .. } = *change;
    if ahead::tick_off(db, kind, document, bytes)? {
        return Ok(Effects::default());
    }
    if kind == DocumentKind::OpenOrder && retention::is_gone(db, document)? {
        return unread(db, id, retention::OF_GONE, None);
    }
    let mut into = match saved(db, kind, document)? {
        Some(saved) => match Document::load(kind, document, &saved) {
            Ok(loaded) => loaded,
            Err(why) => return unread(db, id, &why.to_string(), None),
        },
        None => Document::new(kind, document),
    };
    if let Err(why) = take(db, &mut into, change)? {
        let waits = why.may_pass_later() && waiting(db, document)? < WAITING_MAX;
        return unread(db, id, &why.to_string(), waits.then_some(document));
    }
    take_waiting(db, &mut into, kind, document)?;
    put(db, &into, Some(id))
}

/// Notes that an origin writes documents under the actor that follows from a seed, and takes in what waited for that.
///
/// # Errors
/// A failure of SQLite.
pub fn announce(db: &Connection, origin: i64, seed: [u8; 16]) -> Result<(), StoreError> {
    let root = lines::root(db, origin)?;
    let actor = documents::actor(&log::origin_of(db, root)?, seed);
    db.prepare_cached("INSERT OR IGNORE INTO actor (origin, actor) VALUES (?, ?)")?.execute(params![root, actor])?;
    let mut select = db.prepare_cached("SELECT DISTINCT waits_for FROM unread WHERE waits_for IS NOT NULL ORDER BY 1")?;
    let waiting: Vec<[u8; 16]> = select.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    for document in waiting {
        // Servers announce theirs with their first words; only open orders ask for it.
        let kind = DocumentKind::OpenOrder;
        let mut into = load(db, kind, document)?;
        if take_waiting(db, &mut into, kind, document)? {
            put(db, &into, None)?;
        }
    }
    Ok(())
}

/// How many changes of a document wait for others.
fn waiting(db: &Connection, document: [u8; 16]) -> Result<u64, StoreError> {
    Ok(db.prepare_cached("SELECT count(*) FROM unread WHERE waits_for = ?")?.query_row([document], |r| r.get(0))?)
}

/// Takes a change, if it passes.
fn take(db: &Connection, into: &mut Document, change: &Change<'_>) -> Result<Result<(), Refusal>, StoreError> {
    let scope: String = db
        .prepare_cached("SELECT s.name FROM entry e JOIN scope s ON s.id = e.scope WHERE e.id = ?")?
        .query_row([change.id], |r| r.get(0))?;
    let scope = Scope::new(scope).map_err(|_| StoreError::Damaged("a scope name"))?;
    let (device, store) = scopes::writers_of(&scope);
    let root = lines::root(db, change.origin)?;
    let mut select = db.prepare_cached("SELECT actor FROM actor WHERE origin = ?")?;
    let actors: BTreeSet<[u8; 16]> = select.query_map([root], |r| r.get(0))?.collect::<Result<_, _>>()?;
    let author = change.entry.staff.unwrap_or_default();
    let writer = Writer { actors: &actors, device, store, at: change.entry.at, author };
    Ok(into.take(change.bytes, &writer).map(drop))
}

/// Takes what waited for a document that has gone on, and what waited for that. Answers whether there was anything.
fn take_waiting(db: &Connection, into: &mut Document, kind: DocumentKind, document: [u8; 16]) -> Result<bool, StoreError> {
    let mut taken = false;
    loop {
        let mut select = db.prepare_cached(
            "SELECT e.id, e.origin, e.bytes FROM unread u JOIN entry e ON e.id = u.entry WHERE u.waits_for = ? ORDER BY e.id",
        )?;
        let waiting = select.query_map([document], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, Vec<u8>>(2)?)))?;
        let waiting: Vec<(i64, i64, Vec<u8>)> = waiting.collect::<Result<_, _>>()?;
        let mut progress = false;
        for (id, origin, entry) in waiting {
            let entry = Entry::decode(&entry).map_err(|_| StoreError::Damaged("an entry"))?;
            let Body::Change { kind: of, bytes, .. } = &entry.body else { continue };
            if *of == kind as u16 && take(db, into, &Change { id, origin, entry: &entry, kind, document, bytes })?.is_ok() {
                db.prepare_cached("DELETE FROM unread WHERE entry = ?")?.execute([id])?;
                progress = true;
            }
        }
        if !progress {
            return Ok(taken);
        }
        taken = true;
    }
}

/// Keeps a document and writes what it says. Where it makes no sense, the entry that changed it last is noted.
///
/// # Errors
/// A failure of SQLite.
pub fn put(db: &Connection, document: &Document, entry: Option<i64>) -> Result<Effects, StoreError> {
    db.prepare_cached(
        "INSERT INTO document (kind, id, saved) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET saved = excluded.saved",
    )?
    .execute(params![document.kind() as u16, document.id(), document.save()])?;
    match (document.value(), entry) {
        (Ok(value), _) => put_value(db, document, &value),
        // Some of its changes may be still to come.
        (Err(why), Some(entry)) => unread(db, entry, &why.to_string(), None),
        (Err(_), None) => Ok(Effects::default()),
    }
}

/// Writes what a document says.
///
/// # Errors
/// A failure of SQLite.
pub fn put_value(db: &Connection, document: &Document, value: &DocumentValue) -> Result<Effects, StoreError> {
    match value {
        DocumentValue::Product(p) => {
            catalogue::put_product(db, p)?;
            return Ok(Effects { catalogue: true, till: false });
        }
        DocumentValue::TaxClass(c) => {
            catalogue::put_tax_class(db, c)?;
            return Ok(Effects { catalogue: true, till: false });
        }
        // It is read from its document.
        DocumentValue::Picture(_) => return Ok(Effects { catalogue: true, till: false }),
        DocumentValue::OpenOrder(order) => open_orders::put(db, document, order)?,
        DocumentValue::Store(s) => people::put_store(db, s)?,
        DocumentValue::StaffMember(m) => people::put_staff(db, m)?,
    }
    Ok(Effects { catalogue: false, till: true })
}
