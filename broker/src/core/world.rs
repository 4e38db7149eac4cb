//! A core on a manual clock for tests: its outputs are collected, and leases recorded at once unless a test holds them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::id::{AskId, JobId, NodeId, ProviderId, TenantId};
use primitives::money::{AttoPrice, Currency};
use primitives::node_protocol::{
    FinishReason, FromNode, Load, NodeDescriptor, Receipt, Sampling, ServedModel, SignedReceipt, Tier, ToNode,
    TokenFrame, Work, output_sha256,
};
use uuid::Uuid;

use super::{Core, Output};
use crate::ask::{Ask, AskPrices};
use crate::job::{Class, Job, JobEvent};
use crate::lease::{EndedLease, GrantedLease};
use crate::node::NodeSession;
use crate::presence::Presence;
use crate::standing::Standing;
use crate::trust::audit::Audit;
use crate::{Refused, Settings};

pub const MODEL: &str = "spark-1";

pub struct World {
    pub core: Core,
    pub now: DateTime<Utc>,
    pub sent: Vec<(NodeId, ToNode)>,
    pub events: BTreeMap<JobId, Vec<JobEvent>>,
    pub ends: Vec<EndedLease>,
    pub closed: Vec<NodeId>,
    pub presences: Vec<Presence>,
    pub audits: Vec<Audit>,
    /// Leases whose record a test answers itself.
    pub held: Vec<GrantedLease>,
    pub holds_leases: bool,
}

pub fn node(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(n))
}

