//! The print head: commands to black dots, and a transcript of them.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::command::Command;
use super::symbols;
use super::transcript::{Element, Transcript, Violation};
use crate::code_page::{self, CodePage};
use crate::font::{self, CellSize};
use crate::raster::Bitmap;
use crate::ticket::CutKind;

/// Dots from line to line after `ESC @`.
const DEFAULT_LINE_DOTS: usize = 30;
/// Elements on one piece of paper before it is cut off by force.
const ELEMENTS_MAX: usize = 50_000;
/// Violations kept for one piece of paper.
const VIOLATIONS_MAX: usize = 1_000;
/// Dots from one tab stop to the next.
const TAB_DOTS: usize = 8 * font::CELL_WIDTH;

/// How wide the roll is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaperWidth {
    /// 80 mm: 576 dots, 48 characters.
    #[default]
    Mm80,
    /// 58 mm: 384 dots, 32 characters.
    Mm58,
}

impl PaperWidth {
    /// Printable width in dots.
    pub fn dots(self) -> usize {
        match self {
            PaperWidth::Mm80 => 576,
            PaperWidth::Mm58 => 384,
        }
    }

    /// White at either side, so that the picture is as wide as the roll: 8 dots are 1 mm.
    fn margin_dots(self) -> usize {
        match self {
            PaperWidth::Mm80 => 32,
            PaperWidth::Mm58 => 40,
        }
    }
}

/// A piece of paper that has left the printer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// A PNG of one bit per dot, with the roll's margins.
    pub png: Vec<u8>,
    /// What is on it.
    pub transcript: Transcript,
}

impl Sheet {
    /// Writes `receipt-N.png` and `receipt-N.json`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, folder: &Path, number: u64) -> std::io::Result<()> {
        let path = |extension: &str| folder.join(format!("receipt-{number}.{extension}"));
        std::fs::write(path("png"), &self.png)?;
        std::fs::write(path("json"), serde_json::to_vec_pretty(&self.transcript)?)
    }
}

/// The paper in the printer, and what the print head has been told.
#[derive(Debug)]
pub struct Paper {
    width: PaperWidth,
    canvas: Bitmap,
    y: usize,
    line: Vec<Placed>,
    cursor: usize,
    state: State,
    elements: Vec<Element>,
    jobs: Vec<String>,
    violations: Vec<Violation>,
    full: bool,
}

/// A character waiting for the end of its line.
#[derive(Debug, Clone, Copy)]
struct Placed {
    x: usize,
    character: char,
    look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    page: &'static str,
    bold: bool,
    underline: bool,
    reverse: bool,
    width: u8,
    height: u8,
}

/// Everything `ESC @` resets.
#[derive(Debug, Clone)]
struct State {
    page: &'static CodePage,
    justify: u8,
    look: Look,
    line_dots: usize,
    bar_height: usize,
    bar_dots: usize,
    bar_text: u8,
    qr_dots: usize,
    qr_level: u8,
    qr_data: Vec<u8>,
}

impl State {
    fn new() -> Self {
        let page = &code_page::all()[0];
        let look = Look { page: page.name, bold: false, underline: false, reverse: false, width: 1, height: 1 };
        Self {
            page,
            justify: 0,
            look,
            line_dots: DEFAULT_LINE_DOTS,
            bar_height: 162,
            bar_dots: 3,
            bar_text: 0,
            qr_dots: 3,
            qr_level: 48,
            qr_data: Vec::new(),
        }
    }
}

impl Paper {
    /// An empty roll.
    pub fn new(width: PaperWidth) -> Self {
        Self {
            width,
            canvas: Bitmap::new(width.dots(), 0),
            y: 0,
            line: Vec::new(),
            cursor: 0,
            state: State::new(),
            elements: Vec::new(),
            jobs: Vec::new(),
            violations: Vec::new(),
            full: false,
        }
    }

    /// Does what a command says; a cut returns the piece that falls.
    pub fn execute(&mut self, command: Command, offset: u64) -> Option<Box<Sheet>> {
        match command {
            Command::Cut { full, feed_dots } => {
                self.feed(usize::from(feed_dots));
                let cut = if full { CutKind::Full } else { CutKind::Partial };
                return Some(self.tear(Some(cut)));
            }
            Command::ProcessId(id) => {
                self.end_line(false);
                self.jobs.push(String::from_utf8_lossy(&id).into_owned());
            }
            other => self.print(other, offset),
        }
        // The roll ends somewhere; whoever prints more than that gets a second piece.
        self.full.then(|| self.tear(None))
    }

