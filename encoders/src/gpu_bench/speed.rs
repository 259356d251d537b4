//! How long batches take.

use std::time::{Duration, Instant};

use secateur_gpu::Gpu;
use serde::Serialize;

use super::random_weights::RandomWeights;
use crate::architecture::Architecture;
use crate::compute::Backend;
use crate::compute::cuda::Cuda;
use crate::error::Result;
use crate::model::Transformer;
use crate::pooling::Pooling;
use crate::spans::Spans;

/// What one batch took.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// query1, text1, query32, doc130, ragged or doc512.
    pub shape: &'static str,
    /// B
    pub texts: usize,
    /// T
    pub tokens: usize,
    /// The device's time, the median.
    pub device_ms: f64,
    /// From ids to vectors in the program's memory, of text1 from the text: the median.
    pub end_to_end_ms: f64,
    /// Products of the forward by the device's time.
    pub tflops: f64,
    /// Kernels and products of a batch.
    pub launches: u64,
    /// Batches that were timed.
    pub runs: usize,
}

/// Makes the ids of a query from its text. That takes part of the time of `text1`.
pub type Tokenize<'a> = &'a dyn Fn() -> Result<Vec<u32>>;

/// The batches of ids: one query, 32 of them, and documents. `ragged` has 128 lengths around 130: the middles of equal
/// parts of a normal distribution (130, 45), cut to 20..256. They are sorted, as an encoder's batches are.
fn batches() -> [(&'static str, Vec<usize>); 5] {
    [
        ("query1", vec![10]),
        ("query32", vec![10; 32]),
        ("doc130", vec![130; 128]),
        ("ragged", ragged()),
        ("doc512", vec![512; 32]),
    ]
}

fn ragged() -> Vec<usize> {
    let mut lengths: Vec<usize> = (0..128)
        .map(|part| {
            (130.0 + 45.0 * normal_quantile((f64::from(part) + 0.5) / 128.0)).round().clamp(20.0, 256.0)
                as usize
        })
        .collect();
    lengths.reverse();
    lengths
}

/// The inverse of the normal distribution function, by bisection.
fn normal_quantile(share: f64) -> f64 {
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    // Simpson's rule from 0 on.
    let distribution = |x: f64| {
        let step = x / 200.0;
        let inner: f64 =
            (1..200).map(|i| density(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        0.5 + step / 3.0 * (density(0.0) + inner + density(x))
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if distribution(middle) < share { low = middle } else { high = middle }
    }
    low
}

/// The middle one of some times.
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Times every batch on a model of this shape, and a query from its text on. Each is timed for about `each`, after
/// three that are not counted. `report` is told of each as soon as it is known.
///
/// # Errors
///
/// The device fails, or has no memory for the weights. A batch that fails is reported with its error; the next goes on.
pub fn measure(
    gpu: &Gpu,
    architecture: Architecture,
    query: Tokenize<'_>,
    each: Duration,
    report: &mut dyn FnMut(&'static str, Result<Speed>),
) -> Result<()> {
    let backend = Cuda::new(gpu.clone());
    let weights = RandomWeights::new(&architecture, 0.03);
    let pooling = if architecture.attention.causal { Pooling::LastToken } else { Pooling::Mean };
    let model = Transformer::load(&backend, architecture, &weights)?;
    drop(weights);
    let timing = Timing { backend: &backend, model: &model, pooling, each };
    report("text1", timing.of_text(query));
    for (shape, lengths) in batches() {
        report(shape, timing.of_batch(shape, &lengths));
    }
    Ok(())
}

/// A model, and how it is timed.
struct Timing<'a> {
    backend: &'a Cuda,
    model: &'a Transformer<Cuda>,
    pooling: Pooling,
    each: Duration,
}

impl Timing<'_> {
    fn of_text(&self, query: Tokenize<'_>) -> Result<Speed> {
        self.of("text1", &[query()?.len()], query)
    }

    fn of_batch(&self, shape: &'static str, lengths: &[usize]) -> Result<Speed> {
        let vocab_size = self.model.architecture().vocab_size;
        let tokens: usize = lengths.iter().sum();
        let ids: Vec<u32> = (0..tokens).map(|place| (3 + place * 7919 % (vocab_size - 3)) as u32).collect();
        self.of(shape, lengths, &|| Ok(ids.clone()))
    }

    fn of(&self, shape: &'static str, lengths: &[usize], ids: Tokenize<'_>) -> Result<Speed> {
        let Timing { backend, model, pooling, each } = *self;
        let spans = Spans::from_lengths(lengths.iter().copied());
        let architecture = model.architecture();
        let gpu = backend.gpu();
        let run = |ids: &[u32]| {
            let pooled = model.pooled(backend, ids, &spans, pooling, 0)?;
            backend.to_vectors(&pooled, architecture.hidden_size, true)
        };
        for _ in 0..3 {
            run(&ids()?)?;
        }
        let (mut device, mut end_to_end) = (Vec::new(), Vec::new());
        let before = gpu.launches();
        let begin = Instant::now();
        while device.len() < 3 || (begin.elapsed() < each && device.len() < 500) {
            let start = Instant::now();
            let ids = ids()?;
            let mut failure = None;
            let milliseconds = gpu.time(|| {
                failure = run(&ids).err();
                Ok(())
            })?;
            if let Some(error) = failure {
                return Err(error);
            }
            end_to_end.push(start.elapsed().as_secs_f64() * 1e3);
            device.push(milliseconds);
        }
        let runs = device.len();
        let device_ms = median(device);
        let flop: f64 =
            lengths.iter().map(|length| *length as f64 * architecture.flop_per_token(*length).total()).sum();
        Ok(Speed {
            shape,
            texts: lengths.len(),
            tokens: spans.num_tokens(),
            device_ms,
            end_to_end_ms: median(end_to_end),
            tflops: flop / device_ms / 1e9,
            launches: (gpu.launches() - before) / runs as u64,
            runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_lengths_are_those_of_a_normal_distribution() {
        let lengths = ragged();
        assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-5);
        // Each length is rounded.
        assert!(lengths.iter().sum::<usize>().abs_diff(128 * 130) <= 64);
        assert!(lengths.is_sorted_by(|a, b| a >= b) && lengths[0] <= 256);
    }

    /// The device's time is measured around real work: a model of a small shape on the emulator.
    #[test]
    fn a_batch_is_timed() {
        let backend = Cuda::new(Gpu::emulated());
        let config = serde_json::json!({"model_type": "bert", "vocab_size": 50, "hidden_size": 16,
            "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_act": "gelu",
            "max_position_embeddings": 64, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0});
        let architecture = super::super::read("small", &config).unwrap();
        let weights = RandomWeights::new(&architecture, 0.1);
        let model = Transformer::load(&backend, architecture, &weights).unwrap();
        let each = Duration::from_millis(1);
        let timing = Timing { backend: &backend, model: &model, pooling: Pooling::Mean, each };
        let speed = timing.of_text(&|| Ok(vec![7; 4])).unwrap();
        assert_eq!((speed.shape, speed.texts, speed.tokens), ("text1", 1, 4));
        let speed = timing.of_batch("query1", &[5, 3]).unwrap();
        assert_eq!((speed.texts, speed.tokens), (2, 8));
        assert!(speed.runs >= 3 && speed.device_ms > 0.0 && speed.tflops > 0.0 && speed.launches > 5);
    }
}
