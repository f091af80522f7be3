//! What becomes of an open order that several tills write at once: one test a row of the table in the design, and laws for the rest.

use std::collections::BTreeMap;

use automerge::{Automerge, Change};
use domain::cart::{Cart, CartKind};
use domain::ids::{LineId, OpenOrderId, StoreId};
use domain::money::Quantity;
use domain::open_order::{
    LABEL_BYTES_MAX, LINES_MAX, NOTE_BYTES_MAX, OpenOrder, OpenOrderException as Exception, OpenOrderLine, OpenOrderStatus,
    ParkError, Stamp,
};
use expect_test::expect_file;
use journal::Hlc;
use orders::{ID, STORE, Sent, Till, addition_id, line, line_id, order, parked, sale_id, staff};
use proptest::prelude::*;
use sync_proto::documents::open_order::{OpenOrderError, changes_of};
use sync_proto::documents::{CHANGE_BYTES_MAX, Document, DocumentValue, Outcome};
use uuid::Uuid;

mod orders;

fn add_line(till: &mut Till, n: u8, pieces: i64) -> Sent {
    till.write(|d, at, author, actor| d.add_lines(&[line(n, pieces)], at, author, actor)).expect("adds")
}

fn add(till: &mut Till, n: u8, addition: u64, pieces: i64) -> Sent {
    let (ids, quantity) = ((line_id(n), addition_id(addition)), Quantity(1_000 * pieces));
    till.write(|d, at, author, actor| d.add_quantity(ids.0, ids.1, quantity, at, author, actor)).expect("adds")
}

fn void(till: &mut Till, n: u8) -> Sent {
    till.write(|d, at, author, actor| d.void_line(line_id(n), at, author, actor)).expect("voids")
}

/// Pays for everything that the till sees.
fn pay(till: &mut Till, sale: u8) -> Sent {
    let covered = till.order().left();
    till.write(|d, at, author, actor| d.mark_paid(sale_id(sale), &covered, at, author, actor)).expect("notes")
}

fn cancel(till: &mut Till) -> Sent {
    till.write(|d, at, author, actor| d.cancel(at, author, actor)).expect("cancels")
}

/// Both tell each other what they wrote; they then have the same. Answers it.
fn meet(one: &mut Till, ones: &[Sent], other: &mut Till, others: &[Sent]) -> OpenOrder {
    one.receive_all(others);
    other.receive_all(ones);
    assert_eq!(one.document.heads(), other.document.heads());
    assert_eq!(one.order(), other.order());
    one.order()
}

fn lines(found: &[(u8, i64)]) -> BTreeMap<LineId, Quantity> {
    found.iter().map(|(n, pieces)| (line_id(*n), Quantity(1_000 * pieces))).collect()
}

#[test]
fn a_cart_is_parked_and_taken_up_again_without_loss() {
    let parked = order(&[3, 1, 2]);
    let cart = Cart { reference: Some("INV-7".into()), ..parked.to_cart(sale_id(1)) };
    let mut ids = (1..).map(line_id);
    let order = OpenOrder::of_cart(parked.id, STORE, &cart, || ids.next().expect("endless")).expect("parks");
    let mut till = Till::new(1);
    till.write(|d, at, author, actor| d.park(&order, at, author, actor)).expect("parks");
    assert_eq!(till.document.value().expect("reads"), DocumentValue::OpenOrder(order.clone()));
    assert_eq!(till.order().to_cart(sale_id(1)), cart);
    assert_eq!((till.order().status(), till.order().exceptions()), (OpenOrderStatus::Open, vec![]));

    let none = || unreachable!("no line gets an id");
    let refund = Cart { kind: CartKind::Refund { reason: "broken".into() }, ..cart.clone() };
    assert_eq!(OpenOrder::of_cart(order.id, STORE, &refund, none), Err(ParkError::Refund));
    assert_eq!(OpenOrder::of_cart(order.id, STORE, &Cart::new(sale_id(1)), none), Err(ParkError::Empty));
    let many = Cart { lines: vec![cart.lines[0].clone(); LINES_MAX + 1], ..cart };
    assert_eq!(OpenOrder::of_cart(order.id, STORE, &many, none), Err(ParkError::TooManyLines));
}

