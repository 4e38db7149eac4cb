use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::prefix_cache::memory::{Memory, Token};

/// Room for saved states. *Units*: tokens.
const SAVED: usize = 1000;

fn limits() -> Limits {
    Limits { slots_max: 4, waiting_max: 3, step_tokens_max: 20, chunk_tokens_max: 8, token_interval: None }
}

fn part(id: SequenceId, slot: usize, from: usize, tokens: usize, draws: bool) -> Part {
    Part { id, slot, from, tokens, draws }
}

/// Tokens of no salt: nothing of them is shared.
fn private(tokens: usize) -> Prefix {
    Prefix::new(None, vec![0; tokens])
}

fn shared(salt: &str, ids: impl IntoIterator<Item = u32>) -> Prefix {
    Prefix::new(Some(salt.into()), ids.into_iter().collect())
}

fn with_priority(priority: u8) -> Rank {
    Rank { priority, ..Rank::default() }
}

impl Scheduler {
    fn admit_tokens(&mut self, id: SequenceId, tokens: usize) {
        self.admit(id, Rank::default(), private(tokens)).unwrap();
    }

    /// Plans a step and draws a token for everyone whose turn it is.
    fn step(&mut self, now: Instant) -> Step {
        let step = self.plan(now);
        for part in step.parts.iter().filter(|part| part.draws) {
            self.push(part.id, 7);
        }
        step
    }

    /// Removes whoever decodes first in each step and gives the order.
    fn order(&mut self, sequences: usize) -> Vec<SequenceId> {
        let next = |_| {
            let id = self.step(Instant::now()).parts[0].id;
            self.remove(id);
            id
        };
        (0..sequences).map(next).collect()
    }
}

#[test]
fn running_sequences_decode_beside_a_long_prompt_that_comes_in_chunks() {
    let mut scheduler = Scheduler::new(limits(), SAVED);
    let now = Instant::now();
    scheduler.admit_tokens(1, 3);
    assert_eq!(scheduler.step(now).parts, [part(1, 0, 0, 3, true)]);
    scheduler.admit_tokens(2, 18);
    assert_eq!(scheduler.step(now).parts, [part(1, 0, 3, 1, true), part(2, 1, 0, 8, false)]);
    assert_eq!(scheduler.step(now).parts, [part(1, 0, 4, 1, true), part(2, 1, 8, 8, false)]);
    assert_eq!(scheduler.step(now).parts, [part(1, 0, 5, 1, true), part(2, 1, 16, 2, true)]);
    assert_eq!(scheduler.step(now).parts, [part(1, 0, 6, 1, true), part(2, 1, 18, 1, true)]);
}

#[test]
fn prompts_share_the_budget_in_the_order_they_came() {
    let mut scheduler = Scheduler::new(limits(), SAVED);
    for id in 1..=4 {
        scheduler.admit_tokens(id, 8);
    }
    let first = scheduler.step(Instant::now()).parts;
    assert_eq!(first, [part(1, 0, 0, 8, true), part(2, 1, 0, 8, true), part(3, 2, 0, 4, false)]);
}

#[test]
fn a_higher_priority_goes_first_and_equals_keep_their_order() {
    let mut scheduler = Scheduler::new(Limits { slots_max: 1, ..limits() }, SAVED);
    for (id, priority) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        scheduler.admit(id, with_priority(priority), private(1)).unwrap();
    }
    assert_eq!(scheduler.order(4), [3, 4, 1, 2]);
}

#[test]
fn among_equals_who_has_begun_and_then_the_earlier_deadline_goes_first() {
    let mut scheduler = Scheduler::new(Limits { slots_max: 1, waiting_max: 4, ..limits() }, SAVED);
    let now = Instant::now();
    let due = |seconds| Rank { due: Some(now + Duration::from_secs(seconds)), ..Rank::default() };
    for (id, rank) in [(1, Rank::default()), (2, due(9)), (3, due(3)), (4, Rank { begun: true, ..Rank::default() })] {
        scheduler.admit(id, rank, private(1)).unwrap();
    }
    assert_eq!(scheduler.order(4), [4, 3, 2, 1]);
}

#[test]
fn a_salt_that_asks_for_much_does_not_crowd_out_one_that_asks_for_little() {
    let mut scheduler = Scheduler::new(Limits { slots_max: 1, waiting_max: 9, ..limits() }, SAVED);
    for id in 0..6 {
        scheduler.admit(id, Rank::default(), shared("much", [id as u32; 8])).unwrap();
    }
    for id in 6..8 {
        scheduler.admit(id, Rank::default(), shared("little", [id as u32; 8])).unwrap();
    }
    assert_eq!(scheduler.order(8), [0, 6, 1, 7, 2, 3, 4, 5]);
}

