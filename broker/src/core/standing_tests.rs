//! Grades and probation as the core keeps them: what a job may go to, and how much of the work new nodes get.

use primitives::certificate::Grade;
use primitives::node_protocol::ToNode;

use super::world::{MODEL, World, finished, job, job_id, node};
use crate::Refused;
use crate::job::Job;
use crate::standing::Standing;

/// Tells the core what a node may be given.
fn appraise(world: &mut World, n: u128, on_probation: bool, grade: Grade) {
    let standing = Standing { on_probation, ..Standing::exact(MODEL) };
    let standing = Standing { grades: [(MODEL.to_owned(), grade)].into(), ..standing };
    world.core.appraise(world.now, node(n), &[], standing);
    world.collect();
}

#[test]
fn a_job_goes_to_no_cell_below_its_grade() {
    let mut world = World::with_nodes(&[(1, 4), (2, 4)]);
    appraise(&mut world, 1, false, Grade::Eco);
    appraise(&mut world, 2, false, Grade::Near);
    let asks = |n, grade| Job { grade, ..job(n) };
    assert_eq!(
        world.submit(asks(1, Grade::Exact)),
        Err(Refused::GradeNotServed { model: MODEL.into(), grade: Grade::Exact })
    );
    world.submit(asks(2, Grade::Near)).unwrap();
    world.submit(asks(3, Grade::Eco)).unwrap();
    assert_eq!((world.offers(2), world.offers(3)), (vec![2], vec![1]), "the cheaper node is not near enough for job 2");
}

#[test]
fn a_job_that_fails_over_keeps_its_grade() {
    let mut world = World::with_nodes(&[(1, 4), (2, 4)]);
    appraise(&mut world, 2, false, Grade::Eco);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.disconnect(1);
    assert_eq!(world.offers(1), [1], "no cell of its grade is left");
    appraise(&mut world, 2, false, Grade::Exact);
    assert_eq!(world.offers(1), [1, 2]);
}

#[test]
fn a_node_without_a_grade_gets_nothing_until_it_has_one() {
    let mut world = World::with_nodes(&[(1, 4)]);
    world.core.appraise(world.now, node(1), &[], Standing::default());
    world.submit(job(1)).unwrap();
    assert!(world.offers(1).is_empty());
    appraise(&mut world, 1, false, Grade::Exact);
    assert_eq!(world.offers(1), [1]);
}

#[test]
fn a_new_node_gets_a_small_share_while_others_could_do_the_work_and_all_of_it_alone() {
    let mut world = World::with_nodes(&[(1, 1), (2, 1)]);
    // The new one is the cheaper.
    appraise(&mut world, 1, true, Grade::Exact);
    let mut tried = 0;
    for n in 1..=200 {
        world.submit(job(n)).unwrap();
        let [to] = world.offers(n)[..] else { panic!("job {n} was offered to {:?}", world.offers(n)) };
        world.accept(to, n, 1);
        world.receive(to, finished(node(to), n, 1, 0, &[]));
        tried += u128::from(to == 1);
    }
    assert!((8..=10).contains(&tried), "{tried} of 200");
    world.disconnect(2);
    world.submit(job(201)).unwrap();
    assert_eq!(world.offers(201), [1]);
}

#[test]
fn a_node_that_is_to_drain_ends_what_it_has_and_is_offered_no_more() {
    let mut world = World::with_nodes(&[(1, 4)]);
    world.submit(job(1)).unwrap();
    world.accept(1, 1, 1);
    world.core.drain(world.now, node(1));
    world.core.drain(world.now, node(1));
    world.collect();
    assert_eq!(world.sent.iter().filter(|sent| **sent == (node(1), ToNode::Drain)).count(), 1);
    world.submit(job(2)).unwrap();
    assert!(world.offers(2).is_empty());
    world.receive(1, finished(node(1), 1, 1, 0, &[]));
    let ended = world.ends.iter().find(|end| end.job_id == job_id(1)).unwrap();
    assert_eq!(ended.outcome, crate::lease::LeaseOutcome::Done);
}
