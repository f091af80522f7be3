//! Parked carts: what is refused, what a restart finds, and changes that do not count.

use domain::document::{DocumentKind, Product};
use domain::ids::{OpenOrderId, ProductId};
use domain::open_order::OpenOrderStatus;
use domain::record::{DeviceStart, RECORD_VERSION, Record};
use journal::{Body, NewEntry};
use node::api::{ApiErrorCode, Command, OpenOrderView, Query};
use node::store::documents;
use node::till::{Answer, Till};
use sync_proto::documents::DocumentValue;
use sync_proto::scopes;

use super::shop::*;

fn working() -> (Shop, Till) {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    (shop, till)
}

fn park(till: &mut Till, label: &str) -> OpenOrderId {
    let cart = till.view().expect("a view").cart;
    till.must(Command::Park { order: cart.order, label: label.to_owned(), note: None });
    cart.recalled.map_or(OpenOrderId(cart.order.0), |recalled| recalled.open_order)
}

fn list(till: &Till, text: &str) -> Vec<OpenOrderView> {
    match till.query(Query::OpenOrders { text: text.to_owned(), limit: 200 }).expect("a list") {
        Answer::OpenOrders(list) => list,
        other => panic!("{other:?}"),
    }
}

fn unread(till: &Till) -> Vec<String> {
    let db = till.db().expect("a database");
    let mut select = db.prepare("SELECT why FROM unread ORDER BY entry").expect("a query");
    select.query_map([], |r| r.get(0)).expect("rows").collect::<Result<_, _>>().expect("texts")
}

#[test]
fn a_cart_is_put_aside_and_taken_up_again() {
    let (_shop, mut till) = working();
    till.scan("22423", 2);
    let total = till.view().expect("a view").cart.total_minor;
    let id = park(&mut till, "Mrs Oak");
    let view = till.view().expect("a view");
    assert_eq!((view.cart.lines.len(), view.open_orders), (0, 1));
    assert_eq!(list(&till, "mrs").first().map(|row| row.total_minor), Some(total));
    assert_eq!(list(&till, "nobody"), []);

    till.must(Command::Recall { open_order: id });
    let view = till.must(Command::ClearCart {});
    assert_eq!((view.cart.lines.len(), view.cart.recalled, view.open_orders), (0, None, 1), "it stays open as it was");

    till.must(Command::Recall { open_order: id });
    till.must(Command::SetQuantity { line: 0, quantity_milli: 5_000 });
    assert_eq!(park(&mut till, "Herr Ärzt"), id);
    assert_eq!(list(&till, "ärz").iter().map(|row| row.label.as_str()).collect::<Vec<_>>(), ["Herr Ärzt"]);
    till.must(Command::Recall { open_order: id });
    till.pay();
    assert_eq!(list(&till, ""), []);
    till.rebuild().expect("a rebuild");
    assert_eq!((list(&till, ""), unread(&till)), (vec![], vec![]));
}

