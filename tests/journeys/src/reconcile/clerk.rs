//! Someone at a till who enters a script, command by command, and looks at the screen after each.
//!
//! Every answer is compared with what the file says, so that a wrong figure is found at the row that caused it and not
//! in a sum of hundreds of thousands.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalogue::Catalogue;
use super::invoices::InvoiceLine;
use super::plan::{Act, Job, REFUND_REASON};
use super::script::{Fault, Step};
use super::sums::Sums;

/// A till as a clerk sees it.
pub trait Counter {
    /// Sends one command and answers what the screen then shows.
    ///
    /// # Errors
    /// A refusal, or no answer.
    fn command(&mut self, command: &Value) -> Result<Screen>;
}

/// What is read of a till's answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Screen {
    /// The order being built.
    pub cart: Cart,
    /// The open shift.
    pub shift: Option<Shift>,
    /// The shift that was closed last.
    pub last_closed_shift: Option<ClosedShift>,
    /// The order that was settled last.
    pub last_order: Option<Settled>,
}

/// The order being built.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cart {
    /// The id that it will have.
    pub order: String,
    /// What is in it.
    pub lines: Vec<CartLine>,
    /// What it comes to; positive in a refund too.
    pub total_minor: i64,
}

/// One line of the cart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CartLine {
    /// Its amount.
    pub amount_minor: i64,
}

/// The open shift.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Shift {
    /// The day it counts for.
    pub business_day: String,
}

/// A closed shift.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ClosedShift {
    /// Counted less expected.
    pub difference_minor: i64,
}

/// A settled order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settled {
    /// Its id.
    pub order: String,
    /// What it came to; negative in a refund.
    pub total_minor: i64,
}

/// Enters a script. `fault` is called where the script says so, `done` after every invoice with its number of lines.
///
/// # Errors
/// The first command that was refused or answered with other figures than the file's.
pub fn work(
    counter: &mut impl Counter,
    catalogue: &Catalogue,
    steps: &[Step],
    mut fault: impl FnMut(Fault) -> Result<()>,
    mut done: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    for step in steps {
        match step {
            Step::OpenShift { day, float_minor } => open_shift(counter, &day.to_string(), *float_minor)?,
            Step::CloseShift { counted_minor } => close_shift(counter, *counted_minor)?,
            Step::Fault(what) => fault(*what).with_context(|| what.sentence())?,
            Step::Invoice(job) => {
                invoice(counter, catalogue, job).with_context(|| format!("invoice {}", job.number))?;
                done(job.acts.iter().map(|a| a.lines().len() as u64).sum())?;
            }
        }
    }
    Ok(())
}

fn open_shift(counter: &mut impl Counter, day: &str, float_minor: i64) -> Result<()> {
    let screen = counter.command(&json!({"type": "open_shift", "float_minor": float_minor, "business_day": day}))?;
    let shift = screen.shift.context("no shift is open after opening one")?;
    ensure!(shift.business_day == day, "the shift opened for {} instead of {day}", shift.business_day);
    Ok(())
}

fn close_shift(counter: &mut impl Counter, counted_minor: i64) -> Result<()> {
    let screen = counter.command(&json!({"type": "close_shift", "counted_minor": counted_minor}))?;
    let closed = screen.last_closed_shift.context("no shift is closed after closing one")?;
    ensure!(closed.difference_minor == 0, "the drawer is off by {} minor units", closed.difference_minor);
    Ok(())
}

fn invoice(counter: &mut impl Counter, catalogue: &Catalogue, job: &Job) -> Result<()> {
    for act in &job.acts {
        match act {
            Act::Sale(lines) => order(counter, catalogue, &job.number, lines, act.sums())?,
            Act::Refund(lines) => {
                counter.command(&json!({"type": "start_refund", "reason": REFUND_REASON}))?;
                order(counter, catalogue, &job.number, lines, act.sums())?;
            }
            Act::Stock { reason, lines } => {
                let lines: Vec<Value> = lines.iter().map(adjust_line).collect();
                counter.command(&json!({"type": "adjust_stock", "lines": lines, "reason": reason, "reference": job.number}))?;
            }
            Act::Account(line) => {
                counter
                    .command(&json!({
                        "type": "adjust_account",
                        "description": if line.description.is_empty() { &line.code } else { &line.description },
                        "quantity_milli": line.quantity_milli,
                        "unit_price": line.unit_price,
                        "reference": job.number,
                    }))
                    .with_context(|| format!("row {}", line.row))?;
            }
        }
    }
    Ok(())
}

/// Fills the cart and settles it; `sums` are signed, the cart is positive in a refund too.
fn order(counter: &mut impl Counter, catalogue: &Catalogue, number: &str, lines: &[InvoiceLine], sums: Sums) -> Result<()> {
    for (at, line) in lines.iter().enumerate() {
        let screen = counter.command(&add_line(catalogue, line)).with_context(|| format!("row {}", line.row))?;
        let shown = screen.cart.lines.get(at).map(|l| i128::from(l.amount_minor));
        let expected = Sums::of_line(line.quantity_milli, line.unit_price).rounded_minor.abs();
        if screen.cart.lines.len() != at + 1 || shown != Some(expected) {
            bail!(
                "row {}: {} lines are in the cart and the last shows {shown:?} instead of {expected}",
                line.row,
                screen.cart.lines.len()
            );
        }
    }
    let screen = counter.command(&json!({"type": "set_reference", "reference": number}))?;
    let total = screen.cart.total_minor;
    ensure!(i128::from(total) == sums.rounded_minor.abs(), "the cart comes to {total} instead of {}", sums.rounded_minor.abs());
    let order = screen.cart.order;
    let screen = counter.command(&json!({"type": "settle_cash", "order": order, "tendered_minor": total}))?;
    let settled = screen.last_order.context("no order is settled after settling one")?;
    ensure!(settled.order == order, "order {} was settled instead of {order}", settled.order);
    ensure!(
        i128::from(settled.total_minor) == sums.rounded_minor,
        "the order came to {} instead of {}",
        settled.total_minor,
        sums.rounded_minor
    );
    Ok(())
}

