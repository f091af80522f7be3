//! The frames of the wire.
//!
//! ```text
//! length  u32, big endian: the bytes that follow, at most FRAME_BYTES_MAX
//! type    u8
//! flags   u8: bit 0, the body is one zstd frame
//! body    CBOR, after decompression at most BODY_BYTES_MAX
//! ```
//!
//! A type that is not known and whose upper bit is set is skipped; any other unknown type ends the connection. Fields are only ever
//! added. Everything has a bound that is checked before memory is taken.
//!
//! Every frame says what it is, so one ordered stream of bytes each way carries a whole session where QUIC's streams are not to be had.

use journal::{Hash, Scope};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Decoder, Encode};

use crate::batch::{Run, RunError, RunWire};

/// Largest frame on the wire, after its length, in bytes.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Largest body after decompression, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// Bodies above so many bytes are compressed.
pub const COMPRESS_ABOVE_BYTES: usize = 512;
/// The bytes of entries that a sender puts into one frame at most; a single larger commit travels alone.
pub const BATCH_BYTES_TARGET: usize = 256 * 1024;
/// Most runs of one frame.
pub const RUNS_MAX: usize = 256;
/// Most cursors of a greeting.
pub const CURSORS_MAX: usize = 64;
/// Most checkpoints of a greeting.
pub const CHECKPOINTS_MAX: usize = 64;
/// Most histories of one offer.
pub const OFFERED_MAX: usize = 1_024;
/// Most documents of one frame.
pub const DOCUMENTS_MAX: usize = 4_096;
/// Largest saved document that is sent ahead of the log, in bytes: larger ones are left to the log.
pub const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Longest receipt number that is asked for, in bytes.
pub const RECEIPT_BYTES_MAX: usize = 64;
/// Longest sentence in a frame, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 500;

/// Most scopes that a frame of commits names.
pub const COMMITS_SCOPES_MAX: usize = 64;
/// A whole frame that says nothing, of a type that everybody skips: it shows over TCP that its sender is there.
pub const PING: [u8; 6] = [0, 0, 0, 2, SKIPPABLE, 0];

const ZSTD_LEVEL: i32 = 1;
const FLAG_ZSTD: u8 = 1;
const SKIPPABLE: u8 = 0x80;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Device → server, first.
    Hello(Hello),
    /// Server → device, the answer.
    Welcome(Welcome),
    /// Either way: commits.
    Commits(Commits),
    /// Server → device: how far the device's own commits are safe.
    Ack(Ack),
    /// Either way, last: why the connection ends.
    Goodbye(Goodbye),
    /// Device → server, till → till: histories that it has besides the one that it goes on with.
    Offer(Offer),
    /// The answer: what of an offer is lacking there.
    Wanted(Wanted),
    /// What became of a run that was wanted.
    Taken(Taken),
    /// Server → device: documents, ahead of the log that they follow from.
    Documents(Documents),
    /// Device → server: an order that is not in its replica, by the number on its receipt.
    Ask(Ask),
    /// The answer.
    Told(Told),
}

/// A question for an order of the device's store: it is older than what the device keeps, or has not arrived there yet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ask {
    /// The device's number for the question.
    #[n(0)]
    pub number: u32,
    /// The receipt number as it is printed, at most [`RECEIPT_BYTES_MAX`].
    #[n(1)]
    pub receipt: String,
}

/// What a server has of an order that it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which question it answers.
    pub number: u32,
    /// The commit of each order with that number, each in a run of its own that ends at the next seal, and after it those of its refunds; none when there is no such
    /// order. At most [`RUNS_MAX`].
    pub runs: Vec<Run>,
}

/// Histories that a device has: of others, and of its own earlier incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// At most [`OFFERED_MAX`].
    #[n(0)]
    pub lines: Vec<Offered>,
}

/// One history of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Offered {
    /// Whose device.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// In which incarnation.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub incarnation: [u8; 16],
    /// Where it has been, newest first.
    #[n(2)]
    pub checkpoints: Vec<Checkpoint>,
}

/// What of an offer is lacking at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Wanted {
    /// The place of each history in the offer, and the commit after which it is lacking.
    #[n(0)]
    pub lines: Vec<(u32, u64)>,
    /// The places of those that are whole on its disk. One that is neither here nor among the former it does not take.
    #[n(1)]
    pub whole: Vec<u32>,
    /// The places of those that the central database has whole.
    #[n(2)]
    pub central: Vec<u32>,
}

