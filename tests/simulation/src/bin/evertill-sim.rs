//! Runs worlds: `make sim SEED=n`, `make sim FROM=a SEEDS=n`, `make sim-long`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulation::sweep::{self, Sweep};
use simulation::world::{self, plan::Plan};
use tracing_subscriber::EnvFilter;

/// Tills, a server and a central store in one thread and virtual time, under everything that goes wrong; the same seed gives the same world.
#[derive(Debug, Parser)]
#[command(name = "evertill-sim", version)]
struct Arguments {
    /// Run this world alone, say what goes wrong in it, and shrink it when it breaks a promise.
    #[arg(long, conflicts_with_all = ["from", "seeds", "minutes"])]
    seed: Option<u64>,
    /// The first of many worlds.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many worlds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// End after so many minutes, however many worlds that were.
    #[arg(long)]
    minutes: Option<u64>,
    /// Print every datagram and event of the one world. `RUST_LOG=info` adds what the programs say.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let passed = match arguments.seed {
        Some(seed) => one(seed, arguments.trace),
        None => many(&arguments),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, trace: bool) -> bool {
    let plan = Plan::of(seed);
    print!("{plan}");
    let outcome = world::run(&plan, trace);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    sweep::print_seen(&outcome.seen);
    match &outcome.broken {
        None => {
            let converged = outcome.converged_ms.unwrap_or(0);
            println!(
                "seed {seed} passed: everything was everywhere {converged} ms after the last repair; trace {}",
                outcome.digest
            );
            true
        }
        Some(why) => {
            println!("seed {seed} failed: {why}\nshrinking…");
            let (least, why) = sweep::shrink(plan, why.clone());
            print!("the least of it that still fails:\n{least}");
            println!("{why}");
            false
        }
    }
}

fn many(arguments: &Arguments) -> bool {
    let sweep = Sweep {
        from: arguments.from,
        seeds: arguments.seeds,
        at_most: arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
    };
    let found = sweep.run(|failure| println!("{failure}"));
    sweep::print_seen(&found.seen);
    let never: Vec<_> = found.never_fired();
    if !never.is_empty() {
        println!("never happened, so nothing is known about it: {}", never.join(", "));
    }
    println!("{found}");
    found.failed == 0
}
