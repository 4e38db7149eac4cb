//! The core's promises, one by one, on a manual clock.

use chrono::TimeDelta;
use primitives::id::TenantId;
use primitives::kv_block;
use primitives::node_protocol::{FromNode, Load, Terms, TokenFrame};
use uuid::Uuid;

use super::world::{MODEL, World, finished, job, job_id, node, session, tokens};
use crate::job::{Class, EndReason, FailureCode, Job, JobEvent, Outcome, Segment};
use crate::lease::LeaseOutcome;
use crate::{Refused, Settings};

fn ended(world: &World, n: u128) -> Outcome {
    match world.last_event(n) {
        Some(JobEvent::Ended(outcome)) => outcome.clone(),
        other => panic!("job {n} has not ended: {other:?}"),
    }
}

fn failure(world: &World, n: u128) -> (FailureCode, Vec<Segment>) {
    match world.last_event(n) {
        Some(JobEvent::Failed { code, segments, .. }) => (*code, segments.clone()),
        other => panic!("job {n} has not failed: {other:?}"),
    }
}

/// The epoch, prompt and output tokens of each segment.
fn shares(segments: &[Segment]) -> Vec<(u32, u32, u32)> {
    segments.iter().map(|segment| (segment.epoch, segment.prompt_tokens, segment.output_tokens)).collect()
}

/// A running job 1 on node 1 that has delivered 10, 11; node 2 stands by.
fn half_done() -> World {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.receive(1, tokens(1, 1, 0, &[10]));
    world.receive(1, tokens(1, 1, 1, &[11]));
    world
}

#[test]
fn a_job_goes_from_offer_to_end() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    assert_eq!(world.offers(1), [1]);
    assert!(world.work(1, 1).is_none(), "the prompt travels only after the node took the job");
    world.accept(1, 1, 1);
    assert_eq!(world.work(1, 1).unwrap().1.prompt, [1, 2, 3, 4]);
    world.receive(1, tokens(1, 1, 0, &[10, 11]));
    world.receive(1, finished(node(1), 1, 1, 1, &[10, 11]));
    assert_eq!(world.received(1), [10, 11]);
    let outcome = ended(&world, 1);
    assert_eq!((outcome.reason, shares(&outcome.segments)), (EndReason::Stop, vec![(1, 4, 2)]));
    assert_eq!((world.ends[0].outcome, &world.ends[0].delivered[..]), (LeaseOutcome::Done, &[10, 11][..]));
    assert_eq!(world.core.models()[0].slots_free, 1);
}

#[test]
fn the_work_tells_what_the_job_may_expect_of_the_engine() {
    let mut world = World::with_nodes(&[(1, 2)]);
    let deadline = Some(world.now + TimeDelta::milliseconds(700));
    world.submit(Job { cache_salt: Some("5a17".into()), deadline, ..job(1) }).unwrap();
    world.submit(Job { class: Class::Batch, deadline: Some(world.now), ..job(2) }).unwrap();
    world.now += TimeDelta::milliseconds(200);
    world.accept(1, 1, 1);
    world.accept(1, 2, 1);
    let terms = |n| world.work(n, 1).unwrap().1.terms.clone();
    let urgent = Terms { cache_salt: Some("5a17".into()), priority: 1, first_token_within_ms: Some(500) };
    assert_eq!(terms(1), urgent);
    assert_eq!(terms(2), Terms { cache_salt: None, priority: 0, first_token_within_ms: Some(0) });
}

