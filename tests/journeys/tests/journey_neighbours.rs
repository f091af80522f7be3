//! The server is away, and the tills of a shop go on together: an order is parked at one and paid at the other, a till dies with what it has sold, and when
//! the server is back it hears of everything from the one that is left.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::central::CentralChoice;
use journeys::stack::{self, Plan};
use node::api::{Command, Durability, OpenOrderView, Query};

/// How often something is parked at one till and taken up at the other.
const TRIES: usize = 9;

#[test]
fn tills_go_on_together_without_the_server() -> Result<()> {
    let plan = Plan { neighbours: true, printers: false, central: CentralChoice::Private, ..Plan::for_test()? };
    let mut stack = plan.start(&mut |text| eprintln!("{text}"))?;
    for till in &stack.tills {
        cashier::begin(till.client())?;
    }
    for till in &stack.tills {
        let hears = || Ok((till.client().view()?.link.neighbours == 1).then_some(()));
        stack::until("the other till", PATIENCE, hears)?;
        cashier::wait_until_sent(till.client())?;
        till.cut();
    }
    let (one, two) = (stack.tills[0].client(), stack.tills[1].client());

    let mut waits = Vec::new();
    for n in 0..TRIES {
        let label = format!("Table {n}");
        let order = cashier::add(one, "85123A", 2)?.cart.order;
        let began = Instant::now();
        one.command(&Command::Park { order, label: label.clone(), note: None })?;
        let shown = || -> Result<Option<OpenOrderView>> {
            let list: Vec<OpenOrderView> = two.query(&Query::OpenOrders { text: label.clone(), limit: 10 })?;
            Ok(list.into_iter().next())
        };
        let open_order = loop {
            if let Some(shown) = shown()? {
                break shown.open_order;
            }
            ensure!(began.elapsed() < PATIENCE, "what is parked at one till is not at the other");
        };
        two.command(&Command::Recall { open_order })?;
        waits.push(began.elapsed());
        if n == 0 {
            two.command(&Command::ClearCart {})?;
        } else {
            two.command(&Command::GiveUp { open_order })?;
        }
    }
    // Nothing of it went by way of the server: all that was parked here is still to be sent.
    for (till, least) in [(one, TRIES as u64), (two, 1)] {
        let link = till.view()?.link;
        ensure!(link.unsent >= least, "{link:?}");
    }
    waits.sort();
    eprintln!("parked here, taken up there, after {waits:?}");

    // What is paid there is gone from the list here, and the sale is on both disks.
    let open: Vec<OpenOrderView> = two.query(&Query::OpenOrders { text: String::new(), limit: 10 })?;
    let [open] = &open[..] else { anyhow::bail!("one order is left open: {open:?}") };
    let view = two.command(&Command::Recall { open_order: open.open_order })?;
    let paid = cashier::settle(two, &view)?;
    stack::until("the other till to hear of it", PATIENCE, || Ok((one.view()?.open_orders == 0).then_some(())))?;
    let safe = || Ok(two.view()?.last_order.filter(|order| order.durability >= Durability::Neighbour));
    let shown = stack::until("a copy at the other till", PATIENCE, safe)?;
    ensure!((shown.order, shown.durability) == (paid.order, Durability::Neighbour), "{shown:?}");
    let there = one.orders(10)?.into_iter().find(|order| order.order == paid.order).context("the other till lists it")?;
    ensure!(there.durability == Durability::Neighbour, "{there:?}");

    // The till that took the money dies, and never comes back.
    stack.tills[1].kill();
    std::fs::remove_dir_all(stack.tills[1].data())?;
    stack.tills[0].heal();
    let central = Central::connect(&stack.central.url())?;
    let question = format!("SELECT 1 FROM orders WHERE order_id = '{}'", paid.order);
    let has = || Ok((central.query(&question)?.len() == 1).then_some(()));
    stack::until("the sale of the till that died, in the central database", PATIENCE, has)
}
