//! Drawings as SVG text: shapes, and words beside them. Coordinates are in pixels from the upper left corner.

use std::fmt::Write;

/// Where a word is anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins at the point.
    Start,
    /// The middle of the text is at the point.
    Middle,
    /// The text ends at the point.
    End,
}

/// A drawing.
///
/// ```
/// use secateur::report::svg::{Anchor, Svg};
///
/// let mut svg = Svg::new(120.0, 40.0);
/// svg.rectangle(10.0, 10.0, 20.0, 20.0, "#4477aa");
/// svg.text(35.0, 24.0, Anchor::Start, "q & a");
/// let text = svg.to_string();
/// assert!(text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"120\" height=\"40\""));
/// assert!(text.contains("q &amp; a"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty drawing on white.
    pub fn new(width: f64, height: f64) -> Svg {
        let mut svg = Svg { width, height, body: String::new() };
        svg.rectangle(0.0, 0.0, width, height, "#ffffff");
        svg
    }

    /// A filled rectangle, from its upper left corner. `color` is as CSS spells it.
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, color: &str) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        self.put(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\"/>",
            escaped(color)
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str, width: f64) {
        self.polyline(&[from, to], color, width);
    }

    /// A line through points.
    pub fn polyline(&mut self, points: &[(f64, f64)], color: &str, width: f64) {
        let points: Vec<String> =
            points.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        self.put(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>",
            points.join(" "),
            escaped(color),
            number(width)
        ));
    }

    /// A filled circle.
    pub fn circle(&mut self, x: f64, y: f64, radius: f64, color: &str) {
        let [x, y, radius] = [x, y, radius].map(number);
        self.put(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{}\"/>", escaped(color)));
    }

    /// Words on a base line.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        self.rotated_text(x, y, anchor, 0.0, text);
    }

    /// Words turned clockwise around their anchor, in degrees.
    pub fn rotated_text(&mut self, x: f64, y: f64, anchor: Anchor, degrees: f64, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = (number(x), number(y));
        let turned = if degrees == 0.0 {
            String::new()
        } else {
            format!(" transform=\"rotate({} {x} {y})\"", number(degrees))
        };
        self.put(format_args!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\"{turned}>{}</text>",
            escaped(text)
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

impl std::fmt::Display for Svg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (width, height) = (number(self.width), number(self.height));
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"11\">"
        )?;
        f.write_str(&self.body)?;
        f.write_str("</svg>\n")
    }
}

/// A coordinate to a hundredth of a pixel, without trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
