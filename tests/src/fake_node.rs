//! A node that says whatever a test wants: the peer that a real node never is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use ed25519_dalek::{Signer, SigningKey};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId};
use primitives::node_protocol::{
    Credential, EmbeddingFrame, FinishReason, FromNode, Hello, Load, NodeDescriptor, Receipt, Sampling, ServedModel,
    SignedReceipt, Terms, Tier, ToNode, TokenFrame, VERSION, Work, output_sha256, proof_message,
};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::model;
use crate::system::TestSystem;
use crate::wait::in_time;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How often a fake node tells its load.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A connection to the node gateway on which nothing was said yet.
#[derive(Debug)]
pub struct NodeSocket {
    sink: Arc<Mutex<SplitSink<Socket, Message>>>,
    stream: SplitStream<Socket>,
}

impl NodeSocket {
    /// Connects.
    pub async fn dial(address: SocketAddr) -> Self {
        let dialling = connect_async(format!("ws://{address}/nodes"));
        let (socket, _) = in_time("the node gateway answered", dialling).await.expect("the node gateway opens sockets");
        let (sink, stream) = socket.split();
        Self { sink: Arc::new(Mutex::new(sink)), stream }
    }

    /// Says something of the protocol.
    pub async fn say(&self, message: &FromNode) {
        self.say_raw(&serde_json::to_string(message).expect("protocol messages are plain data")).await;
    }

    /// Says anything.
    pub async fn say_raw(&self, text: &str) {
        // A socket that the other side closed tells so when it is read.
        self.sink.lock().await.send(Message::text(text)).await.ok();
    }

