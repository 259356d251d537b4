//! One training example.

use crate::fault::Fault;

/// A query (the anchor), passages that answer it (positives) and passages that do not (hard negatives).
///
/// ```
/// use secateur_datasets::triples::TrainingExample;
///
/// let example = TrainingExample {
///     query: "When are roses pruned?".to_owned(),
///     positives: vec!["Prune roses in late winter.".to_owned()],
///     negatives: vec!["Bread rises overnight.".to_owned()],
///     positive_scores: Some(vec![7.5]),
///     negative_scores: Some(vec![-10.25]),
///     ..TrainingExample::default()
/// };
/// assert_eq!(example.check(), Ok(()));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingExample {
    /// The query; never empty.
    pub query: String,
    /// The passages that answer it: at least one, none of them empty.
    pub positives: Vec<String>,
    /// Passages that do not answer it but look as if they might.
    pub negatives: Vec<String>,
    /// A teacher's score of each positive, higher is better; finite.
    pub positive_scores: Option<Vec<f32>>,
    /// A teacher's score of each negative.
    pub negative_scores: Option<Vec<f32>>,
    /// The query's id.
    pub query_id: Option<String>,
    /// The id of each positive in its corpus.
    pub positive_ids: Option<Vec<String>>,
    /// The id of each negative in its corpus.
    pub negative_ids: Option<Vec<String>>,
    /// The ids of further documents that answer the query, which must not be taken for negatives.
    pub known_positive_ids: Option<Vec<String>>,
    /// The prompt that is put before the query in place of the model's own.
    pub prompt: Option<String>,
    /// What sort of task it is, in FlagEmbedding's words: `normal`, `symmetric_sts`, `only_1neg`, ...
    pub kind: Option<String>,
    /// A JSON object of the line's other fields.
    pub other: Option<String>,
}

/// The names of FlagEmbedding, the format that examples are written in.
const FLAG_EMBEDDING: Names = Names {
    positives: "pos",
    negatives: "neg",
    text: "",
    positive_lists: ["pos_ids", "pos_scores"],
    negative_lists: ["neg_ids", "neg_scores"],
};

impl TrainingExample {
    /// Checks that the example can be trained on: the fields hold what their descriptions say, and lists have equal
    /// lengths.
    ///
    /// # Errors
    /// The first fault, with FlagEmbedding's name of the field.
    pub fn check(&self) -> Result<(), Fault> {
        self.check_as(&FLAG_EMBEDDING)
    }

    /// [`check`](Self::check) with the names that a format gives the fields.
    pub(super) fn check_as(&self, names: &Names) -> Result<(), Fault> {
        let empty = |field: &str, text: &str| Fault::WrongField {
            field: field.to_owned(),
            expected: "a text that is not empty".to_owned(),
            got: format!("{text:?}"),
        };
        if self.query.trim().is_empty() {
            return Err(empty("query", &self.query));
        }
        if self.positives.is_empty() {
            return Err(Fault::WrongField {
                field: names.positives.to_owned(),
                expected: "at least one passage".to_owned(),
                got: "an empty list".to_owned(),
            });
        }
        if let Some(at) = self.positives.iter().position(|text| text.trim().is_empty()) {
            return Err(empty(&format!("{}[{at}]{}", names.positives, names.text), &self.positives[at]));
        }
        let sides = [
            (
                &self.positives,
                &self.positive_ids,
                &self.positive_scores,
                names.positive_lists,
                names.positives,
            ),
            (
                &self.negatives,
                &self.negative_ids,
                &self.negative_scores,
                names.negative_lists,
                names.negatives,
            ),
        ];
        for (passages, ids, scores, [ids_name, scores_name], passages_name) in sides {
            let lengths =
                [(ids_name, ids.as_ref().map(Vec::len)), (scores_name, scores.as_ref().map(Vec::len))];
            for (list, length) in lengths {
                if let Some(got) = length.filter(|length| *length != passages.len()) {
                    return Err(Fault::ListLength {
                        list: list.to_owned(),
                        passages: passages_name.to_owned(),
                        expected: passages.len(),
                        got,
                    });
                }
            }
            if let Some((at, score)) =
                scores.iter().flatten().enumerate().find(|(_, score)| !score.is_finite())
            {
                return Err(Fault::WrongField {
                    field: format!("{scores_name}[{at}]"),
                    expected: "a finite number".to_owned(),
                    got: score.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// What a format calls the fields that [`TrainingExample::check`] complains about.
pub(super) struct Names {
    pub(super) positives: &'static str,
    pub(super) negatives: &'static str,
    /// What follows a passage's name and number when its text is meant.
    pub(super) text: &'static str,
    /// Ids and scores.
    pub(super) positive_lists: [&'static str; 2],
    pub(super) negative_lists: [&'static str; 2],
}
