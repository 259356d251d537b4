//! The fused operations against the composed ones, on small random shapes.

use candle_core::Device;
use proptest::prelude::*;

use super::candle::Candle;
use super::cpu::{Cpu, Products};
use super::*;
use crate::compute::precision::Precision;
use crate::weights::quantized::nf4::Nf4Matrix;

/// Values of [-1, 1) by a linear congruential generator (Knuth's MMIX constants).
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn matrix(rows: usize, columns: usize, seed: u64) -> Matrix<'static> {
    Matrix { values: values(rows * columns, seed).into(), rows, columns }
}

fn linear(rows: usize, columns: usize, bias: bool, seed: u64) -> LinearWeights<'static> {
    LinearWeights {
        weight: matrix(rows, columns, seed).into(),
        bias: bias.then(|| values(rows, seed + 1).into()),
    }
}

/// The same rows for any operations: the first ids of a table.
fn rows<O: Ops>(ops: &O, count: usize, columns: usize, seed: u64) -> O::Rows {
    let table = ops.load_table(matrix(count, columns, seed)).unwrap();
    ops.embed(&table, &(0..count as u32).collect::<Vec<_>>()).unwrap()
}

/// Both give `tolerance` times the same; the fused form on one thread and on the pool, bit for bit.
fn agree(
    tolerance: f32,
    fused: impl Fn(&Cpu) -> Vec<f32>,
    composed: impl Fn(&Candle) -> Vec<f32>,
) -> std::result::Result<(), TestCaseError> {
    let got = fused(&Cpu::serial());
    prop_assert_eq!(&fused(&Cpu::parallel()), &got);
    let want = composed(&Candle::new(Device::Cpu));
    prop_assert_eq!(got.len(), want.len());
    for (place, (got, want)) in got.iter().zip(&want).enumerate() {
        prop_assert!((got - want).abs() <= tolerance, "{} against {} at {}", got, want, place);
    }
    Ok(())
}

fn attention<O: Ops>(ops: &O, case: &Case) -> Vec<f32> {
    let spans = Spans::from_lengths(case.lengths.iter().copied());
    let Case { shape, window, rotated, normed, seed, .. } = *case;
    let half = shape.head_dim / 2;
    let longest = case.lengths.iter().copied().max().unwrap();
    let mut qkv = rows(ops, spans.num_tokens(), shape.joined_columns(), seed);
    if normed {
        let weight = values(shape.head_dim, seed + 2).into();
        let norm = ops.load_norm(NormWeights::Rms { weight, eps: 1e-6 }).unwrap();
        qkv = ops.norm_heads(qkv, &norm, shape.num_heads..shape.num_rotated_heads()).unwrap();
    }
    if rotated {
        let rotation =
            RotationWeights { cos: matrix(longest, half, seed + 3), sin: matrix(longest, half, seed + 4) };
        let rotation = ops.load_rotation(rotation).unwrap();
        qkv = ops.rotate(qkv, &spans, &rotation, &shape).unwrap();
    }
    ops.to_vec(&ops.attention(&qkv, &spans, &shape, window).unwrap()).unwrap()
}

