//! What a provider and an operator do: provider accounts, join tokens, asks, names, suspensions, drains, cells.

use broker::ask::{Ask, AskPrices};
use broker::capability::{self, CellRecord, Sponsor};
use broker::join_token::JoinToken;
use broker::node::{Node, Verdict};
use broker::provider::Provider;
use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Certificate;
use primitives::id::{CellId, JoinTokenId, NodeId, ProviderId, UserId};
use primitives::money::AttoPrice;
use primitives::tx::run_tx;
use secrecy::SecretString;

use super::Supply;
use crate::CURRENCY;
use crate::error::Error;
use crate::identity::{Role, checked_name};
use crate::repo;

/// The longest that a join token is valid.
const TOKEN_HOURS_MAX: i64 = 30 * 24;
/// The longest reason.
const REASON_CHARS_MAX: usize = 500;

/// What a provider wants for a model on a node from some instant on.
#[derive(Clone, Debug)]
pub struct NewAsk {
    /// On which node.
    pub node_id: NodeId,
    /// The model's name.
    pub model: String,
    /// For a token of the prompt.
    pub input: AttoPrice,
    /// For a token of the output.
    pub output: AttoPrice,
    /// From when on; from now when absent.
    pub valid_from: Option<DateTime<Utc>>,
}

impl Supply {
    /// Makes a provider that a person owns. *Errors*: a person who owns one; a bad name.
    pub async fn create_provider(&self, user_id: UserId, name: &str) -> Result<Provider, Error> {
        let provider =
            Provider { id: self.ids.next(), name: checked_name("name", name)?, created_at: self.clock.now() };
        run_tx(&self.pool, "provider_create", |conn| {
            let provider = provider.clone();
            Box::pin(async move {
                repo::user_lock(conn, user_id).await?;
                let roles = repo::roles(conn, user_id).await?;
                if roles.iter().any(|role| matches!(role, Role::ProviderOwner(_))) {
                    return Err(Error::Conflict("You have a provider already."));
                }
                broker::provider::insert(conn, &provider).await?;
                repo::role_insert(conn, user_id, Role::ProviderOwner(provider.id)).await?;
                Ok(provider)
            })
        })
        .await
    }

    /// Gives out a join token with its secret. *Errors*: hours that are none or too many.
    pub async fn create_token(&self, provider_id: ProviderId, hours: i64) -> Result<(JoinToken, SecretString), Error> {
        if !(1..=TOKEN_HOURS_MAX).contains(&hours) {
            let message = format!("A join token is valid for 1 to {TOKEN_HOURS_MAX} hours.");
            return Err(Error::invalid("validHours", message));
        }
        let mut conn = self.pool.acquire().await?;
        let (lasts, now) = (TimeDelta::hours(hours), self.clock.now());
        Ok(broker::join_token::create(&mut conn, &self.ids, provider_id, lasts, now).await?)
    }

