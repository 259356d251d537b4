//! Index, search, evaluate and verify on the bundled collection, in every mode, as text and as JSON.

use std::path::PathBuf;

use secateur_testkit::minilm;
use serde_json::Value;

use crate::support::{Sandbox, copy_folder, dataset, mini, model, tree};

/// The modes a database with vectors has.
const MODES: [&str; 3] = ["dense", "bm25", "hybrid"];

/// A sandbox with `words` (BM25 only) and `both` (vectors of the tiny model too).
fn databases() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().into_os_string().into_string().unwrap();
    let said = sandbox.run(["index", &mini, "--encoder", "none", "--out", "words"]).ok();
    assert!(said.starts_with("words: 63 documents with BM25 only, in "), "{said}");
    let said = sandbox.run(["index", &mini, "--out", "both", "--encoder", "tiny"]).ok();
    assert!(said.starts_with("both: 63 documents with vectors and BM25 (3 texts are longer than the 320 tokens that the encoder reads; --passages splits documents), in "), "{said}");
    assert_eq!(sandbox.names(), ["both", "tiny", "words"], "only the databases are left");
    sandbox
}

fn mini_text() -> String {
    mini().into_os_string().into_string().unwrap()
}

/// Ids and scores of `search --json`.
fn hits(answer: &Value) -> Vec<(String, f64)> {
    let hit = |hit: &Value| (hit["doc_id"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap());
    answer["hits"].as_array().unwrap().iter().map(hit).collect()
}

#[test]
fn text_and_json_answers_agree() {
    let sandbox = databases();
    for (database, modes) in [("words", &MODES[1..2]), ("both", &MODES[..])] {
        for mode in modes {
            let arguments = ["search", database, "pruning fruit trees", "--mode", mode, "-k", "4"];
            let text = sandbox.run(arguments).ok();
            let json = sandbox.run(arguments.into_iter().chain(["--json"])).json();
            assert_eq!(json["query"], "pruning fruit trees");
            assert_eq!(json["mode"], **mode);
            let hits = hits(&json);
            assert_eq!(hits.len(), 4, "{database} {mode}");
            assert!(hits.is_sorted_by(|a, b| (a.1, &a.0) >= (b.1, &b.0)), "by score, then id: {hits:?}");
            // Below a hit with a title stands a part of its text.
            let heads: Vec<&str> = text.lines().filter(|line| !line.starts_with("     ")).collect();
            assert_eq!(heads.len(), 4, "{text}");
            for (rank, ((id, score), line)) in hits.iter().zip(heads).enumerate() {
                let start = format!("{:>3}  {score:<8.4}  {id}  ", rank + 1);
                assert!(line.starts_with(&start), "{database} {mode}: {line:?} is not {start:?}");
            }
        }
    }
}

#[test]
fn json_answers_hold_whole_documents() {
    let sandbox = databases();
    let corpus = std::fs::read_to_string(mini().join("corpus.jsonl")).unwrap();
    let answer = sandbox.run(["search", "words", "apples pears", "-k", "1", "--json"]).json();
    let hit = &answer["hits"][0];
    let source = corpus
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|document| document["_id"] == hit["doc_id"])
        .unwrap();
    assert_eq!(hit["doc_id"], "garden-01");
    for field in ["title", "text", "metadata"] {
        assert_eq!(hit[field], source[field], "{field}");
    }
}

#[test]
fn a_database_searches_by_both_if_it_can_and_by_words_otherwise() {
    let sandbox = databases();
    for (database, mode) in [("words", "bm25"), ("both", "hybrid")] {
        let answer = sandbox.run(["search", database, "bees", "--json"]).json();
        assert_eq!(answer["mode"], mode, "{database}");
    }
    assert_eq!(sandbox.run(["search", "words", "zzz"]).ok(), "no document matches\n");
}

