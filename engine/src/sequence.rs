//! One request's life: its tokens, its text, and when it ends.

use primitives::grammar::{self, Matcher, Spacing};
use primitives::node_protocol::{FinishReason, Replay, Sampling, Terms, TokenLogprobs, Work};

use crate::error::Refused;
use crate::logprobs::{TOP_MAX, logprobs};
use crate::sampler::Sampler;
use crate::text::TextStream;
use crate::words::Words;

/// The most stop texts of a request.
const STOPS_MAX: usize = 16;

/// The longest stop text. *Units*: bytes.
const STOP_BYTES_MAX: usize = 1024;

/// New tokens and the text they complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// 0, 1, 2 … without gaps.
    pub seq: u32,
    /// Usually one token; none when only held text was left to give.
    pub ids: Vec<u32>,
    /// Whole characters only; may lag behind the tokens.
    pub text: String,
    /// How likely each token was, where that was asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// How far the model was from drawing the token, where it is replayed and there was a choice. *Units*: probability.
    pub slack: Option<f32>,
}

/// Why no token could be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    /// The logits are broken, or allow nothing.
    #[error("the model gave no number for any token that may come")]
    Logits,
    /// The grammar leads nowhere.
    #[error("the output cannot go on by its grammar: {0}")]
    Grammar(#[from] grammar::Error),
    /// Another engine ended the output where its grammar does not.
    #[error("the output ended before it was whole by its grammar")]
    Unfinished,
}

/// What a request took, the same whether it ended or was cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, without resumed ones.
    pub prompt_tokens: u32,
    /// Of those, how many a cache held when it began.
    pub cached_tokens: u32,
    /// Tokens given in frames. A token that ends the output is neither given nor counted; the tokens of a stop text are
    /// counted, although their text is not given.
    pub output_tokens: u32,
}

/// A request's tokens and where it stands.
///
/// A resumed request is the same as one that made its resumed tokens here: they are fed as a part of the prompt, replayed
/// through text and penalties, and count towards the limit. Only what they gave before is not given again.
#[derive(Debug)]
pub struct Sequence {
    /// The prompt, then the output.
    ids: Vec<u32>,
    prompt_tokens: usize,
    /// Where the output of this request begins: after prompt and resumed tokens.
    resumed_to: usize,
    /// How long `ids` may grow.
    tokens_max: usize,
    /// Tokens of the prompt that a cache held; unknown until it begins.
    cached_tokens: Option<usize>,
    sampler: Sampler,
    matcher: Option<Matcher>,
    logprobs: Option<u8>,
    /// What its output is, where another engine made it.
    replay: Vec<u32>,
    text: TextStream,
    /// Text that resumed tokens completed and that was not delivered.
    undelivered: String,
    frames: u32,
    finished: Option<FinishReason>,
}

impl Sequence {
    /// Checks a request and replays what it resumes.
    ///
    /// What is resumed may be another engine's, which spaces JSON in its own way; then any space is right in the rest as well.
    ///
    /// # Errors
    /// Every refusal but those of a full or stopped engine.
    pub fn try_new(work: Work, words: &Words, slot_tokens: usize) -> Result<Self, Refused> {
        if work.grammar.is_none() || work.resume.is_empty() {
            return Self::try_new_spaced(work, words, slot_tokens, Spacing::Ours);
        }
        match Self::try_new_spaced(work.clone(), words, slot_tokens, Spacing::Ours) {
            Err(Refused::Grammar { .. }) => Self::try_new_spaced(work, words, slot_tokens, Spacing::Any),
            made => made,
        }
    }

