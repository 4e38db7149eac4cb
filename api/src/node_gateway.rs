//! `/nodes`: lets machines in by token or by key, then carries messages between the broker and each one's socket.

use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use broker::NodeLink;
use broker::ask::{Ask, AskPrices};
use broker::node::{Node, NodeSession, NodeStatus};
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signature, VerifyingKey};
use futures_util::StreamExt;
use primitives::money::AttoPrice;
use primitives::node_protocol::{
    Credential, FromNode, Hello, MESSAGE_BYTES_MAX, NodeDescriptor, ServedModel, ToNode, VERSION, proof_message,
};
use primitives::tx::run_tx;
use secrecy::SecretString;
use sqlx::PgConnection;

use crate::CURRENCY;
use crate::services::Services;

/// How long a stranger may take for each of its first two messages.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a node tells its load.
const HEARTBEAT_MS: u32 = 1_000;
/// What a new node asks of the tenant's price until its provider names asks of its own. *Units*: percent.
const DEFAULT_ASK_PERCENT: i128 = 70;

/// Why a node is not let in: a word for programs and a sentence for people.
struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<broker::Error> for Refusal {
    fn from(error: broker::Error) -> Self {
        let code = match error {
            broker::Error::JoinTokenUnknown => "join_token_unknown",
            broker::Error::JoinTokenUsed => "join_token_used",
            broker::Error::JoinTokenExpired => "join_token_expired",
            broker::Error::PublicKeyTaken => "public_key_taken",
            broker::Error::NodeUnknown(_) => "node_unknown",
            other => {
                tracing::error!(error = format!("{:#}", anyhow::Error::from(other)), "a node could not be let in");
                return Self::new("internal", "The control plane could not let the node in. Try again.");
            }
        };
        Self::new(code, format!("{error}."))
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::from(broker::Error::from(error))
    }
}

/// Opens the socket; everything else is said on it.
pub async fn open(http: HttpRequest, payload: Payload, services: Data<Services>) -> actix_web::Result<HttpResponse> {
    let (response, session, messages) = actix_ws::handle(&http, payload)?;
    let messages =
        messages.max_frame_size(MESSAGE_BYTES_MAX).aggregate_continuations().max_continuation_size(MESSAGE_BYTES_MAX);
    let conversation = Conversation { services: services.clone(), session, messages };
    services.sockets.spawn_local(conversation.run());
    Ok(response)
}

/// One node's socket.
struct Conversation {
    services: Data<Services>,
    session: Session,
    messages: AggregatedMessageStream,
}

impl Conversation {
    async fn run(mut self) {
        match self.admit().await {
            Ok(link) => self.carry(link).await,
            Err(Refusal { code, message }) => {
                tracing::info!(refusal.code = code, "a node was not let in");
                self.say(&ToNode::Refused { code: code.to_owned(), message }).await;
            }
        }
        // The socket may be gone already.
        self.session.close(None).await.ok();
    }

    /// HELLO, CHALLENGE, PROOF, WELCOME.
    async fn admit(&mut self) -> Result<NodeLink, Refusal> {
        let FromNode::Hello(hello) = self.expect().await? else {
            return Err(Refusal::new("protocol", "The first message must be `hello`."));
        };
        if hello.protocol != VERSION {
            let message =
                format!("This control plane speaks version {VERSION} of the node protocol. Update tokengrid-node.");
            return Err(Refusal::new("protocol_version", message));
        }
        let public_key = self.public_key(&hello.credential).await?;
        let nonce: [u8; 32] = self.services.ids.bytes();
        self.say(&ToNode::Challenge { nonce: hex::encode(nonce) }).await;
        let FromNode::Proof { signature } = self.expect().await? else {
            return Err(Refusal::new("protocol", "The answer to a challenge must be `proof`."));
        };
        check_proof(&public_key, &nonce, &signature)?;
        let session = self.session_of(*hello, public_key).await?;
        let node_id = session.node_id;
        let link = self.services.broker.connect(session).await;
        let link = link.map_err(|refused| Refusal::new("shutting_down", format!("{refused}.")))?;
        self.say(&ToNode::Welcome { node_id, heartbeat_ms: HEARTBEAT_MS }).await;
        Ok(link)
    }

    /// The next message, soon. *Errors*: silence, or something that is no message.
    async fn expect(&mut self) -> Result<FromNode, Refusal> {
        loop {
            let message = tokio::time::timeout(HANDSHAKE, self.messages.next()).await;
            let message = message.map_err(|_| Refusal::new("too_slow", "The node said nothing for ten seconds."))?;
            match message {
                Some(Ok(AggregatedMessage::Text(text))) => return read(&text),
                Some(Ok(AggregatedMessage::Ping(bytes))) => {
                    self.session.pong(&bytes).await.ok();
                }
                _ => return Err(Refusal::new("protocol", "Messages are JSON text frames.")),
            }
        }
    }

    async fn say(&mut self, message: &ToNode) {
        let text = serde_json::to_string(message).expect("protocol messages are plain data");
        // A socket that is gone is noticed by the reading side.
        self.session.text(text).await.ok();
    }

