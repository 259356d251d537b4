//! Collections in other layouts than BEIR's: what is said of them, and what they become.

use crate::support::dataset::write;
use crate::support::{Sandbox, mini};

/// A collection in another layout is no data set yet: what makes one of it is said, and it appears whole.
#[test]
fn other_layouts_are_converted() {
    let sandbox = Sandbox::new();
    let mini = mini();
    sandbox.run(["dataset", "convert", mini.to_str().unwrap(), "--to", "tsv", "--out", "tsv"]).ok();
    sandbox.run(["index", mini.to_str().unwrap(), "--out", "db"]).ok();
    // A README beside it is not the corpus.
    write(&sandbox.path("tsv"), "README.md", "Converted.");
    for arguments in [
        vec!["index", "tsv", "--out", "db2"],
        vec!["eval", "db", "tsv"],
        vec!["dataset", "info", "tsv"],
        vec!["dataset", "verify", "tsv"],
    ] {
        sandbox.run(arguments).fails(3, ["another layout", "secateur dataset convert tsv --out NEW"]);
    }
    sandbox.run(["dataset", "convert", "tsv", "--out", "beir"]).ok();
    sandbox.run(["eval", "db", "beir", "--measures", "nDCG@10"]).ok();
    // What fails on the way leaves nothing.
    write(&sandbox.path("tsv"), "qrels.test.tsv", "q01 0 garden-01 1\nq01 0 garden-02 x\n");
    sandbox.run(["dataset", "convert", "tsv", "--out", "bad"]).fails(3, ["qrels.test.tsv:2", "\"x\""]);
    assert!(!sandbox.path("bad").exists());
    sandbox
        .run(["eval", "db", "tsv/queries.tsv"])
        .fails(3, ["queries.tsv is a file", "folder of a data set"]);
    write(&sandbox.path("alone"), "corpus.jsonl", "{\"_id\": \"1\", \"text\": \"roses\"}\n");
    let said = sandbox.run(["dataset", "info", "alone"]).ok();
    assert!(said.contains("no queries") && said.contains("no judgments"), "{said}");
}
