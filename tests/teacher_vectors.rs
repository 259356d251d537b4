//! A teacher's vectors in a file: `secateur teach --vectors`, and training that learns from it.

use secateur::encode::TextKind;
use secateur::train::{Examples, TeacherVectors};
use secateur::{Encoder, LoadOptions};
use serde_json::{Value, json};

use crate::create::with_config;
use crate::support::dataset::write;
use crate::support::{Sandbox, model};

const CREATE: [&str; 5] = ["model", "create", "config.json", "--vocabulary", "texts.txt"];

/// Two models of random weights, `new` and `other`, and pairs of texts.
fn sandbox() -> Sandbox {
    let sandbox = with_config(|_| ());
    sandbox.run([&CREATE[..], &["--out", "new"]].concat()).ok();
    sandbox.run([&CREATE[..], &["--out", "other", "--seed", "7"]].concat()).ok();
    sandbox.run(["dataset", "cloze", "texts.txt", "--passage-words", "10", "--out", "pairs.jsonl"]).ok();
    sandbox
}

fn teach(sandbox: &Sandbox, teacher: &str, out: &str) -> String {
    sandbox.run(["teach", "pairs.jsonl", "--model", teacher, "--vectors", out]).ok()
}

/// A training of `new`, of one step on all pairs.
const TRAIN: [&str; 15] = [
    "train",
    "new",
    "--full",
    "--data",
    "pairs.jsonl",
    "--steps",
    "1",
    "--batch-size",
    "2",
    "--contrastive-weight",
    "0",
    "--teacher-temperature",
    "1",
    "--student-temperature",
    "1",
];

#[test]
fn the_file_holds_the_vector_of_each_text_once() {
    let sandbox = sandbox();
    let twice = ["teach", "pairs.jsonl", "pairs.jsonl", "--model", "other", "--vectors", "other.vectors"];
    let said = sandbox.run(twice).ok();
    assert!(
        said.starts_with("other.vectors: vectors of 4 texts by other, 16 numbers in f16 each, in "),
        "{said}"
    );
    let vectors = TeacherVectors::open(&[sandbox.path("other.vectors")]).unwrap();
    assert_eq!((vectors.dim(), vectors.num_texts()), (16, 4));
    let encoder = Encoder::load(sandbox.path("other"), &LoadOptions::default()).unwrap();
    for example in Examples::open(sandbox.path("pairs.jsonl"), None).unwrap() {
        let example = example.unwrap();
        let texts = [(&example.query, TextKind::Query), (&example.positives[0], TextKind::Passage)];
        for (text, kind) in texts {
            let got = vectors.vectors(&[text], kind).unwrap();
            let want = encoder.encode(&[text], kind).unwrap();
            // Numbers of at most 1 are rounded to 11 bits, or to multiples of 2^-24.
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= want.abs() / 2048.0 + 1e-6, "{text}: {got}, not {want}");
            }
            let other = if kind == TextKind::Query { TextKind::Passage } else { TextKind::Query };
            assert!(vectors.get(text, other).is_none(), "a text of another kind is another text");
        }
    }
}

