//! What is on the shelves, and why.

use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::csv::Csv;
use super::list::number;
use super::{
    ANSWER_WAIT, Filter, Postgres, ReportError, answer, anywhere, bad_after, bounded, in_time, limit, named_store, snapshot,
    store_by_code, unsigned,
};
use crate::central::coverage;
use crate::web_api::{MovementsPage, StockMovement, StockPage, StockRow};

/// A checked question for levels.
#[derive(Debug, Clone)]
pub struct StockQuestion {
    store: Option<String>,
    search: Option<String>,
    category: Option<String>,
    below_milli: Option<i64>,
    after: Option<LevelPlace>,
    limit: i64,
}

/// The product and store of a row of levels.
type LevelPlace = (Uuid, Uuid);

impl StockQuestion {
    /// Asks for a page of levels; `search` finds parts of names, and codes and barcodes.
    ///
    /// # Errors
    /// Something that no row can be.
    pub fn new(
        store: Option<&str>,
        search: Option<&str>,
        category: Option<&str>,
        below_milli: Option<i64>,
        after: Option<&str>,
        asked: Option<i64>,
    ) -> Result<Self, ReportError> {
        let place = |after: &str| {
            let (product, store) = after.split_once('.')?;
            Some((Uuid::try_parse(product).ok()?, Uuid::try_parse(store).ok()?))
        };
        Ok(Self {
            store: bounded("store", store)?,
            search: bounded("search", search)?.map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()),
            category: bounded("category", category)?,
            below_milli,
            after: after.map(|after| place(after).ok_or_else(bad_after)).transpose()?,
            limit: limit(asked)?,
        })
    }

    /// The code of the only store that is asked for.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// The page after a place.
    pub(super) fn page_after(&self, after: Option<LevelPlace>, limit: i64) -> Self {
        Self { after, limit, ..self.clone() }
    }
}

/// A page of levels.
///
/// # Errors
/// A store that is not there, or a database that does not answer.
pub async fn levels(central: &Postgres, question: &StockQuestion, now_ms: u64) -> Result<StockPage, ReportError> {
    answer!(central, "list stock", |tx| async {
        let (rows, next) = levels_page(&tx, question).await?;
        let next = next.map(|(product, store)| format!("{}.{}", product.simple(), store.simple()));
        let store = named_store(&tx, question.store.as_deref()).await?;
        Ok(StockPage { rows, next, coverage: coverage::of(&tx, store, now_ms).await? })
    })
}

/// The columns of a [`StockRow`].
const STOCK_ROW: &str = "SELECT l.product_id, l.store_id, COALESCE(s.code, l.store_id::text), COALESCE(p.code, ''), COALESCE(p.name, l.product_id::text),
        COALESCE(p.category, ''), l.quantity_milli, l.moved_at_ms
    FROM stock_levels AS l
    LEFT JOIN products AS p ON p.product_id = l.product_id
    LEFT JOIN stores AS s ON s.store_id = l.store_id";

/// What levels are ordered by.
const BY_NAME: &str = "COALESCE(p.name, l.product_id::text), l.product_id, COALESCE(s.code, l.store_id::text), l.store_id";

fn stock_row(row: &Row) -> StockRow {
    StockRow {
        product: row.get::<_, Uuid>(0).to_string(),
        store: row.get(2),
        code: row.get(3),
        name: row.get(4),
        category: row.get(5),
        quantity_milli: row.get(6),
        moved_at_ms: row.get::<_, Option<i64>>(7).map(unsigned),
    }
}

