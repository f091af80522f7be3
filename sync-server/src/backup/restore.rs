//! From a backup to a data folder that a server can run on.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use domain::ids::DeviceId;
use rusqlite::Connection;
use sync_proto::env::{Env, random};

use super::{BackupError, FILES, FORMAT, FileFacts, LOG, MANIFEST, Manifest, SMALL_BYTES_MAX, file_error, pour, sync_folder};
use crate::authority::Authority;
use crate::region::{Region, Writer};

/// The log until it is verified: a folder without `region.db` is not used by any server.
const UNVERIFIED: &str = "region.db.unverified";

/// Fills the empty folder `data` from the backup `from`, once everything in it verifies.
///
/// The log is older than what devices and the central database have seen, so it goes on as another region: a fresh incarnation makes every
/// device compare and send what is missing, and makes the feed begin at the first entry, where whatever is known changes nothing. Enrolment
/// codes of the backup are ended.
///
/// # Errors
/// A folder that is not empty, a backup that is not whole or does not verify, or a disk that refuses; `data` is empty again then.
pub fn restore(from: &Path, data: &Path, env: &dyn Env) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(from)?;
    let _lock = take_empty(data)?;
    let mut filling = Filling { data, is_finished: false };
    for facts in &manifest.files {
        let name = if facts.name == LOG { UNVERIFIED } else { &facts.name };
        copy_checked(&from.join(&facts.name), &data.join(name), facts)?;
    }
    let log = data.join(UNVERIFIED);
    verify(&log, data, &manifest, env)?;
    renew(&log, env)?;
    fs::rename(&log, data.join(LOG)).map_err(file_error("write", &data.join(LOG)))?;
    sync_folder(data)?;
    filling.is_finished = true;
    Ok(manifest)
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let wrong = |why: String| BackupError::Manifest { path: from.to_owned(), why };
    let mut text = String::new();
    let read = File::open(from.join(MANIFEST)).and_then(|file| file.take(SMALL_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| wrong(format!("its {MANIFEST} cannot be read ({error})")))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| wrong(format!("its {MANIFEST} makes no sense ({error})")))?;
    if manifest.format != FORMAT {
        return Err(wrong(format!(
            "its format is {:?}, and this program reads {FORMAT:?}: use the program that made it",
            manifest.format
        )));
    }
    // Exactly these names, so that a manifest leads nowhere else.
    let mut names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    let mut expected = FILES.to_vec();
    names.sort_unstable();
    expected.sort_unstable();
    if names != expected {
        return Err(wrong(format!("it lists the files {names:?} instead of {expected:?}")));
    }
    Ok(manifest)
}

/// Takes a folder that is empty or not there yet.
fn take_empty(data: &Path) -> Result<File, BackupError> {
    match fs::read_dir(data) {
        Ok(entries) => {
            if entries.into_iter().next().is_some() {
                return Err(BackupError::NotEmpty(data.to_owned()));
            }
        }
        Err(_) => DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(file_error("make", data))?,
    }
    let path = data.join("lock");
    let lock = File::options().create(true).append(true).open(&path).map_err(file_error("write", &path))?;
    lock.try_lock().map_err(|_| BackupError::InUse(data.to_owned()))?;
    Ok(lock)
}

/// A data folder that is being filled, and emptied again unless that succeeds.
struct Filling<'a> {
    data: &'a Path,
    is_finished: bool,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let beside = ["", "-wal", "-shm", "-journal"].map(|suffix| format!("{UNVERIFIED}{suffix}"));
        for name in FILES.iter().map(|name| (*name).to_owned()).chain(beside).chain(["lock".to_owned()]) {
            let _ = fs::remove_file(self.data.join(name));
        }
    }
}

/// Copies a file, and holds what was copied against the manifest.
fn copy_checked(from: &Path, to: &Path, facts: &FileFacts) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(file_error("read", from))?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(file_error("write", to))?;
    let (bytes, sha256) = pour(&mut source, &mut target).map_err(file_error("copy", from))?;
    target.sync_all().map_err(file_error("write", to))?;
    let altered = |why| BackupError::Altered { path: from.to_owned(), why };
    if bytes != facts.bytes {
        return Err(altered("its length is another"));
    }
    if sha256 != facts.sha256 {
        return Err(altered("its SHA-256 is another"));
    }
    Ok(())
}

/// Reads the whole log as an outsider would: every chain from its beginning, every seal, against the keys that the server admitted.
fn verify(log: &Path, data: &Path, manifest: &Manifest, env: &dyn Env) -> Result<(), BackupError> {
    let authority = Authority::open(data)?;
    let damaged = |why| BackupError::Altered { path: PathBuf::from(LOG), why };
    let check: String = Connection::open(log)?.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(damaged("its pages do not fit together"));
    }
    let writer = Writer {
        device: DeviceId::new(env.unix_ms(), random(env)),
        incarnation: random(env),
        actor_seed: random(env),
        key: authority.seal_key().clone(),
    };
    let region = Region::open(log, writer)?;
    let entries = region.verify()?;
    if region.own().incarnation != *manifest.region.as_bytes() || entries != manifest.entries {
        return Err(damaged("it is not the log that the manifest describes"));
    }
    Ok(())
}

/// Gives the log a fresh incarnation, and ends what was only good at the time of the backup.
fn renew(log: &Path, env: &dyn Env) -> Result<(), BackupError> {
    let db = Connection::open(log)?;
    db.execute_batch("PRAGMA synchronous = FULL")?;
    let tx = db.unchecked_transaction()?;
    tx.execute("UPDATE meta SET value = ?1 WHERE key = 'incarnation'", [random::<16>(env)])?;
    tx.execute_batch("DELETE FROM enrolment_code; DELETE FROM meta WHERE key = 'wrong_tries';")?;
    tx.commit()?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    // Out of its write-ahead log, so that renaming the one file takes everything along.
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(())
}
