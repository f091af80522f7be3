//! Old entries go, and power goes with them; tills that have let go of much beside servers that have lost everything, and neighbours that were off.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use domain::ids::{OpenOrderId, OrderId};
use node::api::{ApiErrorCode, Command, Item, Query};
use node::store::retention::OF_GONE;
use node::till::{Answer, Care, LinkChange, PrintOutcome, Till};
use simulation::crash_vfs::Disk;
use simulation::day::{Step, Witness, selling_day};
use simulation::rig::{Device, Folder, KEEP_MS, OpenTill};
use simulation::shop::{MORNING_MS, PIN, Shop};
use simulation::world;
use simulation::world::founding::{Founding, REGION_LOG};
use simulation::world::net::Weather;
use simulation::world::plan::{Place, Plan, Trouble};
use sync_proto::frame::Told;
use sync_server::central::{CentralRow, FeedRow};
use sync_server::region::{Refill, Region, Sender};

/// When everything of the morning is old enough to go.
const LATER_MS: u64 = MORNING_MS + KEEP_MS + 2 * 24 * 3_600_000;

/// Lets go of everything that may. Answers how many entries went.
fn let_go(till: &mut Till) -> Result<u64> {
    let before = till.reach()?.gone;
    loop {
        match till.let_go_step()? {
            Care::More => {}
            Care::Done | Care::DoneFor(_) => return Ok(till.reach()?.gone - before),
            Care::Waits => anyhow::bail!("nothing waits"),
        }
    }
}

/// Every receipt comes out, and everything that this till has written is central.
fn settle(open: &mut OpenTill) -> Result<()> {
    while let Some(work) = open.till.next_print()? {
        let attempt = open.till.begin_print(work.n, "epson-80", [0; 32])?;
        open.till.end_print(work.n, attempt, &PrintOutcome::Confirmed)?;
    }
    let commit = open.till.own_chain().commit;
    Ok(open.till.acked(commit, commit)?)
}

/// What a till shows, but for what goes with what is old.
fn shown(open: &mut OpenTill) -> Result<BTreeSet<String>> {
    let goes = ["document|", "paid_order|", "unread|"];
    let lines = open.projections()?;
    Ok(lines.lines().filter(|line| !goes.iter().any(|of| line.starts_with(of))).map(str::to_owned).collect())
}

#[test]
fn power_goes_at_every_call_while_old_entries_go() -> Result<()> {
    let shop = Shop::new(1);
    let (folder, disk, witness) = (Folder::enrolled(&shop, 1)?, Disk::new(), Witness::default());
    let mut open = OpenTill::open(1, &folder, &disk, MORNING_MS, 1)?;
    open.receive_founding(&shop)?;
    for step in selling_day(12) {
        step.perform(&shop, &mut open, &witness)?;
    }
    if open.view().shift.is_some() {
        let counted_minor = open.view().shift.map_or(0, |shift| shift.expected_minor);
        for _ in 0..open.view().cart.lines.len() {
            Step::Remove { line: 0 }.perform(&shop, &mut open, &witness)?;
        }
        open.till.command(Command::CloseShift { counted_minor })?;
    }
    settle(&mut open)?;
    open.till.tidy()?;
    let (before, entries) = (shown(&mut open)?, open.till.last_entry());
    open.till.end_use()?;
    drop(open);

    let mut open = OpenTill::open(1, &folder, &disk, LATER_MS, 2)?;
    let device = folder.device(&Device::default());
    let moments = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = moments.clone();
    disk.watch(move |moment| seen.lock().expect("recording does not panic").push(moment));
    let went = let_go(&mut open.till)?;
    open.till.tidy()?;
    disk.unwatch();
    drop(open);
    ensure!(went >= 12, "{went} entries went");
    let moments = std::mem::take(&mut *moments.lock().expect("recording does not panic"));
    ensure!(moments.len() > 20, "only {} calls", moments.len());
    let (mut found_some, mut found_all) = (0, 0);
    for (n, moment) in moments.iter().enumerate() {
        {
            let seed = n as u64 % 4;
            let found = moment.after_power_cut(seed);
            folder.restore(&device)?;
            let mut open = OpenTill::open(1, &folder, &found, LATER_MS, 3)?;
            let gone = open.till.reach()?.gone;
            found_some += u64::from(gone > 0 && gone < went);
            found_all += u64::from(gone == went);
            let check = (|| {
                ensure!(open.till.last_entry() == entries, "an entry is lost");
                ensure!(shown(&mut open)? == before, "it shows something else");
                let went_now = let_go(&mut open.till)?;
                ensure!(gone + went_now == went, "{gone} had gone, {went_now} went again, of {went}");
                ensure!(shown(&mut open)? == before, "it shows something else once all has gone");
                let projections = open.projections()?;
                ensure!(open.rebuilt_projections()? == projections, "a rebuild shows something else");
                while matches!(open.till.audit_step()?, Care::More) {}
                ensure!(!open.till.is_over(), "the audit puts it aside");
                Ok(())
            })();
            check.with_context(|| format!("{moment}, seed {seed}"))?;
        }
    }
    println!(
        "{} calls, a seed each in turn: {went} entries go, {found_some} times some had, {found_all} times all",
        moments.len()
    );
    ensure!(found_all > 0, "no cut found what went");
    Ok(())
}

