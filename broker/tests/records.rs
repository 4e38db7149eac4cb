//! The room's records in a real database: tokens spent once, keys used once, leases fenced, ends final.

use broker::ask::{Ask, AskPrices};
use broker::job::{Class, EndReason, Filter, JobEnd, JobStatus, NewJob};
use broker::join_token::JoinToken;
use broker::lease::LeaseOutcome;
use broker::model::{Model, ModelKind, Reasoning};
use broker::node::Node;
use broker::presence::{self, GAP_MAX, ModelShare, Presence, Unreported};
use broker::provider::Provider;
use broker::{Error, ask, job, join_token, lease, model, node, provider};
use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId, ProviderId, ReplicaId, TenantId};
use primitives::money::{AttoPrice, Currency, Nanos};
use primitives::node_protocol::{NodeDescriptor, Tier};
use primitives::tx::run_tx;
use secrecy::SecretString;
use sqlx::{PgConnection, PgPool};

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn ids() -> Ids {
    Ids::seeded(Clock::manual(start()), 1)
}

fn descriptor(name: &str) -> NodeDescriptor {
    NodeDescriptor {
        name: name.into(),
        tier: Tier::Edge,
        chip: "cpu".into(),
        threads: 4,
        memory_bytes: 1 << 33,
        engine: "llama.cpp".into(),
        version: "0".into(),
        models: vec![],
    }
}

async fn a_provider(conn: &mut PgConnection, ids: &Ids) -> ProviderId {
    let provider = Provider { id: ids.next(), name: "Grid".into(), created_at: start() };
    provider::insert(conn, &provider).await.expect("a new provider");
    assert_eq!(provider::get(conn, provider.id).await.expect("the provider"), provider);
    provider.id
}

async fn a_token(conn: &mut PgConnection, ids: &Ids) -> (JoinToken, SecretString) {
    let provider_id = a_provider(conn, ids).await;
    join_token::create(conn, ids, provider_id, TimeDelta::hours(1), start()).await.expect("a new token")
}

async fn join(pool: &PgPool, ids: &Ids, token: &SecretString, key: u8, now: DateTime<Utc>) -> broker::Result<Node> {
    run_tx(pool, "node_join", |conn| {
        let (ids, token) = (ids.clone(), token.clone());
        Box::pin(async move { node::join(conn, &ids, &token, [key; 32], descriptor("n"), now).await })
    })
    .await
}

fn a_job(ids: &Ids, tenant_id: TenantId, key: Option<&str>) -> NewJob {
    NewJob {
        job_id: ids.next(),
        tenant_id,
        project_id: ids.next(),
        api_key_id: Some(ids.next()),
        user_id: None,
        model: "spark-1".into(),
        grade: Grade::Exact,
        class: Class::Interactive,
        idempotency_key: key.map(str::to_owned),
        body_sha256: [7; 32],
        prompt_tokens: 4,
        output_tokens_max: 8,
        input_price_id: ids.next(),
        cached_input_price_id: None,
        output_price_id: Some(ids.next()),
        currency: Currency::USD,
        hold: Nanos(1_000),
        received_at: start(),
        replica_id: ReplicaId(1),
        first_job_id: None,
    }
}

