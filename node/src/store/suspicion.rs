//! A look at a file that may be damaged, a little at a time and beside the counter.
//!
//! [`super::damaged::find`] looks at all of a file at once, and a large one takes it seconds. After a failure nobody at the counter waits for that: the
//! file is opened anew, which reads what selling needs, and the rest is looked at in steps. First every page by its code: SQLCipher ends each with an
//! HMAC-SHA512 of what it holds and of its number. Then, table by table, whether the pages fit together. What is found here is looked at once more, by
//! `find`, before a file is put aside.

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use sha2::Sha512;

use super::{StoreError, StoreKey, StoreOptions};

/// Pages of one step, a megabyte: a few milliseconds.
pub const STEP_PAGES: u64 = 256;

/// The size of a page.
const PAGE_BYTES: usize = 4_096;
/// The code at the end of each page.
const CODE_BYTES: usize = 64;
/// The salt at the beginning of the first page, and what SQLCipher makes another one of it with.
const SALT_BYTES: usize = 16;
const SALT_MASK: u8 = 0x3a;

type Code = Hmac<Sha512>;

/// How far a look at a file is.
#[derive(Debug, Clone, Default)]
pub struct Suspicion {
    /// Pages that were looked at.
    pages: u64,
    /// Tables that are still to be looked at; none while there are pages.
    tables: Option<Vec<String>>,
}

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing wrong, and there is more.
    More,
    /// Nothing wrong, to the end.
    Whole,
    /// Something that does not hold.
    Broken,
}

impl Suspicion {
    /// Looks at a few more pages, or at one more table, of a file and of the connection to it.
    ///
    /// # Errors
    /// A disk that does not give what is asked for: it is not known how the file is.
    pub fn step(&mut self, path: &Path, key: &StoreKey, options: &StoreOptions, db: &Connection) -> Result<Seen, StoreError> {
        if let Some(tables) = &mut self.tables {
            let Some(table) = tables.last() else { return Ok(Seen::Whole) };
            let said =
                db.query_row(&format!("PRAGMA quick_check(\"{}\")", table.replace('"', "\"\"")), [], |r| r.get::<_, String>(0));
            return match said.map_err(StoreError::from) {
                Ok(said) if said == "ok" => {
                    tables.pop();
                    Ok(Seen::More)
                }
                Ok(_) => Ok(Seen::Broken),
                Err(error) if error.may_be_damage() => Ok(Seen::Broken),
                Err(error) => Err(error),
            };
        }
        let refused = |source| StoreError::Io { path: path.to_owned(), done: "read", source };
        let bytes =
            options.files.read(path, self.pages * PAGE_BYTES as u64, STEP_PAGES as usize * PAGE_BYTES).map_err(refused)?;
        let first = match self.pages {
            0 => bytes.get(..SALT_BYTES).map(<[u8]>::to_vec).unwrap_or_default(),
            _ => options.files.read(path, 0, SALT_BYTES).map_err(refused)?,
        };
        let code = code_of(key, &first);
        // What is shorter than a page at the end was never written to the end.
        for page in bytes.chunks_exact(PAGE_BYTES) {
            let number = self.pages + 1;
            if !holds(&code, page, number) {
                return Ok(Seen::Broken);
            }
            self.pages = number;
        }
        if bytes.len() < STEP_PAGES as usize * PAGE_BYTES {
            let mut select = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name")?;
            self.tables = Some(select.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?);
        }
        Ok(Seen::More)
    }
}

/// What the codes of pages are computed with: from the key and the file's salt, by two rounds of PBKDF2.
fn code_of(key: &StoreKey, salt: &[u8]) -> Code {
    let keyed = |key: &[u8]| Code::new_from_slice(key).expect("HMAC takes keys of any length");
    let salt: Vec<u8> = salt.iter().map(|byte| byte ^ SALT_MASK).collect();
    let first = keyed(key).chain_update(&salt).chain_update(1u32.to_be_bytes()).finalize().into_bytes();
    let second = keyed(key).chain_update(first).finalize().into_bytes();
    let derived: Vec<u8> = first.iter().zip(&second).map(|(one, two)| one ^ two).take(32).collect();
    keyed(&derived)
}

/// Whether the code of a page is that of what it holds.
fn holds(code: &Code, page: &[u8], number: u64) -> bool {
    let from = if number == 1 { SALT_BYTES } else { 0 };
    let (held, said) = page.split_at(PAGE_BYTES - CODE_BYTES);
    let number = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    code.clone().chain_update(&held[from..]).chain_update(number).verify_slice(said).is_ok()
}
