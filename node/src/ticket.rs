//! A receipt as a print document.

use domain::receipt::Receipt;
use hardware::ticket::{Align, Cell, CutKind, Item, RuleLine, Style, Ticket};

/// Longest text that is put on one line item, in bytes; what is longer is cut at a character.
const TEXT_BYTES_MAX: usize = 200;

/// Sets a receipt out for paper.
pub fn ticket(receipt: &Receipt) -> Ticket {
    let mut items: Vec<Item> = receipt.header.iter().map(|line| centred(line, Style::default())).collect();
    items.push(centred(&receipt.store_name, Style::sized(1, 2).bold()));
    items.extend(receipt.address.iter().map(|line| centred(line, Style::default())));
    items.push(Item::Feed { lines: 1 });
    if let Some(copy) = receipt.copy {
        items.push(centred(&format!("COPY {copy}"), Style::sized(2, 2).bold()));
    }
    if receipt.is_refund {
        items.push(centred("REFUND", Style::sized(2, 2).bold()));
    }
    items.push(Item::pair(receipt.number.as_str(), receipt.at.as_str()));
    items.push(Item::text(cut(&receipt.cashier)));
    if let Some(original) = &receipt.original_number {
        items.push(Item::text(format!("Refund of {}", cut(original))));
    }
    if let Some(reason) = &receipt.reason {
        items.push(Item::text(cut(reason)));
    }
    items.push(Item::Rule { line: RuleLine::Single });
    for line in &receipt.lines {
        items.push(Item::pair(cut(&line.name), line.amount.as_str()));
        if let Some(detail) = &line.detail {
            items.push(Item::text(format!("  {detail}")));
        }
    }
    items.push(Item::Rule { line: RuleLine::Single });
    items.push(Item::Columns {
        cells: vec![Cell::rest("TOTAL"), Cell::amount(receipt.total.as_str())],
        style: Style::sized(1, 2).bold(),
    });
    for payment in &receipt.payments {
        let word = if receipt.is_refund { "Paid out" } else { "Cash" };
        items.push(Item::pair(word, payment.handed_over.as_str()));
        if let Some(change) = &payment.change {
            items.push(Item::pair("Change", change.as_str()));
        }
    }
    items.push(Item::Feed { lines: 1 });
    let tax = if receipt.tax_included { "included" } else { "added" };
    for [rate, net, amount] in &receipt.taxes {
        items.push(Item::pair(format!("Tax {rate} {tax}, net {net}"), amount.as_str()));
    }
    if !receipt.footer.is_empty() {
        items.push(Item::Feed { lines: 1 });
        items.extend(receipt.footer.iter().map(|line| centred(line, Style::default())));
    }
    if let Some(copy) = receipt.copy {
        items.push(centred(&format!("COPY {copy}"), Style::sized(2, 2).bold()));
    }
    items.push(Item::Feed { lines: 1 });
    items.push(Item::Cut { cut: CutKind::Partial });
    Ticket::new(items)
}

fn centred(text: &str, style: Style) -> Item {
    Item::styled(cut(text), Align::Center, style)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
