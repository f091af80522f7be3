//! What people did at once to the stock of a product and to a sale: the same in whatever order logs arrive, and however they are cut.

use std::collections::{BTreeMap, BTreeSet};

use domain::count::{Counted, Place, standing};
use domain::fold;
use domain::ids::DeviceId;
use domain::money::{Quantity, UnitPrice};
use domain::record::{CountLine, Order, OrderLine, Record, SeenUpTo, StockAdjustment, StockCount, StockLine};
use expect_test::expect;
use journal::{Entry, Origin};
use serde_json::{Value, json};
use sync_proto::scopes;
use sync_server::central::{FeedRow, Postgres, dump, projector};
use uuid::Uuid;

use crate::project::similar;
use crate::shop::{
    Region, Writer, document, line, opening, order, order_id, product, product_value, record_id, shift_id, store, store_value,
};
use crate::web::site;
use crate::world::{World, feed_all, project_all};

/// A till of the first store, and what it has heard of others.
struct Till {
    writer: Writer,
    heard: BTreeMap<([u8; 16], [u8; 16]), u64>,
}

impl Till {
    fn new(n: u8) -> Self {
        Self { writer: Writer::new(n), heard: BTreeMap::new() }
    }

    fn write(&mut self, record: &Record) -> Vec<FeedRow> {
        let rows = self.writer.write(&scopes::store(store(1)), record);
        self.hear(&rows);
        rows
    }

    fn hear(&mut self, rows: &[FeedRow]) {
        for row in rows {
            let upto = self.heard.entry((row.device, row.incarnation)).or_default();
            *upto = (*upto).max(row.seq);
        }
    }

    /// What it counts now, of several products.
    fn count(&mut self, n: u64, counted: &[(u64, i64)]) -> Vec<FeedRow> {
        let line = |(number, pieces): &(u64, i64)| CountLine { product: product(*number), quantity: Quantity(pieces * 1_000) };
        let seen = |((device, incarnation), seq): (&([u8; 16], [u8; 16]), &u64)| SeenUpTo {
            device: DeviceId(Uuid::from_bytes(*device)),
            incarnation: *incarnation,
            seq: *seq,
        };
        self.write(&Record::StockCounted(StockCount {
            id: record_id(n),
            shift: shift_id(1),
            lines: counted.iter().map(line).collect(),
            cut: self.heard.iter().map(seen).collect(),
            reason: "stocktaking".into(),
        }))
    }

    fn sell(&mut self, n: u64, number: u64, pieces: i64) -> Vec<FeedRow> {
        self.write(&sold(n, number, pieces))
    }

    fn adjust(&mut self, n: u64, number: u64, pieces: i64) -> Vec<FeedRow> {
        self.write(&moved(n, number, pieces))
    }
}

fn sold(n: u64, number: u64, pieces: i64) -> Record {
    Record::SaleCompleted(order(n, 1, vec![line(number, pieces, "2.55")]))
}

fn moved(n: u64, number: u64, pieces: i64) -> Record {
    let quantity = Quantity(pieces * 1_000);
    let lines = vec![StockLine { product: product(number), quantity, unit_price: UnitPrice(0), amount_minor: 0 }];
    Record::StockAdjusted(StockAdjustment {
        id: record_id(n),
        shift: shift_id(1),
        lines,
        reason: "delivery".into(),
        reference: None,
    })
}

/// Some pieces of the only line of a sale given back.
fn back(n: u64, of: u64, number: u64, pieces: i64) -> Record {
    let lines = vec![OrderLine { original_line: Some(0), ..line(number, -pieces, "2.55") }];
    Record::RefundGiven(Order { original: Some(order_id(of)), reason: Some("broken".into()), ..order(n, 1, lines) })
}

fn shop() -> (Till, Till, Region) {
    let (mut first, second, mut region) = (Till::new(1), Till::new(2), Region::new(1));
    region.take(first.write(&opening(1)));
    (first, second, region)
}

/// What whoever has heard of all of a log has heard of.
fn everything(region: &Region) -> BTreeMap<([u8; 16], [u8; 16]), u64> {
    region.rows.iter().map(|row| ((row.device, row.incarnation), row.seq)).collect()
}

