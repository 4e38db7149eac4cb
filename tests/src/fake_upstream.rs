//! An engine of a provider's: an OpenAI-compatible completion server over real HTTP that says what a test has it say, since no
//! real one fails on demand. What it says of itself and of the tokens of prompts is true of the bundled model, unless a test
//! has it lie.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokenizers::Tokenizer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::model;
use crate::wait::in_time;

/// How it behaves; a test may change it at any time.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Whose engine it says that it is: `vllm`, `sglang`, or another.
    pub owner: &'static str,
    /// Whether it takes prompts as ids.
    pub reads_ids: bool,
    /// Tokens that it puts around every prompt by itself.
    pub adds_tokens: u64,
    /// Whether it says that it is well.
    pub healthy: bool,
    /// What streamed completions answer, one after the other; the last stays.
    pub turns: VecDeque<Turn>,
}

/// What one streamed completion answers.
#[derive(Clone, Debug)]
pub enum Turn {
    /// A refusal.
    Status(u16),
    /// A stream.
    Stream(Vec<Part>),
}

/// A part of a stream.
#[derive(Clone, Debug)]
pub enum Part {
    /// These bytes.
    Bytes(String),
    /// The connection breaks.
    Cut,
    /// Nothing more comes.
    Silence,
    /// These bytes, again and again.
    Endless(String),
}

/// An engine that runs.
#[derive(Debug)]
pub struct FakeUpstream {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    hung_up: watch::Receiver<u32>,
    _serving: JoinSet<()>,
}

struct Shared {
    manner: Mutex<Manner>,
    asked: Mutex<Vec<Value>>,
    hung_up: watch::Sender<u32>,
    tokenizer: Tokenizer,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// The event of a piece of text.
pub fn piece(text: &str) -> Part {
    event(&json!({"choices": [{"index": 0, "text": text, "finish_reason": null}]}))
}

/// The event of a piece of text with its token ids, as vLLM tells them.
pub fn piece_of(text: &str, ids: &[u32]) -> Part {
    event(&json!({"choices": [{"index": 0, "text": text, "token_ids": ids, "finish_reason": null}]}))
}

/// The event of the end.
pub fn end(reason: &str) -> Part {
    event(&json!({"choices": [{"index": 0, "text": "", "finish_reason": reason}]}))
}

/// The event of the usage, and the stream's last.
pub fn usage(prompt: usize, output: usize) -> Part {
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output});
    let Part::Bytes(bytes) = event(&json!({"choices": [], "usage": usage})) else { unreachable!("events are bytes") };
    Part::Bytes(bytes + "data: [DONE]\n\n")
}

/// Any event.
pub fn event(data: &Value) -> Part {
    Part::Bytes(format!("data: {data}\n\n"))
}

impl FakeUpstream {
    /// Starts it; until it is told more, completions answer nothing.
    pub async fn start(owner: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free loopback ports");
        let address = listener.local_addr().expect("a listener has an address");
        let path = model::folder().join("tokenizer.json");
        let (sender, hung_up) = watch::channel(0);
        let turns = VecDeque::from([Turn::Stream(vec![end("stop")])]);
        let manner = Manner { owner, reads_ids: true, adds_tokens: 0, healthy: true, turns };
        let tokenizer = Tokenizer::from_file(path).expect("the bundled tokenizer can be read");
        let shared =
            Arc::new(Shared { manner: Mutex::new(manner), asked: Mutex::default(), hung_up: sender, tokenizer });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, shared.clone()));
        Self { address, shared, hung_up, _serving: serving }
    }

    /// Its address as programs write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes its ways.
    pub fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.shared.manner());
    }

    /// The next streamed completion answers so, and those after it.
    pub fn answer(&self, parts: impl IntoIterator<Item = Part>) {
        self.behave(|manner| manner.turns = VecDeque::from([Turn::Stream(parts.into_iter().collect())]));
    }

    /// Bodies of the streamed completions that it was asked for.
    pub fn asked(&self) -> Vec<Value> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many completions were hung up on before their end.
    pub async fn hung_up(&mut self, count: u32) {
        let reached = self.hung_up.wait_for(|hung_up| *hung_up >= count);
        in_time("the upstream was hung up on", reached).await.expect("the sender lives as long as we do");
    }
}

