//! Importance scores as a file, and the order in which sub-layers are dropped by them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::score_settings::ScoreSettings;
use crate::architecture::SubLayer;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::json;
use crate::prune_error::PruneError;

/// The importance of every sub-layer of every layer; `None` for one that the model does not have. Higher is more
/// important.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The importance of the attentions.
    pub attention: Vec<Option<f64>>,
    /// The importance of the MLPs.
    pub mlp: Vec<Option<f64>>,
    /// The importance of the blocks: what attention and MLP change together.
    pub block: Vec<Option<f64>>,
}

impl Importance {
    /// The importance of one kind of sub-layer, by layer.
    pub fn of(&self, sub_layer: SubLayer) -> &[Option<f64>] {
        match sub_layer {
            SubLayer::Attention => &self.attention,
            SubLayer::Mlp => &self.mlp,
            SubLayer::Block => &self.block,
        }
    }

    /// The layers that have this sub-layer, least important first; of equals the deeper one first, since depth is
    /// where the redundancy is (paper, Fig. 2a).
    ///
    /// ```
    /// use secateur_encoders::{architecture::SubLayer, prune::Importance};
    /// let scores = vec![Some(0.5), Some(0.1), None, Some(0.5)];
    /// let importance = Importance { attention: vec![], mlp: scores, block: vec![] };
    /// assert_eq!(importance.drop_order(SubLayer::Mlp), [1, 3, 0]);
    /// ```
    pub fn drop_order(&self, sub_layer: SubLayer) -> Vec<usize> {
        let scores = self.of(sub_layer);
        let mut layers: Vec<usize> = (0..scores.len()).filter(|layer| scores[*layer].is_some()).collect();
        let score = |layer: usize| scores[layer].unwrap_or(f64::INFINITY);
        layers.sort_by(|a, b| score(*a).total_cmp(&score(*b)).then(b.cmp(a)));
        layers
    }
}

/// Importance scores, and what they were measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The name of the encoder.
    pub model: String,
    /// Which encoder that is.
    pub fingerprint: Fingerprint,
    /// How it was measured.
    pub settings: ScoreSettings,
    /// Sequences that were read.
    pub num_sequences: usize,
    /// Their tokens.
    pub num_tokens: usize,
    /// A hash over their tokens.
    pub text_hash: String,
    /// The name of the file or the data set that the texts are from, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<String>,
    /// What was measured.
    pub importance: Importance,
}

impl Scores {
    /// Reads a file that holds [`Scores::to_json`].
    ///
    /// # Errors
    ///
    /// The file is missing, or is not one of scores.
    pub fn read(path: impl AsRef<Path>) -> Result<Scores> {
        let path = path.as_ref();
        let scores: Scores = json::read(path).map_err(no_scores)?;
        let layers = scores.importance.attention.len();
        for sub_layer in SubLayer::ALL {
            let found = scores.importance.of(sub_layer);
            let expected = if found.len() != layers {
                format!("{layers} numbers, as for attention")
            } else if found.iter().flatten().any(|score| !score.is_finite()) {
                "finite numbers".to_owned()
            } else {
                continue;
            };
            return Err(Error::InvalidField {
                path: path.to_owned(),
                field: format!("importance.{}", sub_layer.name().to_lowercase()),
                found: format!("{found:?}"),
                expected,
            });
        }
        Ok(scores)
    }

    /// The file: a JSON object, indented. `drop_order` is there for people and other programs; it follows from the
    /// scores.
    pub fn to_json(&self) -> String {
        let mut object = serde_json::to_value(self).expect("scores can be written as JSON");
        let orders = SubLayer::ALL
            .map(|kind| (kind.name().to_lowercase(), Value::from(self.importance.drop_order(kind))));
        object["drop_order"] = json!(orders.into_iter().collect::<std::collections::BTreeMap<_, _>>());
        format!("{object:#}\n")
    }

    /// Refuses scores of another encoder. `path` is the scores' file.
    ///
    /// # Errors
    ///
    /// [`PruneError::ScoresOfAnotherModel`]
    pub fn check(&self, path: &Path, name: &str, fingerprint: &Fingerprint) -> Result<()> {
        if self.fingerprint == *fingerprint {
            return Ok(());
        }
        Err(PruneError::ScoresOfAnotherModel {
            path: path.to_owned(),
            scored_name: self.model.clone(),
            scored: self.fingerprint.to_string(),
            name: name.to_owned(),
            fingerprint: fingerprint.to_string(),
        }
        .into())
    }
}

/// The error of a file that was to hold scores and is no JSON of theirs.
pub(super) fn no_scores(error: Error) -> Error {
    match error {
        Error::Json { path, source } => PruneError::NoScores { path, problem: source.to_string() }.into(),
        other => other,
    }
}
