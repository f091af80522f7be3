//! Why a change is refused: a sentence for people, a code for what is stored.

use domain::document::DocumentKind;
use domain::record::DeviceKind;

use super::super::DocumentError;

/// Why a change is refused. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The kind of document is not for this device to write.
    #[error("documents of kind {} are not for a {} to write", *kind as u16, device.as_str())]
    NotForDevice {
        /// The document's kind.
        kind: DocumentKind,
        /// The device's.
        device: DeviceKind,
    },
    /// The document belongs to another store than the device.
    #[error("the document belongs to another store")]
    OtherStore,
    /// Beyond its bound.
    #[error("{what} is too large, with {bytes} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large it is.
        bytes: usize,
    },
    /// More of something than there may be.
    #[error("it claims {claimed} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it claims.
        claimed: u64,
    },
    /// The bytes are not in the form of a chunk.
    #[error("the bytes are no change: {0}")]
    Malformed(&'static str),
    /// A chunk that is no plain change: a document (0), a deflated change (2) or a bundle (3).
    #[error("a chunk of type {0} is no plain change")]
    ChunkType(u8),
    /// The checksum is not that of the bytes.
    #[error("the checksum does not hold")]
    Checksum,
    /// A column is deflated.
    #[error("a column is deflated")]
    Deflated,
    /// A column that our changes do not have: objects, lists and marks have such columns.
    #[error("column {0:#04x} is none that our changes have")]
    Column(u32),
    /// An actor that is not 16 bytes long.
    #[error("an actor has {0} bytes")]
    ActorLength(u64),
    /// The change says a time: our times are in the registers.
    #[error("it says a time of its own")]
    Time,
    /// The change carries a message.
    #[error("it carries a message")]
    Message,
    /// Bytes after the columns.
    #[error("{0} bytes follow its columns")]
    ExtraBytes(usize),
    /// Bytes after the chunk.
    #[error("{0} bytes follow the change")]
    TrailingBytes(usize),
    /// Automerge does not read it.
    #[error("Automerge does not read it: {0}")]
    Unreadable(String),
    /// Automerge writes it in other bytes.
    #[error("it is not in the one form that it is written in")]
    NotCanonical,
    /// The actor is none that the entry's origin announced.
    #[error("the origin has not announced the actor that it is written under")]
    Actor,
    /// It builds on a change that is not here.
    #[error("it builds on a change that is not here")]
    Dependency,
    /// It does not go on where its actor stopped.
    #[error("it is number {seq} of its actor here, where {expected} comes next")]
    Sequence {
        /// The number that it has.
        seq: u64,
        /// The one that comes next.
        expected: u64,
    },
    /// Its actor did not see what the actor itself had written.
    #[error("it does not build on what its actor wrote before")]
    OwnPast,
    /// Its operations do not begin where those end that it builds on.
    #[error("its operations begin at {start_op}")]
    StartOp {
        /// Where they begin.
        start_op: u64,
        /// Where they would have to; none when it is no place at all.
        expected: Option<u64>,
    },
    /// An operation other than putting a value under a key of the root.
    #[error("it does something else than to put values under keys")]
    Operation,
    /// A key that the kind of document does not have, that is written a second time, or that refers to what its writer did not see.
    #[error("key {key:?} {why}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that is not one of its key.
    #[error("the value of {key:?} is none that the key may have")]
    Value {
        /// The key.
        key: String,
    },
    /// A value says another time or author than the entry.
    #[error("the value of {key:?} says another time or author than the entry")]
    Stamp {
        /// The key.
        key: String,
    },
    /// It does not replace exactly what its writer saw.
    #[error("{key:?} does not replace exactly what stood there for its writer")]
    Predecessors {
        /// The key.
        key: String,
    },
    /// The document cannot take it.
    #[error("the document cannot take it: {0}")]
    NotTaken(String),
    /// The document does not read with it.
    #[error("the document does not read with it")]
    DoesNotRead(#[source] DocumentError),
    /// Automerge panicked.
    #[error("Automerge broke on it")]
    Broke,
}

impl Refusal {
    /// Whether it may pass once more has arrived: what it builds on, or the announcement of its actor.
    pub fn may_pass_later(&self) -> bool {
        match self {
            Self::Actor | Self::Dependency => true,
            Self::Sequence { seq, expected } => seq > expected,
            _ => false,
        }
    }

    /// A short word for the reason, which never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotForDevice { .. } => "device",
            Self::OtherStore => "store",
            Self::TooLarge { .. } => "too_large",
            Self::TooMany { .. } => "too_many",
            Self::Malformed(_) => "malformed",
            Self::ChunkType(_) => "chunk_type",
            Self::Checksum => "checksum",
            Self::Deflated => "deflated",
            Self::Column(_) => "column",
            Self::ActorLength(_) => "actor_length",
            Self::Time => "time",
            Self::Message => "message",
            Self::ExtraBytes(_) => "extra_bytes",
            Self::TrailingBytes(_) => "trailing_bytes",
            Self::Unreadable(_) => "unreadable",
            Self::NotCanonical => "not_canonical",
            Self::Actor => "actor",
            Self::Dependency => "dependency",
            Self::Sequence { .. } => "sequence",
            Self::OwnPast => "own_past",
            Self::StartOp { .. } => "start_op",
            Self::Operation => "operation",
            Self::Key { .. } => "key",
            Self::Value { .. } => "value",
            Self::Stamp { .. } => "stamp",
            Self::Predecessors { .. } => "predecessors",
            Self::NotTaken(_) => "not_taken",
            Self::DoesNotRead(_) => "does_not_read",
            Self::Broke => "broke",
        }
    }
}
