//! The kernels on the emulator, each against a plain twin in f64.

/// Attention and its gradient.
mod attention;
/// The compiled kernels are those of the sources.
mod compiled;
/// Buffers and the pool behind them.
mod memory;
/// Numbers by a formula, and how far others are from them.
mod numbers;
/// Products, and those of few rows with what is around them.
mod products;
/// Norms, heads, gates, pooling, unpacking: what is done to rows.
mod rows;
/// Rows that codes cannot rule out.
mod search;
/// Numbers that are trained, and the optimizer.
mod trained;
/// The way back through norms and MLPs, sums over rows, dropout.
mod training;
