//! The whole path for minutes: devices, server and PostgreSQL on one machine, as fast as the tables fill. Does the rate hold, does the server's memory?
//!
//! The devices write as they send, and run ahead of the tables by a bounded number of sales: the server's log takes many times what the tables do. The server
//! is a process of its own, so that its memory and what it takes of the processor can be told from theirs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use journeys::postgres::PrivateCluster;
use node::replication::net::Net;
use sync_server::central::Postgres;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Bench;
use crate::central::Central;
use crate::child::{ServerReady, Started};
use crate::devices::{self, EndlessLog, Keys, LINES};
use crate::figures::Runs;
use crate::peer::{Papers, Peer, position};
use crate::processor::seconds_of_family;
use crate::row::Row;
use crate::shop::{PATIENCE, found, patiently, runtime};

/// How many devices send at once.
const SENDERS: usize = 4;
/// Commits of one frame.
const COMMITS_PER_RUN: usize = 500;
/// How far a device runs ahead of the tables.
const AHEAD_MAX: u64 = 8_000;
/// How often the tables are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much a server's memory may grow from the first third to the end and be called flat: what allocators keep.
const GROWTH_MAX: f64 = 1.15;

/// The path at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    /// Commits in the tables.
    commits: u64,
    resident_bytes: f64,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let work = bench.folder()?;
    let folder = work.path().join("region");
    let cluster = PrivateCluster::start(&work.path().join("postgres"))?;
    let mut opened = found(&folder, &bench.names, 500)?;
    let keys: Arc<[Keys]> = devices::admit(&mut opened.region, &opened.authority, SENDERS, 21)?.into();
    let authority: Arc<str> = opened.authority.certificate_pem().into();
    let region = opened.region.own().incarnation;
    drop(opened);
    runtime()?.block_on(Postgres::new(&cluster.url())?.migrate())?;
    let central = Central::connect(&cluster.url())?;
    let mut server = Started::new("region", &folder, Some(&cluster.url()))?;
    let ready: ServerReady = server.said()?;
    let before = central.commits()?;

    let runtime = runtime()?;
    let (in_tables, seen) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    let mut sending = JoinSet::new();
    for (at, seed) in (0..SENDERS).zip(31..) {
        let log = EndlessLog::new(&keys[at], seed);
        let (keys, authority) = (keys.clone(), authority.clone());
        let (seen, stopping) = (seen.clone(), stopping.clone());
        sending.spawn_on(
            async move { send(&keys[at], &authority, region, ready.address, log, seen, stopping).await },
            runtime.handle(),
        );
    }
    let processes = [std::process::id(), server.process(), central.server_process()?];
    let at_first = processes.map(seconds_of_family);
    let moments = watch_tables(&central, &mut server, bench.sustained, before, |commits| {
        in_tables.send_replace(commits);
        ensure!(!sending.is_empty(), "no device sends");
        Ok(())
    })?;
    let at_last = processes.map(seconds_of_family);
    stop.send_replace(true);
    // Nobody waits for the tables any more.
    in_tables.send_replace(u64::MAX);
    let sent = runtime.block_on(patiently("the devices' end", async {
        let mut sent = 0;
        while let Some(of_device) = sending.join_next().await {
            sent += of_device??;
        }
        anyhow::Ok(sent)
    }))?;
    complete(&central, before, sent)?;
    let seconds: Vec<f64> = at_first.into_iter().zip(at_last).map(|(first, last)| Ok(last? - first?)).collect::<Result<_>>()?;
    // The server is a child of this process; PostgreSQL has left it.
    let devices = seconds[0] - seconds[1];
    rows(bench, &central, &moments, [("the devices", devices), ("the server", seconds[1]), ("PostgreSQL", seconds[2])])
}

