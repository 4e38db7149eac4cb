//! Money under fire: exact charges, no overspending, nothing billed twice, nothing held for ever.

use std::io::{Read, Write};
use std::net::TcpStream;

use primitives::node_protocol::FinishReason;
use serde_json::json;
use tests::books::{self, Balance};
use tests::client::{ask, ask_at_length, streamed};
use tests::fake_node::FakeNode;
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tokio::task::JoinSet;

/// What the demo's tokens cost: 0.10 and 0.40 dollars a million. *Units*: nanos.
const INPUT: i64 = 100;
const OUTPUT: i64 = 400;

#[tokio::test]
async fn a_charge_is_price_times_tokens_to_the_nano() {
    let system = TestSystem::start().await;
    let mut database = system.database().await;
    let tenant = books::demo_tenant(&mut database).await;
    let mut expected = 25_000_000_000;
    for (index, question) in ["What is 12 + 30?", "Reverse the word lamp", "Count from 3 to 9"].iter().enumerate() {
        let answer = system.client().chat(&ask(question).max_tokens(20 + u32::try_from(index).unwrap())).await.ok();
        let tokens = |name: &str| answer.usage()[name].as_i64().unwrap();
        let charge = tokens("prompt_tokens") * INPUT + tokens("completion_tokens") * OUTPUT;
        expected -= charge;
        // The answer came after the settlement: no waiting.
        let job = books::job(&mut database, answer.id()).await;
        assert_eq!((job.status.as_str(), job.charge_nanos), ("done", Some(charge)), "{question}");
        assert_eq!(books::balance(&mut database, tenant).await, Balance { posted: expected, pending: 0 });
    }
    let earned =
        books::number(&mut database, "SELECT sum(credits_posted)::bigint FROM ledger.accounts WHERE code = 2100").await;
    // The demo provider asks 70 % of the tenant's price; less than a nano a line is cut.
    assert_eq!(earned, (25_000_000_000 - expected) * 70 / 100);
    system.end().await;
}

#[tokio::test]
async fn a_balance_for_few_is_never_overspent_by_many_at_once() {
    // Enough for about five worst cases at a time, each of some 10,000 nanos.
    let system = TestSystem::builder().credit("0.00005").node(NodeSettings::default()).start().await;
    let client = system.client();
    let mut asking = JoinSet::new();
    for number in 0..120 {
        let (client, question) = (client.clone(), ask(&format!("What is {} + 30?", number % 60)).max_tokens(20));
        asking.spawn(async move { client.chat(&question).await });
    }
    let (mut spent, mut refused) = (0, 0);
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        let tokens = |name: &str| answer.usage()[name].as_i64().unwrap();
        match answer.status {
            200 => spent += tokens("prompt_tokens") * INPUT + tokens("completion_tokens") * OUTPUT,
            402 => refused += 1,
            _ => panic!("{} {}", answer.status, answer.body),
        }
    }
    system.settled().await;
    let mut database = system.database().await;
    let tenant = books::demo_tenant(&mut database).await;
    assert_eq!(books::balance(&mut database, tenant).await, Balance { posted: 50_000 - spent, pending: 0 });
    assert!(spent > 0 && spent <= 50_000 && refused > 0, "{spent} nanos spent, {refused} refused");
    system.end().await;
}

