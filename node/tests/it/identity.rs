//! Incarnations, clones, restored files, secrets.

use std::os::unix::fs::PermissionsExt;

use node::identity::{Identity, IdentityError};
use node::till::Till;

use crate::shop::*;

fn sell(till: &mut Till) -> String {
    till.scan("22423", 1);
    till.pay().last_order.expect("a sale").receipt
}

fn working(till: &mut Till) {
    till.sign_in(CASHIER);
    till.open();
}

fn replica_files(shop: &Shop) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let dir = std::fs::read_dir(shop.folder("replica")).expect("the folder");
    dir.map(|e| e.expect("a file").path()).map(|p| (p.clone(), std::fs::read(p).expect("a file"))).collect()
}

fn restore(shop: &Shop, files: &[(std::path::PathBuf, Vec<u8>)]) {
    std::fs::remove_dir_all(shop.folder("replica")).expect("removed");
    std::fs::create_dir(shop.folder("replica")).expect("a folder");
    for (path, bytes) in files {
        std::fs::write(path, bytes).expect("a file");
    }
}

#[test]
fn a_restart_goes_on_under_the_same_incarnation() {
    let (shop, mut till) = Shop::stocked();
    working(&mut till);
    let (origin, first) = (till.own_chain().origin, sell(&mut till));
    drop(till);
    let mut till = shop.reopen();
    till.sign_in(CASHIER);
    assert_eq!(
        (till.own_chain().origin, first.as_str(), sell(&mut till).as_str()),
        (origin, "S01-T03a-000001", "S01-T03a-000002")
    );
}

#[test]
fn an_older_replica_goes_on_under_a_new_incarnation_and_repeats_no_number() {
    let (shop, mut till) = Shop::stocked();
    working(&mut till);
    sell(&mut till);
    drop(till);
    let backup = replica_files(&shop);
    let mut till = shop.reopen();
    till.sign_in(CASHIER);
    assert_eq!(sell(&mut till), "S01-T03a-000002");
    let origin = till.own_chain().origin;
    drop(till);
    restore(&shop, &backup);
    let mut till = shop.reopen();
    assert_ne!(till.own_chain().origin, origin);
    till.sign_in(CASHIER);
    assert_eq!(sell(&mut till), "S01-T03b-000001");
    assert_eq!(till.view().expect("a view").shift.map(|s| s.sales), Some(2), "the shift of the backup is still open");
}

#[test]
fn another_machine_is_another_incarnation() {
    let (mut shop, till) = Shop::stocked();
    drop(till);
    shop.options.machine = Some("a cloned disk".to_owned());
    let till = shop.reopen();
    assert_eq!(till.identity().series(), "S01-T03b");
    drop(till);
    assert_eq!(shop.reopen().identity().series(), "S01-T03b", "once");
}

#[test]
fn a_lost_replica_is_another_incarnation() {
    let (shop, mut till) = Shop::stocked();
    working(&mut till);
    sell(&mut till);
    drop(till);
    restore(&shop, &[]);
    let till = shop.reopen();
    assert_eq!((till.identity().series().as_str(), till.own_chain().commit), ("S01-T03b", 1));
    assert!(till.cursors().iter().all(|(_, at)| *at == 0), "everything is asked for again");
}

#[test]
fn what_an_earlier_incarnation_had_not_sent_is_still_sent() {
    let (mut shop, mut till) = Shop::stocked();
    working(&mut till);
    sell(&mut till);
    till.acked(2, 0).expect("acknowledged");
    let (old, unsent) = (till.own_chain().clone(), till.link_view().unsent);
    drop(till);
    shop.options.machine = Some("a new computer".to_owned());
    let mut till = shop.reopen();
    assert_eq!(till.link_view().unsent, unsent + 1, "and the beginning of the new one");
    till.begin_region([9; 16]).expect("a server's log");
    let all = till.offers().expect("offers");
    assert!(all.is_everything && all.lines.len() > 1, "a server that is met for the first time may lack anything: {all:?}");
    for line in all.lines.iter().filter(|line| line.chain.origin != old.origin) {
        till.note_held(line, line.chain.commit, false).expect("it has what others wrote");
    }
    till.note_offered().expect("that was all");
    let offers = till.offers().expect("offers");
    let [line] = &offers.lines[..] else { panic!("only what this till wrote before: {offers:?}") };
    assert_eq!((&line.chain, offers.is_everything), (&old, false));
    let run = till.run_after(line, 2, 1 << 20).expect("a run").expect("some");
    assert_eq!((run.origin, run.commits.len() as u64), (old.origin, unsent));
    till.note_held(line, old.commit, false).expect("on the server's disk");
    assert_eq!((till.link_view().unsent, till.link_view().not_central), (1, old.commit + 1));
    assert_eq!(till.offers().expect("offers").lines.len(), 1, "it is offered until the central database has it");
    till.note_held(line, 1, false).expect("the server's log went back without saying so");
    assert_eq!(till.link_view().unsent, old.commit);
    till.note_held(line, old.commit, true).expect("in the central database");
    assert!(till.offers().expect("offers").lines.is_empty());
    assert_eq!((till.link_view().unsent, till.link_view().not_central), (1, 1));
}

#[test]
fn two_programs_do_not_share_a_folder() {
    let (shop, till) = Shop::new();
    let second = Identity::load(shop.folder.path()).expect_err("in use");
    assert!(matches!(second, IdentityError::InUse(_)), "{second}");
    drop(till);
    Identity::load(shop.folder.path()).expect("free again");
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    for secret in ["device/device.key", "device/replica.key"] {
        let (shop, till) = Shop::new();
        drop(till);
        let path = shop.folder(secret);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("permissions");
        let error = Identity::load(shop.folder.path()).expect_err("readable");
        assert!(matches!(&error, IdentityError::Readable(p) if *p == path), "{error}");
        assert!(error.to_string().contains("chmod 600"));
    }
}

#[test]
fn what_a_newer_program_wrote_into_the_identity_survives() {
    let (mut shop, till) = Shop::new();
    drop(till);
    let path = shop.folder("device/identity.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    json["colour"] = "green".into();
    std::fs::write(&path, json.to_string()).expect("a file");
    shop.options.machine = Some("another".to_owned());
    drop(shop.reopen());
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    assert_eq!((&json["colour"], &json["incarnation_tag"]), (&"green".into(), &"b".into()));
}

#[test]
fn a_folder_without_a_device_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Identity::load(folder.path()).expect_err("not enrolled");
    assert!(error.to_string().contains("enrol LINK"), "{error}");
}
