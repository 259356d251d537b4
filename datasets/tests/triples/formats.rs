//! Both formats: what is written is read back, and what is no example is an error with a place.

use std::path::PathBuf;

use proptest::prelude::*;
use secateur_datasets::triples::{Examples, Format, TrainingExample, write_examples, write_examples_alone};
use secateur_datasets::{Error, Fault};

type Written = Result<u64, Error>;

fn write(path: &std::path::Path, examples: &[TrainingExample]) -> Written {
    write_examples(path, examples.iter().cloned().map(Ok))
}

fn any_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect())
}

fn text() -> impl Strategy<Value = String> {
    any_text().prop_map(|text| format!("{text}x"))
}

fn score() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("finite", |score| score.is_finite())
}

/// Passages with as many ids and scores, or none.
fn side(at_least: usize) -> impl Strategy<Value = (Vec<String>, Option<Vec<String>>, Option<Vec<f32>>)> {
    (at_least..5usize).prop_flat_map(|count| {
        (
            proptest::collection::vec(text(), count),
            proptest::option::of(proptest::collection::vec(text(), count)),
            proptest::option::of(proptest::collection::vec(score(), count)),
        )
    })
}

fn other() -> impl Strategy<Value = Option<String>> {
    let object = (any_text(), any::<i64>())
        .prop_map(|(text, number)| serde_json::json!({ "answers": [text], "n": number }).to_string());
    proptest::option::of(object)
}

fn example() -> impl Strategy<Value = TrainingExample> {
    let optional = || proptest::option::of(any_text());
    let known = proptest::option::of(proptest::collection::vec(text(), 0..4));
    (text(), side(1), side(0), proptest::option::of(text()), known, optional(), optional(), other()).prop_map(
        |(query, positives, negatives, query_id, known_positive_ids, prompt, kind, other)| TrainingExample {
            query,
            positives: positives.0,
            negatives: negatives.0,
            positive_scores: positives.2,
            negative_scores: negatives.2,
            query_id,
            positive_ids: positives.1,
            negative_ids: negatives.1,
            known_positive_ids,
            prompt,
            kind,
            other,
        },
    )
}

proptest! {
    #[test]
    fn examples_survive_a_round_trip(examples in proptest::collection::vec(example(), 1..6), ending in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(["train.jsonl", "train.jsonl.gz", "train.jsonl.zst"][ending]);
        prop_assert_eq!(write(&path, &examples).unwrap(), examples.len() as u64);
        let read: Vec<_> = Examples::open(&path, None).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, examples);
    }
}

/// A file of these lines.
fn file(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    (folder, path)
}

