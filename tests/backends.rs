//! Databases whose indexes are left to other libraries: the same commands, the same scores; damaged files are errors.

use secateur::Database;

use crate::support::{Sandbox, dataset, ids, model};

/// Indexes `count` documents with `--index KIND` and `more`, which writes the files `names`. Then runs all commands
/// on the database, and compares it with one that has a flat index.
fn rules_hold(kind: &str, names: &[&str], more: &[&str], count: usize) {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::generated(&sandbox.path("data"), count);
    dataset::write(&sandbox.path("data"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"lava\"}\n");
    dataset::write(&sandbox.path("data"), "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\tdoc-5\t1\n");
    let index = ["index", "data", "--encoder", "tiny", "--index"];
    sandbox.run(index.iter().chain(&["flat", "--out", "flat"])).ok();
    sandbox.run(index.iter().chain(&[kind, "--out", "theirs"]).chain(more)).ok();
    let segment = sandbox.path("theirs/segments/0000000001");
    assert!(names.iter().all(|name| segment.join(name).exists()) && !segment.join("graph").exists());

    // Of any number of documents about 375.
    let one_in = count / 375;
    let count = count.to_string();
    let search = |database: &str, more: &[&str]| {
        let arguments = ["search", database, "honey bread oven", "--mode", "dense", "--json"];
        ids(&sandbox.run(arguments.iter().chain(more)).json())
    };
    let all = search("flat", &["-k", &count]);
    let found = search("theirs", &[]);
    assert!(found.len() == 10 && found.iter().all(|hit| all.contains(hit)), "{found:?}");
    assert_eq!(search("theirs", &["--ef", &count]), all[..10], "an ef of all rows is a comparison of all");
    assert_eq!(search("theirs", &["-k", &count]), all);
    let eval = |database: &str, more: &[&str]| {
        let eval =
            ["eval", database, "data", "--mode", "dense", "-k", "10", "--measures", "nDCG@10", "--json"];
        sandbox.run(eval.iter().chain(more)).json()["means"].clone()
    };
    let theirs = eval("theirs", &["--ef", &count]);
    assert!(theirs.is_object() && theirs == eval("flat", &[]), "{theirs}");

    let verified = sandbox.run(["verify", "theirs"]).ok();
    let (_, mean) = verified.split_once("recall@10 of its own vectors at ef 100: ").unwrap();
    assert!(mean.split(',').next().unwrap().parse::<f64>().unwrap() >= 0.9, "{verified}");
    let tuned = sandbox.run(["tune", "theirs", "data", "--target-recall", "0.9"]).ok();
    assert!(tuned.ends_with("the least for a recall of 0.9\n"), "{tuned}");

    let add = ["generation", "add", "theirs", "again", "--encoder", "tiny", "--index", kind];
    sandbox.run(add).ok();
    assert_eq!(search("theirs", &["--generation", "again", "--ef", &count]), all[..10]);
    sandbox.run(["generation", "drop", "theirs", "again"]).ok();
    for database in ["theirs", "flat"] {
        let mut open = Database::open(sandbox.path(database)).unwrap();
        for hit in all.iter().step_by(one_in) {
            open.delete(hit.split(' ').next().unwrap().trim_matches('"')).unwrap();
        }
        open.commit().unwrap();
    }
    let left = search("flat", &["-k", &count]);
    assert_eq!(left.len(), all.len() - all.len().div_ceil(one_in));
    assert_eq!(search("theirs", &["-k", &count]), left);
    sandbox.run(["compact", "theirs"]).ok();
    sandbox.run(["verify", "theirs"]).ok();
    assert_eq!(search("theirs", &["-k", &count]), left);

    let segment = std::fs::read_dir(sandbox.path("theirs/segments")).unwrap().next().unwrap().unwrap().path();
    for name in names {
        let file = segment.join(name);
        let whole = std::fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        for command in [&["verify", "theirs"][..], &["search", "theirs", "honey", "--mode", "dense"]] {
            sandbox.run(command).fails(4, [name, "checksum"]);
        }
        sandbox.run(["search", "theirs", "honey", "--mode", "bm25"]).ok();
        std::fs::write(&file, &whole).unwrap();
    }
    sandbox.run(["verify", "theirs"]).ok();
}

const GRAPH: [&str; 4] = ["--hnsw-m", "8", "--hnsw-ef-construction", "50"];

#[test]
fn hnsw_rs_is_searched_by_the_same_rules() {
    rules_hold("hnsw-rs", &["hnsw-rs.hnsw.graph", "hnsw-rs.hnsw.data"], &GRAPH, 1500);
}

#[cfg(feature = "faiss")]
#[test]
fn faiss_flat_is_searched_by_the_same_rules() {
    rules_hold("faiss-flat", &["faiss"], &[], 1500);
}

#[cfg(feature = "faiss")]
#[test]
fn faiss_hnsw_is_searched_by_the_same_rules() {
    rules_hold("faiss-hnsw", &["faiss"], &GRAPH, 1500);
}

/// Enough documents that product quantization can be trained on the ones that a compaction leaves.
#[cfg(feature = "faiss")]
#[test]
fn faiss_ivf_pq_is_searched_by_the_same_rules() {
    rules_hold("faiss-ivf-pq", &["faiss"], &[], 10_400);
}

/// Without the feature the indexes of faiss are refused before anything is encoded, and nothing is left.
#[test]
fn indexes_that_cannot_be_built_are_refused() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::small(&sandbox.path("data"));
    for kind in ["hnsw-rs", "faiss-flat", "faiss-hnsw", "faiss-ivf-pq"] {
        let index = ["index", "data", "--out", "db", "--index", kind];
        sandbox.run(index.into_iter().chain(["--encoder", "none"])).fails(2, ["--encoder"]);
        if kind.starts_with("faiss") && cfg!(not(feature = "faiss")) {
            let refused = sandbox.run(index.into_iter().chain(["--encoder", "tiny"]));
            refused.fails(1, ["built without faiss", "`--features faiss`"]);
        }
    }
    assert_eq!(sandbox.names(), ["data", "tiny"]);
}