    /// Notes something a strict printer would mind.
    pub fn violation(&mut self, offset: u64, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { offset, what });
        }
    }

    /// Whether anything is on the paper that has not left the printer.
    pub fn is_blank(&self) -> bool {
        self.elements.is_empty() && self.line.is_empty() && self.violations.is_empty()
    }

    /// Takes the piece of paper off.
    pub fn tear(&mut self, cut: Option<CutKind>) -> Box<Sheet> {
        self.end_line(false);
        self.make_room(0);
        let canvas = std::mem::replace(&mut self.canvas, Bitmap::new(self.width.dots(), 0));
        let transcript = Transcript {
            width_dots: canvas.width(),
            height_dots: canvas.height(),
            jobs: std::mem::take(&mut self.jobs),
            elements: std::mem::take(&mut self.elements),
            cut,
            violations: std::mem::take(&mut self.violations),
        };
        self.y = 0;
        self.full = false;
        let margin = self.width.margin_dots();
        Box::new(Sheet { png: canvas.to_png(margin, margin), transcript })
    }

    fn print(&mut self, command: Command, offset: u64) {
        match command {
            Command::Text(bytes) => bytes.into_iter().for_each(|byte| self.character(byte, offset)),
            Command::LineFeed => self.end_line(true),
            Command::Tab => self.cursor = (self.cursor / TAB_DOTS + 1) * TAB_DOTS,
            Command::AbsolutePosition(dots) => self.cursor = usize::from(dots).min(self.width.dots()),
            Command::FeedLines(lines) => {
                self.end_line(false);
                self.feed(usize::from(lines) * self.state.line_dots);
            }
            Command::FeedDots(dots) => {
                self.end_line(false);
                self.feed(usize::from(dots));
            }
            Command::Barcode { system, data } => self.barcode(system, &data, offset),
            Command::QrPrint => self.qr(offset),
            Command::Raster { mode, stride, data } => self.image(mode, usize::from(stride), &data, offset),
            Command::CodePage(number) => match code_page::by_epson_number(number) {
                Some(page) => {
                    self.state.page = page;
                    self.state.look.page = page.name;
                }
                None => self.violation(offset, format!("code page {number} is not known")),
            },
            Command::Initialise => {
                self.end_line(false);
                self.state = State::new();
            }
            setting => self.state.set(setting),
        }
    }

    fn character(&mut self, byte: u8, offset: u64) {
        let character = self.state.page.character(byte).unwrap_or_else(|| {
            self.violation(offset, format!("byte {byte:02X} is not on page {}", self.state.page.name));
            char::REPLACEMENT_CHARACTER
        });
        let look = self.state.look;
        let width = CellSize::enlarged(look.width, look.height).width;
        if self.cursor + width > self.width.dots() {
            self.end_line(true);
        }
        self.line.push(Placed { x: self.cursor, character, look });
        self.cursor += width;
    }

    /// Puts the waiting characters on paper. An empty line takes space only when it was ended by
    /// a line feed.
    fn end_line(&mut self, feed_if_empty: bool) {
        let line = std::mem::take(&mut self.line);
        let used = std::mem::take(&mut self.cursor);
        if line.is_empty() {
            if feed_if_empty {
                self.feed(self.state.line_dots);
            }
            return;
        }
        let tallest = line.iter().map(|placed| placed.look.height).max().unwrap_or(1);
        let height = self.state.line_dots.max(font::CELL_HEIGHT * usize::from(tallest));
        if !self.make_room(height) {
            return;
        }
        let left = self.left_of(used);
        // The baseline is common, so smaller characters stand lower in the line.
        let top = |look: Look| self.y + font::CELL_HEIGHT * usize::from(tallest - look.height);
        let (canvas, y) = (&mut self.canvas, self.y);
        for placed in &line {
            draw(canvas, left + placed.x, top(placed.look), placed);
        }
        for run in line.chunk_by(|a, b| a.look == b.look) {
            let Look { page, bold, underline, reverse, width, height } = run[0].look;
            let text = run.iter().map(|placed| placed.character).collect();
            let x = left + run[0].x;
            self.elements.push(Element::Text { y, x, text, page, bold, underline, reverse, width, height });
        }
        self.feed(height);
    }

    fn qr(&mut self, offset: u64) {
        self.end_line(false);
        let Some(code) = symbols::qr(&self.state.qr_data, self.state.qr_level) else {
            return self.violation(offset, String::from("GS ( k: no QR code can hold this"));
        };
        let dots = self.state.qr_dots;
        let side = code.side * dots;
        if side > self.width.dots() {
            return self.violation(offset, format!("GS ( k: the QR code is {side} dots wide"));
        }
        if !self.make_room(side) {
            return;
        }
        let (x, y) = (self.left_of(side), self.y);
        for (at, _) in code.black.iter().enumerate().filter(|(_, black)| **black) {
            self.canvas.fill(x + at % code.side * dots, y + at / code.side * dots, dots, dots);
        }
        let data = String::from_utf8_lossy(&self.state.qr_data).into_owned();
        self.elements.push(Element::Qr { y, x, side_dots: side, module_dots: dots, data });
        self.feed(side);
    }

    fn barcode(&mut self, system: u8, data: &[u8], offset: u64) {
        self.end_line(false);
        let Some(code) = symbols::bars(system, data) else {
            return self.violation(offset, format!("GS k: system {system} cannot hold this"));
        };
        let (bar_dots, bar_height) = (self.state.bar_dots, self.state.bar_height);
        let width = code.bars.len() * bar_dots;
        if width > self.width.dots() {
            return self.violation(offset, format!("GS k: the barcode is {width} dots wide"));
        }
        let (above, below) = (self.state.bar_text & 1 == 1, self.state.bar_text & 2 == 2);
        if above {
            self.bar_text(&code.text);
        }
        if !self.make_room(bar_height) {
            return;
        }
        let (x, y) = (self.left_of(width), self.y);
        for (at, _) in code.bars.iter().enumerate().filter(|(_, bar)| **bar == 1) {
            self.canvas.fill(x + at * bar_dots, y, bar_dots, bar_height);
        }
        let data = code.text.clone();
        let element = Element::Barcode { y, x, width_dots: width, height_dots: bar_height, symbology: code.kind, data };
        self.elements.push(element);
        self.feed(bar_height);
        if below {
            self.bar_text(&code.text);
        }
    }

    /// The content of a barcode, in print. It belongs to the barcode's element.
    fn bar_text(&mut self, text: &str) {
        let cell = CellSize::enlarged(1, 1);
        let height = cell.height + 4;
        if self.make_room(height) {
            let left = self.left_of(text.chars().count() * cell.width);
            for (at, character) in text.chars().enumerate() {
                font::draw(&mut self.canvas, left + at * cell.width, self.y + 2, character, cell, false);
            }
            self.feed(height);
        }
    }

    fn image(&mut self, mode: u8, stride: usize, data: &[u8], offset: u64) {
        self.end_line(false);
        let (scale_x, scale_y) = (1 + usize::from(mode & 1), 1 + usize::from(mode >> 1));
        let (width, rows) = (stride * 8 * scale_x, data.len().checked_div(stride).unwrap_or(0));
        if width > self.width.dots() {
            self.violation(offset, format!("GS v 0: the image is {width} dots wide"));
        }
        if rows == 0 || !self.make_room(rows * scale_y) {
            return;
        }
        let (x, y) = (self.left_of(width), self.y);
        for at in 0..rows * stride * 8 {
            if data[at / 8] & (0x80 >> (at % 8)) != 0 {
                let (column, row) = (at % (stride * 8), at / (stride * 8));
                self.canvas.fill(x + column * scale_x, y + row * scale_y, scale_x, scale_y);
            }
        }
        let sha256 = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
        self.elements.push(Element::Image { y, x, width_dots: width, height_dots: rows * scale_y, sha256 });
        self.feed(rows * scale_y);
    }

    /// Where something of this width begins under the current justification.
    fn left_of(&self, width: usize) -> usize {
        let space = self.width.dots().saturating_sub(width);
        match self.state.justify {
            1 => space / 2,
            2 => space,
            _ => 0,
        }
    }

    fn feed(&mut self, dots: usize) {
        if self.make_room(dots) {
            self.y += dots;
        }
    }

    /// Makes sure that so many dots are on the roll below the current position.
    fn make_room(&mut self, dots: usize) -> bool {
        let room = self.elements.len() < ELEMENTS_MAX && self.canvas.grow_to((self.y + dots).max(1));
        self.full |= !room;
        room
    }
}

