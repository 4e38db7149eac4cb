//! Nodes that lie, break the protocol or vanish: none is let in, paid or waited for beyond what it earned.

use chrono::TimeDelta;
use ed25519_dalek::SigningKey;
use primitives::id::NodeId;
use primitives::node_protocol::{Credential, FinishReason, FromNode, Hello, ServedModel, ToNode, VERSION};
use serde_json::json;
use tests::books;
use tests::client::{ask, streamed};
use tests::fake_node::{FakeNode, NodeSocket, descriptor, hello, new_key};
use tests::model;
use tests::system::TestSystem;

#[tokio::test]
async fn a_join_token_lets_in_one_honest_node_once() {
    let system = TestSystem::builder().start().await;
    let address = system.control_plane.address;
    let (key, token) = (new_key(), system.join_token(TimeDelta::hours(1)).await);
    let refused = async |hello: Hello, key: &SigningKey| {
        let answer = NodeSocket::dial(address).await.introduce(hello, key).await;
        let ToNode::Refused { code, message } = answer else { panic!("let in: {answer:?}") };
        assert!(message.ends_with('.') && message.len() > 20, "{message}");
        code
    };

    let expired = system.join_token(TimeDelta::hours(-1)).await;
    assert_eq!(refused(hello("tgjoin_0000", &key), &key).await, "join_token_unknown");
    assert_eq!(refused(hello(&expired, &key), &key).await, "join_token_expired");
    assert_eq!(refused(Hello { protocol: VERSION + 1, ..hello(&token, &key) }, &key).await, "protocol_version");
    assert_eq!(refused(hello(&token, &key), &new_key()).await, "bad_proof");
    let no_key = Credential::Join { token: token.clone(), public_key: "5e".repeat(31) };
    assert_eq!(refused(Hello { credential: no_key, ..hello(&token, &key) }, &key).await, "bad_key");
    let other_weights = ServedModel { weights_sha256: "0".repeat(64), ..model::served(4) };
    let changed = Hello { descriptor: descriptor(other_weights), ..hello(&token, &key) };
    assert_eq!(refused(changed, &key).await, "no_known_model");
    let no_weights = ServedModel { model: "no-such-model".to_owned(), ..model::served(4) };
    assert_eq!(
        refused(Hello { descriptor: descriptor(no_weights), ..hello(&token, &key) }, &key).await,
        "no_known_model"
    );

    // None of these spent the token.
    let welcome = NodeSocket::dial(address).await.introduce(hello(&token, &key), &key).await;
    let ToNode::Welcome { node_id, .. } = welcome else { panic!("an honest node was not let in: {welcome:?}") };
    // The answer may have been lost on its way: the same node may ask again, and is the same.
    let again = NodeSocket::dial(address).await.introduce(hello(&token, &key), &key).await;
    assert!(matches!(again, ToNode::Welcome { node_id: same, .. } if same == node_id), "{again:?}");
    let second = new_key();
    assert_eq!(refused(hello(&token, &second), &second).await, "join_token_used");
    let fresh = system.join_token(TimeDelta::hours(1)).await;
    assert_eq!(refused(hello(&fresh, &key), &key).await, "public_key_taken");
    let third = new_key();
    let welcome = NodeSocket::dial(address).await.introduce(hello(&fresh, &third), &third).await;
    assert!(matches!(welcome, ToNode::Welcome { .. }), "a refused key must leave the token unspent: {welcome:?}");

    // A node comes back by its key alone; nobody else comes back in its name.
    let known = |node_id: NodeId| Hello { credential: Credential::Known { node_id }, ..hello("", &key) };
    assert_eq!(refused(known(node_id), &new_key()).await, "bad_proof");
    assert_eq!(refused(known(NodeId(uuid_of(7))), &key).await, "node_unknown");
    FakeNode::reconnect(address, node_id, key).await;
    let joined = books::number(&mut system.database().await, "SELECT count(*) FROM broker.nodes").await;
    assert_eq!(joined, 2);
}

