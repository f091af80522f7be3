//! The gate: what a change of a device has to be before Automerge may work on it, and what it may do.
//!
//! Automerge trusts whom it synchronises with. Changes of 69 bytes that claim ten million operations, chunks that inflate without a
//! bound, changes that make it panic, and changes that it takes and that make the saved document unreadable for ever are all valid by their hash.
//! So the bytes of a device pass [`admit`], in this order:
//!
//! 1. who wrote the entry may write documents of that kind at all;
//! 2. [`preflight()`]: the outer form, and what every column claims, without Automerge;
//! 3. Automerge reads it, and writes the same bytes again when it is asked to;
//! 4. its place: an actor that the entry's origin announced, that goes on where it stopped, on changes that are here;
//! 5. its operations: each puts one register of the entry's time and author under a key that the kind has, over exactly what its writer
//!    saw there, and no other operation occurs;
//! 6. it is tried on a copy, which must save, load and come to the same heads;
//! 7. the result still reads, is within its bounds, and belongs to the writer's store.
//!
//! Whatever Automerge panics in is contained: the copy is dropped with it. But for the bounds, and an actor that writes twice at one place, a
//! verdict depends only on the change and on what it builds on: replicas that get the same honest changes in another order admit them all, once
//! they have what each of them waits for ([`Refusal::may_pass_later`]). Who of the staff may do what is the writing till's to ask: it holds the key
//! that the entry is signed with, and could name anybody.
//!
//! A change of a till to an open order of 46 changes and 1 KB costs about half a millisecond (optimised, on a core of the development
//! machine; `what_a_change_costs` in the tests measures it). A third of a microsecond of that is the preflight; to apply the same change as
//! a server's, on a copy too, costs two thirds.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{Change, ObjId, ROOT, ReadDoc};
use domain::document::DocumentKind;
use domain::ids::StoreId;
use domain::record::DeviceKind;
use journal::Hlc;

use super::register::Register;
use super::{ChangeHash, Document, DocumentError, DocumentValue, fields, open_order};
pub use preflight::{DEPENDENCIES_MAX, KEY_BYTES_MAX, OTHER_ACTORS_MAX, ROWS_MAX, preflight};
pub use refusal::Refusal;

mod preflight;
mod refusal;

/// Most operations of a document that devices write.
pub const OPERATIONS_MAX: u64 = 8_000;

/// Who wrote the entry that a change came in.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The actors that the entry's origin announced.
    pub actors: &'a BTreeSet<[u8; 16]>,
    /// What kind of device its origin is.
    pub device: DeviceKind,
    /// The store whose scope the entry is in; none when it is in no store's.
    pub store: Option<StoreId>,
    /// The entry's time.
    pub at: Hlc,
    /// Who did it: the member of staff, or the server.
    pub author: [u8; 16],
}

/// A change that passed.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The document with the change, as it was loaded from the bytes that it saves as.
    pub document: Document,
    /// The hash of the change.
    pub change: ChangeHash,
}

/// Admits a change of a device to a document, none when nobody has written it yet; `kind` and `id` are what the entry says. A change that
/// is there already changes nothing, whoever brings it.
///
/// # Errors
/// The first rule that it breaks.
///
/// # Panics
/// When `document` is not of that kind and id: a caller's mistake.
pub fn admit(
    document: Option<&Document>,
    kind: DocumentKind,
    id: [u8; 16],
    bytes: &[u8],
    writer: &Writer<'_>,
) -> Result<Admitted, Refusal> {
    assert!(document.is_none_or(|document| document.kind == kind && document.id == id), "a document holds one kind and id");
    may_write(kind, writer)?;
    preflight(bytes)?;
    let new = Document::new(kind, id);
    let gate = Gate { document: document.unwrap_or(&new), writer };
    catch_unwind(AssertUnwindSafe(|| gate.admit(bytes))).unwrap_or(Err(Refusal::Broke))
}

/// Tills write open orders, servers everything else.
fn may_write(kind: DocumentKind, writer: &Writer<'_>) -> Result<(), Refusal> {
    let is_order = kind == DocumentKind::OpenOrder;
    match (writer.device, is_order) {
        (DeviceKind::Server, false) => Ok(()),
        (DeviceKind::Till, true) if writer.store.is_none() => Err(Refusal::OtherStore),
        (DeviceKind::Till, true) => Ok(()),
        (device, _) => Err(Refusal::NotForDevice { kind, device }),
    }
}

