//! How long to wait before the next attempt to connect.

use std::time::Duration;

use primitives::id::Ids;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(5);

/// A connection that lived this long was a good one: the next delay is the first again.
pub const SETTLED: Duration = MOST;

/// Delays that double from 100 ms to 5 s, each drawn between its half and its whole, so that nodes that lost the same
/// control plane do not come back in one wave.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// As after a good connection.
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// The delay before the next attempt.
    pub fn delay(&mut self, ids: &Ids) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(MOST);
        let [byte] = ids.bytes();
        whole / 2 + whole / 2 * u32::from(byte) / 255
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use primitives::clock::Clock;

    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_differ() {
        let ids = Ids::seeded(Clock::system(), 1);
        let mut backoff = Backoff::new();
        let mut whole = FIRST;
        for _ in 0..12 {
            let delay = backoff.delay(&ids);
            assert!(whole / 2 <= delay && delay <= whole, "{delay:?} of {whole:?}");
            whole = (whole * 2).min(MOST);
        }
        let late: Vec<Duration> = (0..8).map(|_| backoff.delay(&ids)).collect();
        assert!(late.iter().any(|delay| *delay != late[0]));
    }
}
