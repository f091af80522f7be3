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
    assert_eq!(till.must(refund).last_order.map(|o| o.receipt), Some("S01-T03a-000003".to_owned()), "asking again changes nothing");

    let view = till.must(Command::CloseShift { counted_minor: 14_000 });
    let closed = view.last_closed_shift.expect("a closed shift");
    assert_eq!(closed.shift.expected_minor, 10_000 + 4_080 + 1_275 - 1_275);
    assert_eq!((closed.difference_minor, closed.shift.sales, closed.shift.refunds), (-80, 2, 1));
    assert_eq!(till.refused(Command::SettleCash { order: view.cart.order, tendered_minor: 0 }), Code::NoShift);

    let Answer::Ledger(ledger) = till.query(Query::Ledger {}).expect("a ledger") else { panic!("a ledger") };
    assert_eq!((ledger.orders, ledger.devices.len()), (3, 1));
    assert_eq!((ledger.devices[0].device.as_str(), ledger.devices[0].rounded_minor.as_str()), ("Till 3", "4080"));
}