#[test]
fn cached_tokens_are_the_nodes_word_and_never_more_than_it_was_sent_before() {
    let salt = "5a17".to_owned();
    let asks = |n, tokens: u32| {
        let prompt: Vec<u32> = (0..tokens).collect();
        let prompt_blocks = kv_block::names(&salt, &prompt);
        Job { prompt, prompt_blocks, cache_salt: Some(salt.clone()), ..job(n) }
    };
    let mut world = World::with_nodes(&[(1, 1)]);
    let mut cached = |n, tokens, said| {
        world.submit(asks(n, tokens)).unwrap();
        world.accept(1, n, 1);
        // The output goes on counting.
        world.receive(1, super::world::tokens(n, 1, 0, &[tokens, tokens + 1]));
        let FromNode::Finished { reason, frames, receipt, .. } = finished(node(1), n, 1, 1, &[10]) else {
            unreachable!()
        };
        world.receive(1, FromNode::Finished { reason, frames, cached_tokens: said, receipt });
        ended(&world, n).segments[0].cached_tokens
    };
    assert_eq!(cached(1, 62, 62), 0, "nothing was sent before");
    assert_eq!(cached(2, 62, 61), 32, "one whole block was, in the prompt");
    assert_eq!(cached(3, 62, 7), 7, "the node's word");
    assert_eq!(cached(4, 66, 65), 64, "the second block was completed by an output");
    assert_eq!(cached(5, 66, u32::MAX), 64);
}

#[test]
fn another_choice_of_a_request_leaves_the_prompt_to_the_first() {
    let mut world = World::with_nodes(&[(1, 2)]);
    world.submit(job(1)).unwrap();
    world.submit(Job { pays_prompt: false, ..job(2) }).unwrap();
    for n in [1, 2] {
        world.accept(1, n, 1);
        world.receive(1, tokens(n, 1, 0, &[10]));
        world.receive(1, finished(node(1), n, 1, 1, &[10]));
    }
    assert_eq!(shares(&ended(&world, 1).segments), [(1, 4, 1)]);
    assert_eq!(shares(&ended(&world, 2).segments), [(1, 0, 1)]);
    world.submit(Job { pays_prompt: false, ..job(3) }).unwrap();
    world.accept(1, 3, 1);
    world.receive(1, tokens(3, 1, 0, &[10]));
    let cancelled = world.core.cancel(world.now, job_id(3)).unwrap();
    assert_eq!(shares(&cancelled.segments), [(1, 0, 1)]);
}

#[test]
fn work_is_not_sent_before_its_lease_is_on_record() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.holds_leases = true;
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    assert!(world.work(1, 1).is_none());
    world.core.lease_recorded(world.now, job_id(1), 1);
    world.collect();
    assert!(world.work(1, 1).is_some());
}

#[test]
fn a_job_whose_lease_is_refused_fails_and_its_node_is_told() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.holds_leases = true;
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.core.lease_refused(world.now, job_id(1), 1);
    world.collect();
    assert_eq!(failure(&world, 1), (FailureCode::LeaseUnrecorded, vec![]));
    assert!(world.was_cancelled(1, 1, 1) && world.ends.is_empty());
}

#[test]
fn a_node_lost_while_its_lease_is_recorded_costs_an_epoch_and_no_more() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.holds_leases = true;
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.disconnect(1);
    assert_eq!(world.offers(1), [1], "one record of a job at a time");
    world.core.lease_recorded(world.now, job_id(1), 1);
    world.collect();
    assert_eq!((world.offers(1), world.ends[0].outcome), (vec![1, 2], LeaseOutcome::Lost));
    world.accept(2, 1, 2);
    assert_eq!(world.held.last().unwrap().epoch, 2);
}

#[test]
fn fail_over_resumes_from_the_delivered_tokens() {
    let mut world = half_done();
    world.disconnect(1);
    assert_eq!(world.offers(1), [1, 2]);
    world.accept(2, 1, 2);
    let (to, work) = world.work(1, 2).unwrap();
    assert_eq!((to, &work.resume[..], work.resume_text_bytes), (2, &[10, 11][..], 6));
    assert_eq!((&work.sampling, work.output_tokens_max), (&job(1).sampling, 8));
    world.receive(2, tokens(1, 2, 0, &[12]));
    world.receive(2, finished(node(2), 1, 2, 1, &[12]));
    assert_eq!(world.received(1), [10, 11, 12]);
    assert_eq!(shares(&ended(&world, 1).segments), [(1, 0, 2), (2, 4, 1)], "the prompt counts once");
}

