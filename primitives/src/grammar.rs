//! What an output must look like: JSON of a schema, text of a regular expression, or calls of described tools.
//!
//! The control plane [checks](Grammar::check) a grammar before any work starts; the node [matches](Matcher) every token with it,
//! so that an output breaks it at no place. It fails closed: a node that cannot go on by the grammar fails the job.
//!
//! JSON is written as Python's `json.dumps` writes it, with `", "` and `": "` and no other space: models were trained on that, and
//! there is no white space to get lost in.

mod matcher;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use matcher::{Allowed, Matcher, Vocabulary};

/// Where white space may stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Where `json.dumps` puts it, and nowhere else: what our own engine draws.
    Ours,
    /// Wherever JSON allows it: what other engines write.
    Any,
}

/// The text that opens a tool call in a model's output, and the one that closes it.
pub const CALL_OPEN: &str = "<tool_call>";
/// See [`CALL_OPEN`].
pub const CALL_CLOSE: &str = "</tool_call>";

/// The longest grammar. *Units*: bytes of JSON.
pub const BYTES_MAX: usize = 256 * 1024;

/// The longest regular expression, alone or in a schema; the work of matching one grows with the square of its length. *Units*: bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// What an output must look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Grammar {
    /// One JSON value of a JSON schema.
    JsonSchema {
        /// The schema.
        schema: Value,
        /// Refuse what the schema says and the matcher cannot hold; without it, such keywords are passed over.
        strict: bool,
    },
    /// A text that a regular expression matches as a whole.
    Regex {
        /// Rust's syntax, without looking around or back.
        pattern: String,
    },
    /// Calls of tools, each between [`CALL_OPEN`] and [`CALL_CLOSE`].
    ToolCalls {
        /// The tools that may be called.
        tools: Vec<Tool>,
        /// Whether it must begin with a call; otherwise any text goes before one, or instead.
        required: bool,
        /// Whether several calls may follow each other.
        parallel: bool,
        /// The schema of a JSON value that may come instead of calls and any text.
        instead: Option<Value>,
    },
}

/// A tool that may be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
    /// As of [`Grammar::JsonSchema`].
    pub strict: bool,
}

/// Why a grammar cannot be held, in a sentence for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(self) String);

impl Tool {
    /// Whether this can be a tool's name.
    pub fn can_be_named(name: &str) -> bool {
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        !name.is_empty() && name.chars().all(plain)
    }
}

impl Grammar {
    /// Compiles the grammar and throws it away.
    ///
    /// *Errors*: what is wrong with it: a keyword that cannot be held, a reference that leads nowhere, a schema that nothing
    /// satisfies, or too much of it.
    pub fn check(&self) -> Result<(), Error> {
        let size = serde_json::to_vec(self).map_err(|error| Error(error.to_string()))?.len();
        if size > BYTES_MAX {
            return Err(Error(format!("it has {size} bytes of at most {BYTES_MAX}")));
        }
        Vocabulary::bytes().matcher(self)?.allowed().map(drop)
    }

    /// The grammar in the matcher's words.
    fn source(&self, spacing: Spacing) -> Result<String, Error> {
        match self {
            Self::JsonSchema { schema, strict } => {
                Ok(format!("start: %json {}\n", compiled(schema, *strict, spacing)?))
            }
            Self::Regex { pattern } => {
                check_pattern(pattern)?;
                Ok(format!("start: /{}/\n", escaped(pattern)))
            }
            Self::ToolCalls { tools, required, parallel, instead } => {
                tool_calls(tools, *required, *parallel, instead.as_ref(), spacing)
            }
        }
    }

    /// Puts the arguments of tools in alphabetical order, for a model that was shown them so.
    pub fn sort_arguments(&mut self) {
        let Self::ToolCalls { tools, .. } = self else { return };
        for tool in tools {
            if let Some(Value::Object(properties)) = tool.parameters.get_mut("properties") {
                // As Jinja's `dictsort` does, whatever the letters' case.
                let mut named: Vec<_> = std::mem::take(properties).into_iter().collect();
                named.sort_by_key(|(name, _)| name.to_lowercase());
                properties.extend(named);
            }
        }
    }
}

