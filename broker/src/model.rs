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
    /// Which making of it.
    pub revision: String,
    /// Prompt and output together. *Units*: tokens.
    pub context_tokens: u32,
    /// SHA-256 of the reference weights' file, in hexadecimal.
    pub weights_sha256: String,
    /// The registered tokenizer, a `tokenizer.json`.
    pub tokenizer: String,
    /// The registered chat template, Jinja.
    pub chat_template: String,
    /// Tokens that end the model's turn.
    pub eos_token_ids: Vec<u32>,
    /// The output limit of a request that names none.
    pub output_tokens_default: u32,
    /// The highest output limit a request may name.
    pub output_tokens_max: u32,
    /// The grade of a request that names none; set when it is first registered.
    pub grade_default: Grade,
    /// When it was first registered.
    pub created_at: DateTime<Utc>,
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
