//! BEIR folders as training examples.

use std::path::Path;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::triples::{BeirExamples, BeirOptions, TrainingExample};
use secateur_testkit::shared_data;

fn folder(path: &Path, qrels: &str) -> BeirFolder {
    let documents: String = (0..8)
        .map(|i| format!("{{\"_id\":\"d{i}\",\"title\":\"T{i}\",\"text\":\"text {i}\"}}\n"))
        .chain(["{\"_id\":\"empty\",\"text\":\" \"}\n".to_owned()])
        .collect();
    std::fs::write(path.join("corpus.jsonl"), documents).unwrap();
    let queries: String =
        ["b", "a", "c"].iter().map(|id| format!("{{\"_id\":\"{id}\",\"text\":\"query {id}\"}}\n")).collect();
    std::fs::write(path.join("queries.jsonl"), queries + "{\"_id\":\"blank\",\"text\":\"\"}\n").unwrap();
    std::fs::create_dir_all(path.join("qrels")).unwrap();
    std::fs::write(path.join("qrels/train.tsv"), format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
    BeirFolder::open(path).unwrap()
}

fn read(folder: &BeirFolder, options: &BeirOptions) -> (Vec<TrainingExample>, u64) {
    let examples = BeirExamples::read(folder, "train", options, |_| {}).unwrap();
    let left_out = examples.left_out();
    (examples.collect(), left_out)
}

fn ids(list: &Option<Vec<String>>) -> Vec<&str> {
    list.iter().flatten().map(String::as_str).collect()
}

#[test]
fn judgments_become_positives_negatives_and_known_positives() {
    let temporary = tempfile::tempdir().unwrap();
    let qrels = "a\td0\t1\na\td1\t2\na\td2\t0\na\td3\t-1\na\tempty\t1\nb\td4\t1\nc\td5\t0\nblank\td6\t1\n";
    let folder = folder(temporary.path(), qrels);

    let (examples, left_out) = read(&folder, &BeirOptions::default());
    // In the order of the queries file; `c` has no positive and `blank` no text.
    assert_eq!((examples.len(), left_out), (2, 2));
    assert_eq!(examples[0].query_id.as_deref(), Some("b"));
    let a = &examples[1];
    assert_eq!(a.check(), Ok(()));
    assert_eq!((a.query.as_str(), a.query_id.as_deref()), ("query a", Some("a")));
    assert_eq!(
        (ids(&a.positive_ids), &a.positives[..]),
        (vec!["d0", "d1"], &["T0 text 0", "T1 text 1"].map(str::to_owned)[..])
    );
    assert_eq!((ids(&a.negative_ids), a.negatives.len()), (vec!["d2", "d3"], 2));
    // It has no text to train on, but it is relevant.
    assert_eq!(ids(&a.known_positive_ids), ["empty"]);

    let (examples, _) = read(&folder, &BeirOptions { max_positives: Some(1), ..BeirOptions::default() });
    assert_eq!(ids(&examples[1].positive_ids), ["d1"], "the most relevant one is kept");
    assert_eq!(ids(&examples[1].known_positive_ids), ["d0", "empty"]);

    let options = BeirOptions { min_relevance: 2, judged_negatives: false, ..BeirOptions::default() };
    let (examples, left_out) = read(&folder, &BeirOptions { separator: ". ".to_owned(), ..options });
    assert_eq!((examples.len(), left_out), (1, 3));
    assert_eq!(examples[0].positives, ["T1. text 1"]);
    // Relevant, though not enough for a positive: no negative either.
    assert_eq!(ids(&examples[0].known_positive_ids), ["d0", "empty"]);
    assert_eq!((&examples[0].negative_ids, examples[0].negatives.len()), (&None, 0));
}

#[test]
fn equally_relevant_positives_are_drawn_by_seed() {
    let temporary = tempfile::tempdir().unwrap();
    let qrels: String = (0..8).map(|i| format!("a\td{i}\t1\n")).collect();
    let folder = folder(temporary.path(), &qrels);
    let kept = |seed| {
        let options = BeirOptions { max_positives: Some(2), seed, ..BeirOptions::default() };
        ids(&read(&folder, &options).0[0].positive_ids).join(" ")
    };
    assert_eq!(kept(1), kept(1));
    let all: std::collections::BTreeSet<String> = (0..20).map(kept).collect();
    assert!(all.len() > 10, "{all:?}");
}

/// BEIR's ArguAna judges documents that its corpus lacks. The others become examples.
#[test]
fn a_few_unknown_documents_are_counted() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path(), "a\td0\t1\na\tnone\t1\n");
    let examples = BeirExamples::read(&folder, "train", &BeirOptions::default(), |_| {}).unwrap();
    assert_eq!(examples.unknown(), 1);
    let examples: Vec<_> = examples.collect();
    assert_eq!(ids(&examples[0].positive_ids), ["d0"]);
    // It is relevant all the same.
    assert_eq!(ids(&examples[0].known_positive_ids), ["none"]);
}

#[test]
fn faults_of_the_folder_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    let open = |qrels| folder(temporary.path(), qrels);
    let error = |folder: &BeirFolder, split| {
        BeirExamples::read(folder, split, &BeirOptions::default(), |_| {}).err().unwrap().to_string()
    };
    let missing = error(&open("a\td0\t1\na\tnone\t1\na\tgone\t1\n"), "train");
    assert!(
        missing.ends_with("train.tsv: judges document \"gone\", which the corpus does not hold"),
        "{missing}"
    );
    assert!(error(&open("z\td0\t1\n"), "train").contains("no query \"z\""));
    assert!(error(&open("a\td0\t1\n"), "dev").contains("has no split dev: it has train"));
}

#[test]
fn shared_train_splits_have_the_published_counts() {
    // Queries and pairs as the data's README counts them.
    for (name, queries, pairs) in [("scifact", 809, 919), ("stackexchange-sample", 1872, 6182)] {
        let Some(path) = shared_data("shared_train_splits_have_the_published_counts", name) else { return };
        let (examples, left_out) = read(&BeirFolder::open(path).unwrap(), &BeirOptions::default());
        assert_eq!(examples.len() as u64 + left_out, queries, "{name}");
        assert_eq!(examples.iter().map(|example| example.positives.len()).sum::<usize>(), pairs, "{name}");
        assert!(examples.iter().all(|example| example.check().is_ok()), "{name}");
    }
}
