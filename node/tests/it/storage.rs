//! The disk: what it keeps, what it loses, what it is asked.

use node::api::{ApiErrorCode as Code, Command, Query, RefundLine};
use node::store::{Replica, StoreError, StoreOptions, rebuild};
use node::till::{Answer, Till};

use crate::shop::*;

fn pragma(till: &Till, name: &str) -> String {
    till.db()
        .expect("the database")
        .query_row(&format!("PRAGMA {name}"), [], |r| r.get_ref(0).map(|v| format!("{v:?}")))
        .expect("a pragma")
}

#[test]
fn every_commit_waits_for_the_disk() {
    let (_shop, till) = Shop::new();
    assert_eq!(pragma(&till, "synchronous"), "Integer(2)");
    assert_eq!(pragma(&till, "foreign_keys"), "Integer(1)");
    assert_eq!(pragma(&till, "wal_autocheckpoint"), "Integer(0)");
    assert!(pragma(&till, "journal_mode").contains("119, 97, 108"), "wal: {}", pragma(&till, "journal_mode"));
    assert!(pragma(&till, "cipher_version") != "Null", "the file is encrypted");
}

#[test]
fn nothing_readable_is_on_the_disk() {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    till.scan("22423", 1);
    for name in ["replica.db", "replica.db-wal", "draft.db", "draft.db-wal"] {
        let bytes = std::fs::read(shop.folder(&format!("replica/{name}"))).expect("a file");
        assert!(!bytes.is_empty() && !bytes.windows(10).any(|w| w == b"Cake stand"), "{name}");
    }
}

/// A till with a day behind it: sales, refunds, corrections, a neighbour's sale.
fn busy() -> (Shop, Till) {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(MANAGER);
    till.open();
    let mut sales = Vec::new();
    for pieces in 1..6 {
        shop.env.pass_ms(1_000);
        till.scan("22423", pieces);
        till.scan("85123A", 1);
        sales.push(till.pay().last_order.expect("a sale").order);
    }
    let Answer::Order(order) = till.query(Query::Order { order: sales[2] }).expect("an order") else { panic!("an order") };
    let lines = vec![RefundLine { line: 0, quantity_milli: 1_500 }];
    till.must(Command::RefundSale { refund: order.next_refund, original: sales[2], lines, reason: "r".to_owned() });
    let line = node::api::AdjustLine { code: "85123a".to_owned(), quantity_milli: 144_000, unit_price: 123 };
    till.must(Command::AdjustStock { lines: vec![line], reason: "delivery".to_owned(), reference: Some("D1".to_owned()) });
    till.must(Command::AdjustAccount {
        description: "Adjust bad debt".to_owned(),
        quantity_milli: 1_000,
        unit_price: -110_620_600,
        reference: None,
    });
    (shop, till)
}

#[test]
fn rebuilding_from_the_log_gives_the_same_rows() {
    let (_shop, mut till) = busy();
    till.tidy().expect("tidied");
    let before = rebuild::dump(till.db().expect("the database")).expect("a dump");
    assert!(before.contains("orders|") && before.contains("stock_level|") && before.contains("refunded|"));
    let view = till.view().expect("a view");
    till.rebuild().expect("a rebuild");
    assert_eq!(rebuild::dump(till.db().expect("the database")).expect("a dump"), before);
    assert_eq!(till.view().expect("a view"), view);
    assert!(till.query(Query::Search { text: "cake".to_owned(), limit: 3 }).is_ok_and(|a| a != Answer::Products(vec![])));
}

#[test]
fn rebuilding_repairs_what_was_changed_behind_its_back() {
    let (_shop, mut till) = busy();
    till.tidy().expect("tidied");
    let dump = |till: &Till| rebuild::dump(till.db().expect("the database")).expect("a dump");
    let before = dump(&till);
    till.db().expect("the database").execute_batch("UPDATE orders SET total = 1; DELETE FROM staff").expect("a change");
    assert_ne!(dump(&till), before);
    till.rebuild().expect("a rebuild");
    assert_eq!(dump(&till), before);
}

#[test]
fn sums_are_the_same_whether_or_not_they_were_written() {
    let (shop, till) = busy();
    let answers = |till: &Till| {
        let ledger = till.query(Query::Ledger {}).expect("a ledger");
        let found = till.query(Query::Search { text: "h".to_owned(), limit: 100 }).expect("products");
        (till.view().expect("a view").shift, ledger, found)
    };
    let before = answers(&till);
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(answers(&till), before, "folded again at the start");
    till.tidy().expect("tidied");
    assert_eq!(answers(&till), before, "written");
    till.sign_in(CASHIER);
    till.scan("22423", 1);
    till.pay();
    let after = answers(&till);
    drop(till);
    assert_eq!(answers(&shop.reopen()), after, "written and folded");
}

#[test]
fn a_full_disk_records_nothing_and_loses_nothing() {
    let (_shop, mut till) = busy();
    till.scan("22423", 2);
    let commit = till.own_chain().commit;
    let pages: i64 = till.db().expect("the database").query_row("PRAGMA page_count", [], |r| r.get(0)).expect("pages");
    // Sales go on until the file would have to grow.
    till.db().expect("the database").execute_batch(&format!("PRAGMA max_page_count = {pages}")).expect("a full disk");
    let mut sold = 0;
    let refused = loop {
        let order = till.view().expect("a view").cart.order;
        match till.ask(Command::SettleCash { order, tendered_minor: 10_000 }) {
            Ok(_) => sold += 1,
            Err(error) => break error,
        }
        till.scan("22423", 2);
        assert!(sold < 1_000, "the disk never filled up");
    };
    assert_eq!(refused.code, Code::Storage);
    let view = till.view().expect("a view");
    assert_eq!((view.cart.lines.len(), till.own_chain().commit), (1, commit + sold));
    till.db().expect("the database").execute_batch("PRAGMA max_page_count = 1000000").expect("room");
    let receipt = till.pay().last_order.expect("a sale").receipt;
    assert_eq!(receipt, format!("S01-T03a-{:06}", 6 + sold + 1), "no number is left out");
    assert_eq!(till.view().expect("a view").shift.map(|s| s.sales), Some(5 + sold + 1));
}

