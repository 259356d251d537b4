//! The combinations side by side, in the layout of the paper's Table 3. Each has a column. Sizes and speed-ups are
//! above, then comes a row for each data set, and the average is below.

use std::collections::BTreeSet;

use crate::bench::{BenchReport, System};
use crate::number::three_digits;
use crate::table::{Align, Table};

pub(super) struct SystemTable {
    /// The combinations.
    pub columns: Vec<String>,
    pub rows: Vec<SystemRow>,
    /// The encoder that speed-ups are against.
    pub first: String,
}

/// A row with a value for each combination that has one.
pub(super) struct SystemRow {
    pub name: String,
    pub values: Vec<Option<f64>>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Parameters,
    Speedup,
    Score,
}

impl SystemTable {
    /// `None` where nothing was judged, or on one data set alone: then the table of all combinations says it.
    pub fn of(report: &BenchReport) -> Option<SystemTable> {
        let systems: Vec<&System> =
            report.summary.systems.iter().filter(|system| !system.scores.is_empty()).collect();
        let datasets: BTreeSet<&String> = systems.iter().flat_map(|system| system.scores.keys()).collect();
        if datasets.len() < 2 {
            return None;
        }
        let row = |name: &str, kind: Kind, value: &dyn Fn(&System) -> Option<f64>| SystemRow {
            name: name.to_owned(),
            values: systems.iter().map(|system| value(system)).collect(),
            kind,
        };
        let mut rows = vec![
            row("parameters", Kind::Parameters, &|system| system.parameters.map(|count| count as f64)),
            row("query speed-up", Kind::Speedup, &|system| system.query_speedup),
            row("document speed-up", Kind::Speedup, &|system| system.document_speedup),
        ];
        let of = |dataset: &String| row(dataset, Kind::Score, &|system| system.scores.get(dataset).copied());
        rows.extend(datasets.iter().map(|dataset| of(dataset)));
        // A mean over other data sets is another measure.
        let average = |system: &System| system.score().filter(|_| system.scores.len() == datasets.len());
        rows.push(row("average", Kind::Score, &average));
        let name = |system: &&System| match report.machine(system.environment) {
            Some(machine) => format!("{machine}: {}", system.name),
            None => system.name.clone(),
        };
        let first =
            report.encoders.first().map_or_else(|| "no encoder".to_owned(), |encoder| encoder.name.clone());
        Some(SystemTable { columns: systems.iter().map(name).collect(), rows, first })
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let columns = self.columns.iter().map(|name| (name.clone(), Align::Right));
        let mut table = Table::new([(String::new(), Align::Left)].into_iter().chain(columns));
        for row in &self.rows {
            let values =
                row.values.iter().map(|value| value.map_or_else(|| "-".to_owned(), |value| row.shown(value)));
            table.row([row.name.clone()].into_iter().chain(values));
        }
        table.to_string()
    }

    /// The table in Markdown.
    pub fn markdown(&self, line: impl Fn(&[String]) -> String) -> String {
        let head: Vec<String> = [String::new()].into_iter().chain(self.columns.iter().cloned()).collect();
        let mut text = format!("{}|---|{}\n", line(&head), "---:|".repeat(self.columns.len()));
        for row in &self.rows {
            let values =
                row.values.iter().map(|value| value.map_or_else(String::new, |value| row.shown(value)));
            text.push_str(&line(&[row.name.clone()].into_iter().chain(values).collect::<Vec<String>>()));
        }
        text
    }
}

impl SystemRow {
    /// A value as the paper has it.
    pub fn shown(&self, value: f64) -> String {
        match self.kind {
            Kind::Parameters if value < 1e9 => format!("{}M", three_digits(value / 1e6)),
            Kind::Parameters => format!("{}B", three_digits(value / 1e9)),
            Kind::Speedup => format!("{}×", three_digits(value)),
            Kind::Score => format!("{:.1}", 100.0 * value),
        }
    }
}
