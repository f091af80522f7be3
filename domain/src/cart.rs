//! The order being built at the counter, and what it becomes when it is paid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::Product;
use crate::ids::{LineId, OpenOrderId, OrderId, ProductId, ShiftId};
use crate::money::{self, Currency, MoneyError, Quantity, UnitPrice};
use crate::record::{LINES_MAX, Order, OrderLine, Payment, PaymentMethod};
use crate::tax::{self, TaxLine, TaxMode};

/// Whether goods go out or come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CartKind {
    /// Goods go out, money comes in.
    Sale,
    /// Goods come back without the sale they belong to, money goes out.
    Refund {
        /// Why.
        reason: String,
    },
}

/// The order being built. Quantities are positive in both kinds; a refund turns negative when it is completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    /// The id that the order will have: paying twice pays once.
    pub order: OrderId,
    /// Sale or refund.
    pub kind: CartKind,
    /// What is in it, at most [`LINES_MAX`].
    pub lines: Vec<CartLine>,
    /// A number of another system.
    pub reference: Option<String>,
    /// Whether its prices hold the tax: the store's mode when its first line was added, however the store is changed since. None while it
    /// is empty.
    #[serde(default)]
    pub tax_mode: Option<TaxMode>,
    /// The open order that it was made of; none for a cart that began empty.
    #[serde(default)]
    pub recalled: Option<Recalled>,
}

/// The open order that a cart was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recalled {
    /// Which.
    pub order: OpenOrderId,
    /// How much of which line was left in it when whoever holds the cart saw it last.
    pub seen: BTreeMap<LineId, Quantity>,
}

/// One line of the cart, with its own snapshot of the product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartLine {
    /// What.
    pub product: ProductId,
    /// The shop's code for it.
    pub code: String,
    /// Its name on the receipt.
    pub name: String,
    /// How much, above zero.
    pub quantity: Quantity,
    /// What one costs here.
    pub unit_price: UnitPrice,
    /// The tax rate in basis points.
    pub tax_rate_bp: u32,
    /// The line of the recalled open order that it is; none when it was put in since, and in every other cart.
    #[serde(default)]
    pub open_line: Option<LineId>,
}

/// What a cart comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// The rounded amount of each line, in minor units.
    pub line_amounts_minor: Vec<i64>,
    /// One row a tax rate.
    pub taxes: Vec<TaxLine>,
    /// What is owed, in minor units.
    pub total_minor: i64,
}

