//! Open orders: what tills do to them in any order of arrival, and what a manager is told.

use std::collections::{BTreeMap, BTreeSet};

use domain::cart::CartLine;
use domain::document::DocumentKind;
use domain::ids::{AdditionId, LineId, OpenOrderId};
use domain::money::{Quantity, UnitPrice};
use domain::open_order::{OpenOrder, OpenOrderLine, OpenOrderStatus};
use domain::record::{DeviceKind, DeviceStart, Order, Record};
use domain::tax::TaxMode;
use expect_test::expect;
use journal::{Body, Entry, Hlc};
use serde_json::{Value, json};
use sync_proto::documents::gate;
use sync_proto::documents::open_order::{OpenOrderError, rest_id};
use sync_proto::documents::{self, Document, DocumentValue};
use sync_proto::scopes;
use sync_server::central::{FeedRow, Postgres, dump, projector};

use crate::project::similar;
use crate::shop::{
    Region, Writer, body, document, edit, line, opening, order, order_id, product, product_value, sale, staff_value, store,
    store_value, uuid,
};
use crate::web::site;
use crate::world::{World, feed_all, project_all};

/// Tables by number; from 50 on, the unpaid rests of those 50 before.
fn table(n: u64) -> OpenOrderId {
    if n >= 50 { rest_id(table(n - 50)) } else { OpenOrderId(uuid(7, n)) }
}

fn line_id(n: u64) -> LineId {
    LineId(uuid(8, n))
}

fn pieces(n: i64) -> Quantity {
    Quantity(n * 1_000)
}

/// So many dishes at 2.55.
fn dishes(n: u64, count: i64) -> OpenOrderLine {
    let goods = CartLine {
        product: product(n),
        code: format!("P{n}"),
        name: format!("Dish {n}"),
        quantity: pieces(count),
        unit_price: UnitPrice(25_500),
        tax_rate_bp: 2_000,
        open_line: None,
    };
    OpenOrderLine::new(line_id(n), &goods)
}

fn parked(n: u64, lines: Vec<OpenOrderLine>) -> OpenOrder {
    OpenOrder {
        id: table(n),
        store: store(1),
        label: format!("Table {n}"),
        note: String::new(),
        tax_mode: Some(TaxMode::Inclusive),
        reference: None,
        lines,
        payments: Vec::new(),
        cancelled: None,
    }
}

/// What is done to an open order.
enum Act {
    Park(OpenOrder),
    Lines(Vec<OpenOrderLine>),
    Add { line: u64, addition: u64, count: i64 },
    Void(u64),
    Paid(u64, BTreeMap<LineId, Quantity>),
    Cancel,
}

impl Act {
    fn write(&self, order: &mut Document, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Result<Vec<u8>, OpenOrderError> {
        match self {
            Self::Park(parked) => order.park(parked, at, author, actor),
            Self::Lines(lines) => order.add_lines(lines, at, author, actor),
            Self::Add { line, addition, count } => {
                order.add_quantity(line_id(*line), AdditionId(uuid(9, *addition)), pieces(*count), at, author, actor)
            }
            Self::Void(line) => order.void_line(line_id(*line), at, author, actor),
            Self::Paid(sale, covered) => order.mark_paid(order_id(*sale), covered, at, author, actor),
            Self::Cancel => order.cancel(at, author, actor),
        }
    }
}

/// What the actors of all tills follow from: whoever says the seed of another has another actor all the same.
const SEED: [u8; 16] = [0x85; 16];

/// A till of the first store with its replica of the open orders.
#[derive(Clone)]
struct Till {
    writer: Writer,
    series: String,
    is_announced: bool,
    orders: BTreeMap<u64, Document>,
}

impl Till {
    fn new(n: u8) -> Self {
        Self { writer: Writer::new(n), series: format!("S01-T0{n}a"), is_announced: false, orders: BTreeMap::new() }
    }

    fn actor(&self) -> [u8; 16] {
        documents::actor(&self.writer.chain.origin, SEED)
    }

    fn started(&mut self) -> Record {
        self.is_announced = true;
        let (series, actor_seed) = (self.series.clone(), Some(SEED));
        Record::DeviceStarted(DeviceStart { series, actor_seed, software: "0.1.0".into() })
    }

