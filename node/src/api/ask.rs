//! What may be asked of a node.

use domain::ids::{OpenOrderId, OrderId, ProductId, RecordId, ShiftId, StaffId};
use serde::{Deserialize, Serialize};

/// Something a person asks for. It is refused with an [`ApiError`](super::ApiError), or done, on disk, and answered with the new
/// [`TillView`](super::TillView).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Sign in at this till.
    SignIn {
        /// Who.
        #[cfg_attr(test, ts(type = "string"))]
        staff: StaffId,
        /// 4 to 12 digits.
        pin: String,
    },
    /// Sign out; the cart stays.
    SignOut {},
    /// Begin a cash drawer shift.
    OpenShift {
        /// The cash put into the drawer.
        float_minor: i64,
        /// The day it counts for, `YYYY-MM-DD`; today by the till's clock and time zone when absent.
        business_day: Option<String>,
    },
    /// Count and end the shift.
    CloseShift {
        /// The cash counted in the drawer.
        counted_minor: i64,
    },
    /// Put something into the cart: by scanned or typed code, or by product.
    AddLine {
        /// What.
        item: Item,
        /// How much, in thousandths; one piece when absent.
        quantity_milli: Option<i64>,
        /// Another price than the catalogue's, in hundredths of a minor unit. Needs the permission to override prices.
        unit_price: Option<i64>,
        /// Another name than the catalogue's. Needs the same permission.
        name: Option<String>,
        /// Whether it stays a line of its own; otherwise it joins a line with the same product, price and name.
        #[cfg_attr(test, ts(optional = nullable))]
        separate: Option<bool>,
    },
    /// Change how much a line of the cart holds.
    SetQuantity {
        /// The line's position, from 0.
        line: usize,
        /// How much, in thousandths.
        quantity_milli: i64,
    },
    /// Take a line out of the cart.
    RemoveLine {
        /// The line's position, from 0.
        line: usize,
    },
    /// Empty the cart and make it a sale again.
    ClearCart {},
    /// Make the empty cart a refund without its sale. Needs the permission for it.
    StartRefund {
        /// Why.
        reason: String,
    },
    /// Give the cart a number of another system, such as an imported invoice's.
    SetReference {
        /// The number.
        reference: String,
    },
    /// Put the cart aside as an open order, for any till of the store to go on with. A cart that was made of one goes back into it.
    Park {
        /// The cart's order, so that a second tap cannot park the next customer's.
        #[cfg_attr(test, ts(type = "string"))]
        order: OrderId,
        /// What the open order is called by, such as a name or a table; at most 200 bytes, may be empty.
        label: String,
        /// What else is to be known; at most 1,000 bytes.
        #[cfg_attr(test, ts(optional = nullable))]
        note: Option<String>,
    },
    /// Take an open order up again, into the empty cart. It stays open until it is paid.
    Recall {
        /// Which.
        #[cfg_attr(test, ts(type = "string"))]
        open_order: OpenOrderId,
    },
    /// Give an open order up: nobody pays for it.
    GiveUp {
        /// Which.
        #[cfg_attr(test, ts(type = "string"))]
        open_order: OpenOrderId,
    },
    /// Settle the cart in cash: take the money of a sale, or pay out a refund. Asking again for an order that is settled changes nothing.
    SettleCash {
        /// The cart's order, so that a second tap cannot pay for the next customer.
        #[cfg_attr(test, ts(type = "string"))]
        order: OrderId,
        /// What was handed over; ignored in a refund.
        tendered_minor: i64,
    },
    /// Refund lines of a found sale in cash, at its own prices and taxes.
    RefundSale {
        /// The new refund's id, minted by [`Query::Order`] as `next_refund`: asking again changes nothing.
        #[cfg_attr(test, ts(type = "string"))]
        refund: OrderId,
        /// The sale.
        #[cfg_attr(test, ts(type = "string"))]
        original: OrderId,
        /// What comes back.
        lines: Vec<RefundLine>,
        /// Why.
        reason: String,
    },
    /// Give back in cash what was paid for twice: the goods of an open order that this sale and another one both sold. Needs the permission.
    RefundSecondPayment {
        /// The new refund's id, minted by [`Query::Order`] as `next_refund`: asking again changes nothing.
        #[cfg_attr(test, ts(type = "string"))]
        refund: OrderId,
        /// The sale.
        #[cfg_attr(test, ts(type = "string"))]
        sale: OrderId,
    },
    /// Correct stock. Needs the permission.
    AdjustStock {
        /// What changed.
        lines: Vec<AdjustLine>,
        /// Why.
        reason: String,
        /// A number of another system.
        reference: Option<String>,
    },
    /// Say how much there is of some products. What was sold or came in without this till having heard of it still applies. Needs the
    /// permission to correct stock.
    CountStock {
        /// What was counted, each product once.
        lines: Vec<CountedLine>,
        /// Why.
        reason: String,
    },
    /// Book an amount that is neither a sale nor a refund. Needs the permission.
    AdjustAccount {
        /// What for.
        description: String,
        /// How many, in thousandths.
        quantity_milli: i64,
        /// What one is, in hundredths of a minor unit; may be negative.
        unit_price: i64,
        /// A number of another system.
        reference: Option<String>,
    },
    /// Open the cash drawer without a sale. Needs the permission.
    OpenDrawer {
        /// Why.
        reason: String,
    },
    /// Print a receipt again, marked as a copy.
    Reprint {
        /// Of which order.
        #[cfg_attr(test, ts(type = "string"))]
        order: OrderId,
    },
    /// Print the Z report of a closed shift, or one of its addenda. What was printed before with the same words is marked as a copy.
    PrintShift {
        /// Which shift.
        #[cfg_attr(test, ts(type = "string"))]
        shift: ShiftId,
        /// Which addendum, from 1; none for the Z report.
        addendum: Option<u32>,
    },
    /// Say whether a receipt of unknown fate came out. If not, a copy is printed.
    ResolvePrint {
        /// The print job.
        #[cfg_attr(test, ts(type = "string"))]
        job: RecordId,
        /// Whether it came out of the printer.
        came_out: bool,
    },
}

