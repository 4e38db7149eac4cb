//! From the queue to a node: late binding, offers and their answers.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{JobId, NodeId};
use primitives::node_protocol::ToNode;

use super::entry::{Entry, Holder, Phase};
use super::{Core, Output, Wake};
use crate::cell::instant_ms;
use crate::job::Class;
use crate::lease::{GrantedLease, LeaseOutcome};
use crate::placement::{self, AHEAD_MAX_MS, Candidate, Choice};
use crate::queue::{Queue, Ticket};

/// A lease's record takes about so long before one was timed. *Units*: ms.
const RECORD_PRIOR_MS: f64 = 3.0;

/// A node that is too busy by its own word is asked again after so long at most.
const BUSY_REST_MAX: TimeDelta = TimeDelta::seconds(10);

/// What is to be done about the jobs that wait for one model.
struct Matched {
    /// The next job in the queue's order that a cell should have now, and whose cell that is.
    offer: Option<(Ticket, NodeId)>,
    /// Jobs that nobody could serve in time any more.
    late: Vec<JobId>,
    /// When the next busy cell will be about to be free, and whose that is.
    look_at: Option<(DateTime<Utc>, NodeId)>,
}

impl Core {
    /// Offers waiting jobs to cells that are about to be free until no pair is left; then audits to referees.
    pub(super) fn dispatch(&mut self, now: DateTime<Utc>) {
        while let Some(model) = self.changed.pop_first() {
            while let Some(matched) = self.next_match(now, &model) {
                self.decisions += 1;
                let (none_left, none_late) = (matched.offer.is_none(), matched.late.is_empty());
                matched.late.into_iter().for_each(|job_id| self.fall_behind(job_id));
                if let Some((at, node_id)) = matched.look_at {
                    self.timers.set(Wake::Turn(node_id), at);
                }
                if let Some((ticket, node_id)) = matched.offer {
                    self.offer(now, &ticket, node_id);
                }
                if none_left && none_late {
                    break;
                }
            }
        }
        self.ask_referees();
    }

    /// What to do about a model's waiting jobs; nothing when none waits.
    fn next_match(&self, now: DateTime<Utc>, model: &str) -> Option<Matched> {
        let queue = self.queues.get(model).filter(|queue| queue.len() > 0)?;
        let (now_ms, record_ms) = (instant_ms(now), self.record_ms());
        let cells = self.fleet.candidates(model, self.decisions);
        let cells: Vec<Candidate<'_>> =
            cells.map(|(node_id, cell)| Candidate::new(node_id, cell, now_ms, record_ms)).collect();
        let trials = self.fleet.trials(model);
        let (mut chosen, mut late) = (None, Vec::new());
        let ticket = cells.iter().any(|it| it.is_ready(Class::Interactive)).then(|| {
            queue.next(|ticket| {
                let Some(entry) = self.jobs.get(&ticket.job_id) else { return false };
                let need = entry.need(now, trials);
                chosen = match placement::choose(&cells, &need) {
                    Choice::Take(node_id) => Some(node_id),
                    Choice::Wait => None,
                    Choice::Late if ticket.late => placement::quickest(&cells, &need),
                    Choice::Late => {
                        late.push(ticket.job_id);
                        None
                    }
                };
                chosen.is_some()
            })
        });
        let offer = ticket.flatten().zip(chosen);
        let look_at = if offer.is_none() { next_turn(now, &cells) } else { None };
        Some(Matched { offer, late, look_at })
    }

    /// What a lease's record takes. *Units*: ms.
    pub(super) fn record_ms(&self) -> f64 {
        self.record_ms.get().unwrap_or(RECORD_PRIOR_MS)
    }

    /// A job that missed its deadline goes behind those that can still make theirs.
    fn fall_behind(&mut self, job_id: JobId) {
        if let Some(entry) = self.jobs.get_mut(&job_id)
            && let Some(queue) = self.queues.get_mut(&entry.job.model)
        {
            queue.fall_behind(&mut entry.ticket);
        }
    }

    fn offer(&mut self, now: DateTime<Utc>, ticket: &Ticket, node_id: NodeId) {
        let (now_ms, record_ms) = (instant_ms(now), self.record_ms());
        let Some(entry) = self.jobs.get_mut(&ticket.job_id) else { return };
        let Phase::Waiting { since: waiting_since, .. } = entry.phase else { return };
        let model = &entry.job.model;
        self.queues.entry(model.clone()).or_insert_with(Queue::new).take(ticket);
        self.fleet.occupy(node_id, model, ticket.job_id, |cell| {
            let tokens = entry.job.prompt.len() + entry.delivered.len();
            let cached = cell.held.cached_tokens(&entry.job.prompt_blocks).min(tokens);
            if cell.lets_pass(entry.job.class) {
                cell.put_aside(ticket.job_id);
            } else {
                cell.put_ahead(ticket.job_id, (tokens - cached).max(1) as f64, now_ms, record_ms);
            }
            cell.held.promise(&entry.job.prompt_blocks, now_ms);
        });
        entry.phase = Phase::Offered { node_id, at: now, waiting_since };
        self.outputs.push(Output::Send(node_id, ToNode::Offer(entry.offer(&self.settings))));
        self.timers.set(Wake::Job(ticket.job_id), entry.due(&self.settings));
    }

