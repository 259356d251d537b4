//! What is done to rows of activations: norms, sums, copies.
//!
//! f32 arrays are (T, columns). bf16 arrays are [`Half`]: their rows begin at multiples of a stride. The columns beyond
//! the first ones are zeros.

use half::bf16;

use crate::buffer::Buffer;
use crate::device::Gpu;
use crate::error::Result;
use crate::launch::{Launch, int};

const THREADS: u32 = 256;

/// Rows of bf16: row r has the elements from `r * stride` on, of which the first `columns` count.
#[derive(Debug)]
pub struct Half {
    /// (rows, stride)
    pub buffer: Buffer<bf16>,
    /// T
    pub rows: usize,
    /// Those that count.
    pub columns: usize,
    /// From one row to the next.
    pub stride: usize,
}

impl Half {
    /// Rows whose contents are not defined; columns beyond the first ones are zeros if there are any.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(gpu: &Gpu, rows: usize, columns: usize, stride: usize) -> Result<Half> {
        assert!(stride >= columns, "{columns} columns fit a stride of {stride}");
        let len = rows * stride;
        let buffer = if stride == columns { gpu.buffer(len)? } else { gpu.zeros(len)? };
        Ok(Half { buffer, rows, columns, stride })
    }
}

/// A normalization of rows: x / sqrt(mean(x^2) + eps) * weight, or with a bias
/// (x - mean) / sqrt(variance + eps) * weight + bias.
#[derive(Debug)]
pub struct Norm {
    /// (columns)
    pub weight: Buffer<f32>,
    /// (columns)
    pub bias: Option<Buffer<f32>>,
    /// Added to the mean square or the variance.
    pub eps: f32,
}

impl Norm {
    fn check(&self, columns: usize) {
        assert_eq!(self.weight.len(), columns, "a norm has a weight for each column");
        assert!(self.bias.as_ref().is_none_or(|bias| bias.len() == columns), "and a bias");
        assert!(columns.is_multiple_of(4), "norms are of rows of a multiple of 4 columns, not of {columns}");
    }
}

fn rows_of(x: &Buffer<f32>, columns: usize) -> usize {
    assert!(x.len().is_multiple_of(columns), "{} elements are rows of {columns}", x.len());
    x.len() / columns
}

/// The norm of each row of `x` (T, columns) in bf16.
///
/// # Errors
///
/// The device fails.
pub fn norm(x: &Buffer<f32>, norm: &Norm, out: &mut Half) -> Result<()> {
    norm.check(out.columns);
    assert_eq!(rows_of(x, out.columns), out.rows, "as many rows come out");
    norm_full(x, norm, out.columns)
        .maybe::<f32>(None)
        .buffer(&out.buffer)
        .value(int(out.stride))
        .value(int(out.columns))
        .value(norm.eps)
        .run(x.gpu())
}

/// The norm of each row in place, and in bf16 as well.
///
/// # Errors
///
/// The device fails.
pub fn norm_in_place(x: &mut Buffer<f32>, norm: &Norm, out: &mut Half) -> Result<()> {
    norm.check(out.columns);
    assert_eq!(rows_of(x, out.columns), out.rows, "as many rows come out");
    norm_full(x, norm, out.columns)
        .buffer(x)
        .buffer(&out.buffer)
        .value(int(out.stride))
        .value(int(out.columns))
        .value(norm.eps)
        .run(x.gpu())
}

fn norm_full(x: &Buffer<f32>, norm: &Norm, columns: usize) -> Launch {
    Launch::new("norm_full", [rows_of(x, columns), 1, 1], THREADS)
        .buffer(x)
        .buffer(&norm.weight)
        .maybe(norm.bias.as_ref())
}

/// The norm of each row of a bf16 array, in place.
///
/// # Errors
///
/// The device fails.
pub fn norm_half_in_place(x: &mut Half, norm: &Norm) -> Result<()> {
    norm.check(x.columns);
    Launch::new("norm_half", [x.rows, 1, 1], THREADS)
        .buffer(&x.buffer)
        .value(int(x.stride))
        .buffer(&norm.weight)
        .maybe(norm.bias.as_ref())
        .maybe::<f32>(None)
        .buffer(&x.buffer)
        .value(int(x.stride))
        .value(int(x.columns))
        .value(norm.eps)
        .run(x.buffer.gpu())
}

/// f32 rows in bf16.
///
/// # Errors
///
/// The device fails.
pub fn narrow(x: &Buffer<f32>, out: &mut Half) -> Result<()> {
    let (rows, columns, stride) = (out.rows, out.columns, out.stride);
    assert_eq!(rows_of(x, columns), rows, "as many rows come out");
    narrow_rows((x, 0), (rows, columns), (&mut out.buffer, 0), stride)
}

