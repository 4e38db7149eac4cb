//! Prices: what tokens are charged, and the way from the list price to the posted revenue.
//!
//! *Units*: money in millionths of the currency. *Source*: `token-economics.md` §3 and §9.

use super::exact::{Exact, quotient, ratio, round_half_even, whole};
use super::inputs::{BP, Inputs, PPM, Usage};
use super::tokens::Class;

/// What one row of usage pays for its tokens.
#[derive(Clone, Debug)]
pub struct Tariff<'a> {
    inputs: &'a Inputs,
    period: &'a str,
    model: &'a str,
    multiplier: Exact,
    rest: Exact,
}

impl<'a> Tariff<'a> {
    /// The tariff of a row that passed [`Inputs::check`].
    pub fn of(inputs: &'a Inputs, usage: &'a Usage) -> Self {
        let discount = inputs.tenant_discount_bp.get(&usage.tenant).copied().unwrap_or(0);
        Self {
            inputs,
            period: &usage.period,
            model: &usage.model,
            multiplier: ratio(inputs.line_multiplier_bp[&usage.line], BP),
            rest: ratio(BP - discount, BP),
        }
    }

    /// What a class of tokens is charged, half to even.
    pub fn charge(&self, class: Class, tokens: u64) -> i128 {
        money(&(self.list(class, tokens) * &self.multiplier * &self.rest))
    }

    fn list(&self, class: Class, tokens: u64) -> Exact {
        if tokens == 0 {
            return Exact::ZERO;
        }
        whole(tokens) * ratio(self.inputs.prices_ucny_per_1m[self.period][self.model][&class], PPM)
    }
}

/// What is given back of a posted charge for tokens that missed their objective, half to even.
pub fn credit(posted: i128, credit_bp: u64) -> i128 {
    money(&(whole(posted) * ratio(credit_bp, BP)))
}

/// The nearest money unit, half to even.
pub fn money(value: &Exact) -> i128 {
    i128::try_from(round_half_even(value)).expect("a sum of 64-bit counts at 64-bit prices fits 128 bits")
}

/// The steps from the list price to the posted revenue of effective tokens; the first five add up to the sixth exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waterfall {
    /// All tokens at the list price, cached ones as if they had been read anew.
    pub list: Exact,
    /// What caching takes off.
    pub cache: Exact,
    /// What the line takes off, such as batch.
    pub line: Exact,
    /// What the tenant's discount takes off.
    pub tenant: Exact,
    /// What rounding each charge to the money unit adds or takes off.
    pub rounding: Exact,
    /// The revenue.
    pub posted: Exact,
}

impl Waterfall {
    /// Adds a row's effective tokens.
    pub fn add(&mut self, tariff: &Tariff<'_>, usage: &Usage) {
        for (&class, &tokens) in &usage.eff {
            let uncached = if class == Class::Cached { Class::Input } else { class };
            let list = tariff.list(uncached, tokens);
            let cached = tariff.list(class, tokens);
            let line = &cached * &tariff.multiplier;
            let tenant = &line * &tariff.rest;
            let posted = whole(money(&tenant));
            self.cache += &cached - &list;
            self.line += &line - &cached;
            self.tenant += &tenant - &line;
            self.rounding += &posted - &tenant;
            self.list += list;
            self.posted += posted;
        }
    }

    /// ρ, the part of the list price that was realised.
    pub fn realisation(&self) -> Option<Exact> {
        quotient(&self.posted, &self.list)
    }
}
