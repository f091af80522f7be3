//! What of an open order still asks for somebody, and what of a sale is to be given back.

use domain::cart::CartLine;
use domain::ids::{LineId, OpenOrderId, OrderId, ProductId, ShiftId, StaffId, StoreId};
use domain::money::{Currency, Quantity, UnitPrice};
use domain::open_order::{Goods, OpenOrder, OpenOrderException, OpenOrderLine, OpenOrderPayment, Stamp};
use domain::record::{Order, OrderLine};
use domain::tax::TaxMode;

fn uuid(n: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([n; 16])
}

fn goods(of: &[(u8, i64)]) -> Goods {
    of.iter().map(|(product, pieces)| (ProductId(uuid(*product)), Quantity(pieces * 1_000))).collect()
}

/// An order of so many pieces of the products 1, 2 and so on.
fn order(pieces: &[i64]) -> OpenOrder {
    let line = |(n, pieces): (u8, &i64)| {
        let goods = CartLine {
            product: ProductId(uuid(n)),
            code: String::new(),
            name: String::new(),
            quantity: Quantity(pieces * 1_000),
            unit_price: UnitPrice(100),
            tax_rate_bp: 0,
            open_line: None,
        };
        OpenOrderLine::new(LineId(uuid(n)), &goods)
    };
    OpenOrder {
        id: OpenOrderId(uuid(9)),
        store: StoreId(uuid(9)),
        label: String::new(),
        note: String::new(),
        tax_mode: Some(TaxMode::Inclusive),
        reference: None,
        lines: (1..).zip(pieces).map(line).collect(),
        payments: Vec::new(),
        cancelled: None,
    }
}

fn stamp() -> Stamp {
    Stamp { by: StaffId(uuid(1)), at_unix_ms: 1 }
}

fn paid(mut order: OpenOrder, sale: u8, covered: &[(u8, i64)]) -> OpenOrder {
    let covered = covered.iter().map(|(line, pieces)| (LineId(uuid(*line)), Quantity(pieces * 1_000))).collect();
    order.payments.push(OpenOrderPayment { sale: OrderId(uuid(sale)), covered, stamp: stamp() });
    order
}

/// A sale of one line for each of some products.
fn sale(id: u8, pieces: &[(u8, i64)]) -> Order {
    let line = |(product, pieces): &(u8, i64)| OrderLine {
        product: ProductId(uuid(*product)),
        name: String::new(),
        quantity: Quantity(pieces * 1_000),
        unit_price: UnitPrice(100),
        tax: 0,
        amount_minor: *pieces,
        original_line: None,
    };
    Order {
        id: OrderId(uuid(id)),
        receipt_number: 1,
        shift: ShiftId(uuid(1)),
        lines: pieces.iter().map(line).collect(),
        taxes: Vec::new(),
        payments: Vec::new(),
        total_minor: 0,
        currency: Currency::new("GBP").expect("GBP"),
        tax_mode: TaxMode::Inclusive,
        original: None,
        reason: None,
        reference: None,
    }
}

fn kinds(of: &[OpenOrderException]) -> Vec<&'static str> {
    let kind = |exception: &OpenOrderException| match exception {
        OpenOrderException::PaidTwice { .. } => "paid twice",
        OpenOrderException::PaidAndCancelled { .. } => "paid and cancelled",
        OpenOrderException::PaidAndTakenOut { .. } => "paid and taken out",
        OpenOrderException::UnpaidRemainder { .. } => "unpaid",
        OpenOrderException::TakenOutTwice { .. } => "taken out twice",
    };
    of.iter().map(kind).collect()
}

fn check(order: &OpenOrder, returned: &[(u8, i64)], is_rest_done: bool, expected: &[&str]) {
    assert_eq!(kinds(&order.unsettled(&goods(returned), is_rest_done)), expected, "{returned:?}");
}

#[test]
fn as_much_as_was_paid_twice_settles_it_and_no_less() {
    let twice = paid(paid(order(&[2, 3]), 50, &[(1, 2), (2, 3)]), 51, &[(1, 2), (2, 3)]);
    check(&twice, &[], false, &["paid twice"]);
    check(&twice, &[(1, 2), (2, 2)], false, &["paid twice"]);
    check(&twice, &[(1, 2), (2, 3)], false, &[]);
    check(&twice, &[(1, 4), (2, 6), (7, 1)], false, &[]);
}

#[test]
fn what_came_back_settles_one_thing_and_not_two() {
    // The first line paid twice; two pieces of the same product on another line paid and taken out.
    let mut both = paid(paid(order(&[2, 2]), 50, &[(1, 2), (2, 2)]), 51, &[(1, 2)]);
    both.lines[1].goods.product = both.lines[0].goods.product;
    both.lines[1].voided = Some(stamp());
    check(&both, &[(1, 2)], false, &["paid and taken out"]);
    check(&both, &[(1, 4)], false, &[]);
    let mut given_up = paid(order(&[2]), 50, &[(1, 2)]);
    given_up.cancelled = Some(stamp());
    check(&given_up, &[(1, 1)], false, &["paid and cancelled"]);
    check(&given_up, &[(1, 2)], false, &[]);
}

#[test]
fn what_is_left_unpaid_is_settled_by_its_own_order_alone() {
    let unpaid = paid(order(&[2, 1]), 50, &[(1, 2)]);
    check(&unpaid, &[(2, 1)], false, &["unpaid"]);
    check(&unpaid, &[], true, &[]);
    let mut below = order(&[-1]);
    check(&below, &[(1, 1)], true, &["taken out twice"]);
    below.lines[0].goods.quantity = Quantity(0);
    check(&below, &[], false, &[]);
}

#[test]
fn what_goes_back_is_what_both_sold_and_has_not_come_back() {
    // The second sale sold a line more, once.
    let twice = paid(paid(order(&[2, 3, 1]), 50, &[(1, 2), (2, 3)]), 51, &[(1, 2), (2, 3), (3, 1)]);
    let (first, second) = (sale(50, &[(1, 2), (2, 3)]), sale(51, &[(3, 1), (1, 2), (2, 3)]));
    let back = |sale: &Order, refunded: &[i64], returned: &[(u8, i64)]| -> Vec<(usize, i64)> {
        let refunded: Vec<Quantity> = refunded.iter().map(|pieces| Quantity(pieces * 1_000)).collect();
        twice.to_give_back(sale, &refunded, &goods(returned)).into_iter().map(|(line, q)| (line, q.0 / 1_000)).collect()
    };
    assert_eq!(back(&first, &[], &[]), [(0, 2), (1, 3)]);
    assert_eq!(back(&second, &[], &[]), [(1, 2), (2, 3)], "and not what was paid once");
    assert_eq!(back(&second, &[0, 2, 1], &[(1, 2), (2, 1)]), [(2, 2)]);
    assert_eq!(back(&first, &[], &[(1, 2), (2, 3)]), []);
    assert_eq!(back(&sale(52, &[(1, 2)]), &[], &[]), [], "a sale of something else");
}
