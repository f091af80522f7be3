//! A ticket set in columns: where lines break and cells stand, before any printer language.
//!
//! Width is counted in display columns, so that a Japanese character takes two and a combining
//! accent none. Amounts are sacred: a right-aligned cell is never wrapped or shortened while the
//! paper is wide enough for it; what stands left of it gives way.

use unicode_normalization::UnicodeNormalization;
use unicode_width::UnicodeWidthChar;

use crate::ticket::{Align, Cell, CutKind, Item, QrLevel, RuleLine, Style, Symbology, Ticket, Width};

/// Columns below which a left cell is no longer squeezed but gets lines of its own.
const LEFT_CELL_MIN: usize = 8;
/// Spaces between cells.
const GAP: usize = 1;

/// One step down the paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// One printed line. Its text is clean: no control characters, not wider than the paper.
    Text {
        /// The characters; spaces already stand where cells need them.
        text: String,
        /// Where the line stands.
        align: Align,
        /// How it looks.
        style: Style,
    },
    /// Empty lines.
    Feed(u8),
    /// A QR code.
    Qr {
        /// Its content.
        data: String,
        /// The wanted side of one module in dots.
        module_dots: u8,
        /// Its error correction.
        level: QrLevel,
    },
    /// A barcode.
    Barcode {
        /// Its kind.
        symbology: Symbology,
        /// Its content.
        data: String,
        /// Height of its bars in dots.
        height_dots: u8,
    },
    /// A cut.
    Cut(CutKind),
}

/// The rows of a ticket, and how many control characters were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// Control characters that were in the ticket's text.
    pub control_characters: usize,
}

/// Sets a ticket on paper of `columns` characters. The ticket should have passed [`Ticket::check`].
pub fn lay_out(ticket: &Ticket, columns: u8) -> Layout {
    let mut layout = Layout { rows: Vec::new(), control_characters: 0 };
    for item in &ticket.items {
        layout.add(item, usize::from(columns));
    }
    layout
}

impl Layout {
    fn add(&mut self, item: &Item, columns: usize) {
        match item {
            Item::Text { text, align, style } => {
                let text = self.clean(text);
                let lines = wrap(&text, columns / usize::from(style.width.max(1)));
                self.push_lines(lines, *align, *style);
            }
            Item::Columns { cells, style } => {
                let cells = cells.iter().map(|cell| Cell { text: self.clean(&cell.text), ..cell.clone() }).collect();
                let lines = set_cells(cells, columns / usize::from(style.width.max(1)));
                self.push_lines(lines, Align::Left, *style);
            }
            Item::Rule { line } => self.push_lines(vec![rule(*line, columns)], Align::Left, Style::default()),
            Item::Feed { lines } => self.rows.push(Row::Feed(*lines)),
            Item::Qr { data, module_dots, level } => {
                self.rows.push(Row::Qr { data: data.clone(), module_dots: *module_dots, level: *level });
            }
            Item::Barcode { symbology, data, height_dots } => {
                self.rows.push(Row::Barcode { symbology: *symbology, data: data.clone(), height_dots: *height_dots });
            }
            Item::Cut { cut } => self.rows.push(Row::Cut(*cut)),
        }
    }

    fn push_lines(&mut self, lines: Vec<String>, align: Align, style: Style) {
        let rows = lines.into_iter().map(|text| Row::Text { text: text.trim_end().replace(NO_BREAK_SPACE, " "), align, style });
        self.rows.extend(rows);
    }

    fn clean(&mut self, text: &str) -> String {
        let (clean, controls) = clean(text);
        self.control_characters += controls;
        clean
    }
}

const NO_BREAK_SPACE: char = '\u{a0}';

/// Normalises text and takes out what must not or need not reach a printer.
///
/// Control characters would be commands to the printer; they are counted. Invisible formatting
/// characters are dropped, and every kind of space becomes one that all code pages have.
pub(crate) fn clean(text: &str) -> (String, usize) {
    let mut controls = 0;
    let mut clean = String::with_capacity(text.len());
    for character in text.replace("\r\n", "\n").nfc() {
        match character {
            '\n' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\t' | '\u{2000}'..='\u{2006}' | '\u{2008}'..='\u{200a}' | '\u{205f}' => clean.push(' '),
            NO_BREAK_SPACE | '\u{2007}' | '\u{202f}' => clean.push(NO_BREAK_SPACE),
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {}
            '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => {}
            control if control.is_control() => controls += 1,
            other => clean.push(other),
        }
    }
    (clean, controls)
}

