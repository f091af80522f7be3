//! `kill -9` at any instant: what was shown as paid is kept, the cart comes back, and every entry reaches central exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::central::CentralChoice;
use journeys::stack::{self, Plan, Stack};
use node::api::{Command, OrderSummary};

fn start(tills: usize) -> Result<Stack> {
    let plan = Plan { tills, printers: false, central: CentralChoice::Private, ..Plan::for_test()? };
    plan.start(&mut |text| eprintln!("{text}"))
}

/// `kill -9` and a new start, as after a power cut; the cashier signs in again.
fn crash(stack: &mut Stack, till: usize) -> Result<()> {
    stack.tills[till].kill();
    stack.tills[till].start()?;
    cashier::sign_in(stack.tills[till].client())?;
    Ok(())
}

fn receipts(stack: &Stack, till: usize) -> Result<Vec<OrderSummary>> {
    Ok(stack.tills[till].client().orders(200)?)
}

#[test]
fn a_killed_till_has_its_cart_and_every_sale_that_it_showed() -> Result<()> {
    let mut stack = start(1)?;
    // All of this with the server down.
    cashier::begin(stack.tills[0].client())?;
    stack.server.kill();

    cashier::add(stack.tills[0].client(), "85123A", 2)?;
    let before = cashier::add(stack.tills[0].client(), "22423", 1)?;
    crash(&mut stack, 0)?;
    let after = stack.tills[0].client().view()?;
    assert_eq!(after.shift.as_ref().map(|shift| shift.id), before.shift.as_ref().map(|shift| shift.id));
    // Under a new id: a copy of this till's folder would settle the old one as well.
    assert_eq!(node::api::CartView { order: before.cart.order, ..after.cart.clone() }, before.cart);
    let before = after;

    // Killed right after the answer.
    let mut shown = vec![cashier::settle(stack.tills[0].client(), &before)?];
    for number in 0..4 {
        crash(&mut stack, 0)?;
        assert!(stack.tills[0].client().view()?.cart.lines.is_empty());
        shown.push(cashier::sell(stack.tills[0].client(), number)?);
    }
    crash(&mut stack, 0)?;

    let kept = receipts(&stack, 0)?;
    let mut kept: Vec<_> = kept.iter().map(|o| (o.order, o.receipt.as_str(), o.total_minor)).collect();
    let mut expected: Vec<_> = shown.iter().map(|o| (o.order, o.receipt.as_str(), o.total_minor)).collect();
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);

    // Asking for the last settlement once more pays nothing twice.
    let last = shown.last().context("something was sold")?;
    let again = Command::SettleCash { order: last.order, tendered_minor: last.tendered_minor };
    stack.tills[0].client().command(&again)?;
    assert_eq!(receipts(&stack, 0)?.len(), expected.len());
    Ok(())
}

#[test]
fn a_till_killed_while_it_takes_the_money_has_either_the_sale_or_the_cart() -> Result<()> {
    let mut stack = start(1)?;
    cashier::begin(stack.tills[0].client())?;
    let mut sold = 0;
    for microseconds in [0, 200, 500, 1_000, 1_500, 2_500, 5_000] {
        let view = cashier::add(stack.tills[0].client(), "71053", 1)?;
        let (order, client) = (view.cart.order, stack.tills[0].client().clone());
        let settling = std::thread::spawn(move || client.command(&Command::SettleCash { order, tendered_minor: 375 }).is_ok());
        // Not to wait for anything: the kill is to fall into different places of the settlement.
        std::thread::sleep(Duration::from_micros(microseconds));
        stack.tills[0].kill();
        let was_shown = settling.join().expect("the clerk does not panic");
        stack.tills[0].start()?;
        cashier::sign_in(stack.tills[0].client())?;

        let is_kept = receipts(&stack, 0)?.iter().any(|o| o.order == order);
        let cart = stack.tills[0].client().view()?.cart;
        ensure!(is_kept || !was_shown, "a sale that was shown as paid is gone");
        ensure!(is_kept == cart.lines.is_empty(), "after {microseconds} µs both the sale and its cart are there, or neither");
        let order = if is_kept { order } else { cart.order };
        stack.tills[0].client().command(&Command::SettleCash { order, tendered_minor: 375 })?;
        sold += 1;
        let kept = receipts(&stack, 0)?;
        assert_eq!(kept.len(), sold, "after {microseconds} µs");
        let numbers: std::collections::BTreeSet<_> = kept.iter().map(|o| o.receipt.as_str()).collect();
        assert_eq!(numbers.len(), sold, "a receipt number was given twice");
    }
    Ok(())
}

