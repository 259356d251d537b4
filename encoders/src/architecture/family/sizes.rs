//! The keys of config.json that all families spell alike.

use std::path::Path;

use serde::Deserialize;

use super::invalid;
use crate::architecture::AttentionShape;
use crate::error::Result;

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Sizes {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
}

impl Sizes {
    /// `head_dim`, where it is hidden_size / num_attention_heads.
    pub(super) fn head_dim(&self, path: &Path) -> Result<usize> {
        let Sizes { hidden_size, num_attention_heads: num_heads, .. } = *self;
        if num_heads == 0 || hidden_size == 0 || !hidden_size.is_multiple_of(num_heads) {
            let expected = format!("a divisor of hidden_size, {hidden_size}");
            return Err(invalid(path, "num_attention_heads", num_heads, expected));
        }
        Ok(hidden_size / num_heads)
    }

    /// An attention whose heads have keys and values of their own, scaled by 1 / sqrt(K).
    pub(super) fn multi_head(&self, path: &Path, causal: bool) -> Result<AttentionShape> {
        let head_dim = self.head_dim(path)?;
        Ok(AttentionShape {
            num_heads: self.num_attention_heads,
            num_key_value_heads: self.num_attention_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            causal,
        })
    }
}
