//! What people say to a model stays between them: it is neither stored nor logged, and neither are secrets.

use std::fs;

use primitives::node_protocol::FinishReason;
use sqlx::{AssertSqlSafe, PgConnection};
use tests::client::{ask, streamed};
use tests::fake_node::FakeNode;
use tests::system::TestSystem;

#[tokio::test]
async fn prompts_answers_and_secrets_are_neither_stored_nor_logged() {
    let chatty = "info,api=trace,billing=trace,broker=trace,ledger=trace,tokengrid=trace";
    let system = TestSystem::builder().setting("TOKENGRID_LOG", chatty).start().await;
    let mut node = FakeNode::join(&system).await;
    let client = system.client();
    let question = streamed(&ask("My diary says xyzzy-question").max_tokens(50));
    let (stream, lease) = tokio::join!(client.stream(&question), node.take());
    node.tokens(&lease, 0, &[1, 2], "The answer is xyzzy-answer").await;
    node.finish(&lease, FinishReason::Stop, &[1, 2]).await;
    assert_eq!(stream.rest().await.text, "The answer is xyzzy-answer");
    // One that is refused, and one that breaks.
    assert_eq!(client.chat(&ask("xyzzy-refused").with("model", "none")).await.status, 404);
    assert_eq!(client.post_raw("/v1/chat/completions", "{\"xyzzy-broken\": ").await.status, 400);
    system.settled().await;

    let mut database = system.database().await;
    let (key, token) = (system.demo.tenant.api_key.as_str(), system.demo.join_token.as_str());
    let password = system.demo.operator.password.as_deref().unwrap();
    let log = fs::read_to_string(system.path("control-plane-1.log")).unwrap();
    assert!(log.contains("a node is connected"), "the log is where it is looked for");
    for secret in ["xyzzy", key, &key[4..], token, password] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert_eq!(tables_with(&mut database, secret).await, [""; 0], "{secret} is in the database");
    }
    // The search does find what is there.
    assert_eq!(tables_with(&mut database, "demo@tokengrid.example").await, ["api.users"]);
    system.end().await;
}

/// The tables that have a row in which the text stands somewhere.
async fn tables_with(database: &mut PgConnection, text: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text
         FROM pg_class
         WHERE relkind = 'r' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
         ORDER BY 1",
    )
    .fetch_all(&mut *database)
    .await
    .unwrap();
    let mut found = vec![];
    for table in tables {
        let rows = format!("SELECT count(*) FROM {table} AS row WHERE strpos(row::text, $1) > 0");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(rows)).bind(text).fetch_one(&mut *database).await.unwrap();
        if rows > 0 {
            found.push(table);
        }
    }
    found
}
