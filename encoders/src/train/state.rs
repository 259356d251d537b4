//! The state of a run between two steps, as one safetensors file.
//!
//! For every parameter NAME there are the tensors `value.NAME`, `first.NAME` and `second.NAME` (the moments of AdamW),
//! in f32. In the metadata `state` is a JSON object with the steps taken, the settings, the model's fingerprint, and
//! what the caller adds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use secateur_files::{AtPath, Durable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::TrainSettings;
use super::step::{TrainState, Watch};
use crate::compute::numbers::Numbers;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;

#[derive(Serialize, Deserialize)]
struct Header {
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

/// Writes `state` to `path`, in place of what is there; the file that was there stays if this fails.
pub(super) fn write<N: Numbers>(
    path: &Path,
    state: &TrainState<N>,
    settings: &TrainSettings,
    fingerprint: Fingerprint,
    notes: &str,
) -> Result<()> {
    let header = Header {
        steps: state.moments.steps,
        settings: settings.clone(),
        fingerprint,
        smoothed_loss: state.watch.smoothed,
        lowest_loss: state.watch.lowest,
        notes: notes.to_owned(),
    };
    let header = serde_json::to_string(&header).expect("the state can be written as JSON");
    let mut data: Vec<(String, &[usize], Vec<u8>)> = Vec::new();
    let moments = state.moments.first.iter().zip(&state.moments.second);
    for (parameter, (first, second)) in state.parameters.iter().zip(moments) {
        for (kind, values) in [("value", &parameter.values), ("first", first), ("second", second)] {
            data.push((format!("{kind}.{}", parameter.name), &parameter.shape, bytes(&values.read()?)));
        }
    }
    let views = data.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data);
        (name, view.expect("as many elements as the shape says"))
    });
    let metadata = HashMap::from([("state".to_owned(), header)]);
    let file = safetensors::serialize(views, Some(metadata)).expect("tensors can be written");
    Ok(Durable::write(path, |out| out.write_all(&file))?)
}

/// Each setting that differs, by its name, with both values.
fn differences(of_run: &TrainSettings, given: &TrainSettings) -> String {
    let [of_run, given] = [of_run, given].map(|settings| {
        let mut values = BTreeMap::new();
        // By way of the text, in which 0.2 stays 0.2.
        let text = serde_json::to_string(settings).unwrap_or_default();
        flatten("", serde_json::from_str(&text).unwrap_or_default(), &mut values);
        values
    });
    let names: BTreeSet<&String> = of_run.keys().chain(given.keys()).collect();
    let value = |values: &BTreeMap<String, Value>, name: &str| {
        values.get(name).map_or_else(|| "none".to_owned(), Value::to_string)
    };
    let told = names
        .into_iter()
        .filter(|name| of_run.get(*name) != given.get(*name))
        .map(|name| format!("{name} is {} there, {} is given", value(&of_run, name), value(&given, name)));
    told.collect::<Vec<_>>().join("; ")
}

/// The values in an object by their names, those of an object in it by both names with a dot between.
fn flatten(outer: &str, value: Value, values: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if outer.is_empty() { name } else { format!("{outer}.{name}") };
                flatten(&name, value, values);
            }
        }
        value => {
            values.insert(outer.to_owned(), value);
        }
    }
}

/// Makes `state` what [`write`](fn@write) wrote, if it is of the same model and settings; gives back the notes.
pub(super) fn read<N: Numbers>(
    path: &Path,
    state: &mut TrainState<N>,
    memory: &N::Memory,
    settings: &TrainSettings,
    (directory, fingerprint): (&Path, Fingerprint),
) -> Result<String> {
    let file = fs::read(path).at("read", path)?;
    let damaged = |source| Error::DamagedCheckpoint { path: path.to_owned(), source };
    let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|error| damaged(error.into()))?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get("state"));
    let header: Header =
        serde_json::from_str(header.map_or("", String::as_str)).map_err(|error| damaged(error.into()))?;
    let invalid = |field: &str, found: String, expected: String| Error::InvalidField {
        path: path.to_owned(),
        field: field.to_owned(),
        found,
        expected,
    };
    if header.fingerprint != fingerprint {
        let expected = format!("that of {}, {}", directory.display(), fingerprint);
        return Err(invalid("fingerprint", header.fingerprint.to_string(), expected));
    }
    if header.settings != *settings {
        let differences = differences(&header.settings, settings);
        return Err(Error::OtherSettings { path: path.to_owned(), differences });
    }
    let tensors = SafeTensors::deserialize(&file).map_err(|error| damaged(error.into()))?;
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
    let mut all = Vec::with_capacity(state.parameters.len());
    for parameter in &state.parameters {
        let one = |kind| N::new(memory, read(kind, &parameter.name, &parameter.shape)?);
        all.push([one("value")?, one("first")?, one("second")?]);
    }
    for (place, [value, first, second]) in all.into_iter().enumerate() {
        state.parameters[place].values = value;
        state.moments.first[place] = first;
        state.moments.second[place] = second;
    }
    state.moments.steps = header.steps;
    state.watch = Watch { smoothed: header.smoothed_loss, lowest: header.lowest_loss };
    Ok(header.notes)
}
