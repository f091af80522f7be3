//! The CRDT half: documents that people edit together, and how edits made at once agree.
//!
//! A document is one small Automerge document whose root maps a field's name to a byte string, the canonical CBOR array
//! `[value, hlc, author]`. Automerge keeps every value that was written at once; this module reads all of them and takes the one
//! with the highest (hlc, change hash), because Automerge's own winner ignores time. One person's action is one change.
//!
//! Nothing else is kept of who wrote what: [`Document::history`] reads it from the changes. Two edits made without seeing each other are
//! concurrent to Automerge too, because an edit is written on the state that its writer saw ([`Document::at`]).
//!
//! Bytes of others are tried on a copy first: Automerge is known to panic on, or be poisoned by, changes that are valid by hash. What a
//! server wrote passes [`Document::apply`]; what any other device wrote passes [`gate::admit`], which knows what it may be.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, Change, ObjId, ROOT, ReadDoc, ScalarValue};
use domain::document::{DocumentKind, Picture, Product, StaffMember, Store, TaxClass};
use domain::ids::PictureId;
use domain::open_order::OpenOrder;
use journal::{Hlc, Origin};
use sha2::{Digest, Sha256};

use fields::Fields;
pub use history::{ChangeHash, Conflict, ConflictWriting, FieldValue, Outcome, Undone, Writing};
use register::Register;

mod fields;
pub mod gate;
mod history;
pub mod open_order;
mod register;

/// Largest change in bytes.
pub const CHANGE_BYTES_MAX: usize = 64 * 1024;
/// Largest saved document in bytes.
pub const SAVED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The kinds of which a new device is sent the documents ahead of the log, in the order in which they are sent: what it takes to sell first,
/// pictures last.
pub const AHEAD: [DocumentKind; 5] =
    [DocumentKind::Store, DocumentKind::StaffMember, DocumentKind::TaxClass, DocumentKind::Product, DocumentKind::Picture];

/// The hash that a change goes by; none of bytes that are no change in its raw form.
pub fn change_hash(change: &[u8]) -> Option<ChangeHash> {
    let parsed = contained(|| Change::from_bytes(change.to_vec()).map_err(refused)).ok()?;
    (parsed.raw_bytes() == change).then(|| parsed.hash().0)
}

/// The Automerge actor that an origin writes documents under after it has announced a seed: the first 16 bytes of
/// SHA-256("evertill/actor/1" ‖ device ‖ incarnation ‖ seed). Nobody can announce, and so write under, the actor of another origin.
pub fn actor(origin: &Origin, seed: [u8; 16]) -> [u8; 16] {
    let hash = Sha256::new().chain_update(b"evertill/actor/1").chain_update(origin.device).chain_update(origin.incarnation);
    let hash: [u8; 32] = hash.chain_update(seed).finalize().into();
    *hash.first_chunk().expect("a hash has 32 bytes")
}

/// A document's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentValue {
    /// Something that can be sold.
    Product(Product),
    /// A shop.
    Store(Store),
    /// A person.
    StaffMember(StaffMember),
    /// A rate that many products share.
    TaxClass(TaxClass),
    /// A picture.
    Picture(Picture),
    /// A parked order or a table. It is written by what people do to it ([`open_order`]), not by [`Document::write`].
    OpenOrder(OpenOrder),
}

impl DocumentValue {
    /// What kind of document holds it.
    pub fn kind(&self) -> DocumentKind {
        match self {
            Self::Product(_) => DocumentKind::Product,
            Self::Store(_) => DocumentKind::Store,
            Self::StaffMember(_) => DocumentKind::StaffMember,
            Self::TaxClass(_) => DocumentKind::TaxClass,
            Self::Picture(_) => DocumentKind::Picture,
            Self::OpenOrder(_) => DocumentKind::OpenOrder,
        }
    }

