//! Promise 4: replicas with the same entries show the same, however those entries reached them.
//!
//! Two tills sell; a relay takes runs of commits from them and hands them on. It cuts runs where it likes, sends them twice, and sends
//! some before others. A till may refuse what it cannot use yet, but then nothing of it may stick.

use std::cell::RefCell;
use std::env;

use anyhow::{Context, Result, ensure};
use domain::money::UnitPrice;
use node::api::OrderSummary;
use node::till::ReceiveError;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use simulation::Dice;
use simulation::crash_vfs::Disk;
use simulation::day::{Step, Witness};
use simulation::rig::{Folder, OpenTill};
use simulation::shop::{MORNING_MS, Region, Shop};
use sync_proto::batch::Run;

const CASES: u32 = 48;

/// One thing that happens in the shop or on the wire. Tills are 0 and 1; other numbers are reduced to what there is.
#[derive(Debug, Clone)]
enum Event {
    Sell {
        till: usize,
        product: usize,
        milli: i64,
    },
    /// Gives back part of one of the till's own or its neighbour's sales.
    Refund {
        till: usize,
        of: usize,
    },
    Adjust {
        till: usize,
        product: usize,
        milli: i64,
    },
    /// Few products, so that they are counted at both tills and sold meanwhile.
    Count {
        till: usize,
        product: usize,
        milli: i64,
    },
    Reprice {
        product: usize,
        price: i64,
    },
    /// The relay fetches commits, from some before those that it has already.
    Fetch {
        till: usize,
        again: u64,
        commits_max: usize,
    },
    /// The relay hands on runs: from some before or after the till's place, so many, and perhaps twice.
    HandOn {
        till: usize,
        from: i64,
        runs: usize,
        twice: bool,
    },
    Tidy {
        till: usize,
    },
    Restart {
        till: usize,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let till = 0..2usize;
    let event = prop_oneof![
        5 => (till.clone(), 0..12usize, 1..5_000i64).prop_map(|(till, product, milli)| Event::Sell { till, product, milli }),
        3 => (till.clone(), 0..3usize, 1..5_000i64).prop_map(|(till, product, milli)| Event::Sell { till, product, milli }),
        1 => (till.clone(), 0..50usize).prop_map(|(till, of)| Event::Refund { till, of }),
        1 => (till.clone(), 0..12usize, -9_000..9_000i64).prop_map(|(till, product, milli)| Event::Adjust { till, product, milli }),
        2 => (till.clone(), 0..3usize, 0..9_000i64).prop_map(|(till, product, milli)| Event::Count { till, product, milli }),
        1 => (0..12usize, 0..1_000_000i64).prop_map(|(product, price)| Event::Reprice { product, price }),
        4 => (till.clone(), 0..6u64, 1..5usize).prop_map(|(till, again, commits_max)| Event::Fetch { till, again, commits_max }),
        6 => (till.clone(), -3..4i64, 1..6usize, any::<bool>())
            .prop_map(|(till, from, runs, twice)| Event::HandOn { till, from, runs, twice }),
        1 => till.clone().prop_map(|till| Event::Tidy { till }),
        1 => till.prop_map(|till| Event::Restart { till }),
    ];
    prop::collection::vec(event, 1..60)
}

struct Till {
    folder: Folder,
    disk: Disk,
    open: Option<OpenTill>,
    witness: Witness,
    starts: u64,
}

impl Till {
    fn new(shop: &Shop, number: u32) -> Result<Self> {
        let (folder, disk) = (Folder::enrolled(shop, number)?, Disk::new());
        let mut till = Self { folder, disk, open: None, witness: Witness::default(), starts: 0 };
        till.start(number)?;
        Ok(till)
    }

    fn start(&mut self, number: u32) -> Result<()> {
        self.open = None;
        self.starts += 1;
        let later = MORNING_MS + self.starts * 600_000;
        self.open = Some(OpenTill::open(number, &self.folder, &self.disk, later, u64::from(number) * 1_000 + self.starts)?);
        Ok(())
    }

    fn open(&mut self) -> &mut OpenTill {
        self.open.as_mut().expect("it is open but for a moment while it restarts")
    }

