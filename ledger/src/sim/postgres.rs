//! The same workload on a real PostgreSQL: the writer's task with its connections, which die again and again.

use std::sync::Arc;

use chrono::TimeDelta;
use primitives::clock::Clock;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::Outcome;
use super::workload::{Wish, Workload, below};
use crate::block::BlockRef;
use crate::error::Error;
use crate::proof;
use crate::recipe::GroupKey;
use crate::repo::{self, post};
use crate::writer::{Writer, WriterTask};
use crate::{SHARD, core::Needs};

/// How many callers wait at once.
const CALLERS_MAX: usize = 64;

/// An asking with its answer; none while nobody answered, or nobody could.
type Asked = (Arc<Wish>, Option<Result<BlockRef, String>>);

/// Runs one seed for so many steps on an empty, migrated database, then lets everything come to rest.
///
/// What the seed decides is the workload and the faults; how the machine interleaves them is its own. *Panics*: when anything is
/// not as promised. *Errors*: a database that stays away.
pub async fn run(pool: &PgPool, seed: u64, steps: u32) -> Result<Outcome, Error> {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let clock = Clock::manual("2026-10-28T12:00:00Z".parse().expect("it is an instant"));
    let mut workload = Workload::new();
    let mut outcome = Outcome::default();
    let mut asked: Vec<Asked> = Vec::new();
    let mut calls = JoinSet::new();
    let (mut writer, mut task) = Writer::start(pool.clone(), clock.clone()).await?;
    for _ in 0..steps {
        match below(&mut random, 100) {
            0..3 => {
                // Every connection of the writer's dies; what it was doing may have taken effect or not.
                outcome.faults += repo::simulate::terminate_others(pool).await?;
            }
            3..5 => {
                // The writer's process dies, and another one takes the shard over.
                drop(task);
                (writer, task) = Writer::start(pool.clone(), clock.clone()).await?;
                outcome.takeovers += 1;
            }
            5..8 => clock.advance(TimeDelta::seconds(below(&mut random, 100_000) as i64)),
            8..10 => drop(writer.void_expired().await),
            10..18 if !asked.is_empty() => {
                let old = below(&mut random, asked.len() as u64) as usize;
                let wish = asked[old].0.clone();
                let wish = if below(&mut random, 4) == 0 { Arc::new(wish.altered()) } else { wish };
                ask(&mut calls, &writer, asked.len(), wish.clone());
                asked.push((wish, None));
            }
            _ => {
                let wish = Arc::new(workload.wish(&mut random, clock.now()));
                ask(&mut calls, &writer, asked.len(), wish.clone());
                asked.push((wish, None));
            }
        }
        while calls.len() >= CALLERS_MAX {
            hear(&mut calls, &mut asked).await;
        }
    }
    while !calls.is_empty() {
        hear(&mut calls, &mut asked).await;
    }
    drop(task);
    let (writer, task) = Writer::start(pool.clone(), clock).await?;
    for (wish, answer) in asked.iter_mut().filter(|(_, answer)| answer.is_none()) {
        *answer = Some(writer.route.ask(wish.request()).await.map_err(|error| error.to_string()));
    }
    close(pool, task, &asked, outcome).await
}

fn ask(calls: &mut JoinSet<(usize, Result<BlockRef, Error>)>, writer: &Writer, number: usize, wish: Arc<Wish>) {
    let writer = writer.clone();
    calls.spawn(async move { (number, writer.route.ask(wish.request()).await) });
}

async fn hear(calls: &mut JoinSet<(usize, Result<BlockRef, Error>)>, asked: &mut [Asked]) {
    let Some(Ok((number, answer))) = calls.join_next().await else { return };
    asked[number].1 = match answer {
        Ok(block) => Some(Ok(block)),
        // Nobody knows; it is asked again in the end.
        Err(Error::Stopped | Error::Unavailable | Error::Database(_)) => None,
        Err(error) => Some(Err(error.to_string())),
    };
}

/// Everything that was said to be kept is there, once, and the books prove themselves.
async fn close(pool: &PgPool, task: WriterTask, asked: &[Asked], mut outcome: Outcome) -> Result<Outcome, Error> {
    task.shutdown().await?;
    let mut conn = pool.acquire().await?;
    for (wish, answer) in asked {
        outcome.asked += 1;
        match answer {
            Some(Err(_)) => outcome.refused += 1,
            None => panic!("{wish:?} was never answered"),
            Some(Ok(block)) => {
                outcome.kept += 1;
                let (key, body) = (wish.request().key(), wish.request().body());
                let needs = Needs { owners: Vec::new(), links: vec![key.link] };
                let groups = post::knowledge(&mut conn, SHARD, &needs).await?.0.groups;
                let found = groups.into_iter().find(|(other, _): &(GroupKey, _)| *other == key);
                let (_, known) = found.unwrap_or_else(|| panic!("{key:?} was said to be kept and is not"));
                assert_eq!((known.body, known.height, known.hash), (body, block.height, Some(block.hash)), "{key:?}");
            }
        }
    }
    let found = proof::verify(&mut conn, |_, _| {}).await?;
    assert!(found.passed(), "{found:?}");
    let (mut debits, mut credits) = (0, 0);
    for row in crate::trial_balance(&mut conn).await? {
        debits += row.debits;
        credits += row.credits;
    }
    assert_eq!(debits, credits, "the trial balance balances");
    outcome.blocks = found.blocks;
    outcome.transfers = u64::try_from(found.transfers).unwrap_or_default();
    outcome.head = found.heads.first().map(|(_, head)| head.hash_hex()).unwrap_or_default();
    Ok(outcome)
}
