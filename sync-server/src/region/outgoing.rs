//! Reading the log: for a device that follows some scopes, and for the feed to the central database.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::DeviceId;
use journal::chain::link;
use journal::{Hash, Head, Origin, ReceivedCommit, Scope, Seal};
use rusqlite::{OptionalExtension, params};
use sync_proto::batch::{RUN_COMMITS_MAX, Run};
use sync_proto::frame::{ProvenHash, RUNS_MAX};

use super::lines::Line;
use super::{Region, RegionError};

/// Roughly how many bytes a head takes in a seal.
const HEAD_BYTES: usize = 100;

/// What goes to a device next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The runs, in order; empty when nothing that it follows is new.
    pub runs: Vec<Run>,
    /// The region sequence up to which the device then has all of what it follows.
    pub up_to: u64,
    /// What is at that place, for the device to give back.
    pub mark: Option<ProvenHash>,
    /// The place of the enrolment of whoever wrote what comes next, when the device does not have that yet.
    pub waits_for: Option<u64>,
}

/// A row of the log, as the feed wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its place in the log.
    pub region_seq: u64,
    /// The row of the history that it is of.
    pub line: i64,
    /// Who wrote it.
    pub origin: Origin,
    /// Its scope.
    pub scope: Scope,
    /// Its number in the scope's chain.
    pub seq: u64,
    /// Its commit.
    pub commit: u64,
    /// Its hash.
    pub hash: journal::Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The signature, on the last entry of a commit that came with one.
    pub seal: Option<[u8; 64]>,
}

