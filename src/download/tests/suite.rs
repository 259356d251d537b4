//! Suites: what is missing is fetched data set by data set, and the bench of them goes on where it stopped.

use std::path::Path;

use secateur::SearchMode;
use secateur::bench::{BenchDataset, BenchOptions, BenchProgress, run};
use secateur::report::{bench_markdown, bench_text};
use secateur_datasets::known_datasets;
use secateur_testkit::server::{Resource, TestServer};

use super::beir::{md5_of, zip_of};
use super::{fetcher, names};
use crate::download::HubConfig;
use crate::download::beir::Archive;
use crate::download::suite::{Suite, SuiteDataset, download_all, download_nano};

/// A data set in a folder of an archive, whose only query is answered by its first document, or by its second.
fn files(folder: &str, relevant: usize) -> Vec<(String, String)> {
    let corpus = "{\"_id\":\"d1\",\"text\":\"bees dance\"}\n{\"_id\":\"d2\",\"text\":\"bees dance, and bread rises\"}\n";
    vec![
        (format!("{folder}/corpus.jsonl"), corpus.to_owned()),
        (format!("{folder}/queries.jsonl"), "{\"_id\":\"q1\",\"text\":\"bees\"}\n".to_owned()),
        (format!("{folder}/qrels/test.tsv"), format!("query-id\tcorpus-id\tscore\nq1\td{relevant}\t1\n")),
    ]
}

fn zip(files: &[(String, String)]) -> Vec<u8> {
    zip_of(&files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect::<Vec<_>>())
}

fn bench(datasets: &[SuiteDataset], out: &Path) -> (secateur::bench::BenchReport, usize) {
    let dataset = |dataset: &SuiteDataset| BenchDataset {
        path: dataset.path.clone(),
        name: Some(dataset.name.clone()),
        part_of: dataset.part_of.clone(),
    };
    let options = BenchOptions {
        datasets: datasets.iter().map(dataset).collect(),
        modes: vec![SearchMode::Bm25],
        repetitions: 1,
        warm_up: 0,
        ..BenchOptions::default()
    };
    let mut measured = 0;
    let report = run(&options, out, &mut |told| {
        if let BenchProgress::Cell { was_kept: false, .. } = told {
            measured += 1;
        }
    });
    (report.unwrap(), measured)
}

#[test]
fn what_is_missing_is_fetched_set_by_set_and_parts_are_averaged() {
    let server = TestServer::start();
    let whole = zip(&files("whole", 1));
    let parted = zip(&[files("parted/one", 1), files("parted/two", 2)].concat());
    let [whole_md5, parted_md5] = [&whole, &parted].map(|bytes| md5_of(bytes));
    server.put("/whole.zip", Resource::new(whole).etag("a"));
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let urls = ["/whole.zip", "/parted.zip"].map(|path| server.url(path));
    let archives = [
        Archive { name: "whole", url: &urls[0], md5: &whole_md5, parts: &[] },
        Archive { name: "parted", url: &urls[1], md5: &parted_md5, parts: &["one", "two"] },
    ];
    let mut told = Vec::new();
    let mut download = || {
        download_all(&archives, &cache, &fetcher(), &mut |name, _| {
            if told.last().map(String::as_str) != Some(name) {
                told.push(name.to_owned());
            }
        })
    };
    let error = download().unwrap_err().to_string();
    assert!(error.contains("/parted.zip"), "{error}");
    assert_eq!(names(&cache), [".parted.lock", ".whole.lock", "whole"], "what was fetched is kept");

    server.put("/parted.zip", Resource::new(parted).etag("b").breaks_after(60));
    server.clear_requests();
    let datasets = download().unwrap();
    assert!(server.requests().iter().all(|request| request.path == "/parted.zip"), "{:?}", server.requests());
    assert_eq!(told, ["whole", "parted"]);
    let found: Vec<(&str, Option<&str>)> =
        datasets.iter().map(|dataset| (dataset.name.as_str(), dataset.part_of.as_deref())).collect();
    assert_eq!(found, [("whole", None), ("parted-one", Some("parted")), ("parted-two", Some("parted"))]);

    // Stopped after the first data set, the bench goes on with the others.
    let out = folder.path().join("bench");
    assert_eq!(bench(&datasets[..1], &out).1, 1);
    let (report, measured) = bench(&datasets, &out);
    assert_eq!((measured, report.cells.len()), (2, 3));
    let system = &report.summary.systems[0];
    // The shorter document is first: nDCG@10 1 where it is relevant, and 1 / log2(3) where it is the other one.
    let second = 1.0 / 3f64.log2();
    let parted = (1.0 + second) / 2.0;
    assert!((system.scores["parted"] - parted).abs() < 1e-12 && system.scores["whole"] == 1.0, "{system:?}");
    assert!((system.score().unwrap() - (1.0 + parted) / 2.0).abs() < 1e-12, "each data set counts once");
    assert_eq!(system.num_datasets, 2);
    // In the layout of the paper's table.
    let text = bench_text(&report);
    for row in ["parameters -", "parted 81.5", "whole 100.0", "average 90.8"] {
        let is_row = |line: &str| line.split_whitespace().eq(row.split(' '));
        assert!(text.lines().any(is_row), "no {row:?} in {text}");
    }
    assert!(bench_markdown(&report).contains("| parted | 81.5 |"), "{}", bench_markdown(&report));
}

