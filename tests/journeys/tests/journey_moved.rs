//! A till whose disk was moved, or put back from a backup: nothing that it sold is lost, nothing is there twice, no number is given again.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::central::CentralChoice;
use journeys::stack::{self, Plan, Stack, process};
use node::api::LinkState;

fn start() -> Result<Stack> {
    let plan = Plan { tills: 1, printers: false, central: CentralChoice::Private, ..Plan::for_test()? };
    let stack = plan.start(&mut |text| eprintln!("{text}"))?;
    cashier::begin(stack.tills[0].client())?;
    Ok(stack)
}

fn restart(stack: &mut Stack, between: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    stack.tills[0].stop();
    between(stack.tills[0].data())?;
    stack.tills[0].start()?;
    cashier::sign_in(stack.tills[0].client())?;
    Ok(())
}

fn receipts(stack: &Stack) -> Result<BTreeSet<String>> {
    Ok(stack.tills[0].client().orders(200)?.into_iter().map(|o| o.receipt).collect())
}

/// Waits until the till shows so many orders and all is sent, and compares with the central database.
fn agree_on(stack: &Stack, orders: usize, incarnations: i64) -> Result<()> {
    let till = stack.tills[0].client();
    let all = || Ok((till.orders(200)?.len() == orders).then_some(()));
    stack::until("all orders at the till", PATIENCE, all)
        .with_context(|| process::tail(&stack.folder().join("logs/till-1.log")))?;
    cashier::wait_until_sent(till)?;
    ensure!(receipts(stack)?.len() == orders, "a receipt number was given twice");
    let central = Central::connect(&stack.central.url())?;
    let count = |question: &str| -> Result<i64> { Ok(central.query(question)?.first().context("one row")?.get(0)) };
    let projected = || Ok((count("SELECT count(*) FROM orders")? == orders as i64).then_some(()));
    stack::until("all orders in central", PATIENCE, projected)?;
    assert_eq!(count("SELECT count(DISTINCT incarnation) FROM entries WHERE scope LIKE 'store/%'")?, incarnations);
    assert_eq!(central.flaws()?, Vec::<String>::new());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &target)?;
        } else {
            std::fs::copy(file.path(), target)?;
        }
    }
    Ok(())
}

fn put_back(backup: &Path, folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder)?;
    copy(backup, folder)
}

#[test]
fn a_disk_in_another_machine_sends_what_it_had_not_sent() -> Result<()> {
    let mut stack = start()?;
    stack.tills[0].cut();
    for number in 0..3 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    restart(&mut stack, |data| {
        let path = data.join("device/identity.json");
        let mut identity: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        identity["machine"] = "another machine".into();
        Ok(std::fs::write(&path, serde_json::to_vec(&identity)?)?)
    })?;
    let series: BTreeSet<_> = receipts(&stack)?.iter().map(|r| r[..8].to_owned()).collect();
    let now = stack.tills[0].client().view()?.till.series;
    ensure!(!series.contains(&now), "a moved disk goes on in the receipt series {now}");
    for number in 0..2 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    stack.tills[0].heal();
    agree_on(&stack, 5, 2)
}

#[test]
fn a_replica_from_a_backup_gets_back_what_it_lost() -> Result<()> {
    let mut stack = start()?;
    let backup = tempfile::tempdir()?;
    cashier::sell(stack.tills[0].client(), 0)?;
    restart(&mut stack, |data| copy(&data.join("replica"), &backup.path().join("kept")))?;
    for number in 0..3 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    cashier::wait_until_sent(stack.tills[0].client())?;
    restart(&mut stack, |data| put_back(&backup.path().join("kept"), &data.join("replica")))?;
    agree_on(&stack, 4, 2)?;
    // The cart of the backup named the order that was sold next then; selling it now must be another order.
    cashier::sell(stack.tills[0].client(), 7)?;
    agree_on(&stack, 5, 2)
}

#[test]
fn a_whole_folder_from_a_backup_goes_on_selling() -> Result<()> {
    let mut stack = start()?;
    let backup = tempfile::tempdir()?;
    cashier::sell(stack.tills[0].client(), 0)?;
    restart(&mut stack, |data| copy(data, &backup.path().join("kept")))?;
    for number in 0..3 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    cashier::wait_until_sent(stack.tills[0].client())?;
    // Nothing on this disk tells that it is old; the server does, after the cashier has signed in under the old incarnation.
    restart(&mut stack, |data| put_back(&backup.path().join("kept"), data))?;
    let renewed = || Ok(stack.tills[0].client().view()?.till.series.ends_with('b').then_some(()));
    stack::until("a new incarnation", PATIENCE, renewed)?;
    let sold = cashier::sell(stack.tills[0].client(), 7)?;
    ensure!(sold.receipt.contains("T01b"), "{} is in the old series", sold.receipt);
    let central = Central::connect(&stack.central.url())?;
    let counted =
        || Ok(central.query("SELECT count(*) FROM orders")?.first().map(|row| row.get::<_, i64>(0)).filter(|n| *n == 5));
    stack::until("all five orders in central", PATIENCE, counted)?;
    // The old life's sign-in is no sale, and is kept beside what the lost life wrote in its place.
    let flaws = central.flaws()?;
    ensure!(flaws.len() == 1 && flaws[0].ends_with("are on another branch"), "{flaws:?}");
    cashier::wait_for_link(stack.tills[0].client(), LinkState::Online)?;
    let all = || Ok((stack.tills[0].client().orders(200)?.len() == 5).then_some(()));
    stack::until("what the lost life sold, at the till", PATIENCE, all)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    Ok(())
}
