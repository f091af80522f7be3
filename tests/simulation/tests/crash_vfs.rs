//! The crash disk judged by plain SQLite: it must let through what SQLite promises and take away what it does not.

use rusqlite::{Connection, OpenFlags};
use simulation::crash_vfs::{Call, Disk, Fault, FaultKind, Moment, Tear};
use std::sync::{Arc, Mutex};

const SALES: u64 = 12;

/// How a shop's file is opened.
#[derive(Clone, Copy)]
struct Setup {
    journal: &'static str,
    synchronous: &'static str,
    key: bool,
}

const WAL_FULL: Setup = Setup { journal: "WAL", synchronous: "FULL", key: false };

fn open(disk: &Disk, setup: Setup) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags_and_vfs("/somewhere/shop.db", OpenFlags::default(), disk.vfs())?;
    if setup.key {
        db.execute_batch("PRAGMA cipher_log = off; PRAGMA cipher_log_level = NONE; PRAGMA key = \"x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'\"")?;
    }
    let Setup { journal, synchronous, .. } = setup;
    db.execute_batch(&format!(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode={journal}; PRAGMA synchronous={synchronous};
         PRAGMA wal_autocheckpoint=20;
         CREATE TABLE IF NOT EXISTS sale(id INTEGER PRIMARY KEY, note TEXT); CREATE INDEX IF NOT EXISTS by_note ON sale(note);"
    ))?;
    Ok(db)
}

fn sell(db: &Connection, id: u64) -> rusqlite::Result<()> {
    let note = format!("{id}-").repeat(500);
    db.execute("INSERT INTO sale(id, note) VALUES (?1, ?2)", (id as i64, note)).map(|_| ())
}

fn sales(db: &Connection) -> u64 {
    db.query_row("SELECT count(*) FROM sale", [], |row| row.get::<_, i64>(0)).expect("the sales are readable") as u64
}

fn is_sound(db: &Connection) -> bool {
    db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).is_ok_and(|answer| answer == "ok")
}

/// A day that is watched: at each call, the disk and how many sales had been acknowledged.
fn day(setup: Setup) -> Vec<(Moment, u64)> {
    let disk = Disk::new();
    let seen = Arc::new(Mutex::new((0, Vec::new())));
    let watcher = Arc::clone(&seen);
    disk.watch(move |moment| {
        let mut seen = watcher.lock().expect("no one panicked");
        let acknowledged = seen.0;
        seen.1.push((moment, acknowledged));
    });
    let db = open(&disk, setup).expect("an empty disk takes a database");
    for id in 1..=SALES {
        sell(&db, id).expect("a sound disk takes a sale");
        seen.lock().expect("no one panicked").0 = id;
    }
    drop(db);
    disk.unwatch();
    std::mem::take(&mut seen.lock().expect("no one panicked").1)
}

/// How many cuts there were, how many lost an acknowledged sale, how many left a broken database.
fn sweep(setup: Setup) -> (u64, u64, u64) {
    let (mut cuts, mut lost, mut broken) = (0, 0, 0);
    for (moment, acknowledged) in day(setup) {
        for seed in 0..8 {
            cuts += 1;
            let disk = moment.after_power_cut(seed);
            match open(&disk, setup) {
                Ok(db) if is_sound(&db) => lost += u64::from(sales(&db) < acknowledged),
                _ => broken += 1,
            }
        }
    }
    (cuts, lost, broken)
}

#[test]
fn with_full_sync_every_acknowledged_sale_is_kept() {
    // A rollback journal keeps its promise only if its deletion is synced too.
    for setup in [WAL_FULL, Setup { key: true, ..WAL_FULL }, Setup { journal: "DELETE", synchronous: "EXTRA", key: false }] {
        let (cuts, lost, broken) = sweep(setup);
        println!("{} {} key={}: {cuts} cuts, {lost} lost a sale, {broken} broke", setup.journal, setup.synchronous, setup.key);
        assert!(cuts > 8 * 3 * SALES);
        assert_eq!((lost, broken), (0, 0), "{} with key={}", setup.journal, setup.key);
    }
}

