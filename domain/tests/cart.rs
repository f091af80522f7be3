//! Money is conserved: whatever goes through a cart adds up, line by line and to the last penny.

use domain::cart::{Cart, CartError, CartKind, RefundError, Terms, refund_of};
use domain::document::Product;
use domain::fold::{self, LineSums};
use domain::ids::{OrderId, ProductId, ShiftId};
use domain::money::{Currency, MoneyError, Quantity, UnitPrice};
use domain::record::{LINES_MAX, Record};
use domain::tax::TaxMode;
use proptest::prelude::*;

fn terms(tax_mode: TaxMode) -> Terms {
    Terms { receipt_number: 1, shift: ShiftId(uuid::Uuid::nil()), currency: Currency::new("GBP").expect("GBP"), tax_mode }
}

fn product(n: u8, price: i64, tax_rate_bp: u32) -> Product {
    Product {
        id: ProductId(uuid::Uuid::from_bytes([n; 16])),
        code: format!("P{n}"),
        name: format!("Product {n}"),
        barcodes: vec![],
        price: UnitPrice(price),
        tax_rate_bp,
        category: String::new(),
        tax_class: None,
        picture: None,
        active: true,
    }
}

fn cart(lines: &[(u8, i64, i64, u32)]) -> Cart {
    let mut cart = Cart::new(OrderId(uuid::Uuid::nil()));
    for &(n, price, quantity_milli, rate) in lines {
        let product = product(n, price, rate);
        cart.add(&product, &product.name, Quantity(quantity_milli), product.price, false).expect("added");
    }
    cart
}

#[test]
fn the_same_product_at_the_same_price_is_one_line_unless_it_is_to_stay_apart() {
    let mut cart = cart(&[(1, 100, 1000, 0), (1, 100, 2000, 0), (1, 101, 1000, 0), (2, 100, 1000, 0)]);
    assert_eq!(cart.lines.iter().map(|l| l.quantity.0).collect::<Vec<_>>(), [3000, 1000, 1000]);
    let p = product(1, 100, 0);
    cart.add(&p, &p.name, Quantity::ONE, p.price, true).expect("added");
    assert_eq!(cart.lines.len(), 4);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut cart = cart(&[(1, 100, 1000, 0)]);
    let before = cart.clone();
    let p = product(1, 100, 0);
    for (quantity, expected) in [
        (0, CartError::Quantity),
        (-1, CartError::Quantity),
        (1_000_000_001, CartError::Money(MoneyError::Quantity)),
        (i64::MAX, CartError::Money(MoneyError::Quantity)),
    ] {
        assert_eq!(cart.add(&p, &p.name, Quantity(quantity), p.price, false), Err(expected), "{quantity}");
        assert_eq!(cart.set_quantity(0, Quantity(quantity)), Err(expected), "{quantity}");
    }
    assert_eq!(cart.set_quantity(1, Quantity::ONE), Err(CartError::NoSuchLine));
    assert_eq!(cart.remove(1), Err(CartError::NoSuchLine));
    let dear = UnitPrice(100_000_000_000);
    assert_eq!(cart.add(&p, &p.name, Quantity(1_000_000_000), dear, false), Err(CartError::Money(MoneyError::Amount)));
    assert_eq!(cart, before);
}

#[test]
fn a_full_cart_says_so() {
    let mut cart = Cart::new(OrderId(uuid::Uuid::nil()));
    let p = product(1, 100, 0);
    for _ in 0..LINES_MAX {
        cart.add(&p, &p.name, Quantity::ONE, p.price, true).expect("added");
    }
    let full = cart.add(&p, &p.name, Quantity::ONE, p.price, true).expect_err("full");
    let sentence = "the cart has 2000 lines, the most an order can hold: settle it and go on with another one";
    assert_eq!((full, full.to_string().as_str()), (CartError::Full, sentence));
    assert!(cart.add(&p, &p.name, Quantity::ONE, p.price, false).is_ok(), "an equal line still takes more");
}

