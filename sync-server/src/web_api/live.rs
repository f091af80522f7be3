//! What happens while one watches.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/live` (WebSocket): what happens while one watches, one JSON text a message. A watcher that is too slow is told
/// `missed` and asks anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveEvent {
    /// The first message: the feed is on.
    Hello {
        /// The server's clock.
        at_ms: u64,
    },
    /// A sale or refund was accepted and acknowledged. It reaches the figures with the next `figures`.
    Sale {
        /// What was sold.
        sale: LiveSale,
    },
    /// The figures changed: reports, stock and lists answer differently now. At most four a second.
    Figures {
        /// How far they are.
        central_seq: i64,
    },
    /// A device came, went, or has news; ask for the devices.
    Device {
        /// Its id.
        device: String,
        /// Whether it is connected to this server now.
        connected: bool,
    },
    /// A product, tax class, store or member of staff was edited.
    Document {
        /// `product`, `tax_class`, `store` or `staff`.
        kind: String,
        /// Its id; none when many were, as by an import.
        id: Option<String>,
    },
    /// An import went on.
    Import {
        /// Its id.
        id: String,
        /// How it stands.
        state: super::ImportState,
        /// Rows done in this step.
        done: u64,
        /// Rows of the file.
        rows: u64,
    },
    /// The number of open exceptions.
    Exceptions {
        /// How many.
        open: i64,
    },
    /// Messages were left out because the watcher was slow: ask for everything anew.
    Missed {},
}

/// A sale in the live feed, straight from the till's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LiveSale {
    /// The store's code.
    pub store: String,
    /// Its id.
    pub order: String,
    /// Sale or refund.
    pub kind: super::OrderKind,
    /// The receipt number.
    pub number: String,
    /// The till's id.
    pub device: String,
    /// The till's name.
    pub till: String,
    /// Who served; empty when unknown.
    pub cashier: String,
    /// When, by the till's clock.
    pub at_ms: u64,
    /// When the server accepted it, by the server's clock.
    pub accepted_at_ms: u64,
    /// The currency's letters.
    pub currency: String,
    /// Decimal digits of a minor unit.
    pub exponent: u8,
    /// What was owed; negative in a refund.
    pub total_minor: i64,
    /// How many lines.
    pub lines: u64,
    /// The name of its first line; for the eye.
    pub first_line: String,
}

#[cfg(test)]
super::declare!(LiveEvent, LiveSale,);