#[test]
fn wal_with_normal_sync_loses_acknowledged_sales_and_stays_sound() {
    let (cuts, lost, broken) = sweep(Setup { synchronous: "NORMAL", ..WAL_FULL });
    println!("WAL NORMAL: {cuts} cuts, {lost} lost a sale, {broken} broke");
    assert!(lost > cuts / 10, "{lost} of {cuts}: the disk is too kind");
    assert_eq!(broken, 0);
}

#[test]
fn without_any_sync_databases_break() {
    let (cuts, _, broken) = sweep(Setup { journal: "DELETE", synchronous: "OFF", key: false });
    println!("DELETE OFF: {cuts} cuts, {broken} broke");
    assert!(broken > 0, "{cuts} cuts broke nothing: the disk is too kind");
}

#[test]
fn a_cut_that_the_process_sees_ends_like_one_that_was_watched() {
    let calls = day(WAL_FULL).len() as u64;
    for at in 0..calls {
        let disk = Disk::new();
        disk.plan(Fault { at, kind: FaultKind::PowerCut });
        let sold = open(&disk, WAL_FULL).map_or(0, |db| (1..=SALES).take_while(|id| sell(&db, *id).is_ok()).count() as u64);
        assert_eq!(disk.open_files(), 0);
        assert!(disk.fired() >= 1, "cut {at} of {calls} did not fire");
        for seed in 0..4 {
            let found = disk.after_power_cut(seed);
            let db = open(&found, WAL_FULL).expect("what is left opens");
            assert!(is_sound(&db), "cut {at}, seed {seed}");
            assert!(
                (sold..=sold + 1).contains(&sales(&db)),
                "cut {at}, seed {seed}: {sold} were shown, {} are there",
                sales(&db)
            );
        }
    }
}

#[test]
fn a_full_disk_refuses_and_then_goes_on() {
    let disk = Disk::new();
    let db = open(&disk, WAL_FULL).expect("opens");
    sell(&db, 1).expect("room");
    disk.plan(Fault { at: disk.calls(), kind: FaultKind::DiskFull { calls: 5 } });
    let refused = (0..20).take_while(|_| sell(&db, 2).is_err()).count();
    assert!((1..20).contains(&refused), "refused {refused} times");
    assert_eq!(sales(&db), 2);
    assert!(is_sound(&db));
}

#[test]
fn an_error_fails_so_many_calls() {
    let disk = Disk::new();
    let db = open(&disk, WAL_FULL).expect("opens");
    disk.plan(Fault { at: disk.calls(), kind: FaultKind::Error { calls: 1 } });
    sell(&db, 1).expect_err("the call failed");
    sell(&db, 1).expect("the next does not");
    assert_eq!(disk.fired(), 1);
}

/// The trap for a program that trusts what it can read after a failed commit.
#[test]
fn a_failed_sync_may_leave_a_commit_that_is_read_and_then_lost() {
    for (forgets, at_last) in [(false, 1), (true, 0)] {
        let disk = Disk::new();
        let db = open(&disk, WAL_FULL).expect("opens");
        disk.plan(Fault { at: disk.calls(), kind: FaultKind::SyncError { forgets } });
        sell(&db, 1).expect_err("the commit's sync failed");
        assert_eq!(sales(&db), 0);
        let reopened = disk.after_kill();
        let again = open(&reopened, WAL_FULL).expect("opens again");
        assert_eq!(sales(&again), 1, "the commit's frames are in the log");
        sell(&again, 2).expect("another sale is taken and synced");
        let found = open(&reopened.after_power_cut(0), WAL_FULL).map_or(0, |db| sales(&db).min(1));
        assert_eq!(found, at_last, "forgets: {forgets}");
    }
}

#[test]
fn two_connections_are_kept_apart() {
    let disk = Disk::new();
    let first = open(&disk, WAL_FULL).expect("opens");
    sell(&first, 1).expect("sells");
    let second = Connection::open_with_flags_and_vfs("shop.db", OpenFlags::default(), disk.vfs()).expect("opens lazily");
    second.query_row("SELECT count(*) FROM sale", [], |row| row.get::<_, i64>(0)).expect_err("the file is locked");
}

