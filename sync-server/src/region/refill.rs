//! Taking entries from the central store: all of them after the log was lost, what is newer after it was put back from a backup, and what other
//! regions brought: all that servers write, and what happens in the stores that are served here.
//!
//! Rows come in the order in which the store took them. That is the order of their chains, save where a device has two histories: there an entry may
//! come before the one that it follows. [`Refill`] therefore holds commits until what is before them is here. Every commit is verified like one that
//! comes from a device; what does not hold is left out and said. What a writer wrote whom nobody here has named is passed over, and read again once
//! somebody does.

use std::collections::{BTreeMap, VecDeque};

use domain::ids::DeviceId;
use domain::record::DeviceKind;
use journal::chain::{genesis, link};
use journal::{Entry, Hash, Head, Origin, ReceivedCommit, Scope, Seal, VerifyingKey};
use sync_proto::batch::Run;

use super::{AdmitError, Region, RegionError};
use crate::central::{CentralRow, FeedRow};

/// Commits that may wait for what is before them.
const WAITING_MAX: usize = 100_000;

/// Where this log stands in the central store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CentralReading {
    /// How far it has been read.
    pub read_to: u64,
    /// How often it has been begun again further back since the log was opened.
    pub rewinds: u64,
    /// The stores of which all is read, by their scopes, beside what servers write.
    pub stores: Vec<Scope>,
}

/// Commits on their way from the central store into the log.
#[derive(Debug, Default)]
pub struct Refill {
    /// What [`CentralReading::rewinds`] was when they began to be read.
    rewinds: u64,
    /// Parts of commits that are not whole yet.
    parts: BTreeMap<(Origin, u64, journal::Hlc), Vec<Part>>,
    /// Whole commits by origin and number, in the order in which they came.
    waiting: BTreeMap<(Origin, u64), VecDeque<Whole>>,
    held: usize,
}

#[derive(Debug, Clone)]
struct Part {
    central_seq: u64,
    part: u32,
    scope: Scope,
    seq: u64,
    hash: Hash,
    bytes: Vec<u8>,
    seal: Option<[u8; 64]>,
}

#[derive(Debug, Clone)]
struct Whole {
    /// The first of its places in the central store.
    central_seq: u64,
    parts: Vec<Part>,
}

impl Refill {
    /// Nothing yet, of a reading that begins.
    pub fn of(reading: &CentralReading) -> Self {
        Self { rewinds: reading.rewinds, ..Self::default() }
    }

    /// Whether what it holds is of a reading that has been begun again since.
    pub fn is_of(&self, reading: &CentralReading) -> bool {
        self.rewinds == reading.rewinds
    }

    /// Adds rows of the central store.
    ///
    /// # Errors
    /// Rows that are no entries, or more that wait than accidents make.
    pub fn add(&mut self, rows: Vec<CentralRow>) -> Result<(), RegionError> {
        for CentralRow { central_seq, row } in rows {
            let FeedRow { device, incarnation, scope, seq, commit, hash, bytes, seal, .. } = row;
            let entry = Entry::decode(&bytes).map_err(|_| RegionError::Damaged("an entry of the central database"))?;
            let scope = Scope::new(scope).map_err(|_| RegionError::Damaged("a scope of the central database"))?;
            let origin = Origin { device, incarnation };
            let part = Part { central_seq, part: entry.part, scope, seq, hash, bytes, seal };
            let key = (origin, commit, entry.at);
            let parts = self.parts.entry(key).or_default();
            parts.push(part);
            if parts.len() < entry.parts as usize {
                continue;
            }
            let mut parts = self.parts.remove(&key).unwrap_or_default();
            parts.sort_by_key(|part| part.part);
            let central_seq = parts.iter().map(|part| part.central_seq).min().unwrap_or(central_seq);
            self.waiting.entry((origin, commit)).or_default().push_back(Whole { central_seq, parts });
            self.held += 1;
            if self.held > WAITING_MAX {
                return Err(RegionError::Damaged("the central database: too many entries without those before them"));
            }
        }
        Ok(())
    }

    /// How many commits wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The place in the central store before everything that still waits; none when nothing does.
    pub fn waits_from(&self) -> Option<u64> {
        let whole = self.waiting.values().flatten().map(|whole| whole.central_seq);
        let parts = self.parts.values().flatten().map(|part| part.central_seq);
        whole.chain(parts).min().map(|first| first - 1)
    }
}

