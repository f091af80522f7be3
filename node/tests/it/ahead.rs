//! Documents that come ahead of the log: a new till sells before their history is here.

use domain::document::{DocumentKind, Product};
use node::store::rebuild;
use node::till::Till;
use sync_proto::documents::{AHEAD, Document, DocumentValue};
use sync_proto::frame::{DocumentPlace, Documents, SavedDocument};
use sync_proto::scopes;

use super::shop::*;

/// What a server's log holds, as runs, and the documents that follow from it.
fn founded(shop: &mut Shop) -> (Vec<sync_proto::batch::Run>, Vec<SavedDocument>) {
    let runs = shop.founding();
    let mut documents = shop.server.documents();
    documents.sort_by_key(|sent| (AHEAD.iter().position(|kind| *kind as u16 == sent.kind), sent.id));
    (runs, documents)
}

/// All documents and what is made of them; the same after everything was projected anew.
fn documents_of(till: &mut Till) -> Vec<String> {
    let dump = |till: &Till| rebuild::dump(till.db().expect("a database")).expect("a dump");
    let of_documents = ["document|", "store|", "staff|", "product|", "product_code|", "tax_class|"];
    let lines = |dump: String| -> Vec<String> {
        dump.lines().filter(|line| of_documents.iter().any(|table| line.starts_with(table))).map(str::to_owned).collect()
    };
    let before = lines(dump(till));
    till.rebuild().expect("a rebuild");
    assert_eq!(lines(dump(till)), before);
    before
}

fn sells(till: &mut Till) {
    till.sign_in(CASHIER);
    till.open();
    till.scan("22423", 1);
    till.pay();
}

fn left(till: &Till) -> u64 {
    till.db().expect("a database").query_row("SELECT count(*) FROM ahead", [], |r| r.get(0)).expect("a count")
}

#[test]
fn a_new_till_sells_before_the_history_is_here() {
    let (mut shop, mut till) = Shop::new();
    let (runs, documents) = founded(&mut shop);
    let (first, rest) = documents.split_at(3);
    assert_eq!(till.documents_after().expect("a place"), Some(DocumentPlace::START));
    till.receive_documents(&Documents { documents: first.to_vec(), until: None }).expect("documents");
    drop(till);

    // What a cut link, or a restart, has left is asked for.
    let mut till = shop.reopen();
    let last = &first[2];
    assert_eq!(till.documents_after().expect("a place"), Some(DocumentPlace { kind: last.kind, id: last.id }));
    till.receive_documents(&Documents { documents: rest.to_vec(), until: Some(runs.len() as u64) }).expect("documents");
    assert_eq!(till.documents_after().expect("a place"), None, "it has them all");
    sells(&mut till);

    let before = left(&till);
    assert_eq!(before, documents.len() as u64);
    let mut percents = vec![till.link_view().history_percent];
    for run in runs {
        shop.feed(&mut till, vec![run]);
        percents.push(till.link_view().history_percent);
    }
    assert!(percents[0] == Some(0) && percents.last() == Some(&None), "{percents:?}");
    assert!(percents.iter().flatten().is_sorted() && percents[percents.len() - 2] > Some(0), "{percents:?}");
    assert_eq!(left(&till), 0, "the log has brought every change of them");
    let with = documents_of(&mut till);
    let (mut other, mut plain) = Shop::stocked();
    assert_eq!(plain.documents_after().expect("a place"), None, "a server that sends its log at once sends no documents");
    let run = shop.server.document(scopes::catalogue(), DocumentValue::Product(product(3, "22423", "Cake stand", 999)));
    shop.feed(&mut till, vec![run]);
    let run = other.server.document(scopes::catalogue(), DocumentValue::Product(product(3, "22423", "Cake stand", 999)));
    other.feed(&mut plain, vec![run]);
    assert_ne!(documents_of(&mut till), with, "a new price is taken in");
    assert_eq!(documents_of(&mut till), documents_of(&mut plain), "both know the same");
}

#[test]
fn what_came_ahead_stays_when_everything_is_projected_anew() {
    let (mut shop, mut till) = Shop::new();
    let (runs, documents) = founded(&mut shop);
    let all = runs.len() as u64;
    till.receive_documents(&Documents { documents, until: Some(all) }).expect("documents");
    let mut runs = runs.into_iter();
    shop.feed(&mut till, vec![runs.next().expect("a run")]);
    till.rebuild().expect("a rebuild");
    sells(&mut till);
    for run in runs {
        shop.feed(&mut till, vec![run]);
    }
    assert_eq!(left(&till), 0);
}

/// A server that lost its disk after it had sent a document has a log without it.
#[test]
fn a_document_that_no_log_has_is_made_from_the_log_alone() {
    let (mut shop, mut till) = Shop::new();
    let (runs, mut documents) = founded(&mut shop);
    let mut lost = Document::new(DocumentKind::Product, *product_id(3).as_bytes());
    let cheap = DocumentValue::Product(product(3, "22423", "Cake stand", 1));
    lost.write(&cheap, journal::Hlc::new(1, 0), id(9), id(8)).expect("a change");
    let mut stray = Document::new(DocumentKind::Product, *product_id(7).as_bytes());
    let gone = DocumentValue::Product(Product { id: product_id(7), ..product(7, "GONE", "Gone", 100) });
    stray.write(&gone, journal::Hlc::new(1, 0), id(9), id(8)).expect("a change");
    for document in [&lost, &stray] {
        documents.retain(|sent| sent.id != document.id());
        documents.push(SavedDocument { kind: document.kind() as u16, id: document.id(), saved: document.save() });
    }
    // Nor is what does not read kept, or what a server does not write.
    documents.push(SavedDocument { kind: DocumentKind::Product as u16, id: [1; 16], saved: b"garbage".to_vec() });
    documents.push(SavedDocument { kind: DocumentKind::OpenOrder as u16, id: [2; 16], saved: lost.save() });
    documents.push(SavedDocument { kind: 999, id: [3; 16], saved: lost.save() });
    till.receive_documents(&Documents { documents, until: Some(runs.len() as u64) }).expect("documents");
    for run in runs {
        shop.feed(&mut till, vec![run]);
    }
    assert_eq!(left(&till), 0);
    let (_, mut plain) = Shop::stocked();
    assert_eq!(documents_of(&mut till), documents_of(&mut plain));
}
