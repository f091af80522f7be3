//! What is known of imports, and their pieces of work: compared, written and taken back, each in one transaction that also moves the
//! import's place.

use std::collections::BTreeSet;

use domain::document::{DocumentKind, Product};
use domain::ids::ProductId;
use rusqlite::{OptionalExtension, Row as SqlRow, params};
use sync_proto::documents::{ChangeHash, Document, DocumentValue, Outcome};
use sync_proto::env::{Env, random};
use sync_proto::scopes;
use uuid::Uuid;

use super::author::{Prepared, product_of};
use super::{AuthorError, Editor, ProductPatch, Region, TaxPatch};
use crate::import::{ImportError, Row, RowTax};
use crate::web_api::{FieldChange, ImportChange, ImportProblem, ImportState, ImportView};
use crate::words::Words;

/// Imports that are remembered of each kind: those that can be undone, and all others. With one more that writes, the oldest that can be
/// undone is forgotten; with one more that is read, the oldest of those that have nothing to take back.
const IMPORTS_MAX: usize = 50;
/// The first problems that are shown.
const PROBLEMS_MAX: usize = 500;
/// The first changes that are shown.
const CHANGES_MAX: usize = 200;

/// A write of an import.
struct Write {
    product: [u8; 16],
    change: ChangeHash,
    wrote: Wrote,
}

/// What an import did to a product, as `import_write.added` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    /// It was there.
    Changed = 0,
    /// It is new.
    Added = 1,
    /// It was new to an import that was taken back, and is on sale again.
    BroughtBack = 2,
}

/// How an import stands.
struct Standing {
    id: Uuid,
    state: ImportState,
    /// Whether it wrote anything, ever.
    wrote: bool,
}

impl Standing {
    fn can_be_undone(&self) -> bool {
        self.wrote && matches!(self.state, ImportState::Applied | ImportState::Failed)
    }
}

/// An undo under way.
struct Undo {
    import: Uuid,
    /// Its writes up to this place are taken back and kept.
    done: u64,
    who: Option<Editor>,
    at: journal::Hlc,
    /// Barcodes that products on sale have again, which are not kept yet.
    regained: BTreeSet<String>,
}

/// What a row would do.
enum Compared {
    /// It is not as it should be.
    Wrong(ImportProblem),
    /// Its product is there just so.
    Unchanged,
    /// It adds a product, or changes one.
    Write { wrote: Wrote, before: Option<Box<Product>>, after: Box<Product> },
}

impl From<rusqlite::Error> for ImportError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Author(e.into())
    }
}

impl From<super::RegionError> for ImportError {
    fn from(e: super::RegionError) -> Self {
        Self::Author(e.into())
    }
}

impl Region {
    /// Notes an import that is to be read, and answers the ids of old ones that were forgotten for it.
    ///
    /// # Errors
    /// Too many imports that do not rest, or the log refuses.
    pub(crate) fn import_begin(
        &mut self,
        id: Uuid,
        name: &str,
        who: Option<&Editor>,
        now_ms: u64,
    ) -> Result<Vec<Uuid>, ImportError> {
        let (author, author_name) = who.map_or((None, "Sync server"), |who| (Some(who.id), who.name.as_str()));
        self.in_transaction(|region| {
            let others: Vec<Standing> = region.standings()?.into_iter().filter(|one| !one.can_be_undone()).collect();
            let (moving, resting): (Vec<_>, Vec<_>) = others.iter().partition(|one| busy(one.state));
            if moving.len() >= IMPORTS_MAX {
                return Err(ImportError::Conflict("Too many imports wait: let them end, or take some away.".to_owned()));
            }
            let too_many = (others.len() + 1).saturating_sub(IMPORTS_MAX);
            let forgotten: Vec<Uuid> = resting.iter().take(too_many).map(|one| one.id).collect();
            for old in &forgotten {
                region.import_forget(*old)?;
            }
            region.db.execute(
                "INSERT INTO import (id, name, author, author_name, at_ms, state) VALUES (?1, ?2, ?3, ?4, ?5, 'reading')",
                params![id.as_bytes(), name, author, author_name, now_ms],
            )?;
            Ok(forgotten)
        })
    }

