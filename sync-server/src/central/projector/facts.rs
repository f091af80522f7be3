//! What records mean, as rows of the read model. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use domain::document::DocumentKind;
use domain::fold;
use domain::ids::{ProductId, StoreId};
use domain::money::Quantity;
use domain::record::{
    AccountAdjustment, DeviceEnrolment, DeviceKind, Order, Record, ShiftClosing, ShiftOpening, StockAdjustment, StockCount,
};
use domain::shift::encode_cut;
use domain::tax::TaxMode;
use journal::{Body, Entry, Hlc, Origin, Scope};
use sync_proto::documents;
use sync_proto::documents::gate::Writer;
use sync_proto::scopes;
use uuid::Uuid;

use super::commits::CentralEntry;
use crate::central::exceptions::ExceptionKind;

/// A device and its incarnation.
pub(super) type OriginKey = (Uuid, Uuid);

/// What the entries of a commit say and this build understands, in order.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) records: Vec<RecordFact>,
    pub(super) changes: Vec<ChangeFact>,
    /// Under which actors an origin writes documents.
    pub(super) actors: Vec<ActorRow>,
    /// What receipts of an origin are called.
    pub(super) series: Vec<(OriginKey, String)>,
    /// Its sales and refunds by store and id, with their numbers.
    pub(super) receipts: Vec<((Uuid, Uuid), Receipt)>,
    /// Its last entry.
    pub(super) central_seq: i64,
    /// The entries of its refunds.
    pub(super) refunds: Vec<i64>,
}

/// A sale's or refund's place among the receipts of its origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receipt {
    pub(super) origin: OriginKey,
    pub(super) number: i64,
}

/// A record with what its entry adds to it.
#[derive(Debug)]
pub(super) struct RecordFact {
    pub(super) record: Record,
    pub(super) central_seq: i64,
    /// The store of its scope; none in the directory.
    pub(super) store: Option<Uuid>,
    pub(super) device: Uuid,
    pub(super) incarnation: Uuid,
    /// Its place in its scope.
    pub(super) seq: i64,
    pub(super) staff: Option<Uuid>,
    pub(super) at: Hlc,
    pub(super) at_ms: i64,
}

/// A change with what its entry adds to it.
#[derive(Debug)]
pub(super) struct ChangeFact {
    pub(super) document: Uuid,
    pub(super) kind: DocumentKind,
    pub(super) bytes: Vec<u8>,
    pub(super) central_seq: i64,
    pub(super) store: Option<Uuid>,
    pub(super) origin: OriginKey,
    /// What writes into its scope, and of which store those devices are.
    pub(super) writers: (DeviceKind, Option<StoreId>),
    at: Hlc,
    author: [u8; 16],
}

impl ChangeFact {
    /// The change in an entry, when there is one and this build knows its kind.
    pub(super) fn of(from: &CentralEntry) -> Option<Self> {
        let entry = from.entry.as_ref().ok()?;
        let Body::Change { document, kind, bytes } = &entry.body else { return None };
        // Nobody of ours writes into a scope that has no name.
        let writers = Scope::new(from.scope.as_str()).map_or((DeviceKind::Till, None), |scope| scopes::writers_of(&scope));
        Some(Self {
            document: Uuid::from_bytes(*document),
            kind: DocumentKind::from_number(*kind)?,
            bytes: bytes.clone(),
            central_seq: from.central_seq,
            store: store_of(&from.scope),
            origin: (from.device, from.incarnation),
            writers,
            at: entry.at,
            author: entry.staff.unwrap_or_default(),
        })
    }

    /// Who wrote it, for the gate; `actors` are those that its origin announced.
    pub(super) fn writer<'a>(&self, actors: &'a BTreeSet<[u8; 16]>) -> Writer<'a> {
        let (device, store) = self.writers;
        Writer { actors, device, store, at: self.at, author: self.author }
    }
}

