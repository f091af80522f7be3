//! Postgres that refuses, hangs, or is restarted in the middle of a batch: nobody at the counter notices, the manager is told, and
//! afterwards every sale is there once.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::central::Central;
use journeys::stack::{self, MANAGER, Stack};
use node::api::Durability;

use super::proxy::{Proxy, Weather};
use super::support::*;

const AWAY: &str = "the central database does not answer; tills go on without it, check that it runs and that the URL is right";
const SLOW: &str = "the central database took more than … ms to …; check its load and the network to it";
const NO_ENTRY: &str =
    "the central database lets nobody in with this URL; check the user, the password and the name of the database";
const TOLD: &str = "The central database does not answer. Tills go on selling; try again in a minute.";

/// A stack whose server reaches Postgres over a way of ours.
fn behind_a_proxy(tills: usize) -> Result<(Stack, Proxy)> {
    let mut stack = at_work(tills, false)?;
    for till in &stack.tills {
        cashier::wait_until_sent(till.client())?;
    }
    let proxy = Proxy::to(&stack.central.url())?;
    let url = proxy.url(&stack.central.url());
    restart_with(&mut stack, &url)?;
    Ok((stack, proxy))
}

fn restart_with(stack: &mut Stack, url: &str) -> Result<()> {
    stack.server.stop();
    let text = std::fs::read_to_string(stack.server.config())?;
    let at = text.find("[central]").context("the configuration names Postgres")?;
    std::fs::write(
        stack.server.config(),
        format!("{}[central]\nurl = \"{url}\"\n\n[metrics]\nlisten = \"127.0.0.1:0\"\n", &text[..at]),
    )?;
    stack.server.start()
}

fn server_log(stack: &Stack) -> String {
    std::fs::read_to_string(stack.folder().join("logs/sync-server.log")).unwrap_or_default()
}

fn wait_for_log(stack: &Stack, sentence: &str) -> Result<()> {
    let said = || Ok(says(&server_log(stack), sentence).ok());
    stack::until(&format!("the server to say: {sentence}"), PATIENCE, said).with_context(|| server_log(stack))
}

/// Sells at every till, and waits until the region has it all and central does not.
fn sell_without_central(stack: &Stack, sales: usize) -> Result<()> {
    for till in &stack.tills {
        for number in 0..sales {
            cashier::sell(till.client(), number)?;
        }
        let regional = || Ok(Some(till.client().view()?).filter(|view| view.link.unsent == 0));
        let view = stack::until("the region to take the sales", PATIENCE, regional)?;
        ensure!(view.link.not_central >= sales as u64, "central cannot have {} of {sales}", view.link.not_central);
        assert_eq!(view.last_order.context("something was sold")?.durability, Durability::Regional);
    }
    Ok(())
}

/// What the manager page answers, which must come within the time of any request.
fn page_answer(stack: &Stack, path: &str, body: Option<&str>) -> Result<(u16, String)> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60))).build().into();
    let url = format!("{}{path}", stack.server.web_url());
    let mut response = match body {
        Some(body) => agent.post(url).header("content-type", "application/json").send(body)?,
        None => agent.get(url).call()?,
    };
    Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
}

fn managers_are_told(stack: &Stack) -> Result<()> {
    let sign_in = serde_json::json!({"name": MANAGER.0, "password": MANAGER.1}).to_string();
    let (status, body) = page_answer(stack, "/api/v1/session", Some(&sign_in))?;
    let told: serde_json::Value = serde_json::from_str(&body)?;
    ensure!(status == 503 && told["code"] == "central_away" && told["message"] == TOLD, "{status}: {body}");
    let (status, body) = page_answer(stack, "/healthz", None)?;
    ensure!(status == 200, "the server itself is well: {status}: {body}");
    Ok(())
}

#[test]
fn postgres_refuses_and_then_takes_everything() -> Result<()> {
    let (stack, proxy) = behind_a_proxy(2)?;
    proxy.set(Weather::Refusing);
    sell_without_central(&stack, 5)?;
    wait_for_log(&stack, AWAY)?;
    managers_are_told(&stack)?;
    proxy.set(Weather::Fair);
    for till in &stack.tills {
        cashier::wait_until_sent(till.client())?;
    }
    agree(&stack.central.url(), 10)
}

#[test]
fn postgres_lets_nobody_in_and_the_log_says_what_to_check() -> Result<()> {
    let mut stack = at_work(1, false)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    let right = stack.central.url();
    let (_, parameters) = right.split_once('?').context("the cluster is behind a socket")?;
    let nowhere = format!("postgresql:///no_such_database?{parameters}");
    restart_with(&mut stack, &nowhere)?;
    sell_without_central(&stack, 2)?;
    wait_for_log(&stack, NO_ENTRY)?;
    restart_with(&mut stack, &right)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 2)
}

#[test]
fn postgres_hangs_and_nobody_waits_for_it() -> Result<()> {
    let (stack, proxy) = behind_a_proxy(1)?;
    proxy.set(Weather::Hanging);
    sell_without_central(&stack, 5)?;
    managers_are_told(&stack)?;
    wait_for_log(&stack, SLOW)?;
    // Still nobody waits, also not who comes while the server waits.
    sell_without_central(&stack, 5)?;
    proxy.set(Weather::Fair);
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 10)
}

/// Falls silent at many places of the conversation, and Postgres is killed there with the batch half in it.
#[test]
fn postgres_restarts_in_the_middle_of_a_batch_and_every_sale_is_there_once() -> Result<()> {
    let (mut stack, proxy) = behind_a_proxy(1)?;
    let mut orders = 0;
    for (round, bytes) in [1, 700, 3_000, 9_000, 20_000].into_iter().enumerate() {
        proxy.set(Weather::Refusing);
        sell_without_central(&stack, 60)?;
        orders += 60;
        proxy.set(Weather::Fair);
        proxy.hang_after(bytes);
        stack::until("the conversation to break off", PATIENCE, || Ok(proxy.is_hanging().then_some(())))
            .with_context(|| format!("{} bytes carried", proxy.carried()))?;
        let Central::Private(cluster) = &mut stack.central else { bail!("a cluster of our own was asked for") };
        if round % 2 == 0 {
            cluster.crash()?
        } else {
            cluster.stop()?
        }
        // What was under way breaks, as a restart breaks it.
        proxy.set(Weather::Refusing);
        cluster.restart()?;
        cashier::sell(stack.tills[0].client(), round)?;
        orders += 1;
        proxy.set(Weather::Fair);
        cashier::wait_until_sent(stack.tills[0].client())?;
        agree(&stack.central.url(), orders)?;
    }
    stack.server.stop();
    stack.server.command(&["reproject", "--check"], None)?;
    Ok(())
}
