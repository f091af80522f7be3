//! A store with a long history: a device that comes back does not feel it, and a till that catches up with it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use journal::{Origin, OriginChain};
use node::replication::net::Net;
use node::store::{Replica, StoreError, StoreOptions};
use sync_proto::batch::RUN_COMMITS_MAX;
use sync_proto::frame::{BATCH_BYTES_TARGET, Cursor, ScopeName};
use sync_server::region::Sender;

use super::grouped;
use crate::Bench;
use crate::devices::{self, Keys, Log};
use crate::dice::Dice;
use crate::figures::{Runs, Times, per_second};
use crate::limits::transfer;
use crate::peer::{Papers, Peer, position};
use crate::row::Row;
use crate::shop::{LinkedTill, Server, copy_folder, found, runtime};

const PRODUCTS: usize = 50;
/// Sales of one run, as a seller's backlog is admitted.
const SALES_PER_RUN: usize = 1_000;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let sizes = bench.pick([10, 10_000, 100_000, 1_000_000], [10, 100, 400, 800]);
    let work = bench.folder()?;
    let mut opened = found(&work.path().join("region"), &bench.names, PRODUCTS)?;
    let keys = devices::admit(&mut opened.region, &opened.authority, 2, 11)?;
    let server = Server::start(opened)?;
    let till = server.stocked_till(&work.path().join("till"), PRODUCTS)?;
    let mut log = Log::of_sales(&keys[0], sizes[3], 11)?;
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for size in sizes {
        sell(&server, &keys[0], &mut log, sizes[3] - size)?;
        if size == sizes[2] {
            rows.extend(catch_up(bench, &server, &till, work.path(), &keys[1], size)?);
            continue;
        }
        let (took, bytes) = reconnect(bench, &server, &keys[1])?;
        let name = |figure: &str| format!("a device comes back, {} entries at the server: {figure}", grouped(size));
        rows.push(Row::new(name("handshake, greeting and answer, p50"), "ms", &took));
        entries.push(Row::counted(name("greeting and answer"), "bytes", bytes as f64).at_most(1_024.0));
    }
    rows.extend(entries);
    Ok(rows)
}

/// Brings the server sales until so many are left.
fn sell(server: &Server, keys: &Keys, log: &mut Log, left: usize) -> Result<()> {
    while log.left() > left {
        let run = log.take(SALES_PER_RUN.min(log.left() - left)).context("the log was long enough")?;
        let device = keys.device;
        server.with(move |region| {
            for result in region.admit_all(vec![(Sender::Writer(device), run)])? {
                result?;
            }
            anyhow::Ok(())
        })??;
    }
    Ok(())
}

/// A device that has everything comes back.
fn reconnect(bench: &Bench, server: &Server, keys: &Keys) -> Result<(Runs, usize)> {
    let (region, last_seq) = server.with(|region| (region.own().incarnation, region.last_seq()))?;
    let authority = server.authority.certificate_pem().to_owned();
    let chain = OriginChain::new(Origin { device: *keys.device.as_bytes(), incarnation: Dice::new(12).bytes() });
    let followed = sync_proto::scopes::followed_by(domain::record::DeviceKind::Till, keys.store);
    let cursors = followed.into_iter().map(|scope| Cursor { scope: ScopeName(scope), region_seq: last_seq });
    let at = position(&chain, Some(region), cursors.collect());
    let runtime = runtime()?;
    runtime.block_on(async {
        let net = Net::machine()?;
        let (mut medians, mut bytes) = (Runs::default(), 0);
        for _ in 0..bench.pick(5, 1) {
            let mut times = Times::default();
            for _ in 0..bench.pick(40, 3) {
                let begun = Instant::now();
                let peer = Peer::connect(&net, server.address, Papers::of(keys, &authority), at.clone()).await?;
                times.push(begun.elapsed());
                bytes = peer.greeting_bytes;
            }
            medians.push_alone(times.percentile(50.0) / 1e3);
        }
        anyhow::Ok((medians, bytes))
    })
}

/// A till that knows its shop takes in what its neighbours sold: verified, projected, on its encrypted disk.
fn catch_up(bench: &Bench, server: &Server, till: &Path, work: &Path, keys: &Keys, sales: usize) -> Result<Vec<Row>> {
    let pieces = pieces(server, sales)?;
    let mut rate = Runs::default();
    for run in 0..bench.pick(3, 1) {
        let copy = work.join(format!("till-{run}"));
        copy_folder(till, &copy)?;
        let begun = Instant::now();
        let linked = LinkedTill::start(runtime()?, &copy, server.address, false)?;
        linked.wait_for_orders(sales as u64)?;
        let took = begun.elapsed();
        linked.close()?;
        rate.push(per_second(sales, took), per_second(sales, raw(server, keys, &work.join(format!("raw-{run}")), &pieces)?));
        std::fs::remove_dir_all(copy)?;
    }
    let name = format!("a till catches up with {} sales of its neighbours", grouped(sales));
    let limit = rate.limit();
    Ok(vec![Row::new(name, "sales/s", &rate).beside(limit).at_least(0.5 * limit)])
}

/// The server's last entries, in pieces as large as the frames that devices are sent.
fn pieces(server: &Server, entries: usize) -> Result<Vec<Vec<Vec<u8>>>> {
    let mut pieces = Vec::new();
    let mut after = server.with(|region| region.last_seq())? - entries as u64;
    loop {
        let rows = server.with(move |region| region.rows_after(after, RUN_COMMITS_MAX, BATCH_BYTES_TARGET))??;
        let Some(last) = rows.last() else { return Ok(pieces) };
        after = last.region_seq;
        pieces.push(rows.into_iter().map(|row| row.bytes).collect());
    }
}

/// The least that has to be done for it: the same bytes over a connection with the same TLS, and a row for each entry in a file encrypted as a till's is.
fn raw(server: &Server, keys: &Keys, folder: &Path, pieces: &[Vec<Vec<u8>>]) -> Result<Duration> {
    std::fs::create_dir(folder)?;
    let replica = Replica::open(&folder.join("raw.db"), &[7; 32], &StoreOptions::default())?;
    replica.db().execute_batch("CREATE TABLE raw (id INTEGER PRIMARY KEY, hash BLOB NOT NULL, bytes BLOB NOT NULL)")?;
    let mut sizes = pieces.iter().map(|piece| piece.iter().map(Vec::len).collect::<Vec<_>>());
    let take = |bytes: &[u8]| {
        let sizes = sizes.next().context("a piece of those that were sent")?;
        replica.unsynced(|db| {
            let mut insert = db.prepare_cached("INSERT INTO raw (hash, bytes) VALUES (?, ?)")?;
            let mut at = 0;
            for size in sizes {
                insert.execute((&[0_u8; 32][..], &bytes[at..at + size]))?;
                at += size;
            }
            Ok::<_, StoreError>(())
        })?;
        anyhow::Ok(())
    };
    let sent = pieces.iter().map(|piece| piece.concat()).collect();
    let took = runtime()?.block_on(transfer(server.runtime(), &server.authority, keys, sent, take))?;
    let rows: usize = replica.db().query_row("SELECT count(*) FROM raw", [], |row| row.get(0))?;
    ensure!(rows == pieces.iter().map(Vec::len).sum::<usize>(), "{rows} rows came");
    Ok(took)
}
