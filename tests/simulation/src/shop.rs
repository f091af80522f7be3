//! A shop in a few lines: its server's founding entries, its tills, and chance and time from a seed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::document::{Product, StaffMember, Store};
use domain::ids::{DeviceId, ProductId, StaffId, StoreId};
use domain::money::{Currency, UnitPrice};
use domain::record::{DeviceEnrolment, DeviceKind, DeviceStart, RECORD_VERSION, Record};
use domain::staff::Role;
use domain::tax::TaxMode;
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Scope, Seal, SigningKey};
use sync_proto::batch::Run;
use sync_proto::documents::{self, Document, DocumentValue};
use sync_proto::enrolment::CertifiedServer;
use sync_proto::env::Env;
use sync_proto::scopes;

use crate::Dice;

/// When the simulated day begins, in Unix milliseconds: 2026-03-02, 08:00 UTC.
pub const MORNING_MS: u64 = 1_772_438_400_000;
/// What the actor that the server writes documents under follows from.
const ACTOR_SEED: [u8; 16] = [9; 16];
/// The PIN of everyone.
pub const PIN: &str = "2468";

/// A clock that moves a little with every look, and chance from a seed.
#[derive(Debug)]
pub struct SimEnv {
    now_ms: AtomicU64,
    dice: Mutex<Dice>,
}

impl SimEnv {
    /// Time from `now_ms` on, chance from `seed`.
    pub fn new(now_ms: u64, seed: u64) -> Self {
        Self { now_ms: AtomicU64::new(now_ms), dice: Mutex::new(Dice::new(seed)) }
    }
}

impl Env for SimEnv {
    fn unix_ms(&self) -> u64 {
        self.now_ms.fetch_add(3, Ordering::Relaxed)
    }

    fn fill_random(&self, out: &mut [u8]) {
        self.dice.lock().expect("throwing dice does not panic").fill(out);
    }
}

/// A shop: who and what is in it, and the server that says so.
#[derive(Debug, Clone)]
pub struct Shop {
    /// The store.
    pub store: Store,
    /// A manager.
    pub manager: StaffMember,
    /// What is sold.
    pub products: Vec<Product>,
    /// The numbers of its tills.
    pub tills: Vec<u32>,
    server: Origin,
}

impl Shop {
    /// A shop with so many tills.
    pub fn new(tills: u32) -> Self {
        let store = Store {
            id: StoreId::new(MORNING_MS, [1; 10]),
            code: "S01".to_owned(),
            name: "Corner shop".to_owned(),
            address: vec!["1 High Street".to_owned()],
            currency: Currency::new("GBP").expect("three capitals"),
            tax_mode: TaxMode::Inclusive,
            receipt_footer: "Thank you".to_owned(),
            receipt_header: Vec::new(),
            languages: vec!["en".to_owned()],
            time_zone: "UTC".to_owned(),
        };
        let manager = StaffMember {
            id: StaffId::new(MORNING_MS, [2; 10]),
            name: "Ada".to_owned(),
            role: Role::Manager,
            pin_hash: cheap_pin_hash(),
            active: true,
        };
        let products = (1..=12u8).map(product).collect();
        let named = CertifiedServer::of_key(server_key().verifying_key().to_bytes());
        let server = Origin { device: *named.device.as_bytes(), incarnation: [0x51; 16] };
        Self { store, manager, products, tills: (1..=tills).collect(), server }
    }

    /// Another store of the same business, with a manager of its own, and with so many tills.
    #[must_use]
    pub fn branch(&self, tills: std::ops::RangeInclusive<u32>) -> Self {
        let store = Store {
            id: StoreId::new(MORNING_MS, [4; 10]),
            code: "S02".to_owned(),
            name: "Market hall".to_owned(),
            ..self.store.clone()
        };
        let manager = StaffMember { id: StaffId::new(MORNING_MS, [5; 10]), name: "Grace".to_owned(), ..self.manager.clone() };
        Self { store, manager, tills: tills.collect(), ..self.clone() }
    }