/// The rows of a page, and the place of the last one when there are more.
pub(super) async fn levels_page(
    tx: &Transaction<'_>,
    question: &StockQuestion,
) -> Result<(Vec<StockRow>, Option<LevelPlace>), ReportError> {
    let mut filter = Filter::default();
    if let Some(store) = &question.store {
        let store = filter.takes(store_by_code(tx, store).await?);
        filter.wants(format!("l.store_id = {store}::uuid"));
    }
    if let Some(search) = &question.search {
        let (part, whole) = (filter.takes(anywhere(search)), filter.takes(search.clone()));
        filter.wants(format!("(p.name ILIKE {part}::text OR p.code ILIKE {part} OR {whole}::text = ANY(p.barcodes))"));
    }
    if let Some(category) = &question.category {
        let category = filter.takes(category.clone());
        filter.wants(format!("COALESCE(p.category, '') = {category}::text"));
    }
    if let Some(below) = question.below_milli {
        let below = filter.takes(below);
        filter.wants(format!("l.quantity_milli < {below}::bigint"));
    }
    if let Some((product, store)) = question.after {
        let (product, store) = (filter.takes(product), filter.takes(store));
        filter.wants(format!(
            "({BY_NAME}) > (COALESCE((SELECT name FROM products WHERE product_id = {product}::uuid), {product}::uuid::text), {product}::uuid,
                 COALESCE((SELECT code FROM stores WHERE store_id = {store}::uuid), {store}::uuid::text), {store}::uuid)"
        ));
    }
    let limit = filter.takes(question.limit + 1);
    let sql = format!("{STOCK_ROW} WHERE {} ORDER BY {BY_NAME} LIMIT {limit}", filter.all());
    let mut found = tx.query(&sql, &filter.values()).await?;
    let more = found.len() as i64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| (row.get(0), row.get(1)));
    Ok((found.iter().map(stock_row).collect(), last))
}

/// A checked question for movements.
#[derive(Debug, Clone)]
pub struct MovementsQuestion {
    store: String,
    product: Uuid,
    after: Option<MovementPlace>,
    limit: i64,
}

/// The place of a movement: when, in which record, in which line.
type MovementPlace = (i64, Uuid, i32);

impl MovementsQuestion {
    /// Asks for a page of the movements of a product at a store.
    ///
    /// # Errors
    /// Something that no movement can be of.
    pub fn new(store: &str, product: &str, after: Option<&str>, asked: Option<i64>) -> Result<Self, ReportError> {
        let place = |after: &str| {
            let mut parts = after.splitn(3, '.');
            let (at, record, line) = (parts.next()?, parts.next()?, parts.next()?);
            Some((at.parse().ok()?, Uuid::try_parse(record).ok()?, line.parse().ok()?))
        };
        Ok(Self {
            store: store.to_owned(),
            product: Uuid::try_parse(product).map_err(|_| no_stock())?,
            after: after.map(|after| place(after).ok_or_else(bad_after)).transpose()?,
            limit: limit(asked)?,
        })
    }

    /// The code of the store.
    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// The page after a place.
    pub(super) fn page_after(&self, after: Option<MovementPlace>, limit: i64) -> Self {
        Self { after, limit, ..self.clone() }
    }
}

fn no_stock() -> ReportError {
    ReportError::NotFound("No stock of this product has ever moved at this store.".into())
}

/// A page of movements.
///
/// # Errors
/// A product that never moved there, or a database that does not answer.
pub async fn movements(central: &Postgres, question: &MovementsQuestion, now_ms: u64) -> Result<MovementsPage, ReportError> {
    answer!(central, "list stock movements", |tx| async {
        let (row, movements, next) = movements_page(&tx, question).await?;
        let next = next.map(|(at, record, line)| format!("{at}.{}.{line}", record.simple()));
        let store = named_store(&tx, Some(&question.store)).await?;
        Ok(MovementsPage { row, movements, next, coverage: coverage::of(&tx, store, now_ms).await? })
    })
}

