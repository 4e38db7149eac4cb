//! One engine and many requests: joining, leaving, cancelling, refusing, counting.

use std::time::{Duration, Instant};

use engine::{Engine, EngineLoad, Error, Event, Model, Refused, Usage};
use primitives::node_protocol::{FinishReason, Work};

use crate::bundled::{engine, finish, long_work, model, question, read_frames, weights_file, work};

#[test]
fn a_request_joins_the_running_batch_and_leaves_it_before_the_others() {
    let engine = engine(|config| config.tokens_per_second_max = Some(50));
    let mut long = engine.submit(long_work(100)).unwrap();
    read_frames(&mut long, 1);
    let short = finish(engine.submit(work(question("What is 12 + 30?"), 3)).unwrap());
    assert_eq!(short.usage.output_tokens as usize, short.ids.len());
    assert_eq!(engine.load().running, 1, "the long one still runs");
    assert_eq!(finish(long).reason, FinishReason::Length);
}

#[test]
fn thirty_two_requests_at_once_all_end_with_exact_counts() {
    let engine = engine(|config| config.slots = 32);
    let prompts: Vec<Vec<u32>> = (10..42).map(|number| question(&format!("What is {number} + 30?"))).collect();
    let requests: Vec<_> = prompts.iter().map(|prompt| engine.submit(work(prompt.clone(), 24)).unwrap()).collect();
    for (prompt, request) in prompts.iter().zip(requests) {
        let output = finish(request);
        assert_eq!(
            output.usage,
            Usage { prompt_tokens: prompt.len() as u32, cached_tokens: 0, output_tokens: output.ids.len() as u32 }
        );
        let bytes: Vec<u8> = output.ids.iter().flat_map(|&id| model().piece(id).to_vec()).collect();
        assert_eq!(output.text, String::from_utf8_lossy(&bytes));
    }
    assert_idle(&engine);
}

#[test]
fn more_requests_than_slots_wait_their_turn_and_more_than_the_queue_are_refused() {
    let engine = engine(|config| (config.slots, config.waiting_max, config.tokens_per_second_max) = (2, 3, Some(100)));
    let long = long_work(30);
    let mut requests: Vec<_> = (0..5).map(|_| engine.submit(long.clone()).unwrap()).collect();
    assert_eq!(engine.submit(long.clone()).err(), Some(Refused::Full { live: 5 }));
    read_frames(&mut requests[1], 1);
    let EngineLoad { running, waiting, slots_free, kv_free_tokens } = engine.load();
    assert_eq!((running, waiting, slots_free, kv_free_tokens), (2, 3, 0, 0));
    for request in requests {
        assert_eq!(finish(request).usage.output_tokens, 30);
    }
    assert_idle(&engine);
}

#[test]
fn cancelling_while_decoding_frees_the_slot_at_once_and_counts_exactly() {
    let engine = engine(|config| (config.slots, config.tokens_per_second_max) = (1, Some(20)));
    let mut long = engine.submit(long_work(60)).unwrap();
    read_frames(&mut long, 2);
    long.cancel();
    assert_eq!(
        long.blocking_next(),
        Some(Event::Cancelled {
            usage: Usage { prompt_tokens: long_work(60).prompt.len() as u32, cached_tokens: 0, output_tokens: 2 }
        })
    );
    assert_eq!(long.blocking_next(), None);
    assert_idle(&engine);
    // The slot works on for the next one.
    assert_eq!(finish(engine.submit(work(question("Hi"), 1)).unwrap()).usage.output_tokens, 1);
}

#[test]
fn cancelling_in_the_middle_of_a_prefill_frees_the_slot_at_once() {
    // Chunks of one token: this prefill takes more than 900 steps.
    let engine = engine(|config| (config.slots, config.chunk_tokens_max) = (1, 1));
    let prompt: Vec<u32> = question("a b c d e f g h").into_iter().cycle().take(900).collect();
    let mut request = engine.submit(work(prompt, 10)).unwrap();
    wait_until(|| engine.load().running == 1);
    request.cancel();
    let ending = request.blocking_next();
    assert_eq!(
        ending,
        Some(Event::Cancelled { usage: Usage { prompt_tokens: 900, cached_tokens: 0, output_tokens: 0 } })
    );
    assert_idle(&engine);
    assert!(!finish(engine.submit(work(question("Hi"), 4)).unwrap()).ids.is_empty());
}

