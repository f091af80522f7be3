//! The CRDT half: documents that people edit together, and how edits made at once agree.
//!
//! A document is one small Automerge document whose root maps a field's name to a byte string, the canonical CBOR array
//! `[value, hlc, author]`. Automerge keeps every value that was written at once; this module reads all of them and takes the one
//! with the highest (hlc, change hash), because Automerge's own winner ignores time. One person's action is one change.
//!
//! Bytes of others pass [`Document::apply`], which bounds them and tries them on a copy first: Automerge is known to panic on, or be
//! poisoned by, changes that are valid by hash.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, Change, ObjId, ROOT, ReadDoc, ScalarValue, Value};
use domain::document::{BARCODES_MAX, CODE_BYTES_MAX, DocumentKind, NAME_BYTES_MAX, Product, StaffMember, Store};
use domain::ids::{ProductId, StaffId, StoreId};
use domain::money::{Currency, UnitPrice};
use domain::staff::Role;
use domain::tax::{TAX_RATE_BP_MAX, TaxMode};
use journal::Hlc;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// Largest change in bytes.
pub const CHANGE_BYTES_MAX: usize = 64 * 1024;
/// Largest saved document in bytes.
pub const SAVED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A document's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentValue {
    /// Something that can be sold.
    Product(Product),
    /// A shop.
    Store(Store),
    /// A person.
    StaffMember(StaffMember),
}

impl DocumentValue {
    /// What kind of document holds it.
    pub fn kind(&self) -> DocumentKind {
        match self {
            Self::Product(_) => DocumentKind::Product,
            Self::Store(_) => DocumentKind::Store,
            Self::StaffMember(_) => DocumentKind::StaffMember,
        }
    }

    /// The id of the document that holds it.
    pub fn id(&self) -> [u8; 16] {
        match self {
            Self::Product(p) => *p.id.as_bytes(),
            Self::Store(s) => *s.id.as_bytes(),
            Self::StaffMember(m) => *m.id.as_bytes(),
        }
    }
}

/// Why a document did not load, change or read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A change or document beyond its bound.
    #[error("{what} of {bytes} bytes is too large")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large.
        bytes: usize,
    },
    /// Automerge does not take it.
    #[error("the change is refused: {0}")]
    Refused(String),
    /// A field is missing or makes no sense.
    #[error("field {field} of the document {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// How.
        why: &'static str,
    },
}

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    id: [u8; 16],
    kind: DocumentKind,
    doc: Automerge,
}

impl Document {
    /// A document that nobody has written yet.
    pub fn new(kind: DocumentKind, id: [u8; 16]) -> Self {
        Self { id, kind, doc: Automerge::new() }
    }

    /// A document from its saved bytes.
    ///
    /// # Errors
    /// Bytes that are too large or no document.
    pub fn load(kind: DocumentKind, id: [u8; 16], saved: &[u8]) -> Result<Self, DocumentError> {
        if saved.len() > SAVED_BYTES_MAX {
            return Err(DocumentError::TooLarge { what: "a document", bytes: saved.len() });
        }
        let doc = contained(|| Automerge::load(saved).map_err(|e| e.to_string()))?;
        Ok(Self { id, kind, doc })
    }

    /// The bytes to keep.
    pub fn save(&self) -> Vec<u8> {
        self.doc.save()
    }

    /// Applies a change of someone else. A change that is there already changes nothing.
    ///
    /// # Errors
    /// A change that is too large, refers to changes that are not here, or that Automerge does not take; the document is then as it was.
    pub fn apply(&mut self, change: &[u8]) -> Result<(), DocumentError> {
        if change.len() > CHANGE_BYTES_MAX {
            return Err(DocumentError::TooLarge { what: "a change", bytes: change.len() });
        }
        let tried = contained(|| {
            let parsed = Change::from_bytes(change.to_vec()).map_err(|e| e.to_string())?;
            if parsed.raw_bytes() != change {
                return Err("it is not in its raw form".to_owned());
            }
            let mut copy = self.doc.clone();
            copy.apply_changes([parsed]).map_err(|e| e.to_string())?;
            if !copy.get_missing_deps(&[]).is_empty() {
                return Err("it builds on changes that are not here".to_owned());
            }
            let saved = copy.save();
            if saved.len() > SAVED_BYTES_MAX {
                return Err("the document would grow too large".to_owned());
            }
            Automerge::load(&saved).map_err(|e| e.to_string())?;
            Ok(copy)
        })?;
        self.doc = tried;
        Ok(())
    }

