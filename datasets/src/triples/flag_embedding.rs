//! A line of FlagEmbedding's training data (`FlagEmbedding:examples/finetune/embedder/README.md`), in both directions.

use serde_json::{Map, Value, json};

use super::example::TrainingExample;
use super::fields::Fields;
use crate::fault::Fault;
use crate::record::without_place;

/// All fields of a line that have a place in an example, in the order in which they are written.
const FIELDS: [&str; 11] = [
    "query_id",
    "query",
    "pos",
    "neg",
    "pos_scores",
    "neg_scores",
    "pos_ids",
    "neg_ids",
    "known_pos_ids",
    "prompt",
    "type",
];

pub(super) fn parse(mut fields: Fields) -> Result<TrainingExample, Fault> {
    let example = TrainingExample {
        query: fields.required_text("query")?,
        positives: fields.texts("pos")?.ok_or_else(|| fields.missing("pos", "a list of strings"))?,
        negatives: fields.texts("neg")?.unwrap_or_default(),
        positive_scores: fields.numbers("pos_scores")?,
        negative_scores: fields.numbers("neg_scores")?,
        query_id: fields.id("query_id")?,
        positive_ids: fields.ids("pos_ids")?,
        negative_ids: fields.ids("neg_ids")?,
        known_positive_ids: fields.ids("known_pos_ids")?,
        prompt: fields.text("prompt")?,
        kind: fields.text("type")?,
        other: fields.rest(),
    };
    example.check()?;
    Ok(example)
}

/// The line of an example, without its line end.
pub(super) fn line(example: &TrainingExample) -> Result<String, Fault> {
    example.check()?;
    let TrainingExample {
        query,
        positives,
        negatives,
        positive_scores,
        negative_scores,
        query_id,
        positive_ids,
        negative_ids,
        known_positive_ids,
        prompt,
        kind,
        other,
    } = example;
    // As f64, whose digits give the same f32 back whatever way they are read.
    let scores = |scores: &Option<Vec<f32>>| {
        scores.as_ref().map(|scores| scores.iter().map(|score| f64::from(*score)).collect::<Vec<_>>())
    };
    // In the order of FIELDS.
    let values: [Value; FIELDS.len()] = [
        json!(query_id),
        json!(query),
        json!(positives),
        json!(negatives),
        json!(scores(positive_scores)),
        json!(scores(negative_scores)),
        json!(positive_ids),
        json!(negative_ids),
        json!(known_positive_ids),
        json!(prompt),
        json!(kind),
    ];
    let mut line: Map<String, Value> =
        FIELDS.into_iter().map(str::to_owned).zip(values).filter(|(_, value)| !value.is_null()).collect();
    if let Some(other) = other {
        let others: Map<String, Value> = serde_json::from_str(other).map_err(|error| Fault::BadJson {
            column: error.column(),
            message: format!("in `other`: {}", without_place(&error)),
        })?;
        if let Some(name) = FIELDS.into_iter().find(|name| others.contains_key(*name)) {
            return Err(Fault::WrongField {
                field: "other".to_owned(),
                expected: "names that the format has no use for".to_owned(),
                got: format!("{name:?}"),
            });
        }
        line.extend(others);
    }
    Ok(Value::Object(line).to_string())
}
