use std::collections::BTreeSet;

use primitives::kv_block;
use proptest::prelude::*;

use super::memory::{Memory, Token};
use super::*;

const SLOTS: usize = 3;

/// A cache, and what the backend holds after doing as it says.
struct Scene {
    cache: PrefixCache,
    memory: Memory,
    /// The tokens of what runs in each slot.
    running: [Option<Vec<Token>>; SLOTS],
    /// The blocks that were told, all changes applied.
    told: BTreeSet<BlockName>,
}

fn prefix(tokens: &[Token]) -> Prefix {
    let salt = tokens.first().map_or("", |&(salt, _)| salt);
    Prefix::new((salt != "private").then(|| salt.into()), tokens.iter().map(|&(_, id)| id).collect())
}

fn tokens(salt: &'static str, ids: impl IntoIterator<Item = u32>) -> Vec<Token> {
    ids.into_iter().map(|id| (salt, id)).collect()
}

impl Scene {
    fn new(saved_tokens_max: usize) -> Self {
        Self {
            cache: PrefixCache::new(SLOTS, saved_tokens_max),
            memory: Memory::new(SLOTS),
            running: Default::default(),
            told: Default::default(),
        }
    }

    fn act(&mut self) {
        for act in self.cache.take_acts() {
            self.memory.act(act);
        }
        for (name, held) in self.cache.take_changes() {
            assert!(if held { self.told.insert(name) } else { self.told.remove(&name) }, "each change is one");
        }
    }

    /// Begins in a slot and is fed everything; gives how much was held already.
    fn run(&mut self, slot: usize, all: &[Token]) -> usize {
        let held = self.begin(slot, all);
        self.feed(slot, all.len() - held);
        held
    }

    fn begin(&mut self, slot: usize, all: &[Token]) -> usize {
        let prefix = prefix(all);
        let hit = self.cache.find(&prefix, &[slot]).hit;
        self.cache.begin(slot, prefix, hit);
        self.act();
        self.running[slot] = Some(all.to_vec());
        let held = self.cache.held(slot);
        assert_eq!(self.memory.slots[slot], all[..held], "it goes on from its own tokens");
        held
    }

    fn feed(&mut self, slot: usize, tokens: usize) {
        let from = self.cache.feed(slot, tokens);
        let all = self.running[slot].as_ref().unwrap();
        assert_eq!(from, self.memory.slots[slot].len());
        self.memory.slots[slot].extend(&all[from..from + tokens]);
    }

    fn leave(&mut self, slot: usize) {
        self.cache.leave(slot);
        self.running[slot] = None;
        self.act();
    }

    /// The longest common beginning of all that is held, found by looking at everything.
    fn longest(&self, all: &[Token]) -> usize {
        let held = self.memory.slots.iter().chain(self.memory.saved.values());
        let common = |held: &Vec<Token>| held.iter().zip(all).take_while(|(a, b)| a == b && a.0 != "private").count();
        held.map(common).max().unwrap_or(0).min(all.len() - 1)
    }
}

#[test]
fn who_asks_the_same_again_feeds_one_token() {
    let mut scene = Scene::new(1000);
    let all = tokens("a", 0..100);
    assert_eq!(scene.run(0, &all), 0);
    scene.leave(0);
    assert_eq!(scene.run(0, &all), 99, "in its own slot");
    assert_eq!(scene.run(1, &all), 99, "beside the holder, which still runs");
    scene.leave(1);
    assert_eq!(scene.run(1, &tokens("b", 0..100)), 0, "another salt");
    assert_eq!(scene.run(2, &tokens("private", 0..100)), 0, "no salt");
}

#[test]
fn a_common_beginning_is_shared_to_the_token_and_the_rest_of_the_holder_is_kept() {
    let mut scene = Scene::new(1000);
    let (first, second) = (tokens("a", 0..100), tokens("a", (0..50).chain(200..260)));
    scene.run(0, &first);
    scene.leave(0);
    assert_eq!(scene.run(0, &second), 50);
    scene.leave(0);
    assert_eq!(scene.run(0, &first), 99, "it was saved before the slot was cut");
}

#[test]
fn what_is_shorter_than_a_block_is_not_worth_a_copy() {
    let mut scene = Scene::new(1000);
    scene.run(0, &tokens("a", 0..100));
    assert_eq!(scene.run(1, &tokens("a", (0..31).chain(200..260))), 0);
    assert_eq!(scene.run(2, &tokens("a", (0..32).chain(200..260))), 32);
}

#[test]
fn a_running_holder_tells_how_far_it_will_come() {
    let mut scene = Scene::new(1000);
    let all = tokens("a", 0..100);
    scene.begin(0, &all);
    scene.feed(0, 40);
    let found = scene.cache.find(&prefix(&tokens("a", (0..90).chain(200..210))), &[]);
    assert_eq!(found.hit, Some(Hit { place: Place::Slot(0), tokens: 40 }));
    assert_eq!(found.coming, Some(Coming { slot: 0, tokens: 90 }));
    scene.leave(0);
    let found = scene.cache.find(&prefix(&all), &[]);
    assert_eq!((found.hit.map(|hit| hit.tokens), found.coming), (Some(40), None), "what was not fed will not come");
}

#[test]
fn saved_states_give_way_in_the_order_of_their_last_use() {
    let mut scene = Scene::new(250);
    let sessions: Vec<_> = (0..3).map(|session| tokens("a", session * 1000..session * 1000 + 100)).collect();
    for session in &sessions {
        scene.run(0, session);
        scene.leave(0);
    }
    assert_eq!(scene.memory.saved_tokens(), 200, "0 and 1 are saved, 2 is in the slot");
    assert_eq!(scene.run(1, &sessions[0]), 99);
    scene.leave(1);
    scene.run(0, &tokens("b", 0..100));
    assert_eq!(scene.longest(&sessions[1]), 0, "2 is saved in its place");
    assert_eq!((scene.longest(&sessions[0]), scene.longest(&sessions[2])), (99, 99));
}

