//! Everything that can happen in a shop, and its encoding.
//!
//! A record is immutable and self-contained: it carries its own snapshot of names, prices and taxes, and nothing downstream
//! computes them again. It is encoded as deterministic CBOR with integer keys; fields are only ever added, a number is never
//! given a second meaning, and a reader skips what it does not know (`docs/protocol.md` lists every shape, golden samples
//! in `domain/tests/golden.rs` pin them).

use std::collections::BTreeSet;

use jiff::civil::Date;
use minicbor::{Decode, Encode};

use crate::ids::{DeviceId, OrderId, ProductId, RecordId, ShiftId, StoreId};
use crate::money::{self, Currency, MoneyError, Quantity, UnitPrice};
use crate::tax::{self, TaxLine, TaxMode};

/// Most lines of one order or adjustment.
pub const LINES_MAX: usize = 2_000;
/// Most payments of one order.
pub const PAYMENTS_MAX: usize = 32;
/// Most histories that the cut of a stock count or of a closing names. A store has one for each life of each of its tills.
pub const CUT_ORIGINS_MAX: usize = 1_024;
/// Longest reason, reference or description, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_000;

/// A record, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Goods sold and paid for.
    SaleCompleted(Order),
    /// Money given back; quantities and amounts are negative.
    RefundGiven(Order),
    /// Stock corrected: breakage, finds, theft.
    StockAdjusted(StockAdjustment),
    /// An amount booked that is neither a sale nor a refund, such as a bad debt.
    AccountAdjusted(AccountAdjustment),
    /// A cash drawer shift began.
    ShiftOpened(ShiftOpening),
    /// A cash drawer shift was counted and ended.
    ShiftClosed(ShiftClosing),
    /// The drawer was told to open.
    DrawerOpened(DrawerOpening),
    /// Someone signed in at a till; who is in the entry.
    SignedIn(SignIn),
    /// A device began to write under an incarnation, or a server process under an actor.
    DeviceStarted(DeviceStart),
    /// A device was admitted; written by a server.
    DeviceEnrolled(DeviceEnrolment),
    /// What is on the shelves was counted.
    StockCounted(StockCount),
}

/// A sale, or with negative quantities and amounts a refund.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// Its id: the same sale twice is one sale.
    #[n(0)]
    pub id: OrderId,
    /// The number in the receipt series of the incarnation, gapless from 1.
    #[n(1)]
    pub receipt_number: u64,
    /// The shift it belongs to; the business day comes from there.
    #[n(2)]
    pub shift: ShiftId,
    /// What was sold, 1 to [`LINES_MAX`].
    #[n(3)]
    pub lines: Vec<OrderLine>,
    /// One row a tax rate, lowest first; lines name theirs by position.
    #[n(4)]
    pub taxes: Vec<TaxLine>,
    /// How it was paid, at most [`PAYMENTS_MAX`]; none when the total is zero.
    #[n(5)]
    pub payments: Vec<Payment>,
    /// What was owed, in minor units.
    #[n(6)]
    pub total_minor: i64,
    /// The currency of every amount.
    #[n(7)]
    pub currency: Currency,
    /// Whether unit prices held the tax.
    #[n(8)]
    pub tax_mode: TaxMode,
    /// The sale that a refund refers to.
    #[n(9)]
    pub original: Option<OrderId>,
    /// Why money was given back.
    #[n(10)]
    pub reason: Option<String>,
    /// A number of another system, such as an imported invoice's.
    #[n(11)]
    pub reference: Option<String>,
}

/// One line of an order. An array on the wire, so new fields go to its end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OrderLine {
    /// What was sold.
    #[n(0)]
    pub product: ProductId,
    /// Its name at that moment.
    #[n(1)]
    pub name: String,
    /// How much of it; negative in a refund.
    #[n(2)]
    pub quantity: Quantity,
    /// What one cost.
    #[n(3)]
    pub unit_price: UnitPrice,
    /// Position of its rate in the order's taxes.
    #[n(4)]
    pub tax: u8,
    /// Quantity × unit price, rounded once, in minor units.
    #[n(5)]
    pub amount_minor: i64,
    /// In a refund, the position of the line in the original order.
    #[n(6)]
    pub original_line: Option<u32>,
}

