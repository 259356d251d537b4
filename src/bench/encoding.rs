//! The vectors of a corpus: made once for all indexes, timed, and compared with the queries exactly.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, TextKind};
use secateur_index::flat::FlatIndex;
use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use super::layers::layer_similarity;
use super::result::EncodingFacts;
use crate::encode::journaled::{JournaledEncoding, borrowed, next_chunk};
use crate::error::Result;
use crate::measure::metric_of;
use crate::progress::Progress;

/// The documents of an exact search that recall counts.
pub(super) const RECALL_AT: usize = 10;

/// Texts of a batch of those tools whose padding is told.
const PADDED_BATCH: usize = 32;

/// Documents that are encoded again for their time alone, where all vectors were there already.
const TIMED_AGAIN: usize = 512;

#[derive(Serialize, Deserialize)]
pub(super) struct Encoded {
    pub facts: EncodingFacts,
    /// By query: the ids of the true best documents.
    pub exact: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Clock {
    documents: usize,
    tokens: usize,
    padded: usize,
    tokenize: f64,
    encode: f64,
}

impl Clock {
    /// Encodes texts while the clock runs.
    fn encode(&mut self, encoder: &Encoder, texts: &[&str]) -> Result<Vec<f32>> {
        let start = Instant::now();
        let tokens = encoder.tokenize(texts, TextKind::Passage)?;
        self.tokenize += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let rows = encoder.encode_tokens(&tokens, TextKind::Passage)?;
        self.encode += start.elapsed().as_secs_f64();
        self.documents += texts.len();
        self.tokens += tokens.iter().map(Vec::len).sum::<usize>();
        let batches = tokens.chunks(PADDED_BATCH);
        self.padded +=
            batches.map(|batch| batch.len() * batch.iter().map(Vec::len).max().unwrap_or(0)).sum::<usize>();
        Ok(rows)
    }
}

/// Encodes the corpus into the journal, or what it lacks of it, and finds the true best documents of each query.
pub(super) fn encode(
    dataset: &Dataset,
    name: &str,
    encoder: &Encoder,
    journal: &Path,
    on: &mut dyn FnMut(Progress<'_>),
) -> Result<Encoded> {
    let (metric, dim) = (metric_of(encoder.settings().similarity), encoder.dim());
    let texts: Vec<&str> = dataset.queries.iter().map(|(_, text)| text.as_str()).collect();
    let cut_before = encoder.num_cut_texts();
    let queries = encoder.encode(&texts, TextKind::Query)?;
    let cut_queries = encoder.num_cut_texts() - cut_before;
    on(Progress::Begins {
        what: "encoding",
        unit: "document",
        total: &|| Some(dataset.facts.num_documents as u64),
    });
    let cut_before = encoder.num_cut_texts();
    let mut vectors = JournaledEncoding::open(journal, encoder, TextKind::Passage)?;
    let mut clock = Clock::default();
    let mut ids: Vec<String> = Vec::with_capacity(dataset.facts.num_documents);
    let mut best: Vec<Vec<(f32, usize)>> = vec![Vec::new(); texts.len()];
    let mut corpus = dataset.folder.corpus()?;
    loop {
        let chunk: Vec<Document> =
            next_chunk(&mut corpus, |document| document.title.len() + document.text.len())?;
        if chunk.is_empty() {
            break;
        }
        let passages: Vec<String> = chunk.iter().map(|document| document.passage(" ")).collect();
        let rows = vectors.rows_by(&passages, |texts| clock.encode(encoder, texts))?;
        let found = FlatIndex::new(metric, dim, &rows)?.search_batch(&queries, RECALL_AT)?;
        for (best, hits) in best.iter_mut().zip(found) {
            best.extend(hits.iter().map(|hit| (hit.score, ids.len() + hit.row.0 as usize)));
            best.sort_by(|(a, row_a), (b, row_b)| b.total_cmp(a).then(row_a.cmp(row_b)));
            best.truncate(RECALL_AT);
        }
        ids.extend(chunk.into_iter().map(|document| document.id));
        on(Progress::Done(ids.len()));
    }
    if clock.documents == 0 {
        let first = dataset.folder.corpus()?.take(TIMED_AGAIN);
        let first: Vec<Document> = first.collect::<std::result::Result<_, _>>()?;
        let passages: Vec<String> = first.iter().map(|document| document.passage(" ")).collect();
        clock.encode(encoder, &borrowed(&passages))?;
    }
    let seconds = clock.tokenize + clock.encode;
    let facts = EncodingFacts {
        environment: 0,
        dataset: dataset.facts.name.clone(),
        encoder: name.to_owned(),
        timed_documents: clock.documents,
        timed_tokens: clock.tokens,
        seconds,
        tokenize_seconds: clock.tokenize,
        documents_per_second: clock.documents as f64 / seconds,
        tokens_per_second: clock.tokens as f64 / seconds,
        padding_ratio: clock.padded as f64 / clock.tokens.max(1) as f64,
        mean_tokens: clock.tokens as f64 / clock.documents.max(1) as f64,
        cut_queries,
        cut_documents: encoder.num_cut_texts() - cut_before,
        isotropy: mean_cosine(&queries, dim),
        layers: layer_similarity(dataset, encoder)?,
    };
    let best = best.into_iter().map(|hits| hits.into_iter().map(|(_, row)| ids[row].clone()).collect());
    let exact = dataset.queries.iter().map(|(id, _)| id.clone()).zip(best).collect();
    Ok(Encoded { facts, exact })
}

/// The mean cosine of all pairs of vectors (N, D); `None` of fewer than two.
fn mean_cosine(rows: &[f32], dim: usize) -> Option<f64> {
    let count = rows.len() / dim;
    let mut sum = vec![0.0f64; dim];
    let mut own = 0.0;
    for row in rows.chunks_exact(dim) {
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if norm > 0.0 {
            own += 1.0;
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) / norm);
        }
    }
    // The squared length of the sum has every pair twice, and each vector with itself.
    let squared: f64 = sum.iter().map(|x| x * x).sum();
    (count > 1).then(|| (squared - own) / (count * (count - 1)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_cosine_by_hand() {
        // Cosines 0, -1 and 0 of three vectors in the plane.
        let got = mean_cosine(&[2.0, 0.0, 0.0, 3.0, -1.0, 0.0], 2).unwrap();
        assert!((got + 1.0 / 3.0).abs() < 1e-12, "{got}");
        assert_eq!(mean_cosine(&[1.0, 0.0], 2), None);
        assert!((mean_cosine(&[1.0, 1.0, 2.0, 2.0], 2).unwrap() - 1.0).abs() < 1e-12);
    }
}
