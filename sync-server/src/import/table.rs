//! Bytes into rows, with what is wrong by row and column.

use std::collections::{BTreeMap, BTreeSet};

use csv::StringRecord;
use domain::money::Currency;

use super::{COLUMNS, COLUMNS_NEEDED, ROWS_MAX, Row, cells};
use crate::web_api::ImportProblem;

/// The first of what is wrong that is shown.
pub(crate) const PROBLEMS_MAX: usize = 500;
/// How much of a cell is shown, in characters.
const VALUE_CHARS_MAX: usize = 200;

/// A file, read.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Rows that are as they should be.
    pub(super) rows: Vec<Row>,
    /// Rows of the file, the header not counted.
    pub(super) file_rows: u64,
    /// Rows that are not as they should be; the header counts as one when it is not.
    pub(super) wrong: u64,
    /// The first of what is wrong.
    pub(super) problems: Vec<ImportProblem>,
}

impl Table {
    /// The codes of the rows whose barcodes the file says.
    pub(super) fn codes(&self) -> BTreeSet<String> {
        self.rows.iter().filter(|row| row.barcodes.is_some()).map(|row| row.code.clone()).collect()
    }

    fn problem(&mut self, row: u64, column: &str, value: &str, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let value = value.chars().take(VALUE_CHARS_MAX).collect();
            self.problems.push(ImportProblem { row, column: column.to_owned(), value, message: message.into() });
        }
    }

    fn refuse(mut self, row: u64, message: impl Into<String>) -> Self {
        self.wrong += 1;
        self.problem(row, "", "", message);
        self
    }
}

/// Reads a whole file.
pub(super) fn read(bytes: &[u8], currency: Option<Currency>) -> Table {
    let table = Table::default();
    let Some(currency) = currency else {
        return table.refuse(1, "There is no store yet, whose currency says what the prices are in: add one first.");
    };
    let text = match text(bytes) {
        Ok(text) => text,
        Err((row, message)) => return table.refuse(row, message),
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(text)).flexible(true).from_reader(text.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return table.refuse(1, format!("The header cannot be read: {error}.")),
    };
    match Columns::of(&header) {
        Ok(columns) => rows(table, reader, &columns, currency),
        Err(problems) => {
            let mut table = table;
            table.wrong = 1;
            for (column, value, message) in problems {
                table.problem(1, &column, &value, message);
            }
            table
        }
    }
}

/// The text of a file in UTF-8, without its byte order mark; otherwise the row and what is wrong.
fn text(bytes: &[u8]) -> Result<&str, (u64, String)> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((1, "The file is in UTF-16: save it as \"CSV UTF-8\" and bring it again.".to_owned()));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let row = 1 + before.iter().filter(|&&b| b == b'\n').count() as u64;
        (row, "The file is not in UTF-8, seen at a letter of this row: save it as \"CSV UTF-8\" and bring it again.".to_owned())
    })
}

/// What separates the columns: whichever of the three the header has most of.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default().as_bytes();
    let count = |delimiter: u8| header.iter().filter(|&&b| b == delimiter).count();
    [b',', b';', b'\t'].into_iter().rev().max_by_key(|&d| count(d)).unwrap_or(b',')
}

/// Where each column is.
#[derive(Debug)]
struct Columns {
    at: BTreeMap<&'static str, usize>,
    count: usize,
}

type HeaderProblem = (String, String, String);

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, Vec<HeaderProblem>> {
        let mut columns = Self { at: BTreeMap::new(), count: header.len() };
        let mut problems = Vec::new();
        for (at, name) in header.iter().enumerate() {
            let plain = name.trim().to_lowercase().replace([' ', '-'], "_");
            // A column without a name and, if there are any, without values: spreadsheets leave them at the end.
            if plain.is_empty() {
                continue;
            }
            match COLUMNS.into_iter().find(|known| *known == plain) {
                Some(known) if columns.at.contains_key(known) => {
                    problems.push((known.to_owned(), name.to_owned(), "This column is there twice: take one out.".to_owned()));
                }
                Some(known) => drop(columns.at.insert(known, at)),
                None => problems.push((name.to_owned(), name.to_owned(), unknown(&plain))),
            }
        }
        for needed in COLUMNS_NEEDED {
            if !columns.at.contains_key(needed) {
                problems.push((needed.to_owned(), String::new(), format!("The column {needed} is missing from the first row.")));
            }
        }
        if problems.is_empty() { Ok(columns) } else { Err(problems) }
    }

    fn cell<'a>(&self, record: &'a StringRecord, column: &str) -> Option<&'a str> {
        Some(record.get(*self.at.get(column)?).unwrap_or_default())
    }
}

