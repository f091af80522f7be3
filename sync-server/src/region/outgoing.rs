//! Reading the log: for a device that follows some scopes, and for the feed to the central database.

use std::collections::{BTreeMap, BTreeSet};

use journal::{Entry, Head, Origin, ReceivedCommit, Scope, Seal};
use rusqlite::{OptionalExtension, params};
use sync_proto::batch::{RUN_COMMITS_MAX, Run};
use sync_proto::frame::RUNS_MAX;

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
}

/// A row of the log, as the feed wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its place in the log.
    pub region_seq: u64,
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
    /// Rows after a place, whole commits only, at least one commit when there is one.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn rows_after(&self, after: u64, rows_max: usize, bytes_max: usize) -> Result<Vec<LogRow>, RegionError> {
        let origins: BTreeMap<i64, Origin> = self.origin_ids.iter().map(|(origin, id)| (*id, *origin)).collect();
        let scopes: BTreeMap<i64, &Scope> = self.scope_ids.iter().map(|(scope, id)| (*id, scope)).collect();
        let mut statement = self.db.prepare_cached(
            "SELECT region_seq, origin, scope, seq, commit_no, hash, bytes, seal FROM entry WHERE region_seq > ?1 ORDER BY region_seq",
        )?;
        let mut found = statement.query([after])?;
        let mut out: Vec<LogRow> = Vec::new();
        let mut bytes = 0;
        while let Some(row) = found.next()? {
            let origin = *origins.get(&row.get(1)?).ok_or(RegionError::Damaged("an origin"))?;
            let commit: u64 = row.get(4)?;
            let same_commit = out.last().is_some_and(|last| last.origin == origin && last.commit == commit);
            if !same_commit && (out.len() >= rows_max || bytes >= bytes_max) {
                break;
            }
            let scope = (*scopes.get(&row.get(2)?).ok_or(RegionError::Damaged("a scope"))?).clone();
            let entry = LogRow {
                region_seq: row.get(0)?,
                origin,
                scope,
                seq: row.get(3)?,
                commit,
                hash: row.get(5)?,
                bytes: row.get(6)?,
                seal: row.get(7)?,
            };
            bytes += entry.bytes.len();
            out.push(entry);
        }
        Ok(out)
    }

    /// What a device that follows `followed` and has it up to `after` gets next; nothing of its own origin.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn outgoing(
        &self,
        followed: &BTreeSet<Scope>,
        after: u64,
        receiver: Origin,
        bytes_max: usize,
    ) -> Result<Outgoing, RegionError> {
        let rows = self.rows_after(after, RUN_COMMITS_MAX, bytes_max)?;
        let Some(last) = rows.last() else { return Ok(Outgoing { runs: Vec::new(), up_to: after }) };
        let mut up_to = last.region_seq;
        let mut builder = RunBuilder { region: self, followed, runs: Vec::new(), ends: BTreeMap::new(), seal_bytes: 0 };
        for commit in rows.chunk_by(|a, b| a.origin == b.origin && a.commit == b.commit) {
            if commit[0].origin == receiver || !commit.iter().any(|row| followed.contains(&row.scope)) {
                continue;
            }
            if builder.is_full(commit[0].origin, bytes_max) {
                up_to = commit[0].region_seq - 1;
                break;
            }
            builder.push(commit)?;
        }
        let runs = builder.finish()?;
        Ok(Outgoing { runs, up_to })
    }

    /// The last commit of each origin that wrote after one place of the log, as far as it lies wholly up to another.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn commits_between(&self, after: u64, up_to: u64) -> Result<Vec<(Origin, u64)>, RegionError> {
        let origins: BTreeMap<i64, Origin> = self.origin_ids.iter().map(|(origin, id)| (*id, *origin)).collect();
        let mut statement = self.db.prepare_cached(
            "SELECT region_seq, origin, commit_no FROM entry WHERE region_seq > ?1 AND region_seq <= ?2 ORDER BY region_seq",
        )?;
        // One row beyond the end: it shows whether the last commit is cut.
        let mut found = statement.query([after, up_to.saturating_add(1)])?;
        let mut commits = BTreeMap::new();
        let mut last = None;
        while let Some(row) = found.next()? {
            let (place, origin, commit): (u64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let origin = *origins.get(&origin).ok_or(RegionError::Damaged("an origin"))?;
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
        for (origin, id) in &self.origin_ids {
            let last = statement
                .query_row(params![id, region_seq], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Option<u64>>(1)?)))
                .optional()?;
            if let Some((commit, cut)) = last {
                commits.push((*origin, if cut.is_some() { commit - 1 } else { commit }));
            }
        }
        Ok(commits)
    }

    /// The heads of an origin's scopes that are not followed, as they were after a commit.
    fn foreign_heads_after(
        &self,
        origin: Origin,
        commit: u64,
        followed: &BTreeSet<Scope>,
    ) -> Result<Vec<(Scope, Head)>, RegionError> {
        let (Some(chain), Some(origin_id)) = (self.chains.get(&origin), self.origin_ids.get(&origin)) else {
            return Ok(Vec::new());
        };
        let foreign = chain.heads.iter().filter(|(scope, _)| !followed.contains(scope));
        if commit >= chain.commit {
            return Ok(foreign.map(|(scope, head)| (scope.clone(), *head)).collect());
        }
        let mut heads = Vec::new();
        for (scope, newest) in foreign {
            if let Some(head) = self.head_after(*origin_id, self.scope_ids[scope], *newest, commit)? {
                heads.push((scope.clone(), head));
            }
        }
        Ok(heads)
    }

    /// The head of one scope as it was after a commit. Commits ascend with sequence numbers, so it is found by halves.
    fn head_after(&self, origin: i64, scope: i64, newest: Head, commit: u64) -> Result<Option<Head>, RegionError> {
        let mut at = self.db.prepare_cached("SELECT commit_no, hash FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?;
        let (mut found, mut low, mut high) = (None, 1, newest.seq);
        // The newest first: that is what a device that has nearly all is asked about.
        let mut probe = high;
        while low <= high {
            let (of, hash) = at.query_row(params![origin, scope, probe], |row| Ok((row.get::<_, u64>(0)?, row.get(1)?)))?;
            if of <= commit {
                found = Some(Head { seq: probe, hash });
                low = probe + 1;
            } else {
                high = probe - 1;
            }
            probe = low + high.saturating_sub(low) / 2;
        }
        Ok(found)
    }
}