    /// Hears the next message; none when the other side closed.
    pub async fn hear(&mut self) -> Option<ToNode> {
        loop {
            match in_time("the control plane spoke to the node", self.stream.next()).await? {
                Ok(Message::Text(text)) => {
                    return Some(serde_json::from_str(&text).expect("a message of the protocol"));
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Says HELLO, answers the challenge with `key`, and gives the answer to that.
    pub async fn introduce(&mut self, hello: Hello, key: &SigningKey) -> ToNode {
        let descriptor_sha256 = hello.descriptor.sha256();
        self.say(&FromNode::Hello(Box::new(hello))).await;
        let nonce = match self.hear().await.expect("an answer to HELLO") {
            ToNode::Challenge { nonce } => hex::decode(nonce).expect("a nonce in hexadecimal"),
            other => return other,
        };
        let proof = proof_message(&nonce, key.verifying_key().as_bytes(), &descriptor_sha256);
        self.say(&FromNode::Proof { signature: hex::encode(key.sign(&proof).to_bytes()) }).await;
        self.hear().await.expect("an answer to PROOF")
    }
}

/// A key nobody else has.
pub fn new_key() -> SigningKey {
    SigningKey::from_bytes(&Ids::random(Clock::system()).bytes())
}

/// The greeting of an honest node at its first visit.
pub fn hello(token: &str, key: &SigningKey) -> Hello {
    let public_key = hex::encode(key.verifying_key().to_bytes());
    Hello {
        protocol: VERSION,
        credential: Credential::Join { token: token.to_owned(), public_key },
        descriptor: descriptor(model::served(4)),
        certificates: vec![],
    }
}

/// What a node with this model says of itself.
pub fn descriptor(served: ServedModel) -> NodeDescriptor {
    NodeDescriptor {
        name: "fake".to_owned(),
        tier: Tier::Terminal,
        chip: "none".to_owned(),
        threads: 1,
        memory_bytes: 1 << 30,
        engine: "llama.cpp fake".to_owned(),
        version: "0.0.0".to_owned(),
        models: vec![served],
    }
}

/// Work that a fake node took.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Which job.
    pub job_id: JobId,
    /// Under which fencing token.
    pub epoch: u32,
    /// What is to be done.
    pub work: Work,
}

/// Work of nothing, for a lease of texts.
pub fn no_work() -> Work {
    Work {
        prompt: vec![],
        resume: vec![],
        resume_text_bytes: 0,
        output_tokens_max: 0,
        stop: vec![],
        sampling: Sampling::greedy(),
        terms: Terms::default(),
        grammar: None,
        logprobs: None,
    }
}

/// A fake node that is connected and tells its load as a real one does.
#[derive(Debug)]
pub struct FakeNode {
    /// What the control plane calls it.
    pub id: NodeId,
    /// Its key.
    pub key: SigningKey,
    socket: NodeSocket,
    beating: JoinSet<()>,
    /// How many frames each lease has sent.
    frames: Mutex<HashMap<(JobId, u32), u32>>,
}

impl FakeNode {
    /// Joins with a token of its own.
    pub async fn join(system: &TestSystem) -> Self {
        Self::join_serving(system, model::served(4)).await
    }

    /// Joins with a token of its own, to serve this model.
    pub async fn join_serving(system: &TestSystem, served: ServedModel) -> Self {
        Self::join_as(system, |hello, _| Hello { descriptor: descriptor(served), ..hello }).await
    }

    /// Joins with a token of its own, saying of itself what `say` makes of an honest greeting.
    pub async fn join_as(system: &TestSystem, say: impl FnOnce(Hello, &SigningKey) -> Hello) -> Self {
        let token = system.join_token(TimeDelta::hours(1)).await;
        Self::join_with(system, &token, say).await
    }

    /// Joins with this token, saying of itself what `say` makes of an honest greeting.
    pub async fn join_with(system: &TestSystem, token: &str, say: impl FnOnce(Hello, &SigningKey) -> Hello) -> Self {
        let key = new_key();
        let mut socket = NodeSocket::dial(system.control_plane.address).await;
        let answer = socket.introduce(say(hello(token, &key), &key), &key).await;
        Self::welcomed(socket, key, &answer)
    }

    /// Comes back on a new connection.
    pub async fn reconnect(address: SocketAddr, id: NodeId, key: SigningKey) -> Self {
        let mut socket = NodeSocket::dial(address).await;
        let credential = Credential::Known { node_id: id };
        let hello = Hello { credential, ..hello("", &key) };
        let answer = socket.introduce(hello, &key).await;
        Self::welcomed(socket, key, &answer)
    }

    fn welcomed(socket: NodeSocket, key: SigningKey, answer: &ToNode) -> Self {
        let ToNode::Welcome { node_id, .. } = answer else { panic!("the fake node was not let in: {answer:?}") };
        let mut node = Self { id: *node_id, key, socket, beating: JoinSet::new(), frames: Mutex::default() };
        let sink = node.socket.sink.clone();
        node.beating.spawn(async move {
            let beat = serde_json::to_string(&FromNode::Heartbeat(Load::default())).expect("a heartbeat is plain data");
            let mut beats = tokio::time::interval(HEARTBEAT);
            loop {
                beats.tick().await;
                if sink.lock().await.send(Message::text(beat.clone())).await.is_err() {
                    return;
                }
            }
        });
        node
    }

    /// Accepts offers until work comes, and gives it.
    pub async fn take(&mut self) -> Lease {
        loop {
            match self.hear().await.expect("the control plane keeps the node") {
                ToNode::Offer(offer) => {
                    let (job_id, epoch) = (offer.job_id, offer.epoch);
                    self.say(&FromNode::Accept { job_id, epoch }).await;
                }
                ToNode::Commit { job_id, epoch, work } => return Lease { job_id, epoch, work: *work },
                _ => {}
            }
        }
    }

    /// Hears the next message; none when the control plane closed the connection.
    pub async fn hear(&mut self) -> Option<ToNode> {
        self.socket.hear().await
    }

    /// Hears messages until a job is cancelled here, and gives its lease's epoch.
    pub async fn cancelled(&mut self, wanted: JobId) -> u32 {
        loop {
            if let ToNode::Cancel { job_id, epoch } = self.hear().await.expect("the control plane keeps the node")
                && job_id == wanted
            {
                return epoch;
            }
        }
    }

    /// Says something of the protocol.
    pub async fn say(&self, message: &FromNode) {
        if let FromNode::Tokens(TokenFrame { job_id, epoch, seq, .. })
        | FromNode::Embedding(EmbeddingFrame { job_id, epoch, seq, .. }) = message
        {
            let mut frames = self.frames.lock().await;
            let sent = frames.entry((*job_id, *epoch)).or_default();
            *sent = (*sent).max(seq + 1);
        }
        self.socket.say(message).await;
    }

    /// Says anything.
    pub async fn say_raw(&self, text: &str) {
        self.socket.say_raw(text).await;
    }

    /// Sends one frame of tokens.
    pub async fn tokens(&self, lease: &Lease, seq: u32, ids: &[u32], text: &str) {
        let Lease { job_id, epoch, .. } = *lease;
        let (ids, text) = (ids.to_vec(), text.to_owned());
        self.say(&FromNode::Tokens(TokenFrame { job_id, epoch, seq, ids, text, logprobs: vec![] })).await;
    }

    /// Says that the job is done, with an honest receipt over these ids.
    pub async fn finish(&self, lease: &Lease, reason: FinishReason, ids: &[u32]) {
        self.finish_claiming(lease, reason, ids, 0).await;
    }

    /// Says that the job is done, with an honest receipt, and that so many tokens of its prompt were cached.
    pub async fn finish_claiming(&self, lease: &Lease, reason: FinishReason, ids: &[u32], cached_tokens: u32) {
        self.end_with(reason, cached_tokens, self.receipt(lease, ids)).await;
    }

    /// Says that the job is done, with any receipt, signed well.
    pub async fn finish_with(&self, reason: FinishReason, receipt: Receipt) {
        self.end_with(reason, 0, receipt).await;
    }

    async fn end_with(&self, reason: FinishReason, cached_tokens: u32, receipt: Receipt) {
        let frames = self.frames.lock().await.get(&(receipt.job_id, receipt.epoch)).copied().unwrap_or(0);
        let receipt = Box::new(self.signed(receipt));
        self.say(&FromNode::Finished { reason, frames, cached_tokens, receipt }).await;
    }

    /// A receipt with this node's signature.
    pub fn signed(&self, receipt: Receipt) -> SignedReceipt {
        let signature = hex::encode(self.key.sign(&receipt.signed_bytes()).to_bytes());
        SignedReceipt { receipt, signature }
    }

    /// An honest receipt over these ids.
    pub fn receipt(&self, lease: &Lease, ids: &[u32]) -> Receipt {
        Receipt {
            job_id: lease.job_id,
            epoch: lease.epoch,
            node_id: self.id,
            prompt_tokens: u32::try_from(lease.work.prompt.len()).expect("a prompt is short"),
            output_tokens: u32::try_from(ids.len()).expect("an output is short"),
            output_sha256: output_sha256(ids),
            first_token_ms: 1,
            total_ms: 2,
        }
    }

    /// Says nothing more by itself, and keeps the connection.
    pub fn fall_silent(&mut self) {
        self.beating.abort_all();
    }
}
