//! The one outbound WebSocket: dialling, proving who we are, and reading and writing messages within bounds.

use std::os::fd::AsRawFd;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use primitives::certificate::Certificate;
use primitives::id::NodeId;
use primitives::node_protocol::{
    Credential, FromNode, Hello, MESSAGE_BYTES_MAX, NodeDescriptor, ToNode, VERSION, proof_message,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::error::Error;
use crate::node::identity::Identity;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long dialling, each answer of the greeting, and each write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where nodes connect, below the control plane's address.
const GATEWAY: &str = "/nodes";

/// A connection that the control plane has let in.
pub struct Connection {
    /// Messages to the control plane.
    pub writer: Writer,
    /// Messages from it.
    pub reader: Reader,
    /// What the control plane calls this node.
    pub node_id: NodeId,
    /// How often it wants to hear the load.
    pub heartbeat: Duration,
}

/// What a node says at its introduction.
#[derive(Clone, Debug)]
pub struct About {
    /// What it is.
    pub descriptor: NodeDescriptor,
    /// What it was certified for.
    pub certificates: Vec<Certificate>,
}

/// Dials, introduces the node and proves its key. `join_token` is used if the identity has not joined yet.
///
/// # Errors
/// When the control plane cannot be reached, stays silent, says something else, or does not let the node in.
pub async fn connect(
    control_plane: &str,
    identity: &Identity,
    join_token: Option<&str>,
    about: About,
) -> Result<Connection, Error> {
    let About { descriptor, certificates } = about;
    let public_key = identity.public_key();
    let credential = match (identity.membership(), join_token) {
        (Some(membership), _) => Credential::Known { node_id: membership.node_id },
        (None, Some(token)) => Credential::Join { token: token.into(), public_key: hex::encode(public_key) },
        (None, None) => return Err(identity.not_joined()),
    };
    let descriptor_sha256 = descriptor.sha256();
    let (mut writer, mut reader) = dial(control_plane).await?;
    writer.send(&FromNode::Hello(Box::new(Hello { protocol: VERSION, credential, descriptor, certificates }))).await?;
    let nonce = match reader.answer().await? {
        ToNode::Challenge { nonce } => hex::decode(&nonce).map_err(|error| protocol(format!("the nonce: {error}")))?,
        other => return Err(unexpected(other)),
    };
    let signature = identity.sign(&proof_message(&nonce, &public_key, &descriptor_sha256));
    writer.send(&FromNode::Proof { signature }).await?;
    match reader.answer().await? {
        ToNode::Welcome { node_id, heartbeat_ms } => {
            let heartbeat = Duration::from_millis(u64::from(heartbeat_ms.max(1)));
            Ok(Connection { writer, reader, node_id, heartbeat })
        }
        other => Err(unexpected(other)),
    }
}

async fn dial(control_plane: &str) -> Result<(Writer, Reader), Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(0);
    let without_nagle = true;
    let dialling = connect_async_with_config(gateway_url(control_plane), Some(config), without_nagle);
    let (socket, _) = in_time(dialling).await?.map_err(broken)?;
    match socket.get_ref() {
        MaybeTlsStream::Plain(tcp) => give_up_on_silence(tcp),
        MaybeTlsStream::Rustls(tls) => give_up_on_silence(tls.get_ref().0),
        _ => {}
    }
    let (sink, stream) = socket.split();
    Ok((Writer { sink }, Reader { stream }))
}

/// `http://host` or `ws://host` becomes `ws://host/nodes`; likewise with TLS.
fn gateway_url(control_plane: &str) -> String {
    let address = control_plane.trim_end_matches('/');
    let address = match address.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => address.into(),
    };
    if address.ends_with(GATEWAY) { address } else { address + GATEWAY }
}

/// Lets the kernel end the connection when what we sent (a heartbeat at least) stays unacknowledged: without this a peer
/// whose machine vanished would be noticed after a quarter of an hour.
fn give_up_on_silence(tcp: &TcpStream) {
    let patience_ms: libc::c_uint = PATIENCE.as_millis() as libc::c_uint;
    // SAFETY: the descriptor is open while `tcp` is borrowed, and the option's value is read during the call alone.
    let set = unsafe {
        libc::setsockopt(
            tcp.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const patience_ms).cast(),
            size_of_val(&patience_ms) as libc::socklen_t,
        )
    };
    if set != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the kernel does not bound unacknowledged data");
    }
}

/// The sending half.
pub struct Writer {
    sink: SplitSink<Socket, Message>,
}

impl Writer {
    /// Sends one message at once.
    ///
    /// # Errors
    /// When the connection broke or takes nothing for 10 s.
    pub async fn send(&mut self, message: &FromNode) -> Result<(), Error> {
        in_time(self.sink.send(encode(message))).await?.map_err(broken)
    }

    /// Sends what the queue gives until all its senders are gone, then closes the connection. What is there already goes out
    /// together.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn drain(mut self, mut queue: mpsc::Receiver<FromNode>) -> Result<(), Error> {
        while let Some(message) = queue.recv().await {
            let together = async {
                self.sink.feed(encode(&message)).await?;
                while let Ok(next) = queue.try_recv() {
                    self.sink.feed(encode(&next)).await?;
                }
                self.sink.flush().await
            };
            in_time(together).await?.map_err(broken)?;
        }
        in_time(self.sink.close()).await?.map_err(broken)
    }
}

/// The receiving half.
pub struct Reader {
    stream: SplitStream<Socket>,
}

impl Reader {
    /// The next message.
    ///
    /// # Errors
    /// When the connection broke or closed, or when what came is too long or no message.
    pub async fn next(&mut self) -> Result<ToNode, Error> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|error| protocol(error.to_string()));
                }
                Some(Ok(Message::Binary(_))) => return Err(protocol("a binary frame".into())),
                Some(Ok(Message::Close(_))) | None => return Err(Error::Closed),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(tungstenite::Error::Capacity(error @ CapacityError::MessageTooLong { .. }))) => {
                    return Err(protocol(error.to_string()));
                }
                Some(Err(error)) => return Err(broken(error)),
            }
        }
    }

    async fn answer(&mut self) -> Result<ToNode, Error> {
        in_time(self.next()).await?
    }
}

async fn in_time<F: Future>(future: F) -> Result<F::Output, Error> {
    timeout(PATIENCE, future).await.map_err(|_| Error::Silent { seconds: PATIENCE.as_secs() })
}

fn encode(message: &FromNode) -> Message {
    Message::text(serde_json::to_string(message).expect("a message of the protocol always serialises"))
}

fn broken(error: tungstenite::Error) -> Error {
    Error::Connection { source: Box::new(error) }
}

fn protocol(reason: String) -> Error {
    Error::Protocol { reason }
}

fn unexpected(message: ToNode) -> Error {
    match message {
        ToNode::Refused { code, message } => Error::NotLetIn { code, message },
        _ => protocol("an answer that does not belong to the greeting".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_any_form_becomes_the_gateways() {
        for (address, url) in [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/nodes"),
            ("https://grid.example/", "wss://grid.example/nodes"),
            ("ws://127.0.0.1:8080/nodes", "ws://127.0.0.1:8080/nodes"),
        ] {
            assert_eq!(gateway_url(address), url);
        }
    }
}
