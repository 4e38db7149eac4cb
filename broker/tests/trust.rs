//! Audits and convictions in a real database: what convicts, what is then kept back, and how it ends.

use broker::holdback;
use broker::model::{self, Model, ModelKind};
use broker::node::{self, NodeStatus, Verdict};
use broker::provider::{self, Provider};
use broker::trust::conviction::{self, Conviction, ConvictionState};
use broker::{Error, join_token};
use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId, ProviderId};
use primitives::node_protocol::{NodeDescriptor, Tier};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

const APPEAL_WITHIN: TimeDelta = TimeDelta::hours(72);

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

/// A model, and a node that is new.
struct World {
    conn: PgConnection,
    ids: Ids,
    provider_id: ProviderId,
    node_id: NodeId,
    audited: i64,
}

impl World {
    async fn new(pool: &PgPool) -> Self {
        let (mut conn, ids) =
            (pool.acquire().await.expect("the database does it").detach(), Ids::seeded(Clock::manual(start()), 1));
        let spark = Model {
            id: "spark-1".into(),
            name: "Spark 1".into(),
            revision: "1".into(),
            context_tokens: 512,
            weights_sha256: "0".repeat(64),
            tokenizer: "{}".into(),
            chat_template: "{{ messages }}".into(),
            eos_token_ids: vec![2],
            output_tokens_default: 64,
            output_tokens_max: 256,
            grade_default: Grade::Exact,
            created_at: start(),
            kind: ModelKind::Generation,
            reasoning: None,
        };
        model::upsert(&mut conn, &spark).await.expect("the database does it");
        let mut nodes = vec![];
        for key in [1, 2] {
            let provider = Provider { id: ids.next(), name: "Grid".into(), created_at: start() };
            provider::insert(&mut conn, &provider).await.expect("the database does it");
            let made = join_token::create(&mut conn, &ids, provider.id, TimeDelta::hours(1), start()).await;
            let descriptor = NodeDescriptor {
                name: "n".into(),
                tier: Tier::Edge,
                chip: "cpu".into(),
                threads: 4,
                memory_bytes: 1,
                engine: "llama.cpp 1".into(),
                version: "0".into(),
                models: vec![],
            };
            let mut tx = conn.begin().await.expect("the database does it");
            let node = node::join(&mut tx, &ids, &made.expect("a new token").1, [key; 32], descriptor, start())
                .await
                .expect("the database does it");
            tx.commit().await.expect("the database does it");
            nodes.push((provider.id, node.id));
        }
        let (provider_id, node_id) = nodes[0];
        node::begin(&mut conn, node_id, "A cell of it has a grade.", start()).await.expect("the database does it");
        Self { conn, ids, provider_id, node_id, audited: 0 }
    }

