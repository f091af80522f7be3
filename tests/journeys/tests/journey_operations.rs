//! What an operator does: watch, stop, back up, restore, read logs, and ask a till what is wrong with it.

mod operations {
    mod backup;
    mod doctor;
    mod logs;
    mod scrape;
    mod stopping;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use journeys::stack::central::CentralChoice;
use journeys::stack::{Plan, Stack};

/// Tills without printers and a database of their own.
fn start(tills: usize) -> Result<Stack> {
    let plan = Plan { tills, printers: false, central: CentralChoice::Private, ..Plan::for_test()? };
    plan.start(&mut |text| eprintln!("{text}"))
}

/// The status and body of a page. Any status is an answer.
fn page(url: &str) -> Result<(u16, String)> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(url).call().with_context(|| url.to_owned())?;
    Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
}

/// The samples of a scrape: name with labels, and value.
fn scrape(url: &str) -> Result<BTreeMap<String, f64>> {
    let (status, text) = page(url)?;
    anyhow::ensure!(status == 200 && text.ends_with("# EOF\n"), "{status}: {text}");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
}

/// Runs a program to its end, whatever that is.
fn run(program: &Path, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(arguments)
        .env_remove("EVERTILL_CENTRAL_URL")
        .output()
        .with_context(|| format!("{} {arguments:?}", program.display()))?;
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    eprintln!("{arguments:?} → {status}\n{said}");
    Ok((status.code(), said))
}
