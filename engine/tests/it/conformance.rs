//! What every cell must do: the same tests for each architecture, on the back end that this build has.
//!
//! A cell is a model on a back end. The back end is llama.cpp's for CPUs, or the one that a cargo feature of `engine` chose
//! (`cuda`, `vulkan`, …): the tests are the same. Logits differ in their last bits with what else is in a batch, so answers
//! are compared by log-probability, within a [tolerance](TOLERANCE), and token by token until two candidates come that close.

use std::sync::Arc;

use engine::backend::llama::quantise::Precision;
use engine::gguf::Header;
use engine::memory::Need;
use engine::{Engine, EngineConfig, Event, Model, Refused, Usage, quantise};
use primitives::node_protocol::{FinishReason, Terms, TokenLogprobs, Work};

use crate::bundled::{self, work};
use crate::random;

/// How far the logarithm of a probability may be from what it is alone, in weights of 16 and 32 bits and in quantised ones.
/// *Units*: nats.
const TOLERANCE: f32 = 0.02;
const TOLERANCE_QUANTISED: f32 = 0.25;

/// One cell of the matrix.
struct Cell {
    model: Arc<Model>,
    tolerance: f32,
}

impl Cell {
    fn of(kind: &str) -> Self {
        let path = match kind {
            "shipped" => bundled::folder(),
            kind => kind.strip_suffix("_q8_0").map_or_else(|| random::model(kind), quantised),
        };
        let tolerance = if kind.ends_with("q8_0") { TOLERANCE_QUANTISED } else { TOLERANCE };
        Self { model: Arc::new(Model::load(&path).unwrap()), tolerance }
    }

    fn engine(&self, slots: usize) -> Engine {
        let mut config = EngineConfig::for_model(&self.model, 1);
        (config.slots, config.context_tokens) = (slots, 256);
        Engine::start(self.model.clone(), config).unwrap()
    }

    /// A prompt of so many tokens, none of which ends an output or stands for nothing.
    fn prompt(&self, number: usize, tokens: usize) -> Vec<u32> {
        let ids = (0..self.model.vocabulary_len() as u32).filter(|&id| !self.model.piece(id).is_empty());
        let ids: Vec<u32> = ids.filter(|&id| !self.model.ends(id)).collect();
        (0..tokens).map(|at| ids[(number * 7_919 + at * at * 31 + at * 101) % ids.len()]).collect()
    }

    /// Greedy, with probabilities told, never ended by the model.
    fn work(&self, number: usize, tokens: usize) -> Work {
        let mut work = work(self.prompt(number, tokens), 12);
        let ends = (0..self.model.vocabulary_len() as u32).filter(|&id| self.model.ends(id));
        work.sampling.logit_bias = ends.map(|id| (id, -100.0)).collect();
        work.logprobs = Some(2);
        work
    }

    fn check_same(&self, expected: &Answer, found: &Answer) {
        let pairs = expected.logprobs.iter().zip(&found.logprobs);
        for (at, (expected, found)) in pairs.enumerate() {
            if expected.drawn.id != found.drawn.id {
                // Two candidates that are as likely may change places; what follows is another text.
                let apart = (expected.top[0].logprob - expected.top[1].logprob).abs();
                assert!(apart <= 2.0 * self.tolerance, "at {at}, {apart} apart: {expected:?} and {found:?}");
                return;
            }
            let off = (expected.drawn.logprob - found.drawn.logprob).abs();
            assert!(off <= self.tolerance, "at {at}, off by {off}: {expected:?} and {found:?}");
        }
        assert_eq!(expected.logprobs.len(), found.logprobs.len());
    }
}

/// A model in eight bits a weight.
fn quantised(kind: &str) -> std::path::PathBuf {
    let original = random::model(kind);
    let path = original.with_file_name(format!("{kind}-q8_0.gguf"));
    if !path.exists() {
        let own = original.with_file_name(format!("{kind}-q8_0-{}.gguf", std::process::id()));
        quantise::run(&original, &own, Precision::Q8_0, 1, &mut |_| ()).unwrap();
        std::fs::rename(own, &path).unwrap();
    }
    path
}

/// All that an answer gave.
struct Answer {
    ids: Vec<u32>,
    text: String,
    logprobs: Vec<TokenLogprobs>,
    reason: FinishReason,
    usage: Usage,
}

fn finish(mut request: engine::RequestHandle) -> Answer {
    let (mut ids, mut text, mut logprobs) = (Vec::new(), String::new(), Vec::new());
    loop {
        match request.blocking_next().unwrap() {
            Event::Tokens(frame) => {
                ids.extend(frame.ids);
                text += &frame.text;
                logprobs.extend(frame.logprobs);
            }
            Event::Finished { reason, usage } => return Answer { ids, text, logprobs, reason, usage },
            other => panic!("{other:?}"),
        }
    }
}

fn answer(engine: &Engine, work: &Work) -> Answer {
    finish(engine.submit(work.clone()).unwrap())
}

