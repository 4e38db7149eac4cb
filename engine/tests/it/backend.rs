//! The library's context: what the engine relies on.

use engine::backend::llama::{Context, KvType, Shape, Weights};

use crate::bundled::{question, weights_file};

fn context(weights: &Weights) -> Context<'_> {
    Context::try_new(
        weights,
        Shape { slots: 4, context_tokens: 256, batch_tokens: 128, threads: 1, saved_bytes_max: 0, kv: KvType::F16 },
    )
    .unwrap()
}

fn feed(context: &mut Context<'_>, slot: usize, position: usize, ids: &[u32]) -> Vec<f32> {
    context.begin();
    context.add(slot, position, ids, true).unwrap();
    context.decode().unwrap();
    context.logits(0).to_vec()
}

#[test]
fn a_sequence_that_moves_to_another_slot_goes_on_bit_for_bit() {
    let weights = Weights::load(&weights_file()).unwrap();
    let (prompt, other) = (question("What is 12 + 30?"), question("Hi"));
    let mut stays = context(&weights);
    feed(&mut stays, 3, 0, &prompt);
    let mut moves = context(&weights);
    feed(&mut moves, 0, 0, &other);
    feed(&mut moves, 3, 0, &prompt);
    moves.trim(0, 0).unwrap();
    moves.copy(3, 0).unwrap();
    moves.trim(3, 0).unwrap();
    assert_eq!(feed(&mut moves, 0, prompt.len(), &[65]), feed(&mut stays, 3, prompt.len(), &[65]));
    // The slot it left is empty: another sequence begins there.
    let mut fresh = context(&weights);
    assert_eq!(feed(&mut moves, 3, 0, &other), feed(&mut fresh, 3, 0, &other));
}

#[test]
fn a_batch_that_the_library_refuses_is_an_error_and_the_context_goes_on() {
    let weights = Weights::load(&weights_file()).unwrap();
    let mut context = context(&weights);
    let prompt = question("Hi");
    context.begin();
    context.add(0, 0, &prompt, true).unwrap();
    context.add(0, 200, &[65], true).unwrap();
    assert!(context.decode().is_err(), "positions with a gap");
    context.trim(0, 0).unwrap();
    feed(&mut context, 0, 0, &prompt);
    context.begin();
    assert!(context.add(1, 0, &[65; 129], true).is_err(), "more than a batch holds");
    context.trim(0, 0).unwrap();
    let ids = vec![65; 256];
    for (position, chunk) in (0..).step_by(128).zip(ids.chunks(128)) {
        feed(&mut context, 0, position, chunk);
    }
    context.begin();
    context.add(0, 256, &[65], true).unwrap();
    assert!(context.decode().is_err(), "no room in the cache");
}
