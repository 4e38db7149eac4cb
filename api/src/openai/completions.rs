//! `POST /v1/completions`: a text in, its continuation out, without a chat template between.

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use primitives::node_protocol::{TokenLogprob, TokenLogprobs};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Envelope, Used};
use super::drawing::{self, Drawing};
use super::http;
use crate::error::Error;
use crate::inference::{Event, Prompt, Request, Running, Started};
use crate::services::Services;

/// Output tokens when the request names no limit, as OpenAI has it.
const OUTPUT_TOKENS: i64 = 16;
/// Likely tokens that are told beside each, at most.
const LOGPROBS_MAX: u8 = 5;

/// A request, as the wire has it.
#[derive(Debug, Deserialize)]
struct CompletionRequest {
    model: String,
    prompt: Value,
    max_tokens: Option<i64>,
    logprobs: Option<i64>,
    echo: Option<bool>,
    best_of: Option<i64>,
    #[serde(flatten)]
    drawing: Drawing,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Answers one request.
pub async fn create(http: HttpRequest, payload: Payload, services: Data<Services>) -> Result<HttpResponse, Error> {
    let caller = http::caller(&services.auth, http.headers()).await?;
    let body = http::body(payload, http::BODY_BYTES_MAX).await?;
    let wire: CompletionRequest = serde_json::from_slice(&body).map_err(|error| Error::Invalid {
        param: None,
        message: format!("The body is not a completion request: {error}."),
    })?;
    let request = wire.read(&body, http::idempotency_key(&http)?)?;
    let running = match services.inference.start(&caller, request).await? {
        Started::Running(running) => running,
        Started::Repeated(_) => {
            return Err(Error::Conflict(
                "The request with this idempotency key was taken before. Its text is not kept.",
            ));
        }
    };
    let created = services.clock.now().timestamp();
    let envelope = Envelope { id: running.job_id.to_string(), created, model: running.model.clone() };
    if wire.drawing.stream {
        let include_usage = wire.drawing.include_usage();
        let (ended, offsets) = (vec![false; running.choices()], vec![0; running.choices()]);
        let id = envelope.id.clone();
        let chunks = Chunks { running, envelope, ended, offsets, used: Used::default(), include_usage, failed: false };
        Ok(http::event_stream(&id, chunks.into_stream()))
    } else {
        whole(running, &envelope).await
    }
}

impl CompletionRequest {
    fn read(&self, body: &[u8], idempotency_key: Option<String>) -> Result<Request, Error> {
        http::nothing_else(&self.others)?;
        self.drawing.check()?;
        let choices = self.drawing.choices()?;
        if self.echo == Some(true) {
            return Err(Error::invalid("echo", "The prompt is not given back. Leave it out."));
        }
        if self.best_of.is_some_and(|best| best != i64::from(choices)) {
            return Err(Error::invalid("best_of", "Every answer that is made is given. Ask for as many with `n`."));
        }
        let logprobs = self.logprobs.map(|top| {
            let told = u8::try_from(top).ok().filter(|top| *top <= LOGPROBS_MAX);
            told.ok_or_else(|| Error::invalid("logprobs", format!("`logprobs` must be between 0 and {LOGPROBS_MAX}.")))
        });
        Ok(Request {
            model: self.model.clone(),
            prompt: prompt(&self.prompt)?,
            grammar: None,
            logprobs: logprobs.transpose()?,
            grade: self.drawing.grade()?,
            class: self.drawing.class()?,
            choices,
            output_tokens_max: Some(drawing::output_tokens("max_tokens", self.max_tokens.unwrap_or(OUTPUT_TOKENS))?),
            stop: self.drawing.stops()?,
            sampling: self.drawing.sampling()?,
            seed: self.drawing.seed(),
            idempotency_key,
            body_sha256: Sha256::digest(body).into(),
        })
    }
}

/// A text or its tokens, by itself or alone in an array.
fn prompt(value: &Value) -> Result<Prompt, Error> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        Value::Array(ids) if !ids.is_empty() => http::tokens(ids).map(Prompt::Tokens),
        _ => None,
    };
    let read = match value {
        Value::Array(items) if items.len() == 1 && !items[0].is_number() => one(&items[0]),
        value => one(value),
    };
    read.ok_or_else(|| {
        Error::invalid("prompt", "It is one text, or one array of token ids. Send several requests for more.")
    })
}

/// Waits for the end of every choice and answers once.
async fn whole(mut running: Running, envelope: &Envelope) -> Result<HttpResponse, Error> {
    let mut outputs: Vec<(String, Vec<TokenLogprobs>)> = vec![Default::default(); running.choices()];
    let mut used = Used::default();
    let mut reasons: Vec<Option<Result<&'static str, Error>>> = (0..outputs.len()).map(|_| None).collect();
    while let Some((index, event)) = running.next().await {
        match event {
            Event::Text { text, logprobs, .. } => {
                outputs[index].0.push_str(&text);
                outputs[index].1.extend(logprobs);
            }
            Event::Vector(_) => {}
            Event::Ended(ending) => {
                used.end(&ending);
                reasons[index] = Some(ending.result);
            }
        }
    }
    let mut choices = vec![];
    for (index, ((text, logprobs), reason)) in outputs.into_iter().zip(reasons).enumerate() {
        let reason =
            reason.ok_or_else(|| Error::Internal(anyhow::anyhow!("a job's events ended without its end")))??;
        choices.push(choice(index, &text, Some(reason), &told(&logprobs, 0)));
    }
    let answer = completion(envelope, &choices, Some(&used));
    Ok(HttpResponse::Ok().insert_header((http::REQUEST_ID, envelope.id.clone())).json(answer))
}

