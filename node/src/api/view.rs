//! What a node answers and announces, ready to draw.

use domain::ids::{OpenOrderId, OrderId, PictureId, ProductId, RecordId, ShiftId, StaffId};
use domain::staff::Role;
use serde::{Deserialize, Serialize};

/// Something that happened. A screen answers by asking again for what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Cart, shift, staff, last order or print state changed: [`Query::Till`](super::Query::Till) answers anew.
    TillChanged {},
    /// The link or the number of unsent entries changed.
    LinkChanged {
        /// How it is now.
        link: LinkView,
    },
    /// Products or prices changed.
    CatalogueChanged {},
}

/// Most print jobs that a [`TillView`] lists.
pub const PRINT_JOBS_SHOWN_MAX: usize = 50;

/// Everything the till's screen shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TillView {
    /// The store, once its settings have arrived.
    pub store: Option<StoreView>,
    /// This till.
    pub till: TillIdentity,
    /// Who may sign in here, by name.
    pub staff: Vec<StaffView>,
    /// Who is signed in.
    pub signed_in: Option<SignedInView>,
    /// The open shift.
    pub shift: Option<ShiftView>,
    /// The shift that was closed last, until the next one opens.
    pub last_closed_shift: Option<ClosedShiftView>,
    /// The order being built.
    pub cart: CartView,
    /// How many open orders the store has.
    pub open_orders: u64,
    /// The order that was settled last, until the next line is added.
    pub last_order: Option<SettledView>,
    /// How this till is connected.
    pub link: LinkView,
    /// Receipts that wait for the printer or for a person's word: the first ones, at most [`PRINT_JOBS_SHOWN_MAX`].
    pub print_jobs: Vec<PrintJobView>,
    /// How many more there are.
    pub print_jobs_more: u64,
}

/// The store as the till shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StoreView {
    /// The short code, such as `S01`.
    pub code: String,
    /// The name.
    pub name: String,
    /// The currency's ISO 4217 letters.
    pub currency: String,
    /// How many decimal digits a minor unit is.
    pub exponent: u8,
    /// Whether prices hold the tax; while a cart is open, whether they do there.
    pub tax_included: bool,
    /// The languages of its screens and receipts, its first one first.
    pub languages: Vec<String>,
}

/// This till.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TillIdentity {
    /// The name people call it by.
    pub name: String,
    /// Its receipt series, such as `S01-T03b`.
    pub series: String,
}

/// Someone who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StaffView {
    /// Their id.
    #[cfg_attr(test, ts(type = "string"))]
    pub id: StaffId,
    /// Their name.
    pub name: String,
    /// Their role.
    #[cfg_attr(test, ts(type = "\"cashier\" | \"shift_lead\" | \"manager\""))]
    pub role: Role,
}

/// Who is signed in, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SignedInView {
    /// Who.
    pub staff: StaffView,
    /// May refund without the sale.
    pub may_refund_without_sale: bool,
    /// May sell at another price.
    pub may_override_price: bool,
    /// May give back what was paid for twice.
    pub may_refund_payment: bool,
    /// May correct and count stock.
    pub may_adjust_stock: bool,
    /// May open the drawer without a sale.
    pub may_open_drawer: bool,
}

/// The open shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ShiftView {
    /// Its id.
    #[cfg_attr(test, ts(type = "string"))]
    pub id: ShiftId,
    /// The day it counts for, `YYYY-MM-DD`.
    pub business_day: String,
    /// When it was opened, Unix milliseconds.
    pub opened_at_ms: u64,
    /// The cash put into the drawer.
    pub float_minor: i64,
    /// The cash that should be in the drawer now.
    pub expected_minor: i64,
    /// How many sales it has.
    pub sales: u64,
    /// How many refunds it has.
    pub refunds: u64,
    /// What the sales come to.
    pub sales_minor: i64,
    /// What the refunds come to, as a positive sum.
    pub refunds_minor: i64,
}

/// A closed shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ClosedShiftView {
    /// The shift with what its closing covers: the sums of its Z report.
    pub shift: ShiftView,
    /// The name of the till that opened it.
    pub till: String,
    /// What its Z report is called.
    pub title: String,
    /// When it was closed, in Unix milliseconds.
    pub closed_at_ms: u64,
    /// The cash that was counted.
    pub counted_minor: i64,
    /// Counted less expected.
    pub difference_minor: i64,
    /// What came to it afterwards, by number.
    pub addenda: Vec<AddendumView>,
    /// Counted less expected, with what the addenda moved into the drawer.
    pub difference_with_addenda_minor: i64,
}