#[test]
fn dropping_a_request_cancels_it_also_while_it_waits() {
    let engine = engine(|config| (config.slots, config.tokens_per_second_max) = (1, Some(20)));
    let mut first = engine.submit(long_work(60)).unwrap();
    read_frames(&mut first, 1);
    let second = engine.submit(long_work(60)).unwrap();
    drop(second);
    wait_until(|| engine.load().waiting == 0);
    drop(first);
    wait_until(|| engine.load().running == 0);
}

#[test]
fn requests_that_come_and_go_at_random_leave_no_slot_and_no_harm() {
    let engine = engine(|config| (config.slots, config.waiting_max) = (6, 200));
    let watched = work(question("What is Tokengrid?"), 40);
    let before = finish(engine.submit(watched.clone()).unwrap());
    let mut kept = Vec::new();
    for number in 0..120_usize {
        let mut drawn = work(question(&"word ".repeat(number * 7 % 40 + 1)), 30);
        (drawn.sampling.temperature, drawn.sampling.seed) = (50.0, number as u64);
        let mut request = engine.submit(drawn).unwrap();
        match number % 4 {
            0 => request.cancel(),
            1 => drop(request),
            2 => drop(request.blocking_next()),
            _ => kept.push(request),
        }
    }
    for request in kept {
        let output = finish(request);
        assert_eq!(output.usage.output_tokens as usize, output.ids.len());
    }
    wait_until(|| engine.load().running + engine.load().waiting == 0);
    assert_idle(&engine);
    assert_eq!(finish(engine.submit(watched).unwrap()), before, "nothing is left in the caches");
}

#[test]
fn the_seed_and_nothing_else_decides_what_is_drawn() {
    let engine = engine(|config| config.slots = 1);
    let mut drawn = work(question("Tell me something."), 40);
    drawn.sampling.temperature = 20.0;
    let with_seed = |seed| {
        let mut work = drawn.clone();
        work.sampling.seed = seed;
        finish(engine.submit(work).unwrap()).ids
    };
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1), with_seed(2));
}

#[test]
fn a_stop_text_ends_the_output_is_not_given_and_its_tokens_are_counted() {
    let engine = engine(|_| ());
    let free = finish(engine.submit(work(question("What is Tokengrid?"), 60)).unwrap());
    let stop: String = free.text.chars().skip(10).take(5).collect();
    let mut stopped = work(question("What is Tokengrid?"), 60);
    stopped.stop = vec!["never".into(), stop.clone()];
    let output = finish(engine.submit(stopped).unwrap());
    let before = &free.text[..free.text.find(&stop).unwrap()];
    assert_eq!((output.text.as_str(), output.reason), (before, FinishReason::Stop));
    assert_eq!(output.usage.output_tokens as usize, output.ids.len());
    let bytes: Vec<u8> = output.ids.iter().flat_map(|&id| model().piece(id).to_vec()).collect();
    assert!(String::from_utf8_lossy(&bytes).ends_with(&stop), "the stop text's tokens are there");
}

#[test]
fn a_token_that_ends_the_output_is_neither_given_nor_counted() {
    let output = finish(engine(|_| ()).submit(work(question("What is 12 + 30?"), 200)).unwrap());
    assert_eq!(output.reason, FinishReason::Stop);
    assert!(output.ids.iter().all(|&id| !model().ends(id)));
    assert_eq!(output.usage.output_tokens as usize, output.ids.len());
}

#[test]
fn a_paced_engine_gives_no_sequence_more_tokens_a_second() {
    let engine = engine(|config| config.tokens_per_second_max = Some(50));
    let long = long_work(11);
    let began = Instant::now();
    let requests: Vec<_> = (0..3).map(|_| engine.submit(long.clone()).unwrap()).collect();
    for request in requests {
        assert_eq!(finish(request).usage.output_tokens, 11);
    }
    assert!(began.elapsed() >= Duration::from_millis(200), "10 intervals of 20 ms");
}

