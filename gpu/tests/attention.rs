use proptest::prelude::*;
use secateur_gpu::attention::{self, Attention, Forward, Texts, tiles};
use secateur_gpu::heads::{Heads, Preparation, Rotation};
use secateur_gpu::rows::Half;

use crate::device::gpu;
use crate::numbers::{Numbers, close, read_half, upload_half, wide_half};
use crate::rows::{PreparationTwin, heads_twin};

/// A stride of rows of these columns, as loading chooses it.
fn stride(columns: usize) -> usize {
    columns.next_multiple_of(8)
}

/// For each text and head the weights, softmax included; with slopes of the scores by the products.
struct Twin {
    contexts: Vec<f64>,
    /// The gradients of queries, keys and values.
    gradients: Vec<f64>,
}

fn twin(qkv: &[f64], attention: &Attention, lengths: &[usize], gradient: &[f64]) -> Twin {
    let Heads { num_heads, num_key_value_heads, head_dim } = attention.heads;
    let (columns, group) = (attention.heads.columns(), num_heads / num_key_value_heads);
    let width = num_heads * head_dim;
    let tokens: usize = lengths.iter().sum();
    let (mut contexts, mut gradients) = (vec![0.0; tokens * width], vec![0.0; tokens * columns]);
    let mut start = 0;
    for length in lengths {
        for head in 0..num_heads {
            let at = |row: usize, head: usize| (start + row) * columns + head * head_dim;
            let (key_head, value_head) =
                (num_heads + head / group, num_heads + num_key_value_heads + head / group);
            for i in 0..*length {
                let query = &qkv[at(i, head)..][..head_dim];
                let mut weights = vec![0.0; *length];
                let mut slopes = vec![f64::from(attention.scale); *length];
                for j in 0..*length {
                    let seen = (!attention.causal || j <= i)
                        && attention.window.is_none_or(|window| i.abs_diff(j) <= window);
                    let key = &qkv[at(j, key_head)..][..head_dim];
                    let mut score: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                    score *= f64::from(attention.scale);
                    if let Some(cap) = attention.softcap.map(f64::from) {
                        let tanh = (score / cap).tanh();
                        score = cap * tanh;
                        slopes[j] *= 1.0 - tanh * tanh;
                    }
                    weights[j] = if seen { score } else { f64::NEG_INFINITY };
                }
                let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                weights.iter_mut().for_each(|x| *x = (*x - largest).exp());
                let total: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|x| *x /= total);
                let out = (start + i) * width + head * head_dim;
                for (j, weight) in weights.iter().enumerate() {
                    for k in 0..head_dim {
                        contexts[out + k] += weight * qkv[at(j, value_head) + k];
                    }
                }
                if gradient.is_empty() {
                    continue;
                }
                let slope = &gradient[out..][..head_dim];
                let of_weights: Vec<f64> = (0..*length)
                    .map(|j| slope.iter().zip(&qkv[at(j, value_head)..]).map(|(g, v)| g * v).sum())
                    .collect();
                let mean: f64 = weights.iter().zip(&of_weights).map(|(w, g)| w * g).sum();
                for j in 0..*length {
                    let of_score = weights[j] * (of_weights[j] - mean) * slopes[j];
                    for k in 0..head_dim {
                        gradients[at(i, head) + k] += of_score * qkv[at(j, key_head) + k];
                        gradients[at(j, key_head) + k] += of_score * qkv[at(i, head) + k];
                        gradients[at(j, value_head) + k] += weights[j] * slope[k];
                    }
                }
            }
        }
        start += length;
    }
    Twin { contexts, gradients }
}

fn case(
    (num_heads, num_key_value_heads, head_dim): (usize, usize, usize),
    causal: bool,
    window: Option<usize>,
    softcap: Option<f32>,
) -> Attention {
    let heads = Heads { num_heads, num_key_value_heads, head_dim };
    Attention { heads, scale: 1.0 / (head_dim as f32).sqrt(), softcap, causal, window }
}

/// Texts shorter and longer than a tile, heads of all kernels, whole and partly used, masks of all kinds. `backward`
/// checks the way back as well.
fn check(attention: &Attention, lengths: &[usize], backward: bool) {
    let gpu = gpu();
    let heads = attention.heads;
    let (columns, width) = (heads.columns(), heads.num_heads * heads.head_dim);
    let tokens: usize = lengths.iter().sum();
    let mut numbers = Numbers::new((tokens * columns) as u64);
    let (qkv, slopes) = (numbers.half(tokens * columns, 2.5), numbers.half(tokens * width, 1.0));
    let texts = Texts::new(&gpu, lengths).unwrap();
    let tiles = texts.tiles(&gpu, attention).unwrap();
    let there = upload_half(&gpu, &qkv, columns, stride(columns));
    let mut out = Half::new(&gpu, tokens, width, stride(width)).unwrap();
    let mut logarithms = gpu.buffer(tokens * heads.num_heads).unwrap();
    attention::forward(&there, attention, &tiles, Some(&mut logarithms), &mut out).unwrap();
    let gradient = if backward { wide_half(&slopes) } else { Vec::new() };
    let want = twin(&wide_half(&qkv), attention, lengths, &gradient);
    close(&format!("{attention:?} of {lengths:?}"), &read_half(&out), &want.contexts, 5e-3);
    if !backward {
        return;
    }
    let slopes = upload_half(&gpu, &slopes, width, stride(width));
    let mut gradients = Half::new(&gpu, tokens, columns, stride(columns)).unwrap();
    let key_tiles = texts.key_tiles(&gpu).unwrap();
    let of =
        Forward { qkv: &there, out: &out, logarithms: &logarithms, tiles: &tiles, key_tiles: &key_tiles };
    attention::backward(attention, of, &slopes, &mut gradients).unwrap();
    close(
        &format!("the gradient of {attention:?} of {lengths:?}"),
        &read_half(&gradients),
        &want.gradients,
        8e-3,
    );
}

