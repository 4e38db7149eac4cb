//! The control plane as a client sees it: readiness, models, a streamed completion, a receipt.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::process;

/// A streamed line longer than this is no line of ours.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Everything that a receipt tells.
const RECEIPT: &str = "query($id: ID!) { receipt(jobId: $id) { jobId model promptTokens completionTokens \
    lines { meter quantity unitPrice { perMillion currency } amount { amount currency } } total { amount currency } holdReleased { amount currency } \
    transfers { id kind debit credit amount { amount currency } } block { height hash } } }";

/// A running control plane, seen with one tenant's key.
#[derive(Debug)]
pub struct ControlPlane {
    url: String,
    api_key: String,
    agent: ureq::Agent,
}

/// A completion that was streamed to its end.
#[derive(Debug)]
pub struct Streamed {
    /// The job, from `x-request-id`.
    pub job_id: String,
    /// All of the text.
    pub text: String,
    /// The `usage` of the last chunk.
    pub usage: Value,
    /// From sending the request to the first piece of text.
    pub first_token: Duration,
    /// From sending the request to the end of the stream.
    pub total: Duration,
}

impl ControlPlane {
    /// The one at `url`, such as `http://127.0.0.1:8080`.
    pub fn new(url: &str, api_key: &str) -> ControlPlane {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            // An idle connection of ours would make the control plane wait for us when it is told to stop.
            .max_idle_connections(0)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_recv_body(Some(Duration::from_secs(120)))
            .build()
            .new_agent();
        ControlPlane { url: url.to_owned(), api_key: api_key.to_owned(), agent }
    }

    /// It says that it can serve.
    pub fn is_ready(&self) -> bool {
        let answer = self.agent.get(format!("{}/readyz", self.url)).call();
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// It lists `model` as available, which means that a node serves it.
    pub fn offers(&self, model: &str) -> anyhow::Result<bool> {
        let request = self.agent.get(format!("{}/v1/models", self.url));
        let models = self.json(request.header("authorization", self.bearer()).call()?)?;
        let models = models["data"].as_array().context("/v1/models lists nothing")?;
        Ok(models.iter().any(|entry| entry["id"] == model && entry["available"] != false))
    }

    /// Streams a completion, giving each piece of text to `piece` as it comes.
    ///
    /// *Errors*: a refusal with its body; a stream that ends without `[DONE]`; an interruption between two pieces.
    pub fn stream(&self, model: &str, question: &str, mut piece: impl FnMut(&str)) -> anyhow::Result<Streamed> {
        let started = Instant::now();
        let body = json!({
            "model": model, "stream": true, "stream_options": {"include_usage": true}, "temperature": 0, "max_tokens": 64,
            "messages": [{"role": "user", "content": question}],
        });
        let response = self.post("/v1/chat/completions", &body)?;
        if response.status() != 200 {
            let (status, refusal) = (response.status(), response.into_body().read_to_string());
            bail!("/v1/chat/completions: status {status}: {}", refusal.unwrap_or_default());
        }
        let job_id =
            response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let mut streamed = Streamed {
            job_id,
            text: String::new(),
            usage: Value::Null,
            first_token: Duration::ZERO,
            total: Duration::ZERO,
        };
        let mut done = false;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            process::pause(Duration::ZERO)?;
            let line = line.context("the stream broke")?;
            let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
            if data == "[DONE]" {
                done = true;
                break;
            }
            if data.len() > LINE_BYTES_MAX {
                bail!("a line of the stream is longer than {LINE_BYTES_MAX} bytes");
            }
            let chunk: Value = serde_json::from_str(data).with_context(|| format!("not a chunk: {data}"))?;
            if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
                bail!("the stream ended with an error: {error}");
            }
            if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()) {
                if streamed.text.is_empty() {
                    streamed.first_token = started.elapsed();
                }
                streamed.text.push_str(text);
                piece(text);
            }
            if chunk["usage"].is_object() {
                streamed.usage = chunk["usage"].clone();
            }
        }
        if !done {
            bail!("the stream ended without [DONE] after {:?}", streamed.text);
        }
        streamed.total = started.elapsed();
        Ok(streamed)
    }

    /// The receipt of a finished job.
    pub fn receipt(&self, job_id: &str) -> anyhow::Result<Value> {
        let body = json!({"query": RECEIPT, "variables": {"id": job_id}});
        let answer = self.json(self.post("/graphql", &body)?)?;
        if let Some(errors) = answer.get("errors") {
            bail!("/graphql: {errors}");
        }
        match &answer["data"]["receipt"] {
            Value::Null => bail!("job {job_id} has no receipt"),
            receipt => Ok(receipt.clone()),
        }
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        request.header("authorization", self.bearer()).send(body.to_string()).with_context(|| format!("POST {path}"))
    }

    fn json(&self, response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
        let status = response.status();
        let text = response.into_body().read_to_string().context("an answer that cannot be read")?;
        if status != 200 {
            bail!("status {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.api_key)
    }
}