#[test]
fn a_full_engine_refuses() {
    let mut scheduler = Scheduler::new(limits(), SAVED);
    for id in 0..7 {
        scheduler.admit_tokens(id, 1);
    }
    assert_eq!(scheduler.admit(7, Rank::default(), private(1)), Err(Full));
    scheduler.remove(0);
    assert_eq!(scheduler.admit(7, Rank::default(), private(1)), Ok(()));
}

#[test]
fn a_hole_is_filled_by_the_next_that_waits_else_by_the_last_that_runs() {
    let mut scheduler = Scheduler::new(limits(), SAVED);
    let now = Instant::now();
    for id in 0..5 {
        scheduler.admit_tokens(id, 1);
    }
    scheduler.step(now);
    scheduler.remove(1);
    let step = scheduler.step(now);
    assert_eq!((step.acts, step.begun), (vec![Act::Trim { slot: 1, tokens: 0 }], vec![(4, 0)]), "4 takes slot 1");
    scheduler.remove(0);
    scheduler.remove(3);
    let step = scheduler.step(now);
    assert_eq!(step.acts[2..], [Act::Copy { from: 2, to: 0 }, Act::Trim { slot: 2, tokens: 0 }]);
    assert_eq!(step.parts, [part(2, 0, 2, 1, true), part(4, 1, 1, 1, true)]);
}

#[test]
fn a_paced_sequence_waits_for_its_instant_and_says_which() {
    let interval = Duration::from_millis(50);
    let mut scheduler = Scheduler::new(Limits { token_interval: Some(interval), ..limits() }, SAVED);
    let now = Instant::now();
    scheduler.admit_tokens(1, 2);
    assert_eq!(scheduler.step(now).parts.len(), 1);
    let idle = scheduler.step(now + interval / 2);
    assert_eq!((idle.parts.len(), idle.wake_at), (0, Some(now + interval)));
    assert_eq!(scheduler.step(now + interval).parts, [part(1, 0, 2, 1, true)]);
}

#[test]
fn of_a_burst_with_one_beginning_one_computes_it_and_the_others_copy() {
    let mut scheduler = Scheduler::new(Limits { chunk_tokens_max: 32, step_tokens_max: 128, ..limits() }, SAVED);
    let now = Instant::now();
    for id in 0..4 {
        scheduler.admit(id, Rank::default(), shared("a", (0..96).chain([1000 + id as u32; 4]))).unwrap();
    }
    for from in [0, 32, 64] {
        assert_eq!(scheduler.step(now).parts, [part(0, 0, from, 32, false)], "the others wait for it");
    }
    let step = scheduler.step(now);
    assert_eq!(step.begun, [(1, 96), (2, 96), (3, 96)]);
    assert_eq!(step.parts, [0, 1, 2, 3].map(|id| part(id, id as usize, 96, 4, true)));
}

#[test]
fn when_the_one_that_computes_for_others_is_cancelled_the_next_goes_on_from_there() {
    let mut scheduler = Scheduler::new(Limits { chunk_tokens_max: 32, ..limits() }, SAVED);
    let now = Instant::now();
    for id in 0..3 {
        scheduler.admit(id, Rank::default(), shared("a", 0..100)).unwrap();
    }
    scheduler.step(now);
    scheduler.step(now);
    scheduler.remove(0);
    let step = scheduler.step(now);
    assert_eq!((step.begun, step.parts), (vec![(1, 40)], vec![part(1, 0, 40, 20, false)]), "in the same slot");
}

#[test]
fn nobody_waits_for_one_of_a_lower_priority() {
    let mut scheduler = Scheduler::new(limits(), SAVED);
    let now = Instant::now();
    scheduler.admit(0, with_priority(0), shared("a", 0..100)).unwrap();
    scheduler.step(now);
    scheduler.admit(1, with_priority(1), shared("a", 0..100)).unwrap();
    assert_eq!(scheduler.step(now).begun, [(1, 0)]);
}

#[test]
fn a_higher_priority_takes_the_slot_of_the_lowest_which_later_goes_on_from_its_saved_state() {
    let mut scheduler = Scheduler::new(Limits { slots_max: 2, ..limits() }, SAVED);
    let now = Instant::now();
    scheduler.admit(0, with_priority(1), shared("a", 0..8)).unwrap();
    scheduler.admit(1, with_priority(0), shared("b", 0..8)).unwrap();
    for _ in 0..41 {
        scheduler.step(now);
    }
    scheduler.admit(2, with_priority(1), shared("c", 0..8)).unwrap();
    let step = scheduler.step(now);
    assert_eq!(step.acts, [Act::Save { slot: 1, saved: 0 }, Act::Trim { slot: 1, tokens: 0 }]);
    assert_eq!(step.begun, [(2, 0)]);
    assert_eq!(scheduler.running(), 2);
    scheduler.remove(2);
    let step = scheduler.step(now);
    assert_eq!(step.acts.last(), Some(&Act::Restore { saved: 0, slot: 1 }));
    assert_eq!((step.begun, step.parts[1]), (vec![(1, 48)], part(1, 1, 48, 1, true)), "only its last token is fed");
}

