//! Hard negatives.

use std::collections::BTreeSet;

use secateur::datasets::triples::TrainingExample;
use secateur::train::{MineOptions, Teacher};
use secateur::{Database, Hit, LoadOptions, SearchMode, SearchParams};

use super::{examples, kill_and_resume, read, write};
use crate::support::{Sandbox, dataset, model};

/// A database of 400 documents of a few words, with vectors of the tiny encoder, and examples whose positives are
/// documents.
fn sandbox(count: usize) -> (Sandbox, Vec<TrainingExample>) {
    let sandbox = Sandbox::new();
    dataset::generated(&sandbox.path("data"), 400);
    model::tiny(&sandbox.path("bi"));
    model::tiny_cross_encoder(&sandbox.path("cross"));
    sandbox.run(["index", "data", "--encoder", "bi", "--out", "db"]).ok();
    let database = Database::open(sandbox.path("db")).unwrap();
    let mut examples = examples(count);
    for (number, example) in examples.iter_mut().enumerate() {
        // The best hits are known to answer: one by its id, one by its text, one by an id alone.
        let hits = search(&database, &example.query, 3);
        let text = |hit: &Hit| database.document(&hit.doc_id).unwrap().unwrap().text;
        match number % 3 {
            0 => {
                example.positives = vec!["another text of the same document".to_owned()];
                example.positive_ids = Some(vec![hits[0].doc_id.clone()]);
            }
            1 => example.positives[0] = format!(" {} ", text(&hits[1])),
            _ => example.known_positive_ids = Some(vec![hits[2].doc_id.clone()]),
        }
    }
    write(&sandbox.path("in.jsonl"), &examples);
    (sandbox, examples)
}

fn search(database: &Database, query: &str, k: usize) -> Vec<Hit> {
    database.search(query, &SearchParams { k, ..SearchParams::new(SearchMode::Bm25) }).unwrap()
}

fn mine<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&["mine", "in.jsonl", "--db", "db", "--out", "out.jsonl", "--mode", "bm25"], rest].concat()
}

/// The documents of a range of ranks that can be negatives, best first, found one by one.
fn eligible(
    database: &Database,
    example: &TrainingExample,
    first: usize,
    last: usize,
) -> Vec<(String, String)> {
    let ids = [&example.positive_ids, &example.known_positive_ids, &example.negative_ids];
    let known: BTreeSet<&String> = ids.into_iter().flatten().flatten().collect();
    let mut texts: BTreeSet<String> =
        example.positives.iter().chain(&example.negatives).map(|text| text.trim().to_owned()).collect();
    let mut found = Vec::new();
    for hit in search(database, &example.query, last).into_iter().skip(first - 1) {
        let text = database.document(&hit.doc_id).unwrap().unwrap().text;
        if !known.contains(&hit.doc_id) && texts.insert(text.clone()) {
            found.push((hit.doc_id, text));
        }
    }
    found
}

/// The negatives that an example got, with their ids, which come after those it had.
fn added<'e>(before: &TrainingExample, after: &'e TrainingExample) -> Vec<(&'e str, &'e str)> {
    let num_before = before.negatives.len();
    assert_eq!(after.negatives[..num_before], before.negatives);
    let texts = after.negatives[num_before..].iter().map(String::as_str);
    match &after.negative_ids {
        Some(ids) => ids.iter().map(String::as_str).zip(texts).collect(),
        None => texts.map(|text| ("", text)).collect(),
    }
}

#[test]
fn every_document_of_the_range_that_is_not_known_to_answer_is_taken() {
    let (sandbox, examples) = sandbox(40);
    let database = Database::open(sandbox.path("db")).unwrap();
    let said = sandbox.run(mine(&["--depth", "1-20", "--negatives", "50"])).ok();
    assert!(said.starts_with("out.jsonl: 40 examples with "), "{said}");
    assert!(said.ends_with("; 40 got fewer than 50\n"), "{said}");
    let mined = read(&sandbox.path("out.jsonl"));
    let mut num_known = 0;
    for (before, after) in examples.iter().zip(&mined) {
        let eligible = eligible(&database, before, 1, 20);
        num_known += 20 - eligible.len();
        let texts: Vec<&str> = eligible.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(added(before, after).iter().map(|(_, text)| *text).collect::<Vec<_>>(), texts);
        // An example whose negatives have no ids cannot have ids for some of them.
        assert_eq!(after.negative_ids.is_some(), before.negatives.is_empty());
        if let Some(ids) = &after.negative_ids {
            assert!(ids.iter().eq(eligible.iter().map(|(id, _)| id)));
        }
        assert_eq!(
            TrainingExample { negatives: before.negatives.clone(), negative_ids: None, ..after.clone() },
            *before
        );
    }
    assert!(num_known >= 40, "in each example something was to be left out: {num_known}");
}

