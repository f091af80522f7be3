//! Products, tax classes and pictures: made, edited, kept apart.

use domain::document::{
    BARCODES_MAX, CATEGORY_BYTES_MAX, CODE_BYTES_MAX, DocumentKind, NAME_BYTES_MAX, Picture, Product, TAX_CLASS_NAME_BYTES_MAX,
    TaxClass,
};
use domain::ids::{PictureId, ProductId, TaxClassId};
use domain::money::UnitPrice;
use domain::picture;
use domain::tax::TAX_RATE_BP_MAX;
use rusqlite::{OptionalExtension, params};
use sync_proto::documents::{ChangeHash, DocumentValue, picture_id};
use sync_proto::env::{Env, random};
use sync_proto::scopes;
use uuid::Uuid;

use super::{AuthorError, DocumentState, Edit, Editor, Region, tax_class_code};

/// Fields of a product to be written; what is absent is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductPatch {
    /// The shop's own code.
    pub code: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// What a scanner may read.
    pub barcodes: Option<Vec<String>>,
    /// The category; empty for none.
    pub category: Option<String>,
    /// The price of one.
    pub price: Option<UnitPrice>,
    /// What it is taxed at.
    pub tax: Option<TaxPatch>,
    /// Its picture, or that it has none.
    pub picture: Option<Option<PictureId>>,
    /// Whether it is on sale.
    pub active: Option<bool>,
}

/// What a product is taxed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaxPatch {
    /// The rate of a class.
    Class(TaxClassId),
    /// A rate of its own, in basis points.
    Rate(u32),
}

/// Fields of a tax class to be written; what is absent is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaxClassPatch {
    /// Its name.
    pub name: Option<String>,
    /// Its rate in basis points.
    pub rate_bp: Option<u32>,
    /// Whether products may be put into it.
    pub active: Option<bool>,
}

impl Region {
    /// Adds a product. Code, name, price and tax are needed.
    ///
    /// # Errors
    /// A field that is missing or out of bounds, a code or barcode that another product has, or the log refuses.
    pub fn create_product(
        &mut self,
        patch: ProductPatch,
        who: Option<&Editor>,
        env: &dyn Env,
    ) -> Result<DocumentState, AuthorError> {
        let id = ProductId::new(env.unix_ms(), random(env));
        let product = self.new_product(id, patch)?;
        self.check_unique(None, &product)?;
        let at = self.clock.tick(env.unix_ms());
        let prepared = self.prepare(scopes::catalogue(), &DocumentValue::Product(product), who, at)?;
        self.write(prepared.into_iter().collect(), who, env.unix_ms())?;
        self.known(DocumentKind::Product, *id.as_bytes(), "product")
    }

    /// Edits a product, as somebody decided who saw it in the state `seen`, or in its newest one.
    ///
    /// # Errors
    /// No such product, a field that is out of bounds, a code or barcode that another product has, or the log refuses.
    pub fn edit_product(
        &mut self,
        id: ProductId,
        seen: Option<&[ChangeHash]>,
        patch: ProductPatch,
        who: Option<&Editor>,
        env: &dyn Env,
    ) -> Result<DocumentState, AuthorError> {
        let (kind, bytes) = (DocumentKind::Product, *id.as_bytes());
        let document = self.existing(kind, bytes)?.ok_or(AuthorError::NotFound("product"))?;
        let edit = Edit { seen, who, at: self.clock.tick(env.unix_ms()), fresh_actor: random(env) };
        let prepared = self.prepare_edit(scopes::catalogue(), document, edit, |value| {
            let mut product = product_of(value)?;
            self.patch_product(&mut product, patch)?;
            Ok(DocumentValue::Product(product))
        })?;
        if let Some(prepared) = prepared {
            let before = prepared.before.clone().map(product_of).transpose()?;
            self.check_unique(before.as_ref(), &product_of(prepared.after.clone())?)?;
            self.write(vec![prepared], who, env.unix_ms())?;
        }
        self.known(kind, bytes, "product")
    }