#[test]
fn lines_that_two_tills_add_all_stay_in_the_order_in_which_they_came() {
    let (mut ada, first) = parked(&[1, 1]);
    let mut bob = Till::new(2);
    bob.receive(&first).expect("admitted");
    // The later line has the smaller id.
    let ones = [add_line(&mut ada, 9, 1)];
    bob.clock += 5;
    let others = [add_line(&mut bob, 8, 2)];
    let order = meet(&mut ada, &ones, &mut bob, &others);
    assert_eq!(order.lines, [line(1, 1), line(2, 1), line(9, 1), line(8, 2)]);
    assert_eq!(order.exceptions(), []);
}

#[test]
fn quantities_that_two_tills_add_to_one_line_add_up() {
    let (mut ada, _) = parked(&[2]);
    let mut bob = ada.beside(2);
    let ones = [add(&mut ada, 1, 1, 3), add(&mut ada, 1, 2, -1)];
    let others = [add(&mut bob, 1, 3, 3)];
    assert_eq!(meet(&mut ada, &ones, &mut bob, &others).lines, [line(1, 7)]);
}

#[test]
fn what_two_tills_take_out_at_once_leaves_nothing_and_is_told() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    let (ones, others) = ([add(&mut ada, 1, 1, -1)], [add(&mut bob, 1, 2, -1)]);
    let order = meet(&mut ada, &ones, &mut bob, &others);
    assert_eq!((order.left(), order.exceptions()), (lines(&[(2, 1)]), vec![]));
    let mut bob = ada.beside(2);
    let too_much =
        ada.write(|d, at, author, actor| d.add_quantity(line_id(2), addition_id(4), Quantity(-2_000), at, author, actor));
    assert!(matches!(too_much, Err(OpenOrderError::Quantity(_))), "more than is there");
    let (mut ones, mut others) = (vec![add(&mut ada, 2, 5, 2)], vec![add(&mut bob, 2, 6, 2)]);
    ones.push(add(&mut ada, 2, 7, -2));
    others.push(add(&mut bob, 2, 8, -2));
    assert_eq!(meet(&mut ada, &ones, &mut bob, &others).left(), lines(&[(2, 1)]));
    let mut bob = ada.beside(2);
    let half = |till: &mut Till, addition| {
        let ids = (line_id(2), addition_id(addition));
        till.write(|d, at, author, actor| d.add_quantity(ids.0, ids.1, Quantity(-600), at, author, actor)).expect("takes out")
    };
    let (ones, others) = ([half(&mut ada, 9)], [half(&mut bob, 10)]);
    let order = meet(&mut ada, &ones, &mut bob, &others);
    assert_eq!(order.exceptions(), [Exception::TakenOutTwice { lines: BTreeMap::from([(line_id(2), Quantity(200))]) }]);
    assert!(order.left().is_empty());
}

#[test]
fn void_wins_over_quantities_and_the_quantities_stay_in_the_history() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    let ones = [void(&mut ada, 1)];
    let others = [add(&mut bob, 1, 1, 5), add(&mut bob, 1, 2, 1)];
    let order = meet(&mut ada, &ones, &mut bob, &others);
    assert_eq!(order.lines[0].voided, Some(Stamp { by: staff(1), at_unix_ms: 102 }));
    assert_eq!((order.lines[0].goods.quantity, order.left()), (Quantity(8_000), lines(&[(2, 1)])));
    let history = ada.document.history();
    let additions = history.iter().filter(|w| w.field.starts_with("add/") && w.outcome == Outcome::Current);
    assert_eq!(additions.count(), 2);
    let again = ada.write(|d, at, author, actor| d.void_line(line_id(1), at, author, actor));
    assert!(matches!(again, Err(OpenOrderError::NoSuchLine)));
}

#[test]
fn paid_at_two_tills_lists_both_sales() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    let (ones, others) = ([pay(&mut ada, 51)], [pay(&mut bob, 50)]);
    let order = meet(&mut ada, &ones, &mut bob, &others);
    let sales = vec![sale_id(50), sale_id(51)];
    assert_eq!(order.status(), OpenOrderStatus::Paid { sales: sales.clone() });
    assert_eq!(order.exceptions(), [Exception::PaidTwice { sales, lines: lines(&[(1, 2), (2, 1)]) }]);
    assert_eq!(order.payments[1].stamp, Stamp { by: staff(1), at_unix_ms: 102 });
}

