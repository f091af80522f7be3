//! What a disk holds: what it promised to keep, what it was only told, and which of the two survives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contents::Contents;
use super::{Call, Fault, FaultKind, Tear};
use crate::Dice;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;
/// What an encrypted file begins with, in bytes.
const SALT_BYTES: u64 = 16;

/// Why a call failed, as SQLite's result code says it.
pub(super) type Refusal = i32;

/// The files and their names. A clone is a cheap snapshot.
#[derive(Clone, Default)]
pub(super) struct Files {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    unsynced_names: Vec<Naming>,
}

#[derive(Clone, Default)]
struct File {
    name: String,
    now: Contents,
    durable: Contents,
    /// What was written since the last sync, oldest first.
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, data: Arc<[u8]> },
    SetLen(usize),
}

/// A change of the directory that is not on the platter yet.
#[derive(Clone)]
enum Naming {
    Created(String, usize),
    Deleted(String),
}

impl Files {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn name(&self, file: usize) -> &str {
        &self.files[file].name
    }

    pub(super) fn len(&self, file: usize) -> usize {
        self.files[file].now.len()
    }

    pub(super) fn read(&self, file: usize, at: usize, out: &mut [u8]) -> usize {
        self.files[file].now.read(at, out)
    }

    /// A file without a name, gone with its handle.
    pub(super) fn create_nameless(&mut self) -> usize {
        self.files.push(File { name: "(temporary)".to_owned(), ..File::default() });
        self.files.len() - 1
    }

    pub(super) fn create(&mut self, name: &str) -> usize {
        self.files.push(File { name: name.to_owned(), ..File::default() });
        let file = self.files.len() - 1;
        self.names.insert(name.to_owned(), file);
        self.unsynced_names.push(Naming::Created(name.to_owned(), file));
        file
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.names.remove(name);
        self.unsynced_names.push(Naming::Deleted(name.to_owned()));
    }

    /// The names, ascending.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Another name for a file, safe at once.
    fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(file) = self.names.remove(from) else { return false };
        self.names.insert(to.to_owned(), file);
        self.files[file].name = to.to_owned();
        self.sync_names();
        true
    }

    /// Flips one bit, the one that `chance` comes to among all of the files whose names `counts`.
    pub(super) fn flip(&mut self, chance: u64, counts: impl Fn(&str) -> bool) -> Option<(String, u64)> {
        let files: Vec<(String, usize)> =
            self.names.iter().filter(|(name, _)| counts(name)).map(|(n, f)| (n.clone(), *f)).collect();
        let bytes: u64 = files.iter().map(|(_, file)| self.files[*file].now.len() as u64).sum();
        let (mut at, bit) = ((chance >> 3).checked_rem(bytes)?, chance & 7);
        for (name, file) in files {
            let file = &mut self.files[file];
            let len = file.now.len() as u64;
            if at >= len {
                at -= len;
                continue;
            }
            // The salt of an encrypted file: without it no page can be read by anybody.
            let at = at.max(SALT_BYTES.min(len - 1));
            for contents in [&mut file.now, &mut file.durable] {
                let mut byte = [0];
                if contents.read(at as usize, &mut byte) == 1 {
                    contents.write(at as usize, &[byte[0] ^ (1 << bit)]);
                }
            }
            return Some((name, at));
        }
        None
    }

    pub(super) fn sync_names(&mut self) {
        self.names_durable.clone_from(&self.names);
        self.unsynced_names.clear();
    }

    pub(super) fn write(&mut self, file: usize, at: usize, data: &[u8]) {
        let file = &mut self.files[file];
        file.now.write(at, data);
        file.unsynced.push(Change::Write { at, data: data.into() });
    }

    pub(super) fn set_len(&mut self, file: usize, len: usize) {
        let file = &mut self.files[file];
        file.now.set_len(len);
        file.unsynced.push(Change::SetLen(len));
    }

    /// Puts a file on the platter. With the first sync of a new file all names go there: SQLite syncs the folder then.
    pub(super) fn sync(&mut self, at: usize) {
        let file = &mut self.files[at];
        for change in std::mem::take(&mut file.unsynced) {
            match change {
                Change::Write { at, data } => file.durable.write(at, &data),
                Change::SetLen(len) => file.durable.set_len(len),
            }
        }
        if self.unsynced_names.iter().any(|n| matches!(n, Naming::Created(_, file) if *file == at)) {
            self.sync_names();
        }
    }

    /// What a failed sync does on a system that then takes its dirty pages for written: they stay readable, and never reach the platter.
    fn forget_unsynced_writes(&mut self, file: usize) {
        self.files[file].unsynced.retain(|change| matches!(change, Change::SetLen(_)));
    }

    /// The files as they are now, all of them on the platter.
    pub(super) fn settled(&self) -> Files {
        self.with_contents(&self.names, |file| file.now.clone())
    }

    /// What is left after a power cut.
    pub(super) fn survivors(&self, seed: u64) -> Files {
        let tear = Tear::of(seed);
        let mut dice = Dice::new(seed);
        let mut names = self.names_durable.clone();
        for naming in &self.unsynced_names {
            if !tear.keeps_change(&mut dice, 128) {
                continue;
            }
            match naming {
                Naming::Created(name, file) => names.insert(name.clone(), *file),
                Naming::Deleted(name) => names.remove(name),
            };
        }
        self.with_contents(&names, |file| file.survivor(tear, &mut dice))
    }

    fn with_contents(&self, names: &BTreeMap<String, usize>, mut contents: impl FnMut(&File) -> Contents) -> Files {
        let mut left = Files::default();
        for (name, &file) in names {
            let now = contents(&self.files[file]);
            let new = left.files.len();
            left.files.push(File { name: name.clone(), durable: now.clone(), now, unsynced: Vec::new() });
            left.names.insert(name.clone(), new);
        }
        left.names_durable.clone_from(&left.names);
        left
    }
}