#[test]
fn a_request_that_cannot_be_done_is_refused_before_any_work() {
    let engine = engine(|config| (config.slots, config.context_tokens) = (1, 100));
    let good = work(vec![65, 66], 10);
    let refused = |change: fn(&mut Work)| {
        let mut work = good.clone();
        change(&mut work);
        engine.submit(work).err().expect("refused")
    };
    let vocabulary = model().vocabulary_len();
    assert_eq!(refused(|work| work.prompt.clear()), Refused::EmptyPrompt);
    assert_eq!(refused(|work| work.output_tokens_max = 0), Refused::NoOutput);
    assert_eq!(refused(|work| work.output_tokens_max = 99), Refused::ContextExceeded { needed: 101, available: 100 });
    assert!(matches!(refused(|work| work.output_tokens_max = u32::MAX), Refused::ContextExceeded { .. }));
    assert_eq!(refused(|work| work.prompt[0] = u32::MAX), Refused::UnknownToken { id: u32::MAX, vocabulary });
    assert!(matches!(refused(|work| work.resume = vec![9_999_999]), Refused::UnknownToken { id: 9_999_999, .. }));
    assert!(matches!(refused(|work| work.stop = vec![String::new()]), Refused::Stops { .. }));
    assert!(matches!(refused(|work| work.stop = vec!["x".into(); 17]), Refused::Stops { .. }));
    assert!(matches!(refused(|work| work.sampling.temperature = -1.0), Refused::Sampling { name: "temperature", .. }));
    assert!(matches!(refused(|work| work.sampling.temperature = f32::NAN), Refused::Sampling { .. }));
    assert!(matches!(refused(|work| work.sampling.top_p = 1.1), Refused::Sampling { name: "top_p", .. }));
    assert!(matches!(refused(|work| work.sampling.presence_penalty = f32::INFINITY), Refused::Sampling { .. }));
    assert_idle(&engine);
}

#[test]
fn a_dropped_engine_ends_its_requests() {
    let engine = engine(|config| config.tokens_per_second_max = Some(20));
    let mut request = engine.submit(long_work(60)).unwrap();
    read_frames(&mut request, 1);
    drop(engine);
    while let Some(event) = request.blocking_next() {
        assert!(matches!(event, Event::Tokens(_)));
    }
}

#[test]
fn an_engine_of_no_slots_or_too_many_is_refused() {
    for slots in [0, 257] {
        let mut config = engine(|_| ()).config();
        config.slots = slots;
        assert!(matches!(Engine::start(model(), config), Err(Error::Context { .. })));
    }
}

#[test]
fn weights_that_the_manifest_does_not_pin_or_that_are_none_are_refused() {
    let dir = std::env::temp_dir().join(format!("tokengrid-weights-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let weights = weights_file();
    std::fs::copy(weights.with_file_name("manifest.json"), dir.join("manifest.json")).unwrap();
    std::fs::write(dir.join(weights.file_name().unwrap()), b"GGUF, but not these").unwrap();
    assert!(matches!(Model::load(&dir), Err(Error::WrongWeights { .. })));
    std::fs::write(dir.join("other.gguf"), b"GGUF, but no model").unwrap();
    assert!(matches!(Model::load(&dir.join("other.gguf")), Err(Error::Header { .. })));
    assert!(matches!(Model::load(&dir.join("absent.gguf")), Err(Error::File { .. })));
    std::fs::write(dir.join("manifest.json"), b"{}").unwrap();
    assert!(matches!(Model::load(&dir), Err(Error::Json { .. })));
    std::fs::remove_dir_all(dir).unwrap();
}

fn assert_idle(engine: &Engine) {
    let free = EngineLoad {
        running: 0,
        waiting: 0,
        slots_free: engine.config().slots,
        kv_free_tokens: engine.config().slots * engine.config().context_tokens,
    };
    assert_eq!(engine.load(), free);
}

/// Waits for what another thread is about to do; a test that waits for ever is stopped by its runner.
fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}
