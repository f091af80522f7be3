//! Figures, the sales behind them, stock, devices, exceptions.

use serde::{Deserialize, Serialize};

/// How a sales report is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// One row a day; days without business are there with zeros.
    Day,
    /// One row an hour of the day, 24 of them, in the time zone asked for.
    Hour,
    /// One row a till, those without business too.
    Till,
    /// One row a member of staff.
    Cashier,
    /// One row a product, the largest first.
    Product,
    /// One row a category, the largest first.
    Category,
    /// One row a way of paying.
    Tender,
    /// One row a tax rate.
    TaxRate,
}

/// What the days of a question are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Business days, as the shifts opened them: what closes with the drawer.
    BusinessDay,
    /// Days by the clock in the time zone asked for.
    Clock,
}

/// `GET /api/v1/reports/sales?from=&to=&group_by=[&basis=][&time_zone=][&store=][&currency=]`: sales and refunds, both days included.
///
/// `basis` is `business_day` when absent, `time_zone` that of the store (or of the first store), `store` a store's code; all stores when
/// absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SalesReport {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
    /// What the days are.
    pub basis: Basis,
    /// The time zone that hours and days by the clock are in, such as `Europe/Berlin`.
    pub time_zone: String,
    /// How it is cut.
    pub group_by: GroupBy,
    /// The code of the only store in it; none when it is of all.
    pub store: Option<String>,
    /// The currency's ISO 4217 letters.
    pub currency: String,
    /// How many decimal digits a minor unit is.
    pub exponent: u8,
    /// In order of [`GroupBy`].
    pub rows: Vec<SalesRow>,
    /// Whether there were more rows than the 2,000 that an answer holds; the total holds them all.
    pub truncated: bool,
    /// All of it.
    pub total: SalesRow,
    /// What the figures cover.
    pub coverage: Coverage,
}

/// One row of a sales report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SalesRow {
    /// What it is cut by: the day, the hour (`0` to `23`), the id of the till, cashier (`none` where nobody is named) or product, the category
    /// (empty for none), the way of paying, the rate in basis points; `total` in the last row.
    pub key: String,
    /// What people call it.
    pub label: String,
    /// More to tell it by, such as a product's code or a till's store; often empty.
    pub detail: String,
    /// How many sales (those that hold such a line or payment).
    pub sales: i64,
    /// What they come to, tax included; by product and category the amounts of the lines as they stand on the receipt.
    pub sales_minor: i64,
    /// How many refunds.
    pub refunds: i64,
    /// What they come to, as a positive sum.
    pub refunds_minor: i64,
    /// Sales less refunds.
    pub net_minor: i64,
    /// Pieces sold less pieces refunded; by product and category only.
    pub quantity_milli: Option<i64>,
    /// The tax in `net_minor`; none by product, category and tender, where tax is not counted.
    pub tax_minor: Option<i64>,
}

/// What a figure covers: which tills, up to when, what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Coverage {
    /// When this was asked.
    pub asked_at_ms: u64,
    /// Whether everything that any till is known to have is in the figures, and every till was heard lately.
    pub complete: bool,
    /// One sentence that says it, such as "Covers 2 of 3 tills to 14:32 UTC; Till 3 silent for 47 min."
    pub sentence: String,
    /// One row a till, by name.
    pub tills: Vec<TillCoverage>,
}

/// One till's share of a [`Coverage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TillCoverage {
    /// The device id.
    pub device: String,
    /// What people call it.
    pub name: String,
    /// The store's code.
    pub store: String,
    /// How it stands.
    pub state: CoverageState,
    /// The till's own time of the last entry in the figures; none when nothing has arrived.
    pub covers_to_ms: Option<u64>,
    /// When a server last heard it, even without news; none when never.
    pub seen_at_ms: Option<u64>,
    /// Commits that the till is known to have made and that are not in the figures.
    pub missing_commits: u64,
}

/// How a till stands in a coverage line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum CoverageState {
    /// Heard lately, nothing missing.
    Current,
    /// Heard lately, but something it has is still on its way.
    Behind,
    /// Not heard for more than two minutes.
    Silent,
    /// Never heard.
    Never,
}

/// `GET /api/v1/sales?from=&to=[&basis=][&time_zone=][&store=][&hour=][&till=][&cashier=][&product=][&category=][&tender=][&tax_rate_bp=]
/// [&kind=][&currency=][&search=][&after=][&limit=]`: the sales and refunds behind a figure, newest first. The parameters are the keys of a
/// report's rows; `search` finds receipt numbers and amounts; `limit` is 1 to 500, 50 when absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SalesPage {
    /// Newest first.
    pub rows: Vec<SaleRow>,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
    /// The time zone of days and hours.
    pub time_zone: String,
    /// What the list covers.
    pub coverage: Coverage,
}

