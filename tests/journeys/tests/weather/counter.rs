//! A clumsy cashier in a real browser: taps twice, leaves a finger on Enter, scans what nobody knows. One sale and one receipt each.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack;
use node::api::PrintState;
use serde_json::{Value, json};

use super::support::*;

#[test]
fn taps_too_many_and_a_finger_on_enter_make_one_sale_each() -> Result<()> {
    let stack = at_work(1, true)?;
    let till = stack.tills[0].client();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("weather-counter");
    let asked = json!({
        "page": till.page(), "shots": pictures, "unknown": "4006381333931",
        "code": "85123A", "name": "WHITE HANGING HEART T-LIGHT HOLDER", "price": "£2.95", "twice": "£5.90",
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/clumsy.mjs");
    let output = Command::new("node").arg(&script).arg(asked.to_string()).output().context("could not start node")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} failed:\n{said}{complained}", script.display());
    let found: Value = serde_json::from_str(said.trim()).with_context(|| format!("{} said {said:?}", script.display()))?;
    let receipts: Vec<&str> = found["receipts"].as_array().context("receipts")?.iter().filter_map(Value::as_str).collect();
    eprintln!("{found:#}");

    // What the screen showed is what was sold, printed and kicked, each once: four sales and one refund.
    let printed = || {
        let view = till.view()?;
        let confirmed = view.last_order.as_ref().and_then(|o| o.print) == Some(PrintState::Confirmed);
        Ok(Some(view).filter(|view| view.print_jobs.is_empty() && confirmed))
    };
    let view = stack::until("the last receipt", PATIENCE, printed)?;
    let shift = view.shift.context("the shift is open")?;
    assert_eq!((shift.sales, shift.refunds, shift.sales_minor, shift.refunds_minor), (4, 1, 4 * 295, 295));
    assert_eq!(shift.expected_minor, 10_000 + 3 * 295);
    let orders: Vec<String> = till.orders(50)?.into_iter().rev().map(|order| order.receipt).collect();
    assert_eq!(orders, receipts);
    let paper = stack.printers[0].receipts()?;
    assert_eq!(paper.len(), receipts.len());
    for (sheet, receipt) in paper.iter().zip(&receipts) {
        let sheet = std::fs::read_to_string(sheet.with_extension("json"))?;
        ensure!(sheet.contains(receipt) && !sheet.contains("COPY"), "{receipt} was due:\n{sheet}");
    }
    let log = std::fs::read_to_string(paper[0].with_file_name("paper.log"))?;
    let events = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(events.iter().filter(|event| event["event"] == "pulse").count(), receipts.len(), "{log}");
    cashier::wait_until_sent(till)?;
    agree(&stack.central.url(), 5)
}