#[test]
fn gpu_attention_sees_all_of_a_text() {
    check(&case((2, 2, 64), false, None, None), &[1, 2, 17, 64, 70], true);
}

#[test]
fn gpu_attention_of_grouped_heads_is_causal() {
    check(&case((4, 1, 32), true, None, None), &[10, 65, 33], true);
    check(&case((2, 1, 128), true, None, None), &[70, 9], true);
}

#[test]
fn gpu_attention_of_odd_heads_has_windows_and_caps() {
    check(&case((2, 1, 24), true, Some(20), None), &[40, 100], true);
    check(&case((2, 2, 12), false, Some(8), None), &[5, 90], true);
    check(&case((2, 1, 80), true, None, Some(5.0)), &[40, 70], true);
    check(&case((2, 1, 256), true, Some(30), Some(50.0)), &[67, 3], false);
}

/// Against the two launches that it replaces.
#[test]
fn gpu_attention_of_few_tokens_prepares_its_heads() {
    let gpu = gpu();
    for (shape, causal, window, softcap, lengths) in [
        ((4, 2, 16), true, None, None, &[5usize, 32, 1][..]),
        ((2, 2, 12), false, Some(3), Some(4.0), &[9, 10][..]),
        ((2, 1, 128), true, None, None, &[10][..]),
    ] {
        let attention = case(shape, causal, window, softcap);
        let heads = attention.heads;
        let (columns, width) = (heads.columns(), heads.num_heads * heads.head_dim);
        let tokens: usize = lengths.iter().sum();
        let places: Vec<usize> = lengths.iter().flat_map(|length| 0..*length).collect();
        let mut numbers = Numbers::new(columns as u64);
        let qkv = numbers.half(tokens * columns, 2.0);
        let (bias, query, key) =
            (numbers.full(columns), numbers.full(heads.head_dim), numbers.full(heads.head_dim));
        let angles = numbers.full(32 * heads.head_dim / 2);
        let cos: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
        let upload = |values: &[f32]| gpu.upload(values).unwrap();
        let (bias_there, query_there, key_there) = (upload(&bias), upload(&query), upload(&key));
        let rotation = Rotation { cos: upload(&cos), sin: upload(&sin) };
        let texts = Texts::new(&gpu, lengths).unwrap();
        let there = upload_half(&gpu, &qkv, columns, stride(columns));
        for whole in [true, false] {
            let mut with = Preparation::default();
            let mut plain = PreparationTwin::default();
            if whole {
                with = Preparation {
                    bias: Some(&bias_there),
                    query_norm: Some(&query_there),
                    key_norm: Some(&key_there),
                    eps: 1e-6,
                    rotation: Some(&rotation),
                };
                plain = PreparationTwin {
                    bias: Some(&bias),
                    query_norm: Some(&query),
                    key_norm: Some(&key),
                    rotation: Some((&cos, &sin)),
                };
            }
            let mut out = Half::new(&gpu, tokens, width, stride(width)).unwrap();
            attention::few(&there, &attention, &texts, &with, &mut out).unwrap();
            let prepared = heads_twin(&wide_half(&qkv), heads, &places, &plain);
            let want = twin(&prepared, &attention, lengths, &[]);
            close(&format!("few tokens of {attention:?}"), &read_half(&out), &want.contexts, 8e-3);
        }
    }
}

proptest! {
    /// Every row of every text is in exactly one tile, and no tile spans two texts.
    #[test]
    fn gpu_tiles_cover_each_row_once(lengths in prop::collection::vec(1..200usize, 1..6), group in 1..9usize) {
        let mut seen: Vec<Vec<usize>> = lengths.iter().map(|length| vec![0; length * group]).collect();
        let starts: Vec<usize> = lengths.iter().scan(0, |start, length| { *start += length; Some(*start - length) }).collect();
        for [first, rows, start, length] in tiles(&lengths, group) {
            prop_assert!((1..=64).contains(&rows));
            let text = starts.iter().position(|other| *other == start as usize).unwrap();
            prop_assert_eq!(lengths[text], length as usize);
            for row in first..first + rows {
                seen[text][row as usize] += 1;
            }
        }
        prop_assert!(seen.iter().flatten().all(|count| *count == 1));
    }
}
