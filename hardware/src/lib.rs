//! Receipt printers and cash drawers, and a simulated twin of each.
//!
//! A receipt goes through three steps, each a plain value that can be kept or compared:
//!
//! ```text
//! Ticket ──encode(ticket, profile, job)──▶ RenderedJob ──deliver──▶ Outcome
//! what the paper says                      bytes for one printer    what is known afterwards
//! ```
//!
//! # What callers use
//!
//! ```text
//! ticket::Ticket { version, items: Vec<Item> }            serde; check() tells bounds
//! profile::find("epson-80") -> Option<&'static Profile>   also "generic-58"; profile::all()
//! encoder::encode(&Ticket, &Profile, JobId) -> Result<RenderedJob, EncodeError>
//! encoder::plain_text(&Ticket, columns) -> Result<String, TicketError>
//! JobId::from_bytes([u8; 16])                              a UUID's bytes
//!
//! NetworkPrinter::new("host:9100", &'static Profile, Timeouts::default())
//!   .status().await            -> Status
//!   .deliver(&RenderedJob).await -> Outcome
//!   .kick_drawer(expires: Duration).await -> KickOutcome
//!
//! vprinter::VirtualPrinter::start(Config).await            the twin, over TCP and HTTP
//! ```
//!
//! [`Outcome`] never says only "ok": bytes taken by a socket are not paper. What a
//! caller may do after each outcome is written on its variants.
//!
//! # Parts
//!
//! - [`ticket`]: the versioned print document.
//! - [`profile`]: what a printer can do and how it wants to be told; [`code_page`] its character tables.
//! - [`layout`]: a ticket set in columns, before any printer language.
//! - [`encoder`]: rows to ESC/POS bytes.
//! - [`transport`]: connections with deadlines, over TCP or in memory.
//! - [`printer`]: status, delivery, acknowledgement. [`drawer`]: the kick, at most once.
//! - [`vprinter`]: a virtual printer that turns the bytes back into a picture and a transcript.
//! - [`error`]: faults, and the [`ErrorKind`] that callers act on.
//!
//! Serial and USB transports, scanners, scales, displays and card terminals are not here yet.
//! This crate knows nothing of sales or storage: the print queue is its caller's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop where it stands"))]

pub mod code_page;
pub mod drawer;
pub mod encoder;
pub mod error;
mod font;
pub mod job;
pub mod layout;
pub mod printer;
pub mod profile;
mod raster;
pub mod ticket;
pub mod transport;
pub mod vprinter;

pub use drawer::KickOutcome;
pub use error::{ErrorKind, Fault};
pub use job::{JobId, ProcessId, RenderedJob};
pub use printer::{AckKind, NetworkPrinter, Outcome, ReceiptPrinter, Status, Timeouts};
pub use profile::Profile;
pub use ticket::Ticket;
