//! What the product does, beside what the machine can do: every budget of docs/performance.md that can be measured.
//!
//! Everything here is the real thing: the till and the server as libraries, SQLite files on the disk, QUIC with mutual TLS on loopback,
//! a private PostgreSQL. What the machine can do at best is measured in the same process, in turns with the product, because absolute
//! times say little: the same code is three times slower on a busy machine, and so is its limit. Nothing here is a test; no test
//! asserts a time.
//!
//! | module | holds |
//! |---|---|
//! | [`rows`] | the groups of figures, one file each |
//! | [`row`], [`figures`] | a row, the table, the JSON; percentiles, medians, turns |
//! | [`limits`] | what the machine can do: a raw sync, a preallocated log, an echo over QUIC |
//! | [`shop`], [`central`] | a server and tills in this process; the whole server beside PostgreSQL |
//! | [`processor`] | what programs take of the processor |
//! | [`devices`], [`peer`], [`wire`] | devices without a till, their logs, their connections; a long cable |
//! | [`catalogue`], [`dice`] | products and chance from a seed |
//! | [`child`] | what this program does when it starts itself, to measure a fresh process |

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub mod catalogue;
pub mod central;
pub mod child;
pub mod devices;
pub mod dice;
pub mod figures;
pub mod limits;
pub mod peer;
pub mod processor;
pub mod row;
pub mod rows;
pub mod shop;
pub mod wire;

/// Where files go when nobody says: a folder for files that live long, which is on a disk where `/tmp` may be in memory.
const DISK: &str = "/var/tmp";
/// How long what is to go on evenly does when nobody says, and in a quick run.
const SUSTAINED: Duration = Duration::from_secs(30);
const SUSTAINED_QUICK: Duration = Duration::from_secs(2);

/// What all groups are told.
#[derive(Debug)]
pub struct Bench {
    /// Fewer products, devices and runs: to see that everything works, not to compare.
    pub quick: bool,
    /// The products' names.
    pub names: catalogue::Names,
    /// How long what is to go on evenly does.
    pub sustained: Duration,
    parent: PathBuf,
}

impl Bench {
    /// A bench whose files go below a folder on a disk.
    ///
    /// # Errors
    /// A folder that is not there, or that is in memory, where a sync costs nothing.
    pub fn new(quick: bool, names: catalogue::Names, folder: Option<PathBuf>) -> Result<Self> {
        let usual = || if Path::new(DISK).is_dir() { PathBuf::from(DISK) } else { std::env::temp_dir() };
        let parent = folder.unwrap_or_else(usual);
        let parent = parent.canonicalize().with_context(|| format!("cannot use the folder {}", parent.display()))?;
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        if in_memory(&mounts, &parent) {
            bail!("{} is in memory, where a sync costs nothing: give a folder on a disk with --folder", parent.display());
        }
        Ok(Self { quick, names, sustained: if quick { SUSTAINED_QUICK } else { SUSTAINED }, parent })
    }

    /// `full`, or `quick` when that is asked for.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A folder of one's own, which goes when it is dropped.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn folder(&self) -> Result<TempDir> {
        tempfile::Builder::new().prefix("evertill-bench-").tempdir_in(&self.parent).context("cannot make a folder")
    }
}

/// Whether the file system that a path is on is one without a disk.
fn in_memory(mounts: &str, path: &Path) -> bool {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    // The longest mount point holds it; of several at one place, the last.
    mounted.max_by_key(|(length, _)| *length).is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_is_known_by_its_mount() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n";
        for (path, expected) in
            [("/var/tmp", false), ("/tmp/x", true), ("/tmp/disk/x", false), ("/tmpfoo", false), ("/dev/shm", true)]
        {
            assert_eq!(in_memory(mounts, Path::new(path)), expected, "{path}");
        }
        assert!(!in_memory("", Path::new("/")));
    }
}
