//! What a person should look at, and that somebody did.

use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::csv::Csv;
use super::list::{SALE_ROW, number as receipt_of, sale_row};
use super::{
    ANSWER_WAIT, Filter, Postgres, ReportError, answer, ask, bad_after, bounded, in_time, limit, snapshot, store_by_code,
    unsigned,
};
use crate::central::exceptions::{ExceptionKind, words};
use crate::web_api::{ExceptionProduct, ExceptionRow, ExceptionsPage, Review, Settlement};

/// Longest note of a review, in bytes.
pub const NOTE_BYTES_MAX: usize = 1_000;

/// A checked question for exceptions.
#[derive(Debug, Clone)]
pub struct ExceptionsQuestion {
    open_only: bool,
    kind: Option<ExceptionKind>,
    store: Option<String>,
    after: Option<Place>,
    limit: i64,
}

/// The entry of an exception, and its place among the entry's.
type Place = (i64, i32);

impl ExceptionsQuestion {
    /// Asks for a page of exceptions: those that nobody has looked at unless `state` is `all`.
    ///
    /// # Errors
    /// Something that no exception can be.
    pub fn new(
        state: Option<&str>,
        kind: Option<&str>,
        store: Option<&str>,
        after: Option<&str>,
        asked: Option<i64>,
    ) -> Result<Self, ReportError> {
        let open_only = match state {
            None | Some("open") => true,
            Some("all") => false,
            Some(_) => return Err(ask("Let `state` be `open` or `all`.")),
        };
        let known = |code: &str| {
            let codes = ExceptionKind::ALL.map(ExceptionKind::as_str).join(", ");
            ExceptionKind::from_code(code).ok_or_else(|| ask(format!("Let `kind` be one of {codes}.")))
        };
        Ok(Self {
            open_only,
            kind: kind.map(known).transpose()?,
            store: bounded("store", store)?,
            after: after.map(|after| place(after).ok_or_else(bad_after)).transpose()?,
            limit: limit(asked)?,
        })
    }

    /// The code of the only store that is asked for.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// The page after a place.
    pub(super) fn page_after(&self, after: Option<Place>, limit: i64) -> Self {
        Self { after, limit, ..self.clone() }
    }
}

/// A page of exceptions.
///
/// # Errors
/// A store that is not there, or a database that does not answer.
pub async fn exceptions(central: &Postgres, question: &ExceptionsQuestion) -> Result<ExceptionsPage, ReportError> {
    answer!(central, "list exceptions", |tx| async {
        let (rows, next) = page(&tx, question).await?;
        let next = next.map(written);
        Ok(ExceptionsPage { rows, open: open(&tx).await?, next })
    })
}

async fn open(tx: &Transaction<'_>) -> Result<i64, ReportError> {
    Ok(tx.query_one(&open_count(), &[]).await?.get(0))
}

/// The question how many exceptions are open: neither settled nor looked at.
pub(crate) fn open_count() -> String {
    format!(
        "SELECT count(*) FROM exceptions AS e WHERE e.settled_seq IS NULL AND NOT EXISTS (
             SELECT FROM exception_reviews AS r WHERE r.central_seq = e.central_seq AND r.kind = {REVIEWED_AS})"
    )
}

/// By what a review names the exception `e` beside its entry: its kind, and where one sale may be about several products, which.
const REVIEWED_AS: &str = "CASE WHEN e.kind IN ('oversold', 'counted_at_once') THEN e.kind || ' ' || e.subject ELSE e.kind END";

/// Most receipts that an exception is shown with.
const RECEIPTS_MAX: usize = 20;

/// The columns of an [`ExceptionRow`], up to what a review names it by: [`REVIEWED_AS`].
const EXCEPTION_ROW: &str =
    "SELECT e.central_seq, e.place, e.kind, e.detail, e.at_ms, s.code, COALESCE(d.name, e.device_id::text, ''), e.order_id,
        o.receipt_number, i.series, r.reviewed_by, r.reviewed_at_ms, r.note, e.subject, e.settled_at_ms, e.settled_order,
        t.receipt_number, j.series, p.code, p.name, e.store_id
    FROM exceptions AS e
    LEFT JOIN stores AS s ON s.store_id = e.store_id
    LEFT JOIN devices AS d ON d.device_id = e.device_id
    LEFT JOIN orders AS o ON o.store_id = e.store_id AND o.order_id = e.order_id
    LEFT JOIN incarnations AS i ON i.device_id = o.device_id AND i.incarnation = o.incarnation
    LEFT JOIN orders AS t ON t.store_id = e.store_id AND t.order_id = e.settled_order
    LEFT JOIN incarnations AS j ON j.device_id = t.device_id AND j.incarnation = t.incarnation
    LEFT JOIN products AS p ON p.product_id = e.subject AND e.kind IN ('oversold', 'counted_at_once')
    LEFT JOIN exception_reviews AS r ON r.central_seq = e.central_seq
        AND r.kind = ";

