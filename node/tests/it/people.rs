//! Who may do what, and the PINs.

use node::api::{AdjustLine, ApiErrorCode as Code, Command, Item};

use crate::shop::*;

fn sign_in(n: u8, pin: &str) -> Command {
    Command::SignIn { staff: staff_id(n), pin: pin.to_owned() }
}

#[test]
fn the_table_of_permissions() {
    let item = || Item::Code { code: "22423".to_owned() };
    let priced = Command::AddLine { item: item(), quantity_milli: None, unit_price: Some(1), name: None, separate: None };
    let named =
        Command::AddLine { item: item(), quantity_milli: None, unit_price: None, name: Some("Gift".to_owned()), separate: None };
    let line = AdjustLine { code: "22423".to_owned(), quantity_milli: -2_000, unit_price: 0 };
    let adjust = Command::AdjustStock { lines: vec![line], reason: "broken".to_owned(), reference: None };
    let account = Command::AdjustAccount {
        description: "Adjust bad debt".to_owned(),
        quantity_milli: 1_000,
        unit_price: -110_620_600,
        reference: None,
    };
    let table = [
        (scan("22423", 1), [true, true, true]),
        (priced, [false, true, true]),
        (named, [false, true, true]),
        (Command::OpenDrawer { reason: "change".to_owned() }, [false, true, true]),
        (adjust, [false, true, true]),
        (account, [false, false, true]),
        (Command::StartRefund { reason: "no receipt".to_owned() }, [false, true, true]),
    ];
    for (at, staff) in [CASHIER, LEAD, MANAGER].into_iter().enumerate() {
        let (_shop, mut till) = Shop::stocked();
        till.sign_in(staff);
        till.open();
        for (command, may) in &table {
            till.must(Command::ClearCart {});
            let answer = till.ask(command.clone()).map(|_| ()).map_err(|e| e.code);
            let expected = if may[at] { Ok(()) } else { Err(Code::Forbidden) };
            assert_eq!(answer, expected, "{staff}: {command:?}");
        }
        till.must(Command::SignOut {});
        for (command, _) in &table {
            assert_eq!(till.refused(command.clone()), Code::NotSignedIn, "{command:?}");
        }
    }
}

#[test]
fn a_refund_without_its_sale_pays_out_and_is_settled_by_whoever_may() {
    let (_shop, mut till) = Shop::stocked();
    till.sign_in(LEAD);
    till.open();
    till.must(Command::StartRefund { reason: "gift".to_owned() });
    let view = till.scan("22423", 2);
    assert_eq!((view.cart.is_refund, view.cart.total_minor), (true, 2_550));
    let order = view.cart.order;
    till.sign_in(CASHIER);
    assert_eq!(till.refused(Command::SettleCash { order, tendered_minor: 0 }), Code::Forbidden);
    till.sign_in(LEAD);
    let view = till.must(Command::SettleCash { order, tendered_minor: 0 });
    let refund = view.last_order.expect("the refund");
    assert_eq!((refund.is_refund, refund.total_minor, refund.change_minor), (true, -2_550, 0));
    let shift = view.shift.expect("a shift");
    assert_eq!((shift.refunds, shift.refunds_minor, shift.expected_minor), (1, 2_550, 10_000 - 2_550));
    assert!(!view.cart.is_refund);
}

#[test]
fn wrong_pins_wait_and_a_restart_does_not_help() {
    let (shop, mut till) = Shop::stocked();
    for _ in 0..5 {
        assert_eq!(till.refused(sign_in(CASHIER, "9999")), Code::WrongPin);
    }
    let locked = till.ask(sign_in(CASHIER, "1111")).expect_err("even the right one waits");
    assert_eq!((locked.code, locked.retry_after_ms), (Code::PinLocked, Some(30_000)));
    shop.env.pass_ms(10_000);
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(till.ask(sign_in(CASHIER, "1111")).expect_err("locked").retry_after_ms, Some(20_000));
    assert_eq!(till.refused(sign_in(LEAD, "9999")), Code::WrongPin, "others are not locked");
    shop.env.set_ms(1_000_000_000_000);
    assert_eq!(till.ask(sign_in(CASHIER, "1111")).expect_err("locked").retry_after_ms, Some(30_000), "a clock that goes back");
    shop.env.pass_ms(30_000);
    assert_eq!(till.refused(sign_in(CASHIER, "9999")), Code::WrongPin);
    assert_eq!(till.ask(sign_in(CASHIER, "1111")).expect_err("locked").retry_after_ms, Some(60_000));
    shop.env.pass_ms(60_000);
    till.must(sign_in(CASHIER, "1111"));
    till.must(Command::SignOut {});
    assert_eq!(till.refused(sign_in(CASHIER, "9999")), Code::WrongPin, "the right one starts the count anew");
    till.must(sign_in(CASHIER, "1111"));
}

#[test]
fn what_is_no_pin_or_nobody() {
    let (_shop, mut till) = Shop::stocked();
    for pin in ["", "123", "1234567890123", "12a4", "１１１１"] {
        assert_eq!(till.refused(sign_in(CASHIER, pin)), Code::BadRequest, "{pin:?}");
    }
    assert_eq!(till.refused(sign_in(77, "1111")), Code::WrongPin);
}

#[test]
fn a_till_without_its_store_sells_nothing() {
    let (_shop, mut till) = Shop::new();
    let view = till.view().expect("a view");
    assert_eq!((view.store, view.staff.len(), view.till.series.as_str()), (None, 0, "S01-T03a"));
    assert_eq!(till.refused(sign_in(CASHIER, "1111")), Code::WrongPin);
    assert_eq!(till.refused(scan("22423", 1)), Code::NotSignedIn);
}
