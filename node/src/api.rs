//! The one door to a node: what may be asked, what is answered, what is announced.
//!
//! The window, the loopback HTTP face and the tests all speak these types. They are the border's own shapes: amounts are
//! whole minor units, quantities thousandths, unit prices hundredths of a minor unit, ids are UUID text, and everything
//! arrives ready to draw. The TypeScript in `ui/src/lib/api/node.gen.ts` is generated from this file (`tests::bindings_are_fresh`).

use domain::ids::{OrderId, PictureId, ProductId, RecordId, ShiftId, StaffId};
use domain::staff::Role;
use serde::{Deserialize, Serialize};

use crate::errors::chain_of;
use crate::store::StoreError;

/// Something a person asks for. It is refused with an [`ApiError`], or done, on disk, and answered with the new [`TillView`].
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
    /// Correct stock. Needs the permission.
    AdjustStock {
        /// What changed.
        lines: Vec<AdjustLine>,
        /// Why.
        reason: String,
        /// A number of another system.
        reference: Option<String>,
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

/// Something to look up. Answered from the till's own disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Everything the till's screen shows. Answer: [`TillView`].
    Till {},
    /// Products whose name or code begins with the words. Answer: `Vec<`[`ProductView`]`>`.
    Search {
        /// What was typed.
        text: String,
        /// At most so many, up to 100.
        limit: u32,
    },
    /// The newest orders of this store that this till knows, its own and its neighbours'. Answer: `Vec<`[`OrderSummary`]`>`.
    Orders {
        /// Part of a receipt number, or empty.
        text: String,
        /// At most so many, up to 200.
        limit: u32,
    },
    /// One order with its lines and what can still be refunded. Answer: [`OrderView`].
    Order {
        /// Which.
        #[cfg_attr(test, ts(type = "string"))]
        order: OrderId,
    },
    /// Line counts and sums of everything this till holds, device by device. Answer: [`LedgerView`].
    Ledger {},
}

/// Something that happened. A screen answers by asking again for what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Cart, shift, staff, last order or print state changed: [`Query::Till`] answers anew.
    TillChanged {},
    /// The link or the number of unsent entries changed.
    LinkChanged {
        /// How it is now.
        link: LinkView,
    },
    /// Products or prices changed.
    CatalogueChanged {},
}

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
    /// The order that was settled last, until the next line is added.
    pub last_order: Option<SettledView>,
    /// How this till is connected.
    pub link: LinkView,
    /// Receipts that wait for the printer or for a person's word.
    pub print_jobs: Vec<PrintJobView>,
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
    /// May correct stock.
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
    /// The shift with its final sums.
    pub shift: ShiftView,
    /// The cash that was counted.
    pub counted_minor: i64,
    /// Counted less expected.
    pub difference_minor: i64,
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
    /// Amounts of notes and coins that a customer is likely to hand over, smallest first; the exact amount leads.
    pub quick_cash_minor: Vec<i64>,
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
    /// Commits that the server does not have yet.
    pub unsent: u64,
    /// Commits that the central database does not have yet.
    pub not_central: u64,
    /// When the server was last heard, Unix milliseconds.
    pub last_contact_ms: Option<u64>,
    /// Why there is no link, in a sentence.
    pub problem: Option<String>,
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
    /// How safe it is; for a neighbour's order at least `regional`.
    pub durability: Durability,
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
    /// The id to use for the next refund of this sale.
    #[cfg_attr(test, ts(type = "string"))]
    pub next_refund: OrderId,
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

/// Why something was not done: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[error("{message}")]
pub struct ApiError {
    /// The stable code.
    pub code: ApiErrorCode,
    /// One sentence in English that says what to do; the screen may translate by code.
    pub message: String,
    /// How long to wait before trying again, in milliseconds, where that helps.
    pub retry_after_ms: Option<u64>,
}

