//! Products of one vector of 16-bit integers with many of 8-bit integers: with rows that lie anywhere, or with all of
//! them.
//!
//! Integers are added up exactly, so every instruction set gives the same sums. So graphs and 8-bit codes are the
//! same, byte for byte, on every machine.

/// Components come in blocks of this many; vectors are filled up with zeros. A row of bytes then begins at a cache
/// line.
pub(crate) const BLOCK: usize = 64;

/// The largest magnitude of an 8-bit component.
pub(crate) const MAX_CODE: i32 = 127;

/// The largest magnitude of a 16-bit component for which no sum of D products overflows 32 bits.
pub(crate) fn max_component(dim: usize) -> f32 {
    let limit = i32::MAX as usize / (MAX_CODE as usize * dim.max(1));
    limit.min(i16::MAX as usize) as f32
}

/// Rows that are compared at the same time where all are.
pub(crate) const STREAMS: usize = 4;

/// How far ahead a stream's cache lines are prefetched, in bytes. On a Zen 5, rows of 384 to 4,096 bytes (38 MB, of
/// which 32 fit the cache) then come at 60 GB/s. With the hardware's prefetching alone they come at 40 to 50.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// Query, codes, rows, sums: see [`Int8Kernel::dots`].
type Dots = fn(&[i16], &[i8], &[u32], &mut [i32]);

/// Query, codes, sums: see [`Int8Kernel::scan`].
type Scan = fn(&[i16], [&[i8]; STREAMS], [&mut [i32]; STREAMS]);

/// The functions of one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Int8Kernel {
    dots: Dots,
    scan: Scan,
}

impl Int8Kernel {
    /// The fastest that this machine can run.
    pub fn detect() -> Int8Kernel {
        available().pop().unwrap_or(PORTABLE)
    }

    /// Multiplies a query, (S) with S a multiple of [`BLOCK`], with the rows of `codes`, (N, S) row-major, that `rows`
    /// names; writes as many sums. No row may be beyond the last one.
    #[inline]
    pub fn dots(&self, query: &[i16], codes: &[i8], rows: &[u32], sums: &mut [i32]) {
        debug_assert!(query.len().is_multiple_of(BLOCK));
        (self.dots)(query, codes, rows, sums);
    }

    /// Multiplies a query, (S) with S a multiple of [`BLOCK`], with all rows of several pieces of codes, (N, S)
    /// row-major each. Writes N sums for each piece.
    #[inline]
    pub fn scan(&self, query: &[i16], codes: [&[i8]; STREAMS], sums: [&mut [i32]; STREAMS]) {
        debug_assert!(query.len().is_multiple_of(BLOCK));
        (self.scan)(query, codes, sums);
    }
}

/// On any machine; what the others must equal.
const PORTABLE: Int8Kernel = Int8Kernel {
    dots: |query, codes, rows, sums| dots(query, codes, rows, sums, portable),
    scan: |query, codes, sums| scan_by_rows(query, codes, sums, portable),
};

fn portable(query: &[i16], row: &[i8]) -> i32 {
    query.iter().zip(row).map(|(q, v)| i32::from(*q) * i32::from(*v)).sum()
}

/// [`Int8Kernel::dots`] by the product of two vectors.
#[inline(always)]
fn dots(query: &[i16], codes: &[i8], rows: &[u32], sums: &mut [i32], dot: impl Fn(&[i16], &[i8]) -> i32) {
    let stride = query.len();
    for (row, sum) in rows.iter().zip(sums) {
        *sum = dot(query, &codes[*row as usize * stride..][..stride]);
    }
}

/// [`Int8Kernel::scan`] by the product of two vectors.
#[inline(always)]
fn scan_by_rows(
    query: &[i16],
    codes: [&[i8]; STREAMS],
    sums: [&mut [i32]; STREAMS],
    dot: impl Fn(&[i16], &[i8]) -> i32,
) {
    for (codes, sums) in codes.into_iter().zip(sums) {
        let rows = codes.chunks_exact(query.len());
        rows.zip(sums).for_each(|(row, sum)| *sum = dot(query, row));
    }
}

