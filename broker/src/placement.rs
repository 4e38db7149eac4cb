//! Placement: which cell gets a job, and whether one that is busy now is worth waiting for.
//!
//! A cell is in time when its first token comes before the job's deadline nine times in ten, as it is forecast (`curve`), and its
//! steps are as quick as the job wants. Among the cells in time the cheapest in the end wins: what the asks make of the tokens
//! that are left to compute, more for a cell that uses up the time or fails often. When none is in time, the quickest wins. Ties
//! go to the lower node id, so that the same state always gives the same choice.

use std::cmp::Ordering;

use chrono::TimeDelta;
use primitives::certificate::Grade;
use primitives::id::NodeId;
use primitives::kv_block::BlockName;

use crate::cell::{Cell, Turn};
use crate::job::Class;
use crate::standing::{Choice as Allowed, TrialShare};

/// How much dearer a cell counts that uses up all the time there is.
const SLOWNESS_WEIGHT: f64 = 0.1;
/// What a prompt's token that a cache holds counts of one that has to be computed.
const CACHED_WEIGHT: f64 = 0.1;
/// A busy cell is worth waiting for when its cache saves so much of the prompt, beyond what a free one's does.
const SAVED_MIN: f64 = 0.1;
/// It must still be in time with so much of the time that is left.
const WAIT_SHARE: f64 = 0.7;
/// A cell takes a job when what is ahead there ends so soon after the job arrives. *Units*: ms.
pub(crate) const AHEAD_MAX_MS: f64 = 15.0;

/// What a job needs of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    pub class: Class,
    /// Prompt and the most output.
    pub tokens: u64,
    pub prompt_tokens: u64,
    pub output_estimate: u64,
    /// The lowest grade that it takes.
    pub grade: Grade,
    /// How much of its model's work new nodes got lately.
    pub trials: TrialShare,
    /// The prompt's blocks by name.
    pub blocks: &'a [BlockName],
    /// Until its first token is wanted; less than nothing when that has passed. *Units*: ms.
    pub left_ms: f64,
    /// It has a deadline, which it may miss for good.
    pub is_due: bool,
    /// The longest step that it wants.
    pub step_max: Option<TimeDelta>,
    /// Nodes that failed this job: asked again only when no other could serve it.
    pub avoid: &'a [NodeId],
}

/// A cell that may get a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub node_id: NodeId,
    pub cell: &'a Cell,
    pub turn: Turn,
}

impl<'a> Candidate<'a> {
    pub fn new(node_id: NodeId, cell: &'a Cell, now_ms: f64, record_ms: f64) -> Self {
        Self { node_id, cell, turn: cell.turn(now_ms, record_ms) }
    }

    /// True when a job of this class that is offered now would be begun about when it arrives.
    pub fn is_ready(&self, class: Class) -> bool {
        self.cell.slots_free(class) > 0 && self.turn.waits_ms <= AHEAD_MAX_MS
    }
}

/// What to do with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Offer it to this node.
    Take(NodeId),
    /// Leave it where it is.
    Wait,
    /// Nobody could keep its deadline any more.
    Late,
}