impl Region {
    /// Rows after a place, at least one when there is one, up to the end of a commit that carries a seal.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn rows_after(&self, after: u64, rows_max: usize, bytes_max: usize) -> Result<Vec<LogRow>, RegionError> {
        let mut statement = self.db.prepare_cached(
            "SELECT region_seq, origin, scope, seq, commit_no, hash, bytes, seal FROM entry WHERE region_seq > ?1 ORDER BY region_seq",
        )?;
        Ok(self.rows_of(statement.query([after])?, rows_max, bytes_max)?.0)
    }

    /// The same of one scope, whose writers write nowhere else, and whether these are all.
    fn rows_of_scope_after(
        &self,
        scope: &Scope,
        after: u64,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<LogRow>, bool), RegionError> {
        let Some(id) = self.scope_ids.get(scope) else { return Ok((Vec::new(), true)) };
        let mut statement = self.db.prepare_cached(
            "SELECT region_seq, origin, scope, seq, commit_no, hash, bytes, seal FROM entry
             WHERE scope = ?1 AND region_seq > ?2 ORDER BY region_seq",
        )?;
        self.rows_of(statement.query([*id, after.cast_signed()])?, rows_max, bytes_max)
    }

    pub(super) fn rows_of(
        &self,
        mut found: rusqlite::Rows<'_>,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<LogRow>, bool), RegionError> {
        let scopes: BTreeMap<i64, &Scope> = self.scope_ids.iter().map(|(scope, id)| (*id, scope)).collect();
        let mut out: Vec<LogRow> = Vec::new();
        let (mut bytes, mut whole) = (0, 0);
        // The last entry that was read of each chain: what goes out is looked at once more, because a flipped bit in the file is seen by nobody else.
        let mut ends = BTreeMap::<(i64, i64), (u64, Hash)>::new();
        while let Some(row) = found.next()? {
            let line: i64 = row.get(1)?;
            let origin = *self.origins.get(&line).ok_or(RegionError::Damaged("an origin"))?;
            let commit: u64 = row.get(4)?;
            // A run was admitted whole and lies there whole: what is read ends where a run does, at a seal.
            if out.last().is_some_and(|last| last.seal.is_some()) {
                whole = out.len();
            }
            if whole > 0 && (out.len() >= rows_max || bytes >= bytes_max) {
                out.truncate(whole);
                return Ok((out, false));
            }
            let scope_id: i64 = row.get(2)?;
            let scope = (*scopes.get(&scope_id).ok_or(RegionError::Damaged("a scope"))?).clone();
            let entry = LogRow {
                region_seq: row.get(0)?,
                line,
                origin,
                scope,
                seq: row.get(3)?,
                commit,
                hash: row.get(5)?,
                bytes: row.get(6)?,
                seal: row.get(7)?,
            };
            let read = ends.get(&(line, scope_id)).filter(|(seq, _)| seq + 1 == entry.seq).map(|(_, hash)| *hash);
            let before = match read {
                Some(hash) => hash,
                None => self.hash_before(line, origin, &entry.scope, entry.seq)?,
            };
            if link(&before, &entry.bytes) != entry.hash {
                return Err(RegionError::Damaged("an entry is not what was signed"));
            }
            ends.insert((line, scope_id), (entry.seq, entry.hash));
            bytes += entry.bytes.len();
            out.push(entry);
        }
        Ok((out, true))
    }

    /// What a device that follows `followed` and has it up to `after` gets next. Of its own origin it gets nothing up to the commit that it is known
    /// to have; what is beyond was written by a copy of it.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn outgoing(
        &self,
        followed: &BTreeSet<Scope>,
        after: u64,
        receiver: (Origin, u64),
        bytes_max: usize,
    ) -> Result<Outgoing, RegionError> {
        let rows = self.rows_after(after, RUN_COMMITS_MAX, bytes_max)?;
        let end = rows.last().map_or(after, |last| last.region_seq);
        self.outgoing_of(&rows, end, followed, None, receiver, bytes_max)
    }

    /// The same of what happens in stores alone, to a device that has what servers wrote up to `known_to`: it takes nothing of a writer whose
    /// enrolment comes later.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn outgoing_of_store(
        &self,
        followed: &BTreeSet<Scope>,
        after: u64,
        known_to: u64,
        receiver: (Origin, u64),
        bytes_max: usize,
    ) -> Result<Outgoing, RegionError> {
        // A device follows one store.
        let Some(scope) = followed.first().filter(|_| followed.len() == 1) else {
            return self.outgoing(followed, after, receiver, bytes_max);
        };
        let (rows, is_all) = self.rows_of_scope_after(scope, after, RUN_COMMITS_MAX, bytes_max)?;
        // What was read to its end is read up to the end of the log.
        let end = rows.last().filter(|_| !is_all).map_or(self.last_seq, |last| last.region_seq);
        self.outgoing_of(&rows, end, followed, Some(known_to), receiver, bytes_max)
    }

    fn outgoing_of(
        &self,
        rows: &[LogRow],
        end: u64,
        followed: &BTreeSet<Scope>,
        known_to: Option<u64>,
        receiver: (Origin, u64),
        bytes_max: usize,
    ) -> Result<Outgoing, RegionError> {
        let (mut up_to, mut waits_for) = (end, None);
        let mut builder = RunBuilder::new(self, followed);
        for commit in rows.chunk_by(|a, b| a.line == b.line && a.commit == b.commit) {
            let own = commit[0].origin == receiver.0 && commit[0].commit <= receiver.1 && self.is_first(commit[0].line);
            if own || !commit.iter().any(|row| followed.contains(&row.scope)) {
                continue;
            }
            waits_for = known_to.and_then(|known| self.enrolled_after(commit[0].origin.device, known));
            if waits_for.is_some() || builder.is_full(commit[0].line, bytes_max) {
                up_to = commit[0].region_seq - 1;
                break;
            }
            builder.push(commit)?;
        }
        let runs = builder.finish()?;
        let mark = rows.iter().rev().find(|row| row.region_seq == up_to).map(|row| self.proven(up_to, &row.hash));
        Ok(Outgoing { runs, up_to, mark, waits_for })
    }

    /// The place of a device's enrolment, if that is after another.
    fn enrolled_after(&self, device: [u8; 16], known_to: u64) -> Option<u64> {
        let at = self.enrolled_at.get(&DeviceId(uuid::Uuid::from_bytes(device))).copied();
        at.filter(|at| *at > known_to)
    }

    /// The last commit of each origin that wrote after one place of the log, as far as it lies wholly up to another.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn commits_between(&self, after: u64, up_to: u64) -> Result<Vec<(Origin, u64)>, RegionError> {
        let origins: BTreeMap<i64, Origin> = self.own_lines().collect();
        let mut statement = self.db.prepare_cached(
            "SELECT region_seq, origin, commit_no FROM entry WHERE region_seq > ?1 AND region_seq <= ?2 ORDER BY region_seq",
        )?;
        // One row beyond the end: it shows whether the last commit is cut.
        let mut found = statement.query([after, up_to.saturating_add(1)])?;
        let mut commits = BTreeMap::new();
        let mut last = None;
        while let Some(row) = found.next()? {
            let (place, origin, commit): (u64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let Some(&origin) = origins.get(&origin) else { continue };
            if place <= up_to {
                commits.insert(origin, commit);
                last = Some((origin, commit));
            } else if last == Some((origin, commit)) {
                commits.insert(origin, commit - 1);
            }
        }
        Ok(commits.into_iter().collect())
    }

    /// The last commit of every origin that lies wholly up to a place of the log.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn commits_up_to(&self, region_seq: u64) -> Result<Vec<(Origin, u64)>, RegionError> {
        let mut statement = self.db.prepare_cached(
            "SELECT commit_no, (SELECT min(region_seq) FROM entry AS later
                                WHERE later.origin = entry.origin AND later.commit_no = entry.commit_no AND later.region_seq > ?2)
             FROM entry WHERE origin = ?1 AND region_seq <= ?2 ORDER BY commit_no DESC LIMIT 1",
        )?;
        let mut commits = Vec::new();
        for (id, origin) in self.own_lines() {
            let last = statement
                .query_row(params![id, region_seq], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Option<u64>>(1)?)))
                .optional()?;
            if let Some((commit, cut)) = last {
                commits.push((origin, if cut.is_some() { commit - 1 } else { commit }));
            }
        }
        Ok(commits)
    }

    fn is_first(&self, line: i64) -> bool {
        self.line(line).is_ok_and(|line| line.parent.is_none())
    }

    /// Rows of the histories that came first, with their origins: acknowledgements count on these.
    fn own_lines(&self) -> impl Iterator<Item = (i64, Origin)> {
        self.lines.iter().filter_map(|(origin, lines)| Some((lines.first()?.row, *origin)))
    }

    /// The heads of a line's scopes that are not followed, as they were after a commit.
    fn foreign_heads_after(
        &self,
        line: &Line,
        commit: u64,
        followed: &BTreeSet<Scope>,
    ) -> Result<Vec<(Scope, Head)>, RegionError> {
        let foreign = line.chain.heads.iter().filter(|(scope, _)| !followed.contains(scope));
        if commit >= line.chain.commit {
            return Ok(foreign.map(|(scope, head)| (scope.clone(), *head)).collect());
        }
        let mut heads = Vec::new();
        for (scope, _) in foreign {
            if let Some(head) = self.head_after(line, scope, commit)? {
                heads.push((scope.clone(), head));
            }
        }
        Ok(heads)
    }
}

