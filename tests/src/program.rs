//! A program of ours as a child process, with its log in a file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::wait::{eventually, in_time};

/// Log lines shown of a program in a test that failed.
const LINES_SHOWN: usize = 60;

/// A running program. It dies with the value, and with the test's thread whatever becomes of that.
#[derive(Debug)]
pub struct Program {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts a program that stands beside the test, with nothing of our environment but `env`, logging to `log`.
    pub fn start(name: &str, args: &[String], env: &[(String, String)], log: PathBuf) -> Self {
        let file = File::create(&log).expect("the test's folder can be written");
        let mut command = command(name, env);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(file)).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name: name.to_owned(), log, child }
    }

    /// Waits for the `count`th log line of this message and gives its fields.
    pub async fn logged(&mut self, message: &str, count: usize) -> Value {
        let what = format!("{} logged “{message}” {count} times", self.name);
        eventually(&what, async || {
            // Asked first: what it logged before it ended is in the file by then.
            let ended = self.child.try_wait().expect("our child's state can be asked for");
            let found = lines(&self.log).into_iter().filter(|fields| fields["message"] == message).nth(count - 1);
            if let (None, Some(status)) = (&found, ended) {
                panic!("{} ended ({status}) before it logged “{message}”", self.name);
            }
            found
        })
        .await
    }

    /// How many lines of this message it has logged.
    pub fn count(&self, message: &str) -> usize {
        lines(&self.log).iter().filter(|fields| fields["message"] == message).count()
    }

    /// Lets its part of this process number die as an abort would.
    pub fn abort_part(&self, pid: u64) {
        let pid = libc::pid_t::try_from(pid).expect("process numbers fit");
        // SAFETY: as in `signal`; the part told this number itself, and its parent has not reaped it while it serves.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGABRT) }, 0, "{}: {}", self.name, io::Error::last_os_error());
    }

    /// Ends it without warning, as a power cut would, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("our child can be killed");
    }

    /// Asks it to end, as a service manager would.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Lets it hang.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = self.child.id().expect("a program that gets a signal is running");
        let pid = libc::pid_t::try_from(pid).expect("process numbers fit");
        // To its group, which is its own: a program may do its work in a child.
        // SAFETY: sending a signal touches no memory of ours, and the child is not reaped yet, so the number is its own.
        assert_eq!(unsafe { libc::kill(-pid, signal) }, 0, "{}: {}", self.name, io::Error::last_os_error());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        in_time(&format!("{} ended", self.name), self.child.wait()).await.expect("our child can be waited for")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── the end of {} ──\n{}", self.log.display(), tail(&self.log));
        }
    }
}

/// Runs a program to its end and gives what it printed, or panics with what it complained of.
pub async fn output_of(name: &str, args: &[&str], env: &[(String, String)]) -> String {
    let (status, printed, complaint) = outcome_of(name, args, env).await;
    assert!(status.success(), "`{name} {}` ended with {status}:\n{printed}{complaint}", args.join(" "));
    printed
}

/// Runs a program to its end: how it ended, what it printed, what it complained of.
pub async fn outcome_of(name: &str, args: &[&str], env: &[(String, String)]) -> (ExitStatus, String, String) {
    let output = command(name, env).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = in_time(&format!("`{name} {}` ended", args.join(" ")), output).await;
    let output = output.unwrap_or_else(|error| panic!("{name} cannot be run: {error}"));
    let text = |bytes| String::from_utf8(bytes).expect("our programs print UTF-8");
    (output.status, text(output.stdout), text(output.stderr))
}

fn command(name: &str, env: &[(String, String)]) -> Command {
    let program = beside_the_test(name);
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build --workspace`, or `cargo xtask test`",
        program.display()
    );
    let mut command = Command::new(program);
    command.env_clear().envs(env.iter().cloned());
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
    command
}

/// `target/debug/NAME` for a test that runs as `target/debug/deps/it-…`.
pub(crate) fn beside_the_test(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    test.parent().and_then(Path::parent).expect("tests run in target/debug/deps").join(name)
}

/// The fields of each log line that is JSON.
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["fields"].take())).collect()
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}
