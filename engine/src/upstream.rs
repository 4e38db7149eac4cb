//! An upstream: an engine that the provider already runs (vLLM, SGLang, llama.cpp's server, …), driven over its
//! OpenAI-compatible API.
//!
//! It is an engine as [`Engine`](crate::Engine) is, and no backend of one: it batches, samples and caches by itself, and its logits stay with it. It
//! gets [`Work`] and gives [`Event`](crate::Event)s. Stop texts, limits, the output's form and the count of tokens are this
//! side's: they are exact, whatever the upstream does. What it would not do as it is meant is refused, so that another node
//! does it.
//!
//! ```text
//! submit ── dialect: Work → body ──▶ exchange ── POST ──▶ upstream
//!                                       │ events: bytes → data ◀── stream
//!                                       │ chunk: data → text, ids
//!                                       └ output: exact tokens and text (pure)
//! watch: card (what it is, whether it reads the model's tokens), health, scrape
//! ```

mod card;
mod chunk;
mod dialect;
mod events;
mod exchange;
mod output;
mod scrape;
mod tokenizer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use primitives::grammar::Spacing;
use primitives::id::{Ids, JobId};
use primitives::node_protocol::{ServedModel, Work};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::engine::{Ongoing, RequestHandle};
use crate::error::{Error, Refused};
use crate::model::Profile;
use crate::sequence::Sequence;
use crate::upstream::card::Card;
use crate::upstream::dialect::Wanted;
use crate::upstream::exchange::Exchange;
use crate::upstream::output::Output;
use crate::upstream::tokenizer::Tokenizer;

/// How long dialling, and each question about itself, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a look that failed comes another.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Where an upstream is, and what it serves.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// The model's folder: its manifest and tokenizer, without weights.
    pub model: PathBuf,
    /// The engine's address, such as `http://127.0.0.1:8000`.
    pub url: String,
    /// The model's name there; none takes the only one, or the one of the catalogue's name.
    pub name: Option<String>,
    /// What is sent as the bearer token.
    pub key: Option<Key>,
    /// Requests at once; fewer where it says that it has fewer slots.
    pub slots: usize,
    /// Prompt and output together; less where the model or the upstream has less. *Units*: tokens.
    pub context_tokens: Option<usize>,
    /// A request fails when nothing comes for this long.
    pub silence_max: Duration,
    /// How often it is asked whether it is well.
    pub look_every: Duration,
}

impl UpstreamConfig {
    /// A model at an address, with what suits most.
    pub fn new(model: PathBuf, url: &str) -> Self {
        Self {
            model,
            url: url.to_owned(),
            name: None,
            key: None,
            slots: 32,
            context_tokens: None,
            silence_max: Duration::from_secs(30),
            look_every: Duration::from_secs(2),
        }
    }
}

/// A secret that is not shown.
#[derive(Clone)]
pub struct Key(pub String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// An upstream that is watched. Dropping it ends the watching.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
    slots: usize,
    _watching: JoinSet<()>,
}

/// What the watch and all requests share.
struct Shared {
    /// The catalogue's name of the model.
    model: String,
    profile: Profile,
    tokenizer: Tokenizer,
    client: reqwest::Client,
    url: String,
    name: Option<String>,
    context_tokens: Option<usize>,
    silence_max: Duration,
    condition: watch::Sender<Condition>,
    /// Somebody saw it fail.
    doubt: Notify,
    live: AtomicUsize,
    ids: Ids,
}

/// Whether an upstream can be given work.
#[derive(Clone, Debug)]
enum Condition {
    Ready(Arc<Card>),
    /// Not now, with the reason.
    Down(String),
}

