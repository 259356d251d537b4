//! Products against their definition, and ways of packing against each other.

use super::super::isa::Isa;
use super::*;
use proptest::prelude::*;

/// The product by its definition, in f64.
fn naive(a: &[f32], b: &[f32], m: usize, n: usize, depth: usize) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] =
                (0..depth).map(|k| f64::from(a[i * depth + k]) * f64::from(b[j * depth + k])).sum();
        }
    }
    c
}

fn packed(b: &[f32], rows: usize, depth: usize) -> PackedMatrix {
    let mut packed = PackedMatrix::default();
    packed.refill(rows, depth, |row, k| b[row * depth + k]);
    packed
}

fn product(isa: Isa, a: &[f32], b: &[f32], m: usize, n: usize, depth: usize) -> Vec<f32> {
    let packed = packed(b, n, depth);
    let mut c = vec![f32::NAN; m * n];
    let mut rows: Vec<&mut [f32]> = c.chunks_exact_mut(n).collect();
    isa.dispatch(Gemm {
        a,
        stride: depth,
        b: &packed,
        panels: 0..packed.num_panels(),
        depth: 0..depth,
        epilogue: Scaled(1.0),
        out: &mut rows,
        tiles: None,
        scratch: &mut Vec::new(),
    });
    c
}

fn shape() -> impl Strategy<Value = (usize, usize, usize, Vec<f32>, Vec<f32>)> {
    // Of 16, 32 and 48 numbers rows are turned in whole blocks.
    let depth = prop_oneof![3 => 1..50usize, 1 => (1..4usize).prop_map(|blocks| blocks * PANEL)];
    (1..40usize, 1..70usize, depth).prop_flat_map(|(m, n, k)| {
        let values = |len| prop::collection::vec(-1.0f32..1.0, len);
        (Just(m), Just(n), Just(k), values(m * k), values(n * k))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Dividing K and the panels changes no bit: each sum is one chain over k, rounded once or twice a step.
    #[test]
    fn sums_are_one_chain((m, n, seed) in (1..110usize, 1..300usize, any::<u32>()), depth in prop_oneof![300..1200usize, Just(384), Just(385), Just(768)]) {
        let mut state = u64::from(seed);
        let mut values = |len: usize| -> Vec<f32> {
            (0..len).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            }).collect()
        };
        let (a, b) = (values(m * depth), values(n * depth));
        let chain = |step: fn(f32, f32, f32) -> f32, i: usize, j: usize| {
            let pairs = a[i * depth..(i + 1) * depth].iter().zip(&b[j * depth..(j + 1) * depth]);
            pairs.fold(0.0, |sum, (a, b)| step(*a, *b, sum))
        };
        for isa in Isa::available() {
            let got = product(isa, &a, &b, m, n, depth);
            // All tiles, panels and lanes, but not all pairs of them.
            let some = (0..m).flat_map(|i| (i % 7..n).step_by(7).map(move |j| (i, j)));
            let differ = |step| some.clone().find(|(i, j)| got[i * n + j] != chain(step, *i, *j));
            let (once, twice) = (differ(f32::mul_add), differ(|a, b, sum| a * b + sum));
            prop_assert!(once.is_none() || twice.is_none(), "{isa:?}: {once:?}, {twice:?}");
        }
    }
}

proptest! {
    /// |error| <= K u / (1 - K u) * sum |a||b| with u = 2^-24 (Higham 2002, eq. 3.5), and |a||b| <= 1 here.
    #[test]
    fn product_is_the_definition((m, n, depth, a, b) in shape()) {
        let bound = depth as f64 * depth as f64 * f64::from(f32::EPSILON);
        for isa in Isa::available() {
            for (got, want) in product(isa, &a, &b, m, n, depth).iter().zip(naive(&a, &b, m, n, depth)) {
                prop_assert!((f64::from(*got) - want).abs() <= bound, "{isa:?}: {got} against {want}");
            }
        }
    }

    /// Any window of a transpose is that window of the transposed matrix, packed.
    #[test]
    fn transposes_are_packed_alike((_, n, depth, _, b) in shape(), from in 0..4usize, num in 1..4usize) {
        let matrix = packed(&b, n, depth);
        let mut whole = PackedMatrix::default();
        whole.refill(depth, n, |row, k| b[k * depth + row]);
        let end = whole.num_panels();
        let window = from.min(end - 1)..(from + num).min(end).max(from.min(end - 1) + 1);
        let mut got = packed(&[7.0; 12], 4, 3);
        got.refill_transposed(&matrix, window.clone());
        for p in window {
            prop_assert_eq!(got.panel(p), whole.panel(p));
        }
    }

    /// So are the columns of a matrix, and the tiles of a transpose.
    #[test]
    fn columns_are_packed_alike((m, n, depth, a, b) in shape()) {
        let turned = |values: &[f32], rows: usize| -> Vec<f32> {
            (0..rows * depth).map(|i| values[i % rows * depth + i / rows]).collect()
        };
        let want = packed(&b, n, depth);
        let mut got = packed(&[7.0; 12], 4, 3);
        got.refill_columns(&turned(&b, n), n, n);
        prop_assert_eq!(got.all_panels(), want.all_panels());
        // Of an array with more columns; and rows as they are.
        let wider: Vec<f32> = turned(&b, n).chunks(n).flat_map(|row| row.iter().copied().chain([7.0; 2])).collect();
        got.refill_columns(&wider, n + 2, n);
        prop_assert_eq!(got.all_panels(), want.all_panels());
        let longer: Vec<f32> = b.chunks(depth).flat_map(|row| row.iter().copied().chain([7.0; 3])).collect();
        got.refill_strided(&longer, depth + 3, depth);
        prop_assert_eq!(got.all_panels(), want.all_panels());
        let rows: Vec<&[f32]> = b.chunks(depth).collect();
        got.refill(1, 1, |_, _| 7.0);
        got.refill_rows(&rows, depth);
        prop_assert_eq!(got.all_panels(), want.all_panels());
        for isa in Isa::available() {
            let (mut want, mut got) = (vec![7.0; m * depth], vec![7.0; 3]);
            isa.dispatch(PackTiles { a: &a, stride: depth, depth, out: &mut want });
            isa.dispatch(PackTransposedTiles { a: &turned(&a, m), stride: m, columns: 0..m, out: &mut got });
            prop_assert_eq!(&got, &want);
            let part = m / 3..m;
            want.truncate(part.len() * depth);
            isa.dispatch(PackTiles { a: &a[part.start * depth..], stride: depth, depth, out: &mut want });
            // Rows with more numbers, which are left out.
            let longer: Vec<f32> = a.chunks(depth).flat_map(|row| row.iter().copied().chain([7.0; 3])).collect();
            let mut of_longer = vec![7.0; want.len()];
            let rows = &longer[part.start * (depth + 3)..];
            isa.dispatch(PackTiles { a: rows, stride: depth + 3, depth, out: &mut of_longer });
            prop_assert_eq!(&of_longer, &want);
            isa.dispatch(PackTransposedTiles { a: &turned(&a, m), stride: m, columns: part, out: &mut got });
            prop_assert_eq!(&got, &want);
        }
    }

    /// A row of the product depends on its row of A alone, bit for bit.
    #[test]
    fn rows_do_not_see_each_other((m, n, depth, a, b) in shape()) {
        for isa in Isa::available() {
            let together = product(isa, &a, &b, m, n, depth);
            for i in 0..m {
                let alone = product(isa, &a[i * depth..(i + 1) * depth], &b, 1, n, depth);
                prop_assert_eq!(&together[i * n..(i + 1) * n], &alone[..]);
            }
        }
    }
}