impl Whole {
    /// The heads before it, where every part of it follows what is at its place here; none where one does not.
    fn before(
        &self,
        origin: Origin,
        hashes: impl Fn(&Scope, u64) -> Result<Vec<Hash>, RegionError>,
    ) -> Result<Option<BTreeMap<Scope, Head>>, RegionError> {
        let mut before = BTreeMap::new();
        let mut heads = BTreeMap::<Scope, Head>::new();
        for part in &self.parts {
            let known = match heads.get(&part.scope) {
                Some(head) => vec![head.hash],
                None if part.seq == 1 => vec![genesis(origin, &part.scope)],
                None => hashes(&part.scope, part.seq - 1)?,
            };
            let Some(prev) = known.into_iter().find(|prev| link(prev, &part.bytes) == part.hash) else { return Ok(None) };
            before.entry(part.scope.clone()).or_insert(Head { seq: part.seq - 1, hash: prev });
            heads.insert(part.scope.clone(), Head { seq: part.seq, hash: part.hash });
        }
        Ok(Some(before))
    }

    fn received(&self) -> ReceivedCommit {
        let seal = self.parts.last().and_then(|part| part.seal).map(|signature| Seal { signature, foreign: Vec::new() });
        ReceivedCommit { entries: self.parts.iter().map(|part| (part.scope.clone(), part.bytes.clone())).collect(), seal }
    }
}

impl Region {
    /// Takes in whatever of a refill follows what is here, and notes how far the central store has been read. Answers how many commits were new.
    ///
    /// # Errors
    /// When SQLite refuses; the log is then as it was, and the refill has to begin again.
    pub fn refill(&mut self, refill: &mut Refill, read_to: u64) -> Result<usize, RegionError> {
        self.in_transaction(|region| {
            let taken = region.take_all_that_fits(refill)?;
            region.pass_over_unnamed(refill)?;
            let mut position = refill.waits_from().map_or(read_to, |from| from.min(read_to));
            if region.rewinds != refill.rewinds {
                position = position.min(region.central_read()?);
            }
            region.set_meta("central_read", position)?;
            Ok(taken)
        })
    }

    /// Takes in whatever of a refill follows what is here, wherever it comes from. Answers how many commits were new.
    ///
    /// # Errors
    /// When SQLite refuses; the log is then as it was, and the refill has to begin again.
    pub(super) fn take_from(&mut self, refill: &mut Refill) -> Result<usize, RegionError> {
        self.in_transaction(|region| region.take_all_that_fits(refill))
    }

    fn take_all_that_fits(&mut self, refill: &mut Refill) -> Result<usize, RegionError> {
        let mut taken = 0;
        loop {
            let before = refill.held;
            taken += self.take_what_fits(refill)?;
            if refill.held == before {
                return Ok(taken);
            }
        }
    }

    /// Drops what waits where something else has come in its place: a damaged file says something else than was signed.
    pub(super) fn drop_contradicted(&self, refill: &mut Refill) -> Result<(), RegionError> {
        for ((origin, _), queue) in &mut refill.waiting {
            let mut kept = VecDeque::with_capacity(queue.len());
            for whole in queue.drain(..) {
                let mut is_taken = false;
                for part in &whole.parts {
                    is_taken |= !self.hashes_at(*origin, &part.scope, part.seq)?.is_empty();
                }
                if is_taken { refill.held -= 1 } else { kept.push_back(whole) }
            }
            *queue = kept;
        }
        refill.waiting.retain(|_, queue| !queue.is_empty());
        Ok(())
    }