#[test]
fn a_stolen_lease_cannot_deliver() {
    let mut world = half_done();
    world.disconnect(1);
    world.accept(2, 1, 2);
    world.connect(1, 1);
    world.receive(1, tokens(1, 1, 2, &[99]));
    world.receive(1, tokens(1, 2, 0, &[99]));
    world.receive(1, finished(node(1), 1, 1, 3, &[10, 11, 99]));
    world.receive(1, FromNode::Failed { job_id: job_id(1), epoch: 2, message: String::new() });
    assert_eq!(world.received(1), [10, 11]);
    world.receive(2, tokens(1, 2, 0, &[12]));
    assert_eq!(world.received(1), [10, 11, 12]);
}

#[test]
fn late_frames_of_an_ended_job_mean_nothing() {
    let mut world = half_done();
    world.receive(1, finished(node(1), 1, 1, 2, &[10, 11]));
    let events = world.events[&job_id(1)].len();
    world.receive(1, tokens(1, 1, 2, &[12]));
    world.receive(1, finished(node(1), 1, 1, 3, &[10, 11, 12]));
    assert_eq!(world.events[&job_id(1)].len(), events);
}

#[test]
fn an_end_that_overtakes_a_frame_waits_for_it() {
    let mut world = half_done();
    world.receive(1, finished(node(1), 1, 1, 4, &[10, 11, 12, 13]));
    world.receive(1, tokens(1, 1, 2, &[12]));
    assert!(world.ends.is_empty());
    world.receive(1, tokens(1, 1, 3, &[13]));
    assert_eq!((world.received(1), ended(&world, 1).reason), (vec![10, 11, 12, 13], EndReason::Stop));
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Done);
}

#[test]
fn a_frame_that_never_comes_moves_the_job_though_its_node_says_that_it_is_done() {
    let mut world = half_done();
    world.receive(1, finished(node(1), 1, 1, 3, &[10, 11, 12]));
    world.pass(3_100, &[1, 2]);
    assert_eq!((world.ends[0].outcome, world.offers(1)), (LeaseOutcome::Broken, vec![1, 2]));
    world.accept(2, 1, 2);
    assert_eq!(world.work(1, 2).unwrap().1.resume, [10, 11]);
    world.receive(2, tokens(1, 2, 0, &[12]));
    assert!(world.ends.len() == 1, "the word of the first node is forgotten");
    world.receive(2, finished(node(2), 1, 2, 1, &[12]));
    assert_eq!(shares(&ended(&world, 1).segments), [(1, 0, 2), (2, 4, 1)]);
}

#[test]
fn heartbeats_do_not_keep_a_lease_whose_only_frame_is_missing() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.receive(1, finished(node(1), 1, 1, 1, &[10]));
    world.pass(3_100, &[1, 2]);
    assert_eq!((world.ends[0].outcome, world.offers(1)), (LeaseOutcome::Broken, vec![1, 2]));
}

#[test]
fn an_end_after_fewer_frames_than_came_or_more_than_may_breaks_the_lease() {
    for frames in [0, 1, 25, u32::MAX] {
        let mut world = half_done();
        world.receive(1, finished(node(1), 1, 1, frames, &[10, 11]));
        assert_eq!((world.ends[0].outcome, world.offers(1)), (LeaseOutcome::Broken, vec![1, 2]), "{frames}");
        assert_eq!(world.received(1), [10, 11]);
    }
}

#[test]
fn a_repeated_frame_is_delivered_once() {
    let mut world = half_done();
    world.receive(1, tokens(1, 1, 0, &[10]));
    world.receive(1, tokens(1, 1, 1, &[11]));
    world.receive(1, tokens(1, 1, 2, &[12]));
    assert_eq!(world.received(1), [10, 11, 12]);
}

#[test]
fn a_missing_frame_breaks_the_lease_and_nothing_is_lost() {
    let mut world = half_done();
    world.receive(1, tokens(1, 1, 3, &[13]));
    assert!(world.was_cancelled(1, 1, 1));
    assert_eq!((world.received(1), world.ends[0].outcome), (vec![10, 11], LeaseOutcome::Broken));
    assert_eq!(world.offers(1), [1, 2]);
}

