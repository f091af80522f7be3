//! Products, their codes, tax classes and pictures, and the search over them.

use domain::document::{DocumentKind, Picture, Product, TaxClass};
use domain::ids::{PictureId, ProductId, TaxClassId};
use domain::money::UnitPrice;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sync_proto::documents::{Document, DocumentValue};

use super::sums::{StockSum, Sums};
use super::{StoreError, documents};

/// Most results of a search.
pub const RESULTS_MAX: usize = 100;
/// How many matches are looked at before the most sold of them are shown. It bounds the time that a single letter takes.
const CANDIDATES_MAX: usize = 500;
/// Most words of a search that count.
const WORDS_MAX: usize = 8;

/// Writes a product and makes it findable.
///
/// # Errors
/// A failure of SQLite.
pub fn put_product(db: &Connection, p: &Product) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO product (id, code, name, price, tax_rate_bp, active, category, tax_class, picture)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
         SET code = excluded.code, name = excluded.name, price = excluded.price, tax_rate_bp = excluded.tax_rate_bp,
             active = excluded.active, category = excluded.category, tax_class = excluded.tax_class, picture = excluded.picture",
    )?
    .execute(params![
        p.id.as_bytes(),
        p.code,
        p.name,
        p.price.0,
        p.tax_rate_bp,
        p.active,
        p.category,
        p.tax_class.as_ref().map(|id| id.as_bytes().to_vec()),
        p.picture.as_ref().map(|id| id.as_bytes().to_vec()),
    ])?;
    let place: i64 = db.prepare_cached("SELECT place FROM product WHERE id = ?")?.query_row([p.id.as_bytes()], |r| r.get(0))?;
    db.prepare_cached("DELETE FROM product_search WHERE rowid = ?")?.execute([place])?;
    if p.active {
        db.prepare_cached("INSERT INTO product_search (rowid, name, code) VALUES (?, ?, ?)")?
            .execute(params![place, p.name, p.code])?;
    }
    db.prepare_cached("DELETE FROM product_code WHERE product = ?")?.execute([p.id.as_bytes()])?;
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO product_code (code, own, product, folded) VALUES (?, ?, ?, ?)")?;
    insert.execute(params![p.code, true, p.id.as_bytes(), p.code.to_lowercase()])?;
    for code in &p.barcodes {
        insert.execute(params![code, false, p.id.as_bytes(), code.to_lowercase()])?;
    }
    Ok(())
}

/// Writes a tax class. Products in it sell at its rate from now on.
///
/// # Errors
/// A failure of SQLite.
pub fn put_tax_class(db: &Connection, c: &TaxClass) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO tax_class (id, name, rate_bp, active) VALUES (?, ?, ?, ?)")?.execute(params![
        c.id.as_bytes(),
        c.name,
        c.rate_bp,
        c.active
    ])?;
    Ok(())
}

/// A picture, once it has arrived.
///
/// # Errors
/// A failure of SQLite, or a document that does not read.
pub fn picture(db: &Connection, id: PictureId) -> Result<Option<Picture>, StoreError> {
    let kind = DocumentKind::Picture;
    let Some(saved) = documents::saved(db, kind, *id.as_bytes())? else { return Ok(None) };
    let damaged = |_| StoreError::Damaged("a picture");
    match Document::load(kind, *id.as_bytes(), &saved).and_then(|document| document.value()).map_err(damaged)? {
        DocumentValue::Picture(picture) => Ok(Some(picture)),
        _ => Ok(None),
    }
}

/// The columns of [`product_row`], of a product `p` and its tax class `t`: its rate is the class's where that is known.
macro_rules! columns {
    () => {
        "p.id, p.code, p.name, p.price, coalesce(t.rate_bp, p.tax_rate_bp), p.active, p.category, p.tax_class, p.picture"
    };
}

/// A product by id, with the rate that it is sold at. Its barcodes are not read: nothing at the counter needs them.
///
/// # Errors
/// A failure of SQLite.
pub fn product(db: &Connection, id: ProductId) -> Result<Option<Product>, StoreError> {
    let found = db
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM product p LEFT JOIN tax_class t ON t.id = p.tax_class WHERE p.id = ?"
        ))?
        .query_row([id.as_bytes()], product_row)
        .optional()?;
    Ok(found)
}