/// What to put into the cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Item {
    /// A scanned or typed code: a barcode or the shop's own.
    Code {
        /// At most 64 bytes.
        code: String,
    },
    /// A product chosen from a list.
    Product {
        /// Which.
        #[cfg_attr(test, ts(type = "string"))]
        product: ProductId,
    },
}

/// How much of which line of a sale comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RefundLine {
    /// The line's position in the sale, from 0.
    pub line: usize,
    /// How much, in thousandths.
    pub quantity_milli: i64,
}

/// One product of a stock correction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AdjustLine {
    /// The product's code.
    pub code: String,
    /// How much more, or, negative, less, in thousandths.
    pub quantity_milli: i64,
    /// What one is valued at, in hundredths of a minor unit.
    pub unit_price: i64,
}

/// One product of a stock count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CountedLine {
    /// The product's code.
    pub code: String,
    /// How much there is, in thousandths; not below zero.
    pub quantity_milli: i64,
}

/// Something to look up. Answered from the till's own disk, but for orders that are not on it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Everything the till's screen shows. Answer: [`TillView`](super::TillView).
    Till {},
    /// Products whose name or code begins with the words. Answer: `Vec<`[`ProductView`](super::ProductView)`>`.
    Search {
        /// What was typed.
        text: String,
        /// At most so many, up to 100.
        limit: u32,
    },
    /// The newest orders of this store that this till knows, its own and its neighbours'. Answer: `Vec<`[`OrderSummary`](super::OrderSummary)`>`.
    Orders {
        /// Part of a receipt number, or empty.
        text: String,
        /// At most so many, up to 200.
        limit: u32,
    },
    /// One order with its lines and what can still be refunded; asked for at the server if this till keeps no more of it than its row. Answer:
    /// [`OrderView`](super::OrderView).
    Order {
        /// Which.
        #[cfg_attr(test, ts(type = "string"))]
        order: OrderId,
    },
    /// The order with a receipt number. One that is not on this till any more, or not yet, is asked for at the server. Answer: [`OrderView`](super::OrderView).
    FindOrder {
        /// The whole number, at most 64 bytes.
        receipt: String,
    },
    /// The open orders of this store, the one that was touched last first. Answer: `Vec<`[`OpenOrderView`](super::OpenOrderView)`>`.
    OpenOrders {
        /// Part of a label, or empty.
        text: String,
        /// At most so many, up to 200.
        limit: u32,
    },
    /// The closed shifts of this store, the one that was opened last first. Answer: `Vec<`[`ClosedShiftView`](super::ClosedShiftView)`>`.
    Shifts {
        /// At most so many, up to 50.
        limit: u32,
    },
    /// Line counts and sums of everything this till holds, device by device. Answer: [`LedgerView`](super::LedgerView).
    Ledger {},
}
