//! For whoever watches: the sales that were just admitted, and what people call things, from the region's own documents and log.

use domain::document::DocumentKind;
use domain::ids::{StaffId, StoreId};
use domain::record::Record;
use journal::{Body, ChainedEntry, Entry, Origin};
use rusqlite::{OptionalExtension, params};
use sync_proto::documents::{Document, DocumentValue};

use super::Region;

/// How many sales of one sync are kept for whoever watches: a person reads no more of them.
pub const SALES_KEPT_MAX: usize = 256;

/// A sale or refund that was admitted, as its entry says it.
#[derive(Debug, Clone)]
pub struct AdmittedSale {
    /// Who wrote it.
    pub origin: Origin,
    /// The entry.
    pub entry: Entry,
}

/// How many of an incarnation's first entries are looked through for its start record, which is the first one.
const START_WITHIN: u32 = 8;

impl Region {
    /// Keeps, from now on until they are taken, the sales and refunds that are admitted; at most [`SALES_KEPT_MAX`] of them.
    pub fn keep_sales(&mut self) {
        self.sales.get_or_insert_default();
    }

    /// The sales kept since [`Region::keep_sales`], and keeps no more. The second answer says whether there were more.
    pub fn take_sales(&mut self) -> (Vec<AdmittedSale>, bool) {
        let mut sales = self.sales.take().unwrap_or_default();
        let more = sales.len() > SALES_KEPT_MAX;
        sales.truncate(SALES_KEPT_MAX);
        (sales, more)
    }

    /// A number that goes up with every change of a document: what was read before it may be stale.
    pub fn document_changes(&self) -> u64 {
        self.document_changes
    }

    pub(super) fn note_for_watchers(&mut self, origin: Origin, chained: &ChainedEntry) {
        match &chained.entry.body {
            Body::Change { .. } => self.document_changes += 1,
            // One beyond the bound, to know that there were more.
            Body::Record { kind: 1 | 2, .. } => {
                if let Some(sales) = self.sales.as_mut().filter(|s| s.len() <= SALES_KEPT_MAX) {
                    sales.push(AdmittedSale { origin, entry: chained.entry.clone() });
                }
            }
            Body::Record { .. } => {}
        }
    }

    /// The code that a store is called by now; none when this region does not know it.
    pub fn code_of_store(&self, store: StoreId) -> Option<String> {
        match self.value(DocumentKind::Store, *store.as_bytes())? {
            DocumentValue::Store(store) => Some(store.code),
            _ => None,
        }
    }

    /// The name of a member of staff; none when this region does not know them.
    pub fn name_of_staff(&self, staff: StaffId) -> Option<String> {
        match self.value(DocumentKind::StaffMember, *staff.as_bytes())? {
            DocumentValue::StaffMember(member) => Some(member.name),
            _ => None,
        }
    }

    /// The receipt series of an incarnation; none when its start is not here.
    pub fn series_of(&self, origin: Origin) -> Option<String> {
        let origin = self.lines_of(origin).first()?.row;
        let mut first =
            self.db.prepare_cached("SELECT bytes FROM entry WHERE origin = ?1 ORDER BY commit_no, region_seq LIMIT ?2").ok()?;
        let entries = first.query_map(params![origin, START_WITHIN], |row| row.get::<_, Vec<u8>>(0)).ok()?;
        entries.filter_map(Result::ok).find_map(|bytes| match Entry::decode(&bytes).ok()?.body {
            Body::Record { kind, version, bytes } => match Record::decode(kind, version, &bytes).ok()?? {
                Record::DeviceStarted(start) => Some(start.series),
                _ => None,
            },
            Body::Change { .. } => None,
        })
    }

    /// What a document says now; none when it is not here or does not read.
    fn value(&self, kind: DocumentKind, id: [u8; 16]) -> Option<DocumentValue> {
        let saved = self
            .db
            .prepare_cached("SELECT saved FROM document WHERE id = ?1")
            .and_then(|mut s| s.query_row([id], |row| row.get::<_, Vec<u8>>(0)).optional());
        Document::load(kind, id, &saved.ok()??).ok()?.value().ok()
    }
}