/// Ids that must be fresh in a store: see `record_keys` in the migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) store: Uuid,
    pub(super) class: i16,
    pub(super) id: Uuid,
}

impl RecordFact {
    /// The key under which it counts once, when it has one. The same store that [`fold`] files it under.
    pub(super) fn key(&self) -> Option<Key> {
        let (class, id) = match &self.record {
            Record::SaleCompleted(o) | Record::RefundGiven(o) => (0, o.id.0),
            Record::StockAdjusted(a) => (0, a.id.0),
            Record::AccountAdjusted(a) => (0, a.id.0),
            Record::StockCounted(c) => (0, c.id.0),
            Record::ShiftOpened(s) => (5, s.shift.0),
            Record::ShiftClosed(s) => (6, s.shift.0),
            _ => return None,
        };
        Some(Key { store: self.store?, class, id })
    }
}

/// Rows to be written.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) orders: Vec<OrderRow>,
    pub(super) refunds: Vec<RefundRow>,
    pub(super) adjustments: Vec<AdjustmentRow>,
    /// What happens to levels, by store and product.
    pub(super) levels: BTreeMap<(Uuid, Uuid), LevelChange>,
    /// Those of them that are tracked from now on.
    pub(super) tracked: BTreeSet<(Uuid, Uuid)>,
    pub(super) counts: Vec<CountRow>,
    /// Which count of a product at a store stands.
    pub(super) standing: BTreeMap<(Uuid, Uuid), Uuid>,
    pub(super) accounts: Vec<AccountRow>,
    pub(super) openings: Vec<OpeningRow>,
    pub(super) closings: Vec<ClosingRow>,
    pub(super) devices: Vec<DeviceRow>,
    pub(super) starts: Vec<StartRow>,
    pub(super) documents: Vec<DocumentRow>,
    pub(super) actors: Vec<ActorRow>,
    pub(super) order_documents: Vec<OrderDocumentRow>,
    pub(super) open_orders: Vec<OpenOrderRow>,
    pub(super) waiting: Vec<WaitingRow>,
    /// Changes that waited and do so no longer.
    pub(super) waited: Vec<i64>,
    pub(super) stores: Vec<StoreRow>,
    pub(super) products: Vec<ProductRow>,
    pub(super) tax_classes: Vec<TaxClassRow>,
    pub(super) staff: Vec<StaffRow>,
    pub(super) progress: BTreeMap<(Uuid, Uuid), (i64, i64)>,
    pub(super) skipped: BTreeMap<(&'static str, i32, i32), i64>,
    pub(super) exceptions: Vec<ExceptionRow>,
    /// Exceptions of earlier batches that are settled now; the first time counts.
    pub(super) settled: BTreeMap<Subject, Settled>,
    pub(super) order_payments: BTreeSet<(Uuid, Uuid, Uuid)>,
}

/// What an exception is about: it is open once at most for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) kind: &'static str,
    /// None of a document that is no store's.
    pub(super) store: Option<Uuid>,
    pub(super) id: Uuid,
}

/// Since when an exception is settled, and the sale or refund that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) central_seq: i64,
    pub(super) order: Option<Uuid>,
}

/// What a batch does to a level.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LevelChange {
    /// What is added to it.
    pub(super) milli: i64,
    /// When it moved last.
    pub(super) at_ms: i64,
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name { $(pub(super) $field: $type),* }
    )* };
}