    /// The id of the document that holds it.
    pub fn id(&self) -> [u8; 16] {
        match self {
            Self::Product(p) => *p.id.as_bytes(),
            Self::Store(s) => *s.id.as_bytes(),
            Self::StaffMember(m) => *m.id.as_bytes(),
            Self::TaxClass(c) => *c.id.as_bytes(),
            Self::Picture(p) => *p.id.as_bytes(),
            Self::OpenOrder(o) => *o.id.as_bytes(),
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
    /// What the change builds on is not here.
    #[error("it builds on a change that is not here")]
    Dependency,
    /// A state that this document has never had.
    #[error("the document has never been in that state")]
    UnknownHeads,
    /// A field is missing or makes no sense.
    #[error("field {field} of the document {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// How.
        why: &'static str,
    },
}

/// The id of the picture that some bytes are: the beginning of their SHA-256.
pub fn picture_id(bytes: &[u8]) -> PictureId {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let beginning = hash.first_chunk().expect("a hash has 32 bytes");
    PictureId(uuid::Uuid::from_bytes(*beginning))
}

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    id: [u8; 16],
    kind: DocumentKind,
    doc: Automerge,
    /// Its saved bytes, when they are known already.
    saved: Option<Vec<u8>>,
}

impl Document {
    /// A document that nobody has written yet.
    pub fn new(kind: DocumentKind, id: [u8; 16]) -> Self {
        Self { id, kind, doc: Automerge::new(), saved: None }
    }

    /// What it is a document of.
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// Which one it is.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// A document from its saved bytes.
    ///
    /// # Errors
    /// Bytes that are too large or no document.
    pub fn load(kind: DocumentKind, id: [u8; 16], saved: &[u8]) -> Result<Self, DocumentError> {
        if saved.len() > SAVED_BYTES_MAX {
            return Err(DocumentError::TooLarge { what: "a document", bytes: saved.len() });
        }
        let doc = contained(|| Automerge::load(saved).map_err(refused))?;
        Ok(Self { id, kind, doc, saved: None })
    }

    /// The bytes to keep.
    pub fn save(&self) -> Vec<u8> {
        self.saved.clone().unwrap_or_else(|| self.doc.save())
    }

    /// The state it is in, as the hashes of its newest changes, ascending: what [`Self::at`] takes.
    pub fn heads(&self) -> Vec<ChangeHash> {
        let mut heads: Vec<ChangeHash> = self.doc.get_heads().iter().map(|hash| hash.0).collect();
        heads.sort_unstable();
        heads
    }

    /// The hashes of all changes that it is made of.
    pub fn changes(&self) -> Vec<ChangeHash> {
        self.doc.get_changes_meta(&[]).iter().map(|change| change.hash.0).collect()
    }

    /// The document as it was in a state, to write what somebody decided who saw that state. The change is then applied to `self`. An
    /// actor that has written here before would be found to have written twice: such an edit is made under a fresh one.
    ///
    /// # Errors
    /// A state that the document has never had.
    pub fn at(&self, heads: &[ChangeHash]) -> Result<Self, DocumentError> {
        let hashes: Vec<_> = heads.iter().map(|hash| automerge::ChangeHash(*hash)).collect();
        let doc = self.doc.fork_at(&hashes).map_err(|_| DocumentError::UnknownHeads)?;
        Ok(Self { id: self.id, kind: self.kind, doc, saved: None })
    }

    /// Applies a change that a server wrote, and answers its hash. A change that is there already changes nothing. What another device wrote
    /// passes [`gate::admit`] instead.
    ///
    /// # Errors
    /// A change that is too large, refers to changes that are not here, or that Automerge does not take; the document is then as it was.
    pub fn apply(&mut self, change: &[u8]) -> Result<ChangeHash, DocumentError> {
        if change.len() > CHANGE_BYTES_MAX {
            return Err(DocumentError::TooLarge { what: "a change", bytes: change.len() });
        }
        let (tried, hash) = contained(|| {
            let parsed = Change::from_bytes(change.to_vec()).map_err(refused)?;
            if parsed.raw_bytes() != change {
                return Err(refused("it is not in its raw form"));
            }
            let hash = parsed.hash().0;
            Ok((self.tried(parsed)?, hash))
        })?;
        *self = tried;
        Ok(hash)
    }

