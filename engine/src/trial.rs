//! A model is tried out in a process of its own before a node serves it beside others.
//!
//! [`Header`](crate::gguf::Header) refuses what is known to break the library. What is not known is found here: whoever loads the
//! file and draws a token without dying has shown that the next one can.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use primitives::node_protocol::{Sampling, Terms, Work};

use crate::error::Error;
use crate::{Engine, EngineConfig, Event, Model};

/// Lets another process of this program load a model and draw a token, by the command `try`.
///
/// # Errors
/// When that process died of a signal. When it was refused, loading here will tell why.
pub fn run(path: &Path) -> Result<(), Error> {
    let mut trial = Command::new("/proc/self/exe");
    trial.args(["try", "--model"]).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = trial.status().map_err(|source| Error::File { path: "/proc/self/exe".into(), source })?;
    match status.signal() {
        Some(signal) => Err(Error::Deadly { path: path.into(), signal }),
        None => Ok(()),
    }
}

/// What the other process does: nothing is told but that it lives.
///
/// # Errors
/// When the model is refused.
pub fn try_out(path: &Path) -> Result<(), Error> {
    let model = Arc::new(Model::load(path)?);
    let mut config = EngineConfig::for_model(&model, 1);
    (config.slots, config.context_tokens, config.step_tokens_max, config.saved_bytes_max) = (1, 256, 16, 0);
    let prompt: Vec<u32> = (0..model.vocabulary_len() as u32).filter(|&id| !model.ends(id)).take(3).collect();
    let engine = Engine::start(model, config)?;
    let work = Work {
        prompt,
        resume: Vec::new(),
        resume_text_bytes: 0,
        output_tokens_max: 2,
        stop: Vec::new(),
        sampling: Sampling::greedy(),
        terms: Terms::default(),
        grammar: None,
        logprobs: None,
    };
    if let Ok(mut request) = engine.submit(work) {
        while let Some(Event::Tokens(_)) = request.blocking_next() {}
    }
    Ok(())
}
