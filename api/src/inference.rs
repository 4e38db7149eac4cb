//! The use case all transports share: a request becomes tokens on a leased node, and the tokens become money.
//!
//! A request of several choices is as many jobs, each with its own hold and settlement; the first one pays the prompt.
//!
//! [`Inference::start`] admits: limits, prompt, pinned price, hold, queue. From then on a task of ours drives the job
//! ([`drive`](mod@drive)), whether or not the caller stays: what was delivered is settled once, and the stream's last
//! event comes after that commit.

mod drive;
mod embedding;
mod reasoning;
mod running;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use billing::price::{Price, PriceList};
use billing::{Charge, Counts};
use broker::job::{Class, Job, JobRecord, NewJob};
use broker::model::{Model, ModelKind};
use broker::{Broker, JobStream, Refused};
use chrono::{DateTime, TimeDelta, Utc};
use ledger::{Hold, JobHold, Replica, Writer};
use primitives::certificate::Grade;
use primitives::clock::Clock;
use primitives::grammar::Grammar;
use primitives::id::{ApiKeyId, Ids, JobId, PriceId, ProjectId, TenantId, UserId};
use primitives::kv_block;
use primitives::money::{Money, Nanos};
use primitives::node_protocol::Sampling;
use primitives::prompt::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use crate::cache_salt::CacheSalts;
use crate::catalogue::{Catalogue, Entry};
use crate::error::Error;
use crate::limit::Limiter;
use crate::{CURRENCY, repo};

use self::drive::Listener;
use self::reasoning::ReasoningSplitter;
use self::running::Choice;

pub use self::embedding::{EmbeddingRequest, Input};
pub use self::running::{Ending, Event, Running};

/// How long a hold lasts, longer than any job, so that a lost one frees itself.
pub(crate) const HOLD_MINUTES: i64 = 90;

/// What somebody wants generated.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model's name.
    pub model: String,
    /// What it goes on from.
    pub prompt: Prompt,
    /// What the output must look like.
    pub grammar: Option<Grammar>,
    /// With how many of the likeliest tokens beside each its likelihood is told, if it is.
    pub logprobs: Option<u8>,
    /// The lowest grade that is taken; the model's own default when absent.
    pub grade: Option<Grade>,
    /// Whether somebody waits for it.
    pub class: Class,
    /// How many answers; at least one.
    pub choices: u8,
    /// The most output tokens of each; the model's own default when absent.
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

/// What a model goes on from.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// A conversation, as the model's chat template puts it.
    Conversation {
        /// What was said.
        messages: Vec<Message>,
        /// Tools the model may call, as OpenAI describes them.
        tools: Vec<Value>,
    },
    /// A text as it is; what it writes of special tokens is read as those.
    Text(String),
    /// Ids of the model's tokenizer, as they are.
    Tokens(Vec<u32>),
}

/// What became of a request.
pub enum Started {
    /// It runs.
    Running(Running),
    /// It ran before, under the same idempotency key: its job, or those of its choices in their order.
    Repeated(Vec<JobRecord>),
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
    first_token_max: TimeDelta,
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
    /// The first token of an interactive job is wanted so soon after its request.
    pub first_token_max: TimeDelta,
}

/// A job admitted and priced.
#[derive(Clone)]
struct Admitted {
    job: Arc<NewJob>,
    tariff: Tariff,
    /// Tells its thinking from its answer, where its model thinks.
    thinks: Option<ReasoningSplitter>,
}

/// The prices that a job pinned.
#[derive(Clone)]
enum Tariff {
    /// Of a prompt and what is made of it.
    Generation(PriceList),
    /// Of a token that is embedded.
    Embedding(Price),
}

impl Tariff {
    /// What a job with these counts costs.
    fn charge(&self, counts: Counts) -> Result<Charge, Error> {
        Ok(match self {
            Self::Generation(prices) => billing::charge::charge(prices, counts)?,
            Self::Embedding(price) => billing::charge::embedding(*price, counts.prompt)?,
        })
    }
}

