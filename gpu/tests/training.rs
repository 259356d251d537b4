use secateur_gpu::Gpu;
use secateur_gpu::rows::Norm;
use secateur_gpu::training::{AdamW, norm_backward, squared_sum};

use crate::numbers::{Numbers, close, wide};

/// sum_j g_j norm(x)_j in f64.
fn weighted(x: &[f64], weight: &[f32], gradient: &[f32], centered: bool) -> f64 {
    let n = x.len() as f64;
    let mean = if centered { x.iter().sum::<f64>() / n } else { 0.0 };
    let squares: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
    let scale = 1.0 / (squares / n + 1e-5).sqrt();
    let pairs = weight.iter().zip(gradient);
    x.iter().zip(pairs).map(|(x, (w, g))| (x - mean) * scale * f64::from(*w) * f64::from(*g)).sum()
}

/// Against central differences in f64, added to what was there.
#[test]
fn gpu_gradients_of_norms_are_slopes() {
    let gpu = Gpu::emulated();
    let (rows, columns) = (2, 36);
    for centered in [false, true] {
        let mut numbers = Numbers::new(3);
        let (x, weight) = (numbers.full(rows * columns), numbers.full(columns));
        let (gradient, before) = (numbers.full(rows * columns), numbers.full(rows * columns));
        let norm = Norm {
            weight: gpu.upload(&weight).unwrap(),
            bias: centered.then(|| gpu.zeros(columns).unwrap()),
            eps: 1e-5,
        };
        let mut out = gpu.upload(&before).unwrap();
        norm_backward(&gpu.upload(&x).unwrap(), &norm, &gpu.upload(&gradient).unwrap(), &mut out).unwrap();
        let mut want = Vec::new();
        for row in 0..rows {
            let x = wide(&x[row * columns..][..columns]);
            let gradient = &gradient[row * columns..][..columns];
            for k in 0..columns {
                let at = |step: f64| {
                    let mut moved = x.clone();
                    moved[k] += step;
                    weighted(&moved, &weight, gradient, centered)
                };
                want.push((at(1e-5) - at(-1e-5)) / 2e-5 + f64::from(before[row * columns + k]));
            }
        }
        close("a norm's gradient", &wide(&out.to_vec().unwrap()), &want, 1e-5);
    }
}

/// Three steps against the formula in f64.
#[test]
fn gpu_steps_of_adamw_are_those_of_the_paper() {
    let gpu = Gpu::emulated();
    let count = 300;
    let mut numbers = Numbers::new(4);
    let start = numbers.full(count);
    let (mut parameters, mut half) = (gpu.upload(&start).unwrap(), gpu.buffer(count).unwrap());
    let (mut mean, mut square) = (gpu.zeros(count).unwrap(), gpu.zeros(count).unwrap());
    let (mut p, mut m, mut v) = (wide(&start), vec![0.0; count], vec![0.0; count]);
    for step in 1..=3 {
        let gradient = numbers.full(count);
        let with = AdamW { rate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1, scale: 0.5, step };
        with.step(
            &mut parameters,
            &gpu.upload(&gradient).unwrap(),
            [&mut mean, &mut square],
            Some(&mut half),
        )
        .unwrap();
        for i in 0..count {
            let g = 0.5 * f64::from(gradient[i]);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            let corrected =
                [m[i] / (1.0 - 0.9f64.powi(step as i32)), v[i] / (1.0 - 0.999f64.powi(step as i32))];
            p[i] -= 1e-2 * 0.1 * p[i];
            p[i] -= 1e-2 * corrected[0] / (corrected[1].sqrt() + 1e-8);
        }
    }
    close("parameters", &wide(&parameters.to_vec().unwrap()), &p, 1e-5);
    let rounded: Vec<f64> = half.to_vec().unwrap().iter().map(|x: &half::bf16| x.to_f64()).collect();
    close("their copy", &rounded, &p, 4e-3);
}

#[test]
fn gpu_sums_of_squares_have_all_numbers() {
    let gpu = Gpu::emulated();
    let x = Numbers::new(5).full(70_001);
    let want: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let got = squared_sum(&gpu.upload(&x).unwrap()).unwrap();
    assert!((got - want).abs() < 1e-5 * want, "{got} is not {want}");
}
