//! What an upstream says, as exact tokens and text. Pure.

use primitives::node_protocol::{FinishReason, TokenLogprobs};

use crate::sequence::{Frame, Sequence, Stuck, Usage};
use crate::upstream::chunk::{Chunk, End, Told};
use crate::upstream::tokenizer::Tokenizer;

/// Tokens that are kept back at most: no character has more.
const WAITING_MAX: usize = 64;

/// Why an upstream's output cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Its text is none that the model can write.
    #[error("its text cannot be made of the model's tokens")]
    Text,
    /// It does not tell how likely each token was, which was asked for.
    #[error("it does not tell how likely its tokens were")]
    Logprobs,
    /// It gave up.
    #[error("it gave up the request")]
    GaveUp,
    /// It told a token that the model does not have.
    #[error("token {0} is not in the model's vocabulary")]
    UnknownToken(u32),
    /// The output is not what it must look like.
    #[error(transparent)]
    Stuck(#[from] Stuck),
}

/// An output on its way.
///
/// Ids are taken as they are told where they make exactly the text that came with them. Where none are told, or those of a
/// character's beginning were swallowed (llama.cpp's server does that), the text is read into tokens again; so the ids given
/// always make the text given.
#[derive(Debug)]
pub struct Output {
    sequence: Sequence,
    logprobs: Option<u8>,
    /// Told, and not given yet.
    ids: Vec<u32>,
    likely: Vec<TokenLogprobs>,
    text: String,
    told: Option<Told>,
}

impl Output {
    /// Of this request, with this many likely tokens beside each where that is wanted.
    pub fn new(sequence: Sequence, logprobs: Option<u8>) -> Self {
        Self { sequence, logprobs, ids: Vec::new(), likely: Vec::new(), text: String::new(), told: None }
    }

    /// Takes an event and gives what it completes, also what comes before an error.
    ///
    /// # Errors
    /// See [`Broken`]; there is no going on.
    pub fn take(&mut self, chunk: Chunk, tokenizer: &Tokenizer, give: &mut impl FnMut(Frame)) -> Result<(), Broken> {
        self.told = chunk.told.or(self.told);
        if self.sequence.finished().is_some() {
            return Ok(());
        }
        self.ids.extend(chunk.ids);
        self.likely.extend(chunk.logprobs);
        self.text += &chunk.text;
        for (id, likely) in self.complete(chunk.end, tokenizer)? {
            if self.sequence.finished().is_none() {
                give(self.sequence.take(id, likely, tokenizer.words())?);
            }
        }
        if self.sequence.finished().is_none() {
            match chunk.end {
                Some(End::Stop) => give(self.sequence.end(FinishReason::Stop, tokenizer.words())?),
                Some(End::Length) => give(self.sequence.end(FinishReason::Length, tokenizer.words())?),
                Some(End::Broken) => return Err(Broken::GaveUp),
                None => {}
            }
        }
        Ok(())
    }

    /// Whether nothing was taken yet, so that the request may be made again.
    pub fn is_untouched(&self) -> bool {
        self.usage().output_tokens == 0 && self.ids.is_empty() && self.text.is_empty()
    }

    /// Text that resumed tokens left over, for a request that ended before any work.
    pub fn leftover(&mut self) -> Frame {
        self.sequence.leftover()
    }

    /// Why it ended, once it has.
    pub fn finished(&self) -> Option<FinishReason> {
        self.sequence.finished()
    }

    /// What it took, counted here; only what a cache held of the prompt is the upstream's word.
    pub fn usage(&self) -> Usage {
        let usage = self.sequence.usage();
        let cached = self.told.map_or(0, |told| u32::try_from(told.cached_tokens).unwrap_or(u32::MAX));
        Usage { cached_tokens: cached.min(usage.prompt_tokens), ..usage }
    }

    /// What the upstream says that it took, if it has.
    pub fn told(&self) -> Option<Told> {
        self.told
    }

    /// The tokens that can be given now, and how likely they were.
    ///
    /// Control tokens at the end are kept back until more comes: an engine may end an output with a token that the manifest
    /// does not name as an end, and such a token is neither given nor counted.
    fn complete(
        &mut self,
        end: Option<End>,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<(u32, Option<TokenLogprobs>)>, Broken> {
        let words = tokenizer.words();
        if let Some(id) = self.ids.iter().find(|id| **id as usize >= words.len()) {
            return Err(Broken::UnknownToken(*id));
        }
        let bytes = tokenizer.bytes(&self.ids);
        let waits = bytes.len() > self.text.len() && bytes.starts_with(self.text.as_bytes());
        if waits && end.is_none() && self.ids.len() <= WAITING_MAX {
            return Ok(Vec::new());
        }
        let text = std::mem::take(&mut self.text);
        let (mut told, mut likely) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.likely));
        if end == Some(End::Stop) || (end.is_none() && told.len() <= WAITING_MAX) {
            let kept = |id: &&u32| words.piece(**id).is_empty() && !words.ends(**id);
            let silent = told.iter().rev().take_while(kept).count();
            let (ids, rest) = (told.split_off(told.len() - silent), likely.len().saturating_sub(silent));
            let their_likely = likely.split_off(rest);
            if end.is_none() {
                (self.ids, self.likely) = (ids, their_likely);
            }
        }
        let make_the_text = waits || String::from_utf8_lossy(&bytes) == text;
        let ids = if make_the_text { told } else { tokenizer.encode(&text).ok_or(Broken::Text)? };
        let Some(top) = self.logprobs else { return Ok(ids.into_iter().map(|id| (id, None)).collect()) };
        // A token that ends the output is not given, and need not be told of.
        let shown = ids.iter().filter(|id| !words.ends(**id)).count();
        if likely.len() < shown || likely.iter().zip(&ids).any(|(told, id)| told.drawn.id != *id) {
            return Err(Broken::Logprobs);
        }
        let mut likely = likely.into_iter().map(|mut told| {
            told.top.truncate(usize::from(top));
            told
        });
        Ok(ids.into_iter().map(|id| (id, likely.next())).collect())
    }
}