impl File {
    fn survivor(&self, tear: Tear, dice: &mut Dice) -> Contents {
        // One share a file, so that among many seeds there are those that keep nearly all and those that keep nearly nothing.
        let kept_of_256 = [16, 128, 240, 253][dice.below(4) as usize];
        let mut left = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::SetLen(len) if tear.keeps_change(dice, kept_of_256) => left.set_len(*len),
                Change::SetLen(_) => {}
                Change::Write { at, data } if tear == Tear::Sectors => {
                    for (at, sector) in sectors(*at, data) {
                        if dice.chance(kept_of_256) {
                            left.write(at, sector);
                        }
                    }
                }
                Change::Write { at, data } if tear.keeps_change(dice, kept_of_256) => left.write(*at, data),
                Change::Write { .. } => {}
            }
        }
        left
    }
}

impl Tear {
    fn keeps_change(self, dice: &mut Dice, of_256: u8) -> bool {
        match self {
            Tear::Nothing => false,
            Tear::Everything => true,
            Tear::Writes | Tear::Sectors => dice.chance(of_256),
        }
    }
}

/// Cuts a write where the sectors of the disk end.
fn sectors(at: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from == data.len() {
            return None;
        }
        let here = at + from;
        let take = (SECTOR - here % SECTOR).min(data.len() - from);
        let part = &data[from..from + take];
        from += take;
        Some((here, part))
    })
}

/// A disk in use: files, locks, the fault that is planned, and who watches.
#[derive(Default)]
pub(super) struct State {
    pub(super) files: Files,
    pub(super) calls: u64,
    pub(super) reads: u64,
    pub(super) fault: Option<Fault>,
    pub(super) fired: u64,
    pub(super) dead: bool,
    /// Woken when the power goes.
    pub(super) death: Arc<tokio::sync::Notify>,
    /// Files open now, and ever.
    pub(super) handles: u64,
    pub(super) handles_opened: u64,
    pub(super) dice: Dice,
    pub(super) watcher: Option<super::Watcher>,
    /// Lock level by handle, by file.
    pub(super) locks: BTreeMap<usize, BTreeMap<u64, i32>>,
}

/// What a fault makes of the call at hand.
pub(super) enum Verdict {
    Goes,
    /// Nothing of it happens.
    Refused(Refusal),
    /// It is under way when the power goes, or breaks off in its middle.
    HalfDone(Refusal),
    /// The sync fails, and what it should have written is taken for written.
    Forgotten(Refusal),
    /// It is said to have happened, and has not.
    Lie,
}

