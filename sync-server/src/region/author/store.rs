//! How a store sells: its settings, edited.

use std::collections::BTreeSet;

use domain::document::{DocumentKind, LANGUAGES, LANGUAGES_MAX, NAME_BYTES_MAX, STORE_LINES_MAX, Store, TIME_ZONE_BYTES_MAX};
use domain::ids::StoreId;
use domain::money::Currency;
use domain::record::Record;
use domain::tax::TaxMode;
use journal::{Body, Entry};
use sync_proto::documents::{ChangeHash, DocumentValue};
use sync_proto::env::{Env, random};
use sync_proto::scopes;

use super::catalogue::line;
use super::{AuthorError, DocumentState, Edit, Editor, Region};
use crate::central::reports::zone::Zone;
use crate::region::RegionError;

/// Longest line of an address, a receipt's header or its footer, in bytes: what a receipt printer is given at most.
const LINE_BYTES_MAX: usize = 200;

/// Fields of a store to be written; what is absent is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorePatch {
    /// The name on the receipt.
    pub name: Option<String>,
    /// The address, one string a line.
    pub address: Option<Vec<String>>,
    /// The first words of a receipt, one string a line.
    pub receipt_header: Option<Vec<String>>,
    /// The last words, one string a line.
    pub receipt_footer: Option<Vec<String>>,
    /// What it counts money in.
    pub currency: Option<Currency>,
    /// Whether its prices hold the tax.
    pub tax_mode: Option<TaxMode>,
    /// The languages of its screens and receipts.
    pub languages: Option<Vec<String>>,
    /// Where its clock hangs.
    pub time_zone: Option<String>,
}

impl Region {
    /// Edits a store, as somebody decided who saw it in the state `seen`, or in its newest one.
    ///
    /// # Errors
    /// No such store, a field that is out of bounds, another currency for a store that has sold, or the log refuses.
    pub fn edit_store(
        &mut self,
        code: &str,
        seen: Option<&[ChangeHash]>,
        patch: StorePatch,
        who: Option<&Editor>,
        env: &dyn Env,
    ) -> Result<DocumentState, AuthorError> {
        let kind = DocumentKind::Store;
        let id = self.document_id(kind, code)?.ok_or(AuthorError::NotFound("store"))?;
        let document = self.existing(kind, id)?.ok_or(AuthorError::NotFound("store"))?;
        let edit = Edit { seen, who, at: self.clock.tick(env.unix_ms()), fresh_actor: random(env) };
        let prepared = self.prepare_edit(scopes::directory(), document, edit, |value| {
            let DocumentValue::Store(mut store) = value else { return Err(AuthorError::NotFound("store")) };
            let currency = store.currency;
            patch_store(&mut store, patch)?;
            if store.currency != currency {
                self.check_may_change_currency(store.id)?;
            }
            Ok(DocumentValue::Store(store))
        })?;
        self.write(prepared.into_iter().collect(), who, env.unix_ms())?;
        self.known(kind, id, "store")
    }

    /// The state of the store of a code.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn store_state(&self, code: &str) -> Result<Option<DocumentState>, AuthorError> {
        match self.document_id(DocumentKind::Store, code)? {
            Some(id) => self.state(DocumentKind::Store, id),
            None => Ok(None),
        }
    }

    /// Amounts are not converted: a store that has sold, or has a shift open, keeps its currency.
    fn check_may_change_currency(&self, store: StoreId) -> Result<(), AuthorError> {
        let Some(scope) = self.scope_ids.get(&scopes::store(store)) else { return Ok(()) };
        let mut statement = self.db.prepare("SELECT bytes FROM entry WHERE origin = ?1 AND scope = ?2 ORDER BY seq")?;
        let mut open = BTreeSet::new();
        for origin in self.origins.keys() {
            let mut found = statement.query([origin, scope])?;
            while let Some(row) = found.next()? {
                let bytes: Vec<u8> = row.get(0)?;
                let entry = Entry::decode(&bytes).map_err(|_| RegionError::Damaged("an entry"))?;
                let Body::Record { kind, version, bytes } = entry.body else { continue };
                match Record::decode(kind, version, &bytes) {
                    Ok(Some(Record::SaleCompleted(_) | Record::RefundGiven(_))) => {
                        return Err(AuthorError::Conflict(
                            "The store has sold already, and amounts are not converted: its currency stays.".to_owned(),
                        ));
                    }
                    Ok(Some(Record::ShiftOpened(s))) => drop(open.insert(s.shift)),
                    Ok(Some(Record::ShiftClosed(s))) => drop(open.remove(&s.shift)),
                    _ => {}
                }
            }
        }
        match open.is_empty() {
            true => Ok(()),
            false => {
                Err(AuthorError::Conflict("A shift is open in the store: close it before changing the currency.".to_owned()))
            }
        }
    }
}

fn patch_store(store: &mut Store, patch: StorePatch) -> Result<(), AuthorError> {
    let StorePatch { name, address, receipt_header, receipt_footer, currency, tax_mode, languages, time_zone } = patch;
    if let Some(name) = name {
        store.name = line("A store's name", &name, 1, NAME_BYTES_MAX)?;
    }
    if let Some(address) = address {
        store.address = lines("The address", address)?;
    }
    if let Some(header) = receipt_header {
        store.receipt_header = lines("The receipt header", header)?;
    }
    if let Some(footer) = receipt_footer {
        let footer = lines("The receipt footer", footer)?.join("\n");
        if footer.len() > NAME_BYTES_MAX {
            return Err(AuthorError::Refused(format!("The receipt footer has at most {NAME_BYTES_MAX} bytes in all.")));
        }
        store.receipt_footer = footer;
    }
    store.currency = currency.unwrap_or(store.currency);
    store.tax_mode = tax_mode.unwrap_or(store.tax_mode);
    if let Some(languages) = languages {
        store.languages = checked_languages(languages)?;
    }
    if let Some(zone) = time_zone {
        store.time_zone = checked_time_zone(zone)?;
    }
    Ok(())
}

fn lines(what: &str, lines: Vec<String>) -> Result<Vec<String>, AuthorError> {
    if lines.len() > STORE_LINES_MAX {
        return Err(AuthorError::Refused(format!("{what} has at most {STORE_LINES_MAX} lines.")));
    }
    let mut lines = lines.iter().map(|text| line("A line", text, 0, LINE_BYTES_MAX)).collect::<Result<Vec<_>, _>>()?;
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(lines)
}

fn checked_languages(languages: Vec<String>) -> Result<Vec<String>, AuthorError> {
    let known = |language: &String| LANGUAGES.contains(&language.as_str());
    let distinct = languages.iter().collect::<BTreeSet<_>>().len();
    if languages.is_empty() || languages.len() > LANGUAGES_MAX || distinct < languages.len() || !languages.iter().all(known) {
        let choice = LANGUAGES.join(", ");
        return Err(AuthorError::Refused(format!("A store has 1 to {LANGUAGES_MAX} of the languages {choice}, each once.")));
    }
    Ok(languages)
}

fn checked_time_zone(zone: String) -> Result<String, AuthorError> {
    let known = zone.len() <= TIME_ZONE_BYTES_MAX && Zone::new(&zone).is_some();
    match known {
        true => Ok(zone),
        false => {
            Err(AuthorError::Refused("A time zone is a name such as Europe/London, from the IANA time zone database.".into()))
        }
    }
}
