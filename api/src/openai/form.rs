//! What a caller demands of an answer's form: tools to choose from, a JSON schema, a regular expression.

use primitives::grammar::{Grammar, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Error;

/// The longest name of a function.
const NAME_BYTES_MAX: usize = 64;

/// `tool_choice`.
#[derive(Debug, Default, PartialEq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No call.
    None,
    /// At least one call.
    Required,
    /// A call of this function.
    Function(String),
}

/// `response_format`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Whatever the model says.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// The schema with its name.
        json_schema: NamedSchema,
    },
    /// A text that a regular expression matches as a whole; an addition of ours.
    Regex {
        /// The expression.
        pattern: String,
    },
}

/// A schema as OpenAI wraps it.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedSchema {
    schema: Option<Value>,
    #[serde(default)]
    strict: Option<bool>,
}

impl ToolChoice {
    /// Reads the field. *Errors*: what it may be.
    pub fn read(value: Option<&Value>) -> Result<Self, Error> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Self::Auto) };
        match (value.as_str(), value["function"]["name"].as_str()) {
            (Some("auto"), _) => Ok(Self::Auto),
            (Some("none"), _) => Ok(Self::None),
            (Some("required"), _) => Ok(Self::Required),
            (None, Some(name)) if value["type"] == "function" => Ok(Self::Function(name.to_owned())),
            _ => Err(Error::invalid(
                "tool_choice",
                "It is \"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}.",
            )),
        }
    }
}

/// The grammar of these demands; none where the answer is free.
///
/// *Errors*: a tool without a usable name, the choice of a tool that is not there, a schema that is none.
pub fn grammar(
    tools: &[Value],
    choice: &ToolChoice,
    parallel: bool,
    format: Option<&ResponseFormat>,
) -> Result<Option<Grammar>, Error> {
    let form = format.map_or(Ok(None), ResponseFormat::grammar)?;
    if tools.is_empty() {
        return match choice {
            ToolChoice::Required | ToolChoice::Function(_) => {
                Err(Error::invalid("tool_choice", "There is no tool to call. Describe some in `tools`."))
            }
            ToolChoice::Auto | ToolChoice::None => Ok(form),
        };
    }
    let mut described =
        tools.iter().enumerate().map(|(index, tool)| read_tool(index, tool)).collect::<Result<Vec<_>, _>>()?;
    if let ToolChoice::Function(name) = choice {
        described.retain(|tool| tool.name == *name);
        if described.is_empty() {
            return Err(Error::invalid("tool_choice", format!("`tools` describes no function {name:?}.")));
        }
    }
    let instead = match form {
        None => None,
        Some(Grammar::JsonSchema { schema, .. }) => Some(schema),
        Some(_) => return Err(Error::invalid("response_format", "With tools, an answer is free or JSON.")),
    };
    Ok(match choice {
        ToolChoice::None => instead.map(|schema| Grammar::JsonSchema { schema, strict: true }),
        ToolChoice::Auto => Some(Grammar::ToolCalls { tools: described, required: false, parallel, instead }),
        ToolChoice::Required => Some(Grammar::ToolCalls { tools: described, required: true, parallel, instead: None }),
        ToolChoice::Function(_) => {
            Some(Grammar::ToolCalls { tools: described, required: true, parallel: false, instead: None })
        }
    })
}

fn read_tool(index: usize, tool: &Value) -> Result<Tool, Error> {
    let function = &tool["function"];
    let name = function["name"].as_str().unwrap_or_default();
    if name.len() > NAME_BYTES_MAX || !Tool::can_be_named(name) {
        let message = format!("A name has 1 to {NAME_BYTES_MAX} letters, digits, `_`, `-` and `.`.");
        return Err(Error::invalid(&format!("tools[{index}].function.name"), message));
    }
    let parameters = function.get("parameters").filter(|parameters| !parameters.is_null());
    let parameters = parameters.cloned().unwrap_or_else(|| json!({}));
    if !parameters.is_object() {
        return Err(Error::invalid(
            &format!("tools[{index}].function.parameters"),
            "It is a JSON schema of an object.",
        ));
    }
    Ok(Tool { name: name.to_owned(), parameters, strict: function["strict"] == true })
}

