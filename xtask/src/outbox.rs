//! The local outbox: where the mail of a system on this machine goes.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::directory::Directory;
use crate::process::Service;
use crate::progress::Steps;
use crate::workspace;

/// A running `tokengrid-outbox`.
#[derive(Debug)]
pub struct Outbox {
    /// Where it takes mail.
    pub smtp_url: String,
    /// Where people read it.
    pub page_url: String,
    /// The process.
    pub service: Service,
}

impl Outbox {
    /// Starts it; one step.
    pub fn start(steps: &mut Steps, directory: &Directory) -> anyhow::Result<Outbox> {
        let mut step = steps.begin("outbox");
        let mut command = Command::new(workspace::program("tokengrid-outbox", "dev"));
        let log = directory.log("outbox");
        let mut service = Service::start("the outbox", &mut command, &log, libc::SIGTERM, libc::SIGKILL)?;
        let mut urls = None;
        let told = || std::fs::read_to_string(&log).ok().and_then(|text| read(&text));
        let ready = || {
            urls = told();
            Ok(urls.is_some())
        };
        service.wait_until(Duration::from_secs(30), ready, || step.tick(""))?;
        let (smtp_url, page_url) = urls.unwrap_or_default();
        step.finish("");
        Ok(Outbox { smtp_url, page_url, service })
    }

    /// The environment variables that make a control plane send its mail here.
    pub fn environment(&self) -> [(&'static str, &str); 2] {
        [("TOKENGRID_SMTP_URL", &self.smtp_url), ("TOKENGRID_MAIL_FROM", "Tokengrid <no-reply@localhost>")]
    }
}

/// The addresses in the line that the program begins with; nothing before that line is whole.
fn read(log: &str) -> Option<(String, String)> {
    let (line, _) = log.split_once('\n')?;
    let told: Value = serde_json::from_str(line).ok()?;
    Some((told["smtp_url"].as_str()?.to_owned(), told["page_url"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_once_their_line_is_whole() {
        let line = r#"{"smtp_url":"smtp://127.0.0.1:1","page_url":"http://127.0.0.1:2"}"#;
        assert_eq!(read(line), None);
        let urls = ("smtp://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned());
        assert_eq!(read(&format!("{line}\nmore")), Some(urls));
    }
}
