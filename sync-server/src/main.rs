//! `evertill-sync-server`: the regional sync server and the commands to set it up.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use domain::document::{Store, TIME_ZONE_DEFAULT};
use domain::ids::StoreId;
use domain::money::Currency;
use domain::staff::Role;
use domain::tax::TaxMode;
use operations::check::Report;
use operations::logging;
use sync_proto::env::{Env, random};
use sync_server::authority::Authority;
use sync_server::central::{Postgres, projector};
use sync_server::config::Config;
use sync_server::daemon::{self, Opened};
use sync_server::env::Machine;
use sync_server::import::{self, ImportError};
use sync_server::region::{Region, staff_member};
use sync_server::web_api::{ImportChange, ImportProblem, ImportState, ImportView};
use sync_server::{backup, check, web};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long a stop may take before the process ends anyhow.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The regional sync server of Evertill: tills and handhelds replicate with it, and it feeds the central Postgres.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The configuration file.
    #[arg(long, default_value = "/etc/evertill/sync-server.toml")]
    config: PathBuf,
    /// The address of the central Postgres, instead of the configuration's.
    #[arg(long, env = "EVERTILL_CENTRAL_URL", hide_env_values = true)]
    central_url: Option<String>,
    /// Check the configuration and what it names, say for each what to do, and stop.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prepare the data folder (log, authority, keys) and the central database. Safe to run again.
    Init {
        /// The data folder of another server of the same shop, or a backup of it, whose authority this one shares.
        #[arg(long, value_name = "DIR")]
        authority: Option<PathBuf>,
        /// What people call this server, in lists of devices; "Sync server" at first.
        #[arg(long)]
        name: Option<String>,
    },
    /// Run the server until Ctrl-C or SIGTERM.
    Run,
    /// Copy the region and its keys into a new folder. The server may run meanwhile.
    Backup {
        /// The folder to make; it must not be there yet.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Fill an empty data folder from a backup, after verifying all of it.
    Restore {
        /// The backup's folder.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Read the whole log as an outsider would, every chain and every seal; the server must be stopped.
    Verify,
    /// Stores.
    #[command(subcommand)]
    Store(StoreCommand),
    /// People who work in a store.
    #[command(subcommand)]
    Staff(StaffCommand),
    /// Managers, who sign in on the manager page.
    #[command(subcommand)]
    Manager(ManagerCommand),
    /// Products.
    #[command(subcommand)]
    Products(ProductsCommand),
    /// Make a one-time link with which a new till enrols.
    EnrolmentCode {
        /// The store's code.
        #[arg(long)]
        store: String,
        /// What people will call the till.
        #[arg(long)]
        name: String,
    },
    /// Rebuild the read model in the central database from the entries.
    Reproject {
        /// Rebuild beside it and compare, without changing anything people see; fails when a row differs.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Add a store.
    Add {
        /// Its short code; receipt numbers start with it.
        #[arg(long)]
        code: String,
        /// Its name on the receipt.
        #[arg(long)]
        name: String,
        /// A line of its address; may be given several times.
        #[arg(long)]
        address: Vec<String>,
        /// Its currency, three letters.
        #[arg(long)]
        currency: String,
        /// Whether its prices hold the tax.
        #[arg(long, value_enum, default_value = "inclusive")]
        tax: Tax,
        /// The last words of a receipt.
        #[arg(long, default_value = "")]
        footer: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tax {
    /// Prices hold the tax.
    Inclusive,
    /// Tax comes on top.
    Exclusive,
}

#[derive(Debug, Subcommand)]
enum StaffCommand {
    /// Add someone to a store's staff. The PIN (4 to 12 digits) is read from standard input.
    Add {
        /// The store's code.
        #[arg(long)]
        store: String,
        /// Their name on the sign-in screen.
        #[arg(long)]
        name: String,
        /// What they may do: cashier, shift_lead or manager.
        #[arg(long, value_parser = role)]
        role: Role,
    },
}

#[derive(Debug, Subcommand)]
enum ManagerCommand {
    /// Add a manager. The password is read from standard input.
    Add {
        /// Their name.
        name: String,
        /// Give the manager who has this name the password, and end their sessions, instead of adding one.
        #[arg(long)]
        reset_password: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ProductsCommand {
    /// Add or change products from a CSV file with the columns code, name, price, and, if wanted, tax_rate_bp or tax_class, barcodes
    /// (separated by `|`), category and active.
    Import {
        /// The file.
        file: PathBuf,
        /// Say what it would do and what is wrong with it, and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

fn role(word: &str) -> Result<Role, String> {
    Role::from_word(word).ok_or_else(|| "a role is cashier, shift_lead or manager".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.check_config, cli.command) {
        (true, None) => Ok(check_config(&cli.config, cli.central_url).await),
        (false, Some(command)) => act(&cli.config, cli.central_url, command).await.map(|()| ExitCode::SUCCESS),
        (true, Some(_)) => Cli::command().error(ErrorKind::ArgumentConflict, "--check-config stands alone").exit(),
        (false, None) => Cli::command().error(ErrorKind::MissingSubcommand, "say what to do: `run`, for example").exit(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("evertill-sync-server: {error:#}");
        ExitCode::FAILURE
    })
}

async fn check_config(path: &Path, central_url: Option<String>) -> ExitCode {
    match Config::read(path, central_url) {
        Ok(config) => {
            let report = check::check(path, &config, Machine.unix_ms()).await;
            print!("{report}");
            report.exit_code()
        }
        Err(error) => {
            let mut report = Report::default();
            report.error("configuration", error.to_string(), "correct it, and check again");
            print!("{report}");
            report.exit_code()
        }
    }
}

async fn act(path: &Path, central_url: Option<String>, command: Command) -> anyhow::Result<()> {
    let config = Config::read(path, central_url)?;
    logging::begin(&config.log);
    let env: Arc<dyn Env> = Arc::new(Machine);
    match command {
        Command::Run => run(&config, env).await,
        Command::Reproject { check } => reproject(&config, check).await,
        Command::Manager(ManagerCommand::Add { name, reset_password: false }) => add_manager(&config, &*env, &name).await,
        Command::Manager(ManagerCommand::Add { name, .. }) => reset_password(&config, &*env, &name).await,
        Command::Init { authority, name } => init(&config, &*env, authority.as_deref(), name.as_deref()).await,
        Command::Backup { to } => back_up(&config, &*env, &to),
        Command::Restore { from } => restore(&config, &*env, &from),
        offline => offline_command(&config, &*env, offline),
    }
}

async fn run(config: &Config, env: Arc<dyn Env>) -> anyhow::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let mut asked = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
        asked().await;
        let _ = stop.send(true);
        let why = tokio::select! {
            () = asked() => "a second signal",
            () = tokio::time::sleep(STOP_MAX) => "it took too long",
        };
        tracing::warn!(event = "stopped_at_once", why, "what was under way is found again at the next start");
        std::process::exit(1);
    });
    let scheme = if config.web.tls_key.is_some() { "https" } else { "http" };
    daemon::run(config, env, stopping, |listening| {
        println!("sync ready at {}", listening.sync);
        println!("metrics at http://{}/metrics", listening.metrics);
        println!("manager page at {scheme}://{}/", listening.web);
    })
    .await?;
    Ok(())
}

async fn init(config: &Config, env: &dyn Env, authority_of: Option<&Path>, name: Option<&str>) -> anyhow::Result<()> {
    if let Some(from) = authority_of {
        std::fs::create_dir_all(&config.data).with_context(|| format!("cannot make {}", config.data.display()))?;
        Authority::adopt(from, &config.data)?;
    }
    let Opened { mut region, authority, _lock } = daemon::open(&config.data, env, true)?;
    if let Some(name) = name {
        region.rename(name, env.unix_ms())?;
    }
    let fingerprint: String = authority.fingerprint().iter().map(|b| format!("{b:02x}")).collect();
    region.end_use()?;
    println!("region {} in {}", uuid::Uuid::from_bytes(region.own().incarnation), config.data.display());
    println!("authority {fingerprint}");
    let central = central(config)?;
    let applied = central.migrate().await.context("the central database cannot be prepared")?;
    println!("central database ready, {applied} migrations applied");
    match central.servers().await?.iter().find(|card| authority.server_of(&card.certificate).is_none()) {
        Some(other) => bail!(
            "{} at {} feeds the same central database and has another authority: the two would take nothing from one another. Empty {} and run `init --authority DIR`, with DIR the data folder or a backup of that server",
            other.name,
            other.address,
            config.data.display()
        ),
        None => Ok(()),
    }
}

fn back_up(config: &Config, env: &dyn Env, to: &Path) -> anyhow::Result<()> {
    let made = backup::create(&config.data, to, env)?;
    println!("backup of region {} in {}: {} entries, {} devices", made.region, to.display(), made.entries, made.devices);
    println!(
        "it holds the keys of this region, unencrypted: whoever has them can admit devices. Keep it as private as the server."
    );
    Ok(())
}

fn restore(config: &Config, env: &dyn Env, from: &Path) -> anyhow::Result<()> {
    let made = backup::restore(from, &config.data, env)?;
    println!("restored {} entries of {} into {}; every chain and seal holds", made.entries, made.made_at, config.data.display());
    println!("start the server: tills send again what they wrote since, and central takes what it does not have, each sale once");
    println!(
        "enrolments, products, staff and settings that are newer than the backup come back from central, as far as it has them"
    );
    Ok(())
}

/// What changes the log, and so needs the server stopped.
fn offline_command(config: &Config, env: &dyn Env, command: Command) -> anyhow::Result<()> {
    let Opened { mut region, authority, _lock } = daemon::open(&config.data, env, false)?;
    match command {
        Command::Store(StoreCommand::Add { code, name, address, currency, tax, footer }) => {
            let currency = Currency::new(&currency).context("a currency is three capital letters, such as GBP")?;
            let tax_mode = match tax {
                Tax::Inclusive => TaxMode::Inclusive,
                Tax::Exclusive => TaxMode::Exclusive,
            };
            let id = StoreId::new(env.unix_ms(), random(env));
            let store = Store {
                id,
                code: code.clone(),
                name,
                address,
                currency,
                tax_mode,
                receipt_header: Vec::new(),
                receipt_footer: footer,
                languages: vec!["en".to_owned()],
                time_zone: TIME_ZONE_DEFAULT.to_owned(),
            };
            region.add_store(store, env.unix_ms())?;
            println!("store {code} added as {id}");
        }
        Command::Staff(StaffCommand::Add { store, name, role }) => {
            let pin = read_secret("PIN")?;
            let member = staff_member(&name, role, &pin, env).map_err(anyhow::Error::msg)?;
            region.add_staff(&store, member, env.unix_ms())?;
            println!("{name} works in store {store} now");
        }
        Command::Products(ProductsCommand::Import { file, dry_run }) => {
            import_products(&mut region, &config.data, &file, dry_run)?;
        }
        Command::EnrolmentCode { store, name } => {
            let public = config.sync.public.clone().unwrap_or_else(|| config.sync.listen.to_string());
            let code = daemon::issue(&mut region, &authority, &public, &store, &name, env)?;
            println!("{}", code.link);
        }
        Command::Verify => println!("{} entries: every chain and seal holds", region.verify()?),
        other => bail!("{other:?} is not a command for a stopped server"),
    }
    region.end_use()?;
    Ok(())
}

/// Reads a file, shows what it does, and writes it unless it is a dry run or something is wrong with it.
fn import_products(region: &mut Region, data: &Path, file: &Path, dry_run: bool) -> anyhow::Result<()> {
    let env: Arc<dyn Env> = Arc::new(Machine);
    let folder = data.join(daemon::IMPORTS_FOLDER);
    let size = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    if size > import::FILE_BYTES_MAX as u64 {
        bail!("{} is larger than {} MiB: split it", file.display(), import::FILE_BYTES_MAX >> 20);
    }
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let id = import::begin(region, &folder, &name, &bytes, None, &*env)?;
    let view = import::run::step(region, &folder, id, ImportState::Reading, &env, progress("read"))?;
    print!("{}", shown(&view));
    if dry_run || view.state != ImportState::Ready {
        import::forget(region, &folder, id)?;
        if view.state != ImportState::Ready {
            bail!("{}", view.message);
        }
        println!("{} products would be added, {} changed, {} unchanged", view.added, view.changed, view.unchanged);
        return Ok(());
    }
    region.import_enter(id, ImportState::Applying)?;
    let view = import::run::step(region, &folder, id, ImportState::Applying, &env, progress("write"))?;
    println!("{} products added, {} changed, {} unchanged", view.added, view.changed, view.unchanged);
    Ok(())
}

/// What is wrong with a file, or else what it would change, a line each.
fn shown(view: &ImportView) -> String {
    let mut lines = String::new();
    for ImportProblem { row, column, value, message } in &view.problems {
        lines.push_str(&format!("row {row}, {column} {value:?}: {message}\n"));
    }
    if view.state == ImportState::Ready {
        for ImportChange { row, code, name, added, fields } in &view.changes {
            let new = if *added { " (new)" } else { "" };
            let none = || "none".to_owned();
            let fields = fields.iter().map(|f| format!("{} {} -> {}", f.field, f.old.clone().unwrap_or_else(none), f.new));
            lines.push_str(&format!("row {row}, {code} {name}{new}: {}\n", fields.collect::<Vec<_>>().join("; ")));
        }
        let more = (view.added + view.changed).saturating_sub(view.changes.len() as u64);
        if more > 0 {
            lines.push_str(&format!("and {more} more\n"));
        }
    }
    lines
}

/// A line that says how far it is, on a terminal.
fn progress(what: &'static str) -> impl FnMut(&ImportView) -> Result<(), ImportError> {
    const CELLS: u64 = 40;
    let shown = std::io::stderr().is_terminal();
    move |view| {
        if shown {
            let full = (view.done * CELLS).checked_div(view.rows).unwrap_or(CELLS).min(CELLS) as usize;
            let bar = "#".repeat(full) + &"-".repeat(CELLS as usize - full);
            let end = if matches!(view.state, ImportState::Reading | ImportState::Applying) { "" } else { "\n" };
            eprint!("\r{what:>5} [{bar}] {} of {}{end}", view.done.min(view.rows), view.rows);
        }
        Ok(())
    }
}

async fn add_manager(config: &Config, env: &dyn Env, name: &str) -> anyhow::Result<()> {
    let password = read_secret("password")?;
    web::accounts::add_manager(&central(config)?, env, name, &password).await?;
    println!("{name} may sign in on the manager page now");
    Ok(())
}

async fn reset_password(config: &Config, env: &dyn Env, name: &str) -> anyhow::Result<()> {
    let password = read_secret("password")?;
    let name = web::accounts::reset_password(&central(config)?, env, name, &password).await?;
    println!("{name} signs in with the new password from now on; whoever used the old one is signed out within seconds");
    Ok(())
}

async fn reproject(config: &Config, check: bool) -> anyhow::Result<()> {
    let rebuilt = projector::reproject(&central(config)?, check).await?;
    println!("{} entries projected anew", rebuilt.entries);
    match (rebuilt.differing.as_slice(), check) {
        ([], _) => println!("every table came out as it was"),
        (tables, true) => bail!("the read model differs from what the entries say in {}", tables.join(", ")),
        (tables, false) => println!("changed: {}", tables.join(", ")),
    }
    Ok(())
}

fn central(config: &Config) -> anyhow::Result<Postgres> {
    Ok(Postgres::new(&config.central.url)?)
}

fn read_secret(what: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).with_context(|| format!("the {what} is read from standard input"))?;
    let secret = line.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        bail!("no {what} on standard input: write it as one line, for example with `echo`");
    }
    Ok(secret.to_owned())
}
