//! The print document: what a piece of paper says, before any printer is chosen.
//!
//! A [`Ticket`] is stored as JSON in the print queue, so it carries a version and every part of
//! it has a bound. It can be encoded for one printer today and for another tomorrow with the
//! same content. A drawer kick is not in here: it is an act, not a document.

use serde::{Deserialize, Serialize};

/// The version this program writes, and the newest it reads.
pub const TICKET_VERSION: u16 = 1;
/// Most items in one ticket: an invoice of a thousand lines fits several times over.
pub const ITEMS_MAX: usize = 8_192;
/// Longest text of one item or cell, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Longest text of a whole ticket, in bytes of UTF-8.
pub const TICKET_BYTES_MAX: usize = 1 << 20;
/// Most cells in one [`Item::Columns`].
pub const CELLS_MAX: usize = 8;
/// Most empty lines in one [`Item::Feed`].
pub const FEED_LINES_MAX: u8 = 32;
/// Longest content of a QR code, in bytes.
pub const QR_BYTES_MAX: usize = 1_024;
/// Longest content of a CODE128 barcode, in characters.
pub const CODE128_CHARS_MAX: usize = 64;

/// A print document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Version of the document's shape, see [`TICKET_VERSION`].
    pub version: u16,
    /// What is printed, from top to bottom.
    pub items: Vec<Item>,
}

/// One thing on the paper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// Text that wraps between words; `\n` starts a new line.
    Text {
        /// What is printed. Control characters other than `\n` and `\t` never reach the printer.
        text: String,
        /// Where each line stands.
        #[serde(default)]
        align: Align,
        /// How it looks.
        #[serde(default)]
        style: Style,
    },
    /// Cells beside each other. Left and centred cells wrap; right cells never wrap and are never cut.
    Columns {
        /// From left to right, 1 to [`CELLS_MAX`].
        cells: Vec<Cell>,
        /// How all of them look.
        #[serde(default)]
        style: Style,
    },
    /// A line across the paper.
    Rule {
        /// What it is made of.
        #[serde(default)]
        line: RuleLine,
    },
    /// Empty lines.
    Feed {
        /// 1 to [`FEED_LINES_MAX`].
        lines: u8,
    },
    /// A QR code, centred.
    Qr {
        /// What it holds, 1 to [`QR_BYTES_MAX`] bytes.
        data: String,
        /// Side of one module in dots, 2 to 12; made smaller where the paper is too narrow.
        #[serde(default = "default_qr_module_dots")]
        module_dots: u8,
        /// How much damage it survives.
        #[serde(default)]
        level: QrLevel,
    },
    /// A barcode, centred, with its content in print below it.
    Barcode {
        /// Which kind.
        symbology: Symbology,
        /// What it holds: 13 digits with the right check digit for EAN-13; printable ASCII for CODE128.
        data: String,
        /// Height of the bars in dots, 16 to 255.
        #[serde(default = "default_bar_height_dots")]
        height_dots: u8,
    },
    /// Cuts the paper.
    Cut {
        /// How far.
        #[serde(default)]
        cut: CutKind,
    },
}

/// A cell of [`Item::Columns`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How many columns it takes.
    #[serde(default)]
    pub width: Width,
    /// Where its text stands within those columns.
    #[serde(default)]
    pub align: Align,
}

/// How wide a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Width {
    /// What the other cells leave, shared evenly among all such cells.
    #[default]
    Rest,
    /// As wide as its text.
    Fit,
    /// This many columns, more where a right-aligned text needs them.
    Columns(u8),
}

/// Where text stands between the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// At the left edge.
    #[default]
    Left,
    /// In the middle.
    Center,
    /// At the right edge.
    Right,
}

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Style {
    /// Heavier strokes.
    pub bold: bool,
    /// A line below.
    pub underline: bool,
    /// Times as wide, 1 to 8.
    pub width: u8,
    /// Times as high, 1 to 8.
    pub height: u8,
}

/// What a rule is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleLine {
    /// One thin line.
    #[default]
    Single,
    /// Two thin lines.
    Double,
    /// Hyphens.
    Dashed,
}

/// Error correction of a QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QrLevel {
    /// About 7 % may be damaged.
    Low,
    /// About 15 %.
    #[default]
    Medium,
    /// About 25 %.
    Quartile,
    /// About 30 %.
    High,
}

/// Kind of barcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Symbology {
    /// GS1 EAN-13.
    Ean13,
    /// CODE128 with printable ASCII.
    Code128,
}

