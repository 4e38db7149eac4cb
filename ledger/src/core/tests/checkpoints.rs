//! What is kept of accounts' balances on the way.

use super::*;

#[test]
fn every_256_transfers_over_an_account_its_balance_is_kept() {
    let mut core = empty();
    for number in 0..600_u32 {
        let request = match (number % 3, (number / 3) as u8) {
            (0, _) => top_up(number, 1, 100),
            (1, job) => hold(job, 1, 40),
            (_, job) if job % 2 == 0 => void(job),
            (_, job) => settle(job, 1, &[30]),
        };
        decide(&mut core, &request).unwrap();
    }
    let (_, block) = core.seal(noon()).unwrap();
    let rows = &block.rows.transfers;
    for checkpoint in &block.checkpoints {
        let balances = replay(rows.iter().filter(|row| row.seq <= checkpoint.seq));
        let CheckpointRow { debits_posted, credits_posted, debits_pending, credits_pending, .. } = *checkpoint;
        assert_eq!(balances[&checkpoint.account_id], [debits_posted, credits_posted, debits_pending, credits_pending]);
    }
    for account in core.books.all() {
        let kept: Vec<i64> =
            block.checkpoints.iter().filter(|row| row.account_id == account.id.0).map(|row| row.seq).collect();
        let seqs: Vec<i64> = history(rows, account).into_iter().rev().collect();
        let every: Vec<i64> = seqs.chunks_exact(256).map(|chunk| chunk[255]).collect();
        assert_eq!(kept, every, "{:?}", account.key);
    }
    assert!(block.checkpoints.iter().any(|row| row.debits_pending > 0), "{:?}", block.checkpoints);
}

#[test]
fn an_accounts_balance_is_kept_after_its_first_transfer_of_each_month_but_the_first() {
    let mut core = after([top_up(1, 1, 100), top_up(2, 2, 100)]);
    let kept = |core: &Core| core.draft.checkpoints.iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(kept(&core), [0; 0], "nothing is before the first month");
    let december = "2026-12-01T00:00:00Z".parse().unwrap();
    for (number, who) in [(3, 1), (4, 1), (5, 3)] {
        decide_at(&mut core, &top_up(number, who, 100), december).unwrap();
    }
    // The bank and the first tenant once each, and a tenant who is new; the second tenant has not been moved again.
    assert_eq!(kept(&core), [3, 3, 5]);
    // Late for November: December has begun all the same.
    decide_at(&mut core, &journal(1, &[line(bank(), paid(2), 5)], Some("2026-11")).into(), december).unwrap();
    assert_eq!(kept(&core), [3, 3, 5, 6]);
    // A refused group begins no month.
    let january = "2027-01-01T00:00:00Z".parse().unwrap();
    assert!(decide_at(&mut core, &journal(2, &[line(paid(3), bank(), 9_000)], None).into(), january).is_err());
    assert_eq!(core.tip.month, MonthEdge { latest: Some(2612), seq: 3 });
}

#[test]
fn a_refused_group_leaves_no_checkpoint() {
    let mut core = after((0..255).map(|number| top_up(number, 1, 1)));
    let lines = [line(bank(), paid(1), 5), line(paid(1), bank(), 1_000)];
    assert!(matches!(refuse(&mut core, journal(1, &lines, None)), Error::Overdraft { .. }));
    assert!(core.draft.checkpoints.is_empty());
    decide(&mut core, &top_up(255, 1, 1)).unwrap();
    assert_eq!(core.draft.checkpoints.iter().map(|row| row.seq).collect::<Vec<_>>(), [256, 256]);
}
