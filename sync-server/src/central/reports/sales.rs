//! Sales and refunds of some days, cut in one of eight ways.
//!
//! Every cut reads the amounts of the records: the order's total and tax, its lines, its payments, its tax lines. Nothing is computed
//! again, so the rows of every cut come to the same total.

use std::collections::BTreeMap;

use domain::money::Currency;
use domain::receipt::format_rate;
use domain::record::BusinessDay;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{ANSWER_WAIT, CentralError, Filter, Period, Postgres, ReportError, Within, answer, ask, in_time, snapshot};
use crate::central::coverage;
use crate::web_api::{Basis, GroupBy, SalesReport, SalesRow};

/// Most rows of a report. A cut by day, hour or till has every one of them: days are bounded by the question, tills by what is enrolled.
pub const ROWS_MAX: i64 = 2_000;
/// Most rows of a report as a file.
pub const FILE_ROWS_MAX: i64 = 200_000;
/// The key of sales that nobody is named in.
pub const NOBODY: &str = "none";

/// Which sales are asked for, and how they are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalesQuestion {
    period: Period,
    group_by: GroupBy,
    currency: Option<Currency>,
    rows_max: i64,
}

impl SalesQuestion {
    /// Asks for a period. The currency is needed only when stores count in several.
    ///
    /// # Errors
    /// A currency that is none.
    pub fn new(period: Period, group_by: GroupBy, currency: Option<&str>) -> Result<Self, ReportError> {
        let read = |code| Currency::new(code).ok_or_else(|| ask("Write `currency` as three capital letters such as EUR."));
        Ok(Self { period, group_by, currency: currency.map(read).transpose()?, rows_max: ROWS_MAX })
    }

    /// The same with every row that a file may have.
    #[must_use]
    pub fn for_a_file(self) -> Self {
        Self { rows_max: FILE_ROWS_MAX, ..self }
    }

    /// How many rows the answer may have; none when it has every one, those without business too.
    fn rows_max(&self) -> Option<i64> {
        match self.group_by {
            GroupBy::Day | GroupBy::Hour | GroupBy::Till => None,
            GroupBy::Cashier | GroupBy::Product | GroupBy::Category | GroupBy::Tender | GroupBy::TaxRate => Some(self.rows_max),
        }
    }
}

/// Answers a question.
///
/// # Errors
/// A store that is not there, several currencies and none named, or a database that does not answer.
pub async fn sales(central: &Postgres, question: &SalesQuestion, now_ms: u64) -> Result<SalesReport, ReportError> {
    answer!(central, "answer a report", |tx| report(&tx, question, now_ms))
}

async fn report(tx: &Transaction<'_>, question: &SalesQuestion, now_ms: u64) -> Result<SalesReport, ReportError> {
    let within = Within::new(tx, &question.period).await?;
    let currency = currency(tx, question, &within).await?;
    let cut = Cut { tx, within: &within, currency: &currency, question };
    let (mut found, mut total) = cut.sums().await?;
    // The largest come first: what is left out is the smallest.
    let rows_max = question.rows_max().map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let truncated = found.len() > rows_max;
    found.truncate(rows_max);
    let rows = match question.group_by {
        GroupBy::Day => cut.days(found),
        GroupBy::Hour => hours(found),
        GroupBy::Till => cut.tills(found).await?,
        GroupBy::Cashier => cut.cashiers(found).await?,
        GroupBy::Product => cut.products(found).await?,
        GroupBy::Category => categories(found),
        GroupBy::Tender => tenders(found),
        GroupBy::TaxRate => tax_rates(found),
    };
    total.key = "total".into();
    total.label = "Total".into();
    let day = |d: BusinessDay| d.to_date().map(|d| d.to_string()).unwrap_or_default();
    Ok(SalesReport {
        from: day(question.period.from),
        to: day(question.period.to),
        basis: question.period.basis,
        time_zone: within.zone.name().to_owned(),
        group_by: question.group_by,
        store: question.period.store.clone(),
        exponent: Currency::new(&currency).map_or(2, |c| c.exponent()),
        currency,
        rows,
        truncated,
        total,
        coverage: coverage::of(tx, within.store, now_ms).await?,
    })
}

