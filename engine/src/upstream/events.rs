//! Server-sent events out of the bytes of a response, however they were cut.

/// The longest event. *Units*: bytes.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The events of one response.
#[derive(Debug, Default)]
pub struct Events {
    held: Vec<u8>,
    /// Where to look for the next end of a line.
    looked: usize,
    data: Vec<u8>,
}

/// An event was too long, or no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its stream has an event that is too long or no text")]
pub struct Unreadable;

impl Events {
    /// Takes bytes and gives the data of the events that they complete, in order.
    ///
    /// # Errors
    /// When an event is longer than 4 MiB or is not UTF-8.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Unreadable> {
        self.held.extend_from_slice(bytes);
        let mut complete = Vec::new();
        while let Some(end) = self.held[self.looked..].iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.held.drain(..=self.looked + end).collect();
            self.looked = 0;
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            complete.extend(self.line(line.strip_suffix(b"\r").unwrap_or(line))?);
        }
        self.looked = self.held.len();
        if self.held.len() + self.data.len() > EVENT_BYTES_MAX { Err(Unreadable) } else { Ok(complete) }
    }

    /// A blank line ends an event; comments and other fields than its data tell nothing here.
    fn line(&mut self, line: &[u8]) -> Result<Option<String>, Unreadable> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let text = String::from_utf8(data).map_err(|_| Unreadable)?;
            return Ok(Some(text).filter(|text| !text.is_empty()));
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        ": ping\r\n\r\ndata: {\"a\":1}\n\nevent: x\ndata:two\ndata: lines\n\ndata: 你\n\ndata: [DONE]\n\n";

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let refused = (0..6).any(|_| events.push(&chunk).is_err());
        assert!(refused);
        assert_eq!(Events::default().push(b"data: \xff\n\n"), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn the_cut_changes_nothing(cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut events = Events::default();
            let parts = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]);
            let all: Vec<String> = parts.flat_map(|part| events.push(part).unwrap()).collect();
            prop_assert_eq!(all, ["{\"a\":1}", "two\nlines", "你", "[DONE]"]);
        }
    }
}
