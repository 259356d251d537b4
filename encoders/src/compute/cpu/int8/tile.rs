//! What the kernels of all units multiply.

use super::panels::Line;
use super::{GROUP, QUAD, Quad};

/// A tile of A and the panels that it is multiplied with.
pub(super) struct Tile<'a> {
    /// For each four k, the codes of each row.
    pub(super) codes: &'a [Quad],
    /// For each group, the scale of each row.
    pub(super) scales: &'a [f32],
    /// R
    pub(super) rows: usize,
    /// See [`Int8Panels`](super::Int8Panels).
    pub(super) lines: &'a [Line],
    /// P
    pub(super) panels: usize,
    /// Where to begin to fetch what comes next.
    pub(super) ahead: *const u8,
    /// Bytes between two prefetches, of which there is one for each four k and panel.
    pub(super) step: usize,
}

/// What is multiplied and added in integers: numbers along K that share a scale.
pub(super) struct Group<'a> {
    /// For each four k, the codes of each row.
    pub(super) codes: &'a [Quad],
    /// Two lines for each panel: first the scales of all, then the corrections of all.
    pub(super) head: &'a [Line],
    /// For each four k, the codes of each panel.
    pub(super) body: &'a [Line],
}

impl<'a> Group<'a> {
    /// Takes the next group off the codes and lines of a tile of `rows` rows and `panels` panels, which kernels know
    /// when they are compiled.
    #[inline(always)]
    pub(super) fn take(
        codes: &mut &'a [Quad],
        lines: &mut &'a [Line],
        rows: usize,
        panels: usize,
    ) -> Group<'a> {
        let (group, rest) = codes.split_at(codes.len().min(GROUP / QUAD * rows));
        *codes = rest;
        let (head, body) = lines.split_at(2 * panels);
        let (body, rest) = body.split_at(group.len() / rows * panels);
        *lines = rest;
        Group { codes: group, head, body }
    }
}
