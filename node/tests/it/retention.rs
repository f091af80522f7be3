//! What a till lets go when it is old, what stays of it, and what is done about the rest.

use std::collections::BTreeSet;

use domain::cart::{Cart, Terms};
use domain::document::DocumentKind;
use domain::ids::{DeviceId, OpenOrderId, OrderId, RecordId, ShiftId};
use domain::money::{Currency, Quantity};
use domain::record::{BusinessDay, CountLine, Record, SeenHead, SeenUpTo, ShiftClosing, ShiftOpening, StockCount};
use domain::tax::TaxMode;
use node::api::{ApiErrorCode as Code, Command, LinkWay, OrderView, Query, RefundLine};
use node::store::audit::{Audit, Found};
use node::store::{lines, log, orders, rebuild, retention};
use node::till::{Answer, Care, LinkChange, Till};
use sync_proto::batch::Run;
use sync_proto::frame::Told;
use sync_proto::scopes;

use crate::shop::*;

const DAY_MS: u64 = 24 * 3_600_000;
const KEEP_MS: u64 = 60 * DAY_MS;

/// A till that keeps sixty days, with somebody at work.
fn working() -> (Shop, Till) {
    let (mut shop, till) = Shop::new();
    drop(till);
    shop.options.keep_ms = Some(KEEP_MS);
    let mut till = shop.reopen();
    shop.stock(&mut till);
    till.sign_in(MANAGER);
    till.open();
    (shop, till)
}

/// Lets everything go that may. Answers how many entries went.
fn let_go(till: &mut Till) -> u64 {
    let before = till.reach().expect("a look").gone;
    for _ in 0..10_000 {
        match till.let_go_step().expect("a sound disk") {
            Care::More => {}
            Care::DoneFor(_) | Care::Done => return till.reach().expect("a look").gone - before,
            Care::Waits => panic!("nothing waits"),
        }
    }
    panic!("it never ends")
}

/// Everything that this till has written is in the central database.
fn all_central(till: &mut Till) {
    let commit = till.own_chain().commit;
    till.acked(commit, commit).expect("noted");
}

fn close(till: &mut Till) {
    let expected = till.view().expect("a view").shift.expect("a shift").expected_minor;
    till.must(Command::CloseShift { counted_minor: expected });
}

fn sell(till: &mut Till, code: &str, pieces: i64) -> OrderId {
    till.scan(code, pieces);
    till.pay().last_order.expect("an order").order
}

fn view(till: &Till, order: OrderId) -> Result<OrderView, Code> {
    match till.query(Query::Order { order }) {
        Ok(Answer::Order(view)) => Ok(*view),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.code),
    }
}

fn refund(till: &mut Till, sale: OrderId, milli: i64) -> Result<OrderId, Code> {
    let refund = view(till, sale)?.next_refund;
    let lines = vec![RefundLine { line: 0, quantity_milli: milli }];
    let command = Command::RefundSale { refund, original: sale, lines, reason: "broken".to_owned() };
    till.ask(command).map(|_| refund).map_err(|error| error.code)
}

fn dump(till: &mut Till) -> BTreeSet<String> {
    till.tidy().expect("tidied");
    rebuild::dump(till.db().expect("a database")).expect("a dump").lines().map(str::to_owned).collect()
}

