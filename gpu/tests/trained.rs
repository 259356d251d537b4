use half::bf16;
use proptest::prelude::*;
use secateur_gpu::numbers::{AdamW, Filling, add, add_rows, copy, fill_table, relu, squared_sum};

use crate::device::gpu;
use crate::numbers::{Numbers, close, wide};

/// Three steps against the formula in f64.
#[test]
fn gpu_steps_of_adamw_are_those_of_the_paper() {
    let gpu = gpu();
    let count = 300;
    let mut numbers = Numbers::new(4);
    let start = numbers.full(count);
    let mut parameters = gpu.upload(&start).unwrap();
    let (mut mean, mut square) = (gpu.zeros(count).unwrap(), gpu.zeros(count).unwrap());
    let (mut p, mut m, mut v) = (wide(&start), vec![0.0; count], vec![0.0; count]);
    for step in 1..=3 {
        let gradient = numbers.full(count);
        let with = AdamW { rate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1, scale: 0.5, step };
        let means = [&mut mean, &mut square];
        with.step(&mut parameters, &gpu.upload(&gradient).unwrap(), means).unwrap();
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
    close("means", &wide(&mean.to_vec().unwrap()), &m, 1e-5);
    // 1 - 0.999 in f32 is off by 1.3e-5 of it.
    close("mean squares", &wide(&square.to_vec().unwrap()), &v, 2e-5);
}

#[test]
fn gpu_sums_of_squares_have_all_numbers() {
    let gpu = gpu();
    let x = Numbers::new(5).full(70_001);
    let want: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let got = squared_sum(&gpu.upload(&x).unwrap()).unwrap();
    close("a sum of squares", &[got], &[want], 1e-5);
}

#[test]
fn gpu_numbers_are_added_and_copied_where_they_should() {
    let gpu = gpu();
    let mut numbers = Numbers::new(6);
    let (x, y) = (numbers.full(700), numbers.full(300));
    let mut sum = gpu.upload(&x).unwrap();
    add(&mut sum, 350, &gpu.upload(&y).unwrap()).unwrap();
    let mut want = x.clone();
    want[350..650].iter_mut().zip(&y).for_each(|(x, y)| *x += y);
    assert_eq!(sum.to_vec().unwrap(), want);
    let mut part = gpu.buffer(300).unwrap();
    copy(&sum, 350, 1.0, &mut part).unwrap();
    let shifted: Vec<f32> = want[350..650].iter().map(|x| x + 1.0).collect();
    assert_eq!(part.to_vec().unwrap(), shifted);
    relu(&sum, 350, &mut part).unwrap();
    let cut: Vec<f32> = want[350..650].iter().map(|x| x.max(0.0)).collect();
    assert_eq!(part.to_vec().unwrap(), cut);
}

#[test]
fn gpu_tables_are_filled_with_what_is_trained() {
    let gpu = gpu();
    let (types, positions, columns) = (2, 7, 50);
    let mut numbers = Numbers::new(7);
    let of_types = numbers.full(types * columns);
    let of_positions = numbers.full(positions * columns);
    let there = [gpu.upload(&of_types).unwrap(), gpu.upload(&of_positions).unwrap()];
    let mut table = gpu.buffer(positions * columns).unwrap();
    fill_table(&mut table, columns, Filling::Scaled(&there[1], 3.0)).unwrap();
    let want: Vec<bf16> = of_positions.iter().map(|x| bf16::from_f32(x * 3.0)).collect();
    assert_eq!(table.to_vec().unwrap(), want);
    let mut table = gpu.buffer(types * positions * columns).unwrap();
    fill_table(&mut table, columns, Filling::Sums { types: &there[0], positions: &there[1] }).unwrap();
    let sum = |row: usize, column: usize| {
        let (kind, position) = (row / positions, row % positions);
        bf16::from_f32(of_positions[position * columns + column] + of_types[kind * columns + column])
    };
    let rows = (0..types * positions).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let want: Vec<bf16> = rows.map(|(row, column)| sum(row, column)).collect();
    assert_eq!(table.to_vec().unwrap(), want);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Rows that come more than once are added up, others stay.
    #[test]
    fn gpu_rows_are_added_to_those_of_their_numbers(
        rows in prop::collection::vec(0..9u32, 0..30),
        columns in 1..300usize,
    ) {
        let gpu = gpu();
        let mut numbers = Numbers::new(columns as u64);
        let (before, x) = (numbers.full(9 * columns), numbers.full(rows.len() * columns));
        let mut out = gpu.upload(&before).unwrap();
        add_rows(&mut out, &rows, &gpu.upload(&x).unwrap(), -0.5).unwrap();
        let mut want = wide(&before);
        for (row, x) in rows.iter().zip(x.chunks_exact(columns)) {
            let to = &mut want[*row as usize * columns..][..columns];
            to.iter_mut().zip(x).for_each(|(to, x)| *to -= 0.5 * f64::from(*x));
        }
        close("sums of rows", &wide(&out.to_vec().unwrap()), &want, 1e-6);
    }
}
