//! What the writer promises.

use chrono::TimeDelta;
use ledger::recipe::TEMPLATES;
use ledger::{
    AccountChange, AccountKey, AccountState, Code, Error, Hold, JobSettlement, JournalEntry, JournalLine, PeriodState,
    Writer,
};
use primitives::id::JobId;
use primitives::money::Nanos;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::House;

#[sqlx::test(migrations = "../migrations")]
async fn a_job_is_held_settled_and_explained(pool: PgPool) {
    let house = House::open(pool).await;
    house.grant(30, TimeDelta::days(30)).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(50);
    let job_id = job.job_id;
    let mut hold = house.writer.hold(job).await.unwrap();
    assert_eq!(hold.parts.iter().map(|part| part.amount.0).collect::<Vec<_>>(), [30, 20]);
    let held = hold.durable().await.unwrap();
    assert_eq!(hold.durable().await.unwrap(), held);
    let balance = house.balance().await;
    assert_eq!((balance.posted, balance.pending, balance.available), (Nanos(130), Nanos(50), Nanos(80)));

    let settled = house.writer.settle(house.settlement(job_id, 36, 20)).await.unwrap();
    assert_eq!(settled.height, held.height + 1);
    let balance = house.balance().await;
    assert_eq!((balance.posted, balance.pending, balance.available), (Nanos(94), Nanos(0), Nanos(94)));

    let mut conn = house.pool.acquire().await.unwrap();
    let told: Vec<String> = ledger::link_transfers(&mut conn, job_id.0)
        .await
        .unwrap()
        .iter()
        .map(|row| format!("{} {} | {} | {} | {}", row.recipe, row.kind.as_str(), row.debit, row.credit, row.amount.0))
        .collect();
    let wanted = [
        "job_hold pending | 2010 promo credits | 4000 inference revenue | 30",
        "job_hold pending | 2000 paid credits | 4000 inference revenue | 20",
        "job_settle capture | 2010 promo credits | 4000 inference revenue | 30",
        "job_settle posted | 4900 promo contra-revenue | 2019 promo contra | 30",
        "job_settle capture | 2000 paid credits | 4000 inference revenue | 6",
        "job_settle posted | 5000 provider cost | 2100 provider payable | 20",
    ];
    assert_eq!(told, wanted);
    let usage = ledger::usage_facts(&mut conn, job_id).await.unwrap();
    let lines: Vec<_> = usage.iter().map(|fact| (fact.meter.as_str(), fact.quantity, fact.amount.0)).collect();
    assert_eq!(lines, [("input", 30, 12), ("output", 12, 24)]);
    let trial = ledger::trial_balance(&mut conn).await.unwrap();
    assert_eq!(trial.iter().map(|row| row.debits).sum::<i128>(), trial.iter().map(|row| row.credits).sum::<i128>());
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn of_a_thousand_holds_at_once_on_a_balance_for_five_exactly_five_are_placed(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(5 * 7 + 6, "bank-1").await;
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let (writer, job) = (house.writer.clone(), house.job(7));
        callers.spawn(async move {
            let mut hold = writer.hold(job).await?;
            hold.durable().await?;
            Ok::<Hold, Error>(hold)
        });
    }
    let answers = callers.join_all().await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|error| matches!(error, Error::InsufficientFunds { needed: Nanos(7), .. })));
    assert_eq!(refused.count(), 995);
    assert_eq!(house.balance().await.available, Nanos(6));
    assert_eq!(house.count("SELECT count(*) FROM ledger.journal WHERE kind = 'pending'").await, 5);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_repetition_after_a_restart_gets_the_first_answer(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(50);
    let mut first = house.writer.hold(job.clone()).await.unwrap();
    let held = first.durable().await.unwrap();

    let house = house.reopen().await;
    house.top_up(100, "bank-1").await;
    // The job's hold is open, and found again.
    let mut again = house.writer.hold(job.clone()).await.unwrap();
    assert_eq!((again.parts.clone(), again.durable().await.unwrap()), (first.parts, held));
    let settlement = house.settlement(job.job_id, 40, 10);
    let settled = house.writer.settle(settlement.clone()).await.unwrap();

    let house = house.reopen().await;
    assert_eq!(house.writer.settle(settlement.clone()).await.unwrap(), settled);
    let other = house.writer.settle(house.settlement(job.job_id, 39, 10)).await.unwrap_err();
    assert!(matches!(other, Error::IdReused { recipe: "job_settle", .. }), "{other}");
    assert_eq!(house.balance().await.available, Nanos(60));
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_reused_job_fails_alone_and_its_batch_mates_do_not_notice(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    let old = house.job(10);
    house.writer.hold(old.clone()).await.unwrap().durable().await.unwrap();
    house.writer.settle(house.settlement(old.job_id, 10, 0)).await.unwrap();

    // The next writer has forgotten the job, so the first to see the reuse is the database.
    let house = house.reopen().await;
    let mut holds = Vec::new();
    for number in 0..20 {
        let job = if number == 7 { old.clone() } else { house.job(10) };
        holds.push(house.writer.hold(job).await.unwrap());
    }
    for (number, hold) in holds.iter_mut().enumerate() {
        let answer = hold.durable().await;
        assert_eq!(answer.is_err(), number == 7, "{number}: {answer:?}");
    }
    assert_eq!(house.balance().await.available, Nanos(1_000 - 10 - 190));
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_shard_has_one_writer_and_the_next_has_a_higher_epoch(pool: PgPool) {
    let house = House::open(pool).await;
    let second = Writer::start(house.pool.clone(), house.clock.clone()).await.err().unwrap();
    assert!(matches!(second, Error::WriterRunning { shard: 0 }), "{second}");
    let house = house.reopen().await;
    assert_eq!(house.count("SELECT epoch FROM ledger.shards").await, 2);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_deposed_writer_writes_nothing_more_and_stops(pool: PgPool) {
    let mut house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    // What a take-over does, while this writer does not yet know.
    sqlx::query("UPDATE ledger.shards SET epoch = epoch + 1").execute(&house.pool).await.unwrap();
    let mut hold = house.writer.hold(house.job(10)).await.unwrap();
    assert!(matches!(hold.durable().await, Err(Error::Stopped)));
    assert!(matches!(house.task.wait().await, Err(Error::Deposed { epoch: 1, .. })));
    assert!(matches!(house.writer.hold(house.job(10)).await, Err(Error::Stopped)));
    assert_eq!(house.count("SELECT count(*) FROM ledger.blocks").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn killed_connections_lose_nothing_that_was_acknowledged_and_double_nothing(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000_000, "bank-1").await;
    let mut callers = JoinSet::new();
    for _ in 0..40 {
        let jobs: Vec<_> = (0..10).map(|_| house.job(50)).collect();
        let settlements: Vec<_> = jobs.iter().map(|job| house.settlement(job.job_id, 30, 10)).collect();
        let writer = house.writer.clone();
        callers.spawn(async move {
            for (job, settlement) in jobs.into_iter().zip(settlements) {
                let mut hold = writer.hold(job).await?;
                hold.durable().await?;
                writer.settle(settlement).await?;
            }
            Ok::<(), Error>(())
        });
    }
    // The connections that post and those that flush die again and again while the callers are served.
    let (mut killed_writing, mut killed_flushing) = (0, 0);
    let mut served = Vec::new();
    while let Some(answer) = callers.join_next().await {
        served.push(answer.unwrap());
        if served.len().is_multiple_of(8) {
            let kill = "
                SELECT count(pg_terminate_backend(l.pid))
                FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE l.locktype = 'advisory' AND d.datname = current_database()";
            killed_writing += house.count(kill).await;
        } else if served.len() % 8 == 4 {
            let kill = "
                SELECT count(pg_terminate_backend(pid))
                FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_logical_emit_message%'";
            killed_flushing += house.count(kill).await;
        }
    }
    assert!(killed_writing > 0 && killed_flushing > 0, "{killed_writing} and {killed_flushing} were killed");
    assert!(served.iter().all(Result::is_ok), "{served:?}");
    assert_eq!(
        house.count("SELECT count(DISTINCT link_id) FROM ledger.journal WHERE recipe = 'job_settle'").await,
        400
    );
    assert_eq!(house.balance().await.available, Nanos(1_000_000 - 400 * 30));
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_holds_of_jobs_that_nobody_runs_are_voided_and_others_outlive_their_writer(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let jobs: Vec<_> = (0..4).map(|_| house.job(10)).collect();
    for job in &jobs {
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    }
    house.writer.settle(house.settlement(jobs[2].job_id, 10, 0)).await.unwrap();
    let house = house.reopen().await;
    let (abandoned, living) = (jobs[..3].iter().map(|job| job.job_id).collect::<Vec<_>>(), &jobs[3]);
    assert_eq!(house.writer.void_jobs(&abandoned).await.unwrap(), 2, "one was settled");
    let mut conn = house.pool.acquire().await.unwrap();
    let open = ledger::open_holds(&mut conn, ledger::SHARD).await.unwrap();
    assert_eq!(open.iter().map(|hold| (hold.link, hold.epoch)).collect::<Vec<_>>(), [(living.job_id.0, 1)]);
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn holds_whose_time_is_over_are_voided(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(10);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    assert_eq!(house.writer.void_expired().await.unwrap(), 0);
    house.clock.advance(TimeDelta::minutes(10));
    assert_eq!(house.writer.void_expired().await.unwrap(), 1);
    let late = house.writer.settle(house.settlement(job.job_id, 5, 1)).await.unwrap_err();
    assert!(matches!(late, Error::NoOpenHold { .. }), "{late}");
    assert_eq!(house.balance().await.available, Nanos(100));
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn lapsed_credit_pays_for_no_new_hold(pool: PgPool) {
    let house = House::open(pool).await;
    house.grant(100, TimeDelta::days(1)).await;
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    house.clock.advance(TimeDelta::days(1));
    let refused = house.writer.hold(house.job(1)).await.unwrap_err();
    assert!(matches!(refused, Error::InsufficientFunds { available: Nanos(0), .. }), "{refused}");
    assert_eq!(house.balance().await.available, Nanos(0));
    // What was held before it lapsed is still the job's.
    house.writer.settle(house.settlement(job.job_id, 60, 6)).await.unwrap();
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_shutdown_commits_what_waits(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(1_000, "bank-1").await;
    let last = house.job(1);
    let mut holds = Vec::new();
    for number in 0..50 {
        let job = if number == 49 { last.clone() } else { house.job(1) };
        holds.push(house.writer.hold(job).await.unwrap());
    }
    let House { pool, task, writer, .. } = house;
    task.shutdown().await.unwrap();
    for hold in &mut holds {
        hold.durable().await.unwrap();
    }
    assert!(matches!(writer.void(last.job_id).await, Err(Error::Stopped)));
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.transfers WHERE link_id IS NOT NULL")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(kept, 51);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_database_names_every_recipe_as_the_code_does(pool: PgPool) {
    let stored: Vec<(i16, String)> =
        sqlx::query_as("SELECT number, recipe FROM ledger.recipes ORDER BY number").fetch_all(&pool).await.unwrap();
    let ours: Vec<_> = TEMPLATES.iter().map(|template| (template.number, template.name.to_owned())).collect();
    assert_eq!(stored, ours);
    let kinds: Vec<String> =
        sqlx::query_scalar("SELECT kind FROM ledger.kinds ORDER BY number").fetch_all(&pool).await.unwrap();
    assert_eq!(kinds, ledger::Kind::ALL.map(ledger::Kind::as_str));
}

#[sqlx::test(migrations = "../migrations")]
async fn states_and_closed_months_outlive_the_writer_that_set_them(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(60);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    house.set_account(house.paid(), AccountState::Frozen).await;
    house.set_period("2026-10", PeriodState::Soft).await;

    let house = house.reopen().await;
    let refused = house.writer.hold(house.job(1)).await.unwrap_err();
    assert!(matches!(refused, Error::InsufficientFunds { available: Nanos(0), .. }), "{refused}");
    let event_at = house.clock.now() - TimeDelta::days(30);
    let late = JobSettlement { event_at, ..house.settlement(job.job_id, 50, 10) };
    house.writer.settle(late).await.unwrap();
    let bank = AccountKey::platform(Code::Bank, house.paid().unit);
    let entry = |house: &House, month: &str| JournalEntry {
        entry_id: house.ids.next::<JobId>().0,
        lines: vec![JournalLine { debit: bank, credit: house.paid(), amount: Nanos(1), leaf: None }],
        month: Some(month.parse().unwrap()),
        reason: "found at the audit".into(),
    };
    house.writer.post(entry(&house, "2026-10")).await.unwrap();
    let booked = "SELECT min(period)::bigint FROM ledger.journal WHERE recipe = ";
    assert_eq!(booked_in(&house, &format!("{booked}'job_settle'")).await, 2611);
    assert_eq!(booked_in(&house, &format!("{booked}'journal_entry'")).await, 2610);

    house.set_period("2026-10", PeriodState::Hard).await;
    let house = house.reopen().await;
    let refused = house.writer.post(entry(&house, "2026-10")).await.unwrap_err();
    assert!(matches!(refused, Error::PeriodClosed { .. }), "{refused}");
    house.set_account(house.paid(), AccountState::Open).await;
    house.writer.hold(house.job(51)).await.unwrap().durable().await.unwrap();
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_one_block_opens_and_spends_again_is_kept(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(100, "bank-1").await;
    house.set_account(house.paid(), AccountState::Frozen).await;
    // Both are in one block, which the database refuses as a whole: it moves balances before it sets states.
    let change = AccountChange {
        change_id: house.ids.next::<JobId>().0,
        account: house.paid(),
        state: AccountState::Open,
        reason: "a test".into(),
    };
    let (opened, hold) = tokio::join!(house.writer.post(change), house.writer.hold(house.job(60)));
    opened.unwrap();
    hold.unwrap().durable().await.unwrap();
    assert_eq!(house.balance().await.available, Nanos(40));
    house.close().await;
}

async fn booked_in(house: &House, statement: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement.to_owned())).fetch_one(&house.pool).await.unwrap()
}
