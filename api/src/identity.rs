//! Tenants, people, projects and keys: who they are and how they come to be.

use chrono::{DateTime, TimeDelta, Utc};
use ledger::Writer;
use primitives::clock::Clock;
use primitives::id::{ApiKeyId, EmailChallengeId, Ids, ProjectId, ProviderId, SessionId, TenantId, UserId};
use primitives::money::Nanos;
use primitives::tx::run_tx;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use crate::error::Error;
use crate::{password, repo};

/// What every key begins with, so that people and secret scanners know one.
pub const KEY_PREFIX: &str = "tgk_";

/// How long a challenge is kept once it is over.
const CHALLENGES_KEPT: TimeDelta = TimeDelta::hours(1);

/// A person who can sign in.
#[derive(Clone, Debug)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Address, in lower case.
    pub email: String,
    /// Argon2id in PHC form.
    pub password_hash: String,
}

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything of one tenant.
    TenantOwner(TenantId),
    /// Everything of one provider.
    ProviderOwner(ProviderId),
    /// Look after the platform.
    Operator,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key.
    pub key_id: ApiKeyId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// Under which project.
    pub project_id: ProjectId,
}

/// A key as it can be shown: without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its public handle.
    pub id: ApiKeyId,
    /// Who pays for its use.
    pub tenant_id: TenantId,
    /// Where its use is counted.
    pub project_id: ProjectId,
    /// What people call it.
    pub name: String,
    /// The secret's last four characters.
    pub hint: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working, if ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it last opened a request, to a few seconds.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The credit a new tenant is promised.
#[derive(Clone, Copy, Debug)]
pub struct SignupCredit {
    /// How much, in the platform's currency.
    pub amount: Nanos,
    /// When what is left of it lapses.
    pub expires_at: DateTime<Utc>,
}

/// A person and the tenant made for them.
#[derive(Clone, Copy, Debug)]
pub struct SignedUp {
    /// The person.
    pub user_id: UserId,
    /// Who pays.
    pub tenant_id: TenantId,
    /// The tenant's first project.
    pub project_id: ProjectId,
}

/// Makes and looks up tenants, people and keys.
#[derive(Clone)]
pub struct Identity {
    pool: PgPool,
    clock: Clock,
    ids: Ids,
    ledger: Writer,
    signup_credit: Nanos,
    signup_credit_days: u32,
}

impl Identity {
    /// The signup credit is granted to each new tenant by its recipe.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        ids: Ids,
        ledger: Writer,
        signup_credit: Nanos,
        signup_credit_days: u32,
    ) -> Self {
        Self { pool, clock, ids, ledger, signup_credit, signup_credit_days }
    }

    /// Makes a person, a tenant they own and its first project, and grants the sign-up credit.
    ///
    /// *Errors*: an address that has an account; a challenge that was used before.
    pub async fn open_tenant(&self, new: NewTenant) -> Result<SignedUp, Error> {
        let expires_at = self.clock.now() + TimeDelta::days(i64::from(self.signup_credit_days));
        let credit = SignupCredit { amount: self.signup_credit, expires_at };
        let made = open_tenant(&self.pool, &self.clock, &self.ids, new, credit).await?;
        self.grant_signup_credits().await?;
        Ok(made)
    }

    /// Posts the sign-up credits that are promised and not yet in the ledger; safe to repeat after any crash.
    pub async fn grant_signup_credits(&self) -> Result<(), Error> {
        let mut conn = self.pool.acquire().await?;
        for (tenant_id, credit) in repo::tenants_to_credit(&mut conn).await? {
            if credit.amount > Nanos::ZERO {
                self.ledger.grant_promo(signup_grant(tenant_id, credit)).await?;
            }
            repo::tenant_credited(&mut conn, tenant_id, self.clock.now()).await?;
        }
        Ok(())
    }

    /// Forgets challenges that nobody met: they hold addresses.
    pub async fn forget_challenges(&self) -> Result<(), Error> {
        let before = self.clock.now() - CHALLENGES_KEPT;
        repo::challenges_forget(&mut *self.pool.acquire().await?, before).await?;
        Ok(())
    }

    /// Opens a session for a person.
    pub async fn open_session(&self, user_id: UserId, hours: i64) -> Result<(SessionId, DateTime<Utc>), Error> {
        let (session_id, now) = (self.ids.next(), self.clock.now());
        let expires_at = now + TimeDelta::hours(hours);
        repo::session_insert(&mut *self.pool.acquire().await?, session_id, user_id, now, expires_at).await?;
        Ok((session_id, expires_at))
    }

    /// Makes a key and returns it with its secret, which is never shown again.
    ///
    /// *Errors*: a bad name, a project that is not the tenant's, an expiry that has passed.
    pub async fn create_key(&self, new: NewKey<'_>) -> Result<(ApiKey, SecretString), Error> {
        create_key(&self.pool, &self.clock, &self.ids, new).await
    }
}

/// A key about to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// Who pays for its use.
    pub tenant_id: TenantId,
    /// Where its use is counted; the tenant's first project when absent.
    pub project_id: Option<ProjectId>,
    /// Who makes it.
    pub created_by: UserId,
    /// What people call it.
    pub name: &'a str,
    /// When it stops working, if ever.
    pub expires_at: Option<DateTime<Utc>>,
}

