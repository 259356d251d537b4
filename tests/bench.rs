//! `secateur bench`: every combination is measured once, and the numbers are those of other commands and programs.

use std::path::Path;

use secateur::bench::{BenchReport, Cell, CellKey, DatasetFacts, Environment};
use secateur::datasets::trec;
use serde_json::Value;

use crate::support::dataset::{generated, small, write};
use crate::support::{Outcome, Sandbox, mini, model};

const QUICK: [&str; 6] = ["--repetitions", "2", "--warm-up", "2", "--timed-queries", "6"];

fn bench(sandbox: &Sandbox, rest: &[&str]) -> Outcome {
    sandbox.run(["bench"].iter().chain(rest).chain(&QUICK).copied())
}

/// Asserts success; standard error has a line for each combination.
#[track_caller]
fn ok(outcome: Outcome) -> (String, Vec<String>) {
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    (outcome.stdout, outcome.stderr.lines().map(str::to_owned).collect())
}

fn results(folder: &Path) -> BenchReport {
    serde_json::from_slice(&std::fs::read(folder.join("results.json")).unwrap()).unwrap()
}

#[test]
fn every_combination_is_measured_and_kept() {
    let sandbox = Sandbox::new();
    let mini = mini();
    let mini = mini.to_str().unwrap();
    model::tiny(&sandbox.path("tiny"));
    let arguments = [mini, "--encoders", "default,small=tiny", "--indexes", "flat,flat-f16"];
    let (text, lines) = ok(bench(&sandbox, &arguments));
    // Two encoders with two indexes in two modes, and words alone.
    assert_eq!(lines.len(), 9, "{lines:?}");
    assert!(lines[0].starts_with("1/9  mini, ") && lines[0].contains(" left"), "{lines:?}");
    assert!(text.contains("Within 100 ms we recommend "), "{text}");
    let report = results(&sandbox.path("bench"));
    assert_eq!((report.cells.len(), report.encodings.len(), report.builds.len()), (9, 2, 5));
    assert_eq!(report.timing.repetitions, 2);
    for cell in &report.cells {
        let key = &cell.key;
        let quality = cell.quality.as_ref().unwrap();
        assert_eq!((quality.num_queries, quality.per_query.len()), (12, 12));
        for (name, estimate) in &quality.means {
            let interval = estimate.interval.unwrap();
            assert!(interval.low <= estimate.mean && estimate.mean <= interval.high, "{key:?} {name}");
        }
        assert_eq!((cell.closed[0].concurrency, cell.closed[0].num_queries), (1, 12), "{key:?}");
        assert!(cell.closed[1].concurrency >= 2 && cell.closed[1].num_queries == 12, "{key:?}");
        assert_eq!((cell.open.num_queries, cell.open.rate.is_some()), (12, true), "{key:?}");
        for load in cell.closed.iter().chain([&cell.open]) {
            let latency = load.latency;
            assert!(latency.p50 > 0.0 && latency.p50 <= latency.p95 && latency.p95 <= latency.max, "{key:?}");
            // The stages are within the whole.
            let stages: f64 = load.stages.values().map(|stage| stage.mean).sum();
            assert!(stages > 0.0 && stages <= latency.mean * 1.001, "{key:?}: {stages} of {latency:?}");
        }
        let encode = cell.closed[0].stages["encode"].mean;
        assert_eq!(encode > 0.0, key.encoder.is_some(), "{key:?}");
        assert!(cell.closed[0].stages["fetch"].mean > 0.0 && cell.closed[0].stages["rerank"].mean == 0.0);
        assert_eq!(cell.recall.is_some(), key.mode == "dense", "{key:?}");
        if key.index.as_deref() == Some("flat") && key.mode == "dense" {
            assert_eq!((cell.recall, cell.curve.len()), (Some(1.0), 1), "an exact search is exact");
        }
        let has_agreement = key.encoder.as_deref() == Some("small");
        assert_eq!(cell.agreement.is_some(), has_agreement, "{key:?}");
        let run =
            trec::read_run(sandbox.path("bench/runs").join(format!("{}.run", key.file_name()))).unwrap();
        assert!(run.len() <= 12 && !run.is_empty());
        if cfg!(target_os = "linux") {
            assert!(cell.resident_bytes.unwrap() > 1_000_000);
        }
    }
    let mut positions: Vec<usize> = report.cells.iter().map(|cell| cell.position).collect();
    assert!(!positions.is_sorted(), "the order is shuffled");
    positions.sort();
    assert_eq!(positions, (0..9).collect::<Vec<usize>>());
    let flat = report.builds.iter().find(|build| build.index.as_deref() == Some("flat")).unwrap();
    let half = report.builds.iter().find(|build| build.index.as_deref() == Some("flat-f16")).unwrap();
    let vectors = flat.bytes_by_kind["vectors"] as f64 / half.bytes_by_kind["vectors"] as f64;
    assert!((1.8..2.1).contains(&vectors), "half the bits take half the bytes: {vectors}");
    let default = &report.encoders[0];
    assert_eq!((default.name.as_str(), default.embedding_parameters), ("default", 9_437_184));
    assert!(
        report
            .encodings
            .iter()
            .all(|encoding| encoding.padding_ratio >= 1.0 && encoding.timed_documents == 63)
    );

    // Layers: the whole model's are all there, and relevant documents are told from others somewhere.
    let small = report.encodings.iter().find(|encoding| encoding.encoder == "small").unwrap();
    let layers = small.layers.as_ref().unwrap();
    let places: Vec<(&str, Option<usize>)> =
        layers.points.iter().map(|point| (point.stage.as_str(), point.layer)).collect();
    let layer = |number| ("layer", Some(number));
    assert_eq!(places, [("embeddings", None), layer(0), layer(1), layer(2), ("vector", None)]);
    assert!(layers.num_queries > 1 && layers.points.iter().all(|point| point.relevant <= 1.0 + 1e-9));
    assert!(layers.points.iter().any(|point| (point.relevant - point.other).abs() > 1e-4), "{layers:?}");
    let page = std::fs::read_to_string(sandbox.path("bench/report.html")).unwrap();
    for part in [
        "Similarity, layer by layer: mini, small",
        "mean cosine with the query",
        "layers passed, number",
        "isotropy",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Nothing was pruned, and nothing is drawn of it.
    assert!(!page.contains("Where encoders were pruned"), "{page}");

    // The quality is that of `eval` on the same answers, by the same rules.
    let cell = report.cells.iter().find(|cell| cell.key.system() == "default, flat, dense").unwrap();
    let run = format!("bench/runs/{}.run", cell.key.file_name());
    let json = sandbox.run(["eval-run", &run, mini, "--rules", "mteb", "--json"]).json();
    let mean = cell.quality.as_ref().unwrap().means["nDCG@10"].mean;
    assert!((json["means"]["nDCG@10"].as_f64().unwrap() - mean).abs() < 1e-12, "{json}");

    // The second time nothing is measured, and the report is the same but for the date.
    let (_, lines) = ok(bench(&sandbox, &arguments));
    assert!(lines.iter().all(|line| line.ends_with("kept from before")), "{lines:?}");
    assert_eq!(same(&results(&sandbox.path("bench"))), same(&report));

    // After the loss of one part, that one alone is measured again; a lost database is built again for it.
    let lost = report.cells.iter().find(|cell| cell.key.system() == "small, flat, dense").unwrap();
    std::fs::remove_file(sandbox.path(format!("bench/parts/cell.{}.json", lost.key.file_name()))).unwrap();
    std::fs::remove_dir_all(sandbox.path("bench/work")).unwrap();
    let (_, lines) = ok(bench(&sandbox, &arguments));
    let measured: Vec<&String> = lines.iter().filter(|line| !line.contains("kept from before")).collect();
    assert_eq!(measured.len(), 1, "{lines:?}");
    assert!(measured[0].contains("small, flat, dense"), "{measured:?}");
    let scores = |report: &BenchReport| same(report).into_iter().map(|(name, score, _)| (name, score));
    assert!(scores(&results(&sandbox.path("bench"))).eq(scores(&report)));
}

/// The names of the cells with their score and their median, to more digits than any two of them share.
fn same(report: &BenchReport) -> Vec<(String, String, String)> {
    let cell = |cell: &Cell| {
        let score = cell.quality.as_ref().unwrap().means["nDCG@10"].mean;
        (cell.key.file_name(), format!("{score:.12}"), format!("{:.12}", cell.closed[0].latency.p50))
    };
    report.cells.iter().map(cell).collect()
}

#[test]
fn approximate_indexes_have_curves_and_cross_encoders_a_stage() {
    let sandbox = Sandbox::new();
    generated(&sandbox.path("data"), 1200);
    let queries: String =
        (0..8).map(|n| format!("{{\"_id\": \"q{n}\", \"text\": \"rose pear {n}\"}}\n")).collect();
    write(&sandbox.path("data"), "queries.jsonl", queries);
    model::tiny(&sandbox.path("tiny"));
    model::tiny_cross_encoder(&sandbox.path("judge"));
    let arguments = ["data", "--encoders", "tiny,other=tiny", "--indexes", "hnsw", "--modes", "dense"];
    let (_, lines) =
        ok(bench(&sandbox, &[&arguments[..], &["--rate", "200", "--concurrency", "3"]].concat()));
    assert_eq!(lines.len(), 2, "{lines:?}");
    let report = results(&sandbox.path("bench"));
    assert!(report.summary.sentence.starts_with("Without judgments"), "{}", report.summary.sentence);
    let cell = &report.cells[0];
    assert_eq!((cell.closed[1].concurrency, cell.open.rate), (3, Some(200.0)));
    assert!(cell.quality.is_none() && cell.curve.len() == 6);
    let [least, most] = [0, 5].map(|place| cell.curve[place]);
    assert!(least.ef_search < most.ef_search && least.recall <= most.recall, "{:?}", cell.curve);
    assert!(most.recall > 0.9, "{:?}", cell.curve);
    // The same model under another name agrees with itself.
    let other = report.cells.iter().find(|cell| cell.key.encoder.as_deref() == Some("other")).unwrap();
    let agreement = other.agreement.as_ref().unwrap();
    assert_eq!((agreement.overlap_at_10, agreement.rank_correlation, agreement.losses.len()), (1.0, 1.0, 0));

    let reranked = ["data", "--modes", "bm25", "--rerank", "judge", "--rerank-top", "4", "--out", "reranked"];
    ok(bench(&sandbox, &reranked));
    let report = results(&sandbox.path("reranked"));
    assert_eq!(report.cells[0].key.reranker.as_deref(), Some("judge"));
    let stages = &report.cells[0].closed[0].stages;
    assert!(stages["rerank"].mean > 0.0 && stages["encode"].mean == 0.0, "{stages:?}");
}

#[test]
fn wrong_questions_are_refused_before_anything_is_measured() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    model::tiny(&sandbox.path("tiny"));
    model::tiny_cross_encoder(&sandbox.path("judge"));
    let fails = |arguments: &[&str], code: i32, parts: &[&str]| {
        bench(&sandbox, arguments).fails(code, parts);
    };
    fails(&["gone"], 3, &["there is no folder gone"]);
    fails(&["data", "--encoders", "gone/model/x"], 3, &["there is no model directory gone/model/x"]);
    fails(&["data", "--indexes", "flat"], 2, &["--indexes does nothing in mode bm25"]);
    fails(&["data", "--modes", "dense"], 2, &["--encoders: dense and hybrid searches need one"]);
    fails(&["data", "--encoders", "tiny,tiny"], 2, &["--encoders: two are called \"tiny\"", "NAME=MODEL"]);
    fails(&["data", "--encoders", "=tiny"], 2, &["\"=tiny\" is neither MODEL nor NAME=MODEL"]);
    fails(&["data", "--encoders", "tiny", "--indexes", "tree"], 2, &["\"tree\" is no index"]);
    fails(&["data", "--rerank", "tiny"], 3, &["tiny is no cross-encoder"]);
    fails(&["data", "--rate", "0"], 2, &["--rate: expected a number above 0"]);
    fails(&["data", "--concurrency", "100000"], 2, &["--concurrency: expected at most 1024"]);
    fails(&["data", "--modes", "bm25,bm25"], 2, &["--modes: bm25 is named twice"]);
    let twice = ["data", "--encoders", "tiny", "--indexes", "hnsw-f16-1bit,hnsw-1bit-f16"];
    fails(&twice, 2, &["--indexes: hnsw-f16-1bit and hnsw-1bit-f16 are one index"]);
    fails(&["data", "--out", "data"], 2, &["--out: data has other files in it: choose a new folder"]);
    let judgments = std::fs::read_to_string(sandbox.path("data/qrels/test.tsv")).unwrap();
    let unjudged: String = judgments
        .lines()
        .map(|line| match line.rsplit_once('\t') {
            Some((pair, relevance)) if relevance.parse::<u32>().is_ok() => format!("{pair}\t0\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    write(&sandbox.path("data"), "qrels/test.tsv", unjudged);
    fails(&["data"], 3, &["data: no document is judged above 0", "take the folder qrels away"]);
    write(&sandbox.path("data"), "qrels/test.tsv", judgments);
    fails(&["data", "data"], 3, &["data: another data set is called so"]);
    write(&sandbox.path("data"), "queries.jsonl", "");
    fails(&["data"], 3, &["query \"q1\""]);
    std::fs::remove_dir_all(sandbox.path("data/qrels")).unwrap();
    fails(&["data"], 3, &["data: it has no queries"]);
    write(
        &sandbox.path("data"),
        "queries.jsonl",
        "{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"a\",\"text\":\"y\"}\n",
    );
    fails(&["data"], 3, &["two queries have one id"]);
    assert!(!sandbox.path("bench/results.json").exists());
}

/// The gate holds against itself, and not against a better past; the formats hold what the report does.
#[test]
fn a_baseline_is_a_gate_and_formats_hold_the_numbers() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    let arguments = ["data", "--baseline", "past.json", "--max-ndcg-drop", "0.01"];
    bench(&sandbox, &arguments).fails(3, ["past.json"]);
    write(&sandbox.path("."), "past.json", "{}");
    bench(&sandbox, &arguments).fails(3, ["past.json: it is not what `secateur bench` writes"]);
    ok(bench(&sandbox, &["data"]));
    std::fs::copy(sandbox.path("bench/results.json"), sandbox.path("past.json")).unwrap();
    ok(bench(&sandbox, &[&arguments[..], &["--max-latency-ratio", "1"]].concat()));
    let mut past = results(&sandbox.path("bench"));
    let score = past.cells[0].quality.as_mut().unwrap().means.get_mut("nDCG@10").unwrap();
    score.mean += 0.5;
    past.cells[0].closed[0].latency.p50 /= 4.0;
    past.write(&sandbox.path("past.json")).unwrap();
    let gate = bench(&sandbox, &[&arguments[..], &["--max-latency-ratio", "2"]].concat());
    assert_eq!(gate.status.code(), Some(5), "{gate:?}");
    assert!(gate.stdout.contains("recommend mode bm25"), "the report is printed all the same: {gate:?}");
    assert!(
        gate.stderr.contains("nDCG@10 fell from") && gate.stderr.contains("more than 2 times"),
        "{gate:?}"
    );

    let report = results(&sandbox.path("bench"));
    let read = |name: &str| std::fs::read_to_string(sandbox.path("bench").join(name)).unwrap();
    let mean = report.cells[0].quality.as_ref().unwrap().means["nDCG@10"].mean;
    let page = read("report.html");
    assert!(
        page.contains("<h2>Where the time goes</h2>") && page.contains("prefers-color-scheme:dark"),
        "{page}"
    );
    assert!(page.contains(&format!("data-value=\"{mean}\"")), "{page}");
    assert!(read("report.md").contains(&format!("| data | bm25 | {mean:.4} |")));
    // Two queries with three measures, below a line of names.
    assert_eq!(read("queries.tsv").lines().count(), 1 + 2 * 3);
    assert_eq!(read("ann.csv").lines().count(), 1, "words have no index of vectors");
    let mteb: Value = serde_json::from_str(&read("mteb/data.bm25.json")).unwrap();
    let score = mteb["scores"]["test"][0]["main_score"].as_f64().unwrap();
    assert!((score - mean).abs() < 1e-12, "{mteb}");
}

/// A gate that could not tell whether its limits hold is refused before anything is measured, and one that compares
/// other things says so.
#[test]
fn a_gate_compares_like_with_like() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    ok(bench(&sandbox, &["data", "--out", "past"]));
    let changed = |change: &dyn Fn(&mut BenchReport)| {
        let mut past = results(&sandbox.path("past"));
        change(&mut past);
        past.write(&sandbox.path("past.json")).unwrap();
    };
    let gate = |rest: &[&str]| bench(&sandbox, &[&["data", "--baseline", "past.json"], rest].concat());
    changed(&|_| {});
    for (limit, value) in [
        ("--max-ndcg-drop", "nan"),
        ("--max-ndcg-drop", "2"),
        ("--max-latency-ratio", "nan"),
        ("--max-latency-ratio", "-1"),
    ] {
        gate(&[limit, value]).fails(2, [limit, "expected a number"]);
    }
    changed(&|past| past.cells.clear());
    gate(&[]).fails(2, ["--baseline: it has no combination"]);
    changed(&|past| past.cells[0].quality = None);
    gate(&["--max-ndcg-drop", "0.1"])
        .fails(2, ["--max-ndcg-drop: the baseline was measured without judgments"]);
    changed(&|past| past.environments[0].processor = "A9".to_owned());
    gate(&["--max-latency-ratio", "9"]).fails(2, ["the baseline was timed on A9 with", "and this is "]);
    gate(&["-k", "5", "--max-latency-ratio", "9"]).fails(2, ["timed on A9"]);
    changed(&|_| {});
    gate(&["-k", "5", "--max-latency-ratio", "9"]).fails(2, ["say -k 10"]);
    assert!(!sandbox.path("bench").exists(), "nothing was measured");

    let breaks = |rest: &[&str], parts: &[&str]| {
        let outcome = gate(rest);
        assert_eq!(outcome.status.code(), Some(5), "{outcome:?}");
        for part in parts {
            assert!(outcome.stderr.contains(part), "no {part:?} in {}", outcome.stderr);
        }
    };
    changed(&|past| past.datasets[0].fingerprint = "f00d".to_owned());
    breaks(&["--max-ndcg-drop", "1"], &["data: its documents, queries or judgments are others than before"]);
    changed(&|past| past.cells[0].quality.as_mut().unwrap().rules = "others".to_owned());
    breaks(&["--max-ndcg-drop", "1"], &["data, bm25: it is judged by other rules"]);
    // Of a page of two machines the combination was timed on the other one.
    let elsewhere = |past: &mut BenchReport| {
        past.environments.push(Environment { processor: "A9".to_owned(), ..past.environments[0].clone() });
    };
    changed(&|past| {
        elsewhere(past);
        past.cells[0].environment = 1;
    });
    breaks(&["--max-latency-ratio", "1e9"], &["data, bm25: it was timed on another machine before"]);
    changed(&|past| {
        elsewhere(past);
        past.cells.push(Cell { environment: 1, ..past.cells[0].clone() });
    });
    ok(gate(&["--max-latency-ratio", "1e9"]));
    changed(&|past| {
        for name in ["a", "b", "c", "d", "e"] {
            past.datasets.push(DatasetFacts { name: name.to_owned(), ..past.datasets[0].clone() });
            let key = CellKey { dataset: name.to_owned(), ..past.cells[0].key.clone() };
            past.cells.push(Cell { key, ..past.cells[0].clone() });
        }
    });
    breaks(&[], &["measured before, and not now: a, bm25; b, bm25; c, bm25, and 2 others"]);
    // The folder of a bench is its results. A gain of nothing is asked for, and is there.
    ok(bench(&sandbox, &["data", "--baseline", "past", "--max-ndcg-drop", "0"]));
}

/// What is left in work/ are databases like others, also where an encoder has a name of the bench's own.
#[test]
fn databases_of_a_bench_can_be_searched() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    ok(bench(&sandbox, &["data", "--encoders", "box=default", "--indexes", "flat", "--modes", "dense"]));
    let work = std::fs::read_dir(sandbox.path("bench/work")).unwrap().next().unwrap().unwrap().path();
    let names = std::fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path());
    let database = names.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).unwrap();
    let found =
        sandbox.run(["search", database.to_str().unwrap(), "roses", "--mode", "dense", "--json"]).json();
    assert!(!found["hits"].as_array().unwrap().is_empty(), "{found}");
}

