//! Placement: which free cell gets a job.
//!
//! Among the cells expected to give the first token in time the cheapest in the end wins; when none is, the quickest.
//! "In the end" means that a slow or unreliable cell counts as dearer than it asks. Ties go to the lower node id, so
//! that the same state always gives the same choice.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::NodeId;

use crate::cell::{Cell, millis};

/// How much dearer a cell counts that uses up all the time there is.
const SLOWNESS_WEIGHT: f64 = 0.1;

/// What a job needs of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    /// Prompt and the most output.
    pub tokens: u64,
    pub prompt_tokens: u64,
    pub output_estimate: u64,
    /// When the first token is wanted.
    pub due: DateTime<Utc>,
    /// Nodes that failed this job: asked again only when no other could serve it.
    pub avoid: &'a [NodeId],
}

/// The best free cell for a job, if there is one.
pub(crate) fn choose<'a, I>(cells: I, need: Need<'_>, now: DateTime<Utc>, prior: TimeDelta) -> Option<NodeId>
where
    I: Iterator<Item = (NodeId, &'a Cell)> + Clone,
{
    let fitting = cells.filter(|(_, cell)| u64::from(cell.context_tokens) >= need.tokens);
    let spares_failed = fitting.clone().any(|(node_id, _)| !need.avoid.contains(&node_id));
    fitting
        .filter(|(node_id, cell)| cell.slots_free() > 0 && !(spares_failed && need.avoid.contains(node_id)))
        .map(|(node_id, cell)| Score::of(node_id, cell, &need, now, prior))
        .min_by(Score::order)
        .map(|score| score.node_id)
}

/// How good a cell is for a job.
#[derive(Clone, Copy, Debug)]
struct Score {
    node_id: NodeId,
    in_time: bool,
    /// *Units*: atto-units of the broker's currency, weighted; a score, never an amount.
    cost: f64,
    first_token_ms: f64,
}

impl Score {
    fn of(node_id: NodeId, cell: &Cell, need: &Need<'_>, now: DateTime<Utc>, prior: TimeDelta) -> Self {
        let first_token_ms = cell.measured.first_token_ms.get().unwrap_or(millis(prior));
        let left_ms = millis(need.due - now);
        let asked = cell.prices.input.cost(need.prompt_tokens) + cell.prices.output.cost(need.output_estimate);
        let slowness = 1.0 + SLOWNESS_WEIGHT * (first_token_ms / left_ms.max(1.0)).min(1.0);
        let doubt = 2.0 - cell.measured.reliability.get().unwrap_or(1.0);
        Self { node_id, in_time: first_token_ms <= left_ms, cost: asked.0 as f64 * slowness * doubt, first_token_ms }
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_cost = self.cost.total_cmp(&other.cost);
        let by_time = self.first_token_ms.total_cmp(&other.first_token_ms);
        let within = if self.in_time { by_cost.then(by_time) } else { by_time.then(by_cost) };
        other.in_time.cmp(&self.in_time).then(within).then(self.node_id.cmp(&other.node_id))
    }
}

#[cfg(test)]
mod tests {
    use primitives::money::{AttoPrice, Currency};
    use primitives::node_protocol::ServedModel;
    use uuid::Uuid;

    use super::*;
    use crate::ask::AskPrices;
    use crate::cell::Measured;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn node(n: u128) -> NodeId {
        NodeId(Uuid::from_u128(n))
    }

    fn cell(price: i128, first_token_ms: f64) -> Cell {
        let price = AttoPrice::try_new(price).unwrap();
        let served = ServedModel {
            model: "m".into(),
            weights_sha256: String::new(),
            quantisation: "F16".into(),
            context_tokens: 1_000,
            slots: 1,
            engine: String::new(),
            features: vec![],
        };
        let mut measured = Measured::default();
        measured.first_token_ms.add(first_token_ms);
        Cell::new(&served, AskPrices { currency: Currency::USD, input: price, output: price }, 0, measured)
    }

    fn check(cells: &[(u128, Cell)], avoid: &[NodeId]) -> Option<u128> {
        let due = NOW + TimeDelta::milliseconds(500);
        let need = Need { tokens: 200, prompt_tokens: 100, output_estimate: 100, due, avoid };
        let cells = cells.iter().map(|(n, cell)| (node(*n), cell));
        choose(cells, need, NOW, TimeDelta::milliseconds(500)).map(|node_id| node_id.0.as_u128())
    }

    #[test]
    fn the_cheapest_in_time_wins() {
        assert_eq!(check(&[(1, cell(30, 100.0)), (2, cell(10, 400.0)), (3, cell(1, 900.0))], &[]), Some(2));
    }

    #[test]
    fn when_none_is_in_time_the_quickest_wins() {
        assert_eq!(check(&[(1, cell(1, 900.0)), (2, cell(9, 700.0))], &[]), Some(2));
    }

    #[test]
    fn an_unreliable_cell_counts_as_dearer() {
        let mut doubtful = cell(10, 100.0);
        doubtful.measured.reliability.add(0.0);
        assert_eq!(check(&[(1, doubtful), (2, cell(15, 100.0))], &[]), Some(2));
    }

    #[test]
    fn ties_go_to_the_lower_node_id() {
        assert_eq!(check(&[(2, cell(5, 100.0)), (1, cell(5, 100.0))], &[]), Some(1));
    }

    #[test]
    fn a_node_that_failed_the_job_waits_until_no_other_could_serve_it() {
        let mut busy = cell(5, 100.0);
        busy.in_flight = 1;
        assert_eq!(check(&[(1, cell(5, 100.0)), (2, busy)], &[node(1)]), None);
        assert_eq!(check(&[(1, cell(5, 100.0))], &[node(1)]), Some(1));
    }

    #[test]
    fn a_short_context_is_no_candidate() {
        let mut short = cell(5, 100.0);
        short.context_tokens = 199;
        assert_eq!(check(&[(1, short)], &[]), None);
    }
}