/// What becomes of a job while these cells are there, ready or not.
pub(crate) fn choose(cells: &[Candidate<'_>], need: &Need<'_>) -> Choice {
    let fitting = eligible(cells, need);
    let spares_failed = fitting.clone().any(|it| !need.avoid.contains(&it.node_id));
    let (mut best, mut busy_cached, mut in_time_later) = (None::<Score>, 0.0_f64, false);
    for candidate in fitting.filter(|it| !(spares_failed && need.avoid.contains(&it.node_id))) {
        let score = Score::of(candidate, need);
        if candidate.is_ready(need.class) {
            best = Some(best.map_or(score, |best| if score.order(&best) == Ordering::Less { score } else { best }));
        } else {
            in_time_later |= score.middle_ms <= need.left_ms && score.keeps_pace;
            if score.keeps_pace && score.first_token_ms <= WAIT_SHARE * need.left_ms {
                busy_cached = busy_cached.max(score.cached);
            }
        }
    }
    match best {
        Some(best) if best.in_time || !need.is_due => {
            let saved = busy_cached - best.cached;
            if saved > SAVED_MIN * need.prompt_tokens as f64 { Choice::Wait } else { Choice::Take(best.node_id) }
        }
        // It may be in time after all, with some luck.
        Some(best) if best.keeps_pace && best.middle_ms <= need.left_ms => Choice::Take(best.node_id),
        _ if in_time_later || !need.is_due => Choice::Wait,
        _ => Choice::Late,
    }
}

/// The ready cell that answers first, for a job that is late anyway.
pub(crate) fn quickest(cells: &[Candidate<'_>], need: &Need<'_>) -> Option<NodeId> {
    let fitting = eligible(cells, need).filter(|it| it.is_ready(need.class));
    let scores = fitting.map(|candidate| Score::of(candidate, need));
    scores.min_by(|one, other| one.middle_ms.total_cmp(&other.middle_ms)).map(|score| score.node_id)
}

/// The cells that a job may go to: of its grade, with room for its context, and new nodes only for their small share of the work.
fn eligible<'c, 'a>(cells: &'c [Candidate<'a>], need: &Need<'_>) -> impl Iterator<Item = &'c Candidate<'a>> + Clone {
    let (class, tokens, grade) = (need.class, need.tokens, need.grade);
    let fitting = cells.iter().filter(move |it| u64::from(it.cell.context_tokens) >= tokens && it.cell.grade >= grade);
    let (mut established, mut on_trial, mut on_trial_free) = (false, false, false);
    for candidate in fitting.clone() {
        established |= !candidate.cell.on_trial;
        on_trial |= candidate.cell.on_trial;
        on_trial_free |= candidate.cell.on_trial && candidate.is_ready(class);
    }
    let allowed = Allowed::of(need.trials, established, on_trial, on_trial_free);
    fitting.filter(move |it| allowed.allows(it.cell.on_trial))
}

/// How good a cell is for a job.
#[derive(Clone, Copy, Debug)]
struct Score {
    node_id: NodeId,
    in_time: bool,
    keeps_pace: bool,
    /// *Units*: atto-units of the broker's currency, weighted; a score, never an amount.
    cost: f64,
    /// Nine times in ten at most.
    first_token_ms: f64,
    /// As often sooner as later.
    middle_ms: f64,
    /// Of the prompt. *Units*: tokens.
    cached: f64,
}

impl Score {
    fn of(candidate: &Candidate<'_>, need: &Need<'_>) -> Self {
        let Candidate { node_id, cell, turn } = *candidate;
        let prompt = need.prompt_tokens as f64;
        let cached = (cell.held.cached_tokens(need.blocks) as f64).min(prompt - 1.0).max(0.0);
        let curve = &cell.measured.curve;
        let middle_ms = cell.first_token_ms(turn, prompt - cached);
        let first_token_ms = middle_ms * curve.spread();
        let keeps_pace = cell.keeps_pace(need.step_max);
        let (input, output) = cell.asks();
        let asked = input * (prompt - cached + CACHED_WEIGHT * cached) + output * need.output_estimate as f64;
        let slowness = 1.0 + SLOWNESS_WEIGHT * (first_token_ms / need.left_ms.max(1.0)).min(1.0);
        let doubt = 2.0 - cell.measured.reliability.get().unwrap_or(1.0);
        let in_time = first_token_ms <= need.left_ms && keeps_pace;
        Self { node_id, in_time, keeps_pace, cost: asked * slowness * doubt, first_token_ms, middle_ms, cached }
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_cost = self.cost.total_cmp(&other.cost);
        let by_time = self.first_token_ms.total_cmp(&other.first_token_ms);
        let within = if self.in_time { by_cost.then(by_time) } else { by_time.then(by_cost) };
        let by_promise = other.in_time.cmp(&self.in_time).then(other.keeps_pace.cmp(&self.keeps_pace));
        by_promise.then(within).then(self.node_id.cmp(&other.node_id))
    }
}

#[cfg(test)]
mod tests {
    use primitives::id::JobId;
    use primitives::money::{AttoPrice, Currency};
    use primitives::node_protocol::ServedModel;
    use uuid::Uuid;

    use super::*;
    use crate::ask::AskPrices;
    use crate::cell::Measured;
    use crate::standing::Standing;

    fn node(n: u128) -> NodeId {
        NodeId(Uuid::from_u128(n))
    }

    /// A cell with one slot whose node says that a prompt of a hundred tokens takes so long.
    fn cell(price: i128, prompt_ms: u32) -> Cell {
        let price = AttoPrice::try_new(price).unwrap();
        let served = ServedModel {
            model: "m".into(),
            weights_sha256: String::new(),
            quantisation: "F16".into(),
            context_tokens: 1_000,
            slots: 1,
            ..ServedModel::default()
        };
        let mut measured = Measured::default();
        measured.curve.hear(prompt_ms * 10);
        let mut cell =
            Cell::new(&served, AskPrices { currency: Currency::USD, input: price, output: price }, 0, measured);
        cell.stand(&Standing::exact("m"), "m");
        cell
    }

    fn need() -> Need<'static> {
        Need {
            class: Class::Interactive,
            tokens: 200,
            prompt_tokens: 100,
            output_estimate: 100,
            grade: Grade::Exact,
            trials: TrialShare::default(),
            blocks: &[1, 2, 3],
            left_ms: 1_000.0,
            is_due: true,
            step_max: None,
            avoid: &[],
        }
    }

    fn check(cells: &[(u128, Cell)], need: &Need<'_>) -> Choice {
        let cells: Vec<_> = cells.iter().map(|(n, cell)| Candidate::new(node(*n), cell, 0.0, 0.0)).collect();
        choose(&cells, need)
    }

    fn take(n: u128) -> Choice {
        Choice::Take(node(n))
    }

    #[test]
    fn the_cheapest_in_time_wins() {
        assert_eq!(check(&[(1, cell(30, 100)), (2, cell(10, 400)), (3, cell(1, 1_900))], &need()), take(2));
    }

    #[test]
    fn a_cell_is_in_time_nine_times_in_ten_and_not_on_average() {
        let mut wild = cell(1, 600);
        (0..200).for_each(|n| wild.measured.curve.judge(100.0, if n % 5 == 0 { 300.0 } else { 80.0 }));
        assert_eq!(check(&[(1, wild), (2, cell(9, 400))], &need()), take(2));
    }

    #[test]
    fn a_job_without_a_deadline_goes_to_the_quickest_when_none_is_in_time() {
        let cells = [(1, cell(1, 1_900)), (2, cell(9, 1_700))];
        assert_eq!(check(&cells, &Need { is_due: false, ..need() }), take(2));
        assert_eq!(check(&cells, &need()), Choice::Late, "one that has a deadline has missed it");
    }

    #[test]
    fn a_cell_whose_steps_are_too_slow_is_not_in_time() {
        let mut slow = cell(1, 100);
        (0..20).for_each(|_| slow.measured.curve.learn_step(1.0, 90.0));
        let need = Need { step_max: Some(TimeDelta::milliseconds(60)), ..need() };
        assert_eq!(check(&[(1, slow.clone()), (2, cell(9, 100))], &need), take(2));
        assert_eq!(check(&[(1, slow)], &need), Choice::Late);
    }

    #[test]
    fn an_unreliable_cell_counts_as_dearer() {
        let mut doubtful = cell(10, 100);
        doubtful.measured.reliability.add(0.0);
        assert_eq!(check(&[(1, doubtful), (2, cell(15, 100))], &need()), take(2));
    }

    #[test]
    fn ties_go_to_the_lower_node_id() {
        assert_eq!(check(&[(2, cell(5, 100)), (1, cell(5, 100))], &need()), take(1));
    }

    #[test]
    fn a_node_that_failed_the_job_waits_until_no_other_could_serve_it() {
        let need = Need { avoid: &[node(1)], ..need() };
        assert_eq!(check(&[(1, cell(5, 100)), (2, busy(100))], &need), Choice::Wait);
        assert_eq!(check(&[(1, cell(5, 100))], &need), take(1));
    }

    #[test]
    fn a_short_context_is_no_candidate() {
        let mut short = cell(5, 100);
        short.context_tokens = 199;
        assert_eq!(check(&[(1, short)], &Need { is_due: false, ..need() }), Choice::Wait);
    }

    /// A cell that computes another prompt, of a hundred tokens.
    fn busy(prompt_ms: u32) -> Cell {
        let mut busy = cell(5, prompt_ms);
        (busy.slots, busy.capacity) = (4, 4);
        busy.put_ahead(JobId(Uuid::nil()), 100.0, 0.0, 0.0);
        busy
    }

    #[test]
    fn a_busy_cell_that_holds_the_prompt_is_waited_for_while_there_is_time() {
        let mut holder = busy(200);
        holder.held.tell(&[1, 2, 3], &[], 0.0);
        let cells = [(1, cell(5, 200)), (2, holder)];
        assert_eq!(check(&cells, &need()), Choice::Wait);
        assert_eq!(check(&cells, &Need { left_ms: 330.0, ..need() }), take(1));
        assert_eq!(check(&cells, &Need { blocks: &[9, 8, 7], ..need() }), take(1));
    }

    #[test]
    fn a_free_cell_that_holds_the_prompt_is_cheaper() {
        let mut holder = cell(6, 200);
        holder.held.tell(&[1, 2, 3], &[], 0.0);
        assert_eq!(check(&[(1, cell(5, 200)), (2, holder)], &need()), take(2));
    }
}
