//! Which neurons of which MLP go: one ranking over all layers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::directory::ModelDirectory;
use super::scores::no_scores;
use crate::architecture::{MaskedMlp, NeuronMask};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::json;
use crate::prune_error::PruneError;

/// A number for every neuron of every MLP; higher is more important. Learned gates, or
/// [`activation_magnitude`](super::activation_magnitude).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeuronScores {
    /// The name of the encoder.
    pub model: String,
    /// Which encoder that is.
    pub fingerprint: Fingerprint,
    /// For each layer the scores of its neurons; `None` where the MLP is dropped.
    pub layers: Vec<Option<Vec<f64>>>,
}

impl NeuronScores {
    /// Reads a file that holds this as JSON.
    ///
    /// # Errors
    ///
    /// The file is missing, or is not one of scores; a score is not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<NeuronScores> {
        let path = path.as_ref();
        let scores: NeuronScores = json::read(path).map_err(no_scores)?;
        match scores.layers.iter().flatten().flatten().find(|score| !score.is_finite()) {
            None => Ok(scores),
            Some(found) => Err(Error::InvalidField {
                path: path.to_owned(),
                field: "layers".to_owned(),
                found: found.to_string(),
                expected: "finite numbers".to_owned(),
            }),
        }
    }

    /// The file: a JSON object.
    pub fn to_json(&self) -> String {
        format!("{}\n", serde_json::to_string(self).expect("scores can be written as JSON"))
    }

    /// Refuses scores of another model. `path` is the scores' file.
    ///
    /// # Errors
    ///
    /// [`PruneError::ScoresOfAnotherModel`]
    pub fn check(&self, path: &Path, model: &ModelDirectory) -> Result<()> {
        if self.fingerprint == *model.fingerprint() {
            return Ok(());
        }
        Err(PruneError::ScoresOfAnotherModel {
            path: path.to_owned(),
            scored_name: self.model.clone(),
            scored: self.fingerprint.to_string(),
            name: model.name(),
            fingerprint: model.fingerprint().to_string(),
        }
        .into())
    }

    /// Refuses what is no sparsity or no floor of [`NeuronScores::mask`], before anything is measured.
    ///
    /// # Errors
    ///
    /// [`PruneError::InvalidShare`]
    pub fn check_shares(sparsity: f64, floor: f64) -> Result<()> {
        if !(0.0..1.0).contains(&sparsity) {
            let expected = "it is a share, 0 to below 1".to_owned();
            return Err(invalid(format!("a sparsity of {sparsity}"), expected));
        }
        if !(0.0..=1.0).contains(&floor) {
            let expected = "it is the share of an MLP that stays, 0 to 1".to_owned();
            return Err(invalid(format!("any share with a floor of {floor}"), expected));
        }
        Ok(())
    }

    /// Masks the share `sparsity` of all neurons, rounded to whole neurons: those with the lowest scores over all
    /// layers together (paper, section 5.1). Among equal scores the deeper layer's neuron is masked first, and in a
    /// layer the higher number.
    ///
    /// Each MLP keeps at least the share `floor` of its neurons, and at least one neuron. To remove a whole MLP, drop
    /// it.
    ///
    /// # Errors
    ///
    /// [`PruneError::InvalidShare`]: a share is not one, or the floors leave too little to mask.
    ///
    /// ```
    /// use secateur_encoders::Fingerprint;
    /// use secateur_encoders::prune::NeuronScores;
    /// let scores = NeuronScores {
    ///     model: "m".into(),
    ///     fingerprint: Fingerprint::from_bytes([0; 32]),
    ///     layers: vec![Some(vec![0.9, 0.2, 0.8, 0.1]), None, Some(vec![0.3, 0.4])],
    /// };
    /// let mask = scores.mask(0.5, 0.0)?;
    /// assert_eq!(mask.layers[0].as_ref().unwrap().masked, [1, 3]);
    /// assert_eq!(mask.layers[2].as_ref().unwrap().masked, [0]);
    /// assert_eq!(mask.widths(), [Some(2), None, Some(1)]);
    /// # Ok::<(), secateur_encoders::Error>(())
    /// ```
    pub fn mask(&self, sparsity: f64, floor: f64) -> Result<NeuronMask> {
        NeuronScores::check_shares(sparsity, floor)?;
        let widths: Vec<usize> =
            self.layers.iter().map(|scores| scores.as_ref().map_or(0, Vec::len)).collect();
        let total: usize = widths.iter().sum();
        let least = |width: usize| ((floor * width as f64).ceil() as usize).max(1);
        let mut room: Vec<usize> = widths.iter().map(|width| width.saturating_sub(least(*width))).collect();
        let wanted = (sparsity * total as f64).round() as usize;
        let possible: usize = room.iter().sum();
        if wanted > possible {
            let asked = format!("a sparsity of {sparsity}, {wanted} of {total} neurons");
            let expected = format!(
                "with a floor of {floor} at most {possible} can go, a sparsity of {:.3}",
                possible as f64 / total as f64
            );
            return Err(invalid(asked, expected));
        }
        let mut ranked: Vec<(f64, usize, usize)> = self
            .layers
            .iter()
            .enumerate()
            .flat_map(|(layer, scores)| {
                let scores = scores.iter().flatten().enumerate();
                scores.map(move |(neuron, score)| (*score, layer, neuron))
            })
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
        let mut layers: Vec<Option<MaskedMlp>> = self
            .layers
            .iter()
            .map(|scores| Some(MaskedMlp { width: scores.as_ref()?.len(), masked: Vec::new() }))
            .collect();
        let mut left = wanted;
        for (_, layer, neuron) in ranked {
            if left == 0 {
                break;
            }
            if room[layer] > 0
                && let Some(mlp) = &mut layers[layer]
            {
                mlp.masked.push(neuron);
                room[layer] -= 1;
                left -= 1;
            }
        }
        layers.iter_mut().flatten().for_each(|mlp| mlp.masked.sort_unstable());
        Ok(NeuronMask { layers })
    }
}

