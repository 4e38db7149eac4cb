//! From messages to token ids: a model's chat template and its tokenizer.
//!
//! The control plane renders and tokenises, so that the prompt's length is its own count and a job can go on elsewhere
//! token for token (`docs/decisions/0005`).

use std::fmt;

use serde_json::Value;

use crate::chat_template::{self, ChatTemplate};

pub use crate::chat_template::{FunctionCall, Message, ToolCall};

/// Why a prompt could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tokenizer's file is not one.
    #[error("the tokenizer cannot be read: {0}")]
    Tokenizer(String),
    /// The template cannot be read, or refuses the messages.
    #[error(transparent)]
    Template(#[from] chat_template::Error),
}

/// A model's way of reading a conversation.
pub struct PromptFormat {
    template: ChatTemplate,
    tokenizer: tokenizers::Tokenizer,
}

impl fmt::Debug for PromptFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PromptFormat")
    }
}

impl PromptFormat {
    /// Reads a Jinja chat template and a `tokenizer.json`.
    pub fn try_new(chat_template: &str, tokenizer_json: &str) -> Result<Self, Error> {
        let tokenizer = tokenizer_json.parse::<tokenizers::Tokenizer>();
        let tokenizer = tokenizer.map_err(|error| Error::Tokenizer(error.to_string()))?;
        let added = tokenizer.get_added_tokens_decoder();
        let special_tokens = added.into_values().filter(|token| token.special).map(|token| token.content).collect();
        Ok(Self { template: ChatTemplate::try_new(chat_template, special_tokens)?, tokenizer })
    }

    /// The token ids that the model continues with the assistant's turn; nothing is added.
    ///
    /// A special token that somebody wrote into a message is read as plain text, so that nobody can speak in another role.
    pub fn prompt(&self, messages: &[Message], tools: &[Value]) -> Result<Vec<u32>, Error> {
        self.prompt_and_end(messages, tools).map(|(ids, _)| ids)
    }

    /// As [`Self::prompt`], with the template's own last words, which begin what the model says.
    pub fn prompt_and_end(&self, messages: &[Message], tools: &[Value]) -> Result<(Vec<u32>, String), Error> {
        let mut ids = vec![];
        let mut end = String::new();
        for part in self.template.render(messages, tools)? {
            end.clone_from(&part);
            let encoding = self.tokenizer.encode_fast(part, false);
            ids.extend_from_slice(encoding.map_err(|error| Error::Tokenizer(error.to_string()))?.get_ids());
        }
        Ok((ids, end))
    }

    /// A text by itself as token ids, with the special tokens that the tokenizer puts around it.
    pub fn text(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.tokenizer.encode_fast(text, true);
        Ok(encoding.map_err(|error| Error::Tokenizer(error.to_string()))?.get_ids().to_vec())
    }

    /// Whether the template lists a tool's parameters in alphabetical order, so that the model gives them in that order.
    pub fn sorts_parameters(&self) -> bool {
        self.template.sorts_parameters()
    }

    /// How many tokens there are; ids run from 0.
    pub fn vocabulary_len(&self) -> u32 {
        u32::try_from(self.tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"normalizer":null,
        "added_tokens":[{"id":3,"content":":b","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "pre_tokenizer":null,"post_processor":null,"decoder":null,
        "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
        "fuse_unk":false,"byte_fallback":false,"vocab":{"a":0,"b":1,":":2},"merges":[]}}"#;

    fn format(template: &str) -> PromptFormat {
        PromptFormat::try_new(template, TOKENIZER).unwrap()
    }

    fn user(content: &str) -> Message {
        Message { role: "user".into(), content: content.into(), tool_calls: vec![] }
    }

    #[test]
    fn messages_become_token_ids() {
        let format = format("{% for message in messages %}{{ message.content }}:{% endfor %}");
        assert_eq!(format.prompt(&[user("ab"), user("a")], &[]).unwrap(), [0, 1, 2, 0, 2]);
    }

    #[test]
    fn the_end_of_a_prompt_is_the_templates_own() {
        let format = format("{{ messages[0].content }}ab");
        assert_eq!(format.prompt_and_end(&[user("b:b")], &[]).unwrap(), (vec![1, 2, 1, 0, 1], "bab".into()));
    }

    #[test]
    fn a_special_token_is_the_templates_alone() {
        let format = format("{{ messages[0].content }}:b");
        assert_eq!(format.prompt(&[user("a")], &[]).unwrap(), [0, 3]);
        assert_eq!(format.prompt(&[user("a:b")], &[]).unwrap(), [0, 2, 1, 3]);
    }
}
