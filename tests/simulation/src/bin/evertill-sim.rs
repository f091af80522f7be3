//! Runs worlds: `make sim`.
use simulation::world::{self, plan::Plan};

fn main() {
    let from: u64 = std::env::args().nth(1).map_or(0, |n| n.parse().expect("a number"));
    let count: u64 = std::env::args().nth(2).map_or(1, |n| n.parse().expect("a number"));
    let mut failed = 0;
    for seed in from..from + count {
        let plan = Plan::of(seed);
        let began = std::time::Instant::now();
        let outcome = world::run(&plan, count == 1);
        if count == 1 {
            for line in &outcome.trace { println!("{line}"); }
            println!("{plan}");
            println!("{:#?}", outcome.seen);
        }
        if let Some(why) = &outcome.broken { failed += 1; println!("seed {seed} FAILED after {:?}: {}", began.elapsed(), why.chars().take(600).collect::<String>()); }
        else { println!("seed {seed} ok {:?} virtual {} ms, {} lines, converged in {:?}", began.elapsed(), outcome.lasted_ms, outcome.lines, outcome.converged_ms); }
    }
    println!("{} passed, {failed} failed", count - failed);
}
