//! The bytes of single commands.
//!
//! Styles and QR codes are taken from the crate `escpos`, used as a byte encoder only. Drawer,
//! cut, code pages, text, CODE128 and status are our own, because the crate gets them wrong;
//! `tests/escpos_canary.rs` lists how and notices when it no longer does.

use std::cell::RefCell;
use std::rc::Rc;

use escpos::driver::Driver;
use escpos::printer::Printer;
use escpos::utils::{JustifyMode, Protocol, QRCodeCorrectionLevel, QRCodeModel, QRCodeOption, UnderlineMode};

use crate::job::ProcessId;
use crate::ticket::{Align, QrLevel};

pub(super) const LF: u8 = 0x0A;

/// `ESC @` initialise, `ESC R 0` the ASCII of the United States, `FS .` no two-byte characters:
/// models for East Asia would otherwise read two bytes of a code page as one character.
pub(super) const INITIALISE: [u8; 7] = [0x1B, b'@', 0x1B, b'R', 0, 0x1C, b'.'];

/// `GS b 1`: smooth edges of enlarged characters.
pub(super) fn smoothing() -> Vec<u8> {
    emit(|printer| printer.smoothing(true).map(drop))
}

pub(super) fn bold(on: bool) -> Vec<u8> {
    emit(|printer| printer.bold(on).map(drop))
}

pub(super) fn underline(on: bool) -> Vec<u8> {
    let mode = if on { UnderlineMode::Single } else { UnderlineMode::None };
    emit(|printer| printer.underline(mode).map(drop))
}

/// Width and height from 1 to 8, which the ticket's check has made sure of.
pub(super) fn size(width: u8, height: u8) -> Vec<u8> {
    emit(|printer| printer.size(width, height).map(drop))
}

pub(super) fn justify(align: Align) -> Vec<u8> {
    let mode = match align {
        Align::Left => JustifyMode::LEFT,
        Align::Center => JustifyMode::CENTER,
        Align::Right => JustifyMode::RIGHT,
    };
    emit(|printer| printer.justify(mode).map(drop))
}

/// A QR code of model 2. `data` is at most as long as the ticket's check allows.
pub(super) fn qr(data: &str, module_dots: u8, level: QrLevel) -> Vec<u8> {
    let level = match level {
        QrLevel::Low => QRCodeCorrectionLevel::L,
        QrLevel::Medium => QRCodeCorrectionLevel::M,
        QrLevel::Quartile => QRCodeCorrectionLevel::Q,
        QrLevel::High => QRCodeCorrectionLevel::H,
    };
    emit(|printer| printer.qrcode_option(data, QRCodeOption::new(QRCodeModel::Model2, module_dots, level)).map(drop))
}

/// `ESC t n`.
pub(super) fn code_page(number: u8) -> [u8; 3] {
    [0x1B, b't', number]
}

/// `ESC 3 n`, dots from line to line.
pub(super) fn line_spacing(dots: usize) -> [u8; 3] {
    [0x1B, b'3', u8::try_from(dots).unwrap_or(u8::MAX)]
}

/// `ESC d n`.
pub(super) fn feed_lines(lines: u8) -> [u8; 3] {
    [0x1B, b'd', lines]
}

/// `GS v 0`: the rows of a picture follow.
pub(super) fn raster_header(stride: usize, height: usize) -> [u8; 8] {
    let le = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    let ([width_low, width_high], [height_low, height_high]) = (le(stride), le(height));
    [0x1D, b'v', b'0', 0, width_low, width_high, height_low, height_high]
}

/// `GS ( H` function 48: send these four characters back when everything before is printed.
pub(super) fn request_process_id(id: ProcessId) -> Vec<u8> {
    [[0x1D, b'(', b'H', 6, 0, 48, 48].as_slice(), id.as_bytes()].concat()
}

/// Lets the crate write one command into memory. Each call starts from a fresh printer object,
/// so the crate's own state and its way of sending play no part.
fn emit(command: impl FnOnce(&mut Printer<Capture>) -> escpos::errors::Result<()>) -> Vec<u8> {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let mut printer = Printer::new(Capture(Rc::clone(&bytes)), Protocol::default(), None);
    command(&mut printer)
        .and_then(|()| printer.print().map(drop))
        .expect("arguments are checked with the ticket, and memory takes every write");
    bytes.take()
}

struct Capture(Rc<RefCell<Vec<u8>>>);

impl Driver for Capture {
    fn name(&self) -> String {
        String::from("memory")
    }

    fn write(&self, data: &[u8]) -> escpos::errors::Result<()> {
        self.0.borrow_mut().extend_from_slice(data);
        Ok(())
    }

    fn read(&self, _buffer: &mut [u8]) -> escpos::errors::Result<usize> {
        Ok(0)
    }

    fn flush(&self) -> escpos::errors::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_from_the_crate_is_right() {
        assert_eq!(smoothing(), [0x1D, b'b', 1]);
        assert_eq!(bold(true), [0x1B, b'E', 1]);
        assert_eq!(underline(true), [0x1B, b'-', 1]);
        assert_eq!(size(2, 3), [0x1D, b'!', 0x12]);
        assert_eq!(justify(Align::Right), [0x1B, b'a', 2]);
        assert_eq!(
            qr("AB", 6, QrLevel::Quartile),
            [
                [0x1D, b'(', b'k', 4, 0, 49, 65, 50, 0].as_slice(),
                &[0x1D, b'(', b'k', 3, 0, 49, 67, 6],
                &[0x1D, b'(', b'k', 3, 0, 49, 69, 50],
                &[0x1D, b'(', b'k', 5, 0, 49, 80, 48, b'A', b'B'],
                &[0x1D, b'(', b'k', 3, 0, 49, 81, 48],
            ]
            .concat()
        );
    }

    #[test]
    fn qr_content_is_counted_in_bytes() {
        let bytes = qr("é€", 4, QrLevel::Low);
        let store = [0x1D, b'(', b'k', 8, 0, 49, 80, 48, 0xC3, 0xA9, 0xE2, 0x82, 0xAC];
        assert!(bytes.windows(store.len()).any(|window| window == store));
    }
}
