//! What is done to queries, keys and values between their product and attention: bias, norms of heads, rotation.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};
use crate::rows::Half;

/// Sizes of the joined queries, keys and values: H query heads, G key heads and G value heads, K columns each, side by
/// side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// H
    pub num_heads: usize,
    /// G
    pub num_key_value_heads: usize,
    /// K, an even number.
    pub head_dim: usize,
}

impl Heads {
    /// (H + 2 G) K
    pub fn columns(&self) -> usize {
        (self.num_heads + 2 * self.num_key_value_heads) * self.head_dim
    }
}

/// What heads are prepared with, each if it is there, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preparation<'a> {
    /// Of all columns: at least (H + 2 G) K.
    pub bias: Option<&'a Buffer<f32>>,
    /// The weight (K) of the RMS norm of each query head.
    pub query_norm: Option<&'a Buffer<f32>>,
    /// That of each key head.
    pub key_norm: Option<&'a Buffer<f32>>,
    /// eps of the norms.
    pub eps: f32,
    /// The rotation of queries and keys.
    pub rotation: Option<&'a Rotation>,
}

/// Cosines and sines by place, (L, K / 2). In each head the pair (k, k + K / 2) is turned by the angle of the token's
/// place and k.
#[derive(Debug)]
pub struct Rotation {
    /// (L, K / 2)
    pub cos: Buffer<f32>,
    /// (L, K / 2)
    pub sin: Buffer<f32>,
}

impl Preparation<'_> {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.bias.is_none() && self.query_norm.is_none() && self.key_norm.is_none() && self.rotation.is_none()
    }

    pub(crate) fn check(&self, heads: &Heads) {
        assert!(heads.head_dim.is_multiple_of(2), "heads have pairs of columns");
        assert!(self.bias.is_none_or(|bias| bias.len() >= heads.columns()), "a bias for each column");
        let norms = [self.query_norm, self.key_norm].into_iter().flatten();
        assert!(
            norms.into_iter().all(|norm| norm.len() == heads.head_dim),
            "a norm has a weight for each column"
        );
    }
}

/// The RMS norm of each of some heads in place: weight (K).
///
/// # Errors
///
/// The device fails.
pub fn norm(qkv: &mut Half, heads: Range<usize>, weight: &Buffer<f32>, eps: f32) -> Result<()> {
    let head_dim = weight.len();
    assert!(head_dim.is_multiple_of(2), "heads have pairs of columns");
    assert!(heads.end * head_dim <= qkv.columns, "heads lie in a row");
    // The kernel takes those before the first for queries, which have no norm here.
    let sizes = [heads.start, heads.len(), head_dim, qkv.stride].map(|n| int(n).cast_unsigned());
    let [a, b, c, d] = sizes;
    let none = None::<&Buffer<f32>>;
    Launch::new("prepare_heads", [qkv.rows, 1, 1], 256)
        .buffer(&qkv.buffer)
        .maybe(none)
        .maybe(none)
        .buffer(weight)
        .maybe(None::<&Buffer<u32>>)
        .maybe(none)
        .maybe(none)
        .value([a, b, c, d, eps.to_bits()])
        .run(qkv.buffer.gpu())
}

/// Prepares heads in place. `places` has each token's place in its text, below the rotation's L.
///
/// # Errors
///
/// The device fails.
pub fn prepare(qkv: &mut Half, heads: &Heads, places: &Buffer<u32>, with: &Preparation<'_>) -> Result<()> {
    with.check(heads);
    assert!(qkv.columns >= heads.columns() && places.len() >= qkv.rows, "a place for each token");
    if with.is_empty() {
        return Ok(());
    }
    let sizes = [heads.num_heads, heads.num_key_value_heads, heads.head_dim, qkv.stride]
        .map(|n| int(n).cast_unsigned());
    let [a, b, c, d] = sizes;
    Launch::new("prepare_heads", [qkv.rows, 1, 1], 256)
        .buffer(&qkv.buffer)
        .maybe(with.bias)
        .maybe(with.query_norm)
        .maybe(with.key_norm)
        .buffer(places)
        .maybe(with.rotation.map(|rotation| &rotation.cos))
        .maybe(with.rotation.map(|rotation| &rotation.sin))
        .value([a, b, c, d, with.eps.to_bits()])
        .run(qkv.buffer.gpu())
}
