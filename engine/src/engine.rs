//! The engine of one model: takes requests from anywhere, makes their tokens in one batch on a thread of its own.

use std::fmt;
use std::sync::{Arc, mpsc as sync_mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use primitives::node_protocol::{BLOCK_NEWS_MAX, FinishReason, ModelLoad, Replay, Terms, Work};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::announcement::Announcements;
use crate::backend::llama::{KvType, SLOTS_MAX, Shape};
use crate::batcher;
use crate::embedder::{self, Embedder};
use crate::error::{Error, Refused};
use crate::mailbox::Mailbox;
use crate::model::{Kind, Model};
use crate::prefix::Prefix;
use crate::scheduler::{Limits, Rank, SequenceId};
use crate::sequence::{Frame, Sequence, Usage};

/// How an engine is sized.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Sequences in the batch at once, 1 to 256.
    pub slots: usize,
    /// Requests that wait for a slot.
    pub waiting_max: usize,
    /// Prompt and output of one request together; at most what the model was trained on makes sense. *Units*: tokens.
    pub context_tokens: usize,
    /// Threads that compute.
    pub threads: usize,
    /// Tokens of one step, over all sequences.
    pub step_tokens_max: usize,
    /// Tokens of one prompt in one step: what a long prompt may delay running streams by.
    pub chunk_tokens_max: usize,
    /// Memory for the states of sequences that have no slot. *Units*: bytes.
    pub saved_bytes_max: usize,
    /// How the caches are stored.
    pub kv: KvType,
    /// A cap for power or heat: no sequence is given more tokens a second. None is no cap.
    pub tokens_per_second_max: Option<u32>,
    /// The load that is declared: a node takes no interactive job that would wait longer for its turn. *Units*: ms.
    pub turn_ms_max: Option<u32>,
}

impl EngineConfig {
    /// What suits a model on a machine with this many threads.
    pub fn for_model(model: &Model, threads: usize) -> Self {
        Self::for_context(model.context_tokens, threads)
    }

    /// What suits a model of this context, before it is loaded. *Units*: tokens.
    pub fn for_context(context_tokens: usize, threads: usize) -> Self {
        Self {
            slots: 32,
            waiting_max: 64,
            context_tokens: context_tokens.min(4096),
            threads,
            step_tokens_max: 512,
            chunk_tokens_max: 128,
            saved_bytes_max: 512 * 1024 * 1024,
            kv: KvType::F16,
            tokens_per_second_max: None,
            turn_ms_max: None,
        }
    }

    /// The context that it takes memory for.
    pub fn shape(&self) -> Shape {
        let Self { slots, context_tokens, threads, saved_bytes_max, kv, .. } = *self;
        // The library makes no batch larger than all caches together.
        let batch_tokens = self.step_tokens_max.max(slots).min(slots.saturating_mul(context_tokens));
        Shape { slots, context_tokens, batch_tokens, threads, saved_bytes_max, kv }
    }
}

/// What a request gives, in order; the last is one of the endings.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// New tokens.
    Tokens(Frame),
    /// The embedding of the next text, of length one.
    Vector(Vec<f32>),
    /// It ended by itself.
    Finished {
        /// Why.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
    /// It was cancelled.
    Cancelled {
        /// What it took until then.
        usage: Usage,
    },
    /// It could not go on.
    Failed {
        /// Why, for the operator.
        message: String,
        /// What it took until then.
        usage: Usage,
    },
}

/// What an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLoad {
    /// Sequences in the batch.
    pub running: usize,
    /// Requests that wait for a slot.
    pub waiting: usize,
    /// Slots without a sequence.
    pub slots_free: usize,
    /// Room in the caches of free slots: what they hold gives way. *Units*: tokens.
    pub kv_free_tokens: usize,
}

/// A running engine. Dropping it abandons what is unfinished and waits for its thread.
pub struct Engine {
    model: Arc<Model>,
    config: EngineConfig,
    door: Door,
    thread: Option<JoinHandle<()>>,
}

/// Where requests reach the engine's thread.
enum Door {
    /// Of a model that goes on from prompts.
    Sequences(Arc<Mailbox>),
    /// Of a model that embeds.
    Texts(Embedder),
}