#[test]
fn evaluations_say_rules_and_measures() {
    let sandbox = databases();
    let mini = mini_text();
    let rules = [
        (&[][..], "rules: trec_eval (f64 scores; missing queries count 0; identical ids kept)"),
        (
            &["--rules", "trec_eval-9"],
            "rules: trec_eval-9 (f32 scores; missing queries count 0; identical ids kept)",
        ),
        (&["--rules", "beir"], "rules: beir (f32 scores; missing queries skipped; identical ids dropped)"),
        (&["--rules", "mteb"], "rules: mteb (f32 scores; missing queries skipped; identical ids kept"),
    ];
    for (arguments, line) in rules {
        let output = sandbox.run(["eval", "words", &mini].iter().chain(arguments)).ok();
        assert!(output.starts_with("mini test, bm25: 12 queries in "), "{output}");
        assert!(output.contains(&format!("\n{line}")), "{output}");
        assert!(
            output.contains("\nqueries: 12 judged, 12 evaluated, 0 missing from the run, 0 skipped\n"),
            "{output}"
        );
        // The same value under every rule set: no query lacks an answer and no id is both query's and document's.
        assert!(output.contains("\nnDCG@10     0.6074\n"), "{output}");
    }
    let chosen = sandbox.run(["eval", "words", &mini, "--measures", "MAP,P@5", "--json"]).json();
    assert_eq!(chosen["means"].as_object().unwrap().keys().collect::<Vec<_>>(), ["MAP", "P@5"]);
}

#[test]
fn per_query_values_average_to_the_means() {
    let sandbox = databases();
    for mode in MODES {
        let arguments = ["eval", "both", &mini_text(), "--mode", mode, "--per-query"];
        let json = sandbox.run(arguments.into_iter().chain(["--json"])).json();
        let queries = json["per_query"].as_object().unwrap();
        assert_eq!(queries.len(), 12);
        let text = sandbox.run(arguments).ok();
        for (measure, mean) in json["means"].as_object().unwrap() {
            let sum: f64 = queries.values().map(|values| values[measure].as_f64().unwrap()).sum();
            // Twelve values of at most 1: each addition rounds by at most 12 * 2^-53.
            assert!((sum / 12.0 - mean.as_f64().unwrap()).abs() < 1e-14, "{mode} {measure}");
        }
        for (query_id, values) in queries {
            let row = text.lines().find(|line| line.starts_with(&format!("{query_id} "))).unwrap();
            let first = row.split_whitespace().nth(1).unwrap();
            assert_eq!(first, format!("{:.4}", values["nDCG@10"].as_f64().unwrap()), "{mode}: {row}");
        }
    }
}

#[test]
fn a_run_file_measures_the_same_as_the_database() {
    let sandbox = databases();
    let mini = mini_text();
    let qrels = sandbox.path("qrels.txt");
    let judged = secateur::datasets::beir::BeirFolder::open(&mini).unwrap().qrels("test").unwrap();
    secateur::datasets::trec::write_qrels(&qrels, &judged).unwrap();
    for mode in MODES {
        for rules in ["trec_eval", "beir", "mteb"] {
            let measuring = ["--rules", rules, "--json", "--per-query"];
            let direct = sandbox
                .run(["eval", "both", &mini, "--mode", mode, "--run", "out.run"].into_iter().chain(measuring))
                .json();
            for judgments in [mini.as_str(), "qrels.txt"] {
                let run = sandbox.run(["eval-run", "out.run", judgments].into_iter().chain(measuring)).json();
                assert_eq!(run, direct, "{mode}, {rules}, {judgments}");
            }
        }
        let run = std::fs::read_to_string(sandbox.path("out.run")).unwrap();
        assert!(
            run.lines().all(|line| line.ends_with(&format!(" secateur-{mode}"))),
            "the tag names the mode"
        );
    }
}