/// Why a cart did not change or could not be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CartError {
    /// There is nothing to pay for.
    #[error("the cart is empty: scan something first")]
    Empty,
    /// [`LINES_MAX`] lines are in it already.
    #[error("the cart has {LINES_MAX} lines, the most an order can hold: settle it and go on with another one")]
    Full,
    /// No line at that position.
    #[error("that line is not there any more: look at the screen again")]
    NoSuchLine,
    /// A quantity of zero or below.
    #[error("a quantity is above zero: to take something out, remove its line")]
    Quantity,
    /// Less handed over than is owed.
    #[error("{short_minor} minor units are missing")]
    TenderShort {
        /// What is missing, in minor units.
        short_minor: i64,
    },
    /// Something is beyond its bound.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Cart {
    /// An empty cart of a sale.
    pub fn new(order: OrderId) -> Self {
        Self { order, kind: CartKind::Sale, lines: Vec::new(), reference: None, tax_mode: None, recalled: None }
    }

    /// Adds a product: to its line, when one with the same name and price is there, else (or when it is to stay `separate`) as a new
    /// line. Answers the line's position.
    ///
    /// # Errors
    /// A quantity that is not above zero, a full cart, or a bound. The cart is then unchanged.
    pub fn add(
        &mut self,
        product: &Product,
        name: &str,
        quantity: Quantity,
        unit_price: UnitPrice,
        separate: bool,
    ) -> Result<usize, CartError> {
        positive(quantity)?;
        let same = |l: &CartLine| !separate && l.product == product.id && l.unit_price == unit_price && l.name == name;
        if let Some(at) = self.lines.iter().position(same) {
            let sum = Quantity(self.lines[at].quantity.0.saturating_add(quantity.0));
            self.set_quantity(at, sum)?;
            return Ok(at);
        }
        if self.lines.len() >= LINES_MAX {
            return Err(CartError::Full);
        }
        money::line_amount_minor(quantity, unit_price.checked()?)?;
        self.lines.push(CartLine {
            product: product.id,
            code: product.code.clone(),
            name: name.to_owned(),
            quantity,
            unit_price,
            tax_rate_bp: product.tax_rate_bp,
            open_line: None,
        });
        Ok(self.lines.len() - 1)
    }

    /// Changes how much a line holds.
    ///
    /// # Errors
    /// No such line, a quantity that is not above zero, or a bound. The cart is then unchanged.
    pub fn set_quantity(&mut self, at: usize, quantity: Quantity) -> Result<(), CartError> {
        positive(quantity)?;
        let line = self.lines.get_mut(at).ok_or(CartError::NoSuchLine)?;
        money::line_amount_minor(quantity, line.unit_price)?;
        line.quantity = quantity;
        Ok(())
    }

    /// Takes a line out.
    ///
    /// # Errors
    /// No such line.
    pub fn remove(&mut self, at: usize) -> Result<CartLine, CartError> {
        if at >= self.lines.len() {
            return Err(CartError::NoSuchLine);
        }
        Ok(self.lines.remove(at))
    }

    /// What it comes to, as a positive sum in both kinds.
    ///
    /// # Errors
    /// A sum beyond its bound.
    pub fn totals(&self, mode: TaxMode) -> Result<Totals, MoneyError> {
        let line_amounts_minor =
            self.lines.iter().map(|l| money::line_amount_minor(l.quantity, l.unit_price)).collect::<Result<Vec<_>, _>>()?;
        let rated = self.lines.iter().map(|l| l.tax_rate_bp).zip(line_amounts_minor.iter().copied());
        let taxes = tax::taxes(mode, rated)?;
        let total_minor = tax::total_minor(&taxes)?;
        Ok(Totals { line_amounts_minor, taxes, total_minor })
    }

    /// The order that this cart becomes when it is settled in cash: paid for with `tendered_minor`, or, for a refund, paid out in full.
    ///
    /// # Errors
    /// An empty cart, too little cash, or a bound.
    pub fn settle_in_cash(&self, terms: &Terms, tendered_minor: i64) -> Result<Order, CartError> {
        let (sign, reason) = match &self.kind {
            CartKind::Sale => (1, None),
            CartKind::Refund { reason } => (-1, Some(reason.clone())),
        };
        let total_minor = self.totals(terms.tax_mode)?.total_minor;
        let payments = match sign {
            1 => cash_in(total_minor, tendered_minor)?,
            _ => cash_out(total_minor),
        };
        let lines = self.lines.iter().map(|l| NewLine {
            product: l.product,
            name: l.name.clone(),
            quantity: Quantity(sign * l.quantity.0),
            unit_price: l.unit_price,
            tax_rate_bp: l.tax_rate_bp,
            original_line: None,
        });
        let mut order = compose(terms, self.order, lines.collect(), payments)?;
        order.reason = reason;
        order.reference = self.reference.clone();
        Ok(order)
    }
}

/// What an order needs besides its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The number in the receipt series.
    pub receipt_number: u64,
    /// The open shift.
    pub shift: ShiftId,
    /// The store's currency.
    pub currency: Currency,
    /// Whether prices hold the tax.
    pub tax_mode: TaxMode,
}

