//! Money without floats: integer nano-units for amounts, integer atto-units for prices, one rounding.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Nano-units in one major unit (1 USD = 10⁹ nanos).
pub const NANOS_PER_UNIT: i64 = 1_000_000_000;
/// Atto-units in one nano-unit.
pub const ATTOS_PER_NANO: i128 = 1_000_000_000;

/// Arithmetic on money left the range that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount is outside what an account can hold (about 9.2 billion units)")]
pub struct OutOfRange;

/// A text that is not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMoney {
    /// Not a decimal number of at most nine decimals.
    #[error("expected an amount such as \"12.50\" with at most 9 decimals")]
    Amount,
    /// Not three capital letters.
    #[error("expected a currency such as \"USD\"")]
    Currency,
}

/// A currency or another unit of account, three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The United States dollar.
    pub const USD: Self = Self(*b"USD");

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters by construction")
    }
}

impl FromStr for Currency {
    type Err = BadMoney;

    fn from_str(text: &str) -> Result<Self, BadMoney> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| BadMoney::Currency)?;
        if letters.iter().all(u8::is_ascii_uppercase) { Ok(Self(letters)) } else { Err(BadMoney::Currency) }
    }
}

impl TryFrom<String> for Currency {
    type Error = BadMoney;

    fn try_from(text: String) -> Result<Self, BadMoney> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in nano-units of some currency; may be negative.
///
/// As data it is the bare integer, which is for our own programs: people and tenants read [`Money`].
///
/// *Units*: 10⁻⁹ of the currency's major unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "postgres", derive(sqlx::Type))]
#[cfg_attr(feature = "postgres", sqlx(transparent))]
pub struct Nanos(pub i64);

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole major units.
    pub const fn from_units(units: i32) -> Self {
        Self(units as i64 * NANOS_PER_UNIT)
    }

    /// The sum, or a refusal when it cannot be held.
    pub fn checked_add(self, other: Self) -> Result<Self, OutOfRange> {
        self.0.checked_add(other.0).map(Self).ok_or(OutOfRange)
    }

    /// The difference, or a refusal when it cannot be held.
    pub fn checked_sub(self, other: Self) -> Result<Self, OutOfRange> {
        self.0.checked_sub(other.0).map(Self).ok_or(OutOfRange)
    }

    /// The amount in major units, for people; trailing zeros are cut.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 9).normalize()
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_decimal(), f)
    }
}

impl FromStr for Nanos {
    type Err = BadMoney;

    fn from_str(text: &str) -> Result<Self, BadMoney> {
        let decimal = Decimal::from_str_exact(text).map_err(|_| BadMoney::Amount)?.normalize();
        if decimal.scale() > 9 {
            return Err(BadMoney::Amount);
        }
        let nanos = decimal.mantissa() * 10_i128.pow(9 - decimal.scale());
        i64::try_from(nanos).map(Self).map_err(|_| BadMoney::Amount)
    }
}

/// An amount with its currency; on the wire `{"amount": "1.5", "currency": "USD"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// How much.
    #[serde(with = "amount_text")]
    pub amount: Nanos,
    /// Of what.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

