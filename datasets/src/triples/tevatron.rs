//! A line of Tevatron's training data with the passages' texts in it (`Tevatron/msmarco-passage` and its like).

use super::example::{Names, TrainingExample};
use super::fields::Fields;
use crate::document::joined;
use crate::fault::Fault;

const NAMES: Names = Names {
    positives: "positive_passages",
    negatives: "negative_passages",
    text: ".text",
    positive_lists: ["positive_passages[].docid", "positive_passages[].score"],
    negative_lists: ["negative_passages[].docid", "negative_passages[].score"],
};

pub(super) fn parse(mut fields: Fields) -> Result<TrainingExample, Fault> {
    let query = fields.required_text("query")?;
    let positives = Passages::take(&mut fields, NAMES.positives)?
        .ok_or_else(|| fields.missing(NAMES.positives, "a list of objects"))?;
    let negatives = Passages::take(&mut fields, NAMES.negatives)?.unwrap_or_default();
    let example = TrainingExample {
        query,
        positives: positives.texts,
        negatives: negatives.texts,
        positive_scores: positives.scores,
        negative_scores: negatives.scores,
        query_id: fields.id("query_id")?,
        positive_ids: positives.ids,
        negative_ids: negatives.ids,
        other: fields.rest(),
        ..TrainingExample::default()
    };
    example.check_as(&NAMES)?;
    Ok(example)
}

#[derive(Default)]
struct Passages {
    texts: Vec<String>,
    /// If one passage has a value, all must have one.
    ids: Option<Vec<String>>,
    scores: Option<Vec<f32>>,
}

impl Passages {
    fn take(fields: &mut Fields, name: &str) -> Result<Option<Passages>, Fault> {
        let Some(objects) = fields.objects(name)? else { return Ok(None) };
        let (mut texts, mut ids, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for mut object in objects {
            let title = object.text("title")?.unwrap_or_default();
            // Tevatron's rule: title, a space, text.
            texts.push(joined(&title, &object.required_text("text")?, " "));
            ids.extend(object.id("docid")?);
            scores.extend(object.number("score")?);
        }
        let some = |any: bool| any.then_some(());
        Ok(Some(Passages {
            ids: some(!ids.is_empty()).map(|()| ids),
            scores: some(!scores.is_empty()).map(|()| scores),
            texts,
        }))
    }
}