impl State {
    pub(super) fn alive(&self) -> Result<(), Refusal> {
        if self.dead { Err(rusqlite::ffi::SQLITE_IOERR) } else { Ok(()) }
    }

    /// Counts a mutating call and says what becomes of it.
    fn begin(&mut self, call: Call) -> Result<Verdict, Refusal> {
        use rusqlite::ffi;
        self.alive()?;
        let number = self.calls;
        self.calls += 1;
        let Some(fault) = self.fault else { return Ok(Verdict::Goes) };
        let verdict = match fault.kind {
            FaultKind::PowerCut if number >= fault.at => {
                self.dead = true;
                self.death.notify_one();
                Verdict::HalfDone(ffi::SQLITE_IOERR)
            }
            FaultKind::DiskFull { calls } if (fault.at..fault.at + calls).contains(&number) => match call {
                Call::Write => Verdict::Refused(ffi::SQLITE_FULL),
                Call::Create => Verdict::Refused(ffi::SQLITE_CANTOPEN),
                Call::SetLen | Call::Sync | Call::Delete | Call::Rename => return Ok(Verdict::Goes),
            },
            FaultKind::Error { calls } if (fault.at..fault.at + calls).contains(&number) => match call {
                Call::Write => Verdict::HalfDone(ffi::SQLITE_IOERR_WRITE),
                Call::Sync => Verdict::Refused(ffi::SQLITE_IOERR_FSYNC),
                Call::SetLen => Verdict::Refused(ffi::SQLITE_IOERR_TRUNCATE),
                Call::Create => Verdict::Refused(ffi::SQLITE_CANTOPEN),
                Call::Delete => Verdict::Refused(ffi::SQLITE_IOERR_DELETE),
                Call::Rename => Verdict::Refused(ffi::SQLITE_IOERR),
            },
            FaultKind::SyncError { forgets } if number >= fault.at && call == Call::Sync => {
                self.fault = None;
                if forgets { Verdict::Forgotten(ffi::SQLITE_IOERR_FSYNC) } else { Verdict::Refused(ffi::SQLITE_IOERR_FSYNC) }
            }
            FaultKind::Lie if number >= fault.at && call == Call::Sync => Verdict::Lie,
            FaultKind::NoSync if number >= fault.at && call == Call::Sync => Verdict::Forgotten(ffi::SQLITE_IOERR_FSYNC),
            _ => return Ok(Verdict::Goes),
        };
        self.fired += 1;
        Ok(verdict)
    }

    /// Reads, and answers how many bytes were there.
    pub(super) fn read(&mut self, file: usize, at: usize, out: &mut [u8]) -> Result<usize, Refusal> {
        self.alive()?;
        self.reads += 1;
        if self.fault == Some(Fault { at: self.reads - 1, kind: FaultKind::ReadError }) {
            self.fired += 1;
            return Err(rusqlite::ffi::SQLITE_IOERR_READ);
        }
        Ok(self.files.read(file, at, out))
    }

    pub(super) fn write(&mut self, file: usize, at: usize, data: &[u8]) -> Result<(), Refusal> {
        let verdict = self.begin(Call::Write)?;
        match verdict {
            Verdict::Goes | Verdict::Lie => {
                self.files.write(file, at, data);
                self.tell_of_file(Call::Write, file);
                Ok(())
            }
            Verdict::HalfDone(refusal) => {
                // A dying disk may still write the call in hand; one that only failed got half way.
                let done = if self.dead { data.len() } else { data.len() / 2 };
                self.files.write(file, at, &data[..done]);
                Err(refusal)
            }
            Verdict::Refused(refusal) | Verdict::Forgotten(refusal) => Err(refusal),
        }
    }

    pub(super) fn set_len(&mut self, file: usize, len: usize) -> Result<(), Refusal> {
        let verdict = self.begin(Call::SetLen)?;
        match verdict {
            Verdict::Goes | Verdict::Lie => {
                self.files.set_len(file, len);
                self.tell_of_file(Call::SetLen, file);
                Ok(())
            }
            Verdict::HalfDone(refusal) => {
                self.files.set_len(file, len);
                Err(refusal)
            }
            Verdict::Refused(refusal) | Verdict::Forgotten(refusal) => Err(refusal),
        }
    }

