//! Amounts, quantities and unit prices as whole numbers.
//!
//! | what | unit | bound |
//! |---|---|---|
//! | amount | minor unit of the currency (a penny, a yen) | ±[`AMOUNT_MINOR_MAX`] |
//! | [`Quantity`] | thousandth of a piece, kilogram, metre | ±[`QUANTITY_MILLI_MAX`] |
//! | [`UnitPrice`] | hundredth of a minor unit, so that £0.001 is 10 | ±[`UNIT_PRICE_CENTI_MAX`] |
//!
//! Quantity times unit price is exact in hundred-thousandths of a minor unit ([`exact_amount`]); it is rounded to a whole
//! minor unit once per line, half away from zero ([`line_amount_minor`]), and never again.

use std::fmt;

use minicbor::{CborLen, Decode, Encode};
use serde::{Deserialize, Serialize};

/// The largest amount of one line, payment or total: ten thousand million minor units.
pub const AMOUNT_MINOR_MAX: i64 = 10_000_000_000;
/// The largest quantity of one line: a million pieces.
pub const QUANTITY_MILLI_MAX: i64 = 1_000_000_000;
/// The largest unit price: a thousand million minor units.
pub const UNIT_PRICE_CENTI_MAX: i64 = 100_000_000_000;
/// How many units of [`exact_amount`] make one minor unit.
pub const EXACT_PER_MINOR: i128 = 100_000;

/// A sum or a product went beyond its named bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// An amount beyond [`AMOUNT_MINOR_MAX`].
    #[error("the amount is beyond what an order or a drawer can hold: check its sign and its digits")]
    Amount,
    /// A quantity of zero, or beyond [`QUANTITY_MILLI_MAX`].
    #[error("a quantity is not zero and at most {}: check how many digits it has", QUANTITY_MILLI_MAX / Quantity::ONE.0)]
    Quantity,
    /// A unit price beyond [`UNIT_PRICE_CENTI_MAX`].
    #[error("the price is beyond what a till can hold: check its sign and its digits")]
    UnitPrice,
    /// Text that is not a decimal number of at most the allowed places.
    #[error("not a decimal number with at most {places} decimal places")]
    Text {
        /// How many decimal places the target holds.
        places: u8,
    },
}

/// A currency: its ISO 4217 letters and how many decimal digits its minor unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency of three ASCII capitals.
    pub fn new(code: &str) -> Option<Self> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// The ISO 4217 letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII capitals were checked when it was made")
    }

    /// Decimal digits of the minor unit, by ISO 4217: 0 for the yen, 3 for the Kuwaiti dinar, 2 for most.
    pub fn exponent(&self) -> u8 {
        match self.code() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV" | "XAF"
            | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(code: String) -> Result<Self, String> {
        Self::new(&code).ok_or_else(|| format!("a currency is three capital letters, not {code:?}"))
    }
}

impl From<Currency> for String {
    fn from(c: Currency) -> String {
        c.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl<C> Encode<C> for Currency {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.code())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Currency {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        Self::new(d.str()?).ok_or_else(|| minicbor::decode::Error::message("a currency is three capital letters").at(at))
    }
}

/// How much of something, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode, CborLen)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct Quantity(#[n(0)] pub i64);

impl Quantity {
    /// One piece.
    pub const ONE: Self = Self(1000);

    /// So many whole pieces.
    ///
    /// # Errors
    /// Zero, or beyond [`QUANTITY_MILLI_MAX`].
    pub fn pieces(pieces: i64) -> Result<Self, MoneyError> {
        Self(pieces.checked_mul(1000).ok_or(MoneyError::Quantity)?).checked()
    }

    /// Itself, when it is not zero and within bounds.
    ///
    /// # Errors
    /// Zero, or beyond [`QUANTITY_MILLI_MAX`].
    pub fn checked(self) -> Result<Self, MoneyError> {
        if self.0 == 0 || self.0.unsigned_abs() > QUANTITY_MILLI_MAX.unsigned_abs() {
            return Err(MoneyError::Quantity);
        }
        Ok(self)
    }
}

/// What one costs, in hundredths of a minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode, CborLen)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct UnitPrice(#[n(0)] pub i64);

impl UnitPrice {
    /// The unit price that is a whole number of minor units.
    ///
    /// # Errors
    /// Beyond [`UNIT_PRICE_CENTI_MAX`].
    pub fn from_minor(minor: i64) -> Result<Self, MoneyError> {
        Self(minor.checked_mul(100).ok_or(MoneyError::UnitPrice)?).checked()
    }

    /// Reads a decimal number of major units ("2.55", "0.001", "-11062.06") exactly.
    ///
    /// # Errors
    /// Text that is not such a number, has more places than a hundredth of a minor unit holds, or is out of bounds.
    pub fn parse_major(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let places = currency.exponent() + 2;
        let value = parse_scaled(text, places)?;
        Self(value).checked()
    }

