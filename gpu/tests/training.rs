use half::bf16;
use secateur_gpu::gate::{Activation, Combination, combine, combine_backward};
use secateur_gpu::rows::{Half, Norm};
use secateur_gpu::training::{Dropout, NormedHeads, SummedRows, column_sums, norm_backward};

use crate::device::gpu;
use crate::numbers::{Numbers, OF_BF16, close, read_half, upload_half, wide};
use crate::rows::activate;

/// (x - mean) / sqrt(variance + eps) or x / sqrt(mean square + eps), in f64.
fn normed(x: &[f64], centered: bool) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = if centered { x.iter().sum::<f64>() / n } else { 0.0 };
    let squares: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
    let scale = 1.0 / (squares / n + 1e-5).sqrt();
    x.iter().map(|x| (x - mean) * scale).collect()
}

/// Against central differences in f64: whole rows, and some of a row's heads, of which the others stay.
#[test]
fn gpu_gradients_of_norms_are_slopes() {
    let gpu = gpu();
    let rows = 2;
    for (centered, of) in [
        (false, NormedHeads { columns: 300, first: 0, heads: 1 }),
        (true, NormedHeads { columns: 36, first: 0, heads: 1 }),
        (false, NormedHeads { columns: 60, first: 12, heads: 3 }),
    ] {
        let NormedHeads { columns, first, heads } = of;
        let length = if heads == 1 { columns } else { 12 };
        let mut numbers = Numbers::new(3);
        let (x, weight) = (numbers.full(rows * columns), numbers.full(length));
        let before = numbers.full(rows * columns);
        let norm = Norm {
            weight: gpu.upload(&weight).unwrap(),
            bias: centered.then(|| gpu.zeros(length).unwrap()),
            eps: 1e-5,
        };
        let mut gradient = gpu.upload(&before).unwrap();
        let mut terms = gpu.buffer(rows * heads * length).unwrap();
        let there = gpu.upload(&x).unwrap();
        norm_backward(&there, &norm, of, &mut gradient, Some(&mut terms)).unwrap();
        let (mut want, mut want_terms) = (wide(&before), Vec::new());
        for head in 0..rows * heads {
            let start = head / heads * columns + first + head % heads * length;
            let x = wide(&x[start..][..length]);
            let slopes = wide(&before[start..][..length]);
            want_terms.extend(normed(&x, centered).iter().zip(&slopes).map(|(x, g)| x * g));
            for k in 0..length {
                let at = |step: f64| -> f64 {
                    let mut moved = x.clone();
                    moved[k] += step;
                    let out = normed(&moved, centered);
                    (0..length).map(|j| slopes[j] * out[j] * f64::from(weight[j])).sum()
                };
                want[start + k] = (at(1e-5) - at(-1e-5)) / 2e-5;
            }
        }
        close("a norm's gradient", &wide(&gradient.to_vec().unwrap()), &want, 1e-5);
        close("those of its weight", &wide(&terms.to_vec().unwrap()), &want_terms, 1e-5);
    }
}

/// Rows of one block and of several; some of the columns.
#[test]
fn gpu_columns_are_added_up() {
    let gpu = gpu();
    for (rows, columns, first, count) in [(1, 40, 0, 40), (513, 37, 5, 30), (70, 8, 7, 1)] {
        let mut numbers = Numbers::new(rows as u64);
        let x: Vec<bf16> = numbers.half(rows * columns, 1.0);
        let before = numbers.full(count + 3);
        let mut want = wide(&before);
        for row in x.chunks_exact(columns) {
            for column in 0..count {
                want[3 + column] += row[first + column].to_f64();
            }
        }
        let full: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        let (full, half) = (gpu.upload(&full).unwrap(), upload_half(&gpu, &x, columns, columns + 3));
        for of in [SummedRows::Full(&full, columns), SummedRows::Half(&half)] {
            let mut out = gpu.upload(&before).unwrap();
            column_sums(of, (first, count), &mut out, 3).unwrap();
            close(&format!("sums of {rows} rows"), &wide(&out.to_vec().unwrap()), &want, 1e-5);
        }
    }
}

