//! Devices without a till: keys and certificates of the real authority, and chains of sales sealed with them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use domain::cart::{Cart, Terms};
use domain::document::Product;
use domain::ids::{DeviceId, OrderId, ProductId, ShiftId, StoreId, uuid_v7};
use domain::money::{Currency, Quantity};
use domain::record::{BusinessDay, DeviceStart, Order, RECORD_VERSION, Record, ShiftOpening};
use domain::tax::TaxMode;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use journal::{Body, Entry, Head, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Scope, Seal, SigningKey};
use rcgen::{CertificateParams, KeyPair};
use sync_proto::batch::Run;
use sync_proto::scopes;
use sync_server::authority::Authority;
use sync_server::region::Region;

use crate::catalogue::{self, Names};
use crate::dice::Dice;
use crate::shop::STORE_CODE;

/// The lines of every sale.
pub const LINES: usize = 4;
/// From how many products sales are made.
const ASSORTMENT: usize = 500;
/// 2026-03-02 09:00 UTC, when chains begin.
pub const MORNING_MS: u64 = 1_772_442_000_000;
/// The day that their shift counts for.
pub const BUSINESS_DAY: BusinessDay = BusinessDay(20_514);
/// What passes between two sales.
const SALE_EVERY_MS: u64 = 20_000;
/// Who sells.
const STAFF: [u8; 16] = [5; 16];

/// What a device connects and seals with.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Its id.
    pub device: DeviceId,
    /// Its store.
    pub store: StoreId,
    /// Its Ed25519 key.
    pub key: SigningKey,
    /// The same as PKCS#8.
    pub key_pem: String,
    /// Its certificate.
    pub certificate_pem: String,
}

/// Admits so many devices as the enrolment desk does: with a code each, written into the directory, and a certificate of the authority.
///
/// # Errors
/// A region that refuses.
pub fn admit(region: &mut Region, authority: &Authority, count: usize, seed: u64) -> Result<Vec<Keys>> {
    let mut dice = Dice::new(seed);
    (0..count).map(|n| admit_one(region, authority, n, &mut dice)).collect()
}

fn admit_one(region: &mut Region, authority: &Authority, n: usize, dice: &mut Dice) -> Result<Keys> {
    let key = SigningKey::from_bytes(&dice.bytes());
    let key_pem = key.to_pkcs8_pem(LineEnding::LF).context("the device's key")?.to_string();
    let device = DeviceId::new(MORNING_MS, dice.bytes());
    let code = sync_proto::enrolment::code(dice.bytes());
    region.issue_code(STORE_CODE, &format!("Device {n}"), &code, MORNING_MS)?;
    let enrolment = region.redeem(&code, device, key.verifying_key().to_bytes(), MORNING_MS)?;
    let request = CertificateParams::default().serialize_request(&KeyPair::from_pem(&key_pem)?)?;
    let store = enrolment.store.context("a till has a store")?;
    let certificate_pem = authority.sign_device(request.der(), device, store)?;
    Ok(Keys { device, store, key, key_pem, certificate_pem })
}

/// One device's log, written and sealed commit by commit as a till does.
#[derive(Debug)]
pub struct Log {
    chain: OriginChain,
    scope: Scope,
    before: Head,
    commits: Vec<(Vec<u8>, [u8; 64])>,
}

impl Log {
    /// A log that begins as a till's does, with its start and the opening of a shift, and goes on with so many sales of four lines.
    ///
    /// # Errors
    /// An amount beyond its bound.
    pub fn of_sales(keys: &Keys, sales: usize, seed: u64) -> Result<Self> {
        let (mut records, origin) = Records::new(keys, seed);
        let chain = OriginChain::new(origin);
        let scope = scopes::store(keys.store);
        let mut log = Self { before: chain.head(&scope), chain, scope, commits: Vec::with_capacity(sales + 2) };
        for _ in 0..sales + 2 {
            let (at_ms, record) = records.next()?;
            log.write(keys, at_ms, &record);
        }
        Ok(log)
    }

    fn write(&mut self, keys: &Keys, at_ms: u64, record: &Record) {
        let new = vec![NewEntry { scope: self.scope.clone(), body: body(record) }];
        let commit = self.chain.append(&keys.key, Hlc::new(at_ms, 0), Some(STAFF), new);
        let entry = commit.entries.into_iter().next().expect("one entry was asked for");
        self.commits.push((entry.bytes, commit.signature));
    }

    /// Who writes it.
    pub fn origin(&self) -> Origin {
        self.chain.origin
    }

    /// Where it stands when all of it is written.
    pub fn chain(&self) -> &OriginChain {
        &self.chain
    }

    /// How many commits wait to be taken.
    pub fn left(&self) -> usize {
        self.commits.len()
    }

    /// Takes the next commits, at most so many, as a run whose last one is sealed; none when nothing is left.
    pub fn take(&mut self, commits_max: usize) -> Option<Run> {
        let count = commits_max.min(self.commits.len());
        if count == 0 {
            return None;
        }
        let taken: Vec<_> = self.commits.drain(..count).collect();
        let before = BTreeMap::from([(self.scope.clone(), self.before)]);
        for (bytes, _) in &taken {
            self.before = Head { seq: self.before.seq + 1, hash: journal::chain::link(&self.before.hash, bytes) };
        }
        let last = count - 1;
        let commit = |(at, (bytes, signature)): (usize, (Vec<u8>, [u8; 64]))| ReceivedCommit {
            entries: vec![(self.scope.clone(), bytes)],
            seal: (at == last).then_some(Seal { signature, foreign: Vec::new() }),
        };
        Some(Run { origin: self.chain.origin, before, commits: taken.into_iter().enumerate().map(commit).collect() })
    }
}

