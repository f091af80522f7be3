//! `evertill-node`: one till without a window. `docs/till-node.md` says how to run it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use hardware::{NetworkPrinter, Timeouts};
use node::config::{Config, Overrides};
use node::env::SystemEnv;
use node::face::Face;
use node::handle::Node;
use node::identity::Identity;
use node::replication::net::Net;
use node::replication::{self, Link};
use node::till::{Answer, Till, TillOptions};
use node::{enrol, print_queue};
use sync_proto::env::Env;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long what is under way may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

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
            let mut till = open(Identity::load(&data)?, false)?;
            let entries = till.rebuild().context("nothing was changed")?;
            println!("rebuilt from {entries} entries");
            Ok(())
        }
        Action::Status => status(&open(Identity::load(&data)?, false)?),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")
}

fn open(identity: Identity, printing: bool) -> anyhow::Result<Till> {
    let options = TillOptions { printing, ..TillOptions::default() };
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
    let data = identity.folder().to_owned();
    let address = config.server.clone().unwrap_or_else(|| identity.region_address().to_owned());
    let link = link(&identity, address)?;
    let face = Face::open(config.listen, &data, &SystemEnv).await?;
    let till = open(identity, config.printer.is_some())?;
    let (node, thread) = Node::start(till).context("no thread for the till")?;
    let (stop, stopping) = watch::channel(false);

    let mut tasks = JoinSet::new();
    let env: Arc<dyn Env> = Arc::new(SystemEnv);
    tasks.spawn(replicate(node.clone(), link, env, stopping.clone()));
    if let Some(printer) = config.printer {
        let printer = NetworkPrinter::new(printer.address, printer.profile, Timeouts::default());
        tasks.spawn(print_queue::run(node.clone(), printer, stopping.clone()));
    }
    println!("till ready at {}", face.link());
    let mut serving = tokio::spawn(face.serve(node.clone(), stopping));
    let served = tokio::select! {
        served = &mut serving => served.context("the face broke")?.context("the face broke"),
        asked = asked_to_stop() => asked,
        () = node.stopped() => Err(anyhow!("the till stopped by itself; the log says why")),
    };
    drop(node);
    tracing::info!("stopping");
    stop.send_replace(true);
    let ended = async {
        while tasks.join_next().await.is_some() {}
        if !serving.is_finished() {
            let _ = serving.await;
        }
    };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("not everything that was under way came to an end");
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        return served;
    }
    // The last handle is gone, so the till tidies up and ends.
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    served
}

fn link(identity: &Identity, address: String) -> anyhow::Result<Link> {
    Ok(Link {
        address,
        server_name: identity.server_name().to_owned(),
        authority_pem: identity.authority_cert_pem()?,
        certificate_pem: identity.device_cert_pem()?,
        key_pem: identity.key_pem()?,
    })
}

/// A till whose link cannot be set up sells on.
async fn replicate(node: Node, link: Link, env: Arc<dyn Env>, stop: watch::Receiver<bool>) {
    let net = match Net::machine() {
        Ok(net) => net,
        Err(error) => return tracing::error!(error = %anyhow!(error), "this till cannot replicate: no socket"),
    };
    if let Err(error) = replication::run(node, net, link, env, stop).await {
        tracing::error!(error = %format!("{:#}", anyhow!(error)), "this till cannot replicate: its certificate or key is unusable");
    }
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("no signals"),
    }
}
