//! Audits as the core keeps them: who is asked about whose output, and what becomes of the answer.

use primitives::node_protocol::{FromNode, Replay, Sampling, ToNode, output_sha256};

use super::world::{MODEL, World, finished, job, job_id, node, tokens};
use crate::Settings;
use crate::job::Job;
use crate::standing::Standing;
use crate::trust::audit::AuditRules;

/// A world that audits every job of new nodes and none of others: node 1 is new.
fn world(others: &[u128]) -> World {
    let audits = AuditRules { probation_ppm: 1_000_000, ..AuditRules::default() };
    let mut world = World::new(Settings { audits, ..Settings::default() });
    world.connect(1, 4);
    world.core.appraise(world.now, node(1), &[], Standing { on_probation: true, ..Standing::exact(MODEL) });
    others.iter().for_each(|n| world.connect(*n, 4));
    world
}

/// Lets node 1 do a job whose output are these ids; the others are asked only when it is gone.
fn done(world: &mut World, work: Job, ids: &[u32]) {
    let n = work.job_id.0.as_u128();
    world.submit(work).unwrap();
    world.accept(1, n, 1);
    world.receive(1, tokens(n, 1, 0, ids));
    world.receive(1, finished(node(1), n, 1, 1, ids));
}

/// Who was asked to replay a job, in order, and what.
fn asked(world: &World, n: u128) -> Vec<(u128, Replay)> {
    let of = |(to, message): &(_, ToNode)| match message {
        ToNode::Replay { job_id: id, epoch: 1, replay } if *id == job_id(n) => {
            let to: &primitives::id::NodeId = to;
            Some((to.0.as_u128(), (**replay).clone()))
        }
        _ => None,
    };
    world.sent.iter().filter_map(of).collect()
}

fn answer(n: u128, slacks: Option<Vec<f32>>) -> FromNode {
    FromNode::Replayed { job_id: job_id(n), epoch: 1, slacks }
}

#[test]
fn another_providers_established_node_replays_what_a_new_node_delivered() {
    let mut world = world(&[]);
    done(&mut world, job(1), &[10, 11]);
    assert_eq!(asked(&world, 1), [], "there is nobody to ask yet");
    world.connect(2, 4);
    let [(2, replay)] = &asked(&world, 1)[..] else { panic!("{:?}", world.sent) };
    assert_eq!((&replay.prompt[..], &replay.output[..]), (&[1, 2, 3, 4][..], &[10, 11][..]));
    // What nobody asked, and a number that is none, mean nothing.
    world.receive(1, answer(1, Some(vec![0.0, 0.0])));
    assert!(world.audits.is_empty());
    world.receive(2, answer(1, Some(vec![0.0, 0.25])));
    let audit = &world.audits[0];
    assert_eq!((audit.node_id, audit.referee_id, &audit.slacks[..]), (node(1), node(2), &[0.0, 0.25][..]));
    assert_eq!(audit.output_sha256, output_sha256(&[10, 11]));
    assert_eq!((audit.prompt_tokens, &audit.prompt_sha256), (4, &output_sha256(&[1, 2, 3, 4])));
    world.receive(2, answer(1, Some(vec![0.0, 0.0])));
    assert_eq!(world.audits.len(), 1);
}

#[test]
fn a_referee_that_cannot_or_goes_leaves_it_to_others_and_three_are_enough() {
    let mut world = world(&[]);
    done(&mut world, job(1), &[10]);
    [2, 3, 4, 5].iter().for_each(|n| world.connect(*n, 4));
    let last = |world: &World| asked(world, 1).last().map(|(to, _)| *to);
    assert_eq!(last(&world), Some(2));
    world.receive(2, answer(1, None));
    let second = last(&world).unwrap();
    world.receive(second, answer(1, Some(vec![f32::INFINITY])));
    let third = last(&world).unwrap();
    world.disconnect(third);
    assert_eq!(asked(&world, 1).len(), 3);
    assert!(world.audits.is_empty());
}

#[test]
fn what_finds_no_referee_in_time_is_forgotten() {
    let mut world = world(&[]);
    done(&mut world, job(1), &[10]);
    world.pass(301_000, &[1]);
    world.connect(2, 4);
    assert_eq!(asked(&world, 1), []);
}

#[test]
fn what_cannot_be_replayed_or_is_no_reference_is_not_audited() {
    let mut world = world(&[]);
    let sharp = Sampling { top_p: 0.9, ..Sampling::greedy() };
    done(&mut world, Job { sampling: sharp, ..job(1) }, &[10]);
    let other = Standing { references: [].into(), on_probation: true, ..Standing::exact(MODEL) };
    world.core.appraise(world.now, node(1), &[], other);
    done(&mut world, job(2), &[10]);
    // An established node's jobs are picked at their own rate, here none.
    world.core.appraise(world.now, node(1), &[], Standing::exact(MODEL));
    done(&mut world, job(3), &[10]);
    world.connect(2, 4);
    assert!([1, 2, 3].iter().all(|n| asked(&world, *n).is_empty()), "{:?}", world.sent);
}
