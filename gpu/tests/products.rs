use secateur_gpu::gate::Activation;
use secateur_gpu::rows::{Half, Norm};
use secateur_gpu::skinny::{self, Input, Output, Weight};
use secateur_gpu::{Operand, Product};

use crate::device::gpu;
use crate::numbers::{Numbers, OF_BF16, close, read_half, upload_half, wide, wide_half};
use crate::rows::activate;

fn twin(left: &[f64], right: &[f64], [rows, columns, depth]: [usize; 3]) -> Vec<f64> {
    let dot = |row: usize, column: usize| -> f64 {
        (0..depth).map(|k| left[row * depth + k] * right[column * depth + k]).sum()
    };
    (0..rows * columns).map(|item| dot(item / columns, item % columns)).collect()
}

/// x W^T, added to what is there, both operands transposed and not.
#[test]
fn gpu_products_are_sums_of_products() {
    let gpu = gpu();
    let (rows, columns, depth) = (8, 16, 24);
    let mut numbers = Numbers::new(1);
    let (x, w) = (numbers.half(rows * depth, 1.0), numbers.half(columns * depth, 1.0));
    let before = numbers.full(rows * columns);
    let want: Vec<f64> = twin(&wide_half(&x), &wide_half(&w), [rows, columns, depth])
        .iter()
        .zip(&before)
        .map(|(sum, old)| 0.5 * sum + f64::from(*old))
        .collect();
    let transpose = |values: &[half::bf16], columns: usize| -> Vec<half::bf16> {
        let rows = values.len() / columns;
        (0..values.len()).map(|item| values[item % rows * columns + item / rows]).collect()
    };
    for (x_turned, w_turned) in [(false, false), (false, true), (true, false), (true, true)] {
        let out = gpu.upload(&before).unwrap();
        let x = gpu.upload(&if x_turned { transpose(&x, depth) } else { x.clone() }).unwrap();
        let w = gpu.upload(&if w_turned { transpose(&w, depth) } else { w.clone() }).unwrap();
        let left = if x_turned { Operand::new(&x, rows).transposed() } else { Operand::new(&x, depth) };
        let right = if w_turned { Operand::new(&w, columns) } else { Operand::new(&w, depth).transposed() };
        let out_operand = Operand::new(&out, columns);
        Product { left, right, out: out_operand, rows, columns, depth, alpha: 0.5, beta: 1.0 }
            .run(&gpu)
            .unwrap();
        close("a product", &wide(&out.to_vec().unwrap()), &want, 1e-6);
    }
}

#[test]
fn gpu_products_of_bytes_are_exact() {
    let gpu = gpu();
    // cuBLASLt takes integers in fours.
    let (rows, columns, depth) = (4, 8, 4096);
    let x = gpu.upload(&vec![-128i8; rows * depth]).unwrap();
    let w = gpu.upload(&vec![127i8; columns * depth]).unwrap();
    let out = gpu.buffer::<i32>(rows * columns).unwrap();
    let (left, right) = (Operand::new(&x, depth), Operand::new(&w, depth).transposed());
    let out_operand = Operand::new(&out, columns);
    Product { left, right, out: out_operand, rows, columns, depth, alpha: 1.0, beta: 0.0 }.run(&gpu).unwrap();
    assert_eq!(out.to_vec().unwrap(), [-128 * 127 * 4096; 32]);
}

#[test]
#[should_panic(expected = "the left matrix fits its buffer")]
fn gpu_products_beyond_their_buffers_are_refused() {
    let gpu = gpu();
    let x = gpu.buffer::<f32>(7).unwrap();
    let operand = Operand::new(&x, 2);
    let _ = Product {
        left: operand,
        right: operand,
        out: operand,
        rows: 4,
        columns: 2,
        depth: 2,
        alpha: 1.0,
        beta: 0.0,
    }
    .run(&gpu);
}

/// Products of few rows in each form, with and without norm and bias.
#[test]
fn gpu_products_of_few_rows_are_those_of_many() {
    let gpu = gpu();
    for (case, (tokens, depth, rows, normed, biased)) in [
        (1, 64, 40, false, false),
        (3, 520, 40, true, true),
        (8, 48, 48, true, false),
        (9, 264, 72, false, true),
        (14, 1040, 16, true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut numbers = Numbers::new(case as u64);
        let (full, half) = (numbers.full(tokens * depth), numbers.half(tokens * depth, 1.0));
        let (weight, scales) = (numbers.half(2 * rows * depth, 0.1), numbers.full(depth));
        let bias = numbers.full(2 * rows);
        let norm = Norm { weight: gpu.upload(&scales).unwrap(), bias: None, eps: 1e-5 };
        let input: Vec<f64> = if normed {
            let row = |row: &[f32]| -> Vec<f64> {
                let squares: f64 = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
                let scale = 1.0 / (squares / depth as f64 + 1e-5).sqrt();
                row.iter().zip(&scales).map(|(x, w)| f64::from(*x) * scale * f64::from(*w)).collect()
            };
            full.chunks_exact(depth).flat_map(row).collect()
        } else {
            wide_half(&half)
        };
        let mut sums = twin(&input, &wide_half(&weight), [tokens, 2 * rows, depth]);
        if biased {
            for (item, sum) in sums.iter_mut().enumerate() {
                *sum += f64::from(bias[item % (2 * rows)]);
            }
        }
        let (x_full, x_half) = (gpu.upload(&full).unwrap(), upload_half(&gpu, &half, depth, depth));
        let input = if normed { Input::Normed(&x_full, &norm) } else { Input::Half(&x_half) };
        let (buffer, bias) = (gpu.upload(&weight).unwrap(), gpu.upload(&bias).unwrap());
        let weight = Weight { buffer: &buffer, rows: 2 * rows, stride: depth, bias: biased.then_some(&bias) };
        // Of normed rows what is rounded are the products of row and norm.
        let limit = if normed { OF_BF16 } else { 1e-5 };

        let mut out = Half::new(&gpu, tokens, 2 * rows, 2 * rows).unwrap();
        skinny::multiply(input, weight, Output::Store(&mut out)).unwrap();
        close("stored", &read_half(&out), &sums, OF_BF16);

        let before = numbers.full(tokens * 2 * rows);
        let mut out = gpu.upload(&before).unwrap();
        skinny::multiply(input, weight, Output::Add(&mut out)).unwrap();
        let want: Vec<f64> = sums.iter().zip(&before).map(|(x, y)| x + f64::from(*y)).collect();
        close("added", &wide(&out.to_vec().unwrap()), &want, limit);

        let mut out = Half::new(&gpu, tokens, rows, rows).unwrap();
        skinny::multiply(input, weight, Output::Gate(&mut out, Activation::Silu)).unwrap();
        let want: Vec<f64> = (0..tokens * rows)
            .map(|item| {
                let row = &sums[item / rows * 2 * rows..][..2 * rows];
                activate(row[item % rows], Activation::Silu) * row[rows + item % rows]
            })
            .collect();
        close("gated", &read_half(&out), &want, 2.0 * OF_BF16);

        let mut out = Half::new(&gpu, tokens, 2 * rows, 2 * rows).unwrap();
        skinny::multiply(input, weight, Output::Activate(&mut out, Activation::Gelu)).unwrap();
        let want: Vec<f64> = sums.iter().map(|x| activate(*x, Activation::Gelu)).collect();
        close("activated", &read_half(&out), &want, 2.0 * OF_BF16);
    }
}
