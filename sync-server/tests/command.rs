//! What the server's own commands print.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with a configuration whose central database is not there.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let config = folder.join("server.toml");
    let text = format!(
        "data = '{}'\n[sync]\nlisten = '127.0.0.1:0'\n[web]\nlisten = '127.0.0.1:0'\n[central]\nurl = 'postgres://nobody@127.0.0.1:1/nothing'\n",
        folder.join("data").display()
    );
    std::fs::write(&config, text).expect("written");
    Command::new(env!("CARGO_BIN_EXE_evertill-sync-server")).arg("--config").arg(&config).args(arguments).output().expect("runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_import_prints_what_it_changes_field_by_field() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(sync_server::daemon::open(&folder.path().join("data"), &sync_server::env::Machine, true).expect("a region"));
    let store = run(folder.path(), &["store", "add", "--code", "S01", "--name", "Shop", "--currency", "GBP"]);
    assert!(store.status.success(), "{store:?}");
    let file = folder.path().join("products.csv");
    let import = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).expect("written");
        let arguments = [&["products", "import", file.to_str().expect("text")], more].concat();
        run(folder.path(), &arguments)
    };
    let first = "code,name,price,tax_rate_bp,barcodes\nT1,Tea,1.10,2000,4006381333931\n";
    let new = "row 2, T1 Tea (new): code none -> T1; name none -> Tea; price none -> 1.10; tax_rate_bp none -> 20 %; \
               barcodes none -> 4006381333931; active none -> on sale\n";
    let dry = import(first, &["--dry-run"]);
    assert_eq!(printed(&dry), format!("{new}1 products would be added, 0 changed, 0 unchanged\n"));
    let applied = import(first, &[]);
    assert_eq!(printed(&applied), format!("{new}1 products added, 0 changed, 0 unchanged\n"));
    let rows: String = (0..250).map(|n| format!("N{n},New,1,0\n")).collect();
    let changed = import(&format!("code,name,price,tax_rate_bp\nT1,Green tea,1.20,\n{rows}"), &["--dry-run"]);
    let lines: Vec<String> = printed(&changed).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "row 2, T1 Green tea: name Tea -> Green tea; price 1.10 -> 1.20");
    assert_eq!(lines[200..], ["and 51 more", "250 products would be added, 1 changed, 0 unchanged"]);
    let refused = import("code,name,price,tax_rate_bp\nT1,,1,0\n", &[]);
    assert_eq!((refused.status.success(), printed(&refused)), (false, "row 2, name \"\": This cannot be empty.\n".to_owned()));
}
