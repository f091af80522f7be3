//! SIGTERM drains; a second one ends at once.

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::{self, Stack};
use node::api::LinkState;

use super::super::{page, start};

/// Keeps the feed from bringing anything to Postgres, until it is dropped.
fn hold_the_feed(stack: &Stack) -> Result<Central> {
    let holder = Central::connect(&stack.central.url())?;
    holder.query("BEGIN")?;
    holder.query("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")?;
    Ok(holder)
}

fn ask_to_end(stack: &mut Stack) -> Result<()> {
    stack.server.running().context("it runs")?.ask_to_end();
    Ok(())
}

fn log(stack: &Stack) -> Result<String> {
    Ok(std::fs::read_to_string(stack.folder().join("logs/sync-server.log"))?)
}

#[test]
fn a_server_that_stops_says_so_first_tells_its_tills_and_ends_well() -> Result<()> {
    let mut stack = start(1)?;
    cashier::begin(stack.tills[0].client())?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    // The feed cannot end its work, so that the stop takes as long as it may and can be watched.
    let holder = hold_the_feed(&stack)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    let regional = || Ok((stack.tills[0].client().view()?.link.unsent == 0).then_some(()));
    stack::until("the sale to be at the region", PATIENCE, regional)?;

    let ready = format!("{}/readyz", stack.server.web_url());
    assert_eq!(page(&ready)?.0, 200);
    ask_to_end(&mut stack)?;
    // While it drains, the page is there and says no; never again yes.
    let said = || match page(&ready) {
        Ok((503, _)) => Ok(Some(true)),
        Ok((_, _)) => Ok(None),
        Err(_) => Ok(Some(false)),
    };
    ensure!(stack::until("a 503", PATIENCE, said)?, "the page was gone before it said that the server stops");
    cashier::wait_for_link(stack.tills[0].client(), LinkState::Offline)?;
    let ended = stack.server.running().context("it was started")?.wait_for_end(PATIENCE)?;
    assert_eq!(ended.code(), Some(0), "{}", log(&stack)?);
    let log = log(&stack)?;
    ensure!(log.contains("has not taken the last entries yet"), "{log}");
    let place = |event: &str| log.rfind(&format!("event=\"{event}\"")).with_context(|| format!("{event} is not in {log}"));
    let (stopping, gone, stopped) = (place("stopping")?, place("device_disconnected")?, place("stopped")?);
    ensure!(stopping < gone && gone < stopped, "{log}");
    // The till was told why; that it then tries again and finds nobody is another line.
    let till = std::fs::read_to_string(stack.folder().join("logs/till-1.log"))?;
    ensure!(till.contains("the server is stopping"), "{till}");

    // What was left comes after the next start.
    drop(holder);
    stack.server.stop();
    stack.server.start()?;
    cashier::wait_until_sent(stack.tills[0].client())
}

#[test]
fn a_second_signal_ends_a_server_at_once_and_loses_nothing() -> Result<()> {
    let mut stack = start(1)?;
    cashier::begin(stack.tills[0].client())?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    let holder = hold_the_feed(&stack)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    let regional = || Ok((stack.tills[0].client().view()?.link.unsent == 0).then_some(()));
    stack::until("the sale to be at the region", PATIENCE, regional)?;
    ask_to_end(&mut stack)?;
    let stopping = || Ok(log(&stack)?.contains("stopping").then_some(()));
    stack::until("the first signal to be heard", PATIENCE, stopping)?;
    ask_to_end(&mut stack)?;
    let ended = stack.server.running().context("it was started")?.wait_for_end(PATIENCE)?;
    assert_eq!(ended.code(), Some(1), "{}", log(&stack)?);
    ensure!(log(&stack)?.contains("a second signal"));
    drop(holder);
    stack.server.stop();
    stack.server.start()?;
    cashier::wait_until_sent(stack.tills[0].client())
}
