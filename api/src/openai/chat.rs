//! `POST /v1/chat/completions`: a conversation in, an answer out, whole or as it comes.

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use broker::job::JobRecord;
use futures_util::Stream;
use primitives::node_protocol::TokenLogprobs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Envelope, Used, choice, logprobs};
use super::http::{self, REQUEST_ID};
use super::tool_calls::{Piece, ToolCallSplitter};
use super::wire::ChatRequest;
use crate::error::Error;
use crate::inference::{Event, Prompt, Request, Running, Started};
use crate::services::Services;

/// Answers one request.
pub async fn create(http: HttpRequest, payload: Payload, services: Data<Services>) -> Result<HttpResponse, Error> {
    let caller = http::caller(&services.auth, http.headers()).await?;
    let body = http::body(payload, http::BODY_BYTES_MAX).await?;
    let wire = ChatRequest::parse(&body)?;
    let request = read(&wire, &body, http::idempotency_key(&http)?)?;
    let tools = !wire.offered_tools().is_empty();
    let running = match services.inference.start(&caller, request).await? {
        Started::Running(running) => running,
        Started::Repeated(jobs) => return repeated(&jobs),
    };
    let envelope = Envelope {
        id: running.job_id.to_string(),
        created: services.clock.now().timestamp(),
        model: running.model.clone(),
    };
    if wire.drawing.stream {
        Ok(stream(running, envelope, tools, wire.drawing.include_usage()))
    } else {
        whole(running, &envelope, tools).await
    }
}

fn read(wire: &ChatRequest, body: &[u8], idempotency_key: Option<String>) -> Result<Request, Error> {
    Ok(Request {
        model: wire.model.clone(),
        prompt: Prompt::Conversation { messages: wire.conversation()?, tools: wire.offered_tools().to_vec() },
        grammar: wire.grammar()?,
        logprobs: wire.logprobs()?,
        choices: wire.drawing.choices()?,
        grade: wire.drawing.grade()?,
        class: wire.drawing.class()?,
        output_tokens_max: wire.output_tokens_max()?,
        stop: wire.drawing.stops()?,
        sampling: wire.drawing.sampling()?,
        seed: wire.drawing.seed(),
        idempotency_key,
        body_sha256: Sha256::digest(body).into(),
    })
}

/// The answer to a request that was answered before: the same jobs and usage. The output is not kept.
fn repeated(jobs: &[JobRecord]) -> Result<HttpResponse, Error> {
    let mut used = Used::default();
    let mut choices = vec![];
    for (index, job) in jobs.iter().enumerate() {
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
        let reason = job.finish_reason.map_or("stop", broker::job::EndReason::as_str);
        let message = json!({"role": "assistant", "content": null, "refusal": null});
        choices.push(choice(index, "message", &message, Some(reason), &Value::Null));
        let prompt_tokens = if job.first_job_id.is_none() { job.prompt_tokens } else { 0 };
        used.add(prompt_tokens, job.cached_tokens.unwrap_or(0), output_tokens);
    }
    let Some(first) = jobs.first() else { return Err(Error::NotFound("job")) };
    let (id, created) = (first.job_id.to_string(), first.received_at.timestamp());
    let envelope = Envelope { id: id.clone(), created, model: first.model.clone() };
    let answer = envelope.completion(choices, used.usage());
    Ok(HttpResponse::Ok().insert_header((REQUEST_ID, id)).insert_header(("idempotent-replay", "true")).json(answer))
}

/// Waits for the end of every choice and answers once. A caller that hangs up drops them.
async fn whole(mut running: Running, envelope: &Envelope, tools: bool) -> Result<HttpResponse, Error> {
    let mut outputs: Vec<Output> = (0..running.choices()).map(|_| Output::new(tools)).collect();
    let mut used = Used::default();
    let mut reasons = vec![];
    while let Some((index, event)) = running.next().await {
        match event {
            Event::Text { text, reasoning, logprobs, .. } => {
                outputs[index].reasoning.push_str(&reasoning);
                outputs[index].push(&text);
                outputs[index].logprobs.extend(logprobs);
            }
            // A model that answers makes none.
            Event::Vector(_) => {}
            Event::Ended(ending) => {
                used.end(&ending);
                reasons.push((index, ending.result));
            }
        }
    }
    if reasons.len() < outputs.len() {
        return Err(Error::Internal(anyhow::anyhow!("a job's events ended without its end")));
    }
    reasons.sort_by_key(|(index, _)| *index);
    // The first failure is the request's; the others were stopped for it.
    let reasons = reasons.into_iter().map(|(_, reason)| reason).collect::<Result<Vec<_>, _>>()?;
    let choices = outputs.into_iter().zip(reasons).enumerate().map(|(index, (output, reason))| {
        let told = logprobs(&output.logprobs);
        let (message, reason) = output.finish(&envelope.id, index, reason);
        choice(index, "message", &message, Some(reason), &told)
    });
    let answer = envelope.completion(choices.collect(), used.usage());
    Ok(HttpResponse::Ok().insert_header((REQUEST_ID, envelope.id.clone())).json(answer))
}

/// A whole answer being put together.
struct Output {
    splitter: Option<ToolCallSplitter>,
    reasoning: String,
    content: String,
    calls: Vec<(String, String)>,
    logprobs: Vec<TokenLogprobs>,
}

