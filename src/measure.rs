//! The quality of an encoder, end to end (EffiR, Table 1). [`measure`] encodes the documents of a data set, answers
//! its queries by exact search and measures the answers. [`Measurements`] keeps results, so that none is measured
//! twice.

use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur_datasets::Document;
use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Run, ScoredDocument};
use secateur_encoders::train::Trainer;
use secateur_encoders::{Encoder, Similarity, TextKind};
use secateur_files::disk::DiskFile;
use secateur_files::{Durable, LockedFile, disk};
use secateur_index::Metric;
use secateur_index::flat::FlatIndex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::eval::{Measure, RuleSet, evaluate};
use crate::progress::Progress;
use crate::statistics::quantile_of;

/// What one encoder reached on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The mean nDCG@10 over the judged queries, by MTEB's rules.
    pub ndcg_at_10: f64,
    /// Documents of the corpus.
    pub num_documents: usize,
    /// Judged queries.
    pub num_queries: usize,
    /// Documents that were encoded in a second, on all threads; reading the corpus does not count.
    pub documents_per_second: f64,
    /// The median time from a query's text to its ten best documents, one query at a time.
    pub milliseconds_per_query: f64,
}

/// What maps texts to vectors that are compared: an encoder, or a model in training.
pub trait Embed {
    /// Texts (B) -> (B, D), row-major, in the order given.
    ///
    /// # Errors
    ///
    /// A text is refused, or a vector is not finite.
    fn embed(&self, texts: &[&str], kind: TextKind) -> secateur_encoders::Result<Vec<f32>>;
    /// D
    fn dim(&self) -> usize;
    /// How the model's authors compare vectors, where they say so.
    fn similarity(&self) -> Option<Similarity>;
}

impl Embed for Encoder {
    fn embed(&self, texts: &[&str], kind: TextKind) -> secateur_encoders::Result<Vec<f32>> {
        self.encode(texts, kind)
    }

    fn dim(&self) -> usize {
        Encoder::dim(self)
    }

    fn similarity(&self) -> Option<Similarity> {
        self.settings().similarity
    }
}

impl Embed for Trainer {
    fn embed(&self, texts: &[&str], kind: TextKind) -> secateur_encoders::Result<Vec<f32>> {
        self.encode(texts, kind)
    }

    fn dim(&self) -> usize {
        self.architecture().hidden_size
    }

    /// Training compares cosines.
    fn similarity(&self) -> Option<Similarity> {
        None
    }
}

/// How many texts are encoded at once: enough for every thread, few enough for a progress bar to move.
const CHUNK: usize = 256;

/// Hits asked for each query, as BEIR does.
const DEPTH: usize = 1000;

/// The metric of an index for vectors that are compared in this way; cosine where nothing is said. No index sums the
/// differences of numbers, so models that say `manhattan` are searched by cosine, too.
pub fn metric_of(similarity: Option<Similarity>) -> Metric {
    match similarity {
        Some(Similarity::Dot) => Metric::InnerProduct,
        Some(Similarity::Euclidean) => Metric::L2,
        Some(Similarity::Cosine | Similarity::Manhattan) | None => Metric::Cosine,
    }
}

