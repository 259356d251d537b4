//! Drawings of a page: SVG that takes its colors from the page's style, with legends that wrap as text does.

use std::fmt::Write;

use super::html::{datum, escaped};
use crate::bench::{Axis, Plot, PlotPoint};

/// How many colors the style has, as the classes `c0`, `c1` and so on.
pub(super) const COLORS: usize = 6;

/// Room for numbers of seven digits and the name of the axis.
const LEFT: f64 = 84.0;
const TOP: f64 = 12.0;
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 290.0;
const BOTTOM: f64 = 46.0;
const RIGHT: f64 = 24.0;

/// A drawing with its heading, legend and note.
pub(super) fn figure(plot: &Plot) -> String {
    let at = |x: f64, y: f64| (LEFT + WIDTH * plot.x.place(x), TOP + HEIGHT * (1.0 - plot.y.place(y)));
    let title = escaped(&plot.title);
    let mut svg = format!(
        "<svg class=plot viewBox=\"0 0 {} {}\" role=img aria-label=\"{title}\">\n",
        LEFT + WIDTH + RIGHT,
        TOP + HEIGHT + BOTTOM
    );
    let first = |axis: &Axis| axis.ticks.first().copied().unwrap_or(0.0);
    for tick in &plot.x.ticks {
        let (x, y) = at(*tick, first(&plot.y));
        let _ = writeln!(
            svg,
            "<path class=grid d=\"M{x:.1} {TOP}V{y:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=middle data-value=\"{tick}\">\
             {tick}</text>",
            y + 16.0
        );
    }
    for tick in &plot.y.ticks {
        let (x, y) = at(first(&plot.x), *tick);
        let _ = writeln!(
            svg,
            "<path class=grid d=\"M{x:.1} {y:.1}h{WIDTH}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=end data-value=\"{tick}\">\
             {tick}</text>",
            x - 6.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=middle>{}</text>\
         <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=middle>{}</text>",
        LEFT + WIDTH / 2.0,
        TOP + HEIGHT + 38.0,
        named(&plot.x),
        TOP + HEIGHT / 2.0,
        named(&plot.y)
    );
    if plot.front.len() > 1 {
        let _ = writeln!(
            svg,
            "<polyline class=front points=\"{}\"/>",
            joined(plot.front.iter().map(|[x, y]| at(*x, *y)))
        );
    }
    for (place, series) in plot.series.iter().enumerate() {
        let _ = write!(svg, "<g class=c{}>", place % COLORS);
        if series.is_line {
            let points = series.points.iter().map(|point| at(point.x, point.y));
            let _ = write!(svg, "<polyline class=line points=\"{}\"/>", joined(points));
        }
        for point in &series.points {
            let (x, y) = at(point.x, point.y);
            let _ = write!(
                svg,
                "<g transform=\"translate({x:.1} {y:.1})\"><title>{}</title>{}</g>",
                told(plot, &series.name, point),
                marker(place)
            );
        }
        svg.push_str("</g>\n");
    }
    let entries = plot.series.iter().enumerate().map(|(place, series)| (place, escaped(&series.name)));
    format!(
        "<h2>{title}</h2>\n<div class=wide>{svg}</svg></div>\n{}<p class=note>{}</p>\n",
        legend(entries),
        escaped(&plot.note)
    )
}

/// The names of what a drawing has, beside their marks.
pub(super) fn legend(entries: impl Iterator<Item = (usize, String)>) -> String {
    let mut list = String::from("<ul class=legend>");
    for (place, name) in entries {
        let _ = write!(
            list,
            "<li><svg class=\"mark c{}\" viewBox=\"-7 -7 14 14\" aria-hidden=true>{}</svg>{name}</li>",
            place % COLORS,
            marker(place)
        );
    }
    list + "</ul>\n"
}

/// A bar of parts, drawn to an axis that begins at 0.
pub(super) fn bar(axis: &Axis, parts: &[(&str, f64)]) -> String {
    let mut svg =
        String::from("<svg class=bar viewBox=\"0 0 1000 12\" preserveAspectRatio=none aria-hidden=true>");
    let mut left = 0.0;
    for (place, (name, value)) in parts.iter().enumerate() {
        let width = 1000.0 * axis.place(*value);
        let _ = write!(
            svg,
            "<rect class=c{} x=\"{left:.1}\" width=\"{width:.1}\" height=12><title>{}: {value}{}</title></rect>",
            place % COLORS,
            escaped(name),
            unit(axis)
        );
        left += width;
    }
    svg + "</svg>"
}

/// The ticks and the name of the axis below bars.
pub(super) fn axis_below(axis: &Axis) -> String {
    let ticks: String = axis.ticks.iter().map(|tick| datum("span", *tick, &tick.to_string())).collect();
    format!("<div class=ticks>{ticks}</div><p class=axis-name>{}</p>\n", named(axis))
}

/// Where there are more series than colors, another shape tells them apart.
fn marker(place: usize) -> &'static str {
    match place / COLORS % 4 {
        0 => "<circle r=5 />",
        1 => "<path d=\"M-5-5H5V5H-5Z\"/>",
        2 => "<path d=\"M0-6L6 0L0 6L-6 0Z\"/>",
        _ => "<path d=\"M0-6L6 5H-6Z\"/>",
    }
}

fn told(plot: &Plot, name: &str, point: &PlotPoint) -> String {
    let label = point.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
    let Plot { x, y, .. } = plot;
    escaped(&format!("{name}{label}: {} {}{}, {} {}{}", y.name, point.y, unit(y), x.name, point.x, unit(x)))
}

fn unit(axis: &Axis) -> String {
    axis.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"))
}

fn named(axis: &Axis) -> String {
    let unit = axis.unit.as_ref().map_or_else(String::new, |unit| format!(", {unit}"));
    escaped(&format!("{}{unit}", axis.name))
}

fn joined(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<String>>().join(" ")
}
