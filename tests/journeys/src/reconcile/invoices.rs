//! Invoice lines in the column format of the UCI "Online Retail" data, read into invoices.
//!
//! One header line, then one line of an invoice a row: `InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,
//! CustomerID,Country`. Plain or gzip, LF or CRLF, with or without a byte order mark. Rows of one invoice may stand apart;
//! they are one invoice, at the place and date of the first. Customer and country are not read: nothing downstream keeps them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use jiff::civil::Date;

/// Most rows of a file.
pub const ROWS_MAX: u64 = 2_000_000;
/// Most bytes of a file, unpacked.
pub const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest invoice number and stock code, in bytes.
pub const CODE_BYTES_MAX: usize = 64;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_000;
/// Largest quantity either way, in thousandths.
pub const QUANTITY_MILLI_MAX: i64 = 1_000_000_000;
/// Largest unit price either way, in hundredths of a minor unit.
pub const UNIT_PRICE_MAX: i64 = 100_000_000_000;
/// Largest amount of one row either way, in hundred-thousandths of a minor unit.
pub const AMOUNT_MAX: i128 = 10_000_000_000 * super::sums::EXACT_PER_MINOR;

const COLUMNS: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// One invoice, with its rows in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its number, such as `536365`, `C536379` or `A563185`.
    pub number: String,
    /// The date of its first row.
    pub day: Date,
    /// Its rows.
    pub lines: Vec<InvoiceLine>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceLine {
    /// Where it stands in the file, the header being row 1; empty lines do not count.
    pub row: u64,
    /// The stock code; its case matters.
    pub code: String,
    /// The description, without the space around it; may be empty.
    pub description: String,
    /// How much, in thousandths; negative in cancellations and corrections, never zero.
    pub quantity_milli: i64,
    /// What one costs, in hundredths of a minor unit.
    pub unit_price: i64,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    /// The file does not open, or breaks off.
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
    /// The first line is not the header.
    #[error("row 1: the header must be {}, not {found:?}", COLUMNS.join(","))]
    Header {
        /// What stands there.
        found: String,
    },
    /// A row breaks the format.
    #[error("row {row}: {what}")]
    Row {
        /// Which, the header being row 1.
        row: u64,
        /// What is wrong with it.
        what: String,
    },
    /// More rows or bytes than are read.
    #[error("the file has more than {ROWS_MAX} rows or {BYTES_MAX} bytes (reading stopped at row {row})")]
    TooLarge {
        /// Where reading stopped.
        row: u64,
    },
}

/// Reads a file, unpacking it when it begins like gzip.
///
/// # Errors
/// See [`InvoiceError`].
pub fn read_file(path: &Path) -> Result<Vec<Invoice>, InvoiceError> {
    let mut raw = BufReader::new(File::open(path)?);
    let is_gzip = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if is_gzip { read(MultiGzDecoder::new(raw)) } else { read(raw) }
}

/// Reads invoices from plain text.
///
/// # Errors
/// See [`InvoiceError`].
pub fn read(text: impl Read) -> Result<Vec<Invoice>, InvoiceError> {
    let bounded = text.take(BYTES_MAX + 1);
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(BufReader::new(bounded));
    let mut fields = csv::ByteRecord::new();
    if !rows.read_byte_record(&mut fields).map_err(unreadable)? {
        return Err(InvoiceError::Header { found: String::new() });
    }
    check_header(&fields)?;

    let mut invoices: Vec<Invoice> = Vec::new();
    let mut places = BTreeMap::<String, usize>::new();
    let mut row = 1;
    while rows.read_byte_record(&mut fields).map_err(unreadable)? {
        row += 1;
        if row > ROWS_MAX || rows.position().byte() > BYTES_MAX {
            return Err(InvoiceError::TooLarge { row });
        }
        let (number, day, line) = parse_row(row, &fields).map_err(|what| InvoiceError::Row { row, what })?;
        match places.get(&number) {
            Some(&at) => invoices[at].lines.push(line),
            None => {
                places.insert(number.clone(), invoices.len());
                invoices.push(Invoice { number, day, lines: vec![line] });
            }
        }
    }
    Ok(invoices)
}

/// Bytes of any kind and rows of any length are read as they are, so only the file itself can fail.
fn unreadable(error: csv::Error) -> InvoiceError {
    match error.into_kind() {
        csv::ErrorKind::Io(io) => InvoiceError::Io(io),
        other => InvoiceError::Io(std::io::Error::other(format!("{other:?}"))),
    }
}