/// The error of a share that no MLPs can be cut by.
fn invalid(asked: String, expected: String) -> Error {
    PruneError::InvalidShare { what: "the MLPs", asked, expected }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scores(layers: Vec<Option<Vec<f64>>>) -> NeuronScores {
        NeuronScores { model: "m".to_owned(), fingerprint: Fingerprint::from_bytes([0; 32]), layers }
    }

    #[test]
    fn equal_scores_go_from_the_end() {
        let mask = scores(vec![Some(vec![1.0; 4]), Some(vec![1.0; 4])]).mask(0.5, 0.0).unwrap();
        assert_eq!(mask.widths(), [Some(3), Some(1)]);
        assert_eq!(mask.layers[1].as_ref().unwrap().kept(), [0]);
        assert_eq!(mask.layers[0].as_ref().unwrap().masked, [3]);
        assert_eq!(mask.sparsity(), 0.5);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_range() {
        let model = scores(vec![Some((0..10).map(f64::from).collect()), None, Some(vec![5.5; 10])]);
        let cases = [
            (1.0, 0.0, "a sparsity of 1: it is a share"),
            (-0.1, 0.0, "0 to below 1"),
            (f64::NAN, 0.0, "0 to below 1"),
            (0.3, 1.5, "a floor of 1.5"),
            (0.6, 0.5, "12 of 20 neurons: with a floor of 0.5 at most 10 can go, a sparsity of 0.500"),
            (0.95, 0.0, "at most 18"),
        ];
        for (sparsity, floor, want) in cases {
            let message = model.mask(sparsity, floor).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
        assert_eq!(model.mask(0.0, 0.0).unwrap().sparsity(), 0.0);
        assert_eq!(model.mask(0.5, 0.5).unwrap().widths(), [Some(5), None, Some(5)]);
    }

    proptest! {
        /// The mask against its definition, for any masked and any kept neuron. The masked one has the lower score, or
        /// lies in a layer further back, or further back in its layer. An exception is a kept neuron whose layer is at
        /// its floor.
        #[test]
        fn the_lowest_over_all_layers_go(
            layers in prop::collection::vec(
                prop::option::of(prop::collection::vec((0..6u8).prop_map(f64::from), 1..20)), 1..6),
            sparsity in 0.0..0.99f64,
            floor in 0.0..0.9f64,
        ) {
            let model = scores(layers.clone());
            let total: usize = layers.iter().flatten().map(Vec::len).sum();
            let Ok(mask) = model.mask(sparsity, floor) else { return Ok(()) };
            let masked: usize = mask.layers.iter().flatten().map(|mlp| mlp.masked.len()).sum();
            prop_assert_eq!(masked, (sparsity * total as f64).round() as usize);
            let mut neurons = Vec::new();
            for (layer, (scores, mlp)) in layers.iter().zip(&mask.layers).enumerate() {
                let (Some(scores), Some(mlp)) = (scores, mlp) else { continue };
                let width = mlp.width - mlp.masked.len();
                let least = ((floor * mlp.width as f64).ceil() as usize).max(1);
                prop_assert!(width >= least.min(mlp.width));
                prop_assert_eq!(mlp.kept().len(), width);
                for (neuron, score) in scores.iter().enumerate() {
                    neurons.push((*score, layer, neuron, mlp.masked.contains(&neuron), width == least));
                }
            }
            for kept in neurons.iter().filter(|neuron| !neuron.3) {
                for gone in neurons.iter().filter(|neuron| neuron.3) {
                    let before = gone.0 < kept.0
                        || (gone.0 == kept.0 && (gone.1, gone.2) > (kept.1, kept.2));
                    prop_assert!(before || kept.4, "{:?} went before {:?}", gone, kept);
                }
            }
        }
    }
}
