//! How much memory a model will take, told from its file's header before anything is loaded.

use std::fs;
use std::path::Path;

use crate::backend::llama::{CONTEXT_STEP_TOKENS, Shape};
use crate::error::Error;
use crate::gguf::Header;

/// Intermediate results are in 32 bits. *Units*: bytes.
const COMPUTED_BYTES: u64 = 4;

/// What a model will take at most, about. *Units*: bytes.
///
/// Layers that keep less than all keys and values (windows, recurrences) are counted as if they kept all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The weights, as they are stored.
    pub weights: u64,
    /// The keys and values of all slots.
    pub caches: u64,
    /// What a batch is computed in.
    pub computing: u64,
    /// The bound of saved states.
    pub states: u64,
}

impl Need {
    /// Of a model in an engine of this shape.
    pub fn of(header: &Header, shape: Shape) -> Self {
        let number = |name: &str| header.number(name).and_then(|number| u64::try_from(number).ok());
        let width = number("embedding_length").unwrap_or(0);
        let heads = number("attention.head_count").unwrap_or(1).max(1);
        let groups = number("attention.head_count_kv").unwrap_or(heads);
        let keys = number("attention.key_length").unwrap_or(width / heads);
        let values = number("attention.value_length").unwrap_or(width / heads);
        let cells =
            (shape.slots as u64).saturating_mul(shape.context_tokens.next_multiple_of(CONTEXT_STEP_TOKENS) as u64);
        let keeps = number("attention.causal") != Some(0);
        let token = shape.kv.bytes(number("block_count").unwrap_or(0) * groups * (keys + values));
        let wide = number("feed_forward_length").unwrap_or(0);
        let used = number("expert_used_count").unwrap_or(0);
        let wide = wide.max(used * number("expert_feed_forward_length").unwrap_or(0));
        let vocabulary = header.vocabulary_len();
        // One row of logits for each token, and at a layer's widest the input, the residual, two halves of the feed-forward.
        let row = vocabulary + 4 * width + 3 * wide + heads * (keys + 2 * values);
        Self {
            weights: header.tensors().iter().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes)),
            caches: if keeps { cells.saturating_mul(token) } else { 0 },
            computing: (shape.batch_tokens as u64).saturating_mul(row * COMPUTED_BYTES),
            states: shape.saved_bytes_max as u64,
        }
    }

    /// All of it.
    pub fn total(self) -> u64 {
        [self.weights, self.caches, self.computing, self.states].into_iter().fold(0, u64::saturating_add)
    }
}

/// Memory for the models of a node, of which each takes its part.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// So many bytes for all models together.
    pub fn of(bytes: u64) -> Self {
        Self { left: bytes }
    }

    /// Takes what a model needs; tells what it is.
    ///
    /// # Errors
    /// When the file has no header that makes sense, or there is less left than it needs.
    pub fn take(&mut self, path: &Path, shape: impl FnOnce(&Header) -> Shape) -> Result<Need, Error> {
        let header = Header::read(path)?;
        let need = Need::of(&header, shape(&header));
        let Some(left) = self.left.checked_sub(need.total()) else {
            let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
            return Err(Error::Memory {
                path: path.into(),
                needed_mib: mib(need.total()),
                weights_mib: mib(need.weights),
                caches_mib: mib(need.caches),
                computing_mib: mib(need.computing),
                states_mib: mib(need.states),
                available_mib: self.left / (1024 * 1024),
            });
        };
        self.left = left;
        Ok(need)
    }

    /// What is left for other models. *Units*: bytes.
    pub fn left(self) -> u64 {
        self.left
    }
}

/// What the machine could give now without swapping. *Units*: bytes.
pub fn available() -> Option<u64> {
    parse(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read() {
        assert_eq!(parse("MemTotal: 9 kB\nMemAvailable:       2 kB\n"), Some(2_048));
        assert_eq!(parse("MemTotal: 9 kB\n"), None);
    }
}