    fn does(&mut self, shop: &Shop, step: Step) -> Result<()> {
        let open = self.open.as_mut().expect("it is open but for a moment while it restarts");
        step.perform(shop, open, &self.witness).with_context(|| format!("{step:?}"))
    }
}

/// What happened on the wire, to see that the cases are worth something.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// Batches refused.
    refused: usize,
    /// Commits skipped, because they were there already.
    skipped: usize,
    /// Entries taken in.
    taken: usize,
    refunds: usize,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.refused += other.refused;
        self.skipped += other.skipped;
        self.taken += other.taken;
        self.refunds += other.refunds;
    }
}

/// A server that verifies nothing and hands on everything, in the order in which it came.
struct Relay {
    region: Region,
    runs: Vec<Run>,
    /// The last commit of each till that it has.
    have: [u64; 2],
    tally: Tally,
}

impl Relay {
    fn fetch(&mut self, at: usize, till: &mut Till, again: u64, commits_max: usize) -> Result<bool> {
        let after = self.have[at].saturating_sub(again);
        let Some(run) = till.open().till.own_runs_after(after, 4_096, commits_max)? else { return Ok(false) };
        let reached = after + run.commits.len() as u64;
        let is_news = reached > self.have[at];
        self.have[at] = self.have[at].max(reached);
        self.runs.push(run);
        Ok(is_news)
    }

    /// Hands on runs from a place in its order. `up_to` is claimed only if nothing before them is left out.
    fn hand_on(&mut self, till: &mut Till, from: i64, runs: usize) -> Result<()> {
        let place = till.open().till.cursors().iter().map(|(_, at)| *at).min().unwrap_or(0);
        let first = usize::try_from(i64::try_from(place)? + from).unwrap_or(0).min(self.runs.len());
        let last = (first + runs).min(self.runs.len());
        let up_to = if first as u64 <= place { (last as u64).max(place) } else { place };
        let before = till.open().agreed()?;
        match till.open().till.receive(self.runs[first..last].to_vec(), up_to) {
            Ok(received) => {
                self.tally.taken += received.entries;
                self.tally.skipped += received.skipped;
                Ok(())
            }
            Err(ReceiveError::Gap { .. } | ReceiveError::UnknownDevice(_)) if first as u64 > place => {
                self.tally.refused += 1;
                ensure!(till.open().agreed()? == before, "something of a refused batch was kept");
                Ok(())
            }
            Err(why) => Err(why).context("a batch is refused"),
        }
    }

    fn hand_on_everything(&mut self, till: &mut Till) -> Result<()> {
        while till.open().till.cursors().iter().any(|(_, at)| *at < self.runs.len() as u64) {
            self.hand_on(till, 0, 3)?;
        }
        Ok(())
    }
}

fn replay(events: &[Event]) -> Result<Tally> {
    let shop = Shop::new(2);
    let mut region = shop.region();
    let founding = region.found(&shop);
    let mut relay = Relay { region, runs: vec![founding], have: [0, 0], tally: Tally::default() };
    let mut tills = [Till::new(&shop, 1)?, Till::new(&shop, 2)?];
    for till in &mut tills {
        relay.hand_on_everything(till)?;
        till.does(&shop, Step::SignIn)?;
        till.does(&shop, Step::OpenShift { float_minor: 10_000 })?;
    }
    for event in events {
        happens(&shop, &mut relay, &mut tills, event).with_context(|| format!("{event:?}"))?;
    }
    for (at, till) in tills.iter_mut().enumerate() {
        while relay.fetch(at, till, 0, 100)? {}
    }
    let [one, other] = &mut tills;
    for till in [&mut *one, &mut *other] {
        relay.hand_on_everything(till)?;
        relay.hand_on(till, -1_000, 1_000).context("everything once more")?;
        let found = till.open().projections()?;
        ensure!(found == till.open().rebuilt_projections()?, "projections differ from a rebuild");
    }
    they_agree(one, other)?;
    relay.tally.refunds = one.open().orders()?.iter().filter(|o| o.is_refund).count();
    Ok(relay.tally)
}

