//! Servers that are not the right one, and codes that are not the right ones.

use anyhow::{Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::till::Till;
use journeys::stack::{self, Plan, STORE, Stack};
use node::api::LinkState;

use super::support::*;

const WRONG_CODE: &str =
    "the sync server did not admit this device: the code is wrong, used or too old: ask the manager for a new one";
const TOO_MANY: &str = "the sync server did not admit this device: too many wrong codes: every pending code was ended, ask the manager for a new one";
const OTHER_SERVER: &str =
    "the server at … is not the one that the enrolment names: correct the address, or enrol with a link from it";
const NOBODY_THERE: &str = "no answer from the sync server at …: it does not run, or this till has no network";

fn empty_region() -> Result<Stack> {
    let plan = Plan { tills: 0, printers: false, links: false, ..Plan::for_test()? };
    plan.start(&mut |text| eprintln!("{text}"))
}

fn refusal(till: &Till, link: &str) -> String {
    format!("{:#}", till.enrol(link).expect_err("this enrolment must be refused"))
}

/// The link with another code in it.
fn with_code(link: &str, code: &str) -> String {
    let (before, after) = (link.rfind('/').expect("a slash") + 1, link.find('#').expect("a fingerprint"));
    format!("{}{code}{}", &link[..before], &link[after..])
}

#[test]
fn wrong_codes_and_the_sixth_try_at_the_program() -> Result<()> {
    let stack = empty_region()?;
    let (link, second) = {
        let manager = stack.manager()?;
        (manager.enrolment_code(STORE, "Till 1")?.link, manager.enrolment_code(STORE, "Till 2")?.link)
    };
    let mut till = till_on(&stack, "Till 1", &stack.folder().join("till-1"))?;
    for no_link in ["", "0Z0789ABCZ", "http://127.0.0.1/", &link[..link.len() - 1], &link.replace("evertill://", "evertill:/")] {
        says(
            &refusal(&till, no_link),
            "the enrolment link was not copied whole: not an enrolment link; it looks like evertill://HOST:PORT/CODE#FINGERPRINT and is copied whole from the manager page",
        )?;
    }
    for n in 0..5 {
        says(&refusal(&till, &with_code(&link, &format!("ZZZZZZZZZ{n}"))), WRONG_CODE)?;
    }
    says(&refusal(&till, &with_code(&link, "ZZZZZZZZZ9")), TOO_MANY)?;
    // Guessing has ended the good ones as well, and a new one works.
    says(&refusal(&till, &link), WRONG_CODE)?;
    says(&refusal(&till, &second), WRONG_CODE)?;
    ensure!(!till.data().join("device/identity.json").exists(), "a refused device has an identity");
    let new = stack.manager()?.enrolment_code(STORE, "Till 1")?.link;
    till.enrol(&new)?;
    till.start()?;
    cashier::begin(till.client())?;
    cashier::sell(till.client(), 0)?;
    cashier::wait_until_sent(till.client())?;
    agree(&stack.central.url(), 1)
}

#[test]
fn a_server_with_a_certificate_of_another_authority_gets_nothing() -> Result<()> {
    let (mut ours, theirs) = (at_work(1, false)?, empty_region()?);
    cashier::wait_until_sent(ours.tills[0].client())?;
    ours.tills[0].stop();

    // Someone else's server at the address where ours used to be; then nobody at all.
    let nobody = Ports::Free.choose("nobody", Protocol::Udp, 0, &mut |_| {})?;
    let mut sold = 0;
    for (server, sentence) in [(theirs.server.sync_address(), OTHER_SERVER), (nobody, NOBODY_THERE)] {
        let mut astray = till_at(&ours, "astray", ours.tills[0].data(), server)?;
        astray.start()?;
        cashier::sign_in(astray.client())?;
        cashier::sell(astray.client(), sold)?;
        sold += 1;
        let told = stack::until("the till to say why there is no link", PATIENCE, || Ok(astray.client().view()?.link.problem))?;
        says(&told, sentence)?;
        let link = astray.client().view()?.link;
        ensure!(link.state == LinkState::Offline && link.unsent >= sold as u64, "something was sent: {link:?}");
    }
    ensure!(theirs.manager()?.devices()?.iter().all(|device| device.kind != "till"), "a stranger's till is in their list");

    // Back at its own server, everything arrives.
    ours.tills[0].start()?;
    cashier::wait_until_sent(ours.tills[0].client())?;
    agree(&ours.central.url(), sold as u64)
}

/// A region whose log is lost and begun anew knows no till: while Postgres is away as well it turns the till away with a sentence, and the till sells on.
/// Once Postgres is there, the log has everything back, and nothing was lost or doubled.
#[test]
fn a_till_that_is_not_enrolled_at_this_server_is_told() -> Result<()> {
    let mut stack = at_work(1, false)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 1)?;
    stack.server.stop();
    // The same authority, another log: the devices of before are not in it.
    let log = stack.server.config().with_file_name("data").join("region.db");
    settle(&log)?;
    std::fs::remove_file(&log)?;
    stack.server.command(&["init"], None)?;
    stack.central.stop()?;
    stack.server.start()?;
    let turned_away = || {
        let problem = stack.tills[0].client().view()?.link.problem;
        Ok(problem.filter(|told| told.contains("closed the connection")))
    };
    let told = stack::until("the till to be turned away", PATIENCE, turned_away)?;
    assert_eq!(told, "the sync server closed the connection: this device is not enrolled here");
    cashier::sell(stack.tills[0].client(), 1)?;

    stack.central.start()?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 2)
}
