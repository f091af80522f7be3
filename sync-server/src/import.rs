//! Products from a CSV file: read whole and checked before anything is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use domain::document::{BARCODES_MAX, CODE_BYTES_MAX, NAME_BYTES_MAX};
use domain::money::{Currency, MoneyError, UnitPrice};
use domain::tax::TAX_RATE_BP_MAX;
use serde::Deserialize;

use crate::region::ProductRow;

/// Largest file in bytes.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most products of one file.
pub const ROWS_MAX: usize = 1_000_000;

/// Why no product was read. Rows count from 1, the header included, as a spreadsheet shows them.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] csv::Error),
    /// Larger than the bound.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes or has more than {ROWS_MAX} rows: split it", .0.display())]
    TooLarge(PathBuf),
    /// A row that is not as it should be.
    #[error("row {row}: {why}")]
    Row {
        /// The row.
        row: usize,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
struct Row {
    code: String,
    name: String,
    price: String,
    tax_rate_bp: u32,
    #[serde(default)]
    barcodes: String,
}

/// Reads all products of a file, or none.
///
/// # Errors
/// The first row that is not as it should be.
pub fn read_products(path: &Path, currency: Currency) -> Result<Vec<ProductRow>, ImportError> {
    let read_error = |e| ImportError::Read(path.to_owned(), e);
    let size = std::fs::metadata(path).map_err(|e| read_error(e.into()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(ImportError::TooLarge(path.to_owned()));
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_path(path).map_err(read_error)?;
    let mut codes = BTreeSet::new();
    let mut products = Vec::new();
    for (at, row) in reader.deserialize::<Row>().enumerate() {
        let row_error = |why: String| ImportError::Row { row: at + 2, why };
        if at >= ROWS_MAX {
            return Err(ImportError::TooLarge(path.to_owned()));
        }
        let row = row.map_err(|e| row_error(e.to_string()))?;
        if !codes.insert(row.code.clone()) {
            return Err(row_error(format!("code {:?} is in the file twice", row.code)));
        }
        products.push(product(row, currency).map_err(row_error)?);
    }
    Ok(products)
}

fn product(row: Row, currency: Currency) -> Result<ProductRow, String> {
    let within = |what: &str, text: &str, most: usize| match text.len() {
        0 => Err(format!("{what} is empty")),
        n if n > most => Err(format!("{what} is longer than {most} bytes")),
        _ if text.chars().any(char::is_control) => Err(format!("{what} has control characters")),
        _ => Ok(()),
    };
    within("code", &row.code, CODE_BYTES_MAX)?;
    within("name", &row.name, NAME_BYTES_MAX)?;
    let barcodes: Vec<String> = row.barcodes.split('|').filter(|b| !b.is_empty()).map(str::to_owned).collect();
    if barcodes.len() > BARCODES_MAX {
        return Err(format!("more than {BARCODES_MAX} barcodes"));
    }
    barcodes.iter().try_for_each(|b| within("a barcode", b, CODE_BYTES_MAX))?;
    if row.tax_rate_bp > TAX_RATE_BP_MAX {
        return Err(format!("a tax rate is 0 to {TAX_RATE_BP_MAX} basis points"));
    }
    let price = UnitPrice::parse_major(&row.price, currency).map_err(|e: MoneyError| format!("price {:?}: {e}", row.price))?;
    if price.0 < 0 {
        return Err("a price below zero".to_owned());
    }
    Ok(ProductRow { code: row.code, name: row.name, price, tax_rate_bp: row.tax_rate_bp, barcodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<ProductRow>, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("products.csv");
        std::fs::write(&path, text).expect("write");
        read_products(&path, Currency::new("GBP").expect("GBP")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let good =
            "code,name,price,tax_rate_bp,barcodes\n85123A,HEART,2.55,2000,4006381333931|1\n85123a,\"Heart, small\",0.001,0,\n";
        let rows = read(good).expect("reads");
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].price, rows[0].barcodes.len(), rows[1].price, rows[1].name.as_str()),
            (UnitPrice(25500), 2, UnitPrice(10), "Heart, small")
        );
        for (row, expected) in [
            ("A,x,1.2.3,0,", "row 4: price \"1.2.3\""),
            ("A,x,\"1.234,56\",0,", "row 4: price"),
            ("A,x,-1,0,", "row 4: a price below zero"),
            ("A,x,1,10001,", "row 4: a tax rate"),
            ("A,,1,0,", "row 4: name is empty"),
            ("A,\"x\u{1b}p\",1,0,", "row 4: name has control characters"),
            ("85123A,x,1,0,", "row 4: code \"85123A\" is in the file twice"),
            ("A,x,1", "row 4: "),
        ] {
            let error = read(&format!("{good}{row}\n")).expect_err(row);
            assert!(error.starts_with(expected), "{error} is not {expected}");
        }
        assert!(read("code,name\nA,b\n").expect_err("columns").starts_with("row 2: "));
    }
}
