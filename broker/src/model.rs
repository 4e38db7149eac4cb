//! A model of the catalogue: what a tenant can ask for by name.

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use sqlx::PgConnection;

use crate::{Error, Result, repo};

/// A model as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name in requests, such as `spark-1`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    pub kind: ModelKind,
    /// Which making of it.
    pub revision: String,
    /// Prompt and output together. *Units*: tokens.
    pub context_tokens: u32,
    /// SHA-256 of the reference weights' file, in hexadecimal.
    pub weights_sha256: String,
    /// The registered tokenizer, a `tokenizer.json`.
    pub tokenizer: String,
    /// The registered chat template, Jinja; empty where there is none.
    pub chat_template: String,
    /// Tokens that end the model's turn.
    pub eos_token_ids: Vec<u32>,
    /// Between what it thinks, if it does.
    pub reasoning: Option<Reasoning>,
    /// The output limit of a request that names none.
    pub output_tokens_default: u32,
    /// The highest output limit a request may name.
    pub output_tokens_max: u32,
    /// The grade of a request that names none; set when it is first registered.
    pub grade_default: Grade,
    /// When it was first registered.
    pub created_at: DateTime<Utc>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// It goes on from a prompt.
    Generation,
    /// It tells texts' meanings as vectors.
    Embedding,
}

impl ModelKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Generation, Self::Embedding];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Embedding => "embedding",
        }
    }
}

/// The texts between which a model thinks before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoning {
    /// Before its thinking, such as `<think>`; the model's template may say it already.
    pub open: String,
    /// Behind its thinking, such as `</think>`.
    pub close: String,
}

/// Registers a model, or replaces what is known of it; `grade_default` and `created_at` stay.
pub async fn upsert(conn: &mut PgConnection, model: &Model) -> Result<()> {
    repo::model_upsert(conn, model).await
}

/// The model. *Errors*: [`Error::ModelUnknown`].
pub async fn get(conn: &mut PgConnection, id: &str) -> Result<Model> {
    repo::model_find(conn, id).await?.ok_or_else(|| Error::ModelUnknown(id.to_owned()))
}

/// The models after `after` by name, at most `limit`.
pub async fn list(conn: &mut PgConnection, after: Option<&str>, limit: u32) -> Result<Vec<Model>> {
    repo::model_list(conn, after, limit).await
}
