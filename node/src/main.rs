//! `evertill-node`: one till without a window. `docs/till-node.md` says how to run it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use node::config::{Config, Overrides};
use node::enrol;
use node::env::SystemEnv;
use node::face::Face;
use node::identity::Identity;
use node::running::Running;
use node::till::{Answer, Till, TillOptions};
use tokio::signal::unix::{SignalKind, signal};

/// One till of Evertill: it sells, prints and replicates, and needs no network for the first two.
#[derive(Debug, Parser)]
#[command(name = "evertill-node", version)]
struct Arguments {
    /// The folder that holds this device: its identity, its keys and its files.
    #[arg(long, env = "EVERTILL_NODE_DATA", value_name = "DIR")]
    data: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make this folder a device of a shop, with the link that the manager was given.
    Enrol {
        /// The enrolment link.
        link: String,
    },
    /// Sell: serve the screen on this machine, print, and replicate whenever there is a network.
    Run(RunArguments),
    /// Compute everything that is shown anew from the log.
    Rebuild,
    /// Say who this device is and how far it has come.
    Status,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// A configuration file; `node.toml` in the data folder when absent.
    #[arg(long, env = "EVERTILL_NODE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the screen is served, a loopback address; port 0 takes any free one.
    #[arg(long, env = "EVERTILL_NODE_LISTEN", value_name = "127.0.0.1:PORT")]
    listen: Option<String>,
    /// The receipt printer.
    #[arg(long, env = "EVERTILL_NODE_PRINTER", value_name = "tcp://HOST:PORT")]
    printer: Option<String>,
    /// What kind of printer it is, such as epson-80 or generic-58.
    #[arg(long, env = "EVERTILL_NODE_PRINTER_PROFILE", value_name = "PROFILE")]
    printer_profile: Option<String>,
    /// Another address of the sync server than the one in the enrolment link.
    #[arg(long, env = "EVERTILL_NODE_SERVER", value_name = "HOST:PORT")]
    server: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("EVERTILL_NODE_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match act(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evertill-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    let data = arguments.data;
    match arguments.action {
        Action::Enrol { link } => {
            let link = link.parse().context("the enrolment link was not copied whole")?;
            let identity = runtime()?.block_on(enrol::enrol(&data, &link, &SystemEnv))?;
            println!("enrolled as {} with receipts {}-…", identity.name(), identity.series());
            Ok(())
        }
        Action::Run(run) => {
            let over =
                Overrides { listen: run.listen, server: run.server, printer: run.printer, printer_profile: run.printer_profile };
            let config = Config::load(&data, run.config.as_deref(), over)?;
            let identity = Identity::load(&data)?;
            runtime()?.block_on(sell(identity, config))
        }
        Action::Rebuild => {
            let mut till = open(Identity::load(&data)?)?;
            let entries = till.rebuild().context("nothing was changed")?;
            println!("rebuilt from {entries} entries");
            Ok(())
        }
        Action::Status => status(&open(Identity::load(&data)?)?),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")
}

/// Opens the till for a look; nothing is printed.
fn open(identity: Identity) -> anyhow::Result<Till> {
    let options = TillOptions { printing: false, ..TillOptions::default() };
    Ok(Till::open(identity, Arc::new(SystemEnv), options)?)
}

fn status(till: &Till) -> anyhow::Result<()> {
    let view = till.view()?;
    let Answer::Ledger(ledger) = till.query(node::api::Query::Ledger {})? else { return Err(anyhow!("no ledger")) };
    println!("till       {} ({})", view.till.name, view.till.series);
    println!("device     {}", till.identity().device());
    println!("server     {}", till.identity().region_address());
    println!("orders     {}", ledger.orders);
    println!("unsent     {} commits", view.link.unsent);
    println!("print jobs {}", view.print_jobs.len());
    Ok(())
}

async fn sell(identity: Identity, config: Config) -> anyhow::Result<()> {
    let face = Face::open(config.listen, identity.folder(), &SystemEnv).await?;
    let page = face.link();
    let mut running = Running::start(identity, &config, Some(face))?;
    println!("till ready at {page}");
    let served = tokio::select! {
        asked = asked_to_stop() => asked,
        broken = running.broken() => Err(broken.into()),
    };
    running.stop().await;
    served
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("no signals"),
    }
}
