//! Finds tool calls in a model's output as it streams: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.

use serde_json::Value;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A piece of output, told apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Plain text.
    Text(String),
    /// A whole call.
    Call {
        /// The function.
        name: String,
        /// Its arguments, as JSON text.
        arguments: String,
    },
}

/// Splits output into text and calls; holds back only what may yet become a call.
#[derive(Debug, Default)]
pub struct ToolCallSplitter {
    held: String,
}

impl ToolCallSplitter {
    /// Takes more output and gives what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = vec![];
        loop {
            let Some(open) = self.held.find(OPEN) else {
                let certain = self.held.len() - tag_prefix_at_end(&self.held);
                push_text(&mut pieces, self.held.drain(..certain).collect());
                return pieces;
            };
            push_text(&mut pieces, self.held.drain(..open).collect());
            let Some(close) = self.held.find(CLOSE) else { return pieces };
            let block: String = self.held.drain(..close + CLOSE.len()).collect();
            match read_call(&block[OPEN.len()..close]) {
                Some(call) => pieces.push(call),
                None => push_text(&mut pieces, block),
            }
        }
    }

    /// Gives what was held back: an unfinished call is text.
    pub fn finish(self) -> Vec<Piece> {
        let mut pieces = vec![];
        push_text(&mut pieces, self.held);
        pieces
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn read_call(json: &str) -> Option<Piece> {
    let call: Value = serde_json::from_str(json).ok()?;
    let arguments = call.get("arguments").filter(|arguments| arguments.is_object())?;
    Some(Piece::Call { name: call["name"].as_str()?.to_owned(), arguments: arguments.to_string() })
}

/// The length of the longest end of `text` that is a beginning of the opening tag.
fn tag_prefix_at_end(text: &str) -> usize {
    (1..OPEN.len()).rev().find(|length| text.ends_with(&OPEN[..*length])).unwrap_or(0)
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
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    #[test]
    fn a_call_is_found_however_the_output_is_cut() {
        let output =
            "Let me look. <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Xi'an\"}}</tool_call> <b>";
        let call = Piece::Call { name: "weather".into(), arguments: "{\"city\":\"Xi'an\"}".into() };
        for size in 1..20 {
            assert_eq!(
                split(output, size),
                [Piece::Text("Let me look. ".into()), call.clone(), Piece::Text(" <b>".into())]
            );
        }
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
    fn text_is_not_held_back_without_need() {
        let mut splitter = ToolCallSplitter::default();
        assert_eq!(splitter.push("12"), [Piece::Text("12".into())]);
        assert_eq!(splitter.push("<to"), []);
        assert_eq!(splitter.push("ast>"), [Piece::Text("<toast>".into())]);
    }
}