async fn projected(world: &World, region: &Region) {
    feed_all(&world.central, region).await;
    project_all(&world.central).await;
}

async fn told(world: &World) -> String {
    let sql = "SELECT central_seq || ' ' || kind || ': ' || detail || COALESCE(' (settled at ' || settled_seq || ')', '')
        FROM exceptions ORDER BY central_seq, place";
    world.texts(sql).await.join("\n")
}

/// The level of a product in pieces.
async fn level(world: &World, number: u64) -> i64 {
    let sql = format!("SELECT quantity_milli / 1000 FROM stock_levels WHERE product_id = '{}'", product(number));
    world.number(&sql).await
}

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
    }
    let rebuilt = projector::reproject(&world.central, false).await.expect("reproject");
    assert_eq!((rebuilt.entries, rebuilt.differing), (region.last(), vec![]));
}

#[tokio::test]
async fn what_is_sold_of_nothing_is_told_where_stock_is_tracked() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = shop();
    // Nobody ever counted or took in the first product: a level below zero says nothing.
    region.take(first.sell(1, 1, 5));
    region.take(first.adjust(2, 1, -1));
    projected(&world, &region).await;
    assert_eq!((level(&world, 1).await, told(&world).await), (-6, String::new()));
    // The last one of the second product, sold twice.
    region.take(first.adjust(3, 2, 1));
    region.take(first.sell(4, 2, 1));
    region.take(second.sell(5, 2, 1));
    projected(&world, &region).await;
    assert_eq!(level(&world, 2).await, -1);
    expect!["6 oversold: by the records there are -1 of it at this store"].assert_eq(&told(&world).await);
    let about = world.texts("SELECT order_id || ' ' || subject FROM exceptions").await;
    assert_eq!(about, [format!("{} {}", order_id(5), product(2))]);
    // Still so; then a delivery; then so again.
    region.take(second.sell(6, 2, 1));
    region.take(first.adjust(7, 2, 2));
    region.take(first.sell(8, 2, 3));
    // Whoever counts, and has heard of all that, settles it at once.
    first.heard.clone_from(&everything(&region));
    region.take(first.count(9, &[(1, 4), (2, 0)]));
    region.take(second.sell(10, 1, 5));
    projected(&world, &region).await;
    expect![[r#"
        6 oversold: by the records there are -1 of it at this store (settled at 8)
        9 oversold: by the records there are -3 of it at this store (settled at 10)
        11 oversold: by the records there are -1 of it at this store"#]]
    .assert_eq(&told(&world).await);
    assert_eq!((level(&world, 1).await, level(&world, 2).await), (-1, 0));
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn of_counts_at_once_the_later_stands_and_a_manager_is_told() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = shop();
    let early = second.sell(1, 1, 2);
    first.hear(&early);
    // The count comes before a sale that it had heard of, and the sale that it had not heard of before it.
    let unheard = second.sell(2, 1, 1);
    let counted = first.count(3, &[(1, 10), (2, 5)]);
    region.take(counted);
    projected(&world, &region).await;
    assert_eq!(level(&world, 1).await, 10);
    let later = second.count(4, &[(1, 8)]);
    region.take(early);
    region.take(unheard);
    projected(&world, &region).await;
    assert_eq!((level(&world, 1).await, told(&world).await), (9, String::new()));
    region.take(later.clone());
    projected(&world, &region).await;
    assert_eq!(level(&world, 1).await, 8, "the later one stands, and had heard of everything but the count");
    expect!["5 counted_at_once: it was counted by people who had not heard of one another: 10 and 8; 8 stands as the later one"]
        .assert_eq(&told(&world).await);
    first.hear(&later);
    region.take(first.count(5, &[(1, 7)]));
    projected(&world, &region).await;
    assert_eq!(level(&world, 1).await, 7);
    assert!(told(&world).await.ends_with("(settled at 6)"));
    let movements =
        world.texts("SELECT reason || ' ' || COALESCE(counted_milli, quantity_milli) FROM stock_movements ORDER BY 1").await;
    assert_eq!(movements, ["count 10000", "count 5000", "count 7000", "count 8000", "sale -1000", "sale -2000"]);
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test]
async fn a_line_that_came_back_twice_is_told_whatever_comes_first() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = shop();
    let sale = first.write(&sold(1, 1, 2));
    let refunds = [first.write(&back(2, 1, 1, 2)), second.write(&back(3, 1, 1, 2))];
    // The sale comes last, after both.
    refunds.into_iter().for_each(|rows| region.take(rows));
    projected(&world, &region).await;
    assert_eq!(told(&world).await, "");
    region.take(sale);
    region.take(second.write(&sold(4, 1, 2)));
    region.take(second.write(&back(5, 4, 1, 1)));
    region.take(second.write(&back(6, 4, 1, 1)));
    region.take(second.write(&back(7, 4, 1, 1)));
    region.take(second.write(&back(8, 4, 1, 1)));
    projected(&world, &region).await;
    expect![[r#"
        4 refunded_twice: more was given back of this sale than was sold, at tills that had not heard of one another
        8 refunded_twice: more was given back of this sale than was sold, at tills that had not heard of one another"#]]
    .assert_eq(&told(&world).await);
    let about = world.texts("SELECT order_id::text FROM exceptions ORDER BY central_seq").await;
    assert_eq!(about, [1, 4].map(|n| order_id(n).to_string()));
    is_the_same_however_cut(&world, &region).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_see_what_was_oversold_given_back_twice_and_counted() {
    let site = site().await;
    let cookie = site.cookie();
    let (mut first, mut second, mut region) = shop();
    let mut server = Writer::new(90);
    region.take(server.commit(vec![(scopes::directory(), document(&store_value(1)).1)]));
    region.take(server.commit(vec![(scopes::catalogue(), document(&product_value(1, "2.55")).1)]));
    region.take(first.count(1, &[(1, 1), (2, 0)]));
    // One sale of two products that are not there.
    let both = Record::SaleCompleted(order(2, 1, vec![line(1, 2, "2.55"), line(2, 1, "2.55")]));
    region.take(first.write(&both));
    region.take(first.write(&back(3, 2, 1, 2)));
    second.writer.now_ms = first.writer.now_ms;
    region.take(second.write(&back(4, 2, 1, 2)));
    first.writer.now_ms = second.writer.now_ms;
    projected(&site.world, &region).await;
    let list = |path: &str| site.get(&format!("/api/v1/{path}"), &cookie).json();
    let told = list("exceptions?state=all");
    let rows = told["rows"].as_array().expect("rows");
    let short = |row: &Value| format!("{} {} {}", row["kind"], row["product"]["name"], row["settled"].is_object());
    expect![[r#"
        "refunded_twice" null false
        "oversold" "PRODUCT 2" false
        "oversold" "Product 1" true"#]]
    .assert_eq(&rows.iter().map(short).collect::<Vec<_>>().join("\n").replace(&product(2).to_string(), "PRODUCT 2"));
    let refunds: Vec<&Value> = rows[0]["receipts"].as_array().expect("refunds").iter().map(|r| &r["order"]).collect();
    assert_eq!(refunds, [&json!(order_id(3).to_string()), &json!(order_id(4).to_string())]);
    assert!(
        rows[2]["detail"].as_str().expect("words").starts_with("Product 1: by the records there are -1 of it"),
        "{}",
        rows[2]
    );
    // Looking at one of two at the same sale is not looking at the other.
    let third = first.sell(5, 1, 9);
    region.take(third);
    projected(&site.world, &region).await;
    let id = rows[1]["id"].as_str().expect("an id");
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    let reviewed = site.ask("POST", &format!("/api/v1/exceptions/{id}/review"), &headers, Some(r#"{"note":"none came"}"#));
    assert_eq!(reviewed.json()["review"]["note"], "none came");
    let kinds: Vec<Value> = list("exceptions")["rows"].as_array().expect("rows").iter().map(|row| row["kind"].clone()).collect();
    assert_eq!(kinds, ["oversold", "refunded_twice"]);
    assert!(list("exceptions?state=all")["rows"][3]["review"].is_null(), "{}", list("exceptions?state=all"));

    let movements = list(&format!("stock/S01/{}/movements", product(1)));
    let row = |m: &Value| format!("{} {} {} {}", m["reason"], m["quantity_milli"], m["counted_milli"], m["level_milli"]);
    expect![[r#"
        "sale" -9000 null -6000
        "refund" 2000 null 3000
        "refund" 2000 null 1000
        "sale" -2000 null -1000
        "count" 0 1000 1000"#]]
    .assert_eq(&movements["movements"].as_array().expect("rows").iter().map(row).collect::<Vec<_>>().join("\n"));
}

/// What three tills sell, take in, count and give back of four products, as it pleases a number: each commit with its till.
fn a_busy_week(below: &mut impl FnMut(usize) -> usize) -> Vec<(usize, Vec<FeedRow>)> {
    let mut tills = [1, 2, 3].map(Till::new);
    let mut commits: Vec<(usize, Vec<FeedRow>)> = vec![(0, tills[0].write(&opening(1)))];
    let mut sales: Vec<(u64, u64)> = Vec::new();
    for n in 1..=140 {
        let (at, other) = (below(3), below(3));
        if below(3) == 0 {
            // It hears what the other has written and heard.
            let heard = tills[other].heard.clone();
            for (origin, upto) in heard {
                let known = tills[at].heard.entry(origin).or_default();
                *known = (*known).max(upto);
            }
        }
        let (number, pieces) = (1 + below(4) as u64, 1 + below(3) as i64);
        let till = &mut tills[at];
        // A clock that is hours off decides nothing but which of two counts at once is the later.
        till.writer.now_ms += below(3) as u64 * 3_600_000;
        let rows = match below(10) {
            0..=4 => {
                sales.push((n, number));
                till.sell(n, number, pieces)
            }
            // The fourth product is never taken in or counted.
            5 => till.adjust(n, number, if number == 4 { -1 } else { pieces }),
            6 | 7 if number < 4 => till.count(n, &[(number, below(9) as i64)]),
            8 if number < 3 => till.count(n, &[(number, 3), (number + 1, 1)]),
            9 if !sales.is_empty() => {
                let (sale, number) = sales[below(sales.len())];
                till.write(&back(n, sale, number, 1))
            }
            _ => continue,
        };
        commits.push((at, rows));
    }
    commits
}

/// What the entries come to, whatever their order: levels, and what is open of exceptions.
fn expected(commits: &[(usize, Vec<FeedRow>)]) -> (Vec<String>, BTreeSet<String>) {
    let mut counts: BTreeMap<u64, Vec<Counted>> = BTreeMap::new();
    let mut movements: BTreeMap<u64, Vec<(Place, i64)>> = BTreeMap::new();
    let (mut tracked, mut sold, mut back) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::<_, i64>::new());
    let number = |id| (1..=4).find(|n| product(*n) == id).expect("a product");
    for row in commits.iter().flat_map(|(_, rows)| rows) {
        let entry = Entry::decode(&row.bytes).expect("an entry");
        let journal::Body::Record { kind, version, bytes } = &entry.body else { panic!("a record") };
        let record = Record::decode(*kind, *version, bytes).expect("decodes").expect("known");
        let place = Place { device: row.device, incarnation: row.incarnation, seq: row.seq };
        for movement in fold::stock_movements(&record) {
            movements.entry(number(movement.product)).or_default().push((place, movement.quantity.0));
            if movement.reason == fold::MovementReason::Adjustment && movement.quantity.0 > 0 {
                tracked.insert(number(movement.product));
            }
        }
        match &record {
            Record::StockCounted(count) => {
                for (id, counted) in Counted::all(count, entry.at.0, place) {
                    counts.entry(number(id)).or_default().push(counted);
                    tracked.insert(number(id));
                }
            }
            Record::SaleCompleted(order) => drop(sold.insert(order.id, order.lines[0].quantity.0)),
            Record::RefundGiven(order) => {
                *back.entry(order.original.expect("of a sale")).or_default() -= order.lines[0].quantity.0;
            }
            _ => {}
        }
    }
    let (mut levels, mut open) = (Vec::new(), BTreeSet::new());
    for (number, moved) in &movements {
        let counts = counts.get(number).map_or(&[][..], Vec::as_slice);
        let standing = standing(counts);
        let begins = standing.as_ref().map_or(0, |s| s.count.quantity.0);
        let applies = |place: &Place| standing.as_ref().is_none_or(|s| !s.count.cut.covers(*place));
        let level: i64 = begins + moved.iter().filter(|(place, _)| applies(place)).map(|(_, milli)| milli).sum::<i64>();
        levels.push(format!("{} {level}", product(*number)));
        if level < 0 && tracked.contains(number) {
            open.insert(format!("oversold {}", product(*number)));
        }
        if standing.is_some_and(|s| !s.beside.is_empty()) {
            open.insert(format!("counted_at_once {}", product(*number)));
        }
    }
    open.extend(back.iter().filter(|(sale, back)| sold[sale] < **back).map(|(sale, _)| format!("refunded_twice {sale}")));
    levels.sort();
    (levels, open)
}

#[tokio::test]
async fn in_whatever_order_logs_arrive_levels_and_open_exceptions_are_the_same() {
    let mut kinds = BTreeSet::new();
    for start in [0x0e7e_4711_u64, 0x51de_0b0e] {
        let mut seed = start;
        let mut below = |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % n as u64).expect("small")
        };
        let commits = a_busy_week(&mut below);
        let expected = expected(&commits);
        kinds.extend(expected.1.iter().map(|open| open.split(' ').next().expect("a kind").to_owned()));
        let world = World::new().await;
        for shuffle in 0..2 {
            // Each till's log in its order, all of them into each other as it pleases, in batches as it pleases.
            let mut logs = [0, 1, 2].map(|n| commits.iter().filter(move |(till, _)| *till == n).map(|(_, rows)| rows));
            let mut region = Region::new(1);
            let central = world.another(&format!("shuffle_{shuffle}")).await;
            while region.rows.len() < commits.iter().map(|(_, rows)| rows.len()).sum() {
                logs[below(3)].by_ref().take(below(30)).for_each(|rows| region.take(rows.clone()));
                if below(2) == 0 && !region.rows.is_empty() {
                    feed_all(&central, &region).await;
                    project_all(&central).await;
                }
            }
            feed_all(&central, &region).await;
            project_all(&central).await;
            let url = world.cluster.url().replacen("/evertill?", &format!("/shuffle_{shuffle}?"), 1);
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
            tokio::spawn(connection);
            let texts = async |sql: &str| -> Vec<String> {
                client.query(sql, &[]).await.expect(sql).iter().map(|row| row.get(0)).collect()
            };
            let levels = texts("SELECT product_id || ' ' || quantity_milli FROM stock_levels ORDER BY 1").await;
            let open = texts("SELECT kind || ' ' || subject FROM exceptions WHERE settled_seq IS NULL ORDER BY 1").await;
            assert_eq!(open.len(), open.iter().collect::<BTreeSet<_>>().len(), "each once: {open:?}");
            assert_eq!((levels, open.into_iter().collect()), expected, "{start:x}, {shuffle}");
            let rebuilt = projector::reproject(&central, true).await.expect("reproject");
            assert_eq!((rebuilt.entries, rebuilt.differing), (region.last(), vec![]));
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["counted_at_once", "oversold", "refunded_twice"], "all of them were open");
}

/// An origin for the cut of a count that nobody has ever heard of does no harm.
#[tokio::test]
async fn a_cut_that_claims_what_does_not_exist_covers_that_and_nothing_else() {
    let world = World::new().await;
    let (mut first, mut second, mut region) = shop();
    let Origin { device, incarnation } = second.writer.origin();
    first.heard.insert((device, incarnation), u64::MAX);
    first.heard.insert(([9; 16], [9; 16]), 7);
    region.take(first.count(1, &[(1, 5)]));
    region.take(second.sell(2, 1, 1));
    region.take(first.sell(3, 1, 1));
    projected(&world, &region).await;
    assert_eq!(level(&world, 1).await, 4);
    is_the_same_however_cut(&world, &region).await;
}
