//! A join token: a provider's one-time right to bring in a node.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{Ids, JoinTokenId, NodeId, ProviderId};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::{Error, Result, repo};

/// What a secret begins with, so that people and leak scanners know what they have found.
const SECRET_PREFIX: &str = "tgjoin_";

/// A one-time right to join a node to a provider; the secret itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Which token.
    pub id: JoinTokenId,
    /// Whose.
    pub provider_id: ProviderId,
    /// The secret's last four characters, to tell tokens apart; older tokens have none.
    pub hint: Option<String>,
    /// When it was given out.
    pub created_at: DateTime<Utc>,
    /// Worthless from here on.
    pub expires_at: DateTime<Utc>,
    /// When its node came.
    pub used_at: Option<DateTime<Utc>>,
    /// Its node.
    pub used_by_node_id: Option<NodeId>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Gives out a token; its secret is returned here and never again.
pub async fn create(
    conn: &mut PgConnection,
    ids: &Ids,
    provider_id: ProviderId,
    valid_for: TimeDelta,
    now: DateTime<Utc>,
) -> Result<(JoinToken, SecretString)> {
    let secret = SecretString::from(format!("{SECRET_PREFIX}{}", hex::encode(ids.bytes::<32>())));
    let (id, expires_at) = (ids.next(), now + valid_for);
    let exposed = secret.expose_secret();
    let token = JoinToken {
        id,
        provider_id,
        hint: Some(exposed[exposed.len() - 4..].to_owned()),
        created_at: now,
        expires_at,
        used_at: None,
        used_by_node_id: None,
        revoked_at: None,
    };
    repo::join_token_insert(conn, &token, &hash(&secret)).await?;
    Ok((token, secret))
}

/// Spends a token on a node whose row the same transaction inserts, and says whose it is.
///
/// *Errors*: [`Error::JoinTokenUnknown`], [`Error::JoinTokenUsed`], [`Error::JoinTokenRevoked`], [`Error::JoinTokenExpired`]. *Locks*: the token's
/// row, until the transaction ends; of two that come at once the second waits and is refused.
pub(crate) async fn spend(
    conn: &mut PgConnection,
    secret: &SecretString,
    node_id: NodeId,
    now: DateTime<Utc>,
) -> Result<ProviderId> {
    let hash = hash(secret);
    if let Some(provider_id) = repo::join_token_use(conn, &hash, node_id, now).await? {
        return Ok(provider_id);
    }
    let token = repo::join_token_find(conn, &hash).await?.ok_or(Error::JoinTokenUnknown)?;
    Err(match token {
        JoinToken { used_at: Some(_), .. } => Error::JoinTokenUsed,
        JoinToken { revoked_at: Some(_), .. } => Error::JoinTokenRevoked,
        _ => Error::JoinTokenExpired,
    })
}

/// A provider's tokens, the newest first, before `before`; at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    before: Option<JoinTokenId>,
    limit: u32,
) -> Result<Vec<JoinToken>> {
    repo::join_tokens(conn, provider_id, before, limit).await
}

/// Takes back a token that was not used. *Errors*: [`Error::JoinTokenGone`].
pub async fn revoke(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    id: JoinTokenId,
    now: DateTime<Utc>,
) -> Result<()> {
    let revoked = repo::join_token_revoke(conn, provider_id, id, now).await?;
    revoked.then_some(()).ok_or(Error::JoinTokenGone(id))
}

/// The hash under which a token's secret is kept.
pub(crate) fn hash(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}