#[test]
fn text_that_its_tokens_cannot_have_breaks_the_lease() {
    let mut world = half_done();
    let text = "x".repeat(4_096);
    let frame = TokenFrame { job_id: job_id(1), epoch: 1, seq: 2, ids: vec![], text, logprobs: vec![] };
    world.receive(1, FromNode::Tokens(frame));
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Broken);
}

#[test]
fn frames_without_tokens_cannot_go_on_for_ever() {
    let mut world = half_done();
    let idle =
        |seq| TokenFrame { job_id: job_id(1), epoch: 1, seq, ids: vec![], text: String::new(), logprobs: vec![] };
    (2..24).for_each(|seq| world.receive(1, FromNode::Tokens(idle(seq))));
    assert!(world.ends.is_empty());
    world.receive(1, FromNode::Tokens(idle(24)));
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Broken);
}

#[test]
fn a_frame_that_passes_the_limit_is_dropped_whole() {
    let mut world = half_done();
    world.receive(1, tokens(1, 1, 2, &[12, 13, 14, 15, 16, 17, 18]));
    assert_eq!(world.received(1), [10, 11], "its text cannot be divided, so none of it is charged");
    assert_eq!(shares(&ended(&world, 1).segments), [(1, 4, 2)]);
}

#[test]
fn a_node_that_ignores_the_limit_is_cut() {
    let mut world = half_done();
    (2..8).for_each(|seq| world.receive(1, tokens(1, 1, seq, &[10 + seq])));
    world.receive(1, tokens(1, 1, 8, &[18]));
    assert_eq!(world.received(1), (10..18).collect::<Vec<_>>());
    assert_eq!(ended(&world, 1).reason, EndReason::Length);
    assert!(world.was_cancelled(1, 1, 1));
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Cut);
}

#[test]
fn a_whole_output_whose_node_dies_before_saying_so_has_ended() {
    let mut world = half_done();
    world.receive(1, tokens(1, 1, 2, &[12, 13, 14, 15, 16, 17]));
    world.disconnect(1);
    let outcome = ended(&world, 1);
    assert_eq!((outcome.reason, shares(&outcome.segments)), (EndReason::Length, vec![(1, 4, 8)]));
    assert_eq!(world.offers(1), [1]);
}

#[test]
fn a_node_silent_on_its_job_is_given_up_on_though_it_lives() {
    let mut world = half_done();
    world.pass(2_900, &[1, 2]);
    assert!(world.ends.is_empty());
    world.pass(200, &[1, 2]);
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Stalled);
    assert!(world.was_cancelled(1, 1, 1));
    assert_eq!(world.offers(1), [1, 2]);
}

#[test]
fn a_long_prefill_lives_by_heartbeats_until_the_first_tokens_deadline() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.pass(29_000, &[1]);
    assert!(world.ends.is_empty());
    world.pass(1_500, &[1]);
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Stalled);
}

#[test]
fn a_leased_node_without_heartbeats_is_given_up_on() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.pass(3_100, &[2]);
    assert_eq!((world.ends[0].outcome, world.offers(1)), (LeaseOutcome::Stalled, vec![1, 2]));
}

#[test]
fn a_node_that_says_nothing_is_cut_off() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.pass(6_100, &[2]);
    assert_eq!(world.closed, [node(1)]);
    assert_eq!(world.core.nodes().len(), 1);
}

#[test]
fn a_job_that_every_node_gives_up_on_fails_with_what_was_delivered() {
    let mut world = half_done();
    let give_up = |epoch| FromNode::Failed { job_id: job_id(1), epoch, message: "no memory".into() };
    world.receive(1, give_up(1));
    world.accept(2, 1, 2);
    world.receive(2, tokens(1, 2, 0, &[12]));
    world.receive(2, give_up(2));
    assert_eq!(world.offers(1), [1, 2, 1], "every node failed it once, so the first may try again");
    world.accept(1, 1, 3);
    world.receive(1, give_up(3));
    let (code, segments) = failure(&world, 1);
    assert_eq!((code, shares(&segments)), (FailureCode::AttemptsExhausted, vec![(1, 0, 2), (2, 0, 1)]));
    assert_eq!(world.core.models()[0].slots_free, 2);
}

