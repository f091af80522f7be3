//! A PostgreSQL cluster of one's own, made with the server programs that are installed.
//!
//! It listens on a Unix socket in a short folder of its own and on no port, so any number of them run beside each other and beside
//! the system's. It ends with its owner: a small shell waits at a pipe that the owner holds open and stops the cluster when
//! that closes, whether the owner dropped it, was interrupted or was killed. PostgreSQL refuses to run as root; for root the
//! cluster runs as the `postgres` user, to whom its folders are given.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

/// The superuser of the cluster.
const USER: &str = "evertill";
/// The database of [`PrivateCluster::url`].
const DATABASE: &str = "evertill";
/// Part of the socket's file name; nothing listens on it.
const PORT: u16 = 5432;
/// How long starting and stopping may take.
const WAIT_SECONDS: &str = "60";
/// How much of a log goes into an error.
const LOG_TAIL_BYTES: usize = 2_000;

/// Stops the cluster when its owner is gone: `sh -c GUARD sh PG_CTL DATA SOCKETS [EPHEMERAL]`.
const GUARD: &str = r#"
cat >/dev/null
if [ -n "$4" ]; then
    "$1" stop -D "$2" -m immediate -t 60 -s 2>/dev/null
    rm -rf "$4"
else
    "$1" stop -D "$2" -m fast -t 60 -s 2>/dev/null || "$1" stop -D "$2" -m immediate -t 60 -s 2>/dev/null
fi
rm -rf "$3"
exit 0
"#;

/// What went wrong with a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The server's programs were not found.
    #[error(
        "no PostgreSQL server programs (initdb, pg_ctl, postgres): install postgresql, or set EVERTILL_PG_BIN to their folder"
    )]
    NotInstalled,
    /// This is root, and there is no user to run as.
    #[error("PostgreSQL does not run as root and there is no user called postgres: add one, or run as an ordinary user")]
    NoUser,
    /// A file or folder.
    #[error("{what} {}", .path.display())]
    File {
        /// What could not be done.
        what: &'static str,
        /// With which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed:\n{output}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said, and the end of the server's log.
        output: String,
    },
}

/// A cluster of one's own. Stopped when dropped, and when this process ends in any other way.
#[derive(Debug)]
pub struct PrivateCluster {
    programs: PathBuf,
    user: Option<(u32, u32)>,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    durable: bool,
    guard: Option<(Child, ChildStdin)>,
}

impl PrivateCluster {
    /// Starts the cluster kept in a folder, making it when it is not there. The data is in `postgres/` and the log in `postgres.log`.
    ///
    /// A cluster that a crash of this machine or program left behind is recovered; one that still runs is stopped first.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not start; the error has the end of its log.
    pub fn start(folder: &Path) -> Result<Self, ClusterError> {
        let folder = make_folder(folder)?;
        let data = folder.join("postgres");
        let log = folder.join("postgres.log");
        Self::open(data, log, true, None)
    }

    /// Starts an empty cluster in a temporary folder that goes with it. It does not wait for the disk: for tests.
    ///
    /// # Errors
    /// As [`PrivateCluster::start`].
    pub fn temporary() -> Result<Self, ClusterError> {
        let folder = temporary_folder("evertill-pg-")?;
        let user = user_for(&folder)?;
        give(&folder, user)?;
        Self::open(folder.join("data"), folder.join("log"), false, Some(folder))
    }

    fn open(data: PathBuf, log: PathBuf, durable: bool, ephemeral: Option<PathBuf>) -> Result<Self, ClusterError> {
        let programs = find_programs()?;
        let sockets = temporary_folder("evertill-pg-")?;
        let user = user_for(&sockets)?;
        give(&sockets, user)?;
        let mut cluster = Self { programs, user, data, sockets, log, durable, guard: None };
        cluster.guard = Some(cluster.spawn_guard(ephemeral.as_deref())?);
        cluster.make_data()?;
        cluster.restart()?;
        cluster.create_database(DATABASE)?;
        Ok(cluster)
    }