#[test]
fn few_are_drawn_from_the_range_by_seed() {
    let (sandbox, examples) = sandbox(40);
    let database = Database::open(sandbox.path("db")).unwrap();
    let draw = |seed: &str| {
        sandbox.run(mine(&["--depth", "5-30", "--negatives", "4", "--seed", seed])).ok();
        read(&sandbox.path("out.jsonl"))
    };
    let first = draw("1");
    let mut ranks = BTreeSet::new();
    for (before, after) in examples.iter().zip(&first) {
        let eligible = eligible(&database, before, 5, 30);
        let places: Vec<usize> = added(before, after)
            .iter()
            .map(|(_, text)| eligible.iter().position(|(_, other)| other == text).unwrap())
            .collect();
        assert_eq!(places.len(), 4);
        assert!(places.is_sorted(), "best rank first");
        ranks.extend(places);
    }
    assert!(ranks.len() > 15, "of the whole range: {ranks:?}");
    assert_eq!(first, draw("1"));
    assert_ne!(first, draw("2"));
}

#[test]
fn a_teacher_drops_what_is_as_good_as_a_positive() {
    let (sandbox, examples) = sandbox(30);
    let database = Database::open(sandbox.path("db")).unwrap();
    for (model, margin) in [("cross", "0"), ("cross", "0.05"), ("bi", "-0.01")] {
        let range = ["--depth", "1-20", "--negatives", "50", "--teacher", model, "--margin", margin];
        let said = sandbox.run(mine(&range)).ok();
        let teacher = Teacher::load(sandbox.path(model), &LoadOptions::default()).unwrap();
        let score = |query: &str, passage: &str| teacher.score(&[(query, passage)]).unwrap()[0];
        let margin: f32 = margin.parse().unwrap();
        let (mut dropped, mut kept) = (0, 0);
        for (before, after) in examples.iter().zip(&read(&sandbox.path("out.jsonl"))) {
            let scores =
                |texts: &[String]| texts.iter().map(|text| score(&after.query, text)).collect::<Vec<_>>();
            assert_eq!(after.positive_scores.as_ref().unwrap(), &scores(&after.positives));
            assert_eq!(after.negative_scores.as_ref().unwrap(), &scores(&after.negatives));
            let lowest = scores(&before.positives).into_iter().reduce(f32::min).unwrap();
            let (good, bad): (Vec<_>, Vec<_>) = eligible(&database, before, 1, 20)
                .into_iter()
                .partition(|(_, text)| score(&before.query, text) <= lowest - margin);
            assert!(added(before, after).iter().map(|(_, text)| text).eq(good.iter().map(|(_, text)| text)));
            dropped += bad.len();
            kept += good.len();
        }
        assert!(dropped > 0 && kept > 0, "{model} {margin}: {dropped} dropped, {kept} kept");
        assert!(said.contains(&format!("with {kept} negatives by bm25")), "{said}");
        assert!(said.ends_with(&format!("; {dropped} documents dropped by {model}\n")), "{said}");
    }
    // Fewer than there are: no more are scored than needed, and none is too good.
    sandbox.run(mine(&["--depth", "1-20", "--negatives", "2", "--teacher", "cross"])).ok();
    for (before, after) in examples.iter().zip(&read(&sandbox.path("out.jsonl"))) {
        let lowest = after.positive_scores.iter().flatten().copied().reduce(f32::min).unwrap();
        let added = &after.negative_scores.as_ref().unwrap()[before.negatives.len()..];
        assert!(added.len() <= 2 && added.iter().all(|score| *score <= lowest));
    }
}

