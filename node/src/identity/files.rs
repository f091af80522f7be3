//! The files of a data folder: secrets, whole writes, the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::IdentityError;

/// Largest file of a data folder that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Takes a data folder for this program, for as long as the file is held.
pub(super) fn lock(folder: &Path) -> Result<File, IdentityError> {
    let path = folder.join("lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io(&path, "opened"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IdentityError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(IdentityError::Io { path, done: "locked", source }),
    }
}

/// Reads a secret, if nobody else can.
///
/// # Errors
/// A file that others may read, or that cannot be read.
pub fn read_secret(path: &Path) -> Result<String, IdentityError> {
    let mode = fs::metadata(path).map_err(io(path, "read"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(IdentityError::Readable(path.to_owned()));
    }
    read_text(path)
}

pub(super) fn read_text(path: &Path) -> Result<String, IdentityError> {
    let file = File::open(path).map_err(io(path, "read"))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io(path, "read"))?;
    Ok(text)
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), IdentityError> {
    let json = serde_json::to_string_pretty(value).expect("an identity is JSON");
    write_file(path, json.as_bytes())
}

/// Writes a file that only its owner may read: whole, or not at all, even in a power cut.
///
/// # Errors
/// When that fails.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(io(path, "written"))
}

pub(super) fn io<'a>(path: &'a Path, done: &'static str) -> impl Fn(std::io::Error) -> IdentityError + 'a {
    move |source| IdentityError::Io { path: path.to_owned(), done, source }
}

/// Bytes that are written as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> std::fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl<const N: usize> From<Hex<N>> for String {
    fn from(hex: Hex<N>) -> Self {
        hex.to_string()
    }
}

impl<const N: usize> TryFrom<String> for Hex<N> {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..N).map(byte).collect();
        let right = bytes.filter(|_| text.len() == 2 * N).and_then(|b| b.try_into().ok());
        right.map(Hex).ok_or_else(|| format!("it should be {} hexadecimal digits", 2 * N))
    }
}
