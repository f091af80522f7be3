//! One sale or refund to the last detail.

use domain::document::{Store, TIME_ZONE_DEFAULT};
use domain::ids::StoreId;
use domain::receipt::{self, Circumstances, Receipt};
use domain::record::{Order, Record};
use journal::{Body, Entry};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::list::{SALE_ROW, sale_row};
use super::zone::Zone;
use super::{
    ANSWER_WAIT, CentralError, Postgres, ReportError, answer, exceptions, in_time, snapshot, store_by_code, unsigned, zone_of,
};
use crate::web_api::{OrderKind, Proof, ReceiptLineView, ReceiptPaymentView, ReceiptView, SaleDetail, SaleLine, SaleRow};

/// The sale or refund of a store's code and an order's id.
///
/// # Errors
/// When there is none, or when the database does not answer.
pub async fn sale(central: &Postgres, store: &str, order: &str) -> Result<SaleDetail, ReportError> {
    let none = || ReportError::NotFound("There is no such sale. It may not have arrived yet.".into());
    let order = Uuid::try_parse(order).map_err(|_| none())?;
    answer!(central, "show a sale", |tx| async {
        let store = store_by_code(&tx, store).await.map_err(|_| none())?;
        read(&tx, store, order).await?.ok_or_else(none)
    })
}

async fn read(tx: &Transaction<'_>, store: Uuid, order: Uuid) -> Result<Option<SaleDetail>, ReportError> {
    let sql = format!("{SALE_ROW} WHERE o.store_id = $1 AND o.order_id = $2");
    let Some(row) = tx.query_opt(&sql, &[&store, &order]).await? else { return Ok(None) };
    let sale = sale_row(&row);
    let head = tx
        .query_one("SELECT original_id, central_seq FROM orders WHERE store_id = $1 AND order_id = $2", &[&store, &order])
        .await?;
    let original = match head.get::<_, Option<Uuid>>(0) {
        Some(original) => tx.query_opt(&sql, &[&store, &original]).await?.as_ref().map(sale_row),
        None => None,
    };
    let refunds = format!("{SALE_ROW} WHERE o.store_id = $1 AND o.original_id = $2 ORDER BY o.at_ms, o.order_id LIMIT 500");
    let refunds = tx.query(&refunds, &[&store, &order]).await?.iter().map(sale_row).collect();
    let (proof, bytes) = proof(tx, head.get(1)).await?;
    let zone = zone_of(tx, Some(store)).await?;
    let receipt = receipt_view(tx, store, &sale, original.as_ref(), &zone, &bytes).await?;
    Ok(Some(SaleDetail {
        original,
        refunds,
        receipt,
        lines: lines(tx, store, order).await?,
        exceptions: exceptions::of_order(tx, store, order).await?,
        proof,
        sale,
    }))
}

async fn proof(tx: &Transaction<'_>, central_seq: i64) -> Result<(Proof, Vec<u8>), CentralError> {
    let columns = "device, incarnation, scope, seq, commit_no, hash, received_at, bytes, central_seq";
    let sql = format!(
        "SELECT device, incarnation, scope, seq, commit_no, encode(hash, 'hex'),
             (extract(epoch FROM received_at) * 1000)::bigint, bytes
         FROM (SELECT {columns} FROM entries UNION ALL SELECT {columns} FROM forked_entries) AS e WHERE central_seq = $1"
    );
    let row = tx.query_one(&sql, &[&central_seq]).await?;
    let proof = Proof {
        device: row.get::<_, Uuid>(0).to_string(),
        incarnation: row.get::<_, Uuid>(1).to_string(),
        scope: row.get(2),
        seq: row.get(3),
        commit: row.get(4),
        hash: row.get(5),
        received_at_ms: unsigned(row.get(6)),
    };
    Ok((proof, row.get(7)))
}