mod amount_text {
    use super::Nanos;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(amount: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An exact price.
///
/// *Units*: atto-units (10⁻¹⁸) of the currency for one unit of the meter (one token, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttoPrice(i128);

impl AttoPrice {
    /// The largest price: one major unit for one token.
    pub const MAX: Self = Self(1_000_000_000_000_000_000);

    /// Nothing at all.
    pub const FREE: Self = Self(0);

    /// A price from atto-units; refused when negative or beyond [`AttoPrice::MAX`].
    pub fn try_new(attos_per_unit: i128) -> Result<Self, OutOfRange> {
        if (0..=Self::MAX.0).contains(&attos_per_unit) { Ok(Self(attos_per_unit)) } else { Err(OutOfRange) }
    }

    /// A price as people quote it, in major units for a million tokens; at most 12 decimals.
    pub fn per_million(quote: Decimal) -> Result<Self, OutOfRange> {
        let quote = quote.normalize();
        let attos =
            12_u32.checked_sub(quote.scale()).and_then(|places| quote.mantissa().checked_mul(10_i128.pow(places)));
        Self::try_new(attos.ok_or(OutOfRange)?)
    }

    /// The price of a million units, in major units, for people.
    pub fn to_decimal_per_million(self) -> Decimal {
        Decimal::from_i128_with_scale(self.0, 12).normalize()
    }

    /// Atto-units for one unit.
    pub fn attos(self) -> i128 {
        self.0
    }

    /// Whether no quantity has to be rounded.
    pub fn is_whole_nanos(self) -> bool {
        self.0 % ATTOS_PER_NANO == 0
    }

    /// This price, changed as `whole` is to `part`: half of it where `part` is half of `whole`. Rounded down, at most [`AttoPrice::MAX`],
    /// and itself where `whole` is nothing.
    #[must_use]
    pub fn in_ratio(self, whole: Self, part: Self) -> Self {
        // At most 10³⁶.
        (self.0 * part.0).checked_div(whole.0).map_or(self, |attos| Self(attos.min(Self::MAX.0)))
    }

    /// What a quantity costs, exactly.
    pub fn cost(self, quantity: u64) -> Attos {
        // At most 10¹⁸ × 1.9·10¹⁹ = 1.9·10³⁷, inside i128.
        Attos(self.0 * i128::from(quantity))
    }
}

/// An exact cost in atto-units, before its one rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attos(pub i128);

impl Attos {
    /// The nearest nano-unit, halves to even: what a job's line is charged.
    pub fn round_half_even(self) -> Result<Nanos, OutOfRange> {
        let floor = self.0.div_euclid(ATTOS_PER_NANO);
        let rest = self.0.rem_euclid(ATTOS_PER_NANO) * 2;
        let up = rest > ATTOS_PER_NANO || (rest == ATTOS_PER_NANO && floor % 2 != 0);
        i64::try_from(floor + i128::from(up)).map(Nanos).map_err(|_| OutOfRange)
    }

    /// The next lower nano-unit: what a share is paid, so that shares never exceed the whole.
    pub fn floor(self) -> Result<Nanos, OutOfRange> {
        i64::try_from(self.0.div_euclid(ATTOS_PER_NANO)).map(Nanos).map_err(|_| OutOfRange)
    }
}

impl std::ops::Add for Attos {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_price_follows_the_ratio_of_two_others() {
        let price = |attos| AttoPrice::try_new(attos).unwrap();
        assert_eq!(price(70).in_ratio(price(100), price(10)), price(7));
        assert_eq!(price(75).in_ratio(price(100), price(10)), price(7), "rounded down");
        assert_eq!(price(70).in_ratio(price(0), price(10)), price(70));
        assert_eq!(AttoPrice::MAX.in_ratio(price(1), AttoPrice::MAX), AttoPrice::MAX);
    }

    #[test]
    fn halves_round_to_even() {
        let round = |attos: i128| Attos(attos).round_half_even().unwrap().0;
        assert_eq!([round(500_000_000), round(1_500_000_000), round(2_500_000_000)], [0, 2, 2]);
        assert_eq!([round(-500_000_000), round(-1_500_000_000)], [0, -2]);
        assert_eq!([round(500_000_001), round(1_499_999_999)], [1, 1]);
    }

    #[test]
    fn money_prints_in_major_units_without_trailing_zeros() {
        assert_eq!(Nanos(1_500_000_000).to_string(), "1.5");
        assert_eq!(Nanos(1).to_string(), "0.000000001");
        assert_eq!(Nanos(0).to_string(), "0");
        assert_eq!(Nanos::from_units(100).to_string(), "100");
        let money = Money { amount: Nanos(2_000_000), currency: Currency::USD };
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"0.002","currency":"USD"}"#);
    }

    #[test]
    fn texts_that_are_not_money_are_refused() {
        for text in ["", "1,5", "1e3", "0.0000000001", "10000000000", "NaN", "--1"] {
            assert_eq!(text.parse::<Nanos>(), Err(BadMoney::Amount), "{text}");
        }
        for text in ["usd", "US", "DOLLAR", "U1D"] {
            assert_eq!(text.parse::<Currency>(), Err(BadMoney::Currency), "{text}");
        }
    }

    #[test]
    fn a_quote_per_million_is_exact() {
        let price = AttoPrice::per_million("0.03".parse().unwrap()).unwrap();
        assert_eq!(price.attos(), 30_000_000_000);
        assert_eq!(price.to_decimal_per_million().to_string(), "0.03");
        assert!(AttoPrice::per_million("-1".parse().unwrap()).is_err());
        assert!(AttoPrice::per_million("1000001".parse().unwrap()).is_err());
        assert!(AttoPrice::per_million("0.0000000000001".parse().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn an_amount_reads_back_from_its_text(nanos: i64) {
            prop_assert_eq!(Nanos(nanos).to_string().parse::<Nanos>(), Ok(Nanos(nanos)));
        }

        #[test]
        fn rounding_moves_at_most_half_a_nano(attos in -(1_i128 << 90)..(1_i128 << 90)) {
            if let Ok(nanos) = Attos(attos).round_half_even() {
                prop_assert!((i128::from(nanos.0) * ATTOS_PER_NANO - attos).abs() * 2 <= ATTOS_PER_NANO);
            }
        }
    }
}