impl ResponseFormat {
    fn grammar(&self) -> Result<Option<Grammar>, Error> {
        Ok(match self {
            Self::Text => None,
            Self::JsonObject => Some(Grammar::JsonSchema { schema: json!({"type": "object"}), strict: true }),
            Self::JsonSchema { json_schema: NamedSchema { schema, strict } } => {
                let schema = schema
                    .clone()
                    .ok_or_else(|| Error::invalid("response_format.json_schema.schema", "The schema is missing."))?;
                Some(Grammar::JsonSchema { schema, strict: *strict == Some(true) })
            }
            Self::Regex { pattern } => Some(Grammar::Regex { pattern: pattern.clone() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name}})
    }

    #[test]
    fn a_choice_of_tools_becomes_what_may_and_must_be_called() {
        let tools = [tool("a"), tool("b")];
        let made = |choice: Value| grammar(&tools, &ToolChoice::read(Some(&choice)).unwrap(), true, None).unwrap();
        let names = |grammar: Option<Grammar>| match grammar {
            Some(Grammar::ToolCalls { tools, required, parallel, .. }) => {
                (tools.into_iter().map(|tool| tool.name).collect::<String>(), required, parallel)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(names(made(json!("auto"))), ("ab".into(), false, true));
        assert_eq!(names(made(json!("required"))), ("ab".into(), true, true));
        assert_eq!(names(made(json!({"type": "function", "function": {"name": "b"}}))), ("b".into(), true, false));
        assert_eq!(made(json!("none")), None);
    }

    #[test]
    fn a_demand_that_cannot_be_met_is_refused_by_the_name_of_its_field() {
        let param = |tools: &[Value], choice: Value, format: Option<Value>| {
            let format = format.map(|format| serde_json::from_value::<ResponseFormat>(format).unwrap());
            let made =
                ToolChoice::read(Some(&choice)).and_then(|choice| grammar(tools, &choice, true, format.as_ref()));
            made.unwrap_err().param().unwrap().to_owned()
        };
        assert_eq!(param(&[], json!("required"), None), "tool_choice");
        assert_eq!(param(&[], json!("perhaps"), None), "tool_choice");
        assert_eq!(param(&[tool("a")], json!({"type": "function", "function": {"name": "c"}}), None), "tool_choice");
        assert_eq!(param(&[tool("a b")], json!("auto"), None), "tools[0].function.name");
        assert_eq!(param(&[tool(&"a".repeat(65))], json!("auto"), None), "tools[0].function.name");
        let parameters = json!({"type": "function", "function": {"name": "f", "parameters": []}});
        assert_eq!(param(&[parameters], json!("auto"), None), "tools[0].function.parameters");
        let schema = Some(json!({"type": "json_schema", "json_schema": {"name": "n"}}));
        assert_eq!(param(&[], json!("auto"), schema), "response_format.json_schema.schema");
        let regex = Some(json!({"type": "regex", "pattern": "a"}));
        assert_eq!(param(&[tool("a")], json!("auto"), regex), "response_format");
    }

    #[test]
    fn a_format_becomes_its_grammar() {
        let made = |format: Value| {
            grammar(&[], &ToolChoice::Auto, true, Some(&serde_json::from_value(format).unwrap())).unwrap()
        };
        assert_eq!(made(json!({"type": "text"})), None);
        assert!(matches!(made(json!({"type": "json_object"})), Some(Grammar::JsonSchema { strict: true, .. })));
        let schema =
            json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"type": "null"}}});
        assert_eq!(made(schema), Some(Grammar::JsonSchema { schema: json!({"type": "null"}), strict: true }));
        assert_eq!(made(json!({"type": "regex", "pattern": "a+"})), Some(Grammar::Regex { pattern: "a+".into() }));
    }
}