#[test]
fn a_declined_offer_goes_to_the_next_cell() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.submit(job(1)).unwrap();
    world.receive(1, FromNode::Decline { job_id: job_id(1), epoch: 1, reason: "busy".into(), retry_after_ms: None });
    assert_eq!(world.offers(1), [1, 2]);
    world.accept(2, 1, 1);
    assert_eq!(world.work(1, 1).unwrap().0, 2);
}

#[test]
fn an_offer_that_nobody_answers_is_withdrawn() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    world.submit(job(1)).unwrap();
    world.pass(300, &[1, 2]);
    assert!(world.was_cancelled(1, 1, 1));
    assert_eq!(world.offers(1), [1, 2]);
    world.accept(1, 1, 1);
    assert!(world.work(1, 1).is_none(), "too late");
}

#[test]
fn a_lone_cell_that_declined_is_asked_again_after_a_rest() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.receive(1, FromNode::Decline { job_id: job_id(1), epoch: 1, reason: "busy".into(), retry_after_ms: None });
    assert_eq!(world.offers(1), [1]);
    world.pass(250, &[1]);
    assert_eq!(world.offers(1), [1, 1]);
}

#[test]
fn a_job_is_bound_only_when_a_slot_is_free() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.submit(job(2)).unwrap();
    world.accept(1, 1, 1);
    assert!(world.offers(2).is_empty());
    world.receive(1, finished(node(1), 1, 1, 0, &[]));
    assert_eq!(world.offers(2), [1]);
}

#[test]
fn a_flooding_tenant_does_not_hold_up_a_small_one() {
    let mut world = World::with_nodes(&[(1, 1)]);
    (1..=20).for_each(|n| world.submit(job(n)).unwrap());
    world.submit(Job { tenant_id: TenantId(Uuid::from_u128(2)), ..job(99) }).unwrap();
    let whole = [10, 11, 12, 13, 14, 15, 16, 17];
    for n in [1, 2] {
        world.accept(1, n, 1);
        world.receive(1, tokens(n, 1, 0, &whole));
        world.receive(1, finished(node(1), n, 1, 1, &whole));
    }
    assert_eq!(world.offers(99), [1], "the small tenant's job goes third, not twenty-first");
}

#[test]
fn a_job_cancelled_before_its_placement_costs_nothing() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.submit(job(2)).unwrap();
    let outcome = world.core.cancel(world.now, job_id(2)).unwrap();
    assert_eq!(outcome, Outcome { reason: EndReason::Cancelled, segments: vec![] });
    let outcome = world.core.cancel(world.now, job_id(1)).unwrap();
    world.collect();
    assert_eq!(outcome.segments, []);
    assert!(world.was_cancelled(1, 1, 1), "the open offer is withdrawn");
    assert_eq!(world.core.models()[0].slots_free, 1);
    assert_eq!(world.core.cancel(world.now, job_id(1)), None);
}

#[test]
fn a_cancelled_job_costs_what_was_delivered() {
    let mut world = half_done();
    let outcome = world.core.cancel(world.now, job_id(1)).unwrap();
    world.collect();
    assert_eq!((outcome.reason, shares(&outcome.segments)), (EndReason::Cancelled, vec![(1, 4, 2)]));
    assert!(world.was_cancelled(1, 1, 1));
    world.receive(1, tokens(1, 1, 2, &[12]));
    assert_eq!(world.received(1), [10, 11]);
    assert_eq!(world.ends[0].outcome, LeaseOutcome::Cancelled);
}

#[test]
fn a_node_that_brought_nothing_is_owed_no_prompt() {
    let mut world = half_done();
    world.disconnect(1);
    world.accept(2, 1, 2);
    let outcome = world.core.cancel(world.now, job_id(1)).unwrap();
    assert_eq!(shares(&outcome.segments), [(1, 0, 2)]);
}

