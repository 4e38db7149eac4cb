//! A request under way, as its caller sees it.

use std::future::poll_fn;
use std::task::Poll;

use primitives::id::JobId;
use primitives::money::Money;
use primitives::node_protocol::TokenLogprobs;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// A request under way, one job for each choice; dropping it cancels them.
pub struct Running {
    /// The job of the first choice, which pays the prompt.
    pub job_id: JobId,
    /// The model's name.
    pub model: String,
    /// The prompt's length.
    pub prompt_tokens: u32,
    choices: Vec<Choice>,
    /// Which choice is heard first, so that none is heard always.
    turn: usize,
    // Kept for as long as the caller listens.
    _places: Vec<OwnedSemaphorePermit>,
}

/// One of the choices of a request.
pub(super) struct Choice {
    /// What comes of it.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// A piece of a job's answer.
#[derive(Debug)]
pub enum Event {
    /// More text, whole characters; it completes this many tokens.
    Text {
        /// The text; may be empty while a character is unfinished.
        text: String,
        /// What the model thought before its answer, where it is known to think.
        reasoning: String,
        /// New tokens.
        tokens: u32,
        /// How likely each of the answer's was, where that was asked for.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The embedding of the next text.
    Vector(Vec<f32>),
    /// The last event, after the money is settled.
    Ended(Box<Ending>),
}

/// How a job ended.
#[derive(Debug)]
pub struct Ending {
    /// `stop` or `length`, or why it failed.
    pub result: Result<&'static str, Error>,
    /// The prompt's tokens that are charged.
    pub prompt_tokens: u32,
    /// Of those, how many the node's cache held.
    pub cached_tokens: u32,
    /// Delivered tokens, all charged.
    pub output_tokens: u32,
    /// Of those, the thinking.
    pub reasoning_tokens: u32,
    /// What was paid.
    pub charge: Money,
}

impl Running {
    pub(super) fn new(
        job_id: JobId,
        model: String,
        prompt_tokens: u32,
        choices: Vec<Choice>,
        places: Vec<OwnedSemaphorePermit>,
    ) -> Self {
        Self { job_id, model, prompt_tokens, choices, turn: 0, _places: places }
    }

    /// How many choices there are.
    pub fn choices(&self) -> usize {
        self.choices.len()
    }

    /// The next piece and the choice it belongs to; none after every choice's [`Event::Ended`].
    ///
    /// Once a choice has failed the others are stopped: there is no whole answer any more.
    pub async fn next(&mut self) -> Option<(usize, Event)> {
        let next = poll_fn(|context| {
            let mut open = false;
            for step in 0..self.choices.len() {
                let index = (self.turn + step) % self.choices.len();
                match self.choices[index].events.poll_recv(context) {
                    Poll::Ready(Some(event)) => {
                        self.turn = index + 1;
                        return Poll::Ready(Some((index, event)));
                    }
                    Poll::Ready(None) => {}
                    Poll::Pending => open = true,
                }
            }
            if open { Poll::Pending } else { Poll::Ready(None) }
        });
        let (index, event) = next.await?;
        if let Event::Ended(ending) = &event
            && ending.result.is_err()
        {
            self.choices.iter().for_each(|choice| choice.stop.cancel());
        }
        Some((index, event))
    }
}

#[cfg(test)]
mod tests {
    use primitives::money::Nanos;

    use super::*;

    fn running(choices: usize) -> (Running, Vec<mpsc::UnboundedSender<Event>>, Vec<CancellationToken>) {
        let (mut senders, mut stops, mut all) = (vec![], vec![], vec![]);
        for _ in 0..choices {
            let (sender, events) = mpsc::unbounded_channel();
            let stop = CancellationToken::new();
            senders.push(sender);
            stops.push(stop.clone());
            all.push(Choice { events, stop });
        }
        (Running::new(JobId(uuid::Uuid::nil()), "m".into(), 1, all, vec![]), senders, stops)
    }

    fn ended(result: Result<&'static str, Error>) -> Event {
        let charge = Money { amount: Nanos::ZERO, currency: crate::CURRENCY };
        let ending =
            Ending { result, prompt_tokens: 0, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0, charge };
        Event::Ended(Box::new(ending))
    }

    #[tokio::test]
    async fn no_choice_waits_for_another_that_has_more_to_say() {
        let (mut running, senders, _stops) = running(2);
        for sender in &senders {
            for _ in 0..3 {
                sender
                    .send(Event::Text { text: String::new(), reasoning: String::new(), tokens: 1, logprobs: vec![] })
                    .unwrap();
            }
            sender.send(ended(Ok("stop"))).unwrap();
        }
        drop(senders);
        let mut order = vec![];
        while let Some((index, _)) = running.next().await {
            order.push(index);
        }
        assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[tokio::test]
    async fn a_choice_that_fails_stops_the_others() {
        let (mut running, senders, stops) = running(3);
        senders[0].send(ended(Ok("stop"))).unwrap();
        assert!(matches!(running.next().await, Some((0, _))));
        assert!(stops.iter().all(|stop| !stop.is_cancelled()));
        senders[2].send(ended(Err(Error::JobFailed("broken".into())))).unwrap();
        assert!(matches!(running.next().await, Some((2, _))));
        assert!(stops.iter().all(CancellationToken::is_cancelled));
    }
}
