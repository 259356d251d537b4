//! A bench as Markdown.

use super::systems::SystemTable;
use crate::bench::{BenchReport, Cell};
use crate::number::three_digits;

/// The tables of a bench, with the machines that measured.
pub fn bench_markdown(report: &BenchReport) -> String {
    let mut text = format!("# Bench\n\n{}\n\n", report.summary.sentence);
    if let Some(systems) = SystemTable::of(report) {
        text.push_str(&systems.markdown(line));
        text.push('\n');
    }
    text.push_str(
        "| data set | system | nDCG@10 | 95% interval | Recall@100 | MRR@10 | p50 ms | p95 ms | p99 ms | queries/s | recall |\n\
         |---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for cell in &report.cells {
        let latency = cell.closed.first().map(|load| load.latency).unwrap_or_default();
        let rate = cell.closed.last().map_or(0.0, |load| load.queries_per_second);
        let row = [
            cell.key.dataset.clone(),
            on_machine(report, cell.environment, &cell.key.system()),
            mean(cell, "nDCG@10"),
            interval(cell),
            mean(cell, "Recall@100"),
            mean(cell, "MRR@10"),
            three_digits(latency.p50),
            three_digits(latency.p95),
            three_digits(latency.p99),
            three_digits(rate),
            cell.recall.map_or_else(String::new, |recall| format!("{recall:.4}")),
        ];
        text.push_str(&line(&row));
    }
    if !report.encoders.is_empty() {
        text.push_str("\n| encoder | parameters | GFLOP/token | MB | dimension | layers |\n|---|---:|---:|---:|---:|---:|\n");
    }
    for encoder in &report.encoders {
        let row = [
            encoder.name.clone(),
            encoder.parameters.to_string(),
            three_digits(encoder.gflop_per_token),
            three_digits(encoder.model_bytes as f64 / 1e6),
            encoder.dim.to_string(),
            encoder.layers.len().to_string(),
        ];
        text.push_str(&line(&row));
    }
    if !report.encodings.is_empty() {
        text.push_str(
            "\n| data set | encoder | documents/s | tokens/s | padding ratio |\n|---|---|---:|---:|---:|\n",
        );
    }
    for encoding in &report.encodings {
        let row = [
            encoding.dataset.clone(),
            on_machine(report, encoding.environment, &encoding.encoder),
            three_digits(encoding.documents_per_second),
            three_digits(encoding.tokens_per_second),
            format!("{:.3}", encoding.padding_ratio),
        ];
        text.push_str(&line(&row));
    }
    for (place, environment) in report.environments.iter().enumerate() {
        let name = report.machine(place).map_or_else(String::new, |name| format!("{name}: "));
        text.push_str(&format!(
            "\n{name}measured on {}, {} threads, {}, {}.\n",
            environment.processor, environment.threads, environment.system, environment.started
        ));
    }
    text
}

/// What was measured where there are several machines.
fn on_machine(report: &BenchReport, environment: usize, what: &str) -> String {
    match report.machine(environment) {
        Some(name) => format!("{name}: {what}"),
        None => what.to_owned(),
    }
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn mean(cell: &Cell, name: &str) -> String {
    let estimate = cell.quality.as_ref().and_then(|quality| quality.means.get(name));
    estimate.map_or_else(String::new, |estimate| format!("{:.4}", estimate.mean))
}

fn interval(cell: &Cell) -> String {
    let estimate = cell.quality.as_ref().and_then(|quality| quality.means.get("nDCG@10"));
    let interval = estimate.and_then(|estimate| estimate.interval);
    interval.map_or_else(String::new, |interval| format!("{:.3} to {:.3}", interval.low, interval.high))
}
