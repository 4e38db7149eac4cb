//! From token bytes to text that may be shown: whole characters only, and never a piece of a stop text.

/// Turns the bytes of tokens into text while they come.
///
/// Everything that [`push`](Self::push) and [`finish`](Self::finish) return, joined, is `String::from_utf8_lossy` of all
/// bytes pushed, cut before the stop text that is complete first (of several complete at once, the longest). How the bytes
/// were split over the calls changes nothing.
#[derive(Debug)]
pub struct TextStream {
    stops: Vec<String>,
    /// The first bytes of a character whose rest has not come.
    partial: Vec<u8>,
    /// Text that may be the beginning of a stop text.
    held: String,
    stopped: bool,
}

impl TextStream {
    /// A stream that ends before any of these texts; an empty one never ends it.
    pub fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self { stops, partial: Vec::new(), held: String::new(), stopped: false }
    }

    /// Takes a token's bytes and gives the text that can no longer change.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.stopped {
            return String::new();
        }
        self.partial.extend_from_slice(bytes);
        let fresh = take_characters(&mut self.partial);
        self.release(&fresh)
    }

    /// Whether a stop text came; nothing is given after that.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Gives what was held back, since no more bytes come; half a character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let mut text = std::mem::take(&mut self.held);
        if !std::mem::take(&mut self.partial).is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text
    }

    fn release(&mut self, fresh: &str) -> String {
        let scanned = self.held.len();
        self.held.push_str(fresh);
        for (offset, character) in fresh.char_indices() {
            let seen = &self.held[..scanned + offset + character.len_utf8()];
            let complete = self.stops.iter().filter(|stop| seen.ends_with(stop.as_str())).map(String::len).max();
            if let Some(stop_bytes) = complete {
                let end = seen.len() - stop_bytes;
                self.held.truncate(end);
                self.stopped = true;
                self.partial.clear();
                return std::mem::take(&mut self.held);
            }
        }
        let held_from = self.held.len() - self.stops.iter().map(|stop| beginning(stop, &self.held)).max().unwrap_or(0);
        let held = self.held.split_off(held_from);
        std::mem::replace(&mut self.held, held)
    }
}

/// How many bytes at the end of the text are a beginning of the stop text, but not the whole of it.
fn beginning(stop: &str, text: &str) -> usize {
    let beginnings = stop.char_indices().map(|(end, _)| end).rev();
    beginnings.into_iter().find(|&end| text.ends_with(&stop[..end])).unwrap_or(0)
}

/// Takes all characters that are whole or can never become so (as U+FFFD), and leaves the beginning of one.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let rest = chunk.invalid();
        let may_become_whole = taken + rest.len() == bytes.len()
            && std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
        if rest.is_empty() || may_become_whole {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        taken += rest.len();
    }
    bytes.drain(..taken);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(stops: &[&str], pieces: &[&[u8]], expected: &[&str]) {
        let mut stream = TextStream::new(stops.iter().map(ToString::to_string).collect());
        let mut given: Vec<String> = pieces.iter().map(|piece| stream.push(piece)).collect();
        given.push(stream.finish());
        assert_eq!(given, expected);
    }

    #[test]
    fn a_character_is_given_when_its_last_byte_comes() {
        check(&[], &[b"a\xe4", b"\xbd", b"\xa0b"], &["a", "", "你b", ""]);
    }

    #[test]
    fn bytes_that_are_no_character_become_one_mark_and_hold_nothing_back() {
        check(&[], &[b"a\xff", b"b\xe4\xbd", b"c"], &["a\u{fffd}", "b", "\u{fffd}c", ""]);
    }

    #[test]
    fn half_a_character_at_the_end_becomes_one_mark() {
        check(&[], &[b"a\xf0\x9f\x98"], &["a", "\u{fffd}"]);
    }

    #[test]
    fn the_beginning_of_a_stop_text_waits_for_the_rest() {
        check(&["\n\nUser:"], &[b"hi\n", b"\nUs", b"er: no"], &["hi", "", "", ""]);
        check(&["\n\nUser:"], &[b"hi\n", b"\nUs", b"a"], &["hi", "", "\n\nUsa", ""]);
    }

    #[test]
    fn a_held_beginning_is_given_at_the_end() {
        check(&["stop"], &[b"don't st"], &["don't ", "st"]);
    }

    #[test]
    fn the_stop_text_complete_first_wins_and_of_two_the_longest() {
        check(&["abc", "b"], &[b"xabc"], &["xa", ""]);
        check(&["b", "ab"], &[b"xab"], &["x", ""]);
    }

    #[test]
    fn a_stop_text_inside_its_own_beginning_is_found() {
        check(&["aab"], &[b"aa", b"ab!"], &["", "a", ""]);
    }

    /// The promise, computed from the whole text at once.
    fn expected(bytes: &[u8], stops: &[String]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let end = text.char_indices().map(|(at, character)| at + character.len_utf8()).find_map(|end| {
            stops.iter().filter(|stop| text[..end].ends_with(stop.as_str())).map(|stop| end - stop.len()).min()
        });
        text[..end.unwrap_or(text.len())].to_string()
    }

    proptest! {
        #[test]
        fn the_split_into_tokens_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'a'), Just(b'b'), Just(b'\n'), Just(0xe4), Just(0xbd), Just(0xa0), Just(0xf0), Just(0x9f), any::<u8>(),
            ], 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..10),
            stops in proptest::collection::vec("[ab\n你]{1,4}", 0..4),
        ) {
            let mut stream = TextStream::new(stops.clone());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut text, mut from) = (String::new(), 0);
            for cut in cuts {
                text += &stream.push(&bytes[from..cut]);
                from = cut;
                // What was given is never taken back.
                prop_assert!(expected(&bytes, &stops).starts_with(&text));
            }
            text += &stream.finish();
            prop_assert_eq!(text, expected(&bytes, &stops));
        }
    }
}
