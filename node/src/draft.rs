//! The cart being built, kept in a small file of its own so that a crash gives it back.
//!
//! It is written with every line at `synchronous=NORMAL`: scanning never waits for the disk, and a power cut takes at most the
//! last few lines. Only what changed is written, so a cart of hundreds of lines stays as fast as one of two.

use std::path::{Path, PathBuf};

use domain::cart::{Cart, CartKind, CartLine, Recalled};
use domain::ids::OrderId;
use domain::tax::TaxMode;
use operations::damaged::log_of;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::store::{StoreError, StoreKey, StoreOptions, Synchronous, open_file};

const DRAFT_MIGRATIONS: &[&str] = &[include_str!("../../migrations/node/draft/0001_cart.sql")];
/// Changes after which the write-ahead log is copied back; a draft is small.
const CHANGES_PER_CHECKPOINT: u32 = 500;

/// The file that keeps the cart.
#[derive(Debug)]
pub struct Draft {
    db: Connection,
    saved: Option<Kept>,
    changes: u32,
}

/// A cart with the line that was touched last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The cart.
    pub cart: Cart,
    /// The line that was touched last, from 0.
    pub touched: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    order: OrderId,
    kind: CartKind,
    reference: Option<String>,
    touched: Option<usize>,
    #[serde(default)]
    tax_mode: Option<TaxMode>,
    #[serde(default)]
    recalled: Option<Recalled>,
}

impl Draft {
    /// Opens or creates the draft and answers the cart that it holds.
    ///
    /// A draft that cannot be read is set aside under another name: it is not worth a till that does not start.
    ///
    /// # Errors
    /// A failure of SQLite or of the disk.
    pub fn open(path: &Path, key: &StoreKey, options: &StoreOptions) -> Result<Self, StoreError> {
        match Self::try_open(path, key, options) {
            Err(error) if is_spoilt(&error) => {
                tracing::warn!("the draft could not be read; the till starts with an empty cart");
                set_aside(path, options)?;
                Self::try_open(path, key, options)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path, key: &StoreKey, options: &StoreOptions) -> Result<Self, StoreError> {
        let db = open_file(path, key, options, Synchronous::Normal, Some(DRAFT_MIGRATIONS))?;
        let mut draft = Self { db, saved: None, changes: 0 };
        draft.saved = draft.load()?;
        Ok(draft)
    }

    /// The cart as it is on disk.
    pub fn kept(&self) -> Option<&Kept> {
        self.saved.as_ref()
    }

    /// Writes what differs from what is there.
    ///
    /// # Errors
    /// A failure of SQLite; the file then holds what it held.
    pub fn save(&mut self, cart: &Cart, touched: Option<usize>) -> Result<(), StoreError> {
        let before = self.saved.as_ref().map_or(&[][..], |kept| &kept.cart.lines);
        let tx = self.db.unchecked_transaction()?;
        let head = Head {
            order: cart.order,
            kind: cart.kind.clone(),
            reference: cart.reference.clone(),
            touched,
            tax_mode: cart.tax_mode,
            recalled: cart.recalled.clone(),
        };
        tx.prepare_cached("INSERT OR REPLACE INTO head (one, json) VALUES (1, ?)")?.execute([json(&head)])?;
        if cart.lines.len() < before.len() {
            tx.prepare_cached("DELETE FROM line WHERE position >= ?")?.execute([cart.lines.len()])?;
        }
        for (position, line) in cart.lines.iter().enumerate() {
            if before.get(position) != Some(line) {
                tx.prepare_cached("INSERT OR REPLACE INTO line (position, json) VALUES (?, ?)")?
                    .execute(params![position, json(line)])?;
            }
        }
        tx.commit()?;
        self.saved = Some(Kept { cart: cart.clone(), touched });
        self.changes += 1;
        if self.changes >= CHANGES_PER_CHECKPOINT {
            self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            self.changes = 0;
        }
        Ok(())
    }

    fn load(&self) -> Result<Option<Kept>, StoreError> {
        let head: Option<String> = self.db.query_row("SELECT json FROM head", [], |r| r.get(0)).optional()?;
        let Some(head) = head else { return Ok(None) };
        let head: Head = parse(&head)?;
        let mut select = self.db.prepare("SELECT json FROM line ORDER BY position")?;
        let lines = select.query_map([], |r| r.get::<_, String>(0))?;
        let lines: Vec<CartLine> = lines.map(|l| parse(&l?)).collect::<Result<_, _>>()?;
        let touched = head.touched.filter(|&at| at < lines.len());
        Ok(Some(Kept {
            cart: Cart {
                order: head.order,
                kind: head.kind,
                lines,
                reference: head.reference,
                tax_mode: head.tax_mode,
                recalled: head.recalled,
            },
            touched,
        }))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a cart is JSON")
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged("a draft"))
}

fn set_aside(path: &Path, options: &StoreOptions) -> Result<(), StoreError> {
    let unreadable = |path: &Path| PathBuf::from(format!("{}.unreadable", path.display()));
    let refused = |source| StoreError::Io { path: path.to_owned(), done: "set aside", source };
    // Its log first: beside a new file it would be taken for the log of that.
    for file in [log_of(path), path.to_owned()] {
        if options.files.len(&file).map_err(refused)?.is_some() {
            options.files.rename(&file, &unreadable(&file)).map_err(refused)?;
        }
    }
    Ok(())
}

/// Whether an error means that the file cannot be read, now or ever.
fn is_spoilt(error: &StoreError) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
    match error {
        StoreError::WrongKey(_) | StoreError::Damaged(_) => true,
        StoreError::Sql(error) => matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | SystemIoFailure)),
        _ => false,
    }
}
