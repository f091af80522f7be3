//! Data folders: in use, of a newer version, copied, damaged. Whoever refuses says why, and changes nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack;
use journeys::stack::ports::{Ports, Protocol};
use node::env::SystemEnv;
use node::identity::Identity;
use node::till::{Till, TillOptions};

use super::support::*;

#[test]
fn a_folder_belongs_to_one_process_at_a_time() -> Result<()> {
    let mut stack = at_work(1, false)?;
    let data = stack.tills[0].data().to_owned();
    let told = till_complaint(&stack, &data)?;
    says(&told, &format!("evertill-node: {} is in use by another evertill-node or window: stop that one first", data.display()))?;
    for command in [&["run"][..], &["init"], &["enrolment-code", "--store", "S01", "--name", "Till 9"]] {
        says(&server_complaint(&stack, command)?, "another evertill-sync-server uses …: stop it first")?;
    }
    // The first ones go on, and after them the second may.
    for number in 0..3 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    cashier::wait_until_sent(stack.tills[0].client())?;
    stack.tills[0].stop();
    let mut second = till_on(&stack, "second", &data)?;
    second.start()?;
    cashier::sign_in(second.client())?;
    cashier::sell(second.client(), 3)?;
    cashier::wait_until_sent(second.client())?;
    agree(&stack.central.url(), 4)
}

/// Sets the schema version of a till's replica, as a newer program would have.
fn set_replica_version(data: &Path, version: u32) -> Result<()> {
    let till = Till::open(Identity::load(data)?, Arc::new(SystemEnv), TillOptions::default())?;
    till.db()?.execute_batch(&format!("PRAGMA user_version = {version}"))?;
    Ok(())
}

/// The schema version of a plain SQLite file that nobody has open, in its header.
fn region_version(file: &Path, version: Option<u32>) -> Result<u32> {
    const AT: usize = 60;
    let mut bytes = std::fs::read(file)?;
    let found = u32::from_be_bytes(bytes[AT..AT + 4].try_into()?);
    if let Some(version) = version {
        bytes[AT..AT + 4].copy_from_slice(&version.to_be_bytes());
        std::fs::write(file, bytes)?;
    }
    Ok(found)
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() -> Result<()> {
    let mut stack = at_work(1, false)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    cashier::wait_until_sent(stack.tills[0].client())?;

    // The till's.
    stack.tills[0].stop();
    let (data, kept) = (stack.tills[0].data().to_owned(), stack.folder().join("kept"));
    copy(&data, &kept)?;
    set_replica_version(&data, 99)?;
    let replica = data.join("replica/replica.db");
    let before = std::fs::read(&replica)?;
    let told = till_complaint(&stack, &data)?;
    says(&told, "replica.db has schema 99, and this program knows schemas up to …: install the newer program again")?;
    ensure!(std::fs::read(&replica)? == before, "a newer file was changed");
    put_back(&kept, &data)?;
    stack.tills[0].start()?;
    cashier::sign_in(stack.tills[0].client())?;
    cashier::sell(stack.tills[0].client(), 1)?;

    // The server's.
    stack.server.stop();
    let log = stack.server.config().with_file_name("data").join("region.db");
    settle(&log)?;
    let known = region_version(&log, Some(99))?;
    let before = std::fs::read(&log)?;
    let told = server_complaint(&stack, &["run"])?;
    says(&told, "the region's log has schema 99, this program knows up to …: install the newer program again")?;
    ensure!(std::fs::read(&log)? == before, "a newer log was changed");
    cashier::sell(stack.tills[0].client(), 2)?;
    region_version(&log, Some(known))?;
    stack.server.start()?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 3)
}

fn put_back(kept: &Path, folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder)?;
    copy(kept, folder)
}

/// What is wrong with a till's folder, how it came to that, the sentence.
type Damage = (&'static str, fn(&Path) -> Result<()>, &'static str);