#[tokio::test]
async fn what_is_not_the_protocol_closes_the_connection() {
    let system = TestSystem::builder().start().await;
    let address = system.control_plane.address;
    for nonsense in ["", "hello", "{}", r#"{"type":"bribe"}"#, r#"{"type":"goodbye"}"#, "[1]"] {
        let mut socket = NodeSocket::dial(address).await;
        socket.say_raw(nonsense).await;
        let answer = socket.hear().await;
        assert!(matches!(&answer, Some(ToNode::Refused { code, .. }) if code == "protocol"), "{nonsense}: {answer:?}");
        assert_eq!(socket.hear().await, None);
    }
    let mut huge = NodeSocket::dial(address).await;
    huge.say_raw(&"x".repeat(5 << 20)).await;
    assert!(matches!(huge.hear().await, None | Some(ToNode::Refused { .. })));

    let mut node = FakeNode::join(&system).await;
    node.say_raw(r#"{"type":"tokens","job_id":"job_1"}"#).await;
    assert!(matches!(node.hear().await, Some(ToNode::Refused { .. })));
    assert_eq!(node.hear().await, None);

    // The same key on a second connection replaces the first.
    let mut first = FakeNode::join(&system).await;
    let mut again = FakeNode::reconnect(address, first.id, first.key.clone()).await;
    assert_eq!(first.hear().await, None);
    let question = ask("Hello").max_tokens(5);
    let client = system.client();
    let serving = async {
        let lease = again.take().await;
        again.tokens(&lease, 0, &[1], "hi").await;
        again.finish(&lease, FinishReason::Stop, &[1]).await;
    };
    let (answer, ()) = tokio::join!(client.chat(&question), serving);
    assert_eq!(answer.ok().text(), "hi");
    system.end().await;
}

#[tokio::test]
async fn a_node_that_ignores_the_limit_is_cut_there() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let (mut stream, lease) = {
        let question = streamed(&ask("Hello").max_tokens(5));
        let streaming = async { client.stream(&question).await };
        tokio::join!(streaming, node.take())
    };
    assert_eq!(lease.work.output_tokens_max, 5);
    for (seq, id) in (0..9).zip(11..) {
        node.tokens(&lease, seq, &[id], "t").await;
    }
    assert_eq!(node.cancelled(lease.job_id).await, lease.epoch);
    // What it says afterwards is too late.
    node.finish(&lease, FinishReason::Stop, &[11, 12, 13, 14, 15, 16, 17, 18, 19]).await;

    assert_eq!(stream.text_of(5).await, "ttttt");
    let rest = stream.rest().await;
    assert_eq!((rest.text.as_str(), rest.finish_reason.as_deref(), rest.done), ("", Some("length"), true));
    assert_eq!(rest.usage.unwrap()["completion_tokens"], 5);
    let job = books::job(&mut system.database().await, &rest.id).await;
    assert_eq!((job.output_tokens, job.charge_nanos), (Some(5), Some(job.hold_nanos)));
    system.end().await;
}

#[tokio::test]
async fn a_receipt_that_lies_is_kept_as_evidence_and_changes_nothing() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let question = ask("Hello").max_tokens(50);
    let lying = async {
        let lease = node.take().await;
        node.tokens(&lease, 0, &[1, 2, 3], "abc").await;
        // The same frame again, and a frame of another's job, count for nothing.
        node.tokens(&lease, 0, &[1, 2, 3], "abc").await;
        let mut strangers = lease.clone();
        strangers.job_id.0 = uuid_of(9);
        node.tokens(&strangers, 0, &[4], "d").await;
        let mut receipt = node.receipt(&lease, &[1, 2, 3]);
        (receipt.output_tokens, receipt.prompt_tokens) = (40, 4_000);
        node.finish_with(FinishReason::Stop, receipt).await;
    };
    let (answer, ()) = tokio::join!(client.chat(&question), lying);
    let answer = answer.ok();
    assert_eq!((answer.text(), &answer.usage()["completion_tokens"]), ("abc", &json!(3)));
    let mut database = system.database().await;
    let job = books::job(&mut database, answer.id()).await;
    assert_eq!(job.charge_nanos, Some(job.prompt_tokens * 100 + 3 * 400));
    system.settled().await;
    let mismatched =
        books::number(&mut database, "SELECT count(*) FROM broker.receipts WHERE mismatch IS NOT NULL").await;
    assert_eq!(mismatched, 1);
    system.end().await;
}

#[tokio::test]
async fn a_lost_frame_moves_the_job_and_the_old_lease_means_nothing_any_more() {
    let system = TestSystem::builder().start().await;
    let mut loser = FakeNode::join(&system).await;
    let client = system.client();
    let question = streamed(&ask("Hello").max_tokens(50));
    let (mut stream, lost) = tokio::join!(client.stream(&question), loser.take());
    loser.tokens(&lost, 0, &[1, 2, 3], "abc").await;
    assert_eq!(stream.text_of(3).await, "abc");

    let mut winner = FakeNode::join(&system).await;
    // Frame 1 never comes.
    loser.tokens(&lost, 2, &[7, 8, 9], "xyz").await;
    assert_eq!(loser.cancelled(lost.job_id).await, lost.epoch);
    let won = winner.take().await;
    assert_eq!((won.job_id, won.work.resume.as_slice(), won.work.resume_text_bytes), (lost.job_id, &[1, 2, 3][..], 3));
    assert!(won.epoch > lost.epoch);

    loser.tokens(&lost, 1, &[6], "w").await;
    loser.finish(&lost, FinishReason::Stop, &[1, 2, 3, 6]).await;
    let mut stolen = lost.clone();
    stolen.epoch = won.epoch;
    loser.tokens(&stolen, 0, &[6], "w").await;
    winner.tokens(&won, 0, &[4, 5], "de").await;
    winner.finish(&won, FinishReason::Stop, &[4, 5]).await;

    let rest = stream.rest().await;
    assert_eq!((rest.text.as_str(), rest.done, rest.error), ("de", true, None));
    assert_eq!(rest.usage.unwrap()["completion_tokens"], 5);
    let mut database = system.database().await;
    let segments: Vec<(i16, String, i64)> =
        sqlx::query_as(
            "SELECT segment, meter, quantity FROM ledger.usage_facts JOIN ledger.leaves ON id = leaf_id ORDER BY segment, meter",
        )
        .fetch_all(&mut database)
        .await
        .unwrap();
    let prompt = books::job(&mut database, &rest.id).await.prompt_tokens;
    let (first, second) = (i16::try_from(lost.epoch).unwrap(), i16::try_from(won.epoch).unwrap());
    let fact = |segment, meter: &str, quantity| (segment, meter.to_owned(), quantity);
    assert_eq!(segments, [fact(first, "output", 3), fact(second, "input", prompt), fact(second, "output", 2)]);
    system.end().await;
}

