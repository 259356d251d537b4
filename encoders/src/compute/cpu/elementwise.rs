//! The loops between the matrix products: exponential, activations, softmax.
//!
//! Sums over a row run in [`LANES`] partial sums, added in a fixed order, so that a row's result depends on the row
//! alone.

use super::isa::Arithmetic;
use crate::architecture::Activation;

/// Partial sums of a reduction.
const LANES: usize = 16;

/// e^x with a relative error under 3e-7 for x in [-87, 88]; smaller x give 0 to within 1.2e-38, larger ones e^88.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7 (remainder under 6e-9), 2^n by its
/// bits.
#[inline(always)]
pub(crate) fn exp<A: Arithmetic>(x: f32) -> f32 {
    /// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: the first has 9 bits, so that n times it is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = A::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = A::mul_add(n, -LN2_LOW, A::mul_add(n, -LN2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = A::mul_add(p, r, c);
    }
    let exponent = (shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23;
    p * f32::from_bits(exponent)
}

/// The error function with an absolute error under 4e-7, by a rational function: `scripts/fit_erf.py` gives the
/// coefficients and the error. Beyond the fitted interval erf is 1 to within the same error.
#[allow(
    clippy::approx_constant,
    reason = "the last coefficient is fitted; it is not meant to be 2 / sqrt(pi)"
)]
#[inline(always)]
fn erf<A: Arithmetic>(x: f32) -> f32 {
    let x = x.clamp(-3.92, 3.92);
    let t = x * x;
    let mut p = 1.992_421_3e-8;
    for c in [-1.957_826e-6, 1.418_488_4e-4, 3.701_548_6e-3, 5.057_314e-2, 0.199_923_13, 1.128_379_1] {
        p = A::mul_add(p, t, c);
    }
    let mut q = 9.560_237_5e-4;
    for c in [1.435_308_2e-2, 0.114_997_83, 0.510_508_9, 1.0] {
        q = A::mul_add(q, t, c);
    }
    x * p / q
}

/// tanh(x) = 1 - 2 / (e^2x + 1).
#[inline(always)]
pub(crate) fn tanh<A: Arithmetic>(x: f32) -> f32 {
    1.0 - 2.0 / (exp::<A>(2.0 * x) + 1.0)
}

/// x times the normal distribution function (Hendrycks & Gimpel 2016).
#[inline(always)]
fn gelu<A: Arithmetic>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<A>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// GELU with an absolute error under 1e-4 + 1e-6 |x|, without a division: half as long as [`gelu`]. The distribution
/// function is 1/2 and an odd polynomial, 0 and 1 beyond the fitted interval; `scripts/fit_gelu.py` gives the
/// coefficients and the error.
#[allow(clippy::manual_clamp, reason = "`clamp` is not compiled to vectors here")]
#[inline(always)]
fn rough_gelu<A: Arithmetic>(x: f32) -> f32 {
    const LIMIT: f32 = 4.2;
    let y = x.max(-LIMIT).min(LIMIT);
    let t = y * y;
    let mut p = -9.017_522_3e-10;
    for c in [
        7.941_332_6e-8,
        -3.037_929_5e-6,
        6.689_066_5e-5,
        -9.506_572_4e-4,
        9.298_228e-3,
        -0.065_528_2,
        0.398_465_87,
    ] {
        p = A::mul_add(p, t, c);
    }
    x * A::mul_add(y, p, 0.5)
}

#[inline(always)]
fn gelu_tanh<A: Arithmetic>(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh::<A>(0.797_884_6 * A::mul_add(0.044_715 * x * x, x, x)))
}

impl Activation {
    /// The activation of each value, in place.
    #[inline(always)]
    pub(crate) fn apply<A: Arithmetic>(self, values: &mut [f32]) {
        self.apply_as::<A>(Exactness::Full, values);
    }

    /// The same, as exact as it has to be. The choice is made outside the loops, or they are not vectorized.
    #[inline(always)]
    pub(crate) fn apply_as<A: Arithmetic>(self, exactness: Exactness, values: &mut [f32]) {
        match self {
            Activation::Gelu if exactness == Exactness::OfCodes => {
                for x in values {
                    *x = rough_gelu::<A>(*x);
                }
            }
            Activation::Gelu => {
                for x in values {
                    *x = gelu::<A>(*x);
                }
            }
            Activation::GeluTanh => {
                for x in values {
                    *x = gelu_tanh::<A>(*x);
                }
            }
            Activation::Silu => {
                for x in values {
                    *x /= 1.0 + exp::<A>(-*x);
                }
            }
            Activation::Relu => {
                for x in values {
                    *x = x.max(0.0);
                }
            }
            Activation::Tanh => {
                for x in values {
                    *x = tanh::<A>(*x);
                }
            }
        }
    }
}