fn at_most(what: &'static str, claimed: u64, most: u64) -> Result<u64, Refusal> {
    if claimed > most { Err(Refusal::TooMany { what, claimed }) } else { Ok(claimed) }
}

impl Document {
    /// Takes a change, whoever wrote it, and answers its hash: what a server wrote is [applied](Document::apply), what any other device wrote is
    /// [admitted](admit) or not. A change that is there already changes nothing.
    ///
    /// # Errors
    /// Why it is not taken; the document is then as it was.
    pub fn take(&mut self, bytes: &[u8], writer: &Writer<'_>) -> Result<ChangeHash, Refusal> {
        if writer.device == DeviceKind::Server && self.kind != DocumentKind::OpenOrder {
            return self.apply(bytes).map_err(|why| match why {
                DocumentError::Dependency => Refusal::Dependency,
                why => Refusal::NotTaken(why.to_string()),
            });
        }
        let Admitted { document, change } = admit(Some(self), self.kind, self.id, bytes, writer)?;
        *self = document;
        Ok(change)
    }
}

/// What a change is held against.
struct Gate<'a> {
    document: &'a Document,
    writer: &'a Writer<'a>,
}

/// One key that a change writes.
struct Put {
    key: String,
    register: Register,
}

impl Gate<'_> {
    /// May panic wherever Automerge does.
    fn admit(&self, bytes: &[u8]) -> Result<Admitted, Refusal> {
        let change = Change::from_bytes(bytes.to_vec()).map_err(|why| Refusal::Unreadable(why.to_string()))?;
        if Change::from(change.decode()).raw_bytes() != bytes {
            return Err(Refusal::NotCanonical);
        }
        let hash = change.hash().0;
        if self.document.doc.get_change_meta_by_hash(&change.hash()).is_some() {
            return Ok(Admitted { document: self.document.clone(), change: hash });
        }
        self.place(&change)?;
        // What its writer saw: the keys that had a value in the state that the change builds on.
        let seen = self.document.doc.keys_at(ROOT, change.deps()).collect();
        let puts = self.operations(&change, &seen)?;
        if self.document.kind == DocumentKind::OpenOrder {
            self.open_order(&change, &puts, &seen)?;
            let claimed = self.document.doc.stats().num_ops.saturating_add(puts.len() as u64);
            at_most("operations of one document", claimed, OPERATIONS_MAX)?;
        }
        let document = self.document.tried(change).map_err(|why| Refusal::NotTaken(why.to_string()))?;
        self.result(&document)?;
        Ok(Admitted { document, change: hash })
    }

    /// Whether it is the next change of an actor of its writer, on changes that are here.
    fn place(&self, change: &Change) -> Result<(), Refusal> {
        if !self.writer.actors.iter().any(|actor| change.actor_id().to_bytes() == actor) {
            return Err(Refusal::Actor);
        }
        let doc = &self.document.doc;
        let all = doc.get_changes_meta(&[]);
        let mut max_op = 0;
        for (at, hash) in change.deps().iter().enumerate() {
            if change.deps()[..at].contains(hash) {
                return Err(Refusal::NotCanonical);
            }
            let found = all.iter().find(|meta| meta.hash == *hash);
            max_op = max_op.max(found.ok_or(Refusal::Dependency)?.max_op);
        }
        // Only what isolated transactions write begins elsewhere, and nobody here uses those.
        let (start_op, expected) = (change.start_op().get(), max_op + 1);
        if start_op != expected {
            return Err(Refusal::StartOp { start_op, expected: Some(expected) });
        }
        let own = all.iter().filter(|meta| *meta.actor == *change.actor_id());
        let expected = own.map(|meta| meta.seq).max().unwrap_or(0) + 1;
        if change.seq() != expected {
            return Err(Refusal::Sequence { seq: change.seq(), expected });
        }
        if doc.get_changes_meta(change.deps()).iter().any(|meta| *meta.actor == *change.actor_id()) {
            return Err(Refusal::OwnPast);
        }
        Ok(())
    }

    /// What it puts under which keys; that is all that it may do.
    fn operations(&self, change: &Change, seen: &BTreeSet<String>) -> Result<Vec<Put>, Refusal> {
        let operations = change.decode().operations;
        let mut puts: Vec<Put> = Vec::with_capacity(operations.len());
        let mut keys = BTreeSet::new();
        for op in &operations {
            let (ObjectId::Root, Key::Map(key), OpType::Put(scalar), false) = (&op.obj, &op.key, &op.action, op.insert) else {
                return Err(Refusal::Operation);
            };
            let key = key.to_string();
            if !self.has(&key) {
                return Err(Refusal::Key { key, why: "is none that such a document has" });
            }
            if !keys.insert(key.clone()) {
                return Err(Refusal::Key { key, why: "is written twice" });
            }
            let Some(register) = Register::of_scalar(scalar) else { return Err(Refusal::Value { key }) };
            if register.at != self.writer.at || register.author != self.writer.author {
                return Err(Refusal::Stamp { key });
            }
            let replaces_nothing = !seen.contains(&key) && op.pred.is_empty();
            if !replaces_nothing && !self.replaces_what_stood(change, &key, op) {
                return Err(Refusal::Predecessors { key });
            }
            puts.push(Put { key, register });
        }
        match puts.is_empty() {
            true => Err(Refusal::Operation),
            false => Ok(puts),
        }
    }

    fn has(&self, key: &str) -> bool {
        match self.document.kind {
            DocumentKind::OpenOrder => open_order::Key::of(key).is_some(),
            kind => fields::names(kind).contains(&key),
        }
    }

    /// Whether the predecessors of an operation are what its writer saw under the key, neither less nor more.
    fn replaces_what_stood(&self, change: &Change, key: &str, op: &Op) -> bool {
        let named: BTreeSet<_> = op.pred.iter().map(|id| (id.counter(), id.actor().to_bytes().to_vec())).collect();
        let found = self.document.doc.get_all_at(ROOT, key, change.deps()).unwrap_or_default();
        let ids = found.into_iter().filter_map(|(_, id)| match id {
            ObjId::Id(counter, actor, _) => Some((counter, actor.to_bytes().to_vec())),
            ObjId::Root => None,
        });
        named.len() == op.pred.len() && named == ids.collect()
    }

    /// What holds for the keys of an open order: the first change parks it, and nothing but that does; most keys are written once; what
    /// is said of a line is said of one that its writer saw; whoever saw it closed only notes payments.
    fn open_order(&self, change: &Change, puts: &[Put], seen: &BTreeSet<String>) -> Result<(), Refusal> {
        use open_order::Key as OrderKey;
        let fails = |put: &Put, why| Err(Refusal::Key { key: put.key.clone(), why });
        let saw = |line| seen.contains(&OrderKey::Line(line).to_string());
        if !self.document.heads().is_empty()
            && Some(self.document.opened().map_err(Refusal::DoesNotRead)?.store) != self.writer.store
        {
            return Err(Refusal::OtherStore);
        }
        let is_closing = |key: &str| matches!(OrderKey::of(key), Some(OrderKey::Paid(_) | OrderKey::Cancelled));
        let closed = seen.iter().any(|key| is_closing(key));
        let mut opens = false;
        for put in puts {
            let key = OrderKey::of(&put.key).expect("the operations were found to write keys of an open order");
            let Some(value) = open_order::Value::of(key, &put.register.value) else {
                return Err(Refusal::Value { key: put.key.clone() });
            };
            if key.is_written_once() && seen.contains(&put.key) {
                return fails(put, "is written once");
            }
            if closed && !matches!(key, OrderKey::Paid(_)) {
                return fails(put, "is of an order that its writer saw closed");
            }
            if let OrderKey::Addition(line, _) | OrderKey::Void(line) = key
                && !saw(line)
            {
                return fails(put, "is about a line that its writer did not see");
            }
            match value {
                open_order::Value::Opened(opened) if Some(opened.store) != self.writer.store => return Err(Refusal::OtherStore),
                open_order::Value::Opened(_) => opens = true,
                open_order::Value::Covered(covered) if !covered.keys().all(|line| saw(*line)) => {
                    return fails(put, "is about a line that its writer did not see");
                }
                _ => {}
            }
        }
        match opens == change.deps().is_empty() {
            true => Ok(()),
            false => {
                Err(Refusal::Key { key: OrderKey::Opened.to_string(), why: "is what the first change writes, and only that" })
            }
        }
    }

    /// Whether the document is still one, and its writer's.
    fn result(&self, document: &Document) -> Result<(), Refusal> {
        match document.value().map_err(Refusal::DoesNotRead)? {
            DocumentValue::OpenOrder(order) if Some(order.store) != self.writer.store => Err(Refusal::OtherStore),
            _ => Ok(()),
        }
    }
}
