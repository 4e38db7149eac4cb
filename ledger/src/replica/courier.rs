//! The courier: gathers the requests that wait for another replica's writer into letters, a few of which travel at once.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::letter::{Carrier, Kept, LETTER_REQUESTS_MAX, Letter, Reply};
use crate::SHARD;
use crate::error::Error;
use crate::recipe::Request;
use crate::writer::route::Owner;

/// How many letters travel at once. What comes meanwhile waits, and shares the next one.
const LETTERS_MAX: usize = 8;

/// A request for another replica.
pub(crate) struct Parcel {
    /// Where the writer is.
    pub address: Arc<str>,
    pub request: Request,
    /// Who waits. Told [`Error::Stopped`] when nobody knows what became of the request.
    pub sender: oneshot::Sender<Result<Kept, Error>>,
}

/// Sends what comes until nobody is left who could send. What travels when the shard changes its owner is given up: whoever waits for
/// it asks the next one.
pub(super) async fn run(
    mut queue: mpsc::Receiver<Parcel>,
    carrier: Arc<dyn Carrier>,
    mut owner: watch::Receiver<Owner>,
) {
    let mut travelling = JoinSet::new();
    let mut parcels = Vec::new();
    loop {
        tokio::select! {
            Some(_) = travelling.join_next() => {}
            changed = owner.changed() => match changed {
                Ok(()) => travelling.abort_all(),
                Err(_) => return,
            },
            count = queue.recv_many(&mut parcels, LETTER_REQUESTS_MAX), if travelling.len() < LETTERS_MAX => {
                if count == 0 {
                    return;
                }
                parcels.retain(|parcel| !parcel.sender.is_closed());
                travelling.spawn(deliver(carrier.clone(), std::mem::take(&mut parcels)));
            }
        }
    }
}

/// Sends a letter to each of the addresses, which is one unless the owner just changed.
async fn deliver(carrier: Arc<dyn Carrier>, mut parcels: Vec<Parcel>) {
    while let Some(first) = parcels.first() {
        let address = first.address.clone();
        let (there, elsewhere) = parcels.into_iter().partition(|parcel| parcel.address == address);
        parcels = elsewhere;
        send(&*carrier, &address, there).await;
    }
}

async fn send(carrier: &dyn Carrier, address: &str, parcels: Vec<Parcel>) {
    let (requests, senders): (Vec<_>, Vec<_>) =
        parcels.into_iter().map(|parcel| (parcel.request, parcel.sender)).unzip();
    let answers = ask(carrier, address, requests).await.unwrap_or_default();
    let answers = answers.into_iter().chain(std::iter::repeat_with(|| Err(Error::Stopped)));
    for (sender, answer) in senders.into_iter().zip(answers) {
        // Who gave up waiting asks again.
        sender.send(answer).ok();
    }
}

/// What became of requests at that address; nothing when nobody knows.
pub(super) async fn ask(
    carrier: &dyn Carrier,
    address: &str,
    requests: Vec<Request>,
) -> Option<Vec<Result<Kept, Error>>> {
    let count = requests.len();
    let reply = carrier.carry(address, Letter { shard: SHARD, requests }.write()).await.ok()?;
    match Reply::read(&reply) {
        Ok(Reply::Answers(answers)) if answers.len() == count => Some(answers),
        Ok(Reply::Answers(_) | Reply::NotHere) => None,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "another replica's reply cannot be read");
            None
        }
    }
}