#[rustfmt::skip]
const DAMAGES: &[Damage] = &[
    ("A folder of no till", |d| Ok(std::fs::remove_dir_all(d.join("device"))?), "… is not enrolled yet: run `evertill-node --data … enrol LINK` with a link from the manager"),
    ("A key that others of the machine can read", |d| Ok(std::fs::set_permissions(d.join("device/device.key"), std::fs::Permissions::from_mode(0o644))?), "… can be read by other users of this machine: run `chmod 600` on it, and consider the key known to them"),
    ("A key that is missing", |d| Ok(std::fs::remove_file(d.join("device/replica.key"))?), "… could not be read: …"),
    ("A key that is none", |d| Ok(std::fs::write(d.join("device/device.key"), "secret")?), "… makes no sense: it is not an Ed25519 key in PKCS#8"),
    ("An identity that was cut off", |d| Ok(std::fs::write(d.join("device/identity.json"), "{\"device\":")?), "… makes no sense: EOF while parsing a value …"),
    ("The database of another till", |d| Ok(std::fs::write(d.join("device/replica.key"), "00".repeat(32))?), "… cannot be read with the key of this device: it belongs to another device, or it is damaged"),
    ("A database that is none", |d| Ok(std::fs::write(d.join("replica/replica.db"), vec![7; 8_192])?), "… cannot be read with the key of this device: it belongs to another device, or it is damaged"),
];

#[test]
fn a_damaged_folder_is_refused_with_a_sentence_and_works_when_it_is_mended() -> Result<()> {
    let mut stack = at_work(1, false)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    stack.tills[0].stop();
    let (data, kept) = (stack.tills[0].data().to_owned(), stack.folder().join("kept"));
    copy(&data, &kept)?;
    for (wrong, damage, sentence) in DAMAGES {
        damage(&data)?;
        eprintln!("{wrong}");
        says(&till_complaint(&stack, &data)?, sentence)?;
        put_back(&kept, &data)?;
    }
    let again = stack.tills[0]
        .enrol("evertill://127.0.0.1:1/0Z0789ABCZ#0000000000000000000000000000000000000000000000000000000000000000");
    let told = format!("{:#}", again.expect_err("it is enrolled"));
    says(&told, "… belongs to an enrolled device already; use another folder, or remove this one if nothing in it is needed")?;
    stack.tills[0].start()?;
    cashier::sign_in(stack.tills[0].client())?;
    cashier::sell(stack.tills[0].client(), 1)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 2)
}

/// The file with the sales is gone, the rest of the folder is there: what the server has comes back, and no number is given twice.
#[test]
fn a_deleted_database_comes_back_from_the_server() -> Result<()> {
    let mut stack = at_work(1, false)?;
    for number in 0..3 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    cashier::wait_until_sent(stack.tills[0].client())?;
    let series = stack.tills[0].client().view()?.till.series;
    stack.tills[0].stop();
    std::fs::remove_dir_all(stack.tills[0].data().join("replica"))?;
    std::fs::create_dir(stack.tills[0].data().join("replica"))?;
    stack.tills[0].start()?;
    let view = cashier::sign_in(stack.tills[0].client())?;
    ensure!(view.till.series != series, "the numbers go on in the series {series}");
    let all = || Ok((stack.tills[0].client().orders(200)?.len() == 3).then_some(()));
    stack::until("the three orders", PATIENCE, all)?;
    if stack.tills[0].client().view()?.shift.is_none() {
        stack.tills[0].client().command(&node::api::Command::OpenShift { float_minor: 0, business_day: None })?;
    }
    cashier::sell(stack.tills[0].client(), 3)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    agree(&stack.central.url(), 4)
}

