//! What replication asks and tells. Everything received is verified before anything of it is kept.

use std::collections::BTreeMap;

use domain::ids::DeviceId;
use domain::record::DeviceKind;
use journal::{Body, ChainError, ChainedEntry, Entry, Origin, OriginChain, ReceivedCommit, Scope, Seal, VerifyingKey, View};
use rusqlite::Connection;
use sync_proto::batch::Run;
use sync_proto::enrolment::CertifiedServer;
use sync_proto::frame::{DocumentPlace, Documents, Mark, ProvenHash};
use sync_proto::lines::{self, LINES_MAX, LinesError};
use sync_proto::scopes;
use uuid::Uuid;

use super::{Earlier, FromDisk, LEAD_MS_MAX, Link, Till};
use crate::api::{Event, LinkState, LinkWay};
use crate::store::ahead::Ahead;
use crate::store::lines::{Line, LinesOf};
use crate::store::project::{self, Effects};
use crate::store::sums::Sums;
use crate::store::{self, StoreError, ahead, counts, log, paper, people, retention};

/// How the link to the regional server changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// The server was heard.
    Online {
        /// When, Unix milliseconds.
        now_ms: u64,
        /// Which way it is connected.
        way: LinkWay,
    },
    /// The server has no place now, and is asked again after a while.
    Busy,
    /// There is no link.
    Offline {
        /// Why, in a sentence.
        problem: String,
    },
}

/// A place in the regional server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its region sequence.
    pub region_seq: u64,
    /// The entry there, when the server says it, for it to be given back.
    pub mark: Option<ProvenHash>,
    /// The scopes that have been read up to there; none stands for all that are followed.
    pub scopes: Option<Vec<Scope>>,
}

impl Place {
    fn is_of(&self, scope: &Scope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(scope))
    }
}

impl From<u64> for Place {
    fn from(region_seq: u64) -> Self {
        Self { region_seq, mark: None, scopes: None }
    }
}

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Entries that were new.
    pub entries: usize,
    /// Commits that were here already.
    pub skipped: usize,
    /// Histories of which another one of the same origin was here already.
    pub forks: usize,
}