/// How money changed hands; the number is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// Notes and coins of the till's drawer.
    #[n(0)]
    Cash,
}

impl PaymentMethod {
    /// The word stored in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
        }
    }
}

/// One payment. An array on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Payment {
    /// How.
    #[n(0)]
    pub method: PaymentMethod,
    /// What it settled of the total, in minor units; negative when paid out.
    #[n(1)]
    pub amount_minor: i64,
    /// What was handed over, when that was more.
    #[n(2)]
    pub tendered_minor: Option<i64>,
}

impl Payment {
    /// What was given back from the drawer, in minor units.
    pub fn change_minor(&self) -> i64 {
        self.tendered_minor.map_or(0, |t| t - self.amount_minor)
    }
}

/// Stock corrected.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StockAdjustment {
    /// Its id.
    #[n(0)]
    pub id: RecordId,
    /// The shift it was made in.
    #[n(1)]
    pub shift: ShiftId,
    /// What changed, 1 to [`LINES_MAX`].
    #[n(2)]
    pub lines: Vec<StockLine>,
    /// Why.
    #[n(3)]
    pub reason: String,
    /// A number of another system.
    #[n(4)]
    pub reference: Option<String>,
}

/// One product of a stock adjustment. An array on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StockLine {
    /// What.
    #[n(0)]
    pub product: ProductId,
    /// How much more (or, negative, less) there is.
    #[n(1)]
    pub quantity: Quantity,
    /// What one is valued at; often zero.
    #[n(2)]
    pub unit_price: UnitPrice,
    /// Quantity × unit price, rounded once, in minor units.
    #[n(3)]
    pub amount_minor: i64,
}

/// Stock counted: what there is of some products, whatever the records came to. Which count of a product stands, and what still
/// applies to it, [`crate::count`] says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StockCount {
    /// Its id.
    #[n(0)]
    pub id: RecordId,
    /// The shift it was made in.
    #[n(1)]
    pub shift: ShiftId,
    /// What was counted, 1 to [`LINES_MAX`], each product once.
    #[n(2)]
    pub lines: Vec<CountLine>,
    /// The cut: what the till had of the store's histories when it was counted, at most [`CUT_ORIGINS_MAX`]. What is not in it still applies.
    #[n(3)]
    pub cut: Vec<SeenUpTo>,
    /// Why.
    #[n(4)]
    pub reason: String,
}

/// One product of a stock count. An array on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CountLine {
    /// What.
    #[n(0)]
    pub product: ProductId,
    /// How much there is; not below zero.
    #[n(1)]
    pub quantity: Quantity,
}

/// How much of one history in the store's scope was seen. An array on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SeenUpTo {
    /// Whose.
    #[n(0)]
    pub device: DeviceId,
    /// In which of its lives.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub incarnation: [u8; 16],
    /// The last entry that was seen.
    #[n(2)]
    pub seq: u64,
}

/// An amount booked that is neither a sale nor a refund.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AccountAdjustment {
    /// Its id.
    #[n(0)]
    pub id: RecordId,
    /// The shift it was made in.
    #[n(1)]
    pub shift: ShiftId,
    /// What is booked, 1 to [`LINES_MAX`].
    #[n(2)]
    pub lines: Vec<AccountLine>,
    /// A number of another system.
    #[n(3)]
    pub reference: Option<String>,
}

/// One line of an account adjustment. An array on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AccountLine {
    /// What for.
    #[n(0)]
    pub description: String,
    /// How many.
    #[n(1)]
    pub quantity: Quantity,
    /// What one is; may be negative.
    #[n(2)]
    pub unit_price: UnitPrice,
    /// Quantity × unit price, rounded once, in minor units.
    #[n(3)]
    pub amount_minor: i64,
}

/// A shift began.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ShiftOpening {
    /// Its id.
    #[n(0)]
    pub shift: ShiftId,
    /// The day it counts for, in days since 1970-01-01.
    #[n(1)]
    pub business_day: BusinessDay,
    /// The cash put into the drawer, in minor units.
    #[n(2)]
    pub float_minor: i64,
    /// The currency of the drawer.
    #[n(3)]
    pub currency: Currency,
}

