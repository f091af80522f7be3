//! Open orders: a cart that is parked, taken up again at any till of the store, paid or given up.
//!
//! What is done to a recalled order stays in the cart until it is parked again or paid; then it is written as changes of its document, in one
//! commit with the sale where there is one. Ids of what is new in it follow from the cart's order id, so that after a power cut between that
//! commit and the draft it is known whether the cart has been written.

use std::collections::BTreeMap;

use domain::cart::{Cart, Recalled};
use domain::document::{DocumentKind, StaffMember};
use domain::ids::{AdditionId, LineId, OpenOrderId, OrderId};
use domain::money::Quantity;
use domain::open_order::{Edits, LABEL_BYTES_MAX, NOTE_BYTES_MAX, OpenOrder, OpenOrderLine, OpenOrderStatus};
use domain::record::Record;
use domain::staff::Permission;
use journal::Hlc;
use sha2::{Digest, Sha256};
use sync_proto::documents::open_order::{OpenOrderError, changes_of};
use sync_proto::documents::{Document, actor};
use sync_proto::env::random;
use uuid::Uuid;

use super::cart::{bounded, cart_not_empty, stale_order};
use super::{Beside, Till, Written};
use crate::api::{ApiError, ApiErrorCode as Code};
use crate::store::{StoreError, documents, open_orders, retention};

/// What a process writes documents under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Actor {
    seed: [u8; 16],
    /// Whether the log says so.
    is_announced: bool,
}

/// Writes what one person does at one time to one open order.
struct Pen {
    document: Document,
    at: Hlc,
    author: [u8; 16],
    actor: [u8; 16],
    changes: Vec<Vec<u8>>,
}

impl Pen {
    fn write(
        &mut self,
        one: impl FnOnce(&mut Document, Hlc, [u8; 16], [u8; 16]) -> Result<Vec<u8>, OpenOrderError>,
    ) -> Result<(), ApiError> {
        let change = one(&mut self.document, self.at, self.author, self.actor).map_err(open_order_error)?;
        self.changes.push(change);
        Ok(())
    }

    /// Parks an order.
    fn park(&mut self, parked: &OpenOrder) -> Result<(), ApiError> {
        let parts = changes_of(&parked.lines);
        let first = OpenOrder { lines: parts[0].to_vec(), ..parked.clone() };
        self.write(|order, at, author, actor| order.park(&first, at, author, actor))?;
        parts[1..].iter().try_for_each(|part| self.write(|order, at, author, actor| order.add_lines(part, at, author, actor)))
    }

    /// Writes what was done in a cart to the order that it was made of. Answers the ids that its new lines have now.
    fn edit(&mut self, cart: &Cart) -> Result<Vec<LineId>, ApiError> {
        let Edits { voided, added, new } = Edits::of(cart);
        for line in voided {
            self.write(|order, at, author, actor| order.void_line(line, at, author, actor))?;
        }
        for (line, quantity) in added {
            let addition = addition_of(cart.order, line);
            self.write(|order, at, author, actor| order.add_quantity(line, addition, quantity, at, author, actor))?;
        }
        let new: Vec<_> = (0..).zip(&new).map(|(n, goods)| OpenOrderLine::new(line_of(cart.order, n), goods)).collect();
        if !new.is_empty() {
            for part in changes_of(&new) {
                self.write(|order, at, author, actor| order.add_lines(part, at, author, actor))?;
            }
        }
        Ok(new.iter().map(|line| line.id).collect())
    }
}

impl Till {
    /// Parks the cart, for this till or another one of the store to go on with.
    pub(super) fn park(&mut self, order: OrderId, label: &str, note: &str) -> Result<(), ApiError> {
        let member = self.permitted(Permission::Sell)?;
        if order != self.cart.order {
            return Err(stale_order());
        }
        bounded(label, LABEL_BYTES_MAX, "a label")?;
        bounded(note, NOTE_BYTES_MAX, "a note")?;
        self.look_again()?;
        let store = self.identity.store();
        let (id, pen) = match self.cart.recalled.as_ref().map(|recalled| recalled.order) {
            None => {
                let id = OpenOrderId(order.0);
                let mut lines = (0..).map(|n| line_of(order, n));
                let parked = OpenOrder::of_cart(id, store, &self.cart, || lines.next().expect("there is always a next number"));
                let parked = parked.map_err(|why| ApiError::new(park_code(why), why.to_string()))?;
                let parked = OpenOrder { label: label.to_owned(), note: note.to_owned(), ..parked };
                let mut pen = self.pen(id, &member)?;
                pen.park(&parked)?;
                (id, pen)
            }
            Some(id) => {
                if self.cart.lines.is_empty() {
                    return Err(ApiError::new(
                        Code::CartEmpty,
                        "nothing is left in this order: give it up, or clear the cart to leave it as it was",
                    ));
                }
                let mut pen = self.pen(id, &member)?;
                pen.edit(&self.cart)?;
                if let Some(change) =
                    pen.document.relabel(label, note, pen.at, pen.author, pen.actor).map_err(open_order_error)?
                {
                    pen.changes.push(change);
                }
                (id, pen)
            }
        };
        self.write_open_order(&member, id, pen, None, Beside::default())?;
        self.new_cart();
        Ok(())
    }