    /// The address of its database, for any client that follows PostgreSQL's form of URLs.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// Makes an empty database, if there is none of that name, and answers its address.
    ///
    /// # Errors
    /// When `createdb` fails.
    pub fn create_database(&self, name: &str) -> Result<String, ClusterError> {
        let mut command = self.command("createdb");
        command.arg("-h").arg(&self.sockets).args(["-p", &PORT.to_string(), "-U", USER, "--maintenance-db=postgres", name]);
        match self.run("createdb", command) {
            Err(ClusterError::Program { output, .. }) if output.contains("already exists") => {}
            done => done?,
        }
        Ok(self.url_of(name))
    }

    /// Starts it after [`PrivateCluster::stop`] or [`PrivateCluster::crash`], at the same address and with the same data. One that
    /// runs is stopped first.
    ///
    /// # Errors
    /// When it does not start; the error has the end of its log.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.clear_leftovers()?;
        self.write_settings()?;
        let mut command = self.command("pg_ctl");
        command.arg("start").arg("-D").arg(&self.data).arg("-l").arg(&self.log).args(["-w", "-s", "-t", WAIT_SECONDS]);
        self.run("pg_ctl start", command)
    }

    /// Stops it, cutting the connections that there are. Nothing when it is stopped.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        self.stop_by("fast")
    }

    /// Ends it as a power cut ends the program: without a last write, to be recovered from its log at the next start.
    ///
    /// # Errors
    /// When it does not end.
    pub fn crash(&mut self) -> Result<(), ClusterError> {
        self.stop_by("immediate")
    }

    fn stop_by(&mut self, mode: &str) -> Result<(), ClusterError> {
        if !self.data.join("postmaster.pid").exists() {
            return Ok(());
        }
        let mut command = self.command("pg_ctl");
        command.arg("stop").arg("-D").arg(&self.data).args(["-m", mode, "-w", "-s", "-t", WAIT_SECONDS]);
        match self.run("pg_ctl stop", command) {
            // It ended by itself in between.
            Err(_) if self.leftover_pid().is_none() => Ok(()),
            done => done,
        }
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&port={PORT}&user={USER}", self.sockets.display())
    }

    /// `initdb` into a folder beside, then a rename: a cluster that is there is whole.
    fn make_data(&self) -> Result<(), ClusterError> {
        if self.data.join("PG_VERSION").exists() {
            return give(&self.data, self.user);
        }
        let unfinished = self.data.with_extension("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(file("cannot remove the unfinished cluster", &unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(file("cannot make the folder", &unfinished))?;
        give(&unfinished, self.user)?;
        let mut command = self.command("initdb");
        command.arg("-D").arg(&unfinished).args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        if !self.durable {
            command.arg("--no-sync");
        }
        self.run("initdb", command)?;
        let include = "\ninclude 'evertill.conf'\n";
        let main = unfinished.join("postgresql.conf");
        let text = fs::read_to_string(&main).map_err(file("cannot read", &main))? + include;
        fs::write(&main, text).map_err(file("cannot write", &main))?;
        fs::rename(&unfinished, &self.data).map_err(file("cannot move the new cluster to", &self.data))
    }

    fn write_settings(&self) -> Result<(), ClusterError> {
        let safety = if self.durable { "" } else { "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n" };
        let text = format!(
            "listen_addresses = ''\nport = {PORT}\nunix_socket_directories = '{}'\nunix_socket_permissions = 0700\n\
             max_connections = 60\nshared_buffers = 256MB\nmax_wal_size = 2GB\nlc_messages = 'C'\n{safety}",
            self.sockets.display()
        );
        let path = self.data.join("evertill.conf");
        fs::write(&path, text).map_err(file("cannot write", &path))?;
        give(&path, self.user)
    }

    /// Makes way for a start: ends a server that an earlier owner left running, and removes a lock file that nobody holds. PostgreSQL
    /// would do the latter itself, but for a process id that another program was given meanwhile.
    fn clear_leftovers(&mut self) -> Result<(), ClusterError> {
        match self.leftover_pid() {
            None => Ok(()),
            Some(pid) if is_server(pid, &self.data) => self.stop_by("fast"),
            Some(_) => {
                let lock = self.data.join("postmaster.pid");
                fs::remove_file(&lock).map_err(file("cannot remove", &lock))
            }
        }
    }

    fn leftover_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        Some(text.lines().next()?.trim().parse().unwrap_or(0))
    }

    fn spawn_guard(&self, ephemeral: Option<&Path>) -> Result<(Child, ChildStdin), ClusterError> {
        let mut command = self.as_user("sh".as_ref());
        command.args(["-c", GUARD, "sh"]).arg(self.programs.join("pg_ctl")).arg(&self.data).arg(&self.sockets);
        command.arg(ephemeral.unwrap_or(Path::new("")));
        // A group of its own: Ctrl-C in a terminal goes to the owner, and the guard acts when the owner is gone.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(file("cannot run", Path::new("sh")))?;
        let pipe = child.stdin.take().expect("stdin was asked to be a pipe");
        Ok((child, pipe))
    }

    fn command(&self, program: &str) -> Command {
        self.as_user(&self.programs.join(program))
    }

    fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // Settings of another cluster, and a folder that the user may not enter.
        for name in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGSERVICE"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir("/");
        command
    }

    fn run(&self, program: &'static str, mut command: Command) -> Result<(), ClusterError> {
        // A server that is started keeps the pipes it inherits: `pg_ctl -l` gives it the log instead, but its output goes to a file to be sure.
        let output_path = self.sockets.join("output");
        let output = fs::File::create(&output_path).map_err(file("cannot write", &output_path))?;
        let errors = output.try_clone().map_err(file("cannot write", &output_path))?;
        let status = command.stdin(Stdio::null()).stdout(output).stderr(errors).status();
        let status = status.map_err(file("cannot run", Path::new(command.get_program())))?;
        if status.success() {
            return Ok(());
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let (said, log) = (read(&output_path), read(&self.log));
        let tail = log.char_indices().rev().nth(LOG_TAIL_BYTES).map_or(log.as_str(), |(at, _)| &log[at..]);
        Err(ClusterError::Program { program, output: format!("{said}{tail}") })
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        if let Some((mut guard, pipe)) = self.guard.take() {
            drop(pipe);
            // It stops the cluster and removes what is temporary; when it fails there is nobody to tell.
            let _ = guard.wait();
        }
    }
}

