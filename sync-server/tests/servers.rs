//! Two logs on one central store: each takes what servers write once it knows them, and what happens in the stores that it serves.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::document::{DocumentKind, Store};
use domain::ids::{DeviceId, ProductId, StoreId};
use domain::money::{Currency, UnitPrice};
use domain::record::{DeviceStart, Record};
use domain::tax::TaxMode;
use journal::{Body, Entry, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Seal, SigningKey};
use sync_proto::batch::Run;
use sync_proto::documents::DocumentValue;
use sync_proto::enrolment::CertifiedServer;
use sync_proto::env::Env;
use sync_proto::scopes;
use sync_server::authority::{Authority, AuthorityError};
use sync_server::central::{CentralRow, FeedRow};
use sync_server::region::{MeetError, Met, ProductPatch, Refill, Region, Sender, TaxPatch, Writer};

#[derive(Debug)]
struct Clock(AtomicU64);

impl Env for Clock {
    fn unix_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn fill_random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("random");
    }
}

/// A server: its log, and how far the central store has it.
struct Server {
    _dir: tempfile::TempDir,
    region: Region,
    me: CertifiedServer,
    fed: u64,
    clock: Clock,
}

/// What the servers brought, with who brought it.
#[derive(Default)]
struct Central {
    rows: Vec<([u8; 16], FeedRow)>,
}

impl Server {
    fn new(n: u8) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let key = SigningKey::from_bytes(&[n; 32]);
        let me = CertifiedServer::of_key(key.verifying_key().to_bytes());
        let writer = Writer { device: me.device, incarnation: [n; 16], actor_seed: [n; 16], key };
        let mut region = Region::open(&dir.path().join("region.db"), writer).expect("opens");
        region.start(1, "test").expect("starts");
        Self { _dir: dir, region, me, fed: 0, clock: Clock(AtomicU64::new(1_700_000_000_000)) }
    }

    fn meet(&mut self, other: &CertifiedServer) -> Met {
        self.region.meet(*other, "Other", 1).expect("they meet")
    }

    fn feed(&mut self, central: &mut Central) {
        loop {
            let rows = self.region.rows_after(self.fed, 100, 1 << 20).expect("reads");
            let Some(last) = rows.last() else { return };
            self.fed = last.region_seq;
            for row in rows {
                let is_there = |(_, there): &([u8; 16], FeedRow)| there.hash == row.hash;
                if central.rows.iter().any(is_there) {
                    continue;
                }
                let at_ms = Entry::decode(&row.bytes).expect("an entry").at.unix_ms();
                let row = FeedRow {
                    region_seq: row.region_seq,
                    device: row.origin.device,
                    incarnation: row.origin.incarnation,
                    scope: row.scope.as_str().to_owned(),
                    seq: row.seq,
                    commit: row.commit,
                    hash: row.hash,
                    bytes: row.bytes,
                    at_ms,
                    seal: row.seal,
                };
                central.rows.push((self.region.own().incarnation, row));
            }
        }
    }

    /// Takes what others brought, a few rows at a time, and answers how many commits were new.
    fn pull(&mut self, central: &Central) -> usize {
        let (mut taken, mut refill) = (0, None::<Refill>);
        let mut read_to = 0;
        loop {
            let at = self.region.central_reading().expect("reads");
            let mut holds = match refill.take() {
                Some(refill) if refill.is_of(&at) => refill,
                _ => {
                    read_to = at.read_to;
                    Refill::of(&at)
                }
            };
            let wanted = |scope: &str| !scope.starts_with("store/") || at.stores.iter().any(|store| store.as_str() == scope);
            let numbered = (1..).zip(&central.rows).filter(|(n, _)| *n > read_to);
            let others = numbered.filter(|(_, (by, row))| *by != self.region.own().incarnation && wanted(&row.scope));
            let rows: Vec<CentralRow> =
                others.take(3).map(|(central_seq, (_, row))| CentralRow { central_seq, row: row.clone() }).collect();
            let is_last = rows.len() < 3;
            read_to = if is_last { central.rows.len() as u64 } else { rows[2].central_seq };
            holds.add(rows).expect("rows");
            taken += self.region.refill(&mut holds, read_to).expect("takes");
            let is_level = holds.is_of(&self.region.central_reading().expect("reads"));
            refill = Some(holds);
            if is_last && is_level {
                assert_eq!(refill.and_then(|refill| refill.waits_from()), None, "nothing waits");
                return taken;
            }
        }
    }

    fn add_store(&mut self, code: &str) -> StoreId {
        let id = StoreId(uuid::Uuid::from_bytes([code.as_bytes()[0]; 16]));
        let store = Store {
            id,
            code: code.into(),
            name: "Shop".into(),
            address: vec![],
            currency: Currency::new("GBP").expect("GBP"),
            tax_mode: TaxMode::Inclusive,
            receipt_footer: String::new(),
            receipt_header: Vec::new(),
            languages: vec!["en".to_owned()],
            time_zone: "UTC".to_owned(),
        };
        self.region.add_store(store, 1).expect("a store");
        id
    }

    fn till(&mut self, code: &str, n: u8) -> Till {
        let key = SigningKey::from_bytes(&[n; 32]);
        let id = DeviceId(uuid::Uuid::from_bytes([n; 16]));
        let once = format!("AAAAAAAA{n}");
        self.region.issue_code(code, "Till", &once, 1).expect("a code");
        let granted = self.region.redeem(&once, id, key.verifying_key().to_bytes(), 1).expect("admitted");
        let chain = OriginChain::new(Origin { device: [n; 16], incarnation: [n + 1; 16] });
        Till { id, key, chain, store: granted.store.expect("a till has a store"), number: granted.number }
    }

    fn sell(&mut self, till: &mut Till) {
        let scope = scopes::store(till.store);
        let record = Record::DeviceStarted(DeviceStart { series: "S".into(), actor_seed: None, software: "x".into() });
        let body = Body::Record { kind: record.kind(), version: 1, bytes: record.encode() };
        let before = [(scope.clone(), till.chain.head(&scope))].into();
        let sealed = till.chain.append(&till.key, Hlc(5), None, vec![NewEntry { scope, body }]);
        let entries = sealed.entries.iter().map(|e| (e.scope.clone(), e.bytes.clone())).collect();
        let commit = ReceivedCommit { entries, seal: Some(Seal { signature: sealed.signature, foreign: vec![] }) };
        let run = Run { origin: till.chain.origin, before, commits: vec![commit] };
        self.region.admit_all(vec![(Sender::Writer(till.id), run)]).expect("the log").remove(0).expect("admitted");
    }

    fn add_product(&mut self, code: &str, price: i64) -> ProductId {
        let patch =
            ProductPatch { code: Some(code.into()), name: Some(code.into()), tax: Some(TaxPatch::Rate(0)), ..priced(price) };
        let made = self.region.create_product(patch, None, &self.clock).expect("a product");
        match made.value {
            DocumentValue::Product(product) => product.id,
            other => panic!("{other:?} is no product"),
        }
    }

    fn price(&self, product: ProductId) -> Option<i64> {
        let state = self.region.state(DocumentKind::Product, *product.as_bytes()).expect("reads")?;
        match state.value {
            DocumentValue::Product(product) => Some(product.price.0),
            other => panic!("{other:?} is no product"),
        }
    }

    fn commits_of(&self, origin: Origin) -> u64 {
        self.region.chain(origin).commit
    }
}

