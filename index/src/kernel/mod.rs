//! Dot products and squared distances of f32 vectors.
pub(crate) const LANES: usize = 16;

pub(crate) fn dot(q: &[f32], v: &[f32]) -> f32 {
    let mut acc = [0.0f32; LANES];
    let (qc, vc) = (q.chunks_exact(LANES), v.chunks_exact(LANES));
    for (l, (a, b)) in qc.remainder().iter().zip(vc.remainder()).enumerate() {
        acc[l] += a * b;
    }
    for (a, b) in qc.zip(vc) {
        for l in 0..LANES {
            acc[l] += a[l] * b[l];
        }
    }
    acc.iter().sum()
}

pub(crate) fn l2(q: &[f32], v: &[f32]) -> f32 {
    q.iter().zip(v).map(|(a, b)| (a - b) * (a - b)).sum()
}
