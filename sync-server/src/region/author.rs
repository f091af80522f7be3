//! What the server itself writes: stores, staff, the catalogue, admitted devices.
//!
//! * here: documents prepared, kept and committed, whatever they are; stores, staff and devices.
//! * `catalogue`: products, tax classes and pictures; `store`: a store's settings.

use std::collections::{BTreeMap, BTreeSet};

use domain::document::{DocumentKind, StaffMember, Store};
use domain::ids::{StaffId, StoreId};
use domain::record::{DeviceStart, RECORD_VERSION, Record};
use journal::{Body, Hlc, NewEntry, Scope};
use rusqlite::{OptionalExtension, params};
use sync_proto::documents::{ChangeHash, Document, DocumentError, DocumentValue, Writing};
use sync_proto::env::{Env, random};
use sync_proto::scopes;

use super::servers::server_called;
use super::{Region, RegionError};

pub(super) use catalogue::product_of;
pub use catalogue::{ProductPatch, TaxClassPatch, TaxPatch};
pub use store::StorePatch;

mod catalogue;
mod store;

/// Who edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Editor {
    /// Their id.
    pub id: [u8; 16],
    /// Their name.
    pub name: String,
}

/// A document as this server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentState {
    /// What it says.
    pub value: DocumentValue,
    /// The state it is in: what an editor gives back who saw it.
    pub seen: Vec<ChangeHash>,
    /// Every writing of every field, in the order of their times.
    pub history: Vec<Writing>,
}

/// Why the server wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// A store with this code is there already.
    #[error("there is a store {0} already")]
    StoreExists(String),
    /// No store has this code.
    #[error("there is no store {0}: add it with `store add`")]
    NoSuchStore(String),
    /// A device's name that is none.
    #[error("Give the device a name of 1 to 100 letters, without control characters.")]
    DeviceName,
    /// Someone of this name works there already.
    #[error("{name} works in store {store} already")]
    StaffExists {
        /// The store's code.
        store: String,
        /// The name.
        name: String,
    },
    /// What was asked cannot be; the sentence says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// Something else is there already; the sentence says what.
    #[error("{0}")]
    Conflict(String),
    /// There is no such document.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The editor saw a state that this server does not know.
    #[error("what you saw is not known here any more: load it again")]
    UnknownState,
    /// A document that does not read.
    #[error("a document does not read")]
    Document(#[from] DocumentError),
    /// The log refuses.
    #[error(transparent)]
    Region(#[from] RegionError),
}

impl From<rusqlite::Error> for AuthorError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Region(e.into())
    }
}

