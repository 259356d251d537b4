//! `secateur dataset triples`: what becomes training data, and what is refused.

use secateur::datasets::triples::{Examples, TrainingExample};
use secateur_testkit::shared_data;

use crate::support::Sandbox;
use crate::support::dataset::{small, write};

fn examples(sandbox: &Sandbox, name: &str) -> Vec<TrainingExample> {
    Examples::open(sandbox.path(name), None).unwrap().collect::<Result<_, _>>().unwrap()
}

fn with_train_split() -> Sandbox {
    let sandbox = Sandbox::new();
    for folder in ["a", "b"] {
        small(&sandbox.path(folder));
        write(&sandbox.path(folder), "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n");
    }
    sandbox
}

#[test]
fn train_splits_of_several_folders_become_one_file() {
    let sandbox = with_train_split();
    let said = sandbox.run(["dataset", "triples", "a", "b", "--out", "t.jsonl.gz"]).ok();
    assert_eq!(said, "a train: 1 query, 1 positive, 1 negative\nb train: 1 query, 1 positive, 1 negative\n");
    let all = examples(&sandbox, "t.jsonl.gz");
    assert_eq!((all.len(), &all[0]), (2, &all[1]));
    assert_eq!(all[0].query, "pruning roses");
    assert_eq!(all[0].positives, ["Roses Prune roses in late winter."]);
    assert_eq!(all[0].negative_ids.as_ref().unwrap(), &["d2"]);

    let bare = ["dataset", "triples", "a", "--no-negatives", "--separator", ": ", "--out", "bare.jsonl"];
    assert_eq!(sandbox.run(bare).ok(), "a train: 1 query, 1 positive, 0 negatives\n");
    assert_eq!(examples(&sandbox, "bare.jsonl")[0].positives, ["Roses: Prune roses in late winter."]);
}

#[test]
fn splits_that_results_are_reported_on_are_refused_unless_allowed() {
    let sandbox = with_train_split();
    let test = ["dataset", "triples", "a", "--split", "test", "--out", "t.jsonl"];
    sandbox.run(test).fails(2, ["a are reported on its split test", "--allow-evaluation-split"]);
    // MS MARCO is measured by its dev split.
    std::fs::rename(sandbox.path("b"), sandbox.path("msmarco")).unwrap();
    std::fs::copy(sandbox.path("msmarco/qrels/train.tsv"), sandbox.path("msmarco/qrels/dev.tsv")).unwrap();
    let dev = ["dataset", "triples", "msmarco", "--split", "dev", "--out", "t.jsonl"];
    sandbox.run(dev).fails(2, ["msmarco are reported on its split dev"]);
    assert!(!sandbox.path("t.jsonl").exists());
    let said = sandbox.run(test.iter().chain(&["--allow-evaluation-split"])).ok();
    assert_eq!(said, "a test: 2 queries, 2 positives, 0 negatives\n");
}

#[test]
fn what_is_wrong_leaves_no_file() {
    let sandbox = with_train_split();
    let run = |dataset: &str, rest: &[&str]| {
        let arguments = [&["dataset", "triples", dataset, "--out", "t.jsonl"], rest].concat();
        sandbox.run(arguments)
    };
    run("none", &[]).fails(3, ["no folder none"]);
    run("a", &["--split", "dev"]).fails(3, ["a has no split dev: it has test, train"]);
    run("a", &["--min-relevance", "3"]).fails(3, ["no query of split train has a document of relevance 3"]);
    write(&sandbox.path("a"), "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\tgone\t1\n");
    run("a", &[]).fails(3, ["train.tsv: judges document \"gone\""]);
    write(&sandbox.path("a"), "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\tgone\t1\n");
    let said = run("a", &[]).ok();
    assert!(said.ends_with("; 1 judgment of documents that the corpus lacks passed over\n"), "{said}");
    std::fs::remove_file(sandbox.path("t.jsonl")).unwrap();
    write(&sandbox.path("b"), "corpus.jsonl", "{\"_id\":\"d1\"}\n");
    run("b", &[]).fails(3, ["corpus.jsonl:1: ", "no field `text`"]);
    assert_eq!(sandbox.names(), ["a", "b"]);
}

#[test]
fn nfcorpus_with_few_positives_a_query() {
    let Some(nfcorpus) = shared_data("nfcorpus_with_few_positives_a_query", "nfcorpus") else { return };
    let sandbox = Sandbox::new();
    let convert = |out: &str, seed: &str| {
        let dataset = nfcorpus.canonicalize().unwrap();
        let arguments = ["--max-positives", "4", "--seed", seed, "--out", out];
        let start = ["dataset", "triples", dataset.to_str().unwrap()];
        let said = sandbox.run(start.iter().chain(&arguments)).ok();
        assert!(said.starts_with("nfcorpus train: 2,590 queries, "), "{said}");
        examples(&sandbox, out)
    };
    let all = convert("a.jsonl", "1");
    assert!(all.iter().all(|example| (1..=4).contains(&example.positives.len())));
    // The other positives of the 110,575 are known.
    let known: usize = all.iter().flat_map(|example| &example.known_positive_ids).map(Vec::len).sum();
    assert_eq!(all.iter().map(|example| example.positives.len()).sum::<usize>() + known, 110_575);
    assert_eq!(all, convert("b.jsonl", "1"));
    assert_ne!(all, convert("c.jsonl", "2"));
}
