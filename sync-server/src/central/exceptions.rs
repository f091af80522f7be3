//! What the projector flags, and what to tell a manager about it.

/// A kind of exception. A fact is never refused; what does not add up is taken and flagged with one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExceptionKind {
    /// Two entries at one place of a device's chain.
    Fork,
    /// Bytes that are no entry.
    UnreadableEntry,
    /// An entry whose record does not read.
    UnreadableRecord,
    /// A record of a shop that names none.
    NoStore,
    /// An order whose amounts do not add up.
    Sums,
    /// An order whose number is none.
    ReceiptNumber,
    /// A shift whose day is none.
    BusinessDay,
    /// One id for two different things.
    DuplicateId,
    /// A change that does not fit its document.
    Document,
    /// One field of a document written by two people who did not see each other's words.
    EditedAtOnce,
    /// A change of an open order that did not pass, or waits.
    OpenOrderRefused,
    /// The same goods of an open order, sold twice.
    PaidTwice,
    /// An open order that was paid at one place and given up at another.
    PaidAndCancelled,
    /// Goods of an open order that were sold at one place and taken out of it at another.
    PaidAndTakenOut,
    /// Goods that were put into an open order while it was being paid.
    UnpaidRemainder,
    /// More taken out of an open order than was in it.
    TakenOutTwice,
    /// More of a line given back than was sold.
    RefundedTwice,
    /// More sold than there was, of something that is counted or taken in.
    Oversold,
    /// One product counted by people who had not heard of one another.
    CountedAtOnce,
    /// One shift closed by two lives of a till.
    ClosedTwice,
    /// A record or a change that only a server may write, from another device.
    NotAllowed,
    /// An entry that the central database does not take.
    NotProjected,
}

impl ExceptionKind {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::Fork,
        Self::UnreadableEntry,
        Self::UnreadableRecord,
        Self::NoStore,
        Self::Sums,
        Self::ReceiptNumber,
        Self::BusinessDay,
        Self::DuplicateId,
        Self::Document,
        Self::EditedAtOnce,
        Self::OpenOrderRefused,
        Self::PaidTwice,
        Self::PaidAndCancelled,
        Self::PaidAndTakenOut,
        Self::UnpaidRemainder,
        Self::TakenOutTwice,
        Self::RefundedTwice,
        Self::Oversold,
        Self::CountedAtOnce,
        Self::ClosedTwice,
        Self::NotAllowed,
        Self::NotProjected,
    ];

    /// The stable code, as in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::UnreadableEntry => "unreadable_entry",
            Self::UnreadableRecord => "unreadable_record",
            Self::NoStore => "no_store",
            Self::Sums => "sums",
            Self::ReceiptNumber => "receipt_number",
            Self::BusinessDay => "business_day",
            Self::DuplicateId => "duplicate_id",
            Self::Document => "document",
            Self::EditedAtOnce => "edited_at_once",
            Self::OpenOrderRefused => "open_order_refused",
            Self::PaidTwice => "paid_twice",
            Self::PaidAndCancelled => "paid_and_cancelled",
            Self::PaidAndTakenOut => "paid_and_taken_out",
            Self::UnpaidRemainder => "unpaid_remainder",
            Self::TakenOutTwice => "taken_out_twice",
            Self::RefundedTwice => "refunded_twice",
            Self::Oversold => "oversold",
            Self::CountedAtOnce => "counted_at_once",
            Self::ClosedTwice => "closed_twice",
            Self::NotAllowed => "not_allowed",
            Self::NotProjected => "not_projected",
        }
    }

    /// The kind of a code, when this build knows it.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == code)
    }

    /// What it is, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fork => "A device has two histories",
            Self::UnreadableEntry => "An entry cannot be read",
            Self::UnreadableRecord => "A record cannot be read",
            Self::NoStore => "A record belongs to no store",
            Self::Sums => "The amounts of a receipt do not add up",
            Self::ReceiptNumber => "A receipt has no proper number",
            Self::BusinessDay => "A shift has no proper business day",
            Self::DuplicateId => "One id was used twice",
            Self::Document => "An edit does not fit",
            Self::EditedAtOnce => "Two people edited one field at once",
            Self::OpenOrderRefused => "A change of an open order does not count",
            Self::PaidTwice => "An open order was paid twice",
            Self::PaidAndCancelled => "An open order was paid and given up",
            Self::PaidAndTakenOut => "Goods were paid for and taken out of the order",
            Self::UnpaidRemainder => "Goods of an open order are not paid for",
            Self::TakenOutTwice => "The same goods were taken out of an order twice",
            Self::RefundedTwice => "More was given back than was sold",
            Self::Oversold => "More was sold than there was",
            Self::CountedAtOnce => "One product was counted by several people at once",
            Self::ClosedTwice => "A shift was closed twice",
            Self::NotAllowed => "A till wrote what only a server may write",
            Self::NotProjected => "An entry is missing from the figures",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Fork => {
                "The device was cloned or restored from a backup. Its sales all count; see that only one copy of its disk is in use."
            }
            Self::UnreadableEntry | Self::UnreadableRecord => {
                "It is kept as it was signed but is in no figure. Bring the server up to date, then run `reproject`; if it stays, have the device looked at."
            }
            Self::NoStore => "It is kept but is in no store's figures. Have the device that wrote it looked at.",
            Self::Sums => {
                "The total that the till showed counts. Compare the receipt with its lines and have the till looked at."
            }
            Self::ReceiptNumber => "The sale counts. Look for it by its time and have the till looked at.",
            Self::BusinessDay => "Sales of this shift are in no business day; ask for days by the clock to see them.",
            Self::DuplicateId => "Only the first counts. Compare both with the paper receipts and enter what is missing.",
            Self::Document => "The edit is left out. Make it once more on the manager page.",
            Self::EditedAtOnce => "Look at its history, and edit it again if the other one was right.",
            Self::OpenOrderRefused => {
                "The order is as it was without it, and sales count all the same. If this does not go away by itself, compare the order with what the customer has, and have the till looked at."
            }
            Self::PaidTwice => {
                "Both sales count until then. Ask both cashiers who paid; then a shift lead or manager opens the other receipt at any till of the store and presses “Give back what was paid twice”."
            }
            Self::PaidAndCancelled => "Ask both cashiers. If nobody paid after all, refund the sale at a till.",
            Self::PaidAndTakenOut => "Ask both cashiers. If the customer did not get the goods, refund them at a till.",
            Self::UnpaidRemainder => {
                "Tills list it as an open order of its own: have it paid there, or given up. That settles it."
            }
            Self::TakenOutTwice => {
                "Nothing of it is left in the order. If the customer still wants some of it, add it to the order again."
            }
            Self::RefundedTwice => {
                "Both refunds stand, and the money is out of both drawers. Compare the receipts, and ask the customer for what was paid out too much."
            }
            Self::Oversold => {
                "All sales stand. If goods came in that nobody entered, enter them; otherwise count the product at a till. This goes away by itself once the level is right."
            }
            Self::CountedAtOnce => {
                "Sales that a count had not heard of are taken off it either way. Have the product counted once more: that settles it."
            }
            Self::ClosedTwice => {
                "Every sale counts: what the closing that stands does not cover is in an addendum to it. Compare both Z reports with the cash of both drawers."
            }
            Self::NotAllowed => {
                "It is kept but has no effect. No till of ours writes it: take this one out of use and have it looked at."
            }
            Self::NotProjected => "It is kept but is in no figure. Bring the server up to date, then run `reproject`.",
        }
    }
}

