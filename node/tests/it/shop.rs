//! A shop for tests: a clock and dice that the test owns, a server that writes documents, and a till in a folder of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::document::{Product, StaffMember, Store};
use domain::ids::{DeviceId, ProductId, StaffId, StoreId};
use domain::money::{Currency, UnitPrice};
use domain::record::{DeviceEnrolment, DeviceKind, RECORD_VERSION, Record};
use domain::staff::Role;
use domain::tax::TaxMode;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Scope, Seal, SigningKey};
use node::api::{ApiError, ApiErrorCode, Command, Item, TillView};
use node::identity::{Granted, Identity};
use node::store::StoreOptions;
use node::till::{Till, TillOptions};
use sync_proto::batch::Run;
use sync_proto::documents::{Document, DocumentValue};
use sync_proto::env::Env;
use sync_proto::frame::SavedDocument;
use sync_proto::scopes;
use tempfile::TempDir;

/// A clock and dice that the test owns.
#[derive(Debug)]
pub struct TestEnv {
    now_ms: AtomicU64,
    dice: AtomicU64,
}

impl TestEnv {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicU64::new(1_790_000_000_000), dice: AtomicU64::new(1) })
    }

    pub fn pass_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn set_ms(&self, ms: u64) {
        self.now_ms.store(ms, Ordering::Relaxed);
    }
}

impl Env for TestEnv {
    fn unix_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn fill_random(&self, out: &mut [u8]) {
        for byte in out {
            // SplitMix64, one step a byte.
            let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (z ^ (z >> 31)) as u8;
        }
    }
}

pub fn id<const N: usize>(n: u8) -> [u8; N] {
    [n; N]
}

pub fn store_id() -> StoreId {
    StoreId::new(1, id(7))
}

pub fn product_id(n: u8) -> ProductId {
    ProductId::new(2, id(n))
}

pub const CASHIER: u8 = 1;
pub const LEAD: u8 = 2;
pub const MANAGER: u8 = 3;

pub fn staff_id(n: u8) -> StaffId {
    StaffId::new(3, id(n))
}

pub fn product(n: u8, code: &str, name: &str, price_minor: i64) -> Product {
    Product {
        id: product_id(n),
        code: code.to_owned(),
        name: name.to_owned(),
        barcodes: Vec::new(),
        price: UnitPrice::from_minor(price_minor).expect("a price"),
        tax_rate_bp: 2_000,
        category: String::new(),
        tax_class: None,
        picture: None,
        active: true,
    }
}

/// Who writes entries elsewhere: a server, or another till.
pub struct Writer {
    pub key: SigningKey,
    pub chain: OriginChain,
    at: u64,
    documents: BTreeMap<[u8; 16], Document>,
}

impl Writer {
    pub fn new(n: u8) -> Self {
        let origin = Origin { device: *DeviceId::new(4, id(n)).as_bytes(), incarnation: id(n) };
        Self { key: SigningKey::from_bytes(&id(n)), chain: OriginChain::new(origin), at: 0, documents: BTreeMap::new() }
    }

    /// Writes one commit of records, and answers it as a run of its own. Only scopes in `seen` are in it; the others are named in its seal.
    pub fn commit(&mut self, new: Vec<NewEntry>, seen: &BTreeSet<Scope>) -> Run {
        let before = self.chain.clone();
        self.at += 1;
        let commit = self.chain.append(&self.key, Hlc::new(1_700_000_000_000 + self.at, 0), None, new);
        let entries: Vec<_> = commit.entries.into_iter().filter(|e| seen.contains(&e.scope)).collect();
        let foreign = self.chain.heads.iter().filter(|(s, _)| !seen.contains(*s)).map(|(s, h)| (s.clone(), *h)).collect();
        Run {
            origin: self.chain.origin,
            before: entries.iter().map(|e| (e.scope.clone(), before.head(&e.scope))).collect(),
            commits: vec![ReceivedCommit {
                entries: entries.into_iter().map(|e| (e.scope, e.bytes)).collect(),
                seal: Some(Seal { signature: commit.signature, foreign }),
            }],
        }
    }

