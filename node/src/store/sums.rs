//! Sums over the log: stock, shifts, ledger.
//!
//! A sale touches every one of them, and each touched page costs about 10 µs of encryption, so they are not written with the sale. What
//! came after the last [`Sums::flush`] is held in memory and folded again from the log at start-up.

use std::collections::{BTreeMap, BTreeSet};

use domain::fold::{self, LineSums};
use domain::ids::{ProductId, ShiftId};
use domain::record::Record;
use domain::shift::ShiftSum;
use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;

/// What entries add to the sums, per subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    stock: BTreeMap<ProductId, StockSum>,
    shifts: BTreeMap<(ShiftId, i64), ShiftPart>,
    ledger: BTreeMap<i64, LedgerSum>,
    entries: u64,
    /// Products that were counted, until their levels are known.
    counted: BTreeSet<ProductId>,
}

/// Which sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Of everything, up to the last flush.
    Present,
    /// Of what has gone ([`super::retention`]).
    Floor,
}

impl Tables {
    fn prefix(self) -> &'static str {
        match self {
            Self::Present => "",
            Self::Floor => "floor_",
        }
    }
}

/// One product's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StockSum {
    /// In thousandths: the level, or what is added to it.
    pub quantity_milli: i64,
    /// Whether it is the level, whatever that was before.
    pub is_level: bool,
    /// How many lines sold it.
    pub sold: i64,
}

/// What one history has of a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShiftPart {
    /// The row of the history.
    pub origin: i64,
    /// What it comes to.
    pub sum: ShiftSum,
    /// The row of its first entry, in the order of arrival here.
    pub first: i64,
    /// The row of its last.
    pub last: i64,
}

/// One origin's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerSum {
    /// How many sales and refunds.
    pub orders: u64,
    /// The valued lines.
    pub lines: LineSums,
}

impl Sums {
    /// Adds what the record in row `entry` of an origin means. To the stock of the products in `covered` it adds nothing: a count has heard of it.
    pub fn fold(&mut self, origin: i64, entry: i64, record: &Record, covered: &BTreeSet<ProductId>) {
        for movement in fold::stock_movements(record) {
            let stock = self.stock.entry(movement.product).or_default();
            if !covered.contains(&movement.product) {
                stock.quantity_milli = stock.quantity_milli.saturating_add(movement.quantity.0);
            }
            stock.sold += i64::from(movement.reason == fold::MovementReason::Sale);
        }
        if let Some((shift, sum)) = ShiftSum::of(record) {
            self.add_to_shift(shift, ShiftPart { origin, sum, first: entry, last: entry });
        }
        let lines = LineSums::of(fold::valued_lines(record));
        let is_order = matches!(record, Record::SaleCompleted(_) | Record::RefundGiven(_));
        if lines.lines > 0 || is_order {
            let ledger = self.ledger.entry(origin).or_default();
            ledger.lines += lines;
            ledger.orders += u64::from(is_order);
        }
        self.entries += 1;
    }

    /// Notes that a product was counted: its level is to be said by [`super::counts::settle`].
    pub fn count_again(&mut self, product: ProductId) {
        self.counted.insert(product);
    }

    /// The products that were counted since this was last asked.
    pub fn take_counted_again(&mut self) -> BTreeSet<ProductId> {
        std::mem::take(&mut self.counted)
    }

    /// Says a product's level in thousandths, whatever came to it before.
    pub fn set_level(&mut self, product: ProductId, quantity_milli: i64) {
        let stock = self.stock.entry(product).or_default();
        (stock.quantity_milli, stock.is_level) = (quantity_milli, true);
    }

    /// Adds what others add.
    pub fn merge(&mut self, other: Self) {
        for (product, add) in other.stock {
            self.stock.entry(product).or_default().add(add);
        }
        for ((shift, _), part) in other.shifts {
            self.add_to_shift(shift, part);
        }
        for (origin, add) in other.ledger {
            let ledger = self.ledger.entry(origin).or_default();
            ledger.lines += add.lines;
            ledger.orders += add.orders;
        }
        self.entries += other.entries;
        self.counted.extend(other.counted);
    }

    fn add_to_shift(&mut self, shift: ShiftId, part: ShiftPart) {
        self.shifts.entry((shift, part.origin)).and_modify(|sum| sum.add(part)).or_insert(part);
    }

    /// How many records these sums hold beyond the tables.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes these sums into the tables, which then hold the log up to `upto`. The caller empties them once that is committed.
    ///
    /// # Errors
    /// A failure of SQLite, or a row that makes no sense.
    pub fn flush(&self, db: &Connection, upto: i64) -> Result<(), StoreError> {
        self.add_to(db, Tables::Present)?;
        set_upto(db, upto)
    }