/// Display columns of one clean character.
pub(crate) fn char_columns(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// Display columns of clean text.
pub(crate) fn columns_of(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Breaks text into lines of at most `columns`, at line ends, between words, and within a word
/// only where it is longer than a line. Spaces that start a paragraph stay; those at a break go.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    text.split('\n').flat_map(|paragraph| wrap_paragraph(paragraph, columns.max(2))).collect()
}

fn wrap_paragraph(paragraph: &str, columns: usize) -> Vec<String> {
    let chars: Vec<char> = paragraph.chars().collect();
    let mut lines = Vec::new();
    let mut start = 0;
    loop {
        let end = fitting(&chars[start..], columns) + start;
        if end == chars.len() {
            lines.push(chars[start..].iter().collect());
            return lines;
        }
        let has_text = |at: &usize| chars[start..*at].iter().any(|c| *c != ' ');
        let at = (start + 1..=end).rev().find(|at| may_break(&chars, *at)).filter(has_text).unwrap_or(end);
        let line: String = chars[start..at].iter().collect();
        lines.push(line.trim_end_matches(' ').to_owned());
        start = at + chars[at..].iter().take_while(|c| **c == ' ').count();
        if start == chars.len() {
            return lines;
        }
    }
}

/// How many characters from the start fit; at least one.
fn fitting(chars: &[char], columns: usize) -> usize {
    let mut width = 0;
    chars
        .iter()
        .position(|character| {
            width += char_columns(*character);
            width > columns
        })
        .map_or(chars.len(), |at| at.max(1))
}

/// Whether a line may end before the character at `at`: around spaces, after a hyphen between
/// longer parts of a word, and around characters of scripts that put no spaces between words.
fn may_break(chars: &[char], at: usize) -> bool {
    let (before, after) = (chars[at - 1], chars[at]);
    let hyphenated = before == '-'
        && after.is_alphabetic()
        && at >= 3
        && chars[at - 3..at - 1].iter().all(|character| character.is_alphanumeric());
    before == ' ' || after == ' ' || hyphenated || char_columns(before) == 2 || char_columns(after) == 2
}

/// Puts cells beside each other, or below each other when the left ones would become too narrow.
fn set_cells(cells: Vec<Cell>, columns: usize) -> Vec<String> {
    match cell_widths(&cells, columns) {
        Some(widths) => side_by_side(&cells, &widths),
        None => stacked(&cells, columns),
    }
}

fn natural_width(cell: &Cell) -> usize {
    cell.text.split('\n').map(columns_of).max().unwrap_or(0)
}

/// The width of each cell, or `None` when they do not fit beside each other.
fn cell_widths(cells: &[Cell], columns: usize) -> Option<Vec<usize>> {
    let gaps = GAP * (cells.len() - 1);
    let natural: Vec<usize> = cells.iter().map(natural_width).collect();
    let fixed = |cell: &Cell, natural: usize| match (cell.width, cell.align) {
        (Width::Rest, _) => None,
        (Width::Fit, _) => Some(natural),
        (Width::Columns(n), Align::Right) => Some(natural.max(usize::from(n))),
        (Width::Columns(n), _) => Some(usize::from(n).max(2)),
    };
    let widths: Vec<Option<usize>> = cells.iter().zip(&natural).map(|(cell, natural)| fixed(cell, *natural)).collect();
    let taken: usize = widths.iter().flatten().sum::<usize>() + gaps;
    let left = columns.checked_sub(taken)?;
    let rest_count = widths.iter().filter(|width| width.is_none()).count();
    if rest_count == 0 {
        return Some(widths.into_iter().flatten().collect());
    }
    let mut extra = left % rest_count;
    let widths: Vec<usize> = widths
        .into_iter()
        .map(|width| {
            width.unwrap_or_else(|| {
                let one_more = usize::from(extra > 0);
                extra -= one_more;
                left / rest_count + one_more
            })
        })
        .collect();
    let cramped = |((cell, width), natural): ((&Cell, &usize), &usize)| match cell.align {
        Align::Right => width < natural,
        _ => width < natural && *width < LEFT_CELL_MIN,
    };
    let fits = !cells.iter().zip(&widths).zip(&natural).any(cramped);
    fits.then_some(widths)
}

fn side_by_side(cells: &[Cell], widths: &[usize]) -> Vec<String> {
    let set: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| cell_lines(cell, *width)).collect();
    let height = set.iter().map(Vec::len).max().unwrap_or(0);
    (0..height)
        .map(|at| {
            let parts: Vec<String> = set
                .iter()
                .zip(cells)
                .zip(widths)
                .map(|((lines, cell), width)| pad(lines.get(at).map_or("", String::as_str), *width, cell.align))
                .collect();
            parts.join(&" ".repeat(GAP))
        })
        .collect()
}

fn cell_lines(cell: &Cell, width: usize) -> Vec<String> {
    match cell.align {
        Align::Right => cell.text.split('\n').map(str::to_owned).collect(),
        _ => wrap(&cell.text, width),
    }
}

