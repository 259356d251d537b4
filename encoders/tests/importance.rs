use std::path::Path;

use secateur_encoders::prune::{
    Calibration, CalibrationFormat, ImportanceMetric, Remaining, ScoreSettings, ScoredTokens, Scores,
    SubLayer, gradient, score,
};
use secateur_encoders::{Encoder, Error, LoadOptions};
use secateur_testkit::{minilm, workspace_root};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Fixture, id_texts, id_tokenizer, sequences};

/// The references are f64; hidden states here are f32 with errors of some 1e-6 (see tests/tiny_models.rs), which move a
/// cosine by no more than that.
const TOLERANCE: f64 = 1e-5;

/// A tiny model whose tokenizer knows the ids themselves: the text "t7 t9" has the ids 7 and 9.
fn tiny(name: &str) -> (TempDir, Encoder) {
    let fixture = Fixture::read(name);
    let directory = fixture.write(&fixture.pruned_config(&fixture.config));
    id_tokenizer(directory.path());
    let encoder = Encoder::load(directory.path(), &LoadOptions::default()).unwrap();
    (directory, encoder)
}

fn of_texts(metric: ImportanceMetric, tokens: ScoredTokens) -> ScoreSettings {
    let calibration =
        Calibration { format: CalibrationFormat::Texts, max_sequences: 1000, block_length: None };
    ScoreSettings { metric, tokens, calibration }
}

fn packed(block_length: usize) -> ScoreSettings {
    let calibration = Calibration {
        format: CalibrationFormat::Packed,
        max_sequences: 1000,
        block_length: Some(block_length),
    };
    ScoreSettings { calibration, ..ScoreSettings::default() }
}

fn measure(
    encoder: &Encoder,
    texts: &[String],
    settings: &ScoreSettings,
    journal: Option<&Path>,
) -> Result<Scores, Error> {
    score(encoder, texts.iter().cloned().map(Ok), settings, journal, |_| {})
}

/// Every combination of metric and tokens, by the name that the fixtures give it.
const COMBINATIONS: [(&str, ImportanceMetric, ScoredTokens); 4] = [
    ("cosine.all", ImportanceMetric::Cosine, ScoredTokens::All),
    ("cosine.last", ImportanceMetric::Cosine, ScoredTokens::Last),
    ("l2.all", ImportanceMetric::L2, ScoredTokens::All),
    ("l2.last", ImportanceMetric::L2, ScoredTokens::Last),
];

fn reference(file: &str) -> Value {
    let path = workspace_root().join("tests/fixtures/importance").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Compares with one record of the fixtures. L2 distances are of order one to ten, so their tolerance is relative.
fn compare(what: &str, scores: &Scores, want: &Value) {
    for (part, name) in
        [(SubLayer::Attention, "attention"), (SubLayer::Mlp, "mlp"), (SubLayer::Block, "block")]
    {
        let want = want[name].as_array().unwrap();
        let got = scores.importance.of(part);
        assert_eq!(got.len(), want.len(), "{what}: {name}");
        for (layer, (got, want)) in got.iter().zip(want).enumerate() {
            match (got, want.as_f64()) {
                (None, None) => {}
                (Some(got), Some(want)) => {
                    let error = (got - want).abs() / want.abs().max(1.0);
                    assert!(error <= TOLERANCE, "{what}: {name} {layer} is {got}, not {want}");
                }
                other => panic!("{what}: {name} {layer} is {other:?}"),
            }
        }
    }
}

#[test]
fn every_family_scores_as_llm_drop_defines() {
    let reference = reference("tiny_models.json");
    let texts = id_texts(&sequences());
    for (name, want) in reference.as_object().unwrap() {
        let (_directory, encoder) = tiny(name);
        for (combination, metric, tokens) in COMBINATIONS {
            let scores = measure(&encoder, &texts, &of_texts(metric, tokens), None).unwrap();
            compare(&format!("{name}, {combination}"), &scores, &want[combination]);
            assert_eq!((scores.num_sequences, scores.num_tokens), (7, 557));
        }
    }
}

#[test]
fn minilm_scores_as_in_pytorch() {
    let Some(model) = minilm("minilm_scores_as_in_pytorch") else { return };
    let encoder = Encoder::load(&model, &LoadOptions::default()).unwrap();
    let reference = reference("minilm.json");
    let lines = workspace_root().join("tests/fixtures/minilm/texts.jsonl");
    let texts: Vec<String> = std::fs::read_to_string(lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    // The metrics are compared on the tiny models; here it is the real weights, and how their tokenizer packs.
    for (name, format) in [("texts", CalibrationFormat::Texts), ("packed", CalibrationFormat::Packed)] {
        for (combination, metric, tokens) in &COMBINATIONS[..1] {
            let settings = of_texts(*metric, *tokens);
            let calibration = Calibration { format, ..settings.calibration };
            let scores = measure(&encoder, &texts, &ScoreSettings { calibration, ..settings }, None).unwrap();
            let want = &reference[name];
            assert_eq!(scores.num_sequences as u64, want["sequences"].as_u64().unwrap());
            assert_eq!(scores.num_tokens as u64, want["tokens"].as_u64().unwrap());
            compare(&format!("{name}, {combination}"), &scores, &want[*combination]);
        }
    }
}

#[test]
fn scores_do_not_depend_on_threads_or_company() {
    let texts = id_texts(&sequences());
    for name in ["bert", "mistral-pruned"] {
        let (_directory, encoder) = tiny(name);
        for settings in [of_texts(ImportanceMetric::Cosine, ScoredTokens::All), packed(64)] {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| measure(&encoder, &texts, &settings, None)).unwrap()
            };
            let one = on(1);
            for threads in [2, 3, 16] {
                assert_eq!(on(threads), one, "{name} on {threads} threads");
            }
        }
        // One text at a time: the sums of all are those of the parts.
        let settings = of_texts(ImportanceMetric::Cosine, ScoredTokens::All);
        let together = measure(&encoder, &texts, &settings, None).unwrap();
        let mut sum = 0.0;
        for text in &texts {
            let alone = measure(&encoder, std::slice::from_ref(text), &settings, None).unwrap();
            sum += alone.importance.mlp[0].unwrap_or(0.0) * alone.num_tokens as f64;
        }
        let mean = sum / together.num_tokens as f64;
        // Each of the seven products and the division round once more.
        assert!((mean - together.importance.mlp[0].unwrap_or(0.0)).abs() < 1e-14);
    }
}