/// f32 rows (`rows`, `columns`) in bf16. They begin at an element of a buffer; the result has a stride, and begins at
/// an element of another buffer. Columns beyond the first ones become zeros.
///
/// # Errors
///
/// The device fails.
pub fn narrow_rows(
    (x, first): (&Buffer<f32>, usize),
    (rows, columns): (usize, usize),
    (out, to): (&mut Buffer<bf16>, usize),
    stride: usize,
) -> Result<()> {
    assert!(
        first + rows * columns <= x.len() && to + rows * stride <= out.len(),
        "both buffers have the rows"
    );
    assert!(columns <= stride, "{columns} columns fit a stride of {stride}");
    Launch::new("narrow", [rows, 1, 1], THREADS)
        .buffer_at(x, first)
        .buffer_at(out, to)
        .value(int(columns))
        .value(int(stride))
        .run(x.gpu())
}

/// bf16 rows in f32: (T, columns).
///
/// # Errors
///
/// The device fails.
pub fn widen(x: &Half, out: &mut Buffer<f32>) -> Result<()> {
    assert_eq!(rows_of(out, x.columns), x.rows, "as many rows come out");
    Launch::new("widen_rows", [x.rows, 1, 1], THREADS)
        .buffer(&x.buffer)
        .buffer(out)
        .value(int(x.columns))
        .value(int(x.stride))
        .run(out.gpu())
}

/// x += y, both (T, columns).
///
/// # Errors
///
/// The device fails.
pub fn add(x: &mut Buffer<f32>, y: &Buffer<f32>, columns: usize) -> Result<()> {
    assert_eq!(x.len(), y.len(), "both have the same size");
    let launch = Launch::new("add_full", [rows_of(x, columns), 1, 1], THREADS);
    launch.buffer(x).buffer(y).value(int(columns)).run(x.gpu())
}

/// x += y, where y is bf16.
///
/// # Errors
///
/// The device fails.
pub fn add_half(x: &mut Buffer<f32>, y: &Half) -> Result<()> {
    assert_eq!(rows_of(x, y.columns), y.rows, "both have as many rows");
    Launch::new("add_half", [y.rows, 1, 1], THREADS)
        .buffer(x)
        .buffer(&y.buffer)
        .value(int(y.columns))
        .value(int(y.stride))
        .run(x.gpu())
}

/// Adds a bias to every row.
///
/// # Errors
///
/// The device fails.
pub fn add_bias(x: &mut Buffer<f32>, bias: &Buffer<f32>) -> Result<()> {
    let launch = Launch::new("add_bias_full", [rows_of(x, bias.len()), 1, 1], THREADS);
    launch.buffer(x).buffer(bias).value(int(bias.len())).run(x.gpu())
}

/// Adds a bias to every row of a bf16 array. The bias may be longer than a row's columns, as far as the stride.
///
/// # Errors
///
/// The device fails.
pub fn add_bias_half(x: &mut Half, bias: &Buffer<f32>) -> Result<()> {
    assert!((x.columns..=x.stride).contains(&bias.len()), "a bias has a number for each column");
    Launch::new("add_bias_half", [x.rows, 1, 1], THREADS)
        .buffer(&x.buffer)
        .buffer(bias)
        .value(int(x.columns))
        .value(int(x.stride))
        .run(x.buffer.gpu())
}

/// Rows of `x` (T, columns), by number: (rows, columns).
///
/// # Errors
///
/// The device fails.
pub fn select(x: &Buffer<f32>, rows: &Buffer<u32>, out: &mut Buffer<f32>, columns: usize) -> Result<()> {
    assert_eq!(out.len(), rows.len() * columns, "as many rows come out");
    Launch::new("select_full", [rows.len(), 1, 1], THREADS)
        .buffer(x)
        .buffer(rows)
        .buffer(out)
        .value(int(columns))
        .run(x.gpu())
}

/// Rows of a bf16 array, by number.
///
/// # Errors
///
/// The device fails.
pub fn select_half(x: &Half, rows: &Buffer<u32>, out: &mut Half) -> Result<()> {
    assert_eq!((out.rows, out.stride), (rows.len(), x.stride), "as many rows come out, of the same stride");
    Launch::new("select_half", [rows.len(), 1, 1], THREADS)
        .buffer(&x.buffer)
        .buffer(rows)
        .buffer(&out.buffer)
        .value(int(x.stride))
        .run(x.buffer.gpu())
}

/// Rows of a table (V, columns): ids (T) -> (T, columns) in f32. Every id is below V.
///
/// # Errors
///
/// The device fails.
pub fn embed(table: &Buffer<bf16>, ids: &Buffer<u32>, out: &mut Buffer<f32>, columns: usize) -> Result<()> {
    assert_eq!(out.len(), ids.len() * columns, "a row for each id");
    Launch::new("embed", [ids.len(), 1, 1], THREADS)
        .buffer(table)
        .buffer(ids)
        .buffer(out)
        .value(int(columns))
        .run(table.gpu())
}
