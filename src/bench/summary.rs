//! What follows from the measurements: means over data sets, fronts, speed-ups, and a recommendation.

use std::collections::BTreeMap;

use super::plots::{breakdown, plots};
use super::result::{BenchReport, Cell, EncodingFacts, Summary, System};
use crate::number::three_digits;

impl Summary {
    /// What follows from a report's measurements.
    pub fn of(report: &BenchReport, within: f64) -> Summary {
        let mut groups: BTreeMap<(usize, String), Vec<&Cell>> = BTreeMap::new();
        for cell in &report.cells {
            groups.entry((cell.environment, cell.key.system())).or_default().push(cell);
        }
        let mut systems: Vec<System> =
            groups.into_iter().map(|((_, name), cells)| system(report, name, &cells)).collect();
        // The first encoder's come first, as they were named. Words come last: a drawing without them gives the others
        // the same marks as one with them.
        let place = |system: &System| {
            let place =
                report.encoders.iter().position(|encoder| Some(&encoder.name) == system.encoder.as_ref());
            place.unwrap_or(usize::MAX)
        };
        systems.sort_by_key(|system| (system.environment, place(system)));
        let copies = systems.clone();
        for system in &mut systems {
            let Some(score) = system.score() else { continue };
            let others = || copies.iter().filter(|other| other.environment == system.environment);
            system.is_on_latency_front = others().all(|other| {
                let better = other.score().is_none_or(|other| other < score);
                better || other.p50 > system.p50 || (other.score() == Some(score) && other.p50 == system.p50)
            });
            let parameters = system.parameters.unwrap_or_default();
            let alike = |other: &&System| (&other.index, &other.mode) == (&system.index, &system.mode);
            system.is_on_size_front = system.parameters.is_some()
                && others().filter(alike).all(|other| {
                    let theirs = other.parameters.unwrap_or_default();
                    other.score().is_none_or(|other| other < score)
                        || theirs > parameters
                        || (other.score() == Some(score) && theirs == parameters)
                });
        }
        let (mut recommendations, mut sentences) = (Vec::new(), Vec::new());
        for environment in 0..report.environments.len() {
            let of_it = || systems.iter().enumerate().filter(|(_, system)| system.environment == environment);
            let recommended = recommended(of_it(), within);
            let best = recommended.map(|place| &systems[place]);
            let sentence = sentence(of_it().map(|(_, system)| system), best, within);
            sentences.push(match report.machine(environment) {
                Some(name) => format!("On machine {name}: {sentence}"),
                None => sentence,
            });
            recommendations.extend(recommended);
        }
        Summary {
            within,
            recommended: recommendations,
            sentence: sentences.join(" "),
            plots: plots(report, &systems),
            breakdown: breakdown(report),
            systems,
        }
    }
}

impl System {
    /// The mean nDCG@10.
    pub fn score(&self) -> Option<f64> {
        self.means.get("nDCG@10").copied()
    }
}

fn system(report: &BenchReport, name: String, cells: &[&Cell]) -> System {
    let first = &cells[0].key;
    let group = |cell: &Cell| {
        let dataset = report.datasets.iter().find(|dataset| dataset.name == cell.key.dataset);
        dataset.and_then(|dataset| dataset.part_of.clone()).unwrap_or_else(|| cell.key.dataset.clone())
    };
    // By data set, parts averaged.
    let averaged = |value: &dyn Fn(&Cell) -> Option<f64>| -> BTreeMap<String, f64> {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for cell in cells {
            if let Some(value) = value(cell) {
                values.entry(group(cell)).or_default().push(value);
            }
        }
        values.into_iter().filter_map(|(name, values)| Some((name, mean(values)?))).collect()
    };
    let mean_of = |value: &dyn Fn(&Cell) -> Option<f64>| mean(averaged(value).into_values());
    let measure = |name: &str| {
        let name = name.to_owned();
        move |cell: &Cell| Some(cell.quality.as_ref()?.means.get(&name)?.mean)
    };
    let names: Vec<&String> = cells
        .iter()
        .filter_map(|cell| cell.quality.as_ref())
        .flat_map(|quality| quality.means.keys())
        .collect();
    let means = names.into_iter().filter_map(|name| Some((name.clone(), mean_of(&measure(name))?))).collect();
    let one = |cell: &Cell| cell.closed.first().cloned();
    let p95 = cells.iter().filter_map(|cell| Some(one(cell)?.latency.p95)).fold(0.0, f64::max);
    let encoder = report.encoders.iter().find(|encoder| Some(&encoder.name) == first.encoder.as_ref());
    let scores = averaged(&measure("nDCG@10"));
    let num_datasets = averaged(&|_| Some(0.0)).len();
    System {
        name,
        encoder: first.encoder.clone(),
        index: first.index.clone(),
        mode: first.mode.clone(),
        environment: cells[0].environment,
        scores,
        num_datasets,
        means,
        p50: mean_of(&|cell| Some(one(cell)?.latency.p50)).unwrap_or_default(),
        p95,
        queries_per_second: mean_of(&|cell| Some(cell.closed.last()?.queries_per_second)).unwrap_or_default(),
        parameters: encoder.map(|encoder| encoder.parameters),
        query_speedup: mean(cells.iter().filter_map(|cell| query_speedup(report, cell))),
        document_speedup: mean(cells.iter().filter_map(|cell| document_speedup(report, cell))),
        is_on_latency_front: false,
        is_on_size_front: false,
    }
}

