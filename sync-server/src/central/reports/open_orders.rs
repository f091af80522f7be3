//! What is parked at tills and not paid.

use domain::money::Currency;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{
    ANSWER_WAIT, Filter, Postgres, ReportError, answer, anywhere, bad_after, bounded, in_time, limit, named_store, snapshot,
    store_by_code, unsigned,
};
use crate::central::coverage;
use crate::web_api::{OpenOrderRow, OpenOrdersPage};

/// A checked question for open orders.
#[derive(Debug, Clone)]
pub struct OpenOrdersQuestion {
    store: Option<String>,
    search: Option<String>,
    after: Option<Place>,
    limit: i64,
}

/// When an order was parked, its store and its id.
type Place = (i64, Uuid, Uuid);

impl OpenOrdersQuestion {
    /// Asks for a page of open orders; `search` finds parts of labels and notes.
    ///
    /// # Errors
    /// Something that no row can be.
    pub fn new(store: Option<&str>, search: Option<&str>, after: Option<&str>, asked: Option<i64>) -> Result<Self, ReportError> {
        let place = |after: &str| {
            let mut parts = after.splitn(3, '.');
            let (at, store, order) = (parts.next()?, parts.next()?, parts.next()?);
            Some((at.parse().ok()?, Uuid::try_parse(store).ok()?, Uuid::try_parse(order).ok()?))
        };
        Ok(Self {
            store: bounded("store", store)?,
            search: bounded("search", search)?.map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()),
            after: after.map(|after| place(after).ok_or_else(bad_after)).transpose()?,
            limit: limit(asked)?,
        })
    }
}

/// A page of open orders.
///
/// # Errors
/// A store that is not there, or a database that does not answer.
pub async fn open_orders(central: &Postgres, question: &OpenOrdersQuestion, now_ms: u64) -> Result<OpenOrdersPage, ReportError> {
    answer!(central, "list open orders", |tx| async {
        let store = named_store(&tx, question.store.as_deref()).await?;
        let (rows, next) = page(&tx, question).await?;
        let next = next.map(|(at, store, order)| format!("{at}.{}.{}", store.simple(), order.simple()));
        let sql = "SELECT count(*) FROM open_orders WHERE status = 'open' AND ($1::uuid IS NULL OR store_id = $1)";
        let open = tx.query_one(sql, &[&store]).await?.get(0);
        Ok(OpenOrdersPage { rows, open, next, coverage: coverage::of(&tx, store, now_ms).await? })
    })
}

async fn page(tx: &Transaction<'_>, question: &OpenOrdersQuestion) -> Result<(Vec<OpenOrderRow>, Option<Place>), ReportError> {
    let mut filter = Filter::default();
    filter.wants("o.status = 'open'");
    if let Some(store) = &question.store {
        let store = filter.takes(store_by_code(tx, store).await?);
        filter.wants(format!("o.store_id = {store}::uuid"));
    }
    if let Some(search) = &question.search {
        let part = filter.takes(anywhere(search));
        filter.wants(format!("(o.label ILIKE {part}::text OR o.note ILIKE {part})"));
    }
    if let Some((at, store, order)) = question.after {
        let (at, store, order) = (filter.takes(at), filter.takes(store), filter.takes(order));
        filter.wants(format!("(o.opened_ms, o.store_id, o.open_order_id) > ({at}::bigint, {store}::uuid, {order}::uuid)"));
    }
    let limit = filter.takes(question.limit + 1);
    let sql = format!(
        "SELECT o.opened_ms, o.store_id, o.open_order_id, COALESCE(s.code, o.store_id::text), o.label, o.note, o.lines, o.total_minor,
             COALESCE(s.currency::text, ''), COALESCE(p.name, ''), o.changed_ms, COALESCE(c.name, '')
         FROM open_orders AS o LEFT JOIN stores AS s ON s.store_id = o.store_id
         LEFT JOIN staff AS p ON p.store_id = o.store_id AND p.staff_id = o.opened_by
         LEFT JOIN staff AS c ON c.store_id = o.store_id AND c.staff_id = o.changed_by
         WHERE {} ORDER BY o.opened_ms, o.store_id, o.open_order_id LIMIT {limit}",
        filter.all()
    );
    let mut found = tx.query(&sql, &filter.values()).await?;
    let more = found.len() as i64 > question.limit;
    found.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
    let last = found.last().filter(|_| more).map(|row| (row.get(0), row.get(1), row.get(2)));
    Ok((found.iter().map(open_order_row).collect(), last))
}

fn open_order_row(row: &Row) -> OpenOrderRow {
    let currency: String = row.get(8);
    OpenOrderRow {
        opened_at_ms: unsigned(row.get(0)),
        open_order: row.get::<_, Uuid>(2).to_string(),
        store: row.get(3),
        label: row.get(4),
        note: row.get(5),
        lines: row.get::<_, i32>(6).into(),
        total_minor: row.get(7),
        exponent: Currency::new(&currency).map_or(2, |c| c.exponent()),
        currency,
        opened_by: row.get(9),
        changed_at_ms: unsigned(row.get(10)),
        changed_by: row.get(11),
    }
}
