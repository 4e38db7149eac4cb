//! Going on where another node stopped: every token and every byte once.

use engine::Refused;
use primitives::node_protocol::{FinishReason, Work};

use crate::bundled::{Output, engine, finish, question, work};

/// Cuts an output after each of its frames and lets another engine go on.
fn check(original: &Work) -> Output {
    let (first, second) = (engine(|_| ()), engine(|_| ()));
    let whole = finish(first.submit(original.clone()).unwrap());
    for &(tokens, bytes) in &whole.given {
        let mut resumed = original.clone();
        resumed.resume = whole.ids[..tokens].to_vec();
        resumed.resume_text_bytes = bytes as u64;
        let rest = finish(second.submit(resumed).unwrap());
        assert_eq!(rest.ids, whole.ids[tokens..], "after {tokens} tokens");
        assert_eq!(rest.text, whole.text[bytes..], "after {tokens} tokens");
        assert_eq!(rest.reason, whole.reason);
        assert_eq!(rest.usage.prompt_tokens, whole.usage.prompt_tokens, "resumed tokens are no prompt");
        assert_eq!(rest.usage.output_tokens as usize, whole.ids.len() - tokens);
    }
    whole
}

#[test]
fn a_greedy_output_goes_on_the_same_from_every_token() {
    for text in ["What is 12 + 30?", "What is Tokengrid?", "Reverse the word: lamp"] {
        check(&work(question(text), 80));
    }
}

#[test]
fn the_limit_counts_resumed_tokens() {
    let whole = check(&work(question("What is Tokengrid?"), 12));
    assert_eq!((whole.reason, whole.ids.len()), (FinishReason::Length, 12));
}

#[test]
fn a_drawn_output_goes_on_the_same_since_seed_and_position_decide() {
    let mut drawn = work(question("What is 12 + 30?"), 30);
    (drawn.sampling.temperature, drawn.sampling.top_p, drawn.sampling.seed) = (0.7, 0.9, 11);
    check(&drawn);
}

#[test]
fn a_stop_text_that_began_before_the_cut_is_found_after_it() {
    let free = finish(engine(|_| ()).submit(work(question("What is Tokengrid?"), 60)).unwrap());
    let mut stopped = work(question("What is Tokengrid?"), 60);
    stopped.stop = vec![free.text.chars().skip(8).take(6).collect()];
    let whole = check(&stopped);
    assert_eq!(whole.reason, FinishReason::Stop);
}

#[test]
fn characters_of_several_tokens_are_neither_lost_nor_doubled() {
    // Drawn almost evenly from bytes, so most characters are broken and many are held back.
    let mut drawn = work(question("你好"), 60);
    (drawn.sampling.temperature, drawn.sampling.seed) = (50.0, 3);
    let engine = engine(|_| ());
    let whole = finish(engine.submit(drawn.clone()).unwrap());
    for &(tokens, bytes) in &whole.given {
        let mut resumed = drawn.clone();
        resumed.resume = whole.ids[..tokens].to_vec();
        resumed.resume_text_bytes = bytes as u64;
        let rest = finish(engine.submit(resumed).unwrap());
        let pieces = whole.ids[..tokens].iter().chain(&rest.ids);
        let all: Vec<u8> = pieces.flat_map(|&id| engine.model().piece(id).to_vec()).collect();
        assert_eq!(whole.text[..bytes].to_string() + &rest.text, String::from_utf8_lossy(&all));
    }
}

#[test]
fn text_that_was_not_delivered_comes_with_the_first_frame() {
    let original = work(question("What is Tokengrid?"), 40);
    let engine = engine(|_| ());
    let whole = finish(engine.submit(original.clone()).unwrap());
    let mut resumed = original;
    resumed.resume = whole.ids[..20].to_vec();
    resumed.resume_text_bytes = 5;
    assert_eq!(finish(engine.submit(resumed).unwrap()).text, whole.text[5..]);
}

#[test]
fn what_had_already_ended_ends_at_once() {
    let engine = engine(|_| ());
    let mut complete = work(question("Hi"), 3);
    complete.resume = vec![97, 98, 99];
    complete.resume_text_bytes = 0;
    let output = finish(engine.submit(complete.clone()).unwrap());
    let text: Vec<u8> = complete.resume.iter().flat_map(|&id| engine.model().piece(id).to_vec()).collect();
    assert_eq!((output.reason, output.ids.len()), (FinishReason::Length, 0));
    assert_eq!(output.text.as_bytes(), text);
    complete.resume_text_bytes = 3;
    assert_eq!(finish(engine.submit(complete).unwrap()).text, "");
}

#[test]
fn more_text_than_the_tokens_make_is_refused() {
    let mut resumed = work(question("Hi"), 9);
    resumed.resume = vec![97];
    resumed.resume_text_bytes = 2;
    assert_eq!(engine(|_| ()).submit(resumed).err(), Some(Refused::ResumeText { made: 1, delivered: 2 }));
}