/// How far the paper is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutKind {
    /// All the way.
    Full,
    /// A bridge stays.
    #[default]
    Partial,
}

/// Why a ticket is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Written by a newer program.
    #[error("ticket version {version} is newer than {TICKET_VERSION}, the newest this program prints")]
    Version {
        /// The version found.
        version: u16,
    },
    /// A bound is broken. `item` counts from 0.
    #[error("item {item}: {what} is {value}, allowed is {min} to {max}")]
    OutOfRange {
        /// Which item.
        item: usize,
        /// Which of its parts.
        what: &'static str,
        /// What was found.
        value: usize,
        /// The smallest allowed.
        min: usize,
        /// The largest allowed.
        max: usize,
    },
    /// A barcode cannot hold this content.
    #[error("item {item}: {reason}")]
    Barcode {
        /// Which item.
        item: usize,
        /// Why not.
        reason: &'static str,
    },
}

impl Ticket {
    /// A ticket of the current version.
    pub fn new(items: Vec<Item>) -> Self {
        Self { version: TICKET_VERSION, items }
    }

    /// Whether every bound is kept and every barcode can be drawn. Encoding checks this by itself.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check(&self) -> Result<(), TicketError> {
        if self.version == 0 || self.version > TICKET_VERSION {
            return Err(TicketError::Version { version: self.version });
        }
        within(0, "number of items", self.items.len(), 0, ITEMS_MAX)?;
        let mut bytes = 0;
        for (at, item) in self.items.iter().enumerate() {
            bytes += item.check(at)?;
            within(at, "text of the ticket so far (bytes)", bytes, 0, TICKET_BYTES_MAX)?;
        }
        Ok(())
    }
}

impl Item {
    /// Plain text at the left.
    pub fn text(text: impl Into<String>) -> Self {
        Self::styled(text, Align::Left, Style::default())
    }

    /// Text with an alignment and a style.
    pub fn styled(text: impl Into<String>, align: Align, style: Style) -> Self {
        Self::Text { text: text.into(), align, style }
    }

    /// The most frequent line of a receipt: something at the left, an amount at the right.
    pub fn pair(left: impl Into<String>, right: impl Into<String>) -> Self {
        Self::Columns { cells: vec![Cell::rest(left), Cell::amount(right)], style: Style::default() }
    }

    /// Checks one item and returns how many bytes of text it carries.
    fn check(&self, at: usize) -> Result<usize, TicketError> {
        match self {
            Item::Text { text, style, .. } => {
                within(at, "text (bytes)", text.len(), 0, TEXT_BYTES_MAX)?;
                style.check(at)?;
                Ok(text.len())
            }
            Item::Columns { cells, style } => {
                within(at, "number of cells", cells.len(), 1, CELLS_MAX)?;
                style.check(at)?;
                for cell in cells {
                    within(at, "text of a cell (bytes)", cell.text.len(), 0, TEXT_BYTES_MAX)?;
                }
                Ok(cells.iter().map(|cell| cell.text.len()).sum())
            }
            Item::Feed { lines } => {
                within(at, "empty lines", usize::from(*lines), 1, usize::from(FEED_LINES_MAX))?;
                Ok(0)
            }
            Item::Qr { data, module_dots, .. } => {
                within(at, "QR content (bytes)", data.len(), 1, QR_BYTES_MAX)?;
                within(at, "QR module (dots)", usize::from(*module_dots), 2, 12)?;
                Ok(data.len())
            }
            Item::Barcode { symbology, data, height_dots } => {
                within(at, "bar height (dots)", usize::from(*height_dots), 16, 255)?;
                symbology.check(data).map_err(|reason| TicketError::Barcode { item: at, reason })?;
                Ok(data.len())
            }
            Item::Rule { .. } | Item::Cut { .. } => Ok(0),
        }
    }
}

impl Cell {
    /// A left-aligned cell that takes what the others leave.
    pub fn rest(text: impl Into<String>) -> Self {
        Self { text: text.into(), width: Width::Rest, align: Align::Left }
    }

    /// A right-aligned cell as wide as its text.
    pub fn amount(text: impl Into<String>) -> Self {
        Self { text: text.into(), width: Width::Fit, align: Align::Right }
    }

    /// A cell of a set width.
    pub fn columns(text: impl Into<String>, columns: u8, align: Align) -> Self {
        Self { text: text.into(), width: Width::Columns(columns), align }
    }
}

impl Style {
    /// Bold, in the normal size.
    pub const BOLD: Self = Self { bold: true, underline: false, width: 1, height: 1 };

