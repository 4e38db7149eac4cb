//! The models on offer, with their chat templates and tokenizers ready.

use std::sync::Arc;
use std::time::Duration;

use broker::model::{self, ModelKind};
use moka::future::Cache;
use primitives::prompt::PromptFormat;
use sqlx::PgPool;

use crate::error::Error;

/// How long a model is believed without asking the database.
const TTL: Duration = Duration::from_secs(30);

/// A model and its way of reading a conversation.
#[derive(Debug)]
pub struct Entry {
    /// As registered.
    pub model: model::Model,
    /// Template and tokenizer.
    pub format: PromptFormat,
}

impl Entry {
    /// *Errors*: the model is for something else.
    pub fn must_be(&self, kind: ModelKind) -> Result<(), Error> {
        let id = &self.model.id;
        match self.model.kind {
            made if made == kind => Ok(()),
            ModelKind::Generation => Err(Error::invalid(
                "model",
                format!("`{id}` answers and makes no embeddings. Ask it at /v1/chat/completions."),
            )),
            ModelKind::Embedding => Err(Error::invalid(
                "model",
                format!("`{id}` makes embeddings and does not answer. Ask it at /v1/embeddings."),
            )),
        }
    }
}

/// Looks models up; clones share one cache.
#[derive(Clone)]
pub struct Catalogue {
    pool: PgPool,
    entries: Cache<String, Arc<Entry>>,
}

impl Catalogue {
    /// An empty cache over the registered models.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, entries: Cache::builder().max_capacity(1_000).time_to_live(TTL).build() }
    }

    /// The model of this name; many who ask at once wait for one reading.
    pub async fn get(&self, name: &str) -> Result<Arc<Entry>, Error> {
        self.entries.try_get_with_by_ref(name, self.read(name)).await.map_err(Error::shared)
    }

    async fn read(&self, name: &str) -> Result<Arc<Entry>, Error> {
        let found = model::get(&mut *self.pool.acquire().await?, name).await;
        let model = found.map_err(|error| match error {
            broker::Error::ModelUnknown(name) => Error::ModelNotFound(name),
            other => Error::from(other),
        })?;
        let format = PromptFormat::try_new(&model.chat_template, &model.tokenizer);
        let format =
            format.map_err(|error| Error::Internal(anyhow::Error::from(error).context(format!("model {name}"))))?;
        Ok(Arc::new(Entry { model, format }))
    }
}
