//! From a ticket to the paper of the virtual printer and back to its text.

use hardware::layout::{Row, lay_out};
use hardware::ticket::{Align, CutKind, Item, Style, Ticket};
use hardware::vprinter::{Element, PaperWidth, Rendering, render};
use hardware::{JobId, encoder, profile};
use proptest::prelude::*;

use super::samples;

fn print(ticket: &Ticket, profile_id: &str, width: PaperWidth) -> Rendering {
    let job = encoder::encode(ticket, profile::find(profile_id).unwrap(), JobId::from_bytes([1; 16])).unwrap();
    render(&job.bytes, width)
}

fn text_lines(ticket: &Ticket, columns: u8) -> Vec<String> {
    let rows = lay_out(ticket, columns).rows.into_iter();
    rows.filter_map(|row| match row {
        Row::Text { text, .. } if !text.is_empty() => Some(text.trim().to_owned()),
        _ => None,
    })
    .collect()
}

#[test]
fn the_text_comes_back_and_nothing_is_minded() {
    for (ticket, profile_id, width, columns) in [
        (samples::shop(), "epson-80", PaperWidth::Mm80, 48),
        (samples::shop(), "generic-58", PaperWidth::Mm58, 32),
        (samples::german(), "epson-80", PaperWidth::Mm80, 48),
        (samples::german(), "generic-58", PaperWidth::Mm58, 32),
    ] {
        let paper = print(&ticket, profile_id, width);
        let [sheet] = &paper.sheets[..] else { panic!("one receipt on {profile_id}") };
        assert_eq!(sheet.transcript.lines(), text_lines(&ticket, columns), "{profile_id}");
        assert_eq!(sheet.transcript.violations, [], "{profile_id}");
        assert_eq!(sheet.transcript.width_dots, width.dots());
        assert!(paper.pulses.is_empty());
    }
}

#[test]
fn symbols_and_cut_are_in_the_transcript() {
    let sheet = print(&samples::shop(), "epson-80", PaperWidth::Mm80).sheets.remove(0);
    assert_eq!(sheet.transcript.cut, Some(CutKind::Partial));
    assert_eq!(sheet.transcript.jobs, [JobId::from_bytes([1; 16]).process_id().to_string()]);
    let symbols: Vec<&str> = sheet
        .transcript
        .elements
        .iter()
        .filter_map(|element| match element {
            Element::Qr { data, .. } | Element::Barcode { data, .. } => Some(data.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(symbols, ["https://receipts.example.test/r/7Q2M-000142", "T2-000142"]);
}

#[test]
fn a_product_named_like_a_command_prints_and_kicks_nothing() {
    let names = ["\u{1b}p\u{0}22", "\u{1b}@", "\u{10}\u{14}\u{1}\u{0}\u{1}", "\u{1d}V\u{1}", "\u{9b}31m"];
    let ticket = Ticket::new(names.iter().map(|name| Item::pair(*name, "1.00")).collect());
    let paper = print(&ticket, "epson-80", PaperWidth::Mm80);
    assert!(paper.pulses.is_empty());
    let [sheet] = &paper.sheets[..] else { panic!("no cut in between") };
    let names: Vec<String> = sheet.transcript.lines().iter().map(|line| line.replace("1.00", "").trim().to_owned()).collect();
    assert_eq!(names, ["p22", "@", "", "V", "31m"]);
    assert_eq!(sheet.transcript.violations, []);
}

#[test]
fn lines_without_a_code_page_are_pictures_on_the_paper() {
    let ticket = samples::many_scripts();
    for (profile_id, width) in [("epson-80", PaperWidth::Mm80), ("generic-58", PaperWidth::Mm58)] {
        let sheet = print(&ticket, profile_id, width).sheets.remove(0);
        let images = sheet.transcript.elements.iter().filter(|element| matches!(element, Element::Image { .. })).count();
        let texts = sheet.transcript.lines();
        assert!(images >= 5, "{images} pictures on {profile_id}");
        assert!(!texts.iter().any(|line| line.contains('?')), "{texts:?}");
        assert_eq!(sheet.transcript.violations, [], "{profile_id}");
    }
}

#[test]
fn an_invoice_of_a_thousand_lines_comes_out_whole() {
    let mut items: Vec<Item> = (0..1_000).map(|n| Item::pair(format!("Item {n}"), format!("{n}.00"))).collect();
    items.push(Item::Cut { cut: CutKind::Full });
    let paper = print(&Ticket::new(items), "generic-58", PaperWidth::Mm58);
    let [sheet] = &paper.sheets[..] else { panic!("one receipt") };
    assert_eq!(sheet.transcript.lines().len(), 1_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a shop types as a name or a note: every character is on the paper, as text or in
    /// a picture, a careful printer minds nothing, and the drawer stays shut.
    #[test]
    fn any_text_prints_cleanly(name in ".{0,120}", note in "[ -~£€é\\x00-\\x20]{0,80}", amount in "[0-9]{1,40}", size in 1_u8..=8) {
        let ticket = Ticket::new(vec![
            Item::pair(name, amount.clone()),
            Item::styled(note, Align::Right, Style::sized(size, 9 - size)),
            Item::pair("check", amount),
        ]);
        for (profile_id, width, columns) in [("epson-80", PaperWidth::Mm80, 48), ("generic-58", PaperWidth::Mm58, 32)] {
            let paper = print(&ticket, profile_id, width);
            prop_assert!(paper.pulses.is_empty());
            prop_assert_eq!(paper.violations().next(), None);
            prop_assert_eq!(paper.sheets.len(), 1);
            let widest = lay_out(&ticket, columns).rows.into_iter().map(|row| match row {
                Row::Text { text, style, .. } => unicode_columns(&text) * usize::from(style.width),
                _ => 0,
            }).max();
            prop_assert!(widest <= Some(usize::from(columns)), "{widest:?}");
        }
    }
}

fn unicode_columns(text: &str) -> usize {
    text.chars().map(|character| unicode_width::UnicodeWidthChar::width(character).unwrap_or(0)).sum()
}
