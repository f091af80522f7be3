//! Shifts: what they come to, and what comes to a shift after it was closed.
//!
//! A closing covers what its till had of the shift, and says so by heads of histories: its cut. What of the shift stands in no history up to one of these
//! heads came late: a copy of the till sold it, or the till itself, in a life that it lost and that came back from elsewhere. It is no part of what
//! was counted and printed. It is an **addendum**: one for each life of a till that brings something, numbered from the one that began earliest. Numbers
//! are a function of what there is, so whoever has the same entries numbers alike, in whatever order they came.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use crate::fold;
use crate::ids::ShiftId;
use crate::record::{Order, Record, SeenHead};

/// What a shift, or some of it, comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShiftSum {
    /// How many sales.
    pub sales: i64,
    /// How many refunds.
    pub refunds: i64,
    /// What the sales come to, in minor units.
    pub sales_minor: i64,
    /// What the refunds come to, in minor units; negative.
    pub refunds_minor: i64,
    /// What they move into the drawer, in minor units; with the opening, its float too.
    pub cash_minor: i64,
}

impl ShiftSum {
    /// What a record adds to which shift.
    pub fn of(record: &Record) -> Option<(ShiftId, Self)> {
        let (shift, cash_minor) = fold::cash_movement(record)?;
        let mut sum = Self { cash_minor, ..Self::default() };
        match record {
            Record::SaleCompleted(Order { total_minor, .. }) => (sum.sales, sum.sales_minor) = (1, *total_minor),
            Record::RefundGiven(Order { total_minor, .. }) => (sum.refunds, sum.refunds_minor) = (1, *total_minor),
            _ => {}
        }
        Some((shift, sum))
    }
}

impl AddAssign for ShiftSum {
    fn add_assign(&mut self, other: Self) {
        self.sales += other.sales;
        self.refunds += other.refunds;
        self.sales_minor += other.sales_minor;
        self.refunds_minor += other.refunds_minor;
        self.cash_minor += other.cash_minor;
    }
}

impl SubAssign for ShiftSum {
    fn sub_assign(&mut self, other: Self) {
        self.sales -= other.sales;
        self.refunds -= other.refunds;
        self.sales_minor -= other.sales_minor;
        self.refunds_minor -= other.refunds_minor;
        self.cash_minor -= other.cash_minor;
    }
}

/// One life of a device: device and incarnation.
pub type Life = ([u8; 16], [u8; 16]);

/// A sale or refund of a closed shift that its closing does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Who wrote it.
    pub life: Life,
    /// The clock of its entry, in Unix milliseconds.
    pub at_ms: u64,
    /// Its number in the receipt series of that life.
    pub receipt_number: u64,
    /// What it comes to.
    pub sum: ShiftSum,
}

/// What one life of a till adds to a shift that was closed without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addendum {
    /// From 1.
    pub number: u32,
    /// Whose.
    pub life: Life,
    /// The clock of its earliest entry, in Unix milliseconds.
    pub at_ms: u64,
    /// The lowest and the highest of its receipt numbers.
    pub receipts: (u64, u64),
    /// What it comes to.
    pub sum: ShiftSum,
}

/// The addenda of a shift. The order of what came late makes no difference.
pub fn addenda(late: impl IntoIterator<Item = Late>) -> Vec<Addendum> {
    let mut by_life = BTreeMap::<Life, Addendum>::new();
    for one in late {
        let Late { life, at_ms, receipt_number: receipt, sum } = one;
        let new = || Addendum { number: 0, life, at_ms, receipts: (receipt, receipt), sum: ShiftSum::default() };
        let addendum = by_life.entry(life).or_insert_with(new);
        addendum.at_ms = addendum.at_ms.min(at_ms);
        addendum.receipts = (addendum.receipts.0.min(receipt), addendum.receipts.1.max(receipt));
        addendum.sum += sum;
    }
    let mut all: Vec<Addendum> = by_life.into_values().collect();
    all.sort_by_key(|addendum| (addendum.at_ms, addendum.life));
    (1..).zip(&mut all).for_each(|(number, addendum)| addendum.number = number);
    all
}

/// A cut as it is stored beside a shift.
pub fn encode_cut(cut: &[SeenHead]) -> Vec<u8> {
    minicbor::to_vec(cut).expect("writing to a Vec cannot fail")
}

/// What [`encode_cut`] wrote; none of anything else.
pub fn decode_cut(bytes: &[u8]) -> Option<Vec<SeenHead>> {
    minicbor::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceId;

    fn late(life: u8, at_ms: u64, receipt_number: u64, minor: i64) -> Late {
        let sum = ShiftSum { sales: 1, sales_minor: minor, cash_minor: minor, ..ShiftSum::default() };
        Late { life: ([1; 16], [life; 16]), at_ms, receipt_number, sum }
    }

    #[test]
    fn each_life_has_one_addendum_and_the_earliest_is_the_first_however_they_come() {
        let mut all =
            vec![late(2, 50, 7, 100), late(2, 30, 6, 200), late(1, 40, 3, 1_000), late(2, 60, 8, 300), late(3, 30, 1, 5)];
        for _ in 0..all.len() {
            all.rotate_left(1);
            let found = addenda(all.clone());
            let said: Vec<_> =
                found.iter().map(|a| (a.number, a.life.1[0], a.at_ms, a.receipts, a.sum.sales, a.sum.sales_minor)).collect();
            assert_eq!(said, [(1, 2, 30, (6, 8), 3, 600), (2, 3, 30, (1, 1), 1, 5), (3, 1, 40, (3, 3), 1, 1_000)]);
        }
        assert_eq!(addenda([]), []);
    }

    #[test]
    fn what_is_added_can_be_taken_off_again() {
        let (mut sum, refund) =
            (late(1, 1, 1, 500).sum, ShiftSum { refunds: 1, refunds_minor: -70, cash_minor: -70, ..ShiftSum::default() });
        sum += refund;
        assert_eq!(sum, ShiftSum { sales: 1, refunds: 1, sales_minor: 500, refunds_minor: -70, cash_minor: 430 });
        sum -= refund;
        assert_eq!(sum, late(1, 1, 1, 500).sum);
    }

    #[test]
    fn a_cut_is_read_as_it_was_written() {
        let head = SeenHead { device: DeviceId(uuid::Uuid::from_bytes([1; 16])), incarnation: [2; 16], seq: 9, hash: [3; 32] };
        assert_eq!(decode_cut(&encode_cut(std::slice::from_ref(&head))), Some(vec![head]));
        assert_eq!((decode_cut(&encode_cut(&[])), decode_cut(b"?")), (Some(vec![]), None));
    }
}