    /// Writes the fields of `value` that differ, as one change of `actor`. Answers the change, or nothing when no field differs.
    ///
    /// `actor` is this process's own, random per start; `author` is who did it, and `at` when.
    ///
    /// # Panics
    /// When `value` is of another kind or id than the document: a caller's mistake.
    pub fn write(&mut self, value: &DocumentValue, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Option<Vec<u8>> {
        assert!(value.kind() == self.kind && value.id() == self.id, "a document holds one kind and id");
        let fields = to_fields(value);
        let differing: Vec<_> = fields.into_iter().filter(|(key, cbor)| self.field(key).as_ref() != Some(cbor)).collect();
        if differing.is_empty() {
            return None;
        }
        self.doc.set_actor(ActorId::from(actor));
        let mut tx = self.doc.transaction();
        for (key, cbor) in differing {
            let register = Register { value: cbor, at, author }.encode();
            tx.put(ROOT, key, ScalarValue::Bytes(register)).expect("the root of a document is a map");
        }
        tx.commit_with(CommitOptions::default().with_time(0));
        Some(self.doc.get_last_local_change().expect("a field was put").raw_bytes().to_vec())
    }

    /// The value that every replica with the same changes reads.
    ///
    /// # Errors
    /// A field that is missing, of the wrong type or out of bounds.
    pub fn value(&self) -> Result<DocumentValue, DocumentError> {
        let fields = Fields { of: self };
        Ok(match self.kind {
            DocumentKind::Product => DocumentValue::Product(fields.product(self.id)?),
            DocumentKind::Store => DocumentValue::Store(fields.store(self.id)?),
            DocumentKind::StaffMember => DocumentValue::StaffMember(fields.staff(self.id)?),
        })
    }

    /// The CBOR of a field's winning value.
    fn field(&self, key: &str) -> Option<Vec<u8>> {
        let all = self.doc.get_all(ROOT, key).ok()?;
        all.into_iter()
            .filter_map(|(value, id)| Some((Register::of(&value)?, self.written_by(&id))))
            .max_by_key(|(register, change)| (register.at, *change))
            .map(|(register, _)| register.value)
    }

    fn written_by(&self, id: &ObjId) -> Option<[u8; 32]> {
        self.doc.hash_for_opid(id).map(|hash| hash.0)
    }
}

/// Runs what Automerge may panic in; the caller drops whatever it was working on.
fn contained<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, DocumentError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err("Automerge broke on it".to_owned())).map_err(DocumentError::Refused)
}

/// A field's value with who wrote it and when.
struct Register {
    value: Vec<u8>,
    at: Hlc,
    author: [u8; 16],
}

impl Register {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0x83];
        out.extend_from_slice(&self.value);
        let written = Encoder::new(&mut out).u64(self.at.0).and_then(|e| e.bytes(&self.author)).map(|_| ());
        written.expect("writing to a Vec cannot fail");
        out
    }

    fn of(value: &Value<'_>) -> Option<Self> {
        let Value::Scalar(scalar) = value else { return None };
        let ScalarValue::Bytes(bytes) = scalar.as_ref() else { return None };
        journal::cbor::check_canonical(bytes).ok()?;
        let mut d = Decoder::new(bytes);
        if d.array().ok()? != Some(3) {
            return None;
        }
        let from = d.position();
        d.skip().ok()?;
        let value = bytes[from..d.position()].to_vec();
        let at = Hlc(d.u64().ok()?);
        Some(Self { value, at, author: d.bytes().ok()?.try_into().ok()? })
    }
}

fn cbor(
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), minicbor::encode::Error<core::convert::Infallible>>,
) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out)).expect("writing to a Vec cannot fail");
    out
}

fn text(s: &str) -> Vec<u8> {
    cbor(|e| e.str(s)?.ok())
}

fn texts(all: &[String]) -> Vec<u8> {
    cbor(|e| {
        e.array(all.len() as u64)?;
        for s in all {
            e.str(s)?;
        }
        Ok(())
    })
}

