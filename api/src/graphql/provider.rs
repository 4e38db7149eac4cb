//! Providers: who supplies nodes, and the tokens that bring nodes in.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use broker::join_token::JoinToken as Token;
use chrono::{DateTime, Utc};
use primitives::id::JoinTokenId;
use secrecy::ExposeSecret;

use super::paging::{self, Page};
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::id;
use super::{caller, parts};
use crate::error::Error;

/// How long a join token is valid that names no time.
const TOKEN_HOURS_DEFAULT: i32 = 24;

/// Queries about providers.
#[derive(Default)]
pub struct ProviderQuery;

/// Changes of providers and their join tokens.
#[derive(Default)]
pub struct ProviderMutation;

/// Who supplies nodes.
#[derive(SimpleObject)]
pub struct Provider {
    /// Its identifier.
    id: ID,
    /// What it calls itself.
    name: String,
    /// When it signed up.
    created_at: DateTime<Utc>,
}

/// A one-time right to bring a node in, without its secret.
#[derive(SimpleObject)]
pub struct JoinToken {
    /// Its public handle.
    id: ID,
    /// The secret's last four characters, to tell tokens apart; older tokens have none.
    hint: Option<String>,
    /// When it was given out.
    created_at: DateTime<Utc>,
    /// When it stops working by itself.
    expires_at: DateTime<Utc>,
    /// When its node came.
    used_at: Option<DateTime<Utc>>,
    /// The node that came with it.
    node_id: Option<ID>,
    /// When it was revoked.
    revoked_at: Option<DateTime<Utc>>,
}

/// A provider that is wanted.
#[derive(InputObject)]
pub struct ProviderCreateInput {
    /// What it is to be called: 1 to 100 characters.
    name: String,
}

/// A provider that was made; the person who asked owns it.
#[derive(Default, SimpleObject)]
pub struct ProviderCreatePayload {
    /// The provider.
    provider: Option<Provider>,
    /// Why there is none.
    refusal: Option<Refusal>,
}

/// A join token that is wanted.
#[derive(InputObject)]
pub struct JoinTokenCreateInput {
    /// For how many hours it is valid, 1 to 720; 24 when absent.
    valid_hours: Option<i32>,
}

/// A join token that was made.
#[derive(Default, SimpleObject)]
pub struct JoinTokenCreatePayload {
    /// The token.
    join_token: Option<JoinToken>,
    /// What `tokengrid-node join --token` takes; it is shown here and never again.
    secret: Option<String>,
    /// Why there is none.
    refusal: Option<Refusal>,
}

/// A join token to be revoked.
#[derive(InputObject)]
pub struct JoinTokenRevokeInput {
    /// Which.
    id: ID,
}

/// A join token that was revoked.
#[derive(Default, SimpleObject)]
pub struct JoinTokenRevokePayload {
    /// Which.
    id: Option<ID>,
    /// Since when it lets nobody in.
    revoked_at: Option<DateTime<Utc>>,
    /// Why it was not revoked.
    refusal: Option<Refusal>,
}

refused_payloads! { ProviderCreatePayload JoinTokenCreatePayload JoinTokenRevokePayload }

#[Object]
impl ProviderQuery {
    /// The provider that the person owns.
    #[graphql(complexity = "10 + child_complexity")]
    async fn provider(&self, ctx: &Context<'_>) -> Result<Option<Provider>, Error> {
        let provider_id = caller(ctx)?.provider()?;
        let provider = broker::provider::get(&mut *parts(ctx).pool.acquire().await?, provider_id).await?;
        Ok(Some(provider.into()))
    }

    /// The provider's join tokens, newest first, used and revoked ones too.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn join_tokens(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Connection<String, JoinToken>>, Error> {
        let provider_id = caller(ctx)?.provider()?;
        let page = Page::<JoinTokenId>::try_new(first, after.as_deref())?;
        let mut conn = parts(ctx).pool.acquire().await?;
        let tokens = broker::join_token::list(&mut conn, provider_id, page.after, page.limit()).await?;
        let tokens = tokens.into_iter().map(JoinToken::from).collect();
        Ok(Some(page.connection(tokens, |token| token.id.to_string())))
    }
}

#[Object]
impl ProviderMutation {
    /// Makes the person who is signed in a provider's owner. One person has one.
    #[graphql(complexity = "50 + child_complexity")]
    async fn provider_create(
        &self,
        ctx: &Context<'_>,
        input: ProviderCreateInput,
    ) -> Result<Option<ProviderCreatePayload>, Error> {
        answer(create(ctx, input).await)
    }

    /// Gives out a token that lets one node in.
    #[graphql(complexity = "50 + child_complexity")]
    async fn join_token_create(
        &self,
        ctx: &Context<'_>,
        input: JoinTokenCreateInput,
    ) -> Result<Option<JoinTokenCreatePayload>, Error> {
        answer(create_token(ctx, input).await)
    }

    /// Takes back a token that was not used.
    #[graphql(complexity = "50 + child_complexity")]
    async fn join_token_revoke(
        &self,
        ctx: &Context<'_>,
        input: JoinTokenRevokeInput,
    ) -> Result<Option<JoinTokenRevokePayload>, Error> {
        answer(revoke_token(ctx, &input.id).await)
    }
}

async fn create(ctx: &Context<'_>, input: ProviderCreateInput) -> Result<ProviderCreatePayload, Error> {
    let user_id = caller(ctx)?.person()?;
    let provider = parts(ctx).supply.create_provider(user_id, &input.name).await?;
    Ok(ProviderCreatePayload { provider: Some(provider.into()), refusal: None })
}

async fn create_token(ctx: &Context<'_>, input: JoinTokenCreateInput) -> Result<JoinTokenCreatePayload, Error> {
    let provider_id = caller(ctx)?.provider()?;
    let hours = i64::from(input.valid_hours.unwrap_or(TOKEN_HOURS_DEFAULT));
    let (token, secret) = parts(ctx).supply.create_token(provider_id, hours).await?;
    let secret = Some(secret.expose_secret().to_owned());
    Ok(JoinTokenCreatePayload { join_token: Some(token.into()), secret, refusal: None })
}

async fn revoke_token(ctx: &Context<'_>, token: &ID) -> Result<JoinTokenRevokePayload, Error> {
    let provider_id = caller(ctx)?.provider()?;
    let token_id: JoinTokenId = id("id", token)?;
    let revoked_at = parts(ctx).supply.revoke_token(provider_id, token_id).await?;
    Ok(JoinTokenRevokePayload { id: Some(token_id.into()), revoked_at: Some(revoked_at), refusal: None })
}

impl From<broker::provider::Provider> for Provider {
    fn from(provider: broker::provider::Provider) -> Self {
        Self { id: provider.id.into(), name: provider.name, created_at: provider.created_at }
    }
}

impl From<Token> for JoinToken {
    fn from(token: Token) -> Self {
        Self {
            id: token.id.into(),
            hint: token.hint,
            created_at: token.created_at,
            expires_at: token.expires_at,
            used_at: token.used_at,
            node_id: token.used_by_node_id.map(ID::from),
            revoked_at: token.revoked_at,
        }
    }
}