#[test]
fn every_kind_of_tear_and_call_occurs() {
    let tears: Vec<_> = (0..4).map(Tear::of).collect();
    assert_eq!(tears, [Tear::Nothing, Tear::Everything, Tear::Writes, Tear::Sectors]);
    let mut calls: Vec<_> = day(Setup { journal: "DELETE", ..WAL_FULL }).iter().map(|(moment, _)| moment.call).collect();
    calls.extend(day(Setup { journal: "TRUNCATE", ..WAL_FULL }).iter().map(|(moment, _)| moment.call));
    calls.sort();
    calls.dedup();
    assert_eq!(calls, [Call::Create, Call::Write, Call::SetLen, Call::Sync, Call::Delete]);
}

/// Another trap: a read that failed once is read again, but SQLCipher has given up on the connection.
#[test]
fn one_failed_read_spoils_an_encrypted_connection_until_it_is_opened_anew() {
    for key in [false, true] {
        let setup = Setup { key, ..WAL_FULL };
        let disk = Disk::new();
        let db = open(&disk, setup).expect("opens");
        (1..=SALES).for_each(|id| sell(&db, id).expect("sells"));
        drop(db);
        let db = open(&disk, setup).expect("opens");
        let count = |db: &Connection| db.query_row("SELECT count(length(note)) FROM sale", [], |row| row.get::<_, i64>(0));
        disk.plan(Fault { at: disk.reads(), kind: FaultKind::ReadError });
        count(&db).expect_err("the read failed");
        assert_eq!((disk.fired(), count(&db).is_ok()), (1, !key));
        drop(db);
        assert_eq!(open(&disk, setup).and_then(|db| count(&db)).expect("it is all there"), SALES as i64);
    }
}

/// A rollback on a disk that fails at any call, with pages that are in the log already: whatever the connection reads afterwards, nothing of what was
/// rolled back is in it, and it is ready for the next transaction. So nobody's memory is ahead of the disk.
#[test]
fn a_rollback_on_a_failing_disk_leaves_nothing_behind() {
    let (mut fired, mut refused) = (0, 0);
    for key in [false, true] {
        for kind in [
            FaultKind::ReadError,
            FaultKind::Error { calls: 1 },
            FaultKind::Error { calls: 8 },
            FaultKind::DiskFull { calls: 25 },
        ] {
            for call in 0..60 {
                let disk = Disk::new();
                let db = open(&disk, Setup { key, ..WAL_FULL }).expect("an empty disk takes a database");
                // So few pages in memory that a transaction writes some before it ends, and reads them again.
                db.execute_batch("PRAGMA cache_size = 4; PRAGMA cache_spill = 4;").expect("a small cache");
                for id in 1..=SALES {
                    sell(&db, id).expect("a sound disk takes a sale");
                }
                let tx = db.unchecked_transaction().expect("a transaction");
                let counted = if kind == FaultKind::ReadError { disk.reads() } else { disk.calls() };
                disk.plan(Fault { at: counted + call, kind });
                let written = tx.execute("UPDATE sale SET note = 'x' || note", []);
                let _ = written.and_then(|_| tx.query_row("SELECT sum(length(note)) FROM sale", [], |row| row.get::<_, i64>(0)));
                drop(tx);
                fired += u64::from(disk.fired() > 0);
                disk.heal();
                assert!(db.is_autocommit(), "{kind:?} at {call}: a transaction is open");
                let ahead: rusqlite::Result<i64> =
                    db.query_row("SELECT count(*) FROM sale WHERE note LIKE 'x%'", [], |row| row.get(0));
                match ahead {
                    Ok(ahead) => assert_eq!((ahead, sales(&db)), (0, SALES), "{kind:?} at {call}"),
                    // SQLCipher answers nothing more after a failed read; the file is opened anew.
                    Err(_) => {
                        refused += 1;
                        drop(db);
                        let db = open(&disk, Setup { key, ..WAL_FULL }).expect("a sound disk");
                        assert_eq!(sales(&db), SALES, "{kind:?} at {call}");
                    }
                }
            }
        }
    }
    println!("{fired} faults, {refused} connections that answered nothing more");
    assert!(fired > 100, "{fired}");
}
