//! The core under drops, repeats, reordering, vanishing nodes, late leases and a clock that runs and is set back, beside an oracle.
//!
//! Every node is honest about tokens (the n-th token of job j is always the same), the network is not. Whatever happens,
//! each job's consumer receives a prefix of the one true output, each token under exactly one lease, and one end.

use std::collections::{BTreeMap, VecDeque};

use chrono::TimeDelta;
use primitives::id::{JobId, NodeId};
use primitives::node_protocol::{FromNode, ToNode, Work};
use proptest::prelude::*;

use super::world::{World, finished, job, job_id, node, tokens};
use crate::job::{EndReason, Job, JobEvent};
use crate::lease::EndedLease;

const NODES: u128 = 3;
const JOBS: u128 = 6;
const OUTPUT_TOKENS: u32 = 7;

/// One thing that happens. Numbers pick a node or a job by remainder.
#[derive(Clone, Debug)]
enum Step {
    Submit(u128),
    Cancel(u128),
    /// The node makes its next frame of some run.
    Work(u128),
    /// The node's next message arrives.
    Arrive(u128),
    Lose(u128),
    Repeat(u128),
    Swap(u128),
    Vanish(u128),
    Return(u128),
    /// Messages of the node's former link arrive after all.
    Haunt(u128),
    /// The oldest lease is recorded, or refused.
    Record(bool),
    Pass(i64),
    /// The control plane's clock is set back.
    SetBack(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..60_u128;
    prop_oneof![
        4 => n.clone().prop_map(Step::Submit),
        1 => n.clone().prop_map(Step::Cancel),
        24 => n.clone().prop_map(Step::Work),
        30 => n.clone().prop_map(Step::Arrive),
        1 => n.clone().prop_map(Step::Lose),
        2 => n.clone().prop_map(Step::Repeat),
        1 => n.clone().prop_map(Step::Swap),
        1 => n.clone().prop_map(Step::Vanish),
        3 => n.clone().prop_map(Step::Return),
        2 => n.prop_map(Step::Haunt),
        8 => prop::bool::weighted(0.98).prop_map(Step::Record),
        6 => (50..1_500_i64).prop_map(Step::Pass),
        1 => (1..2_000_i64).prop_map(Step::SetBack),
    ]
}

/// An honest node behind a bad network.
#[derive(Default)]
struct Peer {
    connected: bool,
    runs: VecDeque<RunOf>,
    to_broker: VecDeque<FromNode>,
    ghosts: VecDeque<FromNode>,
}

struct RunOf {
    job: u128,
    epoch: u32,
    made: Vec<u32>,
    resumed: u32,
}

struct Faulty {
    world: World,
    peers: BTreeMap<u128, Peer>,
    seen: usize,
}

/// The n-th token of a job's one true output.
fn truth(job: u128, n: u32) -> u32 {
    job as u32 * 100 + n
}

fn whole(job: u128) -> Vec<u32> {
    (0..OUTPUT_TOKENS).map(|n| truth(job, n)).collect()
}

impl Faulty {
    fn new() -> Self {
        let mut faulty = Self { world: World::with_nodes(&[]), peers: BTreeMap::new(), seen: 0 };
        faulty.world.holds_leases = true;
        (1..=NODES).for_each(|n| faulty.come(n));
        faulty
    }

    fn come(&mut self, n: u128) {
        let peer = self.peers.entry(n).or_default();
        if !peer.connected {
            peer.connected = true;
            self.world.connect(n, 2);
        }
    }

    fn go(&mut self, n: u128) {
        let peer = self.peers.get_mut(&n).unwrap();
        if peer.connected {
            peer.connected = false;
            peer.runs.clear();
            peer.ghosts = std::mem::take(&mut peer.to_broker);
            self.world.disconnect(n);
        }
    }

