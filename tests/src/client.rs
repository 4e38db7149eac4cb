//! What a tenant's programs do: HTTP requests, streams, GraphQL.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::graphql_socket::GraphqlSocket;
use crate::sse::ChatStream;
use crate::wait::in_time;

/// The demo model.
pub const MODEL: &str = "spark-1";

/// A request for a completion of one question, drawn greedily.
pub fn ask(question: &str) -> Chat {
    Chat(json!({"model": MODEL, "messages": [{"role": "user", "content": question}]}))
}

/// A request for some hundred tokens.
pub fn ask_at_length() -> Chat {
    ask("Count from 1 to 100")
}

/// A request for a completion, as its body.
#[derive(Clone, Debug)]
pub struct Chat(pub Value);

impl Chat {
    /// Sets a field of the body.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    /// Limits the output.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.with("max_tokens", tokens)
    }
}

/// A program that knows where the control plane is, and perhaps a key.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    key: Option<String>,
    headers: HeaderMap,
}

/// An answer that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, null when it is not JSON.
    pub body: Value,
}

impl Client {
    /// Without a key, and without memory of sessions.
    pub fn new(address: SocketAddr) -> Self {
        Self { http: reqwest::Client::new(), address, key: None, headers: HeaderMap::new() }
    }

    /// With a key or a session's token.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// A browser: it keeps cookies.
    pub fn browser(&self) -> Self {
        let http = reqwest::Client::builder().cookie_store(true).build().expect("an HTTP client can be made");
        Self { http, ..self.clone() }
    }

    /// Every request carries this idempotency key.
    pub fn with_idempotency_key(&self, key: &str) -> Self {
        self.with_header("idempotency-key", key)
    }

    /// Every request carries this header.
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header's value is text"));
        Self { headers, ..self.clone() }
    }

    /// Asks for a completion and waits for all of it.
    pub async fn chat(&self, chat: &Chat) -> Answer {
        Answer::read(self.send(self.post("/v1/chat/completions").json(&chat.0)).await).await
    }

    /// Asks for a completion; none when the connection breaks before all of it came.
    pub async fn try_chat(&self, chat: &Chat) -> Option<Answer> {
        let response = self.post("/v1/chat/completions").json(&chat.0).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.ok()?;
        Some(Answer { status, headers, body: serde_json::from_slice(&bytes).ok()? })
    }

    /// Asks for a completion as it comes, with a request that says so; panics when it is refused.
    pub async fn stream(&self, chat: &Chat) -> ChatStream {
        self.stream_of("/v1/chat/completions", &chat.0).await
    }

    /// Asks for a completion as it comes, each part of which may take this long. *Errors*: the refusal.
    pub async fn patient_stream(&self, chat: &Chat, patience: Duration) -> Result<ChatStream, Answer> {
        let asking = self.post("/v1/chat/completions").json(&chat.0).send();
        let response = tokio::time::timeout(patience, asking).await.expect("the control plane answers in time");
        let response = response.expect("the control plane answers");
        if response.status().is_success() {
            return Ok(ChatStream::new(response).with_patience(patience));
        }
        Err(Answer::read(response).await)
    }

    /// Asks another route for what comes; panics when it is refused.
    pub async fn stream_of(&self, path: &str, body: &Value) -> ChatStream {
        let response = self.send(self.post(path).json(body)).await;
        if !response.status().is_success() {
            let answer = Answer::read(response).await;
            panic!("the stream was refused: {} {}", answer.status, answer.body);
        }
        ChatStream::new(response)
    }

    /// Asks for embeddings.
    pub async fn embed(&self, body: &Value) -> Answer {
        Answer::read(self.send(self.post("/v1/embeddings").json(body)).await).await
    }

    /// Asks for a text to be gone on from.
    pub async fn complete(&self, body: &Value) -> Answer {
        Answer::read(self.send(self.post("/v1/completions").json(body)).await).await
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::read(self.send(self.request(Method::GET, path)).await).await
    }

    /// Sends a request without a body; one that takes JSON reads none of it before it knows who asks.
    pub async fn knock(&self, method: &str, path: &str) -> Answer {
        let method = method.parse().expect("the method is one of HTTP's");
        Answer::read(self.send(self.request(method, path)).await).await
    }

    /// Posts a body as it is.
    pub async fn post_raw(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.post(path).header("content-type", "application/json").body(body);
        Answer::read(self.send(request).await).await
    }

    /// Asks GraphQL; the whole response, errors included.
    pub async fn graphql(&self, query: &str, variables: Value) -> Value {
        let request = self.post("/graphql").json(&json!({"query": query, "variables": variables}));
        Answer::read(self.send(request).await).await.body
    }

    /// Subscribes by GraphQL, with the same credential.
    pub async fn subscribe(&self, query: &str, variables: Value) -> GraphqlSocket {
        GraphqlSocket::subscribe(self.address, self.key.as_deref(), query, variables).await
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        request = request.headers(self.headers.clone());
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Response {
        in_time("the control plane answered", request.send()).await.expect("the control plane answers")
    }
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = in_time("the answer's body came", response.bytes()).await.expect("the body comes whole");
        Self { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    /// The answer itself; panics when it is a refusal.
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "refused: {}", self.body);
        self
    }

    /// What the assistant said.
    pub fn text(&self) -> &str {
        self.body["choices"][0]["message"]["content"].as_str().unwrap_or_default()
    }

    /// Why the output ended.
    pub fn finish_reason(&self) -> &str {
        self.body["choices"][0]["finish_reason"].as_str().unwrap_or_default()
    }

    /// Tokens by the platform's count.
    pub fn usage(&self) -> &Value {
        &self.body["usage"]
    }

    /// The job's id.
    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap_or_default()
    }

    /// The word for programs of a refusal.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The session's token, when the answer sets its cookie.
    pub fn session(&self) -> Option<&str> {
        let pair = self.header("set-cookie")?.split(';').next()?;
        pair.strip_prefix("tokengrid_session=")
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The same request as a stream that tells its usage.
pub fn streamed(chat: &Chat) -> Chat {
    chat.clone().with("stream", true).with("stream_options", json!({"include_usage": true}))
}
