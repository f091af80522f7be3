//! What the machine says about a folder: space left, and who may read what is in it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Below so many free bytes a disk is reported as running full.
pub const DISK_FREE_LOW_BYTES: u64 = 512 * 1024 * 1024;

/// Bytes that an ordinary user may still write to the disk of a path.
///
/// # Errors
/// A path that is not there, or a system that does not say.
pub fn disk_free_bytes(path: &Path) -> io::Result<u64> {
    let facts = rustix::fs::statvfs(path)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Whether anyone but the owner may read or write.
pub fn others_may_use(facts: &fs::Metadata) -> bool {
    facts.permissions().mode() & 0o077 != 0
}

/// Whether this process may write into a folder. Asks the system, so that nothing needs to be written.
pub fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// The numbers of the user that owns a file and of the one that this process is.
pub fn owner_and_self(facts: &fs::Metadata) -> (u32, u32) {
    (facts.uid(), rustix::process::geteuid().as_raw())
}

/// The length of a file in bytes; 0 when it is not there.
pub fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |facts| facts.len())
}

/// Bytes in the unit that people read: `512 B`, `3.4 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    let mut unit = 1_u64;
    let mut name = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if bytes < unit * 1024 {
            break;
        }
        (unit, name) = (unit * 1024, larger);
    }
    if unit == 1 { format!("{bytes} B") } else { format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_is_like() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(disk_free_bytes(folder.path()).expect("an answer") > 0);
        assert!(disk_free_bytes(&folder.path().join("nothing")).is_err());
        assert!(may_write(folder.path()));
        assert!(!may_write(&folder.path().join("nothing")));
        let file = folder.path().join("file");
        fs::write(&file, "four").expect("written");
        for (mode, others) in [(0o600, false), (0o640, true), (0o604, true), (0o700, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            let facts = fs::metadata(&file).expect("facts");
            assert_eq!(others_may_use(&facts), others, "{mode:o}");
            let (owner, own) = owner_and_self(&facts);
            assert_eq!(owner, own);
        }
        assert_eq!((file_bytes(&file), file_bytes(&folder.path().join("nothing"))), (4, 0));
    }

    #[test]
    fn bytes_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (3_565_158, "3.3 MiB"), (1 << 40, "1.0 TiB")] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