fn check_header(fields: &csv::ByteRecord) -> Result<(), InvoiceError> {
    let named = fields.iter().enumerate().all(|(at, field)| {
        let field = if at == 0 { field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field) } else { field };
        COLUMNS.get(at).is_some_and(|name| field == name.as_bytes())
    });
    if named && fields.len() == COLUMNS.len() {
        return Ok(());
    }
    let found = fields.iter().map(|f| String::from_utf8_lossy(f)).collect::<Vec<_>>().join(",");
    Err(InvoiceError::Header { found: found.chars().take(200).collect() })
}

fn parse_row(row: u64, fields: &csv::ByteRecord) -> Result<(String, Date, InvoiceLine), String> {
    if fields.len() != COLUMNS.len() {
        return Err(format!("{} fields instead of {}", fields.len(), COLUMNS.len()));
    }
    let text = |at: usize| {
        let field = std::str::from_utf8(&fields[at]).map_err(|_| format!("{} is not UTF-8", COLUMNS[at]))?;
        Ok::<_, String>(field.trim())
    };
    let number = bounded(0, text(0)?, 1, CODE_BYTES_MAX)?;
    let code = bounded(1, text(1)?, 1, CODE_BYTES_MAX)?;
    let description = bounded(2, text(2)?, 0, DESCRIPTION_BYTES_MAX)?;
    let quantity_milli = scaled(3, text(3)?, 3, QUANTITY_MILLI_MAX)?;
    if quantity_milli == 0 {
        return Err("Quantity is zero: such a line says nothing and no record can hold it".to_owned());
    }
    let day = day_of(text(4)?)?;
    let unit_price = scaled(5, text(5)?, 4, UNIT_PRICE_MAX)?;
    if (i128::from(quantity_milli) * i128::from(unit_price)).abs() > AMOUNT_MAX {
        return Err("Quantity × UnitPrice is out of bounds".to_owned());
    }
    Ok((number, day, InvoiceLine { row, code, description, quantity_milli, unit_price }))
}

fn bounded(column: usize, text: &str, bytes_min: usize, bytes_max: usize) -> Result<String, String> {
    let name = COLUMNS[column];
    if text.len() < bytes_min {
        return Err(format!("{name} is empty"));
    }
    if text.len() > bytes_max {
        return Err(format!("{name} has more than {bytes_max} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{name} holds a control character"));
    }
    Ok(text.to_owned())
}

/// A decimal number as a whole number of 10^-`places`, exactly.
fn scaled(column: usize, text: &str, places: usize, max: i64) -> Result<i64, String> {
    let wrong = || format!("{} {text:?} is not a number with at most {places} decimal places", COLUMNS[column]);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_number = !whole.is_empty() && (whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit());
    if !is_number || fraction.len() > places {
        return Err(wrong());
    }
    let magnitude: i64 = format!("{whole}{fraction:0<places$}").parse().map_err(|_| wrong())?;
    if magnitude > max {
        return Err(format!("{} {text} is out of bounds", COLUMNS[column]));
    }
    Ok(if text.starts_with('-') { -magnitude } else { magnitude })
}

