//! The local outbox: mail that would leave the machine stays here, to be read by tests and on a page.
//!
//! It takes whatever is sent to it by SMTP and delivers nothing. Mails are kept in memory, [`KEPT_MAX`] at most.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use mail_parser::MessageParser;
use primitives::clock::Clock;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait::in_time;

mod page;
mod smtp;

/// Mails that are kept; the oldest give way.
pub const KEPT_MAX: usize = 200;

/// A mail as its reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// Its readers' addresses, with commas between them.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// When it came.
    pub at: DateTime<Utc>,
}

impl Mail {
    /// The mail in the bytes that came for these readers, whatever encodings it chose.
    fn read(to: &[String], bytes: &[u8], at: DateTime<Utc>) -> Self {
        let parsed = MessageParser::default().parse(bytes).unwrap_or_default();
        let subject = parsed.subject().unwrap_or_default().to_owned();
        let text = parsed.body_text(0).unwrap_or_default().replace("\r\n", "\n");
        Self { to: to.join(", "), subject, text, at }
    }

    /// The code that the mail is about: its first line of nothing but digits.
    pub fn code(&self) -> Option<&str> {
        self.text.lines().map(str::trim).find(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// The mails that came, newest first; clones share them.
#[derive(Clone, Debug)]
struct Mails {
    kept: watch::Sender<Vec<Mail>>,
    clock: Clock,
}

impl Mails {
    fn new(clock: Clock) -> Self {
        Self { kept: watch::Sender::new(vec![]), clock }
    }

    fn keep(&self, to: &[String], bytes: &[u8]) {
        let mail = Mail::read(to, bytes, self.clock.now());
        self.kept.send_modify(|mails| {
            mails.insert(0, mail);
            mails.truncate(KEPT_MAX);
        });
    }
}

/// An outbox that takes mail; it ends with the value.
#[derive(Debug)]
pub struct Outbox {
    smtp: SocketAddr,
    page: SocketAddr,
    mails: Mails,
    tasks: JoinSet<()>,
}

impl Outbox {
    /// Starts it on two free loopback ports. *Errors*: there are none.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        let mails = Mails::new(clock);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let smtp = listener.local_addr()?;
        let (server, page) = page::serve(mails.clone())?;
        let mut tasks = JoinSet::new();
        tasks.spawn(smtp::serve(listener, mails.clone()));
        tasks.spawn(async {
            server.await.expect("the page is served until the outbox ends");
        });
        Ok(Self { smtp, page, mails, tasks })
    }

    /// Where mail is sent.
    pub fn smtp_url(&self) -> String {
        format!("smtp://{}", self.smtp)
    }

    /// Where people read it.
    pub fn page_url(&self) -> String {
        format!("http://{}", self.page)
    }

    /// Waits until so many mails have come for this address and gives the last of them.
    pub async fn mail(&self, to: &str, count: usize) -> Mail {
        let mut mails = self.mails.kept.subscribe();
        let theirs = |mails: &Vec<Mail>| mails.iter().filter(|mail| mail.to == to).nth_back(count - 1).cloned();
        let what = format!("{count} mails came for {to}");
        let found = in_time(&what, mails.wait_for(|mails| theirs(mails).is_some())).await;
        theirs(&found.expect("the outbox keeps its mails")).expect("it was there a moment ago")
    }

    /// Serves until a task fails, which none should.
    pub async fn failed(&mut self) {
        self.tasks.join_next().await;
    }
}

#[cfg(test)]
mod tests;