/// The refund of some lines of a found sale, paid out in cash at the original prices and taxes.
///
/// `taken` is how much of each line of `original` comes back now, by position, above zero; `refunded` is how much came back before.
///
/// # Errors
/// No line, a line that is not there, more than is left of a line, or a bound.
pub fn refund_of(
    terms: &Terms,
    order: OrderId,
    original: &Order,
    taken: &[(usize, Quantity)],
    refunded: impl Fn(usize) -> Quantity,
    reason: &str,
) -> Result<Order, RefundError> {
    let mut lines = Vec::with_capacity(taken.len());
    for &(at, quantity) in taken {
        positive(quantity)?;
        let line = original.lines.get(at).ok_or(CartError::NoSuchLine)?;
        let left = line.quantity.0 - refunded(at).0;
        let twice = lines.iter().any(|l: &NewLine| l.original_line == u32::try_from(at).ok());
        if quantity.0 > left || twice {
            return Err(RefundError::MoreThanLeft { line: at, left: Quantity(left.max(0)) });
        }
        lines.push(NewLine {
            product: line.product,
            name: line.name.clone(),
            quantity: Quantity(-quantity.0),
            unit_price: line.unit_price,
            tax_rate_bp: original.taxes.get(usize::from(line.tax)).map_or(0, |t| t.rate_bp),
            original_line: u32::try_from(at).ok(),
        });
    }
    let mut refund = compose(terms, order, lines, Vec::new())?;
    refund.payments = cash_out(-refund.total_minor);
    refund.original = Some(original.id);
    refund.reason = Some(reason.to_owned());
    Ok(refund)
}

/// Why lines could not be refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefundError {
    /// More than was sold and is not refunded yet.
    #[error("{} of line {} can still come back: look at the order again", crate::receipt::format_quantity(*left), line + 1)]
    MoreThanLeft {
        /// The line's position, from 0.
        line: usize,
        /// What is left of it.
        left: Quantity,
    },
    /// What holds for any cart.
    #[error(transparent)]
    Cart(#[from] CartError),
}

struct NewLine {
    product: ProductId,
    name: String,
    quantity: Quantity,
    unit_price: UnitPrice,
    tax_rate_bp: u32,
    original_line: Option<u32>,
}

fn compose(terms: &Terms, id: OrderId, new_lines: Vec<NewLine>, payments: Vec<Payment>) -> Result<Order, CartError> {
    if new_lines.is_empty() {
        return Err(CartError::Empty);
    }
    let amounts = new_lines.iter().map(|l| money::line_amount_minor(l.quantity, l.unit_price)).collect::<Result<Vec<_>, _>>()?;
    let taxes = tax::taxes(terms.tax_mode, new_lines.iter().map(|l| l.tax_rate_bp).zip(amounts.iter().copied()))?;
    let total_minor = tax::total_minor(&taxes)?;
    let position_of = |rate: u32| {
        let at = taxes.iter().position(|t| t.rate_bp == rate).expect("taxes has a row for every line's rate");
        u8::try_from(at).map_err(|_| CartError::Full)
    };
    let lines = new_lines
        .into_iter()
        .zip(&amounts)
        .map(|(l, &amount_minor)| {
            Ok(OrderLine {
                product: l.product,
                name: l.name,
                quantity: l.quantity,
                unit_price: l.unit_price,
                tax: position_of(l.tax_rate_bp)?,
                amount_minor,
                original_line: l.original_line,
            })
        })
        .collect::<Result<Vec<_>, CartError>>()?;
    Ok(Order {
        id,
        receipt_number: terms.receipt_number,
        shift: terms.shift,
        lines,
        taxes,
        payments,
        total_minor,
        currency: terms.currency,
        tax_mode: terms.tax_mode,
        original: None,
        reason: None,
        reference: None,
    })
}

/// A total at or below zero is settled without cash coming in.
fn cash_in(total_minor: i64, tendered_minor: i64) -> Result<Vec<Payment>, CartError> {
    if !(0..=money::AMOUNT_MINOR_MAX).contains(&tendered_minor) {
        return Err(MoneyError::Amount.into());
    }
    if tendered_minor < total_minor {
        return Err(CartError::TenderShort { short_minor: total_minor - tendered_minor });
    }
    if total_minor == 0 {
        return Ok(Vec::new());
    }
    let tendered_minor = (tendered_minor != total_minor).then_some(tendered_minor);
    Ok(vec![Payment { method: PaymentMethod::Cash, amount_minor: total_minor, tendered_minor }])
}

fn cash_out(total_minor: i64) -> Vec<Payment> {
    if total_minor == 0 {
        return Vec::new();
    }
    vec![Payment { method: PaymentMethod::Cash, amount_minor: -total_minor, tendered_minor: None }]
}

fn positive(quantity: Quantity) -> Result<(), CartError> {
    if quantity.0 <= 0 {
        return Err(CartError::Quantity);
    }
    quantity.checked()?;
    Ok(())
}
