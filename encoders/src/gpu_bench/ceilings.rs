//! What a GPU can do at most: products of matrices, copying, reading.

use half::bf16;
use secateur_gpu::rows::Half;
use secateur_gpu::skinny::{self, Input, Output, Weight};
use secateur_gpu::{Gpu, Operand, Product};
use serde::Serialize;

use super::speed::median;
use crate::error::Result;
use crate::random;

/// The most that products and memory of a GPU give.
#[derive(Clone, Debug, Serialize)]
pub struct Ceilings {
    /// Products of bf16 summed in f32, of square matrices: 10¹² operations a second.
    pub tflops: f64,
    /// The same of signed bytes summed in 32 bits.
    pub int8_tops: f64,
    /// Bytes read and bytes written by a copy within the device: 10⁹ a second.
    pub copy_gb_s: f64,
    /// Bytes of weights that the product with one row reads: 10⁹ a second.
    pub read_gb_s: f64,
}

/// The side of the square matrices, bytes that are copied, and rows of 8,192 columns that are read, for a large GPU.
pub const LARGE: [usize; 3] = [8192, 1 << 30, 65_536];

/// Measures them, with matrices and arrays of these sizes.
///
/// # Errors
///
/// The device fails, or has no memory for three arrays of such sizes.
pub fn ceilings(gpu: &Gpu, [side, bytes, rows]: [usize; 3]) -> Result<Ceilings> {
    let operations = 2.0 * (side as f64).powi(3);
    let (x, w) = (gpu.upload(&halves(side * side, 1))?, gpu.upload(&halves(side * side, 2))?);
    let y = gpu.buffer::<bf16>(side * side)?;
    let product = |left, right, out| {
        let (left, right): (Operand, Operand) = (left, right);
        let right = right.transposed();
        Product { left, right, out, rows: side, columns: side, depth: side, alpha: 1.0, beta: 0.0 }
    };
    let of_halves = product(Operand::new(&x, side), Operand::new(&w, side), Operand::new(&y, side));
    let half_ms = milliseconds(gpu, || of_halves.run(gpu))?;
    drop((x, w, y));
    let (x, w) = (gpu.upload(&bytes_of(side * side, 1))?, gpu.upload(&bytes_of(side * side, 2))?);
    let y = gpu.buffer::<i32>(side * side)?;
    let of_bytes = product(Operand::new(&x, side), Operand::new(&w, side), Operand::new(&y, side));
    let int8_ms = milliseconds(gpu, || of_bytes.run(gpu))?;
    drop((x, w, y));
    let (from, mut to) = (gpu.zeros::<u8>(bytes)?, gpu.buffer::<u8>(bytes)?);
    let copy_ms = milliseconds(gpu, || to.copy_from(0, &from, 0, bytes))?;
    drop((from, to));
    let columns = 8192;
    let weights = gpu.zeros::<bf16>(rows * columns)?;
    let weight = Weight { buffer: &weights, rows, stride: columns, bias: None };
    let mut x = Half::new(gpu, 1, columns, columns)?;
    x.buffer.zero()?;
    let mut out = Half::new(gpu, 1, rows, rows)?;
    let read_ms = milliseconds(gpu, || skinny::multiply(Input::Half(&x), weight, Output::Store(&mut out)))?;
    Ok(Ceilings {
        tflops: operations / half_ms / 1e9,
        int8_tops: operations / int8_ms / 1e9,
        copy_gb_s: 2.0 * bytes as f64 / copy_ms / 1e6,
        read_gb_s: 2.0 * (rows * columns) as f64 / read_ms / 1e6,
    })
}

/// Random numbers, the same block of them again and again: zeros take less power and are multiplied faster.
fn repeated<T: Copy>(count: usize, block: impl FnOnce(usize) -> Vec<T>) -> Vec<T> {
    const BLOCK: usize = 1 << 16;
    let block = block(BLOCK.min(count));
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        numbers.extend_from_slice(&block[..block.len().min(count - numbers.len())]);
    }
    numbers
}

fn halves(count: usize, key: u64) -> Vec<bf16> {
    repeated(count, |count| {
        let mut random = random::named(key, "ceilings");
        (0..count).map(|_| bf16::from_f32(2.0 * random.unit() as f32 - 1.0)).collect()
    })
}

fn bytes_of(count: usize, key: u64) -> Vec<i8> {
    repeated(count, |count| {
        let mut random = random::named(key, "ceilings");
        (0..count).map(|_| random.bits() as i8).collect()
    })
}

/// The median of some runs, after two that are not counted.
fn milliseconds(gpu: &Gpu, mut run: impl FnMut() -> secateur_gpu::Result<()>) -> Result<f64> {
    run()?;
    run()?;
    let times: secateur_gpu::Result<Vec<f64>> = (0..15).map(|_| gpu.time(&mut run)).collect();
    Ok(median(times?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_fill_any_size() {
        for count in [1, 100, (1 << 16) + 3] {
            let (numbers, others) = (halves(count, 1), halves(count, 2));
            assert!(numbers.len() == count && numbers != others, "{count}");
            assert_eq!(bytes_of(count, 1).len(), count);
        }
        let numbers = halves(1 << 12, 1);
        let mean = numbers.iter().map(|x| x.to_f64()).sum::<f64>() / numbers.len() as f64;
        // The standard deviation of the mean is 0.577 / 64.
        assert!(mean.abs() < 0.04 && numbers.iter().any(|x| x.to_f64() > 0.9), "{mean}");
    }

    #[test]
    fn ceilings_are_measured() {
        let Ceilings { tflops, int8_tops, copy_gb_s, read_gb_s } =
            ceilings(&Gpu::emulated(), [16, 1 << 12, 8]).unwrap();
        for number in [tflops, int8_tops, copy_gb_s, read_gb_s] {
            assert!(number > 0.0 && number.is_finite(), "{number}");
        }
    }
}
