//! Holding an output to its grammar, token by token, with `llguidance`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher as Parser, ParserFactory};

use super::{Error, Grammar, Spacing};

/// How much work a grammar may be, far above what schemas of real tools take.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 200_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_items_in_row: 1_000,
        max_lexer_states: 50_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

/// A model's tokens, ready for matching.
pub struct Vocabulary {
    factory: ParserFactory,
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vocabulary")
    }
}

impl Vocabulary {
    /// The bytes of each token by its id, none for control tokens; `ends` are those that end an output, at least one.
    pub fn new(pieces: &[impl AsRef<[u8]>], ends: &[u32]) -> Result<Self, Error> {
        let Some(&end) = ends.first() else { return Err(Error("no token ends an output".to_owned())) };
        let words: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.as_ref().to_vec()).collect();
        let size = u32::try_from(words.len()).map_err(|error| Error(error.to_string()))?;
        let trie = TokTrie::from(&TokRxInfo::new(size, end), &words).with_eos_tokens(ends);
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices).map_err(|error| told(&error))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory })
    }

    /// The 256 bytes and an end, 256: for grammars without a model.
    pub fn bytes() -> &'static Self {
        static BYTES: OnceLock<Vocabulary> = OnceLock::new();
        BYTES.get_or_init(|| {
            let pieces = (0..=u8::MAX).map(|byte| vec![byte]).chain([Vec::new()]).collect::<Vec<_>>();
            Self::new(&pieces, &[256]).expect("the 256 bytes and an end are a vocabulary")
        })
    }

    /// Whether the whole text is of this grammar. Only for [`bytes`](Self::bytes).
    pub fn matches(&self, grammar: &Grammar, text: &str) -> bool {
        let Ok(mut matcher) = self.matcher(grammar) else { return false };
        let taken = text.bytes().all(|byte| matcher.accept(u32::from(byte)).is_ok());
        taken && matcher.allowed().is_ok_and(|allowed| allowed.contains(256))
    }

    /// Begins an output of this grammar.
    ///
    /// *Errors*: see [`Grammar::check`].
    pub fn matcher(&self, grammar: &Grammar) -> Result<Matcher, Error> {
        self.matcher_spaced(grammar, Spacing::Ours)
    }

    /// Begins an output of this grammar, with white space where it may stand.
    ///
    /// *Errors*: see [`Grammar::check`].
    pub fn matcher_spaced(&self, grammar: &Grammar, spacing: Spacing) -> Result<Matcher, Error> {
        let grammar = TopLevelGrammar::from_lark(grammar.source(spacing)?);
        let parser = Parser::new(self.factory.create_parser(grammar));
        match parser.get_error() {
            Some(error) => Err(Error(first_line(&error))),
            None => Ok(Matcher { parser }),
        }
    }
}

/// An output on its way through its grammar.
pub struct Matcher {
    parser: Parser,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Matcher")
    }
}

impl Matcher {
    /// The tokens that may come next; only those that end the output once nothing may follow.
    ///
    /// *Errors*: the grammar leads nowhere from here, or working that out is too much. There is no going on after that.
    pub fn allowed(&mut self) -> Result<Allowed, Error> {
        let set = self.parser.compute_mask_or_eos().map_err(|error| told(&error))?;
        if set.is_zero() { Err(Error("nothing satisfies it".to_owned())) } else { Ok(Allowed { set }) }
    }

    /// Takes a token that is no end.
    ///
    /// *Errors*: it was not allowed.
    pub fn accept(&mut self, id: u32) -> Result<(), Error> {
        self.parser.consume_token(id).map_err(|error| told(&error))
    }
}

/// A set of tokens.
#[derive(Debug)]
pub struct Allowed {
    set: SimpleVob,
}

impl Allowed {
    /// Whether this token is in it.
    pub fn contains(&self, id: u32) -> bool {
        (id as usize) < self.set.len() && self.set.is_allowed(id)
    }
}

fn told(error: &impl ToString) -> Error {
    let text = error.to_string();
    // The library's word for a state from which no token leads on.
    if text.contains("NoExtension") { Error("nothing satisfies it".to_owned()) } else { Error(first_line(&text)) }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