    /// Where this log stands in the central store.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn central_reading(&self) -> Result<CentralReading, RegionError> {
        Ok(CentralReading { read_to: self.central_read()?, rewinds: self.rewinds, stores: self.served_scopes() })
    }

    fn central_read(&self) -> Result<u64, RegionError> {
        Ok(self.meta("central_read")?.unwrap_or(0))
    }

    /// Begins to read the central store again from a place, inside the open transaction, if it has been read further.
    pub(super) fn read_central_again_from(&mut self, place: u64) -> Result<(), RegionError> {
        self.rewinds += 1;
        let read = self.central_read()?;
        self.set_meta("central_read", read.min(place))
    }

    /// Lets go of what nobody can verify: of writers whom no server has named that is known here.
    fn pass_over_unnamed(&mut self, refill: &mut Refill) -> Result<(), RegionError> {
        let mut first = BTreeMap::<[u8; 16], u64>::new();
        let whole =
            refill.waiting.iter().flat_map(|((origin, _), queue)| queue.iter().map(move |whole| (origin, whole.central_seq)));
        let parts =
            refill.parts.iter().flat_map(|((origin, ..), parts)| parts.iter().map(move |part| (origin, part.central_seq)));
        for (origin, place) in whole.chain(parts) {
            let is_named =
                self.is_server(origin.device) || self.device(DeviceId(uuid::Uuid::from_bytes(origin.device))).is_some();
            if !is_named {
                let known = first.entry(origin.device).or_insert(place);
                *known = place.min(*known);
            }
        }
        for (device, place) in &first {
            self.pass_over(*device, *place)?;
        }
        refill.waiting.retain(|(origin, _), _| !first.contains_key(&origin.device));
        refill.parts.retain(|(origin, ..), _| !first.contains_key(&origin.device));
        refill.held = refill.waiting.values().map(VecDeque::len).sum();
        Ok(())
    }

    /// In the order in which the store took them: a document's changes build on one another across incarnations.
    fn take_what_fits(&mut self, refill: &mut Refill) -> Result<usize, RegionError> {
        let mut taken = 0;
        let mut order: Vec<(u64, Origin, u64)> = Vec::with_capacity(refill.held);
        for ((origin, commit), queue) in &refill.waiting {
            order.extend(queue.iter().map(|whole| (whole.central_seq, *origin, *commit)));
        }
        order.sort_unstable();
        for (place, origin, commit) in order {
            let waiting = refill.waiting.get(&(origin, commit));
            let Some(whole) = waiting.and_then(|queue| queue.iter().find(|whole| whole.central_seq == place)) else { continue };
            let whole = whole.clone();
            let Some(new) = self.take_one(origin, &whole, refill)? else { continue };
            taken += usize::from(new);
            refill.held -= 1;
            if let Some(queue) = refill.waiting.get_mut(&(origin, commit)) {
                queue.retain(|whole| whole.central_seq != place);
                if queue.is_empty() {
                    refill.waiting.remove(&(origin, commit));
                }
            }
        }
        Ok(taken)
    }

    /// Takes a commit and, when it has no seal, those after it up to one. None when something is missing before or after it; otherwise whether it
    /// was new, or is of no use.
    fn take_one(&mut self, origin: Origin, whole: &Whole, refill: &Refill) -> Result<Option<bool>, RegionError> {
        let known = |scope: &Scope, seq: u64| self.hashes_at(origin, scope, seq);
        for part in &whole.parts {
            if known(&part.scope, part.seq)?.contains(&part.hash) {
                return Ok(Some(false));
            }
        }
        let Some((key, kind, store)) = self.writer_of(origin)? else { return Ok(None) };
        let Some(before) = whole.before(origin, known)? else { return Ok(None) };
        let mut run = Run { origin, before, commits: vec![whole.received()] };
        let mut last = whole.clone();
        while run.commits.last().is_some_and(|commit| commit.seal.is_none()) {
            let Some(next) = next_of(origin, &last, refill)? else { return Ok(None) };
            for part in &next.parts {
                let begins = Head { seq: part.seq - 1, hash: genesis(origin, &part.scope) };
                run.before.entry(part.scope.clone()).or_insert(begins);
            }
            run.commits.push(next.received());
            last = next;
        }
        match self.take_run(&key, kind, store, run) {
            Ok(_) => Ok(Some(true)),
            Err(AdmitError::Region(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, device = %uuid::Uuid::from_bytes(origin.device), "entries of the central database do not hold");
                Ok(Some(false))
            }
        }
    }

    /// Whose key a commit is checked with, and what its writer is; none while nobody has said.
    pub(super) fn writer_of(
        &self,
        origin: Origin,
    ) -> Result<Option<(VerifyingKey, DeviceKind, Option<domain::ids::StoreId>)>, RegionError> {
        if origin.device == self.own.device {
            return Ok(Some((self.own_key.verifying_key(), DeviceKind::Server, None)));
        }
        let Some(device) = self.devices.get(&DeviceId(uuid::Uuid::from_bytes(origin.device))) else { return Ok(None) };
        let key = VerifyingKey::from_bytes(&device.public_key).map_err(|_| RegionError::Damaged("a device's key"))?;
        Ok(Some((key, device.kind, device.store)))
    }

    /// The hashes at a place of an origin, one of every line that has something there.
    fn hashes_at(&self, origin: Origin, scope: &Scope, seq: u64) -> Result<Vec<Hash>, RegionError> {
        let mut hashes = Vec::new();
        for line in self.lines_of(origin) {
            hashes.extend(self.hash_on(line, scope, seq)?);
        }
        Ok(hashes)
    }
}

/// The waiting commit that follows another.
fn next_of(origin: Origin, last: &Whole, refill: &Refill) -> Result<Option<Whole>, RegionError> {
    let number = last.parts.first().map(|part| Entry::decode(&part.bytes)).transpose();
    let number = number.map_err(|_| RegionError::Damaged("an entry of the central database"))?.map_or(0, |entry| entry.commit);
    let Some(queue) = refill.waiting.get(&(origin, number + 1)) else { return Ok(None) };
    for next in queue {
        let follows = |scope: &Scope, seq: u64| {
            let part = last.parts.iter().find(|part| part.scope == *scope && part.seq == seq);
            Ok(part.map(|part| part.hash).into_iter().collect())
        };
        if next.before(origin, follows)?.is_some() {
            return Ok(Some(next.clone()));
        }
    }
    Ok(None)
}
