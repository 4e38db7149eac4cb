//! A model's chat template: from messages to the text that the model continues.

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

/// Why a text could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template's text is not one.
    #[error("the chat template cannot be read")]
    Template(#[source] minijinja::Error),
    /// The template refuses these messages.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
}

/// Cuts a special token's text in two where somebody wrote it; no text contains this character, which is none.
const CUT: char = '\u{FDD0}';

/// A chat template, ready to render.
pub struct ChatTemplate {
    templates: Environment<'static>,
    // What the template alone may say.
    special_tokens: Vec<String>,
    sorts_parameters: bool,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChatTemplate")
    }
}

impl ChatTemplate {
    /// Reads a Jinja chat template; `special_tokens` are the texts that it alone may write.
    pub fn try_new(text: &str, special_tokens: Vec<String>) -> Result<Self, Error> {
        let mut templates = Environment::new();
        // Hugging Face's settings, which templates are written for.
        templates.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(Error::Template)?,
        );
        templates.set_fuel(Some(1_000_000));
        templates.add_filter("tojson", tojson);
        templates.add_function("raise_exception", raise_exception);
        templates.add_template_owned("chat", text.to_owned()).map_err(Error::Template)?;
        // `dictsort` is Jinja's way to list a mapping by its keys.
        Ok(Self { templates, special_tokens, sorts_parameters: text.contains("dictsort") })
    }

    /// Whether the template lists a tool's parameters in alphabetical order, so that the model gives them in that order.
    pub fn sorts_parameters(&self) -> bool {
        self.sorts_parameters
    }

    /// The text that the model continues with the assistant's turn, in parts: between two of them no special token may form, since
    /// somebody who is not the template wrote one there.
    ///
    /// *Errors*: [`Error::Refused`], also for a template that does not end.
    pub fn render(&self, messages: &[Message], tools: &[Value]) -> Result<Vec<String>, Error> {
        let template = self.templates.get_template("chat").map_err(Error::Template)?;
        let mut messages = serde_json::json!(messages);
        self.defuse(&mut messages);
        let mut tools = serde_json::json!(tools);
        self.defuse(&mut tools);
        let tools = if tools == serde_json::json!([]) { Value::Null } else { tools };
        let (messages, tools) = (TemplateValue::from(Serde(messages)), TemplateValue::from(Serde(tools)));
        let values = context! { messages, tools, add_generation_prompt => true };
        let text = template
            .render(values)
            .map_err(|error| Error::Refused(error.detail().unwrap_or("it cannot render them").into()))?;
        Ok(text.split(CUT).map(str::to_owned).collect())
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
    use serde_json::json;

    use super::*;

    fn template(text: &str) -> ChatTemplate {
        ChatTemplate::try_new(text, vec![":b".into()]).unwrap()
    }

    fn user(content: &str) -> Message {
        Message { role: "user".into(), content: content.into(), tool_calls: vec![] }
    }

    #[test]
    fn a_special_token_is_the_templates_alone() {
        let template = template("{{ messages[0].content }}:b");
        assert_eq!(template.render(&[user("a:b:")], &[]).unwrap(), ["a:", "b::b"]);
        assert_eq!(template.render(&[user("a")], &[]).unwrap(), ["a:b"]);
    }

    #[test]
    fn tools_are_written_as_python_writes_json() {
        let template = template("{{ tools[0] | tojson }}");
        let tool = json!({"name": "f", "parameters": {"q": ["<é>", 1, true]}});
        let text = template.render(&[], &[tool]).unwrap();
        assert_eq!(text, [r#"{"name": "f", "parameters": {"q": ["<é>", 1, true]}}"#]);
    }

    #[test]
    fn a_template_that_refuses_says_why() {
        let template = template("{{ raise_exception('roles must alternate') }}");
        let error = template.render(&[user("a")], &[]).unwrap_err();
        assert!(error.to_string().ends_with("roles must alternate"), "{error}");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let template = template("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}");
        assert!(template.render(&[user("a")], &[]).is_err());
    }
}
