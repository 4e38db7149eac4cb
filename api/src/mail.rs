//! Mail: a few short texts, sent by SMTP in the background.
//!
//! Mail that waits is kept in memory alone, so that no code is stored readable; what a crash loses, its reader asks for again.

use std::time::Duration;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config;
use crate::error::Error;

/// Mail that may wait.
const WAITING_MAX: usize = 1_000;
/// How often and how long apart a mail is tried.
const ATTEMPTS_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// One mail. Its text may hold a code, so it is not printable.
pub struct Mail {
    /// The reader's address.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// Takes mail; clones share one queue.
#[derive(Clone)]
pub struct Mailer {
    queue: Option<mpsc::Sender<Mail>>,
}

impl Mailer {
    /// Begins to send what is posted, until the returned task is dropped. *Errors*: settings that are no server or sender.
    pub fn start(settings: &config::Mail) -> anyhow::Result<(Self, JoinSet<()>)> {
        let mut tasks = JoinSet::new();
        let Some(url) = &settings.smtp_url else {
            tracing::warn!("TOKENGRID_SMTP_URL is not set: nobody can sign up or reset a password");
            return Ok((Self { queue: None }, tasks));
        };
        let from = settings.mail_from.parse().context("TOKENGRID_MAIL_FROM is not a sender, such as Name <a@b.c>")?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret());
        let transport = transport.context("TOKENGRID_SMTP_URL is not a mail server, such as smtps://host")?;
        let transport = transport.timeout(Some(Duration::from_secs(20))).build();
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tasks.spawn(send_all(transport, from, waiting));
        Ok((Self { queue: Some(queue) }, tasks))
    }

    /// Room for one mail, to be had before it is known whether one is needed. *Errors*: no mail can be sent now.
    pub fn envelope(&self) -> Result<Envelope, Error> {
        let place = self.queue.clone().and_then(|queue| queue.try_reserve_owned().ok());
        place.map(Envelope).ok_or_else(|| Error::Unavailable {
            reason: "No mail can be sent now.".to_owned(),
            retry_after: Duration::from_secs(60),
        })
    }
}

/// Room for one mail.
pub struct Envelope(mpsc::OwnedPermit<Mail>);

impl Envelope {
    /// Sends a mail soon.
    pub fn post(self, mail: Mail) {
        self.0.send(mail);
    }
}

async fn send_all(transport: AsyncSmtpTransport<Tokio1Executor>, from: Mailbox, mut waiting: mpsc::Receiver<Mail>) {
    while let Some(mail) = waiting.recv().await {
        let Some(message) = message(&from, &mail) else { continue };
        for attempt in 1..=ATTEMPTS_MAX {
            match transport.send(message.clone()).await {
                Ok(_) => break,
                Err(error) if error.is_permanent() || attempt == ATTEMPTS_MAX => {
                    // The server's words may quote the address.
                    tracing::warn!(permanent = error.is_permanent(), attempt, "a mail was given up");
                    break;
                }
                Err(_) => tokio::time::sleep(PAUSE * attempt).await,
            }
        }
    }
}

/// A mail in the form in which it travels; none for an address that mail cannot name.
fn message(from: &Mailbox, mail: &Mail) -> Option<Message> {
    let to = mail.to.parse().ok()?;
    Message::builder().from(from.clone()).to(to).subject(&mail.subject).body(mail.text.clone()).ok()
}
