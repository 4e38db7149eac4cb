//! Server-sent events of a streamed completion.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::wait::DEADLINE;

/// A stream that is coming in; dropping it hangs up.
pub struct ChatStream {
    /// The answer's headers.
    pub headers: HeaderMap,
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    held: Vec<u8>,
    done: bool,
    patience: Duration,
}

/// A stream that has ended.
#[derive(Clone, Debug, Default)]
pub struct Streamed {
    /// The job's id.
    pub id: String,
    /// All content, in order.
    pub text: String,
    /// The tool calls, put together from their deltas.
    pub tool_calls: Vec<Value>,
    /// How likely the tokens were.
    pub logprobs: Vec<Value>,
    /// Why the output ended.
    pub finish_reason: Option<String>,
    /// The usage chunk's figures.
    pub usage: Option<Value>,
    /// An error event.
    pub error: Option<Value>,
    /// Whether the last event was `[DONE]`.
    pub done: bool,
    /// Whether the connection broke before its end.
    pub broke: bool,
}

impl ChatStream {
    /// Over an answer that is a stream.
    pub fn new(response: reqwest::Response) -> Self {
        let headers = response.headers().clone();
        let bytes = response.bytes_stream().map(|part| part.map(|bytes| bytes.to_vec())).boxed();
        Self { headers, bytes, held: vec![], done: false, patience: DEADLINE }
    }

    /// Each part may take this long.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The next event that is JSON; none after `[DONE]`. *Errors*: the connection broke.
    pub async fn next(&mut self) -> reqwest::Result<Option<Value>> {
        loop {
            if let Some(end) = self.held.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.held.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("events are UTF-8");
                match event.trim_end().strip_prefix("data: ") {
                    Some("[DONE]") => self.done = true,
                    Some(data) => return Ok(Some(serde_json::from_str(data).expect("data is JSON"))),
                    None => panic!("not an event of a completion: {event:?}"),
                }
                continue;
            }
            let next = tokio::time::timeout(self.patience, self.bytes.next());
            match next.await.expect("the stream goes on in time") {
                Some(part) => self.held.extend(part?),
                None => return Ok(None),
            }
        }
    }

    /// Reads until at least this much text has come, and gives it.
    pub async fn text_of(&mut self, characters: usize) -> String {
        let mut text = String::new();
        while text.chars().count() < characters {
            let event = self.next().await.expect("the stream goes on").expect("the stream has not ended yet");
            text.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
        text
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> Streamed {
        let mut all = Streamed::default();
        loop {
            match self.next().await {
                Ok(Some(event)) => all.take(event),
                Ok(None) => break,
                Err(_) => {
                    all.broke = true;
                    break;
                }
            }
        }
        all.done = self.done;
        all
    }
}

impl Streamed {
    fn take(&mut self, mut event: Value) {
        if !event["error"].is_null() {
            self.error = Some(event["error"].take());
            return;
        }
        self.id = event["id"].as_str().unwrap_or_default().to_owned();
        // The usage chunk has no choice.
        if let Some(choice) = event["choices"].get_mut(0) {
            self.text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            if let Value::Array(calls) = choice["delta"]["tool_calls"].take() {
                calls.into_iter().for_each(|call| self.take_call(call));
            }
            if let Value::Array(tokens) = choice["logprobs"]["content"].take() {
                self.logprobs.extend(tokens);
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.finish_reason = Some(reason.to_owned());
            }
        }
        if event["usage"].is_object() {
            self.usage = Some(event["usage"].take());
        }
    }

    /// The first delta of a call has its name; the others have more of its arguments.
    fn take_call(&mut self, call: Value) {
        let index =
            usize::try_from(call["index"].as_u64().expect("a delta names its call")).expect("there are few calls");
        match self.tool_calls.get_mut(index) {
            Some(begun) => {
                let [before, more] = [&begun["function"]["arguments"], &call["function"]["arguments"]];
                let arguments = before.as_str().unwrap_or_default().to_owned() + more.as_str().unwrap_or_default();
                begun["function"]["arguments"] = arguments.into();
            }
            None => self.tool_calls.push(call),
        }
    }
}
