//! Child processes that never outlive us, and the signals that end us.
//!
//! Every child leads its own process group (so that Ctrl-C reaches only us and we stop the children in order) and carries a
//! parent-death signal (so that even SIGKILL of this process takes them along). The parent-death signal follows the *thread*
//! that spawned, so everything here is called from the main thread.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::exit;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Blocks the signals that we wait for; called once, before any thread exists.
pub fn take_signals() {
    let set = waited_signals();
    // SAFETY: plain calls on a set that lives on this stack.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Waits until a child changes, somebody asks us to stop, or `at_most` has passed.
///
/// *Errors*: "interrupted" (exit code 130) once SIGINT, SIGTERM or SIGHUP has arrived.
pub fn pause(at_most: Duration) -> anyhow::Result<()> {
    wait_for_signal(at_most);
    if INTERRUPTED.load(Ordering::Relaxed) { Err(exit::interrupted()) } else { Ok(()) }
}

fn wait_for_signal(at_most: Duration) {
    let set = waited_signals();
    let time =
        libc::timespec { tv_sec: at_most.as_secs() as libc::time_t, tv_nsec: at_most.subsec_nanos() as libc::c_long };
    // SAFETY: both pointers are to values on this stack; a null siginfo is allowed.
    let signal = unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &time) };
    if matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
}

fn waited_signals() -> libc::sigset_t {
    // SAFETY: `sigemptyset` initialises the set before anything reads it; `sigaction` with a null action only reads.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGCHLD] {
            libc::sigaddset(&mut set, signal);
        }
        // Under nohup the hang-up is ignored on purpose.
        let mut hangup: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut hangup);
        if hangup.sa_sigaction != libc::SIG_IGN {
            libc::sigaddset(&mut set, libc::SIGHUP);
        }
        set
    }
}

/// Spawns `command` in its own process group; it receives `death_signal` when we die, however we die.
pub fn spawn(command: &mut Command, death_signal: libc::c_int) -> io::Result<Child> {
    let parent = std::process::id() as libc::pid_t;
    command.process_group(0).stdin(Stdio::null());
    // SAFETY: only async-signal-safe calls. std changes the user before it runs this, which matters: changing it clears
    // the parent-death signal.
    unsafe {
        command.pre_exec(move || {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            // A shell starts background jobs with these ignored, and a child that ignores them cannot be asked to stop.
            for signal in [libc::SIGINT, libc::SIGQUIT] {
                libc::signal(signal, libc::SIG_DFL);
            }
            if libc::prctl(libc::PR_SET_PDEATHSIG, death_signal) != 0 {
                return Err(io::Error::last_os_error());
            }
            if libc::getppid() != parent {
                return Err(io::Error::other("the parent is gone"));
            }
            Ok(())
        });
    }
    command.spawn()
}

/// Waits for a child that is meant to end, calling `tick` a few times a second; an interruption ends it and its group.
pub fn finish(child: &mut Child, mut tick: impl FnMut()) -> anyhow::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(interrupted) = pause(Duration::from_millis(250)) {
            end(child, libc::SIGINT, Duration::from_secs(10), true);
            return Err(interrupted);
        }
        tick();
    }
}

/// Runs `command` to its end and returns what it printed.
///
/// *Errors*: not startable, interrupted, or a failing exit, with what it wrote to stderr.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()), libc::SIGKILL)
        .with_context(|| format!("starting {program}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.map(|mut pipe| io::Read::read_to_string(&mut pipe, &mut text));
            text
        })
    };
    let stdout = read(stdout.map(|pipe| Box::new(pipe) as _));
    let stderr = read(stderr.map(|pipe| Box::new(pipe) as _));
    let status = finish(&mut child, || {})?;
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    if !status.success() {
        bail!("{program} failed ({}): {}", describe(status), stderr.trim());
    }
    Ok(stdout)
}

/// An exit status in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".into(),
    }
}

/// A long-running child: stopped when dropped.
#[derive(Debug)]
pub struct Service {
    /// What people call it.
    pub name: &'static str,
    /// Where its stdout and stderr go.
    pub log: PathBuf,
    child: Child,
    stop_signal: libc::c_int,
    stopped: bool,
}

impl Service {
    /// Starts `command` with its output in `log`; `stop_signal` asks it to end in good order, and is also its
    /// parent-death signal unless `death_signal` says otherwise.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        stop_signal: libc::c_int,
        death_signal: libc::c_int,
    ) -> anyhow::Result<Service> {
        let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command.stdout(output.try_clone()?).stderr(output).env("NO_COLOR", "1");
        let child = spawn(command, death_signal)
            .with_context(|| format!("starting {name} ({})", command.get_program().to_string_lossy()))?;
        Ok(Service { name, log: log.to_owned(), child, stop_signal, stopped: false })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of the log, when the service has ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            self.stopped = true;
            bail!(
                "{} ended with {}; the end of {}:\n{}",
                self.name,
                describe(status),
                self.log.display(),
                crate::progress::last_lines(&self.log, 30)
            );
        }
        Ok(())
    }

    /// Waits until `ready` says yes.
    ///
    /// *Errors*: the service ended, somebody interrupted, or `at_most` passed; the first two at once.
    pub fn wait_until(
        &mut self,
        at_most: Duration,
        mut ready: impl FnMut() -> anyhow::Result<bool>,
        mut tick: impl FnMut(),
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut nap = Duration::from_millis(10);
        while !ready()? {
            self.check_alive()?;
            if started.elapsed() > at_most {
                bail!(
                    "{} was not ready after {} s; the end of {}:\n{}",
                    self.name,
                    at_most.as_secs(),
                    self.log.display(),
                    crate::progress::last_lines(&self.log, 30)
                );
            }
            pause(nap)?;
            nap = (nap * 2).min(Duration::from_millis(200));
            tick();
        }
        Ok(())
    }

    /// Asks it to end, waits, and kills it when it does not listen.
    pub fn stop(&mut self) {
        if !self.stopped {
            self.stopped = true;
            end(&mut self.child, self.stop_signal, Duration::from_secs(20), false);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

fn end(child: &mut Child, signal: libc::c_int, patience: Duration, whole_group: bool) {
    let pid = child.id() as libc::pid_t;
    // SAFETY: a child that we have not waited for keeps its id, so the signal cannot reach a stranger.
    unsafe { libc::kill(if whole_group { -pid } else { pid }, signal) };
    let started = Instant::now();
    while started.elapsed() < patience {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        wait_for_signal(Duration::from_millis(50));
    }
    // SAFETY: as above; the group leader is still unreaped.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
    let _ = child.wait();
}

/// A loopback port that nobody listens on at the moment of asking.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// The path of `program` on PATH.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// An environment variable that is set and not empty.
pub fn setting(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_what_the_program_printed_and_a_failure_carries_its_complaint() {
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
        let refusal = output(Command::new("sh").args(["-c", "echo no >&2; exit 7"])).unwrap_err();
        assert_eq!(refusal.to_string(), "sh failed (exit code 7): no");
    }

    #[test]
    fn a_stopped_service_is_gone() {
        let log = std::env::temp_dir().join(format!("xtask-test-{}", std::process::id()));
        let mut service =
            Service::start("sleeper", Command::new("sleep").arg("60"), &log, libc::SIGTERM, libc::SIGKILL).unwrap();
        service.check_alive().unwrap();
        let pid = service.pid();
        service.stop();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        let _ = std::fs::remove_file(log);
    }
}
