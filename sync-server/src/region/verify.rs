//! Reading the whole log as an outsider would.

use std::collections::BTreeMap;

use domain::record::{DeviceKind, Record};
use journal::{Body, ChainError, ChainedEntry, Entry, OriginChain, ReceivedCommit, Scope, Seal, VerifyingKey, View};

use super::lines::Line;
use super::{Region, RegionError};

/// Commits that are verified together; a run goes on to the next seal.
const COMMITS_TOGETHER: usize = 64;
/// The kind of the record that admits a device.
const DEVICE_ENROLLED: u16 = 20;

/// Why a log does not hold.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A chain or a seal does not hold.
    #[error("the chain of device {} breaks: {source}", uuid::Uuid::from_bytes(*device))]
    Chain {
        /// Whose.
        device: [u8; 16],
        /// Where and how.
        source: ChainError,
    },
    /// An entry's hash is not the one beside it.
    #[error("entry {seq} of device {} is not the one that was kept", uuid::Uuid::from_bytes(*device))]
    Hash {
        /// Whose.
        device: [u8; 16],
        /// Which.
        seq: u64,
    },
    /// Nobody admitted the device.
    #[error("device {} was never enrolled", uuid::Uuid::from_bytes(*_0))]
    Unknown([u8; 16]),
    /// The log cannot be read.
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// Whom a server has named.
#[derive(Clone, Copy)]
struct Named {
    key: VerifyingKey,
    is_server: bool,
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Region(error.into())
    }
}

impl Region {
    /// Verifies every chain from its beginning and every seal, and answers how many entries that were. The server's own come first: they
    /// hold against the server's key, and say which keys devices and other servers have; what those say comes next, and devices last.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self) -> Result<u64, VerifyError> {
        let own = self.own.device;
        let mut named = BTreeMap::from([(own, Named { key: self.own_key.verifying_key(), is_server: true })]);
        let mut left: Vec<_> = self.lines.iter().collect();
        let mut entries = 0;
        loop {
            // Servers name devices, and other servers.
            let is_server = |device: &[u8; 16]| named.get(device).is_some_and(|of| of.is_server);
            let (servers, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(origin, _)| is_server(&origin.device));
            left = others;
            if servers.is_empty() {
                break;
            }
            for (origin, lines) in servers {
                let key = named[&origin.device].key;
                for line in lines {
                    entries += self.verify_line(line, &key, &mut |entry| note_key(entry, &mut named))?;
                }
            }
        }
        for (origin, lines) in left {
            let Named { key, .. } = *named.get(&origin.device).ok_or(VerifyError::Unknown(origin.device))?;
            for line in lines {
                entries += self.verify_line(line, &key, &mut |_| {})?;
            }
        }
        Ok(entries)
    }

    fn verify_line(&self, line: &Line, key: &VerifyingKey, note: &mut dyn FnMut(&ChainedEntry)) -> Result<u64, VerifyError> {
        let device = line.chain.origin.device;
        let scopes: BTreeMap<i64, &Scope> = self.scope_ids.iter().map(|(scope, id)| (*id, scope)).collect();
        let mut statement = self.db.prepare_cached(
            "SELECT scope, commit_no, hash, bytes, seal FROM entry WHERE origin = ?1 ORDER BY commit_no, region_seq",
        )?;
        let mut rows = statement.query([line.row])?;
        let mut chain = match line.parent {
            None => OriginChain::new(line.chain.origin),
            Some((parent, after)) => self.chain_after(self.line(parent)?, after)?,
        };
        let (mut run, mut hashes, mut entries) = (Vec::<ReceivedCommit>::new(), Vec::<journal::Hash>::new(), 0);
        let mut open = None;
        while let Some(row) = rows.next()? {
            let number: u64 = row.get(1)?;
            let sealed = run.last().is_some_and(|commit| commit.seal.is_some());
            if open != Some(number) {
                if run.len() >= COMMITS_TOGETHER && sealed {
                    entries += hold(&mut chain, key, &mut run, &mut hashes, note)?;
                }
                run.push(ReceivedCommit { entries: Vec::new(), seal: None });
                open = Some(number);
            }
            let scope = *scopes.get(&row.get(0)?).ok_or(RegionError::Damaged("a scope"))?;
            let commit = run.last_mut().expect("one was pushed for the first row");
            commit.entries.push((scope.clone(), row.get(3)?));
            commit.seal = row.get::<_, Option<[u8; 64]>>(4)?.map(|signature| Seal { signature, foreign: Vec::new() });
            hashes.push(row.get(2)?);
        }
        if !run.is_empty() {
            entries += hold(&mut chain, key, &mut run, &mut hashes, note)?;
        }
        if chain != line.chain {
            let seq = chain.heads.values().map(|head| head.seq).max().unwrap_or(0);
            return Err(VerifyError::Hash { device, seq });
        }
        Ok(entries)
    }
}

/// Verifies a run and empties it.
fn hold(
    chain: &mut OriginChain,
    key: &VerifyingKey,
    run: &mut Vec<ReceivedCommit>,
    hashes: &mut Vec<journal::Hash>,
    note: &mut dyn FnMut(&ChainedEntry),
) -> Result<u64, VerifyError> {
    let device = chain.origin.device;
    let commits = chain.verify(key, View::Whole, std::mem::take(run)).map_err(|source| VerifyError::Chain { device, source })?;
    let entries: Vec<ChainedEntry> = commits.into_iter().flatten().collect();
    for (entry, hash) in entries.iter().zip(std::mem::take(hashes)) {
        if entry.hash != hash {
            return Err(VerifyError::Hash { device, seq: entry.seq });
        }
        note(entry);
    }
    Ok(entries.len() as u64)
}

/// Keeps the key of a device that a server has named.
fn note_key(entry: &ChainedEntry, named: &mut BTreeMap<[u8; 16], Named>) {
    let Entry { body: Body::Record { kind: DEVICE_ENROLLED, version, bytes }, .. } = &entry.entry else { return };
    let Ok(Some(Record::DeviceEnrolled(enrolled))) = Record::decode(DEVICE_ENROLLED, *version, bytes) else { return };
    if let Ok(key) = VerifyingKey::from_bytes(&enrolled.public_key) {
        // The server's own key is the one that it holds, whatever the log says.
        let is_server = enrolled.kind == DeviceKind::Server;
        named.entry(*enrolled.device.as_bytes()).or_insert(Named { key, is_server });
    }
}
