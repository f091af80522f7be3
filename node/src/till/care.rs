//! What a till does about damage, a little at a time and beside the counter: it looks whether its log is still what was signed, puts a file that is not
//! aside, and takes over what can be read of such a file.
//!
//! A file that was put aside is treated like a neighbour that brings what it has: whatever of it follows what is here is verified and taken, and what follows
//! something that could not be read waits until that has come from the server or from another till.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ids::DeviceId;
use journal::chain::{genesis, link};
use journal::{Hash, Head, Origin, ReceivedCommit, Scope, VerifyingKey};
use operations::care::Care;
use operations::damaged;
use rusqlite::Connection;
use sync_proto::batch::{RUN_COMMITS_MAX, Run};
use sync_proto::lines::Lines;
use uuid::Uuid;

use super::{DAY_MS, ReceiveError, Till};
use crate::store::audit::{Audit, Found};
use crate::store::damaged::{Aside, AsideRow, find};
use crate::store::lines::LinesOf;
use crate::store::retention::{Horizon, Reach, Step};
use crate::store::suspicion::Seen;
use crate::store::{self, StoreError, people, retention};

/// Entries after which the place of an audit is noted, to go on from there after a stop.
const NOTED_EVERY: u64 = 1_024;
/// Commits that are taken over together, up to the next seal.
const COMMITS_TOGETHER: usize = 64;
/// Bytes that are taken over together, up to the next seal.
const BYTES_TOGETHER: usize = 64 * 1024;
/// How often the log is audited, in milliseconds.
const AUDIT_EVERY_MS: u64 = 24 * 3_600_000;
/// How often it is looked whether something is old enough to go: at least so often, and a few times while it grows old.
const LET_GO_EVERY_MS: u64 = 60_000;

/// Notes in the replica: the last entry that an audit has seen, when one ended, and that the program has not ended.
const AUDIT_AT: &str = "audit_at";
const AUDITED_MS: &str = "audited_ms";
const IN_USE: &str = "in_use";

/// A replica that was put aside, while it is taken over.
#[derive(Debug)]
pub(super) struct Salvage {
    number: u32,
    aside: Aside,
    /// The first entry of the next run.
    next: Option<AsideRow>,
    /// The hash of the last entry that was read of each chain.
    heads: BTreeMap<(i64, Scope), (u64, Hash)>,
    taken: usize,
    /// Entries that do not hold.
    broken: usize,
    /// The first entry of those that follow something that is not here.
    waits_from: Option<i64>,
}

impl Till {
    /// Whether the replica of this till was put aside: it does nothing any more, and has to be opened anew.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many damaged files are kept beside the replica.
    ///
    /// # Errors
    /// A disk that does not say.
    pub fn damaged_files(&self) -> std::io::Result<usize> {
        Ok(damaged::all_aside(&*self.options.store.files, &self.replica_path())?.len())
    }

    /// When an audit found the whole log as it was signed, Unix milliseconds; none before the first.
    pub fn audited_ms(&self) -> Option<u64> {
        self.replica().ok()?.note(AUDITED_MS).ok()?.map(i64::cast_unsigned)
    }

    /// Notes that this replica is in use, and answers whether it was when the program ended last.
    pub(super) fn begin_use(&mut self) -> Result<(), StoreError> {
        let replica = self.replica()?;
        if replica.note(IN_USE)?.is_some() {
            // Whatever ended it may have taken something along.
            replica.set_note(AUDITED_MS, None)?;
        }
        replica.set_note(IN_USE, Some(1))
    }

