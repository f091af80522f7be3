//! QR codes and barcodes drawn by encoders of other makers, so that the paper is judged by their
//! reading of the standards and not by ours.

use barcoders::sym::codabar::Codabar;
use barcoders::sym::code39::Code39;
use barcoders::sym::code93::Code93;
use barcoders::sym::code128::Code128;
use barcoders::sym::ean8::EAN8;
use barcoders::sym::ean13::EAN13;
use barcoders::sym::tf::TF;
use qrcode::{Color, EcLevel, QrCode};

/// A square of modules, row by row, `true` for black.
pub(super) struct QrModules {
    pub(super) side: usize,
    pub(super) black: Vec<bool>,
}

/// The modules of a QR code; `level` as `GS ( k` counts it, 48 to 51.
pub(super) fn qr(data: &[u8], level: u8) -> Option<QrModules> {
    let level = match level {
        49 => EcLevel::M,
        50 => EcLevel::Q,
        51 => EcLevel::H,
        _ => EcLevel::L,
    };
    let code = QrCode::with_error_correction_level(data, level).ok()?;
    Some(QrModules { side: code.width(), black: code.to_colors().into_iter().map(|color| color == Color::Dark).collect() })
}

/// A barcode as narrow bars, 1 for black, and what stands below it.
pub(super) struct Bars {
    pub(super) kind: &'static str,
    pub(super) text: String,
    pub(super) bars: Vec<u8>,
}

/// The bars for `GS k`, by the system's number in function B. `None` when the data does not fit the system.
pub(super) fn bars(system: u8, data: &[u8]) -> Option<Bars> {
    let printable = data.iter().all(|byte| (0x20..0x7F).contains(byte));
    let text = printable.then(|| String::from_utf8_lossy(data).into_owned());
    let (kind, text, bars) = match system {
        65 => {
            let text = text?;
            let bars = EAN13::new(format!("0{text}")).ok()?.encode();
            ("upc_a", text, bars)
        }
        67 => {
            let text = text?;
            let bars = EAN13::new(&text).ok()?.encode();
            ("ean13", text, bars)
        }
        68 => {
            let text = text?;
            let bars = EAN8::new(&text).ok()?.encode();
            ("ean8", text, bars)
        }
        69 => {
            let text = text?;
            let bars = Code39::new(text.trim_matches('*')).ok()?.encode();
            ("code39", text, bars)
        }
        70 => {
            let text = text?;
            let bars = TF::interleaved(&text).ok()?.encode();
            ("itf", text, bars)
        }
        71 => {
            let text = text?;
            let bars = Codabar::new(&text).ok()?.encode();
            ("codabar", text, bars)
        }
        72 => {
            let text = text?;
            let bars = Code93::new(&text).ok()?.encode();
            ("code93", text, bars)
        }
        73 => {
            let (content, text) = code128_content(data)?;
            let bars = Code128::new(content).ok()?.encode();
            ("code128", text, bars)
        }
        _ => return None,
    };
    Some(Bars { kind, text, bars })
}

/// Translates the code set marks of `GS k` into those of the drawing crate: `{A`, `{B`, `{C` choose
/// a set, `{1` to `{4` are function characters, `{S` shifts, `{{` is a brace; in set C a byte is two digits.
fn code128_content(data: &[u8]) -> Option<(String, String)> {
    let (mut content, mut text) = (String::new(), String::new());
    let mut digits = false;
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => match bytes.next()? {
                b'A' => (content, digits) = (content + "\u{c0}", false),
                b'B' => (content, digits) = (content + "\u{181}", false),
                b'C' => (content, digits) = (content + "\u{106}", true),
                mark @ b'1'..=b'4' => content.extend(char::from_u32(0x179 + u32::from(mark - b'1'))),
                b'S' => content.push('\u{17d}'),
                b'{' => {
                    content.push('{');
                    text.push('{');
                }
                _ => return None,
            },
            pair @ 0..100 if digits => {
                content.push_str(&format!("{pair:02}"));
                text.push_str(&format!("{pair:02}"));
            }
            _ if digits || byte >= 0x80 => return None,
            _ => {
                content.push(char::from(byte));
                text.push(if byte.is_ascii_control() { ' ' } else { char::from(byte) });
            }
        }
    }
    Some((content, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_sets_are_read() {
        let text = |data: &[u8]| bars(73, data).map(|bars| bars.text);
        assert_eq!(text(b"{BAb{{1"), Some("Ab{1".into()));
        assert_eq!(text(b"{C\x0c\x22"), Some("1234".into()));
        assert_eq!(text(b"{BAB{C\x0c"), Some("AB12".into()));
        assert_eq!(text(b"no set"), None);
        assert_eq!(text(b"{B\xe9"), None);
        assert_eq!(bars(73, b"{C\x0c\x22").unwrap().bars.len(), 11 * 5 + 2);
        assert_eq!(bars(67, b"4006381333930").map(|bars| bars.text), None);
        assert_eq!(bars(67, b"4006381333931").unwrap().bars.len(), 95);
    }
}
