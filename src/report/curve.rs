//! Curves of numbers over training steps, such as the loss or a measure.

use super::svg::{Anchor, Svg};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 36.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 40.0;
const COLORS: [&str; 5] = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d"];

/// A number at some steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What it is.
    pub name: String,
    /// Step and value, by step.
    pub points: Vec<(f64, f64)>,
}

/// Curves over the same steps, one below the other. Each has a panel and a scale of its own.
///
/// ```
/// use secateur::report::{Curve, curves};
/// let loss = Curve { name: "loss".to_owned(), points: vec![(1.0, 3.0), (2.0, 1.5)] };
/// let drawing = curves("tiny", &[loss]).to_string();
/// assert!(drawing.contains("loss") && drawing.contains("polyline"));
/// ```
pub fn curves(title: &str, curves: &[Curve]) -> Svg {
    let panel = TOP + HEIGHT + BOTTOM;
    let mut svg = Svg::new(LEFT + WIDTH + RIGHT, panel * curves.len().max(1) as f64);
    svg.text(LEFT, 14.0, Anchor::Start, title);
    let last = curves.iter().flat_map(|curve| curve.points.last()).map(|(step, _)| *step).fold(1.0, f64::max);
    for (number, curve) in curves.iter().enumerate() {
        let top = TOP + panel * number as f64;
        let color = COLORS[number % COLORS.len()];
        let values = curve.points.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| (least.min(x), most.max(x)));
        // A constant curve lies in the middle of its panel.
        let (least, most) = if least < most { (least, most) } else { (least - 0.5, least + 0.5) };
        let x = |step: f64| LEFT + WIDTH * step / last;
        let y = |value: f64| top + HEIGHT * (1.0 - (value - least) / (most - least));
        for share in [0.0, 0.5, 1.0] {
            let value = least + share * (most - least);
            svg.line((LEFT, y(value)), (LEFT + WIDTH, y(value)), "#dddddd", 1.0);
            svg.text(LEFT - 6.0, y(value) + 4.0, Anchor::End, &format!("{value:.3}"));
        }
        let points: Vec<(f64, f64)> = curve
            .points
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(step, value)| (x(*step), y(*value)))
            .collect();
        svg.polyline(&points, color, 1.5);
        svg.text(LEFT + WIDTH, top - 6.0, Anchor::End, &curve.name);
        for share in [0.0, 0.5, 1.0] {
            let step = (share * last).round();
            svg.text(x(step), top + HEIGHT + 14.0, Anchor::Middle, &format!("{step}"));
        }
        svg.text(LEFT + WIDTH / 2.0, top + HEIGHT + 30.0, Anchor::Middle, "step");
    }
    svg
}
