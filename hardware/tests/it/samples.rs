//! Tickets as a shop would print them.

use hardware::ticket::{Align, Cell, CutKind, Item, QrLevel, RuleLine, Style, Symbology, Ticket};

fn center(text: &str) -> Item {
    Item::styled(text, Align::Center, Style::default())
}

fn heading(text: &str) -> Item {
    Item::styled(text, Align::Center, Style::sized(2, 2).bold())
}

fn bold_pair(left: &str, right: &str, style: Style) -> Item {
    Item::Columns { cells: vec![Cell::rest(left), Cell::amount(right)], style }
}

fn rule(line: RuleLine) -> Item {
    Item::Rule { line }
}

/// A sale of a few things, paid in cash.
pub(crate) fn shop() -> Ticket {
    Ticket::new(vec![
        heading("EVERTILL\nCORNER SHOP"),
        center("12 Market Street, Leeds LS1 6DT\nVAT GB 123 4567 89"),
        Item::Feed { lines: 1 },
        Item::pair("Till 2  ·  Maya", "2025-11-20 14:03"),
        rule(RuleLine::Double),
        Item::pair("WHITE HANGING HEART T-LIGHT HOLDER", "£15.30"),
        Item::text("  6 × £2.55"),
        Item::pair("Crème fraîche 200 g", "£1.40"),
        Item::pair("Bananas, loose", "£0.97"),
        Item::text("  1.086 kg × £0.89/kg"),
        Item::pair("Garden set “Provence”, table with six folding chairs and parasol, beech, oiled", "£1,249.00"),
        Item::pair("  10 % off", "-£124.90"),
        rule(RuleLine::Single),
        Item::pair("Subtotal", "£1,141.77"),
        bold_pair("TOTAL", "£1,141.77", Style::sized(2, 2).bold()),
        Item::Feed { lines: 1 },
        Item::pair("Cash", "£1,150.00"),
        bold_pair("Change", "£8.23", Style::BOLD),
        rule(RuleLine::Dashed),
        Item::Columns {
            cells: vec![Cell::rest("VAT"), Cell::columns("Net", 10, Align::Right), Cell::columns("Tax", 9, Align::Right)],
            style: Style { underline: true, ..Style::default() },
        },
        vat_row("20 %", "£949.50", "£189.90"),
        vat_row("0 %", "£2.37", "£0.00"),
        rule(RuleLine::Single),
        Item::Feed { lines: 1 },
        Item::Qr { data: "https://receipts.example.test/r/7Q2M-000142".into(), module_dots: 6, level: QrLevel::Medium },
        Item::Feed { lines: 1 },
        Item::Barcode { symbology: Symbology::Code128, data: "T2-000142".into(), height_dots: 64 },
        Item::Feed { lines: 1 },
        center("Thank you, and see you soon!"),
        Item::Cut { cut: CutKind::Partial },
    ])
}

fn vat_row(rate: &str, net: &str, tax: &str) -> Item {
    Item::Columns {
        cells: vec![Cell::rest(rate), Cell::columns(net, 10, Align::Right), Cell::columns(tax, 9, Align::Right)],
        style: Style::default(),
    }
}

/// The same shop in Germany, with an EAN-13.
pub(crate) fn german() -> Ticket {
    Ticket::new(vec![
        heading("Bäckerei Größe"),
        center("Königstraße 5 · 70173 Stuttgart"),
        rule(RuleLine::Single),
        Item::pair("Roggenbrötchen", "0,85 €"),
        Item::pair("Donauwellen nach Großmutters Art, gut gekühlt", "3,40 €"),
        bold_pair("SUMME", "4,25 €", Style::sized(1, 2).bold()),
        Item::Barcode { symbology: Symbology::Ean13, data: "4006381333931".into(), height_dots: 60 },
        Item::Cut { cut: CutKind::Full },
    ])
}

/// Lines in scripts for which there is no code page, and some for which there is no glyph either.
pub(crate) fn many_scripts() -> Ticket {
    Ticket::new(vec![
        heading("Café ☕ 東京"),
        center("Τιμή · Цена · Cena · Fiyatı"),
        rule(RuleLine::Single),
        Item::pair("緑茶 500ml", "¥1,280"),
        Item::pair("Pizza 🍕 Margherita", "€9.50"),
        Item::pair("Πορτοκάλια", "€2.10"),
        Item::pair("Хлеб ржаной", "₽89"),
        Item::pair("Phở bò tái", "₫65,000"),
        Item::styled("≥ 3 for ½ price ♥", Align::Right, Style::BOLD),
        Item::styled("שלום", Align::Right, Style::default()),
        bold_pair("合計", "¥1,280", Style::sized(2, 2)),
        Item::Cut { cut: CutKind::Partial },
    ])
}
