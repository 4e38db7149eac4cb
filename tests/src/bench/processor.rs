//! What a side takes of the machine: processor time and memory, as Linux tells in `/proc`.

use std::fs;

/// Processor time so far. *Units*: seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// A server, with its children.
    pub server: f64,
    /// This process and its children that have ended.
    pub client: f64,
}

impl Spent {
    /// As of now.
    pub fn now(server: u32) -> Self {
        let ticks = ticks_a_second();
        let own = Times::of(std::process::id()).map_or(0, |times| times.own + times.ended_children);
        Self { server: server_ticks(server) as f64 / ticks, client: own as f64 / ticks }
    }

    /// Both together.
    pub fn total(self) -> f64 {
        self.server + self.client
    }

    /// Since `before`.
    pub fn since(self, before: Self) -> Self {
        Self { server: self.server - before.server, client: self.client - before.client }
    }
}

/// What all processors of the machine have done so far. *Units*: ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    busy: f64,
    all: f64,
    ours: f64,
}

impl Machine {
    /// As of now; `ours` is what of it was ours, in seconds.
    pub fn now(ours: f64) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        // *Source*: proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
        let line = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let ticks: Vec<f64> = line.filter_map(|ticks| ticks.parse().ok()).collect();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        let all: f64 = ticks.iter().sum();
        Self { busy: all - idle, all, ours: ours * ticks_a_second() }
    }

    /// The share of the processors that others took since `before`: the less, the truer the figures.
    pub fn others_share_since(self, before: Self) -> f64 {
        let others = (self.busy - before.busy) - (self.ours - before.ours);
        (others / (self.all - before.all).max(1.0)).clamp(0.0, 1.0)
    }
}

fn ticks_a_second() -> f64 {
    // SAFETY: reads a number.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64
}

/// What this process and its children did so far. *Units*: seconds.
pub fn own_and_children() -> f64 {
    server_ticks(std::process::id()) as f64 / ticks_a_second()
}

/// Ticks of a process, of its children, and of those that have ended.
fn server_ticks(pid: u32) -> u64 {
    let Some(parent) = Times::of(pid) else { return 0 };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children: u64 = pids.filter_map(Times::of).filter(|times| times.parent == pid).map(|t| t.own).sum();
    parent.own + parent.ended_children + children
}

/// The process that started this one.
pub fn parent_of(pid: u32) -> Option<u32> {
    Times::of(pid).map(|times| times.parent)
}

/// The memory of this process that is in RAM. *Units*: bytes.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// How many processors the machine has for us.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Times {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Times {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// *Source*: proc(5), `/proc/PID/stat`; the name is in brackets and may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(4)?).ok()?,
            own: number(14)? + number(15)?,
            ended_children: number(16)? + number(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_odd_name_is_read_right() {
        let times = Times::parse("7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 0 0 11 12 13 14 20 0 1 0 5").unwrap();
        assert_eq!((times.parent, times.own, times.ended_children), (3, 23, 27));
        assert!(resident_bytes().unwrap() > 0);
    }
}
