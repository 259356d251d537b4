//! The prompt that texts begin with, computed once. In a causal model no token sees a later one, so what the layers
//! make of the prompt is the same for every text.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

use super::{Batch, Transformer};
use crate::architecture::{Architecture, Positions};
use crate::compute::{Backend, Spans};
use crate::error::Result;

/// What attention reads of a prompt.
pub(super) struct Prompt<B: Backend> {
    ids: Vec<u32>,
    /// Queries, keys and values of the prompt's tokens, (P, (H + 2 G) K), before norms and rotation; by layer.
    layers: Vec<Option<B::Activations>>,
}

/// A batch of texts without the prompt that all of them begin with.
pub(super) struct Prompted<B: Backend> {
    prompt: Arc<Prompt<B>>,
    /// Where the texts lie that attention sees: each with the prompt before it.
    pub(super) spans: Spans,
    /// Their rows in an array of the prompt's rows and, below, those of all texts.
    whole: Vec<u32>,
    /// The rows of the texts without the prompt among them.
    own: Vec<u32>,
}

impl<B: Backend> Prompted<B> {
    fn new(prompt: Arc<Prompt<B>>, texts: &Spans) -> Prompted<B> {
        let length = prompt.ids.len();
        let spans = Spans::from_lengths(texts.iter().map(|text| length + text.len()));
        let below = |row: usize| (length + row) as u32;
        let whole = texts.iter().flat_map(|text| (0..length as u32).chain(text.map(below))).collect();
        let own = spans.iter().flat_map(|span| span.start as u32 + length as u32..span.end as u32).collect();
        Prompted { prompt, spans, whole, own }
    }

    /// Queries, keys and values of whole texts, from those of the texts without the prompt.
    pub(super) fn whole(&self, backend: &B, layer: usize, qkv: &B::Activations) -> Result<B::Activations> {
        let of_prompt = self.prompt.layers[layer].as_ref().expect("each attention has read the prompt");
        backend.select_below(of_prompt, qkv, &self.whole)
    }

    /// The rows of the texts without the prompt, of those of whole texts.
    pub(super) fn own(&self, backend: &B, x: &B::Activations) -> Result<B::Activations> {
        backend.select(x, &self.own)
    }
}

/// Whether a prompt can be computed once. No token may see a later one, attention alone may know a token's place, and
/// angles may not depend on the length of the text.
pub fn can_keep_prompt(architecture: &Architecture) -> bool {
    architecture.attention.causal
        && !matches!(architecture.positions, Positions::Learned { .. })
        && architecture.angles_same_until().is_none()
}

impl<B: Backend> Transformer<B> {
    /// A batch of texts that lack the prompt before them.
    pub(super) fn prompted(&self, backend: &B, ids: &[u32], texts: &Spans) -> Result<Prompted<B>> {
        let lock = || self.prompt.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().as_ref().filter(|prompt| prompt.ids == ids).map(Arc::clone);
        let prompt = match kept {
            Some(prompt) => prompt,
            None => {
                // Not under the lock: while this thread waits for others it may take up a text that asks for it too.
                let prompt = Arc::new(self.read_prompt(backend, ids)?);
                *lock() = Some(Arc::clone(&prompt));
                prompt
            }
        };
        Ok(Prompted::new(prompt, texts))
    }

    fn read_prompt(&self, backend: &B, ids: &[u32]) -> Result<Prompt<B>> {
        let spans = Spans::from_lengths([ids.len()]);
        let reading = Reading { layers: RefCell::new(self.layers.iter().map(|_| None).collect()) };
        let batch = Batch { reading: Some(reading), ..self.batch(backend, &spans)? };
        let mut x = self.embed(backend, ids, &spans)?;
        for number in 0..self.layers.len() {
            x = self.forward_layer(backend, number, x, &batch, None)?;
        }
        let layers = batch.reading.map(|reading| reading.layers.into_inner()).unwrap_or_default();
        Ok(Prompt { ids: ids.to_vec(), layers })
    }
}

/// A prompt while it is computed.
pub(super) struct Reading<B: Backend> {
    layers: RefCell<Vec<Option<B::Activations>>>,
}

impl<B: Backend> Reading<B> {
    /// Keeps a copy of a layer's queries, keys and values.
    pub(super) fn keep(&self, backend: &B, layer: usize, qkv: &B::Activations, rows: usize) -> Result<()> {
        let all: Vec<u32> = (0..rows as u32).collect();
        self.layers.borrow_mut()[layer] = Some(backend.select(qkv, &all)?);
        Ok(())
    }
}
