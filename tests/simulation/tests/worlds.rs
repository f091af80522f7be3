//! Two hundred worlds, each twice. `docs/testing.md` says what a world is and how to replay one.

use std::env;

use simulation::sweep::{Sweep, print_seen};

/// The worlds of every run of the tests; `make sim-long` looks at others.
const WORLDS: u64 = 200;

#[test]
fn worlds_keep_every_promise_and_are_the_same_twice() {
    let asked = |name: &str| env::var(name).ok().map(|number| number.parse().expect("a number"));
    let (from, seeds) = (asked("EVERTILL_SIM_FROM").unwrap_or(0), asked("EVERTILL_SIM_SEEDS").unwrap_or(WORLDS));
    let found = Sweep { from, seeds, at_most: None }.run(|failure| println!("{failure}"));
    print_seen(&found.seen);
    println!("{found}");
    assert_eq!((found.passed, found.failed, found.same), (seeds, 0, seeds), "{:#?}", found.failures.first());
    if seeds >= WORLDS {
        assert!(found.never_fired().is_empty(), "never happened, so nothing is known about it: {:?}", found.never_fired());
    }
}
