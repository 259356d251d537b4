//! A bench in formats that others read: per-query values, ann-benchmarks' table, MTEB's results.

use serde_json::{Map, Value, json};

use crate::bench::{BenchReport, Cell, MEASURES};

/// The values of each query as lines with tabs: data set, combination, query, measure, value.
pub fn per_query_tsv(report: &BenchReport) -> String {
    let mut text = String::from("dataset\tsystem\tquery\tmeasure\tvalue\n");
    for cell in &report.cells {
        let system = cell.key.system();
        for (query, values) in cell.quality.iter().flat_map(|quality| &quality.per_query) {
            for (measure, value) in MEASURES.iter().zip(values) {
                text.push_str(&format!("{}\t{system}\t{query}\t{measure}\t{value}\n", cell.key.dataset));
            }
        }
    }
    text
}

/// Recall and speed of indexes, with the columns of ann-benchmarks' exported table: a row a search parameter.
pub fn ann_csv(report: &BenchReport) -> String {
    let mut text = String::from("algorithm,parameters,dataset,count,qps,k-nn,build,indexsize\n");
    for cell in &report.cells {
        let key = &cell.key;
        let build = report.builds.iter().find(|build| {
            build.environment == cell.environment
                && (&build.dataset, &build.encoder, &build.index) == (&key.dataset, &key.encoder, &key.index)
        });
        for point in &cell.curve {
            let index = key.index.as_deref().unwrap_or_default();
            let ef = point.ef_search.map_or_else(String::new, |ef| format!(" ef={ef}"));
            let row = [
                quoted(index),
                quoted(&format!("{index}{ef}")),
                quoted(&format!("{} {}", key.dataset, key.encoder.as_deref().unwrap_or_default())),
                "10".to_owned(),
                point.queries_per_second.to_string(),
                point.recall.to_string(),
                build.map_or_else(String::new, |build| build.seconds.to_string()),
                // In kilobytes, as ann-benchmarks has it.
                build.map_or_else(String::new, |build| (build.bytes as f64 / 1024.0).to_string()),
            ];
            text.push_str(&row.join(","));
            text.push('\n');
        }
    }
    text
}

/// A combination's quality as MTEB keeps the result of a task; `None` without judgments.
pub fn mteb_json(report: &BenchReport, cell: &Cell) -> Option<Value> {
    let quality = cell.quality.as_ref()?;
    let dataset = report.datasets.iter().find(|dataset| dataset.name == cell.key.dataset)?;
    let mut scores = Map::new();
    for measure in MEASURES {
        let name = measure.to_string().to_lowercase().replace('@', "_at_");
        scores.insert(name, json!(quality.means.get(&measure.to_string())?.mean));
    }
    scores.insert("main_score".to_owned(), json!(quality.means.get("nDCG@10")?.mean));
    scores.insert("hf_subset".to_owned(), json!("default"));
    scores.insert("languages".to_owned(), json!([]));
    let environment = report.environments.get(cell.environment)?;
    let split = dataset.split.clone()?;
    Some(json!({
        "dataset_revision": dataset.fingerprint,
        "task_name": dataset.name,
        "mteb_version": format!("secateur {}", environment.program.version),
        "scores": { split: [scores] },
        "evaluation_time": cell.closed.iter().chain([&cell.open]).map(|load| load.seconds).sum::<f64>(),
        "kg_co2_emissions": null,
        "date": environment.started,
    }))
}

/// A field of a line with commas.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
