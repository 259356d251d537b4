//! How alike two vectors are.

/// The cosine of two vectors of one length, summed in f64: from -1 to 1 but for rounding. A vector of zeros points
/// nowhere, so its cosine with any vector is 0, with another of zeros, too.
///
/// ```
/// use secateur_encoders::cosine;
/// assert_eq!(cosine(&[3.0, 4.0], &[4.0, 3.0]), 0.96);
/// assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
/// ```
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (dot, square_a, square_b) = products(a, b);
    if square_a > 0.0 && square_b > 0.0 { dot / (square_a * square_b).sqrt() } else { 0.0 }
}

/// The dot product of two vectors of one length, and that of each with itself, summed in f64.
pub(crate) fn products(a: &[f32], b: &[f32]) -> (f64, f64, f64) {
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        dot += x * y;
        square_a += x * x;
        square_b += y * y;
    }
    (dot, square_a, square_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_by_hand() {
        for (a, b, want) in [
            ([3.0, 4.0], [6.0, 8.0], 1.0),
            ([3.0, 4.0], [4.0, 3.0], 0.96),
            ([1.0, 0.0], [0.0, 7.0], 0.0),
            ([2.0, 2.0], [-1.0, -1.0], -1.0),
            ([0.0, 0.0], [1.0, 1.0], 0.0),
            ([0.0, 0.0], [0.0, 0.0], 0.0),
            // The squares of the least and the greatest f32 are f64, too.
            ([1e-45, 0.0], [3e38, 0.0], 1.0),
        ] {
            assert!((cosine(&a, &b) - want).abs() <= 1e-15, "{a:?} {b:?}");
        }
    }
}
