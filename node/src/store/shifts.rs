//! Shifts: opened, closed, and what came to one late ([`domain::shift`]).

use std::collections::BTreeSet;

use domain::ids::{DeviceId, ShiftId};
use domain::record::{BusinessDay, CUT_ORIGINS_MAX, Order, Record, SeenHead, ShiftClosing, ShiftOpening};
use domain::shift::{Late, ShiftSum, decode_cut, encode_cut};
use journal::{Body, Entry, Scope};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sync_proto::lines::Lines;
use uuid::Uuid;

use super::lines::LinesOf;
use super::sums::ShiftPart;
use super::{StoreError, counts, fixed, lines};

/// Most rows of a list of shifts.
pub const SHIFTS_MAX: usize = 50;

/// A shift as it was opened and, perhaps, closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShiftRow {
    /// Its id.
    pub id: ShiftId,
    /// The device that opened it.
    pub device: [u8; 16],
    /// The receipt series of the life in which it did; empty while it is unknown.
    pub series: String,
    /// The day it counts for.
    pub business_day: BusinessDay,
    /// When it was opened, in Unix milliseconds.
    pub opened_ms: u64,
    /// The cash put into the drawer, in minor units.
    pub float_minor: i64,
    /// How it was closed.
    pub closed: Option<Closed>,
}

/// The closing of a shift that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// The cash that was counted, in minor units.
    pub counted_minor: i64,
    /// The cash that was expected then, in minor units.
    pub expected_minor: i64,
    /// What it covers; everything where it does not say.
    pub cut: Option<Vec<SeenHead>>,
}

/// Writes the beginning of a shift.
///
/// # Errors
/// A failure of SQLite.
pub fn put_opened(db: &Connection, origin: i64, at_ms: u64, s: &ShiftOpening) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO shift (id, origin, business_day, opened_ms, float_minor) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
         SET origin = excluded.origin, business_day = excluded.business_day, opened_ms = excluded.opened_ms,
             float_minor = excluded.float_minor",
    )?
    .execute(params![s.shift.as_bytes(), origin, s.business_day.0, at_ms, s.float_minor])?;
    Ok(())
}

/// Writes the end of a shift, which may arrive before its beginning when it was written by a later incarnation. Of several the latest stands; the
/// central database chooses by the same rule.
///
/// # Errors
/// A failure of SQLite.
pub fn put_closed(db: &Connection, at_ms: u64, s: &ShiftClosing) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO shift (id, closed_ms, counted, expected, cut) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
         SET closed_ms = excluded.closed_ms, counted = excluded.counted, expected = excluded.expected, cut = excluded.cut
         WHERE closed_ms IS NULL OR (excluded.closed_ms, excluded.counted, excluded.expected, ifnull(excluded.cut, x''))
             > (closed_ms, counted, expected, ifnull(cut, x''))",
    )?
    .execute(params![s.shift.as_bytes(), at_ms, s.counted_minor, s.expected_minor, s.cut.as_deref().map(encode_cut)])?;
    Ok(())
}

const SHIFT_COLUMNS: &str =
    "s.id, g.device, coalesce(r.series, ''), s.business_day, s.opened_ms, s.float_minor, s.closed_ms, s.counted, s.expected, s.cut
     FROM shift s JOIN origin g ON g.id = s.origin LEFT JOIN line l ON l.origin = g.id LEFT JOIN series r ON r.origin = coalesce(l.root, g.id)";

/// The newest shift of a device that is open, and the newest that is closed.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn newest_of(db: &Connection, device: [u8; 16]) -> Result<(Option<ShiftRow>, Option<ShiftRow>), StoreError> {
    let newest = |condition: &str| {
        db.prepare_cached(&format!(
            "SELECT {SHIFT_COLUMNS} WHERE g.device = ? AND s.closed_ms IS {condition} ORDER BY s.id DESC LIMIT 1"
        ))?
        .query_row([device], shift_row)
        .optional()?
        .transpose()
    };
    Ok((newest("NULL")?, newest("NOT NULL")?))
}

/// The closed shifts of the store, the one that was opened last first.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn closed(db: &Connection, limit: usize) -> Result<Vec<ShiftRow>, StoreError> {
    let mut select =
        db.prepare_cached(&format!("SELECT {SHIFT_COLUMNS} WHERE s.closed_ms IS NOT NULL ORDER BY s.id DESC LIMIT ?"))?;
    let rows = select.query_map([limit.min(SHIFTS_MAX)], shift_row)?;
    rows.map(|row| row.map_err(StoreError::from).flatten()).collect()
}