fn day_of(text: &str) -> Result<Date, String> {
    let wrong = || format!("InvoiceDate {text:?} is not YYYY-MM-DD HH:MM:SS");
    let at: jiff::civil::DateTime = text.parse().map_err(|_| wrong())?;
    if text.len() != "2010-12-01 08:26:00".len() {
        return Err(wrong());
    }
    Ok(at.date())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    fn row(text: &str) -> Result<Vec<Invoice>, InvoiceError> {
        read(format!("{HEADER}{text}\n").as_bytes())
    }

    #[test]
    fn a_row_becomes_whole_numbers() {
        let invoices = row("536365,85123A, WHITE HANGING HEART ,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom").expect("row");
        let expected = InvoiceLine {
            row: 2,
            code: "85123A".to_owned(),
            description: "WHITE HANGING HEART".to_owned(),
            quantity_milli: 6_000,
            unit_price: 25_500,
        };
        assert_eq!(invoices.len(), 1);
        assert_eq!((invoices[0].number.as_str(), invoices[0].day), ("536365", jiff::civil::date(2010, 12, 1)));
        assert_eq!(invoices[0].lines, [expected]);
    }

    #[test]
    fn quantities_and_prices_reach_their_real_extremes() {
        for (quantity, price, milli, hundredths) in [
            ("-74215", "1.04", -74_215_000, 10_400),
            ("1", "-11062.06", 1_000, -110_620_600),
            ("-1", "38970.0", -1_000, 389_700_000),
            ("5", "0.001", 5_000, 10),
            ("0.250", "0.0", 250, 0),
            ("1", "2.5500000", 1_000, 25_500),
        ] {
            let invoices = row(&format!("1,A,,{quantity},2011-08-12 14:50:00,{price},,UK")).expect("row");
            let line = &invoices[0].lines[0];
            assert_eq!((line.quantity_milli, line.unit_price), (milli, hundredths));
        }
    }

    #[test]
    fn rows_of_one_invoice_may_stand_apart() {
        let text = "1,A,,1,2011-01-01 09:00:00,1.0,,UK\n2,B,,1,2011-01-02 09:00:00,1.0,,UK\n1,C,,1,2011-01-03 09:00:00,1.0,,UK";
        let invoices = row(text).expect("rows");
        let shape: Vec<_> = invoices.iter().map(|i| (i.number.as_str(), i.day.day(), i.lines.len())).collect();
        assert_eq!(shape, [("1", 1, 2), ("2", 2, 1)]);
        assert_eq!(invoices[0].lines[1].row, 4);
    }

    #[test]
    fn line_ends_quotes_and_packing_make_no_difference() {
        let plain = format!("{HEADER}1,A,\"BOX, \"\"SMALL\"\"\",1,2011-01-01 09:00:00,1.0,,UK\n");
        let expected = read(plain.as_bytes()).expect("plain");
        assert_eq!(expected[0].lines[0].description, "BOX, \"SMALL\"");
        assert_eq!(read(plain.replace('\n', "\r\n").as_bytes()).expect("CRLF"), expected);
        assert_eq!(read(plain.trim_end().as_bytes()).expect("no end of line"), expected);
        assert_eq!(read(format!("\u{feff}{plain}").as_bytes()).expect("byte order mark"), expected);

        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("invoices");
        let mut gzip = flate2::write::GzEncoder::new(File::create(&path).expect("file"), flate2::Compression::fast());
        gzip.write_all(plain.as_bytes()).expect("write");
        gzip.finish().expect("finish");
        assert_eq!(read_file(&path).expect("gzip"), expected);
    }

    #[test]
    fn each_fault_is_named_with_its_row() {
        for (text, part) in [
            ("1,A,,1,2011-01-01 09:00:00,1.0,UK", "row 2: 7 fields instead of 8"),
            (",A,,1,2011-01-01 09:00:00,1.0,,UK", "row 2: InvoiceNo is empty"),
            ("1,,,1,2011-01-01 09:00:00,1.0,,UK", "row 2: StockCode is empty"),
            ("1,A,,0,2011-01-01 09:00:00,1.0,,UK", "row 2: Quantity is zero"),
            ("1,A,,one,2011-01-01 09:00:00,1.0,,UK", "row 2: Quantity \"one\" is not a number"),
            ("1,A,,1,2011-02-30 09:00:00,1.0,,UK", "row 2: InvoiceDate"),
            ("1,A,,1,2011-01-01,1.0,,UK", "row 2: InvoiceDate"),
            ("1,A,,1,2011-01-01 09:00:00,1.00001,,UK", "row 2: UnitPrice \"1.00001\" is not a number"),
            ("1,A,,1,2011-01-01 09:00:00,1e3,,UK", "row 2: UnitPrice \"1e3\" is not a number"),
            ("1,A,,1,2011-01-01 09:00:00,99999999999999999999,,UK", "row 2: UnitPrice"),
            ("1,A,,1000001,2011-01-01 09:00:00,1.0,,UK", "row 2: Quantity 1000001 is out of bounds"),
            ("1,A,,1000000,2011-01-01 09:00:00,1000.0,,UK", "row 2: Quantity × UnitPrice is out of bounds"),
            ("1,A,\"x\ty\",1,2011-01-01 09:00:00,1.0,,UK", "row 2: Description holds a control character"),
            ("1,A,,1,2011-01-01 09:00:00,1.0,,UK\n2,A,,1,,1.0,,UK", "row 3: InvoiceDate"),
        ] {
            let error = row(text).expect_err(text).to_string();
            assert!(error.starts_with(part), "{text}: {error}");
        }
        let long = "X".repeat(CODE_BYTES_MAX + 1);
        assert!(row(&format!("1,{long},,1,2011-01-01 09:00:00,1.0,,UK")).is_err());
    }

    #[test]
    fn a_file_of_another_shape_is_refused_at_its_header() {
        for text in ["", "code,name,price\n1,2,3\n", &HEADER.replace("UnitPrice", "Price"), &HEADER.replace("\n", ",Extra\n")] {
            let error = read(text.as_bytes()).expect_err("header");
            assert!(matches!(error, InvoiceError::Header { .. }), "{error}");
        }
        assert_eq!(read(HEADER.as_bytes()).expect("no rows"), []);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend_from_slice(b"1,A,\xff,1,2011-01-01 09:00:00,1.0,,UK\n");
        let error = read(bytes.as_slice()).expect_err("not UTF-8").to_string();
        assert_eq!(error, "row 2: Description is not UTF-8");
    }
}
