//! Bad input at the till's door, as a table: what is done wrong, and the code and the whole sentence that answer it.
//!
//! Every row goes through the loopback face as the screen's own requests do. After each, nothing of the till may have changed, and the
//! next scan must work. `docs/bad-input.md` shows the same rows to people; `rows_are_in_the_page` holds it to them.

use std::collections::BTreeMap;

use node::api::{ApiError, Command, LedgerView, OrderView, Query, RefundLine, TillView};
use node::face::BODY_BYTES_MAX;
use node::till::{Answer, Till};
use sync_proto::documents::DocumentValue;
use sync_proto::scopes;

use crate::face::{Open, open_to};
use crate::shop::*;

/// What is done wrong, the request, the code, the sentence. `…` in a sentence stands for what differs; `{…}` in a request is filled in.
/// A row is one line, as in the page; the formatter leaves the tables alone.
type Row = (&'static str, &'static str, &'static str, &'static str);

const COMMAND: &str = "POST /api/command";
const QUERY: &str = "POST /api/query";

/// With a shift open, one cake stand in the cart, and a cashier signed in.
#[rustfmt::skip]
const CASHIER_ROWS: &[Row] = &[
    ("An unknown barcode", r#"{"type":"add_line","item":{"by":"code","code":"4006381333931"}}"#, "unknown_code", UNKNOWN_CODE),
    ("An empty code", r#"{"type":"add_line","item":{"by":"code","code":" "}}"#, "unknown_code", UNKNOWN_CODE),
    ("A barcode of 4 KB", r#"{"type":"add_line","item":{"by":"code","code":"{4096x}"}}"#, "unknown_code", UNKNOWN_CODE),
    ("Control characters in a code", r#"{"type":"add_line","item":{"by":"code","code":"\u001b@\u0000\u0007"}}"#, "unknown_code", UNKNOWN_CODE),
    ("Another language in a code", r#"{"type":"add_line","item":{"by":"code","code":"'; DROP TABLE product; --"}}"#, "unknown_code", UNKNOWN_CODE),
    ("A product that is not there", r#"{"type":"add_line","item":{"by":"product","product":"{nobody}"}}"#, "unknown_code", UNKNOWN_CODE),
    ("A product that is not on sale", r#"{"type":"add_line","item":{"by":"code","code":"OLD"}}"#, "inactive_product", "… is not on sale any more: put it aside and ask a manager"),
    ("Zero quantity", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"quantity_milli":0}"#, "bad_quantity", NOT_ABOVE_ZERO),
    ("A negative quantity", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"quantity_milli":-1000}"#, "bad_quantity", NOT_ABOVE_ZERO),
    ("The smallest number as a quantity", r#"{"type":"set_quantity","line":0,"quantity_milli":-9223372036854775808}"#, "bad_quantity", NOT_ABOVE_ZERO),
    ("A line set to zero", r#"{"type":"set_quantity","line":0,"quantity_milli":0}"#, "bad_quantity", NOT_ABOVE_ZERO),
    ("More than a million pieces", r#"{"type":"set_quantity","line":0,"quantity_milli":1000000001}"#, "bad_quantity", QUANTITY_BOUND),
    ("The largest number as a quantity", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"quantity_milli":9223372036854775807}"#, "bad_quantity", QUANTITY_BOUND),
    ("A quantity of more digits than a number holds", r#"{"type":"set_quantity","line":0,"quantity_milli":92233720368547758080}"#, "bad_request", NOT_UNDERSTOOD),
    ("Half a thousandth", r#"{"type":"set_quantity","line":0,"quantity_milli":0.5}"#, "bad_request", NOT_UNDERSTOOD),
    ("A quantity as text", r#"{"type":"set_quantity","line":0,"quantity_milli":"1000"}"#, "bad_request", NOT_UNDERSTOOD),
    ("A line that is not there", r#"{"type":"set_quantity","line":7,"quantity_milli":1000}"#, "no_such_line", NO_SUCH_LINE),
    ("Removing a line twice", r#"{"type":"remove_line","line":1}"#, "no_such_line", NO_SUCH_LINE),
    ("A cashier's own price", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"unit_price":1}"#, "forbidden", FORBIDDEN),
    ("A cashier's own name for a product", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"name":"Gift"}"#, "forbidden", FORBIDDEN),
    ("Tender below the total", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":1274}"#, "tender_short", "0.01 GBP is missing: take more, or take something out of the cart"),
    ("No tender", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":0}"#, "tender_short", "12.75 GBP is missing: take more, or take something out of the cart"),
    ("A negative tender", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":-1}"#, "bad_amount", AMOUNT_BOUND),
    ("The smallest number as tender", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":-9223372036854775808}"#, "bad_amount", AMOUNT_BOUND),
    ("A tender beyond the bound", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":10000000001}"#, "bad_amount", AMOUNT_BOUND),
    ("A tender of 20 digits", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":99999999999999999999}"#, "bad_request", NOT_UNDERSTOOD),
    ("A tender with decimal places", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":12.75}"#, "bad_request", NOT_UNDERSTOOD),
    ("Paying for a cart that is no more", r#"{"type":"settle_cash","order":"{nobody}","tendered_minor":1275}"#, "stale_order", STALE),
    ("An unknown method of payment", r#"{"type":"settle_voucher","order":"{cart}","tendered_minor":1275}"#, "bad_request", NOT_UNDERSTOOD),
    ("A method of payment where there is no choice", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":1275,"method":"voucher"}"#, "bad_request", NOT_UNDERSTOOD),
    ("A refund of more than was sold", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":3000}],"reason":"broken"}"#, "nothing_to_refund", "2 of line 1 can still come back: look at the order again; it was already refunded at …"),
    ("A refund of the same line twice at once", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":1000},{"line":0,"quantity_milli":1000}],"reason":"broken"}"#, "nothing_to_refund", "2 of line 1 can still come back: look at the order again; it was already refunded at …"),
    ("A refund of nothing", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[],"reason":"broken"}"#, "nothing_to_refund", "nothing was chosen: choose what comes back"),
    ("A refund of zero pieces", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":0}],"reason":"broken"}"#, "bad_quantity", NOT_ABOVE_ZERO),
    ("A refund of a negative quantity", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":-1000}],"reason":"broken"}"#, "bad_quantity", NOT_ABOVE_ZERO),
    ("A refund of a line that was not sold", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":1,"quantity_milli":1000}],"reason":"broken"}"#, "no_such_line", NO_SUCH_LINE),
    ("A refund of a refund", r#"{"type":"refund_sale","refund":"{new}","original":"{refunded}","lines":[{"line":0,"quantity_milli":1000}],"reason":"broken"}"#, "no_such_order", UNKNOWN_SALE),
    ("A refund of a sale that nobody knows", r#"{"type":"refund_sale","refund":"{new}","original":"{nobody}","lines":[{"line":0,"quantity_milli":1000}],"reason":"broken"}"#, "no_such_order", UNKNOWN_SALE),
    ("A refund under the number of its sale", r#"{"type":"refund_sale","refund":"{sale}","original":"{sale}","lines":[{"line":0,"quantity_milli":1000}],"reason":"broken"}"#, "stale_order", STALE),
    ("A refund under the number of the cart", r#"{"type":"refund_sale","refund":"{cart}","original":"{sale}","lines":[{"line":0,"quantity_milli":1000}],"reason":"broken"}"#, "stale_order", STALE),
    ("A reason of 1,001 letters", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":1000}],"reason":"{1001x}"}"#, "bad_request", "a reason is too long: shorten it to at most 1000 bytes"),
    ("Control characters in a reason", r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":1000}],"reason":"\u001bp0"}"#, "bad_request", "a reason holds a control character: type it anew"),
    ("A refund without its sale, by a cashier", r#"{"type":"start_refund","reason":"gift"}"#, "forbidden", FORBIDDEN),
    ("A shift opened twice", r#"{"type":"open_shift","float_minor":100,"business_day":null}"#, "shift_open", "a shift is open already: close it first"),
    ("A shift closed over a full cart", r#"{"type":"close_shift","counted_minor":100}"#, "cart_not_empty", NOT_EMPTY),
    ("The drawer opened by a cashier", r#"{"type":"open_drawer","reason":"change"}"#, "forbidden", FORBIDDEN),
    ("A copy where there is no printer", r#"{"type":"reprint","order":"{sale}"}"#, "bad_request", "no printer is set up on this till: reprint at another one, or have one set up"),
    ("An answer about a receipt that nobody asked about", r#"{"type":"resolve_print","job":"{nobody}","came_out":true}"#, "no_such_print_job", "this receipt needs no answer any more: look at the screen again"),
    ("A PIN of letters", r#"{"type":"sign_in","staff":"{cashier}","pin":"12a4"}"#, "bad_request", PIN_SHAPE),
    ("A PIN of three digits", r#"{"type":"sign_in","staff":"{cashier}","pin":"123"}"#, "bad_request", PIN_SHAPE),
    ("The PIN of nobody", r#"{"type":"sign_in","staff":"{nobody}","pin":"1111"}"#, "wrong_pin", WRONG_PIN),
    ("An unknown command", r#"{"type":"sell_everything"}"#, "bad_request", NOT_UNDERSTOOD),
    ("A command with a field too many", r#"{"type":"clear_cart","sure":true}"#, "bad_request", NOT_UNDERSTOOD),
    ("A command with a field twice", r#"{"type":"remove_line","line":0,"line":1}"#, "bad_request", NOT_UNDERSTOOD),
    ("A command with a field too few", r#"{"type":"settle_cash","order":"{cart}"}"#, "bad_request", NOT_UNDERSTOOD),
    ("An empty request", "", "bad_request", NOT_UNDERSTOOD),
    ("A request that is no object", "[]", "bad_request", NOT_UNDERSTOOD),
    ("A request that breaks off", r#"{"type":"clear_cart""#, "bad_request", NOT_UNDERSTOOD),
    ("Two requests in one", r#"{"type":"sign_out"}{"type":"sign_out"}"#, "bad_request", NOT_UNDERSTOOD),
    ("JSON that is 10,000 deep", "{deep}", "bad_request", NOT_UNDERSTOOD),
    ("A request of more than 256 KiB", r#"{"type":"set_reference","reference":"{262144x}"}"#, "bad_request", "the request is too large: a till takes at most 262144 bytes"),
];

/// The same, with a manager signed in, who may more.
#[rustfmt::skip]
const MANAGER_ROWS: &[Row] = &[
    ("A price below zero", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"unit_price":-1}"#, "bad_amount", "a price is not below zero: to give money back, refund the sale"),
    ("A price with too many digits", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"unit_price":100000000001}"#, "bad_amount", "the price is beyond what a till can hold: check its sign and its digits"),
    ("A price of 20 digits", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"unit_price":99999999999999999999}"#, "bad_request", NOT_UNDERSTOOD),
    ("A line beyond the bound", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"quantity_milli":1000000000,"unit_price":100000000000}"#, "bad_amount", AMOUNT_BOUND),
    ("A total beyond the bound", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"quantity_milli":10000,"unit_price":100000000000}"#, "bad_amount", AMOUNT_BOUND),
    ("A name of 1,001 letters", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"name":"{1001x}"}"#, "bad_request", "a name is too long: shorten it to at most 1000 bytes"),
    ("Control characters in a name", r#"{"type":"add_line","item":{"by":"code","code":"22423"},"name":"Gift\u001bp0\u0019\u0019"}"#, "bad_request", "a name holds a control character: type it anew"),
    ("A refund begun over a full cart", r#"{"type":"start_refund","reason":"gift"}"#, "cart_not_empty", NOT_EMPTY),
    ("A reference of 1,001 letters", r#"{"type":"set_reference","reference":"{1001x}"}"#, "bad_request", "a reference is too long: shorten it to at most 1000 bytes"),
    ("A correction of no stock", r#"{"type":"adjust_stock","lines":[],"reason":"count","reference":null}"#, "bad_request", "a correction has 1 to 2000 lines: split it into several"),
    ("A correction of 2,001 lines", r#"{"type":"adjust_stock","lines":[{2001 lines}],"reason":"count","reference":null}"#, "bad_request", "a correction has 1 to 2000 lines: split it into several"),
    ("A correction by zero", r#"{"type":"adjust_stock","lines":[{"code":"22423","quantity_milli":0,"unit_price":0}],"reason":"count","reference":null}"#, "bad_quantity", QUANTITY_BOUND),
    ("A correction of an unknown code", r#"{"type":"adjust_stock","lines":[{"code":"22423","quantity_milli":1,"unit_price":0},{"code":"NONE","quantity_milli":1,"unit_price":0}],"reason":"count","reference":null}"#, "unknown_code", UNKNOWN_CODE),
    ("A count of nothing", r#"{"type":"count_stock","lines":[],"reason":"stocktaking"}"#, "bad_request", "a count has 1 to 2000 lines: split it into several"),
    ("A count of a product twice", r#"{"type":"count_stock","lines":[{"code":"22423","quantity_milli":1000},{"code":"22423","quantity_milli":2000}],"reason":"stocktaking"}"#, "bad_request", "a product is counted twice: add the two up"),
    ("A count below zero", r#"{"type":"count_stock","lines":[{"code":"22423","quantity_milli":-1}],"reason":"stocktaking"}"#, "bad_quantity", "a count is not below zero: count again"),
    ("A count of more than a million pieces", r#"{"type":"count_stock","lines":[{"code":"22423","quantity_milli":1000000001}],"reason":"stocktaking"}"#, "bad_quantity", QUANTITY_BOUND),
    ("A count of an unknown code", r#"{"type":"count_stock","lines":[{"code":"NONE","quantity_milli":1000}],"reason":"stocktaking"}"#, "unknown_code", UNKNOWN_CODE),
    ("A payment given back that was not taken twice", r#"{"type":"refund_second_payment","refund":"{new}","sale":"{sale}"}"#, "nothing_to_refund", "this sale was not paid twice, or that was given back already: look at it again"),
    ("A booking beyond the bound", r#"{"type":"adjust_account","description":"bad debt","quantity_milli":1000000000,"unit_price":-100000000000,"reference":null}"#, "bad_amount", AMOUNT_BOUND),
    ("Control characters in a drawer's reason", r#"{"type":"open_drawer","reason":"\u0010\u0014\u0001"}"#, "bad_request", "a reason holds a control character: type it anew"),
];

/// With nobody signed in.
#[rustfmt::skip]
const SIGNED_OUT_ROWS: &[Row] = &[
    ("A scan with nobody signed in", r#"{"type":"add_line","item":{"by":"code","code":"22423"}}"#, "not_signed_in", NOBODY),
    ("A payment with nobody signed in", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":1275}"#, "not_signed_in", NOBODY),
    ("A shift closed with nobody signed in", r#"{"type":"close_shift","counted_minor":100}"#, "not_signed_in", NOBODY),
];

/// With nothing in the cart.
#[rustfmt::skip]
const EMPTY_CART_ROWS: &[Row] = &[
    ("Paying for an empty cart", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":0}"#, "cart_empty", "the cart is empty: scan something first"),
];

/// With the shift closed and a cashier signed in.
#[rustfmt::skip]
const NO_SHIFT_ROWS: &[Row] = &[
    ("A payment without a shift", r#"{"type":"settle_cash","order":"{cart}","tendered_minor":1275}"#, "no_shift", NO_SHIFT),
    ("A shift closed twice", r#"{"type":"close_shift","counted_minor":100}"#, "no_shift", NO_SHIFT),
    ("A negative float", r#"{"type":"open_shift","float_minor":-1,"business_day":null}"#, "bad_amount", CASH),
    ("A float beyond the bound", r#"{"type":"open_shift","float_minor":10000000001,"business_day":null}"#, "bad_amount", CASH),
    ("A business day that is no day", r#"{"type":"open_shift","float_minor":1,"business_day":"2026-02-30"}"#, "bad_request", DAY),
    ("A business day before the calendar", r#"{"type":"open_shift","float_minor":1,"business_day":"-009999-01-01"}"#, "bad_request", DAY),
    ("A business day in another millennium", r#"{"type":"open_shift","float_minor":1,"business_day":"9999-12-31"}"#, "bad_request", DAY),
];

/// Questions.
#[rustfmt::skip]
const QUERY_ROWS: &[Row] = &[
    ("A search of 257 letters", r#"{"type":"search","text":"{257x}","limit":10}"#, "bad_request", SEARCH),
    ("A receipt number of 257 letters", r#"{"type":"orders","text":"{257x}","limit":10}"#, "bad_request", SEARCH),
    ("A negative number of results", r#"{"type":"search","text":"cake","limit":-1}"#, "bad_request", NOT_UNDERSTOOD),
    ("An order that nobody knows", r#"{"type":"order","order":"{nobody}"}"#, "no_such_order", "this till does not know that order: look it up again"),
    ("A question for a receipt of 257 letters", r#"{"type":"find_order","receipt":"{257x}"}"#, "bad_request", "this is no receipt number: look at the receipt again"),
    ("A receipt that is not on this till, while it has no link", r#"{"type":"find_order","receipt":"S01-T09a-000001"}"#, "not_kept", "this sale is not kept on this till any more, or has not arrived yet; the server has it, and cannot be reached now: try again once this till is connected, or refund without the sale"),
    ("An id that is none", r#"{"type":"order","order":"../../etc/passwd"}"#, "bad_request", NOT_UNDERSTOOD),
    ("An unknown question", r#"{"type":"everything"}"#, "bad_request", NOT_UNDERSTOOD),
];

const UNKNOWN_CODE: &str = "no product has this code: scan it again, or search by name";
const NOT_ABOVE_ZERO: &str = "a quantity is above zero: to take something out, remove its line";
const QUANTITY_BOUND: &str = "a quantity is not zero and at most 1000000: check how many digits it has";
const AMOUNT_BOUND: &str = "the amount is beyond what an order or a drawer can hold: check its sign and its digits";
const NO_SUCH_LINE: &str = "that line is not there any more: look at the screen again";
const STALE: &str = "another order is in the cart by now: look at the screen again";
const UNKNOWN_SALE: &str = "this till does not know that sale: look it up again, or refund without the sale";
const NOT_EMPTY: &str = "something is in the cart: settle it or empty it first";
const NOT_UNDERSTOOD: &str = "the till does not understand the request: …";
const FORBIDDEN: &str = "your role may not do this: ask a shift lead or a manager";
const NOBODY: &str = "nobody is signed in: sign in first";
const NO_SHIFT: &str = "no shift is open: open one first";
const CASH: &str = "cash in a drawer is not below zero and not that much: count it again";
const DAY: &str = "a business day is written YYYY-MM-DD and is between 2000 and 2199";
const SEARCH: &str = "the search is too long: shorten it to at most 256 bytes";
const PIN_SHAPE: &str = "a PIN is 4 to 12 digits: type it again";
const WRONG_PIN: &str = "that PIN is not right: try again";

/// Everything that a refused request must leave as it was.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    commit: u64,
    view: TillView,
    ledger: LedgerView,
    sale: OrderView,
}

/// A till in the middle of its day, and what the rows name.
struct Desk {
    open: Open,
    names: BTreeMap<&'static str, String>,
    sale: domain::ids::OrderId,
}

impl Desk {
    async fn in_the_middle_of_a_day() -> Self {
        let (mut shop, mut till) = Shop::stocked();
        let mut old = product(4, "OLD", "Old mug", 100);
        old.active = false;
        let run = shop.server.document(scopes::catalogue(), DocumentValue::Product(old));
        shop.feed(&mut till, vec![run]);
        till.sign_in(CASHIER);
        till.open();
        till.scan("22423", 3);
        let sale = till.pay().last_order.expect("a sale").order;
        let one = vec![RefundLine { line: 0, quantity_milli: 1_000 }];
        let refund = order(&till, sale).next_refund;
        till.must(Command::RefundSale { refund, original: sale, lines: one, reason: "chipped".to_owned() });
        let cart = till.scan("22423", 1).cart.order;
        let new = order(&till, sale).next_refund;
        till.take_events();
        let names = BTreeMap::from([
            ("{cart}", cart.to_string()),
            ("{sale}", sale.to_string()),
            ("{refunded}", refund.to_string()),
            ("{new}", new.to_string()),
            ("{cashier}", staff_id(CASHIER).to_string()),
            ("{nobody}", domain::ids::OrderId::new(9, [9; 10]).to_string()),
            ("{257x}", "x".repeat(257)),
            ("{1001x}", "x".repeat(1_001)),
            ("{4096x}", "4".repeat(4_096)),
            ("{262144x}", "x".repeat(BODY_BYTES_MAX)),
            ("{deep}", "[".repeat(10_000)),
            ("{2001 lines}", vec![r#"{"code":"22423","quantity_milli":1,"unit_price":0}"#; 2_001].join(",")),
        ]);
        Self { open: open_to(shop, till).await, names, sale }
    }

    fn filled(&self, template: &str) -> String {
        self.names.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    async fn ask(&self, address: &str, body: impl AsRef<[u8]>) -> Result<String, ApiError> {
        let (open, body) = (&self.open, body.as_ref());
        let head = format!(
            "{address} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\nHost: {}\r\nAuthorization: {}\r\n\r\n",
            body.len(),
            open.address,
            open.bearer(),
        );
        let (status, answer) = open.raw([head.as_bytes(), body].concat()).await;
        let (_, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
        match status {
            200 => Ok(text.to_owned()),
            _ => Err(serde_json::from_str(text).unwrap_or_else(|_| panic!("{status} without a code: {text}"))),
        }
    }

    async fn kept(&self) -> Kept {
        let sale = self.sale;
        let read = move |till: &mut Till| {
            let Ok(Answer::Ledger(ledger)) = till.query(Query::Ledger {}) else { panic!("a ledger") };
            Kept { commit: till.own_chain().commit, view: till.view().expect("a view"), ledger, sale: order(till, sale) }
        };
        let mut kept = self.open.node.with(read).await.expect("a till");
        // Minted anew for each answer.
        kept.sale.next_refund = sale;
        kept
    }

    /// The next customer's item, and out again.
    async fn next_scan(&self) {
        let line = self.kept().await.view.cart.lines.len();
        let view = self.open.node.command(scan("85123a", 1)).await.expect("the next scan");
        assert_eq!(view.cart.lines.len(), line + 1);
        self.open.node.command(Command::RemoveLine { line }).await.expect("the line is there");
    }

    async fn check(&self, address: &str, rows: &[Row], is_selling: bool) {
        if is_selling {
            self.next_scan().await;
        }
        let before = self.kept().await;
        for (wrong, template, code, sentence) in rows {
            let answer = self.ask(address, self.filled(template)).await;
            let error = answer.expect_err(wrong);
            let told = serde_json::to_value(error.code).expect("a code").as_str().map(str::to_owned);
            assert_eq!(told.as_deref(), Some(*code), "{wrong}: {error:?}");
            assert!(is_said(sentence, &error.message), "{wrong}: {:?} where {sentence:?} was due", error.message);
            if is_selling {
                self.next_scan().await;
            }
            assert_eq!(self.kept().await, before, "{wrong} left something behind");
        }
    }
}

/// Whether a sentence of the table is what was said; `…` stands for anything.
fn is_said(sentence: &str, said: &str) -> bool {
    match sentence.split_once('…') {
        Some((before, after)) => said.len() >= before.len() + after.len() && said.starts_with(before) && said.ends_with(after),
        None => said == sentence,
    }
}

fn order(till: &Till, order: domain::ids::OrderId) -> OrderView {
    let Ok(Answer::Order(found)) = till.query(Query::Order { order }) else { panic!("an order") };
    *found
}

async fn command(desk: &Desk, command: Command) -> TillView {
    desk.open.node.command(command.clone()).await.unwrap_or_else(|e| panic!("{command:?}: {e:?}"))
}

#[tokio::test]
async fn every_row_has_its_code_and_sentence_and_leaves_the_till_as_it_was() {
    let desk = Desk::in_the_middle_of_a_day().await;
    desk.check(COMMAND, CASHIER_ROWS, true).await;
    desk.check(QUERY, QUERY_ROWS, true).await;
    command(&desk, Command::SignIn { staff: staff_id(MANAGER), pin: "3333".to_owned() }).await;
    desk.check(COMMAND, MANAGER_ROWS, true).await;
    command(&desk, Command::SignOut {}).await;
    desk.check(COMMAND, SIGNED_OUT_ROWS, false).await;

    // The day goes on and adds up: 3 sold, 1 back, 1 sold.
    command(&desk, Command::SignIn { staff: staff_id(CASHIER), pin: "1111".to_owned() }).await;
    let cart = desk.kept().await.view.cart;
    assert_eq!(cart.total_minor, 1_275);
    let view = command(&desk, Command::SettleCash { order: cart.order, tendered_minor: 2_000 }).await;
    let shift = view.shift.expect("a shift");
    assert_eq!((shift.sales, shift.refunds, shift.expected_minor), (2, 1, 10_000 + 3 * 1_275));
    let desk = Desk { names: BTreeMap::from([("{cart}", view.cart.order.to_string())]), ..desk };
    desk.check(COMMAND, EMPTY_CART_ROWS, true).await;
    let view = command(&desk, Command::CloseShift { counted_minor: 10_000 + 3 * 1_275 }).await;
    assert_eq!(view.last_closed_shift.map(|s| s.difference_minor), Some(0));
    command(&desk, scan("22423", 1)).await;
    let cart = desk.kept().await.view.cart.order;
    let desk = Desk { names: BTreeMap::from([("{cart}", cart.to_string())]), ..desk };
    desk.check(COMMAND, NO_SHIFT_ROWS, true).await;

    // What is on the disk is the same after a restart, and after everything was computed anew.
    let Desk { open, .. } = desk;
    let before = open.node.with(|till| till.view().expect("a view")).await.expect("a till");
    let again =
        open.node.with(|till| till.rebuild().map(|_| till.view().expect("a view"))).await.expect("a till").expect("rebuilt");
    assert_eq!(again, before);
}

#[tokio::test]
async fn a_request_that_is_no_text_is_refused() {
    let desk = Desk::in_the_middle_of_a_day().await;
    let before = desk.kept().await;
    for bytes in [
        &b"{\"type\":\"set_reference\",\"reference\":\"\xff\xfe\"}"[..],
        b"\0\0\0",
        b"\xef\xbb\xbf{\"type\":\"sign_out\"}",
        b"\x1f\x8b\x08",
    ] {
        let error = desk.ask(COMMAND, bytes).await.expect_err("no request");
        assert_eq!(error.code, node::api::ApiErrorCode::BadRequest);
        assert!(is_said(NOT_UNDERSTOOD, &error.message), "{}", error.message);
    }
    assert_eq!(desk.kept().await, before);
}

#[tokio::test]
async fn without_its_key_a_page_gets_nothing_but_a_sentence() {
    let desk = Desk::in_the_middle_of_a_day().await;
    let before = desk.kept().await;
    let open = &desk.open;
    let lost_key = "this page has lost its key: open the address that the till printed when it started";
    let foreign = "this till answers its own screen only: open the address that it printed";
    let wrong = format!("Bearer {}", "0".repeat(64));
    let right = open.bearer();
    for (headers, sentence) in [
        (vec![], lost_key),
        (vec![("Authorization", wrong.as_str())], lost_key),
        (vec![("Authorization", right.as_str()), ("Origin", "http://evil.example")], foreign),
        (vec![("Authorization", right.as_str()), ("Host", "evil.example")], foreign),
    ] {
        let (status, answer) = open.ask(COMMAND, &headers, r#"{"type":"clear_cart"}"#).await;
        assert!(matches!(status, 401 | 403), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let error: ApiError = serde_json::from_str(body).expect("an error");
        assert_eq!((error.code, error.message.as_str()), (node::api::ApiErrorCode::NotAuthorised, sentence));
    }
    assert_eq!(desk.kept().await, before);
}

#[tokio::test]
async fn wrong_pins_and_the_sixth_try_say_what_to_do() {
    let desk = Desk::in_the_middle_of_a_day().await;
    let sign_in = |pin: &str| format!(r#"{{"type":"sign_in","staff":"{}","pin":"{pin}"}}"#, staff_id(CASHIER));
    for _ in 0..5 {
        let error = desk.ask(COMMAND, sign_in("9999")).await.expect_err("wrong");
        assert_eq!((error.code, error.message.as_str()), (node::api::ApiErrorCode::WrongPin, WRONG_PIN));
    }
    let error = desk.ask(COMMAND, sign_in("1111")).await.expect_err("even the right one waits");
    assert_eq!(error.code, node::api::ApiErrorCode::PinLocked);
    assert_eq!((error.message.as_str(), error.retry_after_ms), ("too many wrong PINs: wait before the next try", Some(30_000)));
    assert_eq!(desk.kept().await.view.cart.total_minor, 1_275, "the cart waits, and so does whoever is signed in");
    desk.next_scan().await;
}

#[tokio::test]
async fn a_tap_too_many_pays_once_and_refunds_once() {
    let desk = Desk::in_the_middle_of_a_day().await;
    let pay = desk.filled(r#"{"type":"settle_cash","order":"{cart}","tendered_minor":2000}"#);
    let (first, second) = tokio::join!(desk.ask(COMMAND, &pay), desk.ask(COMMAND, &pay));
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    let one = r#"{"type":"refund_sale","refund":"{new}","original":"{sale}","lines":[{"line":0,"quantity_milli":1000}],"reason":"broken"}"#;
    for _ in 0..3 {
        desk.ask(COMMAND, desk.filled(one)).await.expect("the same refund");
    }
    let Kept { view, ledger, sale, .. } = desk.kept().await;
    let shift = view.shift.expect("a shift");
    assert_eq!((shift.sales, shift.refunds, shift.expected_minor), (2, 2, 10_000 + 2 * 1_275));
    assert_eq!((ledger.orders, sale.lines[0].refundable_milli), (4, 1_000));
}

#[tokio::test]
async fn what_is_odd_but_right_is_taken_as_it_is() {
    let desk = Desk::in_the_middle_of_a_day().await;
    command(&desk, Command::SignIn { staff: staff_id(MANAGER), pin: "3333".to_owned() }).await;
    let names = ["👩‍🍳 Gâteau", "عربي", "\u{202e}tfig", "<script>alert(1)</script>", "=1+1", &"ſ".repeat(500)];
    for name in names {
        let body = serde_json::json!({"type": "add_line", "item": {"by": "code", "code": "22423"}, "name": name, "unit_price": 0, "separate": true});
        desk.ask(COMMAND, body.to_string()).await.expect(name);
    }
    let cart = desk.kept().await.view.cart;
    assert_eq!(cart.lines.iter().skip(1).map(|l| l.name.as_str()).collect::<Vec<_>>(), names);
    command(&desk, Command::SettleCash { order: cart.order, tendered_minor: 10_000_000_000 }).await;
    for query in
        [r#"{"type":"search","text":"👩‍🍳 \" OR * NEAR(","limit":4294967295}"#, r#"{"type":"orders","text":"%_'\u0000","limit":0}"#]
    {
        assert_eq!(desk.ask(QUERY, query).await, Ok("[]".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_till_without_its_settings_says_so() {
    let (mut shop, mut till) = Shop::new();
    // Staff have arrived, the store itself has not.
    let staff = shop.server.document(scopes::staff(store_id()), staff(CASHIER, "Cem", domain::staff::Role::Cashier, "1111"));
    shop.feed(&mut till, vec![staff]);
    till.sign_in(CASHIER);
    let error = till.ask(scan("22423", 1)).expect_err("no settings");
    let sentence = "the settings of this store have not arrived yet: connect the till once";
    assert_eq!((error.code, error.message.as_str()), (node::api::ApiErrorCode::NotReady, sentence));
}

#[tokio::test]
async fn a_flood_of_messages_holds_nobody_up() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let desk = Desk::in_the_middle_of_a_day().await;
    let url = format!("ws://{}/api/events", desk.open.address);
    let listen = async || {
        let mut request = url.as_str().into_client_request().expect("a request");
        let protocols = format!("evertill, {}", desk.open.token);
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("a header"));
        tokio_tungstenite::connect_async(request).await.expect("a listener").0
    };
    let (mut flooding, mut honest) = (listen().await, listen().await);
    for n in 0..5_000 {
        flooding.send(Message::text(format!("noise {n}"))).await.expect("taken and thrown away");
    }
    desk.next_scan().await;
    let told = honest.next().await.expect("an event").expect("an event");
    assert_eq!(told.into_text().expect("text").as_str(), r#"{"type":"till_changed"}"#);
    // A message beyond the bound ends that connection and no other.
    let _ = flooding.send(Message::binary(vec![0; 1_025])).await;
    let ended = async {
        while let Some(Ok(message)) = flooding.next().await {
            assert!(message.is_text() || message.is_close(), "{message:?}");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("the connection ends");
    desk.next_scan().await;
    assert!(honest.next().await.expect("still there").is_ok());
}

#[test]
fn rows_are_in_the_page() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bad-input.md")).expect("the page");
    let all = [CASHIER_ROWS, MANAGER_ROWS, SIGNED_OUT_ROWS, EMPTY_CART_ROWS, NO_SHIFT_ROWS, QUERY_ROWS];
    for (wrong, _, code, sentence) in all.into_iter().flatten() {
        let line = format!("| {wrong} | `{code}` | {sentence} |");
        assert!(page.contains(&line), "docs/bad-input.md has no line that begins: {line}");
    }
}

#[test]
fn an_order_beyond_a_record_is_refused_and_the_cart_stays() {
    let (_shop, mut till) = Shop::stocked();
    till.sign_in(MANAGER);
    till.open();
    let line = |n: usize| Command::AddLine {
        item: node::api::Item::Code { code: "22423".to_owned() },
        quantity_milli: None,
        unit_price: None,
        name: Some(format!("{n:0>1000}")),
        separate: Some(true),
    };
    for n in 0..280 {
        till.must(line(n));
    }
    let before = till.view().expect("a view");
    let (order, tendered_minor) = (before.cart.order, before.cart.total_minor);
    let error = till.ask(Command::SettleCash { order, tendered_minor }).expect_err("too much");
    assert_eq!(
        (error.code, error.message.as_str()),
        (node::api::ApiErrorCode::CartFull, "this is too much for one order: split it in two")
    );
    assert_eq!(till.view().expect("a view"), before);
    for _ in 0..140 {
        till.must(Command::RemoveLine { line: 0 });
    }
    let settled = till.pay().last_order.expect("half of it");
    assert_eq!((settled.receipt.as_str(), settled.total_minor), ("S01-T03a-000001", 140 * 1_275));
}

/// A name with commands to a printer in it, as an older program or a careless import may have let in, opens no drawer.
#[test]
fn names_print_no_commands() {
    let (mut shop, mut till) = Shop::stocked();
    drop(till);
    shop.options.printing = true;
    till = shop.reopen();
    let evil = product(5, "EVIL", "Mug\u{1b}p0\u{19}\u{19}\u{10}\u{14}\u{1}\u{0}\u{1}\u{9b}\u{1d}V0 👩‍🍳 \u{202e}gum", 100);
    let run = shop.server.document(scopes::catalogue(), DocumentValue::Product(evil));
    shop.feed(&mut till, vec![run]);
    till.sign_in(CASHIER);
    till.open();
    till.scan("EVIL", 1);
    till.pay();
    let work = till.next_print().expect("the queue").expect("a receipt");
    for profile in ["epson-80", "generic-58"] {
        let profile = hardware::profile::find(profile).expect("a profile");
        let id = hardware::JobId::from_bytes(*work.id.as_bytes());
        let job = hardware::encoder::encode(&work.ticket, profile, id).expect("it prints");
        let printed = hardware::vprinter::render(&job.bytes, hardware::vprinter::PaperWidth::Mm80);
        assert_eq!((printed.pulses.len(), printed.sheets.len()), (0, 1), "a name opened the drawer or cut the paper");
        assert_eq!(printed.violations().count(), 0);
    }
}
