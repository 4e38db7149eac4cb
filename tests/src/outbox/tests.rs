use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream, Lines};
use tokio::net::TcpStream;

use super::*;

async fn start() -> Outbox {
    Outbox::start(Clock::manual(DateTime::UNIX_EPOCH)).await.unwrap()
}

/// A mail client that says what it is told to, and reads each reply's last line.
struct Talk(Lines<BufStream<TcpStream>>);

impl Talk {
    async fn begin(outbox: &Outbox) -> Self {
        let stream = TcpStream::connect(outbox.smtp).await.unwrap();
        let mut talk = Self(BufStream::new(stream).lines());
        assert!(talk.reply().await.starts_with("220 "));
        talk
    }

    async fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
        self.0.get_mut().flush().await.unwrap();
    }

    async fn reply(&mut self) -> String {
        loop {
            let line = in_time("the outbox replied", self.0.next_line()).await.unwrap().expect("it replies");
            if line.as_bytes()[3] == b' ' {
                return line;
            }
        }
    }

    /// Says each line and checks the number of its reply.
    async fn say(&mut self, lines: &[(&str, &str)]) {
        for (line, code) in lines {
            self.write(&format!("{line}\r\n")).await;
            let reply = self.reply().await;
            assert!(reply.starts_with(code), "{line} was answered by {reply}");
        }
    }

    async fn send(&mut self, to: &str, mail: &str) {
        self.say(&[("MAIL FROM:<a@b.c> SIZE=10", "250"), (&format!("RCPT TO:<{to}>"), "250"), ("DATA", "354")]).await;
        self.say(&[(&format!("{mail}\r\n."), "250")]).await;
    }
}

#[tokio::test]
async fn a_mail_is_kept_as_its_reader_sees_it() {
    let outbox = start().await;
    let mut talk = Talk::begin(&outbox).await;
    talk.say(&[("EHLO there", "250"), ("NOOP", "250"), ("RSET", "250")]).await;
    talk.send("ada@example.com", "Subject: Your code\r\n\r\nHello,\r\n\r\n  12345678  \r\n\r\n..and a dot").await;
    talk.say(&[("QUIT", "221")]).await;
    let mail = outbox.mail("ada@example.com", 1).await;
    assert_eq!(mail.text, "Hello,\n\n  12345678  \n\n.and a dot\n");
    assert_eq!((mail.code(), mail.subject.as_str(), mail.at), (Some("12345678"), "Your code", DateTime::UNIX_EPOCH));
}

#[tokio::test]
async fn encoded_subjects_and_bodies_are_read() {
    let outbox = start().await;
    let mut talk = Talk::begin(&outbox).await;
    let subject = "Subject: =?utf-8?b?5L2g5aW9?= =?utf-8?q?=C3=A9?=\r\nContent-Type: text/plain; charset=utf-8\r\n";
    let quoted = format!("{subject}Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4=BD=A0 so=\r\nft");
    let base64 = format!("{subject}Content-Transfer-Encoding: base64\r\n\r\n5L2g\r\n5aW9");
    talk.send("ada@example.com", &quoted).await;
    talk.send("ada@example.com", &base64).await;
    let (first, second) = (outbox.mail("ada@example.com", 1).await, outbox.mail("ada@example.com", 2).await);
    assert_eq!((first.subject.as_str(), first.text.trim_end()), ("你好é", "你 soft"));
    assert_eq!((second.subject.as_str(), second.text.trim_end()), ("你好é", "你好"));
}

#[tokio::test]
async fn what_is_out_of_order_is_refused_and_the_talk_goes_on() {
    let outbox = start().await;
    let mut talk = Talk::begin(&outbox).await;
    talk.say(&[("HELO there", "250"), ("RCPT TO:<a@b.c>", "503"), ("DATA", "503"), ("AUTH PLAIN", "502")]).await;
    talk.say(&[("MAIL from me", "501"), ("mail from:<>", "250"), ("MAIL FROM:<a@b.c>", "503")]).await;
    talk.say(&[("RCPT TO:<>", "501"), ("DATA", "503")]).await;
    for _ in 0..100 {
        talk.say(&[("RCPT TO:<a@b.c>", "250")]).await;
    }
    talk.say(&[("RCPT TO:<a@b.c>", "452"), ("RSET", "250"), ("RCPT TO:<a@b.c>", "503"), ("", "502")]).await;
    assert!(outbox.mails.kept.borrow().is_empty());
}

#[tokio::test]
async fn a_line_or_a_mail_that_is_too_long_ends_the_connection() {
    let outbox = start().await;
    let mut talk = Talk::begin(&outbox).await;
    talk.write(&"x".repeat(1000)).await;
    assert!(talk.reply().await.starts_with("500 "));
    assert!(talk.0.next_line().await.is_ok_and(|line| line.is_none()));

    let mut talk = Talk::begin(&outbox).await;
    talk.say(&[("MAIL FROM:<a@b.c>", "250"), ("RCPT TO:<a@b.c>", "250"), ("DATA", "354")]).await;
    let line = format!("{}\r\n", "x".repeat(998));
    let lines = smtp::MAIL_BYTES_MAX / line.len() + 1;
    talk.write(&line.repeat(lines)).await;
    assert!(talk.reply().await.starts_with("552 "));
    assert!(outbox.mails.kept.borrow().is_empty());
}

#[tokio::test]
async fn the_oldest_mails_give_way() {
    let outbox = start().await;
    let mut talk = Talk::begin(&outbox).await;
    for number in 0..=KEPT_MAX {
        talk.send("ada@example.com", &format!("Subject: {number}\r\n\r\n")).await;
    }
    let mails = outbox.mails.kept.borrow().clone();
    assert_eq!(mails.len(), KEPT_MAX);
    assert_eq!((mails[0].subject.as_str(), mails[KEPT_MAX - 1].subject.as_str()), ("200", "1"));
}

#[tokio::test]
async fn the_page_shows_mails_newest_first_and_nothing_in_them_is_markup() {
    let outbox = start().await;
    let get = async |path: &str| reqwest::get(format!("{}{path}", outbox.page_url())).await.unwrap();
    assert!(get("/").await.text().await.unwrap().contains("No mail yet"));

    let mut talk = Talk::begin(&outbox).await;
    talk.send("ada@example.com", "Subject: older\r\n\r\nHello").await;
    talk.send("ada&eve@example.com", "Subject: <b>&\"\r\n\r\n<script>alert(1)</script>").await;
    let response = get("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(response.headers()["refresh"], "2");
    let page = response.text().await.unwrap();
    assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
    assert!(place("&lt;b&gt;&amp;&quot;") < place("&lt;script&gt;alert(1)") && place("alert(1)") < place("older"));

    let list: serde_json::Value = get("/mails.json").await.json().await.unwrap();
    let first = serde_json::json!(
        {"to": "ada@example.com", "subject": "older", "text": "Hello\n", "at": "1970-01-01T00:00:00Z"}
    );
    assert_eq!(list[1], first);
    assert_eq!(list.as_array().unwrap().len(), 2);
}
