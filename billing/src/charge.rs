//! Charges: tokens times price, rounded once for each line of a job.
//!
//! A job's line is one meter over the whole job, so a bill does not depend on how a job's tokens came in. A job that several
//! nodes served is charged segment by segment with [`Charge::since`]: what the job costs up to now less what it cost before.

use primitives::id::PriceId;
use primitives::money::{AttoPrice, Attos, Nanos};

use crate::error::Error;
use crate::meter::Meter;
use crate::price::PriceList;

/// What a job costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// One line for each meter.
    pub lines: Vec<Line>,
    /// The lines' sum.
    pub total: Nanos,
}

/// What one meter of a job costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was counted.
    pub meter: Meter,
    /// How many. *Units*: tokens.
    pub quantity: u32,
    /// The price's identifier.
    pub price_id: PriceId,
    /// For one token.
    pub price: AttoPrice,
    /// Quantity times price, rounded half-even.
    pub amount: Nanos,
}

/// What a job costs with these counts.
///
/// *Errors*: [`Error::TooLarge`] beyond what an account can hold.
pub fn charge(prices: &PriceList, prompt_tokens: u32, output_tokens: u32) -> Result<Charge, Error> {
    let input = line(prices, Meter::Input, prompt_tokens)?;
    let output = line(prices, Meter::Output, output_tokens)?;
    let total = input.amount.checked_add(output.amount)?;
    Ok(Charge { lines: vec![input, output], total })
}

/// The most that a job with this prompt can cost: no real charge is above it, so it is what is held.
///
/// *Errors*: [`Error::TooLarge`] beyond what an account can hold.
pub fn worst_case(prices: &PriceList, prompt_tokens: u32, output_tokens_max: u32) -> Result<Nanos, Error> {
    Ok(charge(prices, prompt_tokens, output_tokens_max)?.total)
}

fn line(prices: &PriceList, meter: Meter, quantity: u32) -> Result<Line, Error> {
    let price = prices.of(meter);
    let exact: Attos = price.price.cost(u64::from(quantity));
    Ok(Line { meter, quantity, price_id: price.id, price: price.price, amount: exact.round_half_even()? })
}

impl Charge {
    /// What this charge adds to an earlier one of the same job and prices: one segment's lines, which sum to the whole.
    ///
    /// *Errors*: [`Error::TooLarge`] when the earlier charge is not a part of this one.
    pub fn since(&self, earlier: &Self) -> Result<Self, Error> {
        let lines = self.lines.iter().zip(&earlier.lines).map(|(now, before)| {
            let quantity = now.quantity.checked_sub(before.quantity).ok_or(primitives::money::OutOfRange)?;
            Ok(Line { quantity, amount: now.amount.checked_sub(before.amount)?, ..now.clone() })
        });
        let lines = lines.collect::<Result<_, Error>>()?;
        Ok(Self { lines, total: self.total.checked_sub(earlier.total)? })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use primitives::id::PriceId;
    use primitives::money::Currency;
    use proptest::prelude::*;

    use super::*;
    use crate::price::Price;

    fn prices(input: i128, output: i128) -> PriceList {
        let price = |attos, id| Price {
            id: PriceId(uuid::Uuid::from_u128(id)),
            price: AttoPrice::try_new(attos).unwrap(),
            valid_from: DateTime::<Utc>::UNIX_EPOCH,
        };
        PriceList { model: "spark-1".into(), currency: Currency::USD, input: price(input, 1), output: price(output, 2) }
    }

    #[test]
    fn a_million_tokens_cost_their_quote() {
        let quote = |text: &str| AttoPrice::per_million(text.parse().unwrap()).unwrap().attos();
        let charge = charge(&prices(quote("0.03"), quote("0.6")), 1_000_000, 2_000_000).unwrap();
        let amounts: Vec<String> = charge.lines.iter().map(|line| line.amount.to_string()).collect();
        assert_eq!(amounts, ["0.03", "1.2"]);
        assert_eq!(charge.total.to_string(), "1.23");
    }

    #[test]
    fn each_line_is_rounded_once_half_to_even() {
        // Half a nano a token: three tokens are 1.5, one token 0.5.
        let charge = charge(&prices(500_000_000, 500_000_000), 3, 1).unwrap();
        assert_eq!(charge.lines.iter().map(|line| line.amount.0).collect::<Vec<_>>(), [2, 0]);
    }

    proptest! {
        #[test]
        fn the_worst_case_covers_every_real_charge(
            input in 0..=AttoPrice::MAX.attos(),
            output in 0..=AttoPrice::MAX.attos(),
            prompt in 0..2_000_000_u32,
            delivered in 0..1_000_000_u32,
            more in 0..1_000_000_u32,
        ) {
            let prices = prices(input, output);
            let held = worst_case(&prices, prompt, delivered + more).unwrap();
            prop_assert!(charge(&prices, prompt, delivered).unwrap().total <= held);
        }

        #[test]
        fn segments_add_up_to_the_job_however_it_was_cut(
            input in 0..10_000_000_000_i128,
            output in 0..10_000_000_000_i128,
            prompt in 0..100_000_u32,
            cuts in proptest::collection::vec(0..1_000_u32, 1..6),
        ) {
            let prices = prices(input, output);
            let mut before = charge(&prices, 0, 0).unwrap();
            let (mut delivered, mut sum) = (0, 0);
            for cut in cuts {
                delivered += cut;
                let now = charge(&prices, prompt, delivered).unwrap();
                let segment = now.since(&before).unwrap();
                prop_assert!(segment.lines.iter().all(|line| line.amount >= Nanos::ZERO));
                prop_assert_eq!(segment.lines.iter().map(|line| line.amount.0).sum::<i64>(), segment.total.0);
                sum += segment.total.0;
                before = now;
            }
            prop_assert_eq!(sum, before.total.0);
        }
    }
}