/// What became of a run of a history that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Taken {
    /// The commit up to which its history is on disk there now; none when it is not taken.
    #[n(0)]
    pub commit: Option<u64>,
}

/// Documents as a server has them, for a device that asked for them: it can work before it has their history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Documents {
    /// In the order of [`crate::documents::AHEAD`], and by id within a kind; at most [`DOCUMENTS_MAX`].
    #[n(0)]
    pub documents: Vec<SavedDocument>,
    /// With the last of them: the region sequence up to which the log has all that they are made of.
    #[n(1)]
    pub until: Option<u64>,
}

/// A document as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SavedDocument {
    /// Its kind.
    #[n(0)]
    pub kind: u16,
    /// Its id.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// What [`crate::documents::Document::load`] takes.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub saved: Vec<u8>,
}

/// The document that a device was sent last ahead of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DocumentPlace {
    /// Its kind.
    #[n(0)]
    pub kind: u16,
    /// Its id.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub id: [u8; 16],
}

impl DocumentPlace {
    /// Before the first one.
    pub const START: Self = Self { kind: 0, id: [0; 16] };
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The oldest protocol version it speaks.
    #[n(0)]
    pub version_min: u16,
    /// The newest.
    #[n(1)]
    pub version_max: u16,
    /// Its incarnation.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub incarnation: [u8; 16],
    /// Its last commit.
    #[n(3)]
    pub commit: u64,
    /// The digest of its heads after that commit.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: Hash,
    /// The incarnation of the server whose cursors these are; none before the first contact.
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub region: Option<[u8; 16]>,
    /// What it follows, and the region sequence up to which it has each.
    #[n(6)]
    pub cursors: Vec<Cursor>,
    /// Random per process start: tells a reconnecting device from a clone.
    #[n(7)]
    pub boot: u64,
    /// Its clock, Unix milliseconds; none from a program that does not say. Only shown, never trusted.
    #[n(8)]
    pub unix_ms: Option<u64>,
    /// What it has read last of the server's log: a log that has something else there was put back from a backup.
    #[n(9)]
    pub mark: Option<Mark>,
    /// Set by a device that asks for documents ahead of the log: those after this one.
    #[n(10)]
    pub documents_after: Option<DocumentPlace>,
}

/// An entry of a server's log, as the server itself put it: a device gives it back unread.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Mark {
    /// Its region sequence.
    #[n(0)]
    pub region_seq: u64,
    /// Its hash, and the server's own proof of it.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub proven: ProvenHash,
}

/// A hash and 32 bytes that only the server can make of it.
pub type ProvenHash = [u8; 64];

/// The state of a history after one of its commits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    /// The commit.
    #[n(0)]
    pub commit: u64,
    /// The digest of the heads after it.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: Hash,
}

/// How far a device has a scope.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// The scope.
    #[n(0)]
    pub scope: ScopeName,
    /// The region sequence.
    #[n(1)]
    pub region_seq: u64,
}

/// A scope's name on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeName(pub Scope);

impl<C> Encode<C> for ScopeName {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.0.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ScopeName {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Scope::new(d.str()?).map(Self).map_err(|_| minicbor::decode::Error::message("not a scope").at(at))
    }
}

/// What the server knows of the device, and what it makes of the greeting.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The version that both will speak.
    #[n(0)]
    pub version: u16,
    /// The server's incarnation.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub region: [u8; 16],
    /// The device's last commit on the server's disk.
    #[n(2)]
    pub regional: u64,
    /// The device's last commit in the central database.
    #[n(3)]
    pub central: u64,
    /// What the server makes of the device's position.
    #[n(4)]
    pub verdict: Verdict,
    /// The server's clock, Unix milliseconds.
    #[n(5)]
    pub unix_ms: u64,
}

/// What a server makes of a device's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// The device has all that the server has of it, and perhaps more.
    #[n(0)]
    Ok,
    /// The server has more of this incarnation than the device: its replica is older than what it sent.
    #[n(1)]
    RolledBack,
    /// Both have something at the same place that differs.
    #[n(2)]
    Forked,
}

/// Commits of one or more origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commits {
    /// The runs, in the order they are to be applied.
    pub runs: Vec<Run>,
    /// From a server: the region sequence up to which the receiver then has all of what it follows.
    pub up_to: Option<u64>,
    /// From a server: the entry at that place, for [`Hello::mark`].
    pub mark: Option<ProvenHash>,
    /// From a server: the scopes that `up_to` counts for; none stands for all that the receiver follows. At most [`COMMITS_SCOPES_MAX`], and only to
    /// a device that speaks [`LANES_SINCE`](crate::session::LANES_SINCE).
    pub scopes: Option<Vec<ScopeName>>,
}

