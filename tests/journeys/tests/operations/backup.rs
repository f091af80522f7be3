//! A region is destroyed and comes back.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::binaries::Binaries;
use journeys::stack::{self, Stack};

use super::super::{run, scrape, start};

fn data(stack: &Stack) -> PathBuf {
    stack.server.config().with_file_name("data")
}

fn count(stack: &Stack, question: &str) -> Result<i64> {
    Ok(Central::connect(&stack.central.url())?.query(question)?.first().context("one row")?.get(0))
}

fn log_entries(stack: &Stack) -> Result<f64> {
    Ok(scrape(stack.server.metrics_url())?["evertill_log_entries"])
}

#[test]
fn a_destroyed_region_comes_back_and_central_has_every_sale_once() -> Result<()> {
    let mut stack = start(2)?;
    for till in &stack.tills {
        cashier::begin(till.client())?;
        for number in 0..4 {
            cashier::sell(till.client(), number)?;
        }
        cashier::wait_until_sent(till.client())?;
    }
    // While the server runs and the tills are connected.
    let backup = stack.folder().join("backup");
    let to = backup.to_string_lossy().into_owned();
    let said = stack.server.command(&["backup", "--to", &to], None)?;
    ensure!(said.contains("2 devices") && said.contains("unencrypted"), "{said}");
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(backup.join("manifest.json"))?)?;
    let backed_up = manifest["entries"].as_f64().context("a number of entries")?;
    assert_eq!(backed_up, log_entries(&stack)?);
    ensure!(stack.server.command(&["backup", "--to", &to], None).is_err(), "a backup was overwritten");

    // After the backup: sales that reach central, and sales of a till that is cut off.
    stack.tills[1].cut();
    for number in 0..5 {
        cashier::sell(stack.tills[0].client(), number)?;
        cashier::sell(stack.tills[1].client(), number)?;
    }
    cashier::wait_until_sent(stack.tills[0].client())?;
    let destroyed = log_entries(&stack)?;
    ensure!(destroyed > backed_up);
    let region = "SELECT count(DISTINCT region) FROM feed_cursor";
    assert_eq!(count(&stack, region)?, 1);

    stack.server.kill();
    std::fs::remove_dir_all(data(&stack))?;
    ensure!(stack.server.command(&["store", "add", "--code", "X", "--name", "X", "--currency", "GBP"], None).is_err());
    let said = stack.server.command(&["restore", "--from", &to], None)?;
    ensure!(said.contains("every chain and seal holds"), "{said}");
    ensure!(stack.server.command(&["restore", "--from", &to], None).is_err(), "a region was restored over");
    stack.server.start()?;
    stack.tills[1].heal();

    // Till 1 sends again what central has already but the region lost, till 2 what nobody has yet.
    let again = || Ok((log_entries(&stack)? == destroyed + 5.0).then_some(()));
    stack::until("the tills to send again what the region lost", PATIENCE, again)?;
    for till in &stack.tills {
        cashier::sell(till.client(), 9)?;
        cashier::wait_until_sent(till.client())?;
    }
    let projected = || Ok((count(&stack, "SELECT count(*) FROM orders")? == 20).then_some(()));
    stack::until("every sale in central", PATIENCE, projected)?;
    assert_eq!(count(&stack, region)?, 2, "the restored log goes on as another region");
    assert_eq!(count(&stack, "SELECT count(*) FROM forked_entries")?, 0);
    assert_eq!(Central::connect(&stack.central.url())?.flaws()?, Vec::<String>::new());
    // Each till has the other's sales too, those from before, between and after.
    for till in &stack.tills {
        let all = || Ok((till.client().ledger()?.orders == 20).then_some(()));
        stack::until("the neighbour's sales", PATIENCE, all)?;
    }
    // The figures are what the entries say.
    stack.server.stop();
    stack.server.command(&["reproject", "--check"], None)?;
    Ok(())
}

#[test]
fn a_backup_that_a_full_disk_cuts_off_leaves_nothing() -> Result<()> {
    let stack = start(0)?;
    let folder = stack.folder().join("backups");
    std::fs::create_dir(&folder)?;
    let log = std::fs::metadata(data(&stack).join("region.db"))?.len();
    // Files may grow to a quarter of the log: the system then refuses to write on, as a full disk does.
    let blocks = log / 4 / 512;
    ensure!(blocks > 16, "the log is too small to be cut off: {log} bytes");
    let server = Binaries::find()?.sync_server();
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let config = stack.server.config().to_string_lossy().into_owned();
    let to = folder.join("cut-off").to_string_lossy().into_owned();
    let output = Command::new("sh")
        .args(["-c", &script, &server.to_string_lossy(), "--config", &config, "backup", "--to", &to])
        .env_remove("EVERTILL_CENTRAL_URL")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("is there room? Nothing was left there"), "{said}");
    assert_eq!(std::fs::read_dir(&folder)?.count(), 0, "half a backup was left");
    // With room again it is whole.
    let (code, said) = run(&server, &["--config", &config, "backup", "--to", &to])?;
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}
