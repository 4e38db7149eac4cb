//! A demo to start from: a model, its prices, a tenant with credit and a key, a provider with a join token, an operator.

use std::path::Path;

use anyhow::Context;
use billing::{Meter, NewPrice};
use broker::model::{Model, ModelKind, Reasoning};
use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::clock::Clock;
use primitives::id::{Ids, ProviderId, UserId};
use primitives::money::AttoPrice;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::error::Error;
use crate::identity::{self, NewKey, NewTenant, Role, SignupCredit};
use crate::{CURRENCY, config, password, repo};

/// US dollars for a million tokens of the demo model.
const PRICES: [(Meter, &str); 3] = [(Meter::Input, "0.10"), (Meter::CachedInput, "0.01"), (Meter::Output, "0.40")];
/// US dollars for a million tokens of a demo model that embeds.
const EMBEDDING_PRICES: [(Meter, &str); 1] = [(Meter::Embedding, "0.02")];

/// What a model's folder says of itself.
#[derive(Debug, Deserialize)]
struct Manifest {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Kind,
    revision: String,
    weights: File,
    tokenizer: File,
    #[serde(default)]
    chat_template: Option<File>,
    context_tokens: u32,
    #[serde(default)]
    eos_token_ids: Vec<u32>,
    #[serde(default)]
    reasoning: Option<Thinking>,
}

/// What it is for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Generation,
    Embedding,
}

/// Between what texts it thinks.
#[derive(Debug, Deserialize)]
struct Thinking {
    open: String,
    close: String,
}

#[derive(Debug, Deserialize)]
struct File {
    file: String,
    sha256: String,
}

/// Seeds; may be repeated: what exists stays, a new key and a new join token are made. Passwords are told only once.
pub async fn seed(pool: &PgPool, clock: &Clock, ids: &Ids, config: &config::Seed) -> anyhow::Result<Value> {
    let now = clock.now();
    let model = register_model(pool, &config.model, now).await?;
    publish_prices(pool, ids, &model, now).await?;
    let model = model.id;
    let demo = Demo { pool, clock, ids, now };
    let credit = SignupCredit { amount: config.credit, expires_at: now + TimeDelta::days(3650) };
    let tenant = demo.tenant("demo@tokengrid.example", credit).await?;
    let (provider, join_token) = demo.provider("provider@tokengrid.example").await?;
    let operator = demo.person("operator@tokengrid.example", Role::Operator).await?.1;
    Ok(json!({
        "tenant": tenant, "provider": provider, "operator": operator,
        "model": model, "join_token": join_token.expose_secret(),
    }))
}

/// Puts a model's folder into the catalogue.
async fn register_model(pool: &PgPool, folder: &Path, now: DateTime<Utc>) -> anyhow::Result<Model> {
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let manifest: Manifest =
        serde_json::from_str(&read("manifest.json")?).context("manifest.json is not a model's manifest")?;
    let tokenizer = read(&manifest.tokenizer.file)?;
    let chat_template = manifest.chat_template.map(|template| read(&template.file)).transpose()?.unwrap_or_default();
    let model = Model {
        kind: match manifest.kind {
            Kind::Generation => ModelKind::Generation,
            Kind::Embedding => ModelKind::Embedding,
        },
        name: manifest.name.unwrap_or_else(|| manifest.id.clone()),
        id: manifest.id,
        revision: manifest.revision,
        context_tokens: manifest.context_tokens,
        weights_sha256: manifest.weights.sha256,
        tokenizer,
        chat_template,
        eos_token_ids: manifest.eos_token_ids,
        reasoning: manifest.reasoning.map(|Thinking { open, close }| Reasoning { open, close }),
        output_tokens_default: manifest.context_tokens / 2,
        output_tokens_max: manifest.context_tokens,
        grade_default: Grade::Exact,
        created_at: now,
    };
    broker::model::upsert(&mut *pool.acquire().await?, &model).await?;
    Ok(model)
}

