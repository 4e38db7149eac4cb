//! Logits after many tokens of a sequence at once, for comparing two models on the same text.

use super::{Context, token};
use crate::error::Error;

impl Context<'_> {
    /// Adds a whole sequence from its first token; logits follow each of its tokens from the index `from` on, in order.
    ///
    /// # Errors
    /// When the batch is full.
    pub fn add_scored(&mut self, slot: usize, ids: &[u32], from: usize) -> Result<(), Error> {
        for (index, &id) in ids.iter().enumerate() {
            let wanted = index >= from;
            if wanted {
                self.drawn.push(self.batch.n_tokens());
            }
            self.batch
                .add(token(id), index as i32, &[slot as i32], wanted)
                .map_err(|error| Error::Decode { reason: error.to_string() })?;
        }
        Ok(())
    }
}
