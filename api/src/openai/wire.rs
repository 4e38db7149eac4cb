//! Requests for `/v1/chat/completions`, as the wire has them.
//!
//! A field that we do not know, or know and cannot honour, is refused: silently doing something else is worse.

use primitives::certificate::Grade;
use primitives::grammar::Grammar;
use primitives::node_protocol::Sampling;
use primitives::prompt::{FunctionCall, Message, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::form::{self, ResponseFormat, ToolChoice};
use crate::error::Error;

/// Messages in one request at most.
const MESSAGES_MAX: usize = 1_000;
/// Tools in one request at most.
const TOOLS_MAX: usize = 128;
/// Stop texts at most, and the bytes of each.
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;
/// Biased tokens at most.
const BIASES_MAX: usize = 300;
/// Likely tokens that are told beside each, at most.
const TOP_LOGPROBS_MAX: i64 = 20;

/// A request for a chat completion.
#[derive(Debug, Deserialize)]
pub struct ChatRequest {
    /// The model's name.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<WireMessage>,
    /// Functions that the model may call.
    #[serde(default)]
    pub tools: Vec<Value>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    logprobs: Option<bool>,
    top_logprobs: Option<i64>,
    logit_bias: Option<Map<String, Value>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<Stop>,
    n: Option<i64>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
    #[expect(dead_code, reason = "accepted and ignored, as OpenAI documents it: a label of the end user")]
    user: Option<String>,
    x_tokengrid: Option<Extension>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What we take beside what OpenAI has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    grade: Option<Grade>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// One message of the conversation.
#[derive(Debug, Deserialize)]
pub struct WireMessage {
    role: String,
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Vec<WireToolCall>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireToolCall {
    function: WireFunctionCall,
}

#[derive(Debug, Deserialize)]
struct WireFunctionCall {
    name: String,
    arguments: String,
}

/// A seed and the ways to draw tokens; `seed` is absent when the caller leaves it to us.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Everything but the seed, which is 0 here.
    pub sampling: Sampling,
    /// The caller's seed.
    pub seed: Option<u64>,
}

impl ChatRequest {
    /// Reads a body. *Errors*: what is wrong with it, and where.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let request: Self = serde_json::from_slice(body).map_err(|error| Error::Invalid {
            param: None,
            message: format!("The body is not a chat completion request: {error}."),
        })?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(name) = self.others.iter().find(|(_, value)| !value.is_null()).map(|(name, _)| name) {
            return Err(Error::invalid(name, format!("`{name}` is not supported. Leave it out.")));
        }
        if self.messages.is_empty() || self.messages.len() > MESSAGES_MAX {
            return Err(Error::invalid("messages", format!("A conversation has 1 to {MESSAGES_MAX} messages.")));
        }
        if self.n.is_some_and(|n| n != 1) {
            return Err(Error::invalid(
                "n",
                "Only one choice can be asked for (n = 1). Send several requests instead.",
            ));
        }
        if self.stream_options.is_some() && !self.stream {
            return Err(Error::invalid("stream_options", "`stream_options` needs `stream: true`."));
        }
        if self.tools.len() > TOOLS_MAX {
            return Err(Error::invalid("tools", format!("At most {TOOLS_MAX} tools can be described.")));
        }
        let described = |tool: &Value| tool["type"] == "function" && tool["function"]["name"].is_string();
        if !self.tools.iter().all(described) {
            return Err(Error::invalid("tools", "Each tool is {\"type\": \"function\", \"function\": {\"name\": …}}."));
        }
        Ok(())
    }

    /// True when the stream's last chunk is to tell the usage.
    pub fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// The lowest grade that is taken, if one is named.
    pub fn grade(&self) -> Result<Option<Grade>, Error> {
        match self.x_tokengrid.as_ref().and_then(|extension| extension.grade) {
            Some(Grade::None) => Err(Error::invalid("x_tokengrid.grade", "`grade` must be `exact`, `near` or `eco`.")),
            grade => Ok(grade),
        }
    }

    /// The tools that the model is told of.
    pub fn offered_tools(&self) -> &[Value] {
        let none = self.tool_choice.as_ref().is_some_and(|choice| choice == "none");
        if none { &[] } else { &self.tools }
    }

    /// What the answer must look like.
    pub fn grammar(&self) -> Result<Option<Grammar>, Error> {
        let choice = ToolChoice::read(self.tool_choice.as_ref())?;
        form::grammar(
            self.offered_tools(),
            &choice,
            self.parallel_tool_calls != Some(false),
            self.response_format.as_ref(),
        )
    }

    /// With how many of the likeliest tokens beside each its likelihood is told, if it is.
    pub fn logprobs(&self) -> Result<Option<u8>, Error> {
        if self.logprobs != Some(true) {
            return match self.top_logprobs {
                None => Ok(None),
                Some(_) => Err(Error::invalid("top_logprobs", "`top_logprobs` needs `logprobs: true`.")),
            };
        }
        let top = self.top_logprobs.unwrap_or(0);
        let told = u8::try_from(top).ok().filter(|_| top <= TOP_LOGPROBS_MAX);
        let message = || format!("`top_logprobs` must be between 0 and {TOP_LOGPROBS_MAX}.");
        told.map(Some).ok_or_else(|| Error::invalid("top_logprobs", message()))
    }

    fn logit_bias(&self) -> Result<Vec<(u32, f32)>, Error> {
        let Some(biases) = &self.logit_bias else { return Ok(vec![]) };
        let message = || format!("`logit_bias` maps up to {BIASES_MAX} token ids to numbers from -100 to 100.");
        let read = |(id, bias): (&String, &Value)| {
            let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias))?;
            Some((id.parse().ok()?, bias as f32))
        };
        let biases: Option<Vec<_>> =
            biases.iter().map(read).collect::<Option<_>>().filter(|biases: &Vec<_>| biases.len() <= BIASES_MAX);
        biases.ok_or_else(|| Error::invalid("logit_bias", message()))
    }

    /// The conversation as the model's template takes it.
    pub fn conversation(&self) -> Result<Vec<Message>, Error> {
        self.messages.iter().enumerate().map(|(index, message)| message.read(index)).collect()
    }

    /// The most output tokens, when the caller says.
    pub fn output_tokens_max(&self) -> Result<Option<u32>, Error> {
        let given = [("max_completion_tokens", self.max_completion_tokens), ("max_tokens", self.max_tokens)];
        let Some((param, tokens)) = given.into_iter().find_map(|(param, value)| value.map(|value| (param, value)))
        else {
            return Ok(None);
        };
        let tokens = u32::try_from(tokens).ok().filter(|tokens| (1..=1_000_000).contains(tokens));
        tokens.map(Some).ok_or_else(|| Error::invalid(param, format!("`{param}` must be between 1 and 1000000.")))
    }

    /// Texts that end the output.
    pub fn stops(&self) -> Result<Vec<String>, Error> {
        let stops = match &self.stop {
            None => vec![],
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Many(stops)) => stops.clone(),
        };
        if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
            let message = format!("`stop` takes up to {STOPS_MAX} texts of 1 to {STOP_BYTES_MAX} bytes.");
            return Err(Error::invalid("stop", message));
        }
        Ok(stops)
    }

    /// How tokens are drawn. Without a temperature the likeliest token is taken.
    pub fn drawing(&self) -> Result<Drawing, Error> {
        let within = |param: &str, value: Option<f64>, default: f64, range: std::ops::RangeInclusive<f64>| {
            let value = value.unwrap_or(default);
            let message = || format!("`{param}` must be between {} and {}.", range.start(), range.end());
            if range.contains(&value) { Ok(value as f32) } else { Err(Error::invalid(param, message())) }
        };
        let top_k = u32::try_from(self.top_k.unwrap_or(0));
        Ok(Drawing {
            sampling: Sampling {
                temperature: within("temperature", self.temperature, 0.0, 0.0..=2.0)?,
                top_p: within("top_p", self.top_p, 1.0, 0.000_001..=1.0)?,
                top_k: top_k.map_err(|_| Error::invalid("top_k", "`top_k` must not be negative."))?,
                seed: 0,
                frequency_penalty: within("frequency_penalty", self.frequency_penalty, 0.0, -2.0..=2.0)?,
                presence_penalty: within("presence_penalty", self.presence_penalty, 0.0, -2.0..=2.0)?,
                logit_bias: self.logit_bias()?,
            },
            seed: self.seed.map(i64::cast_unsigned),
        })
    }
}