/// A till of the founded shop.
fn open_till(number: u32, disk: &Disk, folder: &Folder, now_ms: u64) -> Result<OpenTill> {
    OpenTill::open(number, folder, disk, now_ms, now_ms ^ u64::from(number))
}

fn enrolled(number: u32) -> Result<(Folder, Disk)> {
    let folder = Folder::new()?;
    folder.restore(Founding::of_process().device(number))?;
    Ok((folder, Disk::new()))
}

fn open_region(disk: &Disk) -> Result<Region> {
    let writer = Founding::of_process().writer(0, [1; 16], [2; 16]);
    let mut region = Region::open_on(disk.vfs(), REGION_LOG.as_ref(), writer)?;
    region.start(MORNING_MS, "simulation")?;
    Ok(region)
}

/// Sends what a server has and a till has not, of all that it follows.
fn download(region: &Region, open: &mut OpenTill) -> Result<()> {
    let store = Founding::of_process().shops[0].store.id;
    let followed = sync_proto::scopes::followed_by(domain::record::DeviceKind::Till, store).into_iter().collect();
    let mut after = 0;
    loop {
        let out = region.outgoing(&followed, after, (open.till.own_chain().origin, 0), 1 << 20)?;
        if out.up_to == after {
            return Ok(());
        }
        after = out.up_to;
        open.till.receive(out.runs, after)?;
    }
}

fn upload(region: &mut Region, open: &OpenTill, after: u64) -> Result<bool> {
    let Some(run) = open.till.own_runs_after(after, 1 << 20, 4_000)? else { return Ok(false) };
    let device = Founding::of_process().shops[0].till_device(open.number());
    region.admit_all(vec![(Sender::Writer(device), run)])?.remove(0)?;
    Ok(true)
}

fn sign_in(open: &mut OpenTill) -> Result<()> {
    let staff = Founding::of_process().shops[0].manager.id;
    open.till.command(Command::SignIn { staff, pin: PIN.to_owned() })?;
    Ok(())
}

fn scan(open: &mut OpenTill, product: usize, pieces: i64) -> Result<()> {
    let item = Item::Code { code: Founding::of_process().shops[0].products[product].barcodes[0].clone() };
    let quantity_milli = Some(pieces * 1_000);
    open.till.command(Command::AddLine { item, quantity_milli, unit_price: None, name: None, separate: None })?;
    Ok(())
}

fn sell(open: &mut OpenTill, product: usize, pieces: i64) -> Result<OrderId> {
    scan(open, product, pieces)?;
    let cart = open.view().cart;
    open.till.command(Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor })?;
    Ok(cart.order)
}

/// A day with some sales; the shift is closed.
fn day(open: &mut OpenTill, sales: usize) -> Result<Vec<OrderId>> {
    sign_in(open)?;
    open.till.command(Command::OpenShift { float_minor: 0, business_day: None })?;
    let sold = (0..sales).map(|n| sell(open, n % 4, 1 + n as i64)).collect::<Result<_>>()?;
    let counted_minor = open.view().shift.map_or(0, |shift| shift.expected_minor);
    open.till.command(Command::CloseShift { counted_minor })?;
    settle(open)?;
    Ok(sold)
}

/// What a server tells of a receipt, to a till that asks.
fn ask(region: &Region, open: &mut OpenTill, receipt: &str) -> Result<(), ApiErrorCode> {
    open.till.set_link(LinkChange::Online { now_ms: 1, way: node::api::LinkWay::Quic });
    let number = open.till.ask_server(receipt).map_err(|error| error.code)?;
    let question = open.till.questions().pop().expect("a question");
    let runs = region.told_of(Founding::of_process().shops[0].store.id, &question.receipt, 1 << 18).expect("a sound log");
    open.till.told(Told { number, runs });
    open.till.take_answer(number).expect("an answer").map_err(|error| error.code)
}