/// A regular expression between slashes.
fn escaped(pattern: &str) -> String {
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend([Some('\\'), characters.next()].into_iter().flatten()),
            '/' => text.push_str("\\/"),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text
}

fn check_pattern(pattern: &str) -> Result<(), Error> {
    match pattern.len() {
        ..=PATTERN_BYTES_MAX => Ok(()),
        length => Err(Error(format!("a regular expression has {length} bytes of at most {PATTERN_BYTES_MAX}"))),
    }
}

/// Looks for long regular expressions in a schema; its depth was bounded when it was read.
fn check_patterns(schema: &Value) -> Result<(), Error> {
    match schema {
        Value::Array(items) => items.iter().try_for_each(check_patterns),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value {
            Value::String(pattern) if name == "pattern" => check_pattern(pattern),
            Value::Object(properties) if name == "patternProperties" => {
                properties.keys().try_for_each(|pattern| check_pattern(pattern))?;
                check_patterns(value)
            }
            _ => check_patterns(value),
        }),
        _ => Ok(()),
    }
}

/// The schema with the settings of the matcher.
fn compiled(schema: &Value, strict: bool, spacing: Spacing) -> Result<Value, Error> {
    check_patterns(schema)?;
    let mut schema = match schema {
        Value::Object(fields) => fields.clone(),
        Value::Bool(true) => Map::new(),
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    let settings = match spacing {
        Spacing::Ours => json!({
            "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false, "coerce_one_of": true, "lenient": !strict,
        }),
        Spacing::Any => json!({"whitespace_flexible": true, "coerce_one_of": true, "lenient": !strict}),
    };
    schema.insert("x-guidance".to_owned(), settings);
    Ok(Value::Object(schema))
}

fn tool_calls(
    tools: &[Tool],
    required: bool,
    parallel: bool,
    instead: Option<&Value>,
    spacing: Spacing,
) -> Result<String, Error> {
    if tools.is_empty() {
        return Err(Error("there is no tool to call".to_owned()));
    }
    let more = if parallel { r#"(NEXT call)*"# } else { "" };
    let mut source = match instead {
        _ if required => format!("start: {CALL_OPEN:?} call {more}\n"),
        Some(schema) => {
            format!("start: {CALL_OPEN:?} call {more} | instead\ninstead: %json {}\n", compiled(schema, true, spacing)?)
        }
        None => format!("start: lead call {more} | TEXT\nlead[lazy]: /(?s:.*){CALL_OPEN}/\nTEXT: /(?s:.*)/\n"),
    };
    if parallel {
        source += &format!("NEXT: /\\n?{CALL_OPEN}/\n");
    }
    let names: Vec<String> = (0..tools.len()).map(|index| format!("call_{index}")).collect();
    source += &format!("call: {}\n", names.join(" | "));
    for (index, tool) in tools.iter().enumerate() {
        if !Tool::can_be_named(&tool.name) {
            return Err(Error(format!("the tool's name {:?} is not of letters, digits, _, - and .", tool.name)));
        }
        let head = format!(r#"{{"name": "{}", "arguments": "#, tool.name);
        let parameters = compiled(&closed(&tool.parameters), tool.strict, spacing)?;
        source += &format!("call_{index}: {head:?} args_{index} {:?}\n", format!("}}{CALL_CLOSE}"));
        source += &format!("args_{index}: %json {parameters}\n");
    }
    Ok(source)
}

/// The schema of an object with nothing in it that is not described, where it leaves that open: a model that may write any key
/// writes some.
fn closed(schema: &Value) -> Value {
    let mut schema = match schema {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    let open = ["additionalProperties", "patternProperties", "allOf", "$ref", "anyOf", "oneOf"];
    if !open.iter().any(|keyword| schema.contains_key(*keyword)) {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    schema.entry("type").or_insert_with(|| "object".into());
    Value::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of a text the grammar lets through, and whether the text may end there.
    fn walk(grammar: &Grammar, text: &str) -> (usize, bool) {
        let mut matcher = Vocabulary::bytes().matcher(grammar).unwrap();
        for (at, byte) in text.bytes().enumerate() {
            if !matcher.allowed().unwrap().contains(u32::from(byte)) {
                return (at, false);
            }
            matcher.accept(u32::from(byte)).unwrap();
        }
        let allowed = matcher.allowed().unwrap();
        (text.len(), allowed.contains(256))
    }

    fn whole(grammar: &Grammar, text: &str) -> bool {
        walk(grammar, text) == (text.len(), true)
    }

    fn schema(schema: Value) -> Grammar {
        Grammar::JsonSchema { schema, strict: true }
    }

    fn tools(required: bool, parallel: bool) -> Grammar {
        let city = json!({"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}}, "required": ["city"]});
        let tool = |name: &str, parameters| Tool { name: name.into(), parameters, strict: false };
        Grammar::ToolCalls {
            tools: vec![tool("weather", city), tool("now", json!({}))],
            required,
            parallel,
            instead: None,
        }
    }

    const OSLO: &str = r#"<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>"#;
    const NOW: &str = r#"<tool_call>{"name": "now", "arguments": {}}</tool_call>"#;

    #[test]
    fn what_another_engine_spaced_otherwise_is_of_the_grammar_only_where_any_space_is() {
        let grammar = schema(json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}));
        let taken = |text: &str, spacing| {
            let mut matcher = Vocabulary::bytes().matcher_spaced(&grammar, spacing).unwrap();
            text.bytes().all(|byte| matcher.accept(u32::from(byte)).is_ok())
        };
        for text in [r#"{"a":1}"#, "{\n  \"a\" : 1\n}"] {
            assert_eq!((taken(text, Spacing::Ours), taken(text, Spacing::Any)), (false, true), "{text}");
        }
        assert!(!taken(r#"{"b":1}"#, Spacing::Any));
    }

    #[test]
    fn json_is_of_its_schema_and_nothing_else() {
        let grammar =
            schema(json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
            "required": ["a", "b"], "additionalProperties": false}));
        assert!(whole(&grammar, r#"{"a": -12, "b": true}"#));
        assert_eq!(walk(&grammar, r#"{"a": "x""#), (6, false));
        assert_eq!(walk(&grammar, r#"{"b""#), (2, false));
        assert_eq!(walk(&grammar, r#"{"a": 1, "b": true} "#), (19, false), "it ends where the value ends");
        assert_eq!(walk(&grammar, "Sure!"), (0, false));
    }

    #[test]
    fn a_schema_may_refer_to_itself() {
        let tree = json!({"$defs": {"t": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/t"}}},
            "additionalProperties": false}}, "$ref": "#/$defs/t"});
        assert!(whole(&schema(tree), r#"{"kids": [{"kids": []}, {}]}"#));
    }

    #[test]
    fn a_regular_expression_matches_the_whole_output() {
        let grammar = Grammar::Regex { pattern: r"[0-9]{3}/[a-z]+".into() };
        assert!(whole(&grammar, "123/abc"));
        assert_eq!(walk(&grammar, "12a"), (2, false));
        assert_eq!(walk(&grammar, "123/"), (4, false));
        assert!(whole(&Grammar::Regex { pattern: r"a\/b\\".into() }, r"a/b\"));
    }

    #[test]
    fn tools_are_called_by_their_names_with_arguments_of_their_schemas() {
        let auto = tools(false, true);
        for text in ["", "2 < 3 <tool", OSLO, NOW, &format!("Let me see. {OSLO}\n{NOW}{OSLO}")] {
            assert!(whole(&auto, text), "{text}");
        }
        assert_eq!(walk(&auto, r#"<tool_call>{"name": "nix"#).0, 22);
        assert_eq!(
            walk(&auto, r#"<tool_call>{"name": "weather", "arguments": {"unit""#).0,
            46,
            "what is required comes"
        );
        assert_eq!(
            walk(&auto, r#"<tool_call>{"name": "now", "arguments": {"a"#).0,
            41,
            "what is not described does not"
        );
        assert_eq!(walk(&auto, &format!("{OSLO} so")), (OSLO.len(), false), "no text after a call");
    }

    #[test]
    fn a_call_can_be_demanded_and_kept_to_one() {
        assert_eq!(walk(&tools(true, true), "Let me"), (0, false));
        assert!(!whole(&tools(true, true), ""));
        assert!(whole(&tools(true, true), &format!("{OSLO}{NOW}")));
        assert!(whole(&tools(true, false), NOW));
        assert_eq!(walk(&tools(false, false), &format!("{NOW}{NOW}")).0, NOW.len());
    }

    #[test]
    fn json_of_a_schema_may_come_instead_of_calls() {
        let mut either = tools(false, true);
        let Grammar::ToolCalls { instead, .. } = &mut either else { unreachable!() };
        *instead = Some(json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]}));
        assert!(whole(&either, NOW));
        assert!(whole(&either, r#"{"a": null}"#));
        assert_eq!(walk(&either, "Hello"), (0, false));
    }

    #[test]
    fn arguments_can_be_put_in_alphabetical_order() {
        let mut grammar = tools(true, false);
        let Grammar::ToolCalls { tools, .. } = &mut grammar else { unreachable!() };
        tools[0].parameters =
            json!({"properties": {"b": {"type": "null"}, "A": {"type": "null"}}, "required": ["b", "A"]});
        let call = r#"<tool_call>{"name": "weather", "arguments": {"A": null, "b": null}}</tool_call>"#;
        assert!(!whole(&grammar, call));
        grammar.sort_arguments();
        assert!(whole(&grammar, call));
    }

    #[test]
    fn what_cannot_be_held_is_refused_by_name() {
        let refused = |grammar: Grammar| grammar.check().unwrap_err().to_string();
        let cases = [
            (schema(json!({"type": "array", "uniqueItems": true})), "uniqueItems"),
            (schema(json!({"$ref": "https://example.com/schema"})), "example.com"),
            (schema(json!({"$ref": "#/$defs/nowhere"})), "nowhere"),
            (schema(json!({"type": "integer", "minimum": 5, "maximum": 3})), "minimum"),
            (schema(json!({"type": "strin"})), "strin"),
            (schema(json!(false)), "false"),
            (schema(json!([])), "object or boolean"),
            (Grammar::Regex { pattern: "(".into() }, "regex"),
            (Grammar::Regex { pattern: r"[^\s\S]".into() }, "nothing"),
            (Grammar::ToolCalls { tools: vec![], required: true, parallel: true, instead: None }, "no tool"),
            (Grammar::JsonSchema { schema: json!({"description": "x".repeat(BYTES_MAX)}), strict: true }, "at most"),
        ];
        for (grammar, word) in cases {
            let message = refused(grammar);
            assert!(message.contains(word) && message.len() < 400, "{word}: {message}");
        }
        let named = Tool { name: "a\"b".into(), parameters: json!({}), strict: false };
        let calls = Grammar::ToolCalls { tools: vec![named], required: true, parallel: true, instead: None };
        assert!(refused(calls).contains("name"));
    }

    #[test]
    fn a_grammar_that_costs_too_much_is_refused() {
        let long = "(ab|cd)?".repeat(400);
        let refused = |grammar: Grammar| grammar.check().unwrap_err().to_string();
        assert!(refused(Grammar::Regex { pattern: long.clone() }).contains("at most"));
        assert!(refused(schema(json!({"type": "string", "pattern": long}))).contains("at most"));
        let deep = json!({"properties": {"a": {"items": {"patternProperties": {long: true}}}}});
        assert!(refused(schema(deep)).contains("at most"));
        let many: Vec<String> = (0..30_000).map(|number| format!("name {number}")).collect();
        assert!(refused(schema(json!({"enum": many}))).contains("at most"), "size");
    }

    #[test]
    fn an_unknown_keyword_is_passed_over_unless_strict() {
        let unique = json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true});
        let lenient = Grammar::JsonSchema { schema: unique, strict: false };
        assert!(whole(&lenient, "[1, 2]"));
    }
}
