//! Unit economics: what a token costs, what it earns, and what the same hours would have earned otherwise.
//!
//! *Units*: money in millionths of the currency. *Source*: `token-economics.md` §6.

use super::exact::{Exact, quotient, ratio, whole};
use super::facts::Slice;
use super::inputs::{Inputs, Node, PPM};
use super::journal::Journal;

/// What a period's capacity cost and what it could have made; the three parts add up to the ledger's cost exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Nodes and energy as the ledger has them.
    pub ledger: i128,
    /// The part of deployments.
    pub token: Exact,
    /// The part of capacity sold by time.
    pub rental: Exact,
    /// The part that nobody reserved.
    pub unallocated: Exact,
    /// Straight-line depreciation of all nodes, a memo that is no cost of the ledger.
    pub depreciation: Exact,
    /// The part of deployments in that.
    pub token_depreciation: Exact,
    /// What the deployments' hours would have rented for on the market.
    pub market_rental: Exact,
    /// Effective tokens of an unbatched run on the same hours.
    pub baseline_tokens: Exact,
    /// Energy of the deployments' hours. *Units*: kWh.
    pub kilowatt_hours: Exact,
}

impl Cost {
    /// The cost of a period of inputs that passed [`Inputs::check`].
    pub fn of(inputs: &Inputs, journal: &Journal, period: &str) -> Self {
        let ledger = journal.cost(period);
        let hours = whole(inputs.periods[period].hours);
        let mut cost = Self {
            ledger,
            token: Exact::ZERO,
            rental: Exact::ZERO,
            unallocated: whole(ledger),
            depreciation: Exact::ZERO,
            token_depreciation: Exact::ZERO,
            market_rental: Exact::ZERO,
            baseline_tokens: Exact::ZERO,
            kilowatt_hours: Exact::ZERO,
        };
        for (name, node) in &inputs.nodes {
            cost.depreciation += node.depreciation_per_hour() * &hours;
            for deployment in inputs.deployed_on(period, name) {
                let share_hours = share_hours(deployment.share_ppm, deployment.hours);
                let baseline = inputs.rental_baseline_etok_per_rcu_h[&deployment.model];
                let capacity = ratio(node.rcu_milli, 1_000_u64) * &share_hours;
                cost.token += node.cost_per_hour() * &share_hours;
                cost.token_depreciation += node.depreciation_per_hour() * &share_hours;
                cost.market_rental += whole(node.market_rental_ucny_per_h) * &share_hours;
                cost.baseline_tokens += capacity * whole(baseline);
                cost.kilowatt_hours += node.kilowatts() * &share_hours;
            }
            for rental in inputs.rented_on(period, name) {
                cost.rental += node.cost_per_hour() * share_hours(rental.share_ppm, rental.hours);
            }
        }
        cost.unallocated -= &cost.token + &cost.rental;
        cost
    }

    /// Money for a million effective tokens at which they earn nothing.
    pub fn break_even_value(&self, slice: &Slice) -> Option<Exact> {
        quotient(&(&self.token * whole(1_000_000)), &slice.factors().tokens())
    }

    /// What tokens leave of their revenue.
    pub fn token_gross_margin(&self, slice: &Slice) -> Option<Exact> {
        Some(Exact::ONE - quotient(&self.token, &whole(slice.productive()))?)
    }

    /// What everything leaves of all revenue.
    pub fn company_gross_margin(&self, slice: &Slice) -> Option<Exact> {
        Some(Exact::ONE - quotient(&whole(self.ledger), &whole(slice.ledger_revenue()))?)
    }

    /// The utilisation at which tokens earn nothing, all else unchanged.
    pub fn break_even_utilisation(&self, slice: &Slice) -> Option<Exact> {
        let utilisation = quotient(&slice.busy, &slice.scale)?;
        Some(utilisation * quotient(&self.token, &whole(slice.productive()))?)
    }

    /// Tokens for each unit of the currency that the deployments' hours depreciated.
    pub fn by_depreciation(&self, tokens: &Exact) -> Option<Exact> {
        quotient(tokens, &(&self.token_depreciation * ratio(1, PPM)))
    }

    /// Tokens for each kWh of the deployments' hours.
    pub fn by_energy(&self, tokens: &Exact) -> Option<Exact> {
        quotient(tokens, &self.kilowatt_hours)
    }

    /// Effective tokens against the unbatched baseline on the same hours.
    pub fn multiple(&self, slice: &Slice) -> Option<Exact> {
        quotient(&slice.factors().tokens(), &self.baseline_tokens)
    }

    /// Token revenue against the market's rent of the same hours; above one, selling tokens beats renting.
    pub fn over_rental(&self, slice: &Slice) -> Option<Exact> {
        quotient(&whole(slice.productive()), &self.market_rental)
    }
}

impl Node {
    fn cost_per_hour(&self) -> Exact {
        whole(self.hire_ucny_per_h) + self.energy_per_hour()
    }

    fn depreciation_per_hour(&self) -> Exact {
        ratio(self.capex_ucny, self.life_hours)
    }
}

fn share_hours(share_ppm: u64, hours: u64) -> Exact {
    ratio(share_ppm, PPM) * whole(hours)
}