#[test]
fn without_saved_states_a_preempted_sequence_is_computed_again() {
    let mut scheduler = Scheduler::new(Limits { slots_max: 1, ..limits() }, 0);
    let now = Instant::now();
    scheduler.admit(0, with_priority(0), shared("a", 0..8)).unwrap();
    scheduler.step(now);
    scheduler.step(now);
    scheduler.admit(1, with_priority(1), shared("b", 0..8)).unwrap();
    assert_eq!(scheduler.step(now).begun, [(1, 0)]);
    scheduler.remove(1);
    assert_eq!(scheduler.step(now).parts, [part(0, 0, 0, 8, false)]);
    assert_eq!(scheduler.step(now).parts, [part(0, 0, 8, 2, true)], "its two drawn tokens too");
}

#[derive(Clone, Debug)]
enum Do {
    Admit { priority: u8, salt: &'static str, common: u32, end: u32, rest: u32 },
    Leave { which: prop::sample::Index, in_doubt: bool },
    Step,
}

fn doings() -> impl Strategy<Value = Vec<Do>> {
    let salt = prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just("private")];
    let doing = prop_oneof![
        3 => (0_u8..3, salt, 0_u32..80, 0_u32..3, 1_u32..20).prop_map(|(priority, salt, common, end, rest)| Do::Admit {
            priority, salt, common, end, rest
        }),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, in_doubt)| Do::Leave { which, in_doubt }),
        6 => Just(Do::Step),
    ];
    proptest::collection::vec(doing, 1..150)
}

proptest! {
    #[test]
    fn every_step_keeps_the_promises(doings in doings(), saved_tokens_max in 0_usize..300) {
        let limits = limits();
        let mut scheduler = Scheduler::new(limits, saved_tokens_max);
        let mut memory = Memory::new(limits.slots_max);
        let now = Instant::now();
        // What each sequence consists of, and whether its last token alone is to be fed in the next step.
        let mut live: BTreeMap<SequenceId, Vec<Token>> = BTreeMap::new();
        let mut decoding: Vec<SequenceId> = Vec::new();
        for (id, doing) in (0..).zip(doings) {
            match doing {
                Do::Admit { priority, salt, common, end, rest } => {
                    let ids: Vec<u32> = (0..common).chain((0..rest).map(|id| 1000 * end + id)).collect();
                    let prefix = Prefix::new((salt != "private").then(|| salt.into()), ids.clone());
                    let room = live.len() < limits.slots_max + limits.waiting_max;
                    prop_assert_eq!(scheduler.admit(id, with_priority(priority), prefix).is_ok(), room);
                    if room {
                        live.insert(id, ids.into_iter().map(|id| (salt, id)).collect());
                    }
                }
                Do::Leave { which, in_doubt } if !live.is_empty() => {
                    let id = *live.keys().nth(which.index(live.len())).unwrap();
                    live.remove(&id);
                    decoding.retain(|other| *other != id);
                    if in_doubt { scheduler.remove_in_doubt(id) } else { scheduler.remove(id) }
                }
                Do::Leave { .. } => scheduler.remove(id),
                Do::Step => {
                    let step = scheduler.plan(now);
                    step.acts.into_iter().for_each(|act| memory.act(act));
                    prop_assert!(memory.saved_tokens() <= saved_tokens_max);
                    prop_assert!(step.parts.iter().map(|part| part.tokens).sum::<usize>() <= limits.step_tokens_max);
                    prop_assert!(step.parts.is_sorted_by(|a, b| a.slot < b.slot), "one part a slot, in order");
                    prop_assert_eq!(step.parts.is_empty(), live.is_empty(), "work while anyone lives");
                    let running = scheduler.running();
                    prop_assert!(scheduler.running[..running].iter().all(Option::is_some), "slots are dense");
                    let prefills = step.parts.iter().any(|part| part.tokens > 1);
                    prop_assert!(running == live.len().min(limits.slots_max) || prefills, "a slot idles only for a prefix");
                    let still_running = |id: &SequenceId| scheduler.slot(*id).is_some();
                    for id in decoding.iter().filter(|id| still_running(id)) {
                        prop_assert!(step.parts.iter().any(|part| part.id == *id), "every running stream goes on");
                    }
                    decoding.clear();
                    for part in step.parts {
                        let all = live.get_mut(&part.id).unwrap();
                        let held = &mut memory.slots[part.slot];
                        prop_assert_eq!(&held[..], &all[..part.from], "it goes on from its own tokens");
                        held.extend(&all[part.from..part.from + part.tokens]);
                        prop_assert!(part.tokens > 0 && part.tokens <= limits.chunk_tokens_max);
                        prop_assert_eq!(part.draws, held.len() == all.len());
                        if part.draws {
                            let drawn = all.len() as u32 % 5;
                            all.push((all[0].0, drawn));
                            scheduler.push(part.id, drawn);
                            decoding.push(part.id);
                        }
                    }
                }
            }
        }
    }
}
