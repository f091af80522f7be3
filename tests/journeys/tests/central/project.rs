//! The read model: what records mean, whatever batches they came in.

use domain::money::{Quantity, UnitPrice};
use domain::record::{BusinessDay, Order, OrderLine, Record, ShiftOpening};
use expect_test::expect;
use journal::Body;
use sync_proto::scopes;
use sync_server::central::{dump, projector};

use crate::shop::{
    Region, Writer, body, breakage, document, gbp, line, morning, opening, order, order_id, product_value, sale, shift_id, store,
    store_value,
};
use crate::world::{World, feed_all, project_all};

#[tokio::test]
async fn a_morning_becomes_rows() {
    let world = World::new().await;
    feed_all(&world.central, &morning()).await;
    project_all(&world.central).await;
    assert_eq!(world.number("SELECT count(*) FROM pending_parts").await, 0);
    let facts = world
        .texts(
            "SELECT 'store ' || code || ', ' || array_to_string(address, ' / ') || ', ' || currency || ' ' || tax_mode FROM stores
             UNION ALL SELECT 'device ' || kind || ' ' || name || ' ' || number FROM devices
             UNION ALL SELECT 'product ' || code || ' at ' || price_centi || ', ' || array_to_string(barcodes, '+') FROM products
             UNION ALL SELECT 'staff ' || name || ' ' || role FROM staff
             UNION ALL SELECT 'series ' || series FROM incarnations
             UNION ALL SELECT 'orders ' || kind || ' ' || count(*) || ' ' || sum(total_minor) || ' tax ' || sum(tax_minor) || ' on '
                 || business_day FROM orders GROUP BY kind, business_day
             UNION ALL SELECT 'refund of line ' || original_line || ': ' || quantity_milli || ', ' || amount_minor FROM refunds
             UNION ALL SELECT 'stock ' || code || ' ' || quantity_milli FROM stock_levels JOIN products USING (product_id)
             UNION ALL SELECT 'moved ' || reason || ' ' || count(*) || ' ' || sum(quantity_milli) FROM stock_movements GROUP BY reason
             UNION ALL SELECT 'adjusted ' || note || ', ' || reference || ', ' || amount_minor FROM stock_movements WHERE note IS NOT NULL
             UNION ALL SELECT 'account ' || description || ' ' || amount_minor FROM account_adjustments
             UNION ALL SELECT 'shift on ' || business_day || ', float ' || float_minor || ', counted ' || counted_minor FROM shifts
             UNION ALL SELECT 'paid ' || method || ' ' || sum(amount_minor) FROM payments GROUP BY method
             UNION ALL SELECT 'commits ' || commits FROM device_progress
             UNION ALL SELECT 'exception ' || kind FROM exceptions
             ORDER BY 1",
        )
        .await;
    expect![[r#"
        account Adjust bad debt -1106206
        adjusted fell from the shelf, B-1, 0
        commits 20
        commits 25
        commits 6
        device server Server 0
        device till Till 1 1
        device till Till 2 2
        moved adjustment 1 -3000
        moved refund 1 1000
        moved sale 82 -123000
        orders refund 1 -255 tax -43 on 2026-03-02
        orders sale 41 34809 tax 5822 on 2026-03-02
        paid cash 34554
        product P1 at 26500, 5012345678900+20001
        product P2 at 33900, 5012345678900+20001
        refund of line 0: 1000, 255
        series S01-T01a
        shift on 2026-03-02, float 10000, counted 10000
        staff Ana cashier
        stock P1 -81000
        stock P2 -44000
        store S01, 1 High Street / Leeds, GBP inclusive"#]]
    .assert_eq(&facts.join("\n"));
}

#[tokio::test]
async fn however_batches_are_cut_the_rows_are_the_same() {
    let world = World::new().await;
    let region = morning();
    feed_all(&world.central, &region).await;
    project_all(&world.central).await;
    let whole = dump::dump(&world.central).await.expect("dump");

    let singly = world.another("singly").await;
    for row in &region.rows {
        let one = Region { rows: region.rows[..row.region_seq as usize].to_vec(), ..region.clone() };
        feed_all(&singly, &one).await;
        project_all(&singly).await;
    }
    similar(&whole, &dump::dump(&singly).await.expect("dump"));

    // A till's log may come in any order between tills; here the second one's comes last, and the shift's opening after its sales.
    let shuffled = world.another("shuffled").await;
    let mut late = Region::new(3);
    let (early, opened): (Vec<_>, Vec<_>) = region.rows.iter().cloned().partition(|r| r.device != region.rows[8].device);
    late.take(early);
    late.take(opened);
    feed_all(&shuffled, &late).await;
    project_all(&shuffled).await;
    let without_place = |dump: &str| -> Vec<String> {
        let mut lines: Vec<String> = dump.lines().map(|l| l.rsplit_once(',').map_or(l, |(row, _)| row).to_owned()).collect();
        lines.sort();
        lines
    };
    // But for the number of the entry, the last column of orders.
    assert_eq!(without_place(&whole), without_place(&dump::dump(&shuffled).await.expect("dump")));
}

pub(crate) fn similar(a: &str, b: &str) {
    for (a, b) in a.lines().zip(b.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(a.len(), b.len());
}

#[tokio::test]
async fn a_commit_is_projected_whole_or_not_at_all() {
    let world = World::new().await;
    let shop = scopes::store(store(1));
    let (mut region, mut till) = (Region::new(1), Writer::new(1));
    region.take(till.commit([sale(1), breakage(1), sale(2)].iter().map(|r| (shop.clone(), body(r))).collect()));
    region.take(till.write(&shop, &sale(3)));
    for (known, orders) in [(1, 0), (2, 0), (3, 2), (4, 3)] {
        feed_all(&world.central, &Region { rows: region.rows[..known].to_vec(), ..region.clone() }).await;
        project_all(&world.central).await;
        assert_eq!(world.number("SELECT count(*) FROM orders").await, orders, "{known} entries");
        assert_eq!(world.number("SELECT count(*) FROM stock_movements WHERE reason = 'adjustment'").await, i64::from(orders > 0));
    }
    assert_eq!(world.number("SELECT count(*) FROM pending_parts").await, 0);
}

#[tokio::test]
async fn nothing_that_a_record_says_holds_up_the_rest() {
    let world = World::new().await;
    let shop = scopes::store(store(1));
    let (mut region, mut till, mut other) = (Region::new(1), Writer::new(1), Writer::new(2));
    let mut take = |record: Record| region.take(till.write(&shop, &record));
    take(opening(1));
    take(Record::ShiftOpened(ShiftOpening {
        shift: shift_id(2),
        business_day: BusinessDay(i32::MAX),
        float_minor: 0,
        currency: gbp(),
    }));
    take(Record::SaleCompleted(order(1, 2, vec![OrderLine { name: "nul\0byte".into(), ..line(1, 1, "1.00") }])));
    take(Record::SaleCompleted(Order { total_minor: 1, ..order(2, 1, vec![line(1, 1, "1.00")]) }));
    take(Record::SaleCompleted(Order { receipt_number: u64::MAX, ..order(3, 1, vec![line(1, 1, "1.00")]) }));
    take(Record::SaleCompleted(Order { reference: Some("refused".into()), ..order(4, 1, vec![line(1, 1, "1.00")]) }));
    take(sale(5));
    take(sale(5));
    take(Record::SaleCompleted(order(5, 1, vec![line(1, 9, "1.00")])));
    region.take(other.write(&shop, &Record::RefundGiven(order(5, 1, vec![line(1, -9, "1.00")]))));
    region.take(till.commit(vec![(shop.clone(), Body::Record { kind: 1, version: 1, bytes: vec![0xa0] })]));
    region.take(till.commit(vec![(shop.clone(), Body::Record { kind: 999, version: 1, bytes: vec![0xa0] })]));
    region.take(till.commit(vec![(shop.clone(), Body::Record { kind: 1, version: 2, bytes: vec![0xa0] })]));
    region.take(till.commit(vec![(shop.clone(), Body::Change { document: [1; 16], kind: 77, bytes: vec![1] })]));
    region.take(till.commit(vec![(shop.clone(), Body::Change { document: [1; 16], kind: 1, bytes: vec![1] })]));
    region.take(till.write(&scopes::catalogue(), &sale(6)));
    let mut broken = till.write(&shop, &sale(7));
    broken[0].bytes = vec![0xff];
    region.take(broken);
    let bare = Order { payments: Vec::new(), ..order(8, 1, vec![line(1, 1, "0.00")]) };
    region.take(till.write(&shop, &Record::SaleCompleted(bare)));
    region.take(till.write(&shop, &sale(9)));
    // Whatever else Postgres may refuse.
    world.client().await.batch_execute("ALTER TABLE orders ADD CHECK (reference <> 'refused')").await.expect("a rule");

    feed_all(&world.central, &region).await;
    project_all(&world.central).await;
    let flags =
        world.texts("SELECT central_seq || ' ' || kind || ': ' || detail FROM exceptions ORDER BY central_seq, place").await;
    expect![[r#"
        2 business_day: day 2147483647 is no business day
        4 sums: the total is not net plus tax
        5 receipt_number: 18446744073709551615 is no receipt number
        6 not_projected: new row for relation "orders" violates check constraint "orders_reference_check"
        9 duplicate_id: its id was used before, by entry 7, for something else; only that one counts
        10 duplicate_id: its id was used before, by entry 7, for something else; only that one counts
        11 unreadable_record: record of kind 1 does not decode
        15 not_allowed: documents of kind 1 are not for a till to write
        16 no_store: its scope is of no store, so it is in no store's figures
        17 unreadable_entry: an entry that is not canonical"#]]
    .assert_eq(&flags.join("\n"));
    let skipped =
        world.texts("SELECT body || ' ' || kind || '/' || version || ' ' || entries FROM skipped_kinds ORDER BY 1").await;
    assert_eq!(skipped, ["change 77/1 1", "record 1/2 1", "record 999/1 1"]);
    let orders = world.texts("SELECT order_id::text FROM orders ORDER BY order_id").await;
    assert_eq!(orders, [1, 2, 3, 5, 8, 9].map(|n| order_id(n).to_string()));
    assert_eq!(world.texts("SELECT name FROM order_lines WHERE name LIKE 'nul%'").await, ["nul\u{fffd}byte"]);
    let rebuilt = projector::reproject(&world.central, false).await.expect("reproject");
    assert_eq!((rebuilt.entries, rebuilt.differing), (region.last(), vec![]));
}

#[tokio::test]
async fn a_document_that_makes_no_sense_keeps_its_last_rows() {
    let world = World::new().await;
    let (mut region, mut server) = (Region::new(1), Writer::new(1));
    region.take(server.commit(vec![(scopes::directory(), document(&store_value(1)).1)]));
    region.take(server.commit(vec![(scopes::catalogue(), document(&product_value(1, "2.55")).1)]));
    // Changes of one document under the kind of another.
    let Body::Change { document: id, bytes, .. } = document(&product_value(2, "1.00")).1 else { unreachable!() };
    region.take(server.commit(vec![(scopes::catalogue(), Body::Change { document: id, kind: 2, bytes })]));
    feed_all(&world.central, &region).await;
    project_all(&world.central).await;
    assert_eq!(world.texts("SELECT code FROM products").await, ["P1"]);
    assert_eq!(world.texts("SELECT code FROM stores").await, ["S01"]);
    assert_eq!(world.texts("SELECT kind FROM exceptions").await, ["document"]);
}

#[tokio::test]
async fn a_rebuild_yields_the_same_rows_and_mends_what_was_touched() {
    let world = World::new().await;
    let region = morning();
    feed_all(&world.central, &region).await;
    project_all(&world.central).await;
    let before = dump::dump(&world.central).await.expect("dump");
    for only_check in [true, false] {
        let rebuilt = projector::reproject(&world.central, only_check).await.expect("reproject");
        assert_eq!((rebuilt.entries, rebuilt.differing), (region.last(), vec![]));
        assert_eq!(dump::dump(&world.central).await.expect("dump"), before);
    }
    let damage = "UPDATE stock_levels SET quantity_milli = 0; UPDATE orders SET payment_methods = '{}'; INSERT INTO staff VALUES (gen_random_uuid(), gen_random_uuid(), 'x', 'x', true)";
    world.client().await.batch_execute(damage).await.expect("damage");
    let damaged = dump::dump(&world.central).await.expect("dump");
    let differing = ["orders", "staff", "stock_levels"].map(str::to_owned);
    let checked = projector::reproject(&world.central, true).await.expect("check");
    assert_eq!(checked.differing, differing);
    assert_eq!(dump::dump(&world.central).await.expect("dump"), damaged, "a check changes nothing");
    let mended = projector::reproject(&world.central, false).await.expect("reproject");
    assert_eq!(mended.differing, differing);
    assert_eq!(dump::dump(&world.central).await.expect("dump"), before);
    // It goes on from where it was.
    let mut more = region.clone();
    more.take(Writer::new(60).write(&scopes::store(store(1)), &sale(900)));
    feed_all(&world.central, &more).await;
    project_all(&world.central).await;
    assert_eq!(world.number("SELECT count(*) FROM orders").await, 43);
}

#[tokio::test]
async fn stock_is_the_sum_of_its_movements() {
    let world = World::new().await;
    let shop = scopes::store(store(1));
    let (mut region, mut till) = (Region::new(1), Writer::new(1));
    for n in 1..=50u64 {
        let weighed = OrderLine {
            quantity: Quantity(n as i64 * 7 + 1),
            unit_price: UnitPrice(0),
            amount_minor: 0,
            ..line(n % 5, 1, "0.00")
        };
        region.take(till.write(&shop, &Record::SaleCompleted(Order { payments: vec![], ..order(n, 1, vec![weighed]) })));
        region.take(till.write(&shop, &breakage(n + 1_000)));
        feed_all(&world.central, &region).await;
        project_all(&world.central).await;
    }
    let unlike = world
        .number(
            "SELECT count(*) FROM stock_levels AS l FULL JOIN
                 (SELECT store_id, product_id, sum(quantity_milli) AS moved FROM stock_movements GROUP BY 1, 2) AS m
                 USING (store_id, product_id) WHERE l.quantity_milli IS DISTINCT FROM m.moved",
        )
        .await;
    assert_eq!((unlike, world.number("SELECT count(*) FROM stock_levels").await), (0, 5));
}