    /// As [`try_new`](Self::try_new), with white space where it may stand.
    ///
    /// # Errors
    /// As there.
    pub fn try_new_spaced(work: Work, words: &Words, slot_tokens: usize, spacing: Spacing) -> Result<Self, Refused> {
        check(&work, words, slot_tokens)?;
        let prompt_tokens = work.prompt.len();
        let barred = |error: grammar::Error| Refused::Grammar { reason: error.to_string() };
        let matcher = match &work.grammar {
            Some(grammar) => {
                Some(words.vocabulary().map_err(barred)?.matcher_spaced(grammar, spacing).map_err(barred)?)
            }
            None => None,
        };
        let mut sequence = Self {
            ids: work.prompt,
            prompt_tokens,
            resumed_to: prompt_tokens + work.resume.len(),
            tokens_max: prompt_tokens + work.output_tokens_max as usize,
            cached_tokens: None,
            sampler: Sampler::new(work.sampling),
            matcher,
            logprobs: work.logprobs,
            replay: Vec::new(),
            text: TextStream::new(work.stop),
            undelivered: String::new(),
            frames: 0,
            finished: None,
        };
        let mut made = String::new();
        for id in work.resume {
            if sequence.finished.is_none() {
                made += &sequence.append(id, words).map_err(barred)?;
            }
        }
        let delivered = usize::try_from(work.resume_text_bytes).unwrap_or(usize::MAX);
        let rest = made.get(delivered..).ok_or(Refused::ResumeText { made: made.len(), delivered })?;
        sequence.undelivered = rest.into();
        Ok(sequence)
    }

    /// Checks an output that another engine made, to be drawn again token by token: each frame tells how far from it the model was.
    ///
    /// # Errors
    /// Every refusal but those of a full or stopped engine.
    pub fn try_replay(replay: Replay, words: &Words, slot_tokens: usize) -> Result<Self, Refused> {
        let Replay { model: _, prompt, resume, output, sampling } = replay;
        if let Some(&id) = output.iter().find(|&&id| id as usize >= words.len()) {
            return Err(Refused::UnknownToken { id, vocabulary: words.len() });
        }
        let made = u32::try_from(resume.len() + output.len()).unwrap_or(u32::MAX);
        let work = Work {
            prompt,
            resume,
            resume_text_bytes: 0,
            output_tokens_max: made,
            stop: Vec::new(),
            sampling,
            terms: Terms::default(),
            grammar: None,
            logprobs: None,
        };
        Ok(Self { replay: output, ..Self::try_new(work, words, slot_tokens)? })
    }

    /// All tokens so far.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// It takes a slot that holds its first tokens. Only the first time tells what was spared: later it has lost its slot and
    /// finds its own work again.
    pub fn begin(&mut self, held: usize) {
        self.cached_tokens.get_or_insert(held.min(self.prompt_tokens));
    }

    /// Tokens that may still be made.
    pub fn output_left(&self) -> usize {
        self.tokens_max - self.ids.len()
    }

    /// Whether a client already reads this output: it waits in the middle of a sentence.
    pub fn resumes(&self) -> bool {
        self.resumed_to > self.prompt_tokens
    }

    /// Why it ended, once it has.
    pub fn finished(&self) -> Option<FinishReason> {
        self.finished
    }