/// Puts a table of the hub on the server, in pages of a hundred rows.
fn put_rows(server: &TestServer, repository: &str, config: &str, rows: &[serde_json::Value]) {
    for offset in (0..rows.len().max(1)).step_by(100) {
        let page: Vec<_> =
            rows.iter().skip(offset).take(100).map(|row| serde_json::json!({ "row": row })).collect();
        let page = serde_json::json!({ "rows": page, "num_rows_total": rows.len(), "features": [] });
        let path =
            format!("/rows?dataset={repository}&config={config}&split=train&offset={offset}&length=100");
        server.put(&path, Resource::new(page.to_string()));
    }
}

fn hub(server: &TestServer) -> HubConfig {
    // Nothing is kept in the hub's own cache.
    HubConfig {
        endpoint: "http://nowhere".to_owned(),
        viewer: server.url(""),
        cache_dir: "nowhere".into(),
        offline: false,
        token: None,
    }
}

#[test]
fn data_sets_of_the_hub_need_its_token_and_no_network_once_they_are_there() {
    let server = TestServer::start();
    server.require_token("secret");
    let row = serde_json::json!({ "_id": "1", "text": "bees" });
    let qrel = serde_json::json!({ "query-id": "1", "corpus-id": "1" });
    for (table, row) in [("corpus", &row), ("queries", &row), ("qrels", &qrel)] {
        put_rows(&server, "owner%2FNano", table, std::slice::from_ref(row));
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let download = |hub: &HubConfig| download_nano(&["owner/Nano"], &cache, hub, &fetcher(), &mut |_, _| {});
    let open = hub(&server);
    let offline = HubConfig { offline: true, ..open.clone() };
    let error = download(&offline).unwrap_err().to_string();
    let looked_in = cache.join("Nano").display().to_string();
    for part in ["owner/Nano is not in the cache", "HF_HUB_OFFLINE", &looked_in] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert_eq!(server.requests(), [], "nothing is asked for");
    let error = download(&open).unwrap_err().to_string();
    assert!(error.contains("set HF_TOKEN to an access token"), "{error}");
    let wrong = HubConfig { token: Some("other".to_owned()), ..open.clone() };
    let error = download(&wrong).unwrap_err().to_string();
    assert!(error.contains("the token of HF_TOKEN was sent but does not open it"), "{error}");
    let with_token = HubConfig { token: Some("secret".to_owned()), ..open };
    let fetched = download(&with_token).unwrap();
    server.clear_requests();
    assert_eq!(download(&offline).unwrap(), fetched);
    assert_eq!(server.requests(), []);
}

#[test]
fn data_sets_of_the_hub_come_row_by_row() {
    let server = TestServer::start();
    let text = |id: String, text: String| serde_json::json!({ "_id": id, "text": text });
    let corpus: Vec<_> = (0..230).map(|n| text(format!("d{n}"), format!("tab\t and word{n}"))).collect();
    let queries: Vec<_> = (0..3).map(|n| text(format!("q{n}"), format!("word{n}"))).collect();
    let qrels: Vec<_> = (0..3)
        .map(|n| serde_json::json!({ "query-id": format!("q{n}"), "corpus-id": format!("d{n}") }))
        .collect();
    put_rows(&server, "owner%2FNanoOne", "corpus", &corpus);
    put_rows(&server, "owner%2FNanoOne", "queries", &queries);
    put_rows(&server, "owner%2FNanoOne", "qrels", &qrels);
    put_rows(&server, "owner%2FNanoTwo", "corpus", &[serde_json::json!({ "_id": "d1" })]);
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let hub = hub(&server);
    let download = |names: &[&str]| download_nano(names, &cache, &hub, &fetcher(), &mut |_, _| {});
    let error = download(&["owner/NanoOne", "owner/NanoTwo"]).unwrap_err().to_string();
    assert!(error.contains("NanoTwo") && error.contains("a row lacks an id or a text"), "{error}");
    assert_eq!(
        names(&cache),
        [".NanoOne.lock", ".NanoTwo.lock", "NanoOne"],
        "the first is kept, of the other nothing"
    );

    server.clear_requests();
    let datasets = download(&["owner/NanoOne"]).unwrap();
    assert_eq!(server.requests(), [], "it is not fetched again");
    let (report, _) = bench(&datasets, &folder.path().join("bench"));
    assert_eq!((report.datasets[0].num_documents, report.datasets[0].num_queries), (230, 3));
    assert_eq!((report.datasets[0].name.as_str(), report.summary.systems[0].score()), ("NanoOne", Some(1.0)));

    let cut = serde_json::json!({ "rows": [{ "row": { "_id": "d", "text": "t" }, "truncated_cells": ["text"] }], "num_rows_total": 1 });
    let path = "/rows?dataset=owner%2FNanoTwo&config=corpus&split=train&offset=0&length=100";
    for (body, reason) in [
        (cut.to_string(), "not told whole"),
        ("<html>".to_owned(), "not the JSON"),
        ("{\"rows\":[],\"num_rows_total\":5}".to_owned(), "no rows"),
    ] {
        server.put(path, Resource::new(body));
        let error = download(&["owner/NanoTwo"]).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("&config=corpus"), "{error}");
    }
}

#[test]
fn suites_are_published() {
    for suite in [Suite::Beir13, Suite::Beir] {
        let names = suite.names();
        assert!(
            names.is_sorted() && names.iter().all(|name| known_datasets::find(name).is_some()),
            "{names:?}"
        );
    }
    assert_eq!((Suite::Beir13.names().len(), Suite::Beir.names().len()), (13, 15));
    assert_eq!(Suite::NanoBeir.names().len(), 13);
}