#[test]
fn an_answer_does_not_depend_on_threads() {
    let sandbox = databases();
    for mode in MODES {
        let answers = ["1", "2", "5"].map(|threads| {
            sandbox
                .run(["--threads", threads, "search", "both", "how do bees dance", "--mode", mode, "--json"])
                .ok()
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{mode}: {answers:?}");
    }
}

/// A ranking with weight 0 leaves the other one as it is. A ranking with a million times the weight leaves only ties
/// to the other.
#[test]
fn the_weight_of_vectors_moves_a_hybrid_search_between_both_rankings() {
    let sandbox = databases();
    let ranked = |more: &[&str]| {
        let search = ["search", "both", "how do bees dance", "-k", "5", "--json"];
        let hits = hits(&sandbox.run(search.iter().chain(more)).json());
        hits.into_iter().map(|hit| hit.0).collect::<Vec<_>>()
    };
    let [dense, words] = ["dense", "bm25"].map(|mode| ranked(&["--mode", mode]));
    assert_ne!(dense, words);
    for fusion in ["rrf", "sum"] {
        let hybrid = |weight| ranked(&["--mode", "hybrid", "--fusion", fusion, "--dense-weight", weight]);
        assert_eq!(hybrid("0"), words, "{fusion}");
        assert_eq!(hybrid("1e6"), dense, "{fusion}");
    }
    let between = ["0.1", "0.25", "0.5", "1", "2", "4", "10"]
        .map(|weight| ranked(&["--mode", "hybrid", "--fusion", "sum", "--dense-weight", weight]));
    assert!(between.iter().any(|sum| *sum != dense && *sum != words), "{between:?}");
}

/// The encoder in the box says how much its vectors count, so scores are summed by that weight unless told otherwise.
/// Another encoder's rankings are fused by ranks.
#[test]
fn a_hybrid_search_weighs_vectors_as_the_encoder_says() {
    let sandbox = databases();
    sandbox.run(["index", &mini_text(), "--out", "weighed", "--encoder", "default"]).ok();
    let found = |database: &str, more: &[&str]| {
        let search = ["search", database, "how do bees dance", "-k", "9", "--mode", "hybrid", "--json"];
        hits(&sandbox.run(search.iter().chain(more)).json())
    };
    let sum = ["--fusion", "sum"];
    let weight = ["--dense-weight", "1"];
    let by_default = found("weighed", &[]);
    assert_eq!(by_default, found("weighed", &[sum, weight].concat()));
    assert_eq!(by_default, found("weighed", &sum));
    assert_eq!(by_default, found("weighed", &weight));
    assert_ne!(by_default, found("weighed", &["--dense-weight", "0.3"]));
    let by_ranks = ["--fusion", "rrf"];
    assert_eq!(
        found("weighed", &by_ranks),
        found("weighed", &[&by_ranks[..], &["--dense-weight", "1"]].concat())
    );
    assert_eq!(found("both", &[]), found("both", &[&by_ranks[..], &["--dense-weight", "1"]].concat()));
    assert_eq!(found("both", &sum), found("both", &[&sum[..], &["--dense-weight", "1"]].concat()));
}

/// The value that `tune-fusion` prints for a setting is the value that `eval` prints for a hybrid search with that
/// setting.
#[test]
fn measured_fusions_are_those_of_searches() {
    let sandbox = databases();
    let mini = mini_text();
    let tune = ["tune-fusion", "both", &mini, "--split", "test"];
    sandbox.run(tune).fails(2, ["reported on its split test", "--allow-evaluation-split"]);
    sandbox.run(["tune-fusion", "both", &mini]).fails(2, ["--split"]);
    let words = ["tune-fusion", "words", &mini, "--split", "test", "--allow-evaluation-split"];
    sandbox.run(words).fails(4, ["words has no vectors"]);

    let tune = tune.into_iter().chain(["--allow-evaluation-split"]);
    let json = sandbox.run(tune.clone().chain(["--json"])).json();
    let points = json["points"].as_array().unwrap();
    let value = |point: &Value| point["value"].as_f64().unwrap();
    for point in points.iter().step_by(5) {
        let weight = point["dense_weight"].to_string();
        let fusion = point["fusion"].as_str().unwrap();
        let hybrid = ["--mode", "hybrid", "--fusion", fusion, "--dense-weight", &weight, "-k", "100"];
        let eval = ["eval", "both", &mini, "--json"].into_iter().chain(hybrid);
        let json = sandbox.run(eval).json();
        assert_eq!(json["means"]["nDCG@10"].as_f64().unwrap(), value(point), "{fusion} {weight}");
    }
    let best = points.iter().map(value).fold(0.0, f64::max);
    assert_eq!(value(&json["best"]), best);
    sandbox.run(tune.clone().chain(["--generation", "nothing"])).fails(4, ["no generation \"nothing\""]);
    let text = sandbox.run(tune.chain(["--generation", "original"])).ok();
    assert!(text.starts_with("mini test: 12 queries, nDCG@10\n"), "{text}");
    assert!(text.contains("the best of 24 settings on 12 queries is partly chance"), "{text}");
    assert!(text.contains(&format!("({best:.4})")), "{text}");
}

#[test]
fn metrics_and_separators_are_kept_with_the_database() {
    let sandbox = databases();
    let index = |out: &str, more: &[&str]| {
        let mini = mini_text();
        sandbox.run(["index", &mini, "--encoder", "tiny", "--out", out].iter().chain(more)).ok();
    };
    index("l2", &["--metric", "l2"]);
    index("ip", &["--metric", "inner-product"]);
    index("line", &["--separator", " - "]);
    let answer =
        |database| hits(&sandbox.run(["search", database, "bees", "--mode", "dense", "--json"]).json());
    let cosine = answer("both");
    // Vectors of length 1: the three metrics rank alike, l2 scores are 0 at best, inner products are cosines.
    let ids = |hits: &[(String, f64)]| hits.iter().map(|hit| hit.0.clone()).collect::<Vec<_>>();
    for database in ["l2", "ip"] {
        assert_eq!(ids(&answer(database)), ids(&cosine), "{database}");
    }
    assert!(answer("l2").iter().all(|hit| hit.1 <= 0.0), "higher is better");
    assert_ne!(answer("line"), cosine, "the separator is part of what is encoded");
}

#[test]
fn wrong_questions_are_refused() {
    let sandbox = databases();
    let mini = mini_text();
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["search", "words", "bees", "--mode", "sideways"], 2, &["sideways", "dense, bm25, hybrid"]),
        (&["search", "words", "bees", "-k", "0"], 2, &["-k", "at least 1"]),
        (&["eval", "words", &mini, "-k", "0"], 2, &["-k", "at least 1"]),
        (&["search", "words", "bees", "--b", "7"], 2, &["b is 7"]),
        (&["search", "words", "bees", "--k1=-1"], 2, &["k1 is -1"]),
        (&["search", "words"], 2, &["<QUERY>"]),
        (&["search", "words", "bees", "--mode", "dense"], 4, &["words has no vectors", "search with bm25"]),
        (&["search", "words", "bees", "--mode", "hybrid"], 4, &["words has no vectors", "search with bm25"]),
        (&["search", "both", "bees", "--fusion", "borda"], 2, &["borda", "rrf", "sum"]),
        (&["search", "both", "bees", "--dense-weight=-1"], 2, &["dense-weight", "-1", "0 or more"]),
        (&["search", "nowhere", "bees"], 4, &["there is no database nowhere"]),
        (&["eval", "words", &mini, "--split", "train"], 3, &["no split train", "it has test"]),
        (&["eval", "words", &mini, "--measures", "F1"], 2, &["F1"]),
    ];
    for (arguments, code, parts) in cases {
        sandbox.run(arguments).fails(code, parts);
    }
}