#[test]
fn paid_stands_over_cancelled() {
    let (mut ada, _) = parked(&[2]);
    let mut bob = ada.beside(2);
    let (ones, others) = ([pay(&mut ada, 50)], [cancel(&mut bob)]);
    let order = meet(&mut ada, &ones, &mut bob, &others);
    let sales = vec![sale_id(50)];
    assert_eq!(order.status(), OpenOrderStatus::Paid { sales: sales.clone() });
    assert_eq!(order.exceptions(), [Exception::PaidAndCancelled { sales }]);
}

#[test]
fn a_line_that_the_payment_did_not_see_becomes_a_new_open_order() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    let ones = [pay(&mut ada, 50)];
    let others = [add_line(&mut bob, 9, 4), add(&mut bob, 1, 1, 3)];
    let order = meet(&mut ada, &ones, &mut bob, &others);
    assert_eq!(order.status(), OpenOrderStatus::Paid { sales: vec![sale_id(50)] });
    assert_eq!(order.exceptions(), [Exception::UnpaidRemainder { lines: lines(&[(1, 3), (9, 4)]) }]);
    let rest = order.remainder(OpenOrderId(Uuid::from_bytes([8; 16]))).expect("a remainder");
    assert_eq!((rest.lines.as_slice(), rest.label.as_str()), (&[line(1, 3), line(9, 4)][..], "Table 4"));
    assert_eq!((rest.status(), rest.exceptions(), rest.remainder(order.id)), (OpenOrderStatus::Open, vec![], None));
    let mut document = Document::new(domain::document::DocumentKind::OpenOrder, [8; 16]);
    document.park(&rest, Hlc(1), [1; 16], [1; 16]).expect("parks");
    assert_eq!(document.open_order().expect("reads"), rest);
}

#[test]
fn a_line_that_is_voided_while_it_is_paid_for_is_told() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    let (ones, others) = ([pay(&mut ada, 50)], [void(&mut bob, 1)]);
    let order = meet(&mut ada, &ones, &mut bob, &others);
    assert_eq!(order.exceptions(), [Exception::PaidAndTakenOut { lines: lines(&[(1, 2)]) }]);
}

#[test]
fn guests_who_pay_for_their_own_have_not_paid_twice() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    let part = |till: &mut Till, sale, of: &[(u8, i64)]| {
        till.write(|d, at, author, actor| d.mark_paid(sale_id(sale), &lines(of), at, author, actor)).expect("notes")
    };
    let ones = [part(&mut ada, 50, &[(1, 1), (2, 1)])];
    let others = [part(&mut bob, 51, &[(1, 1)])];
    assert_eq!(meet(&mut ada, &ones, &mut bob, &others).exceptions(), []);
}

#[test]
fn the_later_label_stands_and_the_other_one_is_told() {
    let (mut ada, _) = parked(&[1]);
    let mut bob = ada.beside(2);
    let label = |till: &mut Till, text: &str| {
        till.write(|d, at, author, actor| d.relabel(text, "", at, author, actor).map(|c| c.expect("a change"))).expect("relabels")
    };
    let ones = [label(&mut ada, "Window")];
    bob.clock += 1;
    let others = [label(&mut bob, "Terrace")];
    assert_eq!(meet(&mut ada, &ones, &mut bob, &others).label, "Terrace");
    let conflicts = ada.document.conflicts();
    assert_eq!((conflicts.len(), conflicts[0].field.as_str()), (1, "label"));
    let same = ada.document.relabel("Terrace", "", Hlc(1), [1; 16], [0x81; 16]).expect("nothing to do");
    assert_eq!(same, None);
}

