//! What the server itself writes: stores, staff, products, admitted devices.

use std::collections::BTreeSet;

use domain::document::{DocumentKind, Product, StaffMember, Store};
use domain::ids::{ProductId, StaffId, StoreId};
use domain::money::UnitPrice;
use domain::record::{DeviceEnrolment, DeviceKind, DeviceStart, RECORD_VERSION, Record};
use journal::{Body, NewEntry, Scope};
use rusqlite::{OptionalExtension, params};
use sync_proto::documents::{Document, DocumentError, DocumentValue};
use sync_proto::env::{Env, random};
use sync_proto::scopes;

use super::{Region, RegionError};

/// Documents of one commit when many are written, so that a commit stays well below a frame.
const DOCUMENTS_PER_COMMIT: usize = 250;

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

/// A product as an import gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductRow {
    /// The shop's code.
    pub code: String,
    /// The name.
    pub name: String,
    /// What one costs.
    pub price: UnitPrice,
    /// The tax rate in basis points.
    pub tax_rate_bp: u32,
    /// Codes that a scanner may read.
    pub barcodes: Vec<String>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Products that were not there.
    pub added: usize,
    /// Products that changed.
    pub changed: usize,
    /// Products that were there just so.
    pub unchanged: usize,
}

impl Region {
    /// Announces this server process: admits the server itself when the log is new, and says under which actor it writes documents.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn start(&mut self, now_ms: u64, software: &str) -> Result<(), AuthorError> {
        let own = domain::ids::DeviceId(uuid::Uuid::from_bytes(self.own.device));
        let mut records = Vec::new();
        if self.device(own).is_none() {
            records.push(Record::DeviceEnrolled(DeviceEnrolment {
                device: own,
                store: None,
                kind: DeviceKind::Server,
                name: "Sync server".to_owned(),
                number: 0,
                public_key: self.own_key.verifying_key().to_bytes(),
            }));
        }
        let software = software.to_owned();
        records.push(Record::DeviceStarted(DeviceStart { series: String::new(), actor: Some(self.actor), software }));
        self.write_records(records, now_ms)
    }

    /// Writes records into the directory as one commit.
    pub(super) fn write_records(&mut self, records: Vec<Record>, now_ms: u64) -> Result<(), AuthorError> {
        let entries = records.iter().map(|record| NewEntry { scope: scopes::directory(), body: body(record) }).collect();
        self.in_transaction(|region| region.commit_own(entries, now_ms))
    }

    /// Adds a store.
    ///
    /// # Errors
    /// A store with its code is there already, or the log refuses.
    pub fn add_store(&mut self, store: Store, now_ms: u64) -> Result<(), AuthorError> {
        if self.store_by_code(&store.code)?.is_some() {
            return Err(AuthorError::StoreExists(store.code));
        }
        let code = store.code.clone();
        self.write_documents(vec![(scopes::directory(), code, DocumentValue::Store(store))], now_ms)?;
        Ok(())
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
        let code = staff_code(store.id, &member.name);
        if self.document_id(DocumentKind::StaffMember, &code)?.is_some() {
            return Err(AuthorError::StaffExists { store: store_code.to_owned(), name: member.name });
        }
        self.write_documents(vec![(scopes::staff(store.id), code, DocumentValue::StaffMember(member))], now_ms)?;
        Ok(())
    }

    /// Adds products, and changes those whose code is there already. A product that is there just so is left alone.
    ///
    /// # Errors
    /// When the log refuses; then none is written.
    pub fn import_products(&mut self, rows: Vec<ProductRow>, env: &dyn Env) -> Result<ImportReport, AuthorError> {
        let mut report = ImportReport::default();
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let known = self.document_id(DocumentKind::Product, &row.code)?;
            let id = match known {
                Some(id) => ProductId(uuid::Uuid::from_bytes(id)),
                None => ProductId::new(env.unix_ms(), random(env)),
            };
            let ProductRow { code, name, price, tax_rate_bp, barcodes } = row;
            let product = Product { id, code: code.clone(), name, barcodes, price, tax_rate_bp, active: true };
            values.push((scopes::catalogue(), code, DocumentValue::Product(product)));
            report.added += usize::from(known.is_none());
        }
        let total = values.len();
        let written = self.write_documents(values, env.unix_ms())?;
        report.changed = written - report.added;
        report.unchanged = total - written;
        Ok(report)
    }

    /// Writes documents in commits of a bounded size, and answers how many changed.
    fn write_documents(&mut self, values: Vec<(Scope, String, DocumentValue)>, now_ms: u64) -> Result<usize, AuthorError> {
        self.in_transaction(|region| {
            let mut written = 0;
            for chunk in values.chunks(DOCUMENTS_PER_COMMIT) {
                let at = region.clock.tick(now_ms);
                let mut entries = Vec::new();
                for (scope, code, value) in chunk {
                    entries.extend(region.write_document(scope, code, value, at)?);
                }
                written += entries.len();
                if !entries.is_empty() {
                    region.commit_own(entries, now_ms)?;
                }
            }
            Ok(written)
        })
    }

    fn write_document(
        &mut self,
        scope: &Scope,
        code: &str,
        value: &DocumentValue,
        at: journal::Hlc,
    ) -> Result<Option<NewEntry>, AuthorError> {
        let (id, kind) = (value.id(), value.kind());
        let mut document = self.document(kind, id)?;
        let Some(change) = document.write(value, at, self.own.device, self.actor) else { return Ok(None) };
        self.db
            .prepare_cached("INSERT OR REPLACE INTO document (id, kind, scope, saved) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![id, kind as u16, scope.as_str(), document.save()])?;
        self.db.prepare_cached("INSERT OR REPLACE INTO document_code (kind, code, id) VALUES (?1, ?2, ?3)")?.execute(params![
            kind as u16,
            code,
            id
        ])?;
        let body = Body::Change { document: id, kind: kind as u16, bytes: change };
        Ok(Some(NewEntry { scope: scope.clone(), body }))
    }

    /// The document of an id, empty when nobody has written it.
    fn document(&self, kind: DocumentKind, id: [u8; 16]) -> Result<Document, AuthorError> {
        let saved: Option<Vec<u8>> =
            self.db.prepare_cached("SELECT saved FROM document WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()?;
        Ok(match saved {
            Some(saved) => Document::load(kind, id, &saved)?,
            None => Document::new(kind, id),
        })
    }

    fn document_id(&self, kind: DocumentKind, code: &str) -> Result<Option<[u8; 16]>, RegionError> {
        let id = self
            .db
            .prepare_cached("SELECT id FROM document_code WHERE kind = ?1 AND code = ?2")?
            .query_row(params![kind as u16, code], |row| row.get(0))
            .optional()?;
        Ok(id)
    }

    /// Chains, seals and stores one commit of the server's own, inside the open transaction.
    fn commit_own(&mut self, entries: Vec<NewEntry>, now_ms: u64) -> Result<(), AuthorError> {
        let mut chain = self.chain(self.own);
        self.clock = self.clock.tick(now_ms);
        let sealed = chain.append(&self.own_key, self.clock, None, entries);
        self.insert(self.own, &sealed.entries, Some(&sealed.signature))?;
        self.chains.insert(self.own, chain);
        Ok(())
    }

    /// The scopes that a device follows.
    pub fn followed_by(&self, device: &super::Device) -> BTreeSet<Scope> {
        device.store.map(|store| scopes::followed_by(device.kind, store)).unwrap_or_default().into_iter().collect()
    }
}

/// What a staff member's document is found by.
fn staff_code(store: StoreId, name: &str) -> String {
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
