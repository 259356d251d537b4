//! Real collections: the counts of the shared data's README come out, and nothing is wrong but what it says is.

use std::collections::BTreeMap;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Fault, trec};
use secateur_testkit::shared_data;

/// A split: name, queries with judgments, judgments, judgments above 0.
type Split = (&'static str, u64, u64, u64);

/// A collection: name, documents, splits, documents without any text, documents with a title only.
type Collection = (&'static str, u64, &'static [Split], u64, u64);

/// As the README of the shared data states them; where it gives no positive count all are positive.
const COLLECTIONS: [Collection; 21] = [
    ("scifact", 5_183, &[("test", 300, 339, 339), ("train", 809, 919, 919)], 0, 0),
    (
        "nfcorpus",
        3_633,
        &[("dev", 324, 11_385, 11_385), ("test", 323, 12_334, 12_334), ("train", 2_590, 110_575, 110_575)],
        0,
        0,
    ),
    ("cranfield", 1_400, &[("test", 225, 1_837, 1_612)], 2, 0),
    ("cacm", 3_204, &[("test", 52, 796, 796)], 0, 1_617),
    ("npl-vaswani", 11_429, &[("test", 93, 2_083, 2_083)], 0, 0),
    ("lisa", 5_999, &[("test", 35, 379, 379)], 0, 0),
    ("nq-utd", 800, &[("test", 80, 800, 297)], 0, 0),
    ("cosqa", 6_267, &[("dev", 500, 500, 500), ("test", 500, 500, 500)], 0, 0),
    ("liveqa-med", 1_935, &[("test", 103, 2_311, 945)], 0, 0),
    ("xquad-en", 240, &[("test", 1_190, 1_190, 1_190)], 0, 0),
    ("squadshifts-wiki", 1_581, &[("dev", 920, 920, 920), ("train", 7_018, 7_018, 7_018)], 0, 0),
    ("squadshifts-reddit", 2_033, &[("dev", 800, 800, 800), ("train", 9_003, 9_003, 9_003)], 0, 0),
    ("squadshifts-amazon", 2_050, &[("dev", 1_141, 1_141, 1_141), ("train", 8_744, 8_744, 8_744)], 0, 0),
    ("boolq", 10_148, &[("dev", 3_270, 3_270, 3_270), ("train", 9_427, 9_427, 9_427)], 0, 0),
    ("nq-qed", 8_096, &[("dev", 1_355, 1_355, 1_355), ("train", 7_167, 7_167, 7_167)], 0, 0),
    ("medquad", 15_808, &[("dev", 596, 596, 596), ("train", 15_810, 15_810, 15_810)], 0, 0),
    (
        "papers-title-abstract",
        55_548,
        &[("dev", 1_130, 1_130, 1_130), ("train", 54_418, 54_418, 54_418)],
        0,
        0,
    ),
    (
        "scitldr",
        3_229,
        &[("dev", 1_453, 1_453, 1_453), ("test", 1_967, 1_967, 1_967), ("train", 1_992, 1_992, 1_992)],
        0,
        0,
    ),
    ("stackexchange-sample", 6_530, &[("dev", 123, 348, 348), ("train", 1_872, 6_182, 6_182)], 0, 0),
    ("pubmedqa", 1_000, &[("train", 1_000, 1_000, 1_000)], 0, 0),
    ("foolmetwice", 2_634, &[("train", 2_549, 3_207, 3_207)], 0, 0),
];

#[test]
fn collections_have_the_published_counts_and_known_faults_only() {
    for (name, documents, splits, no_text, title_only) in COLLECTIONS {
        let Some(path) = shared_data("datasets::shared::collections", name) else { continue };
        let folder = BeirFolder::open(path).unwrap();
        let info = folder.info().unwrap();
        assert_eq!(info.documents, documents, "{name}");
        assert_eq!(info.empty_documents, no_text, "{name}");
        let found: Vec<Split> = splits
            .iter()
            .zip(&info.splits)
            .map(|(expected, found)| {
                assert_eq!(found.name, expected.0, "{name}");
                (expected.0, found.queries, found.judgments, found.positive_judgments)
            })
            .collect();
        assert_eq!(found, splits, "{name}");
        assert_eq!(info.splits.len(), splits.len(), "{name}");

        let mut without_text = 0;
        let mut without_body = 0;
        let mut python_numbers = 0;
        let mut others = Vec::new();
        let verdict = folder
            .verify(|finding| match finding.fault {
                Fault::NoText { .. } => without_text += 1,
                Fault::TitleOnly { .. } => without_body += 1,
                Fault::PythonNumber => python_numbers += 1,
                _ => others.push(finding.to_string()),
            })
            .unwrap();
        assert_eq!(others, [""; 0], "{name}");
        assert_eq!((without_text, without_body), (no_text, title_only), "{name}");
        // Two queries of nq-utd have NaN in their metadata, which its README does not mention.
        assert_eq!(python_numbers, if name == "nq-utd" { 2 } else { 0 }, "{name}");
        assert_eq!((verdict.errors, verdict.warnings), (0, no_text + title_only + python_numbers), "{name}");
        assert_eq!(verdict.documents, documents, "{name}");
        assert_eq!(verdict.queries, info.queries, "{name}");
        let qrels = folder.qrels(&folder.default_split().unwrap()).unwrap();
        assert_eq!(folder.judged_queries(&qrels).unwrap().len(), qrels.len(), "{name}");
    }
}

#[test]
fn trec_evals_own_test_files_are_read() {
    let Some(folder) = shared_data("datasets::shared::trec_eval", "eval-refs/trec_eval-tests") else {
        return;
    };
    // Queries and lines, counted with `awk '{print $1}' | sort -u | wc -l` and `wc -l`.
    for (name, queries, lines) in [("qrels.test", 3, 3_681), ("qrels.rel_level", 3, 3_681)] {
        let qrels = trec::read_qrels(folder.join(name)).unwrap();
        assert_eq!(
            (qrels.len(), qrels.values().map(BTreeMap::len).sum::<usize>()),
            (queries, lines),
            "{name}"
        );
    }
    for (name, queries, lines) in [("results.test", 3, 1_500), ("results.trunc", 2, 584)] {
        let run = trec::read_run(folder.join(name)).unwrap();
        assert_eq!((run.len(), run.values().map(Vec::len).sum::<usize>()), (queries, lines), "{name}");
    }
}

#[test]
fn published_runs_and_judgments_are_read() {
    let Some(folder) = shared_data("datasets::shared::runs", "eval-refs") else { return };
    let runs = [
        ("cacm.anserini-bm25", 64, 1_920),
        ("cranfield.bm25", 225, 22_500),
        ("cranfield.bm25-ties", 225, 22_500),
        ("nfcorpus.bm25", 308, 22_005),
        ("npl-vaswani.bm25", 93, 9_300),
        ("scifact.bm25", 300, 29_966),
        ("scifact.bm25-ties", 300, 29_966),
    ];
    let output = tempfile::tempdir().unwrap();
    for (name, queries, lines) in runs {
        let run = trec::read_run(folder.join(format!("runs/{name}.run.gz"))).unwrap();
        assert_eq!((run.len(), run.values().map(Vec::len).sum::<usize>()), (queries, lines), "{name}");
        let copy = output.path().join("copy.run");
        trec::write_run(&copy, &run, "copy").unwrap();
        assert_eq!(trec::read_run(&copy).unwrap(), run, "{name}");
    }
    assert_eq!(trec::read_qrels(folder.join("runs/cacm.anserini.qrels.gz")).unwrap().len(), 52);

    // The judgments of BEIR sets whose corpora are not at hand, through a folder with a corpus of one document.
    for (name, queries, judgments) in [
        ("fiqa", 648, 1_706),
        ("scidocs", 1_000, 29_928),
        ("trec-covid", 50, 66_334),
        ("webis-touche2020", 49, 932),
    ] {
        let path = output.path().join(name);
        std::fs::create_dir_all(path.join("qrels")).unwrap();
        std::fs::write(path.join("corpus.jsonl"), "{\"_id\":\"d\",\"text\":\"x\"}\n").unwrap();
        let source = folder.join("beir-qrels");
        std::fs::copy(source.join(format!("{name}.test.tsv.gz")), path.join("qrels/test.tsv.gz")).unwrap();
        std::fs::copy(source.join(format!("{name}.queries.jsonl.gz")), path.join("queries.jsonl.gz"))
            .unwrap();
        let beir_folder = BeirFolder::open(path).unwrap();
        let qrels = beir_folder.qrels("test").unwrap();
        assert_eq!(
            (qrels.len(), qrels.values().map(BTreeMap::len).sum::<usize>()),
            (queries, judgments),
            "{name}"
        );
        assert_eq!(beir_folder.judged_queries(&qrels).unwrap().len(), queries, "{name}");
    }
}
