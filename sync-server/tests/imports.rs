//! Imports beside what else happens: managers who edit meanwhile, disks that fill up, power that goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::document::{DocumentKind, Product, Store};
use domain::ids::{DeviceId, StoreId};
use domain::money::Currency;
use domain::tax::TaxMode;
use journal::SigningKey;
use rusqlite::Connection;
use sync_proto::documents::DocumentValue;
use sync_proto::env::Env;
use sync_server::hub::Hub;
use sync_server::import::{self, ImportError, Importer};
use sync_server::live::Live;
use sync_server::region::{Editor, ProductPatch, Region, Writer};
use sync_server::web_api::{ImportState, ImportView};
use tokio::sync::watch;
use uuid::Uuid;

/// A clock that goes on by a millisecond whenever somebody looks.
#[derive(Debug)]
struct Ticking(AtomicU64);

impl Env for Ticking {
    fn unix_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn fill_random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("random");
    }
}

/// A region with one store that counts in pounds.
struct Shop {
    dir: tempfile::TempDir,
    region: Region,
    env: Arc<dyn Env>,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut region = open(&dir.path().join("region.db"));
        let store = Store {
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
        };
        region.add_store(store, 1).expect("a store");
        Self { dir, region, env: Arc::new(Ticking(AtomicU64::new(1_700_000_000_000))) }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("imports")
    }

    /// A file read, and applied when nothing is wrong with it.
    fn import(&mut self, file: &str) -> ImportView {
        let folder = self.folder();
        import::whole(&mut self.region, &folder, "test.csv", file.as_bytes(), &self.env).expect("brought")
    }

    /// Everything that an import wrote, taken back.
    fn undo(&mut self, import: &ImportView) -> ImportView {
        let (folder, id) = (self.folder(), import.id.parse().expect("an id"));
        self.region.import_enter(id, ImportState::Undoing).expect("was applied");
        import::run::step(&mut self.region, &folder, id, ImportState::Undoing, &self.env, |_| Ok(())).expect("taken back")
    }

    /// A manager's edit.
    fn edit(&mut self, code: &str, patch: ProductPatch) {
        let product = self.product(code).id;
        self.region.edit_product(product, None, patch, None, &*self.env).expect("edited");
    }

    fn barcodes(&self, code: &str) -> Vec<String> {
        self.product(code).barcodes
    }

    fn products(&self) -> BTreeMap<String, Product> {
        let all = self.region.all_of(DocumentKind::Product).expect("reads");
        let products = all.into_iter().filter_map(|state| match state.value {
            DocumentValue::Product(product) => Some((product.code.clone(), product)),
            _ => None,
        });
        products.collect()
    }

    fn product(&self, code: &str) -> Product {
        self.products().remove(code).expect("a product of this code")
    }
}

/// A server's imports, with the way to its log from outside.
struct Server {
    importer: Importer,
    log: Connection,
    _dir: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

impl Server {
    fn of(shop: Shop) -> Self {
        let (folder, log) = (shop.folder(), Connection::open(shop.dir.path().join("region.db")).expect("opens"));
        let (stop, stopping) = watch::channel(false);
        let importer = Importer::new(Hub::spawn(shop.region), folder, shop.env, Live::default(), stopping);
        Self { importer, log, _dir: shop.dir, _stop: stop }
    }

    /// From now on the log takes so many entries more: the disk is full then.
    fn full_after(&self, entries: i64) {
        let sql = format!(
            "CREATE TRIGGER full BEFORE INSERT ON entry WHEN NEW.region_seq > {entries} + {}
             BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
            self.entries()
        );
        self.log.execute_batch(&sql).expect("made");
    }

    fn room_again(&self) {
        self.log.execute_batch("DROP TRIGGER full").expect("dropped");
    }

    fn entries(&self) -> i64 {
        self.log.query_row("SELECT max(region_seq) FROM entry", [], |row| row.get(0)).expect("a number")
    }