/// The currency of an answer: the one asked for, or the only one that stores or their orders have.
async fn currency(tx: &Transaction<'_>, question: &SalesQuestion, within: &Within) -> Result<String, ReportError> {
    if let Some(currency) = question.currency {
        return Ok(currency.code().to_owned());
    }
    let mut filter = Filter::default();
    within.filter(&mut filter);
    let store = filter.takes(within.store);
    let sql = format!(
        "SELECT currency::text FROM stores WHERE {store}::uuid IS NULL OR store_id = {store}
         UNION SELECT DISTINCT o.currency::text FROM orders AS o WHERE {} ORDER BY 1",
        filter.all()
    );
    let found: Vec<String> = tx.query(&sql, &filter.values()).await?.iter().map(|row| row.get(0)).collect();
    match found.as_slice() {
        [] => Ok("XXX".to_owned()),
        [one] => Ok(one.clone()),
        several => {
            Err(ask(format!("The stores count in {}; add one of them, such as currency={}.", several.join(", "), several[0])))
        }
    }
}

/// Where a cut takes its amounts from: SQL over `o`, the orders that are asked for, and `x`, the rows in them.
struct Parts {
    key: String,
    /// The rows in an order, and what to join to them.
    beside: Option<(&'static str, &'static str)>,
    amount: &'static str,
    quantity: Option<&'static str>,
    tax: Option<&'static str>,
}

struct Cut<'a> {
    tx: &'a Transaction<'a>,
    within: &'a Within,
    currency: &'a str,
    question: &'a SalesQuestion,
}