/// What one life of a till adds to a shift that was closed without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AddendumView {
    /// From 1.
    pub number: u32,
    /// Its lowest receipt number.
    pub first_receipt: String,
    /// Its highest.
    pub last_receipt: String,
    /// How many sales it has.
    pub sales: u64,
    /// How many refunds it has.
    pub refunds: u64,
    /// What the sales come to.
    pub sales_minor: i64,
    /// What the refunds come to, as a positive sum.
    pub refunds_minor: i64,
    /// What they moved into the drawer.
    pub cash_minor: i64,
}

/// The order being built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CartView {
    /// The id that the order will have.
    #[cfg_attr(test, ts(type = "string"))]
    pub order: OrderId,
    /// Whether it pays out.
    pub is_refund: bool,
    /// Why, in a refund.
    pub reason: Option<String>,
    /// What is in it.
    pub lines: Vec<CartLineView>,
    /// The line that was touched last, from 0.
    pub touched: Option<usize>,
    /// Net and tax, one row a rate.
    pub taxes: Vec<TaxView>,
    /// What is owed, or in a refund paid out.
    pub total_minor: i64,
    /// The open order that it was made of.
    pub recalled: Option<RecalledView>,
    /// Amounts of notes and coins that a customer is likely to hand over, smallest first; the exact amount leads.
    pub quick_cash_minor: Vec<i64>,
}

/// The open order that a cart was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RecalledView {
    /// Which.
    #[cfg_attr(test, ts(type = "string"))]
    pub open_order: OpenOrderId,
    /// What it is called by; may be empty.
    pub label: String,
    /// What else is to be known; may be empty.
    pub note: String,
    /// Whether it was paid or given up meanwhile, at another till.
    pub is_closed: bool,
}

/// One line of the cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CartLineView {
    /// The shop's code.
    pub code: String,
    /// The name.
    pub name: String,
    /// How much, in thousandths.
    pub quantity_milli: i64,
    /// What one costs, in hundredths of a minor unit.
    pub unit_price: i64,
    /// The tax rate in basis points.
    pub tax_rate_bp: u32,
    /// The amount.
    pub amount_minor: i64,
}

/// One tax rate of a cart or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TaxView {
    /// The rate in basis points.
    pub rate_bp: u32,
    /// Without tax.
    pub net_minor: i64,
    /// The tax.
    pub tax_minor: i64,
}

/// An order that was just settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SettledView {
    /// Its id.
    #[cfg_attr(test, ts(type = "string"))]
    pub order: OrderId,
    /// Its receipt number.
    pub receipt: String,
    /// Whether it paid out.
    pub is_refund: bool,
    /// What was owed (positive), or paid out (negative).
    pub total_minor: i64,
    /// What was handed over.
    pub tendered_minor: i64,
    /// What to give back.
    pub change_minor: i64,
    /// How safe it is by now.
    pub durability: Durability,
    /// How its receipt is doing.
    pub print: Option<PrintState>,
    /// Whether the drawer was told to open, once that is known.
    pub drawer: Option<DrawerState>,
}

/// How safe an order is: on this till's disk at least, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// On this till's disk.
    Device,
    /// On the disk of another till of the store too.
    Neighbour,
    /// On the regional server's disk too.
    Regional,
    /// In the central database too.
    Central,
}

/// What became of a drawer kick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum DrawerState {
    /// The pulse was sent.
    Kicked,
    /// The printer could not be reached: open it by key.
    OpenByKey,
}

/// How this till is connected. Selling never depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LinkView {
    /// The state of the link to the regional server.
    pub state: LinkState,
    /// Which way it goes, while it is online.
    pub way: Option<LinkWay>,
    /// Commits that the server does not have yet.
    pub unsent: u64,
    /// Commits that the central database does not have yet.
    pub not_central: u64,
    /// How many other tills of the store are connected to this one.
    pub neighbours: u64,
    /// When the server was last heard, Unix milliseconds.
    pub last_contact_ms: Option<u64>,
    /// Why there is no link, in a sentence.
    pub problem: Option<String>,
    /// How much of the shop's history a new till has read, in percent, 0 to 99; none when it has all. It sells meanwhile.
    pub history_percent: Option<u8>,
}

/// The state of the link to the regional server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No connection; tried again by itself.
    Offline,
    /// Connected and exchanging.
    Online,
    /// The server has no place now and asked to come back; tried again by itself.
    Busy,
}

/// The way of the link to the regional server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum LinkWay {
    /// QUIC, over UDP.
    Quic,
    /// TLS over TCP: UDP did not pass.
    Tcp,
}

impl LinkWay {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// A receipt on its way to paper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PrintJobView {
    /// The job.
    #[cfg_attr(test, ts(type = "string"))]
    pub id: RecordId,
    /// The receipt number it prints.
    pub title: String,
    /// How it is doing.
    pub state: PrintState,
    /// What the printer said last, in a sentence.
    pub problem: Option<String>,
}