/// A sale or refund in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SaleRow {
    /// The store's code.
    pub store: String,
    /// Its id; `GET /api/v1/sales/{store}/{order}` has the rest.
    pub order: String,
    /// Sale or refund.
    pub kind: OrderKind,
    /// The receipt number, such as `S01-T03b-000123`.
    pub number: String,
    /// When, by the till's clock.
    pub at_ms: u64,
    /// Its business day; none until the opening of its shift has arrived.
    pub business_day: Option<String>,
    /// The till's id.
    pub device: String,
    /// The till's name.
    pub till: String,
    /// Who served; empty when nobody is named.
    pub cashier: String,
    /// How many lines.
    pub lines: i64,
    /// How it was paid, such as `cash`.
    pub tenders: Vec<String>,
    /// The currency's letters.
    pub currency: String,
    /// Decimal digits of a minor unit.
    pub exponent: u8,
    /// What was owed; negative in a refund.
    pub total_minor: i64,
    /// Whether an exception is about it.
    pub flagged: bool,
}

/// Whether goods went out or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// Goods for money.
    Sale,
    /// Money for goods.
    Refund,
}

/// `GET /api/v1/sales/{store}/{order}`: one sale or refund to the last detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SaleDetail {
    /// The head.
    pub sale: SaleRow,
    /// The sale that a refund refers to, when it is known.
    pub original: Option<SaleRow>,
    /// The refunds of a sale.
    pub refunds: Vec<SaleRow>,
    /// What the receipt says.
    pub receipt: ReceiptView,
    /// What was sold, with what a report counts by.
    pub lines: Vec<SaleLine>,
    /// What a person should look at.
    pub exceptions: Vec<ExceptionRow>,
    /// The entry that it is from.
    pub proof: Proof,
}

/// One line of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SaleLine {
    /// The product's id.
    pub product: String,
    /// The product's code today; empty when it is not known.
    pub code: String,
    /// Its name at that moment.
    pub name: String,
    /// Its category today; empty for none.
    pub category: String,
    /// How much; negative in a refund.
    pub quantity_milli: i64,
    /// The price of one.
    pub unit_price_centi: i64,
    /// The tax rate.
    pub tax_rate_bp: i64,
    /// What the line came to.
    pub amount_minor: i64,
    /// How much of it has been refunded since.
    pub refunded_milli: i64,
}

/// A receipt in words, in printing order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ReceiptView {
    /// The store's name.
    pub store_name: String,
    /// Its address, one string a line.
    pub address: Vec<String>,
    /// The first words, one string a line.
    pub header: Vec<String>,
    /// Whether money went back.
    pub is_refund: bool,
    /// The receipt number.
    pub number: String,
    /// Local date and time in the time zone of the store.
    pub at: String,
    /// Who served.
    pub cashier: String,
    /// The number of the refunded sale.
    pub original_number: Option<String>,
    /// Why money went back.
    pub reason: Option<String>,
    /// What was sold.
    pub lines: Vec<ReceiptLineView>,
    /// What was owed, with the currency.
    pub total: String,
    /// One row a tax rate: rate, net, tax.
    pub taxes: Vec<[String; 3]>,
    /// Whether the prices above hold the tax.
    pub tax_included: bool,
    /// How it was paid.
    pub payments: Vec<ReceiptPaymentView>,
    /// The last words, one string a line.
    pub footer: Vec<String>,
}

/// One line of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ReceiptLineView {
    /// The product's name.
    pub name: String,
    /// Quantity and unit price, unless it was one piece at its price.
    pub detail: Option<String>,
    /// The amount.
    pub amount: String,
}

/// One payment on a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ReceiptPaymentView {
    /// How, such as `cash`.
    pub method: String,
    /// What was handed over, or paid out in a refund.
    pub handed_over: String,
    /// What was given back.
    pub change: Option<String>,
}

/// Where a fact is in the signed journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Proof {
    /// Who wrote it.
    pub device: String,
    /// In which of its lives.
    pub incarnation: String,
    /// In which scope.
    pub scope: String,
    /// Its place in the chain.
    pub seq: i64,
    /// The commit it is part of.
    pub commit: i64,
    /// The chain hash in hexadecimal: it binds this entry and all before it.
    pub hash: String,
    /// When it reached the central database.
    pub received_at_ms: u64,
}

/// `GET /api/v1/stock?[store=][&search=][&category=][&below_milli=][&after=][&limit=]`: what is on the shelves, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StockPage {
    /// By name.
    pub rows: Vec<StockRow>,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
    /// What it covers.
    pub coverage: Coverage,
}

