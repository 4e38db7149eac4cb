//! The bundled model's folder.

use std::fs;
use std::path::{Path, PathBuf};

use primitives::node_protocol::ServedModel;
use serde_json::Value;

/// Where it is.
pub fn folder() -> PathBuf {
    workspace().join("engine/models/spark-1")
}

/// Where a small model is that embeds, with random weights.
pub fn embedding_folder() -> PathBuf {
    workspace().join("engine/tests/models/tiny-bert")
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a room of the workspace")
}

/// The model as an honest node describes it.
pub fn served(slots: u32) -> ServedModel {
    let manifest = manifest();
    let text = |value: &Value| value.as_str().expect("the manifest has this text").to_owned();
    let context = manifest["context_tokens"].as_u64().and_then(|tokens| u32::try_from(tokens).ok());
    ServedModel {
        model: text(&manifest["id"]),
        weights_sha256: text(&manifest["weights"]["sha256"]),
        quantisation: text(&manifest["quantisation"]),
        context_tokens: context.expect("the manifest has the context's length"),
        slots,
        // It runs the model's own weights as the bundled engine does, by its word.
        engine: "llama.cpp fake".to_owned(),
        ..ServedModel::default()
    }
}

/// The held-out cases: `{"task", "messages", "tools"?, "answer"}` each.
pub fn held_out() -> Vec<Value> {
    let path = folder().join("heldout.jsonl");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("each line is a JSON object")).collect()
}

fn manifest() -> Value {
    let path = folder().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("the manifest is JSON")
}