/// The folder with the server's programs: that of `EVERTILL_PG_BIN`, of the search path, or of the newest version in Debian's place.
fn find_programs() -> Result<PathBuf, ClusterError> {
    let whole = |folder: &Path| ["initdb", "pg_ctl", "postgres", "createdb"].iter().all(|p| folder.join(p).is_file());
    if let Some(folder) = std::env::var_os("EVERTILL_PG_BIN") {
        return Some(PathBuf::from(folder)).filter(|f| whole(f)).ok_or(ClusterError::NotInstalled);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The search path may hold links to them, whose folder need not have them all.
    let linked = |folder: PathBuf| fs::canonicalize(folder.join("pg_ctl")).ok()?.parent().map(Path::to_owned);
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter_map(linked).collect();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders.into_iter().find(|folder| whole(folder)).ok_or(ClusterError::NotInstalled)
}

/// Whom to run as: nobody else, or for root the user `postgres`. A folder of ours says who we are.
fn user_for(ours: &Path) -> Result<Option<(u32, u32)>, ClusterError> {
    if fs::metadata(ours).map_err(file("cannot read", ours))?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let postgres = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    postgres.map(Some).ok_or(ClusterError::NoUser)
}

fn give(path: &Path, user: Option<(u32, u32)>) -> Result<(), ClusterError> {
    match user {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)).map_err(file("cannot give to the postgres user", path)),
        None => Ok(()),
    }
}