/// See [`Identity::create_key`].
pub async fn create_key(
    pool: &PgPool,
    clock: &Clock,
    ids: &Ids,
    new: NewKey<'_>,
) -> Result<(ApiKey, SecretString), Error> {
    let NewKey { tenant_id, project_id, created_by, name, expires_at } = new;
    let (name, now) = (checked_name("name", name)?, clock.now());
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(Error::invalid("expiresAt", "The key would be expired already. Choose a later instant."));
    }
    let mut conn = pool.acquire().await?;
    let projects = repo::projects(&mut conn, tenant_id).await?;
    let project = projects.iter().find(|(id, _)| project_id.is_none_or(|wanted| wanted == *id));
    let (project_id, _) = *project.ok_or(Error::NotFound("project"))?;
    let secret = format!("{KEY_PREFIX}{}", hex::encode(ids.bytes::<32>()));
    let key = ApiKey {
        id: ids.next(),
        tenant_id,
        project_id,
        name,
        hint: secret[secret.len() - 4..].to_owned(),
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    repo::api_key_insert(&mut conn, &key, &secret_sha256(&secret), created_by).await?;
    Ok((key, secret.into()))
}

/// A person and the tenant to be made for them.
#[derive(Clone)]
pub struct NewTenant {
    /// The person's address, in the form that [`normalise_email`] gives it.
    pub email: String,
    /// Argon2id in PHC form.
    pub password_hash: String,
    /// What the tenant is to be called.
    pub name: String,
    /// The challenge that proved the address; it is used up with this.
    pub proved_by: Option<EmailChallengeId>,
}

/// Makes a person, a tenant they own and its first project; the promised credit is the ledger's to post.
pub async fn open_tenant(
    pool: &PgPool,
    clock: &Clock,
    ids: &Ids,
    new: NewTenant,
    credit: SignupCredit,
) -> Result<SignedUp, Error> {
    let (tenant_id, project_id, now) = (ids.next(), ids.next(), clock.now());
    let user = User { id: ids.next(), email: new.email, password_hash: new.password_hash };
    let made = SignedUp { user_id: user.id, tenant_id, project_id };
    let (name, proved_by) = (new.name, new.proved_by);
    run_tx(pool, "open_tenant", |conn| {
        let (user, name) = (user.clone(), name.clone());
        Box::pin(async move {
            if let Some(challenge) = proved_by {
                let used = repo::challenge_use(conn, challenge, now).await?;
                used.then_some(()).ok_or(Error::CodeExpired)?;
            }
            insert_user(conn, &user, now).await?;
            repo::tenant_insert(conn, tenant_id, &name, credit, now).await?;
            repo::role_insert(conn, user.id, Role::TenantOwner(tenant_id)).await?;
            repo::project_insert(conn, tenant_id, project_id, "default", now).await?;
            Ok(made)
        })
    })
    .await
}

/// Makes a person with one role.
pub async fn open_user(
    pool: &PgPool,
    clock: &Clock,
    ids: &Ids,
    email: &str,
    password: SecretString,
    role: Role,
) -> Result<UserId, Error> {
    let (user, now) = (new_user(ids, email, password).await?, clock.now());
    run_tx(pool, "open_user", |conn| {
        let user = user.clone();
        Box::pin(async move {
            insert_user(conn, &user, now).await?;
            repo::role_insert(conn, user.id, role).await?;
            Ok(user.id)
        })
    })
    .await
}

async fn new_user(ids: &Ids, email: &str, password: SecretString) -> Result<User, Error> {
    let email = normalise_email(email)?;
    Ok(User { id: ids.next(), email, password_hash: password::hash(password, ids).await? })
}

async fn insert_user(conn: &mut PgConnection, user: &User, at: DateTime<Utc>) -> Result<(), Error> {
    let inserted = repo::user_insert(conn, user, at).await?;
    inserted.then_some(()).ok_or(Error::Conflict("An account with this address exists. Sign in instead."))
}

/// The hash under which a secret is kept.
pub fn secret_sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn signup_grant(tenant_id: TenantId, credit: SignupCredit) -> ledger::PromoGrant {
    ledger::PromoGrant {
        tenant_id,
        // One sign-up credit a tenant: a second grant with this lot is a repeat.
        lot_id: tenant_id.0,
        amount: credit.amount,
        currency: crate::CURRENCY,
        expires_at: Some(credit.expires_at),
    }
}

/// An address in the one form under which it is kept.
pub fn normalise_email(email: &str) -> Result<String, Error> {
    let email = email.trim().to_lowercase();
    let well_formed = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'));
    if well_formed {
        Ok(email)
    } else {
        Err(Error::invalid("email", "This is not an address such as you@example.com."))
    }
}

/// A name for people: trimmed, 1 to 100 characters, no control characters.
pub fn checked_name(param: &str, name: &str) -> Result<String, Error> {
    let name = name.trim();
    if (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    Err(Error::invalid(param, "A name has 1 to 100 characters and no control characters."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_one_form() {
        assert_eq!(normalise_email(" Ada@Example.com ").unwrap(), "ada@example.com");
        for bad in ["", "ada", "ada@host", "a b@c.d", "a@b@c.d", "@b.c"] {
            assert_eq!(normalise_email(bad).unwrap_err().param(), Some("email"), "{bad}");
        }
    }

    #[test]
    fn a_name_without_letters_is_refused() {
        assert_eq!(checked_name("name", " laptop ").unwrap(), "laptop");
        assert!(checked_name("name", "  ").is_err());
        assert!(checked_name("name", &"x".repeat(101)).is_err());
        assert!(checked_name("name", "a\nb").is_err());
    }
}
