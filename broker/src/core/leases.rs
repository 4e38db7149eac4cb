//! Under a lease: the work goes out, tokens come in, and what happens when they do not.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{JobId, NodeId};
use primitives::kv_block::{self, BLOCK_TOKENS};
use primitives::node_protocol::{EmbeddingFrame, SignedReceipt, ToNode, TokenFrame};

use super::entry::{Entry, Holder, LastWord, Phase, Run, Verdict, count};
use super::{Core, Output, Wake, failed};
use crate::cell::{Lap, instant_ms, millis};
use crate::job::{EndReason, FailureCode, JobEvent, Outcome};
use crate::lease::{EndedLease, LeaseOutcome};

/// A lease outlives a silence of this many of its cell's longest usual gaps.
const STALL_GAPS: f64 = 4.0;

/// A cell rests after so many leases in a row that failed,
const BREAK_AFTER: u32 = 3;
/// for so long, and twice as long each time it fails again,
const BREAK_FOR: TimeDelta = TimeDelta::seconds(1);
/// so many times.
const BREAK_DOUBLINGS_MAX: u32 = 6;

impl Core {
    /// A lease is on record: its work is sent.
    pub fn lease_recorded(&mut self, now: DateTime<Utc>, job_id: JobId, epoch: u32) {
        if let Some((holder, lost)) = self.granted(job_id, epoch) {
            self.time_record(now, job_id);
            let run = self.run(now, job_id, holder);
            if lost {
                self.fail_over(now, job_id, run, LeaseOutcome::Lost);
            } else {
                self.commit(job_id, run);
            }
            self.dispatch(now);
        }
    }

    /// A lease could not be recorded, because the job is another's or the record is out of reach: it fails here.
    pub fn lease_refused(&mut self, now: DateTime<Utc>, job_id: JobId, epoch: u32) {
        if self.granted(job_id, epoch).is_some()
            && let Some(entry) = self.leave(job_id)
        {
            self.dismiss(&entry);
            self.outputs.push(Output::Event(job_id, failed(FailureCode::LeaseUnrecorded, entry)));
            self.dispatch(now);
        }
    }

    fn time_record(&mut self, now: DateTime<Utc>, job_id: JobId) {
        if let Some(Phase::Granted { at, .. }) = self.jobs.get(&job_id).map(|entry| &entry.phase) {
            self.record_ms.add(millis(now - *at));
        }
    }

    fn granted(&self, job_id: JobId, epoch: u32) -> Option<(Holder, bool)> {
        match self.jobs.get(&job_id)?.phase {
            Phase::Granted { holder, lost, .. } if holder.epoch == epoch => Some((holder, lost)),
            _ => None,
        }
    }

    fn run(&self, now: DateTime<Utc>, job_id: JobId, holder: Holder) -> Run {
        Run {
            holder,
            committed_at: now,
            patient_from: now,
            expires_at: now + self.settings.lease_ttl,
            last_token_at: None,
            lap: Lap::begin(now),
            next_seq: 0,
            cached_tokens: 0,
            cached_tokens_max: 0,
            embedded_before: self.jobs.get(&job_id).map_or(0, |entry| entry.job.embed[..entry.vectors].iter().sum()),
            delivered_from: self.jobs.get(&job_id).map_or(0, |entry| entry.delivered.len()),
        }
    }

    fn commit(&mut self, job_id: JobId, mut run: Run) {
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        let Holder { node_id, provider_id, epoch, .. } = run.holder;
        if let Some(cell) = self.fleet.cell_mut(node_id, &entry.job.model) {
            run.cached_tokens_max = count(cell.sent.send(&entry.job.prompt_blocks) * BLOCK_TOKENS);
        }
        entry.phase = Phase::Running(run);
        if let Some(cell) = self.fleet.cell_mut(node_id, &entry.job.model) {
            cell.committed(job_id, instant_ms(run.committed_at));
        }
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
        let message = if entry.job.embed.is_empty() {
            ToNode::Commit { job_id, epoch, work: Box::new(entry.work(run.committed_at)) }
        } else {
            ToNode::Embed { job_id, epoch, texts: entry.texts() }
        };
        self.outputs.push(Output::Send(node_id, message));
        self.outputs.push(Output::Event(job_id, JobEvent::Placed { node_id, provider_id, epoch }));
    }

