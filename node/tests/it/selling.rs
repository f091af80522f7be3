//! A day at the counter.

use node::api::{ApiErrorCode as Code, Command, Durability, Query, RefundLine};
use node::till::Answer;

use crate::shop::*;

#[test]
fn a_day_of_selling_from_sign_in_to_the_closed_shift() {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    let view = till.open();
    assert_eq!(view.shift.as_ref().map(|s| s.expected_minor), Some(10_000));
    till.scan("85123A", 1);
    let view = till.scan("85123A", 5);
    assert_eq!((view.cart.lines.len(), view.cart.total_minor, view.cart.touched), (1, 1_530, Some(0)));
    let view = till.scan("22423", 2);
    assert_eq!(view.cart.total_minor, 1_530 + 2_550);
    let order = view.cart.order;
    let view = till.must(Command::SettleCash { order, tendered_minor: 5_000 });
    let settled = view.last_order.expect("the settled order");
    assert_eq!((settled.receipt.as_str(), settled.total_minor, settled.change_minor), ("S01-T03a-000001", 4_080, 920));
    assert_eq!(settled.durability, Durability::Device);
    assert!(view.cart.lines.is_empty() && view.cart.order != order);

    shop.env.pass_ms(1_000);
    till.scan("22423", 1);
    let view = till.pay();
    assert_eq!(view.last_order.as_ref().map(|o| o.receipt.as_str()), Some("S01-T03a-000002"));

    let Answer::Order(found) = till.query(Query::Order { order }).expect("an order") else { panic!("an order") };
    let lines = vec![RefundLine { line: 1, quantity_milli: 1_000 }];
    let refund = Command::RefundSale { refund: found.next_refund, original: order, lines, reason: "chipped".to_owned() };
    let view = till.must(refund.clone());
    let refunded = view.last_order.expect("the refund");
    assert_eq!((refunded.total_minor, refunded.is_refund), (-1_275, true));
    assert_eq!(
        till.must(refund).last_order.map(|o| o.receipt),
        Some("S01-T03a-000003".to_owned()),
        "asking again changes nothing"
    );

    let view = till.must(Command::CloseShift { counted_minor: 14_000 });
    let closed = view.last_closed_shift.expect("a closed shift");
    assert_eq!(closed.shift.expected_minor, 10_000 + 4_080 + 1_275 - 1_275);
    assert_eq!((closed.difference_minor, closed.shift.sales, closed.shift.refunds), (-80, 2, 1));
    assert_eq!(till.refused(Command::SettleCash { order: view.cart.order, tendered_minor: 0 }), Code::NoShift);

    let Answer::Ledger(ledger) = till.query(Query::Ledger {}).expect("a ledger") else { panic!("a ledger") };
    assert_eq!((ledger.orders, ledger.devices.len()), (3, 1));
    assert_eq!((ledger.devices[0].device.as_str(), ledger.devices[0].rounded_minor.as_str()), ("Till 3", "4080"));
}

/// A till with an open shift and someone signed in.
fn open_till(staff: u8) -> (Shop, node::till::Till) {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(staff);
    till.open();
    (shop, till)
}

#[test]
fn codes_that_differ_in_case_only_are_two_products() {
    let (_shop, mut till) = open_till(CASHIER);
    assert_eq!(till.scan("85123a", 1).cart.lines[0].name, "Black heart holder");
    assert_eq!(till.scan("85123A", 1).cart.lines[1].name, "White heart holder");
    assert_eq!(till.refused(scan("99999", 1)), Code::UnknownCode);
    assert_eq!(till.refused(scan(&"9".repeat(65), 1)), Code::UnknownCode);
    assert_eq!(till.scan("22423", 1).cart.lines.len(), 3);
}

#[test]
fn a_code_typed_in_another_case_is_found_when_only_one_product_has_it() {
    let (mut shop, mut till) = open_till(CASHIER);
    let mut post = product(4, "POST", "Postage", 1_800);
    post.barcodes = vec!["4006381333931".to_owned()];
    let run = shop.server.document(sync_proto::scopes::catalogue(), sync_proto::documents::DocumentValue::Product(post));
    shop.feed(&mut till, vec![run]);
    assert_eq!(till.scan("post", 1).cart.lines[0].code, "POST");
    assert_eq!(till.scan("4006381333931", 1).cart.lines[0].quantity_milli, 2_000, "the barcode is the same product");
}