#[test]
fn a_closed_order_takes_nothing_but_payments() {
    let (mut ada, _) = parked(&[2, 1]);
    let mut bob = ada.beside(2);
    cancel(&mut ada);
    pay(&mut bob, 50);
    for till in [&mut ada, &mut bob] {
        let (d, at, author, actor) = (&mut till.document, Hlc::new(200, 0), [till.who; 16], [0x80 | till.who; 16]);
        let refused = [
            d.add_lines(&[line(9, 1)], at, author, actor).err(),
            d.add_quantity(line_id(1), addition_id(1), Quantity(1), at, author, actor).err(),
            d.void_line(line_id(1), at, author, actor).err(),
            d.cancel(at, author, actor).err(),
            d.relabel("x", "", at, author, actor).err(),
        ];
        assert!(refused.iter().all(|r| matches!(r, Some(OpenOrderError::Closed))), "{refused:?}");
        d.mark_paid(sale_id(60), &lines(&[(1, 2)]), at, author, actor).expect("a sale is a fact");
        assert!(matches!(d.mark_paid(sale_id(60), &lines(&[(1, 2)]), at, author, actor), Err(OpenOrderError::Again)));
    }
}

#[test]
fn what_is_beyond_a_bound_or_not_there_is_not_written() {
    let (till, _) = parked(&[2]);
    let mut d = till.document;
    let (before, at, me, actor) = (d.heads(), Hlc::new(200, 0), [1; 16], [0x81; 16]);
    let long = |n| "x".repeat(n);
    let mut named = line(9, 1);
    named.goods.name = long(1_001);
    let mut free = line(9, 1);
    free.goods.quantity = Quantity(0);
    assert!(matches!(d.park(&order(&[1]), at, me, actor), Err(OpenOrderError::Exists)));
    assert!(matches!(d.add_lines(&[named], at, me, actor), Err(OpenOrderError::Bound("name"))));
    assert!(matches!(d.add_lines(&[free], at, me, actor), Err(OpenOrderError::Quantity(_))));
    assert!(matches!(d.add_lines(&[line(9, -1)], at, me, actor), Err(OpenOrderError::Bound("quantity"))));
    let voided = OpenOrderLine { voided: Some(Stamp { by: staff(1), at_unix_ms: 1 }), ..line(9, 1) };
    assert!(matches!(d.add_lines(&[voided], at, me, actor), Err(OpenOrderError::NoSuchLine)));
    assert!(matches!(d.add_lines(&[line(1, 1)], at, me, actor), Err(OpenOrderError::Again)));
    assert!(matches!(d.add_lines(&[line(9, 1), line(9, 2)], at, me, actor), Err(OpenOrderError::Again)));
    assert!(matches!(d.add_lines(&[], at, me, actor), Err(OpenOrderError::Empty)));
    assert!(matches!(d.add_lines(&vec![line(9, 1); LINES_MAX], at, me, actor), Err(OpenOrderError::Full)));
    assert!(matches!(d.relabel(&long(LABEL_BYTES_MAX + 1), "", at, me, actor), Err(OpenOrderError::Bound("label"))));
    assert!(matches!(d.relabel("", &long(NOTE_BYTES_MAX + 1), at, me, actor), Err(OpenOrderError::Bound("note"))));
    assert!(matches!(d.mark_paid(sale_id(9), &BTreeMap::new(), at, me, actor), Err(OpenOrderError::Empty)));
    assert!(matches!(d.mark_paid(sale_id(9), &lines(&[(8, 1)]), at, me, actor), Err(OpenOrderError::NoSuchLine)));
    let ids = (line_id(1), addition_id(1));
    assert!(matches!(d.add_quantity(ids.0, ids.1, Quantity(0), at, me, actor), Err(OpenOrderError::Quantity(_))));
    assert!(matches!(d.add_quantity(line_id(8), addition_id(1), Quantity(1), at, me, actor), Err(OpenOrderError::NoSuchLine)));
    assert_eq!(d.heads(), before);
    d.add_quantity(ids.0, ids.1, Quantity(1), at, me, actor).expect("adds");
    assert!(matches!(d.add_quantity(ids.0, ids.1, Quantity(1), at, me, actor), Err(OpenOrderError::Again)));
    let other = OpenOrder { store: StoreId(Uuid::from_bytes([2; 16])), ..order(&[1]) };
    assert!(matches!(d.park(&other, at, me, actor), Err(OpenOrderError::Exists)));
}

