//! Sharing prefixes and losing slots: the same answers, less computed.

use std::ops::RangeInclusive;

use engine::Engine;
use primitives::kv_block::BLOCK_TOKENS;
use primitives::node_protocol::{FinishReason, Terms, Work};

use crate::bundled::{Output, engine, finish, long_work, question, read_frames, work};

/// The same work under a salt.
fn salted(work: &Work, salt: &str) -> Work {
    Work { terms: Terms { cache_salt: Some(salt.into()), ..work.terms.clone() }, ..work.clone() }
}

fn answer(engine: &Engine, work: &Work) -> Output {
    finish(engine.submit(work.clone()).unwrap())
}

/// Long prompts that are the same to a point; gives how far.
fn burst(requests: u32) -> (usize, Vec<Work>) {
    let rules = question(&"Answer in one word. ".repeat(20));
    let prompts = (0..requests).map(|number| {
        let mut prompt = rules.clone();
        // The first token after the rules differs.
        prompt.push(65 + number);
        prompt.extend(question("What is 12 + 30?"));
        work(prompt, 12)
    });
    (rules.len(), prompts.collect())
}

/// How much of a shared beginning others wait for: less than a block is not worth it.
fn worth(shared: usize) -> RangeInclusive<usize> {
    shared + 1 - BLOCK_TOKENS..=shared
}

fn without_cached(mut output: Output) -> Output {
    output.usage.cached_tokens = 0;
    output
}

#[test]
fn of_a_burst_with_one_beginning_it_is_computed_once_and_the_answers_are_the_same() {
    let (shared, works) = burst(16);
    let (alone, together) = (engine(|config| config.slots = 1), engine(|config| config.slots = 16));
    let expected: Vec<Output> = works.iter().map(|work| answer(&alone, work)).collect();
    let requests: Vec<_> = works.iter().map(|work| together.submit(salted(work, "a")).unwrap()).collect();
    let outputs: Vec<Output> = requests.into_iter().map(finish).collect();
    let cached: Vec<usize> = outputs.iter().map(|output| output.usage.cached_tokens as usize).collect();
    assert_eq!(cached[0], 0, "the first computes it");
    assert!(cached[1..].iter().all(|cached| worth(shared).contains(cached)), "{cached:?} of {shared}");
    assert_eq!(outputs.into_iter().map(without_cached).collect::<Vec<_>>(), expected);
}

#[test]
fn a_conversation_goes_on_from_its_last_turn_also_when_others_took_its_slot() {
    let engine = engine(|config| config.slots = 1);
    let first = salted(&work(question("What is Tokengrid?"), 30), "a");
    let output = answer(&engine, &first);
    let mut second = first.clone();
    second.prompt.extend(&output.ids);
    let held = second.prompt.len() - usize::from(output.reason == FinishReason::Length);
    second.prompt.extend(question("And what is 12 + 30?"));
    let expected = answer(&engine, &Work { terms: Terms::default(), ..second.clone() });
    let others = (0..5).map(|number| salted(&work(question(&format!("Say {number} again and again.")), 20), "b"));
    others.for_each(|other| drop(answer(&engine, &other)));
    let restored = answer(&engine, &second);
    assert_eq!(restored.usage.cached_tokens as usize, held);
    assert_eq!(without_cached(restored), expected, "from the saved state");
    let again = answer(&engine, &second);
    assert_eq!(again.usage.cached_tokens as usize, second.prompt.len() - 1);
    assert_eq!(without_cached(again), expected, "in its own slot");
}

#[test]
fn without_memory_for_states_what_lost_its_slot_is_computed_again() {
    let engine = engine(|config| (config.slots, config.saved_bytes_max) = (1, 0));
    let (first, other) = (salted(&burst(1).1[0], "a"), salted(&work(question("Hi"), 5), "b"));
    let before = answer(&engine, &first);
    answer(&engine, &other);
    assert_eq!(answer(&engine, &first), before, "with nothing cached");
}

#[test]
fn another_salt_or_none_never_hits() {
    let engine = engine(|config| config.slots = 4);
    let plain = burst(1).1.remove(0);
    assert_eq!(answer(&engine, &salted(&plain, "a")).usage.cached_tokens, 0);
    assert_eq!(answer(&engine, &salted(&plain, "b")).usage.cached_tokens, 0);
    assert_eq!(answer(&engine, &plain).usage.cached_tokens, 0);
    assert_eq!(answer(&engine, &plain).usage.cached_tokens, 0, "not even its own");
    assert_eq!(answer(&engine, &salted(&plain, "a")).usage.cached_tokens as usize, plain.prompt.len() - 1);
}

