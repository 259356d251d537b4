//! The largest of many scores.

use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};

/// The `k` largest of each slice of `width` scores of each row, ties to the lower place, in no order. Scores
/// (Q, columns) -> scores and places (Q, slices, k). Places count from `first_row`. What is missing in a slice of fewer
/// than k is minus infinity at place `u32::MAX`.
///
/// # Errors
///
/// The device fails.
pub fn top_k(
    scores: &Buffer<f32>,
    (columns, width): (usize, usize),
    k: usize,
    first_row: u32,
    (out_scores, out_rows): (&mut Buffer<f32>, &mut Buffer<u32>),
) -> Result<()> {
    let (rows, slices) = (scores.len() / columns, columns.div_ceil(width));
    assert!(
        k > 0 && out_scores.len() == rows * slices * k && out_rows.len() == out_scores.len(),
        "k of each slice"
    );
    Launch::new("top_k", [slices, rows, 1], 256)
        .buffer(scores)
        .value(int(columns))
        .value(int(width))
        .value(int(k))
        .buffer(out_scores)
        .buffer(out_rows)
        .value(first_row)
        .run(scores.gpu())
}