#[test]
fn a_server_tells_of_every_sale_by_its_number() -> Result<()> {
    let (ground, (folder, disk)) = (Founding::of_process().region_disk(0), enrolled(1)?);
    let mut region = open_region(&ground)?;
    let mut open = open_till(1, &disk, &folder, MORNING_MS)?;
    download(&region, &mut open)?;
    let sales = day(&mut open, 23)?;
    let receipts: Vec<String> = open.orders()?.into_iter().rev().map(|order| order.receipt).collect();
    // Much in one run, of which only the last commit is sealed in the log, and then some alone.
    ensure!(upload(&mut region, &open, 0)?);
    drop(open);

    let mut open = open_till(1, &disk, &folder, LATER_MS)?;
    settle(&mut open)?;
    ensure!(let_go(&mut open.till)? >= 23);
    for (n, (sale, receipt)) in sales.iter().zip(&receipts).enumerate() {
        ensure!(open.order(*sale).is_err_and(|error| error.code == ApiErrorCode::NotKept), "{receipt} is here");
        ask(&region, &mut open, receipt).map_err(|code| anyhow::anyhow!("{receipt}: {code:?}"))?;
        let told = open.order(*sale)?;
        ensure!(told.lines[0].quantity_milli == (1 + n as i64) * 1_000 && told.summary.receipt == *receipt, "{told:?}");
    }
    for (unknown, why) in [
        ("S01-T01a-000999", "beyond the last"),
        ("S01-T01a-000000", "before the first"),
        ("S01-T09a-000001", "of no till"),
        ("nonsense", "no number"),
        ("", "nothing"),
        ("-", "no series"),
        ("S01-T01a-99999999999999999999999", "more digits than a number has"),
    ] {
        ensure!(ask(&region, &mut open, unknown) == Err(ApiErrorCode::NoSuchOrder), "{why}");
    }
    // A refund that only the server has heard of.
    let (other_folder, other_disk) = enrolled(2)?;
    let mut other = open_till(2, &other_disk, &other_folder, LATER_MS)?;
    download(&region, &mut other)?;
    sign_in(&mut other)?;
    other.till.command(Command::OpenShift { float_minor: 9_000, business_day: None })?;
    let sale = other.order(sales[4])?;
    let lines = vec![node::api::RefundLine { line: 0, quantity_milli: 2_000 }];
    other.till.command(Command::RefundSale {
        refund: sale.next_refund,
        original: sales[4],
        lines,
        reason: "broken".to_owned(),
    })?;
    ensure!(upload(&mut region, &other, 0)?);
    ask(&region, &mut open, &receipts[4]).map_err(|code| anyhow::anyhow!("{code:?}"))?;
    let told = open.order(sales[4])?;
    ensure!(told.lines[0].refundable_milli == 3_000 && told.refunds.len() == 1, "{told:?}");
    download(&region, &mut open)?;
    let told = open.order(sales[4])?;
    ensure!(told.lines[0].refundable_milli == 3_000 && told.refunds.len() == 1, "it counts once: {told:?}");
    Ok(())
}

#[test]
fn a_server_that_lost_its_log_gets_what_tills_have_let_go_of_from_central_and_the_rest_from_them() -> Result<()> {
    let founding = Founding::of_process();
    let (first_ground, (folder, disk)) = (founding.region_disk(0), enrolled(1)?);
    let mut region = open_region(&first_ground)?;
    let mut open = open_till(1, &disk, &folder, MORNING_MS)?;
    download(&region, &mut open)?;
    day(&mut open, 9)?;
    ensure!(upload(&mut region, &open, 0)?);
    let central: Vec<CentralRow> = region
        .rows_after(0, 100_000, usize::MAX)?
        .into_iter()
        .map(|row| CentralRow {
            central_seq: row.region_seq,
            row: FeedRow {
                region_seq: row.region_seq,
                device: row.origin.device,
                incarnation: row.origin.incarnation,
                scope: row.scope.as_str().to_owned(),
                seq: row.seq,
                commit: row.commit,
                hash: row.hash,
                bytes: row.bytes,
                at_ms: 0,
                seal: row.seal,
            },
        })
        .collect();
    drop(open);
    let mut open = open_till(1, &disk, &folder, LATER_MS)?;
    let_go(&mut open.till)?;
    let (floor, before) = (open.till.own_floor()?, shown(&mut open)?);
    ensure!(floor > 5);
    // What it sells afterwards only it has.
    day(&mut open, 2)?;
    let end = open.till.own_chain().clone();

    let second_ground = founding.region_disk(0);
    let mut second = open_region(&second_ground)?;
    open.till.begin_region([7; 16])?;
    ensure!(!upload(&mut second, &open, 0)?, "it brings nothing of which something has gone");
    let (mut refill, mut rounds) = (Refill::default(), 0);
    refill.add(central)?;
    while second.chain(end.origin).commit < floor {
        second.refill(&mut refill, 1_000_000)?;
        rounds += 1;
        ensure!(rounds < 10, "central does not bring it");
    }
    let has = second.chain(end.origin).commit;
    ensure!(upload(&mut second, &open, has)?);
    ensure!(second.chain(end.origin) == end, "the server has everything again");

    // It sends everything anew, and nothing of it counts twice.
    let (shown_before, entries) = (shown(&mut open)?, open.till.last_entry());
    download(&second, &mut open)?;
    ensure!(open.till.last_entry() == entries && shown(&mut open)? == shown_before);
    ensure!(shown_before.is_superset(&before.iter().filter(|line| line.starts_with("orders|")).cloned().collect()));
    let projections = open.projections()?;
    ensure!(open.rebuilt_projections()? == projections);
    Ok(())
}

