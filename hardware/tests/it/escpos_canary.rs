//! Defects of the crate `escpos` 0.20.1 that keep parts of it out of our encoder. Each test
//! passes while the defect is there; one that fails means that the crate has mended it, and that
//! our own bytes in its place may go.

use std::cell::RefCell;
use std::rc::Rc;

use escpos::driver::Driver;
use escpos::errors::Result;
use escpos::printer::Printer;
use escpos::utils::{
    CashDrawer, GS1DataBar2DOption, GS1DataBar2DType, GS1DataBar2DWidth, PageCode, Protocol, RealTimeStatusRequest,
};

#[derive(Clone, Default)]
struct Capture(Rc<RefCell<Vec<u8>>>);

impl Driver for Capture {
    fn name(&self) -> String {
        String::from("memory")
    }

    fn write(&self, data: &[u8]) -> Result<()> {
        self.0.borrow_mut().extend_from_slice(data);
        Ok(())
    }

    fn read(&self, _buffer: &mut [u8]) -> Result<usize> {
        Ok(0)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn bytes(print: impl FnOnce(&mut Printer<Capture>) -> Result<()>) -> Vec<u8> {
    let capture = Capture::default();
    let mut printer = Printer::new(capture.clone(), Protocol::default(), None);
    print(&mut printer).and_then(|()| printer.print().map(drop)).expect("the crate accepts this");
    capture.0.take()
}

fn on_page_858(text: &str) -> Vec<u8> {
    bytes(|printer| printer.page_code(PageCode::PC858)?.write(text).map(drop))[3..].to_vec()
}

#[test]
fn d1_the_drawer_pulse_lacks_its_times_and_eats_what_follows() {
    assert_eq!(bytes(|printer| printer.cash_drawer(CashDrawer::Pin2).map(drop)), [0x1B, b'p', 0]);
}

#[test]
fn d2_the_partial_cut_is_a_full_one() {
    assert_eq!(bytes(|printer| printer.partial_cut().map(drop)), [0x1D, b'V', 65, 1]);
}

#[test]
fn d3_the_page_with_the_euro_sign_has_wrong_entries() {
    assert_eq!(on_page_858("®"), [0xA8], "A8 prints an inverted question mark");
    assert_eq!(on_page_858("Ô"), [0xE3], "E3 prints Ò");
}

#[test]
fn d4_a_character_that_is_not_on_the_page_leaks_as_utf_8() {
    assert_eq!(on_page_858("中"), [0xE4, 0xB8, 0xAD]);
}

#[test]
fn d5_the_reset_is_another_command() {
    assert_eq!(bytes(|printer| printer.reset().map(drop)), [0x1B, b'?', 0x0A, 0]);
}

#[test]
fn d6_the_status_question_has_a_byte_too_many() {
    assert_eq!(
        bytes(|printer| printer.real_time_status(RealTimeStatusRequest::Printer)?.send_status().map(drop)),
        [0x10, 0x04, 1, 0]
    );
}

#[test]
fn d7_gs1_databar_declares_three_bytes_and_sends_four() {
    let option = GS1DataBar2DOption::new(GS1DataBar2DWidth::S, GS1DataBar2DType::Stacked);
    let sent = bytes(|printer| printer.gs1_databar_2d_option("0400638133393", option).map(drop));
    let maximum_width = [0x1D, b'(', b'k', 3, 0, 51, 71, 0, 0];
    assert!(sent.windows(maximum_width.len()).any(|window| window == maximum_width), "{sent:02X?}");
}

#[test]
fn d8_control_bytes_in_text_become_commands() {
    assert_eq!(bytes(|printer| printer.write("\u{1b}p").map(drop)), [0x1B, b'p']);
}

#[test]
fn d9_a_wrong_check_digit_is_accepted() {
    let sent = bytes(|printer| printer.ean13("4006381333930").map(drop));
    assert!(sent.ends_with(b"4006381333930\0"), "{sent:02X?}");
}
