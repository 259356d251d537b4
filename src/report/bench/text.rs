//! A bench as text for a terminal.

use super::systems::SystemTable;
use crate::bench::{BenchReport, Cell, CellKey};
use crate::report::{Align, Table, three_digits};

/// The table of all combinations and the recommendation.
pub fn bench_text(report: &BenchReport) -> String {
    let mut columns: Vec<(&str, Align)> =
        report.machine(0).map(|_| ("machine", Align::Left)).into_iter().collect();
    columns.extend([("data set", Align::Left), ("encoder", Align::Left), ("index", Align::Left)]);
    columns.extend([
        ("mode", Align::Left),
        ("nDCG@10", Align::Right),
        ("95% interval", Align::Left),
        ("Recall@100", Align::Right),
        ("MRR@10", Align::Right),
        ("p50 ms", Align::Right),
        ("p95 ms", Align::Right),
        ("p99 ms", Align::Right),
        ("queries/s", Align::Right),
        ("recall", Align::Right),
    ]);
    let mut table = Table::new(columns);
    for cell in &report.cells {
        let CellKey { dataset, encoder, index, mode, .. } = &cell.key;
        let or_none = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        let mut row: Vec<String> = report.machine(cell.environment).into_iter().collect();
        row.extend([dataset.clone(), or_none(encoder), or_none(index), mode.clone()]);
        row.extend([
            measure(cell, "nDCG@10"),
            interval(cell),
            measure(cell, "Recall@100"),
            measure(cell, "MRR@10"),
        ]);
        let latency = cell.closed.first().map(|load| load.latency).unwrap_or_default();
        row.extend([latency.p50, latency.p95, latency.p99].map(three_digits));
        row.push(cell.closed.last().map_or_else(dash, |load| three_digits(load.queries_per_second)));
        row.push(cell.recall.map_or_else(dash, |recall| format!("{recall:.4}")));
        table.row(row);
    }
    let [one, many] = [0, 1].map(|place| {
        report.cells.iter().find_map(|cell| cell.closed.get(place)).map_or(1, |load| load.concurrency)
    });
    let systems = SystemTable::of(report).map_or_else(String::new, |systems| {
        let text = systems.text();
        format!(
            "{text}\nnDCG@10 in hundredths; speed-ups are of the encoder alone, against {}.\n\n",
            systems.first
        )
    });
    let mut text = format!(
        "{systems}{table}\nTimes are from text to documents with {one} client, queries a second with {many}.\n\n{}\n",
        report.summary.sentence
    );
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn dash() -> String {
    "-".to_owned()
}

fn measure(cell: &Cell, name: &str) -> String {
    let estimate = cell.quality.as_ref().and_then(|quality| quality.means.get(name));
    estimate.map_or_else(dash, |estimate| format!("{:.4}", estimate.mean))
}

fn interval(cell: &Cell) -> String {
    let estimate = cell.quality.as_ref().and_then(|quality| quality.means.get("nDCG@10"));
    let interval = estimate.and_then(|estimate| estimate.interval);
    interval.map_or_else(dash, |interval| format!("{:.3} to {:.3}", interval.low, interval.high))
}