/// Why runs were refused. Nothing of them is kept.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Nobody has said who this device is.
    #[error("a run of an unknown device {}", Uuid::from_bytes(*_0))]
    UnknownDevice([u8; 16]),
    /// A device wrote where its kind may not.
    #[error("a run of device {} in scope {scope}, where it may not write", Uuid::from_bytes(*device))]
    NotAllowed {
        /// The device.
        device: [u8; 16],
        /// The scope.
        scope: Scope,
    },
    /// A run of a scope that this device does not follow.
    #[error("a run in scope {0}, which this device does not follow")]
    Foreign(Scope),
    /// Entries are missing between what is here and what came.
    #[error("a gap before a run of device {}", Uuid::from_bytes(*_0))]
    Gap([u8; 16]),
    /// More histories of one origin than accidents make.
    #[error("device {} has signed more histories than are kept", Uuid::from_bytes(*_0))]
    TooManyHistories([u8; 16]),
    /// The server knows more of this incarnation than this till does: it was restored from a backup. The caller asks for a fresh
    /// incarnation ([`Till::renew_incarnation`]) and receives the run again.
    #[error("the server knows a later history of this till than its own disk")]
    OwnHistoryAhead,
    /// A device's public key is none.
    #[error("the public key of device {} is none", Uuid::from_bytes(*_0))]
    Key([u8; 16]),
    /// A chain or a seal does not hold.
    #[error("a run of device {} does not verify", Uuid::from_bytes(*device))]
    Chain {
        /// The device.
        device: [u8; 16],
        /// Why.
        #[source]
        source: ChainError,
    },
    /// The disk.
    #[error("what was received could not be stored")]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for ReceiveError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Till {
    /// Where this incarnation's own chain stands.
    pub fn own_chain(&self) -> &OriginChain {
        &self.from_disk.chain
    }

    /// The last entry that is here, own or others'.
    pub fn last_entry(&self) -> i64 {
        self.from_disk.last_entry
    }

    /// Own commits after `commit`, as many as fit: at least one if there is any, its last one sealed.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn own_runs_after(&self, commit: u64, bytes_max: usize, commits_max: usize) -> Result<Option<Run>, StoreError> {
        let FromDisk { chain, origin_row, .. } = &self.from_disk;
        log::own_run(self.db()?, chain, *origin_row, &self.scope, commit, bytes_max, commits_max)
    }

    /// The last own commit of which something is not here any more; 0 for none.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn own_floor(&self) -> Result<u64, StoreError> {
        retention::floor(self.db()?, self.from_disk.origin_row)
    }

    fn read_earlier(&mut self) -> Result<(), StoreError> {
        let scope = &self.scope;
        self.from_disk.earlier = Earlier::read(self.db()?, self.identity.origin(), scope)?;
        Ok(())
    }

    /// How far every followed scope has been received, 0 when new.
    pub fn cursors(&self) -> Vec<(Scope, u64)> {
        self.from_disk.cursors.iter().map(|(scope, at)| (scope.clone(), *at)).collect()
    }

    /// What was read last of the server's log, when the server says such things.
    pub fn mark(&self) -> Option<Mark> {
        self.from_disk.mark.clone()
    }

    /// The document after which this till asks the server for those that it needs to sell, ahead of the log; none when it has them.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn documents_after(&self) -> Result<Option<DocumentPlace>, StoreError> {
        if self.from_disk.ahead.is_some() { ahead::after(self.db()?) } else { Ok(None) }
    }

    /// Takes in documents that the server sent ahead of the log.
    ///
    /// # Errors
    /// A failure of SQLite; nothing was kept.
    pub fn receive_documents(&mut self, sent: &Documents) -> Result<(), StoreError> {
        let mut effects = Effects::default();
        let take = |db: &Connection| {
            effects = ahead::take(db, &sent.documents, sent.until)?;
            Ok::<_, StoreError>(())
        };
        let mut done = self.replica()?.unsynced(take);
        if done.is_ok() && sent.until.is_some() {
            done = self.replica()?.sync();
        }
        if done.is_err() {
            self.reopen()?;
        }
        done?;
        self.from_disk.ahead = Some(Ahead { until: sent.until });
        self.after_receiving(effects)
    }

    /// Verifies runs of the server, stores what is new in them, and moves the cursor of every followed scope that it is of to `up_to`, in one
    /// transaction.
    ///
    /// # Errors
    /// The first run that does not hold; nothing was kept.
    pub fn receive(&mut self, runs: Vec<Run>, up_to: impl Into<Place>) -> Result<Received, ReceiveError> {
        self.take_in(runs, Some(up_to.into()))
    }

    /// Verifies a run that another till brought and stores what is new in it. Answers the last commit of its history that is here then, on disk: the
    /// other may count on this copy.
    ///
    /// # Errors
    /// A run that does not hold; nothing was kept.
    pub fn receive_brought(&mut self, run: Run) -> Result<u64, ReceiveError> {
        let last = last_commit_of(&run);
        let received = self.take_in(vec![run], None)?;
        self.brought += u64::from(received.entries > 0);
        Ok(last.unwrap_or(0))
    }

    /// Rises whenever another till brought something that was new here.
    pub fn brought(&self) -> u64 {
        self.brought
    }

    fn take_in(&mut self, runs: Vec<Run>, place: Option<Place>) -> Result<Received, ReceiveError> {
        let mark = place.as_ref().and_then(|place| self.next_mark(place));
        let mut batch = Batch {
            is_of_server: place.is_some(),
            till: self,
            lines: BTreeMap::new(),
            sums: Sums::default(),
            effects: Effects::default(),
            last_entry: self.from_disk.last_entry,
            latest: self.from_disk.hlc,
            received: Received::default(),
            documents: false,
            earlier: false,
            unproven: None,
        };
        // What a power cut takes of this is asked for again from the cursors that are found then. Only what a till needs to sell is waited for.
        let done = batch.till.replica()?.unsynced(|db| {
            for run in runs {
                batch.take(db, run)?;
            }
            counts::settle(db, &mut batch.sums)?;
            if let Some(place) = &place {
                let read = batch.till.followed.iter().filter(|scope| place.is_of(scope));
                read.into_iter().try_for_each(|scope| log::move_cursor(db, scope, place.region_seq))?;
                log::set_mark(db, mark.as_ref())?;
                if batch.till.from_disk.ahead.is_some() && place.is_of(&scopes::catalogue()) {
                    batch.unproven = ahead::settle(db, place.region_seq)?;
                }
            }
            Ok::<_, ReceiveError>(())
        });
        let done = match done {
            Ok(()) if batch.documents || place.is_none() => batch.till.replica()?.sync().map_err(ReceiveError::from),
            done => done,
        };
        let Batch { lines, sums, effects, last_entry, latest, received, earlier, unproven, .. } = batch;
        if let Err(error) = done {
            if matches!(error, ReceiveError::Store(_)) {
                // What is on disk decides; the driver asks again from the cursors that are found there.
                self.reopen()?;
            }
            return Err(error);
        }
        let now = self.env.unix_ms();
        let arrived = self.history_percent();
        let own_earlier = earlier || lines.keys().any(|origin| origin.device == *self.identity.device().as_bytes());
        self.from_disk.lines.extend(lines);
        self.from_disk.sums.merge(sums);
        self.from_disk.last_entry = last_entry;
        self.from_disk.hlc = self.from_disk.hlc.observe(latest, now, LEAD_MS_MAX);
        if let Some(place) = place {
            for (_, at) in self.from_disk.cursors.iter_mut().filter(|(scope, _)| place.is_of(scope)) {
                *at = (*at).max(place.region_seq);
            }
            self.from_disk.mark = mark;
        }
        if let Some(replica) = &mut self.replica {
            replica.committed(received.entries);
        }
        if own_earlier {
            self.read_earlier()?;
        }
        if let Some(documents) = unproven {
            self.from_disk.ahead = None;
            if documents > 0 {
                tracing::error!(
                    documents,
                    "the server sent documents with changes that its log does not have: they are made from the log alone"
                );
                self.replica()?.project_again()?;
                self.from_disk = FromDisk::read(self.replica()?, &self.identity, &self.followed, &self.scope)?;
                self.announce(Event::CatalogueChanged {});
                self.announce(Event::TillChanged {});
            }
        }
        if self.history_percent() != arrived {
            self.announce(Event::LinkChanged { link: self.link_view() });
        }
        self.after_receiving(effects)?;
        Ok(received)
    }

    /// How much of the history that proves what came ahead of it is here, in percent; none when all of it is.
    pub fn history_percent(&self) -> Option<u8> {
        let ahead = self.from_disk.ahead?;
        Some(ahead.percent_read(self.from_disk.cursors.get(&scopes::catalogue()).copied().unwrap_or(0)))
    }

    /// What is given back to the server after a place. Where scopes are read apart, the furthest of what was read says most.
    fn next_mark(&self, place: &Place) -> Option<Mark> {
        let mark = place.mark.map(|proven| Mark { region_seq: place.region_seq, proven });
        match (&place.scopes, &self.from_disk.mark) {
            (Some(_), Some(known)) if mark.as_ref().is_none_or(|mark| mark.region_seq < known.region_seq) => Some(known.clone()),
            _ => mark,
        }
    }

    /// Notes how far own commits are on the regional server's disk and in the central database. Never backwards.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn acked(&mut self, regional: u64, central: u64) -> Result<(), StoreError> {
        // Nobody can have more than there is; a claim beyond it would hide what is unsent.
        let most = self.from_disk.chain.commit;
        let (was_regional, was_central) = self.from_disk.acks;
        let acks = (regional.min(most).max(was_regional), central.min(most).max(was_central));
        if acks == self.from_disk.acks {
            return Ok(());
        }
        self.write_acks(self.from_disk.origin_row, acks)?;
        self.from_disk.acks = acks;
        self.announce(Event::LinkChanged { link: self.link_view() });
        if self.last_order.is_some() {
            self.announce(Event::TillChanged {});
        }
        Ok(())
    }

    /// The server says them again at the next greeting: nothing waits for the disk.
    pub(super) fn write_acks(&mut self, origin_row: i64, (regional, central): (u64, u64)) -> Result<(), StoreError> {
        let written = self.replica()?.unsynced(|db| log::set_acks(db, origin_row, regional, central));
        if written.is_err() {
            self.reopen()?;
        }
        written
    }

    /// Notes how the link is, for the screen. That the server was merely heard again is not announced.
    pub fn set_link(&mut self, change: LinkChange) {
        let before = (self.link.state, self.link.way, self.link.problem.clone());
        match change {
            LinkChange::Online { now_ms, way } => {
                self.link = Link { state: LinkState::Online, way: Some(way), last_contact_ms: Some(now_ms), problem: None };
            }
            LinkChange::Busy => {
                self.link = Link { state: LinkState::Busy, way: None, problem: None, ..self.link.clone() };
            }
            LinkChange::Offline { problem } => {
                self.link = Link { state: LinkState::Offline, way: None, problem: Some(problem), ..self.link.clone() };
            }
        }
        if self.link.state != LinkState::Online {
            self.stop_asking();
        }
        if before != (self.link.state, self.link.way, self.link.problem.clone()) {
            self.announce(Event::LinkChanged { link: self.link_view() });
        }
    }

    /// Notes which server is at the other end of the link. The authority has signed its certificate, so that what it writes holds, even where the
    /// directory that is here does not name it yet: this till was moved to another region.
    pub fn set_server(&mut self, server: Option<CertifiedServer>) {
        self.server = server;
    }

    fn connected_server(&self, device: [u8; 16]) -> Option<&CertifiedServer> {
        self.server.as_ref().filter(|server| *server.device.as_bytes() == device)
    }

    /// Notes the server's clock as it greeted.
    pub fn note_server_clock(&mut self, server_ms: u64) {
        let ahead = i128::from(self.env.unix_ms()) - i128::from(server_ms);
        self.clock_ahead_ms = i64::try_from(ahead).ok();
    }

    /// How far this till's clock was ahead of the server's when they greeted last, in milliseconds; none before the first greeting.
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        self.clock_ahead_ms
    }

    /// The incarnation of the server that the cursors count for; nothing before the first contact.
    pub fn region(&self) -> Option<[u8; 16]> {
        self.from_disk.region
    }

    /// Begins to count for a server's incarnation. When it is another than before, its sequence starts anew, and what only the old one had
    /// is on this device alone again. Answers whether it is another.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn begin_region(&mut self, region: [u8; 16]) -> Result<bool, StoreError> {
        if self.from_disk.region == Some(region) {
            return Ok(false);
        }
        let tx = self.replica()?.begin()?;
        log::set_region(&tx, region)?;
        ahead::begin_again(&tx)?;
        tx.commit()?;
        let db = self.db()?;
        let (acks, cursors) = (log::acks(db, self.from_disk.origin_row)?, log::cursors(db, &self.followed)?);
        self.from_disk.acks = acks;
        self.from_disk.cursors = cursors;
        self.from_disk.region = Some(region);
        self.from_disk.mark = None;
        self.from_disk.ahead = Ahead::read(self.db()?)?;
        self.read_earlier()?;
        self.announce(Event::LinkChanged { link: self.link_view() });
        Ok(true)
    }

    /// Goes on under a fresh incarnation, because others know this one's history further, or otherwise, than it is here.
    ///
    /// # Errors
    /// Files that cannot be written, or a failure of SQLite.
    pub fn renew_incarnation(&mut self) -> Result<(), StoreError> {
        paper::doubt(self.db()?)?;
        self.identity.mint(&*self.env).map_err(Box::new)?;
        self.actor = None;
        tracing::warn!(series = self.identity.series(), "this till goes on under a new incarnation");
        self.from_disk = FromDisk::read(self.replica()?, &self.identity, &self.followed, &self.scope)?;
        self.rename_cart()?;
        self.begin_to_write()?;
        self.announce(Event::TillChanged {});
        Ok(())
    }

    fn after_receiving(&mut self, effects: Effects) -> Result<(), StoreError> {
        if effects.till {
            let (open, closed) = crate::store::shifts::newest_of(self.db()?, *self.identity.device().as_bytes())?;
            self.from_disk.shift = open;
            self.from_disk.closed_shift = closed;
            self.announce(Event::TillChanged {});
        }
        if effects.catalogue {
            self.announce(Event::CatalogueChanged {});
        }
        Ok(())
    }
}

