//! Answers for managers, from the read model. Each says what it covers.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::money::Currency;
use domain::record::BusinessDay;
use jiff::civil::Date;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::coverage::{coverage, orders_without_day, till_facts};
use super::dump::snapshot;
use super::pool::in_time;
use super::{CentralError, Postgres};
use crate::web_api::{Basis, CoverageState, DeviceView, GroupBy, SalesReport, SalesRow};

/// Most days of one report: ten years.
pub const DAYS_MAX: i32 = 3_700;
/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(27);

/// Which sales are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SalesQuestion {
    from: BusinessDay,
    to: BusinessDay,
    /// How the answer is cut.
    pub group_by: GroupBy,
    /// In which currency; needed only when stores count in several.
    pub currency: Option<Currency>,
}

/// Why a report is not given.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The question makes no sense; the sentence says what to ask.
    #[error("{0}")]
    Question(String),
    /// The database did not answer.
    #[error(transparent)]
    Central(#[from] CentralError),
}

impl SalesQuestion {
    /// Asks for the days from `from` to `to`, both included, written as `YYYY-MM-DD`.
    ///
    /// # Errors
    /// Days that are none, the wrong way round, or too many.
    pub fn new(from: &str, to: &str, group_by: GroupBy, currency: Option<&str>) -> Result<Self, ReportError> {
        let ask = |what: String| ReportError::Question(what);
        let day = |name: &str, text: &str| match Date::strptime("%Y-%m-%d", text) {
            Ok(date) if text.len() == 10 && (1900..=9999).contains(&date.year()) => Ok(BusinessDay::from_date(date)),
            _ => Err(ask(format!("Write `{name}` as a day such as 2026-01-31."))),
        };
        let (from, to) = (day("from", from)?, day("to", to)?);
        if from > to {
            return Err(ask("Let `from` be the earlier day and `to` the later one.".into()));
        }
        if to.0 - from.0 >= DAYS_MAX {
            return Err(ask(format!("Ask for at most {DAYS_MAX} days at once.")));
        }
        let currency = match currency {
            None => None,
            Some(code) => {
                Some(Currency::new(code).ok_or_else(|| ask("Write `currency` as three capital letters such as EUR.".into()))?)
            }
        };
        Ok(Self { from, to, group_by, currency })
    }
}

/// Sales and refunds of some business days.
///
/// # Errors
/// When stores count in several currencies and the question names none, or when the database does not answer.
pub async fn sales(central: &Postgres, question: SalesQuestion, now_ms: u64) -> Result<SalesReport, ReportError> {
    let mut loan = central.get().await?;
    let (report, currencies) = in_time("answer a report", ANSWER_WAIT, async {
        // Figures and coverage of one moment.
        let tx = snapshot(&mut loan).await?;
        let currencies = currencies(&tx, question).await?;
        let report = match currencies.as_slice() {
            [] => Some(sales_in(&tx, question, "XXX", now_ms).await?),
            [one] => Some(sales_in(&tx, question, one, now_ms).await?),
            _ => None,
        };
        tx.rollback().await?;
        Ok((report, currencies))
    })
    .await?;
    central.give_back(loan);
    report.ok_or_else(|| {
        ReportError::Question(format!(
            "The stores count in {}; add one of them, such as currency={}.",
            currencies.join(", "),
            currencies[0]
        ))
    })
}

