//! The SMTP side: as much of RFC 5321 as a mail client needs, every size bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Mails;

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 32;
/// *Units*: bytes with the line's end. *Source*: RFC 5321, 4.5.3.1.6.
const LINE_BYTES_MAX: u64 = 1000;
/// Bytes of one mail.
pub(super) const MAIL_BYTES_MAX: usize = 1 << 20;
/// Readers of one mail. *Source*: RFC 5321, 4.5.3.1.8.
const READERS_MAX: usize = 100;
/// A client that says nothing for so long is let go. *Source*: RFC 5321, 4.5.3.2.7.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Takes connections for ever.
pub(super) async fn serve(listener: TcpListener, mails: Mails) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut sessions = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        // A client that is gone before it is taken is none of our business.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let mut session = Session { stream: BufStream::new(stream), mails: mails.clone(), envelope: None };
        sessions.spawn(async move {
            // A connection that breaks ends its session and nothing else.
            session.hold().await.ok();
            drop(place);
        });
        while sessions.try_join_next().is_some() {}
    }
}

/// One client's connection.
struct Session {
    stream: BufStream<TcpStream>,
    mails: Mails,
    /// The readers that were named since MAIL.
    envelope: Option<Vec<String>>,
}

impl Session {
    async fn hold(&mut self) -> io::Result<()> {
        self.reply("220 tokengrid-outbox takes every mail and delivers none").await?;
        while let Some(line) = self.line().await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    self.envelope = None;
                    let size = format!("250-SIZE {MAIL_BYTES_MAX}");
                    self.reply(&["250-tokengrid-outbox", &size, "250-8BITMIME", "250 SMTPUTF8"].join("\r\n")).await?;
                }
                "HELO" => {
                    self.envelope = None;
                    self.reply("250 tokengrid-outbox").await?;
                }
                "MAIL" => self.mail(rest).await?,
                "RCPT" => self.recipient(rest).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.envelope = None;
                    self.reply("250 forgotten").await?;
                }
                "NOOP" => self.reply("250 still here").await?,
                "QUIT" => return self.reply("221 good-bye").await,
                _ => self.reply("502 no such command here").await?,
            }
        }
        Ok(())
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        match (address(rest, "FROM:"), &self.envelope) {
            (_, Some(_)) => self.reply("503 one mail at a time").await,
            (None, None) => self.reply("501 MAIL FROM:<address>").await,
            (Some(_), None) => {
                self.envelope = Some(vec![]);
                self.reply("250 from whom").await
            }
        }
    }

    async fn recipient(&mut self, rest: &str) -> io::Result<()> {
        match (address(rest, "TO:"), &mut self.envelope) {
            (_, None) => self.reply("503 MAIL comes first").await,
            (None | Some(""), _) => self.reply("501 RCPT TO:<address>").await,
            (_, Some(readers)) if readers.len() == READERS_MAX => self.reply("452 too many readers").await,
            (Some(reader), Some(readers)) => {
                readers.push(reader.to_owned());
                self.reply("250 to whom").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        let Some(readers) = self.envelope.take_if(|readers| !readers.is_empty()) else {
            return self.reply("503 RCPT comes first").await;
        };
        self.reply("354 go on, and end with a dot").await?;
        let mut mail = vec![];
        while let Some(line) = self.line().await? {
            if line == b"." {
                self.mails.keep(&readers, &mail);
                return self.reply("250 kept").await;
            }
            // A leading dot was doubled on the way (RFC 5321, 4.5.2).
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            mail.extend_from_slice(b"\r\n");
            if mail.len() > MAIL_BYTES_MAX {
                self.reply("552 the mail is too long").await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// The next line without its end; none when the client has left. *Errors*: it is too long, or too long in coming.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = vec![];
        let mut bounded = (&mut self.stream).take(LINE_BYTES_MAX);
        timeout(SILENCE_MAX, bounded.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            self.reply("500 the line is too long").await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        line.pop_if(|last| *last == b'\r');
        Ok(Some(line))
    }

    async fn reply(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }
}

/// The address in `FROM:<address> PARAMETERS`.
fn address<'a>(rest: &'a str, word: &str) -> Option<&'a str> {
    let (found, after) = rest.split_at_checked(word.len())?;
    if !found.eq_ignore_ascii_case(word) {
        return None;
    }
    Some(after.trim_start().strip_prefix('<')?.split_once('>')?.0)
}
