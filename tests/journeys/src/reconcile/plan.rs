//! What each till will do: invoices dealt to two tills, and every row turned into an ordinary command.
//!
//! | row | becomes |
//! |---|---|
//! | of an invoice `A…`, or with a negative price | an account adjustment |
//! | quantity above zero | a line of a sale |
//! | quantity below zero, invoice `C…` | a line of a refund without a found original |
//! | quantity below zero, any other invoice | a stock correction |
//!
//! An invoice may hold several kinds; each becomes a record of its own under the invoice's number. `docs/reconcile.md` says why.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::catalogue::Catalogue;
use super::invoices::{Invoice, InvoiceLine};
use super::sums::Sums;

/// How many tills the invoices are dealt to.
pub const TILLS: usize = 2;
/// Most lines of one order; a longer invoice becomes several orders under one number.
pub const ORDER_LINES_MAX: usize = 2_000;
/// Why goods of a `C` invoice come back.
pub const REFUND_REASON: &str = "cancelled invoice";
/// Why stock is corrected when the row does not say.
pub const CORRECTION_REASON: &str = "stock correction";

/// Everything that will be replayed, and what must come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is on sale before the first invoice.
    pub catalogue: Catalogue,
    /// The invoices of each till, in the order of the file.
    pub tills: [Vec<Job>; TILLS],
    /// What each till's share comes to.
    pub shares: [Share; TILLS],
    /// What every business day comes to.
    pub days: BTreeMap<Date, DaySums>,
    /// How many rows became what.
    pub counts: Counts,
}

/// One invoice as a till will enter it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The invoice number.
    pub number: String,
    /// The business day.
    pub day: Date,
    /// What to do, in order.
    pub acts: Vec<Act>,
}

/// One record to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Goods go out; quantities above zero.
    Sale(Vec<InvoiceLine>),
    /// Goods come back; quantities below zero, as in the file.
    Refund(Vec<InvoiceLine>),
    /// Stock is corrected, all for the same reason.
    Stock {
        /// Why.
        reason: String,
        /// What.
        lines: Vec<InvoiceLine>,
    },
    /// An amount is booked.
    Account(InvoiceLine),
}

/// What one till's share of the file comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Its lines.
    pub sums: Sums,
    /// Its sales and refunds.
    pub orders: u64,
}

/// What a manager's report must show for a business day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DaySums {
    /// How many sales.
    pub sales: u64,
    /// What they come to, in minor units.
    pub sales_minor: i128,
    /// How many refunds.
    pub refunds: u64,
    /// What they come to, in minor units, as a positive sum.
    pub refunds_minor: i128,
}

/// How many rows became what, and how many records they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Invoice numbers.
    pub invoices: u64,
    /// Rows of sales.
    pub sale_lines: u64,
    /// Sales.
    pub sales: u64,
    /// Rows of refunds.
    pub refund_lines: u64,
    /// Refunds.
    pub refunds: u64,
    /// Rows that correct stock.
    pub stock_lines: u64,
    /// Rows that book an amount.
    pub account_lines: u64,
    /// Rows at a price of zero, of any kind.
    pub zero_price_lines: u64,
    /// Rows of the longest invoice.
    pub longest_invoice: u64,
}

/// Plans the replay of a file.
pub fn plan(invoices: &[Invoice]) -> Plan {
    let mut plan = Plan {
        catalogue: Catalogue::of(invoices.iter().flat_map(|i| &i.lines).filter(|l| l.unit_price >= 0)),
        tills: [Vec::new(), Vec::new()],
        shares: [Share::default(); TILLS],
        days: BTreeMap::new(),
        counts: Counts { invoices: len(invoices), ..Counts::default() },
    };
    for (at, invoice) in invoices.iter().enumerate() {
        let till = at % TILLS;
        let acts = acts_of(invoice);
        plan.counts.longest_invoice = plan.counts.longest_invoice.max(len(&invoice.lines));
        for act in &acts {
            plan.shares[till].add(act);
            plan.counts.add(act);
            plan.days.entry(invoice.day).or_default().add(act);
        }
        plan.tills[till].push(Job { number: invoice.number.clone(), day: invoice.day, acts });
    }
    plan
}