/// Rows as they are told, with the receipts that do not fit together.
async fn exception_rows(tx: &Transaction<'_>, rows: &[Row]) -> Result<Vec<ExceptionRow>, ReportError> {
    let mut told: Vec<ExceptionRow> = rows.iter().map(exception_row).collect();
    for (row, told) in rows.iter().zip(&mut told) {
        let (store, subject): (Option<Uuid>, Option<Uuid>) = (row.get(20), row.get(13));
        let of_these = match ExceptionKind::from_code(&told.kind) {
            Some(ExceptionKind::RefundedTwice) => "o.original_id = $2",
            Some(
                ExceptionKind::PaidTwice
                | ExceptionKind::PaidAndCancelled
                | ExceptionKind::PaidAndTakenOut
                | ExceptionKind::UnpaidRemainder,
            ) => "o.order_id IN (SELECT sale_id FROM open_order_payments WHERE store_id = $1 AND open_order_id = $2)",
            _ => continue,
        };
        let sql = format!("{SALE_ROW} WHERE o.store_id = $1 AND {of_these} ORDER BY o.at_ms, o.order_id LIMIT {RECEIPTS_MAX}");
        told.receipts = tx.query(&sql, &[&store, &subject]).await?.iter().map(sale_row).collect();
    }
    Ok(told)
}

fn exception_row(row: &Row) -> ExceptionRow {
    let kind: String = row.get(2);
    let product = ExceptionKind::from_code(&kind)
        .filter(|kind| matches!(kind, ExceptionKind::Oversold | ExceptionKind::CountedAtOnce))
        .and_then(|_| row.get::<_, Option<Uuid>>(13))
        .map(|product| ExceptionProduct {
            product: product.to_string(),
            code: row.get::<_, Option<String>>(18).unwrap_or_default(),
            name: row.get::<_, Option<String>>(19).unwrap_or_else(|| product.to_string()),
        });
    let happened: &str = row.get(3);
    let (title, detail) = match &product {
        Some(product) => words(&kind, &format!("{}: {happened}", product.name)),
        None => words(&kind, happened),
    };
    let receipt = |number: usize, series: usize| {
        row.get::<_, Option<i64>>(number).map(|n| receipt_of(row.get::<_, Option<&str>>(series).unwrap_or(""), n))
    };
    let settled = row.get::<_, Option<i64>>(14).map(|at_ms| Settlement {
        at_ms: unsigned(at_ms),
        order: row.get::<_, Option<Uuid>>(15).map(|id| id.to_string()),
        number: receipt(16, 17),
    });
    let review = row.get::<_, Option<String>>(10).map(|by| Review { by, at_ms: unsigned(row.get(11)), note: row.get(12) });
    ExceptionRow {
        id: written((row.get(0), row.get(1))),
        kind,
        title,
        detail,
        at_ms: unsigned(row.get(4)),
        store: row.get(5),
        till: row.get(6),
        order: row.get::<_, Option<Uuid>>(7).map(|id| id.to_string()),
        number: receipt(8, 9),
        product,
        receipts: Vec::new(),
        settled,
        review,
    }
}

fn written((entry, place): Place) -> String {
    format!("{entry}-{place}")
}

fn place(text: &str) -> Option<Place> {
    let (entry, place) = text.split_once('-')?;
    Some((entry.parse().ok()?, place.parse().ok()?))
}

