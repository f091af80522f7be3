//! Tables as files: CSV as RFC 4180 has it, safe to open in a spreadsheet.
//!
//! Amounts are plain decimals in major units, times are in UTC, ids stand beside names. The last row begins with `coverage` and says what the file covers.

use domain::money::{Currency, format_scaled};
use jiff::Timestamp;

use crate::web_api::Coverage;

/// Rows of a file.
#[derive(Debug, Default)]
pub struct Csv {
    text: String,
    in_row: bool,
}

impl Csv {
    /// A file that begins with a row of names.
    pub fn with_header(names: &[&str]) -> Self {
        let mut csv = Self::default();
        for name in names {
            csv.plain(name);
        }
        csv.end_row();
        csv
    }

    /// Text that somebody typed. A spreadsheet would take one that begins with one of `= + - @` for a formula: such a text gets an
    /// apostrophe in front of it, which a spreadsheet takes for "this is text".
    pub fn text(&mut self, text: &str) -> &mut Self {
        if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { self.plain(&format!("'{text}")) } else { self.plain(text) }
    }

    /// A number, or a text that this program made.
    pub fn plain(&mut self, text: &str) -> &mut Self {
        if std::mem::replace(&mut self.in_row, true) {
            self.text.push(',');
        }
        if text.contains([',', '"', '\r', '\n']) {
            self.text.push('"');
            self.text.push_str(&text.replace('"', "\"\""));
            self.text.push('"');
        } else {
            self.text.push_str(text);
        }
        self
    }

    /// A whole number, or nothing.
    pub fn number(&mut self, number: impl Into<Option<i64>>) -> &mut Self {
        self.plain(&number.into().map_or(String::new(), |n| n.to_string()))
    }

    /// An amount in major units, such as `12.50`, or nothing.
    pub fn amount(&mut self, minor: impl Into<Option<i64>>, exponent: u8) -> &mut Self {
        self.plain(&minor.into().map_or(String::new(), |minor| format_scaled(minor.into(), exponent)))
    }

    /// A quantity in whole pieces, such as `1.500`, or nothing.
    pub fn quantity(&mut self, milli: impl Into<Option<i64>>) -> &mut Self {
        self.amount(milli, 3)
    }

    /// A moment in UTC, such as `2026-03-02T09:00:00Z`, or nothing.
    pub fn moment(&mut self, unix_ms: impl Into<Option<u64>>) -> &mut Self {
        let moment = unix_ms.into().and_then(|ms| Timestamp::from_millisecond(ms.cast_signed()).ok());
        self.plain(&moment.map_or(String::new(), |m| m.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.text.push_str("\r\n");
        self.in_row = false;
    }

    /// The last row.
    pub fn coverage(&mut self, coverage: &Coverage) {
        self.plain("coverage").plain(&coverage.sentence).moment(coverage.asked_at_ms).end_row();
    }

    /// What was written since the last time.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

/// The decimal digits of a currency's minor unit.
pub(super) fn exponent(currency: &str) -> u8 {
    Currency::new(currency).map_or(2, |c| c.exponent())
}

/// A name for a file, from words: letters, digits and dots stay, everything else becomes a dash.
pub fn file_name(words: &[&str]) -> String {
    let words: Vec<String> = words
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect())
        .collect();
    words.join("-") + ".csv"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formula_gets_through() {
        let mut csv = Csv::with_header(&["name", "amount"]);
        csv.text("=HYPERLINK(\"http://evil\",\"x\")").amount(-1_250, 2).end_row();
        csv.text("Milk, 1 l").amount(1, 3).end_row();
        csv.text("two\nlines").amount(None, 2).end_row();
        for guarded in ["+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            csv.text(guarded);
        }
        csv.end_row();
        let text = csv.take();
        assert_eq!(
            text,
            "name,amount\r\n\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\",-12.50\r\n\"Milk, 1 l\",0.001\r\n\"two\nlines\",\r\n'+1,'-1,'@SUM(A1),'\tx,\"'\rx\"\r\n"
        );
        assert_eq!(csv.take(), "");
    }

    #[test]
    fn a_reader_of_csv_reads_it_back() {
        let cells = ["plain", "a,b", "say \"hi\"", "line\r\nbreak", "", "ünïcode"];
        let mut csv = Csv::default();
        for cell in cells {
            csv.text(cell);
        }
        csv.end_row();
        let text = csv.take();
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let row = reader.records().next().expect("a row").expect("reads");
        assert_eq!(row.iter().collect::<Vec<_>>(), cells);
    }

    #[test]
    fn moments_and_names_are_speaking() {
        let mut csv = Csv::default();
        csv.moment(1_772_442_000_000).moment(None).end_row();
        assert_eq!(csv.take(), "2026-03-02T09:00:00Z,\r\n");
        assert_eq!(file_name(&["sales", "by", "tax_rate", "", "S/01"]), "sales-by-tax-rate-S-01.csv");
    }
}