/// The product of a scanned or typed code: of a barcode, else of a shop's own code, else of either in another case if only one
/// product has it. Where several products have one code, one that is on sale comes first.
///
/// # Errors
/// A failure of SQLite.
pub fn product_by_code(db: &Connection, code: &str) -> Result<Option<Product>, StoreError> {
    let exact = db
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM product_code c JOIN product p ON p.id = c.product LEFT JOIN tax_class t ON t.id = p.tax_class
             WHERE c.code = ? ORDER BY p.active DESC, c.own, p.id LIMIT 1"
        ))?
        .query_row([code], product_row)
        .optional()?;
    if exact.is_some() {
        return Ok(exact);
    }
    let mut select = db.prepare_cached(concat!(
        "SELECT DISTINCT ",
        columns!(),
        " FROM product_code c JOIN product p ON p.id = c.product LEFT JOIN tax_class t ON t.id = p.tax_class
         WHERE c.folded = ? LIMIT 2"
    ))?;
    let mut alike = select.query_map([code.to_lowercase()], product_row)?.collect::<Result<Vec<_>, _>>()?;
    Ok(if alike.len() == 1 { alike.pop() } else { None })
}

/// Products on sale whose name or code has words that begin with all the words of `text`, or whose code begins with it; the most sold first.
/// Each with its stock in thousandths.
///
/// # Errors
/// A failure of SQLite.
pub fn search(db: &Connection, sums: &Sums, text: &str, limit: usize) -> Result<Vec<(Product, i64)>, StoreError> {
    let mut found = Vec::new();
    if let Some(words) = match_expression(text) {
        let mut select = db.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            ", coalesce(l.quantity, 0), coalesce(l.sold, 0)
             FROM (SELECT rowid FROM product_search WHERE product_search MATCH ? ORDER BY rowid LIMIT ?) s
             JOIN product p ON p.place = s.rowid LEFT JOIN tax_class t ON t.id = p.tax_class
             LEFT JOIN stock_level l ON l.product = p.id"
        ))?;
        let rows = select.query_map(params![words, CANDIDATES_MAX], stocked_row)?;
        found = rows.collect::<Result<Vec<_>, _>>()?;
    }
    add_by_code(db, text, &mut found)?;
    for (product, stock) in &mut found {
        stock.add(sums.stock_since(product.id));
    }
    let exact = |p: &Product| p.code.eq_ignore_ascii_case(text.trim());
    found.sort_by(|(p, a), (q, b)| {
        (exact(q), b.sold).cmp(&(exact(p), a.sold)).then_with(|| p.name.cmp(&q.name)).then_with(|| p.id.cmp(&q.id))
    });
    found.truncate(limit.min(RESULTS_MAX));
    Ok(found.into_iter().map(|(p, stock)| (p, stock.quantity_milli)).collect())
}

/// Codes such as "85123A-2" are several words to the search index; this finds them as they are typed.
fn add_by_code(db: &Connection, text: &str, found: &mut Vec<(Product, StockSum)>) -> Result<(), StoreError> {
    let from = text.trim().to_lowercase();
    if from.is_empty() {
        return Ok(());
    }
    let to = format!("{from}\u{10FFFF}");
    let mut select = db.prepare_cached(concat!(
        "SELECT DISTINCT ",
        columns!(),
        ", coalesce(l.quantity, 0), coalesce(l.sold, 0)
         FROM product_code c JOIN product p ON p.id = c.product LEFT JOIN tax_class t ON t.id = p.tax_class
         LEFT JOIN stock_level l ON l.product = p.id
         WHERE c.folded >= ? AND c.folded <= ? AND p.active ORDER BY c.folded LIMIT ?"
    ))?;
    let rows = select.query_map(params![from, to, RESULTS_MAX], stocked_row)?;
    for row in rows {
        let row = row?;
        if !found.iter().any(|(p, _)| p.id == row.0.id) {
            found.push(row);
        }
    }
    Ok(())
}

/// Every word as a quoted prefix, so that nothing a person types is an operator of the search language.
fn match_expression(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let quoted: Vec<_> = words.take(WORDS_MAX).map(|w| format!("\"{w}\"*")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}

fn product_row(r: &Row<'_>) -> rusqlite::Result<Product> {
    let id: [u8; 16] = r.get(0)?;
    let optional = |at| Ok::<_, rusqlite::Error>(r.get::<_, Option<[u8; 16]>>(at)?.map(uuid::Uuid::from_bytes));
    Ok(Product {
        id: ProductId(uuid::Uuid::from_bytes(id)),
        code: r.get(1)?,
        name: r.get(2)?,
        barcodes: Vec::new(),
        price: UnitPrice(r.get(3)?),
        tax_rate_bp: r.get(4)?,
        active: r.get(5)?,
        category: r.get(6)?,
        tax_class: optional(7)?.map(TaxClassId),
        picture: optional(8)?.map(PictureId),
    })
}

fn stocked_row(r: &Row<'_>) -> rusqlite::Result<(Product, StockSum)> {
    Ok((product_row(r)?, StockSum { quantity_milli: r.get(9)?, is_level: true, sold: r.get(10)? }))
}