#[test]
fn every_retriever_of_the_database_can_mine() {
    let (sandbox, examples) = sandbox(5);
    for mode in ["dense", "hybrid"] {
        let said = sandbox.run(["mine", "in.jsonl", "--db", "db", "--out", "out.jsonl", "--mode", mode]).ok();
        assert!(
            said.starts_with(&format!("out.jsonl: 5 examples with 35 negatives by {mode}, in ")),
            "{said}"
        );
        let encoder = secateur::Encoder::load(sandbox.path("bi"), &LoadOptions::default()).unwrap();
        let database = Database::open(sandbox.path("db")).unwrap().with_encoder(encoder).unwrap();
        let params = SearchParams { k: 100, ..SearchParams::new(mode.parse().unwrap()) };
        for (before, after) in examples.iter().zip(&read(&sandbox.path("out.jsonl"))) {
            let hits = database.search(&before.query, &params).unwrap();
            let texts: BTreeSet<String> =
                hits[9..].iter().map(|hit| database.document(&hit.doc_id).unwrap().unwrap().text).collect();
            assert!(added(before, after).iter().all(|(_, text)| texts.contains(*text)));
        }
    }
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let (sandbox, _) = sandbox(300);
    kill_and_resume(&sandbox, &mine(&["--teacher", "cross", "--depth", "1-50"]));
}

#[test]
fn a_journal_serves_the_same_database_options_and_examples_only() {
    let (sandbox, all) = sandbox(100);
    let (input, output) = (sandbox.path("in.jsonl"), sandbox.path("out.jsonl"));
    sandbox.run(["index", "data", "--encoder", "none", "--out", "words"]).ok();
    let options = |seed| MineOptions { depth: 1..=20, seed, ..MineOptions::new(SearchMode::Bm25) };
    let mine = |seed, progress: &mut dyn FnMut(u64)| {
        let database = Database::open(sandbox.path("words")).unwrap();
        secateur::train::mine(&input, &output, &database, None, &options(seed), progress)
    };
    type Change<'a> = (&'a str, u64, &'a dyn Fn());
    let changes: [Change; 3] = [
        ("the database", 42, &|| {
            let mut database = Database::open(sandbox.path("words")).unwrap();
            let hits = search(&database, &all[0].query, 20);
            hits[4..12].iter().for_each(|hit| database.delete(&hit.doc_id).unwrap());
            database.commit().unwrap();
        }),
        ("the seed", 43, &|| ()),
        ("an example", 42, &|| {
            let mut changed = all.clone();
            changed[40].query.push_str(" honey");
            write(&input, &changed);
        }),
    ];
    for (what, seed, change) in changes {
        // What an interruption leaves, made by a bad line that is met on the way.
        write(&input, &all);
        let text = std::fs::read_to_string(&input).unwrap();
        let lines: String = text.split_inclusive('\n').take(70).collect();
        std::fs::write(&input, lines + "{}\n").unwrap();
        let error = mine(42, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("in.jsonl:71: "), "{error}");
        assert!(sandbox.path("out.jsonl.journal").exists());

        std::fs::write(&input, &text).unwrap();
        change();
        let resumed = mine(seed, &mut |_| ()).unwrap_or_else(|error| {
            // What another database or seed has made is not thrown away unasked.
            assert!(what != "an example" && error.to_string().contains("unfinished work"), "{what}: {error}");
            std::fs::remove_file(sandbox.path("out.jsonl.journal")).unwrap();
            mine(seed, &mut |_| ()).unwrap()
        });
        let with_journal = std::fs::read(&output).unwrap();
        assert_eq!(mine(seed, &mut |_| ()).unwrap(), resumed, "{what}");
        assert!(
            with_journal == std::fs::read(&output).unwrap(),
            "{what} has changed, and the journal was believed"
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    let (sandbox, mut examples) = sandbox(3);
    for depth in ["0-5", "9-3", "7", "a-b"] {
        let outcome = sandbox.run(mine(&["--depth", depth]));
        assert_eq!(outcome.status.code(), Some(2), "{depth}");
        assert!(outcome.stderr.contains("expected two ranks, such as 10-100"), "{outcome:?}");
    }
    assert_eq!(sandbox.run(mine(&["--margin", "1"])).status.code(), Some(2), "a margin to what?");
    sandbox.run(["index", "data", "--encoder", "none", "--out", "words"]).ok();
    let dense = ["mine", "in.jsonl", "--db", "words", "--out", "out.jsonl", "--mode", "dense"];
    sandbox.run(dense).fails(4, ["words has no vectors"]);
    examples[1].positive_scores = Some(vec![1.0; examples[1].positives.len()]);
    write(&sandbox.path("in.jsonl"), &examples);
    sandbox.run(mine(&[])).fails(3, ["in.jsonl: example 2 has a teacher's scores", "mine with the teacher"]);
    assert!(!sandbox.path("out.jsonl").exists());
    sandbox.run(mine(&["--teacher", "cross"])).ok();
}
