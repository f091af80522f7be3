//! Every table as a file: all its rows, from one snapshot, page by page.
//!
//! A long table is read and sent in pieces of [`PIECE_ROWS`] rows, so that no more than that is in memory however long it is. What
//! refuses the question is said before anything is sent; what breaks later breaks the file off, without its last row, the coverage.

use std::time::Duration;

use domain::money::Currency;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;

use super::csv::{Csv, file_name};
use super::exceptions::ExceptionsQuestion;
use super::list::ListQuestion;
use super::stock::{MovementsQuestion, StockQuestion};
use super::{ANSWER_WAIT, CentralError, Postgres, ReportError, answer, ask, in_time, named_store, snapshot};
use super::{devices, exceptions, list, sales, stock};
use crate::central::coverage;
use crate::live::Live;
use crate::web_api::{Coverage, GroupBy, SalesReport};

/// Rows of one piece.
pub const PIECE_ROWS: i64 = 2_000;
/// Pieces that may wait for a reader.
const PIECES_WAITING_MAX: usize = 2;
/// How long a reader may take for one piece.
const READER_WAIT: Duration = Duration::from_secs(30);

/// A table that is asked for as a file.
#[derive(Debug, Clone)]
pub enum Table {
    /// Sales and refunds.
    Sales(ListQuestion),
    /// Stock levels.
    Stock(StockQuestion),
    /// Stock movements.
    Movements(MovementsQuestion),
    /// Exceptions.
    Exceptions(ExceptionsQuestion),
}

impl Table {
    fn header(&self) -> &'static [&'static str] {
        match self {
            Self::Sales(_) => list::HEADER,
            Self::Stock(_) => stock::LEVELS_HEADER,
            Self::Movements(_) => stock::MOVEMENTS_HEADER,
            Self::Exceptions(_) => exceptions::HEADER,
        }
    }

    /// Writes a piece, and answers what asks for the next one; none at the end.
    async fn piece(&self, tx: &Transaction<'_>, csv: &mut Csv) -> Result<Option<Self>, ReportError> {
        Ok(match self {
            Self::Sales(question) => {
                let (rows, next, _) = list::page(tx, question).await?;
                rows.iter().for_each(|row| list::write(row, csv));
                next.map(|next| Self::Sales(question.page_after(Some(next), PIECE_ROWS)))
            }
            Self::Stock(question) => {
                let (rows, next) = stock::levels_page(tx, question).await?;
                rows.iter().for_each(|row| stock::write_level(row, csv));
                next.map(|next| Self::Stock(question.page_after(Some(next), PIECE_ROWS)))
            }
            Self::Movements(question) => {
                let (_, rows, next) = stock::movements_page(tx, question).await?;
                rows.iter().for_each(|row| stock::write_movement(row, csv));
                next.map(|next| Self::Movements(question.page_after(Some(next), PIECE_ROWS)))
            }
            Self::Exceptions(question) => {
                let (rows, next) = exceptions::page(tx, question).await?;
                rows.iter().for_each(|row| exceptions::write(row, csv));
                next.map(|next| Self::Exceptions(question.page_after(Some(next), PIECE_ROWS)))
            }
        })
    }

    async fn coverage(&self, tx: &Transaction<'_>, now_ms: u64) -> Result<Coverage, ReportError> {
        let store = match self {
            Self::Sales(question) => question.store(),
            Self::Stock(question) => question.store(),
            Self::Movements(question) => Some(question.store()),
            Self::Exceptions(question) => question.store(),
        };
        Ok(coverage::of(tx, named_store(tx, store).await?, now_ms).await?)
    }

    /// The same from its beginning, in pieces: a file has all rows, whichever page was asked for.
    fn whole(&self) -> Self {
        match self {
            Self::Sales(q) => Self::Sales(q.page_after(None, PIECE_ROWS)),
            Self::Stock(q) => Self::Stock(q.page_after(None, PIECE_ROWS)),
            Self::Movements(q) => Self::Movements(q.page_after(None, PIECE_ROWS)),
            Self::Exceptions(q) => Self::Exceptions(q.page_after(None, PIECE_ROWS)),
        }
    }
}

/// Why a file breaks off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The question is refused, or the database did not answer.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Nobody takes the rows, or too slowly.
    #[error("the reader of a file went away or takes more than {} s for {PIECE_ROWS} rows", READER_WAIT.as_secs())]
    Reader,
}

