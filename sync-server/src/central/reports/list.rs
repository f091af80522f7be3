//! The sales and refunds behind a figure, newest first.

use domain::money::{Currency, parse_scaled};
use domain::receipt::receipt_number;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::csv::{Csv, exponent};
use super::sales::NOBODY;
use super::{
    ANSWER_WAIT, CentralError, Filter, Period, Postgres, ReportError, Within, answer, anywhere, ask, bad_after, bounded, id,
    in_time, limit, snapshot, unsigned,
};
use crate::central::coverage;
use crate::web_api::{OrderKind, SaleRow, SalesPage};

/// Which sales of a period are asked for: the keys of a report's rows.
#[derive(Debug, Clone, Default)]
pub struct Chosen<'a> {
    /// The hour of the day, 0 to 23.
    pub hour: Option<i64>,
    /// A device's id.
    pub till: Option<&'a str>,
    /// The id of a member of staff, or [`NOBODY`].
    pub cashier: Option<&'a str>,
    /// A product's id.
    pub product: Option<&'a str>,
    /// A category; empty for products of none.
    pub category: Option<&'a str>,
    /// A way of paying.
    pub tender: Option<&'a str>,
    /// A tax rate in basis points.
    pub tax_rate_bp: Option<i64>,
    /// Sales or refunds only.
    pub kind: Option<OrderKind>,
    /// A currency.
    pub currency: Option<&'a str>,
    /// A receipt number, a part of its series, or an amount.
    pub search: Option<&'a str>,
}

/// A checked question for a list.
#[derive(Debug, Clone)]
pub struct ListQuestion {
    period: Period,
    hour: Option<i64>,
    till: Option<Uuid>,
    cashier: Option<Option<Uuid>>,
    product: Option<Uuid>,
    category: Option<String>,
    tender: Option<String>,
    tax_rate_bp: Option<i64>,
    kind: Option<OrderKind>,
    currency: Option<String>,
    search: Option<String>,
    after: Option<Place>,
    limit: i64,
}

/// The place of a row in the list.
type Place = (i64, Uuid, Uuid);

impl ListQuestion {
    /// Asks for a page of a period.
    ///
    /// # Errors
    /// Something that no row can be.
    pub fn new(period: Period, chosen: &Chosen<'_>, after: Option<&str>, asked: Option<i64>) -> Result<Self, ReportError> {
        if chosen.hour.is_some_and(|hour| !(0..24).contains(&hour)) {
            return Err(ask("Let `hour` be 0 to 23."));
        }
        if chosen.tax_rate_bp.is_some_and(|bp| !(0..=1_000_000).contains(&bp)) {
            return Err(ask("Write `tax_rate_bp` in basis points, such as 2000 for 20 %."));
        }
        if chosen.currency.is_some_and(|code| Currency::new(code).is_none()) {
            return Err(ask("Write `currency` as three capital letters such as EUR."));
        }
        let cashier = match chosen.cashier {
            Some(NOBODY) => Some(None),
            cashier => id("cashier", cashier)?.map(Some),
        };
        Ok(Self {
            period,
            hour: chosen.hour,
            till: id("till", chosen.till)?,
            cashier,
            product: id("product", chosen.product)?,
            category: bounded("category", chosen.category)?,
            tender: bounded("tender", chosen.tender)?,
            tax_rate_bp: chosen.tax_rate_bp,
            kind: chosen.kind,
            currency: chosen.currency.map(str::to_owned),
            search: bounded("search", chosen.search)?.map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()),
            after: after.map(|after| place(after).ok_or_else(bad_after)).transpose()?,
            limit: limit(asked)?,
        })
    }

    /// The code of the only store that is asked for.
    pub(super) fn store(&self) -> Option<&str> {
        self.period.store.as_deref()
    }

    /// The page after a place.
    pub(super) fn page_after(&self, after: Option<Place>, limit: i64) -> Self {
        Self { after, limit, ..self.clone() }
    }
}

/// A page of the list.
///
/// # Errors
/// A store that is not there, or a database that does not answer.
pub async fn sales_page(central: &Postgres, question: &ListQuestion, now_ms: u64) -> Result<SalesPage, ReportError> {
    answer!(central, "list sales", |tx| async {
        let (rows, next, within) = page(&tx, question).await?;
        let coverage = coverage::of(&tx, within.store, now_ms).await?;
        Ok(SalesPage { rows, next: next.map(written), time_zone: within.zone.name().to_owned(), coverage })
    })
}

