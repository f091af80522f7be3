//! All products as a file whose columns are those of an import.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use domain::money::{Currency, UnitPrice};
use domain::receipt::format_unit_price;
use futures_util::stream;

use super::Refusal;
use crate::central::catalogue::{self, ExportRow};
use crate::central::{CentralError, Postgres};
use crate::import::COLUMNS;

/// Products read at once.
const ROWS_AT_ONCE: i64 = 5_000;

/// Streams the file: the whole catalogue is never in memory. When the database goes away half way, the transfer breaks off.
pub(super) async fn products(central: Postgres, currency: Option<Currency>) -> Result<Response, Refusal> {
    let currency = currency.ok_or_else(|| Refusal::BadRequest("There is no store yet, and so no prices.".into()))?;
    // The first rows before the answer begins, so that a database that is away is an error and not half a file.
    let first = catalogue::export(&central, None, ROWS_AT_ONCE).await?;
    let mut text = csv::Writer::from_writer(Vec::new());
    text.write_record(COLUMNS).map_err(|_| Refusal::Internal)?;
    let header = text.into_inner().map_err(|_| Refusal::Internal)?;
    let chunks = stream::try_unfold(Some((first, header)), move |at| {
        let central = central.clone();
        async move {
            let Some((rows, mut chunk)) = at else { return Ok::<_, CentralError>(None) };
            chunk.extend(lines(&rows, currency));
            let after = match rows.last() {
                Some(last) if rows.len() as i64 == ROWS_AT_ONCE => Some(last),
                _ => None,
            };
            let next = match after.and_then(|last| Some((last.row.name.clone(), last.row.product.parse().ok()?))) {
                Some(place) => Some((catalogue::export(&central, Some(place), ROWS_AT_ONCE).await?, Vec::new())),
                None => None,
            };
            Ok(Some((chunk, next)))
        }
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"products.csv\""));
    Ok(response)
}

fn lines(rows: &[ExportRow], currency: Currency) -> Vec<u8> {
    let mut text = csv::Writer::from_writer(Vec::new());
    for ExportRow { row, own_rate_bp, tax_class } in rows {
        let rate = if tax_class.is_none() { own_rate_bp.to_string() } else { String::new() };
        let price = format_unit_price(UnitPrice(row.price_centi), currency);
        let barcodes = row.barcodes.join("|");
        let record: [&str; 8] = [
            &row.code,
            &row.name,
            &price,
            &rate,
            tax_class.as_deref().unwrap_or_default(),
            &barcodes,
            &row.category,
            if row.active { "true" } else { "false" },
        ];
        text.write_record(record).expect("writing to a Vec cannot fail");
    }
    text.into_inner().expect("writing to a Vec cannot fail")
}
