//! A node comes: who it is, which cells it is, and what it may be given.

use broker::ask::{Ask, AskPrices};
use broker::capability::{self, CellKey, Sponsor};
use broker::node::{Node, NodeSession, NodeStatus, Statement};
use broker::standing::Standing;
use chrono::{DateTime, Utc};
use primitives::certificate::Certificate;
use primitives::money::AttoPrice;
use primitives::node_protocol::{CERTIFICATES_MAX, Credential, Hello, NodeDescriptor, ServedModel};
use primitives::tx::run_tx;
use secrecy::SecretString;
use sqlx::PgConnection;

use super::{BEGINS, Supply};
use crate::CURRENCY;

/// What a node asks of the tenant's price until its provider names asks of its own. *Units*: percent.
const DEFAULT_ASK_PERCENT: i128 = 70;

/// A node that has proved its key, and what it says of itself.
#[derive(Clone)]
pub struct Arrival {
    /// Who it is.
    pub credential: Credential,
    /// The key that it proved.
    pub public_key: [u8; 32],
    /// What it is.
    pub descriptor: NodeDescriptor,
    /// What it was certified for.
    pub certificates: Vec<Certificate>,
    /// Its signed word on what it is.
    pub statement: Statement,
}

impl Arrival {
    /// From a HELLO, and the key and the statement that were proved.
    pub fn new(hello: Hello, public_key: [u8; 32], statement: Statement) -> Self {
        let Hello { credential, descriptor, mut certificates, .. } = hello;
        certificates.truncate(CERTIFICATES_MAX);
        Self { credential, public_key, descriptor, certificates, statement }
    }
}

/// A node that came, and what it may be given.
type Arrived = (Node, Standing);

impl Supply {
    /// Registers or greets a node, and gives what the broker needs to know of it: all of it, or nothing was changed.
    ///
    /// *Errors*: those of join tokens and keys; [`broker::Error::NoServableModel`] of a new node that brings models none of which it
    /// could serve. A node that is known may wait, connected, for a certificate.
    pub async fn arrive(&self, arrival: Arrival) -> broker::Result<NodeSession> {
        let now = self.clock.now();
        let arrived = run_tx(&self.pool, "node_arrive", |conn| {
            let (supply, arrival) = (self.clone(), arrival.clone());
            Box::pin(async move { supply.register(conn, arrival, now).await })
        });
        let (node, standing) = arrived.await?;
        let mut conn = self.pool.acquire().await?;
        let asks = self.asks_of(&mut conn, &node, now).await?;
        let mut descriptor = arrival.descriptor;
        descriptor.models = node.descriptor.models.clone();
        node.name().clone_into(&mut descriptor.name);
        let Node { id: node_id, provider_id, public_key, .. } = node;
        Ok(NodeSession { node_id, provider_id, public_key, descriptor, asks, standing })
    }

    async fn register(&self, conn: &mut PgConnection, arrival: Arrival, now: DateTime<Utc>) -> broker::Result<Arrived> {
        let Arrival { credential, public_key, mut descriptor, certificates, statement } = arrival;
        let brings_models = !descriptor.models.is_empty();
        let served = known_models(conn, std::mem::take(&mut descriptor.models)).await?;
        descriptor.models = served.iter().map(|(served, _)| served.clone()).collect();
        let is_new = matches!(credential, Credential::Join { .. });
        let node = match credential {
            Credential::Join { token, .. } => {
                let token = SecretString::from(token);
                broker::node::join(conn, &self.ids, &token, public_key, descriptor.clone(), now).await?
            }
            Credential::Known { node_id } => {
                broker::node::touch(conn, node_id, &descriptor, now).await?;
                broker::node::get(conn, node_id).await?
            }
        };
        broker::node::state(conn, node.id, &statement).await?;
        self.take_certificates(conn, &node, &certificates, now).await?;
        let mut standing = Standing::default();
        for (mut served, reference_sha256) in served {
            served.features.sort();
            served.features.dedup();
            let key = CellKey {
                model: served.model.clone(),
                reference_sha256,
                weights_sha256: served.weights_sha256,
                quantisation: served.quantisation,
                engine: served.engine,
                chip: descriptor.chip.clone(),
                features: served.features,
            };
            let cell = capability::resolve(conn, &self.ids, node.provider_id, &key, now).await?;
            capability::place(conn, node.id, &cell, now).await?;
            match cell.served(now) {
                Some(grade) => {
                    if cell.is_reference() {
                        standing.references.insert(served.model.clone());
                    }
                    standing.grades.insert(served.model, grade);
                }
                None => {
                    let (state, reason) = cell.standing(now);
                    tracing::warn!(node.id = %node.id, model = served.model, state = state.as_str(), reason, "a cell gets no work");
                }
            }
        }
        if is_new && brings_models && standing.grades.is_empty() {
            return Err(broker::Error::NoServableModel);
        }
        if !standing.grades.is_empty() {
            broker::node::begin(conn, node.id, BEGINS, now).await?;
        }
        let node = broker::node::get(conn, node.id).await?;
        standing.on_probation = node.status != NodeStatus::Active;
        Ok((node, standing))
    }