#[test]
fn an_interrupted_measurement_goes_on() {
    let (directory, encoder) = tiny("llama");
    let texts: Vec<String> = (0..20).flat_map(|_| id_texts(&sequences()[3..])).collect();
    let settings = of_texts(ImportanceMetric::Cosine, ScoredTokens::All);
    let whole = measure(&encoder, &texts, &settings, None).unwrap();
    let journal = directory.path().join("journal");

    // The texts break off after the first chunk of 8,192 tokens.
    let broken = texts.iter().take(70).cloned().map(Ok).chain([Err(Stop::Broken)]);
    let stopped = score(&encoder, broken, &settings, Some(&journal), |_| {});
    assert!(matches!(stopped, Err(Stop::Broken)), "{stopped:?}");
    let kept = std::fs::read(&journal).unwrap();
    // A header, and for each sequence a head and its sums.
    let whole_journal =
        |sequences: usize| 64 + sequences * (48 + 8 * 3 * encoder.architecture().layers.len());
    assert!((whole_journal(1)..=whole_journal(70)).contains(&kept.len()), "{} bytes", kept.len());

    // Killed in the middle of a record.
    std::fs::write(&journal, &kept[..kept.len() - 10]).unwrap();
    let mut steps = Vec::new();
    let resumed: Result<Scores, Error> =
        score(&encoder, texts.iter().cloned().map(Ok), &settings, Some(&journal), |done| steps.push(done));
    assert_eq!(resumed.unwrap(), whole);
    assert_eq!(steps.last(), Some(&texts.len()));
    assert_eq!(std::fs::metadata(&journal).unwrap().len() as usize, whole_journal(texts.len()));

    // Sums of other sequences are not taken, and those of another measurement are not thrown away.
    let others: Vec<String> = texts.iter().rev().cloned().collect();
    let of_others = measure(&encoder, &others, &settings, None).unwrap();
    assert_eq!(measure(&encoder, &others, &settings, Some(&journal)).unwrap(), of_others);
    let last = of_texts(ImportanceMetric::Cosine, ScoredTokens::Last);
    let message = measure(&encoder, &others, &last, Some(&journal)).unwrap_err().to_string();
    assert!(message.contains("other options"), "{message}");
}

/// What the texts of a test fail with.
#[derive(Debug)]
enum Stop {
    Broken,
    Encoder(#[allow(dead_code, reason = "shown when the test fails")] Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Encoder(error)
    }
}

#[test]
fn blocks_are_packed_from_whole_texts() {
    let (_directory, encoder) = tiny("llama");
    // "t5" and the end of text are two tokens: 1,000 texts make 31 blocks of 64 and a tail of 16, which is dropped.
    let texts = vec!["t5".to_owned(); 1500];
    let scores = measure(&encoder, &texts, &packed(64), None).unwrap();
    assert_eq!((scores.num_sequences, scores.num_tokens), (31 + 15, 46 * 64));
    let mut few = packed(64);
    few.calibration.max_sequences = 5;
    assert_eq!(measure(&encoder, &texts, &few, None).unwrap().num_sequences, 5);

    // A block is what a text of the same tokens is: every other one ends a text.
    let block = ["t5 </s>"; 8].join(" ");
    let of_text = of_texts(ImportanceMetric::Cosine, ScoredTokens::All);
    let as_text = measure(&encoder, &[block], &of_text, None).unwrap();
    let as_block = measure(&encoder, &texts[..8], &packed(16), None).unwrap();
    assert_eq!(as_block.importance, as_text.importance);
    assert_eq!(as_block.text_hash, as_text.text_hash);
}

