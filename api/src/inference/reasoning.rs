//! Tells a model's thinking from its answer as its output streams.

use broker::model::Reasoning;
use primitives::node_protocol::TokenLogprobs;

/// Splits an output into thinking and answer; holds back only what may yet become the text between them.
///
/// An output thinks at its beginning or not at all: the same words later on are a part of the answer. White space around the
/// thinking is given as neither.
#[derive(Clone, Debug)]
pub struct ReasoningSplitter {
    reasoning: Reasoning,
    place: Place,
    held: String,
    /// Tokens whose text is held and may yet turn out to begin the thinking.
    pending: u32,
    /// How likely those were.
    logprobs: Vec<TokenLogprobs>,
    reasoning_tokens: u32,
}

/// Where in the output it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the beginning, where it may yet think.
    Start,
    /// At the beginning of its thinking, where white space means nothing.
    Opened,
    /// In its thinking.
    Thinking,
    /// Behind its thinking, where white space means nothing.
    Between,
    /// In its answer.
    Answer,
}

/// What is certain of an output now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// More of the thinking.
    pub reasoning: String,
    /// More of the answer.
    pub text: String,
    /// How likely the answer's tokens were.
    pub logprobs: Vec<TokenLogprobs>,
}

impl ReasoningSplitter {
    /// For a model that thinks between these texts; `opened` when its prompt ends with the first of them.
    pub fn new(reasoning: Reasoning, opened: bool) -> Self {
        let place = if opened { Place::Opened } else { Place::Start };
        Self { reasoning, place, held: String::new(), pending: 0, logprobs: vec![], reasoning_tokens: 0 }
    }

    /// Takes more output, which so many tokens complete, and gives what is certain now.
    ///
    /// A token counts as thinking when the output thinks before it, and when it ends with the beginning of the thinking: of the
    /// tokens that come together, all count the same.
    pub fn push(&mut self, text: &str, tokens: u32, logprobs: Vec<TokenLogprobs>) -> Told {
        self.held.push_str(text);
        let mut told = Told::default();
        match self.place {
            Place::Opened | Place::Thinking => self.reasoning_tokens += tokens,
            Place::Between | Place::Answer => told.logprobs = logprobs,
            Place::Start => {
                self.pending += tokens;
                self.logprobs.extend(logprobs);
            }
        }
        while self.step(&mut told) {}
        told
    }

    /// Gives what was held back.
    pub fn finish(&mut self) -> Told {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Opened | Place::Thinking => Told { reasoning: held, ..Told::default() },
            _ => Told { text: held, logprobs: std::mem::take(&mut self.logprobs), reasoning: String::new() },
        }
    }

    /// Tokens of the thinking so far, the texts around it among them.
    pub fn reasoning_tokens(&self) -> u32 {
        self.reasoning_tokens
    }

    /// Goes on by one piece; false when more output is needed.
    fn step(&mut self, told: &mut Told) -> bool {
        let Reasoning { open, close } = &self.reasoning;
        match self.place {
            Place::Start => {
                let begun = self.held.trim_start();
                if begun.starts_with(open.as_str()) {
                    let end = self.held.len() - begun.len() + open.len();
                    self.held.drain(..end);
                    self.reasoning_tokens += std::mem::take(&mut self.pending);
                    self.logprobs.clear();
                    self.place = Place::Opened;
                    return true;
                }
                if open.starts_with(begun) {
                    return false;
                }
                told.logprobs.append(&mut self.logprobs);
                self.place = Place::Answer;
                true
            }
            Place::Opened | Place::Between => {
                self.held.drain(..self.held.len() - self.held.trim_start().len());
                if self.held.is_empty() {
                    return false;
                }
                self.place = if self.place == Place::Opened { Place::Thinking } else { Place::Answer };
                true
            }
            Place::Thinking => {
                if let Some(end) = self.held.find(close.as_str()) {
                    told.reasoning.push_str(self.held[..end].trim_end());
                    self.held.drain(..end + close.len());
                    self.place = Place::Between;
                    return true;
                }
                let certain = self.held.len() - undecided(&self.held, close);
                told.reasoning.extend(self.held.drain(..certain));
                false
            }
            Place::Answer => {
                told.text.push_str(&std::mem::take(&mut self.held));
                false
            }
        }
    }
}

