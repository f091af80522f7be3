//! What a manager edits reaches the counter: prices at once, tax classes, pictures, the words on the receipt.

use domain::document::{Picture, Product, Store, TaxClass};
use domain::ids::TaxClassId;
use domain::money::UnitPrice;
use domain::picture::MediaType;
use domain::tax::TaxMode;
use node::api::{Command, Event, ProductView, Query};
use node::till::{Answer, Till};
use sync_proto::documents::{DocumentValue, picture_id};
use sync_proto::scopes;

use crate::receiving::dump;
use crate::shop::*;

fn open_till() -> (Shop, Till) {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    till.take_events();
    (shop, till)
}

fn search(till: &Till, text: &str) -> Vec<ProductView> {
    match till.query(Query::Search { text: text.to_owned(), limit: 10 }).expect("products") {
        Answer::Products(found) => found,
        other => panic!("{other:?}"),
    }
}

impl Shop {
    fn edit(&mut self, till: &mut Till, product: Product) {
        let run = self.server.document(scopes::catalogue(), DocumentValue::Product(product));
        self.feed(till, vec![run]);
    }
}

#[test]
fn a_new_price_holds_from_the_next_scan_on_and_the_open_line_keeps_its_own() {
    let (mut shop, mut till) = open_till();
    till.scan("22423", 1);
    let dearer = Product { price: UnitPrice::from_minor(1_400).expect("a price"), ..product(3, "22423", "Cake stand", 1_275) };
    shop.edit(&mut till, dearer);
    assert!(till.take_events().contains(&Event::CatalogueChanged {}), "an open list asks again");
    assert_eq!(search(&till, "cake")[0].unit_price, 140_000);
    let view = till.scan("22423", 1);
    let prices: Vec<_> = view.cart.lines.iter().map(|l| (l.unit_price, l.quantity_milli)).collect();
    assert_eq!(prices, [(127_500, 1_000), (140_000, 1_000)]);
    assert_eq!(view.cart.total_minor, 2_675);
}

#[test]
fn a_product_sells_at_the_rate_of_its_class_once_that_is_known() {
    let (mut shop, mut till) = open_till();
    let id = TaxClassId::new(1, [1; 10]);
    shop.edit(&mut till, Product { tax_class: Some(id), ..product(3, "22423", "Cake stand", 1_275) });
    assert_eq!(till.scan("22423", 1).cart.lines[0].tax_rate_bp, 2_000, "its own, while the class has not arrived");
    till.ask(Command::ClearCart {}).expect("an empty cart");
    let class = |rate_bp, active| DocumentValue::TaxClass(TaxClass { id, name: "Reduced".to_owned(), rate_bp, active });
    for (rate_bp, active) in [(500, true), (700, false)] {
        let run = shop.server.document(scopes::catalogue(), class(rate_bp, active));
        shop.feed(&mut till, vec![run]);
        assert_eq!(till.scan("22423", 1).cart.lines[0].tax_rate_bp, rate_bp);
        till.ask(Command::ClearCart {}).expect("an empty cart");
    }
    let before = dump(&mut till);
    till.rebuild().expect("rebuilt");
    assert_eq!(dump(&mut till), before);
}

#[test]
fn a_picture_is_there_with_its_product_and_after_a_restart() {
    let (mut shop, mut till) = open_till();
    let bytes = vec![7; 40_000];
    let picture = Picture { id: picture_id(&bytes), media_type: MediaType::WebP, bytes };
    shop.edit(&mut till, Product { picture: Some(picture.id), ..product(3, "22423", "Cake stand", 1_275) });
    assert_eq!(search(&till, "cake")[0].picture, Some(picture.id));
    assert_eq!(till.picture(picture.id).expect("an answer"), None, "on its way");
    let run = shop.server.document(scopes::catalogue(), DocumentValue::Picture(picture.clone()));
    shop.feed(&mut till, vec![run]);
    drop(till);
    let till = shop.reopen();
    assert_eq!(till.picture(picture.id).expect("an answer"), Some(picture));
}

#[test]
fn an_open_cart_keeps_the_tax_mode_that_it_began_with() {
    let (mut shop, mut till) = open_till();
    assert_eq!(till.scan("22423", 1).cart.total_minor, 1_275);
    let run = shop.server.document(scopes::directory(), DocumentValue::Store(Store { tax_mode: TaxMode::Exclusive, ..store() }));
    shop.feed(&mut till, vec![run]);
    drop(till);
    let mut till = shop.reopen();
    till.sign_in(CASHIER);
    let view = till.scan("22423", 1);
    assert_eq!((view.cart.total_minor, view.store.map(|s| s.tax_included)), (2_550, Some(true)), "over a restart too");
    let order = view.cart.order;
    till.ask(Command::SettleCash { order, tendered_minor: 2_550 }).expect("settled");
    assert_eq!(till.scan("22423", 1).cart.total_minor, 1_530, "the next one adds the tax");
}

#[test]
fn entries_that_an_older_program_could_not_read_are_taken_in_by_this_one() {
    let (mut shop, mut till) = open_till();
    let id = TaxClassId::new(1, [1; 10]);
    shop.edit(&mut till, Product { tax_class: Some(id), ..product(3, "22423", "Cake stand", 1_275) });
    let class = TaxClass { id, name: "Reduced".to_owned(), rate_bp: 500, active: true };
    let run = shop.server.document(scopes::catalogue(), DocumentValue::TaxClass(class));
    shop.feed(&mut till, vec![run]);
    let expected = dump(&mut till);
    // As the older program left it: the entry kept, its kind unknown.
    let db = till.db().expect("it is open");
    db.execute_batch(
        "DELETE FROM tax_class; DELETE FROM document WHERE kind = 4;
         INSERT INTO unread (entry, why) SELECT max(id), 'a document of kind 4' FROM entry;
         INSERT INTO meta (key, value) VALUES ('project_again', 1);",
    )
    .expect("written");
    assert_ne!(dump(&mut till), expected);
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(dump(&mut till), expected);
}
