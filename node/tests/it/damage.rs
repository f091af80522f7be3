//! A replica with a flipped bit: found, put aside, and taken over as far as it can be read.

use node::api::{ApiError, Command, Query};
use node::store::{StoreError, log};
use node::till::{Answer, Care, Till};

use crate::shop::*;

/// Where the bit of a page is flipped, in bytes: beyond the salt of the first one, which nothing can make up for.
const IN_PAGE: usize = 1_000;
const PAGE: usize = 4_096;

/// A till with so many sales behind it, whose program has ended.
fn sold(sales: i64) -> Shop {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    for pieces in 1..=sales {
        till.scan("22423", pieces);
        till.scan("85123A", 1);
        till.pay();
    }
    drop(till);
    shop
}

fn flip(shop: &Shop, at: usize) {
    let path = shop.folder("replica/replica.db");
    let mut bytes = std::fs::read(&path).expect("a replica");
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).expect("written");
}

/// How many orders a till lists, opened anew as often as that finds something damaged.
fn orders(shop: &Shop, mut till: Till) -> (Till, usize) {
    loop {
        match till.query(Query::Orders { text: String::new(), limit: 200 }) {
            Ok(Answer::Orders(orders)) => return (till, orders.len()),
            Ok(other) => panic!("asked for orders, answered {other:?}"),
            Err(error) => {
                let examined = till.examine();
                assert!(till.is_over(), "{error:?}, then {examined:?}");
            }
        }
        drop(till);
        till = cared_for(shop, shop.reopen());
    }
}

/// Lets a till look after its files, and starts it again as often as it puts one aside.
fn cared_for(shop: &Shop, mut till: Till) -> Till {
    loop {
        let done = (|| {
            while till.salvage_step()? == Care::More {}
            while till.audit_step()? == Care::More {}
            Ok::<_, StoreError>(())
        })();
        match done {
            Ok(()) => return till,
            Err(error) => assert!(till.is_over(), "{error}"),
        }
        drop(till);
        till = shop.reopen();
    }
}

fn salvaged(till: &mut Till) -> Care {
    loop {
        match till.salvage_step().expect("a step") {
            Care::More => {}
            ended => return ended,
        }
    }
}

/// One sale, by somebody who signs in first.
fn sell(till: &mut Till) -> Result<String, ApiError> {
    till.ask(Command::SignIn { staff: staff_id(CASHIER), pin: "1111".to_owned() })?;
    if till.view()?.shift.is_none() {
        till.ask(Command::OpenShift { float_minor: 0, business_day: None })?;
    }
    till.ask(scan("22423", 1))?;
    let cart = till.view()?.cart;
    let view = till.ask(Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor })?;
    Ok(view.last_order.expect("a sale").receipt)
}

#[test]
fn a_bit_of_any_page_costs_at_most_what_is_on_that_page() {
    const SALES: usize = 60;
    let pages = std::fs::metadata(sold(SALES as i64).folder("replica/replica.db")).expect("a replica").len() as usize / PAGE;
    let (mut whole, mut aside, mut least) = (0, 0, SALES);
    // Every third: a test opens a till some hundred times.
    for page in (0..pages).step_by(3) {
        let shop = sold(SALES as i64);
        flip(&shop, page * PAGE + IN_PAGE);
        let (mut till, there) = orders(&shop, cared_for(&shop, shop.reopen()));
        whole += usize::from(there == SALES);
        aside += usize::from(shop.folder("replica/damaged-1.db").exists());
        least = least.min(there);
        if there < SALES {
            continue;
        }
        // It sells on, whatever page that was, and every receipt number is another one.
        let receipt = loop {
            if let Ok(receipt) = sell(&mut till) {
                break receipt;
            }
            // What nobody had read until now is damaged: it begins anew.
            assert!(till.is_over(), "page {page}");
            drop(till);
            till = cared_for(&shop, shop.reopen());
        };
        assert!(!receipt.starts_with("S01-T03a-") || !shop.folder("replica/damaged-1.db").exists(), "page {page}: {receipt}");
        // One that the screen could not be sure of may be there besides.
        let (_till, there) = orders(&shop, till);
        assert!((SALES + 1..=SALES + 2).contains(&there), "page {page}: {there} sales");
    }
    println!("{pages} pages: {aside} put aside, {whole} with everything; at least {least} of {SALES} sales");
    assert!(aside * 6 > pages, "{aside} of {pages} were noticed");
    assert!(whole * 6 > pages, "{whole} of {pages} gave everything back");
}