/// One of the requests that live at an upstream.
#[derive(Debug)]
struct Live(Arc<Shared>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Upstream {
    /// Reads the model's words and begins to watch the upstream, which need not be there yet. Must be called in a runtime.
    ///
    /// # Errors
    /// When the model's folder or the address is not as it should be.
    pub fn start(config: UpstreamConfig, ids: &Ids) -> Result<Self, Error> {
        let UpstreamConfig { model, url, name, key, slots, context_tokens, silence_max, look_every } = config;
        let refused = |reason: String| Error::Upstream { url: url.clone(), reason };
        let profile = Profile::read(&model)?;
        let json = profile.tokenizer(&model)?;
        let tokenizer = Tokenizer::try_new(&json, profile.ends())
            .map_err(|reason| refused(format!("the tokenizer of {}: {reason}", model.display())))?;
        let mut headers = HeaderMap::new();
        if let Some(Key(key)) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| refused("its key has characters that no header can carry".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(Policy::none())
            .connect_timeout(PATIENCE)
            // A kept connection may be closed just when it is used again, and holds a thread of some servers.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/v1").unwrap_or(base);
        if slots == 0 || reqwest::Url::parse(base).is_err() {
            return Err(refused("it must be an address such as http://127.0.0.1:8000, with one slot at least".into()));
        }
        let (condition, _) = watch::channel(Condition::Down("it was not asked yet".into()));
        let shared = Arc::new(Shared {
            model: profile.id().to_owned(),
            profile,
            tokenizer,
            client,
            url: base.to_owned(),
            name,
            context_tokens,
            silence_max,
            condition,
            doubt: Notify::new(),
            live: AtomicUsize::new(0),
            ids: ids.clone(),
        });
        let mut watching = JoinSet::new();
        watching.spawn(watch(shared.clone(), look_every));
        Ok(Self { shared, slots, _watching: watching })
    }

    /// Waits until it can be given work.
    pub async fn ready(&self) {
        let mut condition = self.shared.condition.subscribe();
        // The sender lives as long as we do.
        let _ = condition.wait_for(|condition| matches!(condition, Condition::Ready(_))).await;
    }

    /// Whether it can be given work, or why not.
    pub fn condition(&self) -> Result<(), String> {
        match &*self.shared.condition.borrow() {
            Condition::Ready(_) => Ok(()),
            Condition::Down(reason) => Err(format!("the engine at {}: {reason}", self.shared.url)),
        }
    }

    /// The model's name in the catalogue.
    pub fn model_id(&self) -> &str {
        &self.shared.model
    }

    /// Which engine it is, once it was ready.
    pub fn engine(&self) -> String {
        self.card().map_or_else(|| "upstream".to_owned(), |card| card.engine.clone())
    }

    /// What it serves. The weights are those that the provider says it was started with.
    pub fn served(&self) -> ServedModel {
        ServedModel {
            model: self.shared.model.clone(),
            weights_sha256: self.shared.profile.weights_sha256().to_owned(),
            quantisation: self.shared.profile.quantisation().to_owned(),
            context_tokens: u32::try_from(self.context_tokens()).unwrap_or(u32::MAX),
            slots: u32::try_from(self.slots_of(self.card().as_deref())).unwrap_or(u32::MAX),
            engine: self.engine(),
            ..ServedModel::default()
        }
    }

    /// Requests that it may have at once; none while it is not ready.
    pub fn slots(&self) -> usize {
        self.card().map_or(0, |card| self.slots_of(Some(&card)))
    }

    /// Prompt and output of one request together. *Units*: tokens.
    pub fn context_tokens(&self) -> usize {
        let told = self.card().and_then(|card| card.context_tokens);
        let limits = [self.shared.context_tokens, told];
        limits.into_iter().flatten().fold(self.shared.profile.context_tokens(), usize::min)
    }

    /// Requests that run.
    pub fn running(&self) -> usize {
        self.shared.live.load(Ordering::Acquire)
    }

    /// Takes a request, or refuses it before any work. Must be called in a runtime.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn submit(&self, work: Work) -> Result<RequestHandle, Refused> {
        let shared = self.shared.clone();
        let Condition::Ready(card) = shared.condition.borrow().clone() else {
            return Err(Refused::NotReady { reason: self.condition().err().unwrap_or_default() });
        };
        card.dialect.check(&work)?;
        let live = self.enter(&card)?;
        let spacing = Spacing::Any;
        let words = shared.tokenizer.words();
        let sequence = Sequence::try_new_spaced(work.clone(), words, self.context_tokens(), spacing)?;
        let output_left = sequence.output_left();
        let salt = work.terms.cache_salt.clone().unwrap_or_else(|| shared.own_salt());
        let wanted = Wanted { model: &card.model, work: &work, output_left, salt: &salt };
        let body = card.dialect.body(card.prompt(&shared, &work), wanted);
        // Each frame has a token at least, but what resumed tokens left over and what the end lets go; then the ending.
        let (sender, events) = mpsc::channel(output_left + 4);
        let exchange = Exchange {
            shared: shared.clone(),
            card,
            body,
            prompt_tokens: (work.prompt.len() + work.resume.len()) as u64,
            output: Output::new(sequence, work.logprobs),
            events: sender,
            live,
        };
        let cancelled = Arc::new(Notify::new());
        let mut task = JoinSet::new();
        task.spawn(exchange.run(cancelled.clone()));
        Ok(RequestHandle::new(events, Ongoing::Exchange { cancelled, _task: task }))
    }

    fn enter(&self, card: &Card) -> Result<Live, Refused> {
        let most = self.slots_of(Some(card));
        let more = |live: usize| (live < most).then_some(live + 1);
        let entered = self.shared.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        entered.map(|_| Live(self.shared.clone())).map_err(|live| Refused::Full { live })
    }

    fn slots_of(&self, card: Option<&Card>) -> usize {
        card.and_then(|card| card.slots).map_or(self.slots, |told| told.min(self.slots))
    }

    fn card(&self) -> Option<Arc<Card>> {
        match &*self.shared.condition.borrow() {
            Condition::Ready(card) => Some(card.clone()),
            Condition::Down(_) => None,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("model", &self.model).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Shared {
    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).json(body)
    }

    async fn get_json(&self, path: &str) -> Result<Value, String> {
        self.ask(self.client.get(format!("{}{path}", self.url))).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        let text = self.text(request).await?;
        serde_json::from_str(&text).map_err(|_| "it answered what is no JSON".to_owned())
    }

    async fn text(&self, request: reqwest::RequestBuilder) -> Result<String, String> {
        let asking = async {
            let response = request.send().await.map_err(|_| "it cannot be reached".to_owned())?;
            let (status, path) = (response.status(), response.url().path().to_owned());
            if !status.is_success() {
                return Err(format!("it answered {path} with {}", status.as_u16()));
            }
            response.text().await.map_err(|_| "its answer broke off".to_owned())
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(format!("it did not answer within {PATIENCE:?}")))
    }

    /// A salt that no other request has.
    fn own_salt(&self) -> String {
        self.ids.next::<JobId>().to_string()
    }
}

/// Asks the upstream what it is until it can be used, then whether it is well, for ever.
async fn watch(shared: Arc<Shared>, look_every: Duration) {
    loop {
        let known = match &*shared.condition.borrow() {
            Condition::Ready(card) => Some(card.clone()),
            Condition::Down(_) => None,
        };
        let found = match known {
            Some(card) => look_twice(&shared, &card).await.map(|()| card),
            None => Card::ask(&shared).await.map(Arc::new),
        };
        note(&shared, found);
        if timeout(look_every, shared.doubt.notified()).await.is_ok() {
            // A request failed: it has to show again that it can be used.
            note(&shared, Card::ask(&shared).await.map(Arc::new));
        }
    }
}

/// Whether it is well; one look that fails may be the look's own fault.
async fn look_twice(shared: &Shared, card: &Card) -> Result<(), String> {
    if look(shared, card).await.is_ok() {
        return Ok(());
    }
    sleep(LOOK_AGAIN).await;
    look(shared, card).await
}

/// Whether it is well, and how busy.
async fn look(shared: &Shared, card: &Card) -> Result<(), String> {
    shared.text(shared.client.get(format!("{}{}", shared.url, card.dialect.health_path()))).await?;
    let names = card.dialect.gauges();
    if names.iter().any(|names| !names.is_empty())
        && let Ok(page) = shared.text(shared.client.get(format!("{}/metrics", shared.url))).await
    {
        let shown = ["tokengrid_upstream_running", "tokengrid_upstream_waiting", "tokengrid_upstream_kv_used_ratio"];
        for (name, names) in shown.into_iter().zip(names) {
            if let Some(value) = scrape::sum(&page, names) {
                metrics::gauge!(name, "model" => shared.model.clone()).set(value);
            }
        }
    }
    Ok(())
}

fn note(shared: &Shared, found: Result<Arc<Card>, String>) {
    let ready = found.is_ok();
    metrics::gauge!("tokengrid_upstream_ready", "model" => shared.model.clone()).set(f64::from(u8::from(ready)));
    shared.condition.send_if_modified(|condition| {
        let changed = match (&*condition, &found) {
            (Condition::Ready(known), Ok(card)) => known != card,
            (Condition::Down(known), Err(reason)) => known != reason,
            (Condition::Ready(_), Err(_)) | (Condition::Down(_), Ok(_)) => true,
        };
        if changed {
            match &found {
                Ok(card) => {
                    tracing::info!(model = shared.model, url = shared.url, engine = card.engine, "upstream ready")
                }
                Err(reason) => {
                    tracing::warn!(
                        model = shared.model,
                        url = shared.url,
                        reason,
                        "upstream not ready, it gets no work"
                    );
                }
            }
            *condition = match found {
                Ok(card) => Condition::Ready(card),
                Err(reason) => Condition::Down(reason),
            };
        }
        changed
    });
}
