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

impl<'a> Tile<'a> {
    /// The groups along K of a tile of `rows` rows and `panels` panels, which kernels know when they are compiled.
    #[inline(always)]
    pub(super) fn groups(&self, rows: usize, panels: usize) -> Groups<'a> {
        Groups { codes: self.codes, scales: self.scales, lines: self.lines, rows, panels }
    }
}

/// What is multiplied and added in integers: numbers that share a scale.
pub(super) struct Group<'a> {
    /// For each four k, the codes of each row.
    pub(super) codes: &'a [Quad],
    /// The scale of each row.
    pub(super) scales: &'a [f32],
    /// Two lines for each panel: first the scales of all, then the corrections of all.
    pub(super) head: &'a [Line],
    /// For each four k, the codes of each panel.
    pub(super) body: &'a [Line],
}

/// The groups of a tile.
pub(super) struct Groups<'a> {
    codes: &'a [Quad],
    scales: &'a [f32],
    lines: &'a [Line],
    rows: usize,
    panels: usize,
}

impl<'a> Iterator for Groups<'a> {
    type Item = Group<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Group<'a>> {
        let (scales, other_scales) = self.scales.split_at_checked(self.rows)?;
        let (codes, other_codes) = self.codes.split_at(self.codes.len().min(GROUP / QUAD * self.rows));
        let (head, lines) = self.lines.split_at(2 * self.panels);
        let (body, lines) = lines.split_at(codes.len() / self.rows * self.panels);
        (self.scales, self.codes, self.lines) = (other_scales, other_codes, lines);
        Some(Group { codes, scales, head, body })
    }
}
