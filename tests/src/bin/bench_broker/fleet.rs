//! A fleet of made-up nodes, its jobs and its messages.

use broker::ask::{Ask, AskPrices};
use broker::core::Core;
use broker::job::{Class, Job};
use broker::node::NodeSession;
use broker::standing::Standing;
use chrono::{DateTime, TimeDelta, Utc};
use primitives::certificate::Grade;
use primitives::id::{AskId, JobId, NodeId, ProviderId, TenantId};
use primitives::money::{AttoPrice, Currency};
use primitives::node_protocol::{
    FinishReason, FromNode, Load, ModelLoad, NodeDescriptor, Outlook, Receipt, Sampling, ServedModel, SignedReceipt,
    Tier, TokenFrame,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

const MODEL: &str = "benched";
/// Prefixes that jobs share.
const PREFIXES: u64 = 200;

pub fn node_id(n: usize) -> NodeId {
    NodeId(Uuid::from_u128(n as u128 + 1))
}

/// Connects so many nodes, fast and slow, dear and cheap.
pub fn connect(core: &mut Core, nodes: usize, now: DateTime<Utc>) {
    for n in 0..nodes {
        core.connect(now, session(n));
        core.receive(now, node_id(n), FromNode::Heartbeat(heartbeat(n)));
    }
    core.take_outputs();
}

/// What a node tells each second: its speed, and two blocks that came and one that went.
pub fn heartbeat(n: usize) -> Load {
    let outlook = Outlook { turn_ms: 0, prompt_token_us: 60 + 40 * (n as u32 % 7), loading_ms: 0 };
    let block = (n as u64 * 7) % PREFIXES * 64;
    let model = ModelLoad {
        model: MODEL.into(),
        outlook: Some(outlook),
        blocks_added: vec![block, block + 1],
        blocks_removed: vec![block + 2],
        slots: None,
    };
    Load { running: 1, waiting: 0, models: vec![model] }
}

/// Jobs to come.
pub struct Jobs {
    random: SmallRng,
    made: u128,
}

impl Jobs {
    pub fn new(seed: usize) -> Self {
        Self { random: SmallRng::seed_from_u64(seed as u64), made: 0 }
    }

    /// A prompt of a hundred to two thousand tokens, half of them with a prefix that others have.
    pub fn next(&mut self, now: DateTime<Utc>) -> Job {
        self.made += 1;
        let tokens = self.random.random_range(100..2_000_usize);
        let prefix = self.random.random_range(0..PREFIXES) * 64;
        let shares = self.random.random_bool(0.5);
        Job {
            job_id: JobId(Uuid::from_u128(self.made)),
            tenant_id: TenantId(Uuid::from_u128(self.random.random_range(1..100))),
            model: MODEL.into(),
            prompt: vec![1; tokens],
            output_tokens_max: 64,
            stop: vec![],
            sampling: Sampling::greedy(),
            grammar: None,
            logprobs: None,
            embed: vec![],
            prompt_blocks: (0..tokens as u64 / 32).filter(|_| shares).map(|n| prefix + n).collect(),
            pays_prompt: true,
            grade: Grade::Exact,
            cache_salt: None,
            class: Class::Interactive,
            deadline: Some(now + TimeDelta::milliseconds(500)),
            step_max: Some(TimeDelta::milliseconds(60)),
        }
    }
}

pub fn first_token(job_id: JobId) -> FromNode {
    FromNode::Tokens(TokenFrame { job_id, epoch: 1, seq: 0, ids: vec![1], text: "a".into(), logprobs: vec![] })
}

pub fn finished(job_id: JobId, node_id: NodeId) -> FromNode {
    let receipt = Receipt {
        job_id,
        epoch: 1,
        node_id,
        prompt_tokens: 1,
        output_tokens: 1,
        output_sha256: String::new(),
        first_token_ms: 1,
        total_ms: 1,
    };
    let receipt = Box::new(SignedReceipt { receipt, signature: String::new() });
    FromNode::Finished { reason: FinishReason::Stop, frames: 1, cached_tokens: 0, receipt }
}

fn session(n: usize) -> NodeSession {
    let price = AttoPrice::try_new(1_000 + n as i128 * 37 % 900).expect("a small price is one");
    let served = ServedModel {
        model: MODEL.into(),
        weights_sha256: String::new(),
        quantisation: "F16".into(),
        context_tokens: 8_192,
        slots: 8,
        ..ServedModel::default()
    };
    NodeSession {
        node_id: node_id(n),
        provider_id: ProviderId(Uuid::from_u128(n as u128 + 1)),
        public_key: [0; 32],
        descriptor: NodeDescriptor {
            name: format!("node {n}"),
            tier: Tier::Edge,
            chip: "made up".into(),
            threads: 1,
            memory_bytes: 1,
            engine: "made up".into(),
            version: "0".into(),
            models: vec![served],
        },
        asks: vec![Ask {
            id: AskId(Uuid::nil()),
            node_id: node_id(n),
            model: MODEL.into(),
            prices: AskPrices { currency: Currency::USD, input: price, output: price },
            valid_from: DateTime::UNIX_EPOCH,
        }],
        standing: Standing::exact(MODEL),
    }
}
