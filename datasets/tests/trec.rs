//! TREC judgments and runs: round trips, trec_eval's tolerance and its hard errors.

use proptest::prelude::*;
use secateur_datasets::{Qrels, Run, ScoredDocument, trec};

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.:/#é😀-]{1,8}"
}

fn first_word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é😀-][a-zA-Z0-9_.:/#-]{0,8}"
}

fn run() -> impl Strategy<Value = Run> {
    // Few distinct scores, so that ties are common, among all finite ones.
    let score = prop_oneof![
        (-2i8..3).prop_map(f64::from),
        any::<f64>().prop_filter("finite", |score| score.is_finite())
    ];
    let documents = proptest::collection::btree_map(word(), score, 1..8).prop_map(|documents| {
        documents.into_iter().map(|(doc_id, score)| ScoredDocument { doc_id, score }).collect::<Vec<_>>()
    });
    proptest::collection::btree_map(first_word(), documents, 0..6)
}

fn qrels() -> impl Strategy<Value = Qrels> {
    let judged = proptest::collection::btree_map(word(), any::<i32>(), 1..6);
    proptest::collection::btree_map(first_word(), judged, 0..6)
}

proptest! {
    #[test]
    fn runs_survive_a_round_trip_in_ranking_order(mut run in run(), ending in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(["a.run", "a.run.gz", "a.run.zst"][ending]);
        trec::write_run(&path, &run, "tag").unwrap();
        let read = trec::read_run(&path).unwrap();
        // The naive order: by score, then by id, both descending.
        for documents in run.values_mut() {
            documents.sort_by(|a, b| {
                b.score.partial_cmp(&a.score).unwrap().then_with(|| b.doc_id.as_bytes().cmp(a.doc_id.as_bytes()))
            });
        }
        prop_assert_eq!(read, run);
    }

    #[test]
    fn judgments_survive_a_round_trip(qrels in qrels()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qrels.txt");
        trec::write_qrels(&path, &qrels).unwrap();
        prop_assert_eq!(trec::read_qrels(&path).unwrap(), qrels);
    }
}

fn scored(doc_id: &str, score: f64) -> ScoredDocument {
    ScoredDocument { doc_id: doc_id.to_owned(), score }
}

#[test]
fn a_written_run_ranks_from_one_by_score_then_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.txt");
    let run = Run::from([
        ("q2".to_owned(), vec![scored("a", 0.1), scored("b", 1e-300)]),
        ("q1".to_owned(), vec![scored("b", 0.5), scored("c", 0.5), scored("a", 2.0)]),
    ]);
    trec::write_run(&path, &run, "secateur").unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let zeros = "0".repeat(299);
    assert_eq!(
        written,
        format!(
            "q1 Q0 a 1 2 secateur\nq1 Q0 c 2 0.5 secateur\nq1 Q0 b 3 0.5 secateur\n\
             q2 Q0 a 1 0.1 secateur\nq2 Q0 b 2 0.{zeros}1 secateur\n"
        )
    );
}

#[test]
fn comments_blank_lines_and_what_follows_the_tag_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.txt");
    std::fs::write(
        &path,
        "# made by hand\n\n  # indented\n1\tQ0\td1  7\t 2.5e-1 tag and more\r\n1 Q0 #2 0 3 t\n",
    )
    .unwrap();
    let run = trec::read_run(&path).unwrap();
    assert_eq!(run, Run::from([("1".to_owned(), vec![scored("#2", 3.0), scored("d1", 0.25)])]));
    std::fs::write(&path, "#comment\n1 0 d1 -1\n1 x d2 2\n").unwrap();
    let qrels = trec::read_qrels(&path).unwrap();
    assert_eq!(qrels, Qrels::from([("1".to_owned(), [("d1".to_owned(), -1), ("d2".to_owned(), 2)].into())]));
}

#[test]
fn bad_runs_name_the_line() {
    let cases = [
        ("1 Q0 d 1 0.5", 1, "expected 6 fields (query-id, Q0, document-id, rank, score, tag), found 5"),
        (
            "1 Q0 a 1 2 t\n1\td\t0.5",
            2,
            "expected 6 fields (query-id, Q0, document-id, rank, score, tag), found 3",
        ),
        ("# c\n1 Q0 d 1 high t", 2, "score \"high\" is not a number"),
        ("1 Q0 d 1 NaN t", 1, "score NaN of document \"d\" is not finite: no ranking can hold it"),
        ("1 Q0 d 1 -inf t", 1, "score -inf of document \"d\" is not finite: no ranking can hold it"),
        ("1 Q0 d 1 1e999 t", 1, "score 1e999 of document \"d\" is not finite: no ranking can hold it"),
        (
            "1 Q0 d 1 2 t\n2 Q0 d 1 2 t\n1 Q0 d 2 1 t",
            3,
            "query \"1\" retrieves document \"d\" twice: keep one of the lines",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.run");
    for (text, line, expected) in cases {
        std::fs::write(&path, text).unwrap();
        let error = trec::read_run(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}:{line}: {expected}", path.display()), "{text:?}");
    }
}

#[test]
fn bad_judgments_name_the_line() {
    let cases = [
        ("1 0 d", 1, "expected 4 fields (query-id, iteration, document-id, relevance), found 3"),
        (
            "1 0 d 1\n1 Q0 e 1 0.5 t",
            2,
            "expected 4 fields (query-id, iteration, document-id, relevance), found 6",
        ),
        ("1 0 d 1.5", 1, "relevance \"1.5\" is not an integer"),
        (
            "1 0 d 1\n1 0 d 1",
            2,
            "query \"1\" and document \"d\" are judged twice: 1, then 1; keep one of the lines",
        ),
        (
            "1 0 d 1\n1 0 d 0",
            2,
            "query \"1\" and document \"d\" are judged twice: 1, then 0; keep one of the lines",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.qrels");
    for (text, line, expected) in cases {
        std::fs::write(&path, text).unwrap();
        let error = trec::read_qrels(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}:{line}: {expected}", path.display()), "{text:?}");
    }
}

#[test]
fn what_no_reader_could_take_back_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.run");
    let run =
        |query_id: &str, documents: &[ScoredDocument]| Run::from([(query_id.to_owned(), documents.to_vec())]);
    let good = run("q", &[scored("d", 1.0)]);
    let cases = [
        (run("q 1", &[scored("d", 1.0)]), "t"),
        (run("#q", &[scored("d", 1.0)]), "t"),
        (run("", &[scored("d", 1.0)]), "t"),
        (run("q", &[scored("d\t1", 1.0)]), "t"),
        (run("q", &[scored("", 1.0)]), "t"),
        (run("q", &[scored("d", f64::NAN)]), "t"),
        (run("q", &[scored("d", f64::INFINITY)]), "t"),
        (run("q", &[scored("d", 1.0), scored("e", 1.5), scored("d", 2.0)]), "t"),
        (good.clone(), ""),
        (good, "two words"),
    ];
    for (run, tag) in cases {
        let error = trec::write_run(&path, &run, tag).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert!(!path.exists(), "{error}");
    }
    let qrels = Qrels::from([("q".to_owned(), [("a b".to_owned(), 1)].into())]);
    assert!(trec::write_qrels(&path, &qrels).is_err());
}
