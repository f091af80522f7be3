//! Tills, a region's log and a source for the feed, all in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::document::{Product, StaffMember, Store};
use domain::ids::{DeviceId, OrderId, ProductId, RecordId, ShiftId, StaffId, StoreId};
use domain::money::{self, Currency, Quantity, UnitPrice};
use domain::record::{
    AccountAdjustment, AccountLine, BusinessDay, DeviceEnrolment, DeviceKind, DeviceStart, Order, OrderLine, Payment,
    PaymentMethod, Record, ShiftClosing, ShiftOpening, StockAdjustment, StockLine,
};
use domain::staff::Role;
use domain::tax::{self, TaxMode};
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, Scope, SigningKey};
use sync_proto::documents::{Document, DocumentValue};
use sync_proto::env::Env;
use sync_proto::scopes;
use sync_server::central::feed::FeedSource;
use sync_server::central::{FeedRow, Position};
use tokio::sync::watch;
use uuid::Uuid;

/// 2026-03-02 09:00:00 UTC.
pub(crate) const MORNING_MS: u64 = 1_772_442_000_000;
pub(crate) const DAY: &str = "2026-03-02";

pub(crate) fn gbp() -> Currency {
    Currency::new("GBP").expect("GBP")
}

/// The id that a small number stands for.
pub(crate) fn uuid(kind: u8, n: u64) -> Uuid {
    let mut random = [kind; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    domain::ids::uuid_v7(MORNING_MS, random)
}

pub(crate) fn store(n: u64) -> StoreId {
    StoreId(uuid(1, n))
}

pub(crate) fn product(n: u64) -> ProductId {
    ProductId(uuid(2, n))
}

pub(crate) fn order_id(n: u64) -> OrderId {
    OrderId(uuid(3, n))
}

pub(crate) fn staff_id(n: u64) -> StaffId {
    StaffId(uuid(6, n))
}

pub(crate) fn shift_id(n: u64) -> ShiftId {
    ShiftId(uuid(4, n))
}

pub(crate) fn record_id(n: u64) -> RecordId {
    RecordId(uuid(5, n))
}

/// A device that writes: a till of a store, or with none a server.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) chain: OriginChain,
    key: SigningKey,
    pub(crate) now_ms: u64,
    /// Who is signed in.
    pub(crate) staff: Option<StaffId>,
}