/// As the host decides it, by the formula.
#[test]
fn gpu_dropout_keeps_what_the_hash_says() {
    let gpu = gpu();
    let (rows, columns, stride) = (3, 300, 304);
    let x = Numbers::new(9).half(rows * columns, 1.0);
    let (key, share) = (0x1234_5678_9abc_def0u64, 0.3f64);
    let threshold = (share * f64::from(u32::MAX)) as u32;
    let with = Dropout { key, threshold, scale: 2.0 };
    let hash = |x: u32| {
        let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
        let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
        x ^ (x >> 16)
    };
    let kept = |i: usize| hash(i as u32 ^ key as u32).wrapping_add((key >> 32) as u32) >= threshold;
    let want: Vec<f64> =
        x.iter().enumerate().map(|(i, x)| if kept(i) { 2.0 * x.to_f64() } else { 0.0 }).collect();
    let mut half = upload_half(&gpu, &x, columns, stride);
    with.half(&mut half).unwrap();
    assert_eq!(read_half(&half), want);
    let mut full = gpu.upload(&x.iter().map(|x| x.to_f32()).collect::<Vec<f32>>()).unwrap();
    with.full(&mut full, columns).unwrap();
    assert_eq!(wide(&full.to_vec().unwrap()), want);
    let dropped = want.iter().filter(|x| **x == 0.0).count() as f64 / want.len() as f64;
    assert!((dropped - share).abs() < 0.1, "{dropped}");
}

#[test]
fn gpu_mlps_and_their_gradients_are_those_of_the_formula() {
    let gpu = gpu();
    let (rows, width, stride) = (3, 37, 40);
    use Activation::{Gelu, GeluTanh, Relu, Silu, Tanh};
    for (number, activation) in [Gelu, GeluTanh, Silu, Relu, Tanh].into_iter().enumerate() {
        for (gated, masked) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut numbers = Numbers::new(10 + number as u64);
            let (gate, up) = (numbers.half(rows * width, 3.0), numbers.half(rows * width, 3.0));
            let gradient = numbers.full(rows * width);
            let factors: Vec<f32> = numbers.full(width).iter().map(|x| x.max(0.0)).collect();
            let factor = |i: usize| if masked { f64::from(factors[i % width]) } else { 1.0 };
            let factors_there = masked.then(|| gpu.upload(&factors).unwrap());
            let with = Combination { activation, factors: factors_there.as_ref() };
            let there = |x: &[bf16]| upload_half(&gpu, x, width, stride);
            let (mut gate_there, mut up_there) = (gated.then(|| there(&gate)), there(&up));
            let mut out = Half::new(&gpu, rows, width, stride).unwrap();
            combine(&with, gate_there.as_ref(), &up_there, &mut out).unwrap();
            let parts = |i: usize| (gate[i].to_f64(), up[i].to_f64());
            let plain = |g: f64, u: f64| {
                if gated { activate(g, activation) * u } else { activate(u, activation) }
            };
            let of = |i: usize| plain(parts(i).0, parts(i).1);
            let want: Vec<f64> = (0..rows * width).map(|i| of(i) * factor(i)).collect();
            close(&format!("{activation:?}"), &read_half(&out), &want, OF_BF16);

            let mut slopes = gpu.upload(&gradient).unwrap();
            combine_backward(&with, gate_there.as_mut(), &mut up_there, &mut slopes, masked).unwrap();
            let step = 1e-6;
            let along = |i: usize, of_gate: f64, of_up: f64| {
                let ((g, u), slope) = (parts(i), f64::from(gradient[i]) * factor(i));
                let rise = plain(g + of_gate, u + of_up) - plain(g - of_gate, u - of_up);
                slope * rise / (2.0 * step)
            };
            let want: Vec<f64> = (0..rows * width).map(|i| along(i, 0.0, step)).collect();
            close(&format!("up of {activation:?}"), &read_half(&up_there), &want, OF_BF16);
            if let Some(gate) = &gate_there {
                let want: Vec<f64> = (0..rows * width).map(|i| along(i, step, 0.0)).collect();
                close(&format!("gate of {activation:?}"), &read_half(gate), &want, OF_BF16);
            }
            let want: Vec<f64> = match masked {
                true => (0..rows * width)
                    .map(|i| if factor(i) > 0.0 { f64::from(gradient[i]) * of(i) } else { 0.0 })
                    .collect(),
                false => wide(&gradient),
            };
            close(&format!("factors of {activation:?}"), &wide(&slopes.to_vec().unwrap()), &want, 1e-5);
        }
    }
}