#[tokio::test]
async fn an_end_that_overtakes_a_frame_costs_no_token() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let question = streamed(&ask("Hello").max_tokens(50));
    let (stream, lease) = tokio::join!(client.stream(&question), node.take());
    let receipt = Box::new(node.signed(node.receipt(&lease, &[1, 2, 3])));
    node.tokens(&lease, 0, &[1, 2], "ab").await;
    node.say(&FromNode::Finished { reason: FinishReason::Stop, frames: 2, cached_tokens: 0, receipt }).await;
    node.tokens(&lease, 1, &[3], "c").await;
    let whole = stream.rest().await;
    assert_eq!((whole.text.as_str(), whole.done, whole.error), ("abc", true, None));
    assert_eq!(whole.usage.unwrap()["completion_tokens"], 3);
    system.end().await;
}

#[tokio::test]
async fn a_silent_node_loses_its_job_to_another() {
    let system = TestSystem::builder().start().await;
    let mut silent = FakeNode::join(&system).await;
    let client = system.client();
    let question = streamed(&ask("Hello").max_tokens(50));
    let (mut stream, lost) = tokio::join!(client.stream(&question), silent.take());
    silent.tokens(&lost, 0, &[1], "a").await;
    assert_eq!(stream.text_of(1).await, "a");

    let mut other = FakeNode::join(&system).await;
    silent.fall_silent();
    let won = other.take().await;
    assert_eq!(won.work.resume, [1]);
    other.tokens(&won, 0, &[2], "b").await;
    other.finish(&won, FinishReason::Stop, &[2]).await;
    let rest = stream.rest().await;
    assert_eq!((rest.text.as_str(), rest.done, rest.error), ("b", true, None));
    // It said nothing for so long that it is no longer a node.
    while silent.hear().await.is_some() {}
    system.end().await;
}

#[tokio::test]
async fn a_job_whose_nodes_are_all_gone_fails_honestly() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let (streaming, whole) = (streamed(&ask("Hello").max_tokens(50)), ask("Hello again").max_tokens(50));
    let (mut stream, lease) = tokio::join!(client.stream(&streaming), node.take());
    node.tokens(&lease, 0, &[1, 2], "ab").await;
    assert_eq!(stream.text_of(2).await, "ab");
    let vanishing = async {
        node.take().await;
        drop(node);
    };
    let (answer, ()) = tokio::join!(client.chat(&whole), vanishing);
    let stream = stream.rest().await;
    let error = stream.error.expect("the stream tells that it failed");
    assert_eq!((&error["code"], stream.done), (&json!("job_failed"), true));
    assert_eq!((answer.status, answer.code()), (503, "job_failed"), "{}", answer.body);

    system.settled().await;
    for job in books::jobs(&mut system.database().await).await {
        assert_eq!((job.status.as_str(), job.error_code.as_deref()), ("failed", Some("nodes_gone")), "{job:?}");
    }
    system.end().await;
}

#[tokio::test]
async fn a_node_that_fails_a_job_three_times_with_others_does_not_hold_it_for_ever() {
    let system = TestSystem::builder().start().await;
    let mut nodes = vec![FakeNode::join(&system).await, FakeNode::join(&system).await, FakeNode::join(&system).await];
    let client = system.client();
    let question = ask("Hello").max_tokens(50);
    let failing = async {
        let [first, second, third] = nodes.as_mut_slice() else { panic!("three nodes") };
        for _ in 0..3 {
            let (node, lease) = tokio::select! {
                lease = first.take() => (&*first, lease),
                lease = second.take() => (&*second, lease),
                lease = third.take() => (&*third, lease),
            };
            let (job_id, epoch) = (lease.job_id, lease.epoch);
            node.say(&FromNode::Failed { job_id, epoch, message: "out of memory".to_owned() }).await;
        }
    };
    let (answer, ()) = tokio::join!(client.chat(&question), failing);
    assert_eq!((answer.status, answer.code()), (503, "job_failed"), "{}", answer.body);
    let job = books::jobs(&mut system.database().await).await.remove(0);
    assert_eq!((job.error_code.as_deref(), job.charge_nanos), (Some("attempts_exhausted"), Some(0)));
    system.end().await;
}

/// An identifier nobody has.
fn uuid_of(byte: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([byte; 16])
}