#[test]
fn shutting_down_fails_every_job_and_offers_none() {
    let mut world = World::with_nodes(&[(1, 1)]);
    (1..=2).for_each(|n| world.submit(job(n)).unwrap());
    world.accept(1, 1, 1);
    world.receive(1, tokens(1, 1, 0, &[10]));
    world.core.abort_all(world.now, FailureCode::ShuttingDown);
    world.collect();
    let (code, segments) = failure(&world, 1);
    assert_eq!((code, shares(&segments)), (FailureCode::ShuttingDown, vec![(1, 0, 1)]), "no prompt is owed");
    assert_eq!((failure(&world, 2).0, world.offers(2)), (FailureCode::ShuttingDown, vec![]));
}

#[test]
fn a_job_whose_nodes_are_gone_waits_and_then_fails() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.disconnect(1);
    world.pass(9_900, &[]);
    assert!(world.last_event(1).is_none());
    world.pass(200, &[]);
    assert_eq!(failure(&world, 1), (FailureCode::NodesGone, vec![]));
}

#[test]
fn a_job_whose_node_comes_back_in_time_is_served() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.disconnect(1);
    world.submit(job(1)).unwrap();
    world.pass(9_000, &[]);
    world.connect(1, 1);
    assert_eq!(world.offers(1), [1]);
    world.accept(1, 1, 1);
    world.pass(2_000, &[1]);
    assert!(world.work(1, 1).is_some() && world.ends.is_empty());
}

#[test]
fn a_job_that_waits_too_long_for_a_slot_fails() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(Job { output_tokens_max: 90, ..job(1) }).unwrap();
    world.accept(1, 1, 1);
    world.submit(job(2)).unwrap();
    for seq in 0..61 {
        world.receive(1, tokens(1, 1, seq, &[10]));
        world.pass(1_000, &[1]);
    }
    assert_eq!(failure(&world, 2).0, FailureCode::QueueTimeout);
}

#[test]
fn what_no_node_could_ever_serve_is_refused_at_once() {
    let mut world = World::with_nodes(&[(1, 1)]);
    let unknown = Job { model: "other".into(), ..job(1) };
    assert_eq!(world.submit(unknown), Err(Refused::NoNode { model: "other".into() }));
    let long = Job { prompt: vec![1; 93], ..job(1) };
    let refused = Refused::ContextTooShort { model: MODEL.into(), tokens_needed: 101, context_tokens_max: 100 };
    assert_eq!(world.submit(long), Err(refused));
}

#[test]
fn the_same_job_is_refused_twice() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    assert_eq!(world.submit(job(1)), Err(Refused::Duplicate(job_id(1))));
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let mut world = World::new(Settings { queue_jobs_max: 2, ..Settings::default() });
    world.connect(1, 1);
    (1..=3).for_each(|n| world.submit(job(n)).unwrap());
    match world.submit(job(4)) {
        Err(Refused::QueueFull { retry_after, .. }) => assert!(retry_after.as_secs() >= 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_no_slot_is_free_for_in_time_is_refused_with_when_one_is() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.receive(1, tokens(1, 1, 0, &[10]));
    world.pass(2_000, &[1]);
    world.receive(1, tokens(1, 1, 1, &[11]));
    world.pass(2_000, &[1]);
    world.receive(1, finished(node(1), 1, 1, 2, &[10, 11]));
    world.submit(job(2)).unwrap();
    world.accept(1, 2, 1);
    world.receive(1, tokens(2, 1, 0, &[10]));
    let within = |n, s| Job { deadline: Some(world.now + TimeDelta::seconds(s)), ..job(n) };
    let (hasty, patient) = (within(3, 2), within(4, 20));
    match world.submit(hasty) {
        Err(Refused::Late { retry_after, .. }) => {
            assert_eq!(retry_after.as_secs(), 3, "four seconds a job, and 1.7 s of time")
        }
        other => panic!("{other:?}"),
    }
    world.submit(patient).unwrap();
}

#[test]
fn interactive_jobs_go_before_batch_jobs() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(job(1)).unwrap();
    world.submit(Job { class: Class::Batch, ..job(2) }).unwrap();
    world.submit(job(3)).unwrap();
    world.accept(1, 1, 1);
    world.receive(1, finished(node(1), 1, 1, 0, &[]));
    assert_eq!((world.offers(2), world.offers(3)), (vec![], vec![1]));
}

