//! Printers without paper, with an open cover, stuck, gone: the sale is done, the cashier reads why no receipt comes, and when the printer
//! is well again each receipt comes out once.

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::{self, Stack};
use node::api::{Command, DrawerState, PrintState, TillView};
use serde_json::json;

use super::support::*;

/// What is wrong with the printer, the switches of the virtual one, the sentence.
type Row = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("No paper", r#"{"paper":"out"}"#, "the printer is out of paper: put in a new roll"),
    ("The cover is open", r#"{"cover_open":true}"#, "the cover of the printer is open: close it"),
    ("The cutter is stuck", r#"{"cutter_error":true}"#, "the cutter of the printer is stuck: open the cover, clear it, close it"),
];
const GONE: &str = "the printer cannot be reached: check that it is switched on and plugged in";

fn set_faults(stack: &Stack, faults: &str) -> Result<()> {
    let faults: serde_json::Value = serde_json::from_str(faults)?;
    ureq::post(format!("{}fault", stack.printers[0].page())).send_json(faults).context("the virtual printer takes faults")?;
    Ok(())
}

fn view_when(stack: &Stack, what: &str, holds: impl Fn(&TillView) -> bool) -> Result<TillView> {
    let seen = || Ok(Some(stack.tills[0].client().view()?).filter(|view| holds(view)));
    stack::until(what, PATIENCE, seen).with_context(|| format!("{:?}", stack.tills[0].client().view().map(|v| v.print_jobs)))
}

fn waits_with(view: &TillView, receipts: usize, sentence: &str) -> bool {
    let jobs = &view.print_jobs;
    jobs.len() == receipts
        && jobs.iter().all(|job| job.state == PrintState::Queued)
        && jobs[0].problem.as_deref() == Some(sentence)
}

/// The texts of all that came out, oldest first.
fn paper(stack: &Stack) -> Result<Vec<String>> {
    stack.printers[0].receipts()?.iter().map(|picture| Ok(std::fs::read_to_string(picture.with_extension("json"))?)).collect()
}

#[test]
fn a_printer_that_cannot_print_holds_up_receipts_and_nobody_else() -> Result<()> {
    let mut stack = at_work(1, true)?;
    let mut sold = Vec::new();
    for (wrong, faults, sentence) in ROWS {
        eprintln!("{wrong}");
        set_faults(&stack, faults)?;
        check(&mut stack, &mut sold, sentence, |stack| set_faults(stack, "{}"))?;
    }
    eprintln!("Gone");
    stack.printers[0].switch_off();
    let drawer = check(&mut stack, &mut sold, GONE, |stack| stack.printers[0].switch_on())?;
    assert_eq!(drawer, Some(DrawerState::OpenByKey), "the cashier is told to use the key");

    let sums = stack.tills[0].client().view()?.shift.context("a shift")?;
    ensure!(sums.sales == sold.len() as u64, "{sums:?}");
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), sold.len() as u64)
}

/// Two sales while the printer is unwell, then it is healed: two receipts, in order, and no copy. Answers what became of the drawer.
fn check(
    stack: &mut Stack,
    sold: &mut Vec<String>,
    sentence: &str,
    heal: impl FnOnce(&mut Stack) -> Result<()>,
) -> Result<Option<DrawerState>> {
    let before = paper(stack)?.len();
    for number in 0..2 {
        sold.push(cashier::sell(stack.tills[0].client(), number)?.receipt);
    }
    let view = view_when(stack, sentence, |view| {
        waits_with(view, 2, sentence) && view.last_order.as_ref().is_some_and(|order| order.drawer.is_some())
    })?;
    let drawer = view.last_order.context("a sale")?.drawer;
    ensure!(paper(stack)?.len() == before, "something came out of a printer that cannot print");
    heal(stack)?;
    view_when(stack, "both receipts to be confirmed", |view| {
        view.print_jobs.is_empty() && view.last_order.as_ref().and_then(|o| o.print) == Some(PrintState::Confirmed)
    })?;
    let paper = paper(stack)?;
    assert_eq!(paper.len(), before + 2);
    for (sheet, receipt) in paper[before..].iter().zip(&sold[sold.len() - 2..]) {
        ensure!(sheet.contains(receipt.as_str()) && !sheet.contains("COPY"), "{receipt} was due:\n{sheet}");
    }
    Ok(drawer)
}

/// Half of the receipt is on paper: nobody but a person can know, so a person is asked, and another print says COPY.
#[test]
fn paper_that_ends_in_the_middle_of_a_receipt_is_a_question() -> Result<()> {
    let stack = at_work(1, true)?;
    let till = stack.tills[0].client();
    set_faults(&stack, &json!({"paper_out_after_lines": 4}).to_string())?;
    let sold = cashier::sell(till, 0)?;
    let asked = |view: &TillView| view.print_jobs.iter().any(|job| job.state == PrintState::Uncertain);
    let view = view_when(&stack, "the question about the receipt", asked)?;
    let job = view.print_jobs.first().context("a job")?;
    assert_eq!(
        (job.title.as_str(), job.problem.as_deref()),
        (sold.receipt.as_str(), Some("the printer is out of paper: put in a new roll"))
    );
    // Selling goes on; what comes after waits for paper, what is uncertain for a word.
    let next = cashier::sell(till, 1)?;
    set_faults(&stack, "{}")?;
    view_when(&stack, "the next receipt", |view| view.print_jobs.len() == 1 && asked(view))?;
    till.command(&Command::ResolvePrint { job: job.id, came_out: false })?;
    view_when(&stack, "the copy", |view| view.print_jobs.is_empty())?;
    let copies: Vec<_> = paper(&stack)?.into_iter().filter(|sheet| sheet.contains("COPY")).collect();
    ensure!(copies.len() == 1 && copies[0].contains(&sold.receipt), "{copies:#?}");
    ensure!(paper(&stack)?.iter().any(|sheet| sheet.contains(&next.receipt) && !sheet.contains("COPY")), "the next receipt");
    Ok(())
}