#[test]
fn what_follows_something_unreadable_waits_until_that_comes_from_elsewhere() {
    let shop = sold(60);
    let till = shop.reopen();
    let origin = till.own_chain().origin;
    let row = log::find_origin(till.db().expect("a database"), origin).expect("looked").expect("a row");
    let all = till.own_runs_after(0, usize::MAX, 4_096).expect("read").expect("a run");
    assert_eq!(all.commits.len() as u64, log::load_chain(till.db().expect("a database"), row).expect("a chain").commit);
    drop(till);
    let pages = std::fs::metadata(shop.folder("replica/replica.db")).expect("a replica").len() as usize / PAGE;
    let kept = std::fs::read(shop.folder("replica/replica.db")).expect("read");
    let mut waited = 0;
    for page in (1..pages).step_by(3) {
        for name in ["replica.db", "replica.db-wal", "replica.db-shm", "damaged-1.db"] {
            let _ = std::fs::remove_file(shop.folder(&format!("replica/{name}")));
        }
        std::fs::write(shop.folder("replica/replica.db"), &kept).expect("written");
        flip(&shop, page * PAGE + IN_PAGE);
        let mut till = cared_for(&shop, shop.reopen());
        if salvaged(&mut till) != Care::Waits {
            continue;
        }
        waited += 1;
        // The server has it all.
        till.receive(vec![all.clone()], shop.region_seq + 1).expect("what the server has");
        assert_eq!(salvaged(&mut till), Care::Done, "page {page}: nothing waits any more");
        assert_eq!(orders(&shop, till).1, 60);
    }
    println!("{waited} of {pages} pages made something wait");
    assert!(waited > 0);
}

