//! From a header or a cookie to a caller.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::future::Cache;
use primitives::clock::Clock;
use primitives::id::{ApiKeyId, ProjectId, ProviderId, SessionId, TenantId, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::error::Error;
use crate::identity::{KEY_PREFIX, KeyOwner, Role, secret_sha256};
use crate::repo;

/// How long a key is believed without asking the database; a revocation is signalled at once besides.
const KEY_TTL: Duration = Duration::from_secs(3);

/// The console's cookie.
pub const SESSION_COOKIE: &str = "tokengrid_session";

/// Who is asking.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A program with a key.
    Key(KeyOwner),
    /// A person who signed in.
    Person {
        /// Who.
        user_id: UserId,
        /// By which session.
        session_id: SessionId,
        /// What they may do.
        roles: Vec<Role>,
    },
}

impl Caller {
    /// The tenant that pays; refused for a person who belongs to none.
    pub fn tenant(&self) -> Result<TenantId, Error> {
        match self {
            Self::Key(owner) => Ok(owner.tenant_id),
            Self::Person { roles, .. } => {
                let tenant = roles.iter().find_map(|role| match role {
                    Role::TenantOwner(id) => Some(*id),
                    _ => None,
                });
                tenant.ok_or(Error::Forbidden("you belong to no tenant; ask an owner to add you"))
            }
        }
    }

    /// The provider that the person owns; refused for everybody else.
    pub fn provider(&self) -> Result<ProviderId, Error> {
        let owned = match self {
            Self::Person { roles, .. } => roles.iter().find_map(|role| match role {
                Role::ProviderOwner(id) => Some(*id),
                _ => None,
            }),
            Self::Key(_) => None,
        };
        owned.ok_or(Error::Forbidden("you own no provider; `providerCreate` makes you one"))
    }

    /// The person, who looks after the platform; refused for everybody else.
    pub fn operator(&self) -> Result<UserId, Error> {
        match self {
            Self::Person { user_id, roles, .. } if roles.contains(&Role::Operator) => Ok(*user_id),
            _ => Err(Error::Forbidden("this is for operators of the platform")),
        }
    }

    /// Whose nodes the person may look after: all of them, for an operator, or their own provider's.
    pub fn steward(&self) -> Result<Option<ProviderId>, Error> {
        if self.operator().is_ok() { Ok(None) } else { self.provider().map(Some) }
    }

    /// The key and its project, for a program.
    pub fn key(&self) -> Option<(ApiKeyId, ProjectId)> {
        match self {
            Self::Key(owner) => Some((owner.key_id, owner.project_id)),
            Self::Person { .. } => None,
        }
    }

    /// The person; refused for a key, which acts for no one.
    pub fn person(&self) -> Result<UserId, Error> {
        match self {
            Self::Person { user_id, .. } => Ok(*user_id),
            Self::Key(_) => Err(Error::Forbidden("this needs a person's session; an API key cannot do it")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sid: SessionId,
    exp: i64,
}

/// Turns credentials into callers.
#[derive(Clone)]
pub struct Auth {
    pool: PgPool,
    clock: Clock,
    keys: Cache<[u8; 32], KeyOwner>,
    signing: Arc<(EncodingKey, DecodingKey)>,
}

impl Auth {
    /// `secret` is 32 bytes in hexadecimal, the same on every replica.
    pub fn try_new(pool: PgPool, clock: Clock, secret: &SecretString) -> anyhow::Result<Self> {
        let bytes = hex::decode(secret.expose_secret().trim()).ok().filter(|bytes| bytes.len() >= 32);
        let bytes =
            bytes.ok_or_else(|| anyhow::anyhow!("TOKENGRID_SECRET must be at least 32 bytes in hexadecimal"))?;
        let signing = Arc::new((EncodingKey::from_secret(&bytes), DecodingKey::from_secret(&bytes)));
        let keys = Cache::builder().max_capacity(100_000).time_to_live(KEY_TTL).support_invalidation_closures().build();
        Ok(Self { pool, clock, keys, signing })
    }

    /// The caller of a key or of a session's token.
    pub async fn caller(&self, credential: &str) -> Result<Caller, Error> {
        if credential.starts_with(KEY_PREFIX) { self.key(credential).await } else { self.session(credential).await }
    }

    async fn key(&self, secret: &str) -> Result<Caller, Error> {
        let hash = secret_sha256(secret);
        // Many who come at once with one key wait for one reading.
        let owner = self.keys.try_get_with(hash, self.owner(&hash)).await.map_err(Error::shared)?;
        Ok(Caller::Key(owner))
    }

    async fn owner(&self, secret_sha256: &[u8; 32]) -> Result<KeyOwner, Error> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let owner = repo::api_key_owner(&mut conn, secret_sha256, now).await?.ok_or(Error::InvalidCredential)?;
        repo::api_key_touch(&mut conn, owner.key_id, now).await?;
        Ok(owner)
    }

    async fn session(&self, token: &str) -> Result<Caller, Error> {
        let session_id = self.session_of(token)?;
        let mut conn = self.pool.acquire().await?;
        let user_id = repo::session_user(&mut conn, session_id, self.clock.now()).await?;
        let user_id = user_id.ok_or(Error::InvalidCredential)?;
        let roles = repo::roles(&mut conn, user_id).await?;
        Ok(Caller::Person { user_id, session_id, roles })
    }

    fn session_of(&self, token: &str) -> Result<SessionId, Error> {
        let mut validation = Validation::new(Algorithm::HS256);
        // The row's own expiry is checked against our clock; this check only spares the query.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.signing.1, &validation);
        let claims = claims.map_err(|_| Error::InvalidCredential)?.claims;
        if claims.exp <= self.clock.now().timestamp() { Err(Error::InvalidCredential) } else { Ok(claims.sid) }
    }

    /// The token that a browser keeps for a session.
    pub fn session_token(&self, session_id: SessionId, expires_at: DateTime<Utc>) -> Result<SecretString, Error> {
        let claims = Claims { sid: session_id, exp: expires_at.timestamp() };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing.0);
        token.map(SecretString::from).map_err(|error| Error::Internal(error.into()))
    }

    /// Forgets a revoked key at once on this replica.
    pub fn forget_key(&self, key_id: ApiKeyId) {
        let forgotten = self.keys.invalidate_entries_if(move |_, owner| owner.key_id == key_id);
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a revoked key lives on for its few seconds in the cache");
        }
    }
}