fn read(lines: &[&str]) -> Vec<Result<TrainingExample, Error>> {
    let (_folder, path) = file(lines);
    Examples::open(&path, None).unwrap().collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn both_formats_by_hand() {
    let flag = r#"{"query":"q","pos":["a","b"],"neg":["c"],"pos_scores":[1,0.5],"neg_scores":[-2.25],"prompt":"p: ","type":"normal","query_id":7,"pos_ids":["1",2],"id":3}"#;
    let tevatron = r#"{"query_id":"q7","query":"q","positive_passages":[{"docid":"1","title":"T","text":"a","score":3},{"docid":"2","title":"","text":" b "}],"negative_passages":[{"docid":9,"text":"c"}],"answers":["x"]}"#;
    let expected = TrainingExample {
        query: "q".to_owned(),
        positives: strings(&["a", "b"]),
        negatives: strings(&["c"]),
        positive_scores: Some(vec![1.0, 0.5]),
        negative_scores: Some(vec![-2.25]),
        query_id: Some("7".to_owned()),
        positive_ids: Some(strings(&["1", "2"])),
        prompt: Some("p: ".to_owned()),
        kind: Some("normal".to_owned()),
        other: Some(r#"{"id":3}"#.to_owned()),
        ..TrainingExample::default()
    };
    assert_eq!(read(&[flag]).remove(0).unwrap(), expected);

    let error = read(&[tevatron]).remove(0).unwrap_err().to_string();
    let fault = "`positive_passages[].score`: expected 2, one for each of `positive_passages`, got 1";
    assert!(error.ends_with(&format!("train.jsonl:1: {fault}")), "{error}");
    let expected = TrainingExample {
        query: "q".to_owned(),
        positives: strings(&["T a", "b"]),
        negatives: strings(&["c"]),
        query_id: Some("q7".to_owned()),
        positive_ids: Some(strings(&["1", "2"])),
        negative_ids: Some(strings(&["9"])),
        other: Some(r#"{"answers":["x"]}"#.to_owned()),
        ..TrainingExample::default()
    };
    assert_eq!(read(&[&tevatron.replace(",\"score\":3", "")]).remove(0).unwrap(), expected);
}

#[test]
fn the_format_is_told_from_the_first_line_unless_it_is_named() {
    let flag = r#"{"query":"q","pos":["a"]}"#;
    let tevatron = r#"{"query":"q","positive_passages":[{"text":"a"}]}"#;
    for (line, format) in [(flag, Format::FlagEmbedding), (tevatron, Format::Tevatron)] {
        let (_folder, path) = file(&["", line]);
        let mut examples = Examples::open(&path, None).unwrap();
        assert_eq!(examples.format(), None);
        assert_eq!(examples.next().unwrap().unwrap().positives, ["a"]);
        assert_eq!(examples.format(), Some(format));
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    // A file is of one format.
    let items = read(&[flag, tevatron]);
    assert!(items[0].is_ok());
    let error = items[1].as_ref().unwrap_err().to_string();
    assert!(error.ends_with("train.jsonl:2: `pos`: expected a list of strings, got nothing"), "{error}");
    let (_folder, path) = file(&[flag]);
    let error =
        Examples::open(&path, Some(Format::Tevatron)).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(error.ends_with("`positive_passages`: expected a list of objects, got nothing"), "{error}");
    assert_eq!(
        "json".parse::<Format>().unwrap_err().to_string(),
        "\"json\" is not a format of training data; expected flag-embedding or tevatron"
    );
}

#[test]
fn bad_lines_say_what_is_expected_and_what_is_there() {
    let long = format!(r#"{{"query":"q","pos":"{}"}}"#, "é".repeat(50));
    let cut = format!("`pos`: expected a list of strings, got \"{}\"...", "é".repeat(40));
    let cases: [(&str, &str); 24] = [
        (r#"["q"]"#, r#"bad JSON at column 1: expected an object, as in {"query": "...", "pos": ["..."]}"#),
        (r#"{"query":"q","pos":["a""#, "bad JSON at column 23: EOF while parsing a list"),
        (
            r#"{"query_text":"q","positive_document_ids":["1"]}"#,
            "expected `query` with `pos` (FlagEmbedding) or with `positive_passages` (Tevatron), got the fields \
             query_text, positive_document_ids; `secateur dataset triples` makes training data of a BEIR folder",
        ),
        (r#"{"pos":["a"]}"#, "`query`: expected a string, got nothing"),
        (r#"{"query":["q"],"pos":["a"]}"#, "`query`: expected a string, got a list of 1"),
        (r#"{"query":" \n","pos":["a"]}"#, "`query`: expected a text that is not empty, got \" \\n\""),
        (r#"{"query":"q","pos":[]}"#, "`pos`: expected at least one passage, got an empty list"),
        (r#"{"query":"q","pos":null}"#, "`pos`: expected a list of strings, got nothing"),
        (r#"{"query":"q","pos":{"a":1}}"#, "`pos`: expected a list of strings, got an object"),
        (&long, &cut),
        (r#"{"query":"q","pos":["a",""]}"#, "`pos[1]`: expected a text that is not empty, got \"\""),
        (r#"{"query":"q","pos":["a",null]}"#, "`pos[1]`: expected a string, got null"),
        (r#"{"query":"q","pos":["a"],"neg":[3]}"#, "`neg[0]`: expected a string, got 3"),
        (
            r#"{"query":"q","pos":["a"],"pos_scores":[1,2]}"#,
            "`pos_scores`: expected 1, one for each of `pos`, got 2",
        ),
        (
            r#"{"query":"q","pos":["a"],"neg_scores":[1]}"#,
            "`neg_scores`: expected 0, one for each of `neg`, got 1",
        ),
        (r#"{"query":"q","pos":["a"],"pos_ids":[]}"#, "`pos_ids`: expected 1, one for each of `pos`, got 0"),
        (
            r#"{"query":"q","pos":["a"],"pos_scores":["1"]}"#,
            "`pos_scores[0]`: expected a finite number, got \"1\"",
        ),
        (
            r#"{"query":"q","pos":["a"],"pos_scores":[1e39]}"#,
            "`pos_scores[0]`: expected a finite number, got 1e+39",
        ),
        (
            r#"{"query":"q","pos":["a"],"pos_scores":[NaN]}"#,
            "`pos_scores[0]`: expected a finite number, got null, NaN or Infinity",
        ),
        (
            r#"{"query":"q","pos":["a"],"pos_scores":[null]}"#,
            "`pos_scores[0]`: expected a finite number, got null",
        ),
        (r#"{"query":"q","pos":["a"],"pos_scores":3}"#, "`pos_scores`: expected a list of numbers, got 3"),
        (
            r#"{"query":"q","pos":["a"],"query_id":1.5}"#,
            "`query_id`: expected an id: a string that is not empty, or an integer, got 1.5",
        ),
        (
            r#"{"query":"q","positive_passages":[{"text":"a"},{"title":"b"}]}"#,
            "`positive_passages[1].text`: expected a string, got nothing",
        ),
        (
            r#"{"query":"q","positive_passages":["a"]}"#,
            "`positive_passages[0]`: expected an object, got \"a\"",
        ),
    ];
    for (line, expected) in cases {
        // On the second line of a file whose third is good.
        let first = if line.contains("positive_passages\":[") {
            r#"{"query":"q","positive_passages":[{"text":"a"}]}"#
        } else {
            r#"{"query":"q","pos":["a"]}"#
        };
        let lines = if line.contains("query_text") { vec![line] } else { vec![first, line, first] };
        let items = read(&lines);
        assert_eq!(items.len(), lines.len(), "{line}");
        assert!(items.last().unwrap().is_ok() || lines.len() == 1, "{line}: the next line follows");
        let error = items[lines.len() / 2].as_ref().unwrap_err().to_string();
        let place = format!("train.jsonl:{}: ", lines.len() / 2 + 1);
        let message = error.split_once(&place).unwrap_or_else(|| panic!("no {place} in {error}")).1;
        assert_eq!(message, expected, "{line}");
    }
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.jsonl");
    let good =
        TrainingExample { query: "q".to_owned(), positives: strings(&["a"]), ..TrainingExample::default() };
    let cases = [
        (TrainingExample { query: " ".to_owned(), ..good.clone() }, "`query`: expected a text"),
        (TrainingExample { positives: Vec::new(), ..good.clone() }, "`pos`: expected at least one passage"),
        (
            TrainingExample { positive_scores: Some(vec![f32::NAN]), ..good.clone() },
            "`pos_scores[0]`: expected a finite number, got NaN",
        ),
        (
            TrainingExample { negative_ids: Some(strings(&["1"])), ..good.clone() },
            "`neg_ids`: expected 0, one for each of `neg`, got 1",
        ),
        (TrainingExample { other: Some("[]".to_owned()), ..good.clone() }, "in `other`: invalid type"),
        (
            TrainingExample { other: Some(r#"{"pos":1}"#.to_owned()), ..good.clone() },
            "`other`: expected names that the format has no use for, got \"pos\"",
        ),
    ];
    for (bad, expected) in cases {
        let error = write(&path, &[good.clone(), bad]).unwrap_err();
        assert!(matches!(&error, Error::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
    }
    // An error of the examples is given back as it is, and no file stays.
    let stop = || Error::File { path: "other".into(), fault: Fault::Empty };
    let error = write_examples(&path, [Ok(good), Err(stop())]).unwrap_err();
    assert_eq!(error.to_string(), stop().to_string());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_sole_writer_writes_over_what_a_kill_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.jsonl.gz");
    std::fs::write(folder.path().join("train.jsonl.gz.tmp"), "half of a file").unwrap();
    let example = || TrainingExample {
        query: "q".to_owned(),
        positives: strings(&["a"]),
        ..TrainingExample::default()
    };
    assert_eq!(write_examples_alone(&path, [Ok::<_, Error>(example())]).unwrap(), 1);
    let read: Vec<_> = Examples::open(&path, None).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, [example()]);
    let stop = Error::File { path: "other".into(), fault: Fault::Empty };
    write_examples_alone(&path, [Ok(example()), Err(stop)]).unwrap_err();
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["train.jsonl.gz"]);
}
