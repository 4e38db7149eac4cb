//! The node against a control plane that the test plays, over a real socket.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use engine::node::identity::{Identity, Membership};
use engine::node::readiness::Readiness;
use engine::node::serving::Serving;
use engine::node::{self, Node, machine, watchdog};
use engine::{Engine, Error};
use futures_util::{SinkExt, StreamExt};
use primitives::clock::Clock;
use primitives::id::{Ids, JobId, NodeId};
use primitives::kv_block;
use primitives::node_protocol::{
    Credential, FinishReason, FromNode, Hello, MESSAGE_BYTES_MAX, ModelLoad, Offer, Replay, SignedReceipt, Tier,
    ToNode, TokenFrame, Work, output_sha256, proof_message,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::bundled::{engine, folder, long_work, question, work};

/// The control plane's side of one connection.
struct Visit(WebSocketStream<TcpStream>);

impl Visit {
    async fn say(&mut self, message: ToNode) {
        self.0.send(Message::text(serde_json::to_string(&message).unwrap())).await.unwrap();
    }

    /// The node's next message that is no heartbeat; none when it closed the connection.
    async fn hear(&mut self) -> Option<FromNode> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text).unwrap() {
                    FromNode::Heartbeat(_) => {}
                    message => return Some(message),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// What the next heartbeat tells of models; passes over everything else.
    async fn hear_news(&mut self) -> Vec<ModelLoad> {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap()
                && let FromNode::Heartbeat(load) = serde_json::from_str(&text).unwrap()
            {
                return load.models;
            }
        }
    }

    async fn hear_tokens(&mut self) -> TokenFrame {
        match self.hear().await {
            Some(FromNode::Tokens(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the node in if its proof holds; gives its introduction.
    async fn greet(&mut self, node_id: NodeId, public_key: &[u8; 32]) -> Hello {
        let Some(FromNode::Hello(hello)) = self.hear().await else { panic!("no hello") };
        let nonce = [7; 32];
        self.say(ToNode::Challenge { nonce: hex::encode(nonce) }).await;
        let Some(FromNode::Proof { signature }) = self.hear().await else { panic!("no proof") };
        assert!(verifies(public_key, &proof_message(&nonce, public_key, &hello.descriptor.sha256()), &signature));
        self.say(ToNode::Welcome { node_id, heartbeat_ms: 20 }).await;
        *hello
    }

    /// Offers a job and hears whether the node takes it.
    async fn offer(&mut self, job_id: JobId, epoch: u32, work: &Work) -> bool {
        self.say(ToNode::Offer(offer(job_id, epoch, work))).await;
        match self.hear().await {
            Some(FromNode::Accept { job_id: job, epoch: lease }) if (job, lease) == (job_id, epoch) => true,
            Some(FromNode::Decline { job_id: job, epoch: lease, .. }) if (job, lease) == (job_id, epoch) => false,
            other => panic!("{other:?}"),
        }
    }

    /// Offers a job while another one streams, and hears whether the node takes it.
    async fn offer_amid(&mut self, job_id: JobId, work: &Work) -> bool {
        self.say(ToNode::Offer(offer(job_id, 1, work))).await;
        loop {
            match self.hear().await {
                Some(FromNode::Tokens(_)) => {}
                Some(FromNode::Accept { job_id: job, .. }) if job == job_id => return true,
                Some(FromNode::Decline { job_id: job, .. }) if job == job_id => return false,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn commit(&mut self, job_id: JobId, epoch: u32, work: &Work) {
        self.say(ToNode::Commit { job_id, epoch, work: Box::new(work.clone()) }).await;
    }
}

fn offer(job_id: JobId, epoch: u32, work: &Work) -> Offer {
    Offer {
        job_id,
        epoch,
        expires_ms: 250,
        model: "spark-1".into(),
        prompt_tokens: (work.prompt.len() + work.resume.len()) as u32,
        output_tokens_max: work.output_tokens_max - work.resume.len() as u32,
        priority: work.terms.priority,
    }
}

fn verifies(public_key: &[u8; 32], message: &[u8], signature: &str) -> bool {
    let signature = Signature::from_slice(&hex::decode(signature).unwrap()).unwrap();
    VerifyingKey::from_bytes(public_key).unwrap().verify(message, &signature).is_ok()
}

/// A request that reaches its limit, looked for beside the runtime.
async fn long(output_tokens_max: u32) -> Work {
    tokio::task::spawn_blocking(move || long_work(output_tokens_max)).await.unwrap()
}

/// A node that has joined, and the control plane that it will find.
struct Scene {
    listener: TcpListener,
    ids: Ids,
    dir: PathBuf,
    identity: Identity,
    node_id: NodeId,
    engine: Arc<Serving>,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ids = Ids::random(Clock::system());
        let dir = std::env::temp_dir().join(format!("tokengrid-{}", ids.next::<NodeId>()));
        let mut identity = Identity::open(&dir, &ids).unwrap();
        let node_id = ids.next();
        identity.joined(Membership { node_id, control_plane: address(&listener) }).unwrap();
        Self { listener, ids, dir, identity, node_id, engine: Arc::new(Serving::Bundled(engine)) }
    }

    fn node(&self) -> Node {
        let engines = vec![self.engine.clone()];
        Node {
            identity: self.identity.clone(),
            control_plane: address(&self.listener),
            join_token: None,
            descriptor: machine::describe(Some("test".into()), Tier::Edge, 1, &engines),
            certificates: vec![],
            engines,
            readiness: Readiness::default(),
        }
    }

    async fn visit(&self) -> Visit {
        Visit(accept_async(self.listener.accept().await.unwrap().0).await.unwrap())
    }

    async fn visit_and_greet(&self) -> Visit {
        let mut visit = self.visit().await;
        visit.greet(self.node_id, &self.identity.public_key()).await;
        visit
    }

    /// Plays a script against the running node.
    async fn play(&self, script: impl AsyncFnOnce(&Self)) {
        let (_never, draining) = watch::channel(None);
        tokio::select! {
            ended = self.node().run(&self.ids, draining) => panic!("the node ended: {ended:?}"),
            () = script(self) => {}
        }
    }

    async fn wait_until_idle(&self) {
        while self.engine.load() != (0, 0) {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn address(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn joining_proves_the_key_and_keeps_the_identity() {
    let scene = Scene::new(engine(|_| ())).await;
    let dir = scene.dir.join("fresh");
    let mut identity = Identity::open(&dir, &scene.ids).unwrap();
    let (public_key, node_id) = (identity.public_key(), scene.ids.next());
    let control_plane = address(&scene.listener);
    let descriptor = machine::describe(Some("test".into()), Tier::Cloud, 1, &[]);
    let (joined, hello) = tokio::join!(node::join(&mut identity, &control_plane, "secret", descriptor), async {
        let mut visit = scene.visit().await;
        let hello = visit.greet(node_id, &public_key).await;
        assert_eq!(visit.hear().await, Some(FromNode::Goodbye));
        hello
    });
    assert_eq!(joined.unwrap(), node_id);
    assert_eq!(hello.credential, Credential::Join { token: "secret".into(), public_key: hex::encode(public_key) });
    assert_eq!(Identity::open(&dir, &scene.ids).unwrap().membership(), Some(&Membership { node_id, control_plane }));
}

#[tokio::test]
async fn a_node_with_a_spent_token_is_told_and_gives_up() {
    let scene = Scene::new(engine(|_| ())).await;
    let identity = Identity::open(&scene.dir.join("fresh"), &scene.ids).unwrap();
    let node = Node { identity, join_token: Some("spent".into()), ..scene.node() };
    let (_never, draining) = watch::channel(None);
    let (ended, ()) = tokio::join!(node.run(&scene.ids, draining), async {
        let mut visit = scene.visit().await;
        visit.hear().await;
        visit.say(ToNode::Refused { code: "join_token_used".into(), message: "Make a new one.".into() }).await;
    });
    assert!(matches!(ended, Err(Error::NotLetIn { code, .. }) if code == "join_token_used"));
}

#[tokio::test]
async fn a_committed_job_streams_its_frames_and_ends_with_a_receipt_that_verifies() {
    let scene = Scene::new(engine(|_| ())).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit().await;
        let hello = visit.greet(scene.node_id, &scene.identity.public_key()).await;
        assert_eq!(hello.credential, Credential::Known { node_id: scene.node_id });
        assert_eq!((hello.descriptor.models[0].model.as_str(), hello.descriptor.models[0].slots), ("spark-1", 8));
        let (job_id, work) = (scene.ids.next(), work(question("What is 12 + 30?"), 40));
        assert!(visit.offer(job_id, 3, &work).await);
        visit.commit(job_id, 3, &work).await;
        let mut ids = Vec::new();
        let (reason, frames, signed) = loop {
            match visit.hear().await {
                Some(FromNode::Tokens(frame)) => {
                    assert_eq!((frame.job_id, frame.epoch, frame.seq as usize), (job_id, 3, ids.len()));
                    ids.extend(frame.ids);
                }
                Some(FromNode::Finished { reason, frames, receipt, .. }) => break (reason, frames, *receipt),
                other => panic!("{other:?}"),
            }
        };
        let SignedReceipt { receipt, signature } = signed;
        assert!(verifies(&scene.identity.public_key(), &receipt.signed_bytes(), &signature));
        assert_eq!((receipt.job_id, receipt.epoch, receipt.node_id), (job_id, 3, scene.node_id));
        assert_eq!((receipt.prompt_tokens, receipt.output_tokens), (work.prompt.len() as u32, ids.len() as u32));
        assert_eq!(receipt.output_sha256, output_sha256(&ids));
        assert!(receipt.first_token_ms <= receipt.total_ms);
        assert_eq!((reason, frames as usize), (FinishReason::Stop, ids.len()));
    };
    scene.play(script).await;
}

#[tokio::test]
async fn the_end_tells_how_much_of_the_prompt_was_cached() {
    let scene = Scene::new(engine(|_| ())).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let mut work = work(question(&"word ".repeat(30)), 2);
        work.terms.cache_salt = Some("5a17".into());
        for expected in [0, work.prompt.len() as u32 - 1] {
            let job_id = scene.ids.next();
            assert!(visit.offer(job_id, 1, &work).await);
            visit.commit(job_id, 1, &work).await;
            let cached = loop {
                match visit.hear().await {
                    Some(FromNode::Tokens(_)) => {}
                    Some(FromNode::Finished { cached_tokens, .. }) => break cached_tokens,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(cached, expected);
        }
    };
    scene.play(script).await;
}

#[tokio::test]
async fn heartbeats_tell_which_blocks_are_held_and_when_a_job_may_be_answered() {
    let scene = Scene::new(engine(|_| ())).await;
    let script = async |scene: &Scene| {
        let mut work = work(question(&"word ".repeat(30)), 2);
        work.terms.cache_salt = Some("5a17".into());
        let names = kv_block::names("5a17", &work.prompt);
        assert!(!names.is_empty());
        for first in [true, false] {
            let mut visit = scene.visit_and_greet().await;
            if first {
                let job_id = scene.ids.next();
                assert!(visit.offer(job_id, 1, &work).await);
                visit.commit(job_id, 1, &work).await;
            }
            let (mut held, mut outlook) = (BTreeSet::new(), None);
            while !names.iter().all(|name| held.contains(name)) {
                for news in visit.hear_news().await {
                    assert_eq!(news.model, "spark-1");
                    held.extend(news.blocks_added);
                    assert!(news.blocks_removed.iter().all(|name| held.remove(name)));
                    outlook = news.outlook.or(outlook);
                }
            }
            assert!(outlook.is_some_and(|outlook| outlook.prompt_token_us > 0), "it has read a prompt");
        }
    };
    scene.play(script).await;
}

#[tokio::test]
async fn an_offer_is_taken_only_if_model_length_and_slots_allow() {
    let scene = Scene::new(engine(|config| config.slots = 1)).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let work = work(question("Hi"), 10);
        let (first, second) = (scene.ids.next(), scene.ids.next());
        visit.say(ToNode::Offer(Offer { model: "other".into(), ..offer(first, 1, &work) })).await;
        assert!(matches!(visit.hear().await, Some(FromNode::Decline { reason, .. }) if reason.contains("other")));
        visit.say(ToNode::Offer(Offer { output_tokens_max: 5_000, ..offer(first, 1, &work) })).await;
        assert!(matches!(visit.hear().await, Some(FromNode::Decline { reason, .. }) if reason.contains("tokens")));
        assert!(visit.offer(first, 1, &work).await);
        assert!(!visit.offer(second, 1, &work).await, "an accepted job holds its slot");
        visit.say(ToNode::Cancel { job_id: first, epoch: 1 }).await;
        assert!(visit.offer(second, 1, &work).await, "a cancelled one gives it back");
    };
    scene.play(script).await;
}

/// Reads to a job's end.
async fn hear_end(visit: &mut Visit) {
    loop {
        match visit.hear().await {
            Some(FromNode::Tokens(_)) => {}
            Some(FromNode::Finished { .. }) => return,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_whose_turn_would_come_later_than_declared_is_declined_with_the_time_to_come_back() {
    let scene = Scene::new(engine(|config| config.turn_ms_max = Some(1))).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let mut long = work(question(&"word ".repeat(150)), 3);
        long.terms.priority = 1;
        // Nothing is measured yet, so nothing is said.
        let first = scene.ids.next();
        assert!(visit.offer(first, 1, &long).await);
        visit.commit(first, 1, &long).await;
        hear_end(&mut visit).await;
        let (accepted, second) = (scene.ids.next(), scene.ids.next());
        assert!(visit.offer(accepted, 1, &long).await);
        visit.say(ToNode::Offer(offer(second, 1, &long))).await;
        match visit.hear().await {
            Some(FromNode::Decline { retry_after_ms: Some(ms), reason, .. }) => {
                assert!(ms > 0 && reason.contains("declared"), "{ms}: {reason}");
            }
            other => panic!("{other:?}"),
        }
        let patient = work(long.prompt.clone(), 3);
        assert!(visit.offer(scene.ids.next(), 1, &patient).await, "what can wait does");
        visit.say(ToNode::Cancel { job_id: accepted, epoch: 1 }).await;
        assert!(visit.offer(second, 1, &long).await, "nothing is ahead any more");
    };
    scene.play(script).await;
}

#[tokio::test]
async fn on_a_full_node_a_job_of_higher_priority_takes_a_slot_and_the_other_goes_on_after() {
    let scene = Scene::new(engine(|config| (config.slots, config.tokens_per_second_max) = (1, Some(50)))).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let (low, high, third) = (scene.ids.next(), scene.ids.next(), scene.ids.next());
        let patient = long(30).await;
        let mut urgent = work(question("What is 12 + 30?"), 2);
        urgent.terms.priority = 1;
        assert!(visit.offer(low, 1, &patient).await);
        visit.commit(low, 1, &patient).await;
        assert_eq!(visit.hear_tokens().await.job_id, low);
        assert!(!visit.offer_amid(third, &patient).await, "the slot is taken for its kind");
        assert!(visit.offer_amid(high, &urgent).await);
        visit.commit(high, 1, &urgent).await;
        assert!(!visit.offer_amid(third, &urgent).await, "one of its own kind does not give way");
        let (mut drawn, mut ended) = (0, Vec::new());
        while ended.len() < 2 {
            match visit.hear().await {
                Some(FromNode::Tokens(frame)) if frame.job_id == low => drawn += 1,
                Some(FromNode::Tokens(_)) => {}
                Some(FromNode::Finished { receipt, .. }) => ended.push(receipt.receipt.job_id),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ended, [high, low]);
        assert!(drawn > 0, "it went on where it was");
    };
    scene.play(script).await;
}

#[tokio::test]
async fn who_hears_a_jobs_end_finds_its_slot_free() {
    let scene = Scene::new(engine(|config| config.slots = 1)).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        for _ in 0..50 {
            let (job_id, work) = (scene.ids.next(), work(question("Hi"), 1));
            assert!(visit.offer(job_id, 1, &work).await);
            visit.commit(job_id, 1, &work).await;
            while !matches!(visit.hear().await, Some(FromNode::Finished { .. })) {}
        }
    };
    scene.play(script).await;
}

#[tokio::test]
async fn a_cancelled_job_sends_nothing_more_and_frees_its_slot() {
    let scene = Scene::new(engine(|config| (config.slots, config.tokens_per_second_max) = (1, Some(50)))).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let (first, second, work) = (scene.ids.next(), scene.ids.next(), long(60).await);
        assert!(visit.offer(first, 1, &work).await);
        visit.commit(first, 1, &work).await;
        visit.hear_tokens().await;
        visit.say(ToNode::Cancel { job_id: first, epoch: 1 }).await;
        scene.wait_until_idle().await;
        visit.say(ToNode::Offer(offer(second, 1, &work))).await;
        // What was on its way may still come, then only the answer.
        loop {
            match visit.hear().await {
                Some(FromNode::Tokens(frame)) => assert_eq!(frame.job_id, first),
                Some(FromNode::Accept { job_id, .. }) => break assert_eq!(job_id, second),
                other => panic!("{other:?}"),
            }
        }
        visit.commit(second, 1, &work).await;
        assert_eq!(visit.hear_tokens().await.job_id, second);
    };
    scene.play(script).await;
}

#[tokio::test]
async fn a_message_of_an_unknown_job_or_an_old_lease_is_passed_over() {
    let scene = Scene::new(engine(|config| config.tokens_per_second_max = Some(50))).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let (job_id, stranger, work) = (scene.ids.next(), scene.ids.next(), long(50).await);
        visit.commit(stranger, 1, &work).await;
        visit.say(ToNode::Cancel { job_id: stranger, epoch: 1 }).await;
        assert!(visit.offer(job_id, 2, &work).await);
        visit.commit(job_id, 1, &work).await;
        visit.say(ToNode::Offer(offer(job_id, 1, &work))).await;
        visit.commit(job_id, 2, &work).await;
        visit.say(ToNode::Cancel { job_id, epoch: 1 }).await;
        visit.commit(job_id, 2, &work).await;
        for seq in 0..3 {
            let frame = visit.hear_tokens().await;
            assert_eq!((frame.job_id, frame.epoch, frame.seq), (job_id, 2, seq));
        }
        // A newer lease of the same job takes the place of the old one.
        visit.say(ToNode::Offer(offer(job_id, 3, &work))).await;
        visit.commit(job_id, 3, &work).await;
        loop {
            match visit.hear().await {
                Some(FromNode::Tokens(frame)) if frame.epoch == 2 => {}
                Some(FromNode::Accept { epoch: 3, .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        let frame = visit.hear_tokens().await;
        assert_eq!((frame.epoch, frame.seq), (3, 0));
    };
    scene.play(script).await;
}

#[tokio::test]
async fn work_that_the_engine_refuses_fails_with_its_reason() {
    let scene = Scene::new(engine(|config| config.slots = 1)).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        for _ in 0..2 {
            let (job_id, mut bad) = (scene.ids.next(), work(question("Hi"), 10));
            bad.prompt[0] = 1_000_000;
            assert!(visit.offer(job_id, 1, &bad).await);
            visit.commit(job_id, 1, &bad).await;
            let failed = visit.hear().await;
            assert!(matches!(failed, Some(FromNode::Failed { message, .. }) if message.contains("1000000")));
        }
    };
    scene.play(script).await;
}

#[tokio::test]
async fn a_lost_connection_cancels_all_work_and_the_node_comes_back() {
    let scene = Scene::new(engine(|config| config.tokens_per_second_max = Some(50))).await;
    let script = async |scene: &Scene| {
        let mut visit = scene.visit_and_greet().await;
        let (job_id, work) = (scene.ids.next(), long(60).await);
        assert!(visit.offer(job_id, 1, &work).await);
        visit.commit(job_id, 1, &work).await;
        visit.hear_tokens().await;
        drop(visit);
        let mut again = scene.visit_and_greet().await;
        scene.wait_until_idle().await;
        assert!(again.offer(job_id, 2, &work).await, "nothing of the old lease is left");
    };
    scene.play(script).await;
}

#[tokio::test]
async fn a_message_that_is_broken_or_too_long_ends_the_connection() {
    let scene = Scene::new(engine(|_| ())).await;
    let script = async |scene: &Scene| {
        for broken in [
            Message::text("{\"type\":\"bribe\"}"),
            Message::binary(vec![1]),
            Message::text("x".repeat(MESSAGE_BYTES_MAX + 1)),
        ] {
            let mut visit = scene.visit_and_greet().await;
            // The node may close before all of it is written.
            let _ = visit.0.send(broken).await;
            while visit.hear().await.is_some() {}
        }
        scene.visit_and_greet().await;
    };
    scene.play(script).await;
}

#[tokio::test]
async fn a_draining_node_declines_offers_finishes_its_work_and_leaves() {
    let scene = Scene::new(engine(|config| config.tokens_per_second_max = Some(50))).await;
    let (drain, draining) = watch::channel(None);
    let (ended, ()) = tokio::join!(scene.node().run(&scene.ids, draining), async {
        let mut visit = scene.visit_and_greet().await;
        let (job_id, work) = (scene.ids.next(), long(20).await);
        assert!(visit.offer(job_id, 1, &work).await);
        visit.commit(job_id, 1, &work).await;
        visit.hear_tokens().await;
        drain.send_replace(Some(Instant::now() + Duration::from_secs(60)));
        let (mut goodbye, mut tokens) = (false, 1);
        loop {
            match visit.hear().await {
                Some(FromNode::Goodbye) => {
                    goodbye = true;
                    visit.say(ToNode::Offer(offer(scene.ids.next(), 1, &work))).await;
                }
                Some(FromNode::Tokens(frame)) => tokens += frame.ids.len(),
                Some(FromNode::Decline { reason, .. }) => assert_eq!(reason, "draining"),
                Some(FromNode::Finished { reason, .. }) => break assert_eq!(reason, FinishReason::Length),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((goodbye, tokens), (true, 20));
        assert_eq!(visit.hear().await, None, "then it leaves");
    });
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_leaves_the_rest_to_others() {
    let scene = Scene::new(engine(|config| config.tokens_per_second_max = Some(50))).await;
    let (drain, draining) = watch::channel(None);
    let (ended, ()) = tokio::join!(scene.node().run(&scene.ids, draining), async {
        let mut visit = scene.visit_and_greet().await;
        let (job_id, work) = (scene.ids.next(), long(60).await);
        assert!(visit.offer(job_id, 1, &work).await);
        visit.commit(job_id, 1, &work).await;
        visit.hear_tokens().await;
        drain.send_replace(Some(Instant::now()));
        while visit.hear().await.is_some() {}
    });
    assert!(ended.is_ok(), "{ended:?}");
    scene.wait_until_idle().await;
}

#[tokio::test]
async fn the_program_joins_serves_shows_metrics_and_leaves_on_sigterm() {
    let scene = Scene::new(engine(|_| ())).await;
    let dir = scene.dir.join("program");
    let metrics_port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut program = Command::new(env!("CARGO_BIN_EXE_tokengrid-node"))
        .args([
            "--log",
            "error",
            "run",
            "--metrics-port",
            &metrics_port.to_string(),
            "--join-token",
            "secret",
            "--slots",
            "2",
            "--threads",
            "1",
            "--name",
            "program",
        ])
        .args(["--tier", "cloud", "--control-plane", &address(&scene.listener)])
        .arg("--state-dir")
        .arg(&dir)
        .arg("--model")
        .arg(folder())
        .spawn()
        .unwrap();
    let mut visit = scene.visit().await;
    let waiting = page(metrics_port, "/readyz").await;
    assert!(
        waiting.starts_with("HTTP/1.1 503") && waiting.ends_with("not connected to the control plane\n"),
        "{waiting}"
    );
    let identity = Identity::open(&dir, &scene.ids).unwrap();
    let hello = visit.greet(scene.node_id, &identity.public_key()).await;
    assert_eq!((hello.descriptor.name.as_str(), hello.descriptor.tier), ("program", Tier::Cloud));
    assert!(matches!(hello.credential, Credential::Join { token, .. } if token == "secret"));
    let (job_id, work) = (scene.ids.next(), work(question("Hi"), 5));
    assert!(visit.offer(job_id, 1, &work).await);
    visit.commit(job_id, 1, &work).await;
    while !matches!(visit.hear().await, Some(FromNode::Finished { .. })) {}
    let page = page(metrics_port, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("tokengrid_engine_tokens_drawn_total"), "{page}");
    assert!(page.contains("tokengrid_node_first_token_seconds_count 1"), "{page}");
    assert!(page.contains("tokengrid_node_jobs_total{outcome=\"finished\"} 1"), "{page}");
    assert!(page.contains("process_resident_memory_bytes") && page.contains("tokengrid_node_restarts 0"), "{page}");
    assert!(self::page(metrics_port, "/readyz").await.ends_with("ready\n"));
    // SAFETY: a signal to our own child.
    assert_eq!(unsafe { libc::kill(program.id() as libc::pid_t, libc::SIGTERM) }, 0);
    assert_eq!(visit.hear().await, Some(FromNode::Goodbye));
    assert_eq!(visit.hear().await, None);
    let status = tokio::task::spawn_blocking(move || program.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    let kept = Identity::open(&dir, &scene.ids).unwrap();
    assert_eq!(kept.membership().unwrap().node_id, scene.node_id);
}

/// What the program shows under a path of its metrics port.
async fn page(port: u16, path: &str) -> String {
    let mut page = String::new();
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    visitor.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_told_by_its_model() {
    let engine = engine(|config| config.chunk_tokens_max = 512);
    let long = engine.submit(work(question(&"word ".repeat(150)), 200)).unwrap();
    let serving = [Arc::new(Serving::Bundled(engine))];
    assert_eq!(watchdog::stuck(&serving, Duration::from_millis(1)).await, "spark-1");
    drop(long);
}

#[test]
fn readiness_names_all_that_is_missing() {
    let readiness = Readiness::default();
    assert_eq!(readiness.check().unwrap_err().len(), 2);
    readiness.loaded(&[Arc::new(Serving::Bundled(engine(|_| ())))]);
    assert_eq!(readiness.check().unwrap_err(), ["not connected to the control plane"]);
    readiness.connected(true);
    assert_eq!(readiness.check(), Ok(()));
    readiness.draining();
    assert_eq!(readiness.check().unwrap_err(), ["draining"]);
}

#[tokio::test]
async fn a_node_replays_what_was_delivered_and_says_where_it_cannot() {
    let scene = Scene::new(engine(|_| ())).await;
    let work = long(24).await;
    scene
        .play(async |scene| {
            let mut visit = scene.visit_and_greet().await;
            let job_id = scene.ids.next();
            assert!(visit.offer(job_id, 1, &work).await);
            visit.commit(job_id, 1, &work).await;
            let mut output = vec![];
            while output.len() < 24 {
                output.extend(visit.hear_tokens().await.ids);
            }
            assert!(matches!(visit.hear().await, Some(FromNode::Finished { .. })));

            let (resume, output) = output.split_at(4);
            let replay = Replay {
                model: "spark-1".into(),
                prompt: work.prompt.clone(),
                resume: resume.to_vec(),
                output: output.to_vec(),
                sampling: work.sampling.clone(),
            };
            let mut ask = async |epoch, replay: Replay| {
                visit.say(ToNode::Replay { job_id, epoch, replay: Box::new(replay) }).await;
                match visit.hear().await {
                    Some(FromNode::Replayed { job_id: of, epoch: under, slacks }) if (of, under) == (job_id, epoch) => {
                        slacks
                    }
                    other => panic!("{other:?}"),
                }
            };
            // Its own output has none to speak of; among tokens that are all others some have.
            let honest = ask(1, replay.clone()).await.unwrap();
            assert!(honest.len() <= output.len() && honest.iter().all(|slack| *slack < 0.01), "{honest:?}");
            let mut strange = replay.clone();
            strange.output.iter_mut().for_each(|id| *id = (*id + 1) % 256);
            let strange = ask(2, strange).await.unwrap();
            assert!(strange.iter().any(|slack| *slack > 0.1), "{strange:?}");
            assert_eq!(ask(3, Replay { model: "other".into(), ..replay.clone() }).await, None);
            assert_eq!(ask(4, Replay { output: vec![u32::MAX], ..replay }).await, None);
        })
        .await;
    scene.wait_until_idle().await;
}
