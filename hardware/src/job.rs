//! One piece of printing work: its identity, its bytes, and what was noticed while making them.

use crate::error::ErrorKind;
use crate::ticket::TicketError;

/// The caller's id of a print job, usually the bytes of a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId([u8; 16]);

/// The four printable characters that a printer sends back when it has printed a job.
///
/// They are derived from the [`JobId`]; two jobs share them once in about 80 million pairs, so
/// they tell an answer to this job from a stale one but are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId([u8; 4]);

/// Bytes for one printer, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedJob {
    /// Whose bytes these are.
    pub job: JobId,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub sha256: [u8; 32],
    /// What the printer is asked to send back, when its profile can.
    pub process_id: Option<ProcessId>,
    /// What does not look as the ticket meant it. Empty for a faithful print.
    pub warnings: Vec<Warning>,
}

/// Something on the paper that is not what the ticket said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The bundled font has no picture of a character; a box with its code point is printed.
    #[error("no glyph for U+{:04X}", u32::from(*character))]
    NoGlyph {
        /// The character.
        character: char,
    },
    /// Right-to-left text is printed without joining or reordering its letters.
    #[error("right-to-left text is not shaped: {text}")]
    NotShaped {
        /// The line.
        text: String,
    },
    /// Control characters were left out.
    #[error("{count} control characters were left out")]
    ControlCharacters {
        /// How many, in the whole ticket.
        count: usize,
    },
    /// A QR code or barcode does not fit on the paper; its content is printed as text.
    #[error("a {symbol} is too wide for the paper and is printed as text")]
    SymbolTooWide {
        /// Which kind.
        symbol: &'static str,
    },
}

/// Why a ticket could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ticket cannot be encoded")]
pub struct EncodeError(#[from] pub TicketError);

impl EncodeError {
    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidDocument
    }
}

impl JobId {
    /// An id from 16 bytes, such as `Uuid::into_bytes`.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes it was made of.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What the printer sends back for this job.
    pub fn process_id(&self) -> ProcessId {
        // FNV-1a over the id, written in the 95 printable characters.
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for byte in self.0 {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        // FNV leaves its low bits weak; folding the halves mixes the high ones in.
        hash ^= hash >> 32;
        ProcessId(std::array::from_fn(|at| {
            let digit = (hash / 95_u64.pow(at as u32)) % 95;
            0x20 + digit as u8
        }))
    }
}

impl ProcessId {
    /// The id with these characters; `None` unless all are printable ASCII.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        bytes.iter().all(|byte| (0x20..0x7F).contains(byte)).then_some(Self(bytes))
    }

    /// The characters as bytes.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn process_ids_are_printable_and_spread() {
        let ids: BTreeSet<ProcessId> = (0_u128..2_000)
            .map(|n| JobId::from_bytes((0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + n).to_be_bytes()).process_id())
            .collect();
        assert!(ids.len() >= 1_999, "{} of 2000 distinct", ids.len());
        assert!(ids.iter().all(|id| ProcessId::from_bytes(*id.as_bytes()).is_some()));
        assert_eq!(ProcessId::from_bytes(*b"a\x1bcd"), None);
    }
}
