//! The histories of an origin, and which of them a run goes on from.
//!
//! A till that was put back from a backup, or copied, and that wrote on has two histories under one incarnation, each signed. Both are kept
//! exactly as they were signed. A holder calls each a line: the first that came to it, and every later one, which leaves another line after some
//! commit. A run of commits says by the heads before it which line it goes on from, so that lines need no name on the wire, and two holders need
//! not agree which of them came first.

use journal::chain::{genesis, link};
use journal::{Entry, EntryError, Hash, Head, OriginChain, ReceivedCommit, Scope};

use crate::batch::Run;

/// Most lines that are kept of one origin. A device that signs more histories than that is no accident.
pub const LINES_MAX: usize = 64;

/// The lines of one origin, as their holder has them.
pub trait Lines {
    /// Why a look into them fails.
    type Error;

    /// Where each of them stands; the first that came is the first.
    fn chains(&self) -> Vec<&OriginChain>;

    /// The hash of an entry on a line, be it from before it left another; none beyond the line's end.
    ///
    /// # Errors
    /// When the holder cannot look.
    fn hash_on(&self, line: usize, scope: &Scope, seq: u64) -> Result<Option<Hash>, Self::Error>;
}

/// How far a run and a line agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Which line, from 0.
    pub line: usize,
    /// How many commits of the run are on it.
    pub known: usize,
    /// Set when the line goes on otherwise than the run: after which commit.
    pub leaves_after: Option<u64>,
}

/// Why no line is found.
#[derive(Debug, thiserror::Error)]
pub enum LinesError<E> {
    /// Bytes that are no entry.
    #[error("the run holds bytes that are no entry")]
    Entry(#[from] EntryError),
    /// The run begins beyond the end of every line, or on a history that is not here.
    #[error("what is before the run is not here")]
    Gap,
    /// The holder cannot look.
    #[error("the lines cannot be read")]
    Look(E),
}

/// Which lines have most of a run, one or several that have as much of it; none when the run begins an origin of which nothing is here. Only its
/// seal tells several apart: they differ in scopes that do not occur in the run.
///
/// # Errors
/// When the run begins where no line is.
pub fn agree<L: Lines>(lines: &L, run: &Run) -> Result<Vec<Agreement>, LinesError<L::Error>> {
    let chains = lines.chains();
    let mut best: Vec<Agreement> = Vec::new();
    let rank = |a: &Agreement| (a.known, a.leaves_after.is_none());
    for (line, chain) in chains.iter().enumerate() {
        let Some(found) = agreement(lines, line, chain, run)? else { continue };
        let known = best.first().map(rank);
        if known.is_none_or(|known| rank(&found) > known) {
            best = vec![found];
        } else if known == Some(rank(&found)) {
            best.push(found);
        }
    }
    let begins = || run.before.iter().all(|(scope, head)| *head == Head { seq: 0, hash: genesis(run.origin, scope) });
    if best.is_empty() && !(chains.is_empty() && begins()) {
        return Err(LinesError::Gap);
    }
    Ok(best)
}

/// How far a run agrees with one line; none when it does not begin on it.
fn agreement<L: Lines>(
    lines: &L,
    line: usize,
    chain: &OriginChain,
    run: &Run,
) -> Result<Option<Agreement>, LinesError<L::Error>> {
    let look = |scope: &Scope, seq: u64| match seq {
        0 => Ok(Some(genesis(run.origin, scope))),
        seq if seq > chain.head(scope).seq => Ok(None),
        seq if seq == chain.head(scope).seq => Ok(Some(chain.head(scope).hash)),
        seq => lines.hash_on(line, scope, seq).map_err(LinesError::Look),
    };
    let mut heads = run.before.clone();
    for (scope, head) in &heads {
        if look(scope, head.seq)? != Some(head.hash) {
            return Ok(None);
        }
    }
    for (known, ReceivedCommit { entries, .. }) in run.commits.iter().enumerate() {
        // A commit of nothing is on no line, and does not verify.
        let Some((_, first)) = entries.first() else { return Ok(Some(Agreement { line, known, leaves_after: None })) };
        let mut commit = None;
        for (scope, bytes) in entries {
            let Some(head) = heads.get_mut(scope) else { return Ok(None) };
            *head = Head { seq: head.seq + 1, hash: link(&head.hash, bytes) };
            let here = look(scope, head.seq)?;
            if here == Some(head.hash) {
                continue;
            }
            let number = *commit.get_or_insert(Entry::decode(first)?.commit);
            // Where the line ends the run goes on; where it has something else they part.
            let leaves_after = (here.is_some() || number <= chain.commit).then_some(number.saturating_sub(1));
            return Ok(Some(Agreement { line, known, leaves_after }));
        }
    }
    Ok(Some(Agreement { line, known: run.commits.len(), leaves_after: None }))
}