#[test]
fn restarts_of_both_sides_mid_batch_lose_and_repeat_nothing() -> Result<()> {
    const SALES: usize = 120;
    let mut stack = start(2)?;
    for till in &stack.tills {
        cashier::begin(till.client())?;
    }
    // A backlog at both tills, so that every restart falls into a batch.
    for till in &stack.tills {
        till.cut();
    }
    for number in 0..SALES {
        for till in &stack.tills {
            cashier::sell(till.client(), number)?;
        }
    }
    for till in &stack.tills {
        till.heal();
    }
    let mut unsent = stack.tills[0].client().view()?.link.unsent;
    ensure!(unsent >= SALES as u64, "the cut till has sent something: {unsent} commits are left");
    for round in 0..6 {
        // The next kill comes as soon as the server has taken something of the backlog, or there is none left.
        let moved = || Ok(Some(stack.tills[0].client().view()?.link.unsent).filter(|left| *left < unsent || *left == 0));
        unsent = stack::until("the backlog to move", PATIENCE, moved)?;
        eprintln!("round {round}: {unsent} commits of till 1 are left");
        stack.server.kill();
        cashier::sell(stack.tills[round % 2].client(), round)?;
        crash(&mut stack, (round + 1) % 2)?;
        stack.server.start()?;
        unsent = unsent.max(stack.tills[0].client().view()?.link.unsent);
    }

    let mut own = BTreeMap::new();
    for till in &stack.tills {
        cashier::wait_until_sent(till.client())?;
        own.insert(till.name.clone(), own_row(till.client(), &till.name)?);
    }
    // Each till shows the other's orders too, with the same sums as the other has itself.
    for till in &stack.tills {
        for (name, expected) in &own {
            let same = || Ok((own_row(till.client(), name)? == *expected).then_some(()));
            stack::until("the neighbour's orders", PATIENCE, same).with_context(|| format!("{name} at {}", till.name))?;
        }
        let orders = till.client().ledger()?.orders;
        assert_eq!(orders, 2 * SALES as u64 + 6);
        let tills: std::collections::BTreeSet<_> = till.client().orders(200)?.into_iter().map(|o| o.till).collect();
        assert_eq!(tills.len(), 2, "{tills:?}");
    }
    let central = Central::connect(&stack.central.url())?;
    let told = || Ok((central.shares()?.values().map(|share| share.orders).sum::<u64>() == 2 * SALES as u64 + 6).then_some(()));
    stack::until("central to fold everything", PATIENCE, told)?;
    assert_eq!(central.flaws()?, Vec::<String>::new());
    for (name, share) in central.shares()? {
        let (lines, rounded, exact) = own.get(&name).context("central knows a till more")?;
        assert_eq!(
            (share.sums.lines, share.sums.rounded_minor.to_string(), share.sums.exact.to_string()),
            (*lines, rounded.clone(), exact.clone())
        );
    }
    Ok(())
}

fn own_row(till: &journeys::stack::client::TillClient, name: &str) -> Result<(u64, String, String)> {
    let row = till.ledger()?.devices.into_iter().find(|row| row.device == name);
    Ok(row.map(|row| (row.lines, row.rounded_minor, row.exact)).unwrap_or_default())
}
