//! What some beginnings of an adapter take out of the base: PEFT takes it out again whenever it loads such an adapter.
//!
//! PiSSA (Meng et al. 2024) begins as the best approximation of a matrix of rank r. OLoRA (Büyükakyüz 2024) begins as
//! the first columns of its QR decomposition. The base keeps what is left.

use rayon::prelude::*;
use secateur_random::SplitMix64;

/// W without its best approximation of rank `rank`: W - (W V) V^T, V the first right singular vectors. `values` is
/// (rows, `columns`).
pub(super) fn without_principal(values: &mut [f32], columns: usize, rank: usize) {
    let vectors = right_singular_vectors(values, columns, rank);
    values.par_chunks_exact_mut(columns).for_each(|row| {
        for vector in &vectors {
            let part = dot_wide(row, vector);
            row.iter_mut().zip(vector).for_each(|(x, v)| *x -= (part * v) as f32);
        }
    });
}

/// W - scaling Q (Q^T W), the columns of Q an orthonormal base of the first `rank` columns of W, in their order.
pub(super) fn without_first_columns(values: &mut [f32], columns: usize, rank: usize, scaling: f64) {
    let mut base: Vec<Vec<f64>> = Vec::new();
    for column in 0..rank.min(columns) {
        let mut vector: Vec<f64> = values[column..].iter().step_by(columns).map(|x| f64::from(*x)).collect();
        if orthonormalize(&mut vector, &base) {
            base.push(vector);
        }
    }
    let sums: Vec<Vec<f64>> = base
        .par_iter()
        .map(|vector| {
            let mut sums = vec![0.0; columns];
            for (row, q) in values.chunks_exact(columns).zip(vector) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += q * f64::from(*x));
            }
            sums
        })
        .collect();
    values.par_chunks_exact_mut(columns).enumerate().for_each(|(number, row)| {
        for (vector, sums) in base.iter().zip(&sums) {
            let q = scaling * vector[number];
            row.iter_mut().zip(sums).for_each(|(x, sum)| *x -= (q * sum) as f32);
        }
    });
}

/// The right singular vectors of the `rank` largest singular values of W. Lanczos' method on W^T W finds them, with
/// full reorthogonalization (Golub & Van Loan, Matrix Computations, section 10.1). It takes as many steps as the
/// vectors need to settle, at most the number of columns.
fn right_singular_vectors(values: &[f32], columns: usize, rank: usize) -> Vec<Vec<f64>> {
    const SETTLED: f64 = 1e-12;
    let rank = rank.min(columns);
    let mut random = SplitMix64::new(0);
    let mut base: Vec<Vec<f64>> = Vec::new();
    let (mut diagonal, mut beside): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next: Vec<f64> = (0..columns).map(|_| random.unit() - 0.5).collect();
    orthonormalize(&mut next, &base);
    loop {
        let vector = next;
        let mut product = gram_times(values, columns, &vector);
        diagonal.push(dot(&product, &vector));
        base.push(vector);
        let mut coupling = orthogonalize(&mut product, &base);
        // Nothing new is in this direction: go on in another.
        let scale = diagonal.iter().fold(0.0f64, |max, x| max.max(x.abs()));
        let is_new = coupling > SETTLED * scale;
        if !is_new {
            coupling = 0.0;
            product = (0..columns).map(|_| random.unit() - 0.5).collect();
            orthogonalize(&mut product, &base);
        }
        let steps = base.len();
        let is_whole = steps == columns;
        if is_whole || steps >= rank && steps.is_multiple_of(rank + 8) {
            let (eigenvalues, eigenvectors) = tridiagonal(diagonal.clone(), beside.clone());
            let mut order: Vec<usize> = (0..steps).collect();
            order.sort_by(|a, b| eigenvalues[*b].total_cmp(&eigenvalues[*a]));
            // How far each is from an eigenvector: the coupling times its last component.
            let settled =
                |i: &usize| coupling > 0.0 && coupling * eigenvectors[*i][steps - 1].abs() <= SETTLED * scale;
            if is_whole || order[..rank].iter().all(settled) {
                let combined = |i: &usize| {
                    let mut vector = vec![0.0; columns];
                    for (weight, direction) in eigenvectors[*i].iter().zip(&base) {
                        vector.iter_mut().zip(direction).for_each(|(x, d)| *x += weight * d);
                    }
                    vector
                };
                return order[..rank].iter().map(combined).collect();
            }
        }
        beside.push(coupling);
        let length = dot(&product, &product).sqrt();
        next = product.into_iter().map(|x| x / length).collect();
    }
}