#[test]
fn the_largest_order_is_parked_in_several_changes() {
    for name in ["A", "A dish with a name of thirty-five", &"long ".repeat(200)] {
        let mut large = order(&[1]);
        large.lines = (0..LINES_MAX as u128)
            .map(|n| {
                let mut line = line(1, 1);
                (line.id, line.goods.name) = (LineId(Uuid::from_u128(n * 0x9e37_79b9_7f4a_7c15_f39c)), format!("{name}{n}"));
                line.goods.name.truncate(1_000);
                line
            })
            .collect();
        let parts: Vec<_> = changes_of(&large.lines).into_iter().map(<[_]>::to_vec).collect();
        assert_eq!(parts.concat(), large.lines);
        let mut till = Till::new(1);
        let mut sent = Vec::new();
        for (n, part) in parts.into_iter().enumerate() {
            let order = OpenOrder { lines: part, ..large.clone() };
            sent.push(till.write(|d, at, author, actor| match n {
                0 => d.park(&order, at, author, actor),
                _ => d.add_lines(&order.lines, at, author, actor),
            }));
        }
        let sent: Vec<_> = sent.into_iter().map(|sent| sent.expect("fits")).collect();
        assert_eq!(till.order(), large, "in the order of the cart");
        let mut other = Till::new(2);
        for sent in &sent {
            assert!(sent.bytes.len() <= CHANGE_BYTES_MAX);
            other.receive(sent).expect("admitted");
        }
        assert_eq!(other.order(), large);
        let paid = pay(&mut till, 50);
        other.receive(&paid).expect("admitted");
        assert_eq!(other.order().exceptions(), []);
        println!("{} lines: {} changes, {} bytes saved", LINES_MAX, sent.len(), other.document.save().len());
    }
}

/// Changes that shipped: a program that writes others, or does not admit these, is not understood by the tills that are out there.
#[test]
fn what_each_operation_writes_is_pinned() {
    let mut till = Till::new(1);
    let with = OpenOrder { note: "No nuts".into(), reference: Some("INV-7".into()), ..order(&[2, 1]) };
    let mut sent = vec![("park", till.write(|d, at, author, actor| d.park(&with, at, author, actor)).expect("parks"))];
    sent.push(("add lines", add_line(&mut till, 9, 4)));
    sent.push(("add quantity", add(&mut till, 1, 1, -1)));
    sent.push(("void line", void(&mut till, 2)));
    let relabel = |d: &mut Document, at, author, actor| Ok(d.relabel("Bar", "", at, author, actor)?.expect("a change"));
    sent.push(("relabel", till.write(relabel).expect("relabels")));
    sent.push(("cancel", cancel(&mut till.clone())));
    sent.push(("mark paid", pay(&mut till, 50)));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let written: String = sent.iter().map(|(what, sent)| format!("{what}: {}\n", hex(&sent.bytes))).collect();
    expect_file!["golden/open-order.txt"].assert_eq(&written);
}

#[test]
fn an_order_that_nobody_parked_says_so() {
    let nobody = Document::new(domain::document::DocumentKind::OpenOrder, ID);
    assert_eq!(nobody.value().expect_err("empty").to_string(), "field opened of the document is missing");
}

/// What somebody does, if it can be done; the numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    AddLine(u8),
    Add(prop::sample::Index, i64),
    Void(prop::sample::Index),
    Relabel(u8),
    Pay(u8),
    Cancel,
    /// Takes some more of what the others have written.
    Hear(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (10u8..200).prop_map(Step::AddLine),
        4 => (any::<prop::sample::Index>(), -3_000i64..3_000).prop_map(|(line, quantity)| Step::Add(line, quantity)),
        2 => any::<prop::sample::Index>().prop_map(Step::Void),
        1 => any::<u8>().prop_map(Step::Relabel),
        1 => any::<u8>().prop_map(Step::Pay),
        1 => Just(Step::Cancel),
        4 => (1u8..6).prop_map(Step::Hear),
    ]
}

