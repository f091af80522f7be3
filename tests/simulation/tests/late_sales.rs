//! Close the shift / a sale arrives late: the day can always be closed, and what the closing did not have is in a numbered addendum, the same at every
//! till, in whatever order it came. What a manager sees of it, `tests/journeys/tests/central` asks a real central database.

use anyhow::Result;
use domain::money::{Quantity, line_amount_minor};
use node::api::{AddendumView, ApiErrorCode, ClosedShiftView, Command, Item, Query, RefundLine, TillView};
use node::till::{Answer, ReceiveError};
use simulation::crash_vfs::Disk;
use simulation::rig::{Device, Folder, OpenTill};
use simulation::shop::{MORNING_MS, PIN, Shop};
use sync_proto::batch::Run;

/// A till that lost what it sold last, and two others of its store.
struct World {
    shop: Shop,
    folder: Folder,
    disk: Disk,
    till: OpenTill,
    place: u64,
    opened: u64,
}

fn signed_in(shop: &Shop, open: &mut OpenTill) {
    must(open, Command::SignIn { staff: shop.manager.id, pin: PIN.to_owned() });
}

fn must(open: &mut OpenTill, command: Command) -> TillView {
    open.till.command(command.clone()).unwrap_or_else(|error| panic!("{command:?}: {error:?}"))
}

fn sell(shop: &Shop, open: &mut OpenTill, pieces: i64) -> TillView {
    let item = Item::Code { code: shop.products[0].barcodes[0].clone() };
    must(open, Command::AddLine { item, quantity_milli: Some(pieces * 1_000), unit_price: None, name: None, separate: None });
    let cart = open.view().cart;
    must(open, Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor })
}

fn close(open: &mut OpenTill) {
    let counted_minor = open.view().shift.expect("a shift is open").expected_minor;
    must(open, Command::CloseShift { counted_minor });
}

fn shifts(open: &OpenTill) -> Vec<ClosedShiftView> {
    match open.till.query(Query::Shifts { limit: 50 }).expect("a sound disk") {
        Answer::Shifts(shifts) => shifts,
        other => panic!("asked for one thing, answered {other:?}"),
    }
}

impl World {
    /// A till with a shift in which one piece was sold.
    fn new() -> Result<Self> {
        let shop = Shop::new(3);
        let (folder, disk) = (Folder::enrolled(&shop, 1)?, Disk::new());
        let mut till = OpenTill::open(1, &folder, &disk, MORNING_MS, 1)?;
        till.receive_founding(&shop)?;
        signed_in(&shop, &mut till);
        must(&mut till, Command::OpenShift { float_minor: 10_000, business_day: None });
        sell(&shop, &mut till, 1);
        Ok(Self { shop, folder, disk, till, place: 1, opened: 10 })
    }

    /// What sales of so many pieces each come to.
    fn sales(&self, pieces: &[i64]) -> i64 {
        let price = self.shop.products[0].price;
        let amount = |pieces: &i64| line_amount_minor(Quantity(pieces * 1_000), price).expect("within bounds");
        pieces.iter().map(amount).sum()
    }

    /// What the files of the till hold now.
    fn image(&self) -> (Disk, Device) {
        (self.disk.copy(), self.folder.device(&Device::default()))
    }

    /// The till begins again with other files, some time later.
    fn begin_with(&mut self, disk: Disk, device: &Device) -> Result<()> {
        self.opened += 1;
        let folder = Folder::new()?;
        folder.restore(device)?;
        (self.folder, self.disk) = (folder, disk);
        self.till = OpenTill::open(1, &self.folder, &self.disk, MORNING_MS + self.opened * 60_000, self.opened)?;
        signed_in(&self.shop, &mut self.till);
        Ok(())
    }

    /// Another till of the store, which hears these histories in this order.
    fn neighbour(&mut self, number: u32, heard: &[&[Run]]) -> Result<OpenTill> {
        let (folder, disk) = (Folder::enrolled(&self.shop, number)?, Disk::new());
        let mut other = OpenTill::open(number, &folder, &disk, MORNING_MS + u64::from(number), u64::from(number))?;
        other.receive_founding(&self.shop)?;
        for run in heard.concat() {
            self.place += 1;
            other.till.receive(vec![run], self.place)?;
        }
        Ok(other)
    }

