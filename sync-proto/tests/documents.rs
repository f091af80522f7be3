//! Merge rules are laws: order of arrival, repetition and grouping make no difference, and later wins by clock, not by luck.

use domain::document::{DocumentKind, Product};
use domain::ids::ProductId;
use domain::money::UnitPrice;
use journal::Hlc;
use proptest::prelude::*;
use sync_proto::documents::{CHANGE_BYTES_MAX, Document, DocumentValue};

const ID: [u8; 16] = [5; 16];

fn product(name: &str, price: i64) -> DocumentValue {
    DocumentValue::Product(Product {
        id: ProductId(uuid::Uuid::from_bytes(ID)),
        code: "85123A".into(),
        name: name.into(),
        barcodes: vec!["4006381333931".into()],
        price: UnitPrice(price),
        category: String::new(),
        tax_class: None,
        tax_rate_bp: 2000,
        picture: None,
        active: true,
    })
}

fn begun() -> (Document, Vec<u8>) {
    let mut doc = Document::new(DocumentKind::Product, ID);
    let change = doc.write(&product("HEART", 25500), Hlc(10), [1; 16], [1; 16]).expect("a change");
    (doc, change)
}

#[test]
fn a_document_travels_as_its_changes() {
    let (mut author, first) = begun();
    let second = author.write(&product("HEART", 27500), Hlc(20), [1; 16], [1; 16]).expect("a change");
    assert!(second.len() < first.len(), "only the field that differs is written");
    assert_eq!(author.write(&product("HEART", 27500), Hlc(30), [1; 16], [1; 16]), None, "nothing differs");
    let mut reader = Document::new(DocumentKind::Product, ID);
    assert!(reader.apply(&second).is_err(), "it builds on a change that is not here");
    reader.apply(&first).expect("applies");
    reader.apply(&second).expect("applies");
    reader.apply(&first).expect("again changes nothing");
    assert_eq!(reader.value().expect("reads"), product("HEART", 27500));
    let loaded = Document::load(DocumentKind::Product, ID, &reader.save()).expect("loads");
    assert_eq!(loaded.value().expect("reads"), product("HEART", 27500));
}

#[test]
fn the_later_of_two_edits_made_at_once_wins_whoever_made_it() {
    for (at_a, at_b, expected) in [(Hlc(20), Hlc(21), 200), (Hlc(21), Hlc(20), 100)] {
        for (actor_a, actor_b) in [([2; 16], [3; 16]), ([3; 16], [2; 16])] {
            let (base, first) = begun();
            let (mut a, mut b) = (base.clone(), base);
            let change_a = a.write(&product("HEART", 100), at_a, [2; 16], actor_a).expect("a change");
            let change_b = b.write(&product("HEART", 200), at_b, [3; 16], actor_b).expect("a change");
            for order in [[&change_a, &change_b], [&change_b, &change_a]] {
                let mut reader = Document::new(DocumentKind::Product, ID);
                reader.apply(&first).expect("applies");
                order.iter().for_each(|change| {
                    reader.apply(change).expect("applies");
                });
                assert_eq!(reader.value().expect("reads"), product("HEART", expected));
            }
        }
    }
}

#[test]
fn bytes_that_are_no_change_leave_the_document_alone() {
    let (mut doc, change) = begun();
    let before = doc.save();
    for end in 0..change.len() {
        assert!(doc.apply(&change[..end]).is_err(), "cut at {end}");
    }
    assert!(doc.apply(&vec![0; CHANGE_BYTES_MAX + 1]).is_err());
    assert!(doc.apply(&before).is_err(), "a whole document is no change");
    assert_eq!(doc.save(), before);
}

#[test]
fn a_document_without_its_fields_says_which() {
    let empty = Document::new(DocumentKind::Product, ID);
    assert_eq!(empty.value().expect_err("empty").to_string(), "field code of the document is missing");
    assert!(Document::load(DocumentKind::Product, ID, b"no document").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_and_repetition_of_edits_make_no_difference(
        edits in proptest::collection::vec((0u8..4, 1u64..50, 0i64..1000), 1..12),
        first_person in 0u8..4,
    ) {
        let (base, first) = begun();
        // Four people edit apart from one another, each on top of their own edits.
        let mut people: Vec<_> = (0..4).map(|_| base.clone()).collect();
        let mut clocks = [100u64; 4];
        let mut changes: Vec<(u8, Vec<u8>)> = Vec::new();
        for (who, later, price) in edits {
            let n = usize::from(who);
            clocks[n] += later;
            changes.extend(people[n].write(&product("HEART", price), Hlc(clocks[n]), [who; 16], [who + 10; 16]).map(|c| (who, c)));
        }
        let read = |order: &[(u8, Vec<u8>)]| {
            let mut doc = Document::new(DocumentKind::Product, ID);
            doc.apply(&first).expect("applies");
            for (_, change) in order {
                doc.apply(change).expect("applies");
                doc.apply(change).expect("again changes nothing");
            }
            doc.value().expect("reads")
        };
        // One person after another, beginning with any of them: everyone's own edits stay in order.
        let mut other = changes.clone();
        other.sort_by_key(|(who, _)| (who + first_person) % 4);
        prop_assert_eq!(read(&changes), read(&other));
    }

    #[test]
    fn mutants_of_a_change_never_panic_through(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (_, mut change) = begun();
        let at = at.index(change.len());
        change[at] ^= flip;
        let mut doc = Document::new(DocumentKind::Product, ID);
        if doc.apply(&change).is_ok() {
            prop_assert!(Document::load(DocumentKind::Product, ID, &doc.save()).is_ok());
        }
    }
}