    /// The document with a change, tried on a copy, as it loads from what it saves. May panic wherever Automerge does.
    fn tried(&self, change: Change) -> Result<Self, DocumentError> {
        let mut copy = self.doc.clone();
        copy.apply_changes([change]).map_err(refused)?;
        if !copy.get_missing_deps(&[]).is_empty() {
            return Err(DocumentError::Dependency);
        }
        let saved = copy.save();
        if saved.len() > SAVED_BYTES_MAX {
            return Err(DocumentError::TooLarge { what: "a document", bytes: saved.len() });
        }
        let doc = Automerge::load(&saved).map_err(refused)?;
        if doc.get_heads() != copy.get_heads() {
            return Err(refused("the document would not load as it was saved"));
        }
        Ok(Self { id: self.id, kind: self.kind, doc, saved: Some(saved) })
    }

    /// Writes the fields of `value` that differ, as one change of `actor`. Answers the change, or nothing when no field differs.
    ///
    /// `actor` is this process's own, random per start; `author` is who did it, and `at` when.
    ///
    /// # Panics
    /// When `value` is of another kind or id than the document, or an open order: a caller's mistake.
    pub fn write(&mut self, value: &DocumentValue, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Option<Vec<u8>> {
        assert!(value.kind() == self.kind && value.id() == self.id, "a document holds one kind and id");
        let differs = |field: &fields::Field| match self.field(field.key) {
            Some(written) => written != field.cbor,
            None => field.default.as_ref() != Some(&field.cbor),
        };
        let differing = fields::of(value).into_iter().filter(differs);
        self.put(differing.map(|field| (field.key.to_owned(), field.cbor)).collect(), at, author, actor)
    }

    /// Writes fields, as one change.
    fn put(&mut self, fields: Vec<(String, Vec<u8>)>, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Option<Vec<u8>> {
        if fields.is_empty() {
            return None;
        }
        self.saved = None;
        self.doc.set_actor(ActorId::from(actor));
        let mut tx = self.doc.transaction();
        for (key, value) in fields {
            let register = Register { value, at, author }.encode();
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
            DocumentKind::TaxClass => DocumentValue::TaxClass(fields.tax_class(self.id)?),
            DocumentKind::Picture => DocumentValue::Picture(fields.picture(self.id)?),
            DocumentKind::OpenOrder => DocumentValue::OpenOrder(self.open_order()?),
        })
    }

    /// The CBOR of a field's winning value.
    fn field(&self, key: &str) -> Option<Vec<u8>> {
        let registers = self.registers(key).into_iter();
        registers.max_by_key(|(register, change)| (register.at, *change)).map(|(register, _)| register.value)
    }

    /// What was written under a key at once, each with its change.
    fn registers(&self, key: &str) -> Vec<(Register, Option<ChangeHash>)> {
        let all = self.doc.get_all(ROOT, key).unwrap_or_default();
        // Which change wrote it decides between several only, and takes a while to find.
        let several = all.len() > 1;
        let of = |(value, id): (_, ObjId)| Some((Register::of(&value)?, several.then(|| self.written_by(&id)).flatten()));
        all.into_iter().filter_map(of).collect()
    }

    fn written_by(&self, id: &ObjId) -> Option<ChangeHash> {
        self.doc.hash_for_opid(id).map(|hash| hash.0)
    }
}

/// Runs what Automerge may panic in; the caller drops whatever it was working on.
fn contained<T>(f: impl FnOnce() -> Result<T, DocumentError>) -> Result<T, DocumentError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(refused("Automerge broke on it")))
}

fn refused(why: impl ToString) -> DocumentError {
    DocumentError::Refused(why.to_string())
}