struct Till {
    id: DeviceId,
    key: SigningKey,
    chain: OriginChain,
    store: StoreId,
    number: u32,
}

fn priced(price: i64) -> ProductPatch {
    ProductPatch { price: Some(UnitPrice(price)), ..ProductPatch::default() }
}

/// Both bring and take until nothing is new.
fn exchange(servers: &mut [&mut Server], central: &mut Central) {
    loop {
        let mut taken = 0;
        servers.iter_mut().for_each(|server| server.feed(central));
        for server in servers.iter_mut() {
            taken += server.pull(central);
        }
        if taken == 0 {
            return;
        }
    }
}

#[test]
fn what_a_stranger_wrote_is_passed_over_and_taken_once_they_have_met() {
    let (mut a, mut b, mut central) = (Server::new(1), Server::new(2), Central::default());
    let product = a.add_product("HAT", 500);
    exchange(&mut [&mut a, &mut b], &mut central);
    assert_eq!((b.price(product), b.commits_of(a.region.own())), (None, 0));
    assert_eq!(b.meet(&a.me), Met::Now);
    assert_eq!(b.meet(&a.me), Met::Before);
    exchange(&mut [&mut a, &mut b], &mut central);
    assert_eq!(b.price(product), Some(500));
    assert_eq!(b.commits_of(a.region.own()), a.commits_of(a.region.own()));
    assert_eq!(a.commits_of(b.region.own()), 0, "a has met nobody");
    assert_eq!(a.meet(&b.me), Met::Now);
    exchange(&mut [&mut a, &mut b], &mut central);
    for server in [&a, &b] {
        assert!(server.region.verify().expect("every chain and seal holds") >= 4);
        assert_eq!(server.region.devices().count(), 2);
    }
}

