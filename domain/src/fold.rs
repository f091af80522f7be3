//! A record turned into what it means: the same functions fill the till's tables and the central ones.

use std::ops::AddAssign;

use crate::ids::{OrderId, ProductId, ShiftId};
use crate::money::{self, Quantity, UnitPrice};
use crate::record::{Order, PaymentMethod, Record};

/// Why stock moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MovementReason {
    /// Sold.
    Sale,
    /// Came back.
    Refund,
    /// Corrected.
    Adjustment,
}

impl MovementReason {
    /// The word stored in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
        }
    }
}

/// Stock of one product of a store going up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockMovement {
    /// Which product.
    pub product: ProductId,
    /// By how much; negative when it leaves the shelf.
    pub quantity: Quantity,
    /// Why.
    pub reason: MovementReason,
}

/// The stock movements of a record, in line order.
pub fn stock_movements(record: &Record) -> Vec<StockMovement> {
    let leaves = |o: &Order, reason| {
        o.lines.iter().map(|l| StockMovement { product: l.product, quantity: Quantity(-l.quantity.0), reason }).collect()
    };
    match record {
        Record::SaleCompleted(o) => leaves(o, MovementReason::Sale),
        Record::RefundGiven(o) => leaves(o, MovementReason::Refund),
        Record::StockAdjusted(a) => a
            .lines
            .iter()
            .map(|l| StockMovement { product: l.product, quantity: l.quantity, reason: MovementReason::Adjustment })
            .collect(),
        _ => Vec::new(),
    }
}

/// The cash that a record moves into (or, negative, out of) the drawer of a shift, in minor units.
pub fn cash_movement(record: &Record) -> Option<(ShiftId, i64)> {
    match record {
        Record::SaleCompleted(o) | Record::RefundGiven(o) => {
            let cash = o.payments.iter().filter(|p| p.method == PaymentMethod::Cash);
            Some((o.shift, cash.map(|p| p.amount_minor).sum()))
        }
        Record::ShiftOpened(s) => Some((s.shift, s.float_minor)),
        _ => None,
    }
}

/// One valued line of any record: of a sale, a refund, a stock or an account adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuedLine {
    /// How much.
    pub quantity: Quantity,
    /// At what.
    pub unit_price: UnitPrice,
    /// Rounded, in minor units.
    pub amount_minor: i64,
}

/// The valued lines of a record, in order.
pub fn valued_lines(record: &Record) -> Vec<ValuedLine> {
    let line = |quantity, unit_price, amount_minor| ValuedLine { quantity, unit_price, amount_minor };
    match record {
        Record::SaleCompleted(o) | Record::RefundGiven(o) => {
            o.lines.iter().map(|l| line(l.quantity, l.unit_price, l.amount_minor)).collect()
        }
        Record::StockAdjusted(a) => a.lines.iter().map(|l| line(l.quantity, l.unit_price, l.amount_minor)).collect(),
        Record::AccountAdjusted(a) => a.lines.iter().map(|l| line(l.quantity, l.unit_price, l.amount_minor)).collect(),
        _ => Vec::new(),
    }
}

/// A count and two sums over valued lines, with which two replicas can be compared to the last digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineSums {
    /// How many lines.
    pub lines: u64,
    /// The sum of their rounded amounts, in minor units.
    pub rounded_minor: i128,
    /// The sum of quantity × unit price before rounding, in hundred-thousandths of a minor unit.
    pub exact: i128,
}

impl LineSums {
    /// The sums of some lines.
    pub fn of(lines: impl IntoIterator<Item = ValuedLine>) -> Self {
        let mut sums = Self::default();
        for line in lines {
            sums += Self {
                lines: 1,
                rounded_minor: line.amount_minor.into(),
                exact: money::exact_amount(line.quantity, line.unit_price),
            };
        }
        sums
    }
}

impl AddAssign for LineSums {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.rounded_minor += other.rounded_minor;
        self.exact += other.exact;
    }
}

/// How much of which line of which sale a refund gives back, above zero.
pub fn refunded_lines(record: &Record) -> Vec<(OrderId, u32, Quantity)> {
    let Record::RefundGiven(o) = record else { return Vec::new() };
    let Some(original) = o.original else { return Vec::new() };
    o.lines.iter().filter_map(|l| Some((original, l.original_line?, Quantity(-l.quantity.0)))).collect()
}