/// Looks at the tables again and again for as long as it is to go on, and tells of what is in them.
fn watch_tables(
    central: &Central,
    server: &mut Started,
    lasting: Duration,
    before: u64,
    mut tell: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<Moment>> {
    let begun = Instant::now();
    let mut moments = vec![Moment { at: begun, commits: 0, resident_bytes: server.resident_bytes()? }];
    loop {
        std::thread::sleep(LOOK_EVERY);
        let commits = central.commits()? - before;
        moments.push(Moment { at: Instant::now(), commits, resident_bytes: server.resident_bytes()? });
        tell(commits)?;
        if begun.elapsed() >= lasting && commits > 0 {
            return Ok(moments);
        }
        ensure!(commits > 0 || begun.elapsed() < PATIENCE, "nothing arrives in the tables");
    }
}

fn rows(bench: &Bench, central: &Central, moments: &[Moment], processors: [(&str, f64); 3]) -> Result<Vec<Row>> {
    let (first, last) = (*moments.first().context("the tables were looked at")?, *moments.last().context("the same")?);
    let whole = last.at - first.at;
    let at = |share: f64| {
        let then = first.at + whole.mul_f64(share);
        moments.iter().copied().find(|moment| moment.at >= then).unwrap_or(last)
    };
    let (third, two_thirds) = (at(1.0 / 3.0), at(2.0 / 3.0));
    // What a quick run has in its first third may be nothing.
    let held = |first: f64, last: f64| if first > 0.0 { last / first } else { 0.0 };
    let rate = |from: Moment, to: Moment| (to.commits - from.commits) as f64 / (to.at - from.at).as_secs_f64();
    let mut limit = Runs::default();
    for _ in 0..bench.pick(3, 1) {
        let orders = bench.pick(20_000, 400).min(usize::try_from(last.commits).unwrap_or(usize::MAX));
        limit.push_alone(central.copied(orders)?);
    }
    let name = |what: &str| format!("sustained for {} s: {what}", bench.sustained.as_secs());
    let mb = |moment: Moment| moment.resident_bytes / 1e6;
    let sales = last.commits as f64;
    let mut rows = vec![
        Row::counted(name(&format!("sales of {SENDERS} devices → rows in the manager's tables")), "sales/s", rate(first, last))
            .beside(limit.value())
            .at_least(20_000.0),
        Row::counted(
            name("the rate of the last third beside that of the first"),
            "×",
            held(rate(first, third), rate(two_thirds, last)),
        )
        .at_least(0.9),
        Row::counted(name("the server's memory after a third"), "MB", mb(third)),
        Row::counted(name("the server's memory at the end"), "MB", mb(last)).at_most(mb(third) * GROWTH_MAX),
    ];
    let processor =
        |(who, seconds): (&str, f64)| Row::counted(name(&format!("processor time a sale, {who}")), "µs", 1e6 * seconds / sales);
    rows.extend(processors.map(processor));
    Ok(rows)
}

/// Everything that was sent is in the tables, once.
fn complete(central: &Central, before: u64, sent: u64) -> Result<()> {
    let begun = Instant::now();
    while central.commits()? - before < sent {
        ensure!(begun.elapsed() < PATIENCE, "{} of {sent} commits are in the tables", central.commits()? - before);
        std::thread::sleep(LOOK_EVERY);
    }
    let sales = sent - 2 * SENDERS as u64;
    let lines = central.block_on(central.number("SELECT sum(cardinality(line_products))::bigint FROM orders"))?;
    ensure!(lines.unsigned_abs() == LINES as u64 * sales, "{lines} lines of {sales} sales are in the tables");
    Ok(())
}

/// Writes and sends until told to stop, never far ahead of the tables, and answers how many commits the server has then.
async fn send(
    keys: &Keys,
    authority: &str,
    region: [u8; 16],
    server: std::net::SocketAddr,
    mut log: EndlessLog,
    mut in_tables: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
) -> Result<u64> {
    let net = Net::machine()?;
    let mut peer =
        Peer::connect(&net, server, Papers::of(keys, authority), position(log.chain(), Some(region), Vec::new())).await?;
    peer.ignore_what_comes_down();
    let mut acked = 0;
    while !*stopping.borrow() {
        peer.send(log.write(COMMITS_PER_RUN)?).await?;
        let sent = log.chain().commit;
        while sent - acked > sync_proto::session::IN_FLIGHT_COMMITS_MAX - COMMITS_PER_RUN as u64 {
            acked = peer.acked().await?.regional.max(acked);
        }
        // Each device's share of what is in the tables; they send alike.
        in_tables.wait_for(|commits| sent.saturating_sub(commits / SENDERS as u64) < AHEAD_MAX).await?;
    }
    while acked < log.chain().commit {
        acked = peer.acked().await?.regional.max(acked);
    }
    Ok(acked)
}
