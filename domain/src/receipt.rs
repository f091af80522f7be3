//! What a receipt says. How it looks on paper is `hardware`'s business.

use crate::document::Store;
use crate::money::{self, Currency, Quantity, UnitPrice};
use crate::record::{Order, PaymentMethod};
use crate::tax::TaxMode;

/// A receipt in words, in printing order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The first words, one string a line.
    pub header: Vec<String>,
    /// The store's name.
    pub store_name: String,
    /// The store's address, one string a line.
    pub address: Vec<String>,
    /// `None` on the original; the number of the copy otherwise, from 1.
    pub copy: Option<u32>,
    /// Whether money went back.
    pub is_refund: bool,
    /// The receipt number, such as `S01-T03b-000123`.
    pub number: String,
    /// When, as local date and time.
    pub at: String,
    /// Who served.
    pub cashier: String,
    /// The receipt number of the sale that is refunded.
    pub original_number: Option<String>,
    /// Why money went back.
    pub reason: Option<String>,
    /// What was sold.
    pub lines: Vec<ReceiptLine>,
    /// What was owed, with the currency.
    pub total: String,
    /// One row a tax rate: rate, net, tax.
    pub taxes: Vec<[String; 3]>,
    /// Whether the prices above hold the tax.
    pub tax_included: bool,
    /// How it was paid.
    pub payments: Vec<ReceiptPayment>,
    /// The last words, one string a line.
    pub footer: Vec<String>,
}

/// One line of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptLine {
    /// The product's name.
    pub name: String,
    /// Quantity and unit price, unless it was one piece at its price.
    pub detail: Option<String>,
    /// The amount.
    pub amount: String,
}

/// One payment on a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptPayment {
    /// How.
    pub method: PaymentMethod,
    /// What was handed over (or, in a refund, paid out).
    pub handed_over: String,
    /// What was given back, when something was.
    pub change: Option<String>,
}

/// What a receipt needs to know beside the order.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The store.
    pub store: &'a Store,
    /// The receipt number with its series.
    pub number: &'a str,
    /// The local date and time, ready to print.
    pub at: &'a str,
    /// The name of who served.
    pub cashier: &'a str,
    /// The receipt number of the refunded sale, when it is known.
    pub original_number: Option<&'a str>,
    /// `None` for the original, the number of the copy otherwise.
    pub copy: Option<u32>,
}

/// Says an order as a receipt. Nothing is computed anew: every figure is the record's own.
pub fn receipt(order: &Order, is_refund: bool, about: Circumstances<'_>) -> Receipt {
    let amount = |minor: i64| format_amount(minor, order.currency);
    Receipt {
        header: about.store.receipt_header.clone(),
        store_name: about.store.name.clone(),
        address: about.store.address.clone(),
        copy: about.copy,
        is_refund,
        number: about.number.to_owned(),
        at: about.at.to_owned(),
        cashier: about.cashier.to_owned(),
        original_number: about.original_number.map(str::to_owned),
        reason: order.reason.clone(),
        lines: order
            .lines
            .iter()
            .map(|l| ReceiptLine {
                name: l.name.clone(),
                detail: (l.quantity != Quantity::ONE)
                    .then(|| format!("{} × {}", format_quantity(l.quantity), format_unit_price(l.unit_price, order.currency))),
                amount: amount(l.amount_minor),
            })
            .collect(),
        total: format!("{} {}", order.currency, amount(order.total_minor)),
        taxes: order.taxes.iter().map(|t| [format_rate(t.rate_bp), amount(t.net_minor), amount(t.tax_minor)]).collect(),
        tax_included: order.tax_mode == TaxMode::Inclusive,
        payments: order
            .payments
            .iter()
            .map(|p| ReceiptPayment {
                method: p.method,
                handed_over: amount(p.tendered_minor.unwrap_or(p.amount_minor)),
                change: (p.change_minor() != 0).then(|| amount(p.change_minor())),
            })
            .collect(),
        footer: about.store.footer_lines(),
    }
}

/// The receipt number as it is printed: the series of the incarnation and a number of at least six digits.
pub fn receipt_number(series: &str, number: u64) -> String {
    format!("{series}-{number:06}")
}

/// An amount with the currency's decimal places.
pub fn format_amount(minor: i64, currency: Currency) -> String {
    money::format_scaled(minor.into(), currency.exponent())
}

/// A quantity without needless zeros.
pub fn format_quantity(quantity: Quantity) -> String {
    trim(money::format_scaled(quantity.0.into(), 3), 0)
}

/// A unit price with at least the currency's decimal places.
pub fn format_unit_price(price: UnitPrice, currency: Currency) -> String {
    trim(money::format_scaled(price.0.into(), currency.exponent() + 2), currency.exponent().into())
}

/// A tax rate in per cent.
pub fn format_rate(rate_bp: u32) -> String {
    format!("{} %", trim(money::format_scaled(rate_bp.into(), 2), 0))
}

/// Takes trailing zeros off a decimal number, but leaves `least` places.
fn trim(text: String, least: usize) -> String {
    let Some(point) = text.find('.') else { return text };
    let keep = text.trim_end_matches('0').len().max(point + 1 + least);
    text[..keep].trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_a_shop_writes_them() {
        let gbp = Currency::new("GBP").expect("GBP");
        let jpy = Currency::new("JPY").expect("JPY");
        assert_eq!(format_quantity(Quantity(6000)), "6");
        assert_eq!(format_quantity(Quantity(-1234)), "-1.234");
        assert_eq!(format_unit_price(UnitPrice(25500), gbp), "2.55");
        assert_eq!(format_unit_price(UnitPrice(10), gbp), "0.001");
        assert_eq!(format_unit_price(UnitPrice(12000), jpy), "120");
        assert_eq!(format_amount(-1_106_206, gbp), "-11062.06");
        assert_eq!(format_rate(2000), "20 %");
        assert_eq!(format_rate(550), "5.5 %");
        assert_eq!(receipt_number("S01-T03b", 123), "S01-T03b-000123");
    }
}