impl Region {
    /// Announces this server process. The server itself is admitted at once when the log is new. Under which actor this process writes documents it
    /// says with its first own words, not before: a log that was put back from a backup is not gone on with until that was noticed.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn start(&mut self, now_ms: u64, software: &str) -> Result<(), AuthorError> {
        let own = domain::ids::DeviceId(uuid::Uuid::from_bytes(self.own.device));
        self.software = software.to_owned();
        self.starting = Some(self.start_record());
        if self.device(own).is_some() {
            return Ok(());
        }
        let enrolled = server_called(own, &self.name(), self.own_key.verifying_key().to_bytes());
        self.write_records(vec![enrolled], now_ms)
    }

    pub(super) fn start_record(&self) -> DeviceStart {
        DeviceStart { series: String::new(), actor_seed: Some(self.actor_seed), software: self.software.clone() }
    }

    /// Writes what this process says of itself, if it has not yet.
    pub(super) fn write_start(&mut self, now_ms: u64) -> Result<(), AuthorError> {
        self.commit_own(Vec::new(), None, now_ms)
    }

    /// Applies a change of another server, or of a former incarnation of this one, as it comes from outside at a place of the log, and those that waited
    /// for it.
    pub(super) fn note_document(&mut self, entry: &journal::ChainedEntry, region_seq: u64) -> Result<(), RegionError> {
        let Body::Change { document, kind, bytes } = &entry.entry.body else { return Ok(()) };
        let Some(kind) = DocumentKind::from_number(*kind) else { return Ok(()) };
        if !self.take_in(&entry.scope, kind, *document, bytes, region_seq)? {
            return Ok(());
        }
        while self.take_in_waiting(&entry.scope, kind, *document)? {}
        Ok(())
    }

    /// Applies a change that came from outside. Answers whether it is in; one that came before what it builds on waits.
    fn take_in(
        &mut self,
        scope: &Scope,
        kind: DocumentKind,
        id: [u8; 16],
        change: &[u8],
        region_seq: u64,
    ) -> Result<bool, RegionError> {
        let taken = (|| {
            let mut document = self.document(kind, id)?;
            let before = self.existing(kind, id)?.map(|known| known.value()).transpose()?;
            document.apply(change)?;
            let after = document.value()?;
            self.keep(Prepared { scope: scope.clone(), document, change: change.to_vec(), before, after })?;
            Ok::<_, AuthorError>(())
        })();
        match taken {
            Ok(()) => {
                self.document_changes += 1;
                Ok(true)
            }
            Err(AuthorError::Region(error)) => Err(error),
            Err(AuthorError::Document(DocumentError::Dependency)) => {
                self.db
                    .prepare_cached("INSERT OR IGNORE INTO waiting (document, region_seq) VALUES (?1, ?2)")?
                    .execute(params![id, region_seq])?;
                Ok(false)
            }
            Err(error) => {
                tracing::error!(%error, "a change of a server cannot be applied");
                Ok(false)
            }
        }
    }

    /// Applies what waited for a document to go on. Answers whether anything did.
    fn take_in_waiting(&mut self, scope: &Scope, kind: DocumentKind, id: [u8; 16]) -> Result<bool, RegionError> {
        let mut select = self.db.prepare_cached(
            "SELECT w.region_seq, e.bytes FROM waiting w JOIN entry e USING (region_seq) WHERE w.document = ?1 ORDER BY w.region_seq",
        )?;
        let waiting = select.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<_>, _>>()?;
        drop(select);
        let mut progress = false;
        for (region_seq, bytes) in waiting {
            let (region_seq, bytes): (u64, Vec<u8>) = (region_seq, bytes);
            let entry = journal::Entry::decode(&bytes).map_err(|_| RegionError::Damaged("an entry"))?;
            let Body::Change { bytes, .. } = &entry.body else { continue };
            if self.take_in(scope, kind, id, bytes, region_seq)? {
                self.db
                    .prepare_cached("DELETE FROM waiting WHERE document = ?1 AND region_seq = ?2")?
                    .execute(params![id, region_seq])?;
                progress = true;
            }
        }
        Ok(progress)
    }

    /// Writes records into the directory as one commit.
    pub(super) fn write_records(&mut self, records: Vec<Record>, now_ms: u64) -> Result<(), AuthorError> {
        self.in_transaction(|region| region.keep_records(records, now_ms))
    }

    /// What [`Self::write_records`] does, inside the open transaction.
    pub(super) fn keep_records(&mut self, records: Vec<Record>, now_ms: u64) -> Result<(), AuthorError> {
        let entries = records.iter().map(|record| NewEntry { scope: scopes::directory(), body: body(record) }).collect();
        self.commit_own(entries, None, now_ms)
    }

    /// Adds a store.
    ///
    /// # Errors
    /// A store with its code is there already, or the log refuses.
    pub fn add_store(&mut self, store: Store, now_ms: u64) -> Result<(), AuthorError> {
        if self.store_by_code(&store.code)?.is_some() {
            return Err(AuthorError::StoreExists(store.code));
        }
        let at = self.clock.tick(now_ms);
        let prepared = self.prepare(scopes::directory(), &DocumentValue::Store(store), None, at)?;
        self.write(prepared.into_iter().collect(), None, now_ms)
    }

    /// The store of a code.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn store_by_code(&self, code: &str) -> Result<Option<Store>, AuthorError> {
        let Some(id) = self.document_id(DocumentKind::Store, code)? else { return Ok(None) };
        match self.document(DocumentKind::Store, id)?.value()? {
            DocumentValue::Store(store) => Ok(Some(store)),
            _ => Err(RegionError::Damaged("a store's document").into()),
        }
    }

    /// The currency that this region's stores count in; none when there is no store.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn currency(&self) -> Result<Option<domain::money::Currency>, AuthorError> {
        let code: Option<String> = self
            .db
            .query_row(
                "SELECT code FROM document_code WHERE kind = ?1 ORDER BY code LIMIT 1",
                [DocumentKind::Store as u16],
                |row| row.get(0),
            )
            .optional()?;
        let Some(code) = code else { return Ok(None) };
        Ok(self.store_by_code(&code)?.map(|store| store.currency))
    }

    /// The code of a store.
    ///
    /// # Errors
    /// No such store, or the log refuses.
    pub fn store_code(&self, store: StoreId) -> Result<String, AuthorError> {
        match self.document(DocumentKind::Store, *store.as_bytes())?.value()? {
            DocumentValue::Store(store) => Ok(store.code),
            _ => Err(RegionError::Damaged("a store's document").into()),
        }
    }

    /// Adds someone to a store's staff.
    ///
    /// # Errors
    /// No such store, someone of that name works there already, or the log refuses.
    pub fn add_staff(&mut self, store_code: &str, member: StaffMember, now_ms: u64) -> Result<(), AuthorError> {
        let store = self.store_by_code(store_code)?.ok_or_else(|| AuthorError::NoSuchStore(store_code.to_owned()))?;
        let scope = scopes::staff(store.id);
        if self.document_id(DocumentKind::StaffMember, &staff_code(&scope, &member.name))?.is_some() {
            return Err(AuthorError::StaffExists { store: store_code.to_owned(), name: member.name });
        }
        let at = self.clock.tick(now_ms);
        let prepared = self.prepare(scope, &DocumentValue::StaffMember(member), None, at)?;
        self.write(prepared.into_iter().collect(), None, now_ms)
    }

    /// A document with its history; none when there is none.
    ///
    /// # Errors
    /// When the log refuses, or the document does not read.
    pub fn state(&self, kind: DocumentKind, id: [u8; 16]) -> Result<Option<DocumentState>, AuthorError> {
        let Some(document) = self.existing(kind, id)? else { return Ok(None) };
        Ok(Some(DocumentState { value: document.value()?, seen: document.heads(), history: document.history() }))
    }

    /// The names of those who wrote documents here, as far as they are known.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn author_names(&self) -> Result<BTreeMap<[u8; 16], String>, AuthorError> {
        let mut names = super::rows(&self.db, "SELECT id, name FROM author", |row| Ok((row.get(0)?, row.get(1)?)))?;
        names.extend(self.devices.values().map(|device| (*device.device.as_bytes(), device.name.clone())));
        Ok(names)
    }

    /// Notes what managers are called, those too who write at other servers.
    ///
    /// # Errors
    /// When the log refuses; nothing is noted then.
    pub fn know_authors(&mut self, names: &BTreeMap<[u8; 16], String>) -> Result<(), RegionError> {
        self.in_transaction(|region| names.iter().try_for_each(|(id, name)| region.note_author(id, name)))
    }

    fn note_author(&self, id: &[u8; 16], name: &str) -> Result<(), RegionError> {
        self.db
            .prepare_cached("INSERT INTO author (id, name) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET name = excluded.name")?
            .execute(params![id, name])?;
        Ok(())
    }

    /// Everything of a kind that has a code, by code.
    ///
    /// # Errors
    /// When the log refuses, or a document does not read.
    pub fn all_of(&self, kind: DocumentKind) -> Result<Vec<DocumentState>, AuthorError> {
        let mut statement = self.db.prepare_cached("SELECT id FROM document_code WHERE kind = ?1 ORDER BY code, id")?;
        let ids = statement.query_map([kind as u16], |row| row.get(0))?.collect::<Result<Vec<[u8; 16]>, _>>()?;
        let states = ids.into_iter().filter_map(|id| self.state(kind, id).transpose());
        states.collect()
    }

    /// A new document, or a new state of one, ready to be kept; nothing when it says so already.
    pub(super) fn prepare(
        &self,
        scope: Scope,
        value: &DocumentValue,
        who: Option<&Editor>,
        at: Hlc,
    ) -> Result<Option<Prepared>, AuthorError> {
        let existing = self.existing(value.kind(), value.id())?;
        let before = existing.as_ref().map(Document::value).transpose()?;
        let mut document = existing.unwrap_or_else(|| Document::new(value.kind(), value.id()));
        let Some(change) = document.write(value, at, self.author(who), self.actor()) else { return Ok(None) };
        Ok(Some(Prepared { scope, after: value.clone(), document, change, before }))
    }

    /// An edit of a document by someone who saw it in a state: ready to be kept; nothing when it changes nothing.
    fn prepare_edit(
        &self,
        scope: Scope,
        document: Document,
        edit: Edit<'_>,
        patch: impl FnOnce(DocumentValue) -> Result<DocumentValue, AuthorError>,
    ) -> Result<Option<Prepared>, AuthorError> {
        let before = document.value()?;
        let stale = edit.seen.filter(|seen| *seen != document.heads());
        let (mut base, actor) = match stale {
            // A change beside others that this process made needs an actor of its own.
            Some(seen) => (document.at(seen).map_err(|_| AuthorError::UnknownState)?, edit.fresh_actor),
            None => (document.clone(), self.actor()),
        };
        let value = patch(base.value()?)?;
        let Some(change) = base.write(&value, edit.at, self.author(edit.who), actor) else { return Ok(None) };
        let document = match stale {
            Some(_) => {
                let mut merged = document;
                merged.apply(&change)?;
                merged
            }
            None => base,
        };
        Ok(Some(Prepared { scope, after: document.value()?, document, change, before: Some(before) }))
    }

    fn author(&self, who: Option<&Editor>) -> [u8; 16] {
        who.map_or(self.own.device, |who| who.id)
    }

    /// Keeps prepared documents and commits their changes, in one transaction.
    pub(super) fn write(&mut self, prepared: Vec<Prepared>, who: Option<&Editor>, now_ms: u64) -> Result<(), AuthorError> {
        if prepared.is_empty() {
            return Ok(());
        }
        self.in_transaction(|region| region.keep_all(prepared, who, now_ms))
    }

    /// What [`Self::write`] does, inside the open transaction.
    pub(super) fn keep_all(&mut self, prepared: Vec<Prepared>, who: Option<&Editor>, now_ms: u64) -> Result<(), AuthorError> {
        if let Some(Editor { id, name }) = who {
            self.note_author(id, name)?;
        }
        let entries = prepared.into_iter().map(|one| self.keep(one)).collect::<Result<_, _>>()?;
        self.commit_own(entries, who.map(|who| who.id), now_ms)
    }

    fn keep(&self, prepared: Prepared) -> Result<NewEntry, AuthorError> {
        let Prepared { scope, document, change, before, after } = prepared;
        let (id, kind) = (after.id(), after.kind());
        self.db
            .prepare_cached("INSERT OR REPLACE INTO document (id, kind, scope, saved) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![id, kind as u16, scope.as_str(), document.save()])?;
        let (old, new) = (before.as_ref().and_then(|value| code_of(&scope, value)), code_of(&scope, &after));
        if old != new {
            self.db.prepare_cached("DELETE FROM document_code WHERE kind = ?1 AND code = ?2 AND id = ?3")?.execute(params![
                kind as u16,
                old,
                id
            ])?;
            if let Some(code) = new {
                self.db
                    .prepare_cached("INSERT OR REPLACE INTO document_code (kind, code, id) VALUES (?1, ?2, ?3)")?
                    .execute(params![kind as u16, code, id])?;
            }
        }
        self.keep_barcodes(before.as_ref(), &after)?;
        Ok(NewEntry { scope, body: Body::Change { document: id, kind: kind as u16, bytes: change } })
    }

    /// The document of an id, empty when nobody has written it.
    fn document(&self, kind: DocumentKind, id: [u8; 16]) -> Result<Document, AuthorError> {
        Ok(self.existing(kind, id)?.unwrap_or_else(|| Document::new(kind, id)))
    }

    /// The document of an id and kind, if there is one.
    pub(super) fn existing(&self, kind: DocumentKind, id: [u8; 16]) -> Result<Option<Document>, AuthorError> {
        let saved: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT saved FROM document WHERE id = ?1 AND kind = ?2")?
            .query_row(params![id, kind as u16], |row| row.get(0))
            .optional()?;
        Ok(saved.map(|saved| Document::load(kind, id, &saved)).transpose()?)
    }

    /// The document of a code. Where several servers gave it at once, it is the oldest.
    pub(super) fn document_id(&self, kind: DocumentKind, code: &str) -> Result<Option<[u8; 16]>, RegionError> {
        Ok(self.document_ids(kind, code)?.first().copied())
    }

    /// All documents of a code, the oldest first: more than one where servers that did not see each other gave it.
    pub(super) fn document_ids(&self, kind: DocumentKind, code: &str) -> Result<Vec<[u8; 16]>, RegionError> {
        let mut select = self.db.prepare_cached("SELECT id FROM document_code WHERE kind = ?1 AND code = ?2 ORDER BY id")?;
        let ids = select.query_map(params![kind as u16, code], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Chains, seals and stores one commit of the server's own, inside the open transaction.
    fn commit_own(&mut self, entries: Vec<NewEntry>, staff: Option<[u8; 16]>, now_ms: u64) -> Result<(), AuthorError> {
        if let Some(start) = self.starting.take() {
            let start = NewEntry { scope: scopes::directory(), body: body(&Record::DeviceStarted(start)) };
            self.commit_own(vec![start], None, now_ms)?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut chain = self.chain(self.own);
        self.clock = self.clock.tick(now_ms);
        let sealed = chain.append(&self.own_key, self.clock, staff, entries);
        let row = self.origin_row(self.own)?;
        self.insert(self.own, row, &sealed.entries, Some(&sealed.signature))?;
        self.moved_on(row, chain);
        Ok(())
    }

    /// The scopes that a device follows.
    pub fn followed_by(&self, device: &super::Device) -> BTreeSet<Scope> {
        device.store.map(|store| scopes::followed_by(device.kind, store)).unwrap_or_default().into_iter().collect()
    }
}

/// A document as it will be, with the change that makes it so.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) scope: Scope,
    pub(super) document: Document,
    pub(super) change: Vec<u8>,
    pub(super) before: Option<DocumentValue>,
    pub(super) after: DocumentValue,
}

/// Who edits, when, and what they saw.
#[derive(Debug, Clone, Copy)]
struct Edit<'a> {
    seen: Option<&'a [ChangeHash]>,
    who: Option<&'a Editor>,
    at: Hlc,
    /// Used when they saw an older state.
    fresh_actor: [u8; 16],
}

/// What people find a document by; unique among those of its kind.
fn code_of(scope: &Scope, value: &DocumentValue) -> Option<String> {
    match value {
        DocumentValue::Product(p) => Some(p.code.clone()),
        DocumentValue::Store(s) => Some(s.code.clone()),
        DocumentValue::StaffMember(m) => Some(staff_code(scope, &m.name)),
        DocumentValue::TaxClass(c) => Some(tax_class_code(&c.name)),
        DocumentValue::Picture(_) | DocumentValue::OpenOrder(_) => None,
    }
}

/// A tax class is found by its name, whatever its capitals.
fn tax_class_code(name: &str) -> String {
    name.to_lowercase()
}

/// What a staff member's document is found by.
fn staff_code(scope: &Scope, name: &str) -> String {
    let store = scope.as_str().rsplit('/').next().unwrap_or_default();
    format!("{store}/{}", name.to_lowercase())
}

fn body(record: &Record) -> Body {
    Body::Record { kind: record.kind(), version: RECORD_VERSION, bytes: record.encode() }
}

/// A staff member with a hashed PIN.
///
/// # Errors
/// A PIN that is not 4 to 12 digits, with the sentence to show.
pub fn staff_member(name: &str, role: domain::staff::Role, pin: &str, env: &dyn Env) -> Result<StaffMember, &'static str> {
    use domain::staff::{PIN_DIGITS_MAX, PIN_DIGITS_MIN};
    if !(PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&pin.len()) || !pin.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a PIN is 4 to 12 digits");
    }
    let pin_hash = crate::secrets::hash(pin, random(env));
    let id = StaffId::new(env.unix_ms(), random(env));
    Ok(StaffMember { id, name: name.to_owned(), role, pin_hash, active: true })
}