/// Prices the model, unless it has prices.
async fn publish_prices(pool: &PgPool, ids: &Ids, model: &Model, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let (priced, prices) = match model.kind {
        ModelKind::Generation => {
            (billing::price::in_force(&mut conn, &model.id, CURRENCY, now).await.is_ok(), &PRICES[..])
        }
        ModelKind::Embedding => {
            (billing::price::of_embeddings(&mut conn, &model.id, CURRENCY, now).await.is_ok(), &EMBEDDING_PRICES[..])
        }
    };
    if priced {
        return Ok(());
    }
    for &(meter, quote) in prices {
        let price = AttoPrice::per_million(quote.parse()?)?;
        let new = NewPrice { model: model.id.clone(), meter, currency: CURRENCY, price, valid_from: now };
        billing::price::insert(&mut conn, ids.next(), &new, now).await?;
    }
    Ok(())
}

/// Makes the demo's people.
struct Demo<'a> {
    pool: &'a PgPool,
    clock: &'a Clock,
    ids: &'a Ids,
    now: DateTime<Utc>,
}

impl Demo<'_> {
    /// A password nobody chose.
    fn password(&self) -> SecretString {
        hex::encode(self.ids.bytes::<12>()).into()
    }

    async fn existing(&self, email: &str) -> anyhow::Result<UserId> {
        let user = repo::user_find(&mut *self.pool.acquire().await?, email).await?;
        Ok(user.context("the person was there a moment ago")?.id)
    }

    async fn person(&self, email: &str, role: Role) -> anyhow::Result<(UserId, Value)> {
        let password = self.password();
        let made = identity::open_user(self.pool, self.clock, self.ids, email, password.clone(), role).await;
        match made {
            Ok(id) => Ok((id, json!({"email": email, "password": password.expose_secret()}))),
            Err(Error::Conflict(_)) => Ok((self.existing(email).await?, json!({"email": email, "password": null}))),
            Err(error) => Err(error.into()),
        }
    }

    async fn tenant(&self, email: &str, credit: SignupCredit) -> anyhow::Result<Value> {
        let password = self.password();
        let password_hash = password::hash(password.clone(), self.ids).await?;
        let new = NewTenant { email: email.to_owned(), password_hash, name: "Demo".to_owned(), proved_by: None };
        let made = identity::open_tenant(self.pool, self.clock, self.ids, new, credit).await;
        let (user_id, password) = match made {
            Ok(made) => (made.user_id, Some(password)),
            Err(Error::Conflict(_)) => (self.existing(email).await?, None),
            Err(error) => return Err(error.into()),
        };
        let roles = repo::roles(&mut *self.pool.acquire().await?, user_id).await?;
        let tenant_id = roles.iter().find_map(|role| if let Role::TenantOwner(id) = role { Some(*id) } else { None });
        let tenant_id = tenant_id.context("the demo person owns no tenant")?;
        let new = NewKey { tenant_id, project_id: None, created_by: user_id, name: "demo", expires_at: None };
        let (_, secret) = identity::create_key(self.pool, self.clock, self.ids, new).await?;
        Ok(json!({
            "email": email, "password": password.as_ref().map(ExposeSecret::expose_secret), "api_key": secret.expose_secret(),
        }))
    }

    async fn provider(&self, email: &str) -> anyhow::Result<(Value, SecretString)> {
        let fresh: ProviderId = self.ids.next();
        let (user_id, told) = self.person(email, Role::ProviderOwner(fresh)).await?;
        let mut conn = self.pool.acquire().await?;
        let roles = repo::roles(&mut conn, user_id).await?;
        let owned = roles.iter().find_map(|role| if let Role::ProviderOwner(id) = role { Some(*id) } else { None });
        let provider_id = owned.context("the demo provider owns nothing")?;
        if broker::provider::find(&mut conn, provider_id).await?.is_none() {
            let provider =
                broker::provider::Provider { id: provider_id, name: "Demo provider".into(), created_at: self.now };
            broker::provider::insert(&mut conn, &provider).await?;
        }
        let valid_for = TimeDelta::days(7);
        let (_, secret) = broker::join_token::create(&mut conn, self.ids, provider_id, valid_for, self.now).await?;
        Ok((told, secret))
    }
}
