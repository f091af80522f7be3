//! What people edit together, as plain values. How two edits merge is `sync-proto`'s business.

use serde::{Deserialize, Serialize};

use crate::ids::{PictureId, ProductId, StaffId, StoreId, TaxClassId};
use crate::money::{Currency, UnitPrice};
use crate::picture::MediaType;
use crate::staff::Role;
use crate::tax::TaxMode;

/// Longest product or staff name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 1_000;
/// Longest product code or barcode, in bytes.
pub const CODE_BYTES_MAX: usize = 64;
/// Most barcodes of one product.
pub const BARCODES_MAX: usize = 32;
/// Longest category, in bytes.
pub const CATEGORY_BYTES_MAX: usize = 200;
/// Longest name of a tax class, in bytes.
pub const TAX_CLASS_NAME_BYTES_MAX: usize = 200;
/// Most lines of a store's address, of its receipt header and of its receipt footer, each.
pub const STORE_LINES_MAX: usize = 16;
/// Most languages of a store.
pub const LANGUAGES_MAX: usize = 8;
/// The languages that a store may have.
pub const LANGUAGES: [&str; 4] = ["en", "de", "ja", "ko"];
/// Longest name of a time zone, in bytes.
pub const TIME_ZONE_BYTES_MAX: usize = 64;
/// The time zone of a store that has not been told its own.
pub const TIME_ZONE_DEFAULT: &str = "UTC";

/// What kind of thing a document is; the number is part of the entry format and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum DocumentKind {
    /// A [`Product`].
    Product = 1,
    /// A [`Store`].
    Store = 2,
    /// A [`StaffMember`].
    StaffMember = 3,
    /// A [`TaxClass`].
    TaxClass = 4,
    /// A [`Picture`].
    Picture = 5,
    /// An [`OpenOrder`](crate::open_order::OpenOrder).
    OpenOrder = 6,
}

impl DocumentKind {
    /// The kind of a number, if this build knows it.
    pub fn from_number(number: u16) -> Option<Self> {
        const ALL: [DocumentKind; 6] = [
            DocumentKind::Product,
            DocumentKind::Store,
            DocumentKind::StaffMember,
            DocumentKind::TaxClass,
            DocumentKind::Picture,
            DocumentKind::OpenOrder,
        ];
        ALL.into_iter().find(|k| *k as u16 == number)
    }
}

/// Something that can be sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// The shop's own code (SKU), unique in the catalogue.
    pub code: String,
    /// The name on screen and receipt.
    pub name: String,
    /// Codes that a scanner may read for it, besides `code`.
    pub barcodes: Vec<String>,
    /// The price of one.
    pub price: UnitPrice,
    /// What it is shelved under; empty for none.
    pub category: String,
    /// The tax class that says its rate.
    pub tax_class: Option<TaxClassId>,
    /// The tax rate in basis points: its own when it has no tax class, and what it is sold at while its class is not known.
    pub tax_rate_bp: u32,
    /// What it looks like.
    pub picture: Option<PictureId>,
    /// Whether it is on sale.
    pub active: bool,
}

/// A rate that many products share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxClass {
    /// Its id.
    pub id: TaxClassId,
    /// Its name, such as `Reduced rate`.
    pub name: String,
    /// The rate in basis points.
    pub rate_bp: u32,
    /// Whether products may be put into it. Those that are in it keep selling at its rate.
    pub active: bool,
}

/// A picture, which never changes: its id is made of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The first 16 bytes of the SHA-256 of `bytes`.
    pub id: PictureId,
    /// What kind of image it is.
    pub media_type: MediaType,
    /// The file, at most [`crate::picture::BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// A shop and how it sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Its id.
    pub id: StoreId,
    /// The short code that receipt numbers start with, such as `S01`.
    pub code: String,
    /// The name on the receipt.
    pub name: String,
    /// The address on the receipt, one string a line.
    pub address: Vec<String>,
    /// What it counts money in.
    pub currency: Currency,
    /// Whether its prices hold the tax.
    pub tax_mode: TaxMode,
    /// The first words of a receipt, one string a line.
    pub receipt_header: Vec<String>,
    /// The last words of a receipt, lines separated by a line feed.
    pub receipt_footer: String,
    /// The languages of its screens and receipts, its first one first; some of [`LANGUAGES`].
    pub languages: Vec<String>,
    /// Where its clock hangs: a name of the IANA time zone database.
    pub time_zone: String,
}

impl Store {
    /// The last words of a receipt, one string a line.
    pub fn footer_lines(&self) -> Vec<String> {
        self.receipt_footer.lines().map(str::to_owned).collect()
    }
}

/// A person who works in a shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaffMember {
    /// Their id.
    pub id: StaffId,
    /// The name on the sign-in screen; a first name or a nickname.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The PIN as an argon2id hash string.
    pub pin_hash: String,
    /// Whether they may sign in.
    pub active: bool,
}
