//! The server's log beside a preallocated file: runs of sealed sales, verified and appended with one sync, against the same bytes raw.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::ids::DeviceId;
use sync_proto::batch::Run;
use sync_server::region::{Region, Sender};

use super::grouped;
use crate::Bench;
use crate::catalogue::Names;
use crate::devices::{self, Log};
use crate::figures::{Runs, interleaved};
use crate::limits::RawLog;
use crate::row::Row;
use crate::shop::found;

/// Batches, how many of each are written in a run, and the share of the raw rate that they must reach.
const BATCHES: [(usize, usize, f64); 3] = [(1, 200, 0.85), (64, 60, 0.5), (1_024, 12, 0.18)];
/// How many tills send one live sale each for one sync.
const TILLS: usize = 64;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let work = bench.folder()?;
    let mut opened = found(&work.path().join("region"), &Names::Made, 0)?;
    let region = &mut opened.region;
    let keys = devices::admit(region, &opened.authority, TILLS, 4)?;
    let mut raw = RawLog::new(&work.path().join("raw"))?;
    let runs = bench.pick(5, 1);
    let mut rows = Vec::new();
    // The log grows to the size at which it is copied back and overwritten; only then is its pace steady.
    let mut warm_up = Log::of_sales(&keys[1], bench.pick(6_000, 100), 1)?;
    while let Some(run) = warm_up.take(64) {
        admitted(region, vec![(keys[1].device, run)])?;
    }
    for (batch, times, share) in BATCHES {
        let times = bench.pick(times, 4);
        let mut rates = Runs::default();
        let mut log = Log::of_sales(&keys[0], batch * times * runs, 100 + batch as u64)?;
        for _ in 0..runs {
            let append = |_| admitted(region, vec![(keys[0].device, log.take(batch).context("the log was long enough")?)]);
            let (ours, limit) = interleaved(times, append, || raw.append(&vec![4; 400 * batch]))?;
            rates.push(batch as f64 * ours.per_second(), batch as f64 * limit.per_second());
        }
        let name = format!("server log: sales of one till, verified and appended, {} to a sync", grouped(batch));
        rows.push(Row::new(name, "sales/s", &rates).beside(rates.limit()).at_least(share * rates.limit()));
    }
    rows.push(live(bench, region, &keys, &mut raw, runs)?);
    Ok(rows)
}

/// One sale of each of many tills, admitted with one sync: each has a seal of its own to check.
fn live(bench: &Bench, region: &mut Region, keys: &[devices::Keys], raw: &mut RawLog, runs: usize) -> Result<Row> {
    let times = bench.pick(40, 4);
    let logs = keys.iter().zip(500..).map(|(keys, seed)| Log::of_sales(keys, times * runs, seed));
    let mut logs = logs.collect::<Result<Vec<_>>>()?;
    let mut rates = Runs::default();
    for _ in 0..runs {
        let append = |_| {
            let one = |(keys, log): (&devices::Keys, &mut Log)| Some((keys.device, log.take(1)?));
            admitted(region, keys.iter().zip(&mut logs).map(one).collect::<Option<_>>().context("the logs were long enough")?)
        };
        let (ours, limit) = interleaved(times, append, || raw.append(&vec![4; 400 * TILLS]))?;
        rates.push(TILLS as f64 * ours.per_second(), TILLS as f64 * limit.per_second());
    }
    let name = format!("server log: live sales of {TILLS} tills, verified and appended with one sync");
    Ok(Row::new(name, "sales/s", &rates).beside(rates.limit()))
}

fn admitted(region: &mut Region, runs: Vec<(DeviceId, Run)>) -> Result<Duration> {
    let begun = Instant::now();
    let runs = runs.into_iter().map(|(device, run)| (Sender::Writer(device), run)).collect();
    for result in region.admit_all(runs)? {
        result?;
    }
    Ok(begun.elapsed())
}
