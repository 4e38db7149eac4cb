//! The use case all transports share: a request becomes tokens on a leased node, and the tokens become money.
//!
//! [`Inference::start`] admits: limits, prompt, pinned price, hold, queue. From then on a task of ours drives the job
//! ([`drive`](mod@drive)), whether or not the caller stays: what was delivered is settled once, and the stream's last
//! event comes after that commit.

mod drive;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use billing::price::PriceList;
use broker::job::{Class, Job, JobRecord, NewJob};
use broker::{Broker, Refused};
use ledger::{JobHold, Replica, Writer};
use primitives::clock::Clock;
use primitives::grammar::Grammar;
use primitives::id::{ApiKeyId, Ids, JobId, ProjectId, TenantId, UserId};
use primitives::kv_block;
use primitives::money::{Money, Nanos};
use primitives::node_protocol::{Sampling, TokenLogprobs};
use primitives::prompt::Message;
use serde_json::Value;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use crate::cache_salt::CacheSalts;
use crate::catalogue::{Catalogue, Entry};
use crate::error::Error;
use crate::limit::Limiter;
use crate::{CURRENCY, repo};

use self::drive::Listener;

/// How long a hold lasts, longer than any job, so that a lost one frees itself.
pub(crate) const HOLD_MINUTES: i64 = 90;

/// What somebody wants generated.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model's name.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Tools the model may call, as OpenAI describes them.
    pub tools: Vec<Value>,
    /// What the output must look like.
    pub grammar: Option<Grammar>,
    /// With how many of the likeliest tokens beside each its likelihood is told, if it is.
    pub logprobs: Option<u8>,
    /// The most output tokens; the model's own default when absent.
    pub output_tokens_max: Option<u32>,
    /// Texts that end the output.
    pub stop: Vec<String>,
    /// How tokens are drawn; the seed here is not used.
    pub sampling: Sampling,
    /// The caller's seed; one is derived from the job's id when absent.
    pub seed: Option<u64>,
    /// The caller's word for "the same request".
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request as it came.
    pub body_sha256: [u8; 32],
}

/// What became of a request.
pub enum Started {
    /// It runs.
    Running(Running),
    /// It ran before, under the same idempotency key.
    Repeated(Box<JobRecord>),
}

/// A job under way, as its caller sees it; dropping it cancels the job.
pub struct Running {
    /// Which job.
    pub job_id: JobId,
    /// The model's name.
    pub model: String,
    /// The prompt's length.
    pub prompt_tokens: u32,
    events: mpsc::UnboundedReceiver<Event>,
    // Kept for as long as the caller listens.
    _place: OwnedSemaphorePermit,
}

/// A piece of a job's answer.
#[derive(Debug)]
pub enum Event {
    /// More text, whole characters; it completes this many tokens.
    Text {
        /// The text; may be empty while a character is unfinished.
        text: String,
        /// New tokens.
        tokens: u32,
        /// How likely each was, where that was asked for.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The last event, after the money is settled.
    Ended(Box<Ending>),
}

/// How a job ended.
#[derive(Debug)]
pub struct Ending {
    /// `stop` or `length`, or why it failed.
    pub result: Result<&'static str, Error>,
    /// The prompt's tokens that are charged.
    pub prompt_tokens: u32,
    /// Of those, how many the node's cache held.
    pub cached_tokens: u32,
    /// Delivered tokens, all charged.
    pub output_tokens: u32,
    /// What was paid.
    pub charge: Money,
}

impl Running {
    /// The next piece; none after [`Event::Ended`].
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

/// Who pays and who asked.
#[derive(Clone, Copy, Debug)]
struct Payer {
    tenant_id: TenantId,
    project_id: ProjectId,
    api_key_id: Option<ApiKeyId>,
    user_id: Option<UserId>,
}

/// Admits and drives jobs; clones share one set of tasks.
#[derive(Clone)]
pub struct Inference {
    pool: PgPool,
    clock: Clock,
    ids: Ids,
    replica: Replica,
    ledger: Writer,
    broker: Broker,
    limiter: Limiter,
    catalogue: Catalogue,
    salts: CacheSalts,
    jobs: TaskTracker,
    running: Arc<Mutex<HashMap<JobId, CancellationToken>>>,
    // The program's runtime: a job outlives the HTTP worker that took it.
    runtime: Handle,
}

/// What [`Inference`] works with.
pub struct Parts {
    /// The database.
    pub pool: PgPool,
    /// The time.
    pub clock: Clock,
    /// Names for jobs.
    pub ids: Ids,
    /// This replica, whose writer holds and settles.
    pub replica: Replica,
    /// Who finds a node.
    pub broker: Broker,
    /// Who counts against limits.
    pub limiter: Limiter,
    /// The models on offer.
    pub catalogue: Catalogue,
    /// What stands for tenants in caches.
    pub salts: CacheSalts,
}

/// A job admitted and priced.
#[derive(Clone)]
struct Admitted {
    job: Arc<NewJob>,
    prices: PriceList,
}

impl Inference {
    /// Over running parts; call it inside the runtime that jobs are to live on.
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, clock, ids, replica, broker, limiter, catalogue, salts } = parts;
        Self {
            pool,
            clock,
            ids,
            ledger: replica.writer(),
            replica,
            broker,
            limiter,
            catalogue,
            salts,
            jobs: TaskTracker::new(),
            running: Arc::default(),
            runtime: Handle::current(),
        }
    }

