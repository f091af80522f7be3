//! Orders that a device asks for because its replica no longer has them, or not yet: found by the number on their receipt, and told as they were signed.

use std::collections::BTreeSet;

use domain::ids::{DeviceId, OrderId, StoreId};
use domain::record::{Order, Record};
use journal::{Body, ChainedEntry, Entry, Scope};
use rusqlite::{OptionalExtension, params};
use sync_proto::batch::Run;
use sync_proto::frame::RUNS_MAX;
use sync_proto::scopes;
use uuid::Uuid;

use super::lines::Line;
use super::outgoing::RunBuilder;
use super::{Region, RegionError};

/// Where an entry is in its line, and in the log.
#[derive(Debug, Clone, Copy)]
struct Spot {
    line: i64,
    region_seq: u64,
}

impl Region {
    /// The commits of the orders of a store that have a number, and of their refunds, each in a run that ends at the next seal: about as many bytes as
    /// told, and at least the first. The number says whose history it is, and numbers ascend in it, so nothing has to be searched.
    ///
    /// # Errors
    /// When SQLite refuses, or an entry makes no sense.
    pub fn told_of(&self, store: StoreId, receipt: &str, bytes_max: usize) -> Result<Vec<Run>, RegionError> {
        let Some((series, number)) = receipt.trim().rsplit_once('-') else { return Ok(Vec::new()) };
        let Ok(number) = number.parse::<u64>() else { return Ok(Vec::new()) };
        let scope = scopes::store(store);
        let mut spots = Vec::new();
        for (origin, lines) in &self.lines {
            let device = DeviceId(Uuid::from_bytes(origin.device));
            let is_of_store = self.devices.get(&device).is_some_and(|device| device.store == Some(store));
            if !is_of_store || !self.is_series_of(lines, &scope, series)? {
                continue;
            }
            for line in lines {
                let Some((spot, order)) = self.order_by_number(line, &scope, number)? else { continue };
                spots.push(spot);
                spots.extend(self.refunds_of(order.id)?);
            }
        }
        let followed = BTreeSet::from([scope]);
        let (mut runs, mut bytes) = (Vec::new(), 0);
        for Spot { line, region_seq } in spots.into_iter().take(RUNS_MAX) {
            if bytes > bytes_max {
                break;
            }
            let run = self.run_from(line, region_seq, &followed)?;
            bytes += run.bytes();
            runs.push(run);
        }
        Ok(runs)
    }

    /// Whether the lines of an origin print receipts of a series: their first entry says so.
    fn is_series_of(&self, lines: &[Line], scope: &Scope, series: &str) -> Result<bool, RegionError> {
        let Some(first) = lines.first() else { return Ok(false) };
        let Some((_, entry)) = self.entry_at(first, scope, 1)? else { return Ok(false) };
        Ok(matches!(record_of(&entry), Some(Record::DeviceStarted(start)) if start.series.eq_ignore_ascii_case(series)))
    }

