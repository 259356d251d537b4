//! A drawing, as numbers: whoever draws it only places points.

use serde::{Deserialize, Serialize};

/// A drawing with two axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// What is compared.
    pub title: String,
    /// How it is read.
    pub note: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What the legend names, each with its points.
    pub series: Vec<Series>,
    /// The points that no other is better than, from left to right. Empty where there is no such line.
    pub front: Vec<[f64; 2]>,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What it tells.
    pub name: String,
    /// In what; `None` where it is a bare number.
    pub unit: Option<String>,
    /// The numbers beside it, at equal distances: from the first to the last it reaches.
    pub ticks: Vec<f64>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What they are of.
    pub name: String,
    /// Whether a line joins them.
    pub is_line: bool,
    /// The points, in the order of the line.
    pub points: Vec<PlotPoint>,
}

/// A point of a drawing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlotPoint {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// What tells it apart from others of its series.
    pub label: Option<String>,
}

impl Axis {
    /// An axis that reaches over these values, at rounded numbers.
    ///
    /// ```
    /// use secateur::bench::Axis;
    /// assert_eq!(Axis::over("recall", None, [0.62, 0.97]).ticks, [0.6, 0.7, 0.8, 0.9, 1.0]);
    /// assert_eq!(Axis::from_zero("time", Some("ms"), [13.0]).ticks, [0.0, 5.0, 10.0, 15.0]);
    /// ```
    pub fn over(name: &str, unit: Option<&str>, values: impl IntoIterator<Item = f64>) -> Axis {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = match low < high {
            true => (low, high),
            // A single value lies in the middle; of none the axis is that of shares.
            false if low == high && low != 0.0 => (low - low.abs() / 10.0, high + high.abs() / 10.0),
            false => (0.0, 1.0),
        };
        Axis { name: name.to_owned(), unit: unit.map(str::to_owned), ticks: ticks(low, high) }
    }

    /// The same of shares: where all are one, the axis reaches from below up to it, and not beyond 1.
    ///
    /// ```
    /// use secateur::bench::Axis;
    /// let ticks = Axis::of_shares("recall", [1.0, 1.0]).ticks;
    /// assert_eq!((ticks[0], ticks[ticks.len() - 1]), (0.9, 1.0));
    /// ```
    pub fn of_shares(name: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let first = values.first().copied().unwrap_or(0.0);
        let below = values.iter().all(|value| *value == first).then_some(0.9 * first);
        Axis::over(name, None, values.into_iter().chain(below))
    }

    /// The same, from 0.
    pub fn from_zero(name: &str, unit: Option<&str>, values: impl IntoIterator<Item = f64>) -> Axis {
        Axis::over(name, unit, values.into_iter().chain([0.0]))
    }

    /// Where a value lies: 0 at the first tick, 1 at the last.
    pub fn place(&self, value: f64) -> f64 {
        let (first, last) =
            (self.ticks.first().copied().unwrap_or(0.0), self.ticks.last().copied().unwrap_or(1.0));
        (value - first) / (last - first)
    }
}

/// About five multiples of 1, 2, 2.5 or 5 times a power of ten, that reach from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(rough);
    // Values that are ticks but for rounding are no reason for another tick.
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    let count = (last - first).max(1.0) as usize;
    // Rounded, so that no tick is 0.30000000000000004.
    let round = |value: f64| (value / power * 1000.0).round() / 1000.0 * power;
    let decimal = |value: f64| format!("{value:.12}").parse().unwrap_or(value);
    (0..=count).map(|tick| decimal(round((first + tick as f64) * step))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_reach_over_their_values_at_rounded_numbers() {
        for (low, high) in
            [(0.0, 1.0), (0.612, 0.645), (0.0, 0.00031), (3.0, 12345.6), (0.3, 0.30001), (-2.0, 7.0)]
        {
            let ticks = Axis::over("x", None, [low, high]).ticks;
            assert!((3..=8).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(
                ticks[0] <= low + 1e-9 && ticks[ticks.len() - 1] >= high - 1e-9,
                "{low} {high}: {ticks:?}"
            );
            let step = ticks[1] - ticks[0];
            assert!(
                ticks.windows(2).all(|pair| ((pair[1] - pair[0]) - step).abs() < 1e-6 * step.max(1.0)),
                "{ticks:?}"
            );
            assert!(ticks.iter().all(|tick| tick.to_string().len() <= 10), "{ticks:?}");
        }
        // One value is in the middle, and no value is no fault.
        let axis = Axis::over("x", None, [0.5]);
        assert!((axis.place(0.5) - 0.5).abs() < 0.26, "{axis:?}");
        assert_eq!(Axis::over("x", None, []).ticks.first(), Some(&0.0));
        assert!(Axis::over("x", None, [f64::NAN, 2.0]).ticks.iter().all(|tick| tick.is_finite()));
    }
}
