//! The crate from the outside: bytes against golden samples, and printers against the virtual one.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod bytes;
mod delivery;
mod escpos_canary;
mod page;
mod paper;
mod samples;