    /// An audit of the node in which so many tokens of so many are apart.
    async fn audit(&mut self, apart: usize, of: usize) {
        let (job_id, slacks): (JobId, Vec<f32>) =
            (self.ids.next(), (0..of).map(|n| if n < apart { 0.3 } else { 0.001 }).collect());
        sqlx::query(
            "INSERT INTO broker.leases (job_id, epoch, node_id, provider_id, granted_at) VALUES ($1, 1, $2, $3, $4)",
        )
        .bind(job_id.0)
        .bind(self.node_id.0)
        .bind(self.provider_id.0)
        .bind(start())
        .execute(&mut self.conn)
        .await
        .expect("the database does it");
        self.audited += 1;
        sqlx::query(
            "INSERT INTO broker.audits (job_id, epoch, node_id, referee_id, model, prompt_tokens, prompt_sha256, output_sha256,
               sampling, slacks, audited_at)
             SELECT $1, 1, $2, id, 'spark-1', 4, repeat('1', 64), repeat('2', 64), '{}', $3, $4
             FROM broker.nodes
             WHERE id <> $2",
        )
        .bind(job_id.0)
        .bind(self.node_id.0)
        .bind(&slacks)
        .bind(start() + TimeDelta::seconds(self.audited))
        .execute(&mut self.conn)
        .await
        .expect("the database does it");
    }

    async fn judge(&mut self) -> Option<Conviction> {
        conviction::judge(&mut self.conn, &self.ids, APPEAL_WITHIN, start()).await.expect("the database does it").pop()
    }

    async fn convicted(&mut self) -> Conviction {
        self.audit(5, 64).await;
        self.judge().await.expect("five apart convict")
    }

    /// What the node earned is kept back until the start.
    async fn keep_back(&mut self) -> Uuid {
        let reserve_id = Uuid::from(self.ids.next::<JobId>());
        sqlx::query(
            "INSERT INTO broker.holdbacks (reserve_id, provider_id, node_id, currency, amount_nanos, seq_to, release_at, state,
               created_at, changed_at)
             VALUES ($1, $2, $3, 'USD', 7, 1, $4, 'reserved', $4, $4)",
        )
        .bind(reserve_id)
        .bind(self.provider_id.0)
        .bind(self.node_id.0)
        .bind(start())
        .execute(&mut self.conn)
        .await
        .expect("the database does it");
        reserve_id
    }

    /// What is to be released, and what is forfeited.
    async fn kept_back(&mut self) -> (Vec<Uuid>, Vec<Uuid>) {
        let lapsed = holdback::lapsed(&mut self.conn, start()).await.expect("the database does it");
        let forfeited = holdback::forfeit(&mut self.conn).await.expect("the database does it");
        (lapsed.iter().map(|it| it.reserve_id).collect(), forfeited.iter().map(|it| it.reserve_id).collect())
    }

    async fn status(&mut self) -> NodeStatus {
        node::get(&mut self.conn, self.node_id).await.expect("the database does it").status
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn each_judgement_takes_its_own_three_hundred_tokens_and_five_apart_convict(pool: PgPool) {
    let mut world = World::new(&pool).await;
    for apart in [2, 2, 0, 0, 0] {
        assert_eq!(world.judge().await, None);
        world.audit(apart, 60).await;
    }
    assert_eq!(world.judge().await, None, "four of three hundred come by chance");
    // They are judged: one more is not the fifth.
    world.audit(1, 60).await;
    assert_eq!((world.judge().await, world.status().await), (None, NodeStatus::Probation));
    world.audit(4, 60).await;
    let convicted = world.judge().await.unwrap();
    assert_eq!((convicted.node_id, convicted.state), (world.node_id, ConvictionState::Open));
    assert_eq!(convicted.evidence["judgement"]["positions"], 120);
    assert_eq!(convicted.evidence["audits"].as_array().unwrap().len(), 2);
    assert_eq!(world.status().await, NodeStatus::Suspended);
    let history = node::history(&mut world.conn, world.node_id, None, 1).await.unwrap();
    assert_eq!((&history[0].reason, history[0].user_id), (&convicted.reason, None));
    world.audit(60, 60).await;
    assert_eq!(world.judge().await, None, "one that is to be decided is enough");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_kept_back_waits_for_the_appeals_time_and_is_forfeited_then(pool: PgPool) {
    let mut world = World::new(&pool).await;
    let reserve = world.keep_back().await;
    assert_eq!(world.kept_back().await, (vec![reserve], vec![]));
    let convicted = world.convicted().await;
    assert_eq!(world.kept_back().await, (vec![], vec![]));
    conviction::uphold(&mut world.conn, convicted.appeal_until - TimeDelta::seconds(1)).await.unwrap();
    assert_eq!(world.kept_back().await, (vec![], vec![]));
    conviction::uphold(&mut world.conn, convicted.appeal_until).await.unwrap();
    assert_eq!(world.kept_back().await, (vec![], vec![reserve]));
    let late = conviction::appeal(&mut world.conn, convicted.id, "Wait.", convicted.appeal_until).await;
    assert!(matches!(late, Err(Error::State { what: "conviction", .. })));
}

#[sqlx::test(migrations = "../migrations")]
async fn an_appeal_stops_the_clock_and_an_overturned_conviction_leaves_everything_as_it_was(pool: PgPool) {
    let mut world = World::new(&pool).await;
    let reserve = world.keep_back().await;
    let convicted = world.convicted().await;
    let by = world.ids.next();
    conviction::appeal(&mut world.conn, convicted.id, "A broken fan.", start()).await.unwrap();
    conviction::uphold(&mut world.conn, convicted.appeal_until).await.unwrap();
    assert_eq!(world.kept_back().await, (vec![], vec![]), "nobody but an operator decides an appeal");
    let (id, conn) = (convicted.id, &mut world.conn);
    let overturned =
        conviction::decide(conn, id, ConvictionState::Overturned, "The referee was wrong.", by, start()).await.unwrap();
    assert_eq!(overturned.appeal.as_deref(), Some("A broken fan."));
    let again = conviction::decide(conn, id, ConvictionState::Upheld, "No.", by, start()).await;
    assert!(matches!(again, Err(Error::State { what: "conviction", .. })));
    assert_eq!((world.status().await, world.kept_back().await), (NodeStatus::Probation, (vec![reserve], vec![])));
}

#[sqlx::test(migrations = "../migrations")]
async fn retiring_a_node_does_not_save_what_was_kept_back(pool: PgPool) {
    let mut world = World::new(&pool).await;
    let (reserve, by) = (world.keep_back().await, world.ids.next());
    world.audit(5, 64).await;
    node::judge(&mut world.conn, world.node_id, Verdict::Retire, "Sold.", by, start()).await.unwrap();
    let convicted = world.judge().await.unwrap();
    conviction::uphold(&mut world.conn, convicted.appeal_until).await.unwrap();
    assert_eq!((world.status().await, world.kept_back().await), (NodeStatus::Retired, (vec![], vec![reserve])));
}