/// The time of a median query in tokenizer and encoder.
fn encode_time(cell: &Cell) -> Option<f64> {
    let stages = &cell.closed.first()?.stages;
    Some(stages.get("tokenize")?.p50 + stages.get("encode")?.p50)
}

fn query_speedup(report: &BenchReport, cell: &Cell) -> Option<f64> {
    cell.key.encoder.as_ref()?;
    let first = &report.encoders.first()?.name;
    let before = report.cells.iter().find(|other| {
        let (a, b) = (&other.key, &cell.key);
        other.environment == cell.environment
            && a.encoder.as_ref() == Some(first)
            && (&a.dataset, &a.index, &a.mode, &a.reranker) == (&b.dataset, &b.index, &b.mode, &b.reranker)
    })?;
    Some(encode_time(before)? / encode_time(cell).filter(|time| *time > 0.0)?)
}

fn document_speedup(report: &BenchReport, cell: &Cell) -> Option<f64> {
    let first = &report.encoders.first()?.name;
    let of = |name: &String| -> Option<&EncodingFacts> {
        let mut encodings = report.encodings.iter();
        encodings.find(|facts| {
            facts.environment == cell.environment
                && (&facts.dataset, &facts.encoder) == (&cell.key.dataset, name)
        })
    };
    Some(of(cell.key.encoder.as_ref()?)?.documents_per_second / of(first)?.documents_per_second)
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.into_iter().fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

/// The best system that keeps the latency; of equally good ones the fastest.
fn recommended<'s>(systems: impl Iterator<Item = (usize, &'s System)>, within: f64) -> Option<usize> {
    let quick = systems.filter(|(_, system)| system.p95 <= within);
    let judged = quick.filter_map(|(place, system)| Some((place, system.score()?, system.p50)));
    let best = judged.max_by(|(_, a, slow_a), (_, b, slow_b)| a.total_cmp(b).then(slow_b.total_cmp(slow_a)));
    best.map(|(place, _, _)| place)
}

fn sentence<'s>(systems: impl Iterator<Item = &'s System>, best: Option<&System>, within: f64) -> String {
    let Some(best) = best else {
        let fastest = systems.min_by(|a, b| a.p95.total_cmp(&b.p95));
        return match fastest {
            None => "Nothing was measured.".to_owned(),
            Some(fastest) if fastest.p95 > within => format!(
                "No combination answers 19 of 20 queries within {within} ms; the fastest, {}, takes {} ms.",
                fastest.name,
                three_digits(fastest.p95)
            ),
            Some(fastest) => format!(
                "Without judgments none is better than another; the fastest, {}, answers 19 of 20 queries within {} ms.",
                fastest.name,
                three_digits(fastest.p95)
            ),
        };
    };
    let how = match (&best.encoder, &best.index) {
        (Some(encoder), Some(index)) => {
            format!("the encoder {encoder}, the index {index} and mode {}", best.mode)
        }
        _ => format!("mode {} without an encoder", best.mode),
    };
    let over = match best.num_datasets {
        1 => String::new(),
        count => format!(" on average over {count} data sets"),
    };
    format!(
        "Within {within} ms we recommend {how}. Its nDCG@10{over} is {:.3}. It answers 19 of 20 queries within {} ms.",
        best.score().unwrap_or_default(),
        three_digits(best.p95)
    )
}
