//! Whether the log is still what was signed: every entry follows the one before it, and every seal holds. A step looks at a few entries, so that nobody waits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Known;

use journal::chain::link;
use journal::{Entry, OriginChain, Scope, VerifyingKey, seal};
use rusqlite::{Connection, params};

use super::lines::{self, Line};
use super::{StoreError, log, retention};

/// Entries of one step: a few milliseconds.
pub const STEP_ENTRIES: u32 = 32;

/// A look through the log, from entry to entry.
#[derive(Debug, Default)]
pub struct Audit {
    /// The last entry that was looked at.
    pub at: i64,
    /// How many were looked at.
    pub entries: u64,
    /// Where each history stood there, by its row, and whose key its seals are checked with.
    lines: BTreeMap<i64, (OriginChain, Option<VerifyingKey>)>,
}

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// All is well, and there is more.
    More,
    /// All is well, to the end.
    Whole,
    /// Something is not what was signed, in a few words.
    Broken(String),
}

impl Audit {
    /// Goes on from after an entry.
    pub fn after(entry: i64) -> Self {
        Self { at: entry, ..Self::default() }
    }

    /// Looks at the next few entries. `key_of` says whose key a device's seals are checked with; seals of devices that it does not know are not checked.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn step(
        &mut self,
        db: &Connection,
        key_of: impl Fn([u8; 16]) -> Result<Option<VerifyingKey>, StoreError>,
    ) -> Result<Found, StoreError> {
        let mut select = db.prepare_cached(
            "SELECT e.id, e.origin, s.name, e.seq, e.commit_no, e.hash, e.bytes, e.seal FROM entry e JOIN scope s ON s.id = e.scope
             WHERE e.id > ?1 ORDER BY e.id LIMIT ?2",
        )?;
        let mut rows = select.query(params![self.at, STEP_ENTRIES])?;
        let mut looked_at = 0;
        while let Some(r) = rows.next()? {
            let (id, row): (i64, i64) = (r.get(0)?, r.get(1)?);
            let scope = Scope::new(r.get::<_, String>(2)?).map_err(|_| StoreError::Damaged("a scope name"))?;
            let (seq, commit): (u64, u64) = (r.get(3)?, r.get(4)?);
            let (hash, bytes): (journal::Hash, Vec<u8>) = (r.get(5)?, r.get(6)?);
            let (chain, key) = match self.lines.entry(row) {
                Known::Occupied(known) => known.into_mut(),
                Known::Vacant(new) => {
                    let line = Line { row, parent: lines::parent(db, row)?, chain: log::load_chain(db, row)? };
                    let chain = lines::chain_after(db, &line, commit.saturating_sub(1))?;
                    let key = key_of(chain.origin.device)?;
                    new.insert((chain, key))
                }
            };
            if bytes.is_empty() && commit <= retention::floor(db, row)? {
                // It has gone: what comes after it is checked against its hash.
                chain.heads.insert(scope, journal::Head { seq, hash });
                chain.commit = commit;
                self.at = id;
                looked_at += 1;
                continue;
            }
            let before = chain.head(&scope);
            let follows = seq == before.seq + 1
                && link(&before.hash, &bytes) == hash
                && Entry::decode(&bytes).is_ok_and(|entry| entry.commit == commit);
            if !follows {
                return Ok(Found::Broken(format!("entry {seq} of {scope} in row {id} is not what was signed")));
            }
            chain.heads.insert(scope, journal::Head { seq, hash });
            chain.commit = commit;
            if let Some(seal) = r.get::<_, Option<Vec<u8>>>(7)? {
                let seal = log::decode_seal(&seal)?;
                chain.heads.extend(seal.foreign);
                let holds = |key: &VerifyingKey| seal::verify(key, chain.origin, commit, &chain.heads, &seal.signature);
                if !key.as_ref().is_none_or(holds) {
                    return Ok(Found::Broken(format!("the seal of commit {commit} in row {id} does not hold")));
                }
            }
            self.at = id;
            looked_at += 1;
        }
        self.entries += u64::from(looked_at);
        Ok(if looked_at < STEP_ENTRIES { Found::Whole } else { Found::More })
    }
}