#[test]
fn a_product_that_is_not_on_sale_is_refused_and_not_found() {
    let (mut shop, mut till) = open_till(CASHIER);
    let mut gone = product(3, "22423", "Cake stand", 1_275);
    gone.active = false;
    let run = shop.server.document(sync_proto::scopes::catalogue(), sync_proto::documents::DocumentValue::Product(gone));
    shop.feed(&mut till, vec![run]);
    assert_eq!(till.refused(scan("22423", 1)), Code::InactiveProduct);
    let Answer::Products(found) = till.query(Query::Search { text: "cake".to_owned(), limit: 10 }).expect("products") else {
        panic!("products")
    };
    assert_eq!(found, []);
}

#[test]
fn search_finds_words_and_codes_and_puts_what_sells_first() {
    let (_shop, mut till) = open_till(CASHIER);
    till.scan("85123a", 1);
    till.pay();
    let names = |text: &str| {
        let Answer::Products(found) = till.query(Query::Search { text: text.to_owned(), limit: 10 }).expect("products") else {
            panic!("products")
        };
        found.into_iter().map(|p| (p.name, p.stock_milli)).collect::<Vec<_>>()
    };
    let (black, white) = (("Black heart holder".to_owned(), -1_000), ("White heart holder".to_owned(), 0));
    assert_eq!(names("hea hol"), [black.clone(), white.clone()]);
    assert_eq!(names("8512"), [black, white]);
    assert_eq!(names("\" OR * -"), []);
    assert_eq!(names(""), []);
    assert_eq!(names("cake st").len(), 1);
}

#[test]
fn what_the_cart_refuses() {
    let (_shop, mut till) = open_till(CASHIER);
    let order = till.view().expect("a view").cart.order;
    assert_eq!(till.refused(Command::SettleCash { order, tendered_minor: 0 }), Code::CartEmpty);
    till.scan("22423", 1);
    assert_eq!(till.refused(Command::SetQuantity { line: 0, quantity_milli: 0 }), Code::BadQuantity);
    assert_eq!(till.refused(Command::SetQuantity { line: 0, quantity_milli: i64::MIN }), Code::BadQuantity);
    assert_eq!(till.refused(Command::SetQuantity { line: 1, quantity_milli: 1_000 }), Code::NoSuchLine);
    assert_eq!(till.refused(Command::RemoveLine { line: 7 }), Code::NoSuchLine);
    assert_eq!(till.refused(Command::SettleCash { order, tendered_minor: 1_274 }), Code::TenderShort);
    assert_eq!(till.refused(Command::SettleCash { order, tendered_minor: i64::MAX }), Code::BadAmount);
    let another = domain::ids::OrderId::new(9, [9; 10]);
    assert_eq!(till.refused(Command::SettleCash { order: another, tendered_minor: 1_275 }), Code::StaleOrder);
    assert_eq!(till.refused(Command::CloseShift { counted_minor: 0 }), Code::CartNotEmpty);
    assert_eq!(till.refused(Command::OpenShift { float_minor: 0, business_day: None }), Code::ShiftOpen);
    let view = till.must(Command::SetQuantity { line: 0, quantity_milli: 2_500 });
    assert_eq!((view.cart.total_minor, view.cart.lines[0].amount_minor), (3_188, 3_188), "half a penny rounds away from zero");
    assert!(till.must(Command::ClearCart {}).cart.lines.is_empty());
}

#[test]
fn settling_twice_pays_once() {
    let (_shop, mut till) = open_till(CASHIER);
    let view = till.scan("22423", 1);
    let settle = Command::SettleCash { order: view.cart.order, tendered_minor: 2_000 };
    let first = till.must(settle.clone());
    let again = till.must(settle.clone());
    assert_eq!(again.last_order, first.last_order);
    assert_eq!(again.shift, first.shift);
    till.scan("22423", 1);
    let later = till.must(settle);
    assert_eq!((later.cart.lines.len(), later.last_order), (1, None), "the next customer's cart is not touched");
}

#[test]
fn power_that_goes_between_the_sale_and_the_empty_cart_sells_once() {
    let (shop, mut till) = open_till(CASHIER);
    let view = till.scan("22423", 2);
    let order = view.cart.order;
    let draft: Vec<_> = ["draft.db", "draft.db-wal"]
        .map(|name| shop.folder(&format!("replica/{name}")))
        .into_iter()
        .map(|path| (std::fs::read(&path).expect("the draft"), path))
        .collect();
    let settle = Command::SettleCash { order, tendered_minor: 3_000 };
    let first = till.must(settle.clone()).last_order;
    drop(till);
    for (bytes, path) in draft {
        std::fs::write(path, bytes).expect("the draft of before");
    }
    let mut till = shop.reopen();
    let view = till.view().expect("a view");
    assert!(view.cart.lines.is_empty() && view.cart.order != order);
    assert_eq!(view.last_order, first, "the cashier sees that it was paid, and the change");
    till.sign_in(CASHIER);
    let again = till.must(settle);
    assert_eq!((again.last_order, again.shift.map(|s| s.sales)), (first, Some(1)));
}

