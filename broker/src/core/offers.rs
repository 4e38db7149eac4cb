//! From the queue to a node: late binding, offers and their answers.

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId};
use primitives::node_protocol::ToNode;

use super::entry::{Entry, Holder, Phase};
use super::{Core, Output, Wake};
use crate::lease::{GrantedLease, LeaseOutcome};
use crate::placement::{self, Need};
use crate::queue::{Queue, Ticket};

impl Core {
    /// Offers waiting jobs to free cells until no pair is left.
    pub(super) fn dispatch(&mut self, now: DateTime<Utc>) {
        while let Some(model) = self.changed.pop_first() {
            while let Some((ticket, node_id)) = self.next_match(now, &model) {
                self.offer(now, &ticket, node_id);
            }
        }
    }

    /// The next job of a model in the queue's order that a free cell fits, and the best such cell.
    fn next_match(&self, now: DateTime<Utc>, model: &str) -> Option<(Ticket, NodeId)> {
        let cells = || self.fleet.cells(model);
        if !cells().any(|(_, cell)| cell.slots_free() > 0) {
            return None;
        }
        let mut chosen = None;
        let ticket = self.queues.get(model)?.next(|ticket| {
            chosen = self.jobs.get(&ticket.job_id).and_then(|entry| {
                let need = Need {
                    tokens: entry.job.tokens_needed(),
                    prompt_tokens: ticket.prompt_tokens,
                    output_estimate: ticket.output_estimate,
                    due: ticket.due,
                    avoid: &entry.failed_on,
                };
                placement::choose(self.fleet.eligible(&entry.job), need, now, self.settings.first_token_prior)
            });
            chosen.is_some()
        })?;
        Some((ticket, chosen?))
    }

    fn offer(&mut self, now: DateTime<Utc>, ticket: &Ticket, node_id: NodeId) {
        let Some(entry) = self.jobs.get_mut(&ticket.job_id) else { return };
        let Phase::Waiting { since: waiting_since, .. } = entry.phase else { return };
        let model = &entry.job.model;
        self.queues.entry(model.clone()).or_insert_with(Queue::new).take(ticket);
        self.fleet.occupy(node_id, model, ticket.job_id);
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
        let holder = Holder { node_id, provider_id, epoch, prices: cell.prices, slots: cell.slots };
        let grade = self.fleet.grade(node_id, &model);
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        entry.epoch = epoch;
        entry.phase = Phase::Granted { holder, at: now, lost: false };
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
        self.outputs.push(Output::Grant(GrantedLease { job_id, epoch, node_id, provider_id, grade, granted_at: now }));
    }

    /// A node leaves the job to others; one that had taken it breaks its word.
    pub(super) fn decline(&mut self, now: DateTime<Utc>, node_id: NodeId, job_id: JobId, epoch: u32) {
        if self.offered_to(node_id, job_id, epoch).is_some() {
            self.put_back(now, node_id, job_id);
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
        let rests_until = now + self.settings.offer_rest;
        if let Some(cell) = self.fleet.cell_mut(node_id, &model) {
            cell.rests_until = Some(rests_until);
            self.timers.set(Wake::Rest(node_id), rests_until);
        }
        self.wait_again(now, job_id);
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
