//! What was paid for twice, and giving it back.

use std::collections::BTreeMap;

use domain::ids::OrderId;
use domain::money::Quantity;
use domain::open_order::{Goods, OpenOrder, OpenOrderException};
use domain::staff::Permission;

use super::Till;
use super::cart::stale_order;
use crate::api::{ApiError, ApiErrorCode as Code, RefundLine};
use crate::store::orders::{self, OrderRow};
use crate::store::{StoreError, open_orders};

/// Why such a refund was given, as its receipt says.
const REASON: &str = "paid twice";

/// What a sale sold that another one sold too, and that has not come back.
pub(super) struct SecondPayment {
    /// What the open order is called by.
    pub(super) label: String,
    /// The sales of the same goods, this one among them.
    pub(super) sales: Vec<OrderId>,
    /// Lines of the sale and how much of each.
    pub(super) lines: Vec<(usize, Quantity)>,
}

impl Till {
    /// Gives back in cash what a sale sold that another one sold too.
    pub(super) fn refund_second_payment(&mut self, refund: OrderId, sale: OrderId) -> Result<(), ApiError> {
        if orders::order(self.db()?, refund)?.is_some() {
            return self.refund_sale(refund, sale, &[], REASON);
        }
        self.permitted(Permission::RefundPayment)?;
        let row = orders::order(self.db()?, sale)?.filter(|row| !row.is_refund).ok_or_else(stale_order)?;
        let none = || {
            ApiError::new(Code::NothingToRefund, "this sale was not paid twice, or that was given back already: look at it again")
        };
        let second = self.second_payment(&row)?.ok_or_else(none)?;
        let lines: Vec<RefundLine> =
            second.lines.iter().map(|(line, quantity)| RefundLine { line: *line, quantity_milli: quantity.0 }).collect();
        self.refund_sale(refund, sale, &lines, REASON)
    }

    /// What of a sale is to be given back because another one sold the same goods of an open order.
    pub(super) fn second_payment(&self, row: &OrderRow) -> Result<Option<SecondPayment>, ApiError> {
        let db = self.db()?;
        for id in open_orders::paid_beside_others(db, row.id)? {
            let order = self.open_order(id)?;
            // The sales of an open order stay for as long as that does.
            let Some((_, sale)) = orders::read_order(db, row.entry)? else { continue };
            let refunded = orders::refunded(db, row.id, sale.lines.len())?;
            let lines = order.to_give_back(&sale, &refunded, &self.returned(&order)?);
            let sales = order.exceptions().into_iter().find_map(|exception| match exception {
                OpenOrderException::PaidTwice { sales, .. } => Some(sales),
                _ => None,
            });
            if let (Some(sales), false) = (sales, lines.is_empty()) {
                return Ok(Some(SecondPayment { label: order.label, sales, lines }));
            }
        }
        Ok(None)
    }

    /// Whether a sale is one of several that sold the same goods, of which too little came back so far. Cheap for the many that paid no open order.
    pub(super) fn is_paid_twice(&self, row: &OrderRow) -> Result<bool, ApiError> {
        Ok(self.second_payment(row)?.is_some())
    }

    /// What came back of all sales of an open order, as far as this till knows.
    fn returned(&self, order: &OpenOrder) -> Result<Goods, StoreError> {
        let db = self.db()?;
        let mut goods: Goods = BTreeMap::new();
        for payment in &order.payments {
            let Some(row) = orders::order(db, payment.sale)? else { continue };
            let Some((_, sale)) = orders::read_order(db, row.entry)? else { continue };
            for (line, back) in sale.lines.iter().zip(orders::refunded(db, row.id, sale.lines.len())?) {
                let sum = goods.entry(line.product).or_insert(Quantity(0));
                sum.0 = sum.0.saturating_add(back.0);
            }
        }
        Ok(goods)
    }
}
