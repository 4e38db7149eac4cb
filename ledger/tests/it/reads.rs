//! What is read of the books is what a replay from the beginning says, wherever one looks.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use ledger::{AccountId, AccountTotals, Code, Kind};
use primitives::money::{Currency, Nanos};
use sqlx::PgPool;
use sqlx::types::Uuid;

use crate::House;
use crate::story::{entry, events, live, wait_until};

/// debits posted, credits posted, debits pending, credits pending
type Totals = [i64; 4];

/// What every account had after each transfer over it, added up from the first transfer on.
async fn replay(house: &House) -> BTreeMap<i64, Vec<(i64, Totals)>> {
    type Row = (i64, i64, i64, i64, i16, Option<i64>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT seq, debit_account_id, credit_account_id, amount, kind, pending_seq FROM ledger.transfers ORDER BY seq",
    )
    .fetch_all(&house.pool)
    .await
    .unwrap();
    let mut held = BTreeMap::new();
    let mut history: BTreeMap<i64, Vec<(i64, Totals)>> = BTreeMap::new();
    for (seq, debit, credit, amount, kind, pending) in rows {
        let (posted, pending) = match kind {
            1 => (amount, 0),
            2 => {
                held.insert(seq, amount);
                (0, amount)
            }
            3 => (amount, -held[&pending.unwrap()]),
            4 => (0, -held[&pending.unwrap()]),
            _ => continue,
        };
        for (account, side) in [(debit, 0), (credit, 1)] {
            let past = history.entry(account).or_default();
            let mut totals = past.last().map_or([0; 4], |(_, totals)| *totals);
            totals[side] += posted;
            totals[2 + side] += pending;
            past.push((seq, totals));
        }
    }
    history
}

fn of(totals: &AccountTotals) -> Totals {
    [totals.debits_posted, totals.credits_posted, totals.debits_pending, totals.credits_pending]
}