    pub fn record(&mut self, scope: Scope, record: &Record) -> Run {
        let body = Body::Record { kind: record.kind(), version: RECORD_VERSION, bytes: record.encode() };
        self.commit(vec![NewEntry { scope, body }], &followed())
    }

    pub fn document(&mut self, scope: Scope, value: DocumentValue) -> Run {
        let change = self.change(&value);
        self.commit(vec![NewEntry { scope, body: change }], &followed())
    }

    /// The documents that it has written, as they are kept.
    pub fn documents(&self) -> Vec<SavedDocument> {
        let saved =
            |document: &Document| SavedDocument { kind: document.kind() as u16, id: document.id(), saved: document.save() };
        self.documents.values().map(saved).collect()
    }

    pub fn change(&mut self, value: &DocumentValue) -> Body {
        self.at += 1;
        let document = self.documents.entry(value.id()).or_insert_with(|| Document::new(value.kind(), value.id()));
        let at = Hlc::new(1_700_000_000_000 + self.at, 0);
        let bytes = document.write(value, at, id(9), self.chain.origin.incarnation).expect("something differs");
        Body::Change { document: value.id(), kind: value.kind() as u16, bytes }
    }
}

pub fn followed() -> BTreeSet<Scope> {
    scopes::followed_by(DeviceKind::Till, store_id()).into_iter().collect()
}

/// Joins runs of one origin that follow each other.
pub fn joined(runs: Vec<Run>) -> Run {
    let mut runs = runs.into_iter();
    let mut first = runs.next().expect("a run");
    for run in runs {
        for (scope, head) in run.before {
            first.before.entry(scope).or_insert(head);
        }
        first.commits.extend(run.commits);
    }
    first
}

/// A till in a folder of its own, and the server that it belongs to.
pub struct Shop {
    pub folder: TempDir,
    pub env: Arc<TestEnv>,
    pub server: Writer,
    pub region_seq: u64,
    pub options: TillOptions,
}

impl Shop {
    /// A till that was admitted and knows nothing yet.
    pub fn new() -> (Self, Till) {
        let folder = tempfile::tempdir().expect("a folder");
        let env = TestEnv::new();
        let server = Writer::new(200);
        let key = SigningKey::from_bytes(&id(42));
        let granted = Granted {
            device: till_device(),
            store: store_id(),
            store_code: "S01".to_owned(),
            number: 3,
            name: "Till 3".to_owned(),
            region_address: "127.0.0.1:1".to_owned(),
            server_name: "sync".to_owned(),
            device_cert_pem: "certificate".to_owned(),
            authority_cert_pem: "authority".to_owned(),
            key_pem: key.to_pkcs8_pem(LineEnding::LF).expect("a key").to_string(),
            server_device: server.chain.origin.device,
            server_public_key: server.key.verifying_key().to_bytes(),
        };
        let identity = Identity::create(folder.path(), granted, &*env).expect("an identity");
        let options = TillOptions {
            store: StoreOptions::default(),
            printing: false,
            time_zone: jiff::tz::TimeZone::UTC,
            machine: Some("this machine".to_owned()),
            keep_ms: None,
        };
        let till = Till::open(identity, env.clone(), options.clone()).expect("a till");
        (Self { folder, env, server, region_seq: 0, options }, till)
    }

    /// A till that has its store, its staff and some products.
    pub fn stocked() -> (Self, Till) {
        let (mut shop, mut till) = Self::new();
        shop.stock(&mut till);
        (shop, till)
    }

    pub fn stock(&mut self, till: &mut Till) {
        let runs = self.founding();
        self.feed(till, runs);
    }

