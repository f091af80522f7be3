//! Shifts: what their closings cover, and what came to them late.
//!
//! What came late is found when it is asked for ([`domain::shift`]): the projector keeps the cut of a closing, and here the sales and refunds of a shift
//! are held against it. They are summed up by life of a till first. Where the last of such a sum is covered, all of it is, and that is so of nearly all.

use std::collections::{BTreeMap, BTreeSet};

use domain::money::Currency;
use domain::receipt::receipt_number;
use domain::record::SeenHead;
use domain::shift::{Addendum, Late, ShiftSum, addenda, decode_cut};
use journal::Hash;
use journal::chain::link;
use sync_proto::scopes;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{
    ANSWER_WAIT, Filter, Period, Postgres, ReportError, answer, ask, bad_after, bounded, in_time, named_store, snapshot,
    store_by_code, unsigned,
};
use crate::central::coverage;
use crate::web_api::{AddendumRow, ShiftClosingRow, ShiftRow, ShiftsPage};

/// Most shifts of one page: every sale of them is looked at.
pub const SHIFTS_MAX: i64 = 100;

/// A checked question for shifts.
#[derive(Debug, Clone)]
pub struct ShiftsQuestion {
    days: Option<Period>,
    store: Option<String>,
    after: Option<Place>,
    limit: i64,
}

/// When a shift was opened, its store and its id.
type Place = (i64, Uuid, Uuid);

/// A store and a shift.
type ShiftKey = (Uuid, Uuid);

impl ShiftsQuestion {
    /// Asks for a page of shifts, of all business days or of those from one to another.
    ///
    /// # Errors
    /// Something that no row can be.
    pub fn new(
        days: (Option<&str>, Option<&str>),
        store: Option<&str>,
        after: Option<&str>,
        asked: Option<i64>,
    ) -> Result<Self, ReportError> {
        let days = match days {
            (None, None) => None,
            (Some(from), Some(to)) => Some(Period::new(from, to, None, None, None)?),
            _ => return Err(ask("Give both `from` and `to`, or neither.")),
        };
        let limit = asked.unwrap_or(super::LIMIT_DEFAULT);
        if !(1..=SHIFTS_MAX).contains(&limit) {
            return Err(ask(format!("Let `limit` be 1 to {SHIFTS_MAX}.")));
        }
        let place = |after: &str| {
            let mut parts = after.splitn(3, '.');
            let (at, store, shift) = (parts.next()?, parts.next()?, parts.next()?);
            Some((at.parse().ok()?, Uuid::try_parse(store).ok()?, Uuid::try_parse(shift).ok()?))
        };
        let after = after.map(|after| place(after).ok_or_else(bad_after)).transpose()?;
        Ok(Self { days, store: bounded("store", store)?, after, limit })
    }
}

/// A page of shifts, the one that was opened last first.
///
/// # Errors
/// A store that is not there, or a database that does not answer.
pub async fn shifts(central: &Postgres, question: &ShiftsQuestion, now_ms: u64) -> Result<ShiftsPage, ReportError> {
    answer!(central, "list shifts", |tx| async {
        let store = named_store(&tx, question.store.as_deref()).await?;
        let (rows, next) = page(&tx, question).await?;
        let keys: Vec<ShiftKey> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let days: Vec<i32> = rows.iter().filter_map(|row| row.get(5)).collect();
        let cuts = rows.iter().filter_map(|row| Some(((row.get(0), row.get(1)), row.get::<_, Option<Vec<u8>>>(15)?)));
        let cuts = cuts.filter_map(|(key, cut)| Some((key, decode_cut(&cut)?))).collect();
        let mut summed = Summed::of(&tx, &keys, &days).await?;
        summed.hold_against(&tx, &cuts).await?;
        let rows = rows.iter().map(|row| shift_row(row, &summed)).collect();
        let next = next.map(|(at, store, shift)| format!("{at}.{}.{}", store.simple(), shift.simple()));
        Ok(ShiftsPage { rows, next, coverage: coverage::of(&tx, store, now_ms).await? })
    })
}

