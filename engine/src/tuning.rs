//! The command `tune`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use engine::backend::llama;
use engine::tune::{self, Settings, Tried, Tuning};
use engine::{EngineConfig, Model, quantise};
use serde_json::json;

use crate::config::{EngineArgs, TuneArgs};
use crate::toolchain::show;
use crate::{sized, threads};

/// Searches for better settings, and says how to serve with them. Models that were made for the search and lost are removed.
pub async fn tune(args: TuneArgs) -> anyhow::Result<()> {
    let files = files(&args)?;
    let models = files.iter().map(|file| Model::load(file).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let base = sized(&args.engine, EngineConfig::for_model(&models[0], threads(args.engine.threads)));
    let mut print = |tried: &Tried| {
        if !args.json {
            println!("{}", line(tried, &models));
        }
    };
    if !args.json {
        println!("{}, {}; beginning with {}", models[0].id, llama::version(), words(first(&base), &models));
    }
    let tuning = tune::run(&models, base, Duration::from_secs_f64(args.minutes * 60.0), &mut print).await?;
    for (index, file) in files.iter().enumerate().skip(1) {
        if index != tuning.best.model {
            std::fs::remove_file(file).with_context(|| format!("{} cannot be removed", file.display()))?;
        }
    }
    let file = &files[tuning.best.model];
    if args.json {
        let quantisations: Vec<&str> = models.iter().map(|model| model.quantisation.as_str()).collect();
        let found = json!({ "model": file, "models": quantisations, "engine": llama::version(), "tuning": tuning });
        println!("{found:#}");
    } else {
        tell(&tuning, file, &args.engine, &models);
    }
    Ok(())
}

/// The model to be served, and those made of it in fewer bits.
fn files(args: &TuneArgs) -> anyhow::Result<Vec<PathBuf>> {
    let from = Model::locate(&args.model)?;
    let dir = args.out_dir.clone().unwrap_or_else(|| from.parent().unwrap_or(Path::new(".")).into());
    let stem = from.file_stem().unwrap_or_default().to_string_lossy();
    let mut files = vec![args.model.clone()];
    for &precision in &args.quantize {
        let to = dir.join(format!("{stem}-{}.gguf", precision.as_str()));
        anyhow::ensure!(!to.exists(), "{} exists already: name it with --model, or move it away", to.display());
        quantise::run(&from, &to, precision, threads(args.engine.threads), &mut |share| show("quantising", share))?;
        files.push(to);
    }
    Ok(files)
}

fn first(base: &EngineConfig) -> Settings {
    Settings {
        model: 0,
        threads: base.threads,
        step_tokens: base.step_tokens_max,
        chunk_tokens: base.chunk_tokens_max,
        kv: base.kv,
    }
}

fn words(settings: Settings, models: &[Arc<Model>]) -> String {
    let Settings { model, threads, step_tokens, chunk_tokens, kv } = settings;
    let quantisation = &models[model].quantisation;
    format!("{quantisation}, threads {threads}, step {step_tokens}, chunk {chunk_tokens}, kv {}", kv.as_str())
}

fn line(tried: &Tried, models: &[Arc<Model>]) -> String {
    let how = match tried.ratio {
        Some(ratio) => format!("{ratio:5.2} ×{}", if tried.kept { "  kept" } else { "" }),
        None => "cannot be had".into(),
    };
    format!("  {:<60} {how}", words(tried.settings, models))
}

fn tell(tuning: &Tuning, file: &Path, args: &EngineArgs, models: &[Arc<Model>]) {
    let Tuning { default, best, ratio, .. } = tuning;
    if best == default {
        return println!("Nothing was faster on other traffic: what you began with is best.");
    }
    println!("{ratio:.2} × as fast as what you began with, on traffic that it was not chosen by. Serve with:");
    let Settings { threads, step_tokens, chunk_tokens, kv, .. } = best;
    println!(
        "  tokengrid-node run --model {} --slots {} --threads {threads} --step-tokens {step_tokens} --chunk-tokens \
         {chunk_tokens} --kv {}",
        file.display(),
        args.slots,
        kv.as_str()
    );
    if best.model != default.model || best.kv != default.kv {
        let original = &models[default.model].quantisation;
        println!(
            "It answers in fewer bits than {original}: measure how near it is with `tokengrid-node align --kv {}`.",
            kv.as_str()
        );
    }
}