    /// What the server's log begins with.
    pub fn founding(&mut self) -> Vec<Run> {
        vec![
            self.server.document(scopes::directory(), DocumentValue::Store(store())),
            self.server.record(scopes::directory(), &enrolled(till_device(), "Till 3", SigningKey::from_bytes(&id(42)))),
            self.server.document(scopes::staff(store_id()), staff(CASHIER, "Cem", Role::Cashier, "1111")),
            self.server.document(scopes::staff(store_id()), staff(LEAD, "Lea", Role::ShiftLead, "2222")),
            self.server.document(scopes::staff(store_id()), staff(MANAGER, "Mia", Role::Manager, "3333")),
            self.server.document(scopes::catalogue(), DocumentValue::Product(product(1, "85123A", "White heart holder", 255))),
            self.server.document(scopes::catalogue(), DocumentValue::Product(product(2, "85123a", "Black heart holder", 300))),
            self.server.document(scopes::catalogue(), DocumentValue::Product(product(3, "22423", "Cake stand", 1_275))),
        ]
    }

    pub fn feed(&mut self, till: &mut Till, runs: Vec<Run>) {
        self.region_seq += runs.len() as u64;
        till.receive(runs, self.region_seq).expect("runs that verify");
    }

    /// Starts the program again.
    pub fn reopen(&self) -> Till {
        let identity = Identity::load(self.folder.path()).expect("an identity");
        Till::open(identity, self.env.clone(), self.options.clone()).expect("a till")
    }

    pub fn folder(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }
}

pub fn till_device() -> DeviceId {
    DeviceId::new(5, id(42))
}

pub fn store() -> Store {
    Store {
        id: store_id(),
        code: "S01".to_owned(),
        name: "Corner shop".to_owned(),
        address: vec!["1 High Street".to_owned()],
        currency: Currency::new("GBP").expect("GBP"),
        tax_mode: TaxMode::Inclusive,
        receipt_footer: "Thank you".to_owned(),
        receipt_header: Vec::new(),
        languages: vec!["en".to_owned()],
        time_zone: "UTC".to_owned(),
    }
}

pub fn enrolled(device: DeviceId, name: &str, key: SigningKey) -> Record {
    Record::DeviceEnrolled(DeviceEnrolment {
        device,
        store: Some(store_id()),
        kind: DeviceKind::Till,
        name: name.to_owned(),
        number: 3,
        public_key: key.verifying_key().to_bytes(),
    })
}

pub fn staff(n: u8, name: &str, role: Role, pin: &str) -> DocumentValue {
    let salt = SaltString::from_b64("c2FsdHNhbHQ").expect("a salt");
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).expect("parameters"));
    let pin_hash = cheap.hash_password(pin.as_bytes(), &salt).expect("a hash").to_string();
    DocumentValue::StaffMember(StaffMember { id: staff_id(n), name: name.to_owned(), role, pin_hash, active: true })
}

/// What a person does at a till, in short.
pub trait Counter {
    fn ask(&mut self, command: Command) -> Result<TillView, ApiError>;

    fn must(&mut self, command: Command) -> TillView {
        self.ask(command.clone()).unwrap_or_else(|e| panic!("{command:?}: {e:?}"))
    }

    fn refused(&mut self, command: Command) -> ApiErrorCode {
        self.ask(command).expect_err("a refusal").code
    }

    fn sign_in(&mut self, n: u8) -> TillView {
        self.must(Command::SignIn { staff: staff_id(n), pin: [n; 4].map(|d| char::from(b'0' + d)).iter().collect() })
    }

    fn open(&mut self) -> TillView {
        self.must(Command::OpenShift { float_minor: 10_000, business_day: None })
    }

    fn scan(&mut self, code: &str, pieces: i64) -> TillView {
        self.must(scan(code, pieces))
    }

    /// Settles what is in the cart with the exact amount.
    fn pay(&mut self) -> TillView;
}

impl Counter for Till {
    fn ask(&mut self, command: Command) -> Result<TillView, ApiError> {
        self.command(command)
    }

    fn pay(&mut self) -> TillView {
        let cart = self.view().expect("a view").cart;
        self.must(Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor })
    }
}

pub fn scan(code: &str, pieces: i64) -> Command {
    Command::AddLine {
        item: Item::Code { code: code.to_owned() },
        quantity_milli: Some(pieces * 1_000),
        unit_price: None,
        name: None,
        separate: None,
    }
}
