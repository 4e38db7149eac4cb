//! What `run --reference` measures before a node comes: how near a model is to its original, and how fast it is.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use engine::bench::quick;
use engine::node::serving::Serving;
use engine::{Model, backend::llama};
use primitives::certificate::Certificate;
use primitives::clock::Clock;
use primitives::node_protocol::Speed;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::RunArgs;

/// How long a look at alignment may take, of each model.
const ALIGN_WITHIN: Duration = Duration::from_secs(50);
/// How long a look at speed may take, of each model.
const SPEED_WITHIN: Duration = Duration::from_secs(5);

/// Certificates, each of few positions, of the models that are not their originals' own weights and that no given certificate is of. Each is
/// kept beside the identity, and measured again when it has run out or its cell is another. What cannot be measured is logged alone.
pub async fn certificates(args: &RunArgs, given: &[Certificate]) -> Vec<Certificate> {
    let mut found = Vec::new();
    for model in &args.model {
        match certificate(args, model, given).await {
            Ok(certificate) => found.extend(certificate),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(model = %model.display(), error, "how near it is to its original is not known");
            }
        }
    }
    found
}

async fn certificate(args: &RunArgs, model: &Path, given: &[Certificate]) -> anyhow::Result<Option<Certificate>> {
    let (id, weights_sha256) = Model::identify(model)?;
    let mut original = None;
    for reference in &args.reference {
        let (name, sha256) = Model::identify(reference)?;
        if name == id && sha256 != weights_sha256 {
            original = Some((reference, sha256));
        }
    }
    let Some((reference, reference_sha256)) = original else { return Ok(None) };
    if given.iter().any(|certificate| certificate.body.cell.weights_sha256 == weights_sha256) {
        return Ok(None);
    }
    let kept = args.about.state_dir.join(format!("first-look-{}.json", weights_sha256.get(..16).unwrap_or_default()));
    let features = llama::features_with(args.engine.kv);
    let is_of_it = |certificate: &Certificate| {
        let cell = &certificate.body.cell;
        certificate.holds(Clock::system().now())
            && (&cell.reference_sha256, &cell.weights_sha256) == (&reference_sha256, &weights_sha256)
            && (&cell.engine, &cell.features) == (&llama::version(), &features)
    };
    if let Some(certificate) = read(&kept).ok().filter(is_of_it) {
        return Ok(Some(certificate));
    }
    // A process of its own gives all its memory back before the models are loaded.
    let mut align = Command::new("/proc/self/exe");
    align.args(["align", "--quick", "--kv", args.engine.kv.as_str()]).arg("--state-dir").arg(&args.about.state_dir);
    align.arg("--reference").arg(reference).arg("--model").arg(model).arg("--out").arg(&kept);
    if let Some(threads) = args.engine.threads {
        align.args(["--threads", &threads.to_string()]);
    }
    align.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).kill_on_drop(true);
    let ended = timeout(ALIGN_WITHIN, align.status()).await;
    let status = ended.with_context(|| format!("it takes longer than {} s", ALIGN_WITHIN.as_secs()))??;
    anyhow::ensure!(status.success(), "`tokengrid-node align --quick` failed: {status}");
    read(&kept).map(Some)
}

fn read(path: &Path) -> anyhow::Result<Certificate> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// How fast an engine of ours is; nothing of one that embeds, nor of one that has no memory now.
pub fn speed(serving: &Serving) -> Option<Speed> {
    match serving {
        Serving::Bundled(engine) => quick::measure(engine, SPEED_WITHIN).ok(),
        Serving::Shelved(shelved) => quick::measure(&*shelved.claim().ok()?.engine().ok()?, SPEED_WITHIN).ok(),
        Serving::Upstream(_) => None,
    }
}