/// What an exception says to a manager: what happened, and what to do. A kind of a newer program is shown as it is.
pub(crate) fn words(code: &str, happened: &str) -> (String, String) {
    let mut letters = happened.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let happened = format!("{first}{}", letters.as_str().trim_end_matches('.'));
    match ExceptionKind::from_code(code) {
        Some(kind) => (kind.title().to_owned(), format!("{happened}. {}", kind.advice())),
        None => (code.to_owned(), format!("{happened}. A newer server flagged this; bring this one up to date to read more.")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own_and_words() {
        let codes: BTreeSet<_> = ExceptionKind::ALL.iter().map(|k| k.as_str()).collect();
        let titles: BTreeSet<_> = ExceptionKind::ALL.iter().map(|k| k.title()).collect();
        assert_eq!((codes.len(), titles.len()), (ExceptionKind::ALL.len(), ExceptionKind::ALL.len()));
        for kind in ExceptionKind::ALL {
            assert_eq!(ExceptionKind::from_code(kind.as_str()), Some(kind));
            assert!(kind.advice().ends_with('.') && kind.title().len() <= 60, "{kind:?}");
        }
        // `ALL` holds every variant: the last one's place says how many there are.
        assert_eq!(ExceptionKind::NotProjected as usize + 1, ExceptionKind::ALL.len());
    }

    #[test]
    fn what_happened_and_what_to_do_are_sentences() {
        let (title, detail) = words("sums", "the payments come to 5 and not to 6");
        assert_eq!(title, "The amounts of a receipt do not add up");
        assert!(detail.starts_with("The payments come to 5 and not to 6. The total that the till showed counts."), "{detail}");
        assert_eq!(words("of_tomorrow", "x").0, "of_tomorrow");
    }
}
