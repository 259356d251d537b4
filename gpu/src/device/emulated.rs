//! A CPU in place of a GPU: the kernels' own source, compiled by a C++ compiler, and products as loops. For tests.
#![allow(unsafe_code)] // Calls of C++, and memory by its address, as kernels want it.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use half::bf16;
use rayon::prelude::*;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::launch::Launch;
use crate::memory::{Address, Memory};
use crate::product::{Kind, Operand, Product};

unsafe extern "C" {
    fn secateur_gpu_emulate(
        name: *const c_char,
        grid: *const c_uint,
        threads: c_uint,
        shared: usize,
        arguments: *const *mut c_void,
    ) -> c_int;
}

/// Bytes before and behind every piece of memory, which no kernel may touch.
const FENCE: usize = 256;
const FENCE_BYTE: u8 = 0xa5;
/// What memory begins with: NaNs of bf16 and f32.
const UNWRITTEN: u8 = 0xff;

/// A CPU in place of a GPU.
pub(crate) struct Emulated {
    total: usize,
    used: AtomicUsize,
}

impl Default for Emulated {
    fn default() -> Emulated {
        Emulated::with_memory(16 << 30)
    }
}

impl Emulated {
    pub(crate) fn with_memory(bytes: usize) -> Emulated {
        Emulated { total: bytes, used: AtomicUsize::new(0) }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + 2 * FENCE, 256).expect("sizes are far below the limit")
}

/// The bytes at an address of the emulated device.
///
/// # Safety
///
/// They are allocated and nobody else uses them meanwhile.
unsafe fn bytes<'a>(address: Address, count: usize) -> &'a mut [u8] {
    // SAFETY: the caller's duty.
    unsafe { std::slice::from_raw_parts_mut(address as *mut u8, count) }
}

impl Backend for Emulated {
    fn name(&self) -> String {
        "emulated".to_owned()
    }

    fn memory(&self) -> Result<Memory> {
        let used = self.used.load(Ordering::SeqCst);
        Ok(Memory { free: self.total.saturating_sub(used), total: self.total })
    }