    /// Tokens come; those of an older lease, of another node, or that came before, mean nothing.
    pub(super) fn tokens(&mut self, now: DateTime<Utc>, node_id: NodeId, frame: TokenFrame) {
        let job_id = frame.job_id;
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        let Some(run) = entry.run_of(node_id, frame.epoch).copied() else { return };
        match entry.judge(&run, &frame, &self.settings) {
            Verdict::Deliver => self.deliver(now, run, frame),
            Verdict::Duplicate => {}
            Verdict::TooMany => {
                self.outputs.push(Output::Send(node_id, ToNode::Cancel { job_id, epoch: frame.epoch }));
                self.end(now, job_id, run, EndReason::Length, LeaseOutcome::Cut, None);
            }
            Verdict::Broken => self.give_up(now, node_id, job_id, frame.epoch, LeaseOutcome::Broken),
        }
    }

    fn deliver(&mut self, now: DateTime<Utc>, mut run: Run, frame: TokenFrame) {
        let Some(entry) = self.jobs.get_mut(&frame.job_id) else { return };
        let TokenFrame { job_id, ids, text, logprobs, .. } = frame;
        run.next_seq += 1;
        if !ids.is_empty() || !text.is_empty() {
            let mut gap_ms = 0.0;
            if let Some(cell) = self.fleet.cell_mut(run.holder.node_id, &entry.job.model) {
                match run.last_token_at {
                    None => {
                        cell.measured.first_token_ms.add(millis(now - run.committed_at));
                        cell.first_token(job_id, instant_ms(now));
                        run.lap = Lap::begin(now);
                        self.changed.insert(entry.job.model.clone());
                    }
                    // What gave way tells nothing of the pace.
                    Some(last) if run.patient_from > last => run.lap = Lap::begin(now),
                    Some(last) if !ids.is_empty() => {
                        cell.measured.gap_ms.add(millis(now - last));
                        if let Some(step_ms) = cell.measured.pace.add(&mut run.lap, now, ids.len()) {
                            cell.measured.curve.learn_step(f64::from(cell.decoding()), step_ms);
                        }
                    }
                    Some(_) => {}
                }
                gap_ms = cell.measured.gap_ms.get().unwrap_or(0.0);
            }
            let patience = chrono::TimeDelta::milliseconds((STALL_GAPS * gap_ms) as i64);
            run.expires_at = now + patience.min(self.settings.first_token_max).max(self.settings.lease_ttl);
            run.last_token_at = Some(now);
            entry.delivered.extend_from_slice(&ids);
            entry.text_bytes += text.len() as u64;
            self.outputs.push(Output::Event(job_id, JobEvent::Tokens { ids, text, logprobs }));
        }
        entry.phase = Phase::Running(run);
        self.conclude(now, job_id);
    }

    /// An embedding comes; like a frame of tokens it counts under the current lease alone.
    pub(super) fn vector(&mut self, now: DateTime<Utc>, node_id: NodeId, frame: EmbeddingFrame) {
        let (job_id, epoch) = (frame.job_id, frame.epoch);
        let first_token_max = self.settings.first_token_max;
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        let Some(mut run) = entry.run_of(node_id, epoch).copied() else { return };
        match entry.judge_vector(&run, &frame) {
            Verdict::Deliver => {
                run.next_seq += 1;
                // The next one may take as long as the first.
                run.expires_at = now + first_token_max;
                run.last_token_at = Some(now);
                entry.vectors += 1;
                entry.dimensions = frame.vector.len();
                entry.phase = Phase::Running(run);
                self.outputs.push(Output::Event(job_id, JobEvent::Vector(frame.vector)));
                self.conclude(now, job_id);
            }
            Verdict::Duplicate => {}
            Verdict::TooMany | Verdict::Broken => self.give_up(now, node_id, job_id, epoch, LeaseOutcome::Broken),
        }
    }

    /// The node says that it is done. A frame that was overtaken comes while the lease lasts, or the job goes on elsewhere.
    pub(super) fn finished(&mut self, now: DateTime<Utc>, node_id: NodeId, word: LastWord) {
        let (job_id, epoch) = (word.receipt.receipt.job_id, word.receipt.receipt.epoch);
        let lasts_until = now + self.settings.lease_ttl;
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        let frames_max = entry.frames_max();
        let Some(run) = entry.run_of(node_id, epoch) else { return };
        if !(run.next_seq..=frames_max).contains(&word.frames) {
            return self.give_up(now, node_id, job_id, epoch, LeaseOutcome::Broken);
        }
        run.expires_at = run.expires_at.min(lasts_until);
        entry.last_word = Some(word);
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
        self.conclude(now, job_id);
    }