#[test]
fn a_longer_state_takes_the_place_of_the_shorter_that_it_goes_on_from() {
    let mut scene = Scene::new(1000);
    for turn in 1..4 {
        assert_eq!(scene.run(0, &tokens("a", 0..turn * 100)) as u32, if turn == 1 { 0 } else { (turn - 1) * 100 });
        scene.leave(0);
        scene.run(0, &tokens("b", 0..40));
        scene.leave(0);
    }
    assert_eq!(scene.memory.saved.values().map(Vec::len).collect::<Vec<_>>(), [40, 300]);
}

#[test]
fn without_room_nothing_is_saved_and_nothing_breaks() {
    let mut scene = Scene::new(0);
    let all = tokens("a", 0..100);
    scene.run(0, &all);
    scene.leave(0);
    scene.run(0, &tokens("b", 0..100));
    assert!(scene.memory.saved.is_empty());
    assert_eq!(scene.run(1, &all), 0);
}

#[test]
fn a_block_whose_name_is_another_prefixs_is_compared_and_not_shared() {
    let mut scene = Scene::new(1000);
    let (held, asked) = (tokens("a", 0..100), tokens("a", 500..600));
    scene.run(0, &held);
    let name = kv_block::names("a", &asked.iter().map(|&(_, id)| id).collect::<Vec<_>>())[0];
    scene.cache.blocks.insert(name, vec![Place::Slot(0)]);
    assert_eq!(scene.cache.find(&prefix(&asked), &[0]).hit, None);
}

#[derive(Clone, Debug)]
enum Do {
    Begin { slot: usize, all: Vec<Token> },
    Feed { slot: usize, share: usize },
    Push { slot: usize, id: u32 },
    Leave { slot: usize },
    Forget { slot: usize },
    Move { from: usize, to: usize },
}

fn some_tokens() -> impl Strategy<Value = Vec<Token>> {
    let salt = prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just("private")];
    // Few beginnings, cut anywhere, and few ends: so that much is common.
    (salt, 0_usize..100, 0_u32..3, 1_u32..80).prop_map(|(salt, common, end, rest)| {
        tokens(salt, (0..common as u32).chain((0..rest).map(|id| 1000 * end + id)))
    })
}

fn doings() -> impl Strategy<Value = Vec<Do>> {
    let slot = || 0..SLOTS;
    let doing = prop_oneof![
        4 => (slot(), some_tokens()).prop_map(|(slot, all)| Do::Begin { slot, all }),
        4 => (slot(), 1_usize..4).prop_map(|(slot, share)| Do::Feed { slot, share }),
        2 => (slot(), 0_u32..3).prop_map(|(slot, id)| Do::Push { slot, id }),
        3 => slot().prop_map(|slot| Do::Leave { slot }),
        1 => slot().prop_map(|slot| Do::Forget { slot }),
        1 => (slot(), slot()).prop_map(|(from, to)| Do::Move { from, to }),
    ];
    proptest::collection::vec(doing, 1..80)
}

proptest! {
    #[test]
    fn the_longest_prefix_is_found_and_every_copy_is_exact(doings in doings(), asked in some_tokens(), room in 0_usize..400) {
        let mut scene = Scene::new(room);
        for doing in doings {
            match doing {
                Do::Begin { slot, all } if scene.running[slot].is_none() => drop(scene.begin(slot, &all)),
                Do::Feed { slot, share } if scene.running[slot].is_some() => {
                    scene.feed(slot, scene.cache.left(slot).div_ceil(share));
                }
                Do::Push { slot, id } if scene.running[slot].is_some() => {
                    let all = scene.running[slot].as_mut().unwrap();
                    all.push((all[0].0, id));
                    scene.cache.push(slot, id);
                }
                Do::Leave { slot } if scene.running[slot].is_some() => scene.leave(slot),
                Do::Forget { slot } if scene.running[slot].is_some() => {
                    scene.cache.forget(slot);
                    scene.running[slot] = None;
                    scene.act();
                    prop_assert!(scene.memory.slots[slot].is_empty());
                }
                Do::Move { from, to } if scene.running[from].is_some() && scene.running[to].is_none() => {
                    scene.cache.move_slot(from, to);
                    scene.running[to] = scene.running[from].take();
                    scene.act();
                    prop_assert!(scene.memory.slots[from].is_empty());
                }
                _ => {}
            }
            prop_assert!(scene.memory.saved_tokens() <= room);
            prop_assert_eq!(scene.memory.saved_tokens(), scene.cache.saved_tokens());
            for (slot, held) in scene.memory.slots.iter().enumerate() {
                prop_assert_eq!(held.len(), scene.cache.held(slot));
            }
            let longest = scene.longest(&asked);
            let found = scene.cache.find(&prefix(&asked), &[]).hit.map_or(0, |hit| hit.tokens);
            prop_assert_eq!(found, if longest >= BLOCK_TOKENS { longest } else { 0 });
        }
        for slot in 0..SLOTS {
            if scene.running[slot].is_some() {
                scene.leave(slot);
            }
        }
        let held: BTreeSet<_> = scene.memory.slots.iter().chain(scene.memory.saved.values())
            .flat_map(|held| prefix(held).names().to_vec()).collect();
        prop_assert_eq!(&scene.told, &held, "what is told is what is held");
    }
}