#[test]
fn a_till_at_work_puts_its_damaged_replica_aside_and_goes_on_when_it_is_opened_anew() {
    let shop = sold(30);
    let mut till = shop.reopen();
    // A page that nobody has read yet: the cache gives back those that were.
    let pages = std::fs::metadata(shop.folder("replica/replica.db")).expect("a replica").len() as usize / PAGE;
    for page in 1..pages {
        flip(&shop, page * PAGE + IN_PAGE);
    }
    till.db().expect("a database").execute_batch("PRAGMA shrink_memory").expect("nothing is cached");
    let error = loop {
        match till.audit_step() {
            Ok(Care::More) => {}
            Ok(other) => panic!("{other:?}: the log was not read"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::PutAside | StoreError::Closed), "{error}");
    assert!(till.is_over());
    let told = till.ask(Command::SignOut {}).expect_err("it does nothing any more");
    assert!(told.message.contains("was damaged") && told.message.contains("sign in again"), "{}", told.message);
    drop(till);
    let till = shop.reopen();
    assert_eq!(till.identity().series(), "S01-T03b");
    assert!(shop.folder("replica/damaged-1.db").exists());
}

#[test]
fn an_older_page_in_the_place_of_a_newer_one_is_found_by_the_audit() {
    let shop = sold(60);
    let older = std::fs::read(shop.folder("replica/replica.db")).expect("read");
    let mut till = shop.reopen();
    till.sign_in(CASHIER);
    for pieces in 1..=40 {
        till.scan("22423", pieces);
        till.pay();
    }
    drop(till);
    let path = shop.folder("replica/replica.db");
    let newer = std::fs::read(&path).expect("read");
    let (mut noticed, mut differ) = (0, 0);
    for page in 1..older.len() / PAGE {
        let place = page * PAGE..(page + 1) * PAGE;
        if older[place.clone()] == newer[place.clone()] {
            continue;
        }
        differ += 1;
        let mut mixed = newer.clone();
        mixed[place.clone()].copy_from_slice(&older[place]);
        for name in ["replica.db-wal", "replica.db-shm", "damaged-1.db"] {
            let _ = std::fs::remove_file(shop.folder(&format!("replica/{name}")));
        }
        std::fs::write(&path, &mixed).expect("written");
        let till = cared_for(&shop, shop.reopen());
        noticed += usize::from(shop.folder("replica/damaged-1.db").exists());
        drop(till);
    }
    println!("{noticed} of {differ} lost writes were noticed");
    assert!(noticed > 0 && differ > 0);
}

#[test]
fn a_log_that_is_as_it_was_signed_is_audited_once_a_day() {
    let shop = sold(80);
    let mut till = shop.reopen();
    assert_eq!(till.audited_ms(), None);
    let mut steps = 0;
    while till.audit_step().expect("a step") == Care::More {
        steps += 1;
    }
    assert!(steps > 1 && till.audited_ms().is_some());
    assert_eq!(till.audit_step().expect("a step"), Care::Done, "not again on the same day");
    shop.env.pass_ms(25 * 3_600_000);
    assert_eq!(till.audit_step().expect("a step"), Care::More, "a day later");
    while till.audit_step().expect("a step") == Care::More {}
    // A program that is told to end says so, and one that is killed does not.
    till.end_use().expect("noted");
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(till.audit_step().expect("a step"), Care::Done);
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(till.audit_step().expect("a step"), Care::More, "whatever ended it may have taken something along");
}

/// What a large file is looked at with finds what a look at the whole finds: a bit of any page, and nothing in a sound one.
#[test]
fn a_large_file_is_looked_at_beside_the_counter() {
    let steps = |till: &mut Till| {
        let mut steps = 0;
        loop {
            match till.suspicion_step() {
                Ok(Care::More) => steps += 1,
                ended => return (steps, ended.is_ok()),
            }
        }
    };
    let mut shop = sold(20);
    shop.options.store.pages_at_once = 0;
    let mut till = shop.reopen();
    assert_eq!(steps(&mut till), (0, true), "nothing failed");
    till.examine().expect("a sound disk");
    let (taken, is_whole) = steps(&mut till);
    assert!(is_whole && taken > 10 && !till.is_over(), "{taken} steps");
    assert_eq!(steps(&mut till), (0, true), "it is looked at once");
    drop(till);

    let pages = std::fs::metadata(shop.folder("replica/replica.db")).expect("a replica").len() as usize / PAGE;
    let mut by_steps = 0;
    for page in (0..pages).step_by(2) {
        let mut shop = sold(20);
        shop.options.store.pages_at_once = 0;
        flip(&shop, page * PAGE + IN_PAGE);
        let mut till = shop.reopen();
        if shop.folder("replica/damaged-1.db").exists() {
            continue;
        }
        // Whatever failed, it goes on at once; the steps find the page.
        if till.examine().is_ok() {
            assert!(!till.is_over(), "page {page}");
            assert!(!steps(&mut till).1 && till.is_over(), "page {page} was not found");
            assert!(matches!(till.examine(), Err(StoreError::PutAside)), "page {page}: nothing is written into it any more");
            by_steps += 1;
        }
        assert!(shop.folder("replica/damaged-1.db").exists(), "page {page}");
        drop(till);
        let till = cared_for(&shop, shop.reopen());
        assert!(!till.is_over(), "page {page}");
    }
    assert!(by_steps * 3 > pages / 2, "{by_steps} of {pages} were found by steps");
}
