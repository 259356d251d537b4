//! What training needs besides products, attention and MLPs: the way back through norms, sums over rows, dropout.

use half::bf16;

use crate::buffer::Buffer;
use crate::element::Element;
use crate::error::Result;
use crate::launch::{Launch, int};
use crate::rows::{Half, Norm};

/// Which heads of a row are normed, each by itself.
#[derive(Clone, Copy, Debug)]
pub struct NormedHeads {
    /// Of a row.
    pub columns: usize,
    /// The first column of the first head.
    pub first: usize,
    /// How many; 1 where whole rows are normed.
    pub heads: usize,
}

/// The gradient of norms by their input, in place of `gradient`, that by their output; both and `x` are (T, columns).
/// What is not normed stays. `terms` (T, heads, length) gets what the gradient of the weight is the sum of.
///
/// # Errors
///
/// The device fails.
pub fn norm_backward(
    x: &Buffer<f32>,
    norm: &Norm,
    NormedHeads { columns, first, heads }: NormedHeads,
    gradient: &mut Buffer<f32>,
    terms: Option<&mut Buffer<f32>>,
) -> Result<()> {
    let length = norm.weight.len();
    let rows = x.len() / columns;
    assert!(x.len() == gradient.len() && x.len() == rows * columns, "equal sizes");
    assert!(first + heads * length <= columns, "heads lie in a row");
    assert!(
        terms.as_ref().is_none_or(|terms| terms.len() == rows * heads * length),
        "a term for each number"
    );
    Launch::new("norm_backward", [rows, heads, 1], 256)
        .buffer(x)
        .buffer(&norm.weight)
        .buffer(gradient)
        .maybe(terms.as_deref())
        .value(int(columns))
        .value(int(first))
        .value(int(length))
        .value(i32::from(norm.bias.is_some()))
        .value(norm.eps)
        .run(x.gpu())
}

/// Rows whose columns are added up.
#[derive(Clone, Copy, Debug)]
pub enum SummedRows<'a> {
    /// f32 (T, columns)
    Full(&'a Buffer<f32>, usize),
    /// bf16
    Half(&'a Half),
}

/// Rows that a block adds up.
const ROWS_EACH: usize = 512;

/// Adds to `out`, from element `to` on, the sums over all rows of `columns` columns from `first` on. The order of the
/// sums depends on the sizes alone.
///
/// # Errors
///
/// The device fails.
pub fn column_sums(
    rows: SummedRows<'_>,
    (first, columns): (usize, usize),
    out: &mut Buffer<f32>,
    to: usize,
) -> Result<()> {
    let gpu = out.gpu().clone();
    assert!(to + columns <= out.len(), "a sum for each column");
    let count = match rows {
        SummedRows::Full(x, stride) => x.len() / stride,
        SummedRows::Half(x) => x.rows,
    };
    let parts = count.div_ceil(ROWS_EACH).max(1);
    let launch = |kernel, blocks: usize| Launch::new(kernel, [columns.div_ceil(32), blocks, 1], 256);
    let with = |launch: Launch, (rows, stride, first): (usize, usize, usize), each: usize, add: bool| {
        let sizes = [rows, stride, first, columns, each].map(int);
        let launch = sizes.into_iter().fold(launch, Launch::value);
        launch.value(i32::from(add)).run(&gpu)
    };
    let of_rows = |out: &Buffer<f32>, to: usize, add: bool| match rows {
        SummedRows::Full(x, stride) => {
            assert!(first + columns <= stride, "columns of a row");
            let launch = launch("column_sums_full", parts).buffer(x).buffer_at(out, to);
            with(launch, (count, stride, first), ROWS_EACH, add)
        }
        SummedRows::Half(x) => {
            assert!(first + columns <= x.columns, "columns of a row");
            let launch = launch("column_sums_half", parts).buffer(&x.buffer).buffer_at(out, to);
            with(launch, (count, x.stride, first), ROWS_EACH, add)
        }
    };
    if parts == 1 {
        return of_rows(out, to, true);
    }
    let sums = gpu.buffer::<f32>(parts * columns)?;
    of_rows(&sums, 0, false)?;
    let launch = launch("column_sums_full", 1).buffer(&sums).buffer_at(out, to);
    with(launch, (parts, columns, 0), parts, true)
}

/// What dropout keeps: element i of (T, columns) where a hash of i and the key is at least the threshold.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Decides what is dropped.
    pub key: u64,
    /// The share that is dropped, of 2^32.
    pub threshold: u32,
    /// Multiplies what is kept.
    pub scale: f32,
}

impl Dropout {
    /// Of f32 (T, columns), in place.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn full(&self, x: &mut Buffer<f32>, columns: usize) -> Result<()> {
        self.launch("dropout_full", x, (x.len() / columns, columns, columns))
    }

    /// Of bf16 rows, in place.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn half(&self, x: &mut Half) -> Result<()> {
        self.launch::<bf16>("dropout_half", &x.buffer, (x.rows, x.columns, x.stride))
    }

    fn launch<T: Element>(
        &self,
        kernel: &'static str,
        x: &Buffer<T>,
        (rows, columns, stride): (usize, usize, usize),
    ) -> Result<()> {
        let words = [self.key as u32, (self.key >> 32) as u32, self.threshold, self.scale.to_bits()];
        Launch::new(kernel, [rows, columns.div_ceil(256), 1], 256)
            .buffer(x)
            .value(int(columns))
            .value(int(stride))
            .value(words)
            .run(x.gpu())
    }
}