/// Gathers commits into runs: one run while the origin stays the same.
struct RunBuilder<'a> {
    region: &'a Region,
    followed: &'a BTreeSet<Scope>,
    runs: Vec<Run>,
    /// The last commit of every run, by the run's position, with its signature if it has one.
    ends: BTreeMap<usize, (u64, Option<[u8; 64]>)>,
    /// Roughly how many bytes the heads come to that the seals will name.
    seal_bytes: usize,
}

impl RunBuilder<'_> {
    /// Whether a commit of an origin would begin a run that does not fit any more. The first always fits.
    fn is_full(&self, origin: Origin, bytes_max: usize) -> bool {
        let begins = self.runs.last().is_some_and(|run| run.origin != origin);
        begins && (self.runs.len() >= RUNS_MAX || self.seal_bytes >= bytes_max)
    }

    fn push(&mut self, commit: &[LogRow]) -> Result<(), RegionError> {
        let (first, last) = (&commit[0], &commit[commit.len() - 1]);
        if self.runs.last().is_none_or(|run| run.origin != first.origin) {
            self.runs.push(Run { origin: first.origin, before: BTreeMap::new(), commits: Vec::new() });
            let foreign = |heads: &BTreeMap<Scope, Head>| heads.keys().filter(|scope| !self.followed.contains(*scope)).count();
            self.seal_bytes += self.region.chains.get(&first.origin).map_or(0, |chain| foreign(&chain.heads)) * HEAD_BYTES;
        }
        let at = self.runs.len() - 1;
        let run = &mut self.runs[at];
        let mut entries = Vec::with_capacity(commit.len());
        for row in commit.iter().filter(|row| self.followed.contains(&row.scope)) {
            if !run.before.contains_key(&row.scope) {
                run.before.insert(row.scope.clone(), head_before(self.region, row)?);
            }
            entries.push((row.scope.clone(), row.bytes.clone()));
        }
        run.commits.push(ReceivedCommit { entries, seal: None });
        self.ends.insert(at, (first.commit, last.seal));
        Ok(())
    }

    /// Seals the end of every run. A run whose last commit came without a seal is carried on to the next commit that has one.
    fn finish(mut self) -> Result<Vec<Run>, RegionError> {
        for (at, (commit, signature)) in std::mem::take(&mut self.ends) {
            let origin = self.runs[at].origin;
            let (commit, signature) = match signature {
                Some(signature) => (commit, signature),
                None => self.carry_on(at, commit)?,
            };
            let foreign = self.region.foreign_heads_after(origin, commit, self.followed)?;
            let last = self.runs[at].commits.last_mut().ok_or(RegionError::Damaged("a run"))?;
            last.seal = Some(Seal { signature, foreign });
        }
        Ok(self.runs)
    }

    fn carry_on(&mut self, at: usize, after: u64) -> Result<(u64, [u8; 64]), RegionError> {
        let origin = self.runs[at].origin;
        let origin_id = self.region.origin_ids[&origin];
        let scopes: BTreeMap<i64, &Scope> = self.region.scope_ids.iter().map(|(scope, id)| (*id, scope)).collect();
        let mut statement = self.region.db.prepare_cached(
            "SELECT region_seq, scope, seq, commit_no, hash, bytes, seal FROM entry
             WHERE origin = ?1 AND commit_no > ?2 ORDER BY commit_no, region_seq",
        )?;
        let mut found = statement.query(params![origin_id, after])?;
        while let Some(row) = found.next()? {
            let row = LogRow {
                region_seq: row.get(0)?,
                origin,
                scope: scopes[&row.get(1)?].clone(),
                seq: row.get(2)?,
                commit: row.get(3)?,
                hash: row.get(4)?,
                bytes: row.get(5)?,
                seal: row.get(6)?,
            };
            self.carry(at, &row)?;
            if let Some(signature) = row.seal {
                return Ok((row.commit, signature));
            }
        }
        Err(RegionError::Damaged("a run of commits without a seal at its end"))
    }

    fn carry(&mut self, at: usize, row: &LogRow) -> Result<(), RegionError> {
        if !self.followed.contains(&row.scope) {
            return Ok(());
        }
        let part = Entry::decode(&row.bytes).map_err(|_| RegionError::Damaged("an entry"))?.part;
        let run = &mut self.runs[at];
        if !run.before.contains_key(&row.scope) {
            run.before.insert(row.scope.clone(), head_before(self.region, row)?);
        }
        if part == 0 {
            run.commits.push(ReceivedCommit { entries: Vec::new(), seal: None });
        }
        let commit = run.commits.last_mut().ok_or(RegionError::Damaged("a commit without its first part"))?;
        commit.entries.push((row.scope.clone(), row.bytes.clone()));
        Ok(())
    }
}

/// The head before a row.
fn head_before(region: &Region, row: &LogRow) -> Result<Head, RegionError> {
    let seq = row.seq - 1;
    let hash = match seq {
        0 => journal::chain::genesis(row.origin, &row.scope),
        _ => region.hash_at(row.origin, &row.scope, seq)?.ok_or(RegionError::Damaged("a chain with a hole"))?,
    };
    Ok(Head { seq, hash })
}