fn unknown(name: &str) -> String {
    let nearest = COLUMNS.into_iter().min_by_key(|known| distance(name, known));
    let other = match name {
        "sku" | "article" | "item" | "id" => Some("code"),
        "title" | "description" | "product" => Some("name"),
        "ean" | "gtin" | "upc" | "ean13" => Some("barcodes"),
        "vat" | "tax" | "tax_rate" => Some("tax_class"),
        "group" | "department" => Some("category"),
        _ => None,
    };
    let near = nearest.filter(|known| distance(name, known) <= 2 || known.starts_with(name) || name.starts_with(known));
    match other.or(near) {
        Some(known) => format!("There is no column {name}; is it {known}?"),
        None => format!("There is no column {name}; the columns are {}.", COLUMNS.join(", ")),
    }
}

/// How many letters must be changed, added or left out to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            row.push((before[j] + usize::from(x != *y)).min(before[j + 1] + 1).min(row[j] + 1));
        }
        before = row;
    }
    before[b.len()]
}

fn rows(mut table: Table, mut reader: csv::Reader<&[u8]>, columns: &Columns, currency: Currency) -> Table {
    let mut record = StringRecord::new();
    // A cell with a line break is one row of a spreadsheet and several lines of the file.
    let mut breaks = 0;
    let (mut codes, mut barcodes) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return table,
            Err(error) => return table.refuse(1, format!("The file cannot be read as CSV: {error}.")),
        }
        let number = record.position().map_or(0, csv::Position::line).saturating_sub(breaks);
        breaks += record.iter().flat_map(str::bytes).filter(|&b| b == b'\n').count() as u64;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        table.file_rows += 1;
        if table.file_rows > ROWS_MAX as u64 {
            return table.refuse(number, format!("The file has more than {ROWS_MAX} rows: split it."));
        }
        match row(&record, number, columns, currency) {
            Ok(row) => {
                let mut twice = Vec::new();
                if let Some(first) = codes.insert(row.code.clone(), number) {
                    twice.push(("code", row.code.clone(), format!("This code is in row {first} already.")));
                }
                if row.active != Some(false) {
                    for barcode in row.barcodes.iter().flatten() {
                        if let Some(first) = barcodes.insert(barcode.clone(), number) {
                            twice.push(("barcodes", barcode.clone(), format!("This barcode is in row {first} already.")));
                        }
                    }
                }
                if twice.is_empty() {
                    table.rows.push(row);
                } else {
                    table.wrong += 1;
                    twice.into_iter().for_each(|(column, value, message)| table.problem(number, column, &value, message));
                }
            }
            Err(problems) => {
                table.wrong += 1;
                problems.into_iter().for_each(|(column, value, message)| table.problem(number, column, value, message));
            }
        }
    }
}

type CellProblem<'a> = (&'static str, &'a str, String);

fn row<'a>(record: &'a StringRecord, number: u64, columns: &Columns, currency: Currency) -> Result<Row, Vec<CellProblem<'a>>> {
    let mut problems: Vec<CellProblem<'a>> = Vec::new();
    if record.len() != columns.count {
        let message = format!(
            "This row has {} columns and the header {}: look for a missing or unquoted sign.",
            record.len(),
            columns.count
        );
        return Err(vec![("", "", message)]);
    }
    let mut read = Cells { record, columns, problems: &mut problems };
    let code = read.needed("code", cells::code);
    let name = read.needed("name", cells::name);
    let price = read.needed("price", |cell| cells::price(cell, currency));
    let class = read.optional("tax_class", cells::tax_class).flatten();
    let rate = read.optional("tax_rate_bp", cells::tax_rate).flatten();
    let barcodes = read.optional("barcodes", cells::barcodes);
    let category = read.optional("category", cells::category);
    let active = read.optional("active", cells::active).flatten();
    if class.is_some() && rate.is_some() {
        let cell = columns.cell(record, "tax_rate_bp").unwrap_or_default();
        problems.push((
            "tax_rate_bp",
            cell,
            "A product has a tax class or a rate of its own: leave one of the two empty.".to_owned(),
        ));
    }
    match (code, name, price, problems.is_empty()) {
        (Some(code), Some(name), Some(price), true) => {
            Ok(Row { number, code, name, price, tax: class.or(rate), barcodes, category, active })
        }
        _ => Err(problems),
    }
}

struct Cells<'a, 'b> {
    record: &'a StringRecord,
    columns: &'b Columns,
    problems: &'b mut Vec<CellProblem<'a>>,
}

impl<'a> Cells<'a, '_> {
    fn needed<T>(&mut self, column: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let cell = self.columns.cell(self.record, column).unwrap_or_default();
        read(cell).map_err(|message| self.problems.push((column, cell, message))).ok()
    }

    fn optional<T>(&mut self, column: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let cell = self.columns.cell(self.record, column)?;
        read(cell).map_err(|message| self.problems.push((column, cell, message))).ok()
    }
}