    /// The order with a number among the entries of a line itself, by halves.
    fn order_by_number(&self, line: &Line, scope: &Scope, number: u64) -> Result<Option<(Spot, Order)>, RegionError> {
        let first = match line.parent {
            Some((parent, after)) => self.head_after(self.line(parent)?, scope, after)?.map_or(1, |head| head.seq + 1),
            None => 1,
        };
        // It is after `low` and up to `high`.
        let (mut low, mut high) = (first - 1, line.chain.head(scope).seq);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let mut probe = middle;
            let found = loop {
                let Some((region_seq, entry)) = self.entry_at(line, scope, probe)? else { break None };
                if let Some(order) = record_of(&entry).and_then(order_of) {
                    break Some((region_seq, order));
                }
                if probe == high {
                    break None;
                }
                probe += 1;
            };
            match found {
                Some((region_seq, order)) if order.receipt_number == number => {
                    return Ok(Some((Spot { line: line.row, region_seq }, order)));
                }
                Some((_, order)) if order.receipt_number < number => low = probe,
                _ => high = middle - 1,
            }
        }
        Ok(None)
    }

    fn refunds_of(&self, sale: OrderId) -> Result<Vec<Spot>, RegionError> {
        let mut select = self.db.prepare_cached(
            "SELECT e.origin, r.region_seq FROM refund_of r JOIN entry e USING (region_seq) WHERE r.sale = ?1 ORDER BY r.region_seq LIMIT ?2",
        )?;
        let spot = |row: &rusqlite::Row<'_>| Ok(Spot { line: row.get(0)?, region_seq: row.get(1)? });
        Ok(select.query_map(params![sale.as_bytes(), RUNS_MAX], spot)?.collect::<Result<_, _>>()?)
    }

    /// The entry at a place of a line itself, with its place in the log.
    fn entry_at(&self, line: &Line, scope: &Scope, seq: u64) -> Result<Option<(u64, Entry)>, RegionError> {
        let Some(scope) = self.scope_ids.get(scope) else { return Ok(None) };
        let found: Option<(u64, Vec<u8>)> = self
            .db
            .prepare_cached("SELECT region_seq, bytes FROM entry WHERE origin = ?1 AND scope = ?2 AND seq = ?3")?
            .query_row(params![line.row, scope, seq], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((region_seq, bytes)) = found else { return Ok(None) };
        let entry = Entry::decode(&bytes).map_err(|_| RegionError::Damaged("an entry"))?;
        Ok(Some((region_seq, entry)))
    }

    /// The commit that an entry is of, and those after it up to the next seal.
    fn run_from(&self, line: i64, region_seq: u64, followed: &BTreeSet<Scope>) -> Result<Run, RegionError> {
        let mut select = self.db.prepare_cached(
            "SELECT region_seq, origin, scope, seq, commit_no, hash, bytes, seal FROM entry WHERE origin = ?1
                 AND region_seq >= (SELECT min(region_seq) FROM entry WHERE origin = ?1
                     AND commit_no = (SELECT commit_no FROM entry WHERE region_seq = ?2))
             ORDER BY region_seq",
        )?;
        let (rows, _) = self.rows_of(select.query(params![line, region_seq])?, 1, 1)?;
        let mut builder = RunBuilder::new(self, followed);
        for commit in rows.chunk_by(|a, b| a.commit == b.commit) {
            builder.push(commit)?;
        }
        builder.finish()?.pop().ok_or(RegionError::Damaged("a commit of nothing"))
    }

    /// Notes a refund, to be found by its sale.
    pub(super) fn note_refund(&self, entry: &ChainedEntry, region_seq: u64) -> Result<(), RegionError> {
        self.note_refund_of(&entry.entry, region_seq)
    }

    fn note_refund_of(&self, entry: &Entry, region_seq: u64) -> Result<(), RegionError> {
        if !matches!(entry.body, Body::Record { kind: Record::REFUND_GIVEN, .. }) {
            return Ok(());
        }
        if let Some(Record::RefundGiven(Order { original: Some(sale), .. })) = record_of(entry) {
            self.db
                .prepare_cached("INSERT OR IGNORE INTO refund_of (sale, region_seq) VALUES (?1, ?2)")?
                .execute(params![sale.as_bytes(), region_seq])?;
        }
        Ok(())
    }

    /// Notes the refunds of a log that was written before they were.
    pub(super) fn fill_refunds(&mut self) -> Result<(), RegionError> {
        let asked = self.db.query_row("SELECT 1 FROM meta WHERE key = 'fill_refunds'", [], |_| Ok(())).optional()?;
        if asked.is_none() {
            return Ok(());
        }
        self.in_transaction(|region| {
            let mut select = region.db.prepare("SELECT region_seq, bytes FROM entry ORDER BY region_seq")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                // What does not read is found by the audit.
                if let Ok(entry) = Entry::decode(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                    region.note_refund_of(&entry, row.get(0)?)?;
                }
            }
            region.db.execute("DELETE FROM meta WHERE key = 'fill_refunds'", [])?;
            Ok(())
        })
    }
}

fn record_of(entry: &Entry) -> Option<Record> {
    let Body::Record { kind, version, bytes } = &entry.body else { return None };
    Record::decode(*kind, *version, bytes).ok().flatten()
}

fn order_of(record: Record) -> Option<Order> {
    match record {
        Record::SaleCompleted(order) | Record::RefundGiven(order) => Some(order),
        _ => None,
    }
}
