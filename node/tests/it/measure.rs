//! Figures to look at (`--nocapture`); nothing here asserts a time.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use node::api::{Command, Item, Query};
use node::till::Till;
use sync_proto::documents::DocumentValue;
use sync_proto::scopes;

use crate::shop::*;

const SALES: usize = 300;

#[test]
fn what_a_sale_of_four_lines_takes() {
    for printing in [false, true] {
        let (mut shop, mut till) = Shop::stocked();
        let runs = (10..60).map(|n| {
            let product = product(n, &format!("C{n}"), "Product of some name", 100 + i64::from(n));
            shop.server.document(scopes::catalogue(), DocumentValue::Product(product))
        });
        let runs = runs.collect();
        shop.feed(&mut till, runs);
        drop(till);
        shop.options.printing = printing;
        let mut till = shop.reopen();
        till.sign_in(CASHIER);
        till.open();
        let (mut settle, mut scans, mut raw, mut pages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut file = RawFile::new(&shop);
        for sale in 0..SALES {
            for line in 0..4 {
                let code = format!("C{}", 10 + (sale * 4 + line) % 50);
                let begun = Instant::now();
                let item = Item::Code { code };
                till.must(Command::AddLine { item, quantity_milli: None, unit_price: None, name: None, separate: None });
                scans.push(begun.elapsed());
            }
            let cart = till.view().expect("a view").cart;
            let before = frames(&till);
            let begun = Instant::now();
            till.must(Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor });
            settle.push(begun.elapsed());
            // After a checkpoint the log is overwritten from its beginning and does not grow.
            pages.extend(Some(frames(&till) - before).filter(|grown| *grown > 0));
            raw.push(file.write_and_sync());
            shop.env.pass_ms(1_000);
            if till.wants_tidying() {
                till.tidy().expect("tidied");
            }
        }
        pages.sort_unstable();
        println!("printing {printing}: settle {}", line(&mut settle));
        println!("printing {printing}: raw 4 KiB overwrite + fdatasync {}", line(&mut raw));
        println!("printing {printing}: scan with its draft {}", line(&mut scans));
        println!("printing {printing}: pages a sale p50 {} p99 {}", pages[pages.len() / 2], pages[pages.len() * 99 / 100]);
        let bytes = till.own_runs_after(till.own_chain().commit - 1, 1, 1).expect("a run").expect("the last sale").bytes();
        let documents = "SELECT coalesce(max(length(document)), 0) FROM print_job";
        let document: i64 = till.db().expect("the database").query_row(documents, [], |r| r.get(0)).expect("a length");
        println!("printing {printing}: the largest print document {document} bytes");
        println!("printing {printing}: the last sale on the wire about {bytes} bytes");
    }
}

#[test]
fn what_a_catalogue_takes() {
    const PRODUCTS: usize = 1_000;
    let (mut shop, mut till) = Shop::new();
    let runs: Vec<_> = (0..PRODUCTS)
        .map(|n| {
            let mut product = product(1, &format!("C{n}"), &format!("Product {n} of some name"), 100);
            product.id = domain::ids::ProductId::new(n as u64, id(1));
            shop.server.document(scopes::catalogue(), DocumentValue::Product(product))
        })
        .collect();
    let begun = Instant::now();
    shop.feed(&mut till, runs);
    println!("{PRODUCTS} products received in {} ms", begun.elapsed().as_millis());
    for text in ["p", "pro 77", "c9", "some"] {
        let begun = Instant::now();
        till.query(Query::Search { text: text.to_owned(), limit: 20 }).expect("products");
        println!("search {text:?} in {} µs", begun.elapsed().as_micros());
    }
}

/// Frames in the write-ahead log, by its size.
fn frames(till: &Till) -> i64 {
    let path: String = till.db().expect("the database").query_row("PRAGMA database_list", [], |r| r.get(2)).expect("a path");
    let size = std::fs::metadata(format!("{path}-wal")).expect("the log").len();
    i64::try_from(size / 4_120).expect("a count")
}

fn line(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |per_cent: usize| times[(times.len() - 1) * per_cent / 100].as_micros();
    format!("p50 {} µs, p90 {} µs, p99 {} µs", at(50), at(90), at(99))
}

/// The limit that the machine sets, measured between the sales.
struct RawFile(std::fs::File);

impl RawFile {
    fn new(shop: &Shop) -> Self {
        let mut file = OpenOptions::new().write(true).create_new(true).open(shop.folder("raw")).expect("a file");
        file.write_all(&[1; 65_536]).expect("written");
        file.sync_all().expect("synced");
        Self(file)
    }

    fn write_and_sync(&mut self) -> Duration {
        let begun = Instant::now();
        self.0.seek(SeekFrom::Start(8_192)).expect("sought");
        self.0.write_all(&[2; 4_096]).expect("written");
        self.0.sync_data().expect("synced");
        begun.elapsed()
    }
}

/// How long whoever stands at a till waits after a failure of its disk, with a file of 100 MB, and what the look at the whole file took that they waited for
/// before.
#[test]
fn what_a_failure_of_the_disk_takes_at_a_large_till() {
    let (shop, till) = Shop::stocked();
    let db = till.db().expect("a replica");
    db.execute_batch(
        "CREATE TABLE filler (id INTEGER PRIMARY KEY, bytes BLOB);
         INSERT INTO filler (bytes) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             SELECT randomblob(900) FROM n;",
    )
    .expect("room");
    drop(till);
    let path = shop.folder("replica/replica.db");
    let bytes = std::fs::metadata(&path).expect("a replica").len();
    assert!(bytes > 50_000_000, "{bytes} bytes");
    let mut till = shop.reopen();
    let timed = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    let now = timed(&mut || till.examine().expect("a sound disk"));
    let (mut longest, mut steps) = (Duration::ZERO, 0);
    loop {
        let mut ended = None;
        let step = timed(&mut || ended = Some(till.suspicion_step().expect("a sound disk")));
        longest = longest.max(step);
        steps += 1;
        if ended == Some(node::till::Care::Done) {
            break;
        }
    }
    assert!(steps > 50, "{steps}");
    drop(till);
    let identity = node::identity::Identity::load(shop.folder.path()).expect("an identity");
    let key = *identity.replica_key();
    let whole = timed(&mut || {
        assert_eq!(node::store::damaged::find(&path, &key, &shop.options.store).expect("a sound disk"), None);
    });
    println!(
        "{} MB: opened again after {now:?}; {steps} steps beside it, the longest {longest:?}; the whole file {whole:?}",
        bytes >> 20
    );
}
