//! A log with a flipped bit: never sent on, found, put aside, and begun anew with what can still be read; the rest comes back from devices.

use std::path::Path;
use std::sync::Arc;

use domain::document::Store;
use domain::ids::{DeviceId, StoreId};
use domain::money::Currency;
use domain::tax::TaxMode;
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Seal, SigningKey};
use operations::damaged::MachineFiles;
use sync_proto::batch::Run;
use sync_proto::scopes;
use sync_server::region::{Care, Region, RegionError, Sender, Writer};

const SALES: usize = 120;

fn writer() -> Writer {
    Writer {
        device: DeviceId(uuid::Uuid::from_bytes([100; 16])),
        incarnation: [101; 16],
        actor_seed: [102; 16],
        key: SigningKey::from_bytes(&[103; 32]),
    }
}

fn open(path: &Path, incarnation: u8) -> Region {
    let writer = Writer { incarnation: [incarnation; 16], ..writer() };
    let mut region = Region::open_or_begin_anew(path, None, Arc::new(MachineFiles), writer).expect("opens");
    region.start(1, "test").expect("starts");
    region
}

fn store() -> Store {
    Store {
        id: StoreId(uuid::Uuid::from_bytes([50; 16])),
        code: "S01".into(),
        name: "Shop".into(),
        address: vec![],
        currency: Currency::new("GBP").expect("GBP"),
        tax_mode: TaxMode::Inclusive,
        receipt_footer: String::new(),
        receipt_header: Vec::new(),
        languages: vec!["en".to_owned()],
        time_zone: "UTC".to_owned(),
    }
}

/// A log with a store, a till and what that wrote, closed; and what the till wrote, as it brings it.
fn founded(path: &Path) -> (Run, Vec<[u8; 32]>) {
    let mut region = open(path, 101);
    region.add_store(store(), 1).expect("a store");
    let (key, device) = (SigningKey::from_bytes(&[7; 32]), DeviceId(uuid::Uuid::from_bytes([7; 16])));
    region.issue_code("S01", "Till", "AAAAAAAAAA", 1).expect("a code");
    region.redeem("AAAAAAAAAA", device, key.verifying_key().to_bytes(), 1).expect("admitted");
    let mut chain = OriginChain::new(Origin { device: [7; 16], incarnation: [8; 16] });
    let scope = scopes::store(store().id);
    let before = [(scope.clone(), chain.head(&scope))].into();
    let commit = |n: usize| {
        // Records of a kind that nobody knows are kept like any others.
        let body = Body::Record { kind: 900, version: 1, bytes: [&[0x58, 0xc8][..], &[n as u8; 200]].concat() };
        let commit =
            chain.append(&key, Hlc::new(1_700_000_000_000 + n as u64, 0), None, vec![NewEntry { scope: scope.clone(), body }]);
        let entries = commit.entries.into_iter().map(|entry| (entry.scope, entry.bytes)).collect();
        ReceivedCommit { entries, seal: Some(Seal { signature: commit.signature, foreign: Vec::new() }) }
    };
    let commits: Vec<ReceivedCommit> = (0..SALES).map(commit).collect();
    let run = Run { origin: chain.origin, before, commits };
    region.admit_all(vec![(Sender::Writer(device), run.clone())]).expect("the log takes it").remove(0).expect("admitted");
    let hashes = region.rows_after(0, 10_000, usize::MAX).expect("rows").into_iter().map(|row| row.hash).collect();
    (run, hashes)
}

/// Audits a log to its end, and opens it anew as often as it is put aside.
fn audited(path: &Path, mut region: Region) -> Region {
    loop {
        let mut is_suspected = true;
        let done = loop {
            match region.audit_step(1, std::mem::take(&mut is_suspected)) {
                Ok(Care::More) => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match done {
            Ok(()) => return region,
            Err(error) => assert!(matches!(error, RegionError::PutAside(_)) && region.is_over(), "{error}"),
        }
        drop(region);
        region = open(path, 120);
    }
}

#[test]
fn a_flipped_bit_is_never_sent_on_and_costs_nothing_that_a_device_still_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("region.db");
    let (brought, hashes) = founded(&path);
    let kept = std::fs::read(&path).expect("read");
    let (mut aside, mut survived, mut tried) = (0, 0, 0);
    for at in (100..kept.len()).step_by(1_223) {
        tried += 1;
        for name in ["region.db-wal", "region.db-shm", "damaged-1.db", "damaged-2.db"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        let mut bytes = kept.clone();
        bytes[at] ^= 0x04;
        std::fs::write(&path, bytes).expect("written");
        let mut region = open(&path, 110);
        // Whatever is read is what was signed, or nothing is.
        let mut after = 0;
        while let Ok(rows) = region.rows_after(after, 16, usize::MAX) {
            let Some(last) = rows.last() else { break };
            after = last.region_seq;
            let mut sent = rows.iter().filter(|row| row.origin == brought.origin);
            assert!(sent.all(|row| hashes.contains(&row.hash)), "byte {at}: something else is sent");
        }
        region = audited(&path, region);
        aside += usize::from(folder.path().join("damaged-1.db").exists());
        let device = DeviceId(uuid::Uuid::from_bytes([7; 16]));
        if region.device(device).is_none() {
            // Who the till is comes back from the central database, which this test has not.
            continue;
        }
        survived += 1;
        let admitted = region.admit_all(vec![(Sender::Writer(device), brought.clone())]).expect("the log takes it").remove(0);
        assert_eq!(admitted.expect("admitted").commit, SALES as u64, "byte {at}");
        while region.salvage_step().expect("a step") == Care::More {}
        region = audited(&path, region);
        let rows = region.rows_after(0, 10_000, usize::MAX).expect("rows");
        let there = rows.iter().filter(|row| row.origin == brought.origin).count();
        assert_eq!(there, SALES, "byte {at}, put aside: {}", folder.path().join("damaged-1.db").exists());
        assert!(region.verify().is_ok(), "byte {at}: {:?}", region.verify());
    }
    println!("{tried} bits: {aside} put aside, {survived} with the till still known");
    assert!(
        aside * 4 > tried && survived * 10 > tried * 8,
        "{tried} bits: {aside} put aside, {survived} with the till still known"
    );
}

#[test]
fn a_log_that_is_as_it_was_signed_is_audited_once_a_day_and_after_it_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("region.db");
    founded(&path);
    let hours = 3_600_000;
    let mut region = open(&path, 110);
    assert_eq!(region.audit_step(0, false).expect("a step"), Care::More);
    region = audited(&path, region);
    assert_eq!(region.audit_step(23 * hours, false).expect("a step"), Care::Done);
    assert_eq!(region.audit_step(25 * hours, false).expect("a step"), Care::More);
    while region.audit_step(25 * hours, false).expect("a step") == Care::More {}
    region.end_use().expect("noted");
    drop(region);
    let mut region = open(&path, 110);
    assert_eq!(region.audit_step(26 * hours, false).expect("a step"), Care::Done);
    drop(region);
    let mut region = open(&path, 110);
    assert_eq!(region.audit_step(26 * hours, false).expect("a step"), Care::More, "it was killed");
}