    /// Takes an open order up again, into the empty cart. It stays open until it is paid.
    pub(super) fn recall(&mut self, id: OpenOrderId) -> Result<(), ApiError> {
        let member = self.permitted(Permission::Sell)?;
        if !self.cart.lines.is_empty() {
            return Err(cart_not_empty());
        }
        self.separate_rest(&member, id)?;
        let order = self.open_order(id)?;
        is_open(&order)?;
        let cart = order.to_cart(self.new_order_id());
        self.draft.save(&cart, None)?;
        self.cart = cart;
        self.touched = None;
        self.last_order = None;
        Ok(())
    }

    /// Gives an open order up: nobody pays for it.
    pub(super) fn give_up(&mut self, id: OpenOrderId) -> Result<(), ApiError> {
        let member = self.permitted(Permission::Sell)?;
        self.separate_rest(&member, id)?;
        is_open(&self.open_order(id)?)?;
        let mut pen = self.pen(id, &member)?;
        pen.write(|order, at, author, actor| order.cancel(at, author, actor))?;
        self.write_open_order(&member, id, pen, None, Beside::default())?;
        if self.cart.recalled.as_ref().is_some_and(|recalled| recalled.order == id) {
            self.new_cart();
        }
        Ok(())
    }

    /// Makes an order of what was added to another one while that was paid elsewhere, where that is what the list shows under this id. Tills that do
    /// so at once write the same order.
    fn separate_rest(&mut self, member: &StaffMember, id: OpenOrderId) -> Result<(), ApiError> {
        let Some(paid) = open_orders::rest_of(self.db()?, id)? else { return Ok(()) };
        let Some(rest) = self.open_order(paid)?.remainder(id) else { return Ok(()) };
        let mut pen = self.pen(id, member)?;
        pen.park(&rest)?;
        self.write_open_order(member, id, pen, None, Beside::default())
    }

    /// Records a sale of the cart, and of the open order that it was made of, that it is paid.
    pub(super) fn settle_recalled(
        &mut self,
        member: &StaffMember,
        id: OpenOrderId,
        sale: &Record,
        beside: Beside,
    ) -> Result<(), ApiError> {
        let mut pen = self.pen(id, member)?;
        let mut new = pen.edit(&self.cart)?.into_iter();
        let covered: BTreeMap<LineId, Quantity> =
            self.cart.lines.iter().filter_map(|line| Some((line.open_line.or_else(|| new.next())?, line.quantity))).collect();
        let paid_by = self.cart.order;
        pen.write(|order, at, author, actor| order.mark_paid(paid_by, &covered, at, author, actor))?;
        self.write_open_order(member, id, pen, Some(sale), beside)
    }

    /// Looks whether somebody has done something to the open order that the cart was made of. If so, the cart becomes what it would be had the order
    /// been taken up now, and whoever stands here has to look at it first.
    pub(super) fn look_again(&mut self) -> Result<(), ApiError> {
        let Some(Recalled { order: id, seen }) = self.cart.recalled.clone() else { return Ok(()) };
        let order = self.open_order(id)?;
        is_open(&order)?;
        if order.left() == seen {
            return Ok(());
        }
        let mut cart = order.to_cart(self.cart.order);
        Edits::of(&self.cart).redo(&mut cart);
        self.draft.save(&cart, None)?;
        self.cart = cart;
        self.touched = None;
        Err(ApiError::new(Code::StaleOrder, "somebody changed this order at another till: look at the cart again"))
    }

    /// Whether what is in a cart has been parked: the power went before the draft said so too.
    pub(super) fn is_parked(&self, cart: &Cart) -> Result<bool, StoreError> {
        let Some(Recalled { order: id, .. }) = &cart.recalled else {
            let document = documents::load(self.db()?, DocumentKind::OpenOrder, *cart.order.as_bytes())?;
            return Ok(!document.heads().is_empty() || retention::is_gone(self.db()?, *cart.order.as_bytes())?);
        };
        let document = documents::load(self.db()?, DocumentKind::OpenOrder, *id.as_bytes())?;
        let Edits { added, new, .. } = Edits::of(cart);
        let has_line = (0..).zip(&new).any(|(n, _)| document.has_line(line_of(cart.order, n)));
        let has_addition = added.keys().any(|line| document.has_addition(*line, addition_of(cart.order, *line)));
        Ok(has_line || has_addition)
    }

