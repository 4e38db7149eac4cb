//! The programs as an operator meets them: what they refuse at their start, what may be repeated, how they show health.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tests::client::{Client, ask};
use tests::node::NodeSettings;
use tests::program::outcome_of;
use tests::system::TestSystem;
use tests::wait::in_time;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn the_control_plane_says_that_it_lives_is_ready_and_measures_itself_in_private() {
    let system = TestSystem::start().await;
    let (public, private) = (system.stranger(), Client::new(system.control_plane.metrics));
    assert_eq!(public.get("/healthz").await.ok().body["status"], "alive");
    assert_eq!(public.get("/readyz").await.ok().body["status"], "ready");
    system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    private.get("/metrics").await.ok();
    assert_eq!(public.get("/metrics").await.status, 404, "metrics are not for the public");
    system.end().await;
}

#[tokio::test]
async fn migrating_and_seeding_again_changes_nothing_but_adds_a_key_and_a_join_token() {
    let mut system = TestSystem::builder().start().await;
    system.migrate().await;
    let (migrated, complaint) = system.tokengrid(&["migrate"]).await;
    assert!(!migrated && complaint.contains("by the role of DATABASE_URL"), "what serves owns nothing: {complaint}");
    let again = system.seed("7").await;
    let demo = system.demo.clone();
    assert_eq!((&again.tenant.email, &again.model), (&demo.tenant.email, &demo.model));
    assert_ne!((&again.tenant.api_key, &again.join_token), (&demo.tenant.api_key, &demo.join_token));
    assert_eq!(again.tenant.password, None, "a password is told once");

    system.add_node(&NodeSettings::default()).await;
    for key in [&demo.tenant.api_key, &again.tenant.api_key] {
        system.stranger().with_key(key).chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    }
    system.end().await;
}

#[tokio::test]
async fn a_machine_joins_once_and_serves_from_then_on_without_a_token() {
    let mut system = TestSystem::builder().start().await;
    let (url, token) = (system.url(), system.demo.join_token.clone());
    let (machine, other) = (system.path("machine"), system.path("other-machine"));
    let join = async |state_dir: &Path| {
        let state_dir = state_dir.to_str().unwrap();
        let args = ["join", "--control-plane", &url, "--token", &token, "--state-dir", state_dir, "--json"];
        outcome_of("tokengrid-node", &args, &[]).await
    };
    let (status, printed, complaint) = join(&machine).await;
    assert!(status.success(), "{complaint}");
    let joined: Value = serde_json::from_str(&printed).unwrap();

    let (status, _, complaint) = join(&machine).await;
    assert!(!status.success() && complaint.contains("joined"), "{complaint}");
    let (status, _, complaint) = join(&other).await;
    assert!(!status.success() && complaint.contains("used"), "{complaint}");

    system.add_joined_node(machine).await;
    assert_eq!(system.nodes[0].id, joined["node_id"]);
    system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    system.end().await;
}

#[tokio::test]
async fn a_bad_setting_is_refused_at_the_start_by_its_name() {
    let mut system = TestSystem::builder().start().await;
    system.kill_control_plane().await;
    for (name, value) in [
        ("TOKENGRID_SECRET", "short"),
        ("TOKENGRID_LISTEN", "everywhere"),
        ("TOKENGRID_PEER_LISTEN", "everywhere"),
        ("TOKENGRID_SIGNUP_CREDIT", "many"),
        ("TOKENGRID_REQUESTS_PER_MINUTE_MAX", "0"),
        ("TOKENGRID_DATABASE_CONNECTIONS_MAX", "1"),
        ("TOKENGRID_LOG", "=,="),
        ("REDIS_URL", "http://127.0.0.1"),
        ("DATABASE_URL", "mysql://nowhere"),
    ] {
        let mut env = system.environment();
        env.push((name.to_owned(), value.to_owned()));
        let (status, _, complaint) = outcome_of("tokengrid", &["serve"], &env).await;
        // Clap names the flag of the same setting.
        let flag = format!("--{}", name.trim_start_matches("TOKENGRID_").to_lowercase().replace('_', "-"));
        let named = complaint.contains(name) || complaint.contains(&flag);
        assert!(!status.success() && named, "{name}={value}: {complaint}");
        assert!(!complaint.contains("panicked"), "{name}={value}: {complaint}");
    }
    for args in [&["run", "--state-dir", "/tmp", "--model", "/nowhere"][..], &["join", "--state-dir", "/tmp"]] {
        let (status, _, complaint) = outcome_of("tokengrid-node", args, &[]).await;
        assert!(!status.success() && !complaint.contains("panicked"), "{args:?}: {complaint}");
    }
}

#[tokio::test]
async fn a_control_plane_says_when_its_role_could_change_the_books() {
    const WARNING: &str = "DATABASE_URL names a role that could change the books; name a login that is a member of \
        tokengrid_service alone, and the owner in TOKENGRID_OWNER_DATABASE_URL for `tokengrid migrate` (docs/ledger.md)";
    let mut system = TestSystem::builder().start().await;
    assert_eq!(system.control_plane.program.count(WARNING), 0);
    system.kill_control_plane().await;
    system.serve_as_owner();
    system.restart_control_plane().await;
    assert_eq!(system.control_plane.program.count(WARNING), 1);
    system.end().await;
}

#[tokio::test]
async fn the_outbox_tells_where_it_is_and_ends_with_whoever_started_it() {
    let outbox = env!("CARGO_BIN_EXE_tokengrid-outbox");
    // Its parent: a shell that ends when its standard input does.
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$0\" & read _ || true", outbox]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    let line = in_time("the outbox told where it is", lines.next_line()).await.unwrap().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let page = told["page_url"].as_str().unwrap();
    assert_eq!(reqwest::get(format!("{page}/mails.json")).await.unwrap().text().await.unwrap(), "[]");
    assert!(told["smtp_url"].as_str().unwrap().starts_with("smtp://127.0.0.1:"), "{line}");

    shell.stdin.take().unwrap().shutdown().await.unwrap();
    // The end of what it prints is its own end.
    assert_eq!(in_time("the outbox ended", lines.next_line()).await.unwrap(), None);
}
