//! What a model needs is told before it is loaded, and refused where there is less.

use std::process::Command;

use engine::backend::llama::{KvType, Shape};
use engine::gguf::Header;
use engine::memory::{Budget, Need};
use engine::{EngineConfig, Error};

use crate::bundled::{folder, weights_file};

fn shape() -> Shape {
    EngineConfig::for_context(1024, 2).shape()
}

#[test]
fn a_models_need_follows_from_its_header_and_the_engines_size() {
    let header = Header::read(&weights_file()).unwrap();
    let need = Need::of(&header, shape());
    // Five layers, two groups of 64 for keys and as many for values, in 16 bits, for 32 slots of 1,024 tokens.
    assert_eq!(need.caches, 5 * 2 * (64 + 64) * 2 * 32 * 1024);
    let file = std::fs::metadata(weights_file()).unwrap().len();
    assert!(need.weights <= file && need.weights > file - 64 * 1024, "{} of {file}", need.weights);
    assert_eq!(need.states, 512 * 1024 * 1024);
    let half = Need::of(&header, Shape { slots: 16, ..shape() });
    assert_eq!(half.caches * 2, need.caches);
    let packed = Need::of(&header, Shape { kv: KvType::Q8_0, ..shape() });
    assert_eq!(packed.caches * 32, need.caches * 17);
}

#[test]
fn models_share_one_budget_and_the_one_that_does_not_fit_is_refused() {
    let need = Need::of(&Header::read(&weights_file()).unwrap(), shape()).total();
    let mut budget = Budget::of(2 * need + need / 2);
    let mut take = || budget.take(&weights_file(), |_| shape());
    assert_eq!((take().unwrap().total(), take().unwrap().total()), (need, need));
    let refused = take().unwrap_err();
    let Error::Memory { needed_mib, available_mib, .. } = refused else { panic!("{refused}") };
    assert_eq!((needed_mib, available_mib), (need.div_ceil(1 << 20), (need / 2) >> 20));
    assert_eq!(budget.left(), need / 2, "a refusal takes nothing");
}

#[test]
fn the_node_says_what_a_model_needs_and_does_not_load_what_does_not_fit() {
    let run = |memory_mib: &str| {
        let mut node = Command::new(env!("CARGO_BIN_EXE_tokengrid-node"));
        node.env_clear().args([
            "bench",
            "--log-format",
            "json",
            "--seconds",
            "0",
            "--threads",
            "1",
            "--output-tokens",
            "1",
            "--model",
        ]);
        let output = node.arg(folder()).args(["--memory-mib", memory_mib]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (loaded, said) = run("100000");
    assert!(loaded && said.contains("\"needed_mib\":"), "{said}");
    let (loaded, said) = run("100");
    assert!(!loaded && said.contains("MiB of memory") && said.contains("100 are left"), "{said}");
    assert!(!said.contains("model ready"), "{said}");
}
