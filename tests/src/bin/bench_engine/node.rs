//! Our side: `tokengrid-node run`, with this bench as its control plane.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail};
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId};
use primitives::node_protocol::{FromNode, Offer, Sampling, Terms, ToNode, Work};
use tests::folder::Folder;
use tests::program::Program;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::side::{Answer, Ask};

pub const NOTE: &str = "`tokengrid-node run`, driven over its node protocol as a control plane drives it: JSON text for every token, on a \
     WebSocket over the loopback interface; no HTTP";

type Socket = WebSocketStream<TcpStream>;

/// How a side is sized.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub slots: usize,
    pub context: usize,
    pub threads: usize,
}

/// A node that is connected.
pub struct Node {
    model: String,
    metrics_port: u16,
    desk: Arc<Desk>,
    /// As many jobs are offered at once as there are slots; the rest waits here, as in a broker's queue.
    free: Semaphore,
    ids: Ids,
    // In this order: who hears ends before whom it hears.
    _talking: JoinSet<()>,
    _program: Program,
}

/// Where messages of jobs meet their askers.
struct Desk {
    outgoing: mpsc::UnboundedSender<ToNode>,
    jobs: Mutex<HashMap<JobId, mpsc::UnboundedSender<(Instant, FromNode)>>>,
}

impl Node {
    /// Starts one and waits until it is ready.
    pub async fn start(program: &Path, model: &Path, size: Size, folder: &Folder) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let metrics_port = free_port().await?;
        let ids = Ids::random(Clock::system());
        let name = ids.next::<NodeId>();
        let text = |path: &Path| path.display().to_string();
        let args = [
            ("control-plane", format!("http://{}", listener.local_addr()?)),
            ("join-token", "bench".to_owned()),
            ("state-dir", text(&folder.join(format!("node-{name}")))),
            ("model", text(model)),
            ("slots", size.slots.to_string()),
            ("context", size.context.to_string()),
            ("threads", size.threads.to_string()),
            ("metrics-port", metrics_port.to_string()),
        ];
        let args: Vec<String> = args.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect();
        let args: Vec<String> = std::iter::once("run".to_owned()).chain(args).collect();
        let log = folder.join(format!("node-{name}.log"));
        let mut process = Program::start(&text(program), &args, &[], log.clone());
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            status = process.ended() => bail!("the node ended ({status}): {}", std::fs::read_to_string(&log)?),
        };
        accepted.set_nodelay(true)?;
        let (mut sink, mut stream) = accept_async(accepted).await?.split();
        let (outgoing, mut queue) = mpsc::unbounded_channel();
        let say = |message: ToNode| outgoing.send(message).context("the node is gone");
        let mut talking = JoinSet::new();
        talking.spawn(async move {
            while let Some(message) = queue.recv().await {
                let text = serde_json::to_string(&message).expect("protocol messages are plain data");
                if sink.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
        });
        let Some(FromNode::Hello(hello)) = hear(&mut stream).await else { bail!("the node does not introduce itself") };
        say(ToNode::Challenge { nonce: "00".repeat(32) })?;
        let Some(FromNode::Proof { .. }) = hear(&mut stream).await else { bail!("the node proves nothing") };
        say(ToNode::Welcome { node_id: ids.next(), heartbeat_ms: 1_000 })?;
        let served = hello.descriptor.models.first().context("the node serves no model")?;
        let desk = Arc::new(Desk { outgoing, jobs: Mutex::default() });
        talking.spawn(listen(stream, desk.clone()));
        let (model, free) = (served.model.clone(), Semaphore::new(size.slots));
        Ok(Self { model, metrics_port, desk, free, ids, _talking: talking, _program: process })
    }

    /// Asks for one output.
    pub async fn ask(&self, ask: &Ask, mut heard: impl FnMut()) -> anyhow::Result<Answer> {
        let mut answer = Answer { asked: Instant::now(), came: Vec::new(), ids: Vec::new() };
        let _slot = self.free.acquire().await?;
        let (job_id, epoch) = (self.ids.next::<JobId>(), 1);
        let (told, mut news) = mpsc::unbounded_channel();
        self.desk.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(job_id, told);
        let offer = Offer {
            job_id,
            epoch,
            expires_ms: 10_000,
            model: self.model.clone(),
            prompt_tokens: ask.prompt.len() as u32,
            output_tokens_max: ask.output,
            priority: 0,
        };
        let say = |message: ToNode| self.desk.outgoing.send(message).context("the node is gone");
        say(ToNode::Offer(offer))?;
        loop {
            let (at, message) = news.recv().await.context("the node is gone")?;
            match message {
                FromNode::Accept { .. } => say(ToNode::Commit { job_id, epoch, work: Box::new(work(ask)) })?,
                FromNode::Tokens(frame) => {
                    answer.came.extend(frame.ids.iter().map(|_| at));
                    answer.ids.extend(frame.ids);
                    heard();
                }
                FromNode::Finished { .. } => break,
                other => bail!("the node says {other:?}"),
            }
        }
        self.desk.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&job_id);
        Ok(answer)
    }

    /// What its serving loop took so far, and of that the library's decode. *Units*: seconds.
    pub async fn spent(&self) -> anyhow::Result<(f64, f64)> {
        let page = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.metrics_port)).await?.text().await?;
        let counter = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok()).map(|micros| micros / 1e6)
        };
        let step = counter("tokengrid_engine_step_microseconds_total").context("the node counts no steps")?;
        let decode = counter("tokengrid_engine_decode_microseconds_total").context("the node counts no decodes")?;
        Ok((step, decode))
    }
}

/// A port of the loopback interface that nobody has now.
pub async fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

fn work(ask: &Ask) -> Work {
    Work {
        prompt: ask.prompt.clone(),
        resume: Vec::new(),
        resume_text_bytes: 0,
        output_tokens_max: ask.output,
        stop: Vec::new(),
        sampling: Sampling { logit_bias: vec![(ask.end, -100.0)], ..Sampling::greedy() },
        terms: Terms { cache_salt: ask.salt.clone(), ..Terms::default() },
        grammar: None,
        logprobs: None,
    }
}

async fn listen(mut stream: SplitStream<Socket>, desk: Arc<Desk>) {
    while let Some(message) = hear(&mut stream).await {
        let at = Instant::now();
        let job_id = match &message {
            FromNode::Accept { job_id, .. } | FromNode::Decline { job_id, .. } | FromNode::Failed { job_id, .. } => {
                *job_id
            }
            FromNode::Tokens(frame) => frame.job_id,
            FromNode::Finished { receipt, .. } => receipt.receipt.job_id,
            _ => continue,
        };
        if let Some(told) = desk.jobs.lock().unwrap_or_else(PoisonError::into_inner).get(&job_id) {
            // Who asked may have given up.
            told.send((at, message)).ok();
        }
    }
    // Whoever still waits learns that nothing comes.
    desk.jobs.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

async fn hear(stream: &mut SplitStream<Socket>) -> Option<FromNode> {
    loop {
        if let Message::Text(text) = stream.next().await?.ok()? {
            return serde_json::from_str(&text).ok();
        }
    }
}
