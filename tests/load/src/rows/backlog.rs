//! Sales that wait at a till that was offline: how fast they are safe at both ends, and how large they are on the wire.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use node::till::Till;
use sync_proto::batch::RUN_COMMITS_MAX;
use sync_proto::frame::{BATCH_BYTES_TARGET, Commits, Frame};
use sync_server::daemon;
use sync_server::env::Machine;

use super::grouped;
use crate::Bench;
use crate::catalogue;
use crate::devices::LINES;
use crate::dice::Dice;
use crate::figures::{Runs, per_second};
use crate::limits::RawLog;
use crate::row::Row;
use crate::shop::{LinkedTill, Server, copy_folder, found, open_shift, open_till, payment, refused, runtime, scan};

const PRODUCTS: usize = 500;
/// Signature and framing of a seal.
const SEAL_BYTES: f64 = 64.0 + 7.0;
/// Of how many sales the size alone is taken.
const SINGLY: u64 = 50;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let sales = bench.pick(2_000, 100);
    let work = bench.folder()?;
    let (region, folder) = (work.path().join("region"), work.path().join("till"));
    let server = Server::start(found(&region, &bench.names, PRODUCTS)?)?;
    server.stocked_till(&folder, PRODUCTS)?;
    drop(server);
    let mut till = open_till(&folder, false)?;
    let before = till.own_chain().commit;
    sell(&mut till, sales)?;
    let (mut rows, batches) = bytes(&till, before, sales)?;
    drop(till);

    let mut raw = RawLog::new(&work.path().join("raw"))?;
    let mut rate = Runs::default();
    for run in 0..bench.pick(7, 2) {
        let copy = work.path().join(format!("run-{run}"));
        let drained = drain(&region, &folder, &copy, sales)?;
        let mut synced = std::time::Duration::ZERO;
        for batch in &batches {
            synced += raw.append(&vec![3; *batch])?;
        }
        rate.push(drained, per_second(sales, synced));
        std::fs::remove_dir_all(copy)?;
    }
    let name = format!("backlog of {} sales: connect, send, durable at both ends", grouped(sales));
    rows.insert(0, Row::new(name, "sales/s", &rate).beside(rate.limit()).at_least(100_000.0));
    Ok(rows)
}

fn sell(till: &mut Till, sales: usize) -> Result<()> {
    let mut dice = Dice::new(3);
    open_shift(till)?;
    for _ in 0..sales {
        let codes: [String; LINES] = std::array::from_fn(|_| catalogue::barcode(dice.below(PRODUCTS)));
        let pay = payment(&scan(till, codes)?);
        till.command(pay).map_err(refused)?;
        if till.wants_tidying() {
            till.tidy()?;
        }
        till.take_events();
    }
    Ok(())
}

/// The sizes of sales as the till sends them, and of the batches that a backlog makes.
fn bytes(till: &Till, before: u64, sales: usize) -> Result<(Vec<Row>, Vec<usize>)> {
    let last = till.own_chain().commit;
    let (mut entry, mut alone) = (0, 0);
    for commit in last - SINGLY..last {
        let one = till.own_runs_after(commit, 1, 1)?.context("a sale")?;
        entry += one.commits[0].entries[0].1.len();
        alone += Frame::Commits(Commits::of(one)).encode()?.len();
    }
    let (mut after, mut wire, mut batches) = (before, 0, Vec::new());
    while let Some(run) = till.own_runs_after(after, BATCH_BYTES_TARGET, RUN_COMMITS_MAX)? {
        after += run.commits.len() as u64;
        batches.push(run.commits.iter().flat_map(|commit| &commit.entries).map(|(_, bytes)| bytes.len()).sum());
        wire += Frame::Commits(Commits::of(run)).encode()?.len();
    }
    let mean = |bytes: usize, sales: u64| bytes as f64 / sales as f64;
    let rows = vec![
        Row::counted("sale of 4 lines: entry and seal, mean", "bytes", mean(entry, SINGLY) + SEAL_BYTES).at_most(400.0),
        Row::counted("sale of 4 lines: alone in its frame, mean", "bytes", mean(alone, SINGLY)),
        Row::counted("sale of 4 lines: in the backlog's compressed batches, mean", "bytes", mean(wire, sales as u64))
            .at_most(150.0),
    ];
    Ok((rows, batches))
}

/// Lets a copy of the till meet a copy of the server, neither of which has sent or seen the sales; answers sales a second.
fn drain(region: &Path, folder: &Path, copy: &Path, sales: usize) -> Result<f64> {
    let (region_copy, till_copy) = (copy.join("region"), copy.join("till"));
    copy_folder(region, &region_copy)?;
    copy_folder(folder, &till_copy)?;
    let server = Server::start(daemon::open(&region_copy, &Machine, false)?)?;
    let till = open_till(&till_copy, false)?;
    let runtime = runtime()?;
    let begun = Instant::now();
    let till = LinkedTill::of(runtime, till, server.address)?;
    till.wait(|view| view.link.unsent == 0)?;
    let took = begun.elapsed();
    till.close()?;
    Ok(per_second(sales, took))
}
