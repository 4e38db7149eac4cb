//! `POST /v1/chat/completions`: a conversation in, an answer out, whole or as it comes.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use primitives::node_protocol::TokenLogprobs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Envelope, PromptTokensDetails, Usage, logprobs};
use super::http::{self, REQUEST_ID};
use super::tool_calls::{Piece, ToolCallSplitter};
use super::wire::ChatRequest;
use crate::error::Error;
use crate::inference::{Ending, Event, Request, Running, Started};
use crate::services::Services;

/// The longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Answers one request.
pub async fn create(http: HttpRequest, payload: Payload, services: Data<Services>) -> Result<HttpResponse, Error> {
    let caller = http::caller(&services.auth, http.headers()).await?;
    let body = http::body(payload, http::BODY_BYTES_MAX).await?;
    let wire = ChatRequest::parse(&body)?;
    let request = read(&wire, &body, idempotency_key(&http)?)?;
    let tools = !wire.offered_tools().is_empty();
    let running = match services.inference.start(&caller, request).await? {
        Started::Running(running) => running,
        Started::Repeated(job) => return repeated(&job),
    };
    let envelope = Envelope {
        id: running.job_id.to_string(),
        created: services.clock.now().timestamp(),
        model: running.model.clone(),
    };
    if wire.stream {
        Ok(stream(running, envelope, tools, wire.include_usage()))
    } else {
        whole(running, &envelope, tools).await
    }
}

fn read(wire: &ChatRequest, body: &[u8], idempotency_key: Option<String>) -> Result<Request, Error> {
    let drawing = wire.drawing()?;
    Ok(Request {
        model: wire.model.clone(),
        messages: wire.conversation()?,
        tools: wire.offered_tools().to_vec(),
        grammar: wire.grammar()?,
        logprobs: wire.logprobs()?,
        grade: wire.grade()?,
        output_tokens_max: wire.output_tokens_max()?,
        stop: wire.stops()?,
        sampling: drawing.sampling,
        seed: drawing.seed,
        idempotency_key,
        body_sha256: Sha256::digest(body).into(),
    })
}

fn idempotency_key(http: &HttpRequest) -> Result<Option<String>, Error> {
    let Some(value) = http.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX);
    let message = format!("An idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters.");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| Error::invalid("idempotency-key", message))
}

/// The answer to a request that was answered before: the same job and usage. The output is not kept.
fn repeated(job: &broker::job::JobRecord) -> Result<HttpResponse, Error> {
    let Some(output_tokens) = job.output_tokens else {
        return Err(Error::Conflict(
            "The request with this idempotency key is still running. Ask again when it has ended.",
        ));
    };
    if let Some(code) = &job.error_code {
        let reason = format!(
            "The request with this idempotency key failed ({code}) and was not charged for more than it delivered."
        );
        return Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) });
    }
    let (id, created) = (job.job_id.to_string(), job.received_at.timestamp());
    let envelope = Envelope { id: id.clone(), created, model: job.model.clone() };
    let reason = job.finish_reason.map_or("stop", broker::job::EndReason::as_str);
    let message = json!({"role": "assistant", "content": null, "refusal": null});
    let told = usage(job.prompt_tokens, 0, output_tokens);
    let answer = envelope.completion(&message, reason, told, &Value::Null);
    Ok(HttpResponse::Ok().insert_header((REQUEST_ID, id)).insert_header(("idempotent-replay", "true")).json(answer))
}

/// Waits for the end and answers once. A caller that hangs up drops the job.
async fn whole(mut running: Running, envelope: &Envelope, tools: bool) -> Result<HttpResponse, Error> {
    let mut output = Output::new(tools);
    while let Some(event) = running.next().await {
        match event {
            Event::Text { text, logprobs, .. } => {
                output.push(&text);
                output.logprobs.extend(logprobs);
            }
            Event::Ended(ending) => {
                let Ending { result, prompt_tokens, cached_tokens, output_tokens, .. } = *ending;
                let reason = result?;
                let told = logprobs(&output.logprobs);
                let (message, reason) = output.finish(&envelope.id, reason);
                let used = usage(prompt_tokens, cached_tokens, output_tokens);
                let answer = envelope.completion(&message, reason, used, &told);
                return Ok(HttpResponse::Ok().insert_header((REQUEST_ID, envelope.id.clone())).json(answer));
            }
        }
    }
    Err(Error::Internal(anyhow::anyhow!("a job's events ended without its end")))
}

/// A whole answer being put together.
struct Output {
    splitter: Option<ToolCallSplitter>,
    content: String,
    calls: Vec<(String, String)>,
    logprobs: Vec<TokenLogprobs>,
}

impl Output {
    fn new(tools: bool) -> Self {
        let splitter = tools.then(ToolCallSplitter::default);
        Self { splitter, content: String::new(), calls: vec![], logprobs: vec![] }
    }

    fn push(&mut self, text: &str) {
        match &mut self.splitter {
            Some(splitter) => {
                let pieces = splitter.push(text);
                self.take(pieces);
            }
            None => self.content.push_str(text),
        }
    }

