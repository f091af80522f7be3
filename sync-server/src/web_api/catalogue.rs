//! Products, tax classes, stores, and who changed them.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/products?[search=][&category=][&active=true|false][&after=][&limit=]`: the catalogue, by name. `search` finds words of the
/// name, codes and barcodes by their beginning; `limit` is 1 to 500, 50 when absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProductsPage {
    /// By name.
    pub rows: Vec<ProductRow>,
    /// What to give as `after` for more; none at the end.
    pub next: Option<String>,
    /// How many products the question finds in all.
    pub total: i64,
    /// Every category in the catalogue, by name.
    pub categories: Vec<String>,
    /// The currency that prices are in.
    pub currency: String,
    /// Decimal digits of a minor unit.
    pub exponent: u8,
}

/// A product in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProductRow {
    /// Its id.
    pub product: String,
    /// The shop's own code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// What a scanner may read for it.
    pub barcodes: Vec<String>,
    /// Its category; empty for none.
    pub category: String,
    /// The price of one.
    pub price_centi: i64,
    /// The id of its tax class; none when it has a rate of its own.
    pub tax_class: Option<String>,
    /// The rate that it is sold at.
    pub tax_rate_bp: i64,
    /// The id of its picture: `GET /api/v1/pictures/{id}`.
    pub picture: Option<String>,
    /// Whether it is on sale.
    pub active: bool,
}

/// `GET /api/v1/products/{id}`, and the answer to every edit: a product as this server has it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProductView {
    /// Its fields.
    pub product: ProductRow,
    /// What an edit gives back, to say which state of the product its writer saw.
    pub seen: String,
    /// Who wrote what, newest first; at most 200.
    pub history: Vec<FieldEdit>,
}

/// What `POST /api/v1/products` (code, name, price_centi and tax are needed then) and `PATCH /api/v1/products/{id}` take. A field that is
/// absent is left alone. Two edits of one field that were made without seeing each other agree on the later one; the other stays in the
/// history, and the manager is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct ProductEdit {
    /// The `seen` of the state that the writer had before their eyes; the newest state when absent.
    #[serde(default)]
    pub seen: Option<String>,
    /// 1 to 64 bytes, unique in the catalogue.
    #[serde(default)]
    pub code: Option<String>,
    /// 1 to 1,000 bytes.
    #[serde(default)]
    pub name: Option<String>,
    /// At most 32.
    #[serde(default)]
    pub barcodes: Option<Vec<String>>,
    /// At most 200 bytes; empty for none.
    #[serde(default)]
    pub category: Option<String>,
    /// The price of one.
    #[serde(default)]
    pub price_centi: Option<i64>,
    /// The id of a tax class.
    #[serde(default)]
    pub tax_class: Option<String>,
    /// A rate of its own, instead of a tax class.
    #[serde(default)]
    pub tax_rate_bp: Option<u32>,
    /// Whether it is on sale.
    #[serde(default)]
    pub active: Option<bool>,
}

/// One writing of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FieldEdit {
    /// The field, such as `price`.
    pub field: String,
    /// What its writer replaced, in words; none when there was nothing.
    pub old: Option<String>,
    /// What they wrote, in words.
    pub new: String,
    /// Who: a manager's name, or the server's when a file was imported from its command line.
    pub by: String,
    /// When.
    pub at_ms: u64,
    /// What became of it.
    pub outcome: EditOutcome,
}

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum EditOutcome {
    /// It is what the field says now.
    Current,
    /// Somebody saw it and wrote something else.
    Replaced,
    /// It was written at the same time as a later one, which stands.
    Outvoted,
}

/// `GET /api/v1/tax-classes`, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TaxClassView {
    /// Its id.
    pub tax_class: String,
    /// Its name, such as `Reduced rate`.
    pub name: String,
    /// The rate of every product in it.
    pub rate_bp: i64,
    /// Whether products may be put into it.
    pub active: bool,
    /// How many products are in it.
    pub products: i64,
    /// What an edit gives back.
    pub seen: String,
}

/// What `POST /api/v1/tax-classes` (name and rate are needed then) and `PATCH /api/v1/tax-classes/{id}` take.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct TaxClassEdit {
    /// As in [`ProductEdit`].
    #[serde(default)]
    pub seen: Option<String>,
    /// 1 to 200 bytes.
    #[serde(default)]
    pub name: Option<String>,
    /// 0 to 10,000.
    #[serde(default)]
    pub rate_bp: Option<u32>,
    /// Whether products may be put into it.
    #[serde(default)]
    pub active: Option<bool>,
}

/// `GET /api/v1/stores`, `GET /api/v1/stores/{code}`, and the answer to an edit: a store and how it sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StoreView {
    /// Its id.
    pub store: String,
    /// Its short code; receipt numbers start with it, so it never changes.
    pub code: String,
    /// Its name on the receipt.
    pub name: String,
    /// One string a line.
    pub address: Vec<String>,
    /// The first words of a receipt, one string a line.
    pub receipt_header: Vec<String>,
    /// The last words, one string a line.
    pub receipt_footer: Vec<String>,
    /// What it counts money in.
    pub currency: String,
    /// `inclusive` or `exclusive`.
    pub tax_mode: String,
    /// The languages of its screens and receipts, its first one first, such as `en`, `de`.
    pub languages: Vec<String>,
    /// Where its clock hangs, such as `Europe/London`.
    pub time_zone: String,
    /// What an edit gives back.
    pub seen: String,
    /// Who wrote what, newest first, at most 200; empty in the list.
    pub history: Vec<FieldEdit>,
}

/// What `PATCH /api/v1/stores/{code}` takes. A field that is absent is left alone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct StoreEdit {
    /// As in [`ProductEdit`].
    #[serde(default)]
    pub seen: Option<String>,
    /// 1 to 1,000 bytes.
    #[serde(default)]
    pub name: Option<String>,
    /// At most 16 lines.
    #[serde(default)]
    pub address: Option<Vec<String>>,
    /// At most 16 lines.
    #[serde(default)]
    pub receipt_header: Option<Vec<String>>,
    /// At most 16 lines.
    #[serde(default)]
    pub receipt_footer: Option<Vec<String>>,
    /// Three letters. Refused while a shift is open or once the store has sold: amounts are not converted.
    #[serde(default)]
    pub currency: Option<String>,
    /// `inclusive` or `exclusive`. A cart that is open keeps the mode it began with.
    #[serde(default)]
    pub tax_mode: Option<String>,
    /// 1 to 8 of `en`, `de`, `ja`, `ko`.
    #[serde(default)]
    pub languages: Option<Vec<String>>,
    /// A name of the IANA time zone database.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// The answer to `PUT /api/v1/products/{id}/picture` (the body is a PNG, JPEG or WebP image of at most 48 KiB and 1,024 × 1,024 pixels) and
/// to `DELETE` of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PictureAnswer {
    /// The id of the picture; none when it has been taken away.
    pub picture: Option<String>,
    /// The product.
    pub view: ProductView,
}

#[cfg(test)]
super::declare!(
    ProductsPage,
    ProductRow,
    ProductView,
    ProductEdit,
    FieldEdit,
    EditOutcome,
    TaxClassView,
    TaxClassEdit,
    StoreView,
    StoreEdit,
    PictureAnswer,
);
