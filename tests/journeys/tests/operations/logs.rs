//! Logs as JSON lines, and what is never in them; `--check-config` of a real server.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::binaries::Binaries;
use journeys::stack::{self, MANAGER, STORE, Stack};
use node::api::LinkState;
use serde_json::Value;

use super::super::{run, start};

/// Long enough never to turn up by chance in a time, a port or an id.
const PIN: &str = "493817260551";
const WRONG_PIN: &str = "948372615044";
const DATABASE_PASSWORD: &str = "correct-horse-battery";
const LOG_SECTION: &str = "\n[log]\nformat = \"json\"\nlevel = \"debug\"\n";
/// What the programs print for people and programs that start them; not log lines.
const PRINTED: [&str; 4] = ["sync ready at ", "metrics at ", "manager page at ", "till ready at "];

fn append(path: &Path, text: &str) -> Result<()> {
    Ok(std::fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())?)
}

/// The same configuration with a password in the address of the database, which trusts everybody.
fn with_password(config: &Path) -> Result<()> {
    let text = std::fs::read_to_string(config)?;
    let line = text.lines().find(|line| line.starts_with("url = ")).context("an address")?;
    let separator = if line.contains('?') { '&' } else { '?' };
    let changed = format!("{}{separator}password={DATABASE_PASSWORD}\"", line.strip_suffix('"').context("a text")?);
    Ok(std::fs::write(config, text.replace(line, &changed))?)
}

/// The log lines of a program since `from` bytes.
fn lines(log: &Path, from: usize) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log)?;
    let mut all = Vec::new();
    for line in text[from..].lines().filter(|line| !PRINTED.iter().any(|printed| line.starts_with(printed))) {
        all.push(serde_json::from_str(line).with_context(|| format!("a line that is no JSON: {line}"))?);
    }
    Ok(all)
}

fn length(log: &Path) -> Result<usize> {
    Ok(usize::try_from(std::fs::metadata(log)?.len())?)
}

/// Everything that must not be told: what people type, and what files keep.
fn secrets(stack: &Stack, link: &str) -> Result<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> =
        [PIN, WRONG_PIN, DATABASE_PASSWORD, MANAGER.1].map(|s| (s.to_owned(), s.to_owned())).into();
    let code = link.rsplit_once('/').and_then(|(_, rest)| rest.split('#').next()).context("a code")?;
    all.push(("the enrolment code".to_owned(), code.to_owned()));
    let (server, till) = (stack.server.config().with_file_name("data"), stack.tills[0].data());
    for path in ["authority.key", "server.key"]
        .map(|name| server.join(name))
        .into_iter()
        .chain(["device.key", "replica.key", "face.token"].map(|name| till.join("device").join(name)))
    {
        let text = std::fs::read_to_string(&path)?;
        let line = text.lines().find(|line| !line.starts_with('-')).context("a line of key")?;
        all.push((path.display().to_string(), line.to_owned()));
    }
    Ok(all)
}

