//! softmax(scale Q K^T) V within each text, and the way back.

use half::bf16;

use crate::buffer::Buffer;
use crate::device::Gpu;
use crate::error::Result;
use crate::heads::{Heads, Preparation};
use crate::launch::{Launch, int};
use crate::rows::Half;

/// Rows of queries, and keys, that a block has at a time.
const TILE: usize = 64;
/// The largest head that attention has a kernel for.
pub const MAX_HEAD_DIM: usize = 256;
/// The largest head that the way back has a kernel for.
pub const MAX_HEAD_DIM_BACKWARD: usize = 128;
/// The most tokens of a text of [`few`].
pub const FEW: usize = 32;

/// What an attention looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Query head h reads key-value head h / (H / G).
    pub heads: Heads,
    /// The factor on query-key products.
    pub scale: f32,
    /// c, if scores are bounded: c tanh(score / c).
    pub softcap: Option<f32>,
    /// Whether a token sees only itself and earlier ones.
    pub causal: bool,
    /// w, if token i sees token j only where |i - j| <= w.
    pub window: Option<usize>,
}

impl Attention {
    fn group(&self) -> usize {
        let Heads { num_heads, num_key_value_heads, .. } = self.heads;
        assert!(num_heads.is_multiple_of(num_key_value_heads), "query heads share key-value heads evenly");
        num_heads / num_key_value_heads
    }

    fn words(&self, stride: usize, out_stride: usize) -> [u32; 10] {
        let Heads { num_heads, num_key_value_heads, head_dim } = self.heads;
        let word = |number: usize| int(number).cast_unsigned();
        // A window beyond all texts is none.
        let window = self.window.map_or(-1, |window| window.min(1 << 30) as i32);
        [
            word(num_heads),
            word(num_key_value_heads),
            word(head_dim),
            word(self.group()),
            word(stride),
            word(out_stride),
            self.scale.to_bits(),
            self.softcap.unwrap_or(0.0).to_bits(),
            self.causal.into(),
            window.cast_unsigned(),
        ]
    }
}

/// Where the texts of a batch lie, and how attention divides them among blocks.
#[derive(Debug)]
pub struct Texts {
    lengths: Vec<usize>,
    /// (start, length) of each.
    pub(crate) texts: Buffer<[u32; 2]>,
    places: Buffer<u32>,
    longest: usize,
}

/// The rows that a block has, in order: the first, how many, where the text begins, how long it is.
pub type Tiles = Buffer<[i32; 4]>;

impl Texts {
    /// Texts that lie one after the other. None is empty.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(gpu: &Gpu, lengths: &[usize]) -> Result<Texts> {
        assert!(lengths.iter().all(|length| *length > 0), "no text is empty");
        let places: Vec<u32> = lengths.iter().flat_map(|length| 0..*length as u32).collect();
        let mut texts = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for length in lengths {
            texts.push([start, *length as u32]);
            start += *length as u32;
        }
        Ok(Texts {
            texts: gpu.upload(&texts)?,
            places: gpu.upload(&places)?,
            longest: lengths.iter().copied().max().unwrap_or(0),
            lengths: lengths.to_vec(),
        })
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Tokens of the longest.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Tokens of all together.
    pub fn num_tokens(&self) -> usize {
        self.places.len()
    }

    /// Each token's place in its text.
    pub fn places(&self) -> &Buffer<u32> {
        &self.places
    }

    /// The tiles of [`forward`] and the queries' of [`backward`]: rows are tokens times the query heads that share a
    /// key-value head.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn tiles(&self, gpu: &Gpu, attention: &Attention) -> Result<Tiles> {
        gpu.upload(&tiles(&self.lengths, attention.group()))
    }

    /// The tiles of keys of [`backward`].
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn key_tiles(&self, gpu: &Gpu) -> Result<Tiles> {
        gpu.upload(&tiles(&self.lengths, 1))
    }
}

/// Each row, `group` of a token, in exactly one tile. Longest tiles of work first, so that short ones fill the end.
pub fn tiles(lengths: &[usize], group: usize) -> Vec<[i32; 4]> {
    let mut tiles = Vec::new();
    let mut start = 0;
    for length in lengths {
        let rows = length * group;
        for first in (0..rows).step_by(TILE) {
            tiles.push([int(first), int(TILE.min(rows - first)), int(start), int(*length)]);
        }
        start += length;
    }
    // A causal tile reads the keys before it, and others all of their text: the last ones of long texts read most.
    tiles.sort_by_key(|[first, rows, _, length]| std::cmp::Reverse((*length, first + rows)));
    tiles
}

