//! The commands that make and measure cells: `quantize` and `align`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use engine::align::{self, Alignment, Effort, Measuring, certificate};
use engine::backend::llama;
use engine::node::identity::Identity;
use engine::node::machine;
use engine::{Model, Upstream, UpstreamConfig, quantise};
use primitives::certificate::{Cell, Certificate, Grade};
use primitives::clock::Clock;
use primitives::id::Ids;
use serde_json::json;

use crate::config::{AlignArgs, QuantizeArgs, UpstreamArg};
use crate::threads;

/// The prompts that stand beside a model.
const PROMPTS: &str = "heldout.jsonl";

/// How long an engine beside this program may take to show that it can be measured.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Writes a model in fewer bits.
pub fn quantize(args: &QuantizeArgs) -> anyhow::Result<()> {
    let from = Model::locate(&args.model)?;
    let to = match &args.out {
        Some(path) => path.clone(),
        None => from.with_file_name(format!(
            "{}-{}.gguf",
            from.file_stem().unwrap_or_default().to_string_lossy(),
            args.to.as_str()
        )),
    };
    let made = quantise::run(&from, &to, args.to, threads(args.threads), &mut |share| show("quantising", share))?;
    let share = made.bytes as f64 / made.bytes_before as f64;
    if args.json {
        println!("{}", json!({ "path": made.path, "bytes": made.bytes, "bytes_before": made.bytes_before }));
    } else {
        println!("{}: {} bytes, {:.1} % of {}", made.path.display(), made.bytes, share * 100.0, made.bytes_before);
    }
    Ok(())
}

/// Measures a cell against the original, and signs the certificate. False when it earned no grade.
pub fn align(args: &AlignArgs, ids: &Ids) -> anyhow::Result<bool> {
    let reference = Model::locate(&args.reference)?;
    let prompts = match &args.prompts {
        Some(path) => path.clone(),
        None => reference.with_file_name(PROMPTS),
    };
    if !prompts.is_file() {
        bail!("which prompts? give --prompts FILE, one JSON object with `messages` (and `tools`) a line");
    }
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let identity = Identity::open(&args.state_dir, ids)?;
    let original = Arc::new(Model::load(&reference)?);
    let (alignment, cell) = match (&args.model, &args.upstream) {
        (_, Some(upstream)) => measure_beside(&original, upstream, &prompts, effort, args.threads, ids)?,
        (Some(model), None) => {
            let other = Arc::new(Model::load(model)?);
            let measuring = Measuring { effort, threads: threads(args.threads), kv: args.kv };
            let alignment = align::measure(&original, &other, &prompts, measuring, &mut show)?;
            let measured = cell(&original, &other.sha256, &other.quantisation, llama::version());
            (alignment, Cell { features: llama::features_with(args.kv), ..measured })
        }
        (None, None) => bail!("what is to be measured? give --model or --upstream"),
    };
    let certificate = certificate::sign(cell, &alignment, Clock::system().now(), &identity);
    let text = serde_json::to_string_pretty(&certificate)?;
    if let Some(path) = &args.out {
        std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        println!("{text}");
    } else {
        tell(&certificate, &alignment);
    }
    Ok(args.quick || certificate.body.claimed > Grade::None)
}

/// Asks an engine beside this program. Its weights are those that its provider says, and what it uses of its chip is unknown.
fn measure_beside(
    original: &Arc<Model>,
    upstream: &UpstreamArg,
    prompts: &Path,
    effort: Effort,
    asked: Option<usize>,
    ids: &Ids,
) -> anyhow::Result<(Alignment, Cell)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let config =
        UpstreamConfig { name: upstream.name.clone(), ..UpstreamConfig::new(upstream.model.clone(), &upstream.url) };
    let upstream = Upstream::start(config, ids)?;
    let ready = runtime.block_on(async { tokio::time::timeout(READY_WITHIN, upstream.ready()).await });
    if ready.is_err() {
        bail!(upstream.condition().err().unwrap_or_default());
    }
    let alignment = align::measure_beside(original, &upstream, prompts, effort, threads(asked), &mut show)?;
    let served = upstream.served();
    Ok((alignment, cell(original, &served.weights_sha256, &served.quantisation, upstream.engine())))
}

fn cell(original: &Model, weights_sha256: &str, quantisation: &str, engine: String) -> Cell {
    Cell {
        reference_sha256: original.sha256.clone(),
        weights_sha256: weights_sha256.to_owned(),
        quantisation: quantisation.to_owned(),
        engine,
        chip: machine::chip().unwrap_or_else(|| std::env::consts::ARCH.into()),
        features: Vec::new(),
    }
}

fn tell(certificate: &Certificate, Alignment { agreement, calls }: &Alignment) {
    let share = agreement.agreed as f64 / agreement.positions.max(1) as f64;
    println!(
        "next tokens   {} of {} the same ({:.3} %), at least {:.3} % with 95 % confidence",
        agreement.agreed,
        agreement.positions,
        share * 100.0,
        agreement.lower_bound * 100.0
    );
    let least =
        if agreement.divergence_coarse { ", at least: over the likeliest 20 and all others together" } else { "" };
    println!("divergence    mean {:.6} nats, p99 {:.6}{least}", agreement.divergence_mean, agreement.divergence_p99);
    if agreement.divergence_coarse {
        println!("not measured  calls of tools, which an engine beside this program draws by itself");
    }
    if let Some(calls) = calls {
        println!(
            "tool calls    {} requests: {} agree on calling, {} of {} calls valid (original {} of {}), {} answers the same",
            calls.requests,
            calls.triggers_agreed,
            calls.valid,
            calls.calls,
            calls.original_valid,
            calls.original_calls,
            calls.same_answers
        );
    }
    let body = &certificate.body;
    println!("grade         {}, until {}", body.claimed.as_str(), body.expires_at.format("%Y-%m-%d"));
}

/// One line that is written over, where somebody looks.
pub fn show(what: &str, share: f64) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{what}: {:3.0} %\u{1b}[K", share * 100.0);
        if share >= 1.0 {
            eprintln!();
        }
    }
}