impl Cut<'_> {
    fn parts(&self, filter: &mut Filter) -> Parts {
        let of_order =
            |key: String| Parts { key, beside: None, amount: "o.total_minor", quantity: None, tax: Some("o.tax_minor") };
        let of_line = |key: &str, join| Parts {
            key: key.to_owned(),
            beside: Some((
                "unnest(o.line_products, o.line_amounts_minor, o.line_quantities_milli) AS x (product_id, amount_minor, quantity_milli)",
                join,
            )),
            amount: "x.amount_minor",
            quantity: Some("x.quantity_milli"),
            tax: None,
        };
        match self.question.group_by {
            GroupBy::Day => of_order(match self.within.period.basis {
                Basis::BusinessDay => "(o.business_day - date '1970-01-01')".to_owned(),
                Basis::Clock => {
                    let Period { from, to, .. } = self.within.period;
                    let starts = filter.takes(self.within.zone.day_starts_ms(from, to));
                    let from = filter.takes(from.0);
                    format!("(width_bucket(o.at_ms, {starts}::bigint[]) - 1 + {from}::int)")
                }
            }),
            GroupBy::Hour => of_order(self.within.hour(filter)),
            GroupBy::Till => of_order("o.device_id".to_owned()),
            GroupBy::Cashier => of_order(format!("COALESCE(o.staff_id::text, '{NOBODY}')")),
            GroupBy::Product => of_line("x.product_id", ""),
            GroupBy::Category => of_line("COALESCE(p.category, '')", "LEFT JOIN products AS p ON p.product_id = x.product_id"),
            GroupBy::Tender => Parts {
                key: "x.method".to_owned(),
                beside: Some(("unnest(o.payment_methods, o.payment_amounts_minor) AS x (method, amount_minor)", "")),
                amount: "x.amount_minor",
                quantity: None,
                tax: None,
            },
            GroupBy::TaxRate => Parts {
                key: "x.rate_bp".to_owned(),
                beside: Some((
                    "unnest(o.tax_rates_bp, o.tax_nets_minor, o.tax_amounts_minor) AS x (rate_bp, net_minor, tax_minor)",
                    "",
                )),
                amount: "x.net_minor + x.tax_minor",
                quantity: None,
                tax: Some("x.tax_minor"),
            },
        }
    }

    /// The rows without their names, the largest first, and the sum of all.
    async fn sums(&self) -> Result<(Vec<SalesRow>, SalesRow), ReportError> {
        let mut filter = Filter::default();
        self.within.filter(&mut filter);
        let currency = filter.takes(self.currency.to_owned());
        filter.wants(format!("o.currency = {currency}::text"));
        let counts = format!(
            "SELECT count(*) FILTER (WHERE o.kind = 'sale'), count(*) FILTER (WHERE o.kind = 'refund') FROM orders AS o WHERE {}",
            filter.all()
        );
        let counts = self.tx.query_one(&counts, &filter.values()).await?;
        let Parts { key, beside, amount, quantity, tax } = self.parts(&mut filter);
        // One more says that there are more; no limit at all when it is NULL.
        let limit = filter.takes(self.question.rows_max().map(|most| most + 1));
        let join = beside.map_or(String::new(), |(rows, join)| format!("CROSS JOIN LATERAL {rows} {join}"));
        let sum = |of: Option<&str>| of.map_or("NULL::numeric".to_owned(), |of| format!("sum({of})"));
        let wanted = filter.all();
        // An order that holds a key twice, as on two lines, is one order of it.
        let sql = format!(
            "WITH per_order AS (
                 SELECT ({key})::text AS key, o.kind, sum({amount}) AS amount, {quantity} AS quantity, {tax} AS tax
                 FROM orders AS o {join} WHERE {wanted} GROUP BY 1, o.store_id, o.order_id, o.kind),
             rows AS (
                 SELECT key, count(*) FILTER (WHERE kind = 'sale') AS sales, count(*) FILTER (WHERE kind = 'refund') AS refunds,
                     COALESCE(sum(amount) FILTER (WHERE kind = 'sale'), 0) AS sold,
                     -COALESCE(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded, sum(quantity) AS quantity, sum(tax) AS tax
                 FROM per_order GROUP BY key)
             SELECT key, sales, refunds, sold::bigint, refunded::bigint, quantity::bigint, tax::bigint, (sum(sold) OVER ())::bigint,
                 (sum(refunded) OVER ())::bigint, (sum(quantity) OVER ())::bigint, (sum(tax) OVER ())::bigint
             FROM rows ORDER BY sold - refunded DESC, key LIMIT {limit}::bigint",
            quantity = sum(quantity),
            tax = sum(tax),
        );
        let found = self.tx.query(&sql, &filter.values()).await?;
        let row = |key: String, at: usize, row: Option<&Row>, sales: i64, refunds: i64| {
            let of = |n: usize| row.and_then(|row| row.get::<_, Option<i64>>(n));
            let (sales_minor, refunds_minor) = (of(at).unwrap_or(0), of(at + 1).unwrap_or(0));
            SalesRow {
                key,
                sales,
                sales_minor,
                refunds,
                refunds_minor,
                net_minor: sales_minor - refunds_minor,
                quantity_milli: quantity.map(|_| of(at + 2).unwrap_or(0)),
                tax_minor: tax.map(|_| of(at + 3).unwrap_or(0)),
                ..SalesRow::default()
            }
        };
        let rows = found.iter().map(|found| row(found.get(0), 3, Some(found), found.get(1), found.get(2))).collect();
        Ok((rows, row(String::new(), 7, found.first(), counts.get(0), counts.get(1))))
    }

    /// Every day, those without business too.
    fn days(&self, found: Vec<SalesRow>) -> Vec<SalesRow> {
        let Period { from, to, .. } = self.within.period;
        let days = (from.0..=to.0).filter_map(|day| Some((day.to_string(), BusinessDay(day).to_date()?.to_string())));
        complete(found, days.map(|(key, day)| (key, day.clone(), day)))
    }

    /// Every till, those without business too, and whatever else has sold.
    async fn tills(&self, found: Vec<SalesRow>) -> Result<Vec<SalesRow>, CentralError> {
        let known = self
            .tx
            .query(
                "SELECT d.device_id, d.name, COALESCE(s.code, ''), d.kind = 'till' AND ($1::uuid IS NULL OR d.store_id = $1)
                 FROM devices AS d LEFT JOIN stores AS s USING (store_id) ORDER BY 3, 2, 1",
                &[&self.within.store],
            )
            .await?;
        let mut by_key = by_key(found);
        let mut rows = Vec::new();
        for device in &known {
            let key = device.get::<_, Uuid>(0).to_string();
            let sums = by_key.remove(&key);
            if sums.is_some() || device.get(3) {
                let row = sums.unwrap_or_else(|| empty(key));
                rows.push(SalesRow { label: device.get(1), detail: device.get(2), ..row });
            }
        }
        rows.extend(by_key.into_values().map(|row| SalesRow { label: row.key.clone(), ..row }));
        Ok(rows)
    }

    async fn cashiers(&self, found: Vec<SalesRow>) -> Result<Vec<SalesRow>, CentralError> {
        let ids: Vec<Uuid> = found.iter().filter_map(|row| Uuid::try_parse(&row.key).ok()).collect();
        let known = self
            .tx
            .query(
                "SELECT staff_id, max(m.name), COALESCE(string_agg(s.code, ', ' ORDER BY s.code), '')
                 FROM staff AS m LEFT JOIN stores AS s USING (store_id) WHERE staff_id = ANY($1) GROUP BY staff_id",
                &[&ids],
            )
            .await?;
        let mut rows = named(found, &known);
        for row in rows.iter_mut().filter(|row| row.key == NOBODY) {
            row.label = "Nobody named".into();
        }
        rows.sort_by(|a, b| (&a.label, &a.key).cmp(&(&b.label, &b.key)));
        Ok(rows)
    }

    async fn products(&self, found: Vec<SalesRow>) -> Result<Vec<SalesRow>, CentralError> {
        let ids: Vec<Uuid> = found.iter().filter_map(|row| Uuid::try_parse(&row.key).ok()).collect();
        // What a product is called today; one that no document tells of has the name on its receipts.
        let known = self
            .tx
            .query(
                "SELECT id, COALESCE(p.name, (
                     SELECT max(l.name) FROM orders AS o CROSS JOIN LATERAL unnest(o.line_products, o.line_names) AS l (product_id, name)
                     WHERE array_append(o.line_products, o.store_id) @> ARRAY[id] AND l.product_id = id), ''), COALESCE(p.code, '')
                 FROM unnest($1::uuid[]) AS id LEFT JOIN products AS p ON p.product_id = id",
                &[&ids],
            )
            .await?;
        Ok(named(found, &known))
    }
}