/// One call of [`Till::receive`] or [`Till::receive_brought`]: what it would change, until it is committed.
struct Batch<'a> {
    /// Whether the server sent it, so that it has it.
    is_of_server: bool,
    till: &'a Till,
    lines: BTreeMap<Origin, Vec<Line>>,
    sums: Sums,
    effects: Effects,
    last_entry: i64,
    latest: journal::Hlc,
    received: Received,
    /// Whether products, staff or another document changed.
    documents: bool,
    /// Whether it is known of an earlier incarnation of this till that the server has more of it.
    earlier: bool,
    /// Once the log has caught up with what came ahead of it: how many documents it does not account for.
    unproven: Option<u64>,
}

impl Batch<'_> {
    fn take(&mut self, db: &Connection, run: Run) -> Result<(), ReceiveError> {
        let origin = run.origin;
        let device = origin.device;
        self.check_scopes(db, &run)?;
        let run_end = last_commit_of(&run);
        let mut lines = self.lines(db, origin)?;
        // A server names the heads of all scopes that are followed here, so that no two lines have as much of its run.
        let agreed = lines::agree(&LinesOf { db, lines: &lines }, &run).map_err(|error| match error {
            LinesError::Entry(source) => ReceiveError::Chain { device, source: ChainError::Entry { part: 0, source } },
            LinesError::Gap => ReceiveError::Gap(device),
            LinesError::Look(error) => error.into(),
        })?;
        let agreement = agreed.first().copied();
        let known = agreement.map_or(0, |found| found.known);
        self.received.skipped += known;
        let new: Vec<ReceivedCommit> = run.commits.into_iter().skip(known).collect();
        if new.is_empty() {
            if let (true, Some(found)) = (self.is_of_server, agreement) {
                let (row, end) = (lines[found.line].row, lines[found.line].chain.commit);
                self.server_has(db, row, run_end.unwrap_or(end).min(end))?;
            }
            return Ok(());
        }
        let leaves = agreement.and_then(|found| found.leaves_after);
        let mut chain = match (agreement, leaves) {
            (None, _) => OriginChain::new(origin),
            (Some(found), None) => lines[found.line].chain.clone(),
            (Some(_), Some(_)) if lines.len() >= LINES_MAX => return Err(ReceiveError::TooManyHistories(device)),
            (Some(found), Some(after)) => store::lines::chain_after(db, &lines[found.line], after)?,
        };
        let key = self.public_key(db, device)?;
        let seals: Vec<Option<Seal>> = new.iter().map(|commit| commit.seal.clone()).collect();
        let view = View::Partial(&self.till.followed);
        let verified = chain.verify(&key, view, new).map_err(|source| ReceiveError::Chain { device, source })?;
        // Only what this till has signed says that it has forgotten something.
        if origin == self.till.identity.origin() {
            return Err(ReceiveError::OwnHistoryAhead);
        }
        let at = match (agreement, leaves) {
            (Some(found), None) => found.line,
            (Some(found), Some(after)) => {
                let parent = &lines[found.line];
                tracing::warn!(device = %Uuid::from_bytes(device), after, "a device has two histories; both are kept");
                let row = store::lines::begin(db, parent, after, &verified[0][0].hash)?;
                let parent = Some((parent.row, after));
                lines.push(Line { row, parent, chain: chain.clone() });
                self.received.forks += 1;
                lines.len() - 1
            }
            (None, _) => {
                lines.push(Line { row: log::origin_row(db, origin)?, parent: None, chain: chain.clone() });
                0
            }
        };
        let row = lines[at].row;
        for (commit, seal) in verified.iter().zip(&seals) {
            self.store(db, row, commit, seal.as_ref())?;
        }
        if self.is_of_server {
            self.server_has(db, row, chain.commit)?;
        }
        lines[at].chain = chain;
        self.lines.insert(origin, lines);
        Ok(())
    }

    /// Notes that the server has a history up to a commit.
    fn server_has(&mut self, db: &Connection, row: i64, commit: u64) -> Result<(), ReceiveError> {
        let (regional, central) = log::acks(db, row)?;
        if regional < commit && row != self.till.from_disk.origin_row {
            log::set_acks(db, row, commit, central)?;
            self.earlier |= self.till.from_disk.earlier.iter().any(|earlier| earlier.row == row);
        }
        Ok(())
    }

    fn check_scopes(&self, db: &Connection, run: &Run) -> Result<(), ReceiveError> {
        let device = run.origin.device;
        if let Some(scope) = run.before.keys().find(|scope| !self.till.followed.contains(*scope)) {
            return Err(ReceiveError::Foreign(scope.clone()));
        }
        let (kind, store) = self.kind(db, device)?;
        match run.before.keys().find(|scope| !scopes::may_write(kind, store, scope)) {
            Some(scope) => Err(ReceiveError::NotAllowed { device, scope: scope.clone() }),
            None => Ok(()),
        }
    }

    fn kind(&self, db: &Connection, device: [u8; 16]) -> Result<(DeviceKind, Option<domain::ids::StoreId>), ReceiveError> {
        if device == self.till.identity.server_device() || self.till.connected_server(device).is_some() {
            return Ok((DeviceKind::Server, None));
        }
        if device == *self.till.identity.device().as_bytes() {
            return Ok((DeviceKind::Till, Some(self.till.identity.store())));
        }
        let known = people::device(db, DeviceId(Uuid::from_bytes(device)))?.ok_or(ReceiveError::UnknownDevice(device))?;
        Ok((known.kind, known.store))
    }

    /// What a device's seals are checked with. That of the own server, of the one at the other end and of this device is not taken from what is received.
    fn public_key(&self, db: &Connection, device: [u8; 16]) -> Result<VerifyingKey, ReceiveError> {
        if device == *self.till.identity.device().as_bytes() {
            return Ok(self.till.identity.signing_key().verifying_key());
        }
        let bytes = if device == self.till.identity.server_device() {
            self.till.identity.server_public_key()
        } else if let Some(server) = self.till.connected_server(device) {
            server.public_key
        } else {
            let known = people::device(db, DeviceId(Uuid::from_bytes(device)))?;
            known.ok_or(ReceiveError::UnknownDevice(device))?.public_key
        };
        VerifyingKey::from_bytes(&bytes).map_err(|_| ReceiveError::Key(device))
    }

    /// The lines of an origin as they stand after what this batch has taken so far.
    fn lines(&self, db: &Connection, origin: Origin) -> Result<Vec<Line>, ReceiveError> {
        let FromDisk { origin_row, chain, lines, .. } = &self.till.from_disk;
        if origin == self.till.identity.origin() {
            return Ok(vec![Line { row: *origin_row, parent: None, chain: chain.clone() }]);
        }
        match self.lines.get(&origin).or_else(|| lines.get(&origin)) {
            Some(lines) => Ok(lines.clone()),
            None => Ok(store::lines::of(db, origin)?),
        }
    }

    fn store(&mut self, db: &Connection, row: i64, commit: &[ChainedEntry], seal: Option<&Seal>) -> Result<(), ReceiveError> {
        let ids = log::append(db, row, commit, seal)?;
        for (chained, id) in commit.iter().zip(&ids) {
            self.effects.add(project::entry(db, *id, row, &chained.entry, &mut self.sums)?);
            self.latest = self.latest.max(chained.entry.at);
            self.documents |= matches!(chained.entry.body, Body::Change { .. });
            self.last_entry = *id;
        }
        self.received.entries += commit.len();
        Ok(())
    }
}

/// The number of a run's last commit; none of a run without one, or of one that does not read, which does not verify either.
fn last_commit_of(run: &Run) -> Option<u64> {
    let (_, bytes) = run.commits.last()?.entries.first()?;
    Entry::decode(bytes).ok().map(|entry| entry.commit)
}