/// The receipt, in the till's own words, from the signed record.
async fn receipt_view(
    tx: &Transaction<'_>,
    store: Uuid,
    sale: &SaleRow,
    original: Option<&SaleRow>,
    zone: &Zone,
    bytes: &[u8],
) -> Result<ReceiptView, ReportError> {
    let order = order_of(bytes).ok_or(CentralError::Row("the record of a sale"))?;
    let row = tx
        .query_opt("SELECT code, name, address, receipt_header, receipt_footer FROM stores WHERE store_id = $1", &[&store])
        .await?;
    let of_store = store_of(store, &order, row.as_ref());
    let at = zone.local(sale.at_ms);
    let about = Circumstances {
        store: &of_store,
        number: &sale.number,
        at: &at,
        cashier: &sale.cashier,
        original_number: original.map(|o| o.number.as_str()),
        copy: None,
    };
    Ok(view(receipt::receipt(&order, sale.kind == OrderKind::Refund, about)))
}

fn order_of(bytes: &[u8]) -> Option<Order> {
    let Body::Record { kind, version, bytes } = Entry::decode(bytes).ok()?.body else { return None };
    match Record::decode(kind, version, &bytes).ok()?? {
        Record::SaleCompleted(order) | Record::RefundGiven(order) => Some(order),
        _ => None,
    }
}

/// The store as its document says now; what an order says of it while that has not arrived.
fn store_of(id: Uuid, order: &Order, row: Option<&Row>) -> Store {
    let text = |column: &str| row.map(|row| row.get::<_, String>(column)).unwrap_or_default();
    let lines = |column: &str| row.map(|row| row.get::<_, Vec<String>>(column)).unwrap_or_default();
    Store {
        id: StoreId(id),
        code: text("code"),
        name: text("name"),
        address: lines("address"),
        currency: order.currency,
        tax_mode: order.tax_mode,
        receipt_header: lines("receipt_header"),
        receipt_footer: text("receipt_footer"),
        languages: Vec::new(),
        time_zone: TIME_ZONE_DEFAULT.to_owned(),
    }
}

fn view(r: Receipt) -> ReceiptView {
    let line = |l: receipt::ReceiptLine| ReceiptLineView { name: l.name, detail: l.detail, amount: l.amount };
    let payment = |p: receipt::ReceiptPayment| ReceiptPaymentView {
        method: p.method.as_str().to_owned(),
        handed_over: p.handed_over,
        change: p.change,
    };
    ReceiptView {
        store_name: r.store_name,
        address: r.address,
        header: r.header,
        is_refund: r.is_refund,
        number: r.number,
        at: r.at,
        cashier: r.cashier,
        original_number: r.original_number,
        reason: r.reason,
        lines: r.lines.into_iter().map(line).collect(),
        total: r.total,
        taxes: r.taxes,
        tax_included: r.tax_included,
        payments: r.payments.into_iter().map(payment).collect(),
        footer: r.footer,
    }
}

async fn lines(tx: &Transaction<'_>, store: Uuid, order: Uuid) -> Result<Vec<SaleLine>, CentralError> {
    let rows = tx
        .query(
            "SELECT l.product_id, COALESCE(p.code, ''), l.name, COALESCE(p.category, ''), l.quantity_milli, l.unit_price_centi, l.tax_rate_bp,
                 l.amount_minor,
                 (SELECT COALESCE(sum(r.quantity_milli), 0)::bigint FROM refunds AS r
                  WHERE r.store_id = l.store_id AND r.original_id = l.order_id AND r.original_line = l.line)
             FROM order_lines AS l LEFT JOIN products AS p USING (product_id)
             WHERE l.store_id = $1 AND l.order_id = $2 ORDER BY l.line",
            &[&store, &order],
        )
        .await?;
    let line = |row: &Row| SaleLine {
        product: row.get::<_, Uuid>(0).to_string(),
        code: row.get(1),
        name: row.get(2),
        category: row.get(3),
        quantity_milli: row.get(4),
        unit_price_centi: row.get(5),
        tax_rate_bp: row.get(6),
        amount_minor: row.get(7),
        refunded_milli: row.get(8),
    };
    Ok(rows.iter().map(line).collect())
}
