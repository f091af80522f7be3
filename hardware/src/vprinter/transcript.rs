//! What is on a piece of paper, as data: the JSON beside each picture.

use serde::Serialize;

use crate::ticket::CutKind;

/// One cut piece of paper. Positions are in dots from the upper left of the printable area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transcript {
    /// Printable width.
    pub width_dots: usize,
    /// Length.
    pub height_dots: usize,
    /// Process ids of the jobs that were printed up to their end on this piece.
    pub jobs: Vec<String>,
    /// From top to bottom.
    pub elements: Vec<Element>,
    /// How it was cut; `None` when it was torn off at the end of a file.
    pub cut: Option<CutKind>,
    /// What a strict printer would mind.
    pub violations: Vec<Violation>,
}

/// Something printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields say what the printers' manuals say")]
pub enum Element {
    /// Characters of one style.
    Text {
        y: usize,
        x: usize,
        text: String,
        page: &'static str,
        bold: bool,
        underline: bool,
        reverse: bool,
        width: u8,
        height: u8,
    },
    /// A QR code.
    Qr { y: usize, x: usize, side_dots: usize, module_dots: usize, data: String },
    /// A barcode; `kind` is taken, so the symbology is named in full.
    Barcode { y: usize, x: usize, width_dots: usize, height_dots: usize, symbology: &'static str, data: String },
    /// A picture.
    Image { y: usize, x: usize, width_dots: usize, height_dots: usize, sha256: String },
}

/// Something a strict printer would mind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where in the byte stream.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl Transcript {
    /// The printed lines of text, without the spaces that only place them.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<(usize, String)> = Vec::new();
        for element in &self.elements {
            if let Element::Text { y, text, .. } = element {
                match lines.last_mut() {
                    Some((last, line)) if last == y => line.push_str(text),
                    _ => lines.push((*y, text.clone())),
                }
            }
        }
        lines.into_iter().map(|(_, line)| line.trim().to_owned()).collect()
    }
}
