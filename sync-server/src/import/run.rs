//! The steps of an import, in pieces.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use sync_proto::env::Env;
use uuid::Uuid;

use super::{ImportError, Row, file_of, forget_file, table};
use crate::hub::Hub;
use crate::region::Region;
use crate::web_api::{ImportState, ImportView};

/// Rows that are compared at once: what a till's acknowledgement may have to wait for.
pub const READ_ROWS: usize = 256;
/// Rows that are written, or taken back, at once.
pub const WRITE_ROWS: usize = 64;

/// The way to the region's log: the log itself, or the thread that owns it.
pub trait Door {
    /// Runs `work` at the log and answers what it answers.
    ///
    /// # Errors
    /// [`ImportError::Stopped`] when the owner has ended.
    fn with<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T, ImportError>;
}

impl Door for Region {
    fn with<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T, ImportError> {
        Ok(work(self))
    }
}

impl Door for Hub {
    fn with<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T, ImportError> {
        Ok(self.with_blocking(work)?)
    }
}

/// Goes on with a step of an import until it rests. `tell` is shown how it stands after every piece, and may stop it.
///
/// # Errors
/// What `tell` answers, an import that was taken away meanwhile, a file that cannot be read, or a log that refuses.
pub fn step(
    door: &mut impl Door,
    folder: &Path,
    id: Uuid,
    step: ImportState,
    env: &Arc<dyn Env>,
    tell: impl FnMut(&ImportView) -> Result<(), ImportError>,
) -> Result<ImportView, ImportError> {
    match step {
        ImportState::Reading => read(door, folder, id, tell),
        ImportState::Applying => apply(door, folder, id, env, tell),
        ImportState::Undoing => undo(door, id, env, tell),
        _ => door.with(move |region| region.import(id))?,
    }
}

fn read(
    door: &mut impl Door,
    folder: &Path,
    id: Uuid,
    mut tell: impl FnMut(&ImportView) -> Result<(), ImportError>,
) -> Result<ImportView, ImportError> {
    let bytes = std::fs::read(file_of(folder, id)).map_err(ImportError::File)?;
    let currency = door.with(|region| region.currency())??;
    let table = table::read(&bytes, currency);
    drop(bytes);
    let codes = Arc::new(table.codes());
    let (rows, problems, wrong) = (table.file_rows, table.problems, table.wrong);
    let view = door.with(move |region| region.import_read_begin(id, rows, &problems, wrong))??;
    tell(&view)?;
    for piece in pieces(table.rows, READ_ROWS) {
        let codes = codes.clone();
        let view = door.with(move |region| region.import_compare(id, &piece, &codes))??;
        tell(&view)?;
    }
    let view = door.with(move |region| region.import_read_end(id))??;
    if view.state == ImportState::Refused {
        forget_file(folder, id);
    }
    tell(&view)?;
    Ok(view)
}

fn apply(
    door: &mut impl Door,
    folder: &Path,
    id: Uuid,
    env: &Arc<dyn Env>,
    mut tell: impl FnMut(&ImportView) -> Result<(), ImportError>,
) -> Result<ImportView, ImportError> {
    let done = door.with(move |region| region.import(id))??.done;
    let bytes = std::fs::read(file_of(folder, id)).map_err(ImportError::File)?;
    let currency = door.with(|region| region.currency())??;
    let table = table::read(&bytes, currency);
    drop(bytes);
    let codes: Arc<BTreeSet<String>> = Arc::new(table.codes());
    // A file that is ready has nothing wrong, so that its rows are counted as they were when it was read.
    let rest: Vec<Row> = table.rows.into_iter().skip(usize::try_from(done).unwrap_or(usize::MAX)).collect();
    for piece in pieces(rest, WRITE_ROWS) {
        let (codes, env) = (codes.clone(), env.clone());
        let view = door.with(move |region| region.import_apply(id, &piece, &codes, &*env))??;
        tell(&view)?;
    }
    let view = door.with(move |region| region.import_rest(id, ImportState::Applied))??;
    forget_file(folder, id);
    tell(&view)?;
    Ok(view)
}

fn undo(
    door: &mut impl Door,
    id: Uuid,
    env: &Arc<dyn Env>,
    mut tell: impl FnMut(&ImportView) -> Result<(), ImportError>,
) -> Result<ImportView, ImportError> {
    loop {
        let env = env.clone();
        let (view, more) = door.with(move |region| region.import_undo(id, WRITE_ROWS, &*env))??;
        if !more {
            break;
        }
        tell(&view)?;
    }
    let view = door.with(move |region| region.import_rest(id, ImportState::Undone))??;
    tell(&view)?;
    Ok(view)
}

/// Rows in pieces of a size, without a copy of them.
fn pieces(rows: Vec<Row>, size: usize) -> impl Iterator<Item = Vec<Row>> {
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<Row> = rows.by_ref().take(size).collect();
        (!piece.is_empty()).then_some(piece)
    })
}
