//! Disks in memory that lose power, fill up and fail, under SQLite as it is.
//!
//! A [`Disk`] is a SQLite VFS of its own: open a connection with [`Disk::vfs`] as the VFS's name and `locking_mode=EXCLUSIVE` (there is no
//! shared memory). It keeps apart what it has promised to keep, everything up to a file's last sync, and what it was only told since. Each
//! call that changes something (create, write, set length, sync, delete) has a number. Three things can be done with that:
//!
//! * **Watch**: [`Disk::watch`] is shown the disk at every such call, with that call under way, as a [`Moment`]. A process whose power goes
//!   takes nothing along, so one recorded day gives every power cut of it: [`Moment::after_power_cut`] is the disk that is found afterwards.
//! * **Cut**: a [`Fault`] of [`FaultKind::PowerCut`] fails the call of that number and everything after it; [`Disk::after_power_cut`].
//! * **Fail**: other faults let the process go on and see how it takes the error.
//!
//! What was not synced is after a cut, as the seed decides ([`Tear`]), gone, there, or there in parts: write by write or sector by sector
//! of 512 bytes, later ones with or without earlier ones. That is more than most disks do and no more than any may do. The names of files
//! are treated alike: they are safe with a new file's first sync, or with a deletion after which SQLite asks for the folder to be synced.
//!
//! A disk has no folders: paths are cut down to the file's name, so that the same disk can be found again under another folder.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operations::damaged::Files as WholeFiles;

mod contents;
mod shim;
mod state;

use shim::Registration;
use state::{Files, State};

/// Something planned to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The number of the call with which it begins, as [`Disk::calls`] counts; of the read, as [`Disk::reads`] counts, where it is one.
    pub at: u64,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The power goes: the call may or may not reach the disk, and no call after it does.
    PowerCut,
    /// There is no room for new files or writes.
    DiskFull {
        /// During so many calls.
        calls: u64,
    },
    /// Calls fail, a write in its middle.
    Error {
        /// So many of them.
        calls: u64,
    },
    /// The next sync fails.
    SyncError {
        /// Whether what it should have written is never written afterwards, though it can be read: what Linux file systems do. Otherwise
        /// a later sync makes up for it.
        forgets: bool,
    },
    /// Every sync fails from then on, and what it should have written is never written, though it can be read.
    NoSync,
    /// Every sync is said to have been done from then on, and nothing is.
    Lie,
    /// A read fails.
    ReadError,
}

/// A call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A file is created.
    Create,
    /// Bytes are written.
    Write,
    /// A file is cut off or extended.
    SetLen,
    /// A file is made durable.
    Sync,
    /// A file is deleted.
    Delete,
    /// A file gets another name, which is safe at once.
    Rename,
}

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tear {
    /// Nothing: all of it was in a cache.
    Nothing,
    /// All of it, the call that was under way included.
    Everything,
    /// Some writes, each as a whole, in no order.
    Writes,
    /// Some sectors of 512 bytes.
    Sectors,
}

impl Tear {
    /// What a seed stands for: each four seeds in a row are the four kinds.
    pub fn of(seed: u64) -> Self {
        [Self::Nothing, Self::Everything, Self::Writes, Self::Sectors][(seed % 4) as usize]
    }
}

/// Who is shown each call.
pub type Watcher = Box<dyn FnMut(Moment) + Send>;

/// A disk.
pub struct Disk {
    // The registration goes first: SQLite forgets the VFS before its state is gone.
    _registration: Registration,
    vfs: String,
    state: Arc<Mutex<State>>,
}

/// A disk at one of its calls, with that call under way.
#[derive(Clone)]
pub struct Moment {
    /// The number of the call.
    pub number: u64,
    /// The call.
    pub call: Call,
    /// The name of the file it is about.
    pub file: String,
    files: Files,
}