    /// How all imports stand, the oldest first.
    fn standings(&self) -> Result<Vec<Standing>, ImportError> {
        let mut statement = self.db.prepare_cached(
            "SELECT id, state, EXISTS (SELECT 1 FROM import_write AS w WHERE w.import = i.id) FROM import AS i ORDER BY id",
        )?;
        let all = statement.query_map([], |row| {
            let state: String = row.get(1)?;
            Ok(Standing { id: Uuid::from_bytes(row.get(0)?), state: state_of(&state), wrote: row.get(2)? })
        })?;
        let all = all.collect::<Result<_, _>>()?;
        Ok(all)
    }

    /// All imports, the newest first.
    pub fn imports(&self) -> Result<Vec<ImportView>, ImportError> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {COLUMNS} FROM import ORDER BY id DESC"))?;
        let views = statement.query_map([], view)?.collect::<Result<_, _>>()?;
        Ok(views)
    }

    /// One import.
    pub fn import(&self, id: Uuid) -> Result<ImportView, ImportError> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {COLUMNS} FROM import WHERE id = ?1"))?;
        statement.query_row([id.as_bytes()], view).optional()?.ok_or(ImportError::NotFound)
    }

    /// Takes an import away that wrote nothing.
    pub(crate) fn import_delete(&mut self, id: Uuid) -> Result<(), ImportError> {
        let state = self.import(id)?.state;
        let written: i64 =
            self.db.query_row("SELECT count(*) FROM import_write WHERE import = ?1", [id.as_bytes()], |row| row.get(0))?;
        if matches!(state, ImportState::Applying | ImportState::Undoing) || (written > 0 && state != ImportState::Undone) {
            return Err(ImportError::Conflict("This import has written products: undo it instead.".to_owned()));
        }
        self.in_transaction(|region| region.import_forget(id))
    }

    fn import_forget(&self, id: Uuid) -> Result<(), ImportError> {
        self.db.execute("DELETE FROM import WHERE id = ?1", [id.as_bytes()])?;
        self.db.execute("DELETE FROM import_write WHERE import = ?1", [id.as_bytes()])?;
        Ok(())
    }

    /// Begins to write, or to take back; an undo that broke goes on where it was.
    pub fn import_enter(&mut self, id: Uuid, to: ImportState) -> Result<ImportView, ImportError> {
        let view = self.import(id)?;
        let sql = "SELECT broke_in FROM import WHERE id = ?1";
        let broke_in: String = self.db.query_row(sql, [id.as_bytes()], |row| row.get(0))?;
        let fits = match to {
            ImportState::Applying => view.state == ImportState::Ready,
            ImportState::Undoing => view.can_be_undone,
            _ => false,
        };
        if !fits {
            return Err(ImportError::Conflict(match to {
                ImportState::Applying => format!("Only an import that is ready can be applied. {}", view.message),
                _ => format!("Only an import that was applied can be undone. {}", view.message),
            }));
        }
        let from = if broke_in == word(to) { (view.done, view.kept) } else { (0, 0) };
        self.db.execute(
            "UPDATE import SET state = ?2, done = ?3, kept = ?4, failure = '', broke_in = '' WHERE id = ?1",
            params![id.as_bytes(), word(to), from.0, from.1],
        )?;
        self.import(id)
    }

    /// Notes that a step has ended well.
    pub(crate) fn import_rest(&mut self, id: Uuid, state: ImportState) -> Result<ImportView, ImportError> {
        self.db.execute("UPDATE import SET state = ?2 WHERE id = ?1", params![id.as_bytes(), word(state)])?;
        self.import(id)
    }

    /// Notes that a step broke.
    pub(crate) fn import_fail(&mut self, id: Uuid, sentence: &str) -> Result<ImportView, ImportError> {
        self.db.execute(
            "UPDATE import SET broke_in = state, state = 'failed', failure = ?2 WHERE id = ?1 AND state <> 'failed'",
            params![id.as_bytes(), sentence],
        )?;
        self.import(id)
    }

    /// Notes what reading the file itself came to; comparing begins.
    pub(crate) fn import_read_begin(
        &mut self,
        id: Uuid,
        rows: u64,
        problems: &[ImportProblem],
        wrong: u64,
    ) -> Result<ImportView, ImportError> {
        self.db.execute(
            "UPDATE import SET state = 'reading', done = ?3, file_rows = ?2, added = 0, changed = 0, unchanged = 0, wrong = ?3,
                 problems = ?4, changes = '[]'
             WHERE id = ?1",
            params![id.as_bytes(), rows, wrong, json(problems)],
        )?;
        self.import(id)
    }

    /// Compares rows with the catalogue. Nothing of it is written but the counts.
    pub(crate) fn import_compare(&mut self, id: Uuid, rows: &[Row], codes: &BTreeSet<String>) -> Result<ImportView, ImportError> {
        let mut view = self.import(id)?;
        for row in rows {
            match self.compare(row, codes)? {
                Compared::Wrong(problem) => view.push_problem(problem),
                Compared::Unchanged => view.unchanged += 1,
                Compared::Write { wrote, before, after } => {
                    *(if wrote == Wrote::Changed { &mut view.changed } else { &mut view.added }) += 1;
                    if view.changes.len() < CHANGES_MAX {
                        view.changes.push(self.change(row.number, wrote, before.as_deref(), &after)?);
                    }
                }
            }
        }
        view.done += rows.len() as u64;
        self.import_note(id, &view)?;
        Ok(view)
    }

    /// Notes that a file was compared whole.
    pub(crate) fn import_read_end(&mut self, id: Uuid) -> Result<ImportView, ImportError> {
        let mut view = self.import(id)?;
        view.problems.sort_by_key(|problem| problem.row);
        self.import_note(id, &view)?;
        self.import_rest(id, if view.wrong == 0 { ImportState::Ready } else { ImportState::Refused })
    }

    /// Writes rows and moves the import's place, in one transaction. A row that has become wrong since it was read is left out and shown.
    pub(crate) fn import_apply(
        &mut self,
        id: Uuid,
        rows: &[Row],
        codes: &BTreeSet<String>,
        env: &dyn Env,
    ) -> Result<ImportView, ImportError> {
        let mut view = self.import(id)?;
        let who = self.import_author(id)?;
        let at = self.clock.tick(env.unix_ms());
        let (mut prepared, mut writes) = (Vec::new(), Vec::new());
        for row in rows {
            let (wrote, mut after) = match self.compare(row, codes)? {
                Compared::Wrong(problem) => {
                    view.push_problem(problem);
                    continue;
                }
                Compared::Unchanged => continue,
                Compared::Write { wrote, after, .. } => (wrote, after),
            };
            if wrote == Wrote::Added {
                after.id = ProductId::new(env.unix_ms(), random(env));
            }
            let product = after.id;
            let Some(one) = self.prepare(scopes::catalogue(), &DocumentValue::Product(*after), who.as_ref(), at)? else {
                continue;
            };
            // Written on the newest state, so that it is the only newest change now.
            writes.extend(one.document.heads().first().map(|change| Write {
                product: *product.as_bytes(),
                change: *change,
                wrote,
            }));
            prepared.push(one);
        }
        view.done += rows.len() as u64;
        self.in_transaction(|region| {
            if !prepared.is_empty() {
                region.keep_all(prepared, who.as_ref(), env.unix_ms())?;
                region.make_room_to_undo(id)?;
            }
            region.note_writes(id, &writes)?;
            region.import_note(id, &view)
        })?;
        Ok(view)
    }

    /// Forgets the oldest of those that can be undone when there is one too many with an import that writes.
    fn make_room_to_undo(&self, writes: Uuid) -> Result<(), ImportError> {
        let others: Vec<Standing> = self.standings()?.into_iter().filter(|one| one.id != writes && one.wrote).collect();
        let standing = others.iter().filter(|one| one.can_be_undone());
        let moving = others.iter().filter(|one| busy(one.state)).count();
        let too_many = (standing.clone().count() + moving + 1).saturating_sub(IMPORTS_MAX);
        standing.take(too_many).try_for_each(|old| self.import_forget(old.id))
    }

    fn note_writes(&self, id: Uuid, writes: &[Write]) -> Result<(), ImportError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO import_write (import, place, product, change_hash, added)
             VALUES (?1, (SELECT coalesce(max(place), 0) + 1 FROM import_write WHERE import = ?1), ?2, ?3, ?4)",
        )?;
        for Write { product, change, wrote } in writes {
            insert.execute(params![id.as_bytes(), product, change, *wrote as u8])?;
        }
        Ok(())
    }

    /// Takes back the next writes of an import, and says whether there were any.
    pub(crate) fn import_undo(&mut self, id: Uuid, writes_max: usize, env: &dyn Env) -> Result<(ImportView, bool), ImportError> {
        let mut view = self.import(id)?;
        let writes = self.writes_after(id, view.done, writes_max)?;
        let (who, at) = (self.import_author(id)?, self.clock.tick(env.unix_ms()));
        let mut undo = Undo { import: id, done: view.done, who, at, regained: BTreeSet::new() };
        let (mut prepared, mut off_sale) = (Vec::new(), Vec::new());
        for write in &writes {
            let (one, kept) = self.prepare_undo(write, &mut undo)?;
            view.kept += kept as u64;
            if let Some(one) = one {
                if write.wrote != Wrote::Changed && goes_off_sale(&one) {
                    off_sale.extend(one.document.heads().first().map(|change| (write.product, *change)));
                }
                prepared.push(one);
            }
        }
        view.done += writes.len() as u64;
        self.in_transaction(|region| {
            if !prepared.is_empty() {
                region.keep_all(prepared, undo.who.as_ref(), env.unix_ms())?;
            }
            region.note_taken_back(&off_sale)?;
            region.import_note(id, &view)
        })?;
        Ok((view, !writes.is_empty()))
    }

    fn note_taken_back(&self, off_sale: &[([u8; 16], ChangeHash)]) -> Result<(), ImportError> {
        let mut insert = self.db.prepare_cached("INSERT OR REPLACE INTO taken_back (product, change_hash) VALUES (?1, ?2)")?;
        for (product, change) in off_sale {
            insert.execute(params![product, change])?;
        }
        Ok(())
    }

    /// Whether a product is off sale because an undo said so, and nobody since.
    fn is_taken_back(&self, document: &Document, product: &Product) -> Result<bool, ImportError> {
        let change = self
            .db
            .prepare_cached("SELECT change_hash FROM taken_back WHERE product = ?1")?
            .query_row([product.id.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(!product.active && change.is_some_and(|change| stands(document, change, "active")))
    }

    fn writes_after(&self, id: Uuid, place: u64, most: usize) -> Result<Vec<Write>, ImportError> {
        let mut statement = self.db.prepare_cached(
            "SELECT product, change_hash, added FROM import_write WHERE import = ?1 AND place > ?2 ORDER BY place LIMIT ?3",
        )?;
        let writes = statement.query_map(params![id.as_bytes(), place, most], write)?.collect::<Result<_, _>>()?;
        Ok(writes)
    }

    /// What takes back a write, and how many of its fields stay as they are: because somebody else has written them since, or because
    /// another product on sale has the barcode now.
    fn prepare_undo(&self, write: &Write, undo: &mut Undo) -> Result<(Option<Prepared>, usize), ImportError> {
        let existing = self.existing(DocumentKind::Product, write.product)?.ok_or(ImportError::NotFound)?;
        let before = product_in(&existing)?;
        let mut document = existing.clone();
        let (mut change, mut kept) = self.take_back(&mut document, write, undo)?;
        let mut after = product_in(&document)?;
        let taken = self.barcodes_taken(&before, &after, undo)?;
        if !taken.is_empty() {
            // One that was off sale stays so: its barcodes may be another's then.
            match before.active {
                true => after.barcodes.retain(|barcode| !taken.contains(barcode)),
                false => after.active = false,
            }
            document = existing;
            change = document.write(&DocumentValue::Product(after.clone()), undo.at, self.undone_by(undo), self.actor());
            kept += 1;
        }
        let Some(change) = change else { return Ok((None, kept)) };
        undo.regained.extend(regained(&before, &after).cloned());
        let (before, after) = (Some(DocumentValue::Product(before)), DocumentValue::Product(after));
        Ok((Some(Prepared { scope: scopes::catalogue(), document, change, before, after }), kept))
    }

    /// Takes a write back in its document: its fields that still say what it wrote get what they said before; a product that it added goes
    /// off sale. Answers the change, and how many of its fields somebody else has written since.
    fn take_back(&self, document: &mut Document, write: &Write, undo: &Undo) -> Result<(Option<Vec<u8>>, usize), ImportError> {
        let author = self.undone_by(undo);
        if write.wrote != Wrote::Added {
            let undone = document.undo(write.change, undo.at, author, self.actor());
            return Ok((undone.change, undone.kept));
        }
        let (_, kept) = document.still_says(write.change);
        let mut off = product_in(document)?;
        off.active &= !stands(document, write.change, "active");
        Ok((document.write(&DocumentValue::Product(off), undo.at, author, self.actor()), kept))
    }

    fn undone_by(&self, undo: &Undo) -> [u8; 16] {
        undo.who.as_ref().map_or(self.own.device, |who| who.id)
    }

    /// The barcodes that a product would have again and another one on sale has now.
    fn barcodes_taken(&self, before: &Product, after: &Product, undo: &Undo) -> Result<Vec<String>, ImportError> {
        let mut taken = Vec::new();
        for barcode in regained(before, after) {
            let is_taken = undo.regained.contains(barcode) || {
                let mut statement = self.db.prepare_cached("SELECT product FROM barcode WHERE code = ?1 AND product <> ?2")?;
                let others = statement.query_map(params![barcode, after.id.as_bytes()], |row| row.get(0))?;
                let others: Vec<[u8; 16]> = others.collect::<Result<_, _>>()?;
                others
                    .into_iter()
                    .map(|other| self.keeps_barcode(other, barcode, undo))
                    .collect::<Result<Vec<_>, _>>()?
                    .contains(&true)
            };
            if is_taken {
                taken.push(barcode.clone());
            }
        }
        Ok(taken)
    }

    /// Whether a product that has a barcode still has it once the whole import is taken back.
    fn keeps_barcode(&self, product: [u8; 16], barcode: &str, undo: &Undo) -> Result<bool, ImportError> {
        let found = self
            .db
            .prepare_cached(
                "SELECT product, change_hash, added FROM import_write WHERE product = ?1 AND import = ?2 AND place > ?3",
            )?
            .query_row(params![product, undo.import.as_bytes(), undo.done], write)
            .optional()?;
        let (Some(write), Some(mut document)) = (found, self.existing(DocumentKind::Product, product)?) else { return Ok(true) };
        self.take_back(&mut document, &write, undo)?;
        let after = product_in(&document)?;
        Ok(on_sale(&after).iter().any(|has| has == barcode))
    }

    fn import_author(&self, id: Uuid) -> Result<Option<Editor>, ImportError> {
        let found = self
            .db
            .prepare_cached("SELECT author, author_name FROM import WHERE id = ?1")?
            .query_row([id.as_bytes()], |row| Ok((row.get::<_, Option<[u8; 16]>>(0)?, row.get(1)?)))
            .optional()?;
        let (author, name) = found.ok_or(ImportError::NotFound)?;
        Ok(author.map(|id| Editor { id, name }))
    }

    fn import_note(&self, id: Uuid, view: &ImportView) -> Result<(), ImportError> {
        let changed = self
            .db
            .prepare_cached(
                "UPDATE import SET done = ?2, added = ?3, changed = ?4, unchanged = ?5, wrong = ?6, kept = ?7, problems = ?8, changes = ?9
                 WHERE id = ?1",
            )?
            .execute(params![
                id.as_bytes(),
                view.done,
                view.added,
                view.changed,
                view.unchanged,
                view.wrong,
                view.kept,
                json(&view.problems),
                json(&view.changes),
            ])?;
        if changed == 1 { Ok(()) } else { Err(ImportError::NotFound) }
    }

    /// The product of a code. Where servers that did not see each other gave the code to several, the oldest that is on sale, as at the tills.
    fn product_of_code(&self, code: &str) -> Result<Option<Document>, ImportError> {
        let mut oldest = None;
        for id in self.document_ids(DocumentKind::Product, code)? {
            let Some(document) = self.existing(DocumentKind::Product, id)? else { continue };
            if product_in(&document)?.active {
                return Ok(Some(document));
            }
            oldest = oldest.or(Some(document));
        }
        Ok(oldest)
    }

    fn compare(&self, row: &Row, codes: &BTreeSet<String>) -> Result<Compared, ImportError> {
        let wrong = |column: &str, value: &str, message: String| {
            let (column, value) = (column.to_owned(), value.to_owned());
            Ok(Compared::Wrong(ImportProblem { row: row.number, column, value, message }))
        };
        let tax = match &row.tax {
            None => None,
            Some(RowTax::Rate(rate_bp)) => Some(TaxPatch::Rate(*rate_bp)),
            Some(RowTax::Class(name)) => match self.tax_class_by_name(name)? {
                Some(class) => Some(TaxPatch::Class(class.id)),
                None => return wrong("tax_class", name, "There is no tax class of this name: add it first.".to_owned()),
            },
        };
        let document = self.product_of_code(&row.code)?;
        let before = document.as_ref().map(product_in).transpose()?;
        let wrote = match (&document, &before) {
            (Some(document), Some(before)) if row.active.is_none() && self.is_taken_back(document, before)? => Wrote::BroughtBack,
            (Some(_), _) => Wrote::Changed,
            (None, _) => Wrote::Added,
        };
        let patch = ProductPatch {
            code: None,
            name: Some(row.name.clone()),
            barcodes: row.barcodes.clone(),
            category: row.category.clone(),
            price: Some(row.price),
            tax,
            picture: None,
            active: row.active.or((wrote == Wrote::BroughtBack).then_some(true)),
        };
        let patched = match &before {
            Some(before) => {
                let mut after = before.clone();
                self.patch_product(&mut after, patch).map(|()| after)
            }
            None if patch.tax.is_none() => {
                return wrong("tax_class", "", "A new product needs a tax class or a tax rate.".to_owned());
            }
            None => self.new_product(ProductId(Uuid::nil()), ProductPatch { code: Some(row.code.clone()), ..patch }),
        };
        let after = match patched {
            Ok(after) => after,
            Err(AuthorError::Refused(message)) => return wrong("", &row.code, message),
            Err(error) => return Err(error.into()),
        };
        if before.as_ref() == Some(&after) {
            return Ok(Compared::Unchanged);
        }
        if after.active {
            let had = before.as_ref().filter(|before| before.active).map_or(&[][..], |before| &before.barcodes);
            for barcode in after.barcodes.iter().filter(|barcode| !had.contains(barcode)) {
                let Some(other) = self.other_with_barcode(after.id, barcode)? else { continue };
                let document = self.existing(DocumentKind::Product, other)?.ok_or(ImportError::NotFound)?;
                let other = product_in(&document)?;
                // What the file says of the other product counts, and it has each barcode once.
                if !codes.contains(&other.code) {
                    let message = format!("This barcode belongs to {} ({}), which is not in the file.", other.name, other.code);
                    return wrong("barcodes", barcode, message);
                }
            }
        }
        Ok(Compared::Write { wrote, before: before.map(Box::new), after: Box::new(after) })
    }

    fn change(&self, row: u64, wrote: Wrote, before: Option<&Product>, after: &Product) -> Result<ImportChange, ImportError> {
        let class = |id| self.tax_class(domain::ids::TaxClassId(Uuid::from_bytes(id))).ok().flatten().map(|class| class.name);
        let words = Words { currency: self.currency()?, tax_class: &class };
        let old = before.map(|before| words.product(before));
        let mut fields = Vec::new();
        for (n, (field, new)) in words.product(after).into_iter().enumerate() {
            let old = old.as_ref().and_then(|old| old[n].1.clone());
            if old != new {
                fields.push(FieldChange { field: field.to_owned(), old, new: new.unwrap_or_else(|| "none".to_owned()) });
            }
        }
        Ok(ImportChange { row, code: after.code.clone(), name: after.name.clone(), added: wrote != Wrote::Changed, fields })
    }
}

fn product_in(document: &Document) -> Result<Product, ImportError> {
    Ok(product_of(document.value().map_err(AuthorError::from)?)?)
}

/// What a scanner finds a product by: nothing while it is off sale.
fn on_sale(product: &Product) -> &[String] {
    if product.active { &product.barcodes } else { &[] }
}

/// The barcodes that a scanner finds a product by now and did not before.
fn regained<'a>(before: &'a Product, after: &'a Product) -> impl Iterator<Item = &'a String> {
    on_sale(after).iter().filter(|barcode| !on_sale(before).contains(barcode))
}

fn goes_off_sale(prepared: &Prepared) -> bool {
    let active = |value: &DocumentValue| matches!(value, DocumentValue::Product(product) if product.active);
    prepared.before.as_ref().is_some_and(active) && !active(&prepared.after)
}

/// Whether a field still says what a change wrote.
fn stands(document: &Document, change: ChangeHash, field: &str) -> bool {
    document.history().iter().any(|w| w.change == change && w.field == field && w.outcome == Outcome::Current)
}

fn write(row: &SqlRow<'_>) -> rusqlite::Result<Write> {
    let wrote = match row.get(2)? {
        0 => Wrote::Changed,
        2 => Wrote::BroughtBack,
        _ => Wrote::Added,
    };
    Ok(Write { product: row.get(0)?, change: row.get(1)?, wrote })
}

impl ImportView {
    fn push_problem(&mut self, problem: ImportProblem) {
        self.wrong += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

const COLUMNS: &str =
    "id, name, author_name, at_ms, state, done, file_rows, added, changed, unchanged, wrong, kept, failure, problems,
    changes, broke_in";

fn view(row: &SqlRow<'_>) -> rusqlite::Result<ImportView> {
    let id: [u8; 16] = row.get(0)?;
    let (state, failure): (String, String) = (row.get(4)?, row.get(12)?);
    let (problems, changes): (String, String) = (row.get(13)?, row.get(14)?);
    let mut view = ImportView {
        id: Uuid::from_bytes(id).to_string(),
        name: row.get(1)?,
        by: row.get(2)?,
        at_ms: row.get(3)?,
        state: state_of(&state),
        done: row.get(5)?,
        rows: row.get(6)?,
        added: row.get(7)?,
        changed: row.get(8)?,
        unchanged: row.get(9)?,
        wrong: row.get(10)?,
        can_be_undone: false,
        kept: row.get(11)?,
        problems: serde_json::from_str(&problems).unwrap_or_default(),
        changes: serde_json::from_str(&changes).unwrap_or_default(),
        message: String::new(),
    };
    let broke_in: String = row.get(15)?;
    view.can_be_undone = match view.state {
        ImportState::Applied => true,
        ImportState::Failed => broke_in != word(ImportState::Reading),
        _ => false,
    };
    view.message = message(&view, &failure, &broke_in);
    Ok(view)
}

const STATES: [(ImportState, &str); 8] = [
    (ImportState::Reading, "reading"),
    (ImportState::Ready, "ready"),
    (ImportState::Refused, "refused"),
    (ImportState::Applying, "applying"),
    (ImportState::Applied, "applied"),
    (ImportState::Undoing, "undoing"),
    (ImportState::Undone, "undone"),
    (ImportState::Failed, "failed"),
];

fn state_of(word: &str) -> ImportState {
    STATES.into_iter().find(|(_, known)| *known == word).map_or(ImportState::Failed, |(state, _)| state)
}

fn word(state: ImportState) -> &'static str {
    STATES.into_iter().find(|(known, _)| *known == state).map_or("failed", |(_, word)| word)
}

fn busy(state: ImportState) -> bool {
    matches!(state, ImportState::Reading | ImportState::Applying | ImportState::Undoing)
}

/// One sentence that says how an import stands and what to do.
fn message(view: &ImportView, failure: &str, broke_in: &str) -> String {
    let ImportView { done, rows, added, changed, unchanged, wrong, kept, .. } = view;
    match view.state {
        ImportState::Reading => "The file is being read; nothing is written yet.".to_owned(),
        ImportState::Ready if added + changed == 0 => {
            "Every product of the file is there just so: there is nothing to apply.".to_owned()
        }
        ImportState::Ready => {
            format!("{added} products to add, {changed} to change, {unchanged} just so. Nothing is written yet: apply it.")
        }
        ImportState::Refused => {
            format!("{wrong} rows are not as they should be, and nothing is written: correct the file and bring it again.")
        }
        ImportState::Applying => format!("{done} of {rows} rows are written."),
        ImportState::Applied if *wrong > 0 => {
            format!("Written, but for {wrong} rows that no longer fitted the catalogue: look at them. It can be undone.")
        }
        ImportState::Applied => format!("{added} products added, {changed} changed. It can be undone."),
        ImportState::Undoing => format!("{done} products are taken back."),
        ImportState::Undone if *kept > 0 => {
            format!(
                "Taken back, but for {kept} fields: somebody else has written them since, or another product has the barcode now. \
                 Products that it added are off sale."
            )
        }
        ImportState::Undone => "Taken back. Products that it added are off sale.".to_owned(),
        ImportState::Failed if broke_in == word(ImportState::Reading) => {
            format!("It broke while it was read: {failure}. Nothing of it is written: forget it, and bring the file again.")
        }
        ImportState::Failed if broke_in == word(ImportState::Undoing) => {
            format!("It broke while it was taken back: {failure}. {done} products are taken back: undo it again for the rest.")
        }
        ImportState::Failed => format!("It broke: {failure}. What was written up to row {done} stays and can be undone."),
    }
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}