    /// The server's device id and public key, as a till is told when it is enrolled.
    pub fn server(&self) -> ([u8; 16], [u8; 32]) {
        (self.server.device, server_key().verifying_key().to_bytes())
    }

    /// The device id of a till.
    pub fn till_device(&self, number: u32) -> DeviceId {
        DeviceId::new(MORNING_MS, [0x10 + number as u8; 10])
    }

    /// The key of a till.
    pub fn till_key(&self, number: u32) -> SigningKey {
        SigningKey::from_bytes(&[number as u8; 32])
    }

    /// The shop's regional server, which has written nothing yet.
    pub fn region(&self) -> Region {
        let genesis = OriginChain::new(self.server);
        Region { chain: genesis, at: Hlc::new(MORNING_MS - 3_600_000, 0), products: BTreeMap::new() }
    }

    /// What the server has written before the shop opens: devices, store, staff, products. One run.
    pub fn founding(&self) -> Run {
        self.region().found(self)
    }

    fn founding_records(&self) -> Vec<Record> {
        let enrolled = |device, kind, number, key: SigningKey| {
            Record::DeviceEnrolled(DeviceEnrolment {
                device,
                store: (kind == DeviceKind::Till).then_some(self.store.id),
                kind,
                name: format!("Device {number}"),
                number,
                public_key: key.verifying_key().to_bytes(),
            })
        };
        let server = DeviceId::from_slice(&self.server.device).expect("16 bytes");
        let started = DeviceStart { series: String::new(), actor_seed: Some(ACTOR_SEED), software: "simulation".to_owned() };
        let mut records = vec![Record::DeviceStarted(started), enrolled(server, DeviceKind::Server, 0, server_key())];
        records.extend(self.tills.iter().map(|&n| enrolled(self.till_device(n), DeviceKind::Till, n, self.till_key(n))));
        records
    }
}

/// A regional server as an author: it writes what only servers may write.
#[derive(Debug)]
pub struct Region {
    chain: OriginChain,
    at: Hlc,
    products: BTreeMap<ProductId, (Product, Document)>,
}

impl Region {
    /// Devices, store, staff and products, as one run.
    pub fn found(&mut self, shop: &Shop) -> Run {
        let mut entries: Vec<_> = shop.founding_records().iter().map(|r| (scopes::directory(), body_of(r))).collect();
        entries.push((scopes::directory(), self.write(&DocumentValue::Store(shop.store.clone())).1));
        let manager = DocumentValue::StaffMember(shop.manager.clone());
        entries.push((scopes::staff(shop.store.id), self.write(&manager).1));
        for product in &shop.products {
            let (document, body) = self.write(&DocumentValue::Product(product.clone()));
            self.products.insert(product.id, (product.clone(), document));
            entries.push((scopes::catalogue(), body));
        }
        self.seal(entries)
    }

    /// A product's new price, as one run; none when it costs that already.
    ///
    /// # Panics
    /// When the product was never founded.
    pub fn reprice(&mut self, product: ProductId, price: UnitPrice) -> Option<Run> {
        self.edit(product, |known| known.price = price)
    }

    /// A product that is not on sale any more, as one run; none when it was not.
    ///
    /// # Panics
    /// When the product was never founded.
    pub fn withdraw(&mut self, product: ProductId) -> Option<Run> {
        self.edit(product, |known| known.active = false)
    }

    fn edit(&mut self, product: ProductId, edit: impl FnOnce(&mut Product)) -> Option<Run> {
        self.at = self.at.tick(0);
        let actor = self.actor();
        let (known, document) = self.products.get_mut(&product).expect("a product of the shop");
        edit(known);
        let value = DocumentValue::Product(known.clone());
        let bytes = document.write(&value, self.at, self.chain.origin.device, actor)?;
        let body = Body::Change { document: value.id(), kind: value.kind() as u16, bytes };
        Some(self.seal(vec![(scopes::catalogue(), body)]))
    }