    async fn public_key(&self, credential: &Credential) -> Result<VerifyingKey, Refusal> {
        let bytes = match credential {
            Credential::Join { public_key, .. } => {
                hex::decode(public_key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            }
            Credential::Known { node_id } => {
                let node = broker::node::get(&mut *self.services.pool.acquire().await?, *node_id).await?;
                if node.status == NodeStatus::Suspended {
                    return Err(Refusal::new("suspended", "The node is suspended. Ask the operator why."));
                }
                Some(node.public_key)
            }
        };
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        key.ok_or_else(|| Refusal::new("bad_key", "The public key is not an Ed25519 key in hexadecimal."))
    }

    /// Registers or greets the node and collects what the broker needs to know of it.
    async fn session_of(&self, hello: Hello, public_key: VerifyingKey) -> Result<NodeSession, Refusal> {
        let Hello { credential, mut descriptor, .. } = hello;
        let now = self.services.clock.now();
        let mut conn = self.services.pool.acquire().await?;
        descriptor.models = known_models(&mut conn, descriptor.models).await?;
        let node: Node = match credential {
            Credential::Join { token, .. } => {
                let joining =
                    Joining { token: token.into(), public_key: public_key.to_bytes(), descriptor: descriptor.clone() };
                join(&self.services, joining, now).await?
            }
            Credential::Known { node_id } => {
                broker::node::touch(&mut conn, node_id, &descriptor, now).await?;
                broker::node::get(&mut conn, node_id).await?
            }
        };
        let asks = self.asks(&mut conn, &node, &descriptor.models).await?;
        let (node_id, provider_id, public_key) = (node.id, node.provider_id, public_key.to_bytes());
        tracing::info!(node.id = %node_id, provider.id = %provider_id, "a node is connected");
        Ok(NodeSession { node_id, provider_id, public_key, descriptor, asks })
    }

    /// The node's asks; a model without one gets the default.
    async fn asks(&self, conn: &mut PgConnection, node: &Node, models: &[ServedModel]) -> Result<Vec<Ask>, Refusal> {
        let now = self.services.clock.now();
        let mut asks = broker::ask::current(conn, node.id, now).await?;
        for served in models {
            if asks.iter().any(|ask| ask.model == served.model) {
                continue;
            }
            let Some((input, output)) = prices(conn, &served.model, now).await else {
                tracing::warn!(model = served.model, "a model without a price gets no work");
                continue;
            };
            let ask = Ask {
                id: self.services.ids.next(),
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

    /// Carries messages both ways until either side ends.
    async fn carry(&mut self, mut link: NodeLink) {
        let mut broken_off = false;
        loop {
            tokio::select! {
                message = link.receive() => match message {
                    Some(message) => self.say(&message).await,
                    None => return,
                },
                message = self.messages.next() => match message {
                    Some(Ok(AggregatedMessage::Text(text))) => match read(&text) {
                        Ok(message) => if !link.send(message).await { return },
                        Err(Refusal { code, message }) => {
                            return self.say(&ToNode::Refused { code: code.to_owned(), message }).await;
                        }
                    },
                    Some(Ok(AggregatedMessage::Ping(bytes))) => {
                        self.session.pong(&bytes).await.ok();
                    }
                    Some(Ok(AggregatedMessage::Pong(_))) => {}
                    // A node that leaves right after its last words: the connection's end comes before the frames that the
                    // stream still holds.
                    Some(Err(_)) if !broken_off => broken_off = true,
                    _ => return,
                },
            }
        }
    }
}

/// A first visit.
#[derive(Clone)]
struct Joining {
    token: SecretString,
    public_key: [u8; 32],
    descriptor: NodeDescriptor,
}

/// Uses the token up and registers the node, both or neither.
async fn join(services: &Services, joining: Joining, now: DateTime<Utc>) -> broker::Result<Node> {
    run_tx(&services.pool, "node_join", |conn| {
        let (ids, joining) = (services.ids.clone(), joining.clone());
        Box::pin(async move {
            let Joining { token, public_key, descriptor } = joining;
            broker::node::join(conn, &ids, &token, public_key, descriptor, now).await
        })
    })
    .await
}

fn read(text: &str) -> Result<FromNode, Refusal> {
    serde_json::from_str(text)
        .map_err(|error| Refusal::new("protocol", format!("The message cannot be read: {error}.")))
}

fn check_proof(public_key: &VerifyingKey, nonce: &[u8], signature: &str) -> Result<(), Refusal> {
    let signature = hex::decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let message = proof_message(nonce, public_key.as_bytes());
    let proved = signature.is_some_and(|signature| public_key.verify_strict(&message, &signature).is_ok());
    proved.then_some(()).ok_or_else(|| Refusal::new("bad_proof", "The signature does not match the node's key."))
}

/// The models that are in the catalogue with just these weights. *Errors*: there are models, and none is; a node that only
/// joins brings none yet.
async fn known_models(conn: &mut PgConnection, served: Vec<ServedModel>) -> Result<Vec<ServedModel>, Refusal> {
    let (none_served, mut known) = (served.is_empty(), vec![]);
    for model in served {
        match broker::model::get(conn, &model.model).await {
            Ok(entry) if entry.weights_sha256 == model.weights_sha256 => known.push(model),
            Ok(_) => tracing::warn!(model = model.model, "a node's weights are not the registered ones"),
            Err(broker::Error::ModelUnknown(_)) => {
                tracing::warn!(model = model.model, "a node serves an unknown model")
            }
            Err(error) => return Err(error.into()),
        }
    }
    if known.is_empty() && !none_served {
        let message = "None of the node's models is in the catalogue with the same weights. Serve a registered model.";
        return Err(Refusal::new("no_known_model", message));
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
