//! The CPU's operations against candle's, on small random shapes.

use candle_core::Device;
use proptest::prelude::*;

use super::candle::Candle;
use super::cpu::{Cpu, Products, Units};
use super::*;
use crate::architecture::Activation;
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

/// The same rows for any backend: the first ids of a table.
fn rows<B: Backend>(backend: &B, count: usize, columns: usize, seed: u64) -> B::Activations {
    let table = backend.load_table(matrix(count, columns, seed)).unwrap();
    backend.embed(&table, &(0..count as u32).collect::<Vec<_>>()).unwrap()
}

/// Both give `tolerance` times the same; the CPU on one thread and on the pool, bit for bit.
fn agree(
    tolerance: f32,
    cpu: impl Fn(&Cpu) -> Vec<f32>,
    candle: impl Fn(&Candle) -> Vec<f32>,
) -> std::result::Result<(), TestCaseError> {
    let got = cpu(&Cpu::serial());
    prop_assert_eq!(&cpu(&Cpu::parallel()), &got);
    let want = candle(&Candle::new(Device::Cpu));
    prop_assert_eq!(got.len(), want.len());
    for (place, (got, want)) in got.iter().zip(&want).enumerate() {
        prop_assert!((got - want).abs() <= tolerance, "{} against {} at {}", got, want, place);
    }
    Ok(())
}