fn salted(work: &Work, salt: &str) -> Work {
    Work { terms: Terms { cache_salt: Some(salt.into()), ..Terms::default() }, ..work.clone() }
}

fn batched(cell: &Cell) {
    let works: Vec<Work> = (0..8).map(|number| cell.work(number, 5 + 23 * number)).collect();
    let alone = cell.engine(1);
    let together = cell.engine(8);
    let requests: Vec<_> = works.iter().map(|work| together.submit(work.clone()).unwrap()).collect();
    for (work, request) in works.iter().zip(requests) {
        cell.check_same(&answer(&alone, work), &finish(request));
    }
}

fn cached(cell: &Cell) {
    let engine = cell.engine(4);
    let work = cell.work(1, 150);
    let computed = answer(&engine, &work);
    assert_eq!(answer(&engine, &salted(&work, "a")).usage.cached_tokens, 0);
    let shared = answer(&engine, &salted(&work, "a"));
    assert_eq!(shared.usage.cached_tokens, 149, "all but the token that is drawn after");
    cell.check_same(&computed, &shared);
    let mut longer = work.clone();
    longer.prompt.extend(cell.prompt(5, 20));
    let computed = answer(&engine, &longer);
    let shared = answer(&engine, &salted(&longer, "a"));
    assert_eq!(shared.usage.cached_tokens, 150);
    cell.check_same(&computed, &shared);
}

fn saved(cell: &Cell) {
    let engine = cell.engine(1);
    let (first, other) = (salted(&cell.work(1, 120), "a"), salted(&cell.work(2, 130), "b"));
    let computed = answer(&engine, &first);
    answer(&engine, &other);
    // The only slot is the other's: this comes from the state that was saved.
    let restored = answer(&engine, &first);
    assert_eq!(restored.usage.cached_tokens, 119);
    cell.check_same(&computed, &restored);
}

fn cancelled(cell: &Cell) {
    let mut config = EngineConfig::for_model(&cell.model, 1);
    (config.slots, config.context_tokens, config.tokens_per_second_max) = (1, 256, Some(50));
    let engine = Engine::start(cell.model.clone(), config).unwrap();
    let mut long = cell.work(1, 20);
    long.output_tokens_max = 200;
    let mut request = engine.submit(long.clone()).unwrap();
    assert!(matches!(request.blocking_next(), Some(Event::Tokens(_))));
    request.cancel();
    let ending = std::iter::from_fn(|| request.blocking_next()).last();
    let Some(Event::Cancelled { usage }) = ending else { panic!("{ending:?}") };
    assert_eq!((usage.prompt_tokens, usage.cached_tokens), (20, 0));
    assert!((1..200).contains(&usage.output_tokens));
    assert_eq!(engine.load().slots_free, 1);
    assert_eq!(answer(&engine, &cell.work(2, 9)).usage.output_tokens, 12, "the slot works on");
}

fn limited(cell: &Cell) {
    let engine = cell.engine(2);
    let mut work = cell.work(3, 200);
    for output_tokens_max in [1, 2, 56] {
        work.output_tokens_max = output_tokens_max;
        let Answer { ids, logprobs, reason, usage, .. } = answer(&engine, &work);
        assert_eq!((ids.len(), logprobs.len()), (output_tokens_max as usize, output_tokens_max as usize));
        let counted = Usage { prompt_tokens: 200, cached_tokens: 0, output_tokens: output_tokens_max };
        assert_eq!((usage, reason), (counted, FinishReason::Length));
    }
    work.output_tokens_max = 57;
    assert_eq!(engine.submit(work).err(), Some(Refused::ContextExceeded { needed: 257, available: 256 }));
}

fn stopped(cell: &Cell) {
    let engine = cell.engine(1);
    let mut work = cell.work(4, 30);
    work.sampling.temperature = 1.0;
    // A text that is read whole, so that its characters can be named.
    let free = (0..100).find_map(|seed| {
        work.sampling.seed = seed;
        let free = answer(&engine, &work);
        (free.text.chars().count() > 8 && !free.text.contains(char::REPLACEMENT_CHARACTER)).then_some(free)
    });
    let free = free.unwrap();
    let stop: String = free.text.chars().skip(4).take(3).collect();
    let before = &free.text[..free.text.find(&stop).unwrap()];
    work.stop = vec![stop];
    let found = answer(&engine, &work);
    assert_eq!((found.text.as_str(), found.reason), (before, FinishReason::Stop));
    assert_eq!(found.usage.output_tokens as usize, found.ids.len());
    assert!(found.ids.len() <= free.ids.len());
}

fn seeded(cell: &Cell) {
    let engine = cell.engine(1);
    let mut work = cell.work(5, 25);
    work.sampling.temperature = 20.0;
    let mut with = |seed| {
        work.sampling.seed = seed;
        answer(&engine, &work).ids
    };
    let (one, again, two) = (with(1), with(1), with(2));
    assert_eq!(one, again);
    assert_ne!(one, two);
}

