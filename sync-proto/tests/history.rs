//! Who wrote what: read from the changes, the same on every replica; edits made at once, edits taken back, documents of before.

use domain::document::{DocumentKind, Picture, Product, TaxClass};
use domain::ids::{PictureId, ProductId, TaxClassId};
use domain::money::UnitPrice;
use domain::picture::MediaType;
use journal::Hlc;
use proptest::prelude::*;
use sync_proto::documents::{CHANGE_BYTES_MAX, Document, DocumentError, DocumentValue, FieldValue, Outcome, picture_id};

const ID: [u8; 16] = [5; 16];
const ADA: [u8; 16] = [1; 16];
const BOB: [u8; 16] = [2; 16];

fn product() -> Product {
    Product {
        id: ProductId(uuid::Uuid::from_bytes(ID)),
        code: "85123A".into(),
        name: "HEART".into(),
        barcodes: vec!["4006381333931".into()],
        price: UnitPrice(25_500),
        category: String::new(),
        tax_class: None,
        tax_rate_bp: 2_000,
        picture: None,
        active: true,
    }
}

fn priced(price: i64) -> DocumentValue {
    DocumentValue::Product(Product { price: UnitPrice(price), ..product() })
}

fn begun() -> Document {
    let mut doc = Document::new(DocumentKind::Product, ID);
    doc.write(&priced(25_500), Hlc(10), ADA, [1; 16]).expect("a change");
    doc
}

/// Writings of the price in the order of their times: what, replacing what, by whom, and what became of it.
fn prices(doc: &Document) -> Vec<(i64, Option<i64>, [u8; 16], Outcome)> {
    let whole = |value: &FieldValue| if let FieldValue::Whole(n) = value { *n } else { panic!("{value:?} is no price") };
    let all = doc.history().into_iter().filter(|w| w.field == "price");
    all.map(|w| (whole(&w.value), w.replaced.as_ref().map(whole), w.author, w.outcome)).collect()
}

#[test]
fn the_history_says_who_wrote_what_over_what() {
    let mut doc = begun();
    doc.write(&priced(27_500), Hlc(20), BOB, [2; 16]).expect("a change");
    doc.write(&priced(25_500), Hlc(30), ADA, [1; 16]).expect("a change");
    assert_eq!(
        prices(&doc),
        [
            (25_500, None, ADA, Outcome::Replaced),
            (27_500, Some(25_500), BOB, Outcome::Replaced),
            (25_500, Some(27_500), ADA, Outcome::Current)
        ]
    );
    let names: Vec<_> = doc.history().into_iter().filter(|w| w.field == "name").collect();
    assert_eq!((names.len(), &names[0].value), (1, &FieldValue::Text("HEART".into())));
    assert!(doc.conflicts().is_empty());
}

#[test]
fn two_edits_that_did_not_see_each_other_are_at_once_and_the_later_one_stands() {
    for (bobs, expected) in [
        (21, [(26_000, Outcome::Outvoted), (27_000, Outcome::Current)]),
        (19, [(27_000, Outcome::Outvoted), (26_000, Outcome::Current)]),
    ] {
        let mut doc = begun();
        let seen = doc.heads();
        doc.write(&priced(26_000), Hlc(20), ADA, [1; 16]).expect("a change");
        // Bob saw the state before Ada's edit; his hands are the same process's, so he gets an actor of his own.
        let change = doc.at(&seen).expect("a state it had").write(&priced(27_000), Hlc(bobs), BOB, [9; 16]).expect("a change");
        doc.apply(&change).expect("applies");
        let outcomes: Vec<_> = prices(&doc)[1..]
            .iter()
            .map(|(price, replaced, _, outcome)| {
                assert_eq!(*replaced, Some(25_500), "both replaced what both saw");
                (*price, *outcome)
            })
            .collect();
        assert_eq!(outcomes, expected);
        let conflicts = doc.conflicts();
        assert_eq!(conflicts.len(), 1);
        let writings: Vec<_> = conflicts[0].writings.iter().map(|w| w.value.clone()).collect();
        assert_eq!((conflicts[0].field.as_str(), &writings[0]), ("price", &FieldValue::Whole(expected[1].0)));
        // Whoever sees both and writes again ends it; the loser stays a loser in the history.
        doc.write(&priced(28_000), Hlc(40), ADA, [1; 16]).expect("a change");
        assert!(doc.conflicts().is_empty());
        assert_eq!(
            prices(&doc)[1..].iter().map(|p| p.3).collect::<Vec<_>>(),
            [Outcome::Outvoted, Outcome::Replaced, Outcome::Current]
        );
    }
}

#[test]
fn edits_of_different_fields_made_at_once_both_stand() {
    let mut doc = begun();
    let seen = doc.heads();
    doc.write(&priced(26_000), Hlc(20), ADA, [1; 16]).expect("a change");
    let renamed = DocumentValue::Product(Product { name: "HEARTS".into(), ..product() });
    let change = doc.at(&seen).expect("a state").write(&renamed, Hlc(21), BOB, [9; 16]).expect("a change");
    doc.apply(&change).expect("applies");
    let expected = Product { name: "HEARTS".into(), price: UnitPrice(26_000), ..product() };
    assert_eq!(doc.value().expect("reads"), DocumentValue::Product(expected));
    assert!(doc.conflicts().is_empty());
    assert!(matches!(doc.at(&[[7; 32]]), Err(DocumentError::UnknownHeads)));
}

