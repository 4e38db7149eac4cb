//! Things that happen to a house, drawn from a seed: enough to fill a month with every kind of entry.

use chrono::{DateTime, TimeDelta, Utc};
use ledger::{AccountKey, Code, Error, GroupRef, JournalEntry, JournalLine, Leaf, economics::Bucket, unit};
use primitives::id::JobId;
use primitives::money::{Currency, Nanos};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::House;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Event {
    Grant(i64),
    TopUp(i64),
    /// A job that holds, costs that many hundredths of its hold, and passes that many hundredths of this on.
    Job(i64, i64, i64),
    /// A job that fails.
    Void(i64),
    /// A job that goes on.
    Open(i64),
    /// An entry by hand between two of the platform's accounts.
    Entry(usize, usize, usize, i64),
    /// Takes the latest entry, payment or grant back.
    Reverse,
    Wait(i64),
}

/// That many events; the same seed gives the same ones.
pub fn events(seed: u8, count: usize) -> Vec<Event> {
    let amount = || prop_oneof![1_i64..2_000, 1_i64..5_000_000_000_000];
    let event = prop_oneof![
        1 => amount().prop_map(Event::Grant),
        3 => amount().prop_map(Event::TopUp),
        8 => (1_i64..3_000_000, 0_i64..=100, 0_i64..=100).prop_map(|(held, cost, share)| Event::Job(held, cost, share)),
        2 => (1_i64..3_000).prop_map(Event::Void),
        1 => (1_i64..3_000).prop_map(Event::Open),
        3 => (0_usize..4, 0..ENTRIES.len(), 0..ENTRIES.len(), amount()).prop_map(|(unit, debit, credit, amount)| {
            Event::Entry(unit, debit, credit, amount)
        }),
        1 => Just(Event::Reverse),
        6 => (0_i64..4_000).prop_map(Event::Wait),
    ];
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let story = proptest::collection::vec(event, count).new_tree(&mut runner).unwrap();
    story.current()
}

const ENTRIES: [Code; 8] = [
    Code::Bank,
    Code::ProcessorClearing,
    Code::ProcessorFees,
    Code::TaxPayable,
    Code::BadDebt,
    Code::LicenceRevenue,
    Code::Rounding,
    Code::Suspense,
];

/// Lets them happen, one after the other; what is refused for want of credit is left out.
pub async fn live(house: &House, events: &[Event]) {
    let (mut payments, mut reversible) = (0, None);
    for event in events {
        let block = match *event {
            Event::Grant(amount) => {
                house.grant(amount, TimeDelta::days(40)).await;
                None
            }
            Event::TopUp(amount) => {
                payments += 1;
                let reference = format!("pay; \"{payments}\", {}", house.clock.now());
                house.top_up(amount, &reference).await;
                Some(())
            }
            Event::Job(held, cost, share) => {
                let job = house.job(held);
                if let Ok(mut hold) = house.writer.hold(job.clone()).await {
                    hold.durable().await.unwrap();
                    let charge = (held * cost / 100).max(1);
                    house.writer.settle(house.settlement(job.job_id, charge, charge * share / 100)).await.unwrap();
                }
                None
            }
            Event::Void(held) => {
                let job = house.job(held);
                if house.writer.hold(job.clone()).await.is_ok() {
                    house.writer.void(job.job_id).await.unwrap();
                }
                None
            }
            Event::Open(held) => {
                if let Ok(mut hold) = house.writer.hold(house.job(held)).await {
                    hold.durable().await.unwrap();
                }
                None
            }
            Event::Entry(unit, debit, credit, amount) => {
                let units = [Currency::USD, "EUR".parse().unwrap(), unit::tokens(), unit::gpu_hours()];
                if debit == credit {
                    continue;
                }
                entry(house, units[unit], (ENTRIES[debit], ENTRIES[credit]), amount, None).await.unwrap();
                Some(())
            }
            Event::Reverse => {
                if let Some(head) = reversible {
                    match house.writer.reverse(GroupRef::Head(head), "it was wrong").await {
                        Ok(_)
                        | Err(Error::Overdraft { .. } | Error::NothingToReverse { .. } | Error::IdReused { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                None
            }
            Event::Wait(seconds) => {
                house.clock.advance(TimeDelta::seconds(seconds));
                None
            }
        };
        if block.is_some() {
            reversible = Some(house.count("SELECT max(seq) FROM ledger.transfers WHERE link_id IS NOT NULL").await);
        }
    }
}

/// Books by hand between two of the platform's accounts, in a month or in the open one.
pub async fn entry(
    house: &House,
    unit: Currency,
    (debit, credit): (Code, Code),
    amount: i64,
    month: Option<&str>,
) -> Result<ledger::BlockRef, Error> {
    let leaf = (debit.revenue() || credit.revenue()).then(|| Leaf::new(Bucket::Licence, "licence"));
    let line = JournalLine {
        debit: AccountKey::platform(debit, unit),
        credit: AccountKey::platform(credit, unit),
        amount: Nanos(amount),
        leaf,
    };
    let month = month.map(|month| month.parse().unwrap());
    let entry_id = house.ids.next::<JobId>().0;
    house.writer.post(JournalEntry { entry_id, lines: vec![line], month, reason: "a test".into() }).await
}

/// Moves the clock forward to an instant.
pub fn wait_until(house: &House, at: &str) {
    let at: DateTime<Utc> = at.parse().unwrap();
    house.clock.advance(at - house.clock.now());
}
