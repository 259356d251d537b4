//! A tile without named instructions.

use super::super::isa::{Arithmetic, PANEL, prefetch};
use super::tile::{Group, Tile};
use super::{QUAD, Sums};

/// Writes the sums of a tile.
#[inline(always)]
pub(super) fn multiply<A: Arithmetic>(tile: &Tile<'_>, sums: &mut Sums) {
    let Tile { mut codes, scales, rows, mut lines, panels, mut ahead, step } = *tile;
    let Sums(sums) = sums;
    *sums = [[[0.0; PANEL]; _]; _];
    for scales in scales.chunks_exact(rows) {
        let Group { codes: group, head, body } = Group::take(&mut codes, &mut lines, rows, panels);
        for _ in body {
            prefetch(ahead);
            ahead = ahead.wrapping_add(step);
        }
        for (row, scale) in scales.iter().enumerate() {
            for panel in 0..panels {
                let mut integers = [0i32; PANEL];
                for (quad, line) in
                    group.iter().skip(row).step_by(rows).zip(body.iter().skip(panel).step_by(panels))
                {
                    for (sum, weights) in integers.iter_mut().zip(line.0.as_chunks::<QUAD>().0) {
                        for (code, weight) in quad.to_ne_bytes().iter().zip(weights) {
                            *sum += i32::from(code.cast_signed()) * i32::from(*weight);
                        }
                    }
                }
                let of_weights = head[panel].floats();
                for (lane, sum) in sums[row][panel].iter_mut().enumerate() {
                    *sum = A::mul_add(integers[lane] as f32, scale * of_weights[lane], *sum);
                }
            }
        }
    }
}