#[test]
fn another_encoder_is_refused_by_fingerprint() {
    let sandbox = databases();
    copy_folder(&sandbox.path("tiny"), &sandbox.path("shorter"));
    dataset::write(&sandbox.path("shorter"), "sentence_bert_config.json", r#"{"max_seq_length": 17}"#);
    refuses_other_encoders(&sandbox, "both", "tiny", "shorter");
}

#[test]
fn a_copy_of_minilm_with_another_length_is_another_encoder() {
    let Some(minilm) = minilm("a_copy_of_minilm_with_another_length_is_another_encoder") else { return };
    let sandbox = Sandbox::new();
    copy_folder(&minilm, &sandbox.path("shorter"));
    dataset::write(&sandbox.path("shorter"), "sentence_bert_config.json", r#"{"max_seq_length": 64}"#);
    let minilm = minilm.into_os_string().into_string().unwrap();
    sandbox.run(["index", &mini_text(), "--encoder", &minilm, "--out", "db"]).ok();
    refuses_other_encoders(&sandbox, "db", "all-MiniLM-L6-v2", "shorter");

    // The modes on real vectors, and what they are worth on this collection.
    let value = |mode| {
        let json = sandbox.run(["eval", "db", &mini_text(), "--mode", mode, "--json"]).json();
        json["means"]["nDCG@10"].as_f64().unwrap()
    };
    // Recorded with this program. Rankings change only if scores 1e-5 apart change places, which moves a value by less
    // than a hundredth.
    for (mode, golden) in [("dense", 0.8363), ("bm25", 0.6074), ("hybrid", 0.7081)] {
        assert!((value(mode) - golden).abs() < 0.01, "{mode}: {}", value(mode));
    }
}

/// `database` was made with `made_with`; `other` has other settings.
fn refuses_other_encoders(sandbox: &Sandbox, database: &str, made_with: &str, other: &str) {
    let before = tree(&sandbox.path(database));
    let mini = mini_text();
    for arguments in [
        &["search", database, "bees", "--encoder", other][..],
        &["eval", database, &mini, "--encoder", other],
    ] {
        let message =
            sandbox.run(arguments).fails(4, [database, made_with, other, "secateur generation add"]);
        let fingerprints: Vec<&str> =
            message.split("(fingerprint ").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        let [expected, got] = fingerprints[..] else { panic!("two fingerprints: {message}") };
        assert!(expected != got && expected.len() >= 16 && got.len() >= 16, "{message}");
    }
    // Words need none.
    sandbox.run(["search", database, "bees", "--mode", "bm25"]).ok();
    assert_eq!(tree(&sandbox.path(database)), before);
}

#[test]
fn an_encoder_that_has_moved_is_named_and_can_be_given() {
    let sandbox = databases();
    std::fs::rename(sandbox.path("tiny"), sandbox.path("moved")).unwrap();
    sandbox
        .run(["search", "both", "bees"])
        .fails(3, ["the encoder that both is searched with", "tiny", "--encoder", "--mode bm25"]);
    sandbox.run(["verify", "both"]).ok();
    sandbox.run(["search", "both", "bees", "--mode", "bm25"]).ok();
    let found = sandbox.run(["search", "both", "bees", "--encoder", "moved", "--json"]).json();
    assert_eq!(found["hits"].as_array().unwrap().len(), 10);
}

#[test]
fn vectors_and_ids_are_written_in_the_order_of_the_corpus() {
    let sandbox = databases();
    let mini = mini_text();
    for (queries, count) in [(&[][..], 63), (&["--queries"], 12)] {
        let said =
            sandbox.run(["encode", &mini, "--encoder", "tiny", "--out", "m.npy"].iter().chain(queries)).ok();
        assert!(said.starts_with(&format!("m.npy: {count} x 48 f32, in ")), "{said}");
        let ids = std::fs::read_to_string(sandbox.path("m.npy.ids")).unwrap();
        let source = if queries.is_empty() { "corpus.jsonl" } else { "queries.jsonl" };
        let source = std::fs::read_to_string(PathBuf::from(&mini).join(source)).unwrap();
        let expected: Vec<String> = source
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.lines().collect::<Vec<_>>(), expected);
        let bytes = std::fs::read(sandbox.path("m.npy")).unwrap();
        assert_eq!(bytes.len(), 128 + count * model::DIM * 4);
        for row in bytes[128..].chunks_exact(model::DIM * 4) {
            let norm: f64 = row
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())).powi(2))
                .sum::<f64>();
            // 48 squares, each component rounded to f32: 48 * 2^-23 bounds the error.
            assert!((norm - 1.0).abs() < 6e-6, "length {norm}");
        }
    }
    assert_eq!(sandbox.names(), ["both", "m.npy", "m.npy.ids", "tiny", "words"]);
}
