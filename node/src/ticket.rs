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

/// The closing of a shift, or an addendum to it, as words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShiftPaper {
    /// The store's letterhead.
    pub header: Vec<String>,
    /// The store.
    pub store_name: String,
    /// What it is, in large letters.
    pub heading: String,
    /// Which one.
    pub title: String,
    /// The till of the shift.
    pub till: String,
    /// The day it counts for.
    pub business_day: String,
    /// What is to be said before the rows.
    pub notes: Vec<String>,
    /// Words and amounts.
    pub rows: Vec<[String; 2]>,
    /// What it comes to.
    pub total: [String; 2],
}

/// Sets a shift out for paper.
pub fn shift(paper: &ShiftPaper) -> Ticket {
    let mut items: Vec<Item> = paper.header.iter().map(|line| centred(line, Style::default())).collect();
    items.push(centred(&paper.store_name, Style::sized(1, 2).bold()));
    items.push(Item::Feed { lines: 1 });
    items.push(centred(&paper.heading, Style::sized(2, 2).bold()));
    items.push(Item::text(cut(&paper.title)));
    items.push(Item::pair(cut(&paper.till), paper.business_day.as_str()));
    items.extend(paper.notes.iter().map(|note| Item::text(cut(note))));
    items.push(Item::Rule { line: RuleLine::Single });
    items.extend(paper.rows.iter().map(|[words, amount]| Item::pair(words.as_str(), amount.as_str())));
    items.push(Item::Rule { line: RuleLine::Single });
    let [words, amount] = &paper.total;
    items.push(Item::Columns {
        cells: vec![Cell::rest(words.as_str()), Cell::amount(amount.as_str())],
        style: Style::sized(1, 2).bold(),
    });
    items.push(Item::Feed { lines: 1 });
    items.push(Item::Cut { cut: CutKind::Partial });
    Ticket::new(items)
}

/// Says at both ends of a paper that it is a copy.
pub fn mark_copy(ticket: &mut Ticket, number: u32) {
    let mark = centred(&format!("COPY {number}"), Style::sized(2, 2).bold());
    let end = ticket.items.len().saturating_sub(2);
    ticket.items.insert(end, mark.clone());
    ticket.items.insert(0, mark);
}

fn centred(text: &str, style: Style) -> Item {
    Item::styled(cut(text), Align::Center, style)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
