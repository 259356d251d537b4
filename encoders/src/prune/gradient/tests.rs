//! The tape against its slow twin: candle's differentiation of the same loss.

use candle_core::{Device as CandleDevice, Tensor, Var};

use super::*;
use crate::compute::candle::Candle;
use crate::compute::{Backend, Spans};
use crate::support::{Fixture, MODELS, id_texts, id_tokenizer, sequences};

/// dL/da of every factor by candle, for each layer those of attention and MLP.
fn by_candle(directory: &Path, titles: &[Vec<u32>], texts: &[Vec<u32>]) -> Vec<[Option<f64>; 2]> {
    let loaded = Loaded::open(directory, &LoadOptions::default(), Purpose::Encode).unwrap();
    let tokenizer = loaded.tokenizer().unwrap();
    let Loaded { settings, tensors, architecture, .. } = loaded;
    let backend = Candle::new(CandleDevice::Cpu);
    let mut model = Transformer::load(&backend, architecture, &*tensors).unwrap();
    let scales = model.scale_sub_layers().unwrap();
    let skipped = settings.skipped_tokens([&tokenizer, &tokenizer]).unwrap();
    let vectors = |sequences: &[Vec<u32>], skipped: usize| -> Tensor {
        let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
        let hidden = model.forward(&backend, &sequences.concat(), &spans).unwrap();
        let pooled = backend.pool(&hidden, &spans, settings.pooling.single().unwrap(), skipped).unwrap();
        let lengths = pooled.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
        pooled.broadcast_div(&lengths).unwrap()
    };
    let loss = || -> candle_core::Result<Tensor> {
        let (queries, passages) = (vectors(titles, skipped[0]), vectors(texts, skipped[1]));
        let scores = (queries.matmul(&passages.t()?)? / TEMPERATURE)?;
        let shifted = scores.broadcast_sub(&scores.max_keepdim(1)?.detach())?;
        let log_sums = shifted.exp()?.sum(1)?.log()?;
        let own = (&shifted * Tensor::eye(titles.len(), shifted.dtype(), shifted.device())?)?.sum(1)?;
        (log_sums - own)?.mean_all()
    };
    let gradients = loss().unwrap().backward().unwrap();
    let of_scale = |scale: &Option<Var>| {
        let gradient = gradients.get(scale.as_ref()?).unwrap();
        Some(f64::from(gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]))
    };
    scales.iter().map(|layer| [0, 1].map(|part| of_scale(&layer[part]))).collect()
}

/// Both are f32, off by some 1e-6 in cosines that are divided by 0.02. The gradients are sums over up to 300 tokens. So
/// the bound is that of the comparison with PyTorch (tests/importance.rs), a thousandth of the largest.
#[test]
fn gradients_are_those_of_candle() {
    let texts = id_texts(&sequences());
    let mut worst: f64 = 0.0;
    for name in MODELS {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.pruned_config(&fixture.config));
        id_tokenizer(directory.path());
        let model = Scaled::load(directory.path(), &LoadOptions::default(), None).unwrap();
        let titles = model.tokens(texts[1..4].iter(), 0).unwrap();
        let passages = model.tokens(texts[4..7].iter(), 1).unwrap();
        let got = model.gradients(&titles, &passages).unwrap();
        let want = by_candle(directory.path(), &titles, &passages);
        let scale = want.iter().flatten().flatten().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (layer, (got, want)) in got.iter().flatten().zip(want.iter().flatten()).enumerate() {
            assert_eq!(got.is_some(), want.is_some(), "{name}, sub-layer {layer}");
            let error = (got.unwrap_or(0.0) - want.unwrap_or(0.0)).abs() / scale;
            assert!(error <= 1e-3, "{name}, sub-layer {layer}: {got:?}, not {want:?}");
            worst = worst.max(error);
        }
    }
    assert!(worst > 0.0, "the twins do not share their arithmetic");
}
