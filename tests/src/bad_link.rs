//! A bad network between a node and the control plane: a WebSocket proxy that reads the node protocol and breaks it on purpose.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use primitives::node_protocol::ToNode;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use crate::lies;

/// A message that comes late comes at most so much later, and others overtake it.
const LATE_MAX: Duration = Duration::from_millis(400);

/// Of messages, the share that each thing happens to.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// The connection breaks.
    pub cut: f64,
    /// It is lost, and the connection stays; only what the node says, since what it is told is either there or the link is gone.
    pub lose: f64,
    /// It comes late, so that others overtake it.
    pub late: f64,
    /// It comes again.
    pub double: f64,
    /// Half of it comes.
    pub garble: f64,
    /// What the node says becomes a lie.
    pub lie: f64,
}

/// A way to the control plane that is bad in a way of its own.
#[derive(Debug)]
pub struct BadLink {
    /// Where a node reaches the control plane by it.
    pub address: SocketAddr,
    parted: watch::Sender<bool>,
    count: Count,
    _carrying: JoinSet<()>,
}

/// How often each thing happened.
type Count = Arc<Mutex<BTreeMap<&'static str, u64>>>;

type Socket<S> = WebSocketStream<S>;

#[derive(Clone, Copy, Debug)]
enum Way {
    ToNode,
    ToControlPlane,
}

impl BadLink {
    /// Opens a way to the control plane at this address; the seed draws what happens to which message.
    pub async fn open(control_plane: SocketAddr, faults: Faults, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free loopback ports");
        let address = listener.local_addr().expect("a listener has an address");
        let (parted, is_parted) = watch::channel(false);
        let count = Count::default();
        let mut carrying = JoinSet::new();
        let counted = count.clone();
        carrying.spawn(async move {
            let mut links = JoinSet::new();
            let mut random = ChaCha20Rng::seed_from_u64(seed);
            while let Ok((node, _)) = listener.accept().await {
                let random = ChaCha20Rng::seed_from_u64(random.random());
                let link = Link { faults, random, parted: is_parted.clone(), count: counted.clone() };
                links.spawn(link.carry(node, control_plane));
            }
        });
        Self { address, parted, count, _carrying: carrying }
    }

    /// Nothing passes any more, and no connection breaks.
    pub fn part(&self) {
        self.parted.send_replace(true);
    }

    /// What was held up passes, late.
    pub fn heal(&self) {
        self.parted.send_replace(false);
    }

    /// How often each thing happened so far.
    pub fn count(&self) -> BTreeMap<&'static str, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One connection of a node's.
struct Link {
    faults: Faults,
    random: ChaCha20Rng,
    parted: watch::Receiver<bool>,
    count: Count,
}

/// Why a connection ends.
struct Cut;

impl From<tungstenite::Error> for Cut {
    fn from(_: tungstenite::Error) -> Self {
        Self
    }
}

impl Link {
    async fn carry(mut self, node: TcpStream, control_plane: SocketAddr) {
        node.set_nodelay(true).ok();
        let Ok(mut node) = accept_async(node).await else { return };
        let Ok((mut control, _)) = connect_async(format!("ws://{control_plane}/nodes")).await else { return };
        // Either end of either connection ends both, when they are dropped.
        if Self::greet(&mut node, &mut control).await.is_ok() {
            let _ = self.pass(&mut node, &mut control).await;
        }
    }

    /// Carries the greeting as it is: the node's proof covers what it says of itself.
    async fn greet(node: &mut Socket<TcpStream>, control: &mut Socket<MaybeTlsStream<TcpStream>>) -> Result<(), Cut> {
        loop {
            let said = text(node.next().await)?;
            control.send(Message::text(said)).await?;
            let answer = text(control.next().await)?;
            let is_in = matches!(serde_json::from_str(&answer), Ok(ToNode::Welcome { .. }));
            node.send(Message::text(answer)).await?;
            if is_in {
                return Ok(());
            }
        }
    }

    /// Carries everything else until the connection breaks.
    async fn pass(
        &mut self,
        node: &mut Socket<TcpStream>,
        control: &mut Socket<MaybeTlsStream<TcpStream>>,
    ) -> Result<(), Cut> {
        let mut late = JoinSet::new();
        loop {
            self.parted.wait_for(|parted| !parted).await.map_err(|_| Cut)?;
            let (way, message, is_late) = tokio::select! {
                _ = self.parted.changed() => continue,
                message = node.next() => (Way::ToControlPlane, text(message)?, false),
                message = control.next() => (Way::ToNode, text(message)?, false),
                Some(Ok((way, message))) = late.join_next() => (way, message, true),
            };
            let now = if is_late { vec![message] } else { self.spoil(way, message, &mut late)? };
            for message in now {
                match way {
                    Way::ToNode => node.send(Message::text(message)).await?,
                    Way::ToControlPlane => control.send(Message::text(message)).await?,
                }
            }
        }
    }

    /// What of a message comes now, if the connection does not break over it.
    fn spoil(&mut self, way: Way, mut message: String, late: &mut JoinSet<(Way, String)>) -> Result<Vec<String>, Cut> {
        let faults = self.faults;
        if self.happens("cut", faults.cut) {
            return Err(Cut);
        }
        if matches!(way, Way::ToControlPlane) {
            if self.happens("lost", faults.lose) {
                return Ok(vec![]);
            }
            if self.happens("lie", faults.lie)
                && let Ok(mut said) = serde_json::from_str(&message)
            {
                lies::twist(&mut said, self.random.random());
                message = serde_json::to_string(&said).expect("protocol messages are plain data");
            }
        }
        if self.happens("garbled", faults.garble) {
            let half = (0..=message.len() / 2).rev().find(|place| message.is_char_boundary(*place));
            message.truncate(half.unwrap_or(0));
        }
        let mut later = |message: String, random: &mut ChaCha20Rng| {
            let after = random.random_range(Duration::ZERO..LATE_MAX);
            late.spawn(async move {
                tokio::time::sleep(after).await;
                (way, message)
            });
        };
        if self.happens("doubled", faults.double) {
            later(message.clone(), &mut self.random);
        }
        if self.happens("late", faults.late) {
            later(message, &mut self.random);
            return Ok(vec![]);
        }
        Ok(vec![message])
    }

    fn happens(&mut self, what: &'static str, share: f64) -> bool {
        let happens = self.random.random_bool(share);
        if happens {
            *self.count.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
        }
        happens
    }
}

/// The text of a message; everything else ends the connection, since neither side says anything else.
fn text(message: Option<tungstenite::Result<Message>>) -> Result<String, Cut> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(text.to_string()),
        _ => Err(Cut),
    }
}
