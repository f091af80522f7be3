//! A manager edits while a cart is open: the next scan sells at the new price, the receipt says it, the history says who; a picture
//! and the store's words reach the till.

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::manager::ManagerError;
use journeys::stack::{self, MANAGER, Plan};
use serde_json::{Value, json};
use sync_server::web_api::{ImportState, ImportView, PictureAnswer, ProductView, ProductsPage, StoreView};

/// A PNG of one pixel.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0,
];

#[test]
fn a_new_price_reaches_an_open_cart_at_the_next_scan() -> Result<()> {
    let plan = Plan { tills: 1, links: false, ..Plan::for_test()? };
    let stack = plan.start(&mut |text| eprintln!("{text}"))?;
    let till = stack.tills[0].client().clone();
    let manager = stack.manager()?;
    cashier::begin(&till)?;

    let seen: ProductView = stack::until("the product in the manager's list", PATIENCE, || {
        let page: ProductsPage = manager.get("/api/v1/products?search=85123A")?;
        let Some(row) = page.rows.first() else { return Ok(None) };
        Ok(manager.get(&format!("/api/v1/products/{}", row.product)).ok())
    })?;
    let path = format!("/api/v1/products/{}", seen.product.product);
    let first = cashier::add(&till, "85123A", 1)?;
    assert_eq!(first.cart.total_minor, 295);

    // The cart is open; the manager edits price, picture and the words of the receipt.
    let edited: ProductView = manager.ask("PATCH", &path, &json!({ "seen": seen.seen, "price_centi": 35_000 }))?;
    let edit = edited.history.first().context("a history")?;
    assert_eq!(
        (edit.field.as_str(), edit.old.as_deref(), edit.new.as_str(), edit.by.as_str()),
        ("price", Some("2.95"), "3.50", MANAGER.0)
    );
    let pictured: PictureAnswer = manager.put(&format!("{path}/picture"), PIXEL)?;
    let _: StoreView = manager.ask("PATCH", "/api/v1/stores/S01", &json!({ "receipt_header": ["VAT 123 456", "Open daily"] }))?;

    let shown = stack::until("the new price in the till's search", PATIENCE, || {
        let product = till.search("85123A", 5)?.into_iter().find(|p| p.code == "85123A");
        Ok(product.filter(|p| p.unit_price == 35_000 && p.picture.is_some()))
    })?;
    let picture = shown.picture.context("a picture")?;
    assert_eq!(Some(picture.to_string()), pictured.picture);
    let arrived = stack::until("the picture", PATIENCE, || Ok(till.picture(picture)?))?;
    assert_eq!(arrived, ("image/png".to_owned(), PIXEL.to_vec()));

    let view = cashier::add(&till, "85123A", 1)?;
    let lines: Vec<i64> = view.cart.lines.iter().map(|line| line.unit_price).collect();
    assert_eq!(
        (lines, view.cart.total_minor),
        (vec![29_500, 35_000], 645),
        "the line in the cart keeps the price that was shown"
    );
    cashier::settle(&till, &view)?;
    // The printer's folder and the transcript beside the picture come with the first paper.
    let paper = stack::until("the receipt", PATIENCE, || {
        let receipt = stack.printers[0].receipts().ok().and_then(|mut receipts| receipts.pop());
        let paper = receipt.and_then(|receipt| std::fs::read_to_string(receipt.with_extension("json")).ok());
        // It is there before the whole of it is.
        Ok(paper.filter(|paper| serde_json::from_str::<serde_json::Value>(paper).is_ok()))
    })?;
    for part in ["2.95", "3.50", "6.45", "VAT 123 456", "Open daily"] {
        ensure!(paper.contains(part), "the receipt has no {part}: {paper}");
    }

    // Off sale: not found, and refused in words.
    let _: ProductView = manager.ask("PATCH", &path, &json!({ "active": false }))?;
    stack::until("the product off the till's list", PATIENCE, || {
        Ok(till.search("85123A", 5)?.iter().all(|p| p.code != "85123A").then_some(()))
    })?;
    let refused = cashier::add(&till, "85123A", 1).expect_err("it is not on sale").to_string();
    ensure!(refused.contains("InactiveProduct") && refused.contains("is not on sale"), "{refused}");
    Ok(())
}

#[test]
fn products_of_a_file_reach_the_till_and_leave_it_again() -> Result<()> {
    let plan = Plan { tills: 1, links: false, printers: false, ..Plan::for_test()? };
    let stack = plan.start(&mut |text| eprintln!("{text}"))?;
    let till = stack.tills[0].client().clone();
    let manager = stack.manager()?;
    cashier::begin(&till)?;
    let rows: String = (0..2_000).map(|n| format!("NEW{n},Brand new thing {n},{}.50,2000\n", n % 90)).collect();
    let file = format!("code,name,price,tax_rate_bp\n{rows}85123A,WHITE HANGING HEART T-LIGHT HOLDER,9.99,2000\n");
    let begun: ImportView = manager.upload("/api/v1/imports?name=new.csv", file.as_bytes())?;
    let resting = |of: &str| {
        let path = format!("/api/v1/imports/{}", begun.id);
        stack::until(of, PATIENCE, || {
            let view: ImportView = manager.get(&path)?;
            let busy = matches!(view.state, ImportState::Reading | ImportState::Applying | ImportState::Undoing);
            Ok((!busy).then_some(view))
        })
    };
    let ready = resting("the dry run")?;
    assert_eq!((ready.state, ready.added, ready.changed), (ImportState::Ready, 2_000, 1), "{}", ready.message);
    let step = |name: &str| manager.ask::<Value>("POST", &format!("/api/v1/imports/{}/{name}", begun.id), &json!({}));
    step("apply")?;
    assert_eq!(resting("applying")?.state, ImportState::Applied);
    stack::until("the last product at the till", PATIENCE, || {
        let there = till.search("NEW1999", 5)?.iter().any(|p| p.code == "NEW1999");
        let repriced = till.search("85123A", 5)?.iter().any(|p| p.code == "85123A" && p.unit_price == 99_900);
        Ok((there && repriced).then_some(()))
    })?;
    assert_eq!(cashier::add(&till, "NEW89", 1)?.cart.total_minor, 8_950);
    step("undo")?;
    assert_eq!(resting("undoing")?.state, ImportState::Undone);
    stack::until("the products off the till's list", PATIENCE, || {
        let gone = till.search("NEW1999", 5)?.is_empty();
        let back = till.search("85123A", 5)?.iter().any(|p| p.code == "85123A" && p.unit_price == 29_500);
        Ok((gone && back).then_some(()))
    })?;
    let again = step("undo").expect_err("it is undone already");
    ensure!(matches!(&again, ManagerError::Refused(error) if error.code == "conflict"), "{again}");
    Ok(())
}
