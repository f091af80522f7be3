//! From tills through the server into PostgreSQL's tables, and to the figure that a manager asks for.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use journeys::counter::live_latency;
use journeys::postgres::PrivateCluster;
use node::env::SystemEnv;
use node::replication::net::Net;
use sync_proto::enrolment;
use sync_proto::env::Env;
use sync_server::central::Postgres;
use sync_server::central::reports::Period;
use sync_server::central::reports::sales::{self, SalesQuestion};
use sync_server::daemon;
use sync_server::env::Machine;
use sync_server::web_api::GroupBy;
use tokio::task::JoinSet;

use super::grouped;
use crate::Bench;
use crate::catalogue;
use crate::central::{Central, Daemon};
use crate::devices::{self, Keys, LINES, Log};
use crate::dice::Dice;
use crate::figures::{Runs, Times, per_second};
use crate::peer::{Papers, Peer, position};
use crate::row::Row;
use crate::shop::{LinkedTill, found, open_shift, patiently, payment, refused, runtime, scan};

const PRODUCTS: usize = 500;
/// How many devices send at once.
const SENDERS: usize = 4;
/// Sales of one frame.
const SALES_PER_RUN: usize = 500;
/// How far a device runs ahead of its acknowledgements, as a till does.
const AHEAD_MAX: u64 = sync_proto::session::IN_FLIGHT_COMMITS_MAX;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let work = bench.folder()?;
    let cluster = PrivateCluster::start(&work.path().join("postgres"))?;
    let (sales, runs) = (bench.pick(20_000, 400), bench.pick(3, 1));
    let mut opened = found(&work.path().join("region"), &bench.names, PRODUCTS)?;
    let keys = devices::admit(&mut opened.region, &opened.authority, SENDERS, 8)?;
    let code = daemon::issue(&mut opened.region, &opened.authority, "127.0.0.1:1", crate::shop::STORE_CODE, "Till", &Machine)?;
    let authority = opened.authority.certificate_pem().to_owned();
    let own = opened.region.own().incarnation;
    drop(opened);

    runtime()?.block_on(Postgres::new(&cluster.url())?.migrate())?;
    let server = Daemon::start(&work.path().join("region"), &cluster.url())?;
    let central = Central::connect(&cluster.url())?;
    let mut rows = whole_path(&server, &central, &keys, &authority, own, sales, runs)?;
    let mut link: enrolment::Link = code.link.parse().context("the server's own link")?;
    link.address = server.listening.sync.to_string();
    rows.push(figure(bench, &server, &cluster.url(), &link, &work.path().join("till"))?);
    rows.push(live(bench)?);
    Ok(rows)
}

/// From a sale's acknowledgement until a page that watches hears of it.
fn live(bench: &Bench) -> Result<Row> {
    let latency = runtime()?.block_on(live_latency(bench.pick(2_000, 50)))?;
    let p99_ms = latency.p99.as_secs_f64() * 1_000.0;
    Ok(Row::counted("sale acknowledged → told to the manager's page, p99", "ms", p99_ms).at_most(100.0))
}

/// Logs that are written and sealed already, sent by several devices at once, until the last sale is in the manager's tables.
fn whole_path(
    server: &Daemon,
    central: &Central,
    keys: &[Keys],
    authority: &str,
    region: [u8; 16],
    sales: usize,
    runs: usize,
) -> Result<Vec<Row>> {
    let each = sales / SENDERS;
    let logs = keys.iter().zip(1..).map(|(keys, seed)| Log::of_sales(keys, each * runs, seed));
    let logs = logs.collect::<Result<Vec<_>>>()?;
    let runtime = runtime()?;
    let mut senders = runtime.block_on(connect(server.listening.sync, keys, authority, region, logs))?;
    let (mut whole, mut acked) = (Runs::default(), Runs::default());
    for run in 1..=runs {
        let begun = Instant::now();
        senders = runtime.block_on(patiently("the sales' way to the server", send(senders, each)))?;
        let at_server = per_second(sales, begun.elapsed());
        runtime.block_on(patiently("the sales' way into the tables", central.wait_for_orders((sales * run) as i64)))?;
        let in_tables = per_second(sales, begun.elapsed());
        acked.push_alone(at_server);
        whole.push(in_tables, central.copied(sales)?);
    }
    let lines = runtime.block_on(central.number("SELECT count(*) FROM order_lines"))?;
    ensure!(lines == (LINES * sales * runs) as i64, "{lines} lines are in the tables, and should be {}", LINES * sales * runs);
    let name = |to: &str| format!("whole path: {} sales of {SENDERS} sealed logs → {to}", grouped(sales));
    Ok(vec![
        Row::new(name("rows in the manager's tables"), "sales/s", &whole).beside(whole.limit()).at_least(20_000.0),
        Row::new(name("acknowledged by the server meanwhile"), "sales/s", &acked),
    ])
}

