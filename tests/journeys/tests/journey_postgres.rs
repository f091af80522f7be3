//! Postgres goes away for a while: tills and server go on, and then it catches up. The read model can be built again and is the same.

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::central::CentralChoice;
use journeys::stack::{self, Plan};
use node::api::Durability;
use sync_server::web_api::GroupBy;

#[test]
fn nobody_at_the_counter_notices_that_postgres_is_away() -> Result<()> {
    let plan = Plan { printers: false, central: CentralChoice::Private, ..Plan::for_test()? };
    let mut stack = plan.start(&mut |text| eprintln!("{text}"))?;
    for till in &stack.tills {
        cashier::begin(till.client())?;
        cashier::sell(till.client(), 0)?;
        cashier::wait_until_sent(till.client())?;
    }

    stack.central.stop()?;
    for number in 0..10 {
        for till in &stack.tills {
            cashier::sell(till.client(), number)?;
        }
    }
    // The sales are at the region, and the tills know that they are no further.
    for till in &stack.tills {
        let regional = || Ok(Some(till.client().view()?).filter(|view| view.link.unsent == 0));
        let view = stack::until("the region to take the sales", PATIENCE, regional)?;
        ensure!(view.link.not_central >= 10, "central cannot have taken {} commits", view.link.not_central);
        assert_eq!(view.last_order.context("something was sold")?.durability, Durability::Regional);
    }
    // The server comes up without Postgres too, and each till still gets the other's sales.
    stack.server.kill();
    stack.server.start()?;
    cashier::sell(stack.tills[0].client(), 3)?;
    let other = || Ok((stack.tills[1].client().ledger()?.orders == 23).then_some(()));
    stack::until("the neighbour's sales", PATIENCE, other)?;

    stack.central.start()?;
    for till in &stack.tills {
        cashier::wait_until_sent(till.client())?;
    }
    let report = || {
        let report = stack.manager()?.sales("2000-01-01", "2000-01-01", GroupBy::Till)?;
        Ok(report.coverage.complete.then_some(report.coverage))
    };
    let coverage = stack::until("complete coverage", PATIENCE, report)?;
    assert_eq!(coverage.tills.len(), 2);
    let central = Central::connect(&stack.central.url())?;
    assert_eq!(central.shares()?.values().map(|share| share.orders).sum::<u64>(), 23);
    assert_eq!(central.flaws()?, Vec::<String>::new());

    // The read model is a fold of the entries and nothing else: the check finds a changed row, and a rebuild mends it.
    stack.server.stop();
    stack.server.command(&["reproject", "--check"], None)?;
    central.query(
        "UPDATE orders SET total_minor = total_minor + 1 WHERE order_id = (SELECT min(order_id::text)::uuid FROM orders)",
    )?;
    let found = stack.server.command(&["reproject", "--check"], None);
    ensure!(found.is_err(), "a changed row was not found");
    stack.server.command(&["reproject"], None)?;
    stack.server.command(&["reproject", "--check"], None)?;
    assert_eq!(central.flaws()?, Vec::<String>::new());
    Ok(())
}