/// The product's row, the movements of a page, and the place of the last one when there are more.
pub(super) async fn movements_page(
    tx: &Transaction<'_>,
    question: &MovementsQuestion,
) -> Result<(StockRow, Vec<StockMovement>, Option<MovementPlace>), ReportError> {
    let store = store_by_code(tx, &question.store).await.map_err(|_| no_stock())?;
    let sql = format!("{STOCK_ROW} WHERE l.store_id = $1 AND l.product_id = $2");
    let row = tx.query_opt(&sql, &[&store, &question.product]).await?.as_ref().map(stock_row).ok_or_else(no_stock)?;
    // What the count that stands found is where levels begin: what came before it says why it was counted, and adds up by itself.
    let begins: Option<MovementPlace> = tx
        .query_opt(
            "SELECT m.at_ms, m.record_id, m.line FROM stock_counts AS c
             JOIN stock_adjustments AS m USING (store_id, record_id, product_id)
             WHERE c.store_id = $1 AND c.product_id = $2 AND c.stands",
            &[&store, &question.product],
        )
        .await?
        .map(|row| (row.get(0), row.get(1), row.get(2)));
    let (at, record, line) = question.after.map_or((None, None, None), |(at, record, line)| (Some(at), Some(record), Some(line)));
    // The level is the sum of all movements; what is newer than this page is taken off it.
    let sums = tx
        .query_one(
            "SELECT COALESCE(sum(quantity_milli) FILTER (WHERE (at_ms, record_id, line) >= ($3::bigint, $4::uuid, $5::int)), 0)::bigint,
                 COALESCE(sum(quantity_milli), 0)::bigint
             FROM stock_movements_of($1, $2)",
            &[&store, &question.product, &at, &record, &line],
        )
        .await?;
    let (newer, all): (i64, i64) = (sums.get(0), sums.get(1));
    let mut found = tx
        .query(
            "SELECT m.at_ms, m.record_id, m.line, m.reason, m.quantity_milli, o.order_id, o.receipt_number, i.series,
                 COALESCE(d.name, ''), COALESCE(w.name, ''), COALESCE(m.note, ''), m.counted_milli
             FROM stock_movements_of($1, $2) AS m
             LEFT JOIN orders AS o ON o.store_id = m.store_id AND o.order_id = m.record_id AND m.reason IN ('sale', 'refund')
             LEFT JOIN incarnations AS i ON i.device_id = o.device_id AND i.incarnation = o.incarnation
             LEFT JOIN devices AS d ON d.device_id = COALESCE(m.device_id, o.device_id)
             LEFT JOIN staff AS w ON w.store_id = m.store_id AND w.staff_id = COALESCE(m.staff_id, o.staff_id)
             WHERE $3::bigint IS NULL OR (m.at_ms, m.record_id, m.line) < ($3::bigint, $4::uuid, $5::int)
             ORDER BY m.at_ms DESC, m.record_id DESC, m.line DESC LIMIT $6",
            &[&store, &question.product, &at, &record, &line, &(question.limit + 1)],
        )
        .await?;
    let more = found.len() as i64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| (row.get(0), row.get(1), row.get(2)));
    let (mut level_milli, mut sum_milli) = (row.quantity_milli - newer, all - newer);
    let movement = |found: &Row| {
        let is_before = begins.is_some_and(|begins| (found.get(0), found.get(1), found.get(2)) < begins);
        let movement = StockMovement {
            at_ms: unsigned(found.get(0)),
            reason: found.get(3),
            quantity_milli: found.get(4),
            counted_milli: found.get(11),
            level_milli: if is_before { sum_milli } else { level_milli },
            order: found.get::<_, Option<Uuid>>(5).map(|id| id.to_string()),
            number: found.get::<_, Option<i64>>(6).map(|n| number(found.get::<_, Option<&str>>(7).unwrap_or(""), n)),
            till: found.get(8),
            cashier: found.get(9),
            note: found.get(10),
        };
        level_milli -= movement.quantity_milli;
        sum_milli -= movement.quantity_milli;
        movement
    };
    Ok((row, found.iter().map(movement).collect(), last))
}

pub(super) const LEVELS_HEADER: &[&str] = &["store", "code", "name", "category", "quantity", "last_moved_utc", "product_id"];

pub(super) fn write_level(row: &StockRow, csv: &mut Csv) {
    csv.text(&row.store).text(&row.code).text(&row.name).text(&row.category).quantity(row.quantity_milli);
    csv.moment(row.moved_at_ms).plain(&row.product).end_row();
}

pub(super) const MOVEMENTS_HEADER: &[&str] =
    &["time_utc", "reason", "quantity", "level", "number", "till", "cashier", "note", "order_id", "counted"];

pub(super) fn write_movement(m: &StockMovement, csv: &mut Csv) {
    csv.moment(m.at_ms).plain(&m.reason).quantity(m.quantity_milli).quantity(m.level_milli);
    csv.text(m.number.as_deref().unwrap_or_default()).text(&m.till).text(&m.cashier).text(&m.note);
    csv.plain(m.order.as_deref().unwrap_or_default()).quantity(m.counted_milli).end_row();
}
