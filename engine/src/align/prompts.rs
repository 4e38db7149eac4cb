//! What two models are asked: conversations from a file, as the model's own template and vocabulary write them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use primitives::chat_template::{ChatTemplate, Message};
use serde::Deserialize;
use serde_json::Value;

use crate::Model;
use crate::error::Error;

/// The most conversations that are read.
const PROMPTS_MAX: usize = 100_000;

/// A conversation, and the tokens that ask for its answer.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The tools that are described in it.
    pub tools: Vec<Value>,
    /// Its tokens.
    pub ids: Vec<u32>,
    messages: Vec<Message>,
}

impl Prompt {
    /// Its tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}

/// A file of conversations, read for one model.
#[derive(Debug)]
pub struct Prompts {
    /// Each, in the file's order.
    pub all: Vec<Prompt>,
    template: ChatTemplate,
}

#[derive(Deserialize)]
struct Line {
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Value>,
}

impl Prompts {
    /// Reads a file of one JSON object a line: `messages`, and `tools` where there are some. Those that leave no room for an answer
    /// are passed over.
    ///
    /// # Errors
    /// When the file cannot be read or understood, the model has no chat template, or no conversation is left.
    pub fn read(path: &Path, model: &Model) -> Result<Self, Error> {
        let template =
            model.chat_template().ok_or(Error::Align { reason: "the model's file has no chat template".into() })?;
        let template = ChatTemplate::try_new(&template, model.control_texts()).map_err(|error| refused(&error))?;
        let mut all = Vec::new();
        let failed = |source| Error::File { path: path.into(), source };
        for line in BufReader::new(File::open(path).map_err(failed)?).lines().take(PROMPTS_MAX) {
            let line: Line = serde_json::from_str(&line.map_err(failed)?)
                .map_err(|source| Error::Json { path: path.into(), source })?;
            let ids = encode(&template, model, &line.messages, &line.tools)?;
            if ids.len() < model.context_tokens {
                all.push(Prompt { tools: line.tools, ids, messages: line.messages });
            }
        }
        if all.is_empty() {
            return Err(Error::Align { reason: format!("{} has no conversation that fits", path.display()) });
        }
        Ok(Self { all, template })
    }

    /// Different requests with tools, `count` or as many as there are: first those of the file, then its conversations with the tools
    /// of others, which is how many questions come to tools that do not fit them.
    ///
    /// # Errors
    /// When the template refuses one.
    pub fn with_tools(&self, count: usize, model: &Model) -> Result<Vec<Prompt>, Error> {
        let tooled: Vec<&Prompt> = self.all.iter().filter(|prompt| !prompt.tools.is_empty()).collect();
        let mut requests: Vec<Prompt> = tooled.iter().copied().take(count).cloned().collect();
        for shift in 1..tooled.len() {
            for (index, asked) in tooled.iter().enumerate() {
                if requests.len() == count {
                    return Ok(requests);
                }
                // What was said to other tools would not fit these.
                if asked.messages.iter().any(|message| message.role != "user") {
                    continue;
                }
                let tools = tooled[(index + shift) % tooled.len()].tools.clone();
                let ids = encode(&self.template, model, &asked.messages, &tools)?;
                if ids.len() < model.context_tokens {
                    requests.push(Prompt { tools, ids, messages: asked.messages.clone() });
                }
            }
        }
        Ok(requests)
    }
}

fn encode(template: &ChatTemplate, model: &Model, messages: &[Message], tools: &[Value]) -> Result<Vec<u32>, Error> {
    let parts = template.render(messages, tools).map_err(|error| refused(&error))?;
    Ok(parts.iter().flat_map(|part| model.tokenise(part, true)).collect())
}

fn refused(error: &primitives::chat_template::Error) -> Error {
    Error::Align { reason: error.to_string() }
}
