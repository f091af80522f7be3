//! The shapes of records that shipped, byte by byte. A failure here means that records which are out there can no longer be read.

use domain::cart::{Cart, Terms, refund_of};
use domain::document::Product;
use domain::ids::{DeviceId, OrderId, ProductId, RecordId, ShiftId, StoreId};
use domain::money::{Currency, Quantity, UnitPrice};
use domain::record::{
    AccountAdjustment, AccountLine, BusinessDay, DeviceEnrolment, DeviceKind, DeviceStart, DrawerOpening, RECORD_VERSION, Record,
    ShiftClosing, ShiftOpening, SignIn, StockAdjustment, StockLine,
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
