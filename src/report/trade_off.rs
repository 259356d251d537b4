//! What variants of a model reach, and how many parameters they keep (paper, Table 1, as a picture).

use super::svg::{Anchor, Svg};
use crate::bench::Axis;

const LEFT: f64 = 64.0;
const TOP: f64 = 36.0;
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
/// Room for the name of the last point.
const RIGHT: f64 = 72.0;
const BOTTOM: f64 = 48.0;
const POINT: &str = "#4c78a8";
const GRID: &str = "#dddddd";

/// A variant of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeOff {
    /// Its name, which is written beside the point.
    pub name: String,
    /// Its parameters.
    pub num_parameters: usize,
    /// The mean nDCG@10 over the data sets.
    pub ndcg_at_10: f64,
}

/// A point a variant: parameters to the right, nDCG@10 upwards. Better variants lie higher and further to the left.
///
/// ```
/// use secateur::report::{TradeOff, trade_offs};
///
/// let variant = |name: &str, num_parameters, ndcg_at_10| TradeOff { name: name.to_owned(), num_parameters, ndcg_at_10 };
/// let drawing = trade_offs("tiny", &[variant("full", 2_000_000, 0.6), variant("2M", 1_000_000, 0.5)]).to_string();
/// assert!(drawing.contains(">2M</text>") && drawing.contains("millions of parameters"));
/// ```
pub fn trade_offs(title: &str, variants: &[TradeOff]) -> Svg {
    let most = variants.iter().map(|variant| variant.num_parameters).max().unwrap_or(0);
    let (unit, name) = match most {
        1_000_000_000.. => (1e9, "billions of parameters"),
        _ => (1e6, "millions of parameters"),
    };
    let parameters = |variant: &TradeOff| variant.num_parameters as f64 / unit;
    let x = Axis::over(name, None, variants.iter().map(parameters));
    let y = Axis::over("nDCG@10", None, variants.iter().map(|variant| variant.ndcg_at_10));
    let right = |value: f64| LEFT + WIDTH * x.place(value);
    let up = |value: f64| TOP + HEIGHT * (1.0 - y.place(value));
    let mut svg = Svg::new(LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM);
    svg.text(LEFT, 18.0, Anchor::Start, title);
    for tick in &x.ticks {
        svg.line((right(*tick), TOP), (right(*tick), TOP + HEIGHT), GRID, 1.0);
        svg.text(right(*tick), TOP + HEIGHT + 16.0, Anchor::Middle, &tick.to_string());
    }
    for tick in &y.ticks {
        svg.line((LEFT, up(*tick)), (LEFT + WIDTH, up(*tick)), GRID, 1.0);
        svg.text(LEFT - 6.0, up(*tick) + 4.0, Anchor::End, &tick.to_string());
    }
    svg.text(LEFT + WIDTH / 2.0, TOP + HEIGHT + 36.0, Anchor::Middle, &x.name);
    svg.rotated_text(16.0, TOP + HEIGHT / 2.0, Anchor::Middle, -90.0, &y.name);
    for variant in variants {
        let (left, top) = (right(parameters(variant)), up(variant.ndcg_at_10));
        svg.circle(left, top, 4.0, POINT);
        svg.text(left + 7.0, top + 4.0, Anchor::Start, &variant.name);
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(name: &str, num_parameters: usize, ndcg_at_10: f64) -> TradeOff {
        TradeOff { name: name.to_owned(), num_parameters, ndcg_at_10 }
    }

    /// The coordinates of all circles, in their order.
    fn centers(svg: &str) -> Vec<(f64, f64)> {
        let number = |circle: &str, name: &str| -> f64 {
            let rest = circle.split(&format!("{name}=\"")).nth(1).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        svg.lines()
            .filter(|line| line.starts_with("<circle"))
            .map(|line| (number(line, "cx"), number(line, "cy")))
            .collect()
    }

    #[test]
    fn smaller_variants_lie_to_the_left_and_better_ones_higher() {
        let variants = [
            variant("full", 6_000_000_000, 0.5),
            variant("8M", 4_000_000_000, 0.55),
            variant("8A", 5_000_000_000, 0.3),
        ];
        let svg = trade_offs("mistral & co", &variants).to_string();
        assert!(svg.contains("billions of parameters") && svg.contains("mistral &amp; co"), "{svg}");
        let [full, mlp, attention] = centers(&svg)[..] else { panic!("{svg}") };
        assert!(mlp.0 < attention.0 && attention.0 < full.0, "{svg}");
        // Coordinates grow downwards.
        assert!(mlp.1 < full.1 && full.1 < attention.1, "{svg}");
    }

    /// A variant alone, and variants that are equal, lie inside the frame.
    #[test]
    fn equal_variants_lie_inside() {
        for count in [1, 2] {
            let svg = trade_offs("m", &vec![variant("full", 1_000_000, 0.25); count]).to_string();
            for (x, y) in centers(&svg) {
                assert!((LEFT..=LEFT + WIDTH).contains(&x) && (TOP..=TOP + HEIGHT).contains(&y), "{x} {y}");
            }
        }
    }
}