    /// Notes that the program ends because it was told to.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn end_use(&self) -> Result<(), StoreError> {
        self.replica()?.set_note(IN_USE, None)
    }

    /// Looks at a few more entries of the log, if it is time for that. What it finds broken is put aside.
    ///
    /// # Errors
    /// A failure of SQLite, or a replica that was put aside.
    pub fn audit_step(&mut self) -> Result<Care, StoreError> {
        self.recover()?;
        let now_ms = self.env.unix_ms();
        if self.audit.is_none() {
            let due = self.audited_ms().is_none_or(|at_ms| now_ms.abs_diff(at_ms) >= AUDIT_EVERY_MS);
            let at = self.replica()?.note(AUDIT_AT)?;
            if !due && at.is_none() {
                return Ok(Care::Done);
            }
            self.audit = Some(Audit::after(at.unwrap_or(0)));
        }
        let Some(mut audit) = self.audit.take() else { return Ok(Care::Done) };
        let db = self.db()?;
        match audit.step(db, |device| self.key_of(db, device)) {
            Ok(Found::More) => {
                if audit.entries.is_multiple_of(NOTED_EVERY) {
                    self.replica()?.set_note(AUDIT_AT, Some(audit.at))?;
                }
                self.audit = Some(audit);
                Ok(Care::More)
            }
            Ok(Found::Whole) => {
                self.replica()?.set_note(AUDIT_AT, None)?;
                self.replica()?.set_note(AUDITED_MS, Some(now_ms.cast_signed()))?;
                tracing::info!(event = "log_audited", entries = audit.entries, "the log is what was signed");
                Ok(Care::Done)
            }
            Ok(Found::Broken(found)) => Err(self.put_aside(&found)),
            Err(error) => {
                // What the disk did not give is found out there.
                self.examine()?;
                Err(error)
            }
        }
    }

    /// Looks at some more of the file, if something failed that may have been damage. What it finds is looked at once more as a whole, and put aside.
    ///
    /// # Errors
    /// A failure of the disk, or a replica that was put aside.
    pub fn suspicion_step(&mut self) -> Result<Care, StoreError> {
        if self.suspicion.is_none() {
            return Ok(Care::Done);
        }
        self.recover()?;
        let (path, key) = (self.replica_path(), *self.identity.replica_key());
        let Some(mut suspicion) = self.suspicion.take() else { return Ok(Care::Done) };
        let seen = suspicion.step(&path, &key, &self.options.store, self.db()?);
        match seen {
            Ok(Seen::Whole) => {
                tracing::info!(event = "replica_holds", "nothing of the replica is damaged");
                return Ok(Care::Done);
            }
            Ok(Seen::Broken) => {
                self.replica = None;
                if let Some(found) = find(&path, &key, &self.options.store)? {
                    return Err(self.put_aside(&found));
                }
            }
            // From where it stands, once the disk gives something again.
            Ok(Seen::More) | Err(_) => self.suspicion = Some(suspicion),
        }
        seen.map(|_| Care::More)
    }

    /// Lets some more of what is old go. Nothing of it waits for the disk: what a power cut brings back goes again.
    ///
    /// # Errors
    /// A failure of SQLite, or a replica that was put aside.
    pub fn let_go_step(&mut self) -> Result<Care, StoreError> {
        let Some(before_ms) = self.keeps_from_ms() else { return Ok(Care::Done) };
        self.recover()?;
        let pause_ms = self.options.keep_ms.map_or(LET_GO_EVERY_MS, |keep_ms| (keep_ms / 4).clamp(250, LET_GO_EVERY_MS));
        // What came ahead of the log is proven by what the log still brings.
        if self.from_disk.ahead.is_some() || self.doubt.is_some() {
            return Ok(Care::DoneFor(Duration::from_millis(pause_ms)));
        }
        let in_cart = self.cart.recalled.as_ref().map(|recalled| recalled.order);
        let horizon = Horizon { scope: &self.scope, before_ms, in_cart };
        let step = self.replica()?.unsynced(|db| retention::step(db, horizon));
        match step {
            Ok(Step::More) => {
                if let Some(replica) = &mut self.replica {
                    replica.committed(retention::STEP_ENTRIES);
                }
                Ok(Care::More)
            }
            Ok(Step::Unsummed) => self.tidy().map(|()| Care::More),
            Ok(Step::Done) => Ok(Care::DoneFor(Duration::from_millis(pause_ms))),
            Err(error) => {
                self.examine()?;
                Err(error)
            }
        }
    }

    /// What was written before this may go once it is in the central database, in Unix milliseconds; none where everything is kept. By the server's clock, as
    /// far as it was heard.
    pub(super) fn keeps_from_ms(&self) -> Option<u64> {
        let now_ms = self.env.unix_ms().saturating_add_signed(self.clock_ahead_ms.unwrap_or(0).saturating_neg());
        self.options.keep_ms.map(|keep_ms| now_ms.saturating_sub(keep_ms))
    }

    /// For how many days this till keeps everything; none where for ever.
    pub fn keep_days(&self) -> Option<u64> {
        self.options.keep_ms.map(|keep_ms| keep_ms / DAY_MS)
    }

    /// How far back this till goes.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn reach(&self) -> Result<Reach, StoreError> {
        retention::reach(self.db()?)
    }

    /// Takes over some more of what can be read of the replicas that were put aside.
    ///
    /// # Errors
    /// A failure of SQLite, or a replica that was put aside itself.
    pub fn salvage_step(&mut self) -> Result<Care, StoreError> {
        self.recover()?;
        let Some(mut salvage) = self.next_salvage()? else { return Ok(Care::Done) };
        let Some(run) = salvage.next_run() else { return self.end_salvage(&salvage) };
        let done = self.take_over(&mut salvage, &run);
        self.salvage = Some(salvage);
        done.map(|()| Care::More)
    }

    /// The one that is under way, or the oldest that is not taken over.
    fn next_salvage(&mut self) -> Result<Option<Salvage>, StoreError> {
        if let Some(salvage) = self.salvage.take() {
            return Ok(Some(salvage));
        }
        let (db, options) = (self.replica_path(), &self.options.store);
        let refused = |source| StoreError::Io { path: db.clone(), done: "looked for beside others", source };
        for number in damaged::all_aside(&*options.files, &db).map_err(refused)? {
            let from = self.replica()?.note(&salvaged(number))?.unwrap_or(0);
            if from == i64::MAX {
                continue;
            }
            let file = damaged::aside(&db, number);
            let aside = Aside::new(file, *self.identity.replica_key(), options.clone(), from);
            let (heads, waits_from) = (BTreeMap::new(), None);
            return Ok(Some(Salvage { number, aside, next: None, heads, taken: 0, broken: 0, waits_from }));
        }
        Ok(None)
    }

    fn end_salvage(&mut self, salvage: &Salvage) -> Result<Care, StoreError> {
        let Salvage { number, taken, broken, waits_from, aside, .. } = salvage;
        let unreadable = aside.unreadable();
        let waits = waits_from.is_some();
        if *taken > 0 || !waits {
            tracing::warn!(
                event = "replica_taken_over",
                file = %damaged::aside(&self.replica_path(), *number).display(),
                entries = taken,
                broken,
                unreadable,
                waits,
                "what can be read of the damaged file is in the new one"
            );
        }
        self.replica()?.set_note(&salvaged(*number), Some(waits_from.map_or(i64::MAX, |from| from - 1)))?;
        Ok(if waits { Care::Waits } else { Care::More })
    }

    fn take_over(&mut self, salvage: &mut Salvage, rows: &[AsideRow]) -> Result<(), StoreError> {
        let first = rows[0].id;
        let sealed = rows.iter().rposition(|row| row.seal.is_some()).map_or(0, |at| at + 1);
        let before = self.before(salvage, &rows[..sealed])?;
        for row in rows {
            salvage.heads.insert((row.line, row.scope.clone()), (row.seq, row.hash));
        }
        if sealed < rows.len() {
            salvage.wait_from(rows[sealed].id);
        }
        let Some(before) = before.filter(|_| sealed > 0) else {
            salvage.wait_from(first);
            return Ok(());
        };
        let run = run_of(&rows[..sealed], before);
        let taken = match self.receive_brought(run.clone()) {
            // The file is of the present incarnation and has more of it: the folder was put back from a backup.
            Err(ReceiveError::OwnHistoryAhead) => {
                self.renew_incarnation()?;
                self.receive_brought(run)
            }
            taken => taken,
        };
        match taken {
            Ok(_) => salvage.taken += sealed,
            Err(ReceiveError::Store(error)) => return Err(error),
            Err(ReceiveError::Gap(_) | ReceiveError::UnknownDevice(_)) => salvage.wait_from(first),
            Err(error) => {
                tracing::warn!(problem = crate::errors::chain_of(&error), "entries of the damaged file do not hold");
                salvage.broken += sealed;
            }
        }
        Ok(())
    }

    /// The heads before a run; none when what it follows is neither in its file nor here.
    fn before(&self, salvage: &mut Salvage, rows: &[AsideRow]) -> Result<Option<BTreeMap<Scope, Head>>, StoreError> {
        let mut before = BTreeMap::new();
        for row in rows {
            if before.contains_key(&row.scope) {
                continue;
            }
            let Some(hash) = self.hash_before(salvage, row)? else { return Ok(None) };
            before.insert(row.scope.clone(), Head { seq: row.seq - 1, hash });
        }
        Ok(Some(before))
    }

    fn hash_before(&self, salvage: &mut Salvage, row: &AsideRow) -> Result<Option<Hash>, StoreError> {
        let Some(seq) = row.seq.checked_sub(1) else { return Ok(None) };
        if seq == 0 {
            return Ok(Some(genesis(row.origin, &row.scope)));
        }
        let is_before = |hash: &Hash| link(hash, &row.bytes) == row.hash;
        let read = salvage.heads.get(&(row.line, row.scope.clone())).filter(|(at, _)| *at == seq).map(|(_, hash)| *hash);
        let read = read.or_else(|| salvage.aside.hash_at(row.line, &row.scope, seq));
        if let Some(hash) = read.filter(is_before) {
            return Ok(Some(hash));
        }
        let db = self.db()?;
        let lines = store::lines::of(db, row.origin)?;
        let here = LinesOf { db, lines: &lines };
        for line in 0..lines.len() {
            if let Some(hash) = here.hash_on(line, &row.scope, seq)?.filter(is_before) {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    /// Puts the replica aside. This till is over then.
    pub(super) fn put_aside(&mut self, found: &str) -> StoreError {
        self.replica = None;
        (self.salvage, self.audit, self.suspicion) = (None, None, None);
        let path = self.replica_path();
        match damaged::set_aside(&*self.options.store.files, &path) {
            Ok(to) => {
                self.is_over = true;
                tracing::error!(
                    event = "replica_damaged",
                    file = %to.display(),
                    found,
                    "the replica is damaged and was put aside: the till begins a new one, and takes over what can still be read"
                );
                StoreError::PutAside
            }
            Err(source) => StoreError::Io { path, done: "put aside", source },
        }
    }

    /// Whose key a device's seals are checked with; none of a device that is not known.
    pub(super) fn key_of(&self, db: &Connection, device: [u8; 16]) -> Result<Option<VerifyingKey>, StoreError> {
        let own = *self.identity.device().as_bytes();
        let bytes = match device {
            device if device == own => return Ok(Some(self.identity.signing_key().verifying_key())),
            device if device == self.identity.server_device() => self.identity.server_public_key(),
            device => match people::device(db, DeviceId(Uuid::from_bytes(device)))? {
                Some(known) => known.public_key,
                None => return Ok(None),
            },
        };
        Ok(VerifyingKey::from_bytes(&bytes).ok())
    }
}

impl Salvage {
    /// The next entries of one history, up to a seal.
    fn next_run(&mut self) -> Option<Vec<AsideRow>> {
        let mut rows: Vec<AsideRow> = vec![self.next.take().or_else(|| self.aside.next_row())?];
        let (mut commits, mut bytes) = (1, rows[0].bytes.len());
        while let Some(row) = self.aside.next_row() {
            let last = &rows[rows.len() - 1];
            let is_new = row.commit != last.commit;
            let before = rows.iter().rev().find(|before| before.scope == row.scope);
            let is_gap = before.is_some_and(|before| row.seq != before.seq + 1);
            let is_full = commits >= COMMITS_TOGETHER || bytes >= BYTES_TOGETHER;
            let is_end =
                row.line != last.line || is_gap || is_new && (last.seal.is_some() && is_full || commits >= RUN_COMMITS_MAX);
            if is_end {
                self.next = Some(row);
                break;
            }
            commits += usize::from(is_new);
            bytes += row.bytes.len();
            rows.push(row);
        }
        Some(rows)
    }

    fn wait_from(&mut self, id: i64) {
        self.waits_from = Some(self.waits_from.map_or(id, |from| from.min(id)));
    }
}

/// The note of how far a file that was put aside is taken over: all of it where that is the largest number.
fn salvaged(number: u32) -> String {
    format!("salvaged_{number}")
}

fn run_of(rows: &[AsideRow], before: BTreeMap<Scope, Head>) -> Run {
    let origin: Origin = rows[0].origin;
    let commits = rows.chunk_by(|a, b| a.commit == b.commit).map(|commit| ReceivedCommit {
        entries: commit.iter().map(|row| (row.scope.clone(), row.bytes.clone())).collect(),
        seal: commit[commit.len() - 1].seal.clone(),
    });
    Run { origin, before, commits: commits.collect() }
}
