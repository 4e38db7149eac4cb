//! Texts that become vectors: delivered once each, whoever makes them, and paid when all are there.

use primitives::node_protocol::{EmbeddingFrame, FromNode, ToNode};

use super::world::{World, finished, job, job_id, node, tokens};
use crate::job::{Job, JobEvent, Outcome, Segment};
use crate::lease::LeaseOutcome;

/// Three texts, of one, two and one token.
fn texts(n: u128) -> Job {
    Job { embed: vec![1, 2, 1], output_tokens_max: 0, ..job(n) }
}

fn vector(n: u128, epoch: u32, seq: u32, numbers: &[f32]) -> FromNode {
    FromNode::Embedding(EmbeddingFrame { job_id: job_id(n), epoch, seq, vector: numbers.to_vec() })
}

/// Job 1 runs on node 1; node 2 stands by.
fn begun() -> World {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.submit(texts(1)).unwrap();
    world.accept(1, 1, 1);
    world
}

/// The texts sent to a node under an epoch.
fn sent(world: &World, of: u32) -> Option<(u128, Vec<Vec<u32>>)> {
    world.sent.iter().find_map(|(to, message)| match message {
        ToNode::Embed { epoch, texts, .. } if *epoch == of => Some((to.0.as_u128(), texts.clone())),
        _ => None,
    })
}

fn received(world: &World) -> Vec<f32> {
    let vector = |event: &JobEvent| if let JobEvent::Vector(vector) = event { Some(vector[0]) } else { None };
    world.events[&job_id(1)].iter().filter_map(vector).collect()
}

fn ended(world: &World) -> Vec<Segment> {
    match world.last_event(1) {
        Some(JobEvent::Ended(Outcome { segments, .. })) => segments.clone(),
        other => panic!("the job has not ended: {other:?}"),
    }
}

#[test]
fn each_text_gets_its_vector_and_what_was_read_is_paid() {
    let mut world = begun();
    assert_eq!(sent(&world, 1), Some((1, vec![vec![1], vec![2, 3], vec![4]])));
    for (seq, number) in [(0, 0.1), (1, 0.2), (2, 0.3)] {
        world.receive(1, vector(1, 1, seq, &[number, 0.9]));
        world.receive(1, vector(1, 1, seq, &[number, 0.9]));
    }
    world.receive(1, finished(node(1), 1, 1, 3, &[]));
    assert_eq!(received(&world), [0.1, 0.2, 0.3]);
    let segments = ended(&world);
    assert_eq!((segments.len(), segments[0].prompt_tokens, segments[0].output_tokens), (1, 4, 0));
    assert_eq!(world.ends[0].prompt_tokens, 4);
}

#[test]
fn another_node_goes_on_with_the_texts_that_are_left() {
    let mut world = begun();
    world.receive(1, vector(1, 1, 0, &[0.1]));
    world.disconnect(1);
    world.accept(2, 1, 2);
    assert_eq!(sent(&world, 2), Some((2, vec![vec![2, 3], vec![4]])));
    world.receive(2, vector(1, 2, 0, &[0.2]));
    world.receive(2, vector(1, 2, 1, &[0.3]));
    world.receive(2, finished(node(2), 1, 2, 2, &[]));
    assert_eq!(received(&world), [0.1, 0.2, 0.3]);
    let segments = ended(&world);
    assert_eq!((segments.len(), segments[0].epoch, segments[0].prompt_tokens), (1, 2, 4));
    assert_eq!(world.ends[1].prompt_tokens, 3, "its receipt speaks of what it read");
}

#[test]
fn a_node_that_ends_early_or_sends_what_is_no_vector_loses_the_job() {
    let wrong: [fn() -> FromNode; 7] = [
        || finished(node(1), 1, 1, 1, &[]),
        || finished(node(1), 1, 1, 4, &[]),
        || vector(1, 1, 2, &[0.2]),
        || vector(1, 1, 1, &[]),
        || vector(1, 1, 1, &[f32::NAN]),
        || vector(1, 1, 1, &[0.2, 0.3]),
        || tokens(1, 1, 1, &[7]),
    ];
    for (case, message) in wrong.iter().enumerate() {
        let mut world = begun();
        world.receive(1, vector(1, 1, 0, &[0.1]));
        world.receive(1, message());
        assert_eq!(world.ends[0].outcome, LeaseOutcome::Broken, "case {case}");
        assert_eq!(world.offers(1), [1, 2], "case {case}");
        assert_eq!(received(&world), [0.1], "case {case}");
    }
}

#[test]
fn a_node_that_vanishes_after_the_last_vector_has_done_the_job() {
    let mut world = begun();
    (0..3).for_each(|seq| world.receive(1, vector(1, 1, seq, &[0.5])));
    world.disconnect(1);
    assert_eq!(ended(&world)[0].prompt_tokens, 4);
}

#[test]
fn a_cancelled_job_costs_nothing_and_a_vector_belongs_to_texts_alone() {
    let mut world = begun();
    world.receive(1, vector(1, 1, 0, &[0.1]));
    let cancelled = world.core.cancel(world.now, job_id(1)).unwrap();
    assert_eq!(cancelled.segments, []);
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.receive(1, vector(1, 1, 0, &[0.1]));
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Broken);
}

#[test]
fn texts_need_the_room_of_the_longest() {
    // A slot has a hundred tokens.
    let long = |longest: u32| Job { prompt: vec![1; 250], embed: vec![longest, 250 - longest], ..texts(1) };
    let mut world = World::with_nodes(&[(1, 1)]);
    assert!(world.submit(long(160)).is_err());
    let fits = Job { prompt: vec![1; 250], embed: vec![100, 100, 50], ..texts(1) };
    world.submit(fits).unwrap();
    assert!(matches!(&world.sent[0].1, ToNode::Offer(offer) if offer.prompt_tokens == 100));
}

#[test]
fn texts_that_take_long_live_by_their_vectors() {
    let mut world = begun();
    world.receive(1, vector(1, 1, 0, &[0.1]));
    world.pass(20_000, &[1, 2]);
    world.receive(1, vector(1, 1, 1, &[0.2]));
    world.pass(20_000, &[1, 2]);
    assert_eq!(world.offers(1), [1]);
    world.pass(20_000, &[1, 2]);
    assert_eq!(world.offers(1)[..2], [1, 2], "nothing came for half a minute");
}
