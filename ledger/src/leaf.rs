//! Leaves: the dimensions of revenue, cost and usage.

use primitives::id::{NodeId, PriceId, ProviderId, TenantId};
use serde::{Deserialize, Serialize};

use crate::economics::Bucket;
use crate::economics::tokens::Waste;
use crate::period::Month;

/// Where a revenue or cost leg, or a fact, belongs in every report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leaf {
    /// Its class; each revenue leg has exactly one.
    pub bucket: Bucket,
    /// Who pays.
    pub tenant_id: Option<TenantId>,
    /// The model.
    pub model: Option<String>,
    /// The node.
    pub node_id: Option<NodeId>,
    /// Whose node.
    pub provider_id: Option<ProviderId>,
    /// What was sold, such as `inference`.
    pub product_line: String,
    /// Of usage: what was metered.
    pub meter: Option<String>,
    /// Of usage: why it is not effective, where it is not.
    pub waste: Option<Waste>,
    /// Of usage: the price that it was charged at.
    pub price_id: Option<PriceId>,
    /// Of a refund: the earlier month that it gives back.
    pub of_period: Option<Month>,
}

impl Leaf {
    /// A leaf that says nothing but its class and product line.
    pub fn new(bucket: Bucket, product_line: &str) -> Self {
        Self {
            bucket,
            tenant_id: None,
            model: None,
            node_id: None,
            provider_id: None,
            product_line: product_line.to_owned(),
            meter: None,
            waste: None,
            price_id: None,
            of_period: None,
        }
    }
}