    /// Adds these sums to those of one set of tables.
    ///
    /// # Errors
    /// A failure of SQLite, or a row that makes no sense.
    pub fn add_to(&self, db: &Connection, tables: Tables) -> Result<(), StoreError> {
        let prefix = tables.prefix();
        let mut stock = db.prepare_cached(&format!(
            "INSERT INTO {prefix}stock_level (product, quantity, sold) VALUES (?1, ?2, ?3) ON CONFLICT (product) DO UPDATE
             SET quantity = CASE WHEN ?4 THEN 0 ELSE quantity END + excluded.quantity, sold = sold + excluded.sold"
        ))?;
        for (product, sum) in &self.stock {
            stock.execute(params![product.as_bytes(), sum.quantity_milli, sum.sold, sum.is_level])?;
        }
        for ((shift, origin), add) in &self.shifts {
            let mut part = *add;
            if let Some(stored) = stored_parts(db, tables, *shift)?.into_iter().find(|stored| stored.origin == *origin) {
                part.add(stored);
            }
            let sum = part.sum;
            db.prepare_cached(&format!(
                "INSERT OR REPLACE INTO {prefix}shift_part
                     (shift, origin, sales, refunds, sales_minor, refunds_minor, cash_minor, first_entry, last_entry)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            ))?
            .execute(params![
                shift.as_bytes(),
                origin,
                sum.sales,
                sum.refunds,
                sum.sales_minor,
                sum.refunds_minor,
                sum.cash_minor,
                part.first,
                part.last
            ])?;
        }
        for (origin, add) in &self.ledger {
            let mut sum = stored_ledger(db, tables, *origin)?;
            sum.lines += add.lines;
            sum.orders += add.orders;
            db.prepare_cached(&format!(
                "INSERT OR REPLACE INTO {prefix}ledger (origin, orders, lines, rounded, exact) VALUES (?, ?, ?, ?, ?)"
            ))?
            .execute(params![
                origin,
                sum.orders,
                sum.lines.lines,
                sum.lines.rounded_minor.to_string(),
                sum.lines.exact.to_string()
            ])?;
        }
        Ok(())
    }

    /// The products whose stock they are of.
    pub fn products(&self) -> impl Iterator<Item = ProductId> + '_ {
        self.stock.keys().copied()
    }

    /// What came to a product's stock after the last flush.
    pub fn stock_since(&self, product: ProductId) -> StockSum {
        self.stock.get(&product).copied().unwrap_or_default()
    }

    /// What each history has of a shift.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn shift_parts(&self, db: &Connection, shift: ShiftId) -> Result<Vec<ShiftPart>, StoreError> {
        let mut parts: BTreeMap<i64, ShiftPart> =
            stored_parts(db, Tables::Present, shift)?.into_iter().map(|part| (part.origin, part)).collect();
        for (_, since) in self.shifts.range((shift, i64::MIN)..=(shift, i64::MAX)) {
            parts.entry(since.origin).and_modify(|part| part.add(*since)).or_insert(*since);
        }
        Ok(parts.into_values().collect())
    }

    /// What a shift comes to.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn shift(&self, db: &Connection, shift: ShiftId) -> Result<ShiftSum, StoreError> {
        let mut sum = ShiftSum::default();
        self.shift_parts(db, shift)?.iter().for_each(|part| sum += part.sum);
        Ok(sum)
    }

    /// An origin's figures.
    ///
    /// # Errors
    /// A failure of SQLite, or a row that makes no sense.
    pub fn ledger(&self, db: &Connection, origin: i64) -> Result<LedgerSum, StoreError> {
        let mut sum = stored_ledger(db, Tables::Present, origin)?;
        if let Some(since) = self.ledger.get(&origin) {
            sum.lines += since.lines;
            sum.orders += since.orders;
        }
        Ok(sum)
    }
}

impl StockSum {
    /// Adds what came after.
    pub fn add(&mut self, other: Self) {
        let before = if other.is_level { 0 } else { self.quantity_milli };
        self.quantity_milli = before.saturating_add(other.quantity_milli);
        self.is_level |= other.is_level;
        self.sold += other.sold;
    }
}

impl ShiftPart {
    /// Adds what else the history has of the shift.
    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }
}

/// The last entry that the tables hold.
///
/// # Errors
/// A failure of SQLite.
pub fn upto(db: &Connection) -> Result<i64, StoreError> {
    let found = db.prepare_cached("SELECT value FROM meta WHERE key = 'sums_entry'")?.query_row([], |r| r.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

fn set_upto(db: &Connection, upto: i64) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('sums_entry', ?)")?.execute([upto])?;
    Ok(())
}

fn stored_parts(db: &Connection, tables: Tables, shift: ShiftId) -> Result<Vec<ShiftPart>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT origin, sales, refunds, sales_minor, refunds_minor, cash_minor, first_entry, last_entry FROM {}shift_part
         WHERE shift = ?",
        tables.prefix()
    ))?;
    let rows = select.query_map([shift.as_bytes()], |r| {
        let (sales, refunds) = (r.get(1)?, r.get(2)?);
        let sum = ShiftSum { sales, refunds, sales_minor: r.get(3)?, refunds_minor: r.get(4)?, cash_minor: r.get(5)? };
        Ok(ShiftPart { origin: r.get(0)?, sum, first: r.get(6)?, last: r.get(7)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn stored_ledger(db: &Connection, tables: Tables, origin: i64) -> Result<LedgerSum, StoreError> {
    let found: Option<(u64, u64, String, String)> = db
        .prepare_cached(&format!("SELECT orders, lines, rounded, exact FROM {}ledger WHERE origin = ?", tables.prefix()))?
        .query_row([origin], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))
        .optional()?;
    let Some((orders, lines, rounded, exact)) = found else { return Ok(LedgerSum::default()) };
    let number = |text: String| text.parse().map_err(|_| StoreError::Damaged("a ledger sum"));
    Ok(LedgerSum { orders, lines: LineSums { lines, rounded_minor: number(rounded)?, exact: number(exact)? } })
}
