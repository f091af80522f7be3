//! The region's log admits every commit once, refuses what does not verify, and gives every device what it follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::document::{StaffMember, Store};
use domain::ids::{DeviceId, StaffId, StoreId};
use domain::money::Currency;
use domain::record::{DeviceEnrolment, DeviceKind, DeviceStart, Record};
use domain::staff::Role;
use domain::tax::TaxMode;
use journal::{Body, Head, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Scope, Seal, SigningKey, View};
use sync_proto::batch::Run;
use sync_proto::env::Env;
use sync_proto::frame::{Checkpoint, Commits, DocumentPlace, Frame};
use sync_proto::scopes;
use sync_server::hub::Hub;
use sync_server::import::run::Door;
use sync_server::import::{self, ImportError};
use sync_server::region::{AdmitError, Admitted, DeskError, Position, Region, Sender, Writer};
use sync_server::web_api::{ImportState, ImportView};

#[derive(Debug)]
struct Still;

impl Env for Still {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }
    fn fill_random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("random");
    }
}

struct Shop {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    region: Region,
    store: StoreId,
}

fn open(path: &std::path::Path) -> Region {
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

fn shop() -> Shop {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("region.db");
    let mut region = open(&path);
    let store = StoreId(uuid::Uuid::from_bytes([50; 16]));
    region
        .add_store(
            Store {
                id: store,
                code: "S01".into(),
                name: "Shop".into(),
                address: vec![],
                currency: Currency::new("GBP").expect("GBP"),
                tax_mode: TaxMode::Inclusive,
                receipt_footer: String::new(),
                receipt_header: Vec::new(),
                languages: vec!["en".to_owned()],
                time_zone: "UTC".to_owned(),
            },
            1,
        )
        .expect("a store");
    Shop { _dir: dir, path, region, store }
}

#[derive(Clone)]
struct Till {
    id: DeviceId,
    key: SigningKey,
    chain: OriginChain,
    commits: Vec<ReceivedCommit>,
    heads: Vec<BTreeMap<Scope, Head>>,
}

impl Shop {
    fn till(&mut self, n: u8) -> Till {
        let key = SigningKey::from_bytes(&[n; 32]);
        let id = DeviceId(uuid::Uuid::from_bytes([n; 16]));
        let code = format!("AAAAAAAAA{n}");
        self.region.issue_code("S01", "Till", &code, 1).expect("a code");
        self.region.redeem(&code, id, key.verifying_key().to_bytes(), 1).expect("admitted");
        let chain = OriginChain::new(Origin { device: [n; 16], incarnation: [n + 1; 16] });
        Till { id, key, chain, commits: vec![], heads: vec![BTreeMap::new()] }
    }

    /// A file read and applied.
    fn import(&mut self, file: &str) -> ImportView {
        let folder = self._dir.path().join("imports");
        let env: Arc<dyn Env> = Arc::new(Still);
        let written = import::whole(&mut self.region, &folder, "test.csv", file.as_bytes(), &env).expect("brought");
        assert_eq!(written.state, ImportState::Applied, "{:?}", written.problems);
        written
    }

    fn admit(&mut self, till: &Till, run: Run) -> Result<u64, AdmitError> {
        self.admit_any(till, run).map(|admitted| admitted.commit)
    }

    fn admit_any(&mut self, till: &Till, run: Run) -> Result<Admitted, AdmitError> {
        self.region.admit_all(vec![(Sender::Writer(till.id), run)]).expect("the log takes it").remove(0)
    }

    /// What a device has after it took everything that the server sends from `after` on, `bytes_max` at a time.
    fn received(&self, receiver: Origin, bytes_max: usize) -> (BTreeMap<Origin, OriginChain>, u64) {
        let followed = scopes::followed_by(DeviceKind::Till, self.store).into_iter().collect();
        let mut chains: BTreeMap<Origin, OriginChain> = BTreeMap::new();
        let mut after = 0;
        loop {
            let out = self.region.outgoing(&followed, after, (receiver, u64::MAX), bytes_max).expect("reads");
            if out.up_to == after {
                return (chains, after);
            }
            after = out.up_to;
            for run in out.runs {
                let device = self.region.device(DeviceId(uuid::Uuid::from_bytes(run.origin.device))).expect("known");
                let key = journal::VerifyingKey::from_bytes(&device.public_key).expect("a key");
                let chain = chains.entry(run.origin).or_insert_with(|| OriginChain::new(run.origin));
                // A run may begin with commits that came before it: the sender carried the last run on to a sealed commit.
                let known = run
                    .commits
                    .iter()
                    .take_while(|c| journal::Entry::decode(&c.entries[0].1).expect("an entry").commit <= chain.commit);
                let new = run.commits[known.count()..].to_vec();
                if !new.is_empty() {
                    chain.verify(&key, View::Partial(&followed), new).expect("verifies");
                }
            }
        }
    }
}

impl Till {
    fn sell(&mut self, scope: Scope, commits: usize) {
        let record = Record::DeviceStarted(DeviceStart { series: "S01-T01a".into(), actor_seed: None, software: "x".into() });
        (0..commits).for_each(|_| self.write(scope.clone(), &record));
    }

    fn write(&mut self, scope: Scope, record: &Record) {
        let body = Body::Record { kind: record.kind(), version: 1, bytes: record.encode() };
        let sealed = self.chain.append(&self.key, Hlc(5), None, vec![NewEntry { scope, body }]);
        self.commits.push(ReceivedCommit {
            entries: sealed.entries.iter().map(|e| (e.scope.clone(), e.bytes.clone())).collect(),
            seal: Some(Seal { signature: sealed.signature, foreign: vec![] }),
        });
        self.heads.push(self.chain.heads.clone());
    }

    /// Commits `from` to `to`, sealed at the end only.
    fn run(&self, from: usize, to: usize) -> Run {
        let mut commits = self.commits[from - 1..to].to_vec();
        let last = commits.len() - 1;
        commits[..last].iter_mut().for_each(|c| c.seal = None);
        let scopes = commits.iter().flat_map(|c| &c.entries).map(|(scope, _)| scope.clone());
        let at = OriginChain { heads: self.heads[from - 1].clone(), commit: from as u64 - 1, origin: self.chain.origin };
        let before = scopes.map(|s| (s.clone(), at.head(&s))).collect();
        Run { origin: self.chain.origin, before, commits }
    }
}

#[test]
fn repeats_and_overlaps_are_kept_once() {
    let mut shop = shop();
    let mut till = shop.till(1);
    till.sell(scopes::store(shop.store), 9);
    let before = shop.region.last_seq();
    for (from, to, has) in [(1, 3, 3), (1, 3, 3), (2, 5, 5), (1, 9, 9), (4, 6, 9)] {
        assert_eq!(shop.admit(&till, till.run(from, to)).expect("admitted"), has);
    }
    assert_eq!(shop.region.last_seq() - before, 9);
    assert_eq!(shop.region.chain(till.chain.origin), till.chain);
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let mut shop = shop();
    let (mut till, mut other) = (shop.till(1), shop.till(2));
    let scope = scopes::store(shop.store);
    till.sell(scope.clone(), 6);
    shop.admit(&till, till.run(1, 2)).expect("admitted");
    let before = shop.region.last_seq();
    assert!(matches!(shop.admit(&till, till.run(4, 6)), Err(AdmitError::Gap { has: 2 })));
    assert!(matches!(shop.admit(&other, till.run(3, 6)), Err(AdmitError::NotTheSender(_))));
    let mut tampered = till.run(3, 6);
    tampered.commits[1].entries[0].1[4] ^= 1;
    assert!(matches!(shop.admit(&till, tampered), Err(AdmitError::Chain(_))));
    for foreign in [scopes::catalogue(), scopes::store(StoreId(uuid::Uuid::from_bytes([9; 16])))] {
        other.sell(foreign, 1);
        let last = other.commits.len();
        assert!(matches!(shop.admit(&other, other.run(last, last)), Err(AdmitError::Scope(_))));
    }
    assert_eq!(shop.region.last_seq(), before);
    shop.admit(&till, till.run(3, 6)).expect("the honest rest still goes on");
}

/// A copy of a till that wrote on: both histories are kept as they were signed, whichever is brought first and however often, survive a restart and
/// reach the neighbours.
#[test]
fn two_histories_of_one_till_are_both_kept() {
    let mut shop = shop();
    let (mut till, neighbour) = (shop.till(1), shop.till(2));
    let scope = scopes::store(shop.store);
    till.sell(scope.clone(), 3);
    let mut copy = till.clone();
    till.sell(scope.clone(), 2);
    let otherwise = Record::DeviceStarted(DeviceStart { series: "S01-T01a".into(), actor_seed: None, software: "copy".into() });
    (0..4).for_each(|_| copy.write(scope.clone(), &otherwise));
    let admitted = |commit, is_fork| Admitted { commit, is_fork, is_new: true };
    assert_eq!(shop.admit_any(&till, till.run(1, 5)).expect("its history"), admitted(5, false));
    let before = shop.region.last_seq();
    assert_eq!(
        shop.admit_any(&copy, copy.run(2, 5)).expect("the copy's"),
        admitted(5, true),
        "the second and third commit are known"
    );
    assert_eq!(shop.region.last_seq(), before + 2);
    assert_eq!(shop.admit_any(&copy, copy.run(4, 7)).expect("and on"), admitted(7, true));
    assert_eq!(shop.admit_any(&copy, copy.run(1, 7)).expect("again"), Admitted { is_new: false, ..admitted(7, true) });
    till.sell(scope, 1);
    assert_eq!(shop.admit_any(&till, till.run(4, 6)).expect("the first goes on"), admitted(6, false));
    assert_eq!(shop.region.last_seq(), before + 5);
    let mut ahead = till.clone();
    ahead.sell(scopes::store(shop.store), 3);
    assert!(matches!(shop.admit(&ahead, ahead.run(9, 9)), Err(AdmitError::Gap { has: 6 })));
    shop.region.verify().expect("both hold");

    let Shop { _dir, path, region, store } = shop;
    drop(region);
    let shop = Shop { region: open(&path), _dir, path, store };
    shop.region.verify().expect("both hold after a restart");
    let followed = scopes::followed_by(DeviceKind::Till, shop.store).into_iter().collect();
    let out = shop.region.outgoing(&followed, before, (neighbour.chain.origin, 0), 1_000_000).expect("reads");
    let ends: Vec<_> = out.runs.iter().map(|run| (run.origin == till.chain.origin, run.commits.len())).collect();
    assert_eq!(ends, [(true, 4), (true, 1)], "the copy's four, then the till's one");
    let mark = |chain: &OriginChain| Checkpoint { commit: chain.commit, digest: chain.digest() };
    let position = |of: &Till, at: Vec<Checkpoint>| shop.region.position(of.chain.origin, &at).expect("reads");
    assert_eq!(position(&till, vec![mark(&till.chain)]), Position { commit: 6, is_whole: true, is_first: true });
    assert_eq!(position(&copy, vec![mark(&copy.chain)]), Position { commit: 7, is_whole: true, is_first: false });
    let ahead = Checkpoint { commit: 9, digest: [1; 32] };
    assert_eq!(position(&copy, vec![ahead, mark(&copy.chain)]), Position { commit: 7, is_whole: false, is_first: false });
}

/// What is wrong with a later commit of a run is found before the first one is kept: a device that leaves it out goes on.
#[test]
fn what_a_till_says_of_a_document_is_kept_whatever_it_is() {
    let mut shop = shop();
    let mut till = shop.till(1);
    let scope = scopes::store(shop.store);
    till.sell(scope.clone(), 1);
    let body = Body::Change { document: [7; 16], kind: 1, bytes: vec![1, 2, 3] };
    let sealed = till.chain.append(&till.key, Hlc(6), None, vec![NewEntry { scope: scope.clone(), body }]);
    till.commits.push(ReceivedCommit {
        entries: sealed.entries.iter().map(|e| (e.scope.clone(), e.bytes.clone())).collect(),
        seal: Some(Seal { signature: sealed.signature, foreign: vec![] }),
    });
    till.sell(scope, 1);
    // Whether it counts is for whoever reads it; what comes after it need not wait.
    let before = shop.region.last_seq();
    assert_eq!(shop.admit(&till, till.run(1, 3)).expect("admitted"), 3);
    assert_eq!(shop.region.last_seq() - before, 3);
    shop.region.verify().expect("a log that holds");
}

#[test]
fn every_device_gets_what_it_follows_whatever_the_size_of_the_pieces() {
    let mut shop = shop();
    let (mut one, mut two) = (shop.till(1), shop.till(2));
    let scope = scopes::store(shop.store);
    one.sell(scope.clone(), 7);
    two.sell(scope.clone(), 4);
    let rows: String = (0..600).map(|n| format!("P{n},Product {n},1,0\n")).collect();
    shop.admit(&one, one.run(1, 5)).expect("admitted");
    shop.import(&format!("code,name,price,tax_rate_bp\n{rows}"));
    shop.admit(&two, two.run(1, 4)).expect("admitted");
    shop.admit(&one, one.run(6, 7)).expect("admitted");
    for bytes_max in [1, 300, 1_000_000] {
        let (chains, up_to) = shop.received(two.chain.origin, bytes_max);
        assert_eq!(up_to, shop.region.last_seq());
        assert_eq!(chains[&one.chain.origin], one.chain);
        assert!(!chains.contains_key(&two.chain.origin), "nobody is told what they wrote themselves");
        assert_eq!(chains[&shop.region.own()], shop.region.chain(shop.region.own()));
    }
}

/// The server writes to a scope of each store, and a till follows one of them.
#[test]
fn tills_of_a_region_of_many_stores_can_check_every_seal() {
    let mut shop = shop();
    let till = shop.till(1);
    for n in 0..70_u8 {
        let code = format!("T{n}");
        let id = StoreId(uuid::Uuid::from_bytes([100 + n; 16]));
        let like = shop.region.store_by_code("S01").expect("reads").expect("the first store");
        shop.region.add_store(Store { id, code: code.clone(), ..like }, 1).expect("a store");
        let member = StaffMember {
            id: StaffId(uuid::Uuid::from_bytes([100 + n; 16])),
            name: "Ana".to_owned(),
            role: Role::Cashier,
            pin_hash: "none".to_owned(),
            active: true,
        };
        shop.region.add_staff(&code, member, 1).expect("a member of staff");
    }
    for bytes_max in [1, 2_000, 1_000_000] {
        let (chains, _) = shop.received(till.chain.origin, bytes_max);
        let (own, directory) = (shop.region.own(), scopes::directory());
        assert_eq!(chains[&own].head(&directory), shop.region.chain(own).head(&directory));
    }
    let followed = scopes::followed_by(DeviceKind::Till, shop.store).into_iter().collect();
    let runs = shop.region.outgoing(&followed, 0, (till.chain.origin, u64::MAX), 1_000_000).expect("reads").runs;
    let heads = runs[0].commits.last().and_then(|commit| commit.seal.as_ref()).map(|seal| seal.foreign.len());
    assert!(heads > Some(64), "{heads:?}");
    let frame = Frame::Commits(Commits { runs, up_to: Some(1), mark: None, scopes: None });
    let bytes = frame.encode().expect("fits a frame");
    assert_eq!(Frame::decode(&bytes[4..]).expect("decodes"), Some(frame));
}

/// A till may say what happened at it, and not who anybody is.
#[test]
fn a_till_enrols_nobody() {
    let mut shop = shop();
    let (mut till, neighbour) = (shop.till(1), shop.till(2));
    let known = shop.region.device(neighbour.id).cloned();
    for (device, kind, number) in [(neighbour.id, DeviceKind::Till, 2), (till.id, DeviceKind::Server, 1)] {
        let forged = DeviceEnrolment { device, store: None, kind, name: "Forged".to_owned(), number, public_key: [9; 32] };
        till.write(scopes::store(shop.store), &Record::DeviceEnrolled(forged));
    }
    assert_eq!(shop.admit(&till, till.run(1, 2)).expect("kept, as all that a till says"), 2);
    for region in [&shop.region, &open(&shop.path)] {
        assert_eq!(region.device(neighbour.id), known.as_ref());
        assert_eq!(region.device(till.id).map(|d| (d.kind, d.store)), Some((DeviceKind::Till, Some(shop.store))));
    }
}

/// The short way of finding what central has must find what the long way finds.
#[test]
fn commits_of_a_piece_of_the_log_are_those_of_the_whole() {
    let mut shop = shop();
    let (mut one, mut two) = (shop.till(1), shop.till(2));
    for n in 1..=6 {
        one.sell(scopes::store(shop.store), 1);
        two.sell(scopes::store(shop.store), 2);
        shop.admit(&one, one.run(n, n)).expect("admitted");
        shop.admit(&two, two.run(2 * n - 1, 2 * n)).expect("admitted");
    }
    // Commits of several entries, which a place of the log can lie in.
    shop.import(&format!("code,name,price,tax_rate_bp\n{}", (0..9).map(|n| format!("P{n},P,1,0\n")).collect::<String>()));
    let whole = |up_to| shop.region.commits_up_to(up_to).expect("reads").into_iter().collect::<BTreeMap<_, _>>();
    for from in 0..=shop.region.last_seq() {
        for to in from..=shop.region.last_seq() {
            let mut known = whole(from);
            for (origin, commit) in shop.region.commits_between(from, to).expect("reads") {
                let last = known.entry(origin).or_default();
                *last = commit.max(*last);
            }
            known.retain(|_, commit| *commit > 0);
            let mut all = whole(to);
            all.retain(|_, commit| *commit > 0);
            assert_eq!(known, all, "from {from} to {to}");
        }
    }
}

#[test]
fn a_restart_changes_nothing() {
    let mut shop = shop();
    let mut till = shop.till(1);
    till.sell(scopes::store(shop.store), 3);
    shop.admit(&till, till.run(1, 3)).expect("admitted");
    let (own, seq) = (shop.region.own(), shop.region.last_seq());
    drop(shop.region);
    let region = open(&shop.path);
    assert_eq!(region.own(), own);
    assert_eq!(region.last_seq(), seq, "its start is announced with its first own words");
    assert_eq!(region.chain(till.chain.origin), till.chain);
    assert_eq!(region.device(till.id).map(|d| (d.number, d.kind)), Some((1, DeviceKind::Till)));
    assert_eq!(
        region.commits_up_to(seq).expect("reads").into_iter().find(|(o, _)| *o == till.chain.origin),
        Some((till.chain.origin, 3))
    );
}

/// A device that catches up with what servers wrote is sent what happens in its store first, and nothing of whom it does not know yet.
#[test]
fn what_happens_in_a_store_is_read_without_what_lies_between() {
    let mut shop = shop();
    let scope = scopes::store(shop.store);
    let (mut known, receiver) = (shop.till(1), Origin { device: [9; 16], incarnation: [9; 16] });
    let known_to = shop.region.last_seq();
    let products: String = (0..300).map(|n| format!("P{n},Product {n},1.00,0\n")).collect();
    shop.import(&format!("code,name,price,tax_rate_bp\n{products}"));
    known.sell(scope.clone(), 3);
    shop.admit(&known, known.run(1, 3)).expect("taken");
    let mut late = shop.till(3);
    let enrolled_at = shop.region.last_seq();
    late.sell(scope.clone(), 1);
    shop.admit(&late, late.run(1, 1)).expect("taken");
    known.sell(scope.clone(), 1);
    shop.admit(&known, known.run(4, 4)).expect("taken");

    let of_store = BTreeSet::from([scope.clone()]);
    let read = |shop: &Shop, after, known_to, bytes_max| {
        let out = shop.region.outgoing_of_store(&of_store, after, known_to, (receiver, 0), bytes_max).expect("reads");
        let commits: usize = out.runs.iter().map(|run| run.commits.len()).sum();
        (commits, out.up_to, out.waits_for)
    };
    assert_eq!(
        read(&shop, 0, known_to, 1_000_000),
        (3, enrolled_at, Some(enrolled_at)),
        "no product, and not whom it does not know"
    );
    assert_eq!(read(&shop, enrolled_at, enrolled_at, 1_000_000), (2, shop.region.last_seq(), None));
    assert_eq!(read(&shop, shop.region.last_seq(), known_to, 1_000_000), (0, shop.region.last_seq(), None));
    let (commits, up_to, _) = read(&shop, 0, enrolled_at, 1);
    assert!(commits == 3 && up_to < enrolled_at, "a run lies there whole, and the next one waits: {commits} up to {up_to}");

    let Shop { _dir, path, region, store } = shop;
    drop(region);
    let shop = Shop { region: open(&path), _dir, path, store };
    assert_eq!(read(&shop, 0, known_to, 1_000_000), (3, enrolled_at, Some(enrolled_at)), "enrolments are known after a start");
}

#[test]
fn products_are_written_only_when_they_differ() {
    let mut shop = shop();
    let mut import = |price: &str| {
        let before = shop.region.last_seq();
        let view = shop.import(&format!("code,name,price,tax_rate_bp\nA,A,{price},0\n"));
        (view.added, view.changed, view.unchanged, shop.region.last_seq() - before)
    };
    assert_eq!([import("1"), import("1.00"), import("2")], [(1, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 1)]);
}

/// The way to a hub that counts what goes through it.
struct Counted {
    hub: Hub,
    pieces: Arc<AtomicUsize>,
}

impl Door for Counted {
    fn with<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T, ImportError> {
        self.pieces.fetch_add(1, Ordering::SeqCst);
        Door::with(&mut self.hub, work)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_is_answered_between_two_pieces_of_an_import() {
    let mut shop = shop();
    let tills: Vec<Till> = (1..=20)
        .map(|n| {
            let mut till = shop.till(2 * n);
            till.sell(scopes::store(shop.store), 1);
            till
        })
        .collect();
    let folder = shop._dir.path().join("imports");
    let env: Arc<dyn Env> = Arc::new(Still);
    let rows: String = (0..2_000).map(|n| format!("P{n},Product {n},1,0\n")).collect();
    let file = format!("code,name,price,tax_rate_bp\n{rows}");
    let hub = Hub::spawn(shop.region);
    let pieces = Arc::new(AtomicUsize::new(0));
    let mut door = Counted { hub: hub.clone(), pieces: pieces.clone() };
    let runtime = tokio::runtime::Handle::current();
    let importing = tokio::task::spawn_blocking(move || {
        let id = import::begin(&mut door, &folder, "test.csv", file.as_bytes(), None, &*env).expect("begun");
        let mut sent = 0;
        let mut waits = Vec::new();
        for to in [ImportState::Reading, ImportState::Applying] {
            if to == ImportState::Applying {
                door.with(move |region| region.import_enter(id, to)).expect("it runs").expect("ready");
            }
            // With every piece another till sends a sale, and notes how many pieces went before its answer.
            let tell = |_: &ImportView| {
                if let Some(till) = tills.get(sent) {
                    sent += 1;
                    let (hub, run, sender, pieces) = (hub.clone(), till.run(1, 1), till.id, pieces.clone());
                    waits.push(runtime.spawn(async move {
                        let before = pieces.load(Ordering::SeqCst);
                        hub.admit(Sender::Writer(sender), run).await.expect("admitted");
                        pieces.load(Ordering::SeqCst) - before
                    }));
                }
                Ok(())
            };
            import::run::step(&mut door, &folder, id, to, &env, tell).expect("done");
        }
        (waits, sent)
    });
    let (waits, sent) = importing.await.expect("it ends");
    assert_eq!(sent, 20);
    for wait in waits {
        let pieces = wait.await.expect("answered");
        assert!(pieces <= 3, "a till waited for {pieces} pieces");
    }
}

#[test]
fn a_code_is_good_once_and_guessing_ends_it() {
    let mut shop = shop();
    let key = |n: u8| SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes();
    let id = |n: u8| DeviceId(uuid::Uuid::from_bytes([n; 16]));
    shop.region.issue_code("S01", "Till", "C0DE1", 1_000).expect("a code");
    for (store, name, sentence) in [
        ("S99", "Till", "there is no store S99: add it with `store add`"),
        ("S01", " ", "Give the device a name of 1 to 100 letters, without control characters."),
        ("S01", &"T".repeat(101), "Give the device a name of 1 to 100 letters, without control characters."),
        ("S01", "Till\u{1b}[2J", "Give the device a name of 1 to 100 letters, without control characters."),
    ] {
        assert_eq!(shop.region.issue_code(store, name, "N0NE", 1_000).expect_err(name).to_string(), sentence);
    }
    let life = sync_proto::enrolment::CODE_LIFE_MS;
    assert!(matches!(shop.region.redeem("C0DE1", id(1), key(1), 1_001 + life), Err(DeskError::WrongCode)), "too old");
    shop.region.redeem("c0de1", id(1), key(1), 1_000 + life).expect("in time, in any case of letters");
    assert!(matches!(shop.region.redeem("C0DE1", id(2), key(2), 1_000), Err(DeskError::WrongCode)), "used");
    shop.region.issue_code("S01", "Till", "C0DE2", 1_000).expect("a code");
    let known = shop.region.redeem("C0DE2", id(2), key(1), 1_000).expect_err("its key is there already");
    let sentence = "this device's key is enrolled already: run the till as it is, or enrol it from an empty folder";
    assert!(matches!(known, DeskError::KnownKey) && known.to_string() == sentence, "{known}");
    for _ in 0..4 {
        assert!(matches!(shop.region.redeem("WRONG", id(2), key(2), 1_000), Err(DeskError::WrongCode)));
    }
    assert!(matches!(shop.region.redeem("WRONG", id(2), key(2), 1_000), Err(DeskError::TooManyTries)), "the sixth try");
    assert!(matches!(shop.region.redeem("C0DE2", id(2), key(2), 1_000), Err(DeskError::WrongCode)), "pending codes ended");
    assert!(shop.region.issue_code("S99", "Till", "C0DE3", 1_000).is_err());
}

#[test]
fn a_new_device_is_sent_the_documents_that_it_follows_in_the_order_in_which_it_needs_them() {
    let mut shop = shop();
    shop.import("code,name,price,tax_rate_bp\nA1,Tea,2.50,0\nA2,Milk,1.00,0\nA3,Bread,3.20,0\n");
    let till = shop.till(7);
    let device = shop.region.device(till.id).expect("admitted").clone();
    let followed = shop.region.followed_by(&device);
    let whole = shop.region.documents_after(&followed, DocumentPlace::START, 1_000_000).expect("reads");
    assert_eq!(whole.documents.iter().map(|sent| sent.kind).collect::<Vec<_>>(), [2, 1, 1, 1], "the store first");
    let end = shop.region.last_seq();
    assert_eq!(whole.until, Some(end));

    // One by one it is the same.
    let (mut one_by_one, mut place) = (Vec::new(), DocumentPlace::START);
    loop {
        let sent = shop.region.documents_after(&followed, place, 1).expect("reads");
        let last = sent.documents.last().expect("one at least");
        place = DocumentPlace { kind: last.kind, id: last.id };
        one_by_one.extend(sent.documents);
        if sent.until.is_some() {
            break;
        }
    }
    assert_eq!(one_by_one, whole.documents);
    let beyond = shop.region.documents_after(&followed, place, 1).expect("reads");
    assert_eq!((beyond.documents.len(), beyond.until), (0, Some(end)), "nothing is left, and that is said");
    let none =
        shop.region.documents_after(&BTreeSet::from([scopes::staff(shop.store)]), DocumentPlace::START, 1_000).expect("reads");
    assert_eq!(none.documents, [], "nothing that is not followed");
}
