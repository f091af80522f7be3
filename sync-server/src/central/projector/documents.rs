//! Changes taken into documents, with the merge rules of the tills.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use domain::document::DocumentKind;
use domain::money::Currency;
use sync_proto::documents::gate::Refusal;
use sync_proto::documents::{Conflict, Document, DocumentValue};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::facts::{
    ChangeFact, DocumentRow, Facts, ProductRow, Rows, Settled, StaffRow, StoreRow, Subject, TaxClassRow, tax_mode, text,
};
use super::open_orders::OpenOrders;
use super::refunds::Returned;
use crate::central::CentralError;
use crate::central::catalogue::search_words;
use crate::central::exceptions::ExceptionKind;
use crate::words::Words;

/// A document that this batch changes.
struct Open {
    kind: DocumentKind,
    document: Document,
    /// The last value that made sense, and its store: the rows of the document.
    value: Option<(DocumentValue, Option<Uuid>)>,
}

/// Fields that somebody wrote without seeing what somebody else wrote there.
struct AtOnce {
    document: Uuid,
    central_seq: i64,
    store: Option<Uuid>,
    kind: DocumentKind,
    /// What people call the document.
    name: String,
    conflicts: Vec<Conflict>,
    /// Tax classes and currencies as documents of this batch said then; the tables have the others.
    classes: BTreeMap<[u8; 16], String>,
    currencies: BTreeMap<String, Currency>,
}

/// What is to be told of fields that people wrote at once, in order.
enum Noted {
    AtOnce(AtOnce),
    /// Nobody's words stand against another's any more.
    Settled {
        document: Uuid,
        store: Option<Uuid>,
        central_seq: i64,
    },
}

/// Takes the changes of commits in order and turns every document they touch into its rows. A change that does not fit is flagged, and so is
/// one that was made at once with another one of the same field. `refunds` are those of the batch, which settle exceptions of open orders.
pub(super) async fn take(
    tx: &Transaction<'_>,
    commits: Vec<Facts>,
    refunds: &[Returned],
    rows: &mut Rows,
) -> Result<(), CentralError> {
    if refunds.is_empty() && commits.iter().all(|commit| commit.changes.is_empty() && commit.actors.is_empty()) {
        return Ok(());
    }
    let saved = saved(tx, commits.iter().flat_map(|commit| &commit.changes)).await?;
    let mut orders = OpenOrders::load(tx, &commits, refunds).await?;
    let mut open = BTreeMap::<Uuid, Open>::new();
    let mut edited_at_once = edited_at_once(tx, saved.keys().copied().collect()).await?;
    let mut noted = Vec::new();
    for mut commit in commits {
        let changes = std::mem::take(&mut commit.changes);
        orders.hear(commit);
        for change in changes {
            if change.kind == DocumentKind::OpenOrder {
                orders.take(change, rows);
                continue;
            }
            match take_one(&mut open, &saved, &change) {
                Ok(conflicts) if conflicts.is_empty() => {
                    let is_settled = |document: &Uuid| open.get(document).is_some_and(|of| of.document.conflicts().is_empty());
                    if edited_at_once.contains(&change.document) && is_settled(&change.document) {
                        edited_at_once.remove(&change.document);
                        let ChangeFact { document, store, central_seq, .. } = change;
                        noted.push(Noted::Settled { document, store, central_seq });
                    }
                }
                Ok(conflicts) => {
                    edited_at_once.insert(change.document);
                    noted.push(Noted::AtOnce(note_at_once(&open, &change, conflicts)));
                }
                Err((kind, why)) => rows.flag(change.central_seq, change.store, kind, why),
            }
        }
        orders.settle(rows).await?;
    }
    orders.write(rows);
    flag_at_once(tx, noted, rows).await?;
    for (id, of) in open {
        rows.documents.push(DocumentRow { id, kind: of.kind as i16, saved: of.document.save() });
        if let Some((value, store)) = of.value {
            push(value, store, rows);
        }
    }
    Ok(())
}