/// The rows of a page, and the place of the last one when there are more.
pub(super) async fn page(
    tx: &Transaction<'_>,
    question: &ListQuestion,
) -> Result<(Vec<SaleRow>, Option<Place>, Within), ReportError> {
    let within = Within::new(tx, &question.period).await?;
    let mut filter = Filter::default();
    within.filter(&mut filter);
    choose(tx, question, &within, &mut filter).await?;
    if let Some((at_ms, store, order)) = question.after {
        let (at, store, order) = (filter.takes(at_ms), filter.takes(store), filter.takes(order));
        filter.wants(format!("(o.at_ms, o.store_id, o.order_id) < ({at}::bigint, {store}::uuid, {order}::uuid)"));
    }
    let limit = filter.takes(question.limit + 1);
    let sql = format!("{SALE_ROW} WHERE {} ORDER BY o.at_ms DESC, o.store_id DESC, o.order_id DESC LIMIT {limit}", filter.all());
    let mut found = tx.query(&sql, &filter.values()).await?;
    let more = found.len() as i64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| (row.get("at_ms"), row.get("store_id"), row.get("order_id")));
    Ok((found.iter().map(sale_row).collect(), last, within))
}

async fn choose(tx: &Transaction<'_>, q: &ListQuestion, within: &Within, filter: &mut Filter) -> Result<(), CentralError> {
    if let Some(hour) = q.hour {
        let of = within.hour(filter);
        let hour = filter.takes(hour);
        filter.wants(format!("{of} = {hour}::bigint"));
    }
    if let Some(till) = q.till {
        let till = filter.takes(till);
        filter.wants(format!("o.device_id = {till}::uuid"));
    }
    match q.cashier {
        None => {}
        Some(None) => filter.wants("o.staff_id IS NULL"),
        Some(Some(staff)) => {
            let staff = filter.takes(staff);
            filter.wants(format!("o.staff_id = {staff}::uuid"));
        }
    }
    if let Some(product) = q.product {
        let product = filter.takes(product);
        filter.wants(format!("array_append(o.line_products, o.store_id) @> ARRAY[{product}::uuid]"));
        // The index knows the store's id beside the products.
        filter.wants(format!("{product}::uuid = ANY(o.line_products)"));
    }
    if let Some(category) = &q.category {
        let category = filter.takes(category.clone());
        let of = "COALESCE((SELECT p.category FROM products AS p WHERE p.product_id = x.product_id), '')";
        filter.wants(format!("EXISTS (SELECT FROM unnest(o.line_products) AS x (product_id) WHERE {of} = {category}::text)"));
    }
    if let Some(tender) = &q.tender {
        let tender = filter.takes(tender.clone());
        filter.wants(format!("{tender}::text = ANY(o.payment_methods)"));
    }
    if let Some(rate) = q.tax_rate_bp {
        let rate = filter.takes(rate);
        filter.wants(format!("{rate}::bigint = ANY(o.tax_rates_bp)"));
    }
    match q.kind {
        None => {}
        Some(OrderKind::Sale) => filter.wants("o.kind = 'sale'"),
        Some(OrderKind::Refund) => filter.wants("o.kind = 'refund'"),
    }
    if let Some(currency) = &q.currency {
        let currency = filter.takes(currency.clone());
        filter.wants(format!("o.currency = {currency}::text"));
    }
    if let Some(search) = &q.search {
        let found = search_for(tx, search, filter).await?;
        filter.wants(found);
    }
    Ok(())
}

/// What a search finds: a whole receipt number, its number alone, a part of its series, or an amount in any currency of the stores.
async fn search_for(tx: &Transaction<'_>, search: &str, filter: &mut Filter) -> Result<String, CentralError> {
    let mut ways = Vec::new();
    let (series, number) = match search.rsplit_once('-') {
        Some((series, number)) => (Some(series), number),
        None => (None, search),
    };
    if let (true, Ok(number)) = (number.bytes().all(|b| b.is_ascii_digit()), number.parse::<i64>()) {
        let number = filter.takes(number);
        let series = match series.filter(|series| !series.is_empty()) {
            None => String::new(),
            Some(series) => {
                let series = filter.takes(series.to_owned());
                format!(" AND lower(i.series) = lower({series}::text)")
            }
        };
        ways.push(format!("(o.receipt_number = {number}::bigint{series})"));
    } else if search.chars().any(char::is_alphabetic) {
        let series = filter.takes(anywhere(search));
        ways.push(format!("i.series ILIKE {series}::text"));
    }
    let currencies = tx.query("SELECT DISTINCT currency::text FROM stores", &[]).await?;
    for currency in currencies.iter().filter_map(|row| Currency::new(row.get(0))) {
        let amount = search.trim_start_matches('-').replace(',', ".");
        if let Ok(minor) = parse_scaled(&amount, currency.exponent()) {
            let (currency, minor) = (filter.takes(currency.code().to_owned()), filter.takes(minor));
            ways.push(format!("(o.currency = {currency}::text AND abs(o.total_minor) = {minor}::bigint)"));
        }
    }
    Ok(if ways.is_empty() { "false".to_owned() } else { format!("({})", ways.join(" OR ")) })
}

