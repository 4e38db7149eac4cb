//! A GraphQL subscription over the sub-protocol graphql-transport-ws.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::wait::in_time;

/// One subscription on a socket of its own; dropping it hangs up.
#[derive(Debug)]
pub struct GraphqlSocket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl GraphqlSocket {
    /// Connects, introduces itself with the credential and subscribes.
    pub async fn subscribe(address: SocketAddr, credential: Option<&str>, query: &str, variables: Value) -> Self {
        let mut request = format!("ws://{address}/graphql").into_client_request().expect("the address is one");
        let protocol = "graphql-transport-ws".parse().expect("the name is a header's value");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = in_time("the socket opened", connect_async(request)).await.expect("the socket opens");
        let mut socket = Self { socket };
        let introduction =
            credential.map_or_else(|| json!({}), |secret| json!({"authorization": format!("Bearer {secret}")}));
        socket.send(&json!({"type": "connection_init", "payload": introduction})).await;
        socket
            .send(&json!({"type": "subscribe", "id": "1", "payload": {"query": query, "variables": variables}}))
            .await;
        socket
    }

    /// The next result; `{"errors": …}` when the subscription or the connection is refused; none at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let message = match in_time("the subscription went on", self.socket.next()).await? {
                Ok(Message::Text(text)) => serde_json::from_str::<Value>(&text).expect("messages are JSON"),
                Ok(Message::Close(Some(close))) => {
                    return Some(json!({"errors": [{"message": close.reason.as_str()}]}));
                }
                Ok(Message::Close(None)) | Err(_) => return None,
                Ok(_) => continue,
            };
            match message["type"].as_str() {
                Some("next") => return Some(message["payload"].clone()),
                Some("error") => return Some(json!({"errors": message["payload"]})),
                Some("complete") => return None,
                Some("ping") => self.send(&json!({"type": "pong"})).await,
                _ => {}
            }
        }
    }

    async fn send(&mut self, message: &Value) {
        // A socket that is closed tells why when it is read.
        self.socket.send(Message::text(message.to_string())).await.ok();
    }
}
