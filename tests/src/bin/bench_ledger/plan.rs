//! How much is measured, and how long it may take.

use std::time::Duration;

/// Accounts that transfers and jobs are spread over, on every side.
pub const ACCOUNTS: usize = 10_000;
/// Connections of a side whose every caller needs one; more callers wait for them.
pub const CONNECTIONS_MAX: usize = 32;

/// The sizes of a run. *Units*: rows are transfers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What people call it.
    pub name: &'static str,
    /// Rounds, whose medians count.
    pub rounds: usize,
    /// How long each side is measured in each cell of a round, and how long it runs before.
    pub window: Duration,
    pub warm_up: Duration,
    /// Accounts of every side.
    pub accounts: usize,
    /// How many callers; the last is the crowd.
    pub callers: Vec<usize>,
    /// pgbench's scale; a unit is 100,000 of its accounts. And its seconds, which are whole.
    pub tpcb_scale: u32,
    pub tpcb_seconds: u64,
    /// What the filled ledger holds: accounts, of which the first are those of the others, and rows; and how long it may take
    /// to open and to fill them.
    pub filled_accounts: usize,
    pub filled_rows: u64,
    pub opening: Duration,
    pub filling: Duration,
    /// How long the verifier may take.
    pub verifying: Duration,
    /// Transfers of TigerBeetle's own benchmark.
    pub tigerbeetle_transfers: u64,
    /// No round begins that would end after this, if it took as long as the longest before.
    pub last_round: Duration,
}

impl Plan {
    /// Twenty minutes at most.
    pub fn full() -> Self {
        Self {
            name: "full",
            rounds: 3,
            window: Duration::from_millis(1_500),
            warm_up: Duration::from_millis(300),
            accounts: ACCOUNTS,
            callers: vec![1, 8, 32, 2_000],
            tpcb_scale: 50,
            tpcb_seconds: 3,
            filled_accounts: 1_000_000,
            filled_rows: 5_000_000,
            opening: Duration::from_secs(240),
            filling: Duration::from_secs(300),
            verifying: Duration::from_secs(60),
            tigerbeetle_transfers: 1_000_000,
            last_round: Duration::from_secs(900),
        }
    }

    /// Two minutes and a half at most.
    pub fn quick() -> Self {
        Self {
            name: "quick",
            window: Duration::from_millis(350),
            warm_up: Duration::from_millis(100),
            tpcb_scale: 5,
            tpcb_seconds: 1,
            filled_accounts: 50_000,
            filled_rows: 200_000,
            opening: Duration::from_secs(12),
            filling: Duration::from_secs(20),
            verifying: Duration::from_secs(10),
            tigerbeetle_transfers: 200_000,
            last_round: Duration::from_secs(125),
            ..Self::full()
        }
    }

    /// Seconds; only shows that everything works.
    pub fn tiny() -> Self {
        Self {
            name: "tiny",
            rounds: 1,
            window: Duration::from_millis(30),
            warm_up: Duration::ZERO,
            accounts: 50,
            callers: vec![1, 4],
            tpcb_scale: 1,
            filled_accounts: 100,
            filled_rows: 400,
            tigerbeetle_transfers: 1_000,
            ..Self::quick()
        }
    }

    /// The number of callers at which waiting for the disk rules: the last but one.
    pub fn crew(&self) -> usize {
        self.callers[self.callers.len() - 2]
    }

    /// The number of callers at which throughput rules: the last.
    pub fn crowd(&self) -> usize {
        self.callers[self.callers.len() - 1]
    }
}
