//! Tills that write one open order, for the tests of the order and of the gate.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::BTreeSet;

use domain::cart::{Cart, CartKind, CartLine};
use domain::document::DocumentKind;
use domain::ids::{AdditionId, LineId, OpenOrderId, OrderId, ProductId, StaffId, StoreId};
use domain::money::{Quantity, UnitPrice};
use domain::open_order::{OpenOrder, OpenOrderLine};
use domain::record::DeviceKind;
use domain::tax::TaxMode;
use journal::Hlc;
use sync_proto::documents::gate::{Refusal, Writer, admit};
use sync_proto::documents::open_order::OpenOrderError;
use sync_proto::documents::{ChangeHash, Document};
use uuid::Uuid;

pub(crate) const ID: [u8; 16] = [7; 16];
pub(crate) const STORE: StoreId = StoreId(Uuid::from_bytes([1; 16]));

pub(crate) fn line_id(n: u8) -> LineId {
    LineId(Uuid::from_bytes([n; 16]))
}

pub(crate) fn addition_id(n: u64) -> AdditionId {
    AdditionId(Uuid::from_u64_pair(9, n))
}

pub(crate) fn sale_id(n: u8) -> OrderId {
    OrderId(Uuid::from_bytes([n; 16]))
}

pub(crate) fn line(n: u8, pieces: i64) -> OpenOrderLine {
    let goods = CartLine {
        product: ProductId(Uuid::from_bytes([n; 16])),
        code: format!("{n}"),
        name: format!("Dish {n}"),
        quantity: Quantity(1_000 * pieces),
        unit_price: UnitPrice(25_500),
        tax_rate_bp: 2_000,
        open_line: None,
    };
    OpenOrderLine::new(line_id(n), &goods)
}

/// An order with lines of so many pieces, numbered from 1.
pub(crate) fn order(pieces: &[i64]) -> OpenOrder {
    let lines: Vec<_> = (1..).zip(pieces).map(|(n, pieces)| line(n, *pieces)).collect();
    let cart = Cart {
        order: sale_id(0),
        kind: CartKind::Sale,
        lines: lines.iter().map(|l| l.goods.clone()).collect(),
        reference: None,
        tax_mode: Some(TaxMode::Inclusive),
        recalled: None,
    };
    let mut ids = lines.iter().map(|l| l.id);
    let order = OpenOrder::of_cart(OpenOrderId(Uuid::from_bytes(ID)), STORE, &cart, || ids.next().expect("an id a line"));
    OpenOrder { label: "Table 4".to_owned(), ..order.expect("parks") }
}

/// A change as it comes out of an entry.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: Hlc,
    pub(crate) author: [u8; 16],
    pub(crate) actor: [u8; 16],
}

/// A till with its replica of the order.
#[derive(Debug, Clone)]
pub(crate) struct Till {
    pub(crate) document: Document,
    pub(crate) who: u8,
    pub(crate) clock: u64,
}

impl Till {
    pub(crate) fn new(who: u8) -> Self {
        Self { document: Document::new(DocumentKind::OpenOrder, ID), who, clock: 100 }
    }

    /// Another till that has the same.
    pub(crate) fn beside(&self, who: u8) -> Self {
        Self { who, ..self.clone() }
    }

    /// Writes, a little later than what it wrote before.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut Document, Hlc, [u8; 16], [u8; 16]) -> Result<Vec<u8>, OpenOrderError>,
    ) -> Result<Sent, OpenOrderError> {
        self.clock += 1;
        let (at, author, actor) = (Hlc::new(self.clock, 0), [self.who; 16], [0x80 | self.who; 16]);
        let bytes = write(&mut self.document, at, author, actor)?;
        Ok(Sent { bytes, at, author, actor })
    }

    /// Takes what another till wrote, as everybody does: through the gate.
    pub(crate) fn receive(&mut self, sent: &Sent) -> Result<ChangeHash, Refusal> {
        let actors = BTreeSet::from([sent.actor]);
        let admitted = admit(Some(&self.document), DocumentKind::OpenOrder, ID, &sent.bytes, &writer(sent, &actors))?;
        self.document = admitted.document;
        self.clock = self.clock.max(sent.at.unix_ms());
        Ok(admitted.change)
    }

    pub(crate) fn receive_all(&mut self, all: &[Sent]) {
        for sent in all {
            self.receive(sent).expect("honest changes are admitted");
        }
    }

    pub(crate) fn order(&self) -> OpenOrder {
        self.document.open_order().expect("reads")
    }
}

/// A till with an order that it parked, and the change.
pub(crate) fn parked(pieces: &[i64]) -> (Till, Sent) {
    let mut till = Till::new(1);
    let sent = till.write(|d, at, author, actor| d.park(&order(pieces), at, author, actor)).expect("parks");
    (till, sent)
}

pub(crate) fn writer<'a>(sent: &Sent, actors: &'a BTreeSet<[u8; 16]>) -> Writer<'a> {
    Writer { actors, device: DeviceKind::Till, store: Some(STORE), at: sent.at, author: sent.author }
}

pub(crate) fn staff(who: u8) -> StaffId {
    StaffId(Uuid::from_bytes([who; 16]))
}