    /// One commit, as tills write it: the announcement before the first change, the sale, and what is done to an order.
    fn commit(&mut self, sold: Option<Record>, n: u64, acts: &[Act]) -> Vec<FeedRow> {
        let started = (!self.is_announced).then(|| self.started());
        let mut parts: Vec<Body> = started.iter().chain(&sold).map(body).collect();
        let (at, author) = (Hlc::new(self.writer.now_ms + 1_000, 0), *self.writer.staff.expect("somebody").as_bytes());
        let id = *table(n).as_bytes();
        let actor = self.actor();
        let order = self.orders.entry(n).or_insert_with(|| Document::new(DocumentKind::OpenOrder, id));
        parts.extend(acts.iter().map(|act| {
            let bytes = act.write(order, at, author, actor).expect("an honest change");
            Body::Change { document: id, kind: DocumentKind::OpenOrder as u16, bytes }
        }));
        self.writer.commit(parts.into_iter().map(|body| (scopes::store(store(1)), body)).collect())
    }

    fn does(&mut self, n: u64, act: Act) -> Vec<FeedRow> {
        self.commit(None, n, &[act])
    }

    fn park(&mut self, n: u64, lines: Vec<OpenOrderLine>) -> Vec<FeedRow> {
        self.does(n, Act::Park(parked(n, lines)))
    }

    /// A sale of everything that is left in an order, and of lines that are new in it.
    fn pay(&mut self, n: u64, by: u64, new: Vec<OpenOrderLine>) -> Vec<FeedRow> {
        let mut covered = self.order(n).left();
        covered.extend(new.iter().map(|line| (line.id, line.left())));
        let mut acts = vec![Act::Paid(by, covered)];
        if !new.is_empty() {
            acts.insert(0, Act::Lines(new));
        }
        self.commit(Some(sale(by)), n, &acts)
    }

    fn order(&self, n: u64) -> OpenOrder {
        self.orders[&n].open_order().expect("reads")
    }

