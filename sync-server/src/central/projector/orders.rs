//! Sales and refunds into `orders`: all of a batch as one value, an array of the composite type `arriving_order`, written out here.
//!
//! `unnest` over columns, as the other tables have it, cannot take columns that are arrays themselves, and COPY does not go into a table that row-level
//! security guards.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::Transaction;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};

use super::facts::OrderRow;
use crate::central::CentralError;

/// Its fields, in the order of [`fields`].
const TYPE: &str = "arriving_order";

/// Writes orders whose ids were claimed, each with the business day of its shift where that is known.
pub(super) async fn write(tx: &Transaction<'_>, orders: &[OrderRow]) -> Result<(), CentralError> {
    if orders.is_empty() {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO orders (store_id, order_id, kind, device_id, incarnation, receipt_number, shift_id, business_day, staff_id, at_ms, currency,
             tax_mode, total_minor, tax_minor, original_id, reason, reference, central_seq, line_products, line_names, line_quantities_milli,
             line_prices_centi, line_tax_rates_bp, line_amounts_minor, line_originals, tax_rates_bp, tax_nets_minor, tax_amounts_minor,
             payment_methods, payment_amounts_minor, payment_tendered_minor, payment_change_minor)
         SELECT r.store_id, r.order_id, r.kind, r.device_id, r.incarnation, r.receipt_number, r.shift_id, s.business_day, r.staff_id, r.at_ms,
             r.currency, r.tax_mode, r.total_minor, r.tax_minor, r.original_id, r.reason, r.reference, r.central_seq, r.line_products,
             r.line_names, r.line_quantities_milli, r.line_prices_centi, r.line_tax_rates_bp, r.line_amounts_minor, r.line_originals,
             r.tax_rates_bp, r.tax_nets_minor, r.tax_amounts_minor, r.payment_methods, r.payment_amounts_minor, r.payment_tendered_minor,
             r.payment_change_minor
         FROM unnest($1::arriving_order[]) AS r LEFT JOIN shifts AS s USING (store_id, shift_id)",
        &[&Arriving(orders)],
    )
    .await?;
    Ok(())
}

/// The values of an order's row, in the order of the fields of its type.
fn fields(r: &OrderRow) -> [&(dyn ToSql + Sync); 31] {
    [
        &r.store,
        &r.id,
        &r.kind,
        &r.device,
        &r.incarnation,
        &r.receipt_number,
        &r.shift,
        &r.staff,
        &r.at_ms,
        &r.currency,
        &r.tax_mode,
        &r.total_minor,
        &r.tax_minor,
        &r.original,
        &r.reason,
        &r.reference,
        &r.central_seq,
        &r.line_products,
        &r.line_names,
        &r.line_quantities_milli,
        &r.line_prices_centi,
        &r.line_tax_rates_bp,
        &r.line_amounts_minor,
        &r.line_originals,
        &r.tax_rates_bp,
        &r.tax_nets_minor,
        &r.tax_amounts_minor,
        &r.payment_methods,
        &r.payment_amounts_minor,
        &r.payment_tendered_minor,
        &r.payment_change_minor,
    ]
}

/// Orders as PostgreSQL receives an array of composite values: PostgreSQL's `array_recv` and `record_recv`.
#[derive(Debug)]
struct Arriving<'a>(&'a [OrderRow]);

impl ToSql for Arriving<'_> {
    fn to_sql(&self, array: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(of) = array.kind() else { return Err("no array".into()) };
        let Kind::Composite(types) = of.kind() else { return Err("no array of composite values".into()) };
        // One dimension, no element is NULL, elements of this type; so many, counted from 1.
        out.put_i32(1);
        out.put_i32(0);
        out.put_u32(of.oid());
        out.put_i32(i32::try_from(self.0.len())?);
        out.put_i32(1);
        for order in self.0 {
            let values = fields(order);
            if values.len() != types.len() {
                return Err(format!("{TYPE} has {} fields here and {} in the database", values.len(), types.len()).into());
            }
            sized(out, |out| {
                out.put_i32(i32::try_from(types.len())?);
                for (field, value) in types.iter().zip(values) {
                    out.put_u32(field.type_().oid());
                    sized(out, |out| value.to_sql_checked(field.type_(), out))?;
                }
                Ok(IsNull::No)
            })?;
        }
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        matches!(of.kind(), Kind::Array(of) if of.name() == TYPE)
    }

    to_sql_checked!();
}

/// Writes a value behind its length in bytes, or −1 where it is NULL.
fn sized(
    out: &mut BytesMut,
    value: impl FnOnce(&mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>>,
) -> Result<(), Box<dyn Error + Sync + Send>> {
    let at = out.len();
    out.put_i32(0);
    let length = match value(out)? {
        IsNull::No => i32::try_from(out.len() - at - 4)?,
        IsNull::Yes => -1,
    };
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
