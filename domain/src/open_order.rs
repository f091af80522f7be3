//! An order that is parked, or a table: what several people still add to, and what they did to it at once.
//!
//! It is a plain value. How edits of several replicas merge is `sync-proto`'s business; that they have merged is seen here, in
//! [`OpenOrder::exceptions`]: the money and the goods are where people put them, so what does not fit together is told, never undone.

use std::collections::{BTreeMap, BTreeSet};

use crate::cart::{Cart, CartKind, CartLine, Recalled};
use crate::ids::{LineId, OpenOrderId, OrderId, ProductId, StaffId, StoreId};
use crate::money::Quantity;
use crate::record::Order;
use crate::tax::TaxMode;

/// Most lines that one person can bring an open order to. What several added at once may be more, and stays.
pub const LINES_MAX: usize = 500;
/// Longest label, in bytes of UTF-8.
pub const LABEL_BYTES_MAX: usize = 200;
/// Longest note, in bytes of UTF-8.
pub const NOTE_BYTES_MAX: usize = 1_000;

/// A parked order or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its id; the sale that pays it has another one, made when it is paid.
    pub id: OpenOrderId,
    /// Where it was parked; only devices of this store write it.
    pub store: StoreId,
    /// What it is called by, such as a table's number or a name; may be empty. At most [`LABEL_BYTES_MAX`] bytes.
    pub label: String,
    /// What else is to be known; may be empty. At most [`NOTE_BYTES_MAX`] bytes.
    pub note: String,
    /// Whether its prices hold the tax; none while nothing was in the cart.
    pub tax_mode: Option<TaxMode>,
    /// A number of another system.
    pub reference: Option<String>,
    /// Everything that was ever put into it, in the order in which it came, voided lines included.
    pub lines: Vec<OpenOrderLine>,
    /// The sales that paid it, by their ids; more than one when it was paid at several tills at once.
    pub payments: Vec<OpenOrderPayment>,
    /// Who gave it up, and when.
    pub cancelled: Option<Stamp>,
}

/// A line of an open order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrderLine {
    /// Its id.
    pub id: LineId,
    /// What it holds, with its own snapshot of the product. The quantity is the sum of all additions; where several people took out the
    /// same goods at once it may be zero or less, and then nothing of it is left.
    pub goods: CartLine,
    /// Who voided it, and when. That stands over whatever was added.
    pub voided: Option<Stamp>,
}

/// A sale that paid an open order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrderPayment {
    /// The sale.
    pub sale: OrderId,
    /// How much of which line it sold; at least one line, each above zero.
    pub covered: BTreeMap<LineId, Quantity>,
    /// Who took the money, and when.
    pub stamp: Stamp,
}

/// Who did something, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Who.
    pub by: StaffId,
    /// When, in Unix milliseconds.
    pub at_unix_ms: u64,
}

/// Where an open order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOrderStatus {
    /// Nobody has paid or given it up.
    Open,
    /// It was paid.
    Paid {
        /// By these sales, ascending.
        sales: Vec<OrderId>,
    },
    /// It was given up.
    Cancelled,
}

/// Something that people did at once and that does not fit together. Nothing is undone: it is for somebody to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOrderException {
    /// The same goods were paid for by several sales. All of them stand until one is refunded.
    PaidTwice {
        /// The sales, ascending.
        sales: Vec<OrderId>,
        /// How much too much of which line was sold, above zero.
        lines: BTreeMap<LineId, Quantity>,
    },
    /// It was paid at one place and given up at another. The payment stands.
    PaidAndCancelled {
        /// The sales, ascending.
        sales: Vec<OrderId>,
    },
    /// Goods were paid for at one place and taken out of the order at another. The sale stands.
    PaidAndTakenOut {
        /// How much of which line was paid for and is not in the order, above zero.
        lines: BTreeMap<LineId, Quantity>,
    },
    /// Goods were added that no payment saw. The payment stands; [`OpenOrder::remainder`] makes an order of them.
    UnpaidRemainder {
        /// How much of which line, above zero.
        lines: BTreeMap<LineId, Quantity>,
    },
    /// More was taken out of a line than was in it, because several people took it out at once. Nothing of the line is left.
    TakenOutTwice {
        /// How much too much was taken out of which line, above zero.
        lines: BTreeMap<LineId, Quantity>,
    },
}

