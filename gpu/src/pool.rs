//! From the hidden states of a text's tokens to one vector.

use crate::attention::Texts;
use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};

/// Which hidden states make the vector of a text. The kernels have the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Pool {
    /// The first token's.
    First,
    /// The last token's.
    Last,
    /// The mean over all tokens.
    Mean,
    /// The mean over all tokens, the first with weight 1, the second with weight 2 and so on.
    WeightedMean,
}

/// (T, columns) -> (B, columns). A mean leaves out the first `skipped` tokens of each text, but never all.
///
/// # Errors
///
/// The device fails.
pub fn forward(
    x: &Buffer<f32>,
    texts: &Texts,
    pool: Pool,
    skipped: usize,
    out: &mut Buffer<f32>,
) -> Result<()> {
    let columns = out.len() / texts.len().max(1);
    assert_eq!(
        (x.len(), out.len()),
        (texts.num_tokens() * columns, texts.len() * columns),
        "rows of all texts"
    );
    Launch::new("pool", [texts.len(), columns.div_ceil(256), 1], 256)
        .buffer(x)
        .buffer(&texts.texts)
        .buffer(out)
        .value(int(columns))
        .value(pool as i32)
        .value(int(skipped))
        .run(x.gpu())
}

/// The gradient of [`forward`]: (B, columns) -> (T, columns). `text_of_token` (T) has the number of each token's text.
///
/// # Errors
///
/// The device fails.
pub fn backward(
    gradient: &Buffer<f32>,
    texts: &Texts,
    text_of_token: &Buffer<u32>,
    (pool, skipped): (Pool, usize),
    out: &mut Buffer<f32>,
) -> Result<()> {
    let columns = gradient.len() / texts.len().max(1);
    assert_eq!(out.len(), texts.num_tokens() * columns, "rows of all tokens");
    assert_eq!(text_of_token.len(), texts.num_tokens(), "a text for each token");
    Launch::new("pool_backward", [texts.num_tokens(), 1, 1], 256)
        .buffer(gradient)
        .buffer(&texts.texts)
        .buffer(text_of_token)
        .buffer(out)
        .value(int(columns))
        .value(pool as i32)
        .value(int(skipped))
        .run(gradient.gpu())
}

/// The first `kept` columns of each row, scaled to length 1: (B, columns) -> (B, kept). A row of zeros stays.
///
/// # Errors
///
/// The device fails.
pub fn unit_rows(x: &Buffer<f32>, columns: usize, kept: usize, out: &mut Buffer<f32>) -> Result<()> {
    let rows = x.len() / columns;
    assert!(kept <= columns && out.len() == rows * kept, "as many rows come out");
    Launch::new("unit_rows", [rows, 1, 1], 256)
        .buffer(x)
        .buffer(out)
        .value(int(columns))
        .value(int(kept))
        .run(x.gpu())
}
