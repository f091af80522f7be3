//! A cashier's day in a real browser with the sync server down, its paper read back, and then the manager's report.
//!
//! Pictures of every step go to `target/tmp/journey-sale` (`CARGO_TARGET_TMPDIR`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::{self, MANAGER, Plan, Stack};
use node::api::LinkState;
use serde_json::{Value, json};

/// What the cashier saw.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Day {
    receipt: String,
    refund_receipt: String,
    unsent: u64,
}

#[test]
fn a_day_at_the_till_in_a_browser_then_in_the_managers_report() -> Result<()> {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journey-sale");
    let plan = Plan { tills: 1, links: false, ..Plan::for_test()? };
    let mut stack = plan.start(&mut |text| eprintln!("{text}"))?;
    // The till has its store, staff and catalogue; from now on it is on its own.
    let till = stack.tills[0].client().clone();
    cashier::sign_in(&till)?;
    till.command(&node::api::Command::SignOut {})?;
    stack.server.kill();
    cashier::wait_for_link(&till, LinkState::Offline)?;

    // 2.95 and three times 12.75: 41.20. One cake stand comes back; the drawer should hold 100.00 + 41.20 - 12.75.
    let day: Day = browse(
        "sale.mjs",
        &json!({
            "page": till.page(), "staff": "Ana", "pin": "1234", "float": "100", "shots": pictures,
            "scan": {"code": "85123A", "name": "WHITE HANGING HEART T-LIGHT HOLDER", "total": "£2.95"},
            "search": {"text": "regency cakestand", "name": "REGENCY CAKESTAND 3 TIER"},
            "quantity": "3", "total": "£41.20", "tender": "50", "change": "£8.80", "refund": "£12.75",
            "counted": "128.40", "expected": "£128.45", "difference": "£0.05",
        }),
    )?;
    ensure!(day.unsent >= 4, "the till was not on its own: {} commits unsent", day.unsent);
    look_at_paper(&stack, &day)?;

    stack.server.start()?;
    cashier::wait_for_link(&till, LinkState::Online)?;
    cashier::wait_until_sent(&till)?;
    look_at_the_device(&stack)?;
    let today = stack::until("the report to be complete", PATIENCE, || complete_day(&stack))?;
    assert_eq!((today.sales, today.sales_minor, today.refunds, today.refunds_minor), (1, 4_120, 1, 1_275));
    let seen: Value = browse(
        "manager.mjs",
        &json!({
            "page": stack.server.web_url(), "name": MANAGER.0, "password": MANAGER.1, "shots": pictures,
            "net": "£28.45", "refunds": "£12.75", "till": "Till 1",
        }),
    )?;
    eprintln!("{seen}");
    Ok(())
}

/// The manager's list knows of the till what it said when it greeted.
fn look_at_the_device(stack: &Stack) -> Result<()> {
    let heard = || {
        let devices = stack.manager()?.devices()?;
        Ok(devices.into_iter().find(|d| d.name == "Till 1" && d.clock_drift_ms.is_some() && !d.series.is_empty()))
    };
    let till = stack::until("the till to be heard", PATIENCE, heard)?;
    assert!(till.connected && till.software.starts_with("evertill-node "), "{till:?}");
    // One machine, one clock: what is left is the way of the greeting.
    assert!(till.clock_drift_ms.is_some_and(|ms| ms.abs() < 60_000), "{till:?}");
    Ok(())
}

/// The one day with business, once its coverage is complete.
fn complete_day(stack: &Stack) -> Result<Option<sync_server::web_api::SalesRow>> {
    let shift = stack.tills[0].client().view()?.last_closed_shift.context("the shift is closed")?.shift;
    let report = stack.manager()?.sales(&shift.business_day, &shift.business_day, sync_server::web_api::GroupBy::Day)?;
    Ok(report.rows.into_iter().next().filter(|_| report.coverage.complete))
}

/// The paper has the numbers that the screen showed; the drawer was opened once for each order and never else.
fn look_at_paper(stack: &Stack, day: &Day) -> Result<()> {
    let pictures = stack.printers[0].receipts()?;
    eprintln!("{pictures:?}");
    let text = |picture: &PathBuf| paper_text(&picture.with_extension("json"));
    let sheets = pictures.iter().map(text).collect::<Result<Vec<_>>>()?;
    let with = |number: &str| sheets.iter().filter(|sheet| sheet.contains(number)).collect::<Vec<_>>();
    assert_eq!(sheets.len(), 2, "{sheets:#?}");
    let sale = with(&day.receipt).into_iter().find(|sheet| sheet.contains("41.20")).context("no receipt of the sale")?;
    for part in ["WHITE HANGING HEART", "REGENCY CAKESTAND", "38.25", "50.00", "8.80", "Ana"] {
        ensure!(sale.contains(part), "the receipt has no {part}:\n{sale}");
    }
    ensure!(!sale.contains("COPY"), "the original says COPY:\n{sale}");
    let refund = with(&day.refund_receipt).into_iter().next().context("no receipt of the refund")?;
    ensure!(refund.contains("12.75") && refund.contains(&day.receipt), "the refund does not name its sale:\n{refund}");
    for picture in &pictures {
        let head = std::fs::read(picture)?;
        ensure!(head.starts_with(b"\x89PNG"), "{} is no picture", picture.display());
        let shown = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journey-sale");
        std::fs::copy(picture, shown.join(picture.file_name().context("a picture has a name")?))?;
    }

    let log = pictures[0].with_file_name("paper.log");
    let log = std::fs::read_to_string(log)?;
    let events = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let pulses = events.iter().filter(|event| event["event"] == "pulse").count();
    assert_eq!(pulses, 2, "one for the sale, one for the refund:\n{log}");
    Ok(())
}

/// The lines of a sheet's transcript.
fn paper_text(transcript: &Path) -> Result<String> {
    let transcript: Value = serde_json::from_str(&std::fs::read_to_string(transcript)?)?;
    let elements = transcript["elements"].as_array().context("a transcript has elements")?;
    let mut text = String::new();
    let mut y = None;
    for element in elements.iter().filter(|element| element["kind"] == "text") {
        if y.is_some_and(|y| y != element["y"]) {
            text.push('\n');
        }
        y = Some(element["y"].clone());
        text.push_str(element["text"].as_str().unwrap_or_default());
    }
    ensure!(transcript["violations"].as_array().is_some_and(Vec::is_empty), "a careful printer would mind: {transcript}");
    Ok(text)
}

/// Runs a script with a real browser, and reads what it found.
fn browse<T: serde::de::DeserializeOwned>(script: &str, asked: &Value) -> Result<T> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e").join(script);
    let output = Command::new("node").arg(&script).arg(asked.to_string()).output().context("could not start node")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} failed:\n{said}{complained}", script.display());
    serde_json::from_str(said.trim()).with_context(|| format!("{} said {said:?}", script.display()))
}
