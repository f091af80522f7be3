//! The C face that SQLite calls.
//!
//! Every function here reads the raw pointers that SQLite hands it and calls the safe [`State`].

#![allow(unsafe_code, reason = "SQLite takes a VFS as C functions over raw pointers; there is no safe way to give it one")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use super::state::{Refusal, State};

/// Longest file name, in bytes.
const NAME_BYTES_MAX: c_int = 512;
/// The Julian day of 2026-01-01, 00:00 UTC.
const JULIAN_DAY: f64 = 2_461_041.5;

/// A VFS that SQLite knows by name for as long as this lives.
pub(super) struct Registration {
    vfs: Option<Box<sqlite3_vfs>>,
    name: CString,
    state: Arc<Mutex<State>>,
}

// SAFETY: the VFS structure is read only by SQLite, under its own mutex, once it is registered; the state behind it has a mutex.
unsafe impl Send for Registration {}
// SAFETY: as above; nothing is reachable through a shared reference but the name.
unsafe impl Sync for Registration {}

impl Registration {
    /// Makes SQLite know the state under a name that no one else has.
    pub(super) fn new(name: &str, state: Arc<Mutex<State>>) -> Self {
        let name = CString::new(name).expect("a VFS name has no zero byte");
        let mut vfs = Box::new(sqlite3_vfs {
            iVersion: 1,
            szOsFile: size_of::<OpenFile>() as c_int,
            mxPathname: NAME_BYTES_MAX,
            pNext: ptr::null_mut(),
            zName: name.as_ptr(),
            pAppData: Arc::as_ptr(&state).cast_mut().cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: None,
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        });
        // SAFETY: the structure and its name stay where they are until `drop` takes the registration back.
        let answer = unsafe { ffi::sqlite3_vfs_register(&mut *vfs, 0) };
        assert_eq!(answer, ffi::SQLITE_OK, "SQLite takes a VFS");
        Self { vfs: Some(vfs), name, state }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(mut vfs) = self.vfs.take() else { return };
        // SAFETY: it is the structure that was registered.
        unsafe { ffi::sqlite3_vfs_unregister(&mut *vfs) };
        if guard(&self.state).handles > 0 {
            // A connection that outlives its disk still points here; leaking is what keeps that harmless.
            std::mem::forget((vfs, std::mem::take(&mut self.name), Arc::clone(&self.state)));
        }
    }
}

/// What SQLite allocates for an open file; the first field is the part it knows.
#[repr(C)]
struct OpenFile {
    base: sqlite3_file,
    handle: *mut Handle,
}