/// What a rebuild makes of it has to be what was there.
fn is_as_rebuilt(till: &mut Till) {
    let found = dump(till);
    till.rebuild().expect("a rebuild");
    let rebuilt = dump(till);
    let differ: Vec<_> = found.symmetric_difference(&rebuilt).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// What a till shows that does not depend on what it has let go.
fn sums(till: &mut Till) -> BTreeSet<String> {
    let kept = |line: &String| !["document|", "paid_order|", "unread|"].iter().any(|of| line.starts_with(of));
    dump(till).into_iter().filter(kept).collect()
}

fn gone(till: &Till) -> u64 {
    let count = "SELECT count(*) FROM entry WHERE length(bytes) = 0";
    till.db().expect("a database").query_row(count, [], |r| r.get(0)).expect("a count")
}

/// A day of everything, all of it closed and in the central database, and then sixty-one days.
fn a_day_long_ago(shop: &Shop, till: &mut Till) -> Vec<OrderId> {
    let mut sales = vec![sell(till, "22423", 2), sell(till, "85123A", 5)];
    refund(till, sales[0], 500).expect("a refund");
    till.must(Command::OpenDrawer { reason: "change".to_owned() });
    till.must(Command::AdjustStock {
        lines: vec![node::api::AdjustLine { code: "22423".to_owned(), quantity_milli: 9_000, unit_price: 0 }],
        reason: "delivery".to_owned(),
        reference: None,
    });
    till.scan("22423", 3);
    let order = till.view().expect("a view").cart.order;
    till.must(Command::Park { order, label: "Mrs Oak".to_owned(), note: None });
    till.must(Command::Recall { open_order: OpenOrderId(order.0) });
    sales.push(till.pay().last_order.expect("an order").order);
    close(till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    sell(till, "22423", 1);
    all_central(till);
    sales
}

#[test]
fn what_is_old_and_central_goes_and_what_it_came_to_stays() {
    let (shop, mut till) = working();
    let sales = a_day_long_ago(&shop, &mut till);
    let (before, looked) = (sums(&mut till), view(&till, sales[0]).expect("it is here"));
    // Three sales, an opening, a correction, a sign-in, and the two changes of the open order.
    assert_eq!(let_go(&mut till), 8, "{:?}", till.reach());
    assert_eq!(sums(&mut till), before);
    is_as_rebuilt(&mut till);
    assert_eq!(sums(&mut till), before);
    for sale in &sales {
        assert_eq!(view(&till, *sale), Err(Code::NotKept));
    }
    let Ok(Answer::Orders(listed)) = till.query(Query::Orders { text: String::new(), limit: 9 }) else { panic!("a list") };
    let here = listed.iter().filter(|order| order.is_here).count();
    let gone: BTreeSet<_> = listed.iter().filter(|order| !order.is_here).map(|order| order.order).collect();
    assert_eq!((here, gone), (2, sales.iter().copied().collect()), "the refund and what is young stay");
    assert_eq!(
        listed.iter().find(|order| order.order == sales[0]).map(|order| order.total_minor),
        Some(looked.summary.total_minor)
    );
    let db = till.db().expect("a database");
    let documents: u64 = db
        .query_row("SELECT count(*) FROM document WHERE kind = ?", [DocumentKind::OpenOrder as u16], |r| r.get(0))
        .expect("a count");
    assert_eq!(documents, 0);
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(sums(&mut till), before, "after a restart");
    assert_eq!(let_go(&mut till), 0);
    till.sign_in(MANAGER);
    till.must(Command::OpenDrawer { reason: "look".to_owned() });
    sell(&mut till, "22423", 1);
    is_as_rebuilt(&mut till);
}

#[test]
fn receipt_numbers_go_on_although_the_orders_have_gone_and_the_mark_is_lost() {
    let (shop, mut till) = working();
    let last = (0..3).map(|_| sell(&mut till, "22423", 1)).last().expect("a sale");
    let receipt = view(&till, last).expect("it is here").summary.receipt;
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    // What keeps the end of the chain is no order.
    till.must(Command::OpenShift { float_minor: 0, business_day: None });
    all_central(&mut till);
    assert!(let_go(&mut till) >= 3);
    drop(till);
    std::fs::write(shop.folder("device/high-water"), b"").expect("written");
    let mut till = shop.reopen();
    till.sign_in(MANAGER);
    let next = sell(&mut till, "22423", 1);
    let next = view(&till, next).expect("it is here").summary.receipt;
    assert_eq!((receipt.as_str(), next.as_str()), ("S01-T03a-000003", "S01-T03a-000004"));
}

#[test]
fn what_is_young_or_not_central_or_of_an_open_shift_stays() {
    let (shop, mut till) = working();
    sell(&mut till, "22423", 1);
    close(&mut till);
    till.open();
    sell(&mut till, "22423", 1);
    shop.env.pass_ms(59 * DAY_MS);
    all_central(&mut till);
    assert_eq!(let_go(&mut till), 0, "it is young");
    shop.env.pass_ms(2 * DAY_MS);
    // The sign-in and the first sale; the second is of a shift that is open.
    assert_eq!(let_go(&mut till), 2);
    assert_eq!(let_go(&mut till), 0);
    close(&mut till);
    till.open();
    assert_eq!(let_go(&mut till), 1, "its shift is closed now");

    let (shop, mut till) = working();
    sell(&mut till, "22423", 1);
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    let commit = till.own_chain().commit;
    till.acked(commit, 0).expect("noted");
    assert_eq!(let_go(&mut till), 0, "it is at the server alone");
    all_central(&mut till);
    assert_eq!(let_go(&mut till), 2);
}

#[test]
fn an_open_order_that_nobody_has_closed_stays_and_holds_up_nothing() {
    let (shop, mut till) = working();
    till.scan("22423", 3);
    let order = till.view().expect("a view").cart.order;
    till.must(Command::Park { order, label: "forgotten".to_owned(), note: None });
    sell(&mut till, "22423", 1);
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    all_central(&mut till);
    assert_eq!(let_go(&mut till), 2, "the sign-in and the sale");
    is_as_rebuilt(&mut till);
    till.must(Command::Recall { open_order: OpenOrderId(order.0) });
    till.pay();
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    all_central(&mut till);
    // Its three changes, the sale that paid it, and the announcement of nothing: that stays.
    assert!(let_go(&mut till) >= 3);
    is_as_rebuilt(&mut till);
    let is_gone = retention::is_gone(till.db().expect("a database"), *order.as_bytes()).expect("a look");
    assert!(is_gone);
}

/// Another till of the store.
fn neighbour(shop: &mut Shop, till: &mut Till) -> Writer {
    let neighbour = Writer::new(50);
    let device = DeviceId(uuid::Uuid::from_bytes(neighbour.chain.origin.device));
    let run = shop.server.record(scopes::directory(), &enrolled(device, "Till 5", neighbour.key.clone()));
    shop.feed(till, vec![run]);
    neighbour
}

fn shift() -> ShiftId {
    ShiftId::new(1, [8; 10])
}

fn neighbours_sale(n: u64) -> Record {
    let mut cart = Cart::new(OrderId::new(1_000 + n, [8; 10]));
    let cake = product(3, "22423", "Cake stand", 1_275);
    cart.add(&cake, "Cake stand", Quantity::ONE, cake.price, false).expect("a line");
    let currency = Currency::new("GBP").expect("GBP");
    let terms = Terms { receipt_number: n, shift: shift(), currency, tax_mode: TaxMode::Inclusive };
    Record::SaleCompleted(cart.settle_in_cash(&terms, 1_275).expect("an order"))
}

fn neighbours_day(writer: &mut Writer, sales: std::ops::Range<u64>) -> Vec<Run> {
    let of_store = || scopes::store(store_id());
    let opened = ShiftOpening {
        shift: shift(),
        business_day: BusinessDay(19_700),
        float_minor: 0,
        currency: Currency::new("GBP").expect("GBP"),
    };
    let mut runs = vec![writer.record(of_store(), &Record::ShiftOpened(opened))];
    runs.extend(sales.map(|n| writer.record(of_store(), &neighbours_sale(n))));
    let closed = ShiftClosing { shift: shift(), counted_minor: 0, expected_minor: 0, cut_commit: 1, cut: None };
    runs.push(writer.record(of_store(), &Record::ShiftClosed(closed)));
    runs
}

/// The central database has a history of a neighbour up to a commit, as far as this till knows.
fn is_central(till: &mut Till, writer: &Writer, commit: u64) {
    let lines = lines::of(till.db().expect("a database"), writer.chain.origin).expect("lines");
    let chain = lines::chain_after(till.db().expect("a database"), &lines[0], commit).expect("a chain");
    till.note_held(&lines::Line { chain, ..lines[0].clone() }, commit, true).expect("noted");
}

fn stock(till: &Till) -> i64 {
    match till.query(Query::Search { text: "cake".to_owned(), limit: 1 }).expect("products") {
        Answer::Products(found) => found[0].stock_milli,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_is_asked_what_of_others_the_central_database_has_before_it_goes() {
    let (mut shop, mut till) = working();
    let mut other = neighbour(&mut shop, &mut till);
    let runs = neighbours_day(&mut other, 1..6);
    till.begin_region([1; 16]).expect("a server");
    shop.feed(&mut till, runs);
    till.note_offered().expect("noted");
    assert_eq!(let_go(&mut till), 0, "nobody has said that it is central");
    let offers = till.offers().expect("offers");
    let asked: Vec<_> = offers.lines.iter().map(|line| (line.chain.origin, line.chain.commit)).collect();
    assert!(asked.contains(&(other.chain.origin, other.chain.commit)), "{asked:?}");
    for line in offers.lines.iter().filter(|line| line.chain.origin == other.chain.origin) {
        till.note_held(line, line.chain.commit, true).expect("noted");
    }
    assert_eq!(let_go(&mut till), 5);
    let asked = till.offers().expect("offers").lines;
    assert!(asked.iter().all(|line| line.chain.origin != other.chain.origin), "it is asked once: {asked:?}");
    is_as_rebuilt(&mut till);
}

#[test]
fn what_comes_late_still_applies() {
    let (mut shop, mut till) = working();
    let mut other = neighbour(&mut shop, &mut till);
    let mut late = Writer::new(51);
    let device = DeviceId(uuid::Uuid::from_bytes(late.chain.origin.device));
    let run = shop.server.record(scopes::directory(), &enrolled(device, "Till 6", late.key.clone()));
    shop.feed(&mut till, vec![run]);
    let runs = neighbours_day(&mut other, 1..6);
    shop.feed(&mut till, runs);
    // A count that has heard of all this till knows, and not of the other one.
    let cut = vec![SeenUpTo {
        device: DeviceId(uuid::Uuid::from_bytes(other.chain.origin.device)),
        incarnation: other.chain.origin.incarnation,
        seq: 4,
    }];
    let count = StockCount {
        id: RecordId::new(1, [9; 10]),
        shift: shift(),
        lines: vec![CountLine { product: product_id(3), quantity: Quantity(100_000) }],
        cut,
        reason: "stocktaking".to_owned(),
    };
    let run = other.record(scopes::store(store_id()), &Record::StockCounted(count));
    shop.feed(&mut till, vec![run]);
    let run = other.record(scopes::store(store_id()), &neighbours_sale(7));
    shop.feed(&mut till, vec![run]);
    // Three sales were heard of; two of the day, and the one after the count, were not.
    assert_eq!(stock(&till), 97_000);
    let last = other.chain.commit;
    is_central(&mut till, &other, last);
    assert_eq!(let_go(&mut till), 5);
    assert_eq!(stock(&till), 97_000);
    is_as_rebuilt(&mut till);
    assert_eq!(stock(&till), 97_000);

    // Sales of long ago of which nobody had heard.
    let runs = neighbours_day(&mut late, 20..23);
    shop.feed(&mut till, runs);
    assert_eq!(stock(&till), 94_000);
    is_as_rebuilt(&mut till);
    let last = late.chain.commit;
    is_central(&mut till, &late, last);
    assert_eq!(let_go(&mut till), 3, "they are as old as the others");
    is_as_rebuilt(&mut till);
    assert_eq!(stock(&till), 94_000);

    // Somebody counts again, and has heard of everything.
    let scope = scopes::store(store_id());
    let cut = node::store::counts::cut_of(till.db().expect("a database"), &scope).expect("a cut");
    let count = StockCount {
        id: RecordId::new(2, [9; 10]),
        shift: shift(),
        lines: vec![CountLine { product: product_id(3), quantity: Quantity(50_000) }],
        cut,
        reason: "again".to_owned(),
    };
    let run = late.record(scope, &Record::StockCounted(count));
    shop.feed(&mut till, vec![run]);
    assert_eq!(stock(&till), 50_000);
    is_as_rebuilt(&mut till);
    assert_eq!(stock(&till), 50_000);
}

#[test]
fn an_addendum_is_the_same_when_its_sales_have_gone() {
    let (mut shop, mut till) = working();
    let mut other = neighbour(&mut shop, &mut till);
    let of_store = scopes::store(store_id());
    let mut runs = neighbours_day(&mut other, 1..4);
    // Closed once more, by a copy of that till which had heard of two sales of three.
    let head = runs[3].before[&of_store];
    let (device, incarnation) = (DeviceId(uuid::Uuid::from_bytes(other.chain.origin.device)), other.chain.origin.incarnation);
    let cut = Some(vec![SeenHead { device, incarnation, seq: head.seq, hash: head.hash }]);
    let closed = ShiftClosing { shift: shift(), counted_minor: 0, expected_minor: 0, cut_commit: 1, cut };
    runs.push(other.record(of_store, &Record::ShiftClosed(closed)));
    shop.feed(&mut till, runs);
    is_central(&mut till, &other, other.chain.commit);
    shop.env.pass_ms(61 * DAY_MS);
    let shifts = |till: &Till| match till.query(Query::Shifts { limit: 9 }) {
        Ok(Answer::Shifts(shifts)) => shifts,
        other => panic!("{other:?}"),
    };
    let before = shifts(&till);
    assert_eq!(before[0].addenda.len(), 1, "{before:?}");
    assert_eq!(let_go(&mut till), 3);
    assert_eq!(shifts(&till), before);
    is_as_rebuilt(&mut till);
    assert_eq!(shifts(&till), before);
}

#[test]
fn an_order_that_has_gone_and_comes_again_counts_once() {
    let (mut shop, mut till) = working();
    let mut other = neighbour(&mut shop, &mut till);
    let runs = neighbours_day(&mut other, 1..3);
    shop.feed(&mut till, runs.clone());
    let last = other.chain.commit;
    is_central(&mut till, &other, last);
    assert_eq!(let_go(&mut till), 2);
    let before = sums(&mut till);
    let again = till.receive(runs, shop.region_seq).expect("known runs");
    assert_eq!((again.entries, again.skipped), (0, 4), "a server that was refilled sends everything anew");
    let mut copy = Writer::new(51);
    let device = DeviceId(uuid::Uuid::from_bytes(copy.chain.origin.device));
    let run = shop.server.record(scopes::directory(), &enrolled(device, "Till 6", copy.key.clone()));
    let same = copy.record(scopes::store(store_id()), &neighbours_sale(1));
    shop.feed(&mut till, vec![run, same]);
    let after = sums(&mut till);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.iter().all(|line| line.starts_with("device|")), "{new:?}");
}

#[test]
fn a_history_that_parts_below_the_floor_is_kept_as_one_of_its_own() {
    let (mut shop, mut till) = working();
    let mut other = neighbour(&mut shop, &mut till);
    let of_store = || scopes::store(store_id());
    let mut runs = neighbours_day(&mut other, 1..6);
    // The other life: it parts after the second commit.
    let mut second = Writer::new(50);
    let mut branch = vec![runs[0].clone(), runs[1].clone()];
    second.record(
        of_store(),
        &Record::ShiftOpened(ShiftOpening {
            shift: shift(),
            business_day: BusinessDay(19_700),
            float_minor: 0,
            currency: Currency::new("GBP").expect("GBP"),
        }),
    );
    second.record(of_store(), &neighbours_sale(1));
    assert_eq!(second.chain, {
        let mut chain = other.chain.clone();
        chain.heads.insert(of_store(), second.chain.head(&of_store()));
        chain.commit = 2;
        chain
    });
    branch.push(second.record(of_store(), &neighbours_sale(40)));
    branch.push(second.record(of_store(), &neighbours_sale(41)));
    shop.feed(&mut till, std::mem::take(&mut runs));
    let last = other.chain.commit;
    is_central(&mut till, &other, last);
    assert_eq!(let_go(&mut till), 5);
    let (level, received) = (stock(&till), till.receive(branch, shop.region_seq + 1).expect("another history"));
    assert_eq!((received.forks, received.skipped, received.entries), (1, 2, 2));
    assert_eq!(stock(&till), level - 2_000);
    is_as_rebuilt(&mut till);
    let found = lines::of(till.db().expect("a database"), other.chain.origin).expect("lines");
    assert_eq!(found.iter().map(|line| line.parent.map(|(_, after)| after)).collect::<Vec<_>>(), [None, Some(2)]);
    assert_eq!(found[1].chain, second.chain);
}

#[test]
fn what_has_gone_is_brought_to_nobody_and_the_rest_follows_it() {
    let (shop, mut till) = working();
    a_day_long_ago(&shop, &mut till);
    let end = till.own_chain().clone();
    let all = till.own_runs_after(0, 1 << 20, 1_000).expect("a run").expect("all of it");
    assert_eq!(all.commits.len() as u64, end.commit);
    let_go(&mut till);
    let floor = till.own_floor().expect("a floor");
    assert!(floor > 3 && floor < end.commit);
    for after in [0, floor - 1] {
        assert_eq!(till.own_runs_after(after, 1 << 20, 1_000).expect("no run"), None, "after {after}");
    }
    let rest = till.own_runs_after(floor, 1 << 20, 1_000).expect("a run").expect("the rest");
    assert_eq!(rest.commits, all.commits[floor as usize..]);
    let (lines, _) = till.grown_since(0).expect("lines");
    let own = lines.iter().find(|line| line.chain == end).expect("its own history");
    assert_eq!(till.run_after(own, 0, 1 << 20).expect("no run"), None);
    assert_eq!(till.run_after(own, floor, 1 << 20).expect("a run").map(|run| run.commits), Some(rest.commits));
    // Where it has been it says as before.
    let offered = till.offered(own).expect("an offer");
    assert_eq!(
        offered.checkpoints.last().map(|at| at.commit),
        Some(1).filter(|_| end.commit.is_power_of_two()).or(offered.checkpoints.last().map(|at| at.commit))
    );
    assert_eq!(till.lacking(&[offered]).expect("a look").whole, [0]);
}

#[test]
fn an_audit_passes_over_what_has_gone_and_finds_what_was_taken() {
    let (shop, mut till) = working();
    a_day_long_ago(&shop, &mut till);
    let_go(&mut till);
    let audit = |till: &Till| {
        let mut audit = Audit::default();
        loop {
            match audit.step(till.db().expect("a database"), |_| Ok(None)).expect("a sound disk") {
                Found::More => {}
                found => return found,
            }
        }
    };
    assert_eq!(audit(&till), Found::Whole);
    let taken = "UPDATE entry SET bytes = x'' WHERE id = (SELECT max(id) FROM entry)";
    till.db().expect("a database").execute_batch(taken).expect("taken");
    assert!(matches!(audit(&till), Found::Broken(_)), "an entry above the floor is gone");
}

/// The server's answer to a question: runs as this till once had them.
fn told(till: &mut Till, receipt: &str, runs: Vec<Run>) -> Result<(), Code> {
    till.set_link(LinkChange::Online { now_ms: 1, way: LinkWay::Quic });
    let number = till.ask_server(receipt).expect("somebody to ask");
    assert_eq!(till.questions().len(), 1);
    till.told(Told { number, runs });
    till.take_answer(number).expect("an answer").map_err(|error| error.code)
}

/// The run that begins with an order's commit and ends with it.
fn run_of(till: &Till, order: OrderId) -> Run {
    let db = till.db().expect("a database");
    let row = orders::order(db, order).expect("a row").expect("an order");
    let commit = log::commit_of(db, row.entry).expect("a commit");
    till.own_runs_after(commit - 1, 1, 1).expect("a run").expect("it is here")
}

#[test]
fn a_sale_that_has_gone_is_refunded_once_the_server_has_told_of_it() {
    let (shop, mut till) = working();
    let sale = sell(&mut till, "22423", 4);
    refund(&mut till, sale, 1_000).expect("a refund");
    let run = run_of(&till, sale);
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    all_central(&mut till);
    let before = view(&till, sale).expect("it is here");
    let_go(&mut till);
    assert_eq!(refund_of_gone(&mut till, sale), Err(Code::NotKept));
    let receipt = before.summary.receipt.clone();
    till.set_link(LinkChange::Offline { problem: "no way".to_owned() });
    let offline = till.ask_server(&receipt).expect_err("nobody is there");
    assert_eq!(offline.code, Code::NotKept);
    assert!(offline.message.contains("60 days") && offline.message.contains("connected"), "{offline}");

    let (sums_before, entries) = (sums(&mut till), till.last_entry());
    told(&mut till, &receipt, vec![run]).expect("it holds");
    let now = view(&till, sale).expect("it was told");
    let shown = |view: &OrderView| (view.lines.clone(), view.refunds.clone(), view.cashier.clone(), view.taxes.clone());
    assert_eq!(shown(&now), shown(&before));
    assert!(!now.summary.is_here && now.lines[0].refundable_milli == 3_000);
    assert_eq!((sums(&mut till), till.last_entry()), (sums_before, entries), "it is counted nowhere again");
    let level = stock(&till);
    assert_eq!(refund(&mut till, sale, 3_001), Err(Code::NothingToRefund));
    refund(&mut till, sale, 3_000).expect("what is left");
    assert_eq!(stock(&till), level + 3_000);
    assert_eq!(refund(&mut till, sale, 1), Err(Code::NothingToRefund));
    is_as_rebuilt(&mut till);
}

fn refund_of_gone(till: &mut Till, sale: OrderId) -> Result<(), Code> {
    let lines = vec![RefundLine { line: 0, quantity_milli: 1_000 }];
    let refund = OrderId::new(1, [3; 10]);
    till.ask(Command::RefundSale { refund, original: sale, lines, reason: "broken".to_owned() })
        .map(drop)
        .map_err(|error| error.code)
}

#[test]
fn what_the_server_tells_and_nobody_signed_is_not_shown() {
    let (shop, mut till) = working();
    let sale = sell(&mut till, "22423", 4);
    let other = sell(&mut till, "22423", 1);
    let (good, another) = (run_of(&till, sale), run_of(&till, other));
    let receipt = view(&till, sale).expect("it is here").summary.receipt;
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    all_central(&mut till);
    let_go(&mut till);
    let change = |change: &dyn Fn(&mut Run)| {
        let mut run = good.clone();
        change(&mut run);
        run
    };
    let altered = change(&|run| *run.commits[0].entries[0].1.last_mut().expect("bytes") ^= 1);
    let unsealed = change(&|run| run.commits[0].seal = None);
    let elsewhere = change(&|run| {
        let (scope, mut head) = run.before.pop_first().expect("a scope");
        head.hash[0] ^= 1;
        run.before.insert(scope, head);
    });
    let stranger = {
        let mut stranger = Writer::new(66);
        stranger.record(scopes::store(store_id()), &neighbours_sale(1))
    };
    let of_server = shop_words(&shop);
    for (name, bad) in [
        ("altered", altered),
        ("unsealed", unsealed),
        ("elsewhere", elsewhere),
        ("stranger", stranger),
        ("of the server", of_server),
    ] {
        assert_eq!(told(&mut till, &receipt, vec![bad]), Err(Code::NotKept), "{name}");
        assert_eq!(view(&till, sale), Err(Code::NotKept), "{name}");
    }
    assert_eq!(told(&mut till, &receipt, Vec::new()), Err(Code::NoSuchOrder));
    // Another sale than the one that was asked for is shown as what it is.
    told(&mut till, &receipt, vec![another]).expect("it holds");
    assert_eq!(view(&till, sale), Err(Code::NotKept));
    assert!(view(&till, other).is_ok());
    told(&mut till, &receipt, vec![good]).expect("it holds");
    assert!(view(&till, sale).is_ok());
}

/// Something that the server has written and no till of the store.
fn shop_words(shop: &Shop) -> Run {
    let mut server = Writer::new(200);
    server.chain = shop.server.chain.clone();
    let record = enrolled(till_device(), "Till 3", shop.server.key.clone());
    server.record(scopes::directory(), &record)
}

#[test]
fn a_refund_that_has_not_arrived_counts_when_the_server_tells_of_it() {
    let (mut shop, mut till) = working();
    let mut other = neighbour(&mut shop, &mut till);
    let runs = neighbours_day(&mut other, 1..2);
    let Record::SaleCompleted(sale) = neighbours_sale(1) else { panic!("a sale") };
    // Nothing of the neighbour is here yet: its sale is asked for by its number alone.
    assert_eq!(view(&till, sale.id), Err(Code::NoSuchOrder));
    let back = {
        let currency = Currency::new("GBP").expect("GBP");
        let terms = Terms { receipt_number: 2, shift: shift(), currency, tax_mode: TaxMode::Inclusive };
        let id = OrderId::new(5_000, [8; 10]);
        domain::cart::refund_of(&terms, id, &sale, &[(0, Quantity(400))], |_| Quantity(0), "dented").expect("a refund")
    };
    let refunded = other.record(scopes::store(store_id()), &Record::RefundGiven(back));
    told(&mut till, "S01-T05a-000001", vec![runs[1].clone(), refunded.clone()]).expect("it holds");
    let shown = view(&till, sale.id).expect("it was told");
    assert_eq!((shown.lines[0].refundable_milli, shown.refunds.len()), (600, 1));
    assert_eq!(shown.summary.receipt, "S01-T05a-000001");
    let found = till.query(Query::FindOrder { receipt: " s01-t05a-000001 ".to_owned() }).expect("it was told");
    assert!(matches!(found, Answer::Order(found) if found.summary.order == sale.id));
    assert_eq!(refund(&mut till, sale.id, 601), Err(Code::NothingToRefund));
    // Once it arrives it counts once.
    let mut all = runs;
    all.push(refunded);
    shop.feed(&mut till, all);
    let shown = view(&till, sale.id).expect("it is here");
    assert_eq!((shown.lines[0].refundable_milli, shown.refunds.len()), (600, 1));
}

#[test]
fn an_open_order_that_has_gone_is_not_taken_up_again() {
    let (shop, mut till) = working();
    till.scan("22423", 3);
    let order = till.view().expect("a view").cart.order;
    till.must(Command::Park { order, label: "Mrs Oak".to_owned(), note: None });
    till.must(Command::Recall { open_order: OpenOrderId(order.0) });
    till.pay();
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    all_central(&mut till);
    let_go(&mut till);
    assert!(retention::is_gone(till.db().expect("a database"), *order.as_bytes()).expect("a look"));
    assert_eq!(till.view().expect("a view").open_orders, 0);
    is_as_rebuilt(&mut till);
    assert_eq!(till.refused(Command::Recall { open_order: OpenOrderId(order.0) }), Code::NoSuchOrder);
    assert_eq!(gone(&till), till.reach().expect("a look").gone);
}

#[test]
fn what_waits_for_the_printer_stays() {
    let (mut shop, till) = working();
    drop(till);
    shop.options.printing = true;
    let mut till = shop.reopen();
    till.sign_in(MANAGER);
    let sale = sell(&mut till, "22423", 1);
    close(&mut till);
    shop.env.pass_ms(61 * DAY_MS);
    till.open();
    all_central(&mut till);
    assert_eq!(let_go(&mut till), 2, "the sign-ins");
    assert!(view(&till, sale).is_ok());
    let work = till.next_print().expect("a look").expect("a receipt waits");
    let attempt = till.begin_print(work.n, "epson-80", [0; 32]).expect("begun");
    till.end_print(work.n, attempt, &node::till::PrintOutcome::Confirmed).expect("noted");
    assert_eq!(let_go(&mut till), 1, "the sale");
}

/// Pages that hold something, and all pages of the file.
fn pages(till: &Till) -> (i64, i64) {
    let pragma = |name: &str| -> i64 {
        let db = till.db().expect("a database");
        db.query_row(&format!("PRAGMA {name}"), [], |r| r.get(0)).expect("a number")
    };
    let all = pragma("page_count");
    (all - pragma("freelist_count"), all)
}

#[test]
fn what_goes_makes_room_for_what_comes() {
    const SALES: usize = 400;
    let (mut shop, till) = working();
    drop(till);
    shop.options.printing = true;
    let mut till = shop.reopen();
    till.sign_in(MANAGER);
    let day = |shop: &Shop, till: &mut Till| {
        for _ in 0..SALES {
            for code in ["22423", "85123A", "22423", "85123A"] {
                till.must(Command::AddLine {
                    item: node::api::Item::Code { code: code.to_owned() },
                    quantity_milli: None,
                    unit_price: None,
                    name: None,
                    separate: Some(true),
                });
            }
            till.pay();
            let work = till.next_print().expect("a look").expect("a receipt waits");
            let attempt = till.begin_print(work.n, "epson-80", [0; 32]).expect("begun");
            till.end_print(work.n, attempt, &node::till::PrintOutcome::Confirmed).expect("noted");
        }
        close(till);
        shop.env.pass_ms(61 * DAY_MS);
        till.open();
        all_central(till);
        till.tidy().expect("tidied");
    };
    let (empty, _) = pages(&till);
    day(&shop, &mut till);
    let (full, _) = pages(&till);
    let (begun, mut steps) = (std::time::Instant::now(), Vec::new());
    loop {
        let step = std::time::Instant::now();
        if till.let_go_step().expect("a sound disk") != Care::More {
            break;
        }
        steps.push(step.elapsed());
    }
    let took = begun.elapsed();
    let (left, size) = pages(&till);
    steps.sort_unstable();
    let bytes_a_sale = |pages: i64| pages * 4_096 / SALES as i64;
    println!(
        "a sale of four lines with its receipt: {} bytes, {} once it has gone; {SALES} go in {took:.1?}, a step p50 {:.1?} max {:.1?}",
        bytes_a_sale(full - empty),
        bytes_a_sale(left - empty),
        steps[steps.len() / 2],
        steps[steps.len() - 1]
    );
    assert!((left - empty) * 4 < full - empty, "{empty} pages when empty, {full} when full, {left} are left");
    day(&shop, &mut till);
    let (_, grown) = pages(&till);
    assert!(grown - size < (full - empty) / 3, "the file grows from {size} pages to {grown}");
}