    /// What it took so far.
    pub fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens as u32,
            cached_tokens: self.cached_tokens.unwrap_or(0) as u32,
            output_tokens: self.ids.len().saturating_sub(self.resumed_to) as u32,
        }
    }

    /// Draws the token that follows all others and gives what it completes.
    ///
    /// # Errors
    /// See [`Stuck`]; there is no going on.
    pub fn draw(&mut self, logits: &[f32], words: &Words) -> Result<Frame, Stuck> {
        let made = self.ids.len();
        if let Some(&id) = self.replay.get(made - self.resumed_to) {
            let slack = self.sampler.slack(logits, made, id);
            let text = self.append(id, words)?;
            return Ok(Frame { slack, ..self.frame(vec![id], text) });
        }
        let allowed = self.matcher.as_mut().map(Matcher::allowed).transpose()?;
        let id = self.sampler.sample(logits, made, allowed.as_ref()).ok_or(Stuck::Logits)?;
        let text = self.append(id, words)?;
        let ids = self.ids[made..].to_vec();
        let told = self.logprobs.filter(|_| !ids.is_empty()).map(|top| logprobs(logits, id, top, words));
        Ok(Frame { logprobs: told.into_iter().collect(), ..self.frame(ids, text) })
    }

    /// Takes the token that another engine drew after all others, and gives what it completes.
    ///
    /// # Errors
    /// See [`Stuck`]; there is no going on.
    pub fn take(&mut self, id: u32, told: Option<TokenLogprobs>, words: &Words) -> Result<Frame, Stuck> {
        let made = self.ids.len();
        if words.ends(id) {
            return self.end(FinishReason::Stop, words);
        }
        let text = self.append(id, words)?;
        let ids = self.ids[made..].to_vec();
        Ok(Frame { logprobs: told.into_iter().collect(), ..self.frame(ids, text) })
    }

    /// Ends the output where another engine did.
    ///
    /// # Errors
    /// [`Stuck::Unfinished`] when it stopped and the grammar demands more.
    pub fn end(&mut self, reason: FinishReason, words: &Words) -> Result<Frame, Stuck> {
        if let (FinishReason::Stop, Some(matcher)) = (reason, &mut self.matcher) {
            let allowed = matcher.allowed()?;
            if !words.any_end(|id| allowed.contains(id)) {
                return Err(Stuck::Unfinished);
            }
        }
        self.finished = Some(reason);
        let text = self.text.finish();
        Ok(self.frame(Vec::new(), text))
    }

    /// A frame of the text that resumed tokens left over, for a request that ended before any work.
    pub fn leftover(&mut self) -> Frame {
        self.frame(Vec::new(), String::new())
    }

    fn frame(&mut self, ids: Vec<u32>, text: String) -> Frame {
        let text = std::mem::take(&mut self.undelivered) + &text;
        let frame = Frame { seq: self.frames, ids, text, logprobs: Vec::new(), slack: None };
        // An empty frame is not sent, so it takes no number.
        self.frames += u32::from(!frame.is_empty());
        frame
    }

    /// Takes a token and gives the text it completes.
    fn append(&mut self, id: u32, words: &Words) -> Result<String, grammar::Error> {
        if words.ends(id) {
            self.finished = Some(FinishReason::Stop);
            return Ok(self.text.finish());
        }
        if let Some(matcher) = &mut self.matcher {
            matcher.accept(id)?;
        }
        self.ids.push(id);
        self.sampler.record(id);
        let mut text = self.text.push(words.piece(id));
        if self.text.stopped() {
            self.finished = Some(FinishReason::Stop);
        } else if self.ids.len() >= self.tokens_max {
            self.finished = Some(FinishReason::Length);
            text += &self.text.finish();
        }
        Ok(text)
    }
}

impl Frame {
    /// Whether it carries nothing.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.text.is_empty()
    }
}

fn check(work: &Work, words: &Words, slot_tokens: usize) -> Result<(), Refused> {
    if work.prompt.is_empty() {
        return Err(Refused::EmptyPrompt);
    }
    if work.output_tokens_max == 0 {
        return Err(Refused::NoOutput);
    }
    let output = work.resume.len().max(work.output_tokens_max as usize);
    let needed = work.prompt.len().saturating_add(output);
    if needed > slot_tokens {
        return Err(Refused::ContextExceeded { needed, available: slot_tokens });
    }
    let vocabulary = words.len();
    if let Some(&id) = work.prompt.iter().chain(&work.resume).find(|&&id| id as usize >= vocabulary) {
        return Err(Refused::UnknownToken { id, vocabulary });
    }
    if work.stop.len() > STOPS_MAX || work.stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        return Err(Refused::Stops { most: STOPS_MAX, bytes_max: STOP_BYTES_MAX });
    }
    if work.logprobs.is_some_and(|top| top > TOP_MAX) {
        return Err(Refused::Logprobs { most: TOP_MAX });
    }
    if let Some(&(id, _)) = work.sampling.logit_bias.iter().find(|(id, _)| *id as usize >= vocabulary) {
        return Err(Refused::UnknownToken { id, vocabulary });
    }
    check_sampling(&work.sampling)
}

fn check_sampling(sampling: &Sampling) -> Result<(), Refused> {
    let Sampling { temperature, top_p, frequency_penalty, presence_penalty, ref logit_bias, .. } = *sampling;
    let biased = logit_bias.iter().map(|&(_, bias)| ("logit_bias", bias, "a number", true));
    let numbers = [
        ("temperature", temperature, "0 or more", temperature >= 0.0),
        ("top_p", top_p, "from 0 to 1", (0.0..=1.0).contains(&top_p)),
        ("frequency_penalty", frequency_penalty, "a number", true),
        ("presence_penalty", presence_penalty, "a number", true),
    ];
    match numbers.into_iter().chain(biased).find(|&(_, value, _, inside)| !inside || !value.is_finite()) {
        Some((name, value, range, _)) => Err(Refused::Sampling { name, range, value }),
        None => Ok(()),
    }
}
