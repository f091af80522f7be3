//! Products from a CSV file: read, compared, shown, and only then written; taken back if somebody wants that.
//!
//! * `table`: bytes into rows, with what is wrong by row and column. `cells`: what one cell means.
//! * [`run`]: the steps (read and compare, apply, undo), each in small pieces through a [`run::Door`], so that the region's owner has time
//!   for tills between them.
//! * [`Importer`]: the steps in the background of a server, one at a time.
//! * What is known of an import lies in the region's database (`region/imports.rs`) and survives a restart: every piece that is written
//!   moves the import's place in the same transaction.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sync_proto::env::{Env, random};
use tokio::sync::watch;
use uuid::Uuid;

use crate::hub::{Hub, HubError};
use crate::live::Live;
use crate::region::{AuthorError, Editor, Region};
use crate::web_api::{ImportState, ImportView, LiveEvent};

mod cells;
pub mod run;
mod table;

pub(crate) use cells::guarded;
pub use cells::{Row, RowTax};

/// Largest file in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most products of one file.
pub const ROWS_MAX: usize = 1_000_000;
/// The columns that a file may have, and that an export has, in its order.
pub const COLUMNS: [&str; 8] = ["code", "name", "price", "tax_rate_bp", "tax_class", "barcodes", "category", "active"];
/// The columns that a file must have.
pub const COLUMNS_NEEDED: [&str; 3] = ["code", "name", "price"];
/// Longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Watchers are told of an import's progress this often at most.
const TELL_EVERY_MS: u64 = 200;

/// Why an import does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The server or the program is stopping; the import goes on at the next start.
    #[error("the server is stopping; the import goes on when it runs again")]
    Stopped,
    /// There is no such import, or it was taken away meanwhile.
    #[error("there is no such import")]
    NotFound,
    /// It cannot do that now; the sentence says why.
    #[error("{0}")]
    Conflict(String),
    /// The file cannot be kept or read.
    #[error("the file of the import cannot be kept or read")]
    File(#[source] std::io::Error),
    /// The log refuses.
    #[error(transparent)]
    Author(#[from] AuthorError),
}

impl From<HubError> for ImportError {
    fn from(_: HubError) -> Self {
        Self::Stopped
    }
}

/// Notes a file: from here on it survives a restart. Nothing is read yet.
///
/// # Errors
/// A file that is too large or cannot be kept, or the log refuses.
pub fn begin(
    door: &mut impl run::Door,
    folder: &Path,
    name: &str,
    bytes: &[u8],
    who: Option<Editor>,
    env: &dyn Env,
) -> Result<Uuid, ImportError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ImportError::Conflict(format!("A file has at most {} MiB: split it.", FILE_BYTES_MAX >> 20)));
    }
    let now_ms = env.unix_ms();
    let id = domain::ids::uuid_v7(now_ms, random(env));
    let shown = name.trim();
    let name = shown[..shown.floor_char_boundary(NAME_BYTES_MAX)].to_owned();
    let written = write_file(&file_of(folder, id), bytes).map_err(ImportError::File);
    let begun = written.and_then(|()| door.with(move |region| region.import_begin(id, &name, who.as_ref(), now_ms))?);
    match begun {
        Ok(forgotten) => {
            forgotten.into_iter().for_each(|id| forget_file(folder, id));
            Ok(id)
        }
        // What is there of it, on a disk that may be full, is of no use to anybody.
        Err(error) => {
            forget_file(folder, id);
            Err(error)
        }
    }
}

/// Brings a file from beginning to end. One that has anything wrong is refused whole, as its state says.
///
/// # Errors
/// What [`begin`] and [`run::step`] answer.
pub fn whole(
    door: &mut impl run::Door,
    folder: &Path,
    name: &str,
    bytes: &[u8],
    env: &Arc<dyn Env>,
) -> Result<ImportView, ImportError> {
    let id = begin(door, folder, name, bytes, None, &**env)?;
    let read = run::step(door, folder, id, ImportState::Reading, env, |_| Ok(()))?;
    if read.state != ImportState::Ready {
        return Ok(read);
    }
    door.with(move |region| region.import_enter(id, ImportState::Applying))??;
    run::step(door, folder, id, ImportState::Applying, env, |_| Ok(()))
}

/// Forgets an import that wrote nothing, and its file.
///
/// # Errors
/// An import that wrote something, or the log refuses.
pub fn forget(door: &mut impl run::Door, folder: &Path, id: Uuid) -> Result<(), ImportError> {
    door.with(move |region| region.import_delete(id))??;
    forget_file(folder, id);
    Ok(())
}

fn file_of(folder: &Path, id: Uuid) -> PathBuf {
    folder.join(format!("{id}.csv"))
}

fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::File::open(folder)?.sync_all()
}

/// Removes a file that is not needed any more. One that is not there is fine, one that stays does no harm.
fn forget_file(folder: &Path, id: Uuid) {
    if let Err(error) = std::fs::remove_file(file_of(folder, id))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, import = %id, "the file of an import could not be removed");
    }
}

/// Removes the files that no import reads any more: the power may go between a file and what is noted of it.
fn forget_strays(folder: &Path, all: &[ImportView]) -> std::io::Result<()> {
    let reads = |view: &&ImportView| matches!(view.state, ImportState::Reading | ImportState::Ready | ImportState::Applying);
    let read: BTreeSet<Uuid> = all.iter().filter(reads).filter_map(|view| view.id.parse().ok()).collect();
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    for file in files {
        let name = file?.file_name();
        let id = name.to_str().and_then(|name| Uuid::try_parse(name.strip_suffix(".csv")?).ok());
        if let Some(id) = id.filter(|id| !read.contains(id)) {
            forget_file(folder, id);
        }
    }
    Ok(())
}