#[derive(Clone, Debug)]
struct Case {
    lengths: Vec<usize>,
    shape: AttentionShape,
    window: Option<usize>,
    rotated: bool,
    normed: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let heads = (1..4usize, 1..4usize, 1..10usize);
    let kind = (any::<bool>(), prop::option::of(0..70usize), prop::option::of(0.5f32..8.0), 0.1f32..4.0);
    let inputs = (prop::collection::vec(1..150usize, 1..4), any::<bool>(), any::<bool>(), any::<u32>());
    (heads, kind, inputs).prop_map(
        |(heads, (causal, window, softcap, scale), (lengths, rotated, normed, seed))| {
            let (num_key_value_heads, group, half) = heads;
            let num_heads = num_key_value_heads * group;
            let shape =
                AttentionShape { num_heads, num_key_value_heads, head_dim: 2 * half, scale, softcap, causal };
            Case { lengths, shape, window, rotated, normed, seed: seed.into() }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Outputs are means of values of size one, or of size sqrt(2) if rotated. The scores are sums of up to 18 products,
    /// at most 4 * 18 * 3 = 216 in size: off by 216 * 2^-20 = 2e-4 at the very worst, and with them the weights.
    #[test]
    fn attention_is_that_of_the_composed_form(case in case()) {
        agree(2e-4, |ops| attention(ops, &case), |ops| attention(ops, &case))?;
    }

    /// Sums of up to 40 products of size one, once more multiplied with such a sum: an error of
    /// 2 * 40 * 40 * 2^-24 = 2e-4 at worst.
    #[test]
    fn expansion_is_that_of_the_composed_form(
        (tokens, columns, width) in (1..20usize, 1..40usize, 1..60usize),
        (gated, bias, activation) in (any::<bool>(), any::<bool>(), 0..5usize),
        seed in any::<u32>(),
    ) {
        let activation =
            [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu, Activation::Tanh][activation];
        let seed = u64::from(seed);
        fn run<O: Ops>(ops: &O, x: (usize, usize, u64), weights: ExpandWeights<'_>) -> Vec<f32> {
            let expand = ops.load_expand(weights).unwrap();
            ops.to_vec(&ops.expand(&rows(ops, x.0, x.1, x.2), &expand).unwrap()).unwrap()
        }
        let weights = || ExpandWeights {
            gate: gated.then(|| linear(width, columns, bias, seed + 10)),
            up: linear(width, columns, bias, seed + 20),
            activation,
        };
        let x = (tokens, columns, seed);
        agree(2e-4, |ops| run(ops, x, weights()), |ops| run(ops, x, weights()))?;
    }
}

fn quantized(layer: LinearWeights<'static>) -> LinearWeights<'static> {
    let Matrix { values, rows, columns } = layer.weight.dequantize();
    LinearWeights { weight: Nf4Matrix::quantize(&values, rows, columns).into(), bias: layer.bias }
}

fn dequantized(layer: LinearWeights<'static>) -> LinearWeights<'static> {
    LinearWeights { weight: layer.weight.dequantize().into(), bias: layer.bias }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Codes that are unpacked while they are multiplied, and the same weights in f32 from the beginning: bit for bit, on
    /// one thread and on several. Depths of whole blocks of 64 and others; matrices of
    /// several windows.
    #[test]
    fn quantized_layers_are_the_dequantized_ones(
        (tokens, columns, width) in (1..20usize, prop_oneof![1..90usize, Just(64), Just(128), Just(2048)], 1..90usize),
        (gated, bias, cut) in (any::<bool>(), any::<bool>(), 0.0..1.0f64),
        seed in any::<u32>(),
    ) {
        let seed = u64::from(seed);
        // Parts of several matrices, one of them cut in two, as fused projections are.
        let (first, second) = quantized(linear(2 * width, columns, bias, seed + 10)).split(1 + (cut * width as f64) as usize);
        let stacked =
            LinearWeights::stack(vec![second, quantized(linear(width, columns, bias, seed + 20)), first]);
        let gate = gated.then(|| quantized(linear(width, columns, bias, seed + 30)));
        let up = quantized(linear(width, columns, bias, seed + 40));
        let run = |ops: &Cpu, of: fn(LinearWeights<'static>) -> LinearWeights<'static>| {
            let x = rows(ops, tokens, columns, seed);
            let layer = ops.load_linear(of(stacked.clone())).unwrap();
            let gate = gate.clone().map(of);
            let expand =
                ExpandWeights { gate, up: of(up.clone()), activation: Activation::Silu };
            let expand = ops.load_expand(expand).unwrap();
            let residual = rows(ops, tokens, 3 * width, seed + 1);
            [
                ops.linear(&x, &layer).unwrap().values().to_vec(),
                ops.linear_add(&x, &layer, residual).unwrap().values().to_vec(),
                ops.expand(&x, &expand).unwrap().values().to_vec(),
            ]
        };
        for ops in [Cpu::serial(), Cpu::parallel()] {
            prop_assert_eq!(run(&ops, |layer| layer), run(&ops, dequantized));
        }
    }
}

#[test]
fn stacked_layers_split_again() {
    let (first, second) = (linear(2, 3, true, 1), linear(4, 3, true, 9));
    let (a, b) = LinearWeights::stack(vec![first.clone(), second.clone()]).split(2);
    let plain = |layer: LinearWeights<'static>| {
        let Matrix { values, rows, columns } = layer.weight.dequantize();
        (values, rows, columns, layer.bias)
    };
    assert_eq!(plain(a), plain(first));
    assert_eq!(plain(b), plain(second));
}

/// Products of bf16 by the processor's instructions, or what numkong has in their place, against the same numbers
/// multiplied in f32 and against candle.
///
/// The operands are the same, so the sums differ by rounding alone: each by at most (K + 1) 2^-24 of the sum of the
/// absolute products, which are below 1 each; the activations have a slope of at most 1.13.
#[test]
fn bf16_products_equal_rounded_ones() {
    for (texts, depth, width, seed) in [(1, 40, 24, 1), (3, 33, 300, 2), (70, 128, 257, 3), (9, 513, 16, 4)] {
        let fused = |products, parallel: bool| {
            let ops = if parallel { Cpu::parallel() } else { Cpu::serial() };
            layers(&ops.with_products(products), texts, depth, width, seed)
        };
        let want = fused(Products::Rounded, false);
        let tolerance = 3.0 * (depth as f32 + 1.0) * depth as f32 * 2f32.powi(-24);
        let got = [
            fused(Products::Bf16, false),
            fused(Products::Bf16, true),
            layers(&Candle::new(Device::Cpu).with_precision(Precision::Bf16), texts, depth, width, seed),
        ];
        for got in got {
            for (layer, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(got.len(), want.len());
                let worst = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
                assert!(worst <= tolerance, "layer {layer}, depth {depth}: {worst} above {tolerance}");
            }
        }
        // Rounding does something.
        let exact = fused(Products::F32, false);
        assert!(exact[0].iter().zip(&want[0]).any(|(exact, rounded)| (exact - rounded).abs() > 1e-4));
    }
}

/// A linear layer, one that adds, and the first half of an MLP with a gate and without.
fn layers<O: Ops>(ops: &O, texts: usize, depth: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
    let x = rows(ops, texts, depth, seed);
    let layer = |seed| linear(width, depth, true, seed);
    let expand = |gate| ExpandWeights { gate, up: layer(seed + 30), activation: Activation::Silu };
    let plain = ops.load_linear(layer(seed + 10)).unwrap();
    [
        ops.linear(&x, &plain),
        ops.linear_add(&x, &plain, rows(ops, texts, width, seed + 20)),
        ops.expand(&x, &ops.load_expand(expand(None)).unwrap()),
        ops.expand(&x, &ops.load_expand(expand(Some(layer(seed + 40)))).unwrap()),
    ]
    .into_iter()
    .map(|y| ops.to_vec(&y.unwrap()).unwrap())
    .collect()
}