impl Plan {
    /// What the whole file comes to.
    pub fn whole(&self) -> Share {
        let mut whole = Share::default();
        for share in self.shares {
            whole.sums += share.sums;
            whole.orders += share.orders;
        }
        whole
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Sale,
    Refund,
    Stock,
    Account,
}

fn kind_of(number: &str, line: &InvoiceLine) -> Kind {
    match (number.as_bytes().first(), line.quantity_milli > 0) {
        _ if line.unit_price < 0 => Kind::Account,
        (Some(b'A'), _) => Kind::Account,
        (_, true) => Kind::Sale,
        (Some(b'C'), false) => Kind::Refund,
        (_, false) => Kind::Stock,
    }
}

fn acts_of(invoice: &Invoice) -> Vec<Act> {
    let mut kinds = BTreeMap::<Kind, Vec<InvoiceLine>>::new();
    for line in &invoice.lines {
        kinds.entry(kind_of(&invoice.number, line)).or_default().push(line.clone());
    }
    let mut acts = Vec::new();
    for (kind, lines) in kinds {
        match kind {
            Kind::Sale => acts.extend(lines.chunks(ORDER_LINES_MAX).map(|c| Act::Sale(c.to_vec()))),
            Kind::Refund => acts.extend(lines.chunks(ORDER_LINES_MAX).map(|c| Act::Refund(c.to_vec()))),
            Kind::Stock => acts.extend(corrections_of(lines)),
            Kind::Account => acts.extend(lines.into_iter().map(Act::Account)),
        }
    }
    acts
}

/// One correction a reason, since a correction has one reason for all its lines.
fn corrections_of(lines: Vec<InvoiceLine>) -> Vec<Act> {
    let mut reasons = BTreeMap::<String, Vec<InvoiceLine>>::new();
    for line in lines {
        let reason = if line.description.is_empty() { CORRECTION_REASON } else { &line.description };
        reasons.entry(reason.to_owned()).or_default().push(line);
    }
    let chunks = |(reason, lines): (String, Vec<InvoiceLine>)| {
        let chunks: Vec<_> = lines.chunks(ORDER_LINES_MAX).map(<[_]>::to_vec).collect();
        chunks.into_iter().map(move |lines| Act::Stock { reason: reason.clone(), lines })
    };
    reasons.into_iter().flat_map(chunks).collect()
}

impl Act {
    /// The rows it is made of.
    pub fn lines(&self) -> &[InvoiceLine] {
        match self {
            Self::Sale(lines) | Self::Refund(lines) | Self::Stock { lines, .. } => lines,
            Self::Account(line) => std::slice::from_ref(line),
        }
    }

    /// What its rows come to.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for line in self.lines() {
            sums += Sums::of_line(line.quantity_milli, line.unit_price);
        }
        sums
    }
}

impl Share {
    fn add(&mut self, act: &Act) {
        self.sums += act.sums();
        self.orders += u64::from(matches!(act, Act::Sale(_) | Act::Refund(_)));
    }
}

impl DaySums {
    fn add(&mut self, act: &Act) {
        let amount = act.sums().rounded_minor;
        match act {
            Act::Sale(_) => {
                self.sales += 1;
                self.sales_minor += amount;
            }
            Act::Refund(_) => {
                self.refunds += 1;
                self.refunds_minor -= amount;
            }
            Act::Stock { .. } | Act::Account(_) => {}
        }
    }
}

impl Counts {
    fn add(&mut self, act: &Act) {
        let lines = len(act.lines());
        self.zero_price_lines += len(&act.lines().iter().filter(|l| l.unit_price == 0).collect::<Vec<_>>());
        match act {
            Act::Sale(_) => {
                self.sales += 1;
                self.sale_lines += lines;
            }
            Act::Refund(_) => {
                self.refunds += 1;
                self.refund_lines += lines;
            }
            Act::Stock { .. } => self.stock_lines += lines,
            Act::Account(_) => self.account_lines += lines,
        }
    }
}