#[test]
fn what_cannot_be_parked_or_taken_up_is_refused_and_stays_as_it_was() {
    let (_shop, mut till) = working();
    let order = till.view().expect("a view").cart.order;
    let parks = |order, label: &str| Command::Park { order, label: label.to_owned(), note: None };
    assert_eq!(till.refused(parks(order, "")), ApiErrorCode::CartEmpty);
    till.scan("22423", 1);
    assert_eq!(till.refused(parks(order, &"x".repeat(201))), ApiErrorCode::BadRequest);
    assert_eq!(till.refused(parks(order, "a\u{1b}b")), ApiErrorCode::BadRequest);
    till.must(parks(order, ""));
    assert_eq!(till.refused(parks(order, "")), ApiErrorCode::StaleOrder, "a second tap");

    till.scan("22423", 1);
    let id = list(&till, "")[0].open_order;
    assert_eq!(till.refused(Command::Recall { open_order: id }), ApiErrorCode::CartNotEmpty);
    till.must(Command::ClearCart {});
    let nobodys = OpenOrderId::new(9, [9; 10]);
    assert_eq!(till.refused(Command::Recall { open_order: nobodys }), ApiErrorCode::NoSuchOrder);
    assert_eq!(till.refused(Command::GiveUp { open_order: nobodys }), ApiErrorCode::NoSuchOrder);

    till.must(Command::Recall { open_order: id });
    till.must(Command::RemoveLine { line: 0 });
    till.sign_in(LEAD);
    assert_eq!(till.refused(Command::StartRefund { reason: "broken".to_owned() }), ApiErrorCode::CartNotEmpty);
    let order = till.view().expect("a view").cart.order;
    assert_eq!(till.refused(parks(order, "")), ApiErrorCode::CartEmpty, "what is empty is given up");
    till.must(Command::GiveUp { open_order: id });
    assert_eq!((list(&till, ""), till.view().expect("a view").cart.recalled), (vec![], None));
    assert_eq!(till.refused(Command::Recall { open_order: id }), ApiErrorCode::StaleOrder);

    till.must(Command::StartRefund { reason: "broken".to_owned() });
    till.scan("22423", 1);
    let order = till.view().expect("a view").cart.order;
    assert_eq!(till.refused(parks(order, "")), ApiErrorCode::BadRequest, "a refund is not left for others");
}

/// The program ends after the commit and before the cart's own file knows of it.
#[test]
fn a_cart_that_was_parked_is_not_in_the_cart_again_after_a_crash() {
    let (shop, mut till) = working();
    let draft = shop.folder("draft.db");
    let kept = |draft: &std::path::Path| ["", "-wal"].map(|end| std::fs::read(format!("{}{end}", draft.display())).ok());
    let put_back = |files: [Option<Vec<u8>>; 2]| {
        for (file, end) in files.into_iter().zip(["", "-wal"]) {
            let path = format!("{}{end}", draft.display());
            match file {
                Some(bytes) => std::fs::write(path, bytes).expect("written"),
                None => drop(std::fs::remove_file(path)),
            }
        }
        let _ = std::fs::remove_file(format!("{}-shm", draft.display()));
    };
    till.scan("22423", 2);
    let before = kept(&draft);
    let id = park(&mut till, "Bar");
    drop(till);
    put_back(before);
    let mut till = shop.reopen();
    let view = till.view().expect("a view");
    assert_eq!((view.cart.lines.len(), view.open_orders), (0, 1));

    till.sign_in(CASHIER);
    till.must(Command::Recall { open_order: id });
    till.must(Command::SetQuantity { line: 0, quantity_milli: 3_000 });
    till.scan("85123A", 1);
    let before = kept(&draft);
    park(&mut till, "Bar");
    drop(till);
    put_back(before);
    let mut till = shop.reopen();
    assert_eq!(till.view().expect("a view").cart.lines.len(), 0);
    till.sign_in(CASHIER);
    let lines = till.must(Command::Recall { open_order: id }).cart.lines;
    assert_eq!(lines.iter().map(|line| line.quantity_milli).collect::<Vec<_>>(), [3_000, 1_000]);
}

#[test]
fn a_recalled_cart_is_still_recalled_after_a_restart() {
    let (shop, mut till) = working();
    till.scan("22423", 2);
    let id = park(&mut till, "Bar");
    till.must(Command::Recall { open_order: id });
    till.scan("85123A", 1);
    drop(till);
    let mut till = shop.reopen();
    let cart = till.view().expect("a view").cart;
    assert_eq!((cart.lines.len(), cart.recalled.map(|recalled| recalled.open_order)), (2, Some(id)));
    till.sign_in(CASHIER);
    till.pay();
    let document = documents::load(till.db().expect("a database"), DocumentKind::OpenOrder, *id.as_bytes()).expect("a document");
    let order = document.open_order().expect("an order");
    assert!(matches!(order.status(), OpenOrderStatus::Paid { .. }));
    assert_eq!((order.left().values().map(|left| left.0).sum::<i64>(), order.exceptions()), (3_000, vec![]));
}

