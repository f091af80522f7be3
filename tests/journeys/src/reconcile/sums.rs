//! A count and two sums of invoice lines, kept apart from the code under test: own integers, own rounding.

use std::ops::AddAssign;

use anyhow::{Context, Result};
use serde::Deserialize;

/// How many units of [`Sums::exact`] make one minor unit: a thousandth of a piece times a hundredth of a penny.
pub const EXACT_PER_MINOR: i128 = 100_000;

/// What every party to a reconciliation must agree on, to the last digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// How many lines.
    pub lines: u64,
    /// The sum of their rounded amounts, in minor units.
    pub rounded_minor: i128,
    /// The sum of quantity × unit price before any rounding, in hundred-thousandths of a minor unit.
    pub exact: i128,
}

impl Sums {
    /// The sums of one line: thousandths of a piece at hundredths of a minor unit.
    pub fn of_line(quantity_milli: i64, unit_price: i64) -> Self {
        let exact = i128::from(quantity_milli) * i128::from(unit_price);
        Self { lines: 1, rounded_minor: round_half_away(exact), exact }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.rounded_minor += other.rounded_minor;
        self.exact += other.exact;
    }
}

/// What a till answers to its ledger query, as far as it is read here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ledger {
    /// One row a device.
    pub devices: Vec<LedgerRow>,
    /// Sales and refunds.
    pub orders: u64,
}

impl Ledger {
    /// What it says about one device; nothing when the device is not in it. It counts orders of the whole store only.
    ///
    /// # Errors
    /// A sum that is no whole number.
    pub fn of(&self, device: &str) -> Result<Sums> {
        self.devices.iter().find(|row| row.device == device).map_or(Ok(Sums::default()), LedgerRow::sums)
    }

    /// What it says about the whole store.
    ///
    /// # Errors
    /// A sum that is no whole number.
    pub fn whole(&self) -> Result<Sums> {
        let mut sums = Sums::default();
        for row in &self.devices {
            sums += row.sums()?;
        }
        Ok(sums)
    }
}

/// One device's share of a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LedgerRow {
    /// The device's name.
    pub device: String,
    /// How many lines.
    pub lines: u64,
    /// Whole minor units, as text.
    pub rounded_minor: String,
    /// Hundred-thousandths of a minor unit, as text.
    pub exact: String,
}

impl LedgerRow {
    /// Its sums.
    ///
    /// # Errors
    /// A sum that is no whole number.
    pub fn sums(&self) -> Result<Sums> {
        let whole = |text: &str| text.parse::<i128>().with_context(|| format!("{}: {text:?} is no whole number", self.device));
        Ok(Sums { lines: self.lines, rounded_minor: whole(&self.rounded_minor)?, exact: whole(&self.exact)? })
    }
}

/// To a whole minor unit, half away from zero.
fn round_half_away(exact: i128) -> i128 {
    let magnitude = (exact.abs() + EXACT_PER_MINOR / 2) / EXACT_PER_MINOR;
    if exact < 0 { -magnitude } else { magnitude }
}

/// A whole number of 10^-`places` as people read it: thousands apart, at least two decimal places, no needless zeros after them.
pub fn readable(value: i128, places: usize) -> String {
    let digits = format!("{:0width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let mut fraction = fraction.to_owned();
    while fraction.len() > 2 && fraction.ends_with('0') {
        fraction.pop();
    }
    let sign = if value < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// Digits with a comma between thousands.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_rounded_once_half_away_from_zero() {
        for (quantity_milli, unit_price, rounded) in [
            (6_000, 25_500, 1_530),
            (1_000, 10, 0),
            (5_000, 10, 1),
            (-5_000, 10, -1),
            (-4_999, 10, 0),
            (1_000, -110_620_600, -1_106_206),
            (-74_215_000, 10_400, -7_718_360),
        ] {
            let sums = Sums::of_line(quantity_milli, unit_price);
            assert_eq!(sums.rounded_minor, rounded, "{quantity_milli} × {unit_price}");
            assert_eq!(sums.exact, i128::from(quantity_milli) * i128::from(unit_price));
        }
    }

    #[test]
    fn a_ledger_adds_up_beyond_what_64_bits_hold() {
        let row = |device: &str| LedgerRow {
            device: device.to_owned(),
            lines: 3,
            rounded_minor: "-7".to_owned(),
            exact: "85070591730234615865843651857942052".to_owned(),
        };
        let ledger = Ledger { devices: vec![row("Till 1"), row("Till 2")], orders: 2 };
        let sums = ledger.whole().expect("whole numbers");
        assert_eq!((sums.lines, sums.rounded_minor), (6, -14));
        assert_eq!(sums.exact, 170_141_183_460_469_231_731_687_303_715_884_104);
        assert_eq!(ledger.of("Till 2").expect("whole numbers").lines, 3);
        assert_eq!(ledger.of("Till 3").expect("whole numbers"), Sums::default());
        let broken = LedgerRow { exact: "1.5".to_owned(), ..row("Till 1") };
        assert!(broken.sums().is_err());
    }

    #[test]
    fn sums_are_readable() {
        for (value, places, text) in [
            (57_619_313_820_000, 7, "5,761,931.382"),
            (576_193_138, 2, "5,761,931.38"),
            (-110_620_600_000, 7, "-11,062.06"),
            (0, 7, "0.00"),
            (5, 2, "0.05"),
            (320_705, 0, "320,705"),
            (999, 0, "999"),
        ] {
            assert_eq!(readable(value, places), text);
        }
    }
}