/// What a bench could not say of itself: a single query, and queries that are longer than an encoder reads.
#[test]
fn few_and_long_queries_are_measured_and_told() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    model::tiny(&sandbox.path("tiny"));
    std::fs::remove_dir_all(sandbox.path("data/qrels")).unwrap();
    let long = "prune roses ".repeat(3000);
    write(&sandbox.path("data"), "queries.jsonl", format!("{{\"_id\": \"q\", \"text\": \"{long}\"}}\n"));
    let (text, _) = ok(bench(&sandbox, &["data", "--encoders", "tiny", "--indexes", "flat"]));
    assert!(text.contains("note: data: 1 of 1 query is longer than the "), "{text}");
    let report = results(&sandbox.path("bench"));
    assert_eq!((report.encodings[0].cut_queries, report.encodings[0].isotropy), (1, None));
    assert!(report.cells.iter().all(|cell| cell.closed[0].latency.p50 > 0.0 && cell.quality.is_none()));
}

/// results.json is what `--json` prints.
#[test]
fn json_is_the_file() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("data"));
    let (text, _) = ok(bench(&sandbox, &["data", "--json"]));
    let printed: Value = serde_json::from_str(&text).unwrap();
    let file: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("bench/results.json")).unwrap()).unwrap();
    assert_eq!(printed, file);
    assert_eq!(printed["format"], 1);
}