    /// Itself, when it is within bounds; zero is a price.
    ///
    /// # Errors
    /// Beyond [`UNIT_PRICE_CENTI_MAX`].
    pub fn checked(self) -> Result<Self, MoneyError> {
        if self.0.unsigned_abs() > UNIT_PRICE_CENTI_MAX.unsigned_abs() {
            return Err(MoneyError::UnitPrice);
        }
        Ok(self)
    }
}

/// Quantity × unit price with nothing lost, in hundred-thousandths of a minor unit.
pub fn exact_amount(quantity: Quantity, price: UnitPrice) -> i128 {
    i128::from(quantity.0) * i128::from(price.0)
}

/// Quantity × unit price rounded to a whole minor unit, half away from zero: the one rounding of a line.
///
/// # Errors
/// Beyond [`AMOUNT_MINOR_MAX`].
pub fn line_amount_minor(quantity: Quantity, price: UnitPrice) -> Result<i64, MoneyError> {
    checked_minor(div_round_half_away(exact_amount(quantity, price), EXACT_PER_MINOR))
}

/// Adds amounts within [`AMOUNT_MINOR_MAX`].
///
/// # Errors
/// When the sum is beyond it.
pub fn sum_minor(amounts: impl IntoIterator<Item = i64>) -> Result<i64, MoneyError> {
    checked_minor(amounts.into_iter().map(i128::from).sum())
}

/// Divides, rounding half away from zero; `by` is positive.
pub fn div_round_half_away(value: i128, by: i128) -> i128 {
    debug_assert!(by > 0);
    let half = by / 2 + by % 2;
    let quotient = value / by;
    let rest = (value % by).abs();
    if rest >= half { quotient + value.signum() } else { quotient }
}

fn checked_minor(value: i128) -> Result<i64, MoneyError> {
    i64::try_from(value).ok().filter(|v| v.unsigned_abs() <= AMOUNT_MINOR_MAX.unsigned_abs()).ok_or(MoneyError::Amount)
}

/// Reads a decimal number exactly as a whole number of 10^-`places`.
///
/// # Errors
/// Anything but an optional sign, digits and at most `places` decimal places (trailing zeros beyond are allowed).
pub fn parse_scaled(text: &str, places: u8) -> Result<i64, MoneyError> {
    let fail = || MoneyError::Text { places };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
        return Err(fail());
    }
    let places = usize::from(places);
    if fraction.len() > places && fraction[places..].bytes().any(|b| b != b'0') {
        return Err(fail());
    }
    let kept = &fraction[..fraction.len().min(places)];
    let scaled = format!("{whole}{kept:0<places$}");
    let value: i64 = scaled.parse().map_err(|_| fail())?;
    Ok(if negative { -value } else { value })
}

/// Writes a whole number of 10^-`places` as a decimal number, with all its places.
pub fn format_scaled(value: i128, places: u8) -> String {
    let places = usize::from(places);
    let digits = format!("{:0width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let sign = if value < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gbp() -> Currency {
        Currency::new("GBP").expect("GBP")
    }

    #[test]
    fn a_line_is_rounded_once_half_away_from_zero() {
        for (quantity_milli, price, expected) in [
            (6000, "2.55", Ok(1530)),
            (1000, "0.001", Ok(0)),
            (5000, "0.001", Ok(1)),
            (-5000, "0.001", Ok(-1)),
            (15000, "0.001", Ok(2)),
            (333, "9.99", Ok(333)),
            (1000, "-11062.06", Ok(-1_106_206)),
            (74_215_000, "38970.00", Err(MoneyError::Amount)),
        ] {
            let price = UnitPrice::parse_major(price, gbp()).expect("price");
            assert_eq!(line_amount_minor(Quantity(quantity_milli), price), expected, "{quantity_milli} × {price:?}");
        }
    }

    #[test]
    fn text_that_is_no_price_is_refused() {
        for text in ["", ".", "1.", ".5", "1e3", "1,000", "+1", "--1", "0.00001", "1.2.3", "９", " 1", "99999999999999999999"] {
            assert!(UnitPrice::parse_major(text, gbp()).is_err(), "{text:?}");
        }
        assert_eq!(UnitPrice::parse_major("2.5500000", gbp()), Ok(UnitPrice(25500)));
        assert_eq!(UnitPrice::parse_major("120", Currency::new("JPY").expect("JPY")), Ok(UnitPrice(12000)));
    }

    proptest! {
        #[test]
        fn scaled_text_round_trips(value in -1_000_000_000_000i64..1_000_000_000_000, places in 0u8..6) {
            prop_assert_eq!(parse_scaled(&format_scaled(value.into(), places), places), Ok(value));
        }

        #[test]
        fn rounding_is_within_half_and_symmetric(value in -10i128.pow(15)..10i128.pow(15), by in 1i128..1_000_000) {
            let rounded = div_round_half_away(value, by);
            prop_assert!((rounded * by - value).abs() * 2 <= by);
            prop_assert_eq!(div_round_half_away(-value, by), -rounded);
        }
    }
}