#[test]
fn logs_are_json_lines_with_events_and_hold_no_secret() -> Result<()> {
    let mut stack = start(1)?;
    cashier::wait_for_link(stack.tills[0].client(), LinkState::Online)?;
    stack.tills[0].stop();
    stack.server.stop();
    stack.server.command(&["staff", "add", "--store", STORE, "--name", "Dora", "--role", "manager"], Some(PIN))?;
    with_password(stack.server.config())?;
    append(stack.server.config(), LOG_SECTION)?;
    append(&stack.tills[0].data().join("node.toml"), LOG_SECTION)?;
    let logs = ["sync-server.log", "till-1.log"].map(|name| stack.folder().join("logs").join(name));
    let from = [length(&logs[0])?, length(&logs[1])?];

    stack.server.start()?;
    stack.tills[0].start()?;
    let till = stack.tills[0].client();
    stack::until("the new manager's name", PATIENCE, || Ok(till.sign_in("Dora", PIN).ok()))?;
    ensure!(till.sign_in("Dora", WRONG_PIN).is_err());
    till.sign_in("Dora", PIN)?;
    cashier::begin(till)?;
    cashier::sell(till, 1)?;
    cashier::wait_until_sent(till)?;
    ensure!(journeys::stack::manager::ManagerClient::sign_in(&stack.server.web_url(), MANAGER.0, "a wrong password").is_err());
    // A till more, with a code that is shown again by somebody else, and with a wrong one.
    let link = stack.manager()?.enrolment_code(STORE, "Till 2")?.link;
    let node = Binaries::find()?.node();
    for (folder, enrolled) in [("till-2", true), ("till-3", false)] {
        let data = stack.folder().join(folder);
        let (code, said) = run(&node, &["--data", &data.to_string_lossy(), "enrol", &link])?;
        ensure!((code == Some(0)) == enrolled, "{said}");
    }
    stack.central.stop()?;
    let told = |event: &'static str, log: usize| {
        let (path, from) = (logs[log].clone(), from[log]);
        move || Ok(lines(&path, from)?.iter().any(|line| line["event"] == event).then_some(()))
    };
    stack::until("central to be away", PATIENCE, told("central_away", 0))?;
    stack.central.start()?;
    stack::until("central to be back", PATIENCE, told("central_back", 0))?;
    stack.server.stop();
    stack::until("the link to be down", PATIENCE, told("link_down", 1))?;
    stack.tills[0].stop();

    for (at, events) in [
        (
            0,
            &[
                "started",
                "device_connected",
                "enrolled",
                "enrolment_denied",
                "central_away",
                "central_back",
                "stopping",
                "device_disconnected",
                "stopped",
            ][..],
        ),
        (1, &["started", "link_up", "link_down", "stopping", "stopped"]),
    ] {
        let lines = lines(&logs[at], from[at])?;
        for line in &lines {
            for field in ["timestamp", "level", "target"] {
                ensure!(line[field].is_string(), "{field} is not in {line}");
            }
        }
        let found: BTreeSet<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
        for event in events {
            ensure!(found.contains(event), "{event} is not among {found:?}");
        }
        let connected = lines.iter().find(|line| line["event"] == "device_connected");
        ensure!(connected.is_none_or(|line| line["name"] == "Till 1" && line["device"].is_string()), "{connected:?}");
        let text: String = lines.iter().map(Value::to_string).collect();
        for (what, secret) in secrets(&stack, &link)? {
            ensure!(!text.contains(&secret), "{what} is in {}", logs[at].display());
        }
        ensure!(!text.contains("Dora"), "who works there is in {}", logs[at].display());
    }
    Ok(())
}

#[test]
fn check_config_finds_what_is_wrong_around_a_real_server() -> Result<()> {
    let mut stack = start(0)?;
    let server = Binaries::find()?.sync_server();
    let config = stack.server.config().to_path_buf();
    let check = || run(&server, &["--config", &config.to_string_lossy(), "--check-config"]);
    let (code, said) = check()?;
    assert_eq!(code, Some(0), "{said}");
    for line in
        ["ok       configuration", "is private", "is in use while the server runs", "ok       central database  it answers"]
    {
        ensure!(said.contains(line), "{line} is not in {said}");
    }
    ensure!(!said.contains("error"), "{said}");

    stack.central.stop()?;
    let (code, said) = check()?;
    ensure!(code == Some(0) && said.contains("warning  central database"), "{said}");

    stack.server.stop();
    let taken = std::net::UdpSocket::bind(stack.server.sync_address())?;
    let key = config.with_file_name("data").join("server.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let (code, said) = check()?;
    assert_eq!(code, Some(1), "{said}");
    ensure!(said.contains(&format!("another program listens on {}", taken.local_addr()?)), "{said}");
    ensure!(said.contains(&format!("→ chmod 600 {}", key.display())), "{said}");

    append(&config, "\n[logs]\nformat = \"json\"\n")?;
    let (code, said) = check()?;
    ensure!(code == Some(1) && said.contains("there is no key `logs`: did you mean `log`?"), "{said}");
    let (code, said) = run(&server, &["--config", &config.to_string_lossy(), "run"])?;
    ensure!(code == Some(1) && said.contains("did you mean `log`?"), "{said}");
    let (code, said) = run(&server, &["--config", "/no/such/file", "--check-config", "run"])?;
    ensure!(code == Some(2) && said.contains("stands alone"), "{said}");
    let (code, said) = run(&server, &["--config", "/no/such/file"])?;
    ensure!(code == Some(2) && said.contains("say what to do"), "{said}");
    Ok(())
}
