//! `GET /graphql`: operations over one WebSocket, by the protocol `graphql-transport-ws`.
//!
//! A socket's conversation is driven by its response's body: it lives, waits and ends with the connection, and no task is
//! left behind. It is bounded on every side: the first message's delay, each message's size, operations at once, silence.

use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::body::{BodyStream, BoxBody, MessageBody};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use async_graphql::http::{ClientMessage, WebSocket, WebSocketProtocols, WsMessage};
use async_graphql::{Data, Executor, Request, Response};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Schema;
use super::bound::{bounded, is_subscription};
use super::http::{BODY_BYTES_MAX, Door, is_foreign, refuse, session_cookie};
use super::refusal::{named, refused, with_nulls};
use crate::auth::Auth;
use crate::error::Error;

/// The protocol spoken.
const PROTOCOL: &str = "graphql-transport-ws";
/// Operations at once on one socket.
const OPERATIONS_MAX: usize = 32;
/// How long a client may take to introduce itself.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// After this much silence the client is asked whether it lives, and after as much again it is left.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Opens a socket.
pub async fn open(http: HttpRequest, payload: Payload, door: web::Data<Door>) -> HttpResponse {
    upgrade(&http, payload, door).unwrap_or_else(refuse)
}

fn upgrade(http: &HttpRequest, payload: Payload, door: web::Data<Door>) -> Result<HttpResponse, Error> {
    let cookie = session_cookie(http.headers());
    if cookie.is_some() && is_foreign(http.headers()) {
        return Err(Error::Forbidden("a page of another site cannot open a socket with our cookie"));
    }
    let opened = actix_ws::handle_with_protocols(http, payload, &[PROTOCOL]).map_err(|_| Error::Invalid {
        param: None,
        message: format!("GET opens a WebSocket that speaks {PROTOCOL}; send operations by POST."),
    });
    let (response, session, messages) = opened?;
    if !response.headers().contains_key("sec-websocket-protocol") {
        return Err(Error::invalid("sec-websocket-protocol", format!("Only {PROTOCOL} is spoken.")));
    }
    let messages =
        messages.max_frame_size(BODY_BYTES_MAX).aggregate_continuations().max_continuation_size(BODY_BYTES_MAX);
    let conversation = converse(door, cookie, session, messages);
    Ok(response.map_body(|_, body| driving(conversation, body)))
}

/// A body that makes its own content: whoever polls it drives the conversation, whoever drops it ends it.
fn driving(conversation: impl Future<Output = ()> + 'static, mut body: BoxBody) -> BoxBody {
    let frames = stream::poll_fn(move |cx| Pin::new(&mut body).poll_next(cx));
    let silent = stream::once(conversation).filter_map(|()| ready(None));
    BodyStream::new(stream::select(frames, silent)).boxed()
}

async fn converse(
    door: web::Data<Door>,
    cookie: Option<SecretString>,
    mut session: Session,
    messages: AggregatedMessageStream,
) {
    let listener = Listener { messages, session: session.clone(), opened_at: Instant::now(), greeted: false };
    let operations = Operations {
        schema: door.schema.clone(),
        auth: door.auth.clone(),
        credential: Arc::default(),
        places: Arc::new(Semaphore::new(OPERATIONS_MAX)),
    };
    let introduced = operations.clone();
    let socket = WebSocket::from_message_stream(operations, listener.into_stream(), WebSocketProtocols::GraphQLWS);
    let mut answers = Box::pin(socket.on_connection_init(move |greeting| introduced.introduce(cookie, greeting)));
    while let Some(answer) = answers.next().await {
        let sent = match answer {
            WsMessage::Text(text) => session.text(text).await,
            WsMessage::Close(code, reason) => return close(session, code, &reason).await,
        };
        if sent.is_err() {
            return;
        }
    }
    // The listener may have said why already.
    session.close(None).await.ok();
}

async fn close(session: Session, code: u16, reason: &str) {
    let reason = CloseReason { code: CloseCode::from(code), description: Some(reason.to_owned()) };
    // A client that is gone needs no reason.
    session.close(Some(reason)).await.ok();
}

/// The client's side of the conversation.
struct Listener {
    messages: AggregatedMessageStream,
    session: Session,
    opened_at: Instant,
    greeted: bool,
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = serde_json::Result<ClientMessage>> {
        stream::unfold(self, |mut listener| async move {
            match listener.next().await {
                Ok(message) => Some((Ok(message), listener)),
                Err((code, reason)) => {
                    close(listener.session.clone(), code, reason).await;
                    None
                }
            }
        })
    }

    /// The next message. *Errors*: why the socket closes.
    async fn next(&mut self) -> Result<ClientMessage, (u16, &'static str)> {
        let text = self.text().await?;
        let message = ClientMessage::from_bytes(text.as_bytes()).map_err(|_| (4400, "Invalid message received"))?;
        match message {
            ClientMessage::ConnectionInit { .. } => self.greeted = true,
            ClientMessage::Start { .. } if !self.greeted => return Err((4401, "Unauthorized")),
            _ => {}
        }
        Ok(message)
    }

