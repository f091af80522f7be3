//! From a ticket to ESC/POS bytes for one profile, or to plain text.
//!
//! Text goes out in the profile's code pages. A line with a character that none of them has is
//! drawn with the bundled font and sent as a picture of that line, so nothing turns into a
//! question mark. Bytes of commands come from this module and from `commands` only: what a
//! ticket says is clean text by then (see [`crate::layout`]) and cannot become a command.

mod commands;
mod symbols;

use sha2::{Digest, Sha256};

use crate::code_page::CodePage;
use crate::font::{self, CellSize};
use crate::job::{EncodeError, JobId, RenderedJob, Warning};
use crate::layout::{self, Row, char_columns, columns_of, lay_out};
use crate::profile::{AckSupport, Profile};
use crate::raster::Bitmap;
use crate::ticket::{Align, CutKind, Style, Ticket, TicketError};

/// White dots below each line of text.
const LINE_GAP_DOTS: usize = 6;
/// Warnings kept per job; more of the same tell nothing new.
const WARNINGS_MAX: usize = 64;

/// Renders a ticket for one printer.
///
/// # Errors
/// When the ticket breaks a bound of [`Ticket::check`]. Anything that can be printed in some
/// lesser way is printed so, with a [`Warning`].
pub fn encode(ticket: &Ticket, profile: &Profile, job: JobId) -> Result<RenderedJob, EncodeError> {
    ticket.check()?;
    let layout = lay_out(ticket, profile.columns);
    let process_id = (profile.ack == AckSupport::ProcessId).then(|| job.process_id());

    let mut encoder = Encoder::new(profile);
    if layout.control_characters > 0 {
        encoder.warn(Warning::ControlCharacters { count: layout.control_characters });
    }
    let (rows, last_cut) = match layout.rows.split_last() {
        Some((Row::Cut(cut), rows)) => (rows, Some(*cut)),
        _ => (layout.rows.as_slice(), None),
    };
    for row in rows {
        encoder.row(row);
    }
    if last_cut.is_some() {
        encoder.feed(profile.cut.feed_lines);
    }
    // Before the cut, so that the answer vouches for every printed line and the paper that
    // falls carries the job's id.
    if let Some(id) = process_id {
        encoder.out.extend(commands::request_process_id(id));
    }
    if let Some(cut) = last_cut {
        encoder.cut(cut);
    }

    let sha256 = Sha256::digest(&encoder.out).into();
    Ok(RenderedJob { job, bytes: encoder.out, sha256, process_id, warnings: encoder.warnings })
}

/// The same ticket as text lines, for a screen or an e-mail. Symbols show their content.
///
/// # Errors
/// When the ticket breaks a bound of [`Ticket::check`].
pub fn plain_text(ticket: &Ticket, columns: u8) -> Result<String, TicketError> {
    ticket.check()?;
    let mut text = String::new();
    for row in lay_out(ticket, columns).rows {
        match row {
            Row::Text { text: line, align, style } => {
                text.push_str(layout::pad(&line, usize::from(columns / style.width), align).trim_end());
            }
            Row::Feed(lines) => text.push_str(&"\n".repeat(usize::from(lines) - 1)),
            Row::Qr { data, .. } | Row::Barcode { data, .. } => text.push_str(&format!("[{}]", layout::clean(&data).0)),
            Row::Cut(_) => continue,
        }
        text.push('\n');
    }
    Ok(text)
}

/// The bytes so far, and the state the printer is in after them.
struct Encoder<'a> {
    profile: &'a Profile,
    pages: Vec<(u8, &'static CodePage)>,
    page: usize,
    style: Style,
    align: Align,
    line_dots: usize,
    out: Vec<u8>,
    warnings: Vec<Warning>,
}

impl<'a> Encoder<'a> {
    /// Puts the printer into a known state, whatever the last job left.
    fn new(profile: &'a Profile) -> Self {
        let mut encoder = Self {
            profile,
            pages: profile.pages().collect(),
            page: 0,
            style: Style::default(),
            align: Align::Left,
            line_dots: font::CELL_HEIGHT + LINE_GAP_DOTS,
            out: Vec::new(),
            warnings: Vec::new(),
        };
        encoder.out.extend(commands::INITIALISE);
        if profile.smoothing {
            encoder.out.extend(commands::smoothing());
        }
        if let Some((number, _)) = encoder.pages.first() {
            encoder.out.extend(commands::code_page(*number));
        }
        encoder.out.extend(commands::line_spacing(encoder.line_dots));
        encoder
    }