/// How a print job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum PrintState {
    /// Waits for the printer; nothing was sent.
    Queued,
    /// Being sent.
    Sending,
    /// The printer said that it is on paper.
    Confirmed,
    /// Sent, and the printer cannot say.
    SentUnconfirmed,
    /// Nobody knows; a person must look.
    Uncertain,
    /// A copy was printed instead.
    Reprinted,
    /// A person saw it.
    Accepted,
}

/// A product in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProductView {
    /// Its id.
    #[cfg_attr(test, ts(type = "string"))]
    pub id: ProductId,
    /// The shop's code.
    pub code: String,
    /// The name.
    pub name: String,
    /// What one costs, in hundredths of a minor unit.
    pub unit_price: i64,
    /// What this till believes is in stock, in thousandths.
    pub stock_milli: i64,
    /// What it looks like: `GET /picture/{id}`.
    #[cfg_attr(test, ts(type = "string | null"))]
    pub picture: Option<PictureId>,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OrderSummary {
    /// Its id.
    #[cfg_attr(test, ts(type = "string"))]
    pub order: OrderId,
    /// Its receipt number.
    pub receipt: String,
    /// Whether it paid out.
    pub is_refund: bool,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What was owed; negative in a refund.
    pub total_minor: i64,
    /// How many lines.
    pub lines: u64,
    /// The till that took it.
    pub till: String,
    /// How safe it is; for another till's order at least `neighbour`.
    pub durability: Durability,
    /// Whether what it holds is on this till. If not, the server is asked for it when it is looked at.
    pub is_here: bool,
    /// Whether it sold goods of an open order that another sale sold too, and that nobody has given back yet.
    pub is_paid_twice: bool,
}

/// An open order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OpenOrderView {
    /// Its id.
    #[cfg_attr(test, ts(type = "string"))]
    pub open_order: OpenOrderId,
    /// What it is called by; may be empty.
    pub label: String,
    /// What else is to be known; may be empty.
    pub note: String,
    /// How many lines are left in it.
    pub lines: u64,
    /// What they come to.
    pub total_minor: i64,
    /// When it was parked, Unix milliseconds.
    pub opened_at_ms: u64,
    /// Who parked it.
    pub opened_by: String,
    /// When something was done to it last, Unix milliseconds.
    pub changed_at_ms: u64,
    /// Who did that.
    pub changed_by: String,
}

/// One order with its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OrderView {
    /// What the list shows.
    pub summary: OrderSummary,
    /// Who served.
    pub cashier: String,
    /// The lines.
    pub lines: Vec<OrderLineView>,
    /// Net and tax, one row a rate.
    pub taxes: Vec<TaxView>,
    /// The receipt number of the sale that this refund refers to.
    pub original: Option<String>,
    /// Why money went back.
    pub reason: Option<String>,
    /// What came back of this sale so far, earliest first.
    pub refunds: Vec<RefundView>,
    /// That it paid for goods which another sale paid for too; none once they are given back.
    pub paid_twice: Option<PaidTwiceView>,
    /// The id to use for the next refund of this sale.
    #[cfg_attr(test, ts(type = "string"))]
    pub next_refund: OrderId,
}

/// A refund of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RefundView {
    /// Its receipt number.
    pub receipt: String,
    /// The till that paid it out.
    pub till: String,
    /// Who did; empty when unknown.
    pub cashier: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What was paid out, as a positive sum.
    pub amount_minor: i64,
}

/// An open order that was paid twice, as one of its sales shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PaidTwiceView {
    /// What the order was called by; may be empty.
    pub label: String,
    /// The receipt numbers of the other sales.
    pub others: Vec<String>,
    /// What [`Command::RefundSecondPayment`](super::Command::RefundSecondPayment) gives back.
    pub amount_minor: i64,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OrderLineView {
    /// The name at that moment.
    pub name: String,
    /// How much, in thousandths.
    pub quantity_milli: i64,
    /// What one cost, in hundredths of a minor unit.
    pub unit_price: i64,
    /// The amount.
    pub amount_minor: i64,
    /// How much can still be refunded, in thousandths.
    pub refundable_milli: i64,
}

/// Line counts and sums, device by device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LedgerView {
    /// One row a device, by name.
    pub devices: Vec<LedgerRow>,
    /// Orders (sales and refunds) that this till holds.
    pub orders: u64,
}

/// One device's share of a [`LedgerView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LedgerRow {
    /// The device's name.
    pub device: String,
    /// How many valued lines.
    pub lines: u64,
    /// The sum of rounded amounts, in minor units, as decimal text (it may exceed what a screen's number holds).
    pub rounded_minor: String,
    /// The exact sum, in hundred-thousandths of a minor unit, as decimal text.
    pub exact: String,
}