impl Inference {
    /// Over running parts; call it inside the runtime that jobs are to live on.
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, clock, ids, replica, broker, limiter, catalogue, salts, first_token_max } = parts;
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
            first_token_max,
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
        let places = (0..request.choices).map(|_| self.limiter.enter(payer.tenant_id)).collect::<Result<_, _>>()?;
        let entry = self.catalogue.get(&request.model).await?;
        entry.must_be(ModelKind::Generation)?;
        request.grammar = checked(request.grammar, &entry).await?;
        if let Some(&(id, _)) = request.sampling.logit_bias.iter().find(|(id, _)| *id >= entry.format.vocabulary_len())
        {
            return Err(Error::invalid("logit_bias", format!("The model has no token {id}.")));
        }
        let (prompt, end) = read(&entry, &request.prompt)?;
        let output_tokens_max = output_limit(&entry, &request, prompt.len())?;
        let prompt_tokens = u32::try_from(prompt.len()).expect("a prompt that fits the context fits 32 bits");
        let tokens = output_tokens_max.saturating_mul(request.choices.into()).saturating_add(prompt_tokens);
        self.limiter.take(payer.tenant_id, tokens).await?;

        let now = self.clock.now();
        let prices = billing::price::in_force(&mut *self.pool.acquire().await?, &request.model, CURRENCY, now).await?;
        let new_job = |first: Option<&NewJob>| {
            // The first choice pays the prompt, which the others find read.
            let prompt_tokens_paid = if first.is_none() { prompt_tokens } else { 0 };
            Ok::<_, Error>(NewJob {
                grade: request.grade.unwrap_or(entry.model.grade_default),
                class: request.class,
                idempotency_key: request.idempotency_key.clone().filter(|_| first.is_none()),
                body_sha256: request.body_sha256,
                output_tokens_max,
                cached_input_price_id: prices.cached_input.map(|price| price.id),
                output_price_id: Some(prices.output.id),
                hold: billing::charge::worst_case(&prices, prompt_tokens_paid, output_tokens_max)?,
                first_job_id: first.map(|first| first.job_id),
                ..self.draft(payer, &entry.model, prompt_tokens, prices.input.id, now)
            })
        };
        let first = new_job(None)?;
        if let Some(repeated) = self.record(&first).await? {
            return Ok(Started::Repeated(repeated));
        }
        let mut jobs = vec![first];
        for _ in 1..request.choices {
            jobs.push(new_job(jobs.first())?);
        }
        let (job_id, model) = (jobs[0].job_id, request.model.clone());
        // Without a template between, all of an output is text.
        let talks = matches!(request.prompt, Prompt::Conversation { .. });
        let thinks = entry.model.reasoning.clone().filter(|_| talks).map(|reasoning| {
            let opened = end.trim_end().ends_with(&reasoning.open);
            ReasoningSplitter::new(reasoning, opened)
        });
        let admitted =
            |job| Admitted { job: Arc::new(job), tariff: Tariff::Generation(prices.clone()), thinks: thinks.clone() };
        let choices = jobs.into_iter().map(admitted).collect();
        let choices = self.run_all(choices, request, &prompt).await?;
        Ok(Started::Running(Running::new(job_id, model, prompt_tokens, choices, places)))
    }

    /// A job of this replica that reads a prompt and does nothing yet.
    fn draft(&self, payer: Payer, model: &Model, prompt_tokens: u32, price_id: PriceId, now: DateTime<Utc>) -> NewJob {
        let Payer { tenant_id, project_id, api_key_id, user_id } = payer;
        NewJob {
            job_id: self.ids.next(),
            tenant_id,
            project_id,
            api_key_id,
            user_id,
            model: model.id.clone(),
            grade: model.grade_default,
            class: Class::Interactive,
            idempotency_key: None,
            body_sha256: [0; 32],
            prompt_tokens,
            output_tokens_max: 0,
            input_price_id: price_id,
            cached_input_price_id: None,
            output_price_id: None,
            currency: CURRENCY,
            hold: Nanos::ZERO,
            received_at: now,
            replica_id: self.replica.id(),
            first_job_id: None,
        }
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

    /// Records a request's first job, or finds those of the request that has its idempotency key.
    async fn record(&self, job: &NewJob) -> Result<Option<Vec<JobRecord>>, Error> {
        let mut conn = self.pool.acquire().await?;
        let existing = match broker::job::insert(&mut conn, job).await {
            Ok(()) => return Ok(None),
            Err(broker::Error::DuplicateKey { existing }) => *existing,
            Err(error) => return Err(error.into()),
        };
        if existing.body_sha256 != job.body_sha256 {
            return Err(Error::IdempotencyConflict);
        }
        let others = broker::job::other_choices(&mut conn, existing.job_id).await?;
        Ok(Some(std::iter::once(existing).chain(others).collect()))
    }

    /// Lets the choices of a request run, of which the first is on record: all of them, or none and nothing is left held.
    async fn run_all(&self, choices: Vec<Admitted>, request: Request, prompt: &[u32]) -> Result<Vec<Choice>, Error> {
        let mut recorded = 1;
        let queued = match self.record_others(&choices, &mut recorded).await {
            Ok(()) => self.queue_all(&choices, &request, prompt).await,
            Err(error) => Err(error),
        };
        match queued {
            Ok(queued) => {
                let pairs = choices.into_iter().zip(queued);
                Ok(pairs.map(|(admitted, (hold, stream))| self.drive(admitted, hold, stream)).collect())
            }
            Err(error) => {
                let conn = &mut *self.pool.acquire().await?;
                for Admitted { job, .. } in &choices[..recorded] {
                    broker::job::refuse(conn, job.job_id, error.code(), self.clock.now()).await?;
                }
                Err(error)
            }
        }
    }

    async fn record_others(&self, choices: &[Admitted], recorded: &mut usize) -> Result<(), Error> {
        if choices.len() > 1 {
            let conn = &mut *self.pool.acquire().await?;
            for Admitted { job, .. } in &choices[1..] {
                broker::job::insert(conn, job).await?;
                *recorded += 1;
            }
        }
        Ok(())
    }

    /// Holds the worst case of each choice, and queues them while the holds' commit is in flight.
    async fn queue_all(
        &self,
        choices: &[Admitted],
        request: &Request,
        prompt: &[u32],
    ) -> Result<Vec<(Hold, JobStream)>, Error> {
        let mut holds = vec![];
        let mut streams = vec![];
        let queued: Result<(), Error> = async {
            for Admitted { job, .. } in choices {
                holds.push(self.hold(job).await?);
            }
            let salt = self.salts.of(choices[0].job.tenant_id);
            let prompt_blocks = kv_block::names(&salt, prompt);
            for (index, Admitted { job, .. }) in choices.iter().enumerate() {
                let seed = request.seed.map_or_else(|| job.job_id.0.as_u64_pair().1, |seed| seed_of(seed, index));
                let submitted = self.broker.submit(Job {
                    job_id: job.job_id,
                    tenant_id: job.tenant_id,
                    model: job.model.clone(),
                    prompt: prompt.to_vec(),
                    embed: vec![],
                    output_tokens_max: job.output_tokens_max,
                    stop: request.stop.clone(),
                    sampling: Sampling { seed, ..request.sampling.clone() },
                    grammar: request.grammar.clone(),
                    logprobs: request.logprobs,
                    cache_salt: Some(salt.clone()),
                    prompt_blocks: prompt_blocks.clone(),
                    pays_prompt: job.first_job_id.is_none(),
                    grade: job.grade,
                    class: job.class,
                    deadline: self.deadline(job),
                    step_max: None,
                });
                streams.push(submitted.await?);
            }
            Ok(())
        }
        .await;
        if let Err(error) = queued {
            // Without their streams the broker forgets the jobs, of which nobody has seen anything.
            drop(streams);
            for Admitted { job, .. } in &choices[..holds.len()] {
                self.ledger.void(job.job_id).await?;
            }
            return Err(error);
        }
        Ok(holds.into_iter().zip(streams).collect())
    }

    /// When a job's first token is wanted, if somebody waits for it.
    fn deadline(&self, job: &NewJob) -> Option<DateTime<Utc>> {
        (job.class == Class::Interactive).then(|| job.received_at + self.first_token_max)
    }

    async fn hold(&self, job: &NewJob) -> Result<Hold, Error> {
        let expires_at = job.received_at + TimeDelta::minutes(HOLD_MINUTES);
        // A free job holds the least there is, so that its end is in the books as well.
        let amount = job.hold.max(Nanos(1));
        let NewJob { job_id, tenant_id, currency, .. } = *job;
        Ok(self.ledger.hold(JobHold { job_id, tenant_id, currency, amount, expires_at }).await?)
    }

    /// Lets a task drive a job to its end.
    fn drive(&self, admitted: Admitted, hold: Hold, stream: JobStream) -> Choice {
        let (sender, events) = mpsc::unbounded_channel();
        // Not more than the job's output limit ever waits in this channel.
        let stop = CancellationToken::new();
        let job_id = admitted.job.job_id;
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(job_id, stop.clone());
        let listener = Listener { events: sender, stop: stop.clone() };
        self.jobs.spawn_on(drive::drive(self.clone(), admitted, hold, stream, listener), &self.runtime);
        Choice { events, stop }
    }
}