fn to_fields(value: &DocumentValue) -> Vec<(&'static str, Vec<u8>)> {
    match value {
        DocumentValue::Product(p) => vec![
            ("active", cbor(|e| e.bool(p.active)?.ok())),
            ("barcodes", texts(&p.barcodes)),
            ("code", text(&p.code)),
            ("name", text(&p.name)),
            ("price", cbor(|e| e.i64(p.price.0)?.ok())),
            ("tax_rate_bp", cbor(|e| e.u32(p.tax_rate_bp)?.ok())),
        ],
        DocumentValue::Store(s) => vec![
            ("address", texts(&s.address)),
            ("code", text(&s.code)),
            ("currency", text(s.currency.code())),
            ("name", text(&s.name)),
            ("receipt_footer", text(&s.receipt_footer)),
            ("tax_exclusive", cbor(|e| e.bool(s.tax_mode == TaxMode::Exclusive)?.ok())),
        ],
        DocumentValue::StaffMember(m) => vec![
            ("active", cbor(|e| e.bool(m.active)?.ok())),
            ("name", text(&m.name)),
            ("pin_hash", text(&m.pin_hash)),
            ("role", text(m.role.as_str())),
        ],
    }
}

struct Fields<'a> {
    of: &'a Document,
}

impl Fields<'_> {
    fn product(&self, id: [u8; 16]) -> Result<Product, DocumentError> {
        Ok(Product {
            id: ProductId(uuid::Uuid::from_bytes(id)),
            code: self.text("code", CODE_BYTES_MAX)?,
            name: self.text("name", NAME_BYTES_MAX)?,
            barcodes: self.texts("barcodes", BARCODES_MAX, CODE_BYTES_MAX)?,
            price: UnitPrice(self.read("price", |d| d.i64().ok())?)
                .checked()
                .map_err(|_| DocumentError::Field { field: "price", why: "is out of bounds" })?,
            tax_rate_bp: self.read("tax_rate_bp", |d| d.u32().ok().filter(|&r| r <= TAX_RATE_BP_MAX))?,
            active: self.read("active", |d| d.bool().ok())?,
        })
    }

    fn store(&self, id: [u8; 16]) -> Result<Store, DocumentError> {
        Ok(Store {
            id: StoreId(uuid::Uuid::from_bytes(id)),
            code: self.text("code", 16)?,
            name: self.text("name", NAME_BYTES_MAX)?,
            address: self.texts("address", 16, NAME_BYTES_MAX)?,
            currency: self.read("currency", |d| Currency::new(d.str().ok()?))?,
            tax_mode: match self.read("tax_exclusive", |d| d.bool().ok())? {
                true => TaxMode::Exclusive,
                false => TaxMode::Inclusive,
            },
            receipt_footer: self.text("receipt_footer", NAME_BYTES_MAX)?,
        })
    }

    fn staff(&self, id: [u8; 16]) -> Result<StaffMember, DocumentError> {
        Ok(StaffMember {
            id: StaffId(uuid::Uuid::from_bytes(id)),
            name: self.text("name", NAME_BYTES_MAX)?,
            role: self.read("role", |d| Role::from_word(d.str().ok()?))?,
            pin_hash: self.text("pin_hash", 256)?,
            active: self.read("active", |d| d.bool().ok())?,
        })
    }

    fn read<T>(&self, field: &'static str, read: impl FnOnce(&mut Decoder<'_>) -> Option<T>) -> Result<T, DocumentError> {
        let bytes = self.of.field(field).ok_or(DocumentError::Field { field, why: "is missing" })?;
        read(&mut Decoder::new(&bytes)).ok_or(DocumentError::Field { field, why: "makes no sense" })
    }

    fn text(&self, field: &'static str, bytes_max: usize) -> Result<String, DocumentError> {
        self.read(field, |d| d.str().ok().filter(|s| s.len() <= bytes_max).map(str::to_owned))
    }

    fn texts(&self, field: &'static str, most: usize, bytes_max: usize) -> Result<Vec<String>, DocumentError> {
        self.read(field, |d| {
            let n = d.array().ok()??;
            if usize::try_from(n).ok()? > most {
                return None;
            }
            (0..n)
                .map(|_| match d.datatype() {
                    Ok(Type::String) => d.str().ok().filter(|s| s.len() <= bytes_max).map(str::to_owned),
                    _ => None,
                })
                .collect()
        })
    }
}