type Sender = (Peer, Log, u64);

async fn connect(server: SocketAddr, keys: &[Keys], authority: &str, region: [u8; 16], logs: Vec<Log>) -> Result<Vec<Sender>> {
    let net = Net::machine()?;
    let mut senders = Vec::new();
    for (keys, log) in keys.iter().zip(logs) {
        let at = position(log.chain(), Some(region), Vec::new());
        let peer = Peer::connect(&net, server, Papers::of(keys, authority), at).await?;
        peer.ignore_what_comes_down();
        let total = log.chain().commit;
        senders.push((peer, log, total));
    }
    Ok(senders)
}

/// Every device sends so many commits and waits until the server has them.
async fn send(senders: Vec<Sender>, commits: usize) -> Result<Vec<Sender>> {
    let mut sending = JoinSet::new();
    for (at, (mut peer, mut log, total)) in senders.into_iter().enumerate() {
        sending.spawn(async move {
            // What comes before the first sale goes with it.
            let ahead_of_sales = if log.left() as u64 == total { 2 } else { 0 };
            let stop_at = log.left() - commits - ahead_of_sales;
            let mut acked = total - log.left() as u64;
            while log.left() > stop_at {
                let run = log.take(SALES_PER_RUN.min(log.left() - stop_at)).context("the log was long enough")?;
                peer.send(run).await?;
                while total - log.left() as u64 - acked > AHEAD_MAX {
                    acked = peer.acked().await?.regional;
                }
            }
            while acked < total - log.left() as u64 {
                acked = peer.acked().await?.regional.max(acked);
            }
            anyhow::Ok((at, (peer, log, total)))
        });
    }
    let mut done = Vec::new();
    while let Some(sent) = sending.join_next().await {
        done.push(sent??);
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, sender)| sender).collect())
}

/// From a sale at a real till to a manager's report that counts it, asked for again and again. The live page's own time belongs here
/// too, once there is a feed to listen to.
fn figure(bench: &Bench, server: &Daemon, url: &str, link: &enrolment::Link, folder: &Path) -> Result<Row> {
    let runtime = runtime()?;
    runtime.block_on(node::enrol::enrol(folder, link, &SystemEnv))?;
    let till = LinkedTill::start(runtime, folder, server.listening.sync, false)?;
    till.wait_for_product(&catalogue::code(PRODUCTS - 1))?;
    till.with(open_shift)??;
    let day = till.view()?.shift.context("a shift is open")?.business_day;
    let question = SalesQuestion::new(Period::new(&day, &day, None, None, None)?, GroupBy::Till, None)?;
    let central = Postgres::new(url)?;
    let count = async || Ok::<_, anyhow::Error>(sales::sales(&central, &question, Machine.unix_ms()).await?.total.sales);
    let mut dice = Dice::new(9);
    let mut p99 = Runs::default();
    let mut known = till.runtime.block_on(count())?;
    for _ in 0..bench.pick(3, 1) {
        let mut times = Times::default();
        for _ in 0..bench.pick(60, 5) {
            let codes: [String; LINES] = std::array::from_fn(|_| catalogue::barcode(dice.below(PRODUCTS)));
            let pay = till.with(move |till| scan(till, codes).map(|view| payment(&view)))??;
            let begun = Instant::now();
            till.runtime.block_on(patiently("the sale's way to the manager", async {
                till.node.command(pay).await.map_err(refused)?;
                while count().await? == known {}
                Ok(())
            }))?;
            times.push(begun.elapsed());
            known += 1;
        }
        p99.push_alone(times.percentile(99.0) / 1e3);
    }
    let shown = till.runtime.block_on(count())?;
    ensure!(shown == known, "{shown} sales are in the report, and should be {known}");
    till.close().map_err(|error| anyhow!("the till: {error}"))?;
    Ok(Row::new("sale at a till → in the manager's report, p99", "ms", &p99).at_most(1_000.0))
}
