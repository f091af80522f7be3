//! One row of the result, the table in a terminal and the list in JSON.

use std::fmt::Write as _;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use unicode_width::UnicodeWidthStr;

use crate::figures::Runs;

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One figure beside its limit and its budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured, with everything that a reader must know to compare it.
    pub name: String,
    /// The median of the runs.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What the machine does at best, measured in the same runs; none where the budget is a person's patience or a count.
    pub limit: Option<f64>,
    /// What it is held against, in the same unit; none for a figure that only explains another.
    pub budget: Option<Budget>,
    /// How many runs the median is of.
    pub runs: usize,
}

impl Row {
    /// A row of runs.
    pub fn new(name: impl Into<String>, unit: &'static str, runs: &Runs) -> Self {
        Self { name: name.into(), value: runs.value(), unit, limit: None, budget: None, runs: runs.count() }
    }

    /// A figure that is counted rather than timed, so that one run says it.
    pub fn counted(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), value, unit, limit: None, budget: None, runs: 1 }
    }

    /// With the limit that stands beside it.
    pub fn beside(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// With a budget from above.
    pub fn at_most(mut self, budget: f64) -> Self {
        self.budget = Some(Budget::AtMost(budget));
        self
    }

    /// With a budget from below.
    pub fn at_least(mut self, budget: f64) -> Self {
        self.budget = Some(Budget::AtLeast(budget));
        self
    }

    /// Whether it is within its budget; nothing when it has none.
    pub fn within_budget(&self) -> Option<bool> {
        self.budget.map(|budget| match budget {
            Budget::AtMost(most) => self.value <= most,
            Budget::AtLeast(least) => self.value >= least,
        })
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Row", 6)?;
        let budget = self.budget.map(|budget| match budget {
            Budget::AtMost(bound) | Budget::AtLeast(bound) => bound,
        });
        row.serialize_field("name", &self.name)?;
        row.serialize_field("value", &self.value)?;
        row.serialize_field("unit", self.unit)?;
        row.serialize_field("limit", &self.limit)?;
        row.serialize_field("budget", &budget)?;
        row.serialize_field("within_budget", &self.within_budget())?;
        row.end()
    }
}

/// The rows as a table for a terminal.
pub fn table(rows: &[Row]) -> String {
    const HEAD: [&str; 8] = ["measure", "value", "unit", "limit", "ratio", "budget", "within", "runs"];
    let cells: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].width()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for (at, row) in cells.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column] - cell.width());
            let numeric = matches!(column, 1 | 3 | 4 | 5 | 7);
            let (before, after) = if numeric { (gap.as_str(), "") } else { ("", gap.as_str()) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
        if at == 0 {
            let _ = writeln!(text, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
        }
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    let none = || "-".to_owned();
    [
        row.name.clone(),
        number(row.value),
        row.unit.to_owned(),
        row.limit.map_or_else(none, number),
        row.limit.filter(|limit| *limit > 0.0).map_or_else(none, |limit| format!("{:.2}", row.value / limit)),
        row.budget.map_or_else(none, |budget| match budget {
            Budget::AtMost(most) => format!("≤ {}", number(most)),
            Budget::AtLeast(least) => format!("≥ {}", number(least)),
        }),
        row.within_budget().map_or_else(none, |within| if within { "yes" } else { "NO" }.to_owned()),
        row.runs.to_string(),
    ]
}

/// Three digits or so; whole where it is large or whole.
fn number(n: f64) -> String {
    match n.abs() {
        _ if n.fract() == 0.0 => format!("{n:.0}"),
        a if a >= 100.0 => format!("{n:.0}"),
        a if a >= 10.0 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let mut runs = Runs::default();
        for n in [300.0, 310.4, 290.0] {
            runs.push(n, 150.0);
        }
        vec![
            Row::new("complete a sale", "µs", &runs).beside(runs.limit()).at_most(runs.limit() + 180.0),
            Row::counted("syncs of a sale", "syncs", 2.0).at_most(1.0),
            Row::counted("backlog", "sales/s", 12_345.678).at_least(1_000.0),
            Row::counted("pages", "pages", 7.25),
        ]
    }

    #[test]
    fn a_table_lines_up() {
        let expected = "\
measure          value  unit     limit  ratio  budget  within  runs
-------------------------------------------------------------------
complete a sale    300  µs         150   2.00   ≤ 330  yes        3
syncs of a sale      2  syncs        -      -     ≤ 1  NO         1
backlog          12346  sales/s      -      -  ≥ 1000  yes        1
pages             7.25  pages        -      -       -  -          1
";
        assert_eq!(table(&rows()), expected);
    }

    #[test]
    fn json_holds_six_fields_and_numbers_where_they_are_numbers() {
        let json = serde_json::to_string(&rows()[..2]).expect("JSON");
        assert_eq!(
            json,
            r#"[{"name":"complete a sale","value":300.0,"unit":"µs","limit":150.0,"budget":330.0,"within_budget":true},"#
                .to_owned()
                + r#"{"name":"syncs of a sale","value":2.0,"unit":"syncs","limit":null,"budget":1.0,"within_budget":false}]"#
        );
    }
}