    /// Times as wide and as high, 1 to 8 each.
    pub const fn sized(width: u8, height: u8) -> Self {
        Self { bold: false, underline: false, width, height }
    }

    /// The same style in bold.
    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    fn check(self, at: usize) -> Result<(), TicketError> {
        within(at, "text width", usize::from(self.width), 1, 8)?;
        within(at, "text height", usize::from(self.height), 1, 8)
    }
}

impl Default for Style {
    fn default() -> Self {
        Self::sized(1, 1)
    }
}

impl Symbology {
    /// Whether this kind of barcode can hold `data`.
    ///
    /// # Errors
    /// A sentence saying why it cannot.
    pub fn check(self, data: &str) -> Result<(), &'static str> {
        match self {
            Symbology::Ean13 if data.len() != 13 || !data.bytes().all(|b| b.is_ascii_digit()) => {
                Err("an EAN-13 barcode has exactly 13 digits")
            }
            Symbology::Ean13 if !has_check_digit(data.as_bytes()) => Err("the check digit of the EAN-13 barcode is wrong"),
            Symbology::Code128 if data.is_empty() || data.len() > CODE128_CHARS_MAX => {
                Err("a CODE128 barcode has 1 to 64 characters")
            }
            Symbology::Code128 if !data.bytes().all(|b| (0x20..0x7F).contains(&b)) => {
                Err("a CODE128 barcode holds printable ASCII only")
            }
            _ => Ok(()),
        }
    }
}

/// Modulo 10 with the weights 1 and 3 from the right, over the digits and the check digit together.
fn has_check_digit(digits: &[u8]) -> bool {
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(at, digit)| u32::from(digit - b'0') * if at % 2 == 0 { 1 } else { 3 }).sum();
    sum.is_multiple_of(10)
}

fn within(item: usize, what: &'static str, value: usize, min: usize, max: usize) -> Result<(), TicketError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(TicketError::OutOfRange { item, what, value, min, max }) }
}

fn default_qr_module_dots() -> u8 {
    6
}

fn default_bar_height_dots() -> u8 {
    80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(item: Item) -> String {
        Ticket::new(vec![item]).check().expect_err("must be refused").to_string()
    }

    #[test]
    fn a_ticket_survives_json_and_short_forms_read_with_defaults() {
        let ticket = Ticket::new(vec![
            Item::pair("Milk", "1.20"),
            Item::Rule { line: RuleLine::Double },
            Item::Cut { cut: CutKind::Full },
        ]);
        let json = serde_json::to_string(&ticket).unwrap();
        assert_eq!(serde_json::from_str::<Ticket>(&json).unwrap(), ticket);

        let short: Ticket =
            serde_json::from_str(r#"{"version":1,"items":[{"kind":"text","text":"Hi"},{"kind":"cut"}]}"#).unwrap();
        assert_eq!(short, Ticket::new(vec![Item::text("Hi"), Item::Cut { cut: CutKind::Partial }]));
    }

    #[test]
    fn every_bound_is_kept() {
        assert!(Ticket { version: 2, items: vec![] }.check().is_err());
        assert!(Ticket { version: 0, items: vec![] }.check().is_err());
        assert!(Ticket::new(vec![Item::Rule { line: RuleLine::Single }; ITEMS_MAX + 1]).check().is_err());
        assert!(Ticket::new(vec![Item::text("x".repeat(TEXT_BYTES_MAX)); 300]).check().is_err());
        refused(Item::text("x".repeat(TEXT_BYTES_MAX + 1)));
        refused(Item::styled("x", Align::Left, Style::sized(9, 1)));
        refused(Item::styled("x", Align::Left, Style::sized(1, 0)));
        refused(Item::Columns { cells: vec![], style: Style::default() });
        refused(Item::Feed { lines: 0 });
        refused(Item::Qr { data: String::new(), module_dots: 6, level: QrLevel::Low });
        refused(Item::Qr { data: "x".into(), module_dots: 1, level: QrLevel::Low });
    }

    #[test]
    fn a_wrong_check_digit_is_refused() {
        let ean = |data: &str| Item::Barcode { symbology: Symbology::Ean13, data: data.into(), height_dots: 60 };
        assert!(Ticket::new(vec![ean("4006381333931")]).check().is_ok());
        assert_eq!(refused(ean("4006381333930")), "item 0: the check digit of the EAN-13 barcode is wrong");
        refused(ean("400638133393"));
        refused(Item::Barcode { symbology: Symbology::Code128, data: "caf\u{e9}".into(), height_dots: 60 });
    }
}