async fn page(tx: &Transaction<'_>, question: &ShiftsQuestion) -> Result<(Vec<Row>, Option<Place>), ReportError> {
    const OPENED: &str = "COALESCE(h.opened_at_ms, h.closed_at_ms, 0)";
    let mut filter = Filter::default();
    if let Some(days) = &question.days {
        let (from, to) = (filter.takes(days.from.0), filter.takes(days.to.0));
        filter.wants(format!("h.business_day BETWEEN date '1970-01-01' + {from}::int AND date '1970-01-01' + {to}::int"));
    }
    if let Some(store) = &question.store {
        let store = filter.takes(store_by_code(tx, store).await?);
        filter.wants(format!("h.store_id = {store}::uuid"));
    }
    if let Some((at, store, shift)) = question.after {
        let (at, store, shift) = (filter.takes(at), filter.takes(store), filter.takes(shift));
        filter.wants(format!("({OPENED}, h.store_id, h.shift_id) < ({at}::bigint, {store}::uuid, {shift}::uuid)"));
    }
    let limit = filter.takes(question.limit + 1);
    let sql = format!(
        "SELECT h.store_id, h.shift_id, {OPENED}, COALESCE(s.code, h.store_id::text), COALESCE(d.name, h.device_id::text),
             h.business_day - date '1970-01-01', h.business_day::text, h.opened_at_ms, COALESCE(o.name, ''), h.float_minor,
             COALESCE(h.currency, s.currency, '')::text, h.closed_at_ms, COALESCE(c.name, ''), h.counted_minor, h.expected_minor, h.cut
         FROM shifts AS h LEFT JOIN stores AS s ON s.store_id = h.store_id LEFT JOIN devices AS d ON d.device_id = h.device_id
         LEFT JOIN staff AS o ON o.store_id = h.store_id AND o.staff_id = h.opened_by
         LEFT JOIN staff AS c ON c.store_id = h.store_id AND c.staff_id = h.closed_by
         WHERE {} ORDER BY {OPENED} DESC, h.store_id DESC, h.shift_id DESC LIMIT {limit}",
        filter.all()
    );
    let mut found = tx.query(&sql, &filter.values()).await?;
    let more = found.len() as i64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| (row.get(2), row.get(0), row.get(1)));
    Ok((found, last))
}

/// What one life of a till has of a shift.
struct Part {
    shift: ShiftKey,
    life: (Uuid, Uuid),
    series: String,
    sum: ShiftSum,
    /// The place of its last entry in the chain.
    last_seq: i64,
    /// Whether that life has two histories.
    is_forked: bool,
}

/// What some shifts come to.
struct Summed {
    parts: Vec<Part>,
    late: BTreeMap<ShiftKey, Vec<Late>>,
}

impl Summed {
    async fn of(tx: &Transaction<'_>, keys: &[ShiftKey], days: &[i32]) -> Result<Self, ReportError> {
        let (stores, shifts): (Vec<Uuid>, Vec<Uuid>) = keys.iter().copied().unzip();
        // Orders are found by their days, which they have from their shifts.
        let rows = tx
            .query(
                "SELECT g.*, COALESCE(i.series, ''), COALESCE(e.seq, f.seq),
                     EXISTS (SELECT FROM forked_entries AS x WHERE x.device = g.device_id AND x.incarnation = g.incarnation)
                 FROM (
                     SELECT o.store_id, o.shift_id, o.device_id, o.incarnation,
                         count(*) FILTER (WHERE o.kind = 'sale') AS sales, count(*) FILTER (WHERE o.kind = 'refund') AS refunds,
                         COALESCE(sum(o.total_minor) FILTER (WHERE o.kind = 'sale'), 0)::bigint AS sales_minor,
                         COALESCE(sum(o.total_minor) FILTER (WHERE o.kind = 'refund'), 0)::bigint AS refunds_minor,
                         max(o.central_seq) AS last
                     FROM orders AS o JOIN unnest($1::uuid[], $2::uuid[]) AS w (store_id, shift_id) USING (store_id, shift_id)
                     WHERE o.business_day IS NULL OR o.business_day = ANY (SELECT date '1970-01-01' + d FROM unnest($3::int[]) AS d)
                     GROUP BY 1, 2, 3, 4) AS g
                 LEFT JOIN incarnations AS i ON i.device_id = g.device_id AND i.incarnation = g.incarnation
                 LEFT JOIN entries AS e ON e.central_seq = g.last LEFT JOIN forked_entries AS f ON f.central_seq = g.last",
                &[&stores, &shifts, &days],
            )
            .await?;
        let part = |row: &Row| Part {
            shift: (row.get(0), row.get(1)),
            life: (row.get(2), row.get(3)),
            sum: ShiftSum {
                sales: row.get(4),
                refunds: row.get(5),
                sales_minor: row.get(6),
                refunds_minor: row.get(7),
                ..ShiftSum::default()
            },
            series: row.get(9),
            last_seq: row.get::<_, Option<i64>>(10).unwrap_or_default(),
            is_forked: row.get(11),
        };
        Ok(Self { parts: rows.iter().map(part).collect(), late: BTreeMap::new() })
    }

