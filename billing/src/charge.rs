//! Charges: tokens times price, rounded once for each line of a job.
//!
//! A job's line is one meter over the whole job, so a bill does not depend on how a job's tokens came in. A job that several
//! nodes served is charged segment by segment with [`Charge::since`]: what the job costs up to now less what it cost before.

use primitives::id::PriceId;
use primitives::money::{AttoPrice, Attos, Nanos};

use crate::error::Error;
use crate::meter::Meter;
use crate::price::{Price, PriceList};

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

/// What was counted of a job. *Units*: tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The whole prompt.
    pub prompt: u32,
    /// Of the prompt's tokens, those that a cache held.
    pub cached: u32,
    /// What was delivered.
    pub output: u32,
}

/// What a job costs with these counts.
///
/// *Errors*: [`Error::TooLarge`] beyond what an account can hold.
pub fn charge(prices: &PriceList, counts: Counts) -> Result<Charge, Error> {
    let cached = prices.cached_input.map(|price| (price, counts.cached.min(counts.prompt)));
    let read = counts.prompt - cached.map_or(0, |(_, cached)| cached);
    let lines = [
        Some(line(Meter::Input, prices.input, read)),
        cached.map(|(price, cached)| line(Meter::CachedInput, price, cached)),
        Some(line(Meter::Output, prices.output, counts.output)),
    ];
    of_lines(lines.into_iter().flatten().collect::<Result<_, _>>()?)
}

/// What an embedding of so many tokens costs.
///
/// *Errors*: [`Error::TooLarge`] beyond what an account can hold.
pub fn embedding(price: Price, tokens: u32) -> Result<Charge, Error> {
    of_lines(vec![line(Meter::Embedding, price, tokens)?])
}

/// The most that a job with this prompt can cost: no real charge is above it, so it is what is held.
///
/// Nothing is cached in it, unless what is cached were dearer.
///
/// *Errors*: [`Error::TooLarge`] beyond what an account can hold.
pub fn worst_case(prices: &PriceList, prompt_tokens: u32, output_tokens_max: u32) -> Result<Nanos, Error> {
    let read = Counts { prompt: prompt_tokens, cached: 0, output: output_tokens_max };
    let dearest = charge(prices, read)?.total.max(charge(prices, Counts { cached: prompt_tokens, ..read })?.total);
    let parts = [Some(prices.input), prices.cached_input].into_iter().flatten();
    // A prompt of two lines is rounded twice, which can come to a nano more than once.
    let twice = prices.cached_input.is_some() && parts.into_iter().any(|price| !price.price.is_whole_nanos());
    Ok(dearest.checked_add(Nanos(i64::from(twice)))?)
}

fn of_lines(lines: Vec<Line>) -> Result<Charge, Error> {
    let total = lines.iter().try_fold(Nanos::ZERO, |sum, line| sum.checked_add(line.amount))?;
    Ok(Charge { lines, total })
}

fn line(meter: Meter, price: Price, quantity: u32) -> Result<Line, Error> {
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

    fn prices(input: i128, cached_input: Option<i128>, output: i128) -> PriceList {
        let price = |attos, id| Price {
            id: PriceId(uuid::Uuid::from_u128(id)),
            price: AttoPrice::try_new(attos).unwrap(),
            valid_from: DateTime::<Utc>::UNIX_EPOCH,
        };
        PriceList {
            model: "spark-1".into(),
            currency: Currency::USD,
            input: price(input, 1),
            cached_input: cached_input.map(|attos| price(attos, 3)),
            output: price(output, 2),
        }
    }

    fn counts(prompt: u32, cached: u32, output: u32) -> Counts {
        Counts { prompt, cached, output }
    }

    fn quote(text: &str) -> i128 {
        AttoPrice::per_million(text.parse().unwrap()).unwrap().attos()
    }

    #[test]
    fn a_million_tokens_cost_their_quote() {
        let list = prices(quote("0.03"), None, quote("0.6"));
        let charge = charge(&list, counts(1_000_000, 0, 2_000_000)).unwrap();
        let amounts: Vec<String> = charge.lines.iter().map(|line| line.amount.to_string()).collect();
        assert_eq!(amounts, ["0.03", "1.2"]);
        assert_eq!(charge.total.to_string(), "1.23");
    }

    #[test]
    fn cached_input_has_a_line_of_its_own_where_it_has_a_price() {
        let list = prices(quote("0.03"), Some(quote("0.003")), quote("0.6"));
        let told = |list: &PriceList| {
            let charge = charge(list, counts(1_000_000, 900_000, 0)).unwrap();
            let line = |line: &Line| format!("{} {} {}", line.meter, line.quantity, line.amount);
            charge.lines.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(told(&list), ["input 100000 0.003", "cached_input 900000 0.0027", "output 0 0"]);
        assert_eq!(told(&PriceList { cached_input: None, ..list }), ["input 1000000 0.03", "output 0 0"]);
    }

    #[test]
    fn an_embedding_costs_what_it_reads() {
        let charge = embedding(prices(quote("0.02"), None, 0).input, 1_000_000).unwrap();
        assert_eq!((charge.lines.len(), charge.lines[0].meter), (1, Meter::Embedding));
        assert_eq!(charge.total.to_string(), "0.02");
    }

    #[test]
    fn each_line_is_rounded_once_half_to_even() {
        // Half a nano a token: three tokens are 1.5, one token 0.5.
        let charge = charge(&prices(500_000_000, None, 500_000_000), counts(3, 0, 1)).unwrap();
        assert_eq!(charge.lines.iter().map(|line| line.amount.0).collect::<Vec<_>>(), [2, 0]);
    }

    proptest! {
        #[test]
        fn the_worst_case_covers_every_real_charge(
            input in 0..=AttoPrice::MAX.attos(),
            cached_input in proptest::option::of(0..=AttoPrice::MAX.attos()),
            output in 0..=AttoPrice::MAX.attos(),
            prompt in 0..2_000_000_u32,
            cached in 0..2_000_000_u32,
            delivered in 0..1_000_000_u32,
            more in 0..1_000_000_u32,
        ) {
            let prices = prices(input, cached_input, output);
            let held = worst_case(&prices, prompt, delivered + more).unwrap();
            prop_assert!(charge(&prices, counts(prompt, cached, delivered)).unwrap().total <= held);
        }

        #[test]
        fn the_worst_case_covers_what_is_rounded_twice(
            (input, cached_input) in (0..3_000_000_000_i128, 0..3_000_000_000_i128),
            (prompt, cached) in (0..9_u32, 0..9_u32),
        ) {
            let prices = prices(input, Some(cached_input), 0);
            let held = worst_case(&prices, prompt, 0).unwrap();
            prop_assert!(charge(&prices, counts(prompt, cached, 0)).unwrap().total <= held);
        }

        #[test]
        fn segments_add_up_to_the_job_however_it_was_cut(
            input in 0..10_000_000_000_i128,
            output in 0..10_000_000_000_i128,
            (prompt, cached) in (0..100_000_u32, 0..100_000_u32),
            cuts in proptest::collection::vec(0..1_000_u32, 1..6),
        ) {
            let prices = prices(input, Some(input / 10), output);
            let mut before = charge(&prices, Counts::default()).unwrap();
            let (mut delivered, mut sum) = (0, 0);
            for cut in cuts {
                delivered += cut;
                let now = charge(&prices, counts(prompt, cached, delivered)).unwrap();
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
