//! Ours: the production core on virtual time, and simulated nodes that speak the node protocol to it.

use std::collections::HashMap;

use broker::Settings;
use broker::ask::{Ask, AskPrices};
use broker::cell::CellSnapshot;
use broker::core::{Core, Output};
use broker::job::{Class, Job, JobEvent, Segment};
use broker::node::NodeSession;
use broker::standing::Standing;
use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::id::{AskId, JobId, NodeId, ProviderId, TenantId};
use primitives::kv_block;
use primitives::money::{AttoPrice, Currency};
use primitives::node_protocol::{
    BLOCK_NEWS_MAX, FinishReason, FromNode, Load, ModelLoad, NodeDescriptor, Outlook, Receipt, Sampling, ServedModel,
    SignedReceipt, Tier, ToNode, TokenFrame,
};
use uuid::Uuid;

use crate::agenda::Agenda;
use crate::faults::{Chaos, Faults};
use crate::kind::{Kind, STEP_MAX_S};
use crate::machine::{Did, Key, Machine, Task};
use crate::oracle::{Oracle, Seen};
use crate::outcome::Outcome;
use crate::scene::{Run, Scene};
use crate::trace::BLOCK_TOKENS;

const MODEL: &str = "simulated";
/// Tokens between two frames of a job.
const FRAME_TOKENS: u32 = 64;
/// How long a lease's record takes. *Units*: µs.
const RECORD_US: u64 = 2_000;
const HEARTBEAT_US: u64 = 1_000_000;
const CONTEXT_TOKENS: u32 = 1 << 20;
/// The protocol's blocks in one of the trace.
const NAMES: u64 = BLOCK_TOKENS as u64 / kv_block::BLOCK_TOKENS as u64;
/// Blocks of the trace that one heartbeat tells of.
const NEWS_MAX: usize = BLOCK_NEWS_MAX / NAMES as usize;

enum Thing {
    Comes(usize),
    ToNode(usize, ToNode),
    /// On which of the node's links: what a former one carried means nothing.
    FromNode {
        node: usize,
        link: u32,
        message: FromNode,
    },
    Acts {
        node: usize,
        version: u64,
    },
    Beats(usize),
    Recorded(JobId, u32),
    Crashes(usize),
    Breaks(usize),
    Returns(usize),
    Ticks,
}

struct Peer {
    machine: Machine,
    is_up: bool,
    link: u32,
    version: u64,
    runs: HashMap<Key, Lease>,
    off: f64,
}

/// What a node knows of a job that it works on.
struct Lease {
    job_id: JobId,
    epoch: u32,
    seq: u32,
    told: u32,
    resumed: u32,
    prompt_tokens: u32,
    cached: u32,
}

/// Runs a scene under the production core.
pub fn run(scene: &Scene) -> Run {
    let mut market = Market::new(scene, None);
    market.run();
    let cost = market.peers.iter().map(|peer| peer.machine.cost).sum();
    let cells: Vec<_> = market.core.nodes().into_iter().flat_map(|node| node.cells).collect();
    let mean = |of: fn(&CellSnapshot) -> Option<f64>| {
        let values: Vec<f64> = cells.iter().filter_map(of).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let forecasts = Some((mean(|cell| cell.forecast_coverage), mean(|cell| cell.forecast_error)));
    Run { outcomes: market.outcomes, cost, forecasts }
}

/// Runs a scene under the production core while much goes wrong, and tells what the oracle saw; `told` hears how many requests
/// have come to their end so far.
pub fn run_with_faults(scene: &Scene, faults: Faults, seed: u64, mut told: impl FnMut(usize)) -> Seen {
    let mut market = Market::new(scene, Some(Chaos::new(faults, seed)));
    while market.step() {
        told(scene.requests.len() - market.open);
    }
    let refused = market.outcomes.iter().filter(|outcome| outcome.refused).count() as u64;
    market.oracle.close(refused, scene.requests.len() as u64);
    market.oracle.seen
}

struct Market<'a> {
    scene: &'a Scene<'a>,
    core: Core,
    agenda: Agenda<Thing>,
    peers: Vec<Peer>,
    outcomes: Vec<Outcome>,
    /// Requests of which something may still become.
    open: usize,
    ticks_at: Option<u64>,
    chaos: Option<Chaos>,
    oracle: Oracle,
}

