//! Where an origin's chains stand: appending new commits, verifying received ones.
//!
//! `hash = SHA-256("evertill/entry/1\0" ‖ prev ‖ entry bytes)`; the chain of a scope starts from
//! `SHA-256("evertill/genesis/1\0" ‖ device ‖ incarnation ‖ scope)`, so a hash binds origin, scope and place as well.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::entry::{Body, Entry, EntryError, PARTS_MAX};
use crate::hlc::Hlc;
use crate::seal::{self, Head, Seal};
use crate::{Hash, Origin, Scope, SigningKey, VerifyingKey};

const ENTRY_TAG: &[u8] = b"evertill/entry/1\0";
const GENESIS_TAG: &[u8] = b"evertill/genesis/1\0";

/// The hash before the first entry of a chain.
pub fn genesis(origin: Origin, scope: &Scope) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(GENESIS_TAG);
    hasher.update(origin.device);
    hasher.update(origin.incarnation);
    hasher.update(scope.as_str().as_bytes());
    hasher.finalize().into()
}

/// The hash of an entry after the one whose hash is `prev`.
pub fn link(prev: &Hash, entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(ENTRY_TAG);
    hasher.update(prev);
    hasher.update(entry);
    hasher.finalize().into()
}

/// Where the chains of one origin stand, as far as the holder follows its scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginChain {
    /// Whose chains.
    pub origin: Origin,
    /// The last commit.
    pub commit: u64,
    /// The head of every scope that has an entry, those that are not followed included once a seal named them.
    pub heads: BTreeMap<Scope, Head>,
}

/// What a device wants to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The scope it belongs to.
    pub scope: Scope,
    /// What it says.
    pub body: Body,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainedEntry {
    /// The scope.
    pub scope: Scope,
    /// Its number in the chain, from 1.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// The bytes, read.
    pub entry: Entry,
}

/// A commit that its own device has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCommit {
    /// Its number.
    pub number: u64,
    /// Its entries, in order.
    pub entries: Vec<ChainedEntry>,
    /// The signature over the heads after it.
    pub signature: [u8; 64],
}

/// A commit as it came from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedCommit {
    /// The entries, in order; those of scopes that the receiver does not follow are left out.
    pub entries: Vec<(Scope, Vec<u8>)>,
    /// The seal. A run of commits needs one at its end; the chain carries it back over those before.
    pub seal: Option<Seal>,
}

/// Whether a receiver follows all of an origin's scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View<'a> {
    /// All of them: commits are gapless and whole.
    Whole,
    /// These of them: commit numbers ascend, and parts may be missing.
    Partial(&'a BTreeSet<Scope>),
}

impl View<'_> {
    fn follows(self, scope: &Scope) -> bool {
        match self {
            View::Whole => true,
            View::Partial(scopes) => scopes.contains(scope),
        }
    }
}

/// Why a received commit is refused. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Bytes that are no entry.
    #[error("part {part} of the commit is no entry")]
    Entry {
        /// Its place among the received entries, from 0.
        part: usize,
        /// Why.
        #[source]
        source: EntryError,
    },
    /// Another commit was due.
    #[error("commit {got} where {due} was due")]
    OutOfOrder {
        /// The commit that came.
        got: u64,
        /// The commit that was due, or the least that was.
        due: u64,
    },
    /// Parts are missing, repeated, out of order, or of different commits.
    #[error("the parts of commit {0} do not fit together")]
    Parts(u64),
    /// The signature is not the device's over these heads: an entry was altered, left out or put in.
    #[error("the seal of commit {0} does not hold")]
    Seal(u64),
    /// An entry of a scope that is not followed, or a seal that names the head of one that is.
    #[error("commit {0} mixes scopes that are followed with others")]
    Foreign(u64),
    /// No seal where one is needed.
    #[error("commit {0} has no seal")]
    Unsealed(u64),
}

impl OriginChain {
    /// The chains of an origin that has written nothing.
    pub fn new(origin: Origin) -> Self {
        Self { origin, commit: 0, heads: BTreeMap::new() }
    }

    /// The head of a scope; the genesis hash when nothing is in it.
    pub fn head(&self, scope: &Scope) -> Head {
        self.heads.get(scope).copied().unwrap_or_else(|| Head { seq: 0, hash: genesis(self.origin, scope) })
    }

    /// The digest of all heads.
    pub fn digest(&self) -> Hash {
        seal::heads_digest(&self.heads)
    }

