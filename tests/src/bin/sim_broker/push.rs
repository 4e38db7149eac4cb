//! A router that names a node for each request when it comes, as every published rule does.

use crate::agenda::Agenda;
use crate::machine::{Did, Machine, Task};
use crate::outcome::Outcome;
use crate::prefixes::Prefixes;
use crate::rule::{Rule, Seen};
use crate::scene::{Run, Scene};
use crate::trace::{BLOCK_TOKENS, Request};

enum Thing {
    Comes(usize),
    Arrives { node: usize, request: usize },
    Acts { node: usize, version: u64 },
    Told { node: usize, did: Did },
}

/// What the router counts of a node: exactly, and at once.
struct Counted {
    machine: Machine,
    version: u64,
    in_flight: usize,
    decoding: usize,
    prefill_tokens: u64,
    active_tokens: u64,
    /// What the router expects in its cache: all that it sent there, as far as there is room.
    sent: Prefixes,
    speed: f64,
    off: f64,
}

/// Runs a scene under a rule.
pub fn run(scene: &Scene, rule: &mut dyn Rule) -> Run {
    let mut push = Push::new(scene);
    while let Some((now, thing)) = push.agenda.next() {
        push.happen(now, thing, rule);
    }
    let cost = push.nodes.iter().map(|node| node.machine.cost).sum();
    Run { outcomes: push.outcomes, cost, forecasts: None }
}

struct Push<'a> {
    scene: &'a Scene<'a>,
    agenda: Agenda<Thing>,
    nodes: Vec<Counted>,
    outcomes: Vec<Outcome>,
    /// What each request was expected to need when it was sent. *Units*: tokens.
    uncached: Vec<u32>,
}

impl<'a> Push<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        let mut agenda = Agenda::new();
        (0..scene.requests.len()).for_each(|request| agenda.set(scene.comes_at(request), Thing::Comes(request)));
        let nodes = scene.kinds.iter().zip(&scene.off).map(|(kind, off)| Counted {
            machine: Machine::new(kind, u32::MAX, false),
            version: 0,
            in_flight: 0,
            decoding: 0,
            prefill_tokens: 0,
            active_tokens: 0,
            sent: Prefixes::new(kind.blocks, false),
            speed: kind.prefill / off,
            off: *off,
        });
        Self { agenda, nodes: nodes.collect(), outcomes: scene.blank(), uncached: vec![0; scene.requests.len()], scene }
    }

    fn happen(&mut self, now: u64, thing: Thing, rule: &mut dyn Rule) {
        match thing {
            Thing::Comes(request) => self.send(now, request, rule),
            Thing::Arrives { node, request } => {
                let Request { input, output, blocks, .. } = &self.scene.requests[request];
                let task = Task { key: request as u64, input: *input, output: *output, blocks: blocks.clone() };
                self.nodes[node].machine.take(now, task);
                self.wake(node);
            }
            Thing::Acts { node, version } if self.nodes[node].version == version => {
                let back = now + self.nodes[node].machine.kind.rtt_us / 2;
                for did in self.nodes[node].machine.act(now) {
                    self.agenda.set(back, Thing::Told { node, did });
                }
                self.wake(node);
            }
            Thing::Acts { .. } => {}
            Thing::Told { node, did } => self.told(now, node, did),
        }
    }

    fn send(&mut self, now: u64, request: usize, rule: &mut dyn Rule) {
        let asked = &self.scene.requests[request];
        let seen: Vec<Seen> = self.nodes.iter().map(|node| node.seen(asked)).collect();
        let chosen = rule.choose(asked, &seen);
        let node = &mut self.nodes[chosen];
        self.uncached[request] = asked.input - seen[chosen].cached;
        node.in_flight += 1;
        node.prefill_tokens += u64::from(self.uncached[request]);
        node.active_tokens += u64::from(asked.input);
        node.sent.hold(&asked.blocks);
        self.agenda.set(now + node.machine.kind.rtt_us / 2, Thing::Arrives { node: chosen, request });
    }

    fn told(&mut self, now: u64, node: usize, did: Did) {
        let after_s = |request: usize| (now - self.scene.comes_at(request)) as f64 / 1e6;
        match did {
            Did::First { key, cached } => {
                let request = key as usize;
                self.nodes[node].decoding += 1;
                self.nodes[node].prefill_tokens -= u64::from(self.uncached[request]);
                let first_s = Some(after_s(request));
                self.outcomes[request] = Outcome { first_s, cached, ..self.outcomes[request] };
            }
            Did::Made { .. } => {}
            Did::Done { key } => {
                let request = key as usize;
                self.nodes[node].in_flight -= 1;
                self.nodes[node].decoding -= 1;
                self.nodes[node].active_tokens -= u64::from(self.scene.requests[request].input);
                self.outcomes[request].done_s = Some(after_s(request));
            }
        }
    }

    fn wake(&mut self, node: usize) {
        let counted = &mut self.nodes[node];
        counted.version += 1;
        if let Some(at) = counted.machine.next() {
            self.agenda.set(at, Thing::Acts { node, version: counted.version });
        }
    }
}

impl Counted {
    fn seen(&self, request: &Request) -> Seen {
        let cached = self.sent.matched(&request.blocks) as u32 * BLOCK_TOKENS;
        Seen {
            in_flight: self.in_flight,
            decoding: self.decoding,
            prefill_tokens: self.prefill_tokens,
            active_tokens: self.active_tokens,
            cached: cached.min(request.input - 1),
            speed: self.speed,
            off: self.off,
            kind: self.machine.kind,
        }
    }
}
