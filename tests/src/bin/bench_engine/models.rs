//! The models that are measured: made with random weights, since the shipped one fits a processor's cache.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde_json::Value;
use tests::folder::Folder;
use tests::model;
use tokio::process::Command;

use crate::plan::Plan;

/// The same weights twice.
#[derive(Debug)]
pub struct Models {
    /// 32 bits a weight.
    pub original: PathBuf,
    /// Eight.
    pub quantised: PathBuf,
    /// The second file's size divided by the first's.
    pub size_ratio: f64,
}

impl Models {
    /// Makes both, with the script of the engine and the node's own `quantize`.
    pub async fn make(plan: &Plan, node: &Path, folder: &Folder) -> anyhow::Result<Self> {
        let (original, quantised) = (folder.join("random-f32.gguf"), folder.join("random-q8_0.gguf"));
        let script = model::workspace().join("engine/models/random_weights.py");
        said(Command::new("python3").arg(script).arg(plan.kind).arg(&original)).await?;
        let mut quantize = Command::new(node);
        quantize.args(["quantize", "--to", "q8_0", "--json", "--model"]).arg(&original).arg("--out").arg(&quantised);
        let made: Value = serde_json::from_str(&said(&mut quantize).await?)?;
        let bytes = |name: &str| made[name].as_f64().context("quantize tells no sizes");
        let size_ratio = bytes("bytes")? / bytes("bytes_before")?;
        Ok(Self { original, quantised, size_ratio })
    }
}

/// How the shipped model in eight bits agrees with itself in sixteen.
#[derive(Clone, Copy, Debug)]
pub struct Aligned {
    /// Next tokens compared.
    pub positions: f64,
    /// The same next token, at least, with 95 % confidence.
    pub lower_bound: f64,
}

/// Measures that, as a certificate needs it.
pub async fn align(node: &Path, folder: &Folder) -> anyhow::Result<Aligned> {
    let (shipped, smaller) = (model::folder(), folder.join("shipped-q8_0.gguf"));
    said(Command::new(node).args(["quantize", "--to", "q8_0", "--model"]).arg(&shipped).arg("--out").arg(&smaller))
        .await?;
    let mut align = Command::new(node);
    align.args(["align", "--json", "--reference"]).arg(&shipped).arg("--model").arg(&smaller);
    align.arg("--state-dir").arg(folder.join("aligner"));
    let certificate: Value = serde_json::from_str(&said(&mut align).await?)?;
    let figure = |name: &str| find(&certificate, name).with_context(|| format!("the certificate has no {name}"));
    Ok(Aligned { positions: figure("positions")?, lower_bound: figure("lower_bound")? })
}

/// The first number of this name, however deep.
fn find(value: &Value, name: &str) -> Option<f64> {
    match value {
        Value::Object(fields) => {
            let own = fields.get(name).and_then(Value::as_f64);
            own.or_else(|| fields.values().find_map(|value| find(value, name)))
        }
        _ => None,
    }
}

async fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("running {command:?}"))?;
    anyhow::ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