/// The rows of a page, and the place of the last one when there are more.
pub(super) async fn page(
    tx: &Transaction<'_>,
    question: &ExceptionsQuestion,
) -> Result<(Vec<ExceptionRow>, Option<Place>), ReportError> {
    let mut filter = Filter::default();
    if question.open_only {
        filter.wants("r.central_seq IS NULL");
        filter.wants("e.settled_seq IS NULL");
    }
    if let Some(kind) = question.kind {
        let kind = filter.takes(kind.as_str());
        filter.wants(format!("e.kind = {kind}::text"));
    }
    if let Some(store) = &question.store {
        let store = filter.takes(store_by_code(tx, store).await?);
        filter.wants(format!("e.store_id = {store}::uuid"));
    }
    if let Some((entry, place)) = question.after {
        let (entry, place) = (filter.takes(entry), filter.takes(place));
        filter.wants(format!("(e.central_seq, e.place) < ({entry}::bigint, {place}::int)"));
    }
    let limit = filter.takes(question.limit + 1);
    let sql =
        format!("{EXCEPTION_ROW}{REVIEWED_AS} WHERE {} ORDER BY e.central_seq DESC, e.place DESC LIMIT {limit}", filter.all());
    let mut found = tx.query(&sql, &filter.values()).await?;
    let more = found.len() as i64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| (row.get(0), row.get(1)));
    Ok((exception_rows(tx, &found).await?, last))
}

/// What is flagged about an order.
pub(super) async fn of_order(tx: &Transaction<'_>, store: Uuid, order: Uuid) -> Result<Vec<ExceptionRow>, ReportError> {
    let sql = format!(
        "{EXCEPTION_ROW}{REVIEWED_AS} WHERE e.store_id = $1 AND e.order_id = $2 ORDER BY e.central_seq, e.place LIMIT 100"
    );
    exception_rows(tx, &tx.query(&sql, &[&store, &order]).await?).await
}

/// Notes that `by` has looked at an exception, and answers it with how many are open now. A second look replaces the first.
///
/// # Errors
/// A note that is too long, an exception that is not there, or a database that does not answer.
pub async fn review(central: &Postgres, id: &str, by: &str, note: &str, now_ms: u64) -> Result<(ExceptionRow, i64), ReportError> {
    let none = || ReportError::NotFound("There is no such exception.".into());
    if note.len() > NOTE_BYTES_MAX || note.contains('\0') {
        return Err(ask(format!("Let `note` have at most {NOTE_BYTES_MAX} bytes of text.")));
    }
    let (entry, place) = place(id).ok_or_else(none)?;
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let mut loan = central.get().await?;
    let reviewed = in_time("note a review", ANSWER_WAIT, async {
        let tx = loan.transaction().await?;
        let insert = format!(
            "INSERT INTO exception_reviews (central_seq, kind, reviewed_by, reviewed_at_ms, note)
             SELECT e.central_seq, {REVIEWED_AS}, $3, $4, $5 FROM exceptions AS e WHERE e.central_seq = $1 AND e.place = $2
             ON CONFLICT (central_seq, kind) DO UPDATE SET reviewed_by = excluded.reviewed_by, reviewed_at_ms = excluded.reviewed_at_ms,
                 note = excluded.note"
        );
        tx.execute(&insert, &[&entry, &place, &by, &now, &note]).await?;
        let sql = format!("{EXCEPTION_ROW}{REVIEWED_AS} WHERE e.central_seq = $1 AND e.place = $2");
        let told = async {
            let rows: Vec<Row> = tx.query_opt(&sql, &[&entry, &place]).await?.into_iter().collect();
            Ok::<_, ReportError>((exception_rows(&tx, &rows).await?.pop(), open(&tx).await?))
        };
        let (row, open) = match told.await {
            Err(ReportError::Central(error)) => return Err(error),
            told => told.unwrap_or((None, 0)),
        };
        tx.commit().await?;
        Ok(row.map(|row| (row, open)))
    })
    .await?;
    central.give_back(loan);
    reviewed.ok_or_else(none)
}

pub(super) const HEADER: &[&str] = &[
    "time_utc",
    "store",
    "till",
    "kind",
    "title",
    "detail",
    "number",
    "reviewed_by",
    "reviewed_utc",
    "note",
    "order_id",
    "id",
    "product_code",
    "settled_utc",
    "settled_by_number",
];

pub(super) fn write(e: &ExceptionRow, csv: &mut Csv) {
    csv.moment(e.at_ms).text(e.store.as_deref().unwrap_or_default()).text(&e.till).plain(&e.kind).text(&e.title).text(&e.detail);
    csv.text(e.number.as_deref().unwrap_or_default());
    let review = e.review.as_ref();
    csv.text(review.map_or("", |r| &r.by)).moment(review.map(|r| r.at_ms)).text(review.map_or("", |r| &r.note));
    csv.plain(e.order.as_deref().unwrap_or_default()).plain(&e.id);
    csv.text(e.product.as_ref().map_or("", |p| &p.code)).moment(e.settled.as_ref().map(|s| s.at_ms));
    csv.text(e.settled.as_ref().and_then(|s| s.number.as_deref()).unwrap_or_default()).end_row();
}
