//! What computes logits.

pub mod llama;