/// What a neighbour says of documents and does not count is kept with the reason, and holds up nothing.
#[test]
fn changes_that_do_not_count_hold_up_nothing() {
    let (mut shop, mut till) = working();
    let mut neighbour = Writer::new(77);
    let enrolled = shop.server.record(
        scopes::directory(),
        &enrolled(domain::ids::DeviceId(uuid::Uuid::from_bytes(neighbour.chain.origin.device)), "Till 4", neighbour.key.clone()),
    );
    shop.feed(&mut till, vec![enrolled]);
    let scope = scopes::store(store_id());
    let started =
        Record::DeviceStarted(DeviceStart { series: "S01-T04".into(), actor_seed: Some([4; 16]), software: "test".into() });
    let cake = *product_id(3).as_bytes();
    let name = || list_names(&till_products(&till));
    let before = name();
    let wrong = [
        Body::Change { document: [1; 16], kind: DocumentKind::OpenOrder as u16, bytes: vec![0xa0] },
        Body::Change { document: cake, kind: DocumentKind::OpenOrder as u16, bytes: vec![0xa0] },
        Body::Change { document: cake, kind: DocumentKind::Product as u16, bytes: vec![0xa0] },
        Body::Change { document: [2; 16], kind: 999, bytes: vec![0xa0] },
    ];
    let mut runs = vec![neighbour.record(scope.clone(), &started)];
    for body in wrong {
        runs.push(neighbour.commit(vec![NewEntry { scope: scope.clone(), body }], &followed()));
    }
    let drawer = Record::DrawerOpened(domain::record::DrawerOpening {
        id: domain::ids::RecordId::new(9, [1; 10]),
        shift: None,
        reason: "change".into(),
    });
    let body = Body::Record { kind: drawer.kind(), version: RECORD_VERSION, bytes: drawer.encode() };
    runs.push(neighbour.commit(vec![NewEntry { scope, body }], &followed()));
    let all = runs.len();
    let received = till.receive(vec![joined(runs)], shop.region_seq + 6).expect("a run that verifies");
    assert_eq!(received.entries, all);
    let why = unread(&till);
    assert_eq!(why.len(), 4, "{why:?}");
    assert!(why[1].starts_with("the bytes are no change"), "{why:?}");
    assert_eq!(why[2], "documents of kind 1 are not for a till to write");
    assert_eq!(list_names(&till_products(&till)), before, "the product is as it was");
    till.rebuild().expect("a rebuild");
    assert_eq!(unread(&till), why);
}

/// An order under the id of a product that is still to come is in nobody's way.
#[test]
fn a_product_whose_id_an_order_took_first_is_sold_all_the_same() {
    let (mut shop, mut till) = working();
    till.scan("22423", 1);
    let order = park(&mut till, "Bar");
    let product = Product { id: ProductId(order.0), ..product(9, "NEW1", "Sandwich", 350) };
    let run = shop.server.document(scopes::catalogue(), DocumentValue::Product(product));
    shop.feed(&mut till, vec![run]);
    till.scan("NEW1", 1);
    assert_eq!(till.view().expect("a view").cart.lines[0].name, "Sandwich");
    till.must(Command::ClearCart {});
    till.must(Command::Recall { open_order: order });
    assert_eq!(till.view().expect("a view").cart.lines.len(), 1);
    assert_eq!(unread(&till), Vec::<String>::new());
}

fn till_products(till: &Till) -> Vec<node::api::ProductView> {
    match till.query(Query::Search { text: "cake".to_owned(), limit: 10 }).expect("an answer") {
        Answer::Products(products) => products,
        other => panic!("{other:?}"),
    }
}

fn list_names(products: &[node::api::ProductView]) -> Vec<String> {
    products.iter().map(|product| product.name.clone()).collect()
}