/// How exact an activation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exactness {
    /// As exact as f32 allows.
    Full,
    /// As exact as codes of 8 bits need it: the error is about a hundredth of a step, if the largest number is 1.
    OfCodes,
}

/// The derivative of an activation at each value, in place.
#[inline(always)]
pub(crate) fn derivative<A: Arithmetic>(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Gelu => {
            for x in values {
                // The distribution function and x times the density.
                let density = 0.398_942_3 * exp::<A>(-0.5 * *x * *x);
                *x = A::mul_add(*x, density, 0.5 * (1.0 + erf::<A>(*x * std::f32::consts::FRAC_1_SQRT_2)));
            }
        }
        Activation::GeluTanh => {
            for x in values {
                let square = *x * *x;
                let t = tanh::<A>(0.797_884_6 * A::mul_add(0.044_715 * square, *x, *x));
                let inner = 0.797_884_6 * A::mul_add(0.134_145, square, 1.0);
                *x = 0.5 * (1.0 + t) + 0.5 * *x * (1.0 - t * t) * inner;
            }
        }
        Activation::Silu => {
            for x in values {
                let s = 1.0 / (1.0 + exp::<A>(-*x));
                *x = s * A::mul_add(*x, 1.0 - s, 1.0);
            }
        }
        Activation::Relu => {
            for x in values {
                *x = if *x > 0.0 { 1.0 } else { 0.0 };
            }
        }
        Activation::Tanh => {
            for x in values {
                let t = tanh::<A>(*x);
                *x = 1.0 - t * t;
            }
        }
    }
}

/// Sum of `term(x)` over a row.
#[inline(always)]
pub(crate) fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut partial = [0.0f32; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            partial[lane] += term(chunk[lane]);
        }
    }
    for (lane, x) in chunks.remainder().iter().enumerate() {
        partial[lane] += term(*x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            partial[lane] += partial[lane + width];
        }
        width /= 2;
    }
    partial[0]
}

