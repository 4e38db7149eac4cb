//! The bundled model, and requests that fit it.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use engine::{Engine, EngineConfig, Event, Model, RequestHandle, Usage};
use primitives::node_protocol::{FinishReason, Sampling, Terms, Work};

/// Where the model lies.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/spark-1")
}

/// Its weights, as the manifest names them.
pub fn weights_file() -> PathBuf {
    let manifest = std::fs::read_to_string(folder().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    folder().join(manifest["weights"]["file"].as_str().unwrap())
}

/// The model, loaded once a test process.
pub fn model() -> Arc<Model> {
    static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| Arc::new(Model::load(&folder()).unwrap()));
    MODEL.clone()
}

/// An engine that leaves the machine to the other tests.
pub fn engine(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig::for_model(&model(), 1);
    config.slots = 8;
    change(&mut config);
    Engine::start(model(), config).unwrap()
}

/// A question as the model's chat template puts it.
pub fn question(text: &str) -> Vec<u32> {
    model().tokenise(&format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"), true)
}

/// A request for the likeliest output.
pub fn work(prompt: Vec<u32>, output_tokens_max: u32) -> Work {
    Work {
        prompt,
        resume: Vec::new(),
        resume_text_bytes: 0,
        output_tokens_max,
        stop: Vec::new(),
        grammar: None,
        logprobs: None,
        sampling: Sampling::greedy(),
        terms: Terms::default(),
    }
}

/// A request whose output reaches its limit: tokens drawn almost evenly, with a seed under which none of them ends it.
pub fn long_work(output_tokens_max: u32) -> Work {
    let engine = engine(|config| config.slots = 1);
    let mut work = work(question("Tell me a long story."), output_tokens_max);
    work.sampling.temperature = 50.0;
    loop {
        let output = finish(engine.submit(work.clone()).unwrap());
        if output.reason == FinishReason::Length {
            return work;
        }
        work.sampling.seed += 1;
    }
}

/// All that a request gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub ids: Vec<u32>,
    pub text: String,
    /// Frame by frame: how many tokens and how much text had been given.
    pub given: Vec<(usize, usize)>,
    pub reason: FinishReason,
    pub usage: Usage,
}

/// Reads a request to its end.
pub fn finish(mut request: RequestHandle) -> Output {
    let (mut ids, mut text, mut given) = (Vec::new(), String::new(), Vec::new());
    let mut seq = None;
    loop {
        match request.blocking_next().expect("an ending comes") {
            Event::Tokens(frame) => {
                assert!(seq.is_none_or(|before: u32| frame.seq == before + 1), "frames are numbered without gaps");
                seq = Some(frame.seq);
                ids.extend(frame.ids);
                text += &frame.text;
                given.push((ids.len(), text.len()));
            }
            Event::Finished { reason, usage } => return Output { ids, text, given, reason, usage },
            other => panic!("{other:?}"),
        }
    }
}

/// Reads the first frames.
pub fn read_frames(request: &mut RequestHandle, frames: usize) {
    for _ in 0..frames {
        assert!(matches!(request.blocking_next(), Some(Event::Tokens(_))));
    }
}
