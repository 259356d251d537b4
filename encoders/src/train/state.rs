//! The state of a run between two steps, as one safetensors file.
//!
//! For every parameter NAME the tensors `value.NAME`, `first.NAME` and `second.NAME` (the moments of AdamW), in f32; in the
//! metadata `state`, a JSON object with the steps taken, the settings, the model's fingerprint, and what the caller adds.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use secateur_files::{AtPath, Durable};
use serde::{Deserialize, Serialize};

use super::settings::TrainSettings;
use super::step::Watch;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;

#[derive(Serialize, Deserialize)]
struct State {
    steps: usize,
    settings: TrainSettings,
    fingerprint: Fingerprint,
    smoothed_loss: f64,
    lowest_loss: f64,
    /// The caller's.
    notes: String,
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

impl Trainer {
    /// Writes what [`Trainer::resume`] needs to `path`, in place of what is there; `notes` come back from it.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the one that was there is then as it was.
    pub fn save(&self, path: &Path, notes: &str) -> Result<()> {
        let state = State {
            steps: self.moments.steps,
            settings: self.settings.clone(),
            fingerprint: self.fingerprint,
            smoothed_loss: self.watch.smoothed,
            lowest_loss: self.watch.lowest,
            notes: notes.to_owned(),
        };
        let state = serde_json::to_string(&state).expect("the state can be written as JSON");
        let mut data: Vec<(String, &[usize], Vec<u8>)> = Vec::new();
        let moments = self.moments.first.iter().zip(&self.moments.second);
        for (parameter, (first, second)) in self.parameters.iter().zip(moments) {
            for (kind, values) in [("value", &parameter.values), ("first", first), ("second", second)] {
                data.push((format!("{kind}.{}", parameter.name), &parameter.shape, bytes(values)));
            }
        }
        let views = data.iter().map(|(name, shape, data)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), data);
            (name, view.expect("as many elements as the shape says"))
        });
        let metadata = HashMap::from([("state".to_owned(), state)]);
        let file = safetensors::serialize(views, Some(metadata)).expect("tensors can be written");
        Ok(Durable::write(path, |out| out.write_all(&file))?)
    }

    /// Goes on from a state that [`Trainer::save`] wrote: later steps are those of an uninterrupted run, bit for bit. Gives
    /// back the notes.
    ///
    /// # Errors
    ///
    /// The file is missing or damaged, or is the state of another model or of other settings.
    pub fn resume(&mut self, path: &Path) -> Result<String> {
        let file = fs::read(path).at("read", path)?;
        let damaged = |source: safetensors::SafeTensorError| Error::Safetensors {
            path: path.to_owned(),
            source: source.into(),
        };
        let (_, metadata) = SafeTensors::read_metadata(&file).map_err(damaged)?;
        let state = metadata.metadata().as_ref().and_then(|metadata| metadata.get("state"));
        let state: State = serde_json::from_str(state.map_or("", String::as_str))
            .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })?;
        let invalid = |field: &str, found: String, expected: String| Error::InvalidField {
            path: path.to_owned(),
            field: field.to_owned(),
            found,
            expected,
        };
        if state.fingerprint != self.fingerprint {
            let expected = format!("that of {}, {}", self.directory.display(), self.fingerprint);
            return Err(invalid("fingerprint", state.fingerprint.to_string(), expected));
        }
        if state.settings != self.settings {
            let text = |settings: &TrainSettings| serde_json::to_string(settings).unwrap_or_default();
            let expected =
                format!("{}: resume with the settings that the run began with", text(&self.settings));
            return Err(invalid("settings", text(&state.settings), expected));
        }
        let tensors = SafeTensors::deserialize(&file).map_err(damaged)?;
        let read = |kind: &str, name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let tensor = format!("{kind}.{name}");
            let view = tensors
                .tensor(&tensor)
                .map_err(|_| Error::MissingTensor { path: path.to_owned(), tensor: tensor.clone() })?;
            if view.shape() != shape || view.dtype() != Dtype::F32 {
                return Err(Error::ShapeMismatch {
                    path: path.to_owned(),
                    tensor,
                    expected: shape.to_vec(),
                    found: view.shape().to_vec(),
                });
            }
            let (elements, _) = view.data().as_chunks::<4>();
            Ok(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        // All is read before anything is changed.
        let mut all = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let one = |kind| read(kind, &parameter.name, &parameter.shape);
            all.push([one("value")?, one("first")?, one("second")?]);
        }
        for (place, [value, first, second]) in all.into_iter().enumerate() {
            self.parameters[place].values = value;
            self.moments.first[place] = first;
            self.moments.second[place] = second;
        }
        self.moments.steps = state.steps;
        self.watch = Watch { smoothed: state.smoothed_loss, lowest: state.lowest_loss };
        self.refresh();
        Ok(state.notes)
    }
}
