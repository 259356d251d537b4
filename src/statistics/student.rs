//! Student's t distribution.

/// The probability of a value at least as far from 0 as `t`, with so many degrees of freedom.
pub(super) fn two_sided(t: f64, freedom: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    regularized_beta(freedom / (freedom + t * t), t * t / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The regularized incomplete beta function I_x(a, b), where `y` is 1 - x. Its continued fraction (DLMF 8.17.22)
/// converges fast below the mean. Above it the mirror image is computed (DLMF 8.17.4).
fn regularized_beta(x: f64, y: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularized_beta(y, x, b, a);
    }
    let front = (a * x.ln() + b * y.ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    // Lentz's method: the fraction from the front, by the ratios of neighboring numerators and denominators.
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut fraction, mut numerators, mut denominators) = (1.0, 1.0, 0.0);
    for step in 0..10_000 {
        let m = f64::from(step / 2);
        let coefficient = match step {
            0 => 1.0,
            _ if step % 2 == 0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        denominators = 1.0 / away_from_zero(1.0 + coefficient * denominators);
        numerators = away_from_zero(1.0 + coefficient / numerators);
        let change = numerators * denominators;
        fraction *= change;
        if step > 0 && (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    front * (fraction - 1.0)
}

/// The logarithm of the gamma function for a positive number: Stirling's series (DLMF 5.11.1), from 20 on down.
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 6] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0];
    let (mut at, mut product) = (x, 1.0);
    while at < 20.0 {
        product *= at;
        at += 1.0;
    }
    let square = at * at;
    let rest = SERIES.iter().rev().fold(0.0, |sum, term| sum / square + term) / at;
    (at - 0.5) * at.ln() - at + 0.5 * std::f64::consts::TAU.ln() + rest - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // With one degree of freedom it is Cauchy's distribution, with two it is algebraic.
        for t in [0.0, 0.3, 1.0, 2.5, 40.0] {
            let cauchy = 1.0 - 2.0 * f64::atan(t) / std::f64::consts::PI;
            assert!((two_sided(t, 1.0) - cauchy).abs() < 1e-13, "{t}");
            let two = 1.0 - t / (2.0 + t * t).sqrt();
            assert!((two_sided(t, 2.0) - two).abs() < 1e-13, "{t}");
        }
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-14);
        assert!(ln_gamma(1.0).abs() < 1e-14 && (ln_gamma(5.0) - 24f64.ln()).abs() < 1e-14);
    }
}