/// How much of which product.
pub type Goods = BTreeMap<ProductId, Quantity>;

/// What was done in a cart to the open order that it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// Lines that were taken out.
    pub voided: Vec<LineId>,
    /// What was added to a line, or below zero, taken from it.
    pub added: BTreeMap<LineId, Quantity>,
    /// Lines that are new.
    pub new: Vec<CartLine>,
}

impl Edits {
    /// What was done in a cart; nothing where it was not made of an open order.
    pub fn of(cart: &Cart) -> Self {
        let Some(Recalled { seen, .. }) = &cart.recalled else { return Self::default() };
        let mut edits = Self::default();
        let held: BTreeMap<LineId, i64> = cart.lines.iter().filter_map(|l| Some((l.open_line?, l.quantity.0))).collect();
        for (line, was) in seen {
            match held.get(line) {
                None => edits.voided.push(*line),
                Some(now) if *now != was.0 => drop(edits.added.insert(*line, Quantity(now - was.0))),
                Some(_) => {}
            }
        }
        edits.new = cart.lines.iter().filter(|line| line.open_line.is_none()).cloned().collect();
        edits
    }

    /// Does to a cart that was just made of the order what was done to an older one.
    pub fn redo(self, cart: &mut Cart) {
        cart.lines.retain(|line| line.open_line.is_none_or(|id| !self.voided.contains(&id)));
        for line in &mut cart.lines {
            let added = line.open_line.and_then(|id| self.added.get(&id)).map_or(0, |added| added.0);
            line.quantity = Quantity(line.quantity.0.saturating_add(added));
        }
        cart.lines.retain(|line| line.quantity.0 > 0);
        cart.lines.extend(self.new);
    }
}

/// Why a cart cannot be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParkError {
    /// There is nothing to park.
    #[error("the cart is empty: scan something first")]
    Empty,
    /// A refund is somebody's decision, and is not left for others to finish.
    #[error("a refund cannot be parked: finish it or clear the cart")]
    Refund,
    /// More lines than an open order holds.
    #[error("the cart has more than {LINES_MAX} lines, the most that can be parked: settle it")]
    TooManyLines,
}

impl OpenOrder {
    /// The open order that a cart becomes when it is parked, without a label and a note. Each line gets the next id of `line_ids`.
    ///
    /// # Errors
    /// An empty cart, a refund, or more than [`LINES_MAX`] lines.
    pub fn of_cart(
        id: OpenOrderId,
        store: StoreId,
        cart: &Cart,
        mut line_ids: impl FnMut() -> LineId,
    ) -> Result<Self, ParkError> {
        if cart.kind != CartKind::Sale {
            return Err(ParkError::Refund);
        }
        match cart.lines.len() {
            0 => return Err(ParkError::Empty),
            n if n > LINES_MAX => return Err(ParkError::TooManyLines),
            _ => {}
        }
        let lines = cart.lines.iter().map(|goods| OpenOrderLine::new(line_ids(), goods));
        Ok(Self {
            id,
            store,
            label: String::new(),
            note: String::new(),
            tax_mode: cart.tax_mode,
            reference: cart.reference.clone(),
            lines: lines.collect(),
            payments: Vec::new(),
            cancelled: None,
        })
    }