rows! {
    /// A row of `orders`, but for the business day, which is the shift's.
    OrderRow {
        store: Uuid, id: Uuid, kind: &'static str, device: Uuid, incarnation: Uuid, receipt_number: i64, shift: Uuid,
        staff: Option<Uuid>, at_ms: i64, currency: String, tax_mode: &'static str, total_minor: i64, tax_minor: i64,
        original: Option<Uuid>, reason: Option<String>, reference: Option<String>, central_seq: i64,
        line_products: Vec<Uuid>, line_names: Vec<String>, line_quantities_milli: Vec<i64>, line_prices_centi: Vec<i64>,
        line_tax_rates_bp: Vec<i64>, line_amounts_minor: Vec<i64>, line_originals: Option<Vec<Option<i64>>>,
        tax_rates_bp: Vec<i64>, tax_nets_minor: Vec<i64>, tax_amounts_minor: Vec<i64>, payment_methods: Vec<&'static str>,
        payment_amounts_minor: Vec<i64>, payment_tendered_minor: Vec<Option<i64>>, payment_change_minor: Vec<i64>,
    }
    /// A row of `refunds`.
    RefundRow {
        store: Uuid, order: Uuid, line: i32, original: Option<Uuid>, original_line: Option<i64>, product: Uuid,
        quantity_milli: i64, amount_minor: i64,
    }
    /// A row of `stock_adjustments`.
    AdjustmentRow {
        store: Uuid, record: Uuid, line: i32, product: Uuid, quantity_milli: i64, reason: &'static str, at_ms: i64,
        unit_price_centi: i64, amount_minor: i64, device: Uuid, shift: Uuid, staff: Option<Uuid>, note: String,
        reference: Option<String>, counted_milli: Option<i64>, central_seq: i64,
    }
    /// A row of `stock_counts`, but for whether it stands.
    CountRow { store: Uuid, product: Uuid, record: Uuid, central_seq: i64 }
    /// A row of `account_adjustments`.
    AccountRow {
        store: Uuid, record: Uuid, line: i32, device: Uuid, shift: Uuid, staff: Option<Uuid>, at_ms: i64, description: String,
        quantity_milli: i64, unit_price_centi: i64, amount_minor: i64, reference: Option<String>,
    }
    /// The opening's columns of `shifts`.
    OpeningRow {
        store: Uuid, shift: Uuid, device: Uuid, day: Option<i32>, at_ms: i64, staff: Option<Uuid>, float_minor: i64,
        currency: String,
    }
    /// The closing's columns of `shifts`.
    ClosingRow {
        store: Uuid, shift: Uuid, device: Uuid, at_ms: i64, staff: Option<Uuid>, counted_minor: i64, expected_minor: i64,
        cut_commit: i64, cut: Option<Vec<u8>>,
    }
    /// A row of `devices`.
    DeviceRow {
        device: Uuid, store: Option<Uuid>, kind: &'static str, name: String, number: i64, public_key: Vec<u8>, at_ms: i64,
    }
    /// A row of `incarnations`.
    StartRow { device: Uuid, incarnation: Uuid, series: String, software: String, at_ms: i64 }
    /// A row of `documents`.
    DocumentRow { id: Uuid, kind: i16, saved: Vec<u8> }
    /// A row of `announced_actors`.
    ActorRow { device: Uuid, incarnation: Uuid, actor: Uuid }
    /// A row of `open_order_documents`.
    OrderDocumentRow { store: Uuid, id: Uuid, saved: Vec<u8>, flagged: Vec<String>, settled: Vec<String>, rest: Option<Uuid> }
    /// A row of `open_orders`.
    OpenOrderRow {
        store: Uuid, id: Uuid, label: String, note: String, status: &'static str, lines: i32, total_minor: i64, opened_ms: i64,
        opened_by: Uuid, changed_ms: i64, changed_by: Uuid,
    }
    /// A row of `waiting_changes`.
    WaitingRow { central_seq: i64, store: Uuid, document: Uuid, device: Uuid, incarnation: Uuid }
    /// A row of `stores`.
    StoreRow {
        id: Uuid, code: String, name: String, address: Vec<String>, currency: String, tax_mode: &'static str,
        receipt_footer: String, receipt_header: Vec<String>, languages: Vec<String>, time_zone: String,
    }
    /// A row of `products`.
    ProductRow {
        id: Uuid, code: String, name: String, barcodes: Vec<String>, price_centi: i64, tax_rate_bp: i64, active: bool,
        category: String, tax_class: Option<Uuid>, picture: Option<Uuid>, search: Vec<String>,
    }
    /// A row of `tax_classes`.
    TaxClassRow { id: Uuid, name: String, rate_bp: i64, active: bool }
    /// A row of `staff`.
    StaffRow { store: Uuid, id: Uuid, name: String, role: &'static str, active: bool }
    /// A row of `exceptions`, but for its place and for what the entry itself says.
    ExceptionRow {
        central_seq: i64, store: Option<Uuid>, order: Option<Uuid>, kind: &'static str, detail: String, subject: Option<Uuid>,
        settled: Option<Settled>,
    }
}

impl Rows {
    /// Counts a whole commit of an origin. The later branch of a fork is not counted: its numbers are those of the first.
    pub(super) fn count_commit(&mut self, commit: &[CentralEntry]) {
        let Some(last) = commit.last().filter(|e| !e.forked) else { return };
        let at_ms = last.entry.as_ref().map_or(0, at_ms);
        let (commits, latest) = self.progress.entry((last.device, last.incarnation)).or_default();
        *commits += 1;
        *latest = (*latest).max(at_ms);
    }

    /// Adds to a level.
    fn move_level(&mut self, store: Uuid, product: ProductId, by: Quantity, at_ms: i64) {
        let level = self.levels.entry((store, product.0)).or_insert(LevelChange { milli: 0, at_ms });
        level.milli += by.0;
        level.at_ms = level.at_ms.max(at_ms);
    }

    /// Counts an entry of a newer kind.
    fn skip(&mut self, body: &'static str, kind: u16, version: u16) {
        *self.skipped.entry((body, kind.into(), version.into())).or_default() += 1;
    }

    /// Flags an entry.
    pub(super) fn flag(&mut self, central_seq: i64, store: Option<Uuid>, kind: ExceptionKind, detail: impl Into<String>) {
        self.flag_order(central_seq, store, None, kind, detail);
    }

    /// Flags an entry, and with it a sale or refund.
    pub(super) fn flag_order(
        &mut self,
        central_seq: i64,
        store: Option<Uuid>,
        order: Option<Uuid>,
        kind: ExceptionKind,
        detail: impl Into<String>,
    ) {
        let (kind, detail) = (kind.as_str(), text(&detail.into()));
        self.exceptions.push(ExceptionRow { central_seq, store, order, kind, detail, subject: None, settled: None });
    }

    /// Flags an entry for as long as what it says of a subject is so: see [`Self::settle`].
    pub(super) fn flag_subject(&mut self, central_seq: i64, subject: Subject, order: Option<Uuid>, detail: impl Into<String>) {
        let Subject { kind, store, id } = subject;
        let detail = text(&detail.into());
        self.exceptions.push(ExceptionRow { central_seq, store, order, kind, detail, subject: Some(id), settled: None });
    }

    /// Notes that what was flagged of a subject is so no longer.
    pub(super) fn settle(&mut self, subject: Subject, settled: Settled) {
        let is_meant = |row: &&mut ExceptionRow| {
            row.subject == Some(subject.id) && row.kind == subject.kind && row.store == subject.store && row.settled.is_none()
        };
        self.exceptions.iter_mut().filter(is_meant).for_each(|row| row.settled = Some(settled));
        self.settled.entry(subject).or_insert(settled);
    }

    /// Flags what a record says, and with it the sale or refund that it is.
    pub(super) fn flag_record(&mut self, fact: &RecordFact, kind: ExceptionKind, detail: impl Into<String>) {
        let order = match &fact.record {
            Record::SaleCompleted(o) | Record::RefundGiven(o) => Some(o.id.0),
            _ => None,
        };
        self.flag_order(fact.central_seq, fact.store, order, kind, detail);
    }
}

impl Facts {
    /// Notes what a record says that documents go by.
    fn note(&mut self, origin: OriginKey, store: Option<Uuid>, record: &Record) {
        let (device, incarnation) = origin;
        match (record, store) {
            (Record::DeviceStarted(s), _) => {
                let of = Origin { device: device.into_bytes(), incarnation: incarnation.into_bytes() };
                let actor = s.actor_seed.map(|seed| Uuid::from_bytes(documents::actor(&of, seed)));
                self.actors.extend(actor.map(|actor| ActorRow { device, incarnation, actor }));
                self.series.push((origin, s.series.clone()));
            }
            (Record::SaleCompleted(o) | Record::RefundGiven(o), Some(store)) => {
                let number = i64::try_from(o.receipt_number).unwrap_or_default();
                self.receipts.push(((store, o.id.0), Receipt { origin, number }));
            }
            _ => {}
        }
    }
}

/// Reads an entry. One that makes no sense is flagged, one of a newer kind is counted.
pub(super) fn read(from: &mut CentralEntry, facts: &mut Facts, rows: &mut Rows) {
    let store = store_of(&from.scope);
    if from.forked {
        rows.flag(
            from.central_seq,
            store,
            ExceptionKind::Fork,
            "another entry has the same place in its device's chain; both are kept",
        );
    }
    let entry = match &from.entry {
        Ok(entry) => entry,
        Err(error) => return rows.flag(from.central_seq, store, ExceptionKind::UnreadableEntry, error.to_string()),
    };
    facts.central_seq = facts.central_seq.max(from.central_seq);
    match &entry.body {
        Body::Record { kind, version, .. } => match from.record.take().unwrap_or(Ok(None)) {
            Ok(Some(record)) => {
                if matches!(record, Record::RefundGiven(_)) {
                    facts.refunds.push(from.central_seq);
                }
                facts.note((from.device, from.incarnation), store, &record);
                facts.records.push(RecordFact {
                    record,
                    central_seq: from.central_seq,
                    store,
                    device: from.device,
                    incarnation: from.incarnation,
                    seq: from.seq,
                    at: entry.at,
                    staff: entry.staff.map(Uuid::from_bytes),
                    at_ms: at_ms(entry),
                });
            }
            Ok(None) => rows.skip("record", *kind, *version),
            Err(error) => rows.flag(from.central_seq, store, ExceptionKind::UnreadableRecord, error.to_string()),
        },
        Body::Change { kind, .. } => match ChangeFact::of(from) {
            Some(change) => facts.changes.push(change),
            None => rows.skip("change", *kind, 1),
        },
    }
}

/// The store of a scope such as `store/…` or `staff/…`.
fn store_of(scope: &str) -> Option<Uuid> {
    let (area, store) = scope.split_once('/')?;
    if !matches!(area, "store" | "staff") {
        return None;
    }
    Uuid::try_parse(store).ok()
}

fn at_ms(entry: &Entry) -> i64 {
    // 48 bits.
    entry.at.unix_ms().cast_signed()
}

/// Text that Postgres can hold: it has no place for U+0000.
pub(super) fn text(s: &str) -> String {
    s.replace('\0', "\u{fffd}")
}

fn texts(s: Option<&String>) -> Option<String> {
    s.map(|s| text(s))
}

/// A record as rows.
pub(super) fn fold(fact: &RecordFact, rows: &mut Rows) {
    match (&fact.record, fact.store) {
        (Record::SaleCompleted(o), Some(store)) => order(fact, store, o, "sale", rows),
        (Record::RefundGiven(o), Some(store)) => order(fact, store, o, "refund", rows),
        (Record::StockAdjusted(a), Some(store)) => stock(fact, store, a, rows),
        (Record::StockCounted(c), Some(store)) => count(fact, store, c, rows),
        (Record::AccountAdjusted(a), Some(store)) => account(fact, store, a, rows),
        (Record::ShiftOpened(s), Some(store)) => opening(fact, store, s, rows),
        (Record::ShiftClosed(s), Some(store)) => closing(fact, store, s, rows),
        // Where no store's devices write, only servers do.
        (Record::DeviceEnrolled(d), None) => rows.devices.push(device(fact, d)),
        (Record::DeviceEnrolled(d), Some(_)) => {
            rows.flag_record(fact, ExceptionKind::NotAllowed, format!("it says who device {} is", d.device));
        }
        (Record::DeviceStarted(s), _) => rows.starts.push(StartRow {
            device: fact.device,
            incarnation: fact.incarnation,
            series: text(&s.series),
            software: text(&s.software),
            at_ms: fact.at_ms,
        }),
        // They are in the entries; no table asks for them yet.
        (Record::DrawerOpened(_) | Record::SignedIn(_), _) => {}
        (_, None) => rows.flag_record(fact, ExceptionKind::NoStore, "its scope is of no store, so it is in no store's figures"),
    }
}

fn order(fact: &RecordFact, store: Uuid, o: &Order, kind: &'static str, rows: &mut Rows) {
    if let Err(error) = o.check_sums() {
        rows.flag_record(fact, ExceptionKind::Sums, error.to_string());
    }
    let receipt_number = i64::try_from(o.receipt_number).unwrap_or_else(|_| {
        rows.flag_record(fact, ExceptionKind::ReceiptNumber, format!("{} is no receipt number", o.receipt_number));
        0
    });
    let id = o.id.0;
    let original = o.original.map(|o| o.0);
    if kind == "refund" {
        rows.refunds.extend((0..).zip(&o.lines).map(|(line, l)| RefundRow {
            store,
            order: id,
            line,
            original,
            original_line: l.original_line.map(Into::into),
            product: l.product.0,
            quantity_milli: -l.quantity.0,
            amount_minor: -l.amount_minor,
        }));
    }
    fn each<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    rows.orders.push(OrderRow {
        store,
        id,
        kind,
        device: fact.device,
        incarnation: fact.incarnation,
        receipt_number,
        shift: o.shift.0,
        staff: fact.staff,
        at_ms: fact.at_ms,
        currency: o.currency.code().to_owned(),
        tax_mode: tax_mode(o.tax_mode),
        total_minor: o.total_minor,
        tax_minor: o.taxes.iter().fold(0, |sum, t| sum.saturating_add(t.tax_minor)),
        original,
        reason: texts(o.reason.as_ref()),
        reference: texts(o.reference.as_ref()),
        central_seq: fact.central_seq,
        line_products: each(&o.lines, |l| l.product.0),
        line_names: each(&o.lines, |l| text(&l.name)),
        line_quantities_milli: each(&o.lines, |l| l.quantity.0),
        line_prices_centi: each(&o.lines, |l| l.unit_price.0),
        line_tax_rates_bp: each(&o.lines, |l| o.taxes.get(usize::from(l.tax)).map_or(0, |t| t.rate_bp.into())),
        line_amounts_minor: each(&o.lines, |l| l.amount_minor),
        line_originals: (kind == "refund").then(|| each(&o.lines, |l| l.original_line.map(Into::into))),
        tax_rates_bp: each(&o.taxes, |t| t.rate_bp.into()),
        tax_nets_minor: each(&o.taxes, |t| t.net_minor),
        tax_amounts_minor: each(&o.taxes, |t| t.tax_minor),
        payment_methods: each(&o.payments, |p| p.method.as_str()),
        payment_amounts_minor: each(&o.payments, |p| p.amount_minor),
        payment_tendered_minor: each(&o.payments, |p| p.tendered_minor),
        payment_change_minor: each(&o.payments, |p| p.change_minor()),
    });
    // What it moves is in its lines: `stock_movements` is a view of them.
    for moved in fold::stock_movements(&fact.record) {
        rows.move_level(store, moved.product, moved.quantity, fact.at_ms);
    }
}

fn stock(fact: &RecordFact, store: Uuid, a: &StockAdjustment, rows: &mut Rows) {
    for ((line, l), moved) in (0..).zip(&a.lines).zip(fold::stock_movements(&fact.record)) {
        rows.move_level(store, moved.product, moved.quantity, fact.at_ms);
        rows.adjustments.push(AdjustmentRow {
            store,
            record: a.id.0,
            line,
            product: moved.product.0,
            quantity_milli: moved.quantity.0,
            reason: moved.reason.as_str(),
            at_ms: fact.at_ms,
            unit_price_centi: l.unit_price.0,
            amount_minor: l.amount_minor,
            device: fact.device,
            shift: a.shift.0,
            staff: fact.staff,
            note: text(&a.reason),
            reference: texts(a.reference.as_ref()),
            counted_milli: None,
            central_seq: fact.central_seq,
        });
    }
}

fn count(fact: &RecordFact, store: Uuid, c: &StockCount, rows: &mut Rows) {
    for (line, l) in (0..).zip(&c.lines) {
        let (record, product) = (c.id.0, l.product.0);
        rows.counts.push(CountRow { store, product, record, central_seq: fact.central_seq });
        // How far it moves the level is known only from all that it had heard of: see `stock`.
        rows.move_level(store, l.product, Quantity(0), fact.at_ms);
        rows.adjustments.push(AdjustmentRow {
            store,
            record,
            line,
            product,
            quantity_milli: 0,
            reason: "count",
            at_ms: fact.at_ms,
            unit_price_centi: 0,
            amount_minor: 0,
            device: fact.device,
            shift: c.shift.0,
            staff: fact.staff,
            note: text(&c.reason),
            reference: None,
            counted_milli: Some(l.quantity.0),
            central_seq: fact.central_seq,
        });
    }
}

fn account(fact: &RecordFact, store: Uuid, a: &AccountAdjustment, rows: &mut Rows) {
    rows.accounts.extend((0..).zip(&a.lines).map(|(line, l)| AccountRow {
        store,
        record: a.id.0,
        line,
        device: fact.device,
        shift: a.shift.0,
        staff: fact.staff,
        at_ms: fact.at_ms,
        description: text(&l.description),
        quantity_milli: l.quantity.0,
        unit_price_centi: l.unit_price.0,
        amount_minor: l.amount_minor,
        reference: texts(a.reference.as_ref()),
    }));
}

fn opening(fact: &RecordFact, store: Uuid, s: &ShiftOpening, rows: &mut Rows) {
    // Postgres' calendar is wider than this and `domain`'s is another; no shop opened before 1900.
    let day = s.business_day.to_date().filter(|d| (1900..=9999).contains(&d.year())).map(|_| s.business_day.0);
    if day.is_none() {
        rows.flag_record(fact, ExceptionKind::BusinessDay, format!("day {} is no business day", s.business_day.0));
    }
    rows.openings.push(OpeningRow {
        store,
        shift: s.shift.0,
        device: fact.device,
        day,
        at_ms: fact.at_ms,
        staff: fact.staff,
        float_minor: s.float_minor,
        currency: s.currency.code().to_owned(),
    });
}

fn closing(fact: &RecordFact, store: Uuid, s: &ShiftClosing, rows: &mut Rows) {
    rows.closings.push(ClosingRow {
        store,
        shift: s.shift.0,
        device: fact.device,
        at_ms: fact.at_ms,
        staff: fact.staff,
        counted_minor: s.counted_minor,
        expected_minor: s.expected_minor,
        cut_commit: i64::try_from(s.cut_commit).unwrap_or(i64::MAX),
        cut: s.cut.as_deref().map(encode_cut),
    });
}

fn device(fact: &RecordFact, d: &DeviceEnrolment) -> DeviceRow {
    DeviceRow {
        device: d.device.0,
        store: d.store.map(|s| s.0),
        kind: d.kind.as_str(),
        name: text(&d.name),
        number: d.number.into(),
        public_key: d.public_key.to_vec(),
        at_ms: fact.at_ms,
    }
}

/// The word stored in rows.
pub(super) fn tax_mode(mode: TaxMode) -> &'static str {
    match mode {
        TaxMode::Inclusive => "inclusive",
        TaxMode::Exclusive => "exclusive",
    }
}