    /// Takes out what the closings of the shifts do not cover.
    async fn hold_against(&mut self, tx: &Transaction<'_>, cuts: &BTreeMap<ShiftKey, Vec<SeenHead>>) -> Result<(), ReportError> {
        for part in &mut self.parts {
            let Some(cut) = cuts.get(&part.shift) else { continue };
            let is_of = |head: &&SeenHead| head.device.0 == part.life.0 && head.incarnation == part.life.1.into_bytes();
            let heads: Vec<&SeenHead> = cut.iter().filter(is_of).collect();
            if !part.is_forked && heads.iter().any(|head| part.last_seq.unsigned_abs() <= head.seq) {
                continue;
            }
            for late in late(tx, part, &heads).await? {
                part.sum -= ShiftSum { cash_minor: 0, ..late.sum };
                self.late.entry(part.shift).or_default().push(late);
            }
        }
        Ok(())
    }

    /// What the closing of a shift covers, or all of one that is open.
    fn covered(&self, shift: ShiftKey) -> ShiftSum {
        let mut sum = ShiftSum::default();
        self.parts.iter().filter(|part| part.shift == shift).for_each(|part| sum += part.sum);
        sum
    }

    fn addenda(&self, shift: ShiftKey) -> Vec<Addendum> {
        addenda(self.late.get(&shift).into_iter().flatten().copied())
    }

    fn series(&self, shift: ShiftKey, of: &Addendum) -> &str {
        let is_of = |part: &&Part| part.shift == shift && (part.life.0.into_bytes(), part.life.1.into_bytes()) == of.life;
        self.parts.iter().find(is_of).map_or("", |part| &part.series)
    }
}

/// What one life of a till has of a shift after the heads of a cut, or beside them.
async fn late(tx: &Transaction<'_>, part: &Part, heads: &[&SeenHead]) -> Result<Vec<Late>, ReportError> {
    let (store, shift) = part.shift;
    let (device, incarnation) = part.life;
    let rows = tx
        .query(
            "SELECT o.kind, o.total_minor, o.receipt_number, o.at_ms, COALESCE(e.seq, f.seq), COALESCE(e.hash, f.hash),
                 COALESCE((SELECT sum(p.amount_minor) FROM payments AS p
                     WHERE p.store_id = o.store_id AND p.order_id = o.order_id AND p.method = 'cash'), 0)::bigint
             FROM orders AS o LEFT JOIN entries AS e ON e.central_seq = o.central_seq
             LEFT JOIN forked_entries AS f ON f.central_seq = o.central_seq
             WHERE o.store_id = $1 AND o.shift_id = $2 AND o.device_id = $3 AND o.incarnation = $4
                 AND o.business_day IS NOT DISTINCT FROM (SELECT business_day FROM shifts WHERE store_id = $1 AND shift_id = $2)",
            &[&store, &shift, &device, &incarnation],
        )
        .await?;
    let first = rows.iter().filter_map(|row| row.get::<_, Option<i64>>(4)).min().unwrap_or_default();
    let covered = match heads {
        [] => Covered::default(),
        heads => Covered::of(tx, part, heads, first).await?,
    };
    let mut late = Vec::new();
    for row in &rows {
        let (Some(seq), Some(hash)) = (row.get::<_, Option<i64>>(4), row.get::<_, Option<Vec<u8>>>(5)) else { continue };
        if covered.has(seq, &hash) {
            continue;
        }
        let (total, cash_minor): (i64, i64) = (row.get(1), row.get(6));
        let sum = match row.get::<_, &str>(0) {
            "refund" => ShiftSum { refunds: 1, refunds_minor: total, cash_minor, ..ShiftSum::default() },
            _ => ShiftSum { sales: 1, sales_minor: total, cash_minor, ..ShiftSum::default() },
        };
        let receipt_number = row.get::<_, i64>(2).unsigned_abs();
        late.push(Late {
            life: (device.into_bytes(), incarnation.into_bytes()),
            at_ms: unsigned(row.get(3)),
            receipt_number,
            sum,
        });
    }
    Ok(late)
}

/// What of one life of a till a cut covers.
#[derive(Default)]
struct Covered {
    /// Everything up to here, because nothing else is at those places, or what tells is not here yet.
    upto: i64,
    /// Beyond that, what is before a head.
    hashes: BTreeSet<(i64, Hash)>,
}