    /// The cart that it becomes when it is taken up again: what is left of its lines, under the id of the sale to come. That id is a fresh
    /// one, so that two tills which both take the money leave two sales to be seen.
    pub fn to_cart(&self, order: OrderId) -> Cart {
        let lines = self.lines.iter().filter(|line| line.left().0 > 0);
        let lines = lines.map(|line| CartLine { quantity: line.left(), open_line: Some(line.id), ..line.goods.clone() });
        Cart {
            order,
            kind: CartKind::Sale,
            lines: lines.collect(),
            reference: self.reference.clone(),
            tax_mode: self.tax_mode,
            recalled: Some(Recalled { order: self.id, seen: self.left() }),
        }
    }

    /// How much of which line is left to pay, before any payment: what a sale of the whole order covers.
    pub fn left(&self) -> BTreeMap<LineId, Quantity> {
        self.lines.iter().map(|line| (line.id, line.left())).filter(|(_, left)| left.0 > 0).collect()
    }

    /// Where it stands. A payment stands over its being given up.
    pub fn status(&self) -> OpenOrderStatus {
        match (self.payments.is_empty(), self.cancelled) {
            (false, _) => OpenOrderStatus::Paid { sales: self.sales() },
            (true, Some(_)) => OpenOrderStatus::Cancelled,
            (true, None) => OpenOrderStatus::Open,
        }
    }

    /// What people did at once that does not fit together, each kind at most once.
    pub fn exceptions(&self) -> Vec<OpenOrderException> {
        let (mut twice, mut paid_twice) = (BTreeSet::new(), BTreeMap::new());
        let (mut taken_out, mut unpaid) = (BTreeMap::new(), BTreeMap::new());
        for line in self.lines.iter().filter(|_| !self.payments.is_empty()) {
            let sold_by = || self.payments.iter().filter(|payment| payment.covered.contains_key(&line.id));
            let sold = sold_by().fold(0i64, |sum, payment| sum.saturating_add(payment.covered[&line.id].0));
            let left = line.left().0;
            match sold.cmp(&left) {
                std::cmp::Ordering::Less => drop(unpaid.insert(line.id, Quantity(left - sold))),
                std::cmp::Ordering::Greater if sold_by().count() > 1 => {
                    twice.extend(sold_by().map(|payment| payment.sale));
                    paid_twice.insert(line.id, Quantity(sold - left));
                }
                std::cmp::Ordering::Greater => drop(taken_out.insert(line.id, Quantity(sold - left))),
                std::cmp::Ordering::Equal => {}
            }
        }
        let below = |line: &&OpenOrderLine| line.voided.is_none() && line.goods.quantity.0 < 0;
        let below: BTreeMap<_, _> =
            self.lines.iter().filter(below).map(|line| (line.id, Quantity(line.goods.quantity.0.saturating_neg()))).collect();
        let both = !self.payments.is_empty() && self.cancelled.is_some();
        let found = [
            (!twice.is_empty()).then(|| OpenOrderException::PaidTwice { sales: twice.into_iter().collect(), lines: paid_twice }),
            both.then(|| OpenOrderException::PaidAndCancelled { sales: self.sales() }),
            (!taken_out.is_empty()).then_some(OpenOrderException::PaidAndTakenOut { lines: taken_out }),
            (!unpaid.is_empty()).then_some(OpenOrderException::UnpaidRemainder { lines: unpaid }),
            (!below.is_empty()).then_some(OpenOrderException::TakenOutTwice { lines: below }),
        ];
        found.into_iter().flatten().collect()
    }

    /// Those of the exceptions that still ask for somebody: `returned` is what came back of its sales, `is_rest_done` whether the order of what
    /// was left unpaid ([`Self::remainder`]) was paid or given up itself.
    pub fn unsettled(&self, returned: &Goods, is_rest_done: bool) -> Vec<OpenOrderException> {
        let mut left = returned.clone();
        let mut exceptions = self.exceptions();
        exceptions.retain(|exception| match exception {
            OpenOrderException::PaidTwice { lines, .. } | OpenOrderException::PaidAndTakenOut { lines } => {
                !take(&mut left, &self.goods_of(lines))
            }
            OpenOrderException::PaidAndCancelled { .. } => {
                let sold = self.payments.iter().flat_map(|payment| &payment.covered);
                !take(&mut returned.clone(), &self.goods_of(sold))
            }
            OpenOrderException::UnpaidRemainder { .. } => !is_rest_done,
            OpenOrderException::TakenOutTwice { .. } => true,
        });
        exceptions
    }

