//! A field's value with who wrote it and when: the canonical CBOR array `[value, hlc, author]`.

use automerge::{ScalarValue, Value};
use journal::Hlc;
use minicbor::{Decoder, Encoder};

/// A field's value with who wrote it and when.
#[derive(Debug, Clone)]
pub(super) struct Register {
    /// Canonical CBOR.
    pub(super) value: Vec<u8>,
    pub(super) at: Hlc,
    pub(super) author: [u8; 16],
}

impl Register {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0x83];
        out.extend_from_slice(&self.value);
        let written = Encoder::new(&mut out).u64(self.at.0).and_then(|e| e.bytes(&self.author)).map(|_| ());
        written.expect("writing to a Vec cannot fail");
        out
    }

    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        let Value::Scalar(scalar) = value else { return None };
        Self::of_scalar(scalar)
    }

    pub(super) fn of_scalar(scalar: &ScalarValue) -> Option<Self> {
        let ScalarValue::Bytes(bytes) = scalar else { return None };
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
