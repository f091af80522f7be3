//! What fields of documents say, in words that people read.

use domain::document::{DocumentKind, Product};
use domain::ids::TaxClassId;
use domain::money::{Currency, UnitPrice};
use domain::receipt::{format_rate, format_unit_price};
use sync_proto::documents::FieldValue;

/// What a field that says nothing is shown as.
const NONE: &str = "none";

/// What a writer's words are put with.
pub(crate) struct Words<'a> {
    /// What prices are in.
    pub(crate) currency: Option<Currency>,
    /// The name of a tax class.
    pub(crate) tax_class: &'a dyn Fn([u8; 16]) -> Option<String>,
}

impl Words<'_> {
    /// The name of a field as people see it.
    pub(crate) fn field(field: &str) -> &str {
        match field {
            "tax_exclusive" => "tax_mode",
            other => other,
        }
    }

    /// What a field says.
    pub(crate) fn value(&self, kind: DocumentKind, field: &str, value: &FieldValue) -> String {
        match (field, value) {
            ("price", FieldValue::Whole(centi)) => self.price(UnitPrice(*centi)),
            ("tax_rate_bp" | "rate_bp", FieldValue::Whole(rate)) => format_rate(u32::try_from(*rate).unwrap_or_default()),
            ("tax_class", FieldValue::Id(id)) => (self.tax_class)(*id).unwrap_or_else(|| uuid::Uuid::from_bytes(*id).to_string()),
            ("picture", FieldValue::Id(_)) => "a picture".to_owned(),
            ("tax_exclusive", FieldValue::Flag(exclusive)) => if *exclusive { "exclusive" } else { "inclusive" }.to_owned(),
            ("active", FieldValue::Flag(active)) => active_word(kind, *active).to_owned(),
            ("pin_hash", _) => "a PIN".to_owned(),
            ("address" | "receipt_header", FieldValue::Texts(lines)) => or_none(lines.join("\n")),
            (_, FieldValue::None) => NONE.to_owned(),
            (_, FieldValue::Text(text)) => or_none(text.clone()),
            (_, FieldValue::Texts(texts)) => or_none(texts.join(", ")),
            (_, FieldValue::Whole(number)) => number.to_string(),
            (_, FieldValue::Flag(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
            (_, FieldValue::Id(id)) => uuid::Uuid::from_bytes(*id).to_string(),
            (_, FieldValue::Bytes(bytes)) => format!("{bytes} bytes"),
        }
    }

    /// What the fields of a product say, by field; none where it says nothing.
    pub(crate) fn product(&self, product: &Product) -> [(&'static str, Option<String>); 8] {
        let class = |TaxClassId(id)| (self.tax_class)(id.into_bytes()).unwrap_or_else(|| id.to_string());
        let filled = |text: String| (!text.is_empty()).then_some(text);
        [
            ("code", Some(product.code.clone())),
            ("name", Some(product.name.clone())),
            ("price", Some(self.price(product.price))),
            ("tax_class", product.tax_class.map(class)),
            // The rate of a product in a class is the class's.
            ("tax_rate_bp", product.tax_class.is_none().then(|| format_rate(product.tax_rate_bp))),
            ("barcodes", filled(product.barcodes.join(", "))),
            ("category", filled(product.category.clone())),
            ("active", Some(active_word(DocumentKind::Product, product.active).to_owned())),
        ]
    }

    fn price(&self, price: UnitPrice) -> String {
        self.currency.map_or_else(|| price.0.to_string(), |currency| format_unit_price(price, currency))
    }
}

fn active_word(kind: DocumentKind, active: bool) -> &'static str {
    match (kind, active) {
        (DocumentKind::Product, true) => "on sale",
        (DocumentKind::Product, false) => "not on sale",
        (_, true) => "in use",
        (_, false) => "not in use",
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}
