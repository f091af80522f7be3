//! Who may come in: a code works once, a wrong one does not, and a till talks to no other authority than the one it was enrolled by.

use anyhow::{Context, Result};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::till::Till;
use journeys::stack::{self, Plan, STORE, Stack};
use node::api::LinkState;

fn start() -> Result<Stack> {
    let plan = Plan { tills: 0, printers: false, links: false, ..Plan::for_test()? };
    plan.start(&mut |text| eprintln!("{text}"))
}

/// A till that is not enrolled yet.
fn new_till(stack: &Stack, plan: &Plan, name: &str) -> Result<Till> {
    let listen = Ports::Free.choose(name, Protocol::Tcp, 0, &mut |_| {})?;
    let folder = stack.folder().join(name.replace(' ', "-"));
    let log = stack.folder().join(format!("{name}.log"));
    Ok(Till::prepare(name, &plan.binaries.node(), &folder, &log, listen, stack.server.sync_address()))
}

fn code(stack: &Stack, name: &str) -> Result<String> {
    Ok(stack.manager()?.enrolment_code(STORE, name)?.link)
}

/// The same link with another last character in the part between the two separators.
fn changed(link: &str, before: char, after: Option<char>) -> Result<String> {
    let start = link.rfind(before).context("the link has no such part")? + 1;
    let end = after.map_or(Some(link.len()), |after| link[start..].find(after).map(|at| at + start));
    let end = end.context("the link has no such part")?;
    let last = link[..end].chars().last().context("the part is empty")?;
    let other = if last == '2' { '3' } else { '2' };
    Ok(format!("{}{other}{}", &link[..end - last.len_utf8()], &link[end..]))
}

fn refusal(till: &Till, link: &str) -> String {
    let error = till.enrol(link).expect_err("this enrolment must be refused");
    let text = format!("{error:#}");
    eprintln!("{text}");
    text
}

#[test]
fn a_code_works_once_and_a_wrong_one_never() -> Result<()> {
    let stack = start()?;
    let plan = Plan::for_test()?;
    let link = code(&stack, "Till 1")?;

    let mut till = new_till(&stack, &plan, "Till 1")?;
    let wrong_code = refusal(&till, &changed(&link, '/', Some('#'))?);
    assert!(wrong_code.contains("the code is wrong, used or too old"), "{wrong_code}");
    // The fingerprint of another authority: whoever answers there is not the server that the link is from.
    let wrong_authority = refusal(&till, &changed(&link, '#', None)?);
    let not_the_one = "that UDP or TCP passes: the server at ";
    assert!(
        wrong_authority.contains("the link is not from another server") && wrong_authority.contains(not_the_one),
        "{wrong_authority}"
    );
    let what_to_do = "is not the one that the enrolment names: correct the address, or enrol with a link from it";
    assert!(wrong_authority.contains(what_to_do), "{wrong_authority}");

    // Neither attempt has used the code up.
    till.enrol(&link)?;
    till.start()?;
    cashier::wait_for_link(till.client(), LinkState::Online)?;
    cashier::begin(till.client())?;
    cashier::sell(till.client(), 0)?;
    cashier::wait_until_sent(till.client())?;

    let second = new_till(&stack, &plan, "Till 2")?;
    let used = refusal(&second, &link);
    assert!(used.contains("the code is wrong, used or too old"), "{used}");
    let devices = stack.manager()?.devices()?;
    assert_eq!(devices.iter().filter(|device| device.kind == "till").count(), 1);
    Ok(())
}

#[test]
fn a_till_does_not_talk_to_another_authority() -> Result<()> {
    let (ours, theirs) = (start()?, start()?);
    let plan = Plan::for_test()?;
    let mut till = new_till(&ours, &plan, "Till 1")?;
    till.enrol(&code(&ours, "Till 1")?)?;
    till.start()?;
    cashier::begin(till.client())?;
    cashier::wait_until_sent(till.client())?;
    till.stop();

    // Someone else's server at the address where ours used to be.
    let mut led_astray = Till::prepare(
        "Till 1",
        &plan.binaries.node(),
        till.data(),
        &ours.folder().join("astray.log"),
        free()?,
        theirs.server.sync_address(),
    );
    led_astray.start()?;
    cashier::sign_in(led_astray.client())?;
    cashier::sell(led_astray.client(), 0)?;
    let told = || Ok(led_astray.client().view()?.link.problem);
    let problem = stack::until("the till to say why there is no link", PATIENCE, told)?;
    eprintln!("{problem}");
    let view = led_astray.client().view()?;
    assert_eq!(view.link.state, LinkState::Offline);
    assert!(view.link.unsent > 0, "the sale went to someone else's server");
    assert!(theirs.manager()?.devices()?.iter().all(|device| device.kind != "till"));
    led_astray.stop();

    // Back at its own server, the sale arrives.
    till.start()?;
    cashier::wait_until_sent(till.client())?;
    Ok(())
}

fn free() -> Result<std::net::SocketAddr> {
    Ports::Free.choose("a till", Protocol::Tcp, 0, &mut |_| {})
}
