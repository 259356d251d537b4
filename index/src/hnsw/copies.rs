//! Rows that are equal. One of them stands for all of them in the graph.
//!
//! Among many copies of one row, algorithm 4 gives each a single neighbor: another copy, to which every other row is as
//! near. A search that meets the copies then fills its list with rows of one similarity, and never leaves them. So rows
//! of equal codes are one node. Its other rows lie on no list of neighbors; each leads to the next.

use rayon::prelude::*;

use super::links::{Links, NONE};
use crate::bitmap::Bitmap;
use crate::error::Damage;
use crate::quantization::int8::Int8Codes;

/// For each row the next one that has an equal code, or [`NONE`]; nothing at all if no two codes are equal. And the
/// rows that some row leads to.
pub(super) fn find(codes: &Int8Codes<'_>) -> (Vec<u32>, Bitmap) {
    let mut hashes: Vec<(u32, u32)> =
        (0..codes.metas.len() as u32).into_par_iter().map(|row| (hash(codes, row), row)).collect();
    hashes.par_sort_unstable();
    let runs: Vec<&[(u32, u32)]> = hashes.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1).collect();
    let groups: Vec<Vec<u32>> = runs.par_iter().flat_map_iter(|run| groups(codes, run)).collect();
    let (mut next, mut copies) = (Vec::new(), Bitmap::default());
    for group in groups {
        if next.is_empty() {
            next.resize(codes.metas.len(), NONE);
        }
        for pair in group.windows(2) {
            next[pair[0] as usize] = pair[1];
            copies.insert(pair[1]);
        }
    }
    (next, copies)
}

fn hash(codes: &Int8Codes<'_>, row: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytemuck::cast_slice(codes.code(row)));
    hasher.update(bytemuck::bytes_of(&compared(codes, row)));
    hasher.finalize()
}

/// What a comparison reads of a row beside its components: the bits of its scale, half square and extra component.
fn compared(codes: &Int8Codes<'_>, row: u32) -> [u32; 3] {
    let [scale, half, extra, _] = codes.metas[row as usize];
    [scale, half, extra].map(f32::to_bits)
}

/// The sets of equal rows among rows of one hash, in ascending order; sets of one are left out.
fn groups(codes: &Int8Codes<'_>, run: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for &(_, row) in run {
        match groups.iter_mut().find(|group| are_equal(codes, group[0], row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Whether two rows have the same code, bit for bit, and so the same similarity to whatever is compared with them.
pub(super) fn are_equal(codes: &Int8Codes<'_>, row: u32, other: u32) -> bool {
    compared(codes, row) == compared(codes, other) && codes.code(row) == codes.code(other)
}

/// The rows of a node, from [`Links::copies`].
pub(super) struct Copies<'a> {
    next: &'a [u32],
    at: u32,
}

impl<'a> Links<'a> {
    /// `row`, which must be below N, and after it the rows that it stands for, ascending.
    pub(super) fn copies(&self, row: u32) -> Copies<'a> {
        Copies { next: self.copies, at: row }
    }
}

impl Iterator for Copies<'_> {
    type Item = Result<u32, Damage>;

    fn next(&mut self) -> Option<Result<u32, Damage>> {
        if self.at == NONE {
            return None;
        }
        let row = self.at;
        self.at = self.next.get(row as usize).copied().unwrap_or(NONE);
        // Ascending, so that a damaged file makes no circle.
        if self.at != NONE && (self.at <= row || self.at as usize >= self.next.len()) {
            let got = std::mem::replace(&mut self.at, NONE);
            return Some(Err(Damage::Field {
                field: "the next row of an equal code",
                expected: format!("above {row} and below {}", self.next.len()),
                got: got.to_string(),
            }));
        }
        Some(Ok(row))
    }
}