/// A shift was counted and ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ShiftClosing {
    /// Which.
    #[n(0)]
    pub shift: ShiftId,
    /// The cash that was counted, in minor units.
    #[n(1)]
    pub counted_minor: i64,
    /// The cash that float and cash movements add up to, in minor units.
    #[n(2)]
    pub expected_minor: i64,
    /// The last commit of this origin that the close covers.
    #[n(3)]
    pub cut_commit: u64,
    /// The cut: of every history that had something of the shift, the last entry that did, at most [`CUT_ORIGINS_MAX`]. What is neither one of them nor
    /// before one is an addendum ([`crate::shift`]). None of an earlier program: it covers whatever there is of the shift.
    #[n(4)]
    pub cut: Option<Vec<SeenHead>>,
}

/// An entry of a history, and with it all before it. An array on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SeenHead {
    /// Whose.
    #[n(0)]
    pub device: DeviceId,
    /// In which of its lives.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub incarnation: [u8; 16],
    /// Its place in the store's scope.
    #[n(2)]
    pub seq: u64,
    /// Its hash: a life may have two histories.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// The drawer was told to open: written before the pulse, so that none goes unseen.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DrawerOpening {
    /// Its id: at most one pulse each.
    #[n(0)]
    pub id: RecordId,
    /// The shift it was opened in.
    #[n(1)]
    pub shift: Option<ShiftId>,
    /// Why, when it was not for a sale.
    #[n(2)]
    pub reason: String,
}

/// Someone signed in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignIn {}

/// A device began to write.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceStart {
    /// The receipt series of this incarnation, such as `S01-T03b`; empty for a server.
    #[n(0)]
    pub series: String,
    /// 16 random bytes of this process, if it writes documents: the Automerge actor that it does so under follows from them and from who it is.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub actor_seed: Option<[u8; 16]>,
    /// The software's version.
    #[n(2)]
    pub software: String,
}

/// A device was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceEnrolment {
    /// Which device.
    #[n(0)]
    pub device: DeviceId,
    /// The store it works for; none for a server.
    #[n(1)]
    pub store: Option<StoreId>,
    /// What it is.
    #[n(2)]
    pub kind: DeviceKind,
    /// The name people call it by.
    #[n(3)]
    pub name: String,
    /// Its number in the store, from 1; receipt series are made from it.
    #[n(4)]
    pub number: u32,
    /// Its Ed25519 public key, which its seals are checked with.
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub public_key: [u8; 32],
}

/// What a device is; the number is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A regional sync server.
    #[n(0)]
    Server,
    /// A till.
    #[n(1)]
    Till,
    /// A courier's handheld.
    #[n(2)]
    Handheld,
}

impl DeviceKind {
    /// The word stored in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Till => "till",
            Self::Handheld => "handheld",
        }
    }
}

/// A day that business is counted for, in days since 1970-01-01. It is chosen when a shift is opened and never read off a clock later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct BusinessDay(#[n(0)] pub i32);

impl BusinessDay {
    /// The day of a calendar date.
    pub fn from_date(date: Date) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1);
        Self((date - epoch).get_days())
    }

    /// The calendar date, when it is in the calendar's range.
    pub fn to_date(self) -> Option<Date> {
        jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(self.0).ok()?).ok()
    }
}

/// Bytes that are no record this build can read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The encoding is broken or a field is missing.
    #[error("record of kind {kind} does not decode")]
    Decode {
        /// The record kind.
        kind: u16,
        /// What the decoder says.
        #[source]
        source: minicbor::decode::Error,
    },
    /// Something is larger than its named bound, or a line names a tax that is not there.
    #[error("record of kind {kind}: {what}")]
    Bounds {
        /// The record kind.
        kind: u16,
        /// Which bound.
        what: &'static str,
    },
}

/// The version of the shapes in this file. It rises only with a change that would mislead an older reader.
pub const RECORD_VERSION: u16 = 1;

impl Record {
    /// The kind of a refund.
    pub const REFUND_GIVEN: u16 = 2;

