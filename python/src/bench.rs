//! Encoders, indexes and modes are measured side by side.

use std::path::PathBuf;

use pyo3::prelude::*;
use secateur::bench::{
    BenchDataset, BenchEncoder, BenchOptions, BenchProgress, BenchReport, BenchReranker, Environment, Gate,
    IndexSpec, Program, run,
};
use secateur::database::EncoderSource;
use secateur::encode::Device;
use secateur::report::{bench_text, write_bench};
use secateur::{ErrorKind, LoadOptions, SearchMode};
use serde_json::json;

use crate::arguments::named;
use crate::encoder::Encoder;
use crate::errors::of_kind;
use crate::listener::Listener;
use crate::values::to_python;
use crate::work::{Progress, Told, watched};

/// What a bench is asked for: what is left out is as [`BenchOptions::default`] says.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct BenchArguments {
    /// Names and folders.
    datasets: Vec<(Option<String>, PathBuf)>,
    encoders: Vec<(String, Model)>,
    indexes: Vec<String>,
    modes: Vec<String>,
    #[pyo3(default)]
    device: Option<String>,
    #[pyo3(default)]
    reranker: Option<PathBuf>,
    rerank_top: usize,
    #[pyo3(default)]
    split: Option<String>,
    rules: String,
    #[pyo3(default)]
    max_queries: Option<usize>,
    #[pyo3(default)]
    k: Option<usize>,
    #[pyo3(default)]
    timed_queries: Option<usize>,
    #[pyo3(default)]
    warm_up: Option<usize>,
    #[pyo3(default)]
    repetitions: Option<usize>,
    #[pyo3(default)]
    concurrency: Option<usize>,
    #[pyo3(default)]
    rate: Option<f64>,
    #[pyo3(default)]
    seed: Option<u64>,
    #[pyo3(default)]
    within: Option<f64>,
    discard: bool,
    #[pyo3(default)]
    baseline: Option<PathBuf>,
    #[pyo3(default)]
    max_ndcg_drop: Option<f64>,
    #[pyo3(default)]
    max_latency_ratio: Option<f64>,
    /// The file of this module.
    program: PathBuf,
}

/// An encoder that is loaded, whose options hold, or a directory.
#[derive(FromPyObject)]
enum Model {
    Loaded(Py<Encoder>),
    Directory(PathBuf),
}

impl Model {
    fn encoder(&self, name: &str, device: Device) -> BenchEncoder {
        let (model, options) = match self {
            Model::Loaded(encoder) => (encoder.get().0.directory(), encoder.get().0.options().clone()),
            Model::Directory(path) => (path.as_path(), LoadOptions { device, ..LoadOptions::default() }),
        };
        let options = LoadOptions { name: Some(name.to_owned()), ..options };
        BenchEncoder {
            name: name.to_owned(),
            source: EncoderSource { model: model.to_string_lossy().into_owned(), options },
        }
    }
}

impl BenchArguments {
    fn gate(&self) -> Gate {
        Gate { max_ndcg_drop: self.max_ndcg_drop, max_latency_ratio: self.max_latency_ratio }
    }

    fn options(&self) -> PyResult<BenchOptions> {
        let default = BenchOptions::default();
        let device: Device =
            self.device.as_deref().map_or(Ok(Device::default()), |name| named("device", name))?;
        let indexes = self.indexes.iter().map(|name| named::<IndexSpec>("indexes", name));
        let modes = self.modes.iter().map(|name| named::<SearchMode>("modes", name));
        let dataset = |(name, path): &(Option<String>, PathBuf)| BenchDataset {
            name: name.clone(),
            ..path.clone().into()
        };
        let reranker = |model: &PathBuf| BenchReranker {
            model: model.clone(),
            options: LoadOptions { device, ..LoadOptions::default() },
            top: self.rerank_top,
        };
        Ok(BenchOptions {
            datasets: self.datasets.iter().map(dataset).collect(),
            split: self.split.clone(),
            encoders: self.encoders.iter().map(|(name, model)| model.encoder(name, device)).collect(),
            indexes: indexes.collect::<PyResult<_>>()?,
            modes: modes.collect::<PyResult<_>>()?,
            reranker: self.reranker.as_ref().map(reranker),
            rules: named("rules", &self.rules)?,
            max_queries: self.max_queries,
            k: self.k.unwrap_or(default.k),
            timed_queries: self.timed_queries.unwrap_or(default.timed_queries),
            warm_up: self.warm_up.unwrap_or(default.warm_up),
            repetitions: self.repetitions.unwrap_or(default.repetitions),
            concurrency: self.concurrency,
            rate: self.rate,
            seed: self.seed.unwrap_or(default.seed),
            within: self.within.unwrap_or(default.within),
            discard: self.discard,
            command: "secateur.bench, from Python".to_owned(),
            program: Program::in_file(&self.program),
        })
    }
}

/// Measures, and writes what `secateur bench` writes. Answers results.json, the report as text, and what is worse than
/// the earlier bench that is named, a sentence each.
#[pyfunction]
pub fn bench<'py>(
    py: Python<'py>,
    out: PathBuf,
    arguments: BenchArguments,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = arguments.options()?;
    let gate = arguments.gate();
    let progress = Progress::new(progress);
    // Clients are threads of their own, whose encoders compute on the pool of the process: so does all of it.
    let (report, breaches) = watched(py, |watch| {
        options.check()?;
        let baseline = arguments.baseline.as_deref().map(BenchReport::read).transpose()?;
        if let Some(baseline) = &baseline {
            gate.fits(baseline, &Environment::here(options.program.clone()), &options)?;
        }
        let mut listener = Listener::new(watch, &progress);
        let report = run(&options, &out, &mut |said| match said {
            BenchProgress::Work(said) => listener.hear(None, said),
            BenchProgress::Cell { done, total, .. } => {
                progress.tell(watch, &Told::of("measuring", "combinations", Some(total)), done, None);
            }
            _ => watch.check(),
        })?;
        write_bench(&report, &out)?;
        let breaches = baseline.map_or_else(Vec::new, |baseline| gate.check(&baseline, &report).breaches);
        Ok((report, breaches))
    })?;
    let results =
        serde_json::to_value(&report).map_err(|error| of_kind(ErrorKind::System, error.to_string()))?;
    to_python(py, &json!({ "results": results, "text": bench_text(&report), "breaches": breaches }))
}