impl Commits {
    /// One run of a device.
    pub fn of(run: Run) -> Self {
        Self { runs: vec![run], up_to: None, mark: None, scopes: None }
    }
}

/// How far a device's own commits are safe. Never goes back within a server's incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Ack {
    /// On the server's disk.
    #[n(0)]
    pub regional: u64,
    /// In the central database.
    #[n(1)]
    pub central: u64,
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Goodbye {
    /// For programs.
    #[n(0)]
    pub reason: Reason,
    /// For people.
    #[n(1)]
    pub message: String,
    /// With [`Reason::Busy`]: after how many milliseconds it is worth trying again.
    #[n(2)]
    pub retry_after_ms: Option<u32>,
}

/// Why a connection ends, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// The sender stops for now.
    #[n(0)]
    Stopping,
    /// No common protocol version.
    #[n(1)]
    Version,
    /// A frame that makes no sense here.
    #[n(2)]
    Protocol,
    /// A commit that does not verify, or that the sender may not write.
    #[n(3)]
    Refused,
    /// The server's copy and the device's differ.
    #[n(4)]
    Forked,
    /// The server cannot take more now.
    #[n(6)]
    Busy,
    /// Another connection of the same device took over. Said over TCP alone: QUIC has a code for it
    /// ([`CLOSED_REPLACED`](crate::session::CLOSED_REPLACED)).
    #[n(7)]
    Replaced,
}