#[test]
fn undo_takes_back_what_still_stands_and_leaves_the_rest() {
    let mut doc = begun();
    let imported =
        DocumentValue::Product(Product { price: UnitPrice(1), category: "Hearts".into(), name: "H".into(), ..product() });
    doc.write(&imported, Hlc(20), ADA, [1; 16]).expect("a change");
    let change = doc.heads()[0];
    assert_eq!(doc.still_says(change), (3, 0));
    let repriced =
        DocumentValue::Product(Product { price: UnitPrice(2), category: "Hearts".into(), name: "H".into(), ..product() });
    doc.write(&repriced, Hlc(30), BOB, [2; 16]).expect("a change");
    let undone = doc.undo(change, Hlc(40), ADA, [1; 16]);
    assert_eq!((undone.restored, undone.kept, undone.change.is_some()), (2, 1, true));
    assert_eq!(doc.value().expect("reads"), priced(2), "the name and the category are back, the price is Bob's");
    assert_eq!(doc.undo(change, Hlc(50), ADA, [1; 16]), sync_proto::documents::Undone { change: None, restored: 0, kept: 3 });
}

/// Made by the program before there were categories, tax classes and pictures.
const OLD_PRODUCT: &str = include_str!("golden/product-0.1.hex");

#[test]
fn a_document_of_before_reads_with_defaults_and_is_not_written_for_them() {
    let hex = OLD_PRODUCT.trim();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
    let mut doc = Document::new(DocumentKind::Product, ID);
    doc.apply(&bytes).expect("applies");
    assert_eq!(doc.value().expect("reads"), priced(25_500));
    assert_eq!(doc.write(&priced(25_500), Hlc(20), ADA, [2; 16]), None, "defaults are not written");
    let in_category = DocumentValue::Product(Product { category: "Hearts".into(), ..product() });
    doc.write(&in_category, Hlc(20), ADA, [2; 16]).expect("a change");
    assert_eq!(doc.value().expect("reads"), in_category);
    let without = doc.write(&priced(25_500), Hlc(30), ADA, [2; 16]);
    assert!(without.is_some(), "a field that is there is written, default or not");
    assert_eq!(doc.value().expect("reads"), priced(25_500));
}

#[test]
fn a_new_product_is_the_same_bytes_as_before_while_it_says_nothing_new() {
    let mut doc = Document::new(DocumentKind::Product, ID);
    let change = doc.write(&priced(25_500), Hlc(10), ADA, [1; 16]).expect("a change");
    let hex: String = change.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, OLD_PRODUCT.trim());
}

#[test]
fn a_tax_class_and_a_picture_are_documents_too() {
    let class = TaxClass { id: TaxClassId(uuid::Uuid::from_bytes(ID)), name: "Reduced".into(), rate_bp: 500, active: true };
    let mut doc = Document::new(DocumentKind::TaxClass, ID);
    doc.write(&DocumentValue::TaxClass(class.clone()), Hlc(1), ADA, [1; 16]).expect("a change");
    assert_eq!(doc.value().expect("reads"), DocumentValue::TaxClass(class));

    let bytes = vec![7; domain::picture::BYTES_MAX];
    let id = picture_id(&bytes);
    let picture = DocumentValue::Picture(Picture { id, media_type: MediaType::Png, bytes });
    let mut doc = Document::new(DocumentKind::Picture, *id.as_bytes());
    let change = doc.write(&picture, Hlc(1), ADA, [1; 16]).expect("a change");
    assert!(change.len() <= CHANGE_BYTES_MAX, "the largest picture fits into a change: {}", change.len());
    let mut reader = Document::new(DocumentKind::Picture, *id.as_bytes());
    reader.apply(&change).expect("applies");
    assert_eq!(reader.value().expect("reads"), picture);

    // Another picture under its id is found out.
    let other = PictureId(uuid::Uuid::from_bytes(ID));
    let forged = DocumentValue::Picture(Picture { id: other, media_type: MediaType::Png, bytes: vec![8] });
    let mut doc = Document::new(DocumentKind::Picture, ID);
    doc.write(&forged, Hlc(1), ADA, [1; 16]).expect("a change");
    assert!(matches!(doc.value(), Err(DocumentError::Field { field: "bytes", .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// People who saw any earlier state write beside one another: whatever the order in which the changes arrive, the same value, the
    /// same history, one current writing a field, and it is the value.
    #[test]
    fn the_history_does_not_depend_on_the_order_of_arrival(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 1u64..40, 0i64..4, 0u8..3), 1..10),
        seed in any::<u64>(),
    ) {
        let mut doc = begun();
        let mut states = vec![doc.heads()];
        let mut changes = vec![];
        for (n, (seen, at, price, author)) in (0u8..).zip(edits) {
            let mut base = doc.at(seen.get::<Vec<_>>(&states)).expect("a state it had");
            let edit = base.write(&priced(price), Hlc(at), [author; 16], [100 + n; 16]);
            changes.extend(edit.inspect(|change| {
                doc.apply(change).expect("applies");
                states.extend([doc.heads(), base.heads()]);
            }));
        }
        let mut other = begun();
        let mut left = changes;
        let mut turn = seed;
        // Any order in which a change follows what its writer saw: one that comes too early is refused and tried again.
        while !left.is_empty() {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (turn >> 33) as usize % left.len();
            if other.apply(&left[at]).is_ok() {
                left.swap_remove(at);
            }
        }
        prop_assert_eq!(doc.value().expect("reads"), other.value().expect("reads"));
        prop_assert_eq!(doc.history(), other.history());
        prop_assert_eq!(doc.conflicts(), other.conflicts());
        let history = doc.history();
        let current: Vec<_> = history.iter().filter(|w| w.outcome == Outcome::Current).collect();
        prop_assert_eq!(current.len(), 6, "one of every field");
        let DocumentValue::Product(p) = doc.value().expect("reads") else { panic!("a product") };
        let price = current.iter().find(|w| w.field == "price").expect("a price");
        prop_assert_eq!(&price.value, &FieldValue::Whole(p.price.0));
    }
}