/// One product at one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StockRow {
    /// The store's code.
    pub store: String,
    /// The product's id.
    pub product: String,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its category; empty for none.
    pub category: String,
    /// What is there by the records; below zero when more was sold than had come in.
    pub quantity_milli: i64,
    /// When it last changed.
    pub moved_at_ms: Option<u64>,
}

/// `GET /api/v1/stock/{store}/{product}/movements?[after=][&limit=]`: why the level is what it is, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct MovementsPage {
    /// The product and its level.
    pub row: StockRow,
    /// Newest first.
    pub movements: Vec<StockMovement>,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
    /// What it covers.
    pub coverage: Coverage,
}

/// One stock movement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StockMovement {
    /// When.
    pub at_ms: u64,
    /// `sale`, `refund`, `adjustment` or `count`.
    pub reason: String,
    /// Negative when it left the shelf; nothing in a count.
    pub quantity_milli: i64,
    /// What a count found.
    pub counted_milli: Option<i64>,
    /// The level after it, in the order of this list; up to the count that stands, what the movements alone come to.
    pub level_milli: i64,
    /// The sale or refund it is from.
    pub order: Option<String>,
    /// Its receipt number.
    pub number: Option<String>,
    /// Where; empty when unknown.
    pub till: String,
    /// Who; empty when unknown.
    pub cashier: String,
    /// What was noted; often empty.
    pub note: String,
}

/// `GET /api/v1/devices`: every device, by store and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DeviceView {
    /// Its id.
    pub device: String,
    /// What people call it.
    pub name: String,
    /// `till`, `handheld` or `server`.
    pub kind: String,
    /// The store's code.
    pub store: Option<String>,
    /// The receipt series it writes now, such as `S01-T03b`; empty for none.
    pub series: String,
    /// Name and version of its software; empty when it has never started.
    pub software: String,
    /// When it was enrolled.
    pub enrolled_at_ms: u64,
    /// How it stands.
    pub state: CoverageState,
    /// Whether it is connected to this server now.
    pub connected: bool,
    /// When a server last heard it.
    pub seen_at_ms: Option<u64>,
    /// Its own time of its last entry in the figures.
    pub last_entry_at_ms: Option<u64>,
    /// Commits that it is known to have made and that have not arrived.
    pub unsent_commits: u64,
    /// Its clock less the server's when it last connected, half a round trip allowed for; none when unknown.
    pub clock_drift_ms: Option<i64>,
}

/// `GET /api/v1/exceptions?[state=open|all][&kind=][&store=][&after=][&limit=]`: what a person should look at, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ExceptionsPage {
    /// Newest first.
    pub rows: Vec<ExceptionRow>,
    /// How many are open: neither settled nor looked at.
    pub open: i64,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
}

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ExceptionRow {
    /// Its id, for `POST /api/v1/exceptions/{id}/review`.
    pub id: String,
    /// The stable code of its kind, such as `oversold`.
    pub kind: String,
    /// What that is, in a few words.
    pub title: String,
    /// What happened and what to do.
    pub detail: String,
    /// When the entry was written that it is about.
    pub at_ms: u64,
    /// The store's code.
    pub store: Option<String>,
    /// Where; empty when unknown.
    pub till: String,
    /// The sale or refund that it is about.
    pub order: Option<String>,
    /// Its receipt number.
    pub number: Option<String>,
    /// The product that it is about: `GET /api/v1/stock/{store}/{product}/movements` says why its level is what it is.
    pub product: Option<ExceptionProduct>,
    /// The receipts that do not fit together: the sales that paid an open order, or the refunds of one sale; earliest first, at most 20.
    pub receipts: Vec<SaleRow>,
    /// Since when what caused it is no longer so; none while it is, or where only a person can say.
    pub settled: Option<Settlement>,
    /// Who has looked at it; none while nobody has.
    pub review: Option<Review>,
}

/// The product of an exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ExceptionProduct {
    /// Its id.
    pub product: String,
    /// Its code; empty when unknown.
    pub code: String,
    /// Its name; its id when unknown.
    pub name: String,
}

/// That what caused an exception is no longer so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Settlement {
    /// Since when, by the clock of whoever settled it.
    pub at_ms: u64,
    /// The sale or refund that did, when it was one.
    pub order: Option<String>,
    /// Its receipt number.
    pub number: Option<String>,
}

/// `GET /api/v1/open-orders?[store=][&search=][&after=][&limit=]`: what is parked at tills and not paid, the one that was parked first first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OpenOrdersPage {
    /// The one that was parked first first.
    pub rows: Vec<OpenOrderRow>,
    /// How many there are in all.
    pub open: i64,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
    /// What it covers.
    pub coverage: Coverage,
}