/// Bytes that are no frame. The connection ends.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A length of nothing or beyond the bound.
    #[error("a frame of {0} bytes, not 2 to {FRAME_BYTES_MAX}")]
    Length(usize),
    /// A type that is not known and may not be skipped.
    #[error("a frame of unknown type {0}")]
    Type(u8),
    /// Flags that are not known.
    #[error("a frame with unknown flags {0:#04x}")]
    Flags(u8),
    /// A body that does not decompress within the bound.
    #[error("a frame that does not decompress within {BODY_BYTES_MAX} bytes")]
    Zstd,
    /// A body that does not decode.
    #[error("a frame that does not decode")]
    Decode(#[source] minicbor::decode::Error),
    /// A run of commits that does not fit together.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A list or text beyond its bound.
    #[error("a frame with {0}")]
    Bounds(&'static str),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct CommitsWire {
    #[n(0)]
    runs: Vec<RunWire>,
    #[n(1)]
    up_to: Option<u64>,
    #[n(2)]
    mark: Option<ByteArray<64>>,
    #[n(3)]
    scopes: Option<Vec<ScopeName>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ToldWire {
    #[n(0)]
    number: u32,
    #[n(1)]
    runs: Vec<RunWire>,
}

impl Frame {
    /// The frame's bytes, length first.
    ///
    /// # Errors
    /// A frame beyond its bound: the sender put too much into it.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Hello(f) => (0, to_vec(f)),
            Self::Welcome(f) => (1, to_vec(f)),
            Self::Commits(f) => {
                let runs = f.runs.iter().map(Run::to_wire).collect();
                let (mark, scopes) = (f.mark.map(ByteArray::from), f.scopes.clone());
                (2, to_vec(&CommitsWire { runs, up_to: f.up_to, mark, scopes }))
            }
            Self::Ack(f) => (3, to_vec(f)),
            Self::Goodbye(f) => (4, to_vec(f)),
            Self::Offer(f) => (5, to_vec(f)),
            Self::Wanted(f) => (6, to_vec(f)),
            Self::Taken(f) => (7, to_vec(f)),
            Self::Documents(f) => (8, to_vec(f)),
            Self::Ask(f) => (9, to_vec(f)),
            Self::Told(f) => {
                let runs = f.runs.iter().map(Run::to_wire).collect();
                (10, to_vec(&ToldWire { number: f.number, runs }))
            }
        };
        if body.len() > BODY_BYTES_MAX {
            return Err(FrameError::Length(body.len()));
        }
        let (flags, body) = match body.len() > COMPRESS_ABOVE_BYTES {
            true => (FLAG_ZSTD, zstd::bulk::compress(&body, ZSTD_LEVEL).map_err(|_| FrameError::Zstd)?),
            false => (0, body),
        };
        let length = body.len() + 2;
        let prefix = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX).ok_or(FrameError::Length(length))?;
        let mut out = Vec::with_capacity(length + 4);
        out.extend_from_slice(&prefix.to_be_bytes());
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// Reads what follows the length. `Ok(None)` is a frame of a newer protocol that may be skipped.
    ///
    /// # Errors
    /// Anything that is no frame.
    pub fn decode(after_length: &[u8]) -> Result<Option<Self>, FrameError> {
        let [kind, flags, body @ ..] = after_length else { return Err(FrameError::Length(after_length.len())) };
        if after_length.len() > FRAME_BYTES_MAX {
            return Err(FrameError::Length(after_length.len()));
        }
        if *flags & !FLAG_ZSTD != 0 {
            return Err(FrameError::Flags(*flags));
        }
        let inflated;
        let body = match flags & FLAG_ZSTD {
            0 => body,
            _ => {
                inflated = zstd::bulk::decompress(body, BODY_BYTES_MAX).map_err(|_| FrameError::Zstd)?;
                &inflated
            }
        };
        let frame = match kind {
            0 => Self::Hello(from_slice(body)?),
            1 => Self::Welcome(from_slice(body)?),
            2 => Self::Commits(commits(from_slice(body)?)?),
            3 => Self::Ack(from_slice(body)?),
            4 => Self::Goodbye(from_slice(body)?),
            5 => Self::Offer(from_slice(body)?),
            6 => Self::Wanted(from_slice(body)?),
            7 => Self::Taken(from_slice(body)?),
            8 => Self::Documents(from_slice(body)?),
            9 => Self::Ask(from_slice(body)?),
            10 => {
                let ToldWire { number, runs } = from_slice(body)?;
                Self::Told(Told { number, runs: runs_of(runs)? })
            }
            kind if kind & SKIPPABLE != 0 => return Ok(None),
            kind => return Err(FrameError::Type(*kind)),
        };
        frame.check_bounds()?;
        Ok(Some(frame))
    }

    fn check_bounds(&self) -> Result<(), FrameError> {
        match self {
            Self::Hello(hello) if hello.cursors.len() > CURSORS_MAX => Err(FrameError::Bounds("too many cursors")),
            Self::Offer(offer) if offer.lines.len() > OFFERED_MAX => Err(FrameError::Bounds("too many histories")),
            Self::Offer(offer) if offer.lines.iter().any(|line| line.checkpoints.len() > CHECKPOINTS_MAX) => {
                Err(FrameError::Bounds("too many checkpoints"))
            }
            Self::Wanted(Wanted { lines, whole, central }) if lines.len().max(whole.len()).max(central.len()) > OFFERED_MAX => {
                Err(FrameError::Bounds("too many histories"))
            }
            Self::Documents(sent) if sent.documents.len() > DOCUMENTS_MAX => Err(FrameError::Bounds("too many documents")),
            Self::Commits(commits) if commits.scopes.as_ref().is_some_and(|scopes| scopes.len() > COMMITS_SCOPES_MAX) => {
                Err(FrameError::Bounds("too many scopes"))
            }
            Self::Ask(ask) if ask.receipt.len() > RECEIPT_BYTES_MAX => Err(FrameError::Bounds("too long a receipt number")),
            Self::Goodbye(bye) if bye.message.len() > MESSAGE_BYTES_MAX => Err(FrameError::Bounds("too long a message")),
            _ => Ok(()),
        }
    }
}

/// Reads the length before a frame.
///
/// # Errors
/// A length of nothing or beyond the bound.
pub fn frame_length(prefix: [u8; 4]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if (2..=FRAME_BYTES_MAX).contains(&length) { Ok(length) } else { Err(FrameError::Length(length)) }
}

fn commits(wire: CommitsWire) -> Result<Commits, FrameError> {
    Ok(Commits { runs: runs_of(wire.runs)?, up_to: wire.up_to, mark: wire.mark.map(|hash| *hash), scopes: wire.scopes })
}

fn runs_of(wire: Vec<RunWire>) -> Result<Vec<Run>, FrameError> {
    if wire.len() > RUNS_MAX {
        return Err(FrameError::Bounds("too many runs"));
    }
    Ok(wire.into_iter().map(Run::from_wire).collect::<Result<_, _>>()?)
}

fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a Vec cannot fail")
}

fn from_slice<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, FrameError> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode().map_err(FrameError::Decode)?;
    if decoder.position() < bytes.len() {
        return Err(FrameError::Bounds("bytes after its end"));
    }
    Ok(value)
}