pub fn job_id(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

/// A job with a prompt of four tokens and room for eight.
pub fn job(n: u128) -> Job {
    Job {
        job_id: job_id(n),
        tenant_id: TenantId(Uuid::from_u128(1)),
        model: MODEL.into(),
        prompt: vec![1, 2, 3, 4],
        embed: vec![],
        output_tokens_max: 8,
        stop: vec![],
        sampling: Sampling::greedy(),
        grammar: None,
        logprobs: None,
        cache_salt: None,
        prompt_blocks: vec![],
        pays_prompt: true,
        grade: Grade::Exact,
        class: Class::Interactive,
        deadline: None,
        step_max: None,
    }
}

/// A node with some slots, 100 tokens of context, and a price that rises with its number.
pub fn session(n: u128, slots: u32) -> NodeSession {
    let price = AttoPrice::try_new(n as i128).unwrap();
    let prices = AskPrices { currency: Currency::USD, input: price, output: price };
    let valid_from = DateTime::UNIX_EPOCH;
    let served = ServedModel {
        model: MODEL.into(),
        weights_sha256: "00".repeat(32),
        quantisation: "F16".into(),
        context_tokens: 100,
        slots,
        ..ServedModel::default()
    };
    NodeSession {
        node_id: node(n),
        provider_id: ProviderId(Uuid::from_u128(n)),
        public_key: [0; 32],
        descriptor: NodeDescriptor {
            name: format!("node {n}"),
            tier: Tier::Edge,
            chip: "cpu".into(),
            threads: 1,
            memory_bytes: 1,
            engine: "test".into(),
            version: "0".into(),
            models: vec![served],
        },
        asks: vec![Ask { id: AskId(Uuid::nil()), node_id: node(n), model: MODEL.into(), prices, valid_from }],
        standing: Standing::exact(MODEL),
    }
}

pub fn tokens(n: u128, epoch: u32, seq: u32, ids: &[u32]) -> FromNode {
    let text = ids.iter().map(|id| format!("{id} ")).collect();
    FromNode::Tokens(TokenFrame { job_id: job_id(n), epoch, seq, ids: ids.to_vec(), text, logprobs: vec![] })
}

/// The end of a lease that sent so many frames, with a receipt over these ids.
pub fn finished(node_id: NodeId, n: u128, epoch: u32, frames: u32, ids: &[u32]) -> FromNode {
    let receipt = Receipt {
        job_id: job_id(n),
        epoch,
        node_id,
        prompt_tokens: 4,
        output_tokens: ids.len() as u32,
        output_sha256: output_sha256(ids),
        first_token_ms: 1,
        total_ms: 2,
    };
    let receipt = Box::new(SignedReceipt { receipt, signature: String::new() });
    FromNode::Finished { reason: FinishReason::Stop, frames, cached_tokens: 0, receipt }
}

impl World {
    pub fn new(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            now: DateTime::UNIX_EPOCH,
            sent: vec![],
            events: BTreeMap::new(),
            ends: vec![],
            closed: vec![],
            presences: vec![],
            audits: vec![],
            held: vec![],
            holds_leases: false,
        }
    }

    /// A world with these nodes, each with so many slots.
    pub fn with_nodes(nodes: &[(u128, u32)]) -> Self {
        let mut world = Self::new(Settings::default());
        nodes.iter().for_each(|(n, slots)| world.connect(*n, *slots));
        world
    }

    pub fn connect(&mut self, n: u128, slots: u32) {
        self.core.connect(self.now, session(n, slots));
        self.collect();
    }

    pub fn disconnect(&mut self, n: u128) {
        self.core.disconnect(self.now, node(n));
        self.collect();
    }

    pub fn submit(&mut self, job: Job) -> Result<(), Refused> {
        let submitted = self.core.submit(self.now, job);
        self.collect();
        submitted
    }

    pub fn receive(&mut self, n: u128, message: FromNode) {
        self.core.receive(self.now, node(n), message);
        self.collect();
    }

    pub fn accept(&mut self, n: u128, job: u128, epoch: u32) {
        self.receive(n, FromNode::Accept { job_id: job_id(job), epoch });
    }

    /// Time passes in small steps, with a heartbeat of each of these nodes at each.
    pub fn pass(&mut self, ms: i64, alive: &[u128]) {
        for _ in 0..ms / 50 {
            self.now += TimeDelta::milliseconds(50);
            alive.iter().for_each(|n| self.receive(*n, FromNode::Heartbeat(Load::default())));
            self.core.tick(self.now);
            self.collect();
        }
    }

    pub fn collect(&mut self) {
        loop {
            let outputs = self.core.take_outputs();
            if outputs.is_empty() {
                return;
            }
            outputs.into_iter().for_each(|output| self.take(output));
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Send(node_id, message) => self.sent.push((node_id, message)),
            Output::Close(node_id) => self.closed.push(node_id),
            Output::Event(job_id, event) => self.events.entry(job_id).or_default().push(event),
            Output::End(lease) => self.ends.push(lease),
            Output::Present(presence) => self.presences.push(presence),
            Output::Audited(audit) => self.audits.push(*audit),
            Output::Grant(lease) if self.holds_leases => self.held.push(lease),
            Output::Grant(lease) => self.core.lease_recorded(self.now, lease.job_id, lease.epoch),
        }
    }

    /// The nodes that were offered a job, in order.
    pub fn offers(&self, n: u128) -> Vec<u128> {
        let offered = |(to, message): &(NodeId, ToNode)| match message {
            ToNode::Offer(offer) if offer.job_id == job_id(n) => Some(to.0.as_u128()),
            _ => None,
        };
        self.sent.iter().filter_map(offered).collect()
    }

    /// The work sent for a job under an epoch.
    pub fn work(&self, n: u128, of: u32) -> Option<(u128, &Work)> {
        self.sent.iter().find_map(|(to, message)| match message {
            ToNode::Commit { job_id: id, epoch, work } if (*id, *epoch) == (job_id(n), of) => {
                Some((to.0.as_u128(), work.as_ref()))
            }
            _ => None,
        })
    }

    pub fn was_cancelled(&self, n: u128, node_n: u128, of: u32) -> bool {
        let cancel = ToNode::Cancel { job_id: job_id(n), epoch: of };
        self.sent.contains(&(node(node_n), cancel))
    }

    /// The ids that a job's consumer received.
    pub fn received(&self, n: u128) -> Vec<u32> {
        let ids = |event: &JobEvent| match event {
            JobEvent::Tokens { ids, .. } => ids.clone(),
            _ => vec![],
        };
        self.events.get(&job_id(n)).into_iter().flatten().flat_map(ids).collect()
    }

    pub fn last_event(&self, n: u128) -> Option<&JobEvent> {
        self.events.get(&job_id(n))?.last()
    }
}