    /// Ends a job whose node is done with it, once all that the node sent is here.
    fn conclude(&mut self, now: DateTime<Utc>, job_id: JobId) {
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        let Phase::Running(run) = entry.phase else { return };
        let Some(word) = entry.last_word.take_if(|word| word.frames == run.next_seq) else { return };
        if !entry.job.embed.is_empty() && !entry.is_complete() {
            return self.give_up(now, run.holder.node_id, job_id, run.holder.epoch, LeaseOutcome::Broken);
        }
        let run = Run { cached_tokens: word.cached_tokens, ..run };
        self.end(now, job_id, run, word.reason.into(), LeaseOutcome::Done, Some(word.receipt));
    }

    /// The job ended as it should.
    fn end(
        &mut self,
        now: DateTime<Utc>,
        job_id: JobId,
        run: Run,
        reason: EndReason,
        outcome: LeaseOutcome,
        receipt: Option<SignedReceipt>,
    ) {
        let Some(mut entry) = self.leave(job_id) else { return };
        entry.close_segment_with_prompt(now, &run);
        self.note_output(&entry, run.holder.node_id);
        if let Some(queue) = self.queues.get_mut(&entry.job.model) {
            queue.learn(entry.delivered.len() as u64, now - run.committed_at);
        }
        let done = outcome == LeaseOutcome::Done;
        self.rate(now, &run, &entry.job.model, if done { 1.0 } else { 0.0 });
        self.outputs.push(Output::End(ended(now, &entry, &run, outcome, receipt)));
        if done {
            self.sample(now, &mut entry, &run);
        }
        let outcome = Outcome { reason, segments: entry.segments };
        self.outputs.push(Output::Event(job_id, JobEvent::Ended(outcome)));
    }

    /// What a node has made is as good as sent: the next turn of a conversation goes on from it.
    fn note_output(&mut self, entry: &Entry, node_id: NodeId) {
        if let Some(salt) = &entry.job.cache_salt
            && let Some(cell) = self.fleet.cell_mut(node_id, &entry.job.model)
        {
            let mut blocks = entry.job.prompt_blocks.clone();
            kv_block::extend(salt, &mut blocks, &[&entry.job.prompt[..], &entry.delivered].concat());
            cell.sent.send(&blocks);
        }
    }

    /// A node has gone with an offer or a lease of this job.
    pub(super) fn lose_job(&mut self, now: DateTime<Utc>, job_id: JobId) {
        match self.jobs.get_mut(&job_id).map(|entry| &mut entry.phase) {
            Some(Phase::Offered { .. }) => self.wait_again(now, job_id),
            // One record of a job at a time: the next lease waits for the answer on this one.
            Some(Phase::Granted { lost, .. }) => *lost = true,
            Some(Phase::Running(run)) => {
                let run = *run;
                self.fail_over(now, job_id, run, LeaseOutcome::Lost);
            }
            Some(Phase::Waiting { .. }) | None => {}
        }
    }

    /// A node that is still here gives up on a job, or is given up on.
    pub(super) fn give_up(
        &mut self,
        now: DateTime<Utc>,
        node_id: NodeId,
        job_id: JobId,
        epoch: u32,
        outcome: LeaseOutcome,
    ) {
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        if let Phase::Granted { holder, lost, .. } = &mut entry.phase
            && (holder.node_id, holder.epoch) == (node_id, epoch)
        {
            *lost = true;
            return;
        }
        let Some(run) = entry.run_of(node_id, epoch).copied() else { return };
        if outcome != LeaseOutcome::Failed {
            self.outputs.push(Output::Send(node_id, ToNode::Cancel { job_id, epoch }));
        }
        self.fail_over(now, job_id, run, outcome);
    }

    /// A lease failed: what it delivered stands, and the job goes on elsewhere from there, if it may.
    fn fail_over(&mut self, now: DateTime<Utc>, job_id: JobId, run: Run, outcome: LeaseOutcome) {
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        if entry.is_complete() {
            // All that was wanted is here; only the word that it is all was lost.
            return self.end(now, job_id, run, EndReason::Length, outcome, None);
        }
        entry.close_segment(now, &run);
        entry.failed_on.push(run.holder.node_id);
        let model = entry.job.model.clone();
        self.outputs.push(Output::End(ended(now, entry, &run, outcome, None)));
        self.rate(now, &run, &model, 0.0);
        self.fleet.release(run.holder.node_id, &model, job_id);
        if run.holder.epoch >= self.settings.attempts_max {
            let Some(entry) = self.remove(job_id, false) else { return };
            self.outputs.push(Output::Event(job_id, failed(FailureCode::AttemptsExhausted, entry)));
        } else {
            self.resume(now, job_id);
        }
        self.changed.insert(model);
    }

