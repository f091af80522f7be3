//! How large a sale is on the wire. The bounds are part of the design (docs/protocol.md 1.3); the table is for reading.

use std::collections::BTreeMap;

use domain::cart::{Cart, Terms};
use domain::document::Product;
use domain::ids::{OrderId, ProductId, ShiftId, StoreId, uuid_v7};
use domain::money::{Currency, Quantity, UnitPrice};
use domain::record::{Order, Record};
use domain::tax::TaxMode;
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Seal, SealedCommit, SigningKey};
use sha2::{Digest, Sha256};
use sync_proto::batch::Run;
use sync_proto::frame::{Commits, Frame};
use sync_proto::scopes;

const NAMES: [&str; 8] = [
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "WHITE METAL LANTERN",
    "CREAM CUPID HEARTS COAT HANGER",
    "KNITTED UNION FLAG HOT WATER BOTTLE",
    "RED WOOLLY HOTTIE WHITE HEART.",
    "SET 7 BABUSHKA NESTING BOXES",
    "GLASS STAR FROSTED T-LIGHT HOLDER",
    "HAND WARMER UNION JACK",
];

/// Bytes as random as real ids are.
fn noise<const N: usize>(seed: u64) -> [u8; N] {
    let digest = Sha256::digest(seed.to_be_bytes());
    std::array::from_fn(|n| digest[n])
}

fn order(n: u64) -> Order {
    let at = 1_700_000_000_000 + n * 20_000;
    let mut cart = Cart::new(OrderId(uuid_v7(at, noise(n))));
    let picks: [u8; 8] = noise(2_000_000 + n);
    for line in 0..4 {
        // Four of five hundred products, one to twelve pieces each; the first sale is the one that the table shows.
        let which = if n == 0 { line } else { usize::from(picks[line]) + usize::from(picks[line + 4] & 1) * 250 };
        let product = Product {
            id: ProductId(uuid_v7(1_600_000_000_000, noise(1_000_000 + which as u64))),
            code: "85123A".into(),
            name: if which < NAMES.len() { NAMES[which].into() } else { format!("{} {which}", NAMES[which % 7]) },
            barcodes: vec![],
            price: UnitPrice(10_500 + 100 * which as i64),
            tax_rate_bp: 2000,
            category: String::new(),
            tax_class: None,
            picture: None,
            active: true,
        };
        let quantity = Quantity(1000 * (1 + i64::from(picks[line + 4] % 12)));
        cart.add(&product, &product.name, quantity, product.price, true).expect("added");
    }
    let terms = Terms {
        receipt_number: 100 + n,
        shift: ShiftId(uuid_v7(1_690_000_000_000, noise(77))),
        currency: Currency::new("GBP").expect("GBP"),
        tax_mode: TaxMode::Inclusive,
    };
    cart.settle_in_cash(&terms, 100_000).expect("settled")
}

fn sales(count: u64) -> (OriginChain, Vec<SealedCommit>) {
    let origin = Origin { device: noise(1), incarnation: noise(2) };
    let mut chain = OriginChain::new(origin);
    let scope = scopes::store(StoreId(uuid_v7(1_600_000_000_000, noise(3))));
    let key = SigningKey::from_bytes(&noise(4));
    let commits = (0..count)
        .map(|n| {
            let record = Record::SaleCompleted(order(n));
            let body = Body::Record { kind: record.kind(), version: 1, bytes: record.encode() };
            let new = vec![NewEntry { scope: scope.clone(), body }];
            chain.append(&key, Hlc::new(1_700_000_000_000 + n * 20_000, 0), Some(noise(5)), new)
        })
        .collect();
    (OriginChain::new(origin), commits)
}

fn frame_bytes(before: &OriginChain, commits: &[SealedCommit]) -> usize {
    let last = commits.len() - 1;
    let run = Run {
        origin: before.origin,
        before: BTreeMap::from([(commits[0].entries[0].scope.clone(), before.head(&commits[0].entries[0].scope))]),
        commits: commits
            .iter()
            .enumerate()
            .map(|(n, c)| ReceivedCommit {
                entries: c.entries.iter().map(|e| (e.scope.clone(), e.bytes.clone())).collect(),
                seal: (n == last).then_some(Seal { signature: c.signature, foreign: vec![] }),
            })
            .collect(),
    };
    Frame::Commits(Commits::of(run)).encode().expect("fits").len()
}

#[test]
fn a_sale_of_four_lines_is_small() {
    let (before, commits) = sales(2_000);
    let record = Record::SaleCompleted(order(0)).encode().len();
    let names: usize = order(0).lines.iter().map(|l| l.name.len()).sum();
    let entry = commits[0].entries[0].bytes.len();
    let live = frame_bytes(&before, &commits[..1]);
    let batch = frame_bytes(&before, &commits) as f64 / commits.len() as f64;
    println!("| part | bytes |\n|---|---|");
    println!("| names of the four lines | {names} |");
    println!("| ids, quantities, prices, amounts of the four lines | {} |", 4 * (1 + 17 + 2 + 3 + 3 + 1 + 3));
    println!("| order id, receipt number, shift, tax, payment, total, currency, mode | {} |", record - names - 4 * 30);
    println!("| **record** | **{record}** |");
    println!("| commit, clock, staff, kind, framing | {} |", entry - record);
    println!("| **entry** | **{entry}** |");
    println!("| seal: signature and framing | {} |", 64 + 2 + 5);
    println!("| **entry and seal** | **{}** |", entry + 71);
    println!("| a live sale alone in its frame, origin and chain position included | {live} |");
    println!("| a sale in a batch of 2,000, compressed | {batch:.0} |");
    assert!(entry + 71 <= 430, "{entry}");
    assert!(batch <= 150.0, "{batch}");
}