#[test]
fn a_neighbour_that_is_behind_the_floor_gets_the_rest_from_the_server() -> Result<()> {
    let (ground, (folder, disk)) = (Founding::of_process().region_disk(0), enrolled(1)?);
    let mut region = open_region(&ground)?;
    let mut open = open_till(1, &disk, &folder, MORNING_MS)?;
    download(&region, &mut open)?;
    day(&mut open, 9)?;
    ensure!(upload(&mut region, &open, 0)?);
    drop(open);
    let mut open = open_till(1, &disk, &folder, LATER_MS)?;
    let_go(&mut open.till)?;
    day(&mut open, 2)?;
    let line = open.till.grown_since(0)?.0.into_iter().find(|line| line.chain == *open.till.own_chain()).context("its line")?;

    let (other_folder, other_disk) = enrolled(3)?;
    let mut other = open_till(3, &other_disk, &other_folder, LATER_MS)?;
    // It knows who is in the shop, and nothing of what they sold.
    download(&open_region(&Founding::of_process().region_disk(0))?, &mut other)?;
    let lacks = |other: &OpenTill| other.till.lacking(&[open.till.offered(&line)?]);
    ensure!(lacks(&other)?.lines == [(0, 0)]);
    ensure!(open.till.run_after(&line, 0, 1 << 20)?.is_none(), "what has gone is brought to nobody");
    download(&region, &mut other)?;
    let (_, after) = lacks(&other)?.lines[0];
    let run = open.till.run_after(&line, after, 1 << 20)?.context("the rest")?;
    other.till.receive_brought(run)?;
    ensure!(lacks(&other)?.whole == [0]);
    Ok(())
}

#[test]
fn what_is_added_to_an_open_order_that_has_gone_is_kept_and_does_not_open_it() -> Result<()> {
    let (ground, (folder, disk)) = (Founding::of_process().region_disk(0), enrolled(1)?);
    let (other_folder, other_disk) = enrolled(2)?;
    let mut region = open_region(&ground)?;
    let mut one = open_till(1, &disk, &folder, MORNING_MS)?;
    let mut two = open_till(2, &other_disk, &other_folder, MORNING_MS)?;
    download(&region, &mut one)?;
    download(&region, &mut two)?;
    for open in [&mut one, &mut two] {
        sign_in(open)?;
        open.till.command(Command::OpenShift { float_minor: 0, business_day: None })?;
    }
    scan(&mut one, 1, 2)?;
    let order = one.view().cart.order;
    one.till.command(Command::Park { order, label: "Bar".to_owned(), note: None })?;
    ensure!(upload(&mut region, &one, 0)?);
    download(&region, &mut two)?;
    let open_order = OpenOrderId(order.0);
    // One is paid here, and has gone; the other till, which has heard nothing, adds to it.
    one.till.command(Command::Recall { open_order })?;
    let cart = one.view().cart;
    one.till.command(Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor })?;
    one.till.command(Command::CloseShift { counted_minor: 0 })?;
    settle(&mut one)?;
    drop(one);
    let mut one = open_till(1, &disk, &folder, LATER_MS)?;
    ensure!(let_go(&mut one.till)? >= 4, "the sale, the sign-in and the changes");
    two.till.command(Command::Recall { open_order })?;
    scan(&mut two, 2, 1)?;
    let order = two.view().cart.order;
    two.till.command(Command::Park { order, label: "Bar".to_owned(), note: None })?;
    ensure!(upload(&mut region, &two, 0)?);
    let entries = one.till.last_entry();
    download(&region, &mut one)?;
    ensure!(one.till.last_entry() > entries, "it is kept, to be passed on");
    ensure!(one.view().open_orders == 0, "it is not opened");
    let unread: Vec<String> = {
        let mut select = one.till.db()?.prepare("SELECT why FROM unread")?;
        select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    ensure!(unread == [OF_GONE], "{unread:?}");
    let projections = one.projections()?;
    ensure!(one.rebuilt_projections()? == projections);
    Ok(())
}

