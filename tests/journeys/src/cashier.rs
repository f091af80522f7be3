//! A cashier of the journeys: sells products of the sample catalogue through a till's API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use node::api::{Command, Item, LinkState, SettledView, TillView};

use crate::stack::client::{TillClient, TillError};
use crate::stack::{self, STAFF};

/// Long enough for a machine that does everything at once; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Products of the sample catalogue that the journeys sell: code, and price in minor units.
pub const GOODS: [(&str, i64); 3] = [("85123A", 295), ("71053", 375), ("22423", 1275)];

/// Signs the manager in, as soon as the store's staff and catalogue have arrived.
///
/// # Errors
/// When they do not arrive.
pub fn sign_in(till: &TillClient) -> Result<TillView> {
    let (name, _, pin) = STAFF.into_iter().find(|(_, role, _)| *role == "manager").context("the stack has no manager")?;
    let view = stack::until("the store's staff", PATIENCE, || Ok(till.sign_in(name, pin).ok()))?;
    for (code, _) in GOODS {
        let there = || Ok(till.search(code, 5)?.into_iter().find(|product| product.code == code));
        stack::until("the catalogue", PATIENCE, there)?;
    }
    Ok(view)
}

/// Signs in and opens a shift with a float of 100.00.
///
/// # Errors
/// When the till refuses.
pub fn begin(till: &TillClient) -> Result<()> {
    sign_in(till)?;
    till.command(&Command::OpenShift { float_minor: 10_000, business_day: None })?;
    Ok(())
}

/// Puts so many pieces of a product into the cart.
///
/// # Errors
/// When the till refuses.
pub fn add(till: &TillClient, code: &str, pieces: i64) -> Result<TillView, TillError> {
    till.command(&Command::AddLine {
        item: Item::Code { code: code.to_owned() },
        quantity_milli: Some(pieces * 1_000),
        unit_price: None,
        name: None,
        separate: None,
    })
}

/// Takes the exact cash for what is in the cart.
///
/// # Errors
/// When the till refuses, or shows another order afterwards.
pub fn settle(till: &TillClient, view: &TillView) -> Result<SettledView> {
    let order = view.cart.order;
    let view = till.command(&Command::SettleCash { order, tendered_minor: view.cart.total_minor })?;
    let settled = view.last_order.context("nothing is settled")?;
    ensure!(settled.order == order, "another order is settled");
    Ok(settled)
}

/// Sells one or two products; which ones depends on `number`.
///
/// # Errors
/// When the till refuses.
pub fn sell(till: &TillClient, number: usize) -> Result<SettledView> {
    let (first, second) = (GOODS[number % GOODS.len()].0, GOODS[(number + 1) % GOODS.len()].0);
    let mut view = add(till, first, 1 + (number % 4) as i64)?;
    if number.is_multiple_of(2) {
        view = add(till, second, 1)?;
    }
    settle(till, &view)
}

/// Waits until the server and central have every commit of a till.
///
/// # Errors
/// When they have not after a while.
pub fn wait_until_sent(till: &TillClient) -> Result<()> {
    let sent = || {
        let link = till.view()?.link;
        Ok((link.unsent == 0 && link.not_central == 0).then_some(()))
    };
    stack::until("everything to reach central", PATIENCE, sent)
}

/// Waits until a till is connected, or is not.
///
/// # Errors
/// When it does not happen.
pub fn wait_for_link(till: &TillClient, state: LinkState) -> Result<TillView> {
    let changed = || Ok(Some(till.view()?).filter(|view| view.link.state == state));
    stack::until("the link to change", PATIENCE, changed)
}
