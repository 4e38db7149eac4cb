//! What an upstream is, found out by asking it, and proof that it reads the model's tokens.

use primitives::node_protocol::{Sampling, Terms, Work};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::upstream::Shared;
use crate::upstream::dialect::{Dialect, Wanted};

/// Words of several scripts, numbers, and what JSON is made of.
const SAMPLE: &str = "The quick brown fox: 12 + 30 = 42, d\u{e9}j\u{e0} vu, 你好! {\"a\": [1, 2.5]}\n";

/// What is known of an upstream that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// How it speaks.
    pub dialect: Dialect,
    /// Which engine it is, with its version.
    pub engine: String,
    /// The model's name there.
    pub model: String,
    /// Prompt and output together, where it says so. *Units*: tokens.
    pub context_tokens: Option<usize>,
    /// Sequences at once, where it says so.
    pub slots: Option<usize>,
    /// Whether a prompt is told by its ids; otherwise by its text.
    pub reads_ids: bool,
}

#[derive(Debug, Deserialize)]
struct Models {
    data: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    owned_by: String,
    /// As vLLM and SGLang tell it.
    #[serde(default)]
    max_model_len: Option<usize>,
}

impl Card {
    /// Asks an upstream what it is, and has it read a sample.
    ///
    /// # Errors
    /// A sentence on why it cannot be used.
    pub async fn ask(shared: &Shared) -> Result<Self, String> {
        let models = shared.get_json("/v1/models").await?;
        let models: Models = serde_json::from_value(models).map_err(|_| "its /v1/models is no list".to_owned())?;
        let listed = choose(models.data, shared.name.as_deref(), &shared.model)?;
        let dialect = Dialect::of_owner(&listed.owned_by);
        let mut card = Self {
            dialect,
            engine: dialect.name().to_owned(),
            model: listed.id,
            context_tokens: listed.max_model_len,
            slots: None,
            reads_ids: true,
        };
        if let Some((path, name)) = dialect.version_at()
            && let Ok(told) = shared.get_json(path).await
        {
            if let Some(version) = told[name].as_str() {
                card.engine = format!("{} {version}", dialect.name());
            }
            let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
            card.slots = number(&told["total_slots"]);
            card.context_tokens = card.context_tokens.or(number(&told["default_generation_settings"]["n_ctx"]));
        }
        card.compare_words(shared).await?;
        card.prove(shared).await?;
        Ok(card)
    }

    /// Where it tells how it reads a text, it must be as we do.
    async fn compare_words(&self, shared: &Shared) -> Result<(), String> {
        let question = match self.dialect {
            Dialect::LlamaCpp => json!({"content": SAMPLE, "add_special": false}),
            Dialect::Vllm => json!({"model": self.model, "prompt": SAMPLE, "add_special_tokens": false}),
            Dialect::Sglang | Dialect::Plain => return Ok(()),
        };
        let Ok(told) = shared.ask(shared.post("/tokenize", &question)).await else { return Ok(()) };
        let ours = shared.tokenizer.encode(SAMPLE).map(Value::from);
        if ours.as_ref() == Some(&told["tokens"]) {
            Ok(())
        } else {
            Err("it reads a text into other tokens than this model's: it serves another model".to_owned())
        }
    }

    /// Has it read a sample by ids, or else by text, and make one token: it must count the prompt's tokens as we do.
    async fn prove(&mut self, shared: &Shared) -> Result<(), String> {
        let ids = shared.tokenizer.encode(SAMPLE).ok_or("the model's tokens cannot make a sample text")?;
        let count = ids.len() as u64;
        let work = Work {
            prompt: ids,
            resume: Vec::new(),
            resume_text_bytes: 0,
            output_tokens_max: 1,
            stop: Vec::new(),
            sampling: Sampling::greedy(),
            terms: Terms::default(),
            grammar: None,
            logprobs: None,
        };
        let mut found = String::new();
        for reads_ids in [true, false] {
            self.reads_ids = reads_ids;
            let salt = shared.own_salt();
            let wanted = Wanted { model: &self.model, work: &work, output_left: 1, salt: &salt };
            let mut body = self.dialect.body(self.prompt(shared, &work), wanted);
            body["stream"] = false.into();
            body.as_object_mut().expect("a request is an object").remove("stream_options");
            found = match shared.ask(shared.post(self.dialect.completion_path(), &body)).await {
                Ok(told) => {
                    let read = told["usage"]["prompt_tokens"].as_u64().or(told["tokens_evaluated"].as_u64());
                    if read == Some(count) {
                        return Ok(());
                    }
                    let read = read.map_or("an unknown number of".to_owned(), |read| read.to_string());
                    format!("it reads {read} tokens where the prompt has {count}: it does not take prompts as they are")
                }
                Err(reason) => reason,
            };
        }
        Err(found)
    }

    /// A work's prompt, with what it resumes, as it is told to this upstream.
    pub fn prompt(&self, shared: &Shared, work: &Work) -> Value {
        let ids = [work.prompt.as_slice(), &work.resume].concat();
        if self.reads_ids { ids.into() } else { shared.tokenizer.spell(&ids).into() }
    }
}

/// The model of the wanted name; else the only one; else the one of the catalogue's name.
fn choose(models: Vec<Listed>, name: Option<&str>, catalogue: &str) -> Result<Listed, String> {
    let names: Vec<String> = models.iter().map(|model| model.id.clone()).collect();
    let only = names.len() == 1;
    let chosen = models.into_iter().find(|model| match name {
        Some(name) => model.id == name,
        None => only || model.id == catalogue,
    });
    chosen.ok_or_else(|| {
        let wanted = name.unwrap_or(catalogue);
        format!("it has no model {wanted}, but {}: name one of them behind the URL, as in URL#NAME", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_model_is_chosen_or_the_only_one_or_that_of_the_catalogue() {
        let listed = |names: &[&str]| {
            names
                .iter()
                .map(|name| Listed { id: (*name).into(), owned_by: String::new(), max_model_len: None })
                .collect()
        };
        let chosen = |names: &[&str], name| choose(listed(names), name, "spark-1").map(|model| model.id).ok();
        assert_eq!(chosen(&["a"], None).as_deref(), Some("a"));
        assert_eq!(chosen(&["a", "spark-1"], None).as_deref(), Some("spark-1"));
        assert_eq!(chosen(&["a", "b"], Some("b")).as_deref(), Some("b"));
        assert_eq!(chosen(&["a"], Some("b")), None);
        assert_eq!(chosen(&["a", "b"], None), None);
    }
}
