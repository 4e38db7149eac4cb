//! One request at an upstream, from sending it to its last event.

use std::sync::Arc;
use std::time::Duration;

use primitives::node_protocol::FinishReason;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use crate::engine::Event;
use crate::sequence::Frame;
use crate::upstream::card::Card;
use crate::upstream::chunk::{Chunk, Wrong};
use crate::upstream::events::{Events, Unreadable};
use crate::upstream::output::{Broken, Output};
use crate::upstream::{Live, Shared};

/// Attempts of one request; only before its first token is there another.
const ATTEMPTS_MAX: u32 = 3;
/// Before the second attempt; before the third it is twice that.
const RETRY_AFTER: Duration = Duration::from_millis(150);
/// How long an upstream may take to say what it counted, after the output ended.
const ACCOUNT_WITHIN: Duration = Duration::from_millis(500);
/// Events that are read for that at most.
const ACCOUNT_EVENTS_MAX: usize = 8;

/// A request that is ready to be sent.
#[derive(Debug)]
pub struct Exchange {
    /// Whom it goes to.
    pub shared: Arc<Shared>,
    /// What is known of it.
    pub card: Arc<Card>,
    /// What is sent.
    pub body: Value,
    /// Tokens of the prompt that is sent.
    pub prompt_tokens: u64,
    /// What comes back.
    pub output: Output,
    /// Who listens; there is room for every event.
    pub events: mpsc::Sender<Event>,
    /// Its place among the upstream's requests.
    pub live: Live,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it answered {0}")]
    Status(u16),
    #[error("it said nothing for {0:?}")]
    Silent(Duration),
    #[error("its stream broke off")]
    Cut,
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Failure {
    /// Whether the same request may go well at another time.
    fn passes(&self) -> bool {
        match self {
            Self::Unreachable | Self::Cut | Self::Wrong(Wrong::Error) => true,
            Self::Status(status) => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Silent(_) | Self::Wrong(Wrong::Malformed) | Self::Unreadable(_) | Self::Broken(_) => false,
        }
    }

    /// Whether the upstream itself is in doubt, and not this request alone.
    fn casts_doubt(&self) -> bool {
        !matches!(self, Self::Broken(Broken::Stuck(_) | Broken::Logprobs) | Self::Status(400 | 429))
    }
}

impl Exchange {
    /// Gives all events of the request; the last is an ending. Dropping the future hangs up.
    pub async fn run(mut self, cancelled: Arc<Notify>) {
        let ended = tokio::select! {
            ended = self.attempts() => Some(ended),
            () = cancelled.notified() => None,
        };
        let usage = self.output.usage();
        let event = match ended {
            None => Event::Cancelled { usage },
            Some(Ok(reason)) => {
                self.compare();
                Event::Finished { reason, usage }
            }
            Some(Err(failure)) => {
                if failure.casts_doubt() {
                    self.shared.doubt.notify_one();
                }
                tracing::warn!(model = self.shared.model, error = %failure, "an upstream failed a request");
                Event::Failed { message: format!("the upstream failed: {failure}"), usage }
            }
        };
        let ending = match &event {
            Event::Finished { .. } => "finished",
            Event::Cancelled { .. } => "cancelled",
            Event::Tokens(_) | Event::Vector(_) | Event::Failed { .. } => "failed",
        };
        let labels = [("model", self.shared.model.clone()), ("ended", ending.to_owned())];
        metrics::counter!("tokengrid_upstream_requests_total", &labels).increment(1);
        metrics::counter!("tokengrid_upstream_tokens_total", "model" => self.shared.model.clone())
            .increment(usage.output_tokens.into());
        // Its place is free before anybody hears of its end.
        drop(self.live);
        // Nobody may be listening any more.
        let _ = self.events.try_send(event);
    }

    async fn attempts(&mut self) -> Result<FinishReason, Failure> {
        if let Some(reason) = self.output.finished() {
            // What it resumes had already ended.
            let leftover = self.output.leftover();
            give(&self.events, leftover);
            return Ok(reason);
        }
        let mut pause = RETRY_AFTER;
        for _ in 1..ATTEMPTS_MAX {
            match self.attempt().await {
                Err(failure) if failure.passes() && self.output.is_untouched() => {
                    tracing::debug!(model = self.shared.model, error = %failure, "an upstream is asked again");
                    metrics::counter!("tokengrid_upstream_retries_total", "model" => self.shared.model.clone())
                        .increment(1);
                    sleep(pause).await;
                    pause *= 2;
                }
                ended => return ended,
            }
        }
        self.attempt().await
    }

    async fn attempt(&mut self) -> Result<FinishReason, Failure> {
        let silence = self.shared.silence_max;
        let sent = self.shared.post(self.card.dialect.completion_path(), &self.body).send();
        let mut response = match timeout(silence, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return Err(Failure::Unreachable),
            Err(_) => return Err(Failure::Silent(silence)),
        };
        if !response.status().is_success() {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let mut events = Events::default();
        loop {
            let bytes = match timeout(silence, response.chunk()).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None) | Err(_)) => return Err(Failure::Cut),
                Err(_) => return Err(Failure::Silent(silence)),
            };
            self.hear(&events.push(&bytes)?)?;
            if let Some(reason) = self.output.finished() {
                // It may be silent or go on for ever: the output is over either way.
                let _ = timeout(ACCOUNT_WITHIN, self.account(&mut response, &mut events)).await;
                return Ok(reason);
            }
        }
    }

    fn hear(&mut self, data: &[String]) -> Result<(), Failure> {
        for data in data.iter().filter(|data| *data != "[DONE]") {
            let chunk = Chunk::read(self.card.dialect, data, self.shared.tokenizer.words())?;
            let events = &self.events;
            self.output.take(chunk, &self.shared.tokenizer, &mut |frame| give(events, frame))?;
        }
        Ok(())
    }

    /// Reads on until the upstream has said what it counted.
    async fn account(&mut self, response: &mut reqwest::Response, events: &mut Events) {
        let mut left = ACCOUNT_EVENTS_MAX;
        while self.output.told().is_none() && left > 0 {
            let Ok(Some(bytes)) = response.chunk().await else { return };
            let Ok(data) = events.push(&bytes) else { return };
            left = left.saturating_sub(data.len().max(1));
            if self.hear(&data).is_err() {
                return;
            }
        }
    }

    /// Tells where the upstream counted otherwise. Our own count is what is billed.
    fn compare(&self) {
        let Some(told) = self.output.told() else { return };
        let usage = self.output.usage();
        let prompt = self.prompt_tokens;
        let output = u64::from(usage.output_tokens);
        // The token that ended the output counts there, or does not.
        let differs = [
            ("prompt", told.prompt_tokens != prompt),
            ("output", told.output_tokens != output && told.output_tokens != output + 1),
        ];
        for (what, _) in differs.into_iter().filter(|(_, differs)| *differs) {
            let labels = [("model", self.shared.model.clone()), ("what", what.to_owned())];
            metrics::counter!("tokengrid_upstream_disagreements_total", &labels).increment(1);
            tracing::warn!(
                model = self.shared.model,
                what,
                told.prompt_tokens,
                told.output_tokens,
                counted.prompt_tokens = prompt,
                counted.output_tokens = output,
                "an upstream counts other tokens than came"
            );
        }
    }
}

fn give(events: &mpsc::Sender<Event>, frame: Frame) {
    if !frame.is_empty() {
        // There is room for every frame, so this fails only when nobody listens; then the hanging up is on its way.
        let _ = events.try_send(Event::Tokens(frame));
    }
}
