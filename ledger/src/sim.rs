//! The simulator: the writer's real core and protocol on an imagined database, in one thread, on a manual clock, from one seed.
//!
//! A seed decides everything: which tenants ask for what, which writer hears of it, what arrives late, twice or with another body,
//! which posts and flushes fail before or after they took effect, when the database loses power, when a writer dies and when another
//! takes its shard over; which of two replicas that is, who asks it by letter, and which letters and replies are lost. After every step an oracle, which shares no line with the core, holds rows and answers against what was
//! promised. The same seed gives the same blocks on every machine; a failure prints its seed.

mod database;
mod mail;
mod oracle;
pub mod postgres;
mod workload;
mod world;

use self::world::World;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests that were asked, repetitions included.
    pub asked: u64,
    /// Answers that said: kept.
    pub kept: u64,
    /// Answers that said: refused.
    pub refused: u64,
    /// Blocks in the end.
    pub blocks: i64,
    /// Transfers in the end.
    pub transfers: u64,
    /// Power cuts of the database.
    pub crashes: u64,
    /// Times that a writer took the shard over.
    pub takeovers: u64,
    /// Posts and flushes that failed.
    pub faults: u64,
    /// Letters to another replica.
    pub letters: u64,
    /// Of these and their replies, those that were lost.
    pub lost: u64,
    /// The head's hash in the end, in hexadecimal: the whole run in one word.
    pub head: String,
}

/// Runs one seed for so many steps, then lets everything come to rest.
///
/// *Panics*: when anything is not as promised; the message says what, and the caller knows the seed.
pub fn run(seed: u64, steps: u32) -> Outcome {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.rest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_holds_in_some_seeds() {
        for seed in 0..60 {
            let outcome = std::panic::catch_unwind(|| run(seed, 400));
            assert!(outcome.is_ok(), "seed {seed} fails");
        }
    }

    #[test]
    fn a_seed_gives_the_same_blocks_every_time() {
        for seed in [1, 2, 3] {
            assert_eq!(run(seed, 300), run(seed, 300));
        }
        assert_ne!(run(1, 300).head, run(2, 300).head);
    }

    #[test]
    fn the_seeds_reach_what_they_are_for() {
        let mut all = Outcome::default();
        for outcome in (0..30).map(|seed| run(seed, 400)) {
            all.refused += outcome.refused;
            all.crashes += outcome.crashes;
            all.takeovers += outcome.takeovers;
            all.faults += outcome.faults;
            all.letters += outcome.letters;
            all.lost += outcome.lost;
        }
        assert!(all.refused > 100 && all.crashes > 10 && all.takeovers > 20 && all.faults > 100, "{all:?}");
        assert!(all.letters > 300 && all.lost > 100, "{all:?}");
    }
}