/// The columns of a [`SaleRow`].
pub(super) const SALE_ROW: &str =
    "SELECT o.store_id, COALESCE(s.code, o.store_id::text) AS code, o.order_id, o.kind, COALESCE(i.series, '') AS series,
        o.receipt_number, o.at_ms, to_char(o.business_day, 'YYYY-MM-DD') AS day, o.device_id,
        COALESCE(d.name, o.device_id::text) AS till, COALESCE(m.name, '') AS cashier,
        cardinality(o.line_products)::bigint AS lines, ARRAY(SELECT DISTINCT unnest(o.payment_methods) ORDER BY 1) AS tenders,
        o.currency::text AS currency, o.total_minor,
        EXISTS (SELECT FROM exceptions AS e WHERE e.store_id = o.store_id AND e.order_id = o.order_id) AS flagged
    FROM orders AS o
    LEFT JOIN stores AS s ON s.store_id = o.store_id
    LEFT JOIN incarnations AS i ON i.device_id = o.device_id AND i.incarnation = o.incarnation
    LEFT JOIN devices AS d ON d.device_id = o.device_id
    LEFT JOIN staff AS m ON m.store_id = o.store_id AND m.staff_id = o.staff_id";

pub(super) fn sale_row(row: &Row) -> SaleRow {
    let currency: String = row.get("currency");
    SaleRow {
        store: row.get("code"),
        order: row.get::<_, Uuid>("order_id").to_string(),
        kind: if row.get::<_, &str>("kind") == "refund" { OrderKind::Refund } else { OrderKind::Sale },
        number: number(row.get("series"), row.get("receipt_number")),
        at_ms: unsigned(row.get("at_ms")),
        business_day: row.get("day"),
        device: row.get::<_, Uuid>("device_id").to_string(),
        till: row.get("till"),
        cashier: row.get("cashier"),
        lines: row.get("lines"),
        tenders: row.get("tenders"),
        exponent: exponent(&currency),
        currency,
        total_minor: row.get("total_minor"),
        flagged: row.get("flagged"),
    }
}

/// A receipt number as it is printed; without its series until the till's start has arrived.
pub(super) fn number(series: &str, number: i64) -> String {
    let number = unsigned(number);
    if series.is_empty() { format!("{number:06}") } else { receipt_number(series, number) }
}

fn written((at_ms, store, order): Place) -> String {
    format!("{at_ms}.{}.{}", store.simple(), order.simple())
}

fn place(text: &str) -> Option<Place> {
    let mut parts = text.splitn(3, '.');
    let (at, store, order) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    Some((at, Uuid::try_parse(store).ok()?, Uuid::try_parse(order).ok()?))
}

pub(super) const HEADER: &[&str] = &[
    "store",
    "number",
    "kind",
    "time_utc",
    "business_day",
    "till",
    "till_id",
    "cashier",
    "lines",
    "tenders",
    "currency",
    "total",
    "flagged",
    "order_id",
];

pub(super) fn write(row: &SaleRow, csv: &mut Csv) {
    csv.text(&row.store).text(&row.number).plain(if row.kind == OrderKind::Sale { "sale" } else { "refund" });
    csv.moment(row.at_ms).plain(row.business_day.as_deref().unwrap_or_default()).text(&row.till).plain(&row.device);
    csv.text(&row.cashier).number(row.lines).text(&row.tenders.join(" ")).plain(&row.currency);
    csv.amount(row.total_minor, row.exponent).plain(if row.flagged { "yes" } else { "no" }).plain(&row.order).end_row();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let there = (1_772_442_000_000, Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        assert_eq!(place(&written(there)), Some(there));
        for none in ["", "1", "1.2.3", "x.01010101010101010101010101010101.02020202020202020202020202020202"] {
            assert_eq!(place(none), None, "{none}");
        }
    }
}
