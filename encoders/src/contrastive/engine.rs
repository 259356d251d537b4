//! Texts in parts that threads compute side by side: forward to pooled vectors, and back to the gradients of
//! parameters.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use secateur_gpu::Gpu;

use super::parts::{even_parts, num_parts};
use super::pass::{Keep, MicroBatch, Pass};
use crate::compute::Spans;
use crate::compute::backward::Backward;
use crate::compute::cpu::{Cpu, Factors, Pool};
use crate::compute::cuda::Cuda;
use crate::compute::numbers::Numbers;
use crate::compute::tape::{Dropout, Gradients, Sizes, Tape};
use crate::error::Result;
use crate::model::Transformer;
use crate::pooling::Pooling;

/// How much memory a step may take for speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryUse {
    /// The most tokens that one thread, or a GPU, computes together.
    pub(crate) batch_tokens: usize,
    /// Compute vectors first and keep nothing; compute each part again for its gradient.
    pub(crate) gradient_cache: bool,
    /// Keep the input of each layer only.
    pub(crate) recompute: bool,
}

/// Tokens of queries and of passages. They are kept apart, for a mean may leave out another number of tokens of each.
pub(crate) type TokenLists<'a> = [&'a [Vec<u32>]; 2];

/// A model that computes vectors of texts and goes back from their gradients to those of its parameters.
///
/// The results depend neither on the number of threads nor on what is kept between forward and backward.
pub(crate) struct Engine<B: Backward> {
    pub(crate) model: Transformer<Tape<B>>,
    pooling: Pooling,
    /// How many tokens at the beginning of a query and of a passage the mean leaves out.
    skipped: [usize; 2],
    memory: MemoryUse,
    sizes: Sizes,
    /// What gradients are taken from.
    numbers: <B::Numbers as Numbers>::Memory,
    /// Whether parts are computed on several threads; a GPU has one order.
    on_threads: bool,
    /// A new backend: one that spreads its operations over all threads, or one for this thread.
    new: Box<dyn Fn(Spread) -> B + Send + Sync>,
    /// Backends for one thread that are free for use, with their working memory.
    free: Mutex<Vec<B>>,
    /// Gradients, zero, for their memory.
    spare: Mutex<Vec<Gradients<B::Numbers>>>,
}

/// How parts are spread over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Each part is computed on a thread of its own.
    Parts,
    /// One part after the other, each operation on all threads, or on a GPU: there are fewer parts than threads.
    Operations,
}

impl Spread {
    /// The results of all parts, in their order.
    fn run<T: Send, R: Send>(
        self,
        parts: impl IntoParallelIterator<Item = T, Iter: IndexedParallelIterator> + IntoIterator<Item = T>,
        compute: impl Fn(T) -> Result<R> + Sync + Send,
    ) -> Result<Vec<R>> {
        match self {
            Spread::Parts => parts.into_par_iter().map(compute).collect(),
            Spread::Operations => parts.into_iter().map(compute).collect(),
        }
    }
}

/// The vectors of texts, and the way back.
pub(crate) struct Forward<B: Backward> {
    /// (B, D), queries first, not scaled.
    pub(crate) vectors: Vec<f32>,
    parts: Vec<MicroBatch>,
    /// Of each part; none where it is computed again.
    passes: Vec<Option<Pass<B>>>,
}

impl Engine<Cpu> {
    /// Computes on the CPU; `factors` are what is multiplied.
    pub(crate) fn on_cpu(
        model: Transformer<Tape<Cpu>>,
        pooling: Pooling,
        skipped: [usize; 2],
        memory: MemoryUse,
        (sizes, factors): (Sizes, Factors),
    ) -> Engine<Cpu> {
        // What one part gives back another takes.
        let pool = Arc::<Pool>::default();
        let new = move |spread| {
            let backend = if spread == Spread::Operations { Cpu::parallel() } else { Cpu::serial() };
            backend.with_factors(factors).with_pool(Arc::clone(&pool))
        };
        let (free, spare) = Default::default();
        let new = Box::new(new);
        Engine { model, pooling, skipped, memory, sizes, numbers: (), on_threads: true, new, free, spare }
    }
}

impl Engine<Cuda> {
    /// Computes on a GPU.
    pub(crate) fn on_gpu(
        model: Transformer<Tape<Cuda>>,
        gpu: Gpu,
        pooling: Pooling,
        skipped: [usize; 2],
        memory: MemoryUse,
        sizes: Sizes,
    ) -> Engine<Cuda> {
        let (free, spare) = Default::default();
        let numbers = gpu.clone();
        let new = Box::new(move |_| Cuda::for_training(gpu.clone()));
        Engine { model, pooling, skipped, memory, sizes, numbers, on_threads: false, new, free, spare }
    }
}

impl<B: Backward> Engine<B> {
    /// What numbers that are trained are taken from.
    pub(crate) fn numbers(&self) -> &<B::Numbers as Numbers>::Memory {
        &self.numbers
    }