/// The vectors of texts, and what they took.
fn embed(engine: &Engine, texts: &[Vec<u32>]) -> (Vec<Vec<f32>>, Usage) {
    let (mut request, mut vectors) = (engine.embed(texts.to_vec()).unwrap(), Vec::new());
    loop {
        match request.blocking_next().unwrap() {
            Event::Vector(vector) => vectors.push(vector),
            Event::Finished { reason: FinishReason::Stop, usage } => return (vectors, usage),
            other => panic!("{other:?}"),
        }
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn embedded_together(cell: &Cell) {
    let texts: Vec<Vec<u32>> = (0..12).map(|number| cell.prompt(number, 2 + 19 * number)).collect();
    let (together, usage) = embed(&cell.engine(4), &texts);
    let counted: usize = texts.iter().map(Vec::len).sum();
    assert_eq!(usage, Usage { prompt_tokens: counted as u32, ..Usage::default() });
    let alone = cell.engine(1);
    for (text, vector) in texts.iter().zip(&together) {
        let expected = embed(&alone, std::slice::from_ref(text)).0.remove(0);
        let off = 1.0 - cosine(&expected, vector);
        assert!(off <= cell.tolerance.powi(2), "{} tokens, off by {off}", text.len());
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5, "of length one");
        assert_eq!(embed(&alone, std::slice::from_ref(text)).0[0], expected, "nothing is kept between texts");
    }
}

fn embedding_cancelled(cell: &Cell) {
    let engine = cell.engine(2);
    let mut request = engine.embed((0..400).map(|number| cell.prompt(number, 100)).collect()).unwrap();
    assert!(matches!(request.blocking_next(), Some(Event::Vector(_))));
    drop(request);
    let text = [cell.prompt(1, 40)];
    assert_eq!(embed(&engine, &text).0, embed(&cell.engine(2), &text).0, "the engine works on");
    while engine.load().slots_free < 2 {
        std::thread::yield_now();
    }
}

fn embedding_limited(cell: &Cell) {
    let engine = cell.engine(2);
    assert_eq!(embed(&engine, &[cell.prompt(3, 256)]).1.prompt_tokens, 256);
    let refused = engine.embed(vec![cell.prompt(3, 9), cell.prompt(3, 257)]).err();
    assert_eq!(refused, Some(Refused::ContextExceeded { needed: 257, available: 256 }));
    assert!(matches!(engine.submit(cell.work(1, 9)).err(), Some(Refused::Kind { .. })), "it goes on from nothing");
}

macro_rules! embedding_cells {
    ($($cell:ident)*) => { $(
        mod $cell {
            use super::Cell;

            fn cell() -> Cell {
                Cell::of(stringify!($cell))
            }

            #[test]
            fn vectors_in_a_batch_are_those_of_each_text_alone() {
                super::embedded_together(&cell());
            }

            #[test]
            fn a_cancelled_request_frees_its_slot() {
                super::embedding_cancelled(&cell());
            }

            #[test]
            fn limits_are_exact_and_usage_counts_every_token() {
                super::embedding_limited(&cell());
            }
        }
    )* };
}

macro_rules! cells {
    ($($cell:ident)*) => { $(
        mod $cell {
            use super::Cell;

            fn cell() -> Cell {
                Cell::of(stringify!($cell))
            }

            #[test]
            fn answers_in_a_batch_are_as_likely_as_alone() {
                super::batched(&cell());
            }

            #[test]
            fn a_cached_prefix_changes_nothing_but_the_work() {
                super::cached(&cell());
            }

            #[test]
            fn a_saved_state_goes_on_as_if_it_had_kept_its_slot() {
                super::saved(&cell());
            }

            #[test]
            fn a_cancelled_request_frees_its_slot_and_is_counted() {
                super::cancelled(&cell());
            }

            #[test]
            fn limits_are_exact_and_usage_counts_every_token() {
                super::limited(&cell());
            }

            #[test]
            fn a_stop_text_ends_an_answer_and_is_not_given() {
                super::stopped(&cell());
            }

            #[test]
            fn the_seed_decides_what_is_drawn() {
                super::seeded(&cell());
            }
        }
    )* };
}

cells!(shipped dense dense_q8_0 experts);
embedding_cells!(embedding embedding_q8_0);

#[test]
fn an_embedding_model_loads_and_reads_text_and_keeps_nothing_between_tokens() {
    let path = random::model("embedding");
    let model = Model::load(&path).unwrap();
    assert_eq!((model.context_tokens, model.vocabulary_len()), (512, 400));
    let tokens = model.tokenise("ab a", false);
    assert!(!tokens.is_empty() && tokens.iter().all(|&id| id >= 5), "no control token among {tokens:?}");
    let header = Header::read(&path).unwrap();
    let need = Need::of(&header, EngineConfig::for_model(&model, 1).shape());
    assert_eq!(need.caches, 0);
    assert_eq!(need.weights, 125_568 * 4);
}
