//! Every entry exactly once, whatever happens to connections, servers and databases.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::record::{Record, ShiftClosing};
use sync_proto::scopes;
use sync_server::central::{CentralError, CentralStore, Contact, FeedRow, dump, feed, projector};
use tokio::sync::watch;

use crate::shop::{Region, Writer, opening, sale, shift_id, store};
use crate::world::{World, feed_all, project_all};

const PATIENCE: Duration = Duration::from_secs(90);

/// A region of one till with many sales.
fn busy(sales: u64) -> Region {
    let (mut region, mut till, shop) = (Region::new(5), Writer::new(1), scopes::store(store(1)));
    region.take(till.write(&shop, &opening(1)));
    for n in 1..=sales {
        region.take(till.write(&shop, &sale(n)));
    }
    region
}

async fn until(fed: &mut watch::Receiver<u64>, at_least: u64) {
    let reached = tokio::time::timeout(PATIENCE, fed.wait_for(|&fed| fed >= at_least)).await;
    reached.expect("the feed goes on").expect("the feed lives");
}

async fn assert_once(world: &World, region: &Region) {
    let rows = region.last() as i64;
    assert_eq!(world.number("SELECT count(*) FROM entries").await, rows);
    assert_eq!(world.number("SELECT count(DISTINCT hash) FROM entries").await, rows);
    assert_eq!(world.number("SELECT max(region_seq) FROM feed_cursor").await, rows);
    // All but the opening of the shift are sales of two lines.
    assert_eq!(world.number("SELECT count(*) FROM orders").await, rows - 1);
    assert_eq!(world.number("SELECT count(*) FROM order_lines").await, 2 * (rows - 1));
    assert_eq!(world.number("SELECT sum(total_minor)::bigint FROM orders").await, 849 * (rows - 1));
    assert_eq!(world.number("SELECT sum(amount_minor)::bigint FROM payments").await, 849 * (rows - 1));
    assert_eq!(world.number("SELECT sum(quantity_milli)::bigint FROM stock_levels").await, -3_000 * (rows - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_there_once_though_the_server_crashes_again_and_again() {
    let mut world = World::new().await;
    let region = busy(2_000);
    let (source, mut fed) = region.source(40);
    let (stop, stopping) = watch::channel(false);
    let feeding = tokio::spawn(feed::run(source, world.central.clone(), stopping.clone()));
    let projecting = tokio::spawn(projector::run(world.central.clone(), stopping));
    for at in [100, 700, 1_300] {
        until(&mut fed, at).await;
        tokio::task::block_in_place(|| world.cluster.crash()).expect("crash");
        tokio::task::block_in_place(|| world.cluster.restart()).expect("restart");
    }
    until(&mut fed, region.last()).await;
    stop.send(true).expect("both are there");
    feeding.await.expect("the feed stops");
    projecting.await.expect("the projector stops");
    project_all(&world.central).await;
    assert_once(&world, &region).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_there_once_though_connections_are_killed() {
    let world = World::new().await;
    let region = busy(1_500);
    let (source, mut fed) = region.source(25);
    let (stop, stopping) = watch::channel(false);
    let feeding = tokio::spawn(feed::run(source, world.central.clone(), stopping.clone()));
    let projecting = tokio::spawn(projector::run(world.central.clone(), stopping));
    let killer = world.client().await;
    for at in (50..1_500).step_by(100) {
        until(&mut fed, at).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evertill-sync-server'";
        killer.execute(kill, &[]).await.expect("kill");
    }
    until(&mut fed, region.last()).await;
    drop(stop);
    feeding.await.expect("the feed stops when nobody is left to stop it");
    projecting.await.expect("the projector stops");
    project_all(&world.central).await;
    assert_once(&world, &region).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_goes_on_without_postgres_and_catches_up() {
    let mut world = World::new().await;
    tokio::task::block_in_place(|| world.cluster.stop()).expect("stop");
    assert!(matches!(world.central.position([5; 16]).await, Err(e) if e.is_away()));
    let region = busy(300);
    let (source, mut fed) = region.source(100);
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(feed::run(source, world.central.clone(), stopping));
    tokio::task::block_in_place(|| world.cluster.restart()).expect("restart");
    until(&mut fed, region.last()).await;
    project_all(&world.central).await;
    assert_once(&world, &region).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_from_a_backup_is_filled_up_again() {
    let world = World::new().await;
    let region = busy(600);
    let early = Region { rows: region.rows[..200].to_vec(), ..region.clone() };
    feed_all(&world.central, &early).await;
    let backup = world.another("backup").await;
    feed_all(&backup, &early).await;
    feed_all(&world.central, &region).await;
    // The backup takes the database's place; the feed's memory is ahead of it.
    let ahead = backup.append(region.id, 400, &region.rows[400..500]).await;
    assert!(matches!(ahead, Err(CentralError::Moved { expected: 400, found: 200 })), "{ahead:?}");
    let (source, mut fed) = region.source(100);
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(feed::run(source, backup.clone(), stopping));
    until(&mut fed, region.last()).await;
    project_all(&world.central).await;
    project_all(&backup).await;
    assert_eq!(dump::dump(&backup).await.expect("dump"), dump::dump(&world.central).await.expect("dump"));
}

#[tokio::test]
async fn the_same_rows_from_two_regions_are_there_once() {
    let world = World::new().await;
    let first = busy(50);
    feed_all(&world.central, &first).await;
    let again = world.central.append(first.id, 0, &first.rows[..10]).await;
    assert!(matches!(again, Err(CentralError::Moved { expected: 0, found: 51 })), "{again:?}");
    let second = Region { id: [6; 16], ..first.clone() };
    feed_all(&world.central, &second).await;
    assert_eq!(world.central.position(second.id).await.expect("a position").region_seq, 51);
    project_all(&world.central).await;
    assert_eq!(world.number("SELECT count(*) FROM entries").await, 51);
    assert_eq!(world.number("SELECT count(*) FROM orders").await, 50);
    assert_eq!(world.number("SELECT count(*) FROM forked_entries").await, 0);
}

#[tokio::test]
async fn both_branches_of_a_fork_are_kept_projected_and_told() {
    let world = World::new().await;
    let shop = scopes::store(store(1));
    let mut till = Writer::new(1);
    let mut region = Region::new(1);
    region.take(till.write(&shop, &opening(1)));
    let mut clone = till.clone();
    region.take(till.write(&shop, &sale(1)));
    region.take(till.write(&shop, &sale(2)));
    region.take(clone.write(&shop, &sale(3)));
    // The same sale on both branches, as when a backup was made while it was written.
    region.take(clone.write(&shop, &sale(2)));
    let appended = world.central.append(region.id, 0, &region.rows).await.expect("append");
    assert_eq!(appended.region_seq, 5);
    let places: Vec<_> = appended.forks.iter().map(|f| (f.seq, f.first, f.later)).collect();
    assert_eq!(places, [2, 3].map(|seq| (seq as u64, region.rows[seq - 1].hash, region.rows[seq + 1].hash)));
    let repeated = Region { id: [2; 16], ..region.clone() };
    feed_all(&world.central, &repeated).await;
    project_all(&world.central).await;
    assert_eq!(world.number("SELECT count(*) FROM entries").await, 3);
    assert_eq!(world.number("SELECT count(*) FROM forked_entries").await, 2);
    assert_eq!(world.number("SELECT count(*) FROM orders").await, 3);
    assert_eq!(world.texts("SELECT kind FROM exceptions ORDER BY central_seq").await, ["fork", "fork"]);
}

/// Two lives of a till close one shift: the later closing is shown, whichever comes first, alone or with the other; the other is told.
#[tokio::test]
async fn of_two_closings_of_a_shift_the_later_one_is_shown() {
    let shop = scopes::store(store(1));
    let closed = |counted_minor| {
        Record::ShiftClosed(ShiftClosing { shift: shift_id(1), counted_minor, expected_minor: 10_000, cut_commit: 2, cut: None })
    };
    for (first_is_later, together) in [(false, false), (true, false), (false, true), (true, true)] {
        let world = World::new().await;
        let mut till = Writer::new(1);
        let opened = till.write(&shop, &opening(1));
        let mut copy = till.clone();
        let earlier = till.write(&shop, &closed(9_000));
        copy.now_ms += 60_000;
        let later = copy.write(&shop, &closed(8_000));
        let (one, other) = if first_is_later { (later, earlier) } else { (earlier, later) };
        let mut region = Region::new(1);
        region.take(opened);
        region.take(one);
        if !together {
            feed_all(&world.central, &region).await;
            project_all(&world.central).await;
        }
        region.take(other);
        feed_all(&world.central, &region).await;
        project_all(&world.central).await;
        let shown = world.texts("SELECT counted_minor::text FROM shifts").await;
        assert_eq!(shown, ["8000"], "the later one first: {first_is_later}, together: {together}");
        let told = world.texts("SELECT DISTINCT kind FROM exceptions ORDER BY kind").await;
        assert!(told.contains(&"fork".to_owned()), "{told:?}");
    }
}

/// What a region that lost its log asks for: everything that another brought first, both histories of a fork, with the seals, in order and in pieces.
#[tokio::test]
async fn entries_are_given_back_to_whoever_did_not_bring_them() {
    let world = World::new().await;
    let shop = scopes::store(store(1));
    let mut till = Writer::new(1);
    let mut region = Region::new(1);
    region.take(till.write(&shop, &opening(1)));
    let mut copy = till.clone();
    for n in 1..=3 {
        region.take(till.write(&shop, &sale(n)));
        region.take(copy.write(&shop, &sale(n + 10)));
    }
    region.rows.iter_mut().for_each(|row| row.seal = Some([row.seq as u8; 64]));
    feed_all(&world.central, &region).await;
    let stores = [shop.clone()];
    let own = world.central.brought_by_others(region.id, &stores, 0, 100).await.expect("an answer");
    assert_eq!((own.rows.len(), own.more), (0, false), "nobody else brought anything");
    assert!(own.read_to >= 7);

    let (mut back, mut after) = (Vec::new(), 0);
    loop {
        let brought = world.central.brought_by_others([9; 16], &stores, after, 2).await.expect("an answer");
        assert!(brought.rows.len() <= 2 && brought.rows.iter().all(|row| row.central_seq > after));
        back.extend(brought.rows);
        after = brought.read_to;
        if !brought.more {
            break;
        }
    }
    let ascending = back.windows(2).all(|pair| pair[0].central_seq < pair[1].central_seq);
    assert!(ascending && back.len() == region.rows.len(), "{} of {}", back.len(), region.rows.len());
    let of =
        |rows: Vec<FeedRow>| rows.into_iter().map(|row| (row.hash, row.bytes, row.seal, row.commit)).collect::<BTreeSet<_>>();
    assert_eq!(of(back.into_iter().map(|row| row.row).collect()), of(region.rows.clone()));
    let elsewhere = world.central.brought_by_others([9; 16], &[scopes::store(store(2))], 0, 100).await.expect("an answer");
    assert_eq!((elsewhere.rows.len(), elsewhere.more, elsewhere.read_to), (0, false, after), "another store's are not asked for");
    let position = world.central.position(region.id).await.expect("a position");
    assert_eq!((position.region_seq, position.hash), (7, region.rows.last().map(|row| row.hash)));
}

#[tokio::test]
async fn batches_that_no_feed_sends_are_refused() {
    let world = World::new().await;
    let region = busy(3);
    let row = region.rows[0].clone();
    let reversed: Vec<_> = region.rows.iter().rev().cloned().collect();
    let huge = vec![row.clone(); 2_001];
    let wide: Vec<_> =
        (1..=2).map(|n| sync_server::central::FeedRow { region_seq: n, bytes: vec![0; 3 << 20], ..row.clone() }).collect();
    let far = vec![sync_server::central::FeedRow { seq: u64::MAX, ..row.clone() }];
    for rows in [&reversed, &huge, &wide, &far] {
        assert!(matches!(world.central.append([1; 16], 0, rows).await, Err(CentralError::Row(_))));
    }
    assert!(matches!(world.central.append([1; 16], 1, &region.rows[..1]).await, Err(CentralError::Row(_))));
    let place_0 = vec![sync_server::central::FeedRow { seq: 0, ..row }];
    assert!(matches!(world.central.append([1; 16], 0, &place_0).await, Err(CentralError::Value(_))));
    assert_eq!(world.number("SELECT count(*) FROM entries").await, 0);
}

#[tokio::test]
async fn older_news_of_a_device_changes_nothing() {
    let world = World::new().await;
    let contact =
        |commit, seen_at_ms| Contact { device: [1; 16], incarnation: [2; 16], commit, seen_at_ms, clock_drift_ms: None };
    world.central.seen(&[contact(5, 1_000), contact(7, 900)]).await.expect("seen");
    world.central.seen(&[contact(6, 800)]).await.expect("seen");
    world.central.seen(&[]).await.expect("nothing seen");
    let known = world.texts("SELECT known_commit || ' ' || seen_at_ms FROM device_contact").await;
    assert_eq!(known, ["7 1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_that_write_at_once_hide_nothing_from_the_projector() {
    let world = World::new().await;
    let (stop, stopping) = watch::channel(false);
    let projecting = tokio::spawn(projector::run(world.central.clone(), stopping));
    let mut feeding = Vec::new();
    for n in 1..=4u8 {
        let (mut region, mut till, shop) = (Region::new(n), Writer::new(n), scopes::store(store(n.into())));
        for sale_number in 1..=100 {
            region.take(till.write(&shop, &sale(sale_number)));
        }
        let central = world.central.clone();
        feeding.push(tokio::spawn(async move {
            for row in &region.rows {
                central.append(region.id, row.region_seq - 1, std::slice::from_ref(row)).await.expect("append");
            }
        }));
    }
    for feed in feeding {
        feed.await.expect("a feed");
    }
    stop.send(true).expect("it is there");
    projecting.await.expect("the projector");
    project_all(&world.central).await;
    assert_eq!(world.number("SELECT count(*) FROM orders").await, 400);
}