    /// Takes in what another till wrote.
    fn hear(&mut self, rows: &[FeedRow]) {
        for row in rows {
            let entry = Entry::decode(&row.bytes).expect("an entry");
            let Body::Change { document, bytes, .. } = &entry.body else { continue };
            let n = (1..100).find(|n| table(*n).as_bytes() == document).expect("a table");
            let new = || Document::new(DocumentKind::OpenOrder, *document);
            let actors = (1..10).map(|n| Self::new(n).actor()).collect::<BTreeSet<_>>();
            let author = entry.staff.expect("somebody");
            let writer = gate::Writer { actors: &actors, device: DeviceKind::Till, store: Some(store(1)), at: entry.at, author };
            self.orders.entry(n).or_insert_with(new).take(bytes, &writer).expect("an honest change");
        }
        self.writer.now_ms = self.writer.now_ms.max(rows.iter().map(|row| row.at_ms).max().unwrap_or_default());
    }
}

/// Two tills that know an order of two lines with two pieces each, and a log that does too.
fn a_table() -> (Till, Till, Region) {
    let (mut first, mut second, mut region) = (Till::new(1), Till::new(2), Region::new(1));
    region.take(first.writer.write(&scopes::store(store(1)), &opening(1)));
    let rows = first.park(4, vec![dishes(1, 2), dishes(2, 2)]);
    second.hear(&rows);
    region.take(rows);
    (first, second, region)
}

async fn projected(world: &World, region: &Region) {
    feed_all(&world.central, region).await;
    project_all(&world.central).await;
}

async fn tables(world: &World) -> Vec<String> {
    let sql = "SELECT label || ' ' || status || ', ' || lines || ' lines, ' || total_minor FROM open_orders ORDER BY label";
    world.texts(sql).await
}

async fn flags(world: &World) -> String {
    let sql = "SELECT central_seq || ' ' || kind || ': ' || detail || COALESCE(' (settled at ' || settled_seq || ')', '')
        FROM exceptions ORDER BY central_seq, place";
    world.texts(sql).await.join("\n")
}

async fn kinds(world: &World) -> Vec<String> {
    world.texts("SELECT kind FROM exceptions ORDER BY central_seq, place").await
}

/// Projects a log in pieces of so many rows, and dumps what came of it.
async fn in_pieces(central: &Postgres, region: &Region, rows: usize) -> String {
    for upto in (rows..region.rows.len() + rows).step_by(rows) {
        let upto = upto.min(region.rows.len());
        feed_all(central, &Region { rows: region.rows[..upto].to_vec(), ..region.clone() }).await;
        project_all(central).await;
    }
    dump::dump(central).await.expect("dump")
}

/// Whatever batches a log is cut into, and when it is projected again, the same rows come out.
async fn is_the_same_however_cut(world: &World, region: &Region) {
    let whole = dump::dump(&world.central).await.expect("dump");
    for rows in [1, 3] {
        let other = world.another(&format!("pieces_{rows}")).await;
        similar(&whole, &in_pieces(&other, region, rows).await);
        let rebuilt = projector::reproject(&other, true).await.expect("reproject");
        assert_eq!((rebuilt.entries, rebuilt.differing), (region.last(), vec![]));
    }
    let rebuilt = projector::reproject(&world.central, false).await.expect("reproject");
    assert_eq!((rebuilt.entries, rebuilt.differing), (region.last(), vec![]));
}

#[tokio::test]
async fn an_order_of_several_tills_is_projected() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    projected(&world, &region).await;
    assert_eq!(tables(&world).await, ["Table 4 open, 2 lines, 1020"]);
    let added = second.does(4, Act::Lines(vec![dishes(3, 1)]));
    first.hear(&added);
    region.take(added);
    projected(&world, &region).await;
    assert_eq!(tables(&world).await, ["Table 4 open, 3 lines, 1275"]);
    region.take(first.pay(4, 10, vec![]));
    projected(&world, &region).await;
    assert_eq!(tables(&world).await, ["Table 4 paid, 3 lines, 1275"]);
    let (opened, changed) = first.orders[&4].open_order_stamps().expect("stamps");
    let stamps =
        world.texts("SELECT opened_ms || ' ' || opened_by || ', ' || changed_ms || ' ' || changed_by FROM open_orders").await;
    assert_eq!(stamps, [format!("{} {}, {} {}", opened.at_unix_ms, opened.by, changed.at_unix_ms, changed.by)]);
    assert_eq!((flags(&world).await.as_str(), world.number("SELECT count(*) FROM orders").await), ("", 1));
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn an_order_that_was_paid_at_several_tills_is_told_of_once() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    let mut third = Till::new(3);
    third.orders = second.orders.clone();
    region.take(first.pay(4, 10, vec![]));
    // What the second one added it sold too: nothing of it is left unpaid.
    region.take(second.pay(4, 20, vec![dishes(3, 1)]));
    region.take(third.pay(4, 30, vec![]));
    projected(&world, &region).await;
    assert_eq!(tables(&world).await, ["Table 4 paid, 3 lines, 1275"]);
    let sales = world.texts("SELECT order_id::text FROM orders ORDER BY order_id").await;
    assert_eq!(sales, [10, 20, 30].map(|n| order_id(n).to_string()));
    expect!["9 paid_twice: the same goods of open order Table 4 were paid with receipt S01-T01a-000010 and receipt S01-T02a-000020: one of them is to be refunded"].assert_eq(&flags(&world).await);
    let beside = world.texts("SELECT order_id::text FROM exceptions").await;
    assert_eq!(beside, [order_id(20).to_string()], "it is shown beside the later sale");
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn what_was_done_at_once_and_does_not_fit_is_told() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    for n in 5..=7 {
        let rows = first.park(n, vec![dishes(n, 3)]);
        second.hear(&rows);
        region.take(rows);
    }
    // Paid and given up, paid and taken out, paid and added to, taken out twice.
    region.take(first.pay(4, 10, vec![]));
    region.take(second.does(4, Act::Cancel));
    region.take(second.does(5, Act::Void(5)));
    region.take(first.pay(5, 11, vec![]));
    region.take(first.pay(6, 12, vec![]));
    region.take(second.does(6, Act::Lines((10..17).map(|n| dishes(n, 1)).collect())));
    region.take(second.does(6, Act::Add { line: 6, addition: 1, count: 3 }));
    region.take(first.does(7, Act::Add { line: 7, addition: 2, count: -2 }));
    region.take(second.does(7, Act::Add { line: 7, addition: 3, count: -2 }));
    // Made good again, and wrong once more: that is told anew.
    region.take(first.does(7, Act::Add { line: 7, addition: 4, count: 1 }));
    region.take(first.does(7, Act::Add { line: 7, addition: 5, count: -1 }));
    projected(&world, &region).await;
    expect![[r#"
        Table 4 paid, 2 lines, 1020
        Table 5 paid, 0 lines, 0
        Table 6 paid, 8 lines, 3315
        Table 7 open, 0 lines, 0"#]]
    .assert_eq(&tables(&world).await.join("\n"));
    expect![[r#"
        10 paid_and_cancelled: open order Table 4 was paid with receipt S01-T01a-000010 and given up by somebody who had not seen that; the sale stands
        13 paid_and_taken_out: 3 × Dish 5 of open order Table 5 was paid with receipt S01-T01a-000011 and taken out by somebody who had not seen that; the sale stands
        16 unpaid_remainder: 1 × Dish 10, 1 × Dish 11, 1 × Dish 12, 1 × Dish 13, 1 × Dish 14 and 2 more of open order Table 6 came in while it was being paid with receipt S01-T01a-000012, and is not paid for
        19 taken_out_twice: 1 × Dish 7 too much was taken out of open order Table 7, by people who did not see each other (settled at 20)
        21 taken_out_twice: 1 × Dish 7 too much was taken out of open order Table 7, by people who did not see each other"#]].assert_eq(&flags(&world).await);
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn changes_that_come_early_are_taken_in_later() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = (Till::new(1), Till::new(2), Region::new(1));
    let begun = first.park(4, vec![dishes(1, 2)]);
    second.hear(&begun);
    let started = second.started();
    let announced = second.writer.write(&scopes::store(store(1)), &started);
    let added = second.does(4, Act::Lines(vec![dishes(2, 1)]));
    let paid = second.pay(4, 20, vec![]);
    let paid_too = first.pay(4, 10, vec![]);
    // Everything the other way round.
    region.take(paid);
    region.take(added);
    projected(&world, &region).await;
    assert_eq!((tables(&world).await, world.number("SELECT count(*) FROM waiting_changes").await), (vec![], 2));
    assert_eq!(world.number("SELECT count(*) FROM orders").await, 1, "the sale counts at once");
    expect![[r#"
        2 open_order_refused: a till's change of an open order does not count yet: the origin has not announced the actor that it is written under
        3 open_order_refused: a till's change of an open order does not count yet: the origin has not announced the actor that it is written under"#]].assert_eq(&flags(&world).await);
    region.take(paid_too);
    region.take(begun);
    projected(&world, &region).await;
    assert_eq!((tables(&world).await, kinds(&world).await.len()), (vec!["Table 4 paid, 1 lines, 510".to_owned()], 2));
    region.take(announced);
    projected(&world, &region).await;
    assert_eq!(tables(&world).await, ["Table 4 paid, 2 lines, 765"]);
    // At the entry that made it so, though that came first; and what was unpaid for a moment only is none.
    expect!["2 paid_twice: the same goods of open order Table 4 were paid with receipt S01-T01a-000010 and receipt S01-T02a-000020: one of them is to be refunded"].assert_eq(&flags(&world).await);
    assert_eq!(world.number("SELECT count(*) FROM waiting_changes").await, 0);
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn what_no_honest_till_writes_is_flagged_and_holds_up_nothing() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    let (mut server, mut stranger) = (Writer::new(90), Writer::new(5));
    let (shop, catalogue) = (scopes::store(store(1)), scopes::catalogue());
    let (mut milk, milk_is_new) = document(&product_value(1, "2.55"));
    let (_, tea_is_new) = document(&product_value(2, "1.00"));
    region.take(server.commit(vec![(catalogue.clone(), milk_is_new)]));
    region.take(first.does(4, Act::Lines(vec![dishes(3, 1)])));
    let kind = DocumentKind::OpenOrder as u16;
    let change = |id: &[u8; 16], bytes: &[u8]| Body::Change { document: *id, kind, bytes: bytes.to_vec() };
    let honest = |till: &mut Till, n, act| {
        let rows = till.does(n, act);
        let entry = Entry::decode(&rows[rows.len() - 1].bytes).expect("an entry");
        let Body::Change { bytes, .. } = entry.body else { panic!("a change") };
        bytes
    };
    let table = table(4);

    // Garbage; a change under another's actor, and one that was signed at another time, before its actor was announced.
    region.take(second.writer.commit(vec![(shop.clone(), change(table.as_bytes(), b"garbage"))]));
    let of_first = honest(&mut first.clone(), 4, Act::Cancel);
    region.take(stranger.commit(vec![(shop.clone(), change(table.as_bytes(), &of_first))]));
    let unsigned = honest(&mut second.clone(), 4, Act::Void(1));
    second.writer.now_ms += 1;
    region.take(second.writer.commit(vec![(shop.clone(), change(table.as_bytes(), &unsigned))]));
    let started = second.started();
    region.take(second.writer.write(&shop, &started));
    // The ids of a product that is there, and of one that is still to come.
    for id in [product(1), product(2)] {
        let taken = OpenOrder { id: OpenOrderId(id.0), ..parked(9, vec![dishes(9, 1)]) };
        let at = Hlc::new(second.writer.now_ms + 1_000, 0);
        let author = *second.writer.staff.expect("somebody").as_bytes();
        let mut order = Document::new(DocumentKind::OpenOrder, *id.as_bytes());
        let bytes = order.park(&taken, at, author, second.actor()).expect("parks");
        region.take(second.writer.commit(vec![(shop.clone(), change(id.as_bytes(), &bytes))]));
        region.take(second.writer.commit(vec![(shop.clone(), change(id.as_bytes(), b"garbage"))]));
    }
    let never_there = Body::Change { document: *product(2).as_bytes(), kind: 2, bytes: vec![1] };
    region.take(second.writer.commit(vec![(shop.clone(), never_there)]));
    region.take(server.commit(vec![(catalogue.clone(), tea_is_new)]));
    // Another store's till, a server, and a till that sets a price.
    region.take(stranger.commit(vec![(scopes::store(store(2)), change(table.as_bytes(), &of_first))]));
    region.take(server.commit(vec![(catalogue.clone(), change(table.as_bytes(), &of_first))]));
    region.take(second.writer.commit(vec![(shop.clone(), edit(&mut milk.clone(), &product_value(1, "0.01"), 3))]));

    // What comes after them.
    region.take(server.commit(vec![(catalogue, edit(&mut milk, &product_value(1, "2.65"), 2))]));
    region.take(first.pay(4, 10, vec![]));
    projected(&world, &region).await;
    expect![[r#"
        6 open_order_refused: a till's change of an open order does not count: the bytes are no change: it does not begin like a chunk
        7 open_order_refused: a till's change of an open order does not count yet: the origin has not announced the actor that it is written under
        8 open_order_refused: a till's change of an open order does not count: the value of "void/019cadc69a8078088000000000000001" says another time or author than the entry
        11 open_order_refused: a till's change of an open order does not count: the bytes are no change: it does not begin like a chunk
        13 open_order_refused: a till's change of an open order does not count: the bytes are no change: it does not begin like a chunk
        14 not_allowed: documents of kind 2 are not for a till to write
        16 open_order_refused: a till's change of an open order does not count yet: the origin has not announced the actor that it is written under
        17 open_order_refused: a server's change of an open order does not count: documents of kind 6 are not for a server to write
        18 not_allowed: documents of kind 1 are not for a till to write"#]].assert_eq(&flags(&world).await);
    assert_eq!(world.texts("SELECT code || ' ' || price_centi FROM products ORDER BY code").await, ["P1 26500", "P2 10000"]);
    expect![[r#"
        Table 4 paid, 3 lines, 1275
        Table 9 open, 1 lines, 255
        Table 9 open, 1 lines, 255"#]]
    .assert_eq(&tables(&world).await.join("\n"));
    assert_eq!(world.number("SELECT count(*) FROM orders").await, 1);
    is_the_same_however_cut(&world, &region).await;
}

/// Goods of a sale given back: so many pieces of each product.
fn returned(n: u64, of: u64, goods: &[(u64, i64)]) -> Record {
    let lines = goods.iter().map(|(product, count)| line(*product, -count, "2.55")).collect();
    Record::RefundGiven(Order { original: Some(order_id(of)), reason: Some("paid twice".into()), ..order(n, 1, lines) })
}

/// What is open of the exceptions, and by which order those that are settled were.
async fn settlements(world: &World) -> String {
    let sql =
        "SELECT kind || COALESCE(' settled by ' || settled_order, CASE WHEN settled_seq IS NULL THEN '' ELSE ' settled' END)
        FROM exceptions ORDER BY 1";
    world.texts(sql).await.join("\n")
}

#[tokio::test]
async fn what_was_paid_twice_is_settled_by_the_refund_of_as_much() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    let shop = scopes::store(store(1));
    region.take(first.pay(4, 10, vec![]));
    region.take(second.pay(4, 20, vec![]));
    projected(&world, &region).await;
    assert_eq!(settlements(&world).await, "paid_twice");
    // A dish came back cold: not as much as was paid twice.
    region.take(first.writer.write(&shop, &returned(30, 20, &[(1, 2), (2, 1)])));
    projected(&world, &region).await;
    assert_eq!(settlements(&world).await, "paid_twice");
    // The rest of it, of the other receipt.
    region.take(second.writer.write(&shop, &returned(31, 10, &[(2, 1)])));
    projected(&world, &region).await;
    assert_eq!(settlements(&world).await, format!("paid_twice settled by {}", order_id(31)));
    let paid = world.texts("SELECT sale_id::text FROM open_order_payments ORDER BY 1").await;
    assert_eq!(paid, [10, 20].map(|n| order_id(n).to_string()));
    // A third one took money, too, and had not been heard of.
    let mut third = Till::new(3);
    third.orders = Till::clone(&second).orders;
    third.orders.insert(4, a_table().1.orders[&4].clone());
    region.take(third.pay(4, 40, vec![]));
    projected(&world, &region).await;
    assert_eq!(settlements(&world).await, format!("paid_twice\npaid_twice settled by {}", order_id(31)));
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn a_refund_that_comes_before_what_it_settles_settles_it() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    let shop = scopes::store(store(1));
    let paid = [first.pay(4, 10, vec![]), second.pay(4, 20, vec![])];
    region.take(first.writer.write(&shop, &returned(30, 20, &[(1, 2), (2, 2)])));
    paid.into_iter().for_each(|rows| region.take(rows));
    // Paid and given up, and all of it given back; paid and taken out, and that given back.
    for n in 5..=6 {
        let rows = first.park(n, vec![dishes(n, 3)]);
        second.hear(&rows);
        region.take(rows);
    }
    region.take(first.pay(5, 11, vec![]));
    region.take(second.does(5, Act::Cancel));
    region.take(second.does(6, Act::Void(6)));
    region.take(first.writer.write(&shop, &returned(32, 12, &[(6, 3)])));
    region.take(first.pay(6, 12, vec![]));
    projected(&world, &region).await;
    expect![[r#"
        paid_and_cancelled
        paid_and_taken_out settled by ORDER 12
        paid_twice settled by ORDER 20"#]]
    .assert_eq(&named(&settlements(&world).await));
    region.take(first.writer.write(&shop, &returned(31, 11, &[(5, 3)])));
    projected(&world, &region).await;
    assert!(named(&settlements(&world).await).starts_with("paid_and_cancelled settled by ORDER 31\n"));
    is_the_same_however_cut(&world, &region).await;
}

/// Ids of orders as their numbers.
fn named(text: &str) -> String {
    (1..100).fold(text.to_owned(), |text, n| text.replace(&order_id(n).to_string(), &format!("ORDER {n}")))
}

#[tokio::test]
async fn what_was_left_unpaid_is_settled_when_that_is_paid_or_given_up() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = a_table();
    let rows = first.park(5, vec![dishes(5, 1)]);
    second.hear(&rows);
    region.take(rows);
    for n in [4, 5] {
        region.take(first.pay(n, 6 + n, vec![]));
        region.take(second.does(n, Act::Lines(vec![dishes(10 + n, 1)])));
    }
    projected(&world, &region).await;
    assert_eq!(settlements(&world).await, "unpaid_remainder\nunpaid_remainder");
    // The rest of table 4 is taken up and paid, that of table 5 given up.
    region.take(second.park(54, vec![dishes(14, 1)]));
    region.take(first.park(55, vec![dishes(15, 1)]));
    projected(&world, &region).await;
    assert_eq!(settlements(&world).await, "unpaid_remainder\nunpaid_remainder", "taken up is not paid");
    region.take(second.pay(54, 21, vec![]));
    region.take(first.does(55, Act::Cancel));
    projected(&world, &region).await;
    expect![[r#"
        unpaid_remainder settled
        unpaid_remainder settled by ORDER 21"#]]
    .assert_eq(&named(&settlements(&world).await));
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_see_what_is_parked_and_what_to_do_about_what_was_paid_twice() {
    let site = site().await;
    let cookie = site.cookie();
    let (mut first, mut second, mut region) = a_table();
    let mut server = Writer::new(90);
    region.take(server.commit(vec![(scopes::directory(), document(&store_value(1)).1)]));
    let mut member = staff_value();
    if let DocumentValue::StaffMember(member) = &mut member {
        member.id = first.writer.staff.expect("somebody");
    }
    region.take(server.commit(vec![(scopes::staff(store(1)), document(&member).1)]));
    let rows = first.park(5, vec![dishes(5, 3)]);
    second.hear(&rows);
    region.take(rows);
    region.take(second.does(5, Act::Lines(vec![dishes(6, 1)])));
    projected(&site.world, &region).await;
    let list = |path: &str| site.get(&format!("/api/v1/{path}"), &cookie).json();
    let parked = list("open-orders?store=S01");
    let row = &parked["rows"][1];
    assert_eq!(
        (parked["rows"].as_array().map(Vec::len), &parked["open"], &row["label"]),
        (Some(2), &json!(2), &json!("Table 5"))
    );
    assert_eq!(
        (&row["lines"], &row["total_minor"], &row["currency"], &row["store"]),
        (&json!(2), &json!(1_020), &json!("GBP"), &json!("S01"))
    );
    assert_eq!((&row["opened_by"], &row["changed_by"]), (&json!("Ana"), &json!("Ana")));
    assert!(
        row["opened_at_ms"].as_u64() < row["changed_at_ms"].as_u64() && parked["coverage"]["sentence"].is_string(),
        "{parked}"
    );
    let page = list("open-orders?limit=1");
    let next = page["next"].as_str().expect("more");
    assert_eq!(list(&format!("open-orders?limit=1&after={next}"))["rows"], json!([row]));
    assert_eq!(list("open-orders?search=table%205")["rows"], json!([row]));
    assert_eq!(site.get("/api/v1/open-orders?after=x", &cookie).status, 400);

    region.take(first.pay(4, 10, vec![]));
    region.take(second.pay(4, 20, vec![]));
    projected(&site.world, &region).await;
    assert_eq!(list("open-orders")["rows"], json!([row]), "what is paid is not parked");
    let told = &list("exceptions?kind=paid_twice")["rows"][0];
    let receipts: Vec<&str> =
        told["receipts"].as_array().expect("receipts").iter().map(|r| r["number"].as_str().expect("a number")).collect();
    assert_eq!((receipts, &told["settled"]), (vec!["S01-T01a-000010", "S01-T02a-000020"], &Value::Null));
    region.take(second.writer.write(&scopes::store(store(1)), &returned(30, 20, &[(1, 2), (2, 2)])));
    projected(&site.world, &region).await;
    assert_eq!(
        (&list("exceptions")["open"], list("exceptions?kind=paid_twice")["rows"].as_array().map(Vec::len)),
        (&json!(0), Some(0))
    );
    let told = &list("exceptions?kind=paid_twice&state=all")["rows"][0];
    assert_eq!(
        (&told["settled"]["number"], &told["settled"]["order"], &told["review"]),
        (&json!("S01-T02a-000030"), &json!(order_id(30).to_string()), &Value::Null)
    );
}

/// What three tills did to three orders, as it pleased a number: each commit with its till, in an order in which none comes before what its
/// till knew.
fn a_busy_evening(below: &mut impl FnMut(usize) -> usize) -> Vec<(usize, Vec<FeedRow>)> {
    let mut tills = [1, 2, 3].map(Till::new);
    let mut commits: Vec<(usize, Vec<FeedRow>)> =
        (1..=3).map(|n| (0, tills[0].park(n, vec![dishes(n * 10, 3), dishes(n * 10 + 1, 2)]))).collect();
    let mut heard = [0, 1, 2].map(|_| BTreeSet::new());
    heard[0].extend(0..commits.len());
    for round in 0..90 {
        let (at, from) = (below(3), below(3));
        if round < 6 || below(4) == 0 {
            for new in heard[from].difference(&heard[at].clone()) {
                tills[at].hear(&commits[*new].1);
            }
            let known = heard[from].clone();
            heard[at].extend(known);
        }
        let (till, n, fresh) = (&mut tills[at], below(3) as u64 + 1, round + 100);
        if !till.orders.contains_key(&n) {
            continue;
        }
        let order = till.order(n);
        let line = order.lines[below(order.lines.len())].id;
        let line = (1..1_000).find(|n| line_id(*n) == line).expect("a line");
        let is_open = order.status() == OpenOrderStatus::Open;
        let left = order.left().get(&line_id(line)).map_or(0, |left| left.0);
        let rows = match below(12) {
            0 if round > 30 && !order.left().is_empty() => till.pay(n, fresh, vec![]),
            1 if round > 30 && is_open => till.pay(n, fresh, vec![dishes(fresh, 1)]),
            2..=4 if is_open => till.does(n, Act::Lines(vec![dishes(fresh, 1)])),
            5 | 6 if is_open && left > 1_000 => till.does(n, Act::Add { line, addition: fresh, count: -1 }),
            7 | 8 if is_open && left > 0 => till.does(n, Act::Add { line, addition: fresh, count: 2 }),
            9 if is_open && left > 0 => till.does(n, Act::Void(line)),
            10 if round > 60 && is_open => till.does(n, Act::Cancel),
            _ => continue,
        };
        heard[at].insert(commits.len());
        commits.push((at, rows));
    }
    commits
}

#[tokio::test]
async fn in_whatever_order_logs_arrive_the_orders_are_the_same() {
    let mut waited = 0;
    for start in [0x0e7e_4711_u64, 0x51de_0b0e, 0xbad_cafe] {
        let world = World::new().await;
        let mut seed = start;
        let mut below = |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % n as u64).expect("small")
        };
        let commits = a_busy_evening(&mut below);
        let mut knows_all = Till::new(9);
        for (_, rows) in &commits {
            knows_all.hear(rows);
        }
        // Each till's log in its order, all of them into each other as it pleases.
        let mut logs = [0, 1, 2].map(|n| commits.iter().filter(move |(till, _)| *till == n).map(|(_, rows)| rows));
        let mut region = Region::new(1);
        while region.rows.len() < commits.iter().map(|(_, rows)| rows.len()).sum() {
            let log = &mut logs[below(3)];
            log.take(below(8)).for_each(|rows| region.take(rows.clone()));
        }
        for upto in 1..=region.rows.len() {
            projected(&world, &Region { rows: region.rows[..upto].to_vec(), ..region.clone() }).await;
            waited += world.number("SELECT count(*) FROM waiting_changes").await;
        }
        let expected: Vec<String> = (1..=3)
            .map(|n| {
                let order = knows_all.order(n);
                let status = match order.status() {
                    OpenOrderStatus::Open => "open",
                    OpenOrderStatus::Paid { .. } => "paid",
                    OpenOrderStatus::Cancelled => "cancelled",
                };
                let cart = order.to_cart(order_id(0));
                let total = cart.totals(TaxMode::Inclusive).expect("a total").total_minor;
                format!("Table {n} {status}, {} lines, {total}", cart.lines.len())
            })
            .collect();
        assert_eq!(tables(&world).await, expected, "{start:x}");
        assert_eq!(world.number("SELECT count(*) FROM waiting_changes").await, 0);
        // What is so in the end is open, each kind once an order, and everything else is settled.
        let told =
            "SELECT kind || ' ' || substring(detail FROM 'Table [0-9]+') FROM exceptions WHERE settled_seq IS NULL ORDER BY 1";
        let told = world.texts(told).await;
        let once: BTreeSet<&String> = told.iter().collect();
        assert_eq!(told.len(), once.len(), "{told:?}");
        let ends: usize = (1..=3).map(|n| knows_all.order(n).exceptions().len()).sum();
        assert!(told.len() == ends && ends > 0 && !told.iter().any(|told| told.starts_with("open_order_refused")), "{told:?}");
        is_the_same_however_cut(&world, &region).await;
    }
    assert!(waited > 50, "{waited}: too few had to wait");
}
