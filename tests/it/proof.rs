//! The proof that leaves the house: what `tokengrid ledger proof` writes, `docs/verify.py` accepts, and nothing else.

use std::fs;
use std::path::Path;

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use serde_json::Value;
use tests::client::ask;
use tests::model::workspace;
use tests::program::outcome_of;
use tests::system::TestSystem;
use tests::wait::in_time;
use tokio::process::Command;

/// Runs the verifier: how it ended, and all that it printed.
async fn verify(file: &Path, args: &[&str]) -> (i32, String) {
    // A verifier that leaves nothing behind in docs/.
    let mut python = Command::new("python3");
    python.arg("-B").arg(workspace().join("docs/verify.py")).arg(file).args(args);
    let output = in_time("verify.py ended", python.kill_on_drop(true).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

/// A system that did some jobs, and is quiet.
async fn busy() -> TestSystem {
    let system = TestSystem::start().await;
    for question in ["What is 12 + 30?", "Reverse the word lamp", "Count from 3 to 9"] {
        system.client().chat(&ask(question).max_tokens(20)).await.ok();
    }
    system.settled().await;
    system
}

/// Writes a proof and gives its summary.
async fn prove(system: &TestSystem, file: &Path, args: &[&str]) -> Value {
    let mut command = vec!["ledger", "proof", "--json", "--out", file.to_str().unwrap()];
    command.extend(args);
    let (written, printed) = system.tokengrid(&command).await;
    assert!(written, "{printed}");
    serde_json::from_str(&printed).unwrap()
}

#[tokio::test]
async fn a_proof_convinces_a_verifier_that_has_nothing_else() {
    let system = busy().await;
    let file = system.path("book.jsonl");
    let summary = prove(&system, &file, &[]).await;
    let head = system.stranger().get("/ledger/head").await.ok().body;
    assert_eq!(summary["head"], head, "the proof ends where the endpoint says");
    assert!(!system.path("book.jsonl.part").exists());

    let (code, verdict) = verify(&file, &["--key", head["public_key"].as_str().unwrap()]).await;
    assert_eq!(code, 0, "{verdict}");
    // The two verifiers have the same to say.
    let (whole, ours) = system.tokengrid(&["ledger", "verify"]).await;
    assert!(whole, "{ours}");
    let theirs: Vec<&str> = verdict.lines().collect();
    for (line, ours) in ours.lines().enumerate().take(2) {
        assert!(theirs[line].starts_with(ours), "{ours}\n{verdict}");
    }
    assert!(theirs[1].ends_with(head["hash"].as_str().unwrap()), "{verdict}");

    let (code, verdict) = verify(&file, &["--key", &"11".repeat(32)]).await;
    assert_eq!((code, verdict.trim()), (1, "the head is signed with another key"));
    system.end().await;
}

#[tokio::test]
async fn the_published_head_is_signed_over_the_documented_bytes() {
    let system = busy().await;
    let head = system.stranger().get("/ledger/head").await.ok().body;
    let bytes = |field: &str| hex::decode(head[field].as_str().unwrap()).unwrap();
    let at: chrono::DateTime<chrono::Utc> = head["at"].as_str().unwrap().parse().unwrap();
    let mut message = b"tokengrid head v1\n\0\0".to_vec();
    message.extend(head["height"].as_i64().unwrap().to_le_bytes());
    message.extend(bytes("hash"));
    message.extend(at.timestamp_micros().to_le_bytes());
    let key = VerifyingKey::try_from(bytes("public_key").as_slice()).unwrap();
    key.verify(&message, &Signature::from_slice(&bytes("signature")).unwrap()).unwrap();
    system.end().await;
}

#[tokio::test]
async fn a_part_of_the_book_is_proved_from_its_first_block_to_its_last() {
    let system = busy().await;
    let file = system.path("part.jsonl");
    let summary = prove(&system, &file, &["--from-height", "3", "--to-height", "5"]).await;
    assert_eq!((&summary["from_height"], &summary["to_height"]), (&3.into(), &5.into()));
    let (code, verdict) = verify(&file, &[]).await;
    assert_eq!(code, 0, "{verdict}");
    assert!(verdict.starts_with("3 blocks") && verdict.contains("signed with"), "{verdict}");

    let (written, complaint) =
        system.tokengrid(&["ledger", "proof", "--out", file.to_str().unwrap(), "--to-height", "99999"]).await;
    assert!(!written && complaint.contains("no block 99999"), "{complaint}");
    system.end().await;
}

#[tokio::test]
async fn a_proof_made_without_the_secret_says_that_it_is_not_signed() {
    let system = busy().await;
    let file = system.path("book.jsonl");
    let mut env = system.environment();
    env.retain(|(name, _)| name != "TOKENGRID_SECRET");
    let args = ["ledger", "proof", "--out", file.to_str().unwrap()];
    let (status, _, complaint) = outcome_of("tokengrid", &args, &env).await;
    assert!(status.success() && complaint.contains("not signed"), "{complaint}");
    let (code, verdict) = verify(&file, &[]).await;
    assert!(code == 0 && verdict.contains("not signed"), "{verdict}");
    let (code, verdict) = verify(&file, &["--key", &"11".repeat(32)]).await;
    assert_eq!((code, verdict.trim()), (1, "the head is not signed"));
    system.end().await;
}

#[tokio::test]
async fn whoever_changes_a_proof_is_told_which_block() {
    let system = busy().await;
    let (file, forged) = (system.path("book.jsonl"), system.path("forged.jsonl"));
    prove(&system, &file, &[]).await;
    let book = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = book.lines().collect();
    let blocks = lines.len() - 1;
    // A block's line is that of its height: the header is line 0.
    let captured = (1..=blocks).find(|height| lines[*height].contains("\"kind\":3")).unwrap();
    let line = |height: usize, change: &dyn Fn(&str) -> String| {
        let changed = change(lines[height]);
        assert_ne!(changed, lines[height], "the forger found nothing to change");
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines[height] = changed;
        lines
    };
    let without = |gone: usize| {
        let kept: Vec<&str> =
            lines.iter().enumerate().filter(|(index, _)| *index != gone).map(|(_, line)| *line).collect();
        kept.join("\n")
    };
    let mut swapped = lines.clone();
    swapped.swap(2, 3);

    let book_of = |lines: Vec<String>| lines.join("\n");
    for (what, forgery, bad) in [
        ("an amount", book_of(line(captured, &|text| digit_after(text, "\"amount\":"))), captured),
        ("a quantity", book_of(line(captured, &|text| digit_after(text, "\"quantity\":"))), captured),
        ("a history", book_of(line(captured, &|text| digit_after(text, "\"debit_prev_seq\":"))), captured),
        ("a leaf", book_of(line(captured, &|text| text.replacen("PRODUCTIVE", "LICENCE", 1))), captured),
        ("an instant", book_of(line(2, &|text| digit_after(text, "\"at\":"))), 2),
        ("a hash", book_of(line(3, &|text| digit_after(text, "\"hash\":\""))), 3),
        ("the hash before", book_of(line(3, &|text| digit_after(text, "\"prev_hash\":\""))), 3),
        (
            "an account's rule",
            book_of(line(1, &|text| text.replacen("\"no_overdraft\":true", "\"no_overdraft\":false", 1))),
            1,
        ),
        ("a key", book_of(line(2, &|text| text.replacen("\"epoch\"", "\"epocg\"", 1))), 2),
        ("a key that no hash covers", book_of(line(2, &|text| text.replacen('{', "{\"note\":1,", 1))), 2),
        ("a removed line", without(4), 4),
        ("the removed end", without(blocks), blocks),
        ("a swapped order", swapped.join("\n"), 2),
        ("a cut line", book[..book.len() - 10].to_owned(), blocks),
        ("a line twice", format!("{book}{}\n", lines[blocks]), blocks + 1),
    ] {
        fs::write(&forged, forgery).unwrap();
        let (code, verdict) = verify(&forged, &[]).await;
        assert_eq!(code, 1, "{what}: {verdict}");
        assert!(verdict.starts_with(&format!("BAD BLOCK {bad}: ")), "{what}: {verdict}");
    }
    for (what, change) in [("signature", "\"signature\":\""), ("head", "\"height\":"), ("key", "\"public_key\":\"")] {
        fs::write(&forged, book_of(line(0, &|text| digit_after(text, change)))).unwrap();
        let (code, verdict) = verify(&forged, &[]).await;
        assert!(code == 1 && verdict.contains("head"), "{what}: {verdict}");
    }
    system.end().await;
}

#[tokio::test]
async fn wrong_books_are_found_even_when_every_hash_is_right() {
    let system = busy().await;
    let (file, forged) = (system.path("book.jsonl"), system.path("forged.jsonl"));
    prove(&system, &file, &[]).await;
    let book = fs::read_to_string(&file).unwrap();
    let first = |kind: u8| book.lines().position(|line| line.contains(&format!("\"kind\":{kind}"))).unwrap();
    let (held, captured, last) = (first(2), first(3), book.lines().count() - 1);
    for (forgery, bad, reason) in [
        ("too_little_paid", held, "it takes an account below zero, or its floor"),
        ("captured_above_hold", captured, "it does not fit the hold that it resolves"),
        ("resolved_twice", captured, "it resolves a hold that is not open"),
        ("debited_to_itself", captured, "a transfer is not one debit and one equal credit"),
        ("credited_in_another_unit", captured, "a transfer is between two units or shards"),
        ("credited_to_nobody", held, "a transfer is between unknown accounts"),
        ("left_out_group", captured, "its transfers are not numbered without gaps"),
        ("revenue_of_nothing", captured, "revenue has no leaf"),
        ("revenue_of_an_unknown_leaf", captured, "a transfer's leaf does not exist"),
        ("another_history", captured, "a transfer does not follow its account's history"),
        ("miscounted_leaves", captured, "its leaves are not numbered without gaps"),
        ("forgotten_hold", held, "it forgets an open hold"),
        ("happened_twice", last, "an event happens twice"),
        ("booked_in_a_closed_month", last, "it books in a month that was closed for good"),
        ("closed_with_money", last, "it closes an account that is not empty"),
        ("frozen_at_nothing", last, "a frozen account's floor is not what it had"),
    ] {
        let mut forger = Command::new("python3");
        forger.arg("-B").arg(workspace().join("tests/it/forge.py")).arg(forgery).arg(&file).arg(&forged);
        forger.env("PYTHONPATH", workspace().join("docs")).kill_on_drop(true);
        assert!(in_time("the forger ended", forger.status()).await.unwrap().success(), "{forgery}");
        let (code, verdict) = verify(&forged, &[]).await;
        assert_eq!((code, verdict.trim()), (1, format!("BAD BLOCK {bad}: {reason}").as_str()), "{forgery}");
    }
    system.end().await;
}

/// The text with the first character after a mark turned into another digit.
fn digit_after(text: &str, mark: &str) -> String {
    let place = text.find(mark).unwrap() + mark.len();
    let other = if &text[place..=place] == "1" { "2" } else { "1" };
    format!("{}{other}{}", &text[..place], &text[place + 1..])
}