impl Writer {
    pub(crate) fn new(n: u8) -> Self {
        let origin = Origin { device: *uuid(9, n.into()).as_bytes(), incarnation: [n; 16] };
        Self {
            chain: OriginChain::new(origin),
            key: SigningKey::from_bytes(&[n; 32]),
            now_ms: MORNING_MS,
            staff: Some(StaffId(Uuid::from_bytes([7; 16]))),
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(Uuid::from_bytes(self.chain.origin.device))
    }

    pub(crate) fn origin(&self) -> Origin {
        self.chain.origin
    }

    /// One commit, a part for each body.
    pub(crate) fn commit(&mut self, parts: Vec<(Scope, Body)>) -> Vec<FeedRow> {
        self.now_ms += 1_000;
        let new = parts.into_iter().map(|(scope, body)| NewEntry { scope, body }).collect();
        let sealed = self.chain.append(&self.key, Hlc::new(self.now_ms, 0), self.staff.map(|s| *s.as_bytes()), new);
        let row = |e: journal::ChainedEntry| FeedRow {
            region_seq: 0,
            device: self.chain.origin.device,
            incarnation: self.chain.origin.incarnation,
            scope: e.scope.as_str().to_owned(),
            seq: e.seq,
            commit: e.entry.commit,
            hash: e.hash,
            bytes: e.bytes,
            at_ms: self.now_ms,
            seal: None,
        };
        sealed.entries.into_iter().map(row).collect()
    }

    pub(crate) fn write(&mut self, scope: &Scope, record: &Record) -> Vec<FeedRow> {
        self.commit(vec![(scope.clone(), body(record))])
    }
}

pub(crate) fn body(record: &Record) -> Body {
    Body::Record { kind: record.kind(), version: 1, bytes: record.encode() }
}

pub(crate) fn line(product_number: u64, pieces: i64, price: &str) -> OrderLine {
    let (quantity, unit_price) = (Quantity(pieces * 1_000), UnitPrice::parse_major(price, gbp()).expect("a price"));
    OrderLine {
        product: product(product_number),
        name: format!("Product {product_number}"),
        quantity,
        unit_price,
        tax: 0,
        amount_minor: money::line_amount_minor(quantity, unit_price).expect("an amount"),
        original_line: None,
    }
}

/// An order paid in cash that adds up, at 20 % included.
pub(crate) fn order(n: u64, shift: u64, lines: Vec<OrderLine>) -> Order {
    let taxes = tax::taxes(TaxMode::Inclusive, lines.iter().map(|l| (2_000, l.amount_minor))).expect("taxes");
    let total_minor = tax::total_minor(&taxes).expect("a total");
    Order {
        id: order_id(n),
        receipt_number: n,
        shift: shift_id(shift),
        lines,
        taxes,
        payments: vec![Payment { method: PaymentMethod::Cash, amount_minor: total_minor, tendered_minor: None }],
        total_minor,
        currency: gbp(),
        tax_mode: TaxMode::Inclusive,
        original: None,
        reason: None,
        reference: None,
    }
}

pub(crate) fn sale(n: u64) -> Record {
    Record::SaleCompleted(order(n, 1, vec![line(1, 2, "2.55"), line(2, 1, "3.39")]))
}

/// One piece of the first line of a sale given back.
pub(crate) fn refund(n: u64, of: u64) -> Record {
    let lines = vec![OrderLine { original_line: Some(0), ..line(1, -1, "2.55") }];
    Record::RefundGiven(Order { original: Some(order_id(of)), reason: Some("broken".into()), ..order(n, 1, lines) })
}

pub(crate) fn opening(shift: u64) -> Record {
    Record::ShiftOpened(ShiftOpening {
        shift: shift_id(shift),
        business_day: BusinessDay::from_date(DAY.parse().expect("a day")),
        float_minor: 10_000,
        currency: gbp(),
    })
}

pub(crate) fn closing(shift: u64) -> Record {
    Record::ShiftClosed(ShiftClosing {
        shift: shift_id(shift),
        counted_minor: 10_000,
        expected_minor: 10_849,
        cut_commit: 4,
        cut: None,
    })
}

pub(crate) fn breakage(n: u64) -> Record {
    Record::StockAdjusted(StockAdjustment {
        id: record_id(n),
        shift: shift_id(1),
        lines: vec![StockLine { product: product(2), quantity: Quantity(-3_000), unit_price: UnitPrice(0), amount_minor: 0 }],
        reason: "fell from the shelf".into(),
        reference: Some("B-1".into()),
    })
}

pub(crate) fn bad_debt(n: u64) -> Record {
    Record::AccountAdjusted(AccountAdjustment {
        id: record_id(n),
        shift: shift_id(1),
        lines: vec![AccountLine {
            description: "Adjust bad debt".into(),
            quantity: Quantity::ONE,
            unit_price: UnitPrice(-110_620_600),
            amount_minor: -1_106_206,
        }],
        reference: None,
    })
}

pub(crate) fn enrolment(device: DeviceId, store: Option<StoreId>, name: &str, number: u32) -> Record {
    let kind = if store.is_some() { DeviceKind::Till } else { DeviceKind::Server };
    Record::DeviceEnrolled(DeviceEnrolment { device, store, kind, name: name.into(), number, public_key: [3; 32] })
}

pub(crate) fn start(series: &str) -> Record {
    Record::DeviceStarted(DeviceStart { series: series.into(), actor_seed: None, software: "0.1.0".into() })
}

/// A document's first change.
pub(crate) fn document(value: &DocumentValue) -> (Document, Body) {
    let mut document = Document::new(value.kind(), value.id());
    let body = edit(&mut document, value, 1);
    (document, body)
}

/// A change that makes a document say `value`.
pub(crate) fn edit(document: &mut Document, value: &DocumentValue, hour: u64) -> Body {
    let at = Hlc::new(MORNING_MS + hour * 3_600_000, 0);
    let bytes = document.write(value, at, [8; 16], [hour as u8; 16]).expect("something differs");
    Body::Change { document: value.id(), kind: value.kind() as u16, bytes }
}

pub(crate) fn store_value(n: u64) -> DocumentValue {
    DocumentValue::Store(Store {
        id: store(n),
        code: format!("S0{n}"),
        name: "Corner Shop".into(),
        address: vec!["1 High Street".into(), "Leeds".into()],
        currency: gbp(),
        tax_mode: TaxMode::Inclusive,
        receipt_footer: "Thank you".into(),
        receipt_header: Vec::new(),
        languages: vec!["en".to_owned()],
        time_zone: "UTC".to_owned(),
    })
}

pub(crate) fn product_value(n: u64, price: &str) -> DocumentValue {
    DocumentValue::Product(Product {
        id: product(n),
        code: format!("P{n}"),
        name: format!("Product {n}"),
        barcodes: vec!["5012345678900".into(), "20001".into()],
        price: UnitPrice::parse_major(price, gbp()).expect("a price"),
        tax_rate_bp: 2_000,
        category: String::new(),
        tax_class: None,
        picture: None,
        active: true,
    })
}

pub(crate) fn staff_value() -> DocumentValue {
    staff_member(1, "Ana")
}

pub(crate) fn staff_member(n: u64, name: &str) -> DocumentValue {
    DocumentValue::StaffMember(StaffMember {
        id: staff_id(n),
        name: name.into(),
        role: Role::Cashier,
        pin_hash: "$argon2id$".into(),
        active: true,
    })
}

/// A region's log.
#[derive(Clone)]
pub(crate) struct Region {
    pub(crate) id: [u8; 16],
    pub(crate) rows: Vec<FeedRow>,
}

impl Region {
    pub(crate) fn new(n: u8) -> Self {
        Self { id: [n; 16], rows: Vec::new() }
    }

