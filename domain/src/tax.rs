//! Tax, once per rate and order.

use serde::{Deserialize, Serialize};

use crate::money::{MoneyError, div_round_half_away, sum_minor};

/// Whether shelf prices hold the tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaxMode {
    /// Prices hold the tax: the total is the sum of the lines.
    Inclusive,
    /// Tax comes on top of the prices.
    Exclusive,
}

/// The largest tax rate, in basis points: 100 %.
pub const TAX_RATE_BP_MAX: u32 = 10_000;

/// What one rate comes to on one order.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode, Serialize, Deserialize)]
pub struct TaxLine {
    /// The rate in basis points: 2000 is 20 %.
    #[n(0)]
    pub rate_bp: u32,
    /// The amount without tax, in minor units.
    #[n(1)]
    pub net_minor: i64,
    /// The tax, in minor units.
    #[n(2)]
    pub tax_minor: i64,
}

/// The taxes of an order from its lines' (rate in basis points, rounded amount in minor units), one row a rate, lowest first.
///
/// Tax is computed on the sum of each rate, not per line, and rounded once, half away from zero.
///
/// # Errors
/// When a sum is beyond the bound of an amount.
pub fn taxes(mode: TaxMode, lines: impl IntoIterator<Item = (u32, i64)>) -> Result<Vec<TaxLine>, MoneyError> {
    let mut sums = std::collections::BTreeMap::<u32, Vec<i64>>::new();
    for (rate_bp, amount_minor) in lines {
        sums.entry(rate_bp).or_default().push(amount_minor);
    }
    sums.into_iter()
        .map(|(rate_bp, amounts)| {
            let sum = sum_minor(amounts)?;
            let rate = i128::from(rate_bp);
            let (per, of) = match mode {
                TaxMode::Inclusive => (i128::from(TAX_RATE_BP_MAX) + rate, rate),
                TaxMode::Exclusive => (i128::from(TAX_RATE_BP_MAX), rate),
            };
            let tax = div_round_half_away(i128::from(sum) * of, per);
            let tax_minor = sum_minor([i64::try_from(tax).map_err(|_| MoneyError::Amount)?])?;
            let net_minor = match mode {
                TaxMode::Inclusive => sum - tax_minor,
                TaxMode::Exclusive => sum,
            };
            Ok(TaxLine { rate_bp, net_minor, tax_minor })
        })
        .collect()
}

/// What the customer owes: net and tax of every rate.
///
/// # Errors
/// When the sum is beyond the bound of an amount.
pub fn total_minor(taxes: &[TaxLine]) -> Result<i64, MoneyError> {
    sum_minor(taxes.iter().flat_map(|t| [t.net_minor, t.tax_minor]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tax_is_taken_once_per_rate() {
        let lines = [(2000, 100), (2000, 100), (500, 105), (0, 50)];
        let inclusive = taxes(TaxMode::Inclusive, lines).expect("taxes");
        assert_eq!(
            inclusive,
            [
                TaxLine { rate_bp: 0, net_minor: 50, tax_minor: 0 },
                TaxLine { rate_bp: 500, net_minor: 100, tax_minor: 5 },
                TaxLine { rate_bp: 2000, net_minor: 167, tax_minor: 33 },
            ]
        );
        assert_eq!(total_minor(&inclusive), Ok(355));
        let exclusive = taxes(TaxMode::Exclusive, lines).expect("taxes");
        assert_eq!(exclusive[2], TaxLine { rate_bp: 2000, net_minor: 200, tax_minor: 40 });
        assert_eq!(total_minor(&exclusive), Ok(400));
    }

    #[test]
    fn a_refund_mirrors_the_sale() {
        let sale = taxes(TaxMode::Inclusive, [(2000, 101)]).expect("taxes");
        let refund = taxes(TaxMode::Inclusive, [(2000, -101)]).expect("taxes");
        assert_eq!((sale[0].net_minor, sale[0].tax_minor), (-refund[0].net_minor, -refund[0].tax_minor));
    }
}