    async fn text(&mut self) -> Result<String, (u16, &'static str)> {
        let mut asked = false;
        loop {
            let mut deadline = Instant::now() + SILENCE_MAX;
            if !self.greeted {
                deadline = deadline.min(self.opened_at + INIT_TIMEOUT);
            }
            let message = match timeout_at(deadline, self.messages.recv()).await {
                Ok(Some(message)) => message.map_err(|_| (1009, "A message is too large or not well-formed"))?,
                Ok(None) => return Err((1000, "")),
                Err(_) if !self.greeted => return Err((4408, "Connection initialisation timeout")),
                Err(_) if asked => return Err((1001, "Silent too long")),
                Err(_) => {
                    asked = true;
                    self.session.ping(b"").await.map_err(|_| (1000, ""))?;
                    continue;
                }
            };
            asked = false;
            match message {
                AggregatedMessage::Text(text) => return Ok(text.to_string()),
                AggregatedMessage::Ping(bytes) => self.session.pong(&bytes).await.map_err(|_| (1000, ""))?,
                AggregatedMessage::Pong(_) => {}
                AggregatedMessage::Binary(_) => return Err((1003, "Only text is spoken")),
                AggregatedMessage::Close(_) => return Err((1000, "")),
            }
        }
    }
}

/// Runs a socket's operations: a bounded number at once, each with the rights that its credential has then.
#[derive(Clone)]
struct Operations {
    schema: Schema,
    auth: Auth,
    credential: Arc<OnceLock<SecretString>>,
    places: Arc<Semaphore>,
}

impl Operations {
    /// Learns who speaks: by the greeting's `authorization`, or else by the handshake's cookie.
    async fn introduce(self, cookie: Option<SecretString>, greeting: Value) -> async_graphql::Result<Data> {
        let bearer = greeting["authorization"].as_str();
        let bearer = bearer.map(|text| SecretString::from(text.strip_prefix("Bearer ").unwrap_or(text).trim()));
        if let Some(credential) = bearer.or(cookie) {
            self.auth.caller(credential.expose_secret()).await?;
            self.credential.get_or_init(|| credential);
        }
        Ok(Data::default())
    }

    /// The request, bounded and with its caller, asked anew each time: a socket outlives a key's revocation.
    async fn prepare(&self, request: Request) -> Result<Request, Error> {
        let request = bounded(request)?;
        match self.credential.get() {
            Some(credential) => Ok(request.data(self.auth.caller(credential.expose_secret()).await?)),
            None => Ok(request),
        }
    }

    /// The answers of one operation: one, or a subscription's many.
    async fn answers(self, request: Request, data: Arc<Data>) -> BoxStream<'static, Response> {
        match self.prepare(request).await {
            Ok(mut request) => {
                let finish = if is_subscription(&mut request) { named } else { |response| named(with_nulls(response)) };
                self.schema.execute_stream_with_session_data(request, data).map(finish).boxed()
            }
            Err(error) => stream::once(ready(refused(error))).boxed(),
        }
    }
}

impl Executor for Operations {
    async fn execute(&self, request: Request) -> Response {
        match self.prepare(request).await {
            Ok(request) => named(with_nulls(self.schema.execute(request).await)),
            Err(error) => refused(error),
        }
    }

    fn execute_stream(&self, request: Request, data: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let limit = format!("{OPERATIONS_MAX} operations at once on one connection");
            let error = Error::RateLimited { limit, retry_after: Duration::from_secs(1) };
            return stream::once(ready(refused(error))).boxed();
        };
        let answers = stream::once(self.clone().answers(request, data.unwrap_or_default())).flatten();
        answers
            .inspect(move |_| {
                let _held_until_the_last = &place;
            })
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use primitives::clock::Clock;
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    #[tokio::test]
    async fn a_socket_runs_a_bounded_number_of_operations_at_once() {
        let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@localhost/nothing").unwrap();
        let operations = Operations {
            schema: crate::graphql::builder().finish(),
            auth: Auth::try_new(pool, Clock::system(), &"00".repeat(32).into()).unwrap(),
            credential: Arc::default(),
            places: Arc::new(Semaphore::new(1)),
        };
        let run = || operations.execute_stream(Request::new("{ me { id } }"), None);
        let first = run();
        let refused: Vec<Response> = run().collect().await;
        assert!(refused[0].errors[0].message.contains("operations at once"), "{refused:?}");
        drop(first);
        let answered: Vec<Response> = run().collect().await;
        assert!(answered.len() == 1 && answered[0].errors.is_empty(), "{answered:?}");
        assert!(run().collect::<Vec<_>>().await[0].errors.is_empty(), "the place is free again after the last answer");
    }
}