    /// Chains and seals the next commit. `self` moves on; a writer that then fails to store it drops this chain and reads it again from disk.
    ///
    /// # Panics
    /// With no entry, or more than [`PARTS_MAX`]: a caller's mistake.
    pub fn append(&mut self, key: &SigningKey, at: Hlc, staff: Option<[u8; 16]>, new: Vec<NewEntry>) -> SealedCommit {
        let parts = u32::try_from(new.len()).ok().filter(|p| (1..=PARTS_MAX).contains(p));
        let parts = parts.expect("a commit has 1 to PARTS_MAX entries");
        let number = self.commit + 1;
        let entries: Vec<_> = (0..parts)
            .zip(new)
            .map(|(part, NewEntry { scope, body })| {
                let entry = Entry { commit: number, part, parts, at, staff, body };
                let bytes = entry.encode();
                self.chain(scope, bytes, entry)
            })
            .collect();
        self.commit = number;
        let signature = seal::sign(key, self.origin, number, &self.heads);
        SealedCommit { number, entries, signature }
    }

    /// Verifies a run of commits that follows what is here, and answers their entries in order.
    ///
    /// The last commit must carry a seal; every seal that is there is checked.
    ///
    /// # Errors
    /// The first commit that does not fit; `self` is then as it was.
    pub fn verify(
        &mut self,
        key: &VerifyingKey,
        view: View<'_>,
        run: Vec<ReceivedCommit>,
    ) -> Result<Vec<Vec<ChainedEntry>>, ChainError> {
        let mut next = self.clone();
        let mut sealed = true;
        let mut commits = Vec::with_capacity(run.len());
        for received in run {
            let seal = received.seal.clone();
            commits.push(next.take(view, received)?);
            sealed = seal.is_some();
            if let Some(seal) = seal {
                next.check_seal(key, view, &seal)?;
            }
        }
        if !sealed {
            return Err(ChainError::Unsealed(next.commit));
        }
        *self = next;
        Ok(commits)
    }

    fn take(&mut self, view: View<'_>, received: ReceivedCommit) -> Result<Vec<ChainedEntry>, ChainError> {
        let mut chained: Vec<ChainedEntry> = Vec::with_capacity(received.entries.len());
        for (part, (scope, bytes)) in received.entries.into_iter().enumerate() {
            let entry = Entry::decode(&bytes).map_err(|source| ChainError::Entry { part, source })?;
            if !view.follows(&scope) {
                return Err(ChainError::Foreign(entry.commit));
            }
            match chained.last() {
                None => self.check_number(view, entry.commit)?,
                Some(last) => {
                    let fits =
                        last.entry.commit == entry.commit && last.entry.parts == entry.parts && last.entry.part < entry.part;
                    if !fits {
                        return Err(ChainError::Parts(entry.commit));
                    }
                }
            }
            chained.push(self.chain(scope, bytes, entry));
        }
        let Some(last) = chained.last() else { return Err(ChainError::Parts(self.commit + 1)) };
        let (number, parts) = (last.entry.commit, last.entry.parts as usize);
        if view == View::Whole && chained.len() != parts {
            return Err(ChainError::Parts(number));
        }
        self.commit = number;
        Ok(chained)
    }

    fn check_number(&self, view: View<'_>, got: u64) -> Result<(), ChainError> {
        let due = self.commit + 1;
        let fits = match view {
            View::Whole => got == due,
            View::Partial(_) => got >= due,
        };
        if fits { Ok(()) } else { Err(ChainError::OutOfOrder { got, due }) }
    }

    fn check_seal(&mut self, key: &VerifyingKey, view: View<'_>, seal: &Seal) -> Result<(), ChainError> {
        for (scope, head) in &seal.foreign {
            if view.follows(scope) {
                return Err(ChainError::Foreign(self.commit));
            }
            self.heads.insert(scope.clone(), *head);
        }
        if !seal::verify(key, self.origin, self.commit, &self.heads, &seal.signature) {
            return Err(ChainError::Seal(self.commit));
        }
        Ok(())
    }

    fn chain(&mut self, scope: Scope, bytes: Vec<u8>, entry: Entry) -> ChainedEntry {
        let before = self.head(&scope);
        let head = Head { seq: before.seq + 1, hash: link(&before.hash, &bytes) };
        self.heads.insert(scope.clone(), head);
        ChainedEntry { scope, seq: head.seq, hash: head.hash, bytes, entry }
    }
}