/// A module with the functions of one x86-64 instruction set, whose registers hold `$lanes` products of 16 bits.
/// `$step` adds the products of a register of components with one of the query to a register of sums.
#[cfg(target_arch = "x86_64")]
macro_rules! instruction_set {
    (
        $name:ident, $lanes:literal, $features:literal, $widen:ident, $add:ident, $zero:ident,
        |$sum:ident, $v:ident, $q:ident| $step:expr
    ) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{AHEAD, BLOCK, Int8Kernel, STREAMS};

            const L: usize = $lanes;

            /// Multiplies a query with R rows. Each row has P sums, because each addition has to wait for the one
            /// before it.
            #[target_feature(enable = $features)]
            #[inline]
            fn multiply<const R: usize, const P: usize, const PREFETCH: bool>(
                query: &[i16],
                rows: [&[i8]; R],
            ) -> [i32; R] {
                let query = query.as_chunks::<BLOCK>().0;
                let rows = rows.map(|row| &row.as_chunks::<BLOCK>().0[..query.len()]);
                let mut partial = [[$zero(); P]; R];
                for (number, q) in query.iter().enumerate() {
                    let q: &[[i16; L]] = q.as_chunks().0;
                    for (row, partial) in rows.iter().zip(&mut partial) {
                        let v = &row[number];
                        if PREFETCH {
                            // A prefetch reads nothing that the program can see, wherever it points.
                            _mm_prefetch::<_MM_HINT_T0>(v.as_ptr().wrapping_add(AHEAD));
                        }
                        for (lane, (q, v)) in q.iter().zip(v.as_chunks::<L>().0).enumerate() {
                            let ($v, $q) = ($widen(bytemuck::cast(*v)), bytemuck::cast(*q));
                            let $sum = partial[lane % P];
                            partial[lane % P] = $step;
                        }
                    }
                }
                partial.map(|partial| {
                    let total = partial.into_iter().reduce(|a, b| $add(a, b)).unwrap_or($zero());
                    bytemuck::cast::<_, [i32; L / 2]>(total).into_iter().sum()
                })
            }

            #[target_feature(enable = $features)]
            fn dots(query: &[i16], codes: &[i8], rows: &[u32], sums: &mut [i32]) {
                let stride = query.len();
                for (row, sum) in rows.iter().zip(sums) {
                    let row = &codes[*row as usize * stride..][..stride];
                    [*sum] = multiply::<1, { BLOCK / L }, false>(query, [row]);
                }
            }

            #[target_feature(enable = $features)]
            fn scan(query: &[i16], codes: [&[i8]; STREAMS], sums: [&mut [i32]; STREAMS]) {
                let stride = query.len();
                for place in 0..sums[0].len() {
                    let rows = codes.map(|codes| &codes[place * stride..][..stride]);
                    let found = multiply::<STREAMS, 1, true>(query, rows);
                    for (stream, found) in found.into_iter().enumerate() {
                        sums[stream][place] = found;
                    }
                }
            }

            /// # Safety
            /// The processor must have the features of this instruction set.
            pub unsafe fn kernel() -> Int8Kernel {
                Int8Kernel {
                    // SAFETY: the function needs nothing but the features, which the caller vouches for.
                    dots: |query, codes, rows, sums| unsafe { dots(query, codes, rows, sums) },
                    // SAFETY: as above.
                    scan: |query, codes, sums| unsafe { scan(query, codes, sums) },
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx2,
    16,
    "avx2",
    _mm256_cvtepi8_epi16,
    _mm256_add_epi32,
    _mm256_setzero_si256,
    |sum, v, q| _mm256_add_epi32(sum, _mm256_madd_epi16(v, q))
);
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx_vnni,
    16,
    "avx2,avxvnni",
    _mm256_cvtepi8_epi16,
    _mm256_add_epi32,
    _mm256_setzero_si256,
    |sum, v, q| _mm256_dpwssd_avx_epi32(sum, v, q)
);
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    32,
    "avx512f,avx512bw,avx2",
    _mm512_cvtepi8_epi16,
    _mm512_add_epi32,
    _mm512_setzero_si512,
    |sum, v, q| _mm512_add_epi32(sum, _mm512_madd_epi16(v, q))
);
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512_vnni,
    32,
    "avx512f,avx512bw,avx512vnni,avx2",
    _mm512_cvtepi8_epi16,
    _mm512_add_epi32,
    _mm512_setzero_si512,
    |sum, v, q| _mm512_dpwssd_epi32(sum, v, q)
);

