//! Capacity facts: who had which share of which node, for how long. They move no money; their groups are notes.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CapacityDraft, Entry, Recipe, Template, leg};
use crate::books::Books;
use crate::canonical::Canonical;
use crate::economics::Bucket;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::transfer::named_link;

pub(crate) static CAPACITY: Template = Template {
    number: 5,
    name: "capacity",
    event: "A share of a node was ready for a model, or rented out, for a time.",
    legs: &[leg("none", "none", "a note")],
};

/// How many shares one report has at most.
const SHARES_MAX: usize = 1_000;
/// All of a node. *Units*: millionths.
pub const WHOLE_NODE_PPM: i32 = 1_000_000;

/// What was deployed on a node for a time; no node has two reports of the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityReport {
    /// The node.
    pub node_id: NodeId,
    /// Whose it is.
    pub provider_id: ProviderId,
    /// From when.
    pub from_at: DateTime<Utc>,
    /// Until when.
    pub to_at: DateTime<Utc>,
    /// The whole node's nominal capacity. *Units*: thousandths of the reference unit.
    pub rcu_milli: i32,
    /// Its shares; what they leave is unallocated.
    pub shares: Vec<CapacityShare>,
}

/// A share of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityShare {
    /// How much of the node. *Units*: millionths.
    pub share_ppm: i32,
    /// What it was for.
    pub used_for: CapacityUse,
}

/// What a share of a node was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapacityUse {
    /// Serving a model.
    Model(String),
    /// Rented to a tenant by time.
    Rental(TenantId),
}

impl Recipe for CapacityReport {
    fn template(&self) -> &'static Template {
        &CAPACITY
    }

    /// Named by the node and the time at which it begins.
    fn link(&self) -> Uuid {
        let from = self.from_at.timestamp_micros().to_le_bytes();
        named_link(&[b"capacity", self.node_id.0.as_bytes(), &from])
    }

    fn body(&self, out: &mut Canonical) {
        out.uuid(self.provider_id.0);
        out.instant(self.to_at);
        out.i32(self.rcu_milli);
        out.count(self.shares.len());
        for share in &self.shares {
            out.i32(share.share_ppm);
            match &share.used_for {
                CapacityUse::Model(model) => out.text(model),
                CapacityUse::Rental(tenant_id) => out.uuid(tenant_id.0),
            }
        }
    }

    fn owners(&self) -> Vec<Uuid> {
        Vec::new()
    }

    fn event_at(&self) -> Option<DateTime<Utc>> {
        Some(self.from_at)
    }

    fn entry(&self, _: &Books, _: DateTime<Utc>) -> Result<Entry, Error> {
        let total: i64 = self.shares.iter().map(|share| i64::from(share.share_ppm)).sum();
        let whole = (1..=i64::from(WHOLE_NODE_PPM)).contains(&total) && self.shares.iter().all(|s| s.share_ppm > 0);
        if !whole || self.shares.len() > SHARES_MAX || self.from_at >= self.to_at || self.rcu_milli < 1 {
            return Err(Error::BadCapacity { node_id: self.node_id });
        }
        let draft = |share: &CapacityShare| CapacityDraft {
            leaf: self.leaf(&share.used_for),
            share_ppm: share.share_ppm,
            rcu_milli: self.rcu_milli,
            from_at: self.from_at,
            to_at: self.to_at,
        };
        Ok(Entry { capacity: self.shares.iter().map(draft).collect(), ..Entry::default() })
    }
}

impl CapacityReport {
    fn leaf(&self, used_for: &CapacityUse) -> Leaf {
        let leaf = match used_for {
            CapacityUse::Model(model) => {
                Leaf { model: Some(model.clone()), ..Leaf::new(Bucket::Productive, "inference") }
            }
            CapacityUse::Rental(tenant_id) => Leaf { tenant_id: Some(*tenant_id), ..Leaf::new(Bucket::Lease, "lease") },
        };
        Leaf { node_id: Some(self.node_id), provider_id: Some(self.provider_id), ..leaf }
    }
}
