//! Products of rounded numbers against their definition, and against those of the f32 kernels.

use proptest::prelude::*;

use super::super::linear::{PackedLinear, Products};
use super::*;
use crate::compute::backward::Backward;
use crate::compute::cpu::{Activations, Cpu};
use crate::compute::{Backend, LinearWeights, Matrix, Weight};

/// All that this processor can multiply; the first are the twin.
fn available() -> Vec<Factors> {
    let fastest = Factors::of(Precision::Bf16);
    if fastest == Factors::Rounded { vec![Factors::Rounded] } else { vec![Factors::Rounded, fastest] }
}

/// Numbers from -1 to 1 with more bits than a bf16 has.
fn random(state: &mut u64, len: usize) -> Vec<f32> {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// T, N and K: more than one block of rows, panel and step of tiles, and less.
fn shape() -> impl Strategy<Value = (usize, usize, usize)> {
    (1..70usize, 1..100usize, 1..140usize)
}

/// What a product gave, and what it should be in f64: 1 + 0.5 times the sum of these products. The bound is that of a
/// sum of as many products of numbers up to 1, in whatever order (Higham 2002, eq. 3.5). Products of bf16 are exact.
fn close(got: f32, terms: &[(f32, f32)]) -> Result<(), TestCaseError> {
    let exact = |(a, b): &(f32, f32)| f64::from(rounded(*a)) * f64::from(rounded(*b));
    let want = 1.0 + 0.5 * terms.iter().map(exact).sum::<f64>();
    let bound = (terms.len() * terms.len() + 8) as f64 * f64::from(f32::EPSILON);
    prop_assert!((f64::from(got) - want).abs() <= bound, "{got}, not {want}");
    Ok(())
}

struct Case {
    wide: usize,
    gradient: Vec<f32>,
    input: Vec<f32>,
    matrix: Vec<f32>,
    linear: PackedLinear,
}

/// The product forward, forward by columns, and both backward.
fn products(ops: &Cpu, case: &Case, first: usize, (t, n, k): (usize, usize, usize)) -> [Vec<f32>; 4] {
    let upload = |values: &[f32], columns| -> Activations { ops.upload(values, columns).unwrap() };
    let mut packed = PackedMatrix::default();
    packed.refill(n, k, |row, column| case.matrix[row * k + column]);
    let (gradient, input) = (upload(&case.gradient, case.wide), upload(&case.input, k));
    let columns = first..first + n;
    let forward = ops.linear_add(&input, &case.linear, upload(&vec![1.0; t * n], n)).unwrap();
    let mut product = upload(&vec![1.0; t * case.wide], case.wide);
    ops.add_product(&input, &packed, 0.5, &mut product, columns.clone()).unwrap();
    let mut transposed = upload(&vec![1.0; t * k], k);
    ops.add_transposed_product(&gradient, columns.clone(), &packed, 0.5, &mut transposed).unwrap();
    let mut outer = vec![1.0; n * k];
    ops.add_outer_product(&gradient, columns, &input, 0.5, (&mut outer, 0)).unwrap();
    [forward.values().to_vec(), product.values().to_vec(), transposed.values().to_vec(), outer]
}

proptest! {
    /// Each product is the sum of the rounded numbers, in f32; the number of threads changes nothing, bit for bit.
    #[test]
    fn products_are_those_of_rounded_numbers(
        (t, n, k) in shape(),
        first in 0..20usize,
        halves in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut state = seed;
        // The gradient has columns before and behind those that are used.
        let wide = n + first + 3;
        let (g, x) = (random(&mut state, t * wide), random(&mut state, t * k));
        let m = random(&mut state, n * k);
        for factors in available() {
            let mut seen = Vec::new();
            for ops in [Cpu::serial(), Cpu::parallel()] {
                let held = if halves { Products::Halves } else { Products::F32 };
                let ops = ops.with_products(held).with_factors(factors);
                // Half of the matrix, as the other products are halved; bf16 has the same bits of both.
                let values: Vec<f32> = m.iter().map(|x| 0.5 * x).collect();
                let weight = Weight::Dense(vec![Matrix { values: values.into(), rows: n, columns: k }]);
                let linear = ops.load_linear(LinearWeights { weight, bias: None }).unwrap();
                let case = Case { wide, gradient: g.clone(), input: x.clone(), matrix: m.clone(), linear };
                let got = products(&ops, &case, first, (t, n, k));
                let [forward, product, transposed, outer] = &got;
                for i in 0..t {
                    for j in 0..n {
                        let terms: Vec<_> = (0..k).map(|c| (x[i * k + c], m[j * k + c])).collect();
                        close(forward[i * n + j], &terms)?;
                        close(product[i * wide + first + j], &terms)?;
                    }
                    for j in (0..first).chain(first + n..wide) {
                        close(product[i * wide + j], &[])?;
                    }
                    for c in 0..k {
                        let terms: Vec<_> = (0..n).map(|j| (g[i * wide + first + j], m[j * k + c])).collect();
                        close(transposed[i * k + c], &terms)?;
                    }
                }
                for j in 0..n {
                    for c in 0..k {
                        let terms: Vec<_> = (0..t).map(|i| (g[i * wide + first + j], x[i * k + c])).collect();
                        close(outer[j * k + c], &terms)?;
                    }
                }
                seen.push(got);
            }
            prop_assert!(seen[0] == seen[1], "{factors:?}");
        }
    }

    /// A row of a product depends on its row of A alone, bit for bit.
    #[test]
    fn rows_do_not_depend_on_their_mates((t, n, k) in shape(), seed in any::<u64>()) {
        let mut state = seed;
        let (x, m) = (random(&mut state, t * k), random(&mut state, n * k));
        let mut packed = PackedMatrix::default();
        packed.refill(n, k, |row, column| m[row * k + column]);
        for factors in available() {
            let ops = Cpu::serial().with_factors(factors);
            let product = |rows: &[f32]| {
                let mut out = ops.zeros(rows.len() / k, n);
                ops.add_product(&ops.upload(rows, k).unwrap(), &packed, 1.0, &mut out, 0..n).unwrap();
                out.values().to_vec()
            };
            let (all, last) = (product(&x), product(&x[(t - 1) * k..]));
            prop_assert_eq!(&all[(t - 1) * n..], &last[..], "{:?}", factors);
        }
    }
}

/// Where a number lies is not a matter of chance: each sum is one product that no other place has.
#[test]
fn every_number_is_multiplied_where_it_belongs() {
    let (t, n, k) = (49, 50, 67);
    for factors in available() {
        let ops = Cpu::serial().with_factors(factors);
        let mut packed = PackedMatrix::default();
        packed.refill(n, k, |row, column| if column == row { 1.0 } else { 0.0 });
        let x: Vec<f32> = (0..t * k).map(|i| (i % k + 4 * (i / k)) as f32).collect();
        let mut out = ops.zeros(t, n);
        ops.add_product(&ops.upload(&x, k).unwrap(), &packed, 1.0, &mut out, 0..n).unwrap();
        // Up to 256 every integer is a bf16.
        let want: Vec<f32> = (0..t * n).map(|i| rounded((i % n + 4 * (i / n)) as f32)).collect();
        assert_eq!(out.values(), want, "{factors:?}");
    }
}

/// What was rounded of a matrix is forgotten with it.
#[test]
fn another_matrix_is_rounded_anew() {
    let (t, n, k) = (5, 40, 50);
    let mut state = 7;
    let [x, g] = [random(&mut state, t * k), random(&mut state, t * n)];
    let matrices = [random(&mut state, n * k), random(&mut state, n * k)];
    for factors in available() {
        let ops = Cpu::serial().with_factors(factors);
        let load = |values: &[f32]| {
            let matrix = Matrix { values: values.to_vec().into(), rows: n, columns: k };
            ops.load_linear(LinearWeights { weight: Weight::Dense(vec![matrix]), bias: None }).unwrap()
        };
        let both_ways = |linear: &PackedLinear| {
            let forward = ops.linear(&ops.upload(&x, k).unwrap(), linear).unwrap();
            let back = ops.input_gradient(&ops.upload(&g, n).unwrap(), linear, None).unwrap();
            // What it is added to has the same sums added to it.
            let sum =
                ops.input_gradient(&ops.upload(&g, n).unwrap(), linear, Some(ops.upload(&x, k).unwrap()));
            let added = back.values().iter().zip(&x).map(|(back, x)| x + back);
            assert_eq!(sum.unwrap().values(), added.collect::<Vec<f32>>(), "{factors:?}");
            [forward.values().to_vec(), back.values().to_vec()]
        };
        let mut linear = load(&matrices[0]);
        let before = both_ways(&linear);
        assert_eq!(both_ways(&linear), before, "{factors:?}");
        let rows: Vec<&[f32]> = matrices[1].chunks(k).collect();
        linear.refill(&rows, &vec![0.0; n]);
        let after = both_ways(&linear);
        assert_ne!(after, before);
        assert_eq!(after, both_ways(&load(&matrices[1])), "{factors:?}");
    }
}
