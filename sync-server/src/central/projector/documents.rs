//! Changes applied to documents, with the merge rules of the tills.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use sync_proto::documents::{Document, DocumentValue};
use tokio_postgres::Transaction;
use uuid::Uuid;

use domain::document::DocumentKind;

use super::facts::{ChangeFact, DocumentRow, ProductRow, Rows, StaffRow, StoreRow, tax_mode, text};
use crate::central::CentralError;

/// A document that this batch changes.
struct Open {
    kind: DocumentKind,
    document: Document,
    /// The last value that made sense, and its store: the rows of the document.
    value: Option<(DocumentValue, Option<Uuid>)>,
}

/// Applies changes in order and turns every document they touch into its rows. A change that does not fit is flagged.
pub(super) async fn apply(tx: &Transaction<'_>, changes: Vec<ChangeFact>, rows: &mut Rows) -> Result<(), CentralError> {
    if changes.is_empty() {
        return Ok(());
    }
    let saved = saved(tx, &changes).await?;
    let mut open = BTreeMap::<Uuid, Open>::new();
    for change in changes {
        if let Err(error) = apply_one(&mut open, &saved, &change) {
            rows.flag(change.central_seq, change.store, "document", error);
        }
    }
    for (id, of) in open {
        rows.documents.push(DocumentRow { id, kind: of.kind as i16, saved: of.document.save() });
        if let Some((value, store)) = of.value {
            push(value, store, rows);
        }
    }
    Ok(())
}

type Saved = BTreeMap<Uuid, (i16, Vec<u8>)>;

async fn saved(tx: &Transaction<'_>, changes: &[ChangeFact]) -> Result<Saved, CentralError> {
    let mut ids: Vec<Uuid> = changes.iter().map(|c| c.document).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = tx.query("SELECT id, kind, saved FROM documents WHERE id = ANY($1)", &[&ids]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

fn apply_one(open: &mut BTreeMap<Uuid, Open>, saved: &Saved, change: &ChangeFact) -> Result<(), String> {
    let of = match open.entry(change.document) {
        Slot::Occupied(slot) => slot.into_mut(),
        Slot::Vacant(slot) => {
            let id = change.document.into_bytes();
            let (kind, document) = match saved.get(&change.document) {
                Some((kind, saved)) => {
                    let kind = u16::try_from(*kind).ok().and_then(DocumentKind::from_number).unwrap_or(change.kind);
                    (kind, Document::load(kind, id, saved).map_err(|e| e.to_string())?)
                }
                None => (change.kind, Document::new(change.kind, id)),
            };
            slot.insert(Open { kind, document, value: None })
        }
    };
    if of.kind != change.kind {
        return Err("the document is of another kind".to_owned());
    }
    of.document.apply(&change.bytes).map_err(|e| e.to_string())?;
    // After every change and not once a batch, so that what is flagged does not depend on where a batch was cut.
    let value = of.document.value().map_err(|e| e.to_string())?;
    if matches!(value, DocumentValue::StaffMember(_)) && change.store.is_none() {
        return Err("its scope is of no store".to_owned());
    }
    of.value = Some((value, change.store));
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
        }),
        DocumentValue::Product(p) => rows.products.push(ProductRow {
            id: p.id.0,
            code: text(&p.code),
            name: text(&p.name),
            barcodes: p.barcodes.iter().map(|b| text(b)).collect(),
            price_centi: p.price.0,
            tax_rate_bp: p.tax_rate_bp.into(),
            active: p.active,
        }),
        DocumentValue::StaffMember(m) => rows.staff.extend(store.map(|store| StaffRow {
            store,
            id: m.id.0,
            name: text(&m.name),
            role: m.role.as_str(),
            active: m.active,
        })),
    }
}
