//! What a vector must be to be stored or searched with.

use crate::error::{Error, Result};

/// The largest squared length accepted: half the exponent range. With ‖q‖² and ‖v‖² up to M, |q·v| ≤ M
/// (Cauchy-Schwarz) and ‖q - v‖² ≤ 4M, so no score of finite vectors overflows f32 (largest value 2^128).
pub(crate) const MAX_SQUARED_LENGTH: f32 = (1u128 << 120) as f32;

/// Checks that `vectors` is (B, D) row-major, that every component is a finite number and no vector too long.
pub(crate) fn check_vectors(vectors: &[f32], dim: usize) -> Result<()> {
    if dim == 0 || !vectors.len().is_multiple_of(dim) {
        return Err(Error::RaggedVectors { dim, got: vectors.len() });
    }
    for (number, vector) in vectors.chunks_exact(dim).enumerate() {
        let squared = squared_length(vector);
        if squared <= f64::from(MAX_SQUARED_LENGTH) {
            continue;
        }
        if let Some(component) = vector.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite { vector: number, component, value: vector[component] });
        }
        return Err(Error::VectorTooLong { vector: number, got: squared, max: MAX_SQUARED_LENGTH });
    }
    Ok(())
}

/// The sum of the squares, in lanes that are added up at the end: one after the other they would wait for each other.
fn squared_length(vector: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (chunks, rest) = vector.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += square(*x));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| square(*x)).sum::<f64>()
}

/// [`check_vectors`] for one vector, whose length must be D.
pub(crate) fn check_vector(vector: &[f32], dim: usize) -> Result<()> {
    if vector.len() != dim {
        return Err(Error::DimensionMismatch { expected: dim, got: vector.len() });
    }
    check_vectors(vector, dim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_vectors_are_named() {
        assert!(check_vectors(&[0.0, 1.0, -2.0, 3.0], 2).is_ok());
        assert!(matches!(check_vectors(&[0.0; 3], 2), Err(Error::RaggedVectors { dim: 2, got: 3 })));
        assert!(matches!(check_vectors(&[], 0), Err(Error::RaggedVectors { .. })));
        assert!(matches!(check_vector(&[0.0; 3], 2), Err(Error::DimensionMismatch { expected: 2, got: 3 })));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let result = check_vectors(&[0.0, 0.0, 1.0, value], 2);
            assert!(matches!(result, Err(Error::NotFinite { vector: 1, component: 1, .. })), "{result:?}");
        }
        // In a lane, and behind the last whole chunk.
        for component in [3, 8, 15, 17] {
            let mut vector = [1.0; 18];
            vector[component] = f32::NAN;
            let found = check_vector(&vector, 18);
            assert!(
                matches!(found, Err(Error::NotFinite { vector: 0, component: at, .. }) if at == component)
            );
        }
        assert_eq!(squared_length(&[2.0; 19]), 76.0);
        let long = 2.0f32.powi(61);
        assert!(matches!(check_vectors(&[long], 1), Err(Error::VectorTooLong { vector: 0, .. })));
        assert!(check_vectors(&[2.0f32.powi(60)], 1).is_ok());
    }
}
