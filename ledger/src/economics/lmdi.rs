//! The change of one leaf between two periods, split into scale, efficiency and value: additive LMDI-I.
//!
//! *Source*: `token-economics.md` §5. Zeros are taken by their analytic limits and nothing is put in their place; logarithms
//! have 60 correct digits, the same on every machine.

use dashu_float::FBig;
use dashu_float::round::mode::HalfEven;
use dashu_int::IBig;

use super::error::Error;
use super::exact::{Exact, largest_remainder, ratio, whole};
use super::factors::Factors;

/// Digits of every logarithm and quotient.
const DIGITS: usize = 60;

/// A decimal of [`DIGITS`] digits.
type Real = FBig<HalfEven, 10>;

/// Which case of the definition a pair of periods is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Revenue in both periods: logarithms.
    Regular,
    /// No capacity before: all is scale.
    Entry,
    /// No capacity after: all is scale.
    Exit,
    /// Capacity without tokens before: all is efficiency.
    IdleToProducing,
    /// Capacity without tokens after: all is efficiency.
    ProducingToIdle,
    /// Tokens without revenue before: all is value.
    FreeToPaid,
    /// Tokens without revenue after: all is value.
    PaidToFree,
    /// No revenue in either period: nothing changed.
    BothZero,
}

impl Rule {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Entry => "entry",
            Self::Exit => "exit",
            Self::IdleToProducing => "idle-to-producing",
            Self::ProducingToIdle => "producing-to-idle",
            Self::FreeToPaid => "free-to-paid",
            Self::PaidToFree => "paid-to-free",
            Self::BothZero => "both-zero",
        }
    }

    fn of(before: &Factors, after: &Factors) -> Self {
        match (before.revenue == 0, after.revenue == 0) {
            (true, true) => Self::BothZero,
            (false, false) => Self::Regular,
            (true, false) if before.scale.is_zero() => Self::Entry,
            (true, false) if before.tokens_milli == 0 => Self::IdleToProducing,
            (true, false) => Self::FreeToPaid,
            (false, true) if after.scale.is_zero() => Self::Exit,
            (false, true) if after.tokens_milli == 0 => Self::ProducingToIdle,
            (false, true) => Self::PaidToFree,
        }
    }
}

/// How much each factor changed the revenue of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The case.
    pub rule: Rule,
    /// Scale, efficiency and value to [`DIGITS`] digits. *Units*: the money unit.
    pub exact: [Exact; 3],
    /// The same in whole money units, which add up to the change exactly: floors, then largest remainders.
    pub rounded: [i128; 3],
    /// Scale's part that comes from the whole fleet's growth, and the part from the leaf's share of it.
    pub scale_parts: [Exact; 2],
}

impl Effects {
    /// The effects between two periods of a leaf, in fleets of these scales.
    ///
    /// *Errors*: revenue below zero, and revenue without capacity or tokens: neither has a logarithm.
    pub fn between(before: &Factors, after: &Factors, fleets: [&Exact; 2], leaf: &str) -> Result<Self, Error> {
        definite(before, leaf)?;
        definite(after, leaf)?;
        let rule = Rule::of(before, after);
        let change = after.revenue - before.revenue;
        let all = || whole(change);
        let (exact, activity) = match rule {
            Rule::Regular => regular(before, after, fleets),
            Rule::Entry | Rule::Exit => ([all(), Exact::ZERO, Exact::ZERO], Exact::ZERO),
            Rule::IdleToProducing | Rule::ProducingToIdle => ([Exact::ZERO, all(), Exact::ZERO], Exact::ZERO),
            Rule::FreeToPaid | Rule::PaidToFree => ([Exact::ZERO, Exact::ZERO, all()], Exact::ZERO),
            Rule::BothZero => ([Exact::ZERO, Exact::ZERO, Exact::ZERO], Exact::ZERO),
        };
        let parts = largest_remainder(&exact, &IBig::from(change));
        let rounded = [0, 1, 2].map(|at| i128::try_from(&parts[at]).expect("an effect is of the revenue's size"));
        let structure = &exact[0] - &activity;
        Ok(Self { rule, exact, rounded, scale_parts: [activity, structure] })
    }
}

/// Refuses factors that the decomposition is not defined for.
fn definite(factors: &Factors, leaf: &str) -> Result<(), Error> {
    let Factors { scale, tokens_milli, revenue } = factors;
    if *revenue < 0 {
        return Err(Error::NegativeRevenue { leaf: leaf.to_owned(), revenue: *revenue });
    }
    if *revenue > 0 && (scale.is_zero() || *tokens_milli == 0) {
        return Err(Error::Unreconciled { slice: leaf.to_owned(), product: "0".to_owned(), ledger: *revenue });
    }
    Ok(())
}

/// L · ln of each factor's ratio, and L · ln of the fleets' ratio.
fn regular(before: &Factors, after: &Factors, fleets: [&Exact; 2]) -> ([Exact; 3], Exact) {
    let revenue = ratio(after.revenue, before.revenue.unsigned_abs());
    let weight = match after.revenue - before.revenue {
        0 => real(&whole(before.revenue)),
        change => real(&whole(change)) / ln(&revenue),
    };
    let scale = &after.scale / &before.scale;
    let tokens = after.tokens() / before.tokens();
    let effect = |ratio: &Exact| exact(&(&weight * ln(ratio)));
    let effects = [effect(&scale), effect(&(&tokens / &scale)), effect(&(&revenue / &tokens))];
    (effects, effect(&(fleets[1] / fleets[0])))
}

/// The natural logarithm; that of a reciprocal differs in the sign alone.
fn ln(value: &Exact) -> Real {
    if *value < Exact::ONE { -real(&(Exact::ONE / value)).ln() } else { real(value).ln() }
}

fn real(value: &Exact) -> Real {
    let digits = |integer: IBig| Real::from(integer).with_precision(DIGITS).value();
    digits(value.numerator().clone()) / digits(value.denominator().clone().into())
}

fn exact(value: &Real) -> Exact {
    let (significand, exponent) = (value.repr().significand().clone(), value.repr().exponent());
    let power = IBig::from(10).pow(exponent.unsigned_abs());
    if exponent < 0 { whole(significand) / whole(power) } else { whole(significand * power) }
}
