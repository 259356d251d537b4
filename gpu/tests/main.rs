//! The kernels, each against a plain twin in f64: on the emulator, or on the GPU whose number SECATEUR_GPU_TESTS has.

/// Attention and its gradient.
mod attention;
/// The compiled kernels are those of the sources.
mod compiled;
/// The emulator or a GPU.
mod device;
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
