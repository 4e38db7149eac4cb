//! `POST /v1/embeddings`: texts in, vectors out.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::http::{self, REQUEST_ID};
use crate::error::Error;
use crate::inference::{EmbeddingRequest, Event, Input};
use crate::services::Services;

/// Texts of one request at most.
const TEXTS_MAX: usize = 2_048;

/// A request, as the wire has it.
#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    input: Value,
    encoding_format: Option<String>,
    dimensions: Option<Value>,
    #[expect(dead_code, reason = "accepted and ignored, as OpenAI documents it: a label of the end user")]
    user: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// As JSON numbers.
    Float,
    /// As the bytes of 32-bit floats, little-endian, in base64.
    Base64,
}

/// Answers one request, whole: after the settlement's commit.
pub async fn create(http: HttpRequest, payload: Payload, services: Data<Services>) -> Result<HttpResponse, Error> {
    let caller = http::caller(&services.auth, http.headers()).await?;
    let body = http::body(payload, http::BODY_BYTES_MAX).await?;
    let wire: Request = serde_json::from_slice(&body).map_err(|error| Error::Invalid {
        param: None,
        message: format!("The body is not an embedding request: {error}."),
    })?;
    let (inputs, encoding) = wire.read()?;
    let texts = inputs.len();
    let request = EmbeddingRequest {
        model: wire.model,
        inputs,
        idempotency_key: http::idempotency_key(&http)?,
        body_sha256: Sha256::digest(&body).into(),
    };
    let mut running = services.inference.embed(&caller, request).await?;
    let mut data = Vec::with_capacity(texts);
    while let Some((_, event)) = running.next().await {
        match event {
            Event::Vector(vector) => {
                data.push(json!({"object": "embedding", "index": data.len(), "embedding": encoding.write(&vector)}));
            }
            Event::Text { .. } => {}
            Event::Ended(ending) => {
                ending.result?;
                let tokens = ending.prompt_tokens;
                let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
                let answer = json!({"object": "list", "data": data, "model": running.model, "usage": usage});
                return Ok(HttpResponse::Ok().insert_header((REQUEST_ID, running.job_id.to_string())).json(answer));
            }
        }
    }
    Err(Error::Internal(anyhow::anyhow!("a job's events ended without its end")))
}

impl Request {
    /// The texts, and how their vectors are written. *Errors*: what is wrong, and where.
    fn read(&self) -> Result<(Vec<Input>, Encoding), Error> {
        http::nothing_else(&self.others)?;
        if self.dimensions.as_ref().is_some_and(|dimensions| !dimensions.is_null()) {
            let message =
                "Vectors have the model's own dimensions: cut short they would mean something else. Leave it out.";
            return Err(Error::invalid("dimensions", message));
        }
        let encoding = match self.encoding_format.as_deref() {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(_) => return Err(Error::invalid("encoding_format", "It is `float` or `base64`.")),
        };
        Ok((inputs(&self.input)?, encoding))
    }
}

/// A text, several, a text's tokens, or those of several.
fn inputs(value: &Value) -> Result<Vec<Input>, Error> {
    let shape = || {
        Error::invalid(
            "input",
            format!("It is a text, an array of token ids, or an array of up to {TEXTS_MAX} of either."),
        )
    };
    let one = |value: &Value| match value {
        Value::String(text) => Ok(Input::Text(text.clone())),
        Value::Array(ids) if !ids.is_empty() => http::tokens(ids).map(Input::Tokens).ok_or_else(shape),
        _ => Err(shape()),
    };
    match value {
        Value::Array(items) if items.first().is_some_and(Value::is_number) => Ok(vec![one(value)?]),
        Value::Array(items) if (1..=TEXTS_MAX).contains(&items.len()) => items.iter().map(one).collect(),
        Value::String(_) => Ok(vec![one(value)?]),
        _ => Err(shape()),
    }
}

impl Encoding {
    fn write(self, vector: &[f32]) -> Value {
        match self {
            Self::Float => vector.into(),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                STANDARD.encode(bytes).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<(Vec<Input>, Encoding), Error> {
        serde_json::from_value::<Request>(body).unwrap().read()
    }

    #[test]
    fn an_input_comes_in_four_shapes() {
        let text = |text: &str| Input::Text(text.to_owned());
        for (input, expected) in [
            (json!("a"), vec![text("a")]),
            (json!(["a", ""]), vec![text("a"), text("")]),
            (json!([1, 2]), vec![Input::Tokens(vec![1, 2])]),
            (json!([[1, 2], [3]]), vec![Input::Tokens(vec![1, 2]), Input::Tokens(vec![3])]),
        ] {
            assert_eq!(read(json!({"model": "m", "input": input})).unwrap().0, expected);
        }
    }

    #[test]
    fn every_wrong_value_is_refused_by_the_name_of_its_field() {
        for (field, value) in [
            ("input", json!(null)),
            ("input", json!([])),
            ("input", json!([[]])),
            ("input", json!([1, "a"])),
            ("input", json!([-1])),
            ("input", json!(vec!["a"; 2_049])),
            ("encoding_format", json!("hex")),
            ("dimensions", json!(8)),
            ("nonsense", json!(1)),
        ] {
            let mut body = json!({"model": "m", "input": "a"});
            body[field] = value.clone();
            assert_eq!(read(body).unwrap_err().param(), Some(field), "{value}");
        }
    }

    #[test]
    fn a_vector_is_written_as_numbers_or_as_their_bytes() {
        assert_eq!(Encoding::Float.write(&[0.5, -1.0]), json!([0.5, -1.0]));
        assert_eq!(Encoding::Base64.write(&[1.0]), json!("AACAPw=="));
    }
}
