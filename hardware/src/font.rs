//! The bundled font, DejaVu Sans Mono, drawn in one bit per dot on a printer's character grid.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use fontdue::{Font, FontSettings};

use crate::layout::char_columns;
use crate::raster::Bitmap;

/// Width of a character of font A in dots.
pub(crate) const CELL_WIDTH: usize = 12;
/// Height of a character of font A in dots.
pub(crate) const CELL_HEIGHT: usize = 24;

/// Size at which a character is one cell wide, in dots per em.
const EM_DOTS: f32 = 20.0;
/// Dots from the top of a cell to the baseline.
const BASELINE: i32 = 19;
/// Coverage of a dot, out of 255, from which it is black.
const BLACK_FROM: u16 = 112;

static REGULAR: LazyLock<Font> = LazyLock::new(|| load(include_bytes!("../assets/DejaVuSansMono.ttf")));
static BOLD: LazyLock<Font> = LazyLock::new(|| load(include_bytes!("../assets/DejaVuSansMono-Bold.ttf")));

fn load(bytes: &[u8]) -> Font {
    Font::from_bytes(bytes, FontSettings::default()).expect("the bundled font is well formed")
}

/// The size of one column and row of text, in dots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CellSize {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl CellSize {
    /// Font A, enlarged.
    pub(crate) fn enlarged(width: u8, height: u8) -> Self {
        Self { width: CELL_WIDTH * usize::from(width), height: CELL_HEIGHT * usize::from(height) }
    }
}

/// Draws one character with its cell's upper left corner at `x`, `y`. `false` when the font has
/// no picture of it; then a box with its code point is drawn, which a person can look up.
pub(crate) fn draw(bitmap: &mut Bitmap, x: usize, y: usize, character: char, cell: CellSize, bold: bool) -> bool {
    let font = if bold { &*BOLD } else { &*REGULAR };
    if !font.has_glyph(character) {
        draw_code_point(bitmap, x, y, character, cell);
        return false;
    }
    for (column, row) in glyph(font, character, cell, bold).iter() {
        bitmap.set(x + usize::from(*column), y + usize::from(*row));
    }
    true
}

/// The black dots of a character in its cell.
type Glyph = Arc<Vec<(u16, u16)>>;

/// Glyphs kept; a receipt uses a hundred or so.
const GLYPHS_MAX: usize = 4_096;
static GLYPHS: Mutex<BTreeMap<(char, bool, CellSize), Glyph>> = Mutex::new(BTreeMap::new());

fn glyph(font: &Font, character: char, cell: CellSize, bold: bool) -> Glyph {
    let mut glyphs = GLYPHS.lock().unwrap_or_else(PoisonError::into_inner);
    if glyphs.len() >= GLYPHS_MAX {
        glyphs.clear();
    }
    Arc::clone(glyphs.entry((character, bold, cell)).or_insert_with(|| Arc::new(rasterise(font, character, cell))))
}

/// Draws a character at the larger of its two scales and averages down along the other side.
fn rasterise(font: &Font, character: char, cell: CellSize) -> Vec<(u16, u16)> {
    let scale = (cell.width / CELL_WIDTH).max(cell.height / CELL_HEIGHT).max(1);
    let (metrics, coverage) = font.rasterize(character, EM_DOTS * scale as f32);
    let shrink_x = (CELL_WIDTH * scale) as f32 / cell.width as f32;
    let shrink_y = (CELL_HEIGHT * scale) as f32 / cell.height as f32;
    let top = BASELINE * scale as i32 - metrics.height as i32 - metrics.ymin;
    let mut dots = Vec::new();
    for row in 0..cell.height + cell.height / 8 {
        for column in 0..cell.width + cell.width / 8 {
            let left = column as f32 * shrink_x - metrics.xmin as f32;
            let upper = row as f32 * shrink_y - top as f32;
            if average(&coverage, metrics.width, metrics.height, left, upper, shrink_x, shrink_y) >= BLACK_FROM {
                dots.push((column as u16, row as u16));
            }
        }
    }
    dots
}

/// Mean coverage of the source dots that one printed dot stands for.
fn average(coverage: &[u8], width: usize, height: usize, left: f32, upper: f32, shrink_x: f32, shrink_y: f32) -> u16 {
    let across = shrink_x.round().max(1.0) as i32;
    let down = shrink_y.round().max(1.0) as i32;
    let (left, upper) = (left.floor() as i32, upper.floor() as i32);
    let mut sum = 0_u32;
    for y in (upper..upper + down).filter(|y| (0..height as i32).contains(y)) {
        for x in (left..left + across).filter(|x| (0..width as i32).contains(x)) {
            sum += u32::from(coverage[y as usize * width + x as usize]);
        }
    }
    (sum / (across * down) as u32) as u16
}

/// A frame with the code point in small hexadecimal digits, two rows of them.
fn draw_code_point(bitmap: &mut Bitmap, x: usize, y: usize, character: char, cell: CellSize) {
    let width = cell.width * char_columns(character).max(1);
    let dot = (cell.height / CELL_HEIGHT).min(cell.width / CELL_WIDTH).max(1);
    let (left, top, right, bottom) = (x + dot, y + 2 * dot, x + width - 2 * dot, y + cell.height - 3 * dot);
    bitmap.fill(left, top, right - left, dot);
    bitmap.fill(left, bottom, right - left + dot, dot);
    bitmap.fill(left, top, dot, bottom - top);
    bitmap.fill(right, top, dot, bottom - top);

    let digits = format!("{:04X}", u32::from(character));
    let digits = if digits.len() % 2 == 0 { digits } else { format!("0{digits}") };
    let per_row = digits.len() / 2;
    // Three rows of two digits stand better in a narrow box than two rows of three.
    let per_row = if width < 2 * cell.width && per_row > 2 { 2 } else { per_row };
    let rows = digits.len().div_ceil(per_row);
    let (digit_width, digit_height) = (4 * dot, 6 * dot);
    let start_x = x + (width - per_row * digit_width + dot) / 2;
    let start_y = y + (cell.height - rows * digit_height) / 2;
    for (at, digit) in digits.bytes().enumerate() {
        let (column, row) = (at % per_row, at / per_row);
        draw_digit(bitmap, start_x + column * digit_width, start_y + row * digit_height, digit, dot);
    }
}

/// Hexadecimal digits of 3 by 5 dots, one octal digit per row.
const DIGITS: [u16; 16] = [
    0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71122, 0o75757, 0o75717, 0o25755, 0o65656, 0o34443, 0o65556,
    0o74647, 0o74644,
];

fn draw_digit(bitmap: &mut Bitmap, x: usize, y: usize, digit: u8, dot: usize) {
    let value = char::from(digit).to_digit(16).unwrap_or(0) as usize;
    for row in 0..5 {
        for column in 0..3 {
            if DIGITS[value] >> (14 - (row * 3 + column)) & 1 == 1 {
                bitmap.fill(x + column * dot, y + row * dot, dot, dot);
            }
        }
    }
}
