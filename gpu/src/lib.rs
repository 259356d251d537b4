//! NVIDIA GPUs: memory, kernels, products of matrices. No word of models or indexes.
//!
//! ```no_run
//! use secateur_gpu::{Gpu, Operand, Product};
//! let gpu = Gpu::open(0)?;
//! // y (2, 3) = x (2, 4) W (3, 4)^T
//! let x = gpu.upload(&[1.0f32; 8])?;
//! let w = gpu.upload(&[0.5f32; 12])?;
//! let y = gpu.buffer::<f32>(6)?;
//! Product {
//!     left: Operand::new(&x, 4), right: Operand::new(&w, 4).transposed(), out: Operand::new(&y, 3),
//!     rows: 2, columns: 3, depth: 4, alpha: 1.0, beta: 0.0,
//! }.run(&gpu)?;
//! assert_eq!(y.to_vec()?, [2.0; 6]);
//! # Ok::<(), secateur_gpu::Error>(())
//! ```
//!
//! # Overview
//!
//! - [`Gpu`] is a device that is open: [`Gpu::open`] says what is missing if there is none. It is cheap to clone, and
//!   any thread may use it. All work is done in the order of the calls, on one stream.
//! - [`Buffer`] is memory on it, typed. Dropped buffers are kept by size for the next who wants as much.
//! - [`Product`] multiplies matrices in buffers, by cuBLASLt: bf16 to bf16 or f32, f32, and i8 to i32. Each operand may
//!   be transposed, and the result added to what is there.
//! - [`Launch`] runs a kernel by its name. [`rows`], [`heads`], [`attention`], [`gate`], [`skinny`], [`pool`],
//!   [`search`], [`nf4`], [`training`] and [`numbers`] have a function for each kernel, which checks sizes: call those.
//! - `Gpu::emulated` (feature `emulate`, for tests) runs the kernels' own source on a CPU. Each thread is a fiber, and
//!   the order is random. Memory begins as NaNs and has fences. So races and wild accesses show.
//!
//! # To add a kernel
//!
//! Write it to a `.cuh` file of `kernels/` in the words of `device.cuh`. Include that file in `kernels.cu`, and name
//! the kernel in `names.h`. Then write a function for it in a file of `src/`, and a test against a plain twin in
//! `tests/`. `scripts/gpu/build.sh` compiles the PTX that is committed; a test fails until that is done.
//!
//! Both libraries of NVIDIA's, the driver and cuBLASLt, are looked for when a GPU is opened. So this builds without
//! CUDA, and what has it in it starts without a driver.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod device;
mod element;
mod error;

pub mod attention;
pub mod gate;
pub mod heads;
pub mod nf4;
pub mod numbers;
pub mod pool;
pub mod rows;
pub mod search;
pub mod skinny;
pub mod training;

use device::{backend, buffer, launch, memory, product};

pub use buffer::Buffer;
pub use device::{Gpu, Kernels};
pub use element::Element;
pub use error::{Error, Result};
pub use launch::{Argument, Launch};
pub use memory::Memory;
pub use product::{Factor, Kind, Operand, Product};
