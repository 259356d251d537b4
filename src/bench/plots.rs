//! The drawings of a report.

use std::collections::BTreeMap;

use super::layer_plots::layer_plots;
use super::plot::{Axis, Plot, PlotPoint, Series};
use super::result::{BenchReport, Cell, System};

/// All drawings of a report, machine by machine.
pub(super) fn plots(report: &BenchReport, systems: &[System]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for environment in 0..report.environments.len() {
        let on = report.machine(environment).map_or_else(String::new, |name| format!(" on machine {name}"));
        let of_it: Vec<&System> = systems.iter().filter(|system| system.environment == environment).collect();
        plots.extend(quality(&of_it, &format!("Quality and latency{on}"), Cost::Latency));
        plots.extend(quality(&of_it, &format!("Quality and size{on}"), Cost::Size));
        plots.extend(recalls(report, environment, &on));
        plots.extend(layer_plots(report, environment, &on));
    }
    plots
}

#[derive(Clone, Copy)]
enum Cost {
    Latency,
    Size,
}

impl Cost {
    fn of(self, system: &System) -> Option<f64> {
        match self {
            Cost::Latency => Some(system.p50),
            Cost::Size => system.parameters.map(|count| count as f64 / 1e6),
        }
    }

    fn is_on_front(self, system: &System) -> bool {
        match self {
            Cost::Latency => system.is_on_latency_front,
            Cost::Size => system.is_on_size_front,
        }
    }

    fn axis(self, values: impl IntoIterator<Item = f64>) -> Axis {
        match self {
            Cost::Latency => Axis::from_zero("median query", Some("ms"), values),
            Cost::Size => Axis::from_zero("parameters", Some("millions"), values),
        }
    }
}

/// nDCG@10 against what a system costs.
fn quality(systems: &[&System], title: &str, cost: Cost) -> Option<Plot> {
    let points: Vec<(&System, f64, f64)> =
        systems.iter().filter_map(|system| Some((*system, cost.of(system)?, system.score()?))).collect();
    if points.is_empty() {
        return None;
    }
    let mut front: Vec<[f64; 2]> =
        points.iter().filter(|(system, _, _)| cost.is_on_front(system)).map(|(_, x, y)| [*x, *y]).collect();
    front.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let note = match cost {
        Cost::Latency => "Up and to the left is better. The broken line joins those that no other beats.",
        // Systems of several modes and indexes have a front each.
        Cost::Size => {
            front.clear();
            "Up and to the left is better."
        }
    };
    let count = points.iter().map(|(system, _, _)| system.scores.len()).max().unwrap_or(1);
    let over = if count > 1 { format!(" Means of {count} data sets.") } else { String::new() };
    Some(Plot {
        title: title.to_owned(),
        note: format!("{note}{over}"),
        x: cost.axis(points.iter().map(|(_, x, _)| *x)),
        y: Axis::of_shares("nDCG@10", points.iter().map(|(_, _, y)| *y)),
        series: points
            .iter()
            .map(|(system, x, y)| Series {
                name: system.name.clone(),
                is_line: false,
                points: vec![PlotPoint { x: *x, y: *y, label: None }],
            })
            .collect(),
        front,
    })
}

/// Recall and searches a second of the indexes of each data set and encoder.
fn recalls(report: &BenchReport, environment: usize, on: &str) -> Vec<Plot> {
    let mut groups: BTreeMap<(&String, Option<&String>), Vec<&Cell>> = BTreeMap::new();
    for cell in &report.cells {
        if cell.environment == environment && !cell.curve.is_empty() {
            groups.entry((&cell.key.dataset, cell.key.encoder.as_ref())).or_default().push(cell);
        }
    }
    let plot = |((dataset, encoder), cells): ((&String, Option<&String>), Vec<&Cell>)| {
        let points = || cells.iter().flat_map(|cell| &cell.curve);
        let series = cells.iter().map(|cell| {
            let mut points: Vec<PlotPoint> = cell
                .curve
                .iter()
                .map(|point| PlotPoint {
                    x: point.recall,
                    y: point.queries_per_second,
                    label: point.ef_search.map(|ef| format!("ef {ef}")),
                })
                .collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            Series { name: cell.key.index.clone().unwrap_or_default(), is_line: points.len() > 1, points }
        });
        Plot {
            title: format!("Recall and speed of indexes: {dataset}, {}{on}", encoder.map_or("", String::as_str)),
            note: "Up and to the right is better. One client searches with vectors that are there; the points of a line are \
                   values of ef."
                .to_owned(),
            x: Axis::of_shares("recall at 10", points().map(|point| point.recall)),
            y: Axis::from_zero("searches", Some("a second"), points().map(|point| point.queries_per_second)),
            series: series.collect(),
            front: Vec::new(),
        }
    };
    groups.into_iter().map(plot).collect()
}

/// The axis of the bars that tell where the time of a query goes.
pub(super) fn breakdown(report: &BenchReport) -> Axis {
    let sums = report.cells.iter().filter_map(|cell| Some(cell.closed.first()?.stage_sum));
    Axis::from_zero("mean time of a query, one client", Some("ms"), sums)
}
