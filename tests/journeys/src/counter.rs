//! A till in memory that sells straight into a region's hub, and how soon a watcher of the live feed sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use domain::document::Store;
use domain::ids::{DeviceId, OrderId, ProductId, ShiftId, StaffId, StoreId};
use domain::money::{Currency, Quantity, UnitPrice, line_amount_minor};
use domain::record::{DeviceStart, Order, OrderLine, Payment, PaymentMethod, Record};
use domain::staff::Role;
use domain::tax::{self, TaxMode};
use futures_util::StreamExt;
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Seal, SigningKey};
use sync_proto::batch::Run;
use sync_proto::env::{Env, random};
use sync_proto::scopes;
use sync_server::central::Postgres;
use sync_server::config::WebConfig;
use sync_server::hub::Hub;
use sync_server::live::Live;
use sync_server::region::{Region, Sender, Writer, staff_member};
use sync_server::web::{EnrolmentDesk, IssueError, WebServer, WebState, accounts};
use sync_server::web_api::{EnrolmentCode, LiveEvent};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use crate::postgres::PrivateCluster;

/// The series of the counter's receipts.
pub const SERIES: &str = "S01-T01a";

/// A region's hub with one store `S01`, one till `Till 1` and one cashier, Ana.
#[derive(Debug)]
pub struct Counter {
    /// The hub.
    pub hub: Hub,
    device: DeviceId,
    key: SigningKey,
    chain: OriginChain,
    store: StoreId,
    staff: StaffId,
    env: Arc<dyn Env>,
    sold: u64,
}

impl Counter {
    /// A new region in a folder, which tells `live` of its sales.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn new(folder: &Path, live: Live, env: Arc<dyn Env>) -> Result<Self> {
        let (mut chance, mut store_id) = ([0; 32], [0; 16]);
        env.fill_random(&mut chance);
        env.fill_random(&mut store_id);
        let key = SigningKey::from_bytes(&chance);
        let device = DeviceId::new(env.unix_ms(), random(&*env));
        let writer = Writer {
            device: DeviceId::new(env.unix_ms(), random(&*env)),
            incarnation: random(&*env),
            actor_seed: random(&*env),
            key: SigningKey::from_bytes(&random(&*env)),
        };
        let mut region = Region::open(&folder.join("region.db"), writer)?;
        let now_ms = env.unix_ms();
        region.start(now_ms, "a test")?;
        let store = StoreId(Uuid::from_bytes(store_id));
        let currency = Currency::new("GBP").context("GBP")?;
        region.add_store(
            Store {
                id: store,
                code: "S01".into(),
                name: "Corner Shop".into(),
                address: vec![],
                currency,
                tax_mode: TaxMode::Inclusive,
                receipt_header: vec![],
                receipt_footer: String::new(),
                languages: vec!["en".into()],
                time_zone: "UTC".into(),
            },
            now_ms,
        )?;
        let member = staff_member("Ana", Role::Cashier, "1234", &*env).map_err(anyhow::Error::msg)?;
        let staff = member.id;
        region.add_staff("S01", member, now_ms)?;
        region.issue_code("S01", "Till 1", "AAAAAAAAAA", now_ms)?;
        region.redeem("AAAAAAAAAA", device, key.verifying_key().to_bytes(), now_ms)?;
        let clock = env.clone();
        let hub = Hub::spawn_live(region, live, move || clock.unix_ms());
        let chain = OriginChain::new(Origin { device: *device.as_bytes(), incarnation: random(&*env) });
        let mut counter = Self { hub, device, key, chain, store, staff, env, sold: 0 };
        let start = Record::DeviceStarted(DeviceStart { series: SERIES.into(), actor_seed: None, software: "a test".into() });
        counter.write(vec![start]).await?;
        Ok(counter)
    }

    /// The till.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Sells once, and answers the order's id when the hub has acknowledged it.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn sell(&mut self) -> Result<OrderId> {
        let order = self.order()?;
        let id = order.id;
        self.write(vec![Record::SaleCompleted(order)]).await?;
        Ok(id)
    }

    /// Sells many times in one run of commits, as after a night without a link.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn sell_backlog(&mut self, sales: usize) -> Result<()> {
        let orders = (0..sales).map(|_| Ok(Record::SaleCompleted(self.order()?))).collect::<Result<_>>()?;
        self.write(orders).await
    }

    fn order(&mut self) -> Result<Order> {
        self.sold += 1;
        let (quantity, unit_price) = (Quantity(2_000), UnitPrice(25_500));
        let line = |n: u64| -> Result<OrderLine> {
            Ok(OrderLine {
                product: ProductId(Uuid::from_u128(n.into())),
                name: format!("Product {n}"),
                quantity,
                unit_price,
                tax: 0,
                amount_minor: line_amount_minor(quantity, unit_price)?,
                original_line: None,
            })
        };
        let lines = (1..=4).map(line).collect::<Result<Vec<_>>>()?;
        let taxes = tax::taxes(TaxMode::Inclusive, lines.iter().map(|l| (2_000, l.amount_minor)))?;
        let total_minor = tax::total_minor(&taxes)?;
        Ok(Order {
            id: OrderId::new(self.env.unix_ms(), random(&*self.env)),
            receipt_number: self.sold,
            shift: ShiftId(Uuid::from_u128(1)),
            lines,
            taxes,
            payments: vec![Payment { method: PaymentMethod::Cash, amount_minor: total_minor, tendered_minor: None }],
            total_minor,
            currency: Currency::new("GBP").context("GBP")?,
            tax_mode: TaxMode::Inclusive,
            original: None,
            reason: None,
            reference: None,
        })
    }

    /// A run of one commit a record, as the hub gets it from a link.
    async fn write(&mut self, records: Vec<Record>) -> Result<()> {
        let scope = scopes::store(self.store);
        let before = [(scope.clone(), self.chain.head(&scope))].into();
        let mut commits = Vec::with_capacity(records.len());
        for record in records {
            let body = Body::Record { kind: record.kind(), version: 1, bytes: record.encode() };
            let new = vec![NewEntry { scope: scope.clone(), body }];
            let sealed = self.chain.append(&self.key, Hlc::new(self.env.unix_ms(), 0), Some(*self.staff.as_bytes()), new);
            let entries = sealed.entries.into_iter().map(|e| (e.scope, e.bytes)).collect();
            commits.push(ReceivedCommit { entries, seal: Some(Seal { signature: sealed.signature, foreign: vec![] }) });
        }
        let run = Run { origin: self.chain.origin, before, commits };
        self.hub.admit(Sender::Writer(self.device), run).await?;
        Ok(())
    }
}

