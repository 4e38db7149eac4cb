//! Cells and certificates in a real database: who may vouch for what, what counts, what stays.

use broker::capability::{self, CellKey, CellState, Sponsor};
use broker::model::{self, Model, ModelKind};
use broker::node::{self, NodeStatus, ProbationRules, Verdict};
use broker::provider::{self, Provider};
use broker::{Error, join_token};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer, SigningKey};
use primitives::certificate::{Agreement, Body, Cell, Certificate, Grade, VALID_FOR};
use primitives::clock::Clock;
use primitives::id::{Ids, NodeId, ProviderId};
use primitives::node_protocol::{NodeDescriptor, Tier};
use sqlx::{Connection, PgConnection, PgPool};

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn ids() -> Ids {
    Ids::seeded(Clock::manual(start()), 1)
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn cell_key(weights: &str, engine: &str) -> CellKey {
    CellKey {
        model: "spark-1".into(),
        reference_sha256: "0".repeat(64),
        weights_sha256: weights.repeat(64),
        quantisation: "Q8_0".into(),
        engine: engine.into(),
        chip: "cpu".into(),
        features: vec!["AVX2".into()],
    }
}

fn certificate(signer: u8, agreed: u64, issued_at: DateTime<Utc>) -> Certificate {
    let CellKey { reference_sha256, weights_sha256, quantisation, engine, chip, features, .. } =
        cell_key("8", "llama.cpp 1");
    let body = Body {
        cell: Cell { reference_sha256, weights_sha256, quantisation, engine, chip, features },
        claimed: Grade::Exact,
        agreement: Agreement {
            positions: 100_000,
            agreed,
            lower_bound: 1.0,
            divergence_mean: 0.001,
            divergence_p99: 0.01,
            divergence_coarse: false,
        },
        calls: None,
        issued_at,
        expires_at: issued_at + VALID_FOR,
    };
    let key = key(signer);
    let signature = hex::encode(key.sign(&body.signed_bytes()).to_bytes());
    Certificate { body, public_key: hex::encode(key.verifying_key().to_bytes()), signature }
}

/// A model, and two providers with a node each.
async fn market(conn: &mut PgConnection, ids: &Ids) -> [(ProviderId, NodeId); 2] {
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
    model::upsert(conn, &spark).await.expect("a new model");
    let mut made = vec![];
    for n in [1, 2] {
        let id = ids.next();
        let provider = Provider { id, name: "Grid".into(), created_at: start() };
        provider::insert(conn, &provider).await.expect("a new provider");
        let (_, secret) = join_token::create(conn, ids, id, TimeDelta::hours(1), start()).await.expect("a new token");
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
        let key = key(n).verifying_key().to_bytes();
        // The token names its node before the node's row is there, so both in one transaction.
        let mut tx = conn.begin().await.expect("a transaction");
        let node = node::join(&mut tx, ids, &secret, key, descriptor, start()).await.expect("an unspent token");
        tx.commit().await.expect("token and node");
        made.push((id, node.id));
    }
    made.try_into().expect("two were made")
}

#[sqlx::test(migrations = "../migrations")]
async fn the_reference_is_exact_by_definition_and_nothing_else_is(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let [(provider, _), _] = market(&mut conn, &ids).await;
    let mut grade = async |weights, engine| {
        let cell = capability::resolve(&mut conn, &ids, provider, &cell_key(weights, engine), start()).await.unwrap();
        (cell.state, cell.served(start()))
    };
    assert_eq!(grade("0", "llama.cpp 1").await, (CellState::Certified, Some(Grade::Exact)));
    assert_eq!(grade("0", "vllm 1").await, (CellState::Built, None));
    assert_eq!(grade("0", "llama.cpp-fork 1").await, (CellState::Built, None));
    assert_eq!(grade("8", "llama.cpp 1").await, (CellState::Built, None));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_nodes_certificate_is_good_for_its_provider_alone_and_an_operators_for_all(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let [(first, node_id), (second, _)] = market(&mut conn, &ids).await;
    let (key, now) = (cell_key("8", "llama.cpp 1"), start() + TimeDelta::hours(1));
    let sponsor = Sponsor::Node { node_id, provider_id: first };
    let of_the_second = capability::certify(&mut conn, &ids, &certificate(2, 100_000, start()), sponsor, now).await;
    assert!(matches!(of_the_second, Err(Error::CertificateSigner)), "{of_the_second:?}");
    let own = certificate(1, 99_500, start());
    for _ in 0..2 {
        let cells = capability::certify(&mut conn, &ids, &own, sponsor, now).await.unwrap();
        assert_eq!((cells.len(), cells[0].grade, cells[0].provider_id), (1, Some(Grade::Near), Some(first)));
    }
    let mut grade =
        async |provider, at| capability::resolve(&mut conn, &ids, provider, &key, at).await.unwrap().served(at);
    assert_eq!((grade(first, now).await, grade(second, now).await), (Some(Grade::Near), None));
    assert_eq!(grade(first, start() + VALID_FOR).await, None, "it has run out");

    let operator = Sponsor::Operator(ids.next());
    let later = certificate(9, 99_990, now);
    capability::certify(&mut conn, &ids, &later, operator, now).await.unwrap();
    let mut grade =
        async |provider| capability::resolve(&mut conn, &ids, provider, &key, now).await.unwrap().served(now);
    assert_eq!((grade(first).await, grade(second).await), (Some(Grade::Exact), Some(Grade::Exact)));
    // An older one changes nothing.
    capability::certify(&mut conn, &ids, &certificate(9, 95_500, start()), operator, now).await.unwrap();
    let cell = capability::resolve(&mut conn, &ids, second, &key, now).await.unwrap();
    assert_eq!(cell.served(now), Some(Grade::Exact));

    // Suspended, it serves nobody, whatever comes; resumed, it has what came last.
    let by = ids.next();
    capability::suspend(&mut conn, cell.id, "Wrong calls.", by, now).await.unwrap();
    let latest = certificate(9, 96_000, now + TimeDelta::hours(1));
    let now = now + TimeDelta::hours(2);
    capability::certify(&mut conn, &ids, &latest, operator, now).await.unwrap();
    let mut served = async |provider| capability::resolve(&mut conn, &ids, provider, &key, now).await.unwrap();
    assert_eq!(served(first).await.served(now), None);
    assert_eq!(served(second).await.reason, "Wrong calls.");
    let resumed = capability::resume(&mut conn, cell.id, "Mended.", by, now).await.unwrap();
    assert_eq!((resumed.state, resumed.served(now)), (CellState::Certified, Some(Grade::Eco)));
    assert!(matches!(capability::resume(&mut conn, cell.id, "Again.", by, now).await, Err(Error::State { .. })));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_first_look_is_noted_and_neither_grades_a_cell_nor_takes_its_grade(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let [(provider, node_id), _] = market(&mut conn, &ids).await;
    let (key, now) = (cell_key("8", "llama.cpp 1"), start() + TimeDelta::hours(1));
    let sponsor = Sponsor::Node { node_id, provider_id: provider };
    let first_look = |issued_at| {
        let mut certificate = certificate(1, 2_990, issued_at);
        certificate.body.agreement.positions = 3_000;
        let signature = self::key(1).sign(&certificate.body.signed_bytes());
        Certificate { signature: hex::encode(signature.to_bytes()), ..certificate }
    };
    for _ in 0..2 {
        let cells = capability::certify(&mut conn, &ids, &first_look(now), sponsor, now).await.unwrap();
        assert_eq!((cells[0].state, cells[0].grade, cells[0].changed_at), (CellState::Built, None, now));
        assert!(cells[0].reason.contains("first look"), "{}", cells[0].reason);
    }
    // A full one counts, though it was measured before, and stays when the node looks again.
    capability::certify(&mut conn, &ids, &certificate(1, 99_500, start()), sponsor, now).await.unwrap();
    let later = now + TimeDelta::hours(1);
    capability::certify(&mut conn, &ids, &first_look(later), sponsor, later).await.unwrap();
    let cell = capability::resolve(&mut conn, &ids, provider, &key, later).await.unwrap();
    assert_eq!(cell.served(later), Some(Grade::Near));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_goes_its_way_in_order_and_back_to_where_it_was(pool: PgPool) {
    let (ids, mut conn) = (ids(), pool.acquire().await.unwrap());
    let [(_, id), _] = market(&mut conn, &ids).await;
    let by = ids.next();
    let mut judge =
        async |verdict| node::judge(&mut conn, id, verdict, "Why.", by, start()).await.map(|node| node.status);
    assert!(matches!(judge(Verdict::Resume).await, Err(Error::State { .. })));
    assert_eq!(judge(Verdict::Suspend).await.unwrap(), NodeStatus::Suspended);
    assert_eq!(judge(Verdict::Resume).await.unwrap(), NodeStatus::Joined);
    let mut conn = pool.acquire().await.unwrap();
    node::begin(&mut conn, id, "A cell has a grade.", start()).await.unwrap();
    node::begin(&mut conn, id, "A cell has a grade.", start()).await.unwrap();
    assert_eq!(node::history(&mut conn, id, None, 10).await.unwrap().len(), 5);
    let rules = ProbationRules { lasts: TimeDelta::hours(1), jobs: 0 };
    assert!(node::end_probations(&mut conn, rules, start()).await.unwrap().is_empty());
    let later = start() + TimeDelta::hours(1);
    assert!(node::end_probations(&mut conn, ProbationRules { jobs: 1, ..rules }, later).await.unwrap().is_empty());
    assert_eq!(node::end_probations(&mut conn, rules, later).await.unwrap(), [id]);
    assert!(node::end_probations(&mut conn, rules, later).await.unwrap().is_empty());
    let active = node::get(&mut conn, id).await.unwrap();
    assert_eq!(
        (active.status, active.probation_from, active.probation_to),
        (NodeStatus::Active, Some(start()), Some(later))
    );
    node::judge(&mut conn, id, Verdict::Retire, "Sold.", by, later).await.unwrap();
    assert!(matches!(node::judge(&mut conn, id, Verdict::Resume, "No.", by, later).await, Err(Error::State { .. })));
}
