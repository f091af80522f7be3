//! What each accident does to the machines of a world, and how it is made good again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use domain::money::UnitPrice;
use jiff::tz::TimeZone;
use node::identity::Identity;
use node::store::StoreOptions;
use node::till::{Till, TillOptions};
use sync_proto::env::Env;
use sync_server::region::{ProductPatch, Region};
use tokio::time::Instant;

use super::central::Central;
use super::founding::Founding;
use super::machine::{End, Image, Machine, TillMachine};
use super::net::Cut;
use super::plan::{Event, Place, Trouble};
use super::{World, held, till_ip};
use crate::crash_vfs::FaultKind;
use crate::rig::Folder;

/// How long it takes to give a till another server, in milliseconds.
const MOVED_AFTER_MS: u64 = 300;

impl World {
    /// Answers whether there was anything to go wrong.
    pub(super) async fn try_bring(&mut self, trouble: Trouble) -> Result<bool> {
        if trouble.server().is_some_and(|region| self.servers[region].has_perished()) {
            return Ok(false);
        }
        match trouble {
            Trouble::Partition { till, up_open, down_open, for_ms } => {
                let is_closed = |(from, _): &(Ipv4Addr, Ipv4Addr)| if *from == till_ip(till) { !up_open } else { !down_open };
                let closed = self.ways(till).into_iter().filter(is_closed).collect();
                self.cut(closed, Cut::Closed, for_ms);
            }
            Trouble::Clog { till, for_ms } => self.cut(self.ways(till), Cut::Clogged, for_ms),
            Trouble::Narrow { till, for_ms } => self.cut(self.ways(till), Cut::Narrow(1_280), for_ms),
            Trouble::NoUdp { till, for_ms } => self.cut(self.ways(till), Cut::NoUdp, for_ms),
            Trouble::Reset { till } => return Ok(self.network.reset(till_ip(till)) > 0),
            Trouble::Apart { till, other, for_ms } => {
                let (one, two) = (till_ip(till), till_ip(other));
                self.cut(vec![(one, two), (two, one)], Cut::Closed, for_ms);
                return Ok(self.plan.lan && till != other && self.tills[till].store == self.tills[other].store);
            }
            Trouble::Rebind { till } => self.network.rebind(till_ip(till)),
            Trouble::Power { of, after_calls: 0, off_ms, seed } => {
                let machine = self.machine(of);
                machine.end(End::Power(seed)).await;
                self.start_later(machine, off_ms);
            }
            Trouble::Power { of, after_calls, off_ms, seed } => self.cut_power(self.machine(of), after_calls, off_ms, seed),
            Trouble::Kill { of, off_ms } => {
                let machine = self.machine(of);
                machine.end(End::Killed).await;
                self.start_later(machine, off_ms);
            }
            Trouble::Disk { of, kind, after_calls, for_ms } => self.fail_disk(&self.machine(of), kind, after_calls, for_ms),
            Trouble::BackUp { of: Place::Till(till) } => self.tills[till].back_up(),
            Trouble::BackUp { of: Place::Server(region) } => self.servers[region].back_up(),
            Trouble::Restore { of, whole_folder, off_ms } => return self.restore(of, whole_folder, off_ms).await,
            Trouble::Wipe { region, off_ms } => {
                let server = self.servers[region].clone();
                server.end(End::Killed).await;
                let had = self.held()?;
                server.wipe();
                self.note_destroyed(had)?;
                self.start_later(Machine::Server(server), off_ms);
            }
            Trouble::Perish { region } => {
                let server = self.servers[region].clone();
                // One has to be left.
                if self.servers.iter().any(|server| server.has_perished()) {
                    return Ok(false);
                }
                server.end(End::Power(0)).await;
                let had = self.held()?;
                server.perish();
                self.note_destroyed(had)?;
            }
            Trouble::Move { till, to } => return Ok(self.give_server(self.tills[till].clone(), to).await),
            Trouble::MoveStore { store, to } => {
                let mut some = false;
                for till in self.tills.clone().into_iter().filter(|till| till.store == store) {
                    some |= self.give_server(till, to).await;
                }
                return Ok(some);
            }
            Trouble::Older { of, off_ms } => {
                let flipped = |event: &Event| matches!(event.trouble, Trouble::Flip { of: flipped, .. } if flipped == of);
                let may_be_damaged = self.plan.events.iter().any(flipped);
                let machine = self.machine(of);
                let refused = machine.try_older(may_be_damaged).await?;
                self.start_later(machine, off_ms);
                return Ok(refused);
            }
            Trouble::Clone { till, for_ms } => return self.clone_till(till, for_ms),
            Trouble::CentralAway { region, for_ms } => {
                let concerned = self.servers.iter().filter(|server| region.is_none_or(|region| server.region == region));
                let ways: Vec<Central> = concerned.map(|server| server.central().clone()).collect();
                ways.iter().for_each(Central::go_away);
                self.later(for_ms, move || ways.iter().for_each(Central::come_back));
            }
            Trouble::CentralAnswerLost => self.central.lose_next_answer(),
            Trouble::CentralBackUp => self.central.back_up(),
            Trouble::CentralRestore => {
                let had = self.held()?;
                if !self.central.restore() {
                    return Ok(false);
                }
                self.note_destroyed(had)?;
            }
            Trouble::Clock { of, by_ms } => self.machine(of).chassis().env.jump(by_ms),
            Trouble::Flip { of, chance, off_ms } => return self.flip(of, chance, off_ms).await,
            Trouble::Drift { of, ppm } => self.machine(of).chassis().env.drift(ppm),
            Trouble::Reprice { product, region } => return self.reprice(product, region).await,
        }
        Ok(true)
    }