    /// Waits until every running job is settled; call it once no request can come any more.
    pub async fn settle_all(&self) {
        self.jobs.close();
        self.jobs.wait().await;
    }

    /// Ends a job of this replica at once; any other stays as it is.
    pub fn cancel(&self, job_id: JobId) {
        if let Some(stop) = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&job_id) {
            stop.cancel();
        }
    }

    /// Admits a request and lets it run.
    ///
    /// *Errors*: an unknown model, a prompt that does not fit, a limit, too little money, no node; nothing is left held.
    pub async fn start(&self, caller: &Caller, mut request: Request) -> Result<Started, Error> {
        let payer = self.payer(caller).await?;
        let place = self.limiter.enter(payer.tenant_id)?;
        let entry = self.catalogue.get(&request.model).await?;
        request.grammar = checked(request.grammar, &entry).await?;
        if let Some(&(id, _)) = request.sampling.logit_bias.iter().find(|(id, _)| *id >= entry.format.vocabulary_len())
        {
            return Err(Error::invalid("logit_bias", format!("The model has no token {id}.")));
        }
        let prompt = entry.format.prompt(&request.messages, &request.tools);
        let prompt = prompt.map_err(|error| Error::invalid("messages", error.to_string()))?;
        let output_tokens_max = output_limit(&entry, prompt.len(), request.output_tokens_max)?;
        let prompt_tokens = u32::try_from(prompt.len()).expect("a prompt that fits the context fits 32 bits");
        self.limiter.take(payer.tenant_id, prompt_tokens + output_tokens_max).await?;

        let now = self.clock.now();
        let prices = billing::price::in_force(&mut *self.pool.acquire().await?, &request.model, CURRENCY, now).await?;
        let hold = billing::charge::worst_case(&prices, prompt_tokens, output_tokens_max)?;
        let job_id: JobId = self.ids.next();
        let job = Arc::new(NewJob {
            job_id,
            tenant_id: payer.tenant_id,
            project_id: payer.project_id,
            api_key_id: payer.api_key_id,
            user_id: payer.user_id,
            model: request.model.clone(),
            class: Class::Interactive,
            idempotency_key: request.idempotency_key.clone(),
            body_sha256: request.body_sha256,
            prompt_tokens,
            output_tokens_max,
            input_price_id: prices.input.id,
            output_price_id: prices.output.id,
            currency: CURRENCY,
            hold,
            received_at: now,
            replica_id: self.replica.id(),
        });
        if let Some(repeated) = self.record(&job).await? {
            return Ok(Started::Repeated(repeated));
        }
        let admitted = Admitted { job, prices };
        let events = match self.run(&admitted, request, prompt).await {
            Ok(events) => events,
            Err(error) => {
                let conn = &mut *self.pool.acquire().await?;
                broker::job::refuse(conn, job_id, error.code(), self.clock.now()).await?;
                return Err(error);
            }
        };
        Ok(Started::Running(Running {
            job_id,
            model: admitted.job.model.clone(),
            prompt_tokens,
            events,
            _place: place,
        }))
    }

    async fn payer(&self, caller: &Caller) -> Result<Payer, Error> {
        let tenant_id = caller.tenant()?;
        if let Some((api_key_id, project_id)) = caller.key() {
            return Ok(Payer { tenant_id, project_id, api_key_id: Some(api_key_id), user_id: None });
        }
        let projects = repo::projects(&mut *self.pool.acquire().await?, tenant_id).await?;
        let (project_id, _) = *projects.first().ok_or(Error::NotFound("project"))?;
        Ok(Payer { tenant_id, project_id, api_key_id: None, user_id: caller.person().ok() })
    }

    /// Records the job, or finds the one that has its idempotency key.
    async fn record(&self, job: &NewJob) -> Result<Option<Box<JobRecord>>, Error> {
        match broker::job::insert(&mut *self.pool.acquire().await?, job).await {
            Ok(()) => Ok(None),
            Err(broker::Error::DuplicateKey { existing }) if existing.body_sha256 == job.body_sha256 => {
                Ok(Some(existing))
            }
            Err(broker::Error::DuplicateKey { .. }) => Err(Error::IdempotencyConflict),
            Err(error) => Err(error.into()),
        }
    }

    /// Holds the worst case, queues the job while the hold's commit is in flight, and lets a task drive it.
    async fn run(
        &self,
        admitted: &Admitted,
        request: Request,
        prompt: Vec<u32>,
    ) -> Result<mpsc::UnboundedReceiver<Event>, Error> {
        let job = &admitted.job;
        let expires_at = job.received_at + chrono::TimeDelta::minutes(HOLD_MINUTES);
        // A free job holds the least there is, so that its end is in the books as well.
        let amount = job.hold.max(Nanos(1));
        let (job_id, tenant_id, currency) = (job.job_id, job.tenant_id, job.currency);
        let hold = self.ledger.hold(JobHold { job_id, tenant_id, currency, amount, expires_at }).await?;
        let seed = request.seed.unwrap_or_else(|| job_id.0.as_u64_pair().1);
        let cache_salt = self.salts.of(tenant_id);
        let blocks = kv_block::names(&cache_salt, &prompt);
        let submitted = self.broker.submit(Job {
            job_id,
            tenant_id,
            model: job.model.clone(),
            prompt,
            output_tokens_max: job.output_tokens_max,
            stop: request.stop,
            sampling: Sampling { seed, ..request.sampling },
            grammar: request.grammar,
            logprobs: request.logprobs,
            blocks,
            cache_salt: Some(cache_salt),
            class: job.class,
            deadline: None,
            step_max: None,
        });
        let stream = match submitted.await {
            Ok(stream) => stream,
            Err(refused) => {
                self.ledger.void(job_id).await?;
                return Err(refused.into());
            }
        };
        let (sender, events) = mpsc::unbounded_channel();
        // Not more than the job's output limit ever waits in this channel.
        let stop = CancellationToken::new();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(job_id, stop.clone());
        let driven = drive::drive(self.clone(), admitted.clone(), hold, stream, Listener { events: sender, stop });
        self.jobs.spawn_on(driven, &self.runtime);
        Ok(events)
    }
}

