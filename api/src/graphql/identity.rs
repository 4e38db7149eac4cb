//! Who is asking: sessions and keys.

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use primitives::id::{ApiKeyId, ProjectId, SessionId, TenantId, UserId};
use secrecy::{ExposeSecret, SecretString};

use super::http::Browser;
use super::paging::{self, Page};
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::id;
use super::{caller, parts, view};
use crate::auth::Caller;
use crate::error::Error;
use crate::identity::NewKey;
use crate::{identity, repo};

/// How long a session lasts.
pub const SESSION_HOURS: i64 = 7 * 24;

/// Queries about who is asking.
#[derive(Default)]
pub struct IdentityQuery;

/// Changes of people, sessions and keys.
#[derive(Default)]
pub struct IdentityMutation;

/// Who is asking: a person who signed in, or a program with a key.
#[derive(SimpleObject)]
pub struct Me {
    /// The person, or the key.
    id: ID,
    /// Which of them.
    kind: CallerKind,
    /// The person's address; a key has none.
    email: Option<String>,
    /// Who pays for what is asked; a person may belong to none.
    tenant: Option<Tenant>,
    /// What the person may do; a key may use its tenant's API and nothing else.
    roles: Vec<RoleGrant>,
}

/// What is asking.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub enum CallerKind {
    /// A person with a session.
    Person,
    /// A program with an API key.
    ApiKey,
}

/// Who pays.
#[derive(SimpleObject)]
pub struct Tenant {
    /// Its identifier.
    id: ID,
    /// What it calls itself.
    name: String,
}

/// What a person may do, and for whom.
#[derive(SimpleObject)]
pub struct RoleGrant {
    /// What they may do.
    role: Role,
    /// For which tenant, in `TENANT_OWNER`.
    tenant_id: Option<ID>,
    /// For which provider, in `PROVIDER_OWNER`.
    provider_id: Option<ID>,
}

/// Something that a person may do.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub enum Role {
    /// Everything of one tenant.
    TenantOwner,
    /// Everything of one provider.
    ProviderOwner,
    /// Look after the platform.
    Operator,
}

/// A key that opens the APIs, without its secret.
#[derive(SimpleObject)]
pub struct ApiKey {
    /// Its public handle.
    id: ID,
    /// The project whose use it counts for.
    project_id: ID,
    /// What people call it.
    name: String,
    /// The secret's last four characters, to tell keys apart.
    hint: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it stops working by itself, if ever.
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    revoked_at: Option<DateTime<Utc>>,
    /// When it last opened a request, to a few seconds.
    last_used_at: Option<DateTime<Utc>>,
}

/// Who wants to sign in.
#[derive(InputObject)]
pub struct SessionCreateInput {
    /// The person's address.
    email: String,
    /// Their password.
    password: String,
}

/// What a sign-in did. The session's cookie comes with the response.
#[derive(Default, SimpleObject)]
pub struct SessionCreatePayload {
    /// Who is signed in now.
    me: Option<Me>,
    /// When the session ends by itself.
    expires_at: Option<DateTime<Utc>>,
    /// Why there is no session.
    refusal: Option<Refusal>,
}

/// What a sign-out did. The response takes the cookie back.
#[derive(Default, SimpleObject)]
pub struct SessionEndPayload {
    /// When the session ended.
    ended_at: Option<DateTime<Utc>>,
    /// Why it did not end.
    refusal: Option<Refusal>,
}

/// A key that is wanted.
#[derive(InputObject)]
pub struct ApiKeyCreateInput {
    /// What people will call it: 1 to 100 characters.
    name: String,
    /// The project whose use it counts for; the tenant's first when absent.
    project_id: Option<ID>,
    /// When it is to stop working; never when absent.
    expires_at: Option<DateTime<Utc>>,
}

/// A key that was made.
#[derive(Default, SimpleObject)]
pub struct ApiKeyCreatePayload {
    /// The key.
    api_key: Option<ApiKey>,
    /// What programs send; it is shown here and never again.
    secret: Option<String>,
    /// Why there is no key.
    refusal: Option<Refusal>,
}