    /// Gradients of all parameters, zero.
    pub(crate) fn zero_gradients(&self) -> Gradients<B::Numbers> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Gradients::new(self.numbers.clone(), &self.sizes))
    }

    /// Gradients that nobody needs any more, for their memory.
    pub(crate) fn put_back(&self, mut gradients: Gradients<B::Numbers>) -> Result<()> {
        gradients.clear()?;
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(gradients);
        Ok(())
    }

    /// What the number of parts is a multiple of: two threads or four have equally many.
    fn multiple(&self) -> usize {
        if self.on_threads { 4 } else { 2 }
    }

    fn spread(&self, num_parts: usize) -> Spread {
        match self.on_threads && num_parts >= rayon::current_num_threads() {
            true => Spread::Parts,
            false => Spread::Operations,
        }
    }

    /// Vectors (B, D) in the order of the texts, not scaled. Nothing is kept.
    pub(crate) fn vectors(&self, texts: TokenLists<'_>) -> Result<Vec<f32>> {
        Ok(self.run(texts, |_| Dropout::default(), Keep::Nothing)?.vectors)
    }

    /// Vectors and the way back; `dropout` says what is dropped of each part.
    pub(crate) fn forward(
        &self,
        texts: TokenLists<'_>,
        dropout: impl Fn(usize) -> Dropout,
    ) -> Result<Forward<B>> {
        let keep = if self.memory.gradient_cache { Keep::Nothing } else { self.keep() };
        self.run(texts, dropout, keep)
    }

    /// Adds to `gradients` those of the parameters; `slopes` (B, D) is the gradient of the vectors.
    pub(crate) fn backward(
        &self,
        forward: Forward<B>,
        slopes: &[f32],
        gradients: &mut Gradients<B::Numbers>,
    ) -> Result<()> {
        let Forward { parts, passes, .. } = forward;
        let spread = self.spread(parts.len());
        let dim = self.model.architecture().hidden_size;
        let back = |(part, pass): (&MicroBatch, Option<Pass<B>>)| -> Result<Gradients<B::Numbers>> {
            let pass = match pass {
                Some(pass) => pass,
                None => part.forward(&self.model, self.pooling, self.take(spread), self.keep())?.1,
            };
            let of_part = part.texts.iter().flat_map(|text| &slopes[text * dim..(text + 1) * dim]);
            let slopes: Vec<f32> = of_part.copied().collect();
            let mut gradients = self.zero_gradients();
            let backend = part.backward(&self.model, self.pooling, pass, &slopes, &mut gradients)?;
            self.give_back(backend, spread);
            Ok(gradients)
        };
        // As many at a time as there are threads, so that no more gradients are in memory. They are added in order.
        let round = if spread == Spread::Parts { rayon::current_num_threads() } else { 1 };
        let mut left = parts.iter().zip(passes);
        loop {
            let some: Vec<(&MicroBatch, Option<Pass<B>>)> = left.by_ref().take(round).collect();
            if some.is_empty() {
                return Ok(());
            }
            for mut of_part in spread.run(some, &back)? {
                gradients.take_from(&mut of_part)?;
                self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(of_part);
            }
        }
    }

    fn run(
        &self,
        texts: TokenLists<'_>,
        dropout: impl Fn(usize) -> Dropout,
        keep: Keep,
    ) -> Result<Forward<B>> {
        let parts = self.parts(texts, dropout);
        let spread = self.spread(parts.len());
        let computed = spread.run(&parts, |part: &MicroBatch| {
            let (vectors, pass) = part.forward(&self.model, self.pooling, self.take(spread), keep)?;
            if keep != Keep::Nothing {
                return Ok((vectors, Some(pass)));
            }
            self.give_back(pass.into_backend(), spread);
            Ok((vectors, None))
        })?;
        let dim = self.model.architecture().hidden_size;
        let mut vectors = vec![0.0; texts.iter().map(|kind| kind.len()).sum::<usize>() * dim];
        for (part, (computed, _)) in parts.iter().zip(&computed) {
            for (text, vector) in part.texts.iter().zip(computed.chunks_exact(dim)) {
                vectors[text * dim..(text + 1) * dim].copy_from_slice(vector);
            }
        }
        Ok(Forward { vectors, parts, passes: computed.into_iter().map(|(_, pass)| pass).collect() })
    }

    /// What is kept for the backward.
    fn keep(&self) -> Keep {
        if self.memory.recompute { Keep::Layers } else { Keep::Operations }
    }

    /// Texts in parts that one thread computes.
    fn parts(&self, texts: TokenLists<'_>, dropout: impl Fn(usize) -> Dropout) -> Vec<MicroBatch> {
        let num_tokens = texts.map(|kind| kind.iter().map(Vec::len).sum::<usize>());
        let num_parts = num_parts(self.memory.batch_tokens, self.multiple(), num_tokens);
        let mut parts = Vec::new();
        let mut first = 0;
        for ((tokens, num_parts), skipped) in texts.into_iter().zip(num_parts).zip(self.skipped) {
            for part in even_parts(tokens, num_parts) {
                parts.push(MicroBatch {
                    ids: part.iter().flat_map(|text| &tokens[*text]).copied().collect(),
                    spans: Spans::from_lengths(part.iter().map(|text| tokens[*text].len())),
                    texts: part.into_iter().map(|text| first + text).collect(),
                    skipped,
                    dropout: dropout(parts.len()),
                });
            }
            first += tokens.len();
        }
        parts
    }

    fn take(&self, spread: Spread) -> B {
        let new = || (self.new)(spread);
        match spread {
            Spread::Operations => new(),
            Spread::Parts => {
                self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(new)
            }
        }
    }

    fn give_back(&self, backend: B, spread: Spread) {
        if spread == Spread::Parts {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(backend);
        }
    }
}