/// Encodes the corpus of a data set, answers its judged queries by exact search, and measures the answers by MTEB's
/// rules.
///
/// The judgments are those of `split`, or of the data set's default split. Vectors are compared as the model's
/// authors say. They are in memory: N x D floats.
///
/// # Errors
///
/// The data set has a fault or no judgments; those of the encoder.
pub fn measure(
    encoder: &impl Embed,
    dataset: &BeirFolder,
    split: Option<&str>,
    on: &mut dyn FnMut(Progress<'_>),
) -> Result<Measurement> {
    let qrels = match split {
        Some(split) => dataset.qrels(split)?,
        None => dataset.qrels(&dataset.default_split()?)?,
    };
    let queries = dataset.judged_queries(&qrels)?;
    on(Progress::Begins {
        what: "encoding",
        unit: "document",
        total: &|| dataset.info().ok().map(|info| info.documents),
    });
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    let mut seconds = 0.0;
    let mut corpus = dataset.corpus()?;
    loop {
        let documents: Vec<Document> =
            corpus.by_ref().take(CHUNK).collect::<std::result::Result<_, secateur_datasets::Error>>()?;
        if documents.is_empty() {
            break;
        }
        let passages: Vec<String> = documents.iter().map(|document| document.passage(" ")).collect();
        let texts: Vec<&str> = passages.iter().map(String::as_str).collect();
        let start = Instant::now();
        rows.extend(encoder.embed(&texts, TextKind::Passage)?);
        seconds += start.elapsed().as_secs_f64();
        ids.extend(documents.into_iter().map(|document| document.id));
        on(Progress::Done(ids.len()));
    }
    let index = FlatIndex::new(metric_of(encoder.similarity()), encoder.dim(), &rows)?;
    let rules = RuleSet::Mteb.rules_for(dataset.name());
    let mut run = Run::new();
    let mut times = Vec::with_capacity(queries.len());
    for query in &queries {
        let start = Instant::now();
        let vector = encoder.embed(&[&query.text], TextKind::Query)?;
        index.search(&vector, 10)?;
        times.push(1000.0 * start.elapsed().as_secs_f64());
        let hits = index.search(&vector, DEPTH)?;
        let scored = |hit: &secateur_index::Hit| ScoredDocument {
            doc_id: ids[hit.row.0 as usize].clone(),
            score: f64::from(hit.score),
        };
        let mut hits: Vec<ScoredDocument> = hits.iter().map(scored).collect();
        hits.sort_by(ScoredDocument::ranking_order);
        run.insert(query.id.clone(), hits);
    }
    let evaluation = evaluate(&qrels, &run, &Measure::DEFAULT[..1], &rules)?;
    Ok(Measurement {
        ndcg_at_10: evaluation.means[0],
        num_documents: ids.len(),
        num_queries: queries.len(),
        documents_per_second: ids.len() as f64 / seconds,
        milliseconds_per_query: quantile_of(&times, 0.5),
    })
}

/// A folder of results, a JSON file each. What is there is not measured again.
#[derive(Debug)]
pub struct Measurements {
    folder: PathBuf,
    /// What two programs measure at the same time takes both longer, and they would remove each other's files.
    _lock: LockedFile,
}

impl Measurements {
    /// Opens a folder, or makes it. It is this value's alone until that is dropped.
    ///
    /// # Errors
    ///
    /// The folder cannot be made; [`Error::MeasuringElsewhere`] if another program has it.
    pub fn open(folder: impl AsRef<Path>) -> Result<Measurements> {
        let folder = folder.as_ref();
        disk::create_folders(folder)?;
        let lock = LockedFile::try_lock(DiskFile::open_or_create(&folder.join(".lock"))?)?;
        let lock = lock.map_err(|_| Error::MeasuringElsewhere { folder: folder.to_owned() })?;
        Ok(Measurements { folder: folder.to_owned(), _lock: lock })
    }

    /// The result in the file NAME.json if it `is_current`; otherwise the one that `measure` gives, which is then
    /// kept. A file that holds something else counts as none.
    ///
    /// # Errors
    ///
    /// Those of `measure`; the file cannot be written.
    pub fn get_or<R: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        is_current: impl FnOnce(&R) -> bool,
        measure: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        if let Some(result) = self.kept(name).filter(is_current) {
            return Ok(result);
        }
        let result = measure()?;
        Durable::write(&self.file(name), |out| {
            serde_json::to_writer_pretty(&mut *out, &result)?;
            writeln!(out)
        })?;
        Ok(result)
    }

    /// The result in the file NAME.json; `None` if there is none, or the file holds something else.
    pub fn kept<R: DeserializeOwned>(&self, name: &str) -> Option<R> {
        serde_json::from_slice(&std::fs::read(self.file(name)).ok()?).ok()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_measured_once_while_it_is_current() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Measurements::open(folder.path().join("results")).unwrap();
        let get = |is_current: bool, new: f64| kept.get_or("a", |_: &f64| is_current, || Ok(new)).unwrap();
        assert_eq!([get(true, 1.0), get(true, 2.0), get(false, 3.0), get(true, 4.0)], [1.0, 1.0, 3.0, 3.0]);
        std::fs::write(folder.path().join("results/a.json"), "no number").unwrap();
        assert_eq!(get(true, 5.0), 5.0);
    }

    #[test]
    fn medians_by_hand() {
        for (values, want) in [(&[][..], 0.0), (&[3.0], 3.0), (&[4.0, 1.0], 2.5), (&[9.0, 1.0, 2.0], 2.0)] {
            assert_eq!(quantile_of(values, 0.5), want);
        }
    }
}
