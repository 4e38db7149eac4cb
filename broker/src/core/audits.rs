//! Audits: of some jobs another provider's node is asked what the model would have drawn.
//!
//! What an audit reads is the job's own memory, which is kept a little longer: nothing is stored, and what finds no referee in time is
//! forgotten.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{JobId, NodeId, ProviderId};
use primitives::node_protocol::{Replay, ToNode, output_sha256};

use super::entry::{Entry, Run, count};
use super::{Core, Output, Wake};
use crate::trust::audit::Audit;
use crate::trust::judgement::POSITIONS;

/// Audits that wait or are under way; beyond it none begins.
const OPEN_MAX: usize = 64;
/// How long a job's end waits for a referee and its answer.
const OPEN_FOR: TimeDelta = TimeDelta::minutes(5);
/// Nodes that are asked for one audit.
const REFEREES_MAX: usize = 3;

/// The audits that are not over.
#[derive(Debug, Default)]
pub(super) struct Audits(VecDeque<Open>);

/// One of them.
#[derive(Debug)]
struct Open {
    job_id: JobId,
    epoch: u32,
    node_id: NodeId,
    provider_id: ProviderId,
    replay: Replay,
    /// Of all that the lease delivered, of which the replay may be the beginning.
    output_sha256: String,
    /// Who was asked, the last of them now if `waits` is false.
    asked: Vec<NodeId>,
    waits: bool,
    until: DateTime<Utc>,
}

impl Open {
    fn referee(&self) -> Option<NodeId> {
        self.asked.last().copied().filter(|_| !self.waits)
    }
}

impl Core {
    /// Keeps what an audit of a job takes, where the rule picks it and its draws can be replayed. The job is over: its prompt is taken.
    pub(super) fn sample(&mut self, now: DateTime<Utc>, entry: &mut Entry, run: &Run) {
        let (job, node_id) = (&mut entry.job, run.holder.node_id);
        let output = &entry.delivered[run.delivered_from..];
        let free = job.embed.is_empty() && job.grammar.is_none() && job.sampling.is_replayable();
        let Some(cell) = self.fleet.cell_mut(node_id, &job.model).filter(|cell| cell.reference) else { return };
        let picked = self.settings.audits.picks(job.job_id, run.holder.epoch, cell.on_trial);
        if !picked || !free || output.is_empty() || self.audits.0.len() >= OPEN_MAX {
            return;
        }
        let open = Open {
            job_id: job.job_id,
            epoch: run.holder.epoch,
            node_id,
            provider_id: run.holder.provider_id,
            output_sha256: output_sha256(output),
            replay: Replay {
                model: job.model.clone(),
                prompt: std::mem::take(&mut job.prompt),
                resume: entry.delivered[..run.delivered_from].to_vec(),
                output: output[..output.len().min(POSITIONS)].to_vec(),
                sampling: job.sampling.clone(),
            },
            asked: vec![],
            waits: true,
            until: now + OPEN_FOR,
        };
        self.timers.set(Wake::Audits, open.until);
        self.audits.0.push_back(open);
    }

    /// Asks referees that are free, one audit each.
    pub(super) fn ask_referees(&mut self) {
        let mut busy: Vec<NodeId> = self.audits.0.iter().filter_map(Open::referee).collect();
        for open in self.audits.0.iter_mut().filter(|open| open.waits) {
            let Replay { model, prompt, resume, output, .. } = &open.replay;
            let tokens = (prompt.len() + resume.len() + output.len()) as u64;
            let taken = |node_id| busy.contains(&node_id) || open.asked.contains(&node_id);
            let Some(referee) = self.fleet.referee(model, open.provider_id, tokens, taken) else { continue };
            open.asked.push(referee);
            open.waits = false;
            busy.push(referee);
            let (job_id, epoch, replay) = (open.job_id, open.epoch, Box::new(open.replay.clone()));
            self.outputs.push(Output::Send(referee, ToNode::Replay { job_id, epoch, replay }));
        }
    }

    /// A referee answers; what it was not asked means nothing.
    pub(super) fn replayed(
        &mut self,
        now: DateTime<Utc>,
        referee: NodeId,
        (job_id, epoch): (JobId, u32),
        slacks: Option<Vec<f32>>,
    ) {
        let asked = |open: &Open| (open.job_id, open.epoch, open.referee()) == (job_id, epoch, Some(referee));
        let Some(place) = self.audits.0.iter().position(asked) else { return };
        let most = self.audits.0[place].replay.output.len();
        let sound = |slacks: &Vec<f32>| slacks.len() <= most && slacks.iter().all(|slack| (0.0..=1.0).contains(slack));
        let Some(slacks) = slacks.filter(sound) else { return self.ask_another(place) };
        let Some(open) = self.audits.0.remove(place).filter(|_| !slacks.is_empty()) else { return };
        let Open { node_id, provider_id, replay, output_sha256, .. } = open;
        let Replay { model, prompt, sampling, .. } = replay;
        self.outputs.push(Output::Audited(Box::new(Audit {
            job_id,
            epoch,
            node_id,
            provider_id,
            referee_id: referee,
            model,
            prompt_tokens: count(prompt.len()),
            // The digest of ids, as a receipt's of the output.
            prompt_sha256: primitives::node_protocol::output_sha256(&prompt),
            output_sha256,
            sampling,
            slacks,
            audited_at: now,
        })));
    }

    /// A node has gone: what it was to replay goes to others.
    pub(super) fn lose_referee(&mut self, referee: NodeId) {
        while let Some(place) = self.audits.0.iter().position(|open| open.referee() == Some(referee)) {
            self.ask_another(place);
        }
    }

    fn ask_another(&mut self, place: usize) {
        let open = &mut self.audits.0[place];
        open.waits = true;
        if open.asked.len() >= REFEREES_MAX {
            self.audits.0.remove(place);
        }
    }

    /// Forgets the audits whose time is over.
    pub(super) fn forget_audits(&mut self, now: DateTime<Utc>) {
        self.audits.0.retain(|open| open.until > now);
        self.audits.0.front().into_iter().for_each(|open| self.timers.set(Wake::Audits, open.until));
    }
}
