//! Groups: all of one or nothing, once; and the blocks that keep them.

use super::*;

#[test]
fn a_group_that_fails_half_way_moves_nothing() {
    let mut core = after([top_up(1, 1, i64::MAX), hold(1, 1, 10), settle(1, 1, &[10])]);
    let (accounts, rows) = (core.books.all().to_vec(), core.draft.rows.transfers.len());
    // The bank would pass what an account can hold.
    assert!(matches!(decide(&mut core, &top_up(2, 2, 1)), Err(Error::OutOfRange { .. })));
    assert_eq!(core.draft.rows.transfers.len(), rows);
    assert!(core.books.all().starts_with(&accounts));
    assert!(core.books.all()[accounts.len()..].iter().all(|account| account.last_seq == 0));
}

#[test]
fn a_repetition_gets_the_first_answer_and_another_body_is_a_conflict() {
    let mut core = empty();
    decide(&mut core, &top_up(1, 1, 100)).unwrap();
    let first = decide(&mut core, &hold(1, 1, 50)).unwrap();
    let rows = core.draft.rows.transfers.len();
    let again = decide(&mut core, &hold(1, 1, 50)).unwrap();
    assert_eq!((again.height, &again.parts, again.block), (first.height, &first.parts, None));
    assert!(matches!(decide(&mut core, &hold(1, 1, 51)), Err(Error::IdReused { recipe: "job_hold", .. })));
    assert!(matches!(decide(&mut core, &top_up(1, 1, 99)), Err(Error::IdReused { .. })));
    decide(&mut core, &settle(1, 1, &[20])).unwrap();
    let (block, _) = core.seal(noon()).unwrap();
    core.committed(block);
    assert_eq!(decide(&mut core, &settle(1, 1, &[20])).unwrap().block, Some(block));
    assert!(matches!(decide(&mut core, &settle(1, 1, &[21])), Err(Error::IdReused { .. })));
    assert_eq!(rows + 2, 4, "nothing was posted by repetitions");
    assert!(!core.has_draft());
}

#[test]
fn an_untouched_core_seals_nothing_and_blocks_follow_one_another() {
    let mut core = empty();
    assert!(core.seal(noon()).is_none());
    decide(&mut core, &top_up(1, 1, 100)).unwrap();
    let (first, _) = core.seal(noon()).unwrap();
    decide(&mut core, &hold(1, 1, 10)).unwrap();
    let (second, block) = core.seal(noon()).unwrap();
    assert_eq!((first.height, second.height), (1, 2));
    assert_eq!(block.row.prev_hash, first.hash);
    assert_eq!((block.row.first_seq, block.row.open_from_seq), (2, 2));
    decide(&mut core, &void(1)).unwrap();
    assert_eq!(core.seal(noon()).unwrap().1.row.open_from_seq, 4);
}

#[test]
fn a_leaf_is_written_once_for_all_that_belong_to_it() {
    let mut core = after([top_up(1, 1, 100), hold(1, 1, 10), settle(1, 1, &[10])]);
    let (_, first) = core.seal(noon()).unwrap();
    // One of revenue and cost, one of usage.
    assert_eq!(first.rows.leaves.iter().map(|leaf| leaf.id).collect::<Vec<_>>(), [1, 2]);
    for request in [hold(2, 1, 10), settle(2, 1, &[10])] {
        decide(&mut core, &request).unwrap();
    }
    let (_, second) = core.seal(noon()).unwrap();
    assert_eq!((second.rows.leaves.len(), second.row.leaves_total), (0, 2));
    let leaves = |block: &Block| block.rows.transfers.iter().filter_map(|row| row.leaf_id).collect::<Vec<_>>();
    assert_eq!(leaves(&first), leaves(&second));
}

#[test]
fn capacity_is_a_note_with_facts_and_no_more_than_a_node() {
    let mut core = empty();
    let report = |shares: &[i32]| CapacityReport {
        node_id: NodeId(uuid(3, 1)),
        provider_id: ProviderId(uuid(4, 1)),
        from_at: noon() - TimeDelta::hours(1),
        to_at: noon(),
        rcu_milli: 1_500,
        shares: shares
            .iter()
            .map(|&share_ppm| CapacityShare { share_ppm, used_for: CapacityUse::Model("spark-1".into()) })
            .collect(),
    };
    for shares in [&[][..], &[0], &[1_000_001], &[600_000, 400_001], &[1_000_001, -1]] {
        assert!(matches!(refuse(&mut core, report(shares)), Error::BadCapacity { .. }), "{shares:?}");
    }
    let backwards = CapacityReport { to_at: noon() - TimeDelta::hours(1), ..report(&[1]) };
    assert!(matches!(refuse(&mut core, backwards), Error::BadCapacity { .. }));
    decide(&mut core, &report(&[600_000, 400_000]).into()).unwrap();
    assert!(matches!(refuse(&mut core, report(&[1_000_000])), Error::IdReused { recipe: "capacity", .. }));
    let (_, block) = core.seal(noon()).unwrap();
    assert_eq!(block.rows.transfers.iter().map(|row| (row.seq, row.kind)).collect::<Vec<_>>(), [(1, 5)]);
    let facts = block.rows.capacity.iter().map(|fact| (fact.seq, fact.line, fact.leaf_id, fact.share_ppm));
    assert_eq!(facts.collect::<Vec<_>>(), [(1, 0, 1, 600_000), (1, 1, 1, 400_000)]);
    assert_eq!(block.rows.leaves[0].bucket, Bucket::Productive.as_str());
}
