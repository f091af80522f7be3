//! Stock counts: which one of a product stands, and what still applies to it.
//!
//! A count says how much there is, and its cut what its till had heard of by then. So whoever has the same entries comes to the same level, in whatever
//! order they came: **what the standing count found, and every movement that its cut does not cover.** A count that another one's cut covers is
//! superseded. Where several are left, made by people who did not hear of one another, the latest (clock, then id) stands and a manager is told.
//!
//! A cut names places of histories, not entries. Where a device has two histories under one incarnation, what stands at one place of both is covered or
//! not together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::RecordId;
use crate::money::Quantity;
use crate::record::StockCount;

/// Where an entry is in its store's scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The device that wrote it.
    pub device: [u8; 16],
    /// In which of its lives.
    pub incarnation: [u8; 16],
    /// Its number in that history.
    pub seq: u64,
}

/// What a count had heard of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut(BTreeMap<([u8; 16], [u8; 16]), u64>);

impl Cut {
    /// The cut of a count.
    pub fn of(count: &StockCount) -> Self {
        let mut cut = Self::default();
        for seen in &count.cut {
            let upto = cut.0.entry((*seen.device.as_bytes(), seen.incarnation)).or_default();
            *upto = (*upto).max(seen.seq);
        }
        cut
    }

    /// Whether an entry was heard of.
    pub fn covers(&self, place: Place) -> bool {
        place.seq <= self.upto(place.device, place.incarnation)
    }

    /// The last entry of a history that was heard of; 0 for none.
    pub fn upto(&self, device: [u8; 16], incarnation: [u8; 16]) -> u64 {
        self.0.get(&(device, incarnation)).copied().unwrap_or(0)
    }

    /// Every history that it names, with the last entry that was heard of.
    pub fn histories(&self) -> impl Iterator<Item = Place> + '_ {
        self.0.iter().map(|((device, incarnation), seq)| Place { device: *device, incarnation: *incarnation, seq: *seq })
    }
}

/// One product in a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The count.
    pub id: RecordId,
    /// The clock of its entry.
    pub at: u64,
    /// Where its entry is.
    pub place: Place,
    /// How much there was.
    pub quantity: Quantity,
    /// What it had heard of.
    pub cut: Arc<Cut>,
}

impl Counted {
    /// The products of a count in an entry, in order.
    pub fn all(count: &StockCount, at: u64, place: Place) -> Vec<(crate::ids::ProductId, Self)> {
        let cut = Arc::new(Cut::of(count));
        let one = |quantity| Self { id: count.id, at, place, quantity, cut: cut.clone() };
        count.lines.iter().map(|line| (line.product, one(line.quantity))).collect()
    }
}

/// The count that stands, and the others that nobody has superseded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    /// What the level begins with.
    pub count: &'a Counted,
    /// Counts that were made without hearing of it, nor it of them; earliest first. None is as it should be.
    pub beside: Vec<&'a Counted>,
}

/// Which of the counts of one product stands; nothing when there is none. Their order makes no difference.
pub fn standing(counts: &[Counted]) -> Option<Standing<'_>> {
    let is_superseded = |of: &Counted| counts.iter().any(|by| by.id != of.id && by.cut.covers(of.place));
    let mut left: Vec<&Counted> = counts.iter().filter(|count| !is_superseded(count)).collect();
    if left.is_empty() {
        // No honest till covers what covers it.
        left = counts.iter().collect();
    }
    left.sort_by_key(|count| (count.at, count.id));
    let count = left.pop()?;
    Some(Standing { count, beside: left })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, ProductId, ShiftId};
    use crate::record::{CountLine, SeenUpTo};

    fn uuid(n: u8) -> uuid::Uuid {
        uuid::Uuid::from_bytes([n; 16])
    }

    fn place(device: u8, seq: u64) -> Place {
        Place { device: [device; 16], incarnation: [device; 16], seq }
    }

    /// A count by a device, as its entry of a number, that had heard so much of others.
    fn count(id: u8, at: u64, by: (u8, u64), heard: &[(u8, u64)]) -> Counted {
        let cut =
            heard.iter().map(|(device, seq)| SeenUpTo { device: DeviceId(uuid(*device)), incarnation: [*device; 16], seq: *seq });
        let count = StockCount {
            id: RecordId(uuid(id)),
            shift: ShiftId(uuid(1)),
            lines: vec![CountLine { product: ProductId(uuid(1)), quantity: Quantity(i64::from(id)) }],
            cut: cut.collect(),
            reason: String::new(),
        };
        Counted::all(&count, at, place(by.0, by.1)).remove(0).1
    }

    fn check(counts: &[Counted], stands: u8, beside: &[u8]) {
        let mut order: Vec<Counted> = counts.to_vec();
        for _ in 0..counts.len() {
            order.rotate_left(1);
            let found = standing(&order).expect("a count");
            let ids = |counts: &[&Counted]| counts.iter().map(|c| c.id.as_bytes()[0]).collect::<Vec<_>>();
            assert_eq!((ids(&[found.count]), ids(&found.beside)), (vec![stands], beside.to_vec()));
        }
    }

    #[test]
    fn a_count_that_heard_of_another_supersedes_it_whatever_the_clocks_say() {
        check(&[count(1, 900, (1, 5), &[(2, 3)]), count(2, 100, (2, 9), &[(1, 5)])], 2, &[]);
    }

    #[test]
    fn of_counts_that_did_not_hear_of_one_another_the_later_stands() {
        let (one, two) = (count(1, 100, (1, 5), &[(2, 8)]), count(2, 200, (2, 9), &[(1, 4)]));
        check(&[one.clone(), two.clone()], 2, &[1]);
        // Somebody counts again who has heard of both.
        check(&[one.clone(), two.clone(), count(3, 50, (1, 7), &[(1, 6), (2, 9)])], 3, &[]);
        // Or only of one of them.
        check(&[one, two, count(3, 50, (1, 7), &[(1, 6), (2, 8)])], 2, &[3]);
    }

    #[test]
    fn what_is_superseded_stays_so_when_its_successor_is() {
        // The third heard of the second and not of the first, which the second had heard of.
        let all = [count(1, 300, (1, 5), &[]), count(2, 200, (2, 5), &[(1, 5)]), count(3, 100, (3, 5), &[(2, 5)])];
        check(&all, 3, &[]);
    }

    #[test]
    fn counts_that_claim_to_have_heard_of_each_other_do_not_hide_the_product() {
        check(&[count(1, 100, (1, 5), &[(2, 9)]), count(2, 200, (2, 9), &[(1, 5)])], 2, &[1]);
        assert_eq!(standing(&[]), None);
    }

    #[test]
    fn a_cut_covers_a_history_up_to_where_it_was_heard() {
        let count = count(1, 1, (1, 5), &[(1, 4), (2, 8), (2, 3)]);
        assert!(count.cut.covers(place(1, 4)) && !count.cut.covers(place(1, 5)));
        assert!(count.cut.covers(place(2, 8)) && !count.cut.covers(place(2, 9)) && !count.cut.covers(place(3, 1)));
        assert_eq!(count.cut.histories().count(), 2);
    }
}
