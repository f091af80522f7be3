//! A region's backup: made while the server runs, restored into an empty data folder.
//!
//! A backup is a folder: a consistent copy of the log, the keys and certificates, and a manifest with the size and SHA-256 of each. It is
//! written under a temporary name and renamed when it is whole, so that whatever is cut off leaves no backup rather than half of one.
//! [`create`] makes it; [`restore`] verifies it down to every chain and seal, and brings it back under a fresh incarnation.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sync_proto::env::{Env, random};

use crate::authority::AuthorityError;
use crate::region::{RegionError, VerifyError};

mod restore;

pub use restore::restore;

/// What a manifest of this kind begins with.
const FORMAT: &str = "evertill-region-backup/1";
const MANIFEST: &str = "manifest.json";
/// Largest manifest, key or certificate in bytes.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
const LOG: &str = "region.db";
/// Everything that a backup holds beside its manifest.
const FILES: [&str; 5] = [LOG, "authority.key", "authority.crt", "server.key", "server.crt"];

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What kind of backup this is.
    pub format: String,
    /// The version of the program that made it.
    pub software: String,
    /// When, RFC 3339.
    pub made_at: String,
    /// The region's incarnation.
    pub region: uuid::Uuid,
    /// How many entries the log holds.
    pub entries: u64,
    /// The region sequence of the newest.
    pub last_region_seq: u64,
    /// How many devices are enrolled.
    pub devices: u64,
    /// Every other file of the backup.
    pub files: Vec<FileFacts>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its name in the backup's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// Why there is no backup, or none was restored. Nothing half done was left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there.
    #[error("{} is there already, and a backup overwrites nothing: choose a name that is free", .0.display())]
    Exists(PathBuf),
    /// There is nothing to back up.
    #[error("{} holds no region: is `data` in the configuration right?", .0.display())]
    NoRegion(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log cannot be copied, most often because the disk is full.
    #[error("cannot copy the log to {} ({source}): is there room? Nothing was left there", .path.display())]
    Copy {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The data folder is in use.
    #[error("{} is not empty: a backup is restored into an empty folder; move what is there away first", .0.display())]
    NotEmpty(PathBuf),
    /// Another process has the data folder.
    #[error("another evertill-sync-server uses {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// There is no manifest, or one that makes no sense.
    #[error("{} is no whole backup: {why}", .path.display())]
    Manifest {
        /// Which folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file is not the one that was backed up.
    #[error("{} is not as it was when the backup was made ({why}): it was damaged or altered, use another backup", .path.display())]
    Altered {
        /// Which.
        path: PathBuf,
        /// How that was seen.
        why: &'static str,
    },
    /// The log does not verify.
    #[error("the log in the backup does not verify ({0}): it was damaged or altered, use another backup")]
    Log(#[from] VerifyError),
    /// The log cannot be opened.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Keys or certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Region(error.into())
    }
}

/// Copies the region in `data` to the new folder `to`. The server may run meanwhile: the copy is the log as it was at one moment.
///
/// # Errors
/// A name that is taken, a folder without a region, or a disk that refuses; nothing is left at `to` then.
pub fn create(data: &Path, to: &Path, env: &dyn Env) -> Result<Manifest, BackupError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    if !data.join(LOG).exists() {
        return Err(BackupError::NoRegion(data.to_owned()));
    }
    let unfinished = Unfinished::new(to, env)?;
    copy_log(&data.join(LOG), &unfinished.path.join(LOG))?;
    for name in &FILES[1..] {
        copy_file(&data.join(name), &unfinished.path.join(name))?;
    }
    let manifest = describe(&unfinished.path, env)?;
    let json = serde_json::to_vec_pretty(&manifest).expect("a manifest is JSON");
    write_new(&unfinished.path.join(MANIFEST), &json)?;
    sync_folder(&unfinished.path)?;
    unfinished.finish(to)?;
    Ok(manifest)
}

/// A folder under a temporary name, which goes away unless it is finished.
struct Unfinished {
    path: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    fn new(to: &Path, env: &dyn Env) -> Result<Self, BackupError> {
        let name = to.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mark = u32::from_be_bytes(random(env));
        let path = parent(to).join(format!(".{name}.unfinished-{mark:08x}"));
        DirBuilder::new().mode(0o700).create(&path).map_err(file_error("make", &path))?;
        Ok(Self { path, is_finished: false })
    }

    fn finish(mut self, to: &Path) -> Result<(), BackupError> {
        // A rename takes the place of an empty folder without a word.
        if fs::symlink_metadata(to).is_ok() {
            return Err(BackupError::Exists(to.to_owned()));
        }
        fs::rename(&self.path, to).map_err(file_error("write", to))?;
        self.is_finished = true;
        sync_folder(parent(to))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A copy of the log at one moment, whoever writes it meanwhile.
fn copy_log(from: &Path, to: &Path) -> Result<(), BackupError> {
    let copy = || {
        let log = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        log.busy_timeout(std::time::Duration::from_secs(30))?;
        log.execute("VACUUM INTO ?1", [to.to_string_lossy()])
    };
    copy().map_err(|source| BackupError::Copy { path: to.to_owned(), source })?;
    // SQLite leaves the syncing of such a copy to its maker.
    let file = File::open(to).map_err(file_error("read", to))?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).and_then(|()| file.sync_all()).map_err(file_error("write", to))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut bytes = Vec::new();
    File::open(from).and_then(|file| file.take(SMALL_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(file_error("read", from))?;
    if bytes.len() as u64 > SMALL_BYTES_MAX {
        return Err(file_error("read", from)(io::Error::other("it is too large to be a key or certificate")));
    }
    write_new(to, &bytes)
}

/// Writes a file that is not there yet, for its owner alone, and pushes it to the disk.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file_error("write", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(file_error("write", path))
}

fn sync_folder(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(file_error("sync", path))
}

fn describe(folder: &Path, env: &dyn Env) -> Result<Manifest, BackupError> {
    let log = Connection::open_with_flags(folder.join(LOG), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let number = |sql: &str| log.query_row(sql, [], |row| row.get::<_, u64>(0));
    let region: [u8; 16] = log.query_row("SELECT value FROM meta WHERE key = 'incarnation'", [], |row| row.get(0))?;
    let made_at = jiff::Timestamp::from_millisecond(env.unix_ms().cast_signed()).unwrap_or_default();
    Ok(Manifest {
        format: FORMAT.to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: made_at.to_string(),
        region: uuid::Uuid::from_bytes(region),
        entries: number("SELECT count(*) FROM entry")?,
        last_region_seq: number("SELECT coalesce(max(region_seq), 0) FROM entry")?,
        devices: number("SELECT count(*) FROM device WHERE store IS NOT NULL")?,
        files: FILES.iter().map(|name| facts(folder, name)).collect::<Result<_, _>>()?,
    })
}

fn facts(folder: &Path, name: &str) -> Result<FileFacts, BackupError> {
    let path = folder.join(name);
    let mut file = File::open(&path).map_err(file_error("read", &path))?;
    let (bytes, sha256) = pour(&mut file, &mut io::sink()).map_err(file_error("read", &path))?;
    Ok(FileFacts { name: name.to_owned(), bytes, sha256 })
}

/// Pours one file into another, and answers how much that was and its SHA-256 in hex.
fn pour(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut hasher, mut total, mut buffer) = (Sha256::new(), 0, vec![0; 256 * 1024]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            let hash: [u8; 32] = hasher.finalize().into();
            return Ok((total, hash.iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        total += read as u64;
    }
}

fn file_error<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BackupError + 'a {
    move |source| BackupError::File { doing, path: path.to_owned(), source }
}
