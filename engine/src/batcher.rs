//! The loop on the engine's thread: take the mail, plan a step, compute it, give out what it made.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::backend::llama::{Context, Shape};
use crate::engine::Event;
use crate::error::Error;
use crate::mailbox::{Arrival, Mail, Mailbox, Until};
use crate::model::Model;
use crate::scheduler::{Limits, Part, Scheduler, SequenceId};
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
    let mut batcher =
        Batcher { model, mailbox, context, scheduler: Scheduler::new(limits), live: HashMap::new(), ended: Vec::new() };
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
    live: HashMap<SequenceId, Live>,
    /// Endings that were not told yet.
    ended: Vec<(mpsc::Sender<Event>, Event)>,
}

struct Live {
    sequence: Sequence,
    events: mpsc::Sender<Event>,
}

impl Batcher<'_> {
    fn step(&mut self, mail: Mail) -> Until {
        for arrival in mail.arrivals {
            self.join(arrival);
        }
        for id in mail.cancelled {
            self.leave(id, |live| Event::Cancelled { usage: live.sequence.usage() });
        }
        let step = self.scheduler.plan(Instant::now());
        for r#move in &step.moves {
            self.context.move_slot(r#move.from, r#move.to);
        }
        let until = match step.wake_at {
            _ if !step.parts.is_empty() => Until::Now,
            Some(instant) => Until::Instant(instant),
            None => Until::Mail,
        };
        self.tell();
        if !step.parts.is_empty() {
            self.compute(&step.parts);
            self.tell();
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

    fn join(&mut self, Arrival { id, mut sequence, events }: Arrival) {
        let complete = sequence.finished().is_some();
        if complete {
            // What it resumes had already ended.
            give(&events, sequence.leftover());
        } else {
            let priority = u8::from(sequence.resumes());
            let admitted = self.scheduler.admit(id, priority, sequence.prefill_tokens());
            admitted.expect("the mailbox takes no more than the scheduler holds");
        }
        self.live.insert(id, Live { sequence, events });
        if complete {
            self.end(id);
        }
    }

    fn compute(&mut self, parts: &[Part]) {
        if let Err(error) = self.decode(parts) {
            tracing::error!(error = %error, sequences = parts.len(), "a batch could not be computed, its requests fail");
            let message = error.to_string();
            for part in parts {
                self.leave(part.id, |live| Event::Failed { message: message.clone(), usage: live.sequence.usage() });
            }
            return;
        }
        let mut drawn = 0;
        for part in parts.iter().filter(|part| part.draws) {
            let live = self.live.get_mut(&part.id).expect("the scheduler plans live sequences");
            let frame = live.sequence.draw(self.context.logits(drawn), self.model);
            drawn += 1;
            match frame {
                Ok(frame) => {
                    give(&live.events, frame);
                    if live.sequence.finished().is_some() {
                        self.end(part.id);
                    }
                }
                Err(stuck) => self.leave(part.id, |live| Event::Failed {
                    message: stuck.to_string(),
                    usage: live.sequence.usage(),
                }),
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
            let live = self.live.get_mut(&part.id).expect("the scheduler plans live sequences");
            let (position, ids) = live.sequence.feed(part.tokens);
            self.context.add(part.slot, position, ids, part.draws)?;
        }
        self.context.decode()
    }

    /// Ends a sequence that finished.
    fn end(&mut self, id: SequenceId) {
        self.leave(id, |live| Event::Finished {
            reason: live.sequence.finished().expect("only finished sequences end"),
            usage: live.sequence.usage(),
        });
    }

    /// Forgets a sequence, frees its slot and cache, and notes its last event. One that is gone already stays so.
    fn leave(&mut self, id: SequenceId, ending: impl FnOnce(&Live) -> Event) {
        let Some(live) = self.live.remove(&id) else { return };
        if let Some(slot) = self.scheduler.remove(id) {
            self.context.clear(slot);
        }
        let event = ending(&live);
        self.ended.push((live.events, event));
    }
}

fn give(events: &mpsc::Sender<Event>, frame: Frame) {
    if !frame.is_empty() {
        // There is room for every frame, so this fails only when nobody listens; then the cancellation is on its way.
        let _ = events.try_send(Event::Tokens(frame));
    }
}
