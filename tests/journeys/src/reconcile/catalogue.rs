//! The catalogue that a file of invoices implies: one product a stock code.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};

use super::invoices::InvoiceLine;
use super::sums;

/// The tax rate of every product, in basis points; prices include it.
pub const TAX_RATE_BP: u32 = 2_000;

/// Products by stock code; `82613A` and `82613a` are two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue(BTreeMap<String, Product>);

/// One product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The commonest description of its rows, or the code when no row has one.
    pub name: String,
    /// The median price of its rows (the lower one of two), in hundredths of a minor unit.
    pub unit_price: i64,
}

impl Catalogue {
    /// The catalogue of some rows.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a InvoiceLine>) -> Self {
        let mut rows = BTreeMap::<&str, (BTreeMap<&str, u64>, Vec<i64>)>::new();
        for line in lines {
            let (names, prices) = rows.entry(&line.code).or_default();
            prices.push(line.unit_price);
            if !line.description.is_empty() {
                *names.entry(&line.description).or_default() += 1;
            }
        }
        let product = |(code, (names, prices)): (&str, (BTreeMap<&str, u64>, Vec<i64>))| {
            let name = commonest(&names).unwrap_or(code).to_owned();
            (code.to_owned(), Product { name, unit_price: median(prices) })
        };
        Self(rows.into_iter().map(product).collect())
    }

    /// The product of a code.
    pub fn get(&self, code: &str) -> Option<&Product> {
        self.0.get(code)
    }

    /// How many products.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no product.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The code that is imported last.
    pub fn last_code(&self) -> Option<&str> {
        self.0.last_key_value().map(|(code, _)| code.as_str())
    }

    /// Writes the file that `products import` reads: `code,name,price,tax_rate_bp`, prices in major units.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_csv(&self, to: impl Write) -> Result<()> {
        let mut rows = csv::Writer::from_writer(to);
        rows.write_record(["code", "name", "price", "tax_rate_bp"])?;
        for (code, product) in &self.0 {
            let price = sums::readable(product.unit_price.into(), 4).replace(',', "");
            rows.write_record([code, &product.name, &price, &TAX_RATE_BP.to_string()])?;
        }
        rows.flush().context("the catalogue cannot be written")
    }
}

/// Of two that are equally common, the first by the alphabet.
fn commonest<'a>(names: &BTreeMap<&'a str, u64>) -> Option<&'a str> {
    let most = names.values().max()?;
    names.iter().find(|(_, count)| *count == most).map(|(name, _)| *name)
}

fn median(mut prices: Vec<i64>) -> i64 {
    prices.sort_unstable();
    prices.get(prices.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(code: &str, description: &str, unit_price: i64) -> InvoiceLine {
        InvoiceLine { row: 2, code: code.to_owned(), description: description.to_owned(), quantity_milli: 1_000, unit_price }
    }

    #[test]
    fn a_product_has_its_commonest_name_and_median_price() {
        let rows = [
            line("82613A", "METAL SIGN", 12_500),
            line("82613A", "damages", 0),
            line("82613A", "METAL SIGN", 10),
            line("82613A", "", 42_100),
            line("82613a", "", 1_234_500),
        ];
        let catalogue = Catalogue::of(&rows);
        let mut csv = Vec::new();
        catalogue.write_csv(&mut csv).expect("write");
        let expected = "code,name,price,tax_rate_bp\n82613A,METAL SIGN,0.001,2000\n82613a,82613a,123.45,2000\n";
        assert_eq!(String::from_utf8(csv).expect("text"), expected);
        assert_eq!((catalogue.len(), catalogue.last_code()), (2, Some("82613a")));
    }

    #[test]
    fn names_that_are_equally_common_come_by_the_alphabet() {
        let catalogue = Catalogue::of(&[line("M", "Manual", 100), line("M", "Hand", 100)]);
        assert_eq!(catalogue.get("M").map(|p| p.name.as_str()), Some("Hand"));
    }
}
