use half::bf16;
use secateur_gpu::attention::Texts;
use secateur_gpu::gate::{self, Activation};
use secateur_gpu::heads::{Heads, Preparation, Rotation, norm, prepare};
use secateur_gpu::nf4::{Packed, unpack};
use secateur_gpu::pool::{self, Pool};
use secateur_gpu::rows::{self, Half, Norm};

use crate::device::{gpu, is_emulated};
use crate::numbers::{Numbers, OF_BF16, close, read_half, upload_half, wide, wide_half};

fn norm_twin(x: &[f64], weight: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
    let columns = weight.len();
    let row = |x: &[f64]| -> Vec<f64> {
        let n = columns as f64;
        let mean = if bias.is_some() { x.iter().sum::<f64>() / n } else { 0.0 };
        let scale = 1.0 / (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n + 1e-5).sqrt();
        let out = x.iter().zip(weight).map(|(x, w)| (x - mean) * scale * f64::from(*w));
        match bias {
            Some(bias) => out.zip(bias).map(|(x, b)| x + f64::from(*b)).collect(),
            None => out.collect(),
        }
    };
    x.chunks_exact(columns).flat_map(row).collect()
}

#[test]
fn gpu_norms_are_those_of_the_formula() {
    let gpu = gpu();
    for (columns, stride, centered) in
        [(48, 48, false), (1100, 1152, false), (48, 56, true), (1028, 1152, true)]
    {
        let mut numbers = Numbers::new(columns as u64);
        let rows = 3;
        let (x, half) = (numbers.full(rows * columns), numbers.half(rows * columns, 2.0));
        let (weight, bias) = (numbers.full(columns), numbers.full(columns));
        let bias = centered.then_some(&bias[..]);
        let norm = Norm {
            weight: gpu.upload(&weight).unwrap(),
            bias: bias.map(|bias| gpu.upload(bias).unwrap()),
            eps: 1e-5,
        };
        let want = norm_twin(&wide(&x), &weight, bias);
        let mut full = gpu.upload(&x).unwrap();
        let mut out = Half::new(&gpu, rows, columns, stride).unwrap();
        rows::norm(&full, &norm, &mut out).unwrap();
        close("a norm", &read_half(&out), &want, OF_BF16);
        let mut out = Half::new(&gpu, rows, columns, stride).unwrap();
        rows::norm_in_place(&mut full, &norm, &mut out).unwrap();
        close("a norm in place", &wide(&full.to_vec().unwrap()), &want, 1e-6);
        close("and its copy", &read_half(&out), &want, OF_BF16);
        let mut in_half = upload_half(&gpu, &half, columns, stride);
        rows::norm_half_in_place(&mut in_half, &norm).unwrap();
        close("a norm of bf16", &read_half(&in_half), &norm_twin(&wide_half(&half), &weight, bias), OF_BF16);
    }
}

#[test]
fn gpu_rows_are_copied_added_and_selected() {
    let gpu = gpu();
    let (count, columns, stride) = (4, 44, 48);
    let mut numbers = Numbers::new(6);
    let (x, y) = (numbers.full(count * columns), numbers.full(count * columns));
    let (half, bias) = (numbers.half(count * columns, 1.0), numbers.full(columns));
    let at = |item: usize| f64::from(bias[item % columns]);
    let mut full = gpu.upload(&x).unwrap();
    let mut narrow = Half::new(&gpu, count, columns, stride).unwrap();
    rows::narrow(&full, &mut narrow).unwrap();
    let rounded: Vec<f64> = x.iter().map(|x| bf16::from_f32(*x).to_f64()).collect();
    assert_eq!(read_half(&narrow), rounded, "to nearest, ties to even");
    let mut back = gpu.buffer(count * columns).unwrap();
    rows::widen(&narrow, &mut back).unwrap();
    assert_eq!(wide(&back.to_vec().unwrap()), rounded);

    rows::add(&mut full, &gpu.upload(&y).unwrap(), columns).unwrap();
    rows::add_half(&mut full, &upload_half(&gpu, &half, columns, stride)).unwrap();
    rows::add_bias(&mut full, &gpu.upload(&bias).unwrap()).unwrap();
    let want: Vec<f64> = (0..count * columns)
        .map(|item| f64::from(x[item]) + f64::from(y[item]) + half[item].to_f64() + at(item))
        .collect();
    close("a sum", &wide(&full.to_vec().unwrap()), &want, 1e-6);
    let mut sum = upload_half(&gpu, &half, columns, stride);
    rows::add_bias_half(&mut sum, &gpu.upload(&bias).unwrap()).unwrap();
    let want: Vec<f64> = half.iter().enumerate().map(|(item, x)| x.to_f64() + at(item)).collect();
    close("a bias on bf16", &read_half(&sum), &want, OF_BF16);

    let numbers = gpu.upload(&[3u32, 0, 3]).unwrap();
    let mut selected = gpu.buffer(3 * columns).unwrap();
    rows::select(&gpu.upload(&x).unwrap(), &numbers, &mut selected, columns).unwrap();
    let of = |row: usize| x[row * columns..][..columns].iter().copied();
    assert_eq!(selected.to_vec().unwrap(), of(3).chain(of(0)).chain(of(3)).collect::<Vec<f32>>());
    let mut selected = Half::new(&gpu, 3, columns, stride).unwrap();
    let whole = upload_half(&gpu, &half, columns, stride);
    rows::select_half(&whole, &numbers, &mut selected).unwrap();
    assert_eq!(read_half(&selected)[..columns], wide_half(&half[3 * columns..]));
    let mut embedded = gpu.buffer(3 * columns).unwrap();
    rows::embed(&gpu.upload(&half).unwrap(), &numbers, &mut embedded, columns).unwrap();
    assert_eq!(wide(&embedded.to_vec().unwrap())[columns..2 * columns], wide_half(&half[..columns]));
}