fn size_of_kernel(head_dim: usize, sizes: &[(usize, &'static str)]) -> (usize, &'static str) {
    let found = sizes.iter().find(|(size, _)| head_dim <= *size);
    *found
        .unwrap_or_else(|| panic!("heads have at most {} columns, not {head_dim}", sizes[sizes.len() - 1].0))
}

/// Attention: joined queries, keys and values (T, (H + 2 G) K) -> (T, H K). `logarithms` (T, H) are for the way back.
///
/// # Errors
///
/// The device fails.
///
/// # Panics
///
/// Heads have more than [`MAX_HEAD_DIM`] columns.
pub fn forward(
    qkv: &Half,
    attention: &Attention,
    tiles: &Tiles,
    logarithms: Option<&mut Buffer<f32>>,
    out: &mut Half,
) -> Result<()> {
    let Heads { num_heads, num_key_value_heads, head_dim } = attention.heads;
    assert!(
        qkv.columns >= attention.heads.columns() && out.columns >= num_heads * head_dim,
        "columns of all heads"
    );
    assert_eq!(qkv.rows, out.rows, "a context for each token");
    assert!(logarithms.as_ref().is_none_or(|l| l.len() == qkv.rows * num_heads), "a logarithm for each head");
    let (size, kernel) = size_of_kernel(
        head_dim,
        &[
            (32, "attention_32"),
            (64, "attention_64"),
            (96, "attention_96"),
            (128, "attention_128"),
            (256, "attention_256"),
        ],
    );
    Launch::new(kernel, [tiles.len(), num_key_value_heads, 1], 128)
        .shared(3 * TILE * size * size_of::<bf16>())
        .buffer(&qkv.buffer)
        .buffer(&out.buffer)
        .maybe(logarithms.as_deref())
        .buffer(tiles)
        .value(attention.words(qkv.stride, out.stride))
        .run(qkv.buffer.gpu())
}

/// [`crate::heads::prepare`] and attention in one, for texts of at most [`FEW`] tokens. `qkv` stays as it is.
///
/// # Errors
///
/// The device fails.
pub fn few(
    qkv: &Half,
    attention: &Attention,
    texts: &Texts,
    with: &Preparation<'_>,
    out: &mut Half,
) -> Result<()> {
    let Heads { num_heads, head_dim, .. } = attention.heads;
    assert!(texts.longest <= FEW && head_dim <= MAX_HEAD_DIM, "texts of {} tokens", texts.longest);
    assert!(
        qkv.columns >= attention.heads.columns() && out.columns >= num_heads * head_dim,
        "columns of all heads"
    );
    with.check(&attention.heads);
    let shared = 3 * FEW * (head_dim + 2) * size_of::<bf16>() + 4 * FEW * size_of::<f32>();
    Launch::new("attention_few", [texts.len(), num_heads, 1], 128)
        .shared(shared)
        .buffer(&qkv.buffer)
        .buffer(&out.buffer)
        .buffer(&texts.texts)
        .maybe(with.bias)
        .maybe(with.query_norm)
        .maybe(with.key_norm)
        .maybe(with.rotation.map(|rotation| &rotation.cos))
        .maybe(with.rotation.map(|rotation| &rotation.sin))
        .value(with.eps)
        .value(attention.words(qkv.stride, out.stride))
        .run(qkv.buffer.gpu())
}

/// What [`backward`] needs beside the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// As [`forward`] read it.
    pub qkv: &'a Half,
    /// What it gave.
    pub out: &'a Half,
    /// The logarithms that it wrote.
    pub logarithms: &'a Buffer<f32>,
    /// Its tiles.
    pub tiles: &'a Tiles,
    /// Those of [`Texts::key_tiles`].
    pub key_tiles: &'a Tiles,
}

/// The gradient of attention: of the contexts (T, H K) -> of queries, keys and values (T, (H + 2 G) K).
///
/// # Errors
///
/// The device fails.
///
/// # Panics
///
/// Heads have more than [`MAX_HEAD_DIM_BACKWARD`] columns.
pub fn backward(attention: &Attention, of: Forward<'_>, gradient: &Half, out: &mut Half) -> Result<()> {
    let Heads { num_heads, num_key_value_heads, head_dim } = attention.heads;
    let gpu = of.qkv.buffer.gpu();
    assert_eq!(
        (gradient.rows, gradient.stride),
        (of.out.rows, of.out.stride),
        "the gradient lies as the contexts"
    );
    assert_eq!((out.rows, out.stride), (of.qkv.rows, of.qkv.stride), "what comes out lies as what came in");
    let count = of.qkv.rows * num_heads;
    assert_eq!(of.logarithms.len(), count, "a logarithm for each head");
    let deltas = gpu.buffer::<f32>(count)?;
    let words = attention.words(of.qkv.stride, of.out.stride);
    Launch::new("attention_deltas", [count.div_ceil(8), 1, 1], 256)
        .buffer(&gradient.buffer)
        .buffer(&of.out.buffer)
        .buffer(&deltas)
        .value(int(count))
        .value(words)
        .run(gpu)?;
    let (size, queries) = size_of_kernel(
        head_dim,
        &[
            (32, "attention_queries_32"),
            (64, "attention_queries_64"),
            (96, "attention_queries_96"),
            (128, "attention_queries_128"),
        ],
    );
    let (_, keys) = size_of_kernel(
        head_dim,
        &[
            (32, "attention_keys_32"),
            (64, "attention_keys_64"),
            (96, "attention_keys_96"),
            (128, "attention_keys_128"),
        ],
    );
    let tile = TILE * size * size_of::<bf16>();
    let rows = 2 * TILE * size_of::<f32>();
    for (kernel, tiles, shared) in [(queries, of.tiles, 2 * tile), (keys, of.key_tiles, 4 * tile + rows)] {
        Launch::new(kernel, [tiles.len(), num_key_value_heads, 1], 128)
            .shared(shared)
            .buffer(&of.qkv.buffer)
            .buffer(&gradient.buffer)
            .buffer(of.logarithms)
            .buffer(&deltas)
            .buffer(&out.buffer)
            .buffer(tiles)
            .value(words)
            .run(gpu)?;
    }
    Ok(())
}
