//! Units of account: currencies, and quantities that are no money. `ledger.units` has the same list.

use primitives::money::{Currency, NANOS_PER_UNIT};

use crate::error::Error;

/// Every unit by its number: ISO 4217's for currencies, and those that it leaves free.
const NUMBERS: [(&str, i64); 11] = [
    ("TOK", 1),
    ("GPH", 2),
    ("RTP", 3),
    ("CNY", 156),
    ("HKD", 344),
    ("JPY", 392),
    ("SGD", 702),
    ("CHF", 756),
    ("GBP", 826),
    ("USD", 840),
    ("EUR", 978),
];

/// The number of a unit, as accounts' ids carry it. *Errors*: [`Error::UnknownUnit`].
pub(crate) fn number(unit: Currency) -> Result<i64, Error> {
    let known = NUMBERS.into_iter().find(|(name, _)| *name == unit.as_str());
    known.map(|(_, number)| number).ok_or(Error::UnknownUnit { unit })
}

/// The unit of that number.
pub(crate) fn from_number(number: i64) -> Option<Currency> {
    let (name, _) = NUMBERS.into_iter().find(|(_, known)| *known == number)?;
    Some(name.parse().expect("the names above are three capital letters"))
}

/// Every unit with its number.
pub fn all() -> impl Iterator<Item = (i16, Currency)> {
    let parse = |name: &str| name.parse().expect("the names above are three capital letters");
    NUMBERS.into_iter().map(move |(name, number)| (i16::try_from(number).expect("at most 999"), parse(name)))
}

/// Tokens of a pack, counted one by one.
pub fn tokens() -> Currency {
    from_number(1).expect("it is in the list")
}

/// GPU-hours, counted in billionths.
pub fn gpu_hours() -> Currency {
    from_number(2).expect("it is in the list")
}

/// What one of the smallest coin of a currency is, which invoices and payouts are whole numbers of. *Units*: nano-units.
pub(crate) fn cent(currency: Currency) -> i64 {
    if currency.as_str() == "JPY" { NANOS_PER_UNIT } else { NANOS_PER_UNIT / 100 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_number_leads_back_to_it() {
        for (name, number_) in NUMBERS {
            let unit: Currency = name.parse().unwrap();
            assert_eq!((number(unit).unwrap(), from_number(number_)), (number_, Some(unit)));
        }
        assert!(matches!(number("ZZZ".parse().unwrap()), Err(Error::UnknownUnit { .. })));
    }
}
