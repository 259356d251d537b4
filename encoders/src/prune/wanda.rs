//! Wanda (Sun et al. 2024, arXiv 2306.11695): removes the weights with the smallest product with their inputs, and
//! updates none.

use rayon::prelude::*;

use super::pattern::{GROUP, KEPT};

/// Zeroes two of every four weights of a row that are side by side: those with the smallest |w| * norm of their input.
///
/// `weights` is (rows, columns), a multiple of four columns. `squares` are the sums of squares of each column's
/// inputs over the calibration tokens. Among equal products the later weight is removed.
pub(super) fn prune(weights: &mut [f32], columns: usize, squares: &[f64]) {
    let norms: Vec<f64> = squares.iter().map(|square| square.sqrt()).collect();
    weights.par_chunks_exact_mut(columns).for_each(|row| {
        for (group, norms) in row.chunks_exact_mut(GROUP).zip(norms.chunks_exact(GROUP)) {
            let mut order: [usize; GROUP] = std::array::from_fn(|i| i);
            let product = |i: usize| f64::from(group[i].abs()) * norms[i];
            order.sort_by(|a, b| product(*b).total_cmp(&product(*a)).then(a.cmp(b)));
            order[KEPT..].iter().for_each(|i| group[*i] = 0.0);
        }
    });
}
