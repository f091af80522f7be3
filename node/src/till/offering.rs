//! What this till has that others may lack, and what others have that it lacks: histories, said by where they have been.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use domain::ids::DeviceId;
use journal::Origin;
use sync_proto::batch::Run;
use sync_proto::frame::{CHECKPOINTS_MAX, Checkpoint, Offered, Wanted};
use sync_proto::session::checkpoints as checkpoints_of;
use uuid::Uuid;

use super::Till;
use crate::api::Event;
use crate::store::lines::Line;
use crate::store::{self, StoreError, log, people, retention};

/// Histories for the regional server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// The histories, in the order in which they are to be offered.
    pub lines: Vec<Line>,
    /// Whether that is all that this device has: then [`Till::note_offered`] when the server has it.
    pub is_everything: bool,
}

impl Till {
    /// What this device has and the server may lack, besides what it writes now: what its earlier incarnations wrote, until the central database has
    /// it; what only other tills have brought; the first time that a server's log is met, everything; and what would go if the central database had it.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn offers(&self) -> Result<Offers, StoreError> {
        let db = self.db()?;
        let own = self.identity.origin();
        let mut lines = store::lines::all(db)?;
        let is_everything = self.from_disk.region.is_none() || log::offered(db)? != self.from_disk.region;
        let mut offered = Vec::with_capacity(lines.len());
        for line in lines.drain(..) {
            let is_of_own = line.parent.is_none() && line.chain.origin == own;
            if line.chain.commit == 0 || is_of_own {
                continue;
            }
            let (regional, central) = log::acks(db, line.row)?;
            let held = if line.chain.origin.device == own.device { central } else { regional };
            if is_everything || held < line.chain.commit {
                offered.push(line);
            }
        }
        // Before something old goes, the server is asked whether the central database has it.
        if let Some(before_ms) = self.keeps_from_ms() {
            let asked_for = retention::to_ask_for(db, &self.scope, before_ms)?.into_iter();
            let is_asked =
                |line: &Line| offered.iter().any(|other| other.row == line.row && other.chain.commit == line.chain.commit);
            let asked_for: Vec<Line> =
                asked_for.filter(|line| (line.chain.origin != own || line.parent.is_some()) && !is_asked(line)).collect();
            offered.extend(asked_for);
        }
        // What this device wrote first, and of that and of the rest the newest.
        offered.sort_by_key(|line| (line.chain.origin.device != own.device, Reverse(line.row)));
        Ok(Offers { lines: offered, is_everything })
    }

    /// The histories that have grown since an entry, and the last entry there is: from 0, all of them. For the neighbours, to whom everything is offered.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn grown_since(&self, entry: i64) -> Result<(Vec<Line>, i64), StoreError> {
        let db = self.db()?;
        let last = log::last_id(db)?;
        let mut lines = if entry == 0 { store::lines::all(db)? } else { store::lines::of_entries_after(db, entry)? };
        lines.retain(|line| line.chain.commit > 0);
        Ok((lines, last))
    }

    /// A history as it is offered.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn offered(&self, line: &Line) -> Result<Offered, StoreError> {
        let db = self.db()?;
        let at =
            |commit| Ok::<_, StoreError>(Checkpoint { commit, digest: store::lines::chain_after(db, line, commit)?.digest() });
        let mut checkpoints = vec![Checkpoint { commit: line.chain.commit, digest: line.chain.digest() }];
        // Whoever has all that has gone here can be brought the rest.
        let floor = retention::floor(db, line.row)?;
        let mut commits: BTreeSet<u64> = checkpoints_of(line.chain.commit).skip(1).collect();
        commits.extend((floor > 0 && floor < line.chain.commit).then_some(floor));
        for commit in commits.into_iter().rev().take(CHECKPOINTS_MAX - 1) {
            checkpoints.push(at(commit)?);
        }
        let Origin { device, incarnation } = line.chain.origin;
        Ok(Offered { device, incarnation, checkpoints })
    }

    /// What of the histories that a neighbour offers is lacking here, and what is whole, on disk. Those of devices that this till does not know it does not
    /// take yet.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn lacking(&self, offered: &[Offered]) -> Result<Wanted, StoreError> {
        let mut wanted = Wanted::default();
        for (at, line) in (0..).zip(offered) {
            let is_known = [*self.identity.device().as_bytes(), self.identity.server_device()].contains(&line.device)
                || people::device(self.db()?, DeviceId(Uuid::from_bytes(line.device)))?.is_some();
            if !is_known {
                continue;
            }
            let has = self.newest_known(line)?;
            match line.checkpoints.first().is_none_or(|last| last.commit <= has) {
                true => wanted.whole.push(at),
                false => wanted.lines.push((at, has)),
            }
        }
        if !wanted.whole.is_empty() {
            // The other may count on these copies.
            self.replica()?.sync_if_behind()?;
        }
        Ok(wanted)
    }

    /// The newest of the places where a history has been that is here; 0 when none is.
    fn newest_known(&self, offered: &Offered) -> Result<u64, StoreError> {
        let Offered { device, incarnation, checkpoints } = offered;
        let db = self.db()?;
        let lines = store::lines::of(db, Origin { device: *device, incarnation: *incarnation })?;
        for Checkpoint { commit, digest } in checkpoints {
            for line in lines.iter().filter(|line| *commit <= line.chain.commit) {
                if store::lines::chain_after(db, line, *commit)?.digest() == *digest {
                    return Ok(*commit);
                }
            }
        }
        Ok(0)
    }

    /// Commits of a history after `after`, to bring them where they are lacking.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn run_after(&self, line: &Line, after: u64, bytes_max: usize) -> Result<Option<Run>, StoreError> {
        store::lines::run_after(self.db()?, line, after, bytes_max)
    }

    /// Notes that the server has all that this device had when it was offered.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn note_offered(&mut self) -> Result<(), StoreError> {
        let Some(region) = self.from_disk.region else { return Ok(()) };
        let written = self.replica()?.unsynced(|db| log::set_offered(db, region));
        if written.is_err() {
            self.reopen()?;
        }
        written
    }

    /// Notes how far a history that was offered is on the server's disk, and whether the central database has all of it.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn note_held(&mut self, line: &Line, regional: u64, is_central: bool) -> Result<(), StoreError> {
        let (was_regional, was_central) = log::acks(self.db()?, line.row)?;
        let central = if is_central { line.chain.commit } else { 0 };
        let is_beginning = log::load_chain(self.db()?, line.row)?.commit > line.chain.commit;
        let is_own = line.chain.origin.device == *self.identity.device().as_bytes();
        let acks = match is_own && !is_beginning {
            // It is brought again until it is where it belongs.
            true => (regional, central),
            // Others go on writing: that the last of it is not there yet says nothing of the rest.
            false => (if is_beginning { was_regional.max(regional) } else { regional }, was_central.max(central)),
        };
        if (was_regional, was_central) != acks {
            self.write_acks(line.row, acks)?;
        }
        let earlier = self.from_disk.earlier.iter_mut().find(|earlier| earlier.row == line.row);
        if earlier.is_some_and(|earlier| std::mem::replace(&mut earlier.acks, acks) != acks) {
            self.announce(Event::LinkChanged { link: self.link_view() });
        }
        Ok(())
    }

    /// Notes that a neighbour has a history on its disk up to a commit. Counted for what this till writes now, until it ends.
    pub fn note_neighbour(&mut self, neighbour: DeviceId, line: &Line, commit: u64) {
        if line.parent.is_some() || line.chain.origin != self.identity.origin() {
            return;
        }
        let copies = self.neighbours.entry((line.chain.origin.incarnation, neighbour)).or_default();
        if *copies < commit {
            *copies = commit;
            if self.last_order.is_some() {
                self.announce(Event::TillChanged {});
            }
        }
    }

    /// Whether a neighbour has a commit of this incarnation on its disk.
    pub(super) fn is_with_a_neighbour(&self, commit: u64) -> bool {
        let own = self.identity.origin().incarnation;
        self.neighbours.iter().any(|((incarnation, _), held)| *incarnation == own && *held >= commit)
    }

    /// Notes which neighbours are connected.
    pub fn set_connected_neighbours(&mut self, connected: &BTreeSet<DeviceId>) {
        let count = connected.len() as u64;
        if std::mem::replace(&mut self.neighbours_connected, count) != count {
            self.announce(Event::LinkChanged { link: self.link_view() });
        }
    }
}