/// Left cells over the whole width, then the right cells together at the right edge. Only an
/// amount wider than the paper itself is broken, and then no digit of it is lost.
fn stacked(cells: &[Cell], columns: usize) -> Vec<String> {
    let (right, left): (Vec<&Cell>, Vec<&Cell>) = cells.iter().partition(|cell| cell.align == Align::Right);
    let mut lines: Vec<String> = left
        .iter()
        .filter(|cell| !cell.text.is_empty())
        .flat_map(|cell| wrap(&cell.text, columns).into_iter().map(|line| pad(&line, columns, cell.align)))
        .collect();
    let together = right.iter().map(|cell| cell.text.replace('\n', " ")).collect::<Vec<_>>().join(" ");
    if columns_of(&together) <= columns {
        lines.push(pad(&together, columns, Align::Right));
    } else {
        let each = right.iter().flat_map(|cell| wrap(&cell.text, columns));
        lines.extend(each.map(|line| pad(&line, columns, Align::Right)));
    }
    lines
}

/// Fills up with spaces. Text wider than `width` stays as it is.
pub(crate) fn pad(text: &str, width: usize, align: Align) -> String {
    let space = width.saturating_sub(columns_of(text));
    let before = match align {
        Align::Left => 0,
        Align::Center => space / 2,
        Align::Right => space,
    };
    format!("{}{text}{}", " ".repeat(before), " ".repeat(space - before))
}

fn rule(line: RuleLine, columns: usize) -> String {
    let piece = match line {
        RuleLine::Single => "─",
        RuleLine::Double => "═",
        RuleLine::Dashed => "-",
    };
    piece.repeat(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(items: Vec<Item>, columns: u8, expected: Expect) {
        let lines: Vec<String> = lay_out(&Ticket::new(items), columns)
            .rows
            .into_iter()
            .map(|row| match row {
                Row::Text { text, align, style } => {
                    format!("|{}|", pad(&text, usize::from(columns / style.width), align))
                }
                other => format!("{other:?}"),
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn text_wraps_between_words_and_keeps_indents() {
        check(
            vec![Item::text("  two large loaves of bread\nand Donaudampfschifffahrt"), Item::text("")],
            12,
            expect![[r#"
                |  two large |
                |loaves of   |
                |bread       |
                |and         |
                |Donaudampfsc|
                |hifffahrt   |
                |            |"#]],
        );
    }

    #[test]
    fn wide_characters_take_two_columns_and_break_anywhere() {
        check(
            vec![Item::text("日本語のレシート"), Item::styled("cafe\u{301}", Align::Right, Style::default())],
            9,
            expect![[r#"
                |日本語の |
                |レシート |
                |     café|"#]],
        );
    }

    #[test]
    fn long_names_wrap_and_amounts_stay_whole() {
        check(
            vec![
                Item::pair("WHITE HANGING HEART T-LIGHT HOLDER", "1,234.56"),
                Item::pair("Milk", "1,234,567,890.00"),
                Item::pair("Milk and honey", "999,999,999,999.00"),
                Item::pair("x", "1234567890123456789012345"),
            ],
            20,
            expect![[r#"
                |WHITE       1,234.56|
                |HANGING             |
                |HEART               |
                |T-LIGHT             |
                |HOLDER              |
                |Milk                |
                |    1,234,567,890.00|
                |Milk and honey      |
                |  999,999,999,999.00|
                |x                   |
                |12345678901234567890|
                |               12345|"#]],
        );
    }

    #[test]
    fn tables_keep_their_columns() {
        let row = |a: &str, b: &str, c: &str| Item::Columns {
            cells: vec![Cell::columns(a, 4, Align::Right), Cell::rest(b), Cell::columns(c, 8, Align::Right)],
            style: Style::default(),
        };
        check(
            vec![row("2", "Tea", "3.00"), row("12345", "Coffee beans, whole", "1.00")],
            28,
            expect![[r#"
                |   2 Tea                3.00|
                |12345 Coffee beans,     1.00|
                |      whole                 |"#]],
        );
    }

    #[test]
    fn double_width_text_has_half_the_columns() {
        check(
            vec![Item::Columns { cells: vec![Cell::rest("TOTAL"), Cell::amount("14.50")], style: Style::sized(2, 2) }],
            32,
            expect!["|TOTAL      14.50|"],
        );
    }

    #[test]
    fn controls_are_counted_and_gone() {
        let (text, controls) = clean("a\u{1b}p\u{0}\u{7f}\u{9b}b\tc\u{200b}\u{202f}d\r\ne");
        assert_eq!(text, "apb c\u{a0}d\ne");
        assert_eq!(controls, 4);
    }
}
