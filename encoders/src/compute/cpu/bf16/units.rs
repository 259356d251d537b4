//! Products by numkong, with AMX tiles or AVX-512 BF16.
//!
//! The order in which it sums may depend on the batch. So a text's vector may depend on its batch mates in the last
//! bits of f32.

#![allow(unsafe_code, reason = "numkong's products take pointers")]

use half::bf16;
use numkong::{Dots, available, cap, configure_thread};

use super::super::isa::PANEL;
use super::{CHUNK, rounded};

/// Whether the processor multiplies bf16 faster than f32.
pub(in super::super) fn has_units() -> bool {
    available() & (cap::GENOA | cap::SAPPHIREAMX) != 0
}

/// A matrix (N, K) in bf16, [`CHUNK`] panels at a time in the layout of the processor's instructions.
pub(in super::super) struct Bf16Panels {
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
    pub(in super::super) fn pack(
        rows: usize,
        depth: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Bf16Panels {
        let pack = |first: usize| {
            let chunk_rows = (rows - first).next_multiple_of(PANEL).min(CHUNK * PANEL);
            let element = |row: usize, k: usize| if row < rows { value(row, k) } else { 0.0 };
            let matrix: Vec<bf16> = (first..first + chunk_rows)
                .flat_map(|row| (0..depth).map(move |k| (row, k)))
                .map(|(row, k)| rounded(element(row, k)))
                .collect();
            let size = numkong::bf16::dots_packed_size(chunk_rows, depth);
            let mut packed = vec![Line([0; 64]); size.div_ceil(size_of::<Line>())];
            // SAFETY: `matrix` has chunk_rows * depth elements, rows 2 depth bytes apart; `packed` has the size asked
            // for.
            unsafe {
                numkong::bf16::dots_pack(
                    matrix.as_ptr().cast(),
                    chunk_rows,
                    depth,
                    2 * depth,
                    packed.as_mut_ptr().cast(),
                );
            }
            Chunk { packed, rows: chunk_rows }
        };
        Bf16Panels { chunks: (0..rows).step_by(CHUNK * PANEL).map(pack).collect(), rows, depth }
    }

    pub(in super::super) fn rows(&self) -> usize {
        self.rows
    }

    pub(in super::super) fn depth(&self) -> usize {
        self.depth
    }

    /// The sums of A (M, K) with a chunk's rows, (M, rows of the chunk); returns the columns.
    pub(in super::super) fn multiply(&self, a: &[bf16], chunk: usize, sums: &mut Vec<f32>) -> usize {
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
            numkong::bf16::dots_packed(
                a.as_ptr().cast(),
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