fn empty(key: String) -> SalesRow {
    SalesRow { key, tax_minor: Some(0), ..SalesRow::default() }
}

fn by_key(rows: Vec<SalesRow>) -> BTreeMap<String, SalesRow> {
    rows.into_iter().map(|row| (row.key.clone(), row)).collect()
}

/// A row for each (key in the database, key, label), with zeros where nothing was found.
fn complete(found: Vec<SalesRow>, wanted: impl Iterator<Item = (String, String, String)>) -> Vec<SalesRow> {
    let mut found = by_key(found);
    wanted
        .map(|(at, key, label)| {
            let row = found.remove(&at).unwrap_or_else(|| empty(String::new()));
            SalesRow { key, label, ..row }
        })
        .collect()
}

/// Rows with the names and details of (id, name, detail).
fn named(found: Vec<SalesRow>, known: &[Row]) -> Vec<SalesRow> {
    let names: BTreeMap<String, (String, String)> =
        known.iter().map(|row| (row.get::<_, Uuid>(0).to_string(), (row.get(1), row.get(2)))).collect();
    let name = |row: SalesRow| match names.get(&row.key) {
        Some((label, detail)) => SalesRow { label: label.clone(), detail: detail.clone(), ..row },
        None => SalesRow { label: row.key.clone(), ..row },
    };
    found.into_iter().map(name).collect()
}

fn hours(found: Vec<SalesRow>) -> Vec<SalesRow> {
    complete(found, (0..24).map(|hour: u32| (hour.to_string(), hour.to_string(), format!("{hour:02}:00"))))
}

fn categories(found: Vec<SalesRow>) -> Vec<SalesRow> {
    let label = |key: &str| if key.is_empty() { "No category".to_owned() } else { key.to_owned() };
    found.into_iter().map(|row| SalesRow { label: label(&row.key), ..row }).collect()
}

fn tenders(found: Vec<SalesRow>) -> Vec<SalesRow> {
    found.into_iter().map(|row| SalesRow { label: tender(&row.key), ..row }).collect()
}

/// What a way of paying is called: `gift_card` is `Gift card`.
fn tender(method: &str) -> String {
    let words = method.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn tax_rates(mut found: Vec<SalesRow>) -> Vec<SalesRow> {
    found.sort_by_key(|row| row.key.parse::<i64>().unwrap_or(i64::MAX));
    let label = |key: &str| key.parse().map_or_else(|_| key.to_owned(), format_rate);
    found.into_iter().map(|row| SalesRow { label: label(&row.key), ..row }).collect()
}
