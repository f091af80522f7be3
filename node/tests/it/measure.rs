//! Figures to look at (`--nocapture`); nothing here asserts a time.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use node::api::{Command, Item};
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
            pages.push(frames(&till) - before);
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
        println!("printing {printing}: pages a sale p50 {} p99 {}", pages[SALES / 2], pages[SALES * 99 / 100]);
        let bytes = till.own_runs_after(till.own_chain().commit - 1, 1, 1).expect("a run").expect("the last sale").bytes();
        println!("printing {printing}: the last sale on the wire about {bytes} bytes");
    }
}

/// Frames in the write-ahead log, by asking for a checkpoint that copies nothing it need not wait for.
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