/// The stable codes. Never renamed, only added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ApiErrorCode {
    /// The request makes no sense: unknown command, missing field, text too long.
    BadRequest,
    /// No or a wrong access token.
    NotAuthorised,
    /// No one is signed in.
    NotSignedIn,
    /// The PIN is wrong.
    WrongPin,
    /// Too many wrong PINs; wait.
    PinLocked,
    /// The role may not do this.
    Forbidden,
    /// The till has not received its store's settings yet.
    NotReady,
    /// No shift is open.
    NoShift,
    /// A shift is open already.
    ShiftOpen,
    /// The code belongs to no product.
    UnknownCode,
    /// The product is not on sale.
    InactiveProduct,
    /// The cart is empty.
    CartEmpty,
    /// The cart must be empty for this.
    CartNotEmpty,
    /// The cart is full.
    CartFull,
    /// There is no such line.
    NoSuchLine,
    /// A quantity must be above zero and within its bound.
    BadQuantity,
    /// An amount is out of bounds.
    BadAmount,
    /// Less was handed over than is owed.
    TenderShort,
    /// The order named is not the cart's any more.
    StaleOrder,
    /// There is no such order here.
    NoSuchOrder,
    /// More than is left to refund.
    NothingToRefund,
    /// There is no such print job, or it needs no answer.
    NoSuchPrintJob,
    /// The disk is full or broken; nothing was recorded.
    Storage,
    /// It is not known whether it was recorded; the till looks it up before going on.
    InDoubt,
}

impl ApiError {
    /// A refusal with nothing to wait for.
    pub fn new(code: ApiErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

impl From<StoreError> for ApiError {
    /// The screen learns whether it was recorded; the log learns why not.
    fn from(error: StoreError) -> Self {
        let (code, message) = match &error {
            StoreError::TooLarge(_) => (ApiErrorCode::CartFull, "this is too much for one order: split it in two"),
            StoreError::InDoubt => (
                ApiErrorCode::InDoubt,
                "the disk failed and it is not known yet whether this was recorded: try again, and the till looks it up",
            ),
            _ => (
                ApiErrorCode::Storage,
                "the disk of this till is full or broken and nothing was recorded: make room or call for help",
            ),
        };
        tracing::error!(error = %chain_of(&error), "the store failed");
        Self::new(code, message)
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ts_rs::{Config, TS};

    use super::*;

    /// The TypeScript of every type of this file, in its order.
    fn bindings() -> String {
        let config = Config::new().with_large_int("number");
        let mut out = String::from("// Generated from node/src/api.rs. Do not edit.\n");
        macro_rules! export {
            ($($name:ty),+ $(,)?) => { $( out.push_str(&format!("\nexport {}\n", without_comments(&<$name>::decl(&config)))); )+ };
        }
        export!(
            Command,
            Item,
            RefundLine,
            AdjustLine,
            Query,
            Event,
            TillView,
            StoreView,
            TillIdentity,
            StaffView,
            SignedInView,
            ShiftView,
            ClosedShiftView,
            CartView,
            CartLineView,
            TaxView,
            SettledView,
            Durability,
            DrawerState,
            LinkView,
            LinkState,
            PrintJobView,
            PrintState,
            ProductView,
            OrderSummary,
            OrderView,
            OrderLineView,
            LedgerView,
            LedgerRow,
            ApiError,
            ApiErrorCode,
        );
        out
    }

    /// The comments are in this file; one place is enough.
    fn without_comments(declaration: &str) -> String {
        let mut out = String::new();
        let mut rest = declaration;
        while let Some((before, comment)) = rest.split_once("/**") {
            out.push_str(before.trim_end());
            rest = comment.split_once("*/").map_or("", |(_, after)| after.trim_start());
            out.push(' ');
        }
        out.push_str(rest);
        out
    }

    #[test]
    fn bindings_are_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/lib/api/node.gen.ts");
        let fresh = bindings();
        if std::env::var_os("UPDATE_BINDINGS").is_some() {
            std::fs::write(&path, &fresh).expect("writing the bindings");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, fresh, "run this test with UPDATE_BINDINGS=1 and commit {}", path.display());
    }
}
