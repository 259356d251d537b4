use half::bf16;
use secateur_gpu::Gpu;
use secateur_gpu::rows::Half;

use crate::device::allowed;

/// Values of [-1, 1) by a linear congruential generator (Knuth's MMIX constants).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(2_685_821_657_736_338_717).wrapping_add(1))
    }

    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn full(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    pub fn half(&mut self, count: usize, scale: f32) -> Vec<bf16> {
        (0..count).map(|_| bf16::from_f32(scale * self.next())).collect()
    }
}

/// bf16 rows (T, columns) on the device, their padding zeros.
pub fn upload_half(gpu: &Gpu, values: &[bf16], columns: usize, stride: usize) -> Half {
    let mut half = Half::new(gpu, values.len() / columns, columns, stride).unwrap();
    for (row, values) in values.chunks_exact(columns).enumerate() {
        half.buffer.write_at(row * stride, values).unwrap();
    }
    half
}

/// The numbers of bf16 rows, padding left out; the padding is checked to be zeros.
pub fn read_half(half: &Half) -> Vec<f64> {
    let values = half.buffer.to_vec().unwrap();
    let mut out = Vec::new();
    for row in values.chunks_exact(half.stride) {
        assert!(row[half.columns..].iter().all(|x| *x == bf16::ZERO), "the padding has zeros");
        out.extend(row[..half.columns].iter().map(|x| x.to_f64()));
    }
    out
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

pub fn wide_half(values: &[bf16]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

/// |got - want| / |want|, infinite if a number is none.
pub fn error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let difference: f64 = got.iter().zip(want).map(|(x, y)| (x - y) * (x - y)).sum();
    let size: f64 = want.iter().map(|x| x * x).sum();
    let error = (difference / size.max(1e-30)).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Rounding to bf16 is off by at most 2^-9 of a number, and by half of that on average.
pub const OF_BF16: f64 = 4e-3;

#[track_caller]
pub fn close(what: &str, got: &[f64], want: &[f64], limit: f64) {
    let (error, limit) = (error(got, want), allowed(limit));
    assert!(error <= limit, "{what} is off by {error:.1e}; at most {limit:.1e} is rounding");
}