fn an_end(status: JobStatus) -> JobEnd {
    JobEnd {
        status,
        cached_tokens: 2,
        output_tokens: 3,
        finish_reason: Some(EndReason::Stop),
        error_code: None,
        charge: Nanos(500),
        first_token_at: Some(start()),
        ended_at: start() + TimeDelta::seconds(1),
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_join_token_lets_one_node_in(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let (token, secret) = a_token(&mut conn, &ids).await;
    let node = join(&pool, &ids, &secret, 1, start()).await.unwrap();
    assert_eq!(node.provider_id, token.provider_id);
    assert_eq!(node::get(&mut conn, node.id).await.unwrap(), node);
    assert!(matches!(join(&pool, &ids, &secret, 2, start()).await, Err(Error::JoinTokenUsed)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_join_token_expires(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let (token, secret) = a_token(&mut conn, &ids).await;
    assert!(matches!(join(&pool, &ids, &secret, 1, token.expires_at).await, Err(Error::JoinTokenExpired)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_strangers_token_is_unknown(pool: PgPool) {
    let secret = SecretString::from("tgjoin_made_up");
    assert!(matches!(join(&pool, &ids(), &secret, 1, start()).await, Err(Error::JoinTokenUnknown)));
}

#[sqlx::test(migrations = "../migrations")]
async fn of_many_nodes_with_one_token_at_once_one_comes_in(pool: PgPool) {
    let ids = ids();
    let (_, secret) = a_token(&mut pool.acquire().await.unwrap(), &ids).await;
    let (a, b, c, d) = tokio::join!(
        join(&pool, &ids, &secret, 1, start()),
        join(&pool, &ids, &secret, 2, start()),
        join(&pool, &ids, &secret, 3, start()),
        join(&pool, &ids, &secret, 4, start()),
    );
    let results = [a, b, c, d];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::JoinTokenUsed))).count(), 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_taken_key_is_refused_and_leaves_the_token_unspent(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let (_, first) = a_token(&mut conn, &ids).await;
    let (_, second) = a_token(&mut conn, &ids).await;
    join(&pool, &ids, &first, 1, start()).await.unwrap();
    assert!(matches!(join(&pool, &ids, &second, 1, start()).await, Err(Error::PublicKeyTaken)));
    join(&pool, &ids, &second, 2, start()).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_join_tokens_secret_is_not_kept(pool: PgPool) {
    use secrecy::ExposeSecret;
    let (_, secret) = a_token(&mut pool.acquire().await.unwrap(), &ids()).await;
    let row: String = sqlx::query_scalar("SELECT t::text FROM broker.join_tokens t").fetch_one(&pool).await.unwrap();
    assert!(!row.contains(secret.expose_secret().trim_start_matches("tgjoin_")));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_comes_back_is_seen_and_listed(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let (token, secret) = a_token(&mut conn, &ids).await;
    let first = join(&pool, &ids, &secret, 1, start()).await.unwrap();
    let (_, secret) =
        join_token::create(&mut conn, &ids, token.provider_id, TimeDelta::hours(1), start()).await.unwrap();
    let second = join(&pool, &ids, &secret, 2, start()).await.unwrap();
    let later = start() + TimeDelta::hours(2);
    node::touch(&mut conn, first.id, &descriptor("renamed"), later).await.unwrap();
    let first = node::get(&mut conn, first.id).await.unwrap();
    assert_eq!((first.last_seen_at, first.descriptor.name.as_str()), (later, "renamed"));

    let mut expected = [first.clone(), second];
    expected.sort_by_key(|node| node.id);
    let page = node::list(&mut conn, token.provider_id, None, 10).await.unwrap();
    assert_eq!(page, expected);
    let rest = node::list(&mut conn, token.provider_id, Some(expected[0].id), 10).await.unwrap();
    assert_eq!(rest, expected[1..]);

    let stranger = ids.next();
    let touched = node::touch(&mut conn, stranger, &descriptor("x"), later).await;
    assert!(matches!(touched, Err(Error::NodeUnknown(id)) if id == stranger));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_latest_ask_of_each_model_is_in_force(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let (_, secret) = a_token(&mut conn, &ids).await;
    let node_id = join(&pool, &ids, &secret, 1, start()).await.unwrap().id;
    let prices = |attos| {
        let price = AttoPrice::try_new(attos).unwrap();
        AskPrices { currency: Currency::USD, input: price, output: AttoPrice::MAX }
    };
    let ask = |model: &str, attos, hours| Ask {
        id: ids.next(),
        node_id,
        model: model.into(),
        prices: prices(attos),
        valid_from: start() + TimeDelta::hours(hours),
    };
    let asks = [ask("a", 1, 0), ask("a", 2, 1), ask("a", 3, 9), ask("b", 4, 0)];
    for ask in &asks {
        ask::publish(&mut conn, ask).await.unwrap();
    }
    let now = start() + TimeDelta::hours(2);
    assert_eq!(ask::current(&mut conn, node_id, now).await.unwrap(), [asks[1].clone(), asks[3].clone()]);
    let changed = sqlx::query("UPDATE broker.asks SET input_atto = 0").execute(&pool).await;
    assert!(changed.unwrap_err().to_string().contains("append-only"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_model_is_replaced_but_keeps_its_birthday(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let mut spark = Model {
        id: "spark-1".into(),
        name: "Spark 1".into(),
        kind: ModelKind::Generation,
        revision: "1".into(),
        context_tokens: 512,
        weights_sha256: "0".repeat(64),
        tokenizer: "{}".into(),
        chat_template: "{{ messages }}".into(),
        eos_token_ids: vec![2, 3],
        reasoning: Some(Reasoning { open: "<think>".into(), close: "</think>".into() }),
        output_tokens_default: 64,
        output_tokens_max: 256,
        grade_default: Grade::Exact,
        created_at: start(),
    };
    model::upsert(&mut conn, &spark).await.unwrap();
    spark.revision = "2".into();
    model::upsert(&mut conn, &Model { created_at: start() + TimeDelta::days(1), ..spark.clone() }).await.unwrap();
    assert_eq!(model::get(&mut conn, "spark-1").await.unwrap(), spark);
    assert_eq!(model::list(&mut conn, None, 10).await.unwrap(), [spark]);
    assert!(model::list(&mut conn, Some("spark-1"), 10).await.unwrap().is_empty());
    assert!(matches!(model::get(&mut conn, "other").await, Err(Error::ModelUnknown(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenants_key_names_one_job(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let tenant_id = ids.next();
    let first = a_job(&ids, tenant_id, Some("k"));
    job::insert(&mut conn, &first).await.unwrap();
    match job::insert(&mut conn, &a_job(&ids, tenant_id, Some("k"))).await {
        Err(Error::DuplicateKey { existing }) => {
            assert_eq!((existing.job_id, existing.body_sha256), (first.job_id, first.body_sha256));
        }
        other => panic!("{other:?}"),
    }
    job::insert(&mut conn, &a_job(&ids, ids.next(), Some("k"))).await.unwrap();
    job::insert(&mut conn, &a_job(&ids, tenant_id, None)).await.unwrap();
    job::insert(&mut conn, &a_job(&ids, tenant_id, None)).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_refused_before_it_ran_frees_its_key(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let tenant_id = ids.next();
    let poor = a_job(&ids, tenant_id, Some("k"));
    job::insert(&mut conn, &poor).await.unwrap();
    job::refuse(&mut conn, poor.job_id, "insufficient_funds", start()).await.unwrap();
    let refused = job::get(&mut conn, poor.job_id).await.unwrap();
    assert_eq!((refused.status, refused.charge), (JobStatus::Failed, Some(Nanos::ZERO)));
    assert!(matches!(job::refuse(&mut conn, poor.job_id, "again", start()).await, Err(Error::JobEnded(_))));
    job::insert(&mut conn, &a_job(&ids, tenant_id, Some("k"))).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_whose_answer_was_lost_joins_again_with_its_key(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let (_, secret) = a_token(&mut conn, &ids).await;
    let node = join(&pool, &ids, &secret, 1, start()).await.unwrap();
    assert_eq!(join(&pool, &ids, &secret, 1, start()).await.unwrap().id, node.id);
    assert!(matches!(join(&pool, &ids, &secret, 2, start()).await, Err(Error::JoinTokenUsed)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_ends_once(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let new = a_job(&ids, ids.next(), None);
    job::insert(&mut conn, &new).await.unwrap();
    assert_eq!(job::get(&mut conn, new.job_id).await.unwrap().status, JobStatus::Admitted);
    assert_eq!(job::unfinished(&mut conn, 10).await.unwrap().len(), 1);
    job::streaming(&mut conn, new.job_id, start()).await.unwrap();
    assert_eq!(job::get(&mut conn, new.job_id).await.unwrap().status, JobStatus::Streaming);

    job::finish(&mut conn, new.job_id, &an_end(JobStatus::Done)).await.unwrap();
    let voided = job::finish(&mut conn, new.job_id, &an_end(JobStatus::Voided)).await;
    assert!(matches!(voided, Err(Error::JobEnded(id)) if id == new.job_id));
    job::streaming(&mut conn, new.job_id, start()).await.unwrap();
    let job = job::get(&mut conn, new.job_id).await.unwrap();
    assert_eq!((job.status, job.output_tokens, job.charge), (JobStatus::Done, Some(3), Some(Nanos(500))));
    assert!(job::unfinished(&mut conn, 10).await.unwrap().is_empty());
    let changed = sqlx::query("UPDATE broker.jobs SET charge_nanos = 0").execute(&pool).await;
    assert!(changed.unwrap_err().to_string().contains("does not change"));

    let stranger: JobId = ids.next();
    let ended = job::finish(&mut conn, stranger, &an_end(JobStatus::Done)).await;
    assert!(matches!(ended, Err(Error::JobUnknown(id)) if id == stranger));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_charge_beyond_the_hold_is_refused(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let new = a_job(&ids, ids.next(), None);
    job::insert(&mut conn, &new).await.unwrap();
    let end = JobEnd { charge: Nanos(1_001), ..an_end(JobStatus::Done) };
    assert!(matches!(job::finish(&mut conn, new.job_id, &end).await, Err(Error::Database(_))));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenant_pages_through_its_own_jobs_only(pool: PgPool) {
    let clock = Clock::manual(start());
    let (ids, mut conn) = (Ids::seeded(clock.clone(), 1), pool.acquire().await.unwrap());
    let tenant_id = ids.next();
    let mut mine = Vec::new();
    for n in 0..6 {
        clock.advance(TimeDelta::milliseconds(1));
        let new = a_job(&ids, if n % 2 == 0 { tenant_id } else { ids.next() }, None);
        job::insert(&mut conn, &new).await.unwrap();
        if n % 2 == 0 {
            mine.insert(0, new.job_id);
        }
    }
    let page = |jobs: Vec<job::JobRecord>| jobs.into_iter().map(|job| job.job_id).collect::<Vec<_>>();
    let first = page(job::page(&mut conn, tenant_id, &Filter::default(), None, 2).await.unwrap());
    assert_eq!(first, mine[..2]);
    let second = page(job::page(&mut conn, tenant_id, &Filter::default(), Some(first[1]), 2).await.unwrap());
    assert_eq!(second, mine[2..]);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_unreadable_row_is_named(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let new = a_job(&ids, ids.next(), None);
    job::insert(&mut conn, &new).await.unwrap();
    sqlx::query("UPDATE broker.jobs SET prompt_tokens = 99999999999").execute(&pool).await.unwrap();
    let error = job::get(&mut conn, new.job_id).await.unwrap_err().to_string();
    assert_eq!(error, format!("broker.jobs.prompt_tokens of {} cannot be read", new.job_id));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_replica_leaves_is_found_by_its_number_and_nothing_of_the_living_ones(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let [gone, living] = [ReplicaId(7), ReplicaId(8)];
    let mut jobs = vec![];
    for replica_id in [gone, gone, living] {
        let new = NewJob { replica_id, ..a_job(&ids, ids.next(), None) };
        job::insert(&mut conn, &new).await.unwrap();
        let insert =
            "INSERT INTO broker.leases (job_id, epoch, node_id, provider_id, granted_at) VALUES ($1, 1, $1, $1, $2)";
        sqlx::query(insert).bind(new.job_id.0).bind(start()).execute(&pool).await.unwrap();
        jobs.push(new.job_id);
    }
    let replicas = async |conn: &mut PgConnection| {
        let mut replicas = job::replicas(conn).await.unwrap();
        replicas.sort();
        replicas
    };
    assert_eq!(replicas(&mut conn).await, [gone, living]);
    job::finish(&mut conn, jobs[0], &an_end(JobStatus::Done)).await.unwrap();
    assert_eq!(job::ended(&mut conn, &jobs).await.unwrap(), [jobs[0]]);
    let left = job::unfinished_of(&mut conn, gone, 10).await.unwrap();
    assert_eq!(left.iter().map(|job| job.job_id).collect::<Vec<_>>(), [jobs[1]]);
    job::finish(&mut conn, jobs[1], &an_end(JobStatus::Voided)).await.unwrap();
    assert_eq!(replicas(&mut conn).await, [gone, living], "its leases are open");

    assert_eq!(lease::abandon(&mut conn, gone, start()).await.unwrap(), 2);
    assert_eq!(lease::abandon(&mut conn, gone, start() + TimeDelta::days(1)).await.unwrap(), 0);
    assert_eq!(replicas(&mut conn).await, [living]);
    let leases = lease::of_job(&mut conn, jobs[1]).await.unwrap();
    assert_eq!((leases[0].outcome, leases[0].ended_at), (Some(LeaseOutcome::Abandoned), Some(start())));
    assert_eq!(lease::of_job(&mut conn, jobs[2]).await.unwrap()[0].outcome, None);
}

/// A node that was there from one second to another.
fn there(from_s: i64, to_s: i64, rcu_milli: i32) -> Presence {
    Presence {
        node_id: NodeId(uuid::Uuid::from_u128(7)),
        provider_id: ProviderId(uuid::Uuid::from_u128(8)),
        from_at: start() + TimeDelta::seconds(from_s),
        to_at: start() + TimeDelta::seconds(to_s),
        rcu_milli,
        shares: vec![ModelShare { model: "spark-1".into(), share_ppm: 1_000_000 }],
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_presence_grows_over_short_gaps_and_a_node_is_never_there_twice_at_once(pool: PgPool) {
    let gap = GAP_MAX.num_seconds();
    let told = [
        there(0, 10, 1),
        // Twice, and once more from within.
        there(0, 10, 1),
        there(5, 8, 1),
        there(10 + gap, 50, 1),
        // Too long a gap.
        there(51 + gap, 100, 1),
        // Another machine under the same name, which overlaps.
        there(90, 120, 2),
    ];
    presence::extend(&pool, &told).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let edge = start() + TimeDelta::hours(1);
    let found = presence::unreported(&mut conn, edge, 10).await.unwrap();
    let whole = |part: Presence| Unreported { began_at: part.from_at, part };
    assert_eq!(found, [whole(there(0, 50, 1)), whole(there(51 + gap, 100, 1)), whole(there(100, 120, 2))]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_presence_is_reported_part_by_part_and_forgotten_once_it_is_over(pool: PgPool) {
    presence::extend(&pool, &[there(0, 90, 1)]).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let (began_at, node_id) = (start(), there(0, 1, 1).node_id);
    let at = |s| start() + TimeDelta::seconds(s);
    let first = presence::unreported(&mut conn, at(60), 10).await.unwrap();
    assert_eq!(first, [Unreported { began_at, part: there(0, 60, 1) }]);
    presence::reported(&mut conn, node_id, began_at, at(60)).await.unwrap();
    assert_eq!(presence::unreported(&mut conn, at(60), 10).await.unwrap(), []);
    // A run that began before comes late.
    presence::reported(&mut conn, node_id, began_at, at(30)).await.unwrap();
    let rest = presence::unreported(&mut conn, at(120), 10).await.unwrap();
    assert_eq!(rest, [Unreported { began_at, part: there(60, 90, 1) }]);
    assert_eq!(presence::forget(&mut conn, at(1_000)).await.unwrap(), 0, "not all of it is reported");
    presence::reported(&mut conn, node_id, began_at, at(90)).await.unwrap();
    assert_eq!(presence::forget(&mut conn, at(90)).await.unwrap(), 0, "it is not over for long enough");
    assert_eq!(presence::forget(&mut conn, at(1_000)).await.unwrap(), 1);
}
