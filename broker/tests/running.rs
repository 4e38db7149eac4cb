//! The running broker with nodes in this process: no network, a real database, the machine's clock unless told.

use std::time::Duration;

use broker::ask::{Ask, AskPrices};
use broker::job::{Class, EndReason, FailureCode, Job, JobEvent, Outcome};
use broker::lease::LeaseOutcome;
use broker::node::NodeSession;
use broker::standing::Standing;
use broker::{Broker, BrokerTask, JobStream, NodeLink, Refused, Settings, lease};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer, SigningKey};
use primitives::certificate::Grade;
use primitives::clock::Clock;
use primitives::id::{AskId, JobId, NodeId, ProviderId, TenantId};
use primitives::money::{AttoPrice, Currency};
use primitives::node_protocol::{
    FinishReason, FromNode, NodeDescriptor, Receipt, Sampling, ServedModel, SignedReceipt, Tier, ToNode, TokenFrame,
    Work, output_sha256,
};
use sqlx::PgPool;
use uuid::Uuid;

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(pool: &PgPool) -> (Broker, BrokerTask) {
    Broker::start(pool.clone(), Clock::system(), Settings::default())
}

fn job_id(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

fn job(n: u128) -> Job {
    Job {
        job_id: job_id(n),
        tenant_id: TenantId(Uuid::from_u128(1)),
        model: "spark-1".into(),
        prompt: vec![1, 2, 3, 4],
        embed: vec![],
        output_tokens_max: 8,
        stop: vec![],
        sampling: Sampling::greedy(),
        grammar: None,
        logprobs: None,
        cache_salt: None,
        prompt_blocks: vec![],
        pays_prompt: true,
        grade: Grade::Exact,
        class: Class::Interactive,
        deadline: None,
        step_max: None,
    }
}

/// A node that a test drives by hand.
struct Peer {
    node_id: NodeId,
    key: SigningKey,
    link: NodeLink,
}

impl Peer {
    async fn connect(broker: &Broker, n: u128, slots: u32) -> Self {
        let node_id = NodeId(Uuid::from_u128(n));
        let key = SigningKey::from_bytes(&[n as u8; 32]);
        let price = AttoPrice::try_new(n as i128).expect("a small price");
        let prices = AskPrices { currency: Currency::USD, input: price, output: price };
        let served = ServedModel {
            model: "spark-1".into(),
            weights_sha256: String::new(),
            quantisation: "F16".into(),
            context_tokens: 100,
            slots,
            ..ServedModel::default()
        };
        let session = NodeSession {
            node_id,
            provider_id: ProviderId(Uuid::from_u128(n)),
            public_key: key.verifying_key().to_bytes(),
            descriptor: NodeDescriptor {
                name: "n".into(),
                tier: Tier::Edge,
                chip: "cpu".into(),
                threads: 1,
                memory_bytes: 1,
                engine: "test".into(),
                version: "0".into(),
                models: vec![served],
            },
            asks: vec![Ask {
                id: AskId(Uuid::nil()),
                node_id,
                model: "spark-1".into(),
                prices,
                valid_from: DateTime::<Utc>::UNIX_EPOCH,
            }],
            standing: Standing::exact("spark-1"),
        };
        Self { node_id, key, link: broker.connect(session).await.expect("a running broker") }
    }

    async fn hear(&mut self) -> ToNode {
        tokio::time::timeout(PATIENCE, self.link.receive()).await.expect("a message in time").expect("an open link")
    }

    /// Takes the next offer and hears its work.
    async fn take(&mut self) -> (JobId, u32, Work) {
        let ToNode::Offer(offer) = self.hear().await else { panic!("no offer") };
        self.link.send(FromNode::Accept { job_id: offer.job_id, epoch: offer.epoch }).await;
        match self.hear().await {
            ToNode::Commit { job_id, epoch, work } => (job_id, epoch, *work),
            other => panic!("{other:?}"),
        }
    }

    async fn tokens(&self, job_id: JobId, epoch: u32, seq: u32, ids: &[u32]) {
        let text = "x".repeat(ids.len());
        self.link
            .send(FromNode::Tokens(TokenFrame { job_id, epoch, seq, ids: ids.to_vec(), text, logprobs: vec![] }))
            .await;
    }

    async fn finish(&self, job_id: JobId, epoch: u32, frames: u32, ids: &[u32]) {
        let receipt = Receipt {
            job_id,
            epoch,
            node_id: self.node_id,
            prompt_tokens: 4,
            output_tokens: ids.len() as u32,
            output_sha256: output_sha256(ids),
            first_token_ms: 1,
            total_ms: 2,
        };
        let signature = hex::encode(self.key.sign(&receipt.signed_bytes()).to_bytes());
        let receipt = Box::new(SignedReceipt { receipt, signature });
        self.link.send(FromNode::Finished { reason: FinishReason::Stop, frames, cached_tokens: 0, receipt }).await;
    }
}

async fn next(stream: &mut JobStream) -> JobEvent {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event in time").expect("an open stream")
}

/// The ids that come until the end, and the end.
async fn drain(stream: &mut JobStream) -> (Vec<u32>, JobEvent) {
    let mut received = Vec::new();
    loop {
        match next(stream).await {
            JobEvent::Placed { .. } => {}
            JobEvent::Tokens { ids, .. } => received.extend(ids),
            end => return (received, end),
        }
    }
}

fn output_tokens(outcome: &Outcome) -> Vec<(u32, u32)> {
    outcome.segments.iter().map(|segment| (segment.epoch, segment.output_tokens)).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_streams_and_its_lease_is_on_record(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let mut stream = broker.submit(job(1)).await.unwrap();
    let (id, epoch, work) = peer.take().await;
    assert_eq!((id, epoch, &work.prompt[..]), (job_id(1), 1, &[1, 2, 3, 4][..]));
    let open = lease::of_job(&mut pool.acquire().await.unwrap(), id).await.unwrap();
    assert_eq!((open.len(), open[0].outcome), (1, None), "on record before the work was sent");

    peer.tokens(id, epoch, 0, &[10]).await;
    peer.tokens(id, epoch, 1, &[11]).await;
    peer.finish(id, epoch, 2, &[10, 11]).await;
    let (received, end) = drain(&mut stream).await;
    assert_eq!(received, [10, 11]);
    assert!(matches!(end, JobEvent::Ended(ref outcome) if outcome.reason == EndReason::Stop));
    assert!(stream.next().await.is_none());

    task.stop().await;
    let ended = lease::of_job(&mut pool.acquire().await.unwrap(), id).await.unwrap();
    assert_eq!((ended[0].outcome, ended[0].output_tokens), (Some(LeaseOutcome::Done), Some(2)));
    let mismatch: Option<String> =
        sqlx::query_scalar("SELECT mismatch FROM broker.receipts").fetch_one(&pool).await.unwrap();
    assert_eq!(mismatch, None);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_lying_receipt_is_kept_as_evidence_and_changes_nothing(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let mut stream = broker.submit(job(1)).await.unwrap();
    let (id, epoch, _) = peer.take().await;
    peer.tokens(id, epoch, 0, &[10]).await;
    peer.finish(id, epoch, 1, &[10, 11, 12]).await;
    let (_, end) = drain(&mut stream).await;
    let JobEvent::Ended(outcome) = end else { panic!("{end:?}") };
    assert_eq!(output_tokens(&outcome), [(1, 1)]);
    task.stop().await;
    let mismatch: String = sqlx::query_scalar("SELECT mismatch FROM broker.receipts").fetch_one(&pool).await.unwrap();
    assert_eq!(mismatch, "output_tokens");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_vanishes_is_replaced_and_no_token_is_lost(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut first = Peer::connect(&broker, 1, 1).await;
    let mut second = Peer::connect(&broker, 2, 1).await;
    let mut stream = broker.submit(job(1)).await.unwrap();
    let (id, epoch, _) = first.take().await;
    first.tokens(id, epoch, 0, &[10, 11]).await;
    drop(first);
    let (id, epoch, work) = second.take().await;
    assert_eq!((epoch, &work.resume[..], work.resume_text_bytes), (2, &[10, 11][..], 2));
    second.tokens(id, epoch, 0, &[12]).await;
    second.finish(id, epoch, 1, &[12]).await;
    let (received, end) = drain(&mut stream).await;
    let JobEvent::Ended(outcome) = end else { panic!("{end:?}") };
    assert_eq!((received, output_tokens(&outcome)), (vec![10, 11, 12], vec![(1, 2), (2, 1)]));
    task.stop().await;
    let leases = lease::of_job(&mut pool.acquire().await.unwrap(), id).await.unwrap();
    let outcomes: Vec<_> = leases.iter().map(|lease| (lease.epoch, lease.outcome)).collect();
    assert_eq!(outcomes, [(1, Some(LeaseOutcome::Lost)), (2, Some(LeaseOutcome::Done))]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_that_another_control_plane_leased_is_not_run_twice(pool: PgPool) {
    let insert =
        "INSERT INTO broker.leases (job_id, epoch, node_id, provider_id, granted_at) VALUES ($1, 1, $1, $1, $2)";
    sqlx::query(insert).bind(job_id(1).0).bind(Clock::system().now()).execute(&pool).await.unwrap();
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let mut stream = broker.submit(job(1)).await.unwrap();
    let ToNode::Offer(offer) = peer.hear().await else { panic!("no offer") };
    peer.link.send(FromNode::Accept { job_id: offer.job_id, epoch: offer.epoch }).await;
    assert_eq!(peer.hear().await, ToNode::Cancel { job_id: job_id(1), epoch: 1 });
    let (_, end) = drain(&mut stream).await;
    assert!(matches!(end, JobEvent::Failed { code: FailureCode::LeaseUnrecorded, .. }));
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_dropped_stream_cancels_its_job(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let stream = broker.submit(job(1)).await.unwrap();
    let (id, epoch, _) = peer.take().await;
    drop(stream);
    assert_eq!(peer.hear().await, ToNode::Cancel { job_id: id, epoch });
    assert_eq!(broker.models().await[0].slots_free, 1);
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cancelled_stream_tells_what_was_delivered(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let mut stream = broker.submit(job(1)).await.unwrap();
    let (id, epoch, _) = peer.take().await;
    peer.tokens(id, epoch, 0, &[10, 11]).await;
    while !matches!(next(&mut stream).await, JobEvent::Tokens { .. }) {}
    let outcome = stream.cancel().await;
    assert_eq!((outcome.reason, output_tokens(&outcome)), (EndReason::Cancelled, vec![(1, 2)]));
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn cancelling_what_has_ended_tells_how_it_ended(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let stream = broker.submit(job(1)).await.unwrap();
    let (id, epoch, _) = peer.take().await;
    peer.tokens(id, epoch, 0, &[10]).await;
    peer.finish(id, epoch, 1, &[10]).await;
    while broker.models().await[0].slots_free == 0 {
        tokio::task::yield_now().await;
    }
    let outcome = stream.cancel().await;
    assert_eq!((outcome.reason, output_tokens(&outcome)), (EndReason::Stop, vec![(1, 1)]));
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_consumer_that_takes_nothing_loses_its_job_and_holds_up_no_other(pool: PgPool) {
    let clock = Clock::manual(DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
    let settings = Settings { consumer_stall_max: TimeDelta::seconds(1), ..Settings::default() };
    let (broker, task) = Broker::start(pool.clone(), clock.clone(), settings);
    let mut peer = Peer::connect(&broker, 1, 2).await;
    let mut idle = broker.submit(job(1)).await.unwrap();
    let (idle_id, idle_epoch, _) = peer.take().await;
    let mut busy = broker.submit(job(2)).await.unwrap();
    let (id, epoch, _) = peer.take().await;
    for seq in 0..4 {
        peer.tokens(idle_id, idle_epoch, seq, &[10]).await;
        peer.tokens(id, epoch, seq, &[20]).await;
        while !matches!(next(&mut busy).await, JobEvent::Tokens { .. }) {}
        clock.advance(TimeDelta::milliseconds(400));
        // What was sent before this answer was handled before it.
        broker.nodes().await;
    }
    assert_eq!(peer.hear().await, ToNode::Cancel { job_id: idle_id, epoch: idle_epoch });
    let (received, end) = drain(&mut idle).await;
    assert!(matches!(end, JobEvent::Failed { code: FailureCode::ConsumerStalled, .. }), "{received:?} {end:?}");
    peer.finish(id, epoch, 4, &[20, 20, 20, 20]).await;
    assert!(matches!(drain(&mut busy).await.1, JobEvent::Ended(_)));
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_second_link_of_a_node_closes_the_first(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut first = Peer::connect(&broker, 1, 1).await;
    let mut second = Peer::connect(&broker, 1, 1).await;
    assert_eq!(first.link.receive().await, None);
    // What the old link still says, and that it goes, means nothing for the new one.
    first.link.send(FromNode::Goodbye).await;
    drop(first);
    let _stream = broker.submit(job(1)).await.unwrap();
    second.take().await;
    assert_eq!(broker.nodes().await.len(), 1);
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_reads_nothing_is_cut_off(pool: PgPool) {
    let (broker, task) = start(&pool);
    let peer = Peer::connect(&broker, 1, 1).await;
    // Each job is offered and withdrawn, two messages, until the link is full.
    for n in 1..=60 {
        if let Ok(stream) = broker.submit(job(n)).await {
            stream.cancel().await;
        }
    }
    assert!(broker.nodes().await.is_empty());
    drop(peer);
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn stopping_fails_what_runs_and_refuses_what_comes(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    let mut running = broker.submit(job(1)).await.unwrap();
    let (id, epoch, _) = peer.take().await;
    peer.tokens(id, epoch, 0, &[10]).await;
    let mut waiting = broker.submit(job(2)).await.unwrap();
    while !matches!(next(&mut running).await, JobEvent::Tokens { .. }) {}
    task.stop().await;
    for stream in [&mut running, &mut waiting] {
        let (_, end) = drain(stream).await;
        assert!(matches!(end, JobEvent::Failed { code: FailureCode::ShuttingDown, .. }));
    }
    assert_eq!(peer.hear().await, ToNode::Cancel { job_id: id, epoch });
    assert_eq!(peer.link.receive().await, None);
    assert!(matches!(broker.submit(job(3)).await, Err(Refused::ShuttingDown)));
    let leases = lease::of_job(&mut pool.acquire().await.unwrap(), id).await.unwrap();
    assert_eq!(leases[0].outcome, Some(LeaseOutcome::Cancelled));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_database_out_of_reach_fails_the_job_and_not_the_broker(pool: PgPool) {
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 1).await;
    sqlx::query("ALTER TABLE broker.leases RENAME TO away").execute(&pool).await.unwrap();
    let mut stream = broker.submit(job(1)).await.unwrap();
    let ToNode::Offer(offer) = peer.hear().await else { panic!("no offer") };
    peer.link.send(FromNode::Accept { job_id: offer.job_id, epoch: offer.epoch }).await;
    let (_, end) = drain(&mut stream).await;
    assert!(matches!(end, JobEvent::Failed { code: FailureCode::LeaseUnrecorded, .. }));
    sqlx::query("ALTER TABLE broker.away RENAME TO leases").execute(&pool).await.unwrap();
    assert!(matches!(peer.hear().await, ToNode::Cancel { .. }));
    let _stream = broker.submit(job(2)).await.unwrap();
    assert_eq!(peer.take().await.0, job_id(2));
    task.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn many_jobs_at_once_each_get_their_own_tokens(pool: PgPool) {
    const JOBS: u128 = 64;
    let (broker, task) = start(&pool);
    let mut peer = Peer::connect(&broker, 1, 8).await;
    let mut streams = Vec::new();
    for n in 1..=JOBS {
        streams.push(broker.submit(job(n)).await.unwrap());
    }
    let node = async {
        let mut ended = 0;
        while ended < JOBS {
            match peer.hear().await {
                ToNode::Offer(offer) => {
                    peer.link.send(FromNode::Accept { job_id: offer.job_id, epoch: offer.epoch }).await;
                }
                ToNode::Commit { job_id, epoch, .. } => {
                    let id = job_id.0.as_u128() as u32;
                    peer.tokens(job_id, epoch, 0, &[id]).await;
                    peer.tokens(job_id, epoch, 1, &[id + 1]).await;
                    peer.finish(job_id, epoch, 2, &[id, id + 1]).await;
                    ended += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let consumers = async {
        for (stream, n) in streams.iter_mut().zip(1..) {
            assert_eq!(drain(stream).await.0, [n, n + 1]);
        }
    };
    tokio::join!(node, consumers);
    task.stop().await;
    let open: i64 =
        sqlx::query_scalar("SELECT count(*) FROM broker.leases WHERE ended_at IS NULL").fetch_one(&pool).await.unwrap();
    assert_eq!(open, 0);
}
