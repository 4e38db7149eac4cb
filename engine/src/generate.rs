//! Many prompts answered by one engine, in their order.

use primitives::node_protocol::{Sampling, Terms, Work};

use crate::error::Error;
use crate::{Engine, Event, RequestHandle};

/// The output ids of each prompt. As many requests run at once as the engine has slots.
///
/// # Errors
/// [`Error::Align`] when the engine refuses or fails one.
pub fn generate<'a>(
    engine: &Engine,
    prompts: impl Iterator<Item = &'a [u32]>,
    sampling: &Sampling,
    output_tokens_max: u32,
) -> Result<Vec<Vec<u32>>, Error> {
    let mut running: std::collections::VecDeque<RequestHandle> = std::collections::VecDeque::new();
    let mut outputs = Vec::new();
    for prompt in prompts {
        if running.len() >= engine.config().slots
            && let Some(oldest) = running.pop_front()
        {
            outputs.push(finish(oldest)?);
        }
        let room = engine.config().context_tokens.saturating_sub(prompt.len());
        let work = Work {
            prompt: prompt.to_vec(),
            resume: Vec::new(),
            resume_text_bytes: 0,
            output_tokens_max: output_tokens_max.min(u32::try_from(room).unwrap_or(u32::MAX)),
            stop: Vec::new(),
            sampling: sampling.clone(),
            grammar: None,
            logprobs: None,
            terms: Terms::default(),
        };
        running.push_back(engine.submit(work).map_err(|refused| Error::Align { reason: refused.to_string() })?);
    }
    for request in running {
        outputs.push(finish(request)?);
    }
    Ok(outputs)
}

fn finish(mut request: RequestHandle) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    loop {
        match request.blocking_next() {
            Some(Event::Tokens(frame)) => ids.extend(frame.ids),
            Some(Event::Finished { .. }) => return Ok(ids),
            Some(Event::Failed { message, .. }) => return Err(Error::Align { reason: message }),
            Some(Event::Cancelled { .. } | Event::Vector(_)) | None => {
                return Err(Error::Align { reason: "the engine stopped".into() });
            }
        }
    }
}
