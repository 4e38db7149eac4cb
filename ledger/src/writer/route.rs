//! The way to the writer: its own queue, or whoever has the shard, which may be another replica, and may change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::pipeline::Command;
use super::task::Waiting;
use crate::block::BlockRef;
use crate::error::Error;
use crate::hold::{Hold, HoldPart};
use crate::recipe::Request;
use crate::replica::courier::Parcel;
use crate::replica::letter::Kept;

/// How long a request looks for its writer: longer than a take-over from one that hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits before it asks the same owner again: first, and at most, twice as long each time.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// The queue of a writer that runs in this process.
pub(crate) type Queue = mpsc::Sender<Command<Waiting>>;

/// Who has the shard, as this replica knows it.
#[derive(Clone)]
pub(crate) enum Owner {
    /// Nobody who serves others.
    Nobody,
    /// This replica.
    Here(Queue),
    /// The replica at that address, since that epoch.
    There { address: Arc<str>, epoch: i64 },
}

/// Where requests go.
#[derive(Clone)]
pub(crate) enum Route {
    /// To the writer that was started with the handle, for as long as that runs.
    One(Queue),
    /// To whoever has the shard.
    Owner { owner: watch::Receiver<Owner>, courier: mpsc::Sender<Parcel> },
}

impl Route {
    /// Asks until somebody tells what became of the request, or patience ends. One whose outcome nobody told is asked again: it is
    /// known by its id, so it happens once, and gets the first answer.
    ///
    /// *Errors*: the writer's refusal; [`Error::Unavailable`] when nobody was there to ask; [`Error::Stopped`] when somebody was asked
    /// and nobody told.
    pub async fn ask(&self, request: Request) -> Result<BlockRef, Error> {
        let mut search = match self {
            Self::One(queue) => return Ok(send(queue, request, false).await?.kept().await?.block),
            Self::Owner { owner, courier } => Search::new(owner, courier),
        };
        loop {
            match search.ask(&request, false).await? {
                Found::Told(answer) => return Ok(answer?.block),
                Found::Sent(sent) => match sent.kept().await {
                    Err(Error::Stopped) => search.go_on(true).await?,
                    answer => return Ok(answer?.block),
                },
            }
        }
    }

    /// Asks for a hold. A writer of this process decides at once; another's answers once the hold is durable.
    pub async fn hold(&self, request: Request) -> Result<Hold, Error> {
        let mut search = match self {
            Self::One(queue) => return send(queue, request, true).await?.hold(None).await,
            Self::Owner { owner, courier } => Search::new(owner, courier),
        };
        loop {
            match search.ask(&request, true).await? {
                Found::Told(answer) => return Ok(Hold::kept(answer?)),
                Found::Sent(sent) => match sent.hold(Some((self.clone(), request.clone()))).await {
                    Err(Error::Stopped) => search.go_on(true).await?,
                    answer => return answer,
                },
            }
        }
    }
}

/// Asks a writer of this process for others.
pub(crate) async fn ask_here(queue: &Queue, requests: Vec<Request>) -> Vec<Result<Kept, Error>> {
    let mut sent = Vec::with_capacity(requests.len());
    for request in requests {
        sent.push(send(queue, request, true).await);
    }
    let mut answers = Vec::with_capacity(sent.len());
    for sent in sent {
        answers.push(match sent {
            Ok(sent) => sent.kept().await,
            Err(error) => Err(error),
        });
    }
    answers
}

/// Hands a request to a writer of this process. *Errors*: [`Error::Stopped`] when it takes no more.
async fn send(queue: &Queue, request: Request, told: bool) -> Result<Sent, Error> {
    let (durable, answer) = oneshot::channel();
    let (decided, decision) = if told { Some(oneshot::channel()).unzip() } else { (None, None) };
    let caller = Waiting { decided, durable };
    queue.send(Command { request, caller }).await.map_err(|_| Error::Stopped)?;
    Ok(Sent { decided: decision, durable: answer })
}

