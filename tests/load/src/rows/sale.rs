//! A sale of four lines made durable at the till, beside a raw sync of the same disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use node::api::Command;
use node::till::{PrintOutcome, Till};
use simulation::crash_vfs::{Call, Disk};
use simulation::rig::{Folder, OpenTill};

use crate::Bench;
use crate::catalogue;
use crate::devices::LINES;
use crate::dice::Dice;
use crate::figures::{Runs, interleaved};
use crate::limits::RawLog;
use crate::row::Row;
use crate::shop::{Server, found, open_shift, open_till, payment, refused, scan};

/// How many products the till knows.
const PRODUCTS: usize = 500;
/// What a sale may take on top of a raw sync, encrypted, in microseconds.
const ALLOWANCE_US: f64 = 180.0;
/// Sales before the first that counts: the write-ahead log grows to its size, and from then on is overwritten.
const WARM_UP: usize = 300;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let work = bench.folder()?;
    let server = Server::start(found(&work.path().join("region"), &bench.names, PRODUCTS)?)?;
    let mut rows = Vec::new();
    for printing in [false, true] {
        let folder = work.path().join(if printing { "printing" } else { "plain" });
        server.stocked_till(&folder, PRODUCTS)?;
        let mut raw = RawLog::new(&folder.join("raw"))?;
        rows.extend(at_a_till(bench, open_till(&folder, printing)?, printing, &mut raw)?);
    }
    rows.push(Row::counted("complete a sale: syncs", "syncs", syncs()?).at_most(1.0));
    Ok(rows)
}

fn at_a_till(bench: &Bench, mut till: Till, printing: bool, raw: &mut RawLog) -> Result<Vec<Row>> {
    let mut dice = Dice::new(1);
    open_shift(&mut till)?;
    for _ in 0..bench.pick(WARM_UP, 20) {
        sell(&mut till, &mut dice)?;
        tidy_up(&mut till)?;
    }
    let (mut p50, mut p99) = (Runs::default(), Runs::default());
    for _ in 0..bench.pick(5, 1) {
        let sold = |_| {
            let took = sell(&mut till, &mut dice)?;
            tidy_up(&mut till)?;
            anyhow::Ok(took)
        };
        let (ours, limit) = interleaved(bench.pick(400, 40), sold, || raw.sync_page())?;
        p50.push(ours.percentile(50.0), limit.percentile(50.0));
        p99.push(ours.percentile(99.0), limit.percentile(99.0));
    }
    let pages = pages(&mut till, &mut dice, bench.pick(100, 10))?;
    let what = if printing { "complete a sale with receipt and drawer" } else { "complete a sale" };
    Ok(vec![
        Row::new(format!("{what}: durable, p50"), "µs", &p50).beside(p50.limit()).at_most(p50.limit() + ALLOWANCE_US),
        Row::new(format!("{what}: durable, p99"), "µs", &p99).beside(p99.limit()).at_most(2.0 * p99.limit()),
        Row::counted(format!("{what}: pages, mean"), "pages", pages).at_most(6.0),
    ])
}

/// Fills the cart, and answers how long taking the money took.
fn sell(till: &mut Till, dice: &mut Dice) -> Result<Duration> {
    let codes: [String; LINES] = std::array::from_fn(|_| catalogue::barcode(dice.below(PRODUCTS)));
    let pay = payment(&scan(till, codes)?);
    let begun = Instant::now();
    till.command(pay).map_err(refused)?;
    Ok(begun.elapsed())
}

/// What the till's other workers do between two customers: the receipt prints, the drawer opens, the log is copied back.
fn tidy_up(till: &mut Till) -> Result<()> {
    while let Some(work) = till.next_print()? {
        let attempt = till.begin_print(work.n, "bench", [0; 32])?;
        till.end_print(work.n, attempt, &PrintOutcome::Confirmed)?;
    }
    for (id, _) in till.take_kicks()? {
        till.end_kick(id, node::api::DrawerState::Kicked)?;
    }
    if till.wants_tidying() {
        till.tidy()?;
    }
    till.take_events();
    Ok(())
}

/// Pages that a sale writes, on average: what the write-ahead log holds after a sale that found it empty.
fn pages(till: &mut Till, dice: &mut Dice, sales: usize) -> Result<f64> {
    let checkpoint = |till: &Till| -> Result<i64> {
        let frames = till.db()?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
        Ok(frames)
    };
    let mut sum = 0;
    for _ in 0..sales {
        tidy_up(till)?;
        checkpoint(till)?;
        sell(till, dice)?;
        sum += checkpoint(till)?;
    }
    Ok(sum as f64 / sales as f64)
}

/// Syncs of any file during the payment of a sale, counted on a disk in memory that counts.
fn syncs() -> Result<f64> {
    const SALES: u64 = 50;
    let shop = simulation::shop::Shop::new(1);
    let (folder, disk) = (Folder::enrolled(&shop, 1)?, Disk::new());
    let mut open = OpenTill::open(1, &folder, &disk, simulation::shop::MORNING_MS, 1)?;
    open.receive_founding(&shop)?;
    let till = &mut open.till;
    till.command(Command::SignIn { staff: shop.manager.id, pin: simulation::shop::PIN.to_owned() }).map_err(refused)?;
    till.command(Command::OpenShift { float_minor: 0, business_day: None }).map_err(refused)?;
    let counted = Arc::<AtomicU64>::default();
    for _ in 0..SALES {
        let codes = shop.products.iter().take(LINES).map(|product| product.code.clone());
        let pay = payment(&scan(till, codes)?);
        let counting = counted.clone();
        disk.watch(move |moment| {
            counting.fetch_add(u64::from(moment.call == Call::Sync), Ordering::Relaxed);
        });
        till.command(pay).map_err(refused).context("a sale on a sound disk")?;
        disk.unwatch();
        tidy_up(till)?;
    }
    Ok(counted.load(Ordering::Relaxed) as f64 / SALES as f64)
}
