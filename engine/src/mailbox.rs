//! Where requests and the engine's thread meet: what came, what is cancelled, how many live.
//!
//! The lock is held for moments only, never while a batch is computed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use primitives::kv_block::BlockName;
use primitives::node_protocol::Outlook;
use tokio::sync::mpsc;

use crate::announcement::Announcements;
use crate::engine::Event;
use crate::error::Refused;
use crate::prefix::Prefix;
use crate::scheduler::{Rank, SequenceId};
use crate::sequence::Sequence;

/// A request on its way to the engine's thread.
#[derive(Debug)]
pub struct Arrival {
    /// Its name from now on.
    pub id: SequenceId,
    /// What is to be done.
    pub sequence: Sequence,
    /// Its tokens, as others may share them.
    pub prefix: Prefix,
    /// When its turn comes.
    pub rank: Rank,
    /// Who listens; there is room for every event.
    pub events: mpsc::Sender<Event>,
}

/// What came since the last look.
#[derive(Debug, Default)]
pub struct Mail {
    /// New requests, in order.
    pub arrivals: Vec<Arrival>,
    /// Requests no longer wanted; some may have ended.
    pub cancelled: Vec<SequenceId>,
}

/// Until when the engine's thread may sleep for want of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It has work.
    Now,
    /// Its work begins then.
    Instant(Instant),
    /// It has nothing to do.
    Mail,
}

/// The meeting place of one engine.
#[derive(Debug)]
pub struct Mailbox {
    live_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mail: Mail,
    next_id: SequenceId,
    /// Requests taken and not ended.
    live: usize,
    /// Of those, how many hold a slot.
    running: usize,
    outlook: Option<Outlook>,
    blocks: Announcements,
    /// Since when the engine's thread has been away with mail.
    busy_since: Option<Instant>,
    stopped: bool,
}

impl Mailbox {
    /// A mailbox that lets this many requests live at once.
    pub fn new(live_max: usize) -> Self {
        Self { live_max, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Leaves a request.
    ///
    /// # Errors
    /// When too many live, or the engine stopped.
    pub fn submit(
        &self,
        sequence: Sequence,
        prefix: Prefix,
        rank: Rank,
        events: mpsc::Sender<Event>,
    ) -> Result<SequenceId, Refused> {
        let mut state = self.lock();
        if state.stopped {
            return Err(Refused::Stopped);
        }
        if state.live >= self.live_max {
            return Err(Refused::Full { live: state.live });
        }
        state.live += 1;
        let id = state.next_id;
        state.next_id += 1;
        state.mail.arrivals.push(Arrival { id, sequence, prefix, rank, events });
        self.changed.notify_one();
        Ok(id)
    }

    /// Asks for a request's end.
    pub fn cancel(&self, id: SequenceId) {
        let mut state = self.lock();
        if !state.stopped {
            state.mail.cancelled.push(id);
            self.changed.notify_one();
        }
    }

    /// Asks for the engine's end. What was not begun is forgotten, so its listeners hear that nothing more comes.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.mail = Mail::default();
        self.changed.notify_one();
    }

    /// Whether the engine stopped or was asked to.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// How many requests live, and how many of those run.
    pub fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.live, state.running)
    }

    /// Since when the engine's thread has been computing; none while it waits.
    pub fn busy_since(&self) -> Option<Instant> {
        self.lock().busy_since
    }

    /// Takes the mail, waiting for some if there is time; none when the engine is to stop. Until the next call the engine is busy.
    pub fn take(&self, until: Until) -> Option<Mail> {
        let mut state = self.lock();
        state.busy_since = None;
        loop {
            if state.stopped {
                return None;
            }
            let empty = state.mail.arrivals.is_empty() && state.mail.cancelled.is_empty();
            state = match until {
                Until::Mail if empty => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Until::Instant(instant) if empty && instant > Instant::now() => {
                    let left = instant.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => {
                    state.busy_since = Some(Instant::now());
                    return Some(std::mem::take(&mut state.mail));
                }
            };
        }
    }

    /// Notes how many requests ended and how many now run.
    pub fn publish(&self, ended: usize, running: usize) {
        let mut state = self.lock();
        state.live -= ended;
        state.running = running;
    }

    /// Notes when a request that comes now may be answered, and which blocks are held.
    pub fn foretell(&self, outlook: Option<Outlook>, blocks: Vec<(BlockName, bool)>) {
        let mut state = self.lock();
        state.outlook = outlook;
        for (name, held) in blocks {
            state.blocks.change(name, held);
        }
    }

    /// When a request that comes now may be answered, once that is known: after what the last step left, and what came since.
    pub fn outlook(&self) -> Option<Outlook> {
        let state = self.lock();
        let came: usize = state.mail.arrivals.iter().map(|arrival| arrival.prefix.len()).sum();
        state.outlook.map(|outlook| outlook.after(u32::try_from(came).unwrap_or(u32::MAX)))
    }

    /// Begins to tell of blocks to somebody who knows of none.
    pub fn restart_news(&self) {
        self.lock().blocks.restart();
    }

    /// What is left to tell when nothing is held any more.
    pub fn end_news(&self) -> Announcements {
        let mut news = std::mem::take(&mut self.lock().blocks);
        news.clear();
        news
    }

    /// Goes on after what was left to tell, before anything is held.
    pub fn go_on_with(&self, news: Announcements) {
        self.lock().blocks = news;
    }

    /// Tells of some blocks: now held, and no longer held.
    pub fn block_news(&self, most: usize) -> (Vec<BlockName>, Vec<BlockName>) {
        self.lock().blocks.next(most)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
