//! The loop on the engine's thread: take the mail, plan a step, compute it, give out what it made.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use primitives::node_protocol::PRIORITY_INTERACTIVE;
use tokio::sync::mpsc;

use crate::backend::llama::{Context, Shape};
use crate::engine::Event;
use crate::error::Error;
use crate::mailbox::{Arrival, Mail, Mailbox, Until};
use crate::model::Model;
use crate::pace::Pace;
use crate::prefix_cache::Act;
use crate::scheduler::{Limits, Part, Scheduler, SequenceId, Step};
use crate::sequence::{Frame, Sequence};

/// Makes the context, says how that went, and batches until the mailbox says stop.
pub fn run(model: &Model, shape: Shape, limits: Limits, mailbox: &Mailbox, started: impl FnOnce(Result<(), Error>)) {
    // However this thread ends, nobody waits for it.
    let _stop = StopAtEnd(mailbox);
    let context = match Context::try_new(model.weights(), shape) {
        Ok(context) => context,
        Err(error) => return started(Err(error)),
    };
    started(Ok(()));
    let scheduler = Scheduler::new(limits, context.saved_tokens_max());
    let (live, ended, pace) = (HashMap::new(), Vec::new(), Pace::default());
    let mut batcher = Batcher { model, mailbox, context, scheduler, pace, live, decoding: Duration::ZERO, ended };
    let mut until = Until::Mail;
    while let Some(mail) = mailbox.take(until) {
        until = batcher.step(mail);
    }
}

struct StopAtEnd<'a>(&'a Mailbox);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Batcher<'a> {
    model: &'a Model,
    mailbox: &'a Mailbox,
    context: Context<'a>,
    scheduler: Scheduler,
    pace: Pace,
    live: HashMap<SequenceId, Live>,
    /// What the library took for the last step.
    decoding: Duration,
    /// Endings that were not told yet.
    ended: Vec<(mpsc::Sender<Event>, Event)>,
}

struct Live {
    sequence: Sequence,
    events: mpsc::Sender<Event>,
}