impl Disk {
    /// An empty disk.
    #[expect(
        clippy::new_without_default,
        reason = "a disk is a thing of its own, registered with SQLite; it has no default value"
    )]
    pub fn new() -> Self {
        Self::holding(Files::default())
    }

    fn holding(files: Files) -> Self {
        static DISKS: AtomicU64 = AtomicU64::new(0);
        let vfs = format!("crash-{}", DISKS.fetch_add(1, Ordering::Relaxed));
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        Self { _registration: Registration::new(&vfs, Arc::clone(&state)), vfs, state }
    }

    /// The name under which SQLite opens files on this disk, for as long as the disk lives.
    pub fn vfs(&self) -> &str {
        &self.vfs
    }

    /// How many calls have changed something so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many reads there were so far.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// How many calls a fault has hit so far.
    pub fn fired(&self) -> u64 {
        self.state().fired
    }

    /// Whether the power has gone.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Woken when the power goes.
    pub fn death(&self) -> Arc<tokio::sync::Notify> {
        self.state().death.clone()
    }

    /// How many files are open.
    pub fn open_files(&self) -> u64 {
        self.state().handles
    }

    /// Plans a fault in place of the one that was planned, if any.
    pub fn plan(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Takes back the planned fault. A disk without power stays without.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Shows `watcher` every further call. It must not use the disk itself.
    pub fn watch(&self, watcher: impl FnMut(Moment) + Send + 'static) {
        self.state().watcher = Some(Box::new(watcher));
    }

    /// Ends the watch.
    pub fn unwatch(&self) {
        self.state().watcher = None;
    }

    /// Its files as a whole, for those who put them aside.
    pub fn files(&self) -> Arc<dyn WholeFiles> {
        Arc::new(DiskFiles(self.state.clone()))
    }

    /// Flips one bit at rest, the one that `chance` comes to among all that are kept. Answers where; nowhere on an empty disk. The file is not damaged
    /// already, and no cart in it: those may be lost; nor a write-ahead log, without `logs_too`.
    pub fn flip(&self, chance: u64, logs_too: bool) -> Option<(String, u64)> {
        let is_at_stake =
            |name: &str| !name.starts_with("damaged-") && !name.starts_with("draft") && (logs_too || name.ends_with(".db"));
        self.state().files.flip(chance, is_at_stake)
    }

    /// The names of its files.
    pub fn names(&self) -> Vec<String> {
        self.state().files.names()
    }

    /// Another disk with what this one shows now, all of it safe.
    pub fn copy(&self) -> Disk {
        Disk::holding(self.state().files.settled())
    }

    /// The disk that is found when the process is killed now and the power stays: what was not synced can be read, and is still not safe.
    pub fn after_kill(&self) -> Disk {
        Disk::holding(self.state().files.clone())
    }

    /// The disk that is found when the power goes now, or, where a fault cut it already, after that.
    pub fn after_power_cut(&self, seed: u64) -> Disk {
        Disk::holding(self.state().files.survivors(seed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of a disk as a whole.
#[derive(Clone)]
struct DiskFiles(Arc<Mutex<State>>);

impl fmt::Debug for DiskFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskFiles").finish_non_exhaustive()
    }
}

impl WholeFiles for DiskFiles {
    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.alive().map_err(refused)?;
        Ok(state.files.find(&name_of(path)).map(|file| state.files.len(file) as u64))
    }

    fn read(&self, path: &Path, from: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = state.files.find(&name_of(path)) else { return Err(io::ErrorKind::NotFound.into()) };
        let mut read = vec![0; bytes];
        let len = state.read(file, usize::try_from(from).unwrap_or(usize::MAX), &mut read).map_err(refused)?;
        read.truncate(len);
        Ok(read)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.rename(&name_of(from), &name_of(to)).map_err(refused)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn refused(code: i32) -> io::Error {
    io::Error::other(format!("the disk refuses with {code}"))
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("vfs", &self.vfs).finish_non_exhaustive()
    }
}

impl Moment {
    /// The disk that is found when the power goes during this call.
    pub fn after_power_cut(&self, seed: u64) -> Disk {
        Disk::holding(self.files.survivors(seed))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} ({:?} of {})", self.number, self.call, self.file)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