/// A busy shop whose tills keep next to nothing.
fn forgetful(seed: u64, tills: usize, lan: bool, events: Vec<(u64, Trouble)>) -> Plan {
    Plan {
        open_ms: 30_000,
        think_ms: 250,
        weather: Weather { loss: 20, duplicates: 20, stragglers: 50, delay_ms: 5, jitter_ms: 20 },
        lan,
        keep_ms: Some(1_000),
        ..Plan::quiet(seed, tills, &events)
    }
}

fn holds(plan: &Plan) -> world::Outcome {
    let outcome = world::run(plan, false);
    assert_eq!(outcome.broken, None, "{plan}");
    outcome
}

#[test]
fn shops_whose_tills_keep_a_second_keep_every_promise() {
    let wiped = |at_ms| (at_ms, Trouble::Wipe { region: 0, off_ms: 700 });
    let off = |till, at_ms, off_ms| (at_ms, Trouble::Kill { of: Place::Till(till), off_ms });
    let copied = (9_000, Trouble::Clone { till: 0, for_ms: 8_000 });
    let backed_up = (4_000, Trouble::BackUp { of: Place::Till(1) });
    let put_back = (15_000, Trouble::Restore { of: Place::Till(1), whole_folder: true, off_ms: 500 });
    let flipped = (12_000, Trouble::Flip { of: Place::Till(0), chance: 77, off_ms: Some(500) });
    let cut = |at_ms| (at_ms, Trouble::Partition { till: 0, up_open: false, down_open: false, for_ms: 6_000 });
    let mut told = 0;
    for (name, plan) in [
        ("a quiet shop", forgetful(1, 2, false, vec![])),
        ("a server wiped twice", forgetful(2, 2, true, vec![wiped(14_000), wiped(24_000)])),
        ("a till that is off for long", forgetful(3, 3, true, vec![off(1, 6_000, 18_000)])),
        ("two histories", forgetful(4, 2, true, vec![copied, backed_up, put_back])),
        ("a damaged file, and a till on its own", forgetful(5, 2, true, vec![flipped, cut(18_000)])),
    ] {
        let outcome = holds(&plan);
        let seen = |what: &str| outcome.seen.get(what).copied().unwrap_or(0);
        println!("{name}: {} entries let go, {} sales told of", seen("entries let go"), seen("sales told of by the server"));
        assert!(seen("entries let go") > 20, "{name}: {:?}", outcome.seen);
        told += seen("sales told of by the server");
    }
    assert!(told > 8, "tills were told of {told} sales");
}

/// What a screen asks for goes the whole way: the face's query, the driver, the server, and back.
#[test]
fn a_question_of_the_screen_is_not_answered_from_here() -> Result<()> {
    let (folder, disk) = enrolled(1)?;
    let ground = Founding::of_process().region_disk(0);
    let region = open_region(&ground)?;
    let mut open = open_till(1, &disk, &folder, MORNING_MS)?;
    download(&region, &mut open)?;
    let sales = day(&mut open, 3)?;
    drop(open);
    let mut open = open_till(1, &disk, &folder, LATER_MS)?;
    let_go(&mut open.till)?;
    let node = node::handle::Node::inline(open.till);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let ask = |query: Query| runtime.block_on(node.query(query));
    let offline = ask(Query::Order { order: sales[0] }).expect_err("there is no link");
    ensure!(offline.code == ApiErrorCode::NotKept && offline.message.contains("cannot be reached now"), "{offline}");
    runtime.block_on(node.with(|till| till.set_link(LinkChange::Online { now_ms: 1, way: node::api::LinkWay::Quic })))?;
    let silent = ask(Query::Order { order: sales[0] }).expect_err("nobody answers");
    ensure!(silent.message.contains("has not answered"), "{silent}");
    let listed = ask(Query::Orders { text: String::new(), limit: 9 })?;
    ensure!(matches!(&listed, Answer::Orders(orders) if orders.iter().all(|order| !order.is_here)), "{listed:?}");
    Ok(())
}