    /// The till itself hears what it lost, as it is brought back by others.
    fn hears(&mut self, runs: &[Run]) -> Result<()> {
        for run in runs {
            match self.till.till.receive_brought(run.clone()) {
                Err(ReceiveError::OwnHistoryAhead) => {
                    self.till.till.renew_incarnation()?;
                    self.till.till.receive_brought(run.clone())?;
                }
                taken => drop(taken?),
            }
        }
        Ok(())
    }
}

/// What a till says of the only closed shift, once it is certain that a rebuild says the same.
fn only_shift(open: &mut OpenTill) -> Result<ClosedShiftView> {
    let shown = shifts(open);
    open.till.tidy()?;
    open.till.rebuild()?;
    assert_eq!(shifts(open), shown, "a rebuild shows something else");
    assert_eq!(shown.len(), 1);
    Ok(shown[0].clone())
}

fn sums(one: &AddendumView) -> (u32, u64, i64, i64) {
    (one.number, one.sales, one.sales_minor, one.cash_minor)
}

#[test]
fn a_shift_is_closed_with_sales_that_nobody_else_has_and_only_once() -> Result<()> {
    let mut world = World::new()?;
    sell(&world.shop, &mut world.till, 2);
    assert!(world.till.view().link.unsent > 0);
    close(&mut world.till);
    let closed = only_shift(&mut world.till)?;
    assert_eq!((closed.shift.sales, closed.shift.sales_minor, closed.difference_minor), (2, world.sales(&[1, 2]), 0));
    assert_eq!(closed.addenda, []);
    let again = world.till.till.command(Command::CloseShift { counted_minor: 0 }).expect_err("it is closed");
    assert_eq!((again.code, only_shift(&mut world.till)?), (ApiErrorCode::NoShift, closed.clone()));
    // Whoever hears of it in one go and whoever hears of it a second time say the same.
    let runs = world.till.own_runs()?;
    assert_eq!(only_shift(&mut world.neighbour(2, &[&runs, &runs])?)?, closed);
    // What is sold after it is in the next shift, and adds nothing to this one.
    must(&mut world.till, Command::OpenShift { float_minor: 0, business_day: None });
    sell(&world.shop, &mut world.till, 5);
    assert_eq!(only_shift(&mut world.till)?, closed);
    Ok(())
}

/// The till was put back from a backup, knew it, and went on under a new incarnation: what it had lost comes back from others after it has closed.
#[test]
fn what_a_till_had_lost_is_an_addendum_when_it_comes_back() -> Result<()> {
    let mut world = World::new()?;
    let (backup, _) = world.image();
    let sale = sell(&world.shop, &mut world.till, 2).last_order.expect("a sale").order;
    let lines = vec![RefundLine { line: 0, quantity_milli: 1_000 }];
    let refund = world.till.order(sale)?.next_refund;
    must(&mut world.till, Command::RefundSale { refund, original: sale, lines, reason: "broken".to_owned() });
    sell(&world.shop, &mut world.till, 4);
    let (lost, (_, device)) = (world.till.own_runs()?, world.image());

    world.begin_with(backup, &device)?;
    sell(&world.shop, &mut world.till, 7);
    close(&mut world.till);
    let closed = only_shift(&mut world.till)?;
    assert_eq!((closed.shift.sales, closed.shift.sales_minor, closed.addenda.len()), (2, world.sales(&[1, 7]), 0));

    world.hears(&lost)?;
    let found = only_shift(&mut world.till)?;
    assert_eq!(found.shift, closed.shift, "what was printed stays as it was");
    let addendum = &found.addenda[0];
    let cash = world.sales(&[2, 4]) - world.sales(&[1]);
    assert_eq!((found.addenda.len(), sums(addendum)), (1, (1, 2, world.sales(&[2, 4]), cash)));
    assert_eq!((addendum.refunds, addendum.refunds_minor), (1, world.sales(&[1])));
    assert!(addendum.first_receipt.ends_with("-000002") && addendum.last_receipt.ends_with("-000004"), "{addendum:?}");
    // The cash of these sales was in the drawer of the disk that was lost: nobody counted it.
    assert_eq!((found.difference_minor, found.difference_with_addenda_minor), (0, -cash));

    // Others that heard of it in another order, or of the lost part first, say the same.
    let own = world.till.own_runs()?;
    let mut two = world.neighbour(2, &[&lost, &own])?;
    let mut three = world.neighbour(3, &[&own, &lost])?;
    assert_eq!((only_shift(&mut two)?, only_shift(&mut three)?), (found.clone(), found.clone()));

    // On paper: the Z report, the addendum that names it, and copies that say so.
    let shift = found.shift.id;
    for addendum in [None, Some(1), Some(1)] {
        must(&mut world.till, Command::PrintShift { shift, addendum });
    }
    let jobs: Vec<_> = world.till.view().print_jobs.iter().map(|job| job.title.clone()).collect();
    let title = format!("{} addendum 1", found.title);
    assert_eq!(jobs[jobs.len() - 3..], [found.title.clone(), title.clone(), format!("{title} COPY 1")]);
    let none = world.till.till.command(Command::PrintShift { shift, addendum: Some(2) }).expect_err("there is no second one");
    assert_eq!(none.code, ApiErrorCode::BadRequest);
    Ok(())
}

