//! One sale at a time over a live link: until the server has it on its disk and the till knows, and until the next till shows it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use node::api::Event;

use crate::Bench;
use crate::catalogue;
use crate::devices::{self, LINES};
use crate::dice::Dice;
use crate::figures::{Runs, Times};
use crate::limits::{Echo, RawLog};
use crate::row::Row;
use crate::shop::{LinkedTill, Server, found, happened, open_shift, open_till, patiently, payment, refused, runtime, scan};
use crate::wire::Cable;

const PRODUCTS: usize = 500;
/// What an acknowledged sale may take on top of two raw syncs and a round trip, in microseconds.
const ALLOWANCE_US: f64 = 300.0;
/// What a datagram takes from one end of the long cable to the other.
const ONE_WAY: Duration = Duration::from_millis(20);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let work = bench.folder()?;
    let mut opened = found(&work.path().join("region"), &bench.names, PRODUCTS)?;
    let keys = devices::admit(&mut opened.region, &opened.authority, 1, 1)?.remove(0);
    let server = Server::start(opened)?;
    let (seller, neighbour) = (work.path().join("seller"), work.path().join("neighbour"));
    for folder in [&seller, &neighbour] {
        server.stocked_till(folder, PRODUCTS)?;
    }
    let raw = RawLog::new(&work.path().join("raw"))?;
    let ends = runtime()?;
    let echo = ends.block_on(Echo::start(server.runtime(), &server.authority, &keys))?;
    let mut beside = Beside { raw, echo, runtime: ends };

    let near = Pair::start(&seller, &neighbour, server.address, server.address)?;
    let (mut acked, mut acked_p99, mut visible) = (Runs::default(), Runs::default(), Runs::default());
    near.sell(bench.pick(100, 5), None)?;
    for _ in 0..bench.pick(5, 1) {
        let times = near.sell(bench.pick(200, 20), Some(&mut beside))?;
        acked.push(times.acked.percentile(50.0), 2.0 * times.raw.percentile(50.0) + times.echo.percentile(50.0));
        acked_p99.push_alone(times.acked.percentile(99.0) / 1e3);
        visible.push_alone(times.visible.percentile(99.0) / 1e3);
    }
    near.close()?;

    let cables = runtime()?;
    let here = cables.block_on(Cable::to(server.address, ONE_WAY))?;
    let there = cables.block_on(Cable::to(server.address, ONE_WAY))?;
    let far = Pair::start(&seller, &neighbour, here.address(), there.address())?;
    let mut visible_far = Runs::default();
    for _ in 0..bench.pick(3, 1) {
        visible_far.push_alone(far.sell(bench.pick(60, 5), None)?.visible.percentile(99.0) / 1e3);
    }
    far.close()?;

    Ok(vec![
        Row::new("sale at a till → durable at the server → acknowledged at the till, p50", "µs", &acked)
            .beside(acked.limit())
            .at_most(acked.limit() + ALLOWANCE_US),
        Row::new("sale at a till → durable at the server → acknowledged at the till, p99", "ms", &acked_p99).at_most(5.0),
        Row::new("sale at a till → shown at another till, p99", "ms", &visible).at_most(20.0),
        Row::new("sale at a till → shown at another till, both on 40 ms links, p99", "ms", &visible_far).at_most(100.0),
    ])
}

/// The limits that take turns with the sales.
struct Beside {
    raw: RawLog,
    echo: Echo,
    runtime: tokio::runtime::Runtime,
}

/// Two tills of one store.
struct Pair {
    seller: LinkedTill,
    neighbour: LinkedTill,
}

#[derive(Default)]
struct SaleTimes {
    acked: Times,
    visible: Times,
    raw: Times,
    echo: Times,
}

impl Pair {
    fn start(seller: &Path, neighbour: &Path, here: std::net::SocketAddr, there: std::net::SocketAddr) -> Result<Self> {
        let mut till = open_till(seller, false)?;
        open_shift(&mut till)?;
        let seller = LinkedTill::of(runtime()?, till, here)?;
        let neighbour = LinkedTill::start(runtime()?, neighbour, there, false)?;
        for till in [&seller, &neighbour] {
            till.wait_until_online()?;
            till.wait(|view| view.link.unsent == 0)?;
        }
        Ok(Self { seller, neighbour })
    }

    fn close(self) -> Result<()> {
        self.seller.close()?;
        self.neighbour.close()?;
        Ok(())
    }

    /// Sells, one sale after another, each awaited at both ends; in turns with the limits where there are some.
    fn sell(&self, sales: usize, mut beside: Option<&mut Beside>) -> Result<SaleTimes> {
        const BLOCK: usize = 20;
        let mut times = SaleTimes::default();
        let mut dice = Dice::new(2);
        for n in 0..sales {
            let (acked, visible) = self.sell_one(&mut dice)?;
            times.acked.push(acked);
            times.visible.push(visible);
            if let Some(beside) = beside.as_deref_mut().filter(|_| n % BLOCK == BLOCK - 1) {
                for _ in 0..BLOCK {
                    times.raw.push(beside.raw.sync_page()?);
                }
                for _ in 0..BLOCK {
                    times.echo.push(beside.runtime.block_on(beside.echo.round_trip())?);
                }
            }
        }
        Ok(times)
    }

    fn sell_one(&self, dice: &mut Dice) -> Result<(Duration, Duration)> {
        let codes: [String; LINES] = std::array::from_fn(|_| catalogue::barcode(dice.below(PRODUCTS)));
        let pay = self.seller.with(move |till| scan(till, codes).map(|view| payment(&view)))??;
        let node::api::Command::SettleCash { order, .. } = pay else { anyhow::bail!("a payment") };
        let (mut here, mut there) = (self.seller.events(), self.neighbour.events());
        self.seller.runtime.block_on(patiently("a sale's way", async {
            let begun = Instant::now();
            let acked = async {
                self.seller.node.command(pay).await.map_err(refused)?;
                loop {
                    if let Some(Event::LinkChanged { link }) = happened(&mut here).await?
                        && link.unsent == 0
                    {
                        return anyhow::Ok(begun.elapsed());
                    }
                }
            };
            let visible = async {
                loop {
                    happened(&mut there).await?;
                    if self.neighbour.knows(order).await {
                        return anyhow::Ok(begun.elapsed());
                    }
                }
            };
            let (acked, visible) = tokio::join!(acked, visible);
            Ok((acked?, visible?))
        }))
    }
}
