//! One entry and its canonical bytes.
//!
//! A CBOR map with integer keys. Origin, scope, sequence number and the hash of the entry before are not in it: they travel once per
//! batch, and the chain binds them (see [`crate::chain`]).
//!
//! | key | field | type | when |
//! |---|---|---|---|
//! | 0 | commit | uint | always |
//! | 1 | at | uint (HLC) | always |
//! | 2 | part | uint | when not 0 |
//! | 3 | parts | uint | when not 1 |
//! | 4 | staff | bytes, 16 | when someone is signed in |
//! | 5 | kind | uint | always |
//! | 6 | version | uint | in a record, when not 1 |
//! | 7 | body | bytes | always |
//! | 8 | document | bytes, 16 | in a change |
//!
//! A reader skips keys it does not know; whoever passes the entry on passes on its bytes, so nothing is lost.

use minicbor::{Decoder, Encoder};

use crate::cbor::{CanonError, check_canonical};
use crate::hlc::Hlc;

/// Largest entry in bytes.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// Most entries of one commit.
pub const PARTS_MAX: u32 = 4_096;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The number of the commit it belongs to, gapless from 1 per origin.
    pub commit: u64,
    /// Its place in the commit, from 0.
    pub part: u32,
    /// How many entries the commit has, in all scopes together; 1 to [`PARTS_MAX`].
    pub parts: u32,
    /// The writer's clock.
    pub at: Hlc,
    /// Who was signed in.
    pub staff: Option<[u8; 16]>,
    /// What it says.
    pub body: Body,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Something that happened.
    Record {
        /// The record's kind.
        kind: u16,
        /// The version of its shape.
        version: u16,
        /// Canonical CBOR.
        bytes: Vec<u8>,
    },
    /// An edit of a document.
    Change {
        /// Which document.
        document: [u8; 16],
        /// What kind of document.
        kind: u16,
        /// One Automerge change.
        bytes: Vec<u8>,
    },
}

/// Bytes that are no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// More than [`ENTRY_BYTES_MAX`].
    #[error("an entry of {0} bytes, more than {ENTRY_BYTES_MAX}")]
    TooLarge(usize),
    /// Not in the canonical form.
    #[error("an entry that is not canonical")]
    NotCanonical(#[source] CanonError),
    /// A record whose own bytes are not in the canonical form.
    #[error("a record that is not canonical")]
    RecordNotCanonical(#[source] CanonError),
    /// A field is missing or of the wrong type.
    #[error("an entry that does not decode")]
    Decode(#[source] minicbor::decode::Error),
    /// A field is there but makes no sense.
    #[error("an entry whose {0} makes no sense")]
    Field(&'static str),
}

impl Entry {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, version, document, body) = match &self.body {
            Body::Record { kind, version, bytes } => (*kind, *version, None, bytes),
            Body::Change { document, kind, bytes } => (*kind, 1, Some(document), bytes),
        };
        let fields = 4
            + u64::from(self.part != 0)
            + u64::from(self.parts != 1)
            + u64::from(self.staff.is_some())
            + u64::from(version != 1)
            + u64::from(document.is_some());
        let mut out = Vec::with_capacity(body.len() + 64);
        let mut e = Encoder::new(&mut out);
        let written = (|| {
            e.map(fields)?.u8(0)?.u64(self.commit)?.u8(1)?.u64(self.at.0)?;
            if self.part != 0 {
                e.u8(2)?.u32(self.part)?;
            }
            if self.parts != 1 {
                e.u8(3)?.u32(self.parts)?;
            }
            if let Some(staff) = &self.staff {
                e.u8(4)?.bytes(staff)?;
            }
            e.u8(5)?.u16(kind)?;
            if version != 1 {
                e.u8(6)?.u16(version)?;
            }
            e.u8(7)?.bytes(body)?;
            if let Some(document) = document {
                e.u8(8)?.bytes(document)?;
            }
            Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
        })();
        written.expect("writing to a Vec cannot fail");
        out
    }

    /// Reads an entry from bytes of anyone.
    ///
    /// # Errors
    /// Anything that [`Entry::encode`] would not have written, save for keys that are not known yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge(bytes.len()));
        }
        check_canonical(bytes).map_err(EntryError::NotCanonical)?;
        let fields = Fields::read(bytes).map_err(EntryError::Decode)?;
        let commit = fields.commit.filter(|&c| c > 0).ok_or(EntryError::Field("commit"))?;
        let parts = fields.parts.unwrap_or(1);
        let part = fields.part.unwrap_or(0);
        if parts == 0 || parts > PARTS_MAX || part >= parts || fields.part == Some(0) || fields.parts == Some(1) {
            return Err(EntryError::Field("part"));
        }
        let kind = fields.kind.ok_or(EntryError::Field("kind"))?;
        let body = fields.body.ok_or(EntryError::Field("body"))?;
        let body = match (fields.document, fields.version) {
            (None, Some(1)) | (Some(_), Some(_)) => return Err(EntryError::Field("version")),
            (None, version) => {
                check_canonical(&body).map_err(EntryError::RecordNotCanonical)?;
                Body::Record { kind, version: version.unwrap_or(1), bytes: body }
            }
            (Some(document), None) => Body::Change { document, kind, bytes: body },
        };
        let at = Hlc(fields.at.ok_or(EntryError::Field("at"))?);
        Ok(Self { commit, part, parts, at, staff: fields.staff, body })
    }
}

#[derive(Default)]
struct Fields {
    commit: Option<u64>,
    at: Option<u64>,
    part: Option<u32>,
    parts: Option<u32>,
    staff: Option<[u8; 16]>,
    kind: Option<u16>,
    version: Option<u16>,
    body: Option<Vec<u8>>,
    document: Option<[u8; 16]>,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let mut d = Decoder::new(bytes);
        let mut fields = Self::default();
        let pairs = d.map()?.unwrap_or(0);
        for _ in 0..pairs {
            match d.u64()? {
                0 => fields.commit = Some(d.u64()?),
                1 => fields.at = Some(d.u64()?),
                2 => fields.part = Some(d.u32()?),
                3 => fields.parts = Some(d.u32()?),
                4 => fields.staff = Some(id(&mut d)?),
                5 => fields.kind = Some(d.u16()?),
                6 => fields.version = Some(d.u16()?),
                7 => fields.body = Some(d.bytes()?.to_vec()),
                8 => fields.document = Some(id(&mut d)?),
                _ => d.skip()?,
            }
        }
        Ok(fields)
    }
}

fn id(d: &mut Decoder<'_>) -> Result<[u8; 16], minicbor::decode::Error> {
    let at = d.position();
    d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("an id is 16 bytes").at(at))
}