    /// Keeps what a node was certified for; what does not hold is left aside, and the node learns of it by its cells.
    async fn take_certificates(
        &self,
        conn: &mut PgConnection,
        node: &Node,
        certificates: &[Certificate],
        now: DateTime<Utc>,
    ) -> broker::Result<()> {
        let sponsor = Sponsor::Node { node_id: node.id, provider_id: node.provider_id };
        for certificate in certificates {
            match capability::certify(conn, &self.ids, certificate, sponsor, now).await {
                Ok(_) => {}
                Err(
                    refused @ (broker::Error::CertificateBroken
                    | broker::Error::CertificateStrange
                    | broker::Error::CertificateSigner),
                ) => tracing::warn!(node.id = %node.id, %refused, "a node's certificate is not taken"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The node's asks; a model without one gets the default.
    async fn asks_of(&self, conn: &mut PgConnection, node: &Node, now: DateTime<Utc>) -> broker::Result<Vec<Ask>> {
        let mut asks = self.asks(conn, node.id, now).await?;
        for served in &node.descriptor.models {
            if asks.iter().any(|ask| ask.model == served.model) {
                continue;
            }
            let Some((input, output)) = prices(conn, &served.model, now).await else {
                tracing::warn!(model = served.model, "a model without a price gets no work");
                continue;
            };
            let ask = Ask {
                id: self.ids.next(),
                node_id: node.id,
                model: served.model.clone(),
                prices: AskPrices { currency: CURRENCY, input: part_of(input), output: part_of(output) },
                valid_from: now,
            };
            broker::ask::publish(conn, &ask).await?;
            asks.push(ask);
        }
        Ok(asks)
    }
}

/// The models that are in the catalogue, each with the digest of its reference weights.
async fn known_models(conn: &mut PgConnection, served: Vec<ServedModel>) -> broker::Result<Vec<(ServedModel, String)>> {
    let mut known = vec![];
    for served in served {
        match broker::model::get(conn, &served.model).await {
            Ok(model) => known.push((served, model.weights_sha256)),
            Err(broker::Error::ModelUnknown(_)) => {
                tracing::warn!(model = served.model, "a node serves an unknown model");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

/// What a tenant pays for a token that a model reads, and for one that it writes; an embedding has none of these.
async fn prices(conn: &mut PgConnection, model: &str, now: DateTime<Utc>) -> Option<(AttoPrice, AttoPrice)> {
    if let Ok(prices) = billing::price::in_force(conn, model, CURRENCY, now).await {
        return Some((prices.input.price, prices.output.price));
    }
    let price = billing::price::of_embeddings(conn, model, CURRENCY, now).await.ok()?;
    Some((price.price, AttoPrice::FREE))
}

fn part_of(price: AttoPrice) -> AttoPrice {
    AttoPrice::try_new(price.attos() * DEFAULT_ASK_PERCENT / 100).expect("a part of a price is a price")
}