#[tokio::test]
async fn a_request_sent_again_under_its_key_is_one_job_charged_once() {
    let system = TestSystem::start().await;
    let client = system.client().with_idempotency_key("order-66");
    let question = ask("What is 12 + 30?").max_tokens(20);

    // Ten at once: one runs, the others are told that it runs or how it ended.
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let (client, question) = (client.clone(), question.clone());
        asking.spawn(async move { client.chat(&question).await });
    }
    let mut ids = vec![];
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        match answer.status {
            200 => ids.push(answer.id().to_owned()),
            409 => assert_eq!(answer.code(), "conflict"),
            _ => panic!("{} {}", answer.status, answer.body),
        }
    }
    ids.dedup();
    let [id] = ids.as_slice() else { panic!("one job, not {ids:?}") };

    let again = client.chat(&question).await.ok();
    assert_eq!((again.id(), again.header("idempotent-replay")), (id.as_str(), Some("true")));
    let other = client.chat(&ask("What is 13 + 30?").max_tokens(20)).await;
    assert_eq!((other.status, other.code()), (409, "idempotency_conflict"), "{}", other.body);
    let fresh = system.client().with_idempotency_key("order-67").chat(&question).await.ok();
    assert_ne!(fresh.id(), id);

    let jobs = books::jobs(&mut system.database().await).await;
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    let charge = jobs[0].charge_nanos;
    assert_eq!(again.usage()["completion_tokens"], json!(jobs[0].output_tokens));
    assert!(charge.is_some_and(|charge| charge > 0) && charge == jobs[1].charge_nanos, "{jobs:?}");
    system.end().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_pays_for_what_was_delivered_and_frees_the_node() {
    let slow = NodeSettings::default().tokens_per_second_max(20).slots(1);
    let system = TestSystem::builder().node(slow).start().await;
    let client = system.client();
    let mut stream = client.stream(&streamed(&ask_at_length().max_tokens(400))).await;
    stream.text_of(5).await;
    let id = stream.headers["x-request-id"].to_str().unwrap().to_owned();
    drop(stream);

    // The only slot is free again: another request is served at once.
    let next = client.chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    assert!(!next.text().is_empty());

    system.settled().await;
    let job = books::job(&mut system.database().await, &id).await;
    let output = job.output_tokens.unwrap();
    assert_eq!((job.status.as_str(), job.finish_reason.as_deref()), ("cancelled", Some("cancelled")));
    assert!((1..200).contains(&output), "{output} tokens of 400 were delivered");
    assert_eq!(job.charge_nanos, Some(job.prompt_tokens * INPUT + output * OUTPUT));
    system.end().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_first_token_pays_nothing() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let lease = {
        let question = ask("Hello").max_tokens(50);
        let asking = std::pin::pin!(client.chat(&question));
        tokio::select! {
            answer = asking => panic!("an answer without a token: {answer:?}"),
            lease = node.take() => lease,
        }
    };
    assert_eq!(node.cancelled(lease.job_id).await, lease.epoch);
    system.settled().await;
    let job = books::job(&mut system.database().await, &lease.job_id.to_string()).await;
    assert_eq!((job.status.as_str(), job.output_tokens, job.charge_nanos), ("cancelled", Some(0), Some(0)));
    system.end().await;
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_up_the_books() {
    let system = TestSystem::builder().start().await;
    let mut node = FakeNode::join(&system).await;
    let mut unread = unread_request(&system);
    let lease = node.take().await;
    // Some 4 MB on the wire: more than the kernel buffers between them.
    let text = "\u{1}".repeat(1_000);
    let ids: Vec<u32> = (0..700).collect();
    for (seq, id) in ids.iter().enumerate() {
        node.tokens(&lease, u32::try_from(seq).unwrap(), &[*id], &text).await;
    }
    node.finish(&lease, FinishReason::Stop, &ids).await;

    system.settled().await;
    let jobs = books::jobs(&mut system.database().await).await;
    assert_eq!((jobs.len(), jobs[0].status.as_str(), jobs[0].output_tokens), (1, "done", Some(700)));
    system.balanced().await;

    // It was only slow: everything is still there for it, to the last event.
    let mut read = vec![];
    while !read.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n") {
        let mut part = [0; 65_536];
        let bytes = unread.read(&mut part).unwrap();
        assert!(
            bytes > 0,
            "the stream ended after {} bytes: {}",
            read.len(),
            read[read.len().saturating_sub(300)..].escape_ascii()
        );
        read.extend_from_slice(&part[..bytes]);
    }
    assert!(read.len() > 4_000_000, "{} bytes", read.len());
}

#[tokio::test]
async fn a_figure_that_somebody_changes_in_the_database_is_found() {
    let system = TestSystem::start().await;
    system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    system.client().chat(&ask("What is 13 + 30?").max_tokens(5)).await.ok();
    let mut database = system.database().await;
    let theft = "UPDATE ledger.transfers SET amount = amount + 1 WHERE kind = 3";
    let refused = sqlx::query(theft).execute(&mut database).await.unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");

    // A superuser can; the chain tells.
    sqlx::raw_sql("ALTER TABLE ledger.transfers DISABLE TRIGGER ALL").execute(&mut database).await.unwrap();
    sqlx::query(theft).execute(&mut database).await.unwrap();
    let (whole, verdict) = system.tokengrid(&["ledger", "verify"]).await;
    assert!(!whole && verdict.contains("block"), "{verdict}");
}

/// A streaming request whose answer nobody reads, over a connection that buffers little.
fn unread_request(system: &TestSystem) -> TcpStream {
    let body = streamed(&ask("Hello").max_tokens(800)).0.to_string();
    let mut socket = TcpStream::connect(system.control_plane.address).unwrap();
    let key = &system.demo.tenant.api_key;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: tokengrid\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    socket
}