/// Rounding turns a unit vector by at most 2^-10: each number by 2^-11 of itself, and then the length is made 1 again.
/// An alignment is a mean of products with unit vectors, so it changes by no more. A cosine of two such vectors changes
/// by at most 2^-9. At temperature 1 a share of the ranking then changes by a factor of e^(2^-8) at most, and all of
/// them together by 2^-8. Each is multiplied with the logarithm of a share of the student's: at most ln 2 + 2 for two
/// passages.
#[test]
fn losses_are_those_of_the_teacher_that_made_the_vectors() {
    let sandbox = sandbox();
    let first_line = |weights: [&str; 4], teacher: &[&str], out: &str| -> Value {
        sandbox.run([&TRAIN[..], &weights, teacher, &["--out", out]].concat()).ok();
        let log = std::fs::read_to_string(sandbox.path(out).join("log.jsonl")).unwrap();
        serde_json::from_str(log.lines().next().unwrap()).unwrap()
    };
    for teacher in ["new", "other"] {
        let file = format!("{teacher}.vectors");
        teach(&sandbox, teacher, &file);
        let weights = ["--alignment-weight", "20", "--distillation-weight", "0.5"];
        let live = first_line(weights, &["--teacher", teacher], &format!("live-{teacher}"));
        let kept = first_line(weights, &["--teacher-vectors", &file], &format!("kept-{teacher}"));
        let bounds = [("alignment", 2f64.powi(-10)), ("distillation", 2f64.powi(-8) * (2f64.ln() + 2.0))];
        for (loss, bound) in bounds {
            let [live, kept] = [&live, &kept].map(|line| line[loss].as_f64().unwrap());
            assert!((live - kept).abs() <= bound, "{teacher}, {loss}: {kept}, not {live}");
        }
        let expected = if teacher == "new" { -1e-6..=1e-3 } else { 0.1..=2.0 };
        assert!(expected.contains(&kept["alignment"].as_f64().unwrap()), "{teacher}: {kept}");
        assert_eq!(live["tokens"], kept["tokens"]);
    }
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let sandbox = sandbox();
    teach(&sandbox, "new", "new.vectors");
    teach(&sandbox, "other", "other.vectors");
    let train = |vectors: &[&'static str]| {
        let weights = ["--alignment-weight", "20", "--out", "run", "--teacher-vectors"];
        sandbox.run([&TRAIN[..], &weights, vectors].concat())
    };
    train(&["none.vectors"]).fails(3, ["none.vectors"]);
    train(&["pairs.jsonl"]).fails(3, ["pairs.jsonl", "does not begin with the mark", "teach --vectors"]);
    train(&["new.vectors", "other.vectors"]).fails(3, ["new.vectors", "other.vectors", "two teachers"]);
    train(&["new.vectors", "--teacher", "new"]).fails(2, ["--teacher"]);

    let whole = std::fs::read(sandbox.path("new.vectors")).unwrap();
    assert_eq!(whole.len(), 64 + 4 * (16 + 2 * 16));
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        write(&sandbox.path(""), "damaged.vectors", bytes);
        train(&["damaged.vectors"])
    };
    damage(&|bytes| bytes.truncate(200)).fails(3, ["damaged.vectors", "it has 200 bytes", "says 256"]);
    damage(&|bytes| bytes.truncate(20)).fails(3, ["damaged.vectors", "it has 20 bytes"]);
    damage(&Vec::clear).fails(3, ["damaged.vectors"]);
    damage(&|bytes| bytes[13] ^= 1).fails(3, ["damaged.vectors", "checksum of its header"]);
    for at in [64, 100, 255] {
        damage(&|bytes| bytes[at] ^= 4).fails(3, ["damaged.vectors", "its header's hash"]);
    }

    let wide = with_config(|config| config["hidden_size"] = json!(32));
    wide.run([&CREATE[..], &["--out", "wide"]].concat()).ok();
    wide.run(["dataset", "cloze", "texts.txt", "--passage-words", "10", "--out", "pairs.jsonl"]).ok();
    teach(&wide, "wide", "wide.vectors");
    std::fs::copy(wide.path("wide.vectors"), sandbox.path("wide.vectors")).unwrap();
    train(&["wide.vectors"]).fails(3, ["vectors of 16 numbers", "wide.vectors of 32"]);

    let other =
        |query: &str| format!("{{\"query\": \"{query}\", \"pos\": [\"They tell where flowers are.\"]}}\n");
    write(&sandbox.path(""), "pairs.jsonl", other("Bees dance.") + &other("Bees dance again."));
    train(&["new.vectors"])
        .fails(3, ["new.vectors has no vector of the query \"Bees dance", "teach --vectors"]);
    // A negative counts where it is read.
    let negative = "{\"query\": \"Bees\", \"pos\": [\"They dance.\"], \"neg\": [\"Wasps do not.\"]}\n";
    write(&sandbox.path(""), "pairs.jsonl", negative.replace(", \"neg\": [\"Wasps do not.\"]", ""));
    teach(&sandbox, "new", "short.vectors");
    write(&sandbox.path(""), "pairs.jsonl", negative);
    train(&["short.vectors", "--negatives", "1"])
        .fails(3, ["short.vectors has no vector of the passage \"Wasps do not.\""]);
    assert!(!sandbox.path("run").exists(), "it is found before the run begins");
    write(&sandbox.path(""), "pairs.jsonl", other("Bees dance.") + &other("Bees dance again."));
    teach(&sandbox, "new", "new.vectors");
    train(&["new.vectors"]).ok();
}

#[test]
fn what_has_no_vectors_is_refused() {
    let sandbox = sandbox();
    model::tiny_cross_encoder(&sandbox.path("cross"));
    let names = sandbox.names();
    let teach = |more: &[&'static str]| sandbox.run([&["teach", "pairs.jsonl"], more].concat());
    teach(&["--model", "cross", "--vectors", "x"]).fails(2, ["cross is a cross-encoder", "--vectors"]);
    teach(&["--model", "new", "--vectors", "pairs.jsonl"])
        .fails(2, ["pairs.jsonl is read, so it cannot be written"]);
    teach(&["pairs.jsonl", "--model", "new", "--out", "x"]).fails(2, ["one file of examples"]);
    teach(&["--model", "new"]).fails(2, ["--out"]);
    teach(&["gone.jsonl", "--model", "new", "--vectors", "x"]).fails(3, ["gone.jsonl"]);
    assert_eq!(sandbox.names(), names);
}
