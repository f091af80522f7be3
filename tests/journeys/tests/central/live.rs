//! The live feed over a real WebSocket: sales as they are accepted, figures as they change, and who may watch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use journeys::counter::{Counter, SERIES, Watcher, live_latency};
use sync_proto::env::Env;
use sync_server::live::EVENTS_MAX;
use sync_server::web_api::{LiveEvent, LiveSale, OrderKind};

use crate::shop::{body, morning, store};
use crate::web::{NOON_MS, PASSWORD, Site, site};
use crate::world::{feed_all, project_all};

impl Site {
    async fn counter(&self, folder: &tempfile::TempDir) -> Counter {
        let env: Arc<dyn Env> = self.env.clone();
        Counter::new(folder.path(), self.live.clone(), env).await.expect("a counter")
    }
}

fn sale(event: LiveEvent) -> Option<LiveSale> {
    match event {
        LiveEvent::Sale { sale } => Some(sale),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_comes_by_itself_with_names_and_amounts() {
    let site = site().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut counter = site.counter(&folder).await;
    counter.sell().await.expect("before anybody watches");
    let mut watcher = Watcher::open(site.address, &site.cookie()).await.expect("watches");
    let order = counter.sell().await.expect("sold");
    let seen = watcher.until(sale).await.expect("a sale");
    let expected = LiveSale {
        store: "S01".into(),
        order: order.to_string(),
        kind: OrderKind::Sale,
        number: format!("{SERIES}-000002"),
        device: counter.device().to_string(),
        till: "Till 1".into(),
        cashier: "Ana".into(),
        at_ms: NOON_MS,
        accepted_at_ms: NOON_MS,
        currency: "GBP".into(),
        exponent: 2,
        total_minor: 2_040,
        lines: 4,
        first_line: "Product 1".into(),
    };
    assert_eq!(seen, expected);
    // A backlog that nobody could read is cut short, and the watcher knows it.
    counter.sell_backlog(400).await.expect("sold");
    let mut seen = 0;
    let missed = watcher.until(|event| match event {
        LiveEvent::Sale { .. } => {
            seen += 1;
            None
        }
        LiveEvent::Missed {} => Some(()),
        _ => None,
    });
    missed.await.expect("is told");
    assert_eq!(seen, sync_server::region::SALES_KEPT_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_sales_arrive_in_order_each_once() {
    // The order and the number are asserted inside; the figures are for reading.
    let latency = live_latency(2_000).await.expect("measures");
    eprintln!("{latency:?}");
    assert_eq!(latency.sales, 2_000);
    assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_devices_and_exceptions_are_news() {
    let site = site().await;
    let cookie = site.cookie();
    let mut watcher = Watcher::open(site.address, &cookie).await.expect("watches");
    let figures = |event| match event {
        LiveEvent::Figures { central_seq } => Some(central_seq),
        _ => None,
    };
    assert_eq!(watcher.until(figures).await.expect("where they stand"), 0);
    feed_all(&site.world.central, &morning()).await;
    project_all(&site.world.central).await;
    let last = site.world.number("SELECT max(central_seq) FROM entries").await;
    watcher.until(|event| figures(event).filter(|seq| *seq == last)).await.expect("the figures of all entries");
    // What another server projected is news, too: only the database knows of it.
    let elsewhere = sync_server::central::Postgres::new(&site.world.cluster.url()).expect("a URL");
    let mut region = crate::shop::Region::new(2);
    let wrong = domain::record::Record::SaleCompleted(domain::record::Order {
        total_minor: 1,
        ..crate::shop::order(900, 1, vec![crate::shop::line(1, 1, "2.55")])
    });
    region.take(crate::shop::Writer::new(7).commit(vec![(sync_proto::scopes::store(store(1)), body(&wrong))]));
    feed_all(&elsewhere, &region).await;
    project_all(&elsewhere).await;
    watcher.until(|event| figures(event).filter(|seq| *seq > last)).await.expect("of another server");
    let open = |event| match event {
        LiveEvent::Exceptions { open } => Some(open),
        _ => None,
    };
    assert_eq!(watcher.until(open).await.expect("one more exception"), 1);
    let device = domain::ids::DeviceId::new(1, [1; 10]);
    let connected = |event| match event {
        LiveEvent::Device { device: of, connected } if of == device.to_string() => Some(connected),
        _ => None,
    };
    let connection = site.live.connect(device);
    assert!(watcher.until(connected).await.expect("it came"));
    drop(connection);
    assert!(!watcher.until(connected).await.expect("it went"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_misses_and_is_told_so() {
    let site = site().await;
    let mut watcher = Watcher::open(site.address, &site.cookie()).await.expect("watches");
    // More than sockets and queue hold, while nobody reads.
    let long = "x".repeat(1_000);
    let device = |n: usize| LiveEvent::Device { device: format!("{n} {long}"), connected: true };
    let mut sent = 0;
    for _ in 0..20 {
        for _ in 0..EVENTS_MAX {
            site.live.send(device(sent));
            sent += 1;
        }
        tokio::task::yield_now().await;
    }
    site.live.send(LiveEvent::Exceptions { open: 77 });
    let (mut missed, mut seen) = (0, 0);
    watcher
        .until(|event| match event {
            LiveEvent::Missed {} => {
                missed += 1;
                None
            }
            LiveEvent::Device { .. } => {
                seen += 1;
                None
            }
            LiveEvent::Exceptions { open: 77 } => Some(()),
            _ => None,
        })
        .await
        .expect("the newest still comes");
    assert!(missed >= 1 && seen < sent, "{missed} times missed, {seen} of {sent} seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_needs_a_session_and_ends_with_it() {
    let site = site().await;
    let cookie = site.cookie();
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let ask = |cookie: &str, origin: &str| {
        let headers: Vec<_> = upgrade.into_iter().chain([("cookie", cookie), ("origin", origin)]).collect();
        site.ask("GET", "/api/v1/live", &headers, None).code()
    };
    let own = format!("http://{}", site.address);
    assert_eq!(ask("", &own), (401, "not_signed_in".into()));
    assert_eq!(ask(&cookie, "https://evil.example"), (403, "bad_request".into()), "another site's page has the cookie, too");
    assert_eq!(site.get("/api/v1/live", &cookie).code(), (400, "bad_request".into()));

    let mut first = Watcher::open(site.address, &cookie).await.expect("watches");
    let mut second = Watcher::open(site.address, &site.cookie()).await.expect("watches");
    assert_eq!(site.ask("DELETE", "/api/v1/session", &[("cookie", &cookie), ("origin", &own)], None).status, 204);
    while first.next().await.expect("closes properly").is_some() {}
    site.live.send(LiveEvent::Exceptions { open: 3 });
    second.until(|event| (event == LiveEvent::Exceptions { open: 3 }).then_some(())).await.expect("the other goes on");
    // A session that ends with its time takes its feed along, at the next event at the latest.
    site.env.0.fetch_add(13 * 3_600_000, Ordering::Relaxed);
    site.live.send(LiveEvent::Exceptions { open: 4 });
    while let Some(event) = second.next().await.expect("closes properly") {
        assert_ne!(event, LiveEvent::Exceptions { open: 4 });
    }
    assert!(Watcher::open(site.address, &cookie).await.is_err());
    assert_eq!(site.sign_in("ada", PASSWORD).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_counted() {
    let site = site().await;
    let cookie = site.cookie();
    let mut watchers = Vec::new();
    for _ in 0..64 {
        watchers.push(Watcher::open(site.address, &cookie).await.expect("watches"));
    }
    let refused = Watcher::open(site.address, &cookie).await.expect_err("one too many");
    assert!(refused.to_string().contains("503"), "{refused}");
    // A page that is closed makes room; its end is noticed when the server reads it.
    drop(watchers.pop());
    while Watcher::open(site.address, &cookie).await.is_err() {
        tokio::task::yield_now().await;
    }
}
