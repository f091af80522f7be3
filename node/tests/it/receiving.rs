//! What comes from elsewhere: verified whole, or refused whole.

use domain::cart::{Cart, Terms};
use domain::ids::{DeviceId, OrderId, ShiftId};
use domain::money::{Currency, Quantity};
use domain::record::Record;
use domain::tax::TaxMode;
use journal::{NewEntry, Scope, SigningKey};
use node::api::{ApiErrorCode as Code, Command, Durability, LinkState, LinkWay, Query, RefundLine};
use node::store::rebuild;
use node::till::{Answer, LinkChange, Place, ReceiveError, Till};
use sync_proto::batch::Run;
use sync_proto::documents::DocumentValue;
use sync_proto::scopes;

use crate::shop::*;

pub fn dump(till: &mut Till) -> String {
    till.tidy().expect("tidied");
    rebuild::dump(till.db().expect("the database")).expect("a dump")
}

fn price(shop: &mut Shop, n: u8, minor: i64) -> Run {
    let product = product(n, "22423", "Cake stand", minor);
    shop.server.document(scopes::catalogue(), DocumentValue::Product(product))
}

fn neighbours_sale(n: u64) -> Record {
    let mut cart = Cart::new(OrderId::new(1_000 + n, [8; 10]));
    let cake = product(3, "22423", "Cake stand", 1_275);
    cart.add(&cake, "Cake stand", Quantity::ONE, cake.price, false).expect("a line");
    let terms = Terms {
        receipt_number: n,
        shift: ShiftId::new(1, [8; 10]),
        currency: Currency::new("GBP").expect("GBP"),
        tax_mode: TaxMode::Inclusive,
    };
    Record::SaleCompleted(cart.settle_in_cash(&terms, 1_275).expect("an order"))
}

/// Another till of the store, known to the directory.
fn neighbour(shop: &mut Shop, till: &mut Till) -> Writer {
    let neighbour = Writer::new(50);
    let device = DeviceId(uuid::Uuid::from_bytes(neighbour.chain.origin.device));
    let run = shop.server.record(scopes::directory(), &enrolled(device, "Till 5", neighbour.key.clone()));
    shop.feed(till, vec![run]);
    neighbour
}

#[test]
fn runs_that_come_twice_change_nothing() {
    let (mut shop, mut till) = Shop::stocked();
    let (a, b, c) = (price(&mut shop, 3, 1), price(&mut shop, 3, 2), price(&mut shop, 3, 3));
    shop.feed(&mut till, vec![a.clone(), b.clone()]);
    let before = dump(&mut till);
    let again = till.receive(vec![a.clone(), b.clone()], shop.region_seq).expect("known runs");
    assert_eq!((again.entries, again.skipped), (0, 2));
    assert_eq!(dump(&mut till), before);
    let overlap = till.receive(vec![joined(vec![a, b, c])], shop.region_seq + 1).expect("an overlap");
    assert_eq!((overlap.entries, overlap.skipped), (1, 2));
    assert!(till.cursors().iter().all(|(_, at)| *at == shop.region_seq + 1));
}

#[test]
fn cursors_never_go_back_and_survive_a_restart() {
    let (mut shop, mut till) = Shop::stocked();
    till.receive(Vec::new(), 500).expect("nothing new");
    till.receive(Vec::new(), 7).expect("nothing new");
    let cursors = till.cursors();
    assert_eq!(cursors.len(), 4);
    assert!(cursors.iter().all(|(_, at)| *at == 500));
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(till.cursors(), cursors);
    shop.region_seq = 500;
    let run = price(&mut shop, 3, 9);
    shop.feed(&mut till, vec![run]);
}