    /// An import as soon as it rests.
    async fn resting(&self, id: Uuid) -> ImportView {
        loop {
            let view = self.importer.get(id).await.expect("is there");
            if !matches!(view.state, ImportState::Reading | ImportState::Applying | ImportState::Undoing) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn bring(&self, file: &str) -> (Uuid, ImportView) {
        let who = Editor { id: [7; 16], name: "Ada".to_owned() };
        let begun = self.importer.begin("test.csv".to_owned(), file.as_bytes().to_vec(), who).await.expect("begun");
        let id = begun.id.parse().expect("an id");
        (id, self.resting(id).await)
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

fn open(path: &Path) -> Region {
    let writer = Writer {
        device: DeviceId(uuid::Uuid::from_bytes([100; 16])),
        incarnation: [101; 16],
        actor_seed: [102; 16],
        key: SigningKey::from_bytes(&[103; 32]),
    };
    let mut region = Region::open(path, writer).expect("opens");
    region.start(1, "test").expect("starts");
    region
}

/// The power goes after the migration and before the barcodes of the products that are there were noted.
#[test]
fn barcodes_are_filled_in_whenever_the_power_went() {
    let mut shop = Shop::new();
    shop.import("code,name,price,tax_rate_bp,barcodes\nA,A,1,0,4006381333931\n");
    let path = shop.dir.path().join("region.db");
    drop(shop.region);
    let log = Connection::open(&path).expect("opens");
    let later = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN
        ('meta', 'origin', 'scope', 'entry', 'document', 'document_code', 'device', 'enrolment_code')";
    let tables: Vec<String> = log
        .prepare(later)
        .and_then(|mut found| found.query_map([], |row| row.get(0))?.collect())
        .expect("the tables of later migrations");
    tables.iter().for_each(|table| log.execute_batch(&format!("DROP TABLE {table}")).expect("dropped"));
    let indexes =
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT LIKE 'sqlite_%' AND NOT instr(?, ' ' || name || ' ')";
    let first = include_str!("../../migrations/region/0001_log.sql");
    let later: Vec<String> = log
        .prepare(indexes)
        .and_then(|mut found| found.query_map([first], |row| row.get(0))?.collect())
        .expect("the indexes of later migrations");
    later.iter().for_each(|index| log.execute_batch(&format!("DROP INDEX {index}")).expect("dropped"));
    log.execute_batch(include_str!("../../migrations/region/0002_catalogue.sql")).expect("migrated");
    log.pragma_update(None, "user_version", 2).expect("noted");
    drop(log);
    shop.region = open(&path);
    let refused = shop.import("code,name,price,tax_rate_bp,barcodes\nB,B,1,0,4006381333931\n");
    assert_eq!(refused.state, ImportState::Refused);
    assert!(refused.problems[0].message.contains("belongs to A (A)"), "{:?}", refused.problems);
}

#[test]
fn an_undo_leaves_a_barcode_with_the_product_that_has_it_now() {
    let mut shop = Shop::new();
    shop.import("code,name,price,tax_rate_bp,barcodes\nA,A,1,0,111|112\nB,B,1,0,113\nC,C,1,0,\n");
    let emptied = shop.import("code,name,price,barcodes,active\nA,A,2,,\nB,B,2,113,no\n");
    assert_eq!((emptied.state, emptied.changed), (ImportState::Applied, 2));
    shop.edit("C", ProductPatch { barcodes: Some(vec!["111".into(), "113".into()]), ..ProductPatch::default() });
    let undone = shop.undo(&emptied);
    assert_eq!((undone.state, undone.kept), (ImportState::Undone, 2), "{}", undone.message);
    assert_eq!((shop.barcodes("A"), shop.barcodes("C")), (vec!["112".to_owned()], vec!["111".to_owned(), "113".to_owned()]));
    let (a, b) = (shop.product("A"), shop.product("B"));
    assert_eq!((a.price.0, b.price.0, b.active, b.barcodes), (10_000, 10_000, false, vec!["113".to_owned()]));
}

/// Barcodes that go round among the products of one file go back the same way, whatever the order of the rows.
#[test]
fn barcodes_that_a_file_moved_go_back() {
    let mut shop = Shop::new();
    let ring = |by: usize| {
        let rows: String = (0..100).map(|n| format!("P{n},P{n},1,0,{}\n", 500 + (n + by) % 100)).collect();
        format!("code,name,price,tax_rate_bp,barcodes\n{rows}")
    };
    shop.import(&ring(0));
    let moved = shop.import(&ring(7));
    assert_eq!((moved.state, moved.changed), (ImportState::Applied, 100));
    assert_eq!(shop.barcodes("P0"), ["507"]);
    let undone = shop.undo(&moved);
    assert_eq!((undone.state, undone.kept), (ImportState::Undone, 0), "{}", undone.message);
    let products = shop.products();
    (0..100).for_each(|n| assert_eq!(products[&format!("P{n}")].barcodes, [format!("{}", 500 + n)]));
}

#[test]
fn an_import_that_was_taken_back_can_be_brought_again_and_again() {
    let mut shop = Shop::new();
    let file = "code,name,price,tax_rate_bp\nA,A,1,0\nB,B,1,0\n";
    let counts = |view: &ImportView| (view.added, view.changed, view.unchanged);
    let mut import = shop.import(file);
    assert_eq!(counts(&import), (2, 0, 0));
    for round in 0..3 {
        let undone = shop.undo(&import);
        assert_eq!((undone.kept, shop.product("A").active, shop.product("B").active), (0, false, false), "round {round}");
        // What somebody does to a product meanwhile stays when the next import is taken back.
        shop.edit("A", ProductPatch { category: Some(format!("round {round}")), ..ProductPatch::default() });
        import = shop.import(file);
        assert_eq!(counts(&import), (2, 0, 0), "round {round}");
        assert!(import.changes.iter().all(|change| change.added), "{:?}", import.changes);
        assert_eq!((shop.product("A").active, shop.product("B").active), (true, true), "round {round}");
    }
    assert_eq!(shop.product("A").category, "round 2");
    // Forgotten imports are no longer needed for it, and nobody asks what a file says itself.
    let undone = shop.undo(&import);
    let (folder, id) = (shop.folder(), undone.id.parse().expect("an id"));
    import::forget(&mut shop.region, &folder, id).expect("nothing of it is left");
    let off = shop.import("code,name,price,tax_rate_bp,active\nA,A,1,0,no\nB,B,2,0,\n");
    assert_eq!((counts(&off), shop.product("A").active, shop.product("B").active), ((1, 0, 1), false, true));
}

#[test]
fn a_product_that_somebody_took_off_sale_stays_so() {
    let mut shop = Shop::new();
    let file = "code,name,price,tax_rate_bp\nA,A,1,0\nB,B,1,0\n";
    let import = shop.import(file);
    let active = |active| ProductPatch { active: Some(active), ..ProductPatch::default() };
    shop.edit("A", active(false));
    shop.undo(&import);
    // B: on sale again and off sale again, by hand.
    shop.edit("B", active(true));
    shop.edit("B", active(false));
    let again = shop.import(file);
    assert_eq!((again.added, again.changed, again.unchanged), (0, 0, 2));
    assert_eq!((shop.product("A").active, shop.product("B").active), (false, false));
    // A product that was off sale before an import put it on sale is so after its undo, and stays so.
    let on = shop.import("code,name,price,active\nA,A,1,yes\n");
    shop.undo(&on);
    assert_eq!(shop.import(file).unchanged, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_breaks_goes_on_where_it_was() {
    let server = Server::of(Shop::new());
    let rows: String = (0..200).map(|n| format!("P{n},Product {n},1,0\n")).collect();
    let (id, ready) = server.bring(&format!("code,name,price,tax_rate_bp\n{rows}")).await;
    assert_eq!(ready.state, ImportState::Ready, "{}", ready.message);
    server.importer.apply(id).await.expect("ready");
    assert_eq!(server.resting(id).await.state, ImportState::Applied);

    // Room for two pieces.
    server.full_after(130);
    server.importer.undo(id).await.expect("applied");
    let broken = server.resting(id).await;
    assert_eq!((broken.state, broken.done, broken.can_be_undone), (ImportState::Failed, 128, true));
    assert!(broken.message.ends_with(": undo it again for the rest.") && broken.message.contains("128 products are taken back"));
    server.room_again();
    server.importer.undo(id).await.expect("goes on");
    let undone = server.resting(id).await;
    assert_eq!((undone.state, undone.done, undone.kept), (ImportState::Undone, 200, 0), "{}", undone.message);
    assert!(!undone.can_be_undone);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_says_what_is_written() {
    let server = Server::of(Shop::new());
    let rows: String = (0..100).map(|n| format!("P{n},Product {n},1,0\n")).collect();
    let (id, _) = server.bring(&format!("code,name,price,tax_rate_bp\n{rows}")).await;
    server.full_after(64);
    server.importer.apply(id).await.expect("ready");
    let broken = server.resting(id).await;
    assert!(broken.message.ends_with("What was written up to row 64 stays and can be undone."), "{}", broken.message);
    server.room_again();
    server.importer.undo(id).await.expect("can be undone");
    let undone = server.resting(id).await;
    assert_eq!((undone.state, undone.done, undone.kept), (ImportState::Undone, 64, 0), "{}", undone.message);

    // The log takes no counts: the file cannot be compared.
    let comparing = "CREATE TRIGGER full BEFORE UPDATE OF added ON import BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    server.log.execute_batch(comparing).expect("made");
    let (id, broken) = server.bring("code,name,price,tax_rate_bp\nA,A,1,0\n").await;
    assert_eq!((broken.state, broken.can_be_undone), (ImportState::Failed, false));
    assert!(broken.message.contains("Nothing of it is written"), "{}", broken.message);
    server.room_again();
    assert!(matches!(server.importer.undo(id).await, Err(ImportError::Conflict(_))), "there is nothing to undo");
    server.importer.delete(id).await.expect("forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_left_that_nobody_reads() {
    let mut shop = Shop::new();
    let folder = shop.folder();
    let file = b"code,name,price,tax_rate_bp\nA,A,1,0\n";
    let begin = |shop: &mut Shop| import::begin(&mut shop.region, &folder, "test.csv", file, None, &*shop.env);
    // The log refuses one more.
    let waiting: Vec<Uuid> = std::iter::from_fn(|| begin(&mut shop).ok()).collect();
    assert_eq!((waiting.len(), files(&folder)), (50, 50));
    assert!(matches!(begin(&mut shop), Err(ImportError::Conflict(_))));
    assert_eq!(files(&folder), 50);
    for id in waiting {
        import::forget(&mut shop.region, &folder, id).expect("nothing is written");
    }
    // The power went before anything was noted, or after everything was done; and a file that is nobody's business.
    let (ready, applied) = (begin(&mut shop).expect("begun"), shop.import("code,name,price,tax_rate_bp\nB,B,1,0\n"));
    import::run::step(&mut shop.region, &folder, ready, ImportState::Reading, &shop.env, |_| Ok(())).expect("read");
    for stray in [Uuid::from_u128(1).to_string(), applied.id] {
        std::fs::write(folder.join(format!("{stray}.csv")), "code,na").expect("written");
    }
    std::fs::write(folder.join("readme.txt"), "").expect("written");
    assert_eq!(files(&folder), 4);
    let server = Server::of(shop);
    server.importer.resume().await.expect("goes on");
    assert_eq!(files(&folder), 2);
    server.importer.apply(ready).await.expect("ready");
    assert_eq!(server.resting(ready).await.state, ImportState::Applied);

    // What broke is not read again.
    server.full_after(0);
    let (id, view) = server.bring("code,name,price,tax_rate_bp\nC,C,1,0\n").await;
    assert_eq!(view.state, ImportState::Ready);
    server.importer.apply(id).await.expect("ready");
    assert_eq!(server.resting(id).await.state, ImportState::Failed);
    server.importer.ended().await;
    assert_eq!(files(&folder), 1);
}

#[test]
fn only_an_import_that_writes_pushes_out_one_that_can_be_undone() {
    let mut shop = Shop::new();
    let file = |n: usize| format!("code,name,price,tax_rate_bp\nP{n},Product,1,0\n");
    let applied: Vec<ImportView> = (0..50).map(|n| shop.import(&file(n))).collect();
    // Refused, only read, read and forgotten as in a dry run, taken back, and nothing to write: far more than are remembered.
    let folder = shop.folder();
    for n in 0..30 {
        assert_eq!(shop.import("code,name\n").state, ImportState::Refused);
        let read = |shop: &mut Shop, file: &str| {
            let id = import::begin(&mut shop.region, &folder, "test.csv", file.as_bytes(), None, &*shop.env).expect("begun");
            let read = import::run::step(&mut shop.region, &folder, id, ImportState::Reading, &shop.env, |_| Ok(()));
            assert_eq!(read.expect("read").state, ImportState::Ready);
            id
        };
        read(&mut shop, &file(n));
        let dry = read(&mut shop, &file(1_000 + n));
        import::forget(&mut shop.region, &folder, dry).expect("nothing is written");
        assert_eq!(shop.import(&file(n)).unchanged, 1);
    }
    let known = |shop: &Shop| -> Vec<String> { shop.region.imports().expect("reads").into_iter().map(|view| view.id).collect() };
    let all = known(&shop);
    assert!(applied.iter().all(|view| all.contains(&view.id)), "every one of them can still be undone");
    assert_eq!((all.len(), files(&folder)), (100, 17), "and so many others, some of which wait to be applied");
    // The oldest gives way to one more that writes; so does none when something was taken back.
    shop.import(&file(2_000));
    assert!(!known(&shop).contains(&applied[0].id) && known(&shop).contains(&applied[1].id));
    shop.undo(&applied[1]);
    shop.import(&file(2_001));
    assert!(known(&shop).contains(&applied[2].id));
    assert_eq!(shop.undo(&applied[2]).state, ImportState::Undone);
}