/// How many bytes at the end of a text may yet become `close`, or are white space before it.
fn undecided(text: &str, close: &str) -> usize {
    let begins = close.char_indices().map(|(at, _)| at).rev().find(|&at| text.ends_with(&close[..at])).unwrap_or(0);
    let before = &text[..text.len() - begins];
    begins + before.len() - before.trim_end().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn splitter(opened: bool) -> ReasoningSplitter {
        ReasoningSplitter::new(Reasoning { open: "<think>".into(), close: "</think>".into() }, opened)
    }

    /// Thinking, answer and the tokens of the thinking, of an output that comes in these pieces of a token each.
    fn split(pieces: &[&str], opened: bool) -> (String, String, u32) {
        let mut splitter = splitter(opened);
        let mut told: Vec<Told> = pieces.iter().map(|piece| splitter.push(piece, 1, vec![])).collect();
        told.push(splitter.finish());
        let reasoning = told.iter().map(|told| told.reasoning.as_str()).collect();
        (reasoning, told.iter().map(|told| told.text.as_str()).collect(), splitter.reasoning_tokens())
    }

    #[test]
    fn thinking_is_told_from_the_answer_and_its_tokens_are_counted() {
        let pieces = ["<think>", "\n", "Let me ", "see.", "\n", "</think>", "\n\n", "Forty", "-two."];
        assert_eq!(split(&pieces, false), ("Let me see.".into(), "Forty-two.".into(), 6));
        assert_eq!(split(&pieces[1..], true), ("Let me see.".into(), "Forty-two.".into(), 5), "the prompt opened it");
        assert_eq!(split(&["\n", "<", "think", ">a", "b</thi", "nk>c"], false), ("ab".into(), "c".into(), 6));
    }

    #[test]
    fn an_output_that_does_not_think_is_an_answer() {
        for pieces in [
            &["Forty", "-two."][..],
            &["<thin", "gs> here"],
            &["  ", "<b>"],
            &["", "a <think>b</think> c"],
            &["<thi"],
            &[" "],
        ] {
            let (reasoning, text, tokens) = split(pieces, false);
            assert_eq!((reasoning.as_str(), text, tokens), ("", pieces.concat(), 0));
        }
    }

    #[test]
    fn what_is_cut_while_thinking_is_thinking() {
        assert_eq!(split(&["<think>", "on and </th"], false), ("on and </th".into(), String::new(), 2));
        assert_eq!(split(&["<think>"], false), (String::new(), String::new(), 1));
        assert_eq!(split(&["a < b", " </t", "hink"], true), ("a < b </think".into(), String::new(), 3));
        assert_eq!(split(&["<think></think>x</think>"], false), (String::new(), "x</think>".into(), 1));
    }

    #[test]
    fn likelihoods_are_the_answers_alone() {
        use primitives::node_protocol::TokenLogprob;
        let one = |id| TokenLogprobs { drawn: TokenLogprob { id, bytes: vec![], logprob: 0.0 }, top: vec![] };
        let mut splitter = splitter(false);
        let mut ids = |text: &str, id| {
            let told = splitter.push(text, 1, vec![one(id)]);
            told.logprobs.iter().map(|token| token.drawn.id).collect::<Vec<_>>()
        };
        assert_eq!([ids("<think>", 1), ids("a</think>", 2), ids("b", 3)], [vec![], vec![], vec![3]]);
        let mut plain = self::splitter(false);
        assert_eq!(plain.push("<", 1, vec![one(1)]).logprobs, []);
        assert_eq!(plain.push("b", 1, vec![one(2)]).logprobs.len(), 2, "they had only been held");
    }

    proptest! {
        #[test]
        fn where_an_output_is_cut_into_pieces_changes_nothing(
            parts in proptest::collection::vec(
                prop_oneof![Just("<think>"), Just("</think>"), Just("<"), Just("</"), Just("think>"), Just(" \n"), Just("é"), Just("a")],
                0..12,
            ),
            cuts in proptest::collection::vec(0_usize..80, 0..6),
            opened: bool,
        ) {
            let whole = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| whole.is_char_boundary(*at)).chain([0, whole.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            let (reasoning, text, _) = split(&pieces, opened);
            let (whole_reasoning, whole_text, _) = split(&[&whole], opened);
            prop_assert_eq!((reasoning, text), (whole_reasoning, whole_text));
        }
    }
}
