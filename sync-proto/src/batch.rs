//! Runs of commits of one origin, as they travel.
//!
//! What is the same for the whole run travels once: the origin, its scopes, and where the chains stand before the first commit. The
//! entries follow as their exact bytes. Only the last commit of a run must carry a seal: the chain carries it back over the rest.

use std::collections::BTreeMap;

use journal::{Head, Origin, ReceivedCommit, Scope, Seal};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// Most commits of one run.
pub const RUN_COMMITS_MAX: usize = 4_096;
/// Most scopes of one run.
pub const RUN_SCOPES_MAX: usize = 64;
/// Most heads that a seal names because the receiver does not follow their scopes: a server writes to a scope of each store.
pub const SEAL_HEADS_MAX: usize = 4_096;

/// A run of commits of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Who wrote them.
    pub origin: Origin,
    /// For every scope that occurs, the head before the first commit.
    pub before: BTreeMap<Scope, Head>,
    /// The commits, ascending.
    pub commits: Vec<ReceivedCommit>,
}

/// A run that does not fit together. It is refused whole.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The encoding is broken.
    #[error("a run of commits that does not decode")]
    Decode(#[source] minicbor::decode::Error),
    /// A bound or a reference does not hold.
    #[error("a run of commits with {0}")]
    Shape(&'static str),
}

#[derive(Encode, Decode)]
pub(crate) struct RunWire {
    #[n(0)]
    device: ByteVec,
    #[n(1)]
    incarnation: ByteVec,
    #[n(2)]
    scopes: Vec<HeadWire>,
    #[n(3)]
    commits: Vec<CommitWire>,
}

#[derive(Encode, Decode)]
struct HeadWire {
    #[n(0)]
    scope: String,
    #[n(1)]
    seq: u64,
    #[n(2)]
    hash: ByteVec,
}

#[derive(Encode, Decode)]
struct CommitWire {
    #[n(0)]
    entries: Vec<EntryWire>,
    #[n(1)]
    seal: Option<SealWire>,
}

#[derive(Encode, Decode)]
struct EntryWire {
    /// Position in the run's scopes.
    #[n(0)]
    scope: u32,
    #[n(1)]
    bytes: ByteVec,
}

#[derive(Encode, Decode)]
struct SealWire {
    #[n(0)]
    signature: ByteVec,
    #[n(1)]
    foreign: Option<Vec<HeadWire>>,
}

impl HeadWire {
    fn new(scope: &Scope, head: &Head) -> Self {
        Self { scope: scope.as_str().to_owned(), seq: head.seq, hash: head.hash.to_vec().into() }
    }

    fn read(self) -> Result<(Scope, Head), RunError> {
        let scope = Scope::new(self.scope).map_err(|_| RunError::Shape("a scope that is no name"))?;
        Ok((scope, Head { seq: self.seq, hash: fixed(&self.hash)? }))
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], RunError> {
    bytes.try_into().map_err(|_| RunError::Shape("an id, hash or signature of the wrong length"))
}

impl Run {
    pub(crate) fn to_wire(&self) -> RunWire {
        let position: BTreeMap<&Scope, u32> = self.before.keys().zip(0u32..).collect();
        RunWire {
            device: self.origin.device.to_vec().into(),
            incarnation: self.origin.incarnation.to_vec().into(),
            scopes: self.before.iter().map(|(scope, head)| HeadWire::new(scope, head)).collect(),
            commits: self
                .commits
                .iter()
                .map(|commit| CommitWire {
                    entries: commit
                        .entries
                        .iter()
                        .map(|(scope, bytes)| EntryWire { scope: position[scope], bytes: bytes.clone().into() })
                        .collect(),
                    seal: commit.seal.as_ref().map(|seal| SealWire {
                        signature: seal.signature.to_vec().into(),
                        foreign: (!seal.foreign.is_empty())
                            .then(|| seal.foreign.iter().map(|(scope, head)| HeadWire::new(scope, head)).collect()),
                    }),
                })
                .collect(),
        }
    }

    pub(crate) fn from_wire(wire: RunWire) -> Result<Self, RunError> {
        if wire.commits.is_empty() || wire.commits.len() > RUN_COMMITS_MAX {
            return Err(RunError::Shape("no commits, or too many"));
        }
        if wire.scopes.len() > RUN_SCOPES_MAX {
            return Err(RunError::Shape("too many scopes"));
        }
        let origin = Origin { device: fixed(&wire.device)?, incarnation: fixed(&wire.incarnation)? };
        let heads = wire.scopes.into_iter().map(HeadWire::read).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<Scope> = heads.iter().map(|(scope, _)| scope.clone()).collect();
        let before: BTreeMap<_, _> = heads.into_iter().collect();
        if before.len() != names.len() {
            return Err(RunError::Shape("a scope named twice"));
        }
        let commits = wire.commits.into_iter().map(|commit| commit.read(&names)).collect::<Result<_, _>>()?;
        Ok(Self { origin, before, commits })
    }

    /// Roughly how many bytes it is on the wire before compression.
    pub fn bytes(&self) -> usize {
        let entries: usize = self.commits.iter().flat_map(|c| &c.entries).map(|(_, bytes)| bytes.len() + 4).sum();
        entries + self.commits.len() * 4 + self.before.len() * 100 + 120
    }
}

impl CommitWire {
    fn read(self, names: &[Scope]) -> Result<ReceivedCommit, RunError> {
        if self.entries.len() > journal::entry::PARTS_MAX as usize {
            return Err(RunError::Shape("too many entries in a commit"));
        }
        let entries = self
            .entries
            .into_iter()
            .map(|entry| {
                let scope = names.get(entry.scope as usize).ok_or(RunError::Shape("an entry of a scope it does not name"))?;
                Ok((scope.clone(), entry.bytes.into()))
            })
            .collect::<Result<_, RunError>>()?;
        let seal = self
            .seal
            .map(|seal| {
                let foreign = seal.foreign.unwrap_or_default();
                if foreign.len() > SEAL_HEADS_MAX {
                    return Err(RunError::Shape("too many scopes in a seal"));
                }
                let foreign = foreign.into_iter().map(HeadWire::read).collect::<Result<_, _>>()?;
                Ok(Seal { signature: fixed(&seal.signature)?, foreign })
            })
            .transpose()?;
        Ok(ReceivedCommit { entries, seal })
    }
}
