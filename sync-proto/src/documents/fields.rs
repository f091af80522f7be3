//! Which fields a document of each kind has, and how each is written and read.
//!
//! A field that was added later has a default, which a document without the field reads as. A default is not written into a document that
//! does not have the field: programs older than the field would gain nothing, and documents of before stay as they are.

use domain::document::{
    BARCODES_MAX, CATEGORY_BYTES_MAX, CODE_BYTES_MAX, DocumentKind, LANGUAGES_MAX, NAME_BYTES_MAX, Picture, Product,
    STORE_LINES_MAX, StaffMember, Store, TAX_CLASS_NAME_BYTES_MAX, TIME_ZONE_BYTES_MAX, TIME_ZONE_DEFAULT, TaxClass,
};
use domain::ids::{PictureId, ProductId, StaffId, StoreId, TaxClassId};
use domain::money::{Currency, UnitPrice};
use domain::picture::{BYTES_MAX, MediaType};
use domain::staff::Role;
use domain::tax::{TAX_RATE_BP_MAX, TaxMode};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use uuid::Uuid;

use super::{Document, DocumentError, DocumentValue, picture_id};

/// A field with its CBOR value.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) cbor: Vec<u8>,
    /// What a document without it reads as; none for a field that every document has.
    pub(super) default: Option<Vec<u8>>,
}

/// The fields of a value.
pub(super) fn of(value: &DocumentValue) -> Vec<Field> {
    match value {
        DocumentValue::Product(p) => vec![
            required("active", yes(p.active)),
            required("barcodes", texts(&p.barcodes)),
            later("category", text(&p.category), text("")),
            required("code", text(&p.code)),
            required("name", text(&p.name)),
            later("picture", id(p.picture.map(|id| *id.as_bytes())), id(None)),
            required("price", cbor(|e| e.i64(p.price.0)?.ok())),
            later("tax_class", id(p.tax_class.map(|id| *id.as_bytes())), id(None)),
            required("tax_rate_bp", cbor(|e| e.u32(p.tax_rate_bp)?.ok())),
        ],
        DocumentValue::Store(s) => vec![
            required("address", texts(&s.address)),
            required("code", text(&s.code)),
            required("currency", text(s.currency.code())),
            later("languages", texts(&s.languages), texts(&default_languages())),
            required("name", text(&s.name)),
            required("receipt_footer", text(&s.receipt_footer)),
            later("receipt_header", texts(&s.receipt_header), texts(&[])),
            required("tax_exclusive", yes(s.tax_mode == TaxMode::Exclusive)),
            later("time_zone", text(&s.time_zone), text(TIME_ZONE_DEFAULT)),
        ],
        DocumentValue::StaffMember(m) => vec![
            required("active", yes(m.active)),
            required("name", text(&m.name)),
            required("pin_hash", text(&m.pin_hash)),
            required("role", text(m.role.as_str())),
        ],
        DocumentValue::TaxClass(c) => vec![
            required("active", yes(c.active)),
            required("name", text(&c.name)),
            required("rate_bp", cbor(|e| e.u32(c.rate_bp)?.ok())),
        ],
        DocumentValue::Picture(p) => {
            vec![required("bytes", cbor(|e| e.bytes(&p.bytes)?.ok())), required("media_type", text(p.media_type.as_str()))]
        }
        DocumentValue::OpenOrder(_) => panic!("an open order is written by what people do to it"),
    }
}

/// The names of the fields of a kind; none for an open order, which has keys of its own.
pub(super) fn names(kind: DocumentKind) -> &'static [&'static str] {
    match kind {
        DocumentKind::Product => {
            &["active", "barcodes", "category", "code", "name", "picture", "price", "tax_class", "tax_rate_bp"]
        }
        DocumentKind::Store => &[
            "address",
            "code",
            "currency",
            "languages",
            "name",
            "receipt_footer",
            "receipt_header",
            "tax_exclusive",
            "time_zone",
        ],
        DocumentKind::StaffMember => &["active", "name", "pin_hash", "role"],
        DocumentKind::TaxClass => &["active", "name", "rate_bp"],
        DocumentKind::Picture => &["bytes", "media_type"],
        DocumentKind::OpenOrder => &[],
    }
}

/// What a document reads as that does not have a field; none for one that it must have.
pub(super) fn default_of(key: &str) -> Option<Vec<u8>> {
    Some(match key {
        "category" => text(""),
        "picture" | "tax_class" => id(None),
        "languages" => texts(&default_languages()),
        "receipt_header" => texts(&[]),
        "time_zone" => text(TIME_ZONE_DEFAULT),
        _ => return None,
    })
}

fn default_languages() -> Vec<String> {
    vec!["en".to_owned()]
}

fn required(key: &'static str, cbor: Vec<u8>) -> Field {
    Field { key, cbor, default: None }
}

fn later(key: &'static str, cbor: Vec<u8>, default: Vec<u8>) -> Field {
    Field { key, cbor, default: Some(default) }
}

fn cbor(
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), minicbor::encode::Error<core::convert::Infallible>>,
) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out)).expect("writing to a Vec cannot fail");
    out
}

fn yes(is: bool) -> Vec<u8> {
    cbor(|e| e.bool(is)?.ok())
}

fn text(s: &str) -> Vec<u8> {
    cbor(|e| e.str(s)?.ok())
}

fn id(id: Option<[u8; 16]>) -> Vec<u8> {
    cbor(|e| match id {
        Some(id) => e.bytes(&id)?.ok(),
        None => e.null()?.ok(),
    })
}

