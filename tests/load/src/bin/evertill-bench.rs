//! `evertill-bench`: measures, prints a table, writes JSON.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use load::catalogue::Names;
use load::rows::{GROUPS, Group, group};
use load::{Bench, child, row};
use tracing_subscriber::EnvFilter;

/// Measures what the product does beside what this machine can do at best, and holds it against its budgets. Takes some minutes; the
/// machine should have nothing else to do.
#[derive(Debug, Parser)]
#[command(name = "evertill-bench", version, subcommand_negates_reqs = true)]
struct Arguments {
    /// Fewer products, devices and runs: shows in half a minute that everything works, and compares with nothing.
    #[arg(long)]
    quick: bool,
    /// Measure this group alone (again for more): see --list.
    #[arg(long, value_name = "NAME", value_parser = parse_group)]
    only: Vec<&'static Group>,
    /// Print the groups and what they measure.
    #[arg(long)]
    list: bool,
    /// A file with the columns `code` and `name`, separated by commas or tabs, perhaps gzipped: products with real names.
    #[arg(long, value_name = "FILE")]
    products: Option<PathBuf>,
    /// Where its files go meanwhile; must be on a disk [default: /var/tmp].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// How long the group `sustained` goes on [default: half a minute].
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: Option<u64>,
    /// Where the rows are written as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    #[command(subcommand)]
    child: Option<Role>,
}

/// What it is when it starts itself.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Child { role: String, folder: PathBuf, central: Option<String> },
}

fn parse_group(name: &str) -> Result<&'static Group, String> {
    let known = || GROUPS.map(|group| group.name).join(", ");
    group(name).ok_or_else(|| format!("the groups are {}", known()))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("EVERTILL_BENCH_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if let Some(Role::Child { role, folder, central }) = arguments.child {
        match (role.as_str(), central) {
            ("till", _) => child::open_a_till(&folder)?,
            (_, Some(url)) => child::serve_whole(&folder, &url)?,
            (_, None) => child::serve_a_region(&folder)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.list {
        for group in GROUPS {
            println!("{:<10} {}", group.name, group.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    measure(arguments)
}

fn measure(arguments: Arguments) -> Result<ExitCode> {
    let names = arguments.products.as_deref().map(Names::read).transpose()?.unwrap_or_default();
    let mut bench = Bench::new(arguments.quick, names, arguments.folder)?;
    if let Some(minutes) = arguments.minutes {
        bench.sustained = Duration::from_secs(60 * minutes);
    }
    if cfg!(debug_assertions) && !arguments.quick {
        eprintln!("this is a debug build: its figures mean nothing, `make bench` builds an optimised one");
    }
    let chosen = if arguments.only.is_empty() { GROUPS.iter().collect() } else { arguments.only };
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for group in chosen {
        eprint!("{}: {} … ", group.name, group.about);
        let begun = Instant::now();
        match (group.measure)(&bench) {
            Ok(measured) => {
                eprintln!("{:.0} s", begun.elapsed().as_secs_f64());
                rows.extend(measured);
            }
            Err(error) => {
                eprintln!("failed: {error:#}");
                failed.push(group.name);
            }
        }
    }
    println!("{}", row::table(&rows));
    write(&arguments.json, &rows)?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("could not measure: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn write(path: &std::path::Path, rows: &[row::Row]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let json = serde_json::to_string_pretty(rows)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}
