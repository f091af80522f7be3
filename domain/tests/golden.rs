//! The shapes of records that shipped, byte by byte. A failure here means that records which are out there can no longer be read.

use domain::cart::{Cart, Terms, refund_of};
use domain::document::Product;
use domain::ids::{DeviceId, OrderId, ProductId, RecordId, ShiftId, StoreId};
use domain::money::{Currency, Quantity, UnitPrice};
use domain::record::{
    AccountAdjustment, AccountLine, BusinessDay, CUT_ORIGINS_MAX, CountLine, DeviceEnrolment, DeviceKind, DeviceStart,
    DrawerOpening, RECORD_VERSION, Record, SeenHead, SeenUpTo, ShiftClosing, ShiftOpening, SignIn, StockAdjustment, StockCount,
    StockLine,
};
use domain::tax::TaxMode;
use expect_test::expect_file;

fn uuid(n: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([n; 16])
}

fn terms() -> Terms {
    Terms {
        receipt_number: 123,
        shift: ShiftId(uuid(2)),
        currency: Currency::new("GBP").expect("GBP"),
        tax_mode: TaxMode::Inclusive,
    }
}

fn four_line_sale() -> domain::record::Order {
    let mut cart = Cart::new(OrderId(uuid(1)));
    for (n, name, pieces, price) in [
        (10, "WHITE HANGING HEART T-LIGHT HOLDER", 6, 25500),
        (11, "WHITE METAL LANTERN", 6, 33900),
        (12, "CREAM CUPID HEARTS COAT HANGER", 8, 27500),
        (13, "KNITTED UNION FLAG HOT WATER BOTTLE", 6, 33900),
    ] {
        let product = Product {
            id: ProductId(uuid(n)),
            code: "85123A".into(),
            name: name.into(),
            barcodes: vec![],
            price: UnitPrice(price),
            tax_rate_bp: 2000,
            category: String::new(),
            tax_class: None,
            picture: None,
            active: true,
        };
        cart.add(&product, name, Quantity::pieces(pieces).expect("a quantity"), UnitPrice(price), false).expect("added");
    }
    cart.settle_in_cash(&terms(), 10_000).expect("settled")
}

/// A count of so much of the products 10, 11 and so on.
fn stock_count(quantities: &[i64]) -> StockCount {
    let line = |(n, quantity): (u8, &i64)| CountLine { product: ProductId(uuid(n)), quantity: Quantity(*quantity) };
    StockCount {
        id: RecordId(uuid(4)),
        shift: ShiftId(uuid(2)),
        lines: (10..).zip(quantities).map(line).collect(),
        cut: vec![SeenUpTo { device: DeviceId(uuid(8)), incarnation: [9; 16], seq: 1_000 }],
        reason: "stocktaking".into(),
    }
}

