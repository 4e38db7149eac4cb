//! Unit economics: what a token costs, what it earns, and what the same hours would have earned otherwise.
//!
//! *Units*: money in the money unit. *Source*: `token-economics.md` §6.

use super::exact::{Exact, quotient, ratio, whole};
use super::facts::Slice;
use super::inputs::{Inputs, Node, PPM};
use super::journal::Journal;

/// What a period's capacity cost and what it could have made; the parts add up to the ledger's cost exactly.
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
    /// What belongs to no node, such as a card processor's fees.
    pub other: i128,
    /// Straight-line depreciation of all nodes, a memo that is no cost of the ledger. This and what follows is absent where
    /// nobody described a node or model that it needs.
    pub depreciation: Option<Exact>,
    /// The part of deployments in that.
    pub token_depreciation: Option<Exact>,
    /// What the deployments' hours would have rented for on the market.
    pub market_rental: Option<Exact>,
    /// Effective tokens of an unbatched run on the same hours.
    pub baseline_tokens: Option<Exact>,
    /// Energy of the deployments' hours. *Units*: kWh.
    pub kilowatt_hours: Option<Exact>,
}

impl Cost {
    /// The cost of a period of inputs that passed [`Inputs::check`].
    pub fn of(inputs: &Inputs, journal: &Journal, period: &str) -> Self {
        let ledger = journal.cost(period);
        let hours = whole(inputs.periods[period].hours);
        let mut cost = Self { unallocated: whole(ledger), ..Self::nothing(ledger) };
        let mut memo = [(); 5].map(|()| Exact::ZERO);
        let [depreciation, token_depreciation, market_rental, baseline_tokens, kilowatt_hours] = &mut memo;
        for (name, node) in &inputs.nodes {
            *depreciation += node.depreciation_per_hour() * &hours;
            for deployment in inputs.deployed_on(period, name) {
                let share_hours = share_hours(deployment.share_ppm, deployment.hours);
                let baseline = inputs.rental_baseline_etok_per_rcu_h[&deployment.model];
                let capacity = ratio(node.rcu_milli, 1_000_u64) * &share_hours;
                cost.token += node.cost_per_hour() * &share_hours;
                *token_depreciation += node.depreciation_per_hour() * &share_hours;
                *market_rental += whole(node.market_rental_ucny_per_h) * &share_hours;
                *baseline_tokens += capacity * whole(baseline);
                *kilowatt_hours += node.kilowatts() * &share_hours;
            }
            for rental in inputs.rented_on(period, name) {
                cost.rental += node.cost_per_hour() * share_hours(rental.share_ppm, rental.hours);
            }
        }
        cost.unallocated -= &cost.token + &cost.rental;
        let [depreciation, token_depreciation, market_rental, baseline_tokens, kilowatt_hours] = memo.map(Some);
        Self { depreciation, token_depreciation, market_rental, baseline_tokens, kilowatt_hours, ..cost }
    }

    /// A cost of which nothing is known but its sum.
    pub(super) fn nothing(ledger: i128) -> Self {
        Self {
            ledger,
            token: Exact::ZERO,
            rental: Exact::ZERO,
            unallocated: Exact::ZERO,
            other: 0,
            depreciation: None,
            token_depreciation: None,
            market_rental: None,
            baseline_tokens: None,
            kilowatt_hours: None,
        }
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

    /// Tokens for each money unit that the deployments' hours depreciated.
    pub fn by_depreciation(&self, tokens: &Exact) -> Option<Exact> {
        quotient(tokens, self.token_depreciation.as_ref()?)
    }

    /// Tokens for each kWh of the deployments' hours.
    pub fn by_energy(&self, tokens: &Exact) -> Option<Exact> {
        quotient(tokens, self.kilowatt_hours.as_ref()?)
    }

    /// Effective tokens against the unbatched baseline on the same hours.
    pub fn multiple(&self, slice: &Slice) -> Option<Exact> {
        quotient(&slice.factors().tokens(), self.baseline_tokens.as_ref()?)
    }

    /// Token revenue against the market's rent of the same hours; above one, selling tokens beats renting.
    pub fn over_rental(&self, slice: &Slice) -> Option<Exact> {
        quotient(&whole(slice.productive()), self.market_rental.as_ref()?)
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