fn at(past: &[(i64, Totals)], seq: i64) -> Totals {
    past.iter().rev().find(|(other, _)| *other <= seq).map_or([0; 4], |(_, totals)| *totals)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_balance_as_of_any_transfer_is_what_a_replay_says(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(9_000_000_000, "a start").await;
    for seed in 0..4 {
        live(&house, &events(seed, 200)).await;
    }
    let history = replay(&house).await;
    let last = house.count("SELECT max(seq) FROM ledger.transfers").await;
    assert!(house.count("SELECT count(*) FROM ledger.checkpoints").await > 4, "no account came to a checkpoint");
    let mut conn = house.pool.acquire().await.unwrap();
    for (&account, past) in &history {
        // Around each of its transfers, before all and after all; a hot account's at a stride that meets every residue.
        let stride = if past.len() > 300 { 7 } else { 1 };
        let around = past.iter().step_by(stride).flat_map(|(seq, _)| [seq - 1, *seq, seq + 1]);
        for seq in around.chain([0, last, i64::MAX]) {
            let told = ledger::totals_at(&mut conn, AccountId(account), seq).await.unwrap().unwrap();
            assert_eq!(of(&told), at(past, seq), "account {account} at {seq}");
        }
        let told = ledger::totals(&mut conn, AccountId(account)).await.unwrap().unwrap();
        assert_eq!((of(&told), told.last_seq), (past.last().unwrap().1, past.last().unwrap().0));
    }
    assert_eq!(ledger::totals(&mut conn, AccountId(1)).await.unwrap(), None);
    // By instants: what blocks made by then hold.
    let blocks: Vec<(DateTime<Utc>, i64)> =
        sqlx::query_as("SELECT at, max(first_seq + transfers_count - 1) FROM ledger.blocks GROUP BY at ORDER BY at")
            .fetch_all(&house.pool)
            .await
            .unwrap();
    let (&hot, past) = history.iter().max_by_key(|(_, past)| past.len()).unwrap();
    for (instant, seq) in blocks {
        for (instant, wanted) in [(instant, at(past, seq)), (instant + TimeDelta::microseconds(1), at(past, seq))] {
            let told = ledger::totals_as_of(&mut conn, AccountId(hot), instant).await.unwrap().unwrap();
            assert_eq!(of(&told), wanted, "at {instant}");
        }
    }
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_lines_of_a_statement_chain_over_all_its_pages(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(9_000_000_000, "a start").await;
    live(&house, &events(5, 300)).await;
    let history = replay(&house).await;
    let mut conn = house.pool.acquire().await.unwrap();
    for (&account, past) in &history {
        let side = AccountId(account).code().unwrap().side();
        let mut lines = Vec::new();
        let mut before = None;
        loop {
            let page = ledger::statement(&mut conn, AccountId(account), before, 17).await.unwrap();
            lines.extend(page.lines);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(lines.len(), past.len(), "every transfer is told once");
        for (line, (seq, totals)) in lines.iter().zip(past.iter().rev()) {
            let credit = i128::from(totals[1] - totals[0]);
            let (balance, held) = if side.as_str() == "credit" { (credit, totals[2]) } else { (-credit, totals[3]) };
            assert_eq!((line.seq, line.balance, line.held), (*seq, balance, i128::from(held)), "account {account}");
            assert_eq!(line.change == 0, matches!(line.kind, Kind::Pending | Kind::Void));
        }
        assert!(lines.windows(2).all(|pair| pair[0].balance == pair[1].balance + pair[0].change));
        assert_eq!(lines.last().unwrap().balance, lines.last().unwrap().change);
    }
    let none = ledger::statement(&mut conn, AccountId(100_084_000_999_999_999), None, 9).await.unwrap();
    assert!(none.lines.is_empty() && none.next.is_none());
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_statement_says_what_happened_when_and_with_whom(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    house.clock.advance(TimeDelta::hours(1));
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    house.writer.settle(house.settlement(job.job_id, 36, 20)).await.unwrap();
    let mut conn = house.pool.acquire().await.unwrap();
    let balance = ledger::balance(&mut conn, house.tenant_id, Currency::USD, house.clock.now()).await.unwrap();
    let page = ledger::statement(&mut conn, balance.lots[0].account, None, 50).await.unwrap();
    let told: Vec<String> = page
        .lines
        .iter()
        .map(|line| {
            let (time, change, balance, held) = (line.event_at.format("%H:%M"), line.change, line.balance, line.held);
            let (recipe, kind, side, counter) = (line.recipe, line.kind.as_str(), line.side.as_str(), &line.counter);
            format!("{time} {recipe} {kind} {side} {} {counter}: {change} {balance} {held}", line.amount.0)
        })
        .collect();
    let wanted = [
        "13:00 job_settle capture debit 36 4000 inference revenue: -36 64 0",
        "13:00 job_hold pending debit 60 4000 inference revenue: 0 100 60",
        "12:00 top_up posted credit 100 1000 bank: 100 100 0",
    ];
    assert_eq!(told, wanted);
    assert_eq!(page.lines[2].reference.as_deref(), Some("bank-1"));
    assert_eq!(page.lines[0].link, job.job_id.0);
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenants_credit_of_the_past_is_what_it_was_then(pool: PgPool) {
    let house = House::open(pool).await;
    let mut told = Vec::new();
    for step in 0..40 {
        match step % 4 {
            0 => house.grant(1_000, TimeDelta::hours(30)).await,
            1 => house.top_up(70, &format!("bank-{step}")).await,
            2 => drop(house.writer.hold(house.job(300)).await.unwrap().durable().await.unwrap()),
            _ => {
                let job = house.job(90);
                house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
                house.writer.settle(house.settlement(job.job_id, 50, 10)).await.unwrap();
            }
        }
        told.push((house.clock.now(), house.balance().await));
        house.clock.advance(TimeDelta::hours(1));
    }
    let mut conn = house.pool.acquire().await.unwrap();
    for (at, balance) in told {
        let then = ledger::balance_as_of(&mut conn, house.tenant_id, Currency::USD, at).await.unwrap();
        assert_eq!(then, balance, "at {at}");
    }
    let before = house.clock.now() - TimeDelta::days(9);
    let nothing = ledger::balance_as_of(&mut conn, house.tenant_id, Currency::USD, before).await.unwrap();
    assert!(nothing.lots.is_empty() && nothing.posted == Nanos(0));
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_journal_is_found_by_link_by_reference_and_by_month(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    house.writer.settle(house.settlement(job.job_id, 36, 20)).await.unwrap();
    house.writer.post(house.capacity()).await.unwrap();
    wait_until(&house, "2026-12-01T00:00:00Z");
    house.top_up(50, "bank-2").await;
    entry(&house, Currency::USD, (Code::ProcessorFees, Code::Bank), 3, Some("2026-11")).await.unwrap();
    let mut conn = house.pool.acquire().await.unwrap();

    let names = |groups: &[ledger::JournalGroup]| groups.iter().map(|group| group.recipe).collect::<Vec<_>>();
    let of_job = ledger::link_groups(&mut conn, job.job_id.0, 0, 10).await.unwrap();
    assert_eq!(names(&of_job), ["job_hold", "job_settle"]);
    assert_eq!(of_job[1].lines.iter().map(|line| line.amount.0).collect::<Vec<_>>(), [36, 20]);
    assert!(ledger::link_groups(&mut conn, Uuid::nil(), 0, 10).await.unwrap().is_empty());

    let paid = ledger::reference_groups(&mut conn, "bank-2", 0, 10).await.unwrap();
    assert_eq!((names(&paid), paid[0].month.to_string()), (vec!["top_up"], "2026-12".into()));
    assert!(ledger::reference_groups(&mut conn, "bank-3", 0, 10).await.unwrap().is_empty());

    // Page by page, one group each; what was posted in December for November is November's.
    let (mut after, mut november) = (0, Vec::new());
    loop {
        let page = ledger::month_groups(&mut conn, "2026-11".parse().unwrap(), after, 1).await.unwrap();
        let Some(group) = page.into_iter().next() else { break };
        after = group.seq;
        november.push(group);
    }
    assert_eq!(names(&november), ["top_up", "job_hold", "job_settle", "capacity", "journal_entry"]);
    assert!(november[3].lines.is_empty(), "a note moves nothing");
    let december = ledger::month_groups(&mut conn, "2026-12".parse().unwrap(), 0, 10).await.unwrap();
    assert_eq!(names(&december), ["top_up"]);
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_trial_balance_of_a_month_is_what_is_booked_up_to_it_by_code_and_by_account(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(9_000_000_000, "a start").await;
    live(&house, &events(11, 60)).await;
    wait_until(&house, "2026-12-10T00:00:00Z");
    live(&house, &events(12, 60)).await;
    // Late, and yet November's.
    entry(&house, Currency::USD, (Code::BadDebt, Code::Bank), 123, Some("2026-11")).await.unwrap();
    wait_until(&house, "2027-01-10T00:00:00Z");
    live(&house, &events(13, 400)).await;
    entry(&house, "EUR".parse().unwrap(), (Code::BadDebt, Code::Bank), 45, Some("2026-11")).await.unwrap();
    entry(&house, Currency::USD, (Code::BadDebt, Code::Bank), 67, Some("2026-12")).await.unwrap();
    let mut conn = house.pool.acquire().await.unwrap();
    for month in ["2026-10", "2026-11", "2026-12", "2027-01", "2027-02"] {
        let month: ledger::Month = month.parse().unwrap();
        let wanted: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT key, sum(debits)::bigint, sum(credits)::bigint
             FROM ledger.journal j
             CROSS JOIN LATERAL (VALUES
                 (j.debit_account_id, j.amount, 0), (j.credit_account_id, 0, j.amount)
             ) l (key, debits, credits)
             WHERE j.period <= $1 AND j.kind IN ('posted', 'capture')
             GROUP BY 1 ORDER BY 1",
        )
        .bind(month.number())
        .fetch_all(&house.pool)
        .await
        .unwrap();
        let (mut after, mut told) = (AccountId(0), Vec::new());
        loop {
            let page = ledger::account_totals(&mut conn, Some(month), after, 5).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.account;
            let moved = page.iter().filter(|row| row.debits_posted > 0 || row.credits_posted > 0);
            told.extend(moved.map(|row| (row.account.0, row.debits_posted, row.credits_posted)));
        }
        assert_eq!(told, wanted, "{month}");
        let mut by_code: BTreeMap<i64, (i128, i128)> = BTreeMap::new();
        for (account, debits, credits) in wanted {
            let sum = by_code.entry(account / 100_000_000_000).or_default();
            *sum = (sum.0 + i128::from(debits), sum.1 + i128::from(credits));
        }
        let rows = ledger::trial_balance_of(&mut conn, month).await.unwrap();
        let told: Vec<_> = rows.iter().map(|row| (row.debits, row.credits)).collect();
        assert_eq!(told, by_code.into_values().collect::<Vec<_>>(), "{month}");
        if month.to_string() == "2027-01" {
            assert_eq!(rows, ledger::trial_balance(&mut conn).await.unwrap());
        }
    }
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_clearing_account_is_as_old_as_what_the_other_side_has_not_explained(pool: PgPool) {
    let house = House::open(pool).await;
    let (there, bank) = (Code::ProcessorClearing, Code::Bank);
    let mut conn = house.pool.acquire().await.unwrap();
    assert!(ledger::unsettled(&mut conn, AccountId(0), 10).await.unwrap().is_empty());
    // Three hundred payments a day apart, then payouts of the first two hundred and a half: first in, first out.
    for _ in 0..300 {
        entry(&house, Currency::USD, (there, Code::TaxPayable), 10, None).await.unwrap();
        house.clock.advance(TimeDelta::hours(1));
    }
    for _ in 0..200 {
        entry(&house, Currency::USD, (bank, there), 10, None).await.unwrap();
    }
    entry(&house, Currency::USD, (bank, there), 5, None).await.unwrap();
    entry(&house, "EUR".parse().unwrap(), (Code::Bank, Code::Suspense), 7, None).await.unwrap();
    let opened: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
    let report = ledger::unsettled(&mut conn, AccountId(0), 10).await.unwrap();
    let told: Vec<_> = report.iter().map(|row| (row.key.code, row.balance, row.since)).collect();
    let wanted = [(there, 995, opened + TimeDelta::hours(200)), (Code::Suspense, -7, house.clock.now())];
    assert_eq!(told, wanted);
    assert_eq!(report[0].oldest_seq, 201);
    // Page by page.
    let second = ledger::unsettled(&mut conn, report[0].account, 1).await.unwrap();
    assert_eq!(second, report[1..]);
    // Settled, it is not listed; overpaid, it is as old as the payout too much.
    entry(&house, Currency::USD, (bank, there), 995, None).await.unwrap();
    assert_eq!(ledger::unsettled(&mut conn, AccountId(0), 10).await.unwrap().len(), 1);
    house.clock.advance(TimeDelta::hours(1));
    entry(&house, Currency::USD, (bank, there), 1, None).await.unwrap();
    let report = ledger::unsettled(&mut conn, AccountId(0), 10).await.unwrap();
    assert_eq!((report[0].balance, report[0].since), (-1, house.clock.now()));
    drop(conn);
    house.close().await;
}