/// From the middle of a buffer to the middle of another: zeros behind each row, and nothing before the first.
#[test]
fn gpu_rows_are_narrowed_where_they_lie() {
    let gpu = gpu();
    let ((rows, columns), stride, first, to) = ((3, 20), 24, 7, 48);
    let mut numbers = Numbers::new(11);
    let x = numbers.full(first + rows * columns + 5);
    let mut want = numbers.half(to + rows * stride + 16, 1.0);
    let mut out = gpu.upload(&want).unwrap();
    rows::narrow_rows((&gpu.upload(&x).unwrap(), first), (rows, columns), (&mut out, to), stride).unwrap();
    for row in 0..rows {
        let to = &mut want[to + row * stride..][..stride];
        to.fill(bf16::ZERO);
        let from = &x[first + row * columns..][..columns];
        to.iter_mut().zip(from).for_each(|(to, x)| *to = bf16::from_f32(*x));
    }
    assert_eq!(out.to_vec().unwrap(), want);
}

/// Bias, norms and rotation of heads, as one after the other in f64.
pub fn heads_twin(qkv: &[f64], heads: Heads, places: &[usize], with: &PreparationTwin<'_>) -> Vec<f64> {
    let (columns, half) = (heads.columns(), heads.head_dim / 2);
    let mut out = qkv.to_vec();
    for (row, place) in out.chunks_exact_mut(columns).zip(places) {
        for (number, head) in row.chunks_exact_mut(heads.head_dim).enumerate() {
            if let Some(bias) = with.bias {
                let first = number * heads.head_dim;
                head.iter_mut().zip(&bias[first..]).for_each(|(x, b)| *x += f64::from(*b));
            }
            let norm = match number {
                _ if number < heads.num_heads => with.query_norm,
                _ if number < heads.num_heads + heads.num_key_value_heads => with.key_norm,
                _ => continue,
            };
            if let Some(weight) = norm {
                let squares: f64 = head.iter().map(|x| x * x).sum();
                let scale = 1.0 / (squares / heads.head_dim as f64 + 1e-6).sqrt();
                head.iter_mut().zip(weight).for_each(|(x, w)| *x *= scale * f64::from(*w));
            }
            if let Some((cos, sin)) = with.rotation {
                for k in 0..half {
                    let (c, s) = (f64::from(cos[place * half + k]), f64::from(sin[place * half + k]));
                    let (a, b) = (head[k], head[half + k]);
                    head[k] = a * c - b * s;
                    head[half + k] = b * c + a * s;
                }
            }
        }
    }
    out
}

/// What heads are prepared with, on the host.
#[derive(Clone, Copy, Default)]
pub struct PreparationTwin<'a> {
    pub bias: Option<&'a [f32]>,
    pub query_norm: Option<&'a [f32]>,
    pub key_norm: Option<&'a [f32]>,
    pub rotation: Option<(&'a [f32], &'a [f32])>,
}