/// Imports in the background of a server. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Importer {
    hub: Hub,
    folder: PathBuf,
    env: Arc<dyn Env>,
    live: Live,
    stop: watch::Receiver<bool>,
    /// One step at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Importer {
    /// Imports through `hub`, with files in `folder`, until told to stop.
    pub fn new(hub: Hub, folder: PathBuf, env: Arc<dyn Env>, live: Live, stop: watch::Receiver<bool>) -> Self {
        Self { hub, folder, env, live, stop, turn: Arc::default() }
    }

    /// Goes on with what a stop interrupted, and removes files that it left behind.
    ///
    /// # Errors
    /// When the log refuses.
    pub async fn resume(&self) -> Result<(), ImportError> {
        let all = self.list().await?;
        if let Err(error) = forget_strays(&self.folder, &all) {
            tracing::warn!(%error, "files of imports that nobody reads could not be removed");
        }
        for view in all.into_iter().rev() {
            if let (Ok(id), ImportState::Reading | ImportState::Applying | ImportState::Undoing) = (view.id.parse(), view.state) {
                self.spawn(id, view.state);
            }
        }
        Ok(())
    }

    /// Returns when nothing is under way any more, after the order to stop.
    pub async fn ended(&self) {
        drop(self.turn.lock().await);
    }

    /// Takes a file and begins to read it.
    ///
    /// # Errors
    /// A file that is too large or cannot be kept, or the log refuses.
    pub async fn begin(&self, name: String, bytes: Vec<u8>, who: Editor) -> Result<ImportView, ImportError> {
        let this = self.clone();
        let begun =
            tokio::task::spawn_blocking(move || begin(&mut this.hub.clone(), &this.folder, &name, &bytes, Some(who), &*this.env));
        let id = begun.await.map_err(|_| ImportError::Stopped)??;
        self.spawn(id, ImportState::Reading);
        self.get(id).await
    }

    /// Begins to write what was read.
    ///
    /// # Errors
    /// An import that is not ready, or the log refuses.
    pub async fn apply(&self, id: Uuid) -> Result<ImportView, ImportError> {
        self.step(id, ImportState::Applying).await
    }

    /// Begins to take back what was written.
    ///
    /// # Errors
    /// An import that has not been written, or the log refuses.
    pub async fn undo(&self, id: Uuid) -> Result<ImportView, ImportError> {
        self.step(id, ImportState::Undoing).await
    }

    /// Forgets an import that was not applied, or stops reading it.
    ///
    /// # Errors
    /// An import that was applied, or the log refuses.
    pub async fn delete(&self, id: Uuid) -> Result<(), ImportError> {
        self.hub.with(move |region| region.import_delete(id)).await??;
        forget_file(&self.folder, id);
        Ok(())
    }

    /// All imports, the newest first.
    ///
    /// # Errors
    /// When the log refuses.
    pub async fn list(&self) -> Result<Vec<ImportView>, ImportError> {
        self.hub.with(|region| region.imports()).await?
    }

    /// One import.
    ///
    /// # Errors
    /// No such import, or the log refuses.
    pub async fn get(&self, id: Uuid) -> Result<ImportView, ImportError> {
        self.hub.with(move |region| region.import(id)).await?
    }

    async fn step(&self, id: Uuid, to: ImportState) -> Result<ImportView, ImportError> {
        let view = self.hub.with(move |region| region.import_enter(id, to)).await??;
        self.spawn(id, to);
        Ok(view)
    }

    fn spawn(&self, id: Uuid, step: ImportState) {
        let this = self.clone();
        tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            if *this.stop.borrow() {
                return;
            }
            let work = this.clone();
            let done = tokio::task::spawn_blocking(move || work.run(id, step)).await;
            match done {
                Ok(Ok(view)) => {
                    this.live.send(LiveEvent::Document { kind: "product".to_owned(), id: None });
                    tracing::info!(import = %id, state = ?view.state, "{}", view.message);
                }
                // Taken away while it was read, or to be gone on with after a start.
                Ok(Err(ImportError::NotFound | ImportError::Stopped)) => {}
                Ok(Err(error)) => this.fail(id, &error).await,
                Err(error) => tracing::error!(%error, import = %id, "an import broke"),
            }
        });
    }

    fn run(&self, id: Uuid, step: ImportState) -> Result<ImportView, ImportError> {
        let mut told_ms = 0;
        let tell = |view: &ImportView| {
            let now_ms = self.env.unix_ms();
            let resting = view.state != step;
            if resting || now_ms.saturating_sub(told_ms) >= TELL_EVERY_MS {
                told_ms = now_ms;
                let (id, state, done, rows) = (view.id.clone(), view.state, view.done, view.rows);
                self.live.send(LiveEvent::Import { id, state, done, rows });
            }
            match *self.stop.borrow() {
                true => Err(ImportError::Stopped),
                false => Ok(()),
            }
        };
        run::step(&mut self.hub.clone(), &self.folder, id, step, &self.env, tell)
    }

    async fn fail(&self, id: Uuid, error: &ImportError) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        tracing::error!(%error, cause, import = %id, "an import failed");
        let sentence = format!("{error}{cause}");
        let noted = self.hub.with(move |region: &mut Region| region.import_fail(id, &sentence)).await;
        if let Ok(Ok(view)) = noted {
            // Nobody reads it again, and the disk may be full.
            forget_file(&self.folder, id);
            let (id, state, done, rows) = (view.id, view.state, view.done, view.rows);
            self.live.send(LiveEvent::Import { id, state, done, rows });
        }
    }
}
