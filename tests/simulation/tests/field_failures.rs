//! What has gone wrong in shops with other systems, each as a small world of its own. Named after what the people at the counter saw; the numbers are
//! those of the public reports.

use simulation::crash_vfs::FaultKind;
use simulation::world::net::Weather;
use simulation::world::plan::{Place, Plan, Trouble};
use simulation::world::{self, Outcome};

const TILL: Place = Place::Till(0);

fn shop(tills: usize, events: &[(u64, Trouble)]) -> Plan {
    Plan::quiet(7, tills, events)
}

fn passes(plan: &Plan) -> Outcome {
    let outcome = world::run(plan, false);
    assert_eq!(outcome.broken, None, "{plan}");
    assert!(outcome.seen["orders shown"] > 10, "{:?}", outcome.seen);
    outcome
}

/// odoo/odoo#152259, PR #40600; frappe/erpnext#12971: a reply gets lost, or a second copy sends again, and an order is there twice.
#[test]
fn an_order_whose_answer_was_lost_is_there_once() {
    let lost: Vec<_> = (1..9).map(|n| (n * 2_000, Trouble::CentralAnswerLost)).collect();
    let mut plan = shop(2, &lost);
    plan.weather = Weather { loss: 200, duplicates: 200, stragglers: 200, ..Weather::FAIR };
    let seen = passes(&plan).seen;
    assert!(seen["central answer lost"] == 8 && seen["lost"] > 0 && seen["duplicated"] > 0, "{seen:?}");
}

/// odoo/odoo#152259 again: the same till twice, both with the orders that were not sent yet.
#[test]
fn a_till_that_is_open_twice_sends_nothing_twice() {
    let partition = Trouble::Partition { till: 0, up_open: false, down_open: false, for_ms: 6_000 };
    let plan = shop(1, &[(1_000, partition), (5_000, Trouble::Clone { till: 0, for_ms: 8_000 })]);
    let seen = passes(&plan).seen;
    assert!(seen["till cloned"] == 1 && seen["cut off"] > 0, "{seen:?}");
}

/// odoo PR #261096: the link drops in the middle of sending, and what was under way is not marked as unsent any more.
#[test]
fn a_link_that_drops_while_it_sends_leaves_nothing_behind() {
    let cut = |at_ms| (at_ms, Trouble::Partition { till: 0, up_open: false, down_open: at_ms % 2 == 0, for_ms: 700 });
    let cuts: Vec<_> = (1..18).map(|n| cut(n * 1_001)).collect();
    passes(&shop(1, &cuts));
}

/// odoo PR #288974: an order that was paid offline becomes a draft again with a later synchronisation, and its payment is gone.
#[test]
fn an_order_that_was_paid_offline_stays_paid() {
    let away = Trouble::Partition { till: 0, up_open: false, down_open: false, for_ms: 12_000 };
    let reprice = |product| Trouble::Reprice { product, region: 0 };
    passes(&shop(2, &[(500, away), (2_000, reprice(0)), (4_000, reprice(1)), (6_000, reprice(2)), (13_000, reprice(3))]));
}

/// odoo#56840: a receipt is on paper, and the order is not in the back office.
#[test]
fn a_receipt_on_paper_has_its_order_whenever_the_power_goes() {
    let power = |at_ms, after_calls| (at_ms, Trouble::Power { of: TILL, after_calls, off_ms: 400, seed: at_ms });
    let seen = passes(&shop(1, &[power(3_000, 7), power(7_000, 0), power(11_000, 23), power(15_000, 2)])).seen;
    assert!(seen["receipts whole"] > 5, "{seen:?}");
}

/// odoo#203431: the day cannot be closed, because an order is still to be sent.
#[test]
fn a_shift_is_closed_without_a_link() {
    let away = Trouble::Partition { till: 0, up_open: false, down_open: false, for_ms: 20_000 };
    passes(&shop(1, &[(100, away)]));
}

/// The region burns, with the central database away: what the tills have is enough.
#[test]
fn a_region_that_loses_its_disk_has_it_all_back() {
    let away = Trouble::CentralAway { region: None, for_ms: 5_000 };
    passes(&shop(
        2,
        &[(4_000, Trouble::Wipe { region: 0, off_ms: 1_000 }), (9_000, away), (10_000, Trouble::Wipe { region: 0, off_ms: 500 })],
    ));
}

/// The judge must be able to find something: a disk that says that it has synced and has not.
#[test]
fn a_disk_that_lies_is_found_out() {
    let lie = Trouble::Disk { of: TILL, kind: FaultKind::Lie, after_calls: 0, for_ms: 60_000 };
    let away = Trouble::Partition { till: 0, up_open: false, down_open: false, for_ms: 60_000 };
    let power = Trouble::Power { of: TILL, after_calls: 0, off_ms: 500, seed: 0 };
    let outcome = world::run(&shop(1, &[(2_000, away), (2_000, lie), (12_000, power)]), false);
    let broken = outcome.broken.expect("sales that were shown are on no disk");
    assert!(broken.contains("was shown as paid") && broken.contains("is lost"), "{broken}");
}