#[test]
fn gpu_heads_are_prepared_as_one_step_after_the_other() {
    let gpu = gpu();
    let heads = Heads { num_heads: 4, num_key_value_heads: 2, head_dim: 12 };
    let lengths = [3, 1, 5];
    let places: Vec<usize> = lengths.iter().flat_map(|length| 0..*length).collect();
    let texts = Texts::new(&gpu, &lengths).unwrap();
    let mut numbers = Numbers::new(8);
    let qkv = numbers.half(9 * heads.columns(), 1.0);
    let bias = numbers.full(heads.columns());
    let (query, key) = (numbers.full(12), numbers.full(12));
    let angles = numbers.full(5 * 6);
    let cos: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
    let sin: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
    let upload = |values: &[f32]| gpu.upload(values).unwrap();
    let (bias_there, query_there, key_there) = (upload(&bias), upload(&query), upload(&key));
    let rotation = Rotation { cos: upload(&cos), sin: upload(&sin) };
    for parts in 0..16u32 {
        let has = |bit: u32| parts >> bit & 1 == 1;
        let with = Preparation {
            bias: has(0).then_some(&bias_there),
            query_norm: has(1).then_some(&query_there),
            key_norm: has(2).then_some(&key_there),
            eps: 1e-6,
            rotation: has(3).then_some(&rotation),
        };
        let twin = PreparationTwin {
            bias: has(0).then_some(&bias),
            query_norm: has(1).then_some(&query),
            key_norm: has(2).then_some(&key),
            rotation: has(3).then_some((&cos, &sin)),
        };
        let mut there = upload_half(&gpu, &qkv, heads.columns(), 104);
        prepare(&mut there, &heads, texts.places(), &with).unwrap();
        let want = heads_twin(&wide_half(&qkv), heads, &places, &twin);
        close(&format!("heads prepared with {parts:04b}"), &read_half(&there), &want, OF_BF16);
        if parts == 6 {
            let mut normed = upload_half(&gpu, &qkv, heads.columns(), 104);
            norm(&mut normed, 0..4, &query_there, 1e-6).unwrap();
            norm(&mut normed, 4..6, &key_there, 1e-6).unwrap();
            let (one, both) = (read_half(&normed), read_half(&there));
            close("one norm after the other", &one, &both, OF_BF16);
            assert!(one == both || !is_emulated(), "the same steps");
        }
        if parts == 8 {
            // By the opposite angles they are turned back: what the gradient needs.
            let opposite: Vec<f32> = sin.iter().map(|sin| -sin).collect();
            let back = Rotation { cos: upload(&cos), sin: upload(&opposite) };
            let with = Preparation { rotation: Some(&back), ..Preparation::default() };
            prepare(&mut there, &heads, texts.places(), &with).unwrap();
            close("heads turned back", &read_half(&there), &wide_half(&qkv), 2.0 * OF_BF16);
        }
    }
}

pub fn activate(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::Tanh => x.tanh(),
    }
}

/// By its Taylor series, which converges everywhere.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}

#[test]
fn gpu_gates_are_those_of_the_formula() {
    let gpu = gpu();
    let (count, width) = (3, 40);
    use Activation::{Gelu, GeluTanh, Relu, Silu, Tanh};
    for (number, activation) in [Gelu, GeluTanh, Silu, Relu, Tanh].into_iter().enumerate() {
        for gated in [true, false] {
            let mut numbers = Numbers::new(10 + number as u64);
            let columns = if gated { 2 * width } else { width };
            let (x, bias) = (numbers.half(count * columns, 3.0), numbers.full(columns));
            for biased in [true, false] {
                let at = |row: usize, column: usize| {
                    x[row * columns + column].to_f64() + if biased { f64::from(bias[column]) } else { 0.0 }
                };
                let value = |a: f64, u: f64| activate(a, activation) * if gated { u } else { 1.0 };
                let there = upload_half(&gpu, &x, columns, columns);
                let bias = biased.then(|| gpu.upload(&bias).unwrap());
                let mut out = Half::new(&gpu, count, width, width).unwrap();
                gate::forward(&there, bias.as_ref(), activation, &mut out).unwrap();
                let up = |row: usize, column: usize| if gated { at(row, width + column) } else { 0.0 };
                let items = || (0..count * width).map(|item| (item / width, item % width));
                let want: Vec<f64> = items().map(|(r, c)| value(at(r, c), up(r, c))).collect();
                close(&format!("{activation:?}"), &read_half(&out), &want, OF_BF16);
            }
        }
    }
}

