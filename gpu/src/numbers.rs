//! Numbers that are trained, their gradients, and the optimizer.

use half::bf16;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};

fn launch(kernel: &'static str, count: usize) -> Launch {
    Launch::new(kernel, [count.div_ceil(256), 1, 1], 256)
}

/// Adds all of `y` to the numbers of `x` from `first` on.
///
/// # Errors
///
/// The device fails.
pub fn add(x: &mut Buffer<f32>, first: usize, y: &Buffer<f32>) -> Result<()> {
    assert!(first + y.len() <= x.len(), "{} numbers at {first} of {}", y.len(), x.len());
    launch("add_numbers", y.len()).buffer_at(x, first).buffer(y).value(y.len()).run(x.gpu())
}

/// Fills `out` with the numbers of `x` from `first` on, plus an offset.
///
/// # Errors
///
/// The device fails.
pub fn copy(x: &Buffer<f32>, first: usize, offset: f32, out: &mut Buffer<f32>) -> Result<()> {
    copied((x, first), offset, false, out)
}

/// Fills `out` with max(x, 0) of the numbers of `x` from `first` on.
///
/// # Errors
///
/// The device fails.
pub fn relu(x: &Buffer<f32>, first: usize, out: &mut Buffer<f32>) -> Result<()> {
    copied((x, first), 0.0, true, out)
}

fn copied((x, first): (&Buffer<f32>, usize), offset: f32, relu: bool, out: &Buffer<f32>) -> Result<()> {
    assert!(first + out.len() <= x.len(), "{} numbers from {first} of {}", out.len(), x.len());
    launch("copy_numbers", out.len())
        .buffer_at(x, first)
        .buffer(out)
        .value(out.len())
        .value(offset)
        .value(i32::from(relu))
        .run(x.gpu())
}

/// What a table (V, columns) is filled with.
#[derive(Clone, Copy, Debug)]
pub enum Filling<'a> {
    /// These numbers (V, columns) times a factor.
    Scaled(&'a Buffer<f32>, f32),
    /// In row k P + p the sum of row k of the types (K, columns) and row p of the positions (P, columns).
    Sums {
        /// (K, columns)
        types: &'a Buffer<f32>,
        /// (P, columns)
        positions: &'a Buffer<f32>,
    },
}

/// Fills a table of bf16.
///
/// # Errors
///
/// The device fails.
pub fn fill_table(table: &mut Buffer<bf16>, columns: usize, with: Filling<'_>) -> Result<()> {
    let (values, types, factor) = match with {
        Filling::Scaled(values, factor) => (values, None, factor),
        Filling::Sums { types, positions } => (positions, Some(types), 1.0),
    };
    let of_types = types.map_or(1, |types| types.len() / columns);
    assert_eq!(table.len(), values.len() * of_types, "a number for each of the table");
    launch("fill_table", table.len())
        .buffer(values)
        .maybe(types)
        .buffer(table)
        .value(table.len())
        .value(values.len())
        .value(int(columns))
        .value(factor)
        .run(table.gpu())
}

/// Adds rows of `x` (T, columns), times a factor, to rows of `out` (V, columns), by number: row i to row `rows[i]`. The
/// order of the sums is that of the rows.
///
/// # Errors
///
/// The device fails.
pub fn add_rows(out: &mut Buffer<f32>, rows: &[u32], x: &Buffer<f32>, factor: f32) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = x.len() / rows.len();
    let num_rows = out.len() / columns;
    assert!(x.len() == rows.len() * columns && out.len() == num_rows * columns, "equal rows");
    assert!(rows.iter().all(|row| (*row as usize) < num_rows), "every row is one of {num_rows}");
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by_key(|place| rows[*place as usize]);
    let (mut ids, mut starts) = (Vec::new(), Vec::new());
    for (place, row) in order.iter().map(|place| rows[*place as usize]).enumerate() {
        if ids.last() != Some(&row) {
            ids.push(row);
            starts.push(place as u32);
        }
    }
    starts.push(rows.len() as u32);
    let gpu = out.gpu();
    Launch::new("add_rows", [ids.len(), 1, 1], 256)
        .buffer(x)
        .buffer(&gpu.upload(&ids)?)
        .buffer(&gpu.upload(&starts)?)
        .buffer(&gpu.upload(&order)?)
        .buffer(out)
        .value(int(columns))
        .value(factor)
        .run(gpu)
}

/// AdamW (Loshchilov & Hutter 2019): p -= rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decay p).
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// The learning rate.
    pub rate: f64,
    /// How much of the mean is kept.
    pub beta1: f64,
    /// How much of the mean square is kept.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// What parameters lose, times the rate.
    pub decay: f64,
    /// Multiplies gradients first.
    pub scale: f32,
    /// t, from 1 on.
    pub step: usize,
}

impl AdamW {
    /// One step: parameters and both means change.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn step(
        &self,
        parameters: &mut Buffer<f32>,
        gradient: &Buffer<f32>,
        [mean, square]: [&mut Buffer<f32>; 2],
    ) -> Result<()> {
        let count = parameters.len();
        assert!([gradient.len(), mean.len(), square.len()] == [count; 3], "a gradient for each parameter");
        let correction = |beta: f64| (1.0 - beta.powf(self.step as f64)) as f32;
        let AdamW { rate, beta1, beta2, eps, decay, scale, .. } = *self;
        let [rate, low, high, eps, decay] = [rate, beta1, beta2, eps, decay].map(|x| x as f32);
        let with = [rate, low, high, eps, decay, scale, correction(beta1), correction(beta2)];
        launch("adamw", count)
            .buffer(parameters)
            .buffer(gradient)
            .buffer(mean)
            .buffer(square)
            .value(count)
            .value(with.map(f32::to_bits))
            .run(parameters.gpu())
    }
}

/// The sum of squares, in an order that depends on the number of values alone.
///
/// # Errors
///
/// The device fails.
pub fn squared_sum(x: &Buffer<f32>) -> Result<f64> {
    let parts = x.gpu().buffer::<f32>(x.len().div_ceil(65_536))?;
    let launch = Launch::new("squared_sum", [parts.len(), 1, 1], 256);
    launch.buffer(x).buffer(&parts).value(x.len()).run(x.gpu())?;
    Ok(parts.to_vec()?.into_iter().map(f64::from).sum())
}