    pub(super) fn sync(&mut self, file: usize) -> Result<(), Refusal> {
        let verdict = self.begin(Call::Sync)?;
        match verdict {
            Verdict::Goes => {
                // Told before it is done: power that goes now goes in the middle of it.
                self.tell_of_file(Call::Sync, file);
                self.files.sync(file);
                Ok(())
            }
            Verdict::Lie => Ok(()),
            Verdict::Forgotten(refusal) => {
                self.files.forget_unsynced_writes(file);
                Err(refusal)
            }
            Verdict::HalfDone(refusal) | Verdict::Refused(refusal) => Err(refusal),
        }
    }

    pub(super) fn create(&mut self, name: &str) -> Result<usize, Refusal> {
        match self.begin(Call::Create)? {
            Verdict::Goes | Verdict::Lie => {
                let file = self.files.create(name);
                self.tell_of_file(Call::Create, file);
                Ok(file)
            }
            Verdict::HalfDone(refusal) => {
                self.files.create(name);
                Err(refusal)
            }
            Verdict::Refused(refusal) | Verdict::Forgotten(refusal) => Err(refusal),
        }
    }

    pub(super) fn delete(&mut self, name: &str, sync_names: bool) -> Result<(), Refusal> {
        let verdict = self.begin(Call::Delete)?;
        match verdict {
            Verdict::Goes | Verdict::Lie => {
                self.files.delete(name);
                self.tell(Call::Delete, name);
                if sync_names {
                    self.files.sync_names();
                }
                Ok(())
            }
            Verdict::HalfDone(refusal) => {
                self.files.delete(name);
                Err(refusal)
            }
            Verdict::Refused(refusal) | Verdict::Forgotten(refusal) => Err(refusal),
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Refusal> {
        match self.begin(Call::Rename)? {
            Verdict::Goes | Verdict::Lie => {
                let is_there = self.files.rename(from, to);
                self.tell(Call::Rename, to);
                if is_there { Ok(()) } else { Err(rusqlite::ffi::SQLITE_CANTOPEN) }
            }
            Verdict::HalfDone(refusal) | Verdict::Refused(refusal) | Verdict::Forgotten(refusal) => Err(refusal),
        }
    }

    /// Takes a lock as SQLite's rules allow; several connections to a file are kept apart as on a real disk.
    pub(super) fn lock(&mut self, file: usize, handle: u64, level: i32) -> Result<(), Refusal> {
        use rusqlite::ffi;
        self.alive()?;
        let held = self.locks.entry(file).or_default();
        let others = held.iter().filter(|(other, _)| **other != handle).map(|(_, level)| *level).max().unwrap_or(0);
        let most_others = match level {
            ffi::SQLITE_LOCK_SHARED => ffi::SQLITE_LOCK_RESERVED,
            ffi::SQLITE_LOCK_RESERVED | ffi::SQLITE_LOCK_PENDING => ffi::SQLITE_LOCK_SHARED,
            _ => ffi::SQLITE_LOCK_NONE,
        };
        if others > most_others {
            return Err(ffi::SQLITE_BUSY);
        }
        let mine = held.entry(handle).or_default();
        *mine = level.max(*mine);
        Ok(())
    }

    pub(super) fn unlock(&mut self, file: usize, handle: u64, level: i32) {
        if let Some(held) = self.locks.get_mut(&file) {
            held.insert(handle, level);
        }
    }

    pub(super) fn release(&mut self, file: usize, handle: u64) {
        if let Some(held) = self.locks.get_mut(&file) {
            held.remove(&handle);
        }
    }

    pub(super) fn is_reserved(&self, file: usize) -> bool {
        let reserved = |level: &i32| *level >= rusqlite::ffi::SQLITE_LOCK_RESERVED;
        self.locks.get(&file).is_some_and(|held| held.values().any(reserved))
    }

    fn tell_of_file(&mut self, call: Call, file: usize) {
        let name = self.files.name(file).to_owned();
        self.tell(call, &name);
    }

    fn tell(&mut self, call: Call, file: &str) {
        let number = self.calls - 1;
        let Some(watcher) = &mut self.watcher else { return };
        watcher(super::Moment { number, call, file: file.to_owned(), files: self.files.clone() });
    }
}