impl Covered {
    async fn of(tx: &Transaction<'_>, part: &Part, heads: &[&SeenHead], first: i64) -> Result<Self, ReportError> {
        let place = |head: &SeenHead| i64::try_from(head.seq).unwrap_or(i64::MAX);
        let furthest = heads.iter().map(|head| place(head)).max().unwrap_or_default();
        if !part.is_forked {
            return Ok(Self { upto: furthest, ..Self::default() });
        }
        let scope = scopes::store(domain::ids::StoreId(part.shift.0));
        let rows = tx
            .query(
                "SELECT seq, hash, bytes FROM entries WHERE device = $1 AND incarnation = $2 AND scope = $3 AND seq BETWEEN $4 AND $5
                 UNION ALL SELECT seq, hash, bytes FROM forked_entries
                 WHERE device = $1 AND incarnation = $2 AND scope = $3 AND seq BETWEEN $4 AND $5",
                &[&part.life.0, &part.life.1, &scope.as_str(), &first, &furthest],
            )
            .await?;
        let mut at = BTreeMap::<i64, Vec<(Hash, Vec<u8>)>>::new();
        for row in &rows {
            if let Ok(hash) = Hash::try_from(row.get::<_, Vec<u8>>(1)) {
                at.entry(row.get(0)).or_default().push((hash, row.get(2)));
            }
        }
        let mut covered = Self::default();
        for head in heads {
            let (mut seq, mut hash) = (place(head), head.hash);
            while let Some((_, bytes)) = at.get(&seq).and_then(|all| all.iter().find(|(one, _)| *one == hash)) {
                covered.hashes.insert((seq, hash));
                seq -= 1;
                if seq < first {
                    break;
                }
                let Some((before, _)) = at.get(&seq).and_then(|all| all.iter().find(|(one, _)| link(one, bytes) == hash)) else {
                    break;
                };
                hash = *before;
            }
            if seq >= first {
                covered.upto = covered.upto.max(seq);
            }
        }
        Ok(covered)
    }

    fn has(&self, seq: i64, hash: &[u8]) -> bool {
        seq <= self.upto || Hash::try_from(hash).is_ok_and(|hash| self.hashes.contains(&(seq, hash)))
    }
}

fn shift_row(row: &Row, summed: &Summed) -> ShiftRow {
    let key: ShiftKey = (row.get(0), row.get(1));
    let (sum, addenda) = (summed.covered(key), summed.addenda(key));
    let currency: String = row.get(10);
    let addendum = |one: &Addendum| {
        let receipt = |number| receipt_number(summed.series(key, one), number);
        AddendumRow {
            number: one.number,
            first_receipt: receipt(one.receipts.0),
            last_receipt: receipt(one.receipts.1),
            sales: one.sum.sales,
            refunds: one.sum.refunds,
            sales_minor: one.sum.sales_minor,
            refunds_minor: -one.sum.refunds_minor,
            cash_minor: one.sum.cash_minor,
        }
    };
    let moved: i64 = addenda.iter().map(|one| one.sum.cash_minor).sum();
    let closing = row.get::<_, Option<i64>>(11).map(|at_ms| {
        let (counted_minor, expected_minor): (i64, i64) =
            (row.get::<_, Option<i64>>(13).unwrap_or_default(), row.get::<_, Option<i64>>(14).unwrap_or_default());
        let difference_minor = counted_minor - expected_minor;
        let by = row.get(12);
        let difference_with_addenda_minor = difference_minor - moved;
        ShiftClosingRow {
            at_ms: unsigned(at_ms),
            by,
            counted_minor,
            expected_minor,
            difference_minor,
            difference_with_addenda_minor,
        }
    });
    ShiftRow {
        store: row.get(3),
        shift: key.1.to_string(),
        till: row.get(4),
        business_day: row.get(6),
        opened_at_ms: row.get::<_, Option<i64>>(7).map(unsigned),
        opened_by: row.get(8),
        float_minor: row.get::<_, Option<i64>>(9).unwrap_or_default(),
        exponent: Currency::new(&currency).map_or(2, |c| c.exponent()),
        currency,
        sales: sum.sales,
        refunds: sum.refunds,
        sales_minor: sum.sales_minor,
        refunds_minor: -sum.refunds_minor,
        closing,
        addenda: addenda.iter().map(addendum).collect(),
    }
}
