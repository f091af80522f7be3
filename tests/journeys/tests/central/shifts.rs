//! Z reports and their addenda: what a closing covers, whatever came first, and what of a shift came to it late.

use domain::record::{Record, SeenHead, ShiftClosing};
use journal::{OriginChain, Scope};
use serde_json::{Value, json};
use sync_proto::scopes;
use sync_server::central::FeedRow;
use sync_server::central::projector;
use sync_server::central::reports::shifts::{ShiftsQuestion, shifts};
use sync_server::web_api::ShiftRow;

use crate::shop::{DAY, MORNING_MS, Region, Writer, enrolment, opening, refund, sale, shift_id, start, store};
use crate::web::site;
use crate::world::{World, feed_all, project_all};

/// A till that goes on under another incarnation.
fn next_life(till: &Writer) -> Writer {
    let mut next = till.clone();
    next.chain = OriginChain::new(journal::Origin { incarnation: [99; 16], ..till.origin() });
    next
}

fn head(till: &Writer, scope: &Scope) -> SeenHead {
    let head = till.chain.head(scope);
    SeenHead { device: till.device(), incarnation: till.origin().incarnation, seq: head.seq, hash: head.hash }
}

fn closing(counted_minor: i64, expected_minor: i64, cut: Vec<SeenHead>) -> Record {
    Record::ShiftClosed(ShiftClosing { shift: shift_id(1), counted_minor, expected_minor, cut_commit: 9, cut: Some(cut) })
}

fn total(record: &Record) -> i64 {
    match record {
        Record::SaleCompleted(o) | Record::RefundGiven(o) => o.total_minor,
        _ => 0,
    }
}

/// The pieces of one story, each in the order of its chain.
struct Story {
    /// Opened, sold 1 and 2, closed with both: expected is what it had.
    own: Vec<FeedRow>,
    /// A copy of the till from after sale 1 that sold 3 and 4, the same places of the same chain.
    copy: Vec<FeedRow>,
    /// A later life of it that sold 5 and took back 1.
    later: Vec<FeedRow>,
    device: Vec<FeedRow>,
}

impl Story {
    fn new() -> Self {
        let shop = scopes::store(store(1));
        let mut server = Writer::new(9);
        let mut till = Writer::new(1);
        let device = server.write(&scopes::directory(), &enrolment(till.device(), Some(store(1)), "Till 1", 1));
        let mut own: Vec<FeedRow> = [start("S01-T01a"), opening(1), sale(1)].iter().flat_map(|r| till.write(&shop, r)).collect();
        let (mut copy, mut later) = (till.clone(), next_life(&till));
        own.extend(till.write(&shop, &sale(2)));
        let (expected, cut) = (10_000 + total(&sale(1)) + total(&sale(2)), vec![head(&till, &shop)]);
        own.extend(till.write(&shop, &closing(expected - 7, expected, cut)));
        copy.now_ms += 60_000;
        let copy = [sale(3), sale(4)].iter().flat_map(|r| copy.write(&shop, r)).collect();
        later.now_ms += 120_000;
        let later = [start("S01-T01b"), sale(5), refund(6, 1)].iter().flat_map(|r| later.write(&shop, r)).collect();
        Self { own, copy, later, device }
    }
}

async fn listed(world: &World) -> Vec<ShiftRow> {
    let question = ShiftsQuestion::new((Some(DAY), Some(DAY)), None, None, None).expect("a question");
    shifts(&world.central, &question, MORNING_MS).await.expect("an answer").rows
}

/// In whatever order the lives of a till come, in one batch or in many: the Z report is what the closing had, the addenda are the rest, and together they are the day.
#[tokio::test]
async fn addenda_are_the_same_in_whatever_order_they_come() {
    let Story { own, copy, later, device } = Story::new();
    let mut first: Option<ShiftRow> = None;
    for (order, together) in [([&own, &copy, &later], false), ([&copy, &later, &own], true), ([&later, &own, &copy], false)] {
        let world = World::new().await;
        let mut region = Region::new(1);
        region.take(device.clone());
        for rows in order {
            region.take(rows.clone());
            if !together {
                feed_all(&world.central, &region).await;
                project_all(&world.central).await;
            }
        }
        feed_all(&world.central, &region).await;
        project_all(&world.central).await;
        let [shift] = <[ShiftRow; 1]>::try_from(listed(&world).await).expect("one shift");
        let closing = shift.closing.as_ref().expect("it is closed");
        assert_eq!((shift.sales, shift.sales_minor, shift.refunds), (2, total(&sale(1)) + total(&sale(2)), 0));
        let numbered: Vec<_> = shift.addenda.iter().map(|a| (a.number, a.sales, a.refunds, a.cash_minor)).collect();
        let (copied, last) = (total(&sale(3)) + total(&sale(4)), total(&sale(5)) + total(&refund(6, 1)));
        assert_eq!(numbered, [(1, 2, 0, copied), (2, 1, 1, last)], "together: {together}");
        assert_eq!((closing.difference_minor, closing.difference_with_addenda_minor), (-7, -7 - copied - last));
        let all = |z: i64, of: fn(&sync_server::web_api::AddendumRow) -> i64| z + shift.addenda.iter().map(of).sum::<i64>();
        let whole = all(shift.sales_minor, |a| a.sales_minor) - all(shift.refunds_minor, |a| a.refunds_minor);
        assert_eq!(whole, world.number("SELECT sum(total_minor)::bigint FROM orders").await, "it is the day's total");
        // Numbers of a copied stretch are there twice, and which of the two came first makes no difference to what is told.
        assert_eq!(first.get_or_insert_with(|| shift.clone()), &shift);
        projector::reproject(&world.central, false).await.expect("reproject");
        assert_eq!(listed(&world).await, [shift]);
    }
}