fn samples() -> Vec<Record> {
    let sale = four_line_sale();
    let refund =
        refund_of(&terms(), OrderId(uuid(3)), &sale, &[(1, Quantity::ONE)], |_| Quantity(0), "damaged").expect("refunded");
    vec![
        Record::SaleCompleted(sale),
        Record::RefundGiven(refund),
        Record::StockAdjusted(StockAdjustment {
            id: RecordId(uuid(4)),
            shift: ShiftId(uuid(2)),
            lines: vec![StockLine {
                product: ProductId(uuid(10)),
                quantity: Quantity(-5000),
                unit_price: UnitPrice(0),
                amount_minor: 0,
            }],
            reason: "damages".into(),
            reference: Some("536589".into()),
        }),
        Record::AccountAdjusted(AccountAdjustment {
            id: RecordId(uuid(5)),
            shift: ShiftId(uuid(2)),
            lines: vec![AccountLine {
                description: "Adjust bad debt".into(),
                quantity: Quantity::ONE,
                unit_price: UnitPrice(-110_620_600),
                amount_minor: -1_106_206,
            }],
            reference: None,
        }),
        Record::ShiftOpened(ShiftOpening {
            shift: ShiftId(uuid(2)),
            business_day: BusinessDay::from_date(jiff::civil::date(2010, 12, 1)),
            float_minor: 10_000,
            currency: Currency::new("GBP").expect("GBP"),
        }),
        Record::ShiftClosed(ShiftClosing {
            shift: ShiftId(uuid(2)),
            counted_minor: 17_000,
            expected_minor: 17_734,
            cut_commit: 40,
            cut: None,
        }),
        Record::DrawerOpened(DrawerOpening { id: RecordId(uuid(6)), shift: Some(ShiftId(uuid(2))), reason: "change".into() }),
        Record::SignedIn(SignIn {}),
        Record::DeviceStarted(DeviceStart { series: "S01-T03b".into(), actor_seed: Some([7; 16]), software: "0.1.0".into() }),
        Record::DeviceEnrolled(DeviceEnrolment {
            device: DeviceId(uuid(8)),
            store: Some(StoreId(uuid(9))),
            kind: DeviceKind::Till,
            name: "Till 1".into(),
            number: 1,
            public_key: [1; 32],
        }),
        Record::StockCounted(stock_count(&[7_000, 0])),
        Record::ShiftClosed(ShiftClosing {
            shift: ShiftId(uuid(2)),
            counted_minor: 17_000,
            expected_minor: 17_734,
            cut_commit: 40,
            cut: Some(vec![SeenHead { device: DeviceId(uuid(8)), incarnation: [9; 16], seq: 38, hash: [4; 32] }]),
        }),
    ]
}

#[test]
fn records_are_written_as_they_always_were() {
    let mut text = String::new();
    for record in samples() {
        let bytes = record.encode();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        text += &format!("kind {} version {RECORD_VERSION}, {} bytes\n{hex}\n", record.kind(), bytes.len());
        let read = Record::decode(record.kind(), RECORD_VERSION, &bytes).expect("decodes").expect("a known kind");
        assert_eq!(read, record);
    }
    expect_file!["golden/records.txt"].assert_eq(&text);
}

#[test]
fn a_sale_and_its_refund_add_up() {
    for record in samples() {
        if let Record::SaleCompleted(order) | Record::RefundGiven(order) = record {
            order.check_sums().expect("adds up");
        }
    }
}

#[test]
fn a_kind_or_version_of_a_newer_build_is_kept_unread() {
    assert!(Record::decode(999, RECORD_VERSION, &[0xa0]).expect("no error").is_none());
    assert!(Record::decode(1, RECORD_VERSION + 1, &[0xff]).expect("no error").is_none());
}

#[test]
fn a_record_cut_off_anywhere_is_refused() {
    for record in samples() {
        let bytes = record.encode();
        for end in 0..bytes.len() {
            assert!(Record::decode(record.kind(), RECORD_VERSION, &bytes[..end]).is_err(), "{record:?} cut at {end}");
        }
    }
}

#[test]
fn a_count_beyond_its_bounds_is_refused() {
    let check = |count: StockCount| {
        let read = Record::decode(10, RECORD_VERSION, &Record::StockCounted(count).encode());
        read.map(|_| ()).map_err(|error| error.to_string())
    };
    let seen = SeenUpTo { device: DeviceId(uuid(8)), incarnation: [9; 16], seq: 1 };
    let mut twice = stock_count(&[1_000, 1_000]);
    twice.lines[1].product = twice.lines[0].product;
    assert_eq!(check(stock_count(&[0])), Ok(()));
    assert_eq!(check(StockCount { cut: vec![seen.clone(); CUT_ORIGINS_MAX], ..stock_count(&[1]) }), Ok(()));
    assert!(check(StockCount { cut: vec![seen; CUT_ORIGINS_MAX + 1], ..stock_count(&[1]) }).is_err());
    for bad in [stock_count(&[-1]), stock_count(&[i64::MAX]), twice] {
        assert!(check(bad.clone()).is_err(), "{bad:?}");
    }
}
