//! Who wrote what into a document, read from its changes: nothing is kept beside them.

use std::collections::BTreeMap;

use automerge::legacy::{Key, ObjectId, OpId, OpType};
use automerge::{ROOT, ReadDoc};
use journal::Hlc;
use minicbor::Decoder;
use minicbor::data::Type;

use super::Document;
use super::fields::default_of;
use super::register::Register;

/// The hash of a change.
pub type ChangeHash = [u8; 32];

/// What a field says, whatever it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// Nothing.
    None,
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A whole number.
    Whole(i64),
    /// Yes or no.
    Flag(bool),
    /// An id.
    Id([u8; 16]),
    /// So many bytes of something else.
    Bytes(usize),
}

/// What became of a writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is what the field says now.
    Current,
    /// Somebody saw it and wrote something else.
    Replaced,
    /// It was written at the same time as a later one, which stood.
    Outvoted,
}

/// One writing of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    /// The field.
    pub field: String,
    /// What was written.
    pub value: FieldValue,
    /// What the field said to its writer; none when it said nothing.
    pub replaced: Option<FieldValue>,
    /// When.
    pub at: Hlc,
    /// Who.
    pub author: [u8; 16],
    /// The change that holds it.
    pub change: ChangeHash,
    /// What became of it.
    pub outcome: Outcome,
}

/// A field that was written several times at once and not since, in words that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The field.
    pub field: String,
    /// The writings, the one that stands first.
    pub writings: Vec<ConflictWriting>,
}

/// One of several writings that were made at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictWriting {
    /// What was written.
    pub value: FieldValue,
    /// When.
    pub at: Hlc,
    /// Who.
    pub author: [u8; 16],
    /// The change that holds it.
    pub change: ChangeHash,
}

/// What undoing a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Undone {
    /// The change to pass on; none when nothing was left to take back.
    pub change: Option<Vec<u8>>,
    /// How many of its fields were taken back.
    pub restored: usize,
    /// How many were written by somebody else since, and stay.
    pub kept: usize,
}

/// A writing with what it takes to take it back.
struct Written {
    field: String,
    register: Register,
    change: ChangeHash,
    /// The writing that stood when this one was made, by its place.
    before: Option<usize>,
    superseded: bool,
    outcome: Outcome,
}

impl Document {
    /// Every writing of every field, in the order of their times.
    pub fn history(&self) -> Vec<Writing> {
        let all = self.written();
        let mut history: Vec<Writing> = all
            .iter()
            .map(|w| Writing {
                field: w.field.clone(),
                value: FieldValue::of(&w.register.value),
                replaced: w.before.map(|at| FieldValue::of(&all[at].register.value)),
                at: w.register.at,
                author: w.register.author,
                change: w.change,
                outcome: w.outcome,
            })
            .collect();
        history.sort_by(|a, b| (a.at, a.change, &a.field).cmp(&(b.at, b.change, &b.field)));
        history
    }

    /// The fields that say several things at once, because nobody who wrote one saw the other.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        for field in self.doc.keys(ROOT) {
            let Ok(all) = self.doc.get_all(ROOT, &field) else { continue };
            let registers = all.iter().filter_map(|(value, id)| Some((Register::of(value)?, self.written_by(id)?)));
            let mut registers: Vec<_> = registers.collect();
            registers.sort_by_key(|(register, change)| std::cmp::Reverse((register.at, *change)));
            if registers.iter().all(|(register, _)| register.value == registers[0].0.value) {
                continue;
            }
            let writing = |(register, change): (Register, ChangeHash)| ConflictWriting {
                value: FieldValue::of(&register.value),
                at: register.at,
                author: register.author,
                change,
            };
            found.push(Conflict { field, writings: registers.into_iter().map(writing).collect() });
        }
        found
    }

    /// Takes back what a change wrote, where the field still says it: the field gets what it said to the change's writer. Fields that a
    /// document needs and that had said nothing stay.
    pub fn undo(&mut self, change: ChangeHash, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Undone {
        let all = self.written();
        let mut undone = Undone::default();
        let mut back = Vec::new();
        for w in all.iter().filter(|w| w.change == change) {
            if w.outcome != Outcome::Current {
                undone.kept += 1;
                continue;
            }
            let before = w.before.map(|at| all[at].register.value.clone());
            back.extend(before.or_else(|| default_of(&w.field)).map(|value| (w.field.clone(), value)));
        }
        undone.restored = back.len();
        undone.change = self.put(back, at, author, actor);
        undone
    }

    /// How many fields of a change still say what it wrote, and how many do not.
    pub fn still_says(&self, change: ChangeHash) -> (usize, usize) {
        let all = self.written();
        let of: Vec<&Written> = all.iter().filter(|w| w.change == change).collect();
        let current = of.iter().filter(|w| w.outcome == Outcome::Current).count();
        (current, of.len() - current)
    }

    fn written(&self) -> Vec<Written> {
        let mut all: Vec<Written> = Vec::new();
        let mut places = BTreeMap::<(u64, Vec<u8>), usize>::new();
        let key_of = |op: &OpId| (op.counter(), op.actor().to_bytes().to_vec());
        // Changes come in an order in which each follows what its writer saw.
        for change in self.doc.get_changes(&[]) {
            let hash = change.hash().0;
            let expanded = change.decode();
            for (n, op) in (0u64..).zip(&expanded.operations) {
                let (ObjectId::Root, Key::Map(field)) = (&op.obj, &op.key) else { continue };
                let seen: Vec<usize> = op.pred.iter().filter_map(|op| places.get(&key_of(op)).copied()).collect();
                for &at in &seen {
                    all[at].superseded = true;
                }
                let OpType::Put(scalar) = &op.action else { continue };
                let Some(register) = Register::of_scalar(scalar) else { continue };
                let before = seen.into_iter().max_by_key(|&at| (all[at].register.at, all[at].change));
                if let Some(at) = before {
                    all[at].outcome = Outcome::Replaced;
                }
                places.insert((expanded.start_op.get() + n, expanded.actor_id.to_bytes().to_vec()), all.len());
                let field = field.to_string();
                all.push(Written { field, register, change: hash, before, superseded: false, outcome: Outcome::Outvoted });
            }
        }
        let mut standing = BTreeMap::<String, usize>::new();
        for (at, w) in all.iter().enumerate().filter(|(_, w)| !w.superseded) {
            let best = standing.entry(w.field.clone()).or_insert(at);
            if (w.register.at, w.change) > (all[*best].register.at, all[*best].change) {
                *best = at;
            }
        }
        for at in standing.into_values() {
            all[at].outcome = Outcome::Current;
        }
        all
    }
}

impl FieldValue {
    fn of(cbor: &[u8]) -> Self {
        Self::read(&mut Decoder::new(cbor)).unwrap_or(Self::Bytes(cbor.len()))
    }

    fn read(d: &mut Decoder<'_>) -> Option<Self> {
        Some(match d.datatype().ok()? {
            Type::Null => Self::None,
            Type::Bool => Self::Flag(d.bool().ok()?),
            Type::String => Self::Text(d.str().ok()?.to_owned()),
            Type::Array => {
                let n = d.array().ok()??;
                Self::Texts((0..n).map(|_| d.str().ok().map(str::to_owned)).collect::<Option<_>>()?)
            }
            Type::Bytes => {
                let bytes = d.bytes().ok()?;
                <[u8; 16]>::try_from(bytes).map_or(Self::Bytes(bytes.len()), Self::Id)
            }
            _ => Self::Whole(d.i64().ok()?),
        })
    }
}
