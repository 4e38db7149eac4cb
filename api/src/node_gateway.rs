//! `/nodes`: lets machines in by token or by key, then carries messages between the broker and each one's socket.

use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use broker::NodeLink;
use broker::node::{NodeStatus, Statement};
use ed25519_dalek::{Signature, VerifyingKey};
use futures_util::StreamExt;
use primitives::node_protocol::{
    Credential, FromNode, MESSAGE_BYTES_MAX, NodeDescriptor, ToNode, VERSION, proof_message,
};

use crate::services::Services;
use crate::supply::Arrival;

/// How long a stranger may take for each of its first two messages.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a node tells its load.
const HEARTBEAT_MS: u32 = 1_000;

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
            broker::Error::JoinTokenRevoked => "join_token_revoked",
            broker::Error::NoServableModel => "no_known_model",
            broker::Error::PublicKeyTaken => "public_key_taken",
            broker::Error::NodeUnknown(_) => "node_unknown",
            other => {
                tracing::error!(error = format!("{:#}", anyhow::Error::from(other)), "a node could not be let in");
                return Self::new("internal", "The control plane could not let the node in. Try again.");
            }
        };
        let message = error.to_string();
        Self::new(code, format!("{}{}.", message[..1].to_uppercase(), &message[1..]))
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
        check_proof(&public_key, &hello.descriptor, &nonce, &signature)?;
        let statement =
            Statement { descriptor: hello.descriptor.clone(), nonce: hex::encode(nonce), signature: signature.clone() };
        let session = self.services.supply.arrive(Arrival::new(*hello, public_key.to_bytes(), statement)).await?;
        let (node_id, provider_id) = (session.node_id, session.provider_id);
        tracing::info!(node.id = %node_id, provider.id = %provider_id, "a node is connected");
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
                match node.status {
                    NodeStatus::Suspended => {
                        return Err(Refusal::new("suspended", "The node is suspended. Its history says why."));
                    }
                    NodeStatus::Retired => {
                        return Err(Refusal::new("retired", "The node was retired. Join again with a new token."));
                    }
                    _ => {}
                }
                Some(node.public_key)
            }
        };
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        key.ok_or_else(|| Refusal::new("bad_key", "The public key is not an Ed25519 key in hexadecimal."))
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

fn read(text: &str) -> Result<FromNode, Refusal> {
    serde_json::from_str(text)
        .map_err(|error| Refusal::new("protocol", format!("The message cannot be read: {error}.")))
}

fn check_proof(
    public_key: &VerifyingKey,
    descriptor: &NodeDescriptor,
    nonce: &[u8],
    signature: &str,
) -> Result<(), Refusal> {
    let signature = hex::decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let message = proof_message(nonce, public_key.as_bytes(), &descriptor.sha256());
    let proved = signature.is_some_and(|signature| public_key.verify_strict(&message, &signature).is_ok());
    proved
        .then_some(())
        .ok_or_else(|| Refusal::new("bad_proof", "The signature does not match the node's key and descriptor."))
}
