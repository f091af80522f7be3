//! Answers for managers, from the read model. Figures, lists of what tills have sent, and files say what they cover.
//!
//! A question is checked when it is made ([`ReportError::Question`] says what to ask instead) and answered within one snapshot of the
//! database, so that its figures, its rows and its coverage are of one moment.
//!
//! * [`sales`]: figures, cut in eight ways. * [`list`]: the sales behind a figure. * [`detail`]: one sale.
//! * [`open_orders`]: what is parked at tills. * [`shifts`]: Z reports and their addenda. * [`stock`]: levels and movements. * [`devices`]. * [`exceptions`], and that somebody looked at one.
//! * [`export`]: every table as a file. * [`zone`]: days and hours by the clock.

use std::time::Duration;

use domain::record::BusinessDay;
use jiff::civil::Date;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::dump::snapshot;
use super::pool::in_time;
use super::{CentralError, Postgres};
use crate::web_api::Basis;

pub mod csv;
pub mod detail;
pub mod devices;
pub mod exceptions;
pub mod export;
pub mod list;
pub mod open_orders;
pub mod sales;
pub mod shifts;
pub mod stock;
pub mod zone;

use zone::Zone;

/// Most days of one question: ten years.
pub const DAYS_MAX: i32 = 3_700;
/// Most rows of one page of a list.
pub const LIMIT_MAX: i64 = 500;
/// Rows of a page when the question does not say.
pub const LIMIT_DEFAULT: i64 = 50;
/// Longest text in a question, in bytes.
pub const TEXT_BYTES_MAX: usize = 200;
/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(27);

/// Why a report is not given.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The question makes no sense; the sentence says what to ask.
    #[error("{0}")]
    Question(String),
    /// There is no such thing; the sentence says so.
    #[error("{0}")]
    NotFound(String),
    /// The database did not answer.
    #[error(transparent)]
    Central(#[from] CentralError),
}

impl From<tokio_postgres::Error> for ReportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Central(error.into())
    }
}

fn ask(sentence: impl Into<String>) -> ReportError {
    ReportError::Question(sentence.into())
}

/// The days of a question, both included, by which clock, and of which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    from: BusinessDay,
    to: BusinessDay,
    basis: Basis,
    time_zone: Option<Zone>,
    store: Option<String>,
}

impl Period {
    /// The days from `from` to `to`, written as `YYYY-MM-DD`. Without a time zone it is the store's.
    ///
    /// # Errors
    /// Days that are none, the wrong way round, or too many, and a time zone that nobody knows.
    pub fn new(
        from: &str,
        to: &str,
        basis: Option<Basis>,
        time_zone: Option<&str>,
        store: Option<&str>,
    ) -> Result<Self, ReportError> {
        let day = |name: &str, text: &str| match Date::strptime("%Y-%m-%d", text) {
            Ok(date) if text.len() == 10 && (1900..=9998).contains(&date.year()) => Ok(BusinessDay::from_date(date)),
            _ => Err(ask(format!("Write `{name}` as a day such as 2026-01-31."))),
        };
        let (from, to) = (day("from", from)?, day("to", to)?);
        if from > to {
            return Err(ask("Let `from` be the earlier day and `to` the later one."));
        }
        if to.0 - from.0 >= DAYS_MAX {
            return Err(ask(format!("Ask for at most {DAYS_MAX} days at once.")));
        }
        let zone = |name: &str| {
            Zone::new(name).ok_or_else(|| ask("Write `time_zone` as a name of the IANA database, such as Europe/Berlin."))
        };
        let time_zone = time_zone.map(zone).transpose()?;
        let store = bounded("store", store)?;
        Ok(Self { from, to, basis: basis.unwrap_or(Basis::BusinessDay), time_zone, store })
    }
}

/// A [`Period`] with what the database knows of it.
#[derive(Debug, Clone)]
struct Within {
    period: Period,
    zone: Zone,
    store: Option<Uuid>,
}

impl Within {
    async fn new(tx: &Transaction<'_>, period: &Period) -> Result<Self, ReportError> {
        let store = named_store(tx, period.store.as_deref()).await?;
        let zone = match &period.time_zone {
            Some(zone) => zone.clone(),
            None => zone_of(tx, store).await?,
        };
        Ok(Self { period: period.clone(), zone, store })
    }

    /// Asks `o`, a row of `orders`, to be of these days and of this store.
    fn filter(&self, filter: &mut Filter) {
        let Period { from, to, basis, .. } = self.period;
        match basis {
            Basis::BusinessDay => {
                let (from, to) = (filter.takes(from.0), filter.takes(to.0));
                filter.wants(format!("o.business_day BETWEEN date '1970-01-01' + {from}::int AND date '1970-01-01' + {to}::int"));
            }
            Basis::Clock => {
                let from = filter.takes(self.zone.day_start_ms(from));
                let end = filter.takes(self.zone.day_start_ms(BusinessDay(to.0 + 1)));
                filter.wants(format!("o.at_ms >= {from}::bigint AND o.at_ms < {end}::bigint"));
            }
        }
        if let Some(store) = self.store {
            let store = filter.takes(store);
            filter.wants(format!("o.store_id = {store}::uuid"));
        }
    }

    /// The hour of the day of `o`, by the clock of the zone, as SQL.
    fn hour(&self, filter: &mut Filter) -> String {
        let offsets = self.zone.offsets(self.period.from, self.period.to);
        let (from, offset) = (filter.takes(offsets.from_ms), filter.takes(offsets.offset_ms));
        format!("((o.at_ms + ({offset}::bigint[])[GREATEST(1, width_bucket(o.at_ms, {from}::bigint[]))]) / 3600000 % 24)")
    }
}

