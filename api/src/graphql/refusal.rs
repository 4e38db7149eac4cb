//! How a refusal looks: data in a mutation's payload, or an error with a code.

use std::sync::Arc;

use async_graphql::{ErrorExtensionValues, Name, PathSegment, Response, ServerError, SimpleObject, Value};

use crate::error::Error;

/// The longest message about a query.
const MESSAGE_CHARS_MAX: usize = 500;

/// Why a mutation did not do what it was asked to.
#[derive(Clone, Debug, SimpleObject)]
pub struct Refusal {
    /// The word for programs, such as `insufficient_funds`.
    pub code: String,
    /// A sentence for people that says what would be right.
    pub message: String,
    /// The input's field that is wrong, if one is.
    pub param: Option<String>,
    /// When trying again may help, in milliseconds from now.
    pub retry_after_ms: Option<i32>,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
            param: error.param().map(str::to_owned),
            retry_after_ms: error.retry_after().map(|after| i32::try_from(after.as_millis()).unwrap_or(i32::MAX)),
        }
    }
}

/// What a mutation answers: its payload, with the refusal inside when it is one that a caller must expect.
///
/// *Errors*: who is asking may not, or the fault is ours.
pub fn answer<P: From<Refusal>>(done: Result<P, Error>) -> Result<Option<P>, Error> {
    match done {
        Ok(payload) => Ok(Some(payload)),
        Err(error @ (Error::Unauthenticated | Error::InvalidCredential | Error::Forbidden(_) | Error::Internal(_))) => {
            Err(error)
        }
        Err(error) => Ok(Some(Refusal::from(&error).into())),
    }
}

/// Lets payloads be made of nothing but a refusal.
macro_rules! refused_payloads {
    ($($payload:ident)*) => {$(
        impl From<Refusal> for $payload {
            fn from(refusal: Refusal) -> Self {
                Self { refusal: Some(refusal), ..Self::default() }
            }
        }
    )*};
}
pub(super) use refused_payloads;

/// A response that is only this error.
pub fn refused(error: Error) -> Response {
    let message = error.to_string();
    let error = ServerError { source: Some(Arc::new(error)), ..ServerError::new(message, None) };
    named(Response::from_errors(vec![error]))
}

/// Gives each error its code and status; ours are logged here, where they stop travelling.
pub fn named(mut response: Response) -> Response {
    for error in &mut response.errors {
        error.extensions = Some(match error.source::<Error>() {
            Some(source) => {
                source.log();
                extensions(source)
            }
            // GraphQL's own: a query that does not parse, does not fit the schema or passes a limit.
            None => {
                shorten(&mut error.message);
                extensions(&Error::Invalid { param: None, message: error.message.clone() })
            }
        });
    }
    response
}

/// Cuts a message that quotes a whole query.
fn shorten(message: &mut String) {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(end);
        message.push('…');
    }
}

/// Gives each root field that failed its null; the library leaves it out.
///
/// Only root fields of queries and mutations can fail, and all that can are nullable.
pub fn with_nulls(mut response: Response) -> Response {
    for error in &response.errors {
        let [PathSegment::Field(field)] = error.path.as_slice() else { continue };
        if response.data == Value::Null {
            response.data = Value::Object(Default::default());
        }
        if let Value::Object(fields) = &mut response.data {
            fields.entry(Name::new(field)).or_insert(Value::Null);
        }
    }
    response
}

fn extensions(error: &Error) -> ErrorExtensionValues {
    let Refusal { code, param, retry_after_ms, .. } = Refusal::from(error);
    let mut values = ErrorExtensionValues::default();
    values.set("code", code);
    values.set("status", error.status());
    if let Some(param) = param {
        values.set("param", param);
    }
    if let Some(retry_after_ms) = retry_after_ms {
        values.set("retryAfterMs", retry_after_ms);
    }
    values
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_of_ours_is_named_and_not_told() {
        let response = refused(Error::Internal(anyhow::anyhow!("the password of the database is wrong")));
        let json = serde_json::to_string(&response).unwrap();
        assert!(json.contains(r#""code":"internal""#) && json.contains(r#""status":500"#), "{json}");
        assert!(!json.contains("password"), "{json}");
    }

    #[test]
    fn a_message_does_not_repeat_a_whole_query() {
        let mut message = "é".repeat(600);
        shorten(&mut message);
        assert_eq!(message.chars().count(), 501);
    }

    #[test]
    fn an_error_says_when_to_come_back() {
        let error =
            Error::RateLimited { limit: "2 requests a minute".into(), retry_after: Duration::from_millis(1500) };
        let json = serde_json::to_string(&refused(error)).unwrap();
        assert!(json.contains(r#""retryAfterMs":1500"#) && json.contains(r#""status":429"#), "{json}");
    }
}