#[test]
fn what_does_not_verify_leaves_nothing_behind() {
    let (mut shop, mut till) = Shop::stocked();
    let known = shop.server.chain.clone();
    let good = price(&mut shop, 3, 5);
    let later = price(&mut shop, 3, 6);
    let before = (dump(&mut till), till.cursors());
    let tamper = |change: &dyn Fn(&mut Run)| {
        let mut run = good.clone();
        change(&mut run);
        run
    };
    let altered = tamper(&|run| {
        let bytes = &mut run.commits[0].entries[0].1;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let resealed = tamper(&|run| run.commits[0].seal.as_mut().expect("a seal").signature[5] ^= 1);
    let unsealed = tamper(&|run| run.commits[0].seal = None);
    let other_key = {
        let mut impostor = Writer::new(200);
        impostor.key = SigningKey::from_bytes(&id(201));
        impostor.chain = known;
        impostor.document(scopes::catalogue(), DocumentValue::Product(product(9, "X", "X", 1)))
    };
    let cut_out = later;
    for (name, bad) in [("altered", altered), ("resealed", resealed), ("unsealed", unsealed), ("other key", other_key)] {
        let error = till.receive(vec![bad], 1_000).expect_err(name);
        assert!(matches!(error, ReceiveError::Chain { .. } | ReceiveError::Gap(_)), "{name}: {error:?}");
        assert_eq!((dump(&mut till), till.cursors()), before, "{name}");
    }
    let gap = till.receive(vec![cut_out], 1_000).expect_err("a gap");
    assert!(matches!(gap, ReceiveError::Gap { .. }), "{gap:?}");
    assert_eq!((dump(&mut till), till.cursors()), before);
    till.receive(vec![good], 1_000).expect("the good one is still taken");
}

#[test]
fn a_good_run_before_a_bad_one_is_not_kept_either() {
    let (mut shop, mut till) = Shop::stocked();
    let before = dump(&mut till);
    let good = price(&mut shop, 3, 5);
    let mut bad = price(&mut shop, 3, 6);
    bad.commits[0].seal.as_mut().expect("a seal").signature[0] ^= 1;
    till.receive(vec![good, bad], 1_000).expect_err("the second is bad");
    assert_eq!(dump(&mut till), before);
}

#[test]
fn entries_of_strangers_and_of_scopes_that_are_not_followed_are_refused() {
    let (mut shop, mut till) = Shop::stocked();
    let mut stranger = Writer::new(66);
    let run = stranger.record(scopes::store(store_id()), &neighbours_sale(1));
    assert!(matches!(till.receive(vec![run], 1_000), Err(ReceiveError::UnknownDevice(_))));
    let elsewhere = scopes::store(domain::ids::StoreId::new(99, [1; 10]));
    let mut all = followed();
    all.insert(elsewhere.clone());
    let change = shop.server.change(&DocumentValue::Product(product(8, "8", "8", 8)));
    let run = shop.server.commit(vec![NewEntry { scope: elsewhere.clone(), body: change }], &all);
    assert!(matches!(till.receive(vec![run], 1_000), Err(ReceiveError::Foreign(scope)) if scope == elsewhere));
}

#[test]
fn a_till_may_not_write_prices() {
    let (mut shop, mut till) = Shop::stocked();
    let mut neighbour = neighbour(&mut shop, &mut till);
    let run = neighbour.document(scopes::catalogue(), DocumentValue::Product(product(3, "22423", "Cake stand", 1)));
    let error = till.receive(vec![run], 1_000).expect_err("not its to write");
    assert!(matches!(error, ReceiveError::NotAllowed { .. }), "{error:?}");
}

#[test]
fn a_commit_over_several_scopes_is_verified_by_the_heads_it_names() {
    let (mut shop, mut till) = Shop::stocked();
    let elsewhere = scopes::staff(domain::ids::StoreId::new(99, [1; 10]));
    for _ in 0..3 {
        let staff = shop.server.change(&staff(90, &format!("Someone {}", shop.region_seq), domain::staff::Role::Cashier, "1234"));
        let new = vec![NewEntry { scope: elsewhere.clone(), body: staff }];
        let hidden = shop.server.commit(new, &followed());
        assert!(hidden.commits[0].entries.is_empty(), "a commit that this till never sees");
        let minor = 100 + shop.region_seq as i64;
        let run = price(&mut shop, 3, minor);
        shop.feed(&mut till, vec![run]);
        drop(till);
        till = shop.reopen();
    }
}

#[test]
fn a_neighbours_sale_is_shown_and_can_be_refunded_here() {
    let (mut shop, mut till) = Shop::stocked();
    let mut neighbour = neighbour(&mut shop, &mut till);
    let start = Record::DeviceStarted(domain::record::DeviceStart {
        series: "S01-T05a".to_owned(),
        actor_seed: None,
        software: String::new(),
    });
    let sale = neighbours_sale(1);
    let Record::SaleCompleted(order) = &sale else { panic!("a sale") };
    let runs = vec![neighbour.record(scopes::store(store_id()), &start), neighbour.record(scopes::store(store_id()), &sale)];
    shop.feed(&mut till, vec![joined(runs)]);
    let Answer::Orders(list) = till.query(Query::Orders { text: String::new(), limit: 10 }).expect("orders") else {
        panic!("orders")
    };
    assert_eq!((list[0].receipt.as_str(), list[0].till.as_str()), ("S01-T05a-000001", "Till 5"));
    assert_eq!(list[0].durability, Durability::Regional);
    till.sign_in(CASHIER);
    till.open();
    let lines = vec![RefundLine { line: 0, quantity_milli: 1_000 }];
    let refund = OrderId::new(5, [5; 10]);
    let view = till.must(Command::RefundSale { refund, original: order.id, lines: lines.clone(), reason: "r".to_owned() });
    assert_eq!(view.last_order.map(|o| o.total_minor), Some(-1_275));
    let again = Command::RefundSale { refund: OrderId::new(6, [6; 10]), original: order.id, lines, reason: "r".to_owned() };
    assert_eq!(till.refused(again), Code::NothingToRefund);
    assert_eq!(till.refused(Command::SettleCash { order: order.id, tendered_minor: 0 }), Code::StaleOrder, "not this till's");
    let before = dump(&mut till);
    till.rebuild().expect("a rebuild");
    assert_eq!(dump(&mut till), before);
}

#[test]
fn the_same_sale_from_two_writers_counts_once() {
    let (mut shop, mut till) = Shop::stocked();
    let mut neighbour = neighbour(&mut shop, &mut till);
    let sale = neighbours_sale(1);
    let scope = scopes::store(store_id());
    let runs = vec![neighbour.record(scope.clone(), &sale), neighbour.record(scope, &sale)];
    shop.feed(&mut till, runs);
    let Answer::Ledger(ledger) = till.query(Query::Ledger {}).expect("a ledger") else { panic!("a ledger") };
    assert_eq!((ledger.orders, ledger.devices[0].lines), (1, 1));
    drop(till);
    let till = shop.reopen();
    assert_eq!(till.query(Query::Ledger {}).expect("a ledger"), Answer::Ledger(ledger));
}

#[test]
fn what_this_build_cannot_read_is_kept_and_noted() {
    let (mut shop, mut till) = Shop::stocked();
    let body = journal::Body::Record { kind: 4_711, version: 1, bytes: vec![0xa0] };
    let newer = shop.server.commit(vec![NewEntry { scope: scopes::directory(), body }], &followed());
    let body = journal::Body::Change { document: id(3), kind: 1, bytes: b"no change".to_vec() };
    let broken = shop.server.commit(vec![NewEntry { scope: scopes::catalogue(), body }], &followed());
    let fine = price(&mut shop, 3, 77);
    shop.feed(&mut till, vec![newer, broken, fine]);
    let unread: i64 =
        till.db().expect("the database").query_row("SELECT count(*) FROM unread", [], |r| r.get(0)).expect("a count");
    assert_eq!(unread, 2);
    till.sign_in(CASHIER);
    assert_eq!(till.scan("22423", 1).cart.total_minor, 77);
}

fn after_twenty_sales() -> (Shop, Till) {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    for _ in 0..20 {
        till.scan("22423", 1);
        till.pay();
    }
    (shop, till)
}

#[test]
fn own_commits_go_out_in_runs_that_verify_and_are_recognised_when_they_come_back() {
    let (shop, mut till) = after_twenty_sales();
    let head = till.own_chain().clone();
    let mut chain = journal::OriginChain::new(head.origin);
    let key = till.identity().signing_key().verifying_key();
    let mut runs = Vec::new();
    while let Some(run) = till.own_runs_after(chain.commit, 1_000, 4).expect("a run") {
        assert!(run.commits.len() <= 4);
        chain.verify(&key, journal::View::Whole, run.commits.clone()).expect("a run that verifies");
        runs.push(run);
    }
    assert_eq!(chain, head);
    assert!(runs.len() >= 6, "{} runs", runs.len());
    let received = till.receive(runs, shop.region_seq).expect("own runs");
    assert_eq!((received.entries, received.skipped as u64), (0, head.commit));
}

/// What a till had lost comes back from the server with a seal now and then; sent on to another server, every run must end with one.
#[test]
fn own_commits_that_came_back_with_few_seals_go_out_again_in_runs_that_end_with_one() {
    let (_shop, till) = after_twenty_sales();
    let head = till.own_chain().clone();
    till.db()
        .expect("the database")
        .execute("UPDATE entry SET seal = NULL WHERE commit_no % 7 <> 0 AND commit_no < ?", [head.commit])
        .expect("few seals");
    let key = till.identity().signing_key().verifying_key();
    for (bytes_max, commits_max) in [(1, 1), (1_000, 4), (1_000_000, 10), (1_000_000, 4_096)] {
        let mut chain = journal::OriginChain::new(head.origin);
        while let Some(run) = till.own_runs_after(chain.commit, bytes_max, commits_max).expect("a run") {
            chain.verify(&key, journal::View::Whole, run.commits).expect("a run that verifies");
        }
        assert_eq!(chain, head, "{bytes_max} bytes, {commits_max} commits");
    }
}

#[test]
fn acknowledgements_rise_and_never_fall() {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    till.scan("22423", 1);
    till.pay();
    let durability = |till: &Till| till.view().expect("a view").last_order.map(|o| o.durability);
    let commit = till.own_chain().commit;
    assert_eq!((till.link_view().unsent, durability(&till)), (commit, Some(Durability::Device)));
    till.acked(commit, commit - 1).expect("acknowledged");
    assert_eq!((till.link_view().unsent, till.link_view().not_central), (0, 1));
    assert_eq!(durability(&till), Some(Durability::Regional));
    till.acked(1, 1).expect("an old one");
    assert_eq!(till.link_view().unsent, 0);
    till.acked(u64::MAX, commit).expect("a wild one");
    assert_eq!(durability(&till), Some(Durability::Central));
    drop(till);
    let mut till = shop.reopen();
    assert_eq!((till.link_view().unsent, till.link_view().not_central), (0, 0));
    till.sign_in(CASHIER);
    assert_eq!(till.link_view().unsent, 1, "a wild acknowledgement did not hide what came after");
}

#[test]
fn a_server_that_lost_its_disk_starts_anew() {
    let (mut shop, mut till) = Shop::stocked();
    till.begin_region(id(1)).expect("a region");
    till.acked(1, 0).expect("acknowledged");
    shop.region_seq = 40;
    till.receive(Vec::new(), 40).expect("nothing");
    till.begin_region(id(1)).expect("the same region");
    assert_eq!((till.link_view().unsent, till.cursors()[0].1), (0, 40));
    till.begin_region(id(2)).expect("another region");
    assert_eq!((till.link_view().unsent, till.cursors()[0].1), (1, 0), "what only the lost one had is on this till alone again");
    drop(till);
    let till = shop.reopen();
    assert_eq!((till.region(), till.cursors()[0].1), (Some(id(2)), 0));
}

#[test]
fn a_history_that_is_known_better_elsewhere_begins_a_new_incarnation() {
    let (mut shop, mut till) = Shop::stocked();
    let old = till.own_chain().origin;
    let mut ahead = Writer::new(42);
    ahead.chain = till.own_chain().clone();
    ahead.key = till.identity().signing_key().clone();
    let run = ahead.record(scopes::store(store_id()), &neighbours_sale(1));
    assert!(matches!(till.receive(vec![run.clone()], 1_000), Err(ReceiveError::OwnHistoryAhead)));
    till.renew_incarnation().expect("a new one");
    assert_ne!(till.own_chain().origin, old);
    assert_eq!((till.identity().series().as_str(), till.own_chain().commit), ("S01-T03b", 1));
    shop.feed(&mut till, vec![run]);
    assert_eq!(till.link_view().unsent, 1, "what the server sent it has");
}

#[test]
fn what_is_read_of_some_scopes_moves_the_cursors_of_those_alone() {
    let (shop, mut till) = Shop::stocked();
    till.begin_region(id(1)).expect("a region");
    let (of_store, mark) = (scopes::store(store_id()), |n| Some([n; 64]));
    let place = |region_seq, mark, scopes| Place { region_seq, mark, scopes };
    let cursor = |till: &Till, scope: &Scope| till.cursors().into_iter().find(|(of, _)| of == scope).expect("followed").1;

    till.receive(Vec::new(), place(90, mark(9), Some(vec![of_store.clone()]))).expect("read");
    assert_eq!((cursor(&till, &of_store), cursor(&till, &scopes::catalogue())), (90, 0));
    let others: Vec<Scope> = till.cursors().into_iter().map(|(scope, _)| scope).filter(|scope| *scope != of_store).collect();
    till.receive(Vec::new(), place(40, mark(4), Some(others))).expect("read");
    assert_eq!((cursor(&till, &of_store), cursor(&till, &scopes::catalogue())), (90, 40));
    assert_eq!(till.mark().map(|mark| mark.region_seq), Some(90), "the furthest place says most of the server's log");
    drop(till);
    let mut till = shop.reopen();
    assert_eq!((cursor(&till, &of_store), cursor(&till, &scopes::catalogue())), (90, 40), "after a start as well");
    till.receive(Vec::new(), place(95, mark(5), None)).expect("read");
    assert!(till.cursors().iter().all(|(_, at)| *at == 95), "{:?}", till.cursors());
    assert_eq!(till.mark().map(|mark| mark.region_seq), Some(95));
}

#[test]
fn a_busy_server_is_no_problem_and_the_way_of_the_link_is_shown() {
    let (_shop, mut till) = Shop::new();
    till.set_link(LinkChange::Online { now_ms: 5, way: LinkWay::Tcp });
    assert_eq!((till.link_view().state, till.link_view().way), (LinkState::Online, Some(LinkWay::Tcp)));
    till.take_events();
    till.set_link(LinkChange::Online { now_ms: 6, way: LinkWay::Quic });
    assert_eq!(till.take_events().len(), 1, "another way is news");
    till.set_link(LinkChange::Busy);
    let link = till.link_view();
    assert_eq!((link.state, link.way, link.problem, link.last_contact_ms), (LinkState::Busy, None, None, Some(6)));
}

#[test]
fn the_link_is_announced_when_it_changes() {
    let (_shop, mut till) = Shop::new();
    till.take_events();
    till.set_link(LinkChange::Offline { problem: "no route".to_owned() });
    till.set_link(LinkChange::Offline { problem: "no route".to_owned() });
    assert_eq!(till.take_events().len(), 1);
    till.set_link(LinkChange::Online { now_ms: 5, way: LinkWay::Quic });
    till.set_link(LinkChange::Online { now_ms: 6, way: LinkWay::Quic });
    assert_eq!(till.take_events().len(), 1);
    assert_eq!((till.link_view().last_contact_ms, till.link_view().problem), (Some(6), None));
}