/// Makes a folder where the data can be, and answers its absolute path.
fn make_folder(folder: &Path) -> Result<PathBuf, ClusterError> {
    fs::create_dir_all(folder).map_err(file("cannot make the folder", folder))?;
    let folder = fs::canonicalize(folder).map_err(file("cannot read", folder))?;
    let user = user_for(&folder)?;
    if user.is_some() {
        // The other user has to get to its data.
        for above in folder.ancestors() {
            let mode = fs::metadata(above).map_err(file("cannot read", above))?.permissions().mode();
            if mode & 0o001 == 0 {
                if above != folder {
                    let source = io::Error::other("the postgres user may not enter it; choose a folder elsewhere");
                    return Err(ClusterError::File { what: "cannot use", path: above.to_owned(), source });
                }
                let open = fs::Permissions::from_mode(mode | 0o011);
                fs::set_permissions(above, open).map_err(file("cannot open", above))?;
            }
        }
        // initdb makes the data folder's neighbour, and pg_ctl the log.
        let log = folder.join("postgres.log");
        let opened = fs::OpenOptions::new().create(true).append(true).open(&log);
        opened.map_err(file("cannot write", &log))?;
        give(&log, user)?;
    }
    Ok(folder)
}

/// A short path: that of a Unix socket has some hundred bytes at most.
fn temporary_folder(prefix: &str) -> Result<PathBuf, ClusterError> {
    let in_temp = std::env::temp_dir();
    let base = if in_temp.as_os_str().len() > 60 { Path::new("/tmp") } else { &in_temp };
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(base);
    made.map(TempDir::keep).map_err(file("cannot make a folder in", base))
}

/// Whether a process is the server of this data folder. Where the system does not say, PostgreSQL decides.
fn is_server(pid: u32, data: &Path) -> bool {
    if !Path::new("/proc/self/cwd").exists() {
        return true;
    }
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| fs::canonicalize(data).is_ok_and(|data| cwd == data))
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError + use<> {
    let path = path.to_owned();
    move |source| ClusterError::File { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::{Client, NoTls};

    async fn connect(url: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the cluster answers");
        tokio::spawn(connection);
        client
    }

    #[tokio::test]
    async fn a_kept_cluster_has_its_data_after_every_kind_of_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = PrivateCluster::start(folder.path()).expect("a cluster");
        connect(&cluster.url()).await.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").await.expect("write");
        let read =
            async |url: String| connect(&url).await.query_one("SELECT n FROM t", &[]).await.expect("read").get::<_, i32>(0);

        cluster.crash().expect("crash");
        // The lock file of a crash, whose process id is by now another program's.
        fs::write(cluster.data.join("postmaster.pid"), format!("{}\n", std::process::id())).expect("write");
        cluster.restart().expect("after a crash");
        assert_eq!(read(cluster.url()).await, 7);

        cluster.stop().expect("stop");
        cluster.stop().expect("stopping twice is no error");
        cluster.restart().expect("after a stop");
        cluster.restart().expect("of a running one");
        assert_eq!(read(cluster.url()).await, 7);

        let sockets = cluster.sockets.clone();
        drop(cluster);
        assert!(!sockets.exists() && !folder.path().join("postgres/postmaster.pid").exists(), "it is stopped");
        let cluster = PrivateCluster::start(folder.path()).expect("the kept cluster");
        assert_eq!(read(cluster.url()).await, 7);
    }

    #[test]
    fn a_temporary_cluster_leaves_nothing() {
        let cluster = PrivateCluster::temporary().expect("a cluster");
        let root = cluster.data.parent().expect("a parent").to_owned();
        assert!(root.exists());
        drop(cluster);
        assert!(!root.exists());
    }
}
