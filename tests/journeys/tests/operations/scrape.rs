//! Health, readiness and metrics, and that a sale moves the right ones.

use anyhow::{Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack;

use super::super::{page, scrape, start};

#[test]
fn a_sale_moves_the_right_counters_and_the_manager_page_shows_none() -> Result<()> {
    let mut stack = start(1)?;
    let (server, till) = (stack.server.metrics_url().to_owned(), stack.tills[0].client().origin().to_owned());
    let till_metrics = format!("{till}/metrics");
    cashier::begin(stack.tills[0].client())?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    let (before, till_before) = (scrape(&server)?, scrape(&till_metrics)?);

    let sale = cashier::sell(stack.tills[0].client(), 1)?;
    ensure!(sale.total_minor > 0);
    cashier::wait_until_sent(stack.tills[0].client())?;
    let now = scrape(&server)?;
    let grew = |name: &str| now[name] - before.get(name).copied().unwrap_or(0.0);
    assert_eq!((grew("evertill_entries_admitted_total"), grew("evertill_commits_admitted_total")), (1.0, 1.0));
    assert_eq!((grew("evertill_ack_seconds_count"), grew("evertill_admission_batch_runs_count")), (1.0, 1.0));
    assert_eq!(grew("evertill_log_entries"), 1.0);
    assert_eq!(
        (now["evertill_devices_connected"], now["evertill_central_up"], now["evertill_feed_behind_entries"]),
        (1.0, 1.0, 0.0)
    );
    ensure!(now["evertill_log_bytes"] > 0.0 && now["evertill_disk_free_bytes"] > 0.0);
    ensure!(!now.keys().any(|name| name.starts_with("evertill_entries_refused_total")), "something was refused");
    ensure!(now.keys().any(|name| name.starts_with("evertill_build_info{program=\"evertill-sync-server\"")));
    let drift = now.iter().find(|(name, _)| name.starts_with("evertill_device_clock_ahead_seconds{device="));
    ensure!(drift.is_some_and(|(_, seconds)| seconds.abs() < 60.0), "one machine has one clock: {drift:?}");

    let till_now = scrape(&till_metrics)?;
    let grew = |name: &str| till_now[name] - till_before.get(name).copied().unwrap_or(0.0);
    assert_eq!(grew("evertill_commits_total"), 1.0);
    // A product scanned, and the money taken.
    assert_eq!((grew("evertill_commands_total{result=\"done\"}"), grew("evertill_command_seconds_count")), (2.0, 2.0));
    assert_eq!(
        (till_now["evertill_link_up"], till_now["evertill_unsent_commits"], till_now["evertill_not_central_commits"]),
        (1.0, 0.0, 0.0)
    );
    ensure!(till_now["evertill_replica_bytes"] > 0.0);

    // The address of the manager page shows health and nothing of this.
    let web = stack.server.web_url();
    assert_eq!(page(&format!("{web}/healthz"))?, (200, "ok\n".to_owned()));
    assert_eq!(page(&format!("{web}/readyz"))?.0, 200);
    ensure!(!page(&format!("{web}/metrics"))?.1.contains("evertill_"), "the manager page shows the metrics");
    assert_eq!(page(&format!("{till}/healthz"))?, (200, "ok\n".to_owned()));
    assert_eq!(page(&format!("{till}/readyz"))?, (200, "{\"ready\":true}".to_owned()));
    let requests = scrape(&server)?;
    ensure!(requests["evertill_web_requests_total{status=\"200\"}"] >= 2.0);

    // Central goes away: seen, and the server stays ready.
    stack.central.stop()?;
    let away = || Ok((scrape(&server)?["evertill_central_up"] == 0.0).then_some(()));
    stack::until("central to be seen away", PATIENCE, away)?;
    cashier::sell(stack.tills[0].client(), 2)?;
    let behind = || Ok((scrape(&server)?["evertill_feed_behind_entries"] == 1.0).then_some(()));
    stack::until("the feed to be seen behind", PATIENCE, behind)?;
    let (status, ready) = page(&format!("{web}/readyz"))?;
    ensure!(status == 200 && ready.contains("\"away\""), "{status} {ready}");

    // The server goes away: the till says so and is ready.
    stack.server.stop();
    let down = || {
        let now = scrape(&till_metrics)?;
        Ok((now["evertill_link_up"] == 0.0 && now["evertill_not_central_commits"] == 1.0).then_some(()))
    };
    stack::until("the till to see that the server is away", PATIENCE, down)?;
    assert_eq!(page(&format!("{till}/readyz"))?.0, 200);
    Ok(())
}
