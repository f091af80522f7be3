//! What one cell means.

use std::borrow::Cow;

use domain::document::{BARCODES_MAX, CATEGORY_BYTES_MAX, CODE_BYTES_MAX, NAME_BYTES_MAX, TAX_CLASS_NAME_BYTES_MAX};
use domain::money::{Currency, UnitPrice};
use domain::tax::TAX_RATE_BP_MAX;

/// A row of a file. What a file has no column for is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 1, the header included, as a spreadsheet shows it.
    pub number: u64,
    /// The product's code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// What one costs.
    pub price: UnitPrice,
    /// What it is taxed at.
    pub tax: Option<RowTax>,
    /// What a scanner may read.
    pub barcodes: Option<Vec<String>>,
    /// Its category; empty for none.
    pub category: Option<String>,
    /// Whether it is on sale.
    pub active: Option<bool>,
}

/// What a row says of the tax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowTax {
    /// A rate in basis points.
    Rate(u32),
    /// The name of a tax class.
    Class(String),
}

/// The first letters by which a spreadsheet takes a text for a formula.
const FORMULA_BEGINS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// A text as a cell that no spreadsheet takes for a formula: with an apostrophe in front when it would. A text that has apostrophes there
/// already gets one more, so that [`unguarded`] gives every text back as it was.
pub(crate) fn guarded(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\'').starts_with(FORMULA_BEGINS) { format!("'{text}").into() } else { text.into() }
}

/// The text of a cell that was [`guarded`].
fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if text.trim_start_matches('\'').starts_with(FORMULA_BEGINS) => text,
        _ => cell,
    }
}

/// A text of one line.
pub(super) fn text(cell: &str, bytes_min: usize, bytes_max: usize) -> Result<String, String> {
    line(unguarded(cell.trim()), bytes_min, bytes_max)
}

fn line(text: &str, bytes_min: usize, bytes_max: usize) -> Result<String, String> {
    let text = text.trim();
    match text.len() {
        n if n < bytes_min => Err("This cannot be empty.".to_owned()),
        n if n > bytes_max => Err(format!("This has {n} bytes, and at most {bytes_max} are possible: shorten it.")),
        _ if text.chars().any(char::is_control) => {
            Err("This has control characters, such as a line break: take them out.".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn code(cell: &str) -> Result<String, String> {
    text(cell, 1, CODE_BYTES_MAX)
}

pub(super) fn name(cell: &str) -> Result<String, String> {
    text(cell, 1, NAME_BYTES_MAX)
}

pub(super) fn category(cell: &str) -> Result<String, String> {
    text(cell, 0, CATEGORY_BYTES_MAX)
}

/// A price in major units, with a point for the decimals.
pub(super) fn price(cell: &str, currency: Currency) -> Result<UnitPrice, String> {
    let cell = cell.trim();
    if cell.contains(',') {
        return Err(
            "Prices are written with a point for the decimals and without separators for thousands, such as 1234.50.".to_owned()
        );
    }
    let price = UnitPrice::parse_major(cell, currency)
        .map_err(|e| format!("This is no price in {currency}: {e}. Write it as a number, such as 2.55."))?;
    match price.0 < 0 {
        true => Err("A price cannot be below zero.".to_owned()),
        false => Ok(price),
    }
}

pub(super) fn tax_rate(cell: &str) -> Result<Option<RowTax>, String> {
    match cell.trim() {
        "" => Ok(None),
        cell => match cell.parse() {
            Ok(rate_bp) if rate_bp <= TAX_RATE_BP_MAX => Ok(Some(RowTax::Rate(rate_bp))),
            _ => Err(format!("A tax rate is a whole number of basis points, 0 to {TAX_RATE_BP_MAX}: 20 % is 2000.")),
        },
    }
}

pub(super) fn tax_class(cell: &str) -> Result<Option<RowTax>, String> {
    let class = text(cell, 0, TAX_CLASS_NAME_BYTES_MAX)?;
    Ok((!class.is_empty()).then_some(RowTax::Class(class)))
}

/// Barcodes separated by `|`.
pub(super) fn barcodes(cell: &str) -> Result<Vec<String>, String> {
    let mut all: Vec<String> = Vec::new();
    for barcode in unguarded(cell.trim()).split('|').map(str::trim).filter(|barcode| !barcode.is_empty()) {
        let barcode = line(barcode, 1, CODE_BYTES_MAX)?;
        if !all.contains(&barcode) {
            all.push(barcode);
        }
    }
    match all.len() {
        0..=BARCODES_MAX => Ok(all),
        n => Err(format!("A product has at most {BARCODES_MAX} barcodes, this one has {n}.")),
    }
}

pub(super) fn active(cell: &str) -> Result<Option<bool>, String> {
    match cell.trim().to_lowercase().as_str() {
        "" => Ok(None),
        "true" | "yes" | "1" => Ok(Some(true)),
        "false" | "no" | "0" => Ok(Some(false)),
        _ => Err("Whether a product is on sale is written as true or false.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_every_text_comes_back() {
        for (text, cell) in [
            ("Tea", "Tea"),
            ("=1+1", "'=1+1"),
            ("+49 tea", "'+49 tea"),
            ("-5 °C", "'-5 °C"),
            ("@home", "'@home"),
            ("'=1+1", "''=1+1"),
            ("''-", "'''-"),
            ("'s-Gravenhage", "'s-Gravenhage"),
            ("'", "'"),
            ("''", "''"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!((guarded(text), unguarded(cell)), (cell.into(), text));
        }
        assert_eq!(barcodes("'=1|'=2| -3").expect("barcodes"), ["=1", "'=2", "-3"]);
        assert_eq!(name(" '=1+1 ").expect("a name"), "=1+1");
        assert_eq!(name("'= ").expect("a name"), "=");
    }
}