    /// The ways between a till and every server, both directions of each.
    pub(super) fn ways(&self, till: usize) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let ip = till_ip(till);
        self.servers.iter().flat_map(|server| [(ip, server.chassis.ip), (server.chassis.ip, ip)]).collect()
    }

    /// Gives a till another region's server. Answers whether that is another than it has, and there.
    pub(super) async fn give_server(&mut self, till: Arc<TillMachine>, to: usize) -> bool {
        if till.region() == to || self.servers[to].has_perished() {
            return false;
        }
        self.trace.note(format_args!("till {} is given the server of region {to}", till.index));
        till.end(End::Killed).await;
        till.set_region(to);
        self.start_later(Machine::Till(till), MOVED_AFTER_MS);
        true
    }

    fn cut(&mut self, ways: Vec<(Ipv4Addr, Ipv4Addr)>, cut: Cut, for_ms: u64) {
        for (from, to) in &ways {
            self.network.cut(*from, *to, cut);
        }
        let network = self.network.clone();
        self.later(for_ms, move || ways.iter().for_each(|(from, to)| network.mend(*from, *to)));
    }

    fn start_later(&mut self, machine: Machine, after_ms: u64) {
        self.tasks.spawn(async move { machine.start_after(after_ms).await });
    }

    /// The power goes at a call of the disk, whenever that comes, and some time after everything else of the machine is gone too.
    fn cut_power(&mut self, machine: Machine, after_calls: u64, off_ms: u64, seed: u64) {
        machine.plan_fault(after_calls, FaultKind::PowerCut);
        let death = machine.disk().death();
        self.tasks.spawn(async move {
            death.notified().await;
            machine.end(End::Power(seed)).await;
            machine.start_after(off_ms).await;
        });
    }

    fn fail_disk(&mut self, machine: &Machine, kind: FaultKind, after_calls: u64, for_ms: u64) {
        machine.plan_fault(after_calls, kind);
        let disk = machine.disk();
        self.later(for_ms, move || disk.heal());
    }

    async fn restore(&mut self, of: Place, whole_folder: bool, off_ms: u64) -> Result<bool> {
        let machine = self.machine(of);
        machine.end(End::Killed).await;
        let had = self.held()?;
        let restored = match of {
            Place::Till(till) => {
                let till = self.tills[till].clone();
                let restored = till.restore(whole_folder);
                if restored {
                    self.note_destroyed(had)?;
                    if whole_folder {
                        self.oracle.doubled(read_image(till.image(), QUEUED));
                    }
                }
                restored
            }
            Place::Server(region) => {
                let restored = self.servers[region].restore();
                if restored {
                    self.note_destroyed(had)?;
                }
                restored
            }
        };
        self.start_later(machine, off_ms);
        Ok(restored)
    }

    /// The copy has its own cashier for a while.
    fn clone_till(&mut self, till: usize, for_ms: u64) -> Result<bool> {
        let original = self.tills[till].clone();
        let index = self.tills.len();
        let parts = self.parts(index);
        let image = original.image();
        self.oracle.doubled(read_image(original.image(), QUEUED));
        let of = format!("machine {till}");
        let (home, neighbours) = (original.home(), self.neighbours(original.store));
        let copy = TillMachine::of_image(index, (home, original.number), of, self.zone.clone(), parts, image, neighbours)?;
        let copy = Arc::new(copy);
        self.add(copy.clone());
        self.hire(&copy, Instant::now() + Duration::from_millis(for_ms));
        self.start_later(Machine::Till(copy), 0);
        Ok(true)
    }

    async fn reprice(&mut self, product: usize, region: usize) -> Result<bool> {
        let server = self.servers[region].clone();
        let Some(hub) = server.hub() else { return Ok(false) };
        let env = server.chassis.env.clone();
        let id = Founding::of_process().shops[0].products[product].code.clone();
        let price = UnitPrice(1_000 + self.dice.below(50_000) as i64);
        let edit = move |region: &mut Region| {
            let products = region.all_of(domain::document::DocumentKind::Product).ok()?;
            let product = products.into_iter().find_map(|state| match state.value {
                sync_proto::documents::DocumentValue::Product(product) if product.code == id => Some(product.id),
                _ => None,
            })?;
            let patch = ProductPatch { price: Some(price), ..ProductPatch::default() };
            region.edit_product(product, None, patch, None, &*env).ok()
        };
        Ok(hub.with(edit).await.ok().flatten().is_some())
    }

    /// Flips a bit of a machine's disk. Answers whether there was one.
    async fn flip(&mut self, of: Place, chance: u64, off_ms: Option<u64>) -> Result<bool> {
        let machine = self.machine(of);
        if off_ms.is_some() {
            machine.end(End::Killed).await;
        }
        let had = self.held()?;
        // What a program that runs has in its write-ahead log it would have to lose with all that it writes after it.
        let flipped = machine.disk().flip(chance, off_ms.is_some());
        self.trace.note(format_args!("a bit is flipped: {flipped:?}"));
        self.note_destroyed(had)?;
        if let (Place::Till(till), Some(_), None) = (of, &flipped, off_ms) {
            self.tills[till].break_page();
        }
        if let (Place::Till(till), Some((file, _))) = (of, &flipped)
            && file.ends_with("-wal")
        {
            // What is behind the bit is gone, and with it what the printer has been sent.
            self.oracle.doubled(read_image(self.tills[till].image(), QUEUED));
        }
        if let Some(off_ms) = off_ms {
            self.start_later(machine, off_ms);
        }
        Ok(flipped.is_some())
    }

    /// Orders that were on a medium and are now on none.
    fn note_destroyed(&mut self, had: BTreeSet<[u8; 16]>) -> Result<()> {
        let held = self.held()?;
        let gone: Vec<[u8; 16]> = had.difference(&held).copied().collect();
        self.trace.note(format_args!("{} orders are gone with a disk", gone.len()));
        self.oracle.destroyed(gone);
        Ok(())
    }

    /// The orders that some medium still has.
    fn held(&self) -> Result<BTreeSet<[u8; 16]>> {
        let mut rows: Vec<held::HeldRow> = self.central.rows().into_iter().map(held::HeldRow::from).collect();
        // What the server has synced: a commit that failed may still be readable, and was never acknowledged.
        rows.extend(self.servers.iter().flat_map(|server| held::of_server(&server.disk().after_power_cut(0))));
        rows.extend(self.tills.iter().flat_map(|till| held::of_till(&till.image())));
        held::orders(&rows)
    }
}

/// Print jobs that may still come out. What was being printed when the copy was made is uncertain in it, and not printed by itself.
const QUEUED: &str = "SELECT id FROM print_job WHERE state = 'queued'";

/// One column of 16 bytes, from a copy of what is on a till; nothing where that cannot be read.
fn read_image(image: Image, sql: &str) -> Vec<[u8; 16]> {
    try_read_image(image, sql).unwrap_or_default()
}

fn try_read_image(image: Image, sql: &str) -> Result<Vec<[u8; 16]>> {
    let Image { disk, device } = image;
    let folder = Folder::new()?;
    folder.restore(&device)?;
    let options = TillOptions {
        store: StoreOptions { vfs: Some(disk.vfs().to_owned()), exclusive: true, files: disk.files(), ..StoreOptions::default() },
        printing: false,
        time_zone: TimeZone::UTC,
        machine: None,
        keep_ms: None,
    };
    let env: Arc<dyn Env> = Arc::new(crate::shop::SimEnv::new(crate::shop::MORNING_MS, 1));
    let till = Till::open(Identity::load(folder.path())?, env, options)?;
    let mut select = till.db()?.prepare(sql)?;
    let ids = select.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}