#[test]
fn too_little_cash_says_what_is_missing() {
    let cart = cart(&[(1, 25500, 2000, 2000)]);
    let terms = terms(TaxMode::Inclusive);
    assert_eq!(cart.settle_in_cash(&terms, 509), Err(CartError::TenderShort { short_minor: 1 }));
    assert_eq!(cart.settle_in_cash(&terms, i64::MAX), Err(CartError::Money(MoneyError::Amount)));
    let order = cart.settle_in_cash(&terms, 1000).expect("settled");
    assert_eq!((order.total_minor, order.payments[0].amount_minor, order.payments[0].change_minor()), (510, 510, 490));
    let empty = Cart::new(OrderId(uuid::Uuid::nil()));
    assert_eq!(empty.settle_in_cash(&terms, 0), Err(CartError::Empty));
}

#[test]
fn no_more_is_refunded_than_was_sold() {
    let terms = terms(TaxMode::Inclusive);
    let sale = cart(&[(1, 25500, 3000, 2000)]).settle_in_cash(&terms, 765).expect("settled");
    let refund = |quantity, before| {
        refund_of(&terms, OrderId(uuid::Uuid::max()), &sale, &[(0, Quantity(quantity))], |_| Quantity(before), "broken")
    };
    let given = refund(1000, 2000).expect("one is left");
    assert_eq!((given.total_minor, given.payments[0].amount_minor, given.original), (-255, -255, Some(sale.id)));
    assert_eq!(refund(1001, 2000), Err(RefundError::MoreThanLeft { line: 0, left: Quantity(1000) }));
    let twice = [(0, Quantity(2000)), (0, Quantity(2000))];
    let twice = refund_of(&terms, OrderId(uuid::Uuid::max()), &sale, &twice, |_| Quantity(0), "broken");
    assert!(matches!(twice, Err(RefundError::MoreThanLeft { line: 0, .. })));
}

proptest! {
    #[test]
    fn every_cart_conserves_money(
        lines in proptest::collection::vec((0u8..8, 0i64..5_000_000, 1i64..100_000, prop::sample::select(vec![0u32, 500, 700, 1900, 2000])), 1..40),
        exclusive in any::<bool>(),
        refund in any::<bool>(),
        extra in 0i64..10_000,
    ) {
        let mode = if exclusive { TaxMode::Exclusive } else { TaxMode::Inclusive };
        let mut cart = cart(&lines);
        if refund {
            cart.kind = CartKind::Refund { reason: "returned".into() };
        }
        let total = cart.totals(mode).expect("totals").total_minor;
        let order = cart.settle_in_cash(&terms(mode), total + extra).expect("settled");
        prop_assert!(order.check_sums().is_ok(), "{:?}", order.check_sums());
        prop_assert_eq!(order.total_minor, if refund { -total } else { total });
        let paid: i64 = order.payments.iter().map(|p| p.tendered_minor.unwrap_or(p.amount_minor) - p.change_minor()).sum();
        prop_assert_eq!(paid, order.total_minor);
        let record = if refund { Record::RefundGiven(order.clone()) } else { Record::SaleCompleted(order.clone()) };
        prop_assert_eq!(fold::cash_movement(&record).map(|(_, minor)| minor), Some(order.total_minor));
        let moved: i64 = fold::stock_movements(&record).iter().map(|m| m.quantity.0).sum();
        prop_assert_eq!(moved, -order.lines.iter().map(|l| l.quantity.0).sum::<i64>());
        let sums = LineSums::of(fold::valued_lines(&record));
        prop_assert_eq!(sums.rounded_minor, order.lines.iter().map(|l| i128::from(l.amount_minor)).sum::<i128>());
        let read = Record::decode(record.kind(), 1, &record.encode()).expect("decodes").expect("known");
        prop_assert_eq!(read, record);
    }
}
