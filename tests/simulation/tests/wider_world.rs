//! Small worlds of two regions, of TCP, of nights and of earlier programs, each with one thing in it.

use simulation::world::plan::{Home, Night, Place, Plan, Trouble};
use simulation::world::{self, Outcome};

fn passes(plan: &Plan) -> Outcome {
    let (outcome, again) = (world::run(plan, false), world::run(plan, false));
    assert_eq!(outcome.broken, None, "{plan}");
    assert_eq!(outcome.digest, again.digest, "another world the second time: {plan}");
    assert!(outcome.seen["orders shown"] > 10, "{:?}", outcome.seen);
    outcome
}

/// Two tills of one store at the first server, one of another store at the second.
fn two_regions(events: &[(u64, Trouble)]) -> Plan {
    let homes = [(0, 0), (0, 0), (1, 1)].map(|(store, region)| Home { store, region }).to_vec();
    Plan { regions: 2, homes, ..Plan::quiet(5, 3, events) }
}

#[test]
fn edits_at_either_server_reach_every_till() {
    let edit = |at_ms, product, region| (at_ms, Trouble::Reprice { product, region });
    let seen = passes(&two_regions(&[edit(9_000, 1, 0), edit(10_000, 2, 1), edit(12_000, 3, 0), edit(12_000, 3, 1)])).seen;
    assert_eq!((seen["price change"], seen["price change, second server"]), (2, 2), "{seen:?}");
}

#[test]
fn a_store_goes_on_at_the_other_server_when_its_own_is_lost_for_ever() {
    let moved = |at_ms, till| (at_ms, Trouble::Move { till, to: 1 });
    let seen = passes(&two_regions(&[(9_000, Trouble::Perish { region: 0 }), moved(12_000, 0), moved(14_000, 1)])).seen;
    assert_eq!((seen["server lost for ever"], seen["till moved"]), (1, 2), "{seen:?}");
}

#[test]
fn a_till_goes_over_tcp_while_udp_is_blocked_and_back_by_itself() {
    let blocked = Trouble::NoUdp { till: 0, for_ms: 40_000 };
    let plan = Plan { tcp: true, ..Plan::quiet(5, 2, &[(0, blocked), (9_000, Trouble::Reset { till: 0 })]) };
    let seen = passes(&plan).seen;
    assert!(seen["connections over TCP"] > 1 && seen["no UDP"] > 0 && seen["TCP reset"] == 1, "{seen:?}");
    assert_eq!(seen["over TCP, then QUIC again"], 1, "{seen:?}");
}

#[test]
fn a_stream_whose_other_end_lost_its_power_is_given_up() {
    let blocked = Trouble::NoUdp { till: 0, for_ms: 40_000 };
    let power = |of, at_ms| (at_ms, Trouble::Power { of, after_calls: 0, off_ms: 1_500, seed: 1 });
    let events = [(0, blocked), power(Place::Server(0), 6_000), power(Place::Till(0), 12_000)];
    let seen = passes(&Plan { tcp: true, ..Plan::quiet(5, 2, &events) }).seen;
    assert!(seen["TCP half open"] > 1, "{seen:?}");
}

#[test]
fn a_night_counts_for_the_days_that_people_saw() {
    // Midnight in Lebanon, which is left out when clocks go forwards, and the one that comes twice.
    for (at_ms, ended) in [(1_774_735_200_000, 1), (1_792_875_600_000, 0)] {
        let night = Some(Night { zone: "Asia/Beirut", at_ms, after_ms: 10_000 });
        let seen = passes(&Plan { night, ..Plan::quiet(5, 2, &[]) }).seen;
        assert_eq!((seen["a day ended"], seen["clocks changed"]), (ended, 1), "{seen:?}");
    }
}

#[test]
fn an_earlier_program_refuses_the_file_and_the_right_one_goes_on() {
    let older = |of, at_ms| (at_ms, Trouble::Older { of, off_ms: 500 });
    let seen = passes(&Plan::quiet(5, 2, &[older(Place::Till(0), 5_000), older(Place::Server(0), 9_000)])).seen;
    assert_eq!((seen["older program, till"], seen["older program, server"]), (1, 1), "{seen:?}");
}
