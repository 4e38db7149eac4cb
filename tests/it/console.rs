//! The console in a real browser: a person's journey, every screen's looks, and how its files are served.

use std::io::Write;
use std::path::Path;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING};
use reqwest::{Response, StatusCode};
use serde_json::json;
use tests::client::ask;
use tests::model::workspace;
use tests::system::TestSystem;
use tokio::process::Command;

/// How a browser asks for a document.
const DOCUMENT: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

#[tokio::test]
async fn a_person_goes_from_sign_up_to_a_receipt_their_own_code_and_a_new_password() {
    let system = TestSystem::start().await;
    let clients = workspace().join("tests/clients").display().to_string();
    let env = [
        ("CONSOLE_URL", system.url()),
        ("OUTBOX_URL", system.outbox.page_url()),
        ("EMAIL", system.email("ada")),
        ("CLIENTS", clients),
    ];
    let told = run_in_web(Command::new("node").arg("e2e/journey.mjs").envs(env)).await;
    writeln!(std::io::stderr(), "{told}").unwrap();
    system.end().await;
}

#[tokio::test]
async fn every_screen_is_open_to_everybody_on_a_desktop_in_english() {
    every_screen_is_open_to_everybody("desktop", "en").await;
}

#[tokio::test]
async fn every_screen_is_open_to_everybody_on_a_desktop_in_chinese() {
    every_screen_is_open_to_everybody("desktop", "zh").await;
}

#[tokio::test]
async fn every_screen_is_open_to_everybody_on_a_phone_in_english() {
    every_screen_is_open_to_everybody("phone", "en").await;
}

#[tokio::test]
async fn every_screen_is_open_to_everybody_on_a_phone_in_chinese() {
    every_screen_is_open_to_everybody("phone", "zh").await;
}

/// In each theme.
async fn every_screen_is_open_to_everybody(size: &str, language: &str) {
    let system = TestSystem::start().await;
    let answer = system.client().chat(&ask("What is 12 + 30?").max_tokens(20)).await.ok();
    system.settled().await;
    let tenant = system.demo.tenant.clone();
    let env = [
        ("CONSOLE_URL", system.url()),
        ("SIZE", size.to_owned()),
        ("SPOKEN", language.to_owned()),
        ("EMAIL", tenant.email),
        ("PASSWORD", tenant.password.expect("the seed made the person")),
        ("JOB_ID", answer.id().to_owned()),
    ];
    let mut screens = Command::new("node");
    screens.arg("e2e/screens.mjs").envs(env);
    match std::env::var_os("TOKENGRID_SCREENSHOTS") {
        Some(folder) => screens.env("SCREENSHOTS", workspace().join(folder)),
        None => screens.env("SCREENSHOTS", Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots")),
    };
    run_in_web(&mut screens).await;
    system.end().await;
}

#[tokio::test]
async fn the_consoles_own_tests_pass() {
    run_in_web(Command::new("npm").args(["test"])).await;
}

#[tokio::test]
async fn the_console_is_served_beside_the_apis_with_its_policy() {
    let system = TestSystem::builder().start().await;
    let get = async |path: &str, accept: &str| {
        let request = reqwest::Client::new().get(format!("{}{path}", system.url()));
        request.header(ACCEPT, accept).header(ACCEPT_ENCODING, "gzip").send().await.unwrap()
    };
    let (first, second) = (get("/", DOCUMENT).await, get("/usage", DOCUMENT).await);
    for response in [&first, &second] {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(response, "cache-control"), "no-cache");
        assert_eq!(header(response, "content-encoding"), "gzip");
        let policy = header(response, "content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|found| found == rule), "{rule} is not in {policy}");
        }
    }
    let policies = [&first, &second].map(|response| header(response, "content-security-policy"));
    assert_ne!(policies[0], policies[1], "a nonce is good for one answer");

    let document = reqwest::get(system.url()).await.unwrap().text().await.unwrap();
    let script = document.split("src=\"").nth(1).and_then(|rest| rest.split('"').next());
    let script = get(script.expect("the document has a script"), "*/*").await;
    assert_eq!(header(&script, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header(&script, "content-encoding"), "gzip");
    assert!(header(&script, "content-type").starts_with("text/javascript"), "{script:?}");

    assert_eq!(get("/assets/gone.js", DOCUMENT).await.status(), StatusCode::NOT_FOUND);
    let unknown = system.stranger().get("/v1/unknown").await;
    let error = &unknown.body["error"];
    assert_eq!((unknown.status, &error["type"]), (404, &json!("invalid_request_error")), "{}", unknown.body);
    assert!(error["message"].is_string() && error.get("code").is_some(), "{error}");
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("{} has no {name}", response.url()));
    value.to_str().unwrap().to_owned()
}

/// Runs a program of the console's folder to its end, which its own deadlines bring; gives what it printed, or panics with its
/// complaint when it fails.
async fn run_in_web(command: &mut Command) -> String {
    let web = workspace().join("web");
    assert!(web.join("node_modules").is_dir(), "web has no node_modules: run `cargo xtask test`, which installs them");
    let output = command.current_dir(web).kill_on_drop(true).output().await.expect("node is installed");
    let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{complaint}");
    printed.into_owned()
}
