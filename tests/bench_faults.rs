//! Disks that fail while a bench measures and writes its report: the same call goes on.

use std::path::Path;

use secateur::SearchMode;
use secateur::bench::{BenchOptions, BenchReport, run};
use secateur::report::write_bench;
use secateur_files::faults::at_every_operation;

use crate::support::{Sandbox, dataset, tree};

/// A short bench of words, without a model: what every bench writes, and no vectors.
fn options(sandbox: &Sandbox) -> BenchOptions {
    BenchOptions {
        datasets: vec![dataset::small(&sandbox.path("data")).into()],
        modes: vec![SearchMode::Bm25],
        timed_queries: 1,
        warm_up: 0,
        repetitions: 1,
        concurrency: Some(1),
        // A query a millisecond: times do not matter here.
        rate: Some(1000.0),
        ..BenchOptions::default()
    }
}

/// What is measured is kept as a whole or not at all, and so are its results.
#[test]
fn every_failure_leaves_a_bench_that_goes_on() {
    let sandbox = Sandbox::new();
    let options = options(&sandbox);
    let bench = |folder: &Path| run(&options, &folder.join("bench"), &mut |_| {});
    let num_judged = |report: &BenchReport| {
        report.cells.iter().map(|cell| cell.quality.as_ref().unwrap().num_queries).collect::<Vec<_>>()
    };
    let written = |folder: &Path| std::fs::read_to_string(folder.join("bench/results.json")).ok();
    let as_text = |report: &BenchReport| serde_json::to_string_pretty(report).unwrap() + "\n";
    std::fs::create_dir(sandbox.path("scratch")).unwrap();
    at_every_operation(
        &sandbox.path("scratch"),
        |folder| std::fs::create_dir(folder).unwrap(),
        bench,
        |folder, result, case| {
            match &result {
                Ok(report) => assert_eq!(written(folder), Some(as_text(report)), "{case}"),
                Err(error) => assert!(case.has_failed, "{case}: {error}"),
            }
            if written(folder).is_some() {
                let report = BenchReport::read(&folder.join("bench"));
                assert_eq!(num_judged(&report.unwrap_or_else(|error| panic!("{case}: {error}"))), [2]);
            }
            let report = bench(folder).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(num_judged(&report), [2], "{case}");
            assert_eq!(written(folder), Some(as_text(&report)), "{case}");
        },
    );
}

#[test]
fn every_failure_leaves_whole_files_of_a_report() {
    let sandbox = Sandbox::new();
    let report = run(&options(&sandbox), &sandbox.path("bench"), &mut |_| {}).unwrap();
    for folder in ["expected", "scratch"] {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
    }
    write_bench(&report, &sandbox.path("expected")).unwrap();
    let expected = tree(&sandbox.path("expected"));
    at_every_operation(
        &sandbox.path("scratch"),
        |folder| std::fs::create_dir(folder).unwrap(),
        |folder| write_bench(&report, folder),
        |folder, result, case| {
            assert!(result.is_ok() || case.has_failed, "{case}: {result:?}");
            let found = tree(folder);
            for (name, bytes) in &expected {
                let is_whole = found.get(name).map_or(result.is_err(), |found| found == bytes);
                assert!(is_whole, "{case}: {}", name.display());
            }
            write_bench(&report, folder).unwrap();
            let found = tree(folder);
            assert!(expected.iter().all(|(name, bytes)| found.get(name) == Some(bytes)), "{case}");
        },
    );
}
