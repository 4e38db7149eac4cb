//! The rival: llama.cpp's own server, where `--llama-server` names it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tests::folder::Folder;
use tests::program::Program;
use tests::wait::eventually;

use crate::node::{Size, free_port};
use crate::side::{Answer, Ask};

pub const NOTE: &str = "`/completion` over HTTP on the loopback interface, streamed: JSON text for every token; its own defaults but for slots, \
     context, threads and flash attention, and OpenMP spinning as little as in our node";

/// A running server.
pub struct LlamaServer {
    address: String,
    client: reqwest::Client,
    _program: Program,
}

impl LlamaServer {
    /// Starts one and waits until it is ready.
    pub async fn start(program: &Path, model: &Path, size: Size, folder: &Folder) -> anyhow::Result<Self> {
        let port = free_port().await?;
        let args = [
            ("--model", model.display().to_string()),
            ("--host", "127.0.0.1".to_owned()),
            ("--port", port.to_string()),
            ("--parallel", size.slots.to_string()),
            ("--ctx-size", (size.slots * size.context).to_string()),
            ("--threads", size.threads.to_string()),
            ("--flash-attn", "on".to_owned()),
        ];
        let args: Vec<String> = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let spin = [("GOMP_SPINCOUNT".to_owned(), "1000".to_owned())];
        let log = folder.join(format!("llama-server-{port}.log"));
        let mut process = Program::start(&program.display().to_string(), &args, &spin, log.clone());
        let address = format!("http://127.0.0.1:{port}");
        // It closes connections that wait for a while, just when one wants to use them.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
        let health = format!("{address}/health");
        let ready = eventually("llama.cpp's server was ready", async || {
            let health = client.get(&health).send().await;
            if health.is_ok_and(|health| health.status().is_success()) {
                return Some(true);
            }
            tokio::time::timeout(Duration::ZERO, process.ended()).await.is_ok().then_some(false)
        });
        if !ready.await {
            bail!("llama.cpp's server does not come up: {}", std::fs::read_to_string(&log)?);
        }
        Ok(Self { address, client, _program: process })
    }

    /// Asks for one output.
    pub async fn ask(&self, ask: &Ask, mut heard: impl FnMut()) -> anyhow::Result<Answer> {
        let mut answer = Answer { asked: Instant::now(), came: Vec::new(), ids: Vec::new() };
        let body = json!({
            "prompt": ask.prompt, "n_predict": ask.output, "temperature": 0, "logit_bias": [[ask.end, false]],
            "stream": true, "return_tokens": true, "cache_prompt": true,
        });
        let response = self.client.post(format!("{}/completion", self.address)).json(&body).send().await?;
        let mut parts = response.error_for_status()?.bytes_stream();
        let mut held: Vec<u8> = Vec::new();
        while let Some(part) = parts.next().await {
            held.extend_from_slice(&part?);
            let at = Instant::now();
            while let Some(end) = held.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = held.drain(..end + 2).collect();
                let data = event.strip_prefix(b"data: ").context("not an event of a completion")?;
                let event: Value = serde_json::from_slice(data)?;
                if let Some(error) = event.get("error") {
                    bail!("llama.cpp's server refuses: {error}");
                }
                let ids = event["tokens"].as_array().into_iter().flatten().filter_map(Value::as_u64);
                answer.ids.extend(ids.map(|id| id as u32));
                // It holds back tokens that end within a character, but counts them.
                let made = event["tokens_predicted"].as_u64().context("an event without a count")? as usize;
                if made > answer.came.len() {
                    answer.came.resize(made, at);
                    heard();
                }
                if event["stop"] == true {
                    return Ok(answer);
                }
            }
        }
        bail!("llama.cpp's server broke off")
    }
}
