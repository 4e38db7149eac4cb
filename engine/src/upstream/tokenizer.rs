//! A model's words from its `tokenizer.json`: for an engine that keeps the weights to itself.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::words::Words;

/// Turns texts into tokens and back, exactly.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    words: Words,
    /// The names of control tokens, which stand for no text.
    controls: HashMap<u32, String>,
    /// Tokens by their bytes.
    by_bytes: HashMap<Box<[u8]>, u32>,
    longest: usize,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("tokens", &self.words.len()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub fn try_new(json: &str, ends: BTreeSet<u32>) -> Result<Self, String> {
        let inner: tokenizers::Tokenizer = json.parse().map_err(|error: tokenizers::Error| error.to_string())?;
        let file: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let spelling =
            Spelling::of(&file["decoder"]).ok_or("its decoder is neither of bytes nor falls back to bytes")?;
        let added = inner.get_added_tokens_decoder();
        let vocabulary = inner.get_vocab(true);
        let size = vocabulary.values().max().map_or(0, |most| *most as usize + 1);
        let mut pieces: Vec<Box<[u8]>> = vec![Box::default(); size];
        for (name, id) in &vocabulary {
            pieces[*id as usize] = match added.get(id) {
                Some(token) if token.special => Box::default(),
                Some(token) => token.content.as_bytes().into(),
                None => spelling.bytes(name).into(),
            };
        }
        let controls =
            added.into_iter().filter(|(_, token)| token.special).map(|(id, token)| (id, token.content)).collect();
        let mut by_bytes = HashMap::new();
        for (id, piece) in (0..).zip(&pieces).filter(|(_, piece)| !piece.is_empty()) {
            by_bytes.entry(piece.clone()).or_insert(id);
        }
        let longest = by_bytes.keys().map(|piece| piece.len()).max().unwrap_or(0);
        Ok(Self { inner, words: Words::new(pieces, ends), controls, by_bytes, longest })
    }

    /// What its tokens stand for.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Tokens whose bytes are exactly this text, as the model itself would have written it where that can be told; none if the
    /// text cannot be made of the model's tokens.
    pub fn encode(&self, text: &str) -> Option<Vec<u32>> {
        let canonical = self.inner.encode_fast(text, false).ok().map(|encoding| encoding.get_ids().to_vec());
        canonical.filter(|ids| self.bytes(ids) == text.as_bytes()).or_else(|| self.longest_first(text.as_bytes()))
    }

    /// The bytes that tokens stand for.
    pub fn bytes(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.words.piece(id)).copied().collect()
    }

    /// Tokens as a text in which control tokens stand by their names: how a prompt is told to an engine that takes no ids.
    pub fn spell(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            match self.controls.get(id) {
                Some(name) => bytes.extend(name.as_bytes()),
                None => bytes.extend(self.words.piece(*id)),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The longest token that fits, then the next.
    fn longest_first(&self, mut bytes: &[u8]) -> Option<Vec<u32>> {
        let mut ids = Vec::new();
        while !bytes.is_empty() {
            let (id, length) = (1..=self.longest.min(bytes.len()))
                .rev()
                .find_map(|length| Some((*self.by_bytes.get(&bytes[..length])?, length)))?;
            ids.push(id);
            bytes = &bytes[length..];
        }
        Some(ids)
    }
}

/// How a vocabulary spells the bytes of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// Each byte by a character of its own, as GPT-2 does.
    ByteLevel,
    /// As text with `▁` for a space, and `<0x0A>` for a byte by itself, as `SentencePiece` does.
    ByteFallback,
}

impl Spelling {
    /// By what the decoder undoes.
    fn of(decoder: &Value) -> Option<Self> {
        match decoder["type"].as_str()? {
            "ByteLevel" => Some(Self::ByteLevel),
            "ByteFallback" => Some(Self::ByteFallback),
            "Sequence" => decoder["decoders"].as_array()?.iter().find_map(Self::of),
            _ => None,
        }
    }

    fn bytes(self, name: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => name.chars().flat_map(byte_of).collect(),
            Self::ByteFallback => {
                let byte = name.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => vec![byte],
                    None => name.replace('▁', " ").into_bytes(),
                }
            }
        }
    }
}

/// The byte that a character stands for in GPT-2's alphabet: printable bytes stand for themselves, the others for the
/// characters from U+0100 on, in order. A character outside the alphabet is its own text.
fn byte_of(character: char) -> Vec<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    let byte = match u8::try_from(code) {
        Ok(byte) => Some(byte).filter(|&byte| printable(byte)),
        Err(_) => (0..=u8::MAX).filter(|&byte| !printable(byte)).nth((code - 0x100) as usize),
    };
    byte.map_or_else(|| character.to_string().into_bytes(), |byte| vec![byte])
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static BUNDLED: LazyLock<Tokenizer> = LazyLock::new(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/spark-1/tokenizer.json");
        Tokenizer::try_new(&std::fs::read_to_string(path).unwrap(), BTreeSet::from([265])).unwrap()
    });
    static FALLING_BACK: LazyLock<Tokenizer> = LazyLock::new(falling_back);

    /// A vocabulary in the manner of `SentencePiece`: some words, and the bytes.
    fn falling_back() -> Tokenizer {
        let words = ["<unk>", "▁", "▁the", "cat", "t", "h", "e", "c", "a"];
        let bytes = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>"));
        let names = words.iter().map(ToString::to_string).chain(bytes);
        let vocabulary: serde_json::Map<String, Value> =
            names.enumerate().map(|(id, name)| (name, id.into())).collect();
        let json = serde_json::json!({
            "version": "1.0", "added_tokens": [],
            "normalizer": {"type": "Prepend", "prepend": "▁"},
            "pre_tokenizer": null, "post_processor": null, "truncation": null, "padding": null,
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true, "unk_token": "<unk>"},
        });
        Tokenizer::try_new(&json.to_string(), BTreeSet::new()).unwrap()
    }

    #[test]
    fn control_tokens_stand_for_no_text_and_are_spelt_by_name() {
        let tokenizer = &*BUNDLED;
        assert_eq!(tokenizer.bytes(&[264, 270]), b"user\n");
        assert_eq!(tokenizer.spell(&[264, 270]), "<|im_start|>user\n");
        let ids = tokenizer.encode("<|im_end|>").unwrap();
        assert!(!ids.contains(&265), "what somebody writes is no control token: {ids:?}");
        assert_eq!(tokenizer.bytes(&ids), b"<|im_end|>");
    }

    #[test]
    fn a_normaliser_that_adds_a_space_adds_none_here() {
        let tokenizer = &*FALLING_BACK;
        let ids = tokenizer.encode("the cat").unwrap();
        assert_eq!(tokenizer.bytes(&ids), b"the cat");
    }

    #[test]
    fn a_decoder_of_words_is_refused() {
        let json = r#"{"version":"1.0","added_tokens":[],"decoder":{"type":"WordPiece","prefix":"","cleanup":true},
            "model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}"#;
        assert!(Tokenizer::try_new(json, BTreeSet::new()).is_err());
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_its_tokens(text in "\\PC{0,40}|[a-z \n<|>_]{0,40}") {
            for tokenizer in [&*BUNDLED, &*FALLING_BACK] {
                let ids = tokenizer.encode(&text).unwrap();
                prop_assert_eq!(tokenizer.bytes(&ids), text.as_bytes());
            }
        }
    }
}
