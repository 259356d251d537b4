//! All units against each other and against the product of the numbers themselves.

use proptest::prelude::*;

use super::super::gemm::Scaled;
use super::super::isa::{Isa, PANEL};
use super::quantize::Tiles;
use super::*;

/// A (m, depth) times B (n, depth).
fn product(
    isa: Isa,
    units: Units,
    a: &[f32],
    b: &[f32],
    [m, n, depth]: [usize; 3],
    first: usize,
) -> Vec<f32> {
    let row = |row: usize| Some(Row::Numbers(&b[row * depth..(row + 1) * depth]));
    multiplied(isa, &Int8Panels::pack(n, depth, units, row), a, [m, n, depth], first)
}

/// The same with a matrix that is packed.
fn multiplied(isa: Isa, b: &Int8Panels, a: &[f32], [m, n, depth]: [usize; 3], first: usize) -> Vec<f32> {
    let mut codes = QuantizedRows::default();
    isa.dispatch(Quantize { a, depth, units: b.units(), out: &mut codes });
    let panels = first..n.div_ceil(PANEL);
    let columns = n - first * PANEL;
    let mut c = vec![f32::NAN; m * columns];
    let mut out: Vec<&mut [f32]> = c.chunks_exact_mut(columns).collect();
    isa.dispatch(Int8Gemm { a: &codes, b, panels, epilogue: Scaled(1.0), out: &mut out });
    c
}

/// Numbers of a group and what is lost of each: half a code, and a rounding of the code's product.
fn error(group: &[f32]) -> f64 {
    let largest = group.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    largest / 127.0 * 0.5001
}

/// Shapes of one and of several tiles, panels and groups, whole and cut, and numbers of all sizes.
fn case() -> impl Strategy<Value = ([usize; 3], Vec<f32>, Vec<f32>)> {
    let depth = prop_oneof![1..40usize, 120..140usize, Just(256), Just(300)];
    (1..40usize, 1..70usize, depth).prop_flat_map(|(m, n, depth)| {
        let number = prop_oneof![8 => -1.0f32..1.0, 1 => -1e3f32..1e3, 1 => Just(0.0f32)];
        let values = move |len| prop::collection::vec(number.clone(), len);
        (Just([m, n, depth]), values(m * depth), values(n * depth))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every product is that of the numbers but for what quantizing loses. Let |a - a'| <= e and |b - b'| <= f. Then
    /// a b differs from a' b' by at most |a| f + |b| e + e f. Rounding in f32 adds 2^-24 of a sum for each group.
    #[test]
    fn products_are_those_of_the_numbers((shape, a, b) in case()) {
        let [m, n, depth] = shape;
        for isa in Isa::available() {
            for units in Units::available() {
                let got = product(isa, units, &a, &b, shape, 0);
                for i in 0..m {
                    for j in 0..n {
                        let (a, b) = (&a[i * depth..(i + 1) * depth], &b[j * depth..(j + 1) * depth]);
                        let (mut want, mut bound) = (0.0, 0.0);
                        for (a, b) in a.chunks(GROUP).zip(b.chunks(GROUP)) {
                            let (e, f) = (error(a), error(b));
                            for (a, b) in a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b))) {
                                want += a * b;
                                bound += a.abs() * f + b.abs() * e + e * f + 1e-6 * (a * b).abs();
                            }
                        }
                        let got = f64::from(got[i * n + j]);
                        prop_assert!((got - want).abs() <= bound + 1e-20, "{isa:?} {units:?}: {got} against {want}, {bound}");
                    }
                }
            }
        }
    }

    /// Sums of codes are exact, so units that fuse give the same bits; a part of the panels does, too.
    #[test]
    fn units_give_the_same_bits((shape, a, b) in case()) {
        let [m, n, depth] = shape;
        for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::Portable) {
            let want = product(isa, Units::Portable, &a, &b, shape, 0);
            for units in Units::available() {
                prop_assert_eq!(&product(isa, units, &a, &b, shape, 0), &want, "{:?} {:?}", isa, units);
                if n > WIDE * PANEL {
                    let part = product(isa, units, &a, &b, shape, WIDE);
                    let from = WIDE * PANEL;
                    for (part, whole) in part.chunks_exact(n - from).zip(want.chunks_exact(n)) {
                        prop_assert_eq!(part, &whole[from..]);
                    }
                }
                // A row by itself, which is another tile.
                let alone = product(isa, units, &a[(m - 1) * depth..], &b, [1, n, depth], 0);
                prop_assert_eq!(&alone, &want[(m - 1) * n..]);
            }
        }
    }

    /// Codes of a file are multiplied as those that are made at load are, whatever numbers they are given for.
    #[test]
    fn codes_of_a_file_give_the_same_bits((shape, a, b) in case()) {
        let [m, n, depth] = shape;
        let (stored, scales) = quantize_rows(&b, depth);
        let groups = depth.div_ceil(GROUP);
        let stored = |row: usize| {
            Some(Row::Codes(&stored[row * depth..(row + 1) * depth], &scales[row * groups..(row + 1) * groups]))
        };
        let isa = Isa::detect();
        for units in Units::available() {
            let packed = Int8Panels::pack(n, depth, units, stored);
            let want = product(isa, units, &a, &b, shape, 0);
            prop_assert_eq!(multiplied(isa, &packed, &a, [m, n, depth], 0), want, "{:?}", units);
        }
    }

    /// Every row is in one tile, and tiles differ by one row at most.
    #[test]
    fn tiles_cover_the_rows(rows in 0..500usize, tallest in 1..20usize) {
        let tiles = Tiles::new(rows, tallest);
        let mut next = 0;
        for tile in 0..tiles.count {
            let (first, height) = tiles.get(tile);
            prop_assert!(first == next && height <= tallest && height + 1 >= rows.div_ceil(tiles.count));
            next += height;
        }
        prop_assert_eq!(next, rows);
    }

    /// An outlier costs precision in its own group alone: where its weights are zeros, it changes no bit of a product.
    #[test]
    fn outliers_cost_their_own_group((shape, a, b) in case(), column in 0..300usize, outlier in 1e4f32..1e6) {
        let depth = shape[2];
        let column = column % depth;
        let first = column / GROUP * GROUP;
        let (mut with, mut b) = (a.clone(), b);
        b.chunks_exact_mut(depth).for_each(|row| row[first..(first + GROUP).min(depth)].fill(0.0));
        with.chunks_exact_mut(depth).for_each(|row| row[column] = outlier);
        for units in Units::available() {
            let want = product(Isa::detect(), units, &a, &b, shape, 0);
            prop_assert_eq!(&product(Isa::detect(), units, &with, &b, shape, 0), &want, "{:?}", units);
        }
    }
}

/// What is not finite is not hidden by codes; what is too small to be divided by is zero.
#[test]
fn numbers_that_are_not_finite_stay_so() {
    let depth = GROUP + 9;
    for isa in Isa::available() {
        for units in Units::available() {
            for place in [0, 17, GROUP + 8] {
                for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut a = vec![0.5; 2 * depth];
                    a[place] = odd;
                    let got = product(isa, units, &a, &vec![1.0; depth], [2, 1, depth], 0);
                    assert!(!got[0].is_finite() && got[1].is_finite(), "{isa:?} {units:?} {odd}: {got:?}");
                }
            }
            let tiny = product(isa, units, &vec![1e-39; depth], &vec![1.0; depth], [1, 1, depth], 0);
            assert_eq!(tiny, [0.0]);
        }
    }
}
