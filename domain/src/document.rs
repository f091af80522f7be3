//! What people edit together, as plain values. How two edits merge is `sync-proto`'s business.

use serde::{Deserialize, Serialize};

use crate::ids::{ProductId, StaffId, StoreId};
use crate::money::{Currency, UnitPrice};
use crate::staff::Role;
use crate::tax::TaxMode;

/// Longest product or staff name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 1_000;
/// Longest product code or barcode, in bytes.
pub const CODE_BYTES_MAX: usize = 64;
/// Most barcodes of one product.
pub const BARCODES_MAX: usize = 32;

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
}

impl DocumentKind {
    /// The kind of a number, if this build knows it.
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::Product, Self::Store, Self::StaffMember].into_iter().find(|k| *k as u16 == number)
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
    /// The tax rate in basis points.
    pub tax_rate_bp: u32,
    /// Whether it is on sale.
    pub active: bool,
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
    /// The last words of a receipt.
    pub receipt_footer: String,
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