/// What a choice draws with: the request's own seed for the first, others for the others.
fn seed_of(seed: u64, choice: usize) -> u64 {
    if choice == 0 {
        return seed;
    }
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(choice.to_le_bytes()).finalize();
    u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

/// The prompt's ids, and the last words of a template.
fn read(entry: &Entry, prompt: &Prompt) -> Result<(Vec<u32>, String), Error> {
    let format = &entry.format;
    let invalid = |error: primitives::prompt::Error| Error::invalid(prompt.param(), error.to_string());
    let ids = match prompt {
        Prompt::Conversation { messages, tools } => return format.prompt_and_end(messages, tools).map_err(invalid),
        Prompt::Text(text) => format.text(text).map_err(invalid)?,
        Prompt::Tokens(ids) => ids.clone(),
    };
    if let Some(id) = ids.iter().find(|id| **id >= format.vocabulary_len()) {
        return Err(Error::invalid(prompt.param(), format!("The model has no token {id}.")));
    }
    if ids.is_empty() {
        return Err(Error::invalid(prompt.param(), "There is nothing to go on from."));
    }
    Ok((ids, String::new()))
}

impl Prompt {
    /// The field that it came in.
    fn param(&self) -> &'static str {
        if matches!(self, Self::Conversation { .. }) { "messages" } else { "prompt" }
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
fn output_limit(entry: &Entry, request: &Request, prompt_tokens: usize) -> Result<u32, Error> {
    let model = &entry.model;
    let room = usize::try_from(model.context_tokens).ok().and_then(|context| context.checked_sub(prompt_tokens));
    let room = room.and_then(|room| u32::try_from(room).ok()).filter(|room| *room > 0);
    let room = room.ok_or_else(|| Error::ContextTooLong {
        param: request.prompt.param(),
        model: model.id.clone(),
        prompt_tokens,
        context_tokens: model.context_tokens,
    })?;
    Ok(request.output_tokens_max.unwrap_or(model.output_tokens_default).min(model.output_tokens_max).min(room))
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let reason = format!("{refused}.");
        match refused {
            Refused::Late { retry_after, .. } | Refused::Overloaded { retry_after, .. } => {
                Self::Overloaded { reason, retry_after }
            }
            Refused::QueueFull { retry_after, .. } => Self::Unavailable { reason, retry_after },
            _ => Self::Unavailable { reason, retry_after: std::time::Duration::from_secs(5) },
        }
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
