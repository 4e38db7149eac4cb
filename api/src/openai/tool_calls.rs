//! Finds tool calls in a model's output as it streams: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.

use primitives::grammar::{CALL_CLOSE, CALL_OPEN};
use serde_json::Value;

/// A piece of output, told apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Plain text.
    Text(String),
    /// A call begins.
    Call {
        /// The function.
        name: String,
    },
    /// More of the arguments of the call that began last, as JSON text.
    Arguments(String),
}

/// Splits output into text and calls; holds back only what may yet become a call.
#[derive(Debug, Default)]
pub struct ToolCallSplitter {
    held: String,
    place: Place,
}

/// Where in the output it stands.
#[derive(Debug, Default)]
enum Place {
    /// In text.
    #[default]
    Text,
    /// Behind a call, where white space means nothing.
    Between,
    /// In a call's arguments.
    Arguments(Nesting),
    /// Behind a call's arguments.
    Tail,
}

impl ToolCallSplitter {
    /// Takes more output and gives what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = vec![];
        while self.step(&mut pieces) {}
        pieces
    }

    /// Gives what was held back: a call that had not begun is text, one that was cut stays cut.
    pub fn finish(self) -> Vec<Piece> {
        let mut pieces = vec![];
        match self.place {
            Place::Text => push_text(&mut pieces, self.held),
            Place::Between => push_text(&mut pieces, self.held.trim_start().to_owned()),
            Place::Arguments(_) | Place::Tail => {}
        }
        pieces
    }

    /// Goes on by one piece; false when more output is needed.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match &mut self.place {
            Place::Text => self.text(pieces),
            Place::Between => {
                self.held.drain(..self.held.len() - self.held.trim_start().len());
                if !self.held.is_empty() {
                    self.place = Place::Text;
                }
                !self.held.is_empty()
            }
            Place::Arguments(nesting) => {
                let end = nesting.end(&self.held);
                let arguments: String = self.held.drain(..end.unwrap_or(self.held.len())).collect();
                if !arguments.is_empty() {
                    pieces.push(Piece::Arguments(arguments));
                }
                if end.is_some() {
                    self.place = Place::Tail;
                }
                end.is_some()
            }
            Place::Tail => {
                let close = self.held.find(CALL_CLOSE);
                if let Some(close) = close {
                    self.held.drain(..close + CALL_CLOSE.len());
                    self.place = Place::Between;
                }
                close.is_some()
            }
        }
    }

    fn text(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let Some(open) = self.held.find(CALL_OPEN) else {
            let certain = self.held.len() - tag_prefix_at_end(&self.held);
            push_text(pieces, self.held.drain(..certain).collect());
            return false;
        };
        push_text(pieces, self.held.drain(..open).collect());
        if let Some((name, length)) = head(&self.held[CALL_OPEN.len()..]) {
            pieces.push(Piece::Call { name });
            self.held.drain(..CALL_OPEN.len() + length);
            self.place = Place::Arguments(Nesting::default());
            return true;
        }
        // Of another form than the usual: read once it is whole.
        let Some(close) = self.held.find(CALL_CLOSE) else { return false };
        let block: String = self.held.drain(..close + CALL_CLOSE.len()).collect();
        match read_call(&block[CALL_OPEN.len()..close]) {
            Some((name, arguments)) => {
                pieces.extend([Piece::Call { name }, Piece::Arguments(arguments)]);
                self.place = Place::Between;
            }
            None => push_text(pieces, block),
        }
        true
    }
}

/// Where in a JSON object a stream stands.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Reads on; the index behind the object's end, once it is there.
    fn end(&mut self, text: &str) -> Option<usize> {
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// The name of a call that begins as calls are written, and where its arguments begin; none while that is not certain.
fn head(call: &str) -> Option<(String, usize)> {
    let mut rest = call;
    for expected in ["{", "\"name\"", ":", "\""] {
        rest = rest.trim_start().strip_prefix(expected)?;
    }
    let (name, mut rest) = rest.split_once('"')?;
    for expected in [",", "\"arguments\"", ":"] {
        rest = rest.trim_start().strip_prefix(expected)?;
    }
    let rest = rest.trim_start();
    let plain = !name.is_empty() && !name.contains('\\');
    (plain && rest.starts_with('{')).then(|| (name.to_owned(), call.len() - rest.len()))
}

fn push_text(pieces: &mut Vec<Piece>, text: String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn read_call(json: &str) -> Option<(String, String)> {
    let call: Value = serde_json::from_str(json).ok()?;
    let arguments = call.get("arguments").filter(|arguments| arguments.is_object())?;
    Some((call["name"].as_str()?.to_owned(), arguments.to_string()))
}

/// The length of the longest end of `text` that is a beginning of the opening tag.
fn tag_prefix_at_end(text: &str) -> usize {
    (1..CALL_OPEN.len()).rev().find(|length| text.ends_with(&CALL_OPEN[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(output: &str, size: usize) -> Vec<Piece> {
        let mut splitter = ToolCallSplitter::default();
        let characters: Vec<char> = output.chars().collect();
        let mut pieces: Vec<Piece> =
            characters.chunks(size).flat_map(|part| splitter.push(&String::from_iter(part))).collect();
        pieces.extend(splitter.finish());
        let mut joined: Vec<Piece> = vec![];
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
                (Some(Piece::Arguments(text)), Piece::Arguments(more)) => text.push_str(&more),
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    fn call(name: &str, arguments: &str) -> [Piece; 2] {
        [Piece::Call { name: name.into() }, Piece::Arguments(arguments.into())]
    }

    #[test]
    fn calls_are_found_however_the_output_is_cut() {
        let output = "Let me look. <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Xi'an }\\\"\", \"n\": [{}]}}</tool_call>\n\
                      <tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call> \n";
        let expected: Vec<Piece> = [Piece::Text("Let me look. ".into())]
            .into_iter()
            .chain(call("weather", r#"{"city": "Xi'an }\"", "n": [{}]}"#))
            .chain(call("now", "{}"))
            .collect();
        for size in 1..30 {
            assert_eq!(split(output, size), expected, "{size}");
        }
    }

    #[test]
    fn a_call_of_another_order_is_read_when_it_is_whole() {
        let output = r#"<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>"#;
        assert_eq!(split(output, 4), call("f", r#"{"a":1}"#));
    }

    #[test]
    fn what_is_not_a_call_stays_text() {
        for output in
            ["a < b", "<tool", "<tool_call>{\"name\": 1}</tool_call>", "<tool_call>{\"name\": \"f\"", "<<tool_callx"]
        {
            assert_eq!(split(output, 3), [Piece::Text(output.into())]);
        }
    }

    #[test]
    fn a_call_that_is_cut_stays_cut() {
        assert_eq!(split(r#"<tool_call>{"name": "f", "arguments": {"a": "x"#, 5), call("f", r#"{"a": "x"#));
        assert_eq!(split(r#"<tool_call>{"name": "f", "arguments": {}}</tool_c"#, 5), call("f", "{}"));
    }

    #[test]
    fn neither_text_nor_arguments_are_held_back_without_need() {
        let mut splitter = ToolCallSplitter::default();
        assert_eq!(splitter.push("12"), [Piece::Text("12".into())]);
        assert_eq!(splitter.push("<to"), []);
        assert_eq!(splitter.push("ast>"), [Piece::Text("<toast>".into())]);
        assert_eq!(splitter.push("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": "), call("f", "{\"a\": "));
        assert_eq!(splitter.push("1"), [Piece::Arguments("1".into())]);
    }
}
