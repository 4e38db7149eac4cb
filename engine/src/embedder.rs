//! Embeddings on a thread of their own: whole texts, as many together as a batch holds, in the order in which they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::backend::llama::Shape;
use crate::backend::llama::embeddings::EmbeddingContext;
use crate::engine::Event;
use crate::error::{Error, Refused};
use crate::model::Model;
use crate::sequence::Usage;

/// Where texts are left; dropped or stopped, the thread ends with the batch under way.
#[derive(Debug)]
pub struct Embedder {
    requests: Mutex<Option<SyncSender<Request>>>,
    live: Arc<AtomicUsize>,
}

/// What the thread works on.
#[derive(Debug)]
pub struct Inbox {
    requests: Receiver<Request>,
}

/// Texts of one caller.
#[derive(Debug)]
struct Request {
    texts: Vec<Vec<u32>>,
    /// Of these, how many were embedded.
    done: usize,
    events: mpsc::Sender<Event>,
    /// Counts as living until it is dropped.
    _live: Live,
}

#[derive(Debug)]
struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A meeting place for this many requests at once.
pub fn pair(live_max: usize) -> (Embedder, Inbox) {
    let (sender, requests) = sync_channel(live_max);
    (Embedder { requests: Mutex::new(Some(sender)), live: Arc::default() }, Inbox { requests })
}

impl Embedder {
    /// Leaves texts, each to be embedded by itself.
    ///
    /// # Errors
    /// When too many wait, the engine stopped, or a text is empty, too long or not of this vocabulary.
    pub fn submit(
        &self,
        texts: Vec<Vec<u32>>,
        model: &Model,
        context_tokens: usize,
    ) -> Result<mpsc::Receiver<Event>, Refused> {
        check(&texts, model, context_tokens)?;
        let (sender, events) = mpsc::channel(texts.len() + 1);
        self.live.fetch_add(1, Ordering::Relaxed);
        let request = Request { texts, done: 0, events: sender, _live: Live(self.live.clone()) };
        match self.lock().as_ref().map(|requests| requests.try_send(request)) {
            Some(Ok(())) => Ok(events),
            Some(Err(TrySendError::Full(_))) => Err(Refused::Full { live: self.live() }),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(Refused::Stopped),
        }
    }

    /// Requests that run or wait.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Takes no more, and lets the thread end.
    pub fn stop(&self) {
        self.lock().take();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SyncSender<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(texts: &[Vec<u32>], model: &Model, context_tokens: usize) -> Result<(), Refused> {
    let vocabulary = model.vocabulary_len();
    if texts.iter().any(Vec::is_empty) || texts.is_empty() {
        return Err(Refused::EmptyPrompt);
    }
    if let Some(&id) = texts.iter().flatten().find(|&&id| id as usize >= vocabulary) {
        return Err(Refused::UnknownToken { id, vocabulary });
    }
    match texts.iter().map(Vec::len).max() {
        Some(needed) if needed > context_tokens => Err(Refused::ContextExceeded { needed, available: context_tokens }),
        _ => Ok(()),
    }
}

/// Makes the context, says how that went, and embeds until the other end is gone.
pub fn run(model: &Model, shape: Shape, inbox: Inbox, started: impl FnOnce(Result<(), Error>)) {
    let mut context = match EmbeddingContext::try_new(model.weights(), shape) {
        Ok(context) => context,
        Err(error) => return started(Err(error)),
    };
    started(Ok(()));
    let mut waiting = VecDeque::new();
    while inbox.take(&mut waiting) {
        let fed = step(&mut context, shape, &mut waiting);
        metrics::counter!("tokengrid_engine_tokens_fed_total").increment(fed as u64);
    }
}

impl Inbox {
    /// Takes what came, waiting for some if there is nothing to do; false once nothing more is wanted.
    fn take(&self, waiting: &mut VecDeque<Request>) -> bool {
        loop {
            // The channel holds as many as may live.
            loop {
                match self.requests.try_recv() {
                    Ok(request) => waiting.push_back(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
            waiting.retain(|request| !request.events.is_closed());
            if !waiting.is_empty() {
                return true;
            }
            match self.requests.recv() {
                Ok(request) => waiting.push_back(request),
                Err(_) => return false,
            }
        }
    }
}

/// Embeds the texts that fit one batch, and tells their vectors; gives how many tokens those were.
fn step(context: &mut EmbeddingContext<'_>, shape: Shape, waiting: &mut VecDeque<Request>) -> usize {
    let mut batch: Vec<&[u32]> = Vec::new();
    // Of each request from the first on, how many texts are in the batch.
    let mut taken = Vec::new();
    let mut tokens = 0;
    'full: for request in waiting.iter() {
        taken.push(0);
        for text in &request.texts[request.done..] {
            if batch.len() == shape.slots || tokens + text.len() > shape.batch_tokens {
                break 'full;
            }
            tokens += text.len();
            batch.push(text);
            *taken.last_mut().expect("one was pushed") += 1;
        }
    }
    let mut vectors =
        context.embed(&batch).and_then(|vectors| vectors.into_iter().map(normalised).collect::<Result<Vec<_>, _>>());
    if let Err(error) = &vectors {
        tracing::error!(error = %error, texts = batch.len(), "texts could not be embedded, their requests fail");
    }
    let mut kept = VecDeque::new();
    for (index, mut request) in waiting.drain(..).enumerate() {
        let of_it = taken.get(index).copied().unwrap_or(0);
        // There is room for every event, so sending fails only when nobody listens.
        match &mut vectors {
            Ok(vectors) => {
                for vector in vectors.drain(..of_it) {
                    let _ = request.events.try_send(Event::Vector(vector));
                }
                request.done += of_it;
                if request.done == request.texts.len() {
                    let usage = request.usage();
                    let reason = primitives::node_protocol::FinishReason::Stop;
                    let _ = request.events.try_send(Event::Finished { reason, usage });
                } else {
                    kept.push_back(request);
                }
            }
            Err(error) if of_it > 0 => {
                let _ = request.events.try_send(Event::Failed { message: error.to_string(), usage: request.usage() });
            }
            Err(_) => kept.push_back(request),
        }
    }
    *waiting = kept;
    tokens
}

impl Request {
    fn usage(&self) -> Usage {
        let tokens: usize = self.texts[..self.done].iter().map(Vec::len).sum();
        Usage { prompt_tokens: u32::try_from(tokens).unwrap_or(u32::MAX), ..Usage::default() }
    }
}

/// The vector of the same direction and length one.
fn normalised(vector: Vec<f32>) -> Result<Vec<f32>, Error> {
    let length = vector.iter().map(|&number| f64::from(number) * f64::from(number)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err(Error::Decode { reason: "the model gave a vector without a direction".into() });
    }
    Ok(vector.into_iter().map(|number| (f64::from(number) / length) as f32).collect())
}
