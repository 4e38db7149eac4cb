//! What a person sees: one line a step, with its time, on stderr; results on stdout.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process;

/// Non-terminals get a sign of life this often.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Prints a result line on stdout; a closed pipe is not an error.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line for people on stderr.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The numbered steps of one command.
#[derive(Debug)]
pub struct Steps {
    current: usize,
    total: usize,
    live: bool,
}

impl Steps {
    /// Announces how many steps there will be.
    pub fn new(total: usize) -> Steps {
        Steps { current: 0, total, live: std::io::stderr().is_terminal() }
    }

    /// Begins the next step; it lasts until the returned value is finished or dropped (dropped means failed).
    pub fn begin(&mut self, what: &str) -> Step {
        self.current += 1;
        let step = Step {
            label: format!("[{}/{}] {what} …", self.current, self.total),
            started: Instant::now(),
            beat: Instant::now(),
            live: self.live,
            done: false,
        };
        step.draw("");
        step
    }
}

/// One step under way.
#[derive(Debug)]
pub struct Step {
    label: String,
    started: Instant,
    beat: Instant,
    live: bool,
    done: bool,
}

impl Step {
    /// Redraws the line on a terminal; elsewhere says once a minute that it is still at it.
    pub fn tick(&mut self, detail: &str) {
        if self.live {
            self.draw(detail);
        } else if self.beat.elapsed() >= HEARTBEAT {
            self.beat = Instant::now();
            note(&clip(&format!("{} {} so far  {detail}", self.label, seconds(self.started.elapsed()))));
        }
    }

    /// Says something in the middle of the step, on a line of its own.
    pub fn say(&self, line: &str) {
        self.replace(&format!("      {line}"));
        self.draw("");
    }

    /// Ends the step with its time and, where there is something to say, a remark.
    pub fn finish(mut self, remark: &str) {
        self.done = true;
        let gap = if remark.is_empty() { "" } else { "  " };
        self.replace(&format!("{} {}{gap}{remark}", self.label, seconds(self.started.elapsed())));
    }

    /// Runs `command` to its end with its output in `log`.
    ///
    /// *Errors*: a failing exit, with the last lines and the log's path.
    pub fn run(&mut self, command: &mut Command, log: &Path) -> anyhow::Result<()> {
        let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = process::spawn(command.stdout(output.try_clone()?).stderr(output), libc::SIGTERM)
            .with_context(|| format!("starting {program}"))?;
        let status = process::finish(&mut child, || self.tick(last_lines(log, 1).trim()))?;
        if !status.success() {
            bail!(
                "{program} failed ({}); the end of {}:\n{}",
                process::describe(status),
                log.display(),
                last_lines(log, 40)
            );
        }
        Ok(())
    }

    fn draw(&self, detail: &str) {
        if self.live {
            let line = format!("{} {}  {detail}", self.label, seconds(self.started.elapsed()));
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[2K{}", clip(&line));
            let _ = stderr.flush();
        }
    }

    fn replace(&self, line: &str) {
        note(&if self.live { format!("\r\x1b[2K{line}") } else { line.to_owned() });
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.done {
            self.replace(&format!("{} stopped after {}", self.label, seconds(self.started.elapsed())));
        }
    }
}

fn clip(line: &str) -> String {
    line.chars().take(110).collect()
}

fn seconds(elapsed: Duration) -> String {
    match elapsed.as_millis() {
        millis @ 0..10_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        millis => format!("{} s", millis / 1000),
    }
}

/// The last `count` lines of a log, read from its end.
pub fn last_lines(log: &Path, count: usize) -> String {
    let tail = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.take(16 * 1024).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = tail().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_show_tenths_and_long_ones_do_not() {
        assert_eq!(seconds(Duration::from_millis(1_260)), "1.2 s");
        assert_eq!(seconds(Duration::from_millis(83_900)), "83 s");
    }

    #[test]
    fn the_last_lines_of_a_missing_log_are_empty() {
        assert_eq!(last_lines(Path::new("/nonexistent"), 3), "");
    }
}
