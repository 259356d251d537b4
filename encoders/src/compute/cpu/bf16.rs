//! Products of numbers rounded to bf16, on processors that have instructions for them.
//!
//! numkong packs the weights and multiplies, with AMX tiles or AVX-512 BF16. Our code then adds biases and activates.
//! The order in which numkong sums may depend on the batch. So a text's vector may depend on its batch mates in the
//! last bits of f32.

#![allow(unsafe_code, reason = "numkong's products take pointers")]

use numkong::{Dots, available, bf16, cap, configure_thread};

use super::gemm::Epilogue;
use super::isa::{Arithmetic, Kernel, PANEL};
use super::packed_matrix::PackedMatrix;

/// Panels that are packed together: 256 rows.
pub(super) const CHUNK: usize = 16;

/// Whether the processor multiplies bf16 faster than f32.
pub(super) fn has_units() -> bool {
    available() & (cap::GENOA | cap::SAPPHIREAMX) != 0
}

/// A matrix (N, K) in bf16, [`CHUNK`] panels at a time in the layout of the processor's instructions.
pub(super) struct Bf16Panels {
    chunks: Vec<Chunk>,
    rows: usize,
    depth: usize,
}

struct Chunk {
    packed: Vec<Line>,
    /// Rows of the chunk, a multiple of [`PANEL`]: those beyond the matrix are zeros.
    rows: usize,
}

/// A cache line: what the instructions want packed matrices to begin at. Only numkong reads it.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "it gives the size")] [u8; 64]);

impl Bf16Panels {
    /// Packs a matrix (`rows`, `depth`); `value(row, k)` gives the elements.
    pub(super) fn pack(rows: usize, depth: usize, value: impl Fn(usize, usize) -> f32) -> Bf16Panels {
        let pack = |first: usize| {
            let chunk_rows = (rows - first).next_multiple_of(PANEL).min(CHUNK * PANEL);
            let element = |row: usize, k: usize| if row < rows { value(row, k) } else { 0.0 };
            let matrix: Vec<bf16> = (first..first + chunk_rows)
                .flat_map(|row| (0..depth).map(move |k| (row, k)))
                .map(|(row, k)| rounded(element(row, k)))
                .collect();
            let size = bf16::dots_packed_size(chunk_rows, depth);
            let mut packed = vec![Line([0; 64]); size.div_ceil(size_of::<Line>())];
            // SAFETY: `matrix` has chunk_rows * depth elements, rows 2 depth bytes apart; `packed` has the size asked
            // for.
            unsafe {
                bf16::dots_pack(matrix.as_ptr(), chunk_rows, depth, 2 * depth, packed.as_mut_ptr().cast());
            }
            Chunk { packed, rows: chunk_rows }
        };
        Bf16Panels { chunks: (0..rows).step_by(CHUNK * PANEL).map(pack).collect(), rows, depth }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The sums of A (M, K) with a chunk's rows, (M, rows of the chunk); returns the columns.
    pub(super) fn multiply(&self, a: &[bf16], chunk: usize, sums: &mut Vec<f32>) -> usize {
        thread_local! {
            // Linux asks each thread whether it wants AMX.
            static CONFIGURED: bool = configure_thread();
        }
        CONFIGURED.with(|_| ());
        let Chunk { packed, rows } = &self.chunks[chunk];
        let height = a.len() / self.depth;
        sums.resize(height * rows, 0.0);
        // SAFETY: `a` has height * depth elements, rows 2 depth bytes apart. `packed` was packed for `rows` and
        // `depth`. `sums` has height * rows elements, rows 4 rows bytes apart.
        unsafe {
            bf16::dots_packed(
                a.as_ptr(),
                packed.as_ptr().cast(),
                sums.as_mut_ptr(),
                height,
                *rows,
                self.depth,
                2 * self.depth,
                4 * rows,
            );
        }
        *rows
    }
}

/// Rounds to nearest, ties to even, as `half::bf16::from_f32`, which looks for NaN first: a loop over activations
/// would not be vectorized.
#[inline(always)]
fn rounded(x: f32) -> bf16 {
    let bits = x.to_bits();
    bf16((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
}

/// Rounds activations.
pub(super) fn round_into(values: &[f32], out: &mut Vec<bf16>) {
    out.clear();
    out.extend(values.iter().map(|x| rounded(*x)));
}

/// The twin of [`Bf16Panels`]: the rounded numbers, to be multiplied in f32.
pub(super) fn pack_rounded(rows: usize, depth: usize, value: impl Fn(usize, usize) -> f32) -> PackedMatrix {
    let mut matrix = PackedMatrix::default();
    matrix.refill(rows, depth, |row, k| half::bf16::from_f32(value(row, k)).to_f32());
    matrix
}

/// Hands sums (M, columns) to an epilogue, panel by panel.
pub(super) struct Finish<'a, 'out, E> {
    pub(super) sums: &'a [f32],
    /// A multiple of [`PANEL`].
    pub(super) columns: usize,
    pub(super) first_panel: usize,
    pub(super) epilogue: E,
    /// M rows, from the output column of the first panel on.
    pub(super) out: &'a mut [&'out mut [f32]],
}

impl<E: Epilogue> Kernel for Finish<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (sums, out) in self.sums.chunks_exact(self.columns).zip(self.out) {
            for (panel, values) in sums.as_chunks::<PANEL>().0.iter().enumerate() {
                let start = (panel * E::WIDTH).min(out.len());
                let end = (start + E::WIDTH).min(out.len());
                self.epilogue.store::<A>(self.first_panel + panel, values, &mut out[start..end]);
            }
        }
    }
}
