//! The table that is printed in the end, and whether it agrees.

use std::fmt;

use super::plan::Share;
use super::sums::{self, Sums};

/// One row: who says so, what they say, and what they should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose figures they are.
    pub source: String,
    /// Lines and their sums.
    pub sums: Sums,
    /// Sales and refunds, where they are counted.
    pub orders: Option<u64>,
    /// What the file says they must be.
    pub expected: Share,
}

impl Row {
    /// Whether the figures are the file's.
    pub fn agrees(&self) -> bool {
        self.sums == self.expected.sums && self.orders.is_none_or(|orders| orders == self.expected.orders)
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// In the order of printing.
    pub rows: Vec<Row>,
}

impl Table {
    /// Adds a row.
    pub fn push(&mut self, source: impl Into<String>, sums: Sums, orders: Option<u64>, expected: Share) {
        self.rows.push(Row { source: source.into(), sums, orders, expected });
    }

    /// Whether every row is what the file says.
    pub fn agrees(&self) -> bool {
        self.rows.iter().all(Row::agrees)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["", "lines", "sum of rounded lines", "exact sum", "orders", ""].map(str::to_owned);
        let cells: Vec<[String; 6]> = std::iter::once(header).chain(self.rows.iter().map(cells_of)).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        for row in &cells {
            let [source, lines, rounded, exact, orders, verdict] = row;
            let text = format!(
                "{source:<w0$}  {lines:>w1$}  {rounded:>w2$}  {exact:>w3$}  {orders:>w4$}  {verdict}",
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2],
                w3 = widths[3],
                w4 = widths[4],
            );
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn cells_of(row: &Row) -> [String; 6] {
    let Sums { lines, rounded_minor, exact } = row.sums;
    let verdict = if row.agrees() { "agrees" } else { "DIFFERS" };
    [
        row.source.clone(),
        sums::readable(lines.into(), 0),
        sums::readable(rounded_minor, 2),
        sums::readable(exact, 7),
        row.orders.map(|orders| sums::readable(orders.into(), 0)).unwrap_or_default(),
        verdict.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(lines: u64, rounded_minor: i128, exact: i128) -> Share {
        Share { sums: Sums { lines, rounded_minor, exact }, orders: 7 }
    }

    #[test]
    fn a_table_lines_up_and_names_what_differs() {
        let file = share(320_705, 576_193_138, 57_619_313_820_000);
        let mut table = Table::default();
        table.push("file", file.sums, Some(7), file);
        table.push("till 1", file.sums, None, file);
        assert!(table.agrees());
        table.push("central", share(320_704, 576_193_038, 57_619_303_820_000).sums, Some(7), file);
        assert!(!table.agrees());
        let expected = [
            "           lines  sum of rounded lines      exact sum  orders",
            "file     320,705          5,761,931.38  5,761,931.382       7  agrees",
            "till 1   320,705          5,761,931.38  5,761,931.382          agrees",
            "central  320,704          5,761,930.38  5,761,930.382       7  DIFFERS",
        ];
        assert_eq!(table.to_string().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn one_wrong_digit_anywhere_is_a_difference() {
        let right = share(3, 200, 20_000_000);
        let differs = |sums: Sums, orders: u64| {
            let mut table = Table::default();
            table.push("till 1", sums, Some(orders), right);
            !table.agrees()
        };
        for wrong in [share(4, 200, 20_000_000), share(3, 201, 20_000_000), share(3, 200, 20_000_001)] {
            assert!(differs(wrong.sums, 7), "{wrong:?}");
        }
        assert!(differs(right.sums, 8) && !differs(right.sums, 7));
    }
}