/// The currencies that an answer would be in: the one asked for, or all that stores or their orders have.
async fn currencies(tx: &Transaction<'_>, question: SalesQuestion) -> Result<Vec<String>, CentralError> {
    if let Some(currency) = question.currency {
        return Ok(vec![currency.code().to_owned()]);
    }
    let rows = tx
        .query(
            "SELECT currency::text FROM stores
             UNION SELECT currency::text FROM orders WHERE business_day BETWEEN date '1970-01-01' + $1::int AND date '1970-01-01' + $2::int
             ORDER BY 1",
            &[&question.from.0, &question.to.0],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn sales_in(
    tx: &Transaction<'_>,
    question: SalesQuestion,
    currency: &str,
    now_ms: u64,
) -> Result<SalesReport, CentralError> {
    let mut by_key = match question.group_by {
        GroupBy::Day => by_day(tx, question, currency).await?,
        _ => by_till(tx, question, currency).await?,
    };
    let mut total = SalesRow { key: "total".into(), label: "Total".into(), ..SalesRow::default() };
    for row in &mut by_key {
        row.net_minor = row.sales_minor - row.refunds_minor;
        total.sales += row.sales;
        total.sales_minor += row.sales_minor;
        total.refunds += row.refunds;
        total.refunds_minor += row.refunds_minor;
        total.net_minor += row.net_minor;
        total.tax_minor = Some(total.tax_minor.unwrap_or_default() + row.tax_minor.unwrap_or_default());
    }
    let day = |d: BusinessDay| d.to_date().map(|d| d.to_string()).unwrap_or_default();
    Ok(SalesReport {
        from: day(question.from),
        to: day(question.to),
        basis: Basis::BusinessDay,
        time_zone: "UTC".into(),
        store: None,
        truncated: false,
        group_by: question.group_by,
        exponent: Currency::new(currency).map_or(2, |c| c.exponent()),
        currency: currency.to_owned(),
        rows: by_key,
        total,
        coverage: coverage(now_ms, till_facts(tx).await?, orders_without_day(tx).await?),
    })
}

/// Sums of sales and of refunds, by a column of `orders`.
const SUMS: &str = "count(*) FILTER (WHERE o.kind = 'sale'),
    COALESCE(sum(o.total_minor) FILTER (WHERE o.kind = 'sale'), 0)::bigint,
    count(*) FILTER (WHERE o.kind = 'refund'),
    (-COALESCE(sum(o.total_minor) FILTER (WHERE o.kind = 'refund'), 0))::bigint,
    COALESCE(sum(o.tax_minor), 0)::bigint";
const ASKED: &str =
    "o.business_day BETWEEN date '1970-01-01' + $1::int AND date '1970-01-01' + $2::int AND o.currency = $3::text";

fn sums(row: &tokio_postgres::Row, key: String, label: String) -> SalesRow {
    SalesRow {
        key,
        label,
        sales: row.get(1),
        sales_minor: row.get(2),
        refunds: row.get(3),
        refunds_minor: row.get(4),
        net_minor: 0,
        tax_minor: Some(row.get(5)),
        detail: String::new(),
        quantity_milli: None,
    }
}

async fn by_day(tx: &Transaction<'_>, question: SalesQuestion, currency: &str) -> Result<Vec<SalesRow>, CentralError> {
    let sql = format!("SELECT o.business_day - date '1970-01-01', {SUMS} FROM orders AS o WHERE {ASKED} GROUP BY o.business_day");
    let found = tx.query(&sql, &[&question.from.0, &question.to.0, &currency]).await?;
    let found: BTreeMap<i32, &tokio_postgres::Row> = found.iter().map(|row| (row.get(0), row)).collect();
    let days = (question.from.0..=question.to.0).filter_map(|day| Some((day, BusinessDay(day).to_date()?.to_string())));
    Ok(days
        .map(|(day, text)| match found.get(&day) {
            Some(row) => sums(row, text.clone(), text),
            None => SalesRow { key: text.clone(), label: text, ..SalesRow::default() },
        })
        .collect())
}

/// Every till, those without business too, and whatever else has orders.
async fn by_till(tx: &Transaction<'_>, question: SalesQuestion, currency: &str) -> Result<Vec<SalesRow>, CentralError> {
    let sql = format!(
        "SELECT device_id, COALESCE(s.sales, 0), COALESCE(s.sales_minor, 0), COALESCE(s.refunds, 0), COALESCE(s.refunds_minor, 0),
             COALESCE(s.tax_minor, 0), COALESCE(d.name, device_id::text), COALESCE(st.code, '')
         FROM (SELECT * FROM devices WHERE kind = 'till') AS d
         FULL JOIN (SELECT o.device_id, {SUMS} FROM orders AS o WHERE {ASKED} GROUP BY o.device_id)
             AS s (device_id, sales, sales_minor, refunds, refunds_minor, tax_minor) USING (device_id)
         LEFT JOIN stores AS st ON st.store_id = d.store_id
         ORDER BY COALESCE(st.code, ''), COALESCE(d.name, ''), device_id"
    );
    let found = tx.query(&sql, &[&question.from.0, &question.to.0, &currency]).await?;
    let several_stores = found.iter().any(|row| row.get::<_, &str>(7) != found[0].get::<_, &str>(7));
    let label = |name: &str, store: &str| match (several_stores, store) {
        (true, store) if !store.is_empty() => format!("{store} · {name}"),
        _ => name.to_owned(),
    };
    Ok(found.iter().map(|row| sums(row, row.get::<_, Uuid>(0).to_string(), label(row.get(6), row.get(7)))).collect())
}

/// Every device, by store and name.
///
/// # Errors
/// When the database does not answer.
pub async fn devices(central: &Postgres) -> Result<Vec<DeviceView>, CentralError> {
    let loan = central.get().await?;
    let rows = in_time("list devices", ANSWER_WAIT, async {
        Ok(loan
            .query(
                "SELECT d.device_id, d.name, d.kind, s.code,
                     (SELECT max(c.seen_at_ms) FROM device_contact AS c WHERE c.device_id = d.device_id)
                 FROM devices AS d LEFT JOIN stores AS s USING (store_id)
                 ORDER BY s.code NULLS FIRST, d.name, d.device_id",
                &[],
            )
            .await?)
    })
    .await?;
    central.give_back(loan);
    let view = |row: &tokio_postgres::Row| DeviceView {
        device: row.get::<_, Uuid>(0).to_string(),
        name: row.get(1),
        kind: row.get(2),
        store: row.get(3),
        seen_at_ms: row.get::<_, Option<i64>>(4).map(i64::unsigned_abs),
        series: String::new(),
        software: String::new(),
        enrolled_at_ms: 0,
        state: CoverageState::Current,
        connected: false,
        last_entry_at_ms: None,
        unsent_commits: 0,
        clock_drift_ms: None,
    };
    Ok(rows.iter().map(view).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_make_no_sense_are_refused() {
        let ask = |from, to| SalesQuestion::new(from, to, GroupBy::Day, None).is_ok();
        assert!(ask("2026-01-01", "2026-01-01") && ask("2016-01-01", "2026-02-16"));
        for (from, to) in [
            ("2026-01-02", "2026-01-01"),
            ("2016-01-01", "2026-02-17"),
            ("2026-02-30", "2026-03-01"),
            ("2026-1-1", "2026-01-02"),
            ("", "2026-01-02"),
            ("1899-12-31", "1900-01-02"),
            ("2026-01-01", "2026-01-02T00:00"),
            ("2026-01-01'--", "2026-01-02"),
            ("-2026-01-01", "2026-01-02"),
        ] {
            assert!(!ask(from, to), "{from} {to}");
        }
        assert!(SalesQuestion::new("2026-01-01", "2026-01-01", GroupBy::Day, Some("eur")).is_err());
    }
}
