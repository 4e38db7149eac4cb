//! From messages to token ids: a model's chat template and its tokenizer.
//!
//! The control plane renders and tokenises, so that the prompt's length is its own count and a job can go on elsewhere
//! token for token (`docs/decisions/0005`).

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as TemplateValue};
use minijinja::{Environment, context};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One turn of a conversation, as the template sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: String,
    /// What the assistant asked to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// A call of a tool by the assistant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is called.
    pub function: FunctionCall,
}

/// A function's name and the arguments given to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function.
    pub name: String,
    /// A JSON object.
    pub arguments: Value,
}

/// Why a prompt could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tokenizer's file is not one.
    #[error("the tokenizer cannot be read: {0}")]
    Tokenizer(String),
    /// The template's text is not one.
    #[error("the chat template cannot be read")]
    Template(#[source] minijinja::Error),
    /// The template refuses these messages.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
}

/// Cuts a special token's text in two where somebody wrote it; no text contains this character, which is none.
const CUT: char = '\u{FDD0}';

/// A model's way of reading a conversation.
pub struct PromptFormat {
    templates: Environment<'static>,
    tokenizer: tokenizers::Tokenizer,
    // What the template alone may say.
    special_tokens: Vec<String>,
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
        let mut templates = Environment::new();
        // Hugging Face's settings, which templates are written for.
        templates.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(Error::Template)?,
        );
        templates.set_fuel(Some(1_000_000));
        templates.add_filter("tojson", tojson);
        templates.add_function("raise_exception", raise_exception);
        templates.add_template_owned("chat", chat_template.to_owned()).map_err(Error::Template)?;
        Ok(Self { templates, tokenizer, special_tokens })
    }

    /// The token ids that the model continues with the assistant's turn.
    ///
    /// A special token that somebody wrote into a message is read as plain text, so that nobody can speak in another role.
    pub fn prompt(&self, messages: &[Message], tools: &[Value]) -> Result<Vec<u32>, Error> {
        self.encode(&self.render(messages, tools)?)
    }

    fn render(&self, messages: &[Message], tools: &[Value]) -> Result<String, Error> {
        let template = self.templates.get_template("chat").map_err(Error::Template)?;
        let mut messages = serde_json::json!(messages);
        self.defuse(&mut messages);
        let mut tools = serde_json::json!(tools);
        self.defuse(&mut tools);
        let tools = if tools == serde_json::json!([]) { Value::Null } else { tools };
        let (messages, tools) = (TemplateValue::from(Serde(messages)), TemplateValue::from(Serde(tools)));
        let values = context! { messages, tools, add_generation_prompt => true };
        template
            .render(values)
            .map_err(|error| Error::Refused(error.detail().unwrap_or("it cannot render them").into()))
    }

    /// The token ids of a rendered text; nothing is added.
    fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = vec![];
        for part in text.split(CUT) {
            let encoding = self.tokenizer.encode_fast(part, false);
            ids.extend_from_slice(encoding.map_err(|error| Error::Tokenizer(error.to_string()))?.get_ids());
        }
        Ok(ids)
    }

    /// Cuts special tokens in every text of a value.
    fn defuse(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.defused(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.defuse(item)),
            Value::Object(fields) => {
                let cut = std::mem::take(fields).into_iter().map(|(name, mut item)| {
                    self.defuse(&mut item);
                    (self.defused(&name), item)
                });
                *fields = cut.collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn defused(&self, text: &str) -> String {
        let mut text = text.replace(CUT, "\u{FFFD}");
        for special in &self.special_tokens {
            let mut characters = special.chars();
            let first: String = characters.by_ref().take(1).collect();
            text = text.replace(special, &format!("{first}{CUT}{}", characters.as_str()));
        }
        text
    }
}

fn raise_exception(message: String) -> Result<String, minijinja::Error> {
    Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what models were trained on.
fn tojson(value: TemplateValue, _options: Kwargs) -> Result<TemplateValue, minijinja::Error> {
    let json = serde_json::to_value(&value)
        .map_err(|error| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))?;
    let mut text = String::new();
    write_json(&json, &mut text);
    Ok(TemplateValue::from_safe_string(text))
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, item)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                write_json(item, out);
            }
            out.push('}');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
    fn a_special_token_is_the_templates_alone() {
        let format = format("{{ messages[0].content }}:b");
        assert_eq!(format.prompt(&[user("a")], &[]).unwrap(), [0, 3]);
        assert_eq!(format.prompt(&[user("a:b")], &[]).unwrap(), [0, 2, 1, 3]);
    }

    #[test]
    fn tools_are_written_as_python_writes_json() {
        let format = format("{{ tools[0] | tojson }}");
        let tool = json!({"name": "f", "parameters": {"q": ["<é>", 1, true]}});
        let text = format.render(&[], &[tool]).unwrap();
        assert_eq!(text, r#"{"name": "f", "parameters": {"q": ["<é>", 1, true]}}"#);
    }

    #[test]
    fn a_template_that_refuses_says_why() {
        let format = format("{{ raise_exception('roles must alternate') }}");
        let error = format.render(&[user("a")], &[]).unwrap_err();
        assert!(error.to_string().ends_with("roles must alternate"), "{error}");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let format = format("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}");
        assert!(format.render(&[user("a")], &[]).is_err());
    }
}
