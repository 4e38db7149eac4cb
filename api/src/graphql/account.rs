//! Signing up, and getting past a forgotten password.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::http::Browser;
use super::identity::{Me, SESSION_HOURS, enter};
use super::parts;
use super::refusal::{Refusal, answer, refused_payloads};
use super::scalar::id;
use crate::challenge::Challenge;
use crate::error::Error;

/// Changes that nobody has to be signed in for.
#[derive(Default)]
pub struct AccountMutation;

/// A code of 8 digits on its way to an address, if there is reason to send one.
#[derive(SimpleObject)]
pub struct EmailChallenge {
    /// Its identifier: what the code is for.
    id: ID,
    /// Until when the code is taken.
    expires_at: DateTime<Utc>,
}

/// Who wants an account.
#[derive(InputObject)]
pub struct UserSignUpInput {
    /// The person's address.
    email: String,
    /// 10 characters to 256 bytes.
    password: String,
    /// What the tenant that is made for the person is called.
    tenant_name: String,
}

/// What a sign-up did. It looks the same whether or not the address has an account already.
#[derive(Default, SimpleObject)]
pub struct UserSignUpPayload {
    /// The code that `userVerify` wants.
    challenge: Option<EmailChallenge>,
    /// Why none was sent.
    refusal: Option<Refusal>,
}

/// The code that proves an address.
#[derive(InputObject)]
pub struct UserVerifyInput {
    /// The challenge that the sign-up made.
    challenge_id: ID,
    /// The code from the mail.
    code: String,
}

/// What a verification did. The session's cookie comes with the response.
#[derive(Default, SimpleObject)]
pub struct UserVerifyPayload {
    /// Who is signed in now.
    me: Option<Me>,
    /// When the session ends by itself.
    expires_at: Option<DateTime<Utc>>,
    /// Why there is no account.
    refusal: Option<Refusal>,
}

/// Who has forgotten a password.
#[derive(InputObject)]
pub struct PasswordResetRequestInput {
    /// The person's address.
    email: String,
}

/// What a request for a new password did. It looks the same whether or not the address has an account.
#[derive(Default, SimpleObject)]
pub struct PasswordResetRequestPayload {
    /// The code that `passwordReset` wants.
    challenge: Option<EmailChallenge>,
    /// Why none was sent.
    refusal: Option<Refusal>,
}

/// The code that proves an address, and the new password.
#[derive(InputObject)]
pub struct PasswordResetInput {
    /// The challenge that the request made.
    challenge_id: ID,
    /// The code from the mail.
    code: String,
    /// 10 characters to 256 bytes.
    password: String,
}

/// What a new password did: every other session of the person is over. The session's cookie comes with the response.
#[derive(Default, SimpleObject)]
pub struct PasswordResetPayload {
    /// Who is signed in now.
    me: Option<Me>,
    /// When the session ends by itself.
    expires_at: Option<DateTime<Utc>>,
    /// Why the password is still the old one.
    refusal: Option<Refusal>,
}

#[Object]
impl AccountMutation {
    /// Mails a code that proves an address. With it, `userVerify` makes the account.
    #[graphql(complexity = "600 + child_complexity")]
    async fn user_sign_up(
        &self,
        ctx: &Context<'_>,
        input: UserSignUpInput,
    ) -> Result<Option<UserSignUpPayload>, Error> {
        answer(sign_up(ctx, input).await)
    }

    /// Makes a person, a tenant they own with its first project and credit to try things, and signs them in.
    #[graphql(complexity = "600 + child_complexity")]
    async fn user_verify(&self, ctx: &Context<'_>, input: UserVerifyInput) -> Result<Option<UserVerifyPayload>, Error> {
        answer(verify(ctx, input).await)
    }

    /// Mails a code to a person who has forgotten their password. With it, `passwordReset` takes a new one.
    #[graphql(complexity = "600 + child_complexity")]
    async fn password_reset_request(
        &self,
        ctx: &Context<'_>,
        input: PasswordResetRequestInput,
    ) -> Result<Option<PasswordResetRequestPayload>, Error> {
        answer(request_reset(ctx, input).await)
    }

    /// Gives a person a new password, ends all their sessions, and signs them in.
    #[graphql(complexity = "600 + child_complexity")]
    async fn password_reset(
        &self,
        ctx: &Context<'_>,
        input: PasswordResetInput,
    ) -> Result<Option<PasswordResetPayload>, Error> {
        answer(reset(ctx, input).await)
    }
}

async fn sign_up(ctx: &Context<'_>, input: UserSignUpInput) -> Result<UserSignUpPayload, Error> {
    let (peer, accounts) = (Browser::of(ctx)?.peer(), &parts(ctx).accounts);
    let challenge = accounts.sign_up(peer, &input.email, input.password.into(), &input.tenant_name).await?;
    Ok(UserSignUpPayload { challenge: Some(challenge.into()), refusal: None })
}

async fn verify(ctx: &Context<'_>, input: UserVerifyInput) -> Result<UserVerifyPayload, Error> {
    Browser::of(ctx)?;
    let challenge = id("challengeId", &input.challenge_id)?;
    let session = parts(ctx).accounts.verify(challenge, &input.code, SESSION_HOURS).await?;
    let (me, expires_at) = enter(ctx, session).await?;
    Ok(UserVerifyPayload { me: Some(me), expires_at: Some(expires_at), refusal: None })
}

async fn request_reset(
    ctx: &Context<'_>,
    input: PasswordResetRequestInput,
) -> Result<PasswordResetRequestPayload, Error> {
    let (peer, accounts) = (Browser::of(ctx)?.peer(), &parts(ctx).accounts);
    let challenge = accounts.forgot_password(peer, &input.email).await?;
    Ok(PasswordResetRequestPayload { challenge: Some(challenge.into()), refusal: None })
}

async fn reset(ctx: &Context<'_>, input: PasswordResetInput) -> Result<PasswordResetPayload, Error> {
    Browser::of(ctx)?;
    let challenge = id("challengeId", &input.challenge_id)?;
    let accounts = &parts(ctx).accounts;
    let session = accounts.reset_password(challenge, &input.code, input.password.into(), SESSION_HOURS).await?;
    let (me, expires_at) = enter(ctx, session).await?;
    Ok(PasswordResetPayload { me: Some(me), expires_at: Some(expires_at), refusal: None })
}

impl From<Challenge> for EmailChallenge {
    fn from(challenge: Challenge) -> Self {
        Self { id: challenge.id.into(), expires_at: challenge.expires_at }
    }
}

refused_payloads! { UserSignUpPayload UserVerifyPayload PasswordResetRequestPayload PasswordResetPayload }
