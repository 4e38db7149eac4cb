//! A context that turns whole texts into vectors.

use std::num::NonZeroU32;
use std::sync::PoisonError;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_batch::LlamaBatch;

use super::{CONTEXT_STEP_TOKENS, ONE_AT_A_TIME, Shape, Weights, library, token};
use crate::error::Error;

/// The pooling of a model that ranks instead of embedding, as its file has it.
const RANK: &str = "4";

/// Reads texts together, each as a sequence of its own, and pools what it made of their tokens.
///
/// A text is read in one batch, since an encoder reads it from both sides.
pub struct EmbeddingContext<'weights> {
    context: LlamaContext<'weights>,
    batch: LlamaBatch<'static>,
}

impl<'weights> EmbeddingContext<'weights> {
    /// Takes the memory. Tokens are pooled as the model's file says, and by their mean where it says nothing.
    ///
    /// # Errors
    /// When the memory is not there, the library made a smaller context than was asked for, or the model ranks.
    pub fn try_new(weights: &'weights Weights, shape: Shape) -> Result<Self, Error> {
        let Shape { slots, context_tokens, batch_tokens, .. } = shape;
        let refused = |reason: String| Error::Context { slots, context_tokens, reason };
        let number = |value: usize| u32::try_from(value).map_err(|_| refused(format!("{value} is too large")));
        let architecture = weights.metadata("general.architecture").unwrap_or_default();
        let pooling = match weights.metadata(&format!("{architecture}.pooling_type")).as_deref() {
            None | Some("0") => LlamaPoolingType::Mean,
            Some(RANK) => return Err(refused("it ranks texts and makes no embeddings of them".into())),
            Some(_) => LlamaPoolingType::Unspecified,
        };
        // The library tries its graph with as many tokens of each text, and aborts where they cannot be.
        let batch_tokens = batch_tokens.next_multiple_of(slots);
        let threads = number(shape.threads)? as i32;
        let cells = slots * context_tokens.next_multiple_of(CONTEXT_STEP_TOKENS);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(number(cells)?))
            .with_n_seq_max(number(slots)?)
            .with_n_batch(number(batch_tokens)?)
            .with_n_ubatch(number(batch_tokens)?)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            // Streams of their own would cut a batch, and each part would be pooled by itself.
            .with_kv_unified(true)
            .with_embeddings(true)
            .with_pooling_type(pooling);
        let making = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let context = weights.model.new_context(library(), params).map_err(|error| refused(error.to_string()))?;
        drop(making);
        if (context.n_ubatch() as usize) < batch_tokens {
            return Err(refused(format!("the library made batches of {}", context.n_ubatch())));
        }
        Ok(Self { context, batch: LlamaBatch::new(batch_tokens, 1) })
    }

    /// One vector a text, as the model makes it: at most as many texts as there are slots, and as many tokens as a batch holds.
    ///
    /// # Errors
    /// When they do not fit, or the library does not compute them.
    pub fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, Error> {
        let failed = |reason: String| Error::Decode { reason };
        self.batch.clear();
        for (slot, text) in texts.iter().enumerate() {
            for (position, &id) in text.iter().enumerate() {
                let added = self.batch.add(token(id), position as i32, &[slot as i32], true);
                added.map_err(|error| failed(error.to_string()))?;
            }
        }
        self.context.clear_kv_cache();
        self.context.decode(&mut self.batch).map_err(|error| failed(error.to_string()))?;
        let vector = |slot| self.context.embeddings_seq_ith(slot as i32).map(<[f32]>::to_vec);
        (0..texts.len()).map(|slot| vector(slot).map_err(|error| failed(error.to_string()))).collect()
    }
}
