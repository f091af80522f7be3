//! The histories of an origin ([`sync_proto::lines`]) in this log: each under a row of its own.

use std::collections::BTreeMap;

use journal::{Hash, Head, Origin, OriginChain, Scope};
use rusqlite::{OptionalExtension, params};
use sync_proto::batch::Run;
use sync_proto::lines::{self, Agreement, LINES_MAX, Lines, LinesError};

use super::{AdmitError, Region, RegionError};

/// One history of an origin.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The row that its entries name.
    pub(super) row: i64,
    /// The row of the line that it leaves, and the last commit that both have; none for the origin's own.
    pub(super) parent: Option<(i64, u64)>,
    /// Where it stands.
    pub(super) chain: OriginChain,
}

/// The lines of one origin in this log.
struct LinesOf<'a> {
    region: &'a Region,
    lines: &'a [Line],
}

impl Lines for LinesOf<'_> {
    type Error = RegionError;

    fn chains(&self) -> Vec<&OriginChain> {
        self.lines.iter().map(|line| &line.chain).collect()
    }

    fn hash_on(&self, line: usize, scope: &Scope, seq: u64) -> Result<Option<Hash>, RegionError> {
        self.region.hash_on(&self.lines[line], scope, seq)
    }
}

impl Region {
    /// The lines of an origin; its own comes first.
    pub(super) fn lines_of(&self, origin: Origin) -> &[Line] {
        self.lines.get(&origin).map_or(&[], Vec::as_slice)
    }

    /// The line of a row.
    pub(super) fn line(&self, row: i64) -> Result<&Line, RegionError> {
        let origin = self.origins.get(&row).ok_or(RegionError::Damaged("an origin"))?;
        self.lines_of(*origin).iter().find(|line| line.row == row).ok_or(RegionError::Damaged("a line"))
    }

    /// The hash of an entry on a line, be it from before it left its parent; none beyond its end.
    pub(super) fn hash_on(&self, line: &Line, scope: &Scope, seq: u64) -> Result<Option<Hash>, RegionError> {
        if seq > line.chain.head(scope).seq {
            return Ok(None);
        }
        let found = self.place(line.row, scope, seq)?;
        match (found, line.parent) {
            (Some((_, hash)), _) => Ok(Some(hash)),
            (None, Some((parent, _))) => self.hash_on(self.line(parent)?, scope, seq),
            (None, None) => Ok(None),
        }
    }

