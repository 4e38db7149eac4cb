//! What the core tells of nodes that were there, and of the time that leases took.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::node_protocol::{FromNode, Load, ModelLoad};

use super::world::{MODEL, World, finished, job, node, session, tokens};
use crate::job::JobEvent;
use crate::presence::{ModelShare, TOLD_EVERY};

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

/// The stretches told of a node, in milliseconds.
fn told(world: &World, n: u128) -> Vec<(i64, i64)> {
    let of_node = world.presences.iter().filter(|presence| presence.node_id == node(n));
    of_node.map(|presence| (presence.from_at.timestamp_millis(), presence.to_at.timestamp_millis())).collect()
}

#[test]
fn a_node_that_stays_is_told_of_without_gaps_up_to_when_it_was_heard() {
    let mut world = World::with_nodes(&[(1, 2)]);
    world.pass(25_000, &[1]);
    let every = TOLD_EVERY.num_milliseconds();
    assert_eq!(told(&world, 1), [(0, every), (every, 2 * every)]);
    world.now += TimeDelta::seconds(3);
    world.disconnect(1);
    // It was last heard before the silence.
    assert_eq!(told(&world, 1).last(), Some(&(2 * every, 25_000)));
    let presence = &world.presences[0];
    assert_eq!((presence.rcu_milli, presence.provider_id), (1_000, session(1, 2).provider_id));
    assert_eq!(presence.shares, [ModelShare { model: "spark-1".into(), share_ppm: 1_000_000 }]);
    // Nobody is there, so nobody is told of.
    world.pass(30_000, &[]);
    assert_eq!(told(&world, 1).len(), 3);
    assert_eq!(world.core.next_tick(), None);
}

#[test]
fn a_node_that_drains_or_can_serve_nothing_is_not_there() {
    let mut world = World::with_nodes(&[(1, 2)]);
    let mut without_asks = session(2, 2);
    without_asks.asks.clear();
    world.core.connect(world.now, without_asks);
    world.pass(4_000, &[1, 2]);
    world.receive(1, FromNode::Goodbye);
    world.pass(20_000, &[1, 2]);
    world.disconnect(1);
    assert_eq!((told(&world, 1), told(&world, 2)), (vec![(0, 4_000)], vec![]));
}

#[test]
fn the_end_of_a_broker_tells_what_was_not_told() {
    let mut world = World::with_nodes(&[(1, 2)]);
    world.pass(1_000, &[1]);
    world.core.tell_presences();
    world.core.tell_presences();
    world.collect();
    assert_eq!(told(&world, 1), [(0, 1_000)]);
}

#[test]
fn a_lease_takes_its_time_of_one_slot_of_its_cell() {
    let mut world = World::with_nodes(&[(1, 4)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.pass(2_000, &[1]);
    world.receive(1, tokens(1, 1, 0, &[5, 6]));
    world.receive(1, finished(node(1), 1, 1, 1, &[5, 6]));
    let Some(JobEvent::Ended(outcome)) = world.last_event(1) else { panic!("{:?}", world.last_event(1)) };
    assert_eq!(outcome.segments[0].compute_ms, 500);
    assert_eq!(world.ends[0].ended_at, at(2_000));

    // One that took no time that a clock could see took some.
    world.submit(job(2)).unwrap();
    world.accept(1, 2, 1);
    world.receive(1, finished(node(1), 2, 1, 0, &[]));
    let Some(JobEvent::Ended(outcome)) = world.last_event(2) else { panic!("{:?}", world.last_event(2)) };
    assert_eq!(outcome.segments[0].compute_ms, 1);
}

#[test]
fn a_cell_takes_as_many_jobs_as_its_node_says_now_and_never_more_than_it_said_first() {
    let mut world = World::with_nodes(&[(1, 2)]);
    let says = |slots| {
        let load = ModelLoad { model: MODEL.into(), slots, ..ModelLoad::default() };
        FromNode::Heartbeat(Load { models: vec![load], ..Load::default() })
    };
    world.receive(1, says(Some(0)));
    world.submit(job(1)).unwrap();
    assert_eq!((world.offers(1).len(), world.core.models()[0].slots), (0, 0), "its engine does not answer");
    world.receive(1, says(None));
    assert_eq!(world.core.models()[0].slots, 0, "who says nothing changes nothing");
    world.receive(1, says(Some(9)));
    assert_eq!((world.offers(1), world.core.models()[0].slots), (vec![1], 2));
    world.receive(1, says(Some(1)));
    world.submit(job(2)).unwrap();
    assert_eq!((world.offers(2).len(), world.core.models()[0].slots_free), (0, 0));
}