/// The documents with fields that people wrote at once and nobody has written again since.
async fn edited_at_once(tx: &Transaction<'_>, documents: Vec<Uuid>) -> Result<BTreeSet<Uuid>, CentralError> {
    if documents.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = "SELECT subject FROM exceptions WHERE subject = ANY($1) AND kind = $2 AND settled_seq IS NULL";
    let rows = tx.query(sql, &[&documents, &ExceptionKind::EditedAtOnce.as_str()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

type Saved = BTreeMap<Uuid, (i16, Vec<u8>)>;

async fn saved(tx: &Transaction<'_>, changes: impl Iterator<Item = &ChangeFact>) -> Result<Saved, CentralError> {
    let ids: BTreeSet<Uuid> = changes.map(|c| c.document).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(Saved::new());
    }
    let rows = tx.query("SELECT id, kind, saved FROM documents WHERE id = ANY($1)", &[&ids]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

/// Takes a change, and answers the fields that it and others wrote without seeing each other; or, where it does not count, why.
fn take_one(
    open: &mut BTreeMap<Uuid, Open>,
    saved: &Saved,
    change: &ChangeFact,
) -> Result<Vec<Conflict>, (ExceptionKind, String)> {
    let does_not_fit = |why: String| (ExceptionKind::Document, why);
    let of = match open.entry(change.document) {
        Slot::Occupied(slot) => slot.into_mut(),
        Slot::Vacant(slot) => {
            let id = change.document.into_bytes();
            let (kind, document) = match saved.get(&change.document) {
                Some((kind, saved)) => {
                    let kind = u16::try_from(*kind).ok().and_then(DocumentKind::from_number).unwrap_or(change.kind);
                    (kind, Document::load(kind, id, saved).map_err(|e| does_not_fit(e.to_string()))?)
                }
                None => (change.kind, Document::new(change.kind, id)),
            };
            slot.insert(Open { kind, document, value: None })
        }
    };
    if of.kind != change.kind {
        return Err(does_not_fit("the document is of another kind".to_owned()));
    }
    let hash = match of.document.take(&change.bytes, &change.writer(&BTreeSet::new())) {
        Ok(hash) => hash,
        Err(why) => {
            // What was refused is no beginning: somebody else's may be.
            if of.document.heads().is_empty() {
                open.remove(&change.document);
            }
            let kind = match why {
                Refusal::NotForDevice { .. } => ExceptionKind::NotAllowed,
                _ => ExceptionKind::Document,
            };
            return Err((kind, why.to_string()));
        }
    };
    // After every change and not once a batch, so that what is flagged does not depend on where a batch was cut.
    let value = of.document.value().map_err(|e| does_not_fit(e.to_string()))?;
    if matches!(value, DocumentValue::StaffMember(_)) && change.store.is_none() {
        return Err(does_not_fit("its scope is of no store".to_owned()));
    }
    of.value = Some((value, change.store));
    if of.document.heads().len() < 2 {
        return Ok(Vec::new());
    }
    let mut conflicts = of.document.conflicts();
    conflicts.retain(|conflict| conflict.writings.iter().any(|w| w.change == hash));
    Ok(conflicts)
}

fn note_at_once(open: &BTreeMap<Uuid, Open>, change: &ChangeFact, conflicts: Vec<Conflict>) -> AtOnce {
    let mut noted = AtOnce {
        document: change.document,
        central_seq: change.central_seq,
        store: change.store,
        kind: change.kind,
        name: String::new(),
        conflicts,
        classes: BTreeMap::new(),
        currencies: BTreeMap::new(),
    };
    for (id, of) in open {
        match &of.value {
            Some((value, _)) if *id == change.document => noted.name = name_of(value),
            Some((DocumentValue::TaxClass(class), _)) => drop(noted.classes.insert(id.into_bytes(), class.name.clone())),
            Some((DocumentValue::Store(store), _)) => drop(noted.currencies.insert(store.code.clone(), store.currency)),
            _ => {}
        }
    }
    noted
}

fn name_of(value: &DocumentValue) -> String {
    match value {
        DocumentValue::Product(p) => format!("{} ({})", p.name, p.code),
        DocumentValue::Store(s) => format!("store {}", s.code),
        DocumentValue::StaffMember(m) => m.name.clone(),
        DocumentValue::TaxClass(c) => format!("tax class {}", c.name),
        DocumentValue::Picture(p) => format!("picture {}", p.id),
        DocumentValue::OpenOrder(o) => format!("open order {}", o.label),
    }
}

/// Tells managers who wrote what without seeing whose words, and which of them stand.
async fn flag_at_once(tx: &Transaction<'_>, all: Vec<Noted>, rows: &mut Rows) -> Result<(), CentralError> {
    if all.is_empty() {
        return Ok(());
    }
    let named =
        |found: Vec<tokio_postgres::Row>| found.iter().map(|row| (row.get::<_, Uuid>(0).into_bytes(), row.get(1))).collect();
    let people: BTreeMap<[u8; 16], String> = named(tx.query("SELECT id, name FROM manager_accounts", &[]).await?);
    let classes: BTreeMap<[u8; 16], String> = named(tx.query("SELECT tax_class_id, name FROM tax_classes", &[]).await?);
    let stores = tx.query("SELECT code, currency::text FROM stores", &[]).await?;
    let stores: BTreeMap<String, Currency> =
        stores.iter().filter_map(|row| Some((row.get(0), Currency::new(row.get(1))?))).collect();
    let subject = |store, id| Subject { kind: ExceptionKind::EditedAtOnce.as_str(), store, id };
    for noted in all {
        let mut noted = match noted {
            Noted::AtOnce(noted) => noted,
            Noted::Settled { document, store, central_seq } => {
                rows.settle(subject(store, document), Settled { central_seq, order: None });
                continue;
            }
        };
        for (code, currency) in &stores {
            noted.currencies.entry(code.clone()).or_insert(*currency);
        }
        let class = |id| noted.classes.get(&id).or_else(|| classes.get(&id)).cloned();
        let words = Words { currency: noted.currencies.values().next().copied(), tax_class: &class };
        for conflict in &noted.conflicts {
            let said: Vec<(String, &str)> = conflict
                .writings
                .iter()
                .map(|w| {
                    let by = people.get(&w.author).map_or("the server", String::as_str);
                    (words.value(noted.kind, &conflict.field, &w.value), by)
                })
                .collect();
            let wrote: Vec<String> = said.iter().map(|(value, by)| format!("{by} wrote {value}")).collect();
            let (field, stands) = (Words::field(&conflict.field), &said[0].0);
            let detail = format!(
                "{field} of {}: {}, without seeing each other; {stands} stands as the later one",
                noted.name,
                wrote.join(" and ")
            );
            rows.flag_subject(noted.central_seq, subject(noted.store, noted.document), None, detail);
        }
    }
    Ok(())
}

fn push(value: DocumentValue, store: Option<Uuid>, rows: &mut Rows) {
    match value {
        DocumentValue::Store(s) => rows.stores.push(StoreRow {
            id: s.id.0,
            code: text(&s.code),
            name: text(&s.name),
            address: s.address.iter().map(|l| text(l)).collect(),
            currency: s.currency.code().to_owned(),
            tax_mode: tax_mode(s.tax_mode),
            receipt_footer: text(&s.receipt_footer),
            receipt_header: s.receipt_header.iter().map(|l| text(l)).collect(),
            languages: s.languages.iter().map(|l| text(l)).collect(),
            time_zone: text(&s.time_zone),
        }),
        DocumentValue::Product(p) => rows.products.push(ProductRow {
            id: p.id.0,
            code: text(&p.code),
            name: text(&p.name),
            barcodes: p.barcodes.iter().map(|b| text(b)).collect(),
            price_centi: p.price.0,
            tax_rate_bp: p.tax_rate_bp.into(),
            active: p.active,
            category: text(&p.category),
            tax_class: p.tax_class.map(|id| id.0),
            picture: p.picture.map(|id| id.0),
            search: search_words(&[&p.name, &p.code], &p.barcodes),
        }),
        DocumentValue::TaxClass(c) => {
            rows.tax_classes.push(TaxClassRow { id: c.id.0, name: text(&c.name), rate_bp: c.rate_bp.into(), active: c.active });
        }
        // The document of a picture is its row; open orders have their own way.
        DocumentValue::Picture(_) | DocumentValue::OpenOrder(_) => {}
        DocumentValue::StaffMember(m) => rows.staff.extend(store.map(|store| StaffRow {
            store,
            id: m.id.0,
            name: text(&m.name),
            role: m.role.as_str(),
            active: m.active,
        })),
    }
}
