//! A database file that is damaged is put aside, never deleted: what can still be read of it is taken over from there.
//!
//! The file goes away under the name `damaged-1.db`, `damaged-2.db` … in its own folder, together with its write-ahead log, and the program begins a
//! new one in its place. [`Around`] walks the rows of the old one past those that cannot be read.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Most files that are put aside in one folder; a disk that damages more is to be replaced, and says so by errors.
pub const ASIDE_MAX: u32 = 99;

/// What is done with files as a whole, where SQLite's file system does nothing.
pub trait Files: Debug + Send + Sync {
    /// The length of a file in bytes; none when it is not there.
    ///
    /// # Errors
    /// A disk that does not say.
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Some bytes of a file from a place on; fewer where it ends before.
    ///
    /// # Errors
    /// A disk that does not give them.
    fn read(&self, path: &Path, from: u64, bytes: usize) -> io::Result<Vec<u8>>;

    /// Gives a file another name in its folder, durably.
    ///
    /// # Errors
    /// A disk that refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The machine's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineFiles;

impl Files for MachineFiles {
    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(facts) => Ok(Some(facts.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &Path, from: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut read = Vec::with_capacity(bytes);
        file.take(bytes as u64).read_to_end(&mut read)?;
        Ok(read)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        match to.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The name of the write-ahead log of a database.
pub fn log_of(db: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", db.display()))
}

/// The name of a file that is put aside.
pub fn aside(db: &Path, number: u32) -> PathBuf {
    db.with_file_name(format!("damaged-{number}.db"))
}

/// The numbers of the files that are put aside beside a database, oldest first.
///
/// # Errors
/// A disk that does not say.
pub fn all_aside(files: &dyn Files, db: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for number in 1..=ASIDE_MAX {
        if files.len(&aside(db, number))?.is_none() {
            break;
        }
        found.push(number);
    }
    Ok(found)
}

/// Puts a database that nobody has open aside, with its write-ahead log. Answers its new name.
///
/// # Errors
/// A disk that refuses, or too many that are aside already.
pub fn set_aside(files: &dyn Files, db: &Path) -> io::Result<PathBuf> {
    let number = all_aside(files, db)?.len() as u32 + 1;
    if number > ASIDE_MAX {
        return Err(io::Error::other("too many damaged files are beside it already: look at this disk, and move them away"));
    }
    let to = aside(db, number);
    files.rename(db, &to)?;
    finish_setting_aside(files, db)?;
    Ok(to)
}

/// Lets a write-ahead log follow its database where the power went between the two. Call it before a database is opened: SQLite would delete the log.
///
/// # Errors
/// A disk that refuses.
pub fn finish_setting_aside(files: &dyn Files, db: &Path) -> io::Result<()> {
    if files.len(db)?.is_some() || files.len(&log_of(db))?.is_none() {
        return Ok(());
    }
    let Some(newest) = all_aside(files, db)?.pop() else { return Ok(()) };
    let to = log_of(&aside(db, newest));
    if files.len(&to)?.is_some() { Ok(()) } else { files.rename(&log_of(db), &to) }
}

/// Rows by ascending number, past those that cannot be read.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// The last number that was looked at.
    at: i64,
    /// How many stretches could not be read.
    skipped: u64,
}

impl Around {
    /// Begins after a number.
    pub fn after(number: i64) -> Self {
        Self { at: number, skipped: 0 }
    }

    /// How many stretches of rows could not be read so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next row that can be read, as `first_from` answers the first one from a number on; none at the end. A `first_from` that fails is asked
    /// again further on: in doubled steps, and then by halves back to where reading goes on.
    pub fn next<T, E>(&mut self, mut first_from: impl FnMut(i64) -> Result<Option<(i64, T)>, E>) -> Option<(i64, T)> {
        let start = self.at.saturating_add(1);
        let mut found = match first_from(start) {
            Ok(found) => found.filter(|(number, _)| *number >= start),
            Err(_) => {
                self.skipped += 1;
                self.beyond(start, &mut first_from)?
            }
        };
        self.at = found.as_ref().map_or(i64::MAX - 1, |(number, _)| *number);
        found.take()
    }

    /// What is readable after a number that is not; none when nothing is.
    #[expect(clippy::option_option, reason = "the outer one: nothing beyond can be read; the inner one: the rows end there")]
    fn beyond<T, E>(
        &mut self,
        fails_at: i64,
        first_from: &mut impl FnMut(i64) -> Result<Option<(i64, T)>, E>,
    ) -> Option<Option<(i64, T)>> {
        let reads = |from: i64, first_from: &mut dyn FnMut(i64) -> Result<Option<(i64, T)>, E>| match first_from(from) {
            Ok(Some((number, _))) if number < from => None,
            Ok(found) => Some(found),
            Err(_) => None,
        };
        let (mut fails, mut step) = (fails_at, 1_i64);
        let (mut works, mut found) = loop {
            if step > i64::from(u32::MAX) {
                self.at = i64::MAX - 1;
                return None;
            }
            let from = fails_at.saturating_add(step);
            match reads(from, first_from) {
                Some(found) => break (from, found),
                None => fails = from,
            }
            step *= 2;
        };
        while works - fails > 1 {
            let middle = fails + (works - fails) / 2;
            match reads(middle, first_from) {
                Some(nearer) => (works, found) = (middle, nearer),
                None => fails = middle,
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_every_row_outside_of_what_is_damaged() {
        let cases: [&[(i64, i64)]; 6] = [&[], &[(5, 9)], &[(1, 4), (6, 7)], &[(20, 41)], &[(0, 3), (39, 41)], &[(0, 41)]];
        for damaged in cases {
            let is_damaged = |n: i64| damaged.iter().any(|(from, to)| (*from..*to).contains(&n));
            let first_from = |from: i64| match (from..=40).next() {
                Some(n) if is_damaged(n) => Err(()),
                Some(n) => Ok(Some((n, n * 10))),
                None if is_damaged(40) => Err(()),
                None => Ok(None),
            };
            let mut walk = Around::after(0);
            let found: Vec<i64> = std::iter::from_fn(|| walk.next(first_from)).map(|(n, _)| n).collect();
            let due: Vec<i64> = (1..=40).filter(|n| !is_damaged(*n)).collect();
            assert_eq!(found, due, "{damaged:?}");
        }
    }

    #[test]
    fn a_file_goes_aside_with_its_log_even_when_the_power_goes_in_between() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, files) = (folder.path().join("replica.db"), MachineFiles);
        let write = |path: &Path, text: &str| fs::write(path, text).expect("written");
        write(&db, "one");
        write(&log_of(&db), "log of one");
        let first = set_aside(&files, &db).expect("put aside");
        assert_eq!(first, folder.path().join("damaged-1.db"));
        assert_eq!(fs::read_to_string(log_of(&first)).expect("its log"), "log of one");
        write(&db, "two");
        write(&log_of(&db), "log of two");
        // The power goes after the first of two renamings.
        files.rename(&db, &aside(&db, 2)).expect("renamed");
        finish_setting_aside(&files, &db).expect("finished");
        assert_eq!(fs::read_to_string(log_of(&aside(&db, 2))).expect("its log"), "log of two");
        assert_eq!(all_aside(&files, &db).expect("a list"), [1, 2]);
        write(&db, "three");
        finish_setting_aside(&files, &db).expect("nothing to finish");
        assert!(db.exists());
    }
}
