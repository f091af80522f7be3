//! A shop with a large catalogue: a new till's first sale, a start, a reconnect, scans and searches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use node::api::{Command, Query};
use node::env::SystemEnv;
use node::replication::net::Net;
use node::till::{Answer, Till};
use sync_proto::frame::{Cursor, ScopeName};

use super::grouped;
use crate::Bench;
use crate::catalogue::{self, Names};
use crate::child::{Started, TillReady};
use crate::dice::Dice;
use crate::figures::{Runs, Times, micros, per_second};
use crate::peer::{Papers, Peer, position};
use crate::row::Row;
use crate::shop::{LinkedTill, Server, found, open_shift, open_till, payment, refused, runtime, scan, scanned};
use crate::wire::Cable;

/// What a datagram takes from one end of the cable to the other: long enough that nothing else counts.
const ONE_WAY: Duration = Duration::from_millis(20);
/// The catalogue of the small store.
const FEW: usize = 50;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let many = bench.pick(100_000, 1_000);
    let work = bench.folder()?;
    let (small, large) = (Store::open(work.path(), "small", FEW, bench)?, Store::open(work.path(), "large", many, bench)?);
    let mut rows = vec![large.imported.clone()];
    let (new, till) = new_till(bench, &large, work.path(), many)?;
    rows.extend(new);
    rows.extend(start(bench, &till, many)?);

    let small_till = small.server.stocked_till(&work.path().join("small-till"), FEW)?;
    rows.extend(reconnect(bench, "a small store", &small.server, &small_till)?);
    rows.extend(reconnect(bench, &format!("{} products", grouped(many)), &large.server, &till)?);

    // As many again, so that the till that is scanned at holds twice as many.
    catalogue::import(&mut large.server.hub.clone(), &work.path().join("large"), &catalogue::products(&bench.names, many, many))?;
    let linked = LinkedTill::start(runtime()?, &till, large.server.address, false)?;
    linked.wait_for_product(&catalogue::code(2 * many - 1))?;
    linked.close()?;
    rows.extend(counter(bench, open_till(&till, false)?, 2 * many)?);
    Ok(rows)
}

struct Store {
    server: Server,
    imported: Row,
}

impl Store {
    fn open(work: &Path, name: &str, products: usize, bench: &Bench) -> Result<Self> {
        let mut opened = found(&work.join(name), &Names::Made, 0)?;
        let begun = Instant::now();
        catalogue::import(&mut opened.region, &work.join(name), &catalogue::products(&bench.names, 0, products))?;
        let mut rate = Runs::default();
        rate.push_alone(per_second(products, begun.elapsed()));
        let imported = Row::new(format!("import of {} products at the server", grouped(products)), "products/s", &rate);
        Ok(Self { server: Server::start(opened)?, imported })
    }
}

/// From the enrolment link in hand to the first sale, with every product there, and until the history that proves them is there too.
fn new_till(bench: &Bench, store: &Store, work: &Path, products: usize) -> Result<(Vec<Row>, PathBuf)> {
    let (mut seconds, mut whole) = (Runs::default(), Runs::default());
    let count = bench.pick(2, 1);
    let folders: Vec<PathBuf> = (0..count).map(|n| work.join(format!("new-till-{n}"))).collect();
    for folder in &folders {
        let (runtime, link) = (runtime()?, store.server.enrolment_link("New till")?);
        let begun = Instant::now();
        runtime.block_on(node::enrol::enrol(folder, &link, &SystemEnv))?;
        let till = LinkedTill::start(runtime, folder, store.server.address, false)?;
        let last = catalogue::code(products - 1);
        till.wait_for_product(&last)?;
        till.with(move |till| {
            open_shift(till)?;
            let pay = payment(&scan(till, [last])?);
            till.command(pay).map_err(refused)
        })??;
        seconds.push_alone(begun.elapsed().as_secs_f64());
        till.wait(|view| view.link.unsent == 0 && view.link.history_percent.is_none())?;
        whole.push_alone(begun.elapsed().as_secs_f64());
        till.close()?;
    }
    let name = |until: &str| format!("new till: enrol, receive {} products, {until}", grouped(products));
    let rows = vec![Row::new(name("first sale"), "s", &seconds).at_most(10.0), Row::new(name("whole history"), "s", &whole)];
    Ok((rows, folders[0].clone()))
}

/// A fresh process on the till's folder, up to where its screen could be drawn.
fn start(bench: &Bench, till: &Path, products: usize) -> Result<Vec<Row>> {
    let (mut ready, mut unlocked) = (Runs::default(), Runs::default());
    for _ in 0..bench.pick(7, 1) {
        let begun = Instant::now();
        let mut started = Started::new("till", till, None)?;
        let said: TillReady = started.said()?;
        ready.push_alone(micros(begun.elapsed()) / 1e3);
        unlocked.push_alone(said.unlocked_us / 1e3);
    }
    let products = grouped(products);
    Ok(vec![
        Row::new(format!("start of the till's program to ready (without the window), {products} products"), "ms", &ready)
            .at_most(1_500.0),
        Row::new(format!("unlock to the first query, {products} products"), "ms", &unlocked).at_most(5.0),
    ])
}

