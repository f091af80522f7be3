//! What a sale is.
//!
//! Money, tax, the cart, and the records that a shop's day leaves behind. This crate has no I/O, no clock, no SQL and no
//! CRDT: the till and the sync server both use it, so both compute the same totals and fold the same records into the same rows.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`] | one newtype per kind of thing |
//! | [`money`] | amounts in minor units, quantities in thousandths, unit prices in hundredths of a minor unit, and the one rounding per line |
//! | [`tax`] | tax per rate, computed once per order |
//! | [`cart`] | the order being built at the counter, and what it becomes when it is paid |
//! | [`record`] | everything that can happen, and its encoding |
//! | [`document`] | what people edit together: products, tax classes, pictures, stores, staff; the values only, not the CRDT |
//! | [`open_order`] | a parked order or a table as a plain value, and what people did to it at once |
//! | [`picture`] | what of an image file can be said from its first bytes |
//! | [`count`] | which count of a product stands, and what still applies to it |
//! | [`shift`] | what a shift comes to, and what came to it after it was closed |
//! | [`fold`] | a record turned into the rows it means, the same on every replica and in Postgres |
//! | [`staff`] | roles and what each may do |
//! | [`receipt`] | what a receipt says (how it is printed is `hardware`'s business) |

pub mod cart;
pub mod count;
pub mod document;
pub mod fold;
pub mod ids;
pub mod money;
pub mod open_order;
pub mod picture;
pub mod receipt;
pub mod record;
pub mod shift;
pub mod staff;
pub mod tax;