#[test]
fn too_little_text_and_too_long_blocks_are_refused() {
    let (_directory, encoder) = tiny("llama");
    let refused = |texts: &[String], settings: &ScoreSettings| {
        measure(&encoder, texts, settings, None).unwrap_err().to_string()
    };
    let message = refused(&id_texts(&sequences()[..3]), &packed(64));
    // 1 + 2 + 7 tokens and an end for each text.
    assert!(message.contains("have 13 tokens, fewer than one block of 64"), "{message}");
    let message = refused(&id_texts(&sequences()), &packed(513));
    assert!(message.contains("is 513; expected 1 to 512"), "{message}");
    let message = refused(&[], &of_texts(ImportanceMetric::Cosine, ScoredTokens::All));
    assert!(message.contains("0 tokens"), "{message}");
}

#[test]
fn a_scores_file_is_read_back_and_checked() {
    let (directory, encoder) = tiny("mistral-pruned");
    let texts = id_texts(&sequences());
    let scores =
        measure(&encoder, &texts, &of_texts(ImportanceMetric::Cosine, ScoredTokens::All), None).unwrap();
    let path = directory.path().join("scores.json");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(&scores.to_json());
    let read = Scores::read(&path).unwrap();
    assert_eq!(read.importance.drop_order(SubLayer::Mlp), scores.importance.drop_order(SubLayer::Mlp));
    assert_eq!((read.fingerprint, read.settings), (scores.fingerprint, scores.settings));
    read.check(&path, encoder.name(), encoder.fingerprint()).unwrap();
    let json: Value = serde_json::from_str(&scores.to_json()).unwrap();
    assert_eq!(json["drop_order"]["mlp"], serde_json::json!([1, 0]));

    let (_other, other) = tiny("llama");
    let message = read.check(&path, other.name(), other.fingerprint()).unwrap_err().to_string();
    for part in [encoder.fingerprint().to_string(), other.fingerprint().to_string(), "score".to_owned()] {
        assert!(message.contains(&part), "{message}");
    }
    let mut ragged = json.clone();
    ragged["importance"]["mlp"] = serde_json::json!([0.5]);
    write(&ragged.to_string());
    let message = Scores::read(&path).unwrap_err().to_string();
    assert!(message.contains("importance.mlp is [Some(0.5)]; expected 4 numbers"), "{message}");
    write("{}");
    assert!(Scores::read(&path).unwrap_err().to_string().contains("model"));
}

#[test]
fn gradients_are_those_of_pytorch() {
    let reference = reference("gradient.json");
    let texts = id_texts(&sequences());
    let pairs: Vec<(String, String)> = (1..4).map(|i| (texts[i].clone(), texts[i + 3].clone())).collect();
    for (name, want) in reference.as_object().unwrap() {
        let (directory, encoder) = tiny(name);
        let measured = |pairs: &[(String, String)], remaining: Option<&Remaining>| {
            gradient::score(
                directory.path(),
                &LoadOptions::default(),
                remaining,
                pairs.iter().cloned().map(Ok),
                100,
                |_| {},
            )
        };
        let scores: Scores = measured(&pairs, None).unwrap_or_else(|e: Error| panic!("{e}"));
        assert_eq!(scores.fingerprint, *encoder.fingerprint());
        for (part, field) in
            [(SubLayer::Attention, "attention"), (SubLayer::Mlp, "mlp"), (SubLayer::Block, "block")]
        {
            let want: Vec<f64> =
                want[field].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
            // f32 cosines, off by some 1e-6, are divided by 0.02; their gradients are sums over up to 300 tokens.
            let scale = want.iter().fold(1.0, |a: f64, b| a.max(*b));
            for (got, want) in scores.importance.of(part).iter().zip(&want) {
                let got = got.unwrap();
                assert!((got - want).abs() <= 1e-3 * scale, "{name}: {field} is {got}, not {want}");
            }
        }
        if name != "bert" {
            continue;
        }
        // A pair without a title is passed over; alone it is nothing to compare.
        let untitled = [&[(String::new(), texts[3].clone())][..], &pairs].concat();
        assert_eq!(measured(&untitled, None).unwrap(), scores);
        let message = measured(&untitled[..2], None).unwrap_err().to_string();
        assert!(message.contains("titles"), "{message}");
        // Of a model that is pruned, what is left is measured.
        let mut remaining = encoder.architecture().remaining();
        remaining.drop(SubLayer::Mlp, 1).unwrap();
        let pruned = measured(&pairs, Some(&remaining)).unwrap().importance;
        assert!(pruned.mlp[1].is_none() && pruned.attention[1].is_some());
    }
}