/// Three tills do it, each on its own replica. Answers what they wrote, each after what its writer had seen.
fn played(steps: &[(u8, u64, Step)]) -> Vec<Sent> {
    let (first, parked) = parked(&[2, 3]);
    let mut tills: Vec<Till> = (1..=3).map(|who| first.beside(who)).collect();
    let mut sent = vec![parked];
    let mut heard = [1usize; 3];
    for (addition, (who, later, step)) in (1u64..).zip(steps) {
        let who = usize::from(who % 3);
        if let Step::Hear(more) = step {
            let until = sent.len().min(heard[who] + usize::from(*more));
            tills[who].receive_all(&sent[heard[who]..until]);
            heard[who] = until;
            continue;
        }
        let till = &mut tills[who];
        till.clock += later;
        let order = till.order();
        let written = till.write(|d, at, author, actor| match step {
            Step::AddLine(n) => d.add_lines(&[line(*n, 1)], at, author, actor),
            Step::Add(which, quantity) => {
                let ids = (which.get(&order.lines).id, addition_id(addition));
                d.add_quantity(ids.0, ids.1, Quantity(*quantity), at, author, actor)
            }
            Step::Void(which) => d.void_line(which.get(&order.lines).id, at, author, actor),
            Step::Relabel(n) => {
                d.relabel(&format!("{n}"), "", at, author, actor).and_then(|change| change.ok_or(OpenOrderError::Empty))
            }
            Step::Pay(sale) => d.mark_paid(sale_id(*sale), &order.left(), at, author, actor),
            Step::Cancel => d.cancel(at, author, actor),
            Step::Hear(_) => unreachable!("was handled"),
        });
        sent.extend(written.ok());
    }
    sent
}

/// A replica that gets the changes in that order. One that comes too early is refused for it, and comes again.
fn received(sent: &[&Sent]) -> Till {
    let mut till = Till::new(9);
    let mut left: Vec<&Sent> = sent.to_vec();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|sent| match till.receive(sent) {
            Ok(_) => false,
            Err(why) => {
                assert!(matches!(why.code(), "dependency" | "sequence" | "start_op" | "key"), "{why}");
                true
            }
        });
        assert!(left.len() < before, "every change is admitted sooner or later");
    }
    till
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Sorted, shuffled, twice, one by one, in one batch or read anew from the disk after each: the same heads and the same order.
    #[test]
    fn order_repetition_and_grouping_of_arrival_make_no_difference(
        steps in proptest::collection::vec((any::<u8>(), 0u64..20, step()), 1..24),
        shuffled in any::<u64>(),
    ) {
        let sent = played(&steps);
        let sorted = received(&sent.iter().collect::<Vec<_>>());
        let mut turn = shuffled;
        let mut other: Vec<&Sent> = sent.iter().chain(&sent).collect();
        for at in (1..other.len()).rev() {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            other.swap(at, (turn >> 33) as usize % (at + 1));
        }
        let shuffled = received(&other);
        // Trusted changes go past the gate; they come to the same.
        let mut ungated = Document::new(domain::document::DocumentKind::OpenOrder, ID);
        for sent in &sent {
            ungated.apply(&sent.bytes).expect("applies");
            ungated = Document::load(domain::document::DocumentKind::OpenOrder, ID, &ungated.save()).expect("loads");
        }
        let mut batched = Automerge::new();
        batched.apply_changes(sent.iter().map(|s| Change::from_bytes(s.bytes.clone()).expect("a change"))).expect("applies");
        let batched = Document::load(domain::document::DocumentKind::OpenOrder, ID, &batched.save()).expect("loads");
        for document in [&shuffled.document, &ungated, &batched] {
            prop_assert_eq!(document.heads(), sorted.document.heads());
            prop_assert_eq!(document.open_order().expect("reads"), sorted.order());
            prop_assert_eq!(document.history(), sorted.document.history());
        }
        // What is left never comes from nowhere, and what does not fit together is told once.
        let order = sorted.order();
        prop_assert!(order.lines.len() <= 2 + steps.len());
        prop_assert!(order.left().values().all(|quantity| quantity.0 > 0));
        let exceptions = order.exceptions();
        let kinds: Vec<_> = exceptions.iter().map(std::mem::discriminant).collect();
        prop_assert!(kinds.iter().enumerate().all(|(n, kind)| !kinds[..n].contains(kind)));
        let rest = order.remainder(OpenOrderId(Uuid::from_bytes([8; 16])));
        prop_assert!(rest.is_none_or(|rest| !order.payments.is_empty() && rest.exceptions().is_empty()));
    }
}