/// A parked order or a table that nobody has paid or given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OpenOrderRow {
    /// The store's code.
    pub store: String,
    /// Its id.
    pub open_order: String,
    /// What it is called by; may be empty.
    pub label: String,
    /// What else is to be known; may be empty.
    pub note: String,
    /// How many lines are left in it.
    pub lines: i64,
    /// What they come to.
    pub total_minor: i64,
    /// The store's currency; empty while its settings are unknown.
    pub currency: String,
    /// Decimal digits of a minor unit.
    pub exponent: u8,
    /// When it was parked, by the till's clock.
    pub opened_at_ms: u64,
    /// Who parked it; empty when unknown.
    pub opened_by: String,
    /// When something was done to it last.
    pub changed_at_ms: u64,
    /// Who did that; empty when unknown.
    pub changed_by: String,
}

/// `GET /api/v1/shifts[?from=&to=][&store=][&after=][&limit=]`: cash drawer shifts, the one that was opened last first; `from` and `to` are business days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ShiftsPage {
    /// The one that was opened last first.
    pub rows: Vec<ShiftRow>,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
    /// What it covers.
    pub coverage: Coverage,
}

/// A shift: what its closing covers, and what came afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ShiftRow {
    /// The store's code.
    pub store: String,
    /// Its id.
    pub shift: String,
    /// The till's name.
    pub till: String,
    /// Its business day; none until its opening has arrived.
    pub business_day: Option<String>,
    /// When it was opened, by the till's clock; none until its opening has arrived.
    pub opened_at_ms: Option<u64>,
    /// Who opened it; empty when unknown.
    pub opened_by: String,
    /// The cash put into the drawer.
    pub float_minor: i64,
    /// The currency; empty while it is unknown.
    pub currency: String,
    /// Decimal digits of a minor unit.
    pub exponent: u8,
    /// How many sales its closing covers, or has an open one so far.
    pub sales: i64,
    /// How many refunds.
    pub refunds: i64,
    /// What the sales come to.
    pub sales_minor: i64,
    /// What the refunds come to, as a positive sum.
    pub refunds_minor: i64,
    /// How it was closed; none while it is open.
    pub closing: Option<ShiftClosingRow>,
    /// What its closing does not cover, by number.
    pub addenda: Vec<AddendumRow>,
}

/// The closing of a shift: what its Z report says of the drawer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ShiftClosingRow {
    /// When, by the till's clock.
    pub at_ms: u64,
    /// Who; empty when unknown.
    pub by: String,
    /// The cash that was counted.
    pub counted_minor: i64,
    /// The cash that was expected then.
    pub expected_minor: i64,
    /// Counted less expected.
    pub difference_minor: i64,
    /// Counted less expected, with what the addenda moved into the drawer.
    pub difference_with_addenda_minor: i64,
}

/// What one life of a till adds to a shift that was closed without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AddendumRow {
    /// From 1.
    pub number: u32,
    /// Its lowest receipt number.
    pub first_receipt: String,
    /// Its highest.
    pub last_receipt: String,
    /// How many sales it has.
    pub sales: i64,
    /// How many refunds it has.
    pub refunds: i64,
    /// What the sales come to.
    pub sales_minor: i64,
    /// What the refunds come to, as a positive sum.
    pub refunds_minor: i64,
    /// What they moved into the drawer.
    pub cash_minor: i64,
}

/// That somebody has looked at an exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Review {
    /// Who.
    pub by: String,
    /// When.
    pub at_ms: u64,
    /// What they noted; often empty.
    pub note: String,
}

/// `POST /api/v1/exceptions/{id}/review`: says that one has looked at it. Answers with the [`ExceptionRow`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    /// What to remember; may be empty, at most 1,000 bytes.
    pub note: String,
}

#[cfg(test)]
super::declare!(
    GroupBy,
    Basis,
    SalesReport,
    SalesRow,
    Coverage,
    TillCoverage,
    CoverageState,
    SalesPage,
    SaleRow,
    OrderKind,
    SaleDetail,
    SaleLine,
    ReceiptView,
    ReceiptLineView,
    ReceiptPaymentView,
    Proof,
    StockPage,
    StockRow,
    MovementsPage,
    StockMovement,
    DeviceView,
    ExceptionsPage,
    ExceptionRow,
    ExceptionProduct,
    Settlement,
    Review,
    ReviewRequest,
    OpenOrdersPage,
    OpenOrderRow,
    ShiftsPage,
    ShiftRow,
    ShiftClosingRow,
    AddendumRow,
);