fn attention<B: Backend>(backend: &B, case: &Case) -> Vec<f32> {
    let spans = Spans::from_lengths(case.lengths.iter().copied());
    let Case { shape, window, rotated, normed, seed, .. } = *case;
    let half = shape.head_dim / 2;
    let longest = case.lengths.iter().copied().max().unwrap();
    let mut qkv = rows(backend, spans.num_tokens(), shape.joined_columns(), seed);
    if normed {
        let weight = values(shape.head_dim, seed + 2).into();
        let norm = backend.load_norm(NormWeights::Rms { weight, eps: 1e-6 }).unwrap();
        qkv = backend.norm_heads(qkv, &norm, shape.num_heads..shape.num_rotated_heads()).unwrap();
    }
    if rotated {
        let rotation =
            RotationWeights { cos: matrix(longest, half, seed + 3), sin: matrix(longest, half, seed + 4) };
        let rotation = backend.load_rotation(rotation).unwrap();
        qkv = backend.rotate(qkv, &spans, &rotation, &shape).unwrap();
    }
    backend.to_vec(&backend.attention(&qkv, &spans, &shape, window).unwrap()).unwrap()
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

    /// Outputs are means of values of size one, or of size sqrt(2) if rotated. The scores are sums of up to 18
    /// products, at most 4 * 18 * 3 = 216 in size. So scores and weights are off by 216 * 2^-20 = 2e-4 at the very
    /// worst.
    #[test]
    fn attention_is_that_of_candle(case in case()) {
        agree(2e-4, |backend| attention(backend, &case), |backend| attention(backend, &case))?;
    }

    /// Sums of up to 40 products of size one, once more multiplied with such a sum. The error is 2 * 40 * 40 * 2^-24 =
    /// 2e-4 at worst.
    #[test]
    fn gate_and_up_projections_are_those_of_candle(
        (tokens, columns, width) in (1..20usize, 1..40usize, 1..60usize),
        (gated, bias, activation) in (any::<bool>(), any::<bool>(), 0..5usize),
        seed in any::<u32>(),
    ) {
        let activation =
            [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu, Activation::Tanh][activation];
        let seed = u64::from(seed);
        fn run<B: Backend>(backend: &B, x: (usize, usize, u64), weights: GateUpWeights<'_>) -> Vec<f32> {
            let gate_up = backend.load_gate_up(weights).unwrap();
            backend.to_vec(&backend.gate_up(&rows(backend, x.0, x.1, x.2), &gate_up).unwrap()).unwrap()
        }
        let weights = || GateUpWeights {
            gate: gated.then(|| linear(width, columns, bias, seed + 10)),
            up: linear(width, columns, bias, seed + 20),
            activation,
        };
        let x = (tokens, columns, seed);
        agree(2e-4, |backend| run(backend, x, weights()), |backend| run(backend, x, weights()))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Both products of an MLP in one are those one after the other, bit for bit. They are by every kind of
    /// instructions, on one thread and on several. There are several tiles and groups, whole and cut.
    #[test]
    fn an_mlp_in_8_bits_is_its_two_products(
        (tokens, columns, width) in (1..80usize, 1..150usize, prop_oneof![1..60usize, 120..140usize, Just(256), 250..700usize]),
        (gated, bias, activation, own) in (any::<bool>(), any::<bool>(), 0..5usize, any::<bool>()),
        seed in any::<u32>(),
    ) {
        let activation =
            [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu, Activation::Tanh][activation];
        let seed = u64::from(seed);
        for units in Units::available() {
            for backend in [Cpu::serial(), Cpu::parallel()] {
                let backend = backend.with_products(Products::Int8(units));
                let gate = gated.then(|| linear(width, columns, bias, seed + 10));
                let up = linear(width, columns, bias, seed + 20);
                let gate_up = backend.load_gate_up(GateUpWeights { gate, up, activation }).unwrap();
                let output = backend.load_linear(linear(columns, width, bias, seed + 30)).unwrap();
                let residual = || rows(&backend, tokens, columns, seed + 1);
                let x = if own { rows(&backend, tokens, columns, seed) } else { residual() };
                let inner = backend.gate_up(&x, &gate_up).unwrap();
                let want = backend.linear_add(&inner, &output, residual()).unwrap();
                let got = backend.mlp_add(own.then_some(&x), &gate_up, &output, residual()).unwrap();
                prop_assert_eq!(got.values(), want.values(), "{:?}", units);
            }
        }
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

    /// Codes that are unpacked while they are multiplied, against the same weights in f32 from the beginning. The
    /// results are equal bit for bit, on one thread and on several. Depths of whole blocks of 64 and others; matrices
    /// of several windows.
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
        let run = |backend: &Cpu, of: fn(LinearWeights<'static>) -> LinearWeights<'static>| {
            let x = rows(backend, tokens, columns, seed);
            let layer = backend.load_linear(of(stacked.clone())).unwrap();
            let gate = gate.clone().map(of);
            let gate_up =
                GateUpWeights { gate, up: of(up.clone()), activation: Activation::Silu };
            let gate_up = backend.load_gate_up(gate_up).unwrap();
            let residual = rows(backend, tokens, 3 * width, seed + 1);
            [
                backend.linear(&x, &layer).unwrap().values().to_vec(),
                backend.linear_add(&x, &layer, residual).unwrap().values().to_vec(),
                backend.gate_up(&x, &gate_up).unwrap().values().to_vec(),
            ]
        };
        for backend in [Cpu::serial(), Cpu::parallel()] {
            prop_assert_eq!(run(&backend, |layer| layer), run(&backend, dequantized));
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
/// multiplied in f32 and against candle. Only x86-64 has numkong.
///
/// The operands are the same, so the sums differ by rounding alone. Each is off by at most (K + 1) 2^-24 of the sum of
/// the absolute products, which are below 1 each. The activations have a slope of at most 1.13.
#[test]
fn bf16_products_equal_rounded_ones() {
    for (texts, depth, width, seed) in [(1, 40, 24, 1), (3, 33, 300, 2), (70, 128, 257, 3), (9, 513, 16, 4)] {
        let cpu = |products, parallel: bool| {
            let backend = if parallel { Cpu::parallel() } else { Cpu::serial() };
            layers(&backend.with_products(products), texts, depth, width, seed)
        };
        let want = cpu(Products::Rounded, false);
        let tolerance = 3.0 * (depth as f32 + 1.0) * depth as f32 * 2f32.powi(-24);
        let got = [
            #[cfg(target_arch = "x86_64")]
            cpu(Products::Bf16, false),
            #[cfg(target_arch = "x86_64")]
            cpu(Products::Bf16, true),
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
        let exact = cpu(Products::F32, false);
        assert!(exact[0].iter().zip(&want[0]).any(|(exact, rounded)| (exact - rounded).abs() > 1e-4));
    }
}

/// Linear layers in 8 bits, by every kind of instructions, against f32, on one thread and on the pool.
///
/// Numbers are uniform in [-1, 1), so a code is off by at most 1 / 254. The error of a product of two numbers has a
/// standard deviation of sqrt(2 / 3) / 254 / sqrt(3). That of a sum is sqrt(K) times as much. Six of these are
/// allowed. An activation multiplies them by its slope of at most 1.13. A gate multiplies them by a sum, at most 4
/// sqrt(K / 9).
#[test]
fn int8_products_are_nearly_those_of_f32() {
    for (texts, depth, width, seed) in [(1, 40, 24, 1), (3, 33, 300, 2), (70, 128, 257, 3), (9, 513, 16, 4)] {
        let cpu = |products, parallel: bool| {
            let backend = if parallel { Cpu::parallel() } else { Cpu::serial() };
            layers(&backend.with_products(products), texts, depth, width, seed)
        };
        let exact = cpu(Products::F32, false);
        let deviation = (2.0 / 3.0 * depth as f32).sqrt() / 254.0 / 3f32.sqrt();
        let largest_sum = 4.0 * (depth as f32 / 9.0).sqrt() + 1.0;
        let mut first: Option<Vec<Vec<f32>>> = None;
        for units in Units::available() {
            let got = cpu(Products::Int8(units), false);
            assert_eq!(got, cpu(Products::Int8(units), true), "{units:?} depends on the number of threads");
            let first = first.get_or_insert_with(|| got.clone());
            assert_eq!(first, &got, "{units:?} gives other bits");
            for (layer, (got, want)) in got.iter().zip(&exact).enumerate() {
                assert_eq!(got.len(), want.len());
                let worst = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
                let tolerance = 6.0 * deviation * if layer == 3 { 2.0 * 1.13 * largest_sum } else { 1.13 };
                assert!(worst <= tolerance, "layer {layer}, depth {depth}: {worst} above {tolerance}");
                assert!(worst > 0.01 * deviation, "layer {layer}, depth {depth}: nothing was quantized");
            }
        }
    }
}

/// A linear layer, one that adds, and the projections that an MLP begins with, with a gate and without.
fn layers<B: Backend>(backend: &B, texts: usize, depth: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
    let x = rows(backend, texts, depth, seed);
    let layer = |seed| linear(width, depth, true, seed);
    let gate_up = |gate| GateUpWeights { gate, up: layer(seed + 30), activation: Activation::Silu };
    let plain = backend.load_linear(layer(seed + 10)).unwrap();
    [
        backend.linear(&x, &plain),
        backend.linear_add(&x, &plain, rows(backend, texts, width, seed + 20)),
        backend.gate_up(&x, &backend.load_gate_up(gate_up(None)).unwrap()),
        backend.gate_up(&x, &backend.load_gate_up(gate_up(Some(layer(seed + 40)))).unwrap()),
    ]
    .into_iter()
    .map(|y| backend.to_vec(&y.unwrap()).unwrap())
    .collect()
}