/// A key to be revoked.
#[derive(InputObject)]
pub struct ApiKeyRevokeInput {
    /// Which key.
    id: ID,
}

/// A key that was revoked.
#[derive(Default, SimpleObject)]
pub struct ApiKeyRevokePayload {
    /// Which key.
    id: Option<ID>,
    /// Since when it opens nothing.
    revoked_at: Option<DateTime<Utc>>,
    /// Why it was not revoked.
    refusal: Option<Refusal>,
}

#[Object]
impl IdentityQuery {
    /// Who is asking; null when nobody signed in and no key was sent.
    #[graphql(complexity = "10 + child_complexity")]
    async fn me(&self, ctx: &Context<'_>) -> Result<Option<Me>, Error> {
        match ctx.data_opt::<Caller>() {
            Some(caller) => me(ctx, caller).await.map(Some),
            None => Ok(None),
        }
    }

    /// The tenant's keys, newest first, revoked ones too.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, ApiKey>>, Error> {
        let tenant_id = caller(ctx)?.tenant()?;
        let page = Page::<ApiKeyId>::try_new(first, after.as_deref())?;
        let mut conn = view(ctx, tenant_id).await?;
        let keys = repo::api_keys(&mut conn, tenant_id, page.after, page.limit().into()).await?;
        let keys = keys.into_iter().map(ApiKey::from).collect();
        Ok(Some(page.connection(keys, |key| key.id.to_string())))
    }
}

#[Object]
impl IdentityMutation {
    /// Signs a person in. A wrong address and a wrong password are told alike.
    #[graphql(complexity = "600 + child_complexity")]
    async fn session_create(
        &self,
        ctx: &Context<'_>,
        input: SessionCreateInput,
    ) -> Result<Option<SessionCreatePayload>, Error> {
        answer(sign_in(ctx, input).await)
    }

    /// Signs the person out: the session opens nothing any more.
    async fn session_end(&self, ctx: &Context<'_>) -> Result<Option<SessionEndPayload>, Error> {
        answer(end_session(ctx).await)
    }

    /// Makes a key. It takes a person: a key cannot make keys.
    #[graphql(complexity = "50 + child_complexity")]
    async fn api_key_create(
        &self,
        ctx: &Context<'_>,
        input: ApiKeyCreateInput,
    ) -> Result<Option<ApiKeyCreatePayload>, Error> {
        answer(create_key(ctx, input).await)
    }

    /// Revokes a key: within seconds it opens nothing any more. It takes a person.
    #[graphql(complexity = "50 + child_complexity")]
    async fn api_key_revoke(
        &self,
        ctx: &Context<'_>,
        input: ApiKeyRevokeInput,
    ) -> Result<Option<ApiKeyRevokePayload>, Error> {
        answer(revoke_key(ctx, &input.id).await)
    }
}

async fn me(ctx: &Context<'_>, caller: &Caller) -> Result<Me, Error> {
    let mut conn = parts(ctx).pool.acquire().await?;
    let tenant = match caller.tenant() {
        Ok(id) => Some(Tenant { id: id.into(), name: repo::tenant_name(&mut conn, id).await? }),
        Err(_) => None,
    };
    match caller {
        Caller::Key(owner) => {
            Ok(Me { id: owner.key_id.into(), kind: CallerKind::ApiKey, email: None, tenant, roles: vec![] })
        }
        Caller::Person { user_id, roles, .. } => {
            let user = repo::user_get(&mut conn, *user_id).await?;
            let roles = roles.iter().copied().map(RoleGrant::from).collect();
            Ok(Me { id: user.id.into(), kind: CallerKind::Person, email: Some(user.email), tenant, roles })
        }
    }
}

async fn sign_in(ctx: &Context<'_>, input: SessionCreateInput) -> Result<SessionCreatePayload, Error> {
    let (peer, accounts) = (Browser::of(ctx)?.peer(), &parts(ctx).accounts);
    let session = accounts.sign_in(peer, &input.email, input.password.into(), SESSION_HOURS).await?;
    let (me, expires_at) = enter(ctx, session).await?;
    Ok(SessionCreatePayload { me: Some(me), expires_at: Some(expires_at), refusal: None })
}

