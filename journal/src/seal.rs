//! The seal: one signature over the heads of all of an origin's chains after a commit.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use minicbor::Encoder;
use sha2::{Digest, Sha256};

use crate::{Hash, Origin, Scope};

const SEAL_TAG: &[u8] = b"evertill/seal/1\0";
const HEADS_TAG: &[u8] = b"evertill/heads/1\0";

/// Where one chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of entries in it.
    pub seq: u64,
    /// The hash of the last one; the genesis hash when there is none.
    pub hash: Hash,
}

/// A signature over a commit, with the heads of those scopes that its receiver does not follow and so cannot know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The Ed25519 signature.
    pub signature: [u8; 64],
    /// Heads of scopes that the receiver does not follow.
    pub foreign: Vec<(Scope, Head)>,
}

/// The digest of a list of heads: SHA-256 over a tag and the canonical CBOR array of `[scope, seq, hash]`, ascending by scope.
pub fn heads_digest(heads: &BTreeMap<Scope, Head>) -> Hash {
    let mut bytes = HEADS_TAG.to_vec();
    let mut e = Encoder::new(&mut bytes);
    let written = (|| {
        e.array(heads.len() as u64)?;
        for (scope, head) in heads {
            e.array(3)?.str(scope.as_str())?.u64(head.seq)?.bytes(&head.hash)?;
        }
        Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
    })();
    written.expect("writing to a Vec cannot fail");
    Sha256::digest(&bytes).into()
}

/// The bytes that a seal signs.
fn message(origin: Origin, commit: u64, heads: &BTreeMap<Scope, Head>) -> Vec<u8> {
    [SEAL_TAG, &origin.device, &origin.incarnation, &commit.to_be_bytes(), &heads_digest(heads)].concat()
}

/// Signs the heads of an origin after a commit.
pub fn sign(key: &SigningKey, origin: Origin, commit: u64, heads: &BTreeMap<Scope, Head>) -> [u8; 64] {
    key.sign(&message(origin, commit, heads)).to_bytes()
}

/// Whether a signature is the key's over these heads.
pub fn verify(key: &VerifyingKey, origin: Origin, commit: u64, heads: &BTreeMap<Scope, Head>, signature: &[u8; 64]) -> bool {
    key.verify_strict(&message(origin, commit, heads), &Signature::from_bytes(signature)).is_ok()
}