    /// A node takes the job: its lease is recorded before the work is sent.
    pub(super) fn accept(&mut self, now: DateTime<Utc>, node_id: NodeId, job_id: JobId, epoch: u32) {
        let Some(entry) = self.offered_to(node_id, job_id, epoch) else { return };
        let model = entry.job.model.clone();
        let Some(node) = self.fleet.node(node_id) else { return };
        let provider_id = node.provider_id;
        let Some(cell) = self.fleet.cell_mut(node_id, &model) else { return };
        cell.accepted(job_id, instant_ms(now));
        let holder = Holder { node_id, provider_id, epoch, prices: cell.prices, slots: cell.slots };
        let grade = self.fleet.grade(node_id, &model);
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        entry.epoch = epoch;
        entry.phase = Phase::Granted { holder, at: now, lost: false };
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
        self.outputs.push(Output::Grant(GrantedLease { job_id, epoch, node_id, provider_id, grade, granted_at: now }));
    }

    /// A node leaves the job to others; one that had taken it breaks its word.
    pub(super) fn decline(
        &mut self,
        now: DateTime<Utc>,
        node_id: NodeId,
        job_id: JobId,
        epoch: u32,
        retry_after_ms: Option<u32>,
    ) {
        if let Some(entry) = self.offered_to(node_id, job_id, epoch) {
            let model = entry.job.model.clone();
            self.put_back(now, node_id, job_id);
            if let Some(ms) = retry_after_ms {
                let until = now + TimeDelta::milliseconds(ms.into()).min(BUSY_REST_MAX);
                self.rest(node_id, &model, until);
                if let Some(cell) = self.fleet.cell_mut(node_id, &model) {
                    cell.decline_until(until);
                }
            }
        } else {
            self.give_up(now, node_id, job_id, epoch, LeaseOutcome::Failed);
        }
    }

    /// A node did not answer in time; should its answer still come, it finds the offer gone.
    pub(super) fn withdraw(&mut self, now: DateTime<Utc>, node_id: NodeId, job_id: JobId) {
        if let Some(entry) = self.jobs.get(&job_id) {
            let epoch = entry.epoch + 1;
            self.outputs.push(Output::Send(node_id, ToNode::Cancel { job_id, epoch }));
            self.put_back(now, node_id, job_id);
        }
    }

    /// An offer came to nothing: the job waits again where it was, and the cell rests.
    fn put_back(&mut self, now: DateTime<Utc>, node_id: NodeId, job_id: JobId) {
        let Some(entry) = self.jobs.get(&job_id) else { return };
        let model = entry.job.model.clone();
        self.fleet.release(node_id, &model, job_id);
        self.rest(node_id, &model, now + self.settings.offer_rest);
        self.wait_again(now, job_id);
    }

    /// Leaves a cell alone until then, or until it was to be left alone anyway.
    pub(super) fn rest(&mut self, node_id: NodeId, model: &str, until: DateTime<Utc>) {
        if let Some(cell) = self.fleet.cell_mut(node_id, model) {
            let until = cell.rests_until.map_or(until, |set| set.max(until));
            cell.rests_until = Some(until);
            self.timers.set(Wake::Rest(node_id), until);
        }
    }

    /// An offered job goes back to its place in the queue.
    pub(super) fn wait_again(&mut self, now: DateTime<Utc>, job_id: JobId) {
        let Some(entry) = self.jobs.get(&job_id) else { return };
        let Phase::Offered { waiting_since, .. } = entry.phase else { return };
        let stranded_since = (!self.could_serve(&entry.job)).then_some(now);
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        entry.phase = Phase::Waiting { since: waiting_since, stranded_since };
        if let Some(queue) = self.queues.get_mut(&entry.job.model) {
            queue.put_back(entry.ticket.clone());
        }
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
        self.changed.insert(entry.job.model.clone());
    }

    /// The job, if this very offer of it is open.
    fn offered_to(&self, node_id: NodeId, job_id: JobId, epoch: u32) -> Option<&Entry> {
        let entry = self.jobs.get(&job_id)?;
        let open = matches!(entry.phase, Phase::Offered { node_id: to, .. } if to == node_id);
        (open && epoch == entry.epoch + 1).then_some(entry)
    }
}

/// When the first of the busy cells will be about to be free.
fn next_turn(now: DateTime<Utc>, cells: &[Candidate<'_>]) -> Option<(DateTime<Utc>, NodeId)> {
    let busy = cells.iter().filter(|it| !it.is_ready(Class::Interactive) && it.cell.slots_free(Class::Interactive) > 0);
    let next = busy.min_by(|one, other| one.turn.waits_ms.total_cmp(&other.turn.waits_ms))?;
    let us = ((next.turn.waits_ms - AHEAD_MAX_MS).max(0.1) * 1_000.0).ceil();
    Some((now + TimeDelta::microseconds(us as i64), next.node_id))
}
