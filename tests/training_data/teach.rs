//! Scores of a teacher.

use secateur::datasets::triples::TrainingExample;
use secateur::encode::{CrossEncoder, TextKind};
use secateur::train::Teacher;
use secateur::{Encoder, LoadOptions};

use super::{examples, kill_and_resume, read, write};
use crate::support::{Sandbox, dataset, model};

fn sandbox(examples: &[TrainingExample]) -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox.path("in.jsonl"), examples);
    model::tiny_cross_encoder(&sandbox.path("cross"));
    model::tiny(&sandbox.path("bi"));
    sandbox
}

fn teach<'a>(model: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["teach", "in.jsonl", "--model", model, "--out", "out.jsonl"], rest].concat()
}

/// What `teach` has to write, by a score of each pair on its own.
fn expected(examples: &[TrainingExample], score: impl Fn(&str, &str) -> f32) -> Vec<TrainingExample> {
    let scored = |example: &TrainingExample| {
        let scores = |passages: &[String]| {
            Some(passages.iter().map(|passage| score(&example.query, passage)).collect::<Vec<f32>>())
        };
        TrainingExample {
            positive_scores: scores(&example.positives),
            negative_scores: scores(&example.negatives),
            ..example.clone()
        }
    };
    examples.iter().map(scored).collect()
}

#[test]
fn a_cross_encoder_gives_logits_and_all_else_is_kept() {
    let mut examples = examples(70);
    examples[3].positive_scores = Some(vec![9.0; examples[3].positives.len()]);
    let sandbox = sandbox(&examples);
    let said = sandbox.run(teach("cross", &[])).ok();
    assert!(said.starts_with("out.jsonl: 70 examples with logits of cross, in "), "{said}");
    let model = CrossEncoder::load(sandbox.path("cross"), &LoadOptions::default()).unwrap();
    let score = |query: &str, passage: &str| model.score(&[(query, passage)]).unwrap()[0];
    assert_eq!(read(&sandbox.path("out.jsonl")), expected(&examples, score));
}

#[test]
fn an_encoder_gives_cosines_with_its_prompts() {
    let examples = examples(5);
    let sandbox = sandbox(&examples);
    let options = ["--query-prompt", "query ", "--passage-prompt", "text ", "--pooling", "cls"];
    let said = sandbox.run(teach("bi", &options)).ok();
    assert!(said.starts_with("out.jsonl: 5 examples with cosines of bi, in "), "{said}");
    let options = LoadOptions {
        query_prompt: Some("query ".to_owned()),
        passage_prompt: Some("text ".to_owned()),
        pooling: Some("cls".parse().unwrap()),
        ..LoadOptions::default()
    };
    let encoder = Encoder::load(sandbox.path("bi"), &options).unwrap();
    let cosine = |query: &str, passage: &str| {
        let [q, p] = [(query, TextKind::Query), (passage, TextKind::Passage)]
            .map(|(text, kind)| encoder.encode(&[text], kind).unwrap());
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        (dot(&q, &p) / (dot(&q, &q) * dot(&p, &p)).sqrt()) as f32
    };
    let (found, expected) = (read(&sandbox.path("out.jsonl")), expected(&examples, cosine));
    for (found, expected) in found.iter().zip(&expected) {
        let pairs = [
            (&found.positive_scores, &expected.positive_scores),
            (&found.negative_scores, &expected.negative_scores),
        ];
        for (found, expected) in pairs {
            let (found, expected) = (found.as_ref().unwrap(), expected.as_ref().unwrap());
            assert_eq!(found.len(), expected.len());
            // The same sums of the same f32 in f64, rounded once.
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= f32::EPSILON),
                "{found:?} {expected:?}"
            );
        }
    }
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let sandbox = sandbox(&examples(2000));
    kill_and_resume(&sandbox, &teach("cross", &[]));
}

#[test]
fn killed_vectors_go_on_and_end_with_the_same_bytes() {
    let sandbox = sandbox(&examples(6000));
    kill_and_resume(&sandbox, &["teach", "in.jsonl", "--model", "bi", "--vectors", "out.jsonl"]);
}