impl Batcher<'_> {
    fn step(&mut self, mail: Mail) -> Until {
        let began = Instant::now();
        for arrival in mail.arrivals {
            self.join(arrival);
        }
        for id in mail.cancelled {
            self.leave(id, |live| Event::Cancelled { usage: live.sequence.usage() });
        }
        let mut step = self.scheduler.plan(Instant::now());
        let until = match step.wake_at {
            _ if !step.parts.is_empty() => Until::Now,
            Some(instant) => Until::Instant(instant),
            None => Until::Mail,
        };
        for (id, held) in step.begun.drain(..) {
            self.live.get_mut(&id).expect("the scheduler begins live sequences").sequence.begin(held);
            metrics::counter!("tokengrid_engine_tokens_cached_total").increment(held as u64);
        }
        metrics::counter!("tokengrid_engine_preemptions_total").increment(step.preempted as u64);
        self.prepare(&mut step);
        self.tell();
        if !step.parts.is_empty() {
            let computing = Instant::now();
            self.compute(&step.parts);
            let prompts = step.parts.iter().filter(|part| part.tokens > 1);
            self.pace.learn_step(computing.elapsed(), prompts.map(|part| part.tokens).sum());
            self.tell();
        }
        let outlook = self.pace.outlook(self.scheduler.ahead(PRIORITY_INTERACTIVE));
        self.mailbox.foretell(outlook, self.scheduler.take_block_changes());
        metrics::gauge!("tokengrid_engine_tokens_saved").set(self.scheduler.saved_tokens() as f64);
        if !step.parts.is_empty() {
            count_time("tokengrid_engine_step_microseconds_total", began.elapsed());
            count_time("tokengrid_engine_decode_microseconds_total", self.decoding);
        }
        until
    }

    /// Shows the load, then tells endings: who hears of one finds its slot free.
    fn tell(&mut self) {
        self.mailbox.publish(self.ended.len(), self.scheduler.running());
        for (events, event) in self.ended.drain(..) {
            // Nobody may be listening any more.
            let _ = events.try_send(event);
        }
    }

    fn join(&mut self, Arrival { id, mut sequence, prefix, rank, events }: Arrival) {
        let complete = sequence.finished().is_some();
        if complete {
            // What it resumes had already ended.
            give(&events, sequence.leftover());
        } else {
            let admitted = self.scheduler.admit(id, rank, prefix);
            admitted.expect("the mailbox takes no more than the scheduler holds");
        }
        self.live.insert(id, Live { sequence, events });
        if complete {
            self.end(id);
        }
    }

    /// Makes the caches what the step needs them to be. A sequence whose cache cannot be had fails; the others go on.
    fn prepare(&mut self, step: &mut Step) {
        for act in step.acts.drain(..) {
            let done = match act {
                Act::Save { slot, saved } => self.context.save(slot, saved),
                Act::Restore { saved, slot } => self.context.restore(saved, slot),
                Act::Copy { from, to } => self.context.copy(from, to),
                Act::Trim { slot, tokens } => self.context.trim(slot, tokens),
                Act::Drop { saved } => {
                    self.context.drop_saved(saved);
                    Ok(())
                }
            };
            let Err(error) = done else { continue };
            tracing::error!(error = %error, "a cache could not be changed");
            if let Act::Save { saved, .. } | Act::Restore { saved, .. } = act {
                self.scheduler.forget_saved(saved);
            }
            if let Act::Restore { slot, .. } | Act::Copy { to: slot, .. } | Act::Trim { slot, .. } = act
                && let Some(id) = self.scheduler.sequence_in(slot)
            {
                step.parts.retain(|part| part.id != id);
                self.fail(id, error.to_string());
            }
        }
    }

    fn compute(&mut self, parts: &[Part]) {
        if let Err(error) = self.decode(parts) {
            tracing::error!(error = %error, sequences = parts.len(), "a batch could not be computed, its requests fail");
            let message = error.to_string();
            for part in parts {
                self.fail(part.id, message.clone());
            }
            return;
        }
        let mut drawn = 0;
        for part in parts.iter().filter(|part| part.draws) {
            let live = self.live.get_mut(&part.id).expect("the scheduler plans live sequences");
            let frame = live.sequence.draw(self.context.logits(drawn), self.model.words());
            drawn += 1;
            match frame {
                Ok(frame) => {
                    give(&live.events, frame);
                    match (live.sequence.finished(), live.sequence.ids().last()) {
                        (None, Some(&token)) => self.scheduler.push(part.id, token),
                        _ => {
                            self.pace.learn_output(live.sequence.usage().output_tokens);
                            self.end(part.id);
                        }
                    }
                }
                Err(stuck) => self.fail(part.id, stuck.to_string()),
            }
        }
        let fed: usize = parts.iter().map(|part| part.tokens).sum();
        metrics::counter!("tokengrid_engine_tokens_fed_total").increment(fed as u64);
        metrics::counter!("tokengrid_engine_tokens_drawn_total").increment(drawn as u64);
        metrics::counter!("tokengrid_engine_steps_total").increment(1);
    }

    fn decode(&mut self, parts: &[Part]) -> Result<(), Error> {
        self.context.begin();
        for part in parts {
            let live = self.live.get(&part.id).expect("the scheduler plans live sequences");
            let ids = &live.sequence.ids()[part.from..part.from + part.tokens];
            self.context.add(part.slot, part.from, ids, part.draws)?;
        }
        let began = Instant::now();
        let computed = self.context.decode();
        self.decoding = began.elapsed();
        computed
    }

    /// Ends a sequence that finished.
    fn end(&mut self, id: SequenceId) {
        self.leave(id, |live| Event::Finished {
            reason: live.sequence.finished().expect("only finished sequences end"),
            usage: live.sequence.usage(),
        });
    }

    /// Ends a sequence that cannot go on: what its slot holds is in doubt.
    fn fail(&mut self, id: SequenceId, message: String) {
        self.scheduler.remove_in_doubt(id);
        self.leave(id, |live| Event::Failed { message, usage: live.sequence.usage() });
    }

    /// Forgets a sequence, frees its slot, and notes its last event. One that is gone already stays so.
    fn leave(&mut self, id: SequenceId, ending: impl FnOnce(&Live) -> Event) {
        let Some(live) = self.live.remove(&id) else { return };
        self.scheduler.remove(id);
        let event = ending(&live);
        self.ended.push((live.events, event));
    }
}

/// What of a step is outside the library's decode is the serving loop's own: the two counters, raised together, tell its share.
fn count_time(counter: &'static str, time: Duration) {
    metrics::counter!(counter).increment(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

fn give(events: &mpsc::Sender<Event>, frame: Frame) {
    if !frame.is_empty() {
        // There is room for every frame, so this fails only when nobody listens; then the cancellation is on its way.
        let _ = events.try_send(Event::Tokens(frame));
    }
}