/// The store that a code calls; its id is taken, too.
async fn store_by_code(tx: &Transaction<'_>, code: &str) -> Result<Uuid, ReportError> {
    let found = tx
        .query_opt("SELECT store_id FROM stores WHERE code = $1 OR store_id::text = $1 ORDER BY store_id LIMIT 1", &[&code])
        .await?;
    match (found, Uuid::try_parse(code)) {
        (Some(row), _) => Ok(row.get(0)),
        // A store whose own document has not arrived is called by its id.
        (None, Ok(id)) => Ok(id),
        (None, Err(_)) => Err(ask(format!("No store has the code {code}. Choose one that is set up."))),
    }
}

/// The store that a question names, when it names one.
async fn named_store(tx: &Transaction<'_>, code: Option<&str>) -> Result<Option<Uuid>, ReportError> {
    match code {
        Some(code) => Ok(Some(store_by_code(tx, code).await?)),
        None => Ok(None),
    }
}

/// The time zone of a store, or of the first one.
async fn zone_of(tx: &Transaction<'_>, store: Option<Uuid>) -> Result<Zone, CentralError> {
    let sql = "SELECT time_zone FROM stores WHERE $1::uuid IS NULL OR store_id = $1 ORDER BY code, store_id LIMIT 1";
    let name = tx.query_opt(sql, &[&store]).await?.map(|row| row.get::<_, String>(0));
    Ok(name.and_then(|name| Zone::new(&name)).unwrap_or_else(Zone::utc))
}

/// Conditions of a question and the values in them.
#[derive(Default)]
struct Filter {
    values: Vec<Box<dyn ToSql + Sync + Send>>,
    wanted: Vec<String>,
}

impl Filter {
    /// A place for a value, such as `$3`.
    fn takes(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn wants(&mut self, condition: impl Into<String>) {
        self.wanted.push(condition.into());
    }

    /// All conditions at once.
    fn all(&self) -> String {
        if self.wanted.is_empty() { "true".to_owned() } else { self.wanted.join(" AND ") }
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

/// How many rows a page has.
fn limit(asked: Option<i64>) -> Result<i64, ReportError> {
    match asked {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(ask(format!("Let `limit` be 1 to {LIMIT_MAX}."))),
    }
}

/// A text of a question, within its bound.
fn bounded(name: &str, text: Option<&str>) -> Result<Option<String>, ReportError> {
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX || text.contains('\0') => {
            Err(ask(format!("Let `{name}` have at most {TEXT_BYTES_MAX} bytes of text.")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// An id of a question.
fn id(name: &str, text: Option<&str>) -> Result<Option<Uuid>, ReportError> {
    let read = |text: &str| Uuid::try_parse(text).map_err(|_| ask(format!("Let `{name}` be an id, as the lists give it.")));
    text.map(read).transpose()
}

/// A pattern that finds `text` anywhere, whatever signs it has.
fn anywhere(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

fn bad_after() -> ReportError {
    ask("Give as `after` what the page before said as `next`.")
}

fn unsigned(ms: i64) -> u64 {
    ms.max(0).unsigned_abs()
}

/// Answers a question within one snapshot and the time it may take.
macro_rules! answer {
    ($central:expr, $what:literal, |$tx:ident| $work:expr) => {{
        let mut loan = $central.get().await?;
        // A question that makes no sense is an answer, too: the connection is as good as before.
        let answered = in_time($what, ANSWER_WAIT, async {
            let $tx = snapshot(&mut loan).await?;
            let answered: Result<_, ReportError> = $work.await;
            match answered {
                Err(ReportError::Central(error)) => Err(error),
                answered => {
                    $tx.rollback().await?;
                    Ok(answered)
                }
            }
        })
        .await?;
        $central.give_back(loan);
        answered
    }};
}
use answer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_make_no_sense_are_refused() {
        let question = |from, to| Period::new(from, to, None, None, None).is_ok();
        assert!(question("2026-01-01", "2026-01-01") && question("2016-01-01", "2026-02-16"));
        for (from, to) in [
            ("2026-01-02", "2026-01-01"),
            ("2016-01-01", "2026-02-17"),
            ("2026-02-30", "2026-03-01"),
            ("2026-1-1", "2026-01-02"),
            ("", "2026-01-02"),
            ("1899-12-31", "1900-01-02"),
            ("9999-12-31", "9999-12-31"),
            ("2026-01-01", "2026-01-02T00:00"),
            ("2026-01-01'--", "2026-01-02"),
            ("-2026-01-01", "2026-01-02"),
        ] {
            assert!(!question(from, to), "{from} {to}");
        }
        let with = |zone: &str, store: &str| Period::new("2026-01-01", "2026-01-01", None, Some(zone), Some(store));
        assert!(with("Europe/Berlin", "S01").is_ok());
        assert!(with("Berlin", "S01").is_err() && with("UTC", &"x".repeat(201)).is_err());
    }

    #[test]
    fn pages_and_texts_have_bounds() {
        assert_eq!(limit(None).ok(), Some(LIMIT_DEFAULT));
        for (asked, fine) in [(1, true), (500, true), (0, false), (501, false), (-1, false)] {
            assert_eq!(limit(Some(asked)).is_ok(), fine, "{asked}");
        }
        assert!(bounded("search", Some("a\0")).is_err());
        assert_eq!(anywhere(r"50%_\"), r"%50\%\_\\%");
    }
}