    /// Takes a join token back. *Errors*: one that was used, revoked, or is another's.
    pub async fn revoke_token(&self, provider_id: ProviderId, id: JoinTokenId) -> Result<DateTime<Utc>, Error> {
        let now = self.clock.now();
        match broker::join_token::revoke(&mut *self.pool.acquire().await?, provider_id, id, now).await {
            Ok(()) => Ok(now),
            Err(broker::Error::JoinTokenGone(_)) => Err(Error::NotFound("join token that could still be used")),
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes an ask; what runs is paid as it began. *Errors*: another's node, an unknown model, an ask above the tenants' price, a
    /// time that has passed.
    pub async fn publish_ask(&self, provider_id: ProviderId, new: NewAsk) -> Result<Ask, Error> {
        let (mut conn, now) = (self.pool.acquire().await?, self.clock.now());
        let node = node_of(&mut conn, new.node_id, Some(provider_id)).await?;
        let valid_from = new.valid_from.unwrap_or(now);
        if valid_from < now {
            return Err(Error::invalid("validFrom", "An ask begins now or later."));
        }
        let model = broker::model::get(&mut conn, &new.model).await;
        model.map_err(|error| match error {
            broker::Error::ModelUnknown(name) => Error::ModelNotFound(name),
            error => error.into(),
        })?;
        let prices = billing::price::in_force(&mut conn, &new.model, CURRENCY, now).await?;
        let asked =
            [("inputPerMillion", new.input, prices.input.price), ("outputPerMillion", new.output, prices.output.price)];
        for (param, asked, price) in asked {
            if asked > price {
                let message = format!(
                    "Tenants pay {} {CURRENCY} a million: an ask above that earns no more. Ask for less.",
                    price.to_decimal_per_million()
                );
                return Err(Error::invalid(param, message));
            }
        }
        let prices = AskPrices { currency: CURRENCY, input: new.input, output: new.output };
        let ask = Ask { id: self.ids.next(), node_id: node.id, model: new.model, prices, valid_from };
        broker::ask::publish(&mut conn, &ask).await?;
        drop(conn);
        self.refresh().await?;
        Ok(ask)
    }

    /// Calls a node something. `owner` is the provider whose node it must be, if somebody's.
    pub async fn rename_node(&self, owner: Option<ProviderId>, id: NodeId, name: &str) -> Result<Node, Error> {
        let name = checked_name("name", name)?;
        let mut conn = self.pool.acquire().await?;
        node_of(&mut conn, id, owner).await?;
        broker::node::rename(&mut conn, id, Some(&name)).await?;
        Ok(broker::node::get(&mut conn, id).await?)
    }

    /// Lets a node end what it has and leave. It may come back at any time.
    pub async fn drain_node(&self, owner: Option<ProviderId>, id: NodeId) -> Result<Node, Error> {
        let mut conn = self.pool.acquire().await?;
        node_of(&mut conn, id, owner).await?;
        broker::node::drain(&mut conn, id, self.clock.now()).await?;
        let node = broker::node::get(&mut conn, id).await?;
        drop(conn);
        self.refresh().await?;
        Ok(node)
    }

    /// Suspends, resumes or retires a node, for a reason.
    pub async fn judge_node(
        &self,
        owner: Option<ProviderId>,
        id: NodeId,
        verdict: Verdict,
        reason: &str,
        user_id: UserId,
    ) -> Result<Node, Error> {
        let (reason, now) = (checked_reason(reason)?, self.clock.now());
        let judged = run_tx(&self.pool, "node_judge", |conn| {
            let reason = reason.clone();
            Box::pin(async move {
                node_of(conn, id, owner).await?;
                broker::node::judge(conn, id, verdict, &reason, user_id, now).await.map_err(refused)
            })
        });
        let node = judged.await?;
        self.refresh().await?;
        Ok(node)
    }

    /// Adds a certificate on an operator's word. *Errors*: a document that is none, or that does not hold.
    pub async fn add_certificate(&self, document: &str, user_id: UserId) -> Result<Vec<CellRecord>, Error> {
        let certificate: Certificate = serde_json::from_str(document)
            .map_err(|error| Error::invalid("document", format!("This is no certificate: {error}.")))?;
        let now = self.clock.now();
        let added = run_tx(&self.pool, "certificate_add", |conn| {
            let (ids, certificate) = (self.ids.clone(), certificate.clone());
            Box::pin(async move {
                let sponsor = Sponsor::Operator(user_id);
                capability::certify(conn, &ids, &certificate, sponsor, now).await.map_err(refused)
            })
        });
        let cells = added.await?;
        self.refresh().await?;
        Ok(cells)
    }

    /// Holds a cell back, or lets it serve again, for a reason.
    pub async fn judge_cell(
        &self,
        id: CellId,
        suspend: bool,
        reason: &str,
        user_id: UserId,
    ) -> Result<CellRecord, Error> {
        let (reason, now) = (checked_reason(reason)?, self.clock.now());
        let judged = run_tx(&self.pool, "cell_judge", |conn| {
            let reason = reason.clone();
            Box::pin(async move {
                let judged = if suspend {
                    capability::suspend(conn, id, &reason, user_id, now).await
                } else {
                    capability::resume(conn, id, &reason, user_id, now).await
                };
                judged.map_err(refused)
            })
        });
        let cell = judged.await?;
        self.refresh().await?;
        Ok(cell)
    }
}

/// A node, where it is the named provider's or nobody in particular asks. *Errors*: there is none, or it is another's, which looks the
/// same.
pub async fn node_of(conn: &mut sqlx::PgConnection, id: NodeId, owner: Option<ProviderId>) -> Result<Node, Error> {
    match broker::node::get(conn, id).await {
        Ok(node) if owner.is_none_or(|owner| owner == node.provider_id) => Ok(node),
        Ok(_) | Err(broker::Error::NodeUnknown(_)) => Err(Error::NotFound("node")),
        Err(error) => Err(error.into()),
    }
}

/// A reason for people: trimmed, 1 to 500 characters.
pub(super) fn checked_reason(reason: &str) -> Result<String, Error> {
    let reason = reason.trim();
    if (1..=REASON_CHARS_MAX).contains(&reason.chars().count()) && !reason.chars().any(char::is_control) {
        return Ok(reason.to_owned());
    }
    Err(Error::invalid("reason", format!("A reason has 1 to {REASON_CHARS_MAX} characters on one line.")))
}

pub(super) fn refused(error: broker::Error) -> Error {
    match error {
        broker::Error::CellUnknown(_) => Error::NotFound("cell"),
        broker::Error::ConvictionUnknown(_) => Error::NotFound("conviction"),
        broker::Error::State { what: "conviction", .. } => {
            Error::Conflict("The conviction is decided, or its time for appeals is over.")
        }
        broker::Error::State { what: "node", .. } => {
            Error::Conflict("The node is not in a state that this follows from.")
        }
        broker::Error::State { .. } => Error::Conflict("The cell is not in a state that this follows from."),
        refused @ (broker::Error::CertificateBroken
        | broker::Error::CertificateStrange
        | broker::Error::CertificateSigner) => {
            let message = refused.to_string();
            Error::invalid("document", format!("{}{}.", message[..1].to_uppercase(), &message[1..]))
        }
        error => error.into(),
    }
}