#[test]
fn a_commit_that_fails_is_looked_up_and_not_repeated() {
    let (_shop, mut till) = busy();
    let view = till.scan("22423", 1);
    let settle = Command::SettleCash { order: view.cart.order, tendered_minor: 2_000 };
    let chain = till.own_chain().clone();
    break_next_commit(&till);
    assert_eq!(till.refused(settle.clone()), Code::Storage);
    assert_eq!(*till.own_chain(), chain, "the chain is as it is on disk");
    assert_eq!(till.view().expect("a view").cart, view.cart);
    let settled = till.must(settle.clone());
    assert_eq!(settled.shift.as_ref().map(|s| s.sales), Some(6));
    assert_eq!(till.must(settle).shift, settled.shift);
}

#[test]
fn while_the_disk_does_not_answer_nobody_is_told_a_guess() {
    let (shop, mut till) = busy();
    let view = till.scan("22423", 1);
    let settle = Command::SettleCash { order: view.cart.order, tendered_minor: 2_000 };
    break_next_commit(&till);
    let (file, away) = (shop.folder("replica/replica.db"), shop.folder("away.db"));
    std::fs::rename(&file, &away).expect("the file is gone");
    assert_eq!(till.refused(settle.clone()), Code::InDoubt);
    assert_eq!(till.refused(settle.clone()), Code::InDoubt, "nothing is begun on another file, and nobody knows");
    assert!(till.view().is_err() && !file.exists());
    std::fs::rename(&away, &file).expect("the file is back");
    assert_eq!(till.must(settle).shift.map(|s| s.sales), Some(6));
}

#[test]
fn a_sale_that_is_on_the_disk_without_anyone_being_told_is_not_sold_again() {
    let (_shop, mut till) = busy();
    let view = till.scan("22423", 1);
    let settle = Command::SettleCash { order: view.cart.order, tendered_minor: 2_000 };
    let commit = till.own_chain().commit;
    let change = |till: &Till, sql: &str| till.db().expect("the database").execute_batch(sql).expect("a change");
    // Only the screen reads the names of devices.
    change(&till, "ALTER TABLE device RENAME TO elsewhere");
    assert_eq!(till.refused(settle.clone()), Code::InDoubt, "not \"nothing was recorded\"");
    change(&till, "ALTER TABLE elsewhere RENAME TO device");
    let settled = till.must(settle);
    assert_eq!((settled.last_order.map(|o| o.order), settled.shift.map(|s| s.sales)), (Some(view.cart.order), Some(6)));
    assert_eq!(till.own_chain().commit, commit + 1);
}

/// A deferred constraint breaks at COMMIT, and is gone with the connection, as a disk that failed once.
fn break_next_commit(till: &Till) {
    let trap = "CREATE TEMP TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TEMP TRIGGER breaks AFTER INSERT ON main.orders BEGIN INSERT INTO child VALUES (1); END;";
    till.db().expect("the database").execute_batch(trap).expect("a trap");
}

#[test]
fn files_that_do_not_fit_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("replica.db");
    let options = StoreOptions::default();
    drop(Replica::open(&path, &[1; 32], &options).expect("a replica"));
    let wrong_key = Replica::open(&path, &[2; 32], &options).expect_err("another key");
    assert!(matches!(wrong_key, StoreError::WrongKey(_)), "{wrong_key:?}");

    let replica = Replica::open(&path, &[1; 32], &options).expect("a replica");
    replica.db().execute_batch("PRAGMA user_version = 99").expect("a newer schema");
    drop(replica);
    let newer = Replica::open(&path, &[1; 32], &options).expect_err("a newer schema");
    assert!(matches!(newer, StoreError::Newer { found: 99, .. }), "{newer:?}");

    std::fs::write(&path, b"this is no database, whatever it is called; it is longer than a header of one would be")
        .expect("a file");
    let _ = std::fs::remove_file(folder.path().join("replica.db-wal"));
    let damaged = Replica::open(&path, &[1; 32], &options).expect_err("no database");
    assert!(matches!(damaged, StoreError::WrongKey(_)), "{damaged:?}");
}

#[test]
fn an_exclusive_file_needs_no_shared_memory() {
    let (mut shop, till) = Shop::stocked();
    drop(till);
    shop.options.store.exclusive = true;
    let mut till = shop.reopen();
    till.sign_in(CASHIER);
    till.open();
    till.scan("22423", 1);
    assert_eq!(till.pay().last_order.map(|o| o.total_minor), Some(1_275));
    assert!(!shop.folder("replica/replica.db-shm").exists());
}

#[test]
fn a_draft_that_cannot_be_read_is_set_aside() {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.scan("22423", 1);
    drop(till);
    std::fs::write(shop.folder("replica/draft.db"), [7; 8_192]).expect("a broken draft");
    let till = shop.reopen();
    assert!(till.view().expect("a view").cart.lines.is_empty());
    assert!(shop.folder("replica/draft.db.unreadable").exists());
}
