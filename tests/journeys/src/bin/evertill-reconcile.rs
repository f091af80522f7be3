//! `evertill-reconcile`: replays a file of invoices through the real programs and compares what everyone holds in the end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use journeys::reconcile::plan::{Counts, Plan};
use journeys::reconcile::sums::readable;
use journeys::reconcile::{self, Options};
use journeys::stack::interrupt;

/// Replays invoice lines through two tills while the network, the server and Postgres fail, and exits with 0 only
/// when the file, both tills and the central database agree to the last digit.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Invoice lines in the columns of the UCI "Online Retail" data, plain or gzip.
    file: PathBuf,
    /// Keep all data and logs in this new folder.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Only read the file and say what would be entered.
    #[arg(long)]
    plan: bool,
    /// How many seconds nothing may move while everyone catches up.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let plan = reconcile::read_plan(&arguments.file)?;
    describe(&plan);
    if arguments.plan {
        return Ok(true);
    }
    interrupt::listen()?;
    let options = Options { keep: arguments.keep.clone(), patience: Duration::from_secs(arguments.patience) };
    let outcome = reconcile::replay(&plan, &options, &|text| eprintln!("{text}"))?;
    println!("\n{}", outcome.table);
    for flaw in &outcome.flaws {
        println!("{flaw}");
    }
    for line in &outcome.timing {
        println!("{line}");
    }
    println!("\n{}", if outcome.agrees() { "All agree." } else { "They do not agree." });
    Ok(outcome.agrees())
}

fn describe(plan: &Plan) {
    let Counts {
        invoices,
        sale_lines,
        sales,
        refund_lines,
        refunds,
        stock_lines,
        account_lines,
        zero_price_lines,
        longest_invoice,
    } = plan.counts;
    let n = |count: u64| readable(count.into(), 0);
    println!(
        "{} lines, {} invoices, {} products, {} business days",
        n(plan.whole().sums.lines),
        n(invoices),
        n(plan.catalogue.len() as u64),
        n(plan.days.len() as u64)
    );
    println!("  {} lines in {} sales, the longest invoice {} lines", n(sale_lines), n(sales), n(longest_invoice));
    println!("  {} lines in {} refunds without a found original", n(refund_lines), n(refunds));
    println!(
        "  {} stock corrections, {} account adjustments, {} lines at a price of zero",
        n(stock_lines),
        n(account_lines),
        n(zero_price_lines)
    );
}