    fn take(&mut self, step: Step) {
        let pick = |n: u128| n % NODES + 1;
        match step {
            Step::Submit(n) => {
                let n = n % JOBS + 1;
                if !self.world.events.contains_key(&job_id(n)) {
                    // Refused when it is already here: the oracle looks at what was taken.
                    let _ = self.world.submit(Job { output_tokens_max: OUTPUT_TOKENS, ..job(n) });
                }
            }
            Step::Cancel(n) => {
                let id = job_id(n % JOBS + 1);
                if let Some(outcome) = self.world.core.cancel(self.world.now, id) {
                    self.world.events.entry(id).or_default().push(JobEvent::Ended(outcome));
                    self.world.collect();
                }
            }
            Step::Work(n) => self.work(pick(n)),
            Step::Arrive(n) => {
                let message = self.peers.get_mut(&pick(n)).unwrap().to_broker.pop_front();
                message.into_iter().for_each(|message| self.world.receive(pick(n), message));
            }
            Step::Lose(n) => drop(self.peers.get_mut(&pick(n)).unwrap().to_broker.pop_front()),
            Step::Repeat(n) => {
                let message = self.peers[&pick(n)].to_broker.front().cloned();
                message.into_iter().for_each(|message| self.world.receive(pick(n), message));
            }
            Step::Swap(n) => {
                let queue = &mut self.peers.get_mut(&pick(n)).unwrap().to_broker;
                if queue.len() > 1 {
                    queue.swap(0, 1);
                }
            }
            Step::Vanish(n) => self.go(pick(n)),
            Step::Return(n) => self.come(pick(n)),
            Step::Haunt(n) => {
                let message = self.peers.get_mut(&pick(n)).unwrap().ghosts.pop_front();
                message.into_iter().for_each(|message| self.world.receive(pick(n), message));
            }
            Step::Record(recorded) => self.record(recorded),
            Step::Pass(ms) => {
                let alive: Vec<u128> = self.peers.iter().filter(|(_, peer)| peer.connected).map(|(n, _)| *n).collect();
                self.world.pass(ms, &alive);
            }
            Step::SetBack(ms) => self.world.now -= TimeDelta::milliseconds(ms),
        }
        self.hear();
    }

    fn record(&mut self, recorded: bool) {
        if self.world.held.is_empty() {
            return;
        }
        let lease = self.world.held.remove(0);
        let (now, id, epoch) = (self.world.now, lease.job_id, lease.epoch);
        if recorded {
            self.world.core.lease_recorded(now, id, epoch);
        } else {
            self.world.core.lease_refused(now, id, epoch);
        }
        self.world.collect();
    }

    /// Nodes hear at once what they were sent.
    fn hear(&mut self) {
        while self.seen < self.world.sent.len() {
            let (to, message) = self.world.sent[self.seen].clone();
            self.seen += 1;
            self.tell(to, message);
        }
    }

    fn tell(&mut self, to: NodeId, message: ToNode) {
        let peer = self.peers.get_mut(&to.0.as_u128()).unwrap();
        if !peer.connected {
            return;
        }
        match message {
            ToNode::Offer(offer) => {
                let accept = FromNode::Accept { job_id: offer.job_id, epoch: offer.epoch };
                peer.to_broker.push_back(accept);
            }
            ToNode::Commit { job_id, epoch, work } => peer.runs.push_back(begin(job_id, epoch, &work)),
            ToNode::Cancel { job_id, epoch } => {
                peer.runs.retain(|run| (super::world::job_id(run.job), run.epoch) != (job_id, epoch));
            }
            ToNode::Embed { .. }
            | ToNode::Challenge { .. }
            | ToNode::Replay { .. }
            | ToNode::Welcome { .. }
            | ToNode::Refused { .. }
            | ToNode::Drain => {}
        }
    }

    /// Makes the next frame of the node's next run: one or two tokens, or its end.
    fn work(&mut self, n: u128) {
        let peer = self.peers.get_mut(&n).unwrap();
        let Some(mut run) = peer.runs.pop_front() else { return };
        let next = run.resumed + run.made.len() as u32;
        if next == OUTPUT_TOKENS {
            let sent = u32::try_from(frames(run.resumed, next)).unwrap();
            peer.to_broker.push_back(finished(node(n), run.job, run.epoch, sent, &run.made));
            return;
        }
        let ids: Vec<u32> = (next..(next + 1 + next % 2).min(OUTPUT_TOKENS)).map(|n| truth(run.job, n)).collect();
        let seq = u32::try_from(frames(run.resumed, next)).unwrap();
        peer.to_broker.push_back(tokens(run.job, run.epoch, seq, &ids));
        run.made.extend(ids);
        peer.runs.push_back(run);
    }