/// Both the till and its copy sell on: the copy under a series of its own, and nothing of either is lost.
#[test]
fn a_folder_copied_to_another_machine_sells_beside_the_first() -> Result<()> {
    let mut stack = at_work(1, false)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    stack.tills[0].stop();
    let copied = stack.folder().join("copied");
    copy(stack.tills[0].data(), &copied)?;
    // As the copy's machine sees it: the folder was written on another one.
    let path = copied.join("device/identity.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    identity["machine"] = "another machine".into();
    std::fs::write(&path, serde_json::to_vec(&identity)?)?;

    stack.tills[0].start()?;
    let mut other = till_on(&stack, "copied", &copied)?;
    other.start()?;
    let tills = [stack.tills[0].client().clone(), other.client().clone()];
    for till in &tills {
        cashier::sign_in(till)?;
    }
    let mut receipts = BTreeSet::new();
    for number in 0..4 {
        for till in &tills {
            receipts.insert(cashier::sell(till, number)?.receipt);
        }
    }
    assert_eq!(receipts.len(), 8, "a number was given twice: {receipts:?}");
    let series: BTreeSet<_> = receipts.iter().map(|receipt| receipt[..8].to_owned()).collect();
    assert_eq!(series.len(), 2, "{series:?}");
    for till in &tills {
        cashier::wait_until_sent(till)?;
    }
    agree(&stack.central.url(), 9)
}

/// The same machine, so that nothing on the disk tells the two apart until the server does: what the copy sold before that stays on its own
/// disk, shown as unsent; from then on it has a series of its own.
#[test]
fn a_folder_copied_and_used_twice_on_one_machine_is_found_out() -> Result<()> {
    let mut stack = at_work(1, false)?;
    cashier::sell(stack.tills[0].client(), 0)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    stack.tills[0].stop();
    let copied = stack.folder().join("copied");
    copy(stack.tills[0].data(), &copied)?;
    stack.tills[0].start()?;
    cashier::sign_in(stack.tills[0].client())?;
    cashier::sell(stack.tills[0].client(), 1)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    let series = stack.tills[0].client().view()?.till.series;

    // The copy sells once without a link, under the same numbers.
    let nobody = Ports::Free.choose("nobody", Protocol::Udp, 0, &mut |_| {})?;
    let mut cut_off = till_at(&stack, "copied", &copied, nobody)?;
    cut_off.start()?;
    cashier::sign_in(cut_off.client())?;
    let alone = cashier::sell(cut_off.client(), 2)?;
    ensure!(alone.receipt.starts_with(&series), "{} is not in the series {series}", alone.receipt);
    cut_off.stop();

    let mut other = till_on(&stack, "copied", &copied)?;
    other.start()?;
    cashier::sign_in(other.client())?;
    // It is further than the server, and of another history: only what it sends tells.
    let renewed = || Ok((other.client().view()?.till.series != series).then_some(()));
    stack::until("the copy to be told", PATIENCE, renewed)?;
    let sold = cashier::sell(other.client(), 3)?;
    ensure!(!sold.receipt.starts_with(&series), "{} is still in the series {series}", sold.receipt);
    cashier::sell(stack.tills[0].client(), 4)?;
    // Both histories are kept: every sale is in central, and on both screens.
    cashier::wait_until_sent(other.client())?;
    let central = Central::connect(&stack.central.url())?;
    let orders = "SELECT count(*) FROM orders";
    let projected = || Ok(central.query(orders)?.first().map(|row| row.get::<_, i64>(0)).filter(|n| *n == 5));
    stack::until("all five orders in central", PATIENCE, projected)?;
    for client in [other.client(), stack.tills[0].client()] {
        stack::until("all five orders at the till", PATIENCE, || Ok((client.orders(200)?.len() == 5).then_some(())))?;
    }
    // Nothing is hidden either: what no software could prevent is told.
    let flaws = central.flaws()?;
    ensure!(flaws.iter().any(|flaw| flaw.ends_with("are on another branch")), "{flaws:?}");
    ensure!(flaws.iter().any(|flaw| flaw.ends_with("is there 2 times")), "two receipts bear one number: {flaws:?}");
    Ok(())
}

#[test]
fn a_server_without_its_keys_makes_no_new_ones() -> Result<()> {
    let mut stack = at_work(1, false)?;
    for key in ["authority.key", "server.key"] {
        stack.server.stop();
        let path = stack.server.config().with_file_name("data").join(key);
        let kept = path.with_extension("kept");
        std::fs::rename(&path, &kept)?;
        for command in ["run", "init"] {
            let sentence = "… is missing: put it back from a backup, because with a new one every till would be locked out";
            says(&server_complaint(&stack, &[command])?, sentence)?;
        }
        ensure!(!path.exists(), "a new {key} was made");
        std::fs::rename(&kept, &path)?;
        stack.server.start()?;
        cashier::sell(stack.tills[0].client(), 0)?;
        cashier::wait_until_sent(stack.tills[0].client())?;
    }
    agree(&stack.central.url(), 2)
}