    fn row(&mut self, row: &Row) {
        match row {
            Row::Text { text, align, style } => self.text_line(text, *align, *style),
            Row::Feed(lines) => self.feed(*lines),
            Row::Qr { data, module_dots, level } => match symbols::qr(data, *module_dots, *level, self.profile.width_dots) {
                Some(bytes) => self.symbol(bytes),
                None => self.symbol_as_text("QR code", data),
            },
            Row::Barcode { symbology, data, height_dots } => {
                match symbols::barcode(*symbology, data, *height_dots, self.profile.width_dots) {
                    Some(bytes) => self.symbol(bytes),
                    None => self.symbol_as_text("barcode", data),
                }
            }
            Row::Cut(cut) => {
                self.feed(self.profile.cut.feed_lines);
                self.cut(*cut);
            }
        }
    }

    fn text_line(&mut self, text: &str, align: Align, style: Style) {
        self.set_align(align);
        self.set_line_dots(font::CELL_HEIGHT * usize::from(style.height) + LINE_GAP_DOTS);
        match self.in_code_pages(text) {
            Some(runs) => {
                self.set_style(style);
                for (page, bytes) in runs {
                    self.set_page(page);
                    self.out.extend(bytes);
                }
                self.out.push(commands::LF);
            }
            None => self.picture_of_line(text, style),
        }
    }

    /// Splits a line into runs of one code page each, staying on a page as long as it serves.
    /// `None` when a character is on no page.
    fn in_code_pages(&self, text: &str) -> Option<Vec<(usize, Vec<u8>)>> {
        let mut runs: Vec<(usize, Vec<u8>)> = vec![(self.page, Vec::new())];
        for character in text.chars() {
            let (page, bytes) = runs.last_mut()?;
            if let Some(byte) = self.pages.get(*page).and_then(|(_, table)| table.byte(character)) {
                bytes.push(byte);
                continue;
            }
            let found = self.pages.iter().enumerate().find_map(|(at, (_, table))| Some((at, table.byte(character)?)));
            let (page, byte) = found?;
            runs.push((page, vec![byte]));
        }
        runs.retain(|(_, bytes)| !bytes.is_empty());
        Some(runs)
    }

    /// Draws a line as the printer would have set it and sends it as a raster image.
    fn picture_of_line(&mut self, text: &str, style: Style) {
        let cell = CellSize::enlarged(style.width, style.height);
        let mut picture = Bitmap::new(columns_of(text) * cell.width, self.line_dots);
        let mut x = 0_usize;
        for character in text.chars() {
            let columns = char_columns(character);
            // A combining mark is drawn over the character before it.
            let at = if columns == 0 { x.saturating_sub(cell.width) } else { x };
            if character != ' ' && !font::draw(&mut picture, at, 0, character, cell, style.bold) {
                self.warn(Warning::NoGlyph { character });
            }
            x += columns * cell.width;
        }
        if style.underline {
            picture.fill(0, cell.height - 2, x, 2);
        }
        if text.chars().any(is_right_to_left) {
            self.warn(Warning::NotShaped { text: text.to_owned() });
        }
        self.out.extend(commands::raster_header(picture.stride(), picture.height()));
        self.out.extend_from_slice(picture.bytes());
    }

    fn symbol(&mut self, bytes: Vec<u8>) {
        self.set_align(Align::Center);
        self.out.extend(bytes);
    }

    fn symbol_as_text(&mut self, symbol: &'static str, data: &str) {
        self.warn(Warning::SymbolTooWide { symbol });
        let item = crate::ticket::Item::styled(data, Align::Center, Style::default());
        for row in lay_out(&Ticket::new(vec![item]), self.profile.columns).rows {
            self.row(&row);
        }
    }

    fn feed(&mut self, lines: u8) {
        if lines > 0 {
            self.set_line_dots(font::CELL_HEIGHT + LINE_GAP_DOTS);
            self.out.extend(commands::feed_lines(lines));
        }
    }

    fn cut(&mut self, cut: CutKind) {
        self.out.extend(match cut {
            CutKind::Full => self.profile.cut.full,
            CutKind::Partial => self.profile.cut.partial,
        });
    }

    fn set_align(&mut self, align: Align) {
        if self.align != align {
            self.align = align;
            self.out.extend(commands::justify(align));
        }
    }

    fn set_style(&mut self, style: Style) {
        if self.style.bold != style.bold {
            self.out.extend(commands::bold(style.bold));
        }
        if self.style.underline != style.underline {
            self.out.extend(commands::underline(style.underline));
        }
        if (self.style.width, self.style.height) != (style.width, style.height) {
            self.out.extend(commands::size(style.width, style.height));
        }
        self.style = style;
    }

    fn set_line_dots(&mut self, dots: usize) {
        if self.line_dots != dots {
            self.line_dots = dots;
            self.out.extend(commands::line_spacing(dots));
        }
    }

    fn set_page(&mut self, page: usize) {
        if self.page != page {
            self.page = page;
            self.out.extend(commands::code_page(self.pages[page].0));
        }
    }

    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Hebrew, Arabic, Syriac, Thaana, N'Ko and their presentation forms.
fn is_right_to_left(character: char) -> bool {
    matches!(character, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}