    /// Gives a product a picture, or takes it away. The same bytes are kept once, however many products have them.
    ///
    /// # Errors
    /// No such product, bytes that are no picture that we take, or the log refuses.
    pub fn set_picture(
        &mut self,
        id: ProductId,
        bytes: Option<Vec<u8>>,
        who: Option<&Editor>,
        env: &dyn Env,
    ) -> Result<DocumentState, AuthorError> {
        let (kind, product) = (DocumentKind::Product, *id.as_bytes());
        let document = self.existing(kind, product)?.ok_or(AuthorError::NotFound("product"))?;
        let at = self.clock.tick(env.unix_ms());
        let mut prepared = Vec::new();
        let mut picture = None;
        if let Some(bytes) = bytes {
            let media_type = picture::check(&bytes).map_err(|e| AuthorError::Refused(e.to_string()))?;
            let id = picture_id(&bytes);
            picture = Some(id);
            if self.existing(DocumentKind::Picture, *id.as_bytes())?.is_none() {
                let value = DocumentValue::Picture(Picture { id, media_type, bytes });
                prepared.extend(self.prepare(scopes::catalogue(), &value, who, at)?);
            }
        }
        let edit = Edit { seen: None, who, at, fresh_actor: random(env) };
        prepared.extend(self.prepare_edit(scopes::catalogue(), document, edit, |value| {
            Ok(DocumentValue::Product(Product { picture, ..product_of(value)? }))
        })?);
        self.write(prepared, who, env.unix_ms())?;
        self.known(kind, product, "product")
    }

    /// A picture.
    ///
    /// # Errors
    /// When the log refuses, or the document does not read.
    pub fn picture(&self, id: PictureId) -> Result<Option<Picture>, AuthorError> {
        let Some(document) = self.existing(DocumentKind::Picture, *id.as_bytes())? else { return Ok(None) };
        match document.value()? {
            DocumentValue::Picture(picture) => Ok(Some(picture)),
            _ => Ok(None),
        }
    }

    /// Adds a tax class. Name and rate are needed.
    ///
    /// # Errors
    /// A field that is missing or out of bounds, a name that another one has, or the log refuses.
    pub fn create_tax_class(
        &mut self,
        patch: TaxClassPatch,
        who: Option<&Editor>,
        env: &dyn Env,
    ) -> Result<DocumentState, AuthorError> {
        let needed = || AuthorError::Refused("A tax class needs a name and a rate.".to_owned());
        let id = TaxClassId::new(env.unix_ms(), random(env));
        let (name, rate_bp) = (patch.name.clone().ok_or_else(needed)?, patch.rate_bp.ok_or_else(needed)?);
        let mut class = TaxClass { id, name, rate_bp, active: true };
        patch_tax_class(&mut class, patch)?;
        self.check_tax_class(&class)?;
        let at = self.clock.tick(env.unix_ms());
        let prepared = self.prepare(scopes::catalogue(), &DocumentValue::TaxClass(class), who, at)?;
        self.write(prepared.into_iter().collect(), who, env.unix_ms())?;
        self.known(DocumentKind::TaxClass, *id.as_bytes(), "tax class")
    }

    /// Edits a tax class: every product in it sells at its rate.
    ///
    /// # Errors
    /// No such tax class, a field that is out of bounds, a name that another one has, or the log refuses.
    pub fn edit_tax_class(
        &mut self,
        id: TaxClassId,
        seen: Option<&[ChangeHash]>,
        patch: TaxClassPatch,
        who: Option<&Editor>,
        env: &dyn Env,
    ) -> Result<DocumentState, AuthorError> {
        let (kind, bytes) = (DocumentKind::TaxClass, *id.as_bytes());
        let document = self.existing(kind, bytes)?.ok_or(AuthorError::NotFound("tax class"))?;
        let edit = Edit { seen, who, at: self.clock.tick(env.unix_ms()), fresh_actor: random(env) };
        let prepared = self.prepare_edit(scopes::catalogue(), document, edit, |value| {
            let DocumentValue::TaxClass(mut class) = value else { return Err(AuthorError::NotFound("tax class")) };
            patch_tax_class(&mut class, patch)?;
            Ok(DocumentValue::TaxClass(class))
        })?;
        if let Some(prepared) = prepared {
            if let DocumentValue::TaxClass(class) = &prepared.after {
                self.check_tax_class(class)?;
            }
            self.write(vec![prepared], who, env.unix_ms())?;
        }
        self.known(kind, bytes, "tax class")
    }