#[test]
fn a_draining_node_ends_its_work_and_takes_no_more() {
    let mut world = half_done();
    world.receive(1, FromNode::Goodbye);
    world.submit(job(2)).unwrap();
    assert_eq!(world.offers(2), [2]);
    world.receive(1, tokens(1, 1, 2, &[12]));
    world.receive(1, finished(node(1), 1, 1, 3, &[10, 11, 12]));
    assert_eq!(ended(&world, 1).reason, EndReason::Stop);
    world.submit(job(3)).unwrap();
    assert!(world.offers(3).is_empty());
}

#[test]
fn a_second_link_of_a_node_ends_what_ran_over_the_first() {
    let mut world = half_done();
    world.connect(1, 1);
    assert_eq!((world.ends[0].outcome, world.offers(1)), (LeaseOutcome::Lost, vec![1, 2]));
    world.receive(1, tokens(1, 1, 2, &[12]));
    assert_eq!(world.received(1), [10, 11]);
}

#[test]
fn an_ask_in_another_currency_gets_no_work() {
    let mut world = World::new(Settings::default());
    let mut session = session(1, 1);
    session.asks[0].prices.currency = "EUR".parse().unwrap();
    world.core.connect(world.now, session);
    assert_eq!(world.submit(job(1)), Err(Refused::NoNode { model: MODEL.into() }));
}

#[test]
fn a_receipt_travels_with_the_end_of_its_lease() {
    let mut world = half_done();
    world.receive(1, finished(node(1), 1, 1, 2, &[10, 11, 12]));
    let lease = &world.ends[0];
    assert_eq!(lease.receipt.as_ref().unwrap().receipt.output_tokens, 3);
    assert_eq!(lease.delivered, [10, 11], "the delivered count stands");
    assert_eq!(shares(&ended(&world, 1).segments), [(1, 4, 2)]);
}

#[test]
fn what_a_cell_did_is_measured_and_outlives_its_link() {
    let mut world = World::with_nodes(&[(1, 1)]);
    world.submit(Job { output_tokens_max: 40, ..job(1) }).unwrap();
    world.accept(1, 1, 1);
    world.pass(200, &[1]);
    world.receive(1, tokens(1, 1, 0, &[10]));
    world.pass(1_000, &[1]);
    let more: Vec<u32> = (11..31).collect();
    world.receive(1, tokens(1, 1, 1, &more));
    let all: Vec<u32> = (10..31).collect();
    world.receive(1, finished(node(1), 1, 1, 2, &all));
    let before = world.core.nodes()[0].cells[0].clone();
    assert_eq!((before.first_token_ms, before.tokens_per_s), (Some(200.0), Some(20.0)));
    world.disconnect(1);
    world.connect(1, 1);
    assert_eq!(world.core.nodes()[0].cells[0], before);
}

#[test]
fn a_heartbeat_tells_the_load() {
    let mut world = World::with_nodes(&[(1, 1)]);
    let load = Load { running: 3, waiting: 2, ..Load::default() };
    world.receive(1, FromNode::Heartbeat(load.clone()));
    assert_eq!(world.core.nodes()[0].load, load);
}

#[test]
fn a_node_that_declines_what_it_took_is_given_up_on() {
    let mut world = half_done();
    world.receive(
        1,
        FromNode::Decline { job_id: job_id(1), epoch: 1, reason: "changed my mind".into(), retry_after_ms: None },
    );
    assert_eq!((world.ends[0].outcome, world.offers(1)), (LeaseOutcome::Failed, vec![1, 2]));
}

#[test]
fn nothing_is_left_to_wake_for_when_nothing_is_in_hand() {
    let mut world = half_done();
    world.receive(1, finished(node(1), 1, 1, 2, &[10, 11]));
    world.disconnect(1);
    world.disconnect(2);
    assert_eq!(world.core.next_tick(), None);
    world.now += TimeDelta::days(1);
    world.core.tick(world.now);
    assert_eq!(world.core.take_outputs(), []);
}
