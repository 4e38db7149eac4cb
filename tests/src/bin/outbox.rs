//! `tokengrid-outbox`: the local outbox as a program, for a system that runs on this machine.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use primitives::clock::Clock;
use serde_json::json;
use tests::outbox::Outbox;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
tokengrid-outbox: keeps the mail of a Tokengrid on this machine, for people to read

Takes mail by SMTP on a free loopback port, delivers none of it and shows it on a page on another. It prints one line,
  {\"smtp_url\":\"smtp://127.0.0.1:P\",\"page_url\":\"http://127.0.0.1:Q\"}
and serves until SIGTERM, SIGINT or its parent's end. GET / of the page is for people, GET /mails.json for programs; the last
200 mails are kept, in memory.
";

fn main() -> anyhow::Result<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        None => serve()?,
        Some("--help" | "-h") => print!("{HELP}"),
        Some(other) => {
            eprintln!("error: there is no argument {other}\n\n{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> anyhow::Result<()> {
    // First of all, so that a parent that ends early is not missed.
    end_with_the_parent()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut outbox = Outbox::start(Clock::system()).await.context("no free loopback port")?;
    println!("{}", json!({"smtp_url": outbox.smtp_url(), "page_url": outbox.page_url()}));
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = outbox.failed() => anyhow::bail!("the outbox failed"),
    }
}

fn end_with_the_parent() -> io::Result<()> {
    // SAFETY: the call takes numbers and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
