//! How fast a region's sales become rows in the manager's tables: append and projection of sales of four lines, against a private
//! cluster that waits for its disk. Prints figures; asserts that every sale is there.
//!
//! `cargo run --release -p journeys --example central-throughput -- [SALES]`

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use domain::ids::{OrderId, ProductId, ShiftId, StoreId, uuid_v7};
use domain::money::{Currency, Quantity, UnitPrice, line_amount_minor};
use domain::record::{BusinessDay, Order, OrderLine, Payment, PaymentMethod, Record, ShiftOpening};
use domain::tax::{self, TaxMode};
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, SigningKey};
use journeys::postgres::PrivateCluster;
use sync_proto::scopes;
use sync_server::central::{APPEND_ROWS_MAX, CentralStore, FeedRow, Postgres, projector};
use uuid::Uuid;

const REGION: [u8; 16] = [1; 16];
/// 2026-03-02 09:00:00 UTC.
const START_MS: u64 = 1_772_442_000_000;
/// How many sales are then measured singly.
const SINGLY: u64 = 200;

fn main() -> Result<()> {
    let sales: u64 = std::env::args().nth(1).map_or(Ok(20_000), |n| n.parse()).context("SALES is a number")?;
    let folder = tempfile::tempdir()?;
    let cluster = PrivateCluster::start(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&cluster.url(), sales))
}

async fn run(url: &str, sales: u64) -> Result<()> {
    let mut rows = rows(sales + SINGLY)?;
    let last = rows.split_off(usize::try_from(sales)? + 1);
    let bytes: usize = rows.iter().map(|r| r.bytes.len()).sum();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("{sales} sales of 4 lines, {} B an entry, {build} build", bytes as u64 / sales);
    let central = Postgres::new(url)?;
    central.migrate().await?;

    let start = Instant::now();
    for chunk in rows.chunks(APPEND_ROWS_MAX) {
        central.append(REGION, chunk[0].region_seq - 1, chunk).await?;
    }
    let appended = start.elapsed().as_secs_f64();
    let start = Instant::now();
    while projector::project_once(&central).await?.entries > 0 {}
    let projected = start.elapsed().as_secs_f64();

    let mut singly = Vec::new();
    for row in last {
        let start = Instant::now();
        central.append(REGION, row.region_seq - 1, std::slice::from_ref(&row)).await?;
        projector::project_once(&central).await?;
        singly.push(start.elapsed());
    }
    singly.sort_unstable();

    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let lines: i64 = client.query_one("SELECT count(*) FROM order_lines", &[]).await?.get(0);
    ensure!(lines.unsigned_abs() == 4 * (sales + SINGLY), "{lines} lines");
    let rate = |seconds: f64| sales as f64 / seconds;
    println!("append   {appended:7.2} s  {:8.0} sales/s", rate(appended));
    println!("project  {projected:7.2} s  {:8.0} sales/s of 11 rows each", rate(projected));
    println!("together {:7.2} s  {:8.0} sales/s", appended + projected, rate(appended + projected));
    println!("one sale, append and project: p50 {:?}, p99 {:?}", singly[100], singly[198]);
    Ok(())
}

/// A till's log: the opening of a shift and so many sales, always the same.
fn rows(sales: u64) -> Result<Vec<FeedRow>> {
    let (origin, shop) = (Origin { device: [2; 16], incarnation: [3; 16] }, scopes::store(StoreId(id(1, 1))));
    let (mut chain, key) = (OriginChain::new(origin), SigningKey::from_bytes(&[4; 32]));
    let currency = Currency::new("GBP").context("GBP")?;
    let opening = ShiftOpening { shift: ShiftId(id(5, 1)), business_day: BusinessDay(20_000), float_minor: 0, currency };
    let mut row = |n: u64, record: Record| {
        let body = Body::Record { kind: record.kind(), version: 1, bytes: record.encode() };
        let at = Hlc::new(START_MS + n, 0);
        let entry = chain.append(&key, at, None, vec![NewEntry { scope: shop.clone(), body }]).entries.remove(0);
        FeedRow {
            region_seq: n,
            device: origin.device,
            incarnation: origin.incarnation,
            scope: shop.as_str().to_owned(),
            seq: entry.seq,
            commit: entry.entry.commit,
            hash: entry.hash,
            bytes: entry.bytes,
            at_ms: at.unix_ms(),
            seal: None,
        }
    };
    let mut rows = vec![row(1, Record::ShiftOpened(opening))];
    for n in 1..=sales {
        rows.push(row(n + 1, Record::SaleCompleted(sale(n, currency)?)));
    }
    Ok(rows)
}

fn sale(n: u64, currency: Currency) -> Result<Order> {
    let line = |l: u64| -> Result<OrderLine> {
        let (quantity, unit_price) = (Quantity::ONE, UnitPrice(25_500 + l.cast_signed() * 100));
        let amount_minor = line_amount_minor(quantity, unit_price)?;
        let (product, name) = (ProductId(id(2, (n * 7 + l) % 4_000)), format!("WHITE HANGING HEART T-LIGHT {l}"));
        Ok(OrderLine { product, name, quantity, unit_price, tax: 0, amount_minor, original_line: None })
    };
    let lines = (0..4).map(line).collect::<Result<Vec<_>>>()?;
    let taxes = tax::taxes(TaxMode::Inclusive, lines.iter().map(|l| (2_000, l.amount_minor)))?;
    let total_minor = tax::total_minor(&taxes)?;
    let tendered_minor = Some(total_minor + 500);
    Ok(Order {
        id: OrderId(id(3, n)),
        receipt_number: n,
        shift: ShiftId(id(5, 1)),
        lines,
        taxes,
        payments: vec![Payment { method: PaymentMethod::Cash, amount_minor: total_minor, tendered_minor }],
        total_minor,
        currency,
        tax_mode: TaxMode::Inclusive,
        original: None,
        reason: None,
        reference: None,
    })
}

fn id(kind: u8, n: u64) -> Uuid {
    let mut random = [kind; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    uuid_v7(START_MS, random)
}