impl WireMessage {
    fn read(&self, index: usize) -> Result<Message, Error> {
        let param = |field: &str| format!("messages[{index}].{field}");
        let role = match self.role.as_str() {
            "developer" => "system",
            role @ ("system" | "user" | "assistant" | "tool") => role,
            _ => return Err(Error::invalid(&param("role"), "A role is system, developer, user, assistant or tool.")),
        };
        let content = match &self.content {
            None if role == "assistant" => String::new(),
            None => return Err(Error::invalid(&param("content"), "The message has no content.")),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts = parts.iter().map(|part| part.text.as_deref().filter(|_| part.kind == "text"));
                let text = texts.collect::<Option<Vec<_>>>().map(|texts| texts.concat());
                text.ok_or_else(|| Error::invalid(&param("content"), "Only text parts are supported."))?
            }
        };
        let calls = self.tool_calls.iter().map(|call| {
            let arguments = serde_json::from_str(&call.function.arguments);
            let arguments = arguments.map_err(|_| Error::invalid(&param("tool_calls"), "Arguments must be JSON."))?;
            let function = FunctionCall { name: call.function.name.clone(), arguments };
            Ok(ToolCall { kind: "function".into(), function })
        });
        Ok(Message { role: role.into(), content, tool_calls: calls.collect::<Result<_, Error>>()? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> (Option<String>, String) {
        let body = serde_json::to_vec(&body).unwrap();
        let error = ChatRequest::parse(&body)
            .and_then(|request| {
                request.conversation()?;
                request.output_tokens_max()?;
                request.stops()?;
                request.grammar()?;
                request.logprobs()?;
                request.drawing().map(|_| ())
            })
            .unwrap_err();
        (error.param().map(str::to_owned), error.to_string())
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body[field] = value;
        body
    }

    #[test]
    fn every_wrong_value_is_refused_by_the_name_of_its_field() {
        let cases = [
            ("messages", json!([]), "messages"),
            ("messages", json!([{"role": "king", "content": "hi"}]), "messages[0].role"),
            ("messages", json!([{"role": "user"}]), "messages[0].content"),
            ("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content"),
            ("max_tokens", json!(-5), "max_tokens"),
            ("max_tokens", json!(0), "max_tokens"),
            ("max_completion_tokens", json!(99_000_000_000_i64), "max_completion_tokens"),
            ("temperature", json!(7), "temperature"),
            ("top_p", json!(0), "top_p"),
            ("top_k", json!(-1), "top_k"),
            ("presence_penalty", json!(-3), "presence_penalty"),
            ("stop", json!(["a", "b", "c", "d", "e"]), "stop"),
            ("stop", json!(""), "stop"),
            ("n", json!(2), "n"),
            ("tools", json!([{"type": "spell"}]), "tools"),
            ("tool_choice", json!("required"), "tool_choice"),
            ("stream_options", json!({"include_usage": true}), "stream_options"),
            ("logit_bias", json!({"1": 200}), "logit_bias"),
            ("logit_bias", json!({"one": 2}), "logit_bias"),
            ("top_logprobs", json!(2), "top_logprobs"),
            ("nonsense", json!(1), "nonsense"),
        ];
        for (field, value, param) in cases {
            let (found, message) = refused(with(field, value.clone()));
            assert_eq!(found.as_deref(), Some(param), "{field} = {value}: {message}");
        }
    }

    #[test]
    fn a_body_that_is_not_a_request_says_where() {
        let error = ChatRequest::parse(b"{\"model\": 3}").unwrap_err();
        assert!(error.to_string().contains("line 1 column"), "{error}");
        assert!(ChatRequest::parse(b"{").is_err());
    }

    #[test]
    fn parts_and_tool_results_become_messages() {
        let body = with(
            "messages",
            json!([
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": null,
                 "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "42"},
            ]),
        );
        let messages = ChatRequest::parse(body.to_string().as_bytes()).unwrap().conversation().unwrap();
        let roles: Vec<_> = messages.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        assert_eq!(messages[1].content, "ab");
        assert_eq!(messages[2].tool_calls[0].function.arguments, json!({"x": 1}));
    }
}