impl Shared {
    fn manner(&self) -> std::sync::MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self, text: &str) -> Vec<u32> {
        let encoding = self.tokenizer.encode_fast(text, false).expect("every text has tokens");
        encoding.get_ids().to_vec()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut visits = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let shared = shared.clone();
        // A visitor that breaks off has its own loss.
        visits.spawn(async move { drop(visit(socket, &shared).await) });
    }
}

async fn visit(mut socket: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let Some((path, body)) = read(&mut socket).await? else { return Ok(()) };
    let manner = shared.manner().clone();
    if !manner.healthy {
        return reply(&mut socket, 503, "").await;
    }
    let answer = match path.as_str() {
        "/health" => String::new(),
        "/v1/models" => {
            json!({"data": [{"id": "served", "owned_by": manner.owner, "max_model_len": 1024}]}).to_string()
        }
        "/version" => json!({"version": "0.0.0"}).to_string(),
        "/metrics" => "vllm:num_requests_running{engine=\"0\"} 3\n".to_owned(),
        "/tokenize" => json!({"tokens": shared.tokens(body["prompt"].as_str().unwrap_or_default())}).to_string(),
        "/v1/completions" if body["stream"] == true => return stream(&mut socket, shared, body).await,
        "/v1/completions" => match (&body["prompt"], manner.reads_ids) {
            (Value::Array(ids), true) => counted(ids.len() as u64 + manner.adds_tokens),
            (Value::String(text), _) => counted(shared.tokens(text).len() as u64 + manner.adds_tokens),
            _ => return reply(&mut socket, 400, "").await,
        },
        _ => return reply(&mut socket, 404, "").await,
    };
    reply(&mut socket, 200, &answer).await
}

fn counted(prompt: u64) -> String {
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": 1});
    json!({"choices": [{"index": 0, "text": "a", "finish_reason": "length"}], "usage": usage}).to_string()
}

async fn stream(socket: &mut TcpStream, shared: &Shared, body: Value) -> std::io::Result<()> {
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    let turn = {
        let turns = &mut shared.manner().turns;
        let next = turns.front().cloned();
        if turns.len() > 1 {
            turns.pop_front();
        }
        next
    };
    let parts = match turn {
        Some(Turn::Stream(parts)) => parts,
        Some(Turn::Status(status)) => return reply(socket, status, r#"{"error":{"message":"no"}}"#).await,
        None => return reply(socket, 500, "").await,
    };
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let told = tell(socket, parts).await;
    if !matches!(told, Ok(Told::Whole | Told::Cut)) {
        shared.hung_up.send_modify(|count| *count += 1);
    }
    Ok(())
}

enum Told {
    Whole,
    Cut,
    HungUp,
}

async fn tell(socket: &mut TcpStream, parts: Vec<Part>) -> std::io::Result<Told> {
    for part in parts {
        match part {
            Part::Bytes(bytes) => chunk(socket, &bytes).await?,
            Part::Cut => return Ok(Told::Cut),
            Part::Silence => {
                // It reads nothing but the other side's end.
                while socket.read(&mut [0; 64]).await? > 0 {}
                return Ok(Told::HungUp);
            }
            Part::Endless(bytes) => loop {
                chunk(socket, &bytes).await?;
            },
        }
    }
    socket.write_all(b"0\r\n\r\n").await?;
    Ok(Told::Whole)
}

async fn chunk(socket: &mut TcpStream, bytes: &str) -> std::io::Result<()> {
    socket.write_all(format!("{:x}\r\n{bytes}\r\n", bytes.len()).as_bytes()).await
}

async fn reply(socket: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} S\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    socket.write_all((head + body).as_bytes()).await
}

/// A request's path and JSON body; none when the visitor says nothing.
async fn read(socket: &mut TcpStream) -> std::io::Result<Option<(String, Value)>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    while bytes.len() < head + length {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some((path, serde_json::from_slice(&bytes[head..head + length]).unwrap_or_default())))
}