/// A table's pieces, read as they are taken.
pub fn export(central: Postgres, table: Table, now_ms: u64) -> mpsc::Receiver<Result<String, ExportError>> {
    let (pieces, taken) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(async move {
        if let Err(error) = read_all(&central, &table, now_ms, &pieces).await {
            // Whoever is gone needs no answer.
            let _ = pieces.try_send(Err(error));
        }
    });
    taken
}

async fn read_all(
    central: &Postgres,
    table: &Table,
    now_ms: u64,
    pieces: &mpsc::Sender<Result<String, ExportError>>,
) -> Result<(), ExportError> {
    let mut loan = central.get().await.map_err(ReportError::from)?;
    let tx = snapshot(&mut loan).await.map_err(ReportError::from)?;
    let mut csv = Csv::with_header(table.header());
    let mut next = Some(table.whole());
    while let Some(table) = next {
        next = within_time(table.piece(&tx, &mut csv)).await?;
        if next.is_none() {
            csv.coverage(&within_time(table.coverage(&tx, now_ms)).await?);
        }
        let sent = tokio::time::timeout(READER_WAIT, pieces.send(Ok(csv.take()))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(ExportError::Reader);
        }
    }
    tx.rollback().await.map_err(ReportError::from)?;
    central.give_back(loan);
    Ok(())
}

async fn within_time<T>(doing: impl Future<Output = Result<T, ReportError>>) -> Result<T, ReportError> {
    match tokio::time::timeout(ANSWER_WAIT, doing).await {
        Ok(done) => done,
        Err(_) => Err(CentralError::TimedOut { what: "write a file", after_ms: ANSWER_WAIT.as_millis() }.into()),
    }
}

/// The name of a table's file.
pub fn name(table: &Table) -> String {
    match table {
        Table::Sales(_) => file_name(&["sales-list"]),
        Table::Stock(_) => file_name(&["stock"]),
        Table::Movements(_) => file_name(&["stock-movements"]),
        Table::Exceptions(_) => file_name(&["exceptions"]),
    }
}

/// A sales report as a file, with its name.
///
/// # Errors
/// More rows than a file may have; the sentence says to ask for less.
pub fn report(report: &SalesReport) -> Result<(String, String), ReportError> {
    if report.truncated {
        return Err(ask(format!(
            "This table has more than {} rows. Ask for fewer days, or for one store.",
            sales::FILE_ROWS_MAX
        )));
    }
    let exponent = Currency::new(&report.currency).map_or(report.exponent, |c| c.exponent());
    let by = group(report.group_by);
    let mut csv = Csv::with_header(&[
        by,
        "label",
        "detail",
        "currency",
        "sales",
        "sales_amount",
        "refunds",
        "refunds_amount",
        "net_amount",
        "tax_amount",
        "quantity",
    ]);
    for row in report.rows.iter().chain([&report.total]) {
        csv.text(&row.key).text(&row.label).text(&row.detail).plain(&report.currency);
        csv.number(row.sales).amount(row.sales_minor, exponent).number(row.refunds).amount(row.refunds_minor, exponent);
        csv.amount(row.net_minor, exponent).amount(row.tax_minor, exponent).quantity(row.quantity_milli).end_row();
    }
    csv.coverage(&report.coverage);
    let store = report.store.as_deref().unwrap_or_default();
    Ok((file_name(&["sales-by", by, &report.from, &report.to, store]), csv.take()))
}

fn group(by: GroupBy) -> &'static str {
    match by {
        GroupBy::Day => "day",
        GroupBy::Hour => "hour",
        GroupBy::Till => "till",
        GroupBy::Cashier => "cashier",
        GroupBy::Product => "product",
        GroupBy::Category => "category",
        GroupBy::Tender => "tender",
        GroupBy::TaxRate => "tax_rate_bp",
    }
}

/// The devices as a file, with its name.
///
/// # Errors
/// When the database does not answer.
pub async fn device_file(central: &Postgres, live: &Live, now_ms: u64) -> Result<(String, String), ReportError> {
    answer!(central, "list devices", |tx| async {
        let mut csv = Csv::with_header(devices::HEADER);
        devices::read(&tx, live, now_ms).await?.iter().for_each(|row| devices::write(row, &mut csv));
        csv.coverage(&coverage::of(&tx, None, now_ms).await?);
        Ok((file_name(&["devices"]), csv.take()))
    })
}