/// A closing whose own entries are still on their way makes nothing late, and one of an earlier program says nothing of what it covers.
#[tokio::test]
async fn nothing_is_late_that_is_only_on_its_way() {
    let Story { own, device, .. } = Story::new();
    let world = World::new().await;
    let mut region = Region::new(1);
    region.take(device);
    // The sale before the closing comes last.
    let (before, closing) = own.split_at(own.len() - 1);
    let (before, last_sale) = before.split_at(before.len() - 1);
    for rows in [before, closing, last_sale] {
        region.take(rows.to_vec());
        feed_all(&world.central, &region).await;
        project_all(&world.central).await;
        assert_eq!(listed(&world).await[0].addenda, []);
    }
    assert_eq!(listed(&world).await[0].sales, 2);

    let world = World::new().await;
    let (shop, mut till) = (scopes::store(store(1)), Writer::new(1));
    let mut region = Region::new(1);
    for record in [opening(1), sale(1), crate::shop::closing(1), sale(2)] {
        region.take(till.write(&shop, &record));
    }
    feed_all(&world.central, &region).await;
    project_all(&world.central).await;
    let shift = listed(&world).await.remove(0);
    assert_eq!((shift.sales, shift.addenda.len()), (2, 0));
}

/// Two lives close one shift: the later closing stands, the rest is an addendum, and a manager is told to look.
#[tokio::test]
async fn a_shift_that_was_closed_twice_is_told_of() {
    let shop = scopes::store(store(1));
    for other_first in [false, true] {
        let world = World::new().await;
        let mut till = Writer::new(1);
        let before: Vec<FeedRow> = [opening(1), sale(1)].iter().flat_map(|r| till.write(&shop, r)).collect();
        let mut copy = till.clone();
        copy.now_ms += 60_000;
        let end = |till: &mut Writer, n: u64| -> Vec<FeedRow> {
            let mut rows = till.write(&shop, &sale(n));
            let expected = 10_000 + total(&sale(1)) + total(&sale(n));
            rows.extend(till.write(&shop, &closing(expected, expected, vec![head(till, &shop)])));
            rows
        };
        let (earlier, later) = (end(&mut till, 2), end(&mut copy, 3));
        let mut region = Region::new(1);
        region.take(before);
        for rows in if other_first { [later, earlier] } else { [earlier, later] } {
            region.take(rows);
        }
        feed_all(&world.central, &region).await;
        project_all(&world.central).await;
        let shift = listed(&world).await.remove(0);
        assert_eq!((shift.sales, shift.sales_minor), (2, total(&sale(1)) + total(&sale(3))));
        assert_eq!((shift.addenda.len(), shift.addenda[0].sales_minor), (1, total(&sale(2))));
        let told = world.texts("SELECT DISTINCT kind FROM exceptions ORDER BY kind").await;
        assert_eq!(told, ["closed_twice", "fork"]);
    }
}

/// The list is asked for in pages, of days and of a store, and says what to ask instead of nonsense.
#[tokio::test(flavor = "multi_thread")]
async fn shifts_are_listed_in_pages() {
    let site = site().await;
    let cookie = site.cookie();
    let (shop, mut region) = (scopes::store(store(1)), Region::new(1));
    let mut till = Writer::new(1);
    for n in 1..=5 {
        region.take(till.write(&shop, &opening(n)));
    }
    feed_all(&site.world.central, &region).await;
    project_all(&site.world.central).await;
    let ask = |query: &str| {
        let answer = site.get(&format!("/api/v1/shifts{query}"), &cookie);
        (answer.status, answer.json())
    };
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = ask(&format!("?limit=2{after}"));
        assert_eq!(status, 200, "{page}");
        seen.extend(page["rows"].as_array().expect("rows").iter().map(|row| row["shift"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let wanted: Vec<Value> = (1..=5).rev().map(|n| json!(shift_id(n).to_string())).collect();
    assert_eq!(seen, wanted, "the newest first");
    assert_eq!(ask(&format!("?from={DAY}&to={DAY}")).1["rows"].as_array().map(Vec::len), Some(5));
    assert_eq!(ask("?from=2001-01-01&to=2001-01-02").1["rows"], json!([]));
    for (query, says) in [
        ("?from=2026-01-01", "Give both `from` and `to`, or neither."),
        ("?limit=101", "Let `limit` be 1 to 100."),
        ("?after=x", "Give as `after` what the page before said as `next`."),
        ("?store=nowhere", "No store has the code nowhere. Choose one that is set up."),
    ] {
        let (status, refusal) = ask(query);
        assert!((400..500).contains(&status) && refusal.to_string().contains(says), "{query}: {status} {refusal}");
    }
}