#[test]
fn a_resumed_request_shares_its_prompt_and_what_was_made_elsewhere() {
    let engine = engine(|config| config.slots = 2);
    let original = salted(&burst(1).1[0], "a");
    let whole = answer(&engine, &original);
    for &(tokens, bytes) in &whole.given {
        let mut resumed = original.clone();
        (resumed.resume, resumed.resume_text_bytes) = (whole.ids[..tokens].to_vec(), bytes as u64);
        let rest = answer(&engine, &resumed);
        assert_eq!((&rest.ids[..], rest.text.as_str()), (&whole.ids[tokens..], &whole.text[bytes..]));
        assert!(rest.usage.cached_tokens <= rest.usage.prompt_tokens, "resumed tokens are no prompt");
        assert!(rest.usage.cached_tokens as usize >= original.prompt.len() - 1);
    }
}

#[test]
fn when_the_one_that_computes_for_all_is_cancelled_another_goes_on_from_there() {
    // Chunks of four: the prefill takes more than a hundred steps.
    let engine = engine(|config| (config.slots, config.chunk_tokens_max) = (4, 4));
    let (shared, works) = burst(4);
    let expected = answer(&engine, &works[1]);
    let first = engine.submit(salted(&works[0], "a")).unwrap();
    let rest: Vec<_> = works[1..].iter().map(|work| engine.submit(salted(work, "a")).unwrap()).collect();
    drop(first);
    let outputs: Vec<Output> = rest.into_iter().map(finish).collect();
    assert!((outputs[0].usage.cached_tokens as usize) < shared, "it did not wait for the end");
    let cached = outputs[1..].iter().map(|output| output.usage.cached_tokens as usize);
    assert!(cached.into_iter().all(|cached| worth(shared).contains(&cached)));
    assert_eq!(without_cached(outputs[0].clone()), expected);
    assert_eq!((engine.load().running, engine.load().waiting), (0, 0));
}

#[test]
fn a_request_that_lost_its_slot_to_a_higher_priority_goes_on_with_the_same_text() {
    for saved_bytes_max in [0, 1 << 30] {
        let engine = engine(|config| {
            (config.slots, config.saved_bytes_max, config.tokens_per_second_max) = (1, saved_bytes_max, Some(100));
        });
        let low = salted(&long_work(60), "low");
        let expected = answer(&engine, &low);
        let mut high = salted(&work(question("What is 12 + 30?"), 4), "high");
        high.terms.priority = 1;
        let mut lost = engine.submit(low).unwrap();
        read_frames(&mut lost, 20);
        let urgent = finish(engine.submit(high).unwrap());
        assert!(!urgent.ids.is_empty());
        assert_eq!(engine.load().running + engine.load().waiting, 1, "the other has not ended");
        let rest = finish(lost);
        assert_eq!(rest.ids, expected.ids[20..], "with {saved_bytes_max} bytes for states");
        assert_eq!(rest.usage.output_tokens, 60);
    }
}

#[test]
fn requests_that_come_and_go_at_random_with_salts_and_priorities_get_what_they_would_get_alone() {
    // Room for a few states only, so that they come and go as well.
    let engine = engine(|config| (config.slots, config.waiting_max, config.saved_bytes_max) = (6, 400, 1 << 20));
    let (_, works) = burst(8);
    let expected: Vec<Output> = works.iter().map(|work| answer(&engine, work)).collect();
    let mut kept = Vec::new();
    for number in 0..soak() {
        let which = number * 7 % works.len();
        let mut work = salted(&works[which], ["a", "b", "c"][number % 3]);
        work.terms.priority = u8::from(number % 5 == 0);
        if number % 11 == 0 {
            work.terms.cache_salt = None;
        }
        let mut request = engine.submit(work).unwrap();
        match number % 6 {
            0 => request.cancel(),
            1 => drop(request),
            2 => drop(request.blocking_next()),
            _ => kept.push((which, request)),
        }
        if kept.len() > 100 {
            for (which, request) in kept.drain(..) {
                assert_eq!(without_cached(finish(request)), expected[which]);
            }
        }
    }
    for (which, request) in kept {
        assert_eq!(without_cached(finish(request)), expected[which]);
    }
    while engine.load().running + engine.load().waiting > 0 {
        std::thread::yield_now();
    }
    assert_eq!(engine.load().slots_free, 6);
    for (work, expected) in works.iter().zip(&expected) {
        assert_eq!(without_cached(answer(&engine, &salted(work, "a"))), *expected);
    }
}

/// How many requests come: 200 with every test run, `TOKENGRID_SOAK_REQUESTS=10000` is the drill.
#[expect(clippy::disallowed_methods, reason = "cargo's test programs have no command line of their own")]
fn soak() -> usize {
    std::env::var("TOKENGRID_SOAK_REQUESTS")
        .map_or(200, |requests| requests.parse().expect("TOKENGRID_SOAK_REQUESTS is a number"))
}