#[test]
fn a_server_that_one_server_has_met_is_known_to_those_who_know_that_one() {
    let (mut a, mut b, mut c, mut central) = (Server::new(1), Server::new(2), Server::new(3), Central::default());
    let product = c.add_product("HAT", 500);
    exchange(&mut [&mut a, &mut b, &mut c], &mut central);
    b.meet(&c.me);
    a.meet(&b.me);
    exchange(&mut [&mut a, &mut b, &mut c], &mut central);
    assert_eq!(a.price(product), Some(500));
    assert_eq!(a.meet(&c.me), Met::Before);
    a.region.verify().expect("every chain and seal holds");
}

#[test]
fn two_edits_at_once_agree_on_the_later_one() {
    let (mut a, mut b, mut central) = (Server::new(1), Server::new(2), Central::default());
    a.meet(&b.me);
    b.meet(&a.me);
    let product = a.add_product("HAT", 500);
    exchange(&mut [&mut a, &mut b], &mut central);
    a.region.edit_product(product, None, priced(600), None, &a.clock).expect("edited");
    b.clock.0.fetch_add(1_000, Ordering::Relaxed);
    b.region.edit_product(product, None, priced(700), None, &b.clock).expect("edited");
    exchange(&mut [&mut a, &mut b], &mut central);
    let state = |server: &Server| server.region.state(DocumentKind::Product, *product.as_bytes()).expect("reads");
    assert_eq!((a.price(product), state(&a)), (Some(700), state(&b)));
    // Whoever has seen both goes on from both, be their clock behind.
    a.region.edit_product(product, None, priced(800), None, &a.clock).expect("edited");
    exchange(&mut [&mut a, &mut b], &mut central);
    assert_eq!((b.price(product), state(&a)), (Some(800), state(&b)));
}

#[test]
fn one_code_given_at_both_is_the_older_products_at_both() {
    let (mut a, mut b, mut central) = (Server::new(1), Server::new(2), Central::default());
    b.clock.0.fetch_add(1_000, Ordering::Relaxed);
    let (younger, older) = (b.add_product("HAT", 700), a.add_product("HAT", 600));
    a.meet(&b.me);
    b.meet(&a.me);
    exchange(&mut [&mut a, &mut b], &mut central);
    for server in [&mut a, &mut b] {
        let again = ProductPatch { code: Some("HAT".into()), name: Some("x".into()), tax: Some(TaxPatch::Rate(0)), ..priced(1) };
        let refused = server.region.create_product(again, None, &server.clock).expect_err("the code is given").to_string();
        assert!(refused.contains("The code HAT belongs to HAT"), "{refused}");
        let products = server.region.all_of(DocumentKind::Product).expect("reads");
        let ids: Vec<_> = products.iter().map(|state| state.value.id()).collect();
        assert_eq!(ids, [*older.as_bytes(), *younger.as_bytes()]);
    }
    // The older one gives its code up, and the other is found by it.
    let renamed = ProductPatch { code: Some("CAP".into()), ..ProductPatch::default() };
    a.region.edit_product(older, None, renamed, None, &a.clock).expect("edited");
    exchange(&mut [&mut a, &mut b], &mut central);
    let taken = ProductPatch { code: Some("HAT".into()), ..ProductPatch::default() };
    b.region.edit_product(older, None, taken, None, &b.clock).expect_err("the code is the younger one's now");
}

#[test]
fn what_happens_in_a_store_is_taken_where_the_store_is_served() {
    let (mut a, mut b, mut central) = (Server::new(1), Server::new(2), Central::default());
    let store = a.add_store("S01");
    let mut till = a.till("S01", 40);
    a.sell(&mut till);
    a.meet(&b.me);
    b.meet(&a.me);
    exchange(&mut [&mut a, &mut b], &mut central);
    assert_eq!(b.commits_of(till.chain.origin), 0, "nobody serves the store there");
    assert!(b.region.device(till.id).is_some(), "but its till is known");
    assert!(b.region.serve(store).expect("noted") && !b.region.serve(store).expect("noted"));
    exchange(&mut [&mut a, &mut b], &mut central);
    assert_eq!(b.commits_of(till.chain.origin), 1);
    // It sells on there, a second till is admitted there, and the first server, where the store was, hears of both.
    b.sell(&mut till);
    let mut second = b.till("S01", 50);
    assert_eq!((till.number, second.number), (1, 2));
    b.sell(&mut second);
    exchange(&mut [&mut a, &mut b], &mut central);
    for server in [&a, &b] {
        assert_eq!((server.commits_of(till.chain.origin), server.commits_of(second.chain.origin)), (2, 1));
        server.region.verify().expect("every chain and seal holds");
    }
    let feeds = central.rows.len();
    exchange(&mut [&mut a, &mut b], &mut central);
    assert_eq!(central.rows.len(), feeds, "what both have is in the central store once");
}