    /// An open order as it is here.
    pub(super) fn open_order(&self, id: OpenOrderId) -> Result<OpenOrder, ApiError> {
        let document = documents::load(self.db()?, DocumentKind::OpenOrder, *id.as_bytes())?;
        document.open_order().map_err(|_| no_such_order())
    }

    /// Begins to write to an open order.
    fn pen(&mut self, id: OpenOrderId, member: &StaffMember) -> Result<Pen, ApiError> {
        self.begin_if_new()?;
        let document = documents::load(self.db()?, DocumentKind::OpenOrder, *id.as_bytes())?;
        let at = self.from_disk.hlc.tick(self.env.unix_ms());
        let seed = self.actor.get_or_insert_with(|| Actor { seed: random(&*self.env), is_announced: false }).seed;
        let actor = actor(&self.identity.origin(), seed);
        Ok(Pen { document, at, author: *member.id.as_bytes(), actor, changes: Vec::new() })
    }

    /// Writes what was done to an open order, as one commit, with the sale that paid it if there is one.
    fn write_open_order(
        &mut self,
        member: &StaffMember,
        id: OpenOrderId,
        pen: Pen,
        sale: Option<&Record>,
        beside: Beside,
    ) -> Result<(), ApiError> {
        let started = self.actor.filter(|actor| !actor.is_announced).map(|actor| self.started(Some(actor.seed)));
        let mut written: Vec<Written<'_>> = started.iter().chain(sale).map(Written::Record).collect();
        let (document, kind) = (*id.as_bytes(), DocumentKind::OpenOrder);
        if written.is_empty() && pen.changes.is_empty() {
            return Ok(());
        }
        written.extend(pen.changes.into_iter().map(|bytes| Written::Change { document, kind, bytes }));
        self.commit(Some(member.id), pen.at, written, beside)?;
        if let Some(actor) = &mut self.actor {
            actor.is_announced = true;
        }
        Ok(())
    }
}

/// The id of the nth new line of a cart.
fn line_of(order: OrderId, n: u64) -> LineId {
    LineId(id_of(order, &n.to_be_bytes()))
}

/// The id of what a cart adds to a line.
fn addition_of(order: OrderId, line: LineId) -> AdditionId {
    AdditionId(id_of(order, line.as_bytes()))
}

fn id_of(order: OrderId, of: &[u8]) -> Uuid {
    let hash: [u8; 32] =
        Sha256::new().chain_update(b"evertill/cart/1").chain_update(order.as_bytes()).chain_update(of).finalize().into();
    Uuid::from_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

fn is_open(order: &OpenOrder) -> Result<(), ApiError> {
    match order.status() {
        OpenOrderStatus::Open => Ok(()),
        OpenOrderStatus::Paid { .. } => {
            Err(ApiError::new(Code::StaleOrder, "this order was paid already: clear the cart and look at the list again"))
        }
        OpenOrderStatus::Cancelled => {
            Err(ApiError::new(Code::StaleOrder, "this order was given up: clear the cart and look at the list again"))
        }
    }
}

fn no_such_order() -> ApiError {
    ApiError::new(Code::NoSuchOrder, "this till does not know that order: look at the list again")
}

fn park_code(why: domain::open_order::ParkError) -> Code {
    use domain::open_order::ParkError;
    match why {
        ParkError::Empty => Code::CartEmpty,
        ParkError::Refund => Code::BadRequest,
        ParkError::TooManyLines => Code::CartFull,
    }
}

fn open_order_error(error: OpenOrderError) -> ApiError {
    let code = match &error {
        OpenOrderError::Closed | OpenOrderError::Exists | OpenOrderError::Again => Code::StaleOrder,
        OpenOrderError::NoSuchLine => Code::NoSuchLine,
        OpenOrderError::Empty => Code::CartEmpty,
        OpenOrderError::Full | OpenOrderError::TooLarge { .. } => Code::CartFull,
        OpenOrderError::Bound(_) => Code::BadRequest,
        OpenOrderError::Quantity(_) => Code::BadQuantity,
        OpenOrderError::Document(_) => Code::NoSuchOrder,
    };
    ApiError::new(code, error.to_string())
}
