//! Words of refusals: literals of the program, also where the refusal was said by another replica, which runs the same program.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer};

/// A literal of the program.
pub type Word = &'static str;

/// How many words are learned from other replicas at most, far above what the program has, and how long each may be.
const WORDS_MAX: usize = 1_024;
const LETTERS_MAX: usize = 200;
/// What stands for a word that cannot be learned.
const UNTOLD: Word = "something untold";

/// Words that other replicas said: each is kept once and for good, as a literal is.
static LEARNED: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());

/// Reads a word.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    let said = String::deserialize(deserializer)?;
    let mut learned = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = learned.get(said.as_str()) {
        return Ok(known);
    }
    if learned.len() >= WORDS_MAX || said.len() > LETTERS_MAX {
        return Ok(UNTOLD);
    }
    let word: Word = said.leak();
    learned.insert(word);
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_learned_once_and_a_long_one_never() {
        let read = |text: &str| word(&mut serde_json::Deserializer::from_str(text)).unwrap();
        let (first, again) = (read("\"a charge\""), read("\"a charge\""));
        assert_eq!((first, first.as_ptr()), ("a charge", again.as_ptr()));
        assert_eq!(read(&format!("\"{}\"", "a".repeat(LETTERS_MAX + 1))), UNTOLD);
    }
}