    /// The number of its kind, part of the entry format and never reused.
    pub fn kind(&self) -> u16 {
        match self {
            Self::SaleCompleted(_) => 1,
            Self::RefundGiven(_) => Self::REFUND_GIVEN,
            Self::StockAdjusted(_) => 3,
            Self::AccountAdjusted(_) => 4,
            Self::ShiftOpened(_) => 5,
            Self::ShiftClosed(_) => 6,
            Self::DrawerOpened(_) => 7,
            Self::SignedIn(_) => 8,
            Self::DeviceStarted(_) => 9,
            Self::StockCounted(_) => 10,
            Self::DeviceEnrolled(_) => 20,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::SaleCompleted(r) | Self::RefundGiven(r) => bytes(r),
            Self::StockAdjusted(r) => bytes(r),
            Self::AccountAdjusted(r) => bytes(r),
            Self::ShiftOpened(r) => bytes(r),
            Self::ShiftClosed(r) => bytes(r),
            Self::DrawerOpened(r) => bytes(r),
            Self::SignedIn(r) => bytes(r),
            Self::DeviceStarted(r) => bytes(r),
            Self::DeviceEnrolled(r) => bytes(r),
            Self::StockCounted(r) => bytes(r),
        }
    }

    /// Reads a record. `Ok(None)` when the kind or version is of a newer build: such a record is kept and passed on unread.
    ///
    /// # Errors
    /// When the bytes do not decode, or hold more than the named bounds.
    pub fn decode(kind: u16, version: u16, bytes: &[u8]) -> Result<Option<Self>, RecordError> {
        if version != RECORD_VERSION {
            return Ok(None);
        }
        fn read<'b, T: Decode<'b, ()>>(kind: u16, bytes: &'b [u8]) -> Result<T, RecordError> {
            minicbor::decode(bytes).map_err(|source| RecordError::Decode { kind, source })
        }
        let record = match kind {
            1 => Self::SaleCompleted(read(kind, bytes)?),
            2 => Self::RefundGiven(read(kind, bytes)?),
            3 => Self::StockAdjusted(read(kind, bytes)?),
            4 => Self::AccountAdjusted(read(kind, bytes)?),
            5 => Self::ShiftOpened(read(kind, bytes)?),
            6 => Self::ShiftClosed(read(kind, bytes)?),
            7 => Self::DrawerOpened(read(kind, bytes)?),
            8 => Self::SignedIn(read(kind, bytes)?),
            9 => Self::DeviceStarted(read(kind, bytes)?),
            10 => Self::StockCounted(read(kind, bytes)?),
            20 => Self::DeviceEnrolled(read(kind, bytes)?),
            _ => return Ok(None),
        };
        record.check_bounds().map_err(|what| RecordError::Bounds { kind, what })?;
        Ok(Some(record))
    }

