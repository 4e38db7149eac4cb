//! What all `/v1` routes share: who asks, how large a body may be, and how a refusal looks.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value, json};

use crate::auth::{Auth, Caller};
use crate::error::Error;

/// The longest body of a `/v1` request. *Units*: bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// The last event of a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// Names the job in every answer that has one.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The caller of a request by its `Authorization` header; an `x-api-key` header serves as well.
pub async fn caller(auth: &Auth, headers: &HeaderMap) -> Result<Caller, Error> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let bearer = headers.get(AUTHORIZATION).and_then(text);
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ").map(|secret| secret.trim().to_owned()));
    let credential = bearer.or_else(|| headers.get("x-api-key").and_then(text));
    auth.caller(&credential.filter(|secret| !secret.is_empty()).ok_or(Error::Unauthenticated)?).await
}

/// The whole body. *Errors*: one that is longer than [`BODY_BYTES_MAX`], before it is read to its end.
pub async fn body(mut payload: Payload, bytes_max: usize) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(part) = payload.next().await {
        let part =
            part.map_err(|error| Error::Invalid { param: None, message: format!("The body broke off: {error}.") })?;
        if body.len() + part.len() > bytes_max {
            return Err(Error::BodyTooLarge(bytes_max));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// The caller's word for "the same request", if it gives one. *Errors*: one that is empty, too long or not plain.
pub fn idempotency_key(http: &HttpRequest) -> Result<Option<String>, Error> {
    let Some(value) = http.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX);
    let message = format!("An idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters.");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| Error::invalid("idempotency-key", message))
}

/// *Errors*: a field that we do not know and that says something; doing something else in silence is worse.
pub fn nothing_else(others: &Map<String, Value>) -> Result<(), Error> {
    match others.iter().find(|(_, value)| !value.is_null()) {
        Some((name, _)) => Err(Error::invalid(name, format!("`{name}` is not supported. Leave it out."))),
        None => Ok(()),
    }
}

/// Token ids, unless one of them is none.
pub fn tokens(ids: &[Value]) -> Option<Vec<u32>> {
    ids.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect()
}

/// An answer of server-sent events, for the job of this id.
pub fn event_stream(id: &str, events: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((REQUEST_ID, id))
        .streaming(events)
}

/// Adds one event.
pub fn event(out: &mut String, value: &Value) {
    out.push_str("data: ");
    out.push_str(&value.to_string());
    out.push_str("\n\n");
}

/// A refusal in the shape that OpenAI's clients read.
pub fn error_body(error: &Error) -> Value {
    let kind = match error.status() {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    json!({"error": {"message": error.to_string(), "type": kind, "param": error.param(), "code": error.code()}})
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.log();
        let mut response = HttpResponse::build(self.status_code());
        if let Some(after) = self.retry_after() {
            response.insert_header((RETRY_AFTER, after.as_secs().max(1)));
        }
        response.json(error_body(self))
    }
}
