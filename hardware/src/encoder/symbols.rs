//! QR codes and barcodes, sized so that they fit on the paper.

use qrcode::{EcLevel, QrCode};

use super::commands;
use crate::ticket::{QrLevel, Symbology};

/// Smallest side of a module that scanners still read from thermal paper, in dots.
const MODULE_DOTS_MIN: u8 = 2;
/// Wanted width of a narrow bar in dots.
const BAR_DOTS: u8 = 3;
/// White modules that a QR code needs on either side.
const QR_QUIET_MODULES: usize = 4;
/// White modules that a barcode needs on either side.
const BAR_QUIET_MODULES: usize = 10;

/// The commands for a QR code with modules of at most `module_dots`, or `None` if it cannot fit.
pub(super) fn qr(data: &str, module_dots: u8, level: QrLevel, paper_dots: u16) -> Option<Vec<u8>> {
    let ec_level = match level {
        QrLevel::Low => EcLevel::L,
        QrLevel::Medium => EcLevel::M,
        QrLevel::Quartile => EcLevel::Q,
        QrLevel::High => EcLevel::H,
    };
    let modules = QrCode::with_error_correction_level(data, ec_level).ok()?.width() + 2 * QR_QUIET_MODULES;
    let module_dots = largest_fitting(modules, module_dots, paper_dots)?;
    Some(commands::qr(data, module_dots, level))
}

/// The commands for a barcode with its content printed below, or `None` if it cannot fit.
pub(super) fn barcode(symbology: Symbology, data: &str, height_dots: u8, paper_dots: u16) -> Option<Vec<u8>> {
    let (bytes, modules) = match symbology {
        Symbology::Ean13 => ([[67, 13].as_slice(), data.as_bytes()].concat(), 95),
        Symbology::Code128 => code128(data, paper_dots),
    };
    let bar_dots = largest_fitting(modules + 2 * BAR_QUIET_MODULES, BAR_DOTS, paper_dots)?;
    // GS h height, GS w width of a bar, GS f font A, GS H content below, GS k.
    let setup = [0x1D, b'h', height_dots, 0x1D, b'w', bar_dots, 0x1D, b'f', 0, 0x1D, b'H', 2, 0x1D, b'k'];
    Some([setup.as_slice(), &bytes].concat())
}

/// Parameters of `GS k` for CODE128, and the symbol's modules. Code set B serves all of ASCII and
/// every printer; code set C, two digits in one character, only where B would not fit.
fn code128(data: &str, paper_dots: u16) -> (Vec<u8>, usize) {
    // Start, check and stop characters, the stop being two modules longer.
    let modules = |characters: usize| 11 * (characters + 3) + 2;
    let in_b = modules(data.len());
    let digits = data.bytes().all(|byte| byte.is_ascii_digit()) && data.len().is_multiple_of(2);
    if digits && largest_fitting(in_b + 2 * BAR_QUIET_MODULES, BAR_DOTS, paper_dots).is_none() {
        let pairs = data.as_bytes().chunks_exact(2).map(|pair| (pair[0] - b'0') * 10 + pair[1] - b'0');
        return (counted(b"{C".iter().copied().chain(pairs).collect()), modules(data.len() / 2));
    }
    // A brace introduces a code set and is doubled to stand for itself.
    let content = data.bytes().flat_map(|byte| std::iter::repeat_n(byte, if byte == b'{' { 2 } else { 1 }));
    (counted(b"{B".iter().copied().chain(content).collect()), in_b)
}

/// m = 73 and the length, which stays below 256 because the ticket bounds the content.
fn counted(content: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [[73, length].as_slice(), &content].concat()
}

fn largest_fitting(modules: usize, wanted_dots: u8, paper_dots: u16) -> Option<u8> {
    (MODULE_DOTS_MIN..=wanted_dots).rev().find(|dots| modules * usize::from(*dots) <= usize::from(paper_dots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_shrink_to_the_paper_and_give_up_when_they_cannot() {
        let size_of = |bytes: &[u8]| bytes[9 + 7];
        assert_eq!(size_of(&qr("https://example.test/r/1", 6, QrLevel::Medium, 576).unwrap()), 6);
        assert_eq!(size_of(&qr(&"x".repeat(300), 6, QrLevel::Medium, 384).unwrap()), 4);
        assert_eq!(qr(&"x".repeat(1024), 6, QrLevel::High, 288), None);
        assert_eq!(barcode(Symbology::Code128, &"X".repeat(40), 60, 384), None);
    }

    #[test]
    fn code128_escapes_braces_and_packs_digits_only_when_it_must() {
        let tail = |data: &str, paper| barcode(Symbology::Code128, data, 60, paper).unwrap()[14..].to_vec();
        assert_eq!(tail("A{1", 576), [73, 6, b'{', b'B', b'A', b'{', b'{', b'1']);
        assert_eq!(tail("1234", 576), [73, 6, b'{', b'B', b'1', b'2', b'3', b'4']);
        assert_eq!(tail(&"90".repeat(10), 384)[..5], [73, 12, b'{', b'C', 90]);
    }
}