#[test]
fn a_restart_gives_the_cart_back_line_by_line() {
    let (shop, mut till) = open_till(LEAD);
    till.scan("85123A", 1);
    till.scan("22423", 3);
    till.scan("85123a", 1);
    till.must(Command::SetReference { reference: "536365".to_owned() });
    let before = till.must(Command::RemoveLine { line: 1 });
    drop(till);
    let mut till = shop.reopen();
    let after = till.view().expect("a view");
    assert_ne!(after.cart.order, before.cart.order, "a copy of the till would settle the same id");
    assert_eq!(after.cart, node::api::CartView { touched: None, order: after.cart.order, ..before.cart });
    assert_eq!((after.signed_in, after.shift.map(|s| s.id)), (None, before.shift.map(|s| s.id)), "nobody is signed in");
    assert_eq!(till.refused(scan("22423", 1)), Code::NotSignedIn);
    till.sign_in(LEAD);
    assert_eq!(till.pay().last_order.map(|o| o.total_minor), Some(555));
}

#[test]
fn refunds_take_no_more_than_what_is_left() {
    let (shop, mut till) = open_till(CASHIER);
    till.scan("22423", 3);
    let sale = till.pay().last_order.expect("a sale");
    let look = |till: &node::till::Till| {
        let Answer::Order(order) = till.query(Query::Order { order: sale.order }).expect("the sale") else { panic!("an order") };
        *order
    };
    let refund = |till: &node::till::Till, milli: i64| Command::RefundSale {
        refund: look(till).next_refund,
        original: sale.order,
        lines: vec![RefundLine { line: 0, quantity_milli: milli }],
        reason: "broken".to_owned(),
    };
    let two = refund(&till, 2_000);
    assert_eq!(till.must(two).last_order.map(|o| o.total_minor), Some(-2_550));
    assert_eq!(look(&till).lines[0].refundable_milli, 1_000);
    let two_more = refund(&till, 2_000);
    assert_eq!(till.refused(two_more), Code::NothingToRefund);
    let nothing = refund(&till, 0);
    assert_eq!(till.refused(nothing), Code::BadQuantity);
    drop(till);
    let mut till = shop.reopen();
    till.sign_in(CASHIER);
    let last = refund(&till, 1_000);
    let refunded = till.must(last).last_order.expect("the refund");
    assert_eq!(look(&till).lines[0].refundable_milli, 0);
    let of_a_refund = Command::RefundSale {
        refund: look(&till).next_refund,
        original: refunded.order,
        lines: vec![RefundLine { line: 0, quantity_milli: 1_000 }],
        reason: String::new(),
    };
    assert_eq!(till.refused(of_a_refund), Code::NoSuchOrder);
}

#[test]
fn a_long_cart_stays_exact() {
    let (shop, mut till) = open_till(LEAD);
    for n in 0..300_i64 {
        till.must(Command::AddLine {
            item: node::api::Item::Code { code: "22423".to_owned() },
            quantity_milli: Some(1_000 + n),
            unit_price: Some(100 + n),
            name: None,
            separate: Some(true),
        });
    }
    let expected: i64 =
        (0..300).map(|n| domain::money::div_round_half_away(i128::from((1_000 + n) * (100 + n)), 100_000) as i64).sum();
    drop(till);
    let mut till = shop.reopen();
    let cart = till.view().expect("a view").cart;
    assert_eq!((cart.lines.len(), cart.total_minor), (300, expected));
    till.sign_in(LEAD);
    let settled = till.pay().last_order.expect("the sale");
    assert_eq!(settled.total_minor, expected);
}

#[test]
fn the_list_of_orders_finds_receipt_numbers() {
    let (shop, mut till) = open_till(CASHIER);
    for _ in 0..12 {
        shop.env.pass_ms(60_000);
        till.scan("22423", 1);
        till.pay();
    }
    let list = |text: &str, limit| {
        let Answer::Orders(found) = till.query(Query::Orders { text: text.to_owned(), limit }).expect("orders") else {
            panic!("orders")
        };
        found.into_iter().map(|o| o.receipt).collect::<Vec<_>>()
    };
    assert_eq!(list("", 2), ["S01-T03a-000012", "S01-T03a-000011"]);
    assert_eq!(list("t03a-00001", 99).len(), 3);
    assert_eq!(list("%", 99).len(), 0);
}
