//! Encoders of texts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use secateur::Error;
use secateur::database::EncoderSource;
use secateur::encode::{DEFAULT_ENCODER, TextKind};
use secateur::encoders::inspect::{InspectOptions, Inspection};
use serde_json::json;

use crate::arguments::LoadArguments;
use crate::errors::{of_kind, refused, usage};
use crate::values::to_python;
use crate::work::{Progress, Told, compute, watched};

/// How many texts are encoded between two looks at whether to go on.
const CHUNK: usize = 256;

/// A model that maps texts to vectors.
#[pyclass(frozen, module = "secateur._native")]
pub struct Encoder(pub Arc<secateur::Encoder>);

/// What stands before each text.
enum Prompt {
    Of(TextKind),
    Text(String),
}

#[pymethods]
impl Encoder {
    /// Loads a model directory, or the encoder in the box by its name.
    #[new]
    fn new(py: Python<'_>, model: PathBuf, options: LoadArguments) -> PyResult<Encoder> {
        let options = options.options()?;
        let model = model.to_string_lossy().into_owned();
        let loaded = compute(py, || EncoderSource { model, options }.load())?;
        Ok(Encoder(Arc::new(loaded)))
    }

    /// Texts (B) -> f32 (B, D). `kind` is `query` or `document`; a `prompt` stands in place of that kind's.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<PyBackedStr>,
        kind: &str,
        prompt: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let prompt = match (prompt, kind) {
            (Some(prompt), _) => Prompt::Text(prompt),
            (None, "query") => Prompt::Of(TextKind::Query),
            (None, "document") => Prompt::Of(TextKind::Passage),
            (None, _) => return Err(usage(format!("kind: expected query or document, got {kind:?}"))),
        };
        let encode = |texts: &[PyBackedStr]| -> Result<Vec<f32>, Error> {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            Ok(match &prompt {
                Prompt::Of(kind) => self.0.encode(&texts, *kind)?,
                Prompt::Text(prompt) => self.0.encode_with_prompt(&texts, prompt)?,
            })
        };
        let vectors = if texts.len() <= CHUNK && progress.is_none() {
            compute(py, || encode(&texts))?
        } else {
            let progress = Progress::new(progress);
            watched(py, |watch| {
                let told = Told::of("encoding", "texts", Some(texts.len()));
                let mut vectors = Vec::with_capacity(texts.len() * self.0.dim());
                for (number, chunk) in texts.chunks(CHUNK).enumerate() {
                    progress.tell(watch, &told, number * CHUNK, None);
                    vectors.extend(watch.install(|| encode(chunk))?);
                }
                progress.tell(watch, &told, texts.len(), None);
                Ok(vectors)
            })?
        };
        PyArray1::from_vec(py, vectors).reshape([texts.len(), self.0.dim()])
    }

    /// The token ids of each text, with those of the prompt and of special tokens.
    fn tokenize(&self, py: Python<'_>, texts: Vec<PyBackedStr>, kind: &str) -> PyResult<Vec<Vec<u32>>> {
        let kind = if kind == "query" { TextKind::Query } else { TextKind::Passage };
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        compute(py, || Ok(self.0.tokenize(&texts, kind)?))
    }

    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn directory(&self) -> &Path {
        self.0.directory()
    }

    #[getter]
    fn max_length(&self) -> usize {
        self.0.max_length()
    }

    #[getter]
    fn computes_on(&self) -> &str {
        self.0.computes_on()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.0.fingerprint().to_string()
    }

    /// How many texts were longer than the model reads.
    #[getter]
    fn num_cut_texts(&self) -> usize {
        self.0.num_cut_texts()
    }

    /// What is assumed where the model's files say nothing.
    #[getter]
    fn notices(&self) -> Vec<String> {
        self.0.notices().iter().map(ToString::to_string).collect()
    }

    /// What MTEB wants to know of it: the fields of its `ModelMeta`.
    fn mteb_meta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let meta = compute(py, || secateur::report::mteb_encoder_meta(&self.0))?;
        to_python(py, &meta)
    }

    /// How texts are encoded, by the names of the library's settings.
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.0.settings()))
    }
}

/// What a model is, without loading its weights: as `secateur model inspect --json` prints it.
#[pyfunction]
pub fn inspect(py: Python<'_>, model: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    if model.as_os_str() == DEFAULT_ENCODER && !model.exists() {
        return Err(usage("the encoder in the box is no directory: load it, and read its `settings`"));
    }
    let inspection =
        py.detach(|| Inspection::of_path(&model, &InspectOptions::default())).map_err(refused)?;
    let value = serde_json::to_value(&inspection)
        .map_err(|error| of_kind(secateur::ErrorKind::System, error.to_string()))?;
    to_python(py, &value)
}