/// What is measured of a GPU is one thing, and its options go with it. A missing argument is told before a missing GPU.
#[test]
fn a_gpu_is_asked_for_one_thing() {
    let sandbox = Sandbox::new();
    let fails = |arguments: &[&str], says: &str| {
        sandbox.run(["bench", "gpu"].iter().chain(arguments).copied()).fails(2, [says]);
    };
    fails(&[], "--config");
    fails(&["--config", "mistral-7b"], "--random-weights");
    fails(&["--config", "mistral-8b", "--random-weights"], "mistral-7b");
    fails(&["--probe", "--search"], "cannot be used with");
    fails(&["--ceilings", "--rows", "5"], "--rows");
    fails(&["--ceilings", "--only", "bert"], "--only");
    fails(&["--ceilings", "--ptx"], "--ptx");
    fails(&["--probe", "--compare-rows", "5"], "--compare-rows");
    fails(&["--probe", "--train"], "--train");
    fails(&["--search", "--width", "0.5"], "--width");
    sandbox.run(["bench"]).fails(2, ["DATASET"]);
}

#[test]
fn what_was_pruned_is_drawn() {
    let sandbox = Sandbox::new();
    let mini = mini();
    let mini = mini.to_str().unwrap();
    model::tiny(&sandbox.path("tiny"));
    let score =
        ["prune", "score", "tiny", "--calibration", mini, "--format", "texts", "--out", "scores.json"];
    sandbox.run(score).ok();
    sandbox
        .run(["prune", "drop", "tiny", "--mlp", "1", "--scores", "scores.json", "--out", "pruned/model"])
        .ok();
    std::fs::rename(sandbox.path("scores.json"), sandbox.path("pruned/scores.json")).unwrap();
    let arguments = [mini, "--encoders", "tiny,small=pruned/model", "--indexes", "flat", "--modes", "dense"];
    ok(bench(&sandbox, &arguments));
    let page = std::fs::read_to_string(sandbox.path("bench/report.html")).unwrap();
    for part in [
        "small: the order in which sub-layers of tiny are dropped",
        "small: what each layer keeps",
        "width of the MLP (neurons)",
        "dropped (number)",
        "layer (number)",
        "was not there",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    let report = results(&sandbox.path("bench"));
    let small = report.encoders.iter().find(|encoder| encoder.name == "small").unwrap();
    let gone: Vec<usize> = (0..3).filter(|layer| small.layers[*layer].mlp_width.is_none()).collect();
    assert_eq!(gone, small.drop_order.as_ref().unwrap().mlp[..1]);
    assert_eq!(page.matches("layer 0, 1 MLPs dropped: ").count(), 1);
}
