//! A linear layer's matrix, rounded once.

use std::sync::OnceLock;

use super::half_tiles::Tile;
use super::isa::PANEL;

/// The tiles of a panel, made when it is first multiplied.
pub(crate) type RoundedPanel = OnceLock<Vec<Tile>>;

/// The panels of a matrix and those of its transpose. The parts of a batch share them, and so do steps that leave the
/// matrix as it is.
pub(crate) struct RoundedMatrix {
    pub(super) panels: Vec<RoundedPanel>,
    pub(super) transposed: Vec<RoundedPanel>,
}

impl RoundedMatrix {
    /// For a matrix (`rows`, `depth`).
    pub(crate) fn new(rows: usize, depth: usize) -> RoundedMatrix {
        let none_yet = |columns: usize| vec![OnceLock::new(); columns.div_ceil(PANEL)];
        RoundedMatrix { panels: none_yet(rows), transposed: none_yet(depth) }
    }

    /// Forgets everything: the matrix is another one.
    pub(crate) fn clear(&mut self) {
        for panel in self.panels.iter_mut().chain(&mut self.transposed) {
            panel.take();
        }
    }
}