#[test]
fn gpu_pooling_and_its_transpose_are_those_of_the_definition() {
    let gpu = gpu();
    let (lengths, columns) = ([3usize, 1, 4], 300);
    let texts = Texts::new(&gpu, &lengths).unwrap();
    let owner: Vec<u32> =
        lengths.iter().enumerate().flat_map(|(text, length)| vec![text as u32; *length]).collect();
    let owner = gpu.upload(&owner).unwrap();
    let mut numbers = Numbers::new(20);
    let (x, gradient) = (numbers.full(8 * columns), numbers.full(3 * columns));
    let (there, slopes) = (gpu.upload(&x).unwrap(), gpu.upload(&gradient).unwrap());
    for kind in [Pool::First, Pool::Last, Pool::Mean, Pool::WeightedMean] {
        for skipped in [0, 1, 9] {
            let mut want = Vec::new();
            let mut spread = vec![0.0; 8 * columns];
            let mut start = 0;
            for (text, length) in lengths.iter().enumerate() {
                let first = skipped.min(length - 1);
                let weights: Vec<f64> = (0..*length)
                    .map(|token| match kind {
                        Pool::First => f64::from(u8::from(token == 0)),
                        Pool::Last => f64::from(u8::from(token == length - 1)),
                        _ if token < first => 0.0,
                        Pool::Mean => 1.0,
                        Pool::WeightedMean => token as f64 + 1.0,
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for column in 0..columns {
                    let at = |token: usize| (start + token) * columns + column;
                    want.push((0..*length).map(|t| weights[t] / total * f64::from(x[at(t)])).sum());
                    for token in 0..*length {
                        spread[at(token)] =
                            weights[token] / total * f64::from(gradient[text * columns + column]);
                    }
                }
                start += length;
            }
            let mut out = gpu.buffer(3 * columns).unwrap();
            pool::forward(&there, &texts, kind, skipped, &mut out).unwrap();
            close(&format!("{kind:?}"), &wide(&out.to_vec().unwrap()), &want, 1e-6);
            let mut out = gpu.buffer(8 * columns).unwrap();
            pool::backward(&slopes, &texts, &owner, (kind, skipped), &mut out).unwrap();
            close(&format!("{kind:?} spread"), &wide(&out.to_vec().unwrap()), &spread, 1e-6);
        }
    }
    let mut rows = x[..2 * columns].to_vec();
    rows[columns..].fill(0.0);
    let mut out = gpu.buffer(2 * 100).unwrap();
    pool::unit_rows(&gpu.upload(&rows).unwrap(), columns, 100, &mut out).unwrap();
    let length = rows[..100].iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let want: Vec<f64> = rows[..100].iter().map(|x| f64::from(*x) / length).chain([0.0; 100]).collect();
    close("unit rows", &wide(&out.to_vec().unwrap()), &want, 1e-6);
}

/// Rows of a matrix whose blocks of 64 span two rows, from the second row on.
#[test]
fn gpu_codes_of_four_bits_are_unpacked() {
    let gpu = gpu();
    let (all, columns, stride) = (5usize, 50, 56);
    let mut numbers = Numbers::new(30);
    let codes: Vec<u8> = (0..all * columns / 2).map(|_| (numbers.next() * 127.0) as i8 as u8).collect();
    let scales = numbers.full((all * columns).div_ceil(64));
    let values = numbers.full(16);
    let mut out = gpu.zeros(4 * stride).unwrap();
    let (codes_there, scales_there) = (gpu.upload(&codes).unwrap(), gpu.upload(&scales).unwrap());
    let values_there = gpu.upload(&values).unwrap();
    let packed = Packed { codes: &codes_there, scales: &scales_there, values: &values_there, columns };
    unpack(packed, (1, 3), &mut out, (stride, stride)).unwrap();
    let out = out.to_vec().unwrap();
    for (place, got) in out.iter().enumerate() {
        let (row, column) = (place / stride, place % stride);
        let want = if row == 0 || column >= columns {
            bf16::ZERO
        } else {
            let item = row * columns + column;
            let code = if item % 2 == 0 { codes[item / 2] >> 4 } else { codes[item / 2] & 15 };
            bf16::from_f32(values[usize::from(code)] * scales[item / 64])
        };
        assert_eq!(*got, want, "row {row}, column {column}");
    }
}