    pub(crate) fn take(&mut self, rows: Vec<FeedRow>) {
        for row in rows {
            self.rows.push(FeedRow { region_seq: self.rows.len() as u64 + 1, ..row });
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.rows.len() as u64
    }

    /// A source of at most `rows_max` rows at a time, and a watch on how far it is fed.
    pub(crate) fn source(&self, rows_max: usize) -> (Source, watch::Receiver<u64>) {
        let (fed, watch) = watch::channel(0);
        (Source { id: self.id, rows: self.rows.clone().into(), rows_max, fed }, watch)
    }
}

pub(crate) struct Source {
    id: [u8; 16],
    rows: Arc<[FeedRow]>,
    rows_max: usize,
    fed: watch::Sender<u64>,
}

impl FeedSource for Source {
    fn region(&self) -> [u8; 16] {
        self.id
    }

    async fn next(&mut self, after: u64, max_rows: usize, _max_bytes: usize) -> Vec<FeedRow> {
        let rows: Vec<_> = self.rows.iter().skip(after as usize).take(max_rows.min(self.rows_max)).cloned().collect();
        if rows.is_empty() {
            std::future::pending::<()>().await;
        }
        rows
    }

    async fn is_the_log_of(&mut self, position: Position) -> bool {
        let here = self.rows.get((position.region_seq as usize).wrapping_sub(1)).map(|row| row.hash);
        assert!(position.region_seq == 0 || here == position.hash, "the store stands at another row than the log has there");
        true
    }

    fn fed(&self, region_seq: u64) {
        self.fed.send_replace(region_seq);
    }
}

/// A clock that stands, and numbers that are not random.
#[derive(Debug)]
pub(crate) struct Still(pub(crate) AtomicU64, AtomicU64);

impl Still {
    pub(crate) fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(ms.into(), 1.into()))
    }
}

impl Env for Still {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn fill_random(&self, out: &mut [u8]) {
        let n = self.1.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        out.iter_mut().zip(n.iter().cycle()).for_each(|(o, n)| *o = *n);
    }
}

/// Two tills of one store with an eventful morning: every kind of record and document, in order.
pub(crate) fn morning() -> Region {
    let mut region = Region::new(1);
    let (directory, catalogue, staff) = (scopes::directory(), scopes::catalogue(), scopes::staff(store(1)));
    let shop = scopes::store(store(1));
    let (mut server, mut first, mut second) = (Writer::new(90), Writer::new(1), Writer::new(2));
    region.take(server.commit(vec![(directory.clone(), document(&store_value(1)).1)]));
    region.take(server.write(&directory, &enrolment(server.device(), None, "Server", 0)));
    region.take(server.write(&directory, &enrolment(first.device(), Some(store(1)), "Till 1", 1)));
    region.take(server.write(&directory, &enrolment(second.device(), Some(store(1)), "Till 2", 2)));
    let (mut milk, milk_is_new) = document(&product_value(1, "2.55"));
    // One action of a manager, two scopes.
    let member = document(&staff_value()).1;
    region.take(server.commit(vec![
        (catalogue.clone(), milk_is_new),
        (staff, member),
        (catalogue.clone(), document(&product_value(2, "3.39")).1),
    ]));
    region.take(first.write(&shop, &start("S01-T01a")));
    region.take(first.write(&shop, &opening(1)));
    for n in 1..=20 {
        region.take(first.write(&shop, &sale(n)));
        // The second till's sales of the first one's shift: its opening came before.
        region.take(second.write(&shop, &sale(100 + n)));
    }
    region.take(server.commit(vec![(catalogue, edit(&mut milk, &product_value(1, "2.65"), 2))]));
    region.take(first.write(&shop, &refund(30, 1)));
    region.take(first.commit([breakage(1), bad_debt(2), sale(31)].iter().map(|r| (shop.clone(), body(r))).collect()));
    region.take(first.write(&shop, &closing(1)));
    region
}