impl Engine {
    /// Takes the memory for all slots and starts the thread.
    ///
    /// # Errors
    /// When the memory or the thread cannot be had, or there would be no slot or more than 256.
    pub fn start(model: Arc<Model>, config: EngineConfig) -> Result<Self, Error> {
        let EngineConfig { slots, context_tokens, .. } = config;
        if model.kind == Kind::Embedding && context_tokens > model.weights().context_trained() {
            let reason = format!("the model has places for {} tokens", model.weights().context_trained());
            return Err(Error::Context { slots, context_tokens, reason });
        }
        if slots == 0 || slots > SLOTS_MAX || context_tokens == 0 {
            let reason = format!("slots must be 1 to {SLOTS_MAX}, and their tokens more than 0");
            return Err(Error::Context { slots, context_tokens, reason });
        }
        let shape = config.shape();
        let limits = Limits {
            slots_max: slots,
            waiting_max: config.waiting_max,
            step_tokens_max: shape.batch_tokens,
            chunk_tokens_max: config.chunk_tokens_max.max(1),
            token_interval: config.tokens_per_second_max.map(|most| Duration::from_secs(1) / most.max(1)),
        };
        let (started, start) = sync_mpsc::channel();
        let told = move |result| drop(started.send(result));
        let thread = std::thread::Builder::new().name("engine".into());
        let live_max = slots + config.waiting_max;
        let (door, thread) = match model.kind {
            Kind::Generation => {
                let mailbox = Arc::new(Mailbox::new(live_max));
                let (model, theirs) = (model.clone(), mailbox.clone());
                let run = move || batcher::run(&model, shape, limits, &theirs, told);
                (Door::Sequences(mailbox), thread.spawn(run))
            }
            Kind::Embedding => {
                let (embedder, inbox) = embedder::pair(live_max);
                // A text is read in one batch.
                let shape = Shape { batch_tokens: shape.batch_tokens.max(context_tokens), ..shape };
                let model = model.clone();
                let run = move || embedder::run(&model, shape, inbox, told);
                (Door::Texts(embedder), thread.spawn(run))
            }
        };
        let thread = thread.map_err(|source| Error::Thread { source })?;
        let engine = Self { model, config, door, thread: Some(thread) };
        match start.recv() {
            Ok(result) => result.map(|()| engine),
            Err(_) => Err(Error::EngineStopped { model: engine.model.id.clone() }),
        }
    }

