//! A tile with AMX: `tdpbssd` multiplies 16 rows of 64 codes with 64 times 16 codes, and adds the products to 16 x 16
//! sums.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::arch::x86_64::{__m512i, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_setzero_ps, _mm512_storeu_ps};
use std::mem::MaybeUninit;

use super::super::amx::{self, ROW_BYTES, Tiles};
use super::super::isa::{PANEL, prefetch};
use super::avx512_vnni::{add_scaled, encode_group, filled_up};
use super::panels::Line;
use super::tile::{Group, Tile};
use super::{GROUP, MAX_ROWS, QUAD, Quad, STEP, Sums, WIDE};

/// Quads of a tile of A.
const TILE: usize = MAX_ROWS * STEP;

/// The registers for as long as the result is there.
pub(super) fn configure() -> Tiles {
    // SAFETY: units of this kind are made after the processor said that it has the instructions.
    unsafe { Tiles::configure() }
}

/// Writes the codes of a group of a row to the tiles of the group, and returns the scale. The tiles come one after the
/// other, each with 16 rows of [`STEP`] quads.
pub(super) fn quantize(group: &[f32], tiles: &mut [Quad], row: usize) -> f32 {
    let chunks_of_step = STEP * QUAD / PANEL;
    let (codes, scale) = match <&[f32; GROUP]>::try_from(group) {
        // SAFETY: units of this kind are made after the processor said that it has the instructions.
        Ok(group) => unsafe { encode_group(group, 0) },
        // SAFETY: as above.
        Err(_) => unsafe { encode_group(&filled_up(group), 0) },
    };
    for (step, codes) in tiles.chunks_exact_mut(TILE).zip(codes.chunks_exact(chunks_of_step)) {
        step[row * STEP..][..STEP].copy_from_slice(codes.as_flattened());
    }
    scale
}

/// Sums of a group, panel by panel.
#[repr(C, align(64))]
struct Integers([[[i32; PANEL]; MAX_ROWS]; WIDE]);

/// Writes the sums of a tile.
pub(super) fn multiply(tile: &Tile<'_>, sums: &mut Sums) {
    // SAFETY: units of this kind are made after the processor said that it has the instructions, and `Tiles` are there.
    unsafe { run(tile, sums) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_row(row: &[i32; PANEL]) -> __m512i {
    // SAFETY: a row has 64 bytes.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

/// All registers have 16 rows of 64 bytes.
#[target_feature(enable = "avx512f")]
unsafe fn run(tile: &Tile<'_>, sums: &mut Sums) {
    let (mut codes, mut lines, mut ahead) = (tile.codes, tile.lines, tile.ahead);
    let panels = tile.panels;
    let row_of_b = size_of::<Line>() * panels;
    let ahead_of_step = tile.step * STEP * panels;
    let mut integers = MaybeUninit::<Integers>::uninit();
    let place = integers.as_mut_ptr().cast::<u8>();
    for (g, scales) in tile.scales.chunks_exact(tile.rows).enumerate() {
        let Group { codes: group, head, body } = Group::take(&mut codes, &mut lines, MAX_ROWS, panels);
        // SAFETY: A's tile has 16 rows of 64 bytes, B's too, `panels` lines apart. `integers` has two tiles.
        unsafe {
            amx::zero!("tmm0");
            amx::zero!("tmm1");
            for (a, b) in group.chunks_exact(TILE).zip(body.chunks_exact(STEP * panels)) {
                amx::load!("tmm2", a.as_ptr(), ROW_BYTES);
                amx::load!("tmm4", b.as_ptr(), row_of_b);
                amx::add_products!("tdpbssd", "tmm0", "tmm2", "tmm4");
                if panels == WIDE {
                    amx::load!("tmm5", b.as_ptr().add(1), row_of_b);
                    amx::add_products!("tdpbssd", "tmm1", "tmm2", "tmm5");
                }
                for line in (0..ahead_of_step).step_by(size_of::<Line>()) {
                    prefetch(ahead.wrapping_add(line));
                }
                ahead = ahead.wrapping_add(ahead_of_step);
            }
            amx::store!("tmm0", place);
            amx::store!("tmm1", place.add(size_of::<Integers>() / WIDE));
        }
        // SAFETY: both tiles are written.
        let Integers(of_panels) = unsafe { integers.assume_init_ref() };
        for ((row, sums), scale) in sums.0.iter_mut().enumerate().zip(scales) {
            for ((of_panel, sums), of_weights) in of_panels.iter().zip(sums).zip(&head[..panels]) {
                // SAFETY: there are 16 floats.
                let old = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
                let old = if g == 0 { _mm512_setzero_ps() } else { old };
                let new = add_scaled(old, load_row(&of_panel[row]), *scale, of_weights.floats());
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), new) };
            }
        }
    }
}