    fn allocate(&self, size: usize) -> Result<Address> {
        let used = self.used.fetch_add(size, Ordering::SeqCst);
        if used + size > self.total {
            self.used.fetch_sub(size, Ordering::SeqCst);
            return Err(Error::OutOfMemory { wanted: size, free: self.total - used, total: self.total });
        }
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout(size)) };
        assert!(!start.is_null(), "{size} bytes for an emulated GPU");
        // SAFETY: this was just allocated, fences included.
        unsafe {
            std::ptr::write_bytes(start, FENCE_BYTE, size + 2 * FENCE);
            std::ptr::write_bytes(start.add(FENCE), UNWRITTEN, size);
        }
        Ok(start as u64 + FENCE as u64)
    }

    fn free(&self, address: Address, size: usize) {
        self.used.fetch_sub(size, Ordering::SeqCst);
        let start = address - FENCE as u64;
        // SAFETY: `allocate` gave it, with fences, and its owner is gone.
        let (before, behind) = unsafe { (bytes(start, FENCE), bytes(address + size as u64, FENCE)) };
        let whole = before.iter().chain(behind.iter()).all(|byte| *byte == FENCE_BYTE);
        // SAFETY: as above.
        unsafe { dealloc(start as *mut u8, layout(size)) };
        assert!(whole || std::thread::panicking(), "a kernel wrote outside of a buffer of {size} bytes");
    }

    fn upload(&self, to: Address, from: &[u8]) -> Result<()> {
        // SAFETY: a buffer checked that this lies in it, and it is borrowed for writing.
        unsafe { bytes(to, from.len()) }.copy_from_slice(from);
        Ok(())
    }

    fn download(&self, from: Address, to: &mut [u8]) -> Result<()> {
        // SAFETY: a buffer checked that this lies in it.
        to.copy_from_slice(unsafe { bytes(from, to.len()) });
        Ok(())
    }

    fn copy(&self, from: Address, to: Address, size: usize) -> Result<()> {
        // SAFETY: two buffers checked that this lies in them; they are not the same, one being borrowed for writing.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, size) };
        Ok(())
    }

    fn zero(&self, at: Address, size: usize) -> Result<()> {
        // SAFETY: a buffer checked that this lies in it, and it is borrowed for writing.
        unsafe { bytes(at, size) }.fill(0);
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let name = CString::new(launch.kernel).expect("names of kernels have no zero");
        let mut values = launch.arguments.clone();
        let pointers: Vec<*mut c_void> =
            values.iter_mut().map(|value| value.bytes.as_mut_ptr().cast()).collect();
        // SAFETY: the kernel reads as many arguments as it has, which `Launch` promises to hold, and copies them.
        let unknown = unsafe {
            let (grid, threads) = (launch.grid.as_ptr(), launch.threads);
            secateur_gpu_emulate(name.as_ptr(), grid, threads, launch.shared, pointers.as_ptr())
        };
        match unknown {
            0 => Ok(()),
            _ => Err(Error::failed(launch.kernel, "there is no kernel of this name")),
        }
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        let Product { left, right, out, rows, columns, depth, alpha, beta } = *product;
        if left.kind == Kind::I8 {
            let (left, right) = (read(&left, rows, depth), read(&right.transposed(), columns, depth));
            for row in 0..rows {
                for column in 0..columns {
                    let pair = left[row * depth..][..depth].iter().zip(&right[column * depth..][..depth]);
                    let sum: i32 = pair.map(|(x, y)| *x as i32 * *y as i32).sum();
                    let to = (out.address + ((row * out.stride + column) * 4) as u64) as *mut i32;
                    // SAFETY: `Product::run` checked that the buffer has this element.
                    unsafe { *to = if beta == 0.0 { sum } else { *to + sum } };
                }
            }
            return Ok(());
        }
        let (left, right) = (read(&left, rows, depth), read(&right.transposed(), columns, depth));
        let sums: Vec<f32> = (0..rows * columns)
            .into_par_iter()
            .with_min_len(64)
            .map(|item| {
                let (row, column) = (item / columns, item % columns);
                dot(&left[row * depth..][..depth], &right[column * depth..][..depth])
            })
            .collect();
        for (item, sum) in sums.into_iter().enumerate() {
            let place = item / columns * out.stride + item % columns;
            let at = out.address + (place * out.kind.bytes()) as u64;
            // SAFETY: `Product::run` checked that the buffer has this element.
            unsafe {
                let old = match (beta == 0.0, out.kind) {
                    (true, _) => 0.0,
                    (_, Kind::F32) => *(at as *const f32),
                    _ => (*(at as *const bf16)).to_f32(),
                };
                let value = alpha * sum + beta * old;
                match out.kind {
                    Kind::F32 => *(at as *mut f32) = value,
                    _ => *(at as *mut bf16) = bf16::from_f32(value),
                }
            }
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// A matrix (rows, columns) in f32, transposed if that is meant.
fn read(operand: &Operand, rows: usize, columns: usize) -> Vec<f32> {
    let at = |place: usize| {
        let address = operand.address + (place * operand.kind.bytes()) as u64;
        // SAFETY: `Product::run` checked that the buffer has this element.
        unsafe {
            match operand.kind {
                Kind::Bf16 => (*(address as *const bf16)).to_f32(),
                Kind::F32 => *(address as *const f32),
                Kind::I8 => f32::from(*(address as *const i8)),
                Kind::I32 => unreachable!("no factor is of i32"),
            }
        }
    };
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let (row, column) = if operand.transposed { (column, row) } else { (row, column) };
            values.push(at(row * operand.stride + column));
        }
    }
    values
}

/// In eight sums, which a compiler turns into vectors.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (x, y) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f32 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x.zip(y) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}