/// A shift.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn shift(db: &Connection, id: ShiftId) -> Result<Option<ShiftRow>, StoreError> {
    db.prepare_cached(&format!("SELECT {SHIFT_COLUMNS} WHERE s.id = ?"))?
        .query_row([id.as_bytes()], shift_row)
        .optional()?
        .transpose()
}

fn shift_row(r: &Row<'_>) -> rusqlite::Result<Result<ShiftRow, StoreError>> {
    let closed = match (r.get(6)?, r.get(7)?, r.get(8)?) {
        (Some(at_ms), Some(counted_minor), Some(expected_minor)) => {
            let cut = r.get::<_, Option<Vec<u8>>>(9)?;
            let read = cut.map(|bytes| decode_cut(&bytes).ok_or(StoreError::Damaged("the cut of a shift"))).transpose();
            match read {
                Ok(cut) => Some(Closed { at_ms, counted_minor, expected_minor, cut }),
                Err(error) => return Ok(Err(error)),
            }
        }
        _ => None,
    };
    let (device, series) = (r.get(1)?, r.get(2)?);
    let (business_day, opened_ms, float_minor) = (BusinessDay(r.get(3)?), r.get(4)?, r.get(5)?);
    let id = r.get::<_, Vec<u8>>(0)?;
    Ok(fixed(id).map(|id| ShiftRow {
        id: ShiftId(Uuid::from_bytes(id)),
        device,
        series,
        business_day,
        opened_ms,
        float_minor,
        closed,
    }))
}

