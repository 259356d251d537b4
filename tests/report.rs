//! `secateur report`: one page of the results of several machines.

use secateur::bench::BenchReport;

use crate::support::{Outcome, Sandbox, dataset, model};

/// A bench of two encoders in the folder `one`, and the same as if another machine had made it, in `two`.
fn benches() -> Sandbox {
    let sandbox = Sandbox::new();
    dataset::small(&sandbox.path("data"));
    model::tiny(&sandbox.path("tiny"));
    let bench =
        ["bench", "data", "--encoders", "tiny,short=tiny", "--indexes", "flat", "--modes", "dense,bm25"];
    let quick = ["--repetitions", "1", "--warm-up", "0", "--timed-queries", "2", "--out", "one"];
    let outcome = sandbox.run(bench.iter().chain(&quick));
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    changed(&sandbox, "two.json", |report| {
        report.environments[0].processor = "A9 <fast>".to_owned();
        for cell in &mut report.cells {
            cell.closed[0].latency.p50 /= 10.0;
            cell.closed[0].latency.p95 /= 10.0;
        }
    });
    sandbox
}

/// Writes the results of `one` with a change.
fn changed(sandbox: &Sandbox, name: &str, change: impl FnOnce(&mut BenchReport)) {
    let mut report = BenchReport::read(&sandbox.path("one/results.json")).unwrap();
    change(&mut report);
    report.write(&sandbox.path(name)).unwrap();
}

fn report(sandbox: &Sandbox, rest: &[&str]) -> Outcome {
    sandbox.run(["report"].iter().chain(rest))
}

#[test]
fn several_machines_are_on_one_page_and_speed_is_compared_within_each() {
    let sandbox = benches();
    let said = report(&sandbox, &["one/results.json", "two.json", "--out", "both", "--within", "5000"]).ok();
    assert!(
        said.contains("On machine A: Within 5000 ms we recommend") && said.contains("On machine B: "),
        "{said}"
    );
    assert!(said.ends_with("report: both/report.html\n"), "{said}");
    let one = BenchReport::read(&sandbox.path("one/results.json")).unwrap();
    let both = BenchReport::read(&sandbox.path("both/results.json")).unwrap();
    assert_eq!((both.cells.len(), both.environments.len()), (2 * one.cells.len(), 2));
    assert_eq!((both.datasets.len(), both.encoders.len()), (1, 2), "what is the same is there once");
    assert_eq!(both.summary.recommended.len(), 2);
    for cell in &one.cells {
        let places: Vec<usize> =
            both.cells.iter().filter(|other| other.key == cell.key).map(|other| other.environment).collect();
        assert_eq!(places, [0, 1], "{:?}", cell.key);
    }
    // The faster machine beats nothing of the slower one's front.
    let fronts = |report: &BenchReport, environment| -> Vec<String> {
        let systems = report.summary.systems.iter();
        let front = systems.filter(|system| system.environment == environment && system.is_on_latency_front);
        front.map(|system| system.name.clone()).collect()
    };
    assert_eq!(fronts(&both, 0), fronts(&one, 0));
    let page = std::fs::read_to_string(sandbox.path("both/report.html")).unwrap();
    for part in ["<th class=text>machine", "Quality and latency on machine B", "B: A9 &lt;fast&gt;"] {
        assert!(page.contains(part), "no {part:?}");
    }
    assert!(std::fs::read_to_string(sandbox.path("both/report.md")).unwrap().contains("| data | B: "));
    assert_eq!(
        report(&sandbox, &["both/results.json", "--json"]).json()["environments"][1]["processor"],
        "A9 <fast>"
    );

    // A part of a bench that was measured by itself joins the rest of the same machine.
    changed(&sandbox, "first.json", |report| report.cells.truncate(1));
    changed(&sandbox, "rest.json", |report| drop(report.cells.remove(0)));
    report(&sandbox, &["first.json", "rest.json", "--out", "whole"]).ok();
    let whole = BenchReport::read(&sandbox.path("whole/results.json")).unwrap();
    let keys = |report: &BenchReport| report.cells.iter().map(|cell| cell.key.clone()).collect::<Vec<_>>();
    assert_eq!((whole.environments.len(), keys(&whole)), (1, keys(&one)));
}

/// The best that keeps the latency is recommended, and where none does it is said how fast the fastest is.
#[test]
fn what_is_recommended_depends_on_the_time_that_there_is() {
    let sandbox = benches();
    changed(&sandbox, "set.json", |report| {
        for cell in &mut report.cells {
            let (p95, score) = match (cell.key.mode.as_str(), cell.key.encoder.as_deref()) {
                ("bm25", _) => (0.012_34, 0.5),
                (_, Some("tiny")) => (80.0, 0.9),
                _ => (20.0, 0.7),
            };
            cell.closed[0].latency.p95 = p95;
            cell.quality.as_mut().unwrap().means.get_mut("nDCG@10").unwrap().mean = score;
        }
    });
    for (within, sentence) in [
        (
            "100",
            "Within 100 ms we recommend the encoder tiny, the index flat and mode dense. Its nDCG@10 is 0.900",
        ),
        (
            "50",
            "Within 50 ms we recommend the encoder short, the index flat and mode dense. Its nDCG@10 is 0.700",
        ),
        (
            "5",
            "Within 5 ms we recommend mode bm25 without an encoder. Its nDCG@10 is 0.500. It answers 19 of 20 queries within 0.0123 ms.",
        ),
        (
            "0.01",
            "No combination answers 19 of 20 queries within 0.01 ms; the fastest, bm25, takes 0.0123 ms.",
        ),
    ] {
        let said = report(&sandbox, &["set.json", "--within", within]).ok();
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn names_that_mean_two_things_are_refused() {
    let sandbox = benches();
    let fails = |rest: &[&str], code: i32, parts: &[&str]| report(&sandbox, rest).fails(code, parts);
    fails(&["gone.json"], 3, &["gone.json"]);
    fails(&[], 2, &["FILE"]);
    fails(&["one", "one/results.json"], 3, &["one/results.json: it is named twice"]);
    changed(&sandbox, "machine.json", |report| report.cells[0].environment = 7);
    fails(&["machine.json"], 3, &["machine.json: a measurement is of machine 7, and it has 1 machines"]);
    changed(&sandbox, "lost.json", |report| drop(report.encoders.remove(0)));
    fails(
        &["lost.json"],
        3,
        &["lost.json: it has no encoder tiny for the combination data, tiny, flat, dense"],
    );
    changed(&sandbox, "still.json", |report| report.cells[0].closed.clear());
    fails(&["still.json"], 3, &["still.json: it has no times for the combination data, bm25"]);
    fails(&["one/results.json", "--within", "0"], 2, &["--within: expected a number above 0"]);
    fails(&["one/results.json", "two.json", "--out", "one"], 2, &["one/results.json is an input"]);
    changed(&sandbox, "data.json", |report| report.datasets[0].fingerprint = "f00d".to_owned());
    fails(
        &["one/results.json", "data.json"],
        3,
        &["data.json: the data set data is f00d here, and ", "one/results.json"],
    );
    changed(&sandbox, "encoder.json", |report| report.encoders[1].fingerprint = "f00d".to_owned());
    fails(&["one/results.json", "encoder.json"], 3, &["encoder.json: the encoder short is f00d here"]);
    assert!(!sandbox.path("report").exists());
}
