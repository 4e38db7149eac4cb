//! Every way the APIs refuse: code, HTTP status and wording live here and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use primitives::money::Money;

/// A refusal or a failure, as a caller meets it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key or session was given.
    #[error(
        "No API key was given. Send it as `Authorization: Bearer YOUR_KEY`; keys are made in the console under Keys."
    )]
    Unauthenticated,
    /// The key or session is unknown, expired or revoked: all alike, so that nothing can be probed.
    #[error("The API key or session is not valid. It may be mistyped, expired or revoked.")]
    InvalidCredential,
    /// Email and password do not match; which of them is not told.
    #[error("The email or the password is wrong.")]
    WrongPassword,
    /// The code is not the one that was sent.
    #[error("The code is wrong. Look for the newest mail; after five wrong codes a new one is needed.")]
    WrongCode,
    /// The code is over: used, too old, tried too often, or of another purpose.
    #[error("This code is no longer taken. Ask for a new one.")]
    CodeExpired,
    /// The caller is known and may not do this.
    #[error("Not allowed: {0}.")]
    Forbidden(&'static str),
    /// A value in the request is wrong.
    #[error("{message}")]
    Invalid {
        /// Which field, as the caller wrote it.
        param: Option<String>,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The thing asked for does not exist, or is not the caller's.
    #[error("There is no such {0}.")]
    NotFound(&'static str),
    /// The model is not in the catalogue.
    #[error("The model `{0}` does not exist. GET /v1/models lists those that do.")]
    ModelNotFound(String),
    /// Prompt and output do not fit.
    #[error(
        "The prompt has {prompt_tokens} tokens; `{model}` takes {context_tokens} for prompt and output together. Shorten the messages."
    )]
    ContextTooLong {
        /// The field that has it.
        param: &'static str,
        /// The model asked for.
        model: String,
        /// The prompt's length.
        prompt_tokens: usize,
        /// The model's limit.
        context_tokens: u32,
    },
    /// The balance does not cover the worst case.
    #[error(
        "The request could cost up to {needed} and {available} is available. Add credit under Billing, or lower max_tokens."
    )]
    InsufficientFunds {
        /// The hold that was wanted.
        needed: Money,
        /// What could be held.
        available: Money,
    },
    /// The body is larger than the route reads.
    #[error("The request body is larger than {0} bytes.")]
    BodyTooLarge(usize),
    /// The key was used for another request.
    #[error("This idempotency key was used for a request with another body. Use a new key for a new request.")]
    IdempotencyConflict,
    /// Something by that name or address exists.
    #[error("{0}")]
    Conflict(&'static str),
    /// Too much at once.
    #[error("The limit of {limit} is reached. Try again in {} seconds.", .retry_after.as_secs().max(1))]
    RateLimited {
        /// Which limit, with its number and unit.
        limit: String,
        /// When the next request can pass.
        retry_after: Duration,
    },
    /// Nodes can do it, and have too much to do to begin it in time.
    #[error("{reason} Try again in {} seconds, when one should be able to.", .retry_after.as_secs().max(1))]
    Overloaded {
        /// Why, as a sentence.
        reason: String,
        /// When one should be able to.
        retry_after: Duration,
    },
    /// No node can do it now.
    #[error("{reason} Try again in {} seconds.", .retry_after.as_secs().max(1))]
    Unavailable {
        /// Why, as a sentence.
        reason: String,
        /// When it may be better.
        retry_after: Duration,
    },
    /// A node gave the job up and no other could go on.
    #[error("The job could not be finished: {0}. Delivered tokens are charged, nothing else is.")]
    JobFailed(String),
    /// Ours: logged with its chain, not shown.
    #[error("Something went wrong on our side. The request id names it in our logs.")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// A wrong value in a named field.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::Invalid { param: Some(param.to_owned()), message: message.into() }
    }

    /// An error that several callers met at once, for one of them.
    pub fn shared(error: Arc<Self>) -> Self {
        Arc::try_unwrap(error).unwrap_or_else(|error| match &*error {
            Self::InvalidCredential => Self::InvalidCredential,
            Self::ModelNotFound(name) => Self::ModelNotFound(name.clone()),
            Self::Unavailable { reason, retry_after } => {
                Self::Unavailable { reason: reason.clone(), retry_after: *retry_after }
            }
            Self::Internal(source) => Self::Internal(anyhow::anyhow!("{source:#}")),
            other => Self::Internal(anyhow::anyhow!("{other}")),
        })
    }

    /// The word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "missing_credential",
            Self::InvalidCredential => "invalid_api_key",
            Self::WrongPassword => "wrong_password",
            Self::WrongCode => "wrong_code",
            Self::CodeExpired => "code_expired",
            Self::Forbidden(_) => "forbidden",
            Self::Invalid { .. } => "invalid_value",
            Self::NotFound(_) => "not_found",
            Self::ModelNotFound(_) => "model_not_found",
            Self::ContextTooLong { .. } => "context_length_exceeded",
            Self::InsufficientFunds { .. } => "insufficient_funds",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::Conflict(_) => "conflict",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { .. } => "unavailable",
            Self::JobFailed(_) => "job_failed",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthenticated | Self::InvalidCredential | Self::WrongPassword => 401,
            Self::WrongCode | Self::CodeExpired | Self::Forbidden(_) => 403,
            Self::Invalid { .. } | Self::ContextTooLong { .. } => 400,
            Self::NotFound(_) | Self::ModelNotFound(_) => 404,
            Self::InsufficientFunds { .. } => 402,
            Self::BodyTooLarge(_) => 413,
            Self::IdempotencyConflict | Self::Conflict(_) => 409,
            Self::RateLimited { .. } | Self::Overloaded { .. } => 429,
            Self::Unavailable { .. } | Self::JobFailed(_) => 503,
            Self::Internal(_) => 500,
        }
    }

    /// The field that is wrong.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Invalid { param, .. } => param.as_deref(),
            Self::WrongCode => Some("code"),
            Self::ModelNotFound(_) => Some("model"),
            Self::ContextTooLong { param, .. } => Some(param),
            _ => None,
        }
    }

    /// When to try again, where trying again can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::Overloaded { retry_after, .. }
            | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Logs what is ours to mend, once, where the error stops travelling.
    pub fn log(&self) {
        if let Self::Internal(source) = self {
            tracing::error!(error = format!("{source:#}"), "a request failed on our side");
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            // Every connection is in use: more requests than the database keeps up with.
            sqlx::Error::PoolTimedOut => Self::Unavailable {
                reason: "Too much is asked of the database now.".to_owned(),
                retry_after: Duration::from_secs(1),
            },
            error => Self::Internal(error.into()),
        }
    }
}

impl primitives::tx::Failure for Error {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Internal(source) => source.downcast_ref(),
            _ => None,
        }
    }
}
