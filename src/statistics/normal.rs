//! The standard normal distribution.

/// The probability of a value below `z`, to within some units of 1e-16.
pub(super) fn cdf(z: f64) -> f64 {
    // Beyond it the probability of the tail is below half a unit in the last place of 1.
    if z.abs() > 8.3 {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    // Marsaglia 2004, "Evaluating the normal distribution": a series whose terms are all of one sign.
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term.abs() > sum.abs() * 1e-17 {
        k += 2.0;
        term *= z * z / k;
        sum += term;
    }
    0.5 + sum * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The value below which a normal number lies with probability `p`, which is between 0 and 1: infinite at either end.
pub(super) fn quantile(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    // Bisection: 100 halvings of the range in which `cdf` is neither 0 nor 1.
    let (mut low, mut high) = (-8.3, 8.3);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of scipy.stats.norm.
    #[test]
    fn values_are_those_of_scipy() {
        for (z, p) in [
            (-4.0, 3.167_124_183_311_986e-5),
            (-1.959_963_984_540_054, 0.025),
            (-0.3, 0.382_088_577_811_047_3),
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (2.575_829_303_548_901, 0.995),
        ] {
            assert!((cdf(z) - p).abs() < 1e-15, "{z}: {}", cdf(z));
            assert!((quantile(p) - z).abs() < 1e-11, "{p}: {}", quantile(p));
        }
        assert_eq!((cdf(-40.0), cdf(40.0)), (0.0, 1.0));
        assert_eq!((quantile(0.0), quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