/// A line says name and price only where they are not the catalogue's.
fn add_line(catalogue: &Catalogue, line: &InvoiceLine) -> Value {
    let product = catalogue.get(&line.code);
    let mut command = json!({
        "type": "add_line",
        "item": {"by": "code", "code": line.code},
        "quantity_milli": line.quantity_milli.abs(),
        "separate": true,
    });
    if product.is_none_or(|p| p.unit_price != line.unit_price) {
        command["unit_price"] = line.unit_price.into();
    }
    if !line.description.is_empty() && product.is_none_or(|p| p.name != line.description) {
        command["name"] = line.description.as_str().into();
    }
    command
}

fn adjust_line(line: &InvoiceLine) -> Value {
    json!({"code": line.code, "quantity_milli": line.quantity_milli, "unit_price": line.unit_price})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{invoices, plan, script};

    /// A till that does what it is told, and may add `wrong_minor` to the first order's total.
    struct Paper {
        screen: Screen,
        said: Vec<Value>,
        refund: bool,
        wrong_minor: i64,
    }

    impl Counter for Paper {
        fn command(&mut self, command: &Value) -> Result<Screen> {
            self.said.push(command.clone());
            let whole = |name: &str| command[name].as_i64();
            let cart = &mut self.screen.cart;
            match command["type"].as_str().unwrap_or_default() {
                "open_shift" => {
                    let business_day = command["business_day"].as_str().unwrap_or_default().to_owned();
                    self.screen.shift = Some(Shift { business_day });
                }
                "close_shift" => self.screen.last_closed_shift = Some(ClosedShift { difference_minor: 0 }),
                "start_refund" => self.refund = true,
                "add_line" => {
                    let price = whole("unit_price").unwrap_or(10_000);
                    let amount_minor = whole("quantity_milli").unwrap_or(1_000) * price / 100_000;
                    cart.lines.push(CartLine { amount_minor });
                    cart.total_minor += amount_minor;
                }
                "settle_cash" => {
                    let sign = if self.refund { -1 } else { 1 };
                    let total_minor = sign * cart.total_minor + self.wrong_minor;
                    self.screen.last_order = Some(Settled { order: cart.order.clone(), total_minor });
                    *cart = Cart { order: format!("{}+", cart.order), lines: Vec::new(), total_minor: 0 };
                    self.refund = false;
                }
                _ => {}
            }
            Ok(self.screen.clone())
        }
    }

    fn enter(wrong_minor: i64) -> (Result<()>, Vec<Value>, Vec<u64>) {
        let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
        let rows = [
            header,
            "1,A,X,2,2011-01-01 09:00:00,1.0,,UK",
            "7,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "C2,A,Y,-3,2011-01-01 09:00:00,0.5,,UK",
            "8,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "3,A,damages,-1,2011-01-01 09:00:00,0.0,,UK",
            "9,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "A4,B,bad debt,1,2011-01-01 09:00:00,-11062.06,,UK",
        ];
        let plan = plan::plan(&invoices::read(rows.join("\n").as_bytes()).expect("rows"));
        // The first till has 1, C2, 3 and A4; the others are dealt to the second.
        let steps: Vec<_> = script::script(&plan, 0).into_iter().filter(|s| !matches!(s, Step::Fault(_))).collect();
        let cart = Cart { order: "o".to_owned(), lines: Vec::new(), total_minor: 0 };
        let screen = Screen { cart, shift: None, last_closed_shift: None, last_order: None };
        let mut till = Paper { screen, said: Vec::new(), refund: false, wrong_minor };
        let mut lines = Vec::new();
        let note = |n| {
            lines.push(n);
            Ok(())
        };
        let result = work(&mut till, &plan.catalogue, &steps, |_| Ok(()), note);
        (result, till.said, lines)
    }

    #[test]
    fn each_record_is_entered_with_ordinary_commands() {
        let (result, said, lines) = enter(0);
        result.expect("entered");
        assert_eq!(lines, [1, 1, 1, 1]);
        let types: Vec<_> = said.iter().filter_map(|c| c["type"].as_str()).collect();
        let expected = [
            "open_shift",
            "add_line",
            "set_reference",
            "settle_cash",
            "start_refund",
            "add_line",
            "set_reference",
            "settle_cash",
            "adjust_stock",
            "adjust_account",
            "close_shift",
        ];
        assert_eq!(types, expected);
        assert_eq!(
            said[1],
            json!({"type": "add_line", "item": {"by": "code", "code": "A"}, "quantity_milli": 2000, "separate": true})
        );
        assert_eq!((said[5]["unit_price"].as_i64(), said[5]["name"].as_str()), (Some(5_000), Some("Y")));
        assert_eq!((said[3]["order"].as_str(), said[3]["tendered_minor"].as_i64()), (Some("o"), Some(200)));
        assert_eq!(said[10]["counted_minor"].as_i64(), Some(script::FLOAT_MINOR + 200 - 150));
    }

    #[test]
    fn a_till_that_shows_another_total_is_found_at_its_invoice() {
        let (result, ..) = enter(1);
        let error = format!("{:#}", result.expect_err("a wrong total"));
        assert_eq!(error, "invoice 1: the order came to 201 instead of 200");
    }
}