    /// The faults end: everybody is here and everything arrives, until no job is left or long after one should be.
    fn heal(&mut self) {
        for round in 0..4_000 {
            if self.world.core.jobs().next().is_none() {
                return;
            }
            (1..=NODES).for_each(|n| self.come(n));
            self.take(Step::Record(true));
            for n in 0..NODES {
                self.take(Step::Work(n));
                self.take(Step::Arrive(n));
            }
            if round % 4 == 0 {
                self.take(Step::Pass(500));
            }
        }
    }
}

/// How many frames bring a run from its first token to `next`.
fn frames(from: u32, next: u32) -> usize {
    let (mut at, mut frames) = (from, 0);
    while at < next {
        at = (at + 1 + at % 2).min(OUTPUT_TOKENS);
        frames += 1;
    }
    frames
}

fn begin(id: JobId, epoch: u32, work: &Work) -> RunOf {
    let job = id.0.as_u128();
    let resumed = work.resume.len();
    assert_eq!(work.resume, whole(job)[..resumed], "a job resumes from its own output");
    RunOf { job, epoch, made: vec![], resumed: resumed as u32 }
}

fn check(world: &World, n: u128) -> Result<(), TestCaseError> {
    let events = &world.events[&job_id(n)];
    let received = world.received(n);
    prop_assert_eq!(&received[..], &whole(n)[..received.len()], "a prefix of the one true output");
    let text = events.iter().filter_map(|event| match event {
        JobEvent::Tokens { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let expected: String = received.iter().map(|id| format!("{id} ")).collect();
    prop_assert_eq!(text.collect::<String>(), expected);

    let is_end = |event: &&JobEvent| matches!(event, JobEvent::Ended(_) | JobEvent::Failed { .. });
    prop_assert_eq!(events.iter().filter(is_end).count(), 1, "one end");
    prop_assert!(events.last().iter().all(is_end), "and nothing after it");

    let mut leases: Vec<&EndedLease> = world.ends.iter().filter(|lease| lease.job_id == job_id(n)).collect();
    leases.sort_by_key(|lease| lease.epoch);
    prop_assert!(leases.windows(2).all(|pair| pair[0].epoch < pair[1].epoch), "each lease ends once");
    let under_leases: Vec<u32> = leases.iter().flat_map(|lease| lease.delivered.iter().copied()).collect();
    prop_assert_eq!(&under_leases, &received, "each token under one lease");

    let segments = match events.last() {
        Some(JobEvent::Ended(outcome)) => {
            if outcome.reason == EndReason::Stop {
                prop_assert_eq!(&received, &whole(n), "nothing lost");
            }
            &outcome.segments
        }
        Some(JobEvent::Failed { segments, .. }) => segments,
        _ => unreachable!("the last event is an end"),
    };
    let billed: u32 = segments.iter().map(|segment| segment.output_tokens).sum();
    prop_assert_eq!(billed as usize, received.len(), "each token in one segment");
    prop_assert!(segments.iter().map(|segment| segment.prompt_tokens).sum::<u32>() <= 4, "the prompt at most once");
    for segment in segments {
        let lease = leases.iter().find(|lease| lease.epoch == segment.epoch).unwrap();
        prop_assert_eq!((segment.node_id, segment.output_tokens as usize), (lease.node_id, lease.delivered.len()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_token_is_delivered_twice_or_lost_whatever_the_network_does(steps in prop::collection::vec(step(), 1..400)) {
        let mut faulty = Faulty::new();
        steps.into_iter().for_each(|step| faulty.take(step));
        faulty.heal();
        prop_assert_eq!(faulty.world.core.jobs().count(), 0, "every job ends");
        for id in faulty.world.events.keys() {
            check(&faulty.world, id.0.as_u128())?;
        }
        for cell in faulty.world.core.nodes().iter().flat_map(|node| &node.cells) {
            prop_assert_eq!(cell.in_flight, 0, "every slot is free again");
        }
    }

    #[test]
    fn without_faults_every_job_ends_whole(order in prop::collection::vec(0..60_u128, 1..40)) {
        let mut faulty = Faulty::new();
        order.into_iter().for_each(|n| faulty.take(Step::Submit(n)));
        faulty.heal();
        for id in faulty.world.events.keys() {
            let n = id.0.as_u128();
            check(&faulty.world, n)?;
            prop_assert_eq!(faulty.world.received(n), whole(n));
        }
    }
}

#[test]
fn the_same_story_gives_the_same_outputs() {
    let tell = || {
        let mut faulty = Faulty::new();
        (0..6).for_each(|n| faulty.take(Step::Submit(n)));
        faulty.take(Step::Vanish(0));
        faulty.heal();
        (faulty.world.sent.clone(), faulty.world.events.clone())
    };
    assert_eq!(tell(), tell());
}
