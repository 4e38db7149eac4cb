//! `tokengrid-node run` looks after the part that serves, which is a process of its own.
//!
//! Whatever ends that part (an abort in the library, a stuck computation, the kernel for want of memory), its connection is gone at
//! once, so that its jobs go on elsewhere, and it is started again. Only an end that it chose itself is the program's end.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus};
use std::time::Instant;

use anyhow::Context;
use engine::node::backoff::{Backoff, SETTLED};
use primitives::id::Ids;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// The exit code of a serving part that cannot go on and may after a new start, `EX_SOFTWARE` of `sysexits.h`.
pub const BROKEN: u8 = 70;

/// Exit codes by which the serving part chose its end: well, by an error that will be there again, by wrong arguments.
const CHOSEN: [i32; 3] = [0, 1, 2];

/// Starts the serving part, again and again, until it chooses to end or this process is told to.
pub async fn supervise(ids: &Ids) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut backoff = Backoff::new();
    let mut told_to_end = false;
    for restarts in 0_u32.. {
        let began = Instant::now();
        let mut child = part(restarts).spawn().context("cannot start the part that serves")?;
        tracing::info!(process.id = child.id(), restarts, "serving part started");
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                _ = terminate.recv() => told_to_end = true,
                _ = interrupt.recv() => told_to_end = true,
            }
            terminate_child(&child);
        };
        if told_to_end || status.code().is_some_and(|code| CHOSEN.contains(&code)) {
            return Ok(code(status));
        }
        if began.elapsed() >= SETTLED {
            backoff = Backoff::new();
        }
        let delay = backoff.delay(ids);
        tracing::error!(status = %status, delay_ms = delay.as_millis() as u64, "serving part died, it is started again");
        tokio::select! {
            () = sleep(delay) => {}
            _ = terminate.recv() => return Ok(code(status)),
            _ = interrupt.recv() => return Ok(code(status)),
        }
    }
    Ok(ExitCode::from(BROKEN))
}

/// This program with the same arguments, as the part that serves. It dies with us.
fn part(restarts: u32) -> Command {
    let mut arguments = std::env::args_os();
    let mut part = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        part.arg0(name);
    }
    part.args(arguments).arg("--restarts").arg(restarts.to_string());
    let mut part = Command::from(part);
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        part.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before that.
            if u32::try_from(libc::getppid()) == Ok(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
        });
    }
    part
}

/// It finishes what runs and ends.
fn terminate_child(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
        // SAFETY: sending a signal touches no memory of ours, and the child is not reaped yet, so the number is its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

/// The part's exit code, or as a shell tells a signal.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(i32::from(BROKEN));
    ExitCode::from(u8::try_from(code).unwrap_or(BROKEN))
}
