//! What a pruned encoder is worth, end to end: documents are encoded, queries answered by exact search, answers measured
//! (paper, Table 1).

use std::time::Instant;

use secateur_datasets::Document;
use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Run, ScoredDocument};
use secateur_encoders::train::Trainer;
use secateur_encoders::{Encoder, TextKind};
use secateur_index::Metric;
use secateur_index::flat::FlatIndex;
use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::error::Result;
use crate::eval::{Measure, RuleSet, evaluate};

/// One encoder on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
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
    /// How vectors are compared, as the model's authors say it: "cosine", "dot", "euclidean".
    fn similarity(&self) -> Option<&str>;
}

impl Embed for Encoder {
    fn embed(&self, texts: &[&str], kind: TextKind) -> secateur_encoders::Result<Vec<f32>> {
        self.encode(texts, kind)
    }

    fn dim(&self) -> usize {
        Encoder::dim(self)
    }

    fn similarity(&self) -> Option<&str> {
        self.settings().similarity.as_deref()
    }
}

impl Embed for Trainer {
    fn embed(&self, texts: &[&str], kind: TextKind) -> secateur_encoders::Result<Vec<f32>> {
        self.encode(texts, kind)
    }

    fn dim(&self) -> usize {
        self.architecture().hidden_size
    }

    /// What training compares is cosines.
    fn similarity(&self) -> Option<&str> {
        None
    }
}

/// Texts that are encoded at once: enough for every thread, few enough for a progress bar to move.
const CHUNK: usize = 256;

/// Hits asked for each query, as BEIR does.
const DEPTH: usize = 1000;

/// Encodes the corpus of a data set, answers its judged queries by exact search over cosines (or inner products, where the
/// model's authors say so), and measures the answers. The
/// judgments are those of `split`, or of the data set's default one. The vectors are in memory: N x D floats. `progress` is called with the
/// number of documents encoded.
///
/// # Errors
///
/// The data set has a fault or no judgments; those of the encoder.
pub fn measure_encoder(
    encoder: &impl Embed,
    dataset: &BeirFolder,
    split: Option<&str>,
    mut progress: impl FnMut(usize),
) -> Result<Cell> {
    let qrels = match split {
        Some(split) => dataset.qrels(split)?,
        None => dataset.qrels(&dataset.default_split()?)?,
    };
    let queries = dataset.judged_queries(&qrels)?;
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
        progress(ids.len());
    }
    let metric = match encoder.similarity() {
        Some("dot") => Metric::InnerProduct,
        Some("euclidean") => Metric::L2,
        _ => Metric::Cosine,
    };
    let index = FlatIndex::new(metric, encoder.dim(), &rows)?;
    let drops = catalog::find(dataset.name()).is_some_and(|dataset| dataset.mteb_drops_identical_ids);
    let rules = RuleSet::Mteb.rules(drops);
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
    Ok(Cell {
        ndcg_at_10: evaluation.means[0],
        num_documents: ids.len(),
        num_queries: queries.len(),
        documents_per_second: ids.len() as f64 / seconds,
        milliseconds_per_query: median(&mut times),
    })
}

/// The middle one, or the mean of the two in the middle; 0 of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_hand() {
        for (values, want) in [(&[][..], 0.0), (&[3.0], 3.0), (&[4.0, 1.0], 2.5), (&[9.0, 1.0, 2.0], 2.0)] {
            assert_eq!(median(&mut values.to_vec()), want);
        }
    }
}
