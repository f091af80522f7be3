//! All products as a file whose columns are those of an import.

use axum::body::Body;
use axum::response::Response;
use domain::money::{Currency, UnitPrice};
use domain::receipt::format_unit_price;
use futures_util::stream;

use super::{Refusal, WebState, currency};
use crate::central::CentralError;
use crate::central::catalogue::{self, ExportRow, PIECE_ROWS};
use crate::import::{COLUMNS, guarded};
use crate::web::reports::{file, turn};

/// Why a file breaks off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Central(#[from] CentralError),
    #[error("the reader of a file takes too long")]
    Reader,
}

/// Streams the file, as of one moment: the whole catalogue is never in memory. When the database goes away half way, the transfer breaks off.
pub(super) async fn products(state: &WebState) -> Result<Response, Refusal> {
    let turn = turn(state)?;
    let currency = currency(state).await?;
    let currency = currency.ok_or_else(|| Refusal::BadRequest("There is no store yet, and so no prices.".into()))?;
    let mut pieces = catalogue::export(state.shared.central.clone());
    // The first rows before the answer begins, so that a database that is away is an error and not half a file.
    let first = pieces.recv().await.ok_or(Refusal::Internal)??;
    let mut text = csv::Writer::from_writer(Vec::new());
    text.write_record(COLUMNS).map_err(|_| Refusal::Internal)?;
    let header = text.into_inner().map_err(|_| Refusal::Internal)?;
    let chunks = stream::try_unfold((Some((header, first)), pieces, turn), move |(at, mut pieces, turn)| async move {
        let Some((mut chunk, rows)) = at else { return Ok::<_, Broken>(None) };
        chunk.extend(lines(&rows, currency));
        let next = match rows.len() as i64 == PIECE_ROWS {
            true => Some((Vec::new(), pieces.recv().await.ok_or(Broken::Reader)??)),
            false => None,
        };
        Ok(Some((chunk, (next, pieces, turn))))
    });
    Ok(file("products.csv", Body::from_stream(chunks)))
}

fn lines(rows: &[ExportRow], currency: Currency) -> Vec<u8> {
    let mut text = csv::Writer::from_writer(Vec::new());
    for ExportRow { row, own_rate_bp, tax_class } in rows {
        let rate = if tax_class.is_none() { own_rate_bp.to_string() } else { String::new() };
        let price = format_unit_price(UnitPrice(row.price_centi), currency);
        let barcodes = row.barcodes.join("|");
        let record: [&str; 8] = [
            &guarded(&row.code),
            &guarded(&row.name),
            &price,
            &rate,
            &guarded(tax_class.as_deref().unwrap_or_default()),
            &guarded(&barcodes),
            &guarded(&row.category),
            if row.active { "true" } else { "false" },
        ];
        text.write_record(record).expect("writing to a Vec cannot fail");
    }
    text.into_inner().expect("writing to a Vec cannot fail")
}