/// A request that a writer of this process has.
struct Sent {
    /// Its decision, where somebody waits for that.
    decided: Option<oneshot::Receiver<Result<Vec<HoldPart>, Error>>>,
    durable: oneshot::Receiver<Result<BlockRef, Error>>,
}

impl Sent {
    async fn decided(&mut self) -> Result<Vec<HoldPart>, Error> {
        match self.decided.take() {
            Some(decided) => decided.await.map_err(|_| Error::Stopped)?,
            None => Ok(Vec::new()),
        }
    }

    async fn kept(mut self) -> Result<Kept, Error> {
        let parts = self.decided().await?;
        let block = self.durable.await.map_err(|_| Error::Stopped)??;
        Ok(Kept { block, parts })
    }

    async fn hold(mut self, again: Option<(Route, Request)>) -> Result<Hold, Error> {
        let parts = self.decided().await?;
        Ok(Hold { parts, durable: Some(self.durable), block: None, again })
    }
}

/// A request's search for its writer.
struct Search<'a> {
    owner: watch::Receiver<Owner>,
    courier: &'a mpsc::Sender<Parcel>,
    until: Instant,
    again: Duration,
    /// True once somebody was asked who did not tell.
    unknown: bool,
}

/// What a search finds.
enum Found {
    /// A writer of this process has the request.
    Sent(Sent),
    /// Another replica told what became of it.
    Told(Result<Kept, Error>),
}

impl<'a> Search<'a> {
    fn new(owner: &watch::Receiver<Owner>, courier: &'a mpsc::Sender<Parcel>) -> Self {
        let (owner, until) = (owner.clone(), Instant::now() + PATIENCE);
        Self { owner, courier, until, again: AGAIN_MIN, unknown: false }
    }

    /// Asks whoever has the shard, until somebody has the request or told of it. *Errors*: patience ended.
    async fn ask(&mut self, request: &Request, told: bool) -> Result<Found, Error> {
        loop {
            let owner = self.owner.borrow_and_update().clone();
            let unknown = match owner {
                Owner::Nobody => false,
                Owner::Here(queue) => match send(&queue, request.clone(), told).await {
                    Ok(sent) => return Ok(Found::Sent(sent)),
                    Err(_) => false,
                },
                Owner::There { address, .. } => match self.there(address, request.clone()).await {
                    Some(answer) => return Ok(Found::Told(answer)),
                    None => true,
                },
            };
            self.go_on(unknown).await?;
        }
    }

    /// Asks another replica; none when it did not tell, or has the shard no more.
    async fn there(&mut self, address: Arc<str>, request: Request) -> Option<Result<Kept, Error>> {
        let (sender, answer) = oneshot::channel();
        self.courier.send(Parcel { address, request, sender }).await.ok()?;
        tokio::select! {
            answer = answer => match answer.ok()? {
                Err(Error::Stopped) => None,
                answer => Some(answer),
            },
            changed = self.owner.changed() => {
                // Whoever goes on looks who has it now.
                changed.ok()?;
                self.owner.mark_changed();
                None
            }
        }
    }

    /// Waits until asking again may help; `unknown` tells that the last one who was asked did not tell. *Errors*: patience ended,
    /// or this replica did.
    async fn go_on(&mut self, unknown: bool) -> Result<(), Error> {
        self.unknown |= unknown;
        let ended = if self.unknown { Error::Stopped } else { Error::Unavailable };
        let again = Instant::now() + self.again;
        self.again = (self.again * 2).min(AGAIN_MAX);
        if again >= self.until {
            return Err(ended);
        }
        if matches!(*self.owner.borrow(), Owner::Nobody) {
            return match timeout_at(self.until, self.owner.changed()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(ended),
            };
        }
        tokio::select! {
            changed = self.owner.changed() => changed.map_err(|_| ended),
            () = sleep_until(again) => Ok(()),
        }
    }
}
