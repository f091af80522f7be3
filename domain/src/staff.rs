//! Roles and what each may do.

use serde::{Deserialize, Serialize};

/// What a person is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sells and refunds against a found sale.
    Cashier,
    /// Also prices by hand, gives back what was paid twice, refunds without a sale, corrects and counts stock, opens the drawer without a sale.
    ShiftLead,
    /// Also books account adjustments.
    Manager,
}

/// One thing that a role may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Build carts and take payments; open and close the shift of one's own till.
    Sell,
    /// Give money back for lines of a sale that was found.
    RefundSale,
    /// Give back a payment that was taken twice.
    RefundPayment,
    /// Give money back without the sale.
    RefundWithoutSale,
    /// Sell at another price than the catalogue's.
    OverridePrice,
    /// Correct stock, and count it.
    AdjustStock,
    /// Open the cash drawer without a sale.
    OpenDrawer,
    /// Book an amount that is neither a sale nor a refund.
    AdjustAccount,
}

impl Role {
    /// Whether this role may do it.
    pub fn may(self, permission: Permission) -> bool {
        use Permission as P;
        let least = match permission {
            P::Sell | P::RefundSale => Role::Cashier,
            P::RefundPayment | P::RefundWithoutSale | P::OverridePrice | P::AdjustStock | P::OpenDrawer => Role::ShiftLead,
            P::AdjustAccount => Role::Manager,
        };
        self >= least
    }

    /// The word stored in documents and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Cashier => "cashier",
            Role::ShiftLead => "shift_lead",
            Role::Manager => "manager",
        }
    }

    /// The role of a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Role::Cashier, Role::ShiftLead, Role::Manager].into_iter().find(|r| r.as_str() == word)
    }
}

/// Shortest PIN, in digits.
pub const PIN_DIGITS_MIN: usize = 4;
/// Longest PIN, in digits.
pub const PIN_DIGITS_MAX: usize = 12;

/// How long the next try must wait after so many wrong PINs in a row, in milliseconds: nothing for the first four, then
/// 30 s, doubling to 15 min.
pub fn pin_wait_ms(wrong_in_a_row: u32) -> u64 {
    match wrong_in_a_row {
        0..=4 => 0,
        n => (30_000u64 << (n - 5).min(10)).min(900_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cashier_sells_and_nothing_else() {
        assert!(Role::Cashier.may(Permission::Sell) && Role::Cashier.may(Permission::RefundSale));
        assert!(!Role::Cashier.may(Permission::OverridePrice) && !Role::ShiftLead.may(Permission::AdjustAccount));
        assert!(Role::Manager.may(Permission::AdjustAccount));
    }

    #[test]
    fn wrong_pins_wait_longer_and_longer() {
        assert_eq!([4, 5, 6, 9, 10, 60].map(pin_wait_ms), [0, 30_000, 60_000, 480_000, 900_000, 900_000]);
    }
}
