//! The load that nodes declare, and jobs that give way.

use primitives::node_protocol::FromNode;

use super::world::{World, finished, job, job_id, node, session, tokens};
use crate::Refused;
use crate::job::{Class, Job, JobEvent};

/// A node with so many slots that declares a wait and lets jobs take the slots of others.
fn world(slots: u32, turn_ms_max: u32) -> World {
    let mut world = World::with_nodes(&[]);
    let mut session = session(1, slots);
    for served in &mut session.descriptor.models {
        (served.turn_ms_max, served.preempts) = (Some(turn_ms_max), true);
    }
    world.core.connect(world.now, session);
    world.collect();
    world
}

fn batch(n: u128) -> Job {
    Job { class: Class::Batch, ..job(n) }
}

/// A job that runs and has given a token.
fn running(world: &mut World, job: Job) {
    let n = job.job_id.0.as_u128();
    world.submit(job).unwrap();
    world.accept(1, n, 1);
    world.receive(1, tokens(n, 1, 0, &[10]));
}

fn seconds_of(refused: Result<(), Refused>) -> u64 {
    match refused {
        Err(Refused::Overloaded { retry_after, .. }) => retry_after.as_secs(),
        other => panic!("not refused for load: {other:?}"),
    }
}

#[test]
fn a_job_whose_turn_would_come_later_than_declared_is_refused_with_the_time_to_come_back() {
    let mut world = world(1, 600);
    running(&mut world, job(1));
    world.pass(1_600, &[1]);
    world.receive(1, finished(node(1), 1, 1, 1, &[10]));
    running(&mut world, job(2));
    // A job of this model takes 1.6 s, of which 0.6 are declared.
    assert_eq!(seconds_of(world.submit(job(3))), 1);
    assert_eq!(seconds_of(world.submit(job(3))), 1, "what was refused does not wait");
    world.submit(batch(4)).unwrap();
    world.receive(1, finished(node(1), 2, 1, 1, &[10]));
    world.accept(1, 4, 1);
    world.submit(job(3)).unwrap();
    assert_eq!(world.offers(3), [1], "a batch job is in nobody's way");
}

#[test]
fn while_one_cell_declares_nothing_every_job_may_wait() {
    let mut world = world(1, 1);
    world.connect(2, 1);
    (1..=5).for_each(|n| world.submit(job(n)).unwrap());
}

#[test]
fn a_node_that_is_too_busy_by_its_own_word_is_left_alone_until_then() {
    let mut world = world(4, 500);
    world.submit(job(1)).unwrap();
    let declined = |retry_after_ms| FromNode::Decline {
        job_id: job_id(1),
        epoch: 1,
        reason: "busy".into(),
        retry_after_ms: Some(retry_after_ms),
    };
    world.receive(1, declined(2_500));
    assert_eq!(seconds_of(world.submit(job(2))), 3);
    world.pass(2_400, &[1]);
    assert_eq!(world.offers(1), [1], "it rests as long as it said");
    world.pass(200, &[1]);
    assert_eq!(world.offers(1), [1, 1], "the job kept its place");
    world.receive(1, declined(u32::MAX));
    assert_eq!(seconds_of(world.submit(job(2))), 10, "and no word lasts for ever");
}

#[test]
fn an_interactive_job_takes_the_slot_of_a_batch_job_which_keeps_its_lease_until_it_goes_on() {
    let mut world = world(1, 60_000);
    running(&mut world, batch(1));
    running(&mut world, job(2));
    assert_eq!(world.work(2, 1).unwrap().1.terms.priority, 1);
    world.submit(batch(3)).unwrap();
    assert!(world.offers(3).is_empty(), "there is one slot, and batch jobs give way to none of their kind");
    // Much longer than a silence may be.
    for seq in 1..=7 {
        world.pass(2_500, &[1]);
        world.receive(1, tokens(2, 1, seq, &[10]));
    }
    world.receive(1, finished(node(1), 2, 1, 8, &[10; 8]));
    assert!(world.ends.iter().all(|lease| lease.job_id == job_id(2)), "the batch job's lease goes on");
    world.receive(1, tokens(1, 1, 1, &[11]));
    world.receive(1, finished(node(1), 1, 1, 2, &[10, 11]));
    assert!(matches!(world.last_event(1), Some(JobEvent::Ended(_))));
    assert_eq!(world.offers(3), [1]);
}