/// Gathers commits into runs: one run while the line stays the same.
pub(super) struct RunBuilder<'a> {
    region: &'a Region,
    followed: &'a BTreeSet<Scope>,
    runs: Vec<Run>,
    /// The line of every run.
    lines: Vec<i64>,
    /// The last commit of every run, with its signature.
    ends: Vec<(u64, Option<[u8; 64]>)>,
    /// Roughly how many bytes the heads come to that the seals will name.
    seal_bytes: usize,
}

impl<'a> RunBuilder<'a> {
    pub(super) fn new(region: &'a Region, followed: &'a BTreeSet<Scope>) -> Self {
        Self { region, followed, runs: Vec::new(), lines: Vec::new(), ends: Vec::new(), seal_bytes: 0 }
    }

    /// Whether a commit of a line would begin a run that does not fit any more. The first always fits.
    fn is_full(&self, line: i64, bytes_max: usize) -> bool {
        let begins = self.lines.last().is_some_and(|last| *last != line);
        begins && (self.runs.len() >= RUNS_MAX || self.seal_bytes >= bytes_max)
    }

    pub(super) fn push(&mut self, commit: &[LogRow]) -> Result<(), RegionError> {
        let (first, last) = (&commit[0], &commit[commit.len() - 1]);
        let line = self.region.line(first.line)?;
        if self.lines.last() != Some(&first.line) {
            self.runs.push(Run { origin: first.origin, before: BTreeMap::new(), commits: Vec::new() });
            self.lines.push(first.line);
            self.ends.push((first.commit, None));
            let foreign = line.chain.heads.keys().filter(|scope| !self.followed.contains(*scope)).count();
            self.seal_bytes += foreign * HEAD_BYTES;
            // Where all of its scopes stood, not only those that occur: two lines of an origin may differ in the others alone.
            for scope in line.chain.heads.keys().filter(|scope| self.followed.contains(*scope)) {
                let head = self.region.head_after(line, scope, first.commit - 1)?;
                let head = head.unwrap_or_else(|| Head { seq: 0, hash: journal::chain::genesis(first.origin, scope) });
                if let Some(run) = self.runs.last_mut() {
                    run.before.insert(scope.clone(), head);
                }
            }
        }
        let at = self.runs.len() - 1;
        let run = &mut self.runs[at];
        let mut entries = Vec::with_capacity(commit.len());
        for row in commit.iter().filter(|row| self.followed.contains(&row.scope)) {
            entries.push((row.scope.clone(), row.bytes.clone()));
        }
        run.commits.push(ReceivedCommit { entries, seal: None });
        self.ends[at] = (first.commit, last.seal);
        Ok(())
    }

    /// Seals the end of every run.
    pub(super) fn finish(mut self) -> Result<Vec<Run>, RegionError> {
        for ((run, line), (commit, signature)) in self.runs.iter_mut().zip(&self.lines).zip(self.ends) {
            let signature = signature.ok_or(RegionError::Damaged("a run of commits without a seal at its end"))?;
            let foreign = self.region.foreign_heads_after(self.region.line(*line)?, commit, self.followed)?;
            let last = run.commits.last_mut().ok_or(RegionError::Damaged("a run"))?;
            last.seal = Some(Seal { signature, foreign });
        }
        Ok(self.runs)
    }
}
