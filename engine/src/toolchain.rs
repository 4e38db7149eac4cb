//! The commands that make and measure cells: `quantize` and `align`.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail};
use engine::align::{self, Alignment, Effort, certificate};
use engine::backend::llama;
use engine::node::identity::Identity;
use engine::node::machine;
use engine::{Model, quantise};
use primitives::certificate::{Cell, Certificate, Grade};
use primitives::clock::Clock;
use primitives::id::Ids;
use serde_json::json;

use crate::config::{AlignArgs, QuantizeArgs};
use crate::threads;

/// The prompts that stand beside a model.
const PROMPTS: &str = "heldout.jsonl";

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
    let (original, other) = (Arc::new(Model::load(&reference)?), Arc::new(Model::load(&args.model)?));
    let alignment = align::measure(&original, &other, &prompts, effort, threads(args.threads), &mut show)?;
    let cell = Cell {
        reference_sha256: original.sha256.clone(),
        weights_sha256: other.sha256.clone(),
        quantisation: other.quantisation.clone(),
        engine: llama::version(),
        chip: machine::chip().unwrap_or_else(|| std::env::consts::ARCH.into()),
        features: llama::features(),
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

fn tell(certificate: &Certificate, Alignment { agreement, calls }: &Alignment) {
    let share = agreement.agreed as f64 / agreement.positions.max(1) as f64;
    println!(
        "next tokens   {} of {} the same ({:.3} %), at least {:.3} % with 95 % confidence",
        agreement.agreed,
        agreement.positions,
        share * 100.0,
        agreement.lower_bound * 100.0
    );
    println!("divergence    mean {:.6} nats, p99 {:.6}", agreement.divergence_mean, agreement.divergence_p99);
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
fn show(what: &str, share: f64) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{what}: {:3.0} %\u{1b}[K", share * 100.0);
        if share >= 1.0 {
            eprintln!();
        }
    }
}