/// What receipts of a history are called; empty while it is unknown.
///
/// # Errors
/// A failure of SQLite.
pub fn series_of(db: &Connection, origin: i64) -> Result<String, StoreError> {
    let found = db.prepare_cached("SELECT series FROM series WHERE origin = ?")?.query_row([origin], |r| r.get(0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// What a closing made now covers: the last entry of a shift in each history that has some.
///
/// # Errors
/// A failure of SQLite.
pub fn cut_of(db: &Connection, parts: &[ShiftPart]) -> Result<Vec<SeenHead>, StoreError> {
    parts.iter().take(CUT_ORIGINS_MAX).filter_map(|part| head_of(db, part.last).transpose()).collect()
}

/// The entry in a row of the log; none when it is not there any more.
fn head_of(db: &Connection, row: i64) -> Result<Option<SeenHead>, StoreError> {
    let head = db
        .prepare_cached(
            "SELECT o.device, o.incarnation, e.seq, e.hash FROM entry e
             JOIN origin o ON o.id = coalesce((SELECT root FROM line WHERE origin = e.origin), e.origin) WHERE e.id = ?",
        )?
        .query_row([row], |r| {
            let device = DeviceId(Uuid::from_bytes(r.get(0)?));
            Ok(SeenHead { device, incarnation: r.get(1)?, seq: r.get(2)?, hash: r.get(3)? })
        })
        .optional()?;
    Ok(head)
}

/// What came to a shift that its closing does not cover. As a rule nothing: then it costs one look at each history that has something of the shift.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn late(
    db: &Connection,
    scope: &Scope,
    shift: ShiftId,
    cut: &[SeenHead],
    parts: &[ShiftPart],
) -> Result<Vec<Late>, StoreError> {
    let mut late = Vec::new();
    for part in parts {
        let Some(last) = head_of(db, part.last)? else { continue };
        let covered = Covered::of(db, scope, cut, &last)?;
        if covered.has(&last.hash, last.seq)? {
            continue;
        }
        let first = head_of(db, part.first)?.map_or(1, |first| first.seq);
        let mut select = db.prepare_cached(
            "SELECT e.id, e.seq, e.hash, e.bytes FROM entry e JOIN scope s ON s.id = e.scope
             WHERE e.origin = ? AND s.name = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq",
        )?;
        let mut rows = select.query(params![part.origin, scope.as_str(), first, last.seq])?;
        while let Some(r) = rows.next()? {
            if covered.has(&r.get(2)?, r.get(1)?)? {
                continue;
            }
            let life = (*last.device.as_bytes(), last.incarnation);
            let content = r.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            if content.is_empty() {
                late.extend(gone_sale(db, r.get(0)?, shift)?.map(|(at_ms, receipt_number, sum)| Late {
                    life,
                    at_ms,
                    receipt_number,
                    sum,
                }));
                continue;
            }
            let entry = Entry::decode(content).map_err(|_| StoreError::Damaged("an entry"))?;
            let Body::Record { kind, version, bytes } = &entry.body else { continue };
            let Ok(Some(record)) = Record::decode(*kind, *version, bytes) else { continue };
            let (Record::SaleCompleted(order) | Record::RefundGiven(order)) = &record else { continue };
            let Some((of, sum)) = ShiftSum::of(&record) else { continue };
            if of == shift && counts::counts_here(db, r.get(0)?, &record)? {
                late.push(Late { life, at_ms: entry.at.unix_ms(), receipt_number: order.receipt_number, sum });
            }
        }
    }
    Ok(late)
}

/// Notes of a sale whose content goes ([`super::retention`]) what an addendum would say of it.
///
/// # Errors
/// A failure of SQLite.
pub(super) fn note_gone(db: &Connection, entry: i64, at_ms: u64, order: &Order, record: &Record) -> Result<(), StoreError> {
    let Some((shift, sum)) = ShiftSum::of(record) else { return Ok(()) };
    db.prepare_cached("INSERT INTO gone_sale (entry, shift, at_ms, receipt, total_minor, cash_minor) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute(params![entry, shift.as_bytes(), at_ms, order.receipt_number, sum.sales_minor, sum.cash_minor])?;
    Ok(())
}

/// What an addendum says of a sale of a shift whose content has gone: when it was, its receipt number, and what it came to.
fn gone_sale(db: &Connection, entry: i64, shift: ShiftId) -> Result<Option<(u64, u64, ShiftSum)>, StoreError> {
    let mut select =
        db.prepare_cached("SELECT at_ms, receipt, total_minor, cash_minor FROM gone_sale WHERE entry = ? AND shift = ?")?;
    let found = select.query_row(params![entry, shift.as_bytes()], |r| {
        Ok((r.get(0)?, r.get(1)?, ShiftSum { sales: 1, sales_minor: r.get(2)?, cash_minor: r.get(3)?, ..ShiftSum::default() }))
    });
    Ok(found.optional()?)
}

/// What of one life of a device a cut covers.
struct Covered<'a> {
    db: &'a Connection,
    scope: &'a Scope,
    lines: Vec<lines::Line>,
    /// The lines that have a head of the cut, and where it is.
    known: Vec<(usize, u64)>,
    /// The furthest head whose entry is not here yet: until it is, what is before its place counts as covered.
    awaited: u64,
}

impl<'a> Covered<'a> {
    fn of(db: &'a Connection, scope: &'a Scope, cut: &[SeenHead], of: &SeenHead) -> Result<Self, StoreError> {
        let origin = journal::Origin { device: *of.device.as_bytes(), incarnation: of.incarnation };
        let heads: Vec<&SeenHead> =
            cut.iter().filter(|head| head.device == of.device && head.incarnation == of.incarnation).collect();
        let mut covered = Self { db, scope, lines: Vec::new(), known: Vec::new(), awaited: 0 };
        if !heads.is_empty() {
            covered.lines = lines::of(db, origin)?;
        }
        for head in heads {
            let mut found = false;
            for line in 0..covered.lines.len() {
                if covered.hash_on(line, head.seq)? == Some(head.hash) {
                    covered.known.push((line, head.seq));
                    found = true;
                }
            }
            if !found {
                covered.awaited = covered.awaited.max(head.seq);
            }
        }
        Ok(covered)
    }

    fn hash_on(&self, line: usize, seq: u64) -> Result<Option<journal::Hash>, StoreError> {
        LinesOf { db: self.db, lines: &self.lines }.hash_on(line, self.scope, seq)
    }

    fn has(&self, hash: &journal::Hash, seq: u64) -> Result<bool, StoreError> {
        if seq <= self.awaited {
            return Ok(true);
        }
        let lines: BTreeSet<usize> = self.known.iter().filter(|(_, upto)| seq <= *upto).map(|(line, _)| *line).collect();
        for line in lines {
            if self.hash_on(line, seq)?.as_ref() == Some(hash) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