fn draw(canvas: &mut Bitmap, x: usize, y: usize, placed: &Placed) {
    let cell = CellSize::enlarged(placed.look.width, placed.look.height);
    if placed.character != ' ' {
        font::draw(canvas, x, y, placed.character, cell, placed.look.bold);
    }
    if placed.look.underline {
        canvas.fill(x, y + cell.height - 2, cell.width, 2);
    }
    if placed.look.reverse {
        canvas.invert(x, y, cell.width, cell.height);
    }
}

impl State {
    fn set(&mut self, setting: Command) {
        match setting {
            Command::Justify(n) => self.justify = n,
            Command::Bold(on) => self.look.bold = on,
            Command::Underline(n) => self.look.underline = n > 0,
            Command::Reverse(on) => self.look.reverse = on,
            Command::Size(n) => {
                self.look.width = (n >> 4 & 7) + 1;
                self.look.height = (n & 7) + 1;
            }
            Command::PrintMode(n) => {
                self.look.bold = n & 0x08 != 0;
                self.look.height = 1 + u8::from(n & 0x10 != 0);
                self.look.width = 1 + u8::from(n & 0x20 != 0);
                self.look.underline = n & 0x80 != 0;
            }
            Command::LineSpacing(dots) => self.line_dots = dots.map_or(DEFAULT_LINE_DOTS, usize::from),
            Command::BarcodeHeight(n) => self.bar_height = usize::from(n.max(1)),
            Command::BarcodeWidth(n) => self.bar_dots = usize::from(n.clamp(1, 6)),
            Command::BarcodeText(n) => self.bar_text = n,
            Command::QrSize(n) => self.qr_dots = usize::from(n.clamp(1, 16)),
            Command::QrLevel(n) => self.qr_level = n,
            Command::QrStore(data) => self.qr_data = data,
            // Carriage returns mean nothing beside line feeds; the rest is not the print head's.
            _ => {}
        }
    }
}