#[test]
fn a_journal_serves_the_same_teacher_and_examples_only() {
    let all = examples(200);
    let sandbox = sandbox(&all);
    // What an interruption leaves. Here a bad line after three chunks interrupts the run.
    let text = std::fs::read_to_string(sandbox.path("in.jsonl")).unwrap();
    let interrupt = |model: &str| {
        let lines: String = text.split_inclusive('\n').take(100).collect();
        std::fs::write(sandbox.path("in.jsonl"), lines + "{}\n").unwrap();
        let teacher = Teacher::load(sandbox.path(model), &LoadOptions::default()).unwrap();
        let (input, output) = (sandbox.path("in.jsonl"), sandbox.path("out.jsonl"));
        let mut done = 0;
        let error = secateur::train::teach(&input, &output, &teacher, |now| done = now).unwrap_err();
        assert!(error.to_string().contains("in.jsonl:101: "), "{error}");
        assert_eq!(done, 96);
        assert!(sandbox.path("out.jsonl.journal").exists() && !output.exists());
    };
    let score = |model: &str| {
        let teacher = Teacher::load(sandbox.path(model), &LoadOptions::default()).unwrap();
        move |query: &str, passage: &str| teacher.score(&[(query, passage)]).unwrap()[0]
    };
    interrupt("cross");
    write(&sandbox.path("in.jsonl"), &all);
    sandbox.run(teach("bi", &[])).fails(4, ["out.jsonl.journal", "unfinished work"]);
    std::fs::remove_file(sandbox.path("out.jsonl.journal")).unwrap();
    sandbox.run(teach("bi", &[])).ok();
    assert_eq!(read(&sandbox.path("out.jsonl")), expected(&all, score("bi")), "another teacher");

    std::fs::remove_file(sandbox.path("out.jsonl")).unwrap();
    interrupt("cross");
    let mut changed = all.clone();
    changed[40].positives[0].push_str(" changed");
    write(&sandbox.path("in.jsonl"), &changed);
    sandbox.run(teach("cross", &[])).ok();
    assert_eq!(read(&sandbox.path("out.jsonl")), expected(&changed, score("cross")), "another example");
}

#[test]
fn what_is_wrong_is_said_before_the_work() {
    let sandbox = sandbox(&examples(3));
    sandbox.run(teach("none", &[])).fails(3, ["no model directory none"]);
    let same = ["teach", "in.jsonl", "--model", "cross", "--out", "./in.jsonl"];
    sandbox.run(same).fails(2, ["in.jsonl is read, so it cannot be written: choose another output"]);
    dataset::write(&sandbox.path("."), "in.jsonl", "{\"query\":\"q\",\"pos\":[\"p\"]}\n{\"query\":\"q\"}\n");
    sandbox.run(teach("cross", &[])).fails(3, ["in.jsonl:2: `pos`: expected a list of strings, got nothing"]);
    sandbox.run(["teach", "gone.jsonl", "--model", "cross", "--out", "o"]).fails(3, ["gone.jsonl"]);
    assert_eq!(sandbox.names(), ["bi", "cross", "in.jsonl"]);
}

/// What is assumed of a teacher is said once, and refused if that is asked for.
#[test]
fn what_is_assumed_is_said() {
    let sandbox = sandbox(&examples(3));
    model::untold(&sandbox.path("untold"));
    std::fs::write(sandbox.path("texts.txt"), "roses are red\nbees make honey\n").unwrap();
    let commands = [
        teach("untold", &[]),
        vec![
            "prune",
            "score",
            "untold",
            "--calibration",
            "texts.txt",
            "--format",
            "texts",
            "--out",
            "scores.json",
        ],
    ];
    for command in commands {
        let told = sandbox.run(command.clone());
        assert_eq!(told.stderr.matches("modules.json").count(), 1, "{told:?}");
        assert!(told.status.success() && told.stderr.starts_with("warning: "), "{told:?}");
        std::fs::remove_file(sandbox.path(command.last().unwrap())).ok();
        sandbox.run([command, vec!["--strict"]].concat()).fails(3, ["modules.json"]);
    }
}