/// The same log without an end, written as it is sent: a run at a time, with one seal at its end, so that little of the machine goes into writing it.
#[derive(Debug)]
pub struct EndlessLog {
    key: SigningKey,
    chain: OriginChain,
    scope: Scope,
    records: Records,
}

impl EndlessLog {
    /// A log in which nothing is written yet.
    pub fn new(keys: &Keys, seed: u64) -> Self {
        let (records, origin) = Records::new(keys, seed);
        Self { key: keys.key.clone(), chain: OriginChain::new(origin), scope: scopes::store(keys.store), records }
    }

    /// Where it stands.
    pub fn chain(&self) -> &OriginChain {
        &self.chain
    }

    /// Writes so many commits, and answers them as a run whose last one is sealed.
    ///
    /// # Errors
    /// An amount beyond its bound.
    pub fn write(&mut self, commits: usize) -> Result<Run> {
        let before = self.chain.head(&self.scope);
        let mut head = before;
        let mut written = Vec::with_capacity(commits);
        for _ in 0..commits {
            let (at_ms, record) = self.records.next()?;
            let (commit, at) = (self.chain.commit + 1, Hlc::new(at_ms, 0));
            let bytes = Entry { commit, part: 0, parts: 1, at, staff: Some(STAFF), body: body(&record) }.encode();
            head = Head { seq: head.seq + 1, hash: journal::chain::link(&head.hash, &bytes) };
            self.chain.commit = commit;
            written.push(ReceivedCommit { entries: vec![(self.scope.clone(), bytes)], seal: None });
        }
        self.chain.heads.insert(self.scope.clone(), head);
        let signature = journal::seal::sign(&self.key, self.chain.origin, self.chain.commit, &self.chain.heads);
        if let Some(last) = written.last_mut() {
            last.seal = Some(Seal { signature, foreign: Vec::new() });
        }
        Ok(Run { origin: self.chain.origin, before: BTreeMap::from([(self.scope.clone(), before)]), commits: written })
    }
}

fn body(record: &Record) -> Body {
    Body::Record { kind: record.kind(), version: RECORD_VERSION, bytes: record.encode() }
}

/// What a till writes, one record after the other: its start, the opening of a shift, and then sales of four lines.
#[derive(Debug)]
struct Records {
    dice: Dice,
    till: Till,
    series: String,
    written: u64,
}

impl Records {
    fn new(keys: &Keys, seed: u64) -> (Self, Origin) {
        let mut dice = Dice::new(seed);
        let origin = Origin { device: *keys.device.as_bytes(), incarnation: dice.bytes() };
        let till = Till::new(&mut dice);
        (Self { dice, till, series: format!("{STORE_CODE}-B{seed:02}a"), written: 0 }, origin)
    }

    /// The next one, and when it was written.
    fn next(&mut self) -> Result<(u64, Record)> {
        self.written += 1;
        Ok(match self.written {
            1 => {
                let series = self.series.clone();
                (MORNING_MS, Record::DeviceStarted(DeviceStart { series, actor_seed: None, software: "bench".to_owned() }))
            }
            2 => {
                let (shift, currency) = (self.till.terms(1).shift, self.till.currency);
                let opening = ShiftOpening { shift, business_day: BUSINESS_DAY, float_minor: 10_000, currency };
                (MORNING_MS, Record::ShiftOpened(opening))
            }
            written => {
                let n = written - 2;
                let at_ms = MORNING_MS + n * SALE_EVERY_MS;
                (at_ms, Record::SaleCompleted(self.till.sale(n, at_ms, &mut self.dice)?))
            }
        })
    }
}

/// What the sales of a log have in common.
#[derive(Debug)]
struct Till {
    shift: ShiftId,
    currency: Currency,
    products: Vec<Product>,
}

impl Till {
    fn new(dice: &mut Dice) -> Self {
        let product = |(n, row): (usize, catalogue::Made)| Product {
            id: ProductId(uuid_v7(MORNING_MS, Dice::new(n as u64).bytes())),
            code: row.code,
            name: row.name,
            barcodes: Vec::new(),
            price: row.price,
            tax_rate_bp: row.tax_rate_bp,
            active: true,
            category: String::new(),
            picture: None,
            tax_class: None,
        };
        let products = catalogue::products(&Names::Made, 0, ASSORTMENT).into_iter().enumerate().map(product).collect();
        let currency = Currency::new("GBP").expect("three capital letters");
        Self { shift: ShiftId(uuid_v7(MORNING_MS, dice.bytes())), currency, products }
    }

    fn terms(&self, receipt_number: u64) -> Terms {
        Terms { receipt_number, shift: self.shift, currency: self.currency, tax_mode: TaxMode::Inclusive }
    }

    fn sale(&self, n: u64, at_ms: u64, dice: &mut Dice) -> Result<Order> {
        let mut cart = Cart::new(OrderId(uuid_v7(at_ms, dice.bytes())));
        for _ in 0..LINES {
            let product = dice.pick(&self.products);
            let pieces = Quantity::pieces(1 + dice.below(6) as i64)?;
            cart.add(product, &product.name, pieces, product.price, true)?;
        }
        Ok(cart.settle_in_cash(&self.terms(n), 1_000_000)?)
    }
}
