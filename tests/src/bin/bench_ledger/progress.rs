//! What a person sees while it runs, on stderr.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Tells where the run is: redrawn in place on a terminal, a line for each part elsewhere.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    live: bool,
}

impl Progress {
    /// Begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), live: std::io::stderr().is_terminal() }
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// A part of the run begins.
    pub fn part(&self, what: &str) {
        self.line(what);
        if !self.live {
            eprintln!("{}", self.said(what));
        }
    }

    /// Something of a part, for who watches.
    pub fn detail(&self, what: &str) {
        self.line(what);
    }

    /// A part has ended, with what came of it.
    pub fn done(&self, what: &str) {
        eprintln!("{}{}", if self.live { "\r\x1b[2K" } else { "" }, self.said(what));
    }

    fn line(&self, what: &str) {
        if self.live {
            let clipped: String = self.said(what).chars().take(110).collect();
            eprint!("\r\x1b[2K{clipped}");
            drop(std::io::stderr().flush());
        }
    }

    fn said(&self, what: &str) -> String {
        format!("{:>4} s  {what}", self.elapsed().as_secs())
    }
}