    fn take(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.content.push_str(&text),
                Piece::Call { name } => self.calls.push((name, String::new())),
                Piece::Arguments(more) => {
                    if let Some((_, arguments)) = self.calls.last_mut() {
                        arguments.push_str(&more);
                    }
                }
            }
        }
    }

    fn finish(mut self, id: &str, reason: &'static str) -> (Value, &'static str) {
        if let Some(splitter) = self.splitter.take() {
            self.take(splitter.finish());
        }
        if self.calls.is_empty() {
            return (json!({"role": "assistant", "content": self.content, "refusal": null}), reason);
        }
        let calls: Vec<Value> = self.calls.iter().enumerate().map(|(index, call)| tool_call(id, index, call)).collect();
        let content = Some(self.content.trim()).filter(|content| !content.is_empty());
        let message = json!({"role": "assistant", "content": content, "refusal": null, "tool_calls": calls});
        (message, called(reason))
    }
}

/// Why an output with calls ended: a cut one says so.
fn called(reason: &'static str) -> &'static str {
    if reason == "stop" { "tool_calls" } else { reason }
}

fn tool_call(id: &str, index: usize, (name, arguments): &(String, String)) -> Value {
    let digits = id.strip_prefix("job_").unwrap_or(id);
    json!({"id": format!("call_{digits}_{index}"), "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn usage(prompt_tokens: u32, cached_tokens: u32, completion_tokens: u32) -> Usage {
    let prompt_tokens_details = PromptTokensDetails { cached_tokens };
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens, prompt_tokens_details }
}

/// Answers as server-sent events; the last one comes after the settlement's commit.
fn stream(running: Running, envelope: Envelope, tools: bool, include_usage: bool) -> HttpResponse {
    let id = envelope.id.clone();
    let chunks = Chunks {
        running,
        envelope,
        splitter: tools.then(ToolCallSplitter::default),
        calls: 0,
        logprobs: vec![],
        include_usage,
        opened: false,
        ended: false,
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((REQUEST_ID, id))
        .streaming(chunks.into_stream())
}

/// A stream's state between two events.
struct Chunks {
    running: Running,
    envelope: Envelope,
    splitter: Option<ToolCallSplitter>,
    calls: usize,
    /// Of tokens whose text was not given yet.
    logprobs: Vec<TokenLogprobs>,
    include_usage: bool,
    opened: bool,
    ended: bool,
}

impl Chunks {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        futures_util::stream::unfold(self, |mut chunks| async move {
            while !chunks.ended {
                let event = chunks.running.next().await?;
                let bytes = chunks.write(event);
                if !bytes.is_empty() {
                    return Some((Ok(Bytes::from(bytes)), chunks));
                }
            }
            None
        })
    }

    fn write(&mut self, event: Event) -> String {
        let mut out = String::new();
        if !self.opened {
            self.opened = true;
            let opening = json!({"role": "assistant", "content": ""});
            self.data(&mut out, &self.envelope.chunk(&opening, None, &Value::Null));
        }
        match event {
            Event::Text { text, logprobs, .. } => {
                self.logprobs.extend(logprobs);
                let pieces = match &mut self.splitter {
                    Some(splitter) => splitter.push(&text),
                    None if text.is_empty() => vec![],
                    None => vec![Piece::Text(text)],
                };
                self.pieces(&mut out, pieces);
            }
            Event::Ended(ending) => self.end(&mut out, *ending),
        }
        out
    }

    fn pieces(&mut self, out: &mut String, pieces: Vec<Piece>) {
        for piece in pieces {
            let delta = match piece {
                Piece::Text(text) => json!({"content": text}),
                Piece::Call { name } => {
                    let mut call = tool_call(&self.envelope.id, self.calls, &(name, String::new()));
                    call["index"] = self.calls.into();
                    self.calls += 1;
                    json!({"tool_calls": [call]})
                }
                Piece::Arguments(more) => {
                    let index = self.calls.saturating_sub(1);
                    json!({"tool_calls": [{"index": index, "function": {"arguments": more}}]})
                }
            };
            let told = logprobs(&std::mem::take(&mut self.logprobs));
            self.data(out, &self.envelope.chunk(&delta, None, &told));
        }
    }

    fn end(&mut self, out: &mut String, ending: Ending) {
        self.ended = true;
        let rest = self.splitter.take().map(ToolCallSplitter::finish).unwrap_or_default();
        self.pieces(out, rest);
        match ending.result {
            Ok(reason) => {
                let reason = if self.calls > 0 { called(reason) } else { reason };
                let told = logprobs(&std::mem::take(&mut self.logprobs));
                self.data(out, &self.envelope.chunk(&json!({}), Some(reason), &told));
            }
            Err(error) => self.data(out, &http::error_body(&error)),
        }
        if self.include_usage {
            let usage = usage(ending.prompt_tokens, ending.cached_tokens, ending.output_tokens);
            self.data(out, &self.envelope.usage_chunk(usage));
        }
        out.push_str("data: [DONE]\n\n");
    }

    fn data(&self, out: &mut String, value: &Value) {
        out.push_str("data: ");
        out.push_str(&value.to_string());
        out.push_str("\n\n");
    }
}