fn texts(all: &[String]) -> Vec<u8> {
    cbor(|e| {
        e.array(all.len() as u64)?;
        for s in all {
            e.str(s)?;
        }
        Ok(())
    })
}

/// Reading the fields of a document.
pub(super) struct Fields<'a> {
    pub(super) of: &'a Document,
}

impl Fields<'_> {
    pub(super) fn product(&self, id: [u8; 16]) -> Result<Product, DocumentError> {
        Ok(Product {
            id: ProductId(Uuid::from_bytes(id)),
            code: self.text("code", CODE_BYTES_MAX)?,
            name: self.text("name", NAME_BYTES_MAX)?,
            barcodes: self.texts("barcodes", BARCODES_MAX, CODE_BYTES_MAX)?,
            price: UnitPrice(self.read("price", |d| d.i64().ok())?)
                .checked()
                .map_err(|_| DocumentError::Field { field: "price", why: "is out of bounds" })?,
            category: self.text("category", CATEGORY_BYTES_MAX)?,
            tax_class: self.id("tax_class")?.map(TaxClassId),
            tax_rate_bp: self.rate("tax_rate_bp")?,
            picture: self.id("picture")?.map(PictureId),
            active: self.read("active", |d| d.bool().ok())?,
        })
    }

    pub(super) fn store(&self, id: [u8; 16]) -> Result<Store, DocumentError> {
        Ok(Store {
            id: StoreId(Uuid::from_bytes(id)),
            code: self.text("code", 16)?,
            name: self.text("name", NAME_BYTES_MAX)?,
            address: self.texts("address", STORE_LINES_MAX, NAME_BYTES_MAX)?,
            currency: self.read("currency", |d| Currency::new(d.str().ok()?))?,
            tax_mode: match self.read("tax_exclusive", |d| d.bool().ok())? {
                true => TaxMode::Exclusive,
                false => TaxMode::Inclusive,
            },
            receipt_header: self.texts("receipt_header", STORE_LINES_MAX, NAME_BYTES_MAX)?,
            receipt_footer: self.text("receipt_footer", NAME_BYTES_MAX)?,
            languages: self.texts("languages", LANGUAGES_MAX, 35)?,
            time_zone: self.text("time_zone", TIME_ZONE_BYTES_MAX)?,
        })
    }

    pub(super) fn staff(&self, id: [u8; 16]) -> Result<StaffMember, DocumentError> {
        Ok(StaffMember {
            id: StaffId(Uuid::from_bytes(id)),
            name: self.text("name", NAME_BYTES_MAX)?,
            role: self.read("role", |d| Role::from_word(d.str().ok()?))?,
            pin_hash: self.text("pin_hash", 256)?,
            active: self.read("active", |d| d.bool().ok())?,
        })
    }

    pub(super) fn tax_class(&self, id: [u8; 16]) -> Result<TaxClass, DocumentError> {
        Ok(TaxClass {
            id: TaxClassId(Uuid::from_bytes(id)),
            name: self.text("name", TAX_CLASS_NAME_BYTES_MAX)?,
            rate_bp: self.rate("rate_bp")?,
            active: self.read("active", |d| d.bool().ok())?,
        })
    }

    pub(super) fn picture(&self, id: [u8; 16]) -> Result<Picture, DocumentError> {
        let picture = Picture {
            id: PictureId(Uuid::from_bytes(id)),
            media_type: self.read("media_type", |d| MediaType::from_word(d.str().ok()?))?,
            bytes: self.read("bytes", |d| d.bytes().ok().filter(|b| b.len() <= BYTES_MAX).map(<[u8]>::to_vec))?,
        };
        match picture_id(&picture.bytes) == picture.id {
            true => Ok(picture),
            false => Err(DocumentError::Field { field: "bytes", why: "is not what the picture's id was made of" }),
        }
    }

    fn rate(&self, field: &'static str) -> Result<u32, DocumentError> {
        self.read(field, |d| d.u32().ok().filter(|&r| r <= TAX_RATE_BP_MAX))
    }

    fn id(&self, field: &'static str) -> Result<Option<Uuid>, DocumentError> {
        self.read(field, |d| match d.datatype().ok()? {
            Type::Null => d.null().ok().map(|()| None),
            _ => Uuid::from_slice(d.bytes().ok()?).ok().map(Some),
        })
    }

    fn read<T>(&self, field: &'static str, read: impl FnOnce(&mut Decoder<'_>) -> Option<T>) -> Result<T, DocumentError> {
        let written = self.of.field(field).or_else(|| default_of(field));
        let bytes = written.ok_or(DocumentError::Field { field, why: "is missing" })?;
        read(&mut Decoder::new(&bytes)).ok_or(DocumentError::Field { field, why: "makes no sense" })
    }

    fn text(&self, field: &'static str, bytes_max: usize) -> Result<String, DocumentError> {
        self.read(field, |d| d.str().ok().filter(|s| s.len() <= bytes_max).map(str::to_owned))
    }

    fn texts(&self, field: &'static str, most: usize, bytes_max: usize) -> Result<Vec<String>, DocumentError> {
        self.read(field, |d| {
            let n = d.array().ok()??;
            if usize::try_from(n).ok()? > most {
                return None;
            }
            (0..n)
                .map(|_| match d.datatype() {
                    Ok(Type::String) => d.str().ok().filter(|s| s.len() <= bytes_max).map(str::to_owned),
                    _ => None,
                })
                .collect()
        })
    }
}
