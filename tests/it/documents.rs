//! What the documents tell people to type, typed.

use std::fs;

use serde_json::json;
use tests::client::ask;
use tests::database::from_environment;
use tests::model::workspace;
use tests::system::TestSystem;
use tests::wait::in_time;
use tokio::process::Command;

#[tokio::test]
async fn every_snippet_of_the_quickstart_runs() {
    let quickstart = fs::read_to_string(workspace().join("docs/quickstart.md")).unwrap();
    run_all(&quickstart, &["sh", "sh", "python", "javascript", "graphql", "sh"]).await;
}

#[tokio::test]
async fn the_examples_of_the_readme_run() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let examples = readme.split("\n## ").find(|section| section.starts_with("Talk to it\n"));
    run_all(examples.expect("the README has a section “Talk to it”"), &["sh", "python", "graphql"]).await;
}

/// Runs each fenced snippet as a reader would: with their own address, key and job in place of the example's.
async fn run_all(document: &str, languages: &[&str]) {
    let system = TestSystem::start().await;
    let job = system.client().chat(&ask("What is 12 + 30?").max_tokens(5)).await.ok();
    system.settled().await;
    let filled_in = document
        .replace("http://127.0.0.1:8080", &system.url())
        .replace("tgk_…", &system.demo.tenant.api_key)
        .replace("job_…", job.id());
    let snippets = snippets(&filled_in);
    let found: Vec<&str> = snippets.iter().map(|(language, _)| *language).collect();
    assert_eq!(found, languages, "the document's snippets");
    for (language, snippet) in snippets {
        match language {
            "graphql" => {
                let answer = system.client().graphql(snippet, json!({})).await;
                assert!(answer["errors"].is_null() && answer["data"]["receipt"].is_object(), "{snippet}: {answer}");
            }
            _ => run(&system, command_for(language, snippet), snippet).await,
        }
    }
    system.end().await;
}

/// The language and text of each fence, in their order.
fn snippets(document: &str) -> Vec<(&str, &str)> {
    let fences = document.split("\n```").skip(1).step_by(2);
    fences.map(|fence| fence.split_once('\n').expect("a fence has lines")).collect()
}

fn command_for(language: &str, snippet: &str) -> Command {
    // The interpreter that has the official client.
    let python = from_environment("TOKENGRID_PYTHON");
    let (program, args) = match language {
        "sh" => ("sh", vec!["-euc", snippet]),
        "javascript" => ("node", vec!["--input-type=module", "--eval", snippet]),
        "python" if snippet.contains("from openai import") => (python.as_str(), vec!["-c", snippet]),
        "python" => ("python3", vec!["-c", snippet]),
        other => panic!("nobody knows how to run {other}"),
    };
    let mut command = Command::new(program);
    command.args(args);
    command
}

async fn run(system: &TestSystem, mut command: Command, snippet: &str) {
    // Where the official client is installed.
    command.current_dir(workspace().join("tests/clients")).kill_on_drop(true);
    command.env("TOKENGRID_URL", system.url()).env("TOKENGRID_KEY", &system.demo.tenant.api_key);
    let output = in_time("the snippet ended", command.output()).await.expect("sh, node and python3 are installed");
    let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // curl is content with a refusal.
    let refused = printed.contains("\"error\"") || printed.contains("\"errors\"");
    assert!(output.status.success() && !refused, "{snippet}\nprinted {printed}{complaint}");
}