impl<'a> Market<'a> {
    fn new(scene: &'a Scene<'a>, chaos: Option<Chaos>) -> Self {
        let mut market = Self {
            core: Core::new(Settings::default()),
            agenda: Agenda::new(),
            peers: vec![],
            outcomes: scene.blank(),
            open: scene.requests.len(),
            ticks_at: None,
            chaos,
            oracle: Oracle::default(),
            scene,
        };
        for (node, (kind, off)) in scene.kinds.iter().zip(&scene.off).enumerate() {
            let machine = Machine::new(kind, FRAME_TOKENS, true);
            market.peers.push(Peer { machine, is_up: true, link: 0, version: 0, runs: HashMap::new(), off: *off });
            market.core.connect(at(0), session(node, kind));
            market.agenda.set(0, Thing::Beats(node));
            market.expect_crash(0, node);
        }
        (0..scene.requests.len()).for_each(|n| market.agenda.set(scene.comes_at(n), Thing::Comes(n)));
        market
    }

    fn run(&mut self) {
        while self.step() {}
    }

    /// Lets the next thing happen, if any request is still open.
    fn step(&mut self) -> bool {
        let next = if self.open > 0 { self.agenda.next() } else { None };
        if let Some((now, thing)) = next {
            self.happen(now, thing);
            self.perform(now);
        }
        self.open > 0
    }

    fn happen(&mut self, now: u64, thing: Thing) {
        match thing {
            Thing::Comes(request) => self.submit(now, request),
            Thing::ToNode(node, message) => self.hear(now, node, message),
            Thing::FromNode { node, link, message } => {
                if self.peers[node].link == link {
                    self.core.receive(at(now), node_id(node), message);
                }
            }
            Thing::Acts { node, version } if self.peers[node].version == version => {
                for did in self.peers[node].machine.act(now) {
                    self.did(now, node, did);
                }
                self.wake(node);
            }
            Thing::Acts { .. } => {}
            Thing::Beats(node) => {
                if self.peers[node].is_up {
                    let load = self.peers[node].load();
                    self.say(now, node, FromNode::Heartbeat(load));
                }
                self.agenda.set(now + HEARTBEAT_US, Thing::Beats(node));
            }
            Thing::Recorded(job_id, epoch) => self.core.lease_recorded(at(now), job_id, epoch),
            Thing::Crashes(node) => {
                self.crash(now, node);
                self.expect_crash(now, node);
            }
            Thing::Breaks(node) => self.crash(now, node),
            Thing::Returns(node) => {
                let peer = &mut self.peers[node];
                (peer.is_up, peer.link) = (true, peer.link + 1);
                self.core.connect(at(now), session(node, peer.machine.kind));
            }
            // One that was set before an earlier one came to be is past its use.
            Thing::Ticks if self.ticks_at == Some(now) => {
                self.ticks_at = None;
                self.core.tick(at(now));
            }
            Thing::Ticks => {}
        }
    }

    fn submit(&mut self, now: u64, request: usize) {
        let asked = &self.scene.requests[request];
        let job = Job {
            job_id: JobId(Uuid::from_u128(request as u128 + 1)),
            tenant_id: TenantId(Uuid::from_u128(self.scene.tenants[request] as u128 + 1)),
            model: MODEL.into(),
            prompt: vec![0; asked.input as usize],
            output_tokens_max: asked.output,
            stop: vec![],
            sampling: Sampling::greedy(),
            grammar: None,
            logprobs: None,
            embed: vec![],
            prompt_blocks: asked.blocks.iter().flat_map(|block| (0..NAMES).map(move |n| block * NAMES + n)).collect(),
            pays_prompt: true,
            grade: Grade::Exact,
            cache_salt: None,
            class: Class::Interactive,
            deadline: Some(at(now + (asked.first_token_max_s * 1e6) as u64)),
            step_max: Some(TimeDelta::microseconds((STEP_MAX_S * 1e6) as i64)),
        };
        if self.core.submit(at(now), job).is_err() {
            self.outcomes[request].refused = true;
            self.open -= 1;
        }
    }

    fn expect_crash(&mut self, now: u64, node: usize) {
        if let Some(chaos) = &mut self.chaos {
            self.agenda.set(now + chaos.crash_after_us(), Thing::Crashes(node));
        }
    }

    /// A node loses all it had; every other time its link breaks with it, otherwise it only falls silent. So it does when a
    /// message of its is lost, since a link carries all or nothing.
    fn crash(&mut self, now: u64, node: usize) {
        let Some(chaos) = self.chaos.as_ref().filter(|_| self.peers[node].is_up) else { return };
        let back = now + chaos.faults.back_after_us;
        let peer = &mut self.peers[node];
        peer.machine.crash(now);
        peer.runs.clear();
        peer.is_up = false;
        if peer.link.is_multiple_of(2) {
            peer.link += 1;
            self.core.disconnect(at(now), node_id(node));
        }
        self.wake(node);
        self.agenda.set(back, Thing::Returns(node));
    }