/// The whole folder was put back, and nothing told it: both lives are signed under one incarnation, and places of the chain are there twice.
#[test]
fn what_the_other_life_of_one_incarnation_sold_is_an_addendum() -> Result<()> {
    let mut world = World::new()?;
    let (backup, device) = world.image();
    sell(&world.shop, &mut world.till, 2);
    sell(&world.shop, &mut world.till, 4);
    let other_life = world.till.own_runs()?;
    // It knows nothing of that, sells as much and more, and closes.
    world.begin_with(backup, &device)?;
    for _ in 0..3 {
        sell(&world.shop, &mut world.till, 7);
    }
    close(&mut world.till);
    let closed = only_shift(&mut world.till)?;
    let own = world.till.own_runs()?;
    let (mut two, mut three) = (world.neighbour(2, &[&other_life, &own])?, world.neighbour(3, &[&own, &other_life])?);
    let found = only_shift(&mut two)?;
    assert_eq!(only_shift(&mut three)?, found);
    assert_eq!((&found.shift, found.addenda.len()), (&closed.shift, 1));
    assert_eq!(sums(&found.addenda[0]), (1, 2, world.sales(&[2, 4]), world.sales(&[2, 4])));
    world.hears(&other_life)?;
    assert_eq!(only_shift(&mut world.till)?, found);
    Ok(())
}

/// Two lives close one shift: the later closing stands, and what only the other one had is an addendum to it.
#[test]
fn of_two_closings_the_later_stands_and_the_rest_is_an_addendum() -> Result<()> {
    let mut world = World::new()?;
    let (backup, device) = world.image();
    sell(&world.shop, &mut world.till, 2);
    close(&mut world.till);
    let other_life = world.till.own_runs()?;
    world.begin_with(backup, &device)?;
    sell(&world.shop, &mut world.till, 7);
    close(&mut world.till);
    let (closed, own) = (only_shift(&mut world.till)?, world.till.own_runs()?);
    let (mut two, mut three) = (world.neighbour(2, &[&other_life, &own])?, world.neighbour(3, &[&own, &other_life])?);
    let found = only_shift(&mut two)?;
    assert_eq!(only_shift(&mut three)?, found);
    assert_eq!((&found.shift, found.closed_at_ms), (&closed.shift, closed.closed_at_ms));
    assert_eq!(sums(&found.addenda[0]), (1, 1, world.sales(&[2]), world.sales(&[2])));
    Ok(())
}

/// The till that closed is cut off; a neighbour that has the closing and not yet all it covers counts nothing as late.
#[test]
fn what_a_closing_covers_is_not_late_because_it_is_on_its_way() -> Result<()> {
    let mut world = World::new()?;
    let (before, (backup, _)) = (world.till.own_runs()?, world.image());
    sell(&world.shop, &mut world.till, 2);
    let (lost, (_, device)) = (world.till.own_runs()?, world.image());
    // It hears of what it lost before it closes.
    world.begin_with(backup, &device)?;
    world.hears(&lost)?;
    close(&mut world.till);
    let closed = only_shift(&mut world.till)?;
    assert_eq!((closed.shift.sales, closed.addenda.len()), (2, 0));
    let own = world.till.own_runs()?;
    let mut two = world.neighbour(2, &[&before, &own])?;
    assert_eq!(only_shift(&mut two)?.addenda, []);
    for run in &lost {
        world.place += 1;
        two.till.receive(vec![run.clone()], world.place)?;
    }
    assert_eq!(only_shift(&mut two)?, closed);
    Ok(())
}