/// The functions for NEON. Its dot products of bytes cannot be used with a query of 16 bits.
#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::Int8Kernel;

    #[target_feature(enable = "neon")]
    #[inline]
    fn dot(query: &[i16], row: &[i8]) -> i32 {
        // Several sums, because each waits for its last addition.
        let mut partial = [vdupq_n_s32(0); 4];
        for (q, v) in query.as_chunks::<8>().0.as_chunks::<2>().0.iter().zip(row.as_chunks::<16>().0) {
            let v: int8x16_t = bytemuck::cast(*v);
            let [low, high]: [int16x8_t; 2] = bytemuck::cast(*q);
            let (first, second) = (vmovl_s8(vget_low_s8(v)), vmovl_high_s8(v));
            partial[0] = vmlal_s16(partial[0], vget_low_s16(first), vget_low_s16(low));
            partial[1] = vmlal_high_s16(partial[1], first, low);
            partial[2] = vmlal_s16(partial[2], vget_low_s16(second), vget_low_s16(high));
            partial[3] = vmlal_high_s16(partial[3], second, high);
        }
        let [a, b, c, d] = partial;
        vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)))
    }

    /// # Safety
    /// The processor must have NEON.
    pub unsafe fn kernel() -> Int8Kernel {
        Int8Kernel {
            // SAFETY: the function needs nothing but NEON, which the caller vouches for.
            dots: |query, codes, rows, sums| {
                super::dots(query, codes, rows, sums, |q, v| unsafe { dot(q, v) })
            },
            // SAFETY: as above.
            scan: |query, codes, sums| super::scan_by_rows(query, codes, sums, |q, v| unsafe { dot(q, v) }),
        }
    }
}

/// The functions of every instruction set that this machine can run, the fastest last.
fn available() -> Vec<Int8Kernel> {
    let mut kernels = vec![PORTABLE];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        kernels.push(unsafe { avx2::kernel() });
        if is_x86_feature_detected!("avxvnni") {
            // SAFETY: the features were just detected.
            kernels.push(unsafe { avx_vnni::kernel() });
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the features were just detected.
            kernels.push(unsafe { avx512::kernel() });
            if is_x86_feature_detected!("avx512vnni") {
                // SAFETY: the features were just detected.
                kernels.push(unsafe { avx512_vnni::kernel() });
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        // SAFETY: the feature was just detected.
        kernels.push(unsafe { neon::kernel() });
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::prefetch;
    use crate::testing::states;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every instruction set against a loop in 64 bits, with the largest components there are.
        #[test]
        fn kernels_equal_the_loop(
            blocks in 1usize..8,
            num_rows in 1usize..23,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            seed: u64,
        ) {
            let stride = blocks * BLOCK;
            let mut numbers = states(seed).map(|state| (state >> 33) as i32);
            let max = max_component(stride) as i32;
            let mut component = |max: i32| match numbers.next().unwrap_or_default() {
                number if number % 4 == 0 => max,
                number if number % 4 == 1 => -max,
                number => number / 4 % (max + 1),
            };
            let query: Vec<i16> = (0..stride).map(|_| component(max) as i16).collect();
            let codes: Vec<i8> = (0..stride * num_rows).map(|_| component(MAX_CODE) as i8).collect();
            let rows: Vec<u32> = picks.iter().map(|pick| pick.index(num_rows) as u32).collect();
            let expected: Vec<i64> = rows
                .iter()
                .map(|row| {
                    let code = &codes[*row as usize * stride..][..stride];
                    query.iter().zip(code).map(|(q, v)| i64::from(*q) * i64::from(*v)).sum()
                })
                .collect();
            for kernel in available() {
                let mut sums = vec![0; rows.len()];
                rows.iter().for_each(|row| prefetch(&codes, *row, stride));
                kernel.dots(&query, &codes, &rows, &mut sums);
                prop_assert_eq!(sums.iter().map(|sum| i64::from(*sum)).collect::<Vec<_>>(), expected.clone());
                // All rows, the pieces one behind the other.
                let all: Vec<u32> = (0..num_rows as u32).collect();
                let mut one_by_one = vec![0; num_rows];
                kernel.dots(&query, &codes, &all, &mut one_by_one);
                let per_stream = num_rows / STREAMS;
                let piece = |stream: usize| &codes[stream * per_stream * stride..][..per_stream * stride];
                let mut scanned = vec![vec![0; per_stream]; STREAMS];
                let [a, b, c, d] = &mut scanned[..] else { unreachable!() };
                kernel.scan(&query, std::array::from_fn(piece), [a, b, c, d]);
                prop_assert_eq!(&scanned.concat()[..], &one_by_one[..STREAMS * per_stream]);
            }
        }
    }

    /// The longest vectors with the largest components.
    #[test]
    fn longest_sums_do_not_overflow() {
        for dim in [1, 63, 384, 4096, 65_536] {
            let stride = usize::next_multiple_of(dim, BLOCK);
            let mut query = vec![0i16; stride];
            query[..dim].fill(max_component(dim) as i16);
            let codes = vec![-MAX_CODE as i8; stride];
            let expected = dim as i64 * i64::from(max_component(dim) as i16) * -i64::from(MAX_CODE);
            for kernel in available() {
                let mut sums = [0];
                kernel.dots(&query, &codes, &[0], &mut sums);
                assert_eq!(i64::from(sums[0]), expected, "{dim}");
            }
        }
    }
}
