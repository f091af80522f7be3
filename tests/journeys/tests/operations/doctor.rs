//! The doctor at a till that sells, and at one that cannot reach what it needs.

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::binaries::Binaries;
use journeys::stack::{self, Plan, Stack};
use node::api::{Command, LinkState, PrintState};
use serde_json::Value;

use super::super::run;

/// Subject, level, what was found.
type Finding = (String, String, String);

/// The doctor's findings at the first till. Asks with the addresses that the till was started with.
fn examine(stack: &Stack) -> Result<(Option<i32>, Vec<Finding>)> {
    let till = &stack.tills[0];
    let data = till.data().to_string_lossy().into_owned();
    let listen = till.client().origin().trim_start_matches("http://").to_owned();
    let server = till.link.as_ref().context("a cable")?.address().to_string();
    let printer = stack.printers[0].address();
    let arguments = ["--data", &data, "doctor", "--json", "--listen", &listen, "--server", &server, "--printer", &printer];
    let (code, said) = run(&Binaries::find()?.node(), &arguments)?;
    let report: Value = serde_json::from_str(&said)?;
    let text =
        |finding: &Value, key: &str| finding[key].as_str().map(str::to_owned).with_context(|| format!("{key} of {finding}"));
    let findings = report["findings"].as_array().context("findings")?.iter();
    let findings: Result<Vec<Finding>> =
        findings.map(|f| Ok((text(f, "subject")?, text(f, "level")?, text(f, "found")?))).collect();
    Ok((code, findings?))
}

fn level<'a>(findings: &'a [Finding], subject: &str) -> Result<(&'a str, &'a str)> {
    let found = findings.iter().find(|(s, _, _)| s == subject).with_context(|| format!("nothing about {subject}"))?;
    Ok((&found.1, &found.2))
}

#[test]
fn a_healthy_till_is_healthy_and_a_cut_off_one_is_told_what_is_away() -> Result<()> {
    let plan = Plan { tills: 1, ..Plan::for_test()? };
    let mut stack = plan.start(&mut |text| eprintln!("{text}"))?;
    cashier::begin(stack.tills[0].client())?;
    cashier::sell(stack.tills[0].client(), 0)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    // On a machine that is too busy for the printer's answer, a receipt waits for a person who has seen the paper.
    let printed = || {
        let jobs = stack.tills[0].client().view()?.print_jobs;
        for job in jobs.iter().filter(|job| job.state == PrintState::Uncertain) {
            stack.tills[0].client().command(&Command::ResolvePrint { job: job.id, came_out: true })?;
        }
        Ok(jobs.is_empty().then_some(()))
    };
    stack::until("the receipt", PATIENCE, printed)?;

    let healthy = || {
        let (code, findings) = examine(&stack)?;
        Ok(Some(findings).filter(|all| code == Some(0) && all.iter().all(|(_, level, _)| level == "ok")))
    };
    let findings = stack::until("every finding to be ok", PATIENCE, healthy)?;
    let subjects: Vec<&str> = findings.iter().map(|(subject, _, _)| subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "configuration",
            "data folder",
            "secrets",
            "program",
            "identity",
            "damaged files",
            "replica",
            "log",
            "incarnation",
            "unsent",
            "print queue",
            "keeps",
            "certificate",
            "sync server",
            "clock",
            "printer",
            "disk",
        ]
    );
    ensure!(level(&findings, "sync server")?.1.contains("answers in"), "{findings:?}");
    // The look disturbed nothing: the till is still on the connection that it had.
    let log = std::fs::read_to_string(stack.folder().join("logs/sync-server.log"))?;
    ensure!(!log.contains("took over") && log.matches("device connected").count() == 1, "{log}");
    cashier::wait_for_link(stack.tills[0].client(), LinkState::Online)?;

    // Server and printer gone, with a sale that nobody else has and a receipt that waits.
    stack.tills[0].cut();
    stack.printers[0].switch_off();
    cashier::sell(stack.tills[0].client(), 1)?;
    let waits = || Ok((!stack.tills[0].client().view()?.print_jobs.is_empty()).then_some(()));
    stack::until("the receipt to wait", PATIENCE, waits)?;
    let (code, findings) = examine(&stack)?;
    assert_eq!(code, Some(0), "a till that sells is not broken");
    for subject in ["sync server", "printer", "print queue"] {
        assert_eq!(level(&findings, subject)?.0, "warning", "{subject}: {findings:?}");
    }
    let (unsent, found) = level(&findings, "unsent")?;
    ensure!(unsent == "ok" && found.starts_with("1 commits, the oldest of"), "{found}");
    Ok(())
}