    /// Two prices of a product that managers set without seeing each other's: the later one comes first.
    ///
    /// # Panics
    /// When the product was never founded, or has one of the prices.
    pub fn reprice_at_once(&mut self, product: ProductId, later: UnitPrice, earlier: UnitPrice) -> Vec<Run> {
        let (before, own) = (self.at.tick(0), self.actor());
        self.at = before.tick(0);
        let (known, document) = self.products.get_mut(&product).expect("a product of the shop");
        let mut beside = document.clone();
        let mut bodies = Vec::new();
        for (document, price, at, actor) in [(document, later, self.at, own), (&mut beside, earlier, before, [8; 16])] {
            known.price = price;
            let value = DocumentValue::Product(known.clone());
            let bytes = document.write(&value, at, self.chain.origin.device, actor).expect("another price");
            bodies.push(Body::Change { document: value.id(), kind: value.kind() as u16, bytes });
        }
        bodies.into_iter().map(|body| self.seal(vec![(scopes::catalogue(), body)])).collect()
    }

    fn actor(&self) -> [u8; 16] {
        documents::actor(&self.chain.origin, ACTOR_SEED)
    }

    fn write(&mut self, value: &DocumentValue) -> (Document, Body) {
        self.at = self.at.tick(0);
        let mut document = Document::new(value.kind(), value.id());
        let change = document.write(value, self.at, self.chain.origin.device, self.actor());
        let bytes = change.expect("a new document differs from none");
        (document, Body::Change { document: value.id(), kind: value.kind() as u16, bytes })
    }

    /// One commit an entry, sealed at the end.
    fn seal(&mut self, entries: Vec<(Scope, Body)>) -> Run {
        let before = entries.iter().map(|(scope, _)| (scope.clone(), self.chain.head(scope))).collect();
        let mut commits = Vec::with_capacity(entries.len());
        let mut last_seal = None;
        for (scope, body) in entries {
            self.at = self.at.tick(0);
            let commit = self.chain.append(&server_key(), self.at, None, vec![NewEntry { scope, body }]);
            let entries = commit.entries.into_iter().map(|e| (e.scope, e.bytes)).collect();
            commits.push(ReceivedCommit { entries, seal: None });
            last_seal = Some(Seal { signature: commit.signature, foreign: Vec::new() });
        }
        if let Some(last) = commits.last_mut() {
            last.seal = last_seal;
        }
        Run { origin: self.chain.origin, before, commits }
    }
}

fn server_key() -> SigningKey {
    SigningKey::from_bytes(&[0xA5; 32])
}

fn product(n: u8) -> Product {
    Product {
        // Ids of documents are of one kind each: the store and the manager have the first two.
        id: ProductId::new(MORNING_MS, [n + 64; 10]),
        code: format!("P{n:03}"),
        name: format!("Product {n}"),
        barcodes: vec![format!("50000000000{n:02}")],
        // Prices with a fraction of a penny too, so that rounding is not always nothing.
        price: UnitPrice(i64::from(n) * 12_345),
        tax_rate_bp: if n.is_multiple_of(3) { 0 } else { 2_000 },
        category: String::new(),
        tax_class: None,
        picture: None,
        active: true,
    }
}

/// A PIN hash that costs next to nothing to check; the till reads the cost out of the hash.
fn cheap_pin_hash() -> String {
    let params = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, Params::MIN_P_COST, None).expect("the least costs");
    let salt = SaltString::encode_b64(b"one salt for all").expect("a salt");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(PIN.as_bytes(), &salt).expect("a PIN hashes").to_string()
}

fn body_of(record: &Record) -> Body {
    Body::Record { kind: record.kind(), version: RECORD_VERSION, bytes: record.encode() }
}
