//! The entry: how what happened is written down so that nobody can change it afterwards.
//!
//! A device writes **entries**. Entries are grouped into **commits**, one per action of a person, and every entry belongs to
//! one **scope**. The entries of one [`Origin`] (a device in one incarnation) in one [`Scope`] form a hash chain; the
//! [`seal`](mod@seal) signs the heads of all the chains of the origin after a commit. Whoever has the device's public key can check
//! any run of entries with ordinary tools: CBOR (RFC 8949), SHA-256 and Ed25519. `docs/protocol.md` is the normative text.
//!
//! This crate is small, stands alone and changes slowly. It knows nothing of sales, of SQL or of the network.
//!
//! * [`Entry`]: one entry and its canonical bytes.
//! * [`chain::OriginChain`]: where an origin's chains stand; appends new commits and verifies received ones.
//! * [`Hlc`]: the hybrid logical clock that entries carry.
//! * [`cbor`]: the check that bytes are in the one canonical form.

pub mod cbor;
pub mod chain;
pub mod entry;
pub mod hlc;
pub mod scope;
pub mod seal;

pub use chain::{ChainError, ChainedEntry, NewEntry, OriginChain, ReceivedCommit, SealedCommit, View};
pub use entry::{Body, Entry, EntryError};
pub use hlc::Hlc;
pub use scope::Scope;
pub use seal::{Head, Seal};

pub use ed25519_dalek::{SigningKey, VerifyingKey};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// One writer lifetime of one device: the device's id, and the incarnation's, which a backup or a clone never copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The device's id, a UUID.
    pub device: [u8; 16],
    /// The incarnation, 16 random bytes.
    pub incarnation: [u8; 16],
}