/// W^T (W v)
fn gram_times(values: &[f32], columns: usize, vector: &[f64]) -> Vec<f64> {
    // Parts of a fixed number of rows, so that sums do not depend on the number of threads.
    const ROWS: usize = 64;
    let parts: Vec<Vec<f64>> = values
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut sums = vec![0.0; columns];
            for row in rows.chunks_exact(columns) {
                let product = dot_wide(row, vector);
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += product * f64::from(*x));
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; columns];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    total
}

/// Takes the directions of `base` out of a vector, twice, for once leaves rounding errors. Returns its length.
fn orthogonalize(vector: &mut [f64], base: &[Vec<f64>]) -> f64 {
    for _ in 0..2 {
        for direction in base {
            let part = dot(vector, direction);
            vector.iter_mut().zip(direction).for_each(|(x, d)| *x -= part * d);
        }
    }
    dot(vector, vector).sqrt()
}

/// The same, scaled to length 1. False if nothing is left.
fn orthonormalize(vector: &mut [f64], base: &[Vec<f64>]) -> bool {
    let before = dot(vector, vector).sqrt();
    let length = orthogonalize(vector, base);
    let is_new = length > 1e-12 * before;
    if is_new {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    is_new
}

/// Eigenvalues and eigenvectors of a symmetric tridiagonal matrix, by the implicit QL method (Wilkinson & Reinsch 1971,
/// tql2).
fn tridiagonal(mut d: Vec<f64>, mut e: Vec<f64>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = d.len();
    e.resize(n, 0.0);
    let mut vectors: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect();
    for l in 0..n {
        // Fifty turns are far more than the method ever takes.
        for _ in 0..50 {
            let small = |i: usize| e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs());
            let m = (l..n - 1).find(|i| small(*i)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            g = d[m] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut is_cut = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    is_cut = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                let (lower, upper) = vectors.split_at_mut(i + 1);
                for (x, y) in lower[i].iter_mut().zip(upper[0].iter_mut()) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
            if !is_cut {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    (d, vectors)
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn dot_wide(x: &[f32], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// U diag(s) V^T with random orthonormal U and V.
    fn matrix(rows: usize, columns: usize, singular: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let mut random = SplitMix64::new(7);
        let mut base = |length: usize| -> Vec<Vec<f64>> {
            let mut base: Vec<Vec<f64>> = Vec::new();
            while base.len() < singular.len() {
                let mut vector: Vec<f64> = (0..length).map(|_| random.unit() - 0.5).collect();
                if orthonormalize(&mut vector, &base) {
                    base.push(vector);
                }
            }
            base
        };
        let (left, right) = (base(rows), base(columns));
        let sum = |first: usize| {
            let mut values = vec![0.0f32; rows * columns];
            for k in first..singular.len() {
                for row in 0..rows {
                    for column in 0..columns {
                        values[row * columns + column] +=
                            (singular[k] * left[k][row] * right[k][column]) as f32;
                    }
                }
            }
            values
        };
        (sum(0), sum(3))
    }

    #[test]
    fn the_principal_part_is_what_singular_values_say() {
        for (rows, columns) in [(40, 24), (24, 40), (200, 150)] {
            let singular: Vec<f64> = (0..20).map(|k| 5.0 * 0.9f64.powi(k)).collect();
            let (mut values, rest) = matrix(rows, columns, &singular);
            without_principal(&mut values, columns, 3);
            let worst = values.iter().zip(&rest).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-6, "{rows} x {columns}: {worst}");
        }
    }

    #[test]
    fn the_first_columns_go() {
        let (values, _) = matrix(12, 9, &[3.0, 2.0, 1.5, 1.0, 0.5]);
        let mut rest = values.clone();
        without_first_columns(&mut rest, 9, 2, 1.0);
        for row in rest.chunks_exact(9) {
            assert!(row[..2].iter().all(|x| x.abs() < 1e-6), "{row:?}");
        }
        // Half of it goes where the factor is a half.
        let mut half = values.clone();
        without_first_columns(&mut half, 9, 2, 0.5);
        let worst = values
            .iter()
            .zip(&rest)
            .zip(&half)
            .map(|((x, r), h)| (0.5 * (x + r) - h).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-6, "{worst}");
    }
}