    /// The commit and hash at a place of a row itself.
    fn place(&self, row: i64, scope: &Scope, seq: u64) -> Result<Option<(u64, Hash)>, RegionError> {
        let Some(scope) = self.scope_ids.get(scope) else { return Ok(None) };
        let found = self
            .db
            .prepare_cached("SELECT commit_no, hash FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?
            .query_row(params![row, scope, seq], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found)
    }

    /// The head of one scope as it was on a line after a commit. Commits ascend with sequence numbers, so it is found by halves.
    pub(super) fn head_after(&self, line: &Line, scope: &Scope, commit: u64) -> Result<Option<Head>, RegionError> {
        if let Some((parent, after)) = line.parent
            && commit <= after
        {
            return self.head_after(self.line(parent)?, scope, commit);
        }
        let inherited = match line.parent {
            Some((parent, after)) => self.head_after(self.line(parent)?, scope, after)?,
            None => None,
        };
        let (mut found, mut low, mut high) = (inherited, inherited.map_or(1, |head| head.seq + 1), line.chain.head(scope).seq);
        // The newest first: that is what a device that has nearly all is asked about.
        let mut probe = high;
        while low <= high {
            let (of, hash) = self.place(line.row, scope, probe)?.ok_or(RegionError::Damaged("a chain with a hole"))?;
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

    /// The region sequence of the last entry of a line up to a commit; 0 when there is none.
    pub(super) fn end_of(&self, line: &Line, commit: u64) -> Result<u64, RegionError> {
        let mut at = self.db.prepare_cached("SELECT region_seq FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?;
        let mut end = 0;
        for (scope, id) in &self.scope_ids {
            let Some(head) = self.head_after(line, scope, commit)? else { continue };
            let mut holder = Some(line);
            while let Some(line) = holder {
                let found: Option<u64> = at.query_row(params![line.row, id, head.seq], |row| row.get(0)).optional()?;
                end = end.max(found.unwrap_or(0));
                holder = match (found, line.parent) {
                    (None, Some((parent, _))) => Some(self.line(parent)?),
                    _ => None,
                };
            }
        }
        Ok(end)
    }

    /// Where a line stood after a commit.
    pub(super) fn chain_after(&self, line: &Line, commit: u64) -> Result<OriginChain, RegionError> {
        if commit >= line.chain.commit {
            return Ok(line.chain.clone());
        }
        let mut chain = OriginChain::new(line.chain.origin);
        chain.commit = commit;
        for scope in line.chain.heads.keys() {
            if let Some(head) = self.head_after(line, scope, commit)? {
                chain.heads.insert(scope.clone(), head);
            }
        }
        Ok(chain)
    }

    /// Which lines of its origin have most of a run; none for a new origin.
    ///
    /// # Errors
    /// [`AdmitError::Gap`] when no line reaches to where the run begins.
    pub(super) fn agree(&self, run: &Run) -> Result<Vec<Agreement>, AdmitError> {
        let lines = LinesOf { region: self, lines: self.lines_of(run.origin) };
        lines::agree(&lines, run).map_err(|error| match error {
            LinesError::Entry(error) => error.into(),
            LinesError::Gap => AdmitError::Gap { has: self.chain(run.origin).commit },
            LinesError::Look(error) => error.into(),
        })
    }

    /// Where the commits that a line does not have are to be chained on.
    pub(super) fn goes_on_from(&self, origin: Origin, agreement: Option<Agreement>) -> Result<OriginChain, AdmitError> {
        let Some(agreement) = agreement else { return Ok(OriginChain::new(origin)) };
        let lines = self.lines_of(origin);
        match agreement.leaves_after {
            None => Ok(lines[agreement.line].chain.clone()),
            Some(_) if lines.len() >= LINES_MAX => Err(AdmitError::TooManyHistories),
            Some(after) => Ok(self.chain_after(&lines[agreement.line], after)?),
        }
    }

    /// The row to write verified commits to, of which `first` is the first entry: the line's own, or that of a new one that leaves it.
    pub(super) fn row_for(&mut self, origin: Origin, agreement: Option<Agreement>, first: &Hash) -> Result<i64, RegionError> {
        let Some(Agreement { line, leaves_after, .. }) = agreement else { return self.origin_row(origin) };
        let parent = self.lines_of(origin)[line].row;
        let Some(after) = leaves_after else { return Ok(parent) };
        let name = &first[..16];
        self.db.execute("INSERT INTO origin (device, incarnation) VALUES (?1, ?2)", params![origin.device, name])?;
        let row = self.db.last_insert_rowid();
        self.db.execute("INSERT INTO line (origin, parent, after_commit) VALUES (?1, ?2, ?3)", params![row, parent, after])?;
        let chain = self.chain_after(self.line(parent)?, after)?;
        self.origins.insert(row, origin);
        self.lines.entry(origin).or_default().push(Line { row, parent: Some((parent, after)), chain });
        Ok(row)
    }

    /// The row of an origin's own line, made when there is none.
    pub(super) fn origin_row(&mut self, origin: Origin) -> Result<i64, RegionError> {
        if let Some(line) = self.lines_of(origin).first() {
            return Ok(line.row);
        }
        self.db
            .execute("INSERT INTO origin (device, incarnation) VALUES (?1, ?2)", params![origin.device, origin.incarnation])?;
        let row = self.db.last_insert_rowid();
        self.origins.insert(row, origin);
        self.lines.entry(origin).or_default().push(Line { row, parent: None, chain: OriginChain::new(origin) });
        Ok(row)
    }

    /// Notes where a line stands now.
    pub(super) fn moved_on(&mut self, row: i64, chain: OriginChain) {
        let lines = self.lines.entry(chain.origin).or_default();
        if let Some(line) = lines.iter_mut().find(|line| line.row == row) {
            line.chain = chain;
        }
    }

    /// Reads all lines from disk.
    pub(super) fn read_lines(&mut self) -> Result<(), RegionError> {
        let named: BTreeMap<i64, Origin> = super::rows(&self.db, "SELECT id, device, incarnation FROM origin", |row| {
            Ok((row.get(0)?, Origin { device: row.get(1)?, incarnation: row.get(2)? }))
        })?;
        let parents: BTreeMap<i64, (i64, u64)> = super::rows(&self.db, "SELECT origin, parent, after_commit FROM line", |row| {
            Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
        })?;
        let known = (std::mem::take(&mut self.origins), std::mem::take(&mut self.lines));
        let read = self.read_each_line(&named, &parents);
        if read.is_err() {
            // Better what was known than nothing: with no lines every device would look like one of another history.
            (self.origins, self.lines) = known;
        }
        read
    }

    fn read_each_line(&mut self, named: &BTreeMap<i64, Origin>, parents: &BTreeMap<i64, (i64, u64)>) -> Result<(), RegionError> {
        // A line's row is younger than its parent's, so parents come first.
        for (&row, &name) in named {
            let parent = parents.get(&row).copied();
            let origin = match parent {
                None => name,
                Some((parent, _)) => *self.origins.get(&parent).ok_or(RegionError::Damaged("a line without its parent"))?,
            };
            let mut chain = match parent {
                None => OriginChain::new(origin),
                Some((parent, after)) => self.chain_after(self.line(parent)?, after)?,
            };
            self.read_heads(row, &mut chain)?;
            self.origins.insert(row, origin);
            self.lines.entry(origin).or_default().push(Line { row, parent, chain });
        }
        Ok(())
    }

    fn read_heads(&self, row: i64, chain: &mut OriginChain) -> Result<(), RegionError> {
        let mut last = self.db.prepare_cached(
            "SELECT seq, hash, commit_no FROM entry WHERE origin = ?1 AND scope = ?2 ORDER BY seq DESC LIMIT 1",
        )?;
        for (scope, &scope_id) in &self.scope_ids {
            let head = last
                .query_row(params![row, scope_id], |row| {
                    Ok((Head { seq: row.get(0)?, hash: row.get(1)? }, row.get::<_, u64>(2)?))
                })
                .optional()?;
            if let Some((head, commit)) = head {
                chain.heads.insert(scope.clone(), head);
                chain.commit = chain.commit.max(commit);
            }
        }
        Ok(())
    }
}