impl Output {
    fn new(tools: bool) -> Self {
        let splitter = tools.then(ToolCallSplitter::default);
        Self { splitter, reasoning: String::new(), content: String::new(), calls: vec![], logprobs: vec![] }
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

    fn finish(mut self, id: &str, choice: usize, reason: &'static str) -> (Value, &'static str) {
        if let Some(splitter) = self.splitter.take() {
            self.take(splitter.finish());
        }
        let mut message = json!({"role": "assistant", "content": self.content, "refusal": null});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.into();
        }
        if self.calls.is_empty() {
            return (message, reason);
        }
        let calls: Vec<Value> =
            self.calls.iter().enumerate().map(|(index, call)| tool_call(id, choice, index, call)).collect();
        message["content"] = Some(self.content.trim()).filter(|content| !content.is_empty()).into();
        message["tool_calls"] = calls.into();
        (message, called(reason))
    }
}

/// Why an output with calls ended: a cut one says so.
fn called(reason: &'static str) -> &'static str {
    if reason == "stop" { "tool_calls" } else { reason }
}

fn tool_call(id: &str, choice: usize, index: usize, (name, arguments): &(String, String)) -> Value {
    let digits = id.strip_prefix("job_").unwrap_or(id);
    let id = if choice == 0 { format!("call_{digits}_{index}") } else { format!("call_{digits}_{choice}_{index}") };
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// Answers as server-sent events; the last one comes after the settlement's commit.
fn stream(running: Running, envelope: Envelope, tools: bool, include_usage: bool) -> HttpResponse {
    let id = envelope.id.clone();
    let parts = (0..running.choices()).map(|index| Part::new(index, tools)).collect();
    let chunks =
        Chunks { running, envelope, parts, used: Used::default(), include_usage, opened: false, failed: false };
    http::event_stream(&id, chunks.into_stream())
}

/// A stream's state between two events.
struct Chunks {
    running: Running,
    envelope: Envelope,
    parts: Vec<Part>,
    used: Used,
    include_usage: bool,
    opened: bool,
    /// A choice failed: no other is whole.
    failed: bool,
}

/// One choice of a stream.
struct Part {
    index: usize,
    splitter: Option<ToolCallSplitter>,
    calls: usize,
    /// Of tokens whose text was not given yet.
    logprobs: Vec<TokenLogprobs>,
    ended: bool,
}

impl Chunks {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        futures_util::stream::unfold(self, |mut chunks| async move {
            while !chunks.ended() {
                let (index, event) = chunks.running.next().await?;
                let bytes = chunks.write(index, event);
                if !bytes.is_empty() {
                    return Some((Ok(Bytes::from(bytes)), chunks));
                }
            }
            None
        })
    }

    fn ended(&self) -> bool {
        self.parts.iter().all(|part| part.ended)
    }

    fn write(&mut self, index: usize, event: Event) -> String {
        let mut out = String::new();
        if !self.opened {
            self.opened = true;
            let opening = json!({"role": "assistant", "content": ""});
            for index in 0..self.parts.len() {
                http::event(&mut out, &self.envelope.chunk(choice(index, "delta", &opening, None, &Value::Null)));
            }
        }
        let part = &mut self.parts[index];
        match event {
            Event::Text { text, reasoning, logprobs, .. } => {
                if !reasoning.is_empty() {
                    let delta = json!({"reasoning_content": reasoning});
                    http::event(&mut out, &self.envelope.chunk(choice(index, "delta", &delta, None, &Value::Null)));
                }
                part.push(&mut out, &self.envelope, text, logprobs);
            }
            Event::Vector(_) => {}
            Event::Ended(ending) => {
                self.used.end(&ending);
                part.ended = true;
                match ending.result {
                    Ok(reason) if !self.failed => part.end(&mut out, &self.envelope, reason),
                    // It was stopped for another's failure, which was told.
                    Ok(_) => {}
                    Err(_) if self.failed => {}
                    Err(error) => {
                        self.failed = true;
                        http::event(&mut out, &http::error_body(&error));
                    }
                }
                if self.ended() {
                    self.close(&mut out);
                }
            }
        }
        out
    }

    fn close(&self, out: &mut String) {
        if self.include_usage {
            http::event(out, &self.envelope.usage_chunk(self.used.usage()));
        }
        out.push_str(http::DONE);
    }
}

impl Part {
    fn new(index: usize, tools: bool) -> Self {
        Self { index, splitter: tools.then(ToolCallSplitter::default), calls: 0, logprobs: vec![], ended: false }
    }

    fn push(&mut self, out: &mut String, envelope: &Envelope, text: String, logprobs: Vec<TokenLogprobs>) {
        self.logprobs.extend(logprobs);
        let pieces = match &mut self.splitter {
            Some(splitter) => splitter.push(&text),
            None if text.is_empty() => vec![],
            None => vec![Piece::Text(text)],
        };
        self.pieces(out, envelope, pieces);
    }

    fn pieces(&mut self, out: &mut String, envelope: &Envelope, pieces: Vec<Piece>) {
        for piece in pieces {
            let delta = match piece {
                Piece::Text(text) => json!({"content": text}),
                Piece::Call { name } => {
                    let mut call = tool_call(&envelope.id, self.index, self.calls, &(name, String::new()));
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
            http::event(out, &envelope.chunk(choice(self.index, "delta", &delta, None, &told)));
        }
    }

    fn end(&mut self, out: &mut String, envelope: &Envelope, reason: &'static str) {
        let rest = self.splitter.take().map(ToolCallSplitter::finish).unwrap_or_default();
        self.pieces(out, envelope, rest);
        let reason = if self.calls > 0 { called(reason) } else { reason };
        let told = logprobs(&std::mem::take(&mut self.logprobs));
        http::event(out, &envelope.chunk(choice(self.index, "delta", &json!({}), Some(reason), &told)));
    }
}