fn completion(Envelope { id, created, model }: &Envelope, choices: &[Value], used: Option<&Used>) -> Value {
    let mut answer =
        json!({"id": id, "object": "text_completion", "created": created, "model": model, "choices": choices});
    if let Some(used) = used {
        answer["usage"] = json!(used.usage());
    }
    answer
}

fn choice(index: usize, text: &str, reason: Option<&str>, logprobs: &Value) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason})
}

/// How likely tokens were, as this route has always told it; null where nothing is told. The text before them has so many characters.
fn told(tokens: &[TokenLogprobs], before: usize) -> Value {
    if tokens.is_empty() {
        return Value::Null;
    }
    let mut offset = before;
    let mut offsets = vec![];
    for token in tokens {
        offsets.push(offset);
        offset += text_of(&token.drawn).chars().count();
    }
    let top = |token: &TokenLogprobs| {
        token.top.iter().map(|likely| (text_of(likely), Value::from(likely.logprob))).collect::<Map<_, _>>()
    };
    json!({
        "tokens": tokens.iter().map(|token| text_of(&token.drawn)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.drawn.logprob).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

fn text_of(token: &TokenLogprob) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

/// A stream's state between two events.
struct Chunks {
    running: Running,
    envelope: Envelope,
    ended: Vec<bool>,
    /// How many characters the tokens had whose likelihoods were told.
    offsets: Vec<usize>,
    used: Used,
    include_usage: bool,
    /// A choice failed: no other is whole.
    failed: bool,
}

impl Chunks {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        futures_util::stream::unfold(self, |mut chunks| async move {
            while !chunks.ended.iter().all(|ended| *ended) {
                let (index, event) = chunks.running.next().await?;
                let bytes = chunks.write(index, event);
                if !bytes.is_empty() {
                    return Some((Ok(Bytes::from(bytes)), chunks));
                }
            }
            None
        })
    }

    fn write(&mut self, index: usize, event: Event) -> String {
        let mut out = String::new();
        match event {
            Event::Text { text, logprobs, .. } => {
                if !text.is_empty() || !logprobs.is_empty() {
                    self.say(&mut out, &choice(index, &text, None, &told(&logprobs, self.offsets[index])));
                }
                self.offsets[index] +=
                    logprobs.iter().map(|token| text_of(&token.drawn).chars().count()).sum::<usize>();
            }
            Event::Vector(_) => {}
            Event::Ended(ending) => {
                self.used.end(&ending);
                self.ended[index] = true;
                match ending.result {
                    Ok(reason) if !self.failed => self.say(&mut out, &choice(index, "", Some(reason), &Value::Null)),
                    Err(error) if !self.failed => {
                        self.failed = true;
                        http::event(&mut out, &http::error_body(&error));
                    }
                    // It was stopped for another's failure, which was told.
                    _ => {}
                }
                if self.ended.iter().all(|ended| *ended) {
                    if self.include_usage {
                        http::event(&mut out, &completion(&self.envelope, &[], Some(&self.used)));
                    }
                    out.push_str(http::DONE);
                }
            }
        }
        out
    }

    fn say(&self, out: &mut String, choice: &Value) {
        http::event(out, &completion(&self.envelope, std::slice::from_ref(choice), None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str, value: Value) -> Result<Request, Error> {
        let mut body = json!({"model": "m", "prompt": "Once"});
        body[field] = value;
        serde_json::from_value::<CompletionRequest>(body).unwrap().read(b"", None)
    }

    #[test]
    fn a_prompt_is_a_text_or_its_tokens() {
        for (value, expected) in [
            (json!("a"), Prompt::Text("a".into())),
            (json!(["a"]), Prompt::Text("a".into())),
            (json!([1, 2]), Prompt::Tokens(vec![1, 2])),
            (json!([7]), Prompt::Tokens(vec![7])),
            (json!([[1, 2]]), Prompt::Tokens(vec![1, 2])),
        ] {
            assert_eq!(read("prompt", value).unwrap().prompt, expected);
        }
    }

    #[test]
    fn every_wrong_value_is_refused_by_the_name_of_its_field() {
        for (field, value) in [
            ("prompt", json!(["a", "b"])),
            ("prompt", json!([])),
            ("prompt", json!(null)),
            ("max_tokens", json!(0)),
            ("logprobs", json!(6)),
            ("echo", json!(true)),
            ("best_of", json!(3)),
            ("suffix", json!("end")),
            ("n", json!(9)),
            ("temperature", json!(3)),
        ] {
            assert_eq!(read(field, value.clone()).unwrap_err().param(), Some(field), "{value}");
        }
        assert_eq!(read("max_tokens", json!(null)).unwrap().output_tokens_max, Some(16));
    }
}
