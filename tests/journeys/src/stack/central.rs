//! The central Postgres of a stack: a private cluster, or a database of its own on a server that is there already.

use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::interrupt;
use crate::postgres::PrivateCluster;

/// The environment variable that names an existing server, `postgres://user@host/database`.
pub const CENTRAL_URL_VARIABLE: &str = "EVERTILL_CENTRAL_URL";
/// The file in a kept folder that holds the name of the database on a given server.
const NAME_FILE: &str = "database-name";
/// The file in a kept folder that says where the private cluster is when it cannot be in that folder.
const ELSEWHERE_FILE: &str = "elsewhere";
/// Where clusters live whose own folder the `postgres` user may not enter.
const ELSEWHERE: &str = "/var/lib/evertill";

/// Which Postgres a stack uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CentralChoice {
    /// The server that `EVERTILL_CENTRAL_URL` names, or else a private cluster.
    Environment,
    /// A private cluster in any case, for those who stop and start it.
    Private,
}

/// The central Postgres of a stack.
pub enum Central {
    /// A cluster that belongs to the stack, stopped when dropped.
    Private(Box<PrivateCluster>),
    /// A database on someone's server.
    Given(GivenDatabase),
}

/// A database of the stack's own on a server that is someone else's.
pub struct GivenDatabase {
    server: String,
    name: String,
    url: String,
    kept: bool,
}

impl Central {
    /// Starts or reaches it. `folder` is where a private cluster lives; `kept` says whether the data is for another time, and
    /// `is_new` whether there is none from an earlier one.
    pub fn open(choice: CentralChoice, folder: &Path, kept: bool, is_new: bool) -> Result<Self> {
        let given = std::env::var(CENTRAL_URL_VARIABLE).ok().filter(|url| !url.is_empty());
        if !is_new && given.is_some() != folder.join(NAME_FILE).exists() {
            let (is, was) = if given.is_some() { ("set", "without it") } else { ("not set", "with it") };
            bail!("{CENTRAL_URL_VARIABLE} is {is}, but this data was set up {was}: change that, or choose another folder");
        }
        let central = match (choice, given) {
            (CentralChoice::Environment, Some(server)) => Self::Given(GivenDatabase::open(&server, folder, kept)?),
            _ => {
                let cluster = if kept { PrivateCluster::start(&reachable(folder)?) } else { PrivateCluster::temporary() };
                Self::Private(Box::new(cluster.context("could not start the private PostgreSQL cluster")?))
            }
        };
        interrupt::check()?;
        Ok(central)
    }

    /// Its address.
    pub fn url(&self) -> String {
        match self {
            Self::Private(cluster) => cluster.url(),
            Self::Given(database) => database.url.clone(),
        }
    }

    /// Stops Postgres, without waiting for those who are connected. A given server is never stopped.
    pub fn stop(&mut self) -> Result<()> {
        match self {
            Self::Private(cluster) => cluster.stop().context("could not stop PostgreSQL"),
            Self::Given(_) => bail!("{CENTRAL_URL_VARIABLE} names a server that is not ours to stop"),
        }
    }

    /// Starts Postgres again, at the same address.
    pub fn start(&mut self) -> Result<()> {
        match self {
            Self::Private(cluster) => cluster.restart().context("could not start PostgreSQL again"),
            Self::Given(_) => Ok(()),
        }
    }

    /// Where it is, for a person.
    pub fn describe(&self) -> String {
        match self {
            Self::Private(_) => "a private PostgreSQL cluster".to_owned(),
            Self::Given(database) => format!("database {} on the server that {CENTRAL_URL_VARIABLE} names", database.name),
        }
    }
}

impl GivenDatabase {
    fn open(server: &str, folder: &Path, kept: bool) -> Result<Self> {
        let name_file = folder.join(NAME_FILE);
        let name = match std::fs::read_to_string(&name_file) {
            Ok(name) if is_ours(name.trim()) => name.trim().to_owned(),
            _ => Self::create(server, &name_file)?,
        };
        let url = with_database(server, &name)?;
        Ok(Self { server: server.to_owned(), name, url, kept })
    }

    fn create(server: &str, name_file: &PathBuf) -> Result<String> {
        let name = format!("evertill_{:016x}", RandomState::new().hash_one(std::process::id()));
        execute(server, &format!("CREATE DATABASE {name}"))
            .with_context(|| format!("could not make a database on the server that {CENTRAL_URL_VARIABLE} names"))?;
        let folder = name_file.parent().context("a file without a folder")?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(name_file, &name).with_context(|| format!("could not write {}", name_file.display()))?;
        Ok(name)
    }
}

impl Drop for GivenDatabase {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = execute(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name))
        {
            eprintln!("database {} stays on the server: {error:#}", self.name);
        }
    }
}

/// Removes what a kept folder has elsewhere.
pub fn forget(folder: &Path) -> Result<()> {
    match std::fs::read_to_string(folder.join(ELSEWHERE_FILE)) {
        Ok(path) if Path::new(&path).parent() == Some(Path::new(ELSEWHERE)) && Path::new(&path).exists() => {
            std::fs::remove_dir_all(&path).with_context(|| format!("could not remove {path}"))
        }
        _ => Ok(()),
    }
}

/// A folder for the cluster that belongs to a kept folder: that one, or one elsewhere. PostgreSQL does not run as root, and a
/// folder below a root-only one, such as a home, is closed to the user that it runs as instead.
fn reachable(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let note = folder.join(ELSEWHERE_FILE);
    if let Ok(path) = std::fs::read_to_string(&note) {
        return Ok(path.into());
    }
    let is_closed = |above: &Path| std::fs::metadata(above).is_ok_and(|facts| facts.permissions().mode() & 0o001 == 0);
    if !rustix::process::geteuid().is_root() || !folder.ancestors().skip(1).any(is_closed) {
        return Ok(folder.to_owned());
    }
    std::fs::create_dir_all(ELSEWHERE).with_context(|| format!("could not make {ELSEWHERE}"))?;
    let elsewhere = tempfile::Builder::new().prefix("central-").tempdir_in(ELSEWHERE)?.keep();
    std::fs::write(note, elsewhere.to_string_lossy().as_bytes())?;
    Ok(elsewhere)
}

/// Whether a name is one that [`GivenDatabase::create`] makes.
fn is_ours(name: &str) -> bool {
    name.strip_prefix("evertill_").is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The same address with another database.
fn with_database(url: &str, database: &str) -> Result<String> {
    let (scheme, rest) = url.split_once("://").with_context(|| format!("{CENTRAL_URL_VARIABLE} is no postgres:// address"))?;
    let (before, parameters) = rest.split_once('?').map_or((rest, None), |(before, after)| (before, Some(after)));
    let authority = before.split('/').next().unwrap_or_default();
    let parameters = parameters.map(|text| format!("?{text}")).unwrap_or_default();
    Ok(format!("{scheme}://{authority}/{database}{parameters}"))
}

fn execute(url: &str, statement: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let driver = tokio::spawn(connection);
        client.batch_execute(statement).await?;
        drop(client);
        driver.await??;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_an_address_is_replaced() {
        for (given, expected) in [
            ("postgres://me:pw@db.example:5433/theirs?sslmode=disable", "postgres://me:pw@db.example:5433/ours?sslmode=disable"),
            ("postgresql://me@localhost", "postgresql://me@localhost/ours"),
            ("postgres:///theirs?host=/run/postgresql", "postgres:///ours?host=/run/postgresql"),
        ] {
            assert_eq!(with_database(given, "ours").unwrap(), expected);
        }
        assert!(with_database("host=localhost user=me", "ours").is_err());
    }
}