    /// What of a sale is to be given back because it was paid for twice: positions of its lines, and how much of each. `refunded` says what came back of
    /// each line, `returned` what came back of all sales of this order. Nothing where the sale is not one of those that paid for the same goods.
    pub fn to_give_back(&self, sale: &Order, refunded: &[Quantity], returned: &Goods) -> Vec<(usize, Quantity)> {
        let twice = self.exceptions().into_iter().find_map(|exception| match exception {
            OpenOrderException::PaidTwice { sales, lines } => sales.contains(&sale.id).then_some(lines),
            _ => None,
        });
        let Some(twice) = twice else { return Vec::new() };
        let mut due = self.goods_of(&twice);
        for (product, back) in returned {
            due.entry(*product).and_modify(|due| due.0 = due.0.saturating_sub(back.0));
        }
        let mut lines = Vec::new();
        for (at, line) in sale.lines.iter().enumerate() {
            let Some(due) = due.get_mut(&line.product) else { continue };
            let left = line.quantity.0 - refunded.get(at).map_or(0, |back| back.0);
            let back = left.min(due.0);
            if back > 0 {
                due.0 -= back;
                lines.push((at, Quantity(back)));
            }
        }
        lines
    }

    fn goods_of<'a>(&self, lines: impl IntoIterator<Item = (&'a LineId, &'a Quantity)>) -> Goods {
        let product_of: BTreeMap<LineId, ProductId> = self.lines.iter().map(|line| (line.id, line.goods.product)).collect();
        let mut goods = Goods::new();
        for (line, quantity) in lines {
            let Some(product) = product_of.get(line) else { continue };
            let sum = goods.entry(*product).or_insert(Quantity(0));
            sum.0 = sum.0.saturating_add(quantity.0);
        }
        goods
    }

    /// The open order of what was added and not paid for, under its own id and with the ids of the lines; none when everything is
    /// paid, or nobody has paid yet.
    pub fn remainder(&self, id: OpenOrderId) -> Option<Self> {
        let unpaid = self.exceptions().into_iter().find_map(|exception| match exception {
            OpenOrderException::UnpaidRemainder { lines } => Some(lines),
            _ => None,
        })?;
        let lines = self.lines.iter().filter_map(|line| {
            let goods = CartLine { quantity: *unpaid.get(&line.id)?, ..line.goods.clone() };
            Some(OpenOrderLine { id: line.id, goods, voided: None })
        });
        Some(Self { id, lines: lines.collect(), payments: Vec::new(), cancelled: None, ..self.clone() })
    }

    fn sales(&self) -> Vec<OrderId> {
        self.payments.iter().map(|payment| payment.sale).collect()
    }
}

/// Takes goods out of others, if all of them are there.
fn take(from: &mut Goods, goods: &Goods) -> bool {
    let is_there = goods.iter().all(|(product, quantity)| from.get(product).is_some_and(|there| there.0 >= quantity.0));
    if is_there {
        for (product, quantity) in goods {
            from.entry(*product).and_modify(|there| there.0 -= quantity.0);
        }
    }
    is_there
}

impl OpenOrderLine {
    /// A line of what is in a cart.
    pub fn new(id: LineId, goods: &CartLine) -> Self {
        Self { id, goods: CartLine { open_line: None, ..goods.clone() }, voided: None }
    }

    /// How much of it is in the order: nothing when it was voided, or taken out.
    pub fn left(&self) -> Quantity {
        match self.voided {
            Some(_) => Quantity(0),
            None => Quantity(self.goods.quantity.0.max(0)),
        }
    }
}