/// Gives the browser a session that was opened for it. The one that it had is over.
pub async fn enter(
    ctx: &Context<'_>,
    (session_id, expires_at): (SessionId, DateTime<Utc>),
) -> Result<(Me, DateTime<Utc>), Error> {
    let (browser, parts) = (Browser::of(ctx)?, parts(ctx));
    if let Some(Caller::Person { session_id: left, .. }) = ctx.data_opt() {
        repo::session_revoke(&mut *parts.pool.acquire().await?, *left, parts.clock.now()).await?;
    }
    let token = parts.auth.session_token(session_id, expires_at)?;
    let caller = parts.auth.caller(token.expose_secret()).await?;
    let me = me(ctx, &caller).await?;
    browser.set_session(ctx, &token, SESSION_HOURS * 3600);
    Ok((me, expires_at))
}

async fn end_session(ctx: &Context<'_>) -> Result<SessionEndPayload, Error> {
    let caller = caller(ctx)?;
    let browser = Browser::of(ctx)?;
    let Caller::Person { session_id, .. } = caller else {
        return Err(Error::Forbidden("an API key has no session; revoke the key instead"));
    };
    let now = parts(ctx).clock.now();
    repo::session_revoke(&mut *parts(ctx).pool.acquire().await?, *session_id, now).await?;
    browser.set_session(ctx, &SecretString::default(), 0);
    Ok(SessionEndPayload { ended_at: Some(now), refusal: None })
}

async fn create_key(ctx: &Context<'_>, input: ApiKeyCreateInput) -> Result<ApiKeyCreatePayload, Error> {
    let (tenant_id, user_id) = person(ctx)?;
    let project_id = input.project_id.map(|project| id::<ProjectId>("projectId", &project)).transpose()?;
    let new = NewKey { tenant_id, project_id, created_by: user_id, name: &input.name, expires_at: input.expires_at };
    let (key, secret) = parts(ctx).identity.create_key(new).await?;
    Ok(ApiKeyCreatePayload {
        api_key: Some(key.into()),
        secret: Some(secret.expose_secret().to_owned()),
        refusal: None,
    })
}

async fn revoke_key(ctx: &Context<'_>, key: &ID) -> Result<ApiKeyRevokePayload, Error> {
    let (tenant_id, _) = person(ctx)?;
    let key_id: ApiKeyId = id("id", key)?;
    let now = parts(ctx).clock.now();
    if !repo::api_key_revoke(&mut *parts(ctx).pool.acquire().await?, tenant_id, key_id, now).await? {
        return Err(Error::NotFound("API key that is not revoked"));
    }
    parts(ctx).auth.forget_key(key_id);
    Ok(ApiKeyRevokePayload { id: Some(key_id.into()), revoked_at: Some(now), refusal: None })
}

/// The person who is asking and the tenant they act for.
fn person(ctx: &Context<'_>) -> Result<(TenantId, UserId), Error> {
    let caller = caller(ctx)?;
    let user_id = caller.person()?;
    Ok((caller.tenant()?, user_id))
}

impl From<identity::Role> for RoleGrant {
    fn from(role: identity::Role) -> Self {
        let (role, tenant_id, provider_id) = match role {
            identity::Role::TenantOwner(id) => (Role::TenantOwner, Some(id.into()), None),
            identity::Role::ProviderOwner(id) => (Role::ProviderOwner, None, Some(id.into())),
            identity::Role::Operator => (Role::Operator, None, None),
        };
        Self { role, tenant_id, provider_id }
    }
}

impl From<identity::ApiKey> for ApiKey {
    fn from(key: identity::ApiKey) -> Self {
        Self {
            id: key.id.into(),
            project_id: key.project_id.into(),
            name: key.name,
            hint: key.hint,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}

refused_payloads! { SessionCreatePayload SessionEndPayload ApiKeyCreatePayload ApiKeyRevokePayload }