    fn check_bounds(&self) -> Result<(), &'static str> {
        let text = |s: &str| if s.len() > TEXT_BYTES_MAX { Err("a text is too long") } else { Ok(()) };
        let lines = |n: usize| if n > LINES_MAX { Err("too many lines") } else { Ok(()) };
        let amount = |m: i64| {
            if m.unsigned_abs() > money::AMOUNT_MINOR_MAX.unsigned_abs() { Err("an amount is too large") } else { Ok(()) }
        };
        match self {
            Self::SaleCompleted(o) | Self::RefundGiven(o) => {
                lines(o.lines.len())?;
                if o.payments.len() > PAYMENTS_MAX {
                    return Err("too many payments");
                }
                for line in &o.lines {
                    text(&line.name)?;
                    amount(line.amount_minor)?;
                    line.quantity.checked().map_err(|_| "a quantity is zero or too large")?;
                    line.unit_price.checked().map_err(|_| "a unit price is too large")?;
                    if usize::from(line.tax) >= o.taxes.len() {
                        return Err("a line names a tax that is not there");
                    }
                }
                for payment in &o.payments {
                    amount(payment.amount_minor)?;
                    amount(payment.tendered_minor.unwrap_or(0))?;
                }
                for t in &o.taxes {
                    amount(t.net_minor)?;
                    amount(t.tax_minor)?;
                }
                text(o.reason.as_deref().unwrap_or(""))?;
                text(o.reference.as_deref().unwrap_or(""))?;
                amount(o.total_minor)
            }
            Self::StockAdjusted(a) => {
                lines(a.lines.len())?;
                for line in &a.lines {
                    amount(line.amount_minor)?;
                    line.quantity.checked().map_err(|_| "a quantity is zero or too large")?;
                }
                text(a.reference.as_deref().unwrap_or(""))?;
                text(&a.reason)
            }
            Self::AccountAdjusted(a) => {
                lines(a.lines.len())?;
                for line in &a.lines {
                    text(&line.description)?;
                    amount(line.amount_minor)?;
                }
                text(a.reference.as_deref().unwrap_or(""))
            }
            Self::ShiftOpened(s) => amount(s.float_minor),
            Self::ShiftClosed(s) => {
                if s.cut.as_ref().is_some_and(|cut| cut.len() > CUT_ORIGINS_MAX) {
                    return Err("a cut of too many histories");
                }
                amount(s.counted_minor).and(amount(s.expected_minor))
            }
            Self::DrawerOpened(d) => text(&d.reason),
            Self::SignedIn(_) => Ok(()),
            Self::DeviceStarted(d) => text(&d.series).and(text(&d.software)),
            Self::DeviceEnrolled(d) => text(&d.name),
            Self::StockCounted(c) => {
                lines(c.lines.len())?;
                if c.cut.len() > CUT_ORIGINS_MAX {
                    return Err("a cut of too many histories");
                }
                if c.lines.iter().any(|line| !(0..=money::QUANTITY_MILLI_MAX).contains(&line.quantity.0)) {
                    return Err("a counted quantity is below zero or too large");
                }
                let products: BTreeSet<ProductId> = c.lines.iter().map(|line| line.product).collect();
                if products.len() < c.lines.len() {
                    return Err("a product was counted twice");
                }
                text(&c.reason)
            }
        }
    }
}

fn bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a Vec cannot fail")
}

impl Order {
    /// The sum that does not hold, if any: lines, taxes, payments and total must add up among themselves.
    ///
    /// # Errors
    /// The first of them that does not.
    pub fn check_sums(&self) -> Result<(), OrderSumError> {
        let mut amounts = Vec::with_capacity(self.lines.len());
        for (at, line) in self.lines.iter().enumerate() {
            if money::line_amount_minor(line.quantity, line.unit_price)? != line.amount_minor {
                return Err(OrderSumError::Line { at });
            }
            let rate = self.taxes.get(usize::from(line.tax)).ok_or(OrderSumError::Line { at })?.rate_bp;
            amounts.push((rate, line.amount_minor));
        }
        if tax::taxes(self.tax_mode, amounts)? != self.taxes {
            return Err(OrderSumError::Tax);
        }
        if tax::total_minor(&self.taxes)? != self.total_minor {
            return Err(OrderSumError::Total);
        }
        if money::sum_minor(self.payments.iter().map(|p| p.amount_minor))? != self.total_minor {
            return Err(OrderSumError::Payments);
        }
        Ok(())
    }
}

/// Which sum of an order does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderSumError {
    /// A line's amount is not quantity × unit price.
    #[error("line {at} does not multiply out")]
    Line {
        /// The position of the line, from 0.
        at: usize,
    },
    /// The taxes are not those of the lines.
    #[error("the taxes are not those of the lines")]
    Tax,
    /// The total is not net plus tax.
    #[error("the total is not net plus tax")]
    Total,
    /// The payments do not come to the total.
    #[error("the payments do not come to the total")]
    Payments,
    /// A sum is beyond its bound.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl<C> Encode<C> for TaxMode {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(match self {
            TaxMode::Inclusive => 0,
            TaxMode::Exclusive => 1,
        })?
        .ok()
    }
}

impl<'b, C> Decode<'b, C> for TaxMode {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        match d.u8()? {
            0 => Ok(TaxMode::Inclusive),
            1 => Ok(TaxMode::Exclusive),
            _ => Err(minicbor::decode::Error::message("unknown tax mode").at(at)),
        }
    }
}