#[test]
fn a_lost_log_takes_back_its_own_stores_and_what_other_servers_wrote() {
    let (mut a, mut b, mut central) = (Server::new(1), Server::new(2), Central::default());
    a.add_store("S01");
    let mut till = a.till("S01", 40);
    a.sell(&mut till);
    a.meet(&b.me);
    b.meet(&a.me);
    let product = b.add_product("HAT", 500);
    exchange(&mut [&mut a, &mut b], &mut central);
    let dir = tempfile::tempdir().expect("a folder");
    let key = SigningKey::from_bytes(&[1; 32]);
    let writer = Writer { device: a.me.device, incarnation: [9; 16], actor_seed: [9; 16], key };
    let mut region = Region::open(&dir.path().join("region.db"), writer).expect("opens");
    region.start(1, "test").expect("starts");
    let mut anew = Server { _dir: dir, region, me: a.me, fed: 0, clock: Clock(AtomicU64::new(1_700_000_000_000)) };
    exchange(&mut [&mut anew, &mut b], &mut central);
    assert_eq!((anew.commits_of(till.chain.origin), anew.price(product)), (1, Some(500)));
    assert_eq!(anew.commits_of(a.region.own()), a.commits_of(a.region.own()));
}

#[test]
fn a_server_is_called_by_its_name_everywhere() {
    let (mut a, mut b, mut central) = (Server::new(1), Server::new(2), Central::default());
    assert_eq!(a.region.name(), "Sync server");
    a.region.rename("North", 1).expect("a name");
    a.region.rename("", 1).expect_err("no name");
    a.meet(&b.me);
    assert_eq!(b.region.meet(a.me, "North", 1).expect("they meet"), Met::Now);
    exchange(&mut [&mut a, &mut b], &mut central);
    a.region.rename("Far north", 1).expect("a name");
    exchange(&mut [&mut a, &mut b], &mut central);
    for server in [&a, &b] {
        assert_eq!(server.region.device(a.me.device).map(|known| known.name.as_str()), Some("Far north"));
    }
}

#[test]
fn only_what_is_no_device_yet_is_met() {
    let (mut a, b) = (Server::new(1), Server::new(2));
    a.add_store("S01");
    let till = a.till("S01", 40);
    assert_eq!(a.meet(&a.me.clone()), Met::Before, "itself");
    for device in [till.id, a.me.device] {
        let somebody = CertifiedServer { device, ..b.me };
        let refused = a.region.meet(somebody, "Other", 1).expect_err("it is known otherwise");
        assert!(matches!(refused, MeetError::Otherwise(id) if id == device), "{refused}");
    }
    // Somebody who says of another what that one is not.
    assert_eq!(a.region.device(till.id).map(|known| known.public_key), Some(till.key.verifying_key().to_bytes()));
}

#[test]
fn a_server_is_believed_by_its_certificate_alone() {
    let folder = || tempfile::tempdir().expect("a folder");
    let (first, second, strange) = (folder(), folder(), folder());
    let authority = Authority::open(first.path()).expect("an authority");
    Authority::adopt(first.path(), second.path()).expect("copied");
    Authority::adopt(first.path(), second.path()).expect("once more");
    let other = Authority::open(second.path()).expect("the same authority");
    let stranger = Authority::open(strange.path()).expect("another authority");
    let met = authority.server_of(other.server_certificate()).expect("a server");
    assert_eq!((met.device, met.public_key), (other.server_device(), other.seal_key().verifying_key().to_bytes()));
    assert_ne!(met.device, authority.server_device());
    assert_eq!(authority.fingerprint(), other.fingerprint());
    assert_eq!(authority.server_of(stranger.server_certificate()), None);
    assert_eq!(authority.server_of(b"no certificate"), None);
    assert_eq!(authority.server_of(&authority.certificate()), None, "an authority is no server");
    // A device has a certificate of the same authority, and asks for the name of a server in vain.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let asked = rcgen::CertificateParams::new(vec![sync_proto::enrolment::SERVER_NAME.to_owned()]).expect("a name");
    let request = asked.serialize_request(&key).expect("a request");
    let id = |n| uuid::Uuid::from_bytes([n; 16]);
    let pem = authority.sign_device(request.der(), DeviceId(id(1)), StoreId(id(2))).expect("signed");
    let device = <rustls_pki_types::CertificateDer as rustls_pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes())
        .expect("a certificate");
    assert_eq!(authority.server_of(&device), None, "a device is no server");
    let refused = Authority::adopt(first.path(), strange.path()).expect_err("it has another authority");
    assert!(matches!(refused, AuthorityError::Other(_)), "{refused}");
}
