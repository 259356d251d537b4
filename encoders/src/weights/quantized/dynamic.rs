//! The 8-bit dynamic data type, in which the scales of 4-bit blocks are stored (Dettmers 2016, arXiv 1511.04561).

use std::sync::LazyLock;

/// Values that share a scale.
pub(super) const BLOCK: usize = 256;

/// The values of the 256 codes, ascending: `create_dynamic_map()` of bitsandbytes.
///
/// For each exponent e = 0..7 the middles of 2^e equal parts of 0.1..1, times 10^(e - 6), with either sign; and 0 and
/// 1.
pub(super) static MAP: LazyLock<[f32; 256]> = LazyLock::new(|| {
    let mut values = vec![0.0, 1.0];
    for exponent in 0..7 {
        let parts = 1usize << exponent;
        let step = (1.0f32 - 0.1) / parts as f32;
        // torch.linspace counts from the nearer end.
        let boundary = |i: usize| {
            if i < parts.div_ceil(2) {
                step.mul_add(i as f32, 0.1)
            } else {
                (-step).mul_add((parts - i) as f32, 1.0)
            }
        };
        let power = 10f64.powi(exponent - 6) as f32;
        for i in 0..parts {
            let middle = (boundary(i) + boundary(i + 1)) / 2.0;
            values.extend([power * middle, -power * middle]);
        }
    }
    values.sort_by(f32::total_cmp);
    values.try_into().expect("2 (1 + 2 + ... + 64) + 2 are 256")
});

/// Code and scale of each value and block of [`BLOCK`] values: the nearest codes of value / scale, as
/// `cquantize_blockwise_cpu_fp32` of bitsandbytes 0.50.2 finds them.
///
/// That function rounds to 65,536 equal steps of -1..1 first: -1 + i / 32,767.5. Below 1e-4 the codes are finer than
/// the steps, and 0 is no step, so that an exact 0 becomes 1.9e-5. A block of zeros gets code 0 and scale 0.
pub(super) fn quantize(values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut codes = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len().div_ceil(BLOCK));
    for block in values.chunks(BLOCK) {
        let scale = block.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        scales.push(scale);
        if scale == 0.0 {
            codes.resize(codes.len() + block.len(), 0);
            continue;
        }
        let inverse = 1.0 / scale;
        codes.extend(block.iter().map(|x| {
            let unit = (x * inverse).clamp(-1.0, 1.0);
            let step = ((unit + 1.0) * 32_767.5 + 0.5) as u16;
            nearest(&MAP, f32::from(step) / 32_767.5 - 1.0)
        }));
    }
    (codes, scales)
}

/// The code of the nearest value of `map`, the lower one of two at the same distance.
fn nearest(map: &[f32; 256], value: f32) -> u8 {
    let right = map.partition_point(|x| *x < value).clamp(1, 255);
    let left = right - 1;
    let code = if map[right] - value < value - map[left] { right } else { left };
    code as u8
}

/// The mean, as `torch.Tensor.mean` computes it on one thread with 8 lanes (AVX2): a cascade of partial sums in f32.
///
/// PyTorch adds in another order with more threads (from 32,768 numbers on) and with other vector units; the results
/// differ in the last bit. Ours is this one everywhere.
pub(super) fn mean(values: &[f32]) -> f32 {
    let sum = if values.len() < 8 { sum::<1>(values) } else { sum::<8>(values) };
    sum / values.len() as f32
}

/// `vectorized_inner_sum` of PyTorch's SumKernel.cpp: vectors of LANES numbers, four sums side by side.
fn sum<const LANES: usize>(values: &[f32]) -> f32 {
    const ROWS: usize = 4;
    const LEVELS: usize = 4;
    let (vectors, rest) = values.as_chunks::<LANES>();
    let (groups, single) = vectors.as_chunks::<ROWS>();
    let add = |sum: &mut [f32; LANES], x: &[f32; LANES]| sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);

    // Sums of 2^power groups are added to the next level's, and so on, so that terms of like size meet.
    let power = (usize::BITS - groups.len().saturating_sub(1).leading_zeros()) as usize / LEVELS;
    let power = power.max(4);
    let mut levels = [[[0.0f32; LANES]; ROWS]; LEVELS];
    let whole = groups.len() >> power << power;
    for (i, group) in groups.iter().enumerate() {
        for (sum, x) in levels[0].iter_mut().zip(group) {
            add(sum, x);
        }
        let done = i + 1;
        if done > whole || done % (1 << power) != 0 {
            continue;
        }
        for level in 1..LEVELS {
            let lower = std::mem::replace(&mut levels[level - 1], [[0.0; LANES]; ROWS]);
            levels[level].iter_mut().zip(&lower).for_each(|(sum, x)| add(sum, x));
            if done & (((1 << power) - 1) << (level * power)) != 0 {
                break;
            }
        }
    }
    let [mut sums, higher @ ..] = levels;
    for level in &higher {
        sums.iter_mut().zip(level).for_each(|(sum, x)| add(sum, x));
    }
    let [mut total, others @ ..] = sums;
    for x in single {
        add(&mut total, x);
    }
    for x in &others {
        add(&mut total, x);
    }
    rest.iter().chain(&total).fold(0.0, |sum, x| sum + x)
}