    /// Takes texts, each to be embedded by itself, or refuses them before any work: an event a text, in order, then the ending.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn embed(&self, texts: Vec<Vec<u32>>) -> Result<RequestHandle, Refused> {
        let Door::Texts(embedder) = &self.door else { return Err(Refused::Kind { id: self.model.id.clone() }) };
        let events = embedder.submit(texts, &self.model, self.config.context_tokens)?;
        Ok(RequestHandle::new(events, Ongoing::Texts))
    }

    /// Takes a request, or refuses it before any work. Of one priority, one that resumes goes before those that have not
    /// begun.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn submit(&self, mut work: Work) -> Result<RequestHandle, Refused> {
        let Door::Sequences(mailbox) = &self.door else { return Err(Refused::Kind { id: self.model.id.clone() }) };
        let Terms { cache_salt, priority, first_token_within_ms } = std::mem::take(&mut work.terms);
        let sequence = Sequence::try_new(work, self.model.words(), self.config.context_tokens)?;
        let salt = cache_salt.filter(|_| self.model.weights().shares_prefixes());
        let due = first_token_within_ms.map(|within| Instant::now() + Duration::from_millis(within.into()));
        let rank = Rank { priority, begun: sequence.resumes(), due };
        self.enter(mailbox, sequence, salt, rank)
    }

    /// Takes an output that another engine made, or refuses it before any work: a frame for each of its tokens tells how far this model
    /// was from drawing it. It goes behind all that somebody waits for.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn replay(&self, replay: Replay) -> Result<RequestHandle, Refused> {
        let Door::Sequences(mailbox) = &self.door else { return Err(Refused::Kind { id: self.model.id.clone() }) };
        let sequence = Sequence::try_replay(replay, self.model.words(), self.config.context_tokens)?;
        self.enter(mailbox, sequence, None, Rank::default())
    }

    fn enter(
        &self,
        mailbox: &Arc<Mailbox>,
        sequence: Sequence,
        salt: Option<String>,
        rank: Rank,
    ) -> Result<RequestHandle, Refused> {
        let prefix = Prefix::new(salt, sequence.ids().to_vec());
        // One event a step at most, the leftover of a resumed text, and the ending: so sending never waits.
        let (sender, events) = mpsc::channel(sequence.output_left() + 3);
        let id = mailbox.submit(sequence, prefix, rank, sender)?;
        Ok(RequestHandle::new(events, Ongoing::Sequence { id, mailbox: mailbox.clone() }))
    }

    /// What it is doing, as of the last step.
    pub fn load(&self) -> EngineLoad {
        let (live, running) = match &self.door {
            Door::Sequences(mailbox) => mailbox.load(),
            Door::Texts(embedder) => (embedder.live(), embedder.live().min(self.config.slots)),
        };
        let slots_free = self.config.slots - running;
        let kv_free_tokens = slots_free * self.config.context_tokens;
        EngineLoad { running, waiting: live - running, slots_free, kv_free_tokens }
    }

    /// Begins to tell of blocks to a listener who knows of none.
    pub fn restart_news(&self) {
        if let Door::Sequences(mailbox) = &self.door {
            mailbox.restart_news();
        }
    }

    /// Ends telling of blocks: gives what is left to tell when it holds none any more.
    pub(crate) fn end_news(&self) -> Announcements {
        match &self.door {
            Door::Sequences(mailbox) => mailbox.end_news(),
            Door::Texts(_) => Announcements::default(),
        }
    }

    /// Takes over what an engine before it left to tell.
    pub(crate) fn go_on_with(&self, news: Announcements) {
        if let Door::Sequences(mailbox) = &self.door {
            mailbox.go_on_with(news);
        }
    }

    /// When a request that comes now may be answered, as of the last step, and some of what the listener does not know yet of
    /// the blocks that the caches hold.
    pub fn news(&self) -> ModelLoad {
        let model = self.model.id.clone();
        let Door::Sequences(mailbox) = &self.door else { return ModelLoad { model, ..ModelLoad::default() } };
        let (blocks_added, blocks_removed) = mailbox.block_news(BLOCK_NEWS_MAX);
        ModelLoad { model, outlook: mailbox.outlook(), blocks_added, blocks_removed, slots: None }
    }

    /// By how much a job that comes now, after prompts of so many tokens that are on their way, would wait longer for its turn than is
    /// declared; nothing while that is unknown. *Units*: ms.
    pub fn past_declared_ms(&self, on_their_way: u32) -> Option<u32> {
        let (Some(most_ms), Door::Sequences(mailbox)) = (self.config.turn_ms_max, &self.door) else { return None };
        let turn_ms = mailbox.outlook()?.after(on_their_way).turn_ms;
        turn_ms.checked_sub(most_ms).filter(|past_ms| *past_ms > 0)
    }

    /// How long the step that it computes has taken so far; none between steps, and of texts, each batch of which is one call.
    pub fn busy_for(&self) -> Option<Duration> {
        match &self.door {
            Door::Sequences(mailbox) => mailbox.busy_since().map(|began| began.elapsed()),
            Door::Texts(_) => None,
        }
    }

    /// Whether its thread lives; once it does not, it never will again.
    pub fn is_running(&self) -> bool {
        match &self.door {
            Door::Sequences(mailbox) => !mailbox.is_stopped(),
            Door::Texts(_) => self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
        }
    }

    /// The model it serves.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How it is sized.
    pub fn config(&self) -> EngineConfig {
        self.config
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        match &self.door {
            Door::Sequences(mailbox) => mailbox.stop(),
            Door::Texts(embedder) => embedder.stop(),
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("model", &self.model.id).field("config", &self.config).finish_non_exhaustive()
    }
}

/// One request's events. Dropping it cancels the request.
pub struct RequestHandle {
    events: mpsc::Receiver<Event>,
    ongoing: Ongoing,
}

/// What goes on for a request.
pub(crate) enum Ongoing {
    /// A sequence in our own engine.
    Sequence {
        /// Its name there.
        id: SequenceId,
        /// The engine's.
        mailbox: Arc<Mailbox>,
    },
    /// Texts to embed: those that nobody listens to are left out of the next batch by themselves.
    Texts,
    /// A request at an upstream, in a task that ends with the handle.
    Exchange {
        /// Asks it to end.
        cancelled: Arc<Notify>,
        /// The task.
        _task: JoinSet<()>,
    },
}

impl RequestHandle {
    /// Over the events of what goes on.
    pub(crate) fn new(events: mpsc::Receiver<Event>, ongoing: Ongoing) -> Self {
        Self { events, ongoing }
    }

    /// The next event; none after the ending, or when the engine stopped before it.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event, for callers without a runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }

    /// Frees what the request holds, a sequence and its cache before the next step. [`Event::Cancelled`] follows, unless it
    /// ended before.
    pub fn cancel(&self) {
        match &self.ongoing {
            Ongoing::Sequence { id, mailbox } => mailbox.cancel(*id),
            Ongoing::Texts => {}
            Ongoing::Exchange { cancelled, .. } => cancelled.notify_one(),
        }
    }
}

impl Drop for RequestHandle {
    fn drop(&mut self) {
        self.cancel();
    }
}
