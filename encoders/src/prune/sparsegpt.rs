//! SparseGPT (Frantar & Alistarh 2023, arXiv 2301.00774): weights are removed column by column, and the remaining
//! weights are updated to compensate.

use rayon::prelude::*;

use super::pattern::{GROUP, KEPT};

/// Added to the diagonal of the Hessian, as a share of its mean: `percdamp` of the authors' program.
const DAMPING: f64 = 0.01;

/// Zeroes two of every four weights of a row that are side by side and updates those to their right. This is Algorithm
/// 1 of the paper, with masks chosen group by group.
///
/// `weights` is (rows, columns), a multiple of four columns. `gram` (columns, columns) is the sum of x x^T over the
/// tokens of `num_sequences` calibration sequences. The Hessian is `gram` * 2 / `num_sequences`, as in the authors'
/// program. The factor matters only beside inputs that are always 0, which count as 1. Everything is computed in f64,
/// and the result is rounded once. Among equal losses the later weight is removed.
pub(super) fn prune(weights: &mut [f32], columns: usize, gram: &[f64], num_sequences: usize) {
    let mut hessian: Vec<f64> = gram.iter().map(|x| 2.0 / num_sequences as f64 * x).collect();
    let n = columns;
    let dead: Vec<bool> = (0..n).map(|i| hessian[i * n + i] == 0.0).collect();
    (0..n).filter(|i| dead[*i]).for_each(|i| hessian[i * n + i] = 1.0);
    let damping = DAMPING * (0..n).map(|i| hessian[i * n + i]).sum::<f64>() / n as f64;
    (0..n).for_each(|i| hessian[i * n + i] += damping);
    let factor = inverse_factor(&hessian, n);
    weights.par_chunks_exact_mut(n).for_each_init(Vec::new, |w, row| {
        w.clear();
        w.extend(row.iter().zip(&dead).map(|(x, dead)| if *dead { 0.0 } else { f64::from(*x) }));
        let mut goes = [false; GROUP];
        for i in 0..n {
            if i % GROUP == 0 {
                let loss = |k: usize| (w[i + k] / factor[(i + k) * n + i + k]).powi(2);
                let mut order: [usize; GROUP] = std::array::from_fn(|k| k);
                order.sort_by(|a, b| loss(*b).total_cmp(&loss(*a)).then(a.cmp(b)));
                goes = [false; GROUP];
                order[KEPT..].iter().for_each(|k| goes[*k] = true);
            }
            if goes[i % GROUP] {
                let line = &factor[i * n..(i + 1) * n];
                let error = w[i] / line[i];
                w[i..].iter_mut().zip(&line[i..]).for_each(|(w, f)| *w -= error * f);
                w[i] = 0.0;
            }
        }
        row.iter_mut().zip(&*w).for_each(|(x, w)| *x = *w as f32);
    });
}

/// U, upper triangular, with U^T U the inverse of a positive definite matrix (n, n).
///
/// With J the reversal of rows, A = J L L^T J gives A^-1 = (J L^-T J) (J L^-1 J): U is J L^-1 J. One factorization
/// and one triangular inverse, where the authors' program factors, inverts and factors again.
fn inverse_factor(matrix: &[f64], n: usize) -> Vec<f64> {
    let mut lower = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let reversed = matrix[(n - 1 - i) * n + n - 1 - j];
            let dot: f64 =
                lower[i * n..i * n + j].iter().zip(&lower[j * n..j * n + j]).map(|(a, b)| a * b).sum();
            lower[i * n + j] =
                if i == j { (reversed - dot).sqrt() } else { (reversed - dot) / lower[j * n + j] };
        }
    }
    // Row i of the inverse, from those above it.
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        let (above, rest) = inverse.split_at_mut(i * n);
        let row = &mut rest[..n];
        for k in 0..i {
            let l = lower[i * n + k];
            row[..=k].iter_mut().zip(&above[k * n..]).for_each(|(x, y)| *x -= l * y);
        }
        row[i] = 1.0;
        row[..=i].iter_mut().for_each(|x| *x /= lower[i * n + i]);
    }
    (0..n * n).map(|place| inverse[(n - 1 - place / n) * n + n - 1 - place % n]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_that_of_the_inverse() {
        let n = 7;
        let x: Vec<f64> = (0..n * n).map(|i| ((i * i + 3 * i) % 11) as f64 / 11.0).collect();
        let matrix: Vec<f64> = (0..n * n)
            .map(|p| {
                (0..n).map(|k| x[p / n * n + k] * x[p % n * n + k]).sum::<f64>()
                    + f64::from(u8::from(p / n == p % n))
            })
            .collect();
        let u = inverse_factor(&matrix, n);
        // U^T U times the matrix is the identity.
        for i in 0..n {
            for j in 0..n {
                assert!(i <= j || u[i * n + j] == 0.0);
                let inverse = |i: usize, k: usize| (0..n).map(|m| u[m * n + i] * u[m * n + k]).sum::<f64>();
                let product: f64 = (0..n).map(|k| inverse(i, k) * matrix[k * n + j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12, "{product}");
            }
        }
    }
}