    fn hear(&mut self, now: u64, node: usize, message: ToNode) {
        if !self.peers[node].is_up || self.chaos.as_mut().is_some_and(Chaos::loses) {
            return;
        }
        match message {
            ToNode::Offer(offer) => {
                self.say(now, node, FromNode::Accept { job_id: offer.job_id, epoch: offer.epoch });
            }
            ToNode::Commit { job_id, epoch, work } => {
                let request = request_of(job_id);
                let resumed = work.resume.len() as u32;
                let lease = Lease {
                    job_id,
                    epoch,
                    seq: 0,
                    told: 0,
                    resumed,
                    prompt_tokens: work.prompt.len() as u32,
                    cached: 0,
                };
                let key = key(request, epoch);
                let input = lease.prompt_tokens + resumed;
                let output = self.scene.requests[request].output - resumed;
                let blocks = self.scene.requests[request].blocks.clone();
                self.peers[node].runs.insert(key, lease);
                self.peers[node].machine.take(now, Task { key, input, output, blocks });
                self.wake(node);
            }
            ToNode::Cancel { job_id, epoch } => {
                let key = key(request_of(job_id), epoch);
                if self.peers[node].runs.remove(&key).is_some() {
                    self.peers[node].machine.cancel(now, key);
                    self.wake(node);
                }
            }
            ToNode::Embed { .. }
            | ToNode::Drain
            | ToNode::Challenge { .. }
            | ToNode::Welcome { .. }
            | ToNode::Replay { .. }
            | ToNode::Refused { .. } => {}
        }
    }

    fn did(&mut self, now: u64, node: usize, did: Did) {
        let (key, tokens, ends) = match did {
            Did::First { key, .. } => (key, 1, false),
            Did::Made { key, tokens } => (key, tokens, false),
            Did::Done { key } => (key, u32::MAX, true),
        };
        let Some(lease) = self.peers[node].runs.get_mut(&key) else { return };
        if let Did::First { cached, .. } = did {
            lease.cached = cached;
        }
        let request = request_of(lease.job_id);
        let tokens = tokens.min(self.scene.requests[request].output - lease.resumed);
        let (job_id, epoch, seq) = (lease.job_id, lease.epoch, lease.seq);
        if tokens > lease.told {
            let ids = (lease.told..tokens).map(|n| token(request, lease.resumed + n)).collect();
            lease.told = tokens;
            lease.seq += 1;
            let frame = TokenFrame { job_id, epoch, seq, ids, text: String::new(), logprobs: vec![] };
            self.say(now, node, FromNode::Tokens(frame));
        }
        if ends && let Some(lease) = self.peers[node].runs.remove(&key) {
            let finished = FromNode::Finished {
                reason: FinishReason::Stop,
                frames: lease.seq,
                cached_tokens: lease.cached,
                receipt: Box::new(lease.receipt(node_id(node))),
            };
            self.say(now, node, finished);
        }
    }

    fn say(&mut self, now: u64, node: usize, mut message: FromNode) {
        let peer = &self.peers[node];
        let (arrives, link) = (now + peer.machine.kind.rtt_us / 2, peer.link);
        let Some(chaos) = &mut self.chaos else {
            return self.agenda.set(arrives, Thing::FromNode { node, link, message });
        };
        chaos.twist(node, &mut message);
        let copies = chaos.copies();
        if copies.is_empty() {
            return self.agenda.set(now, Thing::Breaks(node));
        }
        for late in copies {
            self.agenda.set(arrives + late, Thing::FromNode { node, link, message: message.clone() });
        }
    }

    fn wake(&mut self, node: usize) {
        let peer = &mut self.peers[node];
        peer.version += 1;
        if let Some(at) = peer.machine.next() {
            self.agenda.set(at, Thing::Acts { node, version: peer.version });
        }
    }

    /// Does what the core decided.
    fn perform(&mut self, now: u64) {
        for output in self.core.take_outputs() {
            match output {
                Output::Send(to, message) => {
                    let node = place(to);
                    let way = self.peers[node].machine.kind.rtt_us / 2;
                    self.agenda.set(now + way, Thing::ToNode(node, message));
                }
                Output::Grant(lease) => self.agenda.set(now + RECORD_US, Thing::Recorded(lease.job_id, lease.epoch)),
                Output::Event(job_id, event) => self.told(now, request_of(job_id), &event),
                Output::End(lease) => self.oracle.lease(request_of(lease.job_id), &lease),
                Output::Close(_) | Output::Present(_) | Output::Audited(_) => {}
            }
        }
        let next = self.core.next_tick().map(|next| now.max(next.timestamp_micros() as u64));
        if let Some(next) = next.filter(|next| self.ticks_at.is_none_or(|set| *next < set)) {
            self.ticks_at = Some(next);
            self.agenda.set(next, Thing::Ticks);
        }
    }