    /// A job that has begun waits for another node, ahead of all that have not.
    fn resume(&mut self, now: DateTime<Utc>, job_id: JobId) {
        let Some(entry) = self.jobs.get(&job_id) else { return };
        let stranded_since = (!self.could_serve(&entry.job)).then_some(now);
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        entry.phase = Phase::Waiting { since: now, stranded_since };
        entry.last_word = None;
        if let Some(queue) = self.queues.get_mut(&entry.job.model) {
            queue.resume(&mut entry.ticket);
        }
        self.timers.set(Wake::Job(job_id), entry.due(&self.settings));
    }

    /// Ends a job with a failure of ours.
    pub(super) fn fail(&mut self, now: DateTime<Utc>, job_id: JobId, code: FailureCode) {
        if let Some(entry) = self.stop(now, job_id) {
            self.outputs.push(Output::Event(job_id, failed(code, entry)));
        }
    }

    /// Takes a job away from whoever has it, closes its lease, and forgets it.
    pub(super) fn stop(&mut self, now: DateTime<Utc>, job_id: JobId) -> Option<Entry> {
        let mut entry = self.leave(job_id)?;
        self.dismiss(&entry);
        let run = match entry.phase {
            Phase::Running(run) => run,
            Phase::Granted { holder, .. } => {
                let delivered_from = entry.delivered.len();
                Run { delivered_from, ..self.run(now, job_id, holder) }
            }
            Phase::Waiting { .. } | Phase::Offered { .. } => return Some(entry),
        };
        entry.close_segment(now, &run);
        self.outputs.push(Output::End(ended(now, &entry, &run, LeaseOutcome::Cancelled, None)));
        Some(entry)
    }

    /// Tells the node that has the job that it is no longer wanted.
    fn dismiss(&mut self, entry: &Entry) {
        let (job_id, open) = (entry.job.job_id, matches!(entry.phase, Phase::Offered { .. }));
        if let Some(node_id) = entry.node_id() {
            let epoch = entry.epoch + u32::from(open);
            self.outputs.push(Output::Send(node_id, ToNode::Cancel { job_id, epoch }));
        }
    }

    /// Forgets a job wherever it stands; its slot is free again.
    fn leave(&mut self, job_id: JobId) -> Option<Entry> {
        let entry = self.jobs.get(&job_id)?;
        let waits = matches!(entry.phase, Phase::Waiting { .. });
        let entry = self.remove(job_id, waits)?;
        if let Some(node_id) = entry.node_id() {
            self.fleet.release(node_id, &entry.job.model, job_id);
            self.changed.insert(entry.job.model.clone());
        }
        Some(entry)
    }

    fn remove(&mut self, job_id: JobId, waits: bool) -> Option<Entry> {
        let entry = self.jobs.remove(&job_id)?;
        self.timers.clear(Wake::Job(job_id));
        if let Some(queue) = self.queues.get_mut(&entry.job.model) {
            if waits {
                queue.remove(&entry.ticket);
            }
            if !waits || entry.ticket.ahead {
                queue.settle(&entry.ticket, entry.delivered.len() as u64);
            }
        }
        Some(entry)
    }

    fn rate(&mut self, now: DateTime<Utc>, run: &Run, model: &str, success: f64) {
        let node_id = run.holder.node_id;
        let mut failures = 0;
        self.fleet.measure(node_id, model, |measured| {
            measured.reliability.add(success);
            measured.failures = if success > 0.0 { 0 } else { measured.failures.saturating_add(1) };
            failures = measured.failures;
        });
        if failures >= BREAK_AFTER {
            self.rest(node_id, model, now + BREAK_FOR * (1 << (failures - BREAK_AFTER).min(BREAK_DOUBLINGS_MAX)));
        }
    }
}

/// The record of a lease that is over.
fn ended(
    now: DateTime<Utc>,
    entry: &Entry,
    run: &Run,
    outcome: LeaseOutcome,
    receipt: Option<SignedReceipt>,
) -> EndedLease {
    EndedLease {
        job_id: entry.job.job_id,
        epoch: run.holder.epoch,
        node_id: run.holder.node_id,
        ended_at: now,
        outcome,
        prompt_tokens: count(entry.job.prompt.len()) - run.embedded_before,
        delivered: entry.delivered[run.delivered_from..].to_vec(),
        receipt,
    }
}