/// A till that has everything comes back: what that costs does not depend on how much there is.
fn reconnect(bench: &Bench, what: &str, server: &Server, till: &Path) -> Result<Vec<Row>> {
    // What disturbs the machine can only add to a count of round trips, so the quickest reconnect says it.
    let (mut trips, mut datagrams) = (f64::INFINITY, Runs::default());
    let cables = runtime()?;
    for _ in 0..bench.pick(5, 2) {
        let cable = cables.block_on(Cable::to(server.address, ONE_WAY))?;
        let (runtime, open) = (runtime()?, open_till(till, false)?);
        let begun = Instant::now();
        let linked = LinkedTill::of(runtime, open, cable.address())?;
        linked.wait_until_online()?;
        let took = begun.elapsed().as_secs_f64() / (2.0 * ONE_WAY.as_secs_f64());
        // One of them is the handshake of TLS.
        trips = trips.min(took.round() - 1.0);
        datagrams.push_alone(cable.carried_bytes() as f64);
        linked.close()?;
    }
    let bytes = greeting_bytes(server, &open_till(till, false)?)?;
    let name = |figure: &str| format!("reconnect with nothing new, {what}: {figure}");
    Ok(vec![
        Row::counted(name("round trips after the handshake"), "trips", trips).at_most(1.0),
        Row::counted(name("greeting and answer"), "bytes", bytes as f64).at_most(1_024.0),
        Row::new(name("all datagrams, mutual TLS included"), "bytes", &datagrams),
    ])
}

fn greeting_bytes(server: &Server, till: &Till) -> Result<usize> {
    let cursors = till.cursors().into_iter().map(|(scope, region_seq)| Cursor { scope: ScopeName(scope), region_seq }).collect();
    let position = position(till.own_chain(), till.region(), cursors);
    let identity = till.identity();
    let (authority, certificate, key) = (identity.authority_cert_pem()?, identity.device_cert_pem()?, identity.key_pem()?);
    let papers = Papers { authority: &authority, certificate: &certificate, key: &key };
    let runtime = runtime()?;
    runtime.block_on(async {
        let peer = Peer::connect(&Net::machine()?, server.address, papers, position).await?;
        ensure!(peer.welcome.regional == till.own_chain().commit, "the server lacks something of the till");
        Ok(peer.greeting_bytes)
    })
}

/// Scans and keystrokes at a till whose catalogue is large.
fn counter(bench: &Bench, mut till: Till, products: usize) -> Result<Vec<Row>> {
    open_shift(&mut till)?;
    let mut dice = Dice::new(5);
    let (mut scans, mut keys) = (Runs::default(), Runs::default());
    for _ in 0..bench.pick(5, 1) {
        scans.push_alone(scan_many(&mut till, &mut dice, products, bench.pick(1_000, 60))?.percentile(99.0) / 1e3);
    }
    let (mut worst, mut worst_p50) = (String::new(), 0.0);
    for (text, median) in slowest_prefixes(&till, bench.pick(9, 2))? {
        if median > worst_p50 {
            (worst, worst_p50) = (text, median);
        }
    }
    for _ in 0..bench.pick(5, 1) {
        let mut times = Times::default();
        for _ in 0..bench.pick(300, 20) {
            times.push(searched(&till, &worst)?);
        }
        keys.push_alone(times.percentile(99.0) / 1e3);
    }
    let products = grouped(products);
    Ok(vec![
        Row::new(format!("scan → line in the node, {products} products, p99"), "ms", &scans).at_most(1.0),
        Row::new(format!("search keystroke → list in the node, {products} products, worst prefix ({worst:?}), p99"), "ms", &keys)
            .at_most(16.0),
    ])
}

fn scan_many(till: &mut Till, dice: &mut Dice, products: usize, scans: usize) -> Result<Times> {
    let mut times = Times::default();
    for n in 0..scans {
        if n % 20 == 0 {
            till.command(Command::ClearCart {}).map_err(refused)?;
        }
        let scanned = scanned(catalogue::barcode(dice.below(products)));
        let begun = Instant::now();
        till.command(scanned).map_err(refused)?;
        times.push(begun.elapsed());
        till.take_events();
    }
    Ok(times)
}

/// Every single letter and digit, every beginning of two letters that the products have, and two words begun: with their medians.
fn slowest_prefixes(till: &Till, tries: usize) -> Result<BTreeMap<String, f64>> {
    let singles = ('a'..='z').chain('0'..='9').map(String::from);
    let pairs = [
        "pa", "ol", "or", "mi", "la", "cr", "tr", "li", "ba", "su", "p0", "ch", "wh", "or mi", "l b", "p 1", "o m", "ex f", "né",
    ];
    let mut medians = BTreeMap::new();
    for text in singles.chain(pairs.map(str::to_owned)) {
        let mut times = Times::default();
        for _ in 0..tries {
            times.push(searched(till, &text)?);
        }
        medians.insert(text, times.percentile(50.0));
    }
    Ok(medians)
}

fn searched(till: &Till, text: &str) -> Result<Duration> {
    let query = Query::Search { text: text.to_owned(), limit: 20 };
    let begun = Instant::now();
    let found = till.query(query).map_err(refused)?;
    let took = begun.elapsed();
    ensure!(matches!(found, Answer::Products(_)), "a search answers products");
    Ok(took)
}
