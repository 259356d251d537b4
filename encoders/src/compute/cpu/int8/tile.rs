//! What the kernels of all units multiply.

use super::Quad;
use super::panels::Line;

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
