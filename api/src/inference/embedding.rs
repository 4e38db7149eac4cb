//! Embeddings: texts become vectors on a leased node, and what was read becomes money.

use std::sync::Arc;

use broker::job::{Job, NewJob};
use broker::model::ModelKind;
use broker::{JobStream, Refused};
use ledger::Hold;
use primitives::node_protocol::Sampling;

use super::{Admitted, Inference, Running, Tariff};
use crate::CURRENCY;
use crate::auth::Caller;
use crate::catalogue::Entry;
use crate::error::Error;

/// What somebody wants embedded.
#[derive(Clone, Debug)]
pub struct EmbeddingRequest {
    /// The model's name.
    pub model: String,
    /// The texts, at least one.
    pub inputs: Vec<Input>,
    /// The caller's word for "the same request".
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request as it came.
    pub body_sha256: [u8; 32],
}

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// As people write it.
    Text(String),
    /// As ids of the model's tokenizer, taken as they are.
    Tokens(Vec<u32>),
}

impl Inference {
    /// Admits texts to be embedded and lets the job run: its events are one vector a text, in order, then its end.
    ///
    /// *Errors*: an unknown model, a text that does not fit, a limit, too little money, no node; nothing is left held.
    pub async fn embed(&self, caller: &Caller, request: EmbeddingRequest) -> Result<Running, Error> {
        let payer = self.payer(caller).await?;
        let place = self.limiter.enter(payer.tenant_id)?;
        let entry = self.catalogue.get(&request.model).await?;
        entry.must_be(ModelKind::Embedding)?;
        let texts = read(&entry, request.inputs)?;
        let embed: Vec<u32> = texts.iter().map(|text| u32::try_from(text.len()).unwrap_or(u32::MAX)).collect();
        let prompt_tokens = embed.iter().fold(0, |sum: u32, length| sum.saturating_add(*length));
        self.limiter.take(payer.tenant_id, prompt_tokens).await?;

        let now = self.clock.now();
        let price = async {
            let conn = &mut *self.pool.acquire().await?;
            Ok::<_, Error>(billing::price::of_embeddings(conn, &request.model, CURRENCY, now).await?)
        };
        let price = price.await?;
        let job = NewJob {
            idempotency_key: request.idempotency_key,
            body_sha256: request.body_sha256,
            hold: billing::charge::embedding(price, prompt_tokens)?.total,
            ..self.draft(payer, &entry.model, prompt_tokens, price.id, now)
        };
        if self.record(&job).await?.is_some() {
            return Err(Error::Conflict(
                "The texts with this idempotency key were taken before. Their vectors are not kept.",
            ));
        }
        let admitted = Admitted { job: Arc::new(job), tariff: Tariff::Embedding(price), thinks: None };
        match self.queue_texts(&admitted.job, texts.concat(), embed).await {
            Ok((hold, stream)) => {
                let (job_id, model) = (admitted.job.job_id, request.model);
                let choice = self.drive(admitted, hold, stream);
                Ok(Running::new(job_id, model, prompt_tokens, vec![choice], vec![place]))
            }
            Err(error) => {
                let conn = &mut *self.pool.acquire().await?;
                broker::job::refuse(conn, admitted.job.job_id, error.code(), self.clock.now()).await?;
                Err(error)
            }
        }
    }

    /// Holds what the texts cost, and queues them while the hold's commit is in flight.
    async fn queue_texts(&self, job: &NewJob, prompt: Vec<u32>, embed: Vec<u32>) -> Result<(Hold, JobStream), Error> {
        let hold = self.hold(job).await?;
        let submitted = self.broker.submit(Job {
            job_id: job.job_id,
            tenant_id: job.tenant_id,
            model: job.model.clone(),
            prompt,
            embed,
            output_tokens_max: 0,
            stop: vec![],
            sampling: Sampling::greedy(),
            grammar: None,
            logprobs: None,
            cache_salt: None,
            prompt_blocks: vec![],
            pays_prompt: true,
            grade: job.grade,
            class: job.class,
            deadline: None,
            step_max: None,
        });
        let stream: Result<JobStream, Refused> = submitted.await;
        match stream {
            Ok(stream) => Ok((hold, stream)),
            Err(refused) => {
                self.ledger.void(job.job_id).await?;
                Err(refused.into())
            }
        }
    }
}

/// The texts as the model reads them. *Errors*: which one it cannot read, and why.
fn read(entry: &Entry, inputs: Vec<Input>) -> Result<Vec<Vec<u32>>, Error> {
    let (model, vocabulary) = (&entry.model, entry.format.vocabulary_len());
    let one = |(index, input)| {
        let param = format!("input[{index}]");
        let ids = match input {
            Input::Text(text) => entry.format.text(&text).map_err(|error| Error::invalid(&param, error.to_string()))?,
            Input::Tokens(ids) => ids,
        };
        if let Some(id) = ids.iter().find(|id| **id >= vocabulary) {
            return Err(Error::invalid(&param, format!("The model has no token {id}.")));
        }
        match ids.len() {
            0 => Err(Error::invalid(&param, "There is nothing to embed.")),
            tokens if tokens > model.context_tokens as usize => {
                let most = model.context_tokens;
                Err(Error::invalid(&param, format!("The text has {tokens} tokens and `{}` reads {most}.", model.id)))
            }
            _ => Ok(ids),
        }
    };
    inputs.into_iter().enumerate().map(one).collect()
}