    /// The tax class of a name, whatever its capitals.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn tax_class_by_name(&self, name: &str) -> Result<Option<TaxClass>, AuthorError> {
        match self.document_id(DocumentKind::TaxClass, &tax_class_code(name))? {
            Some(id) => self.tax_class(TaxClassId(Uuid::from_bytes(id))),
            None => Ok(None),
        }
    }

    /// A tax class.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn tax_class(&self, id: TaxClassId) -> Result<Option<TaxClass>, AuthorError> {
        let Some(document) = self.existing(DocumentKind::TaxClass, *id.as_bytes())? else { return Ok(None) };
        match document.value()? {
            DocumentValue::TaxClass(class) => Ok(Some(class)),
            _ => Ok(None),
        }
    }

    /// A product that nobody has written yet.
    pub(in crate::region) fn new_product(&self, id: ProductId, patch: ProductPatch) -> Result<Product, AuthorError> {
        let (Some(code), Some(name), Some(price), Some(tax)) = (&patch.code, &patch.name, patch.price, patch.tax) else {
            return Err(AuthorError::Refused("A product needs a code, a name, a price and a tax class or rate.".to_owned()));
        };
        let tax_rate_bp = match tax {
            TaxPatch::Rate(rate_bp) => rate_bp,
            TaxPatch::Class(id) => self.tax_class(id)?.map_or(0, |class| class.rate_bp),
        };
        let mut product = Product {
            id,
            code: code.clone(),
            name: name.clone(),
            barcodes: Vec::new(),
            price,
            category: String::new(),
            tax_class: None,
            tax_rate_bp,
            picture: None,
            active: true,
        };
        self.patch_product(&mut product, patch)?;
        Ok(product)
    }

    /// Writes the fields of a patch into a product, once they are within bounds.
    pub(in crate::region) fn patch_product(&self, product: &mut Product, patch: ProductPatch) -> Result<(), AuthorError> {
        let ProductPatch { code, name, barcodes, category, price, tax, picture, active } = patch;
        if let Some(code) = code {
            product.code = line("A product's code", &code, 1, CODE_BYTES_MAX)?;
        }
        if let Some(name) = name {
            product.name = line("A product's name", &name, 1, NAME_BYTES_MAX)?;
        }
        if let Some(barcodes) = barcodes {
            product.barcodes = checked_barcodes(barcodes)?;
        }
        if let Some(category) = category {
            product.category = line("A category", &category, 0, CATEGORY_BYTES_MAX)?;
        }
        if let Some(price) = price {
            let within = price.checked().map_err(|e| AuthorError::Refused(format!("The price: {e}.")))?;
            if within.0 < 0 {
                return Err(AuthorError::Refused("A price cannot be below zero.".to_owned()));
            }
            product.price = within;
        }
        match tax {
            Some(TaxPatch::Rate(rate_bp)) => {
                product.tax_rate_bp = rate(rate_bp)?;
                product.tax_class = None;
            }
            Some(TaxPatch::Class(id)) if product.tax_class != Some(id) => {
                let class = self.tax_class(id)?.filter(|class| class.active);
                let class =
                    class.ok_or_else(|| AuthorError::Refused("There is no such tax class, or it is out of use.".into()))?;
                product.tax_class = Some(class.id);
            }
            _ => {}
        }
        if let Some(picture) = picture {
            product.picture = picture;
        }
        product.active = active.unwrap_or(product.active);
        Ok(())
    }

    /// Whether no other product has its code and, while it is on sale, its barcodes. What it had before is not asked again.
    pub(in crate::region) fn check_unique(&self, before: Option<&Product>, product: &Product) -> Result<(), AuthorError> {
        if before.is_none_or(|before| before.code != product.code)
            && let Some(other) = self.document_id(DocumentKind::Product, &product.code)?
            && other != *product.id.as_bytes()
        {
            let name = self.product_name(other)?;
            return Err(AuthorError::Conflict(format!("The code {} belongs to {name}: choose another one.", product.code)));
        }
        let had = before.filter(|before| before.active).map_or(&[][..], |before| &before.barcodes);
        if product.active {
            for barcode in product.barcodes.iter().filter(|barcode| !had.contains(barcode)) {
                if let Some(other) = self.other_with_barcode(product.id, barcode)? {
                    let name = self.product_name(other)?;
                    let sentence = format!("The barcode {barcode} belongs to {name}: take it away there first.");
                    return Err(AuthorError::Conflict(sentence));
                }
            }
        }
        Ok(())
    }

    /// A product on sale, other than `product`, that a scanner would find by a barcode too.
    pub(in crate::region) fn other_with_barcode(
        &self,
        product: ProductId,
        barcode: &str,
    ) -> Result<Option<[u8; 16]>, AuthorError> {
        let other = self
            .db
            .prepare_cached("SELECT product FROM barcode WHERE code = ?1 AND product <> ?2 LIMIT 1")?
            .query_row(params![barcode, product.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(other)
    }

    /// What people call a product, with its code.
    pub(in crate::region) fn product_name(&self, id: [u8; 16]) -> Result<String, AuthorError> {
        let document = self.existing(DocumentKind::Product, id)?.ok_or(AuthorError::NotFound("product"))?;
        let product = product_of(document.value()?)?;
        Ok(format!("{} ({})", product.name, product.code))
    }

    /// Keeps the barcodes of a product that is on sale.
    pub(super) fn keep_barcodes(&self, before: Option<&DocumentValue>, after: &DocumentValue) -> Result<(), AuthorError> {
        let on_sale = |value: &DocumentValue| match value {
            DocumentValue::Product(p) if p.active => p.barcodes.clone(),
            _ => Vec::new(),
        };
        let (old, new) = (before.map(on_sale).unwrap_or_default(), on_sale(after));
        if old == new {
            return Ok(());
        }
        if !old.is_empty() {
            self.db.prepare_cached("DELETE FROM barcode WHERE product = ?1")?.execute([after.id()])?;
        }
        let mut insert = self.db.prepare_cached("INSERT OR IGNORE INTO barcode (code, product) VALUES (?1, ?2)")?;
        for code in &new {
            insert.execute(params![code, after.id()])?;
        }
        Ok(())
    }

    /// Fills the table of barcodes when a migration asks for it: from the documents of a log that was written before there was one.
    pub(in crate::region) fn fill_barcodes(&mut self) -> Result<(), crate::region::RegionError> {
        let sqlite = |e: AuthorError| match e {
            AuthorError::Region(e) => e,
            _ => crate::region::RegionError::Damaged("a product's document"),
        };
        let asked = self.db.query_row("SELECT 1 FROM meta WHERE key = 'fill_barcodes'", [], |_| Ok(())).optional()?;
        if asked.is_none() {
            return Ok(());
        }
        self.in_transaction(|region| {
            let mut statement = region.db.prepare("SELECT id FROM document WHERE kind = ?1")?;
            let ids = statement.query_map([DocumentKind::Product as u16], |row| row.get(0))?;
            for id in ids.collect::<Result<Vec<[u8; 16]>, _>>()? {
                if let Some(document) = region.existing(DocumentKind::Product, id)? {
                    region.keep_barcodes(None, &document.value()?)?;
                }
            }
            region.db.execute("DELETE FROM meta WHERE key = 'fill_barcodes'", [])?;
            Ok::<_, AuthorError>(())
        })
        .map_err(sqlite)
    }

    pub(super) fn known(&self, kind: DocumentKind, id: [u8; 16], what: &'static str) -> Result<DocumentState, AuthorError> {
        self.state(kind, id)?.ok_or(AuthorError::NotFound(what))
    }

    fn check_tax_class(&self, class: &TaxClass) -> Result<(), AuthorError> {
        match self.tax_class_by_name(&class.name)? {
            Some(other) if other.id != class.id => {
                Err(AuthorError::Conflict(format!("There is a tax class {} already: choose another name.", other.name)))
            }
            _ => Ok(()),
        }
    }
}

pub(in crate::region) fn product_of(value: DocumentValue) -> Result<Product, AuthorError> {
    match value {
        DocumentValue::Product(product) => Ok(product),
        _ => Err(AuthorError::NotFound("product")),
    }
}

fn patch_tax_class(class: &mut TaxClass, patch: TaxClassPatch) -> Result<(), AuthorError> {
    if let Some(name) = patch.name {
        class.name = line("A tax class's name", &name, 1, TAX_CLASS_NAME_BYTES_MAX)?;
    }
    if let Some(rate_bp) = patch.rate_bp {
        class.rate_bp = rate(rate_bp)?;
    }
    class.active = patch.active.unwrap_or(class.active);
    Ok(())
}

fn rate(rate_bp: u32) -> Result<u32, AuthorError> {
    match rate_bp {
        0..=TAX_RATE_BP_MAX => Ok(rate_bp),
        _ => Err(AuthorError::Refused(format!("A tax rate is 0 to {TAX_RATE_BP_MAX} basis points; 2000 is 20 %."))),
    }
}

fn checked_barcodes(barcodes: Vec<String>) -> Result<Vec<String>, AuthorError> {
    let mut all: Vec<String> = Vec::with_capacity(barcodes.len());
    for barcode in barcodes {
        let barcode = line("A barcode", &barcode, 1, CODE_BYTES_MAX)?;
        if barcode.contains('|') {
            return Err(AuthorError::Refused("A barcode cannot have the sign |: files separate barcodes with it.".to_owned()));
        }
        if !all.contains(&barcode) {
            all.push(barcode);
        }
    }
    match all.len() {
        0..=BARCODES_MAX => Ok(all),
        _ => Err(AuthorError::Refused(format!("A product has at most {BARCODES_MAX} barcodes."))),
    }
}

/// A text of one line, without spaces at its ends.
pub(super) fn line(what: &str, text: &str, bytes_min: usize, bytes_max: usize) -> Result<String, AuthorError> {
    let text = text.trim();
    if text.len() < bytes_min {
        return Err(AuthorError::Refused(format!("{what} cannot be empty.")));
    }
    if text.len() > bytes_max {
        return Err(AuthorError::Refused(format!("{what} has at most {bytes_max} bytes, this one has {}.", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(AuthorError::Refused(format!("{what} cannot have control characters.")));
    }
    Ok(text.to_owned())
}
