//! A model that embeds: vectors of length one, the same alone and among others, counted and refused like anything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Engine, EngineConfig, Event, Model, Refused, Usage};
use primitives::node_protocol::FinishReason;

use crate::bundled::{question, work};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/tiny-bert")
}

fn engine(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let model = Arc::new(Model::load(&folder()).unwrap());
    let mut config = EngineConfig::for_model(&model, 1);
    change(&mut config);
    Engine::start(model, config).unwrap()
}

/// The vectors of texts, and what they took.
fn embed(engine: &Engine, texts: &[Vec<u32>]) -> (Vec<Vec<f32>>, Usage) {
    let mut request = engine.embed(texts.to_vec()).unwrap();
    let mut vectors = Vec::new();
    loop {
        match request.blocking_next().expect("an ending comes") {
            Event::Vector(vector) => vectors.push(vector),
            Event::Finished { reason: FinishReason::Stop, usage } => return (vectors, usage),
            other => panic!("{other:?}"),
        }
    }
}

/// A text of `length` tokens that begins with this one, between the marks that the model knows.
fn text(first: u32, length: u32) -> Vec<u32> {
    let inner = (0..length - 2).map(|offset| 5 + (first + 3 * offset) % 70);
    [2].into_iter().chain(inner).chain([3]).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn vectors_have_length_one_and_are_the_same_alone_and_among_others() {
    let engine = engine(|config| config.slots = 4);
    // More than one batch holds, of every length.
    let texts: Vec<Vec<u32>> = (0..23).map(|n| text(n, 3 + n * 5)).collect();
    let (together, usage) = embed(&engine, &texts);
    assert_eq!((together.len(), usage.output_tokens), (texts.len(), 0));
    assert_eq!(usage.prompt_tokens as usize, texts.iter().map(Vec::len).sum::<usize>());
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(vector.len(), 32);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
        let (alone, _) = embed(&engine, std::slice::from_ref(text));
        // The kernels sum in another order where more is computed together.
        assert!(cosine(vector, &alone[0]) > 0.999_99, "a text of {} tokens", text.len());
    }
    assert!(cosine(&together[1], &together[2]) < 0.999, "two texts are two vectors");
}

#[test]
fn many_callers_at_once_get_their_own_vectors_in_order() {
    let engine = engine(|config| config.slots = 3);
    let texts: Vec<Vec<u32>> = (0..40).map(|n| text(n, 4 + n % 17)).collect();
    let (expected, _) = embed(&engine, &texts);
    let requests: Vec<_> = texts.chunks(4).map(|texts| engine.embed(texts.to_vec()).unwrap()).collect();
    // Half of them are not wanted any more.
    for (index, mut request) in requests.into_iter().enumerate() {
        if index % 2 == 1 {
            continue;
        }
        for expected in &expected[4 * index..4 * index + 4] {
            let Some(Event::Vector(vector)) = request.blocking_next() else { panic!("a vector comes") };
            assert!(cosine(&vector, expected) > 0.999_99);
        }
        assert!(matches!(request.blocking_next(), Some(Event::Finished { .. })));
        assert_eq!(request.blocking_next(), None);
    }
    while engine.load().running + engine.load().waiting > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn texts_that_cannot_be_embedded_are_refused_before_any_work() {
    let engine = engine(|config| config.context_tokens = 64);
    let refused = |texts: Vec<Vec<u32>>| engine.embed(texts).err().expect("refused");
    assert_eq!(refused(vec![]), Refused::EmptyPrompt);
    assert_eq!(refused(vec![text(1, 5), vec![]]), Refused::EmptyPrompt);
    assert_eq!(refused(vec![text(1, 65)]), Refused::ContextExceeded { needed: 65, available: 64 });
    assert!(matches!(refused(vec![vec![u32::MAX]]), Refused::UnknownToken { id: u32::MAX, .. }));
    let (vectors, _) = embed(&engine, &[text(1, 64)]);
    assert_eq!(vectors.len(), 1);
}

#[test]
fn a_model_does_what_it_is_made_for_and_nothing_else() {
    let embeds = engine(|_| ());
    assert_eq!(embeds.submit(work(vec![2, 5, 3], 4)).err(), Some(Refused::Kind { id: "tiny-bert".into() }));
    let answers = crate::bundled::engine(|_| ());
    assert_eq!(answers.embed(vec![question("Hi")]).err(), Some(Refused::Kind { id: "spark-1".into() }));
}

#[test]
fn a_dropped_engine_ends_its_texts() {
    let engine = engine(|config| config.slots = 1);
    let mut request = engine.embed((0..2_000).map(|n| text(n, 60)).collect()).unwrap();
    assert!(matches!(request.blocking_next(), Some(Event::Vector(_))));
    drop(engine);
    // Nobody waits for ever, wherever it was.
    while let Some(event) = request.blocking_next() {
        assert!(matches!(event, Event::Vector(_) | Event::Finished { .. }));
    }
}

#[test]
fn a_model_that_was_made_to_answer_embeds_where_its_manifest_says_so() {
    let dir = std::env::temp_dir().join(format!("tokengrid-embeds-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let weights = crate::bundled::weights_file();
    let manifest = std::fs::read_to_string(weights.with_file_name("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["kind"] = "embedding".into();
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::copy(&weights, dir.join(weights.file_name().unwrap())).unwrap();
    let model = Arc::new(Model::load(&dir).unwrap());
    let mut config = EngineConfig::for_model(&model, 1);
    config.slots = 3;
    let engine = Engine::start(model, config).unwrap();
    let texts: Vec<Vec<u32>> =
        ["The cat sat.", "A cat sat down.", "What is 12 + 30?", "Hi", "12 + 30"].map(question).into();
    let (together, _) = embed(&engine, &texts);
    let (again, _) = embed(&engine, &texts);
    for ((text, vector), again) in texts.iter().zip(&together).zip(&again) {
        let (alone, _) = embed(&engine, std::slice::from_ref(text));
        assert!(
            cosine(vector, &alone[0]) > 0.999 && cosine(vector, again) > 0.999_99,
            "nothing is left of the batch before"
        );
    }
    std::fs::remove_dir_all(dir).unwrap();
}