/// The grammar as this model's template lists parameters, once it is known that it can be held.
async fn checked(grammar: Option<Grammar>, entry: &Entry) -> Result<Option<Grammar>, Error> {
    let Some(mut grammar) = grammar else { return Ok(None) };
    if entry.format.sorts_parameters() {
        grammar.sort_arguments();
    }
    // Compiling a large one takes longer than a thread that serves many may.
    let (grammar, held) = tokio::task::spawn_blocking(move || {
        let held = grammar.check();
        (grammar, held)
    })
    .await
    .map_err(|error| Error::Internal(error.into()))?;
    let param = if matches!(grammar, Grammar::ToolCalls { .. }) { "tools" } else { "response_format" };
    held.map_err(|error| Error::invalid(param, format!("The output cannot be held to this: {error}.")))?;
    Ok(Some(grammar))
}

/// The output limit in force: what was asked for, within the model's limit and what the prompt leaves of the context.
fn output_limit(entry: &Entry, prompt_tokens: usize, wanted: Option<u32>) -> Result<u32, Error> {
    let model = &entry.model;
    let room = usize::try_from(model.context_tokens).ok().and_then(|context| context.checked_sub(prompt_tokens));
    let room = room.and_then(|room| u32::try_from(room).ok()).filter(|room| *room > 0);
    let room = room.ok_or_else(|| Error::ContextTooLong {
        model: model.id.clone(),
        prompt_tokens,
        context_tokens: model.context_tokens,
    })?;
    Ok(wanted.unwrap_or(model.output_tokens_default).min(model.output_tokens_max).min(room))
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let retry_after = match &refused {
            Refused::QueueFull { retry_after, .. } | Refused::Late { retry_after, .. } => *retry_after,
            _ => std::time::Duration::from_secs(5),
        };
        Self::Unavailable { reason: format!("{refused}."), retry_after }
    }
}

impl From<broker::Error> for Error {
    fn from(error: broker::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<billing::Error> for Error {
    fn from(error: billing::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<ledger::Error> for Error {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::InsufficientFunds { needed, available, .. } => {
                let money = |amount| Money { amount, currency: CURRENCY };
                Self::InsufficientFunds { needed: money(needed), available: money(available) }
            }
            ledger::Error::Unavailable | ledger::Error::Stopped => Self::Unavailable {
                reason: "The ledger cannot write now.".to_owned(),
                retry_after: std::time::Duration::from_secs(5),
            },
            other => Self::Internal(other.into()),
        }
    }
}
