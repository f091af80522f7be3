//! `evertill-node`: one till without a window. `docs/till-node.md` says how to run it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use node::config::{Config, Overrides};
use node::enrol;
use node::env::SystemEnv;
use node::face::Face;
use node::identity::Identity;
use node::running::{Broken, Running};
use node::till::{Answer, Till, TillOptions};
use operations::logging::{self, LogConfig};
use tokio::signal::unix::{SignalKind, signal};

/// One till of Evertill: it sells, prints and replicates, and needs no network for the first two.
#[derive(Debug, Parser)]
#[command(name = "evertill-node", version)]
struct Arguments {
    /// The folder that holds this device: its identity, its keys and its files.
    #[arg(long, env = "EVERTILL_NODE_DATA", value_name = "DIR")]
    data: PathBuf,
    /// A configuration file; `node.toml` in the data folder when absent.
    #[arg(long, env = "EVERTILL_NODE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Check the configuration and what it names, say for each what to do, and stop.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    action: Option<Action>,
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
    /// Say what is there, what is wrong and what to do; the till may run meanwhile.
    Doctor {
        #[command(flatten)]
        run: RunArguments,
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Default, clap::Args)]
struct RunArguments {
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
    /// Where the sync server is found over TCP, when that is another port than for UDP.
    #[arg(long, env = "EVERTILL_NODE_SERVER_TCP", value_name = "HOST:PORT")]
    server_tcp: Option<String>,
    /// Where the other tills of the store find this one.
    #[arg(long, env = "EVERTILL_NODE_LAN_LISTEN", value_name = "IP:PORT")]
    lan_listen: Option<String>,
    /// Other tills of the store, separated by commas, beside those that are found.
    #[arg(long, env = "EVERTILL_NODE_LAN_PEERS", value_name = "HOST:PORT,…")]
    lan_peers: Option<String>,
    /// Whether other tills are looked for by multicast DNS: on or off.
    #[arg(long, env = "EVERTILL_NODE_LAN_DISCOVER", value_name = "on|off")]
    lan_discover: Option<String>,
    /// For how many days entries that the central database has are kept whole, at least 7; 0 for ever.
    #[arg(long, env = "EVERTILL_NODE_KEEP_DAYS", value_name = "DAYS")]
    keep_days: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments { data, config, check_config, action } = arguments;
    let done = match (check_config, action) {
        (true, None) => check(&data, config.as_deref()),
        (false, Some(action)) => act(&data, config.as_deref(), action),
        (true, Some(_)) => Arguments::command().error(ErrorKind::ArgumentConflict, "--check-config stands alone").exit(),
        (false, None) => Arguments::command().error(ErrorKind::MissingSubcommand, "say what to do: `run`, for example").exit(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("evertill-node: {error:#}");
        ExitCode::FAILURE
    })
}

fn check(data: &Path, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    // What `run` would be told by the environment counts here too.
    let over = |name: &str| std::env::var(name).ok();
    let over = Overrides {
        listen: over("EVERTILL_NODE_LISTEN"),
        server: over("EVERTILL_NODE_SERVER"),
        server_tcp: over("EVERTILL_NODE_SERVER_TCP"),
        printer: over("EVERTILL_NODE_PRINTER"),
        printer_profile: over("EVERTILL_NODE_PRINTER_PROFILE"),
        lan_listen: over("EVERTILL_NODE_LAN_LISTEN"),
        lan_peers: over("EVERTILL_NODE_LAN_PEERS"),
        lan_discover: over("EVERTILL_NODE_LAN_DISCOVER"),
        keep_days: over("EVERTILL_NODE_KEEP_DAYS"),
    };
    let report = runtime()?.block_on(node::doctor::check_config(data, config, over.said()));
    print!("{report}");
    Ok(report.exit_code())
}

fn doctor(data: &Path, config: Option<&Path>, run: RunArguments, json: bool) -> anyhow::Result<ExitCode> {
    let report = runtime()?.block_on(node::doctor::examine(data, config, run.overrides(), &SystemEnv));
    if json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(report.exit_code())
}

impl RunArguments {
    fn overrides(self) -> Overrides {
        let Self { listen, printer, printer_profile, server, server_tcp, lan_listen, lan_peers, lan_discover, keep_days } = self;
        Overrides { listen, server, server_tcp, printer, printer_profile, lan_listen, lan_peers, lan_discover, keep_days }.said()
    }
}

fn act(data: &Path, config: Option<&Path>, action: Action) -> anyhow::Result<ExitCode> {
    if !matches!(action, Action::Run(_) | Action::Doctor { .. }) {
        logging::begin(&LogConfig::default());
    }
    match action {
        Action::Enrol { link } => {
            let link = link.parse().context("the enrolment link was not copied whole")?;
            let identity = runtime()?.block_on(enrol::enrol(data, &link, &SystemEnv))?;
            println!("enrolled as {} with receipts {}-…", identity.name(), identity.series());
        }
        Action::Run(run) => {
            let config = Config::load(data, config, run.overrides())?;
            logging::begin(&config.log);
            let runtime = runtime()?;
            // A till whose replica was put aside begins anew, with what can still be read.
            while runtime.block_on(sell(Identity::load(data)?, &config))? == Ended::PutAside {}
        }
        Action::Rebuild => {
            let mut till = open(Identity::load(data)?)?;
            let entries = till.rebuild().context("nothing was changed")?;
            till.end_use()?;
            println!("rebuilt from {entries} entries");
        }
        Action::Status => {
            let till = open(Identity::load(data)?)?;
            status(&till)?;
            till.end_use()?;
        }
        Action::Doctor { run, json } => return doctor(data, config, run, json),
    }
    Ok(ExitCode::SUCCESS)
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

/// How a till came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was told to.
    Told,
    /// Its replica was put aside.
    PutAside,
}

async fn sell(identity: Identity, config: &Config) -> anyhow::Result<Ended> {
    let face = Face::open(config.listen, identity.folder(), &SystemEnv).await?;
    let page = face.link();
    let mut running = Running::start(identity, config, Some(face))?;
    tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"), listen = %config.listen, "the till sells");
    println!("till ready at {page}");
    let served = tokio::select! {
        asked = asked_to_stop() => asked.map(|()| Ended::Told),
        broken = running.broken() => match broken {
            Broken::PutAside => Ok(Ended::PutAside),
            broken => Err(broken.into()),
        },
    };
    tracing::info!(event = "stopping", "what is under way is finished first");
    let stopped_at_once = tokio::spawn(async {
        if asked_to_stop().await.is_ok() {
            tracing::warn!(event = "stopped_at_once", "a second signal; what was under way is found again at the next start");
            std::process::exit(1);
        }
    });
    running.stop().await;
    stopped_at_once.abort();
    tracing::info!(event = "stopped", "the till ended");
    served
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("no signals"),
    }
}
