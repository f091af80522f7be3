//! That the bench works and says what it should. No time is asserted: how fast the product is, `make bench` says, and nobody fails for it.

use std::collections::BTreeMap;
use std::process::Command;

use load::rows::GROUPS;
use serde_json::Value;

/// Runs groups of the quick bench and answers its rows by name, and the table.
fn quick(only: &[&str]) -> (BTreeMap<String, Value>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("rows.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_evertill-bench"));
    command.arg("--quick").arg("--json").arg(&json);
    for group in only {
        command.args(["--only", group]);
    }
    let output = command.output().expect("the bench runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(&json).expect("a file")).expect("a list in JSON");
    let named = |row: Value| (row["name"].as_str().expect("a name").to_owned(), row);
    (rows.into_iter().map(named).collect(), String::from_utf8(output.stdout).expect("text"))
}

/// The value of the one row whose name begins so.
fn value(rows: &BTreeMap<String, Value>, name: &str) -> f64 {
    let found: Vec<_> = rows.iter().filter(|(n, _)| n.starts_with(name)).collect();
    let [(_, row)] = found[..] else { panic!("{name}: {found:?}") };
    row["value"].as_f64().expect("a number")
}

#[test]
fn rows_have_six_fields_and_the_table_shows_each() {
    let (rows, table) = quick(&["sale", "backlog", "log"]);
    assert_eq!(rows.len(), 7 + 4 + 4, "{rows:#?}");
    for (name, row) in &rows {
        let fields: Vec<_> = row.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, ["budget", "limit", "name", "unit", "value", "within_budget"]);
        assert!(row["value"].as_f64().expect("a number") > 0.0, "{name}: {row}");
        assert!(row["unit"].is_string());
        assert!(row["limit"].is_null() || row["limit"].as_f64().is_some_and(|limit| limit > 0.0), "{name}: {row}");
        assert_eq!(row["budget"].is_null(), row["within_budget"].is_null(), "{name}: {row}");
        assert_eq!(table.lines().filter(|line| line.starts_with(name.as_str())).count(), 1, "{table}");
    }
}

#[test]
fn what_is_counted_is_what_the_design_says() {
    let (rows, _) = quick(&["sale", "backlog"]);
    assert_eq!(value(&rows, "complete a sale: syncs"), 1.0);
    let pages = value(&rows, "complete a sale: pages, mean");
    assert!((3.0..=20.0).contains(&pages), "{pages}");
    let (alone, entry) = (value(&rows, "sale of 4 lines: alone"), value(&rows, "sale of 4 lines: entry"));
    let batched = value(&rows, "sale of 4 lines: in the backlog");
    assert!(batched < entry && entry < alone && alone < 1_000.0, "{batched}, {entry}, {alone}");
}

#[test]
fn links_reach_the_server_the_neighbour_and_the_manager() {
    let (rows, _) = quick(&["link", "central", "crowd"]);
    // No faster than light in the cable: 20 ms there and 20 ms on.
    assert!(value(&rows, "sale at a till → shown at another till, both on 40 ms links") >= 40.0);
    assert!(value(&rows, "sale at a till → in the manager's report") > 0.0);
    assert!(value(&rows, "whole path: 400 sales of 4 sealed logs → rows") > 0.0);
    assert!(value(&rows, "server: memory of an idle device, 50 connected") > 1.0);
}

#[test]
fn a_reconnect_costs_the_same_whatever_the_store_holds() {
    let (rows, _) = quick(&["catalogue", "orders"]);
    let bytes = |store: &str| value(&rows, &format!("reconnect with nothing new, {store}: greeting and answer"));
    assert!((bytes("a small store") - bytes("1,000 products")).abs() <= 16.0, "numbers alone may be a byte or two longer");
    assert!(value(&rows, "reconnect with nothing new, 1,000 products: round trips") >= 1.0);
}

#[test]
fn the_whole_path_goes_on_until_everything_is_in_the_tables() {
    let (rows, _) = quick(&["sustained"]);
    assert_eq!(rows.len(), 4 + 3, "{rows:#?}");
    assert!(value(&rows, "sustained for 2 s: sales of 4 devices") > 0.0);
    assert!(value(&rows, "sustained for 2 s: the server's memory at the end") > 1.0);
}

#[test]
fn a_long_history_is_caught_up_with_and_fed() {
    let (rows, _) = quick(&["history", "feed"]);
    assert_eq!(rows.len(), 3 * 2 + 1 + 1, "{rows:#?}");
    let bytes =
        |entries: &str| value(&rows, &format!("a device comes back, {entries} entries at the server: greeting and answer"));
    assert!((bytes("10") - bytes("800")).abs() <= 16.0, "numbers alone may be a byte or two longer");
    assert!(value(&rows, "a till catches up with 400 sales") > 0.0);
    assert!(value(&rows, "feed: 400 entries") > 0.0);
}

#[test]
fn every_group_says_what_it_measures_and_others_are_refused() {
    let bench = || Command::new(env!("CARGO_BIN_EXE_evertill-bench"));
    let listed = bench().arg("--list").output().expect("the bench runs");
    let text = String::from_utf8(listed.stdout).expect("text");
    assert_eq!(text.lines().count(), GROUPS.len());
    assert!(GROUPS.iter().all(|group| text.contains(group.about)));
    let refused = bench().args(["--only", "everything"]).output().expect("the bench runs");
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(GROUPS.iter().all(|group| why.contains(group.name)), "{why}");
}