fn happens(shop: &Shop, relay: &mut Relay, tills: &mut [Till; 2], event: &Event) -> Result<()> {
    match *event {
        Event::Sell { till, product, milli } => {
            tills[till].does(shop, Step::Scan { product, milli: Some(milli) })?;
            tills[till].does(shop, Step::Settle { over_minor: 0 })
        }
        Event::Refund { till, of } => refund(&mut tills[till], of),
        Event::Adjust { till, product, milli } if milli != 0 => tills[till].does(shop, Step::Adjust { product, milli }),
        Event::Adjust { .. } => Ok(()),
        Event::Count { till, product, milli } => tills[till].does(shop, Step::Count { product, milli }),
        Event::Reprice { product, price } => {
            relay.runs.extend(relay.region.reprice(shop.products[product].id, UnitPrice(price)));
            Ok(())
        }
        Event::Fetch { till, again, commits_max } => relay.fetch(till, &mut tills[till], again, commits_max).map(|_| ()),
        Event::HandOn { till, from, runs, twice } => {
            for _ in 0..1 + usize::from(twice) {
                relay.hand_on(&mut tills[till], from, runs)?;
            }
            Ok(())
        }
        Event::Tidy { till } => Ok(tills[till].open().till.tidy()?),
        Event::Restart { till } => {
            tills[till].start(till as u32 + 1)?;
            tills[till].does(shop, Step::SignIn)
        }
    }
}

/// Gives back what is left of the first line of a sale, wherever it was made.
fn refund(till: &mut Till, of: usize) -> Result<()> {
    let sales: Vec<_> = till.open().orders()?.into_iter().filter(|o| !o.is_refund).collect();
    let Some(sale) = sales.get(of % sales.len().max(1)) else { return Ok(()) };
    let view = till.open().order(sale.order)?;
    let quantity_milli = view.lines[0].refundable_milli;
    if quantity_milli == 0 {
        return Ok(());
    }
    let lines = vec![node::api::RefundLine { line: 0, quantity_milli }];
    let reason = "changed their mind".to_owned();
    let command = node::api::Command::RefundSale { refund: view.next_refund, original: sale.order, lines, reason };
    till.open().till.command(command)?;
    Ok(())
}

fn they_agree(one: &mut Till, other: &mut Till) -> Result<()> {
    let (a, b) = (one.open().agreed()?, other.open().agreed()?);
    let difference = a.lines().zip(b.lines()).find(|(a, b)| a != b);
    ensure!(a == b, "the replicas differ, first in {difference:?}");
    let (one, other) = (one.open(), other.open());
    ensure!(one.ledger()? == other.ledger()?, "the ledgers differ");
    ensure!(one.products()? == other.products()?, "prices or stock differ");
    let listed = |open: &OpenTill| -> Result<Vec<OrderSummary>> {
        // How safe an order is known to be is each till's own knowledge.
        let durability = node::api::Durability::Device;
        Ok(open.orders()?.into_iter().map(|order| OrderSummary { durability, ..order }).collect())
    };
    ensure!(listed(one)? == listed(other)?, "the lists of orders differ");
    Ok(())
}

#[test]
fn replicas_with_the_same_entries_show_the_same() {
    let seed = env::var("EVERTILL_SEED").map_or(1, |seed| seed.parse::<u64>().expect("a number"));
    let mut bytes = [0; 32];
    Dice::new(seed).fill(&mut bytes);
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tally = RefCell::new(Tally::default());
    let answer = runner.run(&events(), |events| match replay(&events) {
        Ok(seen) => {
            tally.borrow_mut().add(seen);
            Ok(())
        }
        Err(why) => Err(TestCaseError::fail(format!("{why:?}"))),
    });
    let tally = tally.into_inner();
    println!("{CASES} cases of seed {seed}: {tally:?}");
    if let Err(why) = answer {
        panic!("EVERTILL_SEED={seed}: {why}");
    }
    assert!(tally.refused > 0 && tally.skipped > 0 && tally.taken > 0 && tally.refunds > 0, "{tally:?}");
}