struct Handle {
    state: Arc<Mutex<State>>,
    file: usize,
    id: u64,
    delete_on_close: Option<String>,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Version 1 has no shared memory, which makes SQLite keep the WAL index on its heap (locking_mode=EXCLUSIVE).
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

fn guard(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code(result: Result<(), Refusal>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

/// # Safety
/// `vfs` is one that [`Registration::new`] registered.
unsafe fn state_of(vfs: *mut sqlite3_vfs) -> Arc<Mutex<State>> {
    // SAFETY: pAppData points into an Arc that the registration holds; a new count is taken before it is turned into an Arc again.
    unsafe {
        let state = (*vfs).pAppData.cast_const().cast::<Mutex<State>>();
        Arc::increment_strong_count(state);
        Arc::from_raw(state)
    }
}

/// # Safety
/// `file` was opened by [`open`] and not yet closed.
unsafe fn handle_of<'a>(file: *mut sqlite3_file) -> &'a Handle {
    // SAFETY: `open` stored a Handle there, which `close` alone takes away.
    unsafe { &*(*file.cast::<OpenFile>()).handle }
}

/// # Safety
/// `name` is null or a C string.
unsafe fn text_of(name: *const c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands in its own VFS, a name or null, and room for an OpenFile.
    unsafe {
        (*file).pMethods = ptr::null();
        let state = state_of(vfs);
        match open_safely(&state, text_of(name), flags) {
            Ok(handle) => {
                (*file.cast::<OpenFile>()).handle = Box::into_raw(Box::new(handle));
                (*file).pMethods = &METHODS;
                if !out.is_null() {
                    *out = flags;
                }
                ffi::SQLITE_OK
            }
            Err(refusal) => refusal,
        }
    }
}

fn open_safely(shared: &Arc<Mutex<State>>, name: Option<String>, flags: c_int) -> Result<Handle, Refusal> {
    let mut state = guard(shared);
    state.alive()?;
    let found = name.as_deref().and_then(|name| state.files.find(name));
    let file = match (&name, found) {
        (None, _) => state.files.create_nameless(),
        (Some(_), Some(file)) => file,
        (Some(name), None) if flags & ffi::SQLITE_OPEN_CREATE != 0 => state.create(name)?,
        (Some(_), None) => return Err(ffi::SQLITE_CANTOPEN),
    };
    state.handles += 1;
    state.handles_opened += 1;
    let delete_on_close = name.filter(|_| flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0);
    Ok(Handle { state: Arc::clone(shared), file, id: state.handles_opened, delete_on_close })
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `open` made the handle with Box::into_raw, and SQLite closes a file once.
    let handle = unsafe { Box::from_raw((*file.cast::<OpenFile>()).handle) };
    let mut state = guard(&handle.state);
    state.handles -= 1;
    state.release(handle.file, handle.id);
    if let Some(name) = &handle.delete_on_close
        && !state.dead
    {
        state.files.delete(name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut sqlite3_file, out: *mut c_void, amount: c_int, at: sqlite3_int64) -> c_int {
    // SAFETY: SQLite hands in an open file and a buffer of `amount` bytes.
    let (handle, out) = unsafe { (handle_of(file), slice::from_raw_parts_mut(out.cast::<u8>(), amount as usize)) };
    match guard(&handle.state).read(handle.file, at as usize, out) {
        Ok(got) => {
            out[got..].fill(0);
            if got == out.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
        }
        Err(refusal) => refusal,
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, data: *const c_void, amount: c_int, at: sqlite3_int64) -> c_int {
    // SAFETY: SQLite hands in an open file and a buffer of `amount` bytes.
    let (handle, data) = unsafe { (handle_of(file), slice::from_raw_parts(data.cast::<u8>(), amount as usize)) };
    code(guard(&handle.state).write(handle.file, at as usize, data))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, len: sqlite3_int64) -> c_int {
    // SAFETY: SQLite hands in an open file.
    let handle = unsafe { handle_of(file) };
    code(guard(&handle.state).set_len(handle.file, len as usize))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite hands in an open file.
    let handle = unsafe { handle_of(file) };
    code(guard(&handle.state).sync(handle.file))
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite hands in an open file and room for the answer.
    let (handle, out) = unsafe { (handle_of(file), &mut *out) };
    let state = guard(&handle.state);
    *out = state.files.len(handle.file) as sqlite3_int64;
    code(state.alive())
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite hands in an open file.
    let handle = unsafe { handle_of(file) };
    code(guard(&handle.state).lock(handle.file, handle.id, level))
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite hands in an open file.
    let handle = unsafe { handle_of(file) };
    guard(&handle.state).unlock(handle.file, handle.id, level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite hands in an open file and room for the answer.
    let (handle, out) = unsafe { (handle_of(file), &mut *out) };
    *out = c_int::from(guard(&handle.state).is_reserved(handle.file));
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// As SQLite's own VFS on Linux says.
unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    4096
}

/// As SQLite's own VFS on Linux says: a write does not harm the bytes beside it.
unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_names: c_int) -> c_int {
    // SAFETY: SQLite hands in its own VFS and a name.
    let (state, name) = unsafe { (state_of(vfs), text_of(name)) };
    let mut state = guard(&state);
    match name {
        Some(name) if state.files.find(&name).is_some() => code(state.delete(&name, sync_names != 0)),
        _ => ffi::SQLITE_IOERR_DELETE_NOENT,
    }
}

unsafe extern "C" fn access(vfs: *mut sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite hands in its own VFS, a name and room for the answer.
    let (state, name, out) = unsafe { (state_of(vfs), text_of(name), &mut *out) };
    let state = guard(&state);
    let file = name.and_then(|name| state.files.find(&name));
    // An empty journal counts as none, as in SQLite's own VFS.
    let there = file.is_some_and(|file| flags != ffi::SQLITE_ACCESS_EXISTS || state.files.len(file) > 0);
    *out = c_int::from(there);
    code(state.alive())
}

/// A disk has no folders: the last part of a path is the file's name, so that a disk may be mounted under any folder.
unsafe extern "C" fn full_pathname(_: *mut sqlite3_vfs, name: *const c_char, room: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite hands in a name and `room` bytes for the answer.
    unsafe {
        let name = text_of(name).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        if name.len() + 1 > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
        *out.add(name.len()) = 0;
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn randomness(vfs: *mut sqlite3_vfs, amount: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite hands in its own VFS and a buffer of `amount` bytes.
    let (state, out) = unsafe { (state_of(vfs), slice::from_raw_parts_mut(out.cast::<u8>(), amount as usize)) };
    guard(&state).dice.fill(out);
    amount
}

unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn current_time(_: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite hands in room for the answer.
    unsafe { *out = JULIAN_DAY };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_: *mut sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