    fn told(&mut self, now: u64, request: usize, event: &JobEvent) {
        let after_s = (now - self.scene.comes_at(request)) as f64 / 1e6;
        let asked = &self.scene.requests[request];
        self.oracle.event(request, event, asked.output, asked.input, |n| token(request, n));
        let outcome = &mut self.outcomes[request];
        match event {
            JobEvent::Placed { .. } | JobEvent::Vector(_) => {}
            JobEvent::Tokens { .. } => outcome.first_s = outcome.first_s.or(Some(after_s)),
            JobEvent::Ended(ended) => {
                outcome.done_s = Some(after_s);
                outcome.cached = ended.segments.last().map_or(0, |segment: &Segment| segment.cached_tokens);
                self.open -= 1;
            }
            JobEvent::Failed { .. } => self.open -= 1,
        }
    }
}

impl Peer {
    /// What a heartbeat tells; the speed is what its bench found, with its error.
    fn load(&mut self) -> Load {
        let kind = self.machine.kind;
        let mut blocks = (vec![], vec![]);
        for (block, came) in self.machine.prefixes.take_news(NEWS_MAX) {
            let told = if came { &mut blocks.0 } else { &mut blocks.1 };
            told.extend((0..NAMES).map(|n| block * NAMES + n));
        }
        let outlook =
            Outlook { turn_ms: 0, prompt_token_us: (1e6 / kind.prefill * self.off).round() as u32, loading_ms: 0 };
        let model = ModelLoad {
            model: MODEL.into(),
            outlook: Some(outlook),
            blocks_added: blocks.0,
            blocks_removed: blocks.1,
            slots: None,
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Load { running: count(self.machine.batch()), waiting: count(self.machine.waiting()), models: vec![model] }
    }
}

impl Lease {
    fn receipt(&self, node_id: NodeId) -> SignedReceipt {
        let receipt = Receipt {
            job_id: self.job_id,
            epoch: self.epoch,
            node_id,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.told,
            output_sha256: String::new(),
            first_token_ms: 0,
            total_ms: 0,
        };
        SignedReceipt { receipt, signature: String::new() }
    }
}

/// A node as it comes.
fn session(node: usize, kind: &Kind) -> NodeSession {
    let (input, output) = kind.asks();
    let price = |price| AttoPrice::try_new(price).expect("a price of a kind is one");
    let prices = AskPrices { currency: Currency::USD, input: price(input), output: price(output) };
    let served = ServedModel {
        model: MODEL.into(),
        weights_sha256: "00".repeat(32),
        quantisation: "F16".into(),
        context_tokens: CONTEXT_TOKENS,
        slots: kind.slots as u32,
        ..ServedModel::default()
    };
    NodeSession {
        node_id: node_id(node),
        provider_id: ProviderId(Uuid::from_u128(node as u128 + 1)),
        public_key: [0; 32],
        descriptor: NodeDescriptor {
            name: format!("{} {node}", kind.name),
            tier: Tier::Cloud,
            chip: kind.name.into(),
            threads: 1,
            memory_bytes: 1,
            engine: "simulated".into(),
            version: "0".into(),
            models: vec![served],
        },
        asks: vec![Ask {
            id: AskId(Uuid::nil()),
            node_id: node_id(node),
            model: MODEL.into(),
            prices,
            valid_from: at(0),
        }],
        standing: Standing::exact(MODEL),
    }
}

/// The one true n-th token of a request.
fn token(request: usize, n: u32) -> u32 {
    (request as u32).wrapping_mul(1_000_003).wrapping_add(n)
}

fn at(us: u64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::microseconds(us as i64)
}

fn node_id(node: usize) -> NodeId {
    NodeId(Uuid::from_u128(node as u128 + 1))
}

fn place(node_id: NodeId) -> usize {
    node_id.0.as_u128() as usize - 1
}

fn request_of(job_id: JobId) -> usize {
    job_id.0.as_u128() as usize - 1
}

fn key(request: usize, epoch: u32) -> Key {
    request as u64 * 16 + u64::from(epoch)
}