/// Softmax of a row, in place: e^(x - max) / sum.
#[inline(always)]
pub(crate) fn softmax_row<A: Arithmetic>(row: &mut [f32]) {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            largest[lane] = largest[lane].max(chunk[lane]);
        }
    }
    let max = chunks.remainder().iter().chain(&largest).fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    for x in row.iter_mut() {
        *x = exp::<A>(*x - max);
    }
    let scale = 1.0 / sum(row, |x| x);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Isa, Kernel};
    use super::*;
    use proptest::prelude::*;

    /// erf to 1e-12 by its Maclaurin series, which converges everywhere and is accurate enough in f64 for |x| < 4.
    fn erf_reference(x: f64) -> f64 {
        if x.abs() > 4.0 {
            return x.signum();
        }
        let (mut term, mut total) = (x, x);
        for n in 1..120 {
            term *= -x * x / f64::from(n);
            total += term / f64::from(2 * n + 1);
        }
        total * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn grid() -> Vec<f32> {
        (-87_000..=88_000).map(|i| i as f32 / 1000.0).collect()
    }

    struct Exp<'a>(&'a [f32]);
    impl Kernel for Exp<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<A: Arithmetic>(self) -> Vec<f32> {
            self.0.iter().map(|x| exp::<A>(*x)).collect()
        }
    }

    #[test]
    fn exp_keeps_its_stated_error() {
        let grid = grid();
        for isa in Isa::available() {
            for (x, got) in grid.iter().zip(isa.dispatch(Exp(&grid))) {
                let want = f64::from(*x).exp();
                assert!((f64::from(got) / want - 1.0).abs() < 3e-7, "{isa:?}: exp({x}) = {got}, not {want}");
            }
        }
        assert_eq!(isa_exp(f32::NEG_INFINITY), isa_exp(-87.0));
    }

    fn isa_exp(x: f32) -> f32 {
        Isa::detect().dispatch(Exp(&[x]))[0]
    }

    struct Act<'a>(&'a [f32], Activation);
    impl Kernel for Act<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<A: Arithmetic>(self) -> Vec<f32> {
            let mut values = self.0.to_vec();
            self.1.apply::<A>(&mut values);
            values
        }
    }

    type Definition = fn(f64) -> f64;
    const DEFINITIONS: [(Activation, Definition); 5] = [
        (Activation::Gelu, |x| 0.5 * x * (1.0 + erf_reference(x * std::f64::consts::FRAC_1_SQRT_2))),
        (Activation::GeluTanh, |x| {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }),
        (Activation::Silu, |x| x / (1.0 + (-x).exp())),
        (Activation::Relu, |x| x.max(0.0)),
        (Activation::Tanh, f64::tanh),
    ];

    #[test]
    fn activations_are_their_definitions() {
        let grid: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 / 1000.0).collect();
        for (activation, definition) in DEFINITIONS {
            for isa in Isa::available() {
                for (x, got) in grid.iter().zip(isa.dispatch(Act(&grid, activation))) {
                    let want = definition(f64::from(*x));
                    // erf and tanh have absolute errors under 4e-7; half of it times |x|, then rounding.
                    let factor = if activation == Activation::Tanh { 1.0 } else { f64::from(x.abs()) };
                    let bound = 2.5e-7 * factor + 2e-7 * want.abs();
                    assert!(
                        (f64::from(got) - want).abs() <= bound,
                        "{isa:?} {activation:?}({x}) = {got}, not {want}"
                    );
                }
            }
        }
    }

    struct Rough<'a>(&'a [f32]);
    impl Kernel for Rough<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<A: Arithmetic>(self) -> Vec<f32> {
            let mut values = self.0.to_vec();
            Activation::Gelu.apply_as::<A>(Exactness::OfCodes, &mut values);
            values
        }
    }

    #[test]
    fn rough_gelu_keeps_its_stated_error() {
        let grid: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 / 1000.0).chain([-1e4, 1e4]).collect();
        for isa in Isa::available() {
            for (x, got) in grid.iter().zip(isa.dispatch(Rough(&grid))) {
                let x = f64::from(*x);
                let want = 0.5 * x * (1.0 + erf_reference(x * std::f64::consts::FRAC_1_SQRT_2));
                assert!(
                    (f64::from(got) - want).abs() < 1e-4 + 1e-6 * x.abs(),
                    "{isa:?}: {x} gives {got}, not {want}"
                );
            }
        }
    }

    struct Slope<'a>(&'a [f32], Activation);
    impl Kernel for Slope<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<A: Arithmetic>(self) -> Vec<f32> {
            let mut values = self.0.to_vec();
            derivative::<A>(self.1, &mut values);
            values
        }
    }

    /// Against central differences of the definitions in f64: h = 1e-4 leaves h^2 f''' / 6 < 1e-8.
    #[test]
    fn derivatives_are_those_of_the_definitions() {
        let grid: Vec<f32> = (-800..800).map(|i| (i as f32 + 0.5) / 100.0).collect();
        for (activation, definition) in DEFINITIONS {
            for isa in Isa::available() {
                for (x, got) in grid.iter().zip(isa.dispatch(Slope(&grid, activation))) {
                    let (x, h) = (f64::from(*x), 1e-4);
                    // erf itself is cut at 4 in the reference.
                    if activation == Activation::Gelu && x.abs() > 5.6 {
                        continue;
                    }
                    let want = (definition(x + h) - definition(x - h)) / (2.0 * h);
                    // The functions' own 4e-7, a few roundings of numbers up to 8.
                    let error = (f64::from(got) - want).abs();
                    assert!(error < 3e-6, "{isa:?} {activation:?}'({x}) = {got}, not {want}");
                }
            }
        }
    }

    struct Softmax<'a>(&'a mut [f32]);
    impl Kernel for Softmax<'_> {
        type Output = ();
        #[inline(always)]
        fn run<A: Arithmetic>(self) {
            softmax_row::<A>(self.0);
        }
    }

    proptest! {
        #[test]
        fn softmax_is_its_definition(row in prop::collection::vec(-20.0f32..20.0, 1..100)) {
            let wide: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            let max = wide.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = wide.iter().map(|x| (x - max).exp()).sum();
            for isa in Isa::available() {
                let mut soft = row.clone();
                isa.dispatch(Softmax(&mut soft));
                for (got, x) in soft.iter().zip(&wide) {
                    // exp's 3e-7 twice and the sum's rounding.
                    prop_assert!((f64::from(*got) - (x - max).exp() / total).abs() < 2e-6);
                }
            }
        }
    }
}