/// A page that watches the live feed.
#[derive(Debug)]
pub struct Watcher {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Watcher {
    /// Opens the feed of a server with a session's cookie.
    ///
    /// # Errors
    /// When the server does not let it watch.
    pub async fn open(address: SocketAddr, cookie: &str) -> Result<Self> {
        let mut request = format!("ws://{address}/api/v1/live").into_client_request()?;
        request.headers_mut().insert("cookie", cookie.parse()?);
        request.headers_mut().insert("origin", format!("http://{address}").parse()?);
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut watcher = Self { socket };
        ensure!(matches!(watcher.next().await?, Some(LiveEvent::Hello { .. })), "the feed greets first");
        Ok(watcher)
    }

    /// The next event; none when the server closed the feed.
    ///
    /// # Errors
    /// When the link breaks, or nothing comes for a minute.
    pub async fn next(&mut self) -> Result<Option<LiveEvent>> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(60), self.socket.next()).await.context("nothing comes")?;
            return Ok(match message {
                Some(Ok(Message::Text(text))) => Some(serde_json::from_str(&text)?),
                Some(Ok(Message::Close(_))) | None => None,
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(error.into()),
            });
        }
    }

    /// Passes over events until one is wanted.
    ///
    /// # Errors
    /// When the feed ends before.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(LiveEvent) -> Option<T>) -> Result<T> {
        while let Some(event) = self.next().await? {
            if let Some(found) = wanted(event) {
                return Ok(found);
            }
        }
        bail!("the feed ended")
    }
}

/// How long sales took from their acknowledgement to a watcher.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// How many sales.
    pub sales: usize,
    /// The median.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

struct NoDesk;

impl EnrolmentDesk for NoDesk {
    fn issue(&self, store: &str, _: &str) -> Result<EnrolmentCode, IssueError> {
        Err(IssueError::UnknownStore(store.to_owned()))
    }
}

/// Sells so many times, one sale after the other, in front of one watcher over a real WebSocket.
///
/// # Errors
/// When a server cannot be started, or a sale does not reach the watcher.
pub async fn live_latency(sales: usize) -> Result<Latency> {
    let folder = tempfile::tempdir()?;
    let cluster = tokio::task::block_in_place(PrivateCluster::temporary)?;
    let central = Postgres::new(&cluster.url())?;
    central.migrate().await?;
    let env: Arc<dyn Env> = Arc::new(sync_server::env::Machine);
    accounts::add_manager(&central, &*env, "Ada", "correct horse battery").await?;
    let config = WebConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), tls_certificate: None, tls_key: None };
    let server = WebServer::bind(&config)?;
    let address = server.local_addr()?;
    let live = Live::default();
    let (_stop, stopping) = watch::channel(false);
    let state = WebState::new(central, NoDesk, env.clone()).with_live(live.clone());
    let serving = tokio::spawn(server.run(state, stopping));
    let mut counter = Counter::new(folder.path(), live, env).await?;
    let cookie = tokio::task::block_in_place(|| sign_in(address))?;
    let mut watcher = Watcher::open(address, &cookie).await?;

    let mut took = Vec::with_capacity(sales);
    for _ in 0..sales {
        let sold = counter.sell().await?.to_string();
        let acknowledged = Instant::now();
        let seen = watcher.until(|event| match event {
            LiveEvent::Sale { sale } => Some(sale.order),
            _ => None,
        });
        ensure!(seen.await? == sold, "sales come in order, each once");
        took.push(acknowledged.elapsed());
    }
    serving.abort();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default();
    Ok(Latency { sales, p50: at(50), p99: at(99), max: at(100) })
}

fn sign_in(address: SocketAddr) -> Result<String> {
    let answer = ureq::post(format!("http://{address}/api/v1/session"))
        .send_json(serde_json::json!({ "name": "Ada", "password": "correct horse battery" }))?;
    let cookie = answer.headers().get("set-cookie").context("a cookie")?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}
