//! The encoder's output, byte by byte.

use expect_test::{Expect, expect};
use hardware::job::Warning;
use hardware::ticket::{Align, CutKind, Item, Style, Ticket};
use hardware::{JobId, RenderedJob, encoder, profile};

const JOB: JobId = JobId::from_bytes([7; 16]);

fn encode(items: Vec<Item>, profile_id: &str) -> RenderedJob {
    encoder::encode(&Ticket::new(items), profile::find(profile_id).unwrap(), JOB).unwrap()
}

/// Bytes for people: printable ones as they are, others in hexadecimal, one line per line feed or command.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            0x1B..=0x1D => text.push_str(&format!("\n<{byte:02X}>")),
            0x0A => text.push_str("<0A>"),
            b'<' | 0..0x20 | 0x7F.. => text.push_str(&format!("<{byte:02X}>")),
            _ => text.push(char::from(*byte)),
        }
    }
    text.trim_start().to_owned()
}

fn check(items: Vec<Item>, profile_id: &str, expected: Expect) {
    let job = encode(items, profile_id);
    assert_eq!(job.warnings, []);
    expected.assert_eq(&readable(&job.bytes));
}

#[test]
fn a_small_receipt_on_80_mm() {
    check(
        vec![
            Item::styled("CORNER SHOP", Align::Center, Style::sized(2, 2).bold()),
            Item::pair("Crème fraîche", "€1.40"),
            Item::styled("Thank you", Align::Center, Style { underline: true, ..Style::default() }),
            Item::Feed { lines: 2 },
            Item::Cut { cut: CutKind::Partial },
        ],
        "epson-80",
        expect![[r#"
            <1B>@
            <1B>R<00>
            <1C>.
            <1D>b<01>
            <1B>t<00>
            <1B>3<1E>
            <1B>a<01>
            <1B>36
            <1B>E<01>
            <1D>!<11>CORNER SHOP<0A>
            <1B>a<00>
            <1B>3<1E>
            <1B>E<00>
            <1D>!<00>Cr<8A>me fra<8C>che                              
            <1B>t<13><D5>1.40<0A>
            <1B>a<01>
            <1B>-<01>Thank you<0A>
            <1B>d<02>
            <1D>(H<06><00>00$H2B
            <1D>VB<00>"#]],
    );
}

#[test]
fn a_small_receipt_on_58_mm() {
    check(
        vec![Item::pair("Tea", "1.00"), Item::Cut { cut: CutKind::Full }],
        "generic-58",
        expect![[r#"
            <1B>@
            <1B>R<00>
            <1C>.
            <1B>t<00>
            <1B>3<1E>Tea                         1.00<0A>
            <1B>d<04>
            <1D>V<00>"#]],
    );
}

#[test]
fn the_shop_receipt_is_pinned() {
    let job = encoder::encode(&super::samples::shop(), profile::find("epson-80").unwrap(), JOB).unwrap();
    assert_eq!(job.warnings, []);
    expect![[r#"
        <1B>@
        <1B>R<00>
        <1C>.
        <1D>b<01>
        <1B>t<00>
        <1B>3<1E>
        <1B>a<01>
        <1B>36
        <1B>E<01>
        <1D>!<11>EVERTILL<0A>CORNER SHOP<0A>
        <1B>3<1E>
        <1B>E<00>
        <1D>!<00>12 Market Street, Leeds LS1 6DT<0A>VAT GB 123 4567 89<0A>
        <1B>d<01>
        <1B>a<00>Till 2  <FA>  Maya                 2025-11-20 14:03<0A><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><CD><0A>WHITE HANGING HEART T-LIGHT HOLDER        <9C>15.30<0A>  6 
        <1B>t<13><9E> <9C>2.55<0A>Cr<8A>me fra<8C>che 200 g                        <9C>1.40<0A>Bananas, loose                             <9C>0.97<0A>  1.086 kg <9E> <9C>0.89/kg<0A>Garden set 
        <1B>t<10><93>Provence<94>, table with six  <A3>1,249.00<0A>folding chairs and parasol, beech,<0A>oiled<0A>  10 % off                              -<A3>124.90<0A>
        <1B>t<00><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><0A>Subtotal                               <9C>1,141.77<0A>
        <1B>36
        <1B>E<01>
        <1D>!<11>TOTAL          <9C>1,141.77<0A>
        <1B>3<1E>
        <1B>d<01>
        <1B>E<00>
        <1D>!<00>Cash                                   <9C>1,150.00<0A>
        <1B>E<01>Change                                     <9C>8.23<0A>
        <1B>E<00>------------------------------------------------<0A>
        <1B>-<01>VAT                                Net       Tax<0A>
        <1B>-<00>20 %                           <9C>949.50   <9C>189.90<0A>0 %                              <9C>2.37     <9C>0.00<0A><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><C4><0A>
        <1B>d<01>
        <1B>a<01>
        <1D>(k<04><00>1A2<00>
        <1D>(k<03><00>1C<06>
        <1D>(k<03><00>1E1
        <1D>(k.<00>1P0https://receipts.example.test/r/7Q2M-000142
        <1D>(k<03><00>1Q0
        <1B>d<01>
        <1D>h@
        <1D>w<03>
        <1D>f<00>
        <1D>H<02>
        <1D>kI<0B>{BT2-000142
        <1B>d<01>Thank you, and see you soon!<0A>
        <1D>(H<06><00>00$H2B
        <1D>VB<00>"#]].assert_eq(&readable(&job.bytes));
}

#[test]
fn a_character_without_a_page_makes_its_line_a_picture_and_no_other() {
    let job = encode(vec![Item::text("plain"), Item::text("ten ≠ 10 ☺"), Item::text("plain again")], "epson-80");
    assert_eq!(job.warnings, [], "the bundled font has these");
    let raster = job.bytes.windows(4).filter(|window| window == b"\x1dv0\0").count();
    assert_eq!(raster, 1);
    assert!(readable(&job.bytes).contains("plain again<0A>"));
}

#[test]
fn what_the_paper_cannot_show_faithfully_is_said() {
    let job = encode(
        vec![
            Item::text("茶 \u{1b}@\u{7}"),
            Item::text("مرحبا"),
            Item::Barcode { symbology: hardware::ticket::Symbology::Code128, data: "X".repeat(60), height_dots: 60 },
        ],
        "generic-58",
    );
    let has = |warning: Warning| assert!(job.warnings.contains(&warning), "{warning} is missing in {:?}", job.warnings);
    has(Warning::ControlCharacters { count: 2 });
    has(Warning::NoGlyph { character: '茶' });
    has(Warning::NotShaped { text: "مرحبا".into() });
    has(Warning::SymbolTooWide { symbol: "barcode" });
    assert!(readable(&job.bytes).contains(&"X".repeat(32)), "its content is printed instead");
}

#[test]
fn a_refused_ticket_says_which_item() {
    let ticket = Ticket::new(vec![Item::text("ok"), Item::Feed { lines: 0 }]);
    let error = encoder::encode(&ticket, profile::find("epson-80").unwrap(), JOB).unwrap_err();
    assert_eq!(error.kind(), hardware::ErrorKind::InvalidDocument);
    assert_eq!(error.0.to_string(), "item 1: empty lines is 0, allowed is 1 to 32");
}

#[test]
fn plain_text_shows_the_same_lines() {
    let ticket = Ticket::new(vec![
        Item::styled("SHOP", Align::Center, Style::sized(2, 1)),
        Item::pair("Tea", "1.00"),
        Item::Feed { lines: 1 },
        Item::Qr { data: "https://example.test/1".into(), module_dots: 4, level: Default::default() },
        Item::Cut { cut: CutKind::Full },
    ]);
    expect![[r#"
           SHOP
        Tea             1.00

        [https://example.test/1]
    "#]]
    .assert_eq(&encoder::plain_text(&ticket, 20).unwrap());
}
