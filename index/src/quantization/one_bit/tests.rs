//! Similarities of 1-bit codes against their definition.

use proptest::prelude::*;

use super::*;
use crate::testing::random;

/// What the similarities of a query and all rows are found to be.
fn found(bits: &OneBitCodes<'_>, query: &[f32]) -> Vec<f32> {
    let mut encoded = OneBitQuery::default();
    bits.query(query, &mut encoded);
    let rows: Vec<u32> = (0..(bits.records.len() / stride(bits.dim)) as u32).collect();
    let mut found = Vec::new();
    bits.compare(OneBitKernel::detect(), &encoded, &rows, &mut Vec::new(), |_, value| found.push(value));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The similarity is the one of the signs and of the levels nearest to the query's components, computed in f64. The
    /// vectors are moved and rotated by the same functions.
    #[test]
    fn similarities_are_those_of_signs(
        (dim, numbers) in (1usize..200).prop_flat_map(|dim| {
            (Just(dim), prop::collection::vec(-1.0f32..1.0, dim * 6..=dim * 6))
        }),
        exponent in -20i32..20,
    ) {
        let numbers: Vec<f32> = numbers.iter().map(|x| x * 2f32.powi(exponent)).collect();
        let (query, rows) = numbers.split_at(dim);
        let longest = rows.chunks_exact(dim).map(squared_length).fold(0.0, f64::max);
        for &metric in Metric::ALL {
            let buffer = OneBitCodesBuf::encode(metric, dim, Rows::F32(rows));
            let bits = buffer.borrow();
            let found = found(&bits, query);
            let mut q = Vec::new();
            move_and_rotate(metric, query, bits.mean, &mut q);
            let largest = f64::from(q.iter().fold(0.0f32, |largest, x| largest.max(x.abs())));
            for (row, value) in rows.chunks_exact(dim).zip(found) {
                let mut v = Vec::new();
                let original = move_and_rotate(metric, row, bits.mean, &mut v);
                let signs = v.iter().map(|x| if *x >= 0.0 { 1.0 } else { -1.0 });
                let product: f64 = q.iter().zip(signs).map(|(q, sign)| f64::from(*q) * sign).sum();
                let squared = squared_length(&v);
                let scale = squared / v.iter().map(|x| f64::from(x.abs())).sum::<f64>().max(f64::MIN_POSITIVE);
                let extra = if metric == Metric::InnerProduct { longest - original } else { 0.0 };
                let expected = product * scale - (squared + extra) / 2.0;
                // Each of the query's S components is off by at most half a step, a 15th of the largest component.
                let rounded = q.len() as f64 * largest / 15.0 * scale;
                let tolerance = rounded + 1e-5 * (expected.abs() + squared + extra + product.abs() * scale);
                prop_assert!((f64::from(value) - expected).abs() <= tolerance, "{}: {} not {}", metric, value, expected);
            }
        }
    }
}

/// The similarities are near those of the vectors themselves: about the error that the documentation of the module
/// states.
#[test]
fn similarities_are_near_the_true_ones() {
    for dim in [64, 100, 384, 1536] {
        let rows: Vec<f32> = random(3).take(200 * dim).collect();
        let query: Vec<f32> = random(4).take(dim).collect();
        let buffer = OneBitCodesBuf::encode(Metric::L2, dim, Rows::F32(&rows));
        let found = found(&buffer.borrow(), &query);
        let length = squared_length(&query).sqrt();
        let errors = rows.chunks_exact(dim).zip(found).map(|(row, value)| {
            let distance: f64 = query.iter().zip(row).map(|(q, v)| f64::from(q - v) * f64::from(q - v)).sum();
            let moved: f64 = query
                .iter()
                .zip(&buffer.mean)
                .map(|(q, mean)| f64::from(q - mean) * f64::from(q - mean))
                .sum();
            (f64::from(value) - (moved - distance) / 2.0) / length / squared_length(row).sqrt()
        });
        let errors: Vec<f64> = errors.collect();
        let deviation = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
        let stated = (0.57 / dim as f64).sqrt();
        // The mean of 200 errors of some 0.05 each. The 4 bits of the query add a tenth; subtracting the mean removes
        // little.
        assert!((0.8..1.3).contains(&(deviation / stated)), "{dim}: {deviation}, {stated}");
    }
}

/// Zero rows lie at a right angle to all, and rows alike have no length once the mean is gone. Numbers that are small
/// or large give no infinities.
#[test]
fn rows_at_the_edge() {
    let buffer =
        OneBitCodesBuf::encode(Metric::Cosine, 2, Rows::F32(&[1.0, 0.0, 0.0, 2.0, 0.0, 0.0, -1.0, 0.0]));
    let values = found(&buffer.borrow(), &[3.0, 0.0]);
    let is_best = |best: usize| values.iter().all(|value| *value <= values[best]);
    assert!(is_best(0) && values[2] > values[3], "{values:?}");
    for rows in [[1e-44f32, 1.0, 2.0].repeat(3), vec![1e-42; 9], vec![2f32.powi(59); 9], vec![0.0; 9]] {
        for &metric in Metric::ALL {
            let buffer = OneBitCodesBuf::encode(metric, 3, Rows::F32(&rows));
            for query in [[0.0; 3], [1e-45; 3], [2f32.powi(59), 0.0, -1.0]] {
                let values = found(&buffer.borrow(), &query);
                assert!(values.iter().all(|value| value.is_finite()), "{metric} {rows:?}: {values:?}");
            }
        }
    }
}

/// A code of other rows, a sign or a length that is wrong: all are found.
#[test]
fn wrong_codes_are_found() {
    let dim = 70;
    let rows: Vec<f32> = random(8).take(20 * dim).collect();
    for &metric in Metric::ALL {
        let buffer = OneBitCodesBuf::encode(metric, dim, Rows::F32(&rows));
        assert_eq!(buffer.borrow().verify(Rows::F32(&rows)), Ok(()));
        for (word, bit) in [(0, 0), (stride(dim) + 1, 63), (2, 3), (2, 40), (3, 0)] {
            let mut records = buffer.records.to_vec();
            records[word] ^= 1 << bit;
            let bits = OneBitCodes { records: &records, ..buffer.borrow() };
            assert_eq!(
                bits.verify(Rows::F32(&rows)),
                Err("the 1-bit code of a row"),
                "{metric} {word} {bit}"
            );
        }
        let mean: Vec<f32> = buffer.mean.iter().map(|x| x.next_up()).collect();
        assert_eq!(
            OneBitCodes { mean: &mean, ..buffer.borrow() }.verify(Rows::F32(&rows)),
            Err("the mean of the rows")
        );
    }
}