fn len<T>(items: &[T]) -> u64 {
    items.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::invoices;

    fn planned(rows: &[&str]) -> Plan {
        let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
        let text = std::iter::once(header).chain(rows.iter().copied()).collect::<Vec<_>>().join("\n");
        plan(&invoices::read(text.as_bytes()).expect("rows"))
    }

    fn shape(act: &Act) -> String {
        let rows: Vec<_> = act.lines().iter().map(|l| l.row.to_string()).collect();
        let name = match act {
            Act::Sale(_) => "sale",
            Act::Refund(_) => "refund",
            Act::Stock { reason, .. } => reason,
            Act::Account(_) => "account",
        };
        format!("{name} {}", rows.join("+"))
    }

    #[test]
    fn every_kind_of_row_finds_its_command() {
        for (rows, expected) in [
            (vec!["1,A,X,2,2011-01-01 09:00:00,1.0,,UK", "1,A,X,2,2011-01-01 09:00:00,1.0,,UK"], vec!["sale 2+3"]),
            (vec!["1,A,X,2,2011-01-01 09:00:00,0.0,,UK"], vec!["sale 2"]),
            (vec!["C1,A,X,-2,2011-01-01 09:00:00,1.0,,UK"], vec!["refund 2"]),
            (vec!["C1,A,X,-2,2011-01-01 09:00:00,1.0,,UK", "C1,A,X,1,2011-01-01 09:00:00,1.0,,UK"], vec!["sale 3", "refund 2"]),
            (vec!["1,A,damages,-2,2011-01-01 09:00:00,0.0,,UK"], vec!["damages 2"]),
            (
                vec![
                    "1,A,,-2,2011-01-01 09:00:00,0.0,,UK",
                    "1,B,lost,-1,2011-01-01 09:00:00,0.0,,UK",
                    "1,C,,-2,2011-01-01 09:00:00,0.0,,UK",
                ],
                vec!["lost 3", "stock correction 2+4"],
            ),
            (vec!["A1,B,Adjust bad debt,1,2011-01-01 09:00:00,11062.06,,UK"], vec!["account 2"]),
            (vec!["A1,B,Adjust bad debt,1,2011-01-01 09:00:00,-11062.06,,UK"], vec!["account 2"]),
            (vec!["1,B,odd,1,2011-01-01 09:00:00,-1.0,,UK", "1,A,X,1,2011-01-01 09:00:00,1.0,,UK"], vec!["sale 3", "account 2"]),
        ] {
            let plan = planned(&rows);
            let got: Vec<_> = plan.tills[0].iter().flat_map(|j| &j.acts).map(shape).collect();
            assert_eq!(got, expected, "{rows:?}");
        }
    }

    #[test]
    fn invoices_are_dealt_in_turn_and_every_row_is_counted_once() {
        let plan = planned(&[
            "1,A,X,2,2011-01-01 09:00:00,0.005,,UK",
            "2,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "C3,A,X,-1,2011-01-02 09:00:00,0.5,,UK",
            "1,A,X,1,2011-01-01 09:00:00,0.0,,UK",
            "A4,B,bad,1,2011-01-02 09:00:00,-9.0,,UK",
        ]);
        let numbers = |till: usize| plan.tills[till].iter().map(|j| j.number.as_str()).collect::<Vec<_>>();
        assert_eq!((numbers(0), numbers(1)), (vec!["1", "C3"], vec!["2", "A4"]));
        assert_eq!(plan.shares[0], Share { sums: Sums { lines: 3, rounded_minor: -49, exact: -4_900_000 }, orders: 2 });
        assert_eq!(plan.shares[1], Share { sums: Sums { lines: 2, rounded_minor: -800, exact: -80_000_000 }, orders: 1 });
        assert_eq!(plan.whole().sums.lines, 5);
        let second = plan.days[&jiff::civil::date(2011, 1, 2)];
        assert_eq!(second, DaySums { sales: 0, sales_minor: 0, refunds: 1, refunds_minor: 50 });
        let expected = Counts {
            invoices: 4,
            sale_lines: 3,
            sales: 2,
            refund_lines: 1,
            refunds: 1,
            stock_lines: 0,
            account_lines: 1,
            zero_price_lines: 1,
            longest_invoice: 2,
        };
        assert_eq!(plan.counts, expected);
    }

    #[test]
    fn an_invoice_longer_than_an_order_becomes_several() {
        let rows: Vec<String> = (0..ORDER_LINES_MAX + 1).map(|n| format!("1,A{n},X,1,2011-01-01 09:00:00,1.0,,UK")).collect();
        let plan = planned(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        let lengths: Vec<_> = plan.tills[0][0].acts.iter().map(|a| a.lines().len()).collect();
        assert_eq!(lengths, [ORDER_LINES_MAX, 1]);
        assert_eq!(plan.shares[0].orders, 2);
    }
}
